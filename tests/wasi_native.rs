//! WASI beside the system: each function that takes a path, on paths of every form, does to one tree of files what the
//! system's own call does to another, and gives the code for the same error.

mod wasi_support;

use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use updraft::host::wasi::{Errno, FdFlags, OFlags, Rights, WasiCtx};
use wasi_support::*;

/// The paths of the table: of files, directories and links to both, of what is not there, each with endings.
fn paths() -> Vec<String> {
    let names = [
        "file",
        "sub",
        "sub/file",
        "empty",
        "none",
        "sub/none",
        "none/x",
        "file/x",
        "to_file",
        "to_sub",
        "to_sub/file",
        "to_empty",
        "dangling",
        "loop",
        "loop/x",
        "dangling/x",
        ".",
        "sub/.",
        "file/.",
        "to_sub/.",
        "none/.",
        "./sub/../file",
        "sub/deep/../file",
        "file/../file",
        "none/../file",
        "to_sub/../file",
        "fifo",
    ];
    let endings = ["", "/", "/./"];
    names.iter().flat_map(|name| endings.map(|ending| format!("{name}{ending}"))).collect()
}

fn tree(root: &Path) {
    fs::create_dir_all(root.join("sub/deep")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("file"), "contents").unwrap();
    fs::write(root.join("sub/file"), "below").unwrap();
    for (name, target) in [
        ("to_file", "file"),
        ("to_sub", "sub"),
        ("to_empty", "empty"),
        ("dangling", "made"),
        ("loop", "loop"),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
    let fifo = CString::new(root.join("fifo").to_str().unwrap()).unwrap();
    // SAFETY: the kernel reads the name up to its zero.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
}

/// All that is in a tree but inodes and times.
fn contents(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let what = if stat.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else if stat.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else if stat.is_file() {
            fs::read_to_string(&path).unwrap()
        } else {
            "special".into()
        };
        let name = path.strip_prefix(root).unwrap().display().to_string();
        // The times that the calls set are in the distant past.
        let old = stat.mtime() < 100;
        all.push(format!("{name} {:o} {} {what} {old}", stat.mode(), stat.nlink()));
    }
    all.sort();
    all
}

/// What the system says.
fn native(returned: i64) -> Result<i64, Errno> {
    match returned {
        -1 => Err(Errno::from_raw(std::io::Error::last_os_error().raw_os_error().unwrap())),
        value => Ok(value),
    }
}

type Native = fn(i32, &CStr) -> i64;
type Wasi = fn(&Guest, &str) -> Result<i64, Errno>;

fn nothing(result: Result<(), Errno>) -> Result<i64, Errno> {
    result.map(|()| 0)
}

fn open_native(dir: i32, path: &CStr, flags: i32) -> i64 {
    // SAFETY: the kernel reads the path up to its zero; a descriptor that it gives is closed.
    unsafe {
        let fd =
            libc::openat(dir, path.as_ptr(), flags | libc::O_CLOEXEC | libc::O_NONBLOCK, 0o666);
        if fd >= 0 {
            libc::close(fd);
        }
        i64::from(fd.min(0))
    }
}

fn open_wasi(
    guest: &Guest,
    path: &str,
    lookup: u32,
    oflags: OFlags,
    rights: Rights,
) -> Result<i64, Errno> {
    let how = Open {
        lookup,
        oflags: oflags.0,
        base: rights.0,
        inheriting: 0,
        fdflags: FdFlags::NONBLOCK.0,
    };
    guest.open(DIR, path, how).map(|fd| {
        guest.close(fd).unwrap();
        0
    })
}

fn stat_native(dir: i32, path: &CStr, flags: i32) -> i64 {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel reads the path up to its zero, and fills the record if it succeeds.
    unsafe {
        match libc::fstatat(dir, path.as_ptr(), stat.as_mut_ptr(), flags) {
            // Sizes of directories depend on the file system.
            0 => {
                let stat = stat.assume_init();
                if stat.st_mode & libc::S_IFMT == libc::S_IFDIR { 0 } else { stat.st_size }
            }
            _ => -1,
        }
    }
}

fn stat_wasi(guest: &Guest, path: &str, lookup: u64) -> Result<i64, Errno> {
    let stat = guest.path_filestat(DIR, lookup, path)?;
    Ok(if stat.filetype == TYPE_DIRECTORY { 0 } else { stat.size as i64 })
}

