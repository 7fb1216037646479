//! What threads synchronise with: the standard library's and the system's, or loom's under `--cfg loom`, where models
//! run the protocols in every order that the memory model allows.

#[cfg(not(loom))]
pub(super) use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, fence},
};

#[cfg(loom)]
pub(super) use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, fence},
};

use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

/// Locks, whatever became of those who held it: nothing here is left half-done by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks if nobody else has the lock.
pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A word that one thread can sleep on.
#[derive(Debug)]
pub(super) struct Futex {
    pub word: AtomicU32,
    #[cfg(loom)]
    lock: Mutex<()>,
    #[cfg(loom)]
    changed: Condvar,
}

impl Futex {
    pub fn new() -> Futex {
        Futex {
            word: AtomicU32::new(0),
            #[cfg(loom)]
            lock: Mutex::new(()),
            #[cfg(loom)]
            changed: Condvar::new(),
        }
    }

    /// Sleeps while the word is `expected`; may come back for no reason.
    #[cfg(not(loom))]
    pub fn wait(&self, expected: u32, timeout: Option<Duration>) {
        crate::vm::sys::futex::wait(&self.word, expected, timeout);
    }

    /// Wakes the sleeper.
    #[cfg(not(loom))]
    pub fn wake(&self) {
        crate::vm::sys::futex::wake(&self.word);
    }

    #[cfg(loom)]
    pub fn wait(&self, expected: u32, _timeout: Option<Duration>) {
        // The kernel compares and enqueues under the lock of its own queue.
        let guard = lock(&self.lock);
        if self.word.load(std::sync::atomic::Ordering::SeqCst) == expected {
            drop(self.changed.wait(guard));
        }
    }

    #[cfg(loom)]
    pub fn wake(&self) {
        let _guard = lock(&self.lock);
        self.changed.notify_one();
    }
}
