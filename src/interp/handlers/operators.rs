//! The operators of numeric instructions, as the specification defines them (WebAssembly 2.0, section 4.3).

use super::Value;
use updraft_jit::abi::TrapCode;

/// An operator of two operands.
pub(crate) trait Binary {
    /// Type of the operands.
    type In: Value;
    /// Type of the result.
    type Out: Value;
    /// The result, or why there is none.
    fn apply(a: Self::In, b: Self::In) -> Result<Self::Out, TrapCode>;
}

/// An operator of one operand.
pub(crate) trait Unary {
    /// Type of the operand.
    type In: Value;
    /// Type of the result.
    type Out: Value;
    /// The result, or why there is none.
    fn apply(a: Self::In) -> Result<Self::Out, TrapCode>;
}

/// What is made of a product. The product is rounded: nothing here is a fused multiplication.
pub(crate) trait Product {
    /// Type of operands and result.
    type In: Value;
    /// The result for the product of the first two and the third.
    fn apply(a: Self::In, b: Self::In, c: Self::In) -> Self::In;
}

macro_rules! products {
    ($($name:ident: $f:ty, |$product:ident, $c:ident| $body:expr;)*) => {$(
        pub(crate) struct $name;
        impl Product for $name {
            type In = $f;
            #[inline(always)]
            fn apply(a: $f, b: $f, $c: $f) -> $f {
                let $product = a * b;
                $body
            }
        }
    )*};
}

products! {
    F32MulAdd: f32, |product, c| c + product;
    F32MulSub: f32, |product, c| product - c;
    F32MulFrom: f32, |product, c| c - product;
    F32MulMul: f32, |product, c| c * product;
    F64MulAdd: f64, |product, c| c + product;
    F64MulSub: f64, |product, c| product - c;
    F64MulFrom: f64, |product, c| c - product;
    F64MulMul: f64, |product, c| c * product;
}

macro_rules! binary {
    ($($name:ident: $in:ty => $out:ty, |$a:ident, $b:ident| $body:expr;)*) => {$(
        pub(crate) struct $name;
        impl Binary for $name {
            type In = $in;
            type Out = $out;
            #[inline(always)]
            fn apply($a: $in, $b: $in) -> Result<$out, TrapCode> {
                Ok($body)
            }
        }
    )*};
}

macro_rules! unary {
    ($($name:ident: $in:ty => $out:ty, |$a:ident| $body:expr;)*) => {$(
        pub(crate) struct $name;
        impl Unary for $name {
            type In = $in;
            type Out = $out;
            #[inline(always)]
            fn apply($a: $in) -> Result<$out, TrapCode> {
                Ok($body)
            }
        }
    )*};
}

