//! Where control passes between the tiers, the host and the runtime.
//!
//! # Safety
//! Every function here takes the context of a living instance whose store is held by the calling thread, and slot
//! arrays that are as long as the function's type demands. A status of 0 is success; otherwise the cause has been
//! recorded in the thread.
//!
//! Handlers of the interpreter end in jumps, which they cannot if the address of a local of theirs escapes. What keeps
//! such locals is not to become part of them.

use super::refs::{FuncTarget, function_of};
use super::thread::TailCall;
use super::walk::Activation;
use super::{InstanceData, Place, VmThread, exceptions, sys};
use crate::error::Error;
use crate::func::Caller;
use crate::interp;
use crate::observe::sampler;
use crate::tiers::{self, Tier};
use std::sync::atomic::Ordering;
use updraft_jit::abi::{ExceptionDesc, Ref, ThreadState, TrapCode, VmContext, activity, status};
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

/// Whether the recorded cause wants further frames.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn wants_frames(ctx: *mut VmContext) -> bool {
    // SAFETY: by contract.
    unsafe { thread(ctx) }.wants_frames()
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

/// Adds an interpreted frame to the exception in flight, whose operator is looked for only when somebody asks.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn add_bytecode_frame(
    ctx: *mut VmContext,
    func: u32,
    place: interp::BytecodePlace,
) {
    // SAFETY: by contract.
    let (thread, instance) = unsafe { (thread(ctx), InstanceData::of(ctx)) };
    thread.add_frame(&instance.module, func, Place::Bytecode(place));
}

/// The exception in flight, or null.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn in_flight(ctx: *mut VmContext) -> *const ExceptionDesc {
    // SAFETY: by contract.
    unsafe { exceptions::in_flight(ctx) }.cast()
}

/// Ends the flight of an exception.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn catch(ctx: *mut VmContext, keep: bool) {
    // SAFETY: by contract.
    unsafe { exceptions::catch(ctx, keep) }
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

/// Something is pending: waits for the end of a pause. Whether the thread must stop.
#[cold]
pub(crate) fn checkpoint(thread: &ThreadState) -> bool {
    sys::park(thread);
    sys::must_end(thread)
}

