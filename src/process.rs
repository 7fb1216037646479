//! Programs: a module with its thread group, from `_start` to the last thread.

use crate::error::{Error, Stopped};
use crate::exit::Exit;
use crate::func::type_text;
use crate::host;
use crate::instance::Instance;
use crate::linker::Linker;
use crate::memory::Memory;
use crate::module::{Item, Module};
use crate::observe::events::event;
use crate::observe::stats::ProcessStats;
use crate::pause::Controller;
use crate::spawner::Spawner;
use crate::store::{Store, Terminator};
use crate::threads::{Cause, Group, Limits, SpawnError, Timer};
use crate::vm::LinearMemory;
use crate::vm::quota::Quotas;
use spares::{Spare, Spares};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use updraft_jit::abi::TrapCode;

mod spares;

/// Bounds of a program.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// Most threads alive at once, the main thread not counted.
    pub max_threads: u32,
    /// Time after which the program is stopped, instantiation and start functions included.
    pub timeout: Option<Duration>,
    /// Processor time of all threads together after which the program is stopped, with [`Stopped::CpuTime`]. What counts is what
    /// threads take in wasm, in the host functions that they call and in their instantiation; compile threads do not. Clocks are read
    /// more often the nearer the limit, at last each millisecond, so the program may take up to about one millisecond for each core
    /// more.
    pub max_cpu: Option<Duration>,
    /// Most bytes that all memories of the program may have together: growing past it gives the program -1, and a thread whose instance
    /// has memories of its own is refused. For one memory there is [`Config::max_memory`](crate::Config::max_memory).
    pub max_memory: Option<u64>,
    /// Most elements that all tables of the program, those of each thread's instance, may have together: growing past it gives -1,
    /// and a thread whose tables have no room is refused.
    pub max_table_elements: Option<u64>,
    /// Most instances at once: those of threads, and those that are kept for the next thread. A thread without one is refused.
    pub max_instances: Option<u64>,
    /// Bytes of stack that the interpreter's frames may take in each thread, where that is less than
    /// [`Config::value_stack`](crate::Config::value_stack). Calls past it trap with
    /// [`TrapCode::StackOverflow`](crate::TrapCode::StackOverflow). At least 64 KiB are given.
    pub value_stack: Option<usize>,
    /// Bytes of native stack that compiled code may take in each thread, where that is less than
    /// [`Config::native_stack`](crate::Config::native_stack), in the same way. What is below the first call of the thread that calls
    /// [`Process::run`] counts. At least 512 KiB are given, of which 256 KiB are kept for functions of the host.
    pub native_stack: Option<usize>,
    /// The pthread library that the program may import.
    pub pthreads: Pthreads,
    /// Start the program although functions that it imports are not defined
    /// ([`Linker::define_unknown_functions`]): it ends when it calls one.
    pub unknown_functions: bool,
}

/// A pthread library of the host, for programs that do not bring one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Pthreads {
    /// None: programs bring their own, on top of `wasi.thread-spawn`.
    #[default]
    Off,
    /// That of WAMR, in the host module `env`, as its `doc/pthread_library.md` has it. The module's stack in linear memory is divided
    /// among [`ProcessConfig::max_threads`] threads and the first; WAMR's own default is four.
    Wamr,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        ProcessConfig {
            max_threads: 1024,
            timeout: None,
            max_cpu: None,
            max_memory: None,
            max_table_elements: None,
            max_instances: None,
            value_stack: None,
            native_stack: None,
            pthreads: Pthreads::Off,
            unknown_functions: false,
        }
    }
}

/// A multithreaded program (wasi-threads): one module, one shared memory, an instance for each thread.
///
/// A trap or an exit in any thread ends all of them; the host goes on.
pub struct Process {
    inner: Arc<ProcessInner>,
    timeout: Option<Duration>,
    max_cpu: Option<Duration>,
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
    /// What threads start with.
    thread_start: Result<u32, String>,
    spares: Spares,
    /// Whether a profiler samples the threads.
    watched: AtomicBool,
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

