//! Updraft: a WebAssembly runtime for multithreaded programs.
//!
//! Every function starts in an interpreter; what turns out to be hot is compiled through LLVM ORC while the program keeps
//! running, and one copy of that code serves all threads. A trap or an exit in any thread ends all threads of the
//! program at once, inside the process, and the host lives on.
//!
//! # Running a program
//!
//! ```no_run
//! use updraft::{Engine, Linker, Module, Process, ProcessConfig, WasiCtxBuilder};
//!
//! let engine = Engine::default();
//! let module = Module::from_file(&engine, "program.wasm")?;
//! let mut linker = Linker::new(&engine);
//! let wasi = WasiCtxBuilder::new().inherit_stdio().args(["program"]).build()?;
//! updraft::add_wasi(&mut linker, wasi);
//! let process = Process::new(&linker, &module, &ProcessConfig::default())?;
//! let exit_code = process.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Calling functions
//!
//! ```
//! use updraft::{Engine, Linker, Module, Store};
//!
//! let engine = Engine::default();
//! let module = Module::new(&engine, r#"(module (func (export "add") (param i32 i32) (result i32)
//!     local.get 0 local.get 1 i32.add))"#)?;
//! let mut store = Store::new(&engine)?;
//! let instance = Linker::new(&engine).instantiate(&mut store, &module)?;
//! let add = instance.typed::<(i32, i32), i32>(&mut store, "add")?;
//! assert_eq!(add.call(&mut store, (40, 2))?, 42);
//! # Ok::<(), updraft::Error>(())
//! ```
//!
//! # What a service needs
//!
//! * how a program ended, as a value: [`Process::run_to_exit`], [`Exit`];
//! * to end it, from outside or after a time: [`Process::terminator`], [`ProcessConfig::timeout`];
//! * threads of it that the host starts: [`Process::spawner`], [`Spawner`];
//! * functions of the host that block, and end with the program: [`Caller::blocking`];
//! * its arguments, directories and standard streams: [`WasiCtxBuilder`].
//!
//! Programs of one process share nothing but engines and modules, that is, compiled code, unless they are given the same thing. Each has
//! an example in `examples/`, with assertions that the tests run.
//!
//! The map of the code, and one function's way through it, is `ARCHITECTURE.md` in the repository.
#![deny(missing_docs)]

mod engine;
mod error;
mod exception;
mod exit;
pub mod features;
mod func;
pub mod host;
mod instance;
mod interp;
mod linker;
mod memory;
mod module;
mod observe;
mod pause;
mod process;
mod spawner;
mod store;
mod threads;
mod tiers;
mod val;
mod vm;
pub mod wast;

pub use engine::{Config, Engine};
pub use error::{Error, Frame, LinkError, SourceLocation, Stopped, Trap};
pub use exception::{Exception, ExnRef, Tag};
pub use exit::Exit;
pub use features::{Feature, Features};
pub use func::{Blocking, Caller, Func, TypedFunc};
pub use host::wasi::{WasiCtx, WasiCtxBuilder};
pub use host::wasi_link::add_wasi;
pub use instance::Instance;
pub use linker::{Extern, Linker};
pub use memory::{Global, Memory, Table};
pub use module::{Export, ExternType, Import, Item, Module, ModuleError};
#[cfg(feature = "llvm")]
pub use observe::code_log::CodeLog;
pub use observe::inspect::{Emit, InspectError, inspect};
pub use observe::profile::{ProfileConfig, ProfileFormat, Profiler, UnknownProfileFormat};
pub use observe::report::{ReportError, report};
pub use observe::stats::{FunctionStats, ProcessStats, TierStats};
pub use observe::trace::TraceRecorder;
pub use observe::watch::Watch;
pub use pause::{Activity, Controller, Paused, PausedThread};
pub use process::{Observer, Process, ProcessConfig, Pthreads};
pub use spawner::{SpawnedThread, Spawner};
pub use store::{AsStore, Store, Terminator};
pub use threads::PauseError;
pub use tiers::{CompileCost, Strategy, Tier, Tuning, UnknownStrategy};
pub use updraft_jit::abi::TrapCode;
pub use val::{
    ExternRef, FuncType, GlobalType, MemoryType, RefType, TableType, Val, ValType, WasmTy, WasmTys,
};

/// What this repository's own command, tests and benchmarks look at; no part of the API.
#[doc(hidden)]
pub mod internals {
    /// All that knows the operating system and the machine.
    pub mod sys {
        pub use crate::vm::sys::*;
    }
    /// Groups of threads.
    pub mod threads {
        pub use crate::threads::*;
    }

    pub use crate::observe::page::page;

    /// How often loops of a module have been entered in better code while they ran.
    #[must_use]
    pub fn loop_entries(module: &crate::Module) -> u64 {
        module.code.loop_entries()
    }
}

/// Version of the LLVM library that compiles hot code, if it can be loaded; loads it.
///
/// # Errors
/// Why there is no compiler.
pub fn llvm_version() -> Result<String, String> {
    #[cfg(feature = "llvm")]
    return updraft_jit::load()
        .map(|info| {
            let (major, minor, patch) = info.version;
            format!("{major}.{minor}.{patch}")
        })
        .map_err(|e| e.to_string());
    #[cfg(not(feature = "llvm"))]
    Err("built without LLVM".into())
}
