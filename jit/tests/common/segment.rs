//! Entering compiled code and leaving it by a trap, faults, memory.

use std::cell::Cell;
use std::sync::Once;

use updraft_jit::abi::{TrapCode, VmContext};

thread_local! {
    static SAVED: Cell<usize> = const { Cell::new(0) };
    static LEFT_AT: Cell<usize> = const { Cell::new(0) };
}

pub struct Left {
    pub code: TrapCode,
    pub at: usize,
}

/// Calls `entry(ctx, slots, code)`.
pub fn enter(
    entry: usize,
    ctx: *mut VmContext,
    slots: *mut u64,
    code: *mut u8,
) -> Result<(), Left> {
    let outer = SAVED.get();
    let place: *const Cell<usize> = SAVED.with(|saved| &raw const *saved);
    let status = switch(entry, ctx, slots, code, place);
    SAVED.set(outer);
    match TrapCode::from_u32(status) {
        None => Ok(()),
        Some(code) => Err(Left { code, at: LEFT_AT.get() }),
    }
}

/// Leaves the innermost compiled segment.
pub fn leave(code: TrapCode, at: usize) -> ! {
    LEFT_AT.set(at);
    restore(SAVED.get(), code as u32)
}

#[unsafe(naked)]
extern "C" fn switch(
    entry: usize,
    ctx: *mut VmContext,
    slots: *mut u64,
    code: *mut u8,
    saved: *const Cell<usize>,
) -> u32 {
    std::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [r8], rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "call rax",
        "xor eax, eax",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

#[unsafe(naked)]
extern "C" fn restore(saved: usize, status: u32) -> ! {
    std::arch::naked_asm!(
        "mov rsp, rdi",
        "mov eax, esi",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Turns faults into traps, as the real runtime does.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler only leaves compiled code, which holds nothing.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
            libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut());
        }
    });
}

extern "C" fn on_fault(_: i32, _: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    // SAFETY: the kernel's description of the fault.
    let at = unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] } as usize;
    if SAVED.get() == 0 {
        eprintln!("fault outside of compiled code, at {at:#x}");
        std::process::abort();
    }
    // A fault belongs to the instruction itself; `trapped_at` is compared like a return address.
    leave(TrapCode::MemoryOutOfBounds, at + 1)
}

/// An address that leaves 512 kB of the smallest stack that tests run on.
pub fn stack_limit() -> usize {
    let here = 0u8;
    (&raw const here) as usize - (1 << 20)
}

pub fn reserve(bytes: usize) -> *mut u8 {
    // SAFETY: a new mapping.
    let place = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    assert_ne!(place, libc::MAP_FAILED);
    place.cast()
}

pub fn commit(place: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: the pages are part of a reservation.
        let result =
            unsafe { libc::mprotect(place.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(result, 0);
    }
}

pub fn free(place: *mut u8, bytes: usize) {
    // SAFETY: the mapping is ours.
    unsafe { libc::munmap(place.cast(), bytes) };
}
