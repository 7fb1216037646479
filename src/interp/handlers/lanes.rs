//! The operators on vectors, as the specification defines them (WebAssembly 2.0, section 4.3, and the relaxed SIMD proposal).
//!
//! A vector is what the machine's vectors are, so that the compiler makes vector instructions of what arrays of lanes go
//! through; lanes lie from the low bits up. An operator is implemented for the types of lanes that it has; the
//! table in `isa` names the pairs. Where all lanes are treated alike, a closure on lanes says how.

use super::{Binary, Unary, Value};
use updraft_jit::abi::TrapCode;

/// A vector. As a `u128` its halves would go through integer registers.
#[cfg(target_arch = "x86_64")]
pub(crate) type Vector = std::arch::x86_64::__m128i;
/// A vector.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type Vector = u128;

/// Types whose every bit pattern is a value.
///
/// # Safety
/// They are plain numbers, without padding.
pub(crate) unsafe trait Plain: Copy {}

/// The type of a lane, and of the scalars that go in and come out.
pub(crate) trait Lane: Plain {
    /// The scalar.
    type Scalar: Value;
    /// Lanes of this size that are all ones or all zeros.
    type Mask: Plain;
    /// From the low bits.
    fn from_scalar(value: Self::Scalar) -> Self;
    /// Extends the lane.
    fn to_scalar(self) -> Self::Scalar;
    /// All ones, or all zeros.
    fn mask(yes: bool) -> Self::Mask;
}

macro_rules! lane {
    ($($lane:ty => $via:ty => $scalar:ty, $mask:ty;)*) => {$(
        // SAFETY: a number.
        unsafe impl Plain for $lane {}
        impl Lane for $lane {
            type Scalar = $scalar;
            type Mask = $mask;
            #[inline(always)]
            fn from_scalar(value: $scalar) -> $lane {
                value as $lane
            }
            #[inline(always)]
            fn to_scalar(self) -> $scalar {
                self as $via as $scalar
            }
            #[inline(always)]
            fn mask(yes: bool) -> $mask {
                -<$mask>::from(yes)
            }
        }
    )*};
}

lane! {
    i8 => i32 => u32, i8;
    u8 => u32 => u32, i8;
    i16 => i32 => u32, i16;
    u16 => u32 => u32, i16;
    i32 => i32 => u32, i32;
    u32 => u32 => u32, i32;
    i64 => i64 => u64, i64;
    u64 => u64 => u64, i64;
    f32 => f32 => f32, i32;
    f64 => f64 => f64, i64;
}
// SAFETY: a number.
unsafe impl Plain for u128 {}

/// The lanes of a vector.
#[inline(always)]
pub(crate) fn split<T: Plain, const N: usize>(vector: Vector) -> [T; N] {
    const { assert!(size_of::<[T; N]>() == size_of::<Vector>() && cfg!(target_endian = "little")) };
    // SAFETY: of the same size, and any bits are values.
    unsafe { std::mem::transmute_copy(&vector) }
}

/// The vector of these lanes.
#[inline(always)]
pub(crate) fn join<T: Plain, const N: usize>(lanes: [T; N]) -> Vector {
    const { assert!(size_of::<[T; N]>() == size_of::<Vector>() && cfg!(target_endian = "little")) };
    // SAFETY: of the same size, without padding.
    unsafe { std::mem::transmute_copy(&lanes) }
}

/// Lane number `lane` of a vector of `T`s.
#[inline(always)]
pub(crate) fn extract<T: Plain>(vector: Vector, lane: u16) -> T {
    let at = usize::from(lane) * size_of::<T>();
    assert!(at + size_of::<T>() <= size_of::<Vector>());
    // SAFETY: within the vector; any bits are a value.
    unsafe { (&raw const vector).byte_add(at).cast::<T>().read_unaligned() }
}

/// The vector with another value for one of its lanes.
#[inline(always)]
pub(crate) fn replace<T: Plain>(mut vector: Vector, lane: u16, value: T) -> Vector {
    let at = usize::from(lane) * size_of::<T>();
    assert!(at + size_of::<T>() <= size_of::<Vector>());
    // SAFETY: within the vector, and without padding.
    unsafe { (&raw mut vector).byte_add(at).cast::<T>().write_unaligned(value) };
    vector
}

