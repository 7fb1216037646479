//! What running code touches: memories, tables, globals, instances, and the functions that it calls in the runtime.
//!
//! `sys` is all that knows the operating system and the machine.

#![cfg_attr(
    not(feature = "llvm"),
    allow(dead_code, reason = "without a compiler, nobody calls what compiled code calls")
)]

pub(crate) mod builtins;
mod doors;
pub(crate) mod exceptions;
pub(crate) mod hooks;
pub(crate) mod instance;
pub(crate) mod memory;
pub(crate) mod quota;
pub(crate) mod refs;
pub(crate) mod sys;
pub(crate) mod table;
pub(crate) mod thread;
pub(crate) mod walk;

pub(crate) use instance::InstanceData;
pub(crate) use memory::LinearMemory;
pub(crate) use table::Table;
pub(crate) use thread::{Place, VmThread};
