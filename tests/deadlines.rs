//! Deadlines: of a program, and of the calls of a store; instantiation and start functions are included.
//!
//! What is awaited never ends by itself, so that how fast the machine is plays no part.

mod common;

use common::{Updraft, per_strategy, tier, wat_file};
use std::time::{Duration, Instant};
use updraft::{
    Config, Engine, Error, Instance, Linker, Module, Process, ProcessConfig, Stopped, Store, Val,
    WasiCtxBuilder,
};

const ENDLESS_START: &str = r#"(module
  (func $endless (loop $l (br $l)))
  (start $endless)
  (func (export "_start")))"#;

/// The first instance's start function returns; that of a thread does not.
const ENDLESS_START_OF_A_THREAD: &str = r#"(module
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (memory (import "env" "memory") 1 1 shared)
  (func $first (loop $l (br_if $l (i32.load (i32.const 0)))) (i32.store (i32.const 0) (i32.const 1)))
  (start $first)
  (func (export "wasi_thread_start") (param i32 i32))
  (func (export "_start")
    (drop (call $spawn (i32.const 0)))
    (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1)))))"#;

fn timed_out<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Stopped(Stopped::TimedOut))), "{result:?}");
}

fn a_timeout_includes_start_functions(strategy: &str) {
    let engine =
        Engine::new(Config { strategy: tier(strategy, 0).parse().unwrap(), ..Config::default() });
    for text in [ENDLESS_START, ENDLESS_START_OF_A_THREAD] {
        let module = Module::new(&engine, text).unwrap();
        let config =
            ProcessConfig { timeout: Some(Duration::from_millis(40)), ..ProcessConfig::default() };
        timed_out(Process::new(&Linker::new(&engine), &module, &config).unwrap().run());
        let file = wat_file(text);
        let run = Updraft::run(&tier(strategy, 0)).args(["--timeout", "0.04"]).arg(&file);
        run.end().expect(124).says(&["--timeout"]);
    }
}

/// Every way to take for ever, and one that does not.
const CALLS: &str = r#"(module
  (import "host" "block" (func $block))
  (import "host" "call" (func $call))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1 1 shared)
  (global $calls (mut i32) (i32.const 0))
  (func (export "spin") (loop $l (br $l)))
  (func (export "grow") (loop $l (drop (memory.grow (i32.const 0))) (br $l)))
  (func (export "wait") (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1))))
  (func (export "sleep")
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.const 3600000000000))
    (drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192))))
  (func (export "block") (call $block))
  (func (export "call") (call $call))
  (func (export "count") (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (global.get $calls)))"#;

fn calls_of_a_store_have_deadlines(strategy: &str) {
    let engine =
        Engine::new(Config { strategy: tier(strategy, 1).parse().unwrap(), ..Config::default() });
    let mut linker = Linker::new(&engine);
    linker.func("host", "block", |caller, ()| {
        caller.blocking(
            || {},
            |blocking| {
                while !blocking.is_stopping() {
                    std::thread::sleep(Duration::from_micros(50));
                }
            },
        )
    });
    linker.func("host", "call", |caller, ()| {
        let spin = caller.exported_func("spin").expect("it is exported");
        let result = spin.call(caller, &[]);
        assert!(matches!(result, Err(Error::Stopped(Stopped::TimedOut))), "{result:?}");
        // It cannot be swallowed.
        Ok(())
    });
    updraft::add_wasi(&mut linker, WasiCtxBuilder::new().build().unwrap());
    let module = Module::new(&engine, CALLS).unwrap();
    let mut store = Store::new(&engine).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let soon = || Some(Instant::now() + Duration::from_millis(20));
    let call = |store: &mut Store, instance: Instance, name: &str| {
        instance.func(store, name).expect("it is exported").call(store, &[])
    };
    let mut count = 0;
    for name in ["spin", "grow", "wait", "sleep", "block", "call"] {
        store.set_deadline(soon());
        timed_out(call(&mut store, instance, name));
        // It is over now: nothing is run.
        timed_out(call(&mut store, instance, "count"));
        timed_out(linker.instantiate(&mut store, &module));
        // The store goes on without one, and with one that is far away.
        for deadline in [None, Some(Instant::now() + Duration::from_secs(3_600))] {
            store.set_deadline(deadline);
            let result = call(&mut store, instance, "count").unwrap();
            count += 1;
            assert!(matches!(result[..], [Val::I32(n)] if n == count), "{result:?}");
        }
    }
    store.set_deadline(soon());
    let endless = Module::new(&engine, ENDLESS_START).unwrap();
    timed_out(linker.instantiate(&mut store, &endless));
    store.set_deadline(None);
    assert!(call(&mut store, instance, "count").is_ok());
    // The end of the group is another cause, and stays.
    assert!(store.terminator().terminate());
    let result = call(&mut store, instance, "count");
    assert!(matches!(result, Err(Error::Stopped(Stopped::Terminated))), "{result:?}");
}

/// A deadline that an embedder gives the entry of a program ends the program.
fn a_deadline_of_the_entry_ends_the_program(strategy: &str) {
    let engine =
        Engine::new(Config { strategy: tier(strategy, 2).parse().unwrap(), ..Config::default() });
    let text = r#"(module
      (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
      (memory (import "env" "memory") 1 1 shared)
      (func (export "wasi_thread_start") (param i32 i32) (loop $l (br $l)))
      (func (export "_start")
        (drop (call $spawn (i32.const 0)))
        (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1)))))"#;
    let module = Module::new(&engine, text).unwrap();
    let process = Process::new(&Linker::new(&engine), &module, &ProcessConfig::default()).unwrap();
    timed_out(process.run_entry("_start", |store, start| {
        store.set_deadline(Some(Instant::now() + Duration::from_millis(20)));
        start.call(store, &[])
    }));
}

per_strategy!(
    a_timeout_includes_start_functions,
    calls_of_a_store_have_deadlines,
    a_deadline_of_the_entry_ends_the_program,
);
