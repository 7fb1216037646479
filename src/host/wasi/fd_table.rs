//! The table of open files, which all threads of a program share.
//!
//! Its lock is held for a look-up and never across a system call: a call takes a share of the open file
//! out of the table first. So a file that one thread closes while another reads it stays open until that
//! read has returned, and the number is free at once.

use super::errno::Errno;
use super::readdir::Listing;
use super::stream::{InputStream, OutputStream};
use super::types::{FdFlags, FileType, Rights};
use parking_lot::RwLock;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What stands behind an open file.
pub(super) enum Backing {
    /// A descriptor that ends with the file.
    Owned(OwnedFd),
    /// A descriptor of the process (0, 1, 2), which outlives it.
    Inherited(BorrowedFd<'static>),
    /// The embedder's input.
    Input(Arc<dyn InputStream>),
    /// The embedder's output.
    Output(Arc<dyn OutputStream>),
}

/// An open file. The offset is the kernel's, in the open file description, as POSIX has it.
pub(super) struct File {
    pub backing: Backing,
    pub filetype: FileType,
    /// The synchronisation flags it was opened with; the kernel does not tell them apart afterwards.
    pub syncs: FdFlags,
    /// Below a read-only directory: whatever would change the file system gives `rofs`.
    pub read_only: bool,
    /// Of a directory: resolve paths without `openat2`.
    pub by_steps: bool,
    /// The guest's name of a preopened directory.
    pub preopen: Option<Vec<u8>>,
    /// Of a directory: where `fd_readdir` has come to.
    pub listing: Listing,
}

impl File {
    /// A file that is not a preopened directory.
    pub fn new(backing: Backing, filetype: FileType) -> File {
        File {
            backing,
            filetype,
            syncs: FdFlags::empty(),
            read_only: false,
            by_steps: false,
            preopen: None,
            listing: Listing::default(),
        }
    }

    /// The host's descriptor; `None` for streams of the embedder.
    pub fn fd(&self) -> Option<i32> {
        match &self.backing {
            Backing::Owned(fd) => Some(fd.as_raw_fd()),
            Backing::Inherited(fd) => Some(fd.as_raw_fd()),
            Backing::Input(_) | Backing::Output(_) => None,
        }
    }

    /// The host's descriptor; streams of the embedder give `errno`, as a pipe would.
    pub fn fd_or(&self, errno: Errno) -> Result<i32, Errno> {
        self.fd().ok_or(errno)
    }
}

/// An open file with the rights that one descriptor has to it.
#[derive(Clone)]
pub(super) struct Entry {
    pub file: Arc<File>,
    pub base: Rights,
    pub inheriting: Rights,
}

impl Entry {
    /// Checks for rights: `notcapable` if any is missing, but `isdir` for reading or writing a
    /// directory, as POSIX has it.
    pub fn require(&self, rights: Rights) -> Result<(), Errno> {
        if self.base.contains(rights) {
            Ok(())
        } else if self.file.filetype == FileType::Directory
            && rights.intersects(Rights::FD_READ.with(Rights::FD_WRITE))
        {
            Err(Errno::Isdir)
        } else {
            Err(Errno::Notcapable)
        }
    }
}

/// More descriptors than any process of Linux may have by default.
const MAX_DESCRIPTORS: usize = 1 << 20;

/// The descriptors of a program.
#[derive(Default)]
pub(super) struct FdTable {
    slots: RwLock<Slots>,
}

#[derive(Default)]
struct Slots {
    entries: Vec<Option<Entry>>,
    /// No slot below this one is free.
    first_free: usize,
}

impl Slots {
    fn get_mut(&mut self, fd: u32) -> Result<&mut Option<Entry>, Errno> {
        self.entries.get_mut(fd as usize).filter(|slot| slot.is_some()).ok_or(Errno::Badf)
    }
}

impl FdTable {
    /// Adds a file under the lowest free number; `mfile` if the table is full.
    pub fn insert(&self, entry: Entry) -> Result<u32, Errno> {
        let mut slots = self.slots.write();
        let from = slots.first_free;
        let index = (from..slots.entries.len())
            .find(|&i| slots.entries[i].is_none())
            .unwrap_or(slots.entries.len());
        if index == slots.entries.len() {
            if index == MAX_DESCRIPTORS {
                return Err(Errno::Mfile);
            }
            slots.entries.push(None);
        }
        slots.entries[index] = Some(entry);
        slots.first_free = index + 1;
        Ok(index as u32)
    }

    /// A share of the file under `fd`; `badf` if there is none.
    pub fn get(&self, fd: u32) -> Result<Entry, Errno> {
        self.slots.read().entries.get(fd as usize).cloned().flatten().ok_or(Errno::Badf)
    }

