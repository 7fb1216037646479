//! The compiler of Updraft: WebAssembly functions to machine code through LLVM ORC.
//!
//! Without the feature `llvm` this crate is only the contract between the tiers: [`abi`] and [`env`].
#![deny(missing_docs)]

pub mod abi;
pub mod env;

#[cfg(feature = "llvm")]
mod llvm_load;
#[cfg(feature = "llvm")]
pub use llvm_load::{LLVM_MAJOR, LLVM_VARIABLE, LlvmInfo, LoadError, load};
