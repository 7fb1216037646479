//! What a profile costs: programs with and without a profiler at 1 kHz, in turns.
//!
//! Measures: whole runs of threaded programs in the interpreter and in full code, compiled before. Units: wall clock, and processor time of
//! the process, that of the sampling thread included. Baseline: the same without a profiler. Criterion gets the times of each; printed
//! besides are the medians of the ratios of runs that followed each other.

use criterion::{Criterion, criterion_group, criterion_main};
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

    /// Runs it; gives wall clock and processor time.
    fn run(&self, profiled: bool) -> [Duration; 2] {
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
        [start.elapsed(), cpu_time() - cpu]
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn profile(c: &mut Criterion) {
    let programs = [
        ("mergesort.wasm", &["1000000", "2"][..]),
        ("compress.wasm", &[]),
        ("mandelbrot.wasm", &[]),
    ];
    for (name, args) in programs {
        for strategy in [Strategy::Interp, Strategy::Full] {
            let program = Program::new(strategy, name, args);
            program.run(false);
            // One list for each of the two times.
            let ratios = RefCell::new([Vec::new(), Vec::new()]);
            let mut group = c.benchmark_group(format!("{name} {strategy}"));
            group.sample_size(10);
            for profiled in [false, true] {
                let title = if profiled { "profiled" } else { "plain" };
                group.bench_function(title, |b| {
                    b.iter_custom(|rounds| {
                        let mut sum = Duration::ZERO;
                        for _ in 0..rounds {
                            // In turns, whichever of the two is asked for.
                            let (plain, with) = (program.run(false), program.run(true));
                            for (ratios, time) in ratios.borrow_mut().iter_mut().zip([0, 1]) {
                                ratios.push(with[time].as_secs_f64() / plain[time].as_secs_f64());
                            }
                            sum += if profiled { with[0] } else { plain[0] };
                        }
                        sum
                    });
                });
            }
            group.finish();
            let [wall, cpu] = ratios.into_inner();
            if !wall.is_empty() {
                let pairs = wall.len();
                let (wall, cpu) = (median(wall), median(cpu));
                println!(
                    "{name} {strategy}: profiled / plain, median of {pairs} pairs: {wall:.3} of wall clock, {cpu:.3} of processor time"
                );
            }
        }
    }
}

criterion_group!(benches, profile);
criterion_main!(benches);