/// The bytes of two vectors that these numbers, below 32, name.
#[inline(always)]
pub(crate) fn shuffle(a: Vector, b: Vector, numbers: Vector) -> Vector {
    let both: [u8; 32] =
        [split::<u8, 16>(a), split::<u8, 16>(b)].as_flattened().try_into().expect("twice 16");
    let numbers = split::<u8, 16>(numbers);
    join::<u8, 16>(std::array::from_fn(|i| both[usize::from(numbers[i] % 32)]))
}

#[inline(always)]
fn map<T: Plain, R: Plain, const N: usize>(a: Vector, f: impl Fn(T) -> R) -> Vector {
    let a = split::<T, N>(a);
    join::<R, N>(std::array::from_fn(|i| f(a[i])))
}

#[inline(always)]
fn zip<T: Plain, R: Plain, const N: usize>(a: Vector, b: Vector, f: impl Fn(T, T) -> R) -> Vector {
    let (a, b) = (split::<T, N>(a), split::<T, N>(b));
    join::<R, N>(std::array::from_fn(|i| f(a[i], b[i])))
}

/// One vector to a vector, with lanes of `T`.
pub(crate) trait VectorUnary<T> {
    /// The result.
    fn apply(a: Vector) -> Vector;
}

/// Two vectors to one.
pub(crate) trait VectorBinary<T> {
    /// The result.
    fn apply(a: Vector, b: Vector) -> Vector;
}

/// Three vectors to one.
pub(crate) trait VectorTernary<T> {
    /// The result.
    fn apply(a: Vector, b: Vector, c: Vector) -> Vector;
}

/// A vector and a number of bits.
pub(crate) trait VectorShift<T> {
    /// The result.
    fn apply(a: Vector, by: u32) -> Vector;
}

/// A scalar to a vector.
pub(crate) trait VectorSplat<T> {
    /// The result.
    fn apply(value: T) -> Vector;
}

/// What a vector is like.
pub(crate) trait VectorTest<T> {
    /// The answer.
    fn apply(a: Vector) -> u32;
}

/// A lane of a vector.
pub(crate) trait VectorExtract<T> {
    /// The lane.
    fn apply(a: Vector, lane: u16) -> T;
}

/// Another value for a lane.
pub(crate) trait VectorReplace<T> {
    /// The vector.
    fn apply(a: Vector, value: T, lane: u16) -> Vector;
}

/// Bytes in memory to a vector.
pub(crate) trait VectorLoad {
    /// Bytes read.
    const SIZE: usize;
    /// Reads.
    unsafe fn load(from: *const u8) -> Vector;
}

macro_rules! operators {
    ($($name:ident)*) => {$(pub(crate) struct $name;)*};
}

operators! {
    Abs Neg Popcnt Sqrt Ceil Floor Trunc Nearest Canonical Not
    ExtAddPairwise ExtendLow ExtendHigh TruncSat TruncSatF64x2 Convert ConvertLow Demote PromoteLow
    And AndNot Or Xor Eq Ne Lt Gt Le Ge Add Sub Mul Div Min Max PMin PMax AddSat SubSat Avgr Q15MulrSat
    Narrow ExtMulLow ExtMulHigh Swizzle Dot RelaxedDot Bitselect RelaxedMadd RelaxedNmadd
    Shl Shr Splat AnyTrue AllTrue Bitmask ExtractLane ReplaceLane
    Whole Load8x8S Load8x8U Load16x4S Load16x4U Load32x2S Load32x2U
    Load8Splat Load16Splat Load32Splat Load64Splat Load32Zero Load64Zero
}

/// Operators on single lanes.
macro_rules! lanewise {
    (unary $($name:ident: $($lane:ident)* => |$a:ident| $body:expr;)*) => {$($(
        impl VectorUnary<$lane> for $name {
            #[inline(always)]
            fn apply(a: Vector) -> Vector {
                map::<$lane, $lane, { 16 / size_of::<$lane>() }>(a, |$a| $body)
            }
        }
    )*)*};
    (binary $($name:ident: $($lane:ident)* => |$a:ident, $b:ident| $body:expr;)*) => {$($(
        impl VectorBinary<$lane> for $name {
            #[inline(always)]
            fn apply(a: Vector, b: Vector) -> Vector {
                zip::<$lane, $lane, { 16 / size_of::<$lane>() }>(a, b, |$a, $b| $body)
            }
        }
    )*)*};
    (compare $($name:ident: $($lane:ident)* => |$a:ident, $b:ident| $body:expr;)*) => {$($(
        impl VectorBinary<$lane> for $name {
            #[inline(always)]
            fn apply(a: Vector, b: Vector) -> Vector {
                zip::<$lane, _, { 16 / size_of::<$lane>() }>(a, b, |$a, $b| $lane::mask($body))
            }
        }
    )*)*};
}

