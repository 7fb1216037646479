//! The interpreter against wasmi, on random modules of wasm-smith: results, kinds of traps, memories and globals must agree.
//!
//! `UPDRAFT_ORACLE_MODULES` sets how many modules are tried, `UPDRAFT_ORACLE_SEED` the first one;
//! `UPDRAFT_ORACLE_DUMP` names a file for the last one.

use arbitrary::Unstructured;
use updraft::{
    Config, Engine, Error, Extern, Linker, Module, Store, Strategy, TrapCode, Val, ValType,
};

/// How many modules a run tries by default.
const MODULES: u64 = if cfg!(debug_assertions) { 150 } else { 600 };

/// Random numbers, the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

fn generate(seed: u64) -> Option<Vec<u8>> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let bytes: Vec<u8> = (0..4096).flat_map(|_| random.next().to_le_bytes()).collect();
    let config = wasm_smith::Config {
        max_imports: 0,
        min_funcs: 1,
        max_funcs: 12,
        max_instructions: 300,
        max_memories: 1 + seed as usize % 3,
        min_memories: 1,
        memory_max_size_required: true,
        max_memory32_bytes: 1 << 20,
        max_memory64_bytes: 1 << 20,
        max_table_elements: 1000,
        max_tables: 2,
        table_max_size_required: true,
        export_everything: true,
        allow_start_export: false,
        canonicalize_nans: true,
        disallow_traps: false,
        memory64_enabled: seed % 4 == 1,
        simd_enabled: seed.is_multiple_of(2),
        // wasmi makes other choices.
        relaxed_simd_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        custom_page_sizes_enabled: false,
        shared_everything_threads_enabled: false,
        compact_imports_enabled: false,
        custom_descriptors_enabled: false,
        tail_call_enabled: true,
        ..wasm_smith::Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(2000).ok()?;
    Some(module.to_bytes())
}

/// A kind of failure, in words that both engines' can be put into.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Values(Vec<Plain>),
    Trap(&'static str),
    /// A limit of an engine, which the other need not have.
    Limit,
}

/// A value that can be compared.
#[derive(Debug, Clone, PartialEq)]
enum Plain {
    Bits(u128),
    /// A reference: only whether it is null.
    Ref(bool),
}

fn ours(value: &Val) -> Plain {
    match value {
        Val::I32(value) => Plain::Bits((*value as u32).into()),
        Val::I64(value) => Plain::Bits((*value as u64).into()),
        Val::F32(bits) => Plain::Bits((*bits).into()),
        Val::F64(bits) => Plain::Bits((*bits).into()),
        Val::V128(bits) => Plain::Bits(*bits),
        Val::FuncRef(reference) => Plain::Ref(reference.is_none()),
        Val::ExternRef(reference) => Plain::Ref(reference.is_none()),
    }
}

fn theirs(value: &wasmi::Val) -> Plain {
    use wasmi::Val as V;
    match value {
        V::I32(value) => Plain::Bits((*value as u32).into()),
        V::I64(value) => Plain::Bits((*value as u64).into()),
        V::F32(value) => Plain::Bits(value.to_bits().into()),
        V::F64(value) => Plain::Bits(value.to_bits().into()),
        V::V128(value) => Plain::Bits(value.as_u128()),
        V::FuncRef(reference) => Plain::Ref(reference.is_null()),
        V::ExternRef(reference) => Plain::Ref(reference.is_null()),
    }
}

fn our_outcome(result: Result<Vec<Val>, Error>) -> Outcome {
    match result {
        Ok(values) => Outcome::Values(values.iter().map(ours).collect()),
        Err(Error::Trap(trap)) => match trap.code {
            TrapCode::StackOverflow | TrapCode::OutOfMemory => Outcome::Limit,
            code => Outcome::Trap(code.message()),
        },
        Err(other) => panic!("{other}"),
    }
}

