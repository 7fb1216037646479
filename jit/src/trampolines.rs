//! Code table entries for functions that have no machine code.
//!
//! A trampoline loads its function's index and jumps to the signature stub of the function's type:
//! ```text
//! mov r10d, index
//! jmp [slot of the type]
//! ```
//! The code is written once and then read-only; the slots are in pages of their own, and never executable.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a trampoline.
const SIZE: usize = 16;

/// One trampoline for each function of a module, and one slot for each type.
pub struct Trampolines {
    pages: *mut u8,
    /// Bytes of all pages, and of the code's.
    length: usize,
    code_length: usize,
    functions: usize,
    types: usize,
}

// SAFETY: the code is never changed, and the slots are atomic.
unsafe impl Send for Trampolines {}
// SAFETY: as above.
unsafe impl Sync for Trampolines {}

impl Trampolines {
    /// Makes trampolines for functions of these canonical types. Until [`Trampolines::set_stub`] was called for its
    /// type, a trampoline must not be run; it traps.
    ///
    /// # Errors
    /// If the system gives no memory.
    pub fn new(function_types: &[u32]) -> io::Result<Trampolines> {
        let types = function_types.iter().max().map_or(0, |highest| *highest as usize + 1);
        // SAFETY: it only reads a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        // One place more, for a trap.
        let code_length = ((function_types.len() + 1) * SIZE).next_multiple_of(page);
        let slots_length = (types * size_of::<usize>()).next_multiple_of(page);
        let length = code_length + slots_length;
        // SAFETY: a new mapping at a place of the system's choice.
        let pages = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if pages == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let this = Trampolines {
            pages: pages.cast(),
            length,
            code_length,
            functions: function_types.len(),
            types,
        };
        // SAFETY: the pages are ours alone until this returns.
        let code = unsafe { std::slice::from_raw_parts_mut(this.pages, code_length) };
        for (func, (ty, place)) in
            function_types.iter().zip(code.chunks_exact_mut(SIZE)).enumerate()
        {
            write(place, func * SIZE, func as u32, this.slot_offset(*ty as usize));
        }
        let trap = function_types.len() * SIZE;
        code[trap..trap + 2].copy_from_slice(&[0x0f, 0x0b]); // ud2
        for ty in 0..types {
            this.slot(ty).store(this.pages as usize + trap, Ordering::Relaxed);
        }
        // SAFETY: the pages were mapped above, and nobody writes to the code any more.
        if unsafe { libc::mprotect(pages, code_length, libc::PROT_READ | libc::PROT_EXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(this)
    }

    /// The trampoline of a function: what the code table holds while there is no machine code.
    ///
    /// # Panics
    /// If there is no such function.
    #[must_use]
    pub fn address(&self, func: u32) -> usize {
        assert!((func as usize) < self.functions, "no function {func}");
        self.pages as usize + func as usize * SIZE
    }

    /// Says where the signature stub of a canonical type is; nothing happens if no function has the type. The store has
    /// release order.
    pub fn set_stub(&self, ty: u32, address: usize) {
        if (ty as usize) < self.types {
            self.slot(ty as usize).store(address, Ordering::Release);
        }
    }

    fn slot_offset(&self, ty: usize) -> usize {
        self.code_length + ty * size_of::<usize>()
    }

    fn slot(&self, ty: usize) -> &AtomicUsize {
        // SAFETY: the slots are aligned, within the pages, and accessed only as atomics.
        unsafe { &*self.pages.add(self.slot_offset(ty)).cast::<AtomicUsize>() }
    }
}

impl Drop for Trampolines {
    fn drop(&mut self) {
        // SAFETY: the pages are ours, and whoever held an address must not use it any more.
        unsafe { libc::munmap(self.pages.cast(), self.length) };
    }
}

/// Writes a trampoline at `offset` that jumps through the slot at `slot`.
fn write(place: &mut [u8], offset: usize, func: u32, slot: usize) {
    const INSTRUCTIONS: usize = 12;
    let distance =
        i32::try_from(slot - (offset + INSTRUCTIONS)).expect("a module has no 2^27 functions");
    place[..2].copy_from_slice(&[0x41, 0xba]); // mov r10d, imm32
    place[2..6].copy_from_slice(&func.to_le_bytes());
    place[6..8].copy_from_slice(&[0xff, 0x25]); // jmp [rip + disp32]
    place[8..12].copy_from_slice(&distance.to_le_bytes());
    place[12..].fill(0xcc); // int3
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::arch::asm;

    fn run(address: usize) -> u64 {
        let index;
        // SAFETY: the trampoline jumps to `stub`, which returns here and changes r10 alone.
        unsafe { asm!("call {}", in(reg) address, out("r10") index, clobber_abi("C")) };
        index
    }

    #[unsafe(naked)]
    extern "C" fn stub() {
        std::arch::naked_asm!("ret")
    }

    #[test]
    fn a_trampoline_brings_the_index_to_the_stub_of_its_type() {
        let types: Vec<u32> = (0..1000).map(|func| func % 3).collect();
        let trampolines = Trampolines::new(&types).expect("memory");
        for ty in 0..3 {
            trampolines.set_stub(ty, stub as *const () as usize);
        }
        for func in [0, 1, 2, 500, 999] {
            assert_eq!(run(trampolines.address(func)), u64::from(func));
        }
    }

    #[test]
    fn a_module_without_functions_has_no_trampolines() {
        assert!(Trampolines::new(&[]).is_ok());
    }
}
