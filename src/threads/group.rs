//! The threads of one program.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use updraft_jit::abi::{ThreadState, pending, state};

use super::pause::Pauses;
use super::roster::{Member, Roster};
use super::stop::{Cause, StopWord};
use super::sync::{AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard, fence, lock};
use super::{Place, THREAD_IDS, ThreadId, ThreadPool, Timer};
use crate::error::Stopped;
use crate::observe::events::event;
use crate::vm::quota::Quotas;
use crate::vm::sys;

/// Bounds of a group.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads that [`Group::spawn`] has started and that have not ended, at most.
    pub max_threads: u32,
    /// Bytes of value stack that each thread uses at most.
    pub value_stack: usize,
    /// Bytes of native stack, from where it begins, that wasm uses at most in each thread.
    pub native_stack: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_threads: 1024, value_stack: usize::MAX, native_stack: usize::MAX }
    }
}

/// Why a thread could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// As many threads run as the group may have.
    #[error("the limit of {limit} threads is reached")]
    TooMany {
        /// [`Limits::max_threads`].
        limit: u32,
    },
    /// The group ends.
    #[error("the program is ending")]
    Stopping,
    /// The system refused.
    #[error("the operating system gives no thread: {0}")]
    Os(#[source] io::Error),
    /// Every id is that of a live thread.
    #[error("all thread ids are in use")]
    IdsExhausted,
}

/// How often stop signals are repeated.
const REPEAT: Duration = Duration::from_millis(1);

/// The threads of one program, and the word that ends them.
///
/// A native thread that runs wasm is *attached* meanwhile. Threads that [`spawn`](Group::spawn) starts count from before they
/// exist until their body has returned.
#[derive(Debug)]
pub struct Group {
    stop: StopWord,
    /// What came with the first cause. Held while the stop word is set, so that whoever sees the cause finds it here.
    detail: Mutex<Option<Box<dyn Any + Send>>>,
    /// Who is attached.
    pub(super) roster: Roster,
    pub(super) members: Mutex<Members>,
    /// Somebody left, or the group stops.
    changed: Condvar,
    /// Counts answers to pauses; whoever pauses the group sleeps on it.
    pub(super) acknowledged: std::sync::atomic::AtomicU32,
    /// How many wait for others to leave, or hold a pause: a thread that leaves looks whether it is they that it must tell.
    pub(super) watched: AtomicU32,
    /// Threads in [`Members::spawned`].
    spawned: AtomicU32,
    limits: Limits,
    quotas: Arc<Quotas>,
    /// Whether the processor time of threads is counted.
    counts_cpu: bool,
    /// Processor time of threads that are attached no more, in nanoseconds.
    cpu_of_those_gone: AtomicU64,
    /// For the timers.
    this: Weak<Group>,
}

#[derive(Debug, Default)]
pub(super) struct Members {
    /// Threads from `spawn`.
    spawned: HashSet<ThreadId>,
    /// Those of them that must end though the group goes on, and what repeats their signals.
    cancelled: HashMap<ThreadId, Option<Timer>>,
    /// The id given last.
    last_id: ThreadId,
    /// What each thread in `wait_all_left` excepts. They repeat the signals while the group stops.
    waits: Vec<Option<ThreadId>>,
    /// Whether a timer repeats them too.
    repeated: bool,
    pub(super) pauses: Pauses,
}

/// Ends a blocking call of the host. Called from any thread, perhaps several times, and perhaps late.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

impl Members {
    /// The next id that no live thread has. Ids go round, so that one is not used again soon.
    fn next_id(&mut self) -> Option<ThreadId> {
        (0..=self.spawned.len()).find_map(|_| {
            self.last_id = if self.last_id + 1 == THREAD_IDS { 1 } else { self.last_id + 1 };
            (!self.spawned.contains(&self.last_id)).then_some(self.last_id)
        })
    }
}

