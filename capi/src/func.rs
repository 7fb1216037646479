//! Functions: those of wasm, and those of the host.

use crate::engine_types::wasm_store_t;
use crate::object::{Kind, Object, StoreCell};
use crate::trap::{self, HostTrap, TrapData};
use crate::types::ExternType;
use crate::values::{wasm_val_t, wasm_val_vec_t};
use crate::vec::Element;
use crate::{give, guard, note};
use engine::{Error, Func, FuncType, Val, ValType};
use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Weak};

type Plain = unsafe extern "C" fn(*const wasm_val_vec_t, *mut wasm_val_vec_t) -> *mut Object;
type WithEnv =
    unsafe extern "C" fn(*mut c_void, *const wasm_val_vec_t, *mut wasm_val_vec_t) -> *mut Object;

/// Data of C that goes with a function, and what to do with it at the end.
pub struct Env {
    pub data: *mut c_void,
    pub finalizer: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: C's promise: the data may be used by whichever thread calls the function.
unsafe impl Send for Env {}
// SAFETY: as above.
unsafe impl Sync for Env {}

impl Drop for Env {
    fn drop(&mut self) {
        if let Some(finalizer) = self.finalizer {
            // SAFETY: C's promise.
            unsafe { finalizer(self.data) };
        }
    }
}

enum Callback {
    Plain(Plain),
    WithEnv(WithEnv, Env),
}

impl Callback {
    fn call(
        &self,
        store: &Weak<StoreCell>,
        results: &[ValType],
        args: &[Val],
    ) -> Result<Vec<Val>, Error> {
        let failed = |message: String| Error::host(HostTrap(TrapData::failed(message)));
        let store = store.upgrade().ok_or_else(|| failed("the store is gone".into()))?;
        let args: Result<Vec<wasm_val_t>, String> =
            args.iter().map(|arg| wasm_val_t::from_engine(arg, &store)).collect();
        let args: wasm_val_vec_t = args.map_err(failed)?.into();
        let unset = results.iter().map(|_| wasm_val_t::UNSET);
        let mut values: wasm_val_vec_t = unset.collect::<Vec<_>>().into();
        // SAFETY: C's promise: the function is what its type says. It leaves the vectors where they are.
        let trap = unsafe {
            match self {
                Callback::Plain(func) => func(&args, &mut values),
                Callback::WithEnv(func, env) => func(env.data, &args, &mut values),
            }
        };
        // SAFETY: the arguments were lent, and the results are owned by now; a trap is owned too.
        unsafe {
            args.discard();
            if !trap.is_null() {
                values.discard();
                return Err(Error::host(HostTrap(trap::take(trap))));
            }
            let converted = values.as_slice().iter().zip(results);
            let converted: Result<Vec<Val>, String> =
                converted.map(|(value, ty)| value.to_engine(*ty)).collect();
            values.discard();
            converted.map_err(failed)
        }
    }
}

unsafe fn new(store: *mut wasm_store_t, ty: *const ExternType, callback: Callback) -> *mut Object {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        let (store, ty) = unsafe { (&(*store).0, (*ty).to_func()) };
        let has_form = |ty: &FuncType| {
            let mut types = ty.params().iter().chain(ty.results());
            types.all(|ty| !matches!(*ty, ValType::V128 | ValType::EXNREF))
        };
        let Some(ty) = ty.filter(has_form) else {
            note("a host function cannot have values of this type");
            return ptr::null_mut();
        };
        // The store owns the function.
        let weak = Arc::downgrade(store);
        let results = ty.results().to_vec();
        let func =
            move |_: &mut engine::Caller<'_>, args: &[Val]| callback.call(&weak, &results, args);
        // SAFETY: C's promise: this thread uses the store.
        let func = Func::from_values(unsafe { store.get() }, ty, func);
        Object::give(store, Kind::Func(func))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_func_new(
    store: *mut wasm_store_t,
    ty: *const ExternType,
    callback: Plain,
) -> *mut Object {
    // SAFETY: C's promise.
    unsafe { new(store, ty, Callback::Plain(callback)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_func_new_with_env(
    store: *mut wasm_store_t,
    ty: *const ExternType,
    callback: WithEnv,
    data: *mut c_void,
    finalizer: Option<unsafe extern "C" fn(*mut c_void)>,
) -> *mut Object {
    // SAFETY: C's promise.
    unsafe { new(store, ty, Callback::WithEnv(callback, Env { data, finalizer })) }
}

/// The object and its function.
unsafe fn function<'a>(func: *const Object) -> Option<(&'a Object, Func)> {
    // SAFETY: C's promise.
    let object = unsafe { func.as_ref() }?;
    match object.kind {
        Kind::Func(func) => Some((object, func)),
        _ => None,
    }
}

unsafe fn type_of(func: *const Object) -> Option<FuncType> {
    // SAFETY: C's promise.
    unsafe { function(func).map(|(object, func)| func.ty(object.store.get())) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_func_type(func: *const Object) -> *mut ExternType {
    // SAFETY: C's promise.
    guard(ptr::null_mut(), || {
        unsafe { type_of(func) }.map_or(ptr::null_mut(), |ty| give(ExternType::func(&ty)))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_func_param_arity(func: *const Object) -> usize {
    // SAFETY: C's promise.
    guard(0, || unsafe { type_of(func) }.map_or(0, |ty| ty.params().len()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_func_result_arity(func: *const Object) -> usize {
    // SAFETY: C's promise.
    guard(0, || unsafe { type_of(func) }.map_or(0, |ty| ty.results().len()))
}

/// Calls a function; a failure as what a trap shows of it.
unsafe fn call(
    object: &Object,
    func: Func,
    args: *const wasm_val_vec_t,
    results: *mut wasm_val_vec_t,
) -> Result<(), Arc<TrapData>> {
    // SAFETY: C's promise: this thread uses the store.
    let store = unsafe { object.store.get() };
    let ty = func.ty(store);
    // SAFETY: C's promise.
    let (args, room) = unsafe {
        (
            args.as_ref().map_or(&[][..], |args| args.as_slice()),
            results.as_ref().map_or(0, |results| results.size),
        )
    };
    let (params, types) = (ty.params(), ty.results());
    if args.len() != params.len() || room < types.len() {
        return Err(TrapData::failed(format!(
            "a function of {} parameters and {} results was called with {} arguments and room for {room}",
            params.len(),
            types.len(),
            args.len()
        )));
    }
    if params.iter().chain(types).any(|ty| matches!(*ty, ValType::V128 | ValType::EXNREF)) {
        return Err(TrapData::failed("values of types v128 and exnref have no form in C"));
    }
    let args: Result<Vec<Val>, String> =
        args.iter().zip(params).map(|(arg, ty)| arg.to_engine(*ty)).collect();
    let values = func.call(store, &args.map_err(TrapData::failed)?).map_err(TrapData::of)?;
    for (index, value) in values.iter().enumerate() {
        let value = wasm_val_t::from_engine(value, &object.store).map_err(TrapData::failed)?;
        // SAFETY: there is room for all of them; what was there is not owned.
        unsafe { (*results).data.add(index).write(value) };
    }
    Ok(())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_func_call(
    func: *const Object,
    args: *const wasm_val_vec_t,
    results: *mut wasm_val_vec_t,
) -> *mut Object {
    // SAFETY: C's promise.
    let Some((object, func)) = (unsafe { function(func) }) else { return ptr::null_mut() };
    // A panic must not look like success.
    // SAFETY: as above.
    let result = guard(None, || Some(unsafe { call(object, func, args, results) }));
    match result {
        Some(Ok(())) => ptr::null_mut(),
        Some(Err(data)) => trap::trap(&object.store, data),
        None => trap::trap(&object.store, TrapData::failed("a defect of Updraft: panic")),
    }
}
