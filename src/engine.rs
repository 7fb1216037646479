//! The engine: configuration and what all modules share.

use crate::features::Features;
use crate::threads::ThreadPool;
use crate::tiers::{CompileService, Strategy, Tuning};
use crate::vm::sys::StackSizes;
use std::sync::Arc;

/// How an [`Engine`] runs code.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which tiers run, and when.
    pub strategy: Strategy,
    /// When the tiered strategy changes tiers.
    pub tuning: Tuning,
    /// What modules may use.
    pub features: Features,
    /// Compile threads; they start with the first request. `None` is one for every two cores, at least one.
    pub compile_threads: Option<usize>,
    /// Whether every access traps where the specification says so. `false` lets the compiler drop and move plain loads and
    /// stores: loops vectorise, out-of-bounds accesses whose value is unused may not trap, stores before a trap may
    /// be lost, and a plain load in a loop may be read only once.
    pub exact_traps: bool,
    /// Whether arithmetic on floats gives no other NaN than the canonical one (sign and payload zero but for the highest bit), so
    /// that runs on any machine and in any tier give the same bits. Costs a comparison for each such operator.
    pub canonicalize_nan: bool,
    /// Whether calls of functions are counted, in each tier: see [`FunctionStats::calls`](crate::FunctionStats::calls). The first call in
    /// a tier is an event, too. Counts are exact; counting costs a few instructions for each call, and more in the interpreter.
    pub count_calls: bool,
    /// Bytes of the value stack of a thread (the interpreter's frames).
    pub value_stack: usize,
    /// Bytes of the native stack of a thread that the engine starts (compiled frames, host functions).
    pub native_stack: usize,
    /// Native threads that are kept for the next thread of a program, for a second at most, and instances that each running
    /// program keeps for the same purpose. A native thread serves one thread of wasm after the other: what host functions leave in
    /// thread-local variables, or change of the thread itself (its signal mask, its priority), stays for those that follow. 0 has
    /// every thread of wasm start on a new native thread.
    pub idle_threads: usize,
    /// Most bytes that one memory may have; growing past it fails as the specification says.
    pub max_memory: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            strategy: Strategy::Tiered,
            tuning: Tuning::default(),
            features: Features::SUPPORTED,
            compile_threads: None,
            exact_traps: true,
            canonicalize_nan: false,
            count_calls: false,
            value_stack: 8 << 20,
            native_stack: 8 << 20,
            idle_threads: 64,
            max_memory: u64::MAX,
        }
    }
}

/// An engine: its configuration and its compile threads. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

pub(crate) struct EngineInner {
    pub config: Config,
    pub compiler: CompileService,
    pub threads: ThreadPool,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.inner.config).finish()
    }
}

impl Default for Engine {
    fn default() -> Self {
        Engine::new(Config::default())
    }
}

impl Engine {
    /// An engine of this configuration.
    #[must_use]
    pub fn new(config: Config) -> Engine {
        let compiler = CompileService::new(&config);
        let stacks = StackSizes { native: config.native_stack, value: config.value_stack };
        let threads = ThreadPool::new(stacks, config.idle_threads);
        Engine { inner: Arc::new(EngineInner { config, compiler, threads }) }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn compiler(&self) -> &CompileService {
        &self.inner.compiler
    }

    /// The threads that run spawned threads of wasm.
    pub(crate) fn threads(&self) -> &ThreadPool {
        &self.inner.threads
    }
}
