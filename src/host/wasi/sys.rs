//! System calls that may block, and what they return.
//!
//! To stop a thread that blocks in the host, the engine sends it a signal whose handler returns at
//! once, and repeats that until the thread has left. So each call here asks whether the group is being
//! stopped before it enters the kernel, and again whenever the kernel says `EINTR`. A stop that comes
//! between the question and the call is caught by the next signal.

use super::errno::Errno;
use super::{Host, WasiExit};
use std::os::fd::{FromRawFd, OwnedFd};

/// Why a function of the table did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The guest gets this code.
    Errno(Errno),
    /// The guest does not go on.
    Exit(WasiExit),
}

/// What a function of the table returns.
pub(super) type Outcome<T = ()> = Result<T, Failure>;

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::Errno(errno)
    }
}

impl From<WasiExit> for Failure {
    fn from(exit: WasiExit) -> Failure {
        Failure::Exit(exit)
    }
}

/// The types that C's system call wrappers return; -1 stands for an error in each.
pub(super) trait Returned: Copy {
    fn as_i64(self) -> i64;
}

impl Returned for i32 {
    fn as_i64(self) -> i64 {
        self.into()
    }
}

impl Returned for i64 {
    fn as_i64(self) -> i64 {
        self
    }
}

impl Returned for isize {
    fn as_i64(self) -> i64 {
        self as i64
    }
}

/// The error number of the last call of this thread.
pub(super) fn last_raw_error() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Leaves if the group is being stopped.
pub(super) fn check_stopped(host: &dyn Host) -> Result<(), WasiExit> {
    if host.stopped() { Err(WasiExit::Stopped) } else { Ok(()) }
}

/// Makes a call until it succeeds, fails, or the group is being stopped. `call` returns as C's wrappers
/// do and must be safe to repeat after `EINTR`.
pub(super) fn call<T: Returned>(host: &dyn Host, call: impl FnMut() -> T) -> Outcome<T> {
    Ok(call_raw(host, call)?.map_err(Errno::from_raw)?)
}

/// Like [`call`], with the kernel's own error number.
pub(super) fn call_raw<T: Returned>(
    host: &dyn Host,
    mut call: impl FnMut() -> T,
) -> Result<Result<T, i32>, WasiExit> {
    loop {
        check_stopped(host)?;
        let returned = call();
        if returned.as_i64() != -1 {
            return Ok(Ok(returned));
        }
        match last_raw_error() {
            libc::EINTR => {}
            raw => return Ok(Err(raw)),
        }
    }
}

/// Takes a descriptor that a call has just made.
pub(super) fn own(fd: i64) -> OwnedFd {
    // SAFETY: callers pass what `open`, `accept` and their like have returned, which nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// The attributes of an open file.
pub(super) fn fstat(fd: i32) -> Result<libc::stat, Errno> {
    let mut stat = std::mem::MaybeUninit::uninit();
    // SAFETY: the kernel fills the buffer, which has the size of its type, unless it reports an error.
    unsafe {
        match libc::fstat(fd, stat.as_mut_ptr()) {
            -1 => Err(Errno::from_raw(last_raw_error())),
            _ => Ok(stat.assume_init()),
        }
    }
}
