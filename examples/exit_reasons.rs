//! How a program ended is a value: an exit code, a trap with its backtrace, an exception, an error of the host, or an end from outside.
//!
//!     cargo run --example exit_reasons

use std::time::Duration;
use updraft::{
    Engine, Error, Exit, Linker, Module, Process, ProcessConfig, Stopped, TrapCode, WasiCtxBuilder,
};

#[derive(Debug, thiserror::Error)]
#[error("the vault is closed")]
struct Closed;

/// Runs a program for at most a tenth of a second.
fn run(engine: &Engine, text: &str) -> Result<Exit, Error> {
    let module = Module::new(engine, text)?;
    let mut linker = Linker::new(engine);
    linker.func("host", "open_vault", |_caller, ()| -> Result<(), Error> {
        Err(Error::host(Closed))
    });
    updraft::add_wasi(&mut linker, WasiCtxBuilder::new().build().map_err(Error::host)?);
    let config =
        ProcessConfig { timeout: Some(Duration::from_millis(100)), ..ProcessConfig::default() };
    let exit = Process::new(&linker, &module, &config)?.run_to_exit()?;
    println!("{exit}");
    Ok(exit)
}

pub fn main() -> Result<(), Error> {
    let engine = Engine::default();

    let exit = run(&engine, r#"(module (func (export "_start")))"#)?;
    assert!(exit.is_success());

    let exit = run(
        &engine,
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (func (export "_start") (call $exit (i32.const 7))))"#,
    )?;
    assert!(matches!(exit, Exit::Code(7)));

    let exit = run(
        &engine,
        r#"(module (func $divide (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
             (func (export "_start") (drop (call $divide (i32.const 0)))))"#,
    )?;
    let Exit::Trap(trap) = exit else { panic!("{exit}") };
    assert_eq!((trap.code, trap.thread), (TrapCode::IntegerDivideByZero, 0));
    assert_eq!(trap.frames[0].name, "divide");

    let exit = run(
        &engine,
        r#"(module (tag $oops (param i32)) (func (export "_start") (throw $oops (i32.const 1))))"#,
    )?;
    assert!(matches!(exit, Exit::Exception(_)));

    let exit = run(
        &engine,
        r#"(module (import "host" "open_vault" (func $open)) (func (export "_start") (call $open)))"#,
    )?;
    let Exit::Host(error) = exit else { panic!("{exit}") };
    assert!(error.downcast_ref::<Closed>().is_some());

    let exit = run(&engine, r#"(module (func (export "_start") (loop (br 0))))"#)?;
    assert!(matches!(exit, Exit::Stopped(Stopped::TimedOut)));

    // What keeps a program from starting is an error of the embedder's call.
    let missing = r#"(module (import "host" "close_vault" (func)) (func (export "_start")))"#;
    assert!(matches!(run(&engine, missing), Err(Error::Link(_))));
    Ok(())
}
