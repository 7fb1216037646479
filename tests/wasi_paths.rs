//! WASI: paths, and that they never leave their directory.

mod wasi_support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use updraft::host::wasi::{Errno, Host, OFlags, Rights, WasiCtx};
use wasi_support::*;

/// A directory `root` for the guest beside a file `secret`, with links that try to reach it.
fn jail() -> (tempfile::TempDir, Guest) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("sub/deep")).unwrap();
    fs::write(root.join("file"), "inside").unwrap();
    for (link, target) in [
        ("out", "../secret"),
        ("up", ".."),
        ("absolute", "/etc/passwd"),
        ("via", "sub/../../secret"),
        ("root_again", "../root/file"),
        ("fine", "sub/../file"),
        ("loop", "loop"),
        ("to_sub", "sub"),
        ("dangling", "nowhere"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let guest = Guest::in_dir(&root);
    (dir, guest)
}

#[test]
fn no_path_leads_outside() {
    let (dir, guest) = jail();
    for path in [
        "..",
        "../secret",
        "sub/../../secret",
        "sub/deep/../../../secret",
        "/etc/passwd",
        "/",
        "//",
        "out",
        "up",
        "up/secret",
        "up/root/file",
        "absolute",
        "via",
        "root_again",
        "to_sub/../../secret",
        "./../secret",
    ] {
        for how in [READ, CREATE, DIRECTORY] {
            assert_eq!(guest.open(DIR, path, how), Err(Errno::Perm), "open {path}");
        }
        assert_eq!(guest.path_filestat(DIR, 1, path), Err(Errno::Perm), "stat {path}");
    }
    // Calls that act on a name do not follow it, so a link that leads outside is only a name for them.
    for path in ["..", "../new", "sub/../../new", "/new", "up/new", "up/secret", "sub/../up/secret"]
    {
        for name in ["path_create_directory", "path_remove_directory", "path_unlink_file"] {
            assert_eq!(guest.path(name, DIR, path), Err(Errno::Perm), "{name} {path}");
        }
        assert_eq!(guest.symlink("file", DIR, path), Err(Errno::Perm), "symlink {path}");
        assert_eq!(guest.rename(DIR, "file", DIR, path), Err(Errno::Perm), "rename to {path}");
        assert_eq!(guest.rename(DIR, path, DIR, "file"), Err(Errno::Perm), "rename {path}");
        assert_eq!(guest.link(DIR, 0, "file", DIR, path), Err(Errno::Perm), "link to {path}");
        assert_eq!(guest.link(DIR, 0, path, DIR, "new"), Err(Errno::Perm), "link {path}");
        assert_eq!(readlink(&guest, path, 10), Err(Errno::Perm), "readlink {path}");
    }
    assert_eq!(guest.symlink("/etc/passwd", DIR, "new"), Err(Errno::Perm));
    // A descriptor below the root has no way up either.
    let sub = guest.open(DIR, "sub", DIRECTORY).unwrap();
    assert_eq!(guest.open(sub, "../file", READ), Err(Errno::Perm));
    assert_eq!(guest.open(sub, "deep/..", DIRECTORY).map(drop), Ok(()));
    assert_eq!(fs::read(dir.path().join("secret")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn paths_inside_work() {
    let (_dir, guest) = jail();
    for path in
        ["file", "./file", "sub/../file", "fine", "sub/.//deep/../../file", "to_sub/../file"]
    {
        let fd = guest.open(DIR, path, READ).unwrap();
        assert_eq!(guest.read(fd, 100).unwrap(), b"inside", "{path}");
        guest.close(fd).unwrap();
    }
    for path in [".", "./", "sub/..", "to_sub/", "to_sub/deep//"] {
        assert!(guest.open(DIR, path, DIRECTORY).is_ok(), "{path}");
    }
    assert_eq!(guest.open(DIR, "loop", READ), Err(Errno::Loop));
    assert_eq!(guest.open(DIR, "file/", READ), Err(Errno::Notdir));
    assert_eq!(guest.open(DIR, "file/x", READ), Err(Errno::Notdir));
    assert_eq!(guest.open(DIR, "dangling", READ), Err(Errno::Noent));
}

#[test]
fn malformed_paths() {
    let (_dir, guest) = jail();
    assert_eq!(guest.open(DIR, "", READ), Err(Errno::Noent));
    assert_eq!(guest.open(DIR, "file\0", READ), Err(Errno::Inval));
    assert_eq!(guest.open_bytes(DIR, b"\xff\xfe", READ), Err(Errno::Ilseq));
    assert_eq!(guest.open(DIR, &"n".repeat(256), READ), Err(Errno::Nametoolong));
    assert_eq!(guest.open(DIR, &"n/".repeat(2048), READ), Err(Errno::Nametoolong));
    let open = |ptr, len| guest.call_u32("path_open", &[3, 0, ptr, len, 0, 0, 0, 0]);
    assert_eq!(open(MEMORY - 2, 4), Err(Errno::Fault));
    assert_eq!(open(u32::MAX.into(), 4), Err(Errno::Fault));
    assert_eq!(open(0, u32::MAX.into()), Err(Errno::Nametoolong));
    // A result that cannot be delivered leaves no descriptor behind.
    let path = guest.put(b"file");
    for (result, errno) in [(MEMORY, Errno::Fault), (MEMORY - 2, Errno::Inval)] {
        let args = [3, 0, path, 4, 0, 0, 0, 0, result];
        assert_eq!(guest.call("path_open", &args), Err(errno));
    }
    assert_eq!(guest.open(DIR, "file", READ), Ok(4));
}

/// A thread of the host swaps a directory for a link to the outside, again and again, while the guest
/// goes through it.
#[test]
fn renames_in_flight_open_no_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("outside")).unwrap();
    fs::write(at("outside/file"), "secret").unwrap();
    fs::create_dir_all(at("root/a/real")).unwrap();
    fs::write(at("root/a/real/file"), "inside").unwrap();
    symlink("../../outside", at("root/a/evil")).unwrap();
    let guest = Guest::in_dir(&at("root"));

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let rename = |from: &str, to: &str| fs::rename(at(from), at(to)).unwrap();
            while !done.load(Ordering::SeqCst) {
                rename("root/a/real", "root/a/now");
                // Moved out and back while the guest may be below it: ".." must not lead along.
                rename("root/a/now", "moved");
                rename("moved", "root/a/real");
                rename("root/a/evil", "root/a/now");
                rename("root/a/now", "root/a/evil");
            }
        });
        let (path, up) = (guest.put(b"a/now/file"), guest.put(b"a/real/../../../outside/file"));
        let (result, into) = (guest.alloc(4), guest.alloc(16));
        let iovs = guest.iovecs(&[(into, 16)]);
        for i in 0..20_000 {
            let (path, len) = if i % 2 == 0 { (path, 10) } else { (up, 28) };
            let rights = Rights::FD_READ.0;
            if guest.call("path_open", &[3, 1, path, len, 0, rights, 0, 0, result]).is_ok() {
                let fd = guest.memory().read_u32(result).unwrap();
                guest.call("fd_read", &[fd.into(), iovs, 1, result]).unwrap();
                assert_eq!(guest.memory().read_bytes(into, 6).unwrap(), b"inside");
                guest.close(fd).unwrap();
            }
        }
        done.store(true, Ordering::SeqCst);
    });
}

