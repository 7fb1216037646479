//! Vectors.
//!
//! On the stack of the translation a vector is two operands, one for each of its slots: both in their own slots, both in those
//! of a local, or constants. Moves treat the halves as they treat integers. Instructions want both at one place, and put
//! their result there; a `local.set` that follows changes where.

use super::values::{Src, Value, VectorResult};
use super::{TranslateError, Translator};
use crate::interp::dispatch::Slot;
use crate::interp::encode::Args;
use crate::interp::isa::{self, Op, Ty, VectorAccess, VectorKind};
use updraft_jit::env::ModuleEnv;
use wasmparser::MemArg;

impl Translator {
    /// Pops a vector: its own slots, or those of the local that it stands for. Nothing is pending after that.
    pub(super) fn pop_vector(&mut self) -> Slot {
        self.flush();
        let index = self.stack.len() - 2;
        let slot = match (self.stack[index].value, self.stack[index + 1].value) {
            (Value::Local(low), Value::Local(high)) if low.0 + 1 == high.0 => low,
            _ => {
                self.settle_entry(index);
                self.settle_entry(index + 1);
                self.slot(index)
            }
        };
        self.pop();
        self.pop();
        slot
    }

    /// Emits an instruction that makes a vector, whose place its last operand names, and pushes that.
    pub(super) fn emit_vector(&mut self, op: Op, args: Args) {
        self.flush();
        let slot = self.slot(self.stack.len());
        let position = self.encoder.emit(op, &args.slot(slot), self.offset);
        let (field, end) = (position.operand(args.len()), self.encoder.position());
        self.last_vector = Some(VectorResult { field, end, slot });
        self.written_vector(slot);
        self.push(Ty::V128, Value::Place);
        self.push(Ty::V128, Value::Place);
    }

    fn written_vector(&mut self, slot: Slot) {
        self.written(slot);
        self.written(Slot(slot.0 + 1));
    }

    /// Slots to slots; the accumulators stay.
    pub(super) fn move_vector(&mut self, from: Slot, to: Slot) {
        self.emit(Op::MoveVector, Args::NONE.slot(from).slot(to));
        self.written_vector(to);
    }

    /// `local.set` of the local at these slots.
    pub(super) fn set_vector(&mut self, to: Slot) {
        let local = usize::from(to.0);
        self.assigned[local..local + 2].fill(true);
        let from = self.pop_vector();
        if from == to {
            return;
        }
        let unused = self.uses[local..local + 2] == [0, 0];
        if let Some(VectorResult { field, end, slot }) = self.last_vector
            && (slot, end) == (from, self.encoder.position())
            && unused
            && !self.encoder.is_at_label()
        {
            // Nobody else wants what was just made.
            self.encoder.patch_u16(field, to.0);
            self.written_vector(to);
        } else {
            self.preserve(to);
            self.preserve(Slot(to.0 + 1));
            self.move_vector(from, to);
        }
        self.last_vector = None;
    }

    pub(super) fn vector_const(&mut self, value: u128) {
        self.push(Ty::V128, Value::Const(value as u64));
        self.push(Ty::V128, Value::Const((value >> 64) as u64));
    }

    pub(super) fn select_vector(&mut self, condition: Src) {
        let b = self.pop_vector();
        let a = self.pop_vector();
        let op = if condition == Src::Acc { Op::SelectVectorA } else { Op::SelectVectorS };
        self.emit_vector(op, condition.encode(Args::NONE, Ty::I32).slot(a).slot(b));
    }

    pub(super) fn shuffle(&mut self, lanes: u128) {
        let b = self.pop_vector();
        let a = self.pop_vector();
        let args = Args::NONE.slot(a).slot(b).u64(lanes as u64).u64((lanes >> 64) as u64);
        self.emit_vector(Op::Shuffle, args);
    }

    /// An operator on vectors.
    pub(super) fn vector(&mut self, kind: VectorKind, ty: Ty, op: Op, lane: u8) {
        let lane = u16::from(lane);
        match kind {
            VectorKind::Unary => {
                let a = self.pop_vector();
                self.emit_vector(op, Args::NONE.slot(a));
            }
            VectorKind::Binary => {
                let b = self.pop_vector();
                let a = self.pop_vector();
                self.emit_vector(op, Args::NONE.slot(a).slot(b));
            }
            VectorKind::Ternary => {
                let c = self.pop_vector();
                let b = self.pop_vector();
                let a = self.pop_vector();
                self.emit_vector(op, Args::NONE.slot(a).slot(b).slot(c));
            }
            VectorKind::Shift => {
                let by = self.pop_slot();
                let a = self.pop_vector();
                self.emit_vector(op, Args::NONE.slot(a).slot(by));
            }
            VectorKind::Splat => {
                let value = self.pop_slot();
                self.emit_vector(op, Args::NONE.slot(value));
            }
            VectorKind::Test => {
                let a = self.pop_vector();
                self.suspend(op, Args::NONE.slot(a), Ty::I32, super::Fuse::None);
            }
            VectorKind::Extract => {
                let a = self.pop_vector();
                self.suspend(op, Args::NONE.slot(a).u16(lane), ty, super::Fuse::None);
            }
            VectorKind::Replace => {
                let value = self.pop_slot();
                let a = self.pop_vector();
                self.emit_vector(op, Args::NONE.slot(a).slot(value).u16(lane));
            }
        }
    }

    /// A load or store of a vector or a lane.
    pub(super) fn vector_access(
        &mut self,
        env: &ModuleEnv,
        op: VectorAccess,
        memarg: &MemArg,
        lane: u8,
    ) -> Result<(), TranslateError> {
        let access = self.access(env, memarg)?;
        let (takes, gives, is_lane) = op.shape();
        let value = takes.then(|| self.pop_vector());
        let mut args = access.place(self.pop_slot());
        if let Some(value) = value {
            args = args.slot(value);
        }
        if is_lane {
            args = args.u16(lane.into());
        }
        let op = isa::vector_access(op, access.reach).expect("all exist");
        if gives {
            self.emit_vector(op, args);
        } else {
            self.emit(op, args);
        }
        Ok(())
    }
}
