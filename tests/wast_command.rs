//! `updraft wast`: what it prints, and its exit codes.

mod common;

use common::{Updraft, per_strategy, temporary};

fn wast(script: &str, flags: &[&str]) -> common::Ended {
    let file = temporary(".wast", script);
    Updraft::new(["wast"]).args(flags).arg(&file).end()
}

/// Every kind of directive.
const ALL: &str = r#"
(module $A
  (memory (export "memory") 1 1 shared)
  (global (export "seven") i64 (i64.const 7))
  (table $t 2 funcref)
  (func (export "id") (param i32) (result i32) (local.get 0))
  (func (export "nan") (result f32) (f32.div (f32.const 0) (f32.const 0)))
  (func (export "same") (param externref) (result externref) (local.get 0))
  (func (export "null") (result funcref) (ref.null func))
  (func $self (export "self") (result funcref) (ref.func $self))
  (func (export "two") (result i32 i64) (i32.const 1) (i64.const 2))
  (func (export "crash") (unreachable))
  (func $deep (export "deep") (call $deep)))
(register "a" $A)
(invoke "id" (i32.const 1))
(assert_return (invoke $A "id" (i32.const 5)) (i32.const 5))
(assert_return (invoke "id" (i32.const 5)) (either (i32.const 4) (i32.const 5)))
(assert_return (get "seven") (i64.const 7))
(assert_return (invoke "nan") (f32.const nan:canonical))
(assert_return (invoke "same" (ref.extern 3)) (ref.extern 3))
(assert_return (invoke "same" (ref.null extern)) (ref.null extern))
(assert_return (invoke "null") (ref.null func))
(assert_return (invoke "self") (ref.func))
(assert_return (invoke "two") (i32.const 1) (i64.const 2))
(assert_trap (invoke "crash") "unreachable")
(assert_exhaustion (invoke "deep") "call stack exhausted")
(assert_trap (module (func $f (unreachable)) (start $f)) "unreachable")
(assert_invalid (module (func (result i32))) "type mismatch")
(assert_malformed (module quote "(func (i32.const 99999999999))") "constant out of range")
(assert_malformed (module binary "\00asm\02\00\00\00") "unknown binary version")
(assert_unlinkable (module (import "a" "no" (func))) "unknown import")
(assert_unlinkable (module (import "a" "id" (func))) "incompatible import type")
(module definition $D (import "a" "id" (func $id (param i32) (result i32)))
  (func (export "f") (result i32) (call $id (i32.const 9))))
(module instance $I1 $D)
(module instance $I2 $D)
(assert_return (invoke $I1 "f") (i32.const 9))
(assert_return (invoke $I2 "f") (i32.const 9))
(thread $T1 (shared (module $A))
  (register "shared" $A)
  (module (memory (import "shared" "memory") 1 1 shared)
    (func (export "run")
      (i32.store (i32.const 0) (i32.const 42))
      (i32.atomic.store (i32.const 4) (i32.const 1))
      (drop (memory.atomic.notify (i32.const 4) (i32.const 1)))))
  (invoke "run"))
(module (memory (import "a" "memory") 1 1 shared)
  (func (export "wait") (result i32)
    (drop (memory.atomic.wait32 (i32.const 4) (i32.const 0) (i64.const -1)))
    (i32.load (i32.const 0))))
(assert_return (invoke "wait") (i32.const 42))
(wait $T1)
"#;

fn every_directive_passes(strategy: &str) {
    let output = wast(ALL, &["--tier", strategy]).quiet_success();
    // 29 directives of the main thread, and 3 of the other.
    assert_eq!(output, "32 passed, 0 failed, 0 skipped\n");
}

per_strategy!(every_directive_passes);

#[test]
fn failures_have_places() {
    let script = r#"(module
  (func (export "one") (result i32) (i32.const 1))
  (func (export "crash") (unreachable)))
(assert_return (invoke "one") (i32.const 2))
  (assert_trap (invoke "one") "unreachable")
