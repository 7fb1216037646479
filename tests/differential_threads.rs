//! Random programs with threads leave the same memory in every tier, however their threads interleave: each thread works on its own
//! stripe of the shared memory, and what they all work on are cells with one commutative atomic operator each.
//!
//! A failure names the seed, and UPDRAFT_DIFFERENTIAL_SEED=N runs that one alone. UPDRAFT_TEST_RUNS multiplies the number of programs.

mod common;

use common::{Random, runs, strategies};
use std::fmt::Write;
use updraft::{Config, Engine, Linker, Module, Process, ProcessConfig, Tuning};

/// Threads besides the first.
const THREADS: u32 = 3;
/// Bytes that belong to one thread; the first stripe begins at `2 * STRIPE`.
const STRIPE: u32 = 4096;
/// What all threads work on: eight cells of 8 bytes each for each width.
const CELLS: u32 = 1024;
/// Programs of one run.
const PROGRAMS: u64 = if cfg!(debug_assertions) { 2 } else { 12 };

/// Writes a program. All numbers that steer it are those of `random`; the locals are `$a` to `$d` (i32), `$x`, `$y` (i64) and `$f` (f64).
struct Writer {
    random: Random,
    text: String,
    /// How many helpers may be called: those before.
    helpers: usize,
    loops: usize,
}

