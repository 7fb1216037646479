//! WASI: sockets, by `--tcplisten` and by the API, with clients of the host on the loopback interface.

mod common;
mod wasi_support;

use common::{Running, Updraft, per_strategy, repository};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use updraft::host::wasi::{Errno, FdFlags, Host, Rights, WasiCtx};
use wasi_support::*;

const PEEK: u64 = 1;
const WAITALL: u64 = 2;
const NONBLOCK: u64 = FdFlags::NONBLOCK.0 as u64;

/// A guest that listens on two addresses, which are descriptors 3 and 4.
fn listening() -> (Guest, [SocketAddr; 2]) {
    let builder = WasiCtx::builder().tcp_listener("127.0.0.1:0").tcp_listener("127.0.0.1:0");
    let guest = Guest::new(builder);
    let [(3, first), (4, second)] = *guest.ctx.listeners() else { panic!("two listeners") };
    (guest, [first, second])
}

/// A connection as the guest's descriptor, and its other end.
fn connected() -> (Guest, u64, TcpStream) {
    let (guest, [address, _]) = listening();
    let client = TcpStream::connect(address).unwrap();
    let connection = guest.call_u32("sock_accept", &[3, 0]).unwrap();
    (guest, connection.into(), client)
}

fn recv(guest: &Guest, fd: u64, room: u64, flags: u64) -> Result<(Vec<u8>, u16), Errno> {
    let (buf, out) = (guest.alloc(room), guest.alloc(8));
    let iovs = guest.iovecs(&[(buf, room / 2), (buf + room / 2, room - room / 2)]);
    guest.call("sock_recv", &[fd, iovs, 2, flags, out, out + 4])?;
    let n = guest.memory().read_u32(out).unwrap();
    let flags = guest.memory().read_u16(out + 4).unwrap();
    Ok((guest.memory().read_bytes(buf, n.into()).unwrap(), flags))
}

fn send(guest: &Guest, fd: u64, bytes: &[u8]) -> Result<u32, Errno> {
    let at = guest.put(bytes);
    let half = bytes.len() as u64 / 2;
    let iovs = guest.iovecs(&[(at, half), (at + half, bytes.len() as u64 - half)]);
    guest.call_u32("sock_send", &[fd, iovs, 2, 0])
}

#[test]
fn listeners_come_after_directories() {
    let dir = tempfile::tempdir().unwrap();
    let given = TcpListener::bind("127.0.0.1:0").unwrap();
    let guest = Guest::new(
        WasiCtx::builder()
            .tcp_listener("127.0.0.1:0")
            .preopened_dir(dir.path(), "/", false)
            .preopened_socket(given)
            .tcp_listener("localhost:0"),
    );
    let types: Vec<u8> = (3..7).map(|fd| guest.fdstat(fd).unwrap().filetype).collect();
    assert_eq!(types, [TYPE_DIRECTORY, TYPE_STREAM, TYPE_STREAM, TYPE_STREAM]);
    assert_eq!(guest.fdstat(7).err(), Some(Errno::Badf));
    let listeners: Vec<u32> = guest.ctx.listeners().iter().map(|(fd, _)| *fd).collect();
    assert_eq!(listeners, [4, 6]);
    // That is how a C library finds the end of the directories.
    assert_eq!(guest.call_bytes::<8>("fd_prestat_get", &[4]), Err(Errno::Badf));
}

#[test]
fn accepting() {
    let (guest, [address, other]) = listening();
    // Blocking is the listener's, unless the guest changes it.
    let set_flags = |fd: u64, flags| guest.call("fd_fdstat_set_flags", &[fd, flags]);
    assert_eq!(set_flags(3, NONBLOCK), Ok(()));
    assert_eq!(guest.call_u32("sock_accept", &[3, 0]), Err(Errno::Again));
    let mut clients = vec![TcpStream::connect(address).unwrap()];
    clients.push(TcpStream::connect(address).unwrap());
    clients.push(TcpStream::connect(other).unwrap());
    let blocking = guest.call_u32("sock_accept", &[3, 0]).unwrap();
    let nonblocking = guest.call_u32("sock_accept", &[3, NONBLOCK]).unwrap();
    assert_eq!((blocking, nonblocking), (5, 6));
    assert_eq!(guest.fdstat(blocking).unwrap().flags, 0);
    assert_eq!(guest.fdstat(nonblocking).unwrap().flags, FdFlags::NONBLOCK.0);
    assert_eq!(recv(&guest, nonblocking.into(), 8, 0), Err(Errno::Again));
    assert_eq!(guest.call_u32("sock_accept", &[3, 0]), Err(Errno::Again));
    assert_eq!(guest.call_u32("sock_accept", &[4, 0]), Ok(7));
    for flags in [1, 2, 8, 16, 5, 32, 0x1_0004] {
        assert_eq!(guest.call_u32("sock_accept", &[3, flags]), Err(Errno::Inval), "{flags}");
    }
    // Neither is a connection a listener, nor a listener connected.
    assert_eq!(guest.call_u32("sock_accept", &[blocking.into(), 0]), Err(Errno::Inval));
    assert_eq!(recv(&guest, 3, 8, 0), Err(Errno::Notconn));
    assert!(matches!(send(&guest, 3, b"x"), Err(Errno::Notconn | Errno::Pipe)));
    // A closed listener accepts nothing any more; what it accepted stays.
    guest.close(3).unwrap();
    assert_eq!(guest.call_u32("sock_accept", &[3, 0]), Err(Errno::Badf));
    (&clients[0]).write_all(b"still").unwrap();
    assert_eq!(recv(&guest, blocking.into(), 8, 0), Ok((b"still".to_vec(), 0)));
}

