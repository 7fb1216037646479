//! Instances: a context for code, and what owns the things that the context points to.

use super::exceptions::TagBox;
use super::quota::InstanceShare;
use super::refs::FuncTarget;
use super::{LinearMemory, Table, VmThread};
use crate::func::HostFunc;
use crate::module::Module;
use crate::store::StoreInner;
use crate::tiers::{Calls, Counters};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::sync::Arc;
use updraft_jit::abi::{
    GLOBAL_SIZE, GLOBALS_OFFSET, GlobalCell, MemoryDesc, Ref, TableDesc, VmContext,
};
use updraft_jit::env::slots;

/// A global's cell and type. Cells of defined globals lie behind the context of their instance.
pub(crate) struct GlobalBox {
    pub cell: *mut GlobalCell,
    pub ty: wasmparser::GlobalType,
}

impl GlobalBox {
    /// Reads the cell.
    pub fn get(&self) -> [u64; 2] {
        // SAFETY: the cell lives as long as its store, which the caller holds, so nobody writes meanwhile.
        unsafe { *(*self.cell).0.get() }
    }

    /// Writes the cell.
    pub fn set(&self, value: [u64; 2]) {
        // SAFETY: as in `get`.
        unsafe { *(*self.cell).0.get() = value }
    }
}

/// An instance of a module, for one thread.
pub(crate) struct InstanceData {
    pub module: Module,
    pub store: *mut StoreInner,
    ctx: *mut VmContext,
    pub functions: Box<[FuncTarget]>,
    pub tables: Box<[*const Table]>,
    table_descs: Box<[*mut TableDesc]>,
    pub memories: Box<[Arc<LinearMemory>]>,
    memory_descs: Box<[MemoryDesc]>,
    imported_cells: Box<[*mut GlobalCell]>,
    pub globals: Box<[*const GlobalBox]>,
    pub tags: Box<[*const TagBox]>,
    dropped_data: Box<[Cell<bool>]>,
    dropped_elements: Box<[Cell<bool>]>,
    /// See [`VmContext::spill`]. Code writes to it.
    spill: Box<[Cell<u64>]>,
    /// If calls are counted.
    calls: Option<Counters>,
    _share: InstanceShare,
}

impl InstanceData {
    /// Allocates the context. Defined globals are zero, and `globals` is still without them.
    #[expect(clippy::too_many_arguments, reason = "what an instance is made of")]
    pub fn new(
        module: Module,
        store: *mut StoreInner,
        functions: Vec<FuncTarget>,
        tables: Vec<*const Table>,
        memories: Vec<Arc<LinearMemory>>,
        imported_globals: Vec<*const GlobalBox>,
        tags: Vec<*const TagBox>,
        share: InstanceShare,
    ) -> Box<InstanceData> {
        // SAFETY: the tables and globals belong to the store that makes this instance.
        let table_descs = tables.iter().map(|t| unsafe { (**t).desc() }).collect();
        let memory_descs: Box<[MemoryDesc]> = memories.iter().map(|m| m.desc()).collect();
        // SAFETY: as above.
        let imported_cells = imported_globals.iter().map(|g| unsafe { (**g).cell }).collect();
        let layout = Self::layout(&module);
        // SAFETY: the layout has a size of at least GLOBALS_OFFSET.
        let ctx = unsafe { alloc_zeroed(layout) }.cast::<VmContext>();
        if ctx.is_null() {
            handle_alloc_error(layout);
        }
        let dropped = |n: usize| (0..n).map(|_| Cell::new(false)).collect();
        let mut instance = Box::new(InstanceData {
            dropped_data: dropped(module.data.len()),
            dropped_elements: dropped(module.elements.len()),
            spill: (0..Self::spilled(&module)).map(|_| Cell::new(0)).collect(),
            calls: module.code.calls.as_ref().map(Calls::add),
            module,
            store,
            ctx,
            functions: functions.into(),
            tables: tables.into(),
            table_descs,
            memories: memories.into(),
            memory_descs,
            imported_cells,
            globals: imported_globals.into(),
            tags: tags.into(),
            _share: share,
        });
        let memory0 = instance.memory_descs.first().copied();
        let code = &instance.module.code;
        code.add_instance();
        // SAFETY: the store makes this instance for its thread.
        let thread: *mut VmThread = unsafe { &raw mut *(*store).thread };
        let quantum = crate::tiers::quantum(instance.module.engine.config());
        let context = VmContext {
            budget: crate::tiers::first_budget(quantum).into(),
            memory_base: memory0.map_or(std::ptr::null_mut(), |m| m.base),
            memory_length: memory0.map_or(std::ptr::null(), |m| m.length),
            code_table: code.native_table(),
            interp_table: code.interp.table(),
            tables: instance.table_descs.as_ptr(),
            memories: instance.memory_descs.as_ptr(),
            imported_globals: instance.imported_cells.as_ptr(),
            thread: thread.cast(),
            stack_limit: 0,
            instance: (&raw const *instance).cast(),
            budget_quantum: quantum,
            spill: instance.spill.as_ptr().cast::<u64>().cast_mut(),
            tags: instance.tags.as_ptr().cast(),
            calls: instance
                .calls
                .as_ref()
                .map_or(std::ptr::null_mut(), |c| c.as_ptr().cast_mut().cast()),
            reserved: [0; 1],
        };
        // SAFETY: freshly allocated with room and alignment for a context; the zeroed globals behind it are untouched.
        unsafe { ctx.write(context) };
        let defined: Vec<*const GlobalBox> = {
            let env = &instance.module.env;
            let types = env.globals[env.imported_globals as usize..].iter();
            // SAFETY: the store outlives the call and is held by the caller.
            let store = unsafe { &mut *store };
            types
                .enumerate()
                // SAFETY: the layout has GLOBAL_SIZE bytes for each defined global behind GLOBALS_OFFSET.
                .map(|(i, ty)| unsafe {
                    let cell = ctx.byte_add(GLOBALS_OFFSET + GLOBAL_SIZE * i).cast();
                    store.own_global(GlobalBox { cell, ty: *ty })
                })
                .collect()
        };
        instance.globals = instance.globals.iter().copied().chain(defined).collect();
        instance
    }

