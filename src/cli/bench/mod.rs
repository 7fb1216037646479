//! `updraft bench`: one program under several strategies, measured in turns.

mod output;
mod steady;

use super::measure::{self, Run};
use super::stats::Summary;
use super::{fail, progress};
use clap::ValueEnum;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use steady::Steady;
use updraft::Strategy;

#[derive(clap::Args)]
pub struct Args {
    /// The program: a .wasm or .wat file
    file: PathBuf,

    /// Arguments of the program (or of the function, with --invoke); those that begin with a hyphen come after --
    #[arg(allow_negative_numbers = true)]
    args: Vec<String>,

    /// Strategies to compare: interp, quick, full, tiered, random[:SEED]
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "interp,quick,full,tiered"
    )]
    tiers: Vec<Strategy>,

    /// Runs of each; they take turns, so that a change of the machine's mood meets all
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,

    /// Call this exported function again and again in each run, and look for the steady state
    #[arg(long, value_name = "FUNCTION")]
    invoke: Option<String>,

    /// Calls of it in each run
    #[arg(long, value_name = "N", default_value_t = 100, requires = "invoke", value_parser = clap::value_parser!(u32).range(4..=10_000_000))]
    iterations: u32,

    /// A native build of the program, run with the same arguments as a baseline
    #[arg(long, value_name = "PROGRAM", conflicts_with = "invoke")]
    native: Option<PathBuf>,

    /// Give the program a directory, as for `updraft run`
    #[arg(long, value_name = "HOST[::GUEST]")]
    dir: Vec<String>,

    /// Set an environment variable of the program
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,

    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,

    /// Write it here, and not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
    Html,
}

/// What is compared: a strategy, or the native program.
#[derive(Debug, Clone, PartialEq)]
enum Contender {
    Tier(Strategy),
    Native(PathBuf),
}

impl std::fmt::Display for Contender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Contender::Tier(strategy) => strategy.fmt(f),
            Contender::Native(_) => f.write_str("native"),
        }
    }
}

/// The figures of one contender. Times are in seconds.
#[derive(Debug, Serialize)]
struct Figures {
    contender: String,
    wall: Summary,
    cpu: Summary,
    /// Seconds that compile threads took; none for the native program.
    compile: Option<Summary>,
    peak_memory_bytes: Summary,
    /// How many times as long as the first contender, by medians of wall time.
    ratio: f64,
    /// Whether all runs printed what the first run of all printed.
    same_output: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    iterations: Option<Iterations>,
    /// Every run.
    runs: Vec<RunFigures>,
}

#[derive(Debug, Clone, Serialize)]
struct RunFigures {
    wall: f64,
    cpu: f64,
    compile: Option<f64>,
    peak_memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    steady: Option<Steady>,
    /// Seconds of each iteration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    times: Vec<f64>,
}

/// What the iterations of a contender came to.
#[derive(Debug, Serialize)]
struct Iterations {
    /// How many runs were of each class.
    classes: BTreeMap<String, u32>,
    steady: Summary,
    warm_up: Summary,
    to_90_percent: Summary,
}

/// All of a benchmark.
#[derive(Debug, Serialize)]
struct Report {
    program: String,
    arguments: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoke: Option<String>,
    version: &'static str,
    processors: usize,
    contenders: Vec<Figures>,
}

pub fn main(args: &Args) -> i32 {
    match bench(args) {
        Ok(text) => match &args.output {
            None => {
                super::print_out(&text);
                0
            }
            Some(path) => match super::report::write(path, &text) {
                Ok(()) => 0,
                Err(error) => fail(&error),
            },
        },
        Err(error) => fail(&error),
    }
}

