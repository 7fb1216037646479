//! Host modules: what a guest may import.

pub mod wasi;
pub(crate) mod wasi_link;
pub(crate) mod wasi_threads;
