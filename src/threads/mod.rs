//! Threads of a program: the group, its end, and the places where its threads sleep.
//!
//! * [`Group`]: who runs, who may start, and why all of them must stop. One per program.
//! * `roster`: those who run, each in a place where it is reached without the group's lock.
//! * `stop`: the word that holds the first cause.
//! * [`ParkingLot`]: `memory.atomic.wait` and `notify`. One per shared memory.
//! * [`ThreadPool`]: native threads that are kept for the next body. One per engine.
//! * `pause`: standing still, all of them.
//! * [`Timer`]: something that is to happen at a time.
//! * `waiter`: what one native thread sleeps on.
//!
//! # How everyone stops
//!
//! [`Group::stop`] sets the stop word; the first cause wins. Then it goes through the attached threads, which are in
//! one of four places:
//!
//! | where | what ends it |
//! |---|---|
//! | compiled code | the signal: its handler unwinds the thread at once |
//! | the interpreter | `pending`, looked at when the budget is spent; the signal spends it |
//! | parked in `wait` | a nudge to its waiter |
//! | blocked in the host | the signal breaks the system call; the host looks at `pending`; a waker ends what is no system call |
//!
//! Threads that compute are told first, so that they take the processor from the others no more. Each thread that leaves helps to tell
//! those that have not been told yet, since whoever began with it may have been preempted.
//!
//! A signal just before a blocking system call is lost. So the signals are repeated every millisecond until every
//! thread has left the group, by whoever waits for that, or by a timer.

mod group;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, loom))]
mod models_of_roster;
mod parking;
mod pause;
mod pool;
mod roster;
mod stop;
mod sync;
mod timer;
mod waiter;

pub use group::{Attachment, Group, Limits, SpawnError, Waker, WakerGuard};
pub use parking::{ParkingLot, WaitResult};
pub use pause::{Pause, PauseError};
pub use pool::ThreadPool;
pub use roster::Place;
pub use stop::Cause;
pub use timer::Timer;

/// Names a wasm thread within its group: 1 up to 2^29 - 1 (the range of wasi-threads), or [`MAIN_THREAD`].
pub type ThreadId = u32;

/// The id of the thread that runs `_start`, and of every thread that an embedder attaches.
pub const MAIN_THREAD: ThreadId = 0;

/// Ids are below this. wasi-threads keeps the upper bits free: "the valid range is [1, 0x1FFFFFFF]".
const THREAD_IDS: u32 = 1 << 29;
