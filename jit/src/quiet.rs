//! Signalling NaNs, which arithmetic must make quiet (core specification, "NaN Propagation").
//!
//! LLVM leaves that open: it takes `x * 1`, `x - 0` and a demotion of a promotion for `x`, and may find out about the 1 or the 0
//! anywhere in its passes. So full code is translated with a call of `llvm.canonicalize` behind each such operator, which no
//! pass drops, and most loop passes know. Afterwards [`settle`] drops those whose operand is still arithmetic, which the
//! machine does as specified; what is left is a multiplication by 1 where LLVM had dropped the operator.

use std::ffi::c_char;
use std::slice;

use inkwell::llvm_sys::core::*;
use inkwell::llvm_sys::prelude::LLVMValueRef;
use inkwell::llvm_sys::{LLVMOpcode, LLVMTypeKind};
use inkwell::module::Module;

/// Values that are looked at for one operand; those with more count as signalling.
const MOST_VALUES: usize = 64;

/// Drops the calls of `llvm.canonicalize` that have no effect. No pass may follow that could drop arithmetic.
pub(crate) fn settle(module: &Module) {
    // SAFETY: the module lives, and nobody else uses it. A call is erased once its uses are replaced, after all that looks at it.
    unsafe {
        let mut calls = Vec::new();
        let mut function = LLVMGetFirstFunction(module.as_mut_ptr());
        while !function.is_null() {
            if intrinsic(function) == Some("canonicalize") {
                let mut usage = LLVMGetFirstUse(function);
                while !usage.is_null() {
                    calls.push(LLVMGetUser(usage));
                    usage = LLVMGetNextUse(usage);
                }
            }
            function = LLVMGetNextFunction(function);
        }
        let idle: Vec<bool> = calls.iter().map(|call| is_quiet(LLVMGetOperand(*call, 0))).collect();
        for (call, idle) in calls.into_iter().zip(idle) {
            if idle {
                LLVMReplaceAllUsesWith(call, LLVMGetOperand(call, 0));
                LLVMInstructionEraseFromParent(call);
            } else {
                widen(call);
            }
        }
    }
}

/// What is known of a value from its instruction alone.
enum Origin {
    Quiet,
    Signalling,
    /// It is quiet if these are.
    Operands(Vec<LLVMValueRef>),
}

/// Whether no lane of a value can be a signalling NaN. What a cycle of phis gives comes from outside of the cycle.
unsafe fn is_quiet(value: LLVMValueRef) -> bool {
    let mut values = vec![value];
    let mut next = 0;
    while let Some(value) = values.get(next) {
        next += 1;
        // SAFETY: the caller's value lives, and with it its operands.
        match unsafe { origin(*value) } {
            Origin::Quiet => {}
            Origin::Signalling => return false,
            Origin::Operands(operands) => {
                for operand in operands {
                    if !values.contains(&operand) {
                        values.push(operand);
                    }
                }
            }
        }
        if values.len() > MOST_VALUES {
            return false;
        }
    }
    true
}

unsafe fn origin(value: LLVMValueRef) -> Origin {
    use LLVMOpcode as O;
    // SAFETY: it lives; what is asked for exists for its kind of value.
    unsafe {
        if LLVMIsAInstruction(value).is_null() {
            return quiet_if(is_number(value));
        }
        let operands = |all: i32| (0..all as u32).map(|i| LLVMGetOperand(value, i)).collect();
        match LLVMGetInstructionOpcode(value) {
            O::LLVMSIToFP | O::LLVMUIToFP | O::LLVMFPExt => Origin::Quiet,
            // What instruction selection may still drop.
            O::LLVMFAdd | O::LLVMFSub => quiet_if(!has_operand(value, 0.0)),
            O::LLVMFMul | O::LLVMFDiv => quiet_if(!has_operand(value, 1.0)),
            O::LLVMFPTrunc => quiet_if(is_opaque(LLVMGetOperand(value, 0))),
            O::LLVMFNeg | O::LLVMFreeze | O::LLVMExtractElement => Origin::Operands(operands(1)),
            O::LLVMInsertElement | O::LLVMShuffleVector => Origin::Operands(operands(2)),
            O::LLVMSelect => Origin::Operands(operands(3).split_off(1)),
            O::LLVMPHI => Origin::Operands(operands(LLVMGetNumOperands(value))),
            O::LLVMCall => match intrinsic(LLVMGetCalledValue(value)) {
                Some("canonicalize" | "sqrt" | "ceil" | "floor" | "trunc" | "roundeven") => {
                    Origin::Quiet
                }
                Some("fma") => quiet_if(!has_operand(value, 0.0) && !has_operand(value, 1.0)),
                Some("minimum" | "maximum") => Origin::Operands(operands(2)),
                Some("fabs" | "copysign") => Origin::Operands(operands(1)),
                _ => Origin::Signalling,
            },
            _ => Origin::Signalling,
        }
    }
}

fn quiet_if(quiet: bool) -> Origin {
    if quiet { Origin::Quiet } else { Origin::Signalling }
}

