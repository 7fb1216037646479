//! Vector operators, composed at random, give the same at both levels, on this machine and on any.
//!
//! NaNs are made canonical, so that every result is determined.
#![cfg(feature = "llvm")]

mod common;

use std::fmt::Write as _;

use common::{LEVELS, Vm};
use updraft_jit::{Cpu, Options};

#[rustfmt::skip]
const UNARY: &[&str] = &[
    "v128.not", "i8x16.abs", "i8x16.neg", "i8x16.popcnt", "i16x8.abs", "i16x8.neg", "i32x4.abs", "i32x4.neg", "i64x2.abs", "i64x2.neg",
    "i16x8.extadd_pairwise_i8x16_s", "i16x8.extadd_pairwise_i8x16_u", "i32x4.extadd_pairwise_i16x8_s", "i32x4.extadd_pairwise_i16x8_u",
    "i16x8.extend_low_i8x16_s", "i16x8.extend_high_i8x16_u", "i32x4.extend_high_i16x8_s", "i32x4.extend_low_i16x8_u", "i64x2.extend_low_i32x4_s", "i64x2.extend_high_i32x4_u",
    "f32x4.abs", "f32x4.neg", "f32x4.sqrt", "f32x4.ceil", "f32x4.floor", "f32x4.trunc", "f32x4.nearest",
    "f64x2.abs", "f64x2.neg", "f64x2.sqrt", "f64x2.ceil", "f64x2.floor", "f64x2.trunc", "f64x2.nearest",
    "i32x4.trunc_sat_f32x4_s", "i32x4.trunc_sat_f32x4_u", "f32x4.convert_i32x4_s", "f32x4.convert_i32x4_u", "i32x4.trunc_sat_f64x2_s_zero", "i32x4.trunc_sat_f64x2_u_zero",
    "f64x2.convert_low_i32x4_s", "f64x2.convert_low_i32x4_u", "f32x4.demote_f64x2_zero", "f64x2.promote_low_f32x4",
];
#[rustfmt::skip]
const BINARY: &[&str] = &[
    "v128.and", "v128.or", "v128.xor", "v128.andnot", "i8x16.swizzle", "i8x16.relaxed_swizzle",
    "i8x16.add", "i8x16.sub", "i8x16.add_sat_s", "i8x16.add_sat_u", "i8x16.sub_sat_s", "i8x16.sub_sat_u", "i8x16.min_s", "i8x16.min_u", "i8x16.max_s", "i8x16.max_u", "i8x16.avgr_u",
    "i16x8.add", "i16x8.sub", "i16x8.mul", "i16x8.add_sat_s", "i16x8.add_sat_u", "i16x8.sub_sat_s", "i16x8.sub_sat_u", "i16x8.min_s", "i16x8.min_u", "i16x8.max_s", "i16x8.max_u", "i16x8.avgr_u", "i16x8.q15mulr_sat_s",
    "i32x4.add", "i32x4.sub", "i32x4.mul", "i32x4.min_s", "i32x4.min_u", "i32x4.max_s", "i32x4.max_u", "i32x4.dot_i16x8_s", "i64x2.add", "i64x2.sub", "i64x2.mul",
    "i8x16.narrow_i16x8_s", "i8x16.narrow_i16x8_u", "i16x8.narrow_i32x4_s", "i16x8.narrow_i32x4_u",
    "i16x8.extmul_low_i8x16_s", "i16x8.extmul_high_i8x16_u", "i32x4.extmul_low_i16x8_u", "i32x4.extmul_high_i16x8_s", "i64x2.extmul_low_i32x4_s", "i64x2.extmul_high_i32x4_u",
    "i8x16.eq", "i8x16.lt_s", "i8x16.ge_u", "i16x8.ne", "i16x8.gt_u", "i16x8.le_s", "i32x4.eq", "i32x4.lt_u", "i32x4.ge_s", "i64x2.eq", "i64x2.ne", "i64x2.lt_s", "i64x2.ge_s",
    "f32x4.add", "f32x4.sub", "f32x4.mul", "f32x4.div", "f32x4.min", "f32x4.max", "f32x4.pmin", "f32x4.pmax", "f32x4.eq", "f32x4.ne", "f32x4.lt", "f32x4.ge",
    "f64x2.add", "f64x2.sub", "f64x2.mul", "f64x2.div", "f64x2.min", "f64x2.max", "f64x2.pmin", "f64x2.pmax", "f64x2.eq", "f64x2.ne", "f64x2.gt", "f64x2.le",
    "f32x4.relaxed_min", "f32x4.relaxed_max", "f64x2.relaxed_min", "f64x2.relaxed_max", "i16x8.relaxed_q15mulr_s", "i16x8.relaxed_dot_i8x16_i7x16_s",
];
#[rustfmt::skip]
const TERNARY: &[&str] = &[
    "v128.bitselect", "f32x4.relaxed_madd", "f32x4.relaxed_nmadd", "f64x2.relaxed_madd", "f64x2.relaxed_nmadd", "i8x16.relaxed_laneselect", "i64x2.relaxed_laneselect",
    "i32x4.relaxed_dot_i8x16_i7x16_add_s",
];
/// With a count.
#[rustfmt::skip]
const SHIFTS: &[&str] = &[
    "i8x16.shl", "i8x16.shr_s", "i8x16.shr_u", "i16x8.shl", "i16x8.shr_s", "i16x8.shr_u", "i32x4.shl", "i32x4.shr_s", "i32x4.shr_u", "i64x2.shl", "i64x2.shr_s", "i64x2.shr_u",
];
/// From a vector to an `i32`.
#[rustfmt::skip]
const TO_NUMBER: &[&str] = &[
    "v128.any_true", "i8x16.all_true", "i16x8.all_true", "i32x4.all_true", "i64x2.all_true", "i8x16.bitmask", "i16x8.bitmask", "i32x4.bitmask", "i64x2.bitmask",
    "i8x16.extract_lane_s 3", "i8x16.extract_lane_u 15", "i16x8.extract_lane_s 6", "i16x8.extract_lane_u 1", "i32x4.extract_lane 2",
];
/// From a vector and an `i32`.
const REPLACE: &[&str] = &["i8x16.replace_lane 7", "i16x8.replace_lane 2", "i32x4.replace_lane 3"];
const SPLATS: &[&str] = &["i8x16.splat", "i16x8.splat", "i32x4.splat"];

