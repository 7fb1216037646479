//! The runtime's functions.

use std::arch::naked_asm;
use std::sync::atomic::Ordering;

use updraft_jit::Symbol;
use updraft_jit::abi::{Builtin, Ref, TrapCode, VmContext};
use updraft_jit::env::slots;

use super::{Dropped, Vm, segment};

/// # Safety
/// `ctx` is the context of a `Vm` that lives.
unsafe fn vm<'a>(ctx: *mut VmContext) -> &'a Vm {
    // SAFETY: `Vm::with` has set it.
    unsafe { &*(*ctx).instance.cast::<Vm>() }
}

/// Builtins that note what they are called with. `|vm|` may use the parameters.
macro_rules! recorders {
    ($($function:ident $name:literal ($($param:ident: $ty:ty),*) -> $result:ty = |$vm:ident| $value:expr;)*) => {
        $(extern "C" fn $function(ctx: *mut VmContext, $($param: $ty),*) -> $result {
            // SAFETY: compiled code passes its context.
            let $vm = unsafe { vm(ctx) };
            $vm.recorded.borrow_mut().push(($name, vec![$($param as u64),*]));
            $value
        })*
    };
}

recorders! {
    throw "throw" (t: u32, v: u64) -> u32 = |vm| { let _ = vm; 1 };
    throw_ref "throw_ref" (r: u64) -> u32 = |vm| { let _ = vm; 1 };
    caught "caught" () -> u64 = |vm| { let _ = vm; 0 };
    catch "catch" (k: u32) -> u32 = |vm| { let _ = vm; 0 };
    memory_init "init" (m: u32, s: u32, to: u64, from: u32, n: u32) -> u32 = |vm| {
        let items = vm.passive(&vm.wasm.data, Dropped::Data(s));
        let source = items.get(from as usize..from as usize + n as usize);
        let place = vm.memories[m as usize].range(to, n.into());
        or_trap(vm, TrapCode::MemoryOutOfBounds, source.zip(place).map(|(source, place)| {
            // SAFETY: the range lies in memory.
            unsafe { place.copy_from(source.as_ptr(), source.len()) }
        }))
    };
    memory_copy "copy" (d: u32, s: u32, to: u64, from: u64, n: u64) -> u32 = |vm| {
        let source = vm.memories[s as usize].range(from, n);
        let place = vm.memories[d as usize].range(to, n);
        or_trap(vm, TrapCode::MemoryOutOfBounds, source.zip(place).map(|(source, place)| {
            // SAFETY: the ranges lie in memory.
            unsafe { place.copy_from(source, n as usize) }
        }))
    };
    memory_fill "fill" (m: u32, to: u64, byte: u32, n: u64) -> u32 = |vm| {
        let place = vm.memories[m as usize].range(to, n);
        or_trap(vm, TrapCode::MemoryOutOfBounds, place.map(|place| {
            // SAFETY: the range lies in memory.
            unsafe { place.write_bytes(byte as u8, n as usize) }
        }))
    };
    data_drop "data.drop" (s: u32) -> () = |vm| {
        vm.dropped.borrow_mut().insert(Dropped::Data(s));
    };
    table_grow "table.grow" (t: u32, r: u64, n: u64) -> i64 = |vm| {
        vm.tables[t as usize].grow(n, r).map_or(-1, |before| before as i64)
    };
    table_fill "table.fill" (t: u32, i: u64, r: u64, n: u64) -> u32 = |vm| {
        let places = vm.tables[t as usize].range(i, n);
        or_trap(vm, TrapCode::TableOutOfBounds, places.map(|places| places.fill(r)))
    };
    table_copy "table.copy" (d: u32, s: u32, to: u64, from: u64, n: u64) -> u32 = |vm| {
        let source = vm.tables[s as usize].range(from, n).map(|items| items.to_vec());
        let places = vm.tables[d as usize].range(to, n);
        or_trap(vm, TrapCode::TableOutOfBounds, source.zip(places).map(|(source, places)| {
            places.copy_from_slice(&source);
        }))
    };
    table_init "table.init" (t: u32, s: u32, to: u64, from: u32, n: u32) -> u32 = |vm| {
        let items = vm.passive(&vm.wasm.elements, Dropped::Elements(s));
        let source = items.get(from as usize..from as usize + n as usize);
        let places = vm.tables[t as usize].range(to, n.into());
        or_trap(vm, TrapCode::TableOutOfBounds, source.zip(places).map(|(source, places)| {
            for (func, place) in source.iter().zip(places) {
                *place = func.map_or(0, |func| vm.wasm.env.func_ref(func).0);
            }
        }))
    };
    elem_drop "elem.drop" (s: u32) -> () = |vm| {
        vm.dropped.borrow_mut().insert(Dropped::Elements(s));
    };
    global_set_ref "global.set" (g: u32, r: u64) -> () = |vm| { let _ = vm; };
    notify "notify" (m: u32, a: u64, n: u32) -> u64 = |vm| { let _ = vm; u64::from(n) };
    wait32 "wait32" (m: u32, a: u64, e: u32, t: u64) -> u64 = |vm| { let _ = vm; 1 };
    wait64 "wait64" (m: u32, a: u64, e: u64, t: u64) -> u64 = |vm| { let _ = vm; 1 };
}

/// The status of a builtin that may have failed.
fn or_trap(vm: &Vm, code: TrapCode, done: Option<()>) -> u32 {
    if done.is_none() {
        vm.pending.set(Some(code));
    }
    u32::from(done.is_none())
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
    index: u64,
    ty: u32,
    frame: *mut u64,
) -> u32 {
    // SAFETY: as for `enter`.
    let vm = unsafe { vm(ctx) };
    vm.recorded.borrow_mut().push(("call_indirect", vec![u64::from(table), index]));
    let element = vm.tables[table as usize].get(index).copied();
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
    index: u64,
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
    unsafe { vm(ctx) }.memories[memory as usize].grow(pages).unwrap_or(u64::MAX)
}

extern "C" fn table_get(ctx: *mut VmContext, table: u32, index: u64, out: *mut u64) -> u32 {
    // SAFETY: compiled code passes its context.
    let vm = unsafe { vm(ctx) };
    let element = vm.tables[table as usize].get(index);
    // SAFETY: compiled code passes a slot.
    or_trap(vm, TrapCode::TableOutOfBounds, element.map(|element| unsafe { *out = *element }))
}

extern "C" fn table_set(ctx: *mut VmContext, table: u32, index: u64, value: u64) -> u32 {
    // SAFETY: compiled code passes its context.
    let vm = unsafe { vm(ctx) };
    let element = vm.tables[table as usize].get(index);
    or_trap(vm, TrapCode::TableOutOfBounds, element.map(|element| *element = value))
}

/// Calls are not counted.
extern "C" fn first_call(_: *mut VmContext, _: u32, _: u32) {}

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
                Builtin::FirstCall => address!(first_call),
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
