//! A guest for tests of WASI: leaked memory, and calls through the table as the engine makes them.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use updraft::host::wasi::{
    Errno, GuestMemory, Host, MODULE, OFlags, Rights, WasiCtx, WasiCtxBuilder, WasiExit, lookup,
};

pub const MEMORY: u64 = 1 << 20;
/// The first preopened directory.
pub const DIR: u32 = 3;

/// A guest thread's view; clones are other threads of the same program.
#[derive(Clone)]
pub struct Guest {
    pub ctx: Arc<WasiCtx>,
    base: usize,
    next: Arc<AtomicU64>,
    pub stopped: Arc<AtomicBool>,
}

impl Host for Guest {
    fn memory(&self) -> GuestMemory {
        // SAFETY: leaked, and reached through such views alone.
        unsafe { GuestMemory::new(self.base as *mut u8, MEMORY) }
    }
    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

/// How a file is opened; the default is for reading.
#[derive(Clone, Copy)]
pub struct Open {
    pub lookup: u32,
    pub oflags: u16,
    pub base: u64,
    pub inheriting: u64,
    pub fdflags: u16,
}

pub const READ: Open = Open {
    lookup: 1,
    oflags: 0,
    base: Rights::FILE.without(Rights::NEEDS_WRITE).0,
    inheriting: 0,
    fdflags: 0,
};
pub const WRITE: Open = Open { base: Rights::FILE.0, ..READ };
pub const CREATE: Open = Open { oflags: OFlags::CREAT.0, ..WRITE };
pub const DIRECTORY: Open = Open {
    oflags: OFlags::DIRECTORY.0,
    base: Rights::DIRECTORY.0,
    inheriting: Rights::ALL.0,
    ..READ
};

impl Guest {
    pub fn new(builder: WasiCtxBuilder) -> Guest {
        let memory = Box::leak(vec![0u8; MEMORY as usize].into_boxed_slice());
        Guest {
            ctx: Arc::new(builder.build().unwrap()),
            base: memory.as_mut_ptr() as usize,
            next: Arc::new(AtomicU64::new(1024)),
            stopped: Arc::default(),
        }
    }

    /// A guest with one directory, writable, as descriptor 3.
    pub fn in_dir(dir: &Path) -> Guest {
        Guest::new(WasiCtx::builder().preopened_dir(dir, "/", false))
    }

    /// Room in guest memory that nothing else uses.
    pub fn alloc(&self, len: u64) -> u64 {
        let at = self.next.fetch_add(len.next_multiple_of(8), Ordering::SeqCst);
        assert!(at + len <= MEMORY, "the test needs more memory");
        at
    }

