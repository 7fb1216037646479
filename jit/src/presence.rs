//! No thread is in LLVM while the process destroys LLVM's global state.
//!
//! `exit` runs the destructors of libLLVM while other threads go on; one that compiles then reads what is gone. So every
//! call of this crate that enters LLVM is a [`Presence`], and the process's exit first waits until there is none. From
//! then on nothing enters any more: what would have been compiled is not, and what would have been freed is left to
//! the system.
//!
//! While the library is being loaded its constructors register destructors, and an exit handler registered before runs after
//! them, too late. What runs before all exit handlers are the destructors of the exiting thread's locals: so a thread that
//! causes the load ([`Loading`]) waits for its end before it ends itself, or the process.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

struct State {
    /// Announced loads that are not done.
    loading: usize,
    /// Threads' entries that have not been left.
    present: usize,
    /// The process is ending.
    closed: bool,
}

static STATE: Mutex<State> = Mutex::new(State { loading: 0, present: 0, closed: false });
static LEFT: Condvar = Condvar::new();

thread_local! {
    /// Entries of this thread. It may call `exit` inside one: LLVM does so on some fatal errors.
    static OWN: Cell<usize> = const { Cell::new(0) };

    /// Waits at the end of the thread.
    static WAIT: Wait = const { Wait };
}

struct Wait;

impl Drop for Wait {
    fn drop(&mut self) {
        let mut state = lock();
        while state.loading > 0 {
            state = LEFT.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Another thread is going to load LLVM, and this thread is the cause. It waits, at its end, until this is dropped, which is to
/// happen as soon as [`crate::load`] has returned. Without it, a process that exits within the 20 ms of the load may crash.
pub struct Loading(());

impl Loading {
    /// Announces the load. The value is for the other thread.
    #[must_use]
    pub fn announce() -> Loading {
        // A thread that is ending already cannot wait any more.
        let _ = WAIT.try_with(|_| ());
        lock().loading += 1;
        Loading(())
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        lock().loading -= 1;
        LEFT.notify_all();
    }
}

/// As long as it lives, LLVM's global state does.
pub(crate) struct Presence(());

impl Presence {
    /// Enters LLVM; nothing if the process is ending.
    pub fn enter() -> Option<Presence> {
        let mut state = lock();
        if state.closed {
            return None;
        }
        state.present += 1;
        OWN.set(OWN.get() + 1);
        Some(Presence(()))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        OWN.set(OWN.get() - 1);
        let mut state = lock();
        state.present -= 1;
        if state.closed {
            LEFT.notify_all();
        }
    }
}

/// Has the process's exit wait for all threads in LLVM. Called once libLLVM's own destructors are registered: what is
/// registered last runs first.
pub(crate) fn guard_exit() {
    extern "C" fn close() {
        // A thread whose locals are gone is in no call of ours.
        let own = OWN.try_with(Cell::get).unwrap_or(0);
        let mut state = lock();
        state.closed = true;
        while state.present > own {
            state = LEFT.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
    // SAFETY: the function stays, for this library cannot be unloaded while Rust threads run; it does not unwind.
    let refused = unsafe { libc::atexit(close) } != 0;
    if refused {
        tracing::warn!("no memory to register for the end of the process");
    }
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
