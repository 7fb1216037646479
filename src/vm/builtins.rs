//! What compiled code and the interpreter call in the runtime: the functions of [`Builtin`].
//!
//! # Safety
//! As in [`hooks`](super::hooks). Those that may block, lock, allocate or run other code leave the state NATIVE meanwhile, so that no
//! signal unwinds over them; the rest hold nothing that could be lost.

use super::hooks::{self, thread};
use super::{InstanceData, LinearMemory, VmThread, doors, exceptions, sys};
use crate::module::ElementItems;
use crate::observe::sampler;
use crate::store::eval;
use crate::threads::WaitResult;
use crate::tiers;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use updraft_jit::abi::{Builtin, Ref, TrapCode, VmContext, activity, state, status};

/// Addresses of all builtins, for the linker of compiled code.
pub(crate) fn addresses() -> Vec<(Builtin, usize)> {
    Builtin::ALL.iter().map(|builtin| (*builtin, address(*builtin))).collect()
}

fn address(builtin: Builtin) -> usize {
    doors::address(builtin).unwrap_or_else(|| match builtin {
        Builtin::Raise => sys::raise_address(),
        _ => sys::raise_pending_address(),
    })
}

/// Runs `body` in state HOST if the thread was in compiled code. If that must stop afterwards, this does not return: the caller holds
/// nothing that is to be dropped. A status would not do, for not every builtin has one, and a loop around one that has none
/// would be found in compiled code by few signals.
unsafe fn in_host<T>(ctx: *mut VmContext, body: impl FnOnce() -> T) -> T {
    // SAFETY: by the module's contract; only this thread writes the state.
    unsafe {
        let abi = (*ctx).thread;
        if (*abi).state.load(Ordering::Relaxed) != state::NATIVE {
            return body();
        }
        sys::leave_native(abi);
        let result = body();
        sampler::take_due(&*abi.cast::<VmThread>());
        while sys::back_to_native(abi) != 0 {
            sys::leave_native(abi);
            sys::park(&*abi);
            if sys::must_end(&*abi) {
                drop(result);
                sys::stop_segment(abi);
            }
        }
        result
    }
}

/// `0`, or the trap recorded and `1`.
unsafe fn or_trap(ctx: *mut VmContext, ok: Option<()>, code: TrapCode) -> u32 {
    if ok.is_some() {
        return 0;
    }
    // SAFETY: by the module's contract.
    unsafe {
        in_host(ctx, || hooks::trap(ctx, code));
    }
    1
}

pub(crate) unsafe extern "C" fn enter(
    ctx: *mut VmContext,
    func: u32,
    slots: *mut u64,
    frame: *const u8,
) -> u32 {
    // SAFETY: by the module's contract.
    unsafe {
        in_host(ctx, || {
            (*(*ctx).thread).ctx = ctx;
            let instance = InstanceData::of(ctx);
            if hooks::may_leave(ctx, frame) {
                return hooks::note_tail(ctx, hooks::target_of(instance, func), slots);
            }
            hooks::run(instance, func, slots)
        })
    }
}

pub(crate) unsafe extern "C" fn call_indirect(
    ctx: *mut VmContext,
    table: u32,
    index: u64,
    ty: u32,
    slots: *mut u64,
) -> u32 {
    // SAFETY: by the module's contract. No frame of compiled code is there.
    unsafe { tail_call_indirect(ctx, table, index, ty, slots, NO_FRAME) }
}

pub(crate) unsafe extern "C" fn tail_call_indirect(
    ctx: *mut VmContext,
    table: u32,
    index: u64,
    ty: u32,
    slots: *mut u64,
    frame: *const u8,
) -> u32 {
    // SAFETY: by the module's contract.
    unsafe {
        in_host(ctx, || match hooks::element(InstanceData::of(ctx), table, index, ty) {
            Ok(target) => hooks::call_in_tail(ctx, target, slots, frame),
            Err(code) => {
                hooks::trap(ctx, code);
                status::FAILED
            }
        })
    }
}

