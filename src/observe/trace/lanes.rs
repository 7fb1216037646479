//! From samples to what a trace shows: what each thread was doing when, the shares of the tiers, and a profile of functions.

use super::TraceRecorder;
use crate::module::Module;
use crate::observe::sampler::{Doing, Sample};
use crate::threads::ThreadId;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Without samples for so long, a thread has been off its processor.
const GAP: Duration = Duration::from_millis(5);

/// Time that a thread spent on one thing, as far as samples tell.
struct Span {
    doing: Doing,
    begin: Duration,
    last: Duration,
}

/// Gathers samples.
#[derive(Default)]
pub(super) struct Lanes {
    spans: HashMap<ThreadId, Span>,
    /// Samples since the last look at the counters.
    shares: BTreeMap<&'static str, u64>,
    /// Samples by function and what it was doing.
    functions: HashMap<(u32, Doing), u64>,
}

impl Lanes {
    /// Adds a sample that was taken at about `now`.
    pub fn add(&mut self, recorder: &TraceRecorder, now: Duration, sample: &Sample) {
        let Sample { thread, doing, func } = *sample;
        *self.shares.entry(doing.name()).or_default() += 1;
        if let Some(func) = func {
            *self.functions.entry((func, doing)).or_default() += 1;
        }
        let span = self.spans.entry(thread).or_insert(Span { doing, begin: now, last: now });
        let gap = now.saturating_sub(span.last) > GAP;
        if gap || span.doing != doing {
            let ended = Span { doing: span.doing, begin: span.begin, last: span.last };
            // Where one thing follows another, the first lasts until then.
            let end = if gap { ended.last } else { now };
            *span = Span { doing, begin: now, last: now };
            record(recorder, thread, &ended, end);
        }
        span.last = now;
    }

    /// The counters of the shares since the last time.
    pub fn shares(&mut self) -> Map<String, Value> {
        let mut shares = Map::new();
        for doing in ["interp", "quick", "full", "host", "wait", "compile"] {
            shares.insert(doing.into(), self.shares.get(doing).copied().unwrap_or(0).into());
        }
        self.shares.clear();
        shares
    }

    /// Records what is left, and the functions.
    pub fn end(self, recorder: &TraceRecorder, module: &Module) {
        for (thread, span) in &self.spans {
            record(recorder, *thread, span, span.last);
        }
        for ((func, doing), samples) in self.functions {
            let name = module.function_name(func);
            let fields = serde_json::json!({
                "func": func, "name": name, "tier": doing.name(), "samples": samples
            });
            if let Value::Object(fields) = fields {
                recorder.record("profile", fields);
            }
        }
    }
}

fn record(recorder: &TraceRecorder, thread: ThreadId, span: &Span, end: Duration) {
    let mut fields = Map::new();
    fields.insert("thread".into(), thread.into());
    fields.insert("doing".into(), span.doing.name().into());
    fields.insert("begin_us".into(), (span.begin.as_nanos() as f64 / 1e3).into());
    fields.insert("end_us".into(), (end.as_nanos() as f64 / 1e3).into());
    recorder.record("ran", fields);
}
