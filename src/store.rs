//! Stores: what one thread of wasm owns.

use crate::engine::Engine;
use crate::error::Error;
use crate::func::{Caller, Func, HostFunc};
use crate::instance::Instance;
use crate::module::ConstOp;
use crate::pause::Controller;
use crate::threads::{Attachment, Group, Limits, Timer};
use crate::val::{FuncType, GlobalType};
use crate::vm::exceptions::{Exceptions, TagBox};
use crate::vm::instance::GlobalBox;
use crate::vm::refs::{FuncTarget, RefArena};
use crate::vm::thread::HOST_RESERVE;
use crate::vm::{InstanceData, Table, VmThread, hooks, sys};
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use updraft_jit::abi::{GlobalCell, Ref, TrapCode, activity};

/// A thread of wasm: its stacks and the instances, functions, tables and globals that belong to it.
///
/// A store is used by one host thread at a time (calls take it mutably) and may move between them. Handles such as [`Func`] and
/// [`crate::Instance`] belong to one store; using them with another panics.
pub struct Store {
    pub(crate) inner: Box<StoreInner>,
}

// SAFETY: everything behind the raw pointers belongs to the store, except for memories, modules and groups, which
// are made for several threads.
unsafe impl Send for Store {}

/// What gives access to a store: the [`Store`] itself, or a [`Caller`] inside of a host function.
pub trait AsStore {
    #[doc(hidden)]
    fn store_inner(&mut self) -> &mut StoreInner;
}

impl AsStore for Store {
    fn store_inner(&mut self) -> &mut StoreInner {
        &mut self.inner
    }
}

impl<T: AsStore> AsStore for &mut T {
    fn store_inner(&mut self) -> &mut StoreInner {
        (**self).store_inner()
    }
}

/// Inside of a [`Store`].
#[expect(clippy::vec_box, reason = "code and handles hold the addresses of what is owned here")]
pub struct StoreInner {
    pub(crate) id: u64,
    // Instances go first: their contexts point into the rest.
    instances: Vec<Box<InstanceData>>,
    tables: Vec<Box<Table>>,
    globals: Vec<Box<GlobalBox>>,
    cells: Vec<Box<GlobalCell>>,
    pub(crate) refs: RefArena,
    tags: Vec<Arc<TagBox>>,
    pub(crate) exceptions: Exceptions,
    pub(crate) thread: Box<VmThread>,
    deadline: Option<Instant>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("id", &self.inner.id).finish_non_exhaustive()
    }
}

impl Store {
    /// A store of its own, in a thread group of its own.
    ///
    /// # Errors
    /// If the system gives no value stack or no signal handlers.
    pub fn new(engine: &Engine) -> Result<Store, Error> {
        Store::in_group(engine, Group::new(Limits::default()), 0)
    }

    /// A store for thread `id` of a group.
    pub(crate) fn in_group(engine: &Engine, group: Arc<Group>, id: u32) -> Result<Store, Error> {
        let bytes = engine.config().value_stack.min(group.limits().value_stack);
        let slots = bytes / size_of::<u64>();
        Store::of_thread(VmThread::new(group, id, slots)?)
    }

    /// A store for a thread of a group that a native thread of the engine's pool will run: see [`Store::begin_thread`].
    pub(crate) fn without_stack(group: Arc<Group>) -> Result<Store, Error> {
        Store::of_thread(VmThread::without_stack(group, 0))
    }

    fn of_thread(mut thread: Box<VmThread>) -> Result<Store, Error> {
        sys::install(hooks::record_native)
            .map_err(|source| Error::System { what: "cannot install signal handlers", source })?;
        thread.store = next_id();
        Ok(Store {
            inner: Box::new(StoreInner {
                id: thread.store,
                instances: Vec::new(),
                tables: Vec::new(),
                globals: Vec::new(),
                cells: Vec::new(),
                refs: RefArena::default(),
                tags: Vec::new(),
                exceptions: Exceptions::default(),
                thread,
                deadline: None,
            }),
        })
    }

