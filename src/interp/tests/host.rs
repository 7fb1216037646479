//! A host for the interpreter's own tests: a module with its context, without the rest of the runtime.
//!
//! Contexts of such a host name it in their last reserved word; the hooks and builtins here serve those, and pass others on.

use crate::interp::outside::{Budget, Tail};
use crate::interp::{InterpCode, Source, execute};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use updraft_jit::abi::{
    ExceptionDesc, GLOBAL_SIZE, GLOBALS_OFFSET, GlobalCell, MemoryDesc, Ref, TableDesc,
    ThreadState, TrapCode, VmContext,
};
use updraft_jit::env::ModuleEnv;
use wasmparser::{
    ConstExpr, DataKind, ElementItems, ElementKind, ExternalKind, Operator, Parser, Payload,
    TypeRef,
};

/// A segment of elements: table and offset if it is active, and its items.
type Elements = (Option<(u32, u32)>, Vec<u64>);

/// A module, decoded as far as the tests need.
pub(crate) struct Program {
    pub(crate) env: ModuleEnv,
    pub(crate) bytes: Vec<u8>,
    pub(crate) code: InterpCode,
    pub(crate) exports: Vec<(String, u32)>,
    globals: Vec<u64>,
    data: Vec<(Option<u32>, Vec<u8>)>,
    elements: Vec<Elements>,
}

