//! The first cause of a group's end, in one word.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::sync::AtomicU64;
use super::{THREAD_IDS, ThreadId};

/// Why a group ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Cause {
    /// A thread called `proc_exit` with this code, or `_start` returned (0).
    Exit(i32),
    /// A thread trapped, or failed in another way.
    Trap,
    /// The embedder ended it.
    Terminated,
    /// It ran longer than it was allowed to.
    TimedOut,
    /// Its threads have taken more processor time than they were allowed to.
    CpuTime,
}

/// Set once: kind (3 bits), thread id (29 bits), exit code (32 bits). Zero is "running".
#[derive(Debug)]
pub(super) struct StopWord(AtomicU64);

const EXIT: u64 = 1;
const TRAP: u64 = 2;
const TERMINATED: u64 = 3;
const TIMED_OUT: u64 = 4;
const CPU_TIME: u64 = 5;

const ID_SHIFT: u32 = 32;
const KIND_SHIFT: u32 = 61;

impl StopWord {
    pub fn new() -> StopWord {
        StopWord(AtomicU64::new(0))
    }

    /// Sets the word if it is not set; tells whether this was the first cause.
    pub fn set(&self, cause: Cause, by: ThreadId) -> bool {
        self.0.compare_exchange(0, encode(cause, by), AcqRel, Acquire).is_ok()
    }

    /// The first cause, and the thread that it came from.
    pub fn get(&self) -> Option<(Cause, ThreadId)> {
        decode(self.0.load(Acquire))
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Acquire) != 0
    }
}

fn encode(cause: Cause, by: ThreadId) -> u64 {
    debug_assert!(by < THREAD_IDS);
    let (kind, code) = match cause {
        Cause::Exit(code) => (EXIT, code),
        Cause::Trap => (TRAP, 0),
        Cause::Terminated => (TERMINATED, 0),
        Cause::TimedOut => (TIMED_OUT, 0),
        Cause::CpuTime => (CPU_TIME, 0),
    };
    kind << KIND_SHIFT | u64::from(by % THREAD_IDS) << ID_SHIFT | u64::from(code.cast_unsigned())
}

fn decode(word: u64) -> Option<(Cause, ThreadId)> {
    let cause = match word >> KIND_SHIFT {
        0 => return None,
        EXIT => Cause::Exit((word as u32).cast_signed()),
        TRAP => Cause::Trap,
        TERMINATED => Cause::Terminated,
        CPU_TIME => Cause::CpuTime,
        _ => Cause::TimedOut,
    };
    Some((cause, (word >> ID_SHIFT) as u32 % THREAD_IDS))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_cause_survives_the_word() {
        for cause in [
            Cause::Exit(0),
            Cause::Exit(-1),
            Cause::Exit(i32::MIN),
            Cause::Exit(i32::MAX),
            Cause::Trap,
            Cause::Terminated,
            Cause::TimedOut,
            Cause::CpuTime,
        ] {
            for by in [0, 1, 77, THREAD_IDS - 1] {
                let word = StopWord::new();
                assert_eq!(word.get(), None);
                assert!(word.set(cause, by));
                assert!(!word.set(Cause::Exit(3), 3));
                assert_eq!(word.get(), Some((cause, by)));
            }
        }
    }
}
