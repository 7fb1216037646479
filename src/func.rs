//! Functions: of the host, of wasm, and calls between them.

use crate::error::{Error, LinkError, Stopped};
use crate::memory::Memory;
use crate::module::Item;
use crate::store::{AsStore, Store, StoreInner};
use crate::threads::Group;
use crate::val::{FuncType, Val, WasmTys};
use crate::vm::refs::{FuncBox, FuncTarget, function_of};
use crate::vm::{InstanceData, LinearMemory, VmThread, hooks, sys};
use std::marker::PhantomData;
use std::sync::Arc;
use updraft_jit::abi::{Ref, ThreadState, activity};
use updraft_jit::env::{slots, slots_of};

type RawHost = dyn Fn(&mut Caller<'_>, &mut [u64]) -> Result<(), Error> + Send + Sync;

/// A function of the host, not bound to a store.
pub(crate) struct HostFunc {
    pub ty: FuncType,
    pub func: Box<RawHost>,
    /// Whether it is the embedder's, and touches the program only through what asks for that.
    pub outside: bool,
}

impl HostFunc {
    /// From a function on values.
    pub fn new(
        ty: FuncType,
        func: impl Fn(&mut Caller<'_>, &[Val]) -> Result<Vec<Val>, Error> + Send + Sync + 'static,
    ) -> HostFunc {
        let signature = ty.clone();
        let raw = move |caller: &mut Caller<'_>, values: &mut [u64]| {
            // SAFETY: the engine passes slots of the declared types, references made absolute.
            let params =
                unsafe { read_values(signature.params(), values.as_ptr(), caller.store_inner()) };
            let results = func(caller, &params)?;
            let types = signature.results();
            if results.len() != types.len()
                || results.iter().zip(types).any(|(v, ty)| !v.fits(*ty, caller.store_inner()))
            {
                return Err(Error::Call(format!(
                    "a host function of type {} returned other values: {results:?}",
                    type_text(&signature)
                )));
            }
            write_values(&results, values, caller.store_inner());
            Ok(())
        };
        HostFunc { ty, func: Box::new(raw), outside: true }
    }

    /// From a function on Rust types.
    pub fn wrap<P: WasmTys, R: WasmTys>(
        func: impl Fn(&mut Caller<'_>, P) -> Result<R, Error> + Send + Sync + 'static,
    ) -> HostFunc {
        let raw = move |caller: &mut Caller<'_>, values: &mut [u64]| {
            func(caller, P::load(values))?.store(values);
            Ok(())
        };
        HostFunc { ty: FuncType::new(P::types(), R::types()), func: Box::new(raw), outside: true }
    }

    /// Calls it. A panic becomes an error: its caller may be machine code, which nothing can unwind.
    pub fn call(&self, caller: &mut Caller<'_>, slots: &mut [u64]) -> Result<(), Error> {
        let call = || (self.func)(caller, slots);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_or_else(|panic| {
            let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
                (Some(text), _) => text,
                (_, Some(text)) => text.as_str(),
                _ => "without a message",
            };
            Err(Error::host(format!("a function of the host panicked: {text}")))
        })
    }
}

/// Reads values of these types from consecutive slots.
///
/// # Safety
/// The slots hold such values, references in the absolute form.
pub(crate) unsafe fn read_values(
    types: &[wasmparser::ValType],
    values: *const u64,
    store: &StoreInner,
) -> Vec<Val> {
    let mut at = 0;
    let read = |ty: &wasmparser::ValType| {
        // SAFETY: by contract.
        unsafe {
            let high = if slots_of(*ty) == 2 { *values.add(at + 1) } else { 0 };
            let val = Val::from_slots(*ty, [*values.add(at), high], store);
            at += slots_of(*ty) as usize;
            val
        }
    };
    types.iter().map(read).collect()
}

pub(crate) fn write_values(from: &[Val], to: &mut [u64], store: &mut StoreInner) {
    let mut at = 0;
    for val in from {
        let [low, high] = val.to_slots(store);
        to[at] = low;
        at += 1;
        if slots_of(val.ty()) == 2 {
            to[at] = high;
            at += 1;
        }
    }
}

