//! Values as the host sees them.

use crate::exception::ExnRef;
use crate::func::Func;
use crate::module::canonical;
use crate::store::StoreInner;
use crate::vm::refs::ExternBox;
use std::any::Any;
use std::sync::Arc;
use updraft_jit::abi::Ref;
use updraft_jit::env::slots_of;
use wasmparser::HeapType;
pub use wasmparser::{FuncType, GlobalType, MemoryType, RefType, TableType, ValType};

/// A WebAssembly value. Floats are their bits, so that a NaN's payload survives.
#[derive(Debug, Clone)]
pub enum Val {
    /// 32-bit integer.
    I32(i32),
    /// 64-bit integer.
    I64(i64),
    /// Bits of a 32-bit float.
    F32(u32),
    /// Bits of a 64-bit float.
    F64(u64),
    /// 128-bit vector.
    V128(u128),
    /// Reference to a function, or null.
    FuncRef(Option<Func>),
    /// Reference to a host value, or null.
    ExternRef(Option<ExternRef>),
    /// Reference to an exception, or null.
    ExnRef(Option<ExnRef>),
}

/// A host value that wasm code can hold but not look into. The store keeps it alive once it was passed in.
#[derive(Debug, Clone)]
pub struct ExternRef(Arc<dyn Any + Send + Sync>);

impl ExternRef {
    /// Wraps a value.
    pub fn new(value: impl Any + Send + Sync) -> ExternRef {
        ExternRef(Arc::new(value))
    }

    /// The value.
    #[must_use]
    pub fn data(&self) -> &(dyn Any + Send + Sync) {
        &*self.0
    }
}

impl Val {
    /// Its type.
    #[must_use]
    pub fn ty(&self) -> ValType {
        match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(_) => ValType::FUNCREF,
            Val::ExternRef(_) => ValType::EXTERNREF,
            Val::ExnRef(_) => ValType::EXNREF,
        }
    }

    /// Whether it may be where a value of this type is wanted.
    pub(crate) fn fits(&self, ty: ValType, store: &StoreInner) -> bool {
        let ValType::Ref(wanted) = ty else { return self.ty() == ty };
        match self {
            Val::FuncRef(None) => wanted.is_nullable() && is_function(wanted),
            Val::FuncRef(Some(func)) => {
                canonical::is_function_of(&func.ty_inner(store), func.identity(store), wanted)
            }
            Val::ExternRef(None) => wanted.is_nullable() && is_extern(wanted),
            Val::ExternRef(Some(_)) => is_extern(wanted),
            Val::ExnRef(None) => wanted.is_nullable() && is_exception(wanted),
            Val::ExnRef(Some(_)) => is_exception(wanted),
            _ => false,
        }
    }

    /// The zero value of a type, or null.
    #[must_use]
    pub fn zero(ty: ValType) -> Val {
        match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(0),
            ValType::Ref(ty) if is_extern(ty) => Val::ExternRef(None),
            ValType::Ref(ty) if is_exception(ty) => Val::ExnRef(None),
            ValType::Ref(_) => Val::FuncRef(None),
        }
    }

    /// Its two slots; the second only counts for vectors.
    pub(crate) fn to_slots(&self, store: &mut StoreInner) -> [u64; 2] {
        match self {
            Val::I32(v) => [u64::from(*v as u32), 0],
            Val::I64(v) => [*v as u64, 0],
            Val::F32(v) => [u64::from(*v), 0],
            Val::F64(v) => [*v, 0],
            Val::V128(v) => [*v as u64, (*v >> 64) as u64],
            Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None) => [0, 0],
            Val::FuncRef(Some(func)) => [func.to_ref(store).0, 0],
            Val::ExnRef(Some(exception)) => [exception.to_ref(store), 0],
            Val::ExternRef(Some(value)) => [store.refs.external(value.0.clone()).0, 0],
        }
    }

    /// # Safety
    /// The slots hold a value of this type; references are of the absolute form and of this store.
    pub(crate) unsafe fn from_slots(ty: ValType, slots: [u64; 2], store: &StoreInner) -> Val {
        match ty {
            ValType::I32 => Val::I32(slots[0] as i32),
            ValType::I64 => Val::I64(slots[0] as i64),
            ValType::F32 => Val::F32(slots[0] as u32),
            ValType::F64 => Val::F64(slots[0]),
            ValType::V128 => Val::V128(u128::from(slots[0]) | u128::from(slots[1]) << 64),
            ValType::Ref(ty) if is_extern(ty) => Val::ExternRef((slots[0] != 0).then(|| {
                // SAFETY: a non-null externref points to a box of the store's arena.
                ExternRef(unsafe { &*(slots[0] as *const ExternBox) }.0.clone())
            })),
            ValType::Ref(ty) if is_exception(ty) => {
                Val::ExnRef((slots[0] != 0).then(|| ExnRef(store.exceptions.get(slots[0]))))
            }
            // SAFETY: by contract.
            ValType::Ref(_) => Val::FuncRef(unsafe { Func::from_ref(Ref(slots[0]), store) }),
        }
    }
}

