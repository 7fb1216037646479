//! Loads libLLVM when it is first needed.
//!
//! Linking libLLVM, in either way, costs every start of the program 5 to 16 ms. So nothing links it: the C API's functions
//! are stubs (`llvm_stubs.s`) that jump through slots, and [`load`] fills the slots from a library that it opens. Every
//! type of this crate that calls LLVM calls [`load`] in its constructor; before, a stub would jump to address 0.
//!
//! Best is the library that the crate's build script makes, with nothing in it but what is used here. It stands beside the program, or
//! beside the library that this crate is part of.

use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::OnceLock;

use inkwell::llvm_sys::support::LLVMParseCommandLineOptions;
use inkwell::targets::{InitializationConfig, Target};

use crate::destructors;
use crate::presence::{self, Presence};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("the feature `llvm` needs x86-64 Linux; build with --no-default-features");

std::arch::global_asm!(include_str!("llvm_stubs.s"), options(raw));

unsafe extern "C" {
    static updraft_llvm_names: c_char;
    static mut updraft_llvm_slots: *const c_void;
}

/// The major version of LLVM whose C API the crate was written for. The API is not stable between major versions.
pub const LLVM_MAJOR: u32 = 22;

/// The environment variable that names the library to load, instead of the usual places.
pub const LLVM_VARIABLE: &str = "UPDRAFT_LLVM";

/// Made by the build script.
const OWN_LIBRARY: &str = "libupdraft-llvm.so";

const USUAL_PLACES: [&CStr; 4] = [
    c"libLLVM.so.22.1",
    c"libLLVM-22.so",
    c"/usr/lib/llvm-22/lib/libLLVM.so.22.1",
    c"/usr/lib/llvm-22/lib/libLLVM-22.so",
];

/// Options that are the same for the whole process, as for LLVM's command line tools.
///
/// Widening of induction variables must be off: with it the vectoriser gives up on loops with 32-bit indices.
/// LLVM swallows options that it does not know; a test shows that this one has its effect.
const OPTIONS: [&CStr; 2] = [c"updraft", c"-indvars-widen-indvars=false"];

/// The library that was loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LlvmInfo {
    /// Major, minor and patch.
    pub version: (u32, u32, u32),
    /// Where it was found.
    pub path: PathBuf,
}

/// Why LLVM cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No library could be opened.
    #[error(
        "no LLVM {LLVM_MAJOR} library found: {reason}; install libllvm{LLVM_MAJOR} or set {LLVM_VARIABLE} to its path"
    )]
    NotFound {
        /// What the dynamic linker said of the last place.
        reason: String,
    },
    /// It is a library, but not the right one.
    #[error("{path} is not LLVM {LLVM_MAJOR}: it is {found}")]
    WrongVersion {
        /// The library.
        path: String,
        /// What it is.
        found: String,
    },
}

/// Loads LLVM, or says again how that went. Thread-safe; takes about 16 ms the first time, and next to nothing after.
///
/// # Errors
/// If there is no usable library. The answer does not change as long as the process lives.
pub fn load() -> Result<&'static LlvmInfo, LoadError> {
    static LOADED: OnceLock<Result<LlvmInfo, LoadError>> = OnceLock::new();
    LOADED.get_or_init(load_once).as_ref().map_err(Clone::clone)
}

fn load_once() -> Result<LlvmInfo, LoadError> {
    let Some(_presence) = Presence::enter() else {
        return Err(LoadError::NotFound { reason: "the process is ending".to_owned() });
    };
    let handle = match std::env::var_os(LLVM_VARIABLE) {
        Some(path) => {
            open(&CString::new(path.into_vec()).expect("the environment holds no zero bytes"))
        }
        None => match own_library().map(|path| open(&path)) {
            Some(Ok(handle)) => Ok(handle),
            own => {
                if let Some(Err(reason)) = own {
                    tracing::debug!(reason, "the library beside the program cannot be used");
                }
                open_first(&USUAL_PLACES)
            }
        },
    }
    .map_err(|reason| LoadError::NotFound { reason })?;
    let info = identify(handle)?;
    // SAFETY: `load_once` runs once, and nothing calls LLVM before it is done.
    unsafe { fill_slots(handle) };
    set_up();
    // SAFETY: the library is never closed, and no other thread is in it before this returns.
    let replaced = unsafe {
        let inside = libc::dlsym(handle, c"LLVMGetVersion".as_ptr());
        destructors::keep_statics(inside as usize)
    };
    if replaced == 0 {
        tracing::debug!("the loaded LLVM registers destructors while it works");
    }
    presence::guard_exit();
    Ok(info)
}

/// The library that was made for this crate, if it is there: in the folder of the program or library whose part this code is, or, for
/// cargo's tests, benches and examples, in the one above.
fn own_library() -> Option<CString> {
    let folder = own_file()?;
    let found = folder.ancestors().skip(1).take(2).map(|folder| folder.join(OWN_LIBRARY));
    let path = found.into_iter().find(|path| path.exists())?;
    CString::new(path.into_os_string().into_vec()).ok()
}

