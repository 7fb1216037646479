//! Signal handlers: a fault of compiled code becomes a trap, and the stop signal ends a thread's run.
//!
//! Both find the thread by a thread-local pointer and act only on what [`state`] says; see the module above for
//! the protocol. Where a thread is to leave compiled code, the handler does not jump: it rewrites the interrupted
//! context, so that the kernel restores the signal mask and resumes at `leave_segment`.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use updraft_jit::abi::{ThreadState, TrapCode, sample, state};

use super::entry::{self, RAISED, RECORDER, Recorder, SAVE_TO_BASE, STOPPED, leave_segment};
use super::{mmap, park, stack};

/// How far from the end of the stack a fault, and the stack pointer, may be to count as an overflow.
const OVERFLOW_SLACK: usize = 128 * 1024;

/// What handlers know of the thread they run on.
struct Local {
    current: Cell<*mut ThreadState>,
    /// A stop signal was sent to this thread and has not arrived yet: no need for another.
    in_flight: AtomicBool,
    prepared: Cell<bool>,
    tid: AtomicI32,
}

thread_local! {
    // Constant and without a destructor: a handler can read it at any moment of the thread's life.
    static LOCAL: Local = const {
        Local {
            current: Cell::new(ptr::null_mut()),
            in_flight: AtomicBool::new(false),
            prepared: Cell::new(false),
            tid: AtomicI32::new(0),
        }
    };
}

/// The state of the wasm thread that runs on the calling native thread; null if none does.
#[must_use]
pub fn current_thread() -> *mut ThreadState {
    LOCAL.with(|local| local.current.get())
}

/// Makes `thread` the calling thread's current state until the guard is dropped, which brings back the previous one.
///
/// # Safety
/// `thread` outlives the guard, and so does every context that its `ctx` points to meanwhile. Guards of one thread
/// are dropped in reverse order.
pub unsafe fn set_current(thread: *mut ThreadState) -> CurrentGuard {
    let previous = LOCAL.with(|local| local.current.get());
    // SAFETY: the caller's promise.
    unsafe { (*thread).outer = previous };
    LOCAL.with(|local| local.current.set(thread));
    CurrentGuard { previous, not_send: PhantomData }
}

/// See [`set_current`].
#[derive(Debug)]
pub struct CurrentGuard {
    previous: *mut ThreadState,
    not_send: PhantomData<*mut ()>,
}

impl Drop for CurrentGuard {
    fn drop(&mut self) {
        LOCAL.with(|local| local.current.set(self.previous));
    }
}

/// Readies the calling thread for [`enter_native`](super::enter_native): alternate stack, known stack bounds, our
/// signals not blocked. Cheap after the first call.
///
/// # Errors
/// From [`ensure_alt_stack`](super::ensure_alt_stack). The thread can run nonetheless; an overflow of its stack
/// then kills the process.
pub fn prepare_thread() -> io::Result<()> {
    if LOCAL.with(|local| local.prepared.get()) {
        return Ok(());
    }
    let _ = stack::native_stack_bounds();
    // SAFETY: builds a set of signals and removes them from this thread's mask.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGSEGV, libc::SIGBUS, stop_signal()] {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
    }
    stack::ensure_alt_stack()?;
    LOCAL.with(|local| local.prepared.set(true));
    Ok(())
}

