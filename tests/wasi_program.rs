//! WASI: the table of functions, the process, and what every call must bear.

mod wasi_support;

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use updraft::host::wasi::{
    Errno, FUNCTIONS, Host, MODULE, MemoryOutput, WasiCtx, WasiExit, WasiType, lookup,
};
use wasi_support::*;

#[test]
fn the_table_is_preview_1() {
    let names: BTreeSet<_> = FUNCTIONS.iter().map(|function| function.name).collect();
    assert_eq!(names.len(), FUNCTIONS.len());
    // From the witx text: parameters of each function, `i` for i32 and `I` for i64.
    let witx = "
        args_get ii, args_sizes_get ii, environ_get ii, environ_sizes_get ii, clock_res_get ii,
        clock_time_get iIi, fd_advise iIIi, fd_allocate iII, fd_close i, fd_datasync i,
        fd_fdstat_get ii, fd_fdstat_set_flags ii, fd_fdstat_set_rights iII, fd_filestat_get ii,
        fd_filestat_set_size iI, fd_filestat_set_times iIIi, fd_pread iiiIi, fd_prestat_get ii,
        fd_prestat_dir_name iii, fd_pwrite iiiIi, fd_read iiii, fd_readdir iiiIi, fd_renumber ii,
        fd_seek iIii, fd_sync i, fd_tell ii, fd_write iiii, path_create_directory iii,
        path_filestat_get iiiii, path_filestat_set_times iiiiIIi, path_link iiiiiii,
        path_open iiiiiIIii, path_readlink iiiiii, path_remove_directory iii, path_rename iiiiii,
        path_symlink iiiii, path_unlink_file iii, poll_oneoff iiii, proc_exit i, proc_raise i,
        sched_yield , random_get ii, sock_accept iii, sock_recv iiiiii, sock_send iiiii,
        sock_shutdown ii";
    let mut count = 0;
    for entry in witx.split(',').map(str::trim) {
        let (name, params) = entry.split_once(' ').unwrap_or((entry, ""));
        let function = lookup(MODULE, name).unwrap_or_else(|| panic!("no {name}"));
        let types: String =
            function.params.iter().map(|ty| if *ty == WasiType::I32 { 'i' } else { 'I' }).collect();
        assert_eq!(types, params, "{name}");
        let results: &[WasiType] = if name == "proc_exit" { &[] } else { &[WasiType::I32] };
        assert_eq!(function.results, results, "{name}");
        count += 1;
    }
    assert_eq!(count, FUNCTIONS.len());
    assert!(lookup("wasi_unstable", "fd_write").is_none());
    assert!(lookup(MODULE, "thread-spawn").is_none());
}

fn strings(guest: &Guest, kind: &str) -> Vec<String> {
    let (count, size) = (guest.alloc(4), guest.alloc(4));
    guest.call(&format!("{kind}_sizes_get"), &[count, size]).unwrap();
    let count = guest.memory().read_u32(count).unwrap();
    let size = guest.memory().read_u32(size).unwrap();
    let (pointers, buf) = (guest.alloc(4 * u64::from(count)), guest.alloc(size.into()));
    guest.call(&format!("{kind}_get"), &[pointers, buf]).unwrap();
    (0..u64::from(count))
        .map(|i| {
            let at = u64::from(guest.memory().read_u32(pointers + 4 * i).unwrap());
            let bytes = guest.memory().read_bytes(at, buf + u64::from(size) - at).unwrap();
            let end = bytes.iter().position(|b| *b == 0).unwrap();
            String::from_utf8(bytes[..end].to_vec()).unwrap()
        })
        .collect()
}

#[test]
fn arguments_and_environment() {
    let guest = Guest::new(WasiCtx::builder().arg("prog").args(["a b", ""]).env("NAME", "v=1"));
    assert_eq!(strings(&guest, "args"), ["prog", "a b", ""]);
    assert_eq!(strings(&guest, "environ"), ["NAME=v=1"]);
    assert_eq!(guest.call("args_get", &[MEMORY - 8, 0]), Err(Errno::Fault));
    assert_eq!(guest.call("args_get", &[0, MEMORY - 8]), Err(Errno::Fault));
    let guest = Guest::new(WasiCtx::builder());
    assert!(strings(&guest, "args").is_empty() && strings(&guest, "environ").is_empty());
}

