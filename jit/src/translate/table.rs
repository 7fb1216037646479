//! Tables. All but `table.size` are the runtime's, which may have to convert references.

use std::mem::offset_of;

use inkwell::IntPredicate;
use inkwell::values::IntValue;
use wasmparser::Operator;

use super::Translator;
use super::entry::Field;
use crate::abi::{Builtin, TableDesc};
use crate::error::Result;
use crate::unit::Region;

impl<'c> Translator<'_, 'c, '_> {
    pub(super) fn table(&mut self, operator: &Operator) -> Result<bool> {
        match *operator {
            Operator::TableSize { table } => {
                let descriptor = self.field(Field::Table(table))?;
                let length = self.displace(descriptor, offset_of!(TableDesc, length) as u64)?;
                let length = self.load(self.unit.types.i64, length, Region::Runtime)?;
                let length = length.into_int_value();
                let length = match self.is_wide(table) {
                    true => length,
                    false => self.b.build_int_truncate(length, self.unit.types.i32, "")?,
                };
                self.push(length);
            }
            Operator::TableGet { table } => {
                let index = self.pop_index(table)?;
                let out = self.scratch(1)?;
                let arguments = [self.i32(table).into(), index.into(), out.into()];
                self.call_checked(Builtin::TableGet, &arguments)?;
                let value = self.load(self.unit.types.i64, out, Region::Runtime)?;
                self.push(value);
            }
            Operator::TableSet { table } => {
                let (value, index) = (self.pop_int()?, self.pop_index(table)?);
                let arguments = [self.i32(table), index, value].map(Into::into);
                self.call_checked(Builtin::TableSet, &arguments)?;
            }
            Operator::TableGrow { table } => {
                let (elements, value) = (self.pop_index(table)?, self.pop_int()?);
                let arguments = [self.i32(table), value, elements].map(Into::into);
                let previous = self.call_builtin_value(Builtin::TableGrow, &arguments)?;
                if self.is_wide(table) {
                    // Also -1 stays what it is: no table has 2^31 elements.
                    self.push(self.b.build_int_s_extend(previous, self.unit.types.i64, "")?);
                } else {
                    self.push(previous);
                }
            }
            Operator::TableFill { table } => {
                let (elements, value, index) =
                    (self.pop_index(table)?, self.pop_int()?, self.pop_index(table)?);
                let arguments = [self.i32(table), index, value, elements].map(Into::into);
                self.call_checked(Builtin::TableFill, &arguments)?;
            }
            Operator::TableCopy { dst_table, src_table } => {
                // Between tables of two kinds, the number of elements is of the narrow one's.
                let elements = match self.is_wide(dst_table) {
                    true => self.pop_index(src_table)?,
                    false => self.pop_int()?,
                };
                let (source, destination) =
                    (self.pop_index(src_table)?, self.pop_index(dst_table)?);
                let (to, from) = (self.i32(dst_table), self.i32(src_table));
                let arguments = [to, from, destination, source, elements].map(Into::into);
                self.call_checked(Builtin::TableCopy, &arguments)?;
            }
            Operator::TableInit { elem_index, table } => {
                let (elements, source, destination) =
                    (self.pop_int()?, self.pop_int()?, self.pop_index(table)?);
                let (table, segment) = (self.i32(table), self.i32(elem_index));
                let arguments = [table, segment, destination, source, elements].map(Into::into);
                self.call_checked(Builtin::TableInit, &arguments)?;
            }
            Operator::ElemDrop { elem_index } => {
                self.call_builtin(Builtin::ElemDrop, &[self.i32(elem_index).into()])?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether the indices of a table have 64 bits.
    fn is_wide(&self, table: u32) -> bool {
        self.unit.env.tables[table as usize].table64
    }

    /// Pops an index into a table, or a number of its elements, as the runtime takes it: with 32 bits. What does not fit becomes
    /// the largest that does, and that is past the end of every table too.
    pub(super) fn pop_index(&mut self, table: u32) -> Result<IntValue<'c>> {
        let index = self.pop_int()?;
        if self.is_wide(table) { self.narrow_index(index) } else { Ok(index) }
    }

    /// A 64-bit index as 32 bits, the largest if it does not fit.
    fn narrow_index(&self, index: IntValue<'c>) -> Result<IntValue<'c>> {
        let types = self.unit.types;
        let most = self.i64(u32::MAX.into());
        let fits = self.b.build_int_compare(IntPredicate::ULT, index, most, "")?;
        let index = self.b.build_select(fits, index, most, "")?.into_int_value();
        Ok(self.b.build_int_truncate(index, types.i32, "")?)
    }
}
