//! Types of values and of externs, imports and exports.

use crate::vec::{Duplicate, Vector, vector, wasm_byte_vec_t};
use crate::{delete, give, guard};
use engine::{FuncType, GlobalType, MemoryType, RefType, TableType, ValType};
use std::ptr;

/// Kinds of values, as in the headers.
pub const I32: u8 = 0;
pub const I64: u8 = 1;
pub const F32: u8 = 2;
pub const F64: u8 = 3;
pub const V128: u8 = 4;
pub const EXTERNREF: u8 = 128;
pub const FUNCREF: u8 = 129;
pub const EXNREF: u8 = 130;

/// Kinds of externs.
pub const FUNC: u8 = 0;
pub const GLOBAL: u8 = 1;
pub const TABLE: u8 = 2;
pub const MEMORY: u8 = 3;
pub const TAG: u8 = 4;

/// What a limit without a maximum has.
const NO_MAX: u32 = u32::MAX;

pub struct wasm_valtype_t {
    pub kind: u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct wasm_limits_t {
    pub min: u32,
    pub max: u32,
}

/// The type of a function, global, table or memory: all of C's types for them.
pub enum ExternType {
    Func { params: wasm_valtype_vec_t, results: wasm_valtype_vec_t },
    Global { content: wasm_valtype_t, mutability: u8 },
    Table { element: wasm_valtype_t, limits: wasm_limits_t },
    Memory { limits: wasm_limits_t, shared: bool },
    Tag,
}

impl Drop for ExternType {
    fn drop(&mut self) {
        if let ExternType::Func { params, results } = self {
            // SAFETY: the vectors are this type's own.
            unsafe {
                for ty in params.take().into_iter().chain(results.take()) {
                    delete(ty);
                }
            }
        }
    }
}

pub fn kind_of(ty: ValType) -> u8 {
    match ty {
        ValType::I32 => I32,
        ValType::I64 => I64,
        ValType::F32 => F32,
        ValType::F64 => F64,
        ValType::V128 => V128,
        ty if ty == ValType::EXTERNREF => EXTERNREF,
        ty if ty == ValType::EXNREF => EXNREF,
        ValType::Ref(_) => FUNCREF,
    }
}

pub fn valtype_of(kind: u8) -> Option<ValType> {
    Some(match kind {
        I32 => ValType::I32,
        I64 => ValType::I64,
        F32 => ValType::F32,
        F64 => ValType::F64,
        V128 => ValType::V128,
        EXTERNREF => ValType::EXTERNREF,
        FUNCREF => ValType::FUNCREF,
        EXNREF => ValType::EXNREF,
        _ => return None,
    })
}

fn cut(limit: u64) -> u32 {
    u32::try_from(limit).unwrap_or(NO_MAX)
}

fn limits(initial: u64, maximum: Option<u64>) -> wasm_limits_t {
    wasm_limits_t { min: cut(initial), max: maximum.map_or(NO_MAX, cut) }
}

impl ExternType {
    pub fn func(ty: &FuncType) -> ExternType {
        let list = |types: &[ValType]| -> wasm_valtype_vec_t {
            let types = types.iter().map(|ty| give(wasm_valtype_t { kind: kind_of(*ty) }));
            types.collect::<Vec<_>>().into()
        };
        ExternType::Func { params: list(ty.params()), results: list(ty.results()) }
    }

    pub fn global(ty: GlobalType) -> ExternType {
        let content = wasm_valtype_t { kind: kind_of(ty.content_type) };
        ExternType::Global { content, mutability: ty.mutable.into() }
    }

    pub fn table(ty: TableType) -> ExternType {
        let element = wasm_valtype_t { kind: kind_of(ty.element_type.into()) };
        ExternType::Table { element, limits: limits(ty.initial, ty.maximum) }
    }

    pub fn memory(ty: MemoryType) -> ExternType {
        ExternType::Memory { limits: limits(ty.initial, ty.maximum), shared: ty.shared }
    }

    pub fn of(ty: &engine::ExternType) -> ExternType {
        match ty {
            engine::ExternType::Func(ty) => ExternType::func(ty),
            engine::ExternType::Global(ty) => ExternType::global(*ty),
            engine::ExternType::Table(ty) => ExternType::table(*ty),
            engine::ExternType::Memory(ty) => ExternType::memory(*ty),
            engine::ExternType::Tag(_) => ExternType::Tag,
        }
    }

    pub fn kind(&self) -> u8 {
        match self {
            ExternType::Func { .. } => FUNC,
            ExternType::Global { .. } => GLOBAL,
            ExternType::Table { .. } => TABLE,
            ExternType::Memory { .. } => MEMORY,
            ExternType::Tag => TAG,
        }
    }