/// Where no frame of compiled code is.
const NO_FRAME: *const u8 = std::ptr::without_provenance(usize::MAX);

pub(crate) unsafe extern "C" fn call_ref(
    ctx: *mut VmContext,
    reference: u64,
    slots: *mut u64,
) -> u32 {
    // SAFETY: by the module's contract.
    unsafe { tail_call_ref(ctx, reference, slots, NO_FRAME) }
}

pub(crate) unsafe extern "C" fn tail_call_ref(
    ctx: *mut VmContext,
    reference: u64,
    slots: *mut u64,
    frame: *const u8,
) -> u32 {
    // SAFETY: by the module's contract.
    unsafe {
        in_host(ctx, || match hooks::referenced(InstanceData::of(ctx), Ref(reference)) {
            Ok(target) => hooks::call_in_tail(ctx, target, slots, frame),
            Err(code) => {
                hooks::trap(ctx, code);
                status::FAILED
            }
        })
    }
}

pub(crate) unsafe extern "C" fn throw(ctx: *mut VmContext, tag: u32, values: *mut u64) -> u32 {
    // SAFETY: by the module's contract.
    unsafe {
        in_host(ctx, || exceptions::throw(ctx, tag, values));
    }
    status::FAILED
}

pub(crate) unsafe extern "C" fn throw_ref(ctx: *mut VmContext, reference: u64) -> u32 {
    // SAFETY: by the module's contract.
    unsafe {
        in_host(ctx, || match reference {
            0 => hooks::trap(ctx, TrapCode::NullExceptionReference),
            _ => exceptions::throw_ref(ctx, reference),
        });
    }
    status::FAILED
}

pub(crate) unsafe extern "C" fn caught(ctx: *mut VmContext) -> *const u8 {
    // SAFETY: by the module's contract.
    unsafe { hooks::in_flight(ctx).cast() }
}

pub(crate) unsafe extern "C" fn catch(ctx: *mut VmContext, keep: u32) -> u32 {
    // SAFETY: by the module's contract.
    unsafe { in_host(ctx, || exceptions::catch(ctx, keep != 0)) }
    status::DONE
}

pub(crate) unsafe extern "C" fn tail_pending(
    ctx: *mut VmContext,
    slots: *mut u64,
    frame: *const u8,
) -> u32 {
    // SAFETY: by the module's contract.
    unsafe {
        if thread(ctx).tail().is_none() {
            return status::DONE;
        }
        if hooks::may_leave(ctx, frame) {
            return status::TAIL;
        }
        in_host(ctx, || hooks::follow(ctx, InstanceData::of(ctx), slots))
    }
}

pub(crate) unsafe extern "C" fn budget(
    ctx: *mut VmContext,
    func: u32,
    loop_index: u32,
) -> *const u8 {
    // SAFETY: by the module's contract.
    unsafe { in_host(ctx, || hooks::quick_budget(ctx, func, loop_index)) }
}

unsafe fn memory<'a>(ctx: *mut VmContext, index: u32) -> &'a LinearMemory {
    // SAFETY: by the module's contract.
    unsafe { &InstanceData::of(ctx).memories[index as usize] }
}

pub(crate) unsafe extern "C" fn memory_grow(ctx: *mut VmContext, index: u32, delta: u64) -> i64 {
    // SAFETY: by the module's contract.
    let old = unsafe { in_host(ctx, || memory(ctx, index).grow(delta)) };
    old.map_or(-1, |pages| pages as i64)
}

