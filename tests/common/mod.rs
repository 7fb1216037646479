//! What the integration tests share: the `updraft` command, run under a guard against hangs, and programs as text.
#![allow(dead_code, unused_macros, unused_imports, reason = "each test binary uses its part")]

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempPath;

mod held;
mod random;
pub use held::Held;
pub use random::Random;

/// After this time a run counts as hung, is killed, and its test fails. This is the only use of time in the tests: nothing is expected
/// to be done *within* it by a machine that is merely slow.
pub const GUARD: Duration = Duration::from_secs(240);

/// Makes one test for each strategy of functions that take a strategy: `per_strategy!(hello)` makes `hello::interp`,
/// `hello::quick` and so on.
macro_rules! per_strategy {
    ($($function:ident),* $(,)?) => {$(
        mod $function {
            #[test]
            fn interp() {
                super::$function("interp");
            }
            #[cfg(feature = "llvm")]
            #[test]
            fn quick() {
                super::$function("quick");
            }
            #[cfg(feature = "llvm")]
            #[test]
            fn full() {
                super::$function("full");
            }
            #[cfg(feature = "llvm")]
            #[test]
            fn tiered() {
                super::$function("tiered");
            }
            #[cfg(feature = "llvm")]
            #[test]
            fn random() {
                super::$function("random");
            }
        }
    )*};
}
pub(crate) use per_strategy;

/// The strategies of this build, for tests that go through them by themselves.
pub fn strategies() -> &'static [&'static str] {
    if cfg!(feature = "llvm") {
        &["interp", "quick", "full", "tiered", "random"]
    } else {
        &["interp"]
    }
}

/// The value of `--tier` for the `run`-th run under a strategy: `random` gets another seed each time.
pub fn tier(strategy: &str, run: usize) -> String {
    match strategy {
        "random" => format!("random:{}", run + 1),
        other => other.to_owned(),
    }
}

