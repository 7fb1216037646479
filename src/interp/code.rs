//! The bytecode of a module: where each function is entered, and the storage behind it.

use super::dispatch::{Ip, Slot};
use super::encode::Args;
use super::isa::Op;
use super::translate::{TranslateError, Translated, Translator};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex};
use updraft_jit::env::{ModuleEnv, slots};

/// What a back-edge refers to, beside the code of its function.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// The function.
    pub(crate) func: u32,
    /// The loop's number among the `loop` operators of the function.
    pub(crate) ordinal: u32,
    /// Slots of the frame.
    pub(crate) frame: u32,
    /// The frame's link.
    pub(crate) link: Slot,
    /// Fills the record.
    pub(crate) reserved: u16,
}

/// What a `try_table` catches, and where that goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clause {
    /// The tag; none for all.
    pub(crate) tag: Option<u32>,
    /// Whether the handler gets the exception's reference, behind its values.
    pub(crate) keep: bool,
    /// Where it goes on, in bytes from the function's start.
    pub(crate) target: u32,
    /// Where the values go.
    pub(crate) to: Slot,
}

/// The code of a `try_table`'s body, in bytes from the function's start, and its clauses in order.
#[derive(Clone, Debug)]
pub(crate) struct Handlers {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) clauses: Vec<Clause>,
}

/// A function's code in the storage.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// First byte.
    pub(crate) start: *const u8,
    /// Bytes.
    pub(crate) len: usize,
    /// The function.
    pub(crate) func: u32,
    /// The frame's link.
    pub(crate) link: Slot,
    /// Its handlers of exceptions, inner ones before those around them.
    pub(crate) handlers: Arc<[Handlers]>,
}

/// Memory for code: never moved, freed as a whole.
#[derive(Default)]
struct Storage {
    chunks: Vec<Box<[u64]>>,
    /// Words used of the last chunk.
    used: usize,
    /// Bytes of all chunks.
    bytes: usize,
    /// By address.
    functions: BTreeMap<usize, Stored>,
}

impl Storage {
    /// Words of the first chunk; each is twice as large as the one before. Larger functions get one of their own.
    const FIRST_CHUNK: usize = 512;
    /// Words of the largest chunks.
    const CHUNK: usize = 8192;

    fn store(&mut self, code: &[u8]) -> *mut u8 {
        let words = code.len().div_ceil(size_of::<u64>());
        if self.chunks.last().is_none_or(|chunk| chunk.len() - self.used < words) {
            let size = Self::CHUNK.min(Self::FIRST_CHUNK << self.chunks.len().min(8));
            let chunk = vec![0u64; words.max(size)].into_boxed_slice();
            self.bytes += size_of_val(&*chunk);
            self.chunks.push(chunk);
            self.used = 0;
        }
        let chunk = self.chunks.last_mut().expect("one was pushed");
        let start = chunk[self.used..].as_mut_ptr().cast::<u8>();
        self.used += words;
        // SAFETY: the chunk has room for so many words from here on.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), start, code.len()) };
        start
    }

    fn link_at(&self, ip: usize) -> Option<u16> {
        let (start, function) = self.functions.range(..=ip).next_back()?;
        (ip < start + function.len).then_some(function.link.0)
    }
}

/// All bytecode of one module, and the table of where the interpreter enters each function. Shared by all threads.
pub struct InterpCode {
    table: Box<[AtomicPtr<u8>]>,
    /// The first entries of all functions: `EntryFirst` or `EntryImport`.
    entries: Box<[u64]>,
    storage: Mutex<Storage>,
    canonicalize_nan: bool,
    count_calls: bool,
}

// SAFETY: the raw pointers refer to memory that this owns and that does not change once it is published.
unsafe impl Send for InterpCode {}
// SAFETY: as above; the storage is behind a lock, the table atomic.
unsafe impl Sync for InterpCode {}

impl std::fmt::Debug for InterpCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InterpCode")
            .field("functions", &self.table.len())
            .field("bytecode_bytes", &self.bytecode_bytes())
            .finish()
    }
}

/// Words of an entry: handler, function, slots of arguments or results.
const ENTRY_WORDS: usize = 2;

fn entry(op: Op, env: &ModuleEnv, func: u32) -> [u64; ENTRY_WORDS] {
    let count = slots_of_call(env, func);
    [op.handler() as usize as u64, Args::NONE.u32(func).u16(count).words()[0]]
}

/// Slots of a function's arguments or results, whichever are more.
fn slots_of_call(env: &ModuleEnv, func: u32) -> u16 {
    let ty = env.function_type(func);
    slots(ty.params()).max(slots(ty.results())) as u16
}

thread_local! {
    /// A translator and its buffers, kept from function to function.
    static TRANSLATOR: RefCell<Translator> = RefCell::new(Translator::default());
}

impl InterpCode {
    /// The code of a module of which nothing has been translated: every entry asks for that on its first call.
    #[must_use]
    pub fn new(env: &ModuleEnv) -> Self {
        let entries: Box<[u64]> = (0..env.functions.len() as u32)
            .flat_map(|func| {
                let op = if env.is_import(func) { Op::EntryImport } else { Op::EntryFirst };
                entry(op, env, func)
            })
            .collect();
        let table = entries
            .chunks_exact(ENTRY_WORDS)
            .map(|entry| AtomicPtr::new(entry.as_ptr().cast::<u8>().cast_mut()))
            .collect();
        Self {
            table,
            entries,
            storage: Mutex::default(),
            canonicalize_nan: false,
            count_calls: false,
        }
    }

    /// Has arithmetic give no other NaN than the canonical one.
    #[must_use]
    pub fn canonicalizing(mut self, canonicalize_nan: bool) -> Self {
        self.canonicalize_nan = canonicalize_nan;
        self
    }

