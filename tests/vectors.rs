//! Vectors and 64-bit memories and tables, as an embedder sees them.

use updraft::{
    Config, Engine, Error, Extern, FuncType, Global, GlobalType, LinkError, Linker, Memory,
    MemoryType, Module, RefType, Store, Strategy, Table, TableType, Tuning, Val, ValType,
};

const STRATEGIES: &[&str] =
    if cfg!(feature = "llvm") { &["interp", "quick", "full", "tiered"] } else { &["interp"] };

fn engines() -> impl Iterator<Item = Engine> {
    STRATEGIES.iter().map(|name| {
        let strategy: Strategy = name.parse().unwrap();
        Engine::new(Config { strategy, tuning: Tuning::EAGER, ..Config::default() })
    })
}

/// The lanes of an `i32x4`.
fn vector(lanes: [u32; 4]) -> u128 {
    lanes.iter().rev().fold(0, |bits, lane| bits << 32 | u128::from(*lane))
}

fn bits(val: &Val) -> u128 {
    let Val::V128(bits) = val else { panic!("{val:?} is no vector") };
    *bits
}

/// Arguments and results of both sizes pass between the host and wasm in both directions.
#[test]
fn host_functions_take_and_give_vectors() {
    const TEXT: &str = r#"(module
        (import "host" "mix"
            (func $mix (param i32 v128 f64 v128) (result v128 i64 v128)))
        (func (export "run") (param v128 i32) (result v128 i64 v128)
            (call $mix (local.get 1) (local.get 0) (f64.const 2.5)
                (i32x4.add (local.get 0) (i32x4.splat (local.get 1)))))
        (func (export "many") (param $n i32) (param $x v128) (result v128)
            (loop $l
                (local.set $x (i32x4.add (local.get $x)
                    (call $mix (i32.const 1) (local.get $x) (f64.const 0) (v128.const i64x2 0 0))
                    (drop) (drop)))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $x)))"#;
    for engine in engines() {
        let module = Module::new(&engine, TEXT).unwrap();
        let mut store = Store::new(&engine).unwrap();
        let mut linker = Linker::new(&engine);
        let ty = FuncType::new(
            [ValType::I32, ValType::V128, ValType::F64, ValType::V128],
            [ValType::V128, ValType::I64, ValType::V128],
        );
        linker.func_values("host", "mix", ty.clone(), |_, args| {
            let [Val::I32(int), Val::V128(a), Val::F64(float), Val::V128(b)] = args else {
                panic!("{args:?}")
            };
            let sum = i64::from(*int) + f64::from_bits(*float) as i64;
            Ok(vec![Val::V128(*b), Val::I64(sum), Val::V128(*a)])
        });
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance.func(&mut store, "run").unwrap();
        let x = vector([1, 2, 3, u32::MAX]);
        let results = run.call(&mut store, &[Val::V128(x), Val::I32(7)]).unwrap();
        let [Val::V128(a), Val::I64(9), Val::V128(b)] = results[..] else { panic!("{results:?}") };
        assert_eq!((a, b), (vector([8, 9, 10, 6]), x));
        let many = instance.func(&mut store, "many").unwrap();
        let results = many.call(&mut store, &[Val::I32(1000), Val::V128(x)]).unwrap();
        assert_eq!(bits(&results[0]), x);
        // Neither another type of argument nor another number of them.
        for wrong in [&[Val::I64(1), Val::I32(7)][..], &[Val::V128(x)]] {
            assert!(matches!(run.call(&mut store, wrong), Err(Error::Call(_))));
        }
        // A result of another type is the host's fault, and named.
        linker.func_values("host", "mix", ty, |_, args| {
            Ok(vec![args[1].clone(), Val::I32(1), args[3].clone()])
        });
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance.func(&mut store, "run").unwrap();
        let error = run.call(&mut store, &[Val::V128(x), Val::I32(7)]).unwrap_err();
        assert!(error.to_string().contains("returned other values"), "{error}");
    }
}

/// The same on Rust types, where a vector is a `u128`.
#[test]
fn typed_functions_take_and_give_vectors() {
    const TEXT: &str = r#"(module
        (import "host" "mix" (func $mix (param i32 v128 f64 v128) (result v128 i64)))
        (func (export "run") (param v128 i32 v128 v128 v128 v128 v128 v128) (result v128 i64)
            (call $mix (local.get 1) (local.get 0) (f64.const 2.5) (local.get 7))))"#;
    for engine in engines() {
        let module = Module::new(&engine, TEXT).unwrap();
        let mut store = Store::new(&engine).unwrap();
        let mut linker = Linker::new(&engine);
        linker.func("host", "mix", |_, (int, a, float, b): (i32, u128, f64, u128)| {
            Ok((a ^ b, i64::from(int) + float as i64))
        });
        let instance = linker.instantiate(&mut store, &module).unwrap();
        type Many = (u128, u32, u128, u128, u128, u128, u128, u128);
        let run = instance.typed::<Many, (u128, u64)>(&mut store, "run").unwrap();
        for (a, b) in [(1, 2), (u128::MAX, 1 << 64), (0, 1 << 127)] {
            let results = run.call(&mut store, (a, 7, 0, 0, 0, 0, 0, b)).unwrap();
            assert_eq!(results, (a ^ b, 9));
        }
        assert!(instance.typed::<(u128, u32), u128>(&mut store, "run").is_err());
    }
}

