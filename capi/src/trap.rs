//! Traps, and all other ways in which a call fails.

use crate::engine_types::wasm_store_t;
use crate::object::{Kind, Object, StoreRef};
use crate::vec::{Duplicate, vector, wasm_byte_vec_t};
use crate::{delete, give, guard};
use engine::{Error, Frame, Stopped};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

/// How something ended, as in `updraft.h`.
pub const EXITED: u8 = 0;
pub const TRAPPED: u8 = 1;
pub const EXCEPTION: u8 = 2;
pub const TERMINATED: u8 = 3;
pub const TIMED_OUT: u8 = 4;
pub const FAILED: u8 = 5;
pub const CPU_TIME: u8 = 6;

/// What is behind a trap.
pub struct TrapData {
    pub ending: u8,
    pub exit_code: i32,
    message: String,
    frames: Mutex<Frames>,
}

/// The frames, whose offsets are looked for when somebody asks.
enum Frames {
    None,
    Trap(Box<engine::Trap>),
    Exception(Box<engine::Exception>),
    Located(Vec<wasm_frame_t>),
}

/// The trap of a host function, on its way through the engine.
#[derive(Clone)]
pub struct HostTrap(pub Arc<TrapData>);

impl std::fmt::Debug for HostTrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HostTrap").field(&self.0.message).finish()
    }
}

impl std::fmt::Display for HostTrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for HostTrap {}

/// How a failed call ended, and its exit code.
pub fn ending_of(error: &Error) -> (u8, i32) {
    match error {
        Error::Exit(code) => (EXITED, *code),
        Error::Trap(_) => (TRAPPED, 0),
        Error::Exception(_) => (EXCEPTION, 0),
        Error::Stopped(Stopped::TimedOut) => (TIMED_OUT, 0),
        Error::Stopped(Stopped::CpuTime) => (CPU_TIME, 0),
        Error::Stopped(_) => (TERMINATED, 0),
        _ => (FAILED, 0),
    }
}

impl TrapData {
    pub fn failed(message: impl Into<String>) -> Arc<TrapData> {
        Arc::new(TrapData {
            ending: FAILED,
            exit_code: 0,
            message: message.into(),
            frames: Mutex::new(Frames::None),
        })
    }

    pub fn of(error: Error) -> Arc<TrapData> {
        if let Error::Host(host) = &error
            && let Some(HostTrap(data)) = host.downcast_ref()
        {
            return data.clone();
        }
        let (ending, exit_code) = ending_of(&error);
        let (message, frames) = match error {
            Error::Trap(trap) => (trap.code.message().to_owned(), Frames::Trap(Box::new(trap))),
            Error::Exception(exception) => {
                ("uncaught exception".to_owned(), Frames::Exception(Box::new(exception)))
            }
            error => (error.to_string(), Frames::None),
        };
        Arc::new(TrapData { ending, exit_code, message, frames: Mutex::new(frames) })
    }

    fn frames(&self) -> Vec<wasm_frame_t> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let located = |frames: &[Frame]| frames.iter().map(wasm_frame_t::of).collect();
        *frames = match std::mem::replace(&mut *frames, Frames::None) {
            Frames::Trap(mut trap) => {
                trap.locate();
                Frames::Located(located(&trap.frames))
            }
            Frames::Exception(mut exception) => {
                exception.locate();
                Frames::Located(located(&exception.frames))
            }
            other => other,
        };
        match &*frames {
            Frames::Located(frames) => frames.clone(),
            _ => Vec::new(),
        }
    }
}

/// A trap for C.
pub fn trap(store: &StoreRef, data: Arc<TrapData>) -> *mut Object {
    Object::give(store, Kind::Trap(data))
}

/// What is behind a trap of C's.
unsafe fn data<'a>(trap: *const Object) -> Option<&'a Arc<TrapData>> {
    // SAFETY: C's promise.
    match unsafe { trap.as_ref() }.map(|object| &object.kind) {
        Some(Kind::Trap(data)) => Some(data),
        _ => None,
    }
}

