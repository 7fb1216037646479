//! What can be seen of a run: statistics, and what each tier made of a function.

pub(crate) mod inspect;
pub(crate) mod stats;