    /// Notes that the program is being watched; false if it is already.
    pub(crate) fn begin_watch(&self) -> bool {
        !self.inner.watched.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_watch(&self) {
        self.inner.watched.store(false, Ordering::Release);
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
        let quotas =
            Quotas::new(config.max_memory, config.max_table_elements, config.max_instances);
        let shared = env.memories[..env.imported_memories as usize].iter().find(|m| m.shared);
        if let Some(ty) = shared {
            let memory = LinearMemory::in_group(
                *ty,
                linker.engine().config().max_memory,
                Some(quotas.clone()),
            )
            .map_err(|cause| crate::LinkError::Memory { pages: ty.initial, cause })?;
            let memory = Arc::new(memory);
            shared_memory = Some(Memory::new(memory.clone()));
            linker.shared_memory(memory);
        }
        // The shares of the stack are as many as WAMR's threads may be. The group counts threads that are about to leave, too, whose
        // shares may be taken already.
        let by_shares = config.pthreads == Pthreads::Wamr
            && !module.imports.iter().any(|import| import.name == "thread-spawn");
        let max_threads = if by_shares { u32::MAX } else { config.max_threads };
        let limits = Limits {
            max_threads,
            value_stack: config.value_stack.map_or(usize::MAX, |bytes| bytes.max(64 << 10)),
            native_stack: config.native_stack.map_or(usize::MAX, |bytes| bytes.max(512 << 10)),
        };
        let group = Group::with_quotas(limits, quotas, config.max_cpu.is_some());
        let inner = Arc::new_cyclic(|process| {
            linker.raw_func(
                "wasi",
                "thread-spawn",
                host::wasi_threads::thread_spawn(process.clone()),
            );
            if config.pthreads == Pthreads::Wamr {
                host::pthread::define(&mut linker, module, process.clone(), config.max_threads);
            }
            if config.unknown_functions {
                linker.define_unknown_functions(module);
            }
            let spares = Spares::new(&linker, module);
            ProcessInner {
                module: module.clone(),
                thread_start: thread_start(module),
                spares,
                linker,
                group,
                started: Instant::now(),
                threads: ThreadCounts::default(),
                watched: AtomicBool::new(false),
            }
        });
        Ok(Process {
            inner,
            timeout: config.timeout,
            max_cpu: config.max_cpu,
            memory: shared_memory,
        })
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

    /// Starts threads of the program from the host. They may begin before [`Process::run`] does.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        Spawner::new(&self.inner)
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

    /// As [`Process::run`], with the reason for the end as a value: traps and timeouts are no errors of the host.
    ///
    /// # Errors
    /// What kept the program from starting.
    ///
    /// ```
    /// use updraft::{Engine, Exit, Linker, Module, Process, ProcessConfig, TrapCode};
    ///
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, "(module (func (export \"_start\") unreachable))")?;
    /// let process = Process::new(&Linker::new(&engine), &module, &ProcessConfig::default())?;
    /// match process.run_to_exit()? {
    ///     Exit::Trap(trap) => assert_eq!(trap.code, TrapCode::Unreachable),
    ///     exit => panic!("{exit}"),
    /// }
    /// # Ok::<(), updraft::Error>(())
    /// ```
    pub fn run_to_exit(self) -> Result<Exit, Error> {
        Exit::of(self.run())
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
        let _watch = self.max_cpu.and_then(|most| cpu_watch(&group, most));
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
        inner.spares.close();
        inner.linker.engine().compiler().cancel(&inner.module);
        let result = if first { result } else { Err(self.error_of_group()) };
        if let Err(Error::Trap(trap)) = &result
            && trap.code == TrapCode::StackOverflow
        {
            tracing::warn!("a stack is used up (--stack-size, --value-stack)");
        }
        result
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
            Some((Cause::CpuTime, _)) => Error::Stopped(Stopped::CpuTime),
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

/// A program that is not run, or not to its end, ends here with all threads that it has.
impl Drop for Process {
    fn drop(&mut self) {
        self.inner.group.stop(Cause::Terminated, 0, None);
        self.inner.group.wait_all_left(None);
    }
}

impl ProcessInner {
    /// Starts a wasm thread: an instance of its own, and `wasi_thread_start(id, argument)` on a native thread. Returns its id.
    ///
    /// The text of wasi-threads wants an instance whose imports are those of the first one, and that the spawn
    /// fails, and does not trap, if there is none to be had.
    pub fn spawn(self: &Arc<Self>, argument: i32) -> Result<u32, String> {
        let start = self.thread_start.clone()?;
        let spare = match self.spares.take() {
            Some(spare) => spare,
            None => self.new_spare(&[])?,
        };
        self.start_thread(spare, move |process, mut spare, id| {
            spare.run(id, start, argument)?;
            process.spares.put(spare);
            Ok(())
        })
    }

    /// Starts a thread with an instance of its own, which is not started yet, in which `body` runs with the thread's id. Shared
    /// memories that the module defines are those of `memories`. Returns the id, or why there is no thread.
    pub fn start(
        self: &Arc<Self>,
        memories: &[Arc<LinearMemory>],
        body: impl FnOnce(&mut Store, Instance, u32) -> Result<(), Error> + Send + 'static,
    ) -> Result<u32, String> {
        let spare = self.new_spare(memories)?;
        self.start_thread(spare, move |_, mut spare, id| spare.run_in(id, body))
    }

    fn new_spare(&self, memories: &[Arc<LinearMemory>]) -> Result<Spare, String> {
        Spare::new(&self.linker, &self.module, memories, &self.group).map_err(|e| e.to_string())
    }

    fn start_thread(
        self: &Arc<Self>,
        spare: Spare,
        body: impl FnOnce(&Self, Spare, u32) -> Result<(), Error> + Send + 'static,
    ) -> Result<u32, String> {
        let process = self.clone();
        let run = move |id: u32| {
            process.threads.enter(id);
            // Returning ends this thread alone.
            if let Err(error) = body(&process, spare, id) {
                let cause = cause_of(&error);
                let detail: Option<Box<dyn std::any::Any + Send>> = match error {
                    Error::Exit(_) => None,
                    error => Some(Box::new(error)),
                };
                process.group.stop(cause, id, detail);
            }
            process.threads.leave(id);
        };
        let threads = self.linker.engine().threads();
        self.group.spawn(threads, run).map_err(|error| match error {
            SpawnError::TooMany { .. } => format!("{error} (--max-threads)"),
            error => error.to_string(),
        })
    }
}

/// The function that threads of a module start in, or why it can have none.
fn thread_start(module: &Module) -> Result<u32, String> {
    let env = &module.env;
    let Some(Item::Func(start)) = module.export("wasi_thread_start") else {
        return Err("the module does not export the function \"wasi_thread_start\"".into());
    };
    let wanted = wasmparser::FuncType::new(vec![wasmparser::ValType::I32; 2], []);
    if *env.function_type(start) != wanted {
        return Err(format!("\"wasi_thread_start\" must have type {}", type_text(&wanted)));
    }
    if env.memories.iter().take(env.imported_memories as usize).all(|m| !m.shared) {
        return Err("the module does not import a shared memory, so that threads could not share it; link with \
                    --import-memory --shared-memory"
            .into());
    }
    Ok(start)
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
        if group.stop(Cause::TimedOut, 0, None) {
            tracing::warn!(?timeout, "the program has run too long (--timeout)");
        }
        None
    });
    timer
        .inspect_err(|error| {
            tracing::warn!(%error, "cannot start the timer; the timeout (--timeout) does not hold");
        })
        .ok()
}

/// Stops a group when its threads have taken so much processor time.
///
/// Compiled code does not count what it does, so the clocks are looked at. Between two looks all cores together cannot take what was left,
/// but for the last millisecond.
fn cpu_watch(group: &Arc<Group>, most: Duration) -> Option<Timer> {
    const SOONEST: Duration = Duration::from_millis(1);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let group = group.clone();
    let timer = Timer::start(Instant::now() + (most / cores).max(SOONEST), move || {
        let left = most.saturating_sub(group.cpu_time());
        if left.is_zero() {
            if group.stop(Cause::CpuTime, 0, None) {
                tracing::warn!(limit = ?most, "the program has taken too much processor time (--max-cpu)");
            }
            return None;
        }
        Instant::now().checked_add((left / cores).max(SOONEST))
    });
    timer
        .inspect_err(|error| {
            tracing::warn!(%error, "cannot start the timer; the limit of processor time (--max-cpu) does not hold");
        })
        .ok()
}
