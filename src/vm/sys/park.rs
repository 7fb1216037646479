//! The thread's side of a pause: where it stands still, and how it says that it touches nothing of the program.
//!
//! Whoever pauses a group gives each thread the number of the pause, in [`ThreadState::pending`], and sends the signal, again and
//! again until the thread has repeated the number in [`ThreadState::parked`]. What the handler finds decides:
//!
//! * NATIVE: compiled code holds no locks. The handler itself notes the registers and sleeps until the pause is over.
//! * OUTSIDE: the thread touches nothing of the program. The handler says so and lets it run; on its way back the thread sets HOST
//!   and then looks at what is pending. The handler came before that, on the same thread, so the look finds the pause.
//! * HOST: the handler spends the budget, or breaks a system call. The next look at what is pending parks.
//!
//! A thread goes on only when it has seen no number, and that is after the pause; an answer to an earlier pause has another number.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::compiler_fence;

use updraft_jit::abi::{ThreadState, pending, state};

use super::{current_thread, futex};

/// Whether the thread must give up what it runs.
#[must_use]
pub fn must_end(thread: &ThreadState) -> bool {
    thread.pending.load(Acquire) & pending::ENDS != 0
}

/// Waits until no pause is on, or the thread must give up. The thread's own call, or its handler's: async-signal-safe.
pub fn park(thread: &ThreadState) {
    loop {
        let now = thread.pending.load(Acquire);
        if now >> pending::PAUSE_SHIFT == 0 || now & pending::ENDS != 0 {
            return;
        }
        acknowledge(thread);
        // A signal or a wake-up for nothing: look again.
        futex::wait(&thread.pending, now, None);
    }
}

/// Says that the thread touches nothing of the program before it has looked at what is pending. Async-signal-safe.
pub(super) fn acknowledge(thread: &ThreadState) {
    let pause = thread.pending.load(Acquire) >> pending::PAUSE_SHIFT;
    if pause == 0 || thread.parked.swap(pause, AcqRel) == pause {
        return;
    }
    // SAFETY: null, or the word of the group that the thread is attached to.
    if let Some(acknowledged) = unsafe { thread.acknowledged.load(Acquire).as_ref() } {
        acknowledged.fetch_add(1, SeqCst);
        futex::wake_all(acknowledged);
    }
}

/// The thread will touch nothing of the program until [`come_inside`]. It is in HOST.
#[inline]
pub fn go_outside(thread: &ThreadState) {
    compiler_fence(SeqCst);
    thread.state.store(state::OUTSIDE, Release);
}

/// Ends what [`go_outside`] began: waits for the end of a pause.
#[inline]
pub fn come_inside(thread: &ThreadState) {
    thread.state.store(state::HOST, Relaxed);
    // Only handlers on this thread look, so it is the compiler alone that must keep the order.
    compiler_fence(SeqCst);
    if thread.pending.load(Acquire) != 0 {
        park(thread);
    }
}

/// While it lives, a function of the embedder may touch what belongs to the program that has called it.
#[derive(Debug)]
pub struct Inside(*const ThreadState);

impl Inside {
    /// For the program whose call the native thread is in, if any.
    #[must_use]
    pub fn enter() -> Inside {
        // SAFETY: `set_current`'s promise.
        unsafe { Inside::of(current_thread()) }
    }

    /// For the program of this thread, if it is called from a function that this program has called.
    ///
    /// # Safety
    /// Null, or a state that outlives the guard and that runs on the calling native thread or on none.
    #[must_use]
    pub unsafe fn of(thread: *const ThreadState) -> Inside {
        // SAFETY: the caller's promise.
        match unsafe { thread.as_ref() } {
            Some(thread) if thread.state.load(Relaxed) == state::OUTSIDE => {
                come_inside(thread);
                Inside(thread)
            }
            _ => Inside(std::ptr::null()),
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // SAFETY: it was the current one, in whose call this guard lives.
        if let Some(thread) = unsafe { self.0.as_ref() } {
            go_outside(thread);
        }
    }
}
