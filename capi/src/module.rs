//! Modules and instances.

use crate::engine_types::wasm_store_t;
use crate::items::wasm_extern_vec_t;
use crate::object::{Kind, Object};
use crate::trap::{self, TrapData};
use crate::types::{ExternType, NamedType, wasm_exporttype_vec_t, wasm_importtype_vec_t};
use crate::vec::{Vector, wasm_byte_vec_t};
use crate::{delete, give, guard, note};
use engine::{Extern, Linker, Module};
use std::ptr;
use std::sync::Arc;

/// A module without a store.
pub struct wasm_shared_module_t(Module);

/// Decodes and validates; the text format has a function of its own.
unsafe fn load(store: *mut wasm_store_t, binary: *const wasm_byte_vec_t) -> Option<Module> {
    // SAFETY: C's promise.
    let (store, bytes) = unsafe { (&(*store).0, (*binary).as_slice()) };
    if !bytes.starts_with(b"\0asm") {
        note("this is no module in the binary format");
        return None;
    }
    Module::new(&store.engine, bytes).inspect_err(|error| note(error)).ok()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_module_new(
    store: *mut wasm_store_t,
    binary: *const wasm_byte_vec_t,
) -> *mut Object {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        unsafe {
            let module = load(store, binary);
            module.map_or(ptr::null_mut(), |module| Object::give(&(*store).0, Kind::Module(module)))
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_module_validate(
    store: *mut wasm_store_t,
    binary: *const wasm_byte_vec_t,
) -> bool {
    // SAFETY: C's promise.
    guard(false, || unsafe { load(store, binary) }.is_some())
}

/// The module of an object.
pub unsafe fn module_of<'a>(object: *const Object) -> Option<&'a Module> {
    // SAFETY: C's promise.
    match unsafe { object.as_ref() }.map(|object| &object.kind) {
        Some(Kind::Module(module)) => Some(module),
        _ => None,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_module_imports(
    module: *const Object,
    out: *mut wasm_importtype_vec_t,
) {
    guard((), || {
        // SAFETY: C's promise.
        let module = unsafe {
            out.write(Vector::EMPTY);
            module_of(module)
        };
        let Some(module) = module else { return };
        let types = module.imports().iter().map(|import| {
            give(NamedType {
                module: wasm_byte_vec_t::bytes(import.module.as_bytes()),
                name: wasm_byte_vec_t::bytes(import.name.as_bytes()),
                ty: Box::new(ExternType::of(&module.type_of(import.item))),
            })
        });
        // SAFETY: as above.
        unsafe { out.write(types.collect::<Vec<_>>().into()) };
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_module_exports(
    module: *const Object,
    out: *mut wasm_exporttype_vec_t,
) {
    guard((), || {
        // SAFETY: C's promise.
        let module = unsafe {
            out.write(Vector::EMPTY);
            module_of(module)
        };
        let Some(module) = module else { return };
        let types = module.exports().iter().map(|export| {
            give(NamedType {
                module: Vector::EMPTY,
                name: wasm_byte_vec_t::bytes(export.name.as_bytes()),
                ty: Box::new(ExternType::of(&module.type_of(export.item))),
            })
        });
        // SAFETY: as above.
        unsafe { out.write(types.collect::<Vec<_>>().into()) };
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_module_serialize(module: *const Object, out: *mut wasm_byte_vec_t) {
    guard((), || {
        // SAFETY: C's promise.
        unsafe {
            let bytes = module_of(module).map_or(&[][..], |module| module.binary());
            out.write(wasm_byte_vec_t::bytes(bytes));
        }
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_module_deserialize(
    store: *mut wasm_store_t,
    binary: *const wasm_byte_vec_t,
) -> *mut Object {
    // SAFETY: C's promise.
    unsafe { wasm_module_new(store, binary) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_module_share(module: *const Object) -> *mut wasm_shared_module_t {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        let module = unsafe { module_of(module) };
        module.map_or(ptr::null_mut(), |module| give(wasm_shared_module_t(module.clone())))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_module_obtain(
    store: *mut wasm_store_t,
    shared: *const wasm_shared_module_t,
) -> *mut Object {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        unsafe { Object::give(&(*store).0, Kind::Module((*shared).0.clone())) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_shared_module_delete(own: *mut wasm_shared_module_t) {
    // SAFETY: C's promise.
    unsafe { delete(own) };
}

/// Instantiates; a failure as what a trap shows of it.
unsafe fn instantiate(
    store: &crate::object::StoreRef,
    module: *const Object,
    imports: *const wasm_extern_vec_t,
) -> Result<engine::Instance, Arc<TrapData>> {
    // SAFETY: C's promise.
    let (module, imports) = unsafe {
        (
            module_of(module).ok_or_else(|| TrapData::failed("this is no module"))?,
            imports.as_ref().map_or(&[][..], |imports| imports.as_slice()),
        )
    };
    let wanted = module.imports().len();
    if imports.len() < wanted {
        let given = imports.len();
        return Err(TrapData::failed(format!(
            "the module has {wanted} imports, but {given} externs were given"
        )));
    }
    let items: Option<Vec<Extern>> = imports[..wanted]
        .iter()
        // SAFETY: C's promise.
        .map(|import| match unsafe { import.as_ref() }.map(|object| &object.kind) {
            Some(Kind::Func(func)) => Some(Extern::Func(*func)),
            Some(Kind::Global(global)) => Some(Extern::Global(*global)),
            Some(Kind::Table(table)) => Some(Extern::Table(*table)),
            Some(Kind::Memory(memory)) => Some(Extern::Memory(memory.clone())),
            Some(Kind::Tag(tag)) => Some(Extern::Tag(*tag)),
            _ => None,
        })
        .collect();
    let items = items.ok_or_else(|| TrapData::failed("one of the externs is null"))?;
    // SAFETY: C's promise: this thread uses the store.
    let result =
        Linker::new(&store.engine).instantiate_with(unsafe { store.get() }, module, &items);
    result.map_err(TrapData::of)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_instance_new(
    store: *mut wasm_store_t,
    module: *const Object,
    imports: *const wasm_extern_vec_t,
    trap: *mut *mut Object,
) -> *mut Object {
    // SAFETY: C's promise.
    let Some(store) = (unsafe { store.as_ref() }).map(|store| &store.0) else {
        return ptr::null_mut();
    };
    // SAFETY: as above.
    let result = guard(None, || Some(unsafe { instantiate(store, module, imports) }));
    let result = result.unwrap_or_else(|| Err(TrapData::failed("a defect of Updraft: panic")));
    let (instance, failure) = match result {
        Ok(instance) => (Object::give(store, Kind::Instance(instance)), ptr::null_mut()),
        Err(data) if trap.is_null() => {
            note(trap::HostTrap(data));
            (ptr::null_mut(), ptr::null_mut())
        }
        Err(data) => {
            note(trap::HostTrap(data.clone()));
            (ptr::null_mut(), trap::trap(store, data))
        }
    };
    if !trap.is_null() {
        // SAFETY: C's promise.
        unsafe { trap.write(failure) };
    }
    instance
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_instance_exports(
    instance: *const Object,
    out: *mut wasm_extern_vec_t,
) {
    guard((), || {
        // SAFETY: C's promise.
        let object = unsafe {
            out.write(Vector::EMPTY);
            instance.as_ref()
        };
        let Some((object, Kind::Instance(instance))) = object.map(|object| (object, &object.kind))
        else {
            return;
        };
        // SAFETY: C's promise: this thread uses the store.
        let exports = instance.exports(unsafe { object.store.get() });
        let objects = exports.into_iter().map(|(_, item)| {
            let kind = match item {
                Extern::Func(func) => Kind::Func(func),
                Extern::Global(global) => Kind::Global(global),
                Extern::Table(table) => Kind::Table(table),
                Extern::Memory(memory) => Kind::Memory(memory),
                Extern::Tag(tag) => Kind::Tag(tag),
            };
            Object::give(&object.store, kind)
        });
        // SAFETY: as above.
        unsafe { out.write(objects.collect::<Vec<_>>().into()) };
    });
}
