//! What instructions take in of those before them.

use super::Translator;
use super::control::Condition;
use super::values::{Pending, Src, Value};
use crate::interp::dispatch::Slot;
use crate::interp::encode::{Args, Position};
use crate::interp::isa::{
    self, AddressForm, Binary, Form, Load, LoadBinary, Op, Product, Shape, Shifted, Ty,
};

/// What a pending instruction is, as far as others can take it in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fuse {
    /// Nothing special.
    None,
    /// A comparison, whose result is wanted as it is or negated.
    Compare { op: Binary, lhs: Src, rhs: Src, sense: bool },
    /// Whether a value is zero.
    Zero { wide: bool, src: Src },
    /// An `i32.add`.
    Add { lhs: Src, rhs: Src },
    /// A value shifted by a constant.
    Shift { op: Binary, value: Src, by: u16 },
    /// The sum of a value and one shifted to the left.
    ShiftAdd { value: Src, shifted: Src, by: u16 },
    /// A product of floats.
    Mul { lhs: Src, rhs: Src },
    /// A load from memory 0.
    Load { op: Load, address: Address, offset: u32 },
}

impl Fuse {
    /// What others can make of an operator with these operands.
    pub(super) fn of_binary(op: Binary, lhs: Src, rhs: Src) -> Fuse {
        use Binary as B;
        match (op, rhs) {
            _ if op.shape() == Shape::Compares => Fuse::Compare { op, lhs, rhs, sense: true },
            (B::I32Add, _) => Fuse::Add { lhs, rhs },
            (B::F32Mul | B::F64Mul, Src::Slot(_) | Src::Acc) => Fuse::Mul { lhs, rhs },
            (
                B::I32Shl | B::I32ShrU | B::I32Rotl | B::I64Shl | B::I64ShrU | B::I64Rotl,
                Src::Imm(by),
            ) if !matches!(lhs, Src::Imm(_)) => {
                let bits = if op.ty() == Ty::I32 { 32 } else { 64 };
                Fuse::Shift { op, value: lhs, by: (by % bits) as u16 }
            }
            _ => Fuse::None,
        }
    }

    /// Whether the result is to be negated before anybody else sees it.
    pub(super) fn is_negated(self) -> bool {
        matches!(self, Fuse::Compare { sense: false, .. })
    }
}

/// An address as an instruction makes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Address {
    One(Src),
    Sum(Src, Src),
    /// The first, plus the second shifted to the left.
    Shifted(Src, Src, u16),
}

impl Address {
    pub(super) fn uses_acc(self) -> bool {
        match self {
            Address::One(src) => src == Src::Acc,
            Address::Sum(a, b) | Address::Shifted(a, b, _) => a == Src::Acc || b == Src::Acc,
        }
    }

    pub(super) fn encode(self, args: Args) -> (AddressForm, Args) {
        match self {
            Address::One(src) => {
                let form = match src {
                    Src::Slot(_) => AddressForm::Slot,
                    Src::Acc => AddressForm::Acc,
                    Src::Imm(_) => AddressForm::Imm,
                };
                (form, src.encode(args, Ty::I32))
            }
            Address::Sum(lhs, rhs) => {
                // The accumulator first, a constant last.
                let (a, b) = match (lhs, rhs) {
                    (Src::Slot(_), Src::Acc) | (Src::Imm(_), _) => (rhs, lhs),
                    other => other,
                };
                let form = match (a, b) {
                    (Src::Slot(_), Src::Slot(_)) => AddressForm::SlotSlot,
                    (Src::Acc, Src::Slot(_)) => AddressForm::AccSlot,
                    (Src::Slot(_), Src::Imm(_)) => AddressForm::SlotImm,
                    (Src::Acc, Src::Imm(_)) => AddressForm::AccImm,
                    _ => unreachable!("additions have at most one constant and one accumulator"),
                };
                (form, b.encode(a.encode(args, Ty::I32), Ty::I32))
            }
            Address::Shifted(value, shifted, by) => {
                let form = match shifted {
                    Src::Acc => AddressForm::AccShifted,
                    _ => AddressForm::SlotShifted,
                };
                let args = value.encode(shifted.encode(args, Ty::I32), Ty::I32);
                (form, args.u16(by))
            }
        }
    }
}

