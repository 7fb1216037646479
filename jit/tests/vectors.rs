//! Vectors where values go: calling conventions, frames, globals, loops; and what the specification's tests leave open.
#![cfg(feature = "llvm")]

mod common;

use common::{LEVELS, Vm, i32, v128};
use updraft_jit::abi::{TrapCode, frame::LINK_SLOTS};
use updraft_jit::{Cpu, Level, Options, Symbol, Text};

const A: u128 = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;
const B: u128 = 0xf0e0_d0c0_b0a0_9080_7060_5040_3020_1000;

const PROGRAM: &str = r#"(module
  (import "host" "swap" (func $host (param i32 v128 f32 v128) (result v128 i32 v128)))
  (import "a" "g" (global $imported (mut v128)))
  (type $binary (func (param v128 v128) (result v128)))
  (table 4 funcref)
  (elem (i32.const 0) $sub $import_like)
  (global $odd (mut i32) (i32.const 1))
  (global $g (mut v128) (v128.const i64x2 7 8))
  (func $sub (export "sub") (type $binary) (i64x2.sub (local.get 0) (local.get 1)))
  (func $import_like (type $binary) (v128.xor (local.get 0) (local.get 1)))
  (func $many (export "many")
    (param i32 v128 i64 v128 v128 v128 v128 v128 v128 v128 v128) (result v128 i32 v128)
    (i64x2.add (local.get 1) (local.get 10))
    (i32.wrap_i64 (i64.add (local.get 2) (i64.extend_i32_u (local.get 0))))
    (i64x2.sub (local.get 9) (local.get 3)))
  (func (export "pass") (param v128 v128) (result v128 i32 v128)
    (call $many (i32.const 5) (local.get 0) (i64.const 6) (local.get 1) (local.get 0) (local.get 0)
      (local.get 0) (local.get 0) (local.get 0) (local.get 1) (local.get 1)))
  (func (export "host") (param v128 v128) (result v128 i32 v128)
    (call $host (i32.const 11) (local.get 0) (f32.const 0.5) (local.get 1)))
  (func (export "indirect") (param i32 v128 v128) (result v128)
    (call_indirect (type $binary) (local.get 1) (local.get 2) (local.get 0)))
  (func (export "globals") (param v128) (result v128 v128)
    (global.set $imported (i64x2.add (global.get $imported) (local.get 0)))
    (global.set $g (i64x2.add (global.get $g) (global.get $imported)))
    (global.get $imported) (global.get $g))
  (func (export "blocks") (param i32 v128 v128) (result v128)
    (select (result v128) (local.get 1) (local.get 2) (local.get 0))
    (local.get 2)
    (if (param v128 v128) (result v128) (local.get 0)
      (then (i64x2.add))
      (else (block (param v128 v128) (result v128)
        (br_if 0 (i32.const 0)) (i64x2.sub)))))
)"#;

/// The lanes of 64 bits, each by itself.
fn lanes(x: u128, y: u128, op: fn(u64, u64) -> u64) -> [u64; 2] {
    let (x, y) = (v128(x), v128(y));
    [op(x[0], y[0]), op(x[1], y[1])]
}

