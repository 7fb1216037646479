//! Tags and exceptions of a store.
//!
//! An exception is a tag with values. It is *in flight* from `throw` until a handler catches it: the thread holds it then, in
//! the place of the cause of a failure, and it leaves frames and segments in the same way. A reference to it (`exnref`) is
//! its address, which all instances of the store understand; the values' own references are absolute.
//!
//! # How long an exception lives
//!
//! One that is caught without its reference, and whose reference nobody ever had, goes at once. The others are collected now and
//! then, when their number has doubled: what might be a reference, in any word of the thread's value stack, of its native
//! stack and saved registers, of the store's globals and tables of exceptions, keeps its exception, and those that an
//! exception's values refer to. Machine code holds references as whole words, in registers or on the stack, so none is
//! missed. The host's handles are counted.

use super::hooks::make_absolute;
use super::{InstanceData, VmThread, sys};
use crate::store::StoreInner;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use updraft_jit::abi::{ExceptionDesc, VmContext};
use updraft_jit::env::slots;
use wasmparser::{FuncType, RefType};

/// A tag; its address is its identity.
pub(crate) struct TagBox {
    pub ty: FuncType,
    /// What the type has besides: see [`ModuleEnv::identities`](updraft_jit::env::ModuleEnv::identities).
    pub identity: u32,
    /// What to call it.
    pub name: String,
}

/// An exception. Code sees its first part.
#[repr(C, align(8))]
pub(crate) struct ExceptionBox {
    desc: ExceptionDesc,
    tag: Arc<TagBox>,
    values: Box<[u64]>,
    /// The store that it belongs to.
    pub store: u64,
    /// Where the arena has it.
    index: Cell<usize>,
    /// Whether wasm has ever had a reference.
    referenced: Cell<bool>,
}

// SAFETY: the pointers are followed, and the cells touched, only by the thread that holds the exception's store; handles of
// the host elsewhere do no more than exist.
unsafe impl Send for ExceptionBox {}
// SAFETY: as above.
unsafe impl Sync for ExceptionBox {}

impl std::fmt::Debug for ExceptionBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exception").field("tag", &self.tag.name).finish_non_exhaustive()
    }
}

impl ExceptionBox {
    pub fn tag(&self) -> *const TagBox {
        Arc::as_ptr(&self.tag)
    }

    /// What to call its tag.
    pub fn name(&self) -> &str {
        &self.tag.name
    }

    /// The values, in slots, with absolute references.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// Notes that wasm has a reference from now on.
    pub fn set_referenced(&self) {
        self.referenced.set(true);
    }
}

/// Exceptions that are fewer than this are never collected.
const FEW: usize = 1024;

/// The exceptions of one store.
pub(crate) struct Exceptions {
    live: Vec<Arc<ExceptionBox>>,
    /// How many there may be before they are collected.
    limit: usize,
}

impl Default for Exceptions {
    fn default() -> Exceptions {
        Exceptions { live: Vec::new(), limit: FEW }
    }
}

impl Exceptions {
    /// A new exception.
    pub fn add(&mut self, store: u64, tag: Arc<TagBox>, values: &[u64]) -> Arc<ExceptionBox> {
        let values: Box<[u64]> = values.into();
        let exception = Arc::new(ExceptionBox {
            desc: ExceptionDesc { tag: Arc::as_ptr(&tag).cast(), values: values.as_ptr() },
            tag,
            values,
            store,
            index: Cell::new(self.live.len()),
            referenced: Cell::new(false),
        });
        self.live.push(exception.clone());
        exception
    }

    /// The exception of a reference that is not null.
    pub fn get(&self, reference: u64) -> Arc<ExceptionBox> {
        // SAFETY: references point to exceptions that are alive, and code makes no others.
        let index = unsafe { (*(reference as *const ExceptionBox)).index.get() };
        self.live[index].clone()
    }