impl Program {
    pub(crate) fn new(source: impl AsRef<[u8]>) -> Arc<Program> {
        let bytes = wat::parse_bytes(source.as_ref()).expect("the text is right").into_owned();
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
            .validate_all(&bytes)
            .expect("the module is valid");
        let mut env = ModuleEnv::default();
        let (mut exports, mut globals) = (vec![], vec![]);
        let (mut data, mut elements) = (vec![], vec![]);
        for payload in Parser::new(0).parse_all(&bytes) {
            match payload.unwrap() {
                Payload::TypeSection(reader) => {
                    for ty in reader.into_iter_err_on_gc_types() {
                        env.types.push(ty.unwrap());
                    }
                }
                Payload::ImportSection(reader) => {
                    for import in reader.into_imports() {
                        match import.unwrap().ty {
                            TypeRef::Func(ty) => {
                                env.functions.push(ty);
                                env.imported_functions += 1;
                            }
                            TypeRef::Memory(ty) => {
                                env.memories.push(ty);
                                env.imported_memories += 1;
                            }
                            TypeRef::Global(ty) => {
                                env.globals.push(ty);
                                env.global_escapes.push(true);
                                env.imported_globals += 1;
                            }
                            _ => unimplemented!("imports of this kind"),
                        }
                    }
                }
                Payload::FunctionSection(reader) => {
                    env.functions.extend(reader.into_iter().map(Result::unwrap));
                }
                Payload::TableSection(reader) => {
                    env.tables.extend(reader.into_iter().map(|table| table.unwrap().ty));
                }
                Payload::MemorySection(reader) => {
                    env.memories.extend(reader.into_iter().map(Result::unwrap));
                }
                Payload::GlobalSection(reader) => {
                    for global in reader {
                        let global = global.unwrap();
                        env.globals.push(global.ty);
                        env.global_escapes.push(false);
                        globals.push(global.init_expr);
                    }
                }
                Payload::ExportSection(reader) => {
                    for export in reader {
                        let export = export.unwrap();
                        match export.kind {
                            ExternalKind::Func => {
                                exports.push((export.name.to_string(), export.index))
                            }
                            ExternalKind::Global => {
                                env.global_escapes[export.index as usize] = true
                            }
                            _ => {}
                        }
                    }
                }
                Payload::ElementSection(reader) => {
                    for element in reader {
                        let element = element.unwrap();
                        let place = match element.kind {
                            ElementKind::Active { table_index, offset_expr } => {
                                Some((table_index.unwrap_or(0), offset_expr))
                            }
                            _ => None,
                        };
                        elements.push((place, element.items));
                    }
                }
                Payload::DataSection(reader) => {
                    for segment in reader {
                        let segment = segment.unwrap();
                        let place = match segment.kind {
                            DataKind::Active { offset_expr, .. } => Some(offset_expr),
                            DataKind::Passive => None,
                        };
                        data.push((place, segment.data.to_vec()));
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    env.bodies.push(body.range().start as usize..body.range().end as usize);
                }
                _ => {}
            }
        }
        env.canonical_types = env
            .types
            .iter()
            .map(|ty| env.types.iter().position(|other| other == ty).unwrap() as u32)
            .collect();
        let elements = elements
            .into_iter()
            .map(|(place, items)| {
                let place = place.map(|(table, offset)| (table, constant(&env, &offset) as u32));
                let items = match items {
                    ElementItems::Functions(functions) => {
                        functions.into_iter().map(|func| env.func_ref(func.unwrap()).0).collect()
                    }
                    ElementItems::Expressions(_, items) => {
                        items.into_iter().map(|item| constant(&env, &item.unwrap())).collect()
                    }
                };
                (place, items)
            })
            .collect();
        let globals = globals.iter().map(|init| constant(&env, init)).collect();
        let data = data
            .into_iter()
            .map(|(place, bytes)| (place.map(|offset| constant(&env, &offset) as u32), bytes))
            .collect();
        let code = InterpCode::new(&env);
        Arc::new(Program { env, code, exports, globals, data, elements, bytes: bytes.clone() })
    }

    pub(crate) fn func(&self, name: &str) -> u32 {
        self.exports.iter().find(|(export, _)| export == name).expect("it is exported").1
    }
}

fn constant(env: &ModuleEnv, expr: &ConstExpr<'_>) -> u64 {
    match expr.get_operators_reader().read().unwrap() {
        Operator::I32Const { value } => u64::from(value as u32),
        Operator::I64Const { value } => value as u64,
        Operator::F32Const { value } => u64::from(value.bits()),
        Operator::F64Const { value } => value.bits(),
        Operator::RefFunc { function_index } => env.func_ref(function_index).0,
        Operator::RefNull { .. } => 0,
        other => unimplemented!("{other:?}"),
    }
}

/// Memories, shared by the hosts of a test with several threads.
pub(crate) struct Memory {
    bytes: UnsafeCell<Box<[u64]>>,
    length: AtomicU64,
}

// SAFETY: accessed as guest memory is.
unsafe impl Sync for Memory {}
// SAFETY: likewise.
unsafe impl Send for Memory {}

impl Memory {
    /// How far it can grow.
    const MORE_PAGES: u64 = 64;

    pub(crate) fn new(pages: u64) -> Arc<Memory> {
        let words = ((pages + Self::MORE_PAGES) << 16) as usize / 8;
        Arc::new(Memory {
            bytes: UnsafeCell::new(vec![0; words].into_boxed_slice()),
            length: AtomicU64::new(pages << 16),
        })
    }

    fn base(&self) -> *mut u8 {
        // SAFETY: no reference to the bytes lives long.
        unsafe { (*self.bytes.get()).as_mut_ptr().cast() }
    }

