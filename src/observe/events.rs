//! Tier events: what the tiers do, as events of `tracing`.
//!
//! All have the target [`TARGET`] and the level DEBUG; the event's name says what happened, and its fields say to what. Where nobody
//! listens, an event costs a load and a branch, and none is on a path that is taken often. The names, in the order in which a function
//! meets them:
//!
//! | name | fields | when |
//! |---|---|---|
//! | `heat` | `thread func name [loop] tier heat threshold` | the heat of a function reached what a tier is worth |
//! | `request` | `thread tier functions loops heat` | a compile request was queued |
//! | `start` | `tier functions loops names waited_us queued` | a compile thread took it |
//! | `translate`, `optimise`, `emit` | `cpu_us` | the step has ended; CPU time of the compile thread |
//! | `link` | `symbols` | the code is at its place |
//! | `publish` | `func name [loop] tier bytes` | from now on, every thread's next call runs the new code |
//! | `first_call` | `thread func name tier` | a thread calls the function in this tier for the first time, where calls are counted |
//! | `compiled` | `tier functions loops us bytes ir_instructions` | the request is served |
//! | `osr` | `thread func name loop tier` | a thread left a running loop for its new code |
//! | `fallback` | `func` or `functions`, `reason` | the function stays where it is |
//! | `reclaim` | `symbols bytes` | code that was replaced has been freed |
//! | `thread_start`, `thread_end` | `thread` | a thread of the program begins and ends |
//! | `stop` | `thread cause` | the program is being stopped |
//!
//! Times are in microseconds. There is no code cache yet, and so no event for it.

/// The target of all of them.
pub(crate) const TARGET: &str = "updraft::tier";

/// An event: its name, fields and message as for `tracing::debug!`.
macro_rules! event {
    ($name:literal, $($rest:tt)*) => {
        tracing::debug!(name: $name, target: crate::observe::events::TARGET, $($rest)*)
    };
}
pub(crate) use event;
