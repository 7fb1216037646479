//! WASI: calls that block, signals that break them, and stopping.

mod wasi_support;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use updraft::host::wasi::{Errno, Host, Rights, WasiCtx, WasiExit};
use wasi_support::*;

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

fn clock_sub(userdata: u64, id: u32, timeout: u64, absolute: bool) -> [u8; 48] {
    let mut record = [0; 48];
    record[0..8].copy_from_slice(&userdata.to_le_bytes());
    record[16..20].copy_from_slice(&id.to_le_bytes());
    record[24..32].copy_from_slice(&timeout.to_le_bytes());
    record[40] = absolute.into();
    record
}

fn fd_sub(userdata: u64, write: bool, fd: u32) -> [u8; 48] {
    let mut record = [0; 48];
    record[0..8].copy_from_slice(&userdata.to_le_bytes());
    record[8] = if write { 2 } else { 1 };
    record[16..20].copy_from_slice(&fd.to_le_bytes());
    record
}

#[derive(Debug, PartialEq, Clone, Copy)]
struct Event {
    userdata: u64,
    error: Errno,
    tag: u8,
    nbytes: u64,
    flags: u16,
}

fn try_poll(guest: &Guest, subs: &[[u8; 48]]) -> Result<Result<Vec<Event>, Errno>, WasiExit> {
    let n = subs.len() as u64;
    let (input, output, count) =
        (guest.put(subs.as_flattened()), guest.alloc(n * 32), guest.alloc(4));
    let errno = guest.try_call("poll_oneoff", &[input, output, n, count])?;
    if errno != Errno::Success {
        return Ok(Err(errno));
    }
    let memory = guest.memory();
    let count = u64::from(memory.read_u32(count).unwrap());
    let event = |i| Event {
        userdata: memory.read_u64(output + i * 32).unwrap(),
        error: Errno::ALL[memory.read_u16(output + i * 32 + 8).unwrap() as usize],
        tag: memory.read_u8(output + i * 32 + 10).unwrap(),
        nbytes: memory.read_u64(output + i * 32 + 16).unwrap(),
        flags: memory.read_u16(output + i * 32 + 24).unwrap(),
    };
    Ok(Ok((0..count).map(event).collect()))
}

fn poll(guest: &Guest, subs: &[[u8; 48]]) -> Result<Vec<Event>, Errno> {
    try_poll(guest, subs).unwrap()
}

fn ok(userdata: u64, tag: u8, nbytes: u64, flags: u16) -> Event {
    Event { userdata, error: Errno::Success, tag, nbytes, flags }
}

/// A guest whose standard input is a pipe, and the pipe's other end.
fn guest_with_pipe() -> (Guest, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (Guest::new(WasiCtx::builder().stdin_fd(reader)), writer)
}

fn now(guest: &Guest, clock: u32) -> u64 {
    guest.call_u64("clock_time_get", &[clock.into(), 0]).unwrap()
}

#[test]
fn clocks_are_waited_for() {
    let guest = Guest::new(WasiCtx::builder());
    let ms = 1_000_000;
    for (id, absolute) in
        [(MONOTONIC, false), (MONOTONIC, true), (REALTIME, false), (REALTIME, true)]
    {
        let (start, clock) = (Instant::now(), now(&guest, id));
        let timeout = if absolute { clock + 10 * ms } else { 10 * ms };
        assert_eq!(poll(&guest, &[clock_sub(7, id, timeout, absolute)]), Ok(vec![ok(7, 0, 0, 0)]));
        assert!(id == REALTIME || start.elapsed() >= Duration::from_millis(10));
    }
    // Of several, those that have come are told.
    let subs = [clock_sub(1, MONOTONIC, u64::MAX, false), clock_sub(2, MONOTONIC, 5 * ms, false)];
    assert_eq!(poll(&guest, &subs), Ok(vec![ok(2, 0, 0, 0)]));
    let subs = [clock_sub(1, MONOTONIC, 0, true), clock_sub(2, REALTIME, 0, true)];
    assert_eq!(poll(&guest, &subs), Ok(vec![ok(1, 0, 0, 0), ok(2, 0, 0, 0)]));
}

