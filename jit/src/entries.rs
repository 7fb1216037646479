//! Translators between the calling conventions: signature stubs and invokers.

use std::mem::offset_of;

use inkwell::IntPredicate;
use inkwell::attributes::AttributeLoc;
use inkwell::builder::Builder;
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, FunctionValue, PointerValue};
use wasmparser::{FuncType, ValType};

use crate::abi::{Builtin, VmContext, status};
use crate::compile::Symbol;
use crate::emitted;
use crate::env::{slots as slots_in, slots_of};
use crate::error::{CompileError, Result};
use crate::translate::{instruction, set_slot_alignment};
use crate::unit::{Place, Unit};

/// Adds these stubs and invokers.
pub(crate) fn build(unit: &Unit, stubs: &[u32], invokers: &[u32]) -> Result<()> {
    stubs.iter().try_for_each(|ty| stub(unit, *ty))?;
    invokers.iter().try_for_each(|ty| invoker(unit, *ty))
}

/// Native to slots: calls [`Builtin::Enter`] for the function whose index is in the `nest` register.
fn stub(unit: &Unit, index: u32) -> Result<()> {
    let ty = &unit.env.types[index as usize];
    let native = unit.native_type(ty, &[unit.types.ptr.into()]);
    let function = unit.define(&emitted::name(&unit.unique, Symbol::Stub(index)), native);
    let nest = function.count_params() - 1;
    function.add_attribute(AttributeLoc::Param(nest), unit.attribute("nest"));
    function.set_call_conventions(unit.native_convention());
    let e = Entry::new(unit, function);

    let count = slots_in(ty.params()).max(slots_in(ty.results())).max(1);
    let size = unit.types.i64.const_int(u64::from(count), false);
    let slots = e.b.build_array_alloca(unit.types.i64, size, "")?;
    for (place, (slot, ty)) in unit.places(ty).into_iter().zip(places(ty.params())) {
        let value = match place {
            Place::Param(index) => e.param(index),
            Place::Spilled(spilled) => e.load(e.spill()?, spilled, ty)?,
        };
        e.store(slots, slot, value)?;
    }
    let func = e.b.build_ptr_to_int(e.param(nest).into_pointer_value(), unit.types.i32, "")?;
    let frame_address = unit.intrinsic("llvm.frameaddress", unit.types.ptr)?;
    let caller = unit.types.i32.const_int(1, false);
    let caller = e.b.build_call(frame_address, &[caller.into()], "")?;
    let caller = caller.try_as_basic_value().unwrap_basic();
    let arguments = [e.param(0).into(), func.into(), slots.into(), caller.into()];
    let status = e.b.build_call(unit.builtin(Builtin::Enter), &arguments, "")?;
    let status = status.try_as_basic_value().unwrap_basic().into_int_value();
    let failed = unit.types.i32.const_int(u64::from(status::FAILED), false);
    let failed = e.b.build_int_compare(IntPredicate::EQ, status, failed, "")?;
    let (leave, done) = (e.block(""), e.block(""));
    e.b.build_conditional_branch(failed, leave, done)?;

    e.b.position_at_end(leave);
    e.b.build_call(unit.builtin(Builtin::RaisePending), &[e.param(0).into()], "")?;
    e.b.build_unreachable()?;

    e.b.position_at_end(done);
    match ty.results() {
        [] => e.b.build_return(None)?,
        [result] => e.b.build_return(Some(&e.load(slots, 0, *result)?))?,
        results => {
            let out = e.param(nest - 1).into_pointer_value();
            for (slot, ty) in places(results) {
                e.store(out, slot, e.load(slots, slot, ty)?)?;
            }
            e.b.build_return(None)?
        }
    };
    Ok(())
}

