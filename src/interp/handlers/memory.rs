//! Plain loads and stores, and globals.
//!
//! Each access compares its end with the memory's length as it is now: memory may grow on another thread at any moment, and
//! a length read earlier would make false traps. Guest bytes are only ever touched through raw pointers.

use super::{Binary, Dest, Slot, Source, Value, trap};
use crate::interp::dispatch::{MemoryLength, Operands, Regs, handler, next};
use std::sync::atomic::AtomicU64;
use updraft_jit::abi::{GLOBAL_SIZE, GLOBALS_OFFSET, TrapCode};

/// How an access finds its memory and its bytes.
pub(crate) trait Reach {
    /// Reads operands of memory, address and offset: the memory, and where in it the access begins, if addresses go so far.
    unsafe fn find(r: &Regs, at: &mut Operands) -> (*mut u8, MemoryLength, Option<u64>);
}

/// Memory 0, of 32-bit addresses.
pub(crate) struct Near;
/// The memory whose index is an operand, of 32-bit addresses.
pub(crate) struct Far;
/// The same, of 64-bit addresses.
pub(crate) struct Wide;

/// The memory of this index.
#[inline(always)]
unsafe fn memory(r: &Regs, index: u32) -> (*mut u8, MemoryLength) {
    // SAFETY: the contract; the module has this memory.
    unsafe {
        let memory = (*r.ctx.0).memories.add(index as usize);
        ((*memory).base, MemoryLength((*memory).length.cast::<AtomicU64>()))
    }
}

impl Reach for Near {
    #[inline(always)]
    unsafe fn find(r: &Regs, at: &mut Operands) -> (*mut u8, MemoryLength, Option<u64>) {
        // SAFETY: the contract.
        let start = unsafe { u64::from(address(r, at.slot())) + u64::from(at.u32()) };
        (r.memory.0, r.length, Some(start))
    }
}

impl Reach for Far {
    #[inline(always)]
    unsafe fn find(r: &Regs, at: &mut Operands) -> (*mut u8, MemoryLength, Option<u64>) {
        // SAFETY: the contract.
        unsafe {
            let (base, length) = memory(r, at.u32());
            let start = u64::from(address(r, at.slot())) + u64::from(at.u32());
            (base, length, Some(start))
        }
    }
}

impl Reach for Wide {
    #[inline(always)]
    unsafe fn find(r: &Regs, at: &mut Operands) -> (*mut u8, MemoryLength, Option<u64>) {
        // SAFETY: the contract.
        unsafe {
            let (base, length) = memory(r, at.u32());
            let start = u64::load(r, at.slot()).checked_add(at.u64());
            (base, length, start)
        }
    }
}

/// Reads the operands of an access to `size` bytes; their address, if they are in bounds.
#[inline(always)]
pub(crate) unsafe fn reached<R: Reach>(
    r: &Regs,
    at: &mut Operands,
    size: usize,
) -> Option<*mut u8> {
    // SAFETY: the contract; the range is in bounds where it is offered.
    unsafe {
        let (base, length, start) = R::find(r, at);
        let start = start?;
        let fits = start.checked_add(size as u64)? <= length.get();
        fits.then(|| base.add(start as usize))
    }
}

/// How an address is made.
pub(crate) trait Address {
    /// The address, without the static offset.
    unsafe fn get(r: &Regs, at: &mut Operands) -> u32;
}

macro_rules! addresses {
    ($($name:ident = |$r:ident, $at:ident| $body:expr;)*) => {$(
        pub(crate) struct $name;
        impl Address for $name {
            #[inline(always)]
            unsafe fn get($r: &Regs, $at: &mut Operands) -> u32 {
                // SAFETY: the contract.
                unsafe { $body }
            }
        }
    )*};
}

/// The accumulator.
pub(crate) struct AddressA;
impl Address for AddressA {
    #[inline(always)]
    unsafe fn get(r: &Regs, _: &mut Operands) -> u32 {
        u32::acc(r)
    }
}

