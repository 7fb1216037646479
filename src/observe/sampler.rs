//! Samples of what the threads of a program are doing.
//!
//! A thread that waits, or is in a host function, is not disturbed: the sampler notes that it owes a sample, which the thread takes when it
//! comes back, with the stack that it had all the while. Any other gets the stop signal. In machine code the handler takes the sample;
//! in the interpreter and the runtime it makes the next look at the budget take it. Nothing is paid where nobody samples, but for a
//! store and a load around each call of the host.
//!
//! What is taken are the bare addresses on the thread's stacks ([`Step`]). They travel through a ring per thread, written by the thread (or
//! the handler on it) and read by the sampler, which finds out what they mean.

use crate::interp;
use crate::module::Module;
use crate::threads::{Group, ThreadId};
use crate::vm::VmThread;
use crate::vm::walk::{Step, steps};
use std::collections::{HashMap, HashSet};
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use updraft_jit::abi::{ThreadState, activity, sample};

/// Words of a ring. It is emptied once it is half full, so that a stack fits in it.
const WORDS: usize = 1 << 12;
/// Words of a sample's stack, at most. What is further out is cut off.
const MOST_STEPS: usize = 1 << 10;
/// Links of interpreted frames whose place a ring remembers.
const LINKS: usize = 1 << 8;

/// Between two times that samples are taken out of the rings, at most, where nobody wants them at once.
const TAKEN_OUT_EVERY: Duration = Duration::from_millis(16);

/// Threads that have ended and whose samples have not been taken out, at most, beside as many as live.
const MOST_ENDED: usize = 8;

/// Where one thread's samples go. A sample is a header ([`Header`]), its time, then its words.
///
/// What both sides touch for each sample comes first, and together. All zeros is a ring.
#[repr(C, align(64))]
struct Ring {
    /// Words written, and read, since the ring was made.
    written: AtomicUsize,
    read: AtomicUsize,
    /// How many words of a stack are wanted.
    depth: AtomicUsize,
    /// When the last sample was asked for, in nanoseconds from the sampler's start.
    asked: AtomicU64,
    words: [AtomicU64; WORDS],
    /// Slots of the interpreter's links, by instruction: the address and the slot, or 0.
    links: [AtomicU64; LINKS],
}

/// Words in front of a sample's stack.
const HEAD: usize = 2;

/// What a sample is of, in a word.
#[derive(Clone, Copy)]
struct Header {
    what: u8,
    /// The imported function that was being called, if `what` is HOST.
    import: u16,
    /// Whether the stack was cut off.
    cut: bool,
    /// For how many samples it stands.
    weight: u16,
    words: u16,
}

const NO_IMPORT: u16 = u16::MAX;

impl Header {
    fn encode(self) -> u64 {
        let Header { what, import, cut, weight, words } = self;
        u64::from(what) << 56
            | u64::from(cut) << 48
            | u64::from(import) << 32
            | u64::from(weight) << 16
            | u64::from(words)
    }

    fn decode(word: u64) -> Header {
        Header {
            what: (word >> 56) as u8,
            cut: word >> 48 & 1 != 0,
            import: (word >> 32) as u16,
            weight: (word >> 16) as u16,
            words: word as u16,
        }
    }
}

/// Kinds of [`Step`], in the uppermost bits of a word. Addresses of programs leave them free.
const KIND_SHIFT: u32 = 60;
const RETURNED: u64 = 0;
const BYTECODE: u64 = 1;
const EDGE: u64 = 2;
/// The two words on top of the stack follow.
const INTERRUPTED: u64 = 3;
/// No step, and in front of them all: where the interpreter was when the sample became due.
const DUE: u64 = 4;

