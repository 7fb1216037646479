//! Recursion groups of several function types, without the rest of the GC proposal that they come from.
//!
//! The validator knows them only with the whole of it. So a module that has any is validated so, and what else the proposal has is
//! refused here by name: subtypes, structures and arrays, references to them, and the instructions.

use super::ModuleError;
use super::canonical::is_supported;
use wasmparser::{
    BlockType, CompositeInnerType, FuncType, FunctionBody, HeapType, Operator, Parser, Payload,
    RefType, SubType, ValType, WasmFeatures,
};

/// The features to validate a module with, and whether it has recursion groups. They go with typed function references.
pub(super) fn features(bytes: &[u8], features: WasmFeatures) -> (WasmFeatures, bool) {
    let grouped = features.contains(WasmFeatures::FUNCTION_REFERENCES)
        && !features.contains(WasmFeatures::GC)
        && has_groups(bytes);
    if grouped { (features | WasmFeatures::GC, true) } else { (features, false) }
}

fn has_groups(bytes: &[u8]) -> bool {
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::Version { .. } | Payload::CustomSection(_)) => {}
            Ok(Payload::TypeSection(types)) => {
                return types
                    .into_iter()
                    .any(|group| group.is_ok_and(|group| group.is_explicit_rec_group()));
            }
            _ => return false,
        }
    }
    false
}

fn unsupported(what: &str, offset: u64) -> ModuleError {
    ModuleError::Unsupported { what: format!("{what} (the gc proposal)"), offset }
}

/// A reference type's heap type, as something that is not supported.
pub(super) fn heap_type(heap: HeapType) -> String {
    let name = RefType::new(true, heap).map_or_else(|| format!("{heap:?}"), |ty| ty.to_string());
    format!("the type {name} (the gc proposal)")
}

/// The function type that a member of a group is.
pub(super) fn function(ty: SubType, offset: u64) -> Result<FuncType, ModuleError> {
    if !ty.is_final || !ty.supertype_idxs.is_empty() {
        return Err(unsupported("a subtype", offset));
    }
    match ty.composite_type.inner {
        CompositeInnerType::Func(func) => Ok(func),
        CompositeInnerType::Struct(_) => Err(unsupported("a structure type", offset)),
        CompositeInnerType::Array(_) => Err(unsupported("an array type", offset)),
        CompositeInnerType::Cont(_) => Err(unsupported("a continuation type", offset)),
    }
}

/// Refuses a body that uses anything of the proposal.
pub(super) fn check_body(body: &FunctionBody<'_>) -> Result<(), ModuleError> {
    for local in body.get_locals_reader()? {
        check_type(local?.1, body.range().start)?;
    }
    for operator in body.get_operators_reader()?.into_iter_with_offsets() {
        let (operator, offset) = operator?;
        check_operator(&operator, offset)?;
    }
    Ok(())
}

fn check_type(ty: ValType, offset: u64) -> Result<(), ModuleError> {
    match ty {
        ValType::Ref(ty) => check_heap_type(ty.heap_type(), offset),
        _ => Ok(()),
    }
}

fn check_heap_type(heap: HeapType, offset: u64) -> Result<(), ModuleError> {
    if is_supported(heap) {
        return Ok(());
    }
    Err(ModuleError::Unsupported { what: heap_type(heap), offset })
}

/// Tells the proposal of an operator, by its name in wasmparser's table.
macro_rules! proposal {
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        fn proposal(operator: &Operator<'_>) -> &'static str {
            match operator {
                $(Operator::$op { .. } => stringify!($proposal),)*
                _ => "",
            }
        }
    };
}
wasmparser::for_each_operator!(proposal);

fn check_operator(operator: &Operator<'_>, offset: u64) -> Result<(), ModuleError> {
    match operator {
        Operator::RefNull { hty } => check_heap_type(*hty, offset),
        Operator::Block { blockty: BlockType::Type(ty) }
        | Operator::Loop { blockty: BlockType::Type(ty) }
        | Operator::If { blockty: BlockType::Type(ty) }
        | Operator::TypedSelect { ty } => check_type(*ty, offset),
        Operator::TryTable { try_table } => match try_table.ty {
            BlockType::Type(ty) => check_type(ty, offset),
            _ => Ok(()),
        },
        Operator::TypedSelectMulti { tys } => tys.iter().try_for_each(|ty| check_type(*ty, offset)),
        operator if proposal(operator) == "gc" => {
            Err(unsupported(&format!("{operator:?}"), offset))
        }
        _ => Ok(()),
    }
}
