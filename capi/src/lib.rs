//! Updraft as a C library: the standard WebAssembly C API (`include/wasm.h`), and what is Updraft's own (`include/updraft.h`).
//!
//! The headers are the documentation. Here is what all modules keep to:
//!
//! * No panic leaves a function: [`guard`] catches it, notes it for `updraft_last_error`, and gives the function's failure value.
//! * Types of the same family have one Rust type, so that the casts between them are what they are in C: [`types::ExternType`] for
//!   functypes and so on, [`object::Object`] for functions, memories, traps, modules and instances.
//! * C's promises are the proof of unsafe code: pointers are null, where a function allows it, or to what this library made and has
//!   not deleted; vectors have `size` elements; a store and what belongs to it are used by one thread at a time.
#![allow(non_camel_case_types, reason = "names of C")]
#![allow(
    clippy::missing_safety_doc,
    reason = "every function of C has the same contract, which stands above and in the headers"
)]

mod engine_types;
mod func;
mod items;
mod module;
mod object;
mod process;
mod trap;
mod types;
mod values;
mod vec;

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local!(static LAST_ERROR: RefCell<Option<CString>> = const { RefCell::new(None) });

/// Notes why a function fails.
fn note(error: impl std::fmt::Display) {
    let text = error.to_string().replace('\0', " ");
    LAST_ERROR.with(|last| *last.borrow_mut() = CString::new(text).ok());
}

/// Runs the body of a function that C calls. If it panics, the function fails.
fn guard<R>(failed: R, body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        note(format_args!("a defect of Updraft: {}", text.unwrap_or("panic")));
        failed
    })
}

/// Deletes what [`Box::into_raw`] has handed to C.
unsafe fn delete<T>(own: *mut T) {
    if !own.is_null() {
        // SAFETY: C's promise: this library made it, and nobody uses it any more.
        guard((), || drop(unsafe { Box::from_raw(own) }));
    }
}

/// Hands a value to C.
fn give<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

#[unsafe(no_mangle)]
pub extern "C" fn updraft_last_error() -> *const c_char {
    guard(std::ptr::null(), || {
        LAST_ERROR
            .with(|last| last.borrow().as_ref().map_or(std::ptr::null(), |text| text.as_ptr()))
    })
}
