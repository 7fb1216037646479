//! What threads do to each other while tiers change beneath them: atomics, growing memory, code that becomes hot in all
//! threads at once, and traps in the middle of it.
//!
//! UPDRAFT_TEST_RUNS says how often each program is run.

mod common;

use common::*;

/// Runs a program whose exit code is 0 when all was right.
fn succeeds(strategy: &str, default_runs: usize, text: &str) {
    let file = wat_file(text);
    for run in 0..runs(default_runs) {
        let output = Updraft::run(&tier(strategy, run)).arg(&file).end().quiet_success();
        assert_eq!(output, "");
    }
}

/// A program in which `threads` threads run `body` (local 0: the thread's number, from 0), and main then runs `check`, which must leave 1 if all is right.
fn program(threads: u32, memory: &str, fields: &str, body: &str, check: &str) -> String {
    format!(
        r#"(module
          (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
          (import "env" "memory" (memory {memory}))
          {fields}
          ;; 0: threads that are done; 4: threads that have begun
          (func $body (param $me i32) {body})
          (func (export "wasi_thread_start") (param i32 i32)
            ;; All begin together.
            (drop (i32.atomic.rmw.add (i32.const 4) (i32.const 1)))
            (loop $again (br_if $again (i32.lt_u (i32.atomic.load (i32.const 4)) (i32.const {threads}))))
            (call $body (local.get 1))
            (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
            (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
          (func $check (result i32) {check})
          (func (export "_start") (local $i i32)
            (loop $again
              (if (i32.lt_s (call $spawn (local.get $i)) (i32.const 0)) (then unreachable))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $again (i32.lt_u (local.get $i) (i32.const {threads}))))
            (loop $again
              (local.set $i (i32.atomic.load (i32.const 0)))
              (if (i32.lt_u (local.get $i) (i32.const {threads}))
                (then
                  (drop (memory.atomic.wait32 (i32.const 0) (local.get $i) (i64.const -1)))
                  (br $again))))
            (call $proc_exit (i32.eqz (call $check)))))"#
    )
}

/// Every read-modify-write operation of every width, on words that four threads share; sums and exchanges must come out as if one thread
/// had done them.
fn atomic_updates(strategy: &str) {
    let body = r#"(local $i i32) (local $old i64)
      (loop $again
        (drop (i32.atomic.rmw.add (i32.const 64) (i32.const 3)))
        (drop (i32.atomic.rmw.sub (i32.const 72) (i32.const 1)))
        (drop (i64.atomic.rmw.add (i32.const 80) (i64.const 0x100000001)))
        (drop (i32.atomic.rmw8.add_u (i32.const 89) (i32.const 1)))
        (drop (i32.atomic.rmw16.sub_u (i32.const 98) (i32.const 1)))
        (drop (i64.atomic.rmw32.xor_u (i32.const 104) (i64.const 0x5a5a)))
        (drop (i32.atomic.rmw.or (i32.const 112) (i32.shl (i32.const 1) (local.get $me))))
        (drop (i64.atomic.rmw8.and_u (i32.const 121) (i64.const 0xf0)))
        ;; What is taken out of a word by xchg is put into the sum: nothing is lost, and nothing is doubled.
        (drop (i32.atomic.rmw.add (i32.const 136)
          (i32.atomic.rmw.xchg (i32.const 128) (local.get $i))))
        ;; A sum by compare-and-exchange.
        (loop $retry
          (local.set $old (i64.atomic.load (i32.const 144)))
          (br_if $retry
            (i64.ne (local.get $old)
              (i64.atomic.rmw.cmpxchg (i32.const 144) (local.get $old)
                (i64.add (local.get $old) (i64.const 2))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 30000))))"#;
    // 4 threads, 30000 turns each.
    let check = r#"
      (i32.and (i32.eq (i32.load (i32.const 64)) (i32.const 360000))
      (i32.and (i32.eq (i32.load (i32.const 72)) (i32.const -120000))
      (i32.and (i64.eq (i64.load (i32.const 80)) (i64.const 515396075640000))
      (i32.and (i32.eq (i32.load (i32.const 88)) (i32.const 0xc000))
      (i32.and (i32.eq (i32.load (i32.const 96)) (i32.const 0x2b400000))
      (i32.and (i32.eqz (i32.load (i32.const 104)))
      (i32.and (i32.eq (i32.load (i32.const 112)) (i32.const 15))
      (i32.and (i32.eq
        (i32.add (i32.load (i32.const 128)) (i32.load (i32.const 136))) (i32.const 1799940000))
        (i64.eq (i64.load (i32.const 144)) (i64.const 240000))))))))))"#;
    succeeds(strategy, 2, &program(4, "1 1 shared", "", body, check));
}

/// Threads grow the memory and at once use its end, which no other thread may ever find out of bounds.
fn growing_memory(strategy: &str) {
    let body = r#"(local $i i32) (local $old i32)
      (loop $again
        (local.set $old (memory.grow (i32.const 1)))
        (if (i32.eq (local.get $old) (i32.const -1)) (then unreachable))
        ;; The new page is ours alone: first zero, then what we write.
        (local.set $old (i32.shl (local.get $old) (i32.const 16)))
        (if (i32.load (local.get $old)) (then unreachable))
        (i32.store offset=65532 (local.get $old) (i32.const 1))
        (memory.fill (local.get $old) (i32.const 7) (i32.const 1000))
        (if (i32.gt_u (i32.add (local.get $old) (i32.const 65536)) (i32.shl (memory.size) (i32.const 16)))
          (then unreachable))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 250))))"#;
    // Every page that was added holds its mark.
    let check = r#"(local $page i32) (local $marks i32)
      (local.set $page (i32.const 1))
      (loop $again
        (local.set $marks (i32.add (local.get $marks)
          (i32.load offset=65532 (i32.shl (local.get $page) (i32.const 16)))))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $page) (memory.size))))
      (i32.and (i32.eq (memory.size) (i32.const 1001)) (i32.eq (local.get $marks) (i32.const 1000)))"#;
    succeeds(strategy, 2, &program(4, "1 2000 shared", "", body, check));
}

