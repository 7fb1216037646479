//! Tags and exceptions as the host sees them.

use crate::error::{Error, Frame};
use crate::func::{read_values, type_text, write_values};
use crate::store::{AsStore, StoreInner};
use crate::val::{FuncType, Val};
use crate::vm::exceptions::{ExceptionBox, TagBox};
use std::fmt;
use std::sync::Arc;
use updraft_jit::env::slots;

/// A tag of a store: what tells kinds of exceptions apart, with the types of their values.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    pub(crate) store: u64,
    pub(crate) tag: *const TagBox,
}

// SAFETY: as for `Func`.
unsafe impl Send for Tag {}
// SAFETY: as for `Func`.
unsafe impl Sync for Tag {}

impl PartialEq for Tag {
    /// Whether they are the same tag, and not only of the same type.
    fn eq(&self, other: &Tag) -> bool {
        std::ptr::eq(self.tag, other.tag)
    }
}

impl Eq for Tag {}

impl Tag {
    /// A new tag. Its exceptions hold values of the type's parameters. The name is for messages.
    ///
    /// # Errors
    /// If the type has results.
    pub fn new(store: &mut impl AsStore, name: &str, ty: FuncType) -> Result<Tag, Error> {
        if !ty.results().is_empty() {
            return Err(Error::Call(format!("a tag cannot have the type {}", type_text(&ty))));
        }
        let store = store.store_inner();
        Ok(Tag {
            store: store.id,
            tag: store.own_tag(TagBox { ty, identity: 0, name: name.to_owned() }),
        })
    }

    pub(crate) fn target<'a>(&self, store: &'a StoreInner) -> &'a TagBox {
        store.check(self.store);
        // SAFETY: the store of this id owns the tag.
        unsafe { &*self.tag }
    }

    /// Its type.
    pub fn ty(&self, store: &mut impl AsStore) -> FuncType {
        self.target(store.store_inner()).ty.clone()
    }
}

/// A reference to an exception. It keeps the exception, but not its store.
#[derive(Clone, Debug)]
pub struct ExnRef(pub(crate) Arc<ExceptionBox>);

impl ExnRef {
    /// An exception with these values.
    ///
    /// # Errors
    /// If the values are not of the tag's types.
    pub fn new(store: &mut impl AsStore, tag: Tag, values: &[Val]) -> Result<ExnRef, Error> {
        let store = store.store_inner();
        let ty = tag.target(store).ty.clone();
        if values.len() != ty.params().len()
            || values.iter().zip(ty.params()).any(|(value, ty)| !value.fits(*ty, store))
        {
            let ty = type_text(&ty);
            return Err(Error::Call(format!("an exception of type {ty} cannot hold {values:?}")));
        }
        let mut words = vec![0; slots(ty.params()) as usize];
        write_values(values, &mut words, store);
        Ok(ExnRef(store.new_exception(tag.tag, &words)))
    }

    /// Its tag.
    #[must_use]
    pub fn tag(&self) -> Tag {
        Tag { store: self.0.store, tag: self.0.tag() }
    }

    /// Its values.
    pub fn values(&self, store: &mut impl AsStore) -> Vec<Val> {
        let store = store.store_inner();
        let ty = self.tag().target(store).ty.clone();
        // SAFETY: an exception's values are of its tag's types, and absolute.
        unsafe { read_values(ty.params(), self.0.values().as_ptr(), store) }
    }

    /// As a reference in wasm.
    pub(crate) fn to_ref(&self, store: &StoreInner) -> u64 {
        store.check(self.0.store);
        self.0.set_referenced();
        Arc::as_ptr(&self.0) as u64
    }
}

/// An exception that no handler of wasm has caught.
///
/// A host function that returns it as its error throws it (again, if it came from a call of wasm).
#[derive(Debug, Clone)]
pub struct Exception {
    /// The exception.
    pub exception: ExnRef,
    /// The thread: 0 for the main thread, otherwise the id that `thread-spawn` returned.
    pub thread: u32,
    /// The wasm frames that it left, innermost first.
    pub frames: Vec<Frame>,
}

impl Exception {
    pub(crate) fn new(exception: Arc<ExceptionBox>, thread: u32, frames: Vec<Frame>) -> Exception {
        Exception { exception: ExnRef(exception), thread, frames }
    }

    pub(crate) fn is_of(&self, store: u64) -> bool {
        self.exception.0.store == store
    }

    pub(crate) fn into_inner(self) -> Arc<ExceptionBox> {
        self.exception.0
    }

    /// As [`crate::Trap::locate`].
    pub fn locate(&mut self) {
        crate::observe::locate(&mut self.frames);
    }
}

impl From<ExnRef> for Exception {
    /// To be thrown by a host function.
    fn from(exception: ExnRef) -> Exception {
        Exception { exception, thread: 0, frames: Vec::new() }
    }
}

impl std::error::Error for Exception {}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uncaught exception with the tag {}", self.exception.0.name())?;
        crate::error::write_thread_and_frames(f, self.thread, &self.frames)
    }
}
