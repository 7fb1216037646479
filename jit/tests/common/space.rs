//! Memories and tables.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

use updraft_jit::abi::{MemoryDesc, TableDesc};

use super::segment;

/// Bytes of address space for a memory: all that a 32-bit address and offset reach.
const RESERVED: usize = (8 << 30) + (64 << 10);
/// Pages and elements beyond which nothing grows.
const MOST_PAGES: u64 = 1 << 10;
const MOST_ELEMENTS: u64 = 1 << 10;

pub struct Memory {
    base: *mut u8,
    length: Box<AtomicU64>,
    most_pages: u64,
}

impl Memory {
    pub fn new(pages: u64, maximum: Option<u64>) -> Memory {
        let base = segment::reserve(RESERVED);
        segment::commit(base, (pages << 16) as usize);
        let length = Box::new(AtomicU64::new(pages << 16));
        Memory { base, length, most_pages: maximum.unwrap_or(MOST_PAGES).min(MOST_PAGES) }
    }

    pub fn base(&self) -> *mut u8 {
        self.base
    }

    pub fn desc(&self) -> MemoryDesc {
        MemoryDesc { base: self.base, length: &raw const *self.length }
    }

    pub fn grow(&self, pages: u64) -> Option<u64> {
        let before = self.length.load(Ordering::Relaxed) >> 16;
        let after = before.checked_add(pages).filter(|after| *after <= self.most_pages)?;
        segment::commit(self.base, (after << 16) as usize);
        self.length.store(after << 16, Ordering::Release);
        Some(before)
    }

    pub fn range(&self, start: u64, bytes: u64) -> Option<*mut u8> {
        let end = start.checked_add(bytes)?;
        // SAFETY: the range lies in the reservation.
        (end <= self.length.load(Ordering::Relaxed))
            .then(|| unsafe { self.base.add(start as usize) })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        segment::free(self.base, RESERVED);
    }
}

pub struct Table {
    desc: Box<UnsafeCell<TableDesc>>,
    elements: UnsafeCell<Vec<u64>>,
    most: u64,
}

impl Table {
    pub fn new(elements: u64, maximum: Option<u64>) -> Table {
        let mut elements = vec![0; elements as usize];
        let (base, length) = (elements.as_mut_ptr(), elements.len() as u64);
        let most = maximum.unwrap_or(MOST_ELEMENTS).min(MOST_ELEMENTS);
        let desc = Box::new(UnsafeCell::new(TableDesc { base, length }));
        Table { desc, elements: UnsafeCell::new(elements), most }
    }

    pub fn desc(&self) -> *mut TableDesc {
        self.desc.get()
    }

    /// So many elements from `start` on.
    #[expect(clippy::mut_from_ref, reason = "one thread, and compiled code waits")]
    pub fn range(&self, start: u64, count: u64) -> Option<&mut [u64]> {
        let end = start.checked_add(count)?;
        // SAFETY: no caller keeps the slice while compiled code runs.
        let elements = unsafe { &mut *self.elements.get() };
        (end <= elements.len() as u64).then(|| &mut elements[start as usize..end as usize])
    }

    pub fn get(&self, index: u64) -> Option<&mut u64> {
        self.range(index, 1).map(|elements| &mut elements[0])
    }

    pub fn grow(&self, count: u64, value: u64) -> Option<u64> {
        // SAFETY: as in `range`.
        let elements = unsafe { &mut *self.elements.get() };
        let before = elements.len() as u64;
        let after = before.checked_add(count).filter(|after| *after <= self.most)?;
        elements.resize(after as usize, value);
        let (base, length) = (elements.as_mut_ptr(), after);
        // SAFETY: compiled code does not read it now.
        unsafe { *self.desc.get() = TableDesc { base, length } };
        Some(before)
    }
}
