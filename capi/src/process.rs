//! Processes: WASI programs with their threads.

use crate::engine_types::wasm_store_t;
use crate::func::Env;
use crate::module::module_of;
use crate::object::Object;
use crate::trap::{EXITED, FAILED, ending_of};
use crate::types::{ExternType, kind_of};
use crate::values::{wasm_val_t, wasm_val_vec_t};
use crate::vec::{Element, Vector, wasm_byte_vec_t};
use crate::{delete, give, guard, note};
use engine::{
    Error, FuncType, Linker, Process, ProcessConfig, Pthreads, Terminator, Val, WasiCtxBuilder,
};
use std::ffi::{CStr, OsString, c_char};
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub struct updraft_terminator_t(Terminator);

pub struct updraft_process_t {
    process: Mutex<Option<Process>>,
    terminator: Terminator,
}

#[derive(Default)]
pub struct updraft_process_config_t {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dirs: Vec<(OsString, String, bool)>,
    inherit_stdio: bool,
    limits: ProcessConfig,
    funcs: Vec<HostFunc>,
}

type HostFuncPointer = unsafe extern "C" fn(
    *mut std::ffi::c_void,
    u32,
    *const wasm_val_vec_t,
    *mut wasm_val_vec_t,
) -> bool;

#[derive(Clone)]
struct HostFunc {
    module: String,
    name: String,
    ty: FuncType,
    func: HostFuncPointer,
    env: Arc<Env>,
}

#[repr(C)]
pub struct updraft_result_t {
    ending: u8,
    exit_code: i32,
    message: wasm_byte_vec_t,
}

/// A string of C's; null is empty.
unsafe fn text(string: *const c_char) -> OsString {
    if string.is_null() {
        return OsString::new();
    }
    // SAFETY: C's promise: it ends with a NUL.
    OsString::from_vec(unsafe { CStr::from_ptr(string) }.to_bytes().to_vec())
}

