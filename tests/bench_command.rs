//! `updraft bench`.

mod common;
use common::{Updraft, repository, strategies, wat_file};
use serde_json::Value;

const KERNEL: &str = r#"(module
  (func (export "spin") (param i32) (result i32)
    (local i32)
    (loop $next
      (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 31)) (local.get 0)))
      (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1))
  (func (export "fail") (param i32) unreachable)
  (func (export "_start")))"#;

fn bench(args: &[&str]) -> common::Ended {
    Updraft::new(["bench"]).args(args).end()
}

#[test]
fn each_strategy_is_run_as_often_and_its_output_compared() {
    let program = repository("examples/threads/mergesort.wasm");
    let tiers = strategies().join(",");
    // Flags may stand before the program and behind its arguments.
    let program = [program.to_str().unwrap(), "5000", "2"];
    let ended =
        bench(&[&["--runs", "2"], &program[..], &["--tiers", &tiers, "--format", "json"]].concat());
    assert_eq!(ended.code(), 0, "{ended}");
    assert!(ended.stderr.is_empty(), "quiet in a pipe: {ended}");
    let report: Value = serde_json::from_str(ended.text()).unwrap();
    let contenders = report["contenders"].as_array().unwrap();
    assert_eq!(contenders.len(), strategies().len());
    for (contender, strategy) in contenders.iter().zip(strategies()) {
        assert!(contender["contender"].as_str().unwrap().starts_with(strategy));
        assert_eq!(contender["same_output"], true);
        assert_eq!(contender["runs"].as_array().unwrap().len(), 2);
        for key in ["wall", "cpu", "peak_memory_bytes"] {
            let [low, median, high] =
                ["low", "median", "high"].map(|part| contender[key][part].as_f64().unwrap());
            assert!(0.0 < low && low <= median && median <= high, "{key} of {contender}");
        }
        assert!(contender["compile"]["median"].is_number());
    }
    assert_eq!(contenders[0]["ratio"], 1.0);
}

#[test]
fn other_output_is_told() {
    let program = repository("examples/threads/mergesort.wasm");
    let ended = bench(&[
        "--tiers",
        "interp",
        "--runs",
        "1",
        "--native",
        "true",
        program.to_str().unwrap(),
        "100",
        "2",
    ]);
    assert_eq!(ended.code(), 0, "{ended}");
    let native = ended.text().lines().find(|line| line.starts_with("native")).unwrap();
    assert!(native.ends_with("other output"), "{ended}");
}

#[test]
fn iterations_are_timed_and_classified() {
    let program = wat_file(KERNEL);
    let args = ["--tiers", "interp", "--runs", "3", "--invoke", "spin", "--iterations", "40"];
    let all = |format: &str| {
        let ended =
            bench(&[&args[..], &["--format", format, program.to_str().unwrap(), "20000"]].concat());
        assert_eq!(ended.code(), 0, "{ended}");
        ended.text().to_owned()
    };
    let report: Value = serde_json::from_str(&all("json")).unwrap();
    let contender = &report["contenders"][0];
    for run in contender["runs"].as_array().unwrap() {
        assert_eq!(run["times"].as_array().unwrap().len(), 40);
        assert!(run["steady"]["seconds"].as_f64().unwrap() > 0.0);
    }
    let classes = contender["iterations"]["classes"].as_object().unwrap();
    assert_eq!(classes.values().map(|runs| runs.as_u64().unwrap()).sum::<u64>(), 3);

    let csv = all("csv");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 4, "{csv}");
    let fields = lines[0].split(',').count();
    assert!(lines.iter().all(|line| line.split(',').count() == fields), "{csv}");
    assert!(lines[1].starts_with("interp,1,"));

    let table = all("table");
    assert!(table.contains("iterations of spin") && table.contains("interp"), "{table}");
    let page = all("html");
    assert!(page.starts_with("<!doctype html>") && page.contains("\"iterations\":"));
}

#[test]
fn a_native_program_is_a_contender() {
    let program = wat_file(KERNEL);
    let ended =
        bench(&["--tiers", "interp", "--runs", "2", "--native", "true", program.to_str().unwrap()]);
    assert_eq!(ended.code(), 0, "{ended}");
    let native = ended.text().lines().find(|line| line.starts_with("native")).unwrap();
    assert!(native.contains(" - "), "it compiles nothing: {native}");
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    let program = wat_file(KERNEL);
    let program = program.to_str().unwrap();
    for (args, wanted) in [
        (&["--invoke", "fail", program, "1"][..], "interp failed (exit status: 134)"),
        (&["--invoke", "missing", program], "missing"),
        (&["--native", "/nonexistent", program], "cannot run native"),
        (&["/nonexistent.wasm"], "cannot read /nonexistent.wasm"),
        (&["--output", "/nonexistent/x", program], "cannot write /nonexistent/x"),
    ] {
        let ended = bench(&[&["--tiers", "interp", "--runs", "1"], args].concat());
        assert_eq!(ended.code(), 1, "{ended}");
        assert!(ended.stderr.contains(wanted), "{ended}");
        assert!(ended.stdout.is_empty());
    }
    for args in [
        &["--tiers", "interp,interp", program][..],
        &["--tiers", "fast", program],
        &["--runs", "0", program],
        &["--iterations", "5", program],
        &["--tiers", "", program],
    ] {
        let ended = bench(args);
        assert_ne!(ended.code(), 0, "{ended}");
        assert!(
            ended.stderr.starts_with("error:") || ended.stderr.starts_with("updraft:"),
            "{ended}"
        );
    }
}