fn times_native(dir: i32, path: &CStr, flags: i32) -> i64 {
    let times = [libc::timespec { tv_sec: 5, tv_nsec: 7 }; 2];
    // SAFETY: the kernel reads the path up to its zero, and the two times.
    unsafe { libc::utimensat(dir, path.as_ptr(), times.as_ptr(), flags).into() }
}

fn times_wasi(guest: &Guest, path: &str, lookup: u64) -> Result<i64, Errno> {
    let at = guest.put(path.as_bytes());
    let time = 5_000_000_007;
    let args = [DIR.into(), lookup, at, path.len() as u64, time, time, 5];
    nothing(guest.call("path_filestat_set_times", &args))
}

fn readlink_wasi(guest: &Guest, path: &str) -> Result<i64, Errno> {
    let (at, buf) = (guest.put(path.as_bytes()), guest.alloc(64));
    let args = [DIR.into(), at, path.len() as u64, buf, 64];
    guest.call_u32("path_readlink", &args).map(i64::from)
}

/// A name of the call, the system's, and WASI's.
const CALLS: &[(&str, Native, Wasi)] = &[
    (
        "path_create_directory",
        // SAFETY: here and below, the kernel reads the paths up to their zeros.
        |dir, path| unsafe { libc::mkdirat(dir, path.as_ptr(), 0o777).into() },
        |guest, path| nothing(guest.path("path_create_directory", DIR, path)),
    ),
    (
        "path_unlink_file",
        // SAFETY: as above.
        |dir, path| unsafe { libc::unlinkat(dir, path.as_ptr(), 0).into() },
        |guest, path| nothing(guest.path("path_unlink_file", DIR, path)),
    ),
    (
        "path_remove_directory",
        // SAFETY: as above.
        |dir, path| unsafe { libc::unlinkat(dir, path.as_ptr(), libc::AT_REMOVEDIR).into() },
        |guest, path| nothing(guest.path("path_remove_directory", DIR, path)),
    ),
    (
        "path_rename to a new name",
        // SAFETY: as above.
        |dir, path| unsafe { libc::renameat(dir, path.as_ptr(), dir, c"new".as_ptr()).into() },
        |guest, path| nothing(guest.rename(DIR, path, DIR, "new")),
    ),
    (
        "path_rename of a file",
        // SAFETY: as above.
        |dir, path| unsafe { libc::renameat(dir, c"file".as_ptr(), dir, path.as_ptr()).into() },
        |guest, path| nothing(guest.rename(DIR, "file", DIR, path)),
    ),
    (
        "path_rename of a directory",
        // SAFETY: as above.
        |dir, path| unsafe { libc::renameat(dir, c"sub".as_ptr(), dir, path.as_ptr()).into() },
        |guest, path| nothing(guest.rename(DIR, "sub", DIR, path)),
    ),
    (
        "path_link to a new name",
        // SAFETY: as above.
        |dir, path| unsafe { libc::linkat(dir, path.as_ptr(), dir, c"new".as_ptr(), 0).into() },
        |guest, path| nothing(guest.link(DIR, 0, path, DIR, "new")),
    ),
    (
        "path_link of a file",
        // SAFETY: as above.
        |dir, path| unsafe { libc::linkat(dir, c"file".as_ptr(), dir, path.as_ptr(), 0).into() },
        |guest, path| nothing(guest.link(DIR, 0, "file", DIR, path)),
    ),
    (
        "path_symlink",
        // SAFETY: as above.
        |dir, path| unsafe { libc::symlinkat(c"target".as_ptr(), dir, path.as_ptr()).into() },
        |guest, path| nothing(guest.symlink("target", DIR, path)),
    ),
    (
        "path_readlink",
        |dir, path| {
            let mut buffer = [0u8; 64];
            // SAFETY: as above; the buffer has its length.
            unsafe { libc::readlinkat(dir, path.as_ptr(), buffer.as_mut_ptr().cast(), 64) as i64 }
        },
        readlink_wasi,
    ),
    (
        "path_filestat_get",
        |dir, path| stat_native(dir, path, 0),
        |guest, path| stat_wasi(guest, path, 1),
    ),
    (
        "path_filestat_get of a name",
        |dir, path| stat_native(dir, path, libc::AT_SYMLINK_NOFOLLOW),
        |guest, path| stat_wasi(guest, path, 0),
    ),
    (
        "path_filestat_set_times",
        |dir, path| times_native(dir, path, 0),
        |guest, path| times_wasi(guest, path, 1),
    ),
    (
        "path_filestat_set_times of a name",
        |dir, path| times_native(dir, path, libc::AT_SYMLINK_NOFOLLOW),
        |guest, path| times_wasi(guest, path, 0),
    ),
    (
        "path_open to read",
        |dir, path| open_native(dir, path, libc::O_RDONLY),
        |guest, path| open_wasi(guest, path, 1, OFlags::empty(), Rights::FD_READ),
    ),
    (
        "path_open to write",
        |dir, path| open_native(dir, path, libc::O_WRONLY),
        |guest, path| open_wasi(guest, path, 1, OFlags::empty(), Rights::FD_WRITE),
    ),
    (
        "path_open without following",
        |dir, path| open_native(dir, path, libc::O_RDWR | libc::O_NOFOLLOW),
        |guest, path| {
            open_wasi(guest, path, 0, OFlags::empty(), Rights::FD_READ.with(Rights::FD_WRITE))
        },
    ),
    (
        "path_open, creat",
        |dir, path| open_native(dir, path, libc::O_WRONLY | libc::O_CREAT),
        |guest, path| open_wasi(guest, path, 1, OFlags::CREAT, Rights::FD_WRITE),
    ),
    (
        "path_open, creat and excl",
        |dir, path| open_native(dir, path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL),
        |guest, path| open_wasi(guest, path, 1, OFlags::CREAT.with(OFlags::EXCL), Rights::FD_WRITE),
    ),
    (
        "path_open, creat without following",
        |dir, path| open_native(dir, path, libc::O_WRONLY | libc::O_CREAT | libc::O_NOFOLLOW),
        |guest, path| open_wasi(guest, path, 0, OFlags::CREAT, Rights::FD_WRITE),
    ),
    (
        "path_open, trunc",
        |dir, path| open_native(dir, path, libc::O_WRONLY | libc::O_TRUNC),
        |guest, path| open_wasi(guest, path, 1, OFlags::TRUNC, Rights::FD_WRITE),
    ),
    (
        "path_open, directory",
        |dir, path| open_native(dir, path, libc::O_RDONLY | libc::O_DIRECTORY),
        |guest, path| open_wasi(guest, path, 1, OFlags::DIRECTORY, Rights::FD_READDIR),
    ),
    (
        "path_open, directory without following",
        |dir, path| open_native(dir, path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW),
        |guest, path| open_wasi(guest, path, 0, OFlags::DIRECTORY, Rights::FD_READDIR),
    ),
];

