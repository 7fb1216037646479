//! The way in.

use super::dispatch::{ALIGN, Ctx, Fp, Ip, MemoryBase, MemoryLength, Regs, run};
use super::isa::Op;
use std::sync::atomic::{AtomicU64, Ordering};
use updraft_jit::abi::VmContext;

/// Runs `func` of the context's module. Its arguments lie at `slots`, on the value stack of the context's thread; its results
/// come back there. Returns 0, or 1 when it did not return: the cause has been recorded for the thread then, and the frames
/// of this execution added to its backtrace. Or 2 if it ended in a tail call out of the instance, which has been noted.
///
/// # Safety
/// The context is that of a living instance, and the calling thread is the one that it belongs to. At `slots` there is room
/// for the function's parameters and for its results, inside of the thread's value stack, and nothing above is in use.
pub unsafe fn execute(ctx: *mut VmContext, func: u32, slots: *mut u64) -> u32 {
    #[repr(C, align(8))]
    struct Exit([u8; ALIGN]);
    let exit = Exit((Op::Exit.handler() as usize).to_ne_bytes());
    const { assert!(ALIGN == size_of::<usize>()) };
    // SAFETY: by contract. The frame that the outermost function returns to is never looked at.
    unsafe {
        let entry = (*(*ctx).interp_table.add(func as usize)).load(Ordering::Acquire);
        run(Regs {
            ip: Ip(entry),
            fp: Fp(slots),
            memory: MemoryBase((*ctx).memory_base),
            ctx: Ctx(ctx),
            int: exit.0.as_ptr() as u64,
            length: MemoryLength(std::ptr::null::<AtomicU64>()),
            f32: 0.0,
            f64: 0.0,
        })
    }
}