    fn grow(&self, pages: u64) -> i64 {
        let old = self.length.load(Ordering::SeqCst) >> 16;
        // SAFETY: reads the length only.
        if (old + pages) << 13 > unsafe { (&(*self.bytes.get())).len() } as u64 {
            return -1;
        }
        self.length.store((old + pages) << 16, Ordering::SeqCst);
        old as i64
    }
}

#[repr(C, align(64))]
struct Context {
    vm: VmContext,
    globals: [[u64; 2]; 16],
}

type Import = Box<dyn Fn(&Host, u32, &mut [u64; 8]) -> u32>;
type Slots = *mut u64;
type Spend = Box<dyn Fn(&Host, u32, u32) -> Budget>;
type Osr = Box<dyn Fn(&Host, *const u8, Slots) -> u32>;

/// An instance on one thread.
pub(crate) struct Host {
    pub(crate) program: Arc<Program>,
    pub(crate) memories: Vec<Arc<Memory>>,
    context: Box<UnsafeCell<Context>>,
    thread: Box<UnsafeCell<ThreadState>>,
    stack: Box<UnsafeCell<Vec<u64>>>,
    tables: Vec<UnsafeCell<TableDesc>>,
    _table_storage: Vec<Vec<u64>>,
    _table_list: Vec<*mut TableDesc>,
    _memory_list: Vec<MemoryDesc>,
    _cells: Vec<GlobalCell>,
    _cell_list: Vec<*mut GlobalCell>,
    pub(crate) trap: Cell<Option<TrapCode>>,
    pub(crate) frames: RefCell<Vec<(u32, u32)>>,
    pub(crate) import: Import,
    pub(crate) native: Import,
    pub(crate) spend: Spend,
    pub(crate) osr: Osr,
    pub(crate) quantum: Cell<i64>,
    pub(crate) spent: Cell<u64>,
}

impl Host {
    pub(crate) fn new(program: &Arc<Program>) -> Box<Host> {
        let memories =
            program.env.memories.iter().map(|memory| Memory::new(memory.initial)).collect();
        let host = Self::with_memories(program, memories, 1 << 16);
        for (place, bytes) in &program.data {
            if let Some(offset) = place {
                // SAFETY: the tests' data fit.
                unsafe {
                    host.memories[0]
                        .base()
                        .add(*offset as usize)
                        .copy_from(bytes.as_ptr(), bytes.len());
                }
            }
        }
        host
    }

    pub(crate) fn with_memories(
        program: &Arc<Program>,
        memories: Vec<Arc<Memory>>,
        stack: usize,
    ) -> Box<Host> {
        let memory_list: Vec<_> = memories
            .iter()
            .map(|memory| MemoryDesc { base: memory.base(), length: &memory.length })
            .collect();
        let mut table_storage: Vec<Vec<u64>> =
            program.env.tables.iter().map(|table| vec![0; table.initial as usize]).collect();
        for (place, items) in &program.elements {
            if let Some((table, offset)) = place {
                table_storage[*table as usize][*offset as usize..][..items.len()]
                    .copy_from_slice(items);
            }
        }
        let tables: Vec<_> = table_storage
            .iter_mut()
            .map(|storage| {
                let (base, length) = (storage.as_mut_ptr(), storage.len() as u64);
                UnsafeCell::new(TableDesc { base, length })
            })
            .collect();
        let table_list: Vec<_> = tables.iter().map(|table| table.get()).collect();
        let cells: Vec<_> = (0..program.env.imported_globals)
            .map(|index| GlobalCell(UnsafeCell::new([u64::from(index) + 100, 0])))
            .collect();
        let cell_list: Vec<_> =
            cells.iter().map(|cell| std::ptr::from_ref(cell).cast_mut()).collect();
        let mut stack = Box::new(UnsafeCell::new(vec![0xdead_beef_dead_beef_u64; stack]));
        let bounds = stack.get_mut().as_mut_ptr_range();
        let thread = Box::new(UnsafeCell::new(ThreadState {
            value_sp: bounds.start,
            value_limit: bounds.end,
            ..ThreadState::default()
        }));
        let vm = VmContext {
            budget: UnsafeCell::new(0),
            memory_base: memories.first().map_or(std::ptr::null_mut(), |memory| memory.base()),
            memory_length: memories.first().map_or(std::ptr::null(), |memory| &memory.length),
            code_table: std::ptr::null::<AtomicPtr<u8>>(),
            interp_table: program.code.table(),
            tables: table_list.as_ptr(),
            memories: memory_list.as_ptr(),
            imported_globals: cell_list.as_ptr(),
            thread: thread.get(),
            stack_limit: 0,
            instance: std::ptr::null(),
            budget_quantum: 0,
            spill: std::ptr::null_mut(),
            tags: std::ptr::null(),
            calls: std::ptr::null_mut(),
            reserved: [0; 1],
        };
        let mut globals = [[0; 2]; 16];
        for (to, value) in globals.iter_mut().zip(&program.globals) {
            to[0] = *value;
        }
        const { assert!(std::mem::offset_of!(Context, globals) == GLOBALS_OFFSET && GLOBAL_SIZE == 16) };
        let host = Box::new(Host {
            program: program.clone(),
            memories,
            context: Box::new(UnsafeCell::new(Context { vm, globals })),
            thread,
            stack,
            tables,
            _table_storage: table_storage,
            _table_list: table_list,
            _memory_list: memory_list,
            _cells: cells,
            _cell_list: cell_list,
            trap: Cell::new(None),
            frames: RefCell::default(),
            import: Box::new(|_, _, _| unreachable!("no import was given")),
            native: Box::new(|_, _, _| unreachable!("no machine code was given")),
            spend: Box::new(|_, _, _| Budget::Continue),
            osr: Box::new(|_, _, _| unreachable!("no OSR entry was given")),
            quantum: Cell::new(1 << 20),
            spent: Cell::new(0),
        });
        // SAFETY: nothing runs yet.
        unsafe { (*host.ctx()).reserved[0] = std::ptr::from_ref(&*host) as usize };
        host
    }

