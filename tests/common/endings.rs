//! Programs whose threads are busy in one of many ways until one of them ends the program. Shared by the tests and the benchmark
//! of termination.

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
pub struct Cause {
    pub code: &'static str,
    pub exit: i32,
    pub trap: Option<&'static str>,
}

pub const CAUSES: [Cause; 4] = [
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

/// Who ends the program.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Place {
    Main,
    Child,
}

/// Milliseconds for which the causing thread runs once all others have begun.
pub const AT_ONCE: u32 = 0;
pub const LATER: u32 = 60;

/// A program whose threads are busy with `activity` (the name of a function of [`ACTIVITIES`]) until one of them runs `cause`: `pause` milliseconds
/// after all others have begun.
pub fn program(activity: &str, cause: &str, place: Place, pause: u32) -> String {
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
