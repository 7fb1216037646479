//! `--trace`: the file is what Perfetto and Chrome's viewer read, and says what has happened.

mod common;
use common::{Updraft, go_on_two_threads, per_strategy, repository, tier, wat_file};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Lanes of compile threads have numbers from here on.
const COMPILERS: u64 = 1 << 30;

/// A program of two threads with something hot: the second thread spins as well.
const PROGRAM: &str = r#"(module
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (import "env" "memory" (memory 1 1 shared))
  (func $spin (param i32) (result i32)
    (local i32)
    (loop $next
      (local.set 1 (i32.xor (i32.mul (local.get 1) (i32.const 31)) (local.get 0)))
      (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1))
  (func (export "wasi_thread_start") (param i32 i32)
    (drop (call $spin (i32.const 3000000)))
    (i32.atomic.store (i32.const 0) (i32.const 1))
    (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
  (func (export "_start")
    (drop (call $spawn (i32.const 0)))
    (drop (call $spin (i32.const 3000000)))
    (loop $again
      (if (i32.eqz (i32.atomic.load (i32.const 0)))
        (then
          (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))
          (br $again))))))"#;

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_else(|| panic!("{key} is a text in {event}"))
}

fn number(event: &Value, key: &str) -> f64 {
    event[key].as_f64().unwrap_or_else(|| panic!("{key} is a number in {event}"))
}

/// Runs the program with `--trace` and further arguments, and reads the trace. Returns it with the exit code.
fn trace(tier: &str, args: &[&str]) -> (Value, i32) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.trace");
    let ended = Updraft::run(tier).arg("--trace").arg(&path).args(args).end();
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{e}\n{ended}"));
    let code = ended.code();
    (serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{ended}\n{text}")), code)
}

/// What the "Trace Event Format" wants of each event; gives the events.
fn check(trace: &Value) -> &[Value] {
    assert_eq!(trace["displayTimeUnit"], "ms");
    let events = trace["traceEvents"].as_array().expect("there is a list of events");
    let mut lanes = BTreeSet::new();
    let mut named = BTreeSet::new();
    let (mut begun, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        assert_eq!(number(event, "pid"), 1.0);
        text(event, "name");
        let phase = text(event, "ph");
        if phase != "M" {
            assert!(number(event, "ts") >= 0.0, "{event}");
        }
        match phase {
            "M" => {
                if event["name"] == "thread_name" {
                    assert!(!text(&event["args"], "name").is_empty());
                    assert!(named.insert(event["tid"].as_u64()), "named once: {event}");
                }
            }
            "X" => assert!(number(event, "dur") >= 0.0, "{event}"),
            "i" => assert!(["t", "p"].contains(&text(event, "s")), "{event}"),
            "C" => {
                let values = event["args"].as_object().expect("counters have values");
                assert!(!values.is_empty() && values.values().all(Value::is_number), "{event}");
            }
            "s" => assert!(begun.insert(event["id"].as_u64()), "{event}"),
            "f" => assert!(ended.insert(event["id"].as_u64()), "{event}"),
            other => panic!("unknown phase {other}: {event}"),
        }
        if ["X", "i", "s", "f"].contains(&phase) {
            lanes.insert(event["tid"].as_u64());
        }
    }
    assert!(lanes.is_subset(&named), "every lane has a name: {lanes:?}, {named:?}");
    assert!(ended.is_subset(&begun), "arrows that end begin somewhere");
    check_slices(events);
    events
}

/// Slices of a lane lie inside each other or follow each other, for who counts whole nanoseconds, cut off, as Perfetto does.
fn check_slices(events: &[Value]) {
    let mut lanes: BTreeMap<Option<u64>, Vec<(i64, i64)>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let [begin, length] = ["ts", "dur"].map(|key| (number(event, key) * 1e3) as i64);
        lanes.entry(event["tid"].as_u64()).or_default().push((begin, -length));
    }
    for slices in lanes.values_mut() {
        slices.sort_unstable();
        let mut ends: Vec<i64> = Vec::new();
        for (begin, length) in slices {
            let end = *begin - *length;
            ends.retain(|outer| *outer > *begin);
            assert!(
                ends.last().is_none_or(|outer| end <= *outer),
                "from {begin} to {end}: {ends:?}"
            );
            ends.push(end);
        }
    }
}

