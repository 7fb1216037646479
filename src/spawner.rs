//! Threads of a program that the host starts.

use crate::error::Error;
use crate::instance::Instance;
use crate::process::ProcessInner;
use crate::store::Store;
use crate::threads::Group;
use std::sync::{Arc, Weak, mpsc};

/// Starts threads of a program from the host: before it runs, while it runs, from any thread, and from functions of the host that it
/// calls. See [`Process::spawner`](crate::Process::spawner).
///
/// They are threads as any other: they count against [`max_threads`](crate::ProcessConfig::max_threads), end with the program, and a
/// trap in one of them ends it.
///
/// ```
/// use updraft::{Engine, Linker, Module, Process, ProcessConfig};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module
///     (import "env" "memory" (memory 1 1 shared))
///     (func (export "add") (param i32) (result i32)
///         (i32.atomic.rmw.add (i32.const 0) (local.get 0)))
///     (func (export "sum") (result i32) (i32.atomic.load (i32.const 0))))"#)?;
/// let process = Process::new(&Linker::new(&engine), &module, &ProcessConfig::default())?;
/// let spawner = process.spawner();
/// let sum = process.run_entry("sum", |store, sum| {
///     let start = |number: i32| {
///         // Runs on a thread of its own, with an instance of its own. The memory is that of the program.
///         spawner.spawn_with(move |store, instance| {
///             instance.typed::<i32, i32>(store, "add")?.call(store, number)
///         })
///     };
///     for thread in (1..=4).map(start).collect::<Result<Vec<_>, _>>()? {
///         thread.join()?;
///     }
///     sum.typed::<(), i32>(store)?.call(store, ())
/// })?;
/// assert_eq!(sum, 10);
/// # Ok::<(), updraft::Error>(())
/// ```
#[derive(Clone)]
pub struct Spawner {
    process: Weak<ProcessInner>,
}

impl std::fmt::Debug for Spawner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spawner").finish_non_exhaustive()
    }
}

impl Spawner {
    pub(crate) fn new(process: &Arc<ProcessInner>) -> Spawner {
        Spawner { process: Arc::downgrade(process) }
    }

    fn process(&self) -> Result<Arc<ProcessInner>, Error> {
        self.process.upgrade().ok_or_else(|| Error::Spawn("the program has ended".into()))
    }

    /// Does what the program's own `wasi.thread-spawn` does: starts a thread that calls `wasi_thread_start(id, argument)`, and returns
    /// its id.
    ///
    /// # Errors
    /// [`Error::Spawn`] if the module has no such function or no shared memory, a limit is reached, or the program ends.
    pub fn spawn(&self, argument: i32) -> Result<u32, Error> {
        self.process()?.spawn(argument).map_err(Error::Spawn)
    }

    /// Starts a thread with an instance of its own of the program's module, in which `body` calls what it likes. The imports of the
    /// instance are those of the program; a memory is shared with it only if it is a shared and imported one.
    ///
    /// An error of `body` ends the program, as a trap in any thread does, and is what [`Process::run`](crate::Process::run) returns.
    ///
    /// # Errors
    /// [`Error::Spawn`] if the module cannot be instantiated once more, a limit is reached, or the program ends.
    pub fn spawn_with<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Store, Instance) -> Result<T, Error> + Send + 'static,
    ) -> Result<SpawnedThread<T>, Error> {
        let process = self.process()?;
        let (sender, result) = mpsc::channel();
        let body = move |store: &mut Store, instance: Instance, _id: u32| {
            instance.start(store)?;
            let value = body(store, instance)?;
            // Nobody need wait for it.
            let _ = sender.send(value);
            Ok(())
        };
        let id = process.start(&[], body).map_err(Error::Spawn)?;
        Ok(SpawnedThread { id, result, group: process.group.clone() })
    }
}

/// A thread of a program that the host has started. Dropping it does not end the thread.
pub struct SpawnedThread<T> {
    id: u32,
    result: mpsc::Receiver<T>,
    group: Arc<Group>,
}

impl<T> std::fmt::Debug for SpawnedThread<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpawnedThread").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<T> SpawnedThread<T> {
    /// Its id, as [`Caller::thread_id`](crate::Caller::thread_id) gives it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits for the thread's result. The end of the program ends the wait, too.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the thread ended without a result: the program ends. The cause is what
    /// [`Process::run`](crate::Process::run) returns.
    pub fn join(self) -> Result<T, Error> {
        self.result.recv().map_err(|_| Error::Stopped(self.group.stopped()))
    }
}
