//! Where control passes between the tiers, the host and the runtime.
//!
//! # Safety
//! Every function here takes the context of a living instance whose store is held by the calling thread, and slot
//! arrays that are as long as the function's type demands. A status of 0 is success; otherwise the cause has been
//! recorded in the thread.

use super::refs::FuncTarget;
use super::{InstanceData, Place, VmThread, sys};
use crate::error::{Error, Stopped};
use crate::func::Caller;
use crate::interp;
use crate::threads::Cause;
use crate::tiers;
use std::sync::atomic::Ordering;
use updraft_jit::abi::{Ref, TrapCode, VmContext};
use updraft_jit::env::{slots, slots_of};
use wasmparser::{FuncType, ValType};

/// What the interpreter does after its budget ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Budget {
    /// Go on.
    Continue,
    /// Go on in machine code from this OSR entry.
    Osr(*const u8),
    /// Leave; the cause has been recorded.
    Stop,
}

/// The thread that runs a context.
///
/// # Safety
/// See the module. The reference must not live across a call that runs wasm or the host.
pub(crate) unsafe fn thread<'a>(ctx: *mut VmContext) -> &'a mut VmThread {
    // SAFETY: `VmThread` begins with the `ThreadState` that the context points to; the calling thread is the one
    // that holds it.
    unsafe { &mut *(*ctx).thread.cast::<VmThread>() }
}

/// Records a trap.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn trap(ctx: *mut VmContext, code: TrapCode) {
    // SAFETY: by contract.
    unsafe { thread(ctx) }.trap(code);
}

/// Adds an interpreted frame to the recorded cause, the innermost first.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn add_frame(ctx: *mut VmContext, func: u32, wasm_offset: u32) {
    // SAFETY: by contract.
    let (thread, instance) = unsafe { (thread(ctx), InstanceData::of(ctx)) };
    thread.add_frame(&instance.module, func, Place::Wasm(wasm_offset));
}

/// What the interpreter must know of the module of a context to resolve a backtrace.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn source<'a>(ctx: *mut VmContext) -> interp::Source<'a> {
    // SAFETY: by contract.
    let module = unsafe { &InstanceData::of(ctx).module };
    interp::Source { code: &module.code.interp, env: &module.env, bytes: &module.bytes }
}

/// Records that the group stops this thread.
pub(crate) fn fail_stopped(thread: &mut VmThread) {
    let stopped = match thread.group.cause().map(|(cause, _)| cause) {
        Some(Cause::Terminated) => Stopped::Terminated,
        Some(Cause::TimedOut) => Stopped::TimedOut,
        Some(Cause::Exit(_) | Cause::Trap) | None => Stopped::ByGroup,
    };
    thread.fail(Error::Stopped(stopped));
}

/// The first call of a function that has neither bytecode nor machine code: gives it one and returns where the interpreter enters
/// it; null if the cause of a failure was recorded.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn first_call(ctx: *mut VmContext, func: u32) -> *const u8 {
    // SAFETY: by contract.
    let instance = unsafe { InstanceData::of(ctx) };
    // SAFETY: by contract.
    tiers::first_call(unsafe { thread(ctx) }, &instance.module, func)
}

/// Calls an imported function.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn call_import(ctx: *mut VmContext, func: u32, slots: *mut u64) -> u32 {
    // SAFETY: by contract.
    let instance = unsafe { InstanceData::of(ctx) };
    let target = instance.imported_function(func).expect("the function is imported");
    let ty = instance.module.env.function_type(func);
    // SAFETY: by contract.
    unsafe { call_target(ctx, instance, target, ty, slots) }
}

