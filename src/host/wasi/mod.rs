//! WASI preview 1 (`wasi_snapshot_preview1`), whole, for programs with threads.
//!
//! [`WasiCtx`] is what a program sees of the world; its threads share one. [`FUNCTIONS`] is the table of
//! what a guest may import: name, types and a way to call it. The engine gives each call a [`Host`], which
//! knows the guest's memory and whether the program is being stopped.
//!
//! Three rules hold throughout. No lock is held across a system call. A call that may block enters the
//! kernel directly and asks [`Host::stopped`] whenever a signal breaks it (`sys`). Guest memory is never
//! behind a Rust reference (`memory`).
//!
//! An address that leaves the memory gives `fault`; one that is not aligned to what it points to gives `inval`. Both are
//! found before a call does anything.
//!
//! A broken pipe gives `pipe`: the process must ignore `SIGPIPE`, as Rust programs do from their start. Sockets give no
//! signal in any case.
//!
//! Source: the witx text of preview 1, and the POSIX functions that it names; where both are silent, Linux.

#![expect(clippy::too_many_arguments, reason = "handlers take the parameters of the witx text")]

mod args;
mod clock;
mod ctx;
mod descriptor;
mod errno;
mod fd_table;
mod file;
mod memory;
mod path;
mod poll;
mod process;
mod readdir;
mod resolve;
mod sock;
mod stream;
mod sys;
mod types;

pub use ctx::{WasiCtx, WasiCtxBuilder, WasiCtxError, is_listen_address};
pub use errno::Errno;
pub use memory::GuestMemory;
pub use stream::{Discard, InputStream, MemoryInput, MemoryOutput, OutputStream};
pub use types::{FdFlags, FileType, FstFlags, LookupFlags, OFlags, RiFlags, Rights, SdFlags};

/// The module name under which guests import these functions.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// What a call asks of the engine.
pub trait Host {
    /// Linear memory 0 as it is now; asked anew by each call, since it may grow between them.
    fn memory(&self) -> GuestMemory;

    /// Whether the thread group is being stopped. Once true, it stays so.
    fn stopped(&self) -> bool;
}

/// Why a call does not return to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WasiExit {
    /// The program ends with this code.
    Exit(u32),
    /// The thread group is being stopped: unwind this thread.
    Stopped,
}

/// The types of parameters and results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WasiType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
}

/// How a function is called: one slot per parameter, an `i32` zero-extended. Gives the error code, or
/// nothing where the function has no result.
pub type WasiCall = fn(&WasiCtx, &dyn Host, &[u64]) -> Result<Option<u32>, WasiExit>;

/// A function that guests may import from [`MODULE`].
pub struct WasiFunc {
    /// Its name, as the witx text has it.
    pub name: &'static str,
    /// The types of its parameters.
    pub params: &'static [WasiType],
    /// The types of its results: an `i32` error code, or none for `proc_exit`.
    pub results: &'static [WasiType],
    /// Whether any parameter is an address, so that the caller must have a memory.
    pub needs_memory: bool,
    /// Calls it.
    pub call: WasiCall,
}

/// The function of this name in the module of this name, if there is one.
pub fn lookup(module: &str, name: &str) -> Option<&'static WasiFunc> {
    FUNCTIONS.iter().find(|function| module == MODULE && function.name == name)
}

/// The wasm type of a parameter.
macro_rules! param_type {
    (i32) => {
        WasiType::I32
    };
    (ptr) => {
        WasiType::I32
    };
    (i64) => {
        WasiType::I64
    };
}

/// A parameter as its handler takes it: `i32` as `u32`, `i64` and addresses as `u64`.
macro_rules! param_value {
    (i32, $slot:ident) => {
        $slot as u32
    };
    (ptr, $slot:ident) => {
        u64::from($slot as u32)
    };
    (i64, $slot:ident) => {
        $slot
    };
}

/// Whether a parameter is an address.
macro_rules! is_address {
    (ptr) => {
        true
    };
    ($other:tt) => {
        false
    };
}

/// The result types of a function.
macro_rules! result_types {
    (errno) => {
        &[WasiType::I32]
    };
    (never) => {
        &[]
    };
}

/// Writes the table: `handler(parameter: type, ...) -> result` makes one function of the handler's name.
macro_rules! functions {
    ($($file:ident::$name:ident($($param:ident: $ty:tt),*) -> $result:ident;)*) => {
        /// Every function of preview 1.
        pub static FUNCTIONS: &[WasiFunc] = &[$(WasiFunc {
            name: stringify!($name),
            params: &[$(param_type!($ty)),*],
            results: result_types!($result),
            needs_memory: false $(|| is_address!($ty))*,
            call: |ctx, host, args| {
                let outcome = match *args {
                    [$($param),*] => $file::$name(ctx, host $(, param_value!($ty, $param))*),
                    _ => Err(Errno::Inval.into()),
                };
                finish(stringify!($name), args, outcome)
            },
        }),*];
    };
}

