//! The world that a program sees: arguments, environment and open files.

use super::fd_table::{Backing, Entry, FdTable, File};
use super::stream::{Discard, InputStream, MemoryInput, OutputStream, Reader, Writer};
use super::sys;
use super::types::{FdFlags, FileType, Rights};
use parking_lot::Mutex;
use std::ffi::{CString, OsString};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments, environment and open files of one program; its threads share one through an `Arc`.
pub struct WasiCtx {
    pub(super) args: StringTable,
    pub(super) env: StringTable,
    pub(super) files: FdTable,
    listeners: Vec<(u32, SocketAddr)>,
}

impl WasiCtx {
    /// Starts with no arguments, an empty environment, an empty standard input, and output discarded.
    pub fn builder() -> WasiCtxBuilder {
        WasiCtxBuilder::default()
    }

    /// What [`WasiCtxBuilder::tcp_listener`] has made: the guest's descriptor of each, and its address.
    pub fn listeners(&self) -> &[(u32, SocketAddr)] {
        &self.listeners
    }
}

/// Whether an address to listen on has the form that [`WasiCtxBuilder::tcp_listener`] takes, `HOST:PORT`: a
/// name, an IPv4 address, or an IPv6 address in brackets.
pub fn is_listen_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok()
        && !host.is_empty()
        && (bracketed || !host.contains([':', '[', ']']))
}

fn listen(address: String) -> Result<TcpListener, WasiCtxError> {
    if !is_listen_address(&address) {
        return Err(WasiCtxError::Address { address });
    }
    TcpListener::bind(&address).map_err(|source| WasiCtxError::Listen { address, source })
}

/// Strings, each with its terminating zero, back to back as `args_get` hands them out.
#[derive(Default)]
pub(super) struct StringTable {
    pub bytes: Vec<u8>,
    /// Where each string starts, in bytes.
    pub starts: Vec<u32>,
}

impl StringTable {
    fn push(&mut self, string: &[u8]) {
        self.starts.push(self.bytes.len() as u32);
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
    }
}

/// Why a [`WasiCtx`] could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WasiCtxError {
    /// A directory for the guest could not be opened.
    #[error("cannot open directory {} (for the guest: {guest})", host.display())]
    Preopen {
        /// The host's path.
        host: PathBuf,
        /// The guest's path.
        guest: String,
        /// What the system says.
        source: io::Error,
    },
    /// A guest path is empty or holds a zero byte.
    #[error("bad guest path {guest:?} for directory {}: it is empty or holds a zero byte", host.display())]
    GuestPath {
        /// The host's path.
        host: PathBuf,
        /// The guest's path.
        guest: String,
    },
    /// An argument holds a zero byte.
    #[error("argument {index} holds a zero byte")]
    Argument {
        /// Its position; 0 is the program's name.
        index: usize,
    },
    /// A variable's name is empty or holds `=`, or the name or value holds a zero byte.
    #[error("bad environment variable {name:?}: an empty name, a '=' in it, or a zero byte")]
    Variable {
        /// The variable's name.
        name: String,
    },
    /// Arguments or environment do not fit in a guest's address space.
    #[error("arguments or environment are larger than 4 GiB")]
    TooBig,
    /// An address to listen on is not of the form `HOST:PORT`.
    #[error("bad address {address:?}: expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")]
    Address {
        /// The address.
        address: String,
    },
    /// The process cannot listen on an address: it is in use, not of this machine, or not allowed.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// A standard stream cannot be used.
    #[error("cannot use file descriptor {fd} as a standard stream or socket")]
    Descriptor {
        /// The host's descriptor.
        fd: i32,
        /// What the system says.
        source: io::Error,
    },
}

enum Stdio {
    Inherit,
    Fd(OwnedFd),
    Input(Arc<dyn InputStream>),
    Output(Arc<dyn OutputStream>),
}

struct Preopen {
    host: PathBuf,
    guest: String,
    read_only: bool,
}

