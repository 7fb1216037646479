//! The engines that are compared: which are there, and how each runs a program.

use super::suite::{self, Program};
use crate::cli::measure;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// An engine, in one of its modes.
#[derive(Debug, Clone)]
pub struct Contender {
    /// As it is called in tables.
    pub name: String,
    pub version: String,
    /// Whether it runs programs that import `wasi.thread-spawn`.
    pub threads: bool,
    /// Whether it only interprets: it then needs no warm-up, and gets less to do.
    pub interprets: bool,
    engine: Engine,
}

#[derive(Debug, Clone)]
enum Engine {
    Updraft {
        program: PathBuf,
        tier: &'static str,
    },
    Wasmtime(PathBuf),
    Wasmer(PathBuf),
    Wasm3OrWasmi(PathBuf),
    Iwasm {
        program: PathBuf,
        flags: Vec<&'static str>,
        more_threads: bool,
    },
    Node {
        program: PathBuf,
        runner: PathBuf,
    },
    /// Native builds in this folder.
    Native(PathBuf),
}

/// What is looked for on the PATH, and the names that `--peer NAME=PROGRAM` knows.
pub const PEERS: [&str; 8] =
    ["wasmtime", "wasmer", "wasmi", "wasm3", "iwasm", "iwasm-classic", "node", "native"];

/// A peer that `--peer` names.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    name: String,
    program: PathBuf,
}

impl std::str::FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Given, String> {
        let (name, program) = text.split_once('=').ok_or("it must be NAME=PROGRAM")?;
        if !PEERS.contains(&name) {
            return Err(format!("no peer is called {name}; there are {}", PEERS.join(", ")));
        }
        Ok(Given { name: name.to_owned(), program: program.into() })
    }
}

impl Contender {
    fn new(name: &str, version: &str, engine: Engine) -> Contender {
        let (threads, interprets) = match &engine {
            Engine::Updraft { tier, .. } => (true, *tier == "interp"),
            Engine::Wasmtime(_) => {
                // From 47 on it has no WASI threads.
                let major: String = version.chars().take_while(char::is_ascii_digit).collect();
                (major.parse().is_ok_and(|major: u32| major < 47), false)
            }
            Engine::Wasm3OrWasmi(_) => (false, true),
            Engine::Iwasm { flags, more_threads, .. } => {
                (*more_threads, !flags.contains(&"--llvm-jit") && !flags.contains(&"--fast-jit"))
            }
            Engine::Wasmer(_) | Engine::Node { .. } | Engine::Native(_) => (true, false),
        };
        let version = version.to_owned();
        Contender { name: name.to_owned(), version, threads, interprets, engine }
    }

    /// Updraft under a strategy.
    pub fn updraft(tier: &'static str) -> Result<Contender, String> {
        let program = std::env::current_exe()
            .map_err(|error| format!("cannot find this program: {error}"))?;
        let name = format!("updraft {tier}");
        Ok(Contender::new(&name, env!("CARGO_PKG_VERSION"), Engine::Updraft { program, tier }))
    }

