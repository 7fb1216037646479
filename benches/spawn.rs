//! Threads: making one and waiting until it is done.
//!
//! Measures: `wasi.thread-spawn` of threads that count themselves and notify the main thread, which waits for all of them; one at
//! a time, or eight at once. Unit: time per thread. Baseline: the same with `std::thread`, spawned and joined. The program
//! `spawnstorm` is measured whole, with its pthreads: time per thread, process set-up included.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::path::Path;
use std::time::{Duration, Instant};
use updraft::{Config, Engine, Linker, Module, Process, ProcessConfig, Strategy, WasiCtxBuilder};

/// `spawn(rounds, at_once)` makes that many threads, round by round; it returns how many ran, or -1 if one was refused.
const PROGRAM: &str = r#"(module
  (import "env" "memory" (memory 1 1 shared))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (func (export "wasi_thread_start") (param $id i32) (param $argument i32)
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
    (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
  (func (export "spawn") (param $rounds i32) (param $at_once i32) (result i32)
    (local $i i32) (local $done i32) (local $all i32)
    (loop $round
      (i32.atomic.store (i32.const 0) (i32.const 0))
      (local.set $i (local.get $at_once))
      (loop $start
        (if (i32.lt_s (call $spawn (i32.const 0)) (i32.const 0)) (then (return (i32.const -1))))
        (br_if $start (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
      (loop $wait
        (if (i32.lt_u (local.tee $done (i32.atomic.load (i32.const 0))) (local.get $at_once))
          (then
            (drop (memory.atomic.wait32 (i32.const 0) (local.get $done) (i64.const -1)))
            (br $wait))))
      (local.set $all (i32.add (local.get $all) (local.get $done)))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $all)))"#;

/// Stack of a thread, as Updraft gives it by default.
const STACK: usize = 8 << 20;

/// Time of this many rounds in wasm.
fn wasm_rounds(engine: &Engine, module: &Module, rounds: u64, at_once: i32) -> Duration {
    let process = Process::new(&Linker::new(engine), module, &ProcessConfig::default());
    let spawned = process.expect("a memory of one page").run_entry("spawn", |store, spawn| {
        let spawn = spawn.typed::<(i32, i32), i32>(store)?;
        let start = Instant::now();
        let ran = spawn.call(store, (rounds as i32, at_once))?;
        Ok((start.elapsed(), ran))
    });
    let (time, ran) = spawned.expect("the program does not trap");
    assert_eq!(ran, rounds as i32 * at_once, "all threads have run");
    time
}

fn native_rounds(rounds: u64, at_once: i32) -> Duration {
    let start = Instant::now();
    for _ in 0..rounds {
        let spawn = |_| {
            std::thread::Builder::new()
                .stack_size(STACK)
                .spawn(|| ())
                .expect("a thread is to be had")
        };
        let threads: Vec<_> = (0..at_once).map(spawn).collect();
        for thread in threads {
            thread.join().expect("the thread does nothing");
        }
    }
    start.elapsed()
}

/// Time of one run of examples/threads/spawnstorm.wasm.
fn spawnstorm(engine: &Engine, module: &Module, joined: u32) -> Duration {
    let args = ["spawnstorm".to_owned(), joined.to_string(), "0".to_owned()];
    let start = Instant::now();
    let wasi = WasiCtxBuilder::new().args(args).build().expect("a context with arguments");
    let mut linker = Linker::new(engine);
    updraft::add_wasi(&mut linker, wasi);
    let process = Process::new(&linker, module, &ProcessConfig::default()).expect("a process");
    assert_eq!(process.run().expect("it does not trap"), 0);
    start.elapsed()
}

fn spawn(c: &mut Criterion) {
    let engine = Engine::new(Config { strategy: Strategy::Tiered, ..Config::default() });
    let module = Module::new(&engine, PROGRAM).expect("the program is valid");
    let mut group = c.benchmark_group("spawn");
    group.sample_size(20).warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(2));
    for at_once in [1, 8] {
        group.throughput(Throughput::Elements(at_once as u64));
        group.bench_function(format!("{at_once} at once/updraft"), |b| {
            b.iter_custom(|iters| wasm_rounds(&engine, &module, iters, at_once));
        });
        group.bench_function(format!("{at_once} at once/std::thread"), |b| {
            b.iter_custom(|iters| native_rounds(iters, at_once));
        });
    }
    const JOINED: u32 = 200;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/threads/spawnstorm.wasm");
    let storm = Module::from_file(&engine, Path::new(path)).expect("the example is valid");
    group.throughput(Throughput::Elements(u64::from(JOINED)));
    group.bench_function(format!("spawnstorm {JOINED}/updraft"), |b| {
        b.iter_custom(|iters| (0..iters).map(|_| spawnstorm(&engine, &storm, JOINED)).sum());
    });
    group.finish();
}

criterion_group!(benches, spawn);
criterion_main!(benches);