enum Socket {
    Given(OwnedFd),
    /// To be made at the end.
    Listen(String),
}

/// Collects what a program shall see. Nothing is opened before [`WasiCtxBuilder::build`].
///
/// ```
/// use updraft::host::wasi::{MemoryInput, MemoryOutput};
/// use updraft::{Engine, Linker, Module, Process, ProcessConfig, WasiCtxBuilder};
///
/// let engine = Engine::default();
/// // Writes the first bytes of its input to its output.
/// let module = Module::new(&engine, r#"(module
///     (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
///     (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
///     (memory (export "memory") 1)
///     (data (i32.const 0) "\10\00\00\00\05\00\00\00")
///     (func (export "_start")
///         (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
///         (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#)?;
/// let output = MemoryOutput::new();
/// let wasi = WasiCtxBuilder::new()
///     .args(["program", "--fast"])
///     .stdin(MemoryInput::new("hello, world"))
///     .stdout(output.clone())
///     .stderr_to(std::io::sink())
///     .build()?;
/// let mut linker = Linker::new(&engine);
/// updraft::add_wasi(&mut linker, wasi);
/// Process::new(&linker, &module, &ProcessConfig::default())?.run()?;
/// assert_eq!(output.contents(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WasiCtxBuilder {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdio: [Stdio; 3],
    preopens: Vec<Preopen>,
    sockets: Vec<Socket>,
    by_steps: bool,
}

impl Default for WasiCtxBuilder {
    fn default() -> Self {
        WasiCtxBuilder {
            args: Vec::new(),
            env: Vec::new(),
            stdio: [
                Stdio::Input(Arc::new(MemoryInput::default())),
                Stdio::Output(Arc::new(Discard)),
                Stdio::Output(Arc::new(Discard)),
            ],
            preopens: Vec::new(),
            sockets: Vec::new(),
            by_steps: false,
        }
    }
}

