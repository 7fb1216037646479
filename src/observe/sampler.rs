//! Samples of what the threads of a program are doing.
//!
//! A thread that is known to wait, or to be in a host function, is looked at from outside. Any other gets the stop signal: in machine
//! code the handler notes the program counter and those of the callers in its segment; in the interpreter it makes
//! the next look at the budget note the function. Nothing is paid where nobody samples, but for one store around each call of
//! the host.
//!
//! Samples travel through a ring per thread, written by the thread (or the handler on it) and read by the sampler.

use crate::module::Module;
use crate::threads::{Group, ThreadId};
use crate::tiers::Tier;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use updraft_jit::abi::{ThreadState, activity, sample};

/// Words of a ring: some dozens of samples, where one is taken out each time before the next is asked for.
const WORDS: usize = 1 << 10;
/// Frames of a sample, at most.
const FRAMES: usize = 60;

const INTERPRETED: u64 = 1;
const NATIVE: u64 = 2;
const KIND_SHIFT: u32 = 32;

/// Where one thread's samples go. A sample is its kind and length, then so many words: program counters, or a function.
struct Ring {
    words: [AtomicU64; WORDS],
    /// Words written, and read, since the ring was made.
    written: AtomicUsize,
    read: AtomicUsize,
}

impl Ring {
    /// Adds a sample, unless there is no room. Async-signal-safe. The calling thread's own ring; a handler writes only if it
    /// has interrupted machine code, so that there is one writer at a time.
    fn push(&self, kind: u64, words: &[usize]) {
        let at = self.written.load(Relaxed);
        if at - self.read.load(Acquire) + words.len() + 1 > WORDS {
            return;
        }
        self.words[at % WORDS].store(kind << KIND_SHIFT | words.len() as u64, Relaxed);
        for (index, word) in words.iter().enumerate() {
            self.words[(at + 1 + index) % WORDS].store(*word as u64, Relaxed);
        }
        self.written.store(at + 1 + words.len(), Release);
    }

    /// Takes out all samples.
    fn drain(&self, mut f: impl FnMut(u64, &[usize])) {
        let end = self.written.load(Acquire);
        let mut at = self.read.load(Relaxed);
        while at < end {
            let header = self.words[at % WORDS].load(Relaxed);
            let mut words = [0; FRAMES];
            let count = (header as u32 as usize).min(FRAMES);
            for (index, word) in words.iter_mut().enumerate().take(count) {
                *word = self.words[(at + 1 + index) % WORDS].load(Relaxed) as usize;
            }
            at += 1 + count;
            f(header >> KIND_SHIFT, &words[..count]);
        }
        self.read.store(end, Release);
    }
}

/// The ring of a thread that is being sampled.
fn ring(thread: &ThreadState) -> Option<&Ring> {
    // SAFETY: null, or a ring, which is never freed.
    unsafe { thread.sampled.ring.load(Acquire).cast::<Ring>().as_ref() }
}

/// The hook of the signal handler: takes a sample of machine code at `pc`, and of the callers that the frame pointers from `fp` on
/// lead to within the segment's stack.
///
/// # Safety
/// All of `stack` can be read.
pub(crate) unsafe fn take_native(thread: &ThreadState, pc: usize, fp: usize, stack: Range<usize>) {
    let Some(ring) = ring(thread) else { return };
    let mut frames = [0; FRAMES];
    // As a return address: behind the instruction.
    let (mut pc, mut fp, mut count) = (pc + 1, fp, 0);
    while count < FRAMES {
        frames[count] = pc;
        count += 1;
        // In a prologue a caller is missing; in the runtime's own code the frame pointer may be anything, and so may be
        // what is read. Only addresses of compiled code are counted afterwards.
        if !stack.contains(&fp) || !stack.contains(&(fp + 15)) || fp % 8 != 0 {
            break;
        }
        // SAFETY: within the stack.
        let (outer, address) = unsafe { (*(fp as *const usize), *(fp as *const usize).add(1)) };
        if outer <= fp {
            break;
        }
        (pc, fp) = (address, outer);
    }
    ring.push(NATIVE, &frames[..count]);
}