/// Calls what an import or an absolute reference is bound to.
///
/// # Safety
/// See the module; the slots fit `ty`, which is the target's type.
pub(crate) unsafe fn call_target(
    ctx: *mut VmContext,
    instance: &InstanceData,
    target: &FuncTarget,
    ty: &FuncType,
    slots: *mut u64,
) -> u32 {
    // SAFETY: by contract; not used after the call below runs other code.
    let thread = unsafe { thread(ctx) };
    if !thread.has_native_stack() {
        thread.trap(TrapCode::StackOverflow);
        return 1;
    }
    if ty.params().iter().any(|ty| ty.is_reference_type()) {
        // SAFETY: the slots hold the parameters.
        unsafe { make_absolute(instance, ty.params(), slots) };
    }
    match target {
        FuncTarget::Host(host) => {
            let count = slots_len(ty);
            let stack = thread.abi.value_sp;
            // SAFETY: by contract the slots are valid; the host function may not keep them.
            let result = unsafe {
                (host.func)(
                    &mut Caller::new(instance),
                    std::slice::from_raw_parts_mut(slots, count),
                )
            };
            thread.abi.value_sp = stack;
            if let Err(error) = result {
                thread.fail(error);
                return 1;
            }
            if thread.abi.pending.load(Ordering::Acquire) != 0 {
                fail_stopped(thread);
                return 1;
            }
            0
        }
        FuncTarget::Wasm { instance, func } => {
            // SAFETY: instances of a store live as long as the store.
            let callee = unsafe { &**instance };
            let outer = std::mem::replace(&mut thread.abi.ctx, callee.ctx());
            // SAFETY: by contract; the types were compared when the import was linked or the reference checked.
            let status = unsafe { run(callee, *func, slots) };
            if status == 0 && ty.results().iter().any(|ty| ty.is_reference_type()) {
                // SAFETY: the slots hold the results.
                unsafe { make_absolute(callee, ty.results(), slots) };
            }
            // SAFETY: by contract.
            unsafe { (*(*ctx).thread).ctx = outer };
            status
        }
    }
}

/// How many slots a call of this type needs.
pub(crate) fn slots_len(ty: &FuncType) -> usize {
    slots(ty.params()).max(slots(ty.results())) as usize
}

/// Makes the references among these values independent of their instance.
unsafe fn make_absolute(instance: &InstanceData, types: &[ValType], values: *mut u64) {
    let mut at = 0;
    for ty in types {
        if ty.is_reference_type() {
            // SAFETY: the caller's values have these types.
            unsafe {
                let value = values.add(at);
                *value = instance.absolute(Ref(*value)).0;
            }
        }
        at += slots_of(*ty) as usize;
    }
}

/// Runs a function of an instance with arguments in `slots`, which may lie anywhere; results come back there.
///
/// # Safety
/// See the module; the thread's `ctx` is the instance's context.
pub(crate) unsafe fn run(instance: &InstanceData, func: u32, slots: *mut u64) -> u32 {
    let ctx = instance.ctx();
    let env = &instance.module.env;
    if env.is_import(func) {
        // SAFETY: by contract.
        return unsafe { call_import(ctx, func, slots) };
    }
    let ty = env.function_type(func);
    // SAFETY: by contract.
    let thread = unsafe { thread(ctx) };
    let frame = thread.abi.value_sp;
    let room = (thread.abi.value_limit as usize).saturating_sub(frame as usize) / size_of::<u64>();
    if !thread.has_native_stack() || room < slots_len(ty) {
        thread.trap(TrapCode::StackOverflow);
        return 1;
    }
    // SAFETY: the value stack has room for the arguments, checked above.
    unsafe {
        std::ptr::copy(slots, frame, updraft_jit::env::slots(ty.params()) as usize);
        let status = interp::execute(ctx, func, frame);
        if status == 0 {
            std::ptr::copy(frame, slots, updraft_jit::env::slots(ty.results()) as usize);
        }
        (*(*ctx).thread).value_sp = frame;
        status
    }
}

/// Calls a function that has machine code.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn call_native(ctx: *mut VmContext, func: u32, slots: *mut u64) -> u32 {
    // SAFETY: by contract.
    let instance = unsafe { InstanceData::of(ctx) };
    let code = &instance.module.code;
    let ty = instance.module.env.functions[func as usize];
    let invoker = code.invoker(instance.module.env.canonical_types[ty as usize]);
    // SAFETY: the invoker was published before the function's entry, and fits its type.
    unsafe { enter(ctx, invoker, slots, code.native(func)) }
}

