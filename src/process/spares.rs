//! Instances that threads have left, for the next threads.

use crate::error::Error;
use crate::instance::Instance;
use crate::linker::Linker;
use crate::module::Module;
use crate::store::{Contents, Store};
use crate::threads::Group;
use crate::vm::LinearMemory;
use std::sync::{Arc, Mutex, PoisonError};

/// A store with an instance that is allocated and not started, for one thread.
pub(super) struct Spare {
    store: Store,
    instance: Instance,
    /// What the store holds in this state.
    contents: Contents,
}

impl Spare {
    /// Shared memories that the module defines are those of `memories`.
    pub fn new(
        linker: &Linker,
        module: &Module,
        memories: &[Arc<LinearMemory>],
        group: &Arc<Group>,
    ) -> Result<Spare, Error> {
        let mut store = Store::without_stack(group.clone())?;
        let instance = linker.prepare(&mut store, module, memories)?;
        let contents = store.contents();
        Ok(Spare { store, instance, contents })
    }

    /// Runs thread `id` on the calling native thread: starts the instance, and calls `start(id, argument)`.
    pub fn run(&mut self, id: u32, start: u32, argument: i32) -> Result<(), Error> {
        let instance = self.instance;
        self.store.begin_thread(id)?;
        self.store.inner.attached(|store| {
            instance.start_attached(store, false, |_| ())?;
            store.call_function(&instance, start, &mut [id.into(), argument.cast_unsigned().into()])
        })
    }

    /// Runs `body` as thread `id` on the calling native thread.
    pub fn run_in(
        &mut self,
        id: u32,
        body: impl FnOnce(&mut Store, Instance, u32) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.store.begin_thread(id)?;
        body(&mut self.store, self.instance, id)
    }

    /// Makes the instance as it was before it ran.
    fn renew(&mut self) {
        self.store.renew(&self.contents);
        self.instance.store = self.store.inner.id;
    }
}

/// The spares of a program.
pub(super) struct Spares {
    limit: usize,
    /// None once the program has ended.
    list: Mutex<Option<Vec<Spare>>>,
}

impl Spares {
    /// None yet.
    pub fn new(linker: &Linker, module: &Module) -> Spares {
        let env = &module.env;
        // A memory of the instance's own would have to be emptied.
        let reusable = env.memories.len() == env.imported_memories as usize;
        let limit = if reusable { linker.engine().config().idle_threads } else { 0 };
        Spares { limit, list: Mutex::new(Some(Vec::new())) }
    }

    /// The spare that was put there last.
    pub fn take(&self) -> Option<Spare> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.pop()
    }

    /// Keeps what a thread has left whose calls have returned, if there are not too many.
    pub fn put(&self, mut spare: Spare) {
        if self.limit == 0 {
            return;
        }
        spare.renew();
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *list {
            Some(spares) if spares.len() < self.limit => spares.push(spare),
            _ => {
                drop(list);
                drop(spare);
            }
        }
    }

    /// Drops all, and keeps none from now on.
    pub fn close(&self) {
        let spares = self.list.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(spares);
    }
}