/// The result of an operator that never traps.
#[inline(always)]
fn total<T>(result: Result<T, TrapCode>) -> T {
    result.unwrap_or_else(|_| unreachable!("operators on floats have results"))
}

lanewise! { unary
    Abs: i8 i16 i32 i64 => |a| a.wrapping_abs();
    Neg: i8 i16 i32 i64 => |a| a.wrapping_neg();
    Popcnt: i8 => |a| a.count_ones() as i8;
    Abs: f32 f64 => |a| a.abs();
    Neg: f32 f64 => |a| -a;
    Sqrt: f32 f64 => |a| a.sqrt();
    Ceil: f32 => |a| total(super::F32Ceil::apply(a));
    Ceil: f64 => |a| total(super::F64Ceil::apply(a));
    Floor: f32 => |a| total(super::F32Floor::apply(a));
    Floor: f64 => |a| total(super::F64Floor::apply(a));
    Trunc: f32 => |a| total(super::F32Trunc::apply(a));
    Trunc: f64 => |a| total(super::F64Trunc::apply(a));
    Nearest: f32 => |a| total(super::F32Nearest::apply(a));
    Nearest: f64 => |a| total(super::F64Nearest::apply(a));
    Canonical: f32 => |a| total(super::F32Canonical::apply(a));
    Canonical: f64 => |a| total(super::F64Canonical::apply(a));
    Not: u64 => |a| !a;
}

lanewise! { compare
    Eq: i8 i16 i32 i64 f32 f64 => |a, b| a == b;
    Ne: i8 i16 i32 i64 f32 f64 => |a, b| a != b;
    Lt: i8 u8 i16 u16 i32 u32 i64 f32 f64 => |a, b| a < b;
    Gt: i8 u8 i16 u16 i32 u32 i64 f32 f64 => |a, b| a > b;
    Le: i8 u8 i16 u16 i32 u32 i64 f32 f64 => |a, b| a <= b;
    Ge: i8 u8 i16 u16 i32 u32 i64 f32 f64 => |a, b| a >= b;
}

lanewise! { binary
    And: u64 => |a, b| a & b;
    AndNot: u64 => |a, b| a & !b;
    Or: u64 => |a, b| a | b;
    Xor: u64 => |a, b| a ^ b;
    Add: i8 i16 i32 i64 => |a, b| a.wrapping_add(b);
    Sub: i8 i16 i32 i64 => |a, b| a.wrapping_sub(b);
    Mul: i16 i32 i64 => |a, b| a.wrapping_mul(b);
    AddSat: i8 u8 i16 u16 => |a, b| a.saturating_add(b);
    SubSat: i8 u8 i16 u16 => |a, b| a.saturating_sub(b);
    Min: i8 u8 i16 u16 i32 u32 => |a, b| a.min(b);
    Max: i8 u8 i16 u16 i32 u32 => |a, b| a.max(b);
    Avgr: u8 u16 => |a, b| (u32::from(a) + u32::from(b)).div_ceil(2) as _;
    Q15MulrSat: i16 => |a, b| {
        let product = (i32::from(a) * i32::from(b) + 0x4000) >> 15;
        product.min(i32::from(i16::MAX)) as i16
    };
    Add: f32 f64 => |a, b| a + b;
    Sub: f32 f64 => |a, b| a - b;
    Mul: f32 f64 => |a, b| a * b;
    Div: f32 f64 => |a, b| a / b;
    Min: f32 => |a, b| total(super::F32Min::apply(a, b));
    Min: f64 => |a, b| total(super::F64Min::apply(a, b));
    Max: f32 => |a, b| total(super::F32Max::apply(a, b));
    Max: f64 => |a, b| total(super::F64Max::apply(a, b));
    PMin: f32 f64 => |a, b| if b < a { b } else { a };
    PMax: f32 f64 => |a, b| if a < b { b } else { a };
}