/// An addition to a slot that was emitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The instruction, and where the next one begins.
    position: Position,
    end: Position,
    slot: Slot,
    /// What was added.
    addend: Src,
}

impl Translator {
    /// Makes the pending comparison its negation, if that is what is on top.
    pub(super) fn negate(&mut self) -> bool {
        if !self.top_is_pending() {
            return false;
        }
        let Some(Pending { fuse: Fuse::Compare { op, lhs, rhs, sense }, .. }) = &mut self.pending
        else {
            return false;
        };
        let (lhs, rhs) = (*lhs, *rhs);
        if let Some(negated) = op.negated() {
            self.pending = None;
            self.pop();
            self.binary_of(negated, lhs, rhs);
        } else {
            *sense = !*sense;
        }
        true
    }

    /// Pops an address; a pending addition is taken in.
    pub(super) fn pop_address(&mut self) -> Address {
        if self.top_is_pending() {
            let address = match self.pending.map(|pending| pending.fuse) {
                Some(Fuse::Add { lhs, rhs }) => Some(Address::Sum(lhs, rhs)),
                Some(Fuse::ShiftAdd { value: value @ Src::Slot(_), shifted, by }) => {
                    Some(Address::Shifted(value, shifted, by))
                }
                _ => None,
            };
            if let Some(address) = address {
                self.pending = None;
                self.pop();
                return address;
            }
        }
        Address::One(self.pop1())
    }

    /// An operator that takes in what makes one of its operands. Nothing is emitted for the operands, so the other one must
    /// be there already.
    pub(super) fn fuse_binary(&mut self, op: Binary) -> bool {
        let Some(pending) = self.pending else { return false };
        let top = self.stack.len() - 1;
        // The operand that is not pending, and where it is.
        let (other, pending_is_rhs) = match pending.index {
            index if index == top => (top - 1, true),
            index if index + 1 == top => (top, false),
            _ => return false,
        };
        let entry = self.stack[other];
        if matches!(entry.value, Value::Const(_)) {
            return false;
        }
        let slot = match entry.value {
            Value::Local(slot) => slot,
            _ => self.slot(other),
        };
        let commutes = op.shape() == Shape::Commutes;
        // Where the other one comes from, if the pending instruction does or does not take the accumulator itself.
        let src = |taken: bool| if taken { Src::Slot(slot) } else { self.resolve(entry, other) };
        let ty = op.ty();
        let (instruction, args, fuse, offset) = match pending.fuse {
            Fuse::Load { op: load, address, offset } if pending_is_rhs || commutes => {
                let Some(fused) = LoadBinary::of(op, load) else { return false };
                let lhs = src(matches!(ty, Ty::I32 | Ty::I64) && address.uses_acc());
                let (form, args) = address.encode(Args::NONE);
                let args = lhs.encode(args.u32(offset), ty);
                (isa::load_binary(fused, lhs.form(), form), args, Fuse::None, pending.offset)
            }
            Fuse::Shift { op: shift, value, by } if commutes => {
                let Some(fused) = Shifted::of(op, shift) else { return false };
                let a = src(value == Src::Acc);
                let args = value.encode(a.encode(Args::NONE, ty), ty).u16(by);
                let fuse = match fused {
                    Shifted::I32AddShl => Fuse::ShiftAdd { value: a, shifted: value, by },
                    _ => Fuse::None,
                };
                (isa::shifted(fused, a.form(), value.form()), args, fuse, self.offset)
            }
            Fuse::Mul { lhs, rhs } => {
                let Some(fused) = product(op, pending_is_rhs) else { return false };
                // The accumulator first, if it is in the product.
                let (a, b) = if rhs == Src::Acc { (rhs, lhs) } else { (lhs, rhs) };
                let c = src(a == Src::Acc);
                let forms = match (a, c) {
                    (Src::Acc, _) => 2,
                    (_, Src::Acc) => 1,
                    _ => 0,
                };
                let args = c.encode(b.encode(a.encode(Args::NONE, ty), ty), ty);
                (isa::product(fused, forms), args, Fuse::None, self.offset)
            }
            _ => return false,
        };
        let instruction = instruction.expect("one accumulator at most");
        self.pending = None;
        self.pop();
        self.pop();
        self.suspend(instruction, args, ty, fuse);
        if let Some(pending) = &mut self.pending {
            pending.offset = offset;
        }
        true
    }

