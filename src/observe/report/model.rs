//! What the page shows, read from a trace.

use super::ReportError;
use crate::observe::trace::COMPILERS;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What threads do, in the page's order.
const DOINGS: [&str; 6] = ["interp", "quick", "full", "host", "wait", "compile"];

/// All data of a page. Times are in microseconds.
#[derive(Serialize, Default)]
pub(super) struct Model {
    pub program: String,
    strategy: String,
    exit_code: Option<i64>,
    producer: String,
    dropped: u64,
    duration: f64,
    threads: Vec<Thread>,
    compilers: Vec<Compiler>,
    /// Time, and samples by what was being done.
    shares: Vec<Vec<f64>>,
    counters: BTreeMap<String, Vec<(f64, f64)>>,
    functions: Vec<Function>,
    stops: Vec<Stop>,
    compiles: u64,
    compile_us: f64,
    code_bytes: u64,
    osr: u64,
}

#[derive(Serialize, Default)]
struct Thread {
    name: String,
    begin: Option<f64>,
    end: Option<f64>,
    /// What it did (place in [`DOINGS`]), from when, until when.
    spans: Vec<(usize, f64, f64)>,
}

#[derive(Serialize, Default)]
struct Compiler {
    name: String,
    compiles: Vec<Compile>,
}

#[derive(Serialize)]
struct Compile {
    name: String,
    tier: String,
    begin: f64,
    end: f64,
    bytes: u64,
    steps: Vec<(String, f64, f64)>,
}

#[derive(Serialize, Default)]
struct Function {
    name: String,
    tier: String,
    heat: u64,
    /// Milliseconds in each tier, as samples tell.
    interp: f64,
    quick: f64,
    full: f64,
    /// Calls in each tier, where they were counted.
    calls: BTreeMap<String, u64>,
    /// When it was called first in each tier.
    first: BTreeMap<String, f64>,
    osr: u64,
    compiles: u64,
    compile_ms: f64,
    bytes: u64,
}

#[derive(Serialize)]
struct Stop {
    at: f64,
    thread: String,
    cause: String,
}

/// While events are gone through.
#[derive(Default)]
struct Reader {
    model: Model,
    names: BTreeMap<u64, String>,
    threads: BTreeMap<u64, Thread>,
    compilers: BTreeMap<u64, Compiler>,
    /// Steps that were seen before the compile that they belong to.
    steps: BTreeMap<u64, Vec<(String, f64, f64)>>,
    functions: BTreeMap<u64, Function>,
    stops: Vec<(f64, u64, String)>,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

impl Model {
    pub fn new(trace: &Value) -> Result<Model, ReportError> {
        let events = trace["traceEvents"].as_array();
        let events = events.ok_or(ReportError::Format("there is no list traceEvents"))?;
        let about = &trace["otherData"];
        let producer = text(about, "producer");
        if !producer.starts_with("updraft ") {
            return Err(ReportError::Format("otherData.producer does not name updraft"));
        }
        let mut reader = Reader::default();
        reader.model.program = text(about, "program").to_owned();
        reader.model.strategy = text(about, "strategy").to_owned();
        reader.model.exit_code = about["exit_code"].as_i64();
        reader.model.producer = producer.to_owned();
        reader.model.dropped = about["dropped_events"].as_u64().unwrap_or(0);
        for event in events {
            reader.event(event);
        }
        for function in about["stats"]["functions"].as_array().into_iter().flatten() {
            reader.function_stats(function);
        }
        Ok(reader.finish())
    }
}

impl Reader {
    fn event(&mut self, event: &Value) {
        let lane = event["tid"].as_u64().unwrap_or(0);
        let at = event["ts"].as_f64().unwrap_or(0.0);
        let length = event["dur"].as_f64().unwrap_or(0.0);
        self.model.duration = self.model.duration.max(at + length);
        let (name, args) = (text(event, "name"), &event["args"]);
        match text(event, "ph") {
            "M" if name == "thread_name" => {
                self.names.insert(lane, text(args, "name").to_owned());
            }
            "X" if lane >= COMPILERS => self.compile(lane, name, (at, at + length), args),
            "X" => {
                if let Some(doing) = DOINGS.iter().position(|doing| *doing == name) {
                    self.threads.entry(lane).or_default().spans.push((doing, at, at + length));
                }
            }
            "C" => self.counter(name, at, args),
            "i" => self.instant(name, lane, at, args),
            _ => {}
        }
    }

