//! Control flow and calls, at both levels.

#![cfg(feature = "llvm")]

mod common;

use common::{LEVELS, Vm, i32};
use updraft_jit::abi::TrapCode;

const PROGRAM: &str = r#"(module
  (type $pair (func (param i32 i32) (result i32 i32)))
  (func $fib (export "fib") (param i32) (result i32)
    (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                     (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func (export "factorial") (param i64) (result i64) (local i64)
    (local.set 1 (i64.const 1))
    (block
      (loop
        (br_if 1 (i64.eqz (local.get 0)))
        (local.set 1 (i64.mul (local.get 1) (local.get 0)))
        (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
        (br 0)))
    (local.get 1))
  (func (export "table") (param i32) (result i32)
    (block (block (block (block
      (br_table 0 1 1 2 3 (local.get 0)))
      (return (i32.const 10)))
      (return (i32.const 11)))
      (return (i32.const 12)))
    (i32.const 13))
  (func (export "table_value") (param i32) (result i32)
    (block $a (result i32)
      (i32.add (i32.const 1) (block $b (result i32)
        (br_table $a $b $a $b (i32.const 100) (local.get 0))))))
  (func (export "loop_params") (param i32) (result i32)
    (i32.const 0) (local.get 0)
    (loop (param i32 i32) (result i32)
      (local.set 0)
      (i32.add (local.get 0))
      (local.get 0) (i32.const 1) (i32.sub) (local.tee 0)
      (br_if 0 (local.get 0))
      (drop)))
  (func $swap (type $pair) (local.get 1) (local.get 0))
  (func (export "multi") (param i32 i32) (result i32 i32)
    (call $swap (i32.add (local.get 0) (i32.const 1)) (local.get 1)))
  (func (export "if_params") (param i32 i32) (result i32)
    (local.get 1)
    (if (param i32) (result i32) (local.get 0) (then (i32.const 5) (i32.add))))
  (func (export "dead") (param i32) (result i32)
    (block (result i32)
      (br 0 (local.get 0))
      (loop (br 0))
      (if (then (unreachable)) (else (nop)))
      (i32.add)))
  (func (export "unreachable") (unreachable))
  (func (export "select") (param i32 i64 i64) (result i64)
    (select (local.get 1) (local.get 2) (local.get 0)))
  (func (export "nested") (param i32) (result i32) (local i32 i32 i32)
    (loop $outer
      (local.set 2 (i32.const 0))
      (loop $inner
        (local.set 3 (i32.add (local.get 3) (i32.mul (local.get 1) (local.get 2))))
        (local.set 2 (i32.add (local.get 2) (i32.const 1)))
        (br_if $inner (i32.lt_u (local.get 2) (local.get 0))))
      (local.set 1 (i32.add (local.get 1) (i32.const 1)))
      (br_if $outer (i32.lt_u (local.get 1) (local.get 0))))
    (local.get 3))
  (func (export "forever") (loop (br 0)))
  (func $deep (export "deep") (param i32) (result i32)
    (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))
)"#;

#[test]
fn control_flow_gives_what_the_specification_says() {
    for level in LEVELS {
        let vm = Vm::new(PROGRAM);
        vm.compile_all(level);
        assert_eq!(vm.call1("fib", &[i32(20)]), Ok(6765), "{level:?}");
        assert_eq!(vm.call1("factorial", &[20]), Ok(2_432_902_008_176_640_000), "{level:?}");
        for (index, expected) in [(0, 10), (1, 11), (2, 11), (3, 12), (4, 13), (99, 13), (-1, 13)] {
            assert_eq!(vm.call1("table", &[i32(index)]), Ok(expected), "{level:?} {index}");
        }
        for (index, expected) in [(0, 100), (1, 101), (2, 100), (3, 101), (7, 101)] {
            assert_eq!(vm.call1("table_value", &[i32(index)]), Ok(expected), "{level:?} {index}");
        }
        assert_eq!(vm.call1("loop_params", &[10]), Ok(55), "{level:?}");
        assert_eq!(vm.call("multi", &[1, 5]), Ok(vec![5, 2]), "{level:?}");
        assert_eq!(vm.call1("if_params", &[1, 2]), Ok(7), "{level:?}");
        assert_eq!(vm.call1("if_params", &[0, 2]), Ok(2), "{level:?}");
        assert_eq!(vm.call1("dead", &[42]), Ok(42), "{level:?}");
        assert_eq!(vm.call("unreachable", &[]), Err(TrapCode::Unreachable), "{level:?}");
        assert_eq!(vm.call1("select", &[1, 2, 3]), Ok(2), "{level:?}");
        assert_eq!(vm.call1("select", &[0, 2, 3]), Ok(3), "{level:?}");
        assert_eq!(vm.call1("nested", &[10]), Ok(2025), "{level:?}");
    }
}

#[test]
fn endless_recursion_exhausts_the_stack() {
    for level in LEVELS {
        let vm = Vm::new(PROGRAM);
        vm.compile_all(level);
        assert_eq!(vm.call1("deep", &[0]), Err(TrapCode::StackOverflow), "{level:?}");
        assert_eq!(vm.call1("fib", &[10]), Ok(55), "and then all is well, {level:?}");
    }
}

const CALLS: &str = r#"(module
  (type $unary (func (param i32) (result i32)))
  (type $same (func (param i32) (result i32)))
  (type $none (func))
  (import "host" "mix" (func $mix (param i32 i64 f32 f64) (result i64)))
  (import "host" "three" (func $three (param i32) (result i32 f64 i64)))
  (table 8 funcref)
  (elem (i32.const 0) $double $square $nothing $double)
  (func $double (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func $square (type $same) (i32.mul (local.get 0) (local.get 0)))
  (func $nothing (type $none))
  (func (export "mix") (param i32 i64 f32 f64) (result i64)
    (call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "three") (param i32) (result i32 f64 i64) (call $three (local.get 0)))
  (func (export "indirect") (param i32 i32) (result i32)
    (i32.add (i32.const 1) (call_indirect (type $unary) (local.get 1) (local.get 0))))
  (func $callee (export "callee") (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
  (func (export "caller") (param i64) (result i64) (call $callee (local.get 0)))
)"#;

#[test]
fn imports_are_called_through_their_stubs() {
    for level in LEVELS {
        let mut vm = Vm::new(CALLS);
        vm.import(0, |_, slots| {
            let (x, y) = (f32::from_bits(slots[2] as u32), f64::from_bits(slots[3]));
            slots[0] = (slots[0] as u32 as u64) + slots[1] + (f64::from(x) * y) as u64;
        });
        vm.import(1, |vm, slots| {
            if slots[0] as u32 == 0 {
                vm.fail(TrapCode::OutOfMemory);
            }
            let x = slots[0] as u32;
            slots[..3].copy_from_slice(&[u64::from(x + 1), common::f64(f64::from(x) / 2.0), !0]);
        });
        vm.compile_all(level);
        let arguments = [i32(7), 1 << 40, common::f32(1.5), common::f64(4.0)];
        assert_eq!(vm.call1("mix", &arguments), Ok((1 << 40) + 13), "{level:?}");
        assert_eq!(vm.call("three", &[5]), Ok(vec![6, common::f64(2.5), !0]), "{level:?}");
        assert_eq!(vm.call("three", &[0]), Err(TrapCode::OutOfMemory), "{level:?}");
    }
}

#[test]
fn indirect_calls_check_what_they_call() {
    for level in LEVELS {
        let vm = Vm::new(CALLS);
        vm.compile_all(level);
        assert_eq!(vm.call1("indirect", &[0, 21]), Ok(43), "{level:?}");
        assert_eq!(vm.call1("indirect", &[1, 5]), Ok(26), "a type that is equal, {level:?}");
        assert_eq!(vm.call1("indirect", &[3, 1]), Ok(3), "{level:?}");
        assert!(vm.recorded.borrow().is_empty(), "all of it without the runtime, {level:?}");
        let mismatch = Err(TrapCode::IndirectCallTypeMismatch);
        assert_eq!(vm.call1("indirect", &[2, 1]), mismatch, "{level:?}");
        assert_eq!(vm.call1("indirect", &[5, 1]), Err(TrapCode::UninitializedElement), "{level:?}");
        assert_eq!(vm.call1("indirect", &[8, 1]), Err(TrapCode::UndefinedElement), "{level:?}");
        assert_eq!(vm.call1("indirect", &[i32(-1), 1]), Err(TrapCode::UndefinedElement));
    }
}

#[test]
fn a_call_finds_what_the_code_table_says_now() {
    for level in LEVELS {
        let vm = Vm::new(CALLS);
        let (caller, callee) = (vm.func("caller"), vm.func("callee"));
        vm.compile(&[caller], &[], level);
        let not_compiled = Err(TrapCode::NullReference);
        assert_eq!(vm.call1("caller", &[1]), not_compiled, "the trampoline enters the runtime");
        vm.compile(&[callee], &[], level);
        assert_eq!(vm.call1("caller", &[1]), Ok(2), "{level:?}");
    }
}

#[test]
fn tail_calls_take_no_stack() {
    let text = r#"(module
      (type $f (func (param i64 i64) (result i64)))
      (type $pair (func (param i32) (result i32 i64)))
      (table funcref (elem $odd))
      (func $even (export "even") (type $f)
        (if (result i64) (i64.eqz (local.get 0)) (then (local.get 1))
          (else (return_call $odd (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 2))))))
      (func $odd (type $f)
        (if (i64.eqz (local.get 0)) (then (return (i64.const -1))))
        (return_call $even (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 3))))
      (func (export "indirect") (type $f)
        (return_call_indirect (type $f) (local.get 0) (local.get 1) (i32.wrap_i64 (local.get 1))))
      (func $pair (export "pair") (type $pair)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 7) (i64.const 8))))
        (return_call $pair (i32.sub (local.get 0) (i32.const 1))))
      (func (export "other") (param i32) (result i32)
        (loop (br_if 0 (local.tee 0 (i32.shr_u (local.get 0) (i32.const 1)))))
        (return_call $two (i32.const 1) (i32.const 2)))
      (func $two (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
      (func $many (export "many") (param i32 i32 i64 f64 i32 i64 f32 i64 i32 f32 f32 f32 f32 f32 f32 f32) (result i64 f32)
        (if (i32.eqz (local.get 0)) (then (return (local.get 7) (local.get 15))))
        (return_call $few (i32.sub (local.get 0) (i32.const 1)) (local.get 7)))
      (func $few (param i32 i64) (result i64 f32)
        (return_call $many (local.get 0) (i32.const 1) (i64.const 2) (f64.const 3) (i32.const 4) (i64.const 5)
          (f32.const 6) (i64.add (local.get 1) (i64.const 1)) (i32.const 8) (f32.const 9) (f32.const 10) (f32.const 11)
          (f32.const 12) (f32.const 13) (f32.const 14) (f32.const 15)))
      (func (export "plain") (param i32) (result i64 f32)
        (call $many (local.get 0) (i32.const 1) (i64.const 2) (f64.const 3) (i32.const 4) (i64.const 5)
          (f32.const 6) (i64.const 7) (i32.const 8) (f32.const 9) (f32.const 10) (f32.const 11)
          (f32.const 12) (f32.const 13) (f32.const 14) (f32.const 15))))"#;
    for level in LEVELS {
        let vm = Vm::new(text);
        vm.compile_all(level);
        assert_eq!(vm.call1("even", &[10_000_000, 0]), Ok(25_000_000), "{level:?}");
        assert_eq!(vm.call1("indirect", &[9, 0]), Ok(23), "{level:?}");
        assert_eq!(vm.call1("indirect", &[9, 1]), Err(TrapCode::UndefinedElement), "{level:?}");
        assert_eq!(vm.call("pair", &[10_000_000]), Ok(vec![7, 8]), "{level:?}");
        assert_eq!(vm.call1("other", &[10_000_000]), Ok(3), "{level:?}");
        let fifteen = u64::from(15f32.to_bits());
        assert_eq!(vm.call("plain", &[3_000_000]), Ok(vec![3_000_007, fifteen]), "{level:?}");
    }
}