    /// Makes the store thread `id`, on the value stack of the calling native thread.
    ///
    /// # Errors
    /// If the native thread has none.
    pub(crate) fn begin_thread(&mut self, id: u32) -> Result<(), Error> {
        let (base, slots) = sys::own_value_stack().ok_or_else(|| Error::System {
            what: "a thread has no value stack",
            source: std::io::ErrorKind::Other.into(),
        })?;
        self.inner.thread.id = id;
        let most = self.inner.thread.group.limits().value_stack / size_of::<u64>();
        self.inner.thread.set_stack(base, slots.min(most));
        Ok(())
    }

    /// How much the store holds.
    pub(crate) fn contents(&self) -> Contents {
        let StoreInner { instances, tables, globals, cells, tags, .. } = &*self.inner;
        Contents {
            instances: instances.len(),
            tables: tables.len(),
            globals: globals.len(),
            cells: cells.len(),
            tags: tags.len(),
        }
    }

    /// Makes a store whose calls have all returned, and which held so much when its instances were allocated, as it was then. Handles
    /// of before are those of another store. Memories are not the store's, and stay as they are.
    pub(crate) fn renew(&mut self, contents: &Contents) {
        let store = &mut *self.inner;
        store.id = next_id();
        store.thread.renew(store.id);
        store.deadline = None;
        store.exceptions = Exceptions::default();
        store.refs.renew();
        store.instances.truncate(contents.instances);
        store.tables.truncate(contents.tables);
        store.globals.truncate(contents.globals);
        store.cells.truncate(contents.cells);
        store.tags.truncate(contents.tags);
        store.tables.iter().for_each(|table| table.renew());
        store.instances.iter_mut().for_each(|instance| instance.renew());
    }

    /// Ends, at this time, whatever call or instantiation runs in the store, start functions included, with
    /// [`Stopped::TimedOut`](crate::Stopped::TimedOut); calls that begin later fail with that at once. `None` takes the deadline away.
    ///
    /// A call that is ended so has done what it has done, as one that traps; the store can be used on, with another deadline. Threads that the
    /// call has started are not ended: for a whole program there is [`ProcessConfig::timeout`](crate::ProcessConfig::timeout). The call returns
    /// some microseconds after the deadline if the machine has a core for it; functions of the host that block are ended
    /// as [`Caller::blocking`] says, and others when they return.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.inner.deadline = deadline;
    }

    /// A handle by which other threads can end what runs in this store.
    #[must_use]
    pub fn terminator(&self) -> Terminator {
        Terminator { group: self.inner.thread.group.clone() }
    }
}

/// How much of each a store holds.
pub(crate) struct Contents {
    instances: usize,
    tables: usize,
    globals: usize,
    cells: usize,
    tags: usize,
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Store {
    /// A handle by which other threads can pause and end what runs in this store.
    #[must_use]
    pub fn controller(&self) -> Controller {
        Controller::new(self.inner.thread.group.clone(), None)
    }
}

/// Ends a thread group from outside.
#[derive(Clone)]
pub struct Terminator {
    pub(crate) group: Arc<Group>,
}

impl std::fmt::Debug for Terminator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminator").finish_non_exhaustive()
    }
}

impl Terminator {
    /// Stops every thread of the group, wherever it is. Their calls return [`Error::Stopped`]. A group that was stopped
    /// stays so. Returns whether this was the first cause.
    pub fn terminate(&self) -> bool {
        self.group.stop(crate::threads::Cause::Terminated, 0, None)
    }
}

impl Terminator {
    /// Whether the group stops, or has stopped, for whatever cause.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.group.is_stopping()
    }
}

impl StoreInner {
    /// Makes sure that a handle belongs here.
    pub(crate) fn check(&self, id: u64) {
        assert_eq!(self.id, id, "a handle was used with another store than its own");
    }

    pub(crate) fn own_tag(&mut self, tag: TagBox) -> *const TagBox {
        self.tags.push(Arc::new(tag));
        Arc::as_ptr(self.tags.last().expect("just pushed"))
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().map(|table| &**table)
    }

    pub(crate) fn globals(&self) -> impl Iterator<Item = &GlobalBox> {
        self.globals.iter().map(|global| &**global)
    }

