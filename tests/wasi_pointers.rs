//! WASI: the addresses that a guest gives. Every function refuses those that leave the memory with `fault` and those
//! that are not aligned as the witx text has it with `inval`, before it has had any effect.

mod common;
mod wasi_support;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use updraft::host::wasi::{Errno, Host, WasiCtx};
use updraft::{Engine, Error, Linker, Module, Process, ProcessConfig, WasiCtxBuilder};
use wasi_support::*;

/// What an argument is: a plain value, or an address with the alignment and size of what it points to.
#[derive(Clone, Copy)]
enum Arg {
    Value(u64),
    Points { align: u64, size: u64, good: u64 },
}

fn points(align: u64, size: u64, good: u64) -> Arg {
    Arg::Points { align, size, good }
}

struct Fixture {
    guest: Guest,
    file: u64,
    listener: u64,
    connection: u64,
    _peer: std::os::unix::net::UnixStream,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        use std::os::fd::OwnedFd;
        use std::os::unix::net::{UnixListener, UnixStream};
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "contents").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (ours, peer) = UnixStream::pair().unwrap();
        let guest = Guest::new(
            WasiCtx::builder()
                .args(["a", "b"])
                .env("A", "b")
                .preopened_dir(dir.path(), "/", false)
                .preopened_socket(OwnedFd::from(listener))
                .preopened_socket(OwnedFd::from(ours)),
        );
        std::io::Write::write_all(&mut &peer, b"message").unwrap();
        let file = guest.open(DIR, "file", WRITE).unwrap().into();
        Fixture { guest, file, listener: 4, connection: 5, _peer: peer, dir }
    }

    /// Every function that takes an address, with arguments that are good.
    fn calls(&self) -> Vec<(&'static str, Vec<Arg>)> {
        use Arg::Value as V;
        let guest = &self.guest;
        let dir = V(DIR.into());
        let out = guest.alloc(128);
        let [four, eight] = [points(4, 4, out), points(8, 8, out)];
        let name = |name: &str| {
            [points(1, name.len() as u64, guest.put(name.as_bytes())), V(name.len() as u64)]
        };
        let buffer = guest.alloc(64);
        let iovs = points(4, 8, guest.iovecs(&[(buffer, 8)]));
        let subscription = points(8, 48, guest.put(&[0; 48]));
        let ([file, file_len], [new, new_len], [link, link_len]) =
            (name("file"), name("new"), name("link"));
        let fd = V(self.file);
        vec![
            ("args_get", vec![points(4, 8, out), points(1, 4, buffer)]),
            ("args_sizes_get", vec![four, points(4, 4, out + 4)]),
            ("environ_get", vec![points(4, 4, out), points(1, 4, buffer)]),
            ("environ_sizes_get", vec![four, points(4, 4, out + 4)]),
            ("clock_res_get", vec![V(1), eight]),
            ("clock_time_get", vec![V(1), V(0), eight]),
            ("fd_fdstat_get", vec![fd, points(8, 24, out)]),
            ("fd_filestat_get", vec![fd, points(8, 64, out)]),
            ("fd_pread", vec![fd, iovs, V(1), V(0), four]),
            ("fd_prestat_get", vec![dir, points(4, 8, out)]),
            ("fd_prestat_dir_name", vec![dir, points(1, 1, out), V(1)]),
            ("fd_pwrite", vec![fd, iovs, V(1), V(100), four]),
            ("fd_read", vec![fd, iovs, V(1), four]),
            ("fd_readdir", vec![dir, points(1, 64, out), V(64), V(0), points(4, 4, out + 64)]),
            ("fd_seek", vec![fd, V(5), V(0), eight]),
            ("fd_tell", vec![fd, eight]),
            ("fd_write", vec![fd, iovs, V(1), four]),
            ("path_create_directory", vec![dir, new, new_len]),
            ("path_filestat_get", vec![dir, V(0), file, file_len, points(8, 64, out)]),
            ("path_filestat_set_times", vec![dir, V(0), file, file_len, V(0), V(0), V(5)]),
            ("path_link", vec![dir, V(0), file, file_len, dir, new, new_len]),
            ("path_open", vec![dir, V(0), new, new_len, V(1), V(!0), V(0), V(0), four]),
            ("path_readlink", vec![dir, link, link_len, points(1, 8, buffer), V(8), four]),
            ("path_remove_directory", vec![dir, new, new_len]),
            ("path_rename", vec![dir, file, file_len, dir, new, new_len]),
            ("path_symlink", vec![file, file_len, dir, new, new_len]),
            ("path_unlink_file", vec![dir, file, file_len]),
            ("poll_oneoff", vec![subscription, points(8, 32, out), V(1), four]),
            ("random_get", vec![points(1, 16, out), V(16)]),
            ("sock_accept", vec![V(self.listener), V(0), four]),
            ("sock_recv", vec![V(self.connection), iovs, V(1), V(0), four, points(2, 2, out + 8)]),
            ("sock_send", vec![V(self.connection), iovs, V(1), V(0), four]),
        ]
    }

    /// What a call may have changed.
    fn state(&self) -> (Vec<std::ffi::OsString>, Vec<u8>, u64, u32) {
        let mut names: Vec<_> =
            fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        let contents = fs::read(self.dir.path().join("file")).unwrap();
        let at = self.guest.call_u64("fd_tell", &[self.file]).unwrap();
        // The number that the next descriptor would get.
        let next = self.guest.open(DIR, "file", READ).unwrap();
        self.guest.close(next).unwrap();
        (names, contents, at, next)
    }
}

