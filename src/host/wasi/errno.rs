//! The error codes of preview 1 (witx `errno`), and how the kernel's map onto them.

use std::fmt;
use std::io;

/// Writes the enum, its names and the way back from a number from one list, in witx order.
macro_rules! errnos {
    ($($variant:ident $name:literal $doc:literal;)*) => {
        /// An error code as the guest sees it (witx `errno`, a `u16` counted from 0).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Errno { $(#[doc = $doc] $variant),* }

        impl Errno {
            /// All codes, in the order of their numbers.
            pub const ALL: &[Errno] = &[$(Errno::$variant),*];

            /// The name that the witx text gives.
            pub fn name(self) -> &'static str {
                match self { $(Errno::$variant => $name),* }
            }
        }
    };
}

errnos! {
    Success "success" "No error occurred.";
    TooBig "2big" "Argument list too long.";
    Acces "acces" "Permission denied.";
    Addrinuse "addrinuse" "Address in use.";
    Addrnotavail "addrnotavail" "Address not available.";
    Afnosupport "afnosupport" "Address family not supported.";
    Again "again" "Resource unavailable, or operation would block.";
    Already "already" "Connection already in progress.";
    Badf "badf" "Bad file descriptor.";
    Badmsg "badmsg" "Bad message.";
    Busy "busy" "Device or resource busy.";
    Canceled "canceled" "Operation canceled.";
    Child "child" "No child processes.";
    Connaborted "connaborted" "Connection aborted.";
    Connrefused "connrefused" "Connection refused.";
    Connreset "connreset" "Connection reset.";
    Deadlk "deadlk" "Resource deadlock would occur.";
    Destaddrreq "destaddrreq" "Destination address required.";
    Dom "dom" "Mathematics argument out of domain of function.";
    Dquot "dquot" "Disk quota exceeded.";
    Exist "exist" "File exists.";
    Fault "fault" "Bad address.";
    Fbig "fbig" "File too large.";
    Hostunreach "hostunreach" "Host is unreachable.";
    Idrm "idrm" "Identifier removed.";
    Ilseq "ilseq" "Illegal byte sequence.";
    Inprogress "inprogress" "Operation in progress.";
    Intr "intr" "Interrupted function.";
    Inval "inval" "Invalid argument.";
    Io "io" "I/O error.";
    Isconn "isconn" "Socket is connected.";
    Isdir "isdir" "Is a directory.";
    Loop "loop" "Too many levels of symbolic links.";
    Mfile "mfile" "File descriptor value too large.";
    Mlink "mlink" "Too many links.";
    Msgsize "msgsize" "Message too large.";
    Multihop "multihop" "Reserved.";
    Nametoolong "nametoolong" "Filename too long.";
    Netdown "netdown" "Network is down.";
    Netreset "netreset" "Connection aborted by network.";
    Netunreach "netunreach" "Network unreachable.";
    Nfile "nfile" "Too many files open in system.";
    Nobufs "nobufs" "No buffer space available.";
    Nodev "nodev" "No such device.";
    Noent "noent" "No such file or directory.";
    Noexec "noexec" "Executable file format error.";
    Nolck "nolck" "No locks available.";
    Nolink "nolink" "Reserved.";
    Nomem "nomem" "Not enough space.";
    Nomsg "nomsg" "No message of the desired type.";
    Noprotoopt "noprotoopt" "Protocol not available.";
    Nospc "nospc" "No space left on device.";
    Nosys "nosys" "Function not supported.";
    Notconn "notconn" "The socket is not connected.";
    Notdir "notdir" "Not a directory or a symbolic link to a directory.";
    Notempty "notempty" "Directory not empty.";
    Notrecoverable "notrecoverable" "State not recoverable.";
    Notsock "notsock" "Not a socket.";
    Notsup "notsup" "Not supported, or operation not supported on socket.";
    Notty "notty" "Inappropriate I/O control operation.";
    Nxio "nxio" "No such device or address.";
    Overflow "overflow" "Value too large to be stored in data type.";
    Ownerdead "ownerdead" "Previous owner died.";
    Perm "perm" "Operation not permitted.";
    Pipe "pipe" "Broken pipe.";
    Proto "proto" "Protocol error.";
    Protonosupport "protonosupport" "Protocol not supported.";
    Prototype "prototype" "Protocol wrong type for socket.";
    Range "range" "Result too large.";
    Rofs "rofs" "Read-only file system.";
    Spipe "spipe" "Invalid seek.";
    Srch "srch" "No such process.";
    Stale "stale" "Reserved.";
    Timedout "timedout" "Connection timed out.";
    Txtbsy "txtbsy" "Text file busy.";
    Xdev "xdev" "Cross-device link.";
    Notcapable "notcapable" "Extension: capabilities insufficient.";
}