/// Goes on from an OSR entry. The frame's first slots hold the results then.
///
/// # Safety
/// See the module; `frame` is the frame of the loop that the entry was made for.
pub(crate) unsafe fn enter_osr(ctx: *mut VmContext, entry: *const u8, frame: *mut u64) -> u32 {
    // SAFETY: by contract.
    unsafe { enter(ctx, entry, frame, std::ptr::null()) }
}

/// Enters machine code.
unsafe fn enter(ctx: *mut VmContext, f: *const u8, slots: *mut u64, code: *const u8) -> u32 {
    // SAFETY: by contract; no reference into the thread is alive while machine code runs.
    unsafe {
        let abi = (*ctx).thread;
        let stack = (*abi).value_sp;
        (*abi).ctx = ctx;
        let status = sys::enter_native(abi, f, ctx, slots, code);
        (*abi).value_sp = stack;
        (*abi).ctx = ctx;
        if status == 2 {
            fail_stopped(thread(ctx));
        }
        u32::from(status != 0)
    }
}

/// Refills the budget; tells whether the thread must stop.
unsafe fn refill(ctx: *mut VmContext) -> bool {
    // SAFETY: by contract; the budget belongs to this thread.
    unsafe {
        *(*ctx).budget.get() = (*ctx).budget_quantum;
        (*(*ctx).thread).pending.load(Ordering::Acquire) != 0
    }
}

/// The interpreter's budget is spent at a loop (by ordinal) or at a function's entry ([`updraft_jit::abi::FUNCTION_ENTRY`]).
///
/// # Safety
/// See the module.
pub(crate) unsafe fn budget(ctx: *mut VmContext, func: u32, loop_index: u32) -> Budget {
    // SAFETY: by contract.
    unsafe {
        if refill(ctx) {
            fail_stopped(thread(ctx));
            return Budget::Stop;
        }
        let instance = InstanceData::of(ctx);
        match tiers::interpreted(thread(ctx), &instance.module, func, loop_index) {
            Ok(Some(entry)) => Budget::Osr(entry),
            Ok(None) => Budget::Continue,
            Err(tiers::Stopping) => {
                fail_stopped(thread(ctx));
                Budget::Stop
            }
        }
    }
}

/// [`updraft_jit::abi::Builtin::Budget`], already outside of machine code.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn quick_budget(ctx: *mut VmContext, func: u32, loop_index: u32) -> *const u8 {
    // SAFETY: by contract.
    unsafe {
        if refill(ctx) {
            return std::ptr::null();
        }
        let instance = InstanceData::of(ctx);
        tiers::quick(thread(ctx), &instance.module, func, loop_index).unwrap_or(std::ptr::null())
    }
}

/// Records a trap of compiled code (`code` 0: the cause has been recorded) with the frames of its segment.
///
/// # Safety
/// `pc` is a return address, or the address behind that of a faulting instruction; `fp` begins a chain of frame
/// pointers that reaches `base`, the frame of the segment's entry.
pub(crate) unsafe fn record_native(
    ctx: *mut VmContext,
    code: u32,
    pc: usize,
    fp: usize,
    base: usize,
) {
    // SAFETY: by contract.
    let (thread, instance) = unsafe { (thread(ctx), InstanceData::of(ctx)) };
    if let Some(code) = TrapCode::from_u32(code) {
        thread.trap(code);
    }
    let module = &instance.module;
    let (mut pc, mut fp) = (pc, fp);
    let mut in_entry = false;
    loop {
        // A return address may lie behind its function: look at the call before it.
        if let Some(place) = module.code.find(pc.wrapping_sub(1)) {
            // Quick code that called an entry into a loop only waits for what is the same activation of the function.
            let continued = std::mem::replace(&mut in_entry, place.is_loop_entry());
            if !continued {
                thread.add_frame(module, place.func, Place::Machine(place));
            }
        }
        if fp >= base || fp == 0 || !fp.is_multiple_of(8) {
            return;
        }
        // SAFETY: compiled functions keep frame pointers, so `fp` points to the saved one and the return address.
        let outer = unsafe {
            pc = *(fp as *const usize).add(1);
            *(fp as *const usize)
        };
        if outer <= fp {
            return;
        }
        fp = outer;
    }
}
