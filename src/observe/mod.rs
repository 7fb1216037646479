//! What can be seen of a run: statistics, and what each tier made of a function.

pub(crate) mod inspect;
mod locate;
pub(crate) mod stats;

pub(crate) use locate::locate;