macro_rules! integers {
    ($u:ty, $s:ty, [
        $add:ident $mul:ident $and:ident $or:ident $xor:ident $sub:ident $div_s:ident $div_u:ident $rem_s:ident $rem_u:ident
        $shl:ident $shr_s:ident $shr_u:ident $rotl:ident $rotr:ident
        $eq:ident $ne:ident $lt_s:ident $lt_u:ident $gt_s:ident $gt_u:ident $le_s:ident $le_u:ident $ge_s:ident $ge_u:ident
        $eqz:ident $clz:ident $ctz:ident $popcnt:ident
    ]) => {
        binary! {
            $add: $u => $u, |a, b| a.wrapping_add(b);
            $mul: $u => $u, |a, b| a.wrapping_mul(b);
            $and: $u => $u, |a, b| a & b;
            $or: $u => $u, |a, b| a | b;
            $xor: $u => $u, |a, b| a ^ b;
            $sub: $u => $u, |a, b| a.wrapping_sub(b);
            $shl: $u => $u, |a, b| a.wrapping_shl(b as u32);
            $shr_s: $u => $u, |a, b| (a as $s).wrapping_shr(b as u32) as $u;
            $shr_u: $u => $u, |a, b| a.wrapping_shr(b as u32);
            $rotl: $u => $u, |a, b| a.rotate_left(b as u32 % <$u>::BITS);
            $rotr: $u => $u, |a, b| a.rotate_right(b as u32 % <$u>::BITS);
            $eq: $u => u32, |a, b| u32::from(a == b);
            $ne: $u => u32, |a, b| u32::from(a != b);
            $lt_s: $u => u32, |a, b| u32::from((a as $s) < b as $s);
            $lt_u: $u => u32, |a, b| u32::from(a < b);
            $gt_s: $u => u32, |a, b| u32::from(a as $s > b as $s);
            $gt_u: $u => u32, |a, b| u32::from(a > b);
            $le_s: $u => u32, |a, b| u32::from(a as $s <= b as $s);
            $le_u: $u => u32, |a, b| u32::from(a <= b);
            $ge_s: $u => u32, |a, b| u32::from(a as $s >= b as $s);
            $ge_u: $u => u32, |a, b| u32::from(a >= b);
        }
        unary! {
            $eqz: $u => u32, |a| u32::from(a == 0);
            $clz: $u => $u, |a| <$u>::from(a.leading_zeros());
            $ctz: $u => $u, |a| <$u>::from(a.trailing_zeros());
            $popcnt: $u => $u, |a| machine::popcnt(u64::from(a)) as $u;
        }
        pub(crate) struct $div_s;
        impl Binary for $div_s {
            type In = $u;
            type Out = $u;
            #[inline(always)]
            fn apply(a: $u, b: $u) -> Result<$u, TrapCode> {
                if b == 0 {
                    return Err(TrapCode::IntegerDivideByZero);
                }
                (a as $s)
                    .checked_div(b as $s)
                    .map(|value| value as $u)
                    .ok_or(TrapCode::IntegerOverflow)
            }
        }
        pub(crate) struct $rem_s;
        impl Binary for $rem_s {
            type In = $u;
            type Out = $u;
            #[inline(always)]
            fn apply(a: $u, b: $u) -> Result<$u, TrapCode> {
                if b == 0 {
                    return Err(TrapCode::IntegerDivideByZero);
                }
                Ok((a as $s).wrapping_rem(b as $s) as $u)
            }
        }
        pub(crate) struct $div_u;
        impl Binary for $div_u {
            type In = $u;
            type Out = $u;
            #[inline(always)]
            fn apply(a: $u, b: $u) -> Result<$u, TrapCode> {
                a.checked_div(b).ok_or(TrapCode::IntegerDivideByZero)
            }
        }
        pub(crate) struct $rem_u;
        impl Binary for $rem_u {
            type In = $u;
            type Out = $u;
            #[inline(always)]
            fn apply(a: $u, b: $u) -> Result<$u, TrapCode> {
                a.checked_rem(b).ok_or(TrapCode::IntegerDivideByZero)
            }
        }
    };
}

integers!(u32, i32, [
    I32Add I32Mul I32And I32Or I32Xor I32Sub I32DivS I32DivU I32RemS I32RemU
    I32Shl I32ShrS I32ShrU I32Rotl I32Rotr
    I32Eq I32Ne I32LtS I32LtU I32GtS I32GtU I32LeS I32LeU I32GeS I32GeU
    I32Eqz I32Clz I32Ctz I32Popcnt
]);
integers!(u64, i64, [
    I64Add I64Mul I64And I64Or I64Xor I64Sub I64DivS I64DivU I64RemS I64RemU
    I64Shl I64ShrS I64ShrU I64Rotl I64Rotr
    I64Eq I64Ne I64LtS I64LtU I64GtS I64GtU I64LeS I64LeU I64GeS I64GeU
    I64Eqz I64Clz I64Ctz I64Popcnt
]);

