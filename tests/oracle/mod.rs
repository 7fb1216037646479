//! Random modules of wasm-smith, and what comes out of them in this engine and in wasmi. Shared with `fuzz/`; whoever
//! takes it gives it `tests/common/random.rs`.
#![allow(dead_code, reason = "each user has its part")]

use super::Random;
use arbitrary::Unstructured;
use std::collections::{BTreeMap, BTreeSet};
use updraft::{
    Engine, Error, Extern, Features, Func, Instance, Linker, Module, Store, TrapCode, Val, ValType,
};

/// What a module may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// What wasmi has too.
    Common,
    /// All that we have but threads, whose programs may wait forever. Only our tiers are compared.
    Own,
}

/// The module that these bytes stand for, if they are enough for one. It ends by itself.
pub fn module(bytes: &[u8], family: Family) -> Option<Vec<u8>> {
    let own = |proposal| family == Family::Own && Features::SUPPORTED.contains(proposal);
    let common = |proposal| Features::SUPPORTED.contains(proposal);
    let many = if common("multi-memory") { 3 } else { 1 };
    let config = wasm_smith::Config {
        max_imports: 0,
        min_funcs: 4,
        min_globals: 2,
        max_funcs: 12,
        max_instructions: 300,
        min_memories: 1,
        max_memories: many,
        memory_max_size_required: true,
        max_memory32_bytes: 1 << 20,
        max_memory64_bytes: 1 << 20,
        max_table_elements: 1000,
        max_tables: 2,
        table_max_size_required: true,
        export_everything: true,
        allow_start_export: false,
        // The bits of NaNs are the one thing in which engines may differ.
        canonicalize_nans: true,
        disallow_traps: false,
        memory64_enabled: common("memory64"),
        simd_enabled: common("simd"),
        relaxed_simd_enabled: own("relaxed-simd"),
        exceptions_enabled: own("exceptions"),
        tail_call_enabled: common("tail-call"),
        extended_const_enabled: common("extended-const"),
        gc_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        custom_page_sizes_enabled: false,
        shared_everything_threads_enabled: false,
        compact_imports_enabled: false,
        custom_descriptors_enabled: false,
        ..wasm_smith::Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(bytes)).ok()?;
    module.ensure_termination(2000).ok()?;
    Some(module.to_bytes())
}

/// The module of a seed.
pub fn module_of_seed(seed: u64, family: Family) -> Option<Vec<u8>> {
    let mut random = Random::new(seed);
    let bytes: Vec<u8> = (0..4096).flat_map(|_| random.bits().to_le_bytes()).collect();
    module(&bytes, family)
}

/// How a call ended, in words that both engines' ends can be put into.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Values(Vec<Plain>),
    Trap(&'static str),
    Exception,
    /// A limit of an engine, which the other need not have.
    Limit,
}

/// A value that can be compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plain {
    Bits(u128),
    /// A reference: only whether it is null.
    Ref(bool),
}

/// What calls have left behind, by the name of the export.
#[derive(Debug, Clone, PartialEq)]
pub enum Left {
    Memory { bytes: usize, hash: u64 },
    Global(Plain),
    Table(Vec<Plain>),
}

/// All that is seen of a run.
#[derive(Debug, Default)]
pub struct Trace {
    /// Whether it was instantiated.
    pub instantiated: bool,
    /// The calls, in order.
    pub calls: Vec<(String, Vec<Plain>, Outcome)>,
    /// What they left behind, unless a limit cut the run short.
    pub left: BTreeMap<String, Left>,
}

impl Trace {
    /// Where two runs differ, if they do. Behind a limit of either, nothing is compared.
    pub fn difference(&self, other: &Trace) -> Option<String> {
        if self.instantiated != other.instantiated {
            return Some(format!(
                "instantiated: {}, other: {}",
                self.instantiated, other.instantiated
            ));
        }
        for (mine, theirs) in self.calls.iter().zip(&other.calls) {
            if mine.2 == Outcome::Limit || theirs.2 == Outcome::Limit {
                return None;
            }
            if !same(&mine.2, &theirs.2) {
                let (name, args, outcome) = mine;
                return Some(format!("{name}({args:x?}): {outcome:x?}, other: {:x?}", theirs.2));
            }
        }
        if self.calls.len() != other.calls.len() {
            return Some(format!("{} calls, other: {}", self.calls.len(), other.calls.len()));
        }
        for (name, mine) in &self.left {
            let theirs = other.left.get(name);
            if theirs != Some(mine) {
                return Some(format!("left in {name:?}: {mine:x?}, other: {theirs:x?}"));
            }
        }
        None
    }

    fn at_limit(&self) -> bool {
        matches!(self.calls.last(), Some((_, _, Outcome::Limit)))
    }
}

/// wasmi calls an index outside of the table in `call_indirect` a table access out of bounds.
fn same(one: &Outcome, other: &Outcome) -> bool {
    let table = |outcome: &Outcome| match outcome {
        Outcome::Trap(code) if *code == TrapCode::UndefinedElement.message() => {
            Outcome::Trap(TrapCode::TableOutOfBounds.message())
        }
        outcome => outcome.clone(),
    };
    one == other || table(one) == table(other)
}

