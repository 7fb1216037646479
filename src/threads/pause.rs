//! Pausing: all threads of a group stand still, or touch nothing of the program, until everybody who has asked for that is done.
//!
//! How a thread learns of a pause and answers is in [`sys`]'s `park`. A thread that is attached during a pause waits before
//! it does anything; one that leaves is not waited for. A stop ends a pause: threads that must stop do not wait.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::time::{Duration, Instant};

use updraft_jit::abi::{ThreadState, pending};

use super::ThreadId;
use super::group::{Group, Members};
use super::roster::Member;
use super::sync::lock;
use crate::vm::sys;

/// How often signals are repeated, in case that one came just before a system call that blocks.
const REPEAT: Duration = Duration::from_millis(1);

/// The pauses of a group.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// How many want one now. The group runs when nobody does.
    holders: u32,
    /// Number of the pause that is on, or was last.
    number: u32,
}

/// Why a group could not be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PauseError {
    /// The calling thread is in a function of the host that the program itself has called: it would wait for itself.
    #[error("a thread of the program cannot pause the program")]
    OwnThread,
    /// The program ends, or has ended.
    #[error("the program is ending")]
    Ending,
}

/// While it lives, the group is paused.
#[derive(Debug)]
pub struct Pause {
    group: Arc<Group>,
}

impl Pauses {
    /// What is pending for a thread that is attached now.
    pub fn pending(&self) -> u32 {
        if self.holders == 0 { 0 } else { self.number << pending::PAUSE_SHIFT }
    }
}

impl Member {
    /// A thread that must end may be on its way, though it stood still before.
    fn stands_still(&self, pause: u32) -> bool {
        let state = self.state();
        state.parked.load(Acquire) == pause && !sys::must_end(state)
    }

    fn ask(&self, pause: u32) {
        let word = &self.state().pending;
        if word.load(Acquire) >> pending::PAUSE_SHIFT == 0 {
            word.fetch_or(pause << pending::PAUSE_SHIFT, SeqCst);
        }
        // SAFETY: the thread is attached, so it lives.
        unsafe { self.target.interrupt() };
    }
}

impl Group {
    /// Somebody left: a pause waits for one thread less.
    pub(super) fn left_in_pause(&self, members: &Members) {
        if members.pauses.holders != 0 {
            self.acknowledged.fetch_add(1, SeqCst);
            sys::futex::wake_all(&self.acknowledged);
        }
    }

    /// Waits until all attached threads stand still, or are outside of the program and will stand still before they come back. `look`
    /// is called then with each thread's id and state: nobody tells them to stop meanwhile.
    ///
    /// # Errors
    /// [`PauseError`]; nobody is held then.
    pub fn pause(
        self: &Arc<Group>,
        mut look: impl FnMut(ThreadId, *const ThreadState),
    ) -> Result<Pause, PauseError> {
        let mut members = lock(&self.members);
        if self.roster.attached().any(|member| member.target.is_current()) {
            return Err(PauseError::OwnThread);
        }
        if self.is_stopping() {
            return Err(PauseError::Ending);
        }
        let pauses = &mut members.pauses;
        if pauses.holders == 0 {
            pauses.number = pauses.number % (u32::MAX >> pending::PAUSE_SHIFT) + 1;
        }
        pauses.holders += 1;
        self.watched.fetch_add(1, SeqCst);
        let number = pauses.number;
        let pause = Pause { group: self.clone() };
        let mut ask_at = Instant::now();
        loop {
            let seen = self.acknowledged.load(SeqCst);
            if self.is_stopping() {
                drop(members);
                return Err(PauseError::Ending);
            }
            // While they are held, nobody is told anything.
            let attached: Vec<_> = self.roster.attached().collect();
            if attached.iter().all(|member| member.stands_still(number)) {
                for member in attached {
                    look(member.id, member.state);
                }
                return Ok(pause);
            }
            drop(attached);
            let now = Instant::now();
            if now >= ask_at {
                ask_at = now + REPEAT;
                for member in self.roster.attached().filter(|one| !one.stands_still(number)) {
                    member.ask(number);
                }
            }
            drop(members);
            sys::futex::wait(&self.acknowledged, seen, Some(ask_at.saturating_duration_since(now)));
            members = lock(&self.members);
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let mut members = lock(&self.group.members);
        members.pauses.holders -= 1;
        self.group.watched.fetch_sub(1, SeqCst);
        if members.pauses.holders != 0 {
            return;
        }
        for member in self.group.roster.attached() {
            let word = &member.state().pending;
            word.fetch_and(pending::ENDS, SeqCst);
            sys::futex::wake(word);
        }
    }
}
