//! WASI: threads of one program that use the same descriptors, directories and names at once. What the calls give may
//! differ from run to run; that it is one of the right things, that no call hangs, and that no descriptor is left over,
//! may not.

mod wasi_support;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use updraft::host::wasi::{Errno, Host, Rights, WasiCtx};
use wasi_support::*;

/// Rounds of each thread.
const ROUNDS: u64 = 500;

/// A directory for a guest; the guest holds no descriptor of the host beside it once it is dropped.
fn in_new_dir() -> (tempfile::TempDir, Guest) {
    let dir = tempfile::tempdir().unwrap();
    let guest = Guest::in_dir(dir.path());
    (dir, guest)
}

/// How many descriptors of this process lead below a directory: only the guest has any.
fn descriptors_below(dir: &std::path::Path) -> usize {
    let leads_below = |entry: std::io::Result<fs::DirEntry>| {
        entry
            .ok()
            .and_then(|entry| fs::read_link(entry.path()).ok())
            .is_some_and(|to| to.starts_with(dir))
    };
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| leads_below(entry).then_some(()))
        .count()
}

/// Runs these on threads of their own, all at once, and waits for them.
fn at_once(tasks: Vec<Box<dyn FnOnce() + Send + '_>>) {
    let barrier = std::sync::Barrier::new(tasks.len());
    thread::scope(|scope| {
        for task in tasks {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                task();
            });
        }
    });
}

/// Positioned reads and writes of many threads through one descriptor do not disturb each other, while others move
/// its offset.
#[test]
fn positioned_io_on_one_descriptor() {
    let (_dir, guest) = in_new_dir();
    let fd = guest.open(DIR, "file", CREATE).unwrap();
    guest.write(fd, &[0; 4096]).unwrap();
    let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for thread in 0..4u64 {
        let guest = guest.clone();
        tasks.push(Box::new(move || {
            let (from, to, n) = (guest.alloc(64), guest.alloc(64), guest.alloc(4));
            let (writes, reads) = (guest.iovecs(&[(from, 64)]), guest.iovecs(&[(to, 64)]));
            for round in 0..ROUNDS {
                let bytes = [(thread * 50 + round % 50) as u8; 64];
                guest.memory().write_bytes(from, &bytes).unwrap();
                let at = thread * 64;
                guest.call("fd_pwrite", &[fd.into(), writes, 1, at, n]).unwrap();
                guest.call("fd_pread", &[fd.into(), reads, 1, at, n]).unwrap();
                assert_eq!(guest.memory().read_array(to), Ok(bytes));
            }
        }));
    }
    for _ in 0..2 {
        let guest = guest.clone();
        tasks.push(Box::new(move || {
            let (to, n) = (guest.alloc(64), guest.alloc(8));
            let reads = guest.iovecs(&[(to, 64)]);
            for round in 0..ROUNDS {
                guest.call("fd_seek", &[fd.into(), round % 4096, 0, n]).unwrap();
                guest.call("fd_read", &[fd.into(), reads, 1, n]).unwrap();
                guest.call("fd_tell", &[fd.into(), n]).unwrap();
            }
        }));
    }
    at_once(tasks);
}

/// Reads that share an offset give every byte once: the file was written as numbers, and each is read by one thread.
#[test]
fn reads_that_share_an_offset_take_each_record_once() {
    let (dir, guest) = in_new_dir();
    let numbers = 8 * ROUNDS as u32;
    let bytes: Vec<u8> = (0..numbers).flat_map(u32::to_le_bytes).collect();
    fs::write(dir.path().join("numbers"), bytes).unwrap();
    let fd = guest.open(DIR, "numbers", READ).unwrap();
    let seen = std::sync::Mutex::new(BTreeSet::new());
    let total = AtomicU32::new(0);
    at_once(
        (0..4)
            .map(|_| {
                let (guest, seen, total) = (guest.clone(), &seen, &total);
                Box::new(move || {
                    let (to, n) = (guest.alloc(4), guest.alloc(4));
                    let iovs = guest.iovecs(&[(to, 4)]);
                    let mut mine = Vec::new();
                    loop {
                        guest.call("fd_read", &[fd.into(), iovs, 1, n]).unwrap();
                        match guest.memory().read_u32(n).unwrap() {
                            0 => break,
                            length => assert_eq!(length, 4),
                        }
                        mine.push(guest.memory().read_u32(to).unwrap());
                    }
                    total.fetch_add(mine.len() as u32, Ordering::SeqCst);
                    seen.lock().unwrap().extend(mine);
                }) as Box<dyn FnOnce() + Send>
            })
            .collect(),
    );
    assert_eq!(total.into_inner(), numbers);
    assert_eq!(seen.into_inner().unwrap(), (0..numbers).collect());
}

