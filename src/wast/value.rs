//! Values in scripts: arguments, and the patterns that results must fit.

use crate::val::{ExternRef, Val};
use wast::core::{
    AbstractHeapType, HeapType, NanPattern, V128Const, V128Pattern, WastArgCore, WastRetCore,
};
use wast::{WastArg, WastRet};

/// An argument, if it is one that functions of this engine can take.
pub(super) fn argument(argument: &WastArg<'_>) -> Option<Val> {
    let WastArg::Core(argument) = argument else { return None };
    Some(match argument {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(value) => Val::F32(value.bits),
        WastArgCore::F64(value) => Val::F64(value.bits),
        WastArgCore::V128(value) => Val::V128(vector(value)),
        WastArgCore::RefNull(HeapType::Abstract { ty: AbstractHeapType::Extern, .. }) => {
            Val::ExternRef(None)
        }
        WastArgCore::RefNull(
            HeapType::Abstract { ty: AbstractHeapType::Func | AbstractHeapType::NoFunc, .. }
            | HeapType::Concrete(_),
        ) => Val::FuncRef(None),
        WastArgCore::RefNull(HeapType::Abstract {
            ty: AbstractHeapType::Exn | AbstractHeapType::NoExn,
            ..
        }) => Val::ExnRef(None),
        WastArgCore::RefExtern(value) => Val::ExternRef(Some(ExternRef::new(*value))),
        _ => return None,
    })
}

fn vector(value: &V128Const) -> u128 {
    u128::from_le_bytes(value.to_le_bytes())
}

/// Whether a result fits a pattern; nothing if the pattern is of a kind that this engine has no values of.
pub(super) fn fits(value: &Val, want: &WastRet<'_>) -> Option<bool> {
    let WastRet::Core(want) = want else { return None };
    core_fits(value, want)
}

fn core_fits(value: &Val, want: &WastRetCore<'_>) -> Option<bool> {
    Some(match (want, value) {
        (WastRetCore::I32(want), Val::I32(value)) => value == want,
        (WastRetCore::I64(want), Val::I64(value)) => value == want,
        (WastRetCore::F32(want), Val::F32(value)) => f32_fits(*value, want),
        (WastRetCore::F64(want), Val::F64(value)) => f64_fits(*value, want),
        (WastRetCore::V128(want), Val::V128(value)) => vector_fits(*value, want),
        (WastRetCore::RefNull(ty), value) => match (ty, value) {
            (
                Some(HeapType::Abstract {
                    ty: AbstractHeapType::Extern | AbstractHeapType::NoExtern,
                    ..
                }),
                Val::FuncRef(_),
            )
            | (
                Some(HeapType::Abstract {
                    ty: AbstractHeapType::Func | AbstractHeapType::NoFunc,
                    ..
                }),
                Val::ExternRef(_),
            ) => false,
            (_, value) => is_null(value),
        },
        (WastRetCore::RefExtern(want), Val::ExternRef(Some(value))) => {
            want.is_none_or(|want| value.data().downcast_ref::<u32>() == Some(&want))
        }
        (WastRetCore::RefFunc(_), Val::FuncRef(value)) => value.is_some(),
        (WastRetCore::Either(wants), value) => {
            let mut fits = wants.iter().map(|want| core_fits(value, want));
            return if fits.any(|fits| fits == Some(true)) { Some(true) } else { Some(false) };
        }
        (
            WastRetCore::I32(_)
            | WastRetCore::I64(_)
            | WastRetCore::F32(_)
            | WastRetCore::F64(_)
            | WastRetCore::V128(_)
            | WastRetCore::RefExtern(_)
            | WastRetCore::RefFunc(_),
            _,
        ) => false,
        _ => return None,
    })
}

fn is_null(value: &Val) -> bool {
    matches!(value, Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None))
}

// The NaN patterns of the core specification, "Numerics": canonical ones have only the highest bit of the payload, of either sign;
// arithmetic ones have at least that.

fn f32_fits(value: u32, want: &NanPattern<wast::token::F32>) -> bool {
    const QUIET: u32 = 0x7fc0_0000;
    match want {
        NanPattern::Value(want) => value == want.bits,
        NanPattern::CanonicalNan => value & 0x7fff_ffff == QUIET,
        NanPattern::ArithmeticNan => value & QUIET == QUIET,
    }
}

fn f64_fits(value: u64, want: &NanPattern<wast::token::F64>) -> bool {
    const QUIET: u64 = 0x7ff8_0000_0000_0000;
    match want {
        NanPattern::Value(want) => value == want.bits,
        NanPattern::CanonicalNan => value & 0x7fff_ffff_ffff_ffff == QUIET,
        NanPattern::ArithmeticNan => value & QUIET == QUIET,
    }
}

fn vector_fits(value: u128, want: &V128Pattern) -> bool {
    let lane = |bits: usize, index: usize| (value >> (bits * index)) as u64;
    match want {
        V128Pattern::I8x16(want) => (0..16).all(|i| lane(8, i) as i8 == want[i]),
        V128Pattern::I16x8(want) => (0..8).all(|i| lane(16, i) as i16 == want[i]),
        V128Pattern::I32x4(want) => (0..4).all(|i| lane(32, i) as i32 == want[i]),
        V128Pattern::I64x2(want) => (0..2).all(|i| lane(64, i) as i64 == want[i]),
        V128Pattern::F32x4(want) => (0..4).all(|i| f32_fits(lane(32, i) as u32, &want[i])),
        V128Pattern::F64x2(want) => (0..2).all(|i| f64_fits(lane(64, i), &want[i])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wast::token::{F32, F64};

    #[test]
    fn nan_patterns_tell_canonical_from_arithmetic_and_signalling() {
        let canonical = NanPattern::<F32>::CanonicalNan;
        let arithmetic = NanPattern::<F32>::ArithmeticNan;
        for (bits, is_canonical, is_arithmetic) in [
            (0x7fc0_0000, true, true),
            (0xffc0_0000, true, true),
            (0x7fc0_0001, false, true),
            (0x7f80_0001, false, false),
            (0x7f80_0000, false, false),
            (0x3f80_0000, false, false),
        ] {
            assert_eq!(f32_fits(bits, &canonical), is_canonical, "{bits:#x}");
            assert_eq!(f32_fits(bits, &arithmetic), is_arithmetic, "{bits:#x}");
        }
        for (bits, is_canonical, is_arithmetic) in [
            (0xfff8_0000_0000_0000, true, true),
            (0x7ff8_0000_0000_0001, false, true),
            (0x7ff0_0000_0000_0001, false, false),
        ] {
            assert_eq!(f64_fits(bits, &NanPattern::<F64>::CanonicalNan), is_canonical);
            assert_eq!(f64_fits(bits, &NanPattern::<F64>::ArithmeticNan), is_arithmetic);
        }
    }

    #[test]
    fn vectors_are_compared_by_lanes() {
        let value = 0x0004_0003_0002_0001_ffff_0001_0000_8000_u128;
        let want = V128Pattern::I16x8([-0x8000, 0, 1, -1, 1, 2, 3, 4]);
        assert!(vector_fits(value, &want));
        assert!(!vector_fits(value ^ 1 << 127, &want));
        let nan = u128::from(0x7fc0_0000_u32) << 96;
        let zero = || NanPattern::Value(F32 { bits: 0 });
        let want = V128Pattern::F32x4([zero(), zero(), zero(), NanPattern::CanonicalNan]);
        assert!(vector_fits(nan, &want));
        assert!(!vector_fits(nan | 1 << 96, &want));
    }
}