#[test]
fn vectors_go_wherever_values_go() {
    let (a, b) = (v128(A), v128(B));
    let (add, sub) = (u64::wrapping_add as fn(_, _) -> _, u64::wrapping_sub as fn(_, _) -> _);
    for level in LEVELS {
        let mut vm = Vm::new(PROGRAM);
        vm.import(0, |_, slots| {
            assert_eq!((slots[0] as u32, slots[3] as u32), (11, 0.5_f32.to_bits()));
            let [x, y] = [[slots[1], slots[2]], [slots[4], slots[5]]];
            slots[..5].copy_from_slice(&[y[0], y[1], 77, x[0], x[1]]);
        });
        vm.compile_all(level);
        let both = [a, b].concat();
        assert_eq!(vm.call("sub", &both), Ok(lanes(A, B, sub).to_vec()), "{level:?}");
        let passed = [&lanes(A, B, add)[..], &[11], &[0, 0]].concat();
        assert_eq!(vm.call("pass", &both), Ok(passed), "{level:?}");
        let swapped = [&b[..], &[77], &a].concat();
        assert_eq!(vm.call("host", &both), Ok(swapped), "{level:?}");
        let indirect = |index| vm.call("indirect", &[&[i32(index)], &a[..], &b].concat());
        assert_eq!(indirect(0), Ok(lanes(A, B, sub).to_vec()), "{level:?}");
        assert_eq!(indirect(1), Ok(v128(A ^ B).to_vec()), "{level:?}");
        assert_eq!(indirect(2), Err(TrapCode::UninitializedElement), "{level:?}");
        assert_eq!(vm.call("globals", &a), Ok([a, [a[0] + 7, a[1] + 8]].concat()), "{level:?}");
        let blocks = |which| vm.call("blocks", &[&[i32(which)], &a[..], &b].concat());
        assert_eq!(blocks(1), Ok(lanes(A, B, add).to_vec()), "{level:?}");
        assert_eq!(blocks(0), Ok(vec![0, 0]), "{level:?}");
    }
}

#[test]
fn an_invoker_reads_vectors_from_any_slot() {
    for level in LEVELS {
        let vm = Vm::new(PROGRAM);
        vm.compile_all(level);
        let func = vm.func("sub");
        let ty = vm.wasm.env.canonical_types[vm.wasm.env.functions[func as usize] as usize];
        let invoker = vm.address(Symbol::Invoker(ty));
        // At an address that is no multiple of 16, whichever it is.
        let mut slots = [0; 6];
        for shift in 0..2 {
            slots[shift..shift + 2].copy_from_slice(&v128(B));
            slots[shift + 2..shift + 4].copy_from_slice(&v128(A));
            let code = vm.address(Symbol::Function(func)) as *mut u8;
            vm.enter(invoker, &mut slots[shift..], code).expect("no trap");
            assert_eq!(slots[shift..shift + 2], lanes(B, A, u64::wrapping_sub), "{level:?}");
        }
    }
}

const LOOPS: &str = r#"(module (memory 1)
  (func (export "nest") (param $n i32) (param $v v128) (result v128 i32)
    (local $x i32) (local $w v128) (local $i i32)
    (local.set $w (v128.const i64x2 3 5))
    (v128.const i64x2 100 200)
    (i32.const 9)
    (loop $outer (param v128 i32) (result v128)
      (local.set $x)
      (local.set $i (local.get $n))
      (local.get $w)
      (loop $inner (param v128) (result v128)
        (i64x2.add (local.get $v))
        (local.set $v (i64x2.sub (local.get $v) (local.get $w)))
        (local.set $i (i32.sub (local.get $i) (i32.const 1)))
        (br_if $inner (local.get $i)))
      (i64x2.add)
      (local.set $w (i64x2.add (local.get $w) (v128.const i64x2 1 2)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (i32.add (local.get $x) (i32.const 1))
      (br_if $outer (local.get $n))
      (drop))
    (i64x2.add (local.get $w))
    (local.get $x))
)"#;

#[test]
fn loops_with_vectors_in_their_frames_can_be_entered_at_every_turn() {
    let full = Vm::new(LOOPS);
    full.compile_all(Level::Full);
    for level in LEVELS {
        let vm = Vm::new(LOOPS);
        vm.compile_all(Level::Quick);
        let func = vm.func("nest");
        vm.compile(&[], &[(func, 0), (func, 1)], level);
        for n in 1..7 {
            let arguments = [&[n][..], &v128(A)].concat();
            let expected = full.call("nest", &arguments).expect("no trap");
            for index in 0..2 {
                for budget in [0, 10, 40, 100] {
                    vm.set_budget(budget);
                    let entry = vm.address(Symbol::Osr { func, index });
                    vm.replacement.borrow_mut().clear();
                    vm.replacement.borrow_mut().insert((func, index), entry);
                    let result = vm.call("nest", &arguments);
                    assert_eq!(result.as_ref(), Ok(&expected), "{level:?} {n} {index} {budget}");
                }
            }
        }
    }
}

#[test]
fn an_entry_reads_vectors_from_two_slots_each() {
    for level in LEVELS {
        let vm = Vm::new(LOOPS);
        let func = vm.func("nest");
        vm.compile(&[], &[(func, 1)], level);
        // One turn of each loop is left: $n, $v, $x, $w, $i, the link, two vectors.
        let mut frame = vec![1, 10, 20, 40, 1000, 2000, 1];
        frame.resize(7 + LINK_SLOTS as usize, 0xdead);
        frame.extend([100, 200, 3, 5]);
        for shift in 0..2 {
            let mut frame = [vec![0; shift], frame.clone()].concat();
            let entry = vm.address(Symbol::Osr { func, index: 1 });
            vm.enter(entry, &mut frame[shift..], std::ptr::null_mut()).expect("no trap");
            let results = &frame[shift..];
            let sum = [100 + 3 + 10 + 1001, 200 + 5 + 20 + 2002];
            assert_eq!((&results[..2], results[2] as u32), (&sum[..], 40), "{level:?}");
        }
    }
}

const ACCESSES: &str = r#"(module (memory 1)
  (func (export "load") (param i32) (result v128) (v128.load offset=1 (local.get 0)))
  (func (export "dropped") (param i32) (drop (v128.load32_splat (local.get 0))))
  (func (export "lane") (param i32 v128) (result v128)
    (v128.load16_lane 3 (local.get 0) (local.get 1)))
  (func (export "replaced_lane") (param i32) (result v128)
    (i32x4.replace_lane 1 (v128.load32_lane 1 (local.get 0) (v128.const i64x2 0 0)) (i32.const 4)))
  (func (export "store") (param i32 v128)
    (v128.store (i32.const 0) (local.get 1))
    (v128.store (local.get 0) (local.get 1))
    (v128.store64_lane 1 (i32.const 0) (local.get 1))))"#;

