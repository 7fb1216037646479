//! The threads of one program.

use std::any::Any;
use std::collections::HashSet;
use std::io;
use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use updraft_jit::abi::{ThreadState, pending, state};

use super::pause::Pauses;
use super::stop::{Cause, StopWord};
use super::sync::{Condvar, Mutex, MutexGuard, lock};
use super::waiter::Waiter;
use super::{THREAD_IDS, ThreadId, ThreadPool};
use crate::error::Stopped;
use crate::observe::events::event;
use crate::vm::quota::Quotas;
use crate::vm::sys;

/// Bounds of a group.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads that [`Group::spawn`] has started and that have not ended, at most.
    pub max_threads: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_threads: 1024 }
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
/// Bytes of native stack for the thread that repeats them.
const WATCHDOG_STACK: usize = 64 * 1024;

/// The threads of one program, and the word that ends them.
///
/// A native thread that runs wasm is *attached* meanwhile. Threads that [`spawn`](Group::spawn) starts count from before they
/// exist until their body has returned.
#[derive(Debug)]
pub struct Group {
    stop: StopWord,
    /// What came with the first cause. Held while the stop word is set, so that whoever sees the cause finds it here.
    detail: Mutex<Option<Box<dyn Any + Send>>>,
    pub(super) members: Mutex<Members>,
    /// Somebody left, or the group stops.
    changed: Condvar,
    /// Counts answers to pauses; whoever pauses the group sleeps on it.
    pub(super) acknowledged: std::sync::atomic::AtomicU32,
    limits: Limits,
    quotas: Arc<Quotas>,
    /// Whether the processor time of threads is counted.
    counts_cpu: bool,
    /// For the watchdog.
    this: Weak<Group>,
}

#[derive(Debug, Default)]
pub(super) struct Members {
    /// Attached threads; the free places are in `vacant`.
    attached: Vec<Option<Member>>,
    vacant: Vec<usize>,
    /// Threads from `spawn`.
    spawned: HashSet<ThreadId>,
    /// Those of them that must end though the group goes on.
    cancelled: HashSet<ThreadId>,
    /// The id given last.
    last_id: ThreadId,
    /// What each thread in `wait_all_left` excepts. They repeat the signals while the group stops.
    waits: Vec<Option<ThreadId>>,
    /// Whether the watchdog runs, which repeats them too.
    watchdog: bool,
    pub(super) pauses: Pauses,
    /// Processor time of threads that are attached no more.
    cpu_of_those_gone: Duration,
}

/// An attached thread.
pub(super) struct Member {
    id: ThreadId,
    state: *mut ThreadState,
    target: sys::SignalTarget,
    waiter: Arc<Waiter>,
    /// The thread knows that the group stops, and is waiting for the others: no more signals for it.
    knows: bool,
    /// What ends the blocking calls of the host that the thread is in, the outermost first.
    wakers: Vec<Waker>,
    /// The native thread's processor time when it was attached.
    cpu_before: Duration,
}

/// Ends a blocking call of the host. Called from any thread, perhaps several times, and perhaps late.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("id", &self.id).finish_non_exhaustive()
    }
}

// SAFETY: `state` is that of an attached thread, which outlives its attachment; others touch only its atomics.
unsafe impl Send for Member {}

impl Member {
    /// Whether the thread knows that it must stop, and does.
    fn needs_no_signal(&self) -> bool {
        // SAFETY: the thread is attached, so it lives and so does its state.
        self.knows || unsafe { (*self.state).leaving.load(Relaxed) != 0 }
    }

    /// Tells the thread to stop, or tells it again.
    fn stop(&self) {
        self.tell(pending::STOP);
    }

    /// Tells the thread that something is pending, or tells it again.
    fn tell(&self, bits: u32) {
        // SAFETY: the thread is attached, so it lives and so does its state.
        unsafe {
            let word = &(*self.state).pending;
            if word.fetch_or(bits, SeqCst) >> pending::PAUSE_SHIFT != 0 {
                // It may stand still in a pause.
                sys::futex::wake(word);
            }
            self.waiter.nudge();
            self.target.interrupt();
        }
    }

    pub(super) fn state(&self) -> &ThreadState {
        // SAFETY: as above; others touch only its atomics.
        unsafe { &*self.state }
    }

    pub(super) fn target(&self) -> &sys::SignalTarget {
        &self.target
    }

    pub(super) fn id(&self) -> ThreadId {
        self.id
    }
}

impl Members {
    pub(super) fn attached(&self) -> impl Iterator<Item = &Member> {
        self.attached.iter().flatten()
    }

    /// Tells all threads to stop that may not know it yet, and gives the wakers of their blocking calls. These are called without
    /// the lock.
    #[must_use]
    fn stop_all(&self) -> Vec<Waker> {
        let ignorant = self.attached().filter(|member| !member.needs_no_signal());
        ignorant
            .inspect(|member| member.stop())
            .flat_map(|member| &member.wakers)
            .cloned()
            .collect()
    }

