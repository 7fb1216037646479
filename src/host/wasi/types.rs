//! Flags, enumerations and record layouts of preview 1, after `typenames.witx`.
//! Sizes and offsets are in bytes; all integers are little-endian.

use super::errno::Errno;

/// A set of flags over an integer, with a constant per flag.
macro_rules! flags {
    ($(#[$meta:meta])* $name:ident($repr:ty) { $($(#[$doc:meta])* $flag:ident = $bit:expr;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name(pub $repr);

        impl $name {
            $($(#[$doc])* pub const $flag: $name = $name(1 << $bit);)*
            /// Every flag that the witx text defines.
            pub const ALL: $name = $name(0 $(| 1 << $bit)*);

            /// No flag.
            pub const fn empty() -> $name { $name(0) }
            /// Whether all of `other` are set.
            pub const fn contains(self, other: $name) -> bool { self.0 & other.0 == other.0 }
            /// Whether any of `other` is set.
            pub const fn intersects(self, other: $name) -> bool { self.0 & other.0 != 0 }
            /// The flags of both.
            pub const fn with(self, other: $name) -> $name { $name(self.0 | other.0) }
            /// These flags less those of `other`.
            pub const fn without(self, other: $name) -> $name { $name(self.0 & !other.0) }
            /// The flags that are in both.
            pub const fn and(self, other: $name) -> $name { $name(self.0 & other.0) }
        }
    };
}

/// Reads flags that came as an `i32` parameter; unknown bits are `inval`.
macro_rules! flags_from_guest {
    ($($name:ident($repr:ty)),*) => {$(
        impl $name {
            /// Flags from a guest's parameter; `inval` if a bit is set that the witx text does not define.
            pub fn from_guest(raw: u32) -> Result<$name, Errno> {
                let bits = <$repr>::try_from(raw).map_err(|_| Errno::Inval)?;
                if bits & !$name::ALL.0 != 0 { Err(Errno::Inval) } else { Ok($name(bits)) }
            }
        }
    )*};
}

flags! {
    /// What may be done with a file descriptor (witx `rights`).
    Rights(u64) {
        /// `fd_datasync`.
        FD_DATASYNC = 0;
        /// `fd_read`, `sock_recv`; with `FD_SEEK` also `fd_pread`.
        FD_READ = 1;
        /// `fd_seek`; implies `FD_TELL`.
        FD_SEEK = 2;
        /// `fd_fdstat_set_flags`.
        FD_FDSTAT_SET_FLAGS = 3;
        /// `fd_sync`.
        FD_SYNC = 4;
        /// `fd_tell`, and `fd_seek` that does not move.
        FD_TELL = 5;
        /// `fd_write`, `sock_send`; with `FD_SEEK` also `fd_pwrite`.
        FD_WRITE = 6;
        /// `fd_advise`.
        FD_ADVISE = 7;
        /// `fd_allocate`.
        FD_ALLOCATE = 8;
        /// `path_create_directory`.
        PATH_CREATE_DIRECTORY = 9;
        /// `path_open` with `creat`.
        PATH_CREATE_FILE = 10;
        /// `path_link` from this directory.
        PATH_LINK_SOURCE = 11;
        /// `path_link` into this directory.
        PATH_LINK_TARGET = 12;
        /// `path_open`.
        PATH_OPEN = 13;
        /// `fd_readdir`.
        FD_READDIR = 14;
        /// `path_readlink`.
        PATH_READLINK = 15;
        /// `path_rename` from this directory.
        PATH_RENAME_SOURCE = 16;
        /// `path_rename` into this directory.
        PATH_RENAME_TARGET = 17;
        /// `path_filestat_get`.
        PATH_FILESTAT_GET = 18;
        /// `path_open` with `trunc`.
        PATH_FILESTAT_SET_SIZE = 19;
        /// `path_filestat_set_times`.
        PATH_FILESTAT_SET_TIMES = 20;
        /// `fd_filestat_get`.
        FD_FILESTAT_GET = 21;
        /// `fd_filestat_set_size`.
        FD_FILESTAT_SET_SIZE = 22;
        /// `fd_filestat_set_times`.
        FD_FILESTAT_SET_TIMES = 23;
        /// `path_symlink`.
        PATH_SYMLINK = 24;
        /// `path_remove_directory`.
        PATH_REMOVE_DIRECTORY = 25;
        /// `path_unlink_file`.
        PATH_UNLINK_FILE = 26;
        /// `poll_oneoff` on this descriptor.
        POLL_FD_READWRITE = 27;
        /// `sock_shutdown`.
        SOCK_SHUTDOWN = 28;
        /// `sock_accept`.
        SOCK_ACCEPT = 29;
    }
}

impl Rights {
    /// What applies to a directory.
    pub const DIRECTORY: Rights = Rights::ALL.without(
        Rights::FD_DATASYNC
            .with(Rights::FD_READ)
            .with(Rights::FD_SEEK)
            .with(Rights::FD_TELL)
            .with(Rights::FD_WRITE)
            .with(Rights::FD_ADVISE)
            .with(Rights::FD_ALLOCATE)
            .with(Rights::FD_FILESTAT_SET_SIZE)
            .with(Rights::SOCKET_ONLY),
    );
    /// What applies to files, pipes and devices.
    pub const FILE: Rights = Rights::FD_DATASYNC
        .with(Rights::FD_READ)
        .with(Rights::FD_SEEK)
        .with(Rights::FD_FDSTAT_SET_FLAGS)
        .with(Rights::FD_SYNC)
        .with(Rights::FD_TELL)
        .with(Rights::FD_WRITE)
        .with(Rights::FD_ADVISE)
        .with(Rights::FD_ALLOCATE)
        .with(Rights::FD_FILESTAT_GET)
        .with(Rights::FD_FILESTAT_SET_SIZE)
        .with(Rights::FD_FILESTAT_SET_TIMES)
        .with(Rights::POLL_FD_READWRITE);
    /// What applies to sockets.
    pub const SOCKET: Rights = Rights::FD_READ
        .with(Rights::FD_WRITE)
        .with(Rights::FD_FDSTAT_SET_FLAGS)
        .with(Rights::FD_FILESTAT_GET)
        .with(Rights::POLL_FD_READWRITE)
        .with(Rights::SOCKET_ONLY);
    const SOCKET_ONLY: Rights = Rights::SOCK_SHUTDOWN.with(Rights::SOCK_ACCEPT);
    /// What needs the host file to be open for writing.
    pub const NEEDS_WRITE: Rights =
        Rights::FD_WRITE.with(Rights::FD_ALLOCATE).with(Rights::FD_FILESTAT_SET_SIZE);

    /// Rights from a guest's parameter. Bits without a meaning grant nothing and are dropped, since
    /// programs do pass `!0` for "all of them".
    pub fn from_guest(raw: u64) -> Rights {
        Rights(raw).and(Rights::ALL)
    }
}

flags! {
    /// Modes of a descriptor (witx `fdflags`).
    FdFlags(u16) {
        /// Writes go to the end of the file.
        APPEND = 0;
        /// Writes return once the data is on the disk.
        DSYNC = 1;
        /// Calls return `again` where they would block.
        NONBLOCK = 2;
        /// Reads wait for pending writes.
        RSYNC = 3;
        /// Writes return once data and metadata are on the disk.
        SYNC = 4;
    }
}

impl FdFlags {
    /// The flags that a descriptor has from its opening to its end.
    pub const SYNCS: FdFlags = FdFlags::DSYNC.with(FdFlags::RSYNC).with(FdFlags::SYNC);

    /// The flags of `open(2)` for these.
    pub fn to_host(self) -> i32 {
        let mut host = 0;
        for (flag, bits) in [
            (FdFlags::APPEND, libc::O_APPEND),
            (FdFlags::DSYNC, libc::O_DSYNC),
            (FdFlags::NONBLOCK, libc::O_NONBLOCK),
            (FdFlags::RSYNC, libc::O_RSYNC),
            (FdFlags::SYNC, libc::O_SYNC),
        ] {
            if self.contains(flag) {
                host |= bits;
            }
        }
        host
    }

    /// The synchronisation flags among the kernel's flags of a descriptor. Linux has one bit for `sync`
    /// and `rsync`, which holds that of `dsync`.
    pub fn syncs_of_host(host: i32) -> FdFlags {
        if host & libc::O_SYNC == libc::O_SYNC {
            FdFlags::SYNC
        } else if host & libc::O_DSYNC != 0 {
            FdFlags::DSYNC
        } else {
            FdFlags::empty()
        }
    }
}

flags! {
    /// How to open (witx `oflags`).
    OFlags(u16) {
        /// Create the file if it does not exist.
        CREAT = 0;
        /// Fail if it is not a directory.
        DIRECTORY = 1;
        /// Fail if it exists.
        EXCL = 2;
        /// Truncate to size 0.
        TRUNC = 3;
    }
}

flags! {
    /// How to resolve a path (witx `lookupflags`).
    LookupFlags(u32) {
        /// Follow a symbolic link in the last component.
        SYMLINK_FOLLOW = 0;
    }
}

flags! {
    /// Which times to set (witx `fstflags`).
    FstFlags(u16) {
        /// Access time from the parameter.
        ATIM = 0;
        /// Access time from the clock.
        ATIM_NOW = 1;
        /// Modification time from the parameter.
        MTIM = 2;
        /// Modification time from the clock.
        MTIM_NOW = 3;
    }
}

flags! {
    /// How to receive (witx `riflags`).
    RiFlags(u16) {
        /// Leave the message in the queue.
        RECV_PEEK = 0;
        /// Block until the buffers are full.
        RECV_WAITALL = 1;
    }
}

flags! {
    /// Which directions of a socket to shut down (witx `sdflags`).
    SdFlags(u8) {
        /// No more receiving.
        RD = 0;
        /// No more sending.
        WR = 1;
    }
}

flags_from_guest!(
    FdFlags(u16),
    OFlags(u16),
    LookupFlags(u32),
    FstFlags(u16),
    RiFlags(u16),
    SdFlags(u8)
);

/// The type of a file (witx `filetype`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileType {
    /// None of the others; pipes are of this type too.
    Unknown,
    /// A block device.
    BlockDevice,
    /// A character device, such as a terminal.
    CharacterDevice,
    /// A directory.
    Directory,
    /// A regular file.
    RegularFile,
    /// A datagram socket.
    SocketDgram,
    /// A stream socket.
    SocketStream,
    /// A symbolic link.
    SymbolicLink,
}

impl FileType {
    /// The type that `st_mode` tells. A socket's kind is not in it and is given as stream.
    pub fn from_mode(mode: libc::mode_t) -> FileType {
        match mode & libc::S_IFMT {
            libc::S_IFBLK => FileType::BlockDevice,
            libc::S_IFCHR => FileType::CharacterDevice,
            libc::S_IFDIR => FileType::Directory,
            libc::S_IFREG => FileType::RegularFile,
            libc::S_IFSOCK => FileType::SocketStream,
            libc::S_IFLNK => FileType::SymbolicLink,
            _ => FileType::Unknown,
        }
    }

    /// The type that `d_type` of a directory entry tells; `None` if the file system does not say.
    pub fn from_dirent(d_type: u8) -> Option<FileType> {
        match d_type {
            libc::DT_UNKNOWN => None,
            libc::DT_BLK => Some(FileType::BlockDevice),
            libc::DT_CHR => Some(FileType::CharacterDevice),
            libc::DT_DIR => Some(FileType::Directory),
            libc::DT_REG => Some(FileType::RegularFile),
            libc::DT_SOCK => Some(FileType::SocketStream),
            libc::DT_LNK => Some(FileType::SymbolicLink),
            _ => Some(FileType::Unknown),
        }
    }

    /// Whether this is a socket of either kind.
    pub fn is_socket(self) -> bool {
        matches!(self, FileType::SocketDgram | FileType::SocketStream)
    }
}

/// Builds the image of a witx record: fields written at their offsets, padding zero.
pub(super) struct Record<const N: usize>([u8; N]);

impl<const N: usize> Record<N> {
    pub(super) fn new() -> Self {
        Record([0; N])
    }

    pub(super) fn put<const M: usize>(mut self, offset: usize, bytes: [u8; M]) -> Self {
        self.0[offset..offset + M].copy_from_slice(&bytes);
        self
    }

    pub(super) fn bytes(&self) -> &[u8; N] {
        &self.0
    }
}

/// Reads a field of a record's image.
pub(super) fn field<const M: usize>(record: &[u8], offset: usize) -> [u8; M] {
    let mut bytes = [0; M];
    bytes.copy_from_slice(&record[offset..offset + M]);
    bytes
}

/// The attributes of a descriptor (witx `fdstat`, 24 bytes).
pub(super) fn fdstat(
    filetype: FileType,
    flags: FdFlags,
    base: Rights,
    inheriting: Rights,
) -> Record<24> {
    Record::new()
        .put(0, [filetype as u8])
        .put(2, flags.0.to_le_bytes())
        .put(8, base.0.to_le_bytes())
        .put(16, inheriting.0.to_le_bytes())
}

/// The attributes of a file (witx `filestat`, 64 bytes); times in nanoseconds since 1970.
pub(super) fn filestat(stat: &libc::stat, filetype: FileType) -> Record<64> {
    Record::new()
        .put(0, stat.st_dev.to_le_bytes())
        .put(8, stat.st_ino.to_le_bytes())
        .put(16, [filetype as u8])
        .put(24, stat.st_nlink.to_le_bytes())
        .put(32, (stat.st_size as u64).to_le_bytes())
        .put(40, nanoseconds(stat.st_atime, stat.st_atime_nsec).to_le_bytes())
        .put(48, nanoseconds(stat.st_mtime, stat.st_mtime_nsec).to_le_bytes())
        .put(56, nanoseconds(stat.st_ctime, stat.st_ctime_nsec).to_le_bytes())
}

/// A time as witx `timestamp`; before 1970 it is 0, past 2554 it is the largest.
pub(super) fn nanoseconds(seconds: i64, nanoseconds: i64) -> u64 {
    match u64::try_from(seconds) {
        Ok(seconds) => seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds as u64),
        Err(_) => 0,
    }
}

/// A witx `timestamp` as the kernel's pair.
pub(super) fn timespec(nanoseconds: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanoseconds % 1_000_000_000) as libc::c_long,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_flag_bits_are_refused_and_unknown_rights_dropped() {
        assert_eq!(OFlags::from_guest(0b1001), Ok(OFlags::CREAT.with(OFlags::TRUNC)));
        assert_eq!(OFlags::from_guest(0b10000), Err(Errno::Inval));
        assert_eq!(FdFlags::from_guest(0x1_0000), Err(Errno::Inval));
        assert_eq!(Rights::from_guest(u64::MAX), Rights::ALL);
    }

    #[test]
    fn directory_rights_hold_no_file_rights() {
        assert!(!Rights::DIRECTORY.intersects(Rights::NEEDS_WRITE.with(Rights::FD_READ)));
        assert!(Rights::DIRECTORY.contains(Rights::PATH_OPEN.with(Rights::FD_READDIR)));
    }

    #[test]
    fn times_saturate() {
        assert_eq!(nanoseconds(-1, 5), 0);
        assert_eq!(nanoseconds(1, 5), 1_000_000_005);
        assert_eq!(nanoseconds(i64::MAX, 0), u64::MAX);
    }
}