    /// Makes the instance as [`InstanceData::new`] leaves it. Its tables are for the store to renew.
    pub fn renew(&mut self) {
        let quantum = crate::tiers::quantum(self.module.engine.config());
        // SAFETY: nothing runs in the instance, which is held mutably.
        unsafe {
            (*self.ctx).budget = crate::tiers::first_budget(quantum).into();
            let cells = Self::layout(&self.module).size() - GLOBALS_OFFSET;
            self.ctx.byte_add(GLOBALS_OFFSET).cast::<u8>().write_bytes(0, cells);
        }
        self.dropped_data.iter().chain(&self.dropped_elements).for_each(|one| one.set(false));
    }

    /// Slots of the most parameters that a function of the module has, if they travel in memory at all.
    fn spilled(module: &Module) -> u32 {
        let most = || module.env.types.iter().map(|ty| slots(ty.params())).max();
        if module.env.tail_calls { most().unwrap_or(0) } else { 0 }
    }

    fn layout(module: &Module) -> Layout {
        let defined = module.env.globals.len() - module.env.imported_globals as usize;
        let bytes = GLOBALS_OFFSET + GLOBAL_SIZE * defined;
        Layout::from_size_align(bytes, align_of::<VmContext>())
            .expect("counts are bounded by validation")
    }

    pub fn ctx(&self) -> *mut VmContext {
        self.ctx
    }

    /// The instance of a context.
    ///
    /// # Safety
    /// `ctx` must be the context of a living instance.
    pub unsafe fn of<'a>(ctx: *const VmContext) -> &'a InstanceData {
        // SAFETY: `instance` was set in `new` to the box that owns the context.
        unsafe { &*(*ctx).instance.cast() }
    }

    /// What an imported function is bound to; `None` for the instance's own.
    pub fn imported_function(&self, func: u32) -> Option<&FuncTarget> {
        self.functions.get(func as usize)
    }

    /// The imported function that is bound to this one of the host.
    pub fn import_of(&self, host: &Arc<HostFunc>) -> Option<u32> {
        let bound = |target: &FuncTarget| match target {
            FuncTarget::Host(bound) => Arc::ptr_eq(bound, host),
            FuncTarget::Wasm { .. } => false,
        };
        self.functions.iter().position(bound).map(|index| index as u32)
    }

    pub fn thread_id(&self) -> u32 {
        // SAFETY: the store outlives its instances.
        unsafe { (*self.store).thread.id }
    }

    pub fn table(&self, index: u32) -> &Table {
        // SAFETY: tables belong to the store, which outlives its instances.
        unsafe { &*self.tables[index as usize] }
    }

    pub fn global(&self, index: u32) -> &GlobalBox {
        // SAFETY: as for tables.
        unsafe { &*self.globals[index as usize] }
    }

    /// Bytes of a data segment: none once it was dropped.
    pub fn data(&self, segment: u32) -> &[u8] {
        match self.dropped_data[segment as usize].get() {
            true => &[],
            false => &self.module.bytes[self.module.data[segment as usize].range.clone()],
        }
    }

    pub fn drop_data(&self, segment: u32) {
        self.dropped_data[segment as usize].set(true);
    }

    pub fn element_dropped(&self, segment: u32) -> bool {
        self.dropped_elements[segment as usize].get()
    }

    pub fn drop_element(&self, segment: u32) {
        self.dropped_elements[segment as usize].set(true);
    }

    /// Turns a reference of the instance-relative form into one that is valid everywhere in the store.
    pub fn absolute(&self, r: Ref) -> Ref {
        let Some(func) = r.as_local() else { return r };
        // SAFETY: the store outlives the instance, and the caller holds it; no other reference into it is alive here.
        let arena = unsafe { &mut (*self.store).refs };
        Ref(std::ptr::from_ref(arena.function(self, func)) as u64)
    }
}

impl Drop for InstanceData {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; the store drops instances only when nothing runs.
        unsafe { dealloc(self.ctx.cast(), Self::layout(&self.module)) };
        if let (Some(calls), Some(counters)) = (&self.module.code.calls, &self.calls) {
            calls.remove(counters);
        }
        self.module.code.remove_instance();
    }
}
