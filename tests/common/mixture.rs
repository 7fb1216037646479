//! Programs with many threads, each busy in its own way, until one of several causes ends them all. Shared by the tests and the
//! benchmark of termination.

use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};
use updraft::{
    Engine, Error, Linker, Module, Process, ProcessConfig, Stopped, TrapCode, WasiCtxBuilder,
};

/// What threads can be busy with. None of it ends.
pub const ACTIVITIES: [&str; 12] = [
    "spin", "load", "wait", "sleep", "read", "accept", "block", "recurse", "fill", "grow", "touch",
    "storm",
];

/// The functions of [`ACTIVITIES`].
const FUNCTIONS: &str = r#"
  (func $spin (loop $again (br $again)))
  (func $load (loop $again (br_if $again (i32.eqz (i32.load (i32.const 8))))))
  (func $wait (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1))))
  ;; An hour in poll_oneoff: a subscription to the monotonic clock.
  (func $sleep
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.const 3600000000000))
    (drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192))))
  (func $read
    (i32.store (i32.const 200) (i32.const 256))
    (i32.store (i32.const 204) (i32.const 16))
    (drop (call $fd_read (i32.const 0) (i32.const 200) (i32.const 1) (i32.const 208))))
  (func $accept (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 212))))
  (func $down (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (call $down (i32.sub (local.get $n) (i32.const 1))) (i32.const 1)))
      (else (i32.const 0))))
  (func $recurse
    (loop $again (br_if $again (i32.eq (call $down (i32.const 5000)) (i32.const 5000)))))
  (func $fill
    (loop $again
      (memory.fill (i32.const 65536) (i32.const 1) (i32.const 4194304))
      (br $again)))
  (func $grow (loop $again (drop (memory.grow (i32.const 0))) (br $again)))
  (func $touch (loop $again (call $host_touch) (br $again)))
  (func $block (call $host_block))
  ;; At most four threads at once that end at once, so that some begin and some end at any moment.
  (func $storm
    (loop $again
      (if (i32.lt_u (i32.atomic.load (i32.const 16)) (i32.const 4))
        (then
          (drop (i32.atomic.rmw.add (i32.const 16) (i32.const 1)))
          (if (i32.lt_s (call $spawn (i32.const -1)) (i32.const 0))
            (then (drop (i32.atomic.rmw.sub (i32.const 16) (i32.const 1)))))))
      (br $again)))
"#;

/// What ends the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    Trap,
    Exit,
    Terminate,
}

pub const CAUSES: [Cause; 3] = [Cause::Trap, Cause::Exit, Cause::Terminate];

/// A program whose threads are busy with these activities; one further thread traps and one exits when the host says so.
pub fn program(activities: &[&str]) -> String {
    let mut start = String::new();
    let mut roles = String::new();
    for (role, activity) in activities.iter().enumerate() {
        let spawn = format!(
            "(if (i32.lt_s (call $spawn (i32.const {role})) (i32.const 0)) (then unreachable))"
        );
        start.push_str(&spawn);
        let kind = ACTIVITIES.iter().position(|one| one == activity).expect("it is one of them");
        roles.push_str(&format!("(data (i32.const {}) \"\\{kind:02x}\")", 1024 + role));
    }
    let labels: String =
        (0..ACTIVITIES.len()).rev().map(|kind| format!("(block $a{kind} ")).collect();
    let targets: String = (0..ACTIVITIES.len()).map(|kind| format!("$a{kind} ")).collect();
    let arms: String =
        ACTIVITIES.iter().map(|name| format!(") (call ${name}) (br $done)")).collect();
    format!(
        r#"(module
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
  (import "host" "begun" (func $begun))
  (import "host" "touch" (func $host_touch))
  (import "host" "block" (func $host_block))
  (import "host" "moment" (func $moment (result i32)))
  (import "env" "memory" (memory 70 80 shared))
  {roles}
{FUNCTIONS}
  (func $work (param $role i32)
    (call $begun)
    (block $done
      {labels}
      (br_table {targets} (i32.load8_u offset=1024 (local.get $role)))
      {arms})
    (call $proc_exit (i32.const 99)))
  (func (export "wasi_thread_start") (param $id i32) (param $role i32)
    (if (i32.ge_s (local.get $role) (i32.const 0))
      (then (call $work (local.get $role)))
      (else (drop (i32.atomic.rmw.sub (i32.const 16) (i32.const 1))))))
  (func (export "_start")
    {start}
    (call $begun)
    (if (i32.eqz (call $moment)) (then unreachable))
    (call $proc_exit (i32.const 7))))"#
    )
}

