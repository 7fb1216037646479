//! What counting calls costs: a recursion that does nothing but call, with and without, in turns.
//!
//! Measures: wall clock of fib(25), in each tier, compiled before. Baseline: the same without `Config::count_calls`, which emits nothing. Criterion gets the times; printed besides are the medians of the ratios of calls that followed each other.

#[path = "support/figures.rs"]
mod figures;

use criterion::{Criterion, criterion_group, criterion_main};
use figures::median;
use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};
use updraft::{Config, Engine, Func, Linker, Module, Store, Strategy, Val, WasiCtxBuilder};

const DEPTH: i32 = 25;

struct Program {
    store: Store,
    run: Func,
}

impl Program {
    fn new(strategy: Strategy, count_calls: bool) -> Program {
        let engine = Engine::new(Config { strategy, count_calls, ..Config::default() });
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/kernels/fib.wasm");
        let module = Module::from_file(&engine, file).expect("it is valid");
        let mut linker = Linker::new(&engine);
        updraft::add_wasi(&mut linker, WasiCtxBuilder::new().build().expect("a context"));
        let mut store = Store::new(&engine).expect("memory");
        let instance = linker.instantiate(&mut store, &module).expect("its imports are there");
        let run = instance.func(&mut store, "run").expect("it is exported");
        let mut program = Program { store, run };
        program.run();
        program
    }

    fn run(&mut self) -> Duration {
        let start = Instant::now();
        self.run.call(&mut self.store, &[Val::I32(DEPTH)]).expect("it does not trap");
        start.elapsed()
    }
}

fn calls(c: &mut Criterion) {
    let mut group = c.benchmark_group("calls");
    for strategy in [Strategy::Interp, Strategy::Quick, Strategy::Full] {
        let mut plain = Program::new(strategy, false);
        let mut counted = Program::new(strategy, true);
        let ratios = RefCell::new(Vec::new());
        group.bench_function(strategy.to_string(), |b| {
            b.iter_custom(|iterations| {
                (0..iterations)
                    .map(|_| {
                        let (without, with) = (plain.run(), counted.run());
                        ratios.borrow_mut().push(with.as_secs_f64() / without.as_secs_f64());
                        with
                    })
                    .sum()
            });
        });
        let ratios = ratios.into_inner();
        println!("{strategy}: {:.3} times as long, {} pairs", median(ratios.clone()), ratios.len());
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = calls
}
criterion_main!(benches);
