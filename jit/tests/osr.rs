//! The budget of quick code, and entries into loops.
#![cfg(feature = "llvm")]

mod common;

use common::{LEVELS, Vm, i32};
use updraft_jit::abi::{FUNCTION_ENTRY, frame::LINK_SLOTS};
use updraft_jit::{CompileError, Level, Options, Symbol, Text};

/// Three loops in one another and one after them; operands lie on the stack around the inner ones, and locals of
/// all types change. `mix` folds everything that happens into one number, in order.
const PROGRAM: &str = r#"(module
  (memory 1)
  (func $mix (param i64 i64) (result i64)
    (i64.add (i64.mul (local.get 0) (i64.const 6364136223846793005)) (local.get 1)))
  (func (export "nest") (param $n i32) (param $h i64) (result i64)
    (local $i i32) (local $j i32) (local $k i32) (local $f f64) (local $g f32)
    (local.set $f (f64.const 0.5))
    (i64.const 77)
    (loop $outer (param i64) (result i64)
      (local.set $j (i32.const 0))
      (local.set $f (f64.add (local.get $f) (f64.const 1.25)))
      (i64.const 5)
      (f32.const 2.5)
      (loop $middle (param i64 f32) (result i64)
        (local.set $g)
        (local.set $k (i32.const 0))
        (loop $inner
          (local.set $h (call $mix (local.get $h) (i64.extend_i32_u
            (i32.add (i32.mul (local.get $i) (i32.const 100))
              (i32.add (i32.mul (local.get $j) (i32.const 10)) (local.get $k))))))
          (local.set $k (i32.add (local.get $k) (i32.const 1)))
          (br_if $inner (i32.lt_u (local.get $k) (local.get $n))))
        (local.set $h (call $mix (local.get $h) (i64.trunc_f64_s (local.get $f))))
        (i64.const 1) (i64.add)
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (if (i32.eq (local.get $j) (i32.const 7)) (then
          (local.set $h (call $mix (local.get $h) (i64.const 7777)))))
        (f32.add (local.get $g) (f32.const 1))
        (br_if $middle (i32.lt_u (local.get $j) (local.get $n)))
        (i64.trunc_f32_s) (i64.add))
      (i64.add)
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $outer (i32.lt_u (local.get $i) (local.get $n))))
    (local.set $h (call $mix (local.get $h)))
    (loop $last
      (local.set $h (call $mix (local.get $h) (i64.const 3)))
      (br_if $last (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $h))
  (func (export "branches") (param $n i32) (result i32 i64)
    (local $i i32) (local $s i64)
    (block $done
      (loop $top
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (if (i32.and (local.get $i) (i32.const 1))
          (then
            (block $b (loop $spin
              (local.set $s (i64.add (local.get $s) (i64.const 1)))
              (br_table $spin $top $b (i32.add (i32.const 1)
                (i32.rem_u (i32.wrap_i64 (local.get $s)) (i32.const 2))))))
            (local.set $s (i64.add (local.get $s) (i64.const 100))))
          (else
            (local.set $s (i64.mul (local.get $s) (i64.const 3)))))
        (br $top)))
    (local.get $i) (local.get $s))
  (func (export "operands") (param $n i32) (param $h i64) (result i64)
    (local $i i32) (local $j i32) (local $r i64)
    (i32.lt_u (local.get $n) (i32.const 4))
    (i64.const 3)
    (loop $outer (param i64) (result i64)
      (local.set $j (i32.const 0))
      (i32.eqz (i32.and (local.get $i) (i32.const 2)))
      (f64.convert_i32_u (local.get $i))
      (i64.extend_i32_u (local.get $i))
      (if (param i64) (result i64) (i32.and (local.get $i) (i32.const 1))
        (then
          (i64.const 11)
          (block $b (result i64)
            (loop $inner
              (local.set $h (call $mix (local.get $h) (i64.const 13)))
              (br_if $inner (i32.lt_u
                (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
            (drop (br_if $b (local.get $h) (i32.and (local.get $j) (i32.const 1))))
            (i64.const 17))
          (i64.add)
          (i64.sub))
        (else
          (i64.xor (i64.const 12345))))
      (local.set $r)
      (i64.trunc_f64_u) (i64.add (local.get $r)) (local.set $r)
      (i64.extend_i32_u) (i64.add (local.get $r)) (local.set $r)
      (local.set $h (call $mix (local.get $h) (local.get $r)))
      (i64.add (local.get $r))
      (br_if $outer (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.set $r)
    (i64.extend_i32_u) (i64.add (local.get $r)) (local.set $r)
    (call $mix (local.get $h) (local.get $r)))
  (func (export "unreachable_loops") (param i32) (result i32)
    (loop $a (br_if $a (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (block (br 0) (loop $never (br $never)))
    (loop $c (br_if $c (i32.lt_s (local.tee 0 (i32.add (local.get 0) (i32.const 2))) (i32.const 9))))
    (local.get 0))
)"#;

fn vm(level: Level) -> Box<Vm> {
    let vm = Vm::new(PROGRAM);
    vm.compile_all(level);
    vm
}

/// Leaves the quick code of `name` by way of loop `index`, in the n-th of the budget's calls.
fn replaced(vm: &Vm, name: &str, index: u32, arguments: &[u64]) -> Vec<u64> {
    let func = vm.func(name);
    let entry = vm.address(Symbol::Osr { func, index });
    vm.replacement.borrow_mut().clear();
    vm.replacement.borrow_mut().insert((func, index), entry);
    vm.budget_calls.borrow_mut().clear();
    let results = vm.call(name, arguments).expect("no trap");
    assert!(vm.budget_calls.borrow().contains(&(func, index)), "{name} was left at loop {index}");
    results
}

#[test]
fn every_loop_can_be_entered_at_every_turn() {
    let expected: Vec<_> =
        (1..9).map(|n| vm(Level::Full).call1("nest", &[n, 42]).expect("no trap")).collect();
    for level in LEVELS {
        let vm = vm(Level::Quick);
        let nest = vm.func("nest");
        for index in 0..4 {
            vm.compile(&[], &[(nest, index)], level);
        }
        for (n, expected) in (1..).zip(&expected) {
            for index in 0..4 {
                // The budget decides in which turn the loop is left.
                for budget in [0, 1, 20, 50, 100, 300] {
                    vm.set_budget(budget);
                    let func = vm.func("nest");
                    let entry = vm.address(Symbol::Osr { func, index });
                    vm.replacement.borrow_mut().clear();
                    vm.replacement.borrow_mut().insert((func, index), entry);
                    let result = vm.call1("nest", &[n, 42]);
                    assert_eq!(result, Ok(*expected), "{level:?} n={n} loop {index} {budget}");
                }
            }
        }
    }
}

#[test]
fn operands_below_blocks_around_a_loop_are_there_after_an_entry() {
    let full = vm(Level::Full);
    for level in LEVELS {
        let quick = vm(Level::Quick);
        let operands = quick.func("operands");
        quick.compile(&[], &[(operands, 0), (operands, 1)], level);
        for n in 2..9 {
            let expected = full.call1("operands", &[n, 42]).expect("no trap");
            for index in 0..2 {
                for budget in [0, 1, 9, 25, 60, 150] {
                    quick.set_budget(budget);
                    let entry = quick.address(Symbol::Osr { func: operands, index });
                    quick.replacement.borrow_mut().clear();
                    quick.replacement.borrow_mut().insert((operands, index), entry);
                    let result = quick.call1("operands", &[n, 42]);
                    assert_eq!(result, Ok(expected), "{level:?} n={n} loop {index} {budget}");
                }
            }
        }
    }
}

#[test]
fn entries_of_all_shapes_of_branches_agree() {
    for level in LEVELS {
        let quick = vm(Level::Quick);
        let full = vm(Level::Full);
        let branches = quick.func("branches");
        quick.compile(&[], &[(branches, 0), (branches, 1)], level);
        for n in 1..20 {
            let expected = full.call("branches", &[n]).expect("no trap");
            for index in 0..2 {
                for budget in [0, 7, 33] {
                    quick.set_budget(budget);
                    if budget == 0 {
                        assert_eq!(replaced(&quick, "branches", index, &[n]), expected);
                    }
                    assert_eq!(quick.call("branches", &[n]), Ok(expected.clone()));
                }
            }
        }
    }
}

#[test]
fn loops_are_counted_also_where_nothing_gets() {
    let vm = vm(Level::Quick);
    let func = vm.func("unreachable_loops");
    vm.compile(&[], &[(func, 0), (func, 2)], Level::Full);
    vm.set_budget(0);
    assert_eq!(replaced(&vm, "unreachable_loops", 2, &[3]), [10]);
    assert_eq!(
        *vm.budget_calls.borrow(),
        [(func, FUNCTION_ENTRY), (func, 0), (func, 0), (func, 0), (func, 2)]
    );
    let error = vm.try_compile(&[], &[(func, 1)], Level::Full).expect_err("nothing gets there");
    assert!(matches!(error, CompileError::NoSuchLoop { index: 1, .. }), "{error}");
    let error = vm.try_compile(&[], &[(func, 3)], Level::Full).expect_err("there are three");
    assert!(matches!(error, CompileError::NoSuchLoop { index: 3, .. }), "{error}");
}

#[test]
fn an_entry_reads_the_frame_as_the_contract_lays_it_out() {
    for level in LEVELS {
        let vm = vm(level);
        let func = vm.func("branches");
        vm.compile(&[], &[(func, 0)], level);
        // The parameter, two locals, the link.
        let mut frame = vec![i32(6), i32(4), 1000];
        frame.resize(3 + LINK_SLOTS as usize, 0xdead);
        let entry = vm.address(Symbol::Osr { func, index: 0 });
        vm.enter(entry, &mut frame, std::ptr::null_mut()).expect("no trap");
        assert_eq!((frame[0] as u32, frame[1]), (6, (1000 + 1 + 100) * 3), "{level:?}");
    }
}

#[test]
fn quick_code_pays_for_what_it_does() {
    let vm = vm(Level::Quick);
    let spent = |n: u64| {
        vm.set_budget(1 << 40);
        vm.call("branches", &[n]).expect("no trap");
        vm.quantum.get() - vm.budget()
    };
    let (once, more) = (spent(10), spent(1010));
    let turn = (more - once) / 1000;
    assert!((15..40).contains(&turn), "a turn has 25 operators or so, and cost {turn}");
    assert!(vm.budget_calls.borrow().is_empty());
}

#[test]
fn full_code_does_not_count() {
    let vm = vm(Level::Full);
    vm.set_budget(0);
    vm.call("nest", &[3, 1]).expect("no trap");
    assert!(vm.budget_calls.borrow().is_empty());
    assert!(!vm.text("nest", Level::Full, Text::Llvm).contains("updraft_budget"));
}

/// What comes of an entry into the inner loop must vectorise as the function does: only reducible loops do.
#[test]
fn an_entry_into_an_inner_loop_leaves_it_reducible() {
    let text = r#"(module (memory 1)
      (func (export "sums") (param $rows i32) (param $n i32) (result i32)
        (local $i i32) (local $sum i32)
        (loop $outer
          (local.set $i (i32.const 0))
          (loop $inner
            (local.set $sum (i32.add (local.get $sum) (i32.load (i32.shl (local.get $i) (i32.const 2)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $inner (i32.lt_u (local.get $i) (local.get $n))))
          (br_if $outer (local.tee $rows (i32.sub (local.get $rows) (i32.const 1)))))
        (local.get $sum)))"#;
    let vm = Vm::with(text, Options { exact_traps: false, ..Options::default() });
    let entry = vm.entry_text("sums", 1, Level::Full, Text::LlvmOptimised);
    let vectors = entry.matches("vector.body:").count();
    assert!(vectors >= 2, "what is left of the loop, and its copy:\n{entry}");
}