impl VectorBinary<u8> for Swizzle {
    #[inline(always)]
    fn apply(a: Vector, b: Vector) -> Vector {
        let (bytes, numbers) = (split::<u8, 16>(a), split::<u8, 16>(b));
        let pick = |i: usize| bytes.get(usize::from(numbers[i])).copied().unwrap_or(0);
        join::<u8, 16>(std::array::from_fn(pick))
    }
}

/// Operators from lanes to wider ones: lane, the same and twice as many as the wider one has, wider lane, their number.
macro_rules! widening {
    ($($lane:ident $many:literal => $wide:ident $few:literal;)*) => {$(
        widening!(@both ExtendLow ExtMulLow 0, $lane $many => $wide $few);
        widening!(@both ExtendHigh ExtMulHigh $few, $lane $many => $wide $few);
        impl VectorUnary<$lane> for ExtAddPairwise {
            #[inline(always)]
            fn apply(a: Vector) -> Vector {
                let a = split::<$lane, $many>(a).map($wide::from);
                join::<$wide, $few>(std::array::from_fn(|i| a[2 * i].wrapping_add(a[2 * i + 1])))
            }
        }
    )*};
    (@both $extend:ident $multiply:ident $from:literal, $lane:ident $many:literal => $wide:ident $few:literal) => {
        impl VectorUnary<$lane> for $extend {
            #[inline(always)]
            fn apply(a: Vector) -> Vector {
                let a = split::<$lane, $many>(a);
                join::<$wide, $few>(std::array::from_fn(|i| $wide::from(a[$from + i])))
            }
        }
        impl VectorBinary<$lane> for $multiply {
            #[inline(always)]
            fn apply(a: Vector, b: Vector) -> Vector {
                let (a, b) = (split::<$lane, $many>(a), split::<$lane, $many>(b));
                join::<$wide, $few>(std::array::from_fn(|i| {
                    $wide::from(a[$from + i]).wrapping_mul($wide::from(b[$from + i]))
                }))
            }
        }
    };
}

widening! {
    i8 16 => i16 8;
    u8 16 => u16 8;
    i16 8 => i32 4;
    u16 8 => u32 4;
    i32 4 => i64 2;
    u32 4 => u64 2;
}

/// From signed lanes to lanes of half the width; the lane of the implementation has the sign of the result.
macro_rules! narrowing {
    ($($lane:ident $from:ident $few:literal => $to:ident $many:literal;)*) => {$(
        impl VectorBinary<$lane> for Narrow {
            #[inline(always)]
            fn apply(a: Vector, b: Vector) -> Vector {
                let (a, b) = (split::<$from, $few>(a), split::<$from, $few>(b));
                join::<$to, $many>(std::array::from_fn(|i| {
                    let value = if i < $few { a[i] } else { b[i - $few] };
                    value.clamp($from::from($to::MIN), $from::from($to::MAX)) as $to
                }))
            }
        }
    )*};
}

narrowing! {
    i16 i16 8 => i8 16;
    u16 i16 8 => u8 16;
    i32 i32 4 => i16 8;
    u32 i32 4 => u16 8;
}

/// Between integers and floats. Rust's casts saturate and make zero of NaN, as the specification's do.
macro_rules! conversions {
    ($($lane:ident)*) => {$(
        impl VectorUnary<$lane> for TruncSat {
            #[inline(always)]
            fn apply(a: Vector) -> Vector {
                map::<f32, $lane, 4>(a, |a| a as $lane)
            }
        }
        impl VectorUnary<$lane> for TruncSatF64x2 {
            #[inline(always)]
            fn apply(a: Vector) -> Vector {
                let [low, high] = split::<f64, 2>(a);
                join([low as $lane, high as $lane, 0, 0])
            }
        }
        impl VectorUnary<$lane> for Convert {
            #[inline(always)]
            fn apply(a: Vector) -> Vector {
                map::<$lane, f32, 4>(a, |a| a as f32)
            }
        }
        impl VectorUnary<$lane> for ConvertLow {
            #[inline(always)]
            fn apply(a: Vector) -> Vector {
                let [a, b, _, _] = split::<$lane, 4>(a);
                join([f64::from(a), f64::from(b)])
            }
        }
    )*};
}

conversions! { i32 u32 }

impl VectorUnary<f64> for Demote {
    #[inline(always)]
    fn apply(a: Vector) -> Vector {
        let [low, high] = split::<f64, 2>(a);
        join([low as f32, high as f32, 0.0, 0.0])
    }
}

