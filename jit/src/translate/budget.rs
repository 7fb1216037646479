//! The budget: quick code counts what it does, and now and then asks the runtime whether to go on.

use std::mem::offset_of;

use inkwell::IntPredicate;
use inkwell::values::{InstructionValue, IntValue};

use super::Translator;
use super::build::{instruction, internal};
use crate::abi::{Builtin, FUNCTION_ENTRY, VmContext};
use crate::error::Result;
use crate::unit::Region;

/// What a turn of a loop (or a call of the function) costs of the budget.
#[derive(Clone, Copy, Default)]
pub(super) struct LoopWeight<'c> {
    /// Operators outside of inner loops.
    pub operators: u32,
    /// The subtraction that takes them.
    subtraction: Option<InstructionValue<'c>>,
}

impl LoopWeight<'_> {
    fn cost(&self) -> u64 {
        u64::from(self.operators.max(1))
    }
}

impl<'c> Translator<'_, 'c, '_> {
    /// The end of a loop: what a turn costs is known now.
    pub(super) fn settle_weight(&mut self) {
        let weight = self.weights.pop().expect("each loop has one");
        if let Some(subtraction) = weight.subtraction {
            subtraction.set_operand(1, self.i64(weight.cost()));
        }
    }

    /// Takes something of the budget: whether it is spent, and the instruction whose operand 1 says how much.
    pub(super) fn spend(&mut self) -> Result<(IntValue<'c>, InstructionValue<'c>)> {
        let place = self.displace(self.context, offset_of!(VmContext, budget) as u64)?;
        let budget = self.load(self.unit.types.i64, place, Region::Runtime)?.into_int_value();
        let rest = self.b.build_int_sub(budget, self.i64(1), "")?;
        self.store(rest, place, Region::Runtime)?;
        let spent = self.b.build_int_compare(IntPredicate::SLT, rest, self.i64(0), "")?;
        Ok((spent, instruction(rest.into())?))
    }

    /// At the header of a loop: if the budget is spent, asks the runtime, which may know better code for the rest.
    pub(super) fn check_budget(&mut self, ordinal: u32) -> Result<()> {
        self.locate();
        let frame = self.frame.ok_or_else(|| internal("quick code has a frame"))?;
        let (spent, subtraction) = self.spend()?;
        self.weights.last_mut().expect("the loop's").subtraction = Some(subtraction);
        let (slow, leave, next) = (self.cold_block(), self.cold_block(), self.block());
        self.b.build_conditional_branch(spent, slow, next)?;

        self.b.position_at_end(slow);
        let arguments = [self.i32(self.func).into(), self.i32(ordinal).into()];
        let entry = self.call_builtin(Builtin::Budget, &arguments)?;
        let entry = entry.expect("it gives a pointer").into_pointer_value();
        let none = self.b.build_is_null(entry, "")?;
        self.b.build_conditional_branch(none, next, leave)?;

        self.b.position_at_end(leave);
        let operands: Vec<_> =
            self.stack.iter().map(|value| self.widen(*value)).collect::<Result<_>>()?;
        self.store_slots(frame, self.operand_slot(), &operands)?;
        self.frame_operands = self.frame_operands.max(operands.len() as u32);
        let ptr = self.unit.types.ptr.into();
        let ty = self.unit.context.void_type().fn_type(&[ptr, ptr], false);
        self.b.build_indirect_call(ty, entry, &[self.context.into(), frame.into()], "")?;
        let results = self.load_slots(frame, 0, self.ty.results())?;
        let exit = self.exit(0)?;
        self.add_incoming(exit, false, &results);
        self.b.build_unconditional_branch(self.join(exit, false).block)?;
        self.b.position_at_end(next);
        Ok(())
    }

    /// At the entry of a function.
    pub(super) fn check_budget_at_entry(&mut self) -> Result<()> {
        let weight = self.weights[0];
        let (spent, subtraction) = self.spend()?;
        subtraction.set_operand(1, self.i64(weight.cost()));
        let slow = self.cold_block();
        let next = self.block();
        self.b.build_conditional_branch(spent, slow, next)?;
        self.b.position_at_end(slow);
        // The function has only begun: better code, if there is some now, is for the next call.
        let arguments = [self.i32(self.func).into(), self.i32(FUNCTION_ENTRY).into()];
        self.call_builtin(Builtin::Budget, &arguments)?;
        self.b.build_unconditional_branch(next)?;
        self.b.position_at_end(next);
        Ok(())
    }
}
