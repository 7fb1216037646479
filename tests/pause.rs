//! Pausing programs: nothing changes, the stacks are whole, and everything goes on, in every tier.
//!
//! When a pause comes is chance, and what is asserted holds at every moment.

mod common;

use common::{GUARD, Random, per_strategy, runs};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use updraft::{
    Activity, Config, Controller, Engine, Error, Linker, Module, PauseError, Process,
    ProcessConfig, Stopped, Store, Tuning, WasiCtxBuilder,
};

/// Threads that change memory in every way that there is. Each counts its rounds at 8 * its kind.
const PROGRAM: &str = r#"(module
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "host" "write" (func $host_write (param i32 i32)))
  (import "host" "call" (func $host_call (param i32)))
  (memory (import "env" "memory") 4 64 shared)
  (func $add (param $at i32) (param $to i32) (result i32)
    (i32.store (local.get $to) (i32.add (i32.load (local.get $to)) (i32.const 1)))
    (i32.load (local.get $to)))
  (func $count (param $to i32)
    (loop $l (drop (call $add (i32.const 0) (local.get $to))) (br $l)))
  (func $spin (param $to i32) (local $i i32)
    (loop $l
      (i32.store (local.get $to) (local.tee $i (i32.add (local.get $i) (i32.const 1))))
      (br $l)))
  (func $fill (param $to i32)
    (loop $l
      (memory.fill (i32.const 65536) (i32.load (local.get $to)) (i32.const 65536))
      (memory.copy (i32.const 65600) (i32.const 65536) (i32.const 65000))
      (drop (call $add (i32.const 0) (local.get $to)))
      (br $l)))
  (func $wait (param $to i32)
    (loop $l
      (drop (memory.atomic.wait32 (i32.const 512) (i32.const 0) (i64.const 20000)))
      (drop (call $add (i32.const 0) (local.get $to)))
      (br $l)))
  (func $read (param $to i32)
    (i32.store (i32.const 600) (i32.const 1024))
    (i32.store (i32.const 604) (i32.const 512))
    (loop $l
      (drop (call $fd_read (i32.const 0) (i32.const 600) (i32.const 1) (i32.const 608)))
      (drop (call $add (i32.const 0) (local.get $to)))
      (br $l)))
  (func $write (param $to i32)
    (loop $l
      (call $host_write (i32.const 2048) (i32.load (local.get $to)))
      (drop (call $add (i32.const 0) (local.get $to)))
      (br $l)))
  (func $call (param $to i32)
    (loop $l (call $host_call (local.get $to)) (br $l)))
  (func $back (export "back") (param $to i32)
    (drop (call $add (i32.const 0) (local.get $to))))
  (func $grow (param $to i32)
    (loop $l
      (drop (memory.grow (i32.eqz (i32.and (i32.load (local.get $to)) (i32.const 0xffff)))))
      (drop (call $add (i32.const 0) (local.get $to)))
      (br $l)))
  (func $deep (param $n i32) (param $to i32)
    (if (local.get $n)
      (then (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $to)))
      (else (drop (call $add (i32.const 0) (local.get $to))))))
  (func $recurse (param $to i32)
    (loop $l (call $deep (i32.const 50) (local.get $to)) (br $l)))
  (func $storm (param $to i32)
    (loop $l
      (if (i32.lt_u (i32.atomic.load (i32.const 516)) (i32.const 3))
        (then
          (drop (i32.atomic.rmw.add (i32.const 516) (i32.const 1)))
          (if (i32.lt_s (call $spawn (i32.const -1)) (i32.const 0))
            (then (drop (i32.atomic.rmw.sub (i32.const 516) (i32.const 1)))))
          (drop (call $add (i32.const 0) (local.get $to)))))
      (br $l)))
  (func $work (param $kind i32) (local $to i32)
    (local.set $to (i32.mul (local.get $kind) (i32.const 8)))
    (block $9 (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 (local.get $kind)))
      (call $count (local.get $to)) (return))
      (call $spin (local.get $to)) (return))
      (call $fill (local.get $to)) (return))
      (call $wait (local.get $to)) (return))
      (call $read (local.get $to)) (return))
      (call $write (local.get $to)) (return))
      (call $call (local.get $to)) (return))
      (call $grow (local.get $to)) (return))
      (call $recurse (local.get $to)) (return))
    (call $storm (local.get $to)))
  (func $start (export "wasi_thread_start") (param $id i32) (param $kind i32)
    (if (i32.ge_s (local.get $kind) (i32.const 0))
      (then (call $work (local.get $kind)))
      (else (drop (i32.atomic.rmw.sub (i32.const 516) (i32.const 1))))))
  (func $main (export "_start") (local $i i32)
    (loop $l
      (drop (call $spawn (local.get $i)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9))))
    (call $work (i32.const 9))))"#;