/// What many threads append arrives whole.
#[test]
fn appended_records_stay_whole() {
    let (dir, guest) = in_new_dir();
    let append = Open { fdflags: 1, ..CREATE };
    let fd = guest.open(DIR, "log", append).unwrap();
    at_once(
        (0..4u64)
            .map(|thread| {
                let guest = guest.clone();
                Box::new(move || {
                    let line = format!("thread {thread} writes this line\n");
                    let (at, n) = (guest.put(line.as_bytes()), guest.alloc(8));
                    let half = line.len() as u64 / 2;
                    let iovs = guest.iovecs(&[(at, half), (at + half, line.len() as u64 - half)]);
                    for _ in 0..ROUNDS {
                        guest.call("fd_write", &[fd.into(), iovs, 2, n]).unwrap();
                        // The offset of others does not matter to appending.
                        guest.call("fd_seek", &[fd.into(), 0, 0, n]).unwrap();
                    }
                }) as Box<dyn FnOnce() + Send>
            })
            .collect(),
    );
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    let mut counts = [0; 4];
    for line in log.lines() {
        let thread: usize = line.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(line, format!("thread {thread} writes this line"));
        counts[thread] += 1;
    }
    assert_eq!(counts, [ROUNDS; 4]);
}

/// Threads use descriptors while others close, open and renumber them: each call works on the file that the number
/// named at some moment, or gives `badf`.
#[test]
fn closing_and_renumbering_while_in_use() {
    let (dir, guest) = in_new_dir();
    for name in ["a", "b"] {
        fs::write(dir.path().join(name), name.repeat(64)).unwrap();
    }
    let before = descriptors_below(dir.path());
    let (a, b) = (guest.open(DIR, "a", READ).unwrap(), guest.open(DIR, "b", READ).unwrap());
    let done = AtomicBool::new(false);
    let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for _ in 0..2 {
        let (guest, done) = (guest.clone(), &done);
        tasks.push(Box::new(move || {
            let (to, n, record) = (guest.alloc(64), guest.alloc(8), guest.alloc(64));
            let iovs = guest.iovecs(&[(to, 32), (to + 32, 32)]);
            let sub = guest.put(&[0; 48]);
            guest.memory().write_u8(sub + 8, 1).unwrap();
            guest.memory().write_u32(sub + 16, a).unwrap();
            let fd = u64::from(a);
            while !done.load(Ordering::SeqCst) {
                match guest.call("fd_pread", &[fd, iovs, 2, 0, n]) {
                    Ok(()) => {
                        // One file or the other, and never a mixture.
                        let bytes = guest.memory().read_array::<64>(to).unwrap();
                        assert!(bytes == [b'a'; 64] || bytes == [b'b'; 64]);
                    }
                    Err(errno) => assert_eq!(errno, Errno::Badf),
                }
                for (name, args) in [
                    ("fd_read", vec![fd, iovs, 2, n]),
                    ("fd_seek", vec![fd, 0, 0, n]),
                    ("fd_tell", vec![fd, n]),
                    ("fd_fdstat_get", vec![fd, record]),
                    ("fd_filestat_get", vec![fd, record]),
                    ("fd_fdstat_set_flags", vec![fd, 0]),
                    ("fd_advise", vec![fd, 0, 0, 0]),
                    ("fd_sync", vec![fd]),
                ] {
                    // At times the number is a directory's, of the threads below.
                    let result = guest.call(name, &args);
                    assert!(matches!(result, Ok(()) | Err(Errno::Badf)), "{name}: {result:?}");
                }
                // Events tell of a descriptor that is closed; the call goes on.
                assert_eq!(guest.call("poll_oneoff", &[sub, record, 1, n]), Ok(()));
                let error = guest.memory().read_u16(record + 8).unwrap();
                assert!([Errno::Success as u16, Errno::Badf as u16].contains(&error), "{error}");
            }
        }));
    }
    {
        let (guest, done) = (guest.clone(), &done);
        tasks.push(Box::new(move || {
            for round in 0..ROUNDS {
                let name = if round % 2 == 0 { "a" } else { "b" };
                // The lowest number that is free: `a`'s while it is closed.
                if round % 3 == 0 {
                    guest.close(a).unwrap();
                    assert_eq!(guest.open(DIR, name, READ), Ok(a));
                } else {
                    let fresh = guest.open(DIR, name, READ).unwrap();
                    assert_eq!(guest.call("fd_renumber", &[fresh.into(), a.into()]), Ok(()));
                    assert_eq!(guest.close(fresh), Err(Errno::Badf));
                }
            }
            done.store(true, Ordering::SeqCst);
        }));
    }
    at_once(tasks);
    guest.close(a).unwrap();
    guest.close(b).unwrap();
    assert_eq!(descriptors_below(dir.path()), before);
}