/// Takes over a trap that C has made.
pub unsafe fn take(trap: *mut Object) -> Arc<TrapData> {
    // SAFETY: C's promise.
    unsafe {
        let data = data(trap).cloned();
        delete(trap);
        data.unwrap_or_else(|| TrapData::failed("a host function returned what is no trap"))
    }
}

#[derive(Clone, Copy)]
pub struct wasm_frame_t {
    func: u32,
    func_offset: usize,
    module_offset: usize,
}

impl wasm_frame_t {
    fn of(frame: &Frame) -> wasm_frame_t {
        let offset = |offset: Option<u32>| offset.map_or(usize::MAX, |offset| offset as usize);
        let (func_offset, module_offset) = (frame.offset_in_function(), frame.offset);
        wasm_frame_t {
            func: frame.func,
            func_offset: offset(func_offset),
            module_offset: offset(module_offset),
        }
    }
}

impl Duplicate for wasm_frame_t {
    fn duplicate(&self) -> Self {
        *self
    }
}

vector! {
    wasm_frame_vec_t of *mut wasm_frame_t: wasm_frame_vec_new_empty wasm_frame_vec_new_uninitialized wasm_frame_vec_new
        wasm_frame_vec_copy wasm_frame_vec_delete;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_frame_delete(own: *mut wasm_frame_t) {
    // SAFETY: C's promise.
    unsafe { delete(own) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_frame_copy(frame: *const wasm_frame_t) -> *mut wasm_frame_t {
    // SAFETY: C's promise.
    guard(ptr::null_mut(), || give(unsafe { *frame }))
}

#[unsafe(no_mangle)]
pub extern "C" fn wasm_frame_instance(_frame: *const wasm_frame_t) -> *mut Object {
    ptr::null_mut()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_frame_func_index(frame: *const wasm_frame_t) -> u32 {
    // SAFETY: C's promise.
    unsafe { (*frame).func }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_frame_func_offset(frame: *const wasm_frame_t) -> usize {
    // SAFETY: C's promise.
    unsafe { (*frame).func_offset }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_frame_module_offset(frame: *const wasm_frame_t) -> usize {
    // SAFETY: C's promise.
    unsafe { (*frame).module_offset }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_trap_new(
    store: *mut wasm_store_t,
    message: *const wasm_byte_vec_t,
) -> *mut Object {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        let bytes = unsafe { message.as_ref().map_or(&[][..], |message| message.as_slice()) };
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
        let data = TrapData::failed(String::from_utf8_lossy(bytes));
        // SAFETY: C's promise.
        trap(unsafe { &(*store).0 }, data)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_trap_message(trap: *const Object, out: *mut wasm_byte_vec_t) {
    guard((), || {
        // SAFETY: C's promise.
        unsafe {
            let message = data(trap).map_or("no trap", |data| &data.message);
            out.write(wasm_byte_vec_t::message(message));
        }
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_trap_origin(trap: *const Object) -> *mut wasm_frame_t {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        let frames = unsafe { data(trap) }.map(|data| data.frames()).unwrap_or_default();
        frames.first().map_or(ptr::null_mut(), |frame| give(*frame))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_trap_trace(trap: *const Object, out: *mut wasm_frame_vec_t) {
    guard((), || {
        // SAFETY: C's promise.
        unsafe {
            let frames = data(trap).map(|data| data.frames()).unwrap_or_default();
            out.write(frames.into_iter().map(give).collect::<Vec<_>>().into());
        }
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_trap_ending(trap: *const Object, exit_code: *mut i32) -> u8 {
    guard(FAILED, || {
        // SAFETY: C's promise.
        unsafe {
            let Some(data) = data(trap) else { return FAILED };
            if !exit_code.is_null() {
                exit_code.write(data.exit_code);
            }
            data.ending
        }
    })
}