functions! {
    args::args_get(argv: ptr, argv_buf: ptr) -> errno;
    args::args_sizes_get(count: ptr, size: ptr) -> errno;
    args::environ_get(environ: ptr, environ_buf: ptr) -> errno;
    args::environ_sizes_get(count: ptr, size: ptr) -> errno;
    clock::clock_res_get(id: i32, result: ptr) -> errno;
    clock::clock_time_get(id: i32, precision: i64, result: ptr) -> errno;
    file::fd_advise(fd: i32, offset: i64, len: i64, advice: i32) -> errno;
    file::fd_allocate(fd: i32, offset: i64, len: i64) -> errno;
    descriptor::fd_close(fd: i32) -> errno;
    file::fd_datasync(fd: i32) -> errno;
    descriptor::fd_fdstat_get(fd: i32, result: ptr) -> errno;
    descriptor::fd_fdstat_set_flags(fd: i32, flags: i32) -> errno;
    descriptor::fd_fdstat_set_rights(fd: i32, base: i64, inheriting: i64) -> errno;
    descriptor::fd_filestat_get(fd: i32, result: ptr) -> errno;
    file::fd_filestat_set_size(fd: i32, size: i64) -> errno;
    descriptor::fd_filestat_set_times(fd: i32, atim: i64, mtim: i64, flags: i32) -> errno;
    file::fd_pread(fd: i32, iovs: ptr, count: i32, offset: i64, nread: ptr) -> errno;
    descriptor::fd_prestat_get(fd: i32, result: ptr) -> errno;
    descriptor::fd_prestat_dir_name(fd: i32, path: ptr, len: i32) -> errno;
    file::fd_pwrite(fd: i32, iovs: ptr, count: i32, offset: i64, nwritten: ptr) -> errno;
    file::fd_read(fd: i32, iovs: ptr, count: i32, nread: ptr) -> errno;
    readdir::fd_readdir(fd: i32, buf: ptr, len: i32, cookie: i64, result: ptr) -> errno;
    descriptor::fd_renumber(from: i32, to: i32) -> errno;
    file::fd_seek(fd: i32, delta: i64, whence: i32, result: ptr) -> errno;
    file::fd_sync(fd: i32) -> errno;
    file::fd_tell(fd: i32, result: ptr) -> errno;
    file::fd_write(fd: i32, iovs: ptr, count: i32, nwritten: ptr) -> errno;
    path::path_create_directory(fd: i32, path: ptr, len: i32) -> errno;
    path::path_filestat_get(fd: i32, lookup: i32, path: ptr, len: i32, result: ptr) -> errno;
    path::path_filestat_set_times(
        fd: i32, lookup: i32, path: ptr, len: i32, atim: i64, mtim: i64, flags: i32) -> errno;
    path::path_link(old_fd: i32, old_flags: i32, old_path: ptr, old_len: i32,
        new_fd: i32, new_path: ptr, new_len: i32) -> errno;
    path::path_open(fd: i32, lookup: i32, path: ptr, len: i32, oflags: i32,
        base: i64, inheriting: i64, fdflags: i32, result: ptr) -> errno;
    path::path_readlink(fd: i32, path: ptr, len: i32, buf: ptr, buf_len: i32, result: ptr) -> errno;
    path::path_remove_directory(fd: i32, path: ptr, len: i32) -> errno;
    path::path_rename(old_fd: i32, old_path: ptr, old_len: i32,
        new_fd: i32, new_path: ptr, new_len: i32) -> errno;
    path::path_symlink(target: ptr, target_len: i32, fd: i32, path: ptr, len: i32) -> errno;
    path::path_unlink_file(fd: i32, path: ptr, len: i32) -> errno;
    poll::poll_oneoff(subscriptions: ptr, events: ptr, count: i32, result: ptr) -> errno;
    process::proc_exit(code: i32) -> never;
    process::proc_raise(signal: i32) -> errno;
    process::random_get(buf: ptr, len: i32) -> errno;
    process::sched_yield() -> errno;
    sock::sock_accept(fd: i32, flags: i32, result: ptr) -> errno;
    sock::sock_recv(fd: i32, iovs: ptr, count: i32, flags: i32, nread: ptr, out_flags: ptr) -> errno;
    sock::sock_send(fd: i32, iovs: ptr, count: i32, flags: i32, nwritten: ptr) -> errno;
    sock::sock_shutdown(fd: i32, how: i32) -> errno;
}

/// Turns a handler's outcome into what the engine gets, and tells the trace.
fn finish(name: &str, args: &[u64], outcome: sys::Outcome) -> Result<Option<u32>, WasiExit> {
    let errno = match outcome {
        Ok(()) => Errno::Success,
        Err(sys::Failure::Errno(errno)) => errno,
        Err(sys::Failure::Exit(exit)) => {
            tracing::trace!(target: "updraft::wasi", name, ?args, ?exit);
            return Err(exit);
        }
    };
    tracing::trace!(target: "updraft::wasi", name, ?args, %errno);
    Ok(Some(errno as u32))
}
