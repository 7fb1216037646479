//! The kernels of `benches/kernels/`, as the benchmarks run them.

use std::path::PathBuf;
use updraft::{
    Config, Engine, Instance, Linker, Module, Store, Strategy, TypedFunc, WasiCtxBuilder,
};

/// A program with the export `run(i32) -> i64`.
pub struct Kernel {
    pub name: &'static str,
    /// An amount of work that takes an interpreter some tens of milliseconds.
    pub small: i32,
    /// What `run(small)` returns.
    pub expected: i64,
}

/// The five kernels that interpreters are compared by.
pub const KERNELS: [Kernel; 5] = [
    Kernel { name: "fib", small: 27, expected: 196_418 },
    Kernel { name: "sieve", small: 1, expected: 82_025 },
    Kernel { name: "matmul", small: 1, expected: 6_392_394_538 },
    Kernel { name: "nbody", small: 10_000, expected: -169_016_441 },
    Kernel { name: "sha256", small: 200, expected: -3_237_931_647_628_608_588 },
];

impl Kernel {
    /// The built program.
    pub fn path(&self) -> PathBuf {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/kernels");
        PathBuf::from(folder).join(self.name).with_extension("wasm")
    }

    /// A fresh engine, module and instance: nothing of it has run or been compiled.
    pub fn load(&self, strategy: Strategy) -> Loaded {
        let engine = Engine::new(Config { strategy, ..Config::default() });
        let module = Module::from_file(&engine, self.path()).expect("the kernels are valid");
        let wasi = WasiCtxBuilder::new().build().expect("a context without anything");
        let mut linker = Linker::new(&engine);
        updraft::add_wasi(&mut linker, wasi);
        let mut store = Store::new(&engine).expect("a store");
        let instance: Instance =
            linker.instantiate(&mut store, &module).expect("kernels import WASI alone");
        let run = instance.typed(&mut store, "run").expect("kernels export run(i32) -> i64");
        Loaded { store, run }
    }
}

/// A kernel that is ready to run.
pub struct Loaded {
    store: Store,
    run: TypedFunc<i32, i64>,
}

impl Loaded {
    pub fn run(&mut self, amount: i32) -> i64 {
        self.run.call(&mut self.store, amount).expect("kernels do not trap")
    }
}