/// The real-time signal by which threads are stopped. An embedder leaves it to us.
#[must_use]
pub fn stop_signal() -> c_int {
    libc::SIGRTMIN() + 6
}

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// The handlers that were there before us, for faults that are not ours.
static PREVIOUS_SEGV: OnceLock<libc::sigaction> = OnceLock::new();
static PREVIOUS_BUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handlers of faults and of the stop signal, for the whole process. Once: later calls do nothing, and the
/// first recorder stays.
///
/// # Errors
/// From `sigaction`.
pub fn install(recorder: Recorder) -> io::Result<()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    if INSTALLED.load(Acquire) {
        return Ok(());
    }
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if INSTALLED.load(Acquire) {
        return Ok(());
    }
    RECORDER.store(recorder as *mut (), Release);
    for (signal, previous) in [(libc::SIGSEGV, &PREVIOUS_SEGV), (libc::SIGBUS, &PREVIOUS_BUS)] {
        // Known before ours is there, since it may be called at once.
        let _ = previous.set(set_action(signal, None)?);
        set_action(signal, Some((on_fault, 0)))?;
    }
    set_action(stop_signal(), Some((on_stop, 0)))?;
    INSTALLED.store(true, Release);
    Ok(())
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Sets a signal's handler, if one is given, and returns the previous action.
fn set_action(signal: c_int, handler: Option<(Handler, c_int)>) -> io::Result<libc::sigaction> {
    let mut old = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: all zeros is a valid `sigaction`.
    let mut new: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let new = match handler {
        None => ptr::null(),
        Some((handler, flags)) => {
            new.sa_sigaction = handler as *const () as usize;
            new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | flags;
            // SAFETY: a set of our own. The fault handler must not be abandoned half-way by a stop.
            unsafe {
                libc::sigemptyset(&raw mut new.sa_mask);
                libc::sigaddset(&raw mut new.sa_mask, stop_signal());
            }
            &raw const new
        }
    };
    // SAFETY: our handlers keep to what is allowed in handlers.
    if unsafe { libc::sigaction(signal, new, old.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled by the successful call.
    Ok(unsafe { old.assume_init() })
}

/// A native thread that stop signals can be sent to.
#[derive(Debug)]
pub struct SignalTarget {
    tid: c_int,
    in_flight: *const AtomicBool,
}

// SAFETY: the pointer is to an atomic that lives as long as the thread; `interrupt` asks for that.
unsafe impl Send for SignalTarget {}
// SAFETY: as above; nothing is ever written but the atomic.
unsafe impl Sync for SignalTarget {}

impl SignalTarget {
    /// The calling thread.
    #[must_use]
    pub fn current() -> SignalTarget {
        LOCAL.with(|local| {
            let mut tid = local.tid.load(Relaxed);
            if tid == 0 {
                tid = rustix::thread::gettid().as_raw_pid();
                local.tid.store(tid, Relaxed);
            }
            SignalTarget { tid, in_flight: &raw const local.in_flight }
        })
    }

    /// The processor time that the thread has taken; 0 if the system does not tell.
    ///
    /// The thread lives.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        // The kernel's clock of a thread: its id, inverted, and "scheduler time of a thread" (clock_getcpuclockid(3) has the like).
        const THREAD_SCHEDULED: c_int = 6;
        let clock = (!self.tid << 3) | THREAD_SCHEDULED;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: fills the time.
        if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
            return Duration::ZERO;
        }
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    }

    /// Whether this is the calling thread.
    #[must_use]
    pub fn is_current(&self) -> bool {
        LOCAL.with(|local| ptr::eq(self.in_flight, &raw const local.in_flight))
    }

    /// Sends the stop signal, unless one is on its way. Does nothing before [`install`].
    ///
    /// The thread heeds it only if its current state's `pending` is set, so a signal that comes late does no harm.
    ///
    /// # Safety
    /// The thread lives.
    pub unsafe fn interrupt(&self) {
        // SAFETY: the thread lives, and so does its thread-local.
        let in_flight = unsafe { &*self.in_flight };
        if !INSTALLED.load(Acquire) || in_flight.swap(true, Relaxed) {
            return;
        }
        // SAFETY: sends a signal that has a handler.
        let sent =
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.tid, stop_signal()) };
        if sent != 0 {
            // The queue of signals is full: the next repetition may get through.
            in_flight.store(false, Relaxed);
        }
    }
}

/// Saves `errno` for as long as a handler runs.
struct KeepErrno(c_int);

impl KeepErrno {
    fn new() -> KeepErrno {
        // SAFETY: this thread's own.
        KeepErrno(unsafe { *libc::__errno_location() })
    }
}

impl Drop for KeepErrno {
    fn drop(&mut self) {
        // SAFETY: this thread's own.
        unsafe { *libc::__errno_location() = self.0 };
    }
}

