//! WASI: a program in C that calls every function (`tests/wasi/functions.c`), and what the host sees of the same files.

mod common;

use common::{Updraft, per_strategy, repository};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Stdio;

/// Runs tests of the program, by their names, in a new directory. Gives the directory and what was printed.
fn run(strategy: &str, names: &[&str], code: i32) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let ended = Updraft::run(strategy)
        .args([
            "--tcplisten",
            "127.0.0.1:0",
            "--env",
            "ONE=1",
            "--env",
            "EMPTY=",
            "--env",
            "ODD=a=b c",
        ])
        .arg("--dir")
        .arg(format!("{}::/its name", dir.path().display()))
        .arg(repository("tests/wasi/functions.wasm"))
        .args(names)
        .end()
        .expect(code);
    assert_eq!(ended.stderr, "", "{names:?}");
    let text = ended.text().to_owned();
    if code == 0 {
        let ok: Vec<_> = text.lines().filter_map(|line| line.strip_suffix(" ok")).collect();
        assert_eq!(ok, names, "{text}");
    }
    (dir, text)
}

/// The numbers `key=value` of a line.
fn fields(line: &str) -> BTreeMap<&str, u64> {
    line.split(' ')
        .filter_map(|word| word.split_once('='))
        .map(|(key, value)| (key, value.parse().unwrap()))
        .collect()
}

fn type_of(path: &Path) -> u64 {
    let kind = fs::symlink_metadata(path).unwrap().file_type();
    match () {
        () if kind.is_block_device() => 1,
        () if kind.is_char_device() => 2,
        () if kind.is_dir() => 3,
        () if kind.is_file() => 4,
        () if kind.is_symlink() => 7,
        () => 0,
    }
}

/// What needs no look at the files: the program itself checks.
fn functions(strategy: &str) {
    let names = [
        "args",
        "fd_advise",
        "fd_allocate",
        "fd_close",
        "fd_sync",
        "fd_fdstat_set_flags",
        "fd_fdstat_set_rights",
        "fd_filestat_set_size",
        "positioned",
        "read_write",
        "fd_readdir",
        "fd_renumber",
        "directories",
        "links",
        "filestat",
        "set_times",
        "path_open",
        "poll_oneoff",
        "process",
        "sockets",
    ];
    run(strategy, &names, 0);
    run(strategy, &["proc_exit"], 42);
    run(strategy, &["proc_raise"], 128 + libc::SIGTERM);
}

fn what_the_host_sees(strategy: &str) {
    let before = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let (_, text) = run(strategy, &["environ", "fd_prestat", "fd_fdstat", "clocks"], 0);
    let after = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let time = text.lines().find_map(|line| line.strip_prefix("time ")).unwrap().parse().unwrap();
    assert!((before..=after).contains(&time), "{before} {time} {after}");
    // Standard input is /dev/null here, the others are pipes.
    let expected = "variable ONE=1\nvariable EMPTY=\nvariable ODD=a=b c\nenviron ok\n\
                    preopened /its name\nfd_prestat ok\n\
                    stdio 0 type=2 terminal=0\nstdio 1 type=0 terminal=0\nstdio 2 type=0 terminal=0\n";
    assert!(text.starts_with(expected), "{text}");

    let (dir, text) = run(strategy, &["filestat"], 0);
    let mut seen = 0;
    for line in text.lines().filter(|line| line.starts_with("stat ")) {
        let path = dir.path().join(line.split(' ').nth(1).unwrap());
        let (guest, host) = (fields(line), fs::symlink_metadata(&path).unwrap());
        let nanoseconds = |s: i64, ns: i64| (s * 1_000_000_000 + ns) as u64;
        assert_eq!(guest["dev"], host.dev(), "{line}");
        assert_eq!(guest["ino"], host.ino(), "{line}");
        assert_eq!(guest["type"], type_of(&path), "{line}");
        assert_eq!(guest["nlink"], host.nlink(), "{line}");
        assert_eq!(guest["size"], host.size(), "{line}");
        assert_eq!(guest["mtim"], nanoseconds(host.mtime(), host.mtime_nsec()), "{line}");
        assert_eq!(guest["ctim"], nanoseconds(host.ctime(), host.ctime_nsec()), "{line}");
        seen += 1;
    }
    assert_eq!(seen, 5);

    let (dir, _) = run(strategy, &["set_times"], 0);
    let host = fs::metadata(dir.path().join("file")).unwrap();
    assert_eq!((host.atime(), host.atime_nsec()), (1_000_000_000, 123_456_789));
    assert_eq!((host.mtime(), host.mtime_nsec()), (1_500_000_000, 987_654_321));

    let (dir, text) = run(strategy, &["fd_readdir"], 0);
    let mut guest: Vec<(String, u64, u64)> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("entry ")) {
        let (facts, name) = line.split_at(line.find(" type=").unwrap() + " type=0".len());
        guest.push((name[1..].to_owned(), fields(facts)["ino"], fields(facts)["type"]));
    }
    let mut host: Vec<(String, u64, u64)> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, entry.metadata().unwrap().ino(), type_of(&entry.path()))
        })
        .collect();
    for dots in [".", ".."] {
        let ino = fs::metadata(dir.path().join(dots)).unwrap().ino();
        host.push((dots.into(), ino, 3));
    }
    guest.sort();
    host.sort();
    assert_eq!(guest, host);
    assert_eq!(guest.len(), 32);

    let (dir, _) = run(strategy, &["links"], 0);
    assert_eq!(fs::read_link(dir.path().join("soft")).unwrap(), Path::new("file"));
    let [file, renamed] =
        ["file", "renamed"].map(|name| fs::metadata(dir.path().join(name)).unwrap());
    assert_eq!((file.ino(), file.nlink()), (renamed.ino(), 2));
    assert!(!dir.path().join("hard").exists());
}

