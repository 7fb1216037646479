//! Integer lanes.

use std::num::NonZero;

use inkwell::IntPredicate;
use inkwell::types::VectorType;
use inkwell::values::{IntValue, VectorValue};
use wasmparser::Operator;

use super::super::build::internal;
use super::{Half, Sign, Translator, lane_type};
use crate::compile::Level;
use crate::error::Result;

impl<'c> Translator<'_, 'c, '_> {
    #[rustfmt::skip]
    pub(super) fn vector_integer(&mut self, operator: &Operator) -> Result<bool> {
        use Operator as O;
        let t = self.unit.types;
        match operator {
            O::I8x16Add => self.lanes_add(t.i8x16)?,
            O::I16x8Add => self.lanes_add(t.i16x8)?,
            O::I32x4Add => self.lanes_add(t.i32x4)?,
            O::I64x2Add => self.lanes_add(t.i64x2)?,
            O::I8x16Sub => self.lanes_sub(t.i8x16)?,
            O::I16x8Sub => self.lanes_sub(t.i16x8)?,
            O::I32x4Sub => self.lanes_sub(t.i32x4)?,
            O::I64x2Sub => self.lanes_sub(t.i64x2)?,
            O::I16x8Mul => self.lanes_mul(t.i16x8)?,
            O::I32x4Mul => self.lanes_mul(t.i32x4)?,
            O::I64x2Mul => self.lanes_mul(t.i64x2)?,
            O::I8x16Neg => self.vector1(t.i8x16, |this, x| Ok(this.b.build_int_neg(x, "")?))?,
            O::I16x8Neg => self.vector1(t.i16x8, |this, x| Ok(this.b.build_int_neg(x, "")?))?,
            O::I32x4Neg => self.vector1(t.i32x4, |this, x| Ok(this.b.build_int_neg(x, "")?))?,
            O::I64x2Neg => self.vector1(t.i64x2, |this, x| Ok(this.b.build_int_neg(x, "")?))?,
            O::I8x16Abs => self.lanes_abs(t.i8x16)?,
            O::I16x8Abs => self.lanes_abs(t.i16x8)?,
            O::I32x4Abs => self.lanes_abs(t.i32x4)?,
            O::I64x2Abs => self.lanes_abs(t.i64x2)?,

            O::I8x16AddSatS => self.lanes2(t.i8x16, "llvm.sadd.sat")?,
            O::I16x8AddSatS => self.lanes2(t.i16x8, "llvm.sadd.sat")?,
            O::I8x16AddSatU => self.lanes2(t.i8x16, "llvm.uadd.sat")?,
            O::I16x8AddSatU => self.lanes2(t.i16x8, "llvm.uadd.sat")?,
            O::I8x16SubSatS => self.lanes2(t.i8x16, "llvm.ssub.sat")?,
            O::I16x8SubSatS => self.lanes2(t.i16x8, "llvm.ssub.sat")?,
            O::I8x16SubSatU => self.lanes2(t.i8x16, "llvm.usub.sat")?,
            O::I16x8SubSatU => self.lanes2(t.i16x8, "llvm.usub.sat")?,
            O::I8x16MinS => self.lanes2(t.i8x16, "llvm.smin")?,
            O::I16x8MinS => self.lanes2(t.i16x8, "llvm.smin")?,
            O::I32x4MinS => self.lanes2(t.i32x4, "llvm.smin")?,
            O::I8x16MinU => self.lanes2(t.i8x16, "llvm.umin")?,
            O::I16x8MinU => self.lanes2(t.i16x8, "llvm.umin")?,
            O::I32x4MinU => self.lanes2(t.i32x4, "llvm.umin")?,
            O::I8x16MaxS => self.lanes2(t.i8x16, "llvm.smax")?,
            O::I16x8MaxS => self.lanes2(t.i16x8, "llvm.smax")?,
            O::I32x4MaxS => self.lanes2(t.i32x4, "llvm.smax")?,
            O::I8x16MaxU => self.lanes2(t.i8x16, "llvm.umax")?,
            O::I16x8MaxU => self.lanes2(t.i16x8, "llvm.umax")?,
            O::I32x4MaxU => self.lanes2(t.i32x4, "llvm.umax")?,
            O::I8x16Popcnt => {
                self.vector1(t.i8x16, |this, x| this.vector_intrinsic("llvm.ctpop", &[x]))?;
            }
            O::I8x16AvgrU => self.average(t.i8x16)?,
            O::I16x8AvgrU => self.average(t.i16x8)?,
            O::I16x8Q15MulrSatS => self.q15_multiply()?,

            O::I8x16Shl => self.lanes_shift(t.i8x16, Shift::Left)?,
            O::I16x8Shl => self.lanes_shift(t.i16x8, Shift::Left)?,
            O::I32x4Shl => self.lanes_shift(t.i32x4, Shift::Left)?,
            O::I64x2Shl => self.lanes_shift(t.i64x2, Shift::Left)?,
            O::I8x16ShrS => self.lanes_shift(t.i8x16, Shift::Right(Sign::Signed))?,
            O::I16x8ShrS => self.lanes_shift(t.i16x8, Shift::Right(Sign::Signed))?,
            O::I32x4ShrS => self.lanes_shift(t.i32x4, Shift::Right(Sign::Signed))?,
            O::I64x2ShrS => self.lanes_shift(t.i64x2, Shift::Right(Sign::Signed))?,
            O::I8x16ShrU => self.lanes_shift(t.i8x16, Shift::Right(Sign::Unsigned))?,
            O::I16x8ShrU => self.lanes_shift(t.i16x8, Shift::Right(Sign::Unsigned))?,
            O::I32x4ShrU => self.lanes_shift(t.i32x4, Shift::Right(Sign::Unsigned))?,
            O::I64x2ShrU => self.lanes_shift(t.i64x2, Shift::Right(Sign::Unsigned))?,

            O::I8x16AllTrue => self.all_true(t.i8x16)?,
            O::I16x8AllTrue => self.all_true(t.i16x8)?,
            O::I32x4AllTrue => self.all_true(t.i32x4)?,
            O::I64x2AllTrue => self.all_true(t.i64x2)?,
            O::I8x16Bitmask => self.bitmask(t.i8x16)?,
            O::I16x8Bitmask => self.bitmask(t.i16x8)?,
            O::I32x4Bitmask => self.bitmask(t.i32x4)?,
            O::I64x2Bitmask => self.bitmask(t.i64x2)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn vector_compare(&mut self, operator: &Operator) -> Result<bool> {
        use IntPredicate as P;
        use Operator as O;
        let t = self.unit.types;
        let (ty, predicate) = match operator {
            O::I8x16Eq => (t.i8x16, P::EQ),
            O::I16x8Eq => (t.i16x8, P::EQ),
            O::I32x4Eq => (t.i32x4, P::EQ),
            O::I64x2Eq => (t.i64x2, P::EQ),
            O::I8x16Ne => (t.i8x16, P::NE),
            O::I16x8Ne => (t.i16x8, P::NE),
            O::I32x4Ne => (t.i32x4, P::NE),
            O::I64x2Ne => (t.i64x2, P::NE),
            O::I8x16LtS => (t.i8x16, P::SLT),
            O::I16x8LtS => (t.i16x8, P::SLT),
            O::I32x4LtS => (t.i32x4, P::SLT),
            O::I64x2LtS => (t.i64x2, P::SLT),
            O::I8x16LtU => (t.i8x16, P::ULT),
            O::I16x8LtU => (t.i16x8, P::ULT),
            O::I32x4LtU => (t.i32x4, P::ULT),
            O::I8x16GtS => (t.i8x16, P::SGT),
            O::I16x8GtS => (t.i16x8, P::SGT),
            O::I32x4GtS => (t.i32x4, P::SGT),
            O::I64x2GtS => (t.i64x2, P::SGT),
            O::I8x16GtU => (t.i8x16, P::UGT),
            O::I16x8GtU => (t.i16x8, P::UGT),
            O::I32x4GtU => (t.i32x4, P::UGT),
            O::I8x16LeS => (t.i8x16, P::SLE),
            O::I16x8LeS => (t.i16x8, P::SLE),
            O::I32x4LeS => (t.i32x4, P::SLE),
            O::I64x2LeS => (t.i64x2, P::SLE),
            O::I8x16LeU => (t.i8x16, P::ULE),
            O::I16x8LeU => (t.i16x8, P::ULE),
            O::I32x4LeU => (t.i32x4, P::ULE),
            O::I8x16GeS => (t.i8x16, P::SGE),
            O::I16x8GeS => (t.i16x8, P::SGE),
            O::I32x4GeS => (t.i32x4, P::SGE),
            O::I64x2GeS => (t.i64x2, P::SGE),
            O::I8x16GeU => (t.i8x16, P::UGE),
            O::I16x8GeU => (t.i16x8, P::UGE),
            O::I32x4GeU => (t.i32x4, P::UGE),
            _ => return Ok(false),
        };
        self.vector2(ty, |this, x, y| {
            let holds = this.b.build_int_compare(predicate, x, y, "")?;
            Ok(this.b.build_int_s_extend(holds, ty, "")?)
        })?;
        Ok(true)
    }

    /// Operators whose result has lanes of another width.
    #[rustfmt::skip]
    pub(super) fn vector_widening(&mut self, operator: &Operator) -> Result<bool> {
        use Half::{High, Low};
        use Operator as O;
        use Sign::{Signed, Unsigned};
        let t = self.unit.types;
        match operator {
            O::I16x8ExtendLowI8x16S => self.extend(t.i8x16, Low, Signed)?,
            O::I16x8ExtendLowI8x16U => self.extend(t.i8x16, Low, Unsigned)?,
            O::I16x8ExtendHighI8x16S => self.extend(t.i8x16, High, Signed)?,
            O::I16x8ExtendHighI8x16U => self.extend(t.i8x16, High, Unsigned)?,
            O::I32x4ExtendLowI16x8S => self.extend(t.i16x8, Low, Signed)?,
            O::I32x4ExtendLowI16x8U => self.extend(t.i16x8, Low, Unsigned)?,
            O::I32x4ExtendHighI16x8S => self.extend(t.i16x8, High, Signed)?,
            O::I32x4ExtendHighI16x8U => self.extend(t.i16x8, High, Unsigned)?,
            O::I64x2ExtendLowI32x4S => self.extend(t.i32x4, Low, Signed)?,
            O::I64x2ExtendLowI32x4U => self.extend(t.i32x4, Low, Unsigned)?,
            O::I64x2ExtendHighI32x4S => self.extend(t.i32x4, High, Signed)?,
            O::I64x2ExtendHighI32x4U => self.extend(t.i32x4, High, Unsigned)?,

            O::I16x8ExtMulLowI8x16S => self.extended_mul(t.i8x16, Low, Signed)?,
            O::I16x8ExtMulLowI8x16U => self.extended_mul(t.i8x16, Low, Unsigned)?,
            O::I16x8ExtMulHighI8x16S => self.extended_mul(t.i8x16, High, Signed)?,
            O::I16x8ExtMulHighI8x16U => self.extended_mul(t.i8x16, High, Unsigned)?,
            O::I32x4ExtMulLowI16x8S => self.extended_mul(t.i16x8, Low, Signed)?,
            O::I32x4ExtMulLowI16x8U => self.extended_mul(t.i16x8, Low, Unsigned)?,
            O::I32x4ExtMulHighI16x8S => self.extended_mul(t.i16x8, High, Signed)?,
            O::I32x4ExtMulHighI16x8U => self.extended_mul(t.i16x8, High, Unsigned)?,
            O::I64x2ExtMulLowI32x4S => self.extended_mul(t.i32x4, Low, Signed)?,
            O::I64x2ExtMulLowI32x4U => self.extended_mul(t.i32x4, Low, Unsigned)?,
            O::I64x2ExtMulHighI32x4S => self.extended_mul(t.i32x4, High, Signed)?,
            O::I64x2ExtMulHighI32x4U => self.extended_mul(t.i32x4, High, Unsigned)?,

            O::I16x8ExtAddPairwiseI8x16S => self.vector1(t.i8x16, |this, x| this.add_pairs(x, Signed))?,
            O::I16x8ExtAddPairwiseI8x16U => self.vector1(t.i8x16, |this, x| this.add_pairs(x, Unsigned))?,
            O::I32x4ExtAddPairwiseI16x8S => self.vector1(t.i16x8, |this, x| this.add_pairs(x, Signed))?,
            O::I32x4ExtAddPairwiseI16x8U => self.vector1(t.i16x8, |this, x| this.add_pairs(x, Unsigned))?,
            O::I32x4DotI16x8S => self.vector2(t.i16x8, |this, x, y| this.dot(x, y))?,

            O::I8x16NarrowI16x8S => self.narrow(t.i16x8, t.i8x16, Signed)?,
            O::I8x16NarrowI16x8U => self.narrow(t.i16x8, t.i8x16, Unsigned)?,
            O::I16x8NarrowI32x4S => self.narrow(t.i32x4, t.i16x8, Signed)?,
            O::I16x8NarrowI32x4U => self.narrow(t.i32x4, t.i16x8, Unsigned)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn lanes_add(&mut self, ty: VectorType<'c>) -> Result<()> {
        self.vector2(ty, |this, x, y| Ok(this.b.build_int_add(x, y, "")?))
    }

    fn lanes_sub(&mut self, ty: VectorType<'c>) -> Result<()> {
        self.vector2(ty, |this, x, y| Ok(this.b.build_int_sub(x, y, "")?))
    }

    fn lanes_mul(&mut self, ty: VectorType<'c>) -> Result<()> {
        self.vector2(ty, |this, x, y| Ok(this.b.build_int_mul(x, y, "")?))
    }

    fn lanes2(&mut self, ty: VectorType<'c>, name: &'static str) -> Result<()> {
        self.vector2(ty, |this, x, y| this.vector_intrinsic(name, &[x, y]))
    }

    fn lanes_abs(&mut self, ty: VectorType<'c>) -> Result<()> {
        self.vector1(ty, |this, x| {
            let abs = this.unit.intrinsic("llvm.abs", ty)?;
            // Of the lowest number it is that number.
            let lowest_is_poison = this.unit.types.i1.const_zero();
            let value = this.b.build_call(abs, &[x.into(), lowest_is_poison.into()], "")?;
            Ok(value.try_as_basic_value().unwrap_basic().into_vector_value())
        })
    }

    /// `(x + y + 1) / 2` without a sign, in twice the width.
    fn average(&mut self, ty: VectorType<'c>) -> Result<()> {
        self.vector2(ty, |this, x, y| {
            let (x, y) = (this.widened(x, Sign::Unsigned)?, this.widened(y, Sign::Unsigned)?);
            let one = this.all_lanes(x.get_type(), 1);
            let sum = this.b.build_int_add(x, y, "")?;
            let sum = this.b.build_int_add(sum, one, "")?;
            let half = this.b.build_right_shift(sum, one, false, "")?;
            Ok(this.b.build_int_truncate(half, ty, "")?)
        })
    }

    /// Product of fractions of 15 bits, rounded.
    pub(super) fn q15_multiply(&mut self) -> Result<()> {
        self.vector2(self.unit.types.i16x8, |this, x, y| {
            let ty = x.get_type();
            let (x, y) = (this.widened(x, Sign::Signed)?, this.widened(y, Sign::Signed)?);
            let wide = x.get_type();
            let product = this.b.build_int_mul(x, y, "")?;
            let rounded = this.b.build_int_add(product, this.all_lanes(wide, 0x4000), "")?;
            let fraction = this.b.build_right_shift(rounded, this.all_lanes(wide, 15), true, "")?;
            // Only -1 times -1 is too large.
            let largest = this.all_lanes(wide, i64::from(i16::MAX));
            let fraction = this.vector_intrinsic("llvm.smin", &[fraction, largest])?;
            Ok(this.b.build_int_truncate(fraction, ty, "")?)
        })
    }

    /// The count is taken modulo the lanes' width.
    fn lanes_shift(&mut self, ty: VectorType<'c>, shift: Shift) -> Result<()> {
        let count = self.pop_int()?;
        let lane = lane_type(ty).into_int_type();
        let bits = lane.get_bit_width();
        let count = self.b.build_and(count, self.i32(bits - 1), "")?;
        let count = match bits {
            8 | 16 => self.b.build_int_truncate(count, lane, "")?,
            64 => self.b.build_int_z_extend(count, lane, "")?,
            _ => count,
        };
        let count = self.splat(count.into(), ty)?;
        self.vector1(ty, |this, x| {
            Ok(match shift {
                Shift::Left => this.b.build_left_shift(x, count, "")?,
                Shift::Right(sign) => {
                    this.b.build_right_shift(x, count, sign == Sign::Signed, "")?
                }
            })
        })
    }

    fn all_true(&mut self, ty: VectorType<'c>) -> Result<()> {
        let x = self.pop_vector(ty)?;
        let zeros = self.b.build_int_compare(IntPredicate::EQ, x, ty.const_zero(), "")?;
        let zeros = self.b.build_int_s_extend(zeros, ty, "")?;
        let zeros = self.sign_bits(zeros)?;
        self.push(self.b.build_int_compare(IntPredicate::EQ, zeros, self.i32(0), "")?);
        Ok(())
    }

    fn bitmask(&mut self, ty: VectorType<'c>) -> Result<()> {
        let x = self.pop_vector(ty)?;
        let bits = self.sign_bits(x)?;
        self.push(bits);
        Ok(())
    }

    /// The top bits of the lanes as a number, the first lowest.
    fn sign_bits(&self, x: VectorValue<'c>) -> Result<IntValue<'c>> {
        let (t, ty) = (self.unit.types, x.get_type());
        if self.unit.level == Level::Full {
            let negative = self.b.build_int_compare(IntPredicate::SLT, x, ty.const_zero(), "")?;
            let count = NonZero::new(ty.get_size()).expect("a vector has lanes");
            let bits = self.unit.context.custom_width_int_type(count).map_err(internal)?;
            let bits = self.b.build_bit_cast(negative, bits, "")?.into_int_value();
            return Ok(self.b.build_int_z_extend(bits, t.i32, "")?);
        }
        // Without optimisation, LLVM 22 takes the same bits from an undefined mask register if they are used twice.
        let call = |name, operands: &[VectorValue<'c>]| -> Result<_> {
            let intrinsic = self.unit.intrinsic_of(name, &[])?;
            let operands: Vec<_> = operands.iter().map(|operand| (*operand).into()).collect();
            let value = self.b.build_call(intrinsic, &operands, "")?;
            Ok(value.try_as_basic_value().unwrap_basic())
        };
        let bits = match ty.get_size() {
            16 => call("llvm.x86.sse2.pmovmskb.128", &[x])?,
            8 => {
                let none = ty.const_zero();
                let bytes = call("llvm.x86.sse2.packsswb.128", &[x, none])?.into_vector_value();
                call("llvm.x86.sse2.pmovmskb.128", &[bytes])?
            }
            4 => call("llvm.x86.sse.movmsk.ps", &[self.seen_as(x, t.f32x4)?])?,
            _ => call("llvm.x86.sse2.movmsk.pd", &[self.seen_as(x, t.f64x2)?])?,
        };
        Ok(bits.into_int_value())
    }

    fn extend(&mut self, ty: VectorType<'c>, half: Half, sign: Sign) -> Result<()> {
        self.vector1(ty, |this, x| {
            let x = this.half(x, half)?;
            this.widened(x, sign)
        })
    }

    fn extended_mul(&mut self, ty: VectorType<'c>, half: Half, sign: Sign) -> Result<()> {
        self.vector2(ty, |this, x, y| {
            let (x, y) = (this.half(x, half)?, this.half(y, half)?);
            let (x, y) = (this.widened(x, sign)?, this.widened(y, sign)?);
            Ok(this.b.build_int_mul(x, y, "")?)
        })
    }

    /// Sums of neighbours, in twice the width.
    pub(super) fn add_pairs(&self, x: VectorValue<'c>, sign: Sign) -> Result<VectorValue<'c>> {
        let wide = self.widened(x, sign)?;
        let [even, odd] = self.even_and_odd(wide)?;
        Ok(self.b.build_int_add(even, odd, "")?)
    }

    /// Sums of neighbouring products, in twice the width.
    pub(super) fn dot(&self, x: VectorValue<'c>, y: VectorValue<'c>) -> Result<VectorValue<'c>> {
        let (x, y) = (self.widened(x, Sign::Signed)?, self.widened(y, Sign::Signed)?);
        let products = self.b.build_int_mul(x, y, "")?;
        let [even, odd] = self.even_and_odd(products)?;
        Ok(self.b.build_int_add(even, odd, "")?)
    }

    /// Signed lanes of two vectors, as near as the narrow type comes to them.
    fn narrow(&mut self, wide: VectorType<'c>, ty: VectorType<'c>, sign: Sign) -> Result<()> {
        let bits = lane_type(ty).into_int_type().get_bit_width();
        let (lowest, highest) = match sign {
            Sign::Signed => (-1_i64 << (bits - 1), (1_i64 << (bits - 1)) - 1),
            Sign::Unsigned => (0, (1_i64 << bits) - 1),
        };
        self.vector2(wide, |this, x, y| {
            let all = this.shuffle(x, y, 0..2 * wide.get_size())?;
            let (lowest, highest) =
                (this.all_lanes(all.get_type(), lowest), this.all_lanes(all.get_type(), highest));
            let all = this.vector_intrinsic("llvm.smax", &[all, lowest])?;
            let all = this.vector_intrinsic("llvm.smin", &[all, highest])?;
            Ok(this.b.build_int_truncate(all, ty, "")?)
        })
    }
}

#[derive(Clone, Copy)]
enum Shift {
    Left,
    Right(Sign),
}
