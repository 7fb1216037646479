//! Input and output on descriptors: reading, writing, seeking, and what concerns a file's contents.
//!
//! Buffers of the guest go to the kernel as they are. Offsets are the kernel's.

use super::errno::Errno;
use super::fd_table::{Backing, Entry};
use super::memory::IoVecs;
use super::sock;
use super::stream::{InputStream, OutputStream};
use super::sys::{Outcome, call, check_stopped};
use super::types::Rights;
use super::{Host, WasiCtx};
use std::io;

/// The most that one call moves between a guest and a stream of the embedder, in bytes.
const STREAM_CHUNK: usize = 1 << 20;

pub(super) fn fd_read(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    iovs: u64,
    count: u32,
    nread: u64,
) -> Outcome {
    let entry = ctx.files.get_with(fd, Rights::FD_READ)?;
    let memory = host.memory();
    let (nread, vecs) = (memory.place(nread, 4)?, IoVecs::read(memory, iovs, count)?);
    let n = match &entry.file.backing {
        Backing::Input(stream) => read_stream(host, &**stream, &vecs)?,
        Backing::Output(_) => return Err(Errno::Badf.into()),
        _ => {
            let fd = entry.file.fd_or(Errno::Badf)?;
            // SAFETY: the kernel fills buffers that were checked against the guest's memory.
            match vecs.as_slice() {
                [one] => call(host, || unsafe { libc::read(fd, one.iov_base, one.iov_len) })?,
                many => call(host, || unsafe {
                    libc::readv(fd, many.as_ptr(), many.len() as libc::c_int)
                })?,
            }
        }
    };
    Ok(nread.put((n as u32).to_le_bytes())?)
}

pub(super) fn fd_write(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    iovs: u64,
    count: u32,
    nwritten: u64,
) -> Outcome {
    let entry = ctx.files.get_with(fd, Rights::FD_WRITE)?;
    let memory = host.memory();
    let (nwritten, vecs) = (memory.place(nwritten, 4)?, IoVecs::read(memory, iovs, count)?);
    let n = match &entry.file.backing {
        Backing::Output(stream) => write_stream(host, &**stream, &vecs)?,
        Backing::Input(_) => return Err(Errno::Badf.into()),
        _ if entry.file.filetype.is_socket() => {
            sock::send(host, entry.file.fd_or(Errno::Badf)?, &vecs)?
        }
        _ => {
            let fd = entry.file.fd_or(Errno::Badf)?;
            // SAFETY: the kernel reads buffers that were checked against the guest's memory.
            match vecs.as_slice() {
                [one] => call(host, || unsafe { libc::write(fd, one.iov_base, one.iov_len) })?,
                many => call(host, || unsafe {
                    libc::writev(fd, many.as_ptr(), many.len() as libc::c_int)
                })?,
            }
        }
    };
    Ok(nwritten.put((n as u32).to_le_bytes())?)
}

fn read_stream(host: &dyn Host, stream: &dyn InputStream, vecs: &IoVecs) -> Outcome<isize> {
    let mut buffer = vec![0; vecs.total(STREAM_CHUNK)];
    let n = retry(host, || stream.read(&mut buffer))?.min(buffer.len());
    vecs.scatter(&buffer[..n]);
    Ok(n as isize)
}

/// All buffers go in one call, so that the writes of threads do not mix.
fn write_stream(host: &dyn Host, stream: &dyn OutputStream, vecs: &IoVecs) -> Outcome<isize> {
    let bytes = vecs.gather(STREAM_CHUNK);
    Ok(retry(host, || stream.write(&bytes))?.min(bytes.len()) as isize)
}

fn retry(host: &dyn Host, mut call: impl FnMut() -> io::Result<usize>) -> Outcome<usize> {
    loop {
        check_stopped(host)?;
        match call() {
            Ok(n) => return Ok(n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Errno::from(error).into()),
        }
    }
}

/// An offset that the kernel takes; `inval` past 2^63.
fn offset(raw: u64) -> Result<libc::off_t, Errno> {
    libc::off_t::try_from(raw).map_err(|_| Errno::Inval)
}

/// Needs the right to seek too, as the witx text has it. Streams of the embedder give `spipe`.
pub(super) fn fd_pread(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    iovs: u64,
    count: u32,
    at: u64,
    nread: u64,
) -> Outcome {
    let entry = ctx.files.get_with(fd, Rights::FD_READ.with(Rights::FD_SEEK))?;
    let (memory, at) = (host.memory(), offset(at)?);
    let (nread, vecs) = (memory.place(nread, 4)?, IoVecs::read(memory, iovs, count)?);
    let (fd, vecs) = (entry.file.fd_or(Errno::Spipe)?, vecs.as_slice());
    // SAFETY: the kernel fills buffers that were checked against the guest's memory.
    let n = call(host, || unsafe { libc::preadv(fd, vecs.as_ptr(), vecs.len() as i32, at) })?;
    Ok(nread.put((n as u32).to_le_bytes())?)
}

