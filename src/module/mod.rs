//! Bytes to [`Module`]: decoding, validation, and what the tiers need to know of the declarations.
//!
//! A module is validated whole before anything of it runs (function bodies in parallel), and translated function
//! by function, on first call. It is immutable and shared: every instance of it, on every thread, uses the same
//! bytes, bytecode and machine code.

pub(crate) mod canonical;
mod decode;
mod error;
mod groups;
mod names;
mod validate;

pub use error::ModuleError;

use crate::engine::Engine;
use crate::tiers::CodeStore;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use updraft_jit::env::ModuleEnv;
use wasmparser::{FuncType, GlobalType, MemoryType, RefType, TableType};

/// A validated WebAssembly module. Cheap to clone: clones share everything.
#[derive(Clone)]
pub struct Module {
    inner: Arc<ModuleInner>,
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module")
            .field("bytes", &self.bytes.len())
            .field("functions", &self.env.functions.len())
            .finish()
    }
}

impl std::ops::Deref for Module {
    type Target = ModuleInner;
    fn deref(&self) -> &ModuleInner {
        &self.inner
    }
}

/// What a [`Module`] shares. Only the crate itself sees inside.
pub struct ModuleInner {
    pub(crate) engine: Engine,
    pub(crate) bytes: ModuleBytes,
    pub(crate) env: ModuleEnv,
    pub(crate) imports: Vec<Import>,
    pub(crate) exports: Vec<Export>,
    pub(crate) export_index: HashMap<String, usize>,
    pub(crate) start: Option<u32>,
    pub(crate) global_inits: Vec<ConstOps>,
    pub(crate) table_inits: Vec<Option<ConstOps>>,
    pub(crate) elements: Vec<ElementSegment>,
    pub(crate) data: Vec<DataSegment>,
    pub(crate) name_section: Option<Range<usize>>,
    pub(crate) names: OnceLock<names::Names>,
    pub(crate) code: CodeStore,
}

/// Where a module's bytes live.
pub(crate) enum ModuleBytes {
    Owned(Box<[u8]>),
    Mapped(memmap2::Mmap),
}

impl std::ops::Deref for ModuleBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            ModuleBytes::Owned(bytes) => bytes,
            ModuleBytes::Mapped(map) => map,
        }
    }
}

/// An import: two names and what is wanted.
#[derive(Debug, Clone)]
pub struct Import {
    /// First name.
    pub module: String,
    /// Second name.
    pub name: String,
    /// Kind, and index in the index space of that kind.
    pub item: Item,
}

/// An export: its name and what it names.
#[derive(Debug, Clone)]
pub struct Export {
    /// Name.
    pub name: String,
    /// Kind, and index in the index space of that kind.
    pub item: Item,
}

/// Something in one of a module's index spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item {
    /// A function.
    Func(u32),
    /// A table.
    Table(u32),
    /// A memory.
    Memory(u32),
    /// A global.
    Global(u32),
    /// A tag of exceptions.
    Tag(u32),
}

impl Item {
    /// The kind, in the specification's words.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Item::Func(_) => "function",
            Item::Table(_) => "table",
            Item::Memory(_) => "memory",
            Item::Global(_) => "global",
            Item::Tag(_) => "tag",
        }
    }
}

/// The type of an import or an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternType {
    /// Of a function.
    Func(FuncType),
    /// Of a table.
    Table(TableType),
    /// Of a memory.
    Memory(MemoryType),
    /// Of a global.
    Global(GlobalType),
    /// Of a tag of exceptions.
    Tag(FuncType),
}

/// A constant expression, decoded.
pub(crate) type ConstOps = Box<[ConstOp]>;

/// One operator of a constant expression.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ConstOp {
    Value(u64),
    V128([u64; 2]),
    GlobalGet(u32),
    RefFunc(u32),
    I32Add,
    I32Sub,
    I32Mul,
    I64Add,
    I64Sub,
    I64Mul,
}

/// How a segment is applied.
#[derive(Debug)]
pub(crate) enum SegmentMode {
    Passive,
    Declared,
    Active { index: u32, offset: ConstOps },
}

/// An element segment.
#[derive(Debug)]
pub(crate) struct ElementSegment {
    pub mode: SegmentMode,
    pub items: ElementItems,
    #[expect(dead_code, reason = "kept for the API's reflection of segments")]
    pub ty: RefType,
}

/// Items of an element segment.
#[derive(Debug)]
pub(crate) enum ElementItems {
    Functions(Box<[u32]>),
    Expressions(Box<[ConstOps]>),
}

impl ElementItems {
    pub fn len(&self) -> usize {
        match self {
            ElementItems::Functions(items) => items.len(),
            ElementItems::Expressions(items) => items.len(),
        }
    }
}

/// A data segment.
#[derive(Debug)]
pub(crate) struct DataSegment {
    pub mode: SegmentMode,
    /// Its bytes within the module.
    pub range: Range<usize>,
}