const KINDS: usize = 10;

/// Whether a function may be called by another in [`PROGRAM`].
fn calls(caller: &str, callee: &str) -> bool {
    match callee {
        "work" => matches!(caller, "start" | "main"),
        "add" => !matches!(caller, "start" | "main" | "work" | "spin" | "call"),
        "back" => caller == "call",
        "deep" => matches!(caller, "recurse" | "deep"),
        "start" | "main" => false,
        _ => caller == "work",
    }
}

/// A program that runs on a thread of its own.
struct Running {
    controller: Controller,
    end: mpsc::Receiver<Result<i32, Error>>,
    thread: std::thread::JoinHandle<()>,
    writer: std::thread::JoinHandle<()>,
    over: Arc<AtomicBool>,
}

impl Running {
    fn start(engine: &Engine, module: &Module) -> Running {
        let mut linker = Linker::new(engine);
        linker.func("host", "write", |caller, (at, value): (i32, i32)| {
            let memory = caller.memory().expect("it is imported");
            memory.write(at as u64, &[value as u8; 1024])
        });
        linker.func("host", "call", |caller, to: i32| {
            let back = caller.exported_func("back").expect("it is exported");
            back.typed::<i32, ()>(caller)?.call(caller, to)
        });
        let (reader, mut writer) = std::io::pipe().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        // The pipe's other end goes with the program.
        let writer = std::thread::spawn(move || {
            let mut byte = 0u8;
            while !ended.load(Ordering::SeqCst) && writer.write_all(&[byte; 100]).is_ok() {
                byte = byte.wrapping_add(1);
                std::thread::yield_now();
            }
        });
        let wasi = WasiCtxBuilder::new().stdin_fd(reader).build().unwrap();
        updraft::add_wasi(&mut linker, wasi);
        let process = Process::new(&linker, module, &ProcessConfig::default()).unwrap();
        let controller = process.controller();
        let (ended, end) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _ = ended.send(process.run());
        });
        Running { controller, end, thread, writer, over }
    }

    fn ends_terminated(self) {
        self.over.store(true, Ordering::SeqCst);
        let result = self.end.recv_timeout(GUARD).expect("the program hangs after a stop");
        assert!(matches!(result, Err(Error::Stopped(Stopped::Terminated))), "{result:?}");
        self.thread.join().unwrap();
        self.writer.join().unwrap();
        assert!(matches!(self.controller.pause(), Err(PauseError::Ending)));
    }
}

fn engine(strategy: &str, round: usize) -> Engine {
    let strategy = common::tier(strategy, round).parse().unwrap();
    let tuning = if round.is_multiple_of(2) { Tuning::EAGER } else { Tuning::default() };
    Engine::new(Config { strategy, tuning, ..Config::default() })
}

/// The memory of a paused program; two copies are the same.
fn snapshot(paused: &updraft::Paused) -> Vec<u8> {
    let memory = paused.memory().expect("it is shared");
    let read = || {
        let mut bytes = vec![0; memory.size() as usize];
        memory.read(0, &mut bytes).unwrap();
        bytes
    };
    let first = read();
    for _ in 0..3 {
        std::thread::yield_now();
        assert!(read() == first, "the memory changes during a pause");
    }
    first
}

