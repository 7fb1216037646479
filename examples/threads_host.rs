//! A host runs multithreaded programs inside its own process. One of them traps in one of its threads; all threads of that
//! program end, the host gets a typed error, and goes on.
//!
//!     cargo run --example threads_host

use updraft::host::wasi::MemoryOutput;
use updraft::{Engine, Error, Linker, Module, Process, ProcessConfig, TrapCode, WasiCtxBuilder};

/// Three threads: one divides by a number that the host gives, the second waits without end, the third, which is the main thread, waits
/// for the quotient, and exits with it.
const PROGRAM: &str = r#"(module
  (import "host" "divisor" (func $divisor (result i32)))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "env" "memory" (memory 1 1 shared))
  (func $divide
    (i32.atomic.store (i32.const 0) (i32.div_u (i32.const 84) (call $divisor)))
    (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
  (func $wait_forever
    (drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const -1))))
  (func (export "wasi_thread_start") (param $id i32) (param $argument i32)
    (if (local.get $argument) (then (call $divide)) (else (call $wait_forever))))
  (func (export "_start")
    (drop (call $spawn (i32.const 0)))
    (drop (call $spawn (i32.const 1)))
    (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))
    (call $proc_exit (i32.atomic.load (i32.const 0)))))"#;

/// Runs the program to the end of its last thread.
fn run(engine: &Engine, module: &Module, divisor: u32) -> Result<i32, Error> {
    let mut linker = Linker::new(engine);
    linker.func("host", "divisor", move |_caller, ()| Ok(divisor));
    // What the program sees of the world: here an argument, and a place for its output.
    let output = MemoryOutput::new();
    let wasi = WasiCtxBuilder::new().args(["divide"]).stdout(output.clone()).build();
    updraft::add_wasi(&mut linker, wasi.map_err(Error::host)?);
    Process::new(&linker, module, &ProcessConfig::default())?.run()
}

pub fn main() -> Result<(), Error> {
    let engine = Engine::default();
    // Compiled code belongs to the module: a program starts with what the ones before made hot.
    let module = Module::new(&engine, PROGRAM)?;

    println!("84 / 2 = {}", run(&engine, &module, 2)?);

    match run(&engine, &module, 0) {
        Err(Error::Trap(trap)) => {
            // The code, the thread and the frames are data; this prints them.
            println!("84 / 0: {trap}");
            assert_eq!(trap.code, TrapCode::IntegerDivideByZero);
            assert_ne!(trap.thread, 0, "not the main thread");
            assert_eq!(trap.frames[0].name, "divide");
        }
        other => panic!("expected a trap, got {other:?}"),
    }

    // All three threads of that program are gone, and the host runs the next one.
    println!("84 / 4 = {}", run(&engine, &module, 4)?);
    Ok(())
}
