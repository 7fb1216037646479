//! Models of the protocols, run by loom in every order of steps and with every value that the memory model allows.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib models`. The stop word, the group and the parking lot are the real ones.
//! What is written in assembly, or is a signal, is modelled here: a signal handler is a step of its thread. Some models
//! are of a protocol with a mistake in it, and must fail: they show that the others would.
//!
//! That is as far as loom goes, and ThreadSanitizer needs a nightly compiler: not modelled are the steps of the real handler and of
//! compiled code, the kernel's order of a signal and a system call that blocks (signals are repeated because of it), and more than
//! three threads. For these there are stress tests: `tests/threads_native.rs`, `tests/stops.rs`, `tests/pause.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::time::Instant;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU32};
use loom::thread;

use super::pool::{Idle, Next, Place};
use super::stop::StopWord;
use super::waiter::Waiter;
use super::{Cause, Group, Limits, MAIN_THREAD, ParkingLot, WaitResult};

#[test]
fn models_of_the_stop_word() {
    loom::model(|| {
        let word = Arc::new(StopWord::new());
        let racers = [(Cause::Exit(7), 1), (Cause::Trap, 2)].map(|(cause, id)| {
            let word = word.clone();
            thread::spawn(move || (word.set(cause, id), word.get()))
        });
        let own = (word.set(Cause::TimedOut, 3), word.get());
        let results: Vec<_> =
            racers.into_iter().map(|racer| racer.join().unwrap()).chain([own]).collect();
        assert_eq!(results.iter().filter(|(first, _)| *first).count(), 1);
        let cause = word.get();
        assert!(cause.is_some());
        assert!(results.iter().all(|(_, seen)| *seen == cause), "the first cause stays");
    });
}

/// Whoever sees the cause finds its detail, even if the stopper has not returned yet.
#[test]
fn models_of_the_detail() {
    loom::model(|| {
        let group = Group::new(Limits::default());
        let stoppers = [1, 2].map(|id| {
            let group = group.clone();
            thread::spawn(move || group.stop(Cause::Trap, id, Some(Box::new(id))))
        });
        let seen = group.cause().map(|(_, id)| {
            let detail = group.take_detail().expect("it came with the cause");
            assert_eq!(*detail.downcast::<u32>().unwrap(), id);
        });
        let first = stoppers.map(|stopper| stopper.join().unwrap());
        assert_ne!(first[0], first[1]);
        assert_eq!(group.take_detail().is_none(), seen.is_some());
    });
}

/// Either the stopper finds the attached thread, or attaching finds the stop.
#[test]
fn models_of_attaching() {
    use updraft_jit::abi::ThreadState;
    loom::model(|| {
        let group = Group::new(Limits::default());
        let stopping = group.clone();
        let stopper = thread::spawn(move || stopping.stop(Cause::Trap, 1, None));
        let mut state = ThreadState::default();
        // SAFETY: the state outlives the attachment.
        let attachment = unsafe { group.attach(&raw mut state, MAIN_THREAD) };
        assert!(stopper.join().unwrap());
        assert_eq!(state.pending.load(SeqCst), 1);
        drop(attachment);
        group.wait_all_left(None);
    });
}

/// A waiter that compares a word, and a notifier that changes it first: no wake-up is lost.
#[test]
fn models_of_wait_and_notify() {
    loom::model(|| {
        let lot = Arc::new(ParkingLot::new());
        let word = Arc::new(AtomicU32::new(0));
        let (waiting, compared) = (lot.clone(), word.clone());
        let waiter = thread::spawn(move || {
            let validate = || compared.load(Relaxed) == 0;
            waiting.wait_as(&Waiter::new(), 8, validate, None, || false)
        });
        word.store(1, Relaxed);
        let counted = lot.notify(8, 1);
        let expected = if counted == 1 { WaitResult::Woken } else { WaitResult::NotEqual };
        assert_eq!(waiter.join().unwrap(), expected);
    });
}

/// Notifiers against waiters whose time is over: what is counted was woken.
#[test]
fn models_of_timing_out() {
    loom::model(|| {
        let lot = Arc::new(ParkingLot::new());
        let waiters = [(); 2].map(|()| {
            let lot = lot.clone();
            thread::spawn(move || {
                lot.wait_as(&Waiter::new(), 8, || true, Some(Instant::now()), || false)
            })
        });
        let counted = lot.notify(8, 1);
        let woken = waiters
            .into_iter()
            .map(|waiter| waiter.join().unwrap())
            .filter(|result| *result == WaitResult::Woken)
            .count();
        assert_eq!(counted as usize, woken);
        assert_eq!(lot.notify(8, 1), 0);
    });
}

