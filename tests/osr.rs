//! Entries into running loops: generated programs of nested loops, with live locals and operands of every type, come out the same when
//! each turn of each loop may go on in another tier.
//!
//! A failure names the seed; `UPDRAFT_OSR_SEED=N` runs that one alone and prints its program. `UPDRAFT_TEST_RUNS` multiplies the number of
//! programs.
#![cfg(feature = "llvm")]

mod common;

use common::{Random, runs};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use updraft::{Config, Engine, Features, Linker, Module, Store, Strategy, Tuning, Val, internals};

/// Types of locals.
const TYPES: [&str; 5] = ["i32", "i64", "f32", "f64", "v128"];
/// Locals of each type that the program computes with.
const LOCALS: usize = 3;
/// Loops within each other.
const DEPTH: usize = 3;

/// Writes one program.
struct Generator {
    random: Random,
    text: String,
    /// How many of [`TYPES`] there are.
    types: usize,
    depth: usize,
    loops: usize,
}

impl Generator {
    fn program(seed: u64) -> String {
        let types = if Features::SUPPORTED.contains("simd") { 5 } else { 4 };
        let random = Random::new(seed);
        let mut g = Generator { random, text: String::new(), types, depth: 0, loops: 0 };
        g.text += "(module (memory (export \"memory\") 1)\n(global $calls (export \"calls\") (mut i32) (i32.const 0))\n";
        g.text += "(func $helper (param i32 f64) (result i64) (local i64)
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (loop $l (local.set 2 (i64.add (local.get 2) (i64.extend_i32_s (local.get 0))))
              (br_if $l (i32.gt_u (local.tee 0 (i32.shr_u (local.get 0) (i32.const 5))) (i32.const 3))))
            (i64.xor (local.get 2) (i64.reinterpret_f64 (local.get 1))))\n";
        g.text += "(func (export \"run\") (param $i32_0 i32) (param $i64_0 i64)";
        for ty in &TYPES[..types] {
            let first = usize::from(*ty == "i32" || *ty == "i64");
            for local in first..LOCALS {
                write!(g.text, " (local ${ty}_{local} {ty})").unwrap();
            }
        }
        for depth in 0..=DEPTH {
            write!(g.text, " (local $turns{depth} i32)").unwrap();
        }
        g.text += "\n";
        for _ in 0..2 {
            g.turns();
        }
        // Everything that is left counts.
        for ty in &TYPES[..types] {
            for local in 0..LOCALS {
                let at = 60_000 + local * 16;
                let place = TYPES.iter().position(|t| t == ty).unwrap() * 64;
                writeln!(
                    g.text,
                    "({ty}.store (i32.const {}) (local.get ${ty}_{local}))",
                    at + place
                )
                .unwrap();
            }
        }
        g.text += "))";
        g.text
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound)
    }

    fn local(&mut self, ty: &str) -> String {
        format!("${ty}_{}", self.below(LOCALS))
    }

    /// An expression of a type.
    fn value(&mut self, ty: usize, nest: usize) -> String {
        let name = TYPES[ty];
        if nest == 0 || self.below(4) == 0 {
            return match self.below(4) {
                0 if ty == 4 => format!("(v128.const i64x2 {} 77)", self.below(1000)),
                0 => format!("({name}.const {})", self.below(1000)),
                1 if ty < 4 => format!("({name}.load offset={} (i32.const 0))", self.below(512)),
                _ => format!("(local.get {})", self.local(name)),
            };
        }
        let n = nest - 1;
        let two = |g: &mut Self, op: &str| {
            let (a, b) = (g.value(ty, n), g.value(ty, n));
            format!("({op} {a} {b})")
        };
        match (ty, self.below(5)) {
            (0 | 1, choice @ 0..=2) => {
                let op = [["add", "xor", "rotl"], ["sub", "mul", "and"]][self.below(2)][choice];
                two(self, &format!("{name}.{op}"))
            }
            (0, 3) => format!("(i32.wrap_i64 {})", self.value(1, n)),
            (0, _) => format!("(i32.trunc_sat_f64_s {})", self.value(3, n)),
            (1, 3) => format!("(i64.extend_i32_s {})", self.value(0, n)),
            (1, _) => format!("(call $helper {} {})", self.value(0, n), self.value(3, n)),
            // Small numbers, exact in floats: no NaN comes of them.
            (2, 0..=1) => two(self, "f32.add"),
            (2, 2) => two(self, "f32.min"),
            (2, _) => {
                format!("(f32.convert_i32_s (i32.and {} (i32.const 4095)))", self.value(0, n))
            }
            (3, 0..=1) => two(self, "f64.sub"),
            (3, 2) => two(self, "f64.max"),
            (3, _) => {
                format!("(f64.convert_i32_u (i32.and {} (i32.const 4095)))", self.value(0, n))
            }
            (_, 0..=2) => two(self, "i32x4.add"),
            (_, 3) => format!("(i32x4.splat {})", self.value(0, n)),
            _ => two(self, "v128.xor"),
        }
    }

    fn statement(&mut self) {
        let ty = self.below(self.types);
        let name = TYPES[ty];
        match self.below(9) {
            0..=2 => {
                let (local, value) = (self.local(name), self.value(ty, 3));
                writeln!(self.text, "(local.set {local} {value})").unwrap();
            }
            3 => {
                let address = self.value(0, 1);
                let value = self.value(ty, 2);
                writeln!(self.text, "({name}.store (i32.and {address} (i32.const 511)) {value})")
                    .unwrap();
            }
            4 => {
                let condition = self.value(0, 2);
                writeln!(self.text, "(if {condition} (then").unwrap();
                self.statement();
                self.text += ") (else\n";
                self.statement();
                self.text += "))\n";
            }
            5..=7 if self.depth < DEPTH && self.loops < 7 => self.turns(),
            // A loop with values below it on the stack, which stay live all through it.
            8 if self.depth < DEPTH && self.loops < 7 => {
                let kept: Vec<usize> =
                    (0..=self.below(2)).map(|_| self.below(self.types)).collect();
                for ty in &kept {
                    let value = self.value(*ty, 1);
                    writeln!(self.text, "{value}").unwrap();
                }
                self.turns();
                for ty in kept.iter().rev() {
                    let local = self.local(TYPES[*ty]);
                    writeln!(self.text, "(local.set {local})").unwrap();
                }
            }
            _ => {
                let (local, value) = (self.local("i32"), self.value(0, 3));
                writeln!(self.text, "(local.set {local} {value})").unwrap();
            }
        }
    }

    /// A loop of a few turns; some have a parameter and a result, some an exit in the middle.
    fn turns(&mut self) {
        let (depth, id) = (self.depth, self.loops);
        self.loops += 1;
        self.depth += 1;
        let counter = format!("$turns{depth}");
        let turns = 2 + self.below(9);
        writeln!(self.text, "(local.set {counter} (i32.const {turns}))").unwrap();
        let param = if self.below(3) == 0 { Some(self.below(self.types)) } else { None };
        let signature = match param {
            Some(ty) => {
                let value = self.value(ty, 1);
                writeln!(self.text, "{value}").unwrap();
                format!("(param {0}) (result {0})", TYPES[ty])
            }
            None => String::new(),
        };
        writeln!(self.text, "(block $exit{id} {signature}\n(loop $loop{id} {signature}").unwrap();
        if let Some(ty) = param {
            let local = self.local(TYPES[ty]);
            writeln!(self.text, "(local.set {local})").unwrap();
        }
        for _ in 0..=self.below(4) {
            self.statement();
        }
        if self.below(3) == 0 {
            let value = param.map(|ty| self.value(ty, 1)).unwrap_or_default();
            let drop = if param.is_some() { "drop" } else { "" };
            let condition = self.value(0, 1);
            writeln!(
                self.text,
                "{value} (br_if $exit{id} (i32.eq (i32.and {condition} (i32.const 63)) (i32.const 5))) {drop}"
            )
            .unwrap();
        }
        if let Some(ty) = param {
            let value = self.value(ty, 2);
            writeln!(self.text, "{value}").unwrap();
        }
        let left = format!("(local.tee {counter} (i32.sub (local.get {counter}) (i32.const 1)))");
        writeln!(self.text, "(br_if $loop{id} {left})))").unwrap();
        if let Some(ty) = param {
            let local = self.local(TYPES[ty]);
            writeln!(self.text, "(local.set {local})").unwrap();
        }
        self.depth -= 1;
    }
}

