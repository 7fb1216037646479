//! What compiling costs, and what the code is worth: the kernels of the engine's benchmarks, without the engine.
//!
//! All times are CPU times of the thread.
//!
//! `cargo bench -p updraft-jit -- [--relaxed] [name of a kernel]...`

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::{Vm, Wasm};
use updraft_jit::{Compiler, Job, Level, Options};

const KERNELS: [(&str, u64, i64); 6] = [
    ("fib", 37, 24_157_817),
    ("sieve", 60, 4_921_500),
    ("matmul", 160, 1_164_529_650_511_435_148),
    ("nbody", 1_000_000, -169_086_185),
    ("sha256", 24_000, -5_676_657_439_368_539_340),
    ("saxpy", 4_000, 3_418_237_879_256_595_264),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let relaxed = arguments.iter().any(|argument| argument == "--relaxed");
    let names: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let options = Options { exact_traps: !relaxed, ..Options::default() };
    println!(
        "{:8} {:>5} | {:>9} {:>9} {:>9} {:>7} {:>9} | {:>9}",
        "kernel", "level", "translate", "optimise", "emit", "us/byte", "us/1000IR", "run"
    );
    for (name, amount, expected) in KERNELS {
        if !names.is_empty() && !names.iter().any(|wanted| *wanted == name) {
            continue;
        }
        let path = format!("{}/../benches/kernels/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).expect("the kernels are in the repository");
        for level in common::LEVELS {
            let cost = compile(&Wasm::from_bytes(bytes.clone()), level, options);
            let run = run(Wasm::from_bytes(bytes.clone()), level, options, amount, expected);
            println!("{name:8} {level:>5?} | {cost} | {run:>9.3?}");
        }
    }
}

/// Compiles the whole module in batches of eight functions, as the engine does.
fn compile(wasm: &Wasm, level: Level, options: Options) -> String {
    let env = &wasm.env;
    let mut compiler = Compiler::new(options).expect("LLVM");
    let functions: Vec<u32> = (env.imported_functions..env.functions.len() as u32).collect();
    let size: usize = functions.iter().map(|func| env.body(*func).len()).sum();
    let (mut translate, mut optimise, mut emit) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut instructions = 0;
    for batch in functions.chunks(8) {
        let job = Job {
            functions: batch,
            level,
            osr: &[],
            stub_known: &|_| true,
            invoker_known: &|_| true,
        };
        let object = compiler.compile(env, &wasm.bytes, &job).expect("it compiles");
        translate += object.timings.translate;
        optimise += object.timings.optimise;
        emit += object.timings.emit;
        instructions += object.ir_instructions;
    }
    let all = (translate + optimise + emit).as_secs_f64() * 1e6;
    format!(
        "{translate:9.1?} {optimise:9.1?} {emit:9.1?} {:7.2} {:9.0}",
        all / size as f64,
        all / f64::from(instructions) * 1000.0
    )
}

/// The best of three runs.
fn run(wasm: Wasm, level: Level, options: Options, amount: u64, expected: i64) -> Duration {
    let imported = wasm.env.imported_functions;
    let mut vm = Vm::of(wasm, options);
    for func in 0..imported {
        vm.import(func, |_, _| panic!("a kernel calls nothing of WASI"));
    }
    vm.compile_all(level);
    (0..3)
        .map(|_| {
            let start = cpu_time();
            let result = vm.call1("run", &[amount]).expect("no trap");
            let time = cpu_time() - start;
            assert_eq!(result as i64, expected);
            time
        })
        .min()
        .expect("three runs")
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to `time` alone.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
