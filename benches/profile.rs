//! What a profile costs: programs with and without a profiler at 1 kHz, in turns.
//!
//! Measures: whole runs of threaded programs in the interpreter and in full code, compiled before: about a second, as what people profile, and
//! short ones, in which the start and the end of the profile are most of it. Units: wall clock, and processor time of the process, that of
//! the sampling thread included. Baseline: the same without a profiler. Criterion gets the times of each; printed besides are the medians
//! of the ratios of runs that followed each other, and of what a sample costs in processor time.

#[path = "support/figures.rs"]
mod figures;

use criterion::{Criterion, criterion_group, criterion_main};
use figures::median;
use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};
use updraft::{
    Config, Engine, Linker, Module, Process, ProcessConfig, ProfileConfig, Profiler, Strategy,
    WasiCtxBuilder,
};

/// Processor time of this process.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills the time.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

struct Program {
    engine: Engine,
    module: Module,
    args: Vec<String>,
}

impl Program {
    fn new(strategy: Strategy, name: &str, args: &[&str]) -> Program {
        let engine = Engine::new(Config { strategy, ..Config::default() });
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/threads");
        let module = Module::from_file(&engine, folder.join(name)).expect("it is valid");
        let args = std::iter::once(name).chain(args.iter().copied()).map(str::to_owned).collect();
        Program { engine, module, args }
    }

    /// Runs it; gives wall clock, processor time, and the samples that were taken.
    fn run(&self, profiled: bool) -> ([Duration; 2], u64) {
        let wasi = WasiCtxBuilder::new().args(self.args.clone()).build().expect("a context");
        let mut linker = Linker::new(&self.engine);
        updraft::add_wasi(&mut linker, wasi);
        let config = ProcessConfig::default();
        let process = Process::new(&linker, &self.module, &config).expect("a process");
        let profiler = profiled.then(|| Profiler::new(ProfileConfig::default()));
        let (start, cpu) = (Instant::now(), cpu_time());
        let watch = profiler.as_ref().map(|p| process.observer().watch(None, Some(p)));
        assert_eq!(process.run().expect("it does not trap"), 0);
        drop(watch);
        let times = [start.elapsed(), cpu_time() - cpu];
        (times, profiler.map_or(0, |profiler| profiler.samples()))
    }
}

/// Programs, arguments, and the strategies under which they are run.
const CASES: [(&str, &[&str], &[Strategy]); 6] = [
    ("mandelbrot.wasm", &["--checksum", "1600", "2"], &[Strategy::Interp]),
    ("mandelbrot.wasm", &["--checksum", "3200", "2"], &[Strategy::Full]),
    ("compress.wasm", &["--checksum", "--generate", "40000000"], &[Strategy::Full]),
    ("mergesort.wasm", &["1000000", "2"], &[Strategy::Interp, Strategy::Full]),
    ("mandelbrot.wasm", &[], &[Strategy::Interp, Strategy::Full]),
    ("compress.wasm", &[], &[Strategy::Interp, Strategy::Full]),
];

fn profile(c: &mut Criterion) {
    for (name, args, strategies) in CASES {
        for strategy in strategies {
            let program = Program::new(*strategy, name, args);
            let title = format!("{} {strategy}", [&[name], args].concat().join(" "));
            program.run(false);
            // Of wall clock, of processor time, and microseconds for each sample.
            let figures = RefCell::new([Vec::new(), Vec::new(), Vec::new()]);
            let mut group = c.benchmark_group(&title);
            group.sample_size(10);
            for profiled in [false, true] {
                group.bench_function(if profiled { "profiled" } else { "plain" }, |b| {
                    b.iter_custom(|rounds| {
                        let mut sum = Duration::ZERO;
                        for _ in 0..rounds {
                            // In turns, whichever of the two is asked for.
                            let ((plain, _), (with, samples)) =
                                (program.run(false), program.run(true));
                            let seconds =
                                |times: [Duration; 2]| times.map(|time| time.as_secs_f64());
                            let ([plain_wall, plain_cpu], [wall, cpu]) =
                                (seconds(plain), seconds(with));
                            let each = (cpu - plain_cpu) * 1e6 / samples.max(1) as f64;
                            let new = [wall / plain_wall, cpu / plain_cpu, each];
                            let mut figures = figures.borrow_mut();
                            figures.iter_mut().zip(new).for_each(|(list, new)| list.push(new));
                            sum += if profiled { with[0] } else { plain[0] };
                        }
                        sum
                    });
                });
            }
            group.finish();
            let figures = figures.into_inner();
            let pairs = figures[0].len();
            if pairs > 0 {
                let [wall, cpu, each] = figures.map(median);
                println!(
                    "{title}: profiled / plain, median of {pairs} pairs: {wall:.3} of wall clock, {cpu:.3} of processor time, {each:.1} us a \
                     sample"
                );
            }
        }
    }
}

criterion_group!(benches, profile);
criterion_main!(benches);
