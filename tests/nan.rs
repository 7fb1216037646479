//! NaNs: with `canonicalize_nan`, the same bits in every tier, whatever the operands were.

mod common;

use common::per_strategy;
use updraft::{Config, Engine, Linker, Module, Store, Tuning, Val};

/// Operators that may give any NaN, by the type of their operands, their number, and the type of their result.
const OPERATORS: &[(&str, &str, usize, &str)] = &[
    ("f32.add", "f32", 2, "f32"),
    ("f32.sub", "f32", 2, "f32"),
    ("f32.mul", "f32", 2, "f32"),
    ("f32.div", "f32", 2, "f32"),
    ("f32.min", "f32", 2, "f32"),
    ("f32.max", "f32", 2, "f32"),
    ("f32.sqrt", "f32", 1, "f32"),
    ("f32.ceil", "f32", 1, "f32"),
    ("f32.floor", "f32", 1, "f32"),
    ("f32.trunc", "f32", 1, "f32"),
    ("f32.nearest", "f32", 1, "f32"),
    ("f64.promote_f32", "f32", 1, "f64"),
    ("f64.add", "f64", 2, "f64"),
    ("f64.sub", "f64", 2, "f64"),
    ("f64.mul", "f64", 2, "f64"),
    ("f64.div", "f64", 2, "f64"),
    ("f64.min", "f64", 2, "f64"),
    ("f64.max", "f64", 2, "f64"),
    ("f64.sqrt", "f64", 1, "f64"),
    ("f64.ceil", "f64", 1, "f64"),
    ("f64.floor", "f64", 1, "f64"),
    ("f64.trunc", "f64", 1, "f64"),
    ("f64.nearest", "f64", 1, "f64"),
    ("f32.demote_f64", "f64", 1, "f32"),
    ("f32x4.add", "f32x4", 2, "f32x4"),
    ("f32x4.mul", "f32x4", 2, "f32x4"),
    ("f32x4.min", "f32x4", 2, "f32x4"),
    ("f32x4.max", "f32x4", 2, "f32x4"),
    ("f32x4.sqrt", "f32x4", 1, "f32x4"),
    ("f32x4.ceil", "f32x4", 1, "f32x4"),
    ("f64x2.promote_low_f32x4", "f32x4", 1, "f64x2"),
    ("f64x2.add", "f64x2", 2, "f64x2"),
    ("f64x2.div", "f64x2", 2, "f64x2"),
    ("f64x2.min", "f64x2", 2, "f64x2"),
    ("f64x2.nearest", "f64x2", 1, "f64x2"),
];

/// Lanes of a type, and whether they have 64 bits.
fn lanes(ty: &str) -> (usize, bool) {
    match ty {
        "f32" => (1, false),
        "f64" => (1, true),
        "f32x4" => (4, false),
        _ => (2, true),
    }
}

/// A value with these bits in each lane.
fn value(ty: &str, small: u32, large: u64) -> Val {
    match ty {
        "f32" => Val::F32(small),
        "f64" => Val::F64(large),
        "f32x4" => Val::V128(u128::from(small) * 0x0000_0001_0000_0001_0000_0001_0000_0001),
        _ => Val::V128(u128::from(large) << 64 | u128::from(large)),
    }
}

fn nans_are_canonical(strategy: &str) {
    let wasm_type = |ty: &str| if ty.contains('x') { "v128" } else { ty }.to_owned();
    let functions: String = OPERATORS
        .iter()
        .map(|(op, from, count, to)| {
            let params = vec![wasm_type(from); *count].join(" ");
            let operands: String = (0..*count).map(|i| format!("(local.get {i})")).collect();
            let result = wasm_type(to);
            format!(
                "(func (export \"{op}\") (param {params}) (result {result}) ({op} {operands}))\n"
            )
        })
        .collect();
    let engine = Engine::new(Config {
        strategy: strategy.parse().unwrap(),
        tuning: Tuning::EAGER,
        canonicalize_nan: true,
        ..Config::default()
    });
    let module = Module::new(&engine, format!("(module {functions})")).unwrap();
    let mut store = Store::new(&engine).unwrap();
    let instance = Linker::new(&engine).instantiate(&mut store, &module).unwrap();
    // Quiet and signalling, of both signs, with payloads; and a number, which stays as it is.
    let nans = [
        (0x7fc0_0000, 0x7ff8_0000_0000_0000),
        (0xffc0_0001, 0xfff8_0000_0000_0001),
        (0x7f80_0001, 0x7ff0_0000_0000_0001),
        (0xffff_ffff, u64::MAX),
        (0x7fa1_2345, 0x7ff4_1234_5678_9abc),
    ];
    let four = (4f32.to_bits(), 4f64.to_bits());
    for _ in 0..40 {
        for (op, from, count, to) in OPERATORS {
            let func = instance.func(&mut store, op).unwrap();
            let mut call = |one: (u32, u64), other: (u32, u64)| {
                let args = [value(from, one.0, one.1), value(from, other.0, other.1)];
                let result = func.call(&mut store, &args[..*count]).unwrap();
                match result[..] {
                    [Val::F32(bits)] => u128::from(bits),
                    [Val::F64(bits)] => u128::from(bits),
                    [Val::V128(bits)] => bits,
                    ref other => panic!("{other:?}"),
                }
            };
            let canonical = |lanes: usize, wide: bool| match wide {
                true => u128::from(0x7ff8_0000_0000_0000_u64) * (1 | (lanes as u128 - 1) << 64),
                false => (0..lanes).fold(0, |all, lane| all | 0x7fc0_0000 << (lane * 32)),
            };
            let (lanes, wide) = lanes(to);
            for nan in nans {
                let expected = canonical(lanes, wide);
                assert_eq!(call(nan, four), expected, "{op} of {nan:x?} and a number");
                assert_eq!(call(nan, nan), expected, "{op} of {nan:x?} twice");
                if *count == 2 {
                    assert_eq!(call(four, nan), expected, "{op} of a number and {nan:x?}");
                }
            }
            let number = call(four, four);
            assert_ne!(number, canonical(lanes, wide), "{op} of numbers: {number:x}");
        }
    }
}

per_strategy!(nans_are_canonical);
