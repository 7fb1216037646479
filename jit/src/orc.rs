//! A small safe wrapper over ORC, LLVM's linker for code in memory. inkwell has none.
//!
//! Only objects are handed to it: they are linked at once, on the thread that asks, and in parallel. (Modules that ORC
//! compiles on lookup share a target machine, and corrupt memory with two threads.)

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::Arc;

use inkwell::llvm_sys::core::LLVMCreateMemoryBufferWithMemoryRangeCopy;
use inkwell::llvm_sys::error::{LLVMDisposeErrorMessage, LLVMErrorRef, LLVMGetErrorMessage};
use inkwell::llvm_sys::orc2::lljit::{
    LLVMOrcCreateLLJIT, LLVMOrcDisposeLLJIT, LLVMOrcLLJITAddObjectFileWithRT,
    LLVMOrcLLJITGetExecutionSession, LLVMOrcLLJITGetMainJITDylib, LLVMOrcLLJITLookup,
    LLVMOrcLLJITMangleAndIntern, LLVMOrcLLJITRef,
};
use inkwell::llvm_sys::orc2::{
    LLVMJITEvaluatedSymbol, LLVMJITSymbolFlags, LLVMJITSymbolGenericFlags, LLVMOrcAbsoluteSymbols,
    LLVMOrcCSymbolMapPair, LLVMOrcDisposeMaterializationUnit,
    LLVMOrcExecutionSessionSetErrorReporter, LLVMOrcJITDylibCreateResourceTracker,
    LLVMOrcJITDylibDefine, LLVMOrcReleaseResourceTracker, LLVMOrcResourceTrackerRef,
    LLVMOrcResourceTrackerRemove,
};

use crate::abi::Builtin;
use crate::compile::{Object, Symbol};
use crate::lines::Recipe;
use crate::llvm_load;
use crate::presence::Presence;

/// Why code could not be put to its place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// LLVM could not be loaded.
    #[error(transparent)]
    Load(#[from] crate::LoadError),
    /// The process is ending, and LLVM with it.
    #[error("the process is ending")]
    Ending,
    /// ORC refused.
    #[error("linking: {0}")]
    Orc(String),
}

/// Where the machine code of one wasm module lives. It is freed when the code space and all [`Linked`] of it are gone.
pub struct CodeSpace {
    jit: Arc<Jit>,
}

struct Jit(LLVMOrcLLJITRef);

// SAFETY: ORC's sessions, and LLJIT on top of them, are made for use by many threads.
unsafe impl Send for Jit {}
// SAFETY: as above.
unsafe impl Sync for Jit {}

impl CodeSpace {
    /// An empty code space, whose code finds the runtime's functions at these addresses. Takes about 0.4 ms.
    ///
    /// # Errors
    /// If LLVM cannot be loaded, or refuses.
    pub fn new(builtins: &[(Builtin, usize)]) -> Result<CodeSpace, LinkError> {
        llvm_load::load()?;
        let _presence = Presence::enter().ok_or(LinkError::Ending)?;
        let mut jit = std::ptr::null_mut();
        // SAFETY: without a builder, LLJIT takes its defaults for this machine: JITLink on x86-64 Linux.
        check(unsafe { LLVMOrcCreateLLJIT(&raw mut jit, std::ptr::null_mut()) })?;
        let jit = Jit(jit);
        // SAFETY: the session lives as long as the LLJIT.
        unsafe {
            let session = LLVMOrcLLJITGetExecutionSession(jit.0);
            LLVMOrcExecutionSessionSetErrorReporter(session, report, std::ptr::null_mut());
        }
        let runtime = builtins.iter().map(|(builtin, address)| (builtin.symbol(), *address));
        jit.define(runtime.chain(library()))?;
        Ok(CodeSpace { jit: Arc::new(jit) })
    }

