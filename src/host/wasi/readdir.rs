//! `fd_readdir`.
//!
//! A cookie is the kernel's own position in the directory, so that any call may begin anywhere. A listing
//! that goes on where the last call ended takes what was read ahead then, as `readdir` of a C library does:
//! on file systems whose positions are mere counts (overlayfs, tmpfs before Linux 6.6) a program that
//! removes what it has seen would otherwise skip entries. Of threads that list one directory at once, one
//! does so; the others open the directory anew. No lock is held meanwhile.

use super::errno::Errno;
use super::fd_table::File;
use super::memory::GuestMemory;
use super::sys::{Failure, Outcome, call, own};
use super::types::{FileType, Record, Rights, field};
use super::{Host, WasiCtx};
use parking_lot::Mutex;
use std::ffi::CStr;
use std::os::fd::AsRawFd;

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
    let result = memory.place(result, 4)?;
    let cookie = i64::try_from(cookie).map_err(|_| Errno::Inval)?;
    let mut out = Out { memory, at: buf, room: buf_len };
    match list(host, &entry.file, cookie, &mut out) {
        // A directory that was removed while open has no entries any more.
        Ok(()) | Err(Failure::Errno(Errno::Noent)) => {}
        Err(failure) => return Err(failure),
    }
    Ok(result.put((buf_len - out.room).to_le_bytes())?)
}

/// Where the listing of an open directory has come to.
#[derive(Default)]
pub(super) struct Listing(Mutex<State>);

#[derive(Default)]
enum State {
    /// Nothing is read ahead, and the kernel's position may be anywhere.
    #[default]
    Unknown,
    /// This is read ahead, and the kernel's position is at its end.
    Ahead(Ahead),
    /// A call is using the directory's descriptor, and so its position.
    Busy,
}

/// Entries that the kernel has given, and how many of them the guest has.
struct Ahead {
    /// 8-byte words, since the kernel's records are aligned so.
    chunk: Vec<u64>,
    /// Bytes of records in the chunk.
    filled: usize,
    /// Where in the chunk the next record for the guest begins.
    next: usize,
    /// The kernel's position before the first record.
    begin: i64,
}

impl Ahead {
    /// Nothing yet, from this position on.
    fn at(position: i64) -> Ahead {
        Ahead { chunk: Vec::new(), filled: 0, next: 0, begin: position }
    }

    /// The record at an offset, with the offset of the one after it.
    fn record(&self, at: usize) -> Option<(&[u8], usize)> {
        // SAFETY: the chunk's words are initialised, and `filled` bytes of them are within its length.
        let bytes =
            unsafe { std::slice::from_raw_parts(self.chunk.as_ptr().cast::<u8>(), self.filled) };
        let rest = bytes.get(at..).filter(|rest| rest.len() > NAME)?;
        let length = usize::from(u16::from_ne_bytes(field(rest, 16))).clamp(NAME, rest.len());
        Some((&rest[..length], at + length))
    }

    /// The kernel's position after the last record.
    fn end(&self) -> i64 {
        let (mut at, mut position) = (0, self.begin);
        while let Some((record, after)) = self.record(at) {
            (at, position) = (after, i64::from_ne_bytes(field(record, 8)));
        }
        position
    }

    /// Moves to a position, if it is among those that were read and not after what the guest has. Of several
    /// records with that position the last counts, so that a listing always makes progress.
    fn rewind(&mut self, position: i64) -> bool {
        let (mut at, mut found) = (0, (self.begin == position).then_some(0));
        while at < self.next
            && let Some((record, after)) = self.record(at)
        {
            at = after;
            if i64::from_ne_bytes(field(record, 8)) == position {
                found = Some(at);
            }
        }
        self.next = found.unwrap_or(self.next);
        found.is_some()
    }
}

/// Gives the directory's descriptor back when a call is done with it.
struct Turn<'a> {
    listing: &'a Listing,
    ahead: Option<Ahead>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.listing.0.lock() = self.ahead.take().map_or(State::Unknown, State::Ahead);
    }
}

/// Writes the entries from the cookie on until the buffer is full (the last one is cut then) or the directory
/// ends.
fn list(host: &dyn Host, file: &File, cookie: i64, out: &mut Out) -> Outcome {
    let dir = file.fd_or(Errno::Notdir)?;
    let state = std::mem::replace(&mut *file.listing.0.lock(), State::Busy);
    if let State::Busy = state {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: the path is a constant.
        let dir = own(call(host, || unsafe { libc::openat(dir, c".".as_ptr(), flags) })?.into());
        return list_from(host, dir.as_raw_fd(), &mut seek(host, dir.as_raw_fd(), cookie)?, out)
            .map(drop);
    }
    let mut turn = Turn { listing: &file.listing, ahead: None };
    let known = match state {
        // From the start a listing shows the directory as it is now.
        State::Ahead(mut ahead) if cookie != 0 => ahead.rewind(cookie).then_some(ahead),
        _ => None,
    };
    let mut ahead = match known {
        Some(ahead) => ahead,
        None => seek(host, dir, cookie)?,
    };
    let ended = list_from(host, dir, &mut ahead, out)?;
    turn.ahead = (!ended).then_some(ahead);
    Ok(())
}

fn seek(host: &dyn Host, dir: i32, position: i64) -> Outcome<Ahead> {
    // SAFETY: no memory is involved.
    call(host, || unsafe { libc::lseek(dir, position, libc::SEEK_SET) })?;
    Ok(Ahead::at(position))
}

/// Says whether the directory has ended.
fn list_from(host: &dyn Host, dir: i32, ahead: &mut Ahead, out: &mut Out) -> Outcome<bool> {
    while out.room != 0 {
        if let Some((record, after)) = ahead.record(ahead.next) {
            let name = CStr::from_bytes_until_nul(&record[NAME..]).map_err(|_| Errno::Io)?;
            put_entry(host, dir, record, name, out)?;
            ahead.next = after;
            continue;
        }
        // An entry that the guest got a part of is asked for again by the position before it, so the
        // last record stays findable: the position after it is where the next chunk begins.
        let begin = ahead.end();
        ahead.chunk.resize(CHUNK / 8, 0);
        // SAFETY: the kernel fills the chunk within its length.
        let filled = call(host, || unsafe {
            libc::syscall(libc::SYS_getdents64, dir, ahead.chunk.as_mut_ptr(), CHUNK)
        })?;
        (ahead.filled, ahead.next, ahead.begin) = (filled as usize, 0, begin);
        if filled == 0 {
            return Ok(true);
        }
    }
    Ok(false)
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

/// Writes one entry: witx `dirent` (24 bytes), then the name without a terminating zero.
fn put_entry(host: &dyn Host, dir: i32, record: &[u8], name: &CStr, out: &mut Out) -> Outcome {
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
fn lstat_type(host: &dyn Host, dir: i32, name: &CStr) -> Outcome<FileType> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel reads the name up to its zero and fills the buffer.
    let found = call(host, || unsafe {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        libc::fstatat(dir, name.as_ptr(), stat.as_mut_ptr(), flags)
    });
    match found {
        // SAFETY: the call has succeeded.
        Ok(_) => Ok(FileType::from_mode(unsafe { stat.assume_init() }.st_mode)),
        // It may have gone meanwhile.
        Err(Failure::Errno(_)) => Ok(FileType::Unknown),
        Err(exit) => Err(exit),
    }
}
