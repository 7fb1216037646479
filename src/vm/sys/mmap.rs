//! Address ranges reserved for linear memories.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::page_ceil;

/// A range of address space whose start never moves, with a guard behind it.
///
/// It costs no memory until [`commit`](Reservation::commit). While it lives, a fault of compiled code anywhere
/// in it, the guard included, is an out-of-bounds access of wasm. Drop unmaps it.
#[derive(Debug)]
pub struct Reservation {
    base: NonNull<u8>,
    bytes: usize,
    mapped: usize,
    entry: usize,
}

// SAFETY: a range of addresses; who may touch what lies there is for the users of `base` to settle.
unsafe impl Send for Reservation {}
// SAFETY: as above; `commit` only calls `mprotect`, which is thread-safe.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Reserves `bytes` that may be committed and `guard` bytes that may not, both rounded up to pages.
    ///
    /// # Errors
    /// From `mmap`; `ENOMEM` as well if 16 384 reservations live already.
    pub fn new(bytes: usize, guard: usize) -> io::Result<Reservation> {
        let bytes = page_ceil(bytes).ok_or(rustix::io::Errno::NOMEM)?;
        let mapped = page_ceil(guard)
            .and_then(|guard| bytes.checked_add(guard))
            .ok_or(rustix::io::Errno::NOMEM)?
            .max(super::PAGE);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                mapped,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let base = NonNull::new(base.cast::<u8>()).ok_or(rustix::io::Errno::NOMEM)?;
        match registry::insert(base.as_ptr() as usize, mapped) {
            Some(entry) => Ok(Reservation { base, bytes, mapped, entry }),
            None => {
                // SAFETY: mapped above, and nobody else knows it.
                let _ = unsafe { munmap(base.as_ptr().cast(), mapped) };
                Err(rustix::io::Errno::NOMEM.into())
            }
        }
    }

    /// The first byte.
    #[must_use]
    pub fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes that may be committed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether nothing may be committed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Makes a range readable and writable, zeroed where it was not before. Widened to whole pages.
    ///
    /// # Errors
    /// `EINVAL` for a range beyond [`len`](Reservation::len); otherwise from `mprotect`.
    pub fn commit(&self, range: Range<usize>) -> io::Result<()> {
        let start = range.start / super::PAGE * super::PAGE;
        let end = page_ceil(range.end).filter(|end| *end <= self.bytes && start <= *end);
        let Some(end) = end else { return Err(rustix::io::Errno::INVAL.into()) };
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: within our mapping, and more rights take nothing from those who use it.
        unsafe {
            mprotect(
                self.base().add(start).cast(),
                end - start,
                MprotectFlags::READ | MprotectFlags::WRITE,
            )?;
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        registry::remove(self.entry);
        // SAFETY: our mapping; whoever used it holds the reservation, and this is its drop.
        let _ = unsafe { munmap(self.base().cast(), self.mapped) };
    }
}

/// Whether an address lies in a live reservation. Safe in a signal handler.
pub(super) fn is_reserved(address: usize) -> bool {
    registry::contains(address)
}

/// The live reservations: a table that the fault handler may read at any moment, without a lock.
///
/// An entry that matters to a faulting thread does not change meanwhile, since the thread runs in that very memory.
/// Other entries may come and go under the reader; it reads `start` twice so as not to pair it with another's `end`.
mod registry {
    use super::{Acquire, AtomicUsize, Relaxed, Release};

    const CAPACITY: usize = 16_384;
    const FREE: usize = 0;
    const CLAIMED: usize = 1;

    struct Entry {
        /// FREE, CLAIMED or the first address.
        start: AtomicUsize,
        end: AtomicUsize,
    }

    static ENTRIES: [Entry; CAPACITY] =
        [const { Entry { start: AtomicUsize::new(FREE), end: AtomicUsize::new(0) } }; CAPACITY];
    /// No entry from here on was ever used.
    static USED: AtomicUsize = AtomicUsize::new(0);

    pub(super) fn insert(start: usize, bytes: usize) -> Option<usize> {
        let index = ENTRIES.iter().position(|entry| {
            entry.start.load(Relaxed) == FREE
                && entry.start.compare_exchange(FREE, CLAIMED, Acquire, Relaxed).is_ok()
        })?;
        ENTRIES[index].end.store(start + bytes, Relaxed);
        ENTRIES[index].start.store(start, Release);
        USED.fetch_max(index + 1, Release);
        Some(index)
    }

    pub(super) fn remove(index: usize) {
        ENTRIES[index].start.store(FREE, Release);
    }

    pub(super) fn contains(address: usize) -> bool {
        ENTRIES[..USED.load(Acquire)].iter().any(|entry| {
            let start = entry.start.load(Acquire);
            start > CLAIMED
                && (start..entry.end.load(Acquire)).contains(&address)
                && entry.start.load(Relaxed) == start
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_known_while_it_lives() {
        let reservation = Reservation::new(1 << 32, 1 << 31).unwrap();
        let base = reservation.base() as usize;
        assert!(is_reserved(base));
        assert!(is_reserved(base + (3 << 31) - 1));
        assert!(!is_reserved(1));
        assert!(!is_reserved((&raw const base).addr()));
    }

    #[test]
    fn committed_bytes_can_be_used() {
        let reservation = Reservation::new(1 << 20, 1 << 16).unwrap();
        reservation.commit(0..65_536).unwrap();
        reservation.commit(65_536..131_072).unwrap();
        // SAFETY: committed above.
        unsafe {
            assert_eq!(reservation.base().add(131_071).read(), 0);
            reservation.base().add(131_071).write(7);
            assert_eq!(reservation.base().add(131_071).read(), 7);
        }
    }

    #[test]
    fn the_guard_cannot_be_committed() {
        let reservation = Reservation::new(65_536, 65_536).unwrap();
        assert!(reservation.commit(0..65_537).is_err());
        assert!(reservation.commit(0..65_536).is_ok());
        assert!(reservation.commit(65_536..65_536).is_ok());
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        assert!(Reservation::new(usize::MAX, 0).is_err());
        assert!(Reservation::new(1 << 62, 1 << 62).is_err());
    }

    #[test]
    fn many_reservations_at_once() {
        let all: Vec<_> = (0..2_000).map(|_| Reservation::new(1 << 16, 1 << 16).unwrap()).collect();
        assert!(all.iter().all(|one| is_reserved(one.base() as usize + 70_000)));
    }
}
