//! Linear memory: addresses, loads, stores, size and the bulk operators.

use inkwell::IntPredicate;
use inkwell::types::{BasicType, BasicTypeEnum, IntType};
use inkwell::values::{BasicValueEnum, IntValue, PointerValue};
use wasmparser::{MemArg, MemArgTarget, MemoryType, Operator};

use super::Translator;
use super::build::{instruction, internal};
use super::entry::Field;
use crate::abi::{Builtin, TrapCode};
use crate::error::Result;
use crate::unit::Region;

impl<'c> Translator<'_, 'c, '_> {
    pub(super) fn memory(&mut self, operator: &Operator) -> Result<bool> {
        use Operator as O;
        let t = self.unit.types;
        match operator {
            O::I32Load { memarg } => self.plain_load(memarg, t.i32)?,
            O::I64Load { memarg } => self.plain_load(memarg, t.i64)?,
            O::F32Load { memarg } => self.plain_load(memarg, t.f32)?,
            O::F64Load { memarg } => self.plain_load(memarg, t.f64)?,
            O::I32Load8S { memarg } => self.narrow_load(memarg, t.i8, t.i32, true)?,
            O::I32Load8U { memarg } => self.narrow_load(memarg, t.i8, t.i32, false)?,
            O::I32Load16S { memarg } => self.narrow_load(memarg, t.i16, t.i32, true)?,
            O::I32Load16U { memarg } => self.narrow_load(memarg, t.i16, t.i32, false)?,
            O::I64Load8S { memarg } => self.narrow_load(memarg, t.i8, t.i64, true)?,
            O::I64Load8U { memarg } => self.narrow_load(memarg, t.i8, t.i64, false)?,
            O::I64Load16S { memarg } => self.narrow_load(memarg, t.i16, t.i64, true)?,
            O::I64Load16U { memarg } => self.narrow_load(memarg, t.i16, t.i64, false)?,
            O::I64Load32S { memarg } => self.narrow_load(memarg, t.i32, t.i64, true)?,
            O::I64Load32U { memarg } => self.narrow_load(memarg, t.i32, t.i64, false)?,
            O::I32Store { memarg }
            | O::F32Store { memarg }
            | O::I64Store { memarg }
            | O::F64Store { memarg } => self.plain_store(memarg)?,
            O::I32Store8 { memarg } | O::I64Store8 { memarg } => self.narrow_store(memarg, t.i8)?,
            O::I32Store16 { memarg } | O::I64Store16 { memarg } => {
                self.narrow_store(memarg, t.i16)?;
            }
            O::I64Store32 { memarg } => self.narrow_store(memarg, t.i32)?,
            _ => return self.whole_memory(operator),
        }
        Ok(true)
    }

