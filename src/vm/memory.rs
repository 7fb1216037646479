//! Linear memories.
//!
//! A memory of 32-bit addresses reserves every byte that an address plus an offset can reach (8 GiB), and a guard, so
//! that its base never moves and compiled code needs no bounds check. `memory.grow` makes pages accessible under a
//! lock and then publishes the length; threads read the length without a lock.
//!
//! A memory of 64-bit addresses reserves what it may grow to, as far as there is room. Every access checks its bounds.

use super::quota::Quotas;
use super::sys::Reservation;
use crate::threads::ParkingLot;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use updraft_jit::abi::MemoryDesc;
use wasmparser::MemoryType;

/// Bytes of a page of linear memory.
pub const PAGE: u64 = 1 << 16;
/// What a 32-bit address plus a 32-bit offset can reach.
const REACH: usize = 8 << 30;
/// Behind that, for accesses of several bytes.
const GUARD: usize = PAGE as usize;
/// What a memory of 64-bit addresses reserves at most if its type has no maximum, and if it has one. A process has 128 TiB.
const UNBOUNDED64: u64 = 256 << 30;
const BOUNDED64: u64 = 16 << 40;

/// A linear memory. Shared memories are used by several threads at once; every access goes through raw pointers.
pub(crate) struct LinearMemory {
    reservation: Reservation,
    length: AtomicU64,
    /// Held while growing.
    grow: Mutex<()>,
    ty: MemoryType,
    max_pages: u64,
    parking: ParkingLot,
    /// Of the group that the memory belongs to, if it belongs to one.
    quotas: Option<Arc<Quotas>>,
}

impl Drop for LinearMemory {
    fn drop(&mut self) {
        if let Some(quotas) = &self.quotas {
            quotas.memory.give_back(self.len());
        }
    }
}

impl LinearMemory {
    /// Reserves a memory and makes its first pages accessible. `max_bytes` bounds it further than its type does.
    pub fn new(ty: MemoryType, max_bytes: u64) -> Result<LinearMemory, String> {
        LinearMemory::in_group(ty, max_bytes, None)
    }

    /// The same, as a part of what a group may have.
    pub fn in_group(
        ty: MemoryType,
        max_bytes: u64,
        quotas: Option<Arc<Quotas>>,
    ) -> Result<LinearMemory, String> {
        let limit_pages = max_bytes / PAGE;
        if ty.initial > limit_pages {
            return Err(format!(
                "it starts with {} bytes, more than the limit of {max_bytes} bytes (--max-memory)",
                ty.initial.saturating_mul(PAGE)
            ));
        }
        let most = if ty.memory64 { 1 << 48 } else { 1 << 16 };
        let mut max_pages = ty.maximum.unwrap_or(most).min(most).min(limit_pages);
        let reservation = if ty.memory64 {
            let reservation = Self::reserve64(&ty, max_pages)?;
            max_pages = max_pages.min(reservation.len() as u64 / PAGE);
            reservation
        } else {
            Reservation::new(REACH, GUARD)
                .map_err(|e| format!("cannot reserve {} GiB of address space: {e}", REACH >> 30))?
        };
        let memory = LinearMemory {
            reservation,
            length: AtomicU64::new(0),
            grow: Mutex::new(()),
            ty,
            max_pages,
            parking: ParkingLot::new(),
            quotas,
        };
        if memory.grow(ty.initial).is_none() {
            let bytes = ty.initial * PAGE;
            let most = memory.quotas.as_ref().map_or(u64::MAX, |quotas| quotas.memory.most());
            return Err(if most < u64::MAX {
                format!(
                    "{bytes} bytes are too many for the program's limit of {most} (--max-memory)"
                )
            } else {
                format!("cannot make {bytes} bytes accessible")
            });
        }
        Ok(memory)
    }

    /// Reserves a memory of 64-bit addresses: all that it may grow to, or half of that, and so on.
    fn reserve64(ty: &MemoryType, max_pages: u64) -> Result<Reservation, String> {
        let most = if ty.maximum.is_some() { BOUNDED64 } else { UNBOUNDED64 };
        let mut pages = max_pages.min(most / PAGE).max(ty.initial);
        loop {
            let bytes = usize::try_from(pages.saturating_mul(PAGE)).unwrap_or(usize::MAX);
            match Reservation::new(bytes, GUARD) {
                Ok(reservation) => return Ok(reservation),
                Err(_) if pages > ty.initial => pages = (pages / 2).max(ty.initial),
                Err(e) => {
                    return Err(format!("cannot reserve {bytes} bytes of address space: {e}"));
                }
            }
        }
    }