#[test]
fn globals_hold_vectors() {
    const TEXT: &str = r#"(module
        (import "host" "shared" (global $shared (mut v128)))
        (global $own (export "own") (mut v128) (v128.const i32x4 1 2 3 4))
        (func (export "swap") (local $x v128)
            (local.set $x (global.get $own))
            (global.set $own (global.get $shared))
            (global.set $shared (local.get $x))))"#;
    for engine in engines() {
        let module = Module::new(&engine, TEXT).unwrap();
        let mut store = Store::new(&engine).unwrap();
        let ty = GlobalType { content_type: ValType::V128, mutable: true, shared: false };
        let shared = Global::new(&mut store, ty, &Val::V128(u128::MAX - 5)).unwrap();
        let mut linker = Linker::new(&engine);
        linker.define("host", "shared", Extern::Global(shared));
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let Some(Extern::Global(own)) = instance.export(&mut store, "own") else { panic!() };
        assert_eq!(bits(&own.get(&mut store)), vector([1, 2, 3, 4]));
        let swap = instance.func(&mut store, "swap").unwrap();
        swap.call(&mut store, &[]).unwrap();
        assert_eq!(bits(&own.get(&mut store)), u128::MAX - 5);
        assert_eq!(bits(&shared.get(&mut store)), vector([1, 2, 3, 4]));
        shared.set(&mut store, &Val::V128(1 << 100)).unwrap();
        swap.call(&mut store, &[]).unwrap();
        assert_eq!(bits(&own.get(&mut store)), 1 << 100);
        assert!(shared.set(&mut store, &Val::I64(1)).is_err());
    }
}

#[test]
fn types_tell_the_index_type() {
    const TEXT: &str = r#"(module
        (import "host" "memory" (memory i64 1 4))
        (import "host" "table" (table i64 2 funcref))
        (memory (export "narrow") 1)
        (memory (export "wide") i64 1 3)
        (table (export "wide_table") i64 1 7 externref))"#;
    let engine = Engine::default();
    let module = Module::new(&engine, TEXT).unwrap();
    let mut store = Store::new(&engine).unwrap();
    let memory_type = |memory64| MemoryType {
        memory64,
        shared: false,
        initial: 1,
        maximum: Some(4),
        page_size_log2: None,
    };
    let table_type = |table64| TableType {
        element_type: RefType::FUNCREF,
        table64,
        initial: 2,
        maximum: None,
        shared: false,
    };
    let mut linker = Linker::new(&engine);
    for (memory64, table64, message) in [
        (false, true, "64-bit memory of 1 to 4 pages"),
        (true, false, "64-bit table of at least 2 funcref"),
    ] {
        let memory = Memory::with_type(&engine, memory_type(memory64)).unwrap();
        let table = Table::new(&mut store, table_type(table64), &Val::FuncRef(None)).unwrap();
        linker.define("host", "memory", Extern::Memory(memory));
        linker.define("host", "table", Extern::Table(table));
        let error = linker.instantiate(&mut store, &module).unwrap_err();
        assert!(matches!(error, Error::Link(LinkError::Type { .. })), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
    let memory = Memory::with_type(&engine, memory_type(true)).unwrap();
    let table = Table::new(&mut store, table_type(true), &Val::FuncRef(None)).unwrap();
    assert!(memory.ty().memory64 && table.ty(&mut store).table64);
    linker.define("host", "memory", Extern::Memory(memory));
    linker.define("host", "table", Extern::Table(table));
    let instance = linker.instantiate(&mut store, &module).unwrap();
    for (name, wide) in [("narrow", false), ("wide", true)] {
        let Some(Extern::Memory(memory)) = instance.export(&mut store, name) else { panic!() };
        assert_eq!(memory.ty().memory64, wide);
    }
    let Some(Extern::Table(table)) = instance.export(&mut store, "wide_table") else { panic!() };
    let ty = table.ty(&mut store);
    assert_eq!((ty.table64, ty.initial, ty.maximum), (true, 1, Some(7)));
}

/// More than 32 bits can address, from both sides; what there is no room for is refused.
#[test]
fn wide_memories_are_larger_than_32_bits() {
    const TEXT: &str = r#"(module
        (memory (export "memory") i64 1)
        (func (export "load") (param i64) (result v128) (v128.load (local.get 0)))
        (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0))))"#;
    for engine in engines() {
        let module = Module::new(&engine, TEXT).unwrap();
        let mut store = Store::new(&engine).unwrap();
        let instance = Linker::new(&engine).instantiate(&mut store, &module).unwrap();
        let Some(Extern::Memory(memory)) = instance.export(&mut store, "memory") else { panic!() };
        assert_eq!(memory.grow((6 << 30) / 65_536), Some(1));
        memory.write(5 << 30, &[7; 16]).unwrap();
        let load = instance.func(&mut store, "load").unwrap();
        let results = load.call(&mut store, &[Val::I64(5 << 30)]).unwrap();
        assert_eq!(bits(&results[0]), u128::from_ne_bytes([7; 16]));
        for outside in [7 << 30, -1, i64::MIN] {
            assert!(load.call(&mut store, &[Val::I64(outside)]).is_err(), "{outside:#x}");
        }
        let grow = instance.func(&mut store, "grow").unwrap();
        for pages in [1 << 47, -1, i64::MAX] {
            let results = grow.call(&mut store, &[Val::I64(pages)]).unwrap();
            assert!(matches!(results[..], [Val::I64(-1)]), "{results:?}");
        }
    }
    let engine = Engine::default();
    let module = Module::new(&engine, "(module (memory i64 0x1_0000_0000_0000))").unwrap();
    let mut store = Store::new(&engine).unwrap();
    let error = Linker::new(&engine).instantiate(&mut store, &module).unwrap_err();
    assert!(matches!(error, Error::Link(LinkError::Memory { .. })), "{error}");
}