/// Does a long piece of work on memory in parts, so that a thread of the interpreter stops between two of them. In compiled code a
/// signal ends it anywhere.
unsafe fn in_parts(ctx: *mut VmContext, len: usize, mut work: impl FnMut(usize, usize)) -> u32 {
    // Some tens of microseconds.
    const PART: usize = 256 << 10;
    let mut start = 0;
    while start < len {
        let part = PART.min(len - start);
        work(start, part);
        start += part;
        // SAFETY: by the module's contract.
        unsafe {
            let abi = (*ctx).thread;
            if (*abi).pending.load(Ordering::Relaxed) != 0
                && (*abi).state.load(Ordering::Relaxed) == state::HOST
                && hooks::checkpoint(&*abi)
            {
                hooks::fail_stopped(thread(ctx));
                return 1;
            }
        }
    }
    0
}

pub(crate) unsafe extern "C" fn memory_init(
    ctx: *mut VmContext,
    index: u32,
    segment: u32,
    to: u64,
    from: u32,
    len: u32,
) -> u32 {
    // SAFETY: by the module's contract; the ranges are checked, and guest memory is written through raw pointers.
    unsafe {
        let data = InstanceData::of(ctx).data(segment);
        let ok = (|| {
            let source = data.get(from as usize..from as usize + len as usize)?;
            let target = memory(ctx, index).range(to, u64::from(len))?;
            std::ptr::copy_nonoverlapping(source.as_ptr(), target, source.len());
            Some(())
        })();
        or_trap(ctx, ok, TrapCode::MemoryOutOfBounds)
    }
}

pub(crate) unsafe extern "C" fn memory_copy(
    ctx: *mut VmContext,
    to_memory: u32,
    from_memory: u32,
    to: u64,
    from: u64,
    len: u64,
) -> u32 {
    // SAFETY: by the module's contract; the ranges are checked.
    unsafe {
        let ok = (|| {
            let source = memory(ctx, from_memory).range(from, len)?;
            let target = memory(ctx, to_memory).range(to, len)?;
            Some((source, target))
        })();
        let Some((source, target)) = ok else {
            return or_trap(ctx, None, TrapCode::MemoryOutOfBounds);
        };
        // Parts are copied in the direction that leaves what is still to be read alone.
        let len = len as usize;
        in_parts(ctx, len, |start, part| {
            let at = if target <= source { start } else { len - start - part };
            std::ptr::copy(source.add(at), target.add(at), part);
        })
    }
}

pub(crate) unsafe extern "C" fn memory_fill(
    ctx: *mut VmContext,
    index: u32,
    to: u64,
    value: u32,
    len: u64,
) -> u32 {
    // SAFETY: by the module's contract; the range is checked.
    unsafe {
        let Some(target) = memory(ctx, index).range(to, len) else {
            return or_trap(ctx, None, TrapCode::MemoryOutOfBounds);
        };
        in_parts(ctx, len as usize, |start, part| {
            std::ptr::write_bytes(target.add(start), value as u8, part);
        })
    }
}

pub(crate) unsafe extern "C" fn first_call(ctx: *mut VmContext, func: u32, tier: u32) {
    // SAFETY: by the module's contract.
    unsafe {
        in_host(ctx, || {
            let instance = InstanceData::of(ctx);
            tiers::first_call_in(thread(ctx).id, &instance.module, func, tier);
        });
    }
}

pub(crate) unsafe extern "C" fn data_drop(ctx: *mut VmContext, segment: u32) {
    // SAFETY: by the module's contract.
    unsafe { InstanceData::of(ctx) }.drop_data(segment);
}

pub(crate) unsafe extern "C" fn elem_drop(ctx: *mut VmContext, segment: u32) {
    // SAFETY: by the module's contract.
    unsafe { InstanceData::of(ctx) }.drop_element(segment);
}

pub(crate) unsafe extern "C" fn table_get(
    ctx: *mut VmContext,
    table: u32,
    index: u64,
    out: *mut u64,
) -> u32 {
    // SAFETY: by the module's contract; `out` is a slot.
    unsafe {
        let value = InstanceData::of(ctx).table(table).get(index);
        let ok = value.map(|value| *out = value.0);
        or_trap(ctx, ok, TrapCode::TableOutOfBounds)
    }
}

