//! Stops at random moments: whatever the threads are doing, in whatever tier, every one ends, and the program has one cause.
//!
//! Which moment a stop hits is chance, and no outcome depends on it: before, meanwhile and after are all fine.

mod common;
#[path = "common/mixture.rs"]
mod mixture;

use common::{GUARD, Random, per_strategy, runs};
use std::sync::mpsc;
use std::time::Duration;
use updraft::{
    Config, Engine, Error, Linker, Module, Process, ProcessConfig, Stopped, Store, TrapCode,
    Tuning, WasiCtxBuilder,
};

/// Threads that compute, write, wait, recurse, call the host, start others, and go through several tiers. The global
/// `fuel` decides after how many rounds of the first kind one of them traps; 0 is never.
const PROGRAM: &str = r#"(module
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "host" "touch" (func $touch (param i32) (result i32)))
  (import "host" "fuel" (func $fuel (result i32)))
  (memory (import "env" "memory") 4 4 shared)
  (table 2 funcref)
  (elem (i32.const 0) $compute $write)
  (func $compute (param $n i32) (result i32) (local $i i32)
    (loop $l
      (local.set $n (i32.mul (i32.add (local.get $n) (i32.const 7)) (i32.const 31)))
      (i32.store (i32.and (local.get $n) (i32.const 0xfffc)) (local.get $i))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 500))))
    (local.get $n))
  (func $write (param $n i32) (result i32)
    (memory.fill (i32.const 65536) (local.get $n) (i32.const 131072))
    (memory.copy (i32.const 65540) (i32.const 65536) (i32.const 100000))
    (local.get $n))
  (func $deep (param $n i32) (result i32)
    (if (result i32) (i32.eqz (local.get $n)) (then (i32.const 0))
      (else (i32.add (call $deep (i32.sub (local.get $n) (i32.const 1))) (i32.const 1)))))
  (func $indirect (param $n i32) (result i32)
    (call_indirect (param i32) (result i32) (local.get $n) (i32.and (local.get $n) (i32.const 1))))
  (func (export "wasi_thread_start") (param $id i32) (param $kind i32) (local $n i32) (local $fuel i32)
    (local.set $fuel (call $fuel))
    (loop $forever
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
        (br_table $0 $1 $2 $3 $4 $5 $6 (local.get $kind)))
        (drop (call $compute (local.get $n)))
        (if (i32.and (i32.eq (local.get $n) (local.get $fuel)) (i32.ne (local.get $fuel) (i32.const 0)))
          (then (unreachable)))
        (br $forever))
        (drop (call $write (local.get $n))) (br $forever))
        (drop (memory.atomic.wait32 (i32.const 0x3fff8) (i32.const 0) (i64.const -1))) (br $forever))
        (drop (memory.atomic.wait32 (i32.const 0x3fffc) (i32.const 0) (i64.const 1000)))
        (drop (memory.atomic.notify (i32.const 0x3fff8) (i32.const 1))) (br $forever))
        (drop (call $deep (i32.const 2000))) (br $forever))
        (drop (call $touch (local.get $n))) (br $forever))
      ;; Threads that end at once.
      (if (i32.lt_u (local.get $n) (i32.const 200)) (then (drop (call $spawn (i32.const 7))) (br $forever)))))
  (func (export "_start")
    (drop (call $spawn (i32.const 0)))
    (drop (call $spawn (i32.const 1)))
    (drop (call $spawn (i32.const 2)))
    (drop (call $spawn (i32.const 3)))
    (drop (call $spawn (i32.const 4)))
    (drop (call $spawn (i32.const 5)))
    (drop (call $spawn (i32.const 6)))
    (loop $forever
      (drop (call $indirect (i32.const 4)))
      (br $forever))))"#;

