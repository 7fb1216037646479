//! Configurations, engines and stores.

use crate::object::{StoreCell, StoreRef};
use crate::vec::wasm_byte_vec_t;
use crate::{delete, give, guard, note};
use engine::{Config, Engine, Store, Strategy};
use std::ffi::c_char;
use std::ptr;

pub struct wasm_config_t(Config);

pub struct wasm_engine_t(Engine);

pub struct wasm_store_t(pub StoreRef);

#[unsafe(no_mangle)]
pub extern "C" fn wasm_config_new() -> *mut wasm_config_t {
    guard(ptr::null_mut(), || give(wasm_config_t(Config::default())))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_config_delete(own: *mut wasm_config_t) {
    // SAFETY: C's promise.
    unsafe { delete(own) };
}

#[unsafe(no_mangle)]
pub extern "C" fn wasm_engine_new() -> *mut wasm_engine_t {
    guard(ptr::null_mut(), || give(wasm_engine_t(Engine::default())))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_new_with_config(
    config: *mut wasm_config_t,
) -> *mut wasm_engine_t {
    guard(ptr::null_mut(), || {
        if config.is_null() {
            return wasm_engine_new();
        }
        // SAFETY: C's promise: the configuration is handed over.
        give(wasm_engine_t(Engine::new(unsafe { Box::from_raw(config) }.0)))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_engine_delete(own: *mut wasm_engine_t) {
    // SAFETY: C's promise.
    unsafe { delete(own) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_store_new(engine: *mut wasm_engine_t) -> *mut wasm_store_t {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        let Some(engine) = (unsafe { engine.as_ref() }) else { return ptr::null_mut() };
        match Store::new(&engine.0) {
            Ok(store) => give(wasm_store_t(StoreCell::new(store, engine.0.clone()))),
            Err(error) => {
                note(error);
                ptr::null_mut()
            }
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_store_delete(own: *mut wasm_store_t) {
    // SAFETY: C's promise.
    unsafe { delete(own) };
}

/// Changes a configuration.
unsafe fn configure(config: *mut wasm_config_t, change: impl FnOnce(&mut Config)) {
    // SAFETY: C's promise.
    if let Some(config) = unsafe { config.as_mut() } {
        guard((), || change(&mut config.0));
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_config_set_strategy(
    config: *mut wasm_config_t,
    strategy: u8,
) -> bool {
    let strategy = match strategy {
        0 => Strategy::Interp,
        1 => Strategy::Quick,
        2 => Strategy::Full,
        3 => Strategy::Tiered,
        other => {
            note(format_args!("{other} is no strategy"));
            return false;
        }
    };
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.strategy = strategy) };
    true
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_config_set_compile_threads(
    config: *mut wasm_config_t,
    threads: usize,
) {
    let threads = (threads != 0).then_some(threads.min(256));
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.compile_threads = threads) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_config_set_max_memory(config: *mut wasm_config_t, bytes: u64) {
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.max_memory = bytes) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_config_set_stack_size(
    config: *mut wasm_config_t,
    bytes: u64,
) -> bool {
    if !(512 << 10..=16 << 30).contains(&bytes) {
        note("the size of a stack must be from 512 KiB to 16 GiB");
        return false;
    }
    let set = |config: &mut Config| {
        config.native_stack = bytes as usize;
        config.value_stack = bytes as usize;
    };
    // SAFETY: C's promise.
    unsafe { configure(config, set) };
    true
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_config_set_exact_traps(config: *mut wasm_config_t, exact: bool) {
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.exact_traps = exact) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_config_set_canonicalize_nan(
    config: *mut wasm_config_t,
    canonicalize: bool,
) {
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.canonicalize_nan = canonicalize) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_wat2wasm(
    text: *const c_char,
    length: usize,
    out: *mut wasm_byte_vec_t,
) -> bool {
    guard(false, || {
        if text.is_null() {
            return false;
        }
        // SAFETY: C's promise: so many bytes.
        let text = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
        match wat::parse_bytes(text) {
            Ok(binary) => {
                // SAFETY: C's promise.
                unsafe { out.write(wasm_byte_vec_t::bytes(&binary)) };
                true
            }
            Err(error) => {
                note(error);
                false
            }
        }
    })
}
