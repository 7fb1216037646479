//! Descriptors themselves: closing, renumbering, flags, rights, attributes, preopened directories.

use super::errno::Errno;
use super::sys::{self, Outcome, call};
use super::types::{FdFlags, FileType, FstFlags, Record, Rights, fdstat, filestat, timespec};
use super::{Host, WasiCtx};

pub(super) fn fd_close(ctx: &WasiCtx, _: &dyn Host, fd: u32) -> Outcome {
    ctx.files.remove(fd)?;
    Ok(())
}

pub(super) fn fd_renumber(ctx: &WasiCtx, _: &dyn Host, from: u32, to: u32) -> Outcome {
    ctx.files.renumber(from, to)?;
    Ok(())
}

/// The kernel's flags of a descriptor.
fn host_flags(host: &dyn Host, fd: i32) -> Outcome<i32> {
    // SAFETY: F_GETFL takes no argument and touches no memory.
    call(host, || unsafe { libc::fcntl(fd, libc::F_GETFL) })
}

pub(super) fn fd_fdstat_get(ctx: &WasiCtx, host: &dyn Host, fd: u32, result: u64) -> Outcome {
    let entry = ctx.files.get(fd)?;
    let result = host.memory().place(result, 8)?;
    let mut flags = entry.file.syncs;
    if let Some(fd) = entry.file.fd() {
        let host = host_flags(host, fd)?;
        if host & libc::O_APPEND != 0 {
            flags = flags.with(FdFlags::APPEND);
        }
        if host & libc::O_NONBLOCK != 0 {
            flags = flags.with(FdFlags::NONBLOCK);
        }
    }
    let record = fdstat(entry.file.filetype, flags, entry.base, entry.inheriting);
    Ok(result.put(*record.bytes())?)
}

/// `append` and `nonblock` can change; the synchronisation flags are the kernel's from the opening on,
/// so that a change of them gives `inval`.
pub(super) fn fd_fdstat_set_flags(ctx: &WasiCtx, host: &dyn Host, fd: u32, flags: u32) -> Outcome {
    let flags = FdFlags::from_guest(flags)?;
    let entry = ctx.files.get_with(fd, Rights::FD_FDSTAT_SET_FLAGS)?;
    if flags.and(FdFlags::SYNCS) != entry.file.syncs {
        return Err(Errno::Inval.into());
    }
    // Streams of the embedder have no flags: setting none is all they can do.
    let Some(fd) = entry.file.fd() else {
        let none = flags == FdFlags::empty();
        return if none { Ok(()) } else { Err(Errno::Notsup.into()) };
    };
    let changeable = libc::O_APPEND | libc::O_NONBLOCK;
    let new = host_flags(host, fd)? & !changeable | flags.to_host() & changeable;
    // SAFETY: F_SETFL takes an int and touches no memory.
    call(host, || unsafe { libc::fcntl(fd, libc::F_SETFL, new) })?;
    Ok(())
}

pub(super) fn fd_fdstat_set_rights(
    ctx: &WasiCtx,
    _: &dyn Host,
    fd: u32,
    base: u64,
    inheriting: u64,
) -> Outcome {
    let (base, inheriting) = (Rights::from_guest(base), Rights::from_guest(inheriting));
    Ok(ctx.files.limit_rights(fd, base, inheriting)?)
}

pub(super) fn fd_filestat_get(ctx: &WasiCtx, host: &dyn Host, fd: u32, result: u64) -> Outcome {
    let entry = ctx.files.get_with(fd, Rights::FD_FILESTAT_GET)?;
    let result = host.memory().place(result, 8)?;
    let record = match entry.file.fd() {
        Some(fd) => filestat(&sys::fstat(fd)?, entry.file.filetype),
        None => Record::new().put(16, [FileType::Unknown as u8]),
    };
    Ok(result.put(*record.bytes())?)
}

/// The pair for `utimensat`; `inval` where a time is to be set both from the parameter and the clock.
pub(super) fn times(atim: u64, mtim: u64, flags: FstFlags) -> Result<[libc::timespec; 2], Errno> {
    let time = |value, set, now| match (flags.contains(set), flags.contains(now)) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(timespec(value)),
        (false, true) => Ok(libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW }),
        (false, false) => Ok(libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT }),
    };
    Ok([
        time(atim, FstFlags::ATIM, FstFlags::ATIM_NOW)?,
        time(mtim, FstFlags::MTIM, FstFlags::MTIM_NOW)?,
    ])
}

pub(super) fn fd_filestat_set_times(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    atim: u64,
    mtim: u64,
    flags: u32,
) -> Outcome {
    let times = times(atim, mtim, FstFlags::from_guest(flags)?)?;
    let entry = ctx.files.get_with(fd, Rights::FD_FILESTAT_SET_TIMES)?;
    if entry.file.read_only {
        return Err(Errno::Rofs.into());
    }
    let fd = entry.file.fd_or(Errno::Inval)?;
    // SAFETY: the kernel reads the two timespecs.
    call(host, || unsafe { libc::futimens(fd, times.as_ptr()) })?;
    Ok(())
}

/// `badf` for whatever is no preopened directory: that is how a C library finds the end of them.
pub(super) fn fd_prestat_get(ctx: &WasiCtx, host: &dyn Host, fd: u32, result: u64) -> Outcome {
    let entry = ctx.files.get(fd)?;
    let name = entry.file.preopen.as_ref().ok_or(Errno::Badf)?;
    // witx `prestat`: 8 bytes, tag 0 for a directory, then the length of its name.
    let record = Record::<8>::new().put(4, (name.len() as u32).to_le_bytes());
    Ok(host.memory().place(result, 4)?.put(*record.bytes())?)
}

pub(super) fn fd_prestat_dir_name(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    path: u64,
    len: u32,
) -> Outcome {
    let entry = ctx.files.get(fd)?;
    let name = entry.file.preopen.as_ref().ok_or(Errno::Badf)?;
    if name.len() > len as usize {
        return Err(Errno::Nametoolong.into());
    }
    Ok(host.memory().write_bytes(path, name)?)
}