fn plain(args: &[Arg]) -> Vec<u64> {
    args.iter()
        .map(|arg| match arg {
            Arg::Value(value) => *value,
            Arg::Points { good, .. } => *good,
        })
        .collect()
}

#[test]
fn bad_addresses_are_refused_without_effect() {
    let fixture = Fixture::new();
    let before = fixture.state();
    let mut checked = 0;
    for (name, args) in fixture.calls() {
        for (position, arg) in args.iter().enumerate() {
            let Arg::Points { align, size, good } = *arg else { continue };
            let mut try_with = |address: u64, expected: Errno| {
                let mut args = plain(&args);
                args[position] = address;
                let got = fixture.guest.call(name, &args);
                assert_eq!(got, Err(expected), "{name}, argument {position} = {address:#x}");
                checked += 1;
            };
            // The first address that does not fit, the end, and the end of all addresses.
            let last = (MEMORY - size + 1).next_multiple_of(align);
            for address in [last, MEMORY, 0x1_0000_0000 - align, 0xffff_ffff & !(align - 1)] {
                try_with(address, Errno::Fault);
            }
            for shift in (1..align).take_while(|_| align > 1) {
                try_with(good + shift, Errno::Inval);
            }
        }
    }
    assert!(checked > 250, "{checked}");
    assert_eq!(fixture.state(), before);
    // With all addresses good each call does something, or the thing is not there.
    for (name, args) in fixture.calls() {
        let expected = match name {
            "path_remove_directory" => Err(Errno::Notdir),
            "path_link" | "path_symlink" => Err(Errno::Exist),
            "path_unlink_file" => Err(Errno::Noent),
            "sock_accept" => Err(Errno::Again),
            _ => Ok(()),
        };
        // What one made is in the way of the next.
        let new = fixture.dir.path().join("new");
        if name == "path_open" || name == "path_rename" {
            let _ = fs::remove_dir(&new);
            let _ = fs::remove_file(&new);
        }
        assert_eq!(fixture.guest.call(name, &plain(&args)), expected, "{name}");
    }
}

