//! The runtime's functions.

use std::arch::naked_asm;
use std::sync::atomic::Ordering;

use updraft_jit::Symbol;
use updraft_jit::abi::{Builtin, Ref, TrapCode, VmContext};
use updraft_jit::env::slots;

use super::{Vm, segment};

/// # Safety
/// `ctx` is the context of a `Vm` that lives.
unsafe fn vm<'a>(ctx: *mut VmContext) -> &'a Vm {
    // SAFETY: `Vm::with` has set it.
    unsafe { &*(*ctx).instance.cast::<Vm>() }
}

macro_rules! recorders {
    ($($function:ident $name:literal ($($param:ident: $ty:ty),*) -> $result:ty = $value:expr;)*) => {
        $(extern "C" fn $function(ctx: *mut VmContext, $($param: $ty),*) -> $result {
            // SAFETY: compiled code passes its context.
            let vm = unsafe { vm(ctx) };
            vm.recorded.borrow_mut().push(($name, vec![$($param as u64),*]));
            $value
        })*
    };
}

recorders! {
    throw "throw" (t: u32, v: u64) -> u32 = 1;
    throw_ref "throw_ref" (r: u64) -> u32 = 1;
    caught "caught" () -> u64 = 0;
    catch "catch" (k: u32) -> u32 = 0;
    memory_init "init" (m: u32, s: u32, d: u64, f: u32, n: u32) -> u32 = 0;
    memory_copy "copy" (d: u32, s: u32, to: u64, from: u64, n: u64) -> u32 = 0;
    memory_fill "fill" (m: u32, to: u64, byte: u32, n: u64) -> u32 = 0;
    data_drop "data.drop" (s: u32) -> () = ();
    table_grow "table.grow" (t: u32, r: u64, n: u32) -> u32 = 7;
    table_fill "table.fill" (t: u32, i: u32, r: u64, n: u32) -> u32 = 0;
    table_copy "table.copy" (d: u32, s: u32, to: u32, from: u32, n: u32) -> u32 = 0;
    table_init "table.init" (t: u32, s: u32, d: u32, f: u32, n: u32) -> u32 = 0;
    elem_drop "elem.drop" (s: u32) -> () = ();
    global_set_ref "global.set" (g: u32, r: u64) -> () = ();
    notify "notify" (m: u32, a: u64, n: u32) -> u64 = u64::from(n);
    wait32 "wait32" (m: u32, a: u64, e: u32, t: u64) -> u64 = 1;
    wait64 "wait64" (m: u32, a: u64, e: u64, t: u64) -> u64 = 1;
}

extern "C" fn enter(ctx: *mut VmContext, func: u32, frame: *mut u64, _: *const u8) -> u32 {
    // SAFETY: compiled code passes its context, and slots enough for the function's type.
    unsafe {
        let vm = vm(ctx);
        let ty = vm.wasm.env.function_type(func);
        let count = slots(ty.params()).max(slots(ty.results())) as usize;
        match vm.imports.get(&func) {
            Some(import) => import(vm, std::slice::from_raw_parts_mut(frame, count)),
            None => vm.pending.set(Some(TrapCode::NullReference)),
        }
        u32::from(vm.pending.get().is_some())
    }
}

extern "C" fn call_indirect(
    ctx: *mut VmContext,
    table: u32,
    index: u32,
    ty: u32,
    frame: *mut u64,
) -> u32 {
    // SAFETY: as for `enter`.
    let vm = unsafe { vm(ctx) };
    vm.recorded.borrow_mut().push(("call_indirect", vec![u64::from(table), u64::from(index)]));
    // SAFETY: the table does not change meanwhile.
    let element = unsafe { (&*vm.table.get()).get(index as usize).copied() };
    let cause = match element.map(Ref) {
        None => TrapCode::UndefinedElement,
        Some(Ref::NULL) => TrapCode::UninitializedElement,
        Some(reference) => match reference.as_local() {
            Some(func) if vm.wasm.env.func_ref(func).0 as u32 == Ref::local_tag(ty) => {
                let invoker = vm.address(Symbol::Invoker(ty));
                let code = vm.code_table[func as usize].load(Ordering::Acquire);
                match segment::enter(invoker, ctx, frame, code) {
                    Ok(()) => return 0,
                    Err(left) => left.code,
                }
            }
            _ => TrapCode::IndirectCallTypeMismatch,
        },
    };
    vm.pending.set(Some(cause));
    1
}

extern "C" fn tail_call_indirect(
    ctx: *mut VmContext,
    table: u32,
    index: u32,
    ty: u32,
    frame: *mut u64,
    _: *const u8,
) -> u32 {
    call_indirect(ctx, table, index, ty, frame)
}

/// References of other instances are never made here.
extern "C" fn call_ref(ctx: *mut VmContext, _: u64, _: *mut u64) -> u32 {
    // SAFETY: as for `enter`.
    unsafe { vm(ctx) }.pending.set(Some(TrapCode::NullFunctionReference));
    1
}