impl Ring {
    /// Takes a sample, unless there is no room. Async-signal-safe where [`steps`] is. The calling thread's own ring; a handler writes
    /// only if it has interrupted machine code, so that there is one writer at a time.
    ///
    /// # Safety
    /// As [`steps`].
    unsafe fn take(
        &self,
        thread: *const VmThread,
        registers: Option<[usize; 3]>,
        due_at: Option<usize>,
        mut header: Header,
    ) {
        let start = self.written.load(Relaxed);
        let room = (WORDS - (start - self.read.load(Acquire))).saturating_sub(HEAD);
        let most = room.min(self.depth.load(Relaxed)).min(MOST_STEPS);
        let mut count = 0;
        let mut put = |word: usize, kind: u64| {
            let fits = count < most;
            if fits {
                let place = (start + HEAD + count) % WORDS;
                self.words[place].store(word as u64 | kind << KIND_SHIFT, Relaxed);
                count += 1;
            }
            fits
        };
        if let Some(ip) = due_at.filter(|ip| *ip >> KIND_SHIFT == 0) {
            put(ip, DUE);
        }
        let mut whole = true;
        let link = |module: &Module, ip: usize| self.link(module, ip);
        let add = |_: &Module, step| {
            whole = match step {
                Step::Returned(pc) => put(pc, RETURNED),
                Step::Bytecode(ip) => put(ip, BYTECODE),
                Step::Edge => put(0, EDGE),
                Step::Interrupted { pc, top } => {
                    // What is no address may have any bits.
                    let plain = |word: usize| if word >> KIND_SHIFT == 0 { word } else { 0 };
                    put(pc, INTERRUPTED) && put(plain(top[0]), 0) && put(plain(top[1]), 0)
                }
            };
            whole
        };
        // SAFETY: by contract.
        unsafe { steps(thread, registers, link, add) };
        if room < 4 {
            return;
        }
        (header.words, header.cut) = (count as u16, !whole);
        self.words[start % WORDS].store(header.encode(), Relaxed);
        self.words[(start + 1) % WORDS].store(self.asked.load(Relaxed), Relaxed);
        self.written.store(start + HEAD + count, Release);
    }

    /// The slot of the link in the frame of an instruction's function.
    fn link(&self, module: &Module, ip: usize) -> Option<u16> {
        // Instructions are aligned; the lowest bit does not count.
        let key = (ip & !1) as u64;
        let known = &self.links[(ip >> 3) % LINKS];
        let found = known.load(Relaxed);
        if found >> 16 == key {
            return Some(found as u16);
        }
        let slot = module.code.interp.link_at(ip)?;
        known.store(key << 16 | u64::from(slot), Relaxed);
        Some(slot)
    }

    /// Whether it is half full.
    fn wants_emptying(&self) -> bool {
        self.written.load(Relaxed) - self.read.load(Relaxed) >= WORDS / 2
    }

    /// Takes out all samples of the thread that the ring belongs to. `words` is for the stacks.
    fn drain(&self, thread: ThreadId, words: &mut Vec<u64>, f: &mut impl FnMut(Seen<'_>)) {
        let end = self.written.load(Acquire);
        let mut at = self.read.load(Relaxed);
        let word = |at: usize| self.words[at % WORDS].load(Relaxed);
        while at < end {
            let (header, time) = (Header::decode(word(at)), Duration::from_nanos(word(at + 1)));
            at += HEAD;
            words.clear();
            words.extend((at..at + usize::from(header.words)).map(word));
            at += words.len();
            f(Seen::Taken(decode(thread, header, time, words)));
        }
        self.read.store(end, Release);
    }
}

/// The ring of a thread that is being sampled.
fn ring(thread: &ThreadState) -> Option<&'static Ring> {
    // SAFETY: null, or a ring, which is never freed.
    unsafe { thread.sampled.ring.load(Acquire).cast::<Ring>().as_ref() }
}

const WASM: Header =
    Header { what: activity::WASM as u8, import: NO_IMPORT, cut: false, weight: 1, words: 0 };

/// The hook of the signal handler: takes a sample of machine code that was interrupted with these registers: program counter, frame
/// pointer, stack pointer.
///
/// It takes locks, of tables of code: whoever runs machine code holds none.
///
/// # Safety
/// The calling thread's, which was in machine code.
pub(crate) unsafe fn take_native(thread: &ThreadState, registers: [usize; 3]) {
    if let Some(ring) = ring(thread) {
        // SAFETY: threads of stores are `VmThread`s, which begin with this. In machine code the list of activations is complete.
        unsafe { ring.take(std::ptr::from_ref(thread).cast(), Some(registers), None, WASM) };
    }
}

/// Takes the sample that is due of the calling thread, which has left wasm for the runtime; false if none is.
pub(crate) fn take_due(thread: &VmThread) -> bool {
    if thread.abi.sampled.wanted.load(Relaxed) != sample::DUE {
        return false;
    }
    take_now(thread);
    true
}

#[cold]
fn take_now(thread: &VmThread) {
    thread.abi.sampled.wanted.store(sample::NONE, Relaxed);
    if let Some(ring) = ring(&thread.abi) {
        // SAFETY: the calling thread's, where it has left wasm by a call.
        unsafe { ring.take(thread, None, Some(thread.abi.sampled.due_at.load(Relaxed)), WASM) };
    }
}

