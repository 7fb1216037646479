//! The threads proposal: atomic accesses, wait and notify. All are sequentially consistent.

use inkwell::types::IntType;
use inkwell::values::{IntValue, PointerValue};
use inkwell::{AtomicOrdering, AtomicRMWBinOp, IntPredicate};
use wasmparser::{MemArg, Operator};

use super::Translator;
use super::build::{instruction, internal};
use crate::abi::{Builtin, TrapCode};
use crate::error::Result;
use crate::unit::Region;

const ORDERING: AtomicOrdering = AtomicOrdering::SequentiallyConsistent;

impl<'c> Translator<'_, 'c, '_> {
    #[rustfmt::skip]
    pub(super) fn atomic(&mut self, operator: &Operator) -> Result<bool> {
        use AtomicRMWBinOp::{Add, And, Or, Sub, Xchg, Xor};
        use Operator as O;
        let t = self.unit.types;
        match operator {
            O::AtomicFence { .. } => {
                self.b.build_fence(ORDERING, false, "")?;
            }
            O::MemoryAtomicNotify { memarg } => self.notify(memarg)?,
            O::MemoryAtomicWait32 { memarg } => self.wait(memarg, 4, Builtin::AtomicWait32)?,
            O::MemoryAtomicWait64 { memarg } => self.wait(memarg, 8, Builtin::AtomicWait64)?,

            O::I32AtomicLoad { memarg } => self.atomic_load(memarg, t.i32, t.i32)?,
            O::I64AtomicLoad { memarg } => self.atomic_load(memarg, t.i64, t.i64)?,
            O::I32AtomicLoad8U { memarg } => self.atomic_load(memarg, t.i8, t.i32)?,
            O::I32AtomicLoad16U { memarg } => self.atomic_load(memarg, t.i16, t.i32)?,
            O::I64AtomicLoad8U { memarg } => self.atomic_load(memarg, t.i8, t.i64)?,
            O::I64AtomicLoad16U { memarg } => self.atomic_load(memarg, t.i16, t.i64)?,
            O::I64AtomicLoad32U { memarg } => self.atomic_load(memarg, t.i32, t.i64)?,

            O::I32AtomicStore { memarg } | O::I64AtomicStore32 { memarg } => self.atomic_store(memarg, t.i32)?,
            O::I64AtomicStore { memarg } => self.atomic_store(memarg, t.i64)?,
            O::I32AtomicStore8 { memarg } | O::I64AtomicStore8 { memarg } => self.atomic_store(memarg, t.i8)?,
            O::I32AtomicStore16 { memarg } | O::I64AtomicStore16 { memarg } => self.atomic_store(memarg, t.i16)?,

            O::I32AtomicRmwAdd { memarg } | O::I64AtomicRmw32AddU { memarg } => self.modify(memarg, t.i32, Add)?,
            O::I32AtomicRmwSub { memarg } | O::I64AtomicRmw32SubU { memarg } => self.modify(memarg, t.i32, Sub)?,
            O::I32AtomicRmwAnd { memarg } | O::I64AtomicRmw32AndU { memarg } => self.modify(memarg, t.i32, And)?,
            O::I32AtomicRmwOr { memarg } | O::I64AtomicRmw32OrU { memarg } => self.modify(memarg, t.i32, Or)?,
            O::I32AtomicRmwXor { memarg } | O::I64AtomicRmw32XorU { memarg } => self.modify(memarg, t.i32, Xor)?,
            O::I32AtomicRmwXchg { memarg } | O::I64AtomicRmw32XchgU { memarg } => self.modify(memarg, t.i32, Xchg)?,

            O::I64AtomicRmwAdd { memarg } => self.modify(memarg, t.i64, Add)?,
            O::I64AtomicRmwSub { memarg } => self.modify(memarg, t.i64, Sub)?,
            O::I64AtomicRmwAnd { memarg } => self.modify(memarg, t.i64, And)?,
            O::I64AtomicRmwOr { memarg } => self.modify(memarg, t.i64, Or)?,
            O::I64AtomicRmwXor { memarg } => self.modify(memarg, t.i64, Xor)?,
            O::I64AtomicRmwXchg { memarg } => self.modify(memarg, t.i64, Xchg)?,

            O::I32AtomicRmw8AddU { memarg } | O::I64AtomicRmw8AddU { memarg } => self.modify(memarg, t.i8, Add)?,
            O::I32AtomicRmw8SubU { memarg } | O::I64AtomicRmw8SubU { memarg } => self.modify(memarg, t.i8, Sub)?,
            O::I32AtomicRmw8AndU { memarg } | O::I64AtomicRmw8AndU { memarg } => self.modify(memarg, t.i8, And)?,
            O::I32AtomicRmw8OrU { memarg } | O::I64AtomicRmw8OrU { memarg } => self.modify(memarg, t.i8, Or)?,
            O::I32AtomicRmw8XorU { memarg } | O::I64AtomicRmw8XorU { memarg } => self.modify(memarg, t.i8, Xor)?,
            O::I32AtomicRmw8XchgU { memarg } | O::I64AtomicRmw8XchgU { memarg } => self.modify(memarg, t.i8, Xchg)?,

            O::I32AtomicRmw16AddU { memarg } | O::I64AtomicRmw16AddU { memarg } => self.modify(memarg, t.i16, Add)?,
            O::I32AtomicRmw16SubU { memarg } | O::I64AtomicRmw16SubU { memarg } => self.modify(memarg, t.i16, Sub)?,
            O::I32AtomicRmw16AndU { memarg } | O::I64AtomicRmw16AndU { memarg } => self.modify(memarg, t.i16, And)?,
            O::I32AtomicRmw16OrU { memarg } | O::I64AtomicRmw16OrU { memarg } => self.modify(memarg, t.i16, Or)?,
            O::I32AtomicRmw16XorU { memarg } | O::I64AtomicRmw16XorU { memarg } => self.modify(memarg, t.i16, Xor)?,
            O::I32AtomicRmw16XchgU { memarg } | O::I64AtomicRmw16XchgU { memarg } => self.modify(memarg, t.i16, Xchg)?,

            O::I32AtomicRmwCmpxchg { memarg } | O::I64AtomicRmw32CmpxchgU { memarg } => self.compare_exchange(memarg, t.i32)?,
            O::I64AtomicRmwCmpxchg { memarg } => self.compare_exchange(memarg, t.i64)?,
            O::I32AtomicRmw8CmpxchgU { memarg } | O::I64AtomicRmw8CmpxchgU { memarg } => self.compare_exchange(memarg, t.i8)?,
            O::I32AtomicRmw16CmpxchgU { memarg } | O::I64AtomicRmw16CmpxchgU { memarg } => self.compare_exchange(memarg, t.i16)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Pops an address, checks its alignment, and adds the offset.
    fn aligned_address(&mut self, memarg: &MemArg, bytes: u32) -> Result<IntValue<'c>> {
        let address = self.effective_address(memarg)?;
        if bytes > 1 {
            let low = self.b.build_and(address, self.i64(u64::from(bytes - 1)), "")?;
            let unaligned = self.b.build_int_compare(IntPredicate::NE, low, self.i64(0), "")?;
            self.trap_if(unaligned, TrapCode::UnalignedAtomic)?;
        }
        Ok(address)
    }

    fn atomic_place(&mut self, memarg: &MemArg, ty: IntType<'c>) -> Result<PointerValue<'c>> {
        let bytes = ty.get_bit_width() / 8;
        let address = self.aligned_address(memarg, bytes)?;
        self.place(self.memory_of(memarg)?, address, bytes)
    }

    fn atomic_load(&mut self, memarg: &MemArg, narrow: IntType<'c>, ty: IntType<'c>) -> Result<()> {
        let place = self.atomic_place(memarg, narrow)?;
        let value = self.load(narrow, place, Region::Memory)?;
        let load = instruction(value)?;
        load.set_atomic_ordering(ORDERING).map_err(internal)?;
        load.set_alignment(narrow.get_bit_width() / 8).map_err(internal)?;
        load.set_volatile(self.unit.options.exact_traps).map_err(internal)?;
        self.push_widened(value.into_int_value(), ty)
    }

    fn atomic_store(&mut self, memarg: &MemArg, narrow: IntType<'c>) -> Result<()> {
        let value = self.pop_int()?;
        let value = self.narrowed(value, narrow)?;
        let place = self.atomic_place(memarg, narrow)?;
        let store = self.store(value, place, Region::Memory)?;
        store.set_atomic_ordering(ORDERING).map_err(internal)?;
        store.set_alignment(narrow.get_bit_width() / 8).map_err(internal)?;
        store.set_volatile(self.unit.options.exact_traps).map_err(internal)
    }

    pub(super) fn modify(
        &mut self,
        memarg: &MemArg,
        narrow: IntType<'c>,
        op: AtomicRMWBinOp,
    ) -> Result<()> {
        let operand = self.pop_int()?;
        let value = self.narrowed(operand, narrow)?;
        let place = self.atomic_place(memarg, narrow)?;
        let old = self.b.build_atomicrmw(op, place, value, ORDERING)?;
        let rmw = instruction(old.into())?;
        self.tag(rmw, Region::Memory)?;
        rmw.set_volatile(self.unit.options.exact_traps).map_err(internal)?;
        self.push_widened(old, operand.get_type())
    }

    /// The expected value counts in its full width: one that does not fit the access never matches. Then the value
    /// is written that was there, which nobody can tell from no write.
    fn compare_exchange(&mut self, memarg: &MemArg, narrow: IntType<'c>) -> Result<()> {
        let (wide, expected) = (self.pop_int()?, self.pop_int()?);
        let ty = expected.get_type();
        let mut replacement = self.narrowed(wide, narrow)?;
        let low = self.narrowed(expected, narrow)?;
        if ty != narrow {
            let again = self.b.build_int_z_extend(low, ty, "")?;
            let fits = self.b.build_int_compare(IntPredicate::EQ, again, expected, "")?;
            replacement = self.b.build_select(fits, replacement, low, "")?.into_int_value();
        }
        let place = self.atomic_place(memarg, narrow)?;
        let pair = self.b.build_cmpxchg(place, low, replacement, ORDERING, ORDERING)?;
        let exchange = instruction(pair.into())?;
        self.tag(exchange, Region::Memory)?;
        exchange.set_volatile(self.unit.options.exact_traps).map_err(internal)?;
        let old = self.b.build_extract_value(pair, 0, "")?.into_int_value();
        self.push_widened(old, ty)
    }

    fn narrowed(&self, value: IntValue<'c>, narrow: IntType<'c>) -> Result<IntValue<'c>> {
        if value.get_type() == narrow {
            return Ok(value);
        }
        Ok(self.b.build_int_truncate(value, narrow, "")?)
    }

    fn push_widened(&mut self, value: IntValue<'c>, ty: IntType<'c>) -> Result<()> {
        let value = if value.get_type() == ty {
            value
        } else {
            self.b.build_int_z_extend(value, ty, "")?
        };
        self.push(value);
        Ok(())
    }

    fn notify(&mut self, memarg: &MemArg) -> Result<()> {
        let count = self.pop_int()?;
        let address = self.aligned_address(memarg, 4)?;
        let memory = self.i32(self.memory_of(memarg)?);
        let arguments = [memory, address, count].map(Into::into);
        self.push_answer(Builtin::AtomicNotify, &arguments)
    }

    fn wait(&mut self, memarg: &MemArg, bytes: u32, builtin: Builtin) -> Result<()> {
        let (timeout, expected) = (self.pop_int()?, self.pop_int()?);
        let address = self.aligned_address(memarg, bytes)?;
        let memory = self.i32(self.memory_of(memarg)?);
        let arguments = [memory, address, expected, timeout].map(Into::into);
        self.push_answer(builtin, &arguments)
    }

    /// Calls a builtin that answers with a number, or with -1 for a recorded cause.
    fn push_answer(
        &mut self,
        builtin: Builtin,
        arguments: &[inkwell::values::BasicMetadataValueEnum<'c>],
    ) -> Result<()> {
        let answer = self.call_builtin_value(builtin, arguments)?;
        let failed = self.b.build_int_compare(IntPredicate::EQ, answer, self.i64(u64::MAX), "")?;
        self.leave_if(failed)?;
        self.push(self.b.build_int_truncate(answer, self.unit.types.i32, "")?);
        Ok(())
    }
}