pub(super) fn fd_pwrite(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    iovs: u64,
    count: u32,
    at: u64,
    nwritten: u64,
) -> Outcome {
    let entry = ctx.files.get_with(fd, Rights::FD_WRITE.with(Rights::FD_SEEK))?;
    let (memory, at) = (host.memory(), offset(at)?);
    let (nwritten, vecs) = (memory.place(nwritten, 4)?, IoVecs::read(memory, iovs, count)?);
    let (fd, vecs) = (entry.file.fd_or(Errno::Spipe)?, vecs.as_slice());
    // SAFETY: the kernel reads buffers that were checked against the guest's memory.
    let n = call(host, || unsafe { libc::pwritev(fd, vecs.as_ptr(), vecs.len() as i32, at) })?;
    Ok(nwritten.put((n as u32).to_le_bytes())?)
}

fn seek(host: &dyn Host, entry: &Entry, delta: i64, whence: i32, result: u64) -> Outcome {
    let (fd, result) = (entry.file.fd_or(Errno::Spipe)?, host.memory().place(result, 8)?);
    // SAFETY: no memory is involved.
    let at = call(host, || unsafe { libc::lseek(fd, delta, whence) })?;
    Ok(result.put((at as u64).to_le_bytes())?)
}

pub(super) fn fd_seek(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    delta: u64,
    whence: u32,
    result: u64,
) -> Outcome {
    let delta = delta as i64;
    let whence = match whence {
        0 => libc::SEEK_SET,
        1 => libc::SEEK_CUR,
        2 => libc::SEEK_END,
        _ => return Err(Errno::Inval.into()),
    };
    if whence == libc::SEEK_CUR && delta == 0 {
        return fd_tell(ctx, host, fd, result);
    }
    seek(host, &ctx.files.get_with(fd, Rights::FD_SEEK)?, delta, whence, result)
}

pub(super) fn fd_tell(ctx: &WasiCtx, host: &dyn Host, fd: u32, result: u64) -> Outcome {
    let entry = ctx.files.get(fd)?;
    if !entry.base.intersects(Rights::FD_TELL.with(Rights::FD_SEEK)) {
        return Err(Errno::Notcapable.into());
    }
    seek(host, &entry, 0, libc::SEEK_CUR, result)
}

pub(super) fn fd_sync(ctx: &WasiCtx, host: &dyn Host, fd: u32) -> Outcome {
    let entry = ctx.files.get_with(fd, Rights::FD_SYNC)?;
    let fd = entry.file.fd_or(Errno::Inval)?;
    // SAFETY: no memory is involved.
    call(host, || unsafe { libc::fsync(fd) })?;
    Ok(())
}

pub(super) fn fd_datasync(ctx: &WasiCtx, host: &dyn Host, fd: u32) -> Outcome {
    let entry = ctx.files.get_with(fd, Rights::FD_DATASYNC)?;
    let fd = entry.file.fd_or(Errno::Inval)?;
    // SAFETY: no memory is involved.
    call(host, || unsafe { libc::fdatasync(fd) })?;
    Ok(())
}

pub(super) fn fd_advise(
    ctx: &WasiCtx,
    _: &dyn Host,
    fd: u32,
    at: u64,
    len: u64,
    advice: u32,
) -> Outcome {
    let advice = match advice {
        0 => libc::POSIX_FADV_NORMAL,
        1 => libc::POSIX_FADV_SEQUENTIAL,
        2 => libc::POSIX_FADV_RANDOM,
        3 => libc::POSIX_FADV_WILLNEED,
        4 => libc::POSIX_FADV_DONTNEED,
        5 => libc::POSIX_FADV_NOREUSE,
        _ => return Err(Errno::Inval.into()),
    };
    let entry = ctx.files.get_with(fd, Rights::FD_ADVISE)?;
    let (fd, at, len) = (entry.file.fd_or(Errno::Spipe)?, offset(at)?, offset(len)?);
    // SAFETY: no memory is involved. This call returns its error instead of setting `errno`.
    match unsafe { libc::posix_fadvise(fd, at, len, advice) } {
        0 => Ok(()),
        raw => Err(Errno::from_raw(raw).into()),
    }
}

pub(super) fn fd_allocate(ctx: &WasiCtx, host: &dyn Host, fd: u32, at: u64, len: u64) -> Outcome {
    let entry = ctx.files.get_with(fd, Rights::FD_ALLOCATE)?;
    let (fd, at, len) = (entry.file.fd_or(Errno::Spipe)?, offset(at)?, offset(len)?);
    // SAFETY: no memory is involved.
    call(host, || unsafe { libc::fallocate(fd, 0, at, len) })?;
    Ok(())
}

pub(super) fn fd_filestat_set_size(ctx: &WasiCtx, host: &dyn Host, fd: u32, size: u64) -> Outcome {
    let entry = ctx.files.get_with(fd, Rights::FD_FILESTAT_SET_SIZE)?;
    let (fd, size) = (entry.file.fd_or(Errno::Inval)?, offset(size)?);
    // SAFETY: no memory is involved.
    call(host, || unsafe { libc::ftruncate(fd, size) })?;
    Ok(())
}
