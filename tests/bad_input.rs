//! Whatever is wrong with a module, a flag or a program, there is a clear message and the right exit code: never a panic,
//! a hang or a death by signal (which `common` asserts for each run).
//!
//! Exit codes: the program's own; 134 for a trap; 124 for a timeout; 2 for wrong flags; 1 for everything else.

mod common;

use common::*;
use tempfile::TempPath;
use updraft::{Engine, Module, ModuleError};

/// What the library says of a module in the text format, which `wat` translates without looking at features.
fn refused(module: &str) -> ModuleError {
    let bytes = wat::parse_str(module).unwrap();
    match Module::new(&Engine::default(), bytes) {
        Ok(_) => panic!("accepted: {module}"),
        Err(error) => error,
    }
}

/// Runs a file that is refused: exit code 1, and standard error holds all of these.
fn fails(file: impl AsRef<std::ffi::OsStr>, says: &[&str]) {
    let ended = Updraft::new(["run"]).arg(&file).end().expect(1).says(says);
    assert!(ended.stderr.starts_with("updraft: "), "\n{ended}");
    assert!(ended.stdout.is_empty(), "\n{ended}");
}

// ---- files ----

#[test]
fn files_that_are_no_modules() {
    fails("/nonexistent/program.wasm", &["/nonexistent/program.wasm", "No such file"]);
    let directory = tempfile::tempdir().unwrap();
    fails(directory.path(), &["directory"]);
    fails(temporary(".wasm", ""), &["offset 0x0", "end"]);
    fails(temporary(".wasm", "\0asm"), &["offset 0x4"]);
    fails(temporary(".wasm", b"\x7fELF\x02\x01\x01\0\0\0"), &["invalid"]);
    fails(temporary(".wasm", [0xff; 64]), &["offset 0x0", "magic"]);
    fails(temporary(".wasm", "\0asm\x02\0\0\0"), &["offset 0x4", "version"]);
    fails(
        temporary(".wat", "(module (func (export \"_start\") i32.nonsense))"),
        &["i32.nonsense", "1:"],
    );
    fails(temporary(".wat", "no parentheses"), &["text format"]);
}

#[test]
fn unreadable_files() {
    use std::os::unix::fs::PermissionsExt;
    let file = wat_file("(module)");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may read everything; then the module lacks `_start`.
    let says = if std::fs::read(&file).is_ok() { "_start" } else { "Permission denied" };
    fails(&file, &[says]);
}

