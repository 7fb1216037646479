//! Paths, and how they stay inside of a directory.
//!
//! The kernel does it where it can: `openat2` with `RESOLVE_BENEATH` refuses each step out of the
//! directory, by `..`, by absolute symbolic links and by renames in flight, in one atomic look-up. Where
//! it cannot (before Linux 5.6, and under some system call filters) the path is walked component by
//! component with `O_NOFOLLOW`, holding every directory on the way open, which comes to the same.
//!
//! Operations on a name (create, remove, rename, link) resolve the directory that holds it and then act
//! on the last component alone, which has no slash, is never `..`, and is not followed.

use super::Host;
use super::errno::Errno;
use super::memory::GuestMemory;
use super::sys::{Outcome, call, call_raw, fstat, own};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

/// The longest path in bytes, as Linux has it, without its terminating zero.
const PATH_MAX: u32 = libc::PATH_MAX as u32 - 1;
/// The most symbolic links in one look-up, as Linux has it.
const MAX_LINKS: u32 = 40;

/// A path from the guest: relative, not empty, UTF-8, no zero byte.
pub(super) struct GuestPath(CString);

impl GuestPath {
    /// Reads and checks a path: `nametoolong`, `fault`, `ilseq` (not UTF-8), `inval` (a zero byte),
    /// `noent` (empty), `perm` (absolute).
    pub(super) fn read(memory: GuestMemory, addr: u64, len: u32) -> Result<GuestPath, Errno> {
        if len > PATH_MAX {
            return Err(Errno::Nametoolong);
        }
        let bytes = memory.read_bytes(addr, len.into())?;
        let path = String::from_utf8(bytes).map_err(|_| Errno::Ilseq)?;
        match path.as_bytes().first() {
            None => Err(Errno::Noent),
            Some(b'/') => Err(Errno::Perm),
            Some(_) => CString::new(path).map(GuestPath).map_err(|_| Errno::Inval),
        }
    }

    /// The path for a system call.
    pub(super) fn as_c_str(&self) -> &CStr {
        &self.0
    }

    /// The directory part (empty for a bare name), the last component, and whether slashes follow it.
    fn split(&self) -> (&[u8], &[u8], bool) {
        let path = self.0.as_bytes();
        // The path is relative, so something is left without the slashes.
        let end = path.iter().rposition(|&b| b != b'/').map_or(0, |last| last + 1);
        let (path, slash) = (&path[..end], end < path.len());
        match path.iter().rposition(|&b| b == b'/') {
            Some(at) => (&path[..at], &path[at + 1..], slash),
            None => (b"", path, slash),
        }
    }
}

/// A directory that paths are resolved beneath.
#[derive(Clone, Copy)]
pub(super) struct Root<'a> {
    pub fd: BorrowedFd<'a>,
    /// Walk, even if the kernel could resolve.
    pub by_steps: bool,
}

enum Place<'a> {
    Given(BorrowedFd<'a>),
    Opened(OwnedFd),
}

/// A name in a directory, for calls that act on the name and not on what it stands for.
pub(super) struct Name<'a> {
    place: Place<'a>,
    name: CString,
    /// Whether slashes followed it: then it must name a directory.
    pub(super) slash: bool,
}