extern "C" fn tail_call_ref(ctx: *mut VmContext, r: u64, frame: *mut u64, _: *const u8) -> u32 {
    call_ref(ctx, r, frame)
}

/// Nothing is ever noted here.
extern "C" fn tail_pending(_: *mut VmContext, _: *mut u64, _: *const u8) -> u32 {
    0
}

/// Passes the return address on.
#[unsafe(naked)]
extern "C" fn raise() {
    naked_asm!("mov rdx, [rsp]", "jmp {}", sym raise_at)
}

extern "C" fn raise_at(_: *mut VmContext, code: u32, at: usize) -> ! {
    segment::leave(TrapCode::from_u32(code).expect("a trap code"), at)
}

#[unsafe(naked)]
extern "C" fn raise_pending() {
    naked_asm!("mov rsi, [rsp]", "jmp {}", sym raise_pending_at)
}

extern "C" fn raise_pending_at(ctx: *mut VmContext, at: usize) -> ! {
    // SAFETY: compiled code passes its context.
    let cause = unsafe { vm(ctx) }.pending.take();
    segment::leave(cause.expect("a cause was recorded"), at)
}

extern "C" fn budget(ctx: *mut VmContext, func: u32, index: u32) -> usize {
    // SAFETY: compiled code passes its context.
    unsafe {
        let vm = vm(ctx);
        vm.budget_calls.borrow_mut().push((func, index));
        *(*ctx).budget.get() = vm.quantum.get();
        vm.replacement.borrow_mut().remove(&(func, index)).unwrap_or(0)
    }
}

extern "C" fn memory_grow(ctx: *mut VmContext, memory: u32, pages: u64) -> u64 {
    // SAFETY: compiled code passes its context.
    let vm = unsafe { vm(ctx) };
    let before = vm.memory_length.load(Ordering::Relaxed);
    let maximum = vm.wasm.env.memories[0].maximum.unwrap_or(1 << 10);
    if memory != 0 || (before >> 16) + pages > maximum {
        return u64::MAX;
    }
    let after = before + (pages << 16);
    segment::commit(vm.memory, after as usize);
    vm.memory_length.store(after, Ordering::Release);
    before >> 16
}

extern "C" fn table_get(ctx: *mut VmContext, _: u32, index: u32, out: *mut u64) -> u32 {
    // SAFETY: compiled code passes its context and a slot.
    with_element(unsafe { vm(ctx) }, index, |element| unsafe { *out = *element })
}

extern "C" fn table_set(ctx: *mut VmContext, _: u32, index: u32, value: u64) -> u32 {
    // SAFETY: compiled code passes its context.
    with_element(unsafe { vm(ctx) }, index, |element| *element = value)
}

fn with_element(vm: &Vm, index: u32, run: impl FnOnce(&mut u64)) -> u32 {
    // SAFETY: nobody else holds the table while compiled code waits.
    match unsafe { &mut *vm.table.get() }.get_mut(index as usize) {
        Some(element) => {
            run(element);
            0
        }
        None => {
            vm.pending.set(Some(TrapCode::TableOutOfBounds));
            1
        }
    }
}

/// All of them, where they are.
pub fn addresses() -> Vec<(Builtin, usize)> {
    macro_rules! address {
        ($function:ident) => {
            $function as *const () as usize
        };
    }
    Builtin::ALL
        .iter()
        .map(|builtin| {
            let address = match builtin {
                Builtin::Enter => address!(enter),
                Builtin::CallIndirect => address!(call_indirect),
                Builtin::TailCallIndirect => address!(tail_call_indirect),
                Builtin::CallRef => address!(call_ref),
                Builtin::TailCallRef => address!(tail_call_ref),
                Builtin::Throw => address!(throw),
                Builtin::ThrowRef => address!(throw_ref),
                Builtin::Caught => address!(caught),
                Builtin::Catch => address!(catch),
                Builtin::TailPending => address!(tail_pending),
                Builtin::Raise => address!(raise),
                Builtin::RaisePending => address!(raise_pending),
                Builtin::Budget => address!(budget),
                Builtin::MemoryGrow => address!(memory_grow),
                Builtin::MemoryInit => address!(memory_init),
                Builtin::MemoryCopy => address!(memory_copy),
                Builtin::MemoryFill => address!(memory_fill),
                Builtin::DataDrop => address!(data_drop),
                Builtin::TableGet => address!(table_get),
                Builtin::TableSet => address!(table_set),
                Builtin::TableGrow => address!(table_grow),
                Builtin::TableFill => address!(table_fill),
                Builtin::TableCopy => address!(table_copy),
                Builtin::TableInit => address!(table_init),
                Builtin::ElemDrop => address!(elem_drop),
                Builtin::GlobalSetRef => address!(global_set_ref),
                Builtin::AtomicNotify => address!(notify),
                Builtin::AtomicWait32 => address!(wait32),
                Builtin::AtomicWait64 => address!(wait64),
            };
            (*builtin, address)
        })
        .collect()
}