    /// Drops an exception that was caught, if nobody can have it.
    fn caught(&mut self, exception: Arc<ExceptionBox>) {
        let index = exception.index.get();
        if exception.referenced.get() || Arc::strong_count(&exception) > 2 {
            return;
        }
        self.live.swap_remove(index);
        if let Some(moved) = self.live.get(index) {
            moved.index.set(index);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.live.len()
    }
}

/// Registers that a function keeps for its caller.
fn saved_registers() -> [u64; 6] {
    let mut registers = [0; 6];
    // SAFETY: writes to the array alone.
    unsafe {
        std::arch::asm!(
            "mov [{to}], rbx",
            "mov [{to} + 8], rbp",
            "mov [{to} + 16], r12",
            "mov [{to} + 24], r13",
            "mov [{to} + 32], r14",
            "mov [{to} + 40], r15",
            to = in(reg) registers.as_mut_ptr(),
            options(nostack, preserves_flags),
        );
    }
    registers
}

impl StoreInner {
    /// Collects exceptions if there are many new ones. The thread's value stack is in use up to its published pointer.
    #[inline(never)]
    fn collect_exceptions(&mut self) {
        if self.exceptions.live.len() < self.exceptions.limit {
            return;
        }
        let registers = saved_registers();
        let here = registers.as_ptr();
        let (_, top) = sys::native_stack_bounds();
        if top <= here as usize {
            // Where the stack ends is not known, so nothing is.
            self.exceptions.limit = usize::MAX;
            return;
        }
        let known: HashMap<u64, usize> =
            self.exceptions.live.iter().map(|e| Arc::as_ptr(e) as u64).zip(0..).collect();
        let mut marked = vec![false; self.exceptions.live.len()];
        let mut fresh: Vec<usize> = Vec::new();
        let mut look = |word: u64, fresh: &mut Vec<usize>| {
            if let Some(index) = known.get(&word)
                && !std::mem::replace(&mut marked[*index], true)
            {
                fresh.push(*index);
            }
        };
        for exception in &self.exceptions.live {
            if Arc::strong_count(exception) > 1 {
                look(Arc::as_ptr(exception) as u64, &mut fresh);
            }
        }
        for word in (here as usize..top).step_by(size_of::<u64>()) {
            // SAFETY: the stack of this thread, from this frame (which holds the registers) on. Its words may change under
            // way, but not those of the frames that wait for this call.
            look(unsafe { (word as *const u64).read_volatile() }, &mut fresh);
        }
        let stack = self.thread.value_stack();
        let used = (self.thread.abi.value_sp as usize).saturating_sub(stack as usize);
        for slot in 0..used / size_of::<u64>() {
            // SAFETY: the value stack is mapped from its base to its pointer.
            look(unsafe { *stack.add(slot) }, &mut fresh);
        }
        for word in self.thread.tail_arguments() {
            look(*word, &mut fresh);
        }
        for global in self.globals() {
            look(global.get()[0], &mut fresh);
        }
        for table in self.tables() {
            if table.element_type().heap_type() == RefType::EXN.heap_type() {
                (0..table.len()).filter_map(|i| table.get(i)).for_each(|r| look(r.0, &mut fresh));
            }
        }
        while let Some(index) = fresh.pop() {
            let exception = self.exceptions.live[index].clone();
            exception.values.iter().for_each(|word| look(*word, &mut fresh));
        }
        let mut keep = marked.into_iter();
        self.exceptions.live.retain(|_| keep.next().unwrap_or(true));
        for (index, exception) in self.exceptions.live.iter().enumerate() {
            exception.index.set(index);
        }
        self.exceptions.limit = FEW.max(2 * self.exceptions.live.len());
        tracing::debug!(kept = self.exceptions.live.len(), "collected exceptions");
    }

