//! Function types that are equal as values when they are equal as types, whatever module they come from.
//!
//! A type may refer to other types of its module by index. Each type that is referred to gets a number that is the same in
//! all modules of the process, and takes the index's place. Types of one recursion group refer to each other by their position in
//! it, as the specification's rolled-up recursive types do (core specification, "Type Definitions"). A type of a group of several is
//! another one than a type of the same form elsewhere: such types have an *identity* besides, a number that is the same in all
//! modules; that of all others is 0.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard};
use updraft_jit::env::ModuleEnv;
use wasmparser::{AbstractHeapType, FuncType, HeapType, RefType, UnpackedIndex, ValType};

/// All types that others refer to, and all recursion groups of several types.
#[derive(Default)]
struct Known {
    numbers: HashMap<(FuncType, u32), u32>,
    types: Vec<(FuncType, u32)>,
    /// The identity of each group's first type; the others follow.
    groups: HashMap<Vec<FuncType>, u32>,
    /// The identity given last.
    last_identity: u32,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().expect("no panics hold it")
}

fn number(ty: &FuncType, identity: u32) -> u32 {
    let mut known = known();
    let key = (ty.clone(), identity);
    if let Some(number) = known.numbers.get(&key) {
        return *number;
    }
    let number = known.types.len() as u32;
    known.types.push(key.clone());
    known.numbers.insert(key, number);
    number
}

/// Why a module's types cannot be used.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There are more types than a reference or an identity can name.
    TooMany,
    /// A reference to what only the GC proposal has.
    HeapType(HeapType),
}

/// The identity of the first type of a recursion group of several (canonical) types; those of the others follow.
pub(crate) fn group(types: Vec<FuncType>) -> Result<u32, Refused> {
    let mut known = known();
    if let Some(identity) = known.groups.get(&types) {
        return Ok(*identity);
    }
    let first = known.last_identity + 1;
    known.last_identity =
        known.last_identity.checked_add(types.len() as u32).ok_or(Refused::TooMany)?;
    known.groups.insert(types, first);
    Ok(first)
}

/// The reference type with a module's index replaced. The module's types so far are those of `env`; those that come behind are of the
/// group that is being read.
pub(crate) fn ref_type(env: &ModuleEnv, ty: RefType) -> Result<RefType, Refused> {
    let index = match ty.heap_type() {
        HeapType::Concrete(UnpackedIndex::Module(index)) => index,
        heap if is_supported(heap) => return Ok(ty),
        heap => return Err(Refused::HeapType(heap)),
    };
    let index = match env.types.get(index as usize) {
        Some(ty) => UnpackedIndex::Module(number(ty, env.identity(index))),
        None => UnpackedIndex::RecGroup(index - env.types.len() as u32),
    };
    RefType::new(ty.is_nullable(), HeapType::Concrete(index)).ok_or(Refused::TooMany)
}

/// Whether there are references to such things without the GC proposal.
pub(crate) fn is_supported(heap: HeapType) -> bool {
    use AbstractHeapType::{Exn, Extern, Func, NoExn};
    match heap {
        HeapType::Concrete(_) => true,
        HeapType::Abstract { shared: false, ty: Func | Extern | Exn | NoExn } => true,
        HeapType::Abstract { .. } | HeapType::Exact(_) => false,
    }
}

/// The same for any value type.
pub(crate) fn val_type(env: &ModuleEnv, ty: ValType) -> Result<ValType, Refused> {
    match ty {
        ValType::Ref(ty) => ref_type(env, ty).map(ValType::Ref),
        other => Ok(other),
    }
}

/// The same for a function type of the group that comes next.
pub(crate) fn func_type(env: &ModuleEnv, ty: FuncType) -> Result<FuncType, Refused> {
    if !ty.params().iter().chain(ty.results()).any(ValType::is_reference_type) {
        return Ok(ty);
    }
    let list =
        |list: &[ValType]| list.iter().map(|ty| val_type(env, *ty)).collect::<Result<Vec<_>, _>>();
    Ok(FuncType::new(list(ty.params())?, list(ty.results())?))
}

/// Whether a function of this type and identity may be where a (canonical) reference type is wanted.
pub(crate) fn is_function_of(func: &FuncType, identity: u32, wanted: RefType) -> bool {
    match wanted.heap_type() {
        HeapType::Concrete(UnpackedIndex::Module(number)) => {
            let known = known();
            let wanted = known.types.get(number as usize);
            wanted.is_some_and(|(ty, other)| ty == func && *other == identity)
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

    /// Each type is a group.
    fn declared(types: Vec<FuncType>) -> ModuleEnv {
        types.into_iter().fold(ModuleEnv::default(), |mut env, ty| {
            let ty = func_type(&env, ty).unwrap();
            env.types.push(ty);
            env
        })
    }

    fn canonical(types: Vec<FuncType>) -> Vec<FuncType> {
        declared(types).types
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
        let env = declared(vec![FuncType::new([ValType::I32], [])]);
        let ty = |nullable| val_type(&env, reference(nullable, 0)).unwrap();
        assert!(matches(ty(false), ValType::FUNCREF));
        assert!(matches(ty(false), ty(true)));
        assert!(!matches(ty(true), ty(false)));
        assert!(!matches(ValType::FUNCREF, ty(true)));
        assert!(!matches(ty(true), ValType::EXTERNREF));
        let ValType::Ref(wanted) = ty(false) else { unreachable!("it is a reference") };
        assert!(is_function_of(&env.types[0], 0, wanted));
        assert!(!is_function_of(&env.types[0], 1, wanted));
        assert!(!is_function_of(&FuncType::new([], []), 0, wanted));
    }

    #[test]
    fn groups_are_equal_as_wholes() {
        let empty = || FuncType::new([], []);
        let int = || FuncType::new([ValType::I32], []);
        let two = group(vec![empty(), int()]).unwrap();
        assert_eq!(group(vec![empty(), int()]).unwrap(), two);
        let others = [vec![int(), empty()], vec![empty(), int(), int()], vec![empty(), empty()]];
        for other in others {
            let length = other.len() as u32;
            let other = group(other).unwrap();
            assert!(other > two + 1 || other + length <= two);
        }
    }
}
