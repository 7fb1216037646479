//! Threads: create, join, detach, cancel, self, exit.

use super::{Definer, EDEADLK, EINVAL, FAILED, Library, Object, lock, read_u32, write_u32};
use crate::error::Error;
use crate::func::Caller;
use crate::instance::Instance;
use crate::store::Store;
use crate::vm::InstanceData;
use crate::vm::refs::{FuncTarget, function_of};
use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex};
use updraft_jit::abi::Ref;
use wasmparser::{FuncType, ValType};

/// The handle of the first thread.
const MAIN: u32 = 0;
/// What joining a cancelled thread gives: `(void *)-1`, as in POSIX.
const CANCELED: u32 = u32::MAX;

/// A thread that `pthread_create` has started.
#[derive(Default)]
pub(super) struct Thread {
    handle: u32,
    state: Mutex<State>,
    /// 1 once it has ended and its value is there.
    ended: AtomicU32,
    pub values: super::keys::Values,
}

#[derive(Default)]
struct State {
    /// The id in the group, while the thread's function runs.
    running: Option<u32>,
    cancelled: bool,
    detached: bool,
    /// The thread's function is over: nothing cancels it any more.
    over: bool,
    value: u32,
}

/// How `pthread_exit` leaves a thread.
#[derive(Debug)]
struct ThreadExit(u32);

impl fmt::Display for ThreadExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pthread_exit was called outside of a thread of the library")
    }
}

impl std::error::Error for ThreadExit {}

/// The value of the `pthread_exit` by which a call was left.
pub(super) fn exit_value(error: &Error) -> Option<u32> {
    match error {
        Error::Host(error) => error.downcast_ref().map(|ThreadExit(value)| *value),
        _ => None,
    }
}

pub(super) fn define(to: &mut Definer<'_>) {
    type Create = (i32, i32, i32, i32);
    to.func("pthread_create", |library, caller, (thread, _attr, start, argument): Create| {
        let (thread, start, argument) = (thread as u32, start as u32, argument as u32);
        if thread != 0 {
            read_u32(caller, thread)?;
        }
        Ok(create(library, caller, thread, start, argument).map_or_else(
            |cause| {
                if !caller.must_stop() {
                    tracing::warn!(cause, "pthread_create refused");
                }
                FAILED
            },
            |()| 0,
        ))
    });
    to.func("pthread_join", |library, caller, (thread, value): (i32, i32)| {
        join(library, caller, thread as u32, value as u32)
    });
    to.func("pthread_detach", |library, _, thread: i32| {
        if let Some(Object::Thread(thread)) = library.object(thread as u32) {
            let mut state = lock(&thread.state);
            state.detached = true;
            if thread.ended.load(Acquire) == 1 {
                library.objects.remove(&thread.handle);
            }
        }
        Ok(0)
    });
    to.func("pthread_cancel", |library, caller, thread: i32| {
        if let Some(Object::Thread(thread)) = library.object(thread as u32) {
            // Under the lock, so that the id is still this thread's.
            let mut state = lock(&thread.state);
            if !state.over {
                state.cancelled = true;
                if let Some(id) = state.running {
                    caller.group().cancel(id);
                }
            }
        }
        Ok(0)
    });
    for name in ["pthread_self", "__pthread_self"] {
        to.func(name, |library, caller, (): ()| {
            let thread = library.threads.get(&caller.thread_id());
            Ok(thread.map_or(MAIN, |thread| thread.handle) as i32)
        });
    }
    to.func("pthread_exit", |library, caller, value: i32| {
        if library.threads.contains_key(&caller.thread_id()) {
            return Err(Error::host(ThreadExit(value as u32)));
        }
        // As in WAMR, which "currently" does not let the first thread end alone.
        tracing::debug!("pthread_exit in the first thread does nothing");
        Ok(())
    });
}

/// The function of type `[i32] -> results` at this index of the instance's table 0.
pub(super) fn function_at(
    instance: &InstanceData,
    index: u32,
    results: &[ValType],
) -> Result<u32, String> {
    let module = &instance.module;
    if instance.tables.is_empty() {
        return Err("the module has no table, so that there are no function pointers".into());
    }
    let table = instance.table(0);
    if !table.element_type().is_func_ref() {
        return Err(format!("table 0 holds {}, and not functions", table.element_type()));
    }
    let Some(element) = table.get(index.into()) else {
        let len = table.len();
        return Err(format!("function pointer {index} is outside of a table of {len} elements"));
    };
    if element == Ref::NULL {
        return Err(format!("function pointer {index} is null"));
    }
    let func = match element.as_local() {
        Some(func) => func,
        // SAFETY: the element is not null and names no function of its module: it is an absolute reference of the store, which lives.
        None => match unsafe { &function_of(element).target } {
            FuncTarget::Wasm { instance: owner, func } if std::ptr::eq(*owner, instance) => *func,
            _ => {
                return Err(format!("function pointer {index} is no function of the module"));
            }
        },
    };
    let wanted = FuncType::new([ValType::I32], results.iter().copied());
    let ty = module.function_type(func);
    if *ty != wanted {
        return Err(format!(
            "function pointer {index} ({}) must have type {}, but has type {}",
            module.function_name(func),
            crate::func::type_text(&wanted),
            crate::func::type_text(ty)
        ));
    }
    Ok(func)
}

