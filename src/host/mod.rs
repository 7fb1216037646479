//! Host modules: what a guest may import.

pub mod wasi;
