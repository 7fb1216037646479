//! What a service does for months, in seconds or minutes: nothing may grow.
//!
//! The ordinary run is short. `UPDRAFT_SOAK_SECONDS=600` soaks for ten minutes, and `UPDRAFT_SOAK_THREADS=1000000` starts a million
//! threads in one program:
//!
//! ```text
//! UPDRAFT_SOAK_SECONDS=600 UPDRAFT_SOAK_THREADS=1000000 cargo test --release --test soak -- --nocapture --test-threads 1
//! ```
//!
//! The tests look at the whole process, so they run one after another.

mod common;

use common::{GUARD, Held, Random};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use updraft::{
    Config, Engine, Error, Linker, Module, Process, ProcessConfig, Stopped, Strategy, TrapCode,
    WasiCtxBuilder,
};

/// One test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number from the environment.
fn setting(name: &str, ordinary: u64) -> u64 {
    std::env::var(name).map_or(ordinary, |text| text.parse().expect("a number"))
}

const MIB: usize = 1 << 20;

/// A program in which threads of all sorts come and go. `host.how` says what becomes of it: 0 and 1: all threads end and main returns
/// (0: one at a time; 1: eight at once); 2: a thread traps, 3: a thread exits, others: it goes on until the host ends it.
const PROGRAM: &str = r#"(module
  (import "host" "how" (func $how (result i32)))
  (import "host" "amount" (func $amount (result i32)))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "env" "memory" (memory 2 200 shared))
  (table 8 funcref)
  (elem (i32.const 0) $mix $fib)
  (type $f (func (param i32) (result i32)))
  ;; 0: threads that have ended; 4: threads that have begun; 8: nobody wakes who waits here
  (func $mix (type $f) (local $i i32)
    (loop $again
      (i64.store offset=1024 (i32.and (local.get $i) (i32.const 0xfff8))
        (i64.add (i64.load offset=1024 (i32.and (local.get 0) (i32.const 0xfff8))) (i64.extend_i32_u (local.get $i))))
      (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 1664525)) (i32.const 1013904223)))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 20000))))
    (local.get 0))
  (func $fib (type $f)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func $work (param $seed i32)
    (drop (call_indirect (type $f) (local.get $seed) (i32.const 0)))
    (drop (call_indirect (type $f) (i32.rem_u (local.get $seed) (i32.const 16)) (i32.const 1)))
    (if (i32.eqz (i32.rem_u (local.get $seed) (i32.const 7))) (then (drop (memory.grow (i32.const 1)))))
    (if (i32.eqz (i32.rem_u (local.get $seed) (i32.const 5))) (then (drop (table.grow (ref.null func) (i32.const 100))))))
  (func (export "wasi_thread_start") (param $id i32) (param $argument i32) (local $count i32)
    (local.set $count (i32.atomic.rmw.add (i32.const 4) (i32.const 1)))
    (call $work (local.get $argument))
    (if (i32.eq (local.get $count) (i32.const 20))
      (then
        (if (i32.eq (call $how) (i32.const 2)) (then unreachable))
        (if (i32.eq (call $how) (i32.const 3)) (then (call $proc_exit (i32.const 5))))))
    (if (i32.gt_u (call $how) (i32.const 1))
      (then
        ;; Some wait, some work, some spawn.
        (if (i32.and (local.get $id) (i32.const 1))
          (then (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1)))))
        (if (i32.and (local.get $id) (i32.const 2))
          (then (loop $ever (drop (call $mix (local.get $id))) (br $ever))))
        (drop (call $spawn (i32.add (local.get $argument) (i32.const 1))))))
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
    (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
  ;; Until so many have ended.
  (func $wait (param $least i32) (local $done i32)
    (loop $again
      (local.set $done (i32.atomic.load (i32.const 0)))
      (if (i32.lt_s (local.get $done) (local.get $least))
        (then
          (drop (memory.atomic.wait32 (i32.const 0) (local.get $done) (i64.const -1)))
          (br $again)))))
  (func (export "_start") (local $i i32) (local $ahead i32)
    (local.set $ahead (i32.mul (call $how) (i32.const 7)))
    (loop $again
      (drop (call $spawn (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (if (i32.le_u (call $how) (i32.const 1))
        (then (call $wait (i32.sub (local.get $i) (local.get $ahead)))))
      (br_if $again (i32.lt_u (local.get $i) (call $amount))))
    (if (i32.gt_u (call $how) (i32.const 1))
      (then (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1)))))
    (call $wait (local.get $i))))"#;

/// How many ways there are for a program to end.
const WAYS: usize = 6;

/// Runs the program once; how it ends must fit.
fn run(engine: &Engine, module: &Module, way: usize, amount: usize) {
    let mut linker = Linker::new(engine);
    linker.func("host", "how", move |_, ()| Ok(way as i32));
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    linker.func("host", "amount", move |_, ()| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(amount as i32)
    });
    updraft::add_wasi(&mut linker, WasiCtxBuilder::new().build().unwrap());
    let timeout = (way == 5).then_some(Duration::from_millis(20));
    #[allow(clippy::needless_update, reason = "holds for limits that are still to come")]
    let config = ProcessConfig { max_threads: 200, timeout, ..ProcessConfig::default() };
    let process = Process::new(&linker, module, &config).unwrap();
    let terminator = process.terminator();
    let host = (way == 4).then(|| {
        std::thread::spawn(move || {
            // In the middle of its spawning.
            while asked.load(Ordering::Relaxed) < amount as u32 / 2 {
                std::thread::yield_now();
            }
            terminator.terminate();
        })
    });
    let result = process.run();
    if let Some(host) = host {
        host.join().unwrap();
    }
    match (way, result) {
        (0 | 1, Ok(0)) | (3, Ok(5)) => {}
        (2, Err(Error::Trap(trap))) if trap.code == TrapCode::Unreachable => {}
        (4, Err(Error::Stopped(Stopped::Terminated))) => {}
        (5, Err(Error::Stopped(Stopped::TimedOut))) => {}
        (way, other) => panic!("program {way} ended with {other:?}"),
    }
}