    /// Remembers an addition to a slot: a branch may take it in.
    pub(super) fn note_step(&mut self, position: Position, fuse: Fuse, to: Slot) {
        let end = self.encoder.position();
        self.last_step = match fuse {
            Fuse::Add { lhs: Src::Slot(slot), rhs: addend @ (Src::Slot(_) | Src::Imm(_)) }
                if slot == to =>
            {
                Some(Step { position, end, slot, addend })
            }
            Fuse::Add { lhs: addend @ Src::Slot(_), rhs: Src::Slot(slot) } if slot == to => {
                Some(Step { position, end, slot, addend })
            }
            _ => None,
        };
    }

    /// A branch back on the sum that was computed just before, in one instruction with the addition.
    pub(super) fn step(&mut self, condition: Condition) -> Option<(Op, Args)> {
        let Step { position, end, slot, addend } = self.last_step.take()?;
        if end != self.encoder.position() {
            return None;
        }
        let (op, limit) = match condition {
            Condition::Compare { op, lhs: Src::Acc, rhs, sense: true } => (op, rhs),
            Condition::Compare { op, lhs, rhs: Src::Acc, sense: true } => (op.swapped(), lhs),
            Condition::NotZero { wide: false, src: Src::Acc } => (Binary::I32Ne, Src::Imm(0)),
            Condition::Zero { wide: false, src: Src::Acc } => (Binary::I32Eq, Src::Imm(0)),
            _ => return None,
        };
        let op = isa::step(op, addend.form(), limit.form())?;
        if limit == Src::Acc || addend.form() == Form::Acc || !self.encoder.take_back(position) {
            return None;
        }
        let args = addend.encode(Args::NONE.slot(slot), Ty::I32);
        Some((op, limit.encode(args, Ty::I32)))
    }
}

/// The instruction for an operator one of whose operands is a product.
fn product(op: Binary, product_is_rhs: bool) -> Option<Product> {
    match op {
        Binary::F32Add => Some(Product::F32MulAdd),
        Binary::F32Sub if product_is_rhs => Some(Product::F32MulFrom),
        Binary::F32Sub => Some(Product::F32MulSub),
        Binary::F32Mul => Some(Product::F32MulMul),
        Binary::F64Add => Some(Product::F64MulAdd),
        Binary::F64Sub if product_is_rhs => Some(Product::F64MulFrom),
        Binary::F64Sub => Some(Product::F64MulSub),
        Binary::F64Mul => Some(Product::F64MulMul),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_put_the_accumulator_first_and_a_constant_last() {
        let slot = Src::Slot(Slot(3));
        for (lhs, rhs, expected) in [
            (slot, slot, AddressForm::SlotSlot),
            (slot, Src::Acc, AddressForm::AccSlot),
            (Src::Acc, slot, AddressForm::AccSlot),
            (slot, Src::Imm(1), AddressForm::SlotImm),
            (Src::Acc, Src::Imm(1), AddressForm::AccImm),
        ] {
            assert_eq!(Address::Sum(lhs, rhs).encode(Args::NONE).0, expected);
        }
    }
}