#[test]
fn descriptors_are_waited_for() {
    let (guest, mut writer) = guest_with_pipe();
    let idle = poll(&guest, &[fd_sub(1, false, 0), clock_sub(2, MONOTONIC, 0, false)]);
    assert_eq!(idle, Ok(vec![ok(2, 0, 0, 0)]));
    writer.write_all(b"abc").unwrap();
    let forever = clock_sub(2, MONOTONIC, u64::MAX, false);
    assert_eq!(poll(&guest, &[fd_sub(1, false, 0), forever]), Ok(vec![ok(1, 1, 3, 0)]));
    drop(writer);
    assert_eq!(poll(&guest, &[fd_sub(1, false, 0)]), Ok(vec![ok(1, 1, 3, 1)]));

    let dir = tempfile::tempdir().unwrap();
    let guest = Guest::in_dir(dir.path());
    let file = guest.open(DIR, "file", CREATE).unwrap();
    guest.write(file, b"hello").unwrap();
    guest.seek(file, 1, 0).unwrap();
    let events = poll(&guest, &[fd_sub(1, false, file), fd_sub(2, true, file)]);
    assert_eq!(events, Ok(vec![ok(1, 1, 4, 0), ok(2, 2, 1, 0)]));
    // Streams of the embedder are always ready.
    let events = poll(&guest, &[fd_sub(1, false, 0), fd_sub(2, true, 1)]);
    assert_eq!(events, Ok(vec![ok(1, 1, 1, 0), ok(2, 2, 1, 0)]));
}

/// One descriptor may be named as often as one likes, in both directions.
#[test]
fn many_subscriptions() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let guest = Guest::new(WasiCtx::builder().preopened_socket(OwnedFd::from(ours)));
    // More than the kernel takes descriptors, which is as many as the process may have open.
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the record.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    let less = libc::rlimit { rlim_cur: limit.rlim_max.min(1024), ..limit };
    // SAFETY: the kernel reads the record.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const less) }, 0);
    let n = less.rlim_cur + 500;
    let reads = (0..n).map(|i| fd_sub(i, false, 3));
    let subs: Vec<_> = reads.chain([fd_sub(n, true, 3)]).collect();
    assert_eq!(poll(&guest, &subs), Ok(vec![ok(n, 2, 1, 0)]));
    (&theirs).write_all(b"abc").unwrap();
    let events = poll(&guest, &subs).unwrap();
    assert_eq!(events.len() as u64, n + 1);
    assert!((0..n).all(|i| events[i as usize] == ok(i, 1, 3, 0)));
    assert_eq!(events[n as usize], ok(n, 2, 1, 0));
    // Clocks among them.
    let clocks: Vec<_> = (0..2000).map(|i| clock_sub(i, MONOTONIC, i * 100, false)).collect();
    assert!(!poll(&guest, &clocks).unwrap().is_empty());
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

#[test]
fn bad_subscriptions_are_told_as_events() {
    let guest = Guest::new(WasiCtx::builder());
    let error = |userdata, tag, error| Event { userdata, error, tag, nbytes: 0, flags: 0 };
    let subs = [
        fd_sub(1, false, 99),
        fd_sub(2, false, 1),
        clock_sub(3, 2, 0, false),
        clock_sub(4, 9, 0, false),
        clock_sub(5, MONOTONIC, u64::MAX, false),
    ];
    let events = vec![
        error(1, 1, Errno::Badf),
        error(2, 1, Errno::Notcapable),
        error(3, 0, Errno::Notsup),
        error(4, 0, Errno::Inval),
    ];
    assert_eq!(poll(&guest, &subs), Ok(events));

    let mut unknown = clock_sub(1, MONOTONIC, 0, false);
    unknown[8] = 3;
    assert_eq!(poll(&guest, &[unknown]), Err(Errno::Inval));
    let poll = |args: [u64; 4]| guest.call("poll_oneoff", &args);
    assert_eq!(poll([0, 0, 0, 0]), Err(Errno::Inval));
    assert_eq!(poll([0, 0, u32::MAX.into(), 0]), Err(Errno::Inval));
    assert_eq!(poll([MEMORY - 40, 0, 1, 0]), Err(Errno::Fault));
    assert_eq!(poll([0, MEMORY - 24, 1, 0]), Err(Errno::Fault));
    assert_eq!(poll([0, 0, 1, MEMORY]), Err(Errno::Fault));
}

/// A call goes on after signals that do not mean a stop.
#[test]
fn signals_alone_break_nothing() {
    let (guest, mut writer) = guest_with_pipe();
    let reader = Caller::spawn(move || guest.read(0, 100));
    for _ in 0..20 {
        reader.wait_until_blocked();
        reader.signal();
    }
    writer.write_all(b"data").unwrap();
    assert_eq!(reader.join(), Ok(b"data".to_vec()));
}

