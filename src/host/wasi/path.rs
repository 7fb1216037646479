//! Operations on paths: `path_*`. How paths are kept inside of their directory is in `resolve`.

use super::ctx::{applicable_rights, host_filetype};
use super::descriptor::times;
use super::errno::Errno;
use super::fd_table::{Backing, Entry, File};
use super::resolve::{self, GuestPath, Name, Root};
use super::sys::{self, Failure, Outcome, call};
use super::types::{FdFlags, FileType, FstFlags, LookupFlags, OFlags, Rights, filestat};
use super::{Host, WasiCtx};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

/// A directory that the guest names by its descriptor.
struct Directory(Entry);

impl Directory {
    /// The directory under `fd`, to read from.
    fn get(ctx: &WasiCtx, fd: u32, rights: Rights) -> Result<Directory, Errno> {
        ctx.files.directory(fd, rights).map(Directory)
    }

    /// The directory under `fd`, to change; `rofs` if it is read-only.
    fn get_writable(ctx: &WasiCtx, fd: u32, rights: Rights) -> Result<Directory, Errno> {
        let directory = Self::get(ctx, fd, rights)?;
        if directory.0.file.read_only { Err(Errno::Rofs) } else { Ok(directory) }
    }

    fn root(&self) -> Result<Root<'_>, Errno> {
        match &self.0.file.backing {
            Backing::Owned(fd) => Ok(Root { fd: fd.as_fd(), by_steps: self.0.file.by_steps }),
            // A standard stream, which has none of the rights to paths.
            _ => Err(Errno::Notcapable),
        }
    }

    /// Reads a path of the guest and resolves all but its last component.
    fn name(&self, host: &dyn Host, path: u64, len: u32) -> Outcome<Name<'_>> {
        let path = GuestPath::read(host.memory(), path, len)?;
        Name::resolve(host, self.root()?, &path)
    }

    /// Opens a path of the guest without access to its contents.
    fn locate(&self, host: &dyn Host, lookup: u32, path: u64, len: u32) -> Outcome<OwnedFd> {
        let nofollow = nofollow(LookupFlags::from_guest(lookup)?);
        let path = GuestPath::read(host.memory(), path, len)?;
        let flags = libc::O_PATH | libc::O_CLOEXEC | nofollow;
        resolve::open(host, self.root()?, path.as_c_str(), flags, 0)
    }
}

fn nofollow(lookup: LookupFlags) -> i32 {
    if lookup.contains(LookupFlags::SYMLINK_FOLLOW) { 0 } else { libc::O_NOFOLLOW }
}

pub(super) fn path_create_directory(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    path: u64,
    len: u32,
) -> Outcome {
    let dir = Directory::get_writable(ctx, fd, Rights::PATH_CREATE_DIRECTORY)?;
    let name = dir.name(host, path, len)?;
    // SAFETY: the kernel reads the name up to its zero.
    call(host, || unsafe { libc::mkdirat(name.dir(), name.as_ptr(), 0o777) })?;
    Ok(())
}

pub(super) fn path_remove_directory(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    path: u64,
    len: u32,
) -> Outcome {
    let dir = Directory::get_writable(ctx, fd, Rights::PATH_REMOVE_DIRECTORY)?;
    let name = dir.name(host, path, len)?;
    // SAFETY: the kernel reads the name up to its zero.
    call(host, || unsafe { libc::unlinkat(name.dir(), name.as_ptr(), libc::AT_REMOVEDIR) })?;
    Ok(())
}

pub(super) fn path_unlink_file(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    path: u64,
    len: u32,
) -> Outcome {
    let dir = Directory::get_writable(ctx, fd, Rights::PATH_UNLINK_FILE)?;
    let name = dir.name(host, path, len)?;
    name.check_slash(host)?;
    // SAFETY: the kernel reads the name up to its zero.
    call(host, || unsafe { libc::unlinkat(name.dir(), name.as_ptr(), 0) })?;
    Ok(())
}

pub(super) fn path_rename(
    ctx: &WasiCtx,
    host: &dyn Host,
    old_fd: u32,
    old_path: u64,
    old_len: u32,
    new_fd: u32,
    new_path: u64,
    new_len: u32,
) -> Outcome {
    let old_dir = Directory::get_writable(ctx, old_fd, Rights::PATH_RENAME_SOURCE)?;
    let new_dir = Directory::get_writable(ctx, new_fd, Rights::PATH_RENAME_TARGET)?;
    let old = old_dir.name(host, old_path, old_len)?;
    let new = new_dir.name(host, new_path, new_len)?;
    // Of "." the kernel says by itself that it cannot be renamed.
    if (old.slash || new.slash) && !old.is_dot() && !new.is_dot() && !old.is_directory(host)? {
        return Err(Errno::Notdir.into());
    }
    // SAFETY: the kernel reads both names up to their zeros.
    call(host, || unsafe { libc::renameat(old.dir(), old.as_ptr(), new.dir(), new.as_ptr()) })?;
    Ok(())
}

