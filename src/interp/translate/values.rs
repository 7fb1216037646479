//! Where operands are: the stack of the translation, the pending instruction, and what the accumulators hold.
//!
//! Invariants:
//! * The pending instruction reads locals, slots at or above its own index, and accumulators that nothing has changed. So
//!   moves to slots below its index, if they leave the accumulators alone, may be emitted before it.
//! * An accumulator "mirrors" a slot while both hold the same value. Labels forget mirrors.
//! * Above `clean`, entries may stand for locals or constants; below, they are in their slots.

use super::Translator;
use super::fuse::Fuse;
use crate::interp::dispatch::Slot;
use crate::interp::encode::{Args, Position};
use crate::interp::isa::{self, Class, Form, Op, Ty};

/// An operand on the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) ty: Ty,
    pub(super) value: Value,
}

/// Where its value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    /// In the operand's own slot.
    Place,
    /// In a local, which has not been written since.
    Local(Slot),
    /// It is this constant; narrow types in the low bits.
    Const(u64),
    /// It will be the result of the pending instruction.
    Pending,
}

/// Where an instruction takes an operand from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Src {
    Slot(Slot),
    Acc,
    Imm(u64),
}

impl Src {
    pub(super) fn form(self) -> Form {
        match self {
            Src::Slot(_) => Form::Slot,
            Src::Acc => Form::Acc,
            Src::Imm(_) => Form::Imm,
        }
    }

    /// Appends the operand. An immediate has to fit.
    pub(super) fn encode(self, args: Args, ty: Ty) -> Args {
        match self {
            Src::Slot(slot) => args.slot(slot),
            Src::Acc => args,
            Src::Imm(value) => match ty {
                Ty::I32 | Ty::I64 | Ty::F32 | Ty::V128 => args.u32(value as u32),
                Ty::F64 => args.u64(value),
            },
        }
    }
}

/// Whether an instruction can hold a constant: 64-bit integers are there as 32 bits, sign-extended.
pub(super) fn fits(ty: Ty, value: u64) -> bool {
    ty != Ty::I64 || i64::from(value as i32) as u64 == value
}

/// Where an instruction puts a vector, as long as nothing follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct VectorResult {
    /// The operand that names the slot.
    pub(super) field: Position,
    /// Where the next instruction begins.
    pub(super) end: Position,
    /// The slot.
    pub(super) slot: Slot,
}

/// A copy from slot to slot that was emitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotCopy {
    /// The instruction, and where the next one begins.
    position: Position,
    end: Position,
    /// Its operands.
    args: Args,
}

/// Whether the accumulator is zero.
const NOT_ACC: Op = Op::I32Eqz_a_a;

/// The instruction that has not been emitted yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// The form whose result goes to the accumulator alone.
    pub(super) op: Op,
    /// The operands but the destination.
    args: Args,
    /// Type of the result.
    ty: Ty,
    /// Offset of the operator in the module.
    pub(super) offset: u32,
    /// Index of the result on the stack.
    pub(super) index: usize,
    /// What the taker may make of it.
    pub(super) fuse: Fuse,
}

impl Translator {
    /// The slot of the operand at this height.
    pub(super) fn slot(&self, index: usize) -> Slot {
        // A frame that outgrows 16 bits is refused at the end.
        Slot((self.base + index) as u16)
    }

    /// Appends an instruction.
    pub(super) fn emit(&mut self, op: Op, args: Args) -> Position {
        debug_assert!(self.pending.is_none(), "{} overtakes the pending instruction", op.name());
        self.encoder.emit(op, &args, self.offset)
    }

    /// Pushes an operand.
    pub(super) fn push(&mut self, ty: Ty, value: Value) {
        if let Value::Local(local) = value {
            self.uses[usize::from(local.0)] += 1;
        }
        self.stack.push(Entry { ty, value });
        self.max_height = self.max_height.max(self.stack.len());
    }

    /// Pops an operand as it is.
    pub(super) fn pop(&mut self) -> Entry {
        let entry = self.stack.pop().expect("the body is validated");
        if let Value::Local(local) = entry.value {
            self.uses[usize::from(local.0)] -= 1;
        }
        self.clean = self.clean.min(self.stack.len());
        entry
    }

    /// The accumulator of this class agrees with a slot that was just written, and no other does.
    pub(super) fn mirror(&mut self, class: Class, slot: Slot) {
        self.written(slot);
        self.mirrors[class as usize] = Some(slot);
    }

    /// A slot was written, the accumulators were not.
    pub(super) fn written(&mut self, slot: Slot) {
        for mirror in &mut self.mirrors {
            if *mirror == Some(slot) {
                *mirror = None;
            }
        }
    }

    /// Nothing is known of the accumulators.
    pub(super) fn forget(&mut self) {
        self.mirrors = [None; Class::COUNT];
    }

    /// Makes an instruction the pending one, and its result the top of the stack.
    pub(super) fn suspend(&mut self, op: Op, args: Args, ty: Ty, fuse: Fuse) {
        debug_assert!(self.pending.is_none());
        let index = self.stack.len();
        self.pending = Some(Pending { op, args, ty, offset: self.offset, index, fuse });
        self.push(ty, Value::Pending);
    }

