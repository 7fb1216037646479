//! Thread-specific values.

use super::thread::{exit_value, function_at};
use super::{Definer, FAILED, Library, lock, read_u32, write_u32};
use crate::error::Error;
use crate::func::Caller;
use crate::instance::Instance;
use crate::store::{AsStore, Store};
use std::sync::Mutex;

/// `WAMR_PTHREAD_KEYS_MAX`.
const MAX_KEYS: usize = 32;

/// The keys of a program.
#[derive(Default)]
pub(super) struct Keys {
    slots: Mutex<[Slot; MAX_KEYS]>,
    /// Values of the first thread, and of any thread that the library has not started.
    first: Values,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    used: bool,
    /// Values of another generation belong to a key that was deleted.
    generation: u64,
    /// Function pointer, or 0.
    destructor: u32,
}

/// The values of one thread.
#[derive(Default)]
pub(super) struct Values(Mutex<[Value; MAX_KEYS]>);

#[derive(Clone, Copy, Default)]
struct Value {
    generation: u64,
    value: u32,
}

impl Keys {
    /// The slot of a key, if there is such a key.
    fn slot(&self, key: i32) -> Option<(usize, Slot)> {
        let index = usize::try_from(key).ok()?;
        let slot = *lock(&self.slots).get(index)?;
        slot.used.then_some((index, slot))
    }

    /// Calls the destructors of a thread that ends, each once, as WAMR does.
    pub fn destroy(
        &self,
        values: &Values,
        store: &mut Store,
        instance: Instance,
    ) -> Result<(), Error> {
        for key in 0..MAX_KEYS {
            let Value { generation, value } = std::mem::take(&mut lock(&values.0)[key]);
            let slot = lock(&self.slots)[key];
            if value == 0 || !slot.used || slot.generation != generation || slot.destructor == 0 {
                continue;
            }
            let data = instance.data(store.store_inner());
            match function_at(data, slot.destructor, &[]) {
                Ok(func) => {
                    let func = store.store_inner().func(data, func);
                    match func.typed::<i32, ()>(store)?.call(store, value as i32) {
                        // It ends no more than the destructor.
                        Err(error) if exit_value(&error).is_some() => {}
                        result => result?,
                    }
                }
                Err(cause) => tracing::warn!(cause, key, "a key's destructor cannot be called"),
            }
        }
        Ok(())
    }
}

/// Runs `f` on the calling thread's value of a key.
fn with_value<R>(
    library: &Library,
    caller: &Caller<'_>,
    key: i32,
    f: impl FnOnce(&mut u32) -> R,
) -> Option<R> {
    let (index, slot) = library.keys.slot(key)?;
    let on = |values: &Values| {
        let value = &mut lock(&values.0)[index];
        if value.generation != slot.generation {
            *value = Value { generation: slot.generation, value: 0 };
        }
        f(&mut value.value)
    };
    Some(match library.threads.get(&caller.thread_id()) {
        Some(thread) => on(&thread.values),
        None => on(&library.keys.first),
    })
}

pub(super) fn define(to: &mut Definer<'_>) {
    to.func("pthread_key_create", |library, caller, (key, destructor): (i32, i32)| {
        read_u32(caller, key as u32)?;
        let mut slots = lock(&library.keys.slots);
        let Some(index) = slots.iter().position(|slot| !slot.used) else { return Ok(FAILED) };
        let generation = slots[index].generation + 1;
        slots[index] = Slot { used: true, generation, destructor: destructor as u32 };
        write_u32(caller, key as u32, index as u32)?;
        Ok(0)
    });
    to.func("pthread_setspecific", |library, caller, (key, new): (i32, i32)| {
        let set = with_value(library, caller, key, |value| *value = new as u32);
        Ok(if set.is_some() { 0 } else { FAILED })
    });
    to.func("pthread_getspecific", |library, caller, key: i32| {
        Ok(with_value(library, caller, key, |value| *value as i32).unwrap_or(0))
    });
    to.func("pthread_key_delete", |library, _, key: i32| {
        let Some((index, slot)) = library.keys.slot(key) else { return Ok(FAILED) };
        lock(&library.keys.slots)[index] = Slot { generation: slot.generation, ..Slot::default() };
        Ok(0)
    });
}
