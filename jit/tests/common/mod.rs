//! A runtime just large enough to run compiled code: one instance, one thread, traps as errors.
#![allow(dead_code, reason = "each test file uses a part")]

mod builtins;
mod segment;
mod space;

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicPtr, Ordering};

use updraft_jit::abi::{
    GLOBAL_SIZE, GLOBALS_OFFSET, GlobalCell, MemoryDesc, Ref, TableDesc, ThreadState, TrapCode,
    VmContext,
};
use updraft_jit::env::{ModuleEnv, slots, slots_of};
use updraft_jit::{
    CodeSpace, CompileError, Compiler, Job, Level, Lines, Linked, LinkedSymbol, Options, Symbol,
    Text, Trampolines,
};
use wasmparser::{
    ConstExpr, DataKind, ElementItems, ElementKind, Operator, Parser, Payload, TypeRef,
};

pub use builtins::addresses;
use space::{Memory, Table};

/// A segment of a table or a memory.
struct Segment<T> {
    /// The table or memory, and where, if it is active.
    active: Option<(u32, u64)>,
    /// Whether it can be used by `init`.
    passive: bool,
    items: Vec<T>,
}

/// A module's declarations, from its text.
pub struct Wasm {
    pub bytes: Vec<u8>,
    pub env: ModuleEnv,
    pub exports: HashMap<String, u32>,
    elements: Vec<Segment<Option<u32>>>,
    data: Vec<Segment<u8>>,
    globals: Vec<[u64; 2]>,
    /// Whether it imports something that is not of `spectest`, the host module of the specification's tests.
    pub other_imports: bool,
    /// What the module has that the test runtime does not know.
    pub unknown: Option<String>,
}

impl Wasm {
    pub fn new(text: &str) -> Wasm {
        let wasm = Self::from_bytes(wat::parse_str(text).expect("the test's text is a module"));
        assert_eq!(wasm.unknown, None);
        wasm
    }

    pub fn from_bytes(bytes: Vec<u8>) -> Wasm {
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
            .validate_all(&bytes)
            .expect("the test's module is valid");
        let mut wasm = Wasm {
            bytes: Vec::new(),
            env: ModuleEnv::default(),
            exports: HashMap::new(),
            elements: Vec::new(),
            data: Vec::new(),
            globals: Vec::new(),
            other_imports: false,
            unknown: None,
        };
        for payload in Parser::new(0).parse_all(&bytes) {
            wasm.section(payload.expect("it was validated"));
        }
        let env = &mut wasm.env;
        env.canonical_types = (0..env.types.len())
            .map(|i| env.types.iter().position(|ty| *ty == env.types[i]).expect("itself") as u32)
            .collect();
        env.global_escapes = vec![false; env.globals.len()];
        wasm.bytes = bytes;
        wasm
    }

    fn constant(&mut self, expression: &ConstExpr) -> [u64; 2] {
        let mut reader = expression.get_operators_reader();
        let value = match reader.read().expect("it was validated") {
            Operator::I32Const { value } => [u64::from(value as u32), 0],
            Operator::I64Const { value } => [value as u64, 0],
            Operator::F32Const { value } => [u64::from(value.bits()), 0],
            Operator::F64Const { value } => [value.bits(), 0],
            Operator::V128Const { value } => v128(u128::from_le_bytes(*value.bytes())),
            Operator::RefNull { .. } => [0; 2],
            other => {
                self.unknown = Some(format!("a constant of {other:?}"));
                [0; 2]
            }
        };
        if !matches!(reader.read(), Ok(Operator::End)) {
            self.unknown = Some("a long constant".to_owned());
        }
        value
    }