    pub(crate) fn own_table(&mut self, table: Table) -> *const Table {
        self.tables.push(Box::new(table));
        &raw const **self.tables.last().expect("just pushed")
    }

    pub(crate) fn own_global(&mut self, global: GlobalBox) -> *const GlobalBox {
        self.globals.push(Box::new(global));
        &raw const **self.globals.last().expect("just pushed")
    }

    /// A global that belongs to no instance.
    pub(crate) fn own_global_cell(&mut self, ty: GlobalType) -> *const GlobalBox {
        self.cells.push(Box::new(GlobalCell(UnsafeCell::new([0; 2]))));
        let cell = (&raw const **self.cells.last().expect("just pushed")).cast_mut();
        self.own_global(GlobalBox { cell, ty })
    }

    pub(crate) fn own_instance(&mut self, instance: Box<InstanceData>) -> *const InstanceData {
        // SAFETY: the context is the instance's own, and nothing runs in it yet.
        unsafe { (*instance.ctx()).stack_limit = self.thread.abi.native_limit + HOST_RESERVE / 2 };
        self.instances.push(instance);
        &raw const **self.instances.last().expect("just pushed")
    }

    pub(crate) fn func(&mut self, instance: &InstanceData, index: u32) -> Func {
        Func::new(self.id, self.refs.function(instance, index))
    }

    pub(crate) fn host_func(&mut self, func: Arc<HostFunc>) -> Func {
        Func::new(self.id, self.refs.host_function(func))
    }

    /// Makes the calling thread the one that runs this store, until the guard is dropped.
    fn attach(&mut self) -> Result<Option<Attached>, Error> {
        if self.thread.depth > 0 {
            return Ok(None);
        }
        let (low, high) = sys::native_stack_bounds();
        let low = low.max(high.saturating_sub(self.thread.group.limits().native_stack));
        self.thread.abi.native_limit = low + HOST_RESERVE / 2;
        for instance in &self.instances {
            // SAFETY: nothing runs in the store: it is held mutably and not entered.
            unsafe { (*instance.ctx()).stack_limit = low + HOST_RESERVE };
        }
        let (group, id) = (self.thread.group.clone(), self.thread.id);
        // SAFETY: the thread state lives in a box that the store keeps, as do the contexts; the attachment is dropped
        // before the call that holds the store returns.
        let attachment = unsafe { group.attach(&raw mut self.thread.abi, id) };
        let place = attachment.place();
        self.thread.place = place;
        let Some(deadline) = self.deadline else {
            return Ok(Some(Attached { _timer: None, _attachment: attachment }));
        };
        let group = self.thread.group.clone();
        if deadline <= Instant::now() {
            group.end_call(place);
            return Ok(Some(Attached { _timer: None, _attachment: attachment }));
        }
        let timer = Timer::start(deadline, move || {
            // A signal may come just before a system call that blocks: again, until the call is over.
            group.end_call(place);
            Some(Instant::now() + REPEAT)
        });
        let timer = timer.map_err(|source| Error::System {
            what: "cannot start the thread that keeps deadlines",
            source,
        })?;
        Ok(Some(Attached { _timer: Some(timer), _attachment: attachment }))
    }

    /// Runs `body` as one call from the host: attached all the time, with one deadline.
    pub(crate) fn attached<T>(
        &mut self,
        body: impl FnOnce(&mut StoreInner) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _attached = self.attach()?;
        self.thread.depth += 1;
        let result = body(self);
        self.thread.depth -= 1;
        result
    }

    /// Waits for the end of a pause; fails if the thread must stop.
    pub(crate) fn checkpoint(&mut self) -> Result<(), Error> {
        if self.thread.abi.pending.load(Ordering::Acquire) != 0
            && hooks::checkpoint(&self.thread.abi)
        {
            hooks::fail_stopped(&mut self.thread);
            return Err(self.thread.take_failure());
        }
        Ok(())
    }

    /// Calls a function with arguments in slots; the results come back there, references in the absolute form.
    pub(crate) fn call(
        &mut self,
        target: &FuncTarget,
        ty: &FuncType,
        values: &mut [u64],
    ) -> Result<(), Error> {
        // A function of the host calls back.
        // SAFETY: the store is held by the calling thread, and outlives the call.
        let _inside = unsafe { sys::Inside::of(&raw const self.thread.abi) };
        self.attached(|store| store.call_attached(target, ty, values))
    }

