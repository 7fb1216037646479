//! `poll_oneoff`: waiting for clocks and descriptors.
//!
//! Every clock subscription becomes an absolute deadline before the first wait, so that a wait that a
//! signal breaks goes on for the time that is left.

use super::clock::{host_clock, now};
use super::errno::Errno;
use super::fd_table::{Entry, FdTable};
use super::memory::{GuestMemory, Layout};
use super::sys::{Outcome, check_stopped, fstat, last_raw_error};
use super::types::{FileType, Record, Rights, field, timespec};
use super::{Host, WasiCtx};
use std::collections::HashMap;

/// Witx `subscription`.
const SUBSCRIPTION: Layout = Layout { size: 48, align: 8 };
/// Witx `event`.
const EVENT: Layout = Layout { size: 32, align: 8 };
/// The most subscriptions in one call: a bound keeps a guest from making us allocate at will.
const MAX_SUBSCRIPTIONS: u32 = 1 << 16;
/// The kernel's timeouts count on the monotonic clock: after so many nanoseconds a deadline of the time of
/// day is looked at again, since that may have been set meanwhile.
const RECHECK: u64 = 1_000_000_000;
/// Witx `subclockflags`.
const ABSTIME: u16 = 1;
/// Witx `eventrwflags`.
const HANGUP: u16 = 1;

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Read,
    Write,
}

impl Direction {
    /// What the kernel is asked for.
    fn interest(self) -> libc::c_short {
        match self {
            Direction::Read => libc::POLLIN,
            Direction::Write => libc::POLLOUT,
        }
    }
}

enum Wanted {
    Clock {
        clock: libc::clockid_t,
        deadline: u64,
    },
    /// `slot` is the position among the kernel's descriptors.
    File {
        direction: Direction,
        entry: Entry,
        fd: i32,
        slot: usize,
    },
    /// Known before any wait: an error, or a stream of the embedder, which is always ready.
    Now {
        tag: u8,
        error: Errno,
    },
}

struct Subscription {
    userdata: u64,
    wanted: Wanted,
}

pub(super) fn poll_oneoff(
    ctx: &WasiCtx,
    host: &dyn Host,
    subscriptions: u64,
    events: u64,
    count: u32,
    result: u64,
) -> Outcome {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(Errno::Inval.into());
    }
    let memory = host.memory();
    let n = u64::from(count);
    memory.array(subscriptions, n, SUBSCRIPTION)?;
    memory.array(events, n, EVENT)?;
    let result = memory.place(result, 4)?;

    let mut slots = Slots::default();
    let mut wanted = Vec::with_capacity(count as usize);
    for i in 0..n {
        let record: [u8; 48] = memory.read_array(subscriptions + i * SUBSCRIPTION.size)?;
        wanted.push(subscribe(&ctx.files, &record, &mut slots)?);
    }

    let mut out = Events { memory, at: events, count: 0 };
    loop {
        wait(host, &wanted, &mut slots.polled)?;
        for subscription in &wanted {
            report(subscription, &slots.polled, &mut out)?;
        }
        // Nothing happened where a timeout ended early, by the granularity of the kernel's timers.
        if out.count != 0 {
            return Ok(result.put(out.count.to_le_bytes())?);
        }
    }
}

/// The kernel's descriptors, each once: it takes no more of them than the process may have open, while a
/// guest may name one as often as it likes.
#[derive(Default)]
struct Slots {
    polled: Vec<libc::pollfd>,
    /// The position of each.
    of: HashMap<i32, usize>,
}

impl Slots {
    fn add(&mut self, fd: i32, events: libc::c_short) -> usize {
        let slot = *self.of.entry(fd).or_insert_with(|| {
            self.polled.push(libc::pollfd { fd, events: 0, revents: 0 });
            self.polled.len() - 1
        });
        self.polled[slot].events |= events;
        slot
    }
}

fn subscribe(files: &FdTable, record: &[u8; 48], slots: &mut Slots) -> Result<Subscription, Errno> {
    let userdata = u64::from_le_bytes(field(record, 0));
    let tag = record[8];
    let wanted = match tag {
        0 => clock(record).unwrap_or_else(|error| Wanted::Now { tag, error }),
        1 | 2 => {
            let direction = if tag == 1 { Direction::Read } else { Direction::Write };
            let fd = u32::from_le_bytes(field(record, 16));
            file(files, fd, direction, slots).unwrap_or_else(|error| Wanted::Now { tag, error })
        }
        _ => return Err(Errno::Inval),
    };
    Ok(Subscription { userdata, wanted })
}

/// A relative timeout counts on the monotonic clock even if the other is named: setting the time of day
/// does not change how long a sleep is. Clocks of processor time give `notsup`.
fn clock(record: &[u8; 48]) -> Result<Wanted, Errno> {
    let id = host_clock(u32::from_le_bytes(field(record, 16)))?;
    let timeout = u64::from_le_bytes(field(record, 24));
    let flags = u16::from_le_bytes(field(record, 40));
    if id != libc::CLOCK_REALTIME && id != libc::CLOCK_MONOTONIC {
        return Err(Errno::Notsup);
    }
    match flags {
        ABSTIME => Ok(Wanted::Clock { clock: id, deadline: timeout }),
        0 => {
            let clock = libc::CLOCK_MONOTONIC;
            Ok(Wanted::Clock { clock, deadline: now(clock)?.saturating_add(timeout) })
        }
        _ => Err(Errno::Inval),
    }
}

