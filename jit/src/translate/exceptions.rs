//! Exceptions.
//!
//! An exception leaves compiled code as a trap does: with its whole segment. So what a `try_table` calls has a segment of its
//! own, entered by the runtime; only such calls cost more for it. A failed call's status leads to the *dispatch* of the
//! `try_table`, which asks whether the cause is an exception, compares tags, takes the values, and branches to the handler's label; or
//! goes on to the dispatch of the `try_table` around it, or out of the segment.

use std::mem::offset_of;

use inkwell::IntPredicate;
use inkwell::basic_block::BasicBlock;
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, IntValue, PointerValue};
use wasmparser::{Catch, FuncType, Operator, TryTable};

use super::Translator;
use super::control::FrameKind;
use super::entry::Field;
use crate::abi::{Builtin, ExceptionDesc};
use crate::env::slots;
use crate::error::Result;
use crate::unit::Region;

/// What a `try_table` catches.
pub(super) struct Handlers<'c> {
    catches: Vec<Catch>,
    /// Where failed calls lead; made by the first one.
    dispatch: Option<BasicBlock<'c>>,
}

impl<'c, 'e> Translator<'_, 'c, 'e> {
    pub(super) fn exception(&mut self, operator: &Operator<'e>) -> Result<bool> {
        match operator {
            Operator::TryTable { try_table } => self.try_table(try_table)?,
            Operator::Throw { tag_index } => {
                let ty = self.unit.env.tag_type(*tag_index);
                let values = self.pop_many(ty.params().len())?;
                let slots = self.argument_slots(ty, &values)?;
                let arguments = [self.i32(*tag_index).into(), slots.into()];
                self.throw(Builtin::Throw, &arguments)?;
            }
            Operator::ThrowRef => {
                let exception = self.pop_int()?;
                self.throw(Builtin::ThrowRef, &[exception.into()])?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn try_table(&mut self, table: &TryTable) -> Result<()> {
        self.open(FrameKind::Block, table.ty)?;
        let handlers = Handlers { catches: table.catches.clone(), dispatch: None };
        self.frames.last_mut().expect("just opened").handlers = Some(handlers);
        Ok(())
    }

    fn throw(&mut self, builtin: Builtin, arguments: &[BasicMetadataValueEnum<'c>]) -> Result<()> {
        self.call_builtin(builtin, arguments)?;
        match self.dispatch() {
            Some(dispatch) => {
                self.b.build_unconditional_branch(dispatch)?;
            }
            None => self.raise_pending()?,
        }
        self.reachable = false;
        Ok(())
    }

    /// Whether an exception would be looked at in this function.
    pub(super) fn catches(&self) -> bool {
        self.frames.iter().any(|frame| frame.handlers.is_some())
    }

    /// Where what fails here leads, if that is in this function.
    fn dispatch(&mut self) -> Option<BasicBlock<'c>> {
        let index = self.frames.iter().rposition(|frame| frame.handlers.is_some())?;
        let block = self.frames[index].handlers.as_ref().and_then(|handlers| handlers.dispatch);
        let block = block.unwrap_or_else(|| self.cold_block());
        if let Some(handlers) = &mut self.frames[index].handlers {
            handlers.dispatch = Some(block);
        }
        Some(block)
    }

    /// Has the runtime make a call in a `try_table`, in a segment of its own. The results go to the slots.
    pub(super) fn call_in_try(
        &mut self,
        ty: &FuncType,
        builtin: Builtin,
        arguments: &[BasicMetadataValueEnum<'c>],
        place: PointerValue<'c>,
    ) -> Result<()> {
        let status = self.call_builtin_value(builtin, arguments)?;
        let failed = self.b.build_int_compare(IntPredicate::NE, status, self.i32(0), "")?;
        match self.dispatch() {
            Some(dispatch) => {
                let next = self.block();
                self.b.build_conditional_branch(failed, dispatch, next)?;
                self.b.position_at_end(next);
            }
            None => self.leave_if(failed)?,
        }
        let results = self.load_slots(place, 0, ty.results())?;
        self.stack.extend(results);
        Ok(())
    }

    /// At the end of a `try_table`, whose frame is gone: where its failed calls lead.
    pub(super) fn end_handlers(&mut self, handlers: Handlers<'c>) -> Result<()> {
        let Some(dispatch) = handlers.dispatch else { return Ok(()) };
        let (here, height) = (self.current_block(), self.stack.len());
        let types = self.unit.types;
        self.b.position_at_end(dispatch);
        let exception = self.call_builtin(Builtin::Caught, &[])?;
        let exception = exception.expect("it gives a pointer").into_pointer_value();
        let (raise, search) = (self.cold_block(), self.cold_block());
        let none = self.b.build_is_null(exception, "")?;
        self.b.build_conditional_branch(none, raise, search)?;
        self.b.position_at_end(raise);
        self.raise_pending()?;

        self.b.position_at_end(search);
        let tag = self.displace(exception, offset_of!(ExceptionDesc, tag) as u64)?;
        let tag = self.load(types.i64, tag, Region::Runtime)?.into_int_value();
        let reference = self.b.build_ptr_to_int(exception, types.i64, "")?;
        let mut searching = true;
        for catch in handlers.catches {
            let (wanted, label, keep) = match catch {
                Catch::One { tag, label } => (Some(tag), label, false),
                Catch::OneRef { tag, label } => (Some(tag), label, true),
                Catch::All { label } => (None, label, false),
                Catch::AllRef { label } => (None, label, true),
            };
            let next = match wanted {
                None => None,
                Some(wanted) => {
                    let wanted = self.tag_identity(wanted)?;
                    let same = self.b.build_int_compare(IntPredicate::EQ, tag, wanted, "")?;
                    let (found, next) = (self.cold_block(), self.cold_block());
                    self.b.build_conditional_branch(same, found, next)?;
                    self.b.position_at_end(found);
                    Some(next)
                }
            };
            if let Some(wanted) = wanted {
                let values = self.exception_values(exception, wanted)?;
                self.stack.extend(values);
            }
            if keep {
                self.push(reference);
            }
            self.call_checked(Builtin::Catch, &[self.i32(u32::from(keep)).into()])?;
            self.branch(label)?;
            self.stack.truncate(height);
            match next {
                Some(next) => self.b.position_at_end(next),
                None => {
                    // What follows a clause for all is never looked at.
                    searching = false;
                    break;
                }
            }
        }
        if searching {
            match self.dispatch() {
                Some(outer) => {
                    self.b.build_unconditional_branch(outer)?;
                }
                None => self.raise_pending()?,
            }
        }
        self.b.position_at_end(here);
        Ok(())
    }

    fn exception_values(
        &mut self,
        exception: PointerValue<'c>,
        tag: u32,
    ) -> Result<Vec<BasicValueEnum<'c>>> {
        let types = self.unit.env.tag_type(tag).params();
        if slots(types) == 0 {
            return Ok(Vec::new());
        }
        let values = self.displace(exception, offset_of!(ExceptionDesc, values) as u64)?;
        let values = self.load(self.unit.types.ptr, values, Region::Runtime)?;
        self.load_slots(values.into_pointer_value(), 0, types)
    }

    /// What tells a tag from all others, as a number.
    fn tag_identity(&mut self, tag: u32) -> Result<IntValue<'c>> {
        let tags = self.field(Field::Tags)?;
        let place = self.displace(tags, 8 * u64::from(tag))?;
        Ok(self.load(self.unit.types.i64, place, Region::Invariant)?.into_int_value())
    }
}
