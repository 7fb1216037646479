//! `--profile` and `Profiler`: whole stacks of all threads in all tiers, in three forms, however the program ends.
//!
//! Programs run until enough samples have been taken; how long that takes is nobody's business.

mod common;

use common::{Updraft, go_on_two_threads, per_strategy, repository, runs, tier, wat_file};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use updraft::{
    Config, Engine, Linker, Module, Process, ProcessConfig, ProfileConfig, ProfileFormat, Profiler,
    Tuning,
};

/// Frames, the outermost first, without their tiers; and the samples.
type Stacks = BTreeMap<Vec<String>, u64>;

fn folded(profiler: &Profiler) -> String {
    let mut text = Vec::new();
    profiler.write(ProfileFormat::Folded, "test", &mut text).expect("a vector takes all");
    String::from_utf8(text).expect("it is text")
}

fn parse(text: &str) -> Vec<(Vec<&str>, u64)> {
    text.lines()
        .map(|line| {
            let (stack, count) = line.rsplit_once(' ').expect("a count follows the stack");
            (stack.split(';').collect(), count.parse().expect("it is a number"))
        })
        .collect()
}

/// The stacks, whatever the tiers of their frames; checks that these are possible under the strategy.
fn stacks(strategy: &str, text: &str) -> Stacks {
    let mut stacks = Stacks::new();
    for (frames, count) in parse(text) {
        let plain = frames.iter().map(|frame| {
            if frame.starts_with('[') {
                return (*frame).to_owned();
            }
            let (name, tier) = frame.rsplit_once(" [").expect("a frame names its tier");
            let tiers: &[&str] = match strategy {
                "interp" => &["interp]"],
                "quick" => &["quick]"],
                "full" => &["full]"],
                _ => &["interp]", "quick]", "full]"],
            };
            assert!(tiers.contains(&tier), "{frame} under {strategy}");
            name.to_owned()
        });
        *stacks.entry(plain.collect()).or_default() += count;
    }
    stacks
}