fn bench(args: &Args) -> Result<String, String> {
    let mut contenders: Vec<Contender> = Vec::new();
    for strategy in &args.tiers {
        let contender = Contender::Tier(*strategy);
        if contenders.contains(&contender) {
            return Err(format!("--tiers names {strategy} twice"));
        }
        contenders.push(contender);
    }
    contenders.extend(args.native.clone().map(Contender::Native));
    if let Some(path) = &args.output
        && let Err(error) = std::fs::File::create(path)
    {
        return Err(format!("cannot write {}: {error}", path.display()));
    }

    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let side = folder.path().join("figures.json");
    let progress = progress::bar(u64::from(args.runs) * contenders.len() as u64);
    let mut first_output: Option<Vec<u8>> = None;
    let mut runs: Vec<Vec<RunFigures>> = contenders.iter().map(|_| Vec::new()).collect();
    let mut same: Vec<bool> = vec![true; contenders.len()];
    for _ in 0..args.runs {
        for (index, contender) in contenders.iter().enumerate() {
            progress.set_message(contender.to_string());
            let _ = std::fs::remove_file(&side);
            let run = measure::run(command(args, contender, &side)?, None)
                .map_err(|error| format!("cannot run {contender}: {error}"))?;
            let first = first_output.get_or_insert_with(|| run.stdout.clone());
            same[index] &= *first == run.stdout;
            runs[index].push(figures(args, contender, &run, &side)?);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();

    let mut figures: Vec<Figures> = Vec::new();
    for ((contender, runs), same_output) in contenders.iter().zip(runs).zip(same) {
        let base = figures.first().map(|first: &Figures| first.wall.median);
        figures.push(summarise(contender, runs, same_output, base));
    }
    let report = Report {
        program: args.file.display().to_string(),
        arguments: args.args.clone(),
        invoke: args.invoke.clone(),
        version: env!("CARGO_PKG_VERSION"),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        contenders: figures,
    };
    Ok(match args.format {
        Format::Table => output::table(&report),
        Format::Json => output::json(&report),
        Format::Csv => output::csv(&report),
        Format::Html => output::html(&report).map_err(|error| error.to_string())?,
    })
}

/// The process that makes one run; what it knows of itself goes to `side`.
fn command(args: &Args, contender: &Contender, side: &Path) -> Result<Command, String> {
    let strategy = match contender {
        Contender::Native(program) => {
            let mut command = Command::new(program);
            command.args(&args.args);
            return Ok(command);
        }
        Contender::Tier(strategy) => strategy.to_string(),
    };
    let updraft =
        std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut command = Command::new(updraft);
    command.arg("run").arg("--stats-file").arg(side);
    if let Some(function) = &args.invoke {
        command.args(["--invoke", function, "--iterations", &args.iterations.to_string()]);
    }
    command.args(["--tier", &strategy]);
    for (flag, values) in [("--dir", &args.dir), ("--env", &args.env)] {
        for value in values {
            command.args([flag, value]);
        }
    }
    command.arg(&args.file).args(&args.args);
    Ok(command)
}

/// The figures of a run; an error if the program failed.
fn figures(
    args: &Args,
    contender: &Contender,
    run: &Run,
    side: &Path,
) -> Result<RunFigures, String> {
    if !run.status.success() {
        let text = String::from_utf8_lossy(&run.stderr);
        return Err(format!("{contender} failed ({}):\n{}", run.status, text.trim_end()));
    }
    let mut result = RunFigures {
        wall: run.wall.as_secs_f64(),
        cpu: run.cpu.as_secs_f64(),
        compile: None,
        peak_memory_bytes: run.peak_memory,
        steady: None,
        times: Vec::new(),
    };
    if matches!(contender, Contender::Native(_)) {
        return Ok(result);
    }
    let wrong = |error: &dyn std::fmt::Display| format!("{contender} gave no figures: {error}");
    let text = std::fs::read_to_string(side).map_err(|error| wrong(&error))?;
    let told: serde_json::Value = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    let tiers = told["tiers"].as_object().ok_or_else(|| wrong(&"no tiers"))?;
    let seconds = tiers.values().filter_map(|tier| tier["compile_seconds"].as_f64());
    result.compile = Some(seconds.sum());
    if args.invoke.is_some() {
        let times = told["iteration_seconds"].as_array().ok_or_else(|| wrong(&"no times"))?;
        result.times = times.iter().filter_map(serde_json::Value::as_f64).collect();
        result.steady = steady::classify(&result.times);
    }
    Ok(result)
}

fn summarise(
    contender: &Contender,
    runs: Vec<RunFigures>,
    same_output: bool,
    base: Option<f64>,
) -> Figures {
    let all =
        |value: fn(&RunFigures) -> f64| Summary::new(&runs.iter().map(value).collect::<Vec<f64>>());
    let wall = all(|run| run.wall);
    let compile: Option<Vec<f64>> = runs.iter().map(|run| run.compile).collect();
    let steady: Vec<&Steady> = runs.iter().filter_map(|run| run.steady.as_ref()).collect();
    let iterations = (!steady.is_empty()).then(|| {
        let of = |value: fn(&Steady) -> f64| {
            Summary::new(&steady.iter().map(|steady| value(steady)).collect::<Vec<f64>>())
        };
        let mut classes = BTreeMap::new();
        for one in &steady {
            *classes.entry(one.class.to_string()).or_default() += 1;
        }
        Iterations {
            classes,
            steady: of(|steady| steady.seconds),
            warm_up: of(|steady| steady.warm_up_seconds),
            to_90_percent: of(|steady| steady.to_90_percent_seconds),
        }
    });
    Figures {
        contender: contender.to_string(),
        ratio: wall.median / base.unwrap_or(wall.median),
        wall,
        cpu: all(|run| run.cpu),
        compile: compile.map(|values| Summary::new(&values)),
        peak_memory_bytes: all(|run| run.peak_memory_bytes as f64),
        same_output,
        iterations,
        runs,
    }
}