/// Takes the samples that the calling thread owes for the time that it was outside of wasm, doing `activity`; `import` is the imported
/// function that it called.
#[cold]
pub(crate) fn take_owed(thread: &VmThread, activity: u32, import: Option<u32>) {
    for (on, owed) in [true, false].into_iter().zip(&thread.abi.sampled.owed) {
        let mut left = owed.swap(0, Relaxed);
        let Some(ring) = ring(&thread.abi) else { continue };
        while left > 0 {
            let weight = left.min(u32::from(u16::MAX)) as u16;
            left -= u32::from(weight);
            let what = activity as u8 | if on { ON_PROCESSOR } else { 0 };
            let import = import.and_then(|i| u16::try_from(i).ok()).unwrap_or(NO_IMPORT);
            // SAFETY: the calling thread's, where it has left wasm by a call.
            unsafe { ring.take(thread, None, None, Header { what, import, weight, ..WASM }) };
        }
    }
}

/// In [`Header::what`]: the thread was on a processor, outside of wasm.
const ON_PROCESSOR: u8 = 1 << 7;

/// What a thread is at, as far as can be seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outside {
    /// In a host function, on a processor or off it. The imported function, if it is known.
    Host { running: bool, import: Option<u16> },
    /// In `memory.atomic.wait`.
    Waiting,
    /// Waiting for a compile.
    Compile,
}

/// A sample with its stack.
pub(crate) struct Sample<'a> {
    pub thread: ThreadId,
    /// When it was asked for, from the sampler's start.
    pub at: Duration,
    /// None in wasm.
    pub outside: Option<Outside>,
    /// For how many samples it stands.
    pub weight: u16,
    /// Whether outer frames are missing.
    pub cut: bool,
    /// Where the interpreter was when the sample became due, if it was the interpreter.
    due_at: Option<usize>,
    words: &'a [u64],
}

impl Sample<'_> {
    /// Whether the interpreter has called the innermost function since the sample became due, in the one that called it. The sample is that
    /// one's.
    pub fn called_since(&self, code: &interp::InterpCode) -> bool {
        let func = |ip: usize| Some(interp::place_of(code, ip)?.0);
        let mut steps = self.steps();
        let (Some(Step::Bytecode(inner)), Some(Step::Bytecode(outer))) =
            (steps.next(), steps.next())
        else {
            return false;
        };
        let due = self.due_at.and_then(func);
        due.is_some() && due == func(outer) && due != func(inner)
    }

    /// What was found on the stacks, the innermost first.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        let mut words = self.words.iter().copied();
        std::iter::from_fn(move || {
            let word = words.next()?;
            let address = (word & ((1 << KIND_SHIFT) - 1)) as usize;
            Some(match word >> KIND_SHIFT {
                RETURNED => Step::Returned(address),
                BYTECODE => Step::Bytecode(address),
                EDGE => Step::Edge,
                _ => {
                    let top = [words.next()? as usize, words.next()? as usize];
                    Step::Interrupted { pc: address, top }
                }
            })
        })
    }
}

/// What a look at the threads tells.
pub(crate) enum Seen<'a> {
    /// A sample that was taken since the last look.
    Taken(Sample<'a>),
    /// The thread is outside of wasm at this time, and will take the sample when it comes back.
    Outside(ThreadId, Duration, Outside),
}

/// What the sampler keeps of a thread.
struct Watched {
    ring: &'static Ring,
    /// The processor time that it had taken when it was last seen in the host.
    cpu_time: Option<Duration>,
    /// The last look at all rings at which it lived.
    looked_at: u64,
}

/// What somebody wants of a sampler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Whole stacks, and samples of host functions too. Otherwise innermost frames, of wasm.
    pub stacks: bool,
    /// With `stacks`: samples of the time in which threads are parked.
    pub waits: bool,
    /// Samples are to be seen at the next look, in order with all else that a look tells.
    pub at_once: bool,
}

/// Samples the threads of one program.
pub(crate) struct Sampler {
    threads: HashMap<ThreadId, Watched>,
    /// Time between two looks.
    interval: Duration,
    wanted: Wanted,
    /// When samples were taken out of all rings.
    taken_out: Duration,
    /// How often that was.
    look: u64,
    /// A stack that is being taken out.
    words: Vec<u64>,
}

/// Rings that nobody uses. They are kept for good, since a handler may still look at one when its sampler is gone.
static SPARE: Mutex<Vec<&'static Ring>> = Mutex::new(Vec::new());

impl Sampler {
    /// A sampler that looks at this interval.
    pub fn new(interval: Duration, wanted: Wanted) -> Sampler {
        let (taken_out, words) = (Duration::ZERO, Vec::with_capacity(MOST_STEPS));
        Sampler { threads: HashMap::new(), interval, wanted, taken_out, look: 0, words }
    }