#[test]
fn receiving() {
    let (guest, fd, client) = connected();
    (&client).write_all(b"hello").unwrap();
    assert_eq!(recv(&guest, fd, 100, PEEK), Ok((b"hello".to_vec(), 0)));
    assert_eq!(recv(&guest, fd, 2, PEEK), Ok((b"he".to_vec(), 0)));
    assert_eq!(recv(&guest, fd, 3, 0), Ok((b"hel".to_vec(), 0)));
    // Nothing is lost of a stream that is longer than the buffers, and `waitall` waits for the rest.
    let waiting = Caller::spawn({
        let guest = guest.clone();
        move || recv(&guest, fd, 10, WAITALL)
    });
    waiting.wait_until_blocked();
    for byte in b"12345678" {
        (&client).write_all(&[*byte]).unwrap();
    }
    assert_eq!(waiting.join(), Ok((b"lo12345678".to_vec(), 0)));
    // Signals that do not mean a stop do not cut it short.
    let waiting = Caller::spawn({
        let guest = guest.clone();
        move || recv(&guest, fd, 10, WAITALL)
    });
    for part in ["ab", "cdef", "ghi", "j"] {
        waiting.wait_until_blocked();
        (0..5).for_each(|_| waiting.signal());
        (&client).write_all(part.as_bytes()).unwrap();
    }
    assert_eq!(waiting.join(), Ok((b"abcdefghij".to_vec(), 0)));
    // Peeking waits, too.
    let waiting = Caller::spawn({
        let guest = guest.clone();
        move || recv(&guest, fd, 4, PEEK | WAITALL)
    });
    waiting.wait_until_blocked();
    (&client).write_all(b"abcd").unwrap();
    assert_eq!(waiting.join(), Ok((b"abcd".to_vec(), 0)));
    assert_eq!(recv(&guest, fd, 4, 0), Ok((b"abcd".to_vec(), 0)));
    assert_eq!(recv(&guest, fd, 4, 4), Err(Errno::Inval));
    // `fd_read` receives as well, and the end of the stream is no bytes.
    (&client).write_all(b"by fd_read").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(guest.read(fd as u32, 100).unwrap(), b"by fd_read");
    assert_eq!(recv(&guest, fd, 4, 0), Ok((vec![], 0)));
    assert_eq!(recv(&guest, fd, 4, WAITALL), Ok((vec![], 0)));
}

#[test]
fn sending_and_shutting_down() {
    let (guest, fd, mut client) = connected();
    assert_eq!(send(&guest, fd, b"first"), Ok(5));
    assert_eq!(guest.write(fd as u32, b"second"), Ok(6));
    assert_eq!(send(&guest, fd, b""), Ok(0));
    let shutdown = |how| guest.call("sock_shutdown", &[fd, how]);
    for how in [0, 4, 7, 256] {
        assert_eq!(shutdown(how), Err(Errno::Inval));
    }
    assert_eq!(shutdown(2), Ok(()));
    let mut all = String::new();
    client.read_to_string(&mut all).unwrap();
    assert_eq!(all, "firstsecond");
    assert_eq!(send(&guest, fd, b"x"), Err(Errno::Pipe));
    assert_eq!(guest.write(fd as u32, b"x"), Err(Errno::Pipe));
    // The other direction is open until it is shut down, too.
    client.write_all(b"back").unwrap();
    assert_eq!(recv(&guest, fd, 4, 0), Ok((b"back".to_vec(), 0)));
    assert_eq!(shutdown(3), Ok(()));
    assert_eq!(recv(&guest, fd, 4, 0), Ok((vec![], 0)));
    // A socket cannot seek.
    assert_eq!(guest.seek(fd as u32, 0, 0), Err(Errno::Notcapable));
    assert_eq!(guest.filestat(fd as u32).unwrap().filetype, TYPE_STREAM);
}