/// Takes the sample that is due of a thread that interprets this function (or runs its quick code, and looks at the budget);
/// false if none is.
pub(crate) fn take_due(thread: &ThreadState, kind: Tier, func: u32) -> bool {
    if thread.sampled.wanted.load(Relaxed) != sample::DUE {
        return false;
    }
    thread.sampled.wanted.store(sample::NONE, Relaxed);
    if let Some(ring) = ring(thread) {
        ring.push(INTERPRETED, &[func as usize, kind as usize]);
    }
    true
}

/// What a thread was found at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    /// Running code of a tier.
    Running(Tier),
    /// In a host function.
    Host,
    /// In `memory.atomic.wait`.
    Waiting,
    /// Waiting for a compile.
    Compile,
}

impl Doing {
    pub fn name(self) -> &'static str {
        match self {
            Doing::Running(Tier::Interp) => "interp",
            Doing::Running(Tier::Quick) => "quick",
            Doing::Running(Tier::Full) => "full",
            Doing::Host => "host",
            Doing::Waiting => "wait",
            Doing::Compile => "compile",
        }
    }
}

/// A sample.
pub(crate) struct Sample {
    pub thread: ThreadId,
    pub doing: Doing,
    /// The function that runs, of those of the module.
    pub func: Option<u32>,
}

/// Samples the threads of one program.
pub(crate) struct Sampler {
    /// By thread.
    rings: HashMap<ThreadId, &'static Ring>,
}

/// Rings that nobody uses. They are kept for good, since a handler may still look at one when its sampler is gone.
static SPARE: Mutex<Vec<&'static Ring>> = Mutex::new(Vec::new());

impl Sampler {
    pub fn new() -> Sampler {
        Sampler { rings: HashMap::new() }
    }

    /// Takes out the samples that were asked for the last time, and asks for the next.
    pub fn tick(&mut self, group: &Group, module: &Module, mut f: impl FnMut(Sample)) {
        let mut alive = HashSet::with_capacity(self.rings.len());
        group.interrupt_where(|thread, state| {
            alive.insert(thread);
            let ring = self.rings.entry(thread).or_insert_with(spare_ring);
            ring.drain(|kind, words| f(resolve(thread, module, kind, words)));
            state.sampled.ring.store(std::ptr::from_ref(*ring).cast_mut().cast(), Release);
            let doing = match state.sampled.activity.load(Relaxed) {
                activity::HOST => Doing::Host,
                activity::WAIT => Doing::Waiting,
                activity::COMPILE => Doing::Compile,
                _ => {
                    if state.sampled.wanted.load(Relaxed) != sample::DUE {
                        state.sampled.wanted.store(sample::ASKED, Release);
                    }
                    return true;
                }
            };
            f(Sample { thread, doing, func: None });
            false
        });
        let ended: Vec<ThreadId> =
            self.rings.keys().copied().filter(|thread| !alive.contains(thread)).collect();
        for thread in ended {
            if let Some(ring) = self.rings.remove(&thread) {
                ring.drain(|kind, words| f(resolve(thread, module, kind, words)));
                SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(ring);
            }
        }
    }

    /// Stops sampling: threads that live on write no more samples.
    pub fn end(self, group: &Group) {
        group.interrupt_where(|_, state| {
            state.sampled.ring.store(std::ptr::null_mut(), Release);
            false
        });
    }
}

fn spare_ring() -> &'static Ring {
    let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    spare.unwrap_or_else(|| {
        Box::leak(Box::new(Ring {
            words: [const { AtomicU64::new(0) }; WORDS],
            written: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
        }))
    })
}

fn resolve(thread: ThreadId, module: &Module, kind: u64, words: &[usize]) -> Sample {
    match (kind, words) {
        (INTERPRETED, [func, tier]) => {
            let tier = if *tier == Tier::Interp as usize { Tier::Interp } else { Tier::Quick };
            Sample { thread, doing: Doing::Running(tier), func: Some(*func as u32) }
        }
        _ => {
            // In a stub or a builtin: its caller.
            let place = words.iter().find_map(|pc| module.code.find(pc.wrapping_sub(1)));
            Sample {
                thread,
                doing: Doing::Running(place.as_ref().map_or(Tier::Full, |place| place.tier())),
                func: place.map(|place| place.func),
            }
        }
    }
}
