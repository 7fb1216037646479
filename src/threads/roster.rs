//! The attached threads of a group, each in a place that stays where it is.
//!
//! Whoever stops a group must not wait for a lock that one of its threads may hold. With more threads than cores that thread may have
//! been preempted, and comes to let go only after others have computed for a slice of the scheduler each. So threads are reached, and
//! leave, without the group's lock: a place has a lock of its own, which its thread takes as it comes and goes, and
//! others while they tell it something.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use updraft_jit::abi::{ThreadState, activity, pending};

use super::ThreadId;
use super::group::Waker;
use super::sync::{AtomicU32, AtomicUsize, Mutex, MutexGuard, fence, lock, try_lock};
use super::waiter::Waiter;
use crate::vm::sys;

/// An attached thread.
pub(super) struct Member {
    pub id: ThreadId,
    pub state: *mut ThreadState,
    pub target: sys::SignalTarget,
    pub waiter: Arc<Waiter>,
    /// The thread knows that the group stops, and is waiting for the others: no more signals for it.
    pub knows: bool,
    /// It has been told that the group stops. It may have to be told again.
    pub told: bool,
    /// What ends the blocking calls of the host that the thread is in, the outermost first.
    pub wakers: Vec<Waker>,
    /// The native thread's processor time when it was attached.
    pub cpu_before: Duration,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("id", &self.id).finish_non_exhaustive()
    }
}

// SAFETY: `state` is that of an attached thread, which outlives its attachment; others touch only its atomics.
unsafe impl Send for Member {}

impl Member {
    /// The calling thread.
    pub fn current(state: *mut ThreadState, id: ThreadId) -> Member {
        Member {
            id,
            state,
            target: sys::SignalTarget::current(),
            waiter: Waiter::current(),
            knows: false,
            told: false,
            wakers: Vec::new(),
            cpu_before: Duration::ZERO,
        }
    }

    pub fn state(&self) -> &ThreadState {
        // SAFETY: the thread is attached, so it lives and so does its state; others touch only its atomics.
        unsafe { &*self.state }
    }

    /// Whether the thread knows that it must stop, and does.
    pub fn needs_no_signal(&self) -> bool {
        self.knows || self.state().leaving.load(Relaxed) != 0
    }

    /// Whether the thread wants the processor, as far as can be told: it is neither in the host nor does it wait.
    fn computes(&self) -> bool {
        self.state().sampled.activity.load(Relaxed) == activity::WASM
    }

    /// Tells the thread to stop, or tells it again.
    pub fn stop(&self) {
        self.tell(pending::STOP);
    }

    /// Tells the thread that something is pending, or tells it again.
    pub fn tell(&self, bits: u32) {
        let word = &self.state().pending;
        if word.fetch_or(bits, SeqCst) >> pending::PAUSE_SHIFT != 0 {
            // It may stand still in a pause.
            sys::futex::wake(word);
        }
        self.waiter.nudge();
        // SAFETY: the thread is attached, so it lives.
        unsafe { self.target.interrupt() };
    }

    /// The processor time that the thread has taken since it was attached.
    pub fn cpu_time(&self) -> Duration {
        self.target.cpu_time().saturating_sub(self.cpu_before)
    }
}

/// Where a group keeps an attached thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place(usize);

/// Where one thread after the other may be.
#[derive(Debug, Default)]
struct Slot {
    member: Mutex<Option<Member>>,
    /// The vacant place below this one, plus one; see [`Roster::vacant`].
    below: AtomicU32,
}

/// An attached thread. While this lives, the thread does not leave, and nobody else tells it anything.
pub(super) struct Attached<'a>(MutexGuard<'a, Option<Member>>);

impl Deref for Attached<'_> {
    type Target = Member;

    fn deref(&self) -> &Member {
        self.0.as_ref().expect("the place is taken")
    }
}

impl DerefMut for Attached<'_> {
    fn deref_mut(&mut self) -> &mut Member {
        self.0.as_mut().expect("the place is taken")
    }
}

