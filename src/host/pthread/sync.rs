//! Mutexes and condition variables.

use super::{Definer, ETIMEDOUT, FAILED, Library, Object, read_u32, write_u32};
use crate::error::Error;
use crate::func::Caller;
use crate::threads::WaitResult;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::{Duration, Instant};
use wasmparser::ValType;

pub(super) const TIMEDWAIT: &str = "pthread_cond_timedwait";

/// Values of [`PMutex::state`].
const FREE: u32 = 0;
const LOCKED: u32 = 1;
/// Locked, and somebody may be waiting.
const CONTENDED: u32 = 2;

/// A mutex: not recursive, and whoever unlocks it need not have locked it, as in WAMR. It is the second mutex of Drepper's "Futexes are
/// tricky" (2011).
pub(super) struct PMutex {
    handle: u32,
    state: AtomicU32,
}

impl PMutex {
    fn lock(&self, library: &Library, caller: &Caller<'_>) -> Result<(), Error> {
        if self.state.compare_exchange(FREE, LOCKED, Acquire, Relaxed).is_ok() {
            return Ok(());
        }
        while self.state.swap(CONTENDED, Acquire) != FREE {
            let contended = || self.state.load(Relaxed) == CONTENDED;
            library.wait(caller, self.handle, contended, None)?;
        }
        Ok(())
    }

    fn unlock(&self, library: &Library) {
        if self.state.swap(FREE, AcqRel) == CONTENDED {
            library.wake(self.handle, 1);
        }
    }
}

/// A condition variable.
pub(super) struct PCond {
    handle: u32,
    /// Counts signals. A thread sleeps only while it is what it was before the thread unlocked the mutex.
    signals: AtomicU32,
}

impl PCond {
    fn wake(&self, library: &Library, count: u32) {
        self.signals.fetch_add(1, AcqRel);
        library.wake(self.handle, count);
    }

    fn wait(
        &self,
        mutex: &PMutex,
        library: &Library,
        caller: &Caller<'_>,
        deadline: Option<Instant>,
    ) -> Result<i32, Error> {
        let before = self.signals.load(Acquire);
        mutex.unlock(library);
        let unchanged = || self.signals.load(Acquire) == before;
        // A thread that must end does not lock the mutex again.
        let result = library.wait(caller, self.handle, unchanged, deadline)?;
        mutex.lock(library, caller)?;
        Ok(if result == WaitResult::TimedOut { ETIMEDOUT } else { 0 })
    }
}

impl Library {
    /// The mutex whose handle is at this address.
    fn mutex(&self, caller: &Caller<'_>, address: i32) -> Result<Option<Arc<PMutex>>, Error> {
        let object = self.object(read_u32(caller, address as u32)?);
        Ok(if let Some(Object::Mutex(mutex)) = object { Some(mutex) } else { None })
    }

    fn cond(&self, caller: &Caller<'_>, address: i32) -> Result<Option<Arc<PCond>>, Error> {
        let object = self.object(read_u32(caller, address as u32)?);
        Ok(if let Some(Object::Cond(cond)) = object { Some(cond) } else { None })
    }

    /// Makes an object, and writes its handle to `address`.
    fn init(
        &self,
        caller: &Caller<'_>,
        address: i32,
        make: impl FnOnce(u32) -> Object,
    ) -> Result<i32, Error> {
        read_u32(caller, address as u32)?;
        let Some(handle) = self.insert(make) else { return Ok(FAILED) };
        write_u32(caller, address as u32, handle)?;
        Ok(0)
    }
}

/// `pthread_cond_wait`, with a timeout in microseconds.
fn cond_wait(
    library: &Library,
    caller: &Caller<'_>,
    cond: i32,
    mutex: i32,
    timeout: Option<u64>,
) -> Result<i32, Error> {
    // One that is too long to add never expires.
    let deadline = timeout.and_then(|us| Instant::now().checked_add(Duration::from_micros(us)));
    match (library.cond(caller, cond)?, library.mutex(caller, mutex)?) {
        (Some(cond), Some(mutex)) => cond.wait(&mutex, library, caller, deadline),
        _ => Ok(FAILED),
    }
}

pub(super) fn define(to: &mut Definer<'_>, timeout: ValType) {
    to.func("pthread_mutex_init", |library, caller, (mutex, _attr): (i32, i32)| {
        let make = |handle| Object::Mutex(Arc::new(PMutex { handle, state: FREE.into() }));
        library.init(caller, mutex, make)
    });
    to.func("pthread_mutex_lock", |library, caller, mutex: i32| {
        let Some(mutex) = library.mutex(caller, mutex)? else { return Ok(FAILED) };
        mutex.lock(library, caller)?;
        Ok(0)
    });
    to.func("pthread_mutex_unlock", |library, caller, mutex: i32| {
        let Some(mutex) = library.mutex(caller, mutex)? else { return Ok(FAILED) };
        mutex.unlock(library);
        Ok(0)
    });
    to.func("pthread_mutex_destroy", |library, caller, mutex: i32| {
        let Some(mutex) = library.mutex(caller, mutex)? else { return Ok(FAILED) };
        if mutex.state.load(Relaxed) != FREE {
            return Ok(FAILED);
        }
        library.objects.remove(&mutex.handle);
        Ok(0)
    });
    to.func("pthread_cond_init", |library, caller, (cond, _attr): (i32, i32)| {
        let make = |handle| Object::Cond(Arc::new(PCond { handle, signals: AtomicU32::new(0) }));
        library.init(caller, cond, make)
    });
    to.func("pthread_cond_wait", |library, caller, (cond, mutex): (i32, i32)| {
        cond_wait(library, caller, cond, mutex, None)
    });
    if timeout == ValType::I32 {
        to.func(TIMEDWAIT, |library, caller, (cond, mutex, us): (i32, i32, i32)| {
            cond_wait(library, caller, cond, mutex, Some(u64::from(us as u32)))
        });
    } else {
        to.func(TIMEDWAIT, |library, caller, (cond, mutex, us): (i32, i32, i64)| {
            cond_wait(library, caller, cond, mutex, Some(us as u64))
        });
    }
    for (name, count) in [("pthread_cond_signal", 1), ("pthread_cond_broadcast", u32::MAX)] {
        to.func(name, move |library, caller, cond: i32| {
            let Some(cond) = library.cond(caller, cond)? else { return Ok(FAILED) };
            cond.wake(library, count);
            Ok(0)
        });
    }
    to.func("pthread_cond_destroy", |library, caller, cond: i32| {
        let Some(cond) = library.cond(caller, cond)? else { return Ok(FAILED) };
        library.objects.remove(&cond.handle);
        Ok(0)
    });
}