/// Functions become hot in all threads at the same moment, called directly, through a table and recursively, with live values
/// of every type across the calls and loops.
fn hot_in_all_threads(strategy: &str) {
    let fields = r#"
      (type $step (func (param i32 i64 f32 f64) (result i64)))
      (table 2 2 funcref)
      (elem (i32.const 0) func $even $odd)
      (func $even (type $step)
        (i64.add (local.get 1) (i64.add (i64.trunc_f32_s (local.get 2)) (i64.trunc_f64_s (local.get 3)))))
      (func $odd (type $step)
        (i64.sub (call $even (local.get 0) (local.get 1) (local.get 2) (local.get 3))
          (i64.extend_i32_u (local.get 0))))
      (func $fib (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
          (then (local.get 0))
          (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                         (call $fib (i32.sub (local.get 0) (i32.const 2)))))))"#;
    let body = r#"(local $i i32) (local $sum i64) (local $f f32) (local $d f64)
      (loop $outer
        (local.set $f (f32.convert_i32_u (i32.and (local.get $i) (i32.const 15))))
        (local.set $d (f64.const 2.5))
        (local.set $sum
          (call_indirect (type $step)
            (i32.and (local.get $i) (i32.const 3)) (local.get $sum) (local.get $f) (local.get $d)
            (i32.and (local.get $i) (i32.const 1))))
        (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 20000)))
          (then
            (if (i32.ne (call $fib (i32.const 15)) (i32.const 610)) (then unreachable))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $outer (i32.lt_u (local.get $i) (i32.const 160000))))
      (i64.store (i32.add (i32.const 64) (i32.shl (local.get $me) (i32.const 3))) (local.get $sum))"#;
    // Of 160000 turns: the average of 0 to 15, twice 2.5 truncated, and 1 or 3 less on every odd turn.
    let sum = 160_000 * 75 / 10 + 160_000 * 2 - 80_000 * 2;
    let check = format!(
        r#"(local $i i32) (local $good i32)
      (loop $again
        (local.set $good (i32.add (local.get $good)
          (i64.eq (i64.load (i32.add (i32.const 64) (i32.shl (local.get $i) (i32.const 3)))) (i64.const {sum}))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 4))))
      (i32.eq (local.get $good) (i32.const 4))"#
    );
    succeeds(strategy, 3, &program(4, "1 1 shared", fields, body, &check));
}

/// One of four threads traps deep in a recursion at a point that depends on the run, while all are being compiled.
fn a_trap_while_tiers_change(strategy: &str) {
    for run in 0..runs(8) {
        let turns = 1 + run * 4001;
        let text = program(
            4,
            "1 1 shared",
            r#"(func $dive (param $depth i32) (param $divisor i32) (result i32)
                (if (result i32) (local.get $depth)
                  (then (i32.add (i32.const 1)
                    (call $dive (i32.sub (local.get $depth) (i32.const 1)) (local.get $divisor))))
                  (else (i32.div_u (i32.const 0) (local.get $divisor)))))"#,
            &format!(
                r#"(local $i i32)
                (loop $again
                  (drop (call $dive (i32.const 20)
                    (i32.sub (i32.const {turns})
                      (select (local.get $i) (i32.const 0) (i32.eq (local.get $me) (i32.const 2))))))
                  (local.set $i (i32.add (local.get $i) (i32.const 1)))
                  (br $again))"#
            ),
            "(i32.const 0)",
        );
        let file = wat_file(&text);
        let ended = Updraft::run(&tier(strategy, run))
            .arg(&file)
            .end()
            .trapped("integer divide by zero", "dive")
            .says(&["in thread ", ": body", ": wasi_thread_start"]);
        assert_eq!(ended.stderr.matches(": dive").count(), 21, "{ended}");
    }
}

per_strategy!(atomic_updates, growing_memory, hot_in_all_threads, a_trap_while_tiers_change);
