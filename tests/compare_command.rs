//! `updraft compare`, with peers that the test makes up.

mod common;
use common::{Ended, Updraft, repository, strategies};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn compare<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Ended {
    let suite = repository("");
    Updraft::new(["compare", "--short", "--runs", "1", "--suite"]).arg(suite).args(args).end()
}

/// An executable script that tells a version, and else does this.
fn peer(folder: &Path, name: &str, script: &str) -> String {
    let path = folder.join(name);
    let version = r#"if [ "$1" = --version ]; then echo "peer 7.8.9"; exit; fi"#;
    std::fs::write(&path, format!("#!/bin/sh\n{version}\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    format!("{name}={}", path.display())
}

fn part<'a>(report: &'a Value, id: &str) -> &'a Value {
    let mut parts = report["parts"].as_array().unwrap().iter();
    parts.find(|part| part["id"] == id).unwrap_or_else(|| panic!("no part {id}: {report}"))
}

fn cell<'a>(part: &'a Value, contender: &str, case: usize) -> &'a Value {
    let mut rows = part["rows"].as_array().unwrap().iter();
    let row = rows.find(|row| row["contender"] == contender);
    &row.unwrap_or_else(|| panic!("no row {contender}: {part}"))["cells"][case]
}

/// A comparison of all that can go wrong, in a folder.
fn made(folder: &Path) -> (Ended, Value) {
    let updraft = env!("CARGO_BIN_EXE_updraft");
    let peers = [
        // Does what a peer should.
        peer(folder, "wasmi", &format!("exec {updraft} run --tier interp \"$@\"")),
        peer(folder, "wasm3", "echo 'fib(15) = 611'"),
        peer(folder, "wasmer", "echo 'it burns' >&2; exit 9"),
        peer(folder, "node", "exec sleep 600"),
    ];
    let output = folder.join("out");
    let only = "updraft,wasmi,wasm3,wasmer,node";
    let mut args: Vec<&str> = vec!["--parts", "startup,stop", "--limit", "5", "--only", only];
    for peer in &peers {
        args.extend(["--peer", peer]);
    }
    let output_text = output.to_str().unwrap();
    args.extend(["--output", output_text]);
    let ended = compare(args);
    assert_eq!(ended.code(), 0, "{ended}");
    let text = std::fs::read_to_string(output.join("compare.json")).unwrap();
    (ended, serde_json::from_str(&text).unwrap())
}

#[test]
fn bad_peers_are_rows_with_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, report) = made(folder.path());
    assert!(ended.stderr.is_empty(), "quiet in a pipe: {ended}");
    let startup = part(&report, "startup");
    for strategy in strategies().iter().filter(|strategy| **strategy != "random") {
        let cell = cell(startup, &format!("updraft {strategy}"), 0);
        assert!(cell["figure"]["median"].as_f64().unwrap() > 0.0, "{startup}");
        assert_eq!(cell["values"].as_array().unwrap().len(), 2);
    }
    assert!(cell(startup, "wasmi", 0)["figure"]["median"].as_f64().unwrap() > 0.0);
    for (peer, reason) in [
        ("wasm3", "other output: \"fib(15) = 611\""),
        ("wasmer", "failed (exit status: 9): it burns"),
        ("node", "took more than 5 s"),
    ] {
        let cell = cell(startup, peer, 0);
        assert_eq!(cell["reason"], reason);
        assert!(cell["figure"].is_null());
    }
    // Those without threads are no contenders there, and the others' reasons are told as well.
    let stop = part(&report, "stop");
    let rows: Vec<&str> = stop["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["contender"].as_str().unwrap())
        .collect();
    assert!(rows.contains(&"wasmer") && !rows.contains(&"wasmi"), "{rows:?}");
    assert!(cell(stop, "updraft interp", 1)["figure"]["median"].as_f64().unwrap() > 0.0);

    let versions = report["contenders"].as_array().unwrap();
    assert!(versions.iter().any(|one| one["name"] == "wasmi" && one["version"] == "7.8.9"));
    let flags = report["flags"].as_array().unwrap();
    assert!(flags.iter().all(|flag| !flag.as_str().unwrap().contains('/')), "{flags:?}");
}

#[test]
fn figures_are_shown_again() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    let (first, again) = (folder.path().join("out"), folder.path().join("again"));
    std::fs::create_dir(&again).unwrap();
    let file = first.join("compare.json");
    let ended = Updraft::new(["compare", "--from"]).arg(&file).arg("-o").arg(&again).end();
    assert_eq!(ended.code(), 0, "{ended}");
    for name in ["compare.json", "compare.md", "compare.html"] {
        assert!(read(first.join(name)) == read(again.join(name)), "{name} differs");
    }
    let ended = Updraft::new(["compare", "--from"]).arg(&file).end();
    let text = ended.quiet_success();
    assert_eq!(text, read(first.join("compare.md")));
    for wanted in [
        "### Targets",
        "### Start-up",
        "| wasmi | 7.8.9 |",
        "* wasmer: failed (exit status: 9): it burns (fib 1)",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    let page = read(first.join("compare.html")).replace("http://www.w3.org/2000/svg", "");
    assert!(!page.contains("http:") && !page.contains("https:"), "nothing is fetched");
}

#[test]
fn the_steady_state_is_what_the_program_tells() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--parts", "steady", "--programs", "mandelbrot", "--only", "updraft interp"];
    let ended = compare([&flags[..], &["--output", folder.path().to_str().unwrap()]].concat());
    assert_eq!(ended.code(), 0, "{ended}");
    let text = std::fs::read_to_string(folder.path().join("compare.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let cell = cell(part(&report, "steady"), "updraft interp", 0);
    let (inside, cpu) = (cell["values"][0].as_f64().unwrap(), cell["cpu"][0].as_f64().unwrap());
    assert!(0.0 < inside && inside < 60.0 && cpu > 0.0, "{cell}");
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    for (args, wanted) in [
        (&["--programs", "quicksort"][..], "no program is called quicksort"),
        (&["--suite", "/nonexistent"], "there is no /nonexistent/benches/kernels/fib.wasm"),
        (&["--only", "nothing"], "--only leaves no contender"),
        (&["--longest", "0"], "--longest is less than 0.01"),
        (&["--with-cpython", "/nonexistent"], "cannot read /nonexistent"),
        (&["--output", "/dev/null/x"], "cannot make /dev/null/x"),
        (&["--from", "/nonexistent"], "cannot read /nonexistent"),
        (&["--from", "/dev/null"], "/dev/null is no comparison"),
    ] {
        let ended = Updraft::new(["compare"]).args(args).end();
        assert_eq!(ended.code(), 1, "{ended}");
        assert!(ended.stderr.contains(wanted), "{ended}");
    }
    for (args, wanted) in [
        (["--peer", "python=/bin/true"], "no peer is called python"),
        (["--peer", "node"], "it must be NAME=PROGRAM"),
        (["--parts", "speed"], "invalid value 'speed'"),
        (["--limit", "0"], "0 is not in"),
    ] {
        let ended = Updraft::new(["compare"]).args(args).end();
        assert_eq!(ended.code(), 2, "{ended}");
        assert!(ended.stderr.contains(wanted), "{ended}");
    }
}
