//! Threads that the host starts in a program, in each tier: results, limits, and every way to end.

mod common;

use common::per_strategy;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use updraft::{
    Config, Engine, Error, Exit, Linker, Module, Process, ProcessConfig, Stopped, TrapCode,
};

const PROGRAM: &str = r#"(module
  (import "host" "exit" (func $exit (param i32)))
  (import "host" "here" (func $here))
  (import "env" "memory" (memory 1 1 shared))
  (func $sum (export "sum") (param $n i32) (result i32) (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (local.get $n)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
    (local.get $sum))
  (func (export "wasi_thread_start") (param i32 i32)
    (drop (call $sum (local.get 1)))
    (drop (memory.atomic.notify (i32.const 0) (i32.const -1))))
  (func (export "spin") (call $here) (loop (br 0)))
  (func (export "park") (call $here)
    (drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const -1))))
  (func (export "trap") unreachable)
  (func (export "exit") (param i32) (call $exit (local.get 0)))
  (func (export "await") (param $count i32) (local $now i32)
    (loop $again
      (local.set $now (i32.atomic.load (i32.const 0)))
      (if (i32.lt_u (local.get $now) (local.get $count)) (then
        (drop (memory.atomic.wait32 (i32.const 0) (local.get $now) (i64.const -1)))
        (br $again))))))"#;

struct Host {
    engine: Engine,
    module: Module,
    linker: Linker,
    /// Threads that have come to `spin` or `park`.
    here: Arc<AtomicU32>,
}

impl Host {
    fn new(strategy: &str) -> Host {
        let strategy = strategy.parse().unwrap();
        let engine = Engine::new(Config { strategy, ..Config::default() });
        let module = Module::new(&engine, PROGRAM).unwrap();
        let mut linker = Linker::new(&engine);
        linker.func("host", "exit", |_, code: i32| -> Result<(), Error> { Err(Error::Exit(code)) });
        let here = Arc::new(AtomicU32::new(0));
        let count = here.clone();
        linker.func("host", "here", move |_, ()| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        Host { engine, module, linker, here }
    }

    fn process(&self, max_threads: u32) -> Process {
        let config = ProcessConfig { max_threads, ..ProcessConfig::default() };
        Process::new(&self.linker, &self.module, &config).unwrap()
    }

    /// Waits until so many threads are in `spin` or `park`.
    fn wait_for(&self, threads: u32) {
        while self.here.load(Ordering::SeqCst) < threads {
            std::thread::yield_now();
        }
    }
}

/// Runs `await` for so many sums.
fn run_await(process: Process, count: i32) -> Result<(), Error> {
    process.run_entry("await", |store, wait| wait.typed::<i32, ()>(store)?.call(store, count))
}

fn workers_give_their_results(strategy: &str) {
    let host = Host::new(strategy);
    let process = host.process(8);
    let spawner = process.spawner();
    let sums = process
        .run_entry("await", |store, wait| {
            let worker = |n: i32| {
                spawner.spawn_with(move |store, instance| {
                    instance.typed::<i32, i32>(store, "sum")?.call(store, n)
                })
            };
            let workers = (1..=8).map(|n| worker(n * 1000)).collect::<Result<Vec<_>, _>>()?;
            let mut ids: Vec<u32> = workers.iter().map(|worker| worker.id()).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 8, "all alive at once");
            let sums = workers.into_iter().map(|w| w.join()).collect::<Result<Vec<_>, _>>()?;
            wait.typed::<i32, ()>(store)?.call(store, 8)?;
            Ok(sums)
        })
        .unwrap();
    let expected: Vec<i32> = (1..=8).map(|n| n * 1000 * (n * 1000 + 1) / 2).collect();
    assert_eq!(sums, expected);
    assert!(matches!(spawner.spawn(1), Err(Error::Spawn(_))), "the program has ended");
}