impl Writer {
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.random.below(of.len())]
    }

    /// An address in the thread's stripe for an access of `1 << align` bytes that must be aligned, if `atomic`.
    fn address(&mut self, depth: usize, align: u32, atomic: bool) -> String {
        let mask = (STRIPE - 8) & if atomic { u32::MAX << align } else { u32::MAX };
        format!("(i32.add (local.get $base) (i32.and {} (i32.const {mask})))", self.i32(depth))
    }

    fn i32(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.random.below(3) {
                0 => format!("(i32.const {})", self.random.bits() as i32),
                _ => format!("(local.get {})", self.pick(&["$a", "$b", "$c", "$d"])),
            };
        }
        let depth = depth - 1;
        match self.random.below(10) {
            0..4 => {
                let op = self.pick(&[
                    "add", "sub", "mul", "xor", "and", "or", "shl", "shr_s", "rotl", "lt_s", "eq",
                ]);
                format!("(i32.{op} {} {})", self.i32(depth), self.i32(depth))
            }
            4 => format!(
                "(i32.div_u {} (i32.or {} (i32.const 1)))",
                self.i32(depth),
                self.i32(depth)
            ),
            5 => {
                let load = self.pick(&["load", "load8_s", "load16_u"]);
                format!("(i32.{load} {})", self.address(depth, 0, false))
            }
            6 => {
                let op = self.pick(&["add", "sub", "xor", "xchg"]);
                format!(
                    "(i32.atomic.rmw.{op} {} {})",
                    self.address(depth, 2, true),
                    self.i32(depth)
                )
            }
            7 => format!("(i32.wrap_i64 {})", self.i64(depth)),
            8 => format!("(i32.trunc_sat_f64_s {})", self.f64(depth)),
            _ if self.helpers > 0 => {
                let helper = self.random.below(self.helpers);
                let (x, y) = (self.i32(depth), self.i64(depth));
                format!("(call $helper{helper} (local.get $base) {x} {y})")
            }
            _ => format!("(select {} {} {})", self.i32(depth), self.i32(depth), self.i32(depth)),
        }
    }

    fn i64(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.random.below(3) {
                0 => format!("(i64.const {})", self.random.bits() as i64),
                _ => format!("(local.get {})", self.pick(&["$x", "$y"])),
            };
        }
        let depth = depth - 1;
        match self.random.below(7) {
            0..3 => {
                let op = self.pick(&["add", "sub", "mul", "xor", "and", "or", "shr_u", "rotr"]);
                format!("(i64.{op} {} {})", self.i64(depth), self.i64(depth))
            }
            3 => format!("(i64.load {})", self.address(depth, 0, false)),
            4 => format!("(i64.atomic.load {})", self.address(depth, 3, true)),
            5 => {
                let (address, old) = (self.address(depth, 3, true), self.i64(depth));
                format!("(i64.atomic.rmw.cmpxchg {address} {old} {})", self.i64(depth))
            }
            _ => format!("(i64.extend_i32_s {})", self.i32(depth)),
        }
    }

    fn f64(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.pick(&["(local.get $f)", "(f64.const 1)", "(f64.const -0.5)"]).to_owned();
        }
        let depth = depth - 1;
        match self.random.below(5) {
            0..3 => {
                let op = self.pick(&["add", "sub", "mul", "div", "min", "max"]);
                format!("(f64.{op} {} {})", self.f64(depth), self.f64(depth))
            }
            3 => format!("(f64.convert_i32_s {})", self.i32(depth)),
            _ => format!("(f64.load {})", self.address(depth, 0, false)),
        }
    }

    /// An operator on a cell of all threads. What was there before depends on the others, and is dropped.
    fn shared(&mut self) -> String {
        let (ty, width, suffix) =
            [("i32", 0, "8"), ("i32", 1, "16"), ("i32", 2, ""), ("i64", 3, ""), ("i64", 2, "32")]
                [self.random.below(5)];
        let cell = self.random.below(8) as u32;
        // One operator for each cell; a difference is a sum too.
        let op = match cell % 4 {
            0 => self.pick(&["add", "sub"]),
            1 => "xor",
            2 => "or",
            _ => "and",
        };
        let address = CELLS + (width * 8 + cell) * 8;
        let sign = if suffix.is_empty() { "" } else { "_u" };
        let value = if ty == "i32" { self.i32(2) } else { self.i64(2) };
        format!("(drop ({ty}.atomic.rmw{suffix}.{op}{sign} (i32.const {address}) {value}))")
    }

    fn statement(&mut self, depth: usize) -> String {
        match self.random.below(if depth == 0 { 8 } else { 10 }) {
            0 | 1 => {
                format!("(local.set {} {})", self.pick(&["$a", "$b", "$c", "$d"]), self.i32(3))
            }
            2 => format!("(local.set {} {})", self.pick(&["$x", "$y"]), self.i64(3)),
            3 => format!("(local.set $f {})", self.f64(3)),
            4 => {
                let store = self.pick(&["store", "store8", "store16"]);
                format!("(i32.{store} {} {})", self.address(2, 0, false), self.i32(2))
            }
            5 => format!("(i64.atomic.store {} {})", self.address(2, 3, true), self.i64(2)),
            6 => format!("(f64.store {} {})", self.address(2, 0, false), self.f64(2)),
            7 => self.shared(),
            8 => {
                let condition = self.i32(2);
                let (then, other) = (self.block(depth - 1), self.block(depth - 1));
                format!("(if {condition} (then {then}) (else {other}))")
            }
            _ => {
                let count = 2 + self.random.below(30);
                self.loops += 1;
                let n = self.loops;
                let body = self.block(depth - 1);
                format!(
                    "(local.set $n{n} (i32.const {count}))
                     (loop $l{n} {body}
                       (br_if $l{n} (local.tee $n{n} (i32.sub (local.get $n{n}) (i32.const 1)))))"
                )
            }
        }
    }

    fn block(&mut self, depth: usize) -> String {
        let count = 2 + self.random.below(4);
        (0..count).map(|_| self.statement(depth)).collect::<Vec<_>>().join("\n")
    }

    /// A function's locals and body.
    fn body(&mut self, depth: usize, times: u32, first: &str) -> String {
        self.loops = 0;
        let body = self.block(depth);
        let counters: String = (1..=self.loops).map(|n| format!("(local $n{n} i32)")).collect();
        format!(
            "(local $b i32) (local $c i32) (local $d i32) (local $y i64) (local $f f64) (local $times i32) {counters}
             {first}
             (local.set $times (i32.const {times}))
             (loop $again {body}
               (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))"
        )
    }

    fn program(seed: u64) -> String {
        let mut writer =
            Writer { random: Random::new(seed), text: String::new(), helpers: 0, loops: 0 };
        let functions = 1 + writer.random.below(3);
        for helper in 0..functions {
            let body = writer.body(1, 1, "");
            let result = writer.i32(2);
            let header = "(param $base i32) (param $a i32) (param $x i64) (result i32)";
            writeln!(writer.text, "(func $helper{helper} {header} {body} {result})").unwrap();
            writer.helpers = helper + 1;
        }
        let times = 20 + writer.random.below(100) as u32;
        let first = 2 * STRIPE;
        let base = format!(
            "(local.set $base (i32.add (i32.const {first}) (i32.mul (local.get $a) (i32.const {STRIPE}))))"
        );
        let body = writer.body(2, times, &base);
        let end = first + (THREADS + 1) * STRIPE;
        format!(
            r#"(module
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "env" "memory" (memory 1 1 shared))
  {helpers}
  (func $work (param $a i32) (local $base i32) (local $x i64)
    {body})
  (func (export "wasi_thread_start") (param i32) (param $argument i32)
    (call $work (local.get $argument))
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
    (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
  (func (export "main") (result i64) (local $i i32) (local $hash i64)
    (loop $next
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (if (i32.lt_s (call $spawn (local.get $i)) (i32.const 0)) (then unreachable))
      (br_if $next (i32.lt_u (local.get $i) (i32.const {THREADS}))))
    (call $work (i32.const 0))
    (block $joined
      (loop $wait
        (br_if $joined (i32.eq (local.tee $i (i32.atomic.load (i32.const 0))) (i32.const {THREADS})))
        (drop (memory.atomic.wait32 (i32.const 0) (local.get $i) (i64.const -1)))
        (br $wait)))
    (local.set $i (i32.const {CELLS}))
    (loop $next
      (local.set $hash (i64.mul (i64.xor (local.get $hash) (i64.load (local.get $i))) (i64.const 0x100000001b3)))
      (local.set $hash (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 29))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const {end}))))
    (local.get $hash)))"#,
            helpers = writer.text
        )
    }
}