/// Changes a configuration.
unsafe fn configure(
    config: *mut updraft_process_config_t,
    change: impl FnOnce(&mut updraft_process_config_t),
) {
    // SAFETY: C's promise.
    if let Some(config) = unsafe { config.as_mut() } {
        guard((), || change(config));
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn updraft_process_config_new() -> *mut updraft_process_config_t {
    guard(ptr::null_mut(), || give(updraft_process_config_t::default()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_delete(own: *mut updraft_process_config_t) {
    // SAFETY: C's promise.
    unsafe { delete(own) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_arg(
    config: *mut updraft_process_config_t,
    arg: *const c_char,
) {
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.args.push(text(arg))) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_env(
    config: *mut updraft_process_config_t,
    name: *const c_char,
    value: *const c_char,
) {
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.env.push((text(name), text(value)))) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_inherit_stdio(
    config: *mut updraft_process_config_t,
) {
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.inherit_stdio = true) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_dir(
    config: *mut updraft_process_config_t,
    host: *const c_char,
    guest: *const c_char,
    read_only: bool,
) {
    // SAFETY: C's promise.
    unsafe {
        configure(config, |config| {
            let guest = text(guest).to_string_lossy().into_owned();
            config.dirs.push((text(host), guest, read_only));
        });
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_max_threads(
    config: *mut updraft_process_config_t,
    threads: u32,
) {
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.limits.max_threads = threads) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_timeout(
    config: *mut updraft_process_config_t,
    milliseconds: u64,
) {
    let timeout = (milliseconds != 0).then_some(Duration::from_millis(milliseconds));
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.limits.timeout = timeout) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_max_cpu(
    config: *mut updraft_process_config_t,
    milliseconds: u64,
) {
    let most = (milliseconds != 0).then_some(Duration::from_millis(milliseconds));
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.limits.max_cpu = most) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_max_memory(
    config: *mut updraft_process_config_t,
    bytes: u64,
) {
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.limits.max_memory = (bytes != 0).then_some(bytes)) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_max_table_elements(
    config: *mut updraft_process_config_t,
    elements: u64,
) {
    let most = (elements != 0).then_some(elements);
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.limits.max_table_elements = most) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_max_instances(
    config: *mut updraft_process_config_t,
    instances: u64,
) {
    let most = (instances != 0).then_some(instances);
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.limits.max_instances = most) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_max_stack(
    config: *mut updraft_process_config_t,
    bytes: u64,
) {
    let most = (bytes != 0).then(|| usize::try_from(bytes).unwrap_or(usize::MAX));
    // SAFETY: C's promise.
    unsafe {
        configure(config, |config| {
            (config.limits.value_stack, config.limits.native_stack) = (most, most);
        });
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_wamr_pthreads(
    config: *mut updraft_process_config_t,
    wamr: bool,
) {
    let pthreads = if wamr { Pthreads::Wamr } else { Pthreads::Off };
    // SAFETY: C's promise.
    unsafe { configure(config, |config| config.limits.pthreads = pthreads) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_config_func(
    config: *mut updraft_process_config_t,
    module: *const c_char,
    name: *const c_char,
    ty: *const ExternType,
    func: HostFuncPointer,
    env: *mut std::ffi::c_void,
    finalizer: Option<unsafe extern "C" fn(*mut std::ffi::c_void)>,
) -> bool {
    guard(false, || {
        let env = Arc::new(Env { data: env, finalizer });
        // SAFETY: C's promise.
        let (config, ty, module, name) = unsafe {
            let ty = ty.as_ref().and_then(ExternType::to_func);
            (config.as_mut(), ty, text(module), text(name))
        };
        let numbers = |ty: &FuncType| {
            ty.params().iter().chain(ty.results()).all(|ty| kind_of(*ty) < crate::types::V128)
        };
        let (Some(config), Some(ty)) = (config, ty.filter(numbers)) else {
            note("a host function of a process takes and returns numbers only");
            return false;
        };
        let (Ok(module), Ok(name)) = (module.into_string(), name.into_string()) else {
            note("names of imports are UTF-8");
            return false;
        };
        config.funcs.push(HostFunc { module, name, ty, func, env });
        true
    })
}

impl HostFunc {
    fn call(&self, thread: u32, args: &[Val]) -> Result<Vec<Val>, Error> {
        let args: Option<Vec<wasm_val_t>> = args.iter().map(wasm_val_t::from_number).collect();
        let mut args: wasm_val_vec_t = args.unwrap_or_default().into();
        let types = self.ty.results();
        let unset = types.iter().map(|_| wasm_val_t::UNSET);
        let mut results: wasm_val_vec_t = unset.collect::<Vec<_>>().into();
        // SAFETY: C's promise: the function is what its type says, and leaves the vectors where they are.
        let succeeded = unsafe { (self.func)(self.env.data, thread, &args, &mut results) };
        // SAFETY: both are this function's own; numbers own nothing.
        let (_, results) = unsafe { (args.take(), results.take()) };
        let name = format!("{:?} {:?}", self.module, self.name);
        if !succeeded {
            return Err(Error::host(format!("the host function {name} failed")));
        }
        let values: Result<Vec<Val>, String> =
            results.iter().zip(types).map(|(value, ty)| value.to_engine(*ty)).collect();
        values.map_err(|error| Error::host(format!("{name}: {error}")))
    }
}

impl updraft_process_config_t {
    fn process(&self, module: &engine::Module, engine: &engine::Engine) -> Result<Process, String> {
        let mut wasi = WasiCtxBuilder::new().args(&self.args);
        if self.inherit_stdio {
            wasi = wasi.inherit_stdio();
        }
        for (name, value) in &self.env {
            wasi = wasi.env(name, value);
        }
        for (host, guest, read_only) in &self.dirs {
            wasi = wasi.preopened_dir(host, guest.as_str(), *read_only);
        }
        let mut linker = Linker::new(engine);
        engine::add_wasi(&mut linker, wasi.build().map_err(|error| error.to_string())?);
        for host in &self.funcs {
            let call = host.clone();
            linker.func_values(&host.module, &host.name, host.ty.clone(), move |caller, args| {
                call.call(caller.thread_id(), args)
            });
        }
        Process::new(&linker, module, &self.limits).map_err(|error| error.to_string())
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_new(
    module: *const Object,
    config: *const updraft_process_config_t,
) -> *mut updraft_process_t {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        let (Some(object), Some(loaded)) = (unsafe { (module.as_ref(), module_of(module)) }) else {
            return ptr::null_mut();
        };
        // SAFETY: C's promise.
        let config = unsafe { config.as_ref() };
        let default = updraft_process_config_t::default();
        match config.unwrap_or(&default).process(loaded, &object.store.engine) {
            Ok(process) => {
                let terminator = process.terminator();
                give(updraft_process_t { process: Mutex::new(Some(process)), terminator })
            }
            Err(error) => {
                note(error);
                ptr::null_mut()
            }
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_delete(own: *mut updraft_process_t) {
    // SAFETY: C's promise.
    unsafe { delete(own) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_terminator(
    process: *const updraft_process_t,
) -> *mut updraft_terminator_t {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        give(updraft_terminator_t(unsafe { (*process).terminator.clone() }))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_store_terminator(
    store: *const wasm_store_t,
) -> *mut updraft_terminator_t {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        give(updraft_terminator_t(unsafe { (*store).0.get().terminator() }))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_terminator_terminate(
    terminator: *const updraft_terminator_t,
) -> bool {
    // SAFETY: C's promise.
    guard(false, || unsafe { (*terminator).0.terminate() })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_terminator_delete(own: *mut updraft_terminator_t) {
    // SAFETY: C's promise.
    unsafe { delete(own) };
}

/// Runs a process; how it ended, its exit code, and a message.
fn run(process: &updraft_process_t) -> (u8, i32, Option<String>) {
    let process = process.process.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(process) = process else {
        return (FAILED, 0, Some("a process runs once".into()));
    };
    match process.run() {
        Ok(code) => (EXITED, code, None),
        Err(mut error) => {
            match &mut error {
                Error::Trap(trap) => trap.locate(),
                Error::Exception(exception) => exception.locate(),
                _ => {}
            }
            let (ending, code) = ending_of(&error);
            (ending, code, (ending != EXITED).then(|| error.to_string()))
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn updraft_process_run(
    process: *mut updraft_process_t,
    out: *mut updraft_result_t,
) {
    let panicked = (FAILED, 0, Some("a defect of Updraft: panic".to_owned()));
    // SAFETY: C's promise.
    let (ending, exit_code, message) = guard(panicked, || run(unsafe { &*process }));
    let message = message.map_or(Vector::EMPTY, |message| wasm_byte_vec_t::message(&message));
    // SAFETY: C's promise.
    unsafe { out.write(updraft_result_t { ending, exit_code, message }) };
}
