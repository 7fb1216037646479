//! Calls. All go through the code table, so that one store replaces a function's code for everyone.

use std::mem::offset_of;

use inkwell::IntPredicate;
use inkwell::basic_block::BasicBlock;
use inkwell::values::{
    BasicMetadataValueEnum, BasicValueEnum, IntValue, LLVMTailCallKind, PointerValue,
};
use wasmparser::{FuncType, Operator};

use super::entry::Field;
use super::{Shape, Translator};
use crate::abi::{Builtin, Ref, TableDesc};
use crate::env::slots;
use crate::error::Result;
use crate::unit::{Place, Region};

/// What follows a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    /// The caller's frame is given up first.
    Return,
}

/// Where a call goes on that was made in native code.
struct CallJoin<'c> {
    block: BasicBlock<'c>,
    /// The results of the native call.
    results: Vec<BasicValueEnum<'c>>,
    /// Where it comes from.
    from: BasicBlock<'c>,
}

impl<'c, 'e> Translator<'_, 'c, 'e> {
    pub(super) fn call(&mut self, operator: &Operator) -> Result<bool> {
        match *operator {
            Operator::Call { function_index } => self.direct_call(function_index, Then::GoOn)?,
            Operator::CallIndirect { type_index, table_index } => {
                self.indirect_call(type_index, table_index, Then::GoOn)?;
            }
            Operator::ReturnCall { function_index } => {
                self.direct_call(function_index, Then::Return)?;
            }
            Operator::ReturnCallIndirect { type_index, table_index } => {
                self.indirect_call(type_index, table_index, Then::Return)?;
            }
            Operator::CallRef { type_index } => self.reference_call(type_index, Then::GoOn)?,
            Operator::ReturnCallRef { type_index } => {
                self.reference_call(type_index, Then::Return)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn direct_call(&mut self, func: u32, then: Then) -> Result<()> {
        let env = self.unit.env;
        let type_index = env.functions[func as usize];
        let ty = self.callee_type(type_index);
        let arguments = self.pop_many(ty.params().len())?;
        if then == Then::Return && self.shape != Shape::Function {
            let slots = self.argument_slots(ty, &arguments)?;
            let call = [self.i32(func).into(), slots.into()];
            return self.tail_call_outside(Builtin::Enter, &call, slots);
        }
        if then == Then::GoOn && self.catches() {
            let place = self.argument_slots(ty, &arguments)?;
            let call = [self.i32(func).into(), place.into(), self.no_frame().into()];
            return self.call_in_try(ty, Builtin::Enter, &call, place);
        }
        let code = self.code(self.i64(u64::from(func)))?;
        if then == Then::Return {
            return self.tail_call(ty, code, &arguments);
        }
        let results = self.call_native(ty, code, &arguments)?;
        self.stack.extend(results);
        Ok(())
    }

    /// Gives up the frame for the callee's.
    fn tail_call(
        &mut self,
        ty: &FuncType,
        code: PointerValue<'c>,
        arguments: &[BasicValueEnum<'c>],
    ) -> Result<()> {
        self.locate();
        self.tail_calls = true;
        let mut all = self.pass(ty, arguments)?;
        if ty.results().len() > 1 {
            let out = self.function.get_last_param().expect("where its own results go");
            all.push(out.into());
        }
        let call = self.b.build_indirect_call(self.unit.native_type(ty, &[]), code, &all, "")?;
        call.set_call_convention(self.unit.native_convention());
        call.set_tail_call_kind(LLVMTailCallKind::LLVMTailCallKindMustTail);
        match call.try_as_basic_value().basic() {
            Some(value) => self.b.build_return(Some(&value))?,
            None => self.b.build_return(None)?,
        };
        self.reachable = false;
        Ok(())
    }

    /// A call in tail position that the runtime makes, at once or after the return.
    fn tail_call_outside(
        &mut self,
        builtin: Builtin,
        arguments: &[BasicMetadataValueEnum<'c>],
        slots: PointerValue<'c>,
    ) -> Result<()> {
        self.tail_calls = true;
        let mut all = arguments.to_vec();
        all.push(self.callers_frame()?.into());
        self.call_may_tail(builtin, &all)?;
        let results = self.load_slots(slots, 0, self.ty.results())?;
        self.stack.extend(results);
        self.return_values()
    }

    /// For a builtin that may answer to a tail call, where the call is none.
    fn no_frame(&self) -> PointerValue<'c> {
        self.i64(u64::MAX).const_to_pointer(self.unit.types.ptr)
    }

    /// Slots with these arguments, and room for the results.
    pub(super) fn argument_slots(
        &mut self,
        ty: &FuncType,
        arguments: &[BasicValueEnum<'c>],
    ) -> Result<PointerValue<'c>> {
        let place = self.scratch(slots(ty.params()).max(slots(ty.results())))?;
        self.store_slots(place, 0, arguments)?;
        Ok(place)
    }

    /// The context and the arguments that travel as LLVM's parameters; the others are put in their places.
    fn pass(
        &mut self,
        ty: &FuncType,
        arguments: &[BasicValueEnum<'c>],
    ) -> Result<Vec<BasicMetadataValueEnum<'c>>> {
        let mut all: Vec<BasicMetadataValueEnum> = Vec::with_capacity(arguments.len() + 2);
        all.push(self.context.into());
        for (place, value) in self.unit.places(ty).into_iter().zip(arguments) {
            match place {
                Place::Param(_) => all.push((*value).into()),
                Place::Spilled(slot) => {
                    let spill = self.field(Field::Spill)?;
                    self.store_slots(spill, slot, &[*value])?;
                }
            }
        }
        Ok(all)
    }

    fn callee_type(&mut self, type_index: u32) -> &'e FuncType {
        let ty = &self.unit.env.types[type_index as usize];
        self.unit.note_call(type_index);
        ty
    }

    /// The native code of a function, as it is now.
    fn code(&mut self, func: IntValue<'c>) -> Result<PointerValue<'c>> {
        let table = self.field(Field::CodeTable)?;
        // SAFETY: address arithmetic without `inbounds`.
        let entry = unsafe { self.b.build_gep(self.unit.types.ptr, table, &[func], "")? };
        Ok(self.load_shared(self.unit.types.ptr, entry)?.into_pointer_value())
    }

    fn call_native(
        &mut self,
        ty: &FuncType,
        code: PointerValue<'c>,
        arguments: &[BasicValueEnum<'c>],
    ) -> Result<Vec<BasicValueEnum<'c>>> {
        self.locate();
        self.calls = true;
        let mut all = self.pass(ty, arguments)?;
        let out = match ty.results() {
            [] | [_] => None,
            results => Some(self.scratch(slots(results))?),
        };
        all.extend(out.map(BasicMetadataValueEnum::from));
        let call = self.b.build_indirect_call(self.unit.native_type(ty, &[]), code, &all, "")?;
        call.set_call_convention(self.unit.native_convention());
        match out {
            Some(out) => self.load_slots(out, 0, ty.results()),
            None => Ok(call.try_as_basic_value().basic().into_iter().collect()),
        }
    }

    /// A function of this module and of the right type is called at once; everything else is the runtime's.
    fn indirect_call(&mut self, type_index: u32, table_index: u32, then: Then) -> Result<()> {
        self.locate();
        let types = self.unit.types;
        let ty = self.callee_type(type_index);
        let canonical = self.unit.canonical(type_index);
        let index = self.pop_int()?;
        let arguments = self.pop_many(ty.params().len())?;
        if then == Then::Return && self.shape != Shape::Function {
            let slots = self.argument_slots(ty, &arguments)?;
            let (table, canonical) = (self.i32(table_index), self.i32(canonical));
            let call = [table.into(), index.into(), canonical.into(), slots.into()];
            return self.tail_call_outside(Builtin::TailCallIndirect, &call, slots);
        }

        if then == Then::GoOn && self.catches() {
            let place = self.argument_slots(ty, &arguments)?;
            let (table, canonical) = (self.i32(table_index), self.i32(canonical));
            let call = [table.into(), index.into(), canonical.into(), place.into()];
            return self.call_in_try(ty, Builtin::CallIndirect, &call, place);
        }

        let (inside, fast, slow) = (self.block(), self.block(), self.cold_block());
        let table = self.field(Field::Table(table_index))?;
        let length = self.displace(table, offset_of!(TableDesc, length) as u64)?;
        let length = self.load(types.i64, length, Region::Runtime)?.into_int_value();
        let wide = self.b.build_int_z_extend(index, types.i64, "")?;
        let within = self.b.build_int_compare(IntPredicate::ULT, wide, length, "")?;
        self.b.build_conditional_branch(within, inside, slow)?;

        self.b.position_at_end(inside);
        let base = self.displace(table, offset_of!(TableDesc, base) as u64)?;
        let base = self.load(types.ptr, base, Region::Runtime)?.into_pointer_value();
        // SAFETY: address arithmetic without `inbounds`.
        let element = unsafe { self.b.build_gep(types.i64, base, &[wide], "")? };
        let reference = self.load(types.i64, element, Region::Runtime)?.into_int_value();
        let tag = self.b.build_int_truncate(reference, types.i32, "")?;
        let wanted = self.i32(Ref::local_tag(canonical));
        let matches = self.b.build_int_compare(IntPredicate::EQ, tag, wanted, "")?;
        self.b.build_conditional_branch(matches, fast, slow)?;

        self.b.position_at_end(fast);
        let func = self.b.build_right_shift(reference, self.i64(32), false, "")?;
        let code = self.code(func)?;
        let join = self.call_fast(ty, code, &arguments, then)?;

        self.b.position_at_end(slow);
        let place = self.argument_slots(ty, &arguments)?;
        let (table, canonical) = (self.i32(table_index), self.i32(canonical));
        let call = [table.into(), index.into(), canonical.into(), place.into()];
        self.call_slow(ty, [Builtin::CallIndirect, Builtin::TailCallIndirect], &call, place, join)
    }

    /// A call through a reference. A function of this module is called at once; everything else is the runtime's.
    fn reference_call(&mut self, type_index: u32, then: Then) -> Result<()> {
        self.locate();
        let ty = self.callee_type(type_index);
        let reference = self.pop_int()?;
        let arguments = self.pop_many(ty.params().len())?;
        if then == Then::Return && self.shape != Shape::Function {
            let slots = self.argument_slots(ty, &arguments)?;
            let call = [reference.into(), slots.into()];
            return self.tail_call_outside(Builtin::TailCallRef, &call, slots);
        }
        if then == Then::GoOn && self.catches() {
            let place = self.argument_slots(ty, &arguments)?;
            let call = [reference.into(), place.into()];
            return self.call_in_try(ty, Builtin::CallRef, &call, place);
        }
        let (fast, slow) = (self.block(), self.cold_block());
        let local = self.b.build_int_truncate(reference, self.unit.types.i1, "")?;
        self.b.build_conditional_branch(local, fast, slow)?;

        self.b.position_at_end(fast);
        let func = self.b.build_right_shift(reference, self.i64(32), false, "")?;
        let code = self.code(func)?;
        let join = self.call_fast(ty, code, &arguments, then)?;

        self.b.position_at_end(slow);
        let slots = self.argument_slots(ty, &arguments)?;
        let call = [reference.into(), slots.into()];
        self.call_slow(ty, [Builtin::CallRef, Builtin::TailCallRef], &call, slots, join)
    }

    /// Calls native code. Unless that gives up the frame, goes on in a new block, with these results.
    fn call_fast(
        &mut self,
        ty: &FuncType,
        code: PointerValue<'c>,
        arguments: &[BasicValueEnum<'c>],
        then: Then,
    ) -> Result<Option<CallJoin<'c>>> {
        if then == Then::Return {
            self.tail_call(ty, code, arguments)?;
            return Ok(None);
        }
        let block = self.block();
        let results = self.call_native(ty, code, arguments)?;
        self.b.build_unconditional_branch(block)?;
        Ok(Some(CallJoin { block, results, from: self.current_block() }))
    }

    /// Has the runtime make the call, and flows together with the fast way, if that goes on.
    fn call_slow(
        &mut self,
        ty: &'e FuncType,
        [call, tail_call]: [Builtin; 2],
        arguments: &[BasicMetadataValueEnum<'c>],
        slots: PointerValue<'c>,
        join: Option<CallJoin<'c>>,
    ) -> Result<()> {
        let Some(CallJoin { block, results, from }) = join else {
            return self.tail_call_outside(tail_call, arguments, slots);
        };
        self.call_checked(call, arguments)?;
        let slow_results = self.load_slots(slots, 0, ty.results())?;
        let slow_end = self.current_block();
        self.b.build_unconditional_branch(block)?;

        self.begin(block)?;
        for (fast, slow) in results.into_iter().zip(slow_results) {
            let phi = self.b.build_phi(fast.get_type(), "")?;
            phi.add_incoming(&[(&fast, from), (&slow, slow_end)]);
            self.push(phi.as_basic_value());
        }
        Ok(())
    }
}