/// Threads renumber two descriptors over each other, and open and close others: what is closed is closed once.
#[test]
fn renumbering_over_each_other_loses_and_leaks_nothing() {
    let (dir, guest) = in_new_dir();
    fs::write(dir.path().join("file"), "contents").unwrap();
    let before = descriptors_below(dir.path());
    let path = guest.put(b"file");
    at_once(
        (0..4u64)
            .map(|thread| {
                let guest = guest.clone();
                Box::new(move || {
                    let result = guest.alloc(4);
                    let rights = Rights::FD_READ.0;
                    for round in 0..ROUNDS {
                        let args = [3, 0, path, 4, 0, rights, 0, 0, result];
                        guest.call("path_open", &args).unwrap();
                        let fd = u64::from(guest.memory().read_u32(result).unwrap());
                        // Any of the numbers that threads use; each may be open or not at this moment.
                        let other = 4 + (thread + round) % 6;
                        if other != fd {
                            let moved = guest.call("fd_renumber", &[fd, other]);
                            assert!(matches!(moved, Ok(()) | Err(Errno::Badf)), "{moved:?}");
                        }
                        for fd in [fd, other] {
                            let closed = guest.call("fd_close", &[fd]);
                            assert!(matches!(closed, Ok(()) | Err(Errno::Badf)), "{closed:?}");
                        }
                    }
                }) as Box<dyn FnOnce() + Send>
            })
            .collect(),
    );
    for fd in 4..40 {
        let _ = guest.close(fd);
    }
    assert_eq!(descriptors_below(dir.path()), before);
    assert_eq!(guest.open(DIR, "file", READ), Ok(4));
}

/// Names are made, listed, opened, renamed, linked and removed at once.
#[test]
fn one_directory_for_all() {
    let (dir, guest) = in_new_dir();
    for i in 0..20 {
        fs::write(dir.path().join(format!("stays{i}")), "stays").unwrap();
    }
    let before = descriptors_below(dir.path());
    let done = AtomicBool::new(false);
    let live = AtomicU32::new(3);
    let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for thread in 0..3u64 {
        let (guest, done, live) = (guest.clone(), &done, &live);
        tasks.push(Box::new(move || {
            let names: Vec<(u64, u64)> = ["one", "two", "three", "stays0", "dir"]
                .map(|name| (guest.put(name.as_bytes()), name.len() as u64))
                .to_vec();
            let result = guest.alloc(64);
            for round in 0..ROUNDS {
                let pick = |n: u64| names[((round * 7 + thread * 3 + n * 5) % 4) as usize];
                let ((a, a_len), (b, b_len), (d, d_len)) = (pick(0), pick(1), names[4]);
                let (read, write) = (Rights::FD_READ.0, Rights::FD_WRITE.0);
                for (name, args) in [
                    ("path_open", vec![3, 0, a, a_len, 1, write, 0, 0, result]),
                    ("path_rename", vec![3, a, a_len, 3, b, b_len]),
                    ("path_open", vec![3, 1, b, b_len, 0, read, 0, 0, result]),
                    ("path_link", vec![3, 0, b, b_len, 3, a, a_len]),
                    ("path_filestat_get", vec![3, 0, a, a_len, result]),
                    ("path_unlink_file", vec![3, a, a_len]),
                    ("path_symlink", vec![b, b_len, 3, a, a_len]),
                    ("path_readlink", vec![3, a, a_len, result, 32, result + 32]),
                    ("path_create_directory", vec![3, d, d_len]),
                    ("path_remove_directory", vec![3, d, d_len]),
                ] {
                    let errno = match guest.call(name, &args) {
                        Ok(()) if name == "path_open" => {
                            let fd = guest.memory().read_u32(result).unwrap();
                            guest.call("fd_close", &[fd.into()])
                        }
                        other => other,
                    };
                    let expected = [Errno::Noent, Errno::Exist, Errno::Loop, Errno::Inval];
                    assert!(
                        errno.is_ok() || expected.contains(&errno.unwrap_err()),
                        "{name}: {errno:?}"
                    );
                }
            }
            if live.fetch_sub(1, Ordering::SeqCst) == 1 {
                done.store(true, Ordering::SeqCst);
            }
        }));
    }
    // Two threads list through one descriptor: what was there all the time is shown once.
    for room in [100, 4000] {
        let (guest, done) = (guest.clone(), &done);
        tasks.push(Box::new(move || {
            let (buf, n) = (guest.alloc(room), guest.alloc(4));
            let mut last_round = false;
            while !last_round {
                last_round = done.load(Ordering::SeqCst);
                let (mut cookie, mut stays) = (0, Vec::new());
                loop {
                    guest.call("fd_readdir", &[3, buf, room, cookie, n]).unwrap();
                    let used = guest.memory().read_u32(n).unwrap();
                    let bytes = guest.memory().read_bytes(buf, used.into()).unwrap();
                    let mut rest = &bytes[..];
                    while rest.len() >= 24 {
                        let length = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
                        let Some(name) = rest.get(24..24 + length) else { break };
                        let name = String::from_utf8(name.to_vec()).unwrap();
                        if name.starts_with("stays") && name != "stays0" {
                            stays.push(name);
                        }
                        cookie = u64::from_le_bytes(rest[..8].try_into().unwrap());
                        rest = &rest[24 + length..];
                    }
                    if u64::from(used) < room {
                        break;
                    }
                }
                let different: BTreeSet<_> = stays.iter().collect();
                assert_eq!((stays.len(), different.len()), (19, 19), "{stays:?}");
            }
        }));
    }
    at_once(tasks);
    assert_eq!(descriptors_below(dir.path()), before);
}

