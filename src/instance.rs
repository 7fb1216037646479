//! Instances as the host sees them.

use crate::error::Error;
use crate::exception::Tag;
use crate::func::{Func, TypedFunc, no_export};
use crate::linker::Extern;
use crate::memory::{Global, Memory, Table};
use crate::module::Item;
use crate::store::{AsStore, StoreInner};
use crate::val::WasmTys;
use crate::vm::InstanceData;

/// An instance of a module in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    pub(crate) store: u64,
    pub(crate) data: *const InstanceData,
}

// SAFETY: as for `Func`.
unsafe impl Send for Instance {}
// SAFETY: as for `Func`.
unsafe impl Sync for Instance {}

impl Instance {
    pub(crate) fn data<'a>(&self, store: &StoreInner) -> &'a InstanceData {
        store.check(self.store);
        // SAFETY: the store of this id owns the instance, and keeps it until it is dropped itself.
        unsafe { &*self.data }
    }

    fn item(&self, store: &mut StoreInner, item: Item) -> Extern {
        let data = self.data(store);
        match item {
            Item::Func(index) => Extern::Func(store.func(data, index)),
            Item::Memory(index) => {
                Extern::Memory(Memory::new(data.memories[index as usize].clone()))
            }
            Item::Table(index) => {
                // From here on others may look into the table.
                data.table(index).set_escapes(|r| data.absolute(r));
                Extern::Table(Table { store: store.id, table: data.tables[index as usize] })
            }
            Item::Tag(index) => {
                Extern::Tag(Tag { store: store.id, tag: data.tags[index as usize] })
            }
            Item::Global(index) => {
                Extern::Global(Global { store: store.id, global: data.globals[index as usize] })
            }
        }
    }

    /// The export of this name.
    pub fn export(&self, store: &mut impl AsStore, name: &str) -> Option<Extern> {
        let store = store.store_inner();
        let item = self.data(store).module.export(name)?;
        Some(self.item(store, item))
    }

    /// All exports, in order.
    pub fn exports(&self, store: &mut impl AsStore) -> Vec<(String, Extern)> {
        let store = store.store_inner();
        let exports = &self.data(store).module.exports;
        exports.iter().map(|e| (e.name.clone(), self.item(store, e.item))).collect()
    }

    /// The exported function of this name.
    pub fn func(&self, store: &mut impl AsStore, name: &str) -> Option<Func> {
        match self.export(store, name)? {
            Extern::Func(func) => Some(func),
            _ => None,
        }
    }

    /// The exported function of this name and type.
    ///
    /// # Errors
    /// If there is none, or its type is another.
    pub fn typed<P: WasmTys, R: WasmTys>(
        &self,
        store: &mut impl AsStore,
        name: &str,
    ) -> Result<TypedFunc<P, R>, Error> {
        self.func(store, name).ok_or_else(|| no_export("function", name))?.typed(store)
    }

    /// The exported memory of this name.
    pub fn memory(&self, store: &mut impl AsStore, name: &str) -> Option<Memory> {
        match self.export(store, name)? {
            Extern::Memory(memory) => Some(memory),
            _ => None,
        }
    }
}
