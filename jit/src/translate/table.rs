//! Tables. All but `table.size` are the runtime's, which may have to convert references.

use std::mem::offset_of;

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
                let place = self.field(Field::Table(table))?;
                let length = self.displace(place, offset_of!(TableDesc, length) as u64)?;
                let length = self.load(self.unit.types.i64, length, Region::Runtime)?;
                let length = self.as_index(table, length.into_int_value())?;
                self.push(length);
            }
            Operator::TableGet { table } => {
                let index = self.pop_wide()?;
                let out = self.scratch(1)?;
                let arguments = [self.i32(table).into(), index.into(), out.into()];
                self.call_checked(Builtin::TableGet, &arguments)?;
                let value = self.load(self.unit.types.i64, out, Region::Runtime)?;
                self.push(value);
            }
            Operator::TableSet { table } => {
                let (value, index) = (self.pop_int()?, self.pop_wide()?);
                let arguments = [self.i32(table), index, value].map(Into::into);
                self.call_checked(Builtin::TableSet, &arguments)?;
            }
            Operator::TableGrow { table } => {
                let (elements, value) = (self.pop_wide()?, self.pop_int()?);
                let arguments = [self.i32(table), value, elements].map(Into::into);
                let previous = self.call_builtin_value(Builtin::TableGrow, &arguments)?;
                let previous = self.as_index(table, previous)?;
                self.push(previous);
            }
            Operator::TableFill { table } => {
                let elements = self.pop_wide()?;
                let (value, index) = (self.pop_int()?, self.pop_wide()?);
                let arguments = [self.i32(table), index, value, elements].map(Into::into);
                self.call_checked(Builtin::TableFill, &arguments)?;
            }
            Operator::TableCopy { dst_table, src_table } => {
                let (elements, source, destination) =
                    (self.pop_wide()?, self.pop_wide()?, self.pop_wide()?);
                let (to, from) = (self.i32(dst_table), self.i32(src_table));
                let arguments = [to, from, destination, source, elements].map(Into::into);
                self.call_checked(Builtin::TableCopy, &arguments)?;
            }
            Operator::TableInit { elem_index, table } => {
                let (elements, source) = (self.pop_int()?, self.pop_int()?);
                let destination = self.pop_wide()?;
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

    /// A number of elements as the table's operators give it.
    fn as_index(&self, table: u32, value: IntValue<'c>) -> Result<IntValue<'c>> {
        if self.unit.env.tables[table as usize].table64 {
            return Ok(value);
        }
        Ok(self.b.build_int_truncate(value, self.unit.types.i32, "")?)
    }
}
