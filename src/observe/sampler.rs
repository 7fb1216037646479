//! Samples of what the threads of a program are doing.
//!
//! A thread that waits, or is in a host function, is not disturbed: the sampler notes that it owes a sample, which the thread takes when it
//! comes back, with the stack that it had all the while. Any other gets the stop signal. In machine code the handler takes the sample;
//! in the interpreter and the runtime it makes the next look at the budget take it. Nothing is paid where nobody samples, but for a
//! store and a load around each call of the host.
//!
//! What is taken are the bare addresses on the thread's stacks ([`Step`]). They travel through a ring per thread, written by the thread (or
//! the handler on it) and read by the sampler, which finds out what they mean.

use crate::module::Module;
use crate::threads::{Group, ThreadId};
use crate::vm::VmThread;
use crate::vm::walk::{Step, steps};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use updraft_jit::abi::{ThreadState, activity, sample};

/// Words of a ring: a few samples, where one is taken out each time before the next is asked for.
const WORDS: usize = 1 << 12;
/// Words of a sample's stack, at most. What is further out is cut off.
const MOST_STEPS: usize = 1 << 10;
/// Links of interpreted frames whose place a ring remembers.
const LINKS: usize = 1 << 8;

/// Where one thread's samples go. A sample is a header ([`Header`]), then its words.
struct Ring {
    words: [AtomicU64; WORDS],
    /// Words written, and read, since the ring was made.
    written: AtomicUsize,
    read: AtomicUsize,
    /// How many words of a stack are wanted.
    depth: AtomicUsize,
    /// Slots of the interpreter's links, by instruction: the address and the slot, or 0.
    links: [AtomicU64; LINKS],
}

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
        mut header: Header,
    ) {
        let start = self.written.load(Relaxed);
        let room = (WORDS - (start - self.read.load(Acquire))).saturating_sub(1);
        let most = room.min(self.depth.load(Relaxed)).min(MOST_STEPS);
        let mut count = 0;
        let mut put = |word: usize, kind: u64| {
            let fits = count < most;
            if fits {
                let place = (start + 1 + count) % WORDS;
                self.words[place].store(word as u64 | kind << KIND_SHIFT, Relaxed);
                count += 1;
            }
            fits
        };
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
        self.written.store(start + 1 + count, Release);
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

    /// Takes out all samples of the thread that the ring belongs to.
    fn drain(&self, thread: ThreadId, f: &mut impl FnMut(Seen<'_>)) {
        let end = self.written.load(Acquire);
        let mut at = self.read.load(Relaxed);
        let mut words = [0; MOST_STEPS];
        while at < end {
            let header = Header::decode(self.words[at % WORDS].load(Relaxed));
            let count = usize::from(header.words).min(MOST_STEPS);
            for (index, word) in words.iter_mut().enumerate().take(count) {
                *word = self.words[(at + 1 + index) % WORDS].load(Relaxed);
            }
            at += 1 + count;
            f(Seen::Taken(decode(thread, header, &words[..count])));
        }
        self.read.store(end, Release);
    }
}

/// The ring of a thread that is being sampled.
fn ring(thread: &ThreadState) -> Option<&Ring> {
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
        unsafe { ring.take(std::ptr::from_ref(thread).cast(), Some(registers), WASM) };
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
        unsafe { ring.take(thread, None, WASM) };
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
            unsafe { ring.take(thread, None, Header { what, import, weight, ..WASM }) };
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
    /// None in wasm.
    pub outside: Option<Outside>,
    /// For how many samples it stands.
    pub weight: u16,
    /// Whether outer frames are missing.
    pub cut: bool,
    words: &'a [u64],
}

impl Sample<'_> {
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
    /// The thread is outside of wasm, and will take the sample when it comes back.
    Outside(ThreadId, Outside),
}

/// What the sampler keeps of a thread.
struct Watched {
    ring: &'static Ring,
    /// The processor time that it had taken when it was last seen in the host.
    cpu_time: Option<Duration>,
}