/// Starts a thread, and writes its handle to `thread`, unless that is null.
fn create(
    library: &Arc<Library>,
    caller: &Caller<'_>,
    thread: u32,
    start: u32,
    argument: u32,
) -> Result<(), String> {
    let instance = caller.instance().ok_or("the host called it, and no module")?;
    let process = library.process.upgrade().ok_or("the program has ended")?;
    let func = function_at(instance, start, &[ValType::I32])?;
    if !caller.linear_memory().is_some_and(crate::vm::LinearMemory::is_shared) {
        return Err("the module's memory is not shared; link with --shared-memory".into());
    }
    let stack = library.stack.as_ref().map_err(Clone::clone)?;
    let share = stack.take()?;
    let mut made = None;
    let handle = library.insert(|handle| {
        let thread = Arc::new(Thread { handle, ..Thread::default() });
        made = Some(thread.clone());
        Object::Thread(thread)
    });
    let (Some(handle), Some(new)) = (handle, made) else {
        stack.give_back(share);
        return Err("too many pthread objects".into());
    };
    // Before it runs: it may look there.
    if thread != 0 {
        write_u32(caller, thread, handle).map_err(|error| error.to_string())?;
    }
    let running = Running { library: library.clone(), thread: new, share };
    let body = move |store: &mut Store, instance: Instance, id: u32| {
        running.run(store, instance, id, func, argument)
    };
    process.start(&instance.memories, body).map(|_| ()).inspect_err(|_| {
        library.objects.remove(&handle);
    })
}

/// A thread's place in the library, from its creation on.
struct Running {
    library: Arc<Library>,
    thread: Arc<Thread>,
    share: u32,
}

impl Drop for Running {
    fn drop(&mut self) {
        let running = {
            let mut state = lock(&self.thread.state);
            state.over = true;
            state.running.take()
        };
        if let Some(id) = running {
            self.library.threads.remove(&id);
        }
        if let Ok(stack) = &self.library.stack {
            stack.give_back(self.share);
        }
    }
}

impl Running {
    /// All of the thread's life. An error is one that ends the program.
    fn run(
        self,
        store: &mut Store,
        instance: Instance,
        id: u32,
        func: u32,
        argument: u32,
    ) -> Result<(), Error> {
        let Running { library, thread, share } = &self;
        let group = store.inner.thread.group.clone();
        library.threads.insert(id, thread.clone());
        {
            let mut state = lock(&thread.state);
            state.running = Some(id);
            if state.cancelled {
                group.cancel(id);
            }
        }
        // Attached once, so that a pause finds the thread from its start to its end.
        let result = store.inner.attached(|store| {
            instance.start_attached(store, true, |data| {
                if let Ok(stack) = &library.stack {
                    stack.enter(data, *share);
                }
            })?;
            let mut value = [argument.into()];
            store.call_function(&instance, func, &mut value)?;
            Ok(value[0] as u32)
        });
        let cancelled = {
            let mut state = lock(&thread.state);
            state.over = true;
            state.cancelled
        };
        group.uncancel(id);
        let value = match result {
            Ok(value) => value,
            Err(Error::Stopped(_)) if cancelled && !group.is_stopping() => CANCELED,
            Err(error) => match exit_value(&error) {
                Some(value) => value,
                None => return Err(error),
            },
        };
        library.keys.destroy(&thread.values, store, instance)?;
        let (library, thread) = (library.clone(), thread.clone());
        // Its share of the stack is free before anyone who joins goes on.
        drop(self);
        let mut state = lock(&thread.state);
        state.value = value;
        thread.ended.store(1, Release);
        if state.detached {
            library.objects.remove(&thread.handle);
        }
        drop(state);
        library.wake(thread.handle, u32::MAX);
        Ok(())
    }
}

/// Waits for a thread's end, and writes its value to `value`, unless that is null.
fn join(library: &Library, caller: &Caller<'_>, thread: u32, value: u32) -> Result<i32, Error> {
    // WAMR returns an error here, where other functions trap.
    if value != 0 && read_u32(caller, value).is_err() {
        return Ok(FAILED);
    }
    let Some(Object::Thread(thread)) = library.object(thread) else {
        // WAMR: a thread that it does not know has ended.
        return Ok(0);
    };
    if lock(&thread.state).running == Some(caller.thread_id()) {
        return Ok(EDEADLK);
    }
    while thread.ended.load(Acquire) == 0 {
        if lock(&thread.state).detached {
            return Ok(EINVAL);
        }
        library.wait(caller, thread.handle, || thread.ended.load(Acquire) == 0, None)?;
    }
    let result = lock(&thread.state).value;
    library.objects.remove(&thread.handle);
    if value != 0 {
        write_u32(caller, value, result)?;
    }
    Ok(0)
}
