//! Random modules behave the same in every tier, and as in wasmi: results, kinds of traps, memories, globals and tables.
//!
//! A failure names the seed. `UPDRAFT_DIFFERENTIAL_SEED=N` runs that one alone, in all ways; with `UPDRAFT_DIFFERENTIAL_DUMP=FILE` the
//! module is written to a file. `UPDRAFT_TEST_RUNS` multiplies the number of modules. `fuzz/` has the same without bounds.

mod common;
mod oracle;

use common::{Random, runs};
use oracle::{Family, module_of_seed, run, run_wasmi, wasmi_engine};
use std::panic::{AssertUnwindSafe, catch_unwind};
use updraft::{Config, Engine, Strategy, Tuning};

/// A way to run a module, and of how many seeds one is run so: making full code of everything takes time.
#[derive(Clone, Copy)]
struct Way {
    strategy: Strategy,
    one_in: u64,
    exact_traps: bool,
}

const fn way(strategy: Strategy, one_in: u64) -> Way {
    Way { strategy, one_in, exact_traps: true }
}

fn ways() -> Vec<Way> {
    let mut ways = vec![way(Strategy::Interp, 1)];
    if cfg!(feature = "llvm") {
        ways.extend([
            way(Strategy::Quick, 2),
            way(Strategy::Full, 4),
            way(Strategy::Tiered, 4),
            way(Strategy::Random { seed: 1 }, 3),
        ]);
    }
    ways
}

/// Compares the runs of one seed's module; returns how many calls were compared.
fn compare(engines: &[(Way, Engine)], wasmi: &wasmi::Engine, seed: u64, all: bool) -> usize {
    let family = if seed % 4 == 3 { Family::Own } else { Family::Common };
    let Some(bytes) = module_of_seed(seed, family) else { return 0 };
    if let Ok(path) = std::env::var("UPDRAFT_DIFFERENTIAL_DUMP") {
        std::fs::write(path, &bytes).unwrap();
    }
    let first = run(&engines[0].1, &bytes, seed);
    if family == Family::Common {
        let theirs = run_wasmi(wasmi, &bytes, seed);
        if let Some(difference) = first.difference(&theirs) {
            panic!("interp and wasmi differ: {difference}");
        }
    }
    for (way, engine) in &engines[1..] {
        if all || seed.is_multiple_of(way.one_in) {
            let other = run(engine, &bytes, seed);
            if let Some(difference) = first.difference(&other) {
                panic!("interp and {} differ: {difference}", way.strategy);
            }
        }
    }
    first.calls.len()
}

/// Modules that a part tries.
const MODULES: u64 = if cfg!(debug_assertions) { 40 } else { 700 };

/// Runs the modules of one part.
fn part(number: u64) {
    let engine = |way: Way| {
        let Way { strategy, exact_traps, .. } = way;
        let tuning = Tuning::EAGER;
        (way, Engine::new(Config { strategy, tuning, exact_traps, ..Config::default() }))
    };
    let engines: Vec<_> = ways().into_iter().map(engine).collect();
    let wasmi = wasmi_engine();
    let one: Option<u64> =
        std::env::var("UPDRAFT_DIFFERENTIAL_SEED").ok().map(|seed| seed.parse().unwrap());
    let count = MODULES * runs(1) as u64;
    let seeds = one.map_or(number << 32..(number << 32) + count, |seed| seed..seed + 1);
    let (mut calls, mut wrong) = (0, Vec::new());
    for seed in seeds.clone() {
        let compared =
            catch_unwind(AssertUnwindSafe(|| compare(&engines, &wasmi, seed, one.is_some())));
        match compared {
            Ok(compared) => calls += compared,
            Err(_) => wrong.push(seed),
        }
    }
    assert!(wrong.is_empty(), "UPDRAFT_DIFFERENTIAL_SEED: one of {wrong:?}");
    println!("{calls} calls agree");
    assert!(one.is_some() || calls as u64 > count, "the modules ought to have something to run");
}

macro_rules! parts {
    ($($name:ident = $number:literal),*) => {$(
        #[test]
        fn $name() {
            part($number);
        }
    )*};
}

parts!(part_0 = 0, part_1 = 1, part_2 = 2, part_3 = 3);
