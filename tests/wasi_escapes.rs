//! WASI: nothing outside of the preopened directories can be touched, whatever a program does and whatever happens to
//! the directories meanwhile. Each test runs for both ways of resolving paths: by the kernel (`openat2`), and step by
//! step, as on kernels without that call.

mod wasi_support;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use updraft::host::wasi::{Errno, OFlags, Rights, WasiCtx};
use wasi_support::*;

/// Makes two tests of a function that takes whether to resolve step by step.
macro_rules! both_ways {
    ($($function:ident),* $(,)?) => {$(
        mod $function {
            #[test]
            fn by_the_kernel() {
                super::$function(false);
            }
            #[test]
            fn by_steps() {
                super::$function(true);
            }
        }
    )*};
}

both_ways!(
    dots_in_every_position,
    absolute_paths,
    links_that_lead_outside,
    links_as_last_component,
    proc_as_a_directory,
    renames_in_flight,
    directories_moved_away,
    hard_links,
    long_names,
    odd_bytes,
);

/// A directory `root` for the guest, as descriptor 3, and beside it what it must not touch.
struct World {
    dir: tempfile::TempDir,
    guest: Guest,
    /// What `outside` looked like at first.
    before: Vec<(PathBuf, String)>,
}

impl World {
    fn new(by_steps: bool) -> World {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("outside/dir")).unwrap();
        fs::write(at("outside/secret"), "secret").unwrap();
        fs::write(at("outside/dir/secret"), "secret").unwrap();
        symlink("secret", at("outside/link")).unwrap();
        fs::create_dir_all(at("root/sub/deep")).unwrap();
        for file in ["root/file", "root/sub/file", "root/sub/deep/file"] {
            fs::write(at(file), "inside").unwrap();
        }
        let builder = WasiCtx::builder().preopened_dir(at("root"), "/", false);
        let guest = Guest::new(if by_steps { builder.resolve_by_steps() } else { builder });
        let before = snapshot(&at("outside"));
        World { dir, guest, before }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.at("root").join(name)).unwrap();
    }

    /// Everything outside is as it was.
    fn assert_untouched(&self) {
        assert_eq!(snapshot(&self.at("outside")), self.before);
        let mut beside: Vec<_> =
            fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        beside.sort();
        assert_eq!(beside, ["outside", "root"]);
    }

    /// Every function that takes a path, with this one, must be refused with one of these codes.
    fn assert_refused(&self, path: &str, codes: &[Errno]) {
        for (call, result) in every_call(&self.guest, path.as_bytes()) {
            let errno = result.expect_err(&format!("{call} of {path:?}"));
            let as_directory = created_as_directory(call, path, errno);
            assert!(codes.contains(&errno) || as_directory, "{call} of {path:?}: {errno}");
        }
        self.assert_untouched();
    }
}

/// What ends with a slash cannot be created as a file, wherever it is: that may be told first.
fn created_as_directory(call: &str, path: &str, errno: Errno) -> bool {
    call.starts_with("create") && path.ends_with('/') && errno == Errno::Isdir
}

/// Names, types, contents and attributes of all below a directory.
fn snapshot(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let contents =
            if stat.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        if stat.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let times = (stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec());
        let what = (stat.ino(), stat.mode(), stat.nlink(), stat.size(), times);
        all.push((path, format!("{contents} {what:?}")));
    }
    all.sort();
    all
}

/// All functions with a path in each of their places: those that follow a link in the last component.
fn following_calls(guest: &Guest, path: &[u8]) -> Vec<(&'static str, Result<(), Errno>)> {
    let open = |how| guest.open_bytes(DIR, path, how).map(|fd| guest.close(fd).unwrap());
    let (at, len) = (guest.put(path), path.len() as u64);
    let result = guest.alloc(64);
    let dir = u64::from(DIR);
    let base = Rights::FD_READ.0;
    vec![
        ("open", open(READ)),
        ("open to write", open(WRITE)),
        ("create", open(CREATE)),
        ("truncate", open(Open { oflags: OFlags::TRUNC.0, base, ..READ })),
        ("open directory", open(DIRECTORY)),
        ("filestat_get", guest.call("path_filestat_get", &[dir, 1, at, len, result])),
        ("filestat_set_times", guest.call("path_filestat_set_times", &[dir, 1, at, len, 5, 5, 5])),
    ]
}

