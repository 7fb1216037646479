//! Models of how a group tells its threads that it stops: [`Roster::broadcast`], in which those who leave help, and [`Roster::enter`].
//!
//! As in `models.rs`. Threads here are real in that they sleep on their waiters, and modelled in that no signal comes: what ends
//! a sleep is the nudge. A thread's waker counts how often it was told.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use loom::sync::atomic::AtomicBool;
use loom::thread;
use updraft_jit::abi::{ThreadState, activity, pending};

use super::ThreadId;
use super::roster::{Member, Place, Roster};
use super::sync::{Mutex, lock};
use super::waiter::{Parked, Waiter};

/// A roster, the stop word as whoever attaches sees it, and the lock with which places are given.
struct Model {
    roster: Roster,
    stopping: AtomicBool,
    entering: Mutex<()>,
}

/// A thread of the model, before or while it has a place.
struct Thread {
    state: Box<ThreadState>,
    waiter: Arc<Waiter>,
    told: Arc<AtomicU32>,
}

impl Thread {
    fn new(doing: u32) -> Thread {
        let state = Box::new(ThreadState::default());
        state.sampled.activity.store(doing, Relaxed);
        Thread { state, waiter: Waiter::new(), told: Arc::new(AtomicU32::new(0)) }
    }

    /// Takes a place, and says whether the stop is seen then.
    fn enter(&mut self, model: &Model, id: ThreadId) -> (Place, bool) {
        let mut member = Member::current(&raw mut *self.state, id);
        member.waiter = self.waiter.clone();
        let count = self.told.clone();
        member.wakers.push(Arc::new(move || {
            count.fetch_add(1, Relaxed);
        }));
        let place = {
            let _entering = lock(&model.entering);
            model.roster.enter(member)
        };
        (place, model.stopping.load(SeqCst))
    }

    /// Sleeps until it is told, helps to tell the others, and leaves.
    fn wait_and_leave(&self, model: &Model, place: Place) {
        let told = || self.state.pending.load(SeqCst) & pending::STOP != 0;
        let parked = self.waiter.park(None, told);
        assert_eq!(parked, Parked::Stopped);
        model.leave(place);
    }
}

impl Model {
    fn new() -> Arc<Model> {
        Arc::new(Model {
            roster: Roster::new(),
            stopping: AtomicBool::new(false),
            entering: Mutex::new(()),
        })
    }

    /// As [`Group::stop`](super::Group::stop).
    fn stop(&self) {
        self.stopping.store(true, Release);
        self.roster.broadcast();
    }

    /// As an attachment's end.
    fn leave(&self, place: Place) {
        if self.stopping.load(Acquire) {
            self.roster.broadcast();
        }
        assert!(self.roster.leave(place).is_some());
    }
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // More are hours: each thread of a broadcast comes past each place twice.
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

const PREEMPTIONS: usize = 3;

/// A thread that sleeps, one that computes and leaves by itself just then, and the stopper: whoever of them tells it, the sleeper is told, and
/// once; the other is told once at most.
#[test]
fn models_of_the_broadcast() {
    check(|| {
        let model = Model::new();
        let (mut sleeper, mut leaver) = (Thread::new(activity::WAIT), Thread::new(activity::WASM));
        let (sleeping, _) = sleeper.enter(&model, 1);
        let (leaving, _) = leaver.enter(&model, 2);
        let (told_sleeper, told_leaver) = (sleeper.told.clone(), leaver.told.clone());
        let asleep = model.clone();
        let one = thread::spawn(move || sleeper.wait_and_leave(&asleep, sleeping));
        let computing = model.clone();
        let other = thread::spawn(move || {
            computing.leave(leaving);
            drop(leaver);
        });
        model.stop();
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!(told_sleeper.load(Relaxed), 1);
        assert!(told_leaver.load(Relaxed) <= 1);
    });
}

/// A thread that takes a place while the broadcast runs, and another one helps: it is told, or sees the stop. `vacant`: the place is one
/// that somebody has left. `blind`: it does not look for the stop, which is the mistake.
fn model_of_entering(vacant: bool, blind: bool) {
    check(move || {
        let model = Model::new();
        let mut here = Thread::new(activity::WASM);
        let (leaving, _) = here.enter(&model, 1);
        if vacant {
            let mut gone = Thread::new(activity::WASM);
            let (place, _) = gone.enter(&model, 2);
            model.leave(place);
        }
        let helping = model.clone();
        let helper = thread::spawn(move || {
            helping.leave(leaving);
            drop(here);
        });
        let coming = model.clone();
        let newcomer = thread::spawn(move || {
            let mut newcomer = Thread::new(activity::WASM);
            let (place, stopping) = newcomer.enter(&coming, 3);
            if blind || !stopping {
                newcomer.wait_and_leave(&coming, place);
            } else {
                coming.leave(place);
            }
            newcomer.told.load(Relaxed)
        });
        model.stop();
        helper.join().unwrap();
        assert!(newcomer.join().unwrap() <= 1);
    });
}

#[test]
fn models_of_entering_during_a_broadcast() {
    model_of_entering(false, false);
}

#[test]
fn models_of_entering_a_vacant_place_during_a_broadcast() {
    model_of_entering(true, false);
}

/// It comes after the broadcast has been past its place, and sleeps for ever.
#[test]
#[should_panic(expected = "deadlock")]
fn models_of_entering_without_a_look_at_the_stop() {
    model_of_entering(false, true);
}
