//! What a module declares, as every tier needs it to translate one function.

use std::ops::Range;
use wasmparser::{FuncType, GlobalType, MemoryType, TableType};

/// Declarations of a validated module. Index spaces hold imports first, as in the specification.
#[derive(Debug, Default)]
pub struct ModuleEnv {
    /// Function types by type index.
    pub types: Vec<FuncType>,
    /// Per type index, as far as needed: 0, or what tells a type of a recursion group of several from types of the same form
    /// elsewhere.
    pub identities: Vec<u32>,
    /// Per type index: the smallest index of an equal type.
    pub canonical_types: Vec<u32>,
    /// Per function: its type index.
    pub functions: Vec<u32>,
    /// How many functions are imported.
    pub imported_functions: u32,
    /// Tables.
    pub tables: Vec<TableType>,
    /// How many tables are imported.
    pub imported_tables: u32,
    /// Memories.
    pub memories: Vec<MemoryType>,
    /// How many memories are imported.
    pub imported_memories: u32,
    /// Per tag: its type index.
    pub tags: Vec<u32>,
    /// How many tags are imported.
    pub imported_tags: u32,
    /// Globals.
    pub globals: Vec<GlobalType>,
    /// How many globals are imported.
    pub imported_globals: u32,
    /// Per global: whether others see it (imported or exported).
    pub global_escapes: Vec<bool>,
    /// Whether some function makes tail calls.
    pub tail_calls: bool,
    /// Per defined function: the bytes of its body (locals and code) within the module.
    pub bodies: Vec<Range<usize>>,
}

impl ModuleEnv {
    /// What a type has besides its form: see [`ModuleEnv::identities`].
    #[must_use]
    pub fn identity(&self, type_index: u32) -> u32 {
        self.identities.get(type_index as usize).copied().unwrap_or(0)
    }

    /// Type of a function.
    #[must_use]
    pub fn function_type(&self, func: u32) -> &FuncType {
        &self.types[self.functions[func as usize] as usize]
    }

    /// Type of a tag.
    #[must_use]
    pub fn tag_type(&self, tag: u32) -> &FuncType {
        &self.types[self.tags[tag as usize] as usize]
    }

    /// Whether the function is imported.
    #[must_use]
    pub fn is_import(&self, func: u32) -> bool {
        func < self.imported_functions
    }

    /// Byte range of the body of a defined function within the module.
    ///
    /// # Panics
    /// If the function is imported.
    #[must_use]
    pub fn body(&self, func: u32) -> Range<usize> {
        self.bodies[(func - self.imported_functions) as usize].clone()
    }

    /// The reference that `ref.func` makes.
    #[must_use]
    pub fn func_ref(&self, func: u32) -> crate::abi::Ref {
        let ty = self.canonical_types[self.functions[func as usize] as usize];
        crate::abi::Ref::local(func, ty)
    }
}

/// Slots that a value of this type occupies.
#[must_use]
pub fn slots_of(ty: wasmparser::ValType) -> u32 {
    if ty == wasmparser::ValType::V128 { 2 } else { 1 }
}

/// Slots that these values occupy.
#[must_use]
pub fn slots(types: &[wasmparser::ValType]) -> u32 {
    types.iter().map(|ty| slots_of(*ty)).sum()
}