#[test]
fn clocks() {
    let guest = Guest::new(WasiCtx::builder());
    for id in 0..4 {
        assert!(guest.call_u64("clock_res_get", &[id]).unwrap() > 0);
        let first = guest.call_u64("clock_time_get", &[id, 0]).unwrap();
        let second = guest.call_u64("clock_time_get", &[id, 0]).unwrap();
        assert!(id == 0 || second >= first, "clock {id}");
    }
    let year_2020 = 1_577_836_800_000_000_000;
    assert!(guest.call_u64("clock_time_get", &[0, 0]).unwrap() > year_2020);
    assert_eq!(guest.call_u64("clock_res_get", &[4]), Err(Errno::Inval));
    assert_eq!(guest.call_u64("clock_time_get", &[4, 0]), Err(Errno::Inval));
}

#[test]
fn random_bytes() {
    let guest = Guest::new(WasiCtx::builder());
    let (a, b) = (guest.alloc(300_000), guest.alloc(300_000));
    assert_eq!(guest.call("random_get", &[a, 300_000]), Ok(()));
    assert_eq!(guest.call("random_get", &[b, 300_000]), Ok(()));
    let (a, b) =
        (guest.memory().read_bytes(a, 300_000).unwrap(), guest.memory().read_bytes(b, 300_000));
    assert!(a.iter().rev().take(32).any(|byte| *byte != 0));
    assert_ne!(a, b.unwrap());
    assert_eq!(guest.call("random_get", &[MEMORY - 4, 5]), Err(Errno::Fault));
    assert_eq!(guest.call("random_get", &[0, u32::MAX.into()]), Err(Errno::Fault));
    assert_eq!(guest.call("random_get", &[MEMORY, 0]), Ok(()));
}

#[test]
fn exits() {
    let guest = Guest::new(WasiCtx::builder());
    let exit = |name, arg| guest.try_call(name, &[arg]);
    assert_eq!(exit("proc_exit", 0), Err(WasiExit::Exit(0)));
    assert_eq!(exit("proc_exit", 0xffff_ffff), Err(WasiExit::Exit(u32::MAX)));
    assert_eq!(exit("proc_raise", 6), Err(WasiExit::Exit(134)));
    assert_eq!(exit("proc_raise", 15), Err(WasiExit::Exit(143)));
    assert_eq!(exit("proc_raise", 0), Ok(Errno::Success));
    assert_eq!(exit("proc_raise", 16), Ok(Errno::Success));
    assert_eq!(exit("proc_raise", 18), Ok(Errno::Notsup));
    assert_eq!(exit("proc_raise", 31), Ok(Errno::Inval));
    assert_eq!(guest.call("sched_yield", &[]), Ok(()));
}

/// Numbers of any kind in any place give an error code or a result, and never a panic or a fault of the
/// host. A small generator with a fixed seed makes the run the same each time.
#[test]
fn any_numbers_are_borne() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "contents").unwrap();
    let guest = Guest::in_dir(dir.path());
    // Without the rights to allocate and resize: this is not a test of the disk.
    let rights = READ.base;
    let file = guest.open(DIR, "file", Open { base: rights, ..READ }).unwrap();
    let path = guest.put(b"file");
    let interesting = [
        0,
        1,
        2,
        3,
        u64::from(file),
        5,
        8,
        99,
        path,
        255,
        1024,
        1025,
        MEMORY - 1,
        MEMORY - 8,
        MEMORY,
        MEMORY + 1,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fff8,
        0xffff_ffff,
        0x1_0000_0000,
        u64::MAX >> 1,
        1 << 63,
        u64::MAX,
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..1_500 {
        for function in FUNCTIONS {
            let mut args: Vec<u64> = function
                .params
                .iter()
                .map(|ty| {
                    let value = interesting[random() as usize % interesting.len()];
                    if *ty == WasiType::I32 { value & 0xffff_ffff } else { value }
                })
                .collect();
            match function.name {
                // The descriptors stay for the calls that follow.
                "fd_close" | "fd_renumber" | "fd_fdstat_set_rights" => args[0] = 99,
                // Over zeros every subscription is a clock whose time has come.
                "poll_oneoff" => {
                    let zeros = guest.memory();
                    for at in (0..MEMORY).step_by(4096) {
                        zeros.write_bytes(at, &[0; 4096]).unwrap();
                    }
                }
                _ => {}
            }
            let result = (function.call)(&guest.ctx, &guest, &args);
            match result {
                Ok(Some(errno)) => assert!((errno as usize) < Errno::ALL.len()),
                Ok(None) => panic!("{} has a result", function.name),
                Err(WasiExit::Exit(_)) => assert!(function.name.starts_with("proc_")),
                Err(WasiExit::Stopped) => panic!("{} was not stopped", function.name),
            }
        }
    }
    for function in FUNCTIONS {
        let too_many = vec![0; function.params.len() + 1];
        let inval = Ok(Some(Errno::Inval as u32));
        assert_eq!((function.call)(&guest.ctx, &guest, &too_many), inval, "{}", function.name);
    }
}

