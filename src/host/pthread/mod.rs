//! WAMR's pthread library: POSIX threads as functions of the host, in the module `env`.
//!
//! Programs that are built against it bring no threads of their own. They hold handles (u32), and the host holds what is behind them.
//! The interface is that of WAMR's `core/iwasm/libraries/lib-pthread` and `doc/pthread_library.md`; error numbers are Linux's, as WAMR
//! gives them there. All of it is a thin layer on the thread group: threads start in [`ProcessInner::start`], and whatever blocks
//! sleeps in a [`ParkingLot`], by handle, so that stops reach it like any wait.
//!
//! * `thread`: create, join, detach, cancel, self, exit.
//! * `sync`: mutexes and condition variables. `semaphore`: named semaphores. `keys`: thread-specific values.
//! * `stack`: each thread's share of the module's stack in linear memory. `heap`: `posix_memalign`, and `malloc` for programs without.

mod heap;
mod keys;
mod semaphore;
mod stack;
mod sync;
mod thread;

use crate::error::{Error, Trap};
use crate::func::{Caller, HostFunc};
use crate::linker::Linker;
use crate::module::{Import, Item, Module};
use crate::process::ProcessInner;
use crate::threads::{ParkingLot, WaitResult};
use crate::val::WasmTys;
use crate::vm::sys;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use updraft_jit::abi::TrapCode;
use wasmparser::ValType;

/// The host module.
const ENV: &str = "env";

/// What WAMR's functions return for most failures.
const FAILED: i32 = -1;
/// Error numbers of Linux.
const ENOMEM: i32 = 12;
const EINVAL: i32 = 22;
const EDEADLK: i32 = 35;
const ETIMEDOUT: i32 = 110;

/// The most objects that a program may have at once. They take memory of the host.
const MAX_OBJECTS: usize = 1 << 20;

/// The library's side of one program.
struct Library {
    process: Weak<ProcessInner>,
    objects: DashMap<u32, Object>,
    last_handle: AtomicU32,
    /// Where threads block, by the handle of what they wait for.
    lot: ParkingLot,
    /// Threads that run, by their id in the group.
    threads: DashMap<u32, Arc<thread::Thread>>,
    semaphores: Mutex<HashMap<Vec<u8>, Arc<semaphore::Semaphore>>>,
    keys: keys::Keys,
    /// How the module's stack is divided, or why it is not.
    stack: Result<stack::AuxStack, String>,
    heap: Mutex<heap::Heap>,
}

/// What a handle names.
#[derive(Clone)]
enum Object {
    Thread(Arc<thread::Thread>),
    Mutex(Arc<sync::PMutex>),
    Cond(Arc<sync::PCond>),
    Semaphore(Arc<semaphore::Semaphore>),
}

impl Library {
    /// Gives an object a new handle; `None` if there are too many.
    fn insert(&self, make: impl FnOnce(u32) -> Object) -> Option<u32> {
        if self.objects.len() >= MAX_OBJECTS {
            tracing::warn!(limit = MAX_OBJECTS, "no more pthread objects for this program");
            return None;
        }
        loop {
            let handle = self.last_handle.fetch_add(1, Relaxed).wrapping_add(1);
            // 0 is the first thread's, and -1 is sem_open's failure.
            if handle == 0 || handle == u32::MAX {
                continue;
            }
            if let Entry::Vacant(entry) = self.objects.entry(handle) {
                entry.insert(make(handle));
                return Some(handle);
            }
        }
    }

    fn object(&self, handle: u32) -> Option<Object> {
        self.objects.get(&handle).map(|object| object.clone())
    }

    /// Blocks the calling thread at a handle if `validate` says so, which is called under the queue's lock.
    fn wait(
        &self,
        caller: &Caller<'_>,
        handle: u32,
        validate: impl FnOnce() -> bool,
        deadline: Option<Instant>,
    ) -> Result<WaitResult, Error> {
        let must_end = || sys::must_end(caller.state());
        // Whoever sleeps here touches nothing of the program, and holds up no pause.
        let result =
            caller.waiting(|| self.lot.wait_unless(handle.into(), validate, deadline, must_end));
        match result {
            WaitResult::Stopped => Err(Error::Stopped(caller.stopped())),
            other => Ok(other),
        }
    }

    fn wake(&self, handle: u32, count: u32) {
        self.lot.notify(handle.into(), count);
    }
}