impl VectorUnary<f32> for PromoteLow {
    #[inline(always)]
    fn apply(a: Vector) -> Vector {
        let [a, b, _, _] = split::<f32, 4>(a);
        join([f64::from(a), f64::from(b)])
    }
}

impl VectorBinary<i16> for Dot {
    #[inline(always)]
    fn apply(a: Vector, b: Vector) -> Vector {
        let (a, b) = (split::<i16, 8>(a), split::<i16, 8>(b));
        let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        join::<i32, 4>(std::array::from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1))))
    }
}

/// Sums of two products of signed bytes each, exact.
#[inline(always)]
fn pairs(a: Vector, b: Vector) -> [i32; 8] {
    let (a, b) = (split::<i8, 16>(a), split::<i8, 16>(b));
    let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
    std::array::from_fn(|i| product(2 * i) + product(2 * i + 1))
}

impl VectorBinary<i8> for RelaxedDot {
    #[inline(always)]
    fn apply(a: Vector, b: Vector) -> Vector {
        join(pairs(a, b).map(|sum| sum as i16))
    }
}

impl VectorTernary<i8> for RelaxedDot {
    #[inline(always)]
    fn apply(a: Vector, b: Vector, c: Vector) -> Vector {
        let (sums, c) = (pairs(a, b), split::<i32, 4>(c));
        join::<i32, 4>(std::array::from_fn(|i| (sums[2 * i] + sums[2 * i + 1]).wrapping_add(c[i])))
    }
}

impl VectorTernary<u64> for Bitselect {
    #[inline(always)]
    fn apply(a: Vector, b: Vector, c: Vector) -> Vector {
        let (a, b, c) = (split::<u64, 2>(a), split::<u64, 2>(b), split::<u64, 2>(c));
        join::<u64, 2>(std::array::from_fn(|i| a[i] & c[i] | b[i] & !c[i]))
    }
}

macro_rules! floats {
    ($($lane:ident $count:literal)*) => {$(
        impl VectorTernary<$lane> for RelaxedMadd {
            #[inline(always)]
            fn apply(a: Vector, b: Vector, c: Vector) -> Vector {
                let (a, b) = (split::<$lane, $count>(a), split::<$lane, $count>(b));
                let c = split::<$lane, $count>(c);
                join::<$lane, $count>(std::array::from_fn(|i| a[i].mul_add(b[i], c[i])))
            }
        }
        impl VectorTernary<$lane> for RelaxedNmadd {
            #[inline(always)]
            fn apply(a: Vector, b: Vector, c: Vector) -> Vector {
                let negated = map::<$lane, $lane, $count>(a, |a| -a);
                <RelaxedMadd as VectorTernary<$lane>>::apply(negated, b, c)
            }
        }
    )*};
}

floats! { f32 4 f64 2 }

macro_rules! shifts {
    ($($lane:ident)*: $name:ident $method:ident) => {$(
        impl VectorShift<$lane> for $name {
            #[inline(always)]
            fn apply(a: Vector, by: u32) -> Vector {
                map::<$lane, $lane, { 16 / size_of::<$lane>() }>(a, |a| a.$method(by))
            }
        }
    )*};
}

shifts! { i8 i16 i32 i64: Shl wrapping_shl }
shifts! { i8 u8 i16 u16 i32 u32 i64 u64: Shr wrapping_shr }

impl VectorTest<u64> for AnyTrue {
    #[inline(always)]
    fn apply(a: Vector) -> u32 {
        u32::from(split::<u64, 2>(a) != [0, 0])
    }
}

macro_rules! each {
    ($($lane:ident)*) => {$(
        impl VectorSplat<$lane> for Splat {
            #[inline(always)]
            fn apply(value: $lane) -> Vector {
                join([value; 16 / size_of::<$lane>()])
            }
        }
        impl VectorReplace<$lane> for ReplaceLane {
            #[inline(always)]
            fn apply(a: Vector, value: $lane, lane: u16) -> Vector {
                replace(a, lane, value)
            }
        }
    )*};
}

each! { i8 i16 i32 i64 f32 f64 }

