//! Loads and stores of vectors and of their lanes.

use inkwell::types::VectorType;
use wasmparser::{MemArg, Operator};

use super::{Sign, Translator, lane_type};
use crate::error::Result;

impl<'c> Translator<'_, 'c, '_> {
    pub(super) fn vector_memory(&mut self, operator: &Operator) -> Result<bool> {
        use Operator as O;
        use Sign::{Signed, Unsigned};
        let t = self.unit.types;
        match operator {
            O::V128Load { memarg } => {
                let value = self.load_value(memarg, t.v128)?;
                self.push(value);
            }
            O::V128Store { memarg } => {
                let value = self.pop()?;
                self.store_value(memarg, value)?;
            }
            O::V128Load8x8S { memarg } => self.load_extended(memarg, t.i8.vec_type(8), Signed)?,
            O::V128Load8x8U { memarg } => self.load_extended(memarg, t.i8.vec_type(8), Unsigned)?,
            O::V128Load16x4S { memarg } => self.load_extended(memarg, t.i16.vec_type(4), Signed)?,
            O::V128Load16x4U { memarg } => {
                self.load_extended(memarg, t.i16.vec_type(4), Unsigned)?;
            }
            O::V128Load32x2S { memarg } => self.load_extended(memarg, t.i32.vec_type(2), Signed)?,
            O::V128Load32x2U { memarg } => {
                self.load_extended(memarg, t.i32.vec_type(2), Unsigned)?;
            }
            O::V128Load8Splat { memarg } => self.load_splat(memarg, t.i8x16)?,
            O::V128Load16Splat { memarg } => self.load_splat(memarg, t.i16x8)?,
            O::V128Load32Splat { memarg } => self.load_splat(memarg, t.i32x4)?,
            O::V128Load64Splat { memarg } => self.load_splat(memarg, t.i64x2)?,
            O::V128Load32Zero { memarg } => self.load_first(memarg, t.i32x4)?,
            O::V128Load64Zero { memarg } => self.load_first(memarg, t.i64x2)?,
            O::V128Load8Lane { memarg, lane } => self.load_lane(memarg, t.i8x16, *lane)?,
            O::V128Load16Lane { memarg, lane } => self.load_lane(memarg, t.i16x8, *lane)?,
            O::V128Load32Lane { memarg, lane } => self.load_lane(memarg, t.i32x4, *lane)?,
            O::V128Load64Lane { memarg, lane } => self.load_lane(memarg, t.i64x2, *lane)?,
            O::V128Store8Lane { memarg, lane } => self.store_lane(memarg, t.i8x16, *lane)?,
            O::V128Store16Lane { memarg, lane } => self.store_lane(memarg, t.i16x8, *lane)?,
            O::V128Store32Lane { memarg, lane } => self.store_lane(memarg, t.i32x4, *lane)?,
            O::V128Store64Lane { memarg, lane } => self.store_lane(memarg, t.i64x2, *lane)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Loads 64 bits, lanes of half their final width.
    fn load_extended(&mut self, memarg: &MemArg, ty: VectorType<'c>, sign: Sign) -> Result<()> {
        let bits = self.load_value(memarg, self.unit.types.i64)?;
        let lanes = self.b.build_bit_cast(bits, ty, "")?.into_vector_value();
        let value = self.widened(lanes, sign)?;
        self.push_vector(value)
    }

    fn load_splat(&mut self, memarg: &MemArg, ty: VectorType<'c>) -> Result<()> {
        let value = self.load_value(memarg, lane_type(ty))?;
        let value = self.splat(value, ty)?;
        self.push_vector(value)
    }

    /// Loads the first lane; the others are zero.
    fn load_first(&mut self, memarg: &MemArg, ty: VectorType<'c>) -> Result<()> {
        let value = self.load_value(memarg, lane_type(ty))?;
        let value = self.b.build_insert_element(ty.const_zero(), value, self.i32(0), "")?;
        self.push_vector(value)
    }

    fn load_lane(&mut self, memarg: &MemArg, ty: VectorType<'c>, lane: u8) -> Result<()> {
        let vector = self.pop_vector(ty)?;
        let value = self.load_value(memarg, lane_type(ty))?;
        let value = self.b.build_insert_element(vector, value, self.i32(lane.into()), "")?;
        self.push_vector(value)
    }

    fn store_lane(&mut self, memarg: &MemArg, ty: VectorType<'c>, lane: u8) -> Result<()> {
        let vector = self.pop_vector(ty)?;
        let value = self.b.build_extract_element(vector, self.i32(lane.into()), "")?;
        self.store_value(memarg, value)
    }
}
