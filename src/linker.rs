//! Definitions by name, and instantiation.

use crate::engine::Engine;
use crate::error::{Error, LinkError};
use crate::exception::Tag;
use crate::func::{Caller, Func, HostFunc, no_export, type_text};
use crate::host;
use crate::instance::Instance;
use crate::memory::{Global, Memory, Table};
use crate::module::canonical;
use crate::module::{ConstOp, Import, Item, Module, SegmentMode};
use crate::store::{AsStore, Store, StoreInner, eval};
use crate::val::{FuncType, Val, WasmTys};
use crate::vm::builtins::init_table;
use crate::vm::exceptions::TagBox;
use crate::vm::instance::GlobalBox;
use crate::vm::quota::InstanceShare;
use crate::vm::refs::FuncTarget;
use crate::vm::{InstanceData, LinearMemory, Table as VmTable};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use updraft_jit::abi::{Ref, TrapCode};
use wasmparser::{MemoryType, TableType};

/// Something that a module can import or export.
#[derive(Clone, Debug)]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A memory.
    Memory(Memory),
    /// A table.
    Table(Table),
    /// A global.
    Global(Global),
    /// A tag of exceptions.
    Tag(Tag),
}

#[derive(Clone)]
enum Definition {
    /// A function of the host, for any store.
    Host(Arc<HostFunc>),
    Extern(Extern),
}

/// Functions of a host module that are made when a module imports them: most modules import few of many.
pub(crate) struct OnDemand {
    module: &'static str,
    names: Vec<&'static str>,
    make: Box<dyn Fn(usize) -> HostFunc + Send + Sync>,
    made: Box<[OnceLock<Definition>]>,
}

impl OnDemand {
    /// Functions of these names. `make` gives the one of an index.
    pub fn new(
        module: &'static str,
        names: Vec<&'static str>,
        make: impl Fn(usize) -> HostFunc + Send + Sync + 'static,
    ) -> OnDemand {
        let made = names.iter().map(|_| OnceLock::new()).collect();
        OnDemand { module, names, make: Box::new(make), made }
    }

    fn index(&self, module: &str, name: &str) -> Option<usize> {
        (module == self.module).then(|| self.names.iter().position(|one| *one == name))?
    }

    fn find(&self, module: &str, name: &str) -> Option<&Definition> {
        let index = self.index(module, name)?;
        Some(self.made[index].get_or_init(|| Definition::Host(Arc::new((self.make)(index)))))
    }
}

/// Names and what they are bound to, from which modules are instantiated.
///
/// A linker that holds only host functions and memories serves any number of stores on any threads; functions, tables and
/// globals of a store serve that store.
#[derive(Clone)]
pub struct Linker {
    engine: Engine,
    names: HashMap<String, HashMap<String, Definition>>,
    /// Looked at after `names`, the last one first.
    on_demand: Vec<Arc<OnDemand>>,
    /// Serves imports of shared memories that have no definition of their own.
    shared_memory: Option<Arc<LinearMemory>>,
}

impl std::fmt::Debug for Linker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let on_demand: Vec<&str> = self.on_demand.iter().map(|group| group.module).collect();
        f.debug_struct("Linker")
            .field("modules", &self.names.keys())
            .field("on_demand", &on_demand)
            .finish_non_exhaustive()
    }
}

impl Linker {
    /// A linker without definitions.
    #[must_use]
    pub fn new(engine: &Engine) -> Linker {
        Linker {
            engine: engine.clone(),
            names: HashMap::new(),
            on_demand: Vec::new(),
            shared_memory: None,
        }
    }