    /// Has functions count their calls, in [`VmContext::calls`].
    ///
    /// [`VmContext::calls`]: updraft_jit::abi::VmContext::calls
    #[must_use]
    pub fn counting(mut self, count_calls: bool) -> Self {
        self.count_calls = count_calls;
        self
    }

    /// Where the interpreter enters each function, by index; for [`VmContext::interp_table`].
    ///
    /// [`VmContext::interp_table`]: updraft_jit::abi::VmContext::interp_table
    #[must_use]
    pub fn table(&self) -> *const AtomicPtr<u8> {
        self.table.as_ptr()
    }

    /// Translates a defined function, unless that has been done, and returns where it is entered now. Several threads may
    /// do so at once.
    ///
    /// `bytes` are those of the module that `env` describes, and of the module that this was made for.
    ///
    /// # Errors
    /// If the function uses something that the interpreter cannot do.
    pub fn translate(
        &self,
        env: &ModuleEnv,
        bytes: &[u8],
        func: u32,
    ) -> Result<*const u8, TranslateError> {
        let slot = &self.table[func as usize];
        let first = self.first_entry(func);
        let now = slot.load(Ordering::Acquire);
        if now != first {
            return Ok(now);
        }
        TRANSLATOR.with_borrow_mut(|translator| {
            translator.canonicalize_nan = self.canonicalize_nan;
            translator.count_calls = self.count_calls;
            let translated = translator.translate(env, bytes, func, false)?;
            let code = self.store(func, &translated);
            match slot.compare_exchange(first, code, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => Ok(code.cast_const()),
                Err(now) => Ok(now.cast_const()),
            }
        })
    }

    fn first_entry(&self, func: u32) -> *mut u8 {
        self.entries[func as usize * ENTRY_WORDS..].as_ptr().cast::<u8>().cast_mut()
    }

    /// Keeps the code; if another thread was faster, returns its copy.
    fn store(&self, func: u32, translated: &Translated<'_>) -> *mut u8 {
        let mut storage = self.storage.lock().unwrap_or_else(|error| error.into_inner());
        let now = self.table[func as usize].load(Ordering::Acquire);
        if now != self.first_entry(func) {
            return now;
        }
        let code = translated.encoder.code();
        let start = storage.store(code);
        let handlers = translated.handlers.into();
        let stored = Stored { start, len: code.len(), func, link: translated.link, handlers };
        storage.functions.insert(start as usize, stored);
        start
    }

    /// From now on, interpreted callers of the function enter its machine code by this invoker of its type, through the hook
    /// `call_native`.
    pub fn set_native(&self, env: &ModuleEnv, func: u32, invoker: *const u8) {
        let count = slots_of_call(env, func);
        let args = Args::NONE.u32(func).u16(count).u64(invoker as usize as u64).words();
        let handler = Op::EntryNative.handler() as usize as u64;
        let bytes = [handler, args[0], args[1]].map(u64::to_ne_bytes);
        let code = self
            .storage
            .lock()
            .unwrap_or_else(|error| error.into_inner())
            .store(bytes.as_flattened());
        self.table[func as usize].store(code, Ordering::Release);
    }

    /// Bytes of memory that hold bytecode.
    #[must_use]
    pub fn bytecode_bytes(&self) -> usize {
        let storage = self.storage.lock().unwrap_or_else(|error| error.into_inner());
        size_of_val(&*self.entries) + storage.bytes
    }

    /// The functions that have been translated, in the order of their addresses.
    pub(crate) fn functions(&self) -> Vec<Stored> {
        let storage = self.storage.lock().unwrap_or_else(|error| error.into_inner());
        storage.functions.values().cloned().collect()
    }

    /// The function that an instruction belongs to.
    pub(crate) fn function_at(&self, ip: Ip) -> Option<Stored> {
        let storage = self.storage.lock().unwrap_or_else(|error| error.into_inner());
        let (_, function) = storage.functions.range(..=ip.0 as usize).next_back()?;
        ((ip.0 as usize) < function.start as usize + function.len).then(|| function.clone())
    }

    /// The slot of the link in the frame of the function that an instruction belongs to; the lowest bit of `ip` does not count.
    pub(crate) fn link_at(&self, ip: usize) -> Option<u16> {
        let storage = self.storage.lock().unwrap_or_else(|error| error.into_inner());
        storage.link_at(ip & !1)
    }

    /// Translates the function again, and hands the result with all its marks to `look`. Nothing is published.
    pub(crate) fn inspect<T>(
        &self,
        env: &ModuleEnv,
        bytes: &[u8],
        func: u32,
        look: impl FnOnce(&Translated<'_>) -> T,
    ) -> Result<T, TranslateError> {
        let mut translator = Translator::default();
        translator.canonicalize_nan = self.canonicalize_nan;
        translator.count_calls = self.count_calls;
        translator.translate(env, bytes, func, true).map(|translated| look(&translated))
    }

    /// The function's bytecode as text, an instruction a line.
    ///
    /// # Errors
    /// As [`translate`](Self::translate).
    pub fn print(
        &self,
        env: &ModuleEnv,
        bytes: &[u8],
        func: u32,
    ) -> Result<String, TranslateError> {
        self.inspect(env, bytes, func, super::print::print)
    }
}

/// Finds the function that an instruction belongs to, in the list that [`InterpCode::functions`] made.
pub(crate) fn find(functions: &[Stored], ip: Ip) -> Option<Stored> {
    let after = functions.partition_point(|function| function.start <= ip.0);
    let function = functions.get(after.checked_sub(1)?)?;
    ((ip.0 as usize) < function.start as usize + function.len).then(|| function.clone())
}