#[test]
fn a_sleep_under_signals_is_not_shorter() {
    let guest = Guest::new(WasiCtx::builder());
    for extra in [None, Some(clock_sub(2, MONOTONIC, u64::MAX, false))] {
        let (guest, start) = (guest.clone(), Instant::now());
        let sleeper = Caller::spawn(move || {
            let sleep = clock_sub(1, MONOTONIC, 30_000_000, false);
            poll(&guest, &[Some(sleep), extra].into_iter().flatten().collect::<Vec<_>>())
        });
        assert_eq!(sleeper.signal_until_finished(), Ok(vec![ok(1, 0, 0, 0)]));
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
}

/// Blocks in `call`, then stops the group as the engine does.
fn assert_stops(
    name: &str,
    guest: &Guest,
    call: impl FnOnce(&Guest) -> Result<(), WasiExit> + Send + 'static,
) {
    guest.stopped.store(false, Ordering::SeqCst);
    let blocked = Caller::spawn({
        let guest = guest.clone();
        move || call(&guest)
    });
    blocked.wait_until_blocked();
    assert!(!blocked.finished(), "{name} does not block");
    guest.stopped.store(true, Ordering::SeqCst);
    assert_eq!(blocked.signal_until_finished(), Err(WasiExit::Stopped), "{name}");
}

#[test]
fn every_call_that_blocks_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (stdin, _stdin_writer) = std::io::pipe().unwrap();
    let (_stdout_reader, mut stdout) = std::io::pipe().unwrap();
    fill(&mut stdout);
    let (socket, _peer) = UnixStream::pair().unwrap();
    let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
    let fifo = std::ffi::CString::new(dir.path().join("fifo").to_str().unwrap()).unwrap();
    // SAFETY: the path ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    let guest = Guest::new(
        WasiCtx::builder()
            .stdin_fd(stdin)
            .stdout_fd(stdout)
            .preopened_dir(dir.path(), "/", false)
            .preopened_socket(socket)
            .preopened_socket(listener),
    );
    let (socket, listener) = (4, 5);
    let (iovs, two) = (guest.iovecs(&[(0, 8)]), guest.iovecs(&[(0, 8), (8, 8)]));
    let out = guest.alloc(16);

    for (name, args) in [
        ("fd_read", vec![0, iovs, 1, out]),
        ("fd_read", vec![0, two, 2, out]),
        ("fd_write", vec![1, iovs, 1, out]),
        ("fd_write", vec![1, two, 2, out]),
        ("sock_recv", vec![socket, iovs, 1, 0, out, out + 8]),
        ("fd_read", vec![socket, iovs, 1, out]),
        ("sock_accept", vec![listener, 0, out]),
    ] {
        assert_stops(name, &guest, move |guest| guest.try_call(name, &args).map(drop));
    }
    let path = guest.put(b"fifo");
    let open = vec![3, 0, path, 4, 0, Rights::FD_READ.0, 0, 0, out];
    assert_stops("path_open", &guest, move |guest| guest.try_call("path_open", &open).map(drop));
    for subs in [
        vec![fd_sub(1, false, 0)],
        vec![clock_sub(1, MONOTONIC, u64::MAX, false)],
        vec![clock_sub(1, REALTIME, u64::MAX, true)],
        vec![clock_sub(1, MONOTONIC, u64::MAX, false), fd_sub(2, true, 1)],
    ] {
        assert_stops("poll_oneoff", &guest, move |guest| try_poll(guest, &subs).map(drop));
    }

    // Once stopped, no call begins to block.
    let (guest, _writer) = guest_with_pipe();
    guest.stopped.store(true, Ordering::SeqCst);
    let iovs = guest.iovecs(&[(0, 8)]);
    assert_eq!(guest.try_call("fd_read", &[0, iovs, 1, 0]), Err(WasiExit::Stopped));
    let forever = [clock_sub(1, MONOTONIC, u64::MAX, false)];
    assert_eq!(try_poll(&guest, &forever), Err(WasiExit::Stopped));
}

/// Writes until the pipe is full.
fn fill(pipe: &mut std::io::PipeWriter) {
    use std::os::fd::AsRawFd;
    let set = |flags: libc::c_int| {
        // SAFETY: F_SETFL takes an int.
        assert_eq!(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETFL, flags) }, 0);
    };
    set(libc::O_NONBLOCK);
    let mut writer = &*pipe;
    while writer.write(&[0; 4096]).is_ok() {}
    set(0);
}

