//! Vectors: instructions that take them from slots and leave them there.
//!
//! A vector lies in two slots, its low eight bytes in the first, and so at an address of which only 8 is known to be a divisor.

use super::lanes::{
    self, Lane, Vector, VectorBinary, VectorExtract, VectorLoad, VectorReplace, VectorShift,
    VectorSplat, VectorTernary, VectorTest, VectorUnary,
};
use super::{Dest, Place, Reach, Source, Value, reached, trap};
use crate::interp::dispatch::{Operands, Regs, handler, next};
use updraft_jit::abi::TrapCode;

/// The next operand, a vector.
#[inline(always)]
unsafe fn vector(r: &Regs, at: &mut Operands) -> Vector {
    // SAFETY: the contract; a vector has two slots.
    unsafe { r.fp.at(at.slot()).cast::<Vector>().read_unaligned() }
}

/// Writes a vector to the slots that the next operand names.
#[inline(always)]
unsafe fn put(r: &Regs, at: &mut Operands, value: Vector) {
    // SAFETY: the contract; a vector has two slots.
    unsafe { r.fp.at(at.slot()).cast::<Vector>().write_unaligned(value) }
}

handler! {
    /// `op a`.
    fn vector_unary[O: VectorUnary<T>, T](r) {
        let mut at = r.operands();
        let a = vector(&r, &mut at);
        put(&r, &mut at, O::apply(a));
        next(r.at(at.end()))
    }

    /// `a op b`.
    fn vector_binary[O: VectorBinary<T>, T](r) {
        let mut at = r.operands();
        let a = vector(&r, &mut at);
        let b = vector(&r, &mut at);
        put(&r, &mut at, O::apply(a, b));
        next(r.at(at.end()))
    }

    /// Three vectors to one.
    fn vector_ternary[O: VectorTernary<T>, T](r) {
        let mut at = r.operands();
        let a = vector(&r, &mut at);
        let b = vector(&r, &mut at);
        let c = vector(&r, &mut at);
        put(&r, &mut at, O::apply(a, b, c));
        next(r.at(at.end()))
    }

    /// All lanes shifted: vector, number of bits.
    fn vector_shift[O: VectorShift<T>, T](r) {
        let mut at = r.operands();
        let a = vector(&r, &mut at);
        let by = u32::load(&r, at.slot());
        put(&r, &mut at, O::apply(a, by));
        next(r.at(at.end()))
    }

    /// A scalar in all lanes.
    fn vector_splat[O: VectorSplat<T>, T: Lane](r) {
        let mut at = r.operands();
        let value = T::Scalar::load(&r, at.slot());
        put(&r, &mut at, O::apply(T::from_scalar(value)));
        next(r.at(at.end()))
    }

    /// What a vector is like.
    fn vector_test[O: VectorTest<T>, T, D: Dest](r) {
        let mut at = r.operands();
        let value = O::apply(vector(&r, &mut at));
        let to = D::slot(&mut at);
        D::put(&mut r, to, value);
        next(r.at(at.end()))
    }

    /// A lane: vector, number.
    fn vector_extract[O: VectorExtract<T>, T: Lane, D: Dest](r) {
        let mut at = r.operands();
        let a = vector(&r, &mut at);
        let value = O::apply(a, at.u16()).to_scalar();
        let to = D::slot(&mut at);
        D::put(&mut r, to, value);
        next(r.at(at.end()))
    }

    /// Another value for one lane: vector, scalar, number.
    fn vector_replace[O: VectorReplace<T>, T: Lane](r) {
        let mut at = r.operands();
        let a = vector(&r, &mut at);
        let value = T::from_scalar(T::Scalar::load(&r, at.slot()));
        let lane = at.u16();
        put(&r, &mut at, O::apply(a, value, lane));
        next(r.at(at.end()))
    }

    /// Bytes of two vectors: vectors, low and high half of the bytes' numbers.
    fn shuffle[](r) {
        let mut at = r.operands();
        let a = vector(&r, &mut at);
        let b = vector(&r, &mut at);
        let numbers = lanes::join([at.u64(), at.u64()]);
        put(&r, &mut at, lanes::shuffle(a, b, numbers));
        next(r.at(at.end()))
    }

    /// A copy.
    fn move_vector[](r) {
        let mut at = r.operands();
        let value = vector(&r, &mut at);
        put(&r, &mut at, value);
        next(r.at(at.end()))
    }

    /// `condition ? a : b`; operands in this order.
    fn select_vector[C: Source](r) {
        let mut at = r.operands();
        let condition = C::get::<u32>(&r, &mut at);
        let (a, b) = (at.slot(), at.slot());
        let from = if condition != 0 { a } else { b };
        let value = r.fp.at(from).cast::<Vector>().read_unaligned();
        put(&r, &mut at, value);
        next(r.at(at.end()))
    }

    /// Reads a global.
    fn global_get_vector[P: Place](r) {
        let mut at = r.operands();
        let value = P::get(&r, &mut at).cast::<Vector>().read_unaligned();
        put(&r, &mut at, value);
        next(r.at(at.end()))
    }

    /// Writes a global.
    fn global_set_vector[P: Place](r) {
        let mut at = r.operands();
        let to = P::get(&r, &mut at);
        let value = vector(&r, &mut at);
        to.cast::<Vector>().write_unaligned(value);
        next(r.at(at.end()))
    }

    /// A load: memory, address, offset.
    fn vector_load[O: VectorLoad, R: Reach](r) {
        let mut at = r.operands();
        match reached::<R>(&r, &mut at, O::SIZE) {
            Some(from) => {
                let value = O::load(from);
                put(&r, &mut at, value);
                next(r.at(at.end()))
            }
            None => trap(r, TrapCode::MemoryOutOfBounds),
        }
    }

    /// A load of one lane: memory, address, offset, vector, number.
    fn vector_load_lane[T: lanes::Plain, R: Reach](r) {
        let mut at = r.operands();
        match reached::<R>(&r, &mut at, size_of::<T>()) {
            Some(from) => {
                let value = from.cast::<T>().read_unaligned();
                let a = vector(&r, &mut at);
                let lane = at.u16();
                put(&r, &mut at, lanes::replace(a, lane, value));
                next(r.at(at.end()))
            }
            None => trap(r, TrapCode::MemoryOutOfBounds),
        }
    }

    /// A store: memory, address, offset, vector.
    fn vector_store[T: lanes::Plain, R: Reach](r) {
        let mut at = r.operands();
        match reached::<R>(&r, &mut at, size_of::<T>()) {
            Some(to) => {
                let a = vector(&r, &mut at);
                to.cast::<T>().write_unaligned(lanes::extract(a, 0));
                next(r.at(at.end()))
            }
            None => trap(r, TrapCode::MemoryOutOfBounds),
        }
    }

    /// A store of one lane: memory, address, offset, vector, number.
    fn vector_store_lane[T: lanes::Plain, R: Reach](r) {
        let mut at = r.operands();
        match reached::<R>(&r, &mut at, size_of::<T>()) {
            Some(to) => {
                let a = vector(&r, &mut at);
                to.cast::<T>().write_unaligned(lanes::extract(a, at.u16()));
                next(r.at(at.end()))
            }
            None => trap(r, TrapCode::MemoryOutOfBounds),
        }
    }
}
