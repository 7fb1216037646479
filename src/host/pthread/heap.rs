//! Memory that the host allocates in the program's memory: `posix_memalign`, and `malloc` and its like for programs that were
//! linked without them, as WAMR's instructions have it.
//!
//! The heap is what `memory.grow` gives the host; in a program that has no allocator of its own also what lies behind its static data.
//! Which blocks are free is noted outside of the memory, where the program cannot damage it.

use super::{Definer, EINVAL, ENOMEM, Library, lock, read_u32, stack, write_u32};
use crate::error::Error;
use crate::func::Caller;
use crate::module::{Item, Module};
use crate::vm::LinearMemory;
use std::collections::{BTreeMap, HashMap};

const PAGE: u64 = 1 << 16;
/// Every block begins at a multiple of this, in bytes.
const ALIGNMENT: u32 = 16;
/// The most blocks at once. Each takes memory of the host.
const MAX_BLOCKS: usize = 1 << 22;

/// The blocks of a program's heap: addresses and lengths in bytes.
#[derive(Debug, Default)]
pub(super) struct Heap {
    free: BTreeMap<u64, u64>,
    used: HashMap<u32, u32>,
}

impl Heap {
    /// The heap with which a program begins.
    pub fn of(module: &Module) -> Heap {
        let mut heap = Heap::default();
        let imports = |name| {
            let mut functions =
                module.imports.iter().filter(|import| matches!(import.item, Item::Func(_)));
            functions.any(|import| import.module == super::ENV && import.name == name)
        };
        if let Some(base) = stack::heap_base(module).filter(|_| imports("malloc"))
            && let Some(memory) = module.env.memories.first()
        {
            let base = u64::from(base).next_multiple_of(ALIGNMENT.into());
            let end = memory.initial.saturating_mul(PAGE).min(1 << 32);
            if base < end {
                heap.add(base, end - base);
            }
        }
        heap
    }

    /// Adds a free range, joined with those that touch it.
    fn add(&mut self, mut start: u64, mut len: u64) {
        if let Some((&before, &length)) = self.free.range(..start).next_back()
            && before + length == start
        {
            self.free.remove(&before);
            (start, len) = (before, length + len);
        }
        if let Some(length) = self.free.remove(&(start + len)) {
            len += length;
        }
        self.free.insert(start, len);
    }

    /// Takes a block from the first free range that has room for it.
    fn take(&mut self, size: u64, alignment: u64) -> Option<u32> {
        let (start, len, at) = self.free.iter().find_map(|(&start, &len)| {
            let at = start.max(1).next_multiple_of(alignment);
            (at + size <= start + len).then_some((start, len, at))
        })?;
        self.free.remove(&start);
        if at > start {
            self.free.insert(start, at - start);
        }
        if at + size < start + len {
            self.free.insert(at + size, start + len - at - size);
        }
        self.used.insert(at as u32, size as u32);
        Some(at as u32)
    }

    /// A block of at least so many bytes; the alignment is a power of two.
    fn allocate(&mut self, memory: &LinearMemory, size: u32, alignment: u32) -> Option<u32> {
        let size = u64::from(size.max(1)).next_multiple_of(ALIGNMENT.into());
        let alignment = u64::from(alignment.max(ALIGNMENT));
        if self.used.len() >= MAX_BLOCKS || size > 1 << 31 || alignment > 1 << 31 {
            return None;
        }
        if let Some(block) = self.take(size, alignment) {
            return Some(block);
        }
        // A block that begins with a page needs no more than its size, unless its alignment is larger than that.
        let pages = (size + alignment.saturating_sub(PAGE)).div_ceil(PAGE);
        let old = memory.grow(pages)?;
        self.add(old * PAGE, pages * PAGE);
        self.take(size, alignment)
    }

    /// Frees a block, and returns its length in bytes; `None` if there is no such block.
    fn free(&mut self, block: u32) -> Option<u32> {
        let size = self.used.remove(&block)?;
        self.add(block.into(), size.into());
        Some(size)
    }
}

impl Library {
    /// A block of the heap, or 0.
    fn allocate(&self, caller: &Caller<'_>, size: u32, alignment: u32) -> u32 {
        let memory = caller.linear_memory();
        memory.and_then(|memory| lock(&self.heap).allocate(memory, size, alignment)).unwrap_or(0)
    }
}

/// `calloc` and `realloc`: what a new block begins with.
fn copy(caller: &Caller<'_>, from: Option<u32>, to: u32, len: u32) -> Result<(), Error> {
    let range = |start: u32| {
        let memory = caller.linear_memory();
        memory.and_then(|memory| memory.range(start.into(), len.into()))
    };
    let to = range(to).ok_or_else(|| super::out_of_bounds(caller))?;
    // SAFETY: the ranges are accessible and stay so; other threads may read and write them, as with any racing copy.
    unsafe {
        match from {
            None => std::ptr::write_bytes(to, 0, len as usize),
            Some(from) => {
                let from = range(from).ok_or_else(|| super::out_of_bounds(caller))?;
                std::ptr::copy(from, to, len as usize);
            }
        }
    }
    Ok(())
}

