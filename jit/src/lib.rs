//! The compiler of Updraft: WebAssembly functions to machine code through LLVM ORC.
pub mod abi;