fn threads_start_before_the_program(strategy: &str) {
    let host = Host::new(strategy);
    let process = host.process(3);
    let spawner = process.spawner();
    for n in 1..=3 {
        spawner.spawn(n).unwrap();
    }
    run_await(process, 3).unwrap();
}

fn limits_hold_for_the_host_too(strategy: &str) {
    let host = Host::new(strategy);
    let process = host.process(2);
    let spawner = process.spawner();
    let park = || {
        spawner
            .spawn_with(|store, instance| instance.typed::<(), ()>(store, "park")?.call(store, ()))
    };
    let parked = [park().unwrap(), park().unwrap()];
    match park() {
        Err(Error::Spawn(reason)) => assert!(reason.contains("limit of 2 threads"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // The end of the first thread ends the others.
    run_await(process, 0).unwrap();
    for thread in parked {
        assert!(matches!(thread.join(), Err(Error::Stopped(Stopped::ByGroup))));
    }
}

fn workers_end_the_program(strategy: &str) {
    let host = Host::new(strategy);
    for (export, argument) in [("trap", None), ("exit", Some(5)), ("error", None)] {
        let process = host.process(4);
        let spawner = process.spawner();
        let result = process.run_entry("await", |store, wait| {
            spawner.spawn_with(move |store, instance| match (export, argument) {
                ("error", _) => Err(Error::host("the host's own")),
                (name, None) => instance.typed::<(), ()>(store, name)?.call(store, ()),
                (name, Some(code)) => instance.typed::<i32, ()>(store, name)?.call(store, code),
            })?;
            wait.typed::<i32, ()>(store)?.call(store, 1)
        });
        match (export, Exit::of(result.map(|()| 0)).unwrap()) {
            ("trap", Exit::Trap(trap)) => {
                assert_eq!(trap.code, TrapCode::Unreachable);
                assert_ne!(trap.thread, 0);
            }
            ("exit", Exit::Code(5)) => {}
            ("error", Exit::Host(error)) => assert_eq!(error.to_string(), "the host's own"),
            (name, exit) => panic!("{name}: {exit:?}"),
        }
    }
}

fn a_program_that_never_runs_ends_with_its_threads(strategy: &str) {
    let host = Host::new(strategy);
    let process = host.process(4);
    let spawner = process.spawner();
    let threads: Vec<_> = ["spin", "park", "spin"]
        .into_iter()
        .map(|name| {
            spawner
                .spawn_with(move |store, instance| {
                    instance.typed::<(), ()>(store, name)?.call(store, ())
                })
                .unwrap()
        })
        .collect();
    host.wait_for(3);
    drop(process);
    for thread in threads {
        assert!(matches!(thread.join(), Err(Error::Stopped(Stopped::Terminated))));
    }
}

fn spawns_race_with_the_end(strategy: &str) {
    let host = Host::new(strategy);
    for _ in 0..10 {
        let process = host.process(64);
        let (spawner, terminator) = (process.spawner(), process.terminator());
        let (sender, receiver) = mpsc::channel();
        let storm = std::thread::spawn(move || {
            let mut started = 0;
            while spawner.spawn(10).is_ok() || started == 0 {
                started += 1;
                if started == 20 {
                    sender.send(()).unwrap();
                }
            }
            started
        });
        let end = std::thread::spawn(move || {
            // The limit may come first.
            let _ = receiver.recv();
            terminator.terminate();
        });
        let exit = Exit::of(run_await(process, i32::MAX).map(|()| 0)).unwrap();
        assert!(matches!(exit, Exit::Stopped(Stopped::Terminated)), "{exit}");
        assert!(storm.join().unwrap() > 0);
        end.join().unwrap();
    }
    drop(host.engine);
}

per_strategy!(
    workers_give_their_results,
    threads_start_before_the_program,
    limits_hold_for_the_host_too,
    workers_end_the_program,
    a_program_that_never_runs_ends_with_its_threads,
    spawns_race_with_the_end,
);