/// Records that the group stops this thread, or its deadline.
pub(crate) fn fail_stopped(thread: &mut VmThread) {
    thread.fail(Error::Stopped(thread.stopped()));
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
            let outer = thread.begin(activity::HOST);
            if host.outside {
                sys::go_outside(&thread.abi);
            }
            // SAFETY: by contract the slots are valid; the host function may not keep them.
            let result = unsafe {
                host.call(&mut Caller::new(instance), std::slice::from_raw_parts_mut(slots, count))
            };
            thread.abi.value_sp = stack;
            if host.outside {
                sys::come_inside(&thread.abi);
            }
            thread.end(outer, || instance.import_of(host));
            if let Err(error) = result {
                thread.fail(error);
                return 1;
            }
            if thread.abi.pending.load(Ordering::Acquire) != 0 && checkpoint(&thread.abi) {
                fail_stopped(thread);
                return 1;
            }
            0
        }
        FuncTarget::Wasm { instance: callee, func } => {
            // SAFETY: instances of a store live as long as the store.
            let callee = unsafe { &**callee };
            let outer = std::mem::replace(&mut thread.abi.ctx, callee.ctx());
            // SAFETY: by contract; the types were compared when the import was linked or the reference checked.
            let mut status = unsafe { execute(callee, *func, slots, slots) };
            if status == status::TAIL {
                // SAFETY: by contract; results of tail calls are those of the function that made them.
                status = unsafe { follow(ctx, instance, slots) };
            } else if status == status::DONE {
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
///
/// # Safety
/// The instance's store is held by this thread, and the values have these types.
pub(crate) unsafe fn make_absolute(instance: &InstanceData, types: &[ValType], values: *mut u64) {
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
    // SAFETY: by contract.
    unsafe {
        if instance.module.env.is_import(func) {
            return call_import(ctx, func, slots);
        }
        // Machine code needs no frame of the interpreter around it: compiled code calls so within a `try_table`.
        let native = instance.module.code.functions[func as usize].tier() != Tier::Interp;
        let status = if native && thread(ctx).has_native_stack() {
            let ty = instance.module.env.functions[func as usize];
            let code = &instance.module.code;
            let invoker = code.invoker(instance.module.env.canonical_types[ty as usize]);
            // The invoker was published before the function's entry, and fits its type.
            enter(ctx, invoker, slots, code.native(func), true)
        } else {
            execute(instance, func, slots, slots)
        };
        match status {
            status::TAIL => follow(ctx, instance, slots),
            status => status,
        }
    }
}

/// Runs a function that is the instance's own. The status may be [`status::TAIL`].
///
/// # Safety
/// As [`run`], with arguments and results in places of their own.
unsafe fn execute(
    instance: &InstanceData,
    func: u32,
    arguments: *const u64,
    results: *mut u64,
) -> u32 {
    let ctx = instance.ctx();
    let ty = instance.module.env.function_type(func);
    // SAFETY: by contract.
    let thread = unsafe { thread(ctx) };
    let frame = thread.abi.value_sp;
    if !thread.has_native_stack() || !thread.has_slots(frame, slots_len(ty)) {
        thread.trap(TrapCode::StackOverflow);
        return status::FAILED;
    }
    // SAFETY: the value stack has room for the arguments, checked above.
    unsafe {
        std::ptr::copy(arguments, frame, slots(ty.params()) as usize);
        let activation = thread.activate(instance, false);
        (*(*ctx).thread.cast::<VmThread>()).activation = &raw const activation;
        let status = interp::execute(ctx, func, frame);
        self::thread(ctx).deactivate(&activation);
        if status == status::DONE {
            std::ptr::copy(frame, results, slots(ty.results()) as usize);
        }
        (*(*ctx).thread).value_sp = frame;
        status
    }
}

/// What an instance's function calls.
pub(crate) fn target_of(instance: &InstanceData, func: u32) -> FuncTarget {
    match instance.imported_function(func) {
        Some(target) => target.clone(),
        None => FuncTarget::Wasm { instance, func },
    }
}

/// Notes a tail call, to be made by whoever entered the segment or execution that ends now.
///
/// # Safety
/// See the module; the slots hold the arguments.
#[inline(never)]
pub(crate) unsafe fn note_tail(ctx: *mut VmContext, target: FuncTarget, slots: *mut u64) -> u32 {
    // SAFETY: by contract.
    let (thread, caller) = unsafe { (thread(ctx), InstanceData::of(ctx)) };
    // SAFETY: instances of a store live as long as the store.
    let (ty, home) = match &target {
        FuncTarget::Host(host) => (&host.ty, false),
        FuncTarget::Wasm { instance, func } => {
            let ty = unsafe { &**instance }.module.env.function_type(*func);
            (ty, std::ptr::eq(*instance, caller))
        }
    };
    // SAFETY: by contract.
    let arguments = unsafe {
        if !home {
            make_absolute(caller, ty.params(), slots);
        }
        std::slice::from_raw_parts(slots, updraft_jit::env::slots(ty.params()) as usize)
    };
    thread.note_tail(TailCall { caller, target: target.clone() }, arguments);
    status::TAIL
}

/// Makes the tail call that was noted, and those that follow from it, until one returns results.
///
/// # Safety
/// See the module; `home` is the context's instance, and `results` has room for the results of the call.
pub(crate) unsafe fn follow(ctx: *mut VmContext, home: &InstanceData, results: *mut u64) -> u32 {
    // SAFETY: by contract; no reference to the thread is alive while other code runs.
    unsafe {
        let outer = thread(ctx).abi.ctx;
        let mut status = status::TAIL;
        while status == status::TAIL {
            let Some((call, mut arguments)) = thread(ctx).take_tail() else {
                return status::FAILED;
            };
            let place = arguments.as_mut_ptr();
            match call.target {
                FuncTarget::Wasm { instance, func } => {
                    let callee = &*instance;
                    if callee.module.env.is_import(func) {
                        status = note_tail(callee.ctx(), target_of(callee, func), place);
                        continue;
                    }
                    thread(ctx).abi.ctx = callee.ctx();
                    status = execute(callee, func, place, results);
                    if status == status::DONE && !std::ptr::eq(callee, home) {
                        let ty = callee.module.env.function_type(func);
                        make_absolute(callee, ty.results(), results);
                    }
                }
                FuncTarget::Host(ref host) => {
                    arguments.resize(slots_len(&host.ty), 0);
                    thread(ctx).abi.ctx = (*call.caller).ctx();
                    let place = arguments.as_mut_ptr();
                    let (caller, ty) = (&*call.caller, &host.ty);
                    status = call_target(caller.ctx(), caller, &call.target, ty, place);
                    if status == status::DONE {
                        place.copy_to(results, slots(ty.results()) as usize);
                    }
                }
            }
            thread(ctx).give_back(arguments);
        }
        thread(ctx).abi.ctx = outer;
        status
    }
}

/// Whether what is called in tail position by compiled code may wait until its segment has ended. `frame` is that of the
/// caller, as [`updraft_jit::abi::Builtin`] has it.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn may_leave(ctx: *mut VmContext, frame: *const u8) -> bool {
    // SAFETY: by contract: compiled code runs, in a segment.
    unsafe {
        frame.is_null()
            || thread(ctx).invoked && sys::is_first_frame(&raw const (*(*ctx).thread), frame)
    }
}

/// Calls a function in tail position of compiled code.
///
/// # Safety
/// See the module; the slots have room for arguments and results.
pub(crate) unsafe fn call_in_tail(
    ctx: *mut VmContext,
    target: FuncTarget,
    slots: *mut u64,
    frame: *const u8,
) -> u32 {
    // SAFETY: by contract.
    unsafe {
        if may_leave(ctx, frame) {
            return note_tail(ctx, target, slots);
        }
        let home = InstanceData::of(ctx);
        match &target {
            FuncTarget::Wasm { instance, func } if std::ptr::eq(*instance, home) => {
                run(home, *func, slots)
            }
            FuncTarget::Wasm { instance, func } => {
                let ty = (&**instance).module.env.function_type(*func);
                call_target(ctx, home, &target, ty, slots)
            }
            FuncTarget::Host(host) => call_target(ctx, home, &target, &host.ty, slots),
        }
    }
}

/// What becomes of an interpreted frame that a tail call was noted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// This function of the same instance takes its place; the arguments are in its first slots.
    Call(u32),
    /// The call was made; the results are in its first slots.
    Done,
    /// The execution ends, and leaves the call to whoever began it.
    Leave,
    /// The cause of a failure was recorded.
    Fail,
}