    fn section(&mut self, payload: Payload) {
        let env = &mut self.env;
        match payload {
            Payload::TypeSection(types) => {
                env.types.extend(types.into_iter_err_on_gc_types().map(Result::unwrap));
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports().map(Result::unwrap) {
                    if import.module != "spectest" {
                        self.other_imports = true;
                    }
                    match import.ty {
                        TypeRef::Func(ty) => {
                            env.functions.push(ty);
                            env.imported_functions += 1;
                        }
                        TypeRef::Global(ty) => {
                            env.globals.push(ty);
                            env.imported_globals += 1;
                            self.globals.push([0; 2]);
                        }
                        other => self.unknown = Some(format!("an import of {other:?}")),
                    }
                }
            }
            Payload::TagSection(tags) => {
                env.tags.extend(tags.into_iter().map(|tag| tag.unwrap().func_type_idx));
            }
            Payload::FunctionSection(functions) => {
                env.functions.extend(functions.into_iter().map(Result::unwrap));
            }
            Payload::TableSection(tables) => {
                env.tables.extend(tables.into_iter().map(|table| table.unwrap().ty));
            }
            Payload::MemorySection(memories) => {
                env.memories.extend(memories.into_iter().map(Result::unwrap));
                if env.memories.iter().any(|memory| memory.initial > 1 << 16) {
                    self.unknown = Some("a memory of more than 4 GiB".to_owned());
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals.into_iter().map(Result::unwrap) {
                    self.env.globals.push(global.ty);
                    let value = self.constant(&global.init_expr);
                    self.globals.push(value);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.into_iter().map(Result::unwrap) {
                    self.exports.insert(export.name.to_owned(), export.index);
                }
            }
            Payload::ElementSection(segments) => {
                for segment in segments.into_iter().map(Result::unwrap) {
                    let passive = matches!(segment.kind, ElementKind::Passive);
                    let active = match segment.kind {
                        ElementKind::Active { table_index, offset_expr } => {
                            let [offset, _] = self.constant(&offset_expr);
                            Some((table_index.unwrap_or(0), offset))
                        }
                        _ => None,
                    };
                    let items = match segment.items {
                        ElementItems::Functions(functions) => {
                            functions.into_iter().map(|func| Some(func.unwrap())).collect()
                        }
                        ElementItems::Expressions(_, items) => {
                            items.into_iter().map(|item| function(&item.unwrap())).collect()
                        }
                    };
                    self.elements.push(Segment { active, passive, items });
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments.into_iter().map(Result::unwrap) {
                    let (active, items) = match segment.kind {
                        DataKind::Active { memory_index, offset_expr } => {
                            let [offset, _] = self.constant(&offset_expr);
                            (Some((memory_index, offset)), segment.data.to_vec())
                        }
                        DataKind::Passive => (None, segment.data.to_vec()),
                    };
                    self.data.push(Segment { active, passive: active.is_none(), items });
                }
            }
            Payload::StartSection { .. } => self.unknown = Some("a start function".to_owned()),
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                let mut operators = body.get_operators_reader().expect("it was validated");
                while !operators.eof() {
                    env.tail_calls |= matches!(
                        operators.read(),
                        Ok(Operator::ReturnCall { .. }
                            | Operator::ReturnCallIndirect { .. }
                            | Operator::ReturnCallRef { .. })
                    );
                }
                env.bodies.push(range.start as usize..range.end as usize);
            }
            _ => {}
        }
    }
}

fn function(expression: &ConstExpr) -> Option<u32> {
    match expression.get_operators_reader().read().expect("it was validated") {
        Operator::RefFunc { function_index } => Some(function_index),
        _ => None,
    }
}

#[repr(C)]
struct ContextWithGlobals {
    context: VmContext,
    globals: [GlobalCell; 16],
}

const _: () = assert!(std::mem::offset_of!(ContextWithGlobals, globals) == GLOBALS_OFFSET);
const _: () = assert!(size_of::<GlobalCell>() == GLOBAL_SIZE);

/// A segment that was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Dropped {
    Data(u32),
    Elements(u32),
}

type Import = Box<dyn Fn(&Vm, &mut [u64])>;

/// An instance, and what happened in it.
pub struct Vm {
    pub wasm: Wasm,
    pub options: Options,
    pub compiler: RefCell<Compiler>,
    pub space: CodeSpace,
    pub trampolines: Trampolines,
    pub linked: RefCell<HashMap<Symbol, LinkedSymbol>>,
    objects: RefCell<Vec<Linked>>,
    context: Box<ContextWithGlobals>,
    thread: Box<ThreadState>,
    code_table: Vec<AtomicPtr<u8>>,
    memories: Vec<Memory>,
    memory_descs: Vec<MemoryDesc>,
    tables: Vec<Table>,
    table_descs: Vec<*mut TableDesc>,
    /// Segments that were dropped.
    dropped: RefCell<HashSet<Dropped>>,
    imported_globals: Vec<*mut GlobalCell>,
    imports: HashMap<u32, Import>,
    /// Cause of the next `RaisePending`.
    pending: Cell<Option<TrapCode>>,
    /// Where the last trap was raised: a return address, or the faulting instruction.
    pub trapped_at: Cell<usize>,
    /// Calls of `Budget`: function and loop.
    pub budget_calls: RefCell<Vec<(u32, u32)>>,
    /// What `Budget` answers for a function and loop, once.
    pub replacement: RefCell<HashMap<(u32, u32), usize>>,
    /// What the budget is filled to.
    pub quantum: Cell<i64>,
    /// Calls of builtins that only record, with their arguments.
    pub recorded: RefCell<Vec<(&'static str, Vec<u64>)>>,
}

impl Vm {
    pub fn new(text: &str) -> Box<Vm> {
        Vm::with(text, Options::default())
    }