    /// Gives code its place. It can be run as soon as this returns.
    ///
    /// # Errors
    /// If there is no memory, or the code refers to a runtime function that [`CodeSpace::new`] was not told of.
    pub fn link(&self, object: &Object) -> Result<Linked, LinkError> {
        let _presence = Presence::enter().ok_or(LinkError::Ending)?;
        let jit = &self.jit;
        let Some(first) = object.symbols.first() else {
            return Ok(Linked { symbols: Vec::new(), recipe: None, tracker: None });
        };
        let name = CString::new(first.name.as_str()).expect("names hold no zero byte");
        // SAFETY: ORC takes the buffer, whatever the result is.
        let tracker = unsafe {
            let buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(
                object.bytes.as_ptr().cast::<c_char>(),
                object.bytes.len(),
                name.as_ptr(),
            );
            let dylib = LLVMOrcLLJITGetMainJITDylib(jit.0);
            let tracker = LLVMOrcJITDylibCreateResourceTracker(dylib);
            let tracker = Tracker { jit: Arc::clone(jit), tracker };
            check(LLVMOrcLLJITAddObjectFileWithRT(jit.0, tracker.tracker, buffer))?;
            tracker
        };
        let base = jit.lookup(&name)? - first.offset as usize;
        // All code of an object is in one section, which stays in one piece.
        let symbols = object
            .symbols
            .iter()
            .map(|emitted| LinkedSymbol {
                symbol: emitted.symbol,
                address: base + emitted.offset as usize,
                size: emitted.size as usize,
            })
            .collect();
        Ok(Linked { symbols, recipe: object.recipe.clone(), tracker: Some(tracker) })
    }
}

/// Code at its place.
pub struct Linked {
    /// What is where, in order of address.
    pub symbols: Vec<LinkedSymbol>,
    /// What to ask [`crate::Compiler::lines`] with.
    pub recipe: Option<Recipe>,
    tracker: Option<Tracker>,
}

/// A piece of code in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkedSymbol {
    /// What it is for.
    pub symbol: Symbol,
    /// Where it begins.
    pub address: usize,
    /// Bytes of code.
    pub size: usize,
}

impl Linked {
    /// Frees this code; its addresses mean nothing from then on, so no thread may be in it or get there. Without a call
    /// of this, the code stays as long as its code space.
    ///
    /// # Errors
    /// If ORC refuses.
    pub fn remove(self) -> Result<(), LinkError> {
        let _presence = Presence::enter().ok_or(LinkError::Ending)?;
        match self.tracker {
            // SAFETY: the tracker is valid, and so is its session.
            Some(tracker) => check(unsafe { LLVMOrcResourceTrackerRemove(tracker.tracker) }),
            None => Ok(()),
        }
    }
}

/// A handle of the memory of one object.
struct Tracker {
    jit: Arc<Jit>,
    tracker: LLVMOrcResourceTrackerRef,
}

// SAFETY: as for `Jit`; the handle itself is a counted reference.
unsafe impl Send for Tracker {}
// SAFETY: as above; a shared reference to it permits nothing.
unsafe impl Sync for Tracker {}

impl Drop for Tracker {
    fn drop(&mut self) {
        let Some(_presence) = Presence::enter() else { return };
        // SAFETY: we hold one reference, and `jit` keeps the session alive until after this.
        unsafe { LLVMOrcReleaseResourceTracker(self.tracker) };
        debug_assert!(!self.jit.0.is_null());
    }
}

