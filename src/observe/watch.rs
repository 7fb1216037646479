//! Watching a program while it runs: the thread that samples its threads, for a trace, a profile, or both.

use super::profile::{Profiler, Reader};
use super::sampler::{self, Sampler, Seen, Wanted};
use super::trace::{Lanes, TraceRecorder};
use crate::process::Observer;
use crate::vm::sys;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time between two samples of a thread, if no profile says otherwise.
const SAMPLE_EVERY: Duration = Duration::from_millis(1);
/// Time between two looks at the counters of a trace.
const COUNTERS_EVERY: Duration = Duration::from_millis(10);

/// Records what a program does while it lives.
#[derive(Debug)]
pub struct Watch {
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Observer {
    /// Begins to record what the threads of the program are doing, until the guard is dropped: for a trace (with its counters: share of each
    /// tier, resident memory, requests in the queue), for a profile, or both. Threads are sampled every millisecond, or as often as the
    /// profile says.
    ///
    /// A program is watched by one at a time: while it is, another watch records nothing, and the log tells.
    #[must_use]
    pub fn watch(&self, trace: Option<&TraceRecorder>, profile: Option<&Profiler>) -> Watch {
        let ended = Arc::new(AtomicBool::new(false));
        if !self.begin_watch() {
            tracing::warn!("the program is being watched already; another watch records nothing");
            return Watch { ended, thread: None };
        }
        sys::set_sample_hook(sampler::take_native);
        let told = ended.clone();
        let (observer, trace, profile) = (self.clone(), trace.cloned(), profile.cloned());
        let body = move || {
            sample_until(&told, &observer, trace.as_ref(), profile.as_ref());
            observer.end_watch();
        };
        let thread = std::thread::Builder::new().name("updraft-sample".into()).spawn(body);
        if let Err(error) = &thread {
            tracing::warn!(%error, "cannot start the thread that samples; there will be no samples");
            self.end_watch();
        }
        Watch { ended, thread: thread.ok() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            sys::wake(&thread);
            let _ = thread.join();
        }
    }
}

fn sample_until(
    ended: &AtomicBool,
    observer: &Observer,
    trace: Option<&TraceRecorder>,
    profile: Option<&Profiler>,
) {
    let (group, module) = (observer.group(), observer.module());
    let interval = profile.map_or(SAMPLE_EVERY, Profiler::interval);
    let wanted = Wanted {
        stacks: profile.is_some(),
        waits: profile.is_some_and(|profile| profile.config().waits),
        // Lanes are drawn of samples in order, those of waits among them.
        at_once: trace.is_some(),
    };
    let mut sampler = Sampler::new(interval, wanted);
    let mut lanes = trace.map(|trace| (trace, Lanes::new(module.clone(), interval)));
    let reader = |profile: &Profiler| Reader::new(module.clone(), profile.config());
    let mut profile = profile.map(|profile| (profile, reader(profile)));
    let mut seen = |lanes: &mut Option<(&TraceRecorder, Lanes)>, seen: Seen<'_>| {
        if let Some((trace, lanes)) = lanes {
            lanes.add(trace, &seen);
        }
        if let Some((profile, reader)) = &mut profile {
            reader.add(&mut profile.stacks(), &seen);
        }
    };
    let mut ticks = sys::Ticks::new(interval);
    let start = Instant::now();
    let mut counted = None::<Instant>;
    while !ended.load(Ordering::Acquire) {
        let now = Instant::now();
        if let Some((trace, lanes)) = &mut lanes
            && counted.is_none_or(|last| now - last >= COUNTERS_EVERY)
        {
            counted = Some(now);
            trace.record_counters(observer, lanes);
        }
        sampler.tick(group, now - start, |found| seen(&mut lanes, found));
        ticks.wait();
    }
    sampler.end(group, |found| seen(&mut lanes, found));
    if let Some((trace, mut lanes)) = lanes {
        trace.record_counters(observer, &mut lanes);
        lanes.end(trace, module);
    }
}
