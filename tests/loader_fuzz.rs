//! A bounded, repeatable fuzz of the loader: modules with damaged bytes are refused or run, and nothing else happens.
//!
//! `fuzz/` has the same as a target for cargo-fuzz, without bounds. Each mutant is known by its number; a failure names it.
//! UPDRAFT_TEST_RUNS multiplies the number of mutants.

mod common;

use common::{Random, repository, runs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use updraft::{
    Config, Engine, Linker, Module, ModuleError, Process, ProcessConfig, Strategy, WasiCtxBuilder,
};

/// Mutants of each program.
const MUTANTS: u64 = 300;
/// Mutants of each program that are run, of those that are valid.
const RUNS: usize = 12;

/// The sections that say most, for mutations to hit: everything before the code, and the beginning of it.
fn mutate(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let head = bytes.len().min(4096);
    for _ in 0..=random.below(4) {
        let reach = if random.below(2) == 0 { head } else { bytes.len() };
        let at = 8 + random.below(reach.min(bytes.len()) - 8);
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0x0b, 0x10][random.below(7)],
            3 => drop(bytes.remove(at)),
            4 => bytes.insert(at, random.next() as u8),
            5 => {
                let (from, len) = (8 + random.below(bytes.len() - 8), random.below(32));
                let piece = bytes[from..bytes.len().min(from + len)].to_vec();
                let end = bytes.len().min(at + piece.len());
                bytes.splice(at..end, piece);
            }
            _ => bytes.truncate(at.max(64)),
        }
    }
    bytes
}

/// Runs a mutant within narrow limits. It may do whatever it wants, but it must end.
fn run(engine: &Engine, module: &Module) {
    let mut linker = Linker::new(engine);
    updraft::add_wasi(&mut linker, WasiCtxBuilder::new().args(["mutant"]).build().unwrap());
    let limits = ProcessConfig {
        max_threads: 4,
        timeout: Some(Duration::from_millis(30)),
        ..ProcessConfig::default()
    };
    if let Ok(process) = Process::new(&linker, module, &limits) {
        // Any end is a good end.
        let _ = process.run();
    }
}

fn fuzz(program: &str, seed: u64, strategy: Strategy) {
    let whole = std::fs::read(repository(program)).unwrap();
    let engine = Engine::new(Config {
        strategy,
        max_memory: 64 << 20,
        value_stack: 1 << 20,
        native_stack: 1 << 20,
        ..Config::default()
    });
    let (mut valid, mut refused) = (0, 0);
    let rounds = runs(1);
    for number in 0..MUTANTS * rounds as u64 {
        let bytes = mutate(&whole, &mut Random::new(seed << 32 | number));
        let outcome = catch_unwind(AssertUnwindSafe(|| match Module::new(&engine, &bytes) {
            Ok(module) => {
                valid += 1;
                if valid <= RUNS * rounds {
                    run(&engine, &module);
                }
            }
            Err(ModuleError::Invalid { offset, message }) => {
                assert!(
                    offset <= bytes.len() as u64 && !message.is_empty(),
                    "{message} at {offset:#x}"
                );
                refused += 1;
            }
            Err(ModuleError::Unsupported { offset, .. }) => {
                assert!(offset <= bytes.len() as u64, "{offset:#x}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }));
        assert!(outcome.is_ok(), "mutant {number} of {program} with seed {seed}");
    }
    // Mutations neither miss everything nor destroy everything.
    assert!(valid > 0 && refused > 0, "{program}: {valid} valid, {refused} refused");
}

macro_rules! fuzz {
    ($($test:ident = $program:literal),* $(,)?) => {$(
        #[test]
        fn $test() {
            fuzz($program, 1, Strategy::Interp);
            if cfg!(feature = "llvm") {
                fuzz($program, 2, Strategy::Random { seed: 2 });
            }
        }
    )*};
}

fuzz! {
    hello = "examples/threads/hello.wasm",
    mergesort = "examples/threads/mergesort.wasm",
    compress = "examples/threads/compress.wasm",
    features = "examples/threads/features.wasm",
    pingpong = "examples/threads/pingpong.wasm",
    rust_threads = "examples/threads/rust-threads.wasm",
    fib = "benches/kernels/fib.wasm",
    sha256 = "benches/kernels/sha256.wasm",
}
