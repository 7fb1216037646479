//! The end of a program: from a cause in one thread until all threads are gone.
//!
//! Measures: from just before a trap of a child until `Process::run` has returned, while the main thread and two others spin, wait, sleep
//! in the host, recurse and so on; each has done so for 60 ms, and so is in whatever code its strategy gives it. Unit: time
//! per program. Goal: less than 50 ms, always; the slowest of all runs is printed beside criterion's mean.
//! Baseline, in the same run: native threads that wait on a condition variable until they are told to end, and are joined.

#[path = "../tests/common/endings.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod endings;

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use endings::{LATER, Place, program};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use updraft::{
    Config, Engine, Error, Linker, Module, Process, ProcessConfig, Strategy, WasiCtxBuilder,
};

const ACTIVITIES: [&str; 8] =
    ["spin", "spin_on_load", "wait", "sleep", "read", "recurse", "fill", "storm"];

/// Runs a program to its end; how long the end took.
fn end(engine: &Engine, module: &Module) -> Duration {
    let caused = Arc::new(Mutex::new(None));
    let mark = caused.clone();
    let mut linker = Linker::new(engine);
    linker.func("host", "mark", move |_, ()| {
        *mark.lock().expect("nobody panics") = Some(Instant::now());
        Ok(())
    });
    // A pipe that stays open, and silent.
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    let wasi = WasiCtxBuilder::new().stdin_fd(reader).build().expect("a pipe will do");
    updraft::add_wasi(&mut linker, wasi);
    let process =
        Process::new(&linker, module, &ProcessConfig::default()).expect("40 MB of memory");
    let result = process.run();
    let ended = Instant::now();
    assert!(matches!(result, Err(Error::Trap(_))), "{result:?}");
    ended - caused.lock().expect("nobody panics").expect("the cause came first")
}

/// Ends three native threads that wait for it; how long that took.
fn end_native() -> Duration {
    let told = Arc::new((Mutex::new(false), Condvar::new()));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let told = told.clone();
            std::thread::spawn(move || {
                let told = &*told;
                let end = told.0.lock().expect("nobody panics");
                drop(told.1.wait_while(end, |end| !*end).expect("nobody panics"));
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(LATER.into()));
    let start = Instant::now();
    *told.0.lock().expect("nobody panics") = true;
    told.1.notify_all();
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
    start.elapsed()
}

fn termination(c: &mut Criterion) {
    let mut group = c.benchmark_group("termination");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(1));
    group.bench_function("native", |b| {
        b.iter_custom(|iters| (0..iters).map(|_| end_native()).sum());
    });
    for strategy in [Strategy::Interp, Strategy::Full, Strategy::Tiered] {
        let engine = Engine::new(Config { strategy, ..Config::default() });
        for activity in ACTIVITIES {
            let text = program(activity, "(call $mark) unreachable", Place::Child, LATER);
            let import = r#"(module (import "host" "mark" (func $mark))"#;
            let module = Module::new(&engine, text.replacen("(module", import, 1));
            let module = module.expect("the text is valid");
            let mut slowest = Duration::ZERO;
            group.bench_function(format!("{activity}/{strategy}"), |b| {
                b.iter_custom(|iters| {
                    let times = (0..iters).map(|_| end(&engine, &module));
                    times.inspect(|time| slowest = slowest.max(*time)).sum()
                });
            });
            println!("{:>24}slowest: {slowest:.2?}", "");
        }
    }
    group.finish();
}

criterion_group!(benches, termination);
criterion_main!(benches);