#[test]
fn a_file_closed_during_a_read_stays_for_that_read() {
    let (guest, mut writer) = guest_with_pipe();
    let reader = Caller::spawn({
        let guest = guest.clone();
        move || guest.read(0, 100)
    });
    reader.wait_until_blocked();
    assert_eq!(guest.close(0), Ok(()));
    assert_eq!(guest.read(0, 1), Err(Errno::Badf));
    writer.write_all(b"late").unwrap();
    assert_eq!(reader.join(), Ok(b"late".to_vec()));
    // The pipe's reading end has gone with the read.
    assert_eq!(writer.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn nonblocking_descriptors_say_again() {
    let (guest, _writer) = guest_with_pipe();
    assert_eq!(guest.call("fd_fdstat_set_flags", &[0, 4]), Ok(()));
    assert_eq!(guest.fdstat(0).unwrap().flags, 4);
    assert_eq!(guest.read(0, 10), Err(Errno::Again));
}

#[test]
fn sockets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let (datagram, peer) = std::os::unix::net::UnixDatagram::pair().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    let guest = Guest::new(
        WasiCtx::builder()
            .preopened_dir(dir.path(), "/", false)
            .preopened_socket(listener)
            .preopened_socket(OwnedFd::from(datagram)),
    );
    let (listener, datagram) = (4, 5);
    assert_eq!(guest.fdstat(4).unwrap().filetype, 6);
    assert_eq!(guest.fdstat(5).unwrap().filetype, 5);

    let mut client = UnixStream::connect(&path).unwrap();
    let connection = guest.call_u32("sock_accept", &[listener, 0]).unwrap();
    assert_eq!(connection, 6);
    let connection = u64::from(connection);
    client.write_all(b"question").unwrap();
    let (buf, out) = (guest.alloc(16), guest.alloc(16));
    let iovs = guest.iovecs(&[(buf, 3), (buf + 3, 13)]);
    let recv = |fd, iovs, count, flags| {
        guest.call("sock_recv", &[fd, iovs, count, flags, out, out + 8])?;
        let n = guest.memory().read_u32(out)?;
        let bytes = guest.memory().read_bytes(buf, n.into())?;
        Ok::<_, Errno>((bytes, guest.memory().read_u16(out + 8)?))
    };
    assert_eq!(recv(connection, iovs, 2, 1), Ok((b"question".to_vec(), 0)));
    assert_eq!(recv(connection, iovs, 2, 0), Ok((b"question".to_vec(), 0)));
    assert_eq!(recv(connection, iovs, 2, 4), Err(Errno::Inval));
    guest.memory().write_bytes(buf, b"answer").unwrap();
    let send = |fd, flags| guest.call("sock_send", &[fd, guest.iovecs(&[(buf, 6)]), 1, flags, out]);
    assert_eq!(send(connection, 0), Ok(()));
    assert_eq!(send(connection, 1), Err(Errno::Inval));
    let shutdown = |fd, how| guest.call("sock_shutdown", &[fd, how]);
    assert_eq!(shutdown(connection, 0), Err(Errno::Inval));
    assert_eq!(shutdown(connection, 4), Err(Errno::Inval));
    assert_eq!(shutdown(connection, 2), Ok(()));
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    drop(client);
    assert_eq!(send(connection, 0), Err(Errno::Pipe));

    peer.send(b"a long datagram").unwrap();
    let short = guest.iovecs(&[(buf, 6)]);
    assert_eq!(recv(datagram, short, 1, 0), Ok((b"a long".to_vec(), 1)));

    // Nothing to accept, and flags that mean nothing.
    assert_eq!(guest.call("fd_fdstat_set_flags", &[listener, 4]), Ok(()));
    assert_eq!(guest.call_u32("sock_accept", &[listener, 4]), Err(Errno::Again));
    assert_eq!(guest.call_u32("sock_accept", &[listener, 1]), Err(Errno::Inval));
    let file = guest.open(DIR, "file", WRITE).unwrap().into();
    for fd in [0, 3, file] {
        assert_eq!(guest.call_u32("sock_accept", &[fd, 0]), Err(Errno::Notsock));
        assert_eq!(recv(fd, iovs, 2, 0), Err(Errno::Notsock));
        assert_eq!(send(fd, 0), Err(Errno::Notsock));
        assert_eq!(shutdown(fd, 1), Err(Errno::Notsock));
    }
    assert_eq!(guest.call_u32("sock_accept", &[99, 0]), Err(Errno::Badf));
}
