//! Atomic accesses: the machine's own, sequentially consistent.

use super::{Dest, Reach, Value, calls_out, fail, trap};
use crate::interp::dispatch::{Operands, Out, Regs, handler, next};
use crate::interp::outside::builtins;
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};
use std::sync::atomic::{Ordering::SeqCst, fence};
use updraft_jit::abi::TrapCode;

/// An atomic integer of the machine, for values of type `T`.
pub(crate) trait Cell<T> {
    /// Reads.
    unsafe fn load(at: *mut u8) -> T;
    /// Writes the low bits.
    unsafe fn store(at: *mut u8, value: T);
    /// Writes if the bits are those expected, which may not fit; returns what was there.
    unsafe fn exchange_if(at: *mut u8, expected: T, value: T) -> T;
}

/// A read-modify-write operator.
pub(crate) trait RmwOp<T, C> {
    /// Applies it; returns what was there.
    unsafe fn apply(at: *mut u8, value: T) -> T;
}

macro_rules! operators {
    ($($name:ident)*) => {$(pub(crate) struct $name;)*};
}
operators! { RmwAdd RmwSub RmwAnd RmwOr RmwXor RmwXchg }

macro_rules! cells {
    ($($value:ty: $($cell:ident $raw:ty),*;)*) => {$($(
        impl Cell<$value> for $cell {
            #[inline(always)]
            unsafe fn load(at: *mut u8) -> $value {
                // SAFETY: in bounds and aligned; other threads access the bytes atomically or take what they get.
                <$value>::from(unsafe { $cell::from_ptr(at.cast()) }.load(SeqCst))
            }
            #[inline(always)]
            unsafe fn store(at: *mut u8, value: $value) {
                // SAFETY: as above.
                unsafe { $cell::from_ptr(at.cast()) }.store(value as $raw, SeqCst);
            }
            #[inline(always)]
            unsafe fn exchange_if(at: *mut u8, expected: $value, value: $value) -> $value {
                // SAFETY: as above.
                let cell = unsafe { $cell::from_ptr(at.cast()) };
                let narrow = expected as $raw;
                if <$value>::from(narrow) != expected {
                    return <$value>::from(cell.load(SeqCst));
                }
                let (Ok(old) | Err(old)) = cell.compare_exchange(narrow, value as $raw, SeqCst, SeqCst);
                <$value>::from(old)
            }
        }
        cells!(@rmw $value, $cell, $raw: RmwAdd fetch_add, RmwSub fetch_sub, RmwAnd fetch_and, RmwOr fetch_or,
            RmwXor fetch_xor, RmwXchg swap);
    )*)*};
    (@rmw $value:ty, $cell:ident, $raw:ty: $($op:ident $method:ident),*) => {$(
        impl RmwOp<$value, $cell> for $op {
            #[inline(always)]
            unsafe fn apply(at: *mut u8, value: $value) -> $value {
                // SAFETY: as above.
                <$value>::from(unsafe { $cell::from_ptr(at.cast()) }.$method(value as $raw, SeqCst))
            }
        }
    )*};
}

cells! {
    u32: AtomicU8 u8, AtomicU16 u16, AtomicU32 u32;
    u64: AtomicU8 u8, AtomicU16 u16, AtomicU32 u32, AtomicU64 u64;
}

/// Reads the operands of an access to `size` bytes; their address, or why there is none.
#[inline(always)]
unsafe fn locate<R: Reach>(r: &Regs, at: &mut Operands, size: usize) -> Result<*mut u8, TrapCode> {
    // SAFETY: the contract; the range is in bounds where it is offered.
    unsafe {
        let (base, length, start) = R::find(r, at);
        let start = start.ok_or(TrapCode::MemoryOutOfBounds)?;
        if !start.is_multiple_of(size as u64) {
            return Err(TrapCode::UnalignedAtomic);
        }
        let fits = start.checked_add(size as u64).is_some_and(|end| end <= length.get());
        if fits { Ok(base.add(start as usize)) } else { Err(TrapCode::MemoryOutOfBounds) }
    }
}

/// Reads the operands of a call of the runtime: the memory's index, and where the access begins.
#[inline(always)]
unsafe fn waiting<R: Reach>(r: &Regs, at: &mut Operands) -> (u32, Option<u64>) {
    // SAFETY: the contract; the memory's index comes first.
    unsafe {
        let memory = { *at }.u32();
        (memory, R::find(r, at).2)
    }
}