fn their_outcome(result: Result<Vec<wasmi::Val>, wasmi::Error>) -> Outcome {
    use wasmi::TrapCode as T;
    let code = match result {
        Ok(values) => return Outcome::Values(values.iter().map(theirs).collect()),
        Err(error) => error.as_trap_code().unwrap_or_else(|| panic!("{error}")),
    };
    let code = match code {
        T::UnreachableCodeReached => TrapCode::Unreachable,
        T::MemoryOutOfBounds => TrapCode::MemoryOutOfBounds,
        T::TableOutOfBounds => TrapCode::TableOutOfBounds,
        T::IndirectCallToNull => TrapCode::UninitializedElement,
        T::IntegerDivisionByZero => TrapCode::IntegerDivideByZero,
        T::IntegerOverflow => TrapCode::IntegerOverflow,
        T::BadConversionToInteger => TrapCode::InvalidConversionToInteger,
        T::BadSignature => TrapCode::IndirectCallTypeMismatch,
        T::StackOverflow => return Outcome::Limit,
        other => panic!("{other:?}"),
    };
    Outcome::Trap(code.message())
}

/// wasmi calls an index outside of the table in `call_indirect` a table access out of bounds.
fn same(ours: &Outcome, theirs: &Outcome) -> bool {
    let table = Outcome::Trap(TrapCode::TableOutOfBounds.message());
    ours == theirs
        || *ours == Outcome::Trap(TrapCode::UndefinedElement.message()) && *theirs == table
}

struct Pair {
    store: Store,
    instance: updraft::Instance,
    their_store: wasmi::Store<()>,
    their_instance: wasmi::Instance,
}

impl Pair {
    /// Both instances, or nothing if the module traps while it is instantiated (in both, then).
    fn new(engine: &Engine, wasmi: &wasmi::Engine, bytes: &[u8]) -> Option<Pair> {
        let module = Module::new(engine, bytes).expect("wasm-smith makes valid modules");
        let mut store = Store::new(engine).unwrap();
        let instance = Linker::new(engine).instantiate(&mut store, &module);
        let module = wasmi::Module::new(wasmi, bytes).expect("wasmi takes what we take");
        let mut their_store = wasmi::Store::new(wasmi, ());
        let theirs = wasmi::Linker::new(wasmi).instantiate_and_start(&mut their_store, &module);
        match (instance, theirs) {
            (Ok(instance), Ok(their_instance)) => {
                Some(Pair { store, instance, their_store, their_instance })
            }
            (Err(_), Err(_)) => None,
            (Ok(_), Err(error)) => panic!("only wasmi fails: {error}"),
            (Err(error), Ok(_)) => panic!("only we fail: {error}"),
        }
    }

    /// Calls an exported function in both. False if a limit was hit: the instances differ then.
    fn call(&mut self, name: &str, params: &[ValType], random: &mut Random) -> bool {
        let mut args = Vec::new();
        let mut their_args = Vec::new();
        for param in params {
            // Small numbers and bounds are the interesting ones.
            let bits = match random.next() % 4 {
                0 => random.next() % 16,
                1 => (random.next() % 3).wrapping_sub(1) ^ (1 << (random.next() % 64)),
                _ => random.next(),
            };
            let (arg, their_arg) = match param {
                ValType::I32 => (Val::I32(bits as i32), wasmi::Val::I32(bits as i32)),
                ValType::I64 => (Val::I64(bits as i64), wasmi::Val::I64(bits as i64)),
                ValType::F32 => {
                    let value = bits as i32 as f32 / 8.0;
                    (Val::F32(value.to_bits()), wasmi::Val::F32(value.into()))
                }
                ValType::F64 => {
                    let value = bits as i64 as f64 / 8.0;
                    (Val::F64(value.to_bits()), wasmi::Val::F64(value.into()))
                }
                ValType::V128 => {
                    let bits = u128::from(bits) << 64 | u128::from(random.next());
                    (Val::V128(bits), wasmi::Val::V128(bits.into()))
                }
                ValType::Ref(ty) if ty.is_func_ref() => {
                    (Val::FuncRef(None), wasmi::Val::FuncRef(wasmi::Nullable::Null))
                }
                _ => (Val::ExternRef(None), wasmi::Val::ExternRef(wasmi::Nullable::Null)),
            };
            args.push(arg);
            their_args.push(their_arg);
        }
        let func = self.instance.func(&mut self.store, name).unwrap();
        let ours = our_outcome(func.call(&mut self.store, &args));
        let func = self.their_instance.get_func(&self.their_store, name).unwrap();
        let count = func.ty(&self.their_store).results().len();
        let mut results = vec![wasmi::Val::I32(0); count];
        let theirs = func.call(&mut self.their_store, &their_args, &mut results);
        let theirs = their_outcome(theirs.map(|()| results));
        if ours == Outcome::Limit || theirs == Outcome::Limit {
            return false;
        }
        assert!(same(&ours, &theirs), "{name}({args:?}): {ours:?}, wasmi says {theirs:?}");
        true
    }