    pub(crate) fn ctx(&self) -> *mut VmContext {
        self.context.get().cast()
    }

    /// Calls a function; a trap comes back as the error.
    pub(crate) fn call(&self, name: &str, args: &[u64]) -> Result<u64, TrapCode> {
        self.call_many(name, args).map(|results| results[0])
    }

    /// The same for functions with up to eight results.
    pub(crate) fn call_many(&self, name: &str, args: &[u64]) -> Result<[u64; 8], TrapCode> {
        self.trap.set(None);
        self.frames.borrow_mut().clear();
        // SAFETY: the stack is the thread's, and nobody else uses the context.
        unsafe {
            *(*self.ctx()).budget.get() = self.quantum.get();
            let slots = (*self.stack.get()).as_mut_ptr();
            slots.copy_from(args.as_ptr(), args.len());
            let status = execute(self.ctx(), self.program.func(name), slots);
            if status != 0 {
                return Err(self.trap.get().expect("a trap was recorded"));
            }
            Ok(std::array::from_fn(|i| *slots.add(i)))
        }
    }

    /// Slots of the value stack from its start.
    pub(crate) fn slot(&self, index: usize) -> u64 {
        // SAFETY: in bounds by the check of the slice.
        unsafe { (&(*self.stack.get()))[index] }
    }

    /// First free slot, as the interpreter published it.
    pub(crate) fn value_sp(&self) -> usize {
        // SAFETY: this thread's.
        unsafe { (*self.thread.get()).value_sp.offset_from((*self.stack.get()).as_ptr()) as usize }
    }

    pub(crate) fn table(&self, index: u32) -> *mut TableDesc {
        self.tables[index as usize].get()
    }

    fn fail(&self, code: TrapCode) -> u32 {
        assert!(self.trap.get().is_none(), "one trap at a time");
        self.trap.set(Some(code));
        1
    }
}

fn of<'a>(ctx: *mut VmContext) -> Option<&'a Host> {
    // SAFETY: the runtime's own contexts hold zero there.
    unsafe { ((*ctx).reserved[0] as *const Host).as_ref() }
}

pub(crate) mod hooks {
    use super::*;
    use crate::vm::hooks as real;

    pub(crate) unsafe fn source<'a>(ctx: *mut VmContext) -> Source<'a> {
        match of(ctx) {
            Some(host) => Source {
                code: &host.program.code,
                env: &host.program.env,
                bytes: &host.program.bytes,
            },
            None => unsafe { real::source(ctx) },
        }
    }

