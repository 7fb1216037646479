//! The module `spectest`, which scripts import from.

use crate::engine::Engine;
use crate::error::Error;
use crate::linker::{Extern, Linker};
use crate::memory::{Global, Memory, Table};
use crate::store::Store;
use crate::val::{GlobalType, MemoryType, RefType, TableType, Val};

/// Defines it (reference interpreter, `host/spectest.ml`). What its functions print is of no interest.
pub(super) fn define(engine: &Engine, store: &mut Store, linker: &mut Linker) -> Result<(), Error> {
    linker.func("spectest", "print", |_, ()| Ok(()));
    linker.func("spectest", "print_i32", |_, _: i32| Ok(()));
    linker.func("spectest", "print_i64", |_, _: i64| Ok(()));
    linker.func("spectest", "print_f32", |_, _: f32| Ok(()));
    linker.func("spectest", "print_f64", |_, _: f64| Ok(()));
    linker.func("spectest", "print_i32_f32", |_, _: (i32, f32)| Ok(()));
    linker.func("spectest", "print_f64_f64", |_, _: (f64, f64)| Ok(()));
    for (name, value) in [
        ("global_i32", Val::I32(666)),
        ("global_i64", Val::I64(666)),
        ("global_f32", Val::F32(666.6f32.to_bits())),
        ("global_f64", Val::F64(666.6f64.to_bits())),
    ] {
        let ty = GlobalType { content_type: value.ty(), mutable: false, shared: false };
        linker.define("spectest", name, Extern::Global(Global::new(store, ty, &value)?));
    }
    let tables = if engine.config().features.contains("memory64") { 2 } else { 1 };
    for (name, table64) in [("table", false), ("table64", true)].into_iter().take(tables) {
        let ty = TableType {
            element_type: RefType::FUNCREF,
            table64,
            initial: 10,
            maximum: Some(20),
            shared: false,
        };
        let table = Table::new(store, ty, &Val::FuncRef(None))?;
        linker.define("spectest", name, Extern::Table(table));
    }
    for (name, shared) in [("memory", false), ("shared_memory", true)] {
        let (initial, maximum) = (1, Some(2));
        let ty = MemoryType { memory64: false, shared, initial, maximum, page_size_log2: None };
        linker.define("spectest", name, Extern::Memory(Memory::with_type(engine, ty)?));
    }
    Ok(())
}