    /// Emits the pending instruction with its result in the accumulator alone: for a taker that follows at once.
    pub(super) fn emit_to_acc(&mut self) {
        if let Some(Pending { op, args, ty, offset, fuse, .. }) = self.pending.take() {
            self.encoder.emit(op, &args, offset);
            if fuse.is_negated() {
                self.encoder.emit(NOT_ACC, &Args::NONE, offset);
            }
            self.mirrors[ty.class() as usize] = None;
        }
    }

    /// Emits the pending instruction with its result in a slot.
    pub(super) fn emit_to_slot(&mut self, slot: Slot) {
        if let Some(Pending { op, args, ty, offset, fuse, .. }) = self.pending.take() {
            if fuse.is_negated() {
                self.encoder.emit(op, &args, offset);
                self.encoder.emit(NOT_ACC.to_slot(), &Args::NONE.slot(slot), offset);
            } else {
                let position = self.encoder.emit(op.to_slot(), &args.slot(slot), offset);
                self.note_step(position, fuse, slot);
            }
            self.mirror(ty.class(), slot);
        }
    }

    /// Emits the pending instruction, if there is one, with its result in the operand's slot.
    pub(super) fn flush(&mut self) {
        if let Some(Pending { index, .. }) = self.pending {
            self.emit_to_slot(self.slot(index));
            self.stack[index].value = Value::Place;
        }
    }

    /// Whether the top of the stack is the pending instruction's result.
    pub(super) fn top_is_pending(&self) -> bool {
        self.pending.is_some_and(|pending| pending.index + 1 == self.stack.len())
    }

    /// Where the operand that was at `index` is now.
    pub(super) fn resolve(&self, entry: Entry, index: usize) -> Src {
        let slot = match entry.value {
            Value::Const(value) => return Src::Imm(value),
            Value::Pending => return Src::Acc,
            Value::Local(slot) => slot,
            Value::Place => self.slot(index),
        };
        if self.mirrors[entry.ty.class() as usize] == Some(slot) {
            Src::Acc
        } else {
            Src::Slot(slot)
        }
    }

    /// Pops one operand. Nothing is pending after that.
    pub(super) fn pop1(&mut self) -> Src {
        if self.top_is_pending() {
            self.emit_to_acc();
        } else {
            self.flush();
        }
        let entry = self.pop();
        self.resolve(entry, self.stack.len())
    }

    /// Pops two operands of one class, at most one of them from the accumulator. Nothing is pending after that.
    pub(super) fn pop2(&mut self) -> (Src, Src) {
        if self.pending.is_some_and(|pending| pending.index + 2 >= self.stack.len()) {
            self.emit_to_acc();
        } else {
            self.flush();
        }
        let b = self.pop();
        let a = self.pop();
        let index = self.stack.len();
        let rhs = self.resolve(b, index + 1);
        let mut lhs = self.resolve(a, index);
        if rhs == Src::Acc && lhs == Src::Acc {
            // Both stand for the slot that the accumulator mirrors.
            lhs = match a.value {
                Value::Local(slot) => Src::Slot(slot),
                _ => Src::Slot(self.slot(index)),
            };
        }
        (lhs, rhs)
    }

    /// Pops an operand into a slot: its own, or the local's that it stands for.
    pub(super) fn pop_slot(&mut self) -> Slot {
        let place = self.slot(self.stack.len() - 1);
        self.flush();
        let entry = self.pop();
        match entry.value {
            Value::Local(slot) => slot,
            Value::Const(value) => {
                self.move_constant(value, place);
                place
            }
            Value::Place | Value::Pending => place,
        }
    }

    /// A constant operand that cannot be in the instruction: in the accumulator, or in the operand's slot if the other
    /// operand is in the accumulator.
    pub(super) fn constant_operand(&mut self, ty: Ty, value: u64, other: Src, index: usize) -> Src {
        if other == Src::Acc {
            let slot = self.slot(index);
            self.move_constant(value, slot);
            Src::Slot(slot)
        } else {
            self.copy_constant(ty, value, None);
            Src::Acc
        }
    }

    /// A constant to the accumulator, and to a slot if one is named.
    pub(super) fn copy_constant(&mut self, ty: Ty, value: u64, to: Option<Slot>) {
        let (op, args) = if fits(ty, value) {
            (isa::copy(ty.class(), Form::Imm), Src::Imm(value).encode(Args::NONE, ty))
        } else {
            (isa::copy_wide(), Args::NONE.u64(value))
        };
        self.copy_to(op.expect("constants of all classes exist"), args, ty.class(), to);
    }

    fn copy_to(&mut self, op: Op, args: Args, class: Class, to: Option<Slot>) {
        match to {
            Some(slot) => {
                self.emit(op.to_slot(), args.slot(slot));
                self.mirror(class, slot);
            }
            None => {
                self.emit(op, args);
                self.mirrors[class as usize] = None;
            }
        }
    }