/// A descriptor is closed while threads wait for it in `poll_oneoff` and `sock_recv`: they go on waiting for the file
/// they have begun with, and are told when something comes.
#[test]
fn closing_under_waiting_threads() {
    use std::os::unix::net::UnixStream;
    for _ in 0..20 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let guest = Guest::new(WasiCtx::builder().preopened_socket(OwnedFd::from(ours)));
        let mut sub = [0u8; 48];
        (sub[8], sub[16]) = (1, 3);
        let (sub, event, n) = (guest.put(&sub), guest.alloc(32), guest.alloc(4));
        let poll = Caller::spawn({
            let guest = guest.clone();
            move || guest.call("poll_oneoff", &[sub, event, 1, n])
        });
        poll.wait_until_blocked();
        guest.close(3).unwrap();
        assert!(!poll.finished());
        std::io::Write::write_all(&mut &theirs, b"abc").unwrap();
        assert_eq!(poll.join(), Ok(()));
        assert_eq!(guest.memory().read_u16(event + 8), Ok(0));
        // With the last waiting thread gone the socket is closed, as its other end sees.
        theirs.set_nonblocking(true).unwrap();
        assert!(std::io::Write::write_all(&mut &theirs, b"x").is_err());
        assert_eq!(guest.call("sock_recv", &[3, 0, 0, 0, n, n]), Err(Errno::Badf));
    }
}

/// Rights shrink while threads use them, and do not come back.
#[test]
fn rights_that_shrink_meanwhile() {
    let (dir, guest) = in_new_dir();
    fs::write(dir.path().join("file"), "contents").unwrap();
    let fd = u64::from(guest.open(DIR, "file", READ).unwrap());
    let done = AtomicBool::new(false);
    let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for _ in 0..3 {
        let (guest, done) = (guest.clone(), &done);
        tasks.push(Box::new(move || {
            let (to, n) = (guest.alloc(8), guest.alloc(4));
            let iovs = guest.iovecs(&[(to, 8)]);
            let mut refused = false;
            while !(refused && done.load(Ordering::SeqCst)) {
                match guest.call("fd_pread", &[fd, iovs, 1, 0, n]) {
                    // A right that is gone does not come back.
                    Ok(()) => assert!(!refused),
                    Err(errno) => {
                        assert_eq!(errno, Errno::Notcapable);
                        refused = true;
                    }
                }
            }
        }));
    }
    {
        let (guest, done) = (guest.clone(), &done);
        tasks.push(Box::new(move || {
            thread::yield_now();
            let less = Rights::FD_SEEK.0;
            assert_eq!(guest.call("fd_fdstat_set_rights", &[fd, less, 0]), Ok(()));
            let more = Rights::FD_READ.with(Rights::FD_SEEK).0;
            for _ in 0..ROUNDS {
                assert_eq!(
                    guest.call("fd_fdstat_set_rights", &[fd, more, 0]),
                    Err(Errno::Notcapable)
                );
            }
            done.store(true, Ordering::SeqCst);
        }));
    }
    at_once(tasks);
}
