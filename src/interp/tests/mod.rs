//! Tests of the interpreter on its own.

mod control;
pub(crate) mod host;
mod kernels;
mod speed;