/// A module may end anywhere. Only whole prefixes of sections are modules, and those of this one are all invalid.
#[test]
fn truncated_modules() {
    let whole = std::fs::read(repository("examples/threads/hello.wasm")).unwrap();
    let engine = Engine::default();
    let mut refused = 0;
    for len in (0..whole.len()).filter(|len| *len < 600 || len % 97 == 0) {
        match Module::new(&engine, &whole[..len]) {
            Ok(_) => {}
            Err(ModuleError::Invalid { offset, .. } | ModuleError::Unsupported { offset, .. }) => {
                assert!(offset <= len as u64, "{offset:#x} of {len:#x}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 600, "{refused}");
    fails(temporary(".wasm", &whole[..whole.len() / 2]), &["invalid module at byte offset 0x"]);
}

#[test]
fn invalid_modules_never_start() {
    let printing = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (func (export "_start") (call $exit (i32.const 0)))
        (func (result i32) i64.const 1))"#;
    fails(wat_file(printing), &["invalid module at byte offset 0x", "type mismatch"]);
    for (body, message) in [
        ("(func (result i32) i64.const 0)", "type mismatch"),
        ("(func local.get 1 drop)", "unknown local"),
        ("(func br 5)", "unknown label"),
        ("(func (drop (i32.load (i32.const 0))))", "unknown memory"),
        ("(func i32.add drop)", "type mismatch"),
        ("(memory 1) (func (drop (i32.load align=16 (i32.const 0))))", "alignment"),
        ("(memory 70000)", "memory size"),
        ("(memory 2 1)", "minimum"),
        ("(memory 1 shared)", "maximum"),
        ("(func (export \"a\")) (func (export \"a\"))", "duplicate export"),
        ("(func $f (param i32)) (start $f)", "start function"),
        ("(func (type 7))", "unknown type"),
        ("(global i32 (i64.const 0))", "type mismatch"),
        ("(global i32 (i32.const 0)) (func (global.set 0 (i32.const 1)))", "immutable"),
    ] {
        let error = refused(&format!("(module {body})"));
        assert!(matches!(error, ModuleError::Invalid { .. }), "{body}: {error}");
        assert!(error.to_string().contains(message), "{body}: {error}");
        assert!(error.to_string().contains("at byte offset 0x"), "{body}: {error}");
    }
}

// ---- proposals that are not supported ----

/// The message names the proposal and where it is first needed.
#[test]
fn unsupported_proposals() {
    for (body, proposal) in [
        ("(type (struct (field i32)))", "gc"),
        ("(type (array i32))", "gc"),
        ("(type (sub (func)))", "gc"),
        ("(rec (type (func)) (type (struct)))", "gc"),
        ("(rec (type (func)) (type (sub (func))))", "gc"),
        ("(rec (type (func)) (type (func (param anyref))))", "gc"),
        ("(rec (type (func)) (type (func))) (table 1 i31ref)", "gc"),
        ("(rec (type (func)) (type (func))) (global eqref (ref.null eq))", "gc"),
        ("(rec (type (func)) (type (func))) (elem anyref)", "gc"),
        ("(rec (type (func)) (type (func))) (func (local structref))", "gc"),
        ("(rec (type (func)) (type (func))) (func (drop (ref.null none)))", "gc"),
        ("(rec (type (func)) (type (func))) (func (block (result anyref) unreachable) drop)", "gc"),
        ("(rec (type (func)) (type (func))) (func (drop (ref.i31 (i32.const 1))))", "gc"),
        (
            "(rec (type $f (func)) (type (func))) (func (param funcref) (drop (ref.test (ref $f) (local.get 0))))",
            "gc",
        ),
        ("(func (param (ref null any)))", "gc"),
        ("(func (try nop catch_all nop end))", "exceptions"),
        ("(memory 1 (pagesize 1))", "custom page sizes"),
        ("(type (func)) (type (cont 0))", "stack switching"),
        ("(type (shared (func)))", "shared-everything-threads"),
        ("(func (result i64 i64) (i64.mul_wide_s (i64.const 1) (i64.const 1)))", "wide"),
    ] {
        let error = refused(&format!("(module {body})"));
        let ModuleError::Unsupported { what, offset } = &error else {
            panic!("{body}: not told apart from an invalid module: {error}")
        };
        assert!(what.to_lowercase().contains(&proposal.to_lowercase()), "{body}: {error}");
        assert!(*offset >= 8, "{body}: {error}");
        assert!(error.to_string().contains(&format!("at byte offset {offset:#x}")), "{error}");
    }
    let error = refused("(component)");
    assert!(error.to_string().contains("component model"), "{error}");
    assert!(error.to_string().contains("byte offset 0x4"), "{error}");

    let gc = wat_file(r#"(module (type (array i32)) (func (export "_start")))"#);
    fails(&gc, &["gc", "not supported at byte offset 0x"]);
}

#[test]
fn a_program_without_a_subcommand() {
    let file = wat_file("(module)");
    Updraft::new(Vec::<&str>::new())
        .arg(&file)
        .end()
        .expect(2)
        .says(&["unrecognized", "updraft run "]);
    Updraft::new(["frobnicate"]).end().expect(2).says(&["unrecognized"]);
}

/// What follows the file is the program's, whatever flag it looks like, byte for byte.
#[test]
fn arguments_of_the_program() {
    use std::os::unix::ffi::OsStrExt;
    // Exits with 16 times the number of arguments, and the last byte but one (the last is the zero) of all, modulo 16.
    let file = wat_file(
        r#"(module
          (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (func (export "_start")
            (drop (call $sizes (i32.const 0) (i32.const 4)))
            (drop (call $get (i32.const 16) (i32.const 1024)))
            (call $exit (i32.add
              (i32.mul (i32.load (i32.const 0)) (i32.const 16))
              (i32.and (i32.load8_u offset=1022 (i32.load (i32.const 4))) (i32.const 15))))))"#,
    );
    let run = |args: &[&str]| Updraft::new(["run"]).arg(&file).args(args).end();
    run(&["--help"]).expect(2 * 16);
    run(&["--tier", "nonsense", "--nonsense", "-h", "--", "1"]).expect(7 * 16 + 1);
    Updraft::new(["run", "--"]).arg(&file).args(["--version", "2"]).end().expect(3 * 16 + 2);
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe\x13");
    Updraft::new(["run"]).arg(&file).arg(odd).end().expect(2 * 16 + 3);
    // Before the file, they are the command's.
    Updraft::new(["run", "--nonsense"]).arg(&file).end().expect(2).says(&["--nonsense"]);
    Updraft::new(["run"]).end().expect(2).says(&["<FILE>"]);
}

// ---- imports and exports ----

#[test]
fn imports_that_are_missing() {
    for (import, says) in [
        (r#"(import "env" "puts" (func (param i32)))"#, r#"function "env" "puts""#),
        (r#"(import "env" "table" (table 1 funcref))"#, r#"table "env" "table""#),
        (r#"(import "env" "global" (global i32))"#, r#"global "env" "global""#),
        (r#"(import "env" "memory" (memory 1))"#, r#"memory "env" "memory""#),
        (r#"(import "wasi_snapshot_preview1" "fd_rite" (func))"#, "fd_rite"),
        (r#"(import "wasi_unstable" "fd_write" (func))"#, "rebuild"),
        (r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func (result i32)))"#, "preview 2"),
    ] {
        let file = wat_file(&format!(r#"(module {import} (func (export "_start")))"#));
        fails(&file, &["unknown import", says]);
    }
}

/// With `--unknown-imports fail`, a program runs until it calls such a function.
#[test]
fn imports_that_are_not_called() {
    let program = |calls: &str| {
        wat_file(&format!(
            r#"(module
              (import "env" "puts" (func $puts (param i32) (result i64)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (func (export "_start") {calls} (call $exit (i32.const 7))))"#
        ))
    };
    let (silent, caller) = (program(""), program("(drop (call $puts (i32.const 1)))"));
    let allow = |file: &TempPath, tier: &str| {
        Updraft::new(["run", "--tier", tier, "--unknown-imports", "fail"]).arg(file).end()
    };
    for tier in strategies() {
        allow(&silent, tier).expect(7);
        allow(&caller, tier)
            .expect(1)
            .says(&[r#"called the function "env" "puts", which is not defined"#]);
    }
    let global = wat_file(r#"(module (import "env" "g" (global i32)) (func (export "_start")))"#);
    allow(&global, "tiered").expect(1).says(&["unknown import", r#"global "env" "g""#]);
    let group = wat_file(
        r#"(module (rec (type $f (func)) (type (func (param i32))))
          (import "env" "f" (func (type $f))) (func (export "_start")))"#,
    );
    allow(&group, "tiered").expect(1).says(&["unknown import", r#"function "env" "f""#]);
    fails(&silent, &["unknown import", "--unknown-imports fail"]);
}

#[test]
fn imports_of_another_type() {
    for (import, says) in [
        (
            r#"(import "wasi_snapshot_preview1" "proc_exit" (func (param i64)))"#,
            &["proc_exit", "[i64] -> []", "[i32] -> []"][..],
        ),
        (
            r#"(import "wasi" "thread-spawn" (func (param i32 i32) (result i32)))"#,
            &["thread-spawn", "[i32 i32] -> [i32]", "[i32] -> [i32]"],
        ),
        (
            r#"(import "wasi_snapshot_preview1" "fd_write" (global i32))"#,
            &["fd_write", "a global", "a function"],
        ),
    ] {
        let file = wat_file(&format!(r#"(module {import} (func (export "_start")))"#));
        let mut all = vec!["incompatible import type"];
        all.extend(says);
        fails(&file, &all);
    }
}

#[test]
fn modules_without_start() {
    let file = wat_file(r#"(module (func (export "main")) (func (export "helper")))"#);
    fails(&file, &["_start", "--invoke", "main", "helper"]);
    fails(wat_file("(module)"), &["_start", "exports no functions"]);
    fails(wat_file(r#"(module (memory (export "_start") 1))"#), &["_start"]);
    fails(wat_file(r#"(module (func (export "_start") (param i32)))"#), &["[i32] -> []"]);
}

// ---- flags ----

#[test]
fn wrong_flags() {
    let file = wat_file(r#"(module (func (export "_start")))"#);
    let program = file.to_str().unwrap();
    for (args, says) in [
        (&[][..], "Usage"),
        (&["run"], "FILE"),
        (&["fly", program], "fly"),
        (&["run", "--no-such-flag", program], "--no-such-flag"),
        (&["run", "--tier", "fast", program], "fast"),
        (&["run", "--tier", "random:x", program], "random:x"),
        (&["run", "--max-threads", "many", program], "many"),
        (&["run", "--max-threads", "-1", program], "-1"),
        (&["run", "--max-memory", "1T", program], "1T"),
        (&["run", "--max-memory", "99999999999G", program], "99999999999G"),
        (&["run", "--max-memory", "", program], "--max-memory"),
        (&["run", "--stack-size", "1K", program], "512K"),
        (&["run", "--stack-size", "é", program], "--stack-size"),
        (&["run", "--timeout", "-1", program], "-1"),
        (&["run", "--timeout", "NaN", program], "NaN"),
        (&["run", "--compile-threads", "0", program], "--compile-threads"),
        (&["run", "--env", "NOVALUE", program], "NOVALUE"),
        (&["run", "--env", "=x", program], "--env"),
        (&["run", "--stats=xml", program], "xml"),
        (&["run", "--traps", "sometimes", program], "sometimes"),
        (&["inspect", "--emit", "poetry", program], "poetry"),
        (&["inspect"], "FILE"),
    ] {
        Updraft::new(args).end().expect(2).says(&[says]);
    }
}

#[test]
fn directories_that_are_missing() {
    let file = wat_file(r#"(module (func (export "_start")))"#);
    let run = |dir: &str| Updraft::new(["run", "--dir", dir]).arg(&file).end().expect(1);
    run("/nonexistent").says(&["/nonexistent", "directory", "No such file"]);
    run("/nonexistent::/data").says(&["/nonexistent", "/data"]);
    run("/::").says(&["guest path"]);
    // A file is no directory.
    run(file.to_str().unwrap()).says(&[file.to_str().unwrap()]);
}

#[test]
fn invoke() {
    let file = wat_file(
        r#"(module
          (func (export "i32") (param i32) (result i32) local.get 0)
          (func (export "i64") (param i64) (result i64) local.get 0)
          (func (export "f32") (param f32) (result f32) local.get 0)
          (func (export "f64") (param f64) (result f64) local.get 0)
          (func $f (export "func") (result funcref) ref.func $f)
          (func (export "nofunc") (result funcref) ref.null func)
          (func (export "extern") (result externref) ref.null extern)
          (func (export "takes_extern") (param externref))
          (func (export "many") (result i32 i64 f32 f64) i32.const 1 i64.const -2 f32.const 0.5 f64.const -0.25)
          (func (export "none"))
          (memory (export "memory") 1))"#,
    );
    let run = |function: &str, args: &[&str]| {
        Updraft::new(["run", "--invoke", function]).arg(&file).args(args).end()
    };
    for (function, argument, result) in [
        ("i32", "-7", "-7"),
        ("i32", "4294967295", "-1"),
        ("i32", "-2147483648", "-2147483648"),
        ("i64", "-9223372036854775808", "-9223372036854775808"),
        ("i64", "18446744073709551615", "-1"),
        ("f32", "1.5", "1.5"),
        ("f32", "-0", "-0"),
        ("f32", "NaN", "NaN"),
        ("f64", "1e300", "1"), // and 300 zeros
        ("f64", "-inf", "-inf"),
        ("f64", "0.1", "0.1"),
    ] {
        let output = run(function, &[argument]).quiet_success();
        match argument {
            "1e300" => assert_eq!(output.trim_end().parse::<f64>().unwrap(), 1e300),
            _ => assert_eq!(output, format!("{result}\n"), "{function} {argument}"),
        }
    }
    assert_eq!(run("func", &[]).quiet_success(), "a function\n");
    assert_eq!(run("nofunc", &[]).quiet_success(), "null\n");
    assert_eq!(run("extern", &[]).quiet_success(), "null\n");
    assert_eq!(run("many", &[]).quiet_success(), "1\n-2\n0.5\n-0.25\n");
    assert_eq!(run("none", &[]).quiet_success(), "");

    run("nothing", &[]).expect(1).says(&["no function export", "nothing"]);
    run("memory", &[]).expect(1).says(&["no function export", "memory"]);
    run("i32", &[]).expect(1).says(&["takes 1 argument", "0 "]);
    run("i32", &["1", "2"]).expect(1).says(&["takes 1 argument", "2 "]);
    run("i32", &["one"]).expect(1).says(&["\"one\"", "i32"]);
    run("i32", &["4294967296"]).expect(1).says(&["4294967296", "i32"]);
    run("i64", &["1.5"]).expect(1).says(&["1.5", "i64"]);
    run("f64", &["x"]).expect(1).says(&["\"x\"", "f64"]);
    run("takes_extern", &["1"]).expect(1).says(&["externref"]);
}

// ---- memory ----

#[test]
fn memories_of_the_largest_size() {
    for memory in ["(memory 65536)", "(memory 65536 65536 shared)"] {
        let file = wat_file(&format!(
            r#"(module {memory} (func (export "last") (result i32)
                (i32.store8 (i32.const -1) (i32.const 77)) (i32.load8_u (i32.const -1))))"#
        ));
        let ended = Updraft::new(["run", "--invoke", "last"]).arg(&file).end();
        match ended.code() {
            0 => assert_eq!(ended.text(), "77\n"),
            // A machine may refuse to commit so much.
            _ => drop(ended.expect(1).says(&["cannot create a memory of 65536 pages"])),
        }
    }
}

#[test]
fn a_memory_over_the_limit() {
    for memory in ["(memory 3)", r#"(import "env" "memory" (memory 3 10 shared))"#] {
        let file = wat_file(&format!(r#"(module {memory} (func (export "_start")))"#));
        let run = |limit: &str| Updraft::new(["run", "--max-memory", limit]).arg(&file).end();
        run("128K").expect(1).says(&["--max-memory", "3 pages"]);
        run("0").expect(1).says(&["--max-memory"]);
        run("192K").quiet_success();
    }
}

fn growing_past_a_limit(strategy: &str) {
    let file = wat_file(
        r#"(module (memory 1 5)
          (func (export "grow") (param i32) (result i32 i32)
            (memory.grow (local.get 0)) (memory.size)))"#,
    );
    let grow = |flags: &[&str], pages: &str| {
        let ended = Updraft::run(&tier(strategy, 0))
            .args(["--invoke", "grow"])
            .args(flags)
            .arg(&file)
            .arg(pages)
            .end()
            .expect(0);
        ended.text().to_owned()
    };
    assert_eq!(grow(&[], "4"), "1\n5\n");
    assert_eq!(grow(&[], "5"), "-1\n1\n");
    assert_eq!(grow(&[], "-1"), "-1\n1\n");
    assert_eq!(grow(&["--max-memory", "256K"], "3"), "1\n4\n");
    assert_eq!(grow(&["--max-memory", "256K"], "4"), "-1\n1\n");
}

// ---- traps ----

/// Each trap in each tier: the exit code, the text of the specification's tests, and the function.
fn traps(strategy: &str) {
    const TRAPS: [(&str, &str); 27] = [
        ("unreachable", "unreachable"),
        ("(drop (i32.div_s (global.get $zero) (global.get $zero)))", "integer divide by zero"),
        ("(drop (i32.div_u (i32.const 1) (global.get $zero)))", "integer divide by zero"),
        ("(drop (i32.rem_s (i32.const 1) (global.get $zero)))", "integer divide by zero"),
        (
            "(drop (i64.div_s (i64.const 1) (i64.extend_i32_s (global.get $zero))))",
            "integer divide by zero",
        ),
        (
            "(drop (i64.rem_u (i64.const 1) (i64.extend_i32_s (global.get $zero))))",
            "integer divide by zero",
        ),
        ("(drop (i32.div_s (i32.const 0x80000000) (global.get $minus)))", "integer overflow"),
        (
            "(drop (i64.div_s (i64.const 0x8000000000000000) (i64.extend_i32_s (global.get $minus))))",
            "integer overflow",
        ),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "invalid conversion to integer"),
        ("(drop (i32.trunc_f64_u (f64.const -1)))", "integer overflow"),
        ("(drop (i64.trunc_f64_s (f64.const 1e30)))", "integer overflow"),
        ("(drop (i32.load (i32.const 65533)))", "out of bounds memory access"),
        ("(drop (i32.load offset=4294967295 (i32.const -1)))", "out of bounds memory access"),
        ("(i64.store (i32.const -8) (i64.const 0))", "out of bounds memory access"),
        (
            "(memory.fill (i32.const 65530) (i32.const 0) (i32.const 7))",
            "out of bounds memory access",
        ),
        (
            "(memory.copy (i32.const 0) (i32.const 65535) (i32.const 2))",
            "out of bounds memory access",
        ),
        (
            "(memory.init $data (i32.const 0) (i32.const 0) (i32.const 4))",
            "out of bounds memory access",
        ),
        ("(drop (i32.atomic.load (i32.const 2)))", "unaligned atomic"),
        ("(i64.atomic.store (i32.const 4) (i64.const 0))", "unaligned atomic"),
        ("(drop (i32.atomic.rmw16.add_u (i32.const 1) (i32.const 1)))", "unaligned atomic"),
        ("(drop (memory.atomic.notify (i32.const 1) (i32.const 1)))", "unaligned atomic"),
        (
            "(drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))",
            "expected shared memory",
        ),
        ("(call_indirect (i32.const 9))", "undefined element"),
        ("(call_indirect (i32.const 1))", "uninitialized element"),
        ("(drop (call_indirect (result i32) (i32.const 0)))", "indirect call type mismatch"),
        ("(drop (table.get $table (i32.const 4)))", "out of bounds table access"),
        (
            "(table.fill $table (i32.const 3) (ref.null func) (i32.const 2))",
            "out of bounds table access",
        ),
    ];
    for (run, (code, message)) in TRAPS.into_iter().enumerate() {
        // Variables, lest the compiler see what happens.
        let file = wat_file(&format!(
            r#"(module
              (global $zero (mut i32) (i32.const 0))
              (global $minus (mut i32) (i32.const -1))
              (memory 1 1)
              (data $data "abc")
              (table $table 4 funcref)
              (elem (table $table) (i32.const 0) func $culprit)
              (func $culprit {code})
              (func (export "_start") (call $culprit)))"#
        ));
        Updraft::run(&tier(strategy, run))
            .arg(&file)
            .end()
            .trapped(message, "culprit")
            .says(&["in the main thread", "1: _start"]);
    }
}

/// Segments are applied before anything runs; one that does not fit is a trap of the main thread.
#[test]
fn segments_that_do_not_fit() {
    for (fields, message) in [
        (r#"(memory 1) (data (i32.const 65535) "ab")"#, "out of bounds memory access"),
        (r#"(memory 1) (data (i32.const -1) "a")"#, "out of bounds memory access"),
        (r#"(table 1 funcref) (func $f) (elem (i32.const 1) $f)"#, "out of bounds table access"),
    ] {
        let file = wat_file(&format!(r#"(module {fields} (func (export "_start")))"#));
        Updraft::new(["run"]).arg(&file).end().expect(134).says(&[&format!("trap: {message}")]);
    }
}

/// Recursion without end, of several kinds, in the main thread and in a child.
fn endless_recursion(strategy: &str) {
    const KINDS: [&str; 4] = [
        "(func $deeper (param i32) (result i32)
            (i32.add (i32.const 1) (call $deeper (local.get 0))))",
        "(func $deeper (param i32) (result i32)
            (i32.add (i32.const 1) (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))))",
        "(func $other (param i32) (result i32)
            (i32.add (i32.const 2) (call $deeper (local.get 0))))
         (func $deeper (param i32) (result i32)
            (i32.add (i32.const 1) (call $other (local.get 0))))",
        // Host functions may be called near the end of the stack.
        "(func $deeper (param i32) (result i32)
            (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8)))
            (i32.add (i32.const 1) (call $deeper (local.get 0))))",
    ];
    for (run, kind) in KINDS.into_iter().enumerate() {
        for start in [
            "(drop (call $deeper (i32.const 1)))",
            "(drop (call $spawn (i32.const 1))) (call $wait)",
        ] {
            let file = wat_file(&format!(
                r#"(module
                  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
                  (import "wasi_snapshot_preview1" "clock_time_get"
                    (func $clock (param i32 i64 i32) (result i32)))
                  (import "env" "memory" (memory 1 1 shared))
                  (table funcref (elem $deeper))
                  {kind}
                  (func $wait (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))
                  (func (export "wasi_thread_start") (param i32 i32)
                    (drop (call $deeper (local.get 1))))
                  (func (export "_start") {start}))"#
            ));
            for stack in ["1M", "8M"] {
                Updraft::run(&tier(strategy, run))
                    .args(["--stack-size", stack])
                    .arg(&file)
                    .end()
                    .expect(134)
                    .says(&["trap: call stack exhausted", "deeper", "more frames"]);
            }
        }
    }
}

/// A frame that is larger than the guard area behind the stack must not step over it.
fn recursion_with_large_frames(strategy: &str) {
    let locals = "i64 ".repeat(3000);
    // Each local is written and read, so that no tier can drop it.
    let writes: String = (1..3000)
        .map(|i| format!("(local.set {i} (i64.add (local.get 0) (i64.const {i})))"))
        .collect();
    let reads: String = (1..3000)
        .map(|i| format!("(local.set 0 (i64.xor (local.get 0) (local.get {i})))"))
        .collect();
    let file = wat_file(&format!(
        r#"(module
          (func $deeper (param i64) (result i64) (local {locals})
            {writes}
            (local.set 0 (call $deeper (local.get 0)))
            {reads}
            (local.get 0))
          (func (export "_start") (drop (call $deeper (i64.const 1)))))"#
    ));
    Updraft::run(&tier(strategy, 0)).arg(&file).end().trapped("call stack exhausted", "deeper");
}

/// Tail calls take no stack, whatever the tier.
fn tail_calls_do_not_overflow(strategy: &str) {
    let file = wat_file(
        r#"(module
          (func $odd (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0))
              (then (i32.const 0))
              (else (return_call $even (i32.sub (local.get 0) (i32.const 1))))))
          (func $even (export "even") (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0))
              (then (i32.const 1))
              (else (return_call $odd (i32.sub (local.get 0) (i32.const 1)))))))"#,
    );
    let output = Updraft::run(&tier(strategy, 0))
        .args(["--stack-size", "512K", "--invoke", "even"])
        .arg(&file)
        .arg("3000000")
        .end()
        .expect(0);
    assert_eq!(output.text(), "1\n");
}

// ---- threads ----

const SPAWN: &str = r#"(import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))"#;
/// Exits with 42 if a spawn is refused with a negative number.
const SPAWN_IS_REFUSED: &str = r#"(func (export "_start")
    (if (i32.lt_s (call $spawn (i32.const 0)) (i32.const 0)) (then (call $proc_exit (i32.const 42)))))"#;

#[test]
fn spawns_that_cannot_work() {
    for (fields, says) in [
        (r#"(import "env" "memory" (memory 1 1 shared))"#, &["wasi_thread_start"][..]),
        (
            r#"(import "env" "memory" (memory 1 1 shared)) (func (export "wasi_thread_start") (param i32))"#,
            &["wasi_thread_start", "[i32 i32] -> []"],
        ),
        (
            r#"(import "env" "memory" (memory 1 1 shared)) (global (export "wasi_thread_start") i32 (i32.const 0))"#,
            &["wasi_thread_start"],
        ),
        (r#"(memory 1 1) (func (export "wasi_thread_start") (param i32 i32))"#, &["shared memory"]),
        (
            r#"(memory 1 1 shared) (func (export "wasi_thread_start") (param i32 i32))"#,
            &["shared memory"],
        ),
    ] {
        let file = wat_file(&format!("(module {SPAWN} {fields} {SPAWN_IS_REFUSED})"));
        Updraft::new(["run"]).arg(&file).end().expect(42).says(says);
    }
}

#[test]
fn too_many_threads() {
    let file = wat_file(&format!(
        r#"(module {SPAWN} (import "env" "memory" (memory 1 1 shared))
          (func (export "wasi_thread_start") (param i32 i32)
            (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))
          (func (export "_start") (local $n i32)
            (loop $again
              (if (i32.ge_s (call $spawn (i32.const 0)) (i32.const 0))
                (then (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $again))))
            (call $proc_exit (local.get $n))))"#
    ));
    for threads in [0, 1, 7, 100] {
        Updraft::new(["run", "--max-threads", &threads.to_string()])
            .arg(&file)
            .end()
            .expect(threads)
            .says(&["--max-threads"]);
    }
}

fn a_timeout_ends_the_program(strategy: &str) {
    for body in [
        "(loop $again (br $again))",
        "(drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))",
    ] {
        let file = wat_file(&format!(
            r#"(module {SPAWN} (import "env" "memory" (memory 1 1 shared))
              (func (export "wasi_thread_start") (param i32 i32) {body})
              (func (export "_start") (drop (call $spawn (i32.const 0))) {body}))"#
        ));
        Updraft::run(&tier(strategy, 0))
            .args(["--timeout", "0.3"])
            .arg(&file)
            .end()
            .expect(124)
            .says(&["--timeout", "0.3"]);
    }
    // One that is not reached does not matter, and is not waited for.
    let file = wat_file(r#"(module (func (export "_start")))"#);
    Updraft::run(&tier(strategy, 0)).args(["--timeout", "100000"]).arg(&file).end().quiet_success();
}

// ---- output that nobody reads ----

#[test]
fn closed_stdout() {
    let hello = repository("examples/threads/hello.wasm");
    let module = wat_file(r#"(module (func (export "f") (result i32) (i32.const 1)))"#);
    // A program learns of it by an error code, and decides for itself.
    Updraft::new(["run"]).arg(&hello).closed_stdout().end();
    Updraft::new(["run", "--invoke", "f"]).arg(&module).closed_stdout().end().quiet_success();
    Updraft::new(["inspect"]).arg(&hello).closed_stdout().end().quiet_success();
    Updraft::new(["--version"]).closed_stdout().end().expect(0);
    Updraft::new(["--help"]).closed_stdout().end().expect(0);
}

per_strategy!(
    growing_past_a_limit,
    traps,
    endless_recursion,
    recursion_with_large_frames,
    tail_calls_do_not_overflow,
    a_timeout_ends_the_program,
);