    pub fn with(text: &str, options: Options) -> Box<Vm> {
        Vm::of(Wasm::new(text), options)
    }

    pub fn of(wasm: Wasm, options: Options) -> Box<Vm> {
        segment::install();
        let env = &wasm.env;
        let types: Vec<u32> =
            env.functions.iter().map(|ty| env.canonical_types[*ty as usize]).collect();
        let trampolines = Trampolines::new(&types).expect("memory");
        let code_table = (0..types.len() as u32)
            .map(|func| AtomicPtr::new(trampolines.address(func) as *mut u8))
            .collect();
        let memories: Vec<Memory> =
            env.memories.iter().map(|ty| Memory::new(ty.initial, ty.maximum)).collect();
        let memory_descs: Vec<MemoryDesc> = memories.iter().map(Memory::desc).collect();
        for segment in &wasm.data {
            let Some((memory, offset)) = segment.active else { continue };
            let place = memories[memory as usize].range(offset, segment.items.len() as u64);
            let place = place.expect("the test's segments lie in memory");
            // SAFETY: the range lies in memory.
            unsafe { place.copy_from(segment.items.as_ptr(), segment.items.len()) };
        }
        let tables: Vec<Table> =
            env.tables.iter().map(|ty| Table::new(ty.initial, ty.maximum)).collect();
        for segment in &wasm.elements {
            let Some((table, offset)) = segment.active else { continue };
            let places = tables[table as usize].range(offset, segment.items.len() as u64);
            let places = places.expect("the test's segments lie in their tables");
            for (func, place) in segment.items.iter().zip(places) {
                *place = func.map_or(0, |func| env.func_ref(func).0);
            }
        }
        let thread = Box::new(ThreadState::default());
        let mut vm = Box::new(Vm {
            options,
            compiler: RefCell::new(Compiler::new(options).expect("LLVM")),
            space: CodeSpace::new(&addresses()).expect("LLVM"),
            trampolines,
            linked: RefCell::default(),
            objects: RefCell::default(),
            context: Box::new(ContextWithGlobals {
                context: VmContext {
                    budget: UnsafeCell::new(i64::MAX),
                    memory_base: memories.first().map_or(std::ptr::null_mut(), Memory::base),
                    memory_length: std::ptr::null(),
                    code_table: std::ptr::null(),
                    interp_table: std::ptr::null(),
                    tables: std::ptr::null(),
                    memories: std::ptr::null(),
                    imported_globals: std::ptr::null(),
                    thread: std::ptr::null_mut(),
                    stack_limit: segment::stack_limit(),
                    instance: std::ptr::null(),
                    budget_quantum: 0,
                    spill: Box::leak(Box::new([0; 1024])).as_mut_ptr(),
                    tags: std::ptr::null(),
                    calls: std::ptr::null_mut(),
                    reserved: [0; 1],
                },
                globals: std::array::from_fn(|_| GlobalCell(UnsafeCell::new([0; 2]))),
            }),
            thread,
            code_table,
            memories,
            memory_descs,
            table_descs: tables.iter().map(Table::desc).collect(),
            tables,
            dropped: RefCell::default(),
            imported_globals: Vec::new(),
            imports: HashMap::new(),
            pending: Cell::new(None),
            trapped_at: Cell::new(0),
            budget_calls: RefCell::default(),
            replacement: RefCell::default(),
            quantum: Cell::new(i64::MAX),
            recorded: RefCell::default(),
            wasm,
        });
        let imported = vm.wasm.env.imported_globals as usize;
        for (index, value) in vm.wasm.globals.iter().enumerate() {
            let cell = match index.checked_sub(imported) {
                Some(defined) => &mut vm.context.globals[defined],
                None => {
                    let cell = Box::leak(Box::new(GlobalCell(UnsafeCell::new([0; 2]))));
                    vm.imported_globals.push(cell);
                    cell
                }
            };
            *cell.0.get_mut() = *value;
        }
        let context = &mut vm.context.context;
        context.memory_length =
            vm.memory_descs.first().map_or(std::ptr::null(), |desc| desc.length);
        context.code_table = vm.code_table.as_ptr();
        context.tables = vm.table_descs.as_ptr();
        context.memories = vm.memory_descs.as_ptr();
        context.imported_globals = vm.imported_globals.as_ptr();
        context.thread = &raw mut *vm.thread;
        let instance: *const Vm = &raw const *vm;
        vm.context.context.instance = instance.cast();
        vm
    }