/// A process that has not told the kernel to ignore SIGPIPE is not ended by it.
#[test]
fn closed_connections_give_no_signal() {
    static SIGNALS: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_: libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: a handler that adds to a number is safe at any moment; the mask is empty, the flags are 0.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGPIPE, &raw const action, std::ptr::null_mut()), 0);
    }
    let (guest, fd, client) = connected();
    drop(client);
    assert_eq!(guest.call("sock_shutdown", &[fd, 2]), Ok(()));
    assert_eq!(send(&guest, fd, b"x"), Err(Errno::Pipe));
    assert_eq!(guest.write(fd as u32, b"x"), Err(Errno::Pipe));
    assert_eq!(SIGNALS.load(Ordering::SeqCst), 0);
}

/// A connection makes its listener ready, and bytes or the end their connection.
#[test]
fn polling_sockets() {
    let (guest, [address, _]) = listening();
    let poll = |fd: u32, write: bool| {
        // A deadline that has come lets the call return.
        let mut subscriptions = [0u8; 96];
        (subscriptions[8], subscriptions[16]) = (if write { 2 } else { 1 }, fd as u8);
        (subscriptions[48 + 16], subscriptions[48 + 40]) = (1, 1);
        let (at, events) = (guest.put(&subscriptions), guest.alloc(64));
        let count = guest.call_u32("poll_oneoff", &[at, events, 2]).unwrap();
        let memory = guest.memory();
        let (nbytes, flags) = (memory.read_u64(events + 16), memory.read_u16(events + 24));
        (count == 2).then_some((nbytes.unwrap(), flags.unwrap()))
    };
    assert_eq!(poll(3, false), None);
    let client = TcpStream::connect(address).unwrap();
    while poll(3, false).is_none() {
        thread::yield_now();
    }
    assert_eq!(poll(3, false), Some((1, 0)));
    let fd = guest.call_u32("sock_accept", &[3, 0]).unwrap();
    assert_eq!((poll(3, false), poll(fd, false), poll(fd, true)), (None, None, Some((1, 0))));
    (&client).write_all(b"hello").unwrap();
    while poll(fd, false) != Some((5, 0)) {
        thread::yield_now();
    }
    assert_eq!(guest.call("sock_shutdown", &[fd.into(), 2]), Ok(()));
    drop(client);
    // Both directions are shut down then.
    while poll(fd, false) != Some((5, 1)) {
        thread::yield_now();
    }
}

#[test]
fn rights_of_sockets() {
    let (guest, [address, _]) = listening();
    let listener = guest.fdstat(3).unwrap();
    assert!(listener.base.contains(Rights::SOCK_ACCEPT));
    let less = Rights::FD_READ.with(Rights::SOCK_SHUTDOWN);
    let set = |fd: u64, base: Rights, inheriting: Rights| {
        guest.call("fd_fdstat_set_rights", &[fd, base.0, inheriting.0])
    };
    // What is accepted has what the listener passes on.
    assert_eq!(set(3, listener.base, less), Ok(()));
    let _client = TcpStream::connect(address).unwrap();
    let fd = guest.call_u32("sock_accept", &[3, 0]).unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().base, less);
    assert_eq!(send(&guest, fd.into(), b"x"), Err(Errno::Notcapable));
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd.into(), NONBLOCK]), Err(Errno::Notcapable));
    assert_eq!(guest.call("sock_shutdown", &[fd.into(), 3]), Ok(()));
    assert_eq!(set(fd.into(), Rights::FD_READ, Rights::empty()), Ok(()));
    assert_eq!(guest.call("sock_shutdown", &[fd.into(), 3]), Err(Errno::Notcapable));
    assert_eq!(set(fd.into(), Rights::empty(), Rights::empty()), Ok(()));
    assert_eq!(recv(&guest, fd.into(), 4, 0), Err(Errno::Notcapable));
    assert_eq!(set(3, listener.base.without(Rights::SOCK_ACCEPT), less), Ok(()));
    assert_eq!(guest.call_u32("sock_accept", &[3, 0]), Err(Errno::Notcapable));
}