    /// Its type, with the current size as the minimum.
    pub fn current_type(&self) -> MemoryType {
        MemoryType { initial: self.pages(), ..self.ty }
    }

    pub fn is_shared(&self) -> bool {
        self.ty.shared
    }

    pub fn base(&self) -> *mut u8 {
        self.reservation.base()
    }

    /// Bytes accessible now. It never shrinks.
    pub fn len(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    pub fn pages(&self) -> u64 {
        self.len() / PAGE
    }

    pub fn parking(&self) -> &ParkingLot {
        &self.parking
    }

    /// What code sees of it; valid as long as the memory.
    pub fn desc(&self) -> MemoryDesc {
        MemoryDesc { base: self.base(), length: &raw const self.length }
    }

    /// Adds pages and returns the previous number of pages, or `None` if the maximum, the limit or the system forbids it.
    pub fn grow(&self, delta: u64) -> Option<u64> {
        let _guard = self.grow.lock().expect("no panics hold it");
        let old = self.length.load(Ordering::Relaxed);
        let new_pages = (old / PAGE).checked_add(delta)?;
        if new_pages > self.max_pages {
            if delta != 0 {
                tracing::warn!(
                    pages = old / PAGE,
                    delta,
                    max = self.max_pages,
                    "memory.grow refused: over the maximum of the memory's type or of --max-memory"
                );
            }
            return None;
        }
        let new = new_pages * PAGE;
        let quota = self.quotas.as_ref().map(|quotas| &quotas.memory);
        if let Some(quota) = quota
            && !quota.take(new - old)
        {
            tracing::warn!(
                pages = old / PAGE,
                delta,
                max_bytes = quota.most(),
                "memory.grow refused: over the program's --max-memory"
            );
            return None;
        }
        if let Err(error) = self.reservation.commit(old as usize..new as usize) {
            tracing::warn!(%error, pages = new_pages, "memory.grow refused by the operating system");
            if let Some(quota) = quota {
                quota.give_back(new - old);
            }
            return None;
        }
        self.length.store(new, Ordering::Release);
        Some(old / PAGE)
    }

    /// Address of `len` bytes at `start`, if all of them are accessible.
    pub fn range(&self, start: u64, len: u64) -> Option<*mut u8> {
        (start.checked_add(len)? <= self.len())
            // SAFETY: the range lies within the reservation.
            .then(|| unsafe { self.base().add(start as usize) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(initial: u64, maximum: Option<u64>) -> MemoryType {
        MemoryType { memory64: false, shared: false, initial, maximum, page_size_log2: None }
    }

    #[test]
    fn grows_up_to_its_maximum_and_keeps_its_base() {
        let memory = LinearMemory::new(ty(1, Some(3)), u64::MAX).unwrap();
        let base = memory.base();
        assert_eq!(memory.grow(2), Some(1));
        assert_eq!(memory.grow(0), Some(3));
        assert_eq!(memory.grow(1), None);
        assert_eq!(memory.grow(u64::MAX), None);
        assert_eq!((memory.pages(), memory.base()), (3, base));
    }

    #[test]
    fn an_engine_limit_holds_for_start_and_growth() {
        assert!(LinearMemory::new(ty(2, None), PAGE).is_err());
        let memory = LinearMemory::new(ty(1, None), PAGE).unwrap();
        assert_eq!(memory.grow(1), None);
    }

    #[test]
    fn wide_memories_reserve_what_there_is_room_for() {
        let wide = |initial, maximum| {
            LinearMemory::new(MemoryType { memory64: true, ..ty(initial, maximum) }, u64::MAX)
        };
        let memory = wide(1, Some(3)).unwrap();
        assert_eq!((memory.grow(2), memory.grow(1)), (Some(1), None));
        // More than 32 bits can address, and more than any machine has.
        let memory = wide(1, Some(1 << 48)).unwrap();
        assert_eq!(memory.grow(1 << 17), Some(1));
        assert_eq!(memory.grow(1 << 47), None);
        assert!(memory.range(5 << 30, 8).is_some());
        assert!(wide(1 << 48, None).is_err());
    }

    #[test]
    fn ranges_end_at_the_length() {
        let memory = LinearMemory::new(ty(1, None), u64::MAX).unwrap();
        assert!(memory.range(PAGE, 0).is_some());
        assert!(memory.range(PAGE - 1, 2).is_none());
        assert!(memory.range(u64::MAX, 2).is_none());
    }
}
