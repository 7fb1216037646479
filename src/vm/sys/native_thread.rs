//! Native threads on stacks of our own: one mapping holds everything that a thread of wasm stands on.
//!
//! ```text
//! low    guard page
//!        native stack, growing down      (its top is the C library's: thread-local data)
//!        value stack, growing up
//!        guard page
//! high   alternate stack of signal handlers, growing down
//! ```
//!
//! These are four maps of the kernel, whatever lies next to them: 10 000 threads stay below its default limit of 65 530
//! (`vm.max_map_count`); glibc's stack with its guard, a value stack with its, and two alternate stacks (Rust's and ours) would be
//! eight. No stack can run into another: native stacks and those of handlers end below, in a guard page, and so does the value
//! stack above, whose limit the interpreter compares besides.
//!
//! Pages cost memory when they are first touched. What a stack holds at the start of a thread is unspecified; nobody reads of a
//! frame what has not been written since it was made.

use std::cell::Cell;
use std::ffi::c_void;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr;

use rustix::mm::{Advice, MprotectFlags, madvise, mprotect};

use super::stack::{self, ALT_STACK_BYTES, Mapping};
use super::{PAGE, page_ceil};

/// Bytes of the stacks of a thread.
#[derive(Clone, Copy, Debug)]
pub struct StackSizes {
    /// For native frames.
    pub native: usize,
    /// For frames of the interpreter.
    pub value: usize,
}

/// The mapping of a thread.
#[derive(Debug)]
struct Stacks {
    mapping: Mapping,
    sizes: StackSizes,
}

impl Stacks {
    fn new(sizes: StackSizes) -> io::Result<Stacks> {
        let too_large = || io::Error::from(rustix::io::Errno::NOMEM);
        let native = page_ceil(sizes.native.max(libc::PTHREAD_STACK_MIN)).ok_or_else(too_large)?;
        let value = page_ceil(sizes.value).ok_or_else(too_large)?;
        let bytes = [native, value, PAGE, ALT_STACK_BYTES]
            .into_iter()
            .try_fold(PAGE, usize::checked_add)
            .ok_or_else(too_large)?;
        let stacks =
            Stacks { mapping: Mapping::new(bytes, 0)?, sizes: StackSizes { native, value } };
        let base = stacks.mapping.base.as_ptr();
        // Where huge pages are given without being asked for, one touch would cost 2 MiB. Kernels without them refuse.
        // SAFETY: advice about our own pages.
        let _ = unsafe { madvise(base.cast(), bytes, Advice::LinuxNoHugepage) };
        // SAFETY: a page of the mapping, behind the value stack.
        unsafe {
            let guard = base.add(PAGE + native + value);
            mprotect(guard.cast(), PAGE, MprotectFlags::empty())?;
        }
        Ok(stacks)
    }

    fn native_low(&self) -> *mut u8 {
        // SAFETY: within the mapping.
        unsafe { self.mapping.base.as_ptr().add(PAGE) }
    }

    /// Where the native stack ends and the value stack begins.
    fn middle(&self) -> *mut u8 {
        // SAFETY: within the mapping.
        unsafe { self.native_low().add(self.sizes.native) }
    }

    fn alt_low(&self) -> *mut u8 {
        // SAFETY: within the mapping.
        unsafe { self.middle().add(self.sizes.value + PAGE) }
    }
}

/// A native thread that was started by [`NativeThread::start`]. Dropping it waits until the thread has ended, and gives its stacks
/// back. The thread itself passes it on before it ends.
#[derive(Debug)]
pub struct NativeThread {
    thread: libc::pthread_t,
    stacks: ManuallyDrop<Stacks>,
}

// SAFETY: a thread's name and plain memory with one owner.
unsafe impl Send for NativeThread {}

/// What a new thread begins with.
struct Start {
    stacks: Stacks,
    body: Box<dyn FnOnce(NativeThread) + Send>,
}

impl NativeThread {
    /// Starts a thread that calls `body` with its own handle.
    ///
    /// # Errors
    /// If the system gives no memory or no thread.
    pub fn start(
        sizes: StackSizes,
        body: impl FnOnce(NativeThread) + Send + 'static,
    ) -> io::Result<()> {
        let start = Box::new(Start { stacks: Stacks::new(sizes)?, body: Box::new(body) });
        let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
        let mut thread = MaybeUninit::uninit();
        let check =
            |error| if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) };
        // SAFETY: the attributes are initialised and destroyed once; the stack is mapped and nobody else's, until
        // the thread has been joined. The box is the thread's if there is one, and is freed here otherwise.
        unsafe {
            check(libc::pthread_attr_init(attributes.as_mut_ptr()))?;
            let low = start.stacks.native_low().cast();
            let native = start.stacks.sizes.native;
            let set = check(libc::pthread_attr_setstack(attributes.as_mut_ptr(), low, native));
            let start = Box::into_raw(start);
            let started = set.and_then(|()| {
                let attributes = attributes.as_ptr();
                check(libc::pthread_create(thread.as_mut_ptr(), attributes, main, start.cast()))
            });
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            if started.is_err() {
                drop(Box::from_raw(start));
            }
            started
        }
    }
}