/// A block from the program's own `malloc`, which its own `free` can take back. WAMR ignores the alignment.
fn own_malloc(caller: &mut Caller<'_>, size: u32, alignment: u32) -> Option<Result<u32, Error>> {
    let malloc = caller.exported_func("malloc")?.typed::<i32, i32>(caller).ok()?;
    let free = caller.exported_func("free")?.typed::<i32, ()>(caller).ok()?;
    Some((|| {
        let block = malloc.call(caller, size as i32)? as u32;
        if block != 0 && !block.is_multiple_of(alignment) {
            tracing::warn!(alignment, "the program's malloc gives no block of this alignment");
            free.call(caller, block as i32)?;
            return Ok(0);
        }
        Ok(block)
    })())
}

pub(super) fn define(to: &mut Definer<'_>) {
    to.func("posix_memalign", |library, caller, (block, alignment, size): (i32, i32, i32)| {
        let (alignment, size) = (alignment as u32, size as u32);
        read_u32(caller, block as u32)?;
        if !alignment.is_power_of_two() || alignment < 4 {
            return Ok(EINVAL);
        }
        let new = match own_malloc(caller, size, alignment) {
            Some(new) => new?,
            None => library.allocate(caller, size, alignment),
        };
        if new == 0 {
            return Ok(ENOMEM);
        }
        write_u32(caller, block as u32, new)?;
        Ok(0)
    });
    to.func("malloc", |library, caller, size: i32| {
        Ok(library.allocate(caller, size as u32, ALIGNMENT) as i32)
    });
    to.func("calloc", |library, caller, (count, size): (i32, i32)| {
        let Some(len) = (count as u32).checked_mul(size as u32) else { return Ok(0) };
        let block = library.allocate(caller, len, ALIGNMENT);
        if block != 0 {
            copy(caller, None, block, len)?;
        }
        Ok(block as i32)
    });
    to.func("realloc", |library, caller, (block, size): (i32, i32)| {
        let (block, size) = (block as u32, size as u32);
        let known = lock(&library.heap).used.get(&block).copied();
        let Some(old) = known.or((block == 0).then_some(0)) else { return Ok(0) };
        let new = library.allocate(caller, size, ALIGNMENT);
        if new != 0 && block != 0 {
            copy(caller, Some(block), new, old.min(size))?;
            lock(&library.heap).free(block);
        }
        Ok(new as i32)
    });
    to.func("free", |library, _, block: i32| {
        if block != 0 && lock(&library.heap).free(block as u32).is_none() {
            tracing::warn!(block = block as u32, "free of what is no block of the host's heap");
        }
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(pages: u64) -> LinearMemory {
        let ty = wasmparser::MemoryType {
            memory64: false,
            shared: true,
            initial: 1,
            maximum: Some(pages),
            page_size_log2: None,
        };
        LinearMemory::new(ty, u64::MAX).unwrap()
    }

    #[test]
    fn freed_blocks_are_joined_and_used_again() {
        let (mut heap, memory) = (Heap::default(), memory(2));
        let blocks: Vec<u32> = (0..16).map(|_| heap.allocate(&memory, 4096, 16).unwrap()).collect();
        assert_eq!(heap.allocate(&memory, 1, 16), None);
        // Every second one first, so that ranges are joined on both sides.
        for block in blocks.iter().step_by(2).chain(blocks.iter().skip(1).step_by(2)) {
            assert_eq!(heap.free(*block), Some(4096));
            assert_eq!(heap.free(*block), None);
        }
        assert_eq!(heap.free.len(), 1);
        assert_eq!(heap.allocate(&memory, 65536, 16), Some(65536));
    }

    #[test]
    fn blocks_are_aligned_and_do_not_overlap() {
        let (mut heap, memory) = (Heap::default(), memory(64));
        let mut blocks = Vec::new();
        for i in 0..200u32 {
            let (size, alignment) = (i * 37 % 5000, 4 << (i % 15));
            let block = heap.allocate(&memory, size, alignment).unwrap();
            assert_ne!(block, 0);
            assert!(block.is_multiple_of(alignment));
            assert!(u64::from(block + size) <= memory.len());
            blocks.push((block, block + size.max(1)));
            if i % 3 == 0 {
                let (block, _) = blocks.swap_remove(blocks.len() / 2);
                assert!(heap.free(block).is_some());
            }
        }
        blocks.sort_unstable();
        assert!(blocks.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        assert_eq!(heap.allocate(&memory, u32::MAX, 16), None);
    }
}