/// Goes on with the tail call that was noted for the frame at `fp`.
///
/// # Safety
/// See the module; the value stack's pointer is above the frame's arguments and results.
#[inline(never)]
pub(crate) unsafe fn tail(ctx: *mut VmContext, fp: *mut u64, outermost: bool) -> Tail {
    // SAFETY: by contract.
    let (thread, home) = unsafe { (thread(ctx), InstanceData::of(ctx)) };
    let local = thread.tail().and_then(|(call, arguments)| match call.target {
        FuncTarget::Wasm { instance, func } if std::ptr::eq(instance, home) => {
            Some((func, arguments))
        }
        _ => None,
    });
    if let Some((func, arguments)) = local {
        if !thread.has_slots(fp, slots_len(home.module.env.function_type(func))) {
            thread.drop_tail();
            thread.trap(TrapCode::StackOverflow);
            return Tail::Fail;
        }
        // SAFETY: there is room for them, checked above.
        unsafe { fp.copy_from(arguments.as_ptr(), arguments.len()) };
        thread.drop_tail();
        return Tail::Call(func);
    }
    if outermost {
        return Tail::Leave;
    }
    // SAFETY: by contract.
    match unsafe { follow(ctx, home, fp) } {
        status::DONE => Tail::Done,
        _ => Tail::Fail,
    }
}

/// Calls an imported function in place of the outermost frame of an execution. Functions of other instances are left to
/// whoever began it.
///
/// # Safety
/// See the module.
#[inline(never)]
pub(crate) unsafe fn tail_import(ctx: *mut VmContext, func: u32, slots: *mut u64) -> u32 {
    // SAFETY: by contract.
    unsafe {
        match target_of(InstanceData::of(ctx), func) {
            FuncTarget::Host(_) => call_import(ctx, func, slots),
            target @ FuncTarget::Wasm { .. } => note_tail(ctx, target, slots),
        }
    }
}