fn named<'a>(events: &'a [Value], name: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["name"] == name)
}

fn a_trace_is_complete(strategy: &str) {
    let program = wat_file(PROGRAM);
    let (trace, code) = trace(&tier(strategy, 0), &[program.to_str().unwrap()]);
    assert_eq!(code, 0);
    assert_eq!(trace["otherData"]["exit_code"], 0);
    assert!(text(&trace["otherData"], "strategy").starts_with(strategy));
    let events = check(&trace);

    // The second thread, whose id is 1.
    for name in ["thread_start", "thread_end"] {
        let threads: Vec<_> = named(events, name).map(|e| e["args"]["thread"].as_u64()).collect();
        assert_eq!(threads, [Some(1)], "{name}");
    }
    let stops: Vec<_> = named(events, "stop").collect();
    assert_eq!(stops.len(), 1, "{stops:?}");
    assert_eq!(text(&stops[0]["args"], "cause"), "Exit(0)");

    let compiles: Vec<&Value> = events
        .iter()
        .filter(|e| {
            e["tid"].as_u64() >= Some(COMPILERS) && e["ph"] == "X" && !e["args"]["tier"].is_null()
        })
        .collect();
    let published: Vec<&Value> = named(events, "publish").collect();
    match strategy {
        "interp" => assert!(compiles.is_empty() && published.is_empty()),
        "quick" | "full" => assert!(!compiles.is_empty() && !published.is_empty()),
        // It may end before anything is compiled, but it gets hot.
        "tiered" => assert!(named(events, "heat").any(|e| e["args"]["name"] == "spin")),
        _ => {}
    }
    // What was published had been asked for in that tier.
    for event in published {
        let (func, at) = (event["args"]["func"].as_u64().unwrap(), number(event, "ts"));
        let asked = named(events, "request").any(|request| {
            let list = |key| text(&request["args"], key).to_owned();
            let all = list("functions") + &list("loops");
            let found = all.split(|c: char| !c.is_ascii_digit()).any(|n| n == func.to_string());
            request["args"]["tier"] == event["args"]["tier"] && found && number(request, "ts") <= at
        });
        assert!(asked, "{event}");
    }
    // The steps of a compile lie within it, one after another.
    for compile in compiles {
        let (begin, length) = (number(compile, "ts"), number(compile, "dur"));
        let steps: BTreeMap<&str, (f64, f64)> = events
            .iter()
            .filter(|e| e["ph"] == "X" && e["tid"] == compile["tid"] && e["args"]["tier"].is_null())
            .map(|e| (text(e, "name"), number(e, "ts"), number(e, "dur")))
            .filter(|(_, at, _)| (begin..=begin + length).contains(at))
            .map(|(name, at, dur)| (name, (at, at + dur)))
            .collect();
        let mut last = begin;
        for step in ["translate", "optimise", "emit", "link"] {
            if let Some((at, end)) = steps.get(step) {
                assert!(*at >= last - 0.01 && *end <= begin + length + 0.01, "{step} in {compile}");
                last = *end;
            } else {
                // The program has ended meanwhile.
                assert!(compile["args"]["us"].is_null(), "{step} is missing in {compile}");
            }
        }
    }
}