    /// As the engine has it; `None` if this is no function type, or has a type without a kind.
    pub fn to_func(&self) -> Option<FuncType> {
        let ExternType::Func { params, results } = self else { return None };
        let list = |types: &wasm_valtype_vec_t| -> Option<Vec<ValType>> {
            // SAFETY: the vectors are this type's own.
            unsafe { types.as_slice().iter().map(|ty| valtype_of(ty.as_ref()?.kind)).collect() }
        };
        Some(FuncType::new(list(params)?, list(results)?))
    }

    pub fn to_global(&self) -> Option<GlobalType> {
        let ExternType::Global { content, mutability } = self else { return None };
        let content_type = valtype_of(content.kind)?;
        Some(GlobalType { content_type, mutable: *mutability != 0, shared: false })
    }

    pub fn to_table(&self) -> Option<TableType> {
        let ExternType::Table { element, limits } = self else { return None };
        let element_type = match element.kind {
            FUNCREF => RefType::FUNCREF,
            EXTERNREF => RefType::EXTERNREF,
            _ => return None,
        };
        let maximum = (limits.max != NO_MAX).then_some(limits.max.into());
        let initial = limits.min.into();
        Some(TableType { element_type, table64: false, initial, maximum, shared: false })
    }

    pub fn to_memory(&self) -> Option<MemoryType> {
        let ExternType::Memory { limits, shared } = self else { return None };
        let most = 1 << 16;
        if u64::from(limits.min) > most {
            return None;
        }
        let maximum = (limits.max != NO_MAX).then_some(limits.max.into());
        let (initial, shared) = (limits.min.into(), *shared);
        Some(MemoryType { memory64: false, shared, initial, maximum, page_size_log2: None })
    }
}

impl Duplicate for wasm_valtype_t {
    fn duplicate(&self) -> Self {
        wasm_valtype_t { kind: self.kind }
    }
}

impl Duplicate for ExternType {
    fn duplicate(&self) -> Self {
        match self {
            ExternType::Func { params, results } => {
                let copy = |types: &wasm_valtype_vec_t| -> wasm_valtype_vec_t {
                    // SAFETY: the vectors are this type's own.
                    let types = unsafe { types.as_slice() }.iter();
                    // SAFETY: as above.
                    let copies = types.map(|ty| unsafe { crate::vec::Element::copy(ty) });
                    copies.collect::<Vec<_>>().into()
                };
                ExternType::Func { params: copy(params), results: copy(results) }
            }
            ExternType::Global { content, mutability } => {
                ExternType::Global { content: content.duplicate(), mutability: *mutability }
            }
            ExternType::Table { element, limits } => {
                ExternType::Table { element: element.duplicate(), limits: *limits }
            }
            ExternType::Memory { limits, shared } => {
                ExternType::Memory { limits: *limits, shared: *shared }
            }
            ExternType::Tag => ExternType::Tag,
        }
    }
}

/// An import (with a module name) or an export: both of C's types.
pub struct NamedType {
    pub module: wasm_byte_vec_t,
    pub name: wasm_byte_vec_t,
    pub ty: Box<ExternType>,
}

impl Drop for NamedType {
    fn drop(&mut self) {
        // SAFETY: the vectors are this type's own.
        unsafe {
            self.module.take();
            self.name.take();
        }
    }
}

impl Duplicate for NamedType {
    fn duplicate(&self) -> Self {
        // SAFETY: the vectors are this type's own.
        let copy = |name: &wasm_byte_vec_t| wasm_byte_vec_t::bytes(unsafe { name.as_slice() });
        let ty = Box::new(self.ty.duplicate());
        NamedType { module: copy(&self.module), name: copy(&self.name), ty }
    }
}

/// Copy and delete of types.
macro_rules! owned {
    ($($ty:ty: $copy:ident $delete:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $copy(from: *const $ty) -> *mut $ty {
            // SAFETY: C's promise.
            guard(ptr::null_mut(), || unsafe { crate::vec::Element::copy(&from.cast_mut()) })
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $delete(own: *mut $ty) {
            // SAFETY: C's promise.
            unsafe { delete(own) };
        }
    )*};
}

owned! {
    wasm_valtype_t: wasm_valtype_copy wasm_valtype_delete;
    ExternType: wasm_functype_copy wasm_functype_delete;
    ExternType: wasm_globaltype_copy wasm_globaltype_delete;
    ExternType: wasm_tabletype_copy wasm_tabletype_delete;
    ExternType: wasm_memorytype_copy wasm_memorytype_delete;
    ExternType: wasm_externtype_copy wasm_externtype_delete;
    NamedType: wasm_importtype_copy wasm_importtype_delete;
    NamedType: wasm_exporttype_copy wasm_exporttype_delete;
}

vector! {
    wasm_valtype_vec_t of *mut wasm_valtype_t: wasm_valtype_vec_new_empty wasm_valtype_vec_new_uninitialized
        wasm_valtype_vec_new wasm_valtype_vec_copy wasm_valtype_vec_delete;
    wasm_functype_vec_t of *mut ExternType: wasm_functype_vec_new_empty wasm_functype_vec_new_uninitialized
        wasm_functype_vec_new wasm_functype_vec_copy wasm_functype_vec_delete;
    wasm_globaltype_vec_t of *mut ExternType: wasm_globaltype_vec_new_empty
        wasm_globaltype_vec_new_uninitialized wasm_globaltype_vec_new wasm_globaltype_vec_copy wasm_globaltype_vec_delete;
    wasm_tabletype_vec_t of *mut ExternType: wasm_tabletype_vec_new_empty wasm_tabletype_vec_new_uninitialized
        wasm_tabletype_vec_new wasm_tabletype_vec_copy wasm_tabletype_vec_delete;
    wasm_memorytype_vec_t of *mut ExternType: wasm_memorytype_vec_new_empty
        wasm_memorytype_vec_new_uninitialized wasm_memorytype_vec_new wasm_memorytype_vec_copy wasm_memorytype_vec_delete;
    wasm_externtype_vec_t of *mut ExternType: wasm_externtype_vec_new_empty
        wasm_externtype_vec_new_uninitialized wasm_externtype_vec_new wasm_externtype_vec_copy wasm_externtype_vec_delete;
    wasm_importtype_vec_t of *mut NamedType: wasm_importtype_vec_new_empty
        wasm_importtype_vec_new_uninitialized wasm_importtype_vec_new wasm_importtype_vec_copy wasm_importtype_vec_delete;
    wasm_exporttype_vec_t of *mut NamedType: wasm_exporttype_vec_new_empty
        wasm_exporttype_vec_new_uninitialized wasm_exporttype_vec_new wasm_exporttype_vec_copy wasm_exporttype_vec_delete;
}

#[unsafe(no_mangle)]
pub extern "C" fn wasm_valtype_new(kind: u8) -> *mut wasm_valtype_t {
    guard(ptr::null_mut(), || give(wasm_valtype_t { kind }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_valtype_kind(ty: *const wasm_valtype_t) -> u8 {
    // SAFETY: C's promise.
    unsafe { (*ty).kind }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_functype_new(
    params: *mut wasm_valtype_vec_t,
    results: *mut wasm_valtype_vec_t,
) -> *mut ExternType {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        let take = |types: *mut wasm_valtype_vec_t| {
            unsafe { types.as_mut() }.map_or(
                Vector::EMPTY,
                // SAFETY: C's promise: the vector is this library's.
                |types| unsafe { types.take() }.into(),
            )
        };
        give(ExternType::Func { params: take(params), results: take(results) })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_functype_params(ty: *const ExternType) -> *const wasm_valtype_vec_t {
    // SAFETY: C's promise.
    match unsafe { ty.as_ref() } {
        Some(ExternType::Func { params, .. }) => params,
        _ => ptr::null(),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_functype_results(ty: *const ExternType) -> *const wasm_valtype_vec_t {
    // SAFETY: C's promise.
    match unsafe { ty.as_ref() } {
        Some(ExternType::Func { results, .. }) => results,
        _ => ptr::null(),
    }
}

/// Takes an own value type.
unsafe fn take_valtype(ty: *mut wasm_valtype_t) -> Option<wasm_valtype_t> {
    // SAFETY: C's promise.
    (!ty.is_null()).then(|| *unsafe { Box::from_raw(ty) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_globaltype_new(
    content: *mut wasm_valtype_t,
    mutability: u8,
) -> *mut ExternType {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        let content = unsafe { take_valtype(content) };
        content.map_or(ptr::null_mut(), |content| give(ExternType::Global { content, mutability }))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_globaltype_content(ty: *const ExternType) -> *const wasm_valtype_t {
    // SAFETY: C's promise.
    match unsafe { ty.as_ref() } {
        Some(ExternType::Global { content, .. }) => content,
        _ => ptr::null(),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_globaltype_mutability(ty: *const ExternType) -> u8 {
    // SAFETY: C's promise.
    match unsafe { ty.as_ref() } {
        Some(ExternType::Global { mutability, .. }) => *mutability,
        _ => 0,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_tabletype_new(
    element: *mut wasm_valtype_t,
    limits: *const wasm_limits_t,
) -> *mut ExternType {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        match unsafe { (take_valtype(element), limits.as_ref()) } {
            (Some(element), Some(limits)) => give(ExternType::Table { element, limits: *limits }),
            _ => ptr::null_mut(),
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_tabletype_element(ty: *const ExternType) -> *const wasm_valtype_t {
    // SAFETY: C's promise.
    match unsafe { ty.as_ref() } {
        Some(ExternType::Table { element, .. }) => element,
        _ => ptr::null(),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_tabletype_limits(ty: *const ExternType) -> *const wasm_limits_t {
    // SAFETY: C's promise.
    match unsafe { ty.as_ref() } {
        Some(ExternType::Table { limits, .. }) => limits,
        _ => ptr::null(),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_memorytype_new(limits: *const wasm_limits_t) -> *mut ExternType {
    guard(ptr::null_mut(), || {
        // SAFETY: C's promise.
        let limits = unsafe { limits.as_ref() };
        limits.map_or(ptr::null_mut(), |limits| {
            give(ExternType::Memory { limits: *limits, shared: false })
        })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_memorytype_limits(ty: *const ExternType) -> *const wasm_limits_t {
    // SAFETY: C's promise.
    match unsafe { ty.as_ref() } {
        Some(ExternType::Memory { limits, .. }) => limits,
        _ => ptr::null(),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_externtype_kind(ty: *const ExternType) -> u8 {
    // SAFETY: C's promise.
    unsafe { (*ty).kind() }
}

/// Casts between an extern type and its kinds.
macro_rules! casts {
    ($($kind:ident: $up:ident $down:ident $up_const:ident $down_const:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $up(ty: *mut ExternType) -> *mut ExternType {
            ty
        }
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $down(ty: *mut ExternType) -> *mut ExternType {
            // SAFETY: C's promise.
            let fits = unsafe { ty.as_ref() }.is_some_and(|ty| ty.kind() == $kind);
            if fits { ty } else { ptr::null_mut() }
        }
        #[unsafe(no_mangle)]
        pub extern "C" fn $up_const(ty: *const ExternType) -> *const ExternType {
            ty
        }
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $down_const(ty: *const ExternType) -> *const ExternType {
            // SAFETY: C's promise.
            unsafe { $down(ty.cast_mut()) }
        }
    )*};
}

casts! {
    FUNC: wasm_functype_as_externtype wasm_externtype_as_functype
        wasm_functype_as_externtype_const wasm_externtype_as_functype_const;
    GLOBAL: wasm_globaltype_as_externtype wasm_externtype_as_globaltype
        wasm_globaltype_as_externtype_const wasm_externtype_as_globaltype_const;
    TABLE: wasm_tabletype_as_externtype wasm_externtype_as_tabletype
        wasm_tabletype_as_externtype_const wasm_externtype_as_tabletype_const;
    MEMORY: wasm_memorytype_as_externtype wasm_externtype_as_memorytype
        wasm_memorytype_as_externtype_const wasm_externtype_as_memorytype_const;
}

/// Takes an own name.
unsafe fn take_name(name: *mut wasm_byte_vec_t) -> wasm_byte_vec_t {
    // SAFETY: C's promise.
    unsafe { name.as_mut() }.map_or(Vector::EMPTY, |name| unsafe { name.take() }.into())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_importtype_new(
    module: *mut wasm_byte_vec_t,
    name: *mut wasm_byte_vec_t,
    ty: *mut ExternType,
) -> *mut NamedType {
    guard(ptr::null_mut(), || {
        if ty.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: C's promise.
        unsafe {
            let (module, name) = (take_name(module), take_name(name));
            give(NamedType { module, name, ty: Box::from_raw(ty) })
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_exporttype_new(
    name: *mut wasm_byte_vec_t,
    ty: *mut ExternType,
) -> *mut NamedType {
    // SAFETY: C's promise.
    unsafe { wasm_importtype_new(ptr::null_mut(), name, ty) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_importtype_module(ty: *const NamedType) -> *const wasm_byte_vec_t {
    // SAFETY: C's promise.
    unsafe { &raw const (*ty).module }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_importtype_name(ty: *const NamedType) -> *const wasm_byte_vec_t {
    // SAFETY: C's promise.
    unsafe { &raw const (*ty).name }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_importtype_type(ty: *const NamedType) -> *const ExternType {
    // SAFETY: C's promise.
    unsafe { &raw const *(*ty).ty }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_exporttype_name(ty: *const NamedType) -> *const wasm_byte_vec_t {
    // SAFETY: C's promise.
    unsafe { &raw const (*ty).name }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wasm_exporttype_type(ty: *const NamedType) -> *const ExternType {
    // SAFETY: C's promise.
    unsafe { &raw const *(*ty).ty }
}
