//! Updraft: a WebAssembly runtime for multithreaded programs.

pub mod host;
