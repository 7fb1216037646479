//! Conversions between number types.

use inkwell::FloatPredicate;
use inkwell::types::{FloatType, IntType};
use inkwell::values::{InstructionOpcode, IntValue};
use wasmparser::Operator;

use super::Translator;
use crate::abi::TrapCode;
use crate::error::Result;

impl<'c> Translator<'_, 'c, '_> {
    pub(super) fn convert(&mut self, operator: &Operator) -> Result<bool> {
        use Operator as O;
        let t = self.unit.types;
        match operator {
            O::I32WrapI64 => {
                let x = self.pop_int()?;
                self.push(self.b.build_int_truncate(x, t.i32, "")?);
            }
            O::I64ExtendI32U => {
                let x = self.pop_int()?;
                self.push(self.b.build_int_z_extend(x, t.i64, "")?);
            }
            O::I64ExtendI32S => {
                let x = self.pop_int()?;
                self.push(self.b.build_int_s_extend(x, t.i64, "")?);
            }
            O::I32Extend8S | O::I64Extend8S => self.extend_low(t.i8)?,
            O::I32Extend16S | O::I64Extend16S => self.extend_low(t.i16)?,
            O::I64Extend32S => self.extend_low(t.i32)?,
            O::I32TruncF32S | O::I32TruncF64S => self.truncate(t.i32, true)?,
            O::I32TruncF32U | O::I32TruncF64U => self.truncate(t.i32, false)?,
            O::I64TruncF32S | O::I64TruncF64S => self.truncate(t.i64, true)?,
            O::I64TruncF32U | O::I64TruncF64U => self.truncate(t.i64, false)?,
            O::I32TruncSatF32S | O::I32TruncSatF64S => self.saturate(t.i32, true)?,
            O::I32TruncSatF32U | O::I32TruncSatF64U => self.saturate(t.i32, false)?,
            O::I64TruncSatF32S | O::I64TruncSatF64S => self.saturate(t.i64, true)?,
            O::I64TruncSatF32U | O::I64TruncSatF64U => self.saturate(t.i64, false)?,
            O::F32ConvertI32S | O::F32ConvertI64S => self.float_from(t.f32, true)?,
            O::F32ConvertI32U | O::F32ConvertI64U => self.float_from(t.f32, false)?,
            O::F64ConvertI32S | O::F64ConvertI64S => self.float_from(t.f64, true)?,
            O::F64ConvertI32U | O::F64ConvertI64U => self.float_from(t.f64, false)?,
            O::F32DemoteF64 => {
                let x = self.pop_float()?;
                let promoted = x.as_instruction().is_some_and(|instruction| {
                    instruction.get_opcode() == InstructionOpcode::FPExt
                });
                let value = self.b.build_float_trunc(x, t.f32, "")?;
                let value = self.still_quiet(value, promoted)?;
                self.push_arithmetic(value)?;
            }
            O::F64PromoteF32 => {
                let x = self.pop_float()?;
                let value = self.b.build_float_ext(x, t.f64, "")?;
                self.push_arithmetic(value)?;
            }
            O::I32ReinterpretF32 => {
                let x = self.pop_float()?;
                self.push(self.b.build_bit_cast(x, t.i32, "")?);
            }
            O::I64ReinterpretF64 => {
                let x = self.pop_float()?;
                self.push(self.b.build_bit_cast(x, t.i64, "")?);
            }
            O::F32ReinterpretI32 => {
                let x = self.pop_int()?;
                self.push(self.b.build_bit_cast(x, t.f32, "")?);
            }
            O::F64ReinterpretI64 => {
                let x = self.pop_int()?;
                self.push(self.b.build_bit_cast(x, t.f64, "")?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn extend_low(&mut self, low: IntType<'c>) -> Result<()> {
        let x = self.pop_int()?;
        let value = self.b.build_int_truncate(x, low, "")?;
        self.push(self.b.build_int_s_extend(value, x.get_type(), "")?);
        Ok(())
    }

    /// Truncation that traps where the result does not fit; LLVM's own is undefined there.
    fn truncate(&mut self, ty: IntType<'c>, signed: bool) -> Result<()> {
        let x = self.pop_float()?;
        let (above, lowest, below) =
            bounds(ty.get_bit_width(), signed, x.get_type() == self.unit.types.f32);
        let constant = |value: f64| x.get_type().const_float(value);
        let low_enough = if lowest {
            self.b.build_float_compare(FloatPredicate::OGE, x, constant(above), "")?
        } else {
            self.b.build_float_compare(FloatPredicate::OGT, x, constant(above), "")?
        };
        let high_enough =
            self.b.build_float_compare(FloatPredicate::OLT, x, constant(below), "")?;
        let fits = self.b.build_and(low_enough, high_enough, "")?;
        let fails = self.b.build_not(fits, "")?;

        self.locate();
        let (trap, next) = (self.cold_block(), self.block());
        self.b.build_conditional_branch(fails, trap, next)?;
        self.b.position_at_end(trap);
        let is_nan = self.b.build_float_compare(FloatPredicate::UNO, x, x, "")?;
        let invalid = self.i32(TrapCode::InvalidConversionToInteger as u32);
        let overflow = self.i32(TrapCode::IntegerOverflow as u32);
        let code = self.b.build_select(is_nan, invalid, overflow, "")?.into_int_value();
        self.raise(code)?;
        self.b.position_at_end(next);
        let value = if signed {
            self.b.build_float_to_signed_int(x, ty, "")?
        } else {
            self.b.build_float_to_unsigned_int(x, ty, "")?
        };
        self.push(value);
        Ok(())
    }

    fn saturate(&mut self, ty: IntType<'c>, signed: bool) -> Result<()> {
        let x = self.pop_float()?;
        let name = if signed { "llvm.fptosi.sat" } else { "llvm.fptoui.sat" };
        let convert = self.unit.intrinsic_of(name, &[ty.into(), x.get_type().into()])?;
        let value = self.b.build_call(convert, &[x.into()], "")?;
        self.push(value.try_as_basic_value().unwrap_basic());
        Ok(())
    }

    fn float_from(&mut self, ty: FloatType<'c>, signed: bool) -> Result<()> {
        let x: IntValue = self.pop_int()?;
        let value = if signed {
            self.b.build_signed_int_to_float(x, ty, "")?
        } else {
            self.b.build_unsigned_int_to_float(x, ty, "")?
        };
        self.push(value);
        Ok(())
    }
}

/// Between which numbers a float must lie so that its integer part fits: the lower bound, whether that bound itself
/// fits, and the upper bound (which never does). All are exact in the float's type.
fn bounds(bits: u32, signed: bool, single: bool) -> (f64, bool, f64) {
    let below = 2f64.powi(bits as i32 - i32::from(signed));
    if !signed {
        return (-1.0, false, below);
    }
    // One below the lowest integer is a number only if the significand has a bit for it.
    let significand = if single { 24 } else { 53 };
    if bits < significand { (-below - 1.0, false, below) } else { (-below, true, below) }
}

#[cfg(test)]
mod tests {
    use super::bounds;

    #[test]
    fn bounds_are_exact_in_their_type() {
        assert_eq!(bounds(32, true, false), (-2_147_483_649.0, false, 2_147_483_648.0));
        assert_eq!(bounds(32, true, true), (-2_147_483_648.0, true, 2_147_483_648.0));
        assert_eq!(
            bounds(64, true, false),
            (-9_223_372_036_854_775_808.0, true, 9_223_372_036_854_775_808.0)
        );
        assert_eq!(bounds(64, false, true), (-1.0, false, 18_446_744_073_709_551_616.0));
        for (bits, signed) in [(32, true), (32, false), (64, true), (64, false)] {
            let (above, _, below) = bounds(bits, signed, true);
            assert_eq!((f64::from(above as f32), f64::from(below as f32)), (above, below));
        }
    }
}