fn is_extern(ty: RefType) -> bool {
    ty.heap_type() == HeapType::EXTERN
}

fn is_exception(ty: RefType) -> bool {
    ty.heap_type() == RefType::EXN.heap_type()
}

fn is_function(ty: RefType) -> bool {
    ty.heap_type() == HeapType::FUNC || ty.is_concrete_type_ref()
}

mod sealed {
    pub trait Sealed {}
}

/// Rust types that are WebAssembly value types; a `u128` is a vector.
pub trait WasmTy: Copy + Send + Sync + sealed::Sealed + 'static {
    /// The type.
    const TYPE: ValType;
    /// To slots; the second only counts for vectors.
    #[doc(hidden)]
    fn to_slots(self) -> [u64; 2];
    /// From slots.
    #[doc(hidden)]
    fn from_slots(slots: [u64; 2]) -> Self;
}

macro_rules! wasm_ty {
    ($($rust:ty, $wasm:ident, $v:ident => $to:expr, $s:ident => $from:expr;)*) => {$(
        impl sealed::Sealed for $rust {}
        impl WasmTy for $rust {
            const TYPE: ValType = ValType::$wasm;
            fn to_slots(self) -> [u64; 2] { let $v = self; [$to, 0] }
            fn from_slots([$s, _]: [u64; 2]) -> Self { $from }
        }
    )*};
}

wasm_ty! {
    i32, I32, v => u64::from(v as u32), s => s as i32;
    u32, I32, v => u64::from(v), s => s as u32;
    i64, I64, v => v as u64, s => s as i64;
    u64, I64, v => v, s => s;
    f32, F32, v => u64::from(v.to_bits()), s => f32::from_bits(s as u32);
    f64, F64, v => v.to_bits(), s => f64::from_bits(s);
}

impl sealed::Sealed for u128 {}
impl WasmTy for u128 {
    const TYPE: ValType = ValType::V128;
    fn to_slots(self) -> [u64; 2] {
        [self as u64, (self >> 64) as u64]
    }
    fn from_slots([low, high]: [u64; 2]) -> Self {
        u128::from(low) | u128::from(high) << 64
    }
}

/// Writes a value to the slots from `at` on, which then is behind it.
#[inline]
fn write<T: WasmTy>(value: T, slots: &mut [u64], at: &mut usize) {
    let [low, high] = value.to_slots();
    slots[*at] = low;
    if slots_of(T::TYPE) == 2 {
        slots[*at + 1] = high;
    }
    *at += slots_of(T::TYPE) as usize;
}

/// Reads a value from the slots from `at` on, which then is behind it.
#[inline]
fn read<T: WasmTy>(slots: &[u64], at: &mut usize) -> T {
    let high = if slots_of(T::TYPE) == 2 { slots[*at + 1] } else { 0 };
    let value = T::from_slots([slots[*at], high]);
    *at += slots_of(T::TYPE) as usize;
    value
}

/// Parameter or result lists: `()`, one [`WasmTy`], or a tuple of up to eight.
pub trait WasmTys: sealed::Sealed + Sized + Send + 'static {
    /// The types.
    #[doc(hidden)]
    fn types() -> Vec<ValType>;
    /// Into slots.
    #[doc(hidden)]
    fn store(self, slots: &mut [u64]);
    /// From slots.
    #[doc(hidden)]
    fn load(slots: &[u64]) -> Self;
}

impl<T: WasmTy> WasmTys for T {
    fn types() -> Vec<ValType> {
        vec![T::TYPE]
    }
    fn store(self, slots: &mut [u64]) {
        write(self, slots, &mut 0);
    }
    fn load(slots: &[u64]) -> Self {
        read(slots, &mut 0)
    }
}

macro_rules! tuples {
    ($(($($t:ident $i:tt),*);)*) => {$(
        impl<$($t: WasmTy),*> sealed::Sealed for ($($t,)*) {}
        impl<$($t: WasmTy),*> WasmTys for ($($t,)*) {
            fn types() -> Vec<ValType> { vec![$($t::TYPE),*] }
            #[allow(unused_variables, unused_mut)]
            fn store(self, slots: &mut [u64]) {
                let mut at = 0;
                $(write(self.$i, slots, &mut at);)*
            }
            #[allow(unused_variables, unused_mut, clippy::unused_unit)]
            fn load(slots: &[u64]) -> Self {
                let mut at = 0;
                ($(read::<$t>(slots, &mut at),)*)
            }
        }
    )*};
}

tuples! {
    ();
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
    (A 0, B 1, C 2, D 3, E 4);
    (A 0, B 1, C 2, D 3, E 4, F 5);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6);
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
}
