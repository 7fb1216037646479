//! `fd_readdir`.
//!
//! Each call opens the directory anew and moves to the cookie, which is the kernel's own position. So a
//! call has no state: threads that list one directory do not disturb each other, and no lock is held.

use super::errno::Errno;
use super::memory::GuestMemory;
use super::sys::{Failure, Outcome, call, own};
use super::types::{FileType, Record, Rights, field};
use super::{Host, WasiCtx};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

/// Bytes of entries that the kernel is asked for at once.
const CHUNK: usize = 32 * 1024;
/// Where the name begins in the kernel's `linux_dirent64`: after inode, offset, length and type.
const NAME: usize = 19;

pub(super) fn fd_readdir(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    buf: u64,
    buf_len: u32,
    cookie: u64,
    result: u64,
) -> Outcome {
    let entry = ctx.files.directory(fd, Rights::FD_READDIR)?;
    let memory = host.memory();
    memory.slice_for_syscall(buf, buf_len.into())?;
    let mut out = Out { memory, at: buf, room: buf_len };
    let dir = entry.file.fd_or(Errno::Notdir)?;
    match open_at(host, dir, cookie).and_then(|dir| list(host, &dir, &mut out)) {
        // A directory that was removed while open has no entries any more.
        Ok(()) | Err(Failure::Errno(Errno::Noent)) => {}
        Err(failure) => return Err(failure),
    }
    Ok(memory.write_u32(result, buf_len - out.room)?)
}

fn open_at(host: &dyn Host, dir: i32, cookie: u64) -> Outcome<OwnedFd> {
    let cookie = i64::try_from(cookie).map_err(|_| Errno::Inval)?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path is a constant.
    let dir = own(call(host, || unsafe { libc::openat(dir, c".".as_ptr(), flags) })?.into());
    // SAFETY: no memory is involved.
    call(host, || unsafe { libc::lseek(dir.as_raw_fd(), cookie, libc::SEEK_SET) })?;
    Ok(dir)
}

/// The part of the guest's buffer that is not filled yet.
struct Out {
    memory: GuestMemory,
    at: u64,
    room: u32,
}

impl Out {
    /// Appends what fits, and cuts the rest.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let n = bytes.len().min(self.room as usize);
        self.memory.write_bytes(self.at, &bytes[..n])?;
        self.at += n as u64;
        self.room -= n as u32;
        Ok(())
    }
}

/// Writes entries until the buffer is full (the last one is cut then) or the directory ends.
fn list(host: &dyn Host, dir: &OwnedFd, out: &mut Out) -> Outcome {
    // 8-byte words, since the kernel's records are aligned so.
    let mut chunk = vec![0u64; CHUNK / 8];
    while out.room != 0 {
        // SAFETY: the kernel fills the chunk within its length.
        let filled = call(host, || unsafe {
            libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), chunk.as_mut_ptr(), CHUNK)
        })?;
        if filled == 0 {
            return Ok(());
        }
        // SAFETY: the chunk is `CHUNK` initialised bytes, of which the kernel has filled the first.
        let mut records =
            unsafe { std::slice::from_raw_parts(chunk.as_ptr().cast::<u8>(), filled as usize) };
        while records.len() > NAME && out.room != 0 {
            let length = usize::from(u16::from_ne_bytes(field(records, 16)));
            let (record, rest) = records.split_at(length.clamp(NAME, records.len()));
            records = rest;
            let name = CStr::from_bytes_until_nul(&record[NAME..]).map_err(|_| Errno::Io)?;
            put_entry(host, dir, record, name, out)?;
        }
    }
    Ok(())
}

/// Writes one entry: witx `dirent` (24 bytes), then the name without a terminating zero.
fn put_entry(host: &dyn Host, dir: &OwnedFd, record: &[u8], name: &CStr, out: &mut Out) -> Outcome {
    let (inode, next) = (field::<8>(record, 0), field::<8>(record, 8));
    let filetype = match FileType::from_dirent(record[18]) {
        Some(filetype) => filetype,
        None => lstat_type(host, dir, name)?,
    };
    let length = name.to_bytes().len() as u32;
    let dirent = Record::<24>::new()
        .put(0, u64::from_ne_bytes(next).to_le_bytes())
        .put(8, u64::from_ne_bytes(inode).to_le_bytes())
        .put(16, length.to_le_bytes())
        .put(20, [filetype as u8]);
    out.put(dirent.bytes())?;
    out.put(name.to_bytes())?;
    Ok(())
}

/// The type of an entry where the file system does not tell it in the listing.
fn lstat_type(host: &dyn Host, dir: &OwnedFd, name: &CStr) -> Outcome<FileType> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel reads the name up to its zero and fills the buffer.
    let found = call(host, || unsafe {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        libc::fstatat(dir.as_raw_fd(), name.as_ptr(), stat.as_mut_ptr(), flags)
    });
    match found {
        // SAFETY: the call has succeeded.
        Ok(_) => Ok(FileType::from_mode(unsafe { stat.assume_init() }.st_mode)),
        // It may have gone meanwhile.
        Err(Failure::Errno(_)) => Ok(FileType::Unknown),
        Err(exit) => Err(exit),
    }
}