fn a_trap_is_traced(strategy: &str) {
    let program = wat_file(r#"(module (func (export "_start") unreachable))"#);
    let (trace, code) = trace(&tier(strategy, 0), &[program.to_str().unwrap()]);
    assert_eq!(code, 134);
    assert_eq!(trace["otherData"]["exit_code"], 134);
    let events = check(&trace);
    let stops: Vec<_> = named(events, "stop").map(|e| text(&e["args"], "cause")).collect();
    assert_eq!(stops, ["Trap"]);
}

per_strategy!(a_trace_is_complete, a_trap_is_traced);

/// Two threads call `leaf` 30 000 times each, half of them through a table, and `down` 10 000 times, 100 of them from outside.
const CALLS: &str = r#"
  (type $unary (func (param i32) (result i32)))
  (table funcref (elem $leaf))
  (func $leaf (type $unary) (i32.add (local.get 0) (i32.const 1)))
  (func $down (type $unary)
    (if (result i32) (local.get 0)
      (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
      (else (i32.const 0))))
  (func $go (local i32)
    (loop $next
      (drop (call $leaf (local.get 0)))
      (drop (call_indirect (type $unary) (local.get 0) (i32.const 0)))
      (br_if $next (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 15000))))
    (local.set 0 (i32.const 100))
    (loop $next
      (drop (call $down (i32.const 99)))
      (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func $never (result i32) (i32.const 0))"#;

/// Counts of calls are exact, in whatever tiers, and the first call in a tier is told once.
fn calls_are_counted(strategy: &str) {
    let program = wat_file(&go_on_two_threads("", CALLS));
    let (trace, code) = trace(&tier(strategy, 1), &[program.to_str().unwrap()]);
    assert_eq!(code, 0);
    let events = check(&trace);
    let functions = trace["otherData"]["stats"]["functions"].as_array().expect("a list");
    let calls = |name: &str| {
        let function = functions.iter().find(|f| f["name"] == name).expect("it was called");
        function["calls"].as_object().expect("calls are counted")
    };
    let sum = |name: &str| calls(name).values().map(|n| n.as_u64().unwrap()).sum::<u64>();
    let sums = ["leaf", "down", "go", "_start", "wasi_thread_start"].map(sum);
    assert_eq!(sums, [60_000, 20_000, 2, 1, 1]);
    assert!(functions.iter().all(|f| f["name"] != "never"));
    for name in ["leaf", "down", "go", "_start"] {
        let tiers: BTreeSet<&str> = calls(name).keys().map(String::as_str).collect();
        if ["interp", "quick", "full"].contains(&strategy) {
            assert_eq!(tiers, BTreeSet::from([strategy]), "{name}");
        }
        let first = |e: &&Value| e["name"] == "first_call" && e["args"]["name"] == name;
        let told: Vec<&Value> = events.iter().filter(first).collect();
        let tiers_told: BTreeSet<&str> = told.iter().map(|e| text(&e["args"], "tier")).collect();
        assert_eq!(tiers_told, tiers, "{name}");
        assert_eq!(told.len(), tiers.len(), "once for each tier: {told:?}");
        for event in told {
            let published = |e: &&Value| {
                e["args"]["name"] == name
                    && e["args"]["tier"] == event["args"]["tier"]
                    && e["args"]["loop"].is_null()
            };
            let mut published = named(events, "publish").filter(published);
            match text(&event["args"], "tier") {
                "interp" => assert!(published.next().is_none()),
                // The code can be called a moment before it is told that it can.
                _ => assert!(published.next().is_some(), "{event}"),
            }
        }
    }
}

per_strategy!(calls_are_counted);

#[test]
fn calls_are_not_counted_unasked() {
    let program = wat_file(&go_on_two_threads("", CALLS));
    let ended = Updraft::run("interp").arg("--stats=json").arg(&*program).end();
    assert_eq!(ended.code(), 0, "{ended}");
    assert!(!ended.stderr.contains("\"calls\""), "{ended}");
}

/// Sampling neither changes what a program does nor kills it, in all tiers, with threads that come and go.
fn sampled_programs_do_the_same(strategy: &str) {
    for (file, args) in
        [("mergesort", &["200000", "2"][..]), ("spawnstorm", &[]), ("pingpong", &[])]
    {
        let path = repository(&format!("examples/threads/{file}.wasm"));
        let plain = Updraft::run(&tier(strategy, 0)).arg(&path).args(args).end();
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.trace");
        let traced =
            Updraft::run(&tier(strategy, 0)).arg("--trace").arg(&out).arg(&path).args(args).end();
        assert_eq!((plain.code(), &plain.stdout), (traced.code(), &traced.stdout), "{traced}");
        check(&serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap());
    }
}

per_strategy!(sampled_programs_do_the_same);

#[test]
fn a_trace_that_cannot_be_written_stops_the_run_before_it_begins() {
    let path = repository("examples/threads/hello.wasm");
    let ended = Updraft::run("interp").args(["--trace", "/nonexistent/out.trace"]).arg(path).end();
    assert_eq!(ended.code(), 1);
    assert!(ended.stdout.is_empty(), "{ended}");
    assert!(ended.stderr.contains("cannot write the trace /nonexistent/out.trace"), "{ended}");
}
