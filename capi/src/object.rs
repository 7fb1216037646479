//! Objects of a store, which C holds by handles: functions, globals, tables, memories, instances, modules, traps, foreign objects.

use crate::trap::TrapData;
use crate::vec::Duplicate;
use crate::{delete, give, guard};
use engine::{Engine, ExternRef, Func, Global, Instance, Memory, Module, Store, Table, Tag};
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

/// A store that its objects keep alive.
pub struct StoreCell {
    store: UnsafeCell<Store>,
    pub engine: Engine,
}

pub type StoreRef = Arc<StoreCell>;

// SAFETY: C's promise: one thread at a time uses a store and what belongs to it.
unsafe impl Send for StoreCell {}
// SAFETY: as above.
unsafe impl Sync for StoreCell {}

impl StoreCell {
    pub fn new(store: Store, engine: Engine) -> StoreRef {
        Arc::new(StoreCell { store: UnsafeCell::new(store), engine })
    }

    /// The store.
    ///
    /// # Safety
    /// The calling thread is the one that uses the store now. A function of the host may do so while a call into the store is
    /// going on: that call touches nothing of the store until the function has returned, as for the engine's own `Caller`.
    #[expect(clippy::mut_from_ref, reason = "the one thread that uses the store is here")]
    pub unsafe fn get(&self) -> &mut Store {
        // SAFETY: by contract.
        unsafe { &mut *self.store.get() }
    }
}

/// What a handle names.
#[derive(Clone)]
pub enum Kind {
    Func(Func),
    Global(Global),
    Table(Table),
    Memory(Memory),
    Tag(Tag),
    Instance(Instance),
    Module(Module),
    Trap(Arc<TrapData>),
    Foreign(ExternRef),
}

/// A handle: all of C's reference types.
pub struct Object {
    pub kind: Kind,
    info: Arc<HostInfo>,
    // Goes last: what belongs to the store must not outlive it.
    pub store: StoreRef,
}

impl Duplicate for Object {
    fn duplicate(&self) -> Object {
        Object { kind: self.kind.clone(), info: self.info.clone(), store: self.store.clone() }
    }
}

/// What C attaches to an object.
#[derive(Default)]
pub struct HostInfo(Mutex<Info>);

struct Info {
    data: *mut c_void,
    finalizer: Option<unsafe extern "C" fn(*mut c_void)>,
}

impl Default for Info {
    fn default() -> Info {
        Info { data: ptr::null_mut(), finalizer: None }
    }
}

// SAFETY: as for stores, C sees to it that its data may go where the object goes.
unsafe impl Send for Info {}

impl Drop for Info {
    fn drop(&mut self) {
        if let Some(finalizer) = self.finalizer {
            // SAFETY: C's promise.
            unsafe { finalizer(self.data) };
        }
    }
}

impl Object {
    /// A new handle.
    pub fn give(store: &StoreRef, kind: Kind) -> *mut Object {
        let info = match &kind {
            // Theirs goes with the value.
            Kind::Foreign(value) => value.data().downcast_ref::<Arc<HostInfo>>().cloned(),
            _ => None,
        };
        give(Object { kind, info: info.unwrap_or_default(), store: store.clone() })
    }

    /// A new foreign object.
    pub fn foreign(store: &StoreRef) -> *mut Object {
        let info: Arc<HostInfo> = Arc::default();
        Object::give(store, Kind::Foreign(ExternRef::new(info)))
    }

    fn same(&self, other: &Object) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Func(a), Kind::Func(b)) => a == b,
            (Kind::Global(a), Kind::Global(b)) => a == b,
            (Kind::Table(a), Kind::Table(b)) => a == b,
            (Kind::Memory(a), Kind::Memory(b)) => a.same(b),
            (Kind::Tag(a), Kind::Tag(b)) => a == b,
            (Kind::Instance(a), Kind::Instance(b)) => a == b,
            (Kind::Module(a), Kind::Module(b)) => a.same(b),
            (Kind::Trap(a), Kind::Trap(b)) => Arc::ptr_eq(a, b),
            (Kind::Foreign(_), Kind::Foreign(_)) => Arc::ptr_eq(&self.info, &other.info),
            _ => false,
        }
    }

    fn set_info(&self, info: Info) {
        let old = {
            let mut place = self.info.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *place, info)
        };
        // Its finalizer may look at the object.
        drop(old);
    }
}

/// What all reference types have.
macro_rules! references {
    ($($delete:ident $copy:ident $same:ident $get:ident $set:ident $set_with:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $delete(own: *mut Object) {
            // SAFETY: C's promise.
            unsafe { delete(own) };
        }
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $copy(from: *const Object) -> *mut Object {
            // SAFETY: C's promise.
            guard(ptr::null_mut(), || unsafe { crate::vec::Element::copy(&from.cast_mut()) })
        }
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $same(a: *const Object, b: *const Object) -> bool {
            // SAFETY: C's promise.
            guard(false, || match unsafe { (a.as_ref(), b.as_ref()) } {
                (Some(a), Some(b)) => a.same(b),
                (None, None) => true,
                _ => false,
            })
        }
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $get(object: *const Object) -> *mut c_void {
            guard(ptr::null_mut(), || {
                // SAFETY: C's promise.
                let object = unsafe { &*object };
                object.info.0.lock().unwrap_or_else(PoisonError::into_inner).data
            })
        }
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $set(object: *mut Object, data: *mut c_void) {
            // SAFETY: C's promise.
            guard((), || unsafe { (*object).set_info(Info { data, finalizer: None }) });
        }
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $set_with(
            object: *mut Object,
            data: *mut c_void,
            finalizer: Option<unsafe extern "C" fn(*mut c_void)>,
        ) {
            // SAFETY: C's promise.
            guard((), || unsafe { (*object).set_info(Info { data, finalizer }) });
        }
    )*};
}