fn readlink(guest: &Guest, path: &str, room: u64) -> Result<Vec<u8>, Errno> {
    let (at, buf) = (guest.put(path.as_bytes()), guest.alloc(room));
    let args = [DIR.into(), at, path.len() as u64, buf, room];
    let n = guest.call_u32("path_readlink", &args)?;
    guest.memory().read_bytes(buf, n.into())
}

#[test]
fn links() {
    let (_dir, guest) = jail();
    assert_eq!(guest.symlink("file", DIR, "soft"), Ok(()));
    assert_eq!(guest.symlink("file", DIR, "soft"), Err(Errno::Exist));
    assert_eq!(guest.symlink("", DIR, "empty"), Err(Errno::Noent));
    assert_eq!(guest.symlink("file", DIR, "new/"), Err(Errno::Noent));
    assert_eq!(guest.symlink("file", DIR, "sub/"), Err(Errno::Exist));
    assert_eq!(readlink(&guest, "soft", 100).unwrap(), b"file");
    assert_eq!(readlink(&guest, "soft", 2).unwrap(), b"fi");
    assert_eq!(readlink(&guest, "soft", 0).unwrap(), b"");
    assert_eq!(readlink(&guest, "file", 0), Err(Errno::Inval));
    assert_eq!(readlink(&guest, "file", 100), Err(Errno::Inval));
    assert_eq!(readlink(&guest, "none", 100), Err(Errno::Noent));
    assert_eq!(readlink(&guest, "to_sub/", 100), Err(Errno::Inval));
    assert_eq!(readlink(&guest, "soft/", 100), Err(Errno::Notdir));

    assert_eq!(guest.link(DIR, 0, "file", DIR, "sub/hard"), Ok(()));
    assert_eq!(guest.path_filestat(DIR, 0, "sub/hard").unwrap().nlink, 2);
    assert_eq!(guest.link(DIR, 0, "file", DIR, "sub/hard"), Err(Errno::Exist));
    assert_eq!(guest.link(DIR, 0, "file", DIR, "new/"), Err(Errno::Noent));
    assert_eq!(guest.link(DIR, 0, "file", DIR, "sub/"), Err(Errno::Exist));
    assert_eq!(guest.link(DIR, 0, "file/", DIR, "new"), Err(Errno::Notdir));
    assert_eq!(guest.link(DIR, 0, "sub", DIR, "new"), Err(Errno::Perm));
    assert_eq!(guest.link(DIR, 1, "soft", DIR, "new"), Err(Errno::Inval));
    // The link itself is linked, even where it leads outside or nowhere.
    assert_eq!(guest.link(DIR, 0, "out", DIR, "out2"), Ok(()));
    assert_eq!(guest.path_filestat(DIR, 0, "out2").unwrap().filetype, TYPE_SYMLINK);
    assert_eq!(guest.open(DIR, "out2", READ), Err(Errno::Perm));
}

