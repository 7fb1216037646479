//! References that outlive or leave their instance: functions and host values at stable addresses, owned by a store.

use super::InstanceData;
use crate::func::HostFunc;
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use updraft_jit::abi::Ref;
use wasmparser::FuncType;

/// A function as a value: what a reference of the absolute form points to (see [`Ref`]).
#[repr(align(8))]
pub(crate) struct FuncBox {
    pub ty: FuncType,
    /// What it has besides: see [`ModuleEnv::identities`](updraft_jit::env::ModuleEnv::identities).
    pub identity: u32,
    pub target: FuncTarget,
}

/// What a function value calls.
#[derive(Clone)]
pub(crate) enum FuncTarget {
    /// A function of an instance of the same store.
    Wasm { instance: *const InstanceData, func: u32 },
    /// A function of the host.
    Host(Arc<HostFunc>),
}

/// A host value in an `externref`.
#[repr(align(8))]
pub(crate) struct ExternBox(pub Arc<dyn Any + Send + Sync>);

/// The references of one store. Addresses stay valid until the store is dropped.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "references hold the addresses")]
pub(crate) struct RefArena {
    functions: HashMap<(usize, u32), Box<FuncBox>>,
    host_functions: Vec<Box<FuncBox>>,
    externs: Vec<Box<ExternBox>>,
}

impl RefArena {
    /// Forgets what came after the instances: all but their functions.
    pub fn renew(&mut self) {
        self.host_functions.clear();
        self.externs.clear();
    }

    /// The one reference to function `func` of `instance`.
    pub fn function(&mut self, instance: &InstanceData, func: u32) -> &FuncBox {
        self.functions.entry((std::ptr::from_ref(instance) as usize, func)).or_insert_with(|| {
            let module = &instance.module;
            let target = match instance.imported_function(func) {
                Some(target) => target.clone(),
                None => FuncTarget::Wasm { instance, func },
            };
            let ty = module.env.function_type(func).clone();
            let identity = module.env.identity(module.env.functions[func as usize]);
            Box::new(FuncBox { ty, identity, target })
        })
    }

    /// A reference to a host function.
    pub fn host_function(&mut self, func: Arc<HostFunc>) -> &FuncBox {
        let ty = func.ty.clone();
        self.host_functions.push(Box::new(FuncBox {
            ty,
            identity: 0,
            target: FuncTarget::Host(func),
        }));
        self.host_functions.last().expect("just pushed")
    }

    /// A reference to a host value. It lives as long as the store.
    pub fn external(&mut self, value: Arc<dyn Any + Send + Sync>) -> Ref {
        // The same value gives the same reference.
        if let Some(old) = self.externs.iter().find(|e| Arc::ptr_eq(&e.0, &value)) {
            return Ref(std::ptr::from_ref::<ExternBox>(old) as u64);
        }
        self.externs.push(Box::new(ExternBox(value)));
        Ref(std::ptr::from_ref::<ExternBox>(self.externs.last().expect("just pushed")) as u64)
    }
}

/// The function that an absolute, non-null function reference points to.
///
/// # Safety
/// `r` must be such a reference of a store that is alive.
pub(crate) unsafe fn function_of<'a>(r: Ref) -> &'a FuncBox {
    debug_assert!(r != Ref::NULL && r.as_local().is_none());
    // SAFETY: by contract `r` was made from a `FuncBox` of a living store's arena.
    unsafe { &*(r.0 as *const FuncBox) }
}