impl<'a> Name<'a> {
    /// Resolves all but the last component of `path`, beneath `dir`.
    pub(super) fn resolve(host: &dyn Host, dir: Root<'a>, path: &GuestPath) -> Outcome<Name<'a>> {
        let (parent, name, slash) = path.split();
        // "a/.." has no name of its own: resolve all of it, and act on "." there.
        let (parent, name) = match name {
            b".." => (path.0.as_bytes(), &b"."[..]),
            name => (parent, name),
        };
        let place = if parent.is_empty() {
            Place::Given(dir.fd)
        } else {
            let parent = CString::new(parent).map_err(|_| Errno::Inval)?;
            let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
            Place::Opened(open(host, dir, &parent, flags, 0)?)
        };
        let name = CString::new(name).map_err(|_| Errno::Inval)?;
        Ok(Name { place, name, slash })
    }

    /// The directory that holds the name.
    pub(super) fn dir(&self) -> i32 {
        match &self.place {
            Place::Given(fd) => fd.as_raw_fd(),
            Place::Opened(fd) => fd.as_raw_fd(),
        }
    }

    /// The name.
    pub(super) fn as_ptr(&self) -> *const libc::c_char {
        self.name.as_ptr()
    }

    /// Whether the name stands for the directory that holds it.
    pub(super) fn is_dot(&self) -> bool {
        self.name.as_bytes() == b"."
    }

    /// Whether the name exists and is a directory itself; `noent` if it does not exist.
    pub(super) fn is_directory(&self, host: &dyn Host) -> Outcome<bool> {
        let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the kernel fills the buffer, which has the size of its type.
        call(host, || unsafe {
            let flags = libc::AT_SYMLINK_NOFOLLOW;
            libc::fstatat(self.dir(), self.as_ptr(), stat.as_mut_ptr(), flags)
        })?;
        // SAFETY: the call has succeeded.
        let stat = unsafe { stat.assume_init() };
        Ok(stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
    }

    /// Where slashes follow the name: `notdir` unless it is a directory.
    pub(super) fn check_slash(&self, host: &dyn Host) -> Outcome {
        if self.slash && !self.is_directory(host)? {
            return Err(Errno::Notdir.into());
        }
        Ok(())
    }

    /// Where slashes follow the name of something new that is no directory: `exist` or `noent`, as Linux
    /// has it.
    pub(super) fn refuse_slash(&self, host: &dyn Host) -> Outcome {
        if self.slash {
            self.is_directory(host)?;
            return Err(Errno::Exist.into());
        }
        Ok(())
    }
}

/// Opens `path` beneath `dir`, with flags and mode of `open(2)`. A step outside gives `perm`.
pub(super) fn open(
    host: &dyn Host,
    dir: Root<'_>,
    path: &CStr,
    flags: i32,
    mode: u32,
) -> Outcome<OwnedFd> {
    let Root { fd: dir, by_steps } = dir;
    if !by_steps && has_openat2(dir) {
        // The kernel gives `EAGAIN` when a rename anywhere on the machine might have interfered. After
        // some tries the other way is taken, which needs no luck.
        for _ in 0..16 {
            match call_raw(host, || openat2(dir, path, flags, mode))? {
                Ok(fd) => return Ok(own(fd)),
                Err(libc::EXDEV) => return Err(Errno::Perm.into()),
                Err(libc::EAGAIN) => {}
                Err(raw) => return Err(Errno::from_raw(raw).into()),
            }
        }
    }
    open_by_steps(host, dir, path, flags, mode)
}

fn openat2(dir: BorrowedFd<'_>, path: &CStr, flags: i32, mode: u32) -> i64 {
    // SAFETY: all fields are integers, and zero is the meaning of those we do not set.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = flags as u64;
    how.mode = if flags & libc::O_CREAT != 0 { mode.into() } else { 0 };
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the kernel reads the path up to its zero and `how` in its length.
    unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    }
}

/// Whether the kernel has `openat2` and lets us use it; asked once.
fn has_openat2(dir: BorrowedFd<'_>) -> bool {
    const UNKNOWN: u8 = 0;
    const YES: u8 = 1;
    const NO: u8 = 2;
    static ANSWER: AtomicU8 = AtomicU8::new(UNKNOWN);
    match ANSWER.load(Ordering::Relaxed) {
        YES => true,
        NO => false,
        _ => {
            let fd = openat2(dir, c".", libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC, 0);
            let answer = if fd >= 0 {
                drop(own(fd));
                YES
            } else {
                // Filters answer `EPERM` as well as `ENOSYS`. What else may happen (too many open
                // files) says nothing about the call.
                match super::sys::last_raw_error() {
                    libc::ENOSYS | libc::EPERM | libc::EINVAL => NO,
                    _ => return true,
                }
            };
            ANSWER.store(answer, Ordering::Relaxed);
            answer == YES
        }
    }
}

/// [`open`] without help of the kernel.
fn open_by_steps(
    host: &dyn Host,
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: i32,
    mode: u32,
) -> Outcome<OwnedFd> {
    let mut walk = Walk { root, stack: Vec::new(), todo: Vec::new(), links: 0, slash: false };
    walk.push_path(path.to_bytes())?;
    loop {
        let name = walk.todo.pop().ok_or(Errno::Noent)?;
        let last = walk.todo.is_empty();
        if name.as_bytes() == b".." {
            walk.stack.pop().ok_or(Errno::Perm)?;
        }
        match (name.as_bytes(), last) {
            (b"." | b"..", true) => {
                return Ok(own(call(host, || openat(walk.here(), c".", flags, mode))?.into()));
            }
            (b"." | b"..", false) => {}
            (_, false) => walk.enter(host, &name)?,
            // What is made is no directory.
            (_, true) if walk.slash && flags & libc::O_CREAT != 0 => {
                return Err(Errno::Isdir.into());
            }
            (_, true) => {
                if let Some(fd) = walk.open_last(host, &name, flags, mode)? {
                    return Ok(fd);
                }
            }
        }
    }
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The directories from below the root to where the walk is.
    stack: Vec<OwnedFd>,
    /// The components still to go, the next one last.
    todo: Vec<CString>,
    links: u32,
    /// Whether slashes follow the last component.
    slash: bool,
}

impl Walk<'_> {
    fn here(&self) -> i32 {
        self.stack.last().map_or(self.root.as_raw_fd(), |fd| fd.as_raw_fd())
    }