/// Slots to native: calls the code that it is given.
fn invoker(unit: &Unit, index: u32) -> Result<()> {
    let ty: &FuncType = &unit.env.types[index as usize];
    let ptr = unit.types.ptr.into();
    let native = unit.context.void_type().fn_type(&[ptr, ptr, ptr], false);
    let function = unit.define(&emitted::name(&unit.unique, Symbol::Invoker(index)), native);
    let e = Entry::new(unit, function);
    let (slots, code) = (e.param(1).into_pointer_value(), e.param(2).into_pointer_value());

    let mut arguments: Vec<BasicMetadataValueEnum> = vec![e.param(0).into()];
    for (place, (slot, ty)) in unit.places(ty).into_iter().zip(places(ty.params())) {
        let value = e.load(slots, slot, ty)?;
        match place {
            Place::Param(_) => arguments.push(value.into()),
            Place::Spilled(spilled) => e.store(e.spill()?, spilled, value)?,
        }
    }
    if ty.results().len() > 1 {
        // The arguments have been read, so the results may go over them.
        arguments.push(slots.into());
    }
    let call = e.b.build_indirect_call(unit.native_type(ty, &[]), code, &arguments, "")?;
    call.set_call_convention(unit.native_convention());
    if let [_] = ty.results() {
        e.store(slots, 0, call.try_as_basic_value().unwrap_basic())?;
    }
    e.b.build_return(None)?;
    Ok(())
}

struct Entry<'u, 'c, 'e> {
    unit: &'u Unit<'c, 'e>,
    function: FunctionValue<'c>,
    b: Builder<'c>,
}

impl<'u, 'c, 'e> Entry<'u, 'c, 'e> {
    fn new(unit: &'u Unit<'c, 'e>, function: FunctionValue<'c>) -> Self {
        let b = unit.context.create_builder();
        let entry = Entry { unit, function, b };
        entry.b.position_at_end(entry.block("entry"));
        entry
    }

    fn block(&self, name: &str) -> inkwell::basic_block::BasicBlock<'c> {
        self.unit.context.append_basic_block(self.function, name)
    }

    fn param(&self, index: u32) -> BasicValueEnum<'c> {
        self.function.get_nth_param(index).expect("it has the parameter")
    }

    fn slot(&self, slots: PointerValue<'c>, index: u32) -> Result<PointerValue<'c>> {
        let index = self.unit.types.i64.const_int(u64::from(index), false);
        // SAFETY: address arithmetic without `inbounds`.
        Ok(unsafe { self.b.build_gep(self.unit.types.i64, slots, &[index], "")? })
    }

    /// Where parameters are that have no registers.
    fn spill(&self) -> Result<PointerValue<'c>> {
        let types = self.unit.types;
        let offset = types.i64.const_int(offset_of!(VmContext, spill) as u64, false);
        let context = self.param(0).into_pointer_value();
        // SAFETY: address arithmetic without `inbounds`.
        let place = unsafe { self.b.build_gep(types.i8, context, &[offset], "")? };
        Ok(self.b.build_load(types.ptr, place, "")?.into_pointer_value())
    }

    fn load(
        &self,
        slots: PointerValue<'c>,
        index: u32,
        ty: ValType,
    ) -> Result<BasicValueEnum<'c>, CompileError> {
        let place = self.slot(slots, index)?;
        let ty = self.unit.value_type(ty);
        let value = self.b.build_load(ty, place, "")?;
        set_slot_alignment(instruction(value)?, ty)?;
        Ok(value)
    }

    fn store(&self, slots: PointerValue<'c>, index: u32, value: BasicValueEnum<'c>) -> Result<()> {
        let store = self.b.build_store(self.slot(slots, index)?, value)?;
        set_slot_alignment(store, value.get_type())
    }
}

/// The first slot and the type of each value.
fn places(types: &[ValType]) -> impl Iterator<Item = (u32, ValType)> {
    types.iter().scan(0, |next, ty| {
        let slot = *next;
        *next += slots_of(*ty);
        Some((slot, *ty))
    })
}