impl WasiCtxBuilder {
    /// See [`WasiCtx::builder`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one argument; the first is the program's name.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable. The last value given for a name counts.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let name = name.into();
        self.env.retain(|(old, _)| *old != name);
        self.env.push((name, value.into()));
        self
    }

    /// Takes over all environment variables of this process.
    pub fn inherit_env(self) -> Self {
        std::env::vars_os().fold(self, |builder, (name, value)| builder.env(name, value))
    }

    /// Lets the guest use descriptors 0, 1 and 2 of this process, unbuffered. The guest's flags on them
    /// (`nonblock`, `append`) are the process's own.
    pub fn inherit_stdio(mut self) -> Self {
        self.stdio = [Stdio::Inherit, Stdio::Inherit, Stdio::Inherit];
        self
    }

    /// Standard input from a stream of the embedder.
    pub fn stdin(mut self, stream: impl InputStream + 'static) -> Self {
        self.stdio[0] = Stdio::Input(Arc::new(stream));
        self
    }

    /// Standard output to a stream of the embedder.
    pub fn stdout(mut self, stream: impl OutputStream + 'static) -> Self {
        self.stdio[1] = Stdio::Output(Arc::new(stream));
        self
    }

    /// Standard error output to a stream of the embedder.
    pub fn stderr(mut self, stream: impl OutputStream + 'static) -> Self {
        self.stdio[2] = Stdio::Output(Arc::new(stream));
        self
    }

    /// Standard input from a reader. It should have what it gives at hand: a thread that it blocks cannot be stopped. For input that
    /// comes later, see [`WasiCtxBuilder::stdin_fd`].
    pub fn stdin_from(self, reader: impl io::Read + Send + 'static) -> Self {
        self.stdin(Reader(Mutex::new(reader)))
    }

    /// Standard output to a writer, which is flushed after each write of the guest.
    pub fn stdout_to(self, writer: impl io::Write + Send + 'static) -> Self {
        self.stdout(Writer(Mutex::new(writer)))
    }

    /// Standard error output to a writer, which is flushed after each write of the guest.
    pub fn stderr_to(self, writer: impl io::Write + Send + 'static) -> Self {
        self.stderr(Writer(Mutex::new(writer)))
    }

    /// Standard input from a file, pipe or socket. A pipe ([`std::io::pipe`]) is the way to feed a program that runs: a thread that
    /// waits for input can be stopped, and `poll_oneoff` waits for it.
    pub fn stdin_fd(mut self, fd: impl Into<OwnedFd>) -> Self {
        self.stdio[0] = Stdio::Fd(fd.into());
        self
    }

    /// Standard output to a file, pipe or socket.
    pub fn stdout_fd(mut self, fd: impl Into<OwnedFd>) -> Self {
        self.stdio[1] = Stdio::Fd(fd.into());
        self
    }

    /// Standard error output to a file, pipe or socket.
    pub fn stderr_fd(mut self, fd: impl Into<OwnedFd>) -> Self {
        self.stdio[2] = Stdio::Fd(fd.into());
        self
    }

    /// Gives the guest a directory of the host, and all below it, under a path of the guest. In a
    /// `read_only` one, whatever would change the file system gives `rofs`.
    pub fn preopened_dir(
        mut self,
        host: impl AsRef<Path>,
        guest: impl Into<String>,
        read_only: bool,
    ) -> Self {
        let host = host.as_ref().to_path_buf();
        self.preopens.push(Preopen { host, guest: guest.into(), read_only });
        self
    }

    /// Gives the guest a socket: one that listens, for `sock_accept`, or one that is connected. Sockets are
    /// numbered after the preopened directories, so that programs find those: a C library looks at the
    /// descriptors from 3 on until one is no directory.
    pub fn preopened_socket(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.sockets.push(Socket::Given(socket.into()));
        self
    }

    /// Listens for TCP connections on an address, `HOST:PORT`, and gives the guest the socket as
    /// [`preopened_socket`](Self::preopened_socket) does. With port 0 the system chooses one:
    /// [`WasiCtx::listeners`] tells. Accepting blocks, unless the guest sets `nonblock` on the listener.
    ///
    /// ```
    /// let wasi = updraft::WasiCtxBuilder::new()
    ///     .preopened_dir("/tmp", "/data", false)
    ///     .tcp_listener("127.0.0.1:0")
    ///     .build()?;
    /// let [(fd, address)] = *wasi.listeners() else { panic!("one listener") };
    /// assert_eq!(fd, 4);
    /// std::net::TcpStream::connect(address)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tcp_listener(mut self, address: impl Into<String>) -> Self {
        self.sockets.push(Socket::Listen(address.into()));
        self
    }

    /// Has paths walked component by component, as is done where the kernel lacks `openat2`. For tests of
    /// that way on kernels that have it.
    #[doc(hidden)]
    pub fn resolve_by_steps(mut self) -> Self {
        self.by_steps = true;
        self
    }

    /// Opens the directories, starts to listen, and makes the context. Descriptors are 0 to 2 for the
    /// standard streams, then directories, then sockets, each in the order they were given.
    ///
    /// # Errors
    /// If a directory cannot be opened, an address cannot be listened on, a descriptor cannot be used, or a
    /// text holds a zero byte.
    pub fn build(self) -> Result<WasiCtx, WasiCtxError> {
        let mut args = StringTable::default();
        for (index, arg) in self.args.into_iter().enumerate() {
            let arg = CString::new(arg.into_vec()).map_err(|_| WasiCtxError::Argument { index })?;
            args.push(arg.as_bytes());
        }

        let mut env = StringTable::default();
        for (name, value) in self.env {
            let lossy = name.to_string_lossy().into_owned();
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(WasiCtxError::Variable { name: lossy });
            }
            let pair = [name.as_bytes(), b"=", value.as_bytes()].concat();
            let pair = CString::new(pair).map_err(|_| WasiCtxError::Variable { name: lossy })?;
            env.push(pair.as_bytes());
        }
        if args.bytes.len().max(env.bytes.len()) > u32::MAX as usize {
            return Err(WasiCtxError::TooBig);
        }

        let files = FdTable::default();
        let mut entries = Vec::new();
        for (fd, stdio) in (0..).zip(self.stdio) {
            entries.push(stdio_entry(fd, stdio)?);
        }
        for preopen in self.preopens {
            entries.push(open_preopen(preopen, self.by_steps)?);
        }
        let mut listeners = Vec::new();
        for socket in self.sockets {
            let socket = match socket {
                Socket::Given(socket) => socket,
                Socket::Listen(address) => {
                    let listener = listen(address)?;
                    let fd = entries.len() as u32;
                    listeners.extend(listener.local_addr().map(|address| (fd, address)));
                    listener.into()
                }
            };
            entries.push(fd_entry(Backing::Owned(socket))?);
        }
        for entry in entries {
            files.insert(entry).map_err(|_| WasiCtxError::TooBig)?;
        }
        Ok(WasiCtx { args, env, files, listeners })
    }
}

