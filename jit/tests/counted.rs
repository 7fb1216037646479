//! Counted loops, of which full code has a version with plain accesses: they trap no later for that.
#![cfg(feature = "llvm")]

mod common;

use common::{Vm, Wasm, i32};
use updraft_jit::abi::TrapCode;
use updraft_jit::{Level, Options, Text};

fn is_vectorised(vm: &Vm, name: &str) -> bool {
    vm.text(name, Level::Full, Text::LlvmOptimised).contains("vector.body")
}

#[test]
fn exact_loops_are_vectorised() {
    let text = r#"(module (memory 1)
      (func (export "sum") (param $p i32) (param $n i32) (result i32) (local $i i32) (local $s i32)
        (loop
          (local.set $s (i32.add (local.get $s)
            (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get $i) (local.get $n))))
        (local.get $s))
      (func (export "test_at_the_top") (param $p i32) (param $n i32)
        (block $done (loop $next
          (br_if $done (i32.le_s (local.get $n) (i32.const 0)))
          (f32.store (local.get $p) (f32.mul (f32.load (local.get $p)) (f32.const 3)))
          (local.set $p (i32.add (local.get $p) (i32.const 4)))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br $next))))
      (func (export "upward_to_zero") (param $i i32)
        (loop
          (i32.store offset=0x8000 (local.get $i) (i32.add (local.get $i) (i32.const 7)))
          (br_if 0 (local.tee $i (i32.add (local.get $i) (i32.const 4))))))
      (func (export "search") (param $p i32) (result i32)
        (loop
          (local.set $p (i32.add (local.get $p) (i32.const 4)))
          (br_if 0 (i32.load (local.get $p))))
        (local.get $p)))"#;
    let vm = Vm::new(text);
    for name in ["sum", "test_at_the_top", "upward_to_zero"] {
        assert!(is_vectorised(&vm, name), "{name}");
    }
    let search = vm.text("search", Level::Full, Text::LlvmOptimised);
    assert!(search.contains("load volatile i32"), "it ends when it finds something:\n{search}");
}

/// How a loop counts.
#[derive(Clone, Copy, Debug)]
struct Shape {
    comparison: &'static str,
    step: i32,
    /// Bytes per unit of the counter.
    scale: i32,
    /// Whether the condition stands before the access.
    at_top: bool,
}

impl Shape {
    /// The loop's variable runs from `$from` while it compares with `$to`; each turn adds to what is in memory, and
    /// counts in a global. A turn too many leaves by another way, as some of the loops would never end.
    fn text(self) -> String {
        let Shape { comparison, step, scale, at_top } = self;
        let go_on = format!("({comparison} (local.get $i) (local.get $to))");
        let (before, after) = if at_top {
            (format!("(br_if $done (i32.eqz {go_on}))"), "(br $next)".to_owned())
        } else {
            (String::new(), format!("(br_if $next {go_on})"))
        };
        format!(
            r#"(module (memory 1) (global (mut i32) (i32.const 0))
              (func (export "run") (param $i i32) (param $to i32) (param $p i32) (local $turns i32)
                (block $done (loop $next
                  {before}
                  (global.set 0 (i32.add (global.get 0) (i32.const 1)))
                  (i32.store8 offset=3
                    (i32.add (local.get $p) (i32.mul (local.get $i) (i32.const {scale})))
                    (i32.add (local.get $i) (i32.load8_u offset=1
                      (i32.add (local.get $p) (i32.mul (local.get $i) (i32.const {scale}))))))
                  (local.set $i (i32.add (local.get $i) (i32.const {step})))
                  (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
                  (block (br_if 0 (i32.lt_u (local.get $turns) (i32.const 3000))) (br $done))
                  {after}))))"#
        )
    }
}

/// Runs the loop on fresh memory: the outcome, the turns, and what is in memory then.
fn outcome(vm: &Vm, fresh: &[u8], arguments: &[u64]) -> (Result<Vec<u64>, TrapCode>, u64, Vec<u8>) {
    vm.write_memory(0, fresh);
    let before = vm.global(0) as u32;
    let result = vm.call("run", arguments);
    let turns = (vm.global(0) as u32).wrapping_sub(before);
    (result, u64::from(turns), vm.memory::<65_536>(0).to_vec())
}

