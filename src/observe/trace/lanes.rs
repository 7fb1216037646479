//! From samples to what a trace shows: what each thread was doing when, the shares of the tiers, and a profile of functions.

use super::TraceRecorder;
use super::chrome::exact_micros;
use crate::interp;
use crate::module::Module;
use crate::observe::sampler::{Outside, Sample, Seen};
use crate::threads::ThreadId;
use crate::tiers::Tier;
use crate::vm::walk::Step;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Without samples for so long, a thread has been off its processor.
const GAP: Duration = Duration::from_millis(5);

/// What a thread was found at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Doing {
    Running(Tier),
    Outside(Outside),
}

impl Doing {
    fn name(self) -> &'static str {
        match self {
            Doing::Running(Tier::Interp) => "interp",
            Doing::Running(Tier::Quick) => "quick",
            Doing::Running(Tier::Full) => "full",
            Doing::Outside(Outside::Host { .. }) => "host",
            Doing::Outside(Outside::Waiting) => "wait",
            Doing::Outside(Outside::Compile) => "compile",
        }
    }
}

/// Time that a thread spent on one thing, as far as samples tell.
struct Span {
    doing: &'static str,
    begin: Duration,
    last: Duration,
}

/// Gathers samples.
pub(crate) struct Lanes {
    module: Module,
    interval: Duration,
    spans: HashMap<ThreadId, Span>,
    /// Samples since the last look at the counters.
    shares: BTreeMap<&'static str, u64>,
    /// Samples by function and tier.
    functions: HashMap<(u32, Tier), u64>,
}

impl Lanes {
    /// For a program of this module, whose threads are sampled at this interval.
    pub fn new(module: Module, interval: Duration) -> Lanes {
        Lanes {
            module,
            interval,
            spans: HashMap::new(),
            shares: BTreeMap::new(),
            functions: HashMap::new(),
        }
    }

    /// Adds what was seen now.
    pub fn add(&mut self, recorder: &TraceRecorder, seen: &Seen<'_>) {
        let (thread, doing) = match seen {
            Seen::Outside(thread, _, outside) => (*thread, Doing::Outside(*outside)),
            Seen::Taken(sample) if sample.outside.is_none() => {
                let innermost = self.innermost(sample);
                if let Some(found) = innermost {
                    *self.functions.entry(found).or_default() += 1;
                }
                // In none: in what enters compiled code, or leaves it.
                let tier = innermost.map_or(Tier::Full, |(_, tier)| tier);
                (sample.thread, Doing::Running(tier))
            }
            // Seen already, when it was due.
            Seen::Taken(_) => return,
        };
        let now = recorder.now();
        let doing = doing.name();
        *self.shares.entry(doing).or_default() += 1;
        let span = self.spans.entry(thread).or_insert(Span { doing, begin: now, last: now });
        let gap = now.saturating_sub(span.last) > GAP.max(self.interval * 3);
        if gap || span.doing != doing {
            let ended = Span { doing: span.doing, begin: span.begin, last: span.last };
            // Where one thing follows another, the first lasts until then.
            let end = if gap { ended.last } else { now };
            *span = Span { doing, begin: now, last: now };
            record(recorder, thread, &ended, end);
        }
        span.last = now;
    }

    /// The innermost function of a sample, and its tier.
    fn innermost(&self, sample: &Sample<'_>) -> Option<(u32, Tier)> {
        let code = &self.module.code;
        let machine = |pc| code.find(pc).map(|place| (place.func, place.tier()));
        let called = usize::from(sample.called_since(&code.interp));
        sample.steps().skip(called).find_map(|step| match step {
            Step::Returned(pc) => machine(pc.wrapping_sub(1)),
            Step::Interrupted { pc, .. } => machine(pc),
            Step::Bytecode(ip) => {
                let (func, _) = interp::place_of(&code.interp, ip)?;
                Some((func, Tier::Interp))
            }
            Step::Edge => None,
        })
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
        for ((func, tier), samples) in self.functions {
            let name = module.function_name(func);
            let ms = self.interval.as_secs_f64() * 1e3 * samples as f64;
            let fields = serde_json::json!({
                "func": func, "name": name, "tier": tier.to_string(), "samples": samples, "ms": ms
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
    fields.insert("doing".into(), span.doing.into());
    fields.insert("begin_us".into(), exact_micros(span.begin).into());
    fields.insert("end_us".into(), exact_micros(end).into());
    recorder.record("ran", fields);
}
