//! All that knows the operating system and the machine: x86-64 Linux, for now.
//!
//! * `entry`: the assembly through which a thread enters compiled code, and leaves it early.
//! * `signal`: faults of compiled code become traps, and one real-time signal stops a thread.
//! * `mmap`: address ranges reserved for linear memories, known to the fault handler.
//! * `stack`: the bounds of native stacks, alternate stacks for handlers, value stacks.
//! * `native_thread`: threads on stacks of our own.
//! * `futex`: sleeping on a word.
//! * `park`: standing still while the group is paused.
//! * `framing`: where compiled code has its frame.
//! * `ticks`: waking up at a fixed interval.
//!
//! # The protocol between entry and handlers
//!
//! Everything hangs on one per-thread word, [`ThreadState::state`]. While it is [`NATIVE`], a handler on that
//! thread may abandon whatever runs, wherever the program counter is, and go back to the save area of the
//! innermost [`enter_native`]. While it is [`HOST`], a handler only leaves a note. Only the thread itself (and
//! handlers on it) writes the word, so program order is all the order that is needed:
//!
//! 1. `enter_native` publishes a complete save area, then sets NATIVE, then looks at `pending`. A stopper sets
//!    `pending`, then sends the signal. If the signal comes before NATIVE, the look finds `pending`; if it comes
//!    after, the handler unwinds. There is no third case.
//! 2. On the way out, HOST is set before the save area is unlinked.
//! 3. A builtin that takes locks or blocks sets HOST first ([`leave_native`]), and at its end NATIVE, and looks
//!    at `pending` again ([`back_to_native`]).
//!
//! A third state, OUTSIDE, is HOST with a promise that matters to pauses alone: see `park`.
//!
//! What remains is a signal that comes just before a blocking system call in HOST. It is lost, so the stopper
//! repeats it until the thread has answered (see [`crate::threads`]).
//!
//! [`ThreadState::state`]: updraft_jit::abi::ThreadState::state
//! [`NATIVE`]: updraft_jit::abi::state::NATIVE
//! [`HOST`]: updraft_jit::abi::state::HOST

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("Updraft runs on x86-64 Linux only; a port begins with this module");

mod entry;
mod framing;
pub mod futex;
mod mmap;
mod native_thread;
mod park;
mod signal;
mod stack;
mod ticks;

pub use entry::{
    Recorder, SAVE_PREVIOUS, SAVE_TO_BASE, back_to_native, enter_native, is_first_frame,
    leave_native, raise_address, raise_pending_address, stop_segment,
};
pub use framing::{Framing, Framings};
pub use mmap::Reservation;
pub use native_thread::{NativeThread, StackSizes, name_thread, own_value_stack, trim_own_stacks};
pub use park::{Inside, come_inside, go_outside, must_end, park};
pub use signal::{
    CurrentGuard, SampleHook, SignalTarget, current_thread, install, prepare_thread, set_current,
    set_sample_hook, stop_signal,
};
pub use stack::{ValueStack, ensure_alt_stack, native_stack_bounds};
pub use ticks::{Ticks, wake};

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// `bytes` rounded up to whole pages; `None` beyond the address space.
fn page_ceil(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(PAGE)
}
