//! All threads of a program stand still for a moment: the host looks at their stacks, and at a memory that does not change meanwhile.
//!
//!     cargo run --example pause

use updraft::{Engine, Error, Exit, Linker, Module, Process, ProcessConfig};

/// Two threads that count for ever, each in a word of its own.
const PROGRAM: &str = r#"(module
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "env" "memory" (memory 1 1 shared))
  (func $count (param $word i32)
    (loop $again
      (drop (i32.atomic.rmw.add (local.get $word) (i32.const 1)))
      (br $again)))
  (func (export "wasi_thread_start") (param i32 i32) (call $count (local.get 1)))
  (func (export "_start")
    (drop (call $spawn (i32.const 4)))
    (call $count (i32.const 0))))"#;

fn word(memory: &updraft::Memory, address: u64) -> Result<u32, Error> {
    let mut bytes = [0; 4];
    memory.read(address, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

pub fn main() -> Result<(), Error> {
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM)?;
    let process = Process::new(&Linker::new(&engine), &module, &ProcessConfig::default())?;
    let controller = process.controller();
    let program = std::thread::spawn(move || process.run_to_exit());

    // Both count once each has counted.
    loop {
        let mut paused = controller.pause().map_err(Error::host)?;
        let memory = paused.memory().expect("the program imports one").clone();
        let counts = (word(&memory, 0)?, word(&memory, 4)?);
        if counts.0 == 0 || counts.1 == 0 {
            drop(paused);
            std::thread::yield_now();
            continue;
        }
        // Nobody counts while the pause lasts.
        for _ in 0..1000 {
            assert_eq!((word(&memory, 0)?, word(&memory, 4)?), counts);
        }
        let mut threads = paused.take_threads();
        assert_eq!(threads.len(), 2);
        // The program goes on here; the stacks are ours to look at.
        drop(paused);
        for thread in &mut threads {
            thread.locate();
            println!("thread {}, {:?}:", thread.id, thread.activity);
            for frame in &thread.frames {
                println!("    {} at {:?}", frame.name, frame.offset);
            }
            assert_eq!(thread.frames[0].name, "count");
        }
        break;
    }

    assert!(controller.terminate());
    let exit = program.join().expect("it does not panic")?;
    assert!(matches!(exit, Exit::Stopped(updraft::Stopped::Terminated)), "{exit}");
    Ok(())
}