/// Samples the threads of one program.
pub(crate) struct Sampler {
    threads: HashMap<ThreadId, Watched>,
    /// Time between two looks.
    interval: Duration,
    /// Whether whole stacks are wanted, and samples of the time outside of wasm.
    stacks: bool,
    /// Whether threads owe samples for the time in which they are parked.
    waits: bool,
}

/// Rings that nobody uses. They are kept for good, since a handler may still look at one when its sampler is gone.
static SPARE: Mutex<Vec<&'static Ring>> = Mutex::new(Vec::new());

impl Sampler {
    /// A sampler that looks at this interval. `stacks`: it wants whole stacks, of host functions too, and with `waits` also of time in
    /// which threads are parked. Otherwise it wants innermost frames, of wasm.
    pub fn new(interval: Duration, stacks: bool, waits: bool) -> Sampler {
        Sampler { threads: HashMap::new(), interval, stacks, waits }
    }

    /// Takes out the samples that were asked for the last time, and asks for the next.
    pub fn tick(&mut self, group: &Group, mut f: impl FnMut(Seen<'_>)) {
        let mut alive = HashSet::with_capacity(self.threads.len());
        let Sampler { threads, interval, stacks, waits } = self;
        group.interrupt_where(|thread, state, target| {
            alive.insert(thread);
            let watched = threads
                .entry(thread)
                .or_insert_with(|| Watched { ring: spare_ring(*stacks), cpu_time: None });
            watched.ring.drain(thread, &mut f);
            let ring = std::ptr::from_ref(watched.ring).cast_mut();
            state.sampled.ring.store(ring.cast(), Release);
            let last = watched.cpu_time.take();
            let outside = match state.sampled.activity.load(Relaxed) {
                activity::HOST => {
                    // At the first look nobody knows: it has been running until now.
                    let now = target.cpu_time();
                    watched.cpu_time = Some(now);
                    let running = last.is_none_or(|last| now.saturating_sub(last) * 2 >= *interval);
                    Outside::Host { running, import: None }
                }
                activity::WAIT => Outside::Waiting,
                activity::COMPILE => Outside::Compile,
                _ => {
                    if state.sampled.wanted.load(Relaxed) != sample::DUE {
                        state.sampled.wanted.store(sample::ASKED, Release);
                    }
                    return true;
                }
            };
            let running = matches!(outside, Outside::Host { running: true, .. });
            if *stacks && (running || *waits) {
                state.sampled.owed[usize::from(!running)].fetch_add(1, Relaxed);
            }
            f(Seen::Outside(thread, outside));
            false
        });
        let ended: Vec<ThreadId> =
            threads.keys().copied().filter(|thread| !alive.contains(thread)).collect();
        for thread in ended {
            if let Some(Watched { ring, .. }) = threads.remove(&thread) {
                ring.drain(thread, &mut f);
                SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(ring);
            }
        }
    }

    /// Takes out the last samples and stops: threads that live on write no more.
    pub fn end(self, group: &Group, mut f: impl FnMut(Seen<'_>)) {
        let mut alive = HashSet::new();
        group.interrupt_where(|thread, state, _| {
            alive.insert(thread);
            state.sampled.ring.store(std::ptr::null_mut(), Release);
            false
        });
        for (thread, Watched { ring, .. }) in self.threads {
            ring.drain(thread, &mut f);
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
        Box::leak(Box::new(Ring {
            words: [const { AtomicU64::new(0) }; WORDS],
            written: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            depth: AtomicUsize::new(0),
            links: [const { AtomicU64::new(0) }; LINKS],
        }))
    });
    // What it knows of links may be another module's.
    ring.links.iter().for_each(|link| link.store(0, Relaxed));
    ring.depth.store(if stacks { MOST_STEPS } else { INNERMOST }, Relaxed);
    ring
}

fn decode(thread: ThreadId, header: Header, words: &[u64]) -> Sample<'_> {
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
    Sample { thread, outside, weight, cut, words }
}
