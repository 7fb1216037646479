//! Where threads wait for each other: `memory.atomic.wait32`, `wait64` and `notify`.
//!
//! What the threads proposal promises (its Overview, "Wait and notify operators"), and what keeps it:
//!
//! * "If the loaded value is not equal to the expected value, the operator returns 1 ("not-equal"). If the values are
//!   equal, the agent is suspended." The comparison and the enqueueing happen under the lock of the address's shard, and
//!   so does all of a notify: the check-and-block is atomic with respect to notify.
//! * "It will not be spuriously woken." A sleep ends by a mark that only a notify sets, by the deadline, or by
//!   the end of the group.
//! * "The operation will notify as many waiters as are waiting on the same effective address, up to the maximum as specified
//!   by count", and it returns their number. Whoever times out takes itself off the queue under that lock; if a notify was
//!   there first, the wait counts as woken. So every waiter that was counted was woken, and only those.
//! * wait32 and wait64 wait "for notify at same address": one queue for an address, whatever the width.
//!
//! Queues are first in, first out, as ECMAScript's `WaiterList`, to whose `Atomics.notify` the proposal refers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::Group;
use super::sync::{Mutex, lock};
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
#[derive(Debug)]
pub struct ParkingLot {
    /// By a hash of the address.
    shards: Box<[Mutex<Shard>]>,
}

impl Default for ParkingLot {
    fn default() -> ParkingLot {
        ParkingLot::new()
    }
}

impl ParkingLot {
    /// Nobody waits.
    #[must_use]
    pub fn new() -> ParkingLot {
        ParkingLot { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
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

    /// As [`wait`](ParkingLot::wait), until `stopping`, which is looked at before each sleep. Whoever makes it true tells the thread by
    /// [`Group::stop`] or [`Group::cancel`].
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
        {
            let mut shard = lock(self.shard(address));
            if !validate() {
                return WaitResult::NotEqual;
            }
            shard.push(address, waiter.clone());
        }
        let result = match waiter.park(deadline, stopping) {
            Parked::Notified => return WaitResult::Woken,
            Parked::TimedOut => WaitResult::TimedOut,
            Parked::Stopped => WaitResult::Stopped,
        };
        if lock(self.shard(address)).remove(address, waiter) { result } else { WaitResult::Woken }
    }

    /// How many threads wait at `address`.
    #[must_use]
    pub fn waiting(&self, address: u64) -> usize {
        let shard = lock(self.shard(address));
        shard.place(address).map_or(0, |place| shard.queues[place].1.len())
    }

    /// Wakes up to `count` threads that wait at `address`, the longest waiting first; returns how many.
    pub fn notify(&self, address: u64, count: u32) -> u32 {
        // Most often there is one, which takes no allocation.
        let mut first = None;
        let mut others = Vec::new();
        let woken = lock(self.shard(address)).take(address, count, |waiter| {
            if waiter.notify() {
                match first {
                    None => first = Some(waiter),
                    Some(_) => others.push(waiter),
                }
            }
        });
        // Outside of the lock, which the woken and the next ones may want.
        for waiter in first.into_iter().chain(others) {
            waiter.wake();
        }
        woken
    }

    fn shard(&self, address: u64) -> &Mutex<Shard> {
        // Multiples of the golden ratio fill the range evenly.
        let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.shards[hash as usize % SHARDS]
    }
}

/// Shards of a memory. A shard has one lock; threads that wait elsewhere do not find it taken.
const SHARDS: usize = if cfg!(loom) { 1 } else { 64 };

/// Those who wait at one address, the longest waiting first.
type Queue = VecDeque<Arc<Waiter>>;

/// The queues of some addresses.
#[derive(Debug, Default)]
struct Shard {
    /// By address; none is empty.
    queues: Vec<(u64, Queue)>,
    /// An empty queue for the next address, so that threads that take turns allocate nothing.
    spare: Queue,
}

/// A spare queue has room for so many at most.
const SPARE_ROOM: usize = 64;

impl Shard {
    fn place(&self, address: u64) -> Option<usize> {
        self.queues.iter().position(|(at, _)| *at == address)
    }

    fn push(&mut self, address: u64, waiter: Arc<Waiter>) {
        let place = self.place(address).unwrap_or_else(|| {
            self.queues.push((address, std::mem::take(&mut self.spare)));
            self.queues.len() - 1
        });
        self.queues[place].1.push_back(waiter);
    }

    /// Takes off up to `count` waiters, and returns how many.
    fn take(&mut self, address: u64, count: u32, f: impl FnMut(Arc<Waiter>)) -> u32 {
        let Some(place) = self.place(address) else { return 0 };
        let queue = &mut self.queues[place].1;
        let taken = queue.len().min(count as usize);
        queue.drain(..taken).for_each(f);
        self.drop_if_empty(place);
        taken as u32
    }

    /// Takes off one waiter; false if it is not there.
    fn remove(&mut self, address: u64, waiter: &Arc<Waiter>) -> bool {
        let Some(place) = self.place(address) else { return false };
        let queue = &mut self.queues[place].1;
        let Some(index) = queue.iter().position(|other| Arc::ptr_eq(other, waiter)) else {
            return false;
        };
        queue.remove(index);
        self.drop_if_empty(place);
        true
    }

    fn drop_if_empty(&mut self, place: usize) {
        if self.queues[place].1.is_empty() {
            let (_, queue) = self.queues.swap_remove(place);
            if queue.capacity() <= SPARE_ROOM {
                self.spare = queue;
            }
        }
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
        for shard in &lot.shards {
            let Shard { queues, spare } = &*lock(shard);
            assert!(queues.is_empty() && spare.capacity() <= SPARE_ROOM);
        }
    }
}
