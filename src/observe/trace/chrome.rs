//! Traces in the "Trace Event Format" of Chrome's viewer.
//!
//! Lanes: one for each thread of the program, one for each compile thread. A compile is a slice on its thread's lane, with a slice
//! inside it for each step; what happened to a wasm thread is an instant on that thread's lane. An arrow leads from a
//! request to its compile.

use super::Record;
use serde::ser::{SerializeSeq, Serializer};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};
use std::time::Duration;

/// There is one process.
const PROCESS: u32 = 1;
/// Lanes of compile threads are numbered from here; those of the program's threads from 1.
pub(crate) const COMPILERS: u64 = 1 << 30;

/// Events that are instants on the lane of a thread of the program.
const INSTANTS: [&str; 7] =
    ["heat", "request", "first_call", "osr", "thread_start", "thread_end", "stop"];
/// Steps of a compile.
const STEPS: [&str; 4] = ["translate", "optimise", "emit", "link"];

pub(super) fn write(
    records: &[Record],
    dropped: u64,
    about: &Map<String, Value>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let mut other = about.clone();
    other.insert("producer".into(), format!("updraft {}", env!("CARGO_PKG_VERSION")).into());
    if dropped > 0 {
        other.insert("dropped_events".into(), dropped.into());
    }
    write!(
        out,
        "{{\"displayTimeUnit\":\"ms\",\"otherData\":{},\"traceEvents\":",
        Value::Object(other)
    )?;
    let mut json = serde_json::Serializer::new(&mut out);
    let mut events = json.serialize_seq(None)?;
    let mut failed = None;
    Writer::default().all(records, |event| {
        if failed.is_none() {
            failed = events.serialize_element(&event).err();
        }
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    events.end()?;
    out.write_all(b"}\n")?;
    out.flush()
}

/// What is under way while the records are gone through.
#[derive(Default)]
struct Writer {
    /// By native thread: its lane, its compile, and the end of the compile's last step.
    compilers: BTreeMap<u32, Compiler>,
    /// Threads of the program, with the time of their first event.
    threads: BTreeMap<u64, f64>,
    /// Requests that no compile has begun for, by function or loop and tier.
    requests: HashMap<String, u64>,
    code_bytes: u64,
    arrows: u64,
}

#[derive(Default)]
struct Compiler {
    lane: u64,
    compile: Option<Compile>,
}

struct Compile {
    name: String,
    begin: f64,
    last_step: f64,
    args: Map<String, Value>,
}

impl Writer {
    fn all(mut self, records: &[Record], mut put: impl FnMut(Value)) {
        for record in records {
            self.one(record, &mut put);
        }
        // Compiles that the end of the program has cut off.
        let end = records.last().map_or(0.0, micros);
        for compiler in std::mem::take(&mut self.compilers).into_values() {
            put(name(compiler.lane, &format!("compile thread {}", compiler.lane - COMPILERS)));
            if let Some(compile) = compiler.compile {
                put(slice(compiler.lane, &compile.name, compile.begin, end, compile.args));
            }
        }
        put(
            json!({"ph": "M", "pid": PROCESS, "name": "process_name", "args": {"name": "updraft"}}),
        );
        for thread in self.threads.keys() {
            let text = if *thread == 0 { "main thread".into() } else { format!("thread {thread}") };
            put(name(lane(*thread), &text));
        }
    }

    fn one(&mut self, record: &Record, put: &mut impl FnMut(Value)) {
        let at = micros(record);
        let thread = record.fields.get("thread").and_then(Value::as_u64);
        if let Some(thread) = thread {
            self.threads.entry(thread).or_insert(at);
        }
        match record.name {
            "counters" => counters(record, at, put),
            "shares" => put(counters_of("share of tiers", at, &record.fields)),
            "ran" => {
                let time = |key| record.fields.get(key).and_then(Value::as_f64).unwrap_or(at);
                let doing = record.fields.get("doing").and_then(Value::as_str).unwrap_or_default();
                let lane = lane(thread.unwrap_or(0));
                put(slice(lane, doing, time("begin_us"), time("end_us"), Map::new()));
            }
            "profile" => {
                let tid = lane(0);
                put(
                    json!({"ph": "i", "s": "p", "pid": PROCESS, "tid": tid, "name": "profile", "cat": "profile",
                    "ts": at, "args": record.fields}),
                );
            }
            "start" => self.start(record, at, put),
            step if STEPS.contains(&step) => self.step(record, at, put),
            "compiled" | "fallback" => self.end(record, at, put),
            "publish" | "reclaim" => {
                let bytes = record.fields.get("bytes").and_then(Value::as_u64).unwrap_or(0);
                self.code_bytes = if record.name == "publish" {
                    self.code_bytes + bytes
                } else {
                    self.code_bytes.saturating_sub(bytes)
                };
                put(counter("code bytes", at, "bytes", self.code_bytes.into()));
                let lane = self.compilers.get(&record.native).map_or(lane(0), |c| c.lane);
                put(instant(lane, record.name, at, &record.fields));
            }
            instants if INSTANTS.contains(&instants) => {
                let lane = lane(thread.unwrap_or(0));
                put(instant(lane, record.name, at, &record.fields));
                if instants == "request" {
                    self.arrows += 1;
                    put(arrow("s", self.arrows, lane, at));
                    for key in keys(&record.fields) {
                        self.requests.insert(key, self.arrows);
                    }
                }
            }
            _ => {}
        }
    }

    fn compiler(&mut self, native: u32) -> &mut Compiler {
        let lane = COMPILERS + self.compilers.len() as u64 + 1;
        self.compilers.entry(native).or_insert(Compiler { lane, compile: None })
    }

    fn start(&mut self, record: &Record, at: f64, put: &mut impl FnMut(Value)) {
        let text = |key| record.fields.get(key).and_then(Value::as_str).unwrap_or_default();
        let title = format!("{} {}", text("tier"), text("names"));
        let arrows: BTreeSet<u64> =
            keys(&record.fields).filter_map(|key| self.requests.remove(&key)).collect();
        let compiler = self.compiler(record.native);
        let args = record.fields.clone();
        compiler.compile = Some(Compile { name: title, begin: at, last_step: at, args });
        for id in arrows {
            put(arrow("f", id, compiler.lane, at));
        }
    }

    fn step(&mut self, record: &Record, at: f64, put: &mut impl FnMut(Value)) {
        let compiler = self.compiler(record.native);
        if let Some(compile) = &mut compiler.compile {
            put(slice(compiler.lane, record.name, compile.last_step, at, record.fields.clone()));
            compile.last_step = at;
        }
    }

    fn end(&mut self, record: &Record, at: f64, put: &mut impl FnMut(Value)) {
        let compiler = self.compiler(record.native);
        if let Some(mut compile) = compiler.compile.take() {
            compile.args.extend(record.fields.clone());
            put(slice(compiler.lane, &compile.name, compile.begin, at, compile.args));
        }
        if record.name == "fallback" {
            put(instant(compiler.lane, record.name, at, &record.fields));
        }
    }
}

/// Microseconds from the start.
fn micros(record: &Record) -> f64 {
    exact_micros(record.at)
}

/// Microseconds, to an eighth. So a number is exactly what it says, and so are sums: viewers count in nanoseconds, and a slice that begins where
/// another ends must not seem to begin before.
pub(super) fn exact_micros(time: Duration) -> f64 {
    (time.as_nanos() / 125) as f64 / 8.0
}

fn lane(thread: u64) -> u64 {
    thread + 1
}

/// What a request or a compile is about, function by function and loop by loop.
fn keys(fields: &Map<String, Value>) -> impl Iterator<Item = String> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let tier = text("tier");
    let numbers = |text: String| -> Vec<String> {
        let digits = |c: char| !c.is_ascii_digit();
        text.split(digits).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let functions = numbers(text("functions")).into_iter().map(|func| format!("f{func}"));
    let loops = numbers(text("loops"));
    let loops: Vec<String> = loops.chunks(2).map(|pair| format!("l{}", pair.join("."))).collect();
    functions.chain(loops).map(move |what| format!("{tier} {what}"))
}

fn counters(record: &Record, at: f64, put: &mut impl FnMut(Value)) {
    for (key, title) in
        [("resident_bytes", "resident memory"), ("queued", "compile queue"), ("threads", "threads")]
    {
        if let Some(value) = record.fields.get(key) {
            put(counter(title, at, key, value.clone()));
        }
    }
}

fn counters_of(title: &str, at: f64, values: &Map<String, Value>) -> Value {
    json!({"ph": "C", "pid": PROCESS, "name": title, "ts": at, "args": values})
}

fn counter(title: &str, at: f64, key: &str, value: Value) -> Value {
    json!({"ph": "C", "pid": PROCESS, "name": title, "ts": at, "args": {key: value}})
}

fn instant(lane: u64, name: &str, at: f64, fields: &Map<String, Value>) -> Value {
    json!({"ph": "i", "s": "t", "pid": PROCESS, "tid": lane, "name": name, "cat": "tier", "ts": at, "args": fields})
}

fn slice(lane: u64, name: &str, begin: f64, end: f64, args: Map<String, Value>) -> Value {
    json!({
        "ph": "X", "pid": PROCESS, "tid": lane, "name": name, "cat": "tier",
        "ts": begin, "dur": (end - begin).max(0.0), "args": args
    })
}

fn arrow(phase: &str, id: u64, lane: u64, at: f64) -> Value {
    json!({
        "ph": phase, "bp": "e", "id": id, "pid": PROCESS, "tid": lane, "name": "compile", "cat": "request",
        "ts": at
    })
}

fn name(lane: u64, text: &str) -> Value {
    json!({"ph": "M", "pid": PROCESS, "tid": lane, "name": "thread_name", "args": {"name": text}})
}