    /// Like [`FdTable::get`], and checks for rights.
    pub fn get_with(&self, fd: u32, rights: Rights) -> Result<Entry, Errno> {
        let entry = self.get(fd)?;
        entry.require(rights)?;
        Ok(entry)
    }

    /// A directory to which there are these rights; `notdir` for any other file.
    pub fn directory(&self, fd: u32, rights: Rights) -> Result<Entry, Errno> {
        let entry = self.get(fd)?;
        if entry.file.filetype != FileType::Directory {
            return Err(Errno::Notdir);
        }
        entry.require(rights)?;
        Ok(entry)
    }

    /// Takes a file out. The caller drops it, so that the closing happens outside of the lock.
    pub fn remove(&self, fd: u32) -> Result<Entry, Errno> {
        let mut slots = self.slots.write();
        let entry = slots.get_mut(fd)?.take().ok_or(Errno::Badf)?;
        slots.first_free = slots.first_free.min(fd as usize);
        Ok(entry)
    }

    /// Moves a file from one number to another in one step, and returns the file that was there. Both
    /// must be open, so that a guest cannot pick numbers.
    pub fn renumber(&self, from: u32, to: u32) -> Result<Option<Entry>, Errno> {
        let mut slots = self.slots.write();
        slots.get_mut(to)?;
        let moved = slots.get_mut(from)?;
        if from == to {
            return Ok(None);
        }
        let moved = moved.take();
        slots.first_free = slots.first_free.min(from as usize);
        Ok(std::mem::replace(slots.get_mut(to)?, moved))
    }

    /// Narrows the rights of a descriptor; `notcapable` if that would add one.
    pub fn limit_rights(&self, fd: u32, base: Rights, inheriting: Rights) -> Result<(), Errno> {
        let mut slots = self.slots.write();
        let entry = slots.get_mut(fd)?.as_mut().ok_or(Errno::Badf)?;
        if !entry.base.contains(base) || !entry.inheriting.contains(inheriting) {
            return Err(Errno::Notcapable);
        }
        entry.base = base;
        entry.inheriting = inheriting;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::Discard;
    use super::*;

    fn entry() -> Entry {
        let file = File::new(Backing::Output(Arc::new(Discard)), FileType::Unknown);
        Entry { file: Arc::new(file), base: Rights::FILE, inheriting: Rights::empty() }
    }

    #[test]
    fn the_lowest_free_number_is_taken() {
        let table = FdTable::default();
        for expected in 0..5 {
            assert_eq!(table.insert(entry()), Ok(expected));
        }
        table.remove(3).map(drop).unwrap();
        table.remove(1).map(drop).unwrap();
        assert_eq!(table.remove(1).err(), Some(Errno::Badf));
        assert_eq!(table.insert(entry()), Ok(1));
        assert_eq!(table.insert(entry()), Ok(3));
        assert_eq!(table.insert(entry()), Ok(5));
        assert_eq!(table.get(6).err(), Some(Errno::Badf));
        assert_eq!(table.get(u32::MAX).err(), Some(Errno::Badf));
    }

    #[test]
    fn renumber_needs_both_and_frees_the_source() {
        let table = FdTable::default();
        let (a, b) = (entry(), entry());
        table.insert(a.clone()).unwrap();
        table.insert(b.clone()).unwrap();
        assert_eq!(table.renumber(0, 2).err(), Some(Errno::Badf));
        assert_eq!(table.renumber(2, 0).err(), Some(Errno::Badf));
        assert!(matches!(table.renumber(1, 1), Ok(None)));
        let replaced = table.renumber(1, 0).unwrap().unwrap();
        assert!(Arc::ptr_eq(&replaced.file, &a.file));
        assert!(Arc::ptr_eq(&table.get(0).unwrap().file, &b.file));
        assert_eq!(table.get(1).err(), Some(Errno::Badf));
        assert_eq!(table.insert(entry()), Ok(1));
    }

    #[test]
    fn rights_only_shrink() {
        let table = FdTable::default();
        table.insert(entry()).unwrap();
        let less = Rights::FILE.without(Rights::FD_WRITE);
        assert_eq!(table.limit_rights(0, less, Rights::empty()), Ok(()));
        assert_eq!(table.get_with(0, Rights::FD_WRITE).err(), Some(Errno::Notcapable));
        assert_eq!(table.limit_rights(0, Rights::FILE, Rights::empty()), Err(Errno::Notcapable));
        assert_eq!(table.limit_rights(0, less, Rights::FD_READ), Err(Errno::Notcapable));
    }
}