macro_rules! floats {
    ($f:ident, $round:ident, [
        $add:ident $mul:ident $sub:ident $div:ident $min:ident $max:ident $copysign:ident
        $eq:ident $ne:ident $lt:ident $gt:ident $le:ident $ge:ident
        $abs:ident $neg:ident $ceil:ident $floor:ident $trunc:ident $nearest:ident $sqrt:ident
        $canonical:ident $nan:literal
    ]) => {
        binary! {
            $add: $f => $f, |a, b| a + b;
            $mul: $f => $f, |a, b| a * b;
            $sub: $f => $f, |a, b| a - b;
            $div: $f => $f, |a, b| a / b;
            $min: $f => $f, |a, b| {
                // Of zeros, the negative one is less; a NaN wins.
                if a < b { a } else if b < a { b } else if a == b {
                    <$f>::from_bits(a.to_bits() | b.to_bits())
                } else { a + b }
            };
            $max: $f => $f, |a, b| {
                if a > b { a } else if b > a { b } else if a == b {
                    <$f>::from_bits(a.to_bits() & b.to_bits())
                } else { a + b }
            };
            $copysign: $f => $f, |a, b| a.copysign(b);
            $eq: $f => u32, |a, b| u32::from(a == b);
            $ne: $f => u32, |a, b| u32::from(a != b);
            $lt: $f => u32, |a, b| u32::from(a < b);
            $gt: $f => u32, |a, b| u32::from(a > b);
            $le: $f => u32, |a, b| u32::from(a <= b);
            $ge: $f => u32, |a, b| u32::from(a >= b);
        }
        unary! {
            $abs: $f => $f, |a| a.abs();
            $neg: $f => $f, |a| -a;
            $ceil: $f => $f, |a| machine::$round::<{ machine::CEIL }>(a, $f::ceil);
            $floor: $f => $f, |a| machine::$round::<{ machine::FLOOR }>(a, $f::floor);
            $trunc: $f => $f, |a| machine::$round::<{ machine::TRUNC }>(a, $f::trunc);
            $nearest: $f => $f, |a| machine::$round::<{ machine::NEAREST }>(a, $f::round_ties_even);
            $sqrt: $f => $f, |a| a.sqrt();
            $canonical: $f => $f, |a| if a.is_nan() { <$f>::from_bits($nan) } else { a };
        }
    };
}

/// Rounding, and counting bits: instructions that compilers may not assume on x86-64, and that every machine of the last
/// fifteen years has. Assembly may name them, where compiled code would call a library.
mod machine {
    /// Rounding functions of the C library may return a signalling NaN as it is; the specification wants a quiet one.
    macro_rules! round {
        ($name:ident, $f:ident, $instruction:literal) => {
            #[inline(always)]
            pub(super) fn $name<const MODE: u8>(a: $f, library: fn($f) -> $f) -> $f {
                #[cfg(all(target_arch = "x86_64", not(miri)))]
                if std::arch::is_x86_feature_detected!("sse4.1") {
                    let result;
                    // SAFETY: the machine has the instruction, which does nothing else.
                    unsafe {
                        std::arch::asm!(
                            concat!($instruction, " {0}, {1}, {2}"),
                            out(xmm_reg) result,
                            in(xmm_reg) a,
                            const MODE,
                            options(pure, nomem, nostack, preserves_flags)
                        );
                    }
                    return result;
                }
                if a.is_nan() { a + a } else { library(a) }
            }
        };
    }
    round!(round_f32, f32, "roundss");
    round!(round_f64, f64, "roundsd");

    /// Modes of these instructions: which way, and no exception for an inexact result.
    pub(super) const NEAREST: u8 = 8;
    pub(super) const FLOOR: u8 = 9;
    pub(super) const CEIL: u8 = 10;
    pub(super) const TRUNC: u8 = 11;

    #[inline(always)]
    pub(super) fn popcnt(a: u64) -> u64 {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if std::arch::is_x86_feature_detected!("popcnt") {
            let result;
            // SAFETY: the machine has the instruction, which writes its result and flags.
            unsafe {
                std::arch::asm!("popcnt {0}, {1}", out(reg) result, in(reg) a, options(pure, nomem, nostack));
            }
            return result;
        }
        u64::from(a.count_ones())
    }
}

floats!(f32, round_f32, [
    F32Add F32Mul F32Sub F32Div F32Min F32Max F32Copysign
    F32Eq F32Ne F32Lt F32Gt F32Le F32Ge
    F32Abs F32Neg F32Ceil F32Floor F32Trunc F32Nearest F32Sqrt
    F32Canonical 0x7fc0_0000
]);
floats!(f64, round_f64, [
    F64Add F64Mul F64Sub F64Div F64Min F64Max F64Copysign
    F64Eq F64Ne F64Lt F64Gt F64Le F64Ge
    F64Abs F64Neg F64Ceil F64Floor F64Trunc F64Nearest F64Sqrt
    F64Canonical 0x7ff8_0000_0000_0000
]);