#[test]
fn directories_and_removal() {
    let (_dir, guest) = jail();
    let mkdir = |path| guest.path("path_create_directory", DIR, path);
    let rmdir = |path| guest.path("path_remove_directory", DIR, path);
    let unlink = |path| guest.path("path_unlink_file", DIR, path);
    assert_eq!(mkdir("new"), Ok(()));
    assert_eq!(mkdir("new2//"), Ok(()));
    assert_eq!(mkdir("new"), Err(Errno::Exist));
    assert_eq!(mkdir("file"), Err(Errno::Exist));
    assert_eq!(mkdir("."), Err(Errno::Exist));
    assert_eq!(mkdir("sub/.."), Err(Errno::Exist));
    assert_eq!(mkdir("none/new"), Err(Errno::Noent));
    assert_eq!(mkdir("file/new"), Err(Errno::Notdir));
    assert_eq!(mkdir("dangling"), Err(Errno::Exist));
    assert_eq!(rmdir("new2/"), Ok(()));
    assert_eq!(rmdir("new"), Ok(()));
    assert_eq!(rmdir("sub"), Err(Errno::Notempty));
    assert_eq!(rmdir("file"), Err(Errno::Notdir));
    assert_eq!(rmdir("to_sub"), Err(Errno::Notdir));
    assert_eq!(rmdir("to_sub/"), Err(Errno::Notdir));
    assert_eq!(rmdir("none"), Err(Errno::Noent));
    assert_eq!(rmdir("."), Err(Errno::Inval));
    assert_eq!(unlink("sub"), Err(Errno::Isdir));
    assert_eq!(unlink("sub/"), Err(Errno::Isdir));
    assert_eq!(unlink("file/"), Err(Errno::Notdir));
    assert_eq!(unlink("to_sub/"), Err(Errno::Notdir));
    assert_eq!(unlink("none"), Err(Errno::Noent));
    assert_eq!(unlink("out"), Ok(()));
    assert_eq!(unlink("file"), Ok(()));
    assert_eq!(unlink("file"), Err(Errno::Noent));
}

#[test]
fn renaming() {
    let (dir, guest) = jail();
    let root = dir.path().join("root");
    let rename = |old, new| guest.rename(DIR, old, DIR, new);
    assert_eq!(rename("file", "sub/file"), Ok(()));
    assert_eq!(rename("none", "x"), Err(Errno::Noent));
    assert_eq!(rename("sub/file/", "file"), Err(Errno::Notdir));
    assert_eq!(rename("sub/file", "file/"), Err(Errno::Notdir));
    assert_eq!(rename("sub/file", "sub/deep"), Err(Errno::Isdir));
    assert_eq!(rename("sub/deep", "sub/file"), Err(Errno::Notdir));
    assert_eq!(rename("sub/deep/", "moved/"), Ok(()));
    assert_eq!(rename("moved", "sub"), Err(Errno::Notempty));
    assert_eq!(rename("sub", "sub/sub"), Err(Errno::Inval));
    let sub = guest.open(DIR, "sub", DIRECTORY).unwrap();
    assert_eq!(guest.rename(sub, "file", DIR, "file"), Ok(()));
    assert_eq!(fs::read(root.join("file")).unwrap(), b"inside");
    assert_eq!(rename("out", "out2"), Ok(()));
    assert!(root.join("out2").is_symlink());
}

