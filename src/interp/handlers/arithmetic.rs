//! Arithmetic, copies and choices.

use super::{Binary, Dest, Product, Source, ToSlot, Unary, Value, trap};
use crate::interp::dispatch::{handler, next};

handler! {
    /// `a op b`.
    fn binary[O: Binary, L: Source, R: Source, D: Dest](r) {
        let mut at = r.operands();
        let a = L::get::<O::In>(&r, &mut at);
        let b = R::get::<O::In>(&r, &mut at);
        let to = D::slot(&mut at);
        match O::apply(a, b) {
            Ok(value) => {
                D::put(&mut r, to, value);
                next(r.at(at.end()))
            }
            Err(code) => trap(r, code),
        }
    }

    /// `op a`.
    fn unary[O: Unary, X: Source, D: Dest](r) {
        let mut at = r.operands();
        let a = X::get::<O::In>(&r, &mut at);
        let to = D::slot(&mut at);
        match O::apply(a) {
            Ok(value) => {
                D::put(&mut r, to, value);
                next(r.at(at.end()))
            }
            Err(code) => trap(r, code),
        }
    }

    /// `a outer (b inner by)`: a, b, by.
    fn shifted[O: Binary, N: Binary<In = O::In, Out = O::In>, X: Source, Y: Source, D: Dest](r) {
        let mut at = r.operands();
        let a = X::get::<O::In>(&r, &mut at);
        let b = Y::get::<O::In>(&r, &mut at);
        let by = O::In::small(at.u16());
        let to = D::slot(&mut at);
        let value = N::apply(b, by).and_then(|b| O::apply(a, b));
        match value {
            Ok(value) => {
                D::put(&mut r, to, value);
                next(r.at(at.end()))
            }
            Err(code) => trap(r, code),
        }
    }

    /// What is made of `a * b` and `c`.
    fn product[O: Product, X: Source, Y: Source, Z: Source, D: Dest](r) {
        let mut at = r.operands();
        let a = X::get::<O::In>(&r, &mut at);
        let b = Y::get::<O::In>(&r, &mut at);
        let c = Z::get::<O::In>(&r, &mut at);
        let to = D::slot(&mut at);
        D::put(&mut r, to, O::apply(a, b, c));
        next(r.at(at.end()))
    }

    /// A copy that sets the accumulator.
    fn copy[T: Value, X: Source, D: Dest](r) {
        let mut at = r.operands();
        let value = X::get::<T>(&r, &mut at);
        let to = D::slot(&mut at);
        D::put(&mut r, to, value);
        next(r.at(at.end()))
    }

    /// `condition ? a : b`; operands in this order.
    fn select[T: Value, C: Source, D: Dest](r) {
        let mut at = r.operands();
        let condition = C::get::<u32>(&r, &mut at);
        let (a, b) = (at.slot(), at.slot());
        let to = D::slot(&mut at);
        let value = T::load(&r, if condition != 0 { a } else { b });
        D::put(&mut r, to, value);
        next(r.at(at.end()))
    }

    /// A copy from slot to slot that leaves the accumulators alone.
    fn move_value[T: Value](r) {
        let mut at = r.operands();
        let (from, to) = (at.slot(), at.slot());
        T::load(&r, from).store(&r, to);
        next(r.at(at.end()))
    }

    /// Two copies, one after the other; the accumulator is set by the second.
    fn copy_twice[](r) {
        let mut at = r.operands();
        let (from, to) = (at.slot(), at.slot());
        let value: u64 = r.fp.get(from);
        *r.fp.at(to) = value;
        let (from, to) = (at.slot(), at.slot());
        let value: u64 = r.fp.get(from);
        ToSlot::put(&mut r, to, value);
        next(r.at(at.end()))
    }

    /// A constant to a slot, leaving the accumulators alone.
    fn move_imm[T: Value](r) {
        let mut at = r.operands();
        let value = if size_of::<T>() == 8 { at.u64() } else { u64::from(at.u32()) };
        let to = at.slot();
        *r.fp.at(to) = value;
        next(r.at(at.end()))
    }

    /// Copies a run of slots downwards: from, to, count.
    fn move_many[](r) {
        let mut at = r.operands();
        let (from, to, count) = (at.slot(), at.slot(), at.u16());
        std::ptr::copy(r.fp.at(from), r.fp.at(to), usize::from(count));
        next(r.at(at.end()))
    }
}

impl Source for super::I64 {
    #[inline(always)]
    unsafe fn get<T: Value>(
        _: &crate::interp::dispatch::Regs,
        at: &mut crate::interp::dispatch::Operands,
    ) -> T {
        const { assert!(size_of::<T>() == 8) };
        // SAFETY: the contract; the sizes are equal and both are plain bits.
        unsafe { std::mem::transmute_copy(&at.u64()) }
    }
}
