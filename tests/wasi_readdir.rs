//! WASI: listing directories.

mod wasi_support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use updraft::host::wasi::{Errno, Host};
use wasi_support::*;

/// Size of witx `dirent`.
const DIRENT: usize = 24;

#[derive(Debug, PartialEq, Clone)]
struct Entry {
    next: u64,
    ino: u64,
    filetype: u8,
    name: String,
}

/// One call: the whole entries in the buffer, and whether the directory has ended.
fn list(guest: &Guest, fd: u32, room: u64, cookie: u64) -> Result<(Vec<Entry>, bool), Errno> {
    let buf = guest.alloc(room);
    let used = guest.call_u32("fd_readdir", &[fd.into(), buf, room, cookie])?;
    assert!(u64::from(used) <= room);
    let bytes = guest.memory().read_bytes(buf, used.into()).unwrap();
    let mut rest = &bytes[..];
    let mut entries = Vec::new();
    while rest.len() >= DIRENT {
        let u64_at = |at: usize| u64::from_le_bytes(rest[at..at + 8].try_into().unwrap());
        let len = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
        let Some(name) = rest.get(DIRENT..DIRENT + len) else { break };
        entries.push(Entry {
            next: u64_at(0),
            ino: u64_at(8),
            filetype: rest[20],
            name: String::from_utf8(name.to_vec()).unwrap(),
        });
        rest = &rest[DIRENT + len..];
    }
    Ok((entries, u64::from(used) < room))
}

/// The whole directory by calls with buffers of `room` bytes.
fn list_all(guest: &Guest, fd: u32, room: u64) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let cookie = all.last().map_or(0, |entry| entry.next);
        let (entries, end) = list(guest, fd, room, cookie).unwrap();
        assert!(end || !entries.is_empty(), "a buffer of {room} bytes holds no entry");
        all.extend(entries);
        if end {
            return all;
        }
    }
}

#[test]
fn entries_have_types_inodes_and_dots() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    let guest = Guest::in_dir(dir.path());
    let all: BTreeMap<_, _> =
        list_all(&guest, DIR, 4096).into_iter().map(|e| (e.name.clone(), e)).collect();
    assert_eq!(all.keys().collect::<Vec<_>>(), [".", "..", "file", "link", "sub"]);
    for (name, filetype) in [
        (".", TYPE_DIRECTORY),
        ("..", TYPE_DIRECTORY),
        ("file", TYPE_REGULAR),
        ("link", TYPE_SYMLINK),
        ("sub", TYPE_DIRECTORY),
    ] {
        assert_eq!(all[name].filetype, filetype, "{name}");
    }
    for name in [".", "file", "link", "sub"] {
        assert_eq!(all[name].ino, guest.path_filestat(DIR, 0, name).unwrap().ino, "{name}");
    }
}

#[test]
fn small_buffers_and_cookies_give_each_entry_once() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..300 {
        fs::write(dir.path().join(format!("{i:0width$}", width = 3 + i % 30)), "").unwrap();
    }
    let guest = Guest::in_dir(dir.path());
    let whole = list_all(&guest, DIR, 64 * 1024);
    assert_eq!(whole.len(), 302);
    let longest = (DIRENT + 32) as u64;
    for room in [longest, longest + 1, 100, 333] {
        assert_eq!(list_all(&guest, DIR, room), whole, "{room}");
    }
    // From any cookie on, the rest follows.
    for i in [0, 1, 150, 300] {
        let (rest, _) = list(&guest, DIR, 32 * 1024, whole[i].next).unwrap();
        assert_eq!(rest, whole[i + 1..], "{i}");
    }
    assert_eq!(list(&guest, DIR, 100, whole[301].next), Ok((vec![], true)));
}