/// A function's type in the text format's words.
pub(crate) fn type_text(ty: &FuncType) -> String {
    let list = |types: &[wasmparser::ValType]| {
        types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    format!("[{}] -> [{}]", list(ty.params()), list(ty.results()))
}

/// What a host function knows of the instance that calls it.
pub struct Caller<'a> {
    store: *mut StoreInner,
    /// None if the host itself calls its function.
    instance: Option<&'a InstanceData>,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(instance: &'a InstanceData) -> Caller<'a> {
        Caller { store: instance.store, instance: Some(instance) }
    }

    pub(crate) fn from_host(store: &'a mut StoreInner) -> Caller<'a> {
        Caller { store, instance: None }
    }

    /// The calling instance's memory 0.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        self.instance?.memories.first().map(|m| Memory::new(m.clone()))
    }

    pub(crate) fn instance(&self) -> Option<&'a InstanceData> {
        self.instance
    }

    pub(crate) fn linear_memory(&self) -> Option<&'a LinearMemory> {
        self.instance?.memories.first().map(|m| &**m)
    }

    /// The memory that the calling instance exports under this name.
    #[must_use]
    pub fn exported_memory(&self, name: &str) -> Option<Memory> {
        let instance = self.instance?;
        match instance.module.export(name)? {
            Item::Memory(index) => Some(Memory::new(instance.memories[index as usize].clone())),
            _ => None,
        }
    }

    /// The function that the calling instance exports under this name.
    #[must_use]
    pub fn exported_func(&mut self, name: &str) -> Option<Func> {
        let instance = self.instance?;
        match instance.module.export(name)? {
            Item::Func(index) => Some(self.store_inner().func(instance, index)),
            _ => None,
        }
    }

    /// The module of the calling instance; none if the host called.
    #[must_use]
    pub fn module(&self) -> Option<&crate::Module> {
        Some(&self.instance?.module)
    }

    /// Id of the wasm thread: 0 for the main thread.
    #[must_use]
    pub fn thread_id(&self) -> u32 {
        // SAFETY: the store outlives the call, and is held by this thread.
        unsafe { (*self.store).thread.id }
    }

    /// Whether the program is being stopped. A host function that takes long must look at this now and then, and return
    /// [`Error::Stopped`] once it is; one that blocks does so in [`Caller::blocking`].
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.thread().is_stopping()
    }

    /// Waits for the end of a pause, if one is on; whether the program is being stopped. For functions that touch the program's
    /// memory themselves, between two calls of the system.
    pub(crate) fn checkpoint(&self) -> bool {
        let thread = self.thread();
        sys::park(&thread.abi);
        thread.is_stopping()
    }

    /// Runs `body`, which blocks and does not write to the program's memory: a pause does not wait for it.
    pub(crate) fn outside<T>(&self, body: impl FnOnce() -> T) -> T {
        let thread = self.thread();
        sys::go_outside(&thread.abi);
        let result = body();
        sys::come_inside(&thread.abi);
        result
    }

    /// The same for a wait on other threads of the program, as profiles show it.
    pub(crate) fn waiting<T>(&self, body: impl FnOnce() -> T) -> T {
        let outer = self.thread().begin(activity::WAIT);
        let result = self.outside(body);
        self.thread().begin(outer);
        result
    }

    /// Why the program is being stopped.
    pub(crate) fn stopped(&self) -> Stopped {
        self.thread().stopped()
    }

    fn thread(&self) -> &VmThread {
        // SAFETY: as in `thread_id`.
        unsafe { &(*self.store).thread }
    }

    /// Runs `body`, which may block, in such a way that the end of the program ends it: a trap or exit of another thread, a
    /// deadline, or [`Terminator::terminate`](crate::Terminator::terminate). Without this, the program ends when the host function
    /// returns by itself.
    ///
    /// When the program is to end,
    /// * a system call that blocks fails with `EINTR`. Calls of the standard library that retry it by themselves go on; make
    ///   those that do not (`Read::read`, `libc::poll`), and leave when [`Blocking::is_stopping`] says so;
    /// * `wake` is called, from another thread, to end what is no system call: it notifies a condition variable, sends a
    ///   message, closes a connection. It is called again every millisecond until the thread has left the program, perhaps once more
    ///   when `body` is over, and must not block;
    /// * `body` may look at [`Blocking::is_stopping`].
    ///
    /// The signal is never lost, but it may come before the system call begins. So it is repeated, too.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the program is being stopped, before (`body` is not called) or after.
    ///
    /// ```
    /// # use updraft::{Engine, Linker};
    /// # use std::sync::{Arc, Condvar, Mutex};
    /// # let mut linker = Linker::new(&Engine::default());
    /// let mail = Arc::new((Mutex::new(Vec::<i32>::new()), Condvar::new()));
    /// linker.func("host", "receive", move |caller, ()| {
    ///     let waker = mail.clone();
    ///     let message = caller.blocking(
    ///         move || waker.1.notify_all(),
    ///         |blocking| {
    ///             let mut letters = mail.0.lock().unwrap();
    ///             while letters.is_empty() && !blocking.is_stopping() {
    ///                 letters = mail.1.wait(letters).unwrap();
    ///             }
    ///             letters.pop()
    ///         },
    ///     )?;
    ///     Ok(message.unwrap_or(0))
    /// });
    /// ```
    pub fn blocking<T>(
        &self,
        wake: impl Fn() + Send + Sync + 'static,
        body: impl FnOnce(&Blocking<'_>) -> T,
    ) -> Result<T, Error> {
        let thread = self.thread();
        let guard = thread.group.on_stop(thread.place, Arc::new(wake));
        // Asked after the waker is known: a stop that has not found it is seen here.
        let result = (!thread.is_stopping()).then(|| body(&Blocking { thread }));
        drop(guard);
        match result {
            Some(value) if !thread.is_stopping() => Ok(value),
            _ => Err(Error::Stopped(thread.stopped())),
        }
    }

    /// What the calling thread does, for functions that block by means of the engine.
    pub(crate) fn state(&self) -> &ThreadState {
        &self.thread().abi
    }

    /// Whether the calling thread must end: with its group, or alone. Stands still while the group is paused.
    pub(crate) fn must_stop(&self) -> bool {
        self.checkpoint()
    }

    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.thread().group
    }
}

