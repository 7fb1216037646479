//! Sleeping on a word.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex::{self, Flags, Timespec};

/// Sleeps if `word` still holds `expected`, until [`wake`], a signal, or the time is over. The caller looks again
/// why it came back: it may be for no reason at all.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    // Every error (the word changed, a signal, the time is over) means: look again.
    let _ = futex::wait(word, Flags::PRIVATE, expected, timeout.as_ref());
}

/// Wakes all sleepers.
pub fn wake_all(word: &AtomicU32) {
    let _ = futex::wake(word, Flags::PRIVATE, i32::MAX as u32);
}

/// Wakes one sleeper. Async-signal-safe, as is [`wait`].
pub fn wake(word: &AtomicU32) {
    let _ = futex::wake(word, Flags::PRIVATE, 1);
}