/// Makes a hard link. A link in the last component of the old path is never followed: a flag that asks
/// for it gives `inval`.
pub(super) fn path_link(
    ctx: &WasiCtx,
    host: &dyn Host,
    old_fd: u32,
    old_flags: u32,
    old_path: u64,
    old_len: u32,
    new_fd: u32,
    new_path: u64,
    new_len: u32,
) -> Outcome {
    if old_flags != 0 {
        return Err(Errno::Inval.into());
    }
    // The old directory must be writable too: a link elsewhere would be a way to change the file.
    let old_dir = Directory::get_writable(ctx, old_fd, Rights::PATH_LINK_SOURCE)?;
    let new_dir = Directory::get_writable(ctx, new_fd, Rights::PATH_LINK_TARGET)?;
    let old = old_dir.name(host, old_path, old_len)?;
    let new = new_dir.name(host, new_path, new_len)?;
    if old.slash {
        // With slashes a link is followed, and what is left is a directory or an error.
        old_dir.locate(host, LookupFlags::SYMLINK_FOLLOW.0, old_path, old_len)?;
        return Err(Errno::Perm.into());
    }
    new.refuse_slash(host)?;
    // SAFETY: the kernel reads both names up to their zeros.
    call(host, || unsafe { libc::linkat(old.dir(), old.as_ptr(), new.dir(), new.as_ptr(), 0) })?;
    Ok(())
}

/// Makes a symbolic link. An absolute target gives `perm`: it would mean nothing in the sandbox, and
/// might mislead programs outside of it.
pub(super) fn path_symlink(
    ctx: &WasiCtx,
    host: &dyn Host,
    target: u64,
    target_len: u32,
    fd: u32,
    path: u64,
    len: u32,
) -> Outcome {
    let dir = Directory::get_writable(ctx, fd, Rights::PATH_SYMLINK)?;
    let target = GuestPath::read(host.memory(), target, target_len)?;
    let name = dir.name(host, path, len)?;
    name.refuse_slash(host)?;
    // SAFETY: the kernel reads both texts up to their zeros.
    call(host, || unsafe {
        libc::symlinkat(target.as_c_str().as_ptr(), name.dir(), name.as_ptr())
    })?;
    Ok(())
}

/// Gives the text of a link as it stands, cut to the buffer. A link's own permission to be followed is
/// another matter, so targets outside of the sandbox are shown too.
pub(super) fn path_readlink(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    path: u64,
    len: u32,
    buf: u64,
    buf_len: u32,
    result: u64,
) -> Outcome {
    let dir = Directory::get(ctx, fd, Rights::PATH_READLINK)?;
    let name = dir.name(host, path, len)?;
    let memory = host.memory();
    let result = memory.place(result, 4)?;
    let (to, room) = memory.slice_for_syscall(buf, buf_len.into())?;
    if name.slash {
        // With slashes the link would be followed, and what is left is a directory or an error.
        dir.locate(host, LookupFlags::SYMLINK_FOLLOW.0, path, len)?;
        return Err(Errno::Inval.into());
    }
    // The kernel takes the length as an int; no link is longer than a path. And it refuses to fill no
    // room, where WASI has a text that is cut to nothing.
    let mut none = [0u8; 1];
    let (to, ask) = match room.min(libc::PATH_MAX as usize) {
        0 => (none.as_mut_ptr(), 1),
        ask => (to, ask),
    };
    // SAFETY: the kernel fills `ask` bytes, of guest memory that was checked or of `none`.
    let n = call(host, || unsafe { libc::readlinkat(name.dir(), name.as_ptr(), to.cast(), ask) })?;
    Ok(result.put((n as u32).min(buf_len).to_le_bytes())?)
}

pub(super) fn path_filestat_get(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    lookup: u32,
    path: u64,
    len: u32,
    result: u64,
) -> Outcome {
    let dir = Directory::get(ctx, fd, Rights::PATH_FILESTAT_GET)?;
    let result = host.memory().place(result, 8)?;
    let file = dir.locate(host, lookup, path, len)?;
    let stat = sys::fstat(file.as_raw_fd())?;
    let record = filestat(&stat, FileType::from_mode(stat.st_mode));
    Ok(result.put(*record.bytes())?)
}

pub(super) fn path_filestat_set_times(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    lookup: u32,
    path: u64,
    len: u32,
    atim: u64,
    mtim: u64,
    flags: u32,
) -> Outcome {
    let times = times(atim, mtim, FstFlags::from_guest(flags)?)?;
    let dir = Directory::get_writable(ctx, fd, Rights::PATH_FILESTAT_SET_TIMES)?;
    let file = dir.locate(host, lookup, path, len)?;
    let fd = file.as_raw_fd();
    // SAFETY: the kernel reads the two timespecs; the empty path means the descriptor itself, be it a
    // link or what the link stands for.
    call(host, || unsafe {
        libc::utimensat(fd, c"".as_ptr(), times.as_ptr(), libc::AT_EMPTY_PATH)
    })?;
    Ok(())
}