/// Whether a value that is demoted is none that was promoted, for certain.
unsafe fn is_opaque(value: LLVMValueRef) -> bool {
    use LLVMOpcode as O;
    // SAFETY: as in `origin`.
    unsafe {
        if LLVMIsAInstruction(value).is_null() {
            return LLVMIsConstant(value) == 0;
        }
        match LLVMGetInstructionOpcode(value) {
            O::LLVMFAdd | O::LLVMFSub | O::LLVMFMul | O::LLVMFDiv => true,
            O::LLVMLoad | O::LLVMPHI | O::LLVMSIToFP | O::LLVMUIToFP => true,
            O::LLVMBitCast => is_opaque(LLVMGetOperand(value, 0)),
            O::LLVMCall => match intrinsic(LLVMGetCalledValue(value)) {
                Some("canonicalize") => is_opaque(LLVMGetOperand(value, 0)),
                Some("sqrt" | "ceil" | "floor" | "trunc" | "roundeven" | "fma") | None => true,
                _ => false,
            },
            _ => false,
        }
    }
}

/// Whether one of the operands is a constant with this magnitude in any lane, or one whose lanes are not known.
unsafe fn has_operand(value: LLVMValueRef, magnitude: f64) -> bool {
    // SAFETY: as in `origin`. Operands of a call end with the callee, which is a constant without lanes.
    unsafe {
        let arguments =
            if LLVMIsACallInst(value).is_null() { 2 } else { LLVMGetNumArgOperands(value) };
        (0..arguments).map(|i| LLVMGetOperand(value, i)).any(|operand| {
            LLVMIsConstant(operand) != 0
                && lanes(operand)
                    .is_none_or(|lanes| lanes.iter().any(|lane| lane.abs() == magnitude))
        })
    }
}

/// Whether it is a constant without NaNs.
unsafe fn is_number(value: LLVMValueRef) -> bool {
    // SAFETY: as in `origin`.
    unsafe { lanes(value).is_some_and(|lanes| lanes.iter().all(|lane| !lane.is_nan())) }
}

/// The lanes of a constant, if they are plain numbers. Those that are undefined are left out.
unsafe fn lanes(value: LLVMValueRef) -> Option<Vec<f64>> {
    // SAFETY: as in `origin`.
    unsafe {
        if LLVMIsUndef(value) != 0 {
            return Some(Vec::new());
        }
        if LLVMIsNull(value) != 0 {
            return Some(vec![0.0]);
        }
        if !LLVMIsAConstantFP(value).is_null() {
            let mut inexact = 0;
            return Some(vec![LLVMConstRealGetDouble(value, &raw mut inexact)]);
        }
        if LLVMIsAConstantDataVector(value).is_null() {
            return None;
        }
        let all = (0..LLVMGetVectorSize(LLVMTypeOf(value)))
            .map(|lane| lanes(LLVMGetAggregateElement(value, lane)))
            .collect::<Option<Vec<_>>>()?;
        Some(all.concat())
    }
}

/// The word behind `llvm.` in the name of an intrinsic.
unsafe fn intrinsic<'a>(function: LLVMValueRef) -> Option<&'a str> {
    // SAFETY: the name lives as long as the function.
    let name = unsafe {
        if LLVMIsAFunction(function).is_null() {
            return None;
        }
        let mut length = 0;
        let name: *const c_char = LLVMGetValueName2(function, &raw mut length);
        slice::from_raw_parts(name.cast::<u8>(), length)
    };
    str::from_utf8(name).ok()?.strip_prefix("llvm.")?.split('.').next()
}

/// LLVM 22 has no code for `llvm.canonicalize` of two lanes of 32 bits: makes it four.
unsafe fn widen(call: LLVMValueRef) {
    // SAFETY: the call lives, and is replaced by values of its type before it.
    unsafe {
        let ty = LLVMTypeOf(call);
        let narrow = LLVMGetTypeKind(ty) == LLVMTypeKind::LLVMVectorTypeKind
            && LLVMGetTypeKind(LLVMGetElementType(ty)) == LLVMTypeKind::LLVMFloatTypeKind
            && LLVMGetVectorSize(ty) == 2;
        if !narrow {
            return;
        }
        let context = LLVMGetTypeContext(ty);
        let builder = LLVMCreateBuilderInContext(context);
        LLVMPositionBuilderBefore(builder, call);
        let i32 = LLVMInt32TypeInContext(context);
        let mask = |lanes: &mut [u64]| {
            let mut lanes: Vec<_> = lanes.iter().map(|lane| LLVMConstInt(i32, *lane, 0)).collect();
            LLVMConstVector(lanes.as_mut_ptr(), lanes.len() as u32)
        };
        let wide = LLVMVectorType(LLVMGetElementType(ty), 4);
        let operand = LLVMGetOperand(call, 0);
        let zeros = LLVMConstNull(ty);
        let operand =
            LLVMBuildShuffleVector(builder, operand, zeros, mask(&mut [0, 1, 2, 3]), c"".as_ptr());
        let name = b"llvm.canonicalize";
        let id = LLVMLookupIntrinsicID(name.as_ptr().cast(), name.len());
        let module = LLVMGetGlobalParent(LLVMGetCalledValue(call));
        let mut types = [wide];
        let function = LLVMGetIntrinsicDeclaration(module, id, types.as_mut_ptr(), 1);
        let function_type = LLVMIntrinsicGetType(context, id, types.as_mut_ptr(), 1);
        let mut arguments = [operand];
        let value = LLVMBuildCall2(
            builder,
            function_type,
            function,
            arguments.as_mut_ptr(),
            1,
            c"".as_ptr(),
        );
        let value = LLVMBuildShuffleVector(
            builder,
            value,
            LLVMConstNull(wide),
            mask(&mut [0, 1]),
            c"".as_ptr(),
        );
        LLVMReplaceAllUsesWith(call, value);
        LLVMInstructionEraseFromParent(call);
        LLVMDisposeBuilder(builder);
    }
}