/// Those that act on the name that the path ends with.
fn naming_calls(guest: &Guest, path: &[u8]) -> Vec<(&'static str, Result<(), Errno>)> {
    let (at, len) = (guest.put(path), path.len() as u64);
    let (file, new, result) = (guest.put(b"file"), guest.put(b"new"), guest.alloc(64));
    let dir = u64::from(DIR);
    let exclusive = Open { oflags: OFlags::CREAT.with(OFlags::EXCL).0, lookup: 0, ..WRITE };
    vec![
        ("create anew", guest.open_bytes(DIR, path, exclusive).map(|fd| guest.close(fd).unwrap())),
        ("create_directory", guest.call("path_create_directory", &[dir, at, len])),
        ("symlink", guest.call("path_symlink", &[file, 4, dir, at, len])),
        ("link to", guest.call("path_link", &[dir, 0, file, 4, dir, at, len])),
        ("readlink", guest.call("path_readlink", &[dir, at, len, result, 16, result + 16])),
        ("filestat_get of a name", guest.call("path_filestat_get", &[dir, 0, at, len, result])),
        ("set_times of a name", guest.call("path_filestat_set_times", &[dir, 0, at, len, 5, 5, 5])),
        ("link from", guest.call("path_link", &[dir, 0, at, len, dir, new, 3])),
        ("rename from", guest.call("path_rename", &[dir, at, len, dir, new, 3])),
        ("rename to", guest.call("path_rename", &[dir, file, 4, dir, at, len])),
        ("remove_directory", guest.call("path_remove_directory", &[dir, at, len])),
        ("unlink_file", guest.call("path_unlink_file", &[dir, at, len])),
    ]
}

fn every_call(guest: &Guest, path: &[u8]) -> Vec<(&'static str, Result<(), Errno>)> {
    [following_calls(guest, path), naming_calls(guest, path)].concat()
}

fn dots_in_every_position(by_steps: bool) {
    let world = World::new(by_steps);
    world.link("sub/deep", "to_deep");
    for (prefix, depth) in [
        ("", 0),
        ("sub/", 1),
        ("sub/deep/", 2),
        ("to_deep/", 2),
        ("./sub//./deep/", 2),
        ("sub/../sub/", 1),
    ] {
        for dots in ["../", "..//", ".././", "./../"] {
            let out = format!("{prefix}{}", dots.repeat(depth + 1));
            for rest in [
                "outside/secret",
                "outside/new",
                "outside/dir/../secret",
                "root/file",
                "none",
                "",
                ".",
            ] {
                world.assert_refused(&format!("{out}{rest}"), &[Errno::Perm]);
            }
        }
        // In the middle of what would be right again, and at the end.
        world.assert_refused(
            &format!("{prefix}{}root/sub/file", "../".repeat(depth + 1)),
            &[Errno::Perm],
        );
        world.assert_refused(&format!("{prefix}{}..", "../".repeat(depth)), &[Errno::Perm]);
    }
    // A directory below has no way up to the one it was opened in.
    let sub = world.guest.open(DIR, "sub", DIRECTORY).unwrap();
    for path in ["..", "../file", "deep/../../file", "../sub/file"] {
        assert_eq!(world.guest.open(sub, path, READ), Err(Errno::Perm));
        assert_eq!(world.guest.path("path_unlink_file", sub, path), Err(Errno::Perm));
    }
}

fn absolute_paths(by_steps: bool) {
    let world = World::new(by_steps);
    let secret = world.at("outside/secret").to_str().unwrap().to_owned();
    let inside = world.at("root/file").to_str().unwrap().to_owned();
    for path in [
        "/",
        "//",
        "/.",
        "/..",
        "/etc/passwd",
        "/proc/self/root",
        &secret,
        &inside,
        &format!("/{secret}"),
    ] {
        world.assert_refused(path, &[Errno::Perm]);
    }
    assert_eq!(world.guest.symlink(&secret, DIR, "link"), Err(Errno::Perm));
    assert_eq!(world.guest.symlink("/", DIR, "link"), Err(Errno::Perm));
}