    pub(crate) unsafe fn first_call(ctx: *mut VmContext, func: u32) -> *const u8 {
        match of(ctx) {
            Some(host) => {
                let Program { code, env, bytes, .. } = &*host.program;
                code.translate(env, bytes, func).expect("supported")
            }
            None => unsafe { real::first_call(ctx, func) },
        }
    }

    unsafe fn outside(host: &Host, f: &Import, func: u32, slots: *mut u64) -> u32 {
        let ty = host.program.env.function_type(func);
        let mut values = [0; 8];
        let (params, results) = (ty.params().len(), ty.results().len());
        unsafe {
            assert!((*host.thread.get()).value_sp >= slots.add(params.max(results)));
            slots.copy_to(values.as_mut_ptr(), params);
            let status = f(host, func, &mut values);
            slots.copy_from(values.as_ptr(), results);
            status
        }
    }

    pub(crate) unsafe fn call_import(ctx: *mut VmContext, func: u32, slots: *mut u64) -> u32 {
        match of(ctx) {
            Some(host) => unsafe { outside(host, &host.import, func, slots) },
            None => unsafe { real::call_import(ctx, func, slots) },
        }
    }

    pub(crate) unsafe fn tail_import(ctx: *mut VmContext, func: u32, slots: *mut u64) -> u32 {
        match of(ctx) {
            Some(host) => unsafe { outside(host, &host.import, func, slots) },
            None => unsafe { real::tail_import(ctx, func, slots) },
        }
    }

    pub(crate) unsafe fn tail(ctx: *mut VmContext, fp: *mut u64, outermost: bool) -> Tail {
        match of(ctx) {
            Some(_) => unreachable!("machine code of the tests notes no tail calls"),
            None => unsafe { real::tail(ctx, fp, outermost) },
        }
    }

    pub(crate) unsafe fn tail_indirect(
        ctx: *mut VmContext,
        table: u32,
        index: u64,
        ty: u32,
        slots: *mut u64,
    ) -> u32 {
        match of(ctx) {
            // Functions of the module need no help, so that this is a trap.
            Some(_) => unsafe { builtins::call_indirect(ctx, table, index, ty, slots) },
            None => unsafe { real::tail_indirect(ctx, table, index, ty, slots) },
        }
    }

    pub(crate) unsafe fn in_flight(ctx: *mut VmContext) -> *const ExceptionDesc {
        match of(ctx) {
            Some(_) => std::ptr::null(),
            None => unsafe { real::in_flight(ctx) },
        }
    }

    pub(crate) use real::{add_bytecode_frame, catch};

    pub(crate) unsafe fn tail_ref(ctx: *mut VmContext, reference: u64, slots: *mut u64) -> u32 {
        match of(ctx) {
            Some(_) => unsafe { builtins::call_ref(ctx, reference, slots) },
            None => unsafe { real::tail_ref(ctx, reference, slots) },
        }
    }

    pub(crate) unsafe fn call_native(
        ctx: *mut VmContext,
        func: u32,
        slots: *mut u64,
        invoker: *const u8,
    ) -> u32 {
        match of(ctx) {
            Some(host) => unsafe { outside(host, &host.native, func, slots) },
            None => unsafe { real::call_native(ctx, func, slots, invoker) },
        }
    }

    pub(crate) unsafe fn budget(ctx: *mut VmContext, func: u32, loop_index: u32) -> Budget {
        match of(ctx) {
            Some(host) => {
                let quantum = host.quantum.get();
                let left = unsafe { std::mem::replace(&mut *(*ctx).budget.get(), quantum) };
                assert!(left < 0);
                host.spent.set(host.spent.get() + (quantum - left) as u64);
                (host.spend)(host, func, loop_index)
            }
            None => unsafe { real::budget(ctx, func, loop_index) },
        }
    }

