//! Any bytes, as a module of wasm-smith, come out the same in every tier, and as in wasmi: results, kinds of traps, memories, globals
//! and tables. Without LLVM (the default, which is sooner built) only the interpreter and wasmi are compared:
//!
//!     cargo +nightly fuzz run differential --features llvm -- -max_len=65536
#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;
#[path = "../../tests/common/random.rs"]
mod random;

use libfuzzer_sys::fuzz_target;
use oracle::{Family, module, run, run_wasmi, wasmi_engine};
use random::Random;
use std::sync::LazyLock;
use updraft::{Config, Engine, Strategy, Tuning};

static WASMI: LazyLock<wasmi::Engine> = LazyLock::new(wasmi_engine);

static ENGINES: LazyLock<Vec<Engine>> = LazyLock::new(|| {
    let mut strategies = vec![Strategy::Interp];
    if cfg!(feature = "llvm") {
        strategies.extend([Strategy::Quick, Strategy::Full, Strategy::Random { seed: 1 }]);
    }
    let engine =
        |strategy| Engine::new(Config { strategy, tuning: Tuning::EAGER, ..Config::default() });
    strategies.into_iter().map(engine).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let family = if first % 4 == 3 { Family::Own } else { Family::Common };
    let Some(module) = module(rest, family) else { return };
    let seed = u64::from(*first);
    let interpreted = run(&ENGINES[0], &module, seed);
    if family == Family::Common
        && let Some(difference) = interpreted.difference(&run_wasmi(&WASMI, &module, seed))
    {
        panic!("interp and wasmi differ: {difference}");
    }
    for engine in &ENGINES[1..] {
        if let Some(difference) = interpreted.difference(&run(engine, &module, seed)) {
            panic!("interp and {} differ: {difference}", engine.config().strategy);
        }
    }
});
