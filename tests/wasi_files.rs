//! WASI: descriptors and the contents of files.

mod wasi_support;

use std::fs;
use std::os::unix::fs::symlink;
use updraft::host::wasi::{Errno, FdFlags, MemoryInput, MemoryOutput, OFlags, Rights, WasiCtx};
use wasi_support::*;

#[test]
fn write_read_seek_tell() {
    let dir = tempfile::tempdir().unwrap();
    let guest = Guest::in_dir(dir.path());
    let fd = guest.open(DIR, "file", CREATE).unwrap();
    assert_eq!(fd, 4);
    assert_eq!(guest.write(fd, b"hello world"), Ok(11));
    assert_eq!(guest.call_u64("fd_tell", &[fd.into()]), Ok(11));
    assert_eq!(guest.seek(fd, -5, 2), Ok(6));
    assert_eq!(guest.read(fd, 100).unwrap(), b"world");
    assert_eq!(guest.read(fd, 100).unwrap(), b"");
    assert_eq!(guest.seek(fd, 1, 0), Ok(1));
    assert_eq!(guest.seek(fd, 1, 1), Ok(2));
    assert_eq!(guest.seek(fd, -3, 1), Err(Errno::Inval));
    assert_eq!(guest.seek(fd, 0, 3), Err(Errno::Inval));
    assert_eq!(guest.seek(fd, 0, 1), Ok(2));

    // Scatter and gather, also with more entries than fit without an allocation.
    let parts: Vec<_> = (0..20).map(|i| (guest.put(&[b'a' + i as u8]), i % 2)).collect();
    let iovs = guest.iovecs(&parts);
    guest.seek(fd, 0, 0).unwrap();
    assert_eq!(guest.call_u32("fd_write", &[fd.into(), iovs, 20]), Ok(10));
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"bdfhjlnprtd");

    assert_eq!(guest.close(fd), Ok(()));
    assert_eq!(guest.close(fd), Err(Errno::Badf));
    assert_eq!(guest.read(fd, 1), Err(Errno::Badf));
}

#[test]
fn positioned_io_leaves_the_offset() {
    let dir = tempfile::tempdir().unwrap();
    let guest = Guest::in_dir(dir.path());
    let fd = guest.open(DIR, "file", CREATE).unwrap();
    let data = guest.put(b"abcdef");
    let iovs = guest.iovecs(&[(data, 2), (data + 2, 4)]);
    assert_eq!(guest.call_u32("fd_pwrite", &[fd.into(), iovs, 2, 3]), Ok(6));
    let into = guest.alloc(16);
    let iovs = guest.iovecs(&[(into, 1), (into + 1, 15)]);
    assert_eq!(guest.call_u32("fd_pread", &[fd.into(), iovs, 2, 2]), Ok(7));
    use updraft::host::wasi::Host;
    assert_eq!(guest.memory().read_bytes(into, 7).unwrap(), b"\0abcdef");
    assert_eq!(guest.call_u64("fd_tell", &[fd.into()]), Ok(0));
    let far = 1 << 63;
    assert_eq!(guest.call_u32("fd_pread", &[fd.into(), iovs, 2, far]), Err(Errno::Inval));
    assert_eq!(guest.call_u32("fd_pwrite", &[fd.into(), iovs, 2, far]), Err(Errno::Inval));
}

#[test]
fn append_and_flags() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "old ").unwrap();
    let guest = Guest::in_dir(dir.path());
    let append = FdFlags::APPEND.0;
    let fd = guest.open(DIR, "file", Open { fdflags: append, ..WRITE }).unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().flags, append);
    guest.write(fd, b"new").unwrap();
    guest.seek(fd, 0, 0).unwrap();
    guest.write(fd, b"er").unwrap();
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"old newer");

    let set = |flags: u16| guest.call("fd_fdstat_set_flags", &[fd.into(), flags.into()]);
    assert_eq!(set(FdFlags::NONBLOCK.0), Ok(()));
    assert_eq!(guest.fdstat(fd).unwrap().flags, FdFlags::NONBLOCK.0);
    guest.seek(fd, 0, 0).unwrap();
    guest.write(fd, b"OLD").unwrap();
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"OLD newer");
    assert_eq!(set(FdFlags::SYNC.0), Err(Errno::Inval));
    assert_eq!(set(1 << 5), Err(Errno::Inval));

    let sync = FdFlags::SYNC.with(FdFlags::RSYNC).0;
    let fd = guest.open(DIR, "file", Open { fdflags: sync | append, ..WRITE }).unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().flags, sync | append);
    let set = |flags: u16| guest.call("fd_fdstat_set_flags", &[fd.into(), flags.into()]);
    assert_eq!(set(sync), Ok(()));
    assert_eq!(guest.fdstat(fd).unwrap().flags, sync);
    assert_eq!(set(0), Err(Errno::Inval));
}

