//! The doors of compiled code: one way in, three ways out.
//!
//! [`enter_native`] leaves a *save area* on the stack and runs a function of compiled code above it. Control comes
//! back when the function returns, when it raises (a trap, or a cause recorded by a builtin), or when a signal
//! handler sends it back. The last two restore the registers of the innermost save area, as `longjmp` would. Frames
//! of compiled code hold nothing to destroy; frames of Rust are never crossed, since each has entered its own
//! segment.
//!
//! ```text
//!             return address      of enter_native
//! base ->     caller's rbp        base = rbp while the segment runs: the frame-pointer walk ends here
//! base -  8   rbx r12 r13 r14 r15
//! base - 48   unused              keeps the stack aligned to 16
//! base - 56   previous save area
//! base - 64   mxcsr, x87 control  <- ThreadState::save
//! ```

use std::mem::offset_of;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicPtr, compiler_fence};

use updraft_jit::abi::{ThreadState, VmContext, state};

/// [`enter_native`]: the function returned.
pub(super) const RETURNED: u32 = 0;
/// [`enter_native`]: a trap or another recorded cause.
pub(super) const RAISED: u32 = 1;
/// [`enter_native`]: the thread must stop.
pub(super) const STOPPED: u32 = 2;

/// From the save area up to the frame base (the `rbp` of `enter_native`).
pub const SAVE_TO_BASE: usize = 64;
/// From the frame pointer of the function that was entered up to the save area: `enter_native`'s call has pushed the
/// return address there, and the function the caller's frame pointer.
const FRAME_TO_SAVE: usize = 16;
/// In the save area: `mxcsr` (4 bytes).
const SAVE_MXCSR: usize = 0;
/// In the save area: the x87 control word (2 bytes).
const SAVE_X87: usize = 4;
/// In the save area: the previous save area.
pub const SAVE_PREVIOUS: usize = 8;

/// Called in HOST state, with no lock held by compiled code, to record a trap of compiled code with its backtrace.
///
/// * `code`: a [`TrapCode`](updraft_jit::abi::TrapCode); 0 if the cause is recorded already (by the builtin that
///   announced it) and only the frames are missing.
/// * `pc`: as a return address, behind the place: the return address of the call to `Raise`, or one byte behind the start of
///   the faulting instruction.
/// * `fp`: `rbp` at that point; each frame holds the caller's frame pointer at `fp` and the return address at `fp + 8`.
/// * `segment_base_fp`: where the walk ends; this frame is `enter_native`'s own.
///
/// After a fault it runs inside the signal handler, on the alternate stack. It may allocate; it must not fault
/// or panic.
pub type Recorder =
    unsafe fn(ctx: *mut VmContext, code: u32, pc: usize, fp: usize, segment_base_fp: usize);

/// The recorder, as an address; null until [`super::install`].
pub(super) static RECORDER: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

/// Calls the recorder, if there is one.
///
/// # Safety
/// As [`Recorder`]: the arguments describe a segment of compiled code that this thread has just left.
pub(super) unsafe extern "C" fn record(
    ctx: *mut VmContext,
    code: u32,
    pc: usize,
    fp: usize,
    segment_base_fp: usize,
) {
    let recorder = RECORDER.load(std::sync::atomic::Ordering::Acquire);
    if !recorder.is_null() {
        // SAFETY: `install` stored a `Recorder`, and nothing else is ever stored.
        let recorder: Recorder = unsafe { std::mem::transmute(recorder) };
        // SAFETY: passed on from our caller.
        unsafe { recorder(ctx, code, pc, fp, segment_base_fp) }
    }
}

/// Ends `enter_native`: HOST, unlink, restore. Expects the result in `eax`, the thread in `rbx` and the save area at
/// `rsp`. Written once for both ways out.
macro_rules! return_from_segment {
    () => {
        "
        mov dword ptr [rbx + {state}], {host}
        mov rcx, [rsp + {previous}]
        mov [rbx + {save}], rcx
        add rsp, 24
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbx
        pop rbp
        .cfi_def_cfa rsp, 8
        ret
        .cfi_endproc
        "
    };
}

/// Enters compiled code: calls `f(ctx, slots, code)` as a new segment of this thread.
///
/// Returns with the state HOST:
/// * 0: `f` returned.
/// * 1: the code raised, or faulted; the recorder was called.
/// * 2: the thread must stop: `pending` was set, or the stop signal came. What the code did is lost, even if it had
///   just recorded a cause. If the thread need not stop after all, `pending` was set for a pause, and nothing was run.
///
/// # Safety
/// * `thread` is this thread's state (see [`set_current`](super::set_current)), in HOST, and `f` is code that follows
///   `updraft_jit::abi`: it keeps frame pointers, needs no unwinding and calls only builtins and functions that may
///   be abandoned at any instruction.
/// * The pointers stay valid throughout.
#[unsafe(naked)]
pub unsafe extern "C" fn enter_native(
    thread: *mut ThreadState,
    f: *const u8,
    ctx: *mut VmContext,
    slots: *mut u64,
    code: *const u8,
) -> u32 {
    std::arch::naked_asm!(
        "
        .cfi_startproc
        push rbp
        .cfi_def_cfa_offset 16
        .cfi_offset rbp, -16
        mov rbp, rsp
        .cfi_def_cfa_register rbp
        push rbx
        push r12
        push r13
        push r14
        push r15
        sub rsp, 24
        stmxcsr [rsp + {mxcsr}]
        fnstcw [rsp + {x87}]
        mov rbx, rdi
        mov rax, [rdi + {save}]
        mov [rsp + {previous}], rax

        # The order of the next three is the protocol: save area, state, pending.
        mov [rdi + {save}], rsp
        mov dword ptr [rdi + {state}], {native}
        cmp dword ptr [rdi + {pending}], 0
        jne 3f

        mov rax, rsi
        mov rdi, rdx
        mov rsi, rcx
        mov rdx, r8
        call rax
        mov eax, {returned}
        jmp 4f
    3:
        mov eax, {stopped}
    4:
        ",
        return_from_segment!(),
        mxcsr = const SAVE_MXCSR,
        x87 = const SAVE_X87,
        previous = const SAVE_PREVIOUS,
        save = const offset_of!(ThreadState, save),
        state = const offset_of!(ThreadState, state),
        pending = const offset_of!(ThreadState, pending),
        native = const state::NATIVE,
        host = const state::HOST,
        returned = const RETURNED,
        stopped = const STOPPED,
    )
}