addresses! {
    AddressS = |r, at| u32::load(r, at.slot());
    AddressSS = |r, at| {
        let (a, b) = (at.slot(), at.slot());
        u32::load(r, a).wrapping_add(u32::load(r, b))
    };
    AddressAS = |r, at| u32::acc(r).wrapping_add(u32::load(r, at.slot()));
    AddressSI = |r, at| {
        let (a, b) = (at.slot(), at.u32());
        u32::load(r, a).wrapping_add(b)
    };
    AddressSX = |r, at| {
        let (a, b, by) = (at.slot(), at.slot(), at.u16());
        u32::load(r, a).wrapping_shl(u32::from(by)).wrapping_add(u32::load(r, b))
    };
    AddressAX = |r, at| {
        let (b, by) = (at.slot(), at.u16());
        u32::acc(r).wrapping_shl(u32::from(by)).wrapping_add(u32::load(r, b))
    };
    AddressAI = |r, at| u32::acc(r).wrapping_add(at.u32());
    AddressI = |_r, at| at.u32();
}

/// Address of `size` bytes at `address + offset` of memory 0, if they are in bounds.
#[inline(always)]
unsafe fn bounded(r: &Regs, address: u32, offset: u32, size: usize) -> Option<*mut u8> {
    let mut start = u64::from(address) + u64::from(offset);
    // Keeps the compiler from adding twice, for the check and for the access: handlers are short of registers.
    // SAFETY: does nothing.
    unsafe {
        std::arch::asm!("/* {0} */", inout(reg) start, options(pure, nomem, nostack, preserves_flags));
    }
    // SAFETY: the contract; the range is in bounds where it is offered.
    unsafe {
        if start + size as u64 > r.length.get() {
            None
        } else {
            Some(r.memory.0.add(start as usize))
        }
    }
}

/// A plain load.
pub(crate) trait LoadOp {
    /// Type of the result.
    type Out: Value;
    /// Bytes read.
    const SIZE: usize;
    /// Reads.
    unsafe fn load(from: *const u8) -> Self::Out;
}

/// A plain store.
pub(crate) trait StoreOp {
    /// Type of the value.
    type In: Value;
    /// Bytes written.
    const SIZE: usize;
    /// Writes.
    unsafe fn store(to: *mut u8, value: Self::In);
}

macro_rules! loads {
    ($($name:ident: $raw:ty => $via:ty => $out:ty;)*) => {$(
        pub(crate) struct $name;
        impl LoadOp for $name {
            type Out = $out;
            const SIZE: usize = size_of::<$raw>();
            #[inline(always)]
            unsafe fn load(from: *const u8) -> $out {
                // SAFETY: the bytes are in bounds.
                (unsafe { from.cast::<$raw>().read_unaligned() }) as $via as $out
            }
        }
    )*};
}

macro_rules! stores {
    ($($name:ident: $in:ty => $raw:ty;)*) => {$(
        pub(crate) struct $name;
        impl StoreOp for $name {
            type In = $in;
            const SIZE: usize = size_of::<$raw>();
            #[inline(always)]
            unsafe fn store(to: *mut u8, value: $in) {
                // SAFETY: the bytes are in bounds.
                unsafe { to.cast::<$raw>().write_unaligned(value as $raw) }
            }
        }
    )*};
}

loads! {
    I32Load: u32 => u32 => u32;
    I64Load: u64 => u64 => u64;
    F32Load: f32 => f32 => f32;
    F64Load: f64 => f64 => f64;
    I32Load8S: i8 => i32 => u32;
    I32Load8U: u8 => u32 => u32;
    I32Load16S: i16 => i32 => u32;
    I32Load16U: u16 => u32 => u32;
    I64Load8S: i8 => i64 => u64;
    I64Load8U: u8 => u64 => u64;
    I64Load16S: i16 => i64 => u64;
    I64Load16U: u16 => u64 => u64;
    I64Load32S: i32 => i64 => u64;
    I64Load32U: u32 => u64 => u64;
}

stores! {
    I32Store: u32 => u32;
    I64Store: u64 => u64;
    F32Store: f32 => f32;
    F64Store: f64 => f64;
    I32Store8: u32 => u8;
    I32Store16: u32 => u16;
    I64Store8: u64 => u8;
    I64Store16: u64 => u16;
    I64Store32: u64 => u32;
}