/// Links that lead outside, and what comes after them.
fn bad_links(world: &World) -> Vec<&'static str> {
    let outside = fs::File::open(world.at("outside")).unwrap();
    let descriptor = outside.as_raw_fd();
    // It stays open to the end of the process, so that the links through /proc have a target.
    std::mem::forget(outside);
    let links = [
        ("relative", "../outside".to_owned()),
        ("relative_slash", "../outside/".to_owned()),
        ("absolute", world.at("outside").to_str().unwrap().to_owned()),
        ("root_of_all", "/".to_owned()),
        ("up", "..".to_owned()),
        ("through_sub", "sub/deep/../../../outside".to_owned()),
        ("chain", "chain2".to_owned()),
        ("chain2", "sub/chain3".to_owned()),
        ("sub/chain3", "../relative".to_owned()),
        ("out_and_in", "../outside/../root/sub".to_owned()),
        ("up_and_in", "../root/sub".to_owned()),
        ("proc_fd", format!("/proc/self/fd/{descriptor}")),
        ("proc_root", "/proc/self/root".to_owned()),
        ("proc_cwd", "/proc/self/cwd/..".to_owned()),
        ("dev_fd", format!("/dev/fd/{descriptor}")),
    ];
    for (name, target) in &links {
        world.link(target, name);
    }
    links.iter().map(|(name, _)| *name).collect()
}

fn links_that_lead_outside(by_steps: bool) {
    let world = World::new(by_steps);
    for link in bad_links(&world) {
        for rest in
            ["secret", "dir/secret", "new", "link", "dir/..", "outside/secret", "../root/file", "."]
        {
            world.assert_refused(&format!("{link}/{rest}"), &[Errno::Perm]);
            world.assert_refused(&format!("sub/deep/../../{link}//./{rest}"), &[Errno::Perm]);
        }
    }
    // Loops lead nowhere; long chains end like loops.
    world.link("loop2", "loop1");
    world.link("loop1", "loop2");
    world.link("file", "step0");
    for i in 1..50 {
        world.link(format!("step{}", i - 1), &format!("step{i}"));
    }
    world.assert_refused("loop1/x", &[Errno::Loop]);
    assert!(world.guest.open(DIR, "step39", READ).is_ok());
    assert_eq!(world.guest.open(DIR, "step40", READ), Err(Errno::Loop));
    for (call, result) in following_calls(&world.guest, b"loop2") {
        assert_eq!(result, Err(Errno::Loop), "{call}");
    }
}

fn links_as_last_component(by_steps: bool) {
    let world = World::new(by_steps);
    let mut links = bad_links(&world);
    // Where there is nothing yet: creating must not create.
    world.link("../outside/new", "dangling");
    world.link(world.at("outside/new"), "dangling_absolute");
    world.link("../outside/dir/new", "sub/dangling");
    world.link("../outside/secret", "to_file");
    world.link(world.at("outside/secret"), "to_file_absolute");
    links.extend(["dangling", "dangling_absolute", "to_file", "to_file_absolute"]);
    for link in &links {
        for path in
            [(*link).to_owned(), format!("{link}/"), format!("./{link}"), format!("sub/../{link}")]
        {
            for (call, result) in following_calls(&world.guest, path.as_bytes()) {
                let errno = result.expect_err(&format!("{call} of {path}"));
                let as_directory = created_as_directory(call, &path, errno);
                assert!(errno == Errno::Perm || as_directory, "{call} of {path}: {errno}");
            }
            world.assert_untouched();
        }
        // Without following, `creat` does not go through either.
        for oflags in [OFlags::CREAT, OFlags::CREAT.with(OFlags::EXCL), OFlags::TRUNC] {
            let how = Open { lookup: 0, oflags: oflags.0, ..WRITE };
            let errno = world.guest.open(DIR, link, how).expect_err(link);
            assert!(matches!(errno, Errno::Loop | Errno::Exist), "{link}: {errno}");
        }
    }
    // Calls on names act on the link, and not on what it leads to.
    for link in &links {
        let made_again = format!("{link}.again");
        let target = fs::read_link(world.at("root").join(link)).unwrap();
        let stat = world.guest.path_filestat(DIR, 0, link).unwrap();
        assert_eq!(stat.filetype, TYPE_SYMLINK);
        assert_eq!(stat.size, target.as_os_str().len() as u64);
        let name = world.guest.put(link.as_bytes());
        let times = [DIR.into(), 0, name, link.len() as u64, 5, 5, 5];
        assert_eq!(world.guest.call("path_filestat_set_times", &times), Ok(()));
        assert_eq!(world.guest.link(DIR, 0, link, DIR, &made_again), Ok(()));
        assert_eq!(world.guest.rename(DIR, &made_again, DIR, "moved"), Ok(()));
        assert_eq!(world.guest.path("path_remove_directory", DIR, link), Err(Errno::Notdir));
        assert_eq!(world.guest.path("path_unlink_file", DIR, link), Ok(()));
        assert_eq!(fs::read_link(world.at("root/moved")).unwrap(), target);
        assert_eq!(world.guest.path("path_unlink_file", DIR, "moved"), Ok(()));
        world.assert_untouched();
    }
}