/// How often programs are repeated: UPDRAFT_TEST_RUNS, or `default`.
pub fn runs(default: usize) -> usize {
    match std::env::var("UPDRAFT_TEST_RUNS") {
        Ok(text) => text.parse().expect("UPDRAFT_TEST_RUNS is a number"),
        Err(_) => default,
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file with this text or these bytes, deleted when the value is dropped.
pub fn temporary(suffix: &str, contents: impl AsRef<[u8]>) -> TempPath {
    let mut file =
        tempfile::Builder::new().prefix("updraft-test-").suffix(suffix).tempfile().unwrap();
    file.write_all(contents.as_ref()).unwrap();
    file.into_temp_path()
}

/// A module in the text format as a file.
pub fn wat_file(text: &str) -> TempPath {
    temporary(".wat", text)
}

/// A program (text format) that calls its function `$go` on a thread and on its first one, and ends when both have returned. `imports` come
/// first; word 0 of the memory is taken.
pub fn go_on_two_threads(imports: &str, fields: &str) -> String {
    format!(
        r#"(module {imports}
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (memory (import "env" "memory") 1 1 shared)
  {fields}
  (func (export "wasi_thread_start") (param i32 i32)
    (call $go)
    (i32.atomic.store (i32.const 0) (i32.const 1))
    (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
  (func (export "_start")
    (drop (call $spawn (i32.const 0)))
    (call $go)
    (loop $wait
      (if (i32.eqz (i32.atomic.load (i32.const 0)))
        (then
          (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))
          (br $wait))))))"#
    )
}

/// What a run reads.
enum Input {
    /// Nothing: end of file at once.
    Empty,
    Bytes(Vec<u8>),
    /// A pipe that stays open, and into which nothing is written.
    Silent,
}

/// A run of the `updraft` command.
pub struct Updraft {
    command: Command,
    input: Input,
    closed_stdout: bool,
}

impl Updraft {
    pub fn new<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Updraft {
        let mut command = Command::new(env!("CARGO_BIN_EXE_updraft"));
        command.args(args).env_remove("UPDRAFT_LOG");
        Updraft { command, input: Input::Empty, closed_stdout: false }
    }

    /// `updraft run --tier TIER`; flags, file and arguments follow.
    pub fn run(tier: &str) -> Updraft {
        Updraft::new(["run", "--tier", tier])
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Updraft {
        self.command.arg(arg);
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Updraft {
        self.command.args(args);
        self
    }

    /// The folder that it runs in.
    pub fn in_folder(mut self, folder: &Path) -> Updraft {
        self.command.current_dir(folder);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Updraft {
        self.command.env(name, value);
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Updraft {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Standard input stays open and silent until the process has ended.
    pub fn silent_stdin(mut self) -> Updraft {
        self.input = Input::Silent;
        self
    }

    /// Nobody reads standard output: writing to it fails.
    pub fn closed_stdout(mut self) -> Updraft {
        self.closed_stdout = true;
        self
    }

    /// Starts the command.
    pub fn start(mut self) -> Running {
        let stdin = if matches!(self.input, Input::Empty) { Stdio::null() } else { Stdio::piped() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.closed_stdout {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            self.command.stdout(writer);
        }
        let mut child = self.command.spawn().expect("the command starts");
        // The command holds the other end of the pipe, if any.
        let line = format!("{:?}", self.command);
        drop(self.command);
        let stdin = child.stdin.take();
        let (stdin, writer) = match self.input {
            Input::Bytes(bytes) => {
                let mut stdin = stdin.expect("it is piped");
                // The program may end before it has read everything.
                (None, Some(std::thread::spawn(move || drop(stdin.write_all(&bytes)))))
            }
            Input::Silent => (stdin, None),
            Input::Empty => (None, None),
        };
        let (closed, at_end) = mpsc::channel();
        let collect = |pipe| Collector::start(pipe, closed.clone());
        let stdout = child.stdout.take().map(|pipe| collect(Box::new(pipe)));
        let stderr = child.stderr.take().map(|pipe| collect(Box::new(pipe)));
        Running { line, child, stdin, writer, stdout, stderr, at_end, started: Instant::now() }
    }

    /// Runs the command to its end.
    pub fn end(self) -> Ended {
        self.start().end()
    }
}

/// Reads a pipe to its end on a thread of its own.
struct Collector {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Collector {
    /// Tells `closed` when it has read everything.
    fn start(mut pipe: Box<dyn Read + Send>, closed: mpsc::Sender<()>) -> Collector {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let target = bytes.clone();
        let thread = std::thread::spawn(move || {
            let mut chunk = [0; 64 << 10];
            while let Ok(n @ 1..) = pipe.read(&mut chunk) {
                target.lock().unwrap().extend_from_slice(&chunk[..n]);
            }
            drop(target);
            // Nobody listens once the test has failed.
            let _ = closed.send(());
        });
        Collector { bytes, thread }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    fn end(self) -> Vec<u8> {
        self.thread.join().unwrap();
        Arc::into_inner(self.bytes).expect("the reader has ended").into_inner().unwrap()
    }
}

/// A command that was started. [`Running::end`] ends it.
pub struct Running {
    line: String,
    child: Child,
    stdin: Option<std::process::ChildStdin>,
    writer: Option<JoinHandle<()>>,
    stdout: Option<Collector>,
    stderr: Option<Collector>,
    /// A message for each of the two that was read to its end.
    at_end: mpsc::Receiver<()>,
    started: Instant,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it: the test has seen what it wanted to.
    pub fn kill(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it ends");
    }

    /// Ends a silent standard input.
    pub fn close_stdin(&mut self) {
        drop(self.stdin.take().expect("standard input is silent"));
    }

    /// Waits until standard output holds this text.
    pub fn wait_for_output(&mut self, text: &str) {
        let so_far = |running: &Running| {
            running.stdout.as_ref().expect("standard output is collected").so_far()
        };
        while !String::from_utf8_lossy(&so_far(self)).contains(text) {
            if self.started.elapsed() > GUARD {
                self.give_up(&format!("standard output never held {text:?}"));
            }
            std::thread::yield_now();
        }
    }

    /// Waits until a line of standard error holds this text, and gives that line.
    pub fn wait_for_error_line(&mut self, text: &str) -> String {
        loop {
            let so_far = self.stderr.as_ref().expect("standard error is collected").so_far();
            let so_far = String::from_utf8_lossy(&so_far).into_owned();
            // Only whole lines.
            let whole = so_far.rfind('\n').map_or("", |end| &so_far[..end]);
            if let Some(line) = whole.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            if self.started.elapsed() > GUARD {
                self.give_up(&format!("standard error never held {text:?}"));
            }
            std::thread::yield_now();
        }
    }

    /// Waits for the end of the process, and kills it when the guard's time is over.
    pub fn end(mut self) -> Ended {
        if !self.ends() {
            self.give_up("the run hangs");
        }
        let status = self.child.wait().unwrap();
        let bytes = |collector: Option<Collector>| collector.map_or_else(Vec::new, Collector::end);
        let (stdout, stderr) = (bytes(self.stdout.take()), bytes(self.stderr.take()));
        drop(self.stdin.take());
        if let Some(writer) = self.writer.take() {
            writer.join().unwrap();
        }
        let stderr = String::from_utf8(stderr).expect("standard error is text");
        let ended = Ended { line: self.line, status, stdout, stderr };
        assert!(ended.status.code().is_some(), "the process was killed by a signal\n{ended}");
        assert!(!ended.stderr.contains("panicked at"), "the engine panicked\n{ended}");
        assert!(!ended.stderr.contains("this is a defect"), "the engine failed\n{ended}");
        ended
    }

    /// Whether the process ended, and so closed its outputs, within the guard's time.
    fn ends(&self) -> bool {
        [&self.stdout, &self.stderr].into_iter().flatten().all(|_| {
            let left = GUARD.saturating_sub(self.started.elapsed());
            self.at_end.recv_timeout(left).is_ok()
        })
    }

    /// Fails the test with all that is known.
    fn give_up(&mut self, why: &str) -> ! {
        let threads = threads_of(self.child.id());
        let _ = self.child.kill();
        let text = |collector: &Option<Collector>| {
            let bytes = collector.as_ref().map(Collector::so_far).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        panic!(
            "{why}: {}\nthreads:\n{threads}stdout: {}\nstderr: {}",
            self.line,
            text(&self.stdout),
            text(&self.stderr)
        );
    }
}

/// What each thread of a process does, as /proc tells.
fn threads_of(pid: u32) -> String {
    let mut text = String::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let file = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let stat = file("stat");
        let state = stat.rsplit(") ").next().unwrap_or_default().chars().next().unwrap_or('?');
        text +=
            &format!("  {:<16} {state} syscall {}\n", file("comm").trim(), file("syscall").trim());
    }
    text
}

/// How a run ended. It was neither killed by a signal, nor did it panic.
pub struct Ended {
    line: String,
    status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(4000)]);
        write!(f, "{}\n{}\nstdout: {stdout}\nstderr: {}", self.line, self.status, self.stderr)
    }
}

impl Ended {
    pub fn code(&self) -> i32 {
        self.status.code().expect("checked at its end")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is text")
    }

    /// Asserts an exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code(), code, "\n{self}");
        self
    }

    /// Asserts that the run was a success with nothing to say, and gives its standard output.
    #[track_caller]
    pub fn quiet_success(self) -> String {
        let ended = self.expect(0);
        assert_eq!(ended.stderr, "", "\n{ended}");
        ended.text().to_owned()
    }

    /// Asserts that standard error holds all of these.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Ended {
        for text in texts {
            assert!(self.stderr.contains(text), "no {text:?} in standard error\n{self}");
        }
        self
    }

    /// Asserts a trap: exit code, message, and the innermost function of the backtrace.
    #[track_caller]
    pub fn trapped(self, message: &str, innermost: &str) -> Ended {
        let ended = self.expect(134).says(&[&format!("updraft: trap: {message}")]);
        let innermost = format!("  0: {innermost}");
        assert!(
            ended.stderr.lines().any(|line| {
                let frame = line.trim_start();
                frame == innermost.trim_start()
                    || frame.starts_with(&format!("{} @", innermost.trim_start()))
            }),
            "no frame {innermost:?}\n{ended}"
        );
        ended
    }
}