/// The form in which `table` holds a reference.
fn for_table(instance: &InstanceData, table: u32, r: Ref) -> Ref {
    if instance.table(table).escapes() { instance.absolute(r) } else { r }
}

pub(crate) unsafe extern "C" fn table_set(
    ctx: *mut VmContext,
    table: u32,
    index: u64,
    value: u64,
) -> u32 {
    // SAFETY: by the module's contract.
    unsafe {
        let instance = InstanceData::of(ctx);
        let ok = in_host(ctx, || {
            instance.table(table).set(index, for_table(instance, table, Ref(value)))
        });
        or_trap(ctx, ok, TrapCode::TableOutOfBounds)
    }
}

pub(crate) unsafe extern "C" fn table_grow(
    ctx: *mut VmContext,
    table: u32,
    init: u64,
    delta: u64,
) -> i64 {
    // SAFETY: by the module's contract.
    unsafe {
        let instance = InstanceData::of(ctx);
        let old = in_host(ctx, || {
            instance.table(table).grow(delta, for_table(instance, table, Ref(init)))
        });
        old.map_or(-1, |old| old as i64)
    }
}

pub(crate) unsafe extern "C" fn table_fill(
    ctx: *mut VmContext,
    table: u32,
    index: u64,
    value: u64,
    len: u64,
) -> u32 {
    // SAFETY: by the module's contract.
    unsafe {
        let instance = InstanceData::of(ctx);
        let ok = in_host(ctx, || {
            let value = for_table(instance, table, Ref(value));
            instance.table(table).fill(index, value, len)
        });
        or_trap(ctx, ok, TrapCode::TableOutOfBounds)
    }
}

pub(crate) unsafe extern "C" fn table_copy(
    ctx: *mut VmContext,
    to_table: u32,
    from_table: u32,
    to: u64,
    from: u64,
    len: u64,
) -> u32 {
    // SAFETY: by the module's contract.
    unsafe {
        let instance = InstanceData::of(ctx);
        let (target, source) = (instance.table(to_table), instance.table(from_table));
        let ok = in_host(ctx, || {
            target.copy_from(source, to, from, len, |r| for_table(instance, to_table, r))
        });
        or_trap(ctx, ok, TrapCode::TableOutOfBounds)
    }
}

pub(crate) unsafe extern "C" fn table_init(
    ctx: *mut VmContext,
    table: u32,
    segment: u32,
    to: u64,
    from: u32,
    len: u32,
) -> u32 {
    // SAFETY: by the module's contract.
    unsafe {
        let instance = InstanceData::of(ctx);
        let ok = in_host(ctx, || init_table(instance, table, segment, to, from, len));
        or_trap(ctx, ok, TrapCode::TableOutOfBounds)
    }
}

/// `table.init`, also for active segments at instantiation.
pub(crate) fn init_table(
    instance: &InstanceData,
    table_index: u32,
    segment: u32,
    to: u64,
    from: u32,
    len: u32,
) -> Option<()> {
    let items = &instance.module.elements[segment as usize].items;
    let available = if instance.element_dropped(segment) { 0 } else { items.len() };
    let range = from as usize..from as usize + len as usize;
    let table = instance.table(table_index);
    if range.end > available || to.checked_add(u64::from(len))? > table.len() {
        return None;
    }
    for (slot, item) in (to..).zip(range) {
        let value = match items {
            ElementItems::Functions(functions) => instance.module.env.func_ref(functions[item]),
            ElementItems::Expressions(expressions) => Ref(eval(instance, &expressions[item])[0]),
        };
        table.set(slot, for_table(instance, table_index, value))?;
    }
    Some(())
}

