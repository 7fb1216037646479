//! Updraft: a WebAssembly runtime for multithreaded programs.

pub mod host;
mod threads;
mod vm;

/// What this repository's own tests and benchmarks look at; no part of the API.
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
}
