//! NaNs: arithmetic makes signalling ones quiet, whatever optimisation finds out about the other operand; with
//! `canonicalize_nan`, it gives the same bits in every tier.

mod common;

use common::per_strategy;
use std::collections::BTreeSet;
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

/// Bodies that make a signalling NaN (parameter `$x`, of type `T`) quiet. The other operand, or the whole, is one that optimisation
/// finds out about: then LLVM takes `x * 1` and its like for `x`. `$one`, `$less` and `$zero` are locals that hold 1, -1 and 0; `$c` is
/// a parameter, 1.
const FOLDED: &[(&str, &str)] = &[
    ("times a local", "(T.mul (local.get $x) (local.get $one))"),
    ("a local times", "(T.mul (local.get $one) (local.get $x))"),
    ("times minus one", "(T.mul (local.get $x) (local.get $less))"),
    ("divided by a local", "(T.div (local.get $x) (local.get $one))"),
    ("divided by minus one", "(T.div (local.get $x) (local.get $less))"),
    ("minus zero", "(T.sub (local.get $x) (local.get $zero))"),
    ("plus minus zero", "(T.add (local.get $x) (T.neg (local.get $zero)))"),
    ("from minus zero", "(T.sub (T.neg (local.get $zero)) (local.get $x))"),
    ("magnitude plus zero", "(T.add (T.abs (local.get $x)) (local.get $zero))"),
    ("converted", "(T.mul (local.get $x) (T.convert_i32_s (local.get $one_i32)))"),
    ("from its bits", "(T.mul (local.get $x) (T.reinterpret_I (local.get $one_bits)))"),
    (
        "a choice",
        "(T.mul (local.get $x) (select (local.get $one) (local.get $less) (T.gt (local.get $c) (local.get $zero))))",
    ),
    (
        "compared",
        "(if (result T) (T.eq (local.get $c) (T.const 1)) (then (T.mul (local.get $x) (local.get $c))) (else (T.const 7)))",
    ),
    ("a block's parameter", "(T.const 1) (block (param T) (result T) (T.mul (local.get $x)))"),
    (
        "of either branch",
        "(T.mul (local.get $x) (if (result T) (T.gt (local.get $c) (local.get $zero)) (then (T.const 1)) (else (T.const -1))))",
    ),
    (
        "a counter",
        "(loop $next
           (local.set $zero (T.add (local.get $zero) (T.const 1)))
           (local.set $sum (T.mul (local.get $x) (local.get $zero)))
           (br_if $next (T.lt (local.get $zero) (T.const 1))))
         (local.get $sum)",
    ),
    ("narrowed", "(F (U.neg (P (local.get $x))))"),
    ("narrowed magnitude", "(F (U.abs (P (local.get $x))))"),
    ("narrowed local", "(local.set $wide (P (local.get $x))) (F (local.get $wide))"),
    (
        "narrowed choice",
        "(F (select (P (local.get $x)) (P (local.get $one)) (T.gt (local.get $c) (local.get $zero))))",
    ),
    ("narrowed sign", "(F (U.copysign (P (local.get $x)) (P (local.get $c))))"),
];

/// The same for vectors; `S` is a lane.
const FOLDED_LANES: &[(&str, &str)] = &[
    ("times lanes", "(V.mul (local.get $v) (V.splat (local.get $one)))"),
    ("divided by lanes", "(V.div (local.get $v) (V.splat (local.get $less)))"),
    ("minus zero lanes", "(V.sub (local.get $v) (local.get $zeros))"),
    ("from minus zero lanes", "(V.sub (V.neg (local.get $zeros)) (local.get $v))"),
    (
        "fused lanes",
        "(V.relaxed_madd (local.get $v) (V.splat (local.get $one)) (V.neg (local.get $zeros)))",
    ),
];

/// Loops that LLVM compiles to vectors, over 64 lanes at 0; `$one` is a local.
const LOOPS: &[(&str, u32, &str)] = &[
    ("f32", 4, "(f32.store (local.get $i) (f32.mul (f32.load (local.get $i)) (local.get $one)))"),
    (
        "f64",
        8,
        "(f64.store (local.get $i) (f64.mul (f64.load (local.get $i)) (f64.promote_f32 (local.get $one))))",
    ),
    ("literal", 4, "(f32.store (local.get $i) (f32.mul (f32.load (local.get $i)) (f32.const 1)))"),
    (
        "smallest",
        4,
        "(f32.store (local.get $i) (f32.min (f32.load (local.get $i)) (local.get $one)))",
    ),
    (
        "narrow and wide",
        4,
        "(f32.store (local.get $i) (f32.neg (f32.mul (f32.load (local.get $i)) (local.get $one))))
         (f64.store (i32.add (i32.const 1024) (i32.shl (local.get $i) (i32.const 1)))
           (f64.promote_f32 (f32.min (f32.load (local.get $i)) (f32.const 1))))",
    ),
];