pub(crate) unsafe extern "C" fn global_set_ref(ctx: *mut VmContext, global: u32, value: u64) {
    // SAFETY: by the module's contract.
    unsafe {
        let instance = InstanceData::of(ctx);
        in_host(ctx, || instance.global(global).set([instance.absolute(Ref(value)).0, 0]));
    }
}

/// The address of an atomic access, if it is aligned and accessible.
unsafe fn atomic_address(
    ctx: *mut VmContext,
    index: u32,
    address: u64,
    size: u64,
) -> Result<*mut u8, TrapCode> {
    if !address.is_multiple_of(size) {
        return Err(TrapCode::UnalignedAtomic);
    }
    // SAFETY: by the module's contract.
    unsafe { memory(ctx, index) }.range(address, size).ok_or(TrapCode::MemoryOutOfBounds)
}

pub(crate) unsafe extern "C" fn atomic_notify(
    ctx: *mut VmContext,
    index: u32,
    address: u64,
    count: u32,
) -> i64 {
    // SAFETY: by the module's contract.
    unsafe {
        match atomic_address(ctx, index, address, 4) {
            Err(code) => {
                in_host(ctx, || hooks::trap(ctx, code));
                -1
            }
            Ok(_) => {
                let memory = memory(ctx, index);
                // Nobody can wait on a memory that is not shared.
                if !memory.is_shared() {
                    return 0;
                }
                in_host(ctx, || memory.parking().notify(address, count)).into()
            }
        }
    }
}

/// `memory.atomic.wait32/64`. `is_expected` compares the value in memory.
unsafe fn atomic_wait(
    ctx: *mut VmContext,
    index: u32,
    address: u64,
    size: u64,
    timeout: i64,
    is_expected: impl FnOnce(*mut u8) -> bool,
) -> i64 {
    // SAFETY: by the module's contract.
    unsafe {
        in_host(ctx, || {
            let target = atomic_address(ctx, index, address, size).and_then(|target| {
                let shared = memory(ctx, index).is_shared();
                if shared { Ok(target) } else { Err(TrapCode::ExpectedSharedMemory) }
            });
            let target = match target {
                Ok(target) => target,
                Err(code) => {
                    hooks::trap(ctx, code);
                    return -1;
                }
            };
            // A negative timeout never expires; one that is too long to add does not either.
            let deadline = u64::try_from(timeout)
                .ok()
                .and_then(|ns| Instant::now().checked_add(Duration::from_nanos(ns)));
            let state = &*(*ctx).thread;
            let outer = thread(ctx).begin(activity::WAIT);
            sys::go_outside(state);
            let result = memory(ctx, index).parking().wait_unless(
                address,
                || is_expected(target),
                deadline,
                || sys::must_end(state),
            );
            sys::come_inside(state);
            thread(ctx).end(outer, || None);
            match result {
                WaitResult::Woken => 0,
                WaitResult::NotEqual => 1,
                WaitResult::TimedOut => 2,
                WaitResult::Stopped => {
                    hooks::fail_stopped(thread(ctx));
                    -1
                }
            }
        })
    }
}

pub(crate) unsafe extern "C" fn atomic_wait32(
    ctx: *mut VmContext,
    index: u32,
    address: u64,
    expected: u32,
    timeout: i64,
) -> i64 {
    // SAFETY: by the module's contract; the address is aligned and accessible when it is compared.
    unsafe {
        atomic_wait(ctx, index, address, 4, timeout, |target| {
            AtomicU32::from_ptr(target.cast()).load(Ordering::SeqCst) == expected
        })
    }
}

pub(crate) unsafe extern "C" fn atomic_wait64(
    ctx: *mut VmContext,
    index: u32,
    address: u64,
    expected: u64,
    timeout: i64,
) -> i64 {
    // SAFETY: as for `atomic_wait32`.
    unsafe {
        atomic_wait(ctx, index, address, 8, timeout, |target| {
            AtomicU64::from_ptr(target.cast()).load(Ordering::SeqCst) == expected
        })
    }
}
