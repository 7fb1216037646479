//! Tables.

use super::quota::Quotas;
use std::cell::UnsafeCell;
use std::sync::Arc;
use updraft_jit::abi::{Ref, TableDesc};
use wasmparser::TableType;

/// More elements than this no table gets, whatever its type allows.
const MAX_ELEMENTS: u64 = 10_000_000;

/// A table. It belongs to one store, and whoever touches it holds that store, so there is never a race.
pub(crate) struct Table {
    desc: UnsafeCell<TableDesc>,
    elements: UnsafeCell<Vec<u64>>,
    ty: TableType,
    /// Set once another instance or the host can see the table. From then on no element may be an instance-relative
    /// reference (see [`Ref`]).
    escapes: std::cell::Cell<bool>,
    /// Of the group that the table belongs to.
    quotas: Arc<Quotas>,
}

impl Drop for Table {
    fn drop(&mut self) {
        self.quotas.table_elements.give_back(self.len());
    }
}

impl Table {
    /// A table, as a part of what a group may have.
    pub fn new(ty: TableType, init: Ref, quotas: &Arc<Quotas>) -> Result<Table, String> {
        if ty.initial > MAX_ELEMENTS {
            return Err(format!("more than {MAX_ELEMENTS} elements"));
        }
        let mut elements = Vec::new();
        elements.try_reserve_exact(ty.initial as usize).map_err(|e| e.to_string())?;
        let quota = &quotas.table_elements;
        if !quota.take(ty.initial) {
            let most = quota.most();
            return Err(format!(
                "too many for the program's limit of {most} (--max-table-elements)"
            ));
        }
        elements.resize(ty.initial as usize, init.0);
        let desc = TableDesc { base: elements.as_mut_ptr(), length: ty.initial };
        Ok(Table {
            desc: UnsafeCell::new(desc),
            elements: UnsafeCell::new(elements),
            ty,
            escapes: false.into(),
            quotas: quotas.clone(),
        })
    }

    /// Makes the table as new, with null elements.
    pub fn renew(&self) {
        let slots = self.slots();
        let len = self.ty.initial as usize;
        self.quotas.table_elements.give_back((slots.len() - len) as u64);
        slots.truncate(len);
        slots.shrink_to(len);
        slots.fill(Ref::NULL.0);
        slots.resize(len, Ref::NULL.0);
        let desc = TableDesc { base: slots.as_mut_ptr(), length: self.ty.initial };
        // SAFETY: as in `slots`.
        unsafe { *self.desc.get() = desc };
        self.escapes.set(false);
    }

    pub fn desc(&self) -> *mut TableDesc {
        self.desc.get()
    }

    pub fn element_type(&self) -> wasmparser::RefType {
        self.ty.element_type
    }

    /// Its type, with the current size as the minimum.
    pub fn current_type(&self) -> TableType {
        TableType { initial: self.len(), ..self.ty }
    }

    pub fn escapes(&self) -> bool {
        self.escapes.get()
    }

    /// Marks the table as seen from outside, passing each element through `convert`.
    pub fn set_escapes(&self, convert: impl Fn(Ref) -> Ref) {
        if !self.escapes.replace(true) {
            for element in self.slots() {
                *element = convert(Ref(*element)).0;
            }
        }
    }

    #[expect(clippy::mut_from_ref, reason = "the store that owns the table is held by the caller")]
    fn slots(&self) -> &mut Vec<u64> {
        // SAFETY: only the thread that holds the table's store is here, no reference outlives the methods of
        // this type, and compiled code does not run meanwhile.
        unsafe { &mut *self.elements.get() }
    }

    pub fn len(&self) -> u64 {
        self.slots().len() as u64
    }

    pub fn get(&self, index: u64) -> Option<Ref> {
        self.slots().get(usize::try_from(index).ok()?).map(|r| Ref(*r))
    }

    pub fn set(&self, index: u64, value: Ref) -> Option<()> {
        *self.slots().get_mut(usize::try_from(index).ok()?)? = value.0;
        Some(())
    }

    /// Adds elements and returns the previous length, or `None` where that is not possible.
    pub fn grow(&self, delta: u64, init: Ref) -> Option<u64> {
        let old = self.len();
        let new = old.checked_add(delta)?;
        if new > self.ty.maximum.unwrap_or(u64::MAX).min(MAX_ELEMENTS) {
            if delta != 0 {
                tracing::warn!(elements = old, delta, "table.grow refused: over the maximum");
            }
            return None;
        }
        let slots = self.slots();
        slots.try_reserve(delta as usize).ok()?;
        if !self.quotas.table_elements.take(delta) {
            let max = self.quotas.table_elements.most();
            tracing::warn!(
                elements = old,
                delta,
                max,
                "table.grow refused: over the program's --max-table-elements"
            );
            return None;
        }
        slots.resize(new as usize, init.0);
        let desc = TableDesc { base: slots.as_mut_ptr(), length: new };
        // SAFETY: as in `slots`.
        unsafe { *self.desc.get() = desc };
        Some(old)
    }

    /// Elements `start..start + len`, if there are so many.
    fn range(&self, start: u64, len: u64) -> Option<std::ops::Range<usize>> {
        let end = start.checked_add(len)?;
        (end <= self.len()).then_some(start as usize..end as usize)
    }

    pub fn fill(&self, start: u64, value: Ref, len: u64) -> Option<()> {
        let range = self.range(start, len)?;
        self.slots()[range].fill(value.0);
        Some(())
    }

    /// Copies elements from `source`, which may be this table.
    pub fn copy_from(
        &self,
        source: &Table,
        to: u64,
        from: u64,
        len: u64,
        convert: impl Fn(Ref) -> Ref,
    ) -> Option<()> {
        let (target, from) = (self.range(to, len)?, source.range(from, len)?);
        if std::ptr::eq(self, source) {
            self.slots().copy_within(from, target.start);
        } else {
            for (to, from) in target.zip(from) {
                self.slots()[to] = convert(Ref(source.slots()[from])).0;
            }
        }
        Some(())
    }
}
