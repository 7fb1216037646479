//! What can be seen of a run: tier events, statistics, profiles, and what each tier made of a function.

#[cfg(feature = "llvm")]
pub(crate) mod code_log;
pub(crate) mod events;
pub(crate) mod inspect;
mod locate;
pub(crate) mod page;
pub(crate) mod profile;
pub(crate) mod report;
pub(crate) mod sampler;
pub(crate) mod stats;
pub(crate) mod trace;
pub(crate) mod watch;

pub(crate) use locate::locate;
