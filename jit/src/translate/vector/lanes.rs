//! Constants, lanes, shuffles, and operators that see a vector as bits.

use inkwell::IntPredicate;
use inkwell::types::VectorType;
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, VectorValue};
use wasmparser::Operator;

use super::{Sign, Translator, lane_type};
use crate::error::Result;
use crate::unit::Region;

impl<'c> Translator<'_, 'c, '_> {
    pub(super) fn vector_lanes(&mut self, operator: &Operator) -> Result<bool> {
        use Operator as O;
        let t = self.unit.types;
        match *operator {
            O::V128Const { value } => self.push(self.vector_constant(value.bytes())),
            O::I8x16Splat => self.push_splat(t.i8x16)?,
            O::I16x8Splat => self.push_splat(t.i16x8)?,
            O::I32x4Splat => self.push_splat(t.i32x4)?,
            O::I64x2Splat => self.push_splat(t.i64x2)?,
            O::F32x4Splat => self.push_splat(t.f32x4)?,
            O::F64x2Splat => self.push_splat(t.f64x2)?,
            O::I8x16ExtractLaneS { lane } => self.extract_narrow(t.i8x16, lane, Sign::Signed)?,
            O::I8x16ExtractLaneU { lane } => self.extract_narrow(t.i8x16, lane, Sign::Unsigned)?,
            O::I16x8ExtractLaneS { lane } => self.extract_narrow(t.i16x8, lane, Sign::Signed)?,
            O::I16x8ExtractLaneU { lane } => self.extract_narrow(t.i16x8, lane, Sign::Unsigned)?,
            O::I32x4ExtractLane { lane } => self.extract(t.i32x4, lane)?,
            O::I64x2ExtractLane { lane } => self.extract(t.i64x2, lane)?,
            O::F32x4ExtractLane { lane } => self.extract(t.f32x4, lane)?,
            O::F64x2ExtractLane { lane } => self.extract(t.f64x2, lane)?,
            O::I8x16ReplaceLane { lane } => self.replace(t.i8x16, lane)?,
            O::I16x8ReplaceLane { lane } => self.replace(t.i16x8, lane)?,
            O::I32x4ReplaceLane { lane } => self.replace(t.i32x4, lane)?,
            O::I64x2ReplaceLane { lane } => self.replace(t.i64x2, lane)?,
            O::F32x4ReplaceLane { lane } => self.replace(t.f32x4, lane)?,
            O::F64x2ReplaceLane { lane } => self.replace(t.f64x2, lane)?,
            O::I8x16Shuffle { lanes } => {
                self.vector2(t.i8x16, |this, x, y| this.shuffle(x, y, lanes.map(u32::from)))?;
            }
            O::I8x16Swizzle => self.swizzle()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn vector_bits(&mut self, operator: &Operator) -> Result<bool> {
        use Operator as O;
        let ty = self.unit.types.v128;
        match operator {
            O::V128Not => self.vector1(ty, |this, x| Ok(this.b.build_not(x, "")?))?,
            O::V128And => self.vector2(ty, |this, x, y| Ok(this.b.build_and(x, y, "")?))?,
            O::V128Or => self.vector2(ty, |this, x, y| Ok(this.b.build_or(x, y, "")?))?,
            O::V128Xor => self.vector2(ty, |this, x, y| Ok(this.b.build_xor(x, y, "")?))?,
            O::V128AndNot => self.vector2(ty, |this, x, y| {
                let y = this.b.build_not(y, "")?;
                Ok(this.b.build_and(x, y, "")?)
            })?,
            O::V128Bitselect => self.bit_select()?,
            O::V128AnyTrue => {
                let x = self.pop()?;
                let wide = self.unit.context.i128_type();
                let bits = self.b.build_bit_cast(x, wide, "")?.into_int_value();
                let zero = wide.const_zero();
                self.push(self.b.build_int_compare(IntPredicate::NE, bits, zero, "")?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn vector_constant(&self, bytes: &[u8; 16]) -> VectorValue<'c> {
        let (low, high) = bytes.split_at(8);
        let half = |bytes: &[u8]| {
            self.i64(u64::from_le_bytes(bytes.try_into().expect("a half has 8 bytes")))
        };
        VectorType::const_vector(&[half(low), half(high)])
    }

    fn push_splat(&mut self, ty: VectorType<'c>) -> Result<()> {
        let value = self.pop_lane(ty)?;
        let value = self.splat(value, ty)?;
        self.push_vector(value)
    }

    /// The top operand, as narrow as a lane.
    fn pop_lane(&mut self, ty: VectorType<'c>) -> Result<BasicValueEnum<'c>> {
        let (value, lane) = (self.pop()?, lane_type(ty));
        if value.get_type() == lane {
            return Ok(value);
        }
        let narrow = self.b.build_int_truncate(value.into_int_value(), lane.into_int_type(), "")?;
        Ok(narrow.into())
    }

    fn extract(&mut self, ty: VectorType<'c>, lane: u8) -> Result<()> {
        let x = self.pop_vector(ty)?;
        let value = self.b.build_extract_element(x, self.i32(lane.into()), "")?;
        self.push(value);
        Ok(())
    }

    fn extract_narrow(&mut self, ty: VectorType<'c>, lane: u8, sign: Sign) -> Result<()> {
        self.extract(ty, lane)?;
        let (value, i32) = (self.pop_int()?, self.unit.types.i32);
        let value = match sign {
            Sign::Signed => self.b.build_int_s_extend(value, i32, "")?,
            Sign::Unsigned => self.b.build_int_z_extend(value, i32, "")?,
        };
        self.push(value);
        Ok(())
    }

    fn replace(&mut self, ty: VectorType<'c>, lane: u8) -> Result<()> {
        let value = self.pop_lane(ty)?;
        self.vector1(ty, |this, x| {
            Ok(this.b.build_insert_element(x, value, this.i32(lane.into()), "")?)
        })
    }

    /// `(x & mask) | (y & !mask)`.
    pub(super) fn bit_select(&mut self) -> Result<()> {
        let mask = self.pop_vector(self.unit.types.v128)?;
        self.vector2(self.unit.types.v128, |this, x, y| {
            let differing = this.b.build_xor(x, y, "")?;
            let taken = this.b.build_and(differing, mask, "")?;
            Ok(this.b.build_xor(taken, y, "")?)
        })
    }

    /// Lanes by numbers that are computed; a number of 16 or more gives zero.
    pub(super) fn swizzle(&mut self) -> Result<()> {
        let ty = self.unit.types.i8x16;
        let (lanes, x) = (self.pop_vector(ty)?, self.pop_vector(ty)?);
        if self.unit.ssse3 {
            // The instruction gives zero where the top bit is set, and ignores the three below it.
            let above = self.all_lanes(ty, 0x70);
            let lanes = self.vector_intrinsic("llvm.uadd.sat", &[lanes, above])?;
            let shuffle = self.unit.intrinsic_of("llvm.x86.ssse3.pshuf.b.128", &[])?;
            let operands = [x, lanes].map(BasicMetadataValueEnum::from);
            let value = self.b.build_call(shuffle, &operands, "")?;
            return self.push_vector(value.try_as_basic_value().unwrap_basic().into_vector_value());
        }
        // In memory, with one zero behind the lanes.
        let place = self.scratch(3)?;
        let store = self.store(x, place, Region::Runtime)?;
        store.set_alignment(8).map_err(super::super::build::internal)?;
        let behind = self.displace(place, 16)?;
        self.store(self.i64(0), behind, Region::Runtime)?;
        let lanes = self.vector_intrinsic("llvm.umin", &[lanes, self.all_lanes(ty, 16)])?;
        let mut value = ty.get_poison();
        for lane in 0..16 {
            let lane = self.i32(lane);
            let from = self.b.build_extract_element(lanes, lane, "")?.into_int_value();
            let from = self.b.build_int_z_extend(from, self.unit.types.i64, "")?;
            let from = self.displace_by(place, from)?;
            let byte = self.load(self.unit.types.i8, from, Region::Runtime)?;
            value = self.b.build_insert_element(value, byte, lane, "")?;
        }
        self.push_vector(value)
    }
}