fn folded_functions() -> String {
    let mut functions = String::new();
    for (name, body) in FOLDED {
        for (ty, bits, wide) in [("f32", "i32", "f64"), ("f64", "i64", "f64")] {
            if ty == "f64" && body.contains("(P ") {
                continue;
            }
            let body = body
                .replace("(T.", &format!("({ty}."))
                .replace("(U.", &format!("({wide}."))
                .replace("result T", &format!("result {ty}"))
                .replace("param T", &format!("param {ty}"))
                .replace("reinterpret_I", &format!("reinterpret_{bits}"))
                .replace("(P ", "(f64.promote_f32 ")
                .replace("(F ", "(f32.demote_f64 ");
            let one = if ty == "f32" { 0x3f80_0000 } else { 0x3ff0_0000_0000_0000_u64 };
            functions += &format!(
                "(func (export \"{name} {ty}\") (param $x {ty}) (param $c {ty}) (result {ty})
                   (local $one {ty}) (local $less {ty}) (local $zero {ty}) (local $sum {ty}) (local $wide {wide})
                   (local $one_i32 i32) (local $one_bits {bits})
                   (local.set $one ({ty}.const 1)) (local.set $less ({ty}.const -1))
                   (local.set $one_i32 (i32.const 1)) (local.set $one_bits ({bits}.const {one}))
                   {body})\n"
            );
        }
    }
    for (name, body) in FOLDED_LANES {
        for (ty, lane) in [("f32x4", "f32"), ("f64x2", "f64")] {
            let body = body.replace("(V.", &format!("({ty}."));
            functions += &format!(
                "(func (export \"{name} {ty}\") (param $v v128) (param $c v128) (result v128)
                   (local $one {lane}) (local $less {lane}) (local $zeros v128)
                   (local.set $one ({lane}.const 1)) (local.set $less ({lane}.const -1))
                   {body})\n"
            );
        }
    }
    for (name, size, body) in LOOPS {
        functions += &format!(
            "(func (export \"loop {name}\") (local $i i32) (local $one f32)
               (local.set $one (f32.const 1))
               (loop $next
                 {body}
                 (local.set $i (i32.add (local.get $i) (i32.const {size})))
                 (br_if $next (i32.lt_u (local.get $i) (i32.const {})))))\n",
            64 * size
        );
    }
    functions
}

fn is_quiet(bits: u64, wide: bool) -> bool {
    let quiet = if wide { 0x7ff8 << 48 } else { 0x7fc0_0000 };
    bits & quiet == quiet
}

fn signalling_nans_become_quiet(strategy: &str) {
    let module = format!("(module (memory (export \"memory\") 1) {})", folded_functions());
    let engine = Engine::new(Config {
        strategy: strategy.parse().unwrap(),
        tuning: Tuning::EAGER,
        ..Config::default()
    });
    let module = Module::new(&engine, module).unwrap();
    let mut store = Store::new(&engine).unwrap();
    let instance = Linker::new(&engine).instantiate(&mut store, &module).unwrap();
    let nan = (0x7fa1_2345_u32, 0x7ff4_1234_5678_9abc_u64);
    let one = (1f32.to_bits(), 1f64.to_bits());
    let types = ["f32", "f64", "f32x4", "f64x2"];
    let mut signalling = BTreeSet::new();
    for _ in 0..20 {
        for (name, _) in FOLDED.iter().chain(FOLDED_LANES) {
            for ty in types {
                let Some(func) = instance.func(&mut store, &format!("{name} {ty}")) else {
                    continue;
                };
                let args = [value(ty, nan.0, nan.1), value(ty, one.0, one.1)];
                let result = func.call(&mut store, &args).unwrap();
                let quiet = match result[..] {
                    [Val::F32(bits)] => is_quiet(bits.into(), false),
                    [Val::F64(bits)] => is_quiet(bits, true),
                    [Val::V128(bits)] if ty == "f64x2" => {
                        (0..2).all(|lane| is_quiet((bits >> (lane * 64)) as u64, true))
                    }
                    [Val::V128(bits)] => {
                        (0..4).all(|lane| is_quiet((bits >> (lane * 32)) as u64, false))
                    }
                    ref other => panic!("{other:?}"),
                };
                if !quiet {
                    signalling.insert(format!("{name} {ty}"));
                }
            }
        }
        let memory = instance.memory(&mut store, "memory").unwrap();
        for (name, size, _) in LOOPS {
            let wide = *size == 8;
            let nan =
                if wide { nan.1.to_le_bytes().to_vec() } else { nan.0.to_le_bytes().to_vec() };
            memory.write(0, &nan.repeat(64)).unwrap();
            let func = instance.func(&mut store, &format!("loop {name}")).unwrap();
            func.call(&mut store, &[]).unwrap();
            let mut found = vec![0; 64 * *size as usize];
            memory.read(0, &mut found).unwrap();
            for lane in found.chunks_exact(*size as usize) {
                let bits = lane.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
                if !is_quiet(bits, wide) {
                    signalling.insert(format!("loop {name}"));
                }
            }
        }
    }
    assert!(signalling.is_empty(), "signalling NaNs come out of {signalling:?}");
}

per_strategy!(signalling_nans_become_quiet);