#[test]
fn both_versions_do_what_the_plain_translation_does() {
    const EDGES: [i32; 14] =
        [0, 1, 5, 16, 100, 1000, -1, -2, -100, i32::MAX, i32::MAX - 3, i32::MIN, i32::MIN + 2, 64];
    let comparisons = [
        "i32.ne", "i32.lt_u", "i32.lt_s", "i32.le_u", "i32.le_s", "i32.gt_u", "i32.gt_s",
        "i32.ge_u", "i32.ge_s",
    ];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut pick = |choices: &[i32]| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        choices[(random >> 33) as usize % choices.len()]
    };
    let fresh: Vec<u8> = (0..65_536_u32).map(|i| ((i * 7) >> 3) as u8).collect();
    let (mut trapped, mut returned) = (0, 0);
    for comparison in comparisons {
        for at_top in [false, true] {
            for _ in 0..3 {
                let (step, scale) =
                    (pick(&[1, 2, 3, 4, -1, -2, -3, -8]), pick(&[1, 4, -1, -4, 12]));
                let shape = Shape { comparison, step, scale, at_top };
                let vms = [Level::Quick, Level::Full].map(|level| {
                    let vm = Vm::new(&shape.text());
                    vm.compile_all(level);
                    vm
                });
                for _ in 0..60 {
                    let from = pick(&EDGES);
                    let any = pick(&EDGES);
                    let to = pick(&[from.wrapping_add(step.wrapping_mul(64)), any]);
                    // Where the first or the last access is at an end of memory, or close.
                    let near = pick(&EDGES[..3]);
                    let edge = pick(&[0, 8, 65_528, 65_536, 30_000, -4]).wrapping_add(near);
                    let base = edge.wrapping_sub(pick(&[from, to]).wrapping_mul(scale));
                    let arguments = [from, to, base].map(i32);
                    let [quick, full] = &vms;
                    let (expected, got) =
                        (outcome(quick, &fresh, &arguments), outcome(full, &fresh, &arguments));
                    assert!(
                        expected == got,
                        "{shape:?} {from} {to} {base}: {:?} after {} turns, \
                        instead of {:?} after {}",
                        got.0,
                        got.1,
                        expected.0,
                        expected.1
                    );
                    *if got.0.is_err() { &mut trapped } else { &mut returned } += 1;
                }
            }
        }
    }
    assert!(trapped > 500 && returned > 500, "{trapped} traps, {returned} returns");
}

#[test]
fn the_plain_version_runs_when_all_is_in_memory() {
    // The access of the last turn ends at the end of memory. With one byte more, the other version runs, and traps.
    let text = r#"(module (memory 1)
      (func (export "fill") (param $p i32) (param $end i32)
        (loop
          (i64.store (local.get $p) (i64.const -1))
          (br_if 0 (i32.ne (local.tee $p (i32.add (local.get $p) (i32.const 8)))
                           (local.get $end))))))"#;
    let vm = Vm::of(Wasm::new(text), Options::default());
    vm.compile_all(Level::Full);
    assert_eq!(vm.call("fill", &[0x8000, 0x1_0000]), Ok(vec![]));
    assert_eq!(vm.call("fill", &[0x8001, 0x1_0001]), Err(TrapCode::MemoryOutOfBounds));
    assert_eq!(vm.memory(0x8000), [0xff; 0x8000]);
}

#[test]
fn loops_over_vectors_have_a_plain_version_that_traps_no_later() {
    let text = r#"(module (memory 1)
      (func (export "scale") (param $p i32) (param $n i32) (param $by v128) (result v128)
        (local $sum v128)
        (loop
          (local.set $sum (f32x4.add (local.get $sum) (v128.load (local.get $p))))
          (v128.store (local.get $p) (f32x4.mul (v128.load (local.get $p)) (local.get $by)))
          (v128.store16_lane offset=4 7 (local.get $p)
            (v128.load8_lane offset=3 15 (local.get $p) (local.get $by)))
          (local.set $p (i32.add (local.get $p) (i32.const 16)))
          (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))"#;
    let vms = [Level::Quick, Level::Full].map(|level| {
        let vm = Vm::new(text);
        vm.compile_all(level);
        vm
    });
    let optimised = vms[1].text("scale", Level::Full, Text::LlvmOptimised);
    assert!(optimised.contains(" load <2 x i64>") || optimised.contains(" load <4 x float>"));
    assert!(optimised.contains(" load volatile <2 x i64>"), "the other version:\n{optimised}");
    let fresh: Vec<u8> = (0..65_536_u32).map(|i| (i % 61) as u8).collect();
    let by = 0x4000_0000_3f80_0000_3f00_0000_4040_0000_u128;
    for (from, turns) in
        [(0, 1), (0, 4096), (16, 4095), (65_520, 1), (1, 4096), (65_521, 2), (0, 0)]
    {
        let [quick, full] = [0, 1].map(|which| {
            let vm = &vms[which];
            vm.write_memory(0, &fresh);
            let result = vm.call("scale", &[from, turns, by as u64, (by >> 64) as u64]);
            (result, vm.memory::<65_536>(0).to_vec())
        });
        assert!(quick == full, "{from} {turns}: {:?} instead of {:?}", full.0, quick.0);
        // No turn at all is 2^32 of them.
        let last = from + 16 * u64::from((turns as u32).wrapping_sub(1));
        assert_eq!(full.0.is_err(), last > 65_520, "{from} {turns}");
    }
}