    fn whole_memory(&mut self, operator: &Operator) -> Result<bool> {
        match *operator {
            Operator::MemorySize { mem } => {
                let length = self.memory_length(mem)?;
                let page = self.i64(u64::from(
                    self.unit.env.memories[mem as usize].page_size_log2.unwrap_or(16),
                ));
                let pages = self.b.build_right_shift(length, page, false, "")?;
                let pages = self.as_address_size(mem, pages)?;
                self.push(pages);
            }
            Operator::MemoryGrow { mem } => {
                let pages = self.pop_wide()?;
                let arguments = [self.i32(mem).into(), pages.into()];
                let previous = self.call_builtin_value(Builtin::MemoryGrow, &arguments)?;
                let previous = self.as_address_size(mem, previous)?;
                self.push(previous);
            }
            Operator::MemoryInit { data_index, mem } => {
                let (bytes, source) = (self.pop_int()?, self.pop_int()?);
                let destination = self.pop_wide()?;
                let (mem, data) = (self.i32(mem), self.i32(data_index));
                let arguments = [mem, data, destination, source, bytes].map(Into::into);
                self.call_checked(Builtin::MemoryInit, &arguments)?;
            }
            Operator::MemoryCopy { dst_mem, src_mem } => {
                let (bytes, source, destination) =
                    (self.pop_wide()?, self.pop_wide()?, self.pop_wide()?);
                let (to, from) = (self.i32(dst_mem), self.i32(src_mem));
                let arguments = [to, from, destination, source, bytes].map(Into::into);
                self.call_checked(Builtin::MemoryCopy, &arguments)?;
            }
            Operator::MemoryFill { mem } => {
                let bytes = self.pop_wide()?;
                let byte = self.pop_int()?;
                let destination = self.pop_wide()?;
                let arguments = [self.i32(mem), destination, byte, bytes].map(Into::into);
                self.call_checked(Builtin::MemoryFill, &arguments)?;
            }
            Operator::DataDrop { data_index } => {
                self.call_builtin(Builtin::DataDrop, &[self.i32(data_index).into()])?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    // Loads and stores.

    /// Pops an address, and loads a value of this type from there.
    pub(super) fn load_value(
        &mut self,
        memarg: &MemArg,
        ty: impl BasicType<'c>,
    ) -> Result<BasicValueEnum<'c>> {
        let ty = ty.as_basic_type_enum();
        let place = self.address(memarg, bytes_of(ty))?;
        let value = self.load(ty, place, Region::Memory)?;
        let load = instruction(value)?;
        load.set_alignment(1).map_err(internal)?;
        load.set_volatile(self.is_exact()).map_err(internal)?;
        Ok(value)
    }

    fn plain_load(&mut self, memarg: &MemArg, ty: impl BasicType<'c>) -> Result<()> {
        let value = self.load_value(memarg, ty)?;
        self.push(value);
        Ok(())
    }

    fn narrow_load(
        &mut self,
        memarg: &MemArg,
        narrow: IntType<'c>,
        ty: IntType<'c>,
        signed: bool,
    ) -> Result<()> {
        let value = self.load_value(memarg, narrow)?.into_int_value();
        let value = if signed {
            self.b.build_int_s_extend(value, ty, "")?
        } else {
            self.b.build_int_z_extend(value, ty, "")?
        };
        self.push(value);
        Ok(())
    }

    /// Pops an address, and stores the value there.
    pub(super) fn store_value(&mut self, memarg: &MemArg, value: BasicValueEnum<'c>) -> Result<()> {
        let place = self.address(memarg, bytes_of(value.get_type()))?;
        let store = self.store(value, place, Region::Memory)?;
        store.set_alignment(1).map_err(internal)?;
        store.set_volatile(self.is_exact()).map_err(internal)
    }

    fn plain_store(&mut self, memarg: &MemArg) -> Result<()> {
        let value = self.pop()?;
        self.store_value(memarg, value)
    }

    fn narrow_store(&mut self, memarg: &MemArg, narrow: IntType<'c>) -> Result<()> {
        let value = self.pop_int()?;
        let value = self.b.build_int_truncate(value, narrow, "")?;
        self.store_value(memarg, value.into())
    }

    /// Whether LLVM must be kept from dropping and moving accesses. Not if they trap in checks only, and no other thread
    /// sees them.
    fn is_exact(&self) -> bool {
        let exact = |memory: &MemoryType| !memory.memory64 || memory.shared;
        self.unit.options.exact_traps && !self.plain && self.unit.env.memories.iter().any(exact)
    }

    // Addresses.

    pub(super) fn memory_of(&self, memarg: &MemArg) -> Result<u32> {
        match memarg.target {
            MemArgTarget::Memory(index) => Ok(index),
            MemArgTarget::Array(_) => Err(self.unsupported("an access to an array")),
        }
    }

    /// Pops an address, and adds the offset. The sum of a 32-bit memory's does not overflow; another's is checked.
    pub(super) fn effective_address(&mut self, memarg: &MemArg) -> Result<IntValue<'c>> {
        self.locate();
        let memory64 = self.unit.env.memories[self.memory_of(memarg)? as usize].memory64;
        let address = self.pop_wide()?;
        if memarg.offset == 0 {
            return Ok(address);
        }
        let sum = self.b.build_int_add(address, self.i64(memarg.offset), "")?;
        if memory64 {
            let wrapped = self.b.build_int_compare(IntPredicate::ULT, sum, address, "")?;
            self.trap_if(wrapped, TrapCode::MemoryOutOfBounds)?;
        }
        Ok(sum)
    }

    /// Pops an address, and finds the place in this process's memory for an access of some bytes.
    fn address(&mut self, memarg: &MemArg, bytes: u32) -> Result<PointerValue<'c>> {
        let memory = self.memory_of(memarg)?;
        if self.is_guarded(memory) {
            self.locate();
            let address = self.pop_wide()?;
            let base = self.field(Field::MemoryBase(memory))?;
            let place = self.displace_by(base, address)?;
            return Ok(self.displace(place, memarg.offset)?);
        }
        let address = self.effective_address(memarg)?;
        self.place(memory, address, bytes)
    }

    /// Whether the memory reserves all that its addresses can reach, and a guard, so that accesses are not checked.
    fn is_guarded(&self, memory: u32) -> bool {
        !self.unit.env.memories[memory as usize].memory64
    }

    /// The place of an effective address. If nothing else does, a check keeps the access in memory.
    pub(super) fn place(
        &mut self,
        memory: u32,
        address: IntValue<'c>,
        bytes: u32,
    ) -> Result<PointerValue<'c>> {
        if !self.is_guarded(memory) {
            let length = self.memory_length(memory)?;
            // The first address at which so many bytes do not fit; 0 if there are not so many.
            let difference = self.unit.intrinsic("llvm.usub.sat", self.unit.types.i64)?;
            let bytes = self.i64(u64::from(bytes - 1));
            let first = self.b.build_call(difference, &[length.into(), bytes.into()], "")?;
            let first = first.try_as_basic_value().unwrap_basic().into_int_value();
            let outside = self.b.build_int_compare(IntPredicate::UGE, address, first, "")?;
            self.trap_if(outside, TrapCode::MemoryOutOfBounds)?;
        }
        let base = self.field(Field::MemoryBase(memory))?;
        Ok(self.displace_by(base, address)?)
    }

    pub(super) fn memory_length(&mut self, memory: u32) -> Result<IntValue<'c>> {
        let place = self.field(Field::MemoryLength(memory))?;
        let length = if self.unit.env.memories[memory as usize].shared {
            self.load_shared(self.unit.types.i64, place)?
        } else {
            // Only this thread can change it, by a call.
            self.load(self.unit.types.i64, place, Region::Runtime)?
        };
        Ok(length.into_int_value())
    }

    /// Pops an address or a size of either width.
    pub(super) fn pop_wide(&mut self) -> Result<IntValue<'c>> {
        let value = self.pop_int()?;
        if value.get_type() == self.unit.types.i64 {
            return Ok(value);
        }
        Ok(self.b.build_int_z_extend(value, self.unit.types.i64, "")?)
    }

    /// A number of pages as the memory's operators give it.
    fn as_address_size(&self, memory: u32, value: IntValue<'c>) -> Result<IntValue<'c>> {
        if self.unit.env.memories[memory as usize].memory64 {
            return Ok(value);
        }
        Ok(self.b.build_int_truncate(value, self.unit.types.i32, "")?)
    }
}

/// Bytes of a value in linear memory.
fn bytes_of(ty: BasicTypeEnum) -> u32 {
    match ty {
        BasicTypeEnum::IntType(int) => int.get_bit_width() / 8,
        BasicTypeEnum::FloatType(float) => float.get_bit_width() / 8,
        _ => 16,
    }
}
