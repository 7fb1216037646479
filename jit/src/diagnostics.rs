//! LLVM's complaints. Without a handler, LLVM prints an error and ends the process.

use std::cell::RefCell;
use std::ffi::{CStr, c_void};

use inkwell::context::Context;
use inkwell::llvm_sys::LLVMDiagnosticSeverity;
use inkwell::llvm_sys::core::{
    LLVMContextSetDiagnosticHandler, LLVMDisposeMessage, LLVMGetDiagInfoDescription,
    LLVMGetDiagInfoSeverity,
};
use inkwell::llvm_sys::prelude::LLVMDiagnosticInfoRef;

use crate::error::{CompileError, Result};
use crate::presence::Presence;

/// Runs a job in a context of its own. What LLVM calls an error meanwhile is the job's.
pub(crate) fn in_context<T>(run: impl FnOnce(&Context) -> Result<T>) -> Result<T> {
    let _presence = Presence::enter().ok_or(CompileError::Ending)?;
    let errors: RefCell<Vec<String>> = RefCell::default();
    let result = {
        let context = Context::create();
        // SAFETY: the context, which calls the handler on this thread alone, does not outlive `errors`.
        unsafe {
            let errors = (&raw const errors).cast_mut().cast::<c_void>();
            LLVMContextSetDiagnosticHandler(context.raw(), Some(handle), errors);
        }
        run(&context)
    };
    match errors.into_inner() {
        errors if errors.is_empty() => result,
        errors => Err(CompileError::Llvm(errors.join("; "))),
    }
}

extern "C" fn handle(diagnostic: LLVMDiagnosticInfoRef, errors: *mut c_void) {
    // SAFETY: LLVM passes a diagnostic, and what `in_context` gave it.
    unsafe {
        let errors = &*errors.cast::<RefCell<Vec<String>>>();
        let description = LLVMGetDiagInfoDescription(diagnostic);
        let text = CStr::from_ptr(description).to_string_lossy().into_owned();
        LLVMDisposeMessage(description);
        match LLVMGetDiagInfoSeverity(diagnostic) {
            LLVMDiagnosticSeverity::LLVMDSError => errors.borrow_mut().push(text),
            LLVMDiagnosticSeverity::LLVMDSWarning => tracing::debug!(text, "LLVM warns"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inline assembly that is none is an error of code generation, which would end the process.
    #[test]
    fn an_error_of_llvm_is_an_error_of_the_job() {
        crate::load().expect("LLVM");
        let result = in_context(|context| {
            let module = context.create_module("broken");
            let ty = context.void_type().fn_type(&[], false);
            let function = module.add_function("f", ty, None);
            let b = context.create_builder();
            b.position_at_end(context.append_basic_block(function, "entry"));
            let assembly = context.create_inline_asm(
                ty,
                "bogus".into(),
                String::new(),
                true,
                false,
                None,
                false,
            );
            b.build_indirect_call(ty, assembly, &[], "")?;
            b.build_return(None)?;
            let machines = crate::target::Machines::new(crate::Cpu::Host)?;
            let level = crate::Level::Quick;
            machines.prepare(&module, level);
            let object = inkwell::targets::FileType::Object;
            let _ = machines.get(level).write_to_memory_buffer(&module, object);
            Ok(())
        });
        let error = result.expect_err("it is no instruction").to_string();
        assert!(error.contains("bogus") || error.contains("instruction"), "{error}");
    }
}