/// Even a directory in which the kernel has links that it follows by itself has no way out.
fn proc_as_a_directory(by_steps: bool) {
    let world = World::new(by_steps);
    let (dir, file) = (
        fs::File::open(world.at("outside/dir")).unwrap(),
        fs::File::open(world.at("outside/secret")).unwrap(),
    );
    for (preopen, prefix) in
        [("/proc/self", ""), ("/proc", "self/"), ("/", "proc/self/"), ("/", "proc/thread-self/")]
    {
        let builder = WasiCtx::builder().preopened_dir(preopen, "/", false);
        let guest = Guest::new(if by_steps { builder.resolve_by_steps() } else { builder });
        for path in [
            format!("fd/{}", dir.as_raw_fd()),
            format!("fd/{}/secret", dir.as_raw_fd()),
            format!("fd/{}/../secret", dir.as_raw_fd()),
            format!("fd/{}", file.as_raw_fd()),
            format!("fd/{}/", dir.as_raw_fd()),
            "root/etc/passwd".into(),
            "root/".into(),
            "cwd/Cargo.toml".into(),
            "exe".into(),
        ] {
            let path = format!("{prefix}{path}");
            for (call, result) in following_calls(&guest, path.as_bytes()) {
                let errno = result.expect_err(&format!("{call} of {path} in {preopen}"));
                let refused = matches!(errno, Errno::Perm | Errno::Loop);
                let as_directory = created_as_directory(call, &path, errno);
                assert!(refused || as_directory, "{call} of {path}: {errno}");
            }
        }
        // What is no such link can be read.
        let status = guest.open(DIR, &format!("{prefix}status"), READ).unwrap();
        assert!(guest.read(status, 4096).unwrap().starts_with(b"Name:"));
    }
    world.assert_untouched();
}

/// Swaps two names in one step.
fn exchange(one: &Path, other: &Path) {
    let text = |path: &Path| std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    let (one, other) = (text(one), text(other));
    // SAFETY: the kernel reads the names up to their zeros.
    let done = unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// A thread of the host swaps a directory and a link to the outside, again and again, while the guest goes through that
/// name with every function.
fn renames_in_flight(by_steps: bool) {
    let world = World::new(by_steps);
    fs::create_dir(world.at("root/here")).unwrap();
    for name in ["secret", "dir"] {
        fs::create_dir_all(world.at("root/here").join(name)).unwrap();
    }
    for name in ["mine", "kept"] {
        fs::write(world.at("root/here").join(name), "inside").unwrap();
    }
    world.link("../outside", "evil");
    let (here, evil) = (world.at("root/here"), world.at("root/evil"));
    let read_kept = |guest: &Guest| {
        let fd = guest.open(DIR, "here/kept", READ)?;
        let contents = guest.read(fd, 16).unwrap();
        guest.close(fd).unwrap();
        Ok(contents)
    };
    // At rest, one way round and the other.
    assert_eq!(read_kept(&world.guest).unwrap(), b"inside");
    exchange(&here, &evil);
    assert_eq!(read_kept(&world.guest), Err(Errno::Perm));
    world.assert_refused("here/secret", &[Errno::Perm]);
    exchange(&here, &evil);

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // An even number of swaps, so that all is where it was.
            while !done.load(Ordering::SeqCst) {
                exchange(&here, &evil);
                exchange(&here, &evil);
            }
        });
        let paths: [&[u8]; 4] =
            [b"here/secret", b"here/dir/secret", b"here/new", b"sub/../here/dir/../mine"];
        let mut read = Vec::new();
        for i in 0..150 {
            let guest = world.guest.clone();
            let mark = guest.mark();
            // Which way round a call finds it is for the scheduler to say; what matters is what the calls have not
            // touched, below.
            every_call(&guest, paths[i % paths.len()]);
            read.push(read_kept(&guest));
            // What the calls have made or removed is made or removed again.
            for path in ["new", "file"] {
                let _ = guest.path("path_remove_directory", DIR, path);
                let _ = guest.path("path_unlink_file", DIR, path);
            }
            if let Ok(fd) = guest.open(DIR, "file", CREATE) {
                guest.close(fd).unwrap();
            }
            guest.release(mark);
        }
        done.store(true, Ordering::SeqCst);
        for contents in read {
            assert!(
                matches!(contents.as_deref(), Ok(b"inside") | Err(Errno::Perm)),
                "{contents:?}"
            );
        }
    });
    world.assert_untouched();
}