references! {
    wasm_ref_delete wasm_ref_copy wasm_ref_same wasm_ref_get_host_info wasm_ref_set_host_info
        wasm_ref_set_host_info_with_finalizer;
    wasm_trap_delete wasm_trap_copy wasm_trap_same wasm_trap_get_host_info wasm_trap_set_host_info
        wasm_trap_set_host_info_with_finalizer;
    wasm_foreign_delete wasm_foreign_copy wasm_foreign_same wasm_foreign_get_host_info wasm_foreign_set_host_info
        wasm_foreign_set_host_info_with_finalizer;
    wasm_module_delete wasm_module_copy wasm_module_same wasm_module_get_host_info wasm_module_set_host_info
        wasm_module_set_host_info_with_finalizer;
    wasm_func_delete wasm_func_copy wasm_func_same wasm_func_get_host_info wasm_func_set_host_info
        wasm_func_set_host_info_with_finalizer;
    wasm_global_delete wasm_global_copy wasm_global_same wasm_global_get_host_info wasm_global_set_host_info
        wasm_global_set_host_info_with_finalizer;
    wasm_table_delete wasm_table_copy wasm_table_same wasm_table_get_host_info wasm_table_set_host_info
        wasm_table_set_host_info_with_finalizer;
    wasm_memory_delete wasm_memory_copy wasm_memory_same wasm_memory_get_host_info wasm_memory_set_host_info
        wasm_memory_set_host_info_with_finalizer;
    wasm_extern_delete wasm_extern_copy wasm_extern_same wasm_extern_get_host_info wasm_extern_set_host_info
        wasm_extern_set_host_info_with_finalizer;
    wasm_instance_delete wasm_instance_copy wasm_instance_same wasm_instance_get_host_info
        wasm_instance_set_host_info wasm_instance_set_host_info_with_finalizer;
}

/// Casts from a kind to a family and back.
macro_rules! casts {
    ($($kind:pat => $up:ident $down:ident $up_const:ident $down_const:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $up(object: *mut Object) -> *mut Object {
            object
        }
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $down(object: *mut Object) -> *mut Object {
            // SAFETY: C's promise.
            let fits = unsafe { object.as_ref() }.is_some_and(|object| matches!(object.kind, $kind));
            if fits { object } else { ptr::null_mut() }
        }
        #[unsafe(no_mangle)]
        pub extern "C" fn $up_const(object: *const Object) -> *const Object {
            object
        }
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $down_const(object: *const Object) -> *const Object {
            // SAFETY: C's promise.
            unsafe { $down(object.cast_mut()) }
        }
    )*};
}

casts! {
    Kind::Trap(_) => wasm_trap_as_ref wasm_ref_as_trap wasm_trap_as_ref_const wasm_ref_as_trap_const;
    Kind::Foreign(_) => wasm_foreign_as_ref wasm_ref_as_foreign wasm_foreign_as_ref_const wasm_ref_as_foreign_const;
    Kind::Module(_) => wasm_module_as_ref wasm_ref_as_module wasm_module_as_ref_const wasm_ref_as_module_const;
    Kind::Func(_) => wasm_func_as_ref wasm_ref_as_func wasm_func_as_ref_const wasm_ref_as_func_const;
    Kind::Global(_) => wasm_global_as_ref wasm_ref_as_global wasm_global_as_ref_const wasm_ref_as_global_const;
    Kind::Table(_) => wasm_table_as_ref wasm_ref_as_table wasm_table_as_ref_const wasm_ref_as_table_const;
    Kind::Memory(_) => wasm_memory_as_ref wasm_ref_as_memory wasm_memory_as_ref_const wasm_ref_as_memory_const;
    Kind::Instance(_) => wasm_instance_as_ref wasm_ref_as_instance wasm_instance_as_ref_const
        wasm_ref_as_instance_const;
    Kind::Func(_) | Kind::Global(_) | Kind::Table(_) | Kind::Memory(_) | Kind::Tag(_) =>
        wasm_extern_as_ref wasm_ref_as_extern wasm_extern_as_ref_const wasm_ref_as_extern_const;
    Kind::Func(_) => wasm_func_as_extern wasm_extern_as_func wasm_func_as_extern_const wasm_extern_as_func_const;
    Kind::Global(_) => wasm_global_as_extern wasm_extern_as_global wasm_global_as_extern_const
        wasm_extern_as_global_const;
    Kind::Table(_) => wasm_table_as_extern wasm_extern_as_table wasm_table_as_extern_const
        wasm_extern_as_table_const;
    Kind::Memory(_) => wasm_memory_as_extern wasm_extern_as_memory wasm_memory_as_extern_const
        wasm_extern_as_memory_const;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_foreign_new(
    store: *mut crate::engine_types::wasm_store_t,
) -> *mut Object {
    // SAFETY: C's promise.
    guard(ptr::null_mut(), || unsafe { Object::foreign(&(*store).0) })
}