    /// An integer from slot to slot, and to the accumulator. Two such copies in a row become one instruction: compilers end loops with
    /// several.
    fn copy_slot(&mut self, from: Slot, to: Slot) {
        let args = Args::NONE.slot(from).slot(to);
        let previous = self.last_copy.take().filter(|copy| copy.end == self.encoder.position());
        if let Some(SlotCopy { position, args: first, .. }) = previous
            && self.encoder.take_back(position)
        {
            self.emit(Op::CopyIntTwice, first.slot(from).slot(to));
        } else {
            let op = isa::copy(Class::Int, Form::Slot).expect("copies of all forms exist");
            let position = self.emit(op.to_slot(), args);
            self.last_copy = Some(SlotCopy { position, end: self.encoder.position(), args });
        }
        self.mirror(Class::Int, to);
    }

    /// A constant to a slot; the accumulators stay.
    pub(super) fn move_constant(&mut self, value: u64, to: Slot) {
        if let Ok(narrow) = u32::try_from(value) {
            self.emit(Op::MoveImm32, Args::NONE.u32(narrow).slot(to));
        } else {
            self.emit(Op::MoveImm64, Args::NONE.u64(value).slot(to));
        }
        self.written(to);
    }

    /// Slot to slot; the accumulators stay.
    pub(super) fn move_slot(&mut self, ty: Ty, from: Slot, to: Slot) {
        // A narrow store is not forwarded to a wide load: `f32` is moved as it was stored.
        let op = if ty == Ty::F32 { Op::Move32 } else { Op::Move64 };
        self.emit(op, Args::NONE.slot(from).slot(to));
        self.written(to);
    }

    /// Puts the entries from index `from` on into their slots.
    pub(super) fn settle(&mut self, from: usize) {
        self.flush();
        for index in from.max(self.clean)..self.stack.len() {
            self.settle_entry(index);
        }
        if from <= self.clean {
            self.clean = self.stack.len();
        }
    }

    pub(super) fn settle_entry(&mut self, index: usize) {
        let place = self.slot(index);
        let entry = self.stack[index];
        match entry.value {
            Value::Place | Value::Pending => return,
            Value::Local(local) => {
                self.uses[usize::from(local.0)] -= 1;
                let next = Slot(local.0 + 1);
                if let Some(Entry { ty: Ty::V128, value }) = self.stack.get_mut(index + 1)
                    && entry.ty == Ty::V128
                    && *value == Value::Local(next)
                {
                    // Both halves of a vector.
                    *value = Value::Place;
                    self.uses[usize::from(next.0)] -= 1;
                    self.move_vector(local, place);
                } else {
                    self.move_slot(entry.ty, local, place);
                }
            }
            Value::Const(value) => self.move_constant(value, place),
        }
        self.stack[index].value = Value::Place;
    }

    /// The first slot of a local.
    fn local(&self, local: u32) -> Slot {
        match self.local_slots.get(local as usize) {
            Some(slot) => Slot(*slot),
            None => Slot(local as u16),
        }
    }

    pub(super) fn local_get(&mut self, local: u32) {
        let slot = self.local(local);
        let ty = self.locals[usize::from(slot.0)];
        self.push(ty, Value::Local(slot));
        if ty == Ty::V128 {
            self.push(ty, Value::Local(Slot(slot.0 + 1)));
        }
    }

    pub(super) fn local_set(&mut self, local: u32) {
        let to = self.local(local);
        if self.locals[usize::from(to.0)] == Ty::V128 {
            return self.set_vector(to);
        }
        if self.pending.is_some() && !self.top_is_pending() {
            self.flush();
        }
        let entry = self.pop();
        // A local that nothing has written is zero, unless a loop comes back from behind.
        let unwritten = !std::mem::replace(&mut self.assigned[to.0 as usize], true);
        if unwritten && entry.value == Value::Const(0) && !self.in_loop() {
            self.assigned[to.0 as usize] = false;
            return;
        }
        self.preserve(to);
        match entry.value {
            Value::Pending => self.emit_to_slot(to),
            Value::Const(value) => self.copy_constant(entry.ty, value, Some(to)),
            Value::Local(from) if from == to => {}
            Value::Local(_) | Value::Place => {
                let src = self.resolve(entry, self.stack.len());
                let class = entry.ty.class();
                if let (Class::Int, Src::Slot(from)) = (class, src) {
                    return self.copy_slot(from, to);
                }
                let op = isa::copy(class, src.form()).expect("copies of all forms exist");
                let args = src.encode(Args::NONE, entry.ty);
                self.copy_to(op, args, class, Some(to));
            }
        }
    }

    /// Operands that stand for a local that is about to be written get its value now.
    pub(super) fn preserve(&mut self, local: Slot) {
        if self.uses[usize::from(local.0)] == 0 {
            return;
        }
        let pending = self.pending.take();
        for index in self.clean..self.stack.len() {
            if self.stack[index].value == Value::Local(local) {
                self.settle_entry(index);
            }
        }
        self.pending = pending;
    }

    pub(super) fn drop_value(&mut self) {
        if self.top_is_pending() {
            self.emit_to_acc();
        }
        if self.pop().ty == Ty::V128 {
            self.pop();
        }
    }
}