/// One waiter waits again and again; a late wake-up of an earlier wait does not end a later one.
#[test]
fn models_of_waiting_again() {
    loom::model(|| {
        let lot = Arc::new(ParkingLot::new());
        let notifying = lot.clone();
        let first = Arc::new(AtomicBool::new(false));
        let second = Arc::new(AtomicBool::new(false));
        let (set_first, set_second) = (first.clone(), second.clone());
        let notifier = thread::spawn(move || {
            set_first.store(true, Relaxed);
            let one = notifying.notify(8, 1);
            set_second.store(true, Relaxed);
            one + notifying.notify(8, 1)
        });
        let waiter = Waiter::new();
        let results = [first, second].map(|flag| {
            let result = lot.wait_as(&waiter, 8, || !flag.load(Relaxed), None, || false);
            assert!(matches!(result, WaitResult::Woken | WaitResult::NotEqual));
            result
        });
        let woken = results.iter().filter(|result| **result == WaitResult::Woken).count();
        assert_eq!(notifier.join().unwrap() as usize, woken);
    });
}

/// The end of the group reaches a waiter, also after a nudge that meant nothing to it, and also against a notify.
#[test]
fn models_of_stopping_a_waiter() {
    loom::model(|| {
        let lot = Arc::new(ParkingLot::new());
        let waiter = Waiter::new();
        let stopping = Arc::new(AtomicBool::new(false));
        let (nudged, flag) = (waiter.clone(), stopping.clone());
        let stopper = thread::spawn(move || {
            nudged.nudge(); // of another group, in which this one is nested
            flag.store(true, Release);
            nudged.nudge();
        });
        let result = lot.wait_as(&waiter, 8, || true, None, || stopping.load(Acquire));
        assert_eq!(result, WaitResult::Stopped);
        stopper.join().unwrap();
        assert_eq!(lot.notify(8, 1), 0);
    });
    loom::model(|| {
        let lot = Arc::new(ParkingLot::new());
        let waiter = Waiter::new();
        let stopping = Arc::new(AtomicBool::new(false));
        let (nudged, flag, notifying) = (waiter.clone(), stopping.clone(), lot.clone());
        let other = thread::spawn(move || {
            let counted = notifying.notify(8, 1);
            flag.store(true, Release);
            nudged.nudge();
            counted
        });
        let result = lot.wait_as(&waiter, 8, || true, None, || stopping.load(Acquire));
        let expected =
            if other.join().unwrap() == 1 { WaitResult::Woken } else { WaitResult::Stopped };
        assert_eq!(result, expected);
    });
}

/// A thread that waits for a job, with patience or without; somebody who hands one out; and the end of the pool. A job that
/// was taken is done, one that was given back is not, and every thread ends.
fn model_of_the_pool(patience: Option<std::time::Duration>) {
    loom::model(move || {
        let idle = Arc::new(Idle::new(1));
        let done = Arc::new(AtomicU32::new(0));
        let (waiting, counted) = (idle.clone(), done.clone());
        let worker = thread::spawn(move || {
            let place = Arc::new(Place::new());
            let mut jobs = 0;
            loop {
                match waiting.wait(&place, patience, || ()) {
                    Next::Job(job) => {
                        jobs += job;
                        counted.fetch_add(job, Relaxed);
                    }
                    Next::Closed => return (jobs, true),
                    Next::Leave => return (jobs, false),
                }
            }
        });
        let taken = u32::from(idle.hand(1).is_ok());
        let told = idle.close().len();
        let (jobs, closed) = worker.join().unwrap();
        assert_eq!((jobs, done.load(Relaxed)), (taken, taken));
        // Whoever closes the pool waits for those, and for no others.
        assert_eq!(told, usize::from(closed));
        assert_eq!(idle.hand(1), Err(1));
    });
}

#[test]
fn models_of_a_thread_that_waits_for_a_job() {
    model_of_the_pool(None);
}

