//! Bounds: of one call by a deadline, and of a whole program by its configuration.
//!
//!     cargo run --example limits

use std::time::{Duration, Instant};
use updraft::{Engine, Error, Exit, Linker, Module, Process, ProcessConfig, Stopped, Store};

/// A function that never returns, and one that does.
const CALLS: &str = r#"(module
  (func (export "spin") (loop $again (br $again)))
  (func (export "answer") (result i32) (i32.const 42)))"#;

/// Starts as many threads as it gets, grows its memory as far as it gets, and exits with the sum of both.
const GREEDY: &str = r#"(module
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "env" "memory" (memory $memory 1 100 shared))
  (export "memory" (memory $memory))
  (func (export "wasi_thread_start") (param i32 i32)
    (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))
  (func (export "_start") (local $got i32)
    (loop $more
      (if (i32.ge_s (call $spawn (i32.const 0)) (i32.const 0))
        (then (local.set $got (i32.add (local.get $got) (i32.const 1))) (br $more))))
    (loop $more
      (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1))
        (then (local.set $got (i32.add (local.get $got) (i32.const 1))) (br $more))))
    (call $exit (local.get $got))))"#;

const ENDLESS: &str = r#"(module (func (export "_start") (loop $again (br $again))))"#;

fn run(engine: &Engine, text: &str, config: &ProcessConfig) -> Result<Exit, Error> {
    let module = Module::new(engine, text)?;
    let mut linker = Linker::new(engine);
    updraft::add_wasi(&mut linker, updraft::WasiCtxBuilder::new().build().map_err(Error::host)?);
    Process::new(&linker, &module, config)?.run_to_exit()
}

pub fn main() -> Result<(), Error> {
    let engine = Engine::default();

    // A call that takes too long is ended; the store goes on.
    let mut store = Store::new(&engine)?;
    let instance = Linker::new(&engine).instantiate(&mut store, &Module::new(&engine, CALLS)?)?;
    let spin = instance.typed::<(), ()>(&mut store, "spin")?;
    store.set_deadline(Some(Instant::now() + Duration::from_millis(20)));
    let ended = spin.call(&mut store, ());
    assert!(matches!(ended, Err(Error::Stopped(Stopped::TimedOut))));
    store.set_deadline(None);
    let answer = instance.typed::<(), i32>(&mut store, "answer")?;
    assert_eq!(answer.call(&mut store, ())?, 42);

    // A program that wants too much is refused, and told so; it decides what to do then.
    let bounds =
        ProcessConfig { max_threads: 3, max_memory: Some(10 * 65_536), ..ProcessConfig::default() };
    let exit = run(&engine, GREEDY, &bounds)?;
    println!("three threads and nine pages: {exit}");
    assert!(matches!(exit, Exit::Code(12)), "{exit}");

    // Time ends it.
    let wall =
        ProcessConfig { timeout: Some(Duration::from_millis(20)), ..ProcessConfig::default() };
    let exit = run(&engine, ENDLESS, &wall)?;
    assert!(matches!(exit, Exit::Stopped(Stopped::TimedOut)), "{exit}");
    let cpu =
        ProcessConfig { max_cpu: Some(Duration::from_millis(20)), ..ProcessConfig::default() };
    let exit = run(&engine, ENDLESS, &cpu)?;
    assert!(matches!(exit, Exit::Stopped(Stopped::CpuTime)), "{exit}");
    Ok(())
}