    /// Puts a relative path before the components still to go.
    fn push_path(&mut self, path: &[u8]) -> Result<(), Errno> {
        match path.first() {
            None => return Err(Errno::Noent),
            Some(b'/') => return Err(Errno::Perm),
            Some(_) => {}
        }
        if self.todo.is_empty() {
            self.slash |= path.last() == Some(&b'/');
        }
        for component in path.split(|&b| b == b'/').rev().filter(|c| !c.is_empty()) {
            self.todo.push(CString::new(component).map_err(|_| Errno::Inval)?);
        }
        Ok(())
    }

    /// Puts a link's target before the components still to go.
    fn follow(&mut self, target: &[u8]) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::Loop);
        }
        self.push_path(target)
    }

    /// Goes into a directory, or follows a link.
    fn enter(&mut self, host: &dyn Host, name: &CStr) -> Outcome {
        let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let fd = own(call(host, || openat(self.here(), name, flags, 0))?.into());
        match fstat(fd.as_raw_fd())?.st_mode & libc::S_IFMT {
            libc::S_IFDIR => self.stack.push(fd),
            libc::S_IFLNK => self.follow(&read_link(host, fd.as_raw_fd(), c"")?)?,
            _ => return Err(Errno::Notdir.into()),
        }
        Ok(())
    }

    /// Opens the last component; `None` if it was a link, whose target is to do now.
    fn open_last(
        &mut self,
        host: &dyn Host,
        name: &CStr,
        flags: i32,
        mode: u32,
    ) -> Outcome<Option<OwnedFd>> {
        let exclusive = flags & libc::O_CREAT != 0 && flags & libc::O_EXCL != 0;
        let follow = !exclusive && (flags & libc::O_NOFOLLOW == 0 || self.slash);
        let directory = if self.slash { libc::O_DIRECTORY } else { 0 };
        let flags = flags | libc::O_NOFOLLOW | directory;
        let failure = match call_raw(host, || openat(self.here(), name, flags, mode))? {
            Ok(fd) => {
                let fd = own(fd.into());
                // O_PATH with O_NOFOLLOW opens the link itself.
                let is_link = follow
                    && flags & libc::O_PATH != 0
                    && fstat(fd.as_raw_fd())?.st_mode & libc::S_IFMT == libc::S_IFLNK;
                if is_link {
                    self.follow(&read_link(host, fd.as_raw_fd(), c"")?)?;
                    return Ok(None);
                }
                return Ok(Some(fd));
            }
            Err(raw) => raw,
        };
        // That is how the kernel says that a link was not followed.
        if follow
            && matches!(failure, libc::ELOOP | libc::ENOTDIR)
            && let Ok(target) = read_link(host, self.here(), name)
        {
            self.follow(&target)?;
            return Ok(None);
        }
        Err(Errno::from_raw(failure).into())
    }
}

fn openat(dir: i32, name: &CStr, flags: i32, mode: u32) -> i32 {
    // SAFETY: the kernel reads the name up to its zero.
    unsafe { libc::openat(dir, name.as_ptr(), flags, mode as libc::c_uint) }
}