/// A hash of the memory at the end.
fn left(engine: &Engine, text: &str) -> i64 {
    let module = Module::new(engine, text).unwrap();
    let process = Process::new(&Linker::new(engine), &module, &ProcessConfig::default()).unwrap();
    process.run_entry("main", |store, main| main.typed::<(), i64>(store)?.call(store, ())).unwrap()
}

#[test]
fn memories_are_the_same_in_every_tier() {
    // Nothing says which NaN arithmetic gives.
    let engine = |strategy: &&str| {
        let strategy = strategy.parse().unwrap();
        let config =
            Config { strategy, tuning: Tuning::EAGER, canonicalize_nan: true, ..Config::default() };
        Engine::new(config)
    };
    let engines: Vec<Engine> = strategies().iter().map(engine).collect();
    let one: Option<u64> =
        std::env::var("UPDRAFT_DIFFERENTIAL_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds = one.map_or(0..PROGRAMS * runs(1) as u64, |seed| seed..seed + 1);
    let mut all = std::collections::BTreeSet::new();
    for seed in seeds.clone() {
        let text = Writer::program(seed);
        let expected = left(&engines[0], &text);
        all.insert(expected);
        for engine in &engines {
            for _ in 0..2 {
                let found = left(engine, &text);
                let strategy = engine.config().strategy;
                assert_eq!(found, expected, "UPDRAFT_DIFFERENTIAL_SEED={seed}: {strategy}");
            }
        }
    }
    let programs = seeds.end - seeds.start;
    assert!(all.len() as u64 * 2 > programs, "{} of {programs} programs differ", all.len());
}