impl NativeThread {
    /// Gives the stacks back if the thread has ended, and the handle if it has not.
    ///
    /// # Errors
    /// The handle.
    pub fn join_if_ended(self) -> Result<(), NativeThread> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: nobody else joins or detaches the thread: this is the only handle.
        if unsafe { libc::pthread_tryjoin_np(this.thread, ptr::null_mut()) } != 0 {
            return Err(ManuallyDrop::into_inner(this));
        }
        // SAFETY: dropped once, here; the thread that stood on them has ended.
        unsafe { ManuallyDrop::drop(&mut this.stacks) };
        Ok(())
    }
}

impl Drop for NativeThread {
    fn drop(&mut self) {
        // SAFETY: nobody else joins or detaches the thread: this is the only handle.
        if unsafe { libc::pthread_join(self.thread, ptr::null_mut()) } == 0 {
            // SAFETY: dropped once, here; the thread that stood on them has ended.
            unsafe { ManuallyDrop::drop(&mut self.stacks) };
        }
        // Otherwise the thread waits for itself: its stacks stay.
    }
}

/// The stacks of the calling thread, if [`NativeThread::start`] has started it.
#[derive(Clone, Copy)]
struct Own {
    native_low: *mut u8,
    middle: *mut u8,
    value: usize,
    alt_low: *mut u8,
    /// Page faults of the thread up to the last time that its stacks were trimmed.
    faults: i64,
}

thread_local!(static OWN: Cell<Option<Own>> = const { Cell::new(None) });

extern "C" fn main(start: *mut c_void) -> *mut c_void {
    // SAFETY: the box that `start` gave away.
    let start = unsafe { Box::from_raw(start.cast::<Start>()) };
    let Start { stacks, body } = *start;
    let native_low = stacks.native_low();
    let (middle, alt_low) = (stacks.middle(), stacks.alt_low());
    OWN.set(Some(Own { native_low, middle, value: stacks.sizes.value, alt_low, faults: 0 }));
    // SAFETY: the bounds of the stack that this thread runs on, and memory that stays mapped until it has ended.
    if let Err(error) = unsafe { stack::adopt((native_low as usize, middle as usize), alt_low) } {
        tracing::warn!(%error, "no signal stack: an overflow of this thread's stack kills the process");
    }
    // The first page fault in a mapping waits for those that map and unmap anywhere in the process, and a signal that stops the thread
    // would be what makes it: so it is made here, and the page with the frames of signals stays.
    // SAFETY: the last bytes of the stack of handlers, which nobody else uses.
    unsafe { alt_low.add(ALT_STACK_BYTES - size_of::<u64>()).cast::<u64>().write_volatile(0) };
    // SAFETY: asks for this thread's name.
    let thread = unsafe { libc::pthread_self() };
    body(NativeThread { thread, stacks: ManuallyDrop::new(stacks) });
    ptr::null_mut()
}

/// The value stack that came with the calling thread, as its first slot and the number of slots.
#[must_use]
pub fn own_value_stack() -> Option<(*mut u64, usize)> {
    OWN.get().map(|own| (own.middle.cast(), own.value / size_of::<u64>()))
}

/// Bytes of a thread's native stack, below the caller's frame, and of its value stack that stay in memory between two uses.
const KEPT: usize = 4 * PAGE;
/// Page faults that may have been of the stacks before they are trimmed.
const FAULTS: i64 = 8;

/// Gives back what earlier calls have used of the calling thread's stacks, but for some pages. Nothing is in use above
/// the first slot of the value stack, nor on the alternate stack.
///
/// Costs a look at the thread's count of page faults where it has touched little since the last time.
pub fn trim_own_stacks() {
    let Some(mut own) = OWN.get() else { return };
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: filled by the call if it succeeds.
    let faults = unsafe {
        if libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) != 0 {
            return;
        }
        usage.assume_init().ru_minflt
    };
    if faults - own.faults <= FAULTS {
        return;
    }
    let here = 0u8;
    let used_from = (&raw const here as usize).saturating_sub(KEPT) / PAGE * PAGE;
    let native = used_from.saturating_sub(own.native_low as usize);
    let value = own.value.saturating_sub(KEPT);
    // SAFETY: pages of this thread's own stacks: those well below its frame, those of the value stack, which nobody uses, and
    // those of the alternate stack, on which it does not run. The highest of these stays: see `main`.
    unsafe {
        let _ = madvise(own.native_low.cast(), native, Advice::LinuxDontNeed);
        let _ = madvise(own.middle.add(own.value - value).cast(), value, Advice::LinuxDontNeed);
        let _ = madvise(own.alt_low.cast(), ALT_STACK_BYTES - PAGE, Advice::LinuxDontNeed);
    }
    own.faults = faults;
    OWN.set(Some(own));
}

