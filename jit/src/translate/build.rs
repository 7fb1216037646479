//! Small steps that all families of operators use: the operand stack, accesses, traps, calls of the runtime.

use inkwell::basic_block::BasicBlock;
use inkwell::builder::BuilderError;
use inkwell::debug_info::AsDIScope;
use inkwell::types::BasicTypeEnum;
use inkwell::values::{
    BasicMetadataValueEnum, BasicValue, BasicValueEnum, FloatValue, InstructionValue, IntValue,
    PointerValue,
};
use inkwell::{AtomicOrdering, IntPredicate};
use wasmparser::ValType;

use super::{Shape, Translator};
use crate::abi::{AbiType, Builtin, TrapCode, status};
use crate::compile::Level;
use crate::env::slots_of;
use crate::error::{CompileError, Result};
use crate::unit::Region;

impl<'c> Translator<'_, 'c, '_> {
    // The operand stack.

    pub(super) fn push(&mut self, value: impl BasicValue<'c>) {
        self.stack.push(value.as_basic_value_enum());
    }

    /// The top operand, in its wasm type.
    pub(super) fn pop(&mut self) -> Result<BasicValueEnum<'c>> {
        let value = self.stack.pop().expect("validated: the operand is there");
        self.widen(value)
    }

    pub(super) fn pop_int(&mut self) -> Result<IntValue<'c>> {
        Ok(self.pop()?.into_int_value())
    }

    pub(super) fn pop_float(&mut self) -> Result<FloatValue<'c>> {
        Ok(self.pop()?.into_float_value())
    }

    /// The top operand as a condition.
    pub(super) fn pop_condition(&mut self) -> Result<IntValue<'c>> {
        let value = self.stack.pop().expect("validated: the operand is there").into_int_value();
        if value.get_type() == self.unit.types.i1 {
            return Ok(value);
        }
        let zero = value.get_type().const_zero();
        Ok(self.b.build_int_compare(IntPredicate::NE, value, zero, "")?)
    }

    /// The top `count` operands, lowest first.
    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<BasicValueEnum<'c>>> {
        let values = self.stack.split_off(self.stack.len() - count);
        values.into_iter().map(|value| self.widen(value)).collect()
    }

    /// The top `count` operands, which stay.
    pub(super) fn peek_many(&mut self, count: usize) -> Result<Vec<BasicValueEnum<'c>>> {
        let values = self.pop_many(count)?;
        self.stack.extend(&values);
        Ok(values)
    }

    /// Turns the result of a comparison into an `i32`.
    pub(super) fn widen(&self, value: BasicValueEnum<'c>) -> Result<BasicValueEnum<'c>> {
        match value {
            BasicValueEnum::IntValue(int) if int.get_type() == self.unit.types.i1 => {
                Ok(self.b.build_int_z_extend(int, self.unit.types.i32, "")?.into())
            }
            other => Ok(other),
        }
    }

    // Constants.

    pub(super) fn i32(&self, value: u32) -> IntValue<'c> {
        self.unit.types.i32.const_int(u64::from(value), false)
    }

    pub(super) fn i64(&self, value: u64) -> IntValue<'c> {
        self.unit.types.i64.const_int(value, false)
    }

    // Blocks.

    pub(super) fn block(&self) -> BasicBlock<'c> {
        self.unit.context.append_basic_block(self.function, "")
    }

    /// A block that is seldom reached; it goes to the end of the function.
    pub(super) fn cold_block(&mut self) -> BasicBlock<'c> {
        let block = self.block();
        self.cold.push(block);
        block
    }

    pub(super) fn current_block(&self) -> BasicBlock<'c> {
        self.b.get_insert_block().expect("the builder has a place")
    }

    // Accesses.

    /// `base + offset` bytes.
    pub(super) fn displace(
        &self,
        base: PointerValue<'c>,
        offset: u64,
    ) -> Result<PointerValue<'c>, BuilderError> {
        if offset == 0 {
            return Ok(base);
        }
        self.displace_by(base, self.i64(offset))
    }

    pub(super) fn displace_by(
        &self,
        base: PointerValue<'c>,
        offset: IntValue<'c>,
    ) -> Result<PointerValue<'c>, BuilderError> {
        // SAFETY: a plain getelementptr (without `inbounds`) is address arithmetic, and never undefined.
        unsafe { self.b.build_gep(self.unit.types.i8, base, &[offset], "") }
    }

    pub(super) fn load(
        &self,
        ty: impl Into<BasicTypeEnum<'c>>,
        place: PointerValue<'c>,
        region: Region,
    ) -> Result<BasicValueEnum<'c>> {
        let value = self.b.build_load(ty.into(), place, "")?;
        self.tag(instruction(value)?, region)?;
        Ok(value)
    }

    pub(super) fn store(
        &self,
        value: impl BasicValue<'c>,
        place: PointerValue<'c>,
        region: Region,
    ) -> Result<InstructionValue<'c>> {
        let store = self.b.build_store(place, value)?;
        self.tag(store, region)?;
        Ok(store)
    }

    /// A load of an aligned word that other threads store. It is done each time, and never torn.
    pub(super) fn load_shared(
        &self,
        ty: impl Into<BasicTypeEnum<'c>>,
        place: PointerValue<'c>,
    ) -> Result<BasicValueEnum<'c>> {
        let value = self.load(ty, place, Region::Runtime)?;
        let load = instruction(value)?;
        // FastISel knows volatile loads but no atomic ones, and on this machine they are the same instruction.
        match self.unit.level {
            Level::Quick => load.set_volatile(true).map_err(internal)?,
            Level::Full => load.set_atomic_ordering(AtomicOrdering::Monotonic).map_err(internal)?,
        }
        Ok(value)
    }

    /// Says what an access is about. Only optimisation asks.
    pub(super) fn tag(&self, instruction: InstructionValue<'c>, region: Region) -> Result<()> {
        if self.unit.level == Level::Full {
            let (node, kind) = self.unit.tag(region);
            instruction.set_metadata(node, kind).map_err(internal)?;
        }
        Ok(())
    }

    // Traps and the runtime.

    /// Makes the code that follows count as the current operator's in a line table.
    pub(super) fn locate(&mut self) {
        let (Some(debug), Some(scope)) = (&self.unit.debug, self.scope) else { return };
        if self.located != self.offset {
            self.located = self.offset;
            let scope = scope.as_debug_info_scope();
            let (context, line) = (self.unit.context, self.offset as u32);
            let location = debug.builder().create_debug_location(context, line, 0, scope, None);
            self.b.set_current_debug_location(location);
        }
    }

    /// Traps if the condition holds; otherwise goes on in a new block.
    pub(super) fn trap_if(&mut self, condition: IntValue<'c>, code: TrapCode) -> Result<()> {
        self.trap_if_code(condition, self.i32(code as u32))
    }

    /// As [`Self::trap_if`], with a code that is computed.
    pub(super) fn trap_if_code(
        &mut self,
        condition: IntValue<'c>,
        code: IntValue<'c>,
    ) -> Result<()> {
        self.locate();
        let next = self.block();
        let trap = self.cold_block();
        self.b.build_conditional_branch(condition, trap, next)?;
        self.b.position_at_end(trap);
        self.raise(code)?;
        self.b.position_at_end(next);
        Ok(())
    }

    pub(super) fn raise(&mut self, code: IntValue<'c>) -> Result<()> {
        self.locate();
        self.call_builtin(Builtin::Raise, &[code.into()])?;
        self.b.build_unreachable()?;
        Ok(())
    }

    /// Calls the runtime; the context goes first.
    pub(super) fn call_builtin(
        &mut self,
        builtin: Builtin,
        arguments: &[BasicMetadataValueEnum<'c>],
    ) -> Result<Option<BasicValueEnum<'c>>> {
        self.locate();
        let mut all = Vec::with_capacity(arguments.len() + 1);
        all.push(self.context.into());
        all.extend_from_slice(arguments);
        let call = self.b.build_call(self.unit.builtin(builtin), &all, "")?;
        if builtin.result() != AbiType::Never {
            self.calls = true;
        }
        Ok(call.try_as_basic_value().basic())
    }

    /// Calls the runtime for a value.
    pub(super) fn call_builtin_value(
        &mut self,
        builtin: Builtin,
        arguments: &[BasicMetadataValueEnum<'c>],
    ) -> Result<IntValue<'c>> {
        let value = self.call_builtin(builtin, arguments)?;
        value
            .map(BasicValueEnum::into_int_value)
            .ok_or_else(|| CompileError::Llvm(format!("{} gives no value", builtin.symbol())))
    }

    /// Calls a builtin that answers with a status, and leaves if it failed.
    pub(super) fn call_checked(
        &mut self,
        builtin: Builtin,
        arguments: &[BasicMetadataValueEnum<'c>],
    ) -> Result<()> {
        let status = self.call_builtin_value(builtin, arguments)?;
        let failed = self.b.build_int_compare(IntPredicate::NE, status, self.i32(0), "")?;
        self.leave_if(failed)
    }

    /// Calls a builtin in tail position. The code must return what lies in the slots then.
    pub(super) fn call_may_tail(
        &mut self,
        builtin: Builtin,
        arguments: &[BasicMetadataValueEnum<'c>],
    ) -> Result<()> {
        let status = self.call_builtin_value(builtin, arguments)?;
        let failed =
            self.b.build_int_compare(IntPredicate::EQ, status, self.i32(status::FAILED), "")?;
        self.leave_if(failed)
    }

    /// What a builtin that is called in tail position must know of the caller.
    pub(super) fn callers_frame(&self) -> Result<PointerValue<'c>> {
        if self.shape != Shape::Function {
            return Ok(self.unit.types.ptr.const_null());
        }
        let frame_address = self.unit.intrinsic("llvm.frameaddress", self.unit.types.ptr)?;
        let frame = self.b.build_call(frame_address, &[self.i32(1).into()], "")?;
        Ok(frame.try_as_basic_value().basic().expect("an address").into_pointer_value())
    }

    /// Leaves with the cause that the runtime has recorded, if the condition holds.
    pub(super) fn leave_if(&mut self, failed: IntValue<'c>) -> Result<()> {
        let next = self.block();
        let leave = self.cold_block();
        self.b.build_conditional_branch(failed, leave, next)?;
        self.b.position_at_end(leave);
        self.raise_pending()?;
        self.b.position_at_end(next);
        Ok(())
    }

    /// Leaves with the cause that the runtime has recorded.
    pub(super) fn raise_pending(&mut self) -> Result<()> {
        self.call_builtin(Builtin::RaisePending, &[])?;
        self.b.build_unreachable()?;
        Ok(())
    }

    // Slots.

    /// Stores values to slots from number `first` on.
    pub(super) fn store_slots(
        &self,
        slots: PointerValue<'c>,
        first: u32,
        values: &[BasicValueEnum<'c>],
    ) -> Result<()> {
        let mut slot = u64::from(first);
        for value in values {
            let store = self.store(*value, self.displace(slots, 8 * slot)?, Region::Runtime)?;
            set_slot_alignment(store, value.get_type())?;
            slot += slots_of_type(value.get_type());
        }
        Ok(())
    }

    /// Loads values of these types from slots.
    pub(super) fn load_slots(
        &self,
        slots: PointerValue<'c>,
        first: u32,
        types: &[ValType],
    ) -> Result<Vec<BasicValueEnum<'c>>> {
        let mut slot = u64::from(first);
        types
            .iter()
            .map(|ty| {
                let place = self.displace(slots, 8 * slot)?;
                slot += u64::from(slots_of(*ty));
                self.load_slot(self.unit.value_type(*ty), place)
            })
            .collect()
    }

    /// Loads a value from a slot, or from two.
    pub(super) fn load_slot(
        &self,
        ty: BasicTypeEnum<'c>,
        place: PointerValue<'c>,
    ) -> Result<BasicValueEnum<'c>> {
        let value = self.load(ty, place, Region::Runtime)?;
        set_slot_alignment(instruction(value)?, ty)?;
        Ok(value)
    }
}

/// Slots that values of this type occupy.
pub(super) fn slots_of_type(ty: BasicTypeEnum) -> u64 {
    if ty.is_vector_type() { 2 } else { 1 }
}

/// Slots have the alignment of one slot, also where a vector takes two.
pub(crate) fn set_slot_alignment(access: InstructionValue, ty: BasicTypeEnum) -> Result<()> {
    if ty.is_vector_type() {
        access.set_alignment(8).map_err(internal)?;
    }
    Ok(())
}

/// The instruction that computes a value.
pub(crate) fn instruction(value: BasicValueEnum<'_>) -> Result<InstructionValue<'_>> {
    value
        .as_instruction_value()
        .ok_or_else(|| CompileError::Llvm("expected an instruction".to_owned()))
}

pub(crate) fn internal(error: impl std::fmt::Display) -> CompileError {
    CompileError::Llvm(error.to_string())
}
