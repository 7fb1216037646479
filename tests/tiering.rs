//! Tiers as seen from outside: long loops reach the full tier while they run, short programs never touch LLVM, a missing LLVM is
//! borne, and the summaries and listings are what they say.

mod common;

use common::*;
use serde_json::Value;

/// The summary that `--stats=json` wrote to standard error.
fn stats(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stderr).unwrap_or_else(|error| panic!("not JSON: {error}\n{ended}"))
}

/// The figures of the function of this name.
#[cfg(feature = "llvm")]
fn function<'a>(stats: &'a Value, name: &str) -> &'a Value {
    let functions = stats["functions"].as_array().unwrap();
    functions
        .iter()
        .find(|f| f["name"] == name)
        .unwrap_or_else(|| panic!("no {name:?} in {stats:#}"))
}

/// `_start` is one loop, which goes on until the clock says that it ran for so many seconds. It is never called again, so only
/// on-stack replacement can lift it. It is large enough for its calls not to be taken for granted.
#[cfg(feature = "llvm")]
fn long_loop(seconds: u32) -> tempfile::TempPath {
    wat_file(&format!(
        r#"(module
          (import "wasi_snapshot_preview1" "clock_time_get"
            (func $clock_time_get (param i32 i64 i32) (result i32)))
          (memory (export "memory") 1)
          (func $now (result i64)
            (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0)))
            (i64.load (i32.const 0)))
          (func $main (export "_start") (local $until i64) (local $i i32) (local $sum i32)
            (local.set $until (i64.add (call $now) (i64.const {seconds}000000000)))
            (loop $turns
              (local.set $i (i32.const 20000))
              (loop $work
                (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (local.get $i)))
                (br_if $work (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
              (i32.store (i32.const 64) (local.get $sum))
              (br_if $turns (i64.lt_s (call $now) (local.get $until))))
            {nops}))"#,
        nops = "nop ".repeat(100)
    ))
}

#[cfg(feature = "llvm")]
#[test]
fn a_running_loop_reaches_the_full_tier() {
    let file = long_loop(4);
    let ended = Updraft::run("tiered").arg("--stats=json").arg(&file).end().expect(0);
    let stats = stats(&ended);
    let main = function(&stats, "main");
    assert_eq!(main["tier"], "full", "{main:#}");
    assert!(main["osr_entries"].as_u64().unwrap() > 0, "{main:#}");
    for tier in ["quick", "full"] {
        let compiles = &main["compiled"][tier]["compiles"];
        assert_eq!(*compiles, 1, "an entry into the loop, and no code for calls: {main:#}");
    }
    assert!(main["compiled"]["full"]["seconds"].as_f64().unwrap() > 0.0, "{main:#}");
    assert!(main["compiled"]["full"]["bytes"].as_u64().unwrap() > 0, "{main:#}");
    assert!(stats["osr_entries"].as_u64().unwrap() > 0);
}

/// What one thread made hot, all threads run.
#[cfg(feature = "llvm")]
#[test]
fn a_hot_function_of_threads_reaches_the_full_tier() {
    let ended = Updraft::run("tiered")
        .arg("--stats=json")
        .arg(repository("examples/threads/mandelbrot.wasm"))
        .args(["--checksum", "1600", "2"])
        .end()
        .expect(0);
    let stats = stats(&ended);
    assert_eq!(stats["threads_started"], 3);
    let full =
        stats["functions"].as_array().unwrap().iter().filter(|f| f["tier"] == "full").count();
    assert!(full > 0, "{stats:#}");
}

/// Under each strategy the tiers are those that it allows.
#[test]
fn strategies_use_their_tiers() {
    for strategy in strategies() {
        let ended = Updraft::run(strategy)
            .args(["--stats=json", "--invoke", "run"])
            .arg(repository("benches/kernels/fib.wasm"))
            .arg("24")
            .end()
            .expect(0);
        let stats = stats(&ended);
        let told = format!("{strategy}: {stats:#}");
        let compiled = |tier: &str| stats["tiers"][tier]["compiles"].as_u64().unwrap_or(0);
        match *strategy {
            "interp" => assert_eq!((compiled("quick"), compiled("full")), (0, 0), "{told}"),
            "quick" => assert!(compiled("quick") > 0 && compiled("full") == 0, "{told}"),
            "full" => assert!(compiled("full") > 0 && compiled("quick") == 0, "{told}"),
            "random" => assert!(compiled("quick") + compiled("full") > 0, "{told}"),
            _ => {} // It depends on how fast the machine is.
        }
        let name = if *strategy == "random" { "random:0" } else { strategy };
        assert_eq!(stats["strategy"], name, "{told}");
    }
}