#[test]
fn accesses_of_vectors_trap_where_the_specification_says() {
    let outside = TrapCode::MemoryOutOfBounds;
    for level in LEVELS {
        let vm = Vm::new(ACCESSES);
        vm.compile_all(level);
        vm.write_memory(0xfff0, &A.to_le_bytes());
        assert_eq!(vm.call("load", &[0xffef]), Ok(v128(A).to_vec()), "{level:?}");
        assert_eq!(vm.call("load", &[0xfff0]), Err(outside), "{level:?}");
        assert_eq!(vm.call("load", &[i32(-1)]), Err(outside), "{level:?}");
        assert_eq!(vm.call("dropped", &[0xfffc]), Ok(vec![]), "{level:?}");
        assert_eq!(vm.call("dropped", &[0xfffd]), Err(outside), "{level:?}");
        let lane = vm.call("lane", &[&[0xfffe][..], &v128(B)].concat());
        let expected = u128::from(A.to_le_bytes()[14]) | u128::from(A.to_le_bytes()[15]) << 8;
        let expected = B & !(0xffff << 48) | expected << 48;
        assert_eq!(lane, Ok(v128(expected).to_vec()), "{level:?}");
        assert_eq!(vm.call("lane", &[0xffff, 0, 0]), Err(outside), "{level:?}");
        assert_eq!(vm.call("replaced_lane", &[0xfffd]), Err(outside), "{level:?}");
        assert_eq!(vm.call("store", &[&[0xfff1][..], &v128(B)].concat()), Err(outside));
        assert_eq!(vm.memory(0), B.to_le_bytes(), "the first store, and not the last, {level:?}");
        assert_eq!(vm.memory(0xfff0), A.to_le_bytes(), "a store that traps stores nothing");
    }
}

