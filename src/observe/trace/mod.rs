//! Recording a run: tier events with their times, and counters, to be written as a trace.

mod chrome;
mod lanes;

pub(crate) use chrome::COMPILERS;
pub(crate) use lanes::Lanes;

use super::events::TARGET;
use crate::process::Observer;
use serde_json::{Map, Value};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Records that are kept; later ones are counted and dropped. About 300 bytes each.
const MOST_RECORDS: usize = 2_000_000;

/// Records the tier events of all programs of this process, from its making on.
///
/// [`TraceRecorder::layer`] makes it listen, [`Observer::watch`] adds what threads are doing, and [`TraceRecorder::write_chrome`] writes
/// what it has heard. Clones share the record.
#[derive(Clone, Debug)]
pub struct TraceRecorder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    start: Instant,
    records: Mutex<Vec<Record>>,
    dropped: AtomicU64,
}

/// An event, or a look at the counters.
#[derive(Debug)]
struct Record {
    /// From the start.
    at: Duration,
    name: &'static str,
    /// The native thread that it happened on, in order of appearance.
    native: u32,
    fields: Map<String, Value>,
}

impl Default for TraceRecorder {
    fn default() -> Self {
        TraceRecorder::new()
    }
}

impl TraceRecorder {
    /// A recorder without records; its clock starts.
    #[must_use]
    pub fn new() -> TraceRecorder {
        TraceRecorder {
            inner: Arc::new(Inner {
                start: Instant::now(),
                records: Mutex::default(),
                dropped: AtomicU64::new(0),
            }),
        }
    }

    /// A layer for the process's `tracing` subscriber, by which the recorder hears the events.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + 'static
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let only = Targets::new().with_target(TARGET, LevelFilter::DEBUG);
        Listener(self.clone()).with_filter(only)
    }

    /// Writes the record in the format of Chrome's trace viewer, which Perfetto reads too ("Trace Event Format", JSON object form).
    /// `about` goes to its `otherData`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_chrome(
        &self,
        out: &mut dyn io::Write,
        about: &Map<String, Value>,
    ) -> io::Result<()> {
        let records = self.inner.records.lock().unwrap_or_else(PoisonError::into_inner);
        chrome::write(&records, self.inner.dropped.load(Ordering::Relaxed), about, out)
    }

    /// Records the counters of a program.
    pub(crate) fn record_counters(&self, observer: &Observer, lanes: &mut Lanes) {
        self.record("shares", lanes.shares());
        let mut fields = Map::new();
        if let Some(bytes) = resident_bytes() {
            fields.insert("resident_bytes".into(), bytes.into());
        }
        fields.insert("queued".into(), observer.queued().into());
        fields.insert("threads".into(), (observer.threads_alive() + 1).into());
        self.record("counters", fields);
    }

    /// Time since the recorder was made.
    fn now(&self) -> Duration {
        self.inner.start.elapsed()
    }

    fn record(&self, name: &'static str, fields: Map<String, Value>) {
        let at = self.now();
        let mut records = self.inner.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() < MOST_RECORDS {
            records.push(Record { at, name, native: native_thread(), fields });
        } else {
            self.inner.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The layer.
struct Listener(TraceRecorder);

impl<S: tracing::Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        self.0.record(event.metadata().name(), fields.0);
    }
}

/// The fields of an event, but for its message.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        if field.name() != "message" {
            self.0.insert(field.name().into(), value);
        }
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

/// A number for the calling native thread, in order of first use.
fn native_thread() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local!(static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed));
    // Events may come while a thread's locals are being destroyed.
    NUMBER.try_with(|number| *number).unwrap_or(u32::MAX)
}

/// Bytes of this process that are in memory; `/proc/self/statm`, see proc(5).
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