#[test]
fn size_times_and_storage() {
    let dir = tempfile::tempdir().unwrap();
    let guest = Guest::in_dir(dir.path());
    let fd = guest.open(DIR, "file", CREATE).unwrap();
    let number = u64::from(fd);
    assert_eq!(guest.call("fd_filestat_set_size", &[number, 100]), Ok(()));
    assert_eq!(guest.call("fd_filestat_set_size", &[number, u64::MAX]), Err(Errno::Inval));
    assert_eq!(guest.call("fd_allocate", &[number, 100, 50]), Ok(()));
    assert_eq!(guest.call("fd_allocate", &[number, 0, 0]), Err(Errno::Inval));
    assert_eq!(guest.call("fd_allocate", &[number, u64::MAX, 1]), Err(Errno::Inval));
    let stat = guest.filestat(fd).unwrap();
    assert_eq!((stat.size, stat.filetype, stat.nlink), (150, TYPE_REGULAR, 1));

    for advice in 0..6 {
        assert_eq!(guest.call("fd_advise", &[number, 0, 10, advice]), Ok(()));
    }
    assert_eq!(guest.call("fd_advise", &[number, 0, 10, 6]), Err(Errno::Inval));
    assert_eq!(guest.call("fd_advise", &[number, u64::MAX, 10, 0]), Err(Errno::Inval));
    assert_eq!(guest.call("fd_sync", &[number]), Ok(()));
    assert_eq!(guest.call("fd_datasync", &[number]), Ok(()));

    let set = |a, m, flags| guest.call("fd_filestat_set_times", &[number, a, m, flags]);
    assert_eq!(set(1_500_000_001, 7_000_000_002, 0b0101), Ok(()));
    let stat = guest.filestat(fd).unwrap();
    assert_eq!((stat.atim, stat.mtim), (1_500_000_001, 7_000_000_002));
    assert_eq!(set(9, 9, 0b0010), Ok(()));
    let stat = guest.filestat(fd).unwrap();
    assert!(stat.atim > 1_500_000_001);
    assert_eq!(stat.mtim, 7_000_000_002);
    assert_eq!(set(0, 0, 0b0011), Err(Errno::Inval));
    assert_eq!(set(0, 0, 0b1100), Err(Errno::Inval));
    assert_eq!(set(0, 0, 0b10000), Err(Errno::Inval));
}

#[test]
fn open_flags_create_truncate_exclude() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "contents").unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    let guest = Guest::in_dir(dir.path());
    let open = |path, oflags: OFlags, how: Open| {
        let fd = guest.open(DIR, path, Open { oflags: oflags.0, ..how })?;
        guest.close(fd)
    };
    assert_eq!(open("none", OFlags::empty(), READ), Err(Errno::Noent));
    assert_eq!(open("file", OFlags::CREAT.with(OFlags::EXCL), WRITE), Err(Errno::Exist));
    assert_eq!(open("new", OFlags::CREAT.with(OFlags::EXCL), WRITE), Ok(()));
    assert_eq!(open("file", OFlags::DIRECTORY, READ), Err(Errno::Notdir));
    assert_eq!(open("sub", OFlags::DIRECTORY, READ), Ok(()));
    assert_eq!(open("sub", OFlags::empty(), WRITE), Err(Errno::Isdir));
    assert_eq!(open("sub", OFlags::CREAT.with(OFlags::DIRECTORY), READ), Err(Errno::Inval));
    assert_eq!(open("link", OFlags::empty(), Open { lookup: 0, ..READ }), Err(Errno::Loop));
    assert_eq!(open("link", OFlags::empty(), READ), Ok(()));
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"contents");
    // Truncation needs no right to the new descriptor.
    assert_eq!(open("file", OFlags::TRUNC, Open { base: 0, ..READ }), Ok(()));
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"");
    assert_eq!(guest.open(DIR, "file", Open { oflags: 16, ..READ }), Err(Errno::Inval));
    assert_eq!(guest.open(DIR, "file", Open { lookup: 2, ..READ }), Err(Errno::Inval));
    assert_eq!(guest.open(DIR, "file", Open { fdflags: 32, ..READ }), Err(Errno::Inval));
    assert_eq!(guest.open(0, "file", READ), Err(Errno::Notdir));
    assert_eq!(guest.open(99, "file", READ), Err(Errno::Badf));
}

