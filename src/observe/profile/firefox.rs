//! The Firefox Profiler's format: a lane for each thread, categories for tiers.

use super::Profiler;
use super::stacks::{Kind, ROOT, Stacks, Timed};
use crate::threads::ThreadId;
use crate::tiers::Tier;
use fxprof_processed_profile::{
    CategoryColor, CpuDelta, Frame, FrameFlags, FrameInfo, Profile, StackHandle, Timestamp,
};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

const KINDS: [(Kind, &str, CategoryColor); 7] = [
    (Kind::Tier(Tier::Interp), "Interpreter", CategoryColor::Orange),
    (Kind::Tier(Tier::Quick), "Quick code", CategoryColor::Yellow),
    (Kind::Tier(Tier::Full), "Full code", CategoryColor::Green),
    (Kind::Host, "Host functions", CategoryColor::Purple),
    (Kind::Wait, "Waits", CategoryColor::Gray),
    (Kind::Compile, "Waits for compiles", CategoryColor::Magenta),
    (Kind::Other, "Runtime", CategoryColor::Blue),
];

pub(super) fn write(
    profiler: &Profiler,
    stacks: &Stacks,
    program: &str,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let interval = profiler.interval();
    let mut profile = Profile::new("Updraft", profiler.started.into(), interval.into());
    profile.set_os_name("Linux");
    let categories = KINDS.map(|(kind, name, colour)| (kind, profile.add_category(name, colour)));
    let frames: Vec<FrameInfo> = stacks
        .frames
        .iter()
        .map(|frame| {
            let category = categories.iter().find(|(kind, _)| *kind == frame.kind);
            let category = category.expect("every kind has a category").1;
            FrameInfo {
                frame: Frame::Label(profile.intern_string(&frame.label)),
                category_pair: category.into(),
                flags: FrameFlags::empty(),
            }
        })
        .collect();

    let mut threads: BTreeMap<ThreadId, Vec<Timed>> = BTreeMap::new();
    for timed in &stacks.times {
        threads.entry(timed.thread).or_default().push(*timed);
    }
    let process = profile.add_process(program, std::process::id(), time(Duration::ZERO));
    for (id, mut samples) in threads {
        samples.sort_by_key(|timed| timed.at);
        let at = |timed: Option<&Timed>| time(timed.map_or(Duration::ZERO, |timed| timed.at));
        let (begin, end) = (at(samples.first()), at(samples.last()));
        let thread = profile.add_thread(process, id, begin, id == 0);
        if id != 0 {
            // The first one has the process's name, by which the viewer shows both.
            profile.set_thread_name(thread, &format!("thread {id}"));
        }
        profile.set_thread_end_time(thread, end);
        let mut known: HashMap<u32, StackHandle> = HashMap::new();
        for Timed { at, stack, .. } in samples {
            let mut missing = Vec::new();
            let mut below = stack;
            while below != ROOT && !known.contains_key(&below) {
                missing.push(below);
                below = stacks.nodes[below as usize].below;
            }
            let mut handle = known.get(&below).copied();
            for node in missing.into_iter().rev() {
                let info = frames[stacks.nodes[node as usize].frame as usize].clone();
                let frame = profile.intern_frame(thread, info);
                let made = profile.intern_stack(thread, handle, frame);
                known.insert(node, made);
                handle = Some(made);
            }
            let leaf = &stacks.frames[stacks.nodes[stack as usize].frame as usize];
            let running = !matches!(leaf.kind, Kind::Wait | Kind::Compile);
            let cpu = if running { interval } else { Duration::ZERO };
            profile.add_sample(thread, time(at), handle, CpuDelta::from_nanos(nanos(cpu)), 1);
        }
    }
    if stacks.untimed > 0 {
        tracing::warn!(stacks.untimed, "the profile's later samples are not in it");
    }
    serde_json::to_writer(out, &profile).map_err(io::Error::from)
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

fn time(since_start: Duration) -> Timestamp {
    Timestamp::from_nanos_since_reference(nanos(since_start))
}
