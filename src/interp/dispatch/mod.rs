//! From one instruction to the next.
//!
//! An instruction in memory is the address of its handler followed by its operands ([`Ip`] points to the address). The
//! interpreter's state travels in the arguments of the handlers, all of them in machine registers ([`Regs`]). A handler
//! ends with [`next`], [`done`] or a call of a slow path of the same signature, and there are two engines that make
//! something of that: `tail`, where `next` is a jump, and `loop`, where it is a return to a loop.
//!
//! # Safety
//! All functions here and in [`handlers`](super::handlers) share one contract. The instruction pointer points to an
//! instruction that the translator made, in a function that the frame pointer's frame belongs to; the frame lies on the
//! value stack of the context's thread, with as many slots as the translator counted; the context is alive and belongs to
//! this thread; and the memory's length never shrinks. The translator vouches for the first half, having read a validated
//! body; the caller of [`execute`](super::execute::execute) for the second.

use std::sync::atomic::{AtomicU64, Ordering};
use updraft_jit::abi::VmContext;

#[cfg(not(all(interp_tail, not(debug_assertions))))]
#[path = "loop.rs"]
mod engine;
#[cfg(all(interp_tail, not(debug_assertions)))]
#[path = "tail.rs"]
mod engine;

pub(crate) use engine::{Handler, Out, done, handler, next, run, slow_path};

/// Points to an instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub(crate) struct Ip(pub(crate) *const u8);

/// Points to the first slot of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Fp(pub(crate) *mut u64);

/// The address of byte 0 of memory 0.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct MemoryBase(pub(crate) *mut u8);

/// Where the current length of memory 0 is read. On the way into a function this argument holds the caller's frame.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct MemoryLength(pub(crate) *const AtomicU64);

/// The context that runs.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct Ctx(pub(crate) *mut VmContext);

/// Index of a slot from the frame pointer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub(crate) struct Slot(pub(crate) u16);

/// The interpreter's state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Regs {
    /// The instruction.
    pub(crate) ip: Ip,
    /// The frame.
    pub(crate) fp: Fp,
    /// Memory 0.
    pub(crate) memory: MemoryBase,
    /// The context.
    pub(crate) ctx: Ctx,
    /// The accumulator of integers and references.
    pub(crate) int: u64,
    /// Length of memory 0.
    pub(crate) length: MemoryLength,
    /// The accumulator of `f32`.
    pub(crate) f32: f32,
    /// The accumulator of `f64`.
    pub(crate) f64: f64,
}

/// Bytes that the address of the handler takes.
pub(crate) const OPCODE_SIZE: usize = size_of::<usize>();

/// Instructions start at multiples of this.
pub(crate) const ALIGN: usize = 8;

/// Bytes of an instruction with so many bytes of operands.
pub(crate) const fn instruction_size(operands: usize) -> usize {
    (OPCODE_SIZE + operands).next_multiple_of(ALIGN)
}

impl Ip {
    /// The handler of the instruction.
    #[inline(always)]
    pub(crate) unsafe fn handler(self) -> Handler {
        // SAFETY: an instruction begins with its handler's address.
        unsafe { self.0.cast::<Handler>().read_unaligned() }
    }
}

impl Fp {
    /// Reads a slot. Narrow types are its low bytes.
    #[inline(always)]
    pub(crate) unsafe fn get<T: Copy>(self, slot: Slot) -> T {
        // SAFETY: the slot is in the frame.
        unsafe { self.at(slot).cast::<T>().read() }
    }

    /// Address of a slot.
    #[inline(always)]
    pub(crate) unsafe fn at(self, slot: Slot) -> *mut u64 {
        // SAFETY: the slot is in the frame.
        unsafe { self.0.add(slot.0 as usize) }
    }
}

impl MemoryLength {
    /// The current length in bytes.
    #[inline(always)]
    pub(crate) unsafe fn get(self) -> u64 {
        // SAFETY: the context of a module with a memory points to its length.
        unsafe { (*self.0).load(Ordering::Relaxed) }
    }
}

impl Regs {
    /// The operands of the instruction.
    #[inline(always)]
    pub(crate) unsafe fn operands(&self) -> Operands {
        // SAFETY: operands follow the handler's address.
        unsafe { Operands { start: self.ip.0, at: self.ip.0.add(OPCODE_SIZE) } }
    }

    /// The same state at another instruction.
    #[inline(always)]
    pub(crate) fn at(mut self, ip: Ip) -> Regs {
        self.ip = ip;
        self
    }

    /// Takes the address and length of memory 0 from the context again.
    #[inline(always)]
    pub(crate) unsafe fn reload(&mut self) {
        // SAFETY: the context is alive.
        unsafe {
            self.length = MemoryLength((*self.ctx.0).memory_length);
        }
    }
}

/// Goes through the operands of an instruction in the order in which they were encoded.
#[derive(Clone, Copy)]
pub(crate) struct Operands {
    start: *const u8,
    at: *const u8,
}

impl Operands {
    #[inline(always)]
    unsafe fn take<T: Copy>(&mut self) -> T {
        // SAFETY: the translator encoded a `T` here.
        unsafe {
            let value = self.at.cast::<T>().read_unaligned();
            self.at = self.at.add(size_of::<T>());
            value
        }
    }

    /// The next operand, a slot.
    #[inline(always)]
    pub(crate) unsafe fn slot(&mut self) -> Slot {
        // SAFETY: see `take`.
        Slot(unsafe { self.take() })
    }

    /// The next operand, of 16 bits.
    #[inline(always)]
    pub(crate) unsafe fn u16(&mut self) -> u16 {
        // SAFETY: see `take`.
        unsafe { self.take() }
    }

    /// The next operand, of 32 bits.
    #[inline(always)]
    pub(crate) unsafe fn u32(&mut self) -> u32 {
        // SAFETY: see `take`.
        unsafe { self.take() }
    }

    /// The next operand, of 64 bits.
    #[inline(always)]
    pub(crate) unsafe fn u64(&mut self) -> u64 {
        // SAFETY: see `take`.
        unsafe { self.take() }
    }

    /// The next operand, a distance from the instruction's start.
    #[inline(always)]
    pub(crate) unsafe fn target(&mut self) -> Ip {
        // SAFETY: see `take`; the target is in the same function.
        unsafe {
            let distance: i32 = self.take();
            Ip(self.start.offset(distance as isize))
        }
    }

    /// Passes over a back-edge's site.
    #[inline(always)]
    pub(crate) unsafe fn skip_site(&mut self) {
        // SAFETY: see `take`.
        unsafe { self.at = self.at.add(size_of::<i32>()) }
    }

    /// Goes on at an operand whose place is known.
    #[inline(always)]
    pub(crate) fn seek(self, at: *const u8) -> Operands {
        Operands { at, ..self }
    }

    /// Where the next operand lies.
    #[inline(always)]
    pub(crate) fn position(&self) -> *const u8 {
        self.at
    }

    /// The instruction after this one, all operands having been read.
    #[inline(always)]
    pub(crate) unsafe fn end(&self) -> Ip {
        // SAFETY: another instruction follows every one that asks.
        unsafe {
            let operands = self.at.offset_from_unsigned(self.start) - OPCODE_SIZE;
            Ip(self.start.add(instruction_size(operands)))
        }
    }
}
