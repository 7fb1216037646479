//! Long runs: what it costs to begin in the interpreter and move up while running.
//!
//! Measures: each kernel under `tiered`, cold, and under `full` with compile time left out (a short call before has compiled
//! everything), with an amount of work that takes `full` five seconds. Unit: seconds, and tiered / full; 1 would be a tier-up that
//! costs nothing. Baseline: `full`, in the same run, its runs alternating with those of `tiered`; medians are compared.
//! The goal is a ratio of at most 1.25.
//!
//! It takes minutes, so `cargo bench` leaves it out; ask for it by name:
//!
//!     cargo bench --bench tiered -- [--seconds 5] [--runs 3] [KERNEL ...]
//!
//! It prints a table and writes the same as JSON, to target/tmp/tiered.json.

#[path = "support/figures.rs"]
mod figures;
#[path = "support/kernels.rs"]
mod kernels;

use figures::median;
use kernels::{KERNELS, Kernel, Loaded};
use serde_json::json;
use std::time::Instant;
use updraft::Strategy;

struct Options {
    /// How long a run of `full` is to take, about.
    seconds: f64,
    /// Runs of each kind.
    runs: usize,
    /// Kernels; empty for all.
    kernels: Vec<String>,
}

impl Options {
    fn parse() -> Result<Options, String> {
        let mut options = Options { seconds: 5.0, runs: 3, kernels: Vec::new() };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut number = || {
                let text = args.next().ok_or_else(|| format!("{arg} wants a number"))?;
                text.parse::<f64>().map_err(|_| format!("{text:?} is no number"))
            };
            match arg.as_str() {
                "--seconds" => options.seconds = number()?,
                "--runs" => options.runs = (number()? as usize).max(1),
                // As for criterion's benchmarks: see that it works, and do not measure.
                "--test" => (options.seconds, options.runs) = (0.05, 1),
                "--bench" => {}
                name if KERNELS.iter().any(|k| k.name == name) => options.kernels.push(arg),
                _ => return Err(format!("unknown argument {arg:?}")),
            }
        }
        Ok(options)
    }
}

struct Comparison {
    name: &'static str,
    amount: i32,
    full: f64,
    tiered: f64,
}

impl Comparison {
    fn ratio(&self) -> f64 {
        self.tiered / self.full
    }
}

fn seconds(run: impl FnOnce() -> i64) -> (f64, i64) {
    let start = Instant::now();
    let result = run();
    (start.elapsed().as_secs_f64(), result)
}

/// The amount that is this many times as much work as another.
fn scaled(kernel: &Kernel, amount: i32, factor: f64) -> i32 {
    const GOLDEN_RATIO: f64 = 1.618_033_988_749_895;
    let scaled = match kernel.name {
        // Each index costs as much as the two before it.
        "fib" => f64::from(amount) + factor.log(GOLDEN_RATIO),
        _ => f64::from(amount) * factor,
    };
    (scaled.round() as i32).max(1)
}

/// A kernel that full code has been made for.
fn warm(kernel: &Kernel) -> Loaded {
    let mut warm = kernel.load(Strategy::Full);
    assert_eq!(warm.run(kernel.small), kernel.expected, "{}", kernel.name);
    warm
}

/// The amount of work for which `full` takes this long.
fn calibrate(kernel: &Kernel, wanted: f64) -> i32 {
    let mut full = warm(kernel);
    let mut amount = kernel.small;
    loop {
        let (time, _) = seconds(|| full.run(amount));
        // Short runs say little about long ones: go up in steps, until one is of the wanted order.
        if time > wanted / 4.0 {
            return scaled(kernel, amount, wanted / time);
        }
        amount = scaled(kernel, amount, (wanted / time).clamp(1.7, 10.0));
    }
}

fn compare(kernel: &Kernel, options: &Options) -> Comparison {
    let amount = calibrate(kernel, options.seconds);
    let (mut full, mut tiered) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let mut warm = warm(kernel);
        let (time, expected) = seconds(|| warm.run(amount));
        full.push(time);
        let mut cold = kernel.load(Strategy::Tiered);
        let (time, result) = seconds(|| cold.run(amount));
        tiered.push(time);
        assert_eq!(result, expected, "{} gives another result when tiered", kernel.name);
    }
    Comparison { name: kernel.name, amount, full: median(full), tiered: median(tiered) }
}

fn main() {
    let options = Options::parse().unwrap_or_else(|error| {
        eprintln!("tiered: {error}");
        std::process::exit(2);
    });
    if let Err(error) = updraft::llvm_version() {
        println!("tiered: nothing to compare without a compiler: {error}");
        return;
    }
    println!("{:<8} {:>12} {:>9} {:>9} {:>7}", "kernel", "amount", "full s", "tiered s", "ratio");
    let mut all = Vec::new();
    for kernel in &KERNELS {
        if !options.kernels.is_empty() && !options.kernels.iter().any(|name| name == kernel.name) {
            continue;
        }
        let result = compare(kernel, &options);
        let Comparison { name, amount, full, tiered } = result;
        println!("{name:<8} {amount:>12} {full:>9.3} {tiered:>9.3} {:>7.3}", result.ratio());
        all.push(result);
    }
    let logs: f64 = all.iter().map(|c| c.ratio().ln()).sum();
    let geomean = (logs / all.len() as f64).exp();
    println!("{:<8} {:>40.3}", "geomean", geomean);
    let kernels: Vec<_> = all
        .iter()
        .map(|c| {
            json!({ "kernel": c.name, "amount": c.amount, "full_seconds": c.full,
                "tiered_seconds": c.tiered, "ratio": c.ratio() })
        })
        .collect();
    let report = json!({ "runs": options.runs, "kernels": kernels, "geomean": geomean });
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/tiered.json");
    std::fs::write(path, format!("{report:#}\n")).expect("target/tmp can be written to");
    println!("as JSON: {path}");
}
