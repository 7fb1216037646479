//! The budget: quick code counts what it does, and now and then asks the runtime whether to go on.

use std::mem::offset_of;

use inkwell::IntPredicate;
use inkwell::basic_block::BasicBlock;
use inkwell::values::{InstructionValue, IntValue, PhiValue, PointerValue};

use super::build::{instruction, slots_of_type};
use super::{Shape, Translator};
use crate::abi::{Builtin, FUNCTION_ENTRY, MOST_WEIGHT, VmContext, calls_index};
use crate::compile::Level;
use crate::env::slots;
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
        u64::from(self.operators.clamp(1, MOST_WEIGHT))
    }
}

/// The common end of the ways on which quick code leaves for an entry into a loop.
pub(super) struct EntryExit<'c> {
    /// Memory for the frame.
    frame: PointerValue<'c>,
    /// Slots that it needs.
    slots: u32,
    block: BasicBlock<'c>,
    /// The entry.
    entry: PhiValue<'c>,
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
        let (spent, subtraction) = self.spend()?;
        self.weights.last_mut().expect("the loop's").subtraction = Some(subtraction);
        let (slow, store, next) = (self.cold_block(), self.cold_block(), self.block());
        self.b.build_conditional_branch(spent, slow, next)?;

        self.b.position_at_end(slow);
        let arguments = [self.i32(self.func).into(), self.i32(ordinal).into()];
        let entry = self.call_builtin(Builtin::Budget, &arguments)?;
        let entry = entry.expect("it gives a pointer").into_pointer_value();
        let none = self.b.build_is_null(entry, "")?;
        self.b.build_conditional_branch(none, next, store)?;

        self.b.position_at_end(store);
        let operands: Vec<_> =
            self.stack.iter().map(|value| self.widen(*value)).collect::<Result<_>>()?;
        let first = self.operand_slot();
        let exit = self.entry_exit()?;
        let used: u64 = operands.iter().map(|operand| slots_of_type(operand.get_type())).sum();
        exit.slots = exit.slots.max(first + used as u32);
        exit.entry.add_incoming(&[(&entry, store)]);
        let (frame, block) = (exit.frame, exit.block);
        self.store_slots(frame, first, &operands)?;
        self.b.build_unconditional_branch(block)?;
        self.b.position_at_end(next);
        Ok(())
    }

    fn entry_exit(&mut self) -> Result<&mut EntryExit<'c>> {
        if self.exit.is_none() {
            let types = self.unit.types;
            let block = self.cold_block();
            let b = self.unit.context.create_builder();
            b.position_at_end(block);
            self.exit = Some(EntryExit {
                frame: self.entry.build_array_alloca(types.i64, self.i64(0), "")?,
                slots: slots(self.ty.results()),
                block,
                entry: b.build_phi(types.ptr, "")?,
            });
        }
        Ok(self.exit.as_mut().expect("it was just made"))
    }

    /// The code that leaves for an entry: stores the locals, calls the entry, returns its results.
    pub(super) fn leave_for_entry(&mut self) -> Result<()> {
        let Some(exit) = self.exit.take() else { return Ok(()) };
        instruction(exit.frame.into())?.set_operand(0, self.i64(u64::from(exit.slots)));
        self.b.position_at_end(exit.block);
        for local in self.locals.clone() {
            let value = self.b.build_load(self.unit.value_type(local.ty), local.place, "")?;
            self.store_slots(exit.frame, local.slot, &[value])?;
        }
        let ptr = self.unit.types.ptr.into();
        let ty = self.unit.context.void_type().fn_type(&[ptr, ptr], false);
        let entry = exit.entry.as_basic_value().into_pointer_value();
        let arguments = [self.context.into(), exit.frame.into()];
        self.b.build_indirect_call(ty, entry, &arguments, "")?;
        if self.tail_calls && self.shape == Shape::Function {
            let arguments = [exit.frame.into(), self.callers_frame()?.into()];
            self.call_may_tail(Builtin::TailPending, &arguments)?;
        }
        let results = self.load_slots(exit.frame, 0, self.ty.results())?;
        self.stack.extend(results);
        self.return_values()
    }

    /// Counts a call of the function; the runtime is told of the first.
    pub(super) fn count_call(&mut self) -> Result<()> {
        let tier = if self.unit.level == Level::Quick { 1 } else { 2 };
        let types = self.unit.types;
        let counts = self.displace(self.context, offset_of!(VmContext, calls) as u64)?;
        let counts = self.load(types.ptr, counts, Region::Invariant)?.into_pointer_value();
        let offset = calls_index(self.func, tier) * size_of::<u64>();
        let place = self.displace(counts, offset as u64)?;
        let count = self.load(types.i64, place, Region::Runtime)?.into_int_value();
        let next_count = self.b.build_int_add(count, self.i64(1), "")?;
        self.store(next_count, place, Region::Runtime)?;
        let first = self.b.build_int_compare(IntPredicate::EQ, count, self.i64(0), "")?;
        let slow = self.cold_block();
        let next = self.block();
        self.b.build_conditional_branch(first, slow, next)?;
        self.b.position_at_end(slow);
        let arguments = [self.i32(self.func).into(), self.i32(tier).into()];
        self.call_builtin(Builtin::FirstCall, &arguments)?;
        self.b.build_unconditional_branch(next)?;
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