/// Runs a program under a profiler. `host.more` is true as long as `more` says so of the profile.
fn profile(
    strategy: &str,
    waits: bool,
    program: &str,
    more: impl Fn(&Profiler) -> bool + Send + Sync + 'static,
) -> Profiler {
    let config = Config {
        strategy: tier(strategy, 0).parse().expect("a strategy"),
        tuning: Tuning { quick_heat_per_byte: 40, full_heat_per_byte: 400, ..Tuning::default() },
        ..Config::default()
    };
    let engine = Engine::new(config);
    let module = Module::new(&engine, program).expect("it is valid");
    let mut profile = ProfileConfig::default();
    profile.waits = waits;
    let profiler = Profiler::new(profile);
    let mut linker = Linker::new(&engine);
    let (asked, more) = (profiler.clone(), Arc::new(more));
    linker.func("host", "more", move |_: &mut updraft::Caller<'_>, ()| Ok(i32::from(more(&asked))));
    let process = Process::new(&linker, &module, &ProcessConfig::default()).expect("a process");
    let watch = process.observer().watch(None, Some(&profiler));
    assert_eq!(process.run().expect("it does not trap"), 0);
    drop(watch);
    profiler
}

/// `down` calls itself eleven times and then `work`, through a table and directly; `even` and `odd` call each other.
const RECURSION: &str = r#"
  (type $unary (func (param i32) (result i32)))
  (table funcref (elem $work $tiny))
  (func $tiny (type $unary) (i32.mul (local.get 0) (i32.const 3)))
  (func $work (type $unary) (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (call $tiny (local.get 0))))
      (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get $sum))
  (func $even (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 1))))
    (i32.xor (call $odd (i32.sub (local.get $n) (i32.const 1))) (i32.const 1)))
  (func $odd (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (i32.xor (call $even (i32.sub (local.get $n) (i32.const 1))) (i32.const 1)))
  (func $down (param $depth i32) (result i32)
    (if (result i32) (local.get $depth)
      (then (i32.add (i32.const 1) (call $down (i32.sub (local.get $depth) (i32.const 1)))))
      (else
        (i32.add (call_indirect (type $unary) (i32.const 60) (i32.const 0))
          (i32.add (call $work (i32.const 60)) (call $even (i32.const 40)))))))
  (func $go
    (loop $again
      (drop (call $down (i32.const 11)))
      (br_if $again (call $more))))"#;

/// Fails unless a stack of [`RECURSION`] can be.
fn check_recursion(stack: &[String]) {
    let names: Vec<&str> = stack.iter().map(String::as_str).collect();
    let whole = || panic!("{names:?}");
    let [root, rest @ ..] = &names[..] else { whole() };
    assert!(["_start", "wasi_thread_start"].contains(root), "{names:?}");
    let rest = match rest {
        ["go", rest @ ..] => rest,
        [] => return,
        ["[host call thread-spawn]"] if *root == "_start" => return,
        _ => whole(),
    };
    let depth = rest.iter().take_while(|name| **name == "down").count();
    let inner = &rest[depth..];
    match inner {
        [] => assert!(depth <= 12, "{names:?}"),
        ["[host call more]"] => assert_eq!(depth, 0, "{names:?}"),
        ["work"] | ["work", "tiny"] => assert_eq!(depth, 12, "{names:?}"),
        ["even", ..] => {
            assert!(depth == 12 && inner.len() <= 41, "{names:?}");
            let others = inner.iter().zip(["even", "odd"].into_iter().cycle());
            assert!(others.into_iter().all(|(name, wanted)| *name == wanted), "{names:?}");
        }
        _ => whole(),
    }
}

fn stacks_are_whole(strategy: &str) {
    let enough = 400 * runs(1) as u64;
    let import = r#"(import "host" "more" (func $more (result i32)))"#;
    let program = go_on_two_threads(import, RECURSION);
    let profiler = profile(strategy, false, &program, move |p| p.samples() < enough);
    let text = folded(&profiler);
    let stacks = stacks(strategy, &text);
    assert!(stacks.values().sum::<u64>() >= enough, "{text}");
    stacks.keys().for_each(|stack| check_recursion(stack));
    for (root, leaf) in [("_start", "work"), ("wasi_thread_start", "work")] {
        let found = |stack: &&Vec<String>| {
            stack.first().is_some_and(|f| f == root) && stack.contains(&leaf.to_owned())
        };
        assert!(stacks.keys().any(|stack| found(&stack)), "{root} never did {leaf}\n{text}");
    }
}

/// `go` has a long way to the call of `tiny`.
#[cfg(not(debug_assertions))]
fn straight_lines() -> String {
    let long = "(local.set 0 (i32.mul (i32.xor (local.get 0) (i32.const 77)) (i32.const 31)))"
        .repeat(2000);
    format!(
        r#"(module
          (import "host" "more" (func $more (result i32)))
          (func $tiny (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
          (func $go (param i32) (result i32) {long} (call $tiny (local.get 0)))
          (func (export "_start") (local i32 i32)
            (loop $outer
              (local.set 1 (i32.const 100))
              (loop $again
                (local.set 0 (call $go (local.get 0)))
                (br_if $again (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
              (br_if $outer (call $more)))))"#
    )
}

/// Where the interpreter was when a sample became due is known where its handlers go from one to the next (`interp_tail`), which they do
/// in builds without debug assertions. In others the sample is the called function's.
#[cfg(not(debug_assertions))]
#[test]
fn straight_lines_in_the_interpreter_are_their_own() {
    let profiler = profile("interp", false, &straight_lines(), |p| p.samples() < 200);
    let text = folded(&profiler);
    let stacks = stacks("interp", &text);
    let of = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        stacks.get(&names).copied().unwrap_or(0)
    };
    // The sample is taken when `tiny` is called, where nearly no time is spent.
    let (go, tiny) = (of(&["_start", "go"]), of(&["_start", "go", "tiny"]));
    assert!(go > 100 && go > 10 * tiny, "{text}");
}

/// Parks for a moment, again and again.
const WAITS: &str = r#"(module
  (import "host" "more" (func $more (result i32)))
  (memory (import "env" "memory") 1 1 shared)
  (func $park
    (drop (memory.atomic.wait32 (i32.const 512) (i32.const 0) (i64.const 3000000))))
  (func $inner
    (call $park))
  (func (export "_start")
    (loop $again
      (call $inner)
      (br_if $again (call $more)))))"#;

fn waits_are_left_out_or_shown(strategy: &str) {
    let found = |text: &str| text.lines().any(|line| line.contains(";[wait] "));
    let profiler = profile(strategy, true, WAITS, move |p| !found(&folded(p)));
    let text = folded(&profiler);
    let stacks = stacks(strategy, &text);
    let wait = ["_start", "inner", "park", "[wait]"].map(str::to_owned);
    assert!(stacks.contains_key(&wait[..]), "{text}");
    let under_wait = |stack: &&Vec<String>| stack.last().is_some_and(|leaf| leaf == "[wait]");
    for stack in stacks.keys().filter(under_wait) {
        assert_eq!(stack[..], wait[..], "{text}");
    }

    // The same again, as long as it took, without.
    let calls = std::sync::atomic::AtomicU32::new(0);
    let more = move |_: &Profiler| calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 10;
    let profiler = profile(strategy, false, WAITS, more);
    assert!(!folded(&profiler).contains("[wait]"), "{}", folded(&profiler));
}

per_strategy!(stacks_are_whole, waits_are_left_out_or_shown);

/// Runs a program with all forms of a profile; gives the folded stacks, the Firefox profile and the flame graph.
fn all_forms(command: impl FnOnce([&Path; 3]) -> i32, code: i32) -> (String, Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["out.folded", "out.json", "out.svg"].map(|name| folder.path().join(name));
    assert_eq!(command([&paths[0], &paths[1], &paths[2]]), code);
    let [folded, json, svg] =
        paths.each_ref().map(|path| std::fs::read_to_string(path).expect("it was written"));
    let json = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}\n{json}"));
    (folded, json, svg)
}

fn run(strategy: &str, paths: [&Path; 3]) -> Updraft {
    paths.into_iter().fold(Updraft::run(strategy), |run, path| run.arg("--profile").arg(path))
}

/// What the Firefox Profiler needs of a processed profile.
fn check_firefox(profile: &Value) {
    let meta = &profile["meta"];
    assert!(meta["interval"].as_f64().is_some_and(|interval| interval > 0.0), "{meta}");
    assert_eq!(meta["product"], "Updraft");
    assert!(meta["preprocessedProfileVersion"].as_u64() >= Some(40), "{meta}");
    let categories = meta["categories"].as_array().expect("there are categories");
    for wanted in ["Interpreter", "Quick code", "Full code", "Host functions", "Waits"] {
        assert!(categories.iter().any(|c| c["name"] == wanted), "{categories:?}");
    }
    for thread in profile["threads"].as_array().expect("there is a list of threads") {
        let name = thread["name"].as_str().expect("threads have names");
        assert!(thread["isMainThread"] == true || name.starts_with("thread "), "{name}");
        let samples = &thread["samples"];
        let length = samples["length"].as_u64().expect("samples are counted") as usize;
        let stacks = samples["stack"].as_array().expect("samples have stacks");
        assert_eq!(stacks.len(), length);
        let table = thread["stackTable"]["length"].as_u64().expect("stacks are counted");
        assert!(stacks.iter().all(|stack| stack.as_u64().is_none_or(|s| s < table)), "{thread}");
    }
}

#[test]
fn every_form_says_the_same() {
    let program = repository("examples/threads/mergesort.wasm");
    let command =
        |paths: [&Path; 3]| run("interp", paths).arg(&program).args(["400000", "2"]).end().code();
    let (folded, json, svg) = all_forms(command, 0);
    let stacks = parse(&folded);
    assert!(stacks.iter().any(|(stack, _)| stack[0] == "wasi_thread_start [interp]"), "{folded}");
    check_firefox(&json);
    let threads = json["threads"].as_array().expect("threads");
    let samples: u64 = threads.iter().map(|t| t["samples"]["length"].as_u64().unwrap_or(0)).sum();
    assert_eq!(samples, stacks.iter().map(|(_, count)| count).sum::<u64>());
    // A lane for each thread.
    assert!(threads.len() >= 3, "{}", threads.len());
    assert_eq!(threads.iter().filter(|t| t["isMainThread"] == true).count(), 1);
    assert!(svg.contains("sort [interp]") && svg.contains("rgb(224,128,58)"), "{svg}");
}

/// Says that it is there, and then runs on and on.
const ENDLESS: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "\18\00\00\00\06\00\00\00")
  (data (i32.const 24) "ready\n")
  (func $spin (loop $again (br $again)))
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))
    (call $spin)))"#;