/// The fields that `--stats=json` promises, with their types.
#[test]
fn stats_as_json() {
    for strategy in strategies() {
        let ended = Updraft::run(strategy)
            .arg("--stats=json")
            .arg(repository("examples/threads/hello.wasm"))
            .end()
            .expect(0);
        let stats = stats(&ended);
        let number = |value: &Value, field: &str| {
            value[field].as_u64().unwrap_or_else(|| panic!("{field} in {value:#}"))
        };
        assert!(stats["strategy"].as_str().unwrap().starts_with(strategy));
        assert!(stats["wall_seconds"].as_f64().unwrap() > 0.0);
        assert!(number(&stats, "functions_declared") > 50);
        assert_eq!(number(&stats, "threads_started"), 11);
        assert!((2..=11).contains(&number(&stats, "threads_peak")));
        number(&stats, "osr_entries");
        number(&stats, "compiles_cancelled");
        for (tier, sums) in stats["tiers"].as_object().unwrap() {
            assert!(["interp", "quick", "full"].contains(&tier.as_str()), "{tier}");
            for field in ["functions", "compiles", "code_bytes"] {
                number(sums, field);
            }
            assert!(sums["compile_seconds"].as_f64().unwrap() >= 0.0);
        }
        for function in stats["functions"].as_array().unwrap() {
            assert!(!function["name"].as_str().unwrap().is_empty());
            assert!(["interp", "quick", "full"].contains(&function["tier"].as_str().unwrap()));
            for field in ["index", "heat", "osr_entries"] {
                number(function, field);
            }
            for cost in function["compiled"].as_object().unwrap().values() {
                assert!(cost["seconds"].as_f64().unwrap() >= 0.0);
                number(cost, "bytes");
            }
        }
    }
}

/// The same as text, also after a trap: that is when one wants to know.
#[test]
fn stats_as_text() {
    for flag in ["--stats", "--stats=text"] {
        Updraft::new(["run", flag])
            .arg(repository("examples/threads/hello.wasm"))
            .end()
            .expect(0)
            .says(&["tiered in ", "11 threads started", "interp"]);
    }
    let file = wat_file(r#"(module (func (export "_start") unreachable))"#);
    Updraft::new(["run", "--stats"])
        .arg(&file)
        .end()
        .expect(134)
        .says(&["trap: unreachable", "tiered in "]);
}

/// Where LLVM is looked for when this variable is set, and nowhere else.
const NO_LLVM: (&str, &str) = ("UPDRAFT_LLVM", "/nonexistent/libLLVM.so");

/// A program that never gets hot never looks for LLVM: nobody notices that there is none.
#[test]
fn short_programs_do_not_need_llvm() {
    let output = Updraft::run("tiered")
        .arg(repository("examples/threads/hello.wasm"))
        .env(NO_LLVM.0, NO_LLVM.1)
        .end()
        .quiet_success();
    assert!(output.ends_with("10 threads said hello\n"), "{output}");
}

/// Whether LLVM, the system's or the one that the build makes, is mapped into a process that has said "ready" and waits for input.
fn maps_llvm(strategy: &str) -> bool {
    let file = wat_file(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
          (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
          (import "env" "memory" (memory 1 1 shared))
          (data (i32.const 0) "\08\00\00\00\06\00\00\00ready\n")
          (func (export "wasi_thread_start") (param i32 i32)
            ;; Whatever it reads, and then an exit.
            (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 64)))
            (call $proc_exit (i32.const 0)))
          (func (export "_start")
            (drop (call $spawn (i32.const 0)))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
            (drop (memory.atomic.wait32 (i32.const 32) (i32.const 0) (i64.const -1)))))"#,
    );
    let mut running = Updraft::run(strategy).arg(&file).silent_stdin().start();
    running.wait_for_output("ready\n");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", running.pid())).unwrap();
    assert!(maps.contains("updraft"), "{maps}");
    running.close_stdin();
    running.end().expect(0);
    ["libLLVM", "libupdraft-llvm"].iter().any(|library| maps.contains(library))
}

