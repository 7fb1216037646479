//! Named semaphores. A name belongs to its program: WAMR's belong to the whole system.

use super::{Definer, FAILED, Library, Object, lock, read_string, read_u32, write_u32};
use crate::error::Error;
use crate::func::Caller;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// `SEM_VALUE_MAX`.
const MAX_VALUE: u32 = i32::MAX as u32;
/// Longest name in bytes, as `sem_open(3)` has it.
const MAX_NAME: usize = 251;
/// `O_CREAT` and `O_EXCL` of Linux, which WAMR hands to the system, or of wasi-libc.
const CREATE: i32 = 0o100 | 0x1000;
const EXCLUSIVE: i32 = 0o200 | 0x4000;

pub(super) struct Semaphore {
    handle: u32,
    value: AtomicU32,
}

impl Semaphore {
    fn try_wait(&self) -> bool {
        self.value.fetch_update(AcqRel, Acquire, |value| value.checked_sub(1)).is_ok()
    }
}

impl Library {
    fn semaphore(&self, handle: i32) -> Option<Arc<Semaphore>> {
        match self.object(handle as u32)? {
            Object::Semaphore(semaphore) => Some(semaphore),
            _ => None,
        }
    }
}

fn open(
    library: &Library,
    caller: &Caller<'_>,
    name: i32,
    flags: i32,
    value: i32,
) -> Result<i32, Error> {
    let Some(name) = read_string(caller, name as u32, MAX_NAME)? else { return Ok(FAILED) };
    let mut names = lock(&library.semaphores);
    if let Some(semaphore) = names.get(&name) {
        if flags & CREATE != 0 && flags & EXCLUSIVE != 0 {
            return Ok(FAILED);
        }
        // It may have been closed, which has left its name and value.
        library.objects.insert(semaphore.handle, Object::Semaphore(semaphore.clone()));
        return Ok(semaphore.handle as i32);
    }
    let value = value as u32;
    if flags & CREATE == 0 || value > MAX_VALUE || names.len() >= super::MAX_OBJECTS {
        return Ok(FAILED);
    }
    let handle = library.insert(|handle| {
        let semaphore = Arc::new(Semaphore { handle, value: value.into() });
        names.insert(name, semaphore.clone());
        Object::Semaphore(semaphore)
    });
    Ok(handle.map_or(FAILED, |handle| handle as i32))
}

pub(super) fn define(to: &mut Definer<'_>) {
    type Open = (i32, i32, i32, i32);
    to.func("sem_open", |library, caller, (name, flags, _mode, value): Open| {
        open(library, caller, name, flags, value)
    });
    to.func("sem_close", |library, _, semaphore: i32| {
        let _names = lock(&library.semaphores);
        let Some(semaphore) = library.semaphore(semaphore) else { return Ok(FAILED) };
        library.objects.remove(&semaphore.handle);
        Ok(0)
    });
    to.func("sem_wait", |library, caller, semaphore: i32| {
        let Some(semaphore) = library.semaphore(semaphore) else { return Ok(FAILED) };
        while !semaphore.try_wait() {
            let none = || semaphore.value.load(Acquire) == 0;
            library.wait(caller, semaphore.handle, none, None)?;
        }
        Ok(0)
    });
    to.func("sem_trywait", |library, _, semaphore: i32| {
        let taken = library.semaphore(semaphore).is_some_and(|semaphore| semaphore.try_wait());
        Ok(if taken { 0 } else { FAILED })
    });
    to.func("sem_post", |library, _, semaphore: i32| {
        let Some(semaphore) = library.semaphore(semaphore) else { return Ok(FAILED) };
        let more = |value| (value < MAX_VALUE).then_some(value + 1);
        if semaphore.value.fetch_update(AcqRel, Acquire, more).is_err() {
            return Ok(FAILED);
        }
        library.wake(semaphore.handle, 1);
        Ok(0)
    });
    to.func("sem_getvalue", |library, caller, (semaphore, value): (i32, i32)| {
        read_u32(caller, value as u32)?;
        let Some(semaphore) = library.semaphore(semaphore) else { return Ok(FAILED) };
        write_u32(caller, value as u32, semaphore.value.load(Acquire))?;
        Ok(0)
    });
    to.func("sem_unlink", |library, caller, name: i32| {
        let Some(name) = read_string(caller, name as u32, MAX_NAME)? else { return Ok(FAILED) };
        // Whoever has it open may go on with it.
        let known = lock(&library.semaphores).remove(&name).is_some();
        Ok(if known { 0 } else { FAILED })
    });
}