impl AsStore for Caller<'_> {
    fn store_inner(&mut self) -> &mut StoreInner {
        // SAFETY: the store is held by the call from the host that this call happens in; that call does not touch it
        // until this one returns.
        unsafe { &mut *self.store }
    }
}

/// What a function that blocks may ask: see [`Caller::blocking`].
pub struct Blocking<'a> {
    thread: &'a VmThread,
}

impl std::fmt::Debug for Blocking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocking").field("is_stopping", &self.is_stopping()).finish()
    }
}

impl Blocking<'_> {
    /// Whether the program is being stopped, so that it is time to return.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.thread.is_stopping()
    }
}

/// A function of a store: wasm or host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Func {
    pub(crate) store: u64,
    target: *const FuncBox,
}

// SAFETY: the pointer is only followed with the store of this id at hand, which owns the target and is itself held
// by one thread at a time.
unsafe impl Send for Func {}
// SAFETY: as above; the handle itself has no state.
unsafe impl Sync for Func {}

impl Func {
    pub(crate) fn new(store: u64, target: &FuncBox) -> Func {
        Func { store, target }
    }

    /// A host function on values, of this type.
    pub fn from_values(
        store: &mut Store,
        ty: FuncType,
        func: impl Fn(&mut Caller<'_>, &[Val]) -> Result<Vec<Val>, Error> + Send + Sync + 'static,
    ) -> Func {
        store.store_inner().host_func(Arc::new(HostFunc::new(ty, func)))
    }

    fn target<'a>(&self, store: &'a StoreInner) -> &'a FuncBox {
        store.check(self.store);
        // SAFETY: the store of this id owns the target, and is alive.
        unsafe { &*self.target }
    }

    pub(crate) fn import_target(&self, store: &StoreInner) -> FuncTarget {
        self.target(store).target.clone()
    }

    pub(crate) fn to_ref(self, store: &StoreInner) -> Ref {
        Ref(std::ptr::from_ref(self.target(store)) as u64)
    }

    /// # Safety
    /// `r` is null or an absolute reference of this store.
    pub(crate) unsafe fn from_ref(r: Ref, store: &StoreInner) -> Option<Func> {
        // SAFETY: by contract.
        (r != Ref::NULL).then(|| Func::new(store.id, unsafe { function_of(r) }))
    }

    /// Its type.
    pub fn ty(&self, store: &mut impl AsStore) -> FuncType {
        self.target(store.store_inner()).ty.clone()
    }

    pub(crate) fn ty_inner(&self, store: &StoreInner) -> FuncType {
        self.target(store).ty.clone()
    }

    /// See [`ModuleEnv::identities`](updraft_jit::env::ModuleEnv::identities).
    pub(crate) fn identity(&self, store: &StoreInner) -> u32 {
        self.target(store).identity
    }

    /// Calls the function.
    ///
    /// # Errors
    /// If the arguments do not fit, or the call fails: see [`Error`].
    pub fn call(&self, store: &mut impl AsStore, args: &[Val]) -> Result<Vec<Val>, Error> {
        let store = store.store_inner();
        let FuncBox { ty, target, .. } = self.target(store);
        let (ty, target) = (ty.clone(), target.clone());
        if args.len() != ty.params().len()
            || args.iter().zip(ty.params()).any(|(v, ty)| !v.fits(*ty, store))
        {
            return Err(Error::Call(format!(
                "a function of type {} was called with {args:?}",
                type_text(&ty)
            )));
        }
        let mut values = vec![0; hooks::slots_len(&ty).max(slots(ty.params()) as usize)];
        write_values(args, &mut values, store);
        store.call(&target, &ty, &mut values)?;
        // SAFETY: the call wrote results of these types, in the absolute form.
        Ok(unsafe { read_values(ty.results(), values.as_ptr(), store) })
    }

    /// This function as one of Rust types.
    ///
    /// # Errors
    /// If its type is another.
    pub fn typed<P: WasmTys, R: WasmTys>(
        &self,
        store: &mut impl AsStore,
    ) -> Result<TypedFunc<P, R>, Error> {
        let wanted = FuncType::new(P::types(), R::types());
        let ty = self.ty(store);
        if ty != wanted {
            return Err(Error::Call(format!(
                "the function has type {}, not {}",
                type_text(&ty),
                type_text(&wanted)
            )));
        }
        Ok(TypedFunc { func: *self, types: PhantomData })
    }
}

/// A function whose type is known to the host.
#[derive(Debug)]
pub struct TypedFunc<P, R> {
    func: Func,
    types: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for TypedFunc<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P, R> Copy for TypedFunc<P, R> {}

impl<P: WasmTys, R: WasmTys> TypedFunc<P, R> {
    /// Calls the function.
    ///
    /// # Errors
    /// If the call fails: see [`Error`].
    pub fn call(&self, store: &mut impl AsStore, params: P) -> Result<R, Error> {
        let store = store.store_inner();
        let target = self.func.target(store);
        // Eight values at most, of up to two slots; one slot is enough for none.
        let mut values = [0; 16];
        params.store(&mut values);
        let (target, ty) = (target.target.clone(), std::ptr::from_ref(&target.ty));
        // SAFETY: the store owns the type at a stable address.
        store.call(&target, unsafe { &*ty }, &mut values)?;
        Ok(R::load(&values))
    }
}

/// The error of an export that is missing.
pub(crate) fn no_export(kind: &'static str, name: &str) -> Error {
    LinkError::NoExport { kind, name: name.to_owned(), hint: String::new() }.into()
}