    /// How much memory is in use; [`release`](Self::release) goes back to it.
    pub fn mark(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    pub fn release(&self, mark: u64) {
        self.next.store(mark, Ordering::SeqCst);
    }

    pub fn put(&self, bytes: &[u8]) -> u64 {
        let at = self.alloc(bytes.len() as u64);
        self.memory().write_bytes(at, bytes).unwrap();
        at
    }

    /// Calls a function of the table.
    pub fn try_call(&self, name: &str, args: &[u64]) -> Result<Errno, WasiExit> {
        let function = lookup(MODULE, name).unwrap();
        assert_eq!(function.params.len(), args.len(), "{name}");
        let errno = (function.call)(&self.ctx, self, args)?.unwrap();
        Ok(Errno::ALL[errno as usize])
    }

    pub fn call(&self, name: &str, args: &[u64]) -> Result<(), Errno> {
        match self.try_call(name, args).unwrap() {
            Errno::Success => Ok(()),
            errno => Err(errno),
        }
    }

    /// Calls with a result address appended, and gives what is there.
    pub fn call_u32(&self, name: &str, args: &[u64]) -> Result<u32, Errno> {
        let result = self.alloc(4);
        self.call(name, &[args, &[result]].concat())?;
        self.memory().read_u32(result)
    }

    pub fn call_u64(&self, name: &str, args: &[u64]) -> Result<u64, Errno> {
        let result = self.alloc(8);
        self.call(name, &[args, &[result]].concat())?;
        self.memory().read_u64(result)
    }

    pub fn call_bytes<const N: usize>(&self, name: &str, args: &[u64]) -> Result<[u8; N], Errno> {
        let result = self.alloc(N as u64);
        self.call(name, &[args, &[result]].concat())?;
        self.memory().read_array(result)
    }

    pub fn open(&self, dir: u32, path: &str, how: Open) -> Result<u32, Errno> {
        self.open_bytes(dir, path.as_bytes(), how)
    }

    pub fn open_bytes(&self, dir: u32, path: &[u8], how: Open) -> Result<u32, Errno> {
        let at = self.put(path);
        self.call_u32(
            "path_open",
            &[
                dir.into(),
                how.lookup.into(),
                at,
                path.len() as u64,
                how.oflags.into(),
                how.base,
                how.inheriting,
                how.fdflags.into(),
            ],
        )
    }

    pub fn close(&self, fd: u32) -> Result<(), Errno> {
        self.call("fd_close", &[fd.into()])
    }

    /// An iovec array of these (address, length).
    pub fn iovecs(&self, parts: &[(u64, u64)]) -> u64 {
        let at = self.alloc(parts.len() as u64 * 8);
        for (i, (ptr, len)) in parts.iter().enumerate() {
            self.memory().write_u32(at + i as u64 * 8, *ptr as u32).unwrap();
            self.memory().write_u32(at + i as u64 * 8 + 4, *len as u32).unwrap();
        }
        at
    }

    pub fn write(&self, fd: u32, bytes: &[u8]) -> Result<u32, Errno> {
        let iovs = self.iovecs(&[(self.put(bytes), bytes.len() as u64)]);
        self.call_u32("fd_write", &[fd.into(), iovs, 1])
    }

    pub fn read(&self, fd: u32, len: u64) -> Result<Vec<u8>, Errno> {
        let at = self.alloc(len);
        let iovs = self.iovecs(&[(at, len)]);
        let n = self.call_u32("fd_read", &[fd.into(), iovs, 1])?;
        self.memory().read_bytes(at, n.into())
    }

    pub fn seek(&self, fd: u32, delta: i64, whence: u64) -> Result<u64, Errno> {
        self.call_u64("fd_seek", &[fd.into(), delta as u64, whence])
    }

    /// A `path_*` function whose parameters are a directory and a path.
    pub fn path(&self, name: &str, dir: u32, path: &str) -> Result<(), Errno> {
        self.call(name, &[dir.into(), self.put(path.as_bytes()), path.len() as u64])
    }

    pub fn symlink(&self, target: &str, dir: u32, path: &str) -> Result<(), Errno> {
        let (t, p) = (self.put(target.as_bytes()), self.put(path.as_bytes()));
        self.call("path_symlink", &[t, target.len() as u64, dir.into(), p, path.len() as u64])
    }

    pub fn rename(&self, from: u32, old: &str, to: u32, new: &str) -> Result<(), Errno> {
        let (o, n) = (self.put(old.as_bytes()), self.put(new.as_bytes()));
        self.call(
            "path_rename",
            &[from.into(), o, old.len() as u64, to.into(), n, new.len() as u64],
        )
    }

    pub fn link(&self, from: u32, flags: u64, old: &str, to: u32, new: &str) -> Result<(), Errno> {
        let (o, n) = (self.put(old.as_bytes()), self.put(new.as_bytes()));
        self.call(
            "path_link",
            &[from.into(), flags, o, old.len() as u64, to.into(), n, new.len() as u64],
        )
    }

    pub fn path_filestat(&self, dir: u32, lookup: u64, path: &str) -> Result<Filestat, Errno> {
        let at = self.put(path.as_bytes());
        self.call_bytes("path_filestat_get", &[dir.into(), lookup, at, path.len() as u64])
            .map(Filestat::from_bytes)
    }

    pub fn filestat(&self, fd: u32) -> Result<Filestat, Errno> {
        self.call_bytes("fd_filestat_get", &[fd.into()]).map(Filestat::from_bytes)
    }

    pub fn fdstat(&self, fd: u32) -> Result<Fdstat, Errno> {
        let record: [u8; 24] = self.call_bytes("fd_fdstat_get", &[fd.into()])?;
        Ok(Fdstat {
            filetype: record[0],
            flags: u16::from_le_bytes([record[2], record[3]]),
            base: Rights(u64_at(&record, 8)),
            inheriting: Rights(u64_at(&record, 16)),
        })
    }
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

#[derive(Debug, PartialEq, Eq)]
pub struct Filestat {
    pub ino: u64,
    pub filetype: u8,
    pub nlink: u64,
    pub size: u64,
    pub atim: u64,
    pub mtim: u64,
}

impl Filestat {
    fn from_bytes(record: [u8; 64]) -> Filestat {
        Filestat {
            ino: u64_at(&record, 8),
            filetype: record[16],
            nlink: u64_at(&record, 24),
            size: u64_at(&record, 32),
            atim: u64_at(&record, 40),
            mtim: u64_at(&record, 48),
        }
    }
}

pub struct Fdstat {
    pub filetype: u8,
    pub flags: u16,
    pub base: Rights,
    pub inheriting: Rights,
}

pub const TYPE_CHARACTER_DEVICE: u8 = 2;
pub const TYPE_DIRECTORY: u8 = 3;
pub const TYPE_REGULAR: u8 = 4;
pub const TYPE_STREAM: u8 = 6;
pub const TYPE_SYMLINK: u8 = 7;

/// Makes SIGURG break system calls and do nothing else, as the engine's signal does.
pub fn install_signal() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: a handler that does nothing is safe at any moment; the mask is empty, the flags are 0.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGURG, &action, std::ptr::null_mut()), 0);
    }
}

