//! Float lanes, and conversions between them and integer lanes.

use inkwell::builder::{Builder, BuilderError};
use inkwell::types::VectorType;
use inkwell::values::VectorValue;
use inkwell::{FloatPredicate, IntPredicate};
use wasmparser::Operator;

use super::super::numeric::{INFINITY_32, INFINITY_64, NAN_32, NAN_64};
use super::{Half, Sign, Translator};
use crate::error::Result;

type Built<T> = Result<T, BuilderError>;

impl<'c> Translator<'_, 'c, '_> {
    #[rustfmt::skip]
    pub(super) fn vector_float(&mut self, operator: &Operator) -> Result<bool> {
        use FloatPredicate as P;
        use Operator as O;
        let t = self.unit.types;
        match operator {
            O::F32x4Add => self.arithmetic(t.f32x4, |b, x, y| b.build_float_add(x, y, ""))?,
            O::F64x2Add => self.arithmetic(t.f64x2, |b, x, y| b.build_float_add(x, y, ""))?,
            O::F32x4Sub => self.arithmetic(t.f32x4, |b, x, y| b.build_float_sub(x, y, ""))?,
            O::F64x2Sub => self.arithmetic(t.f64x2, |b, x, y| b.build_float_sub(x, y, ""))?,
            O::F32x4Mul => self.arithmetic(t.f32x4, |b, x, y| b.build_float_mul(x, y, ""))?,
            O::F64x2Mul => self.arithmetic(t.f64x2, |b, x, y| b.build_float_mul(x, y, ""))?,
            O::F32x4Div => self.arithmetic(t.f32x4, |b, x, y| b.build_float_div(x, y, ""))?,
            O::F64x2Div => self.arithmetic(t.f64x2, |b, x, y| b.build_float_div(x, y, ""))?,
            O::F32x4Min => self.lanes_extremum(t.f32x4, "llvm.minimum")?,
            O::F64x2Min => self.lanes_extremum(t.f64x2, "llvm.minimum")?,
            O::F32x4Max => self.lanes_extremum(t.f32x4, "llvm.maximum")?,
            O::F64x2Max => self.lanes_extremum(t.f64x2, "llvm.maximum")?,
            O::F32x4Sqrt => self.rounding(t.f32x4, "llvm.sqrt")?,
            O::F64x2Sqrt => self.rounding(t.f64x2, "llvm.sqrt")?,
            O::F32x4Ceil => self.rounding(t.f32x4, "llvm.ceil")?,
            O::F64x2Ceil => self.rounding(t.f64x2, "llvm.ceil")?,
            O::F32x4Floor => self.rounding(t.f32x4, "llvm.floor")?,
            O::F64x2Floor => self.rounding(t.f64x2, "llvm.floor")?,
            O::F32x4Trunc => self.rounding(t.f32x4, "llvm.trunc")?,
            O::F64x2Trunc => self.rounding(t.f64x2, "llvm.trunc")?,
            O::F32x4Nearest => self.rounding(t.f32x4, "llvm.roundeven")?,
            O::F64x2Nearest => self.rounding(t.f64x2, "llvm.roundeven")?,
            // The rest moves bits, and changes no NaN.
            O::F32x4Abs => self.vector1(t.f32x4, |this, x| this.vector_intrinsic("llvm.fabs", &[x]))?,
            O::F64x2Abs => self.vector1(t.f64x2, |this, x| this.vector_intrinsic("llvm.fabs", &[x]))?,
            O::F32x4Neg => self.vector1(t.f32x4, |this, x| Ok(this.b.build_float_neg(x, "")?))?,
            O::F64x2Neg => self.vector1(t.f64x2, |this, x| Ok(this.b.build_float_neg(x, "")?))?,
            O::F32x4PMin => self.pseudo_extremum(t.f32x4, P::OLT)?,
            O::F64x2PMin => self.pseudo_extremum(t.f64x2, P::OLT)?,
            O::F32x4PMax => self.pseudo_extremum(t.f32x4, P::OGT)?,
            O::F64x2PMax => self.pseudo_extremum(t.f64x2, P::OGT)?,
            O::F32x4Eq => self.lanes_compare(t.f32x4, P::OEQ)?,
            O::F64x2Eq => self.lanes_compare(t.f64x2, P::OEQ)?,
            O::F32x4Ne => self.lanes_compare(t.f32x4, P::UNE)?,
            O::F64x2Ne => self.lanes_compare(t.f64x2, P::UNE)?,
            O::F32x4Lt => self.lanes_compare(t.f32x4, P::OLT)?,
            O::F64x2Lt => self.lanes_compare(t.f64x2, P::OLT)?,
            O::F32x4Gt => self.lanes_compare(t.f32x4, P::OGT)?,
            O::F64x2Gt => self.lanes_compare(t.f64x2, P::OGT)?,
            O::F32x4Le => self.lanes_compare(t.f32x4, P::OLE)?,
            O::F64x2Le => self.lanes_compare(t.f64x2, P::OLE)?,
            O::F32x4Ge => self.lanes_compare(t.f32x4, P::OGE)?,
            O::F64x2Ge => self.lanes_compare(t.f64x2, P::OGE)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn vector_convert(&mut self, operator: &Operator) -> Result<bool> {
        use Operator as O;
        use Sign::{Signed, Unsigned};
        let t = self.unit.types;
        match operator {
            O::I32x4TruncSatF32x4S => self.lanes_truncate(t.f32x4, Signed)?,
            O::I32x4TruncSatF32x4U => self.lanes_truncate(t.f32x4, Unsigned)?,
            O::I32x4TruncSatF64x2SZero => self.lanes_truncate(t.f64x2, Signed)?,
            O::I32x4TruncSatF64x2UZero => self.lanes_truncate(t.f64x2, Unsigned)?,
            O::F32x4ConvertI32x4S => self.lanes_convert(t.f32x4, Signed)?,
            O::F32x4ConvertI32x4U => self.lanes_convert(t.f32x4, Unsigned)?,
            O::F64x2ConvertLowI32x4S => self.lanes_convert(t.f64x2, Signed)?,
            O::F64x2ConvertLowI32x4U => self.lanes_convert(t.f64x2, Unsigned)?,
            O::F32x4DemoteF64x2Zero => self.vector1(t.f64x2, |this, x| {
                let value = this.b.build_float_trunc(x, t.f32.vec_type(2), "")?;
                // LLVM has no code to make two lanes quiet.
                let value = this.with_zeros(value)?;
                let value = this.still_quiet_lanes(value, true)?;
                this.canonical_lanes(value)
            })?,
            O::F64x2PromoteLowF32x4 => self.vector1(t.f32x4, |this, x| {
                let x = this.half(x, Half::Low)?;
                let value = this.b.build_float_ext(x, t.f64x2, "")?;
                this.canonical_lanes(value)
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn arithmetic(
        &mut self,
        ty: VectorType<'c>,
        build: impl FnOnce(&Builder<'c>, VectorValue<'c>, VectorValue<'c>) -> Built<VectorValue<'c>>,
    ) -> Result<()> {
        self.vector2(ty, |this, x, y| {
            let value = build(&this.b, x, y)?;
            let value = this.still_quiet_lanes(value, x.is_const() || y.is_const())?;
            this.canonical_lanes(value)
        })
    }

    fn rounding(&mut self, ty: VectorType<'c>, name: &'static str) -> Result<()> {
        self.vector1(ty, |this, x| {
            let value = this.vector_intrinsic(name, &[x])?;
            this.canonical_lanes(value)
        })
    }

    /// LLVM's lets a signalling NaN through, against its own documentation.
    pub(super) fn lanes_extremum(&mut self, ty: VectorType<'c>, name: &'static str) -> Result<()> {
        self.vector2(ty, |this, x, y| {
            let value = this.vector_intrinsic(name, &[x, y])?;
            let value = this.still_quiet_lanes(value, true)?;
            this.canonical_lanes(value)
        })
    }

    /// `y` where it compares with `x`, otherwise `x`.
    fn pseudo_extremum(&mut self, ty: VectorType<'c>, predicate: FloatPredicate) -> Result<()> {
        self.vector2(ty, |this, x, y| {
            let holds = this.b.build_float_compare(predicate, y, x, "")?;
            Ok(this.b.build_select(holds, y, x, "")?.into_vector_value())
        })
    }

    fn lanes_compare(&mut self, ty: VectorType<'c>, predicate: FloatPredicate) -> Result<()> {
        let t = self.unit.types;
        let result = if ty == t.f32x4 { t.i32x4 } else { t.i64x2 };
        self.vector2(ty, |this, x, y| {
            let holds = this.b.build_float_compare(predicate, x, y, "")?;
            Ok(this.b.build_int_s_extend(holds, result, "")?)
        })
    }

    /// To integers of 32 bits, as near as they come; a NaN gives zero, and so do the lanes that are missing.
    pub(super) fn lanes_truncate(&mut self, ty: VectorType<'c>, sign: Sign) -> Result<()> {
        self.vector1(ty, |this, x| {
            let name = match sign {
                Sign::Signed => "llvm.fptosi.sat",
                Sign::Unsigned => "llvm.fptoui.sat",
            };
            let result = this.unit.types.i32.vec_type(ty.get_size());
            let convert = this.unit.intrinsic_of(name, &[result.into(), ty.into()])?;
            let value = this.b.build_call(convert, &[x.into()], "")?;
            let value = value.try_as_basic_value().unwrap_basic().into_vector_value();
            if ty.get_size() == 4 { Ok(value) } else { this.with_zeros(value) }
        })
    }

    /// From the first integers of 32 bits.
    fn lanes_convert(&mut self, ty: VectorType<'c>, sign: Sign) -> Result<()> {
        self.vector1(self.unit.types.i32x4, |this, x| {
            let x = if ty.get_size() == 4 { x } else { this.half(x, Half::Low)? };
            Ok(match sign {
                Sign::Signed => this.b.build_signed_int_to_float(x, ty, "")?,
                Sign::Unsigned => this.b.build_unsigned_int_to_float(x, ty, "")?,
            })
        })
    }

    /// Two lanes, and two that are zero.
    fn with_zeros(&self, value: VectorValue<'c>) -> Result<VectorValue<'c>> {
        self.shuffle(value, value.get_type().const_zero(), 0..4)
    }

    /// As for scalars.
    pub(super) fn still_quiet_lanes(
        &self,
        value: VectorValue<'c>,
        folds: bool,
    ) -> Result<VectorValue<'c>> {
        if self.must_quiet(folds) {
            return self.vector_intrinsic("llvm.canonicalize", &[value]);
        }
        Ok(value)
    }

    /// What an operator gives that may give any NaN. As for scalars, on integers.
    pub(super) fn canonical_lanes(&self, value: VectorValue<'c>) -> Result<VectorValue<'c>> {
        if !self.unit.options.canonicalize_nan {
            return Ok(value);
        }
        let (t, ty) = (self.unit.types, value.get_type());
        let (bits, infinity, nan) = if ty == t.f32x4 {
            (t.i32x4, INFINITY_32, NAN_32)
        } else {
            (t.i64x2, INFINITY_64, NAN_64)
        };
        let value = self.seen_as(value, bits)?;
        let sign = if ty == t.f32x4 { i64::from(i32::MAX) } else { i64::MAX };
        let magnitude = self.b.build_and(value, self.all_lanes(bits, sign), "")?;
        let infinity = self.all_lanes(bits, infinity as i64);
        let is_nan = self.b.build_int_compare(IntPredicate::UGT, magnitude, infinity, "")?;
        let canonical = self.all_lanes(bits, nan as i64);
        Ok(self.b.build_select(is_nan, canonical, value, "")?.into_vector_value())
    }
}