macro_rules! tests {
    ($($lane:ident)*) => {$(
        impl VectorTest<$lane> for AllTrue {
            #[inline(always)]
            fn apply(a: Vector) -> u32 {
                u32::from(split::<$lane, { 16 / size_of::<$lane>() }>(a).iter().all(|a| *a != 0))
            }
        }
        impl VectorTest<$lane> for Bitmask {
            #[inline(always)]
            fn apply(a: Vector) -> u32 {
                let lanes = split::<$lane, { 16 / size_of::<$lane>() }>(a);
                lanes.iter().zip(0..).fold(0, |mask, (a, i)| mask | u32::from(*a < 0) << i)
            }
        }
    )*};
}

tests! { i8 i16 i32 i64 }

macro_rules! extracts {
    ($($lane:ident)*) => {$(
        impl VectorExtract<$lane> for ExtractLane {
            #[inline(always)]
            fn apply(a: Vector, lane: u16) -> $lane {
                extract(a, lane)
            }
        }
    )*};
}

extracts! { i8 u8 i16 u16 i32 i64 f32 f64 }

macro_rules! loads {
    ($($name:ident: $raw:ty, |$value:ident| $body:expr;)*) => {$(
        impl VectorLoad for $name {
            const SIZE: usize = size_of::<$raw>();
            #[inline(always)]
            unsafe fn load(from: *const u8) -> Vector {
                // SAFETY: the bytes are in bounds.
                let $value = unsafe { from.cast::<$raw>().read_unaligned() };
                $body
            }
        }
    )*};
}

loads! {
    Whole: Vector, |value| value;
    Load8x8S: u64, |value| <ExtendLow as VectorUnary<i8>>::apply(join([value, 0]));
    Load8x8U: u64, |value| <ExtendLow as VectorUnary<u8>>::apply(join([value, 0]));
    Load16x4S: u64, |value| <ExtendLow as VectorUnary<i16>>::apply(join([value, 0]));
    Load16x4U: u64, |value| <ExtendLow as VectorUnary<u16>>::apply(join([value, 0]));
    Load32x2S: u64, |value| <ExtendLow as VectorUnary<i32>>::apply(join([value, 0]));
    Load32x2U: u64, |value| <ExtendLow as VectorUnary<u32>>::apply(join([value, 0]));
    Load8Splat: u8, |value| join([value; 16]);
    Load16Splat: u16, |value| join([value; 8]);
    Load32Splat: u32, |value| join([value; 4]);
    Load64Splat: u64, |value| join([value; 2]);
    Load32Zero: u32, |value| join([value, 0, 0, 0]);
    Load64Zero: u64, |value| join([value, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lanes from the low bits up.
    #[test]
    fn lanes_are_counted_from_the_low_bits() {
        let bytes: [u8; 16] = std::array::from_fn(|i| i as u8);
        let vector = join(bytes);
        assert_eq!(extract::<u8>(vector, 15), 0x0f);
        assert_eq!(extract::<u32>(vector, 1), 0x0706_0504);
        let replaced = replace(vector, 1, 0xffffu16);
        assert_eq!(split::<u8, 16>(replaced)[..6], [0, 1, 0xff, 0xff, 4, 5]);
        let reversed = shuffle(join([0u8; 16]), vector, join(bytes.map(|i| 31 - i)));
        assert_eq!(split::<u8, 16>(reversed), bytes.map(|i| 15 - i));
    }

    /// The choices among what the proposal allows: products with a "7-bit" operand that has its eighth bit set are signed.
    #[test]
    fn relaxed_products_are_exact_and_their_sums_wrap() {
        let low = join([0x8080u64, 0]);
        let dot = <RelaxedDot as VectorBinary<i8>>::apply(low, low);
        assert_eq!(extract::<i16>(dot, 0), i16::MIN);
        let sum = <RelaxedDot as VectorTernary<i8>>::apply(low, low, join([1u64, 0]));
        assert_eq!(extract::<i32>(sum, 0), 32_769);
    }

    #[test]
    fn relaxed_multiplication_and_addition_round_once() {
        let (a, b) = (join([1.0 + f32::EPSILON; 4]), join([1.0 - f32::EPSILON; 4]));
        let sum = <RelaxedMadd as VectorTernary<f32>>::apply(a, b, join([-1.0f32; 4]));
        assert_eq!(split::<f32, 4>(sum), [-f32::EPSILON * f32::EPSILON; 4]);
        let sum = <RelaxedNmadd as VectorTernary<f32>>::apply(a, b, join([1.0f32; 4]));
        assert_eq!(split::<f32, 4>(sum), [f32::EPSILON * f32::EPSILON; 4]);
    }
}