/// The file that this code was loaded from.
fn own_file() -> Option<PathBuf> {
    // SAFETY: `dladdr` fills in what it finds, and the name lives as long as this code; `getauxval` only reads a number.
    unsafe {
        let mut place: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(own_file as *const c_void, &raw mut place) == 0 {
            return None;
        }
        // The program's headers follow on the header of its file. Its name is only what it was called by.
        let headers = libc::getauxval(libc::AT_PHDR) as usize;
        let is_program = headers.checked_sub(place.dli_fbase as usize).is_some_and(|by| by < 4096);
        if is_program || place.dli_fname.is_null() {
            return std::env::current_exe().ok();
        }
        Some(PathBuf::from(OsStr::from_bytes(CStr::from_ptr(place.dli_fname).to_bytes())))
    }
}

fn open_first(places: &[&CStr]) -> Result<*mut c_void, String> {
    let mut reason = String::new();
    for place in places {
        match open(place) {
            Ok(handle) => return Ok(handle),
            Err(message) => reason = message,
        }
    }
    Err(reason)
}

fn open(path: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: opening a library runs its constructors, which is what we want of it.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
    if !handle.is_null() {
        return Ok(handle);
    }
    // SAFETY: dlerror returns null or a string that lives until the next call on this thread.
    let message = unsafe {
        let message = libc::dlerror();
        if message.is_null() { c"unknown error" } else { CStr::from_ptr(message) }
    };
    Err(message.to_string_lossy().into_owned())
}

fn identify(handle: *mut c_void) -> Result<LlvmInfo, LoadError> {
    // SAFETY: the handle is open, and the symbol has this type in all versions of LLVM that have it.
    unsafe {
        let get_version = libc::dlsym(handle, c"LLVMGetVersion".as_ptr());
        let mut place: libc::Dl_info = std::mem::zeroed();
        let mut path = PathBuf::from("the library");
        if !get_version.is_null() && libc::dladdr(get_version, &raw mut place) != 0 {
            path = PathBuf::from(CStr::from_ptr(place.dli_fname).to_string_lossy().into_owned());
        }
        let wrong =
            |found: String| LoadError::WrongVersion { path: path.display().to_string(), found };
        if get_version.is_null() {
            return Err(wrong("no LLVM, or older than 16".to_owned()));
        }
        let get_version: extern "C" fn(*mut u32, *mut u32, *mut u32) =
            std::mem::transmute(get_version);
        let mut version = (0, 0, 0);
        get_version(&raw mut version.0, &raw mut version.1, &raw mut version.2);
        if version.0 != LLVM_MAJOR {
            return Err(wrong(format!("LLVM {}.{}.{}", version.0, version.1, version.2)));
        }
        Ok(LlvmInfo { version, path })
    }
}

/// # Safety
/// Nobody may use the slots at the same time.
unsafe fn fill_slots(handle: *mut c_void) {
    // SAFETY: the assembly lays out one slot for each name, in the same order, and an empty name at the end.
    unsafe {
        let mut name: *const c_char = &raw const updraft_llvm_names;
        let mut slot = &raw mut updraft_llvm_slots;
        while *name != 0 {
            let address = libc::dlsym(handle, name);
            *slot = if address.is_null() { missing as *const c_void } else { address };
            name = name.add(CStr::from_ptr(name).count_bytes() + 1);
            slot = slot.add(1);
        }
    }
}

/// What a stub jumps to if the library lacks the function. llvm-sys declares some that no library has.
extern "C" fn missing() -> ! {
    eprintln!("updraft: a function that the loaded LLVM does not have was called");
    std::process::abort()
}

fn set_up() {
    let arguments = OPTIONS.map(CStr::as_ptr);
    // SAFETY: the slots are filled, and no other thread is in LLVM yet.
    unsafe {
        LLVMParseCommandLineOptions(arguments.len() as i32, arguments.as_ptr(), std::ptr::null());
    }
    Target::initialize_x86(&InitializationConfig { disassembler: false, ..Default::default() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_and_answers() {
        let info = load().expect("LLVM");
        assert_eq!(info.version.0, LLVM_MAJOR);
        assert!(info.path.exists(), "{}", info.path.display());
        assert_eq!(load(), Ok(info));
        assert_eq!(inkwell::support::get_llvm_version(), info.version);
        if let (Some(own), None) = (own_library(), std::env::var_os(LLVM_VARIABLE)) {
            assert_eq!(info.path.as_os_str().as_bytes(), own.as_bytes());
        }
    }

    #[test]
    fn a_library_that_is_not_llvm_is_refused() {
        let handle = open(c"libc.so.6").expect("libc");
        let error = identify(handle).expect_err("libc is no LLVM");
        assert!(error.to_string().contains("is not LLVM"), "{error}");
        assert!(open(c"/nowhere/libLLVM.so").expect_err("nothing there").contains("nowhere"));
    }
}
