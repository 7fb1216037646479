//! What making NaNs quiet costs: nothing, where arithmetic does it.
#![cfg(feature = "llvm")]

mod common;

use common::Vm;
use updraft_jit::{Cpu, Level, Options, Text};

const PROGRAM: &str = r#"(module (memory 1)
  (func (export "arithmetic") (param $x f64) (param $y f64) (result f64)
    (f64.min
      (f64.div (f64.add (local.get $x) (local.get $y)) (f64.sub (local.get $x) (f64.const 3)))
      (f64.sqrt (f64.mul (local.get $y) (f64.const 2)))))
  (func (export "sum") (param $i i32) (result f32) (local $sum f32)
    (loop $next
      (local.set $sum (f32.add (local.get $sum) (f32.load (local.get $i))))
      (br_if $next (local.tee $i (i32.sub (local.get $i) (i32.const 4)))))
    (local.get $sum))
  (func (export "demoted") (param $x f64) (result f32)
    (f32.demote_f64 (f64.mul (local.get $x) (local.get $x))))
  (func (export "dropped") (param $x f64) (result f64) (local $one f64)
    (local.set $one (f64.const 1))
    (f64.mul (local.get $x) (local.get $one)))
  (func (export "two_lanes") (local $i i32)
    (loop $next
      (f64.store (i32.add (i32.const 1024) (i32.shl (local.get $i) (i32.const 1)))
        (f64.promote_f32 (f32.neg (f32.mul (f32.load (local.get $i)) (f32.const 1)))))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 256))))))"#;

#[test]
fn only_where_llvm_drops_an_operator_is_there_another() {
    let vm = Vm::with(PROGRAM, Options { cpu: Cpu::Baseline, ..Options::default() });
    for (name, calls) in [("arithmetic", 0), ("sum", 0), ("demoted", 0), ("dropped", 1)] {
        let text = vm.text(name, Level::Full, Text::LlvmOptimised);
        assert_eq!(
            text.matches("call double @llvm.canonicalize").count(),
            calls,
            "{name}:\n{text}"
        );
        assert_eq!(text.matches("call float @llvm.canonicalize").count(), 0, "{name}:\n{text}");
    }
}

/// LLVM 22 has no code for two lanes of 32 bits.
#[test]
fn narrow_vectors_become_quiet() {
    let vm =
        Vm::with(PROGRAM, Options { cpu: Cpu::Baseline, exact_traps: false, ..Options::default() });
    let text = vm.text("two_lanes", Level::Full, Text::LlvmOptimised);
    assert!(text.contains("call <4 x float> @llvm.canonicalize"), "{text}");
    vm.compile_all(Level::Full);
    vm.write_memory(0, &0xffa1_2345_u32.to_le_bytes().repeat(64));
    assert_eq!(vm.call("two_lanes", &[]), Ok(vec![]));
    for i in 0..64 {
        let bits = u64::from_le_bytes(vm.memory(1024 + i * 8));
        assert_eq!(bits, 0x7ffc_2468_a000_0000, "{i}");
    }
}
