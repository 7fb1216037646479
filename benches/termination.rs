//! The end of a program: from a cause in one thread until all threads are gone.
//!
//! Measures: from just before a trap of a child until `Process::run` has returned, while the main thread and two others spin, wait, sleep
//! in the host, recurse and so on; each has done so for 60 ms, and so is in whatever code its strategy gives it. Unit: time
//! per program. Goal: less than 50 ms, always; the slowest of all runs is printed beside criterion's mean.
//! Baseline, in the same run: native threads that wait on a condition variable until they are told to end, and are joined.
//!
//! `mix`: 64 threads, each in one of twelve activities, ended by a trap, an exit and from outside in turn. Goal: 5 ms in 99 of 100 runs
//! on an idle machine. `UPDRAFT_MIX=300 cargo bench --bench termination -- mix` prints the distribution of that many runs for each
//! strategy instead, native threads among them in turn. Whatever else runs meanwhile shows in the last hundredth.

#[path = "../tests/common/endings.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod endings;
#[path = "../tests/common/mixture.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod mixture;
#[path = "../tests/common/random.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod random;

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

/// Ends native threads that wait for it; how long that took.
fn end_native(count: usize) -> Duration {
    let told = Arc::new((Mutex::new(false), Condvar::new()));
    let threads: Vec<_> = (0..count)
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
        b.iter_custom(|iters| (0..iters).map(|_| end_native(3)).sum());
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

/// Threads of the mix, besides the main thread.
const MIXED: usize = 64;

/// A program of the mix under a strategy.
struct Mix {
    name: String,
    engine: Engine,
    module: Module,
}

impl Mix {
    fn new(strategy: Strategy) -> Mix {
        let mut random = random::Random::new(64);
        let set = mixture::ACTIVITIES;
        let activities: Vec<_> = (0..MIXED).map(|_| set[random.below(set.len())]).collect();
        let engine = Engine::new(Config { strategy, ..Config::default() });
        let module = Module::new(&engine, mixture::program(&activities));
        Mix { name: strategy.to_string(), engine, module: module.expect("the text is valid") }
    }

    fn end(&self, number: usize) -> Duration {
        let cause = mixture::CAUSES[number % mixture::CAUSES.len()];
        let pause = Duration::from_millis(LATER.into());
        mixture::end(&self.engine, &self.module, MIXED, cause, pause)
    }

    fn all() -> Vec<Mix> {
        let random = Strategy::Random { seed: 5 };
        let all = [Strategy::Interp, Strategy::Quick, Strategy::Full, Strategy::Tiered, random];
        all.into_iter().map(Mix::new).collect()
    }
}

fn mix(c: &mut Criterion) {
    let mixes = Mix::all();
    if let Ok(runs) = std::env::var("UPDRAFT_MIX") {
        distribution(&mixes, runs.parse().expect("UPDRAFT_MIX is a number of runs"));
        return;
    }
    let mut group = c.benchmark_group("mix");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(1));
    group.bench_function("native", |b| {
        b.iter_custom(|iters| (0..iters).map(|_| end_native(MIXED)).sum());
    });
    for mix in &mixes {
        let mut number = 0;
        group.bench_function(&mix.name, |b| {
            b.iter_custom(|iters| {
                let times = (0..iters).map(|_| {
                    number += 1;
                    mix.end(number)
                });
                times.sum()
            });
        });
    }
    group.finish();
}

/// Runs all strategies and the native threads in turn, and prints how their times are distributed.
fn distribution(mixes: &[Mix], runs: usize) {
    let mut times = vec![Vec::new(); mixes.len() + 1];
    for number in 0..runs {
        for (mix, times) in mixes.iter().zip(&mut times) {
            times.push(mix.end(number));
        }
        times[mixes.len()].push(end_native(MIXED));
    }
    println!("{:>12} {:>10} {:>10} {:>10} {:>10}", "", "p50", "p90", "p99", "most");
    let names = mixes.iter().map(|mix| mix.name.as_str()).chain(["native"]);
    for (name, mut times) in names.zip(times) {
        times.sort_unstable();
        // The least time that so many of the runs have kept to.
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        let [half, ninety, most] = [at(50), at(90), at(100)];
        println!("{name:>12} {half:>10.2?} {ninety:>10.2?} {:>10.2?} {most:>10.2?}", at(99));
    }
}

criterion_group!(benches, termination, mix);
criterion_main!(benches);
