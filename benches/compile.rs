//! From the request for code to the first call: what each tier costs to make.
//!
//! Measures: the first call of functions that return at once, in a module that was loaded and instantiated before. What
//! they cost is thus translation (tier interp) or compiling on a worker, linking and publishing (quick, full). Unit: time per
//! call, and bytes of function bodies per second; a rate of 1 MiB/s is about 1 us per byte. Baseline: `validate`, which is
//! decoding and validation of the same module, and wasmi, which decodes, validates and translates eagerly.
//!
//! The bodies are of one function, or of 64 small ones that a further one calls in turn.

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use std::fmt::Write;
use std::time::{Duration, Instant};
use updraft::{Config, Engine, Linker, Module, Store, Strategy};

/// Statements of some 40 bytes each, with what real bodies have: arithmetic, memory, a branch, a loop now and then.
fn body(statements: usize) -> String {
    let mut text = String::from("(if (i32.eqz (local.get $n)) (then (return (i32.const 0))))\n");
    for i in 0..statements {
        let (address, factor) = (64 + 8 * (i % 500), 2 * i + 3);
        let statement = match i % 4 {
            0 => format!(
                "(local.set $x (i32.add (i32.mul (local.get $x) (i32.const {factor}))
                   (i32.load offset={address} (i32.and (local.get $n) (i32.const 1020)))))"
            ),
            1 => format!(
                "(if (i32.lt_s (local.get $x) (local.get $y))
                   (then (local.set $y (i32.sub (local.get $y) (i32.shr_u (local.get $x) (i32.const {}))))))",
                i % 31
            ),
            2 => format!(
                "(i32.store offset={address} (i32.and (local.get $y) (i32.const 1020))
                   (i32.xor (local.get $x) (i32.rotl (local.get $y) (i32.const {}))))",
                i % 29
            ),
            _ => format!(
                "(local.set $i (i32.const {}))
                 (loop $l
                   (local.set $y (i32.add (local.get $y) (i32.mul (local.get $x) (local.get $i))))
                   (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))",
                i % 100 + 1
            ),
        };
        text.push_str(&statement);
    }
    text.push_str("(i32.add (local.get $x) (local.get $y))");
    text
}

/// A module whose function `f` reaches `functions` bodies of this many statements when it is called with 0.
fn module(functions: usize, statements: usize) -> Vec<u8> {
    let mut text = String::from("(module (memory 1)\n");
    let body = body(statements);
    let head = "(param $n i32) (result i32) (local $x i32) (local $y i32) (local $i i32)";
    if functions == 1 {
        write!(text, "(func (export \"f\") {head} {body})").expect("a string");
    } else {
        for i in 0..functions {
            write!(text, "(func $f{i} {head} {body})").expect("a string");
        }
        text.push_str("(func (export \"f\") (param $n i32) (result i32)\n");
        for i in 0..functions {
            write!(text, "(drop (call $f{i} (local.get $n)))").expect("a string");
        }
        text.push_str("(i32.const 0))");
    }
    text.push(')');
    wat::parse_str(text).expect("the text is valid")
}

/// Bytes of all function bodies.
fn body_bytes(wasm: &[u8]) -> u64 {
    let bodies = wasmparser::Parser::new(0).parse_all(wasm).filter_map(|payload| match payload {
        Ok(wasmparser::Payload::CodeSectionEntry(body)) => {
            let range = body.range();
            Some(range.end - range.start)
        }
        _ => None,
    });
    bodies.sum()
}

/// Time of the first call of `f` in a fresh module.
fn first_call(engine: &Engine, wasm: &[u8]) -> Duration {
    let module = Module::new(engine, wasm).expect("the module is valid");
    let mut store = Store::new(engine).expect("a store");
    let instance = Linker::new(engine).instantiate(&mut store, &module).expect("no imports");
    let f = instance.typed::<i32, i32>(&mut store, "f").expect("it exports f");
    let start = Instant::now();
    let result = f.call(&mut store, 0);
    let time = start.elapsed();
    assert_eq!(result.expect("it does not trap"), 0);
    time
}

fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    let modules = [
        ("1 of 100 B", module(1, 3)),
        ("1 of 1 KB", module(1, 36)),
        ("1 of 10 KB", module(1, 360)),
        ("64 of 100 B", module(64, 3)),
    ];
    for (name, wasm) in &modules {
        let bytes = body_bytes(wasm);
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(BenchmarkId::new("validate", name), |b| {
            let engine = Engine::default();
            b.iter(|| Module::new(&engine, wasm).expect("the module is valid"));
        });
        group.bench_function(BenchmarkId::new("wasmi", name), |b| {
            let mut config = wasmi::Config::default();
            config.compilation_mode(wasmi::CompilationMode::Eager);
            let engine = wasmi::Engine::new(&config);
            b.iter(|| wasmi::Module::new(&engine, &wasm[..]).expect("the module is valid"));
        });
        for strategy in [Strategy::Interp, Strategy::Quick, Strategy::Full] {
            if strategy != Strategy::Interp && updraft::llvm_version().is_err() {
                continue;
            }
            group.bench_function(BenchmarkId::new(strategy.to_string(), name), |b| {
                // One engine for all: its compile threads stay.
                let engine = Engine::new(Config { strategy, ..Config::default() });
                b.iter_custom(|iters| (0..iters).map(|_| first_call(&engine, wasm)).sum());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, compile);
criterion_main!(benches);
