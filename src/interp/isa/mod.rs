//! The instruction set: what the build script made of [`table`], and the vocabulary around it.

use wasmparser::MemArg;

#[allow(dead_code, reason = "the build script reads the tables, this crate the types")]
mod table;

pub(crate) use table::{Operand, Shape, Ty, VectorKind};

/// What the build script made.
#[allow(
    clippy::enum_variant_names,
    clippy::erasing_op,
    clippy::identity_op,
    reason = "a generator needs no shortcuts"
)]
mod generated {
    use super::{AddressForm, Class, Form, Operand, Plain, Reach, Shape, Ty, VectorKind, Way};
    use crate::interp::dispatch::Handler;
    use crate::interp::handlers;
    use wasmparser::Operator;

    include!(concat!(env!("OUT_DIR"), "/isa.rs"));
}

use super::dispatch::Handler;
pub(crate) use generated::*;

impl Op {
    fn from_cell(cell: u16) -> Option<Op> {
        if usize::from(cell) >= COUNT {
            return None;
        }
        // SAFETY: `Op` is a `repr(u16)` enumeration of `COUNT` variants, numbered from 0.
        Some(unsafe { std::mem::transmute::<u16, Op>(cell) })
    }

    /// Of an instruction whose result goes to the accumulator alone, the one whose result goes to a slot, too.
    pub(crate) fn to_slot(self) -> Op {
        debug_assert!(self.operands().last() == Some(&Operand::ToAcc));
        Op::from_cell(self as u16 + 1).expect("the two forms follow each other in the table")
    }

    /// The name, as the printer shows it.
    pub(crate) fn name(self) -> &'static str {
        let index = self as usize;
        let start = index.checked_sub(1).map_or(0, |before| NAME_ENDS[before]);
        &NAMES[start as usize..NAME_ENDS[index] as usize]
    }

    /// The operands, in order.
    pub(crate) fn operands(self) -> &'static [Operand] {
        let start = OPERAND_STARTS[self as usize] as usize;
        &OPERANDS[start..start + usize::from(OPERAND_COUNTS[self as usize])]
    }

    /// Bytes of the operands.
    pub(crate) fn operand_bytes(self) -> usize {
        usize::from(SIZES[self as usize])
    }

    /// What the dispatcher enters for it.
    pub(crate) fn handler(self) -> Handler {
        HANDLERS[self as usize]
    }
}

/// Where an operand of an instruction comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// A slot.
    Slot,
    /// The accumulator.
    Acc,
    /// The instruction itself.
    Imm,
}

/// How an instruction makes an address. Sums wrap at 32 bits, as the `i32.add` does that they stand for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AddressForm {
    /// A slot.
    Slot,
    /// The accumulator.
    Acc,
    /// Slot plus slot.
    SlotSlot,
    /// Accumulator plus slot.
    AccSlot,
    /// Slot plus constant.
    SlotImm,
    /// Accumulator plus constant.
    AccImm,
    /// A constant.
    Imm,
    /// Slot, plus slot shifted left.
    SlotShifted,
    /// Slot, plus accumulator shifted left.
    AccShifted,
}

/// How an access finds its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Memory 0, of 32-bit addresses.
    Near,
    /// Any memory of 32-bit addresses.
    Far,
    /// Any memory of 64-bit addresses.
    Wide,
}

/// Which way a branch goes. Branches back close loops and spend budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Out of a block.
    Forward,
    /// To the header of a loop.
    Back,
}

/// Which accumulator a value uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// Integers and references.
    Int,
    /// `f32`.
    F32,
    /// `f64`.
    F64,
}

impl Class {
    /// Number of classes.
    pub(crate) const COUNT: usize = 3;
}

impl Ty {
    /// The accumulator of this type.
    pub(crate) const fn class(self) -> Class {
        match self {
            Ty::I32 | Ty::I64 | Ty::V128 => Class::Int,
            Ty::F32 => Class::F32,
            Ty::F64 => Class::F64,
        }
    }
}

/// An operator whose family has one row per operator.
pub(crate) enum Plain<'a> {
    /// Two operands.
    Binary(Binary),
    /// One operand.
    Unary(Unary),
    /// A plain load.
    Load(Load, &'a MemArg),
    /// A plain store.
    Store(Store, &'a MemArg),
    /// An atomic load.
    AtomicLoad(Atomic, &'a MemArg),
    /// An atomic store.
    AtomicStore(Atomic, &'a MemArg),
    /// An atomic read-modify-write.
    AtomicRmw(Rmw, Atomic, &'a MemArg),
    /// An atomic compare-exchange.
    AtomicCmpxchg(Atomic, &'a MemArg),
    /// An operator on vectors: what it takes and gives, type of the scalar if there is one, number of the lane.
    Vector(VectorKind, Ty, Op, u8),
    /// A load or store of a vector or a lane, and which lane.
    VectorAccess(VectorAccess, &'a MemArg, u8),
    /// None of these.
    Other,
}