    /// Asks each thread for a sample, and tells what can be seen without one; takes out what was asked for before, from time to time. `now` is
    /// the time from the sampler's start.
    pub fn tick(&mut self, group: &Group, now: Duration, mut f: impl FnMut(Seen<'_>)) {
        let Sampler { threads, interval, wanted, words, .. } = self;
        let all = wanted.at_once || now.saturating_sub(self.taken_out) >= TAKEN_OUT_EVERY;
        let time = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let (mut alive, look) = (0, self.look + 1);
        group.interrupt_where(|thread, state, target| {
            alive += 1;
            let sampled = &state.sampled;
            let ring = ring(state).unwrap_or_else(|| {
                let new =
                    || Watched { ring: spare_ring(wanted.stacks), cpu_time: None, looked_at: 0 };
                let ring = threads.entry(thread).or_insert_with(new).ring;
                sampled.ring.store(ptr::from_ref(ring).cast_mut().cast(), Release);
                ring
            });
            if all && let Some(watched) = threads.get_mut(&thread) {
                watched.looked_at = look;
            }
            if all || ring.wants_emptying() {
                ring.drain(thread, words, &mut f);
            }
            ring.asked.store(time, Relaxed);
            let watched = |threads: &mut HashMap<ThreadId, Watched>, now| {
                let watched = threads.get_mut(&thread);
                watched.and_then(|watched| std::mem::replace(&mut watched.cpu_time, now))
            };
            let outside = match sampled.activity.load(Relaxed) {
                activity::HOST => {
                    // At the first look nobody knows: it has been running until now.
                    let now = target.cpu_time();
                    let last = watched(threads, Some(now));
                    let running = last.is_none_or(|last| now.saturating_sub(last) * 2 >= *interval);
                    Outside::Host { running, import: None }
                }
                activity::WAIT => Outside::Waiting,
                activity::COMPILE => Outside::Compile,
                _ => {
                    if sampled.wanted.load(Relaxed) != sample::DUE {
                        sampled.wanted.store(sample::ASKED, Release);
                    }
                    return true;
                }
            };
            let running = matches!(outside, Outside::Host { running: true, .. });
            if wanted.stacks && (running || wanted.waits) {
                sampled.owed[usize::from(!running)].fetch_add(1, Relaxed);
            }
            f(Seen::Outside(thread, now, outside));
            false
        });
        if all {
            self.taken_out = now;
            self.look = look;
            for (thread, Watched { ring, .. }) in threads.extract_if(|_, w| w.looked_at < look) {
                ring.drain(thread, words, &mut f);
                SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(ring);
            }
        } else if threads.len() > 2 * alive + MOST_ENDED {
            self.taken_out = Duration::ZERO;
        }
    }

    /// Takes out the last samples and stops: threads that live on write no more.
    pub fn end(mut self, group: &Group, mut f: impl FnMut(Seen<'_>)) {
        let mut alive = HashSet::new();
        group.interrupt_where(|thread, state, _| {
            alive.insert(thread);
            state.sampled.ring.store(ptr::null_mut(), Release);
            false
        });
        for (thread, Watched { ring, .. }) in self.threads {
            ring.drain(thread, &mut self.words, &mut f);
            // A handler of one that lives may be writing to it still.
            if !alive.contains(&thread) {
                SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(ring);
            }
        }
    }
}

fn spare_ring(stacks: bool) -> &'static Ring {
    const INNERMOST: usize = 16;
    let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let ring = spare.unwrap_or_else(|| {
        // SAFETY: atomics, for which zeros are valid; its pages come when they are touched.
        Box::leak(unsafe { Box::<Ring>::new_zeroed().assume_init() })
    });
    if spare.is_some() {
        // What it knows of links may be another module's.
        ring.links.iter().for_each(|link| link.store(0, Relaxed));
    }
    ring.depth.store(if stacks { MOST_STEPS } else { INNERMOST }, Relaxed);
    ring
}

fn decode(thread: ThreadId, header: Header, at: Duration, words: &[u64]) -> Sample<'_> {
    let Header { what, import, cut, weight, .. } = header;
    let running = what & ON_PROCESSOR != 0;
    let outside = match u32::from(what & !ON_PROCESSOR) {
        activity::HOST => {
            let import = Some(import).filter(|import| *import != NO_IMPORT);
            Some(Outside::Host { running, import })
        }
        activity::WAIT => Some(Outside::Waiting),
        activity::COMPILE => Some(Outside::Compile),
        _ => None,
    };
    let due_at = words.first().filter(|word| **word >> KIND_SHIFT == DUE);
    let words = &words[usize::from(due_at.is_some())..];
    let due_at = due_at.map(|word| (word & ((1 << KIND_SHIFT) - 1)) as usize);
    Sample { thread, at, outside, weight, cut, due_at, words }
}