    pub(crate) unsafe fn enter_osr(ctx: *mut VmContext, entry: *const u8, frame: *mut u64) -> u32 {
        match of(ctx) {
            Some(host) => (host.osr)(host, entry, frame),
            None => unsafe { real::enter_osr(ctx, entry, frame) },
        }
    }

    pub(crate) unsafe fn trap(ctx: *mut VmContext, code: TrapCode) {
        match of(ctx) {
            Some(host) => {
                host.fail(code);
            }
            None => unsafe { real::trap(ctx, code) },
        }
    }

    pub(crate) unsafe fn wants_frames(ctx: *mut VmContext) -> bool {
        of(ctx).is_some() || unsafe { real::wants_frames(ctx) }
    }

    pub(crate) unsafe fn add_frame(ctx: *mut VmContext, func: u32, offset: u32) {
        match of(ctx) {
            Some(host) => host.frames.borrow_mut().push((func, offset)),
            None => unsafe { real::add_frame(ctx, func, offset) },
        }
    }
}

pub(crate) mod builtins {
    use super::*;
    use crate::vm::builtins as real;

    macro_rules! builtins {
        ($($name:ident($host:ident $(, $arg:ident: $ty:ty)*) $(-> $result:ty)? $body:block)*) => {$(
            pub(crate) unsafe fn $name(ctx: *mut VmContext $(, $arg: $ty)*) $(-> $result)? {
                match of(ctx) {
                    Some($host) => $body,
                    None => unsafe { real::$name(ctx $(, $arg)*) },
                }
            }
        )*};
    }

    /// The address of so many bytes, if they are in bounds.
    fn range(host: &Host, memory: u32, start: u64, len: u64) -> Option<*mut u8> {
        let memory = &host.memories[memory as usize];
        (start + len <= memory.length.load(Ordering::SeqCst))
            .then(|| unsafe { memory.base().add(start as usize) })
    }

    fn elements(host: &Host, table: u32, start: u64, len: u64) -> Option<*mut u64> {
        let table = unsafe { &*host.table(table) };
        start
            .checked_add(len)
            .is_some_and(|end| end <= table.length)
            .then(|| unsafe { table.base.add(start as usize) })
    }