/// Notes a `return_call_indirect`. The status is [`status::TAIL`] if the element can be called.
///
/// # Safety
/// See the module; the slots hold the arguments.
#[inline(never)]
pub(crate) unsafe fn tail_indirect(
    ctx: *mut VmContext,
    table: u32,
    index: u64,
    ty: u32,
    slots: *mut u64,
) -> u32 {
    // SAFETY: by contract.
    unsafe {
        match element(InstanceData::of(ctx), table, index, ty) {
            Ok(target) => note_tail(ctx, target, slots),
            Err(code) => {
                thread(ctx).trap(code);
                status::FAILED
            }
        }
    }
}

/// Notes a `return_call_ref`. The status is [`status::TAIL`] if there is a function.
///
/// # Safety
/// See the module; the slots hold the arguments.
#[inline(never)]
pub(crate) unsafe fn tail_ref(ctx: *mut VmContext, reference: u64, slots: *mut u64) -> u32 {
    // SAFETY: by contract.
    unsafe {
        match referenced(InstanceData::of(ctx), Ref(reference)) {
            Ok(target) => note_tail(ctx, target, slots),
            Err(code) => {
                thread(ctx).trap(code);
                status::FAILED
            }
        }
    }
}

/// What `call_ref` calls.
///
/// # Safety
/// See the module; it is a function reference of the instance.
pub(crate) unsafe fn referenced(
    instance: &InstanceData,
    reference: Ref,
) -> Result<FuncTarget, TrapCode> {
    match (reference, reference.as_local()) {
        (Ref::NULL, _) => Err(TrapCode::NullFunctionReference),
        (_, Some(func)) => Ok(target_of(instance, func)),
        // SAFETY: by contract, the store is alive.
        _ => Ok(unsafe { function_of(reference) }.target.clone()),
    }
}

/// What `call_indirect` calls.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn element(
    instance: &InstanceData,
    table: u32,
    index: u64,
    ty: u32,
) -> Result<FuncTarget, TrapCode> {
    let env = &instance.module.env;
    let reference = instance.table(table).get(index);
    let target = match reference.ok_or(TrapCode::UndefinedElement)? {
        Ref::NULL => return Err(TrapCode::UninitializedElement),
        reference => match reference.as_local() {
            Some(func) => {
                let found = env.canonical_types[env.functions[func as usize] as usize];
                (found == env.canonical_types[ty as usize]).then(|| target_of(instance, func))
            }
            None => {
                // SAFETY: by contract, the store is alive.
                let callee = unsafe { function_of(reference) };
                let same =
                    callee.ty == env.types[ty as usize] && callee.identity == env.identity(ty);
                same.then(|| callee.target.clone())
            }
        },
    };
    target.ok_or(TrapCode::IndirectCallTypeMismatch)
}

/// Calls a function that has machine code from the interpreter, by the invoker of its type.
///
/// It costs as much as some operators, which no operator's weight accounts for: without them a caller would seem cold
/// that does little but call.
///
/// # Safety
/// See the module.
pub(crate) unsafe fn call_native(
    ctx: *mut VmContext,
    func: u32,
    slots: *mut u64,
    invoker: *const u8,
) -> u32 {
    // SAFETY: the budget is this thread's. The invoker was published before the function's entry, and fits its type.
    unsafe {
        *(*ctx).budget.get() -= i64::from(tiers::tuning::NATIVE_CALL_WEIGHT);
        let code = (*(*ctx).code_table.add(func as usize)).load(Ordering::Acquire);
        enter(ctx, invoker, slots, code, true)
    }
}

/// Goes on from an OSR entry. The frame's first slots hold the results then.
///
/// # Safety
/// See the module; `frame` is the frame of the loop that the entry was made for.
pub(crate) unsafe fn enter_osr(ctx: *mut VmContext, entry: *const u8, frame: *mut u64) -> u32 {
    // SAFETY: by contract.
    unsafe { enter(ctx, entry, frame, std::ptr::null(), false) }
}