pub(super) fn path_open(
    ctx: &WasiCtx,
    host: &dyn Host,
    fd: u32,
    lookup: u32,
    path: u64,
    len: u32,
    oflags: u32,
    base: u64,
    inheriting: u64,
    fdflags: u32,
    result: u64,
) -> Outcome {
    let request = Request {
        lookup: LookupFlags::from_guest(lookup)?,
        oflags: OFlags::from_guest(oflags)?,
        base: Rights::from_guest(base),
        inheriting: Rights::from_guest(inheriting),
        fdflags: FdFlags::from_guest(fdflags)?,
    };
    let result = host.memory().place(result, 4)?;
    let dir = Directory::get(ctx, fd, request.directory_rights())?;
    if !request.may_inherit(&dir.0) {
        return Err(Errno::Notcapable.into());
    }
    let path = GuestPath::read(host.memory(), path, len)?;
    let file = request.open(host, &dir, &path)?;

    let filetype = host_filetype(file.as_raw_fd(), &sys::fstat(file.as_raw_fd())?);
    let applicable = applicable_rights(file.as_raw_fd(), filetype);
    let directory = filetype == FileType::Directory;
    let entry = Entry {
        base: request.base.and(applicable),
        inheriting: if directory { request.inheriting } else { Rights::empty() },
        file: Arc::new(File {
            syncs: request.fdflags.and(FdFlags::SYNCS),
            read_only: dir.0.file.read_only,
            by_steps: dir.0.file.by_steps,
            ..File::new(Backing::Owned(file), filetype)
        }),
    };
    let opened = ctx.files.insert(entry)?;
    Ok(result.put(opened.to_le_bytes())?)
}

/// What a guest asks `path_open` for.
struct Request {
    lookup: LookupFlags,
    oflags: OFlags,
    base: Rights,
    inheriting: Rights,
    fdflags: FdFlags,
}

impl Request {
    /// What the directory's own rights must hold.
    fn directory_rights(&self) -> Rights {
        let mut rights = Rights::PATH_OPEN;
        if self.oflags.contains(OFlags::CREAT) {
            rights = rights.with(Rights::PATH_CREATE_FILE);
        }
        if self.oflags.contains(OFlags::TRUNC) {
            rights = rights.with(Rights::PATH_FILESTAT_SET_SIZE);
        }
        rights
    }

    /// Whether the directory passes on the rights that are asked for, and has those to synchronise: of
    /// `fd_datasync` the witx text says that it includes opening with `dsync`, of `fd_sync` that it
    /// includes `dsync` and `rsync`.
    fn may_inherit(&self, directory: &Entry) -> bool {
        let held = directory.base.with(directory.inheriting);
        let synced = match self.fdflags.and(FdFlags::SYNCS) {
            FdFlags::DSYNC => held.intersects(Rights::FD_DATASYNC.with(Rights::FD_SYNC)),
            none if none == FdFlags::empty() => true,
            _ => held.contains(Rights::FD_SYNC),
        };
        synced && directory.inheriting.contains(self.base.with(self.inheriting))
    }

    fn open(&self, host: &dyn Host, dir: &Directory, path: &GuestPath) -> Outcome<OwnedFd> {
        let has = |flag| self.oflags.contains(flag);
        // Linux once made a file of this combination, and refuses it now.
        if has(OFlags::CREAT) && has(OFlags::DIRECTORY) {
            return Err(Errno::Inval.into());
        }
        let write = self.base.intersects(Rights::NEEDS_WRITE) || has(OFlags::TRUNC);
        let read = self.base.intersects(Rights::FD_READ.with(Rights::FD_READDIR));
        let mut flags = match (read, write) {
            (true, true) => libc::O_RDWR,
            (false, true) => libc::O_WRONLY,
            (_, false) => libc::O_RDONLY,
        };
        flags |= libc::O_CLOEXEC | libc::O_NOCTTY | nofollow(self.lookup) | self.fdflags.to_host();
        for (flag, bits) in [
            (OFlags::CREAT, libc::O_CREAT),
            (OFlags::DIRECTORY, libc::O_DIRECTORY),
            (OFlags::TRUNC, libc::O_TRUNC),
        ] {
            if has(flag) {
                flags |= bits;
            }
        }
        // Without `creat` the kernel leaves open what it means.
        if has(OFlags::CREAT) && has(OFlags::EXCL) {
            flags |= libc::O_EXCL;
        }
        let open = |flags| resolve::open(host, dir.root()?, path.as_c_str(), flags, 0o666);
        if !dir.0.file.read_only {
            return open(flags);
        }
        // As on a file system that is mounted read-only: what exists may be opened with `creat`.
        if write {
            return Err(Errno::Rofs.into());
        }
        match open(flags & !(libc::O_CREAT | libc::O_EXCL)) {
            Err(Failure::Errno(Errno::Noent)) if has(OFlags::CREAT) => Err(Errno::Rofs.into()),
            Ok(_) if has(OFlags::CREAT) && has(OFlags::EXCL) => Err(Errno::Exist.into()),
            opened => opened,
        }
    }
}