    pub fn import(&mut self, func: u32, run: impl Fn(&Vm, &mut [u64]) + 'static) {
        self.imports.insert(func, Box::new(run));
    }

    pub fn ctx(&self) -> *mut VmContext {
        (&raw const self.context.context).cast_mut()
    }

    pub fn func(&self, name: &str) -> u32 {
        self.wasm.exports[name]
    }

    /// Compiles, links and publishes functions and entries of loops.
    pub fn compile(&self, functions: &[u32], osr: &[(u32, u32)], level: Level) {
        self.try_compile(functions, osr, level).expect("it compiles");
    }

    pub fn try_compile(
        &self,
        functions: &[u32],
        osr: &[(u32, u32)],
        level: Level,
    ) -> Result<(), CompileError> {
        let object = self.with_job(functions, osr, level, |compiler, job| {
            compiler.compile(&self.wasm.env, &self.wasm.bytes, job)
        })?;
        let linked = self.space.link(&object).expect("it links");
        for symbol in &linked.symbols {
            match symbol.symbol {
                Symbol::Stub(ty) => {
                    self.trampolines.set_stub(ty, symbol.address);
                }
                Symbol::Function(func) => self.code_table[func as usize]
                    .store(symbol.address as *mut u8, Ordering::Release),
                Symbol::Invoker(_) | Symbol::Osr { .. } => {}
            }
            self.linked.borrow_mut().insert(symbol.symbol, symbol.clone());
        }
        self.objects.borrow_mut().push(linked);
        Ok(())
    }

    /// The line table of the code that was linked first.
    pub fn lines(&self) -> Lines {
        let objects = self.objects.borrow();
        let recipe = objects[0].recipe.as_ref().expect("it was compiled here");
        let mut compiler = self.compiler.borrow_mut();
        compiler.lines(&self.wasm.env, &self.wasm.bytes, recipe).expect("it comes out the same")
    }

    /// What the compiler makes of a function, in a readable form.
    pub fn text(&self, name: &str, level: Level, what: Text) -> String {
        self.with_job(&[self.func(name)], &[], level, |compiler, job| {
            compiler.emit_text(&self.wasm.env, &self.wasm.bytes, job, what).expect("it compiles")
        })
    }

    /// As [`Vm::text`], for the entry of a loop.
    pub fn entry_text(&self, name: &str, index: u32, level: Level, what: Text) -> String {
        self.with_job(&[], &[(self.func(name), index)], level, |compiler, job| {
            compiler.emit_text(&self.wasm.env, &self.wasm.bytes, job, what).expect("it compiles")
        })
    }

    fn with_job<T>(
        &self,
        functions: &[u32],
        osr: &[(u32, u32)],
        level: Level,
        run: impl FnOnce(&mut Compiler, &Job) -> T,
    ) -> T {
        let known = |symbol| self.linked.borrow().contains_key(&symbol);
        let job = Job {
            functions,
            level,
            osr,
            stub_known: &|ty| known(Symbol::Stub(ty)),
            invoker_known: &|ty| known(Symbol::Invoker(ty)),
        };
        run(&mut self.compiler.borrow_mut(), &job)
    }