impl<'a> Attached<'a> {
    /// Whoever is in a place.
    fn of(place: MutexGuard<'a, Option<Member>>) -> Option<Attached<'a>> {
        place.is_some().then(|| Attached(place))
    }

    /// Tells the thread that something is pending, and calls what ends its blocking calls of the host.
    pub fn tell_and_wake(self, bits: u32) {
        self.tell(bits);
        let wakers = self.wakers.clone();
        // Whoever wrote them may call us.
        drop(self);
        wakers.iter().for_each(|wake| wake());
    }
}

/// Places in the first block; each block has twice as many as the one before.
const FIRST: usize = 8;
/// Enough for as many threads as there are ids.
const BLOCKS: usize = 27;

/// All places.
#[derive(Debug)]
pub(super) struct Roster {
    blocks: [OnceLock<Box<[Slot]>>; BLOCKS],
    /// Places that were ever taken, from the first on.
    len: AtomicUsize,
    /// The vacant place that is taken next, plus one; 0 if there is none.
    vacant: AtomicU32,
    /// Places that a broadcast has come past: of threads that compute, and of all.
    passed: [AtomicUsize; 2],
}

impl Roster {
    /// Nobody.
    pub fn new() -> Roster {
        Roster {
            blocks: [const { OnceLock::new() }; BLOCKS],
            len: AtomicUsize::new(0),
            vacant: AtomicU32::new(0),
            passed: [AtomicUsize::new(0), AtomicUsize::new(0)],
        }
    }

    /// A place that was taken at some time.
    fn slot(&self, index: usize) -> &Slot {
        let block = (index / FIRST + 1).ilog2();
        let slots = self.blocks[block as usize]
            .get_or_init(|| (0..FIRST << block).map(|_| Slot::default()).collect());
        &slots[index - ((FIRST << block) - FIRST)]
    }

    /// Gives the calling thread a place. Not called by two threads at once: the caller has the group's lock.
    ///
    /// A stop that is not seen after this finds the thread.
    pub fn enter(&self, member: Member) -> Place {
        let mut top = self.vacant.load(Acquire);
        let index = loop {
            let Some(index) = top.checked_sub(1) else {
                break self.len.load(Relaxed);
            };
            // Nobody else takes places, so this one stays the top, or comes below others.
            let below = self.slot(index as usize).below.load(Relaxed);
            match self.vacant.compare_exchange(top, below, AcqRel, Acquire) {
                Ok(_) => break index as usize,
                Err(now) => top = now,
            }
        };
        *lock(&self.slot(index).member) = Some(member);
        if top == 0 {
            self.len.store(index + 1, SeqCst);
        }
        // With the one in `broadcast`: it sees the new length, or the caller sees the stop.
        fence(SeqCst);
        Place(index)
    }

    /// Makes a place vacant.
    pub fn leave(&self, place: Place) -> Option<Member> {
        let slot = self.slot(place.0);
        let member = {
            let mut member = lock(&slot.member);
            if let Some(member) = &*member {
                // Under the lock: a profiler has not given it to another thread yet.
                member.state().sampled.ring.store(std::ptr::null_mut(), Release);
            }
            member.take()
        };
        let own = place.0 as u32 + 1;
        let mut top = self.vacant.load(Relaxed);
        loop {
            slot.below.store(top, Relaxed);
            match self.vacant.compare_exchange(top, own, AcqRel, Relaxed) {
                Ok(_) => return member,
                Err(now) => top = now,
            }
        }
    }

    /// The thread in a place.
    pub fn at(&self, place: Place) -> Option<Attached<'_>> {
        Attached::of(lock(&self.slot(place.0).member))
    }