fn a_profile_is_written_however_the_program_ends(strategy: &str) {
    let tier = tier(strategy, 0);
    let trap = wat_file(r#"(module (func (export "_start") unreachable))"#);
    let exit = wat_file(
        r#"(module
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (func (export "_start") (call $exit (i32.const 7))))"#,
    );
    let endless = wat_file(ENDLESS);
    for (program, code) in [(&trap, 134), (&exit, 7)] {
        let (_, json, svg) = all_forms(|paths| run(&tier, paths).arg(program).end().code(), code);
        check_firefox(&json);
        assert!(svg.contains("</svg>"));
    }
    let stopped =
        |paths: [&Path; 3]| run(&tier, paths).args(["--timeout", "0.3"]).arg(&endless).end().code();
    check_firefox(&all_forms(stopped, 124).1);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let interrupted = |paths: [&Path; 3]| {
            let mut running = run(&tier, paths).arg(&endless).start();
            running.wait_for_output("ready");
            // SAFETY: a signal to a process that we have started and not waited for.
            assert_eq!(unsafe { libc::kill(running.pid() as i32, signal) }, 0);
            let ended = running.end();
            assert!(ended.stderr.contains("ended by signal"), "{ended}");
            ended.code()
        };
        let (_, json, svg) = all_forms(interrupted, 128 + signal);
        check_firefox(&json);
        assert!(svg.contains("</svg>"));
    }
}