#[test]
fn lengths_and_counts_do_not_overflow() {
    let fixture = Fixture::new();
    let (guest, file, connection) = (&fixture.guest, fixture.file, fixture.connection);
    let out = guest.alloc(8);
    // Buffers whose end passes the end of the memory, or of all addresses.
    for (ptr, len) in
        [(0, MEMORY + 1), (MEMORY - 1, 2), (0xffff_ffff, 0xffff_ffff), (8, 0xffff_fffc)]
    {
        let iovs = guest.iovecs(&[(0, 0), (ptr, len)]);
        for (name, args) in [
            ("fd_read", vec![file, iovs, 2, out]),
            ("fd_write", vec![file, iovs, 2, out]),
            ("fd_pread", vec![file, iovs, 2, 0, out]),
            ("fd_pwrite", vec![file, iovs, 2, 0, out]),
            ("sock_recv", vec![connection, iovs, 2, 0, out, out + 4]),
            ("sock_send", vec![connection, iovs, 2, 0, out]),
        ] {
            assert_eq!(guest.call(name, &args), Err(Errno::Fault), "{name} {ptr:#x} {len:#x}");
        }
        for name in ["path_create_directory", "path_unlink_file", "path_remove_directory"] {
            let long = if len > 4095 { Errno::Nametoolong } else { Errno::Fault };
            assert_eq!(guest.call(name, &[DIR.into(), ptr, len]), Err(long), "{name}");
        }
        assert_eq!(guest.call("random_get", &[ptr, len]), Err(Errno::Fault));
        let args = [DIR.into(), ptr, len, 0, out];
        assert_eq!(guest.call("fd_readdir", &args), Err(Errno::Fault));
    }
    // Counts of entries that are not there: 8 bytes each, so that 0x2000_0000 of them take 4 GiB.
    let iovs = guest.iovecs(&[(0, 0)]);
    for count in [1025, 0x1fff_ffff, 0x2000_0000, 0x2000_0001, 0x8000_0000, 0xffff_ffff] {
        assert_eq!(guest.call("fd_write", &[file, iovs, count, out]), Err(Errno::Inval));
        assert_eq!(guest.call("fd_pread", &[file, iovs, count, 0, out]), Err(Errno::Inval));
    }
    // Many buffers over the same bytes are more than a memory, and no error of the host.
    let whole = vec![(0, MEMORY); 1024];
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    let other = Guest::new(WasiCtx::builder().stdout_fd(null));
    let iovs = other.iovecs(&whole);
    assert_eq!(other.call_u32("fd_write", &[1, iovs, 1024]), Ok(1 << 30));
    let subscriptions = guest.put(&[0; 48]);
    for count in [65_537, 0x0555_5556, 0x8000_0000, 0xffff_ffff] {
        let args = [subscriptions, out, count, out];
        assert_eq!(guest.call("poll_oneoff", &args), Err(Errno::Inval), "{count:#x}");
    }
    assert_eq!(guest.call("poll_oneoff", &[subscriptions, 0, 65_536, 0]), Err(Errno::Fault));
    assert_eq!(guest.call("poll_oneoff", &[subscriptions, 0, 0, 0]), Err(Errno::Inval));
    // Nothing may lie anywhere.
    assert_eq!(guest.call_u32("fd_read", &[file, 0xffff_ffff, 0]), Ok(0));
    assert_eq!(guest.call("random_get", &[0xffff_ffff, 0]), Err(Errno::Fault));
    assert_eq!(guest.call("random_get", &[MEMORY, 0]), Ok(()));
}

/// Another thread writes over lists, paths and subscriptions while calls read them: each call sees one state
/// of each word or another, and never anything that was not checked.
#[test]
fn arguments_that_change_during_the_call() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), vec![b'x'; 4096]).unwrap();
    let guest = Guest::in_dir(dir.path());
    let file = guest.open(DIR, "file", READ).unwrap();
    let iovs = guest.iovecs(&[(2048, 64); 16]);
    let path = guest.put(b"file\0\0\0\0");
    let subscriptions = guest.put(&[0; 48 * 16]);
    let (events, out) = (guest.alloc(32 * 16), guest.alloc(8));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (writer, done) = (guest.clone(), &done);
        scope.spawn(move || {
            let values = [2048, 64, 0, u32::MAX, MEMORY as u32, 0x2f2e_2e2f, 3, 99];
            let mut i = 0u64;
            while !done.load(Ordering::Relaxed) {
                let memory = writer.memory();
                let value = values[(i / 7) as usize % values.len()];
                memory.write_u32(iovs + (i % 32) * 4, value).unwrap();
                memory.write_u32(path + (i % 2) * 4, value).unwrap();
                // Clocks whose time has come, descriptors, and tags that do not exist.
                let subscription = subscriptions + (i % 16) * 48;
                memory.write_u8(subscription + 8, (i / 16 % 4) as u8).unwrap();
                memory.write_u32(subscription + 16, value & 3).unwrap();
                i += 1;
            }
        });
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..20_000 {
            for (name, args) in [
                ("fd_pread", vec![file.into(), iovs, 16, 0, out]),
                ("path_filestat_get", vec![DIR.into(), 1, path, 8, events]),
                ("poll_oneoff", vec![subscriptions, events, 16, out]),
            ] {
                let errno = guest.try_call(name, &args).unwrap();
                *seen.entry((name, errno as u16)).or_insert(0) += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
        let all: Vec<_> =
            seen.keys().map(|(name, errno)| (*name, Errno::ALL[*errno as usize])).collect();
        for (name, errno) in all {
            let allowed: &[Errno] = match name {
                "fd_pread" => &[Errno::Success, Errno::Fault],
                "poll_oneoff" => &[Errno::Success, Errno::Inval],
                _ => &[
                    Errno::Success,
                    Errno::Noent,
                    Errno::Perm,
                    Errno::Inval,
                    Errno::Ilseq,
                    Errno::Notdir,
                ],
            };
            assert!(allowed.contains(&errno), "{name}: {errno}");
        }
    });
}

