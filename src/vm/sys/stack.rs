//! Stacks: the native one's bounds, the alternate one for handlers, and value stacks.

use std::cell::{Cell, OnceCell};
use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap,
};

use super::{PAGE, page_ceil};

thread_local!(static BOUNDS: Cell<(usize, usize)> = const { Cell::new((0, 0)) });

/// Lowest and highest address of the calling thread's native stack, without its guard. (0, 0) if the system
/// does not tell. The first call of a thread asks the system; the main thread's answer follows its `RLIMIT_STACK`.
#[must_use]
pub fn native_stack_bounds() -> (usize, usize) {
    let known = BOUNDS.get();
    if known != (0, 0) {
        return known;
    }
    let bounds = ask_stack_bounds().unwrap_or((0, 0));
    BOUNDS.set(bounds);
    bounds
}

pub(super) fn ask_stack_bounds() -> Option<(usize, usize)> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the attributes of the calling thread.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let mut low = std::ptr::null_mut();
    let mut size = 0;
    // SAFETY: initialised above, destroyed once.
    let result = unsafe {
        let result = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        result
    };
    (result == 0).then(|| (low as usize, low as usize + size))
}

/// A private mapping with a guard page at one end. Drop unmaps it.
#[derive(Debug)]
pub(super) struct Mapping {
    pub base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `bytes`, whole pages, of which the page at offset `guard` may not be touched.
    pub fn new(bytes: usize, guard: usize) -> io::Result<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let base = NonNull::new(base.cast::<u8>()).ok_or(rustix::io::Errno::NOMEM)?;
        let mapping = Mapping { base, bytes };
        // SAFETY: a page of the new mapping.
        unsafe { mprotect(base.as_ptr().add(guard).cast(), PAGE, MprotectFlags::empty())? };
        Ok(mapping)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and its owner gives it up.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// What a handler gets to run on: the recorder walks frames and allocates there.
pub(super) const ALT_STACK_BYTES: usize = 256 * 1024;
/// An alternate stack of this size that is already there is good enough. Rust's own is far smaller.
const ALT_STACK_ENOUGH: usize = 64 * 1024;

/// Sees to it that the calling thread's signal handlers run on an alternate stack of at least 64 KiB, so that an overflow
/// of the stack can be handled. Cheap after the first call.
///
/// # Errors
/// From `mmap` or `sigaltstack`.
pub fn ensure_alt_stack() -> io::Result<()> {
    ALT_STACK.with(|cell| {
        if cell.get().is_none() {
            let _ = cell.set(AltStack::install()?);
        }
        Ok(())
    })
}

/// Makes a thread's stacks known that it was started with: the bounds of its native one, and the lowest byte of its alternate
/// one, of [`ALT_STACK_BYTES`].
///
/// # Errors
/// From `sigaltstack`.
///
/// # Safety
/// The calling thread runs within these bounds, and nobody but its handlers uses the alternate stack while it lives.
pub(super) unsafe fn adopt(native: (usize, usize), alt: *mut u8) -> io::Result<()> {
    BOUNDS.set(native);
    swap_alt_stack(Some(&alt_stack(alt)))?;
    ALT_STACK.with(|cell| cell.set(AltStack(None)).map_err(|_| rustix::io::Errno::EXIST))?;
    Ok(())
}

fn alt_stack(low: *mut u8) -> libc::stack_t {
    libc::stack_t { ss_sp: low.cast(), ss_flags: 0, ss_size: ALT_STACK_BYTES }
}

thread_local!(static ALT_STACK: OnceCell<AltStack> = const { OnceCell::new() });

/// The alternate stack that we gave to a thread; `None` if it had a good one.
struct AltStack(Option<Mapping>);

impl AltStack {
    fn install() -> io::Result<AltStack> {
        let current = swap_alt_stack(None)?;
        if current.ss_flags & libc::SS_DISABLE == 0 && current.ss_size >= ALT_STACK_ENOUGH {
            return Ok(AltStack(None));
        }
        let mapping = Mapping::new(PAGE + ALT_STACK_BYTES, 0)?;
        // SAFETY: within the mapping.
        let stack = alt_stack(unsafe { mapping.base.as_ptr().add(PAGE) });
        swap_alt_stack(Some(&stack))?;
        Ok(AltStack(Some(mapping)))
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let Some(mapping) = &self.0 else { return };
        // Whoever came after us (or Rust's runtime, at the end of the thread) may have set another since.
        let ours = swap_alt_stack(None).is_ok_and(|current| {
            (current.ss_sp as usize).wrapping_sub(mapping.base.as_ptr() as usize) < mapping.bytes
        });
        if ours {
            let disable = libc::stack_t {
                ss_sp: std::ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: ALT_STACK_BYTES,
            };
            let _ = swap_alt_stack(Some(&disable));
        }
    }
}

/// `sigaltstack`: sets the stack, if one is given, and returns the previous one.
fn swap_alt_stack(new: Option<&libc::stack_t>) -> io::Result<libc::stack_t> {
    let mut old = MaybeUninit::<libc::stack_t>::uninit();
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: a stack that is given lives as long as the thread uses it (`AltStack`).
    if unsafe { libc::sigaltstack(new, old.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled by the successful call.
    Ok(unsafe { old.assume_init() })
}

/// The slots on which a wasm thread's interpreter frames lie. They grow upwards, and a guard page ends them.
///
/// Pages cost memory when they are first touched. Stacks are pooled: what a new one holds is unspecified.
#[derive(Debug)]
pub struct ValueStack {
    mapping: Option<Mapping>,
}

/// How many unused stacks are kept.
const POOLED_STACKS: usize = 64;
/// Pages of a pooled stack that stay in memory, in bytes: what most threads touch.
const POOLED_RESIDENT: usize = 64 * 1024;

static POOL: Mutex<Vec<Mapping>> = Mutex::new(Vec::new());

impl ValueStack {
    /// A stack of at least `slots` slots.
    ///
    /// # Errors
    /// From `mmap`.
    pub fn new(slots: usize) -> io::Result<ValueStack> {
        let bytes = slots
            .checked_mul(8)
            .and_then(page_ceil)
            .and_then(|bytes| bytes.checked_add(PAGE))
            .ok_or(rustix::io::Errno::NOMEM)?;
        let pooled = {
            let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
            pool.iter().position(|one| one.bytes == bytes).map(|index| pool.swap_remove(index))
        };
        let mapping = match pooled {
            Some(mapping) => mapping,
            None => Mapping::new(bytes, bytes - PAGE)?,
        };
        Ok(ValueStack { mapping: Some(mapping) })
    }

    fn mapping(&self) -> &Mapping {
        self.mapping.as_ref().expect("only drop takes the mapping")
    }

    /// The first slot.
    #[must_use]
    pub fn base(&self) -> *mut u64 {
        self.mapping().base.as_ptr().cast()
    }

    /// Number of slots.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.mapping().bytes - PAGE) / 8
    }

    /// Whether there are no slots.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for ValueStack {
    fn drop(&mut self) {
        let Some(mapping) = self.mapping.take() else { return };
        let usable = mapping.bytes - PAGE;
        if usable > POOLED_RESIDENT {
            // SAFETY: our own pages, whose content nobody wants any more.
            let _ = unsafe {
                madvise(
                    mapping.base.as_ptr().add(POOLED_RESIDENT).cast(),
                    usable - POOLED_RESIDENT,
                    Advice::LinuxDontNeed,
                )
            };
        }
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < POOLED_STACKS {
            pool.push(mapping);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_the_stack_pointer() {
        let check = || {
            let local = 0u8;
            let here = (&raw const local).addr();
            let (low, high) = native_stack_bounds();
            assert!(low < here && here < high);
        };
        check();
        std::thread::Builder::new().stack_size(256 * 1024).spawn(check).unwrap().join().unwrap();
    }

    #[test]
    fn an_alternate_stack_is_large_enough() {
        std::thread::spawn(|| {
            ensure_alt_stack().unwrap();
            ensure_alt_stack().unwrap();
            let current = swap_alt_stack(None).unwrap();
            assert_eq!(current.ss_flags & libc::SS_DISABLE, 0);
            assert!(current.ss_size >= ALT_STACK_ENOUGH);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_value_stack_can_be_written_to_its_end() {
        let stack = ValueStack::new(100_000).unwrap();
        assert!(stack.len() >= 100_000);
        // SAFETY: the first and the last slot.
        unsafe {
            stack.base().write(1);
            let last = stack.base().add(stack.len() - 1);
            last.write(2);
            assert_eq!(stack.base().read() + last.read(), 3);
        }
    }

    #[test]
    fn a_value_stack_is_used_again() {
        let slots = 54_321; // a size that no other test asks for
        let base = ValueStack::new(slots).unwrap().base();
        assert_eq!(ValueStack::new(slots).unwrap().base(), base);
    }
}