/// Many threads accept from one listener and serve; each connection is accepted once.
#[test]
fn threads_share_a_listener() {
    let (guest, [address, _]) = listening();
    thread::scope(|scope| {
        for _ in 0..4 {
            let guest = guest.clone();
            scope.spawn(move || {
                for _ in 0..25 {
                    let fd = guest.call_u32("sock_accept", &[3, 0]).unwrap().into();
                    let (bytes, _) = recv(&guest, fd, 8, WAITALL).unwrap();
                    assert_eq!(send(&guest, fd, &bytes), Ok(8));
                    guest.close(fd as u32).unwrap();
                }
            });
        }
        for thread in 0..4u32 {
            scope.spawn(move || {
                for round in 0..25u32 {
                    let mut client = TcpStream::connect(address).unwrap();
                    let message = [thread.to_le_bytes(), round.to_le_bytes()].concat();
                    client.write_all(&message).unwrap();
                    let mut answer = Vec::new();
                    client.read_to_end(&mut answer).unwrap();
                    assert_eq!(answer, message);
                }
            });
        }
    });
}

/// Starts the echo server with two listeners, and gives the addresses.
fn start_server(strategy: &str, flags: &[&str], args: &[&str]) -> (Running, Vec<SocketAddr>) {
    let mut server = Updraft::run(strategy)
        .env("UPDRAFT_LOG", "updraft=info")
        .args(["--tcplisten", "127.0.0.1:0", "--tcplisten", "127.0.0.1:0"])
        .args(flags)
        .arg(repository("tests/wasi/echo.wasm"))
        .args(args)
        .start();
    let first = if flags.contains(&"--dir") { 4 } else { 3 };
    let addresses = [first, first + 1].map(|fd| {
        let line = server.wait_for_error_line(&format!("fd={fd}"));
        let address = line.split("address=").nth(1).unwrap().split(' ').next().unwrap();
        address.parse().unwrap()
    });
    (server, addresses.to_vec())
}

/// Sends `size` bytes while it receives, and checks what comes back.
fn client(address: SocketAddr, size: usize) {
    let stream = TcpStream::connect(address).unwrap();
    let bytes: Vec<u8> = (0..size).map(|i| (i / 3 + i / 1000) as u8).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut answer = Vec::new();
        (&stream).read_to_end(&mut answer).unwrap();
        let (echo, count) = answer.split_at(size);
        assert!(echo == bytes, "what came back is not what was sent");
        assert_eq!(String::from_utf8_lossy(count), format!("{size} bytes\n"));
    });
}

fn echo_server(strategy: &str) {
    for (flags, listener, spin) in
        [(&[][..], "3", &[][..]), (&["--dir", "/tmp"], "5", &[]), (&[], "4", &["spin"])]
    {
        let (server, addresses) = start_server(strategy, flags, &[&[listener, "6"], spin].concat());
        let address = addresses[usize::from(listener != "3")];
        thread::scope(|scope| {
            for i in 0..6 {
                scope.spawn(move || client(address, i * 40_000));
            }
        });
        assert_eq!(server.end().expect(0).stdout, b"served 6 connections\n");
    }
}

/// Threads that accept, receive and poll are stopped at once by a deadline.
fn stopped_in_sockets(strategy: &str) {
    // In `accept`, and in `poll` for it.
    for mode in [&["3", "1"][..], &["3", "1", "spin"]] {
        let (server, _) = start_server(strategy, &["--timeout", "0.3"], mode);
        server.end().expect(124);
    }
    // Two in `recv` or in `poll` for it, the main thread in `join`.
    for mode in [&["3", "2"][..], &["3", "2", "spin"]] {
        let (server, addresses) = start_server(strategy, &["--timeout", "1"], mode);
        let clients: Vec<_> = (0..2).map(|_| TcpStream::connect(addresses[0]).unwrap()).collect();
        server.end().expect(124);
        drop(clients);
    }
}

per_strategy!(echo_server, stopped_in_sockets);

#[test]
fn addresses_are_checked() {
    let run = |address: &str| {
        Updraft::run("interp")
            .args(["--tcplisten", address])
            .arg(repository("tests/wasi/echo.wasm"))
    };
    for address in ["8080", "localhost", ":80", "a:b", "1.2.3.4:65536"] {
        run(address).end().expect(2).says(&[address, "expected HOST:PORT"]);
    }
    run("203.0.113.1:80").end().expect(1).says(&["cannot listen on 203.0.113.1:80", "assign"]);
    run("no-such-host.invalid:80")
        .end()
        .expect(1)
        .says(&["cannot listen on no-such-host.invalid:80"]);
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    Updraft::run("interp")
        .args(["--tcplisten", &address])
        .arg(repository("tests/wasi/echo.wasm"))
        .end()
        .expect(1)
        .says(&[&format!("cannot listen on {address}"), "in use"]);
}