/// Runs a module's `_start` with WASI.
fn run(strategy: &str, wat: &str) -> Result<i32, Error> {
    let strategy = strategy.parse().unwrap();
    let engine = Engine::new(updraft::Config { strategy, ..Default::default() });
    let module = Module::new(&engine, wat.as_bytes())?;
    let mut linker = Linker::new(&engine);
    updraft::add_wasi(&mut linker, WasiCtxBuilder::new().build().unwrap());
    Process::new(&linker, &module, &ProcessConfig::default())?.run()
}

const TIME: &str = r#"(import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))"#;

#[test]
fn a_module_without_a_memory_of_32_bits_gets_a_clear_error() {
    for strategy in common::strategies() {
        let body = "(func (export \"_start\") (drop (call $yield)) (drop (call $time (i32.const 0) (i64.const 0) (i32.const 8))))";
        let error = run(strategy, &format!("(module {TIME} {body})")).unwrap_err().to_string();
        assert!(
            error.contains("clock_time_get needs a memory") && error.contains("no memory"),
            "{error}"
        );
        let wide = format!("(module {TIME} (memory i64 1) {body})");
        let error = run(strategy, &wide).unwrap_err().to_string();
        assert!(
            error.contains("clock_time_get needs a memory") && error.contains("64-bit"),
            "{error}"
        );
        assert_eq!(run(strategy, &format!("(module {TIME} (memory 1) {body})")).unwrap(), 0);
        // What needs no memory works without.
        let only = "(func (export \"_start\") (drop (call $yield)))";
        assert_eq!(run(strategy, &format!("(module {TIME} {only})")).unwrap(), 0);
    }
}

/// The memory grows from one thread while another's calls use it; addresses that were outside become good.
#[test]
fn a_memory_that_grows_meanwhile() {
    let wat = r#"(module
        (import "env" "memory" (memory 1 256 shared))
        (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (func (export "wasi_thread_start") (param i32 i32)
            (loop $again
                (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
            (i32.atomic.store (i32.const 0) (i32.const 1)))
        (func (export "_start") (local $errno i32)
            (if (i32.lt_s (call $spawn (i32.const 0)) (i32.const 0)) (then (unreachable)))
            (loop $again
                ;; The last 64 bytes of what the memory may become: fault until it is there.
                (local.set $errno (call $random (i32.const 0xffffc0) (i32.const 64)))
                (if (i32.and (i32.ne (local.get $errno) (i32.const 0)) (i32.ne (local.get $errno) (i32.const 21)))
                    (then (unreachable)))
                (drop (call $random (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 64)) (i32.const 64)))
                (br_if $again (i32.eqz (i32.atomic.load (i32.const 0)))))
            (if (i32.ne (call $random (i32.const 0xffffc0) (i32.const 64)) (i32.const 0)) (then (unreachable)))))"#;
    for strategy in common::strategies() {
        assert_eq!(run(strategy, wat).unwrap(), 0, "{strategy}");
    }
}