fn stops_end_everything(strategy: &str) {
    let mut random = Random::new(strategy.len() as u64);
    let mut causes = [0; 2];
    for round in 0..runs(12) {
        // A new engine now and then, so that stops hit the first compiles too.
        let tuning = if round % 2 == 0 { Tuning::EAGER } else { Tuning::default() };
        let strategy = common::tier(strategy, round).parse().unwrap();
        let engine = Engine::new(Config { strategy, tuning, ..Config::default() });
        let module = Module::new(&engine, PROGRAM).unwrap();
        for _ in 0..4 {
            let fuel = random.below(3) * random.below(2000);
            let mut linker = Linker::new(&engine);
            linker.func("host", "touch", |_, n: i32| Ok(n));
            linker.func("host", "fuel", move |_, ()| Ok(fuel as i32));
            let process = Process::new(&linker, &module, &ProcessConfig::default()).unwrap();
            let terminator = process.terminator();
            let (ended, end) = mpsc::channel();
            let delay = Duration::from_micros(random.below(12_000) as u64);
            let thread = std::thread::spawn(move || {
                // It returns when every thread of the program has ended.
                let _ = ended.send(process.run());
            });
            std::thread::sleep(delay);
            let first = terminator.terminate();
            let result = end.recv_timeout(GUARD).expect("the program hangs after a stop");
            thread.join().unwrap();
            match (result, first) {
                (Err(Error::Stopped(Stopped::Terminated)), true) => causes[0] += 1,
                (Err(Error::Trap(trap)), false) => {
                    assert_eq!(trap.code, TrapCode::Unreachable);
                    causes[1] += 1;
                }
                (result, first) => panic!("{result:?}, though the stop was first: {first}"),
            }
            assert!(!terminator.terminate(), "the cause is settled");
        }
    }
    println!("{} stopped from outside, {} trapped first", causes[0], causes[1]);
    assert_eq!(causes[0] + causes[1], 4 * runs(12));
}

/// Threads in every activity that there is, and others in some, are ended by each cause: at once, and when they are deep in what they do.
fn a_mixture_ends(strategy: &str) {
    let mut random = Random::new(7 + strategy.len() as u64);
    for round in 0..runs(2) {
        let mut activities = mixture::ACTIVITIES.to_vec();
        for _ in 0..12 {
            activities.push(mixture::ACTIVITIES[random.below(mixture::ACTIVITIES.len())]);
        }
        let strategy = common::tier(strategy, round).parse().unwrap();
        let engine = Engine::new(Config { strategy, tuning: Tuning::EAGER, ..Config::default() });
        let module = Module::new(&engine, mixture::program(&activities)).unwrap();
        for cause in mixture::CAUSES {
            for pause in [Duration::ZERO, Duration::from_millis(30)] {
                // How long it took is for the benchmark.
                let _took = mixture::end(&engine, &module, activities.len(), cause, pause);
            }
        }
    }
}

/// A function of the host that blocks in a system call is ended by the signal, one that does not block at all finds out by asking, and after the
/// end none begins.
#[test]
fn functions_of_the_host_that_block_are_ended() {
    use std::io::Read;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    let engine = Engine::default();
    let text = r#"(module (import "host" "call" (func $call (param i32)))
        (func (export "call") (param i32) (call $call (local.get 0)) (call $call (local.get 0))))"#;
    let module = Module::new(&engine, text).unwrap();
    for way in 0..3 {
        let mut linker = Linker::new(&engine);
        let (reader, _writer) = std::io::pipe().unwrap();
        let (begun, begin) = mpsc::channel();
        let begun_after = Arc::new(AtomicU32::new(0));
        let after = begun_after.clone();
        linker.func("host", "call", move |caller, way: i32| {
            let result = caller.blocking(
                || {},
                |blocking| {
                    begun.send(()).unwrap();
                    match way {
                        // It is interrupted until it gives up.
                        0 => {
                            while !blocking.is_stopping() {
                                let error = (&reader).read(&mut [0; 8]).unwrap_err();
                                assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
                            }
                        }
                        1 => {
                            while !blocking.is_stopping() {
                                std::hint::spin_loop();
                            }
                        }
                        // It returns by itself, and the next one is not begun.
                        _ => {}
                    }
                },
            );
            if way == 2 {
                while !caller.is_stopping() {
                    std::hint::spin_loop();
                }
                let result = caller.blocking(|| {}, |_| after.fetch_add(1, SeqCst));
                assert!(matches!(result, Err(Error::Stopped(Stopped::Terminated))), "{result:?}");
            }
            // The error may be ignored: the call does not return to wasm.
            assert!(way == 2 || result.is_err());
            Ok(())
        });
        let mut store = Store::new(&engine).unwrap();
        let terminator = store.terminator();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let (ended, end) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let call = instance.typed::<i32, ()>(&mut store, "call").unwrap();
            let _ = ended.send(call.call(&mut store, way));
        });
        begin.recv().unwrap();
        assert!(terminator.terminate());
        let result = end.recv_timeout(GUARD).expect("the program hangs after a stop");
        assert!(matches!(result, Err(Error::Stopped(Stopped::Terminated))), "{result:?}");
        thread.join().unwrap();
        assert_eq!(begun_after.load(SeqCst), 0);
        assert!(begin.try_recv().is_err(), "it was called again");
    }
}