/// The text of the symbolic link `name` in `dir`, or of `dir` itself if the name is empty.
fn read_link(host: &dyn Host, dir: i32, name: &CStr) -> Outcome<Vec<u8>> {
    let mut buffer = vec![0u8; libc::PATH_MAX as usize];
    let n = call(host, || {
        // SAFETY: the kernel fills the buffer within its length.
        unsafe { libc::readlinkat(dir, name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }
    })?;
    buffer.truncate(n as usize);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::super::sys::Failure;
    use super::*;
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    struct Idle;

    impl Host for Idle {
        fn memory(&self) -> GuestMemory {
            // SAFETY: an empty range.
            unsafe { GuestMemory::new(std::ptr::null_mut(), 0) }
        }
        fn stopped(&self) -> bool {
            false
        }
    }

    /// What both ways of opening say about a path: the content's first line, "dir", or the error.
    fn both(root: BorrowedFd<'_>, path: &str, flags: i32) -> Result<String, Errno> {
        let path = CString::new(path).unwrap();
        let show = |opened: Outcome<OwnedFd>| match opened {
            Ok(fd) if fstat(fd.as_raw_fd()).unwrap().st_mode & libc::S_IFMT == libc::S_IFDIR => {
                Ok("dir".to_owned())
            }
            Ok(fd) if fstat(fd.as_raw_fd()).unwrap().st_mode & libc::S_IFMT == libc::S_IFLNK => {
                Ok("link".to_owned())
            }
            Ok(fd) => Ok(fs::read_to_string(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()),
            Err(Failure::Errno(errno)) => Err(errno),
            Err(exit) => panic!("{exit:?}"),
        };
        let flags = flags | libc::O_CLOEXEC;
        let open = |by_steps| show(open(&Idle, Root { fd: root, by_steps }, &path, flags, 0o600));
        let walked = open(true);
        assert_eq!(open(false), walked, "{path:?}");
        walked
    }

    #[test]
    fn both_ways_agree_and_never_leave() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let root = outside.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "inside").unwrap();
        for (link, target) in [
            ("up", ".."),
            ("secret", "../secret"),
            ("absolute", "/etc/passwd"),
            ("to_b", "a/b"),
            ("to_b_slash", "a/b/"),
            ("to_file", "to_b/file"),
            ("over_and_back", "../root/a/b/file"),
            ("loop", "loop"),
            ("dangling", "nowhere"),
            ("a/back", "../a/b/file"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let root = fs::File::open(&root).unwrap();
        let root = root.as_fd();
        let inside = Ok("inside".to_owned());
        let dir = Ok("dir".to_owned());
        let link = Ok("link".to_owned());

        for (path, flags, expected) in [
            ("a/b/file", 0, &inside),
            ("a/./b//file", 0, &inside),
            ("a/../a/b/../b/file", 0, &inside),
            ("to_b/file", 0, &inside),
            ("to_file", 0, &inside),
            ("a/back", 0, &inside),
            (".", 0, &dir),
            ("a/..", 0, &dir),
            ("to_b_slash", 0, &dir),
            ("to_b/", libc::O_NOFOLLOW, &dir),
            ("to_file", libc::O_NOFOLLOW | libc::O_PATH, &link),
            ("to_file", libc::O_NOFOLLOW, &Err(Errno::Loop)),
            ("..", 0, &Err(Errno::Perm)),
            ("../root", 0, &Err(Errno::Perm)),
            ("a/../../root/a/b/file", 0, &Err(Errno::Perm)),
            ("up", 0, &Err(Errno::Perm)),
            ("up/secret", 0, &Err(Errno::Perm)),
            ("secret", 0, &Err(Errno::Perm)),
            ("secret", libc::O_PATH, &Err(Errno::Perm)),
            ("absolute", 0, &Err(Errno::Perm)),
            ("over_and_back", 0, &Err(Errno::Perm)),
            ("/etc/passwd", 0, &Err(Errno::Perm)),
            ("loop", 0, &Err(Errno::Loop)),
            ("dangling", 0, &Err(Errno::Noent)),
            ("a/b/file/", 0, &Err(Errno::Notdir)),
            ("a/b/file/x", 0, &Err(Errno::Notdir)),
            ("a/none/x", 0, &Err(Errno::Noent)),
            ("a/b/new/", libc::O_CREAT, &Err(Errno::Isdir)),
            ("dangling", libc::O_CREAT | libc::O_EXCL, &Err(Errno::Exist)),
        ] {
            assert_eq!(both(root, path, flags), *expected, "{path} {flags:#o}");
        }
    }

    #[test]
    fn creating_through_a_dangling_link_creates_its_target() {
        let root = tempfile::tempdir().unwrap();
        symlink("target", root.path().join("link")).unwrap();
        let dir = fs::File::open(root.path()).unwrap();
        let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC;
        open_by_steps(&Idle, dir.as_fd(), c"link", flags, 0o600).unwrap();
        assert!(root.path().join("target").is_file());
    }

    #[test]
    fn paths_split_at_the_last_component() {
        let split = |path: &str| {
            let path = GuestPath(CString::new(path).unwrap());
            let (parent, name, slash) = path.split();
            (
                String::from_utf8(parent.to_vec()).unwrap(),
                String::from_utf8(name.to_vec()).unwrap(),
                slash,
            )
        };
        assert_eq!(split("name"), (String::new(), "name".into(), false));
        assert_eq!(split("a/b//"), ("a".into(), "b".into(), true));
        assert_eq!(split("a//b"), ("a/".into(), "b".into(), false));
    }
}
