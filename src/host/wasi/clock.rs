//! Clocks: `clock_res_get`, `clock_time_get`. Times are in nanoseconds.
//!
//! The processor time of the process is that of the host's process: with the compile threads, and with all
//! programs that it runs.

use super::errno::Errno;
use super::sys::{Outcome, last_raw_error};
use super::types::nanoseconds;
use super::{Host, WasiCtx};

/// The kernel's clock for a witx `clockid`; `inval` for any other number.
pub(super) fn host_clock(id: u32) -> Result<libc::clockid_t, Errno> {
    match id {
        0 => Ok(libc::CLOCK_REALTIME),
        1 => Ok(libc::CLOCK_MONOTONIC),
        2 => Ok(libc::CLOCK_PROCESS_CPUTIME_ID),
        3 => Ok(libc::CLOCK_THREAD_CPUTIME_ID),
        _ => Err(Errno::Inval),
    }
}

/// What a clock shows.
pub(super) fn now(clock: libc::clockid_t) -> Result<u64, Errno> {
    read(|time| {
        // SAFETY: the kernel fills the one timespec it is given.
        unsafe { libc::clock_gettime(clock, time) }
    })
}

fn read(call: impl FnOnce(&mut libc::timespec) -> i32) -> Result<u64, Errno> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    match call(&mut time) {
        0 => Ok(nanoseconds(time.tv_sec, time.tv_nsec)),
        _ => Err(Errno::from_raw(last_raw_error())),
    }
}

pub(super) fn clock_res_get(_: &WasiCtx, host: &dyn Host, id: u32, result: u64) -> Outcome {
    let (clock, result) = (host_clock(id)?, host.memory().place(result, 8)?);
    let resolution = read(|time| {
        // SAFETY: the kernel fills the one timespec it is given.
        unsafe { libc::clock_getres(clock, time) }
    })?;
    Ok(result.put(resolution.max(1).to_le_bytes())?)
}

/// The precision is a hint that the kernel's clocks do not need.
pub(super) fn clock_time_get(
    _: &WasiCtx,
    host: &dyn Host,
    id: u32,
    _precision: u64,
    result: u64,
) -> Outcome {
    let (clock, result) = (host_clock(id)?, host.memory().place(result, 8)?);
    Ok(result.put(now(clock)?.to_le_bytes())?)
}