    /// A new exception with these values, whose references are absolute.
    pub(crate) fn new_exception(
        &mut self,
        tag: *const TagBox,
        values: &[u64],
    ) -> Arc<ExceptionBox> {
        self.collect_exceptions();
        // SAFETY: the store's tags are in `Arc`s, which it keeps.
        let tag = unsafe {
            Arc::increment_strong_count(tag);
            Arc::from_raw(tag)
        };
        self.exceptions.add(self.id, tag, values)
    }
}

/// `throw`: puts an exception into flight.
///
/// # Safety
/// See [`hooks`](super::hooks); the slots hold the tag's values, and the value stack's pointer is above all that is in use.
#[inline(never)]
pub(crate) unsafe fn throw(ctx: *mut VmContext, tag: u32, values: *mut u64) {
    // SAFETY: by contract; the store is held by this thread, and no other reference into it is alive.
    unsafe {
        let instance = InstanceData::of(ctx);
        let tag = instance.tags[tag as usize];
        let ty = &(*tag).ty;
        make_absolute(instance, ty.params(), values);
        let values = std::slice::from_raw_parts(values, slots(ty.params()) as usize);
        let exception = (*instance.store).new_exception(tag, values);
        thread(ctx).throw(exception);
    }
}

/// `throw_ref` of a reference that is not null.
///
/// # Safety
/// See [`hooks`](super::hooks).
#[inline(never)]
pub(crate) unsafe fn throw_ref(ctx: *mut VmContext, reference: u64) {
    // SAFETY: as in `throw`.
    unsafe {
        let exception = (*InstanceData::of(ctx).store).exceptions.get(reference);
        thread(ctx).throw(exception);
    }
}

/// The exception in flight, or null.
///
/// # Safety
/// See [`hooks`](super::hooks).
pub(crate) unsafe fn in_flight(ctx: *mut VmContext) -> *const ExceptionBox {
    // SAFETY: by contract.
    unsafe { thread(ctx) }.exception().map_or(std::ptr::null(), Arc::as_ptr)
}

/// Ends the flight of an exception. With `keep`, the handler has a reference to it.
///
/// # Safety
/// See [`hooks`](super::hooks).
#[inline(never)]
pub(crate) unsafe fn catch(ctx: *mut VmContext, keep: bool) {
    // SAFETY: as in `throw`.
    unsafe {
        let Some(exception) = thread(ctx).catch() else { return };
        if keep {
            exception.set_referenced();
        } else {
            (*InstanceData::of(ctx).store).exceptions.caught(exception);
        }
    }
}

unsafe fn thread<'a>(ctx: *mut VmContext) -> &'a mut VmThread {
    // SAFETY: by the callers' contracts.
    unsafe { super::hooks::thread(ctx) }
}

#[cfg(test)]
mod tests {
    use crate::store::AsStore;
    use crate::{Config, Engine, ExnRef, Linker, Module, Store, Strategy, Tag, Val};

    /// A program that throws for ever holds no more exceptions than it can name.
    #[test]
    fn exceptions_are_collected() {
        let text = r#"(module
          (tag $e (param i32))
          (table $t 100 exnref)
          (func $make (param i32) (result exnref) (local exnref)
            (block $caught (result i32 exnref)
              (try_table (catch_ref $e $caught) (throw $e (local.get 0)))
              unreachable)
            (local.set 1) (drop) (local.get 1))
          (func (export "plain") (param i32)
            (loop $l
              (block $caught (result i32)
                (try_table (catch $e $caught) (throw $e (local.get 0)))
                unreachable)
              (drop)
              (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
          (func (export "kept") (param i32) (local exnref)
            (loop $l
              (local.set 1 (call $make (local.get 0)))
              (table.set $t (i32.rem_u (local.get 0) (i32.const 100)) (local.get 1))
              (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
          (func (export "value") (param i32) (result i32)
            (block $caught (result i32)
              (try_table (catch $e $caught) (throw_ref (table.get $t (local.get 0))))
              unreachable)))"#;
        for strategy in ["interp", "quick", "full", "random:1"] {
            let strategy: Strategy = strategy.parse().unwrap();
            let engine = Engine::new(Config { strategy, ..Config::default() });
            let mut store = Store::new(&engine).unwrap();
            let module = Module::new(&engine, text).unwrap();
            let instance = Linker::new(&engine).instantiate(&mut store, &module).unwrap();
            let call = |store: &mut Store, name: &str, value: i32| {
                let func = instance.func(store, name).unwrap();
                func.call(store, &[Val::I32(value)]).unwrap()
            };
            call(&mut store, "plain", 10_000);
            assert_eq!(store.store_inner().exceptions.len(), 0, "{strategy}");
            call(&mut store, "kept", 100_000);
            let len = store.store_inner().exceptions.len();
            assert!((100..=3 * super::FEW).contains(&len), "{len} under {strategy}");
            for index in 0..100 {
                let value = call(&mut store, "value", index);
                let wanted = if index == 0 { 100 } else { index };
                assert!(matches!(value[..], [Val::I32(value)] if value == wanted), "{value:?}");
            }
            // The host's handles count.
            let tag = Tag::new(&mut store, "mine", crate::FuncType::new([crate::ValType::I64], []));
            let tag = tag.unwrap();
            let mine = ExnRef::new(&mut store, tag, &[Val::I64(7)]).unwrap();
            call(&mut store, "kept", 10_000);
            assert!(matches!(mine.values(&mut store)[..], [Val::I64(7)]));
            assert!(mine.tag() == tag);
        }
    }
}
