//! What the interpreter calls outside of itself.
//!
//! That is `vm::hooks` and `vm::builtins`, and in unit tests a host of the test's own for those contexts that name one.

#[cfg(not(test))]
pub(crate) use crate::vm::{builtins, hooks};

pub(crate) use crate::vm::hooks::{Budget, Tail};

#[cfg(test)]
pub(crate) use super::tests::host::{builtins, hooks};
