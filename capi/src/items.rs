//! Globals, tables, memories, and externs of any kind.

use crate::engine_types::wasm_store_t;
use crate::object::{Kind, Object, StoreRef};
use crate::types::{ExternType, TAG, kind_of};
use crate::values::wasm_val_t;
use crate::vec::vector;
use crate::{give, guard, note};
use engine::{Global, Memory, Table, Val};
use std::ffi::c_char;
use std::ptr;

vector! {
    wasm_extern_vec_t of *mut Object: wasm_extern_vec_new_empty wasm_extern_vec_new_uninitialized wasm_extern_vec_new
        wasm_extern_vec_copy wasm_extern_vec_delete;
}

/// A function on objects of one kind: `$fails` for objects of another kind.
macro_rules! on {
    ($object:expr, $kind:ident, $fails:expr, |$store:ident, $item:ident| $body:expr) => {
        guard($fails, || {
            // SAFETY: C's promise.
            let Some(object) = (unsafe { $object.as_ref() }) else { return $fails };
            let (Kind::$kind($item), $store) = (&object.kind, &object.store) else { return $fails };
            $body
        })
    };
    ($object:expr, $kind:ident, |$store:ident, $item:ident| $body:expr) => {
        guard((), || {
            // SAFETY: C's promise.
            let Some(object) = (unsafe { $object.as_ref() }) else { return };
            let (Kind::$kind($item), $store) = (&object.kind, &object.store) else { return };
            $body
        })
    };
}

/// A new object, or null and a note.
fn made<T>(
    store: &StoreRef,
    result: Result<T, impl std::fmt::Display>,
    kind: fn(T) -> Kind,
) -> *mut Object {
    match result {
        Ok(item) => Object::give(store, kind(item)),
        Err(error) => {
            note(error);
            ptr::null_mut()
        }
    }
}