/// A thread that makes one call, and can be sent signals.
pub struct Caller<T> {
    thread: std::thread::JoinHandle<T>,
    /// The kernel's id of the thread; 0 until it is about to make the call.
    tid: Arc<AtomicI32>,
}

impl<T: Send + 'static> Caller<T> {
    pub fn spawn(call: impl FnOnce() -> T + Send + 'static) -> Caller<T> {
        install_signal();
        let tid = Arc::new(AtomicI32::new(0));
        let thread = std::thread::spawn({
            let tid = tid.clone();
            move || {
                // SAFETY: no memory is involved.
                tid.store(unsafe { libc::gettid() }, Ordering::SeqCst);
                call()
            }
        });
        Caller { thread, tid }
    }

    pub fn finished(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn signal(&self) {
        use std::os::unix::thread::JoinHandleExt;
        // SAFETY: the thread has not been joined, so its id is valid.
        unsafe { libc::pthread_kill(self.thread.as_pthread_t(), libc::SIGURG) };
        std::thread::sleep(std::time::Duration::from_millis(1));
    }

    /// Sends signals until the call has returned.
    pub fn signal_until_finished(self) -> T {
        while !self.finished() {
            self.signal();
        }
        self.join()
    }

    pub fn join(self) -> T {
        self.thread.join().unwrap()
    }

    /// Waits until the thread sleeps in the kernel, as its state in /proc tells.
    pub fn wait_until_blocked(&self) {
        while !self.finished() {
            let tid = self.tid.load(Ordering::SeqCst);
            let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat"));
            let state = stat.ok().and_then(|s| s.rsplit(") ").next()?.chars().next());
            if tid != 0 && state == Some('S') {
                return;
            }
            std::thread::yield_now();
        }
    }
}
