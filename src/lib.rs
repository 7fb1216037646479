//! Updraft: a WebAssembly runtime for multithreaded programs.