impl Errno {
    /// The code of a raw error number of the kernel; `io` for those that WASI has no name for.
    pub fn from_raw(raw: i32) -> Errno {
        match raw {
            libc::E2BIG => Errno::TooBig,
            libc::EACCES => Errno::Acces,
            libc::EADDRINUSE => Errno::Addrinuse,
            libc::EADDRNOTAVAIL => Errno::Addrnotavail,
            libc::EAFNOSUPPORT => Errno::Afnosupport,
            libc::EAGAIN => Errno::Again,
            libc::EALREADY => Errno::Already,
            libc::EBADF => Errno::Badf,
            libc::EBADMSG => Errno::Badmsg,
            libc::EBUSY => Errno::Busy,
            libc::ECANCELED => Errno::Canceled,
            libc::ECHILD => Errno::Child,
            libc::ECONNABORTED => Errno::Connaborted,
            libc::ECONNREFUSED => Errno::Connrefused,
            libc::ECONNRESET => Errno::Connreset,
            libc::EDEADLK => Errno::Deadlk,
            libc::EDESTADDRREQ => Errno::Destaddrreq,
            libc::EDOM => Errno::Dom,
            libc::EDQUOT => Errno::Dquot,
            libc::EEXIST => Errno::Exist,
            libc::EFAULT => Errno::Fault,
            libc::EFBIG => Errno::Fbig,
            libc::EHOSTUNREACH => Errno::Hostunreach,
            libc::EIDRM => Errno::Idrm,
            libc::EILSEQ => Errno::Ilseq,
            libc::EINPROGRESS => Errno::Inprogress,
            libc::EINTR => Errno::Intr,
            libc::EINVAL => Errno::Inval,
            libc::EISCONN => Errno::Isconn,
            libc::EISDIR => Errno::Isdir,
            libc::ELOOP => Errno::Loop,
            libc::EMFILE => Errno::Mfile,
            libc::EMLINK => Errno::Mlink,
            libc::EMSGSIZE => Errno::Msgsize,
            libc::EMULTIHOP => Errno::Multihop,
            libc::ENAMETOOLONG => Errno::Nametoolong,
            libc::ENETDOWN => Errno::Netdown,
            libc::ENETRESET => Errno::Netreset,
            libc::ENETUNREACH => Errno::Netunreach,
            libc::ENFILE => Errno::Nfile,
            libc::ENOBUFS => Errno::Nobufs,
            libc::ENODEV => Errno::Nodev,
            libc::ENOENT => Errno::Noent,
            libc::ENOEXEC => Errno::Noexec,
            libc::ENOLCK => Errno::Nolck,
            libc::ENOLINK => Errno::Nolink,
            libc::ENOMEM => Errno::Nomem,
            libc::ENOMSG => Errno::Nomsg,
            libc::ENOPROTOOPT => Errno::Noprotoopt,
            libc::ENOSPC => Errno::Nospc,
            libc::ENOSYS => Errno::Nosys,
            libc::ENOTCONN => Errno::Notconn,
            libc::ENOTDIR => Errno::Notdir,
            libc::ENOTEMPTY => Errno::Notempty,
            libc::ENOTRECOVERABLE => Errno::Notrecoverable,
            libc::ENOTSOCK => Errno::Notsock,
            libc::EOPNOTSUPP => Errno::Notsup,
            libc::ENOTTY => Errno::Notty,
            libc::ENXIO => Errno::Nxio,
            libc::EOVERFLOW => Errno::Overflow,
            libc::EOWNERDEAD => Errno::Ownerdead,
            libc::EPERM => Errno::Perm,
            libc::EPIPE => Errno::Pipe,
            libc::EPROTO => Errno::Proto,
            libc::EPROTONOSUPPORT => Errno::Protonosupport,
            libc::EPROTOTYPE => Errno::Prototype,
            libc::ERANGE => Errno::Range,
            libc::EROFS => Errno::Rofs,
            libc::ESPIPE => Errno::Spipe,
            libc::ESRCH => Errno::Srch,
            libc::ESTALE => Errno::Stale,
            libc::ETIMEDOUT => Errno::Timedout,
            libc::ETXTBSY => Errno::Txtbsy,
            libc::EXDEV => Errno::Xdev,
            _ => Errno::Io,
        }
    }
}

impl From<io::Error> for Errno {
    /// By the raw number where there is one, else by the kind (errors made in Rust have none).
    fn from(error: io::Error) -> Errno {
        use io::ErrorKind as Kind;
        match (error.raw_os_error(), error.kind()) {
            (Some(raw), _) => Errno::from_raw(raw),
            (_, Kind::NotFound) => Errno::Noent,
            (_, Kind::PermissionDenied) => Errno::Perm,
            (_, Kind::AlreadyExists) => Errno::Exist,
            (_, Kind::WouldBlock) => Errno::Again,
            (_, Kind::InvalidInput | Kind::InvalidData) => Errno::Inval,
            (_, Kind::BrokenPipe) => Errno::Pipe,
            (_, Kind::TimedOut) => Errno::Timedout,
            (_, Kind::Interrupted) => Errno::Intr,
            (_, Kind::Unsupported) => Errno::Notsup,
            (_, Kind::OutOfMemory) => Errno::Nomem,
            (_, Kind::StorageFull) => Errno::Nospc,
            _ => Errno::Io,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_witx_text() {
        // Anchors spread over the list: one entry too many or too few anywhere would move them.
        for (errno, number) in [
            (Errno::Success, 0),
            (Errno::Badf, 8),
            (Errno::Exist, 20),
            (Errno::Inval, 28),
            (Errno::Isdir, 31),
            (Errno::Noent, 44),
            (Errno::Nosys, 52),
            (Errno::Perm, 63),
            (Errno::Spipe, 70),
            (Errno::Notcapable, 76),
        ] {
            assert_eq!(errno as u16, number, "{errno}");
        }
        assert_eq!(Errno::ALL.len(), 77);
    }

    #[test]
    fn errors_without_a_number_map_by_kind() {
        assert_eq!(Errno::from(io::Error::from(io::ErrorKind::BrokenPipe)), Errno::Pipe);
        assert_eq!(Errno::from(io::Error::from_raw_os_error(libc::ENOTDIR)), Errno::Notdir);
        assert_eq!(Errno::from_raw(0x7fff_0000), Errno::Io);
    }
}
