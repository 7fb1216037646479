//! Native threads that are kept for the next thread of wasm.
//!
//! Making a native thread costs more than what most short threads of wasm do: a clone, maps for its stacks, page faults, and the way
//! back of all that. A thread whose body has returned waits here for another one instead, with its stacks. It belongs to no
//! group meanwhile.
//!
//! Threads wait last in, first out, so that few of them stay warm and the others can go: one that has waited for [`PATIENCE`] ends, and
//! so does one that finds as many waiting as may.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use super::sync::{Futex, Mutex, lock};
use crate::vm::sys::{self, NativeThread, StackSizes};

/// How long a thread waits for something to do before it ends.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it waits before it gives back what it has used of its stacks. When all threads of a program end at once, the system has others to
/// run first, and a thread that gets its next job at once uses the same pages again.
const REST: Duration = Duration::from_millis(5);

/// Something for a thread to do.
type Job = Box<dyn FnOnce() + Send>;

/// Starts native threads with stacks of one size, and uses those again that have nothing to do. Dropping it ends these; threads that
/// run go on, and end when they are done.
pub struct ThreadPool {
    shared: Arc<Shared>,
}

struct Shared {
    stacks: StackSizes,
    idle: Idle<Job>,
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shared { stacks, idle } = &*self.shared;
        f.debug_struct("ThreadPool").field("stacks", stacks).field("limit", &idle.limit).finish()
    }
}

impl ThreadPool {
    /// A pool that keeps up to `idle` threads.
    #[must_use]
    pub fn new(stacks: StackSizes, idle: usize) -> ThreadPool {
        ThreadPool { shared: Arc::new(Shared { stacks, idle: Idle::new(idle) }) }
    }

    /// Runs `job` on a thread that does nothing else meanwhile.
    ///
    /// The job is dropped before the thread waits for another. What it leaves in thread-local variables stays for that one.
    ///
    /// # Errors
    /// If no thread waits, and the system gives none.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let Err(job) = self.shared.idle.hand(Box::new(job)) else { return Ok(()) };
        clear_away();
        let shared = self.shared.clone();
        NativeThread::start(self.shared.stacks, move |own| work(&shared, own, job))
    }

    /// Threads that wait for something to do.
    #[must_use]
    pub fn idle(&self) -> usize {
        lock(&self.shared.idle.list).places.len()
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        for place in self.shared.idle.close() {
            let thread = lock(&place.thread).take();
            // Waits for its end.
            drop(thread);
        }
        // Waits for the end of those too that have said that they will end.
        let left = std::mem::take(&mut *left());
        drop(left);
    }
}

/// Threads that end for themselves, the first at the front. None can unmap the stack that it stands on; those who come later do.
static LEFT: std::sync::Mutex<VecDeque<NativeThread>> = std::sync::Mutex::new(VecDeque::new());

fn left() -> std::sync::MutexGuard<'static, VecDeque<NativeThread>> {
    LEFT.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Gives back what some threads have left: more than come to the list at a time, so that it does not grow.
fn clear_away() {
    for _ in 0..4 {
        let Some(thread) = left().pop_front() else { return };
        if let Err(thread) = thread.join_if_ended() {
            left().push_back(thread);
        }
    }
}

/// A pool's thread.
fn work(shared: &Shared, own: NativeThread, mut job: Job) {
    let place = Arc::new(Place::new());
    *lock(&place.thread) = Some(own);
    loop {
        // Groups tell from their entry, which the job owns, that it has panicked.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(job));
        match shared.idle.wait(&place, Some(PATIENCE), sys::trim_own_stacks) {
            Next::Job(next) => job = next,
            Next::Closed => return,
            Next::Leave => break,
        }
    }
    clear_away();
    let own = lock(&place.thread).take();
    left().extend(own);
}

/// Those who have nothing to do.
pub(super) struct Idle<J> {
    list: Mutex<List<J>>,
    /// How many may wait.
    limit: usize,
}

struct List<J> {
    /// The last one to come is the first to go.
    places: Vec<Arc<Place<J>>>,
    closed: bool,
}

/// Where one thread waits. Whoever takes it off the list must write the word.
pub(super) struct Place<J> {
    word: Futex,
    job: Mutex<Option<J>>,
    /// The thread's handle.
    thread: Mutex<Option<NativeThread>>,
}

/// On the list, or off it but not told yet why.
const WAITING: u32 = 0;
/// There is a job.
const GIVEN: u32 = 1;
/// The pool was closed.
const CLOSED: u32 = 2;

/// What a thread that waited does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<J> {
    /// This.
    Job(J),
    /// It ends; whoever closed the pool waits for that.
    Closed,
    /// It ends, and nobody knows.
    Leave,
}

impl<J> Place<J> {
    pub fn new() -> Place<J> {
        Place { word: Futex::new(), job: Mutex::new(None), thread: Mutex::new(None) }
    }

    /// Ends the wait of a thread that was taken off the list.
    fn tell(&self, word: u32) {
        self.word.word.store(word, Release);
        self.word.wake();
    }
}

impl<J> Idle<J> {
    pub fn new(limit: usize) -> Idle<J> {
        Idle { list: Mutex::new(List { places: Vec::new(), closed: false }), limit }
    }