    /// Compiles all functions of the module.
    pub fn compile_all(&self, level: Level) {
        let env = &self.wasm.env;
        let defined: Vec<u32> = (env.imported_functions..env.functions.len() as u32).collect();
        self.compile(&defined, &[], level);
    }

    pub fn address(&self, symbol: Symbol) -> usize {
        self.linked.borrow()[&symbol].address
    }

    /// Calls a function with slots.
    pub fn call(&self, name: &str, arguments: &[u64]) -> Result<Vec<u64>, TrapCode> {
        let func = self.func(name);
        let env = &self.wasm.env;
        let ty = env.function_type(func);
        assert_eq!(arguments.len(), slots(ty.params()) as usize, "arguments of {name}");
        let results = slots(ty.results()) as usize;
        let mut frame = arguments.to_vec();
        frame.resize(arguments.len().max(results).max(1), 0);
        let canonical = env.canonical_types[env.functions[func as usize] as usize];
        let invoker = self.address(Symbol::Invoker(canonical));
        let code = self.code_table[func as usize].load(Ordering::Acquire);
        self.enter(invoker, &mut frame, code)?;
        frame.truncate(results);
        // The high half of a narrow slot is unspecified.
        let mut slot = 0;
        for ty in ty.results() {
            if matches!(ty, wasmparser::ValType::I32 | wasmparser::ValType::F32) {
                frame[slot] &= 0xffff_ffff;
            }
            slot += slots_of(*ty) as usize;
        }
        Ok(frame)
    }

    /// Calls a function of one result.
    pub fn call1(&self, name: &str, arguments: &[u64]) -> Result<u64, TrapCode> {
        self.call(name, arguments).map(|results| results[0])
    }

    /// Enters code that takes a context and slots (an entry of a loop, an invoker).
    pub fn enter(&self, entry: usize, frame: &mut [u64], code: *mut u8) -> Result<(), TrapCode> {
        segment::enter(entry, self.ctx(), frame.as_mut_ptr(), code).map_err(|left| {
            self.trapped_at.set(left.at);
            left.code
        })
    }

    /// What `init` may read of a segment.
    fn passive<'a, T>(&self, segments: &'a [Segment<T>], id: Dropped) -> &'a [T] {
        let (Dropped::Data(index) | Dropped::Elements(index)) = id;
        let segment = &segments[index as usize];
        if segment.passive && !self.dropped.borrow().contains(&id) { &segment.items } else { &[] }
    }

    /// Makes the runtime function that is running fail.
    pub fn fail(&self, cause: TrapCode) {
        self.pending.set(Some(cause));
    }

    pub fn memory<const N: usize>(&self, offset: usize) -> [u8; N] {
        // SAFETY: tests look at committed memory while no code runs.
        unsafe { self.memories[0].base().add(offset).cast::<[u8; N]>().read() }
    }

    pub fn write_memory(&self, offset: usize, bytes: &[u8]) {
        // SAFETY: as for `memory`.
        unsafe { self.memories[0].base().add(offset).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    pub fn global(&self, index: usize) -> u64 {
        // SAFETY: as for `memory`.
        unsafe { (*self.context.globals[index].0.get())[0] }
    }

    pub fn set_budget(&self, budget: i64) {
        self.quantum.set(budget);
        // SAFETY: no code runs.
        unsafe { *self.context.context.budget.get() = budget };
    }

    pub fn budget(&self) -> i64 {
        // SAFETY: no code runs.
        unsafe { *self.context.context.budget.get() }
    }

    pub fn set_stack_limit(&mut self, limit: usize) {
        self.context.context.stack_limit = limit;
    }

    pub fn set_element(&self, index: usize, value: Ref) {
        *self.tables[0].get(index as u64).expect("the table has it") = value.0;
    }
}

/// A 32-bit number as a slot.
pub fn i32(value: i32) -> u64 {
    u64::from(value as u32)
}

/// A vector as its two slots.
pub fn v128(value: u128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

pub fn f32(value: f32) -> u64 {
    u64::from(value.to_bits())
}

pub fn f64(value: f64) -> u64 {
    value.to_bits()
}

pub const LEVELS: [Level; 2] = [Level::Quick, Level::Full];