/// The reference as a value for an element of a table.
unsafe fn element(reference: *const Object, ty: engine::RefType) -> Option<Val> {
    // SAFETY: C's promise.
    match unsafe { reference.as_ref() }.map(|object| &object.kind) {
        None => Some(Val::zero(ty.into())),
        Some(Kind::Func(func)) => Some(Val::FuncRef(Some(*func))),
        Some(Kind::Foreign(value)) => Some(Val::ExternRef(Some(value.clone()))),
        Some(_) => None,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_global_new(
    store: *mut wasm_store_t,
    ty: *const ExternType,
    value: *const wasm_val_t,
) -> *mut Object {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        unsafe {
            let (store, ty) = (&(*store).0, (*ty).to_global());
            let Some(ty) = ty else { return ptr::null_mut() };
            let global = (*value).to_engine(ty.content_type).and_then(|value| {
                Global::new(store.get(), ty, &value).map_err(|error| error.to_string())
            });
            made(store, global, Kind::Global)
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_global_type(global: *const Object) -> *mut ExternType {
    on!(global, Global, ptr::null_mut(), |store, global| {
        // SAFETY: C's promise.
        give(ExternType::global(global.ty(unsafe { store.get() })))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_global_get(global: *const Object, out: *mut wasm_val_t) {
    on!(global, Global, |store, global| {
        // SAFETY: C's promise.
        unsafe {
            let value = global.get(store.get());
            let null = || wasm_val_t::null(kind_of(value.ty()).max(crate::types::EXTERNREF));
            out.write(wasm_val_t::from_engine(&value, store).unwrap_or_else(|_| null()));
        }
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_global_set(global: *mut Object, value: *const wasm_val_t) {
    on!(global, Global, |store, global| {
        // SAFETY: C's promise.
        let result = unsafe {
            let ty = global.ty(store.get());
            (*value).to_engine(ty.content_type).and_then(|value| {
                global.set(store.get(), &value).map_err(|error| error.to_string())
            })
        };
        if let Err(error) = result {
            note(error);
        }
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_table_new(
    store: *mut wasm_store_t,
    ty: *const ExternType,
    init: *mut Object,
) -> *mut Object {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        unsafe {
            let (store, ty) = (&(*store).0, (*ty).to_table());
            let Some(ty) = ty else { return ptr::null_mut() };
            let Some(init) = element(init, ty.element_type) else { return ptr::null_mut() };
            made(store, Table::new(store.get(), ty, &init), Kind::Table)
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_table_type(table: *const Object) -> *mut ExternType {
    on!(table, Table, ptr::null_mut(), |store, table| {
        // SAFETY: C's promise.
        give(ExternType::table(table.ty(unsafe { store.get() })))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_table_get(table: *const Object, index: u32) -> *mut Object {
    on!(table, Table, ptr::null_mut(), |store, table| {
        // SAFETY: C's promise.
        match table.get(unsafe { store.get() }, index.into()) {
            Some(Val::FuncRef(Some(func))) => Object::give(store, Kind::Func(func)),
            Some(Val::ExternRef(Some(value))) => Object::give(store, Kind::Foreign(value)),
            _ => ptr::null_mut(),
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_table_set(
    table: *mut Object,
    index: u32,
    value: *mut Object,
) -> bool {
    on!(table, Table, false, |store, table| {
        // SAFETY: C's promise.
        unsafe {
            let ty = table.ty(store.get()).element_type;
            let value = element(value, ty);
            value.is_some_and(|value| table.set(store.get(), index.into(), &value).is_some())
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_table_size(table: *const Object) -> u32 {
    on!(table, Table, 0, |store, table| {
        // SAFETY: C's promise.
        u32::try_from(table.size(unsafe { store.get() })).unwrap_or(u32::MAX)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_table_grow(
    table: *mut Object,
    delta: u32,
    init: *mut Object,
) -> bool {
    on!(table, Table, false, |store, table| {
        // SAFETY: C's promise.
        unsafe {
            let ty = table.ty(store.get()).element_type;
            let init = element(init, ty);
            init.is_some_and(|init| table.grow(store.get(), delta.into(), &init).is_some())
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_memory_new(
    store: *mut wasm_store_t,
    ty: *const ExternType,
) -> *mut Object {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        let (store, ty) = unsafe { (&(*store).0, (*ty).to_memory()) };
        let Some(ty) = ty else {
            note("a memory has 65536 pages at most");
            return ptr::null_mut();
        };
        made(store, Memory::with_type(&store.engine, ty), Kind::Memory)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_memory_type(memory: *const Object) -> *mut ExternType {
    on!(memory, Memory, ptr::null_mut(), |_store, memory| give(ExternType::memory(memory.ty())))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_memory_data(memory: *mut Object) -> *mut c_char {
    on!(memory, Memory, ptr::null_mut(), |_store, memory| memory.base().cast())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_memory_data_size(memory: *const Object) -> usize {
    on!(memory, Memory, 0, |_store, memory| memory.size() as usize)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_memory_size(memory: *const Object) -> u32 {
    on!(memory, Memory, 0, |_store, memory| {
        u32::try_from(memory.size() >> 16).unwrap_or(u32::MAX)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_memory_grow(memory: *mut Object, delta: u32) -> bool {
    on!(memory, Memory, false, |_store, memory| memory.grow(delta.into()).is_some())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_extern_kind(object: *const Object) -> u8 {
    guard(TAG, || {
        // SAFETY: C's promise.
        match unsafe { &(*object).kind } {
            Kind::Func(_) => crate::types::FUNC,
            Kind::Global(_) => crate::types::GLOBAL,
            Kind::Table(_) => crate::types::TABLE,
            Kind::Memory(_) => crate::types::MEMORY,
            _ => TAG,
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_extern_type(object: *const Object) -> *mut ExternType {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        unsafe {
            match &(*object).kind {
                Kind::Func(_) => crate::func::wasm_func_type(object),
                Kind::Global(_) => wasm_global_type(object),
                Kind::Table(_) => wasm_table_type(object),
                Kind::Memory(_) => wasm_memory_type(object),
                _ => give(ExternType::Tag),
            }
        }
    })
}
