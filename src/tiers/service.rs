//! Compile threads.

use super::queue::{Pushed, Queue, Request};
use crate::engine::Config;
use crate::module::Module;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

struct Shared {
    queue: Queue,
    /// Set once LLVM turned out not to be there.
    unavailable: AtomicBool,
    #[cfg(feature = "llvm")]
    options: updraft_jit::Options,
}

/// The compile threads of an engine. They start with the first request and end when there is nothing to do.
pub(crate) struct CompileService {
    shared: Arc<Shared>,
    /// Most compile threads; found out with the first request, for asking the system takes a while.
    threads: OnceLock<usize>,
    /// Heat that was gathered before the first request.
    heat: AtomicU64,
    /// Whether there was a request.
    started: AtomicBool,
}

impl CompileService {
    pub fn new(config: &Config) -> CompileService {
        CompileService {
            shared: Arc::new(Shared {
                queue: Queue::default(),
                unavailable: AtomicBool::new(cfg!(not(feature = "llvm"))),
                #[cfg(feature = "llvm")]
                options: compiler_options(config),
            }),
            threads: config.compile_threads.map_or_else(OnceLock::new, OnceLock::from),
            heat: AtomicU64::new(0),
            started: AtomicBool::new(false),
        }
    }

    pub fn queue_len(&self) -> usize {
        self.shared.queue.len()
    }

    /// Whether what has become hot is worth the start of a compiler, which loads LLVM, or one was started. `units` of heat come in addition.
    pub fn is_worth_starting(&self, units: u64, least: u64) -> bool {
        self.started.load(Ordering::Relaxed)
            || self.heat.fetch_add(units, Ordering::Relaxed) + units >= least
    }

    /// Drops requests for a module whose program has ended.
    pub fn cancel(&self, module: &Module) {
        self.shared.queue.cancel(module);
    }

    /// Queues a request. Where nothing can be compiled, the request fails at once.
    pub fn submit(&self, request: Request) {
        if self.shared.unavailable.load(Ordering::Acquire) {
            fail(request);
            return;
        }
        self.started.store(true, Ordering::Relaxed);
        let threads = *self.threads.get_or_init(|| {
            std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2)
        });
        if self.shared.queue.push(request, threads.max(1)) == Pushed::StartWorker {
            let shared = self.shared.clone();
            #[cfg(feature = "llvm")]
            let loading = updraft_jit::Loading::announce();
            #[cfg(not(feature = "llvm"))]
            let loading = ();
            let worker = std::thread::Builder::new()
                .name("updraft-compile".into())
                .stack_size(COMPILER_STACK)
                .spawn(move || work(&shared, loading));
            if let Err(error) = worker {
                tracing::warn!(%error, "cannot start a compile thread; the program goes on in lower tiers");
                self.shared.queue.worker_failed();
                self.shared.unavailable.store(true, Ordering::Release);
                self.shared.queue.close();
            }
        }
    }
}

impl Drop for CompileService {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

/// Answers a request with nothing.
fn fail(request: Request) {
    request.set_failed();
    if let Some(waiter) = request.waiter {
        waiter.finish();
    }
}

/// What all code of an engine has in common.
#[cfg(feature = "llvm")]
pub(crate) fn compiler_options(config: &Config) -> updraft_jit::Options {
    let Config { exact_traps, canonicalize_nan, count_calls, .. } = *config;
    let other = updraft_jit::Options::default();
    updraft_jit::Options { exact_traps, canonicalize_nan, count_calls, ..other }
}

/// Native stack for the compiler, in bytes: LLVM recurses over what it compiles.
pub(crate) const COMPILER_STACK: usize = 16 << 20;

#[cfg(feature = "llvm")]
fn work(shared: &Shared, loading: updraft_jit::Loading) {
    use super::link::{self, Failure};
    use crate::observe::events::event;
    use updraft_jit::Compiler;

    let compiler = updraft_jit::load().map_err(|e| e.to_string()).and_then(|info| {
        tracing::debug!(?info, "LLVM is loaded");
        Compiler::new(shared.options).map_err(|e| e.to_string())
    });
    drop(loading);
    let mut compiler = match compiler {
        Ok(compiler) => compiler,
        Err(error) => {
            if !shared.unavailable.swap(true, Ordering::AcqRel) {
                tracing::warn!(error, "no compiler; the program stays in the interpreter");
            }
            while let Some(request) = shared.queue.pop_now() {
                fail(request);
            }
            return;
        }
    };
    while let Some(mut request) = shared.queue.pop() {
        event!(
            "start",
            tier = %request.tier,
            functions = ?request.functions,
            loops = ?request.osr,
            names = %request.names(),
            waited_us = request.asked.elapsed().as_micros() as u64,
            queued = shared.queue.len(),
            "compiling"
        );
        // Nothing is lost by a failure but speed: lower tiers go on.
        while !request.is_empty() {
            match link::compile(&mut compiler, &request) {
                Ok(()) => break,
                Err(Failure::Function(func, error)) => {
                    event!("fallback", func, reason = error, "not compiled");
                    request.drop_function(func);
                }
                Err(Failure::Ending) => {
                    request.set_failed();
                    break;
                }
                Err(Failure::Request(error)) => {
                    let functions = &request.functions;
                    tracing::warn!(?functions, error, "not compiled");
                    event!("fallback", ?functions, reason = error, "not compiled");
                    request.set_failed();
                    break;
                }
            }
        }
        if let Some(waiter) = &request.waiter {
            waiter.finish();
        }
    }
}

#[cfg(not(feature = "llvm"))]
fn work(shared: &Shared, (): ()) {
    while let Some(request) = shared.queue.pop_now() {
        fail(request);
    }
}
