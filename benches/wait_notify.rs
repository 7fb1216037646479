//! `memory.atomic.wait32` and `memory.atomic.notify`.
//!
//! Measures: a round trip of a token between two threads, each of which sleeps while the token is the other's; a notify that
//! finds nobody; a wait whose value has changed already. Unit: time per round trip (two hand-overs), or per operation.
//! Baseline: the same with Linux's futex between two native threads.

use criterion::{Criterion, criterion_group, criterion_main};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use updraft::{Engine, Linker, Module, Process, ProcessConfig};

/// Address 0 holds whose turn it is; address 64 becomes 1 when the second thread has ended.
const PROGRAM: &str = r#"(module
  (import "env" "memory" (memory 1 1 shared))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (func $play (param $me i32) (param $rounds i32)
    (loop $round
      (block $mine
        (loop $wait
          (br_if $mine (i32.eq (i32.atomic.load (i32.const 0)) (local.get $me)))
          (drop (memory.atomic.wait32 (i32.const 0) (i32.xor (local.get $me) (i32.const 1)) (i64.const -1)))
          (br $wait)))
      (i32.atomic.store (i32.const 0) (i32.xor (local.get $me) (i32.const 1)))
      (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1))))))
  (func (export "wasi_thread_start") (param $id i32) (param $rounds i32)
    (call $play (i32.const 1) (local.get $rounds))
    (i32.atomic.store (i32.const 64) (i32.const 1))
    (drop (memory.atomic.notify (i32.const 64) (i32.const 1))))
  (func (export "round trips") (param $rounds i32) (result i32)
    (if (i32.lt_s (call $spawn (local.get $rounds)) (i32.const 0)) (then (return (i32.const -1))))
    (call $play (i32.const 0) (local.get $rounds))
    (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const -1)))
  (func (export "notify nobody") (param $rounds i32) (result i32)
    (local $woken i32)
    (loop $round
      (local.set $woken (i32.add (local.get $woken) (memory.atomic.notify (i32.const 0) (i32.const 1))))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $woken))
  (func (export "wait in vain") (param $rounds i32) (result i32)
    (local $slept i32)
    (loop $round
      (local.set $slept (i32.add (local.get $slept)
        (i32.ne (memory.atomic.wait32 (i32.const 0) (i32.const 1) (i64.const -1)) (i32.const 1))))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $slept)))"#;

/// Time of one call of an exported function of the program.
fn wasm(engine: &Engine, module: &Module, export: &str, rounds: u64) -> Duration {
    let process = Process::new(&Linker::new(engine), module, &ProcessConfig::default());
    let called = process.expect("a memory of one page").run_entry(export, |store, func| {
        let func = func.typed::<i32, i32>(store)?;
        let start = Instant::now();
        let result = func.call(store, rounds as i32)?;
        Ok((start.elapsed(), result))
    });
    let (time, result) = called.expect("the program does not trap");
    // The last wait of "round trips" says 1 if the other thread was done before.
    assert!(result == 0 || (result == 1 && export == "round trips"), "{export} returned {result}");
    time
}

fn futex(word: &AtomicU32, operation: i32, value: u32) -> i64 {
    let no_timeout = std::ptr::null::<libc::timespec>();
    // SAFETY: the word is alive, and there is no timeout.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, no_timeout) }
}

fn play(turn: &AtomicU32, me: u32, rounds: u64) {
    for _ in 0..rounds {
        while turn.load(Ordering::SeqCst) != me {
            futex(turn, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 1 - me);
        }
        turn.store(1 - me, Ordering::SeqCst);
        futex(turn, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
    }
}

fn native_round_trips(rounds: u64) -> Duration {
    let turn = AtomicU32::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| play(&turn, 1, rounds));
        play(&turn, 0, rounds);
    });
    start.elapsed()
}

fn native_operations(operation: i32, value: u32, expected: i64, rounds: u64) -> Duration {
    let word = AtomicU32::new(0);
    let start = Instant::now();
    for _ in 0..rounds {
        assert_eq!(futex(&word, operation | libc::FUTEX_PRIVATE_FLAG, value), expected);
    }
    start.elapsed()
}

fn wait_notify(c: &mut Criterion) {
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM).expect("the program is valid");
    let mut group = c.benchmark_group("wait_notify");
    group.sample_size(20).warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(2));
    for export in ["round trips", "notify nobody", "wait in vain"] {
        group.bench_function(format!("{export}/updraft"), |b| {
            b.iter_custom(|iters| wasm(&engine, &module, export, iters));
        });
        group.bench_function(format!("{export}/futex"), |b| {
            b.iter_custom(|iters| match export {
                "round trips" => native_round_trips(iters),
                "notify nobody" => native_operations(libc::FUTEX_WAKE, 1, 0, iters),
                // The word is 0: the call fails with EAGAIN.
                _ => native_operations(libc::FUTEX_WAIT, 1, -1, iters),
            });
        });
    }
    group.finish();
}

criterion_group!(benches, wait_notify);
criterion_main!(benches);