per_strategy!(a_profile_is_written_however_the_program_ends);

#[test]
fn an_unknown_form_is_refused_and_those_known_are_named() {
    let program = repository("examples/threads/hello.wasm");
    for name in ["out.pdf", "out", "out.SVG"] {
        let ended = Updraft::run("interp").args(["--profile", name]).arg(&program).end();
        assert_eq!(ended.code(), 2, "{ended}");
        for known in [".svg", ".json", ".folded", ".txt"] {
            assert!(ended.stderr.contains(known), "{ended}");
        }
    }
    let ended = Updraft::run("interp").args(["--profile-rate", "100"]).arg(&program).end();
    assert_eq!(ended.code(), 2, "a rate without a profile: {ended}");
}

#[test]
fn a_profile_that_cannot_be_written_stops_the_run_before_it_begins() {
    let path = repository("examples/threads/hello.wasm");
    let ended = Updraft::run("interp").args(["--profile", "/nonexistent/a.svg"]).arg(path).end();
    assert_eq!(ended.code(), 1);
    assert!(ended.stdout.is_empty(), "{ended}");
    assert!(ended.stderr.contains("cannot write the profile /nonexistent/a.svg"), "{ended}");
}

#[test]
fn no_output_is_another_or_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hello.wasm");
    std::fs::copy(repository("examples/threads/hello.wasm"), &program).expect("a copy");
    let bytes = std::fs::read(&program).expect("it is there");
    let both = folder.path().join("both.json");
    let linked = folder.path().join("linked.json");
    std::os::unix::fs::symlink(&both, &linked).expect("a link");
    for (first, second, what) in
        [(&both, &both, "trace"), (&linked, &both, "trace"), (&both, &program, "program")]
    {
        let run = Updraft::run("interp").arg("--trace").arg(first).arg("--report").arg(second);
        let ended = run.arg(&program).end();
        assert_eq!(ended.code(), 1, "{ended}");
        assert!(ended.stdout.is_empty(), "{ended}");
        assert!(ended.stderr.contains(&format!("the {what} is the same file")), "{ended}");
    }
    for (summary, what) in [(&program, "program"), (&both, "summary")] {
        let run = Updraft::run("interp").arg("--stats-file").arg(summary).arg("--trace").arg(&both);
        let ended = run.arg(&program).end();
        assert_eq!(ended.code(), 1, "{ended}");
        assert!(ended.stderr.contains(&format!("the {what} is the same file")), "{ended}");
    }
    assert_eq!(std::fs::read(&program).expect("it is there"), bytes, "the program was touched");
    // Two may go to nowhere.
    let run = Updraft::run("interp").args(["--trace", "/dev/null", "--report", "/dev/null"]);
    assert_eq!(run.arg(&program).end().code(), 0);
}

#[test]
fn what_cannot_be_written_does_not_keep_the_rest_from_being_written() {
    let program = repository("examples/threads/hello.wasm");
    let full = ["--trace", "/dev/full", "--stats-file", "/dev/full"];
    let command = |paths: [&Path; 3]| {
        let ended = run("interp", paths).args(full).arg(&program).end();
        for what in ["trace", "summary"] {
            let line = format!("updraft: cannot write the {what} /dev/full");
            assert!(ended.stderr.contains(&line), "{ended}");
        }
        ended.code()
    };
    let (_, json, svg) = all_forms(command, 1);
    check_firefox(&json);
    assert!(svg.contains("</svg>"));
}
