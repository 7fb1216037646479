//! Relaxed vector operators. Of the results that the specification allows, every tier gives the same one: mostly
//! that of the operator which is not relaxed.

use inkwell::types::VectorType;
use inkwell::values::VectorValue;
use wasmparser::Operator;

use super::{Sign, Translator};
use crate::error::Result;

impl<'c> Translator<'_, 'c, '_> {
    pub(super) fn vector_relaxed(&mut self, operator: &Operator) -> Result<bool> {
        use Operator as O;
        let t = self.unit.types;
        match operator {
            O::I8x16RelaxedSwizzle => self.swizzle()?,
            O::I32x4RelaxedTruncF32x4S => self.lanes_truncate(t.f32x4, Sign::Signed)?,
            O::I32x4RelaxedTruncF32x4U => self.lanes_truncate(t.f32x4, Sign::Unsigned)?,
            O::I32x4RelaxedTruncF64x2SZero => self.lanes_truncate(t.f64x2, Sign::Signed)?,
            O::I32x4RelaxedTruncF64x2UZero => self.lanes_truncate(t.f64x2, Sign::Unsigned)?,
            O::F32x4RelaxedMadd => self.multiply_add(t.f32x4, false)?,
            O::F64x2RelaxedMadd => self.multiply_add(t.f64x2, false)?,
            O::F32x4RelaxedNmadd => self.multiply_add(t.f32x4, true)?,
            O::F64x2RelaxedNmadd => self.multiply_add(t.f64x2, true)?,
            O::I8x16RelaxedLaneselect
            | O::I16x8RelaxedLaneselect
            | O::I32x4RelaxedLaneselect
            | O::I64x2RelaxedLaneselect => self.bit_select()?,
            O::F32x4RelaxedMin => self.lanes_extremum(t.f32x4, "llvm.minimum")?,
            O::F64x2RelaxedMin => self.lanes_extremum(t.f64x2, "llvm.minimum")?,
            O::F32x4RelaxedMax => self.lanes_extremum(t.f32x4, "llvm.maximum")?,
            O::F64x2RelaxedMax => self.lanes_extremum(t.f64x2, "llvm.maximum")?,
            O::I16x8RelaxedQ15mulrS => self.q15_multiply()?,
            O::I16x8RelaxedDotI8x16I7x16S => {
                self.vector2(t.i8x16, |this, x, y| this.dot(x, y))?;
            }
            O::I32x4RelaxedDotI8x16I7x16AddS => {
                let sum = self.pop_vector(t.i32x4)?;
                self.vector2(t.i8x16, |this, x, y| {
                    let dot = this.dot_of_four(x, y)?;
                    Ok(this.b.build_int_add(dot, sum, "")?)
                })?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `x * y + z`, or `z - x * y`, rounded once.
    fn multiply_add(&mut self, ty: VectorType<'c>, negated: bool) -> Result<()> {
        let z = self.pop_vector(ty)?;
        self.vector2(ty, |this, x, y| {
            let factor = if negated { this.b.build_float_neg(x, "")? } else { x };
            let value = this.vector_intrinsic("llvm.fma", &[factor, y, z])?;
            let constant = x.is_const() || y.is_const() || z.is_const();
            let value = this.still_quiet_lanes(value, constant)?;
            this.canonical_lanes(value)
        })
    }

    /// Sums of four neighbouring products each, exact.
    fn dot_of_four(&self, x: VectorValue<'c>, y: VectorValue<'c>) -> Result<VectorValue<'c>> {
        let (x, y) = (self.widened(x, Sign::Signed)?, self.widened(y, Sign::Signed)?);
        let products = self.b.build_int_mul(x, y, "")?;
        let pairs = self.add_pairs(products, Sign::Signed)?;
        let [even, odd] = self.even_and_odd(pairs)?;
        Ok(self.b.build_int_add(even, odd, "")?)
    }
}
