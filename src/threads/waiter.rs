//! What a native thread sleeps on while it waits in a parking lot.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::time::Instant;

use super::sync::Futex;

/// A notify has taken this waiter off its queue.
const NOTIFIED: u32 = 1;
/// Something happened: look whether the group stops.
const NUDGED: u32 = 2;
/// The thread sleeps, or is about to: whoever sets another bit must wake it.
const PARKED: u32 = 4;

/// How a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Parked {
    Notified,
    TimedOut,
    Stopped,
}

/// One native thread's place to sleep. It waits for one thing at a time.
#[derive(Debug)]
pub(super) struct Waiter {
    futex: Futex,
}

impl Waiter {
    pub fn new() -> Arc<Waiter> {
        Arc::new(Waiter { futex: Futex::new() })
    }

    /// The calling thread's.
    #[cfg(not(loom))]
    pub fn current() -> Arc<Waiter> {
        thread_local!(static CURRENT: Arc<Waiter> = Waiter::new());
        CURRENT.with(Arc::clone)
    }

    /// Models pass their waiters themselves.
    #[cfg(loom)]
    pub fn current() -> Arc<Waiter> {
        Waiter::new()
    }

    /// Forgets earlier waits. The thread's own call, while it is on no queue.
    ///
    /// A nudge that is forgotten here was given before the look at the group that [`park`](Waiter::park) begins with.
    pub fn begin(&self) {
        self.futex.word.swap(0, AcqRel);
    }

    /// Marks the waiter, which the caller has just taken off its queue, as woken. True: [`wake`](Waiter::wake) must follow; it may
    /// come late, when the thread is on its way again.
    #[must_use]
    pub fn notify(&self) -> bool {
        self.futex.word.fetch_or(NOTIFIED, AcqRel) & PARKED != 0
    }

    /// Wakes the thread from its sleep, if it sleeps.
    pub fn wake(&self) {
        self.futex.wake();
    }

    /// Has the thread look whether the group stops, if it sleeps or is about to. The signal that follows breaks the sleep, so that
    /// one call of the system ends it and not two.
    pub fn nudge(&self) {
        let _before = self.futex.word.fetch_or(NUDGED, AcqRel);
        // Models have no signals.
        #[cfg(loom)]
        if _before & PARKED != 0 {
            self.wake();
        }
    }

    /// Sleeps until notified, until the deadline, or until `stopping` after a nudge. The thread's own call.
    ///
    /// At once, without spinning: on two cores, 50 turns of a spin loop cost a third of the handoffs per second and 200
    /// turns three quarters (`threads_figures`), since the one that could end the spin waits for the core. A guest that knows better
    /// spins before it waits.
    pub fn park(&self, deadline: Option<Instant>, stopping: impl Fn() -> bool) -> Parked {
        loop {
            // A nudge is taken off before the look at the group that answers it, not after: the next one is seen below.
            if self.futex.word.fetch_and(NOTIFIED, AcqRel) & NOTIFIED != 0 {
                return Parked::Notified;
            }
            if stopping() {
                return Parked::Stopped;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Parked::TimedOut;
            }
            if self.futex.word.compare_exchange(0, PARKED, AcqRel, Acquire).is_ok() {
                self.futex.wait(PARKED, left);
            }
        }
    }
}