    /// Whether all have left but `except`.
    fn all_left(&self, except: Option<ThreadId>) -> bool {
        let excepted = except.is_some_and(|id| self.spawned.contains(&id));
        // The first comparison alone is made whenever one of many leaves.
        self.spawned.len() == usize::from(excepted)
            && self.attached().all(|member| Some(member.id) == except)
    }

    /// Whether all have left but those that wait for the others.
    fn all_know(&self) -> bool {
        self.attached().all(|member| member.knows)
            && self
                .spawned
                .iter()
                .all(|id| self.attached().any(|member| member.id == *id && member.knows))
    }

    /// Notes whether the calling thread, where it is attached, needs no more signals.
    fn set_knows(&mut self, knows: bool) {
        for member in self.attached.iter_mut().flatten().filter(|one| one.target.is_current()) {
            member.knows = knows;
        }
    }

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
            members: Mutex::new(Members::default()),
            changed: Condvar::new(),
            acknowledged: std::sync::atomic::AtomicU32::new(0),
            limits,
            quotas,
            counts_cpu,
            this: this.clone(),
        })
    }

    pub(crate) fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    /// The processor time that threads have taken while they were attached, if it is counted.
    pub(crate) fn cpu_time(&self) -> Duration {
        let members = lock(&self.members);
        let running = members
            .attached()
            .map(|member| member.target.cpu_time().saturating_sub(member.cpu_before));
        members.cpu_of_those_gone + running.sum::<Duration>()
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
        event!("stop", thread = by, ?cause, "the program stops");
        let mut members = lock(&self.members);
        members.set_knows(true);
        // The causing thread is told as well, but not again.
        members.attached().filter(|member| member.knows).for_each(Member::stop);
        let wakers = members.stop_all();
        self.changed.notify_all();
        self.keep_repeating(members);
        wakers.iter().for_each(|wake| wake());
        true
    }

    /// Ends one spawned thread: its code fails as in a group that stops, wherever it is attached and until [`uncancel`](Group::uncancel).
    /// The signal is repeated until then.
    pub fn cancel(&self, id: ThreadId) {
        let mut members = lock(&self.members);
        if !members.spawned.contains(&id) || !members.cancelled.insert(id) {
            return;
        }
        members.attached().filter(|member| member.id == id).for_each(Member::stop);
        drop(members);
        let Some(group) = self.this.upgrade() else { return };
        let repeat = move || {
            loop {
                std::thread::sleep(REPEAT);
                let members = lock(&group.members);
                if !members.cancelled.contains(&id) {
                    return;
                }
                members.attached().filter(|member| member.id == id).for_each(Member::stop);
            }
        };
        let watchdog = std::thread::Builder::new().name("updraft-cancel".into());
        if let Err(error) = watchdog.stack_size(WATCHDOG_STACK).spawn(repeat) {
            tracing::warn!(%error, "cannot start the watchdog of a thread that is cancelled");
        }
    }

    /// Lets a cancelled thread attach and run again.
    pub fn uncancel(&self, id: ThreadId) {
        lock(&self.members).cancelled.remove(&id);
    }

    /// Sees to it that somebody repeats the signals, if that is needed; false if there is no thread to be had for it.
    fn keep_repeating(&self, mut members: MutexGuard<'_, Members>) -> bool {
        if !self.is_stopping()
            || members.watchdog
            || !members.waits.is_empty()
            || members.all_know()
        {
            return true;
        }
        let Some(group) = self.this.upgrade() else { return true };
        members.watchdog = true;
        drop(members);
        let watchdog = std::thread::Builder::new().name("updraft-stop".into());
        let started = watchdog.stack_size(WATCHDOG_STACK).spawn(move || group.watch());
        if let Err(error) = &started {
            tracing::warn!(%error, "cannot start the watchdog of a thread group that stops");
            lock(&self.members).watchdog = false;
        }
        started.is_ok()
    }

    /// The watchdog: repeats the signals until all threads have left, or wait for the others.
    fn watch(&self) {
        self.wait_until(lock(&self.members), Members::all_know).watchdog = false;
    }

    /// After somebody has left: wakes whoever waits for that. As [`keep_repeating`](Group::keep_repeating).
    fn one_left(&self, members: MutexGuard<'_, Members>) -> bool {
        if members.waits.iter().any(|except| members.all_left(*except)) {
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
        let member = Member {
            id,
            state,
            target: sys::SignalTarget::current(),
            waiter: Waiter::current(),
            knows: false,
            wakers: Vec::new(),
            cpu_before: Duration::ZERO,
        };
        let cpu_before = if self.counts_cpu { member.target.cpu_time() } else { Duration::ZERO };
        let member = Member { cpu_before, ..member };
        // SAFETY: the caller's promise.
        unsafe {
            (*state).leaving.store(0, Relaxed);
            (*state).state.store(state::HOST, Relaxed);
            let acknowledged = (&raw const self.acknowledged).cast_mut();
            (*state).acknowledged.store(acknowledged, Relaxed);
        }
        let mut members = lock(&self.members);
        // Under the lock: either the stopper finds the member there, or the stop word is seen here.
        let cancelled = if members.cancelled.contains(&id) { pending::STOP } else { 0 };
        let pending = self.pending(&members) | cancelled;
        // SAFETY: the caller's promise.
        unsafe { (*state).pending.store(pending, SeqCst) };
        let place = members.vacant.pop().unwrap_or(members.attached.len());
        if place == members.attached.len() {
            members.attached.push(None);
        }
        members.attached[place] = Some(member);
        drop(members);
        // SAFETY: the caller's promise.
        sys::park(unsafe { &*state });
        Attachment { group: self.clone(), place: Place(place), state, _current: current }
    }

    /// Has the calling thread's attachment call `wake` when the thread must stop, until the guard is dropped. The caller asks whether
    /// it must already: a stop that has not found the waker is seen then. A call that has begun when the guard is dropped may
    /// still be running, or come, later.
    pub fn on_stop(self: &Arc<Group>, place: Place, wake: Waker) -> WakerGuard {
        if let Some(member) = &mut lock(&self.members).attached[place.0] {
            member.wakers.push(wake);
        }
        WakerGuard { group: self.clone(), place }
    }

    /// Ends what an attached thread runs, and nobody else: its deadline has passed. It is told again with each call.
    pub fn end_call(&self, place: Place) {
        let wakers = {
            let members = lock(&self.members);
            let Some(member) = &members.attached[place.0] else { return };
            member.tell(pending::DEADLINE);
            member.wakers.clone()
        };
        wakers.iter().for_each(|wake| wake());
    }

    /// Waits until nobody is attached and every spawned thread has ended; `except` is the calling thread's own id, if it is
    /// one of them. Once the group stops, repeats the signals to those that remain, every millisecond.
    pub fn wait_all_left(&self, except: Option<ThreadId>) {
        let mut members = lock(&self.members);
        members.waits.push(except);
        members.set_knows(except.is_some());
        members = self.wait_until(members, |members| members.all_left(except));
        if let Some(place) = members.waits.iter().position(|other| *other == except) {
            members.waits.swap_remove(place);
        }
        if !self.is_stopping() {
            members.set_knows(false);
        }
        self.keep_repeating(members);
    }

    /// Waits for a condition, and repeats the signals meanwhile once the group stops.
    fn wait_until<'a>(
        &'a self,
        mut members: MutexGuard<'a, Members>,
        done: impl Fn(&Members) -> bool,
    ) -> MutexGuard<'a, Members> {
        let mut repeat_at = None;
        while !done(&members) {
            if !self.is_stopping() {
                members = self.changed.wait(members).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            let repeat_at = repeat_at.get_or_insert(now + REPEAT);
            if now >= *repeat_at {
                *repeat_at = now + REPEAT;
                let wakers = members.stop_all();
                if !wakers.is_empty() {
                    drop(members);
                    wakers.iter().for_each(|wake| wake());
                    members = lock(&self.members);
                    continue;
                }
            }
            let result = self.changed.wait_timeout(members, *repeat_at - now);
            members = result.unwrap_or_else(PoisonError::into_inner).0;
        }
        members
    }

    /// Calls `f` for each attached thread, and sends its signal to those for which it says so. What is seen of a state are its
    /// atomics.
    pub(crate) fn interrupt_where(
        &self,
        mut f: impl FnMut(ThreadId, &ThreadState, &sys::SignalTarget) -> bool,
    ) {
        for member in lock(&self.members).attached() {
            // SAFETY: the thread is attached, so it lives and so does its state.
            unsafe {
                if f(member.id, &*member.state, &member.target) {
                    member.target.interrupt();
                }
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
        members.cancelled.remove(&self.id);
        if !group.one_left(members) {
            // This thread has nothing else to do.
            group.watch();
        }
    }
}

/// Where a group keeps an attached thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place(usize);

/// See [`Group::on_stop`]. Guards of a thread are dropped in reverse order.
#[derive(Debug)]
pub struct WakerGuard {
    group: Arc<Group>,
    place: Place,
}

impl Drop for WakerGuard {
    fn drop(&mut self) {
        let waker = match &mut lock(&self.group.members).attached[self.place.0] {
            Some(member) => member.wakers.pop(),
            None => None,
        };
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
        let mut members = lock(&self.group.members);
        let member = members.attached[self.place.0].take();
        // Under the lock: a profiler has not given it to another thread yet.
        // SAFETY: as above.
        unsafe { (*self.state).sampled.ring.store(std::ptr::null_mut(), Release) };
        if self.group.counts_cpu
            && let Some(member) = member
        {
            let taken = member.target.cpu_time().saturating_sub(member.cpu_before);
            members.cpu_of_those_gone += taken;
        }
        members.vacant.push(self.place.0);
        self.group.left_in_pause(&members);
        self.group.one_left(members);
    }
}