    /// Calls a function of an instance by its index, as [`StoreInner::call`] does.
    pub(crate) fn call_function(
        &mut self,
        instance: &Instance,
        func: u32,
        values: &mut [u64],
    ) -> Result<(), Error> {
        let data = instance.data(self);
        let target = match data.imported_function(func) {
            Some(target) => target.clone(),
            None => FuncTarget::Wasm { instance: data, func },
        };
        self.call(&target, data.module.env.function_type(func), values)
    }

    fn call_attached(
        &mut self,
        target: &FuncTarget,
        ty: &FuncType,
        values: &mut [u64],
    ) -> Result<(), Error> {
        self.checkpoint()?;
        if !self.thread.has_native_stack() {
            self.thread.trap(TrapCode::StackOverflow);
            return Err(self.thread.take_failure());
        }
        let (instance, func) = match target {
            FuncTarget::Host(host) => {
                let outer = self.thread.begin(activity::HOST);
                if host.outside {
                    sys::go_outside(&self.thread.abi);
                }
                let result = host.call(&mut Caller::from_host(self), values);
                if host.outside {
                    sys::come_inside(&self.thread.abi);
                }
                self.thread.end(outer, || None);
                return result;
            }
            // SAFETY: instances of a store live as long as the store, and the target is of this store.
            FuncTarget::Wasm { instance, func } => (unsafe { &**instance }, *func),
        };
        let outer = std::mem::replace(&mut self.thread.abi.ctx, instance.ctx());
        let doing = self.thread.begin(activity::WASM);
        // SAFETY: this thread holds the store and is attached; the slots fit the type. No reference into `self` is
        // used while wasm runs: host functions make their own from the raw pointer.
        let status = unsafe { hooks::run(instance, func, values.as_mut_ptr()) };
        self.thread.abi.ctx = outer;
        self.thread.begin(doing);
        if status != 0 {
            return Err(self.thread.take_failure());
        }
        let mut at = 0;
        for ty in ty.results() {
            if ty.is_reference_type() {
                values[at] = instance.absolute(Ref(values[at])).0;
            }
            at += updraft_jit::env::slots_of(*ty) as usize;
        }
        Ok(())
    }
}

/// How often a call is told that its time is over.
const REPEAT: Duration = Duration::from_millis(1);

/// The calling thread runs the store. The timer is called off first.
struct Attached {
    _timer: Option<Timer>,
    _attachment: Attachment,
}

/// Evaluates a constant expression (core specification, "Constant Expressions"). References come out relative to the
/// instance where they can be.
pub(crate) fn eval(instance: &InstanceData, ops: &[ConstOp]) -> [u64; 2] {
    let mut stack: Vec<[u64; 2]> = Vec::with_capacity(4);
    for op in ops {
        let mut binary = |f: fn(u64, u64) -> u64| {
            let (b, a) = (stack.pop(), stack.pop());
            let (Some([b, _]), Some([a, _])) = (b, a) else {
                unreachable!("constant expressions have been validated")
            };
            stack.push([f(a, b), 0]);
        };
        match op {
            ConstOp::I32Add => binary(|a, b| u64::from((a as u32).wrapping_add(b as u32))),
            ConstOp::I32Sub => binary(|a, b| u64::from((a as u32).wrapping_sub(b as u32))),
            ConstOp::I32Mul => binary(|a, b| u64::from((a as u32).wrapping_mul(b as u32))),
            ConstOp::I64Add => binary(u64::wrapping_add),
            ConstOp::I64Sub => binary(u64::wrapping_sub),
            ConstOp::I64Mul => binary(u64::wrapping_mul),
            ConstOp::Value(value) => stack.push([*value, 0]),
            ConstOp::V128(value) => stack.push(*value),
            ConstOp::GlobalGet(index) => stack.push(instance.global(*index).get()),
            ConstOp::RefFunc(func) => stack.push([instance.module.env.func_ref(*func).0, 0]),
        }
    }
    stack.pop().expect("constant expressions leave one value")
}
