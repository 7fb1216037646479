//! The compiler of Updraft: WebAssembly functions to machine code through LLVM ORC.
//!
//! Without the feature `llvm` this crate is only the contract between the tiers: [`abi`] and [`env`].
#![deny(missing_docs)]

pub mod abi;
pub mod env;