extern "C" fn on_stop(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    let _errno = KeepErrno::new();
    let current = LOCAL.with(|local| {
        local.in_flight.store(false, Relaxed);
        local.current.get()
    });
    if current.is_null() {
        return;
    }
    // SAFETY: `set_current`'s promise.
    let thread = unsafe { &*current };
    if thread.sampled.wanted.load(Relaxed) != sample::NONE {
        // SAFETY: the context of this handler.
        unsafe { take_sample(thread, &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs) };
    }
    let mut outer = thread.outer;
    // SAFETY: as above.
    while let Some(thread) = unsafe { outer.as_ref() } {
        if thread.state.load(Relaxed) == state::OUTSIDE {
            park::acknowledge(thread);
        }
        outer = thread.outer;
    }
    if thread.pending.load(Relaxed) == 0 {
        // Meant for a run that is over.
        return;
    }
    match thread.state.load(Relaxed) {
        state::NATIVE => {
            if !park::must_end(thread) {
                // SAFETY: the context of this handler.
                let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
                for (to, from) in
                    thread.interrupted.iter().zip([libc::REG_RIP, libc::REG_RBP, libc::REG_RSP])
                {
                    to.store(registers[from as usize] as usize, Relaxed);
                }
                park::park(thread);
            }
            if park::must_end(thread) {
                // SAFETY: the context of this handler; NATIVE says that the save area is complete.
                unsafe { leave_by_context(current, context.cast(), STOPPED) };
            }
        }
        at => {
            if at == state::OUTSIDE {
                park::acknowledge(thread);
            }
            if !thread.ctx.is_null() {
                // SAFETY: `set_current`'s promise. Not i64::MIN: the code goes on subtracting.
                unsafe { (*thread.ctx).budget.get().write_volatile(-1) };
            }
        }
    }
}

/// What takes a sample of machine code: thread; program counter, frame pointer and stack pointer. In the runtime's own code the frame
/// pointer may be any number. Runs in the signal handler; it may take locks that are not held while machine code runs.
pub type SampleHook = unsafe fn(&ThreadState, [usize; 3]);

/// The hook, as an address; null until [`set_sample_hook`].
static SAMPLE_HOOK: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Sets what takes samples of machine code, for the whole process.
pub fn set_sample_hook(hook: SampleHook) {
    SAMPLE_HOOK.store(hook as *mut (), Release);
}