/// Locks, whatever became of those who held it: nothing here is left half-done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address that the program gave is outside of its memory: a trap, as in WAMR.
fn out_of_bounds(caller: &Caller<'_>) -> Error {
    let thread = caller.thread_id();
    Error::Trap(Trap { code: TrapCode::MemoryOutOfBounds, thread, frames: Vec::new() })
}

/// The address of 4 bytes of the program's memory, on the host.
fn word(caller: &Caller<'_>, address: u32) -> Result<*mut [u8; 4], Error> {
    let memory = caller.linear_memory();
    let bytes = memory.and_then(|memory| memory.range(address.into(), 4));
    bytes.map(<*mut u8>::cast).ok_or_else(|| out_of_bounds(caller))
}

fn read_u32(caller: &Caller<'_>, address: u32) -> Result<u32, Error> {
    // SAFETY: the bytes are accessible and stay so. Other threads may write: no reference is made, and the access is volatile.
    Ok(u32::from_le_bytes(unsafe { word(caller, address)?.read_volatile() }))
}

fn write_u32(caller: &Caller<'_>, address: u32, value: u32) -> Result<(), Error> {
    // SAFETY: as in `read_u32`.
    unsafe { word(caller, address)?.write_volatile(value.to_le_bytes()) };
    Ok(())
}

/// Reads a string that ends with a NUL; `None` if it has more than `limit` bytes.
fn read_string(caller: &Caller<'_>, address: u32, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    let memory = caller.linear_memory();
    let mut bytes = Vec::new();
    for at in u64::from(address).. {
        let byte = memory.and_then(|memory| memory.range(at, 1));
        // SAFETY: as in `read_u32`.
        match unsafe { byte.ok_or_else(|| out_of_bounds(caller))?.read_volatile() } {
            0 => break,
            _ if bytes.len() == limit => return Ok(None),
            byte => bytes.push(byte),
        }
    }
    Ok(Some(bytes))
}

/// Defines functions.
struct Definer<'a> {
    linker: &'a mut Linker,
    library: Arc<Library>,
}

impl Definer<'_> {
    /// Defines a function, unless the embedder has defined one of that name.
    fn func<P: WasmTys, R: WasmTys>(
        &mut self,
        name: &str,
        func: impl Fn(&Arc<Library>, &mut Caller<'_>, P) -> Result<R, Error> + Send + Sync + 'static,
    ) {
        if !self.linker.defines(ENV, name) {
            let library = self.library.clone();
            let func = HostFunc::wrap(move |caller, params: P| func(&library, caller, params));
            self.linker.raw_func(ENV, name, func);
        }
    }
}

/// Defines the library for one program, whose threads start through `process`.
pub(crate) fn define(
    linker: &mut Linker,
    module: &Module,
    process: Weak<ProcessInner>,
    max_threads: u32,
) {
    let library = Arc::new(Library {
        process,
        objects: DashMap::new(),
        last_handle: AtomicU32::new(0),
        lot: ParkingLot::new(),
        threads: DashMap::new(),
        semaphores: Mutex::default(),
        keys: keys::Keys::default(),
        stack: stack::AuxStack::divide(module, max_threads),
        heap: Mutex::new(heap::Heap::of(module)),
    });
    let mut definer = Definer { linker, library };
    thread::define(&mut definer);
    sync::define(&mut definer, imports_timeout_as(module));
    semaphore::define(&mut definer);
    keys::define(&mut definer);
    heap::define(&mut definer);
}

/// How the module declares the timeout of `pthread_cond_timedwait`: WAMR's older header says `unsigned int`, the newer one `uint64_t`.
fn imports_timeout_as(module: &Module) -> ValType {
    let timedwait = |import: &&Import| import.module == ENV && import.name == sync::TIMEDWAIT;
    match module.imports.iter().find(timedwait).map(|import| import.item) {
        Some(Item::Func(func))
            if module.function_type(func).params().get(2) == Some(&ValType::I32) =>
        {
            ValType::I32
        }
        _ => ValType::I64,
    }
}

/// Whether an import is one that the library defines, so that a missing definition can be explained.
pub(crate) fn provides(import: &Import) -> bool {
    const SEMAPHORES: [&str; 7] = [
        "sem_open",
        "sem_close",
        "sem_wait",
        "sem_trywait",
        "sem_post",
        "sem_getvalue",
        "sem_unlink",
    ];
    let name = &*import.name;
    import.module == ENV
        && matches!(import.item, Item::Func(_))
        && (name.starts_with("pthread_")
            || name == "__pthread_self"
            || name == "posix_memalign"
            || SEMAPHORES.contains(&name))
}