impl Jit {
    fn define(
        &self,
        symbols: impl Iterator<Item = (&'static str, usize)>,
    ) -> Result<(), LinkError> {
        let flags = || LLVMJITSymbolFlags {
            GenericFlags: LLVMJITSymbolGenericFlags::LLVMJITSymbolGenericFlagsExported as u8
                | LLVMJITSymbolGenericFlags::LLVMJITSymbolGenericFlagsCallable as u8,
            TargetFlags: 0,
        };
        let mut pairs: Vec<_> = symbols
            .map(|(name, address)| {
                let name = CString::new(name).expect("names hold no zero byte");
                LLVMOrcCSymbolMapPair {
                    // SAFETY: the name is a string; the reference is given to the unit below.
                    Name: unsafe { LLVMOrcLLJITMangleAndIntern(self.0, name.as_ptr()) },
                    Sym: LLVMJITEvaluatedSymbol { Address: address as u64, Flags: flags() },
                }
            })
            .collect();
        // SAFETY: the unit takes the names; it is ours again if it cannot be defined.
        unsafe {
            let unit = LLVMOrcAbsoluteSymbols(pairs.as_mut_ptr(), pairs.len());
            let result = check(LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(self.0), unit));
            if result.is_err() {
                LLVMOrcDisposeMaterializationUnit(unit);
            }
            result
        }
    }

    fn lookup(&self, name: &CStr) -> Result<usize, LinkError> {
        let mut address = 0;
        REPORTED.take();
        // SAFETY: the name is a string. Linking happens on this thread, before the call returns.
        match check(unsafe { LLVMOrcLLJITLookup(self.0, &raw mut address, name.as_ptr()) }) {
            Err(LinkError::Orc(failure)) => {
                let causes = REPORTED.take();
                Err(LinkError::Orc(if causes.is_empty() { failure } else { causes.join("; ") }))
            }
            other => other.map(|()| address as usize),
        }
    }
}

impl Drop for Jit {
    fn drop(&mut self) {
        let Some(_presence) = Presence::enter() else { return };
        // SAFETY: nobody else has it any more.
        if let Err(error) = check(unsafe { LLVMOrcDisposeLLJIT(self.0) }) {
            tracing::warn!(%error, "a code space could not be freed");
        }
    }
}

thread_local! {
    /// Causes that ORC has reported on this thread. The result of a lookup only says that it failed.
    static REPORTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

extern "C" fn report(_: *mut c_void, error: LLVMErrorRef) {
    if let Err(LinkError::Orc(cause)) = check(error) {
        REPORTED.with_borrow_mut(|reported| reported.push(cause));
    }
}

fn check(error: LLVMErrorRef) -> Result<(), LinkError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: asking for the message consumes the error; the message is ours to dispose of.
    unsafe {
        let message = LLVMGetErrorMessage(error);
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        LLVMDisposeErrorMessage(message);
        Err(LinkError::Orc(text))
    }
}

/// Functions that LLVM calls on its own: those that round, only where the machine has no SSE 4.1, and the fused ones where
/// it has no FMA.
fn library() -> impl Iterator<Item = (&'static str, usize)> {
    macro_rules! rounding {
        ($($name:ident $method:ident $ty:ty;)*) => {{
            $(extern "C" fn $name(x: $ty) -> $ty {
                // The library's function need not make a signalling NaN quiet.
                if x.is_nan() { x + x } else { x.$method() }
            })*
            [$((stringify!($name), $name as *const () as usize),)*]
        }};
    }
    let rounding = rounding! {
        ceil ceil f64; ceilf ceil f32;
        floor floor f64; floorf floor f32;
        trunc trunc f64; truncf trunc f32;
        roundeven round_ties_even f64; roundevenf round_ties_even f32;
    };
    extern "C" fn fma(x: f64, y: f64, z: f64) -> f64 {
        x.mul_add(y, z)
    }
    extern "C" fn fmaf(x: f32, y: f32, z: f32) -> f32 {
        x.mul_add(y, z)
    }
    let fused = [("fma", fma as *const () as usize), ("fmaf", fmaf as *const () as usize)];
    let memory = [
        ("memcpy", libc::memcpy as *const () as usize),
        ("memmove", libc::memmove as *const () as usize),
        ("memset", libc::memset as *const () as usize),
        ("memcmp", libc::memcmp as *const () as usize),
    ];
    memory.into_iter().chain(rounding).chain(fused)
}