/// Takes the sample that was asked for, or makes the next look at the budget, or the end of the runtime's function, take it.
///
/// # Safety
/// `thread` is this thread's current state, and the registers are those of the code that the handler has interrupted.
unsafe fn take_sample(thread: &ThreadState, registers: &[libc::greg_t; 23]) {
    let sampled = &thread.sampled;
    if thread.state.load(Relaxed) == state::NATIVE {
        sampled.wanted.store(sample::NONE, Relaxed);
        let hook = SAMPLE_HOOK.load(Acquire);
        if !hook.is_null() {
            let registers = [libc::REG_RIP, libc::REG_RBP, libc::REG_RSP]
                .map(|r| registers[r as usize] as usize);
            // SAFETY: `set_sample_hook` stored a `SampleHook`; NATIVE says that the save area is complete.
            unsafe {
                let hook: SampleHook = std::mem::transmute(hook);
                hook(thread, registers);
            }
        }
    } else if sampled.wanted.load(Relaxed) == sample::ASKED && !thread.ctx.is_null() {
        sampled.wanted.store(sample::DUE, Relaxed);
        // The first parameter of the interpreter's handlers, where one jumps to the next; in a loop of calls, anything.
        sampled.due_at.store(registers[libc::REG_RDI as usize] as usize, Relaxed);
        // SAFETY: `set_current`'s promise.
        let budget = unsafe { (*thread.ctx).budget.get() };
        // SAFETY: as above; volatile, since the interrupted code writes it too.
        let left = unsafe { budget.read_volatile() };
        if left >= 0 && sampled.budget.load(Relaxed) == 0 {
            sampled.budget.store(left + 1, Relaxed);
            // SAFETY: as above.
            unsafe { budget.write_volatile(-1) };
        }
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let _errno = KeepErrno::new();
    // SAFETY: the kernel's arguments.
    if !unsafe { trap(signal, info, context.cast()) } {
        // SAFETY: as above.
        unsafe { chain(signal, info, context) };
    }
}

/// Handles a fault that compiled code made; false if it is not ours.
///
/// # Safety
/// The arguments are those of a signal handler.
unsafe fn trap(signal: c_int, info: *mut libc::siginfo_t, context: *mut libc::ucontext_t) -> bool {
    let current = current_thread();
    // SAFETY: `set_current`'s promise, and the kernel's.
    let (thread, info, registers) = unsafe {
        if current.is_null() {
            return false;
        }
        (&*current, &*info, &(*context).uc_mcontext.gregs)
    };
    // A positive code says that the kernel saw a fault; others are sent by somebody.
    if thread.state.load(Relaxed) != state::NATIVE || info.si_code <= 0 {
        return false;
    }
    // SAFETY: SIGSEGV and SIGBUS carry an address.
    let address = unsafe { info.si_addr() } as usize;
    let [pc, fp, sp] =
        [libc::REG_RIP, libc::REG_RBP, libc::REG_RSP].map(|r| registers[r as usize] as usize);
    let code = if mmap::is_reserved(address) {
        // Within a memory and yet a bus error: the kernel could not give the page.
        if signal == libc::SIGBUS { TrapCode::OutOfMemory } else { TrapCode::MemoryOutOfBounds }
    } else if is_stack_overflow(address, sp) {
        TrapCode::StackOverflow
    } else {
        return false;
    };
    // The stop signal is blocked here; the state is for the recorder's sake, and for a fault in it.
    thread.state.store(state::HOST, Relaxed);
    // SAFETY: this thread has left the code at `pc` for good.
    unsafe {
        // As a return address would: behind the instruction.
        entry::record(thread.ctx, code as u32, pc + 1, fp, thread.save as usize + SAVE_TO_BASE);
        leave_by_context(current, context, RAISED);
    }
    true
}

/// Whether a fault is an overflow of the native stack: both it and the stack pointer are about the stack's low end.
fn is_stack_overflow(address: usize, sp: usize) -> bool {
    let (low, high) = stack::native_stack_bounds();
    let near = low.saturating_sub(OVERFLOW_SLACK)..low + OVERFLOW_SLACK.min((high - low) / 2);
    high != 0 && near.contains(&address) && near.contains(&sp)
}

/// Makes the interrupted thread go on in `leave_segment`.
///
/// # Safety
/// `context` is that of a handler on the thread of `thread`, whose state is NATIVE or was when it was interrupted.
unsafe fn leave_by_context(thread: *mut ThreadState, context: *mut libc::ucontext_t, result: u32) {
    const DIRECTION_FLAG: i64 = 1 << 10;
    // SAFETY: the caller's promise.
    unsafe {
        (*thread).state.store(state::HOST, Relaxed);
        let save = (*thread).save as usize;
        let registers = &mut (*context).uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = leave_segment as *const () as i64;
        registers[libc::REG_RDI as usize] = thread as i64;
        registers[libc::REG_RSI as usize] = result.into();
        // `leave_segment` sets these again. They are set here for a signal that comes before it does: some
        // other handler may run on the interrupted stack, which may have been used up.
        registers[libc::REG_RSP as usize] = save as i64;
        registers[libc::REG_RBP as usize] = (save + SAVE_TO_BASE) as i64;
        registers[libc::REG_EFL as usize] &= !DIRECTION_FLAG;
    }
}

/// Gives a fault that is not ours to the handler that was there before us.
///
/// # Safety
/// The arguments are those of a signal handler.
unsafe fn chain(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let previous = if signal == libc::SIGBUS { &PREVIOUS_BUS } else { &PREVIOUS_SEGV };
    match previous.get() {
        Some(action) if !matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) => {
            // SAFETY: the previous owner said so by `sa_flags`.
            unsafe {
                if action.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler: Handler = std::mem::transmute(action.sa_sigaction);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(c_int) = std::mem::transmute(action.sa_sigaction);
                    handler(signal);
                }
            }
        }
        _ => {
            // SAFETY: the default action, then the fault again; a signal that somebody sent is sent again.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                if (*info).si_code <= 0 {
                    libc::raise(signal);
                }
            }
        }
    }
}