/// Whether a frame pointer of compiled code is that of the function which was entered in the innermost segment.
///
/// # Safety
/// `thread` is this thread's state, and the thread is in a segment.
pub unsafe fn is_first_frame(thread: *const ThreadState, frame: *const u8) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (frame as usize).wrapping_add(FRAME_TO_SAVE) == (*thread).save as usize }
}

/// Leaves the innermost segment: thread in `rdi`, result in `esi`. Signal handlers put it into the interrupted
/// context; it may be entered with any stack pointer and any machine state.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn leave_segment() {
    std::arch::naked_asm!(
        "
        .cfi_startproc
        mov dword ptr [rdi + {state}], {host}
        mov rsp, [rdi + {save}]
        lea rbp, [rsp + {to_base}]
        .cfi_def_cfa rbp, 16
        .cfi_offset rbp, -16
        # The interrupted code may have been in the middle of x87 arithmetic, or in a backward memmove.
        cld
        fninit
        ldmxcsr [rsp + {mxcsr}]
        fldcw [rsp + {x87}]
        mov rbx, rdi
        mov eax, esi
        ",
        return_from_segment!(),
        mxcsr = const SAVE_MXCSR,
        x87 = const SAVE_X87,
        previous = const SAVE_PREVIOUS,
        to_base = const SAVE_TO_BASE,
        save = const offset_of!(ThreadState, save),
        state = const offset_of!(ThreadState, state),
        host = const state::HOST,
    )
}

/// Leaves the innermost segment from a builtin, since the thread must stop: [`enter_native`] returns 2.
///
/// # Safety
/// `thread` is this thread's state, and the caller was called from compiled code, in whose place it acts (state NATIVE). Nothing
/// between here and there is to be dropped.
pub unsafe fn stop_segment(thread: *mut ThreadState) -> ! {
    let leave = leave_segment as *const ();
    // SAFETY: that is how it is called, with any stack pointer; the frames above the save area hold nothing, as the caller says.
    let leave: extern "C" fn(*mut ThreadState, u32) -> ! = unsafe { std::mem::transmute(leave) };
    leave(thread, STOPPED)
}

/// `Builtin::Raise`: `(ctx, code)`.
#[unsafe(naked)]
unsafe extern "C" fn raise() {
    std::arch::naked_asm!(
        "
        mov rbx, [rdi + {thread}]
        mov dword ptr [rbx + {state}], {host}
        mov rdx, [rsp]
        mov rcx, rbp
        mov r8, [rbx + {save}]
        add r8, {to_base}
        and rsp, -16
        call {record}
        mov rdi, rbx
        mov esi, {raised}
        jmp {leave}
        ",
        thread = const offset_of!(VmContext, thread),
        save = const offset_of!(ThreadState, save),
        state = const offset_of!(ThreadState, state),
        host = const state::HOST,
        to_base = const SAVE_TO_BASE,
        raised = const RAISED,
        record = sym record,
        leave = sym leave_segment,
    )
}

/// `Builtin::RaisePending`: `(ctx)`.
#[unsafe(naked)]
unsafe extern "C" fn raise_pending() {
    std::arch::naked_asm!("xor esi, esi", "jmp {raise}", raise = sym raise)
}

/// The target of [`Builtin::Raise`](updraft_jit::abi::Builtin::Raise).
#[must_use]
pub fn raise_address() -> usize {
    raise as *const () as usize
}

/// The target of [`Builtin::RaisePending`](updraft_jit::abi::Builtin::RaisePending).
#[must_use]
pub fn raise_pending_address() -> usize {
    raise_pending as *const () as usize
}

/// Begins the part of a builtin that may take locks or block: from here on a stop waits.
///
/// A builtin that does not call this runs as compiled code does: it may be abandoned between any two instructions.
///
/// # Safety
/// `thread` is this thread's state, and the caller was called from compiled code (state NATIVE).
#[inline]
pub unsafe fn leave_native(thread: *mut ThreadState) {
    // SAFETY: the caller's promise.
    let thread = unsafe { &*thread };
    thread.state.store(state::HOST, Relaxed);
    // Only handlers on this thread look, so it is the compiler alone that must keep the order.
    compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

/// Ends what [`leave_native`] began. Nonzero: the thread must pause, or stop, for which the builtin calls [`stop_segment`].
///
/// # Safety
/// As [`leave_native`]. By now everything with a destructor is gone: from here to its return the builtin may be
/// abandoned.
#[must_use]
#[inline]
pub unsafe fn back_to_native(thread: *mut ThreadState) -> u32 {
    // SAFETY: the caller's promise.
    let thread = unsafe { &*thread };
    compiler_fence(std::sync::atomic::Ordering::SeqCst);
    thread.state.store(state::NATIVE, Relaxed);
    compiler_fence(std::sync::atomic::Ordering::SeqCst);
    thread.pending.load(Relaxed)
}