/// Threads that use the same descriptors and names in every way, and a main thread that ends the program in the middle.
fn races(strategy: &str) {
    for calls in ["20000", "1"] {
        let dir = tempfile::tempdir().unwrap();
        let ended = Updraft::run(strategy)
            .arg("--dir")
            .arg(format!("{}::/", dir.path().display()))
            .arg(repository("tests/wasi/races.wasm"))
            .arg(calls)
            .end()
            .expect(0);
        assert_eq!((ended.text(), &*ended.stderr), ("raced\n", ""));
    }
}

per_strategy!(functions, what_the_host_sees, races);

/// A new terminal: the side of the program, and the other, which must stay open.
fn terminal() -> (fs::File, OwnedFd) {
    let mut name = [0; 100];
    // SAFETY: a new descriptor or -1, which is checked; the name has its length.
    let other = unsafe {
        let fd = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY);
        assert!(fd >= 0);
        assert_eq!((libc::grantpt(fd), libc::unlockpt(fd)), (0, 0));
        assert_eq!(libc::ptsname_r(fd, name.as_mut_ptr(), name.len()), 0);
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: the call has ended the name with a zero.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_str().unwrap();
    let side =
        fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name);
    (side.unwrap(), other)
}

/// What a program sees of its standard streams is what they are: that is how its C library tells a terminal.
#[test]
fn standard_streams_are_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("input"), "input").unwrap();
    let (side, _other) = terminal();
    let null = || Stdio::from(fs::File::open("/dev/null").unwrap());
    let file = || Stdio::from(fs::File::open(at("input")).unwrap());
    let tty = || Stdio::from(side.try_clone().unwrap());
    for (stdin, stderr, types) in [
        (file(), tty(), [(4, 0), (4, 0), (2, 1)]),
        (tty(), null(), [(2, 1), (4, 0), (2, 0)]),
        (Stdio::piped(), file(), [(0, 0), (4, 0), (4, 0)]),
    ] {
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_updraft"))
            .args(["run", "--tier", "interp", "--tcplisten", "127.0.0.1:0", "--dir"])
            .arg(dir.path())
            .arg(repository("tests/wasi/functions.wasm"))
            .arg("fd_fdstat")
            .stdin(stdin)
            .stdout(fs::File::create(at("output")).unwrap())
            .stderr(stderr)
            .status()
            .unwrap();
        assert!(status.success());
        let text = fs::read_to_string(at("output")).unwrap();
        let stdio: Vec<_> = text
            .lines()
            .take(3)
            .map(|line| (fields(line)["type"], fields(line)["terminal"]))
            .collect();
        assert_eq!(stdio, types, "{text}");
    }
}
