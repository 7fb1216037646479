//! Host modules: what a guest may import.

pub(crate) mod pthread;
pub mod wasi;
pub(crate) mod wasi_link;
pub(crate) mod wasi_threads;
