//! A thread that runs hand-made functions in the place of compiled code.
#![allow(dead_code, reason = "each test uses its part")]

use std::arch::naked_asm;
use std::cell::{RefCell, UnsafeCell};
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use updraft::internals::sys;
use updraft_jit::abi::{ThreadState, VmContext, state};

pub const RETURNED: u32 = 0;
pub const RAISED: u32 = 1;
pub const STOPPED: u32 = 2;

/// What the recorder was told: code, pc, and the return addresses of the frames up to the segment's base.
#[derive(Clone, Debug)]
pub struct Record {
    pub code: u32,
    pub pc: usize,
    pub frames: Vec<usize>,
}

thread_local!(pub static RECORDS: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) });

pub unsafe fn recorder(ctx: *mut VmContext, code: u32, pc: usize, mut fp: usize, base: usize) {
    let mut frames = Vec::new();
    // SAFETY: frame pointers of the functions below, which all keep them.
    unsafe {
        assert_eq!((*(*ctx).thread).state.load(Relaxed), state::HOST);
        while fp != base {
            assert!(fp < base && fp.is_multiple_of(8), "the chain leads upwards to the base");
            frames.push(*((fp + 8) as *const usize));
            fp = *(fp as *const usize);
        }
    }
    RECORDS.with_borrow_mut(|records| records.push(Record { code, pc, frames }));
}

pub fn take_records() -> Vec<Record> {
    RECORDS.take()
}

/// The state and the context of a thread that may enter code.
pub struct WasmThread {
    thread: Box<UnsafeCell<ThreadState>>,
    ctx: Box<UnsafeCell<VmContext>>,
}

impl WasmThread {
    pub fn new() -> WasmThread {
        sys::install(recorder).unwrap();
        let ctx = Box::new(UnsafeCell::new(VmContext {
            budget: UnsafeCell::new(1_000),
            memory_base: ptr::null_mut(),
            memory_length: ptr::null(),
            code_table: ptr::null(),
            interp_table: ptr::null(),
            tables: ptr::null(),
            memories: ptr::null(),
            imported_globals: ptr::null(),
            thread: ptr::null_mut(),
            stack_limit: 0,
            instance: ptr::null(),
            budget_quantum: 1_000,
            spill: std::ptr::null_mut(),
            tags: std::ptr::null(),
            calls: std::ptr::null_mut(),
            reserved: [0; 1],
        }));
        let thread =
            Box::new(UnsafeCell::new(ThreadState { ctx: ctx.get(), ..ThreadState::default() }));
        // SAFETY: nobody else knows the context yet.
        unsafe { (*ctx.get()).thread = thread.get() };
        WasmThread { thread, ctx }
    }

    pub fn thread(&self) -> *mut ThreadState {
        self.thread.get()
    }

    pub fn ctx(&self) -> *mut VmContext {
        self.ctx.get()
    }

    pub fn pending(&self) -> &AtomicU32 {
        // SAFETY: lives as long as `self`.
        unsafe { &(*self.thread()).pending }
    }

    pub fn budget(&self) -> i64 {
        // SAFETY: read on the thread that writes it.
        unsafe { (*self.ctx()).budget.get().read_volatile() }
    }

    pub fn is_outside(&self) -> bool {
        // SAFETY: read on the thread that writes it.
        unsafe {
            (*self.thread()).state.load(Relaxed) == state::HOST && (*self.thread()).save.is_null()
        }
    }

    pub fn enter(&self, f: unsafe extern "C" fn(), slots: *mut u64) -> u32 {
        self.enter_with(f, slots, ptr::null())
    }

    pub fn enter_with(&self, f: unsafe extern "C" fn(), slots: *mut u64, code: *const u8) -> u32 {
        // SAFETY: the functions of these tests follow the contract; the thread is the current one.
        unsafe { sys::enter_native(self.thread(), f as *const u8, self.ctx(), slots, code) }
    }
}

/// `slots[0] += 1`.
#[unsafe(naked)]
pub unsafe extern "C" fn increment() {
    naked_asm!("push rbp", "mov rbp, rsp", "inc qword ptr [rsi]", "pop rbp", "ret")
}

/// Increments `slots[0]` for ever.
#[unsafe(naked)]
pub unsafe extern "C" fn spin() {
    naked_asm!("push rbp", "mov rbp, rsp", "2: inc qword ptr [rsi]", "jmp 2b")
}