    builtins! {
        memory_grow(host, memory: u32, pages: u64) -> i64 { host.memories[memory as usize].grow(pages) }
        memory_init(host, memory: u32, segment: u32, to: u64, from: u32, len: u32) -> u32 {
            let bytes = &host.program.data[segment as usize].1;
            let from = bytes.get(from as usize..(from as usize + len as usize));
            match (range(host, memory, to, u64::from(len)), from) {
                (Some(to), Some(from)) => {
                    unsafe { to.copy_from(from.as_ptr(), from.len()) };
                    0
                }
                _ => host.fail(TrapCode::MemoryOutOfBounds),
            }
        }
        memory_copy(host, to_memory: u32, from_memory: u32, to: u64, from: u64, len: u64) -> u32 {
            match (range(host, to_memory, to, len), range(host, from_memory, from, len)) {
                (Some(to), Some(from)) => {
                    unsafe { to.copy_from(from, len as usize) };
                    0
                }
                _ => host.fail(TrapCode::MemoryOutOfBounds),
            }
        }
        memory_fill(host, memory: u32, to: u64, value: u32, len: u64) -> u32 {
            match range(host, memory, to, len) {
                Some(to) => {
                    unsafe { to.write_bytes(value as u8, len as usize) };
                    0
                }
                None => host.fail(TrapCode::MemoryOutOfBounds),
            }
        }
        data_drop(host, _segment: u32) { let _ = host; }
        first_call(host, _func: u32, _tier: u32) { let _ = host; }
        table_get(host, table: u32, index: u64, out: *mut u64) -> u32 {
            match elements(host, table, index, 1) {
                Some(element) => {
                    unsafe { *out = *element };
                    0
                }
                None => host.fail(TrapCode::TableOutOfBounds),
            }
        }
        table_set(host, table: u32, index: u64, value: u64) -> u32 {
            match elements(host, table, index, 1) {
                Some(element) => {
                    unsafe { *element = value };
                    0
                }
                None => host.fail(TrapCode::TableOutOfBounds),
            }
        }
        table_grow(host, _table: u32, _init: u64, _delta: u64) -> i64 { let _ = host; -1 }
        table_fill(host, table: u32, index: u64, value: u64, len: u64) -> u32 {
            match elements(host, table, index, len) {
                Some(to) => {
                    for i in 0..len as usize {
                        unsafe { *to.add(i) = value };
                    }
                    0
                }
                None => host.fail(TrapCode::TableOutOfBounds),
            }
        }
        table_copy(host, to_table: u32, from_table: u32, to: u64, from: u64, len: u64) -> u32 {
            match (elements(host, to_table, to, len), elements(host, from_table, from, len)) {
                (Some(to), Some(from)) => {
                    unsafe { to.copy_from(from, len as usize) };
                    0
                }
                _ => host.fail(TrapCode::TableOutOfBounds),
            }
        }
        table_init(host, table: u32, segment: u32, to: u64, from: u32, len: u32) -> u32 {
            let items = &host.program.elements[segment as usize].1;
            let from = items.get(from as usize..(from as usize + len as usize));
            match (elements(host, table, to, u64::from(len)), from) {
                (Some(to), Some(from)) => {
                    unsafe { to.copy_from(from.as_ptr(), from.len()) };
                    0
                }
                _ => host.fail(TrapCode::TableOutOfBounds),
            }
        }
        elem_drop(host, _segment: u32) { let _ = host; }
        global_set_ref(host, global: u32, value: u64) {
            let index = (global - host.program.env.imported_globals) as usize;
            unsafe { (*host.context.get()).globals[index][0] = value };
        }
        atomic_notify(host, _memory: u32, address: u64, count: u32) -> i64 {
            let _ = host;
            (address + u64::from(count)) as i64
        }
        atomic_wait32(host, memory: u32, address: u64, expected: u32, _timeout: i64) -> i64 {
            match range(host, memory, address, 4) {
                Some(at) => if unsafe { *at.cast::<u32>() } == expected { 2 } else { 1 },
                None => -i64::from(host.fail(TrapCode::MemoryOutOfBounds)),
            }
        }
        atomic_wait64(host, memory: u32, address: u64, expected: u64, _timeout: i64) -> i64 {
            match range(host, memory, address, 8) {
                Some(at) => if unsafe { *at.cast::<u64>() } == expected { 2 } else { 1 },
                None => -i64::from(host.fail(TrapCode::MemoryOutOfBounds)),
            }
        }
        throw(host, _tag: u32, _values: *mut u64) -> u32 {
            let _ = host;
            unreachable!("exceptions are the runtime's")
        }
        throw_ref(host, _reference: u64) -> u32 {
            let _ = host;
            unreachable!("exceptions are the runtime's")
        }
        call_ref(host, _reference: u64, _slots: *mut u64) -> u32 {
            host.fail(TrapCode::NullFunctionReference)
        }
        call_indirect(host, table: u32, index: u64, ty: u32, slots: *mut u64) -> u32 {
            let Some(element) = elements(host, table, index, 1) else {
                return host.fail(TrapCode::UndefinedElement);
            };
            let reference = Ref(unsafe { *element });
            let env = &host.program.env;
            match reference.as_local() {
                None => host.fail(TrapCode::UninitializedElement),
                Some(_) if reference.0 as u32 != Ref::local_tag(env.canonical_types[ty as usize]) => {
                    host.fail(TrapCode::IndirectCallTypeMismatch)
                }
                Some(func) => unsafe { execute(host.ctx(), func, slots) },
            }
        }
    }
}
