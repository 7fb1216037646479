//! `updraft wast`.

use super::{FAILURE, print_err, print_out};
use serde::Serialize;
use std::path::{Path, PathBuf};
use updraft::wast::{Remark, Report};
use updraft::{Config, Engine, Strategy, Tuning};

#[derive(clap::Args)]
pub struct Args {
    /// Scripts (.wast), or modules in the text format
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// When to compile: interp, quick, full, tiered or random[:SEED]
    #[arg(long, value_name = "STRATEGY", default_value = "tiered")]
    tier: Strategy,

    /// Under the tiered strategy, compile what runs for more than a moment
    #[arg(long)]
    eager: bool,

    /// Also print what was skipped
    #[arg(long)]
    skipped: bool,

    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// A file and what became of it, for `--json`.
#[derive(Serialize)]
struct FileReport<'a> {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    report: &'a Report,
}

pub fn main(args: &Args) -> i32 {
    // Scripts recurse as deep as the stack allows; it should not matter how the command was started.
    let stack = Config::default().native_stack;
    let thread = std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("wasm-main".into()).stack_size(stack);
        builder.spawn_scoped(scope, || run(args)).map(std::thread::ScopedJoinHandle::join)
    });
    match thread {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => {
            super::fail(&"the engine failed; this is a defect of Updraft, please report it")
        }
        Err(error) => super::fail(&format!("cannot start a thread: {error}")),
    }
}

fn run(args: &Args) -> i32 {
    let tuning = if args.eager { Tuning::EAGER } else { Tuning::default() };
    let engine = Engine::new(Config { strategy: args.tier, tuning, ..Config::default() });
    let (mut all, mut bad_files) = (Report::default(), 0);
    let mut json = Vec::new();
    for path in &args.files {
        let (report, error) = match run_file(&engine, path) {
            Ok(report) => (report, None),
            Err(error) => (Report::default(), Some(error)),
        };
        bad_files += usize::from(error.is_some());
        if args.json {
            let file = FileReport { file: path.display().to_string(), error, report: &report };
            json.push(serde_json::to_value(file).unwrap_or_default());
        } else {
            if let Some(error) = &error {
                print_err(&format!("updraft: {error}\n"));
            }
            print_remarks(path, "failed", &report.failed);
            if args.skipped {
                print_remarks(path, "skipped", &report.skipped);
            }
        }
        all.append(report);
    }
    if args.json {
        print_out(&format!("{:#}\n", serde_json::Value::Array(json)));
    } else {
        let (failed, skipped) = (all.failed.len(), all.skipped.len());
        print_out(&format!("{} passed, {failed} failed, {skipped} skipped\n", all.passed));
    }
    if bad_files > 0 || !all.failed.is_empty() { FAILURE } else { 0 }
}

fn run_file(engine: &Engine, path: &Path) -> Result<Report, String> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    let text =
        std::str::from_utf8(&bytes).map_err(|error| format!("{name}: not a text: {error}"))?;
    updraft::wast::run(engine, text).map_err(|error| format!("{name}:{error}"))
}

fn print_remarks(path: &Path, what: &str, remarks: &[Remark]) {
    for Remark { line, column, message } in remarks {
        print_out(&format!("{}:{line}:{column}: {what}: {message}\n", path.display()));
    }
}
