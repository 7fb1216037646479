//! Threads that begin where others have ended: on their native threads, in their stacks and instances. Nothing of those may be seen.
//!
//! UPDRAFT_TEST_RUNS says how often each program is run.

mod common;

use common::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use updraft::{
    Config, Engine, Error, ExternRef, FuncType, Linker, Module, Process, ProcessConfig, Stopped,
    TrapCode, Val, ValType, WasiCtxBuilder,
};

fn engine(strategy: &str, run: usize) -> Engine {
    let strategy = tier(strategy, run).parse().unwrap();
    Engine::new(Config { strategy, ..Config::default() })
}

fn linker(engine: &Engine) -> Linker {
    let mut linker = Linker::new(engine);
    updraft::add_wasi(&mut linker, WasiCtxBuilder::new().build().unwrap());
    linker
}

/// Runs a program whose exit code is 0 when all was right.
fn succeeds(strategy: &str, text: &str) {
    for run in 0..runs(3) {
        let engine = engine(strategy, run);
        let module = Module::new(&engine, text).unwrap();
        let process = Process::new(&linker(&engine), &module, &ProcessConfig::default()).unwrap();
        assert_eq!(process.run().unwrap(), 0);
    }
}

/// Everything that belongs to an instance is as at first in each of 300 threads, which all leave it otherwise: globals of every
/// type, tables (their elements and their sizes), dropped segments, the start function; so are locals in the stacks that others
/// have used.
fn threads_start_fresh(strategy: &str) {
    let text = r#"(module
      (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
      (import "env" "memory" (memory 1 1 shared))
      (global $i (mut i32) (i32.const 7))
      (global $l (mut i64) (i64.const -8))
      (global $f (mut f32) (f32.const 1.5))
      (global $d (mut f64) (f64.const -2.5))
      (global $v (mut v128) (v128.const i64x2 1 2))
      (global $r (mut funcref) (ref.func $one))
      (global $n (mut funcref) (ref.null func))
      (global $starts (mut i32) (i32.const 0))
      (type $number (func (result i32)))
      (table $t 4 20 funcref)
      (table $u 3 funcref)
      (elem (table $t) (i32.const 1) func $one $two)
      (elem $passive func $two $one)
      (data $bytes "\2a\2b")
      (start $start)
      (func $start (global.set $starts (i32.add (global.get $starts) (i32.const 1))))
      (func $one (result i32) (i32.const 1))
      (func $two (result i32) (i32.const 2))
      (func $assert (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
      ;; Fills the stacks with ones, in locals that are declared and never set at the bottom.
      (func $deep (param $depth i32) (result i64)
        (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $x v128)
        (call $assert (i64.eqz (i64.or (i64.or (local.get $a) (local.get $b)) (i64.or (local.get $c) (local.get $d)))))
        (call $assert (i32.eqz (v128.any_true (local.get $x))))
        (local.set $a (i64.const -1)) (local.set $b (i64.const -1)) (local.set $c (i64.const -1))
        (local.set $d (i64.const -1)) (local.set $x (v128.const i64x2 -1 -1))
        (if (result i64) (local.get $depth)
          (then (i64.add (local.get $a) (call $deep (i32.sub (local.get $depth) (i32.const 1)))))
          (else (i64.add (local.get $b) (i64.add (local.get $c) (local.get $d))))))
      (func (export "wasi_thread_start") (param $id i32) (param $argument i32)
        (call $assert (i32.eq (global.get $starts) (i32.const 1)))
        (call $assert (i32.eq (global.get $i) (i32.const 7)))
        (call $assert (i64.eq (global.get $l) (i64.const -8)))
        (call $assert (f32.eq (global.get $f) (f32.const 1.5)))
        (call $assert (f64.eq (global.get $d) (f64.const -2.5)))
        (call $assert (i64x2.all_true (i64x2.eq (global.get $v) (v128.const i64x2 1 2))))
        (call $assert (i32.eqz (ref.is_null (global.get $r))))
        (call $assert (ref.is_null (global.get $n)))
        (call $assert (i32.eq (table.size $t) (i32.const 4)))
        (call $assert (ref.is_null (table.get $t (i32.const 0))))
        (call $assert (ref.is_null (table.get $t (i32.const 3))))
        (call $assert (ref.is_null (table.get $u (i32.const 2))))
        (call $assert (i32.eq (call_indirect $t (type $number) (i32.const 1)) (i32.const 1)))
        (call $assert (i32.eq (call_indirect $t (type $number) (i32.const 2)) (i32.const 2)))
        ;; Neither segment is dropped.
        (table.init $u $passive (i32.const 0) (i32.const 0) (i32.const 2))
        (call $assert (i32.eq (call_indirect $u (type $number) (i32.const 0)) (i32.const 2)))
        (memory.init $bytes (i32.const 100) (i32.const 0) (i32.const 2))
        (call $assert (i32.eq (i32.load16_u (i32.const 100)) (i32.const 0x2b2a)))
        (call $assert (i64.eq (call $deep (i32.and (local.get $argument) (i32.const 127)))
          (i64.sub (i64.const -3) (i64.extend_i32_u (i32.and (local.get $argument) (i32.const 127))))))
        ;; All of it otherwise.
        (elem.drop $passive)
        (data.drop $bytes)
        (global.set $i (i32.const 0)) (global.set $l (i64.const 0)) (global.set $f (f32.const nan))
        (global.set $d (f64.const inf)) (global.set $v (v128.const i64x2 -1 -1))
        (global.set $n (ref.func $two)) (global.set $r (ref.null func))
        (drop (table.grow $t (ref.func $two) (i32.const 9)))
        (table.fill $t (i32.const 0) (ref.func $two) (i32.const 13))
        (table.fill $u (i32.const 0) (ref.func $one) (i32.const 3))
        (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
      (func (export "_start") (local $i i32) (local $done i32)
        (loop $again
          (call $assert (i32.gt_s (call $spawn (local.get $i)) (i32.const 0)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          ;; No more than three at once.
          (loop $wait
            (local.set $done (i32.atomic.load (i32.const 0)))
            (if (i32.lt_u (i32.add (local.get $done) (i32.const 3)) (local.get $i))
              (then
                (drop (memory.atomic.wait32 (i32.const 0) (local.get $done) (i64.const -1)))
                (br $wait))))
          (br_if $again (i32.lt_u (local.get $i) (i32.const 300))))
        (loop $last
          (local.set $done (i32.atomic.load (i32.const 0)))
          (if (i32.lt_u (local.get $done) (i32.const 300))
            (then
              (drop (memory.atomic.wait32 (i32.const 0) (local.get $done) (i64.const -1)))
              (br $last))))
        (call $proc_exit (i32.const 0))))"#;
    succeeds(strategy, text);
}

/// A memory of the instance's own is fresh too, and so are tags, exceptions and what the host puts into the store.
fn what_else_a_store_holds_is_fresh(strategy: &str) {
    let text = r#"(module
      (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
      (import "host" "value" (func $value (param i32) (result externref)))
      (import "host" "number" (func $number (param externref) (result i32)))
      (import "env" "memory" (memory 1 1 shared))
      MEMORY
      (tag $e (param i32))
      (global $kept (mut externref) (ref.null extern))
      (global $thrown (mut exnref) (ref.null exn))
      (func $assert (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
      (func (export "wasi_thread_start") (param $id i32) (param $argument i32)
        (call $assert (ref.is_null (global.get $kept)))
        (call $assert (ref.is_null (global.get $thrown)))
        OWN
        (global.set $kept (call $value (local.get $argument)))
        (call $assert (i32.eq (call $number (global.get $kept)) (local.get $argument)))
        (block $caught (result i32 exnref)
          (try_table (catch_ref $e $caught) (throw $e (local.get $argument)))
          unreachable)
        (global.set $thrown)
        (call $assert (i32.eq (local.get $argument)))
        (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
      (func (export "_start") (local $i i32) (local $done i32)
        (loop $again
          (call $assert (i32.gt_s (call $spawn (local.get $i)) (i32.const 0)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (loop $wait
            (local.set $done (i32.atomic.load (i32.const 0)))
            (if (i32.lt_u (local.get $done) (local.get $i))
              (then
                (drop (memory.atomic.wait32 (i32.const 0) (local.get $done) (i64.const -1)))
                (br $wait))))
          (br_if $again (i32.lt_u (local.get $i) (i32.const 60))))))"#;
    let own = "(call $assert (i32.eqz (i32.load $own (i32.const 8))))
      (call $assert (i32.eq (memory.size $own) (i32.const 1)))
      (drop (memory.grow $own (i32.const 1)))
      (i32.store $own (i32.const 8) (i32.const 1))";
    for (memory, own) in [("", ""), ("(memory $own 1 2)", own)] {
        let text = text.replace("MEMORY", memory).replace("OWN", own);
        let engine = engine(strategy, 0);
        let module = Module::new(&engine, text).unwrap();
        let mut linker = linker(&engine);
        let values = Arc::new(AtomicU32::new(0));
        let made = values.clone();
        let value = FuncType::new([ValType::I32], [ValType::EXTERNREF]);
        linker.func_values("host", "value", value, move |_, arguments| {
            made.fetch_add(1, Ordering::Relaxed);
            let Val::I32(number) = arguments[0] else { panic!("{arguments:?}") };
            Ok(vec![Val::ExternRef(Some(ExternRef::new(number)))])
        });
        let number = FuncType::new([ValType::EXTERNREF], [ValType::I32]);
        linker.func_values("host", "number", number, |_, arguments| {
            let Val::ExternRef(Some(value)) = &arguments[0] else { panic!("{arguments:?}") };
            Ok(vec![Val::I32(*value.data().downcast_ref::<i32>().unwrap())])
        });
        let process = Process::new(&linker, &module, &ProcessConfig::default()).unwrap();
        assert_eq!(process.run().unwrap(), 0);
        assert_eq!(values.load(Ordering::Relaxed), 60);
    }
}

/// Threads that spawn without end, of which one ends the program in one of four ways, or the host does. All programs use the
/// native threads of one engine: whatever one was doing when it was stopped, it runs the next program as if it were new.
fn ends_amid_spawning(strategy: &str) {
    let text = r#"(module
      (import "host" "how" (func $how (result i32)))
      (import "host" "alive" (func $alive))
      (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
      (import "env" "memory" (memory 2 2 shared))
      (global $visits (mut i32) (i32.const 0))
      (func $work (local $i i32)
        (loop $again
          (i32.store offset=65536 (local.get $i) (local.get $i))
          (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 4000)))))
      (func $visit
        (global.set $visits (i32.add (global.get $visits) (i32.const 1)))
        (if (i32.ne (global.get $visits) (i32.const 1)) (then (call $proc_exit (i32.const 99)))))
      (func (export "wasi_thread_start") (param $id i32) (param $left i32) (local $count i32)
        (call $visit)
        (call $work)
        (local.set $count (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
        (if (i32.eq (local.get $count) (i32.const 40))
          (then
            (call $alive)
            (if (i32.eq (call $how) (i32.const 1)) (then unreachable))
            (if (i32.eq (call $how) (i32.const 2)) (then (call $proc_exit (i32.const 5))))
            (if (i32.eq (call $how) (i32.const 3))
              (then
                (drop (i32.atomic.rmw.add (i32.const 8) (i32.const 1)))
                (drop (memory.atomic.notify (i32.const 8) (i32.const 1)))))))
        ;; One in eight goes to sleep, the others are followed by another.
        (if (i32.eqz (i32.and (local.get $count) (i32.const 7)))
          (then (drop (memory.atomic.wait32 (i32.const 4) (i32.const 0) (i64.const -1)))))
        (drop (call $spawn (local.get $left))))
      (func (export "_start")
        (call $visit)
        (drop (call $spawn (i32.const 0))) (drop (call $spawn (i32.const 0)))
        (drop (call $spawn (i32.const 0))) (drop (call $spawn (i32.const 0)))
        (drop (call $spawn (i32.const 0))) (drop (call $spawn (i32.const 0)))
        (drop (call $spawn (i32.const 0))) (drop (call $spawn (i32.const 0)))
        (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1)))))"#;
    let engine = engine(strategy, 0);
    let module = Module::new(&engine, text).unwrap();
    for run in 0..runs(40) {
        let how = (run % 4) as i32;
        let mut linker = linker(&engine);
        linker.func("host", "how", move |_, ()| Ok(how));
        let (alive, is_alive) = std::sync::mpsc::channel();
        linker.func("host", "alive", move |_, ()| {
            let _ = alive.send(());
            Ok(())
        });
        let process = Process::new(&linker, &module, &ProcessConfig::default()).unwrap();
        let terminator = process.terminator();
        let host = std::thread::spawn(move || {
            if how == 0 && is_alive.recv().is_ok() {
                assert!(terminator.terminate());
            }
        });
        let result = process.run();
        drop(linker);
        host.join().unwrap();
        match (how, result) {
            (0, Err(Error::Stopped(Stopped::Terminated))) | (2, Ok(5)) | (3, Ok(0)) => {}
            (1, Err(Error::Trap(trap))) if trap.code == TrapCode::Unreachable => {}
            (how, other) => panic!("program {how} ended with {other:?}"),
        }
    }
}

per_strategy!(threads_start_fresh, what_else_a_store_holds_is_fresh, ends_amid_spawning);

/// An engine that keeps no threads runs the same programs.
#[test]
fn nothing_is_kept_where_none_may_be() {
    let config = Config { idle_threads: 0, ..Config::default() };
    let engine = Engine::new(config);
    let text = std::fs::read(repository("examples/threads/spawnstorm.wasm")).unwrap();
    let module = Module::new(&engine, text).unwrap();
    let wasi = WasiCtxBuilder::new().args(["spawnstorm", "100", "50"]).build().unwrap();
    let mut linker = Linker::new(&engine);
    updraft::add_wasi(&mut linker, wasi);
    let process = Process::new(&linker, &module, &ProcessConfig::default()).unwrap();
    assert_eq!(process.run().unwrap(), 0);
}