#[test]
fn rights_are_checked_and_inherited() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "contents").unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/file"), "contents").unwrap();
    let guest = Guest::in_dir(dir.path());

    let preopen = guest.fdstat(DIR).unwrap();
    assert_eq!((preopen.filetype, preopen.flags), (TYPE_DIRECTORY, 0));
    assert_eq!((preopen.base, preopen.inheriting), (Rights::DIRECTORY, Rights::ALL));

    // A file has none of a directory's rights, whatever was asked for.
    let all = Open { base: u64::MAX, inheriting: u64::MAX, ..READ };
    let fd = guest.open(DIR, "file", all).unwrap();
    let stat = guest.fdstat(fd).unwrap();
    assert_eq!((stat.base, stat.inheriting), (Rights::FILE, Rights::empty()));

    let only = |rights: Rights| Open { base: rights.0, ..READ };
    let fd = guest.open(DIR, "file", only(Rights::FD_READ)).unwrap();
    assert_eq!(guest.read(fd, 3).unwrap(), b"con");
    assert_eq!(guest.write(fd, b"x"), Err(Errno::Notcapable));
    assert_eq!(guest.seek(fd, 0, 0), Err(Errno::Notcapable));
    assert_eq!(guest.call_u64("fd_tell", &[fd.into()]), Err(Errno::Notcapable));
    assert_eq!(guest.filestat(fd), Err(Errno::Notcapable));
    let iovs = guest.iovecs(&[(8, 8)]);
    assert_eq!(guest.call_u32("fd_pread", &[fd.into(), iovs, 1, 0]), Err(Errno::Notcapable));
    for (name, args) in [
        ("fd_sync", &[][..]),
        ("fd_datasync", &[]),
        ("fd_advise", &[0, 0, 0]),
        ("fd_allocate", &[0, 1]),
        ("fd_filestat_set_size", &[0]),
        ("fd_filestat_set_times", &[0, 0, 0]),
        ("fd_fdstat_set_flags", &[0]),
    ] {
        let args = [&[fd.into()], args].concat();
        assert_eq!(guest.call(name, &args), Err(Errno::Notcapable), "{name}");
    }
    // Telling is part of seeking, and moving is not part of telling.
    let fd = guest.open(DIR, "file", only(Rights::FD_READ.with(Rights::FD_TELL))).unwrap();
    assert_eq!(guest.seek(fd, 0, 1), Ok(0));
    assert_eq!(guest.seek(fd, 1, 1), Err(Errno::Notcapable));
    let fd = guest.open(DIR, "file", only(Rights::FD_SEEK)).unwrap();
    assert_eq!(guest.call_u64("fd_tell", &[fd.into()]), Ok(0));
    assert_eq!(guest.read(fd, 1), Err(Errno::Notcapable));

    // What a directory does not inherit cannot be had below it.
    let inheriting = Rights::FD_READ.with(Rights::PATH_OPEN);
    let base = Rights::DIRECTORY.without(Rights::FD_SYNC);
    let sub = Open { inheriting: inheriting.0, base: base.0, ..DIRECTORY };
    let sub = guest.open(DIR, "sub", sub).unwrap();
    assert_eq!(guest.open(sub, "file", WRITE), Err(Errno::Notcapable));
    for flags in [FdFlags::SYNC, FdFlags::RSYNC, FdFlags::DSYNC] {
        let synced = Open { fdflags: flags.0, ..only(Rights::FD_READ) };
        assert_eq!(guest.open(sub, "file", synced), Err(Errno::Notcapable));
    }
    // The right to synchronise all includes that to synchronise data.
    let syncs = Open { inheriting: inheriting.with(Rights::FD_SYNC).0, ..DIRECTORY };
    let syncs = guest.open(DIR, "sub", syncs).unwrap();
    for flags in [FdFlags::SYNC, FdFlags::RSYNC, FdFlags::DSYNC] {
        let synced = Open { fdflags: flags.0, ..only(Rights::FD_READ) };
        let fd = guest.open(syncs, "file", synced).unwrap();
        assert_eq!(guest.fdstat(fd).unwrap().flags, flags.0);
    }
    let data =
        Open { inheriting: inheriting.with(Rights::FD_DATASYNC).0, base: base.0, ..DIRECTORY };
    let data = guest.open(DIR, "sub", data).unwrap();
    let dsync = Open { fdflags: FdFlags::DSYNC.0, ..only(Rights::FD_READ) };
    assert!(guest.open(data, "file", dsync).is_ok());
    let sync = Open { fdflags: FdFlags::SYNC.0, ..only(Rights::FD_READ) };
    assert_eq!(guest.open(data, "file", sync), Err(Errno::Notcapable));
    assert!(guest.open(sub, "file", only(Rights::FD_READ)).is_ok());
    assert_eq!(guest.write(sub, b"x"), Err(Errno::Isdir));
    assert_eq!(guest.read(sub, 1), Err(Errno::Isdir));
    assert_eq!(guest.seek(sub, 0, 0), Err(Errno::Notcapable));

    // Rights of a descriptor shrink and do not grow.
    let set = |base: Rights, inheriting: Rights| {
        guest.call("fd_fdstat_set_rights", &[sub.into(), base.0, inheriting.0])
    };
    assert_eq!(set(Rights::PATH_CREATE_FILE, Rights::FD_READ), Ok(()));
    assert_eq!(set(Rights::PATH_OPEN, Rights::empty()), Err(Errno::Notcapable));
    assert_eq!(guest.open(sub, "file", only(Rights::FD_READ)), Err(Errno::Notcapable));
    for name in ["path_create_directory", "path_remove_directory", "path_unlink_file"] {
        assert_eq!(guest.path(name, sub, "file"), Err(Errno::Notcapable), "{name}");
    }
    assert_eq!(guest.symlink("a", sub, "b"), Err(Errno::Notcapable));
    assert_eq!(guest.rename(sub, "a", DIR, "b"), Err(Errno::Notcapable));
    assert_eq!(guest.rename(DIR, "a", sub, "b"), Err(Errno::Notcapable));
    assert_eq!(guest.link(sub, 0, "a", DIR, "b"), Err(Errno::Notcapable));
    assert_eq!(guest.link(DIR, 0, "a", sub, "b"), Err(Errno::Notcapable));
    assert_eq!(guest.path_filestat(sub, 0, "file"), Err(Errno::Notcapable));
}

