//! The process: `proc_exit`, `proc_raise`, `sched_yield`, `random_get`.

use super::errno::Errno;
use super::sys::{Outcome, call};
use super::{Host, WasiCtx, WasiExit};

pub(super) fn proc_exit(_: &WasiCtx, _: &dyn Host, code: u32) -> Outcome {
    Err(WasiExit::Exit(code).into())
}

/// What witx `signal` says that a signal does when nobody handles it.
enum Action {
    Ignore,
    Stop,
    /// The status that a shell would report: 128 and the number that Linux gives the signal.
    Terminate(u32),
}

fn default_action(signal: u32) -> Option<Action> {
    let number = match signal {
        // none, pipe, chld, cont, urg, winch: "Ignored", or nothing to continue.
        0 | 13 | 16 | 17 | 22 | 27 => return Some(Action::Ignore),
        // stop, tstp, ttin, ttou.
        18..=21 => return Some(Action::Stop),
        // hup to term have the numbers of Linux.
        1..=15 => signal as i32,
        23 => libc::SIGXCPU,
        24 => libc::SIGXFSZ,
        25 => libc::SIGVTALRM,
        26 => libc::SIGPROF,
        28 => libc::SIGIO,
        29 => libc::SIGPWR,
        30 => libc::SIGSYS,
        _ => return None,
    };
    Some(Action::Terminate(128 + number as u32))
}

/// The signal never reaches the host's process: what would terminate the program ends it with the
/// status that a shell would report, and what would stop it gives `notsup`.
pub(super) fn proc_raise(_: &WasiCtx, _: &dyn Host, signal: u32) -> Outcome {
    match default_action(signal).ok_or(Errno::Inval)? {
        Action::Ignore => Ok(()),
        Action::Stop => Err(Errno::Notsup.into()),
        Action::Terminate(status) => Err(WasiExit::Exit(status).into()),
    }
}

pub(super) fn sched_yield(_: &WasiCtx, _: &dyn Host) -> Outcome {
    std::thread::yield_now();
    Ok(())
}

/// How much the kernel is asked for at once, so that a stop is seen in between.
const RANDOM_CHUNK: u64 = 1 << 20;

pub(super) fn random_get(_: &WasiCtx, host: &dyn Host, buf: u64, len: u32) -> Outcome {
    let memory = host.memory();
    let len = u64::from(len);
    memory.slice_for_syscall(buf, len)?;
    let mut done = 0;
    while done < len {
        let (to, n) = memory.slice_for_syscall(buf + done, (len - done).min(RANDOM_CHUNK))?;
        // SAFETY: the kernel fills `n` bytes of guest memory, which were checked.
        done += call(host, || unsafe { libc::getrandom(to.cast(), n, 0) })? as u64;
    }
    Ok(())
}
