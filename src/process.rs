//! Programs: a module with its thread group, from `_start` to the last thread.

use crate::error::{Error, Stopped};
use crate::host;
use crate::instance::Instance;
use crate::linker::Linker;
use crate::memory::Memory;
use crate::module::{Item, Module};
use crate::observe::events::event;
use crate::observe::stats::ProcessStats;
use crate::pause::Controller;
use crate::store::{Store, Terminator};
use crate::threads::{Cause, Group, Limits, SpawnError, Timer};
use crate::vm::LinearMemory;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bounds of a program.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// Most threads alive at once, the main thread not counted.
    pub max_threads: u32,
    /// Time after which the program is stopped.
    pub timeout: Option<Duration>,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        ProcessConfig { max_threads: 1024, timeout: None }
    }
}

/// A multithreaded program (wasi-threads): one module, one shared memory, an instance for each thread.
///
/// A trap or an exit in any thread ends all of them; the host goes on.
pub struct Process {
    inner: Arc<ProcessInner>,
    timeout: Option<Duration>,
    /// The shared memory.
    memory: Option<Memory>,
}

/// What the threads of a program share.
pub(crate) struct ProcessInner {
    module: Module,
    linker: Linker,
    pub group: Arc<Group>,
    started: Instant,
    threads: ThreadCounts,
}

/// How many threads there were.
#[derive(Default)]
struct ThreadCounts {
    started: AtomicU64,
    alive: AtomicU64,
    peak: AtomicU64,
}

impl ThreadCounts {
    fn enter(&self, thread: u32) {
        event!("thread_start", thread, "a thread begins");
        self.started.fetch_add(1, Ordering::Relaxed);
        let alive = self.alive.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(alive, Ordering::Relaxed);
    }

