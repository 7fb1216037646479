//! An overflow of the main thread's stack, which the kernel grows on demand. Without the usual harness, which runs
//! tests on threads of its own.

use std::arch::naked_asm;
use std::ptr;

use threads_support::{RAISED, WasmThread, take_records};
use updraft::internals::sys;
use updraft_jit::abi::TrapCode;

mod threads_support;

/// Recurses for ever, touching each frame.
#[unsafe(naked)]
unsafe extern "C" fn recurse() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "sub rsp, 496",
        "mov [rsp], rdi",
        "call {me}",
        me = sym recurse,
    )
}

fn main() {
    // nextest lists a binary's tests, and the ignored ones again, before it runs them.
    let asked = |option: &str| std::env::args().any(|arg| arg == option);
    if asked("--list") {
        if !asked("--ignored") {
            println!("overflow_of_the_main_stack: test");
        }
        return;
    }
    assert_eq!(rustix::thread::gettid(), rustix::process::getpid());
    let thread = WasmThread::new();
    sys::prepare_thread().unwrap();
    // SAFETY: the state outlives the guard.
    let current = unsafe { sys::set_current(thread.thread()) };
    for _ in 0..5 {
        assert_eq!(thread.enter(recurse, ptr::null_mut()), RAISED);
        let records = take_records();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].code, TrapCode::StackOverflow as u32);
        assert!(records[0].frames.len() > 1_000);
    }
    drop(current);
    println!("the main thread's stack overflowed five times");
}