fn stdio_entry(fd: i32, stdio: Stdio) -> Result<Entry, WasiCtxError> {
    let common =
        Rights::FD_FILESTAT_GET.with(Rights::FD_FDSTAT_SET_FLAGS).with(Rights::POLL_FD_READWRITE);
    let (backing, base) = match stdio {
        // A process may have been started with one of them closed. The next file that it opens gets the
        // number then, and must not become the guest's: as Rust programs have it, /dev/null stands in.
        Stdio::Inherit if sys::fstat(fd).is_err() && fd == 0 => {
            (Backing::Input(Arc::new(MemoryInput::default())), Rights::FD_READ)
        }
        Stdio::Inherit if sys::fstat(fd).is_err() => {
            (Backing::Output(Arc::new(Discard)), Rights::FD_WRITE)
        }
        // SAFETY: the standard descriptors belong to the whole process and are not closed by it. Were
        // one closed all the same, calls would give `badf`.
        Stdio::Inherit => {
            return fd_entry(Backing::Inherited(unsafe { BorrowedFd::borrow_raw(fd) }));
        }
        Stdio::Fd(fd) => return fd_entry(Backing::Owned(fd)),
        Stdio::Input(stream) => (Backing::Input(stream), Rights::FD_READ),
        Stdio::Output(stream) => (Backing::Output(stream), Rights::FD_WRITE),
    };
    let file = Arc::new(File::new(backing, FileType::Unknown));
    Ok(Entry { file, base: base.with(common), inheriting: Rights::empty() })
}

/// An entry for a descriptor that exists, with the rights that its type and access mode allow.
fn fd_entry(backing: Backing) -> Result<Entry, WasiCtxError> {
    let fd = match &backing {
        Backing::Owned(fd) => fd.as_raw_fd(),
        Backing::Inherited(fd) => fd.as_raw_fd(),
        Backing::Input(_) | Backing::Output(_) => -1,
    };
    let failed = || WasiCtxError::Descriptor { fd, source: io::Error::last_os_error() };
    let filetype = host_filetype(fd, &sys::fstat(fd).map_err(|_| failed())?);
    // SAFETY: F_GETFL takes no argument and touches no memory.
    let flags = match unsafe { libc::fcntl(fd, libc::F_GETFL) } {
        -1 => return Err(failed()),
        flags => flags,
    };
    let mut base = applicable_rights(fd, filetype);
    if filetype == FileType::Directory {
        // Only `preopened_dir` gives a directory to work in.
        base = base.and(Rights::FD_READDIR.with(Rights::FD_FILESTAT_GET));
    }
    match flags & libc::O_ACCMODE {
        // The kernel lets the owner of a file set its times without having opened it for writing. A file
        // to read from is not given to be changed.
        libc::O_RDONLY => {
            base = base.without(Rights::NEEDS_WRITE.with(Rights::FD_FILESTAT_SET_TIMES))
        }
        libc::O_WRONLY => base = base.without(Rights::FD_READ),
        _ => {}
    }
    // What comes from a listening socket has the rights of sockets.
    let inheriting = if filetype.is_socket() { Rights::SOCKET } else { Rights::empty() };
    let file = File { syncs: FdFlags::syncs_of_host(flags), ..File::new(backing, filetype) };
    Ok(Entry { file: Arc::new(file), base, inheriting })
}