#[test]
fn short_programs_do_not_map_llvm() {
    assert!(!maps_llvm("tiered"));
    assert!(!maps_llvm("interp"));
    // The look at the maps does see it where it is.
    assert_eq!(maps_llvm("full"), cfg!(feature = "llvm"));
}

/// Without LLVM the program runs all the same, and that it is missing is said once.
#[cfg(feature = "llvm")]
#[test]
fn a_missing_llvm_is_borne() {
    for strategy in ["quick", "full", "tiered", "random"] {
        let ended = Updraft::run(strategy)
            .arg(repository("examples/threads/mergesort.wasm"))
            .args(["300000", "4"])
            .env(NO_LLVM.0, NO_LLVM.1)
            .end()
            .expect(0)
            .says(&["no compiler", NO_LLVM.1, "UPDRAFT_LLVM"]);
        assert!(ended.text().starts_with("sorted 300000 elements with 4 threads"), "{ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
    }
}

/// A library that is none, or not LLVM, is as good as none.
#[cfg(feature = "llvm")]
#[test]
fn another_library_than_llvm() {
    let nonsense = temporary(".so", "this is no library");
    for library in [nonsense.to_str().unwrap(), "libc.so.6"] {
        Updraft::run("full")
            .args(["--invoke", "run"])
            .arg(repository("benches/kernels/fib.wasm"))
            .arg("10")
            .env(NO_LLVM.0, library)
            .end()
            .expect(0)
            .says(&["no compiler"]);
    }
}

#[test]
fn inspect() {
    let file = wat_file(
        r#"(module (memory 1)
          (func $helper (param i32) (result i32) (i32.load offset=8 (local.get 0)))
          (func $sum (export "total") (param $n i32) (result i32) (local $sum i32)
            (loop $again
              (local.set $sum (i32.add (local.get $sum) (call $helper (local.get $n))))
              (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 4)))))
            (local.get $sum)))"#,
    );
    let inspect = |args: &[&str]| Updraft::new(["inspect"]).arg(&file).args(args).end();
    let both = inspect(&[]).quiet_success();
    assert!(
        both.contains("function 0 \"helper\"") && both.contains("function 1 \"sum\""),
        "{both}"
    );
    assert_eq!(inspect(&["--emit", "bytecode"]).quiet_success(), both);
    let by_name = inspect(&["--func", "sum"]).quiet_success();
    assert!(by_name.contains("\"sum\"") && !by_name.contains("\"helper\""), "{by_name}");
    assert_eq!(inspect(&["--func", "1"]).quiet_success(), by_name);
    assert!(by_name.lines().count() > 4, "{by_name}");
    for unknown in ["nothing", "2", "-1"] {
        inspect(&[&format!("--func={unknown}")]).expect(1).says(&[unknown]);
    }
    for (emit, says) in [("llvm", "define"), ("llvm-opt", "define"), ("asm", "ret")] {
        let ended = inspect(&["--func", "sum", "--emit", emit]);
        if cfg!(feature = "llvm") {
            let text = ended.quiet_success();
            assert!(text.contains(says) && text.contains("function 1 \"sum\""), "{emit}: {text}");
        } else {
            ended.expect(1).says(&["no LLVM"]);
        }
    }
    Updraft::new(["inspect", "/nonexistent.wasm"]).end().expect(1).says(&["/nonexistent.wasm"]);
}

#[test]
fn version() {
    for flag in ["--version", "-V"] {
        let text = Updraft::new([flag]).end().quiet_success();
        assert!(text.starts_with(concat!("updraft ", env!("CARGO_PKG_VERSION"), "\n")), "{text}");
        assert!(text.contains("threads") && text.contains("WASI preview 1"), "{text}");
        if cfg!(feature = "llvm") {
            assert!(text.contains("\nLLVM 22."), "{text}");
        } else {
            assert!(text.contains("no compiler"), "{text}");
        }
    }
}

/// Logs go to standard error, as much as UPDRAFT_LOG asks for.
#[test]
fn logs() {
    let hello = repository("examples/threads/hello.wasm");
    let debug =
        Updraft::new(["run"]).arg(&hello).env("UPDRAFT_LOG", "updraft=trace").end().expect(0);
    assert!(debug.stderr.contains("fd_write"), "{debug}");
    assert!(debug.text().ends_with("10 threads said hello\n"), "{debug}");
    Updraft::new(["run"]).arg(&hello).env("UPDRAFT_LOG", "not a filter!").end().expect(0);
}