fn pauses_at_any_moment(strategy: &str) {
    let mut random = Random::new(31 + strategy.len() as u64);
    for round in 0..runs(2) {
        let engine = engine(strategy, round);
        let module = Module::new(&engine, PROGRAM).unwrap();
        let running = Running::start(&engine, &module);
        let (mut whole, mut pauses) = (0, 0);
        // At first they may all wait for code.
        while whole == 0 || pauses < 60 {
            pauses += 1;
            std::thread::sleep(Duration::from_micros(random.below(2_000) as u64));
            let paused = running.controller.pause().unwrap();
            snapshot(&paused);
            for thread in paused.threads() {
                let names: Vec<&str> = thread.frames.iter().map(|f| f.name.as_str()).collect();
                for pair in names.windows(2) {
                    assert!(calls(pair[1], pair[0]), "{thread:?}");
                }
                let Some(outermost) = names.last() else { continue };
                assert_eq!(*outermost, if thread.id == 0 { "main" } else { "start" }, "{thread:?}");
                match thread.activity {
                    Activity::Wait => assert_eq!(names[0], "wait"),
                    Activity::Host if names.contains(&"write") => assert_eq!(names[0], "write"),
                    _ => {}
                }
                whole += 1;
            }
        }
        // Everybody goes on.
        let counts = |bytes: &[u8]| -> Vec<u32> {
            let word = |kind: usize| bytes[kind * 8..][..4].try_into().unwrap();
            (0..KINDS).map(|kind| u32::from_le_bytes(word(kind))).collect()
        };
        let before = counts(&snapshot(&running.controller.pause().unwrap()));
        let memory = running.controller.pause().unwrap().memory().unwrap().clone();
        let mut now = vec![0; KINDS * 8];
        let start = std::time::Instant::now();
        while counts(&now).iter().zip(&before).any(|(now, before)| now == before) {
            assert!(start.elapsed() < GUARD, "{:?} after {before:?}", counts(&now));
            std::thread::yield_now();
            memory.read(0, &mut now).unwrap();
        }
        // A stop wins over a pause.
        let paused = running.controller.pause().unwrap();
        assert!(running.controller.terminate());
        running.ends_terminated();
        drop(paused);
    }
}

/// Several pause, and one ends the program.
fn pausers_and_a_stop(strategy: &str) {
    for round in 0..runs(3) {
        let engine = engine(strategy, round);
        let module = Module::new(&engine, PROGRAM).unwrap();
        let running = Running::start(&engine, &module);
        std::thread::scope(|scope| {
            for seed in 0..3 {
                let controller = running.controller.clone();
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    loop {
                        match controller.pause() {
                            Ok(paused) => {
                                let size = paused.memory().unwrap().size();
                                std::thread::sleep(Duration::from_micros(random.below(300) as u64));
                                // Unless the program has been ended meanwhile.
                                if controller.pause().is_ok() {
                                    assert_eq!(paused.memory().unwrap().size(), size);
                                }
                            }
                            Err(error) => return assert_eq!(error, PauseError::Ending),
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(30));
            assert!(running.controller.terminate());
        });
        running.ends_terminated();
    }
}

per_strategy!(pauses_at_any_moment, pausers_and_a_stop);

/// A function that the program has called cannot pause it, and a call of its own within another program's is no obstacle.
#[test]
fn a_program_cannot_pause_itself() {
    let engine = Engine::default();
    let text = r#"(module (import "host" "call" (func $call)) (func (export "run") (call $call)))"#;
    let module = Module::new(&engine, text).unwrap();
    let mut inner = Store::new(&engine).unwrap();
    let mut outer = Store::new(&engine).unwrap();
    let (mine, other) = (outer.controller(), inner.controller());
    let mut linker = Linker::new(&engine);
    linker.func("host", "call", |_, ()| Ok(()));
    let instance = linker.instantiate(&mut inner, &module).unwrap();
    let nested = Mutex::new((inner, instance));
    let mut linker = Linker::new(&engine);
    linker.func("host", "call", move |_, ()| {
        assert!(matches!(mine.pause(), Err(PauseError::OwnThread)));
        assert!(other.pause().unwrap().threads().is_empty());
        let (store, instance) = &mut *nested.lock().unwrap();
        instance.typed::<(), ()>(store, "run")?.call(store, ())
    });
    let instance = linker.instantiate(&mut outer, &module).unwrap();
    instance.typed::<(), ()>(&mut outer, "run").unwrap().call(&mut outer, ()).unwrap();
}