impl Module {
    /// Decodes and validates a module in the binary format, or in the text format if it does not begin with the
    /// binary format's magic number.
    ///
    /// # Errors
    /// If the module is malformed, invalid, or uses a proposal that is not supported: the error names the byte
    /// offset and the cause.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module, ModuleError> {
        let bytes = bytes.as_ref();
        let owned = match text_to_binary(bytes, None)? {
            Cow::Borrowed(bytes) => bytes.into(),
            Cow::Owned(bytes) => bytes.into_boxed_slice(),
        };
        Self::from_bytes(engine, ModuleBytes::Owned(owned))
    }

    /// Reads a module from a file; a binary module is mapped, not copied.
    ///
    /// # Errors
    /// If the file cannot be read, and as [`Module::new`].
    pub fn from_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module, ModuleError> {
        let path = path.as_ref();
        let io = |source| ModuleError::Io { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if meta.is_dir() {
            return Err(io(std::io::Error::from_raw_os_error(libc::EISDIR)));
        }
        if !meta.is_file() || meta.len() == 0 {
            return Self::new(engine, std::fs::read(path).map_err(io)?);
        }
        // SAFETY: the mapping is private and only read. If somebody truncates the file while it is mapped, reads
        // fault, as for any mapped program; the file of a running program must be left alone.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        if map.starts_with(b"\0asm") {
            Self::from_bytes(engine, ModuleBytes::Mapped(map))
        } else {
            let bytes = text_to_binary(&map, Some(path))?;
            Self::from_bytes(engine, ModuleBytes::Owned(bytes.into()))
        }
    }

    fn from_bytes(engine: &Engine, bytes: ModuleBytes) -> Result<Module, ModuleError> {
        let decoded = decode::decode(&bytes, engine.config().features.flags())?;
        let export_index =
            decoded.exports.iter().enumerate().map(|(i, e)| (e.name.clone(), i)).collect();
        let code = CodeStore::new(engine, &decoded.env);
        Ok(Module {
            inner: Arc::new(ModuleInner {
                engine: engine.clone(),
                bytes,
                imports: decoded.imports,
                exports: decoded.exports,
                export_index,
                start: decoded.start,
                global_inits: decoded.global_inits,
                table_inits: decoded.table_inits,
                elements: decoded.elements,
                data: decoded.data,
                name_section: decoded.name_section,
                names: OnceLock::new(),
                code,
                env: decoded.env,
            }),
        })
    }

    /// The imports, in order.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// The exports, in order.
    #[must_use]
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// The export of this name.
    #[must_use]
    pub fn export(&self, name: &str) -> Option<Item> {
        self.export_index.get(name).map(|&i| self.exports[i].item)
    }

    /// Its bytes, in the binary format.
    #[must_use]
    pub fn binary(&self) -> &[u8] {
        &self.bytes
    }

    /// The type of something in one of its index spaces.
    ///
    /// # Panics
    /// If there is no such item.
    #[must_use]
    pub fn type_of(&self, item: Item) -> ExternType {
        let env = &self.env;
        match item {
            Item::Func(index) => ExternType::Func(env.function_type(index).clone()),
            Item::Table(index) => ExternType::Table(env.tables[index as usize]),
            Item::Memory(index) => ExternType::Memory(env.memories[index as usize]),
            Item::Global(index) => ExternType::Global(env.globals[index as usize]),
            Item::Tag(index) => ExternType::Tag(env.tag_type(index).clone()),
        }
    }

    /// Whether two values are the same module, and not only equal ones.
    #[must_use]
    pub fn same(&self, other: &Module) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl ModuleInner {
    /// A name for a function: from the name section, else its export, else its import, else its index.
    #[must_use]
    pub fn function_name(&self, func: u32) -> Cow<'_, str> {
        let names = self.names.get_or_init(|| {
            names::Names::read(self.name_section.clone().map_or(&[], |range| &self.bytes[range]))
        });
        if let Some(name) = names.function(func) {
            return name.into();
        }
        if let Some(export) = self.exports.iter().find(|e| e.item == Item::Func(func)) {
            return (&*export.name).into();
        }
        match self.imports.iter().find(|i| i.item == Item::Func(func)) {
            Some(import) => format!("{}.{}", import.module, import.name).into(),
            None => format!("func[{func}]").into(),
        }
    }

    /// The type of a function.
    #[must_use]
    pub fn function_type(&self, func: u32) -> &wasmparser::FuncType {
        self.env.function_type(func)
    }
}

/// Translates the text format; binary modules pass through. The text of a file gets DWARF, so that backtraces can tell its
/// lines.
fn text_to_binary<'a>(bytes: &'a [u8], path: Option<&Path>) -> Result<Cow<'a, [u8]>, ModuleError> {
    if bytes.starts_with(b"\0") || bytes.is_empty() {
        return Ok(Cow::Borrowed(bytes));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(Cow::Borrowed(bytes)); // The decoder names what is wrong with it.
    };
    let mut parser = wat::Parser::new();
    if path.is_some() {
        parser.generate_dwarf(wat::GenerateDwarf::Lines);
    }
    let buffer = parser.parse_str(path, text).map_err(|e| ModuleError::Text(e.to_string()))?;
    Ok(Cow::Owned(buffer))
}