(assert_trap (invoke "crash") "integer overflow")
(assert_invalid (module) "type mismatch")
(assert_malformed (module quote "(func)") "unexpected token")
(assert_return (invoke "one") (i32.const 1))
(assert_return (invoke "missing"))
(thread $T (assert_return (invoke "one") (i32.const 1)))
(wait $T)
(wait $U)
"#;
    let ended = wast(script, &[]).expect(1);
    let lines: Vec<&str> = ended.text().lines().collect();
    assert_eq!(lines.last(), Some(&"4 passed, 8 failed, 0 skipped"), "{ended}");
    for (place, what) in [
        (":4:2: failed: ", "[I32(1)], instead of [Core(I32(2))]"),
        (":5:4: failed: ", "[I32(1)], instead of the trap: unreachable"),
        (":6:2: failed: ", "the trap is: unreachable, instead of: integer overflow"),
        (":7:2: failed: ", "the module was accepted: type mismatch"),
        (":8:2: failed: ", "the module was accepted: unexpected token"),
        (":10:2: failed: ", "there is no function \"missing\""),
        (":11:13: failed: ", "there is no module"),
        (":13:2: failed: ", "no thread $U"),
    ] {
        let found = lines.iter().any(|line| line.contains(place) && line.ends_with(what));
        assert!(found, "{place} {what}\n{ended}");
    }
}

#[test]
fn what_is_not_supported_is_skipped_with_all_that_needs_it() {
    let script = r#"
(module $G (type (struct)) (func (export "f")))
(register "g" $G)
(assert_return (invoke $G "f"))
(module (import "g" "f" (func)))
(assert_return (invoke "f"))
(module (func (export "f")))
(assert_return (invoke "f"))
"#;
    let output = wast(script, &["--skipped"]).quiet_success();
    assert!(output.ends_with("2 passed, 0 failed, 5 skipped\n"), "{output}");
    assert!(output.contains(":2:2: skipped: not supported at byte offset"), "{output}");
    assert!(output.contains(":5:2: skipped: it imports from \"g\", which was skipped"), "{output}");
}

#[test]
fn files_that_are_no_scripts_are_errors() {
    wast("(module (func)", &[]).expect(1).says(&[".wast:1:15: ", "expected"]);
    wast("(assert_nothing)", &[]).expect(1).says(&[".wast:1:2: "]);
    wast("(module)\n  (assert_nothing)", &[]).expect(1).says(&[".wast:2:4: "]);
    let binary = temporary(".wast", [0, 0x61, 0xff, 0xfe]);
    Updraft::new(["wast"]).arg(&binary).end().expect(1).says(&["not a text"]);
    let missing = Updraft::new(["wast", "/nonexistent/file.wast"]).end().expect(1);
    missing.says(&["updraft: cannot read /nonexistent/file.wast: No such file"]);
    Updraft::new(["wast"]).end().expect(2);
    Updraft::new(["wast", "--tier", "fast", "x.wast"]).end().expect(2);
}

#[test]
fn a_bad_file_does_not_hide_the_others() {
    let (good, bad) = (temporary(".wast", "(module)"), temporary(".wast", "("));
    let ended = Updraft::new(["wast"]).arg(&bad).arg(&good).end().expect(1);
    assert_eq!(ended.text(), "1 passed, 0 failed, 0 skipped\n");
}

#[test]
fn results_for_machines() {
    let script = "(module)\n(assert_invalid (module) \"x\")";
    let ended = wast(script, &["--json"]).expect(1);
    let json: serde_json::Value = serde_json::from_str(ended.text()).unwrap();
    let file = &json[0];
    assert_eq!(file["passed"], 1);
    assert_eq!(file["failed"][0]["line"], 2);
    assert_eq!(file["failed"][0]["column"], 2);
    assert_eq!(file["failed"][0]["message"], "the module was accepted: x");
    assert_eq!(file["skipped"], serde_json::json!([]));
    assert!(file["file"].as_str().unwrap().ends_with(".wast"));
}
