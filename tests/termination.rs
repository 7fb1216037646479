//! However one thread ends the program, and whatever the others are doing, all of them end, and the exit code is right.
//!
//! Each test makes all others busy in one way and then ends the program: by a trap, an exit or a return, in the main thread
//! or in a child, at once and after a while (so that the others are deep in what they do, and in compiled code if there is
//! any). Nothing depends on how long that while is: the program ends by that cause alone.

mod common;

use common::*;

/// What the threads that do not end the program are doing. If one of them ever gets out, the program exits with 99.
const ACTIVITIES: &str = r#"
  ;; Nothing to hold on to: no call, no access, no exit.
  (func $spin (loop $again (br $again)))

  (func $spin_on_load
    (loop $again (br_if $again (i32.eqz (i32.load (i32.const 8))))))

  (func $wait
    (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1))))

  ;; An hour in poll_oneoff: a subscription to the monotonic clock.
  (func $sleep
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.const 3600000000000))
    (drop (call $poll_oneoff (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192))))

  (func $read
    (i32.store (i32.const 200) (i32.const 256))
    (i32.store (i32.const 204) (i32.const 16))
    (drop (call $fd_read (i32.const 0) (i32.const 200) (i32.const 1) (i32.const 208))))

  (func $down (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (call $down (i32.sub (local.get $n) (i32.const 1))) (i32.const 1)))
      (else (i32.const 0))))
  (func $recurse
    (loop $again (br_if $again (i32.eq (call $down (i32.const 5000)) (i32.const 5000)))))

  (func $fill
    (loop $again
      (memory.fill (i32.const 65536) (i32.const 1) (i32.const 33554432))
      (br $again)))

  ;; At most eight short threads at once, so that no limit is reached.
  (func $storm
    (loop $again
      (if (i32.lt_u (i32.atomic.load (i32.const 16)) (i32.const 8))
        (then
          (drop (i32.atomic.rmw.add (i32.const 16) (i32.const 1)))
          (if (i32.lt_s (call $spawn (i32.const 2)) (i32.const 0))
            (then (drop (i32.atomic.rmw.sub (i32.const 16) (i32.const 1)))))))
      (br $again)))
"#;

/// The ways to end a program: the code that does it, the exit code, and the trap's text if it is one.
struct Cause {
    code: &'static str,
    exit: i32,
    trap: Option<&'static str>,
}

const CAUSES: [Cause; 4] = [
    Cause { code: "unreachable", exit: 134, trap: Some("unreachable") },
    // The value is not used: the access must trap all the same.
    Cause {
        code: "(drop (i32.load (i32.const -4)))",
        exit: 134,
        trap: Some("out of bounds memory access"),
    },
    Cause { code: "(call $proc_exit (i32.const 7))", exit: 7, trap: None },
    Cause { code: "return", exit: 0, trap: None },
];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Main,
    Child,
}

/// Milliseconds for which the causing thread runs once all others have begun.
const AT_ONCE: u32 = 0;
const LATER: u32 = 60;

fn program(activity: &str, cause: &str, place: Place, pause: u32) -> String {
    let start = match place {
        Place::Main => "(call $workers) (call $end_it (i32.const 2))",
        Place::Child => "(call $workers) (drop (call $spawn (i32.const 1))) (call $work)",
    };
    let others = if place == Place::Main { 2 } else { 3 };
    format!(
        r#"(module
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "env" "memory" (memory 600 600 shared))
  ;; 0: threads at work; 8: always 0; 16: short threads of the storm; 24: the time; 64 to 256: arguments of WASI
{ACTIVITIES}
  (func $work
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
    (drop (memory.atomic.notify (i32.const 0) (i32.const -1)))
    (call ${activity})
    (call $proc_exit (i32.const 99)))

  (func $now (result i64)
    (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 24)))
    (i64.load (i32.const 24)))

  (func $end_it (param $others i32) (local $n i32) (local $until i64)
    (loop $again
      (local.set $n (i32.atomic.load (i32.const 0)))
      (if (i32.lt_u (local.get $n) (local.get $others))
        (then
          (drop (memory.atomic.wait32 (i32.const 0) (local.get $n) (i64.const -1)))
          (br $again))))
    (local.set $until (i64.add (call $now) (i64.const {pause}000000)))
    (loop $again (br_if $again (i64.lt_s (call $now) (local.get $until))))
    {cause})

  (func $workers
    (drop (call $spawn (i32.const 0)))
    (drop (call $spawn (i32.const 0))))

  (func (export "wasi_thread_start") (param $id i32) (param $role i32)
    (if (i32.eqz (local.get $role)) (then (call $work)))
    (if (i32.eq (local.get $role) (i32.const 1)) (then (call $end_it (i32.const {others}))))
    (drop (i32.atomic.rmw.sub (i32.const 16) (i32.const 1))))

  (func (export "_start") {start}))"#
    )
}

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
