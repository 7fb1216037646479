//! wasmi, the interpreter that ours is compared with.

use std::path::Path;
use wasmi::{Engine, ExternType, Linker, Module, Store, TypedFunc, Val};

/// A program that is ready to run.
pub struct Loaded {
    store: Store<()>,
    run: TypedFunc<i32, i64>,
}

impl Loaded {
    /// Loads a program that exports `run(i32) -> i64` and calls none of its imports from there.
    pub fn new(path: &Path) -> Loaded {
        let engine = Engine::default();
        let bytes = std::fs::read(path).expect("the file is there");
        let module = Module::new(&engine, &bytes[..]).expect("the module is valid");
        let mut linker = Linker::new(&engine);
        for import in module.imports() {
            let ExternType::Func(ty) = import.ty() else { panic!("only functions are imported") };
            let refuse = |_: wasmi::Caller<'_, ()>, _: &[Val], _: &mut [Val]| {
                Err(wasmi::Error::new("a benchmark called WASI"))
            };
            linker
                .func_new(import.module(), import.name(), ty.clone(), refuse)
                .expect("each import has its own name");
        }
        let mut store = Store::new(&engine, ());
        let instance =
            linker.instantiate_and_start(&mut store, &module).expect("all imports are defined");
        let run = instance.get_typed_func(&store, "run").expect("it exports run(i32) -> i64");
        Loaded { store, run }
    }

    pub fn run(&mut self, amount: i32) -> i64 {
        self.run.call(&mut self.store, amount).expect("no traps")
    }
}