#[test]
fn nothing_grows_under_a_mixed_load() {
    let _alone = alone();
    let time = Duration::from_secs(setting("UPDRAFT_SOAK_SECONDS", 6));
    let start = Instant::now();
    let mut random = Random::new(1);
    let mut programs = [0; WAYS];
    let mut samples: Vec<(Duration, Held)> = Vec::new();
    while start.elapsed() < time {
        // A service that changes its configuration now and then, and its modules more often.
        let seed = random.next();
        let strategy =
            if cfg!(feature = "llvm") { Strategy::Random { seed } } else { Strategy::Interp };
        let compile_threads = Some(1);
        let engine = Engine::new(Config { strategy, compile_threads, ..Config::default() });
        for _ in 0..3 {
            let module = Module::new(&engine, PROGRAM).unwrap();
            for _ in 0..10 {
                let way = random.below(WAYS);
                run(&engine, &module, way, 20 + random.below(80));
                programs[way] += 1;
            }
        }
        samples.push((start.elapsed(), Held::now()));
    }
    // As a curve of at most 40 points.
    for (at, held) in samples.iter().step_by(samples.len().div_ceil(40)) {
        println!("{:7.1} s: {held:?}", at.as_secs_f64());
    }
    println!("programs by way: {programs:?}");
    assert!(programs.iter().sum::<usize>() >= 30);
    // What was reached in the first half may be reached again, and a little more. The short run has hardly warmed up by then.
    let (before, after) = samples.split_at(samples.len().div_ceil(2));
    let most = |part: &[(Duration, Held)], of: fn(&Held) -> usize| {
        part.iter().map(|(_, held)| of(held)).max().unwrap_or(0)
    };
    let check = |what: &str, of: fn(&Held) -> usize, slack: usize| {
        let (before, after) = (most(before, of), most(after, of));
        assert!(after <= before + slack, "{what}: {before} in the first half, {after} after");
    };
    check("bytes in memory", |held| held.resident, 96 * MIB);
    check("maps", |held| held.maps, 1000);
    check("files", |held| held.files, 0);
    settled();
}

/// The tests' own threads, and those of the harness.
const THREADS: usize = 4;

/// What is held once all threads of programs have ended.
fn settled() -> Held {
    let start = Instant::now();
    loop {
        let held = Held::now();
        if held.threads <= THREADS {
            return held;
        }
        assert!(start.elapsed() < GUARD, "threads stay: {held:?}");
        std::thread::yield_now();
    }
}