/// What a program leaves in memory and the global, after some calls; and how often running loops were entered.
fn outcome(engine: &Engine, program: &str, rounds: i32) -> (Vec<u8>, String, u64) {
    let module = Module::new(engine, program).unwrap_or_else(|error| panic!("{error}\n{program}"));
    let mut store = Store::new(engine).unwrap();
    let instance = Linker::new(engine).instantiate(&mut store, &module).unwrap();
    let run = instance.func(&mut store, "run").unwrap();
    for round in 0..rounds {
        run.call(&mut store, &[Val::I32(round * 77), Val::I64(i64::from(round) << 40)]).unwrap();
    }
    let mut bytes = vec![0; 1 << 16];
    instance.memory(&mut store, "memory").unwrap().read(0, &mut bytes).unwrap();
    let global = instance.export(&mut store, "calls");
    let Some(updraft::Extern::Global(global)) = global else { panic!("the global is exported") };
    (bytes, format!("{:?}", global.get(&mut store)), internals::loop_entries(&module))
}

/// Compares a program's outcomes. Gives the number of entries into its running loops under random strategies.
fn check(seed: u64, show: bool) -> u64 {
    let program = Generator::program(seed);
    if show {
        println!("{program}");
    }
    let engine = |strategy, tuning| Engine::new(Config { strategy, tuning, ..Config::default() });
    let rounds = 3;
    let expected = outcome(&engine(Strategy::Interp, Tuning::default()), &program, rounds);
    // One seed leads into quick code first, and another into full code, at other turns.
    let often = Tuning { quantum: 1 + (seed % 3) as u32 * 20, ..Tuning::EAGER };
    let mut entries = 0;
    for strategy in [
        Strategy::Random { seed: seed * 2 },
        Strategy::Random { seed: seed * 2 + 1 },
        Strategy::Tiered,
    ] {
        let got = outcome(&engine(strategy, often), &program, rounds);
        assert_eq!(got.1, expected.1, "calls under {strategy}");
        let differ = (0..1 << 16).find(|at| got.0[*at] != expected.0[*at]);
        assert_eq!(differ, None, "memory under {strategy}");
        // Under the tiered strategy it depends on the machine's speed.
        if strategy != Strategy::Tiered {
            entries += got.2;
        }
    }
    entries
}

/// Programs of one part.
const PROGRAMS: u64 = if cfg!(debug_assertions) { 10 } else { 60 };

fn part(number: u64) {
    if let Ok(seed) = std::env::var("UPDRAFT_OSR_SEED") {
        check(seed.parse().unwrap(), true);
        return;
    }
    let first = number << 20;
    let mut entries = 0;
    let mut right = |seed: &u64| {
        let checked = catch_unwind(AssertUnwindSafe(|| check(*seed, false)));
        checked.map(|count| entries += count).is_ok()
    };
    let seeds = first..first + PROGRAMS * runs(1) as u64;
    let wrong: Vec<u64> = seeds.clone().filter(|seed| !right(seed)).collect();
    assert!(wrong.is_empty(), "UPDRAFT_OSR_SEED: one of {wrong:?}");
    // That is what is tested, so it must have happened, and often.
    let programs = seeds.end - seeds.start;
    assert!(entries > programs, "only {entries} entries in {programs} programs");
}

#[test]
fn part_0() {
    part(0);
}

#[test]
fn part_1() {
    part(1);
}