#[test]
fn writes_of_threads_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let stdout = MemoryOutput::new();
    let guest =
        Guest::new(WasiCtx::builder().stdout(stdout.clone()).preopened_dir(dir.path(), "/", false));
    let file = guest.open(DIR, "file", Open { fdflags: 1, ..CREATE }).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let guest = &guest;
            scope.spawn(move || {
                let part = guest.put(&[b'a' + thread; 100]);
                let iovs = guest.iovecs(&[(part, 30), (part + 30, 69), (guest.put(b"\n"), 1)]);
                let out = guest.alloc(4);
                for _ in 0..200 {
                    for fd in [1, u64::from(file)] {
                        assert_eq!(guest.call("fd_write", &[fd, iovs, 3, out]), Ok(()));
                        assert_eq!(guest.memory().read_u32(out), Ok(100));
                    }
                }
            });
        }
    });
    for bytes in [stdout.contents(), fs::read(dir.path().join("file")).unwrap()] {
        assert_eq!(bytes.len(), 4 * 200 * 100);
        for line in bytes.chunks(100) {
            assert!(line[..99].iter().all(|byte| *byte == line[0]) && line[99] == b'\n');
        }
    }
}

/// Threads open, renumber and close at the same time; a descriptor that a thread holds is its own.
#[test]
fn the_table_bears_threads() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..4 {
        fs::write(dir.path().join(format!("file{i}")), [i; 8]).unwrap();
    }
    let guest = Guest::in_dir(dir.path());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4u8)
            .map(|i| {
                let guest = guest.clone();
                scope.spawn(move || {
                    let path = guest.put(format!("file{i}").as_bytes());
                    let (out, buf) = (guest.alloc(4), guest.alloc(8));
                    let iovs = guest.iovecs(&[(buf, 8)]);
                    let open = || {
                        let args = [3, 0, path, 5, 0, READ.base, 0, 0, out];
                        guest.call("path_open", &args).unwrap();
                        u64::from(guest.memory().read_u32(out).unwrap())
                    };
                    for _ in 0..500 {
                        let (a, b) = (open(), open());
                        assert_ne!(a, b);
                        guest.call("fd_renumber", &[a, b]).unwrap();
                        guest.call("fd_read", &[b, iovs, 1, out]).unwrap();
                        assert_eq!(guest.memory().read_bytes(buf, 8).unwrap(), [i; 8]);
                        guest.call("fd_close", &[b]).unwrap();
                    }
                })
            })
            .collect();
        // One more reads whatever is there, from numbers that are not its own.
        scope.spawn(|| {
            let (out, buf) = (guest.alloc(4), guest.alloc(8));
            let iovs = guest.iovecs(&[(buf, 8)]);
            while !done.load(Ordering::SeqCst) {
                for fd in 4..12 {
                    match guest.call("fd_pread", &[fd, iovs, 1, 0, out]) {
                        Ok(()) => {
                            let bytes = guest.memory().read_bytes(buf, 8).unwrap();
                            assert!(bytes[0] < 4 && bytes.iter().all(|byte| *byte == bytes[0]));
                        }
                        Err(errno) => assert_eq!(errno, Errno::Badf),
                    }
                }
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(guest.open(DIR, "file0", READ), Ok(4));
}