fn file(
    files: &FdTable,
    fd: u32,
    direction: Direction,
    slots: &mut Slots,
) -> Result<Wanted, Errno> {
    let (right, tag) = match direction {
        Direction::Read => (Rights::FD_READ, 1),
        Direction::Write => (Rights::FD_WRITE, 2),
    };
    let entry = files.get_with(fd, Rights::POLL_FD_READWRITE.with(right))?;
    let Some(fd) = entry.file.fd() else {
        return Ok(Wanted::Now { tag, error: Errno::Success });
    };
    let slot = slots.add(fd, direction.interest());
    Ok(Wanted::File { direction, entry, fd, slot })
}

/// Waits until something is ready, or the first deadline has come or nearly so.
fn wait(host: &dyn Host, wanted: &[Subscription], slots: &mut [libc::pollfd]) -> Outcome {
    // A plain sleep: the kernel keeps the deadline, also when the time of day is set meanwhile.
    if let [Subscription { wanted: Wanted::Clock { clock, deadline }, .. }] = *wanted {
        return sleep_until(host, clock, deadline);
    }
    loop {
        check_stopped(host)?;
        let mut left: Option<u64> = None;
        for subscription in wanted {
            let this = match subscription.wanted {
                Wanted::Now { .. } => 0,
                Wanted::Clock { clock, deadline } => {
                    let left = deadline.saturating_sub(now(clock)?);
                    if clock == libc::CLOCK_REALTIME { left.min(RECHECK) } else { left }
                }
                Wanted::File { .. } => continue,
            };
            left = Some(left.map_or(this, |left| left.min(this)));
        }
        let timeout = left.map(timespec);
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the kernel reads and fills the slots within their count, and reads the timeout.
        let ready =
            unsafe { libc::ppoll(slots.as_mut_ptr(), slots.len() as _, timeout, std::ptr::null()) };
        match ready {
            -1 => match last_raw_error() {
                libc::EINTR => {}
                raw => return Err(Errno::from_raw(raw).into()),
            },
            _ => return Ok(()),
        }
    }
}

fn sleep_until(host: &dyn Host, clock: libc::clockid_t, deadline: u64) -> Outcome {
    let deadline = timespec(deadline);
    loop {
        check_stopped(host)?;
        let none = std::ptr::null_mut();
        // SAFETY: the kernel reads the deadline. This call returns its error instead of setting `errno`.
        match unsafe {
            libc::clock_nanosleep(clock, libc::TIMER_ABSTIME, &raw const deadline, none)
        } {
            0 => return Ok(()),
            libc::EINTR => {}
            raw => return Err(Errno::from_raw(raw).into()),
        }
    }
}

/// Where the next event goes.
struct Events {
    memory: GuestMemory,
    at: u64,
    count: u32,
}

impl Events {
    fn put(&mut self, userdata: u64, error: Errno, tag: u8, nbytes: u64, flags: u16) -> Outcome {
        let record = Record::<32>::new()
            .put(0, userdata.to_le_bytes())
            .put(8, (error as u16).to_le_bytes())
            .put(10, [tag])
            .put(16, nbytes.to_le_bytes())
            .put(24, flags.to_le_bytes());
        self.memory.write_bytes(self.at, record.bytes())?;
        self.at += EVENT.size;
        self.count += 1;
        Ok(())
    }
}

/// Writes the event of a subscription, if it has happened.
fn report(subscription: &Subscription, slots: &[libc::pollfd], out: &mut Events) -> Outcome {
    let userdata = subscription.userdata;
    match &subscription.wanted {
        Wanted::Now { tag, error } => {
            let nbytes = u64::from(*error == Errno::Success && *tag != 0);
            out.put(userdata, *error, *tag, nbytes, 0)
        }
        Wanted::Clock { clock, deadline } => {
            if now(*clock)? >= *deadline {
                out.put(userdata, Errno::Success, 0, 0, 0)?;
            }
            Ok(())
        }
        Wanted::File { direction, entry, fd, slot } => {
            let always = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
            let ready = slots[*slot].revents & (direction.interest() | always);
            if ready == 0 {
                return Ok(());
            }
            let error = match ready {
                r if r & libc::POLLNVAL != 0 => Errno::Badf,
                r if r & libc::POLLERR != 0 && r & (libc::POLLIN | libc::POLLOUT) == 0 => Errno::Io,
                _ => Errno::Success,
            };
            let hangup = if ready & libc::POLLHUP != 0 { HANGUP } else { 0 };
            let (tag, nbytes) = match direction {
                Direction::Read => (1, readable(entry.file.filetype, *fd)),
                Direction::Write => (2, 1),
            };
            out.put(userdata, error, tag, if error == Errno::Success { nbytes } else { 0 }, hangup)
        }
    }
}

/// How many bytes can be read at once: for a regular file up to its end, for others what the kernel has
/// in its buffer, and 1 for a listening socket, which has a connection instead.
fn readable(filetype: FileType, fd: i32) -> u64 {
    if filetype == FileType::RegularFile {
        let size = fstat(fd).map_or(0, |stat| stat.st_size);
        // SAFETY: no memory is involved.
        let at = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
        return size.saturating_sub(at).max(0) as u64;
    }
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD fills one int.
    match unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut bytes) } {
        0 => bytes.max(0) as u64,
        _ => filetype.is_socket().into(),
    }
}