/// Threads that each live for a moment, in one program: 20 000 in the ordinary run.
#[test]
fn nothing_grows_from_thread_to_thread() {
    let _alone = alone();
    let threads = setting("UPDRAFT_SOAK_THREADS", 20_000);
    const ROUNDS: u64 = 20;
    let text = r#"(module
      (import "host" "look" (func $look))
      (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
      (import "env" "memory" (memory 1 1 shared))
      (func (export "wasi_thread_start") (param i32 i32)
        (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
      (func $round (param $threads i32) (local $i i32) (local $done i32)
        (i32.atomic.store (i32.const 0) (i32.const 0))
        (loop $again
          (if (i32.lt_s (call $spawn (i32.const 0)) (i32.const 0)) (then unreachable))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (loop $wait
            (local.set $done (i32.atomic.load (i32.const 0)))
            (if (i32.lt_u (local.get $done) (local.get $i))
              (then
                (drop (memory.atomic.wait32 (i32.const 0) (local.get $done) (i64.const -1)))
                (br $wait))))
          (br_if $again (i32.lt_u (local.get $i) (local.get $threads)))))
      (func (export "run") (param $rounds i32) (param $threads i32)
        (loop $again
          (call $round (local.get $threads))
          (call $look)
          (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))))"#;
    // All of the compiler is there after the first round.
    let strategy = if cfg!(feature = "llvm") { Strategy::Quick } else { Strategy::Interp };
    let engine = Engine::new(Config { strategy, ..Config::default() });
    let module = Module::new(&engine, text).unwrap();
    let samples = Arc::new(Mutex::new(Vec::new()));
    let looks = samples.clone();
    let mut linker = Linker::new(&engine);
    linker.func("host", "look", move |_, ()| {
        looks.lock().unwrap().push(Held::now());
        Ok(())
    });
    let process = Process::new(&linker, &module, &ProcessConfig::default()).unwrap();
    let start = Instant::now();
    let each = (threads / ROUNDS) as i32;
    process
        .run_entry("run", |store, run| {
            run.typed::<(i32, i32), ()>(store)?.call(store, (ROUNDS as i32, each))
        })
        .unwrap();
    let time = start.elapsed();
    let samples = samples.lock().unwrap();
    println!("{threads} threads in {time:?}\nfirst {:?}\nlast  {:?}", samples[0], samples[19]);
    // By the fifth round the allocator has settled.
    let before = &samples[4];
    for after in &samples[5..] {
        let told = format!("{before:?}, then {after:?}");
        assert!(after.resident < before.resident + 8 * MIB, "{told}");
        assert!(after.maps < before.maps + 300, "{told}");
        assert!(after.threads < before.threads + 70, "{told}");
        assert_eq!(after.files, before.files, "{told}");
    }
}

/// Threads that the system lets one process have, of which some are left to others.
fn threads_to_be_had(wanted: usize) -> usize {
    let number = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.trim().parse().unwrap_or(usize::MAX)
    };
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills the structure.
    unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &raw mut limit) };
    let maps = number("/proc/sys/vm/max_map_count") / 5;
    let tasks = number("/proc/sys/kernel/threads-max").min(number("/proc/sys/kernel/pid_max"));
    let available = std::fs::read_to_string("/proc/meminfo").unwrap();
    let available = available.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    let memory = available.trim_end_matches("kB").trim().parse::<usize>().unwrap() / 128;
    wanted
        .min(maps)
        .min(tasks / 2)
        .min(memory)
        .min(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) / 2)
}

/// 10 000 threads that wait, and end by themselves, by an exit, by a trap.
#[test]
fn ten_thousand_threads() {
    let _alone = alone();
    let text = r#"(module
      (import "host" "look" (func $look (result i32)))
      (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
      (import "env" "memory" (memory 1 1 shared))
      ;; 0: threads that have begun; 4: the others may end; 8: threads that have ended
      (func (export "wasi_thread_start") (param i32 i32)
        (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))
        (drop (memory.atomic.wait32 (i32.const 4) (i32.const 0) (i64.const -1)))
        (drop (i32.atomic.rmw.add (i32.const 8) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 8) (i32.const 1))))
      (func $all (param $word i32) (param $threads i32) (local $now i32)
        (loop $again
          (local.set $now (i32.atomic.load (local.get $word)))
          (if (i32.lt_u (local.get $now) (local.get $threads))
            (then
              (drop (memory.atomic.wait32 (local.get $word) (local.get $now) (i64.const -1)))
              (br $again)))))
      (func (export "run") (param $threads i32) (local $i i32) (local $how i32)
        (loop $again
          (if (i32.lt_s (call $spawn (i32.const 0)) (i32.const 0)) (then unreachable))
          (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $threads))))
        (call $all (i32.const 0) (local.get $threads))
        (local.set $how (call $look))
        (if (i32.eq (local.get $how) (i32.const 1)) (then (call $proc_exit (i32.const 5))))
        (if (i32.eq (local.get $how) (i32.const 2)) (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))
        (i32.atomic.store (i32.const 4) (i32.const 1))
        (drop (memory.atomic.notify (i32.const 4) (i32.const -1)))
        (call $all (i32.const 8) (local.get $threads))))"#;
    let threads = threads_to_be_had(10_000);
    let engine = Engine::default();
    let module = Module::new(&engine, text).unwrap();
    for how in 0..3 {
        let before = settled();
        let alive = Arc::new(Mutex::new(None));
        let looked = alive.clone();
        let mut linker = Linker::new(&engine);
        linker.func("host", "look", move |_, ()| {
            *looked.lock().unwrap() = Some(Held::now());
            Ok(how)
        });
        updraft::add_wasi(&mut linker, WasiCtxBuilder::new().build().unwrap());
        let config = ProcessConfig { max_threads: threads as u32, ..ProcessConfig::default() };
        let process = Process::new(&linker, &module, &config).unwrap();
        let start = Instant::now();
        let result = process.run_entry("run", |store, run| {
            run.typed::<i32, ()>(store)?.call(store, threads as i32)
        });
        match (how, result) {
            (0, Ok(())) | (1, Err(Error::Exit(5))) => {}
            (2, Err(Error::Trap(trap))) if trap.code == TrapCode::IntegerDivideByZero => {}
            (how, other) => panic!("program {how} ended with {other:?}"),
        }
        let alive = alive.lock().unwrap().expect("all were alive at once");
        let each = alive.resident.saturating_sub(before.resident) / threads;
        println!(
            "{threads} threads, end {how}: {:?}, {each} bytes each, {alive:?}",
            start.elapsed()
        );
        assert!(alive.threads >= threads);
        assert!(each <= 64 << 10, "{each} bytes for each thread: {before:?}, then {alive:?}");
    }
}