    fn compile(&mut self, lane: u64, name: &str, (begin, end): (f64, f64), args: &Value) {
        let Some(tier) = args["tier"].as_str() else {
            self.steps.entry(lane).or_default().push((name.to_owned(), begin, end));
            return;
        };
        self.model.compiles += 1;
        self.model.compile_us += end - begin;
        let compile = Compile {
            name: name.to_owned(),
            tier: tier.to_owned(),
            begin,
            end,
            bytes: args["bytes"].as_u64().unwrap_or(0),
            steps: self.steps.remove(&lane).unwrap_or_default(),
        };
        self.compilers.entry(lane).or_default().compiles.push(compile);
    }

    fn counter(&mut self, name: &str, at: f64, args: &Value) {
        if name == "share of tiers" {
            let counts = DOINGS.iter().map(|doing| args[doing].as_f64().unwrap_or(0.0));
            self.model.shares.push(std::iter::once(at).chain(counts).collect());
        } else if let Some(value) =
            args.as_object().and_then(|map| map.values().next()).and_then(Value::as_f64)
        {
            self.model.counters.entry(name.to_owned()).or_default().push((at, value));
        }
    }

    fn instant(&mut self, name: &str, lane: u64, at: f64, args: &Value) {
        match name {
            "thread_start" => self.threads.entry(lane).or_default().begin = Some(at),
            "thread_end" => self.threads.entry(lane).or_default().end = Some(at),
            "stop" => self.stops.push((at, lane, text(args, "cause").to_owned())),
            "publish" => {
                let bytes = args["bytes"].as_u64().unwrap_or(0);
                self.model.code_bytes += bytes;
                if let Some(function) = self.function(args) {
                    function.compiles += 1;
                    function.bytes += bytes;
                    if function.tier != "full" && args["loop"].is_null() {
                        function.tier = text(args, "tier").to_owned();
                    }
                }
            }
            "osr" => {
                self.model.osr += 1;
                if let Some(function) = self.function(args) {
                    function.osr += 1;
                }
            }
            "first_call" => {
                if let Some(function) = self.function(args) {
                    function.first.entry(text(args, "tier").to_owned()).or_insert(at);
                }
            }
            "heat" => {
                let heat = args["heat"].as_u64().unwrap_or(0);
                if let Some(function) = self.function(args) {
                    function.heat = function.heat.max(heat);
                }
            }
            "profile" => {
                let ms = args["ms"].as_f64().or(args["samples"].as_f64()).unwrap_or(0.0);
                if let Some(function) = self.function(args) {
                    match text(args, "tier") {
                        "interp" => function.interp += ms,
                        "quick" => function.quick += ms,
                        _ => function.full += ms,
                    }
                }
            }
            _ => {}
        }
    }

    fn function(&mut self, args: &Value) -> Option<&mut Function> {
        let function = self.functions.entry(args["func"].as_u64()?).or_default();
        if function.name.is_empty() {
            function.name = text(args, "name").to_owned();
            function.tier = "interp".to_owned();
        }
        Some(function)
    }

    /// What the summary at the end knows better.
    fn function_stats(&mut self, stats: &Value) {
        let Some(func) = stats["index"].as_u64() else { return };
        let args = serde_json::json!({"func": func, "name": stats["name"]});
        let Some(function) = self.function(&args) else { return };
        function.heat = stats["heat"].as_u64().unwrap_or(function.heat);
        for (tier, calls) in stats["calls"].as_object().into_iter().flatten() {
            function.calls.insert(tier.clone(), calls.as_u64().unwrap_or(0));
        }
        let costs = stats["compiled"].as_object().into_iter().flat_map(|map| map.values());
        function.compile_ms = costs.filter_map(|cost| cost["seconds"].as_f64()).sum::<f64>() * 1e3;
    }

    fn finish(mut self) -> Model {
        let name = |names: &BTreeMap<u64, String>, lane: u64| {
            names.get(&lane).cloned().unwrap_or_else(|| format!("lane {lane}"))
        };
        for (at, lane, cause) in std::mem::take(&mut self.stops) {
            self.model.stops.push(Stop { at, thread: name(&self.names, lane), cause });
        }
        for (lane, mut thread) in self.threads {
            thread.name = name(&self.names, lane);
            thread.spans.sort_by(|a, b| a.1.total_cmp(&b.1));
            self.model.threads.push(thread);
        }
        for (lane, mut compiler) in self.compilers {
            compiler.name = name(&self.names, lane);
            self.model.compilers.push(compiler);
        }
        self.model.functions = self.functions.into_values().collect();
        self.model.duration = self.model.duration.max(1.0);
        self.model
    }
}