#[test]
fn attributes_by_path() {
    let (_dir, guest) = jail();
    assert_eq!(guest.path_filestat(DIR, 0, "file").unwrap().filetype, TYPE_REGULAR);
    assert_eq!(guest.path_filestat(DIR, 0, "sub/").unwrap().filetype, TYPE_DIRECTORY);
    assert_eq!(guest.path_filestat(DIR, 0, "fine").unwrap().filetype, TYPE_SYMLINK);
    assert_eq!(guest.path_filestat(DIR, 1, "fine").unwrap().filetype, TYPE_REGULAR);
    assert_eq!(guest.path_filestat(DIR, 0, "to_sub/").unwrap().filetype, TYPE_DIRECTORY);
    assert_eq!(guest.path_filestat(DIR, 0, "file/"), Err(Errno::Notdir));
    assert_eq!(guest.path_filestat(DIR, 2, "file"), Err(Errno::Inval));
    assert_eq!(guest.path_filestat(DIR, 0, "out").unwrap().filetype, TYPE_SYMLINK);

    let set = |lookup: u64, path: &str, mtim, flags| {
        let at = guest.put(path.as_bytes());
        let args = [DIR.into(), lookup, at, path.len() as u64, 0, mtim, flags];
        guest.call("path_filestat_set_times", &args)
    };
    assert_eq!(set(0, "file", 1_000_000_007, 0b0100), Ok(()));
    assert_eq!(guest.path_filestat(DIR, 0, "file").unwrap().mtim, 1_000_000_007);
    assert_eq!(set(1, "fine", 2_000_000_000, 0b0100), Ok(()));
    assert_eq!(guest.path_filestat(DIR, 0, "file").unwrap().mtim, 2_000_000_000);
    assert_eq!(set(0, "fine", 3_000_000_000, 0b0100), Ok(()));
    assert_eq!(guest.path_filestat(DIR, 0, "fine").unwrap().mtim, 3_000_000_000);
    assert_eq!(guest.path_filestat(DIR, 0, "file").unwrap().mtim, 2_000_000_000);
    assert_eq!(set(1, "out", 0, 0b0100), Err(Errno::Perm));
    assert_eq!(set(0, "file", 0, 0b1100), Err(Errno::Inval));
}

/// What a directory holds, with contents, to see that nothing has changed.
fn snapshot(dir: &Path) -> Vec<(std::path::PathBuf, String)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            (path, format!("{:?} {} {:?}", meta.file_type(), meta.len(), meta.modified()))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_read_only_directory_stays_as_it_is() {
    let (dir, _) = jail();
    let root = dir.path().join("root");
    let other = tempfile::tempdir().unwrap();
    let guest = Guest::new(WasiCtx::builder().preopened_dir(&root, "/ro", true).preopened_dir(
        other.path(),
        "/rw",
        false,
    ));
    let (before, rw) = (snapshot(&root), 4);
    fs::write(other.path().join("theirs"), "x").unwrap();

    let fd = guest.open(DIR, "file", READ).unwrap();
    assert_eq!(guest.read(fd, 100).unwrap(), b"inside");
    assert_eq!(guest.write(fd, b"x"), Err(Errno::Notcapable));
    let set = guest.call("fd_filestat_set_times", &[fd.into(), 0, 0, 0b0101]);
    assert_eq!(set, Err(Errno::Rofs));
    assert_eq!(guest.call("fd_filestat_set_times", &[3, 0, 0, 0b0101]), Err(Errno::Rofs));

    let oflags = |oflags: OFlags| Open { oflags: oflags.0, ..READ };
    assert_eq!(guest.open(DIR, "file", WRITE), Err(Errno::Rofs));
    assert_eq!(guest.open(DIR, "file", oflags(OFlags::TRUNC)), Err(Errno::Rofs));
    assert_eq!(guest.open(DIR, "new", oflags(OFlags::CREAT)), Err(Errno::Rofs));
    assert!(guest.open(DIR, "file", oflags(OFlags::CREAT)).is_ok());
    let exclusive = oflags(OFlags::CREAT.with(OFlags::EXCL));
    assert_eq!(guest.open(DIR, "file", exclusive), Err(Errno::Exist));
    // A directory opened below is as read-only.
    let sub = guest.open(DIR, "sub", DIRECTORY).unwrap();
    for (fd, path) in [(DIR, "new"), (sub, "new"), (DIR, "file"), (sub, "deep")] {
        for name in ["path_create_directory", "path_remove_directory", "path_unlink_file"] {
            assert_eq!(guest.path(name, fd, path), Err(Errno::Rofs), "{name} {path}");
        }
        assert_eq!(guest.symlink("x", fd, path), Err(Errno::Rofs));
        assert_eq!(guest.rename(fd, path, rw, "new"), Err(Errno::Rofs));
        assert_eq!(guest.rename(rw, "theirs", fd, path), Err(Errno::Rofs));
        // A hard link in a writable directory would be a way to change the file.
        assert_eq!(guest.link(fd, 0, path, rw, "new"), Err(Errno::Rofs));
        assert_eq!(guest.link(rw, 0, "theirs", fd, path), Err(Errno::Rofs));
    }
    assert_eq!(snapshot(&root), before);
}