    /// The attached threads.
    pub fn attached(&self) -> impl Iterator<Item = Attached<'_>> {
        (0..self.len.load(SeqCst)).filter_map(|index| self.at(Place(index)))
    }

    /// Those whose places nobody else looks at.
    pub fn attached_and_free(&self) -> impl Iterator<Item = Attached<'_>> {
        let members = (0..self.len.load(SeqCst)).map(|index| &self.slot(index).member);
        members.filter_map(|member| try_lock(member).and_then(Attached::of))
    }

    /// Tells all threads that the group stops, which it does: first those that compute and take the processor from others, the caller
    /// perhaps, then all. Whoever calls this while it is under way takes a share of it, so that it goes on where one of them is
    /// preempted. Returns when there is nothing left to take.
    pub fn broadcast(&self) {
        fence(SeqCst);
        let len = self.len.load(SeqCst);
        for (passed, all) in self.passed.iter().zip([false, true]) {
            loop {
                let index = passed.fetch_add(1, Relaxed);
                if index >= len {
                    // Whoever attaches from now on sees the stop.
                    break;
                }
                let member = &self.slot(index).member;
                let member = if all { Some(lock(member)) } else { try_lock(member) };
                let Some(mut member) = member.and_then(Attached::of) else { continue };
                if !member.told && !member.needs_no_signal() && (all || member.computes()) {
                    member.told = true;
                    member.tell_and_wake(pending::STOP);
                }
            }
        }
    }

    /// Tells all threads again that may not know that the group stops.
    pub fn repeat(&self) {
        self.tell(pending::STOP, |member| !member.needs_no_signal());
    }

    /// Tells those threads that something is pending.
    pub fn tell(&self, bits: u32, mut wanted: impl FnMut(&Member) -> bool) {
        for member in self.attached() {
            if wanted(&member) {
                member.tell_and_wake(bits);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn ids(roster: &Roster) -> Vec<ThreadId> {
        roster.attached().map(|member| member.id).collect()
    }

    #[test]
    fn places_stay_where_they_are_and_are_used_again() {
        let roster = Roster::new();
        let mut states: Vec<_> = (0..1000).map(|_| ThreadState::default()).collect();
        let mut enter =
            |id: ThreadId| roster.enter(Member::current(&raw mut states[id as usize], id));
        let places: Vec<_> = (0..500).map(&mut enter).collect();
        assert_eq!(ids(&roster), (0..500).collect::<Vec<_>>());
        let addresses: HashSet<_> =
            (0..500).map(|index| std::ptr::from_ref(roster.slot(index)).addr()).collect();
        assert_eq!(addresses.len(), 500);
        for place in &places[100..200] {
            assert_eq!(roster.leave(*place).map(|member| member.id), Some(place.0 as ThreadId));
            assert!(roster.at(*place).is_none());
        }
        assert_eq!(ids(&roster).len(), 400);
        let again: HashSet<_> = (500..600).map(&mut enter).map(|place| place.0).collect();
        assert_eq!(again, (100..200).collect());
        assert_eq!(enter(600).0, 500);
        assert!(
            (0..500).all(|index| {
                addresses.contains(&std::ptr::from_ref(roster.slot(index)).addr())
            })
        );
    }

    #[test]
    fn a_broadcast_tells_each_thread_once_and_a_repetition_again() {
        let roster = Roster::new();
        let mut states: Vec<_> = (0..20).map(|_| ThreadState::default()).collect();
        let woken = Arc::new(std::sync::atomic::AtomicU32::new(0));
        for (id, state) in states.iter_mut().enumerate() {
            let doing = [activity::WASM, activity::WAIT, activity::HOST][id % 3];
            state.sampled.activity.store(doing, Relaxed);
            state.leaving.store(u32::from(id == 7), Relaxed);
            let mut member = Member::current(state, id as ThreadId);
            let count = woken.clone();
            member.wakers.push(Arc::new(move || {
                count.fetch_add(1, Relaxed);
            }));
            roster.enter(member);
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| roster.broadcast());
            }
        });
        assert_eq!(woken.load(Relaxed), 19);
        let told = states.iter().filter(|state| state.pending.load(Relaxed) == pending::STOP);
        assert_eq!(told.count(), 19);
        roster.broadcast();
        assert_eq!(woken.load(Relaxed), 19);
        roster.repeat();
        assert_eq!(woken.load(Relaxed), 38);
    }
}