/// Enters machine code. The status may be [`status::TAIL`].
unsafe fn enter(
    ctx: *mut VmContext,
    f: *const u8,
    slots: *mut u64,
    code: *const u8,
    invoked: bool,
) -> u32 {
    // SAFETY: by contract; no reference into the thread is alive while machine code runs.
    unsafe {
        let abi = (*ctx).thread;
        let stack = (*abi).value_sp;
        let outer = std::mem::replace(&mut thread(ctx).invoked, invoked);
        (*abi).ctx = ctx;
        let activation = thread(ctx).activate(InstanceData::of(ctx), true);
        (*abi.cast::<VmThread>()).activation = &raw const activation;
        let mut status = sys::enter_native(abi, f, ctx, slots, code);
        if status == 2 {
            status = enter_after_pause(ctx, &activation, [f, code], slots);
        }
        thread(ctx).deactivate(&activation);
        (*abi).value_sp = stack;
        (*abi).ctx = ctx;
        let thread = thread(ctx);
        thread.invoked = outer;
        match status {
            0 if thread.tail().is_some() => status::TAIL,
            0 => status::DONE,
            _ => failed(thread, status),
        }
    }
}

/// Machine code was left because something was pending. If that is a pause, nothing was run: waits, and tries again.
#[cold]
unsafe fn enter_after_pause(
    ctx: *mut VmContext,
    activation: &Activation,
    [f, code]: [*const u8; 2],
    slots: *mut u64,
) -> u32 {
    // SAFETY: by contract.
    unsafe {
        let abi = (*ctx).thread;
        let mut status = 2;
        while status == 2 && !sys::must_end(&*abi) {
            thread(ctx).deactivate(activation);
            sys::park(&*abi);
            (*abi.cast::<VmThread>()).activation = activation;
            status = sys::enter_native(abi, f, ctx, slots, code);
        }
        status
    }
}

/// Machine code was left by a trap or a stop.
#[cold]
fn failed(thread: &mut VmThread, status: u32) -> u32 {
    if status == 2 {
        fail_stopped(thread);
    }
    // It may have been noted just before the thread had to stop.
    thread.drop_tail();
    status::FAILED
}

/// Refills the budget; tells whether the thread must stop.
unsafe fn refill(ctx: *mut VmContext) -> bool {
    // SAFETY: by contract; the budget belongs to this thread.
    unsafe {
        *(*ctx).budget.get() = (*ctx).budget_quantum;
        (*(*ctx).thread).sampled.budget.store(0, Ordering::Relaxed);
        (*(*ctx).thread).pending.load(Ordering::Acquire) != 0 && checkpoint(&*(*ctx).thread)
    }
}

/// Takes the sample that is due, and gives back the budget that was taken away for it; false if there is something else to do as well.
unsafe fn only_sampled(ctx: *mut VmContext) -> bool {
    // SAFETY: by contract; the budget belongs to this thread.
    unsafe {
        let thread = &*(*ctx).thread.cast::<VmThread>();
        sampler::take_due(thread);
        let taken = &thread.abi.sampled.budget;
        let left = taken.load(Ordering::Relaxed) - 1;
        if left < 0 || thread.abi.pending.load(Ordering::Acquire) != 0 {
            return false;
        }
        taken.store(0, Ordering::Relaxed);
        *(*ctx).budget.get() = left;
        true
    }
}

/// The interpreter's budget is spent at a loop (by ordinal) or at a function's entry ([`updraft_jit::abi::FUNCTION_ENTRY`]).
///
/// # Safety
/// See the module.
pub(crate) unsafe fn budget(ctx: *mut VmContext, func: u32, loop_index: u32) -> Budget {
    // SAFETY: by contract.
    unsafe {
        if only_sampled(ctx) {
            return Budget::Continue;
        }
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
        if only_sampled(ctx) || refill(ctx) {
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
    if !thread.wants_frames() {
        return;
    }
    // SAFETY: by contract.
    unsafe {
        super::walk::native_frames(&instance.module, pc, fp, base, |func, place| {
            thread.add_frame(&instance.module, func, place);
        });
    }
}