/// The rights that mean something for a file of this type.
pub(super) fn applicable_rights(fd: i32, filetype: FileType) -> Rights {
    match filetype {
        FileType::Directory => Rights::DIRECTORY,
        FileType::SocketDgram | FileType::SocketStream => Rights::SOCKET,
        // This is how a guest's `isatty` tells a terminal: a character device that cannot seek.
        // SAFETY: no memory is involved.
        FileType::CharacterDevice if unsafe { libc::isatty(fd) } == 1 => {
            Rights::FILE.without(Rights::FD_SEEK.with(Rights::FD_TELL))
        }
        _ => Rights::FILE,
    }
}

/// The type of an open file; unlike [`FileType::from_mode`] this tells the kinds of sockets apart.
pub(super) fn host_filetype(fd: i32, stat: &libc::stat) -> FileType {
    let filetype = FileType::from_mode(stat.st_mode);
    if filetype != FileType::SocketStream {
        return filetype;
    }
    let mut kind: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the buffer is an int, as SO_TYPE has it, and `len` says so.
    unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &raw mut len);
    }
    if kind == libc::SOCK_DGRAM { FileType::SocketDgram } else { FileType::SocketStream }
}

fn open_preopen(preopen: Preopen, by_steps: bool) -> Result<Entry, WasiCtxError> {
    let Preopen { host, guest, read_only } = preopen;
    if guest.is_empty() || guest.contains('\0') {
        return Err(WasiCtxError::GuestPath { host, guest });
    }
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&host);
    let directory = match opened {
        Ok(directory) => OwnedFd::from(directory),
        Err(source) => return Err(WasiCtxError::Preopen { host, guest, source }),
    };
    let file = File {
        read_only,
        by_steps,
        preopen: Some(guest.into_bytes()),
        ..File::new(Backing::Owned(directory), FileType::Directory)
    };
    Ok(Entry { file: Arc::new(file), base: Rights::DIRECTORY, inheriting: Rights::ALL })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_what_was_wrong() {
        let error = |builder: WasiCtxBuilder| builder.build().err().map(|e| e.to_string()).unwrap();
        assert!(
            error(WasiCtx::builder().preopened_dir("/no/such", "/g", false)).contains("/no/such")
        );
        assert!(error(WasiCtx::builder().arg("ok").arg("a\0b")).contains("argument 1"));
        assert!(error(WasiCtx::builder().env("A=B", "c")).contains("A=B"));
        assert!(error(WasiCtx::builder().preopened_dir("/", "", false)).contains("empty"));
        for address in [
            "",
            "8080",
            "localhost",
            ":80",
            "127.0.0.1:",
            "a:65536",
            "a:-1",
            "a:+1",
            "::1:80",
            "1:2:3",
            "[::1]",
        ] {
            let error = error(WasiCtx::builder().tcp_listener(address));
            assert!(error.contains(&format!("bad address {address:?}")), "{error}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let error = error(WasiCtx::builder().tcp_listener(&address));
        assert!(error.contains(&address) && error.contains("in use"), "{error}");
    }

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let ctx = WasiCtx::builder().env("A", "1").env("B", "2").env("A", "3").build().unwrap();
        assert_eq!(ctx.env.bytes, b"B=2\0A=3\0");
        assert_eq!(ctx.env.starts, [0, 4]);
    }
}