    fn leave(&self, thread: u32) {
        event!("thread_end", thread, "a thread ends");
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The figures of a program, also after it has ended.
#[derive(Clone)]
pub struct Observer {
    inner: Arc<ProcessInner>,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

impl Observer {
    /// The summary up to now.
    #[must_use]
    pub fn stats(&self) -> ProcessStats {
        let ProcessInner { module, started, threads, .. } = &*self.inner;
        // The main thread counts too.
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) + 1;
        let wall = started.elapsed().as_secs_f64();
        ProcessStats::collect(module, wall, count(&threads.started), count(&threads.peak))
    }

    pub(crate) fn group(&self) -> &Group {
        &self.inner.group
    }

    pub(crate) fn module(&self) -> &Module {
        &self.inner.module
    }

    /// Compile requests that wait, of all programs of the engine.
    pub(crate) fn queued(&self) -> usize {
        self.inner.module.engine.compiler().queue_len()
    }

    /// Threads that are alive, the main thread not counted.
    pub(crate) fn threads_alive(&self) -> u64 {
        self.inner.threads.alive.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("module", &self.inner.module).finish_non_exhaustive()
    }
}

impl Process {
    /// Prepares a program: reserves its shared memory and defines `wasi.thread-spawn`. Host modules that it needs are in
    /// `linker`.
    ///
    /// # Errors
    /// If the memory cannot be reserved.
    pub fn new(linker: &Linker, module: &Module, config: &ProcessConfig) -> Result<Process, Error> {
        let mut linker = linker.clone();
        let env = &module.env;
        // The wasi-threads text wants one shared memory, imported; toolchains name it as they like.
        let mut shared_memory = None;
        let shared = env.memories[..env.imported_memories as usize].iter().find(|m| m.shared);
        if let Some(ty) = shared {
            let memory = LinearMemory::new(*ty, linker.engine().config().max_memory)
                .map_err(|cause| crate::LinkError::Memory { pages: ty.initial, cause })?;
            let memory = Arc::new(memory);
            shared_memory = Some(Memory::new(memory.clone()));
            linker.shared_memory(memory);
        }
        let group = Group::new(Limits { max_threads: config.max_threads });
        let inner = Arc::new_cyclic(|process| {
            linker.raw_func(
                "wasi",
                "thread-spawn",
                host::wasi_threads::thread_spawn(process.clone()),
            );
            ProcessInner {
                module: module.clone(),
                linker,
                group,
                started: Instant::now(),
                threads: ThreadCounts::default(),
            }
        });
        Ok(Process { inner, timeout: config.timeout, memory: shared_memory })
    }

    /// Pauses and ends the program from other threads.
    #[must_use]
    pub fn controller(&self) -> Controller {
        Controller::new(self.inner.group.clone(), self.memory.clone())
    }

    /// Ends the program from another thread.
    #[must_use]
    pub fn terminator(&self) -> Terminator {
        Terminator { group: self.inner.group.clone() }
    }

    /// Gives the figures of the program, also while it runs and after it has ended.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer { inner: self.inner.clone() }
    }

    /// Runs `_start` on the calling thread and waits until every thread has ended. Returns the exit code: that of `proc_exit`
    /// in whichever thread called it first, or 0 when `_start` returns. Runs once.
    ///
    /// # Errors
    /// [`Error::Trap`] for the first trap of any thread, [`Error::Stopped`] if it was terminated or ran out of time; linking
    /// errors.
    pub fn run(self) -> Result<i32, Error> {
        self.run_entry("_start", |store, start| start.typed::<(), ()>(store)?.call(store, ()))
            .map(|_| 0)
            .or_else(|error| if let Error::Exit(code) = error { Ok(code) } else { Err(error) })
    }

    /// As [`Process::run`], for another exported function; `call` calls it. Its result is returned if the program did not exit.
    ///
    /// # Errors
    /// As [`Process::run`], and [`Error::Exit`] if the program called `proc_exit`.
    pub fn run_entry<T: Send>(
        self,
        name: &str,
        call: impl FnOnce(&mut Store, crate::Func) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let group = self.inner.group.clone();
        // From here on: instantiation and start function are included, as are those of all threads.
        let _deadline = self.timeout.and_then(|timeout| deadline(&group, timeout));
        let inner = &self.inner;
        let mut store = Store::in_group(inner.linker.engine(), group.clone(), 0)?;
        let result = (|| {
            let instance = inner.linker.instantiate(&mut store, &inner.module)?;
            if name == "_start" && inner.module.export(name).is_none() {
                return Err(self.no_start());
            }
            let entry = Linker::entry(&mut store, instance, name)?;
            call(&mut store, entry)
        })();
        // Returning from `_start` is proc_exit(0).
        let cause = result.as_ref().map_or_else(cause_of, |_| Cause::Exit(0));
        // If this is the first cause, the error itself is returned below.
        let first = group.stop(cause, 0, None);
        group.wait_all_left(None);
        inner.linker.engine().compiler().cancel(&inner.module);
        if first {
            return result;
        }
        Err(self.error_of_group())
    }

    /// What ended the group, as an error.
    fn error_of_group(&self) -> Error {
        let group = &self.inner.group;
        match group.cause() {
            Some((Cause::Exit(code), _)) => Error::Exit(code),
            Some((Cause::Trap, _)) => match group.take_detail().map(|d| d.downcast::<Error>()) {
                Some(Ok(error)) => *error,
                _ => Error::Stopped(Stopped::ByGroup),
            },
            Some((Cause::TimedOut, _)) => Error::Stopped(Stopped::TimedOut),
            Some((Cause::Terminated, _)) | None => Error::Stopped(Stopped::Terminated),
        }
    }

    fn no_start(&self) -> Error {
        let functions: Vec<&str> = self
            .inner
            .module
            .exports
            .iter()
            .filter(|e| matches!(e.item, Item::Func(_)))
            .map(|e| e.name.as_str())
            .take(8)
            .collect();
        let hint = if functions.is_empty() {
            "; it exports no functions at all".to_owned()
        } else {
            format!("; to call another one, use --invoke with one of: {}", functions.join(", "))
        };
        crate::LinkError::NoExport { kind: "function", name: "_start".into(), hint }.into()
    }
}

impl ProcessInner {
    /// Starts a wasm thread: an instance of its own, and `wasi_thread_start(id, argument)` on a native thread. Returns its id.
    ///
    /// The text of wasi-threads wants an instance whose imports are those of the first one, and that the spawn
    /// fails, and does not trap, if there is none to be had.
    pub fn spawn(self: &Arc<Self>, argument: i32) -> Result<u32, String> {
        let module = &self.module;
        let Some(Item::Func(start)) = module.export("wasi_thread_start") else {
            return Err("the module does not export the function \"wasi_thread_start\"".into());
        };
        let wanted = wasmparser::FuncType::new(vec![wasmparser::ValType::I32; 2], []);
        if *module.env.function_type(start) != wanted {
            return Err("\"wasi_thread_start\" must have type [i32 i32] -> []".into());
        }
        if self
            .module
            .env
            .memories
            .iter()
            .take(module.env.imported_memories as usize)
            .all(|m| !m.shared)
        {
            return Err("the module does not import a shared memory, so that threads could not share it; link \
                        with --import-memory --shared-memory"
                .into());
        }
        let engine = self.linker.engine();
        let mut store =
            Store::in_group(engine, self.group.clone(), 0).map_err(|e| e.to_string())?;
        let instance = self.linker.prepare(&mut store, module).map_err(|e| e.to_string())?;
        let process = self.clone();
        let body = move |id: u32| process.run_thread(store, instance, id, argument);
        self.group.spawn(engine.config().native_stack, body).map_err(|error| match error {
            SpawnError::TooMany { .. } => format!("{error} (--max-threads)"),
            error => error.to_string(),
        })
    }

    fn run_thread(self: Arc<Self>, mut store: Store, instance: Instance, id: u32, argument: i32) {
        store.set_thread_id(id);
        self.threads.enter(id);
        let result = instance.start(&mut store).and_then(|()| {
            instance
                .typed::<(i32, i32), ()>(&mut store, "wasi_thread_start")?
                .call(&mut store, (id as i32, argument))
        });
        // Returning from `wasi_thread_start` ends this thread alone.
        if let Err(error) = result {
            let cause = cause_of(&error);
            let detail: Option<Box<dyn std::any::Any + Send>> = match error {
                Error::Exit(_) => None,
                error => Some(Box::new(error)),
            };
            self.group.stop(cause, id, detail);
        }
        self.threads.leave(id);
    }
}

/// What a failed call means for the group. If the group itself has caused it, that cause is the first one.
fn cause_of(error: &Error) -> Cause {
    match error {
        Error::Exit(code) => Cause::Exit(*code),
        // By the deadline of the thread's own store.
        Error::Stopped(Stopped::TimedOut) => Cause::TimedOut,
        Error::Stopped(_) => Cause::Terminated,
        _ => Cause::Trap,
    }
}

/// Stops a group when its time is over.
fn deadline(group: &Arc<Group>, timeout: Duration) -> Option<Timer> {
    let at = Instant::now().checked_add(timeout)?;
    let group = group.clone();
    let timer = Timer::start(at, move || {
        group.stop(Cause::TimedOut, 0, None);
        None
    });
    timer
        .inspect_err(|error| {
            tracing::warn!(%error, "cannot start the timer; the timeout (--timeout) does not hold");
        })
        .ok()
}
