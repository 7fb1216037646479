//! Sockets: `sock_*`. A guest has those that the embedder gives it and those it accepts from them.

use super::ctx::host_filetype;
use super::errno::Errno;
use super::fd_table::{Backing, Entry, File};
use super::memory::IoVecs;
use super::sys::{self, Outcome, call, call_raw, own};
use super::types::{FdFlags, FileType, RiFlags, Rights, SdFlags};
use super::{Host, WasiCtx};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// Witx `roflags`: the message was longer than the buffers.
const RECV_DATA_TRUNCATED: u16 = 1;

/// A socket to which there are these rights; `notsock` for other files.
fn socket(ctx: &WasiCtx, fd: u32, rights: Rights) -> Result<(Entry, i32), Errno> {
    let entry = ctx.files.get(fd)?;
    if !entry.file.filetype.is_socket() {
        return Err(Errno::Notsock);
    }
    entry.require(rights)?;
    let fd = entry.file.fd_or(Errno::Notsock)?;
    Ok((entry, fd))
}

/// The new descriptor has the inheriting rights of the listening one. Of the flags only `nonblock` means something for a connection; others give `inval`.
pub(super) fn sock_accept(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    flags: u32,
    result: u64,
) -> Outcome {
    let flags = FdFlags::from_guest(flags)?;
    if !FdFlags::NONBLOCK.contains(flags) {
        return Err(Errno::Inval.into());
    }
    let result = host.memory().place(result, 4)?;
    let (listener, fd) = socket(ctx, fd, Rights::SOCK_ACCEPT)?;
    let nonblock = if flags == FdFlags::NONBLOCK { libc::SOCK_NONBLOCK } else { 0 };
    let none = std::ptr::null_mut();
    // SAFETY: null pointers ask the kernel not to tell the peer's address.
    let accepted = call(host, || unsafe {
        libc::accept4(fd, none, std::ptr::null_mut(), libc::SOCK_CLOEXEC | nonblock)
    })?;
    let accepted = own(accepted.into());
    let filetype = host_filetype(accepted.as_raw_fd(), &sys::fstat(accepted.as_raw_fd())?);
    let entry = Entry {
        file: Arc::new(File::new(Backing::Owned(accepted), filetype)),
        base: Rights::SOCKET.and(listener.inheriting),
        inheriting: Rights::empty(),
    };
    let accepted = ctx.files.insert(entry)?;
    Ok(result.put(accepted.to_le_bytes())?)
}

fn message(vecs: &[libc::iovec]) -> libc::msghdr {
    // SAFETY: null pointers, zero lengths: a message without address and control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // The kernel reads the list and does not write to it.
    message.msg_iov = vecs.as_ptr().cast_mut();
    message.msg_iovlen = vecs.len();
    message
}

pub(super) fn sock_recv(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    iovs: u64,
    count: u32,
    flags: u32,
    nread: u64,
    out_flags: u64,
) -> Outcome {
    let flags = RiFlags::from_guest(flags)?;
    let (socket, fd) = socket(ctx, fd, Rights::FD_READ)?;
    let memory = host.memory();
    let (nread, out_flags) = (memory.place(nread, 4)?, memory.place(out_flags, 2)?);
    let vecs = IoVecs::read(memory, iovs, count)?;
    let mut message = message(vecs.as_slice());
    let mut host_flags = 0;
    for (flag, bits) in
        [(RiFlags::RECV_PEEK, libc::MSG_PEEK), (RiFlags::RECV_WAITALL, libc::MSG_WAITALL)]
    {
        if flags.contains(flag) {
            host_flags |= bits;
        }
    }
    // SAFETY: the kernel fills buffers that were checked against the guest's memory, and the header.
    let mut n = call(host, || unsafe { libc::recvmsg(fd, &raw mut message, host_flags) })? as usize;
    if flags == RiFlags::RECV_WAITALL && socket.file.filetype == FileType::SocketStream {
        n += receive_rest(host, fd, &vecs, n)?;
    }
    let truncated = message.msg_flags & libc::MSG_TRUNC != 0;
    nread.put((n as u32).to_le_bytes())?;
    let flags = if truncated { RECV_DATA_TRUNCATED } else { 0 };
    Ok(out_flags.put(flags.to_le_bytes())?)
}

/// A signal ends `waitall` early, once there are some bytes: receives those that are missing then. What the
/// connection's end or an error has to say is for the next call.
fn receive_rest(host: &dyn Host, fd: i32, vecs: &IoVecs, received: usize) -> Outcome<usize> {
    let mut rest = 0;
    while received != 0 && received + rest < vecs.total(usize::MAX) {
        let missing = vecs.after(received + rest);
        let mut message = message(&missing);
        // SAFETY: the kernel fills buffers that were checked against the guest's memory, and the header.
        let more =
            call_raw(host, || unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_WAITALL) })?;
        match more {
            Ok(n @ 1..) => rest += n as usize,
            _ => break,
        }
    }
    Ok(rest)
}

/// Sends what the buffers hold. A connection that is closed gives `pipe`, and never a signal.
pub(super) fn send(host: &dyn Host, fd: i32, vecs: &IoVecs) -> Outcome<isize> {
    let message = message(vecs.as_slice());
    // SAFETY: the kernel reads buffers that were checked against the guest's memory, and the header.
    call(host, || unsafe { libc::sendmsg(fd, &raw const message, libc::MSG_NOSIGNAL) })
}

/// There are no flags for sending: anything but 0 gives `inval`.
pub(super) fn sock_send(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    iovs: u64,
    count: u32,
    flags: u32,
    nwritten: u64,
) -> Outcome {
    if flags != 0 {
        return Err(Errno::Inval.into());
    }
    let (_socket, fd) = socket(ctx, fd, Rights::FD_WRITE)?;
    let memory = host.memory();
    let (nwritten, vecs) = (memory.place(nwritten, 4)?, IoVecs::read(memory, iovs, count)?);
    let n = send(host, fd, &vecs)?;
    Ok(nwritten.put((n as u32).to_le_bytes())?)
}

pub(super) fn sock_shutdown(ctx: &WasiCtx, host: &dyn Host, fd: u32, how: u32) -> Outcome {
    let how = SdFlags::from_guest(how)?;
    let how = match (how.contains(SdFlags::RD), how.contains(SdFlags::WR)) {
        (true, true) => libc::SHUT_RDWR,
        (true, false) => libc::SHUT_RD,
        (false, true) => libc::SHUT_WR,
        (false, false) => return Err(Errno::Inval.into()),
    };
    let (_socket, fd) = socket(ctx, fd, Rights::SOCK_SHUTDOWN)?;
    // SAFETY: no memory is involved.
    call(host, || unsafe { libc::shutdown(fd, how) })?;
    Ok(())
}