    /// The engine that it was made for.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn insert(&mut self, module: &str, name: &str, definition: Definition) -> &mut Self {
        self.names.entry(module.to_owned()).or_default().insert(name.to_owned(), definition);
        self
    }

    /// Defines a host function on Rust types. A definition of the same name is replaced. If the function panics, the call of wasm
    /// that it happened in fails with [`Error::Host`].
    ///
    /// ```
    /// # use updraft::{Engine, Linker};
    /// let engine = Engine::default();
    /// let mut linker = Linker::new(&engine);
    /// linker.func("env", "add", |_, (a, b): (i32, i32)| Ok(a.wrapping_add(b)));
    /// ```
    pub fn func<P: WasmTys, R: WasmTys>(
        &mut self,
        module: &str,
        name: &str,
        func: impl Fn(&mut Caller<'_>, P) -> Result<R, Error> + Send + Sync + 'static,
    ) -> &mut Self {
        self.insert(module, name, Definition::Host(Arc::new(HostFunc::wrap(func))))
    }

    /// Defines a host function on values, of this type.
    pub fn func_values(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(&mut Caller<'_>, &[Val]) -> Result<Vec<Val>, Error> + Send + Sync + 'static,
    ) -> &mut Self {
        self.insert(module, name, Definition::Host(Arc::new(HostFunc::new(ty, func))))
    }

    /// Defines a function of the engine's own, which may touch the program's memory at any time and so has checkpoints of its own.
    pub(crate) fn raw_func(&mut self, module: &str, name: &str, mut func: HostFunc) -> &mut Self {
        func.outside = false;
        self.insert(module, name, Definition::Host(Arc::new(func)))
    }

    /// Defines functions of the engine's own, as [`Linker::raw_func`] does, that are made when they are needed. They have their own
    /// checkpoints, and say so ([`HostFunc`]'s `outside`).
    pub(crate) fn raw_funcs(&mut self, functions: OnDemand) -> &mut Self {
        if let Some(names) = self.names.get_mut(functions.module) {
            names.retain(|name, _| !functions.names.contains(&name.as_str()));
        }
        self.on_demand.push(Arc::new(functions));
        self
    }

    /// Defines an item of a store, or a memory.
    pub fn define(&mut self, module: &str, name: &str, item: Extern) -> &mut Self {
        self.insert(module, name, Definition::Extern(item))
    }

    /// Defines all exports of an instance under a module name.
    pub fn instance(&mut self, store: &mut Store, module: &str, instance: Instance) -> &mut Self {
        for (name, item) in instance.exports(store) {
            self.define(module, &name, item);
        }
        self
    }

    /// Defines each function that the module imports and that is not defined yet, as one that fails when it is called, with
    /// [`Error::Host`] that names it. For programs that import more than they use. What else is imported and not defined stays so.
    pub fn define_unknown_functions(&mut self, module: &Module) -> &mut Self {
        for import in &module.imports {
            let Item::Func(index) = import.item else { continue };
            // Functions of the host have no types of recursion groups.
            let of_group = module.env.identity(module.env.functions[index as usize]) != 0;
            if of_group || self.defines(&import.module, &import.name) {
                continue;
            }
            let missing = format!(
                "the program called the function {:?} {:?}, which is not defined",
                import.module, import.name
            );
            let ty = module.env.function_type(index).clone();
            let fail = move |_: &mut Caller<'_>, _: &[Val]| Err(Error::host(missing.clone()));
            self.func_values(&import.module, &import.name, ty, fail);
        }
        self
    }

    /// The memory that every import of a shared memory without a definition gets, whatever its name.
    pub(crate) fn shared_memory(&mut self, memory: Arc<LinearMemory>) {
        self.shared_memory = Some(memory);
    }

    /// Instantiates a module, and runs its start function.
    ///
    /// # Errors
    /// If an import is missing or of another type, a limit is reached, a segment is out of bounds, or the start function
    /// fails.
    pub fn instantiate(&self, store: &mut Store, module: &Module) -> Result<Instance, Error> {
        let instance = self.prepare(store, module, &[])?;
        instance.start(store)?;
        Ok(instance)
    }

    /// As [`Linker::instantiate`], with items for all imports in their order. Names do not matter.
    ///
    /// # Errors
    /// As [`Linker::instantiate`].
    pub fn instantiate_with(
        &self,
        store: &mut Store,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance, Error> {
        let items: Vec<Definition> = imports.iter().cloned().map(Definition::Extern).collect();
        let find = |index: usize, _: &Import| items.get(index);
        let instance = self.prepare_from(store, module, find, &[])?;
        instance.start(store)?;
        Ok(instance)
    }

    /// Instantiates without segments and start function: what remains is [`Instance::start`]. Shared memories that the module defines are
    /// those of `memories`, by index, as far as it goes.
    pub(crate) fn prepare(
        &self,
        store: &mut Store,
        module: &Module,
        memories: &[Arc<LinearMemory>],
    ) -> Result<Instance, Error> {
        self.prepare_from(store, module, |_, import| self.find(import), memories)
    }

    /// As [`Linker::prepare`], with definitions from `find`, which gets the index of the import too.
    fn prepare_from<'a>(
        &'a self,
        store: &mut Store,
        module: &Module,
        find: impl Fn(usize, &Import) -> Option<&'a Definition>,
        memories: &[Arc<LinearMemory>],
    ) -> Result<Instance, Error> {
        let store = store.store_inner();
        let quotas = store.thread.group.quotas().clone();
        let share = InstanceShare::take(&quotas).map_err(Error::Limit)?;
        let mut bound = Bound::default();
        for (index, import) in module.imports.iter().enumerate() {
            self.bind(store, module, import, find(index, import), &mut bound)?;
        }
        let env = &module.env;
        for (index, ty) in env.memories.iter().enumerate().skip(env.imported_memories as usize) {
            if let Some(memory) = memories.get(index).filter(|_| ty.shared) {
                bound.memories.push(memory.clone());
                continue;
            }
            let most = self.engine.config().max_memory;
            let memory = LinearMemory::in_group(*ty, most, Some(quotas.clone()))
                .map_err(|cause| LinkError::Memory { pages: ty.initial, cause })?;
            bound.memories.push(Arc::new(memory));
        }
        for ty in &env.tables[env.imported_tables as usize..] {
            let table = VmTable::new(*ty, Ref::NULL, &quotas)
                .map_err(|cause| LinkError::Table { elements: ty.initial, cause })?;
            bound.tables.push(store.own_table(table));
        }
        for index in env.imported_tags..env.tags.len() as u32 {
            let export = module.exports.iter().find(|export| export.item == Item::Tag(index));
            let name = export.map_or_else(|| format!("tag[{index}]"), |export| export.name.clone());
            let ty = env.tag_type(index).clone();
            let identity = env.identity(env.tags[index as usize]);
            bound.tags.push(store.own_tag(TagBox { ty, identity, name }));
        }
        let instance = InstanceData::new(
            module.clone(),
            store,
            bound.functions,
            bound.tables,
            bound.memories,
            bound.globals,
            bound.tags,
            share,
        );
        let instance = store.own_instance(instance);
        Ok(Instance { store: store.id, data: instance })
    }

    /// Whether something of this name is defined.
    pub(crate) fn defines(&self, module: &str, name: &str) -> bool {
        self.names.get(module).is_some_and(|names| names.contains_key(name))
            || self.on_demand.iter().any(|group| group.index(module, name).is_some())
    }

    fn find(&self, import: &Import) -> Option<&Definition> {
        let Import { module, name, .. } = import;
        let named = self.names.get(module).and_then(|names| names.get(name));
        named.or_else(|| self.on_demand.iter().rev().find_map(|group| group.find(module, name)))
    }

    fn bind(
        &self,
        store: &mut StoreInner,
        module: &Module,
        import: &Import,
        definition: Option<&Definition>,
        bound: &mut Bound,
    ) -> Result<(), Error> {
        let env = &module.env;
        let mismatch = |wanted: String, found: String| {
            let (module, name) = (import.module.clone(), import.name.clone());
            Error::Link(LinkError::Type { module, name, wanted, found })
        };
        let owned_by_other = |id: u64| {
            (id != store.id).then(|| {
                let (module, name) = (import.module.clone(), import.name.clone());
                Error::Link(LinkError::OtherStore { module, name })
            })
        };
        // Of types in recursion groups of several, which messages do not tell apart.
        let identity = |type_index: u32| env.identity(type_index);
        match (import.item, definition) {
            (Item::Func(index), Some(Definition::Host(host))) => {
                let wanted = env.function_type(index);
                if host.ty != *wanted || identity(env.functions[index as usize]) != 0 {
                    return Err(mismatch(type_text(wanted), type_text(&host.ty)));
                }
                bound.functions.push(FuncTarget::Host(host.clone()));
            }
            (Item::Func(index), Some(Definition::Extern(Extern::Func(func)))) => {
                if let Some(error) = owned_by_other(func.store) {
                    return Err(error);
                }
                let wanted = env.function_type(index);
                let found = func.ty_inner(store);
                let same = func.identity(store) == identity(env.functions[index as usize]);
                if found != *wanted || !same {
                    return Err(mismatch(type_text(wanted), type_text(&found)));
                }
                bound.functions.push(func.import_target(store));
            }
            (Item::Memory(index), Some(Definition::Extern(Extern::Memory(memory)))) => {
                let wanted = env.memories[index as usize];
                check_memory(wanted, memory.ty()).map_err(|(w, f)| mismatch(w, f))?;
                bound.memories.push(memory.inner.clone());
            }
            (Item::Memory(index), None)
                if env.memories[index as usize].shared && self.shared_memory.is_some() =>
            {
                let memory = self.shared_memory.clone().expect("just seen");
                check_memory(env.memories[index as usize], memory.current_type())
                    .map_err(|(w, f)| mismatch(w, f))?;
                bound.memories.push(memory);
            }
            (Item::Table(index), Some(Definition::Extern(Extern::Table(table)))) => {
                if let Some(error) = owned_by_other(table.store) {
                    return Err(error);
                }
                let (wanted, found) =
                    (env.tables[index as usize], table.target(store).current_type());
                let fits = found.element_type == wanted.element_type
                    && found.table64 == wanted.table64
                    && limits_fit(wanted.initial, wanted.maximum, found.initial, found.maximum);
                if !fits {
                    return Err(mismatch(table_text(wanted), table_text(found)));
                }
                bound.tables.push(table.table);
            }
            (Item::Global(index), Some(Definition::Extern(Extern::Global(global)))) => {
                if let Some(error) = owned_by_other(global.store) {
                    return Err(error);
                }
                let (wanted, found) = (env.globals[index as usize], global.target(store).ty);
                let fits = if wanted.mutable {
                    wanted == found
                } else {
                    !found.mutable && canonical::matches(found.content_type, wanted.content_type)
                };
                if !fits {
                    return Err(mismatch(format!("{wanted:?}"), format!("{found:?}")));
                }
                bound.globals.push(global.global);
            }
            (Item::Tag(index), Some(Definition::Extern(Extern::Tag(tag)))) => {
                if let Some(error) = owned_by_other(tag.store) {
                    return Err(error);
                }
                let target = tag.target(store);
                let (wanted, found) = (env.tag_type(index), &target.ty);
                if wanted != found || target.identity != identity(env.tags[index as usize]) {
                    let text = |ty| format!("a tag of type {}", type_text(ty));
                    return Err(mismatch(text(wanted), text(found)));
                }
                bound.tags.push(tag.tag);
            }
            (item, Some(definition)) => {
                let found = match definition {
                    Definition::Host(_) | Definition::Extern(Extern::Func(_)) => "a function",
                    Definition::Extern(Extern::Memory(_)) => "a memory",
                    Definition::Extern(Extern::Table(_)) => "a table",
                    Definition::Extern(Extern::Global(_)) => "a global",
                    Definition::Extern(Extern::Tag(_)) => "a tag",
                };
                return Err(mismatch(format!("a {}", item.kind()), found.to_owned()));
            }
            (item, None) => {
                return Err(LinkError::Unknown {
                    module: import.module.clone(),
                    name: import.name.clone(),
                    kind: item.kind(),
                    hint: self.hint(import),
                }
                .into());
            }
        }
        Ok(())
    }

    /// What to do about a missing import.
    fn hint(&self, import: &Import) -> String {
        if host::pthread::provides(import) && !self.defines("env", "pthread_create") {
            return "; this is WAMR's pthread library: give --pthreads wamr \
                    (ProcessConfig::pthreads)"
                .into();
        }
        let named = self.names.get(&import.module);
        let on_demand = self.on_demand.iter().filter(|group| group.module == import.module);
        let mut near: Vec<&str> = named
            .into_iter()
            .flat_map(|names| names.keys().map(String::as_str))
            .chain(on_demand.flat_map(|group| group.names.iter().copied()))
            .collect();
        if !near.is_empty() {
            near.sort_unstable();
            near.dedup();
            let list = near.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            return format!("; {:?} has {} names, such as {list}", import.module, near.len());
        }
        match import.module.as_str() {
            "wasi_unstable" => "; this is the snapshot before WASI preview 1: rebuild the program \
                                with a current toolchain"
                .into(),
            "env" => {
                "; functions of \"env\" come from an embedder, or were not found when the program \
                      was linked"
                    .into()
            }
            name if name.starts_with("wasi:") => {
                "; this is WASI preview 2: build for wasm32-wasip1 or wasm32-wasip1-threads".into()
            }
            _ => String::new(),
        }
    }
}

/// Where an active segment goes, in a memory or table of 64-bit or 32-bit indices.
fn start_of(instance: &InstanceData, offset: &[ConstOp], wide: bool) -> u64 {
    let value = eval(instance, offset)[0];
    if wide { value } else { value & u64::from(u32::MAX) }
}

#[derive(Default)]
struct Bound {
    functions: Vec<FuncTarget>,
    memories: Vec<Arc<LinearMemory>>,
    tables: Vec<*const VmTable>,
    globals: Vec<*const GlobalBox>,
    tags: Vec<*const TagBox>,
}

/// Import matching of limits (core specification, "External Typing").
fn limits_fit(wanted: u64, wanted_max: Option<u64>, found: u64, found_max: Option<u64>) -> bool {
    found >= wanted
        && wanted_max.is_none_or(|wanted| found_max.is_some_and(|found| found <= wanted))
}

fn check_memory(wanted: MemoryType, found: MemoryType) -> Result<(), (String, String)> {
    let fits = wanted.shared == found.shared
        && wanted.memory64 == found.memory64
        && limits_fit(wanted.initial, wanted.maximum, found.initial, found.maximum);
    if fits { Ok(()) } else { Err((memory_text(wanted), memory_text(found))) }
}

fn limits_text(initial: u64, maximum: Option<u64>) -> String {
    maximum.map_or(format!("at least {initial}"), |max| format!("{initial} to {max}"))
}

fn memory_text(ty: MemoryType) -> String {
    let shared = if ty.shared { "shared " } else { "" };
    let wide = if ty.memory64 { "64-bit " } else { "" };
    format!("a {shared}{wide}memory of {} pages", limits_text(ty.initial, ty.maximum))
}

fn table_text(ty: TableType) -> String {
    let wide = if ty.table64 { "64-bit " } else { "" };
    format!("a {wide}table of {} {}", limits_text(ty.initial, ty.maximum), ty.element_type)
}

impl Instance {
    /// What instantiation does once the instance is allocated: globals, segments and the start function (core
    /// specification, "Instantiation").
    ///
    /// It is one call as far as stops, deadlines and pauses are concerned: they come between two segments, or in the start function.
    pub(crate) fn start(&self, store: &mut Store) -> Result<(), Error> {
        self.start_with(store, false, |_| ())
    }

    /// As [`Instance::start`]; `globals` may set globals before anything runs. With `joins`, the instance joins others that have
    /// initialised the shared memories: no data is written to these.
    pub(crate) fn start_with(
        &self,
        store: &mut Store,
        joins: bool,
        globals: impl FnOnce(&InstanceData),
    ) -> Result<(), Error> {
        store.store_inner().attached(|store| self.start_attached(store, joins, globals))
    }

    /// As [`Instance::start_with`], by a thread that is attached.
    pub(crate) fn start_attached(
        &self,
        store: &mut StoreInner,
        joins: bool,
        globals: impl FnOnce(&InstanceData),
    ) -> Result<(), Error> {
        store.checkpoint()?;
        let instance = self.data(store);
        let module = &instance.module;
        let env = &module.env;
        for (index, init) in (env.imported_globals..).zip(&module.global_inits) {
            let mut value = eval(instance, init);
            if env.globals[index as usize].content_type.is_reference_type()
                && env.global_escapes[index as usize]
            {
                value[0] = instance.absolute(Ref(value[0])).0;
            }
            instance.global(index).set(value);
        }
        globals(instance);
        for (index, init) in (env.imported_tables..).zip(&module.table_inits) {
            if let Some(init) = init {
                let table = instance.table(index);
                let value = Ref(eval(instance, init)[0]);
                let all = table.fill(0, value, table.len());
                all.expect("the whole table is within its bounds");
            }
        }
        // An imported table is seen by others.
        for index in 0..env.imported_tables {
            instance.table(index).set_escapes(|r| r);
        }
        let trap = |code| {
            let thread = instance.thread_id();
            Err(Error::Trap(crate::Trap { code, thread, frames: Vec::new() }))
        };
        for (segment, index) in module.elements.iter().zip(0..) {
            store.checkpoint()?;
            match &segment.mode {
                SegmentMode::Active { index: table, offset } => {
                    let offset = start_of(instance, offset, env.tables[*table as usize].table64);
                    let len = segment.items.len() as u32;
                    if init_table(instance, *table, index, offset, 0, len).is_none() {
                        return trap(TrapCode::TableOutOfBounds);
                    }
                    instance.drop_element(index);
                }
                SegmentMode::Declared => instance.drop_element(index),
                SegmentMode::Passive => {}
            }
        }
        for (segment, index) in module.data.iter().zip(0..) {
            store.checkpoint()?;
            if let SegmentMode::Active { index: memory, offset } = &segment.mode {
                let data = instance.data(index);
                let start = start_of(instance, offset, env.memories[*memory as usize].memory64);
                let memory = &instance.memories[*memory as usize];
                if joins && memory.is_shared() {
                    instance.drop_data(index);
                    continue;
                }
                let Some(target) = memory.range(start, data.len() as u64) else {
                    return trap(TrapCode::MemoryOutOfBounds);
                };
                // SAFETY: the range is accessible; module bytes are not guest memory.
                unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), target, data.len()) };
                instance.drop_data(index);
            }
        }
        if let Some(start) = module.start {
            let ty = env.function_type(start);
            let target = match instance.imported_function(start) {
                Some(target) => target.clone(),
                None => FuncTarget::Wasm { instance, func: start },
            };
            store.call(&target, ty, &mut [])?;
        }
        Ok(())
    }
}

impl Linker {
    /// The function of this name, for a program's entry.
    pub(crate) fn entry(store: &mut Store, instance: Instance, name: &str) -> Result<Func, Error> {
        instance.func(store, name).ok_or_else(|| no_export("function", name))
    }
}