fn refusal<T>(result: Result<T, Errno>) -> Option<Errno> {
    result.err()
}

/// A directory that the guest has open is moved out of its root and back: `..` does not lead along.
fn directories_moved_away(by_steps: bool) {
    let world = World::new(by_steps);
    let deep = world.guest.open(DIR, "sub/deep", DIRECTORY).unwrap();
    fs::rename(world.at("root/sub/deep"), world.at("outside/dir/deep")).unwrap();
    for path in ["..", "../secret", "../../secret", "./../secret", "../../outside/secret"] {
        assert_eq!(world.guest.open(deep, path, READ), Err(Errno::Perm), "{path}");
        assert_eq!(world.guest.path("path_unlink_file", deep, path), Err(Errno::Perm), "{path}");
    }
    fs::rename(world.at("outside/dir/deep"), world.at("root/sub/deep")).unwrap();
    // And while it goes out and in, a path that goes down and up again.
    let done = AtomicBool::new(false);
    let (inside, outside) = (world.at("root/sub/deep"), world.at("outside/deep"));
    let mut results = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                fs::rename(&inside, &outside).unwrap();
                fs::rename(&outside, &inside).unwrap();
            }
        });
        for _ in 0..300 {
            let mark = world.guest.mark();
            for path in ["sub/deep/../secret", "sub/deep/../../outside/secret"] {
                results.push(refusal(world.guest.open(DIR, path, READ)));
                results.push(refusal(world.guest.path("path_unlink_file", DIR, path)));
            }
            world.guest.release(mark);
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(results.iter().all(|errno| matches!(errno, Some(Errno::Noent | Errno::Perm))));
    assert_eq!(fs::read(world.at("outside/secret")).unwrap(), b"secret");
    assert_eq!(fs::read(world.at("outside/dir/secret")).unwrap(), b"secret");
}

fn hard_links(by_steps: bool) {
    let world = World::new(by_steps);
    world.link("../outside/secret", "soft");
    // A name for what is outside cannot be had by any path, nor by a link that is followed.
    for (flags, path, errno) in [
        (0, "../outside/secret", Errno::Perm),
        (1, "soft", Errno::Inval),
        (0, "soft/", Errno::Perm),
        (0, "soft/.", Errno::Perm),
    ] {
        assert_eq!(world.guest.link(DIR, flags, path, DIR, "hard"), Err(errno), "{path}");
    }
    for path in ["../outside/hard", "soft/hard", "sub/../../outside/hard"] {
        let errno = world.guest.link(DIR, 0, "file", DIR, path).unwrap_err();
        assert!(matches!(errno, Errno::Perm | Errno::Notdir), "{path}: {errno}");
    }
    // A link to the link is a link.
    world.guest.link(DIR, 0, "soft", DIR, "soft2").unwrap();
    assert_eq!(world.guest.open(DIR, "soft2", READ), Err(Errno::Perm));
    world.assert_untouched();
    // From a directory that may not be changed a link into one that may would be a way to change it.
    let other = tempfile::tempdir().unwrap();
    let builder = WasiCtx::builder()
        .preopened_dir(world.at("outside"), "/fixed", true)
        .preopened_dir(other.path(), "/", false);
    let guest = Guest::new(if by_steps { builder.resolve_by_steps() } else { builder });
    assert_eq!(guest.link(3, 0, "secret", 4, "hard"), Err(Errno::Rofs));
    assert_eq!(guest.rename(3, "secret", 4, "hard"), Err(Errno::Rofs));
    world.assert_untouched();
}