/// Names the calling thread, for debuggers and `top`. The system keeps 15 bytes.
pub fn name_thread(name: &str) {
    let mut bytes = [0u8; 16];
    let len = name.len().min(bytes.len() - 1);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    // SAFETY: a string that ends with a zero.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), bytes.as_ptr().cast()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SIZES: StackSizes = StackSizes { native: 1 << 20, value: 1 << 20 };

    /// What `body` returns on a thread of its own.
    fn on_thread<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
        let (sender, receiver) = mpsc::channel();
        NativeThread::start(SIZES, move |own| sender.send((body(), own)).unwrap()).unwrap();
        let (result, thread) = receiver.recv().unwrap();
        drop(thread);
        result
    }

    #[test]
    fn a_thread_stands_on_its_stacks() {
        on_thread(|| {
            let local = 0u8;
            let (low, high) = stack::native_stack_bounds();
            assert!((low..high).contains(&(&raw const local).addr()));
            assert_eq!(high - low, SIZES.native);
            // As the system has it.
            assert_eq!(stack::ask_stack_bounds(), Some((low, high)));
            stack::ensure_alt_stack().unwrap();
            let (base, slots) = own_value_stack().unwrap();
            assert_eq!(slots, SIZES.value / 8);
            // SAFETY: the first and the last slot.
            unsafe {
                base.write(1);
                base.add(slots - 1).write(2);
                assert_eq!(base.read() + base.add(slots - 1).read(), 3);
            }
        });
        assert!(own_value_stack().is_none());
    }

    /// Whether a page is in memory.
    fn resident(address: *mut u8) -> bool {
        let mut state = 0u8;
        let page = (address as usize / PAGE * PAGE) as *mut c_void;
        // SAFETY: asks about one page.
        assert_eq!(unsafe { libc::mincore(page, 1, &raw mut state) }, 0);
        state & 1 != 0
    }

    #[test]
    fn a_deep_use_of_the_stacks_is_given_back() {
        #[inline(never)]
        fn dive(depth: usize) -> usize {
            let frame = std::hint::black_box([depth as u8; 1024]);
            if depth == 0 { 0 } else { dive(depth - 1) + usize::from(frame[7] != depth as u8) }
        }
        on_thread(|| {
            assert_eq!(dive(500), 0);
            let own = OWN.get().unwrap();
            let (base, slots) = own_value_stack().unwrap();
            for slot in (0..slots).step_by(64) {
                // SAFETY: within the value stack.
                unsafe { base.add(slot).write(slot as u64) };
            }
            // SAFETY: within the stacks.
            let deep = unsafe { [own.middle.sub(256 << 10), base.add(slots - 1).cast::<u8>()] };
            assert!(deep.iter().all(|page| resident(*page)));
            trim_own_stacks();
            assert!(!deep.iter().any(|page| resident(*page)));
            assert_eq!(dive(500), 0);
        });
    }

    #[test]
    fn impossible_sizes_are_errors() {
        for sizes in [
            StackSizes { native: usize::MAX, value: 0 },
            StackSizes { native: usize::MAX / 2, value: usize::MAX / 2 },
            StackSizes { native: 1 << 20, value: 1 << 60 },
        ] {
            assert!(NativeThread::start(sizes, |_| ()).is_err());
        }
    }

    #[test]
    fn a_thread_costs_four_maps() {
        let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        const THREADS: usize = 100;
        let (sender, handles) = mpsc::channel();
        let ends: Vec<_> = (0..THREADS)
            .map(|_| {
                let (end, ended) = mpsc::channel::<()>();
                let sender = sender.clone();
                let body = move |own| {
                    sender.send(own).unwrap();
                    let _ = ended.recv();
                };
                NativeThread::start(SIZES, body).unwrap();
                end
            })
            .collect();
        let threads: Vec<_> = handles.iter().take(THREADS).collect();
        let with = maps();
        drop(ends);
        drop(threads);
        // Other tests of this process map and unmap beside us.
        assert!(with < maps() + 5 * THREADS, "{with} maps with, {} without", maps());
    }

    #[test]
    fn a_name_is_cut() {
        on_thread(|| {
            name_thread("a name that is far too long");
            let name = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
            assert_eq!(name, "a name that is \n");
        });
    }
}
