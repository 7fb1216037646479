//! Several programs at once in one process, each with threads, memory and streams of its own. One traps, one runs out of time, one is
//! terminated: the others neither notice nor wait.
//!
//!     cargo run --example groups

use std::time::Duration;
use updraft::host::wasi::MemoryOutput;
use updraft::{
    Engine, Error, Exit, Linker, Module, Process, ProcessConfig, Stopped, TrapCode, WasiCtxBuilder,
};

/// Two threads count to a number in turns; then the first does what `host.task` says: 0 returns, 1 traps, 2 waits for ever.
const PROGRAM: &str = r#"(module
  (import "host" "task" (func $task (result i32)))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "env" "memory" (memory 1 1 shared))
  (export "memory" (memory 0))
  (data (i32.const 64) "counted\n")
  (func $count (param $parity i32) (local $seen i32)
    (loop $again
      (local.set $seen (i32.atomic.load (i32.const 0)))
      (if (i32.ge_u (local.get $seen) (i32.const 1000)) (then (return)))
      (if (i32.eq (i32.and (local.get $seen) (i32.const 1)) (local.get $parity))
        (then
          (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
          (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
        (else (drop (memory.atomic.wait32 (i32.const 0) (local.get $seen) (i64.const -1)))))
      (br $again)))
  (func (export "wasi_thread_start") (param i32 i32) (call $count (local.get 1)))
  (func (export "_start")
    (if (i32.lt_s (call $spawn (i32.const 1)) (i32.const 0)) (then unreachable))
    (call $count (i32.const 0))
    (i32.store (i32.const 8) (i32.const 64))
    (i32.store (i32.const 12) (i32.const 8))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))
    (if (call $task) (then
      (if (i32.eq (call $task) (i32.const 1)) (then unreachable))
      (drop (memory.atomic.wait32 (i32.const 32) (i32.const 0) (i64.const -1)))))))"#;

const RETURN: i32 = 0;
const TRAP: i32 = 1;
const WAIT: i32 = 2;

/// A program of its own, and what it will have written.
fn program(
    module: &Module,
    engine: &Engine,
    task: i32,
    timeout: Option<Duration>,
) -> Result<(Process, MemoryOutput), Error> {
    let mut linker = Linker::new(engine);
    linker.func("host", "task", move |_caller, ()| Ok(task));
    let output = MemoryOutput::new();
    let wasi = WasiCtxBuilder::new().stdout(output.clone()).build().map_err(Error::host)?;
    updraft::add_wasi(&mut linker, wasi);
    let config = ProcessConfig { timeout, ..ProcessConfig::default() };
    Ok((Process::new(&linker, module, &config)?, output))
}

pub fn main() -> Result<(), Error> {
    // Engine and module are shared: code that one program makes hot serves all.
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM)?;
    let tenth = Some(Duration::from_millis(100));
    let kinds = [(RETURN, None), (TRAP, None), (WAIT, tenth), (WAIT, None), (RETURN, None)];

    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for (task, timeout) in kinds {
            let (process, output) = program(&module, &engine, task, timeout)?;
            let terminator = process.terminator();
            running.push((scope.spawn(|| process.run_to_exit()), terminator, output));
        }
        // The one that would wait for ever is ended once it has counted.
        let (_, terminator, output) = &running[3];
        while output.contents().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        terminator.terminate();

        let mut exits = Vec::new();
        for (thread, _, output) in running {
            let exit = thread.join().expect("no panic")?;
            println!("{exit}");
            assert_eq!(output.contents(), b"counted\n", "each has a stream of its own");
            exits.push(exit);
        }
        assert!(exits[0].is_success() && exits[4].is_success());
        assert!(matches!(&exits[1], Exit::Trap(trap) if trap.code == TrapCode::Unreachable));
        assert!(matches!(exits[2], Exit::Stopped(Stopped::TimedOut)));
        assert!(matches!(exits[3], Exit::Stopped(Stopped::Terminated)));
        Ok(())
    })
}
