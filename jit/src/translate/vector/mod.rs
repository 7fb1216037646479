//! Vectors of 128 bits.
//!
//! On the operand stack, in locals and in the calling conventions a vector is always LLVM's `<2 x i64>`. An operator
//! that sees other lanes in it changes the type of its operands and of its result, which is no instruction.
//! Vectors twice as wide hold intermediate results; LLVM finds the instructions that need none.

mod float;
mod integer;
mod lanes;
mod memory;
mod relaxed;

use inkwell::types::{BasicTypeEnum, VectorType};
use inkwell::values::{BasicValueEnum, IntValue, VectorValue};
use wasmparser::Operator;

use super::Translator;
use crate::error::Result;

impl<'c> Translator<'_, 'c, '_> {
    pub(super) fn vector(&mut self, operator: &Operator) -> Result<bool> {
        Ok(self.vector_lanes(operator)?
            || self.vector_bits(operator)?
            || self.vector_integer(operator)?
            || self.vector_compare(operator)?
            || self.vector_widening(operator)?
            || self.vector_float(operator)?
            || self.vector_convert(operator)?
            || self.vector_memory(operator)?
            || self.vector_relaxed(operator)?)
    }

    // The operand stack.

    /// The top operand, seen as lanes of this type.
    fn pop_vector(&mut self, ty: VectorType<'c>) -> Result<VectorValue<'c>> {
        let value = self.pop()?.into_vector_value();
        self.seen_as(value, ty)
    }

    fn push_vector(&mut self, value: VectorValue<'c>) -> Result<()> {
        let value = self.seen_as(value, self.unit.types.v128)?;
        self.push(value);
        Ok(())
    }

    fn seen_as(&self, value: VectorValue<'c>, ty: VectorType<'c>) -> Result<VectorValue<'c>> {
        if value.get_type() == ty {
            return Ok(value);
        }
        Ok(self.b.build_bit_cast(value, ty, "")?.into_vector_value())
    }

    /// An operator of one operand.
    fn vector1(
        &mut self,
        ty: VectorType<'c>,
        build: impl FnOnce(&Self, VectorValue<'c>) -> Result<VectorValue<'c>>,
    ) -> Result<()> {
        let x = self.pop_vector(ty)?;
        let value = build(self, x)?;
        self.push_vector(value)
    }

    /// An operator of two operands of the same type.
    fn vector2(
        &mut self,
        ty: VectorType<'c>,
        build: impl FnOnce(&Self, VectorValue<'c>, VectorValue<'c>) -> Result<VectorValue<'c>>,
    ) -> Result<()> {
        let (y, x) = (self.pop_vector(ty)?, self.pop_vector(ty)?);
        let value = build(self, x, y)?;
        self.push_vector(value)
    }

    // Constants and steps that several operators share.

    /// A vector of integers with the same number in all lanes.
    fn all_lanes(&self, ty: VectorType<'c>, value: i64) -> VectorValue<'c> {
        let lane = lane_type(ty).into_int_type().const_int(value as u64, true);
        VectorType::const_vector(&vec![lane; ty.get_size() as usize])
    }

    fn splat(&self, value: BasicValueEnum<'c>, ty: VectorType<'c>) -> Result<VectorValue<'c>> {
        let one = self.b.build_insert_element(ty.get_poison(), value, self.i32(0), "")?;
        self.shuffle(one, one, std::iter::repeat_n(0, ty.get_size() as usize))
    }

    /// Lanes of `x` and, behind them, of `y`, by their numbers.
    fn shuffle(
        &self,
        x: VectorValue<'c>,
        y: VectorValue<'c>,
        lanes: impl IntoIterator<Item = u32>,
    ) -> Result<VectorValue<'c>> {
        let lanes: Vec<IntValue> = lanes.into_iter().map(|lane| self.i32(lane)).collect();
        Ok(self.b.build_shuffle_vector(x, y, VectorType::const_vector(&lanes), "")?)
    }

    /// The lower or the upper half of the lanes.
    fn half(&self, x: VectorValue<'c>, half: Half) -> Result<VectorValue<'c>> {
        let count = x.get_type().get_size() / 2;
        let first = if half == Half::High { count } else { 0 };
        self.shuffle(x, x, first..first + count)
    }

    /// The lanes of even number, and those of odd number.
    fn even_and_odd(&self, x: VectorValue<'c>) -> Result<[VectorValue<'c>; 2]> {
        let lanes = 0..x.get_type().get_size();
        Ok([
            self.shuffle(x, x, lanes.clone().step_by(2))?,
            self.shuffle(x, x, lanes.skip(1).step_by(2))?,
        ])
    }

    /// Integer lanes of twice their width.
    fn widened(&self, x: VectorValue<'c>, sign: Sign) -> Result<VectorValue<'c>> {
        let ty = x.get_type();
        let bits = lane_type(ty).into_int_type().get_bit_width() * 2;
        let lane = match bits {
            16 => self.unit.types.i16,
            32 => self.unit.types.i32,
            _ => self.unit.types.i64,
        };
        let ty = lane.vec_type(ty.get_size());
        Ok(match sign {
            Sign::Signed => self.b.build_int_s_extend(x, ty, "")?,
            Sign::Unsigned => self.b.build_int_z_extend(x, ty, "")?,
        })
    }

    /// Calls an intrinsic whose operands and result have the same type.
    fn vector_intrinsic(
        &self,
        name: &'static str,
        operands: &[VectorValue<'c>],
    ) -> Result<VectorValue<'c>> {
        let intrinsic = self.unit.intrinsic(name, operands[0].get_type())?;
        let operands: Vec<_> = operands.iter().map(|operand| (*operand).into()).collect();
        let value = self.b.build_call(intrinsic, &operands, "")?;
        Ok(value.try_as_basic_value().unwrap_basic().into_vector_value())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Low,
    High,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Signed,
    Unsigned,
}

fn lane_type(ty: VectorType<'_>) -> BasicTypeEnum<'_> {
    ty.get_element_type()
}
