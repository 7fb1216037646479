//! Functions of unusual size and shape.
#![cfg(feature = "llvm")]

mod common;

use std::fmt::Write;

use common::{LEVELS, Vm};

#[test]
fn deep_nesting_many_locals_and_wide_tables() {
    let depth = 2000;
    let mut text = String::from("(module (func (export \"deep\") (param i32) (result i32)");
    for _ in 0..depth {
        text.push_str("(block ");
    }
    text.push_str("(br_table");
    for target in 0..depth {
        write!(text, " {target}").expect("it is memory");
    }
    text.push_str(" (local.get 0))");
    for level in 0..depth {
        write!(text, ") (local.set 0 (i32.add (local.get 0) (i32.const {})))", level % 3)
            .expect("it is memory");
    }
    text.push_str("(local.get 0)) (func (export \"locals\") (param i64) (result i64) (local");
    text.push_str(&" i64".repeat(5000));
    text.push_str(") (loop ");
    for local in (1..5000).step_by(7) {
        write!(text, "(local.set {local} (i64.add (local.get {}) (local.get 0)))", local - 1)
            .expect("it is memory");
    }
    text.push_str(
        "(br_if 0 (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))",
    );
    text.push_str("(local.get 1)))");
    for level in LEVELS {
        let vm = Vm::new(&text);
        vm.compile_all(level);
        let from = |first: u64| first + (first..depth).map(|level| level % 3).sum::<u64>();
        for first in [0, 1, 77, 1999] {
            assert_eq!(vm.call1("deep", &[first]), Ok(from(first)), "{level:?}");
        }
        vm.set_budget(1 << 20);
        assert_eq!(vm.call1("locals", &[9]), Ok(2), "{level:?}");
    }
}

#[test]
fn calls_of_many_arguments_and_results() {
    let kinds = ["i32", "i64", "f32", "f64"];
    let types: Vec<&str> = (0..40).map(|i| kinds[i * 7 % 4]).collect();
    let list = types.join(" ");
    let forward: String = (0..40).map(|i| format!("(local.get {i})")).collect();
    let text = format!(
        "(module (type $t (func (param {list}) (result {list}))) (table funcref (elem $id))
           (func $id (type $t) {forward})
           (func (export \"direct\") (type $t) {forward} (call $id))
           (func (export \"indirect\") (type $t) {forward} (call_indirect (type $t) (i32.const 0))))"
    );
    let arguments: Vec<u64> = (0..40).map(|i| i * 0x0101).collect();
    for level in LEVELS {
        let vm = Vm::new(&text);
        vm.compile_all(level);
        for name in ["direct", "indirect"] {
            assert_eq!(vm.call(name, &arguments).as_ref(), Ok(&arguments), "{name} {level:?}");
        }
        assert!(vm.recorded.borrow().is_empty());
    }
}