#[test]
fn an_entry_that_does_not_fit_is_cut_and_fills_the_buffer() {
    let dir = tempfile::tempdir().unwrap();
    let guest = Guest::in_dir(dir.path());
    for room in [0, 1, 23, 24] {
        let buf = guest.alloc(64);
        let used = guest.call_u32("fd_readdir", &[DIR.into(), buf, room, 0]);
        assert_eq!(used, Ok(room as u32));
        assert_eq!(guest.memory().read_bytes(buf + room, 8).unwrap(), [0; 8]);
    }
}

#[test]
fn bad_calls() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let guest = Guest::in_dir(dir.path());
    let file = guest.open(DIR, "file", READ).unwrap();
    assert_eq!(list(&guest, file, 100, 0), Err(Errno::Notdir));
    assert_eq!(list(&guest, 99, 100, 0), Err(Errno::Badf));
    assert_eq!(list(&guest, DIR, 100, u64::MAX), Err(Errno::Inval));
    let args = [DIR.into(), MEMORY - 10, 100, 0];
    assert_eq!(guest.call_u32("fd_readdir", &args), Err(Errno::Fault));

    let sub = guest.open(DIR, "sub", DIRECTORY).unwrap();
    guest.path("path_remove_directory", DIR, "sub").unwrap();
    assert_eq!(list(&guest, sub, 100, 0), Ok((vec![], true)));
}

/// A program that removes what it has listed, as `rm -r` does, sees every entry once; so does one that adds
/// entries meanwhile, of those that were there.
#[test]
fn removing_and_adding_while_listing() {
    let dir = tempfile::tempdir().unwrap();
    let guest = Guest::in_dir(dir.path());
    for room in [64, 200, 4096] {
        let names: Vec<String> = (0..300).map(|i| format!("{room}-{i}")).collect();
        for name in &names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let (mut seen, mut cookie, mut added) = (Vec::new(), 0, 0);
        loop {
            let (entries, end) = list(&guest, DIR, room, cookie).unwrap();
            cookie = entries.last().map_or(cookie, |entry| entry.next);
            for entry in entries.iter().filter(|entry| names.contains(&entry.name)) {
                guest.path("path_unlink_file", DIR, &entry.name).unwrap();
                seen.push(entry.name.clone());
                fs::write(dir.path().join(format!("added{added}")), "").unwrap();
                added += 1;
            }
            if end {
                break;
            }
        }
        seen.sort();
        let mut names = names;
        names.sort();
        assert_eq!(seen, names, "{room}");
        // From the start, it is shown as it is.
        assert_eq!(list_all(&guest, DIR, 4096).len(), 2 + added);
        for i in 0..added {
            fs::remove_file(dir.path().join(format!("added{i}"))).unwrap();
        }
        assert_eq!(list_all(&guest, DIR, 4096).len(), 2);
    }
}

/// Cookies go back as far as one likes, in any order.
#[test]
fn cookies_can_be_used_again_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..2000 {
        fs::write(dir.path().join(format!("a long name, so that chunks end: {i:050}")), "")
            .unwrap();
    }
    let guest = Guest::in_dir(dir.path());
    let whole = list_all(&guest, DIR, 3000);
    assert_eq!(whole.len(), 2002);
    for step in [1, 7, 401, 1999] {
        let mut at = step;
        for _ in 0..20 {
            let (entries, _) = list(&guest, DIR, 500, whole[at].next).unwrap();
            assert_eq!(entries, whole[at + 1..(at + 1 + entries.len()).min(whole.len())]);
            at = (at + step) % 2000;
        }
    }
}

#[test]
fn threads_list_one_descriptor_without_disturbing_each_other() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..50 {
        fs::write(dir.path().join(format!("file{i}")), "").unwrap();
    }
    let guest = Guest::in_dir(dir.path());
    let whole = list_all(&guest, DIR, 4096);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (guest, whole) = (guest.clone(), &whole);
            scope.spawn(move || {
                for _ in 0..20 {
                    assert_eq!(list_all(&guest, DIR, 100), *whole);
                }
            });
        }
    });
}
