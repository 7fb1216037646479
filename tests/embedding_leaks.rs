//! A host runs programs with threads for as long as it lives: nothing of them may stay behind.
//!
//! A test binary of its own, with one test: it counts the threads, the maps and the memory of the whole process.

mod common;

use common::{GUARD, Held, strategies};
use std::time::Instant;
use updraft::{
    Config, Engine, Error, Linker, Module, Process, ProcessConfig, TrapCode, WasiCtxBuilder,
};

/// Programs before the first count: allocators and caches have filled by then.
const SETTLED: usize = 200;
const PROGRAMS: usize = 1000;
/// Bytes of growth per program that would be a leak. A stack, a store or a context alone has more.
const LEAK: usize = 16 << 10;

/// Maps that come and stay, whenever it is that threads get in each other's way: the allocator's arenas (eight for each core, two maps
/// each) and the C library's cache of stacks.
const SETTLING_MAPS: usize = 64;

/// The test's own thread, that of the harness, and a compile thread. Threads that wait for the next program end after a second.
const THREADS: usize = 3;

/// Counts once all threads of programs are gone: a thread that has left its program still has to leave the process.
fn held() -> Held {
    let start = Instant::now();
    loop {
        let held = Held::now();
        if held.threads <= THREADS {
            return held;
        }
        assert!(start.elapsed() < GUARD, "{held:?}: threads stay");
        std::thread::yield_now();
    }
}

/// Two children; the program ends by a trap of one, by an exit of one, or by a return of main, as its argument says, while the others wait.
const PROGRAM: &str = r#"(module
  (import "host" "how" (func $how (result i32)))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "env" "memory" (memory 3 100 shared))
  (func $wait (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))
  (func $work (local $i i32)
    (loop $again
      (i32.store (local.get $i) (local.get $i))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 100000)))))
  (func (export "wasi_thread_start") (param $id i32) (param $how i32)
    (call $work)
    (if (i32.eq (local.get $how) (i32.const 1)) (then unreachable))
    (if (i32.eq (local.get $how) (i32.const 2)) (then (call $proc_exit (i32.const 5))))
    (call $wait))
  (func (export "_start")
    (drop (call $spawn (i32.const 0)))
    (drop (call $spawn (call $how)))
    (call $work)
    (if (call $how) (then (call $wait)))))"#;

fn run(module: &Module, engine: &Engine, how: i32) {
    let mut linker = Linker::new(engine);
    linker.func("host", "how", move |_, ()| Ok(how));
    updraft::add_wasi(&mut linker, WasiCtxBuilder::new().build().unwrap());
    let process = Process::new(&linker, module, &ProcessConfig::default()).unwrap();
    match (how, process.run()) {
        (0, Ok(0)) | (2, Ok(5)) => {}
        (1, Err(Error::Trap(trap))) if trap.code == TrapCode::Unreachable && trap.thread != 0 => {}
        (how, other) => panic!("program {how} ended with {other:?}"),
    }
}

#[test]
fn a_thousand_programs_leave_nothing_behind() {
    for strategy in strategies() {
        let engine = Engine::new(Config {
            strategy: strategy.parse().unwrap(),
            compile_threads: Some(1),
            ..Config::default()
        });
        // The module is shared by the programs, as a server would have it; every tenth has a module of its own.
        let shared = Module::new(&engine, PROGRAM).unwrap();
        let mut settled = None;
        for number in 0..PROGRAMS {
            if number == SETTLED {
                settled = Some(held());
            }
            let own = number % 10 == 0;
            let module = if own { Module::new(&engine, PROGRAM).unwrap() } else { shared.clone() };
            run(&module, &engine, (number % 3) as i32);
        }
        let (before, after) = (settled.unwrap(), held());
        let programs = PROGRAMS - SETTLED;
        let told =
            format!("{strategy}: {before:?} after {SETTLED} programs, {after:?} after {PROGRAMS}");
        println!("{told}");
        assert!(after.files <= before.files, "{told}");
        assert!(after.maps < before.maps + programs / 20 + SETTLING_MAPS, "{told}");
        assert!(after.address_space < before.address_space + (8 << 30), "{told}");
        assert!(after.resident < before.resident + programs * LEAK, "{told}");
    }
}