    /// The native builds of some programs, made with this compiler in a folder.
    pub fn native(
        compiler: &Path,
        programs: &[Program],
        suite: &Path,
        folder: &Path,
    ) -> Result<Contender, String> {
        let version = version(compiler, &["--version"])?;
        for program in programs {
            let mut command = Command::new(compiler);
            command.args(["-O3", "-ffp-contract=off"]).arg(program.file(suite, "c"));
            command.arg("-o").arg(folder.join(program.name)).args(["-lm", "-pthread"]);
            let output = command.output().map_err(|error| error.to_string())?;
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stderr);
                return Err(format!("{} does not compile: {}", program.name, text.trim_end()));
            }
        }
        let version = format!("{version}, -O3");
        Ok(Contender::new("native", &version, Engine::Native(folder.to_owned())))
    }

    /// The modes of a peer.
    ///
    /// # Errors
    /// If it does not run.
    pub fn peer(name: &str, program: &Path, runner: &Path) -> Result<Vec<Contender>, String> {
        let path = program.to_owned();
        let engine = match name {
            "wasmtime" => Engine::Wasmtime(path),
            "wasmer" => Engine::Wasmer(path),
            "wasmi" | "wasm3" => Engine::Wasm3OrWasmi(path),
            "node" => Engine::Node { program: path, runner: runner.to_owned() },
            _ => return iwasm(name, program),
        };
        let version = version(program, &["--version"])?;
        Ok(vec![Contender::new(name, &version, engine)])
    }

    /// The process that runs a program with these arguments.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn command(
        &self,
        program: &Program,
        file: &Path,
        arguments: &[String],
        dirs: &[(PathBuf, &str)],
    ) -> Result<Command, String> {
        if program.threads && !self.threads {
            return Err("has no WASI threads".into());
        }
        let dir_flags = |command: &mut Command, joined: bool, between: &str| {
            for (host, guest) in dirs {
                let pair = format!("{}{between}{guest}", host.display());
                match joined {
                    true => command.arg(format!("--dir={pair}")),
                    false => command.args(["--dir", &pair]),
                };
            }
        };
        let mut command;
        match &self.engine {
            Engine::Updraft { program, tier } => {
                command = Command::new(program);
                command.args(["run", "--tier", tier]);
                dir_flags(&mut command, false, "::");
                command.arg(file);
            }
            Engine::Wasmtime(path) => {
                command = Command::new(path);
                // Compiled code of earlier runs is no start.
                command.args(["run", "-C", "cache=n"]);
                if program.threads {
                    command.args(["-W", "threads=y,shared-memory=y", "-S", "threads=y"]);
                }
                dir_flags(&mut command, false, "::");
                command.arg(file);
            }
            Engine::Wasmer(path) => {
                command = Command::new(path);
                command.args(["run", "--disable-cache"]);
                if program.threads {
                    command.arg("--enable-threads");
                }
                dir_flags(&mut command, false, ":");
                command.arg(file).arg("--");
            }
            Engine::Wasm3OrWasmi(path) => {
                if !dirs.is_empty() && self.name == "wasm3" {
                    return Err("its command line gives no directories".into());
                }
                command = Command::new(path);
                dir_flags(&mut command, false, "::");
                command.arg(file);
            }
            Engine::Iwasm { program: path, flags, more_threads } => {
                command = Command::new(path);
                command.args(flags).args(["-v=0", "--stack-size=1048576"]);
                if program.threads && *more_threads {
                    command.arg("--max-threads=64");
                }
                match self.version.starts_with("iwasm") {
                    true => dir_flags(&mut command, true, "::"),
                    false if dirs.iter().any(|(host, guest)| Path::new(guest) != host) => {
                        return Err("its directories keep their names".into());
                    }
                    false => dirs.iter().for_each(|(host, _)| {
                        command.arg(format!("--dir={}", host.display()));
                    }),
                }
                command.arg(file);
            }
            Engine::Node { program: node, runner } => {
                command = Command::new(node);
                command.arg("--no-warnings");
                if *program == suite::WAIT {
                    // In code of V8 11.3's first compiler a function that waits loses a local, and the program goes wrong.
                    command.arg("--no-liftoff");
                }
                command.arg(runner);
                dir_flags(&mut command, true, "::");
                command.arg(file);
            }
            Engine::Native(folder) => {
                let built = folder.join(program.name);
                if !built.is_file() {
                    return Err("has no native build".into());
                }
                command = Command::new(built);
            }
        }
        command.args(arguments).env_remove("UPDRAFT_LOG");
        Ok(command)
    }
}

/// The last word of a command's first line that begins with a digit, or the whole line.
fn version(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let text = told(program, arguments)?;
    let line = text.lines().next().unwrap_or_default().trim();
    let line = line.strip_prefix('v').unwrap_or(line);
    let number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    Ok(line.split(' ').find(number).unwrap_or(line).to_owned())
}

/// What a command prints, on either stream.
fn told(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments);
    let run = measure::run(command, Some(Duration::from_secs(20)))
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    if run.timed_out {
        return Err(format!("{} {} does not end", program.display(), arguments.join(" ")));
    }
    let bytes = if run.stdout.is_empty() { run.stderr } else { run.stdout };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// WAMR's `iwasm` in the modes that it was built with. Older ones know no `--version`, and have one mode: which, cannot be asked.
fn iwasm(name: &str, program: &Path) -> Result<Vec<Contender>, String> {
    let help = told(program, &["--help"])?;
    if !help.contains("iwasm") {
        return Err(format!("{} is not iwasm", program.display()));
    }
    let version = told(program, &["--version"])?;
    let version = version.lines().next().filter(|line| line.starts_with("iwasm "));
    let version = version.unwrap_or("before 1.0").to_owned();
    let more_threads = help.contains("--max-threads");
    let mut made = Vec::new();
    let mut mode = |name: String, flags: Vec<&'static str>| {
        let engine = Engine::Iwasm { program: program.to_owned(), flags, more_threads };
        made.push(Contender::new(&name, &version, engine));
    };
    for (flag, ending) in
        [("--interp", "interp"), ("--fast-jit", "fast-jit"), ("--llvm-jit", "llvm-jit")]
    {
        if help.contains(flag) {
            mode(format!("{name} {ending}"), vec![flag]);
        }
    }
    if made.is_empty() {
        let engine = Engine::Iwasm { program: program.to_owned(), flags: vec![], more_threads };
        made.push(Contender::new(name, &version, engine));
    }
    Ok(made)
}

/// Where a command lies on the PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Given {
    /// What was given for a peer, or what the PATH has.
    pub fn or_on_path(given: &[Given], name: &str) -> Option<PathBuf> {
        let found = given.iter().rev().find(|given| given.name == name);
        match found {
            Some(given) => Some(given.program.clone()),
            // A second build of WAMR has no name of its own.
            None if name == "iwasm-classic" => None,
            None if name == "native" => on_path("clang").or_else(|| on_path("cc")),
            None => on_path(name),
        }
    }
}