#[test]
fn models_of_a_thread_that_will_not_wait() {
    model_of_the_pool(Some(std::time::Duration::ZERO));
}

/// Two who hand out jobs, one who waits: one of them gets the thread, and the job is done once.
#[test]
fn models_of_two_jobs_for_one_thread() {
    loom::model(|| {
        let idle = Arc::new(Idle::new(1));
        let waiting = idle.clone();
        let worker = thread::spawn(move || waiting.wait(&Arc::new(Place::new()), None, || ()));
        let handing = idle.clone();
        let other = thread::spawn(move || handing.hand(2));
        let own = idle.hand(1);
        let other = other.join().unwrap();
        idle.close();
        match worker.join().unwrap() {
            Next::Job(1) => assert_eq!((own, other), (Ok(()), Err(2))),
            Next::Job(job) => assert_eq!((job, own, other), (2, Err(1), Ok(()))),
            Next::Closed | Next::Leave => assert_eq!((own, other), (Err(1), Err(2))),
        }
    });
}

/// A thread as its signal handler sees it.
#[derive(Default)]
struct Signalled {
    pending: AtomicU32,
    /// Sent and not yet delivered.
    signal: AtomicBool,
}

impl Signalled {
    fn stop(&self) {
        self.pending.store(1, SeqCst);
        // The kernel orders what went before the sending for the handler.
        self.signal.swap(true, AcqRel);
    }
}

/// A model of the thread's own side: what `enter_native`, `leave_native` and `back_to_native` do. Between any two steps a
/// signal may be delivered; `Err` says that its handler unwound the thread.
struct Runner<'a> {
    shared: &'a Signalled,
    native: bool,
    save_area: bool,
}

impl Runner<'_> {
    /// A place at which the handler may run.
    fn step(&mut self) -> Result<(), ()> {
        if self.shared.signal.swap(false, AcqRel)
            && self.shared.pending.load(Relaxed) != 0
            && self.native
        {
            assert!(self.save_area, "there is a place to go back to");
            self.native = false;
            return Err(());
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), ()> {
        if self.shared.pending.load(Relaxed) == 0 { Ok(()) } else { Err(()) }
    }

    /// Enters code, which calls a builtin that blocks and then runs until it is stopped. `look_first` is the mistake.
    fn run(&mut self, look_first: bool, stopper: thread::JoinHandle<()>) -> Result<(), ()> {
        self.step()?;
        self.save_area = true;
        self.step()?;
        self.native = true;
        self.step()?;
        self.look()?;
        self.step()?;
        // leave_native
        self.native = false;
        self.step()?;
        if look_first {
            self.look()?;
            self.step()?;
            self.native = true;
        } else {
            self.native = true;
            self.step()?;
            self.look()?;
        }
        self.step()?;
        // Code without end: every signal that was ever sent comes.
        stopper.join().unwrap();
        self.step()
    }
}

fn model_of_state_and_pending(look_first: bool) {
    loom::model(move || {
        let shared = Arc::new(Signalled::default());
        let stopping = shared.clone();
        let stopper = thread::spawn(move || stopping.stop());
        let mut runner = Runner { shared: &shared, native: false, save_area: false };
        assert!(runner.run(look_first, stopper).is_err(), "the code runs for ever");
    });
}

#[test]
fn models_of_state_and_pending() {
    model_of_state_and_pending(false);
}

#[test]
#[should_panic(expected = "the code runs for ever")]
fn models_of_looking_before_the_state_is_set() {
    model_of_state_and_pending(true);
}

/// A model of a pause, as `vm::sys`'s `park` has it: the thread's word and answer, and memory that it writes while it is not outside. What the
/// thread and the pauser sleep on are loom's condition variables in place of futexes.
struct Pausable {
    pending: AtomicU32,
    parked: AtomicU32,
    signal: AtomicBool,
    lock: loom::sync::Mutex<()>,
    changed: loom::sync::Condvar,
    memory: UnsafeCell<u32>,
}

// SAFETY: loom checks that accesses to the cell do not race.
unsafe impl Sync for Pausable {}

impl Pausable {
    fn tell(&self) {
        let _guard = self.lock.lock().unwrap();
        self.changed.notify_all();
    }

    fn wait_while(&self, asleep: impl Fn() -> bool) {
        let mut guard = self.lock.lock().unwrap();
        while asleep() {
            guard = self.changed.wait(guard).unwrap();
        }
    }

