//! Standard streams of a program that are the host's: bytes, any reader and writer, and pipes to talk with a program that runs.
//!
//!     cargo run --example stdio

use std::io::{BufRead, BufReader, Write};
use std::sync::{Arc, Mutex};
use updraft::host::wasi::{MemoryInput, MemoryOutput};
use updraft::{Engine, Error, Linker, Module, Process, ProcessConfig, WasiCtxBuilder};

/// Writes what it reads, in capitals, and tells on standard error that it is done.
const PROGRAM: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 32) "done\n")
  (func $send (param $fd i32) (param $from i32) (param $bytes i32)
    (i32.store (i32.const 0) (local.get $from))
    (i32.store (i32.const 4) (local.get $bytes))
    (if (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable)))
  (func (export "_start") (local $i i32) (local $end i32) (local $byte i32)
    (loop $next
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 1024))
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (if (i32.load (i32.const 8)) (then
        (local.set $i (i32.const 1024))
        (local.set $end (i32.add (i32.const 1024) (i32.load (i32.const 8))))
        (loop $letter
          (local.set $byte (i32.load8_u (local.get $i)))
          (if (i32.lt_u (i32.sub (local.get $byte) (i32.const 97)) (i32.const 26))
            (then (i32.store8 (local.get $i) (i32.sub (local.get $byte) (i32.const 32)))))
          (br_if $letter (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $end))))
        (call $send (i32.const 1) (i32.const 1024) (i32.sub (local.get $end) (i32.const 1024)))
        (br $next))))
    (call $send (i32.const 2) (i32.const 32) (i32.const 5))))"#;

/// A writer of the host's own: it notes what was written, and how often.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().push(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn run(engine: &Engine, module: &Module, wasi: WasiCtxBuilder) -> Result<i32, Error> {
    let mut linker = Linker::new(engine);
    updraft::add_wasi(&mut linker, wasi.build().map_err(Error::host)?);
    Process::new(&linker, module, &ProcessConfig::default())?.run()
}

pub fn main() -> Result<(), Error> {
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM)?;

    // Bytes in, bytes out.
    let output = MemoryOutput::new();
    let wasi = WasiCtxBuilder::new().stdin(MemoryInput::new("from memory")).stdout(output.clone());
    run(&engine, &module, wasi)?;
    assert_eq!(output.contents(), b"FROM MEMORY");

    // Any reader, any writer.
    let (output, errors) = (Log::default(), Log::default());
    let reader = std::io::Cursor::new("from a reader");
    let wasi = WasiCtxBuilder::new()
        .stdin_from(reader)
        .stdout_to(output.clone())
        .stderr_to(errors.clone());
    run(&engine, &module, wasi)?;
    assert_eq!(output.0.lock().unwrap().concat(), "FROM A READER");
    assert_eq!(*errors.0.lock().unwrap(), ["done\n"]);

    // Pipes, to talk with the program while it runs. A thread that waits for input can be stopped at any time.
    let (stdin, mut to_program) = std::io::pipe().map_err(Error::host)?;
    let (from_program, stdout) = std::io::pipe().map_err(Error::host)?;
    let wasi = WasiCtxBuilder::new().stdin_fd(stdin).stdout_fd(stdout);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&engine, &module, wasi));
        let mut answers = BufReader::new(from_program).lines();
        for (question, expected) in [("ping", "PING"), ("pong", "PONG")] {
            writeln!(to_program, "{question}").expect("the program reads");
            let answer = answers.next().expect("an answer").expect("text");
            println!("{question}: {answer}");
            assert_eq!(answer, expected);
        }
        // The end of the input is the end of the program.
        drop(to_program);
        running.join().expect("no panic").map(|code| assert_eq!(code, 0))
    })
}
