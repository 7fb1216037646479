//! The compiler of Updraft: WebAssembly functions to machine code through LLVM ORC.
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
mod target;
#[cfg(feature = "llvm")]
mod trampolines;
#[cfg(feature = "llvm")]
mod translate;
#[cfg(feature = "llvm")]
mod unit;

#[cfg(feature = "llvm")]
pub use compile::{Compiler, Job, Level, Object, Options, Symbol, Text, Timings};
#[cfg(feature = "llvm")]
pub use error::CompileError;
#[cfg(feature = "llvm")]
pub use lines::{Lines, Recipe};
#[cfg(feature = "llvm")]
pub use llvm_load::{LLVM_MAJOR, LLVM_VARIABLE, LlvmInfo, LoadError, load};
#[cfg(feature = "llvm")]
pub use orc::{CodeSpace, LinkError, Linked, LinkedSymbol};
#[cfg(feature = "llvm")]
pub use trampolines::Trampolines;