#[test]
fn streams_of_the_embedder() {
    let (out, err) = (MemoryOutput::new(), MemoryOutput::new());
    let guest = Guest::new(
        WasiCtx::builder()
            .stdin(MemoryInput::new("some input"))
            .stdout(out.clone())
            .stderr(err.clone()),
    );
    assert_eq!(guest.read(0, 4).unwrap(), b"some");
    assert_eq!(guest.read(0, 100).unwrap(), b" input");
    assert_eq!(guest.read(0, 100).unwrap(), b"");
    guest.write(1, b"to out").unwrap();
    let iovs = guest.iovecs(&[(guest.put(b"to "), 3), (guest.put(b"err"), 3)]);
    assert_eq!(guest.call_u32("fd_write", &[2, iovs, 2]), Ok(6));
    assert_eq!((out.contents(), err.contents()), (b"to out".to_vec(), b"to err".to_vec()));
    assert_eq!(guest.write(0, b"x"), Err(Errno::Notcapable));
    assert_eq!(guest.read(1, 1), Err(Errno::Notcapable));
    assert_eq!(guest.seek(1, 0, 0), Err(Errno::Notcapable));
    assert_eq!(guest.filestat(1).unwrap().filetype, 0);
    assert_eq!(guest.fdstat(1).unwrap().filetype, 0);
    assert_eq!(guest.call("fd_fdstat_set_flags", &[1, 0]), Ok(()));
    assert_eq!(guest.call("fd_fdstat_set_flags", &[1, 4]), Err(Errno::Notsup));
}

