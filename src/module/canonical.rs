//! Function types that are equal as values when they are equal as types, whatever module they come from.
//!
//! A type may refer to other types of its module by index. Each type that is referred to gets a number that is the same in
//! all modules of the process, and takes the index's place. A type that refers to itself does so relative to itself, as the
//! specification's rolled-up recursive types do (core specification, "Type Definitions"); larger recursive groups belong to
//! the GC proposal.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use wasmparser::{FuncType, HeapType, RefType, UnpackedIndex, ValType};

/// All types that others refer to.
#[derive(Default)]
struct Known {
    numbers: HashMap<FuncType, u32>,
    types: Vec<FuncType>,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

fn number(ty: &FuncType) -> u32 {
    let mut known = KNOWN.lock().expect("no panics hold it");
    if let Some(number) = known.numbers.get(ty) {
        return *number;
    }
    let number = known.types.len() as u32;
    known.numbers.insert(ty.clone(), number);
    known.types.push(ty.clone());
    number
}

/// There are more types than a reference can name.
#[derive(Debug)]
pub(crate) struct TooMany;

/// The reference type with a module's index replaced. `types` are those of the module, so far.
pub(crate) fn ref_type(types: &[FuncType], ty: RefType) -> Result<RefType, TooMany> {
    let HeapType::Concrete(UnpackedIndex::Module(index)) = ty.heap_type() else { return Ok(ty) };
    let index = match types.get(index as usize) {
        Some(ty) => UnpackedIndex::Module(number(ty)),
        None => UnpackedIndex::RecGroup(0),
    };
    RefType::new(ty.is_nullable(), HeapType::Concrete(index)).ok_or(TooMany)
}

/// The same for any value type.
pub(crate) fn val_type(types: &[FuncType], ty: ValType) -> Result<ValType, TooMany> {
    match ty {
        ValType::Ref(ty) => ref_type(types, ty).map(ValType::Ref),
        other => Ok(other),
    }
}

/// The same for the function type that comes after `types`.
pub(crate) fn func_type(types: &[FuncType], ty: FuncType) -> Result<FuncType, TooMany> {
    if !ty.params().iter().chain(ty.results()).any(ValType::is_reference_type) {
        return Ok(ty);
    }
    let list = |list: &[ValType]| {
        list.iter().map(|ty| val_type(types, *ty)).collect::<Result<Vec<_>, _>>()
    };
    Ok(FuncType::new(list(ty.params())?, list(ty.results())?))
}

/// Whether a function of this type may be where a (canonical) reference type is wanted.
pub(crate) fn is_function_of(func: &FuncType, wanted: RefType) -> bool {
    match wanted.heap_type() {
        HeapType::Concrete(UnpackedIndex::Module(number)) => {
            let known = KNOWN.lock().expect("no panics hold it");
            known.types.get(number as usize) == Some(func)
        }
        HeapType::Concrete(_) | HeapType::Exact(_) => false,
        heap => heap == HeapType::FUNC,
    }
}

/// Subtyping of (canonical) value types (core specification, "Matching").
pub(crate) fn matches(found: ValType, wanted: ValType) -> bool {
    match (found, wanted) {
        (ValType::Ref(found), ValType::Ref(wanted)) => {
            let heap = found.heap_type() == wanted.heap_type()
                || wanted.heap_type() == HeapType::FUNC && found.is_concrete_type_ref();
            heap && (wanted.is_nullable() || !found.is_nullable())
        }
        (found, wanted) => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(nullable: bool, index: u32) -> ValType {
        let heap = HeapType::Concrete(UnpackedIndex::Module(index));
        ValType::Ref(RefType::new(nullable, heap).unwrap())
    }

    fn canonical(types: Vec<FuncType>) -> Vec<FuncType> {
        types.into_iter().fold(Vec::new(), |mut done, ty| {
            let ty = func_type(&done, ty).unwrap();
            done.push(ty);
            done
        })
    }

    #[test]
    fn equal_types_of_two_modules_are_equal_values() {
        let inner = || FuncType::new([ValType::I32], [ValType::F64]);
        let first = canonical(vec![inner(), FuncType::new([reference(true, 0)], [])]);
        let second = canonical(vec![
            FuncType::new([ValType::F32], []),
            inner(),
            FuncType::new([reference(true, 1)], []),
            FuncType::new([reference(true, 0)], []),
        ]);
        assert_eq!(first[1], second[2]);
        assert_ne!(first[1], second[3]);
        let own = |before: u32| {
            let mut types = vec![inner(); before as usize];
            types.push(FuncType::new([reference(true, before)], []));
            canonical(types).pop().unwrap()
        };
        assert_eq!(own(0), own(3));
    }

    #[test]
    fn references_to_types_are_references_to_functions() {
        let types = canonical(vec![FuncType::new([ValType::I32], [])]);
        let ty = |nullable| val_type(&types, reference(nullable, 0)).unwrap();
        assert!(matches(ty(false), ValType::FUNCREF));
        assert!(matches(ty(false), ty(true)));
        assert!(!matches(ty(true), ty(false)));
        assert!(!matches(ValType::FUNCREF, ty(true)));
        assert!(!matches(ty(true), ValType::EXTERNREF));
        let ValType::Ref(wanted) = ty(false) else { unreachable!("it is a reference") };
        assert!(is_function_of(&types[0], wanted));
        assert!(!is_function_of(&FuncType::new([], []), wanted));
    }
}