const NANS: &str = r#"(module
  (func (export "add") (param v128 v128) (result v128) (f32x4.add (local.get 0) (local.get 1)))
  (func (export "times_one") (param v128) (result v128)
    (f32x4.mul (local.get 0) (v128.const f32x4 1 1 1 1)))
  (func (export "demote") (param v128) (result v128)
    (f32x4.demote_f64x2_zero (f64x2.promote_low_f32x4 (local.get 0))))
  (func (export "min") (param v128 v128) (result v128) (f64x2.min (local.get 0) (local.get 1)))
  (func (export "pmin") (param v128 v128) (result v128) (f64x2.pmin (local.get 0) (local.get 1)))
  (func (export "fused") (param v128 v128 v128) (result v128)
    (f64x2.relaxed_nmadd (local.get 0) (local.get 1) (local.get 2))))"#;

fn of_f32(lanes: [u32; 4]) -> Vec<u64> {
    let [a, b, c, d] = lanes.map(u64::from);
    vec![a | b << 32, c | d << 32]
}

#[test]
fn nans_are_quiet_and_can_be_made_canonical() {
    const SIGNALLING: u32 = 0xffa1_2345;
    const QUIET: u32 = 0xffe1_2345;
    let one = 1_f32.to_bits();
    for (level, canonicalize_nan) in LEVELS.into_iter().flat_map(|l| [(l, false), (l, true)]) {
        let vm = Vm::with(NANS, Options { canonicalize_nan, ..Options::default() });
        vm.compile_all(level);
        let nan = if canonicalize_nan { 0x7fc0_0000 } else { QUIET };
        let x = of_f32([SIGNALLING, one, QUIET, 0]);
        let added = vm.call("add", &[x.clone(), of_f32([one; 4])].concat());
        assert_eq!(added, Ok(of_f32([nan, 2_f32.to_bits(), nan, one])), "{level:?}");
        assert_eq!(vm.call("times_one", &x), Ok(of_f32([nan, one, nan, 0])), "{level:?}");
        assert_eq!(vm.call("demote", &x), Ok(of_f32([nan, one, 0, 0])), "{level:?}");
        let signalling = 0x7ff4_0000_0000_0001;
        let min = vm.call("min", &[signalling, 5, 6, 7]).expect("no trap");
        let wanted = if canonicalize_nan { 0x7ff8_0000_0000_0000 } else { 0x7ffc_0000_0000_0001 };
        assert_eq!(min, [wanted, 5], "{level:?}");
        let moved = vm.call("pmin", &[signalling, 5, 6, 7]);
        assert_eq!(moved, Ok(vec![signalling, 5]), "it moves bits only, {level:?}");
    }
}

#[test]
fn a_product_and_a_sum_are_rounded_once_on_every_machine() {
    let x = 1.0 + 2_f64.powi(-27);
    let exact = (-x).mul_add(x, 1.0);
    assert_ne!(exact, 1.0 - x * x);
    for (level, cpu) in LEVELS.into_iter().flat_map(|l| [(l, Cpu::Host), (l, Cpu::Baseline)]) {
        let vm = Vm::with(NANS, Options { cpu, ..Options::default() });
        vm.compile_all(level);
        let arguments = [x, 2.0, x, 3.0, 1.0, 10.0].map(f64::to_bits);
        let expected = [exact, 4.0].map(f64::to_bits).to_vec();
        assert_eq!(vm.call("fused", &arguments), Ok(expected), "{level:?} {cpu:?}");
    }
}

#[test]
fn the_instructions_of_the_machine_are_used() {
    let text = r#"(module (memory 1)
      (func (export "f") (param v128 v128) (result v128)
        (i8x16.swizzle (i8x16.avgr_u (local.get 0) (local.get 1)) (local.get 1)))
      (func (export "narrow") (param v128 v128) (result v128)
        (i8x16.narrow_i16x8_s (local.get 0) (local.get 1)))
      (func (export "dot") (param v128 v128) (result v128)
        (i32x4.dot_i16x8_s (local.get 0) (local.get 1)))
      (func (export "saturate") (param v128 v128) (result v128)
        (i16x8.add_sat_s (local.get 0) (local.get 1))))"#;
    let vm = Vm::with(text, Options { cpu: Cpu::Baseline, ..Options::default() });
    for (name, instruction) in
        [("f", "pavgb"), ("narrow", "packsswb"), ("dot", "pmaddwd"), ("saturate", "paddsw")]
    {
        let assembly = vm.text(name, Level::Full, Text::Assembly);
        assert!(assembly.contains(instruction), "{name}:\n{assembly}");
    }
}

