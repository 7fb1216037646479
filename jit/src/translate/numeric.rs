//! Arithmetic and comparisons.

use inkwell::builder::{Builder, BuilderError};
use inkwell::llvm_sys::core::LLVMIsAConstantFP;
use inkwell::values::{AsValueRef, FloatValue, IntValue};
use inkwell::{FloatPredicate, IntPredicate};
use wasmparser::Operator;

use super::Translator;
use crate::abi::TrapCode;
use crate::compile::Level;
use crate::error::Result;

/// Bits of the infinity, above which there are the NaNs, and of the canonical NaN.
pub(super) const INFINITY_32: u64 = 0x7f80_0000;
pub(super) const INFINITY_64: u64 = 0x7ff0_0000_0000_0000;
pub(super) const NAN_32: u64 = 0x7fc0_0000;
pub(super) const NAN_64: u64 = 0x7ff8_0000_0000_0000;

type Built<T> = Result<T, BuilderError>;

impl<'c> Translator<'_, 'c, '_> {
    pub(super) fn numeric(&mut self, operator: &Operator) -> Result<bool> {
        Ok(self.integer(operator)? || self.compare(operator)? || self.float(operator)?)
    }

    fn integer(&mut self, operator: &Operator) -> Result<bool> {
        use Operator as O;
        match operator {
            O::I32Add | O::I64Add => self.int(|b, x, y| b.build_int_add(x, y, ""))?,
            O::I32Sub | O::I64Sub => self.int(|b, x, y| b.build_int_sub(x, y, ""))?,
            O::I32Mul | O::I64Mul => self.int(|b, x, y| b.build_int_mul(x, y, ""))?,
            O::I32And | O::I64And => self.int(|b, x, y| b.build_and(x, y, ""))?,
            O::I32Or | O::I64Or => self.int(|b, x, y| b.build_or(x, y, ""))?,
            O::I32Xor | O::I64Xor => self.int(|b, x, y| b.build_xor(x, y, ""))?,
            O::I32Shl | O::I64Shl => {
                self.shift(|b, x, y| b.build_left_shift(x, y, ""))?;
            }
            O::I32ShrS | O::I64ShrS => {
                self.shift(|b, x, y| b.build_right_shift(x, y, true, ""))?;
            }
            O::I32ShrU | O::I64ShrU => {
                self.shift(|b, x, y| b.build_right_shift(x, y, false, ""))?;
            }
            O::I32Rotl | O::I64Rotl => self.rotate("llvm.fshl")?,
            O::I32Rotr | O::I64Rotr => self.rotate("llvm.fshr")?,
            O::I32Clz | O::I64Clz => self.count_zeros("llvm.ctlz")?,
            O::I32Ctz | O::I64Ctz => self.count_zeros("llvm.cttz")?,
            O::I32Popcnt | O::I64Popcnt => {
                let x = self.pop_int()?;
                let count = self.unit.intrinsic("llvm.ctpop", x.get_type())?;
                let value = self.b.build_call(count, &[x.into()], "")?;
                self.push(value.try_as_basic_value().unwrap_basic());
            }
            O::I32DivS | O::I64DivS => self.divide(true)?,
            O::I32DivU | O::I64DivU => self.divide(false)?,
            O::I32RemS | O::I64RemS => self.remainder(true)?,
            O::I32RemU | O::I64RemU => self.remainder(false)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn compare(&mut self, operator: &Operator) -> Result<bool> {
        use Operator as O;
        match operator {
            O::I32Eqz | O::I64Eqz => self.equals_zero()?,
            O::I32Eq | O::I64Eq => self.int_compare(IntPredicate::EQ)?,
            O::I32Ne | O::I64Ne => self.int_compare(IntPredicate::NE)?,
            O::I32LtS | O::I64LtS => self.int_compare(IntPredicate::SLT)?,
            O::I32LtU | O::I64LtU => self.int_compare(IntPredicate::ULT)?,
            O::I32GtS | O::I64GtS => self.int_compare(IntPredicate::SGT)?,
            O::I32GtU | O::I64GtU => self.int_compare(IntPredicate::UGT)?,
            O::I32LeS | O::I64LeS => self.int_compare(IntPredicate::SLE)?,
            O::I32LeU | O::I64LeU => self.int_compare(IntPredicate::ULE)?,
            O::I32GeS | O::I64GeS => self.int_compare(IntPredicate::SGE)?,
            O::I32GeU | O::I64GeU => self.int_compare(IntPredicate::UGE)?,
            O::F32Eq | O::F64Eq => self.float_compare(FloatPredicate::OEQ)?,
            O::F32Ne | O::F64Ne => self.float_compare(FloatPredicate::UNE)?,
            O::F32Lt | O::F64Lt => self.float_compare(FloatPredicate::OLT)?,
            O::F32Gt | O::F64Gt => self.float_compare(FloatPredicate::OGT)?,
            O::F32Le | O::F64Le => self.float_compare(FloatPredicate::OLE)?,
            O::F32Ge | O::F64Ge => self.float_compare(FloatPredicate::OGE)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn float(&mut self, operator: &Operator) -> Result<bool> {
        use Operator as O;
        match operator {
            O::F32Add | O::F64Add => self.float2(|b, x, y| b.build_float_add(x, y, ""))?,
            O::F32Sub | O::F64Sub => self.float2(|b, x, y| b.build_float_sub(x, y, ""))?,
            O::F32Mul | O::F64Mul => self.float2(|b, x, y| b.build_float_mul(x, y, ""))?,
            O::F32Div | O::F64Div => self.float2(|b, x, y| b.build_float_div(x, y, ""))?,
            O::F32Min | O::F64Min => self.extremum("llvm.minimum")?,
            O::F32Max | O::F64Max => self.extremum("llvm.maximum")?,
            O::F32Sqrt | O::F64Sqrt => self.float_intrinsic("llvm.sqrt", 1)?,
            O::F32Ceil | O::F64Ceil => self.float_intrinsic("llvm.ceil", 1)?,
            O::F32Floor | O::F64Floor => self.float_intrinsic("llvm.floor", 1)?,
            O::F32Trunc | O::F64Trunc => self.float_intrinsic("llvm.trunc", 1)?,
            O::F32Nearest | O::F64Nearest => self.float_intrinsic("llvm.roundeven", 1)?,
            // These three move bits, and change no NaN.
            O::F32Abs | O::F64Abs => {
                let value = self.call_float_intrinsic("llvm.fabs", 1)?;
                self.push(value);
            }
            O::F32Copysign | O::F64Copysign => {
                let value = self.call_float_intrinsic("llvm.copysign", 2)?;
                self.push(value);
            }
            O::F32Neg | O::F64Neg => {
                let x = self.pop_float()?;
                self.push(self.b.build_float_neg(x, "")?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn int(
        &mut self,
        build: impl FnOnce(&Builder<'c>, IntValue<'c>, IntValue<'c>) -> Built<IntValue<'c>>,
    ) -> Result<()> {
        let (y, x) = (self.pop_int()?, self.pop_int()?);
        self.push(build(&self.b, x, y)?);
        Ok(())
    }

    /// Wasm takes the count modulo the width; LLVM wants it smaller than the width.
    fn shift(
        &mut self,
        build: impl FnOnce(&Builder<'c>, IntValue<'c>, IntValue<'c>) -> Built<IntValue<'c>>,
    ) -> Result<()> {
        let (y, x) = (self.pop_int()?, self.pop_int()?);
        let ty = y.get_type();
        let mask = ty.const_int(u64::from(ty.get_bit_width()) - 1, false);
        let y = self.b.build_and(y, mask, "")?;
        self.push(build(&self.b, x, y)?);
        Ok(())
    }

    fn rotate(&mut self, funnel: &'static str) -> Result<()> {
        let (y, x) = (self.pop_int()?, self.pop_int()?);
        let funnel = self.unit.intrinsic(funnel, x.get_type())?;
        let value = self.b.build_call(funnel, &[x.into(), x.into(), y.into()], "")?;
        self.push(value.try_as_basic_value().unwrap_basic());
        Ok(())
    }

    fn count_zeros(&mut self, intrinsic: &'static str) -> Result<()> {
        let x = self.pop_int()?;
        let count = self.unit.intrinsic(intrinsic, x.get_type())?;
        let zero_is_poison = self.unit.types.i1.const_zero();
        let value = self.b.build_call(count, &[x.into(), zero_is_poison.into()], "")?;
        self.push(value.try_as_basic_value().unwrap_basic());
        Ok(())
    }

    fn divide(&mut self, signed: bool) -> Result<()> {
        let (y, x) = (self.pop_int()?, self.pop_int()?);
        self.check_divisor(y)?;
        let value = if signed {
            let ty = x.get_type();
            let minimum = ty.const_int(1 << (ty.get_bit_width() - 1), false);
            // A constant divisor is mostly not -1, and then there is nothing to check.
            if y.get_sign_extended_constant().is_none_or(|y| y == -1) {
                let minus_one = ty.const_all_ones();
                let lowest = self.b.build_int_compare(IntPredicate::EQ, x, minimum, "")?;
                let negates = self.b.build_int_compare(IntPredicate::EQ, y, minus_one, "")?;
                let overflows = self.b.build_and(lowest, negates, "")?;
                self.trap_if(overflows, TrapCode::IntegerOverflow)?;
            }
            self.b.build_int_signed_div(x, y, "")?
        } else {
            self.b.build_int_unsigned_div(x, y, "")?
        };
        self.push(value);
        Ok(())
    }

    fn remainder(&mut self, signed: bool) -> Result<()> {
        let (y, x) = (self.pop_int()?, self.pop_int()?);
        self.check_divisor(y)?;
        let value = if signed {
            // The remainder by -1 is 0, but the machine traps on it for the lowest number. By 1 it is 0 too.
            let ty = y.get_type();
            let negates = self.b.build_int_compare(IntPredicate::EQ, y, ty.const_all_ones(), "")?;
            let one = ty.const_int(1, false);
            let y = self.b.build_select(negates, one, y, "")?.into_int_value();
            self.b.build_int_signed_rem(x, y, "")?
        } else {
            self.b.build_int_unsigned_rem(x, y, "")?
        };
        self.push(value);
        Ok(())
    }

    fn check_divisor(&mut self, divisor: IntValue<'c>) -> Result<()> {
        if divisor.get_zero_extended_constant().is_some_and(|value| value != 0) {
            return Ok(());
        }
        let zero = divisor.get_type().const_zero();
        let by_zero = self.b.build_int_compare(IntPredicate::EQ, divisor, zero, "")?;
        self.trap_if(by_zero, TrapCode::IntegerDivideByZero)
    }

    fn int_compare(&mut self, predicate: IntPredicate) -> Result<()> {
        let (y, x) = (self.pop_int()?, self.pop_int()?);
        self.push(self.b.build_int_compare(predicate, x, y, "")?);
        Ok(())
    }

    fn equals_zero(&mut self) -> Result<()> {
        let value = self.stack.pop().expect("validated: the operand is there").into_int_value();
        let result = if value.get_type() == self.unit.types.i1 {
            self.b.build_not(value, "")?
        } else {
            let zero = value.get_type().const_zero();
            self.b.build_int_compare(IntPredicate::EQ, value, zero, "")?
        };
        self.push(result);
        Ok(())
    }

    fn float_compare(&mut self, predicate: FloatPredicate) -> Result<()> {
        let (y, x) = (self.pop_float()?, self.pop_float()?);
        self.push(self.b.build_float_compare(predicate, x, y, "")?);
        Ok(())
    }

    fn float2(
        &mut self,
        build: impl FnOnce(&Builder<'c>, FloatValue<'c>, FloatValue<'c>) -> Built<FloatValue<'c>>,
    ) -> Result<()> {
        let (y, x) = (self.pop_float()?, self.pop_float()?);
        let value = build(&self.b, x, y)?;
        let value = self.still_quiet(value, may_fold(x) || may_fold(y))?;
        self.push_arithmetic(value)
    }

    fn float_intrinsic(&mut self, name: &'static str, operands: usize) -> Result<()> {
        let value = self.call_float_intrinsic(name, operands)?;
        self.push_arithmetic(value)
    }

    /// LLVM's lets a signalling NaN through, against its own documentation.
    fn extremum(&mut self, name: &'static str) -> Result<()> {
        let value = self.call_float_intrinsic(name, 2)?;
        let value = self.still_quiet(value, true)?;
        self.push_arithmetic(value)
    }

    fn call_float_intrinsic(
        &mut self,
        name: &'static str,
        operands: usize,
    ) -> Result<FloatValue<'c>> {
        let values = self.pop_many(operands)?;
        let intrinsic = self.unit.intrinsic(name, values[0].get_type())?;
        let arguments: Vec<_> = values.into_iter().map(Into::into).collect();
        let value = self.b.build_call(intrinsic, &arguments, "")?;
        Ok(value.try_as_basic_value().unwrap_basic().into_float_value())
    }

    /// Whether the result of an operator, which is quiet, must be told to be. `folds`: the operator is one that LLVM drops
    /// in any case; in full code it may turn out to be ([`crate::quiet`]).
    pub(super) fn must_quiet(&self, folds: bool) -> bool {
        (folds || self.unit.level == Level::Full) && !self.unit.options.canonicalize_nan
    }

    /// The value, with a signalling NaN made quiet if it must be.
    pub(super) fn still_quiet(&self, value: FloatValue<'c>, folds: bool) -> Result<FloatValue<'c>> {
        if !self.must_quiet(folds) {
            return Ok(value);
        }
        let canonicalize = self.unit.intrinsic("llvm.canonicalize", value.get_type())?;
        let value = self.b.build_call(canonicalize, &[value.into()], "")?;
        Ok(value.try_as_basic_value().unwrap_basic().into_float_value())
    }

    /// Pushes what an operator computed that may give any NaN. All on integers: LLVM may take one NaN for another, and
    /// drops a choice between a square root and a NaN where the root is one.
    pub(super) fn push_arithmetic(&mut self, value: FloatValue<'c>) -> Result<()> {
        if !self.unit.options.canonicalize_nan {
            self.push(value);
            return Ok(());
        }
        let (types, ty) = (self.unit.types, value.get_type());
        let (bits, infinity, nan) = if ty == types.f32 {
            (types.i32, INFINITY_32, NAN_32)
        } else {
            (types.i64, INFINITY_64, NAN_64)
        };
        let value = self.b.build_bit_cast(value, bits, "")?.into_int_value();
        let sign = self.b.build_not(bits.const_int(1 << (bits.get_bit_width() - 1), false), "")?;
        let magnitude = self.b.build_and(value, sign, "")?;
        let infinity = bits.const_int(infinity, false);
        let is_nan = self.b.build_int_compare(IntPredicate::UGT, magnitude, infinity, "")?;
        let value = self.b.build_select(is_nan, bits.const_int(nan, false), value, "")?;
        self.push(self.b.build_bit_cast(value, ty, "")?);
        Ok(())
    }
}

/// Whether LLVM may drop an operator with this operand.
fn may_fold(value: FloatValue) -> bool {
    // SAFETY: the value lives. Behind a trap, constants fold to poison, which is a constant and has no number.
    if unsafe { LLVMIsAConstantFP(value.as_value_ref()) }.is_null() {
        return false;
    }
    value.get_constant().is_some_and(|(number, _)| number.abs() == 1.0 || number == 0.0)
}
