//! However one thread ends the program, and whatever the others are doing, all of them end, and the exit code is right.
//!
//! Each test makes all others busy in one way and then ends the program: by a trap, an exit or a return, in the main thread
//! or in a child, at once and after a while (so that the others are deep in what they do, and in compiled code if there is
//! any). Nothing depends on how long that while is: the program ends by that cause alone.

mod common;
#[path = "common/endings.rs"]
mod endings;

use common::*;
use endings::{AT_ONCE, CAUSES, LATER, Place, program};

fn ends(activity: &str, strategy: &str) {
    for (number, pause) in [AT_ONCE, LATER].into_iter().enumerate() {
        for place in [Place::Main, Place::Child] {
            for cause in &CAUSES {
                if place == Place::Child && cause.code == "return" {
                    continue; // It ends that thread alone: a test of its own, below.
                }
                let file = wat_file(&program(activity, cause.code, place, pause));
                let run = Updraft::run(&tier(strategy, number)).arg(&file).silent_stdin();
                let ended = match cause.trap {
                    Some(message) => run.end().trapped(message, "end_it"),
                    None => run.end().expect(cause.exit),
                };
                match (cause.trap, place) {
                    (None, _) => assert_eq!(ended.stderr, "", "\n{ended}"),
                    (Some(_), Place::Main) => drop(ended.says(&["in the main thread", "_start"])),
                    (Some(_), Place::Child) => {
                        let ended = ended.says(&["in thread ", "wasi_thread_start"]);
                        assert!(!ended.stderr.contains("in the main thread"), "\n{ended}");
                    }
                }
            }
        }
    }
}

macro_rules! while_others {
    ($($test:ident = $activity:literal),* $(,)?) => {
        $(fn $test(strategy: &str) {
            ends($activity, strategy);
        })*
        per_strategy!($($test),*);
    };
}

while_others! {
    while_others_spin = "spin",
    while_others_spin_on_a_load = "spin_on_load",
    while_others_wait = "wait",
    while_others_sleep_in_poll = "sleep",
    while_others_read_silent_stdin = "read",
    while_others_recurse = "recurse",
    while_others_fill_memory = "fill",
    while_others_spawn = "storm",
}

/// With room for one thread, the next spawn can only succeed once the thread before has ended, and so
/// it must have ended alone.
fn a_thread_that_returns_ends_alone(strategy: &str) {
    let file = wat_file(
        r#"(module
          (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
          (import "env" "memory" (memory 1 1 shared))
          (func (export "wasi_thread_start") (param $id i32) (param $argument i32)
            (drop (i32.atomic.rmw.add (i32.const 0) (local.get $argument)))
            (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
          (func $run (param $argument i32) (local $before i32)
            (local.set $before (i32.atomic.load (i32.const 0)))
            (loop $again
              (br_if $again (i32.lt_s (call $spawn (local.get $argument)) (i32.const 0))))
            (loop $again
              (br_if $again
                (i32.eqz (memory.atomic.wait32 (i32.const 0) (local.get $before) (i64.const -1))))))
          (func (export "_start")
            (call $run (i32.const 1))
            (call $run (i32.const 2))
            (call $run (i32.const 4))
            (call $run (i32.const 8))
            (call $proc_exit (i32.atomic.load (i32.const 0)))))"#,
    );
    for run in 0..runs(3) {
        // Refused spawns are logged, once each.
        Updraft::run(&tier(strategy, run))
            .args(["--max-threads", "1"])
            .arg(&file)
            .env("UPDRAFT_LOG", "off")
            .end()
            .expect(15);
    }
}

/// Eight threads trap or exit at the same moment. Whoever is first, there is one cause, and it is told once.
fn the_first_cause_wins(strategy: &str) {
    let file = wat_file(
        r#"(module
          (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
          (import "env" "memory" (memory 1 1 shared))
          (func $meet (local $n i32)
            (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
            (loop $again (br_if $again (i32.lt_u (i32.atomic.load (i32.const 0)) (i32.const 9)))))
          (func $end_it (param $how i32)
            (call $meet)
            (if (i32.and (local.get $how) (i32.const 1)) (then unreachable))
            (call $proc_exit (i32.add (i32.const 40) (local.get $how))))
          (func (export "wasi_thread_start") (param $id i32) (param $how i32)
            (call $end_it (local.get $how)))
          (func (export "_start") (local $i i32)
            (loop $again
              (drop (call $spawn (local.get $i)))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $again (i32.lt_u (local.get $i) (i32.const 8))))
            (call $end_it (i32.const 8))))"#,
    );
    for run in 0..runs(10) {
        let ended = Updraft::run(&tier(strategy, run)).arg(&file).end();
        match ended.code() {
            134 => assert_eq!(ended.stderr.matches("trap:").count(), 1, "\n{ended}"),
            40 | 42 | 44 | 46 | 48 => assert_eq!(ended.stderr, "", "\n{ended}"),
            _ => panic!("neither a trap nor an exit of the program\n{ended}"),
        }
    }
}

/// Instantiation for a thread runs the module's start function; if that traps, the thread has trapped.
fn a_trap_in_the_start_function_of_a_thread(strategy: &str) {
    let file = wat_file(
        r#"(module
          (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
          (import "env" "memory" (memory 1 1 shared))
          (func $prepare
            (if (i32.atomic.rmw.add (i32.const 0) (i32.const 1)) (then unreachable)))
          (start $prepare)
          (func (export "wasi_thread_start") (param i32 i32))
          (func (export "_start")
            (drop (call $spawn (i32.const 0)))
            (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1)))))"#,
    );
    Updraft::run(&tier(strategy, 0))
        .arg(&file)
        .end()
        .trapped("unreachable", "prepare")
        .says(&["in thread "]);
}

/// An exit code is the program's own, also where it could be taken for something else.
#[test]
fn exit_codes_are_kept() {
    for code in [0, 1, 2, 124, 134, 255] {
        for place in [Place::Main, Place::Child] {
            let cause = format!("(call $proc_exit (i32.const {code}))");
            let file = wat_file(&program("wait", &cause, place, AT_ONCE));
            let ended = Updraft::run("interp").arg(&file).end().expect(code);
            assert_eq!(ended.stderr, "", "\n{ended}");
        }
    }
}

per_strategy!(
    a_thread_that_returns_ends_alone,
    the_first_cause_wins,
    a_trap_in_the_start_function_of_a_thread,
);