/// With more parameters than there are registers.
#[test]
fn vectors_travel_with_tail_calls() {
    let text = r#"(module
      (type $many (func (param i32 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128)
        (result v128 v128)))
      (table funcref (elem $down))
      (func $down (export "down") (type $many)
        (if (i32.eqz (local.get 0)) (then (return (local.get 1) (local.get 10))))
        (return_call $back (local.get 10) (local.get 9) (local.get 8) (local.get 7) (local.get 6)
          (local.get 5) (local.get 4) (local.get 3) (local.get 2) (local.get 1) (local.get 0)))
      (func $back
        (param v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 i32) (result v128 v128)
        (return_call_indirect (type $many) (i32.sub (local.get 10) (i32.const 1))
          (i64x2.add (local.get 0) (v128.const i64x2 1 2)) (local.get 1) (local.get 2)
          (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7) (local.get 8)
          (local.get 9) (i32.const 0)))
      (func (export "in_a_loop") (param i32 v128) (result v128 v128)
        (loop (br_if 0 (i32.and (local.get 0) (i32.const 0))))
        (return_call $down (local.get 0) (local.get 1) (local.get 1) (local.get 1) (local.get 1)
          (local.get 1) (local.get 1) (local.get 1) (local.get 1) (local.get 1) (local.get 1))))"#;
    for level in LEVELS {
        let vm = Vm::new(text);
        vm.compile_all(level);
        let arguments = [&[1_000_001][..], &[7; 20]].concat();
        let [low, high] = [7 + 500_001, 7 + 500_001 * 2];
        let expected = vec![low, high, low - 1, high - 2];
        assert_eq!(vm.call("down", &arguments), Ok(expected.clone()), "{level:?}");
        assert_eq!(vm.call("in_a_loop", &[1_000_001, 7, 7]), Ok(expected), "{level:?}");
    }
}

/// LLVM 22 makes wrong code of both, if it may use all of some machines' instructions (see `target` and `sign_bits`).
#[test]
fn faults_of_llvm_are_kept_away() {
    let text = r#"(module
      (func (export "late_zero") (param v128 v128) (result v128)
        (i8x16.shr_s (local.get 0) (i8x16.extract_lane_s 3
          (i16x8.min_s (v128.const i64x2 0x8000000080000000 0) (local.get 1)))))
      (func (export "mask_twice") (param v128 v128) (result v128)
        (v128.xor (i16x8.shr_s (local.get 0) (i8x16.bitmask (local.get 1)))
          (i16x8.splat (i8x16.bitmask (local.get 1)))))
      (func (export "root") (param v128 v128) (result v128)
        (i64x2.add (f32x4.sqrt (local.get 0)) (local.get 1))))"#;
    let (x, y) = ([0x7ff0_00ff_80ff_0000, 0xffff_ffff_0000_0000], [0xff00_0000_0000_0000, 0]);
    let arguments = [x, y].concat();
    for (level, cpu) in LEVELS.into_iter().flat_map(|l| [(l, Cpu::Host), (l, Cpu::Baseline)]) {
        let vm = Vm::with(text, Options { cpu, canonicalize_nan: true, ..Options::default() });
        vm.compile_all(level);
        let zero = vm.call("late_zero", &arguments);
        assert_eq!(zero, Ok(x.to_vec()), "{level:?} {cpu:?}");
        let mask = 0x0080_0080_0080_0080;
        let twice = vm.call("mask_twice", &arguments);
        assert_eq!(twice, Ok(vec![x[0] ^ mask, x[1] ^ mask]), "{level:?} {cpu:?}");
        let nan = 0x7fc0_0000_u64;
        let root = vm.call("root", &[0xffc0_0001_ffc0_0001, 0xbf80_0000_0000_0000, 0, 0]);
        assert_eq!(root, Ok(vec![nan << 32 | nan, nan << 32]), "{level:?} {cpu:?}");
    }
}