/// Empties a directory.
fn empty(root: &Path) {
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn all_paths_by_all_calls(by_steps: bool) {
    let place = tempfile::tempdir().unwrap();
    let roots = ["native", "wasi"].map(|name| place.path().join(name));
    for root in &roots {
        fs::create_dir(root).unwrap();
        tree(root);
    }
    let fresh = contents(&roots[0]);
    let dir = fs::File::open(&roots[0]).unwrap();
    let builder = WasiCtx::builder().preopened_dir(&roots[1], "/", false);
    let guest = Guest::new(if by_steps { builder.resolve_by_steps() } else { builder });
    let mark = guest.mark();
    let mut different = Vec::new();
    let mut count = 0;
    for (call, system, wasi) in CALLS {
        for path in paths() {
            let expected = native(system(dir.as_raw_fd(), &CString::new(path.as_str()).unwrap()));
            let got = wasi(&guest, &path);
            let [there, here] = [contents(&roots[0]), contents(&roots[1])];
            if got != expected || there != here {
                different.push(format!("{call} {path:?}: {got:?} for {expected:?}"));
            }
            if there != fresh || here != fresh {
                for root in &roots {
                    empty(root);
                    tree(root);
                }
                // The times of the directory itself may have been set.
                let now = fs::FileTimes::new().set_modified(std::time::SystemTime::now());
                for root in &roots {
                    fs::File::open(root).unwrap().set_times(now).unwrap();
                }
            }
            guest.release(mark);
            count += 1;
        }
    }
    assert!(different.is_empty(), "{} of {count}:\n{}", different.len(), different.join("\n"));
    assert!(count > 1800);
}

#[test]
fn paths_by_the_kernel() {
    all_paths_by_all_calls(false);
}

#[test]
fn paths_by_steps() {
    all_paths_by_all_calls(true);
}