/// Lanes whose arithmetic is special in some type: extremes, powers of two, both zeros, infinities, NaNs of both kinds, numbers
/// that round or do not fit.
#[rustfmt::skip]
const LANES: &[u64] = &[
    0, u64::MAX, 1, 0x8000_0000_0000_0000, 0x7fff_ffff_ffff_ffff, 0x8000_0000_8000_0000, 0x7fff_ffff_7fff_ffff, 0x8000_7fff_8000_7fff,
    0x8080_8080_8080_8080, 0x7f7f_7f7f_7f7f_7f7f, 0x3f80_0000_bf80_0000, 0x7f80_0000_ff80_0000, 0x7fc0_0000_7fa0_0001, 0x3f00_0000_3fc0_0000, 0x4f00_0000_cf00_0000, 0x4b00_0001_0000_0001,
    0x3ff0_0000_0000_0000, 0xbff0_0000_0000_0000, 0x7ff0_0000_0000_0000, 0xfff0_0000_0000_0000, 0x7ff8_0000_0000_0000, 0x7ff4_0000_0000_0001, 0x41e0_0000_0000_0000, 0x3fe0_0000_0000_0000,
    0x4330_0000_0000_0001, 0x0706_0504_0302_0100, 0x1716_0f0e_8d0c_1b0a, 0x0123_4567_89ab_cdef, 0x4059_0000_42c8_0000,
];

/// What may give a NaN, and then a quiet one: the operators of `f32x4`, and those of `f64x2`.
#[rustfmt::skip]
const ARITHMETIC: &[&str] = &[
    "sqrt", "ceil", "floor", "trunc", "nearest", "add", "sub", "mul", "div", "min", "max", "relaxed_min", "relaxed_max", "relaxed_madd", "relaxed_nmadd",
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 20) as usize % limit
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// An expression of type `v128`.
    fn vector(&mut self, depth: u32) -> String {
        if depth == 0 || self.below(12) == 0 {
            return match self.below(6) {
                0 => format!("(v128.const i64x2 {} {})", self.of(LANES), self.of(LANES)),
                1 if depth > 0 => "(local.get 2)".to_owned(),
                local => format!("(local.get {})", local % 2),
            };
        }
        let depth = depth - 1;
        match self.below(20) {
            0..5 => format!("({} {})", self.of(UNARY), self.vector(depth)),
            5..14 => format!("({} {} {})", self.of(BINARY), self.vector(depth), self.vector(depth)),
            14 => {
                let operator = self.of(TERNARY);
                let [x, y, z] = [0; 3].map(|_| self.vector(depth));
                format!("({operator} {x} {y} {z})")
            }
            15 => format!("({} {} {})", self.of(SHIFTS), self.vector(depth), self.number(depth)),
            16 => format!("({} {})", self.of(SPLATS), self.number(depth)),
            17 => format!("({} {} {})", self.of(REPLACE), self.vector(depth), self.number(depth)),
            18 => {
                let mut lanes = String::new();
                for _ in 0..16 {
                    write!(lanes, " {}", self.below(32)).expect("a string takes it");
                }
                format!("(i8x16.shuffle{lanes} {} {})", self.vector(depth), self.vector(depth))
            }
            _ => format!("(local.tee 2 {})", self.vector(depth)),
        }
    }

    /// An expression of type `i32`.
    fn number(&mut self, depth: u32) -> String {
        match self.below(3) {
            0 => format!("(i32.const {})", self.of(LANES) as i32),
            _ => format!("({} {})", self.of(TO_NUMBER), self.vector(depth.min(2))),
        }
    }
}

