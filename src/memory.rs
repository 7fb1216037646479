//! Memories, tables and globals as the host sees them.

use crate::error::Error;
use crate::store::{AsStore, StoreInner};
use crate::val::{MemoryType, Val};
use crate::vm::instance::GlobalBox;
use crate::vm::{LinearMemory, Table as VmTable, sys};
use std::sync::Arc;
use updraft_jit::abi::Ref;

/// A linear memory. Handles are cheap to clone; a shared memory may be used by several stores.
///
/// Wasm threads may write while the host reads: bytes are copied in and out, and are never lent.
#[derive(Clone)]
pub struct Memory {
    pub(crate) inner: Arc<LinearMemory>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("type", &self.ty()).finish()
    }
}

impl Memory {
    pub(crate) fn new(inner: Arc<LinearMemory>) -> Memory {
        Memory { inner }
    }

    /// A memory of this type, within the engine's limit.
    ///
    /// # Errors
    /// If it cannot be reserved.
    pub fn with_type(engine: &crate::Engine, ty: MemoryType) -> Result<Memory, Error> {
        LinearMemory::new(ty, engine.config().max_memory)
            .map(|memory| Memory::new(Arc::new(memory)))
            .map_err(|cause| crate::LinkError::Memory { pages: ty.initial, cause }.into())
    }

    /// Whether two handles name the same memory.
    #[must_use]
    pub fn same(&self, other: &Memory) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Its type; the minimum is the current size.
    #[must_use]
    pub fn ty(&self) -> MemoryType {
        self.inner.current_type()
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inner.len()
    }

    /// Adds pages of 64 KiB; returns the previous number of pages, or `None` if the memory cannot grow so far.
    #[must_use]
    pub fn grow(&self, pages: u64) -> Option<u64> {
        let _inside = sys::Inside::enter();
        self.inner.grow(pages)
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// If the range is not within the memory.
    pub fn read(&self, address: u64, to: &mut [u8]) -> Result<(), Error> {
        let source = self.range(address, to.len())?;
        // SAFETY: the range is accessible, and a memory never shrinks. Wasm threads may write meanwhile; the bytes
        // are whatever mixture was read, as in any racing copy (threads proposal, "Memory model").
        unsafe { std::ptr::copy_nonoverlapping(source, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// If the range is not within the memory.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), Error> {
        let target = self.range(address, from.len())?;
        let _inside = sys::Inside::enter();
        // SAFETY: as in `read`.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), target, from.len()) };
        Ok(())
    }

    /// How many threads wait at an address (`memory.atomic.wait32` and `wait64`) at this moment: for tests, and for whoever looks
    /// for the reason why a program stands still.
    #[must_use]
    pub fn waiting(&self, address: u64) -> usize {
        self.inner.parking().waiting(address)
    }

    /// Address of byte 0, for system calls that fill guest memory. Never make a Rust reference of it.
    #[must_use]
    pub fn base(&self) -> *mut u8 {
        self.inner.base()
    }

    fn range(&self, address: u64, len: usize) -> Result<*mut u8, Error> {
        self.inner.range(address, len as u64).ok_or_else(|| {
            Error::Call(format!(
                "{len} bytes at address {address:#x} are outside of a memory of {:#x} bytes",
                self.size()
            ))
        })
    }
}

/// A table of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    pub(crate) store: u64,
    pub(crate) table: *const VmTable,
}

// SAFETY: as for `Func`.
unsafe impl Send for Table {}
// SAFETY: as for `Func`.
unsafe impl Sync for Table {}

impl Table {
    pub(crate) fn target<'a>(&self, store: &'a StoreInner) -> &'a VmTable {
        store.check(self.store);
        // SAFETY: the store of this id owns the table.
        unsafe { &*self.table }
    }