    /// Gives `job` to a thread that waits, or back.
    pub fn hand(&self, job: J) -> Result<(), J> {
        let Some(place) = lock(&self.list).places.pop() else { return Err(job) };
        *lock(&place.job) = Some(job);
        place.tell(GIVEN);
        Ok(())
    }

    /// Waits in `place` for a job, at most so long. If that is longer than [`REST`], `tidy` is called after that.
    pub fn wait(
        &self,
        place: &Arc<Place<J>>,
        patience: Option<Duration>,
        tidy: impl FnOnce(),
    ) -> Next<J> {
        {
            let mut list = lock(&self.list);
            if list.closed || list.places.len() >= self.limit {
                return Next::Leave;
            }
            place.word.word.store(WAITING, Release);
            list.places.push(place.clone());
        }
        let mut deadline = patience.map(|patience| Instant::now() + patience);
        let mut tidy =
            patience.filter(|patience| *patience > REST).map(|_| (Instant::now() + REST, tidy));
        loop {
            match place.word.word.load(Acquire) {
                GIVEN => {
                    let job = lock(&place.job).take();
                    return Next::Job(job.expect("it was put there before the word was written"));
                }
                CLOSED => return Next::Closed,
                _ => {}
            }
            let mut left =
                deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if let Some((at, _)) = &tidy {
                let rest = at.saturating_duration_since(Instant::now());
                if !rest.is_zero() {
                    left = Some(rest);
                } else if let Some((_, tidy)) = tidy.take() {
                    tidy();
                    continue;
                }
            }
            if left.is_some_and(|left| left.is_zero()) {
                let mut list = lock(&self.list);
                if let Some(index) = list.places.iter().position(|one| Arc::ptr_eq(one, place)) {
                    list.places.remove(index);
                    return Next::Leave;
                }
                // Somebody has taken it off the list, and will say why.
                deadline = None;
                continue;
            }
            place.word.wait(WAITING, left);
        }
    }

    /// Has all threads that wait end, and no other one wait from now on.
    pub fn close(&self) -> Vec<Arc<Place<J>>> {
        let places = {
            let mut list = lock(&self.list);
            list.closed = true;
            std::mem::take(&mut list.places)
        };
        for place in &places {
            place.tell(CLOSED);
        }
        places
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const STACKS: StackSizes = StackSizes { native: 256 << 10, value: 64 << 10 };

    fn thread_id(pool: &ThreadPool) -> std::thread::ThreadId {
        let (sender, receiver) = mpsc::channel();
        pool.run(move || sender.send(std::thread::current().id()).unwrap()).unwrap();
        receiver.recv().unwrap()
    }

    fn until(condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(240));
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_is_used_again() {
        let pool = ThreadPool::new(STACKS, 8);
        let first = thread_id(&pool);
        for _ in 0..100 {
            until(|| pool.idle() == 1);
            assert_eq!(thread_id(&pool), first);
        }
    }

    #[test]
    fn no_more_wait_than_may() {
        let pool = ThreadPool::new(STACKS, 3);
        let (send, receive) = mpsc::channel::<()>();
        let receive = Arc::new(std::sync::Mutex::new(receive));
        let done = Arc::new(());
        for _ in 0..10 {
            let (receive, done) = (receive.clone(), done.clone());
            let job = move || {
                let _ = receive.lock().unwrap().recv();
                drop(done);
            };
            pool.run(job).unwrap();
        }
        assert_eq!(pool.idle(), 0, "every job has a thread of its own");
        drop(send);
        until(|| Arc::strong_count(&done) == 1 && pool.idle() == 3);
    }

    #[test]
    fn a_pool_that_keeps_none_still_runs() {
        let pool = ThreadPool::new(STACKS, 0);
        let ids: std::collections::HashSet<_> = (0..50).map(|_| thread_id(&pool)).collect();
        assert_eq!(ids.len(), 50);
        assert_eq!(pool.idle(), 0);
    }

    #[test]
    fn threads_that_wait_for_long_end() {
        let pool = ThreadPool::new(STACKS, 8);
        thread_id(&pool);
        until(|| pool.idle() == 1);
        until(|| pool.idle() == 0);
        thread_id(&pool);
    }

    #[test]
    fn a_panic_ends_the_job_alone() {
        let pool = ThreadPool::new(STACKS, 8);
        let first = thread_id(&pool);
        until(|| pool.idle() == 1);
        pool.run(|| std::panic::resume_unwind(Box::new(()))).unwrap();
        until(|| pool.idle() == 1);
        assert_eq!(thread_id(&pool), first);
    }

    /// Pools that are dropped while their threads run, end and wait.
    #[test]
    fn a_pool_can_be_dropped_at_any_time() {
        let done = Arc::new(());
        for round in 0..200 {
            let pool = ThreadPool::new(STACKS, round % 3);
            for _ in 0..4 {
                let done = done.clone();
                pool.run(move || drop(done)).unwrap();
                if round % 2 == 0 {
                    std::thread::yield_now();
                }
            }
        }
        until(|| Arc::strong_count(&done) == 1);
    }
}
