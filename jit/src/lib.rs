//! The compiler of Updraft: WebAssembly functions to machine code through LLVM ORC.
//!
//! One function's way: a `Job` names it; `translate` reads its operators and builds LLVM's representation, in a module
//! that the job's functions share (`unit`); `entries` adds the stubs and invokers that its callers and callees need;
//! `target` holds the passes and the target machine of each `Level`, which turn the module into an `Object`; a
//! `CodeSpace` gives the object its place in memory, through ORC (`orc`), and says which `Symbol` is where. What calls
//! the function before that goes through `Trampolines`. If it traps later, `Compiler::lines` tells the place.
//!
//! LLVM itself is loaded when it is first needed (`load`).
//!
//! Without the feature `llvm` this crate is only the contract between the tiers: [`mod@abi`] and [`mod@env`].
#![deny(missing_docs)]

pub mod abi;
pub mod env;

#[cfg(feature = "llvm")]
mod compile;
#[cfg(feature = "llvm")]
mod debug;
#[cfg(feature = "llvm")]
mod destructors;
#[cfg(feature = "llvm")]
mod diagnostics;
#[cfg(feature = "llvm")]
mod emitted;
#[cfg(feature = "llvm")]
mod entries;
#[cfg(feature = "llvm")]
mod error;
#[cfg(feature = "llvm")]
mod lines;
#[cfg(feature = "llvm")]
mod llvm_load;
#[cfg(feature = "llvm")]
mod orc;
#[cfg(feature = "llvm")]
mod presence;
#[cfg(feature = "llvm")]
mod quiet;
#[cfg(feature = "llvm")]
mod target;
#[cfg(feature = "llvm")]
mod trampolines;
#[cfg(feature = "llvm")]
mod translate;
#[cfg(feature = "llvm")]
mod unit;

#[cfg(feature = "llvm")]
pub use compile::{Compiler, Cpu, Job, Level, Object, Options, Symbol, Text, Timings};
#[cfg(feature = "llvm")]
pub use error::CompileError;
#[cfg(feature = "llvm")]
pub use lines::{Lines, Recipe};
#[cfg(feature = "llvm")]
pub use llvm_load::{LLVM_MAJOR, LLVM_VARIABLE, LlvmInfo, LoadError, load};
#[cfg(feature = "llvm")]
pub use orc::{CodeSpace, LinkError, Linked, LinkedSymbol};
#[cfg(feature = "llvm")]
pub use presence::Loading;
#[cfg(feature = "llvm")]
pub use trampolines::Trampolines;