/// The arguments of one call: small numbers and bounds are the interesting ones.
fn arguments(params: &[ValType], random: &mut Random) -> Vec<Plain> {
    let mut bits = || match random.below(4) {
        0 => random.below(16) as u64,
        1 => (random.below(3) as u64).wrapping_sub(1) ^ (1 << random.below(64)),
        _ => random.bits(),
    };
    let argument = |param: &ValType| match param {
        ValType::I32 => Plain::Bits(u128::from(bits() as u32)),
        ValType::I64 => Plain::Bits(bits().into()),
        // No NaNs.
        ValType::F32 => Plain::Bits((bits() as i32 as f32 / 8.0).to_bits().into()),
        ValType::F64 => Plain::Bits((bits() as i64 as f64 / 8.0).to_bits().into()),
        ValType::V128 => Plain::Bits(u128::from(bits()) << 64 | u128::from(bits())),
        ValType::Ref(_) => Plain::Ref(true),
    };
    params.iter().map(argument).collect()
}

/// Calls made of each exported function.
const ROUNDS: usize = 3;

fn hash(bytes: &[u8]) -> u64 {
    // FNV-1a.
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn plain(value: &Val) -> Plain {
    match value {
        Val::I32(value) => Plain::Bits(u128::from(*value as u32)),
        Val::I64(value) => Plain::Bits(u128::from(*value as u64)),
        Val::F32(bits) => Plain::Bits(u128::from(*bits)),
        Val::F64(bits) => Plain::Bits(u128::from(*bits)),
        Val::V128(bits) => Plain::Bits(*bits),
        Val::FuncRef(None) | Val::ExternRef(None) => Plain::Ref(true),
        #[allow(unreachable_patterns, reason = "all other values are references")]
        _ => Plain::Ref(false),
    }
}

fn value(ty: ValType, plain: Plain) -> Val {
    match (ty, plain) {
        (ValType::I32, Plain::Bits(bits)) => Val::I32(bits as i32),
        (ValType::I64, Plain::Bits(bits)) => Val::I64(bits as i64),
        (ValType::F32, Plain::Bits(bits)) => Val::F32(bits as u32),
        (ValType::F64, Plain::Bits(bits)) => Val::F64(bits as u64),
        (ValType::V128, Plain::Bits(bits)) => Val::V128(bits),
        _ => Val::zero(ty),
    }
}

fn outcome(result: Result<Vec<Val>, Error>) -> Outcome {
    match result {
        Ok(values) => Outcome::Values(values.iter().map(plain).collect()),
        Err(Error::Trap(trap)) => match trap.code {
            TrapCode::StackOverflow | TrapCode::OutOfMemory => Outcome::Limit,
            code => Outcome::Trap(code.message()),
        },
        Err(Error::Exception(_)) => Outcome::Exception,
        Err(other) => panic!("{other}"),
    }
}

/// Runs a module in this engine: all exported functions, some times, with arguments that the seed decides.
pub fn run(engine: &Engine, bytes: &[u8], seed: u64) -> Trace {
    let module = Module::new(engine, bytes).expect("wasm-smith makes valid modules");
    let mut store = Store::new(engine).unwrap();
    let mut trace = Trace::default();
    let Ok(instance) = Linker::new(engine).instantiate(&mut store, &module) else {
        return trace;
    };
    trace.instantiated = true;
    run_calls(&mut store, instance, seed, &mut trace);
    if !trace.at_limit() {
        trace.left = left(&mut store, instance);
    }
    trace
}

fn run_calls(store: &mut Store, instance: Instance, seed: u64, trace: &mut Trace) {
    let mut random = Random::new(seed ^ 0x5eed);
    // By name: wasmi has its own order of exports.
    let exports: BTreeMap<String, Extern> = instance.exports(store).into_iter().collect();
    let functions: Vec<(String, Func)> = exports
        .into_iter()
        .filter_map(|(name, item)| match item {
            Extern::Func(func) => Some((name, func)),
            _ => None,
        })
        .collect();
    for _ in 0..ROUNDS {
        for (name, func) in &functions {
            let params = func.ty(store).params().to_vec();
            let args = arguments(&params, &mut random);
            let values: Vec<Val> =
                params.iter().zip(&args).map(|(ty, plain)| value(*ty, *plain)).collect();
            let outcome = outcome(func.call(store, &values));
            trace.calls.push((name.clone(), args, outcome));
            if trace.at_limit() {
                return;
            }
        }
    }
}

fn left(store: &mut Store, instance: Instance) -> BTreeMap<String, Left> {
    let mut all = BTreeMap::new();
    for (name, item) in instance.exports(store) {
        let left = match item {
            Extern::Memory(memory) => {
                let mut bytes = vec![0; memory.size() as usize];
                memory.read(0, &mut bytes).unwrap();
                Left::Memory { bytes: bytes.len(), hash: hash(&bytes) }
            }
            Extern::Global(global) => Left::Global(plain(&global.get(store))),
            Extern::Table(table) => {
                let elements = 0..table.size(store);
                Left::Table(elements.map(|i| plain(&table.get(store, i).unwrap())).collect())
            }
            _ => continue,
        };
        all.insert(name, left);
    }
    all
}

/// wasmi, set up to take what we take.
pub fn wasmi_engine() -> wasmi::Engine {
    let mut config = wasmi::Config::default();
    config.set_max_recursion_depth(50_000);
    wasmi::Engine::new(&config)
}

fn wasmi_plain(value: &wasmi::Val) -> Plain {
    use wasmi::Val as V;
    match value {
        V::I32(value) => Plain::Bits(u128::from(*value as u32)),
        V::I64(value) => Plain::Bits(u128::from(*value as u64)),
        V::F32(value) => Plain::Bits(u128::from(value.to_bits())),
        V::F64(value) => Plain::Bits(u128::from(value.to_bits())),
        V::V128(value) => Plain::Bits(value.as_u128()),
        V::FuncRef(reference) => Plain::Ref(reference.is_null()),
        V::ExternRef(reference) => Plain::Ref(reference.is_null()),
    }
}

fn wasmi_value(ty: wasmi::ValType, plain: Plain) -> wasmi::Val {
    use wasmi::{Val as V, ValType as T};
    match (ty, plain) {
        (T::I32, Plain::Bits(bits)) => V::I32(bits as i32),
        (T::I64, Plain::Bits(bits)) => V::I64(bits as i64),
        (T::F32, Plain::Bits(bits)) => V::F32(wasmi::F32::from_bits(bits as u32)),
        (T::F64, Plain::Bits(bits)) => V::F64(wasmi::F64::from_bits(bits as u64)),
        (T::V128, Plain::Bits(bits)) => V::V128(bits.into()),
        (ty, _) => V::default_for_ty(ty),
    }
}

fn wasmi_outcome(result: Result<Vec<wasmi::Val>, wasmi::Error>) -> Outcome {
    use wasmi::TrapCode as T;
    let code = match result {
        Ok(values) => return Outcome::Values(values.iter().map(wasmi_plain).collect()),
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

/// As [`run`], in wasmi.
pub fn run_wasmi(engine: &wasmi::Engine, bytes: &[u8], seed: u64) -> Trace {
    let module = wasmi::Module::new(engine, bytes).expect("wasmi takes what we take");
    let mut store = wasmi::Store::new(engine, ());
    let mut trace = Trace::default();
    let instance = wasmi::Linker::new(engine).instantiate_and_start(&mut store, &module);
    let Ok(instance) = instance else { return trace };
    trace.instantiated = true;
    let mut random = Random::new(seed ^ 0x5eed);
    let names: BTreeSet<String> = module.exports().map(|e| e.name().to_owned()).collect();
    let functions: Vec<(String, wasmi::Func)> = names
        .iter()
        .filter_map(|name| Some((name.clone(), instance.get_func(&store, name)?)))
        .collect();
    for _ in 0..ROUNDS {
        for (name, func) in &functions {
            let ty = func.ty(&store);
            let params: Vec<ValType> = ty.params().iter().map(our_type).collect();
            let args = arguments(&params, &mut random);
            let values: Vec<wasmi::Val> =
                ty.params().iter().zip(&args).map(|(ty, plain)| wasmi_value(*ty, *plain)).collect();
            let mut results = vec![wasmi::Val::I32(0); ty.results().len()];
            let result = func.call(&mut store, &values, &mut results);
            trace.calls.push((name.clone(), args, wasmi_outcome(result.map(|()| results))));
            if trace.at_limit() {
                return trace;
            }
        }
    }
    for name in names {
        if let Some(left) = wasmi_left(&store, &instance, &name) {
            trace.left.insert(name, left);
        }
    }
    trace
}

fn wasmi_left(store: &wasmi::Store<()>, instance: &wasmi::Instance, name: &str) -> Option<Left> {
    Some(match instance.get_export(store, name)? {
        wasmi::Extern::Memory(memory) => {
            let bytes = memory.data(store);
            Left::Memory { bytes: bytes.len(), hash: hash(bytes) }
        }
        wasmi::Extern::Global(global) => Left::Global(wasmi_plain(&global.get(store))),
        wasmi::Extern::Table(table) => {
            let elements = 0..table.size(store);
            let element = |i| wasmi_plain(&table.get(store, i).unwrap().into());
            Left::Table(elements.map(element).collect())
        }
        wasmi::Extern::Func(_) => return None,
    })
}

fn our_type(ty: &wasmi::ValType) -> ValType {
    use wasmi::ValType as T;
    match ty {
        T::I32 => ValType::I32,
        T::I64 => ValType::I64,
        T::F32 => ValType::F32,
        T::F64 => ValType::F64,
        T::V128 => ValType::V128,
        T::FuncRef => ValType::FUNCREF,
        T::ExternRef => ValType::EXTERNREF,
    }
}