#[test]
fn a_terminal_is_a_character_device_that_cannot_seek() {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: a new descriptor, or -1.
    let terminal = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY) };
    assert!(terminal >= 0);
    // SAFETY: nobody else owns it.
    let terminal = unsafe { OwnedFd::from_raw_fd(terminal) };
    let null = fs::File::open("/dev/null").unwrap();
    let guest = Guest::new(WasiCtx::builder().stdin_fd(terminal).stdout_fd(null));
    let seeks = Rights::FD_SEEK.with(Rights::FD_TELL);
    let terminal = guest.fdstat(0).unwrap();
    assert_eq!(terminal.filetype, TYPE_CHARACTER_DEVICE);
    assert!(!terminal.base.intersects(seeks));
    let null = guest.fdstat(1).unwrap();
    assert_eq!(null.filetype, TYPE_CHARACTER_DEVICE);
    assert!(null.base.contains(seeks) && !null.base.contains(Rights::FD_WRITE));
}

/// What a program is given as a standard stream is not a way to change it otherwise.
#[test]
fn standard_streams_have_the_rights_of_their_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("input");
    fs::write(&path, "input").unwrap();
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let log =
        fs::OpenOptions::new().append(true).create(true).open(dir.path().join("log")).unwrap();
    let guest = Guest::new(
        WasiCtx::builder()
            .stdin_fd(fs::File::open(&path).unwrap())
            .stdout_fd(log)
            .stderr_fd(fs::File::open(dir.path()).unwrap()),
    );
    for args in [[0, 0, 1], [0, 0, 4], [0, 0, 10]] {
        let args = [&[0], &args[..]].concat();
        assert_eq!(guest.call("fd_filestat_set_times", &args), Err(Errno::Notcapable));
    }
    assert_eq!(guest.call("fd_filestat_set_size", &[0, 0]), Err(Errno::Notcapable));
    assert_eq!(guest.call("fd_allocate", &[0, 0, 1]), Err(Errno::Notcapable));
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    // Files can be read from the middle, and appended to.
    assert_eq!(guest.seek(0, 2, 0), Ok(2));
    assert_eq!(guest.read(0, 9).unwrap(), b"put");
    assert_eq!(guest.fdstat(1).unwrap().flags, FdFlags::APPEND.0);
    assert_eq!(guest.read(1, 1), Err(Errno::Notcapable));
    // A directory as a standard stream is none to work in.
    assert_eq!(guest.open(2, "input", READ), Err(Errno::Notcapable));
    assert_eq!(guest.path("path_unlink_file", 2, "input"), Err(Errno::Notcapable));
    assert_eq!(guest.path("path_create_directory", 2, "new"), Err(Errno::Notcapable));
    assert!(path.exists());
}

#[test]
fn preopened_directories_and_renumbering() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "contents").unwrap();
    let guest =
        Guest::new(WasiCtx::builder().preopened_dir(dir.path(), "/first", false).preopened_dir(
            dir.path(),
            "second",
            true,
        ));
    let prestat = |fd: u64| guest.call_bytes::<8>("fd_prestat_get", &[fd]);
    assert_eq!(prestat(3), Ok([0, 0, 0, 0, 6, 0, 0, 0]));
    assert_eq!(prestat(4), Ok([0, 0, 0, 0, 6, 0, 0, 0]));
    assert_eq!(prestat(5), Err(Errno::Badf));
    assert_eq!(prestat(0), Err(Errno::Badf));
    let buf = guest.alloc(16);
    let name = |fd, len| guest.call("fd_prestat_dir_name", &[fd, buf, len]);
    assert_eq!(name(3, 5), Err(Errno::Nametoolong));
    assert_eq!(name(3, 16), Ok(()));
    use updraft::host::wasi::Host;
    assert_eq!(guest.memory().read_bytes(buf, 6).unwrap(), b"/first");

    let fd = guest.open(3, "file", READ).unwrap();
    assert_eq!(fd, 5);
    assert_eq!(guest.call("fd_renumber", &[5, 4]), Ok(()));
    assert_eq!(guest.read(4, 100).unwrap(), b"contents");
    assert_eq!(guest.call("fd_renumber", &[5, 4]), Err(Errno::Badf));
    assert_eq!(guest.call("fd_renumber", &[4, 5]), Err(Errno::Badf));
    assert_eq!(guest.call("fd_renumber", &[4, 4]), Ok(()));
    assert_eq!(prestat(4), Err(Errno::Badf));
    assert_eq!(guest.open(3, "file", READ), Ok(5));
}