/// Goes on with a result of the runtime, where negative means that a cause was recorded.
#[inline(always)]
unsafe fn finish<T: Value>(
    mut r: Regs,
    mut at: Operands,
    value: i64,
    convert: fn(i64) -> T,
) -> Out {
    // SAFETY: the contract.
    unsafe {
        if value < 0 {
            return fail(r);
        }
        let to = at.slot();
        super::ToSlot::put(&mut r, to, convert(value));
        next(r.at(at.end()))
    }
}

handler! {
    /// An atomic load.
    fn atomic_load[T: Value, C: Cell<T>, R: Reach, D: Dest](r) {
        let mut at = r.operands();
        let place = locate::<R>(&r, &mut at, size_of::<C>());
        let to = D::slot(&mut at);
        match place {
            Ok(place) => {
                D::put(&mut r, to, C::load(place));
                next(r.at(at.end()))
            }
            Err(code) => trap(r, code),
        }
    }

    /// An atomic store.
    fn atomic_store[T: Value, C: Cell<T>, R: Reach](r) {
        let mut at = r.operands();
        let place = locate::<R>(&r, &mut at, size_of::<C>());
        let value = T::load(&r, at.slot());
        match place {
            Ok(place) => {
                C::store(place, value);
                next(r.at(at.end()))
            }
            Err(code) => trap(r, code),
        }
    }

    /// An atomic read-modify-write.
    fn atomic_rmw[O: RmwOp<T, C>, T: Value, C: Cell<T>, R: Reach, D: Dest](r) {
        let mut at = r.operands();
        let place = locate::<R>(&r, &mut at, size_of::<C>());
        let value = T::load(&r, at.slot());
        let to = D::slot(&mut at);
        match place {
            Ok(place) => {
                D::put(&mut r, to, O::apply(place, value));
                next(r.at(at.end()))
            }
            Err(code) => trap(r, code),
        }
    }

    /// An atomic compare-exchange: address, expected, replacement.
    fn atomic_cmpxchg[T: Value, C: Cell<T>, R: Reach, D: Dest](r) {
        let mut at = r.operands();
        let place = locate::<R>(&r, &mut at, size_of::<C>());
        let expected = T::load(&r, at.slot());
        let value = T::load(&r, at.slot());
        let to = D::slot(&mut at);
        match place {
            Ok(place) => {
                D::put(&mut r, to, C::exchange_if(place, expected, value));
                next(r.at(at.end()))
            }
            Err(code) => trap(r, code),
        }
    }

    /// `atomic.fence`.
    fn atomic_fence[](r) {
        fence(SeqCst);
        next(r.at(r.operands().end()))
    }

    /// `memory.atomic.notify`: memory, address, offset, count, slots of the frame.
    fn atomic_notify[R: Reach](r) {
        let mut at = r.operands();
        let (memory, start) = waiting::<R>(&r, &mut at);
        let Some(start) = start else { return trap(r, TrapCode::MemoryOutOfBounds) };
        let count = u32::load(&r, at.slot());
        calls_out(&r, u32::from(at.slot().0));
        let woken = builtins::atomic_notify(r.ctx.0, memory, start, count);
        finish(r, at, woken, |woken| woken as u32)
    }

    /// `memory.atomic.wait32`: memory, address, offset, expected, timeout, slots of the frame.
    fn atomic_wait32[R: Reach](r) {
        let mut at = r.operands();
        let (memory, start) = waiting::<R>(&r, &mut at);
        let Some(start) = start else { return trap(r, TrapCode::MemoryOutOfBounds) };
        let expected = u32::load(&r, at.slot());
        let timeout = u64::load(&r, at.slot()) as i64;
        calls_out(&r, u32::from(at.slot().0));
        let outcome = builtins::atomic_wait32(r.ctx.0, memory, start, expected, timeout);
        finish(r, at, outcome, |outcome| outcome as u32)
    }

    /// `memory.atomic.wait64`, likewise.
    fn atomic_wait64[R: Reach](r) {
        let mut at = r.operands();
        let (memory, start) = waiting::<R>(&r, &mut at);
        let Some(start) = start else { return trap(r, TrapCode::MemoryOutOfBounds) };
        let expected = u64::load(&r, at.slot());
        let timeout = u64::load(&r, at.slot()) as i64;
        calls_out(&r, u32::from(at.slot().0));
        let outcome = builtins::atomic_wait64(r.ctx.0, memory, start, expected, timeout);
        finish(r, at, outcome, |outcome| outcome as u32)
    }
}