impl Group {
    /// A group without threads.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Group> {
        Group::with_quotas(limits, Quotas::new(None, None, None), false)
    }

    /// The same, whose instances share these quotas. `counts_cpu`: it counts the processor time of its threads.
    pub(crate) fn with_quotas(limits: Limits, quotas: Arc<Quotas>, counts_cpu: bool) -> Arc<Group> {
        Arc::new_cyclic(|this| Group {
            stop: StopWord::new(),
            detail: Mutex::new(None),
            roster: Roster::new(),
            members: Mutex::new(Members::default()),
            changed: Condvar::new(),
            acknowledged: std::sync::atomic::AtomicU32::new(0),
            watched: AtomicU32::new(0),
            spawned: AtomicU32::new(0),
            limits,
            quotas,
            counts_cpu,
            cpu_of_those_gone: AtomicU64::new(0),
            this: this.clone(),
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    /// The processor time that threads have taken while they were attached, if it is counted.
    pub(crate) fn cpu_time(&self) -> Duration {
        // In this order, none is counted twice.
        let gone = Duration::from_nanos(self.cpu_of_those_gone.load(SeqCst));
        gone + self.roster.attached().map(|member| member.cpu_time()).sum::<Duration>()
    }

    /// Why the group ends, and the thread that was the cause.
    #[must_use]
    pub fn cause(&self) -> Option<(Cause, ThreadId)> {
        self.stop.get()
    }

    /// Whether the group ends.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.is_set()
    }

    /// The cause as threads see it that had no part in it.
    #[must_use]
    pub fn stopped(&self) -> Stopped {
        match self.cause() {
            Some((Cause::Terminated, _)) => Stopped::Terminated,
            Some((Cause::TimedOut, _)) => Stopped::TimedOut,
            Some((Cause::CpuTime, _)) => Stopped::CpuTime,
            Some((Cause::Exit(_) | Cause::Trap, _)) | None => Stopped::ByGroup,
        }
    }

    /// What came with the first cause. Complete for whoever has seen [`cause`](Group::cause); the second call gets nothing.
    pub fn take_detail(&self) -> Option<Box<dyn Any + Send>> {
        lock(&self.detail).take()
    }

    /// Ends the group: tells every thread, wherever it is, and does not wait for them. Returns whether this was the first cause;
    /// otherwise nothing happens and `detail` is dropped. If the calling thread is attached, it leaves without being told again.
    pub fn stop(&self, cause: Cause, by: ThreadId, detail: Option<Box<dyn Any + Send>>) -> bool {
        {
            let mut kept = lock(&self.detail);
            if !self.stop.set(cause, by) {
                return false;
            }
            *kept = detail;
        }
        // The causing thread is told as well, but not again.
        self.set_knows(true, |member| member.stop());
        self.roster.broadcast();
        event!("stop", thread = by, ?cause, "the program stops");
        let members = lock(&self.members);
        self.changed.notify_all();
        self.keep_repeating(members);
        true
    }

    /// Notes whether the calling thread, where it is attached, needs no more signals.
    fn set_knows(&self, knows: bool, tell: impl Fn(&Member)) {
        for mut member in self.roster.attached_and_free().filter(|one| one.target.is_current()) {
            member.knows = knows;
            tell(&member);
        }
    }

    /// Whether all have left but `except`.
    fn all_left(&self, members: &Members, except: Option<ThreadId>) -> bool {
        let excepted = except.is_some_and(|id| members.spawned.contains(&id));
        // The first comparison alone is made whenever one of many leaves.
        members.spawned.len() == usize::from(excepted)
            && self.roster.attached().all(|member| Some(member.id) == except)
    }

    /// Whether all have left but those that wait for the others.
    fn all_know(&self, members: &Members) -> bool {
        let mut ignorant: HashSet<ThreadId> = members.spawned.clone();
        self.roster.attached().all(|member| {
            ignorant.remove(&member.id);
            member.knows
        }) && ignorant.is_empty()
    }

    /// Ends one spawned thread: its code fails as in a group that stops, wherever it is attached and until [`uncancel`](Group::uncancel).
    /// The signal is repeated until then.
    pub fn cancel(&self, id: ThreadId) {
        {
            let mut members = lock(&self.members);
            if !members.spawned.contains(&id) || members.cancelled.contains_key(&id) {
                return;
            }
            members.cancelled.insert(id, None);
        }
        let group = self.this.clone();
        let repeat = move || {
            let group = group.upgrade()?;
            if !lock(&group.members).cancelled.contains_key(&id) {
                return None;
            }
            group.roster.tell(pending::STOP, |member| member.id == id);
            Some(Instant::now() + REPEAT)
        };
        let Some(at) = repeat() else { return };
        match Timer::start(at, repeat) {
            Ok(timer) => {
                let unused = match lock(&self.members).cancelled.get_mut(&id) {
                    Some(place) => place.replace(timer),
                    None => Some(timer),
                };
                // It may wait for the lock.
                drop(unused);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot start the timer of a thread that is cancelled")
            }
        }
    }

    /// Lets a cancelled thread attach and run again.
    pub fn uncancel(&self, id: ThreadId) {
        let timer = lock(&self.members).cancelled.remove(&id);
        // It may wait for the lock.
        drop(timer);
    }

    /// Sees to it that the signals are repeated, if that is needed; false if there is no thread to be had for it.
    fn keep_repeating(&self, mut members: MutexGuard<'_, Members>) -> bool {
        if !self.is_stopping()
            || members.repeated
            || !members.waits.is_empty()
            || self.all_know(&members)
        {
            return true;
        }
        let Some(group) = self.this.upgrade() else { return true };
        members.repeated = true;
        drop(members);
        let timer = Timer::start(Instant::now() + REPEAT, move || {
            let mut members = lock(&group.members);
            if group.all_know(&members) {
                members.repeated = false;
                return None;
            }
            drop(members);
            group.roster.repeat();
            Some(Instant::now() + REPEAT)
        });
        match timer {
            Ok(timer) => timer.keep(),
            Err(error) => {
                tracing::warn!(%error, "cannot start the timer of a thread group that stops");
                lock(&self.members).repeated = false;
                return false;
            }
        }
        true
    }

    /// The same on the calling thread, if there is no other one to be had.
    fn repeat_until_all_know(&self) {
        while !self.all_know(&lock(&self.members)) {
            self.roster.repeat();
            std::thread::sleep(REPEAT);
        }
    }

    /// After somebody has left: wakes whoever waits for that. As [`keep_repeating`](Group::keep_repeating).
    fn one_left(&self, members: MutexGuard<'_, Members>) -> bool {
        if members.waits.iter().any(|except| self.all_left(&members, *except)) {
            self.changed.notify_all();
        }
        self.keep_repeating(members)
    }

    /// Registers the calling thread as running wasm for this group. Dropping the attachment unregisters it, which is also
    /// its answer to a stop. If the group stops already, `pending` is set when this returns.
    ///
    /// It also readies the thread for compiled code: see [`sys::prepare_thread`] and [`sys::set_current`].
    ///
    /// # Safety
    /// `state` and what its `ctx` points to at any time outlive the attachment. Attachments of a thread are dropped in
    /// reverse order.
    pub unsafe fn attach(self: &Arc<Group>, state: *mut ThreadState, id: ThreadId) -> Attachment {
        if let Err(error) = sys::prepare_thread() {
            tracing::warn!(%error, "no signal stack: an overflow of this thread's stack kills the process");
        }
        // SAFETY: the caller's promise.
        let current = unsafe { sys::set_current(state) };
        let mut member = Member::current(state, id);
        if self.counts_cpu {
            member.cpu_before = member.target.cpu_time();
        }
        // SAFETY: the caller's promise.
        unsafe {
            (*state).leaving.store(0, Relaxed);
            (*state).state.store(state::HOST, Relaxed);
            let acknowledged = (&raw const self.acknowledged).cast_mut();
            (*state).acknowledged.store(acknowledged, Relaxed);
        }
        let members = lock(&self.members);
        let cancelled = if members.cancelled.contains_key(&id) { pending::STOP } else { 0 };
        // SAFETY: the caller's promise.
        let pending = unsafe { &(*state).pending };
        pending.store(members.pauses.pending() | cancelled, SeqCst);
        let place = self.roster.enter(member);
        drop(members);
        // Either the stopper finds the member, or the stop word is seen here.
        if self.is_stopping() {
            pending.fetch_or(pending::STOP, SeqCst);
        }
        // SAFETY: the caller's promise.
        sys::park(unsafe { &*state });
        Attachment { group: self.clone(), place, state, _current: current }
    }

    /// Ends what [`attach`](Group::attach) began.
    fn leave(&self, place: Place) {
        if self.is_stopping() {
            // The others may not have been told yet, because whoever does it was preempted.
            self.roster.broadcast();
        }
        let member = self.roster.leave(place);
        if let Some(member) = member.filter(|_| self.counts_cpu) {
            let taken = u64::try_from(member.cpu_time().as_nanos()).unwrap_or(u64::MAX);
            self.cpu_of_those_gone.fetch_add(taken, SeqCst);
        }
        fence(SeqCst);
        // While the group stops, pauses do not matter, and spawned threads look again when they end.
        if self.watched.load(SeqCst) != 0 && (!self.is_stopping() || self.spawned.load(SeqCst) <= 1)
        {
            let members = lock(&self.members);
            self.left_in_pause(&members);
            self.one_left(members);
        }
    }

    /// Has the calling thread's attachment call `wake` when the thread must stop, until the guard is dropped. The caller asks whether
    /// it must already: a stop that has not found the waker is seen then. A call that has begun when the guard is dropped may
    /// still be running, or come, later.
    pub fn on_stop(self: &Arc<Group>, place: Place, wake: Waker) -> WakerGuard {
        if let Some(mut member) = self.roster.at(place) {
            member.wakers.push(wake);
        }
        WakerGuard { group: self.clone(), place }
    }

    /// Ends what an attached thread runs, and nobody else: its deadline has passed. It is told again with each call.
    pub fn end_call(&self, place: Place) {
        if let Some(member) = self.roster.at(place) {
            member.tell_and_wake(pending::DEADLINE);
        }
    }

    /// Waits until nobody is attached and every spawned thread has ended; `except` is the calling thread's own id, if it is
    /// one of them. Once the group stops, repeats the signals to those that remain, every millisecond.
    pub fn wait_all_left(&self, except: Option<ThreadId>) {
        let mut members = lock(&self.members);
        members.waits.push(except);
        // With the look at it in `leave`: either the thread that leaves sees it, or it is not seen here any more.
        self.watched.fetch_add(1, SeqCst);
        fence(SeqCst);
        self.set_knows(except.is_some(), |_| ());
        let mut repeat_at = None;
        while !self.all_left(&members, except) {
            if !self.is_stopping() {
                members = self.changed.wait(members).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            let repeat_at = repeat_at.get_or_insert(now + REPEAT);
            if now >= *repeat_at {
                *repeat_at = now + REPEAT;
                drop(members);
                self.roster.repeat();
                members = lock(&self.members);
                continue;
            }
            let result = self.changed.wait_timeout(members, *repeat_at - now);
            members = result.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.watched.fetch_sub(1, SeqCst);
        if let Some(place) = members.waits.iter().position(|other| *other == except) {
            members.waits.swap_remove(place);
        }
        if !self.is_stopping() {
            self.set_knows(false, |_| ());
        }
        self.keep_repeating(members);
    }

    /// Calls `f` for each attached thread, and sends its signal to those for which it says so. What is seen of a state are its
    /// atomics.
    pub(crate) fn interrupt_where(
        &self,
        mut f: impl FnMut(ThreadId, &ThreadState, &sys::SignalTarget) -> bool,
    ) {
        for member in self.roster.attached() {
            if f(member.id, member.state(), &member.target) {
                // SAFETY: the thread is attached, so it lives.
                unsafe { member.target.interrupt() };
            }
        }
    }

    /// Has a thread of `threads` run `body` with its new id.
    ///
    /// The thread counts from now on: [`wait_all_left`](Group::wait_all_left) waits for it. It is not attached; that is for the
    /// body. If the body panics, the group stops with [`Cause::Trap`].
    ///
    /// # Errors
    /// [`SpawnError`]; nothing has been started then.
    pub fn spawn(
        self: &Arc<Group>,
        threads: &ThreadPool,
        body: impl FnOnce(ThreadId) + Send + 'static,
    ) -> Result<ThreadId, SpawnError> {
        let id = {
            let mut members = lock(&self.members);
            if self.is_stopping() {
                return Err(SpawnError::Stopping);
            }
            let limit = self.limits.max_threads;
            if members.spawned.len() >= limit as usize {
                return Err(SpawnError::TooMany { limit });
            }
            let id = members.next_id().ok_or(SpawnError::IdsExhausted)?;
            members.spawned.insert(id);
            self.spawned.fetch_add(1, SeqCst);
            id
        };
        let spawned = Spawned { group: self.clone(), id };
        let job = move || {
            let spawned = spawned;
            sys::name_thread(&format!("wasm-{id}"));
            body(spawned.id);
        };
        threads.run(job).map_err(SpawnError::Os)?;
        Ok(id)
    }
}

/// A spawned thread's entry in its group. It is dropped when the body has returned, or when there was no thread to be had.
struct Spawned {
    group: Arc<Group>,
    id: ThreadId,
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.group.stop(Cause::Trap, self.id, None);
        }
        let group = &self.group;
        let mut members = lock(&group.members);
        members.spawned.remove(&self.id);
        group.spawned.fetch_sub(1, SeqCst);
        let timer = members.cancelled.remove(&self.id);
        if !group.one_left(members) {
            // This thread has nothing else to do.
            group.repeat_until_all_know();
        }
        // It may wait for the lock.
        drop(timer);
    }
}

/// See [`Group::on_stop`]. Guards of a thread are dropped in reverse order.
#[derive(Debug)]
pub struct WakerGuard {
    group: Arc<Group>,
    place: Place,
}

impl Drop for WakerGuard {
    fn drop(&mut self) {
        let waker = self.group.roster.at(self.place).and_then(|mut member| member.wakers.pop());
        // It may hold anything, and is dropped without the lock.
        drop(waker);
    }
}

/// While it lives, its thread runs wasm for the group, and gets its stop signals.
#[derive(Debug)]
pub struct Attachment {
    group: Arc<Group>,
    place: Place,
    state: *mut ThreadState,
    // Dropped last: a thread that has left is not signalled any more.
    _current: sys::CurrentGuard,
}

impl Attachment {
    /// Where the group keeps the thread.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // Whoever has the lock may be going to signal this thread, which would only wake it to wait for the lock again.
        // SAFETY: the state outlives the attachment.
        unsafe { (*self.state).leaving.store(1, Relaxed) };
        self.group.leave(self.place);
    }
}
