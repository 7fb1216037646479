//! Where threads wait for each other: `memory.atomic.wait32`, `wait64` and `notify`.
//!
//! What the threads proposal promises (its Overview, "Wait and notify operators"), and what keeps it:
//!
//! * "If the loaded value is not equal to the expected value, the operator returns 1 ("not-equal"). If the values are
//!   equal, the agent is suspended." The comparison and the enqueueing happen under the lock of the address's queue, and
//!   so does all of a notify: the check-and-block is atomic with respect to notify.
//! * "It will not be spuriously woken." A sleep ends by a mark that only a notify sets, by the deadline, or by
//!   the end of the group.
//! * "The operation will notify as many waiters as are waiting on the same effective address, up to the maximum as specified
//!   by count", and it returns their number. Whoever times out takes itself off the queue under the lock; if a notify was
//!   there first, the wait counts as woken. So every waiter that was counted was woken, and only those.
//! * wait32 and wait64 wait "for notify at same address": one queue for an address, whatever the width.
//!
//! Queues are first in, first out, as ECMAScript's `WaiterList`, to whose `Atomics.notify` the proposal refers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::Group;
use super::waiter::{Parked, Waiter};

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitResult {
    /// By a notify, which has counted this waiter.
    Woken,
    /// The value was not the expected one.
    NotEqual,
    /// No notify came before the deadline.
    TimedOut,
    /// The group stops.
    Stopped,
}

/// The wait queues of one shared memory.
#[derive(Debug, Default)]
pub struct ParkingLot {
    queues: Queues,
}

impl ParkingLot {
    /// Nobody waits.
    #[must_use]
    pub fn new() -> ParkingLot {
        ParkingLot::default()
    }

    /// Waits at `address` if `validate` says so: until a notify, the deadline (`None`: never), or the end of `group`,
    /// to which the calling thread is attached.
    ///
    /// `validate` compares the value in memory. It runs under the queue's lock, and must neither block nor fault.
    pub fn wait(
        &self,
        address: u64,
        validate: impl FnOnce() -> bool,
        deadline: Option<Instant>,
        group: &Group,
    ) -> WaitResult {
        self.wait_unless(address, validate, deadline, || group.is_stopping())
    }

    /// [`wait`](ParkingLot::wait) that ends with [`WaitResult::Stopped`] when `stopping` says so, of which the thread is told by a
    /// nudge and a signal.
    pub fn wait_unless(
        &self,
        address: u64,
        validate: impl FnOnce() -> bool,
        deadline: Option<Instant>,
        stopping: impl Fn() -> bool,
    ) -> WaitResult {
        self.wait_as(&Waiter::current(), address, validate, deadline, stopping)
    }

    /// [`wait`](ParkingLot::wait) with the thread's waiter, which whoever makes `stopping` true nudges after it.
    pub(super) fn wait_as(
        &self,
        waiter: &Arc<Waiter>,
        address: u64,
        validate: impl FnOnce() -> bool,
        deadline: Option<Instant>,
        stopping: impl Fn() -> bool,
    ) -> WaitResult {
        waiter.begin();
        let queued = self.queues.with(address, |queue| {
            let equal = validate();
            if equal {
                queue.push_back(waiter.clone());
            }
            equal
        });
        if !queued {
            return WaitResult::NotEqual;
        }
        let result = match waiter.park(deadline, stopping) {
            Parked::Notified => return WaitResult::Woken,
            Parked::TimedOut => WaitResult::TimedOut,
            Parked::Stopped => WaitResult::Stopped,
        };
        let still_queued = self.queues.with(address, |queue| {
            let place = queue.iter().position(|other| Arc::ptr_eq(other, waiter));
            place.is_some_and(|place| queue.remove(place).is_some())
        });
        if still_queued { result } else { WaitResult::Woken }
    }

    /// How many threads wait at `address`.
    #[must_use]
    pub fn waiting(&self, address: u64) -> usize {
        self.queues.with(address, |queue| queue.len())
    }

    /// Wakes up to `count` threads that wait at `address`, the longest waiting first; returns how many.
    pub fn notify(&self, address: u64, count: u32) -> u32 {
        let mut asleep = Vec::new();
        let woken = self.queues.with(address, |queue| {
            let woken = queue.len().min(count as usize);
            asleep.extend(queue.drain(..woken).filter(|waiter| waiter.notify()));
            woken
        });
        // Outside of the lock, which the woken and the next ones may want.
        for waiter in asleep {
            waiter.wake();
        }
        woken as u32
    }
}

/// Those who wait at one address, the longest waiting first.
type Queue = VecDeque<Arc<Waiter>>;

/// The queues by address. Only those that somebody waits in exist.
#[derive(Debug, Default)]
struct Queues {
    #[cfg(not(loom))]
    by_address: dashmap::DashMap<u64, Queue>,
    #[cfg(loom)]
    by_address: super::sync::Mutex<std::collections::HashMap<u64, Queue>>,
}

impl Queues {
    /// Runs `f` on the queue of an address, under its lock.
    #[cfg(not(loom))]
    fn with<R>(&self, address: u64, f: impl FnOnce(&mut Queue) -> R) -> R {
        use dashmap::Entry;
        match self.by_address.entry(address) {
            Entry::Occupied(mut entry) => {
                let result = f(entry.get_mut());
                if entry.get().is_empty() {
                    entry.remove();
                }
                result
            }
            Entry::Vacant(entry) => {
                let mut queue = Queue::new();
                let result = f(&mut queue);
                if !queue.is_empty() {
                    entry.insert(queue);
                }
                result
            }
        }
    }

    /// As above, with one lock for all addresses: models look at one address at a time.
    #[cfg(loom)]
    fn with<R>(&self, address: u64, f: impl FnOnce(&mut Queue) -> R) -> R {
        f(super::sync::lock(&self.by_address).entry(address).or_default())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::threads::Limits;

    #[test]
    fn an_address_that_nobody_waits_at_costs_nothing() {
        let (lot, group) = (ParkingLot::new(), Group::new(Limits::default()));
        for address in 0..1_000 {
            lot.wait(address, || true, Some(Instant::now()), &group);
            lot.wait(address, || false, None, &group);
            lot.notify(address, 1);
        }
        assert!(lot.queues.by_address.is_empty());
    }
}