    /// A table of this type.
    ///
    /// # Errors
    /// If it is too large, or the initial value is of another type.
    pub fn new(
        store: &mut impl AsStore,
        ty: crate::val::TableType,
        init: &Val,
    ) -> Result<Table, Error> {
        let store = store.store_inner();
        if !init.fits(ty.element_type.into(), store) {
            return Err(Error::Call(format!(
                "a table of {} cannot hold {init:?}",
                ty.element_type
            )));
        }
        let init = Ref(init.to_slots(store)[0]);
        let table = VmTable::new(ty, init, store.thread.group.quotas())
            .map_err(|cause| crate::LinkError::Table { elements: ty.initial, cause })?;
        table.set_escapes(|r| r);
        Ok(Table { store: store.id, table: store.own_table(table) })
    }

    /// Its type; the minimum is the current size.
    pub fn ty(&self, store: &mut impl AsStore) -> crate::val::TableType {
        self.target(store.store_inner()).current_type()
    }

    /// Number of elements.
    pub fn size(&self, store: &mut impl AsStore) -> u64 {
        self.target(store.store_inner()).len()
    }

    /// An element, or `None` past the end.
    pub fn get(&self, store: &mut impl AsStore, index: u64) -> Option<Val> {
        let store = store.store_inner();
        let table = self.target(store);
        let value = table.get(index)?;
        // SAFETY: the table escapes, so its elements are absolute references of its type.
        Some(unsafe { Val::from_slots(table.element_type().into(), [value.0, 0], store) })
    }

    /// Adds elements of a value; returns the previous number, or `None` if there cannot be so many, or for a value of another type.
    pub fn grow(&self, store: &mut impl AsStore, delta: u64, value: &Val) -> Option<u64> {
        let store = store.store_inner();
        if !value.fits(self.target(store).element_type().into(), store) {
            return None;
        }
        let value = Ref(value.to_slots(store)[0]);
        self.target(store).grow(delta, value)
    }

    /// Sets an element; `None` past the end, and for a value of another type.
    pub fn set(&self, store: &mut impl AsStore, index: u64, value: &Val) -> Option<()> {
        let store = store.store_inner();
        if !value.fits(self.target(store).element_type().into(), store) {
            return None;
        }
        let value = Ref(value.to_slots(store)[0]);
        self.target(store).set(index, value)
    }
}

/// A global of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Global {
    pub(crate) store: u64,
    pub(crate) global: *const GlobalBox,
}

// SAFETY: as for `Func`.
unsafe impl Send for Global {}
// SAFETY: as for `Func`.
unsafe impl Sync for Global {}

impl Global {
    pub(crate) fn target<'a>(&self, store: &'a StoreInner) -> &'a GlobalBox {
        store.check(self.store);
        // SAFETY: the store of this id owns the global.
        unsafe { &*self.global }
    }

    /// A global of this type.
    ///
    /// # Errors
    /// If the value is of another type.
    pub fn new(
        store: &mut impl AsStore,
        ty: crate::val::GlobalType,
        value: &Val,
    ) -> Result<Global, Error> {
        let store = store.store_inner();
        if !value.fits(ty.content_type, store) {
            return Err(Error::Call(format!(
                "a global of type {} cannot hold {value:?}",
                ty.content_type
            )));
        }
        let global = store.own_global_cell(ty);
        let global = Global { store: store.id, global };
        let slots = value.to_slots(store);
        global.target(store).set(slots);
        Ok(global)
    }

    /// Its type.
    pub fn ty(&self, store: &mut impl AsStore) -> crate::val::GlobalType {
        self.target(store.store_inner()).ty
    }

    /// Its value.
    pub fn get(&self, store: &mut impl AsStore) -> Val {
        let store = store.store_inner();
        let global = self.target(store);
        // SAFETY: globals that the host can name hold absolute references.
        unsafe { Val::from_slots(global.ty.content_type, global.get(), store) }
    }

    /// Sets its value.
    ///
    /// # Errors
    /// If it is immutable or of another type.
    pub fn set(&self, store: &mut impl AsStore, value: &Val) -> Result<(), Error> {
        let store = store.store_inner();
        let slots = value.to_slots(store);
        let global = self.target(store);
        if !global.ty.mutable || !value.fits(global.ty.content_type, store) {
            return Err(Error::Call(format!(
                "a global of type {:?} cannot be set to {value:?}",
                global.ty
            )));
        }
        global.set(slots);
        Ok(())
    }
}