/// A thousand times, over all strategies: causes that come at the same moment, from threads of the program, from outside, and from the clock.
/// One is reported, the one that was first.
fn causes_race(strategy: &str) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    const RACERS: u32 = 4;
    let text = r#"(module
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
        (import "host" "meet" (func $meet))
        (memory (import "env" "memory") 1 1 shared)
        (func $end_it (param $how i32)
          (call $meet)
          (if (i32.and (local.get $how) (i32.const 1)) (then unreachable))
          (call $proc_exit (i32.add (i32.const 40) (local.get $how))))
        (func (export "wasi_thread_start") (param i32) (param $how i32) (call $end_it (local.get $how)))
        (func (export "_start")
          (drop (call $spawn (i32.const 1)))
          (drop (call $spawn (i32.const 2)))
          (call $end_it (i32.const 3))))"#;
    let mut random = Random::new(3 + strategy.len() as u64);
    let mut causes = [0; 4];
    let races = runs(if cfg!(feature = "llvm") { 200 } else { 1_000 });
    let mut made = None;
    for race in 0..races {
        // Tiers of their own for every few races, since each function's is chosen when it is first called.
        if race % 20 == 0 {
            let strategy = common::tier(strategy, race).parse().unwrap();
            let engine = Engine::new(Config { strategy, ..Config::default() });
            let module = Module::new(&engine, text).unwrap();
            made = Some((engine, module));
        }
        let (engine, module) = made.as_ref().expect("made in the first race");
        let mut linker = Linker::new(engine);
        let arrived = Arc::new(AtomicU32::new(0));
        let meeting = arrived.clone();
        linker.func("host", "meet", move |caller, ()| {
            meeting.fetch_add(1, SeqCst);
            while meeting.load(SeqCst) < RACERS && !caller.is_stopping() {
                std::hint::spin_loop();
            }
            Ok(())
        });
        let wasi = WasiCtxBuilder::new().build().unwrap();
        updraft::add_wasi(&mut linker, wasi);
        let timeout =
            (random.below(2) == 0).then(|| Duration::from_micros(random.below(3_000) as u64));
        let config = ProcessConfig { timeout, ..ProcessConfig::default() };
        let process = Process::new(&linker, module, &config).unwrap();
        let terminator = process.terminator();
        let late = random.below(3) as u32;
        let outside = std::thread::spawn({
            let terminator = terminator.clone();
            move || {
                arrived.fetch_add(1, SeqCst);
                while arrived.load(SeqCst) < RACERS - late && !terminator.is_stopping() {
                    std::hint::spin_loop();
                }
                terminator.terminate()
            }
        });
        let result = process.run();
        let terminated = outside.join().unwrap();
        let cause = match &result {
            Err(Error::Trap(trap)) if trap.code == TrapCode::Unreachable => 0,
            Ok(42) => 1,
            Err(Error::Stopped(Stopped::Terminated)) => 2,
            Err(Error::Stopped(Stopped::TimedOut)) if timeout.is_some() => 3,
            _ => panic!("{result:?} in race {race}"),
        };
        assert_eq!(cause == 2, terminated, "{result:?} in race {race}");
        assert!(!terminator.terminate(), "the cause is settled");
        causes[cause] += 1;
    }
    println!("trap, exit, terminate, timeout: {causes:?}");
    assert_eq!(causes.iter().sum::<usize>(), races);
}

per_strategy!(stops_end_everything, a_mixture_ends, causes_race);