handler! {
    /// A load.
    fn load[O: LoadOp, P: Address, D: Dest](r) {
        let mut at = r.operands();
        let address = P::get(&r, &mut at);
        let offset = at.u32();
        let to = D::slot(&mut at);
        match bounded(&r, address, offset, O::SIZE) {
            Some(from) => {
                D::put(&mut r, to, O::load(from));
                next(r.at(at.end()))
            }
            None => trap(r, TrapCode::MemoryOutOfBounds),
        }
    }

    /// `a op load`: address, offset, a.
    fn load_binary[O: Binary, L: LoadOp<Out = O::In>, X: Source, P: Address, D: Dest](r) {
        let mut at = r.operands();
        let address = P::get(&r, &mut at);
        let offset = at.u32();
        let Some(from) = bounded(&r, address, offset, L::SIZE) else {
            return trap(r, TrapCode::MemoryOutOfBounds);
        };
        let a = X::get::<O::In>(&r, &mut at);
        let to = D::slot(&mut at);
        match O::apply(a, L::load(from)) {
            Ok(value) => {
                D::put(&mut r, to, value);
                next(r.at(at.end()))
            }
            Err(code) => trap(r, code),
        }
    }

    /// A store.
    fn store[O: StoreOp, P: Address, V: Source](r) {
        let mut at = r.operands();
        let address = P::get(&r, &mut at);
        let offset = at.u32();
        match bounded(&r, address, offset, O::SIZE) {
            Some(to) => {
                let value = V::get::<O::In>(&r, &mut at);
                O::store(to, value);
                next(r.at(at.end()))
            }
            None => trap(r, TrapCode::MemoryOutOfBounds),
        }
    }

    /// A load from a memory that is an operand.
    fn load_far[O: LoadOp, R: Reach, D: Dest](r) {
        let mut at = r.operands();
        let from = reached::<R>(&r, &mut at, O::SIZE);
        let to = D::slot(&mut at);
        match from {
            Some(from) => {
                D::put(&mut r, to, O::load(from));
                next(r.at(at.end()))
            }
            None => trap(r, TrapCode::MemoryOutOfBounds),
        }
    }

    /// A store to a memory that is an operand.
    fn store_far[O: StoreOp, R: Reach](r) {
        let mut at = r.operands();
        match reached::<R>(&r, &mut at, O::SIZE) {
            Some(to) => {
                let value = O::In::load(&r, at.slot());
                O::store(to, value);
                next(r.at(at.end()))
            }
            None => trap(r, TrapCode::MemoryOutOfBounds),
        }
    }

    /// Reads a global.
    fn global_get[T: Value, P: Place, D: Dest](r) {
        let mut at = r.operands();
        let from = P::get(&r, &mut at);
        let to = D::slot(&mut at);
        D::put(&mut r, to, from.cast::<T>().read());
        next(r.at(at.end()))
    }

    /// Writes a global.
    fn global_set[T: Value, P: Place, X: Source](r) {
        let mut at = r.operands();
        let to = P::get(&r, &mut at);
        let value = X::get::<T>(&r, &mut at);
        to.cast::<T>().write(value);
        next(r.at(at.end()))
    }
}

/// Where a global lies.
pub(crate) trait Place {
    /// Its address; the operand is an index among the globals of its kind.
    unsafe fn get(r: &Regs, at: &mut Operands) -> *mut u64;
}

/// In the context.
pub(crate) struct Own;
/// In a cell.
pub(crate) struct Imported;

impl Place for Own {
    #[inline(always)]
    unsafe fn get(r: &Regs, at: &mut Operands) -> *mut u64 {
        // SAFETY: the contract; globals follow the context.
        unsafe {
            let index = at.u32() as usize;
            r.ctx.0.byte_add(GLOBALS_OFFSET + index * GLOBAL_SIZE).cast::<u64>()
        }
    }
}

impl Place for Imported {
    #[inline(always)]
    unsafe fn get(r: &Regs, at: &mut Operands) -> *mut u64 {
        // SAFETY: the contract; the module imports this global.
        unsafe { (*(*r.ctx.0).imported_globals.add(at.u32() as usize)).cast::<u64>() }
    }
}

/// The slot's value as an address, for instructions that take all operands from slots.
#[inline(always)]
pub(crate) unsafe fn address(r: &Regs, slot: Slot) -> u32 {
    // SAFETY: the contract.
    unsafe { u32::load(r, slot) }
}
