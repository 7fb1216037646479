//! Locals, globals, constants, references and the parametric operators.

use inkwell::IntPredicate;
use inkwell::values::BasicValueEnum;
use wasmparser::{Operator, ValType};

use super::Translator;
use super::build::internal;
use crate::abi::{Builtin, Ref, TrapCode};
use crate::error::Result;
use crate::unit::Region;

impl<'c> Translator<'_, 'c, '_> {
    pub(super) fn variable(&mut self, operator: &Operator) -> Result<bool> {
        match *operator {
            Operator::LocalGet { local_index } => {
                let local = self.locals[local_index as usize];
                let value = self.b.build_load(self.unit.value_type(local.ty), local.place, "")?;
                self.push(value);
            }
            Operator::LocalSet { local_index } => {
                let value = self.pop()?;
                self.b.build_store(self.locals[local_index as usize].place, value)?;
            }
            Operator::LocalTee { local_index } => {
                let value = self.pop()?;
                self.b.build_store(self.locals[local_index as usize].place, value)?;
                self.push(value);
            }
            Operator::GlobalGet { global_index } => {
                let ty = self.global_type(global_index);
                let place = self.global(global_index)?;
                let value = self.load(self.unit.value_type(ty), place, Region::Runtime)?;
                self.push(value);
            }
            Operator::GlobalSet { global_index } => self.global_set(global_index)?,
            Operator::I32Const { value } => self.push(self.i32(value as u32)),
            Operator::I64Const { value } => self.push(self.i64(value as u64)),
            Operator::F32Const { value } => {
                // From the bits: a NaN must keep its payload.
                let bits = self.i32(value.bits());
                self.push(self.b.build_bit_cast(bits, self.unit.types.f32, "")?);
            }
            Operator::F64Const { value } => {
                let bits = self.i64(value.bits());
                self.push(self.b.build_bit_cast(bits, self.unit.types.f64, "")?);
            }
            Operator::Drop => {
                self.stack.pop();
            }
            Operator::Select | Operator::TypedSelect { .. } => self.select()?,
            Operator::RefNull { .. } => self.push(self.i64(Ref::NULL.0)),
            Operator::RefIsNull => {
                let value = self.pop_int()?;
                let null = self.i64(Ref::NULL.0);
                let is_null = self.b.build_int_compare(IntPredicate::EQ, value, null, "")?;
                self.push(is_null);
            }
            Operator::RefAsNonNull => {
                let value = self.pop_int()?;
                let null = self.i64(Ref::NULL.0);
                let is_null = self.b.build_int_compare(IntPredicate::EQ, value, null, "")?;
                self.trap_if(is_null, TrapCode::NullReference)?;
                self.push(value);
            }
            Operator::RefFunc { function_index } => {
                self.push(self.i64(self.unit.env.func_ref(function_index).0));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn global_type(&self, index: u32) -> ValType {
        self.unit.env.globals[index as usize].content_type
    }

    fn global_set(&mut self, index: u32) -> Result<()> {
        let value = self.pop()?;
        let ty = self.global_type(index);
        if matches!(ty, ValType::Ref(_)) && self.unit.env.global_escapes[index as usize] {
            self.call_builtin(Builtin::GlobalSetRef, &[self.i32(index).into(), value.into()])?;
            return Ok(());
        }
        let place = self.global(index)?;
        let store = self.store(value, place, Region::Runtime)?;
        // A trap shows the globals as they are at that moment.
        store.set_volatile(self.unit.options.exact_traps).map_err(internal)
    }

    fn select(&mut self) -> Result<()> {
        let condition = self.pop_condition()?;
        let (other, value) = (self.pop()?, self.pop()?);
        let selected: BasicValueEnum = self.b.build_select(condition, value, other, "")?;
        self.push(selected);
        Ok(())
    }
}