/// A module of functions with these bodies: `f0`, `f1`...
fn module_of(bodies: &[String]) -> String {
    let mut text = "(module".to_owned();
    for (index, body) in bodies.iter().enumerate() {
        let ty = "(param v128 v128) (result v128) (local v128)";
        write!(text, "\n(func (export \"f{index}\") {ty} {body})").expect("a string takes it");
    }
    text.push(')');
    text
}

#[test]
fn all_machines_and_levels_agree() {
    let mut random = Random(0xbb67_ae85_84ca_a73b);
    for module in 0..12 {
        let functions: Vec<String> = (0..40).map(|_| random.vector(4)).collect();
        let text = module_of(&functions);
        let mut vms = Vec::new();
        for level in LEVELS {
            for cpu in [Cpu::Host, Cpu::Baseline] {
                let options = Options { canonicalize_nan: true, cpu, ..Options::default() };
                let vm = Vm::with(&text, options);
                vm.compile_all(level);
                vms.push((level, cpu, vm));
            }
        }
        for (index, body) in functions.iter().enumerate() {
            for _ in 0..12 {
                let arguments = [0; 4].map(|_| random.of(LANES));
                let name = format!("f{index}");
                let [expected, others @ ..] = &vms[..] else { unreachable!("there are four") };
                let expected = expected.2.call(&name, &arguments);
                for (level, cpu, vm) in others {
                    let result = vm.call(&name, &arguments);
                    assert_eq!(
                        result, expected,
                        "module {module}, {level:?} {cpu:?}, {arguments:#x?}: {body}"
                    );
                }
            }
        }
    }
}

/// Operands are parameters and constants. (Where an operand comes out as a constant of optimisation only, LLVM may take
/// `x - 0` for `x`, also if that is a signalling NaN.)
#[test]
fn arithmetic_gives_no_signalling_nan() {
    let mut random = Random(0x6a09_e667_f3bc_c909);
    let mut nans = 0;
    for _ in 0..4 {
        let functions: Vec<(bool, String)> = (0..40)
            .map(|_| {
                let (double, operator) = (random.below(2) == 0, random.of(ARITHMETIC));
                let operands = match ARITHMETIC.iter().position(|other| *other == operator) {
                    Some(0..5) => 1,
                    Some(5..13) => 2,
                    _ => 3,
                };
                let operands: Vec<String> = (0..operands).map(|_| random.vector(0)).collect();
                let shape = if double { "f64x2" } else { "f32x4" };
                (double, format!("({shape}.{operator} {})", operands.join(" ")))
            })
            .collect();
        let bodies: Vec<String> = functions.iter().map(|(_, body)| body.clone()).collect();
        for level in LEVELS {
            for cpu in [Cpu::Host, Cpu::Baseline] {
                let vm = Vm::with(&module_of(&bodies), Options { cpu, ..Options::default() });
                vm.compile_all(level);
                for (index, (double, body)) in functions.iter().enumerate() {
                    for _ in 0..12 {
                        let arguments = [0; 4].map(|_| random.of(LANES));
                        let result = vm.call(&format!("f{index}"), &arguments).expect("no trap");
                        for half in result {
                            let lanes = if *double {
                                vec![(f64::from_bits(half).is_nan(), half >> 51 & 1 == 1)]
                            } else {
                                [half as u32, (half >> 32) as u32]
                                    .map(|x| (f32::from_bits(x).is_nan(), x >> 22 & 1 == 1))
                                    .to_vec()
                            };
                            for (is_nan, is_quiet) in lanes {
                                nans += u32::from(is_nan);
                                assert!(
                                    !is_nan || is_quiet,
                                    "{level:?} {cpu:?} {arguments:#x?} {half:#x}: {body}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(nans > 1000, "{nans}");
}
