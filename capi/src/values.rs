//! Values.

use crate::object::{Kind, Object, StoreRef};
use crate::types::{EXTERNREF, F32, F64, FUNCREF, I32, I64};
use crate::vec::{Element, Vector, vector};
use crate::{delete, give, guard};
use engine::{Val, ValType};
use std::ptr;

#[repr(C)]
pub struct wasm_val_t {
    pub kind: u8,
    pub of: Payload,
}

#[repr(C)]
pub union Payload {
    i32: i32,
    i64: i64,
    f32: u32,
    f64: u64,
    object: *mut Object,
}

impl wasm_val_t {
    /// The reference, if it is one that owns something.
    fn object(&self) -> *mut Object {
        // SAFETY: C's promise: the payload is of its kind.
        if self.kind >= EXTERNREF { unsafe { self.of.object } } else { ptr::null_mut() }
    }

    /// As the engine has it, where a value of type `ty` is wanted.
    pub fn to_engine(&self, ty: ValType) -> Result<Val, String> {
        // SAFETY: C's promise: the payload is of its kind.
        let val = unsafe {
            match self.kind {
                I32 => Val::I32(self.of.i32),
                I64 => Val::I64(self.of.i64),
                F32 => Val::F32(self.of.f32),
                F64 => Val::F64(self.of.f64),
                EXTERNREF | FUNCREF => match self.of.object.as_ref().map(|object| &object.kind) {
                    None if matches!(ty, ValType::Ref(_)) => Val::zero(ty),
                    Some(Kind::Func(func)) => Val::FuncRef(Some(*func)),
                    Some(Kind::Foreign(value)) => Val::ExternRef(Some(value.clone())),
                    None => return Err(format!("a null reference cannot be a value of type {ty}")),
                    Some(_) => {
                        return Err("only functions and foreign objects can be values".into());
                    }
                },
                kind => return Err(format!("{kind} is no kind of values")),
            }
        };
        Ok(val)
    }

    /// For C, which owns it.
    pub fn from_engine(val: &Val, store: &StoreRef) -> Result<wasm_val_t, String> {
        let (kind, of) = match val {
            Val::I32(value) => (I32, Payload { i32: *value }),
            Val::I64(value) => (I64, Payload { i64: *value }),
            Val::F32(value) => (F32, Payload { f32: *value }),
            Val::F64(value) => (F64, Payload { f64: *value }),
            Val::FuncRef(func) => {
                let object = func.map(|func| Object::give(store, Kind::Func(func)));
                (FUNCREF, Payload { object: object.unwrap_or(ptr::null_mut()) })
            }
            Val::ExternRef(value) => {
                let value = value.clone();
                let object = value.map(|value| Object::give(store, Kind::Foreign(value)));
                (EXTERNREF, Payload { object: object.unwrap_or(ptr::null_mut()) })
            }
            Val::V128(_) | Val::ExnRef(_) => {
                return Err(format!("values of type {} have no form in C", val.ty()));
            }
        };
        Ok(wasm_val_t { kind, of })
    }

    /// A number for C, which needs no store.
    pub fn from_number(val: &Val) -> Option<wasm_val_t> {
        let (kind, of) = match val {
            Val::I32(value) => (I32, Payload { i32: *value }),
            Val::I64(value) => (I64, Payload { i64: *value }),
            Val::F32(value) => (F32, Payload { f32: *value }),
            Val::F64(value) => (F64, Payload { f64: *value }),
            _ => return None,
        };
        Some(wasm_val_t { kind, of })
    }

    /// A null reference.
    pub const fn null(kind: u8) -> wasm_val_t {
        wasm_val_t { kind, of: Payload { object: ptr::null_mut() } }
    }
}

impl Element for wasm_val_t {
    const UNSET: wasm_val_t = wasm_val_t { kind: I32, of: Payload { i64: 0 } };

    unsafe fn copy(&self) -> wasm_val_t {
        let object = self.object();
        if object.is_null() {
            // SAFETY: bits without an owner.
            return unsafe { ptr::read(self) };
        }
        // SAFETY: C's promise.
        let object = give(unsafe { crate::vec::Duplicate::duplicate(&*object) });
        wasm_val_t { kind: self.kind, of: Payload { object } }
    }

    unsafe fn delete(self) {
        // SAFETY: C's promise.
        unsafe { delete(self.object()) };
    }
}

vector! {
    wasm_val_vec_t of wasm_val_t: wasm_val_vec_new_empty wasm_val_vec_new_uninitialized wasm_val_vec_new
        wasm_val_vec_copy wasm_val_vec_delete;
}

impl Vector<wasm_val_t> {
    /// Deletes values that were made for a call.
    pub unsafe fn discard(mut self) {
        // SAFETY: by contract, as for the vector's `delete`.
        unsafe {
            for value in self.take() {
                value.delete();
            }
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_val_delete(val: *mut wasm_val_t) {
    // SAFETY: C's promise.
    guard((), || unsafe { delete((*val).object()) });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_val_copy(out: *mut wasm_val_t, val: *const wasm_val_t) {
    // SAFETY: C's promise.
    guard((), || unsafe { out.write((*val).copy()) });
}
