//! Functions of the host that block, in a scope that the end of the program ends: one waits for letters, another reads from a pipe.
//!
//!     cargo run --example blocking

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use updraft::{Engine, Error, Exit, Linker, Module, Process, ProcessConfig, Stopped};

/// One thread adds up letters until one is 0, and exits; another reads from a pipe meanwhile.
const PROGRAM: &str = r#"(module
  (import "host" "receive" (func $receive (result i32)))
  (import "host" "read" (func $read (result i32)))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "env" "memory" (memory 1 1 shared))
  (func (export "wasi_thread_start") (param i32 i32)
    (loop $next (drop (call $read)) (br $next)))
  (func (export "main") (result i32) (local $letter i32) (local $sum i32)
    (if (i32.lt_s (call $spawn (i32.const 0)) (i32.const 0)) (then unreachable))
    (loop $next
      (local.set $letter (call $receive))
      (local.set $sum (i32.add (local.get $sum) (local.get $letter)))
      (br_if $next (local.get $letter)))
    (local.get $sum)))"#;

#[derive(Default)]
struct Mailbox {
    letters: Mutex<Vec<i32>>,
    changed: Condvar,
}

impl Mailbox {
    fn send(&self, letter: i32) {
        self.letters.lock().unwrap().insert(0, letter);
        self.changed.notify_all();
    }
}

fn linker(engine: &Engine, mailbox: &Arc<Mailbox>, pipe: std::io::PipeReader) -> Linker {
    let mut linker = Linker::new(engine);
    let mailbox = mailbox.clone();
    linker.func("host", "receive", move |caller, ()| {
        // What waits on a condition variable is woken through it. The lock is taken, so that the wake cannot come between the
        // question and the wait.
        let waker = mailbox.clone();
        let wake = move || {
            drop(waker.letters.lock());
            waker.changed.notify_all();
        };
        let letter = caller.blocking(wake, |blocking| {
            let mut letters = mailbox.letters.lock().unwrap();
            while letters.is_empty() && !blocking.is_stopping() {
                letters = mailbox.changed.wait(letters).unwrap();
            }
            letters.pop()
        })?;
        Ok(letter.unwrap_or(0))
    });
    linker.func("host", "read", move |caller, ()| {
        // A call of the system is interrupted; there is nobody else to wake.
        let mut byte = [0];
        let read = caller.blocking(|| {}, |_| (&pipe).read(&mut byte))?;
        Ok(read.map_or(-1, |_| i32::from(byte[0])))
    });
    linker
}

pub fn main() -> Result<(), Error> {
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM)?;

    // The program ends by itself while its second thread reads from a pipe to which little is written.
    let mailbox = Arc::new(Mailbox::default());
    let (reader, mut writer) = std::io::pipe().map_err(Error::host)?;
    let process =
        Process::new(&linker(&engine, &mailbox, reader), &module, &ProcessConfig::default())?;
    writer.write_all(b"x").map_err(Error::host)?;
    for letter in [30, 12, 0] {
        mailbox.send(letter);
    }
    let sum =
        process.run_entry("main", |store, main| main.typed::<(), i32>(store)?.call(store, ()))?;
    println!("the letters add up to {sum}");
    assert_eq!(sum, 42);

    // Nobody writes this time: both threads block in the host until the program is ended from outside.
    let mailbox = Arc::new(Mailbox::default());
    let (reader, _writer) = std::io::pipe().map_err(Error::host)?;
    let process =
        Process::new(&linker(&engine, &mailbox, reader), &module, &ProcessConfig::default())?;
    let terminator = process.terminator();
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            terminator.terminate()
        });
        process.run_entry("main", |store, main| main.typed::<(), i32>(store)?.call(store, ()))
    });
    let exit = Exit::of(ended)?;
    println!("{exit}");
    assert!(matches!(exit, Exit::Stopped(Stopped::Terminated)));
    Ok(())
}
