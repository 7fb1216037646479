//! The command line: a file per subcommand.
//!
//! Exit codes: the program's own; 134 for a trap; 124 for a timeout; 152 for too much processor time; 2 for wrong flags; 1 for everything else.

mod bench;
mod compare;
mod inspect;
mod measure;
mod progress;
mod record;
mod report;
mod run;
mod stats;
mod warnings;
mod wast;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::io::Write;
use std::sync::LazyLock;

/// Exit code of errors that are not the program's.
const FAILURE: i32 = 1;

/// Runs WebAssembly programs that use threads: interpreter first, hot code through LLVM.
#[derive(Parser)]
#[command(name = "updraft", version, disable_help_subcommand = true)]
#[command(after_help = "Logs: set UPDRAFT_LOG, for instance UPDRAFT_LOG=updraft=debug.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a WebAssembly program (WASI preview 1, with or without threads)
    Run(run::Args),
    /// Measure a program under several strategies, in turns
    Bench(bench::Args),
    /// Measure a suite of programs under Updraft and other engines, in turns
    Compare(compare::Args),
    /// Make a page (HTML) of a trace
    Report(report::Args),
    /// Show what a tier makes of a module's functions
    Inspect(inspect::Args),
    /// Run scripts of the specification's tests (.wast)
    Wast(wast::Args),
}

/// The same with nothing but `run`: the other commands' flags take as long to make as this one's.
#[derive(Parser)]
#[command(name = "updraft", disable_help_subcommand = true)]
struct RunCli {
    #[command(subcommand)]
    command: RunCommand,
}

#[derive(Subcommand)]
enum RunCommand {
    Run(run::Args),
}

/// The arguments of `updraft run`, if it is that and they are right. Otherwise the whole command line has the message.
fn run_args() -> Option<run::Args> {
    if std::env::args_os().nth(1)? != "run" {
        return None;
    }
    let mut command = RunCli::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os()).ok()?;
    // To take it apart is of no use.
    std::mem::forget(command);
    let RunCommand::Run(args) = RunCli::from_arg_matches(&matches).ok()?.command;
    Some(args)
}

/// `--version`, which tells the compiler's version too. Loading LLVM takes a while, so only that flag does it.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let llvm = match updraft::llvm_version() {
        Ok(version) => format!("LLVM {version}"),
        Err(error) => format!("no compiler ({error})"),
    };
    format!(
        "{}\n{llvm}\nfeatures: {}; WASI preview 1, wasi-threads",
        env!("CARGO_PKG_VERSION"),
        updraft::Features::SUPPORTED.iter().map(|f| f.proposal).collect::<Vec<_>>().join(", ")
    )
});

pub fn main() -> ! {
    let version = std::env::args_os().skip(1).take(1).any(|a| a == "--version" || a == "-V");
    if version {
        print_out(&format!("updraft {}\n", *LONG_VERSION));
        exit(0);
    }
    let command = match run_args().map_or_else(whole_command, |args| Ok(Command::Run(args))) {
        Ok(command) => command,
        Err(error) => {
            let _ = error.print();
            if error.kind() == clap::error::ErrorKind::InvalidSubcommand {
                print_err(&run_hint(std::env::args_os().nth(1)));
            }
            exit(error.exit_code());
        }
    };
    let record = match &command {
        Command::Run(args) => Some(args.record()),
        _ => None,
    };
    start_log(record.as_ref().and_then(record::Record::recorder));
    let code = match command {
        Command::Run(args) => run::main(args, record.expect("it was made for this command")),
        Command::Bench(args) => bench::main(&args),
        Command::Compare(args) => compare::main(&args),
        Command::Report(args) => report::main(&args),
        Command::Inspect(args) => inspect::main(&args),
        Command::Wast(args) => wast::main(&args),
    };
    exit(code)
}

fn whole_command() -> Result<Command, clap::Error> {
    Cli::try_parse().map(|cli| cli.command)
}

/// Logs go to standard error: warnings, or what UPDRAFT_LOG asks for. The recorder hears the tiers' events, whatever that is.
fn start_log(recorder: Option<&updraft::TraceRecorder>) {
    use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    if recorder.is_none() && !terminal && std::env::var_os("UPDRAFT_LOG").is_none() {
        // Nothing else is set up, so this cannot fail.
        let _ = tracing::subscriber::set_global_default(warnings::Warnings);
        return;
    }
    let filter = EnvFilter::try_from_env("UPDRAFT_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(false)
        .without_time()
        .with_filter(filter);
    tracing_subscriber::registry()
        .with(log)
        .with(recorder.map(updraft::TraceRecorder::layer))
        .init();
}

/// For those who leave out `run`: what they wanted, or nothing.
fn run_hint(first: Option<std::ffi::OsString>) -> String {
    let file = first.filter(|file| std::path::Path::new(file).is_file());
    file.map(|file| format!("To run the program: updraft run {}\n", file.display()))
        .unwrap_or_default()
}

/// The module in a file.
fn load(engine: &updraft::Engine, file: &std::path::Path) -> Result<updraft::Module, String> {
    updraft::Module::from_file(engine, file).map_err(|error| match error {
        updraft::ModuleError::Io { path, source } => {
            format!("cannot read {}: {source}", path.display())
        }
        error => format!("{}: {error}", file.display()),
    })
}

/// Reports an error and gives the exit code for it.
fn fail(error: &dyn std::fmt::Display) -> i32 {
    print_err(&format!("updraft: {error}\n"));
    FAILURE
}

/// Standard output may be closed by whoever reads it; that is not an error of ours.
fn print_out(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn print_err(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Ends the process without running destructors: compile threads may be in LLVM, whose own would pull the rug from
/// under them.
fn exit(code: i32) -> ! {
    let _ = std::io::stdout().flush();
    // SAFETY: ends the process; nothing of it is needed any more.
    unsafe { libc::_exit(code) }
}