fn long_names(by_steps: bool) {
    let world = World::new(by_steps);
    let guest = &world.guest;
    for path in
        ["n".repeat(256), format!("sub/{}", "n".repeat(256)), format!("{}/x", "n".repeat(256))]
    {
        for (call, result) in every_call(guest, path.as_bytes()) {
            assert_eq!(result, Err(Errno::Nametoolong), "{call} of a name of 256 bytes");
        }
    }
    // 4095 bytes are a path, 4096 are none.
    let most = |tail: &str| format!("{}{tail}", "./".repeat(2047 - tail.len() / 2));
    assert_eq!(most("x").len(), 4095);
    for (length, path) in [(4096, "./".repeat(2048)), (5000, "x".repeat(5000))] {
        assert_eq!(path.len(), length, "the path is as long as is said");
        for (call, result) in every_call(guest, path.as_bytes()) {
            assert_eq!(result, Err(Errno::Nametoolong), "{call} of {length} bytes");
        }
    }
    guest.close(guest.open(DIR, &most("x"), CREATE).unwrap()).unwrap();
    assert!(guest.path_filestat(DIR, 1, &most("x")).is_ok());
    assert_eq!(guest.path("path_unlink_file", DIR, &most("x")), Ok(()));
    let longest = "n".repeat(255);
    assert_eq!(guest.path("path_create_directory", DIR, &longest), Ok(()));
    assert_eq!(guest.path("path_remove_directory", DIR, &longest), Ok(()));
    let target = "t".repeat(4095);
    assert_eq!(guest.symlink(&target, DIR, "to_long"), Ok(()));
    assert_eq!(guest.open(DIR, "to_long", READ), Err(Errno::Nametoolong));
    // Out by as many steps as a path can have.
    world.assert_refused(&"../".repeat(1365), &[Errno::Perm]);
    world.assert_untouched();
}

fn odd_bytes(by_steps: bool) {
    let world = World::new(by_steps);
    for (path, errno) in [
        (&b""[..], Errno::Noent),
        (b"\0", Errno::Inval),
        (b"file\0", Errno::Inval),
        (b"file\0/../../outside/secret", Errno::Inval),
        (b"sub/\0../../outside/secret", Errno::Inval),
        (b"../outside/secret\0", Errno::Inval),
        (b"\xff", Errno::Ilseq),
        (b"file\xc0\xaf", Errno::Ilseq),
        // Slashes and dots in forms that are too long, and a lone surrogate.
        (b"..\xc0\xafoutside\xc0\xafsecret", Errno::Ilseq),
        (b"\xe0\x80\xae\xe0\x80\xae/outside/secret", Errno::Ilseq),
        (b"\xed\xa0\x80", Errno::Ilseq),
    ] {
        for (call, result) in every_call(&world.guest, path) {
            assert_eq!(result, Err(errno), "{call} of {path:?}");
        }
    }
    let target = world.guest.put(b"a\0b");
    let name = world.guest.put(b"new");
    assert_eq!(world.guest.call("path_symlink", &[target, 3, 3, name, 3]), Err(Errno::Inval));
    // Names that are odd but right.
    for name in ["...", "..x", "x..", " ", "\n", "\\", "a\\..\\b", "%2e%2e", "é", "..%2f"] {
        let fd = world.guest.open(DIR, name, CREATE).unwrap();
        world.guest.close(fd).unwrap();
        assert!(world.at("root").join(name).is_file(), "{name:?}");
        assert_eq!(world.guest.path("path_unlink_file", DIR, name), Ok(()));
    }
    world.assert_untouched();
}