unary! {
    I32Extend8S: u32 => u32, |a| a as i8 as u32;
    I32Extend16S: u32 => u32, |a| a as i16 as u32;
    I32WrapI64: u64 => u32, |a| a as u32;
    I64Extend8S: u64 => u64, |a| a as i8 as u64;
    I64Extend16S: u64 => u64, |a| a as i16 as u64;
    I64Extend32S: u64 => u64, |a| a as i32 as u64;
    I64ExtendI32S: u32 => u64, |a| a as i32 as u64;
    I64ExtendI32U: u32 => u64, |a| u64::from(a);
    // Rust's casts saturate and make zero of NaN, as the specification's trunc_sat.
    I32TruncSatF32S: f32 => u32, |a| a as i32 as u32;
    I32TruncSatF32U: f32 => u32, |a| a as u32;
    I32TruncSatF64S: f64 => u32, |a| a as i32 as u32;
    I32TruncSatF64U: f64 => u32, |a| a as u32;
    I64TruncSatF32S: f32 => u64, |a| a as i64 as u64;
    I64TruncSatF32U: f32 => u64, |a| a as u64;
    I64TruncSatF64S: f64 => u64, |a| a as i64 as u64;
    I64TruncSatF64U: f64 => u64, |a| a as u64;
    F32ConvertI32S: u32 => f32, |a| a as i32 as f32;
    F32ConvertI32U: u32 => f32, |a| a as f32;
    F32ConvertI64S: u64 => f32, |a| a as i64 as f32;
    F32ConvertI64U: u64 => f32, |a| a as f32;
    F64ConvertI32S: u32 => f64, |a| f64::from(a as i32);
    F64ConvertI32U: u32 => f64, |a| f64::from(a);
    F64ConvertI64S: u64 => f64, |a| a as i64 as f64;
    F64ConvertI64U: u64 => f64, |a| a as f64;
    F32DemoteF64: f64 => f32, |a| a as f32;
    F64PromoteF32: f32 => f64, |a| f64::from(a);
    I32ReinterpretF32: f32 => u32, |a| a.to_bits();
    I64ReinterpretF64: f64 => u64, |a| a.to_bits();
    F32ReinterpretI32: u32 => f32, |a| f32::from_bits(a);
    F64ReinterpretI64: u64 => f64, |a| f64::from_bits(a);
}

macro_rules! truncations {
    ($($name:ident: $in:ty => $out:ty as $via:ty, $above:literal, $below:literal;)*) => {$(
        pub(crate) struct $name;
        impl Unary for $name {
            type In = $in;
            type Out = $out;
            #[inline(always)]
            fn apply(a: $in) -> Result<$out, TrapCode> {
                if a > $above && a < $below {
                    // SAFETY: the value, its fraction dropped, fits the type.
                    Ok(unsafe { a.to_int_unchecked::<$via>() } as $out)
                } else if a.is_nan() {
                    Err(TrapCode::InvalidConversionToInteger)
                } else {
                    Err(TrapCode::IntegerOverflow)
                }
            }
        }
    )*};
}

// Greater than, less than: the nearest values of the type beyond what fits.
truncations! {
    I32TruncF32S: f32 => u32 as i32, -2147483904.0, 2147483648.0;
    I32TruncF32U: f32 => u32 as u32, -1.0, 4294967296.0;
    I32TruncF64S: f64 => u32 as i32, -2147483649.0, 2147483648.0;
    I32TruncF64U: f64 => u32 as u32, -1.0, 4294967296.0;
    I64TruncF32S: f32 => u64 as i64, -9223373136366403584.0, 9223372036854775808.0;
    I64TruncF32U: f32 => u64 as u64, -1.0, 18446744073709551616.0;
    I64TruncF64S: f64 => u64 as i64, -9223372036854777856.0, 9223372036854775808.0;
    I64TruncF64U: f64 => u64 as u64, -1.0, 18446744073709551616.0;
}