    fn acknowledge(&self) {
        let pause = self.pending.load(Acquire);
        if pause != 0 {
            self.parked.store(pause, Release);
            self.tell();
        }
    }

    fn park(&self) {
        loop {
            let now = self.pending.load(Acquire);
            if now == 0 {
                return;
            }
            self.acknowledge();
            self.wait_while(|| self.pending.load(Acquire) == now);
        }
    }

    /// Writes memory as a running thread does.
    fn write(&self) {
        // SAFETY: loom checks it.
        self.memory.with_mut(|memory| unsafe { *memory += 1 });
    }
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Native,
    Host,
    Outside,
}

/// The thread's side: compiled code, a builtin, a function of the embedder. `look_first` is the mistake.
fn run_pausable(shared: &Pausable, look_first: bool) {
    let handler = |at: At| {
        if shared.signal.swap(false, AcqRel) && shared.pending.load(Relaxed) != 0 {
            match at {
                At::Native => shared.park(),
                At::Outside => shared.acknowledge(),
                At::Host => {}
            }
        }
    };
    let look = || {
        if shared.pending.load(Acquire) != 0 {
            shared.park();
        }
    };
    handler(At::Native);
    shared.write();
    handler(At::Native);
    handler(At::Host);
    // go_outside, and back
    handler(At::Outside);
    if look_first {
        look();
        handler(At::Outside);
        handler(At::Host);
    } else {
        handler(At::Host);
        look();
    }
    shared.write();
    handler(At::Host);
    // It leaves the group, which is an answer too.
    shared.parked.store(u32::MAX, Release);
    shared.tell();
}

fn model_of_pausing(look_first: bool) {
    loom::model(move || {
        let shared = Arc::new(Pausable {
            pending: AtomicU32::new(0),
            parked: AtomicU32::new(0),
            signal: AtomicBool::new(false),
            lock: loom::sync::Mutex::new(()),
            changed: loom::sync::Condvar::new(),
            memory: UnsafeCell::new(0),
        });
        let paused = shared.clone();
        let runner = thread::spawn(move || run_pausable(&paused, look_first));
        shared.pending.store(1, SeqCst);
        shared.signal.swap(true, AcqRel);
        shared.wait_while(|| shared.parked.load(Acquire) == 0);
        // SAFETY: loom checks it: the thread stands still, is outside, or has left.
        let seen = shared.memory.with(|memory| unsafe { *memory });
        assert!(seen <= 2);
        shared.pending.store(0, SeqCst);
        shared.tell();
        runner.join().unwrap();
    });
}

#[test]
fn models_of_pausing() {
    model_of_pausing(false);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn models_of_coming_back_before_the_state_is_set() {
    model_of_pausing(true);
}

/// A compile worker writes code and what belongs to it (an invoker, a line table), and publishes the entry; threads that
/// find it in the table find all of that. A second worker may publish a better one meanwhile.
fn model_of_publication(order: std::sync::atomic::Ordering) {
    struct Table {
        entry: AtomicU32,
        code: [UnsafeCell<u32>; 3],
    }
    // SAFETY: loom checks that accesses to the cells do not race.
    unsafe impl Sync for Table {}
    loom::model(move || {
        let table = Arc::new(Table {
            entry: AtomicU32::new(0),
            code: [0, 1, 2].map(|_| UnsafeCell::new(0)),
        });
        let workers = [1u32, 2].map(|tier| {
            let table = table.clone();
            thread::spawn(move || {
                // SAFETY: only this worker writes this tier's code, and nobody reads it before it is published.
                table.code[tier as usize].with_mut(|code| unsafe { *code = 10 * tier });
                // The better tier stays.
                table.entry.fetch_max(tier, order);
            })
        });
        let mut last = 0;
        for _ in 0..2 {
            let entry = table.entry.load(Acquire);
            assert!(entry >= last);
            last = entry;
            // SAFETY: published, and never written again.
            let code = table.code[entry as usize].with(|code| unsafe { *code });
            assert_eq!(code, 10 * entry);
        }
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(table.entry.load(Acquire), 2);
    });
}

#[test]
fn models_of_publishing_code() {
    model_of_publication(AcqRel);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn models_of_publishing_without_release() {
    model_of_publication(Relaxed);
}