/// The threads of a program that runs, and what it waits for.
#[derive(Default)]
struct Stage {
    begun: AtomicU32,
    /// The cause, and when it came.
    moment: Mutex<(Option<Cause>, Option<Instant>)>,
    told: Condvar,
}

/// Runs a [`program`] of so many threads until all have begun and `pause` is over, ends it, and checks how it ended. How long the end took.
pub fn end(
    engine: &Engine,
    module: &Module,
    threads: usize,
    cause: Cause,
    pause: Duration,
) -> Duration {
    let stage = Arc::new(Stage::default());
    let (all_begun, begun) = mpsc::channel();
    let mut linker = Linker::new(engine);
    let counted = stage.clone();
    linker.func("host", "begun", move |_, ()| {
        if counted.begun.fetch_add(1, Ordering::Relaxed) as usize == threads {
            let _ = all_begun.send(());
        }
        Ok(())
    });
    linker.func("host", "touch", |_, ()| Ok(()));
    linker.func("host", "block", |caller, ()| {
        let ended = Arc::new((Mutex::new(()), Condvar::new()));
        let waker = ended.clone();
        caller.blocking(
            move || waker.1.notify_all(),
            |blocking| {
                let mut guard = ended.0.lock().expect("nobody panics");
                while !blocking.is_stopping() {
                    guard = ended.1.wait(guard).expect("nobody panics");
                }
            },
        )
    });
    let told = stage.clone();
    linker.func("host", "moment", move |caller, ()| {
        let waker = told.clone();
        caller.blocking(
            move || waker.told.notify_all(),
            |blocking| {
                let mut moment = told.moment.lock().expect("nobody panics");
                while !matches!(moment.0, Some(Cause::Trap | Cause::Exit))
                    && !blocking.is_stopping()
                {
                    moment = told.told.wait(moment).expect("nobody panics");
                }
                moment.1.get_or_insert_with(Instant::now);
                i32::from(moment.0 == Some(Cause::Exit))
            },
        )
    });
    // A pipe and a socket that stay open, and silent.
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    let dir = tempfile::tempdir().expect("a directory");
    let listener = UnixListener::bind(dir.path().join("socket")).expect("a socket");
    let wasi = WasiCtxBuilder::new().stdin_fd(reader).preopened_socket(listener);
    updraft::add_wasi(&mut linker, wasi.build().expect("they will do"));
    let process = Process::new(&linker, module, &ProcessConfig::default()).expect("enough memory");
    let terminator = process.terminator();
    let (ended, end) = mpsc::channel();
    let running = std::thread::spawn(move || {
        let result = process.run();
        let _ = ended.send((Instant::now(), result));
    });
    begun.recv().expect("all begin");
    std::thread::sleep(pause);
    let mut moment = stage.moment.lock().expect("nobody panics");
    moment.0 = Some(cause);
    if cause == Cause::Terminate {
        moment.1 = Some(Instant::now());
        drop(moment);
        assert!(terminator.terminate());
    } else {
        drop(moment);
        stage.told.notify_all();
    }
    let (at, result) =
        end.recv_timeout(Duration::from_secs(240)).expect("the program hangs after its end");
    running.join().expect("it does not panic");
    match (cause, result) {
        (Cause::Exit, Ok(7)) | (Cause::Terminate, Err(Error::Stopped(Stopped::Terminated))) => {}
        (Cause::Trap, Err(Error::Trap(trap))) if trap.code == TrapCode::Unreachable => {}
        (_, result) => panic!("{cause:?} gave {result:?}"),
    }
    let caused = stage.moment.lock().expect("nobody panics").1;
    at - caused.expect("there was a cause")
}