    /// Compares what the calls left behind.
    fn compare_state(&mut self) {
        for (name, item) in self.instance.exports(&mut self.store) {
            match item {
                Extern::Memory(memory) => {
                    let theirs = self.their_instance.get_memory(&self.their_store, &name).unwrap();
                    let theirs = theirs.data(&self.their_store);
                    let mut bytes = vec![0; memory.size() as usize];
                    memory.read(0, &mut bytes).unwrap();
                    assert!(bytes == theirs, "memory {name} differs");
                }
                Extern::Global(global) => {
                    let theirs = self.their_instance.get_global(&self.their_store, &name).unwrap();
                    let theirs = self::theirs(&theirs.get(&self.their_store));
                    assert_eq!(ours(&global.get(&mut self.store)), theirs, "global {name}");
                }
                Extern::Table(table) => {
                    let theirs = self.their_instance.get_table(&self.their_store, &name).unwrap();
                    let size = table.size(&mut self.store);
                    assert_eq!(size, theirs.size(&self.their_store), "size of table {name}");
                    for index in 0..size {
                        let ours = self::ours(&table.get(&mut self.store, index).unwrap());
                        let theirs =
                            self::theirs(&theirs.get(&self.their_store, index).unwrap().into());
                        assert_eq!(ours, theirs, "element {index} of table {name}");
                    }
                }
                _ => {}
            }
        }
    }
}

/// Runs all functions of a module a few times. Returns how many calls were compared.
fn compare(engine: &Engine, wasmi: &wasmi::Engine, seed: u64) -> u32 {
    let Some(bytes) = generate(seed) else { return 0 };
    if let Ok(path) = std::env::var("UPDRAFT_ORACLE_DUMP") {
        std::fs::write(path, &bytes).unwrap();
    }
    let Some(mut pair) = Pair::new(engine, wasmi, &bytes) else { return 0 };
    let mut random = Random(seed | 1);
    let mut compared = 0;
    for _ in 0..3 {
        for (name, item) in pair.instance.exports(&mut pair.store) {
            let Extern::Func(func) = item else { continue };
            let params = func.ty(&mut pair.store).params().to_vec();
            if !pair.call(&name, &params, &mut random) {
                return compared;
            }
            compared += 1;
        }
    }
    pair.compare_state();
    compared
}

#[test]
fn random_modules_behave_as_in_wasmi() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let count: u64 = number("UPDRAFT_ORACLE_MODULES").unwrap_or(MODULES);
    let first: u64 = number("UPDRAFT_ORACLE_SEED").unwrap_or(0);
    let engine = Engine::new(Config { strategy: Strategy::Interp, ..Config::default() });
    let mut config = wasmi::Config::default();
    config.set_max_recursion_depth(50_000);
    let wasmi = wasmi::Engine::new(&config);
    let mut compared = 0;
    let mut wrong = Vec::new();
    for seed in first..first + count {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            compare(&engine, &wasmi, seed)
        }));
        match result {
            Ok(calls) => compared += u64::from(calls),
            Err(_) => wrong.push(seed),
        }
    }
    assert!(wrong.is_empty(), "seeds that differ: {wrong:?}");
    println!("{compared} calls of {count} modules agree");
    assert!(compared > count, "the modules ought to have something to run");
}
