//! Calls, entries and returns.
//!
//! A call goes to the callee's entry with the return address in the accumulator and the caller's frame in the argument that
//! holds the memory's length otherwise; the callee's frame begins at its arguments, on top of the caller's. What the entry
//! is depends on the callee's state: the body's `Enter`, which keeps both in the frame's [`Link`], or one of the `Entry`
//! instructions. Either way the results lie where the arguments lay and, if there is one, in the accumulator, when control
//! comes back.

use super::{Source, Value, calls_out, calls_out_for, fail, trap};
use crate::interp::dispatch::{
    Ctx, Fp, Handler, Ip, MemoryLength, Operands, Out, Regs, Slot, done, handler, next, slow_path,
};
use crate::interp::outside::{Tail, builtins, hooks};
use crate::interp::unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use updraft_jit::abi::{Ref, TrapCode, status};

/// Where a function goes on when it returns: the first two slots of a frame's link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The instruction after the call.
    pub(crate) ip: Ip,
    /// The caller's frame.
    pub(crate) fp: Fp,
}

impl Link {
    /// Reads the link of a frame.
    #[inline(always)]
    pub(crate) unsafe fn read(fp: Fp, slot: Slot) -> Link {
        // SAFETY: the contract; `Enter` wrote the link.
        unsafe {
            let link = fp.at(slot).cast::<usize>();
            Link { ip: Ip(*link as *const u8), fp: Fp(*link.add(1) as *mut u64) }
        }
    }

    /// Writes the link of a frame.
    #[inline(always)]
    unsafe fn write(self, fp: Fp, slot: Slot) {
        // SAFETY: the contract; the frame has room for the link.
        unsafe {
            let link = fp.at(slot).cast::<usize>();
            *link = self.ip.0 as usize;
            *link.add(1) = self.fp.0 as usize;
        }
    }

    /// Whether the frame is the first of its execution.
    #[inline(always)]
    fn is_outermost(self) -> bool {
        self.fp.0.is_null()
    }

    /// What a call passed.
    #[inline(always)]
    fn passed(r: &Regs) -> Link {
        Link { ip: Ip(r.int as *const u8), fp: Fp(r.length.0 as *mut u64) }
    }
}

/// Enters a function.
#[inline(always)]
unsafe fn call_function(mut r: Regs, func: u32, fp: Fp, link: Link) -> Out {
    // SAFETY: the contract; the table has an entry for every function.
    unsafe {
        let entry = (*r.ctx.0).interp_table.add(func as usize);
        r.ip = Ip((*entry).load(Ordering::Acquire));
        r.fp = fp;
        r.int = link.ip.0 as u64;
        r.length = MemoryLength(link.fp.0 as *const AtomicU64);
        next(r)
    }
}

/// Comes back from a function whose results, if it has any, lie at the frame's start.
#[inline(always)]
pub(crate) unsafe fn leave(mut r: Regs, link: Link, results: bool) -> Out {
    // SAFETY: the contract.
    unsafe {
        r.reload();
        if results {
            r.int = r.fp.get(Slot(0));
            r.f32 = r.fp.get(Slot(0));
            r.f64 = r.fp.get(Slot(0));
        }
        r.fp = link.fp;
        next(r.at(link.ip))
    }
}

/// Comes back from other code, with the status that it gave, in the frame that it was called for.
#[inline(always)]
pub(crate) unsafe fn called(mut r: Regs, link: Link, status: u32, results: bool) -> Out {
    // SAFETY: the contract.
    unsafe {
        match status {
            status::DONE => leave(r, link, results),
            status::TAIL => {
                static GO_ON: Handler = go_on_with_tail;
                r.int = link.ip.0 as u64;
                r.length = MemoryLength(link.fp.0 as *const AtomicU64);
                slow_path(&GO_ON, r)
            }
            _ => fail_in_caller(r, link),
        }
    }
}

/// Gives up in the caller, the cause having been recorded.
#[inline(always)]
pub(crate) unsafe fn fail_in_caller(mut r: Regs, link: Link) -> Out {
    static GIVE_UP: Handler = unwind::give_up_after_call;
    r.fp = link.fp;
    // SAFETY: the contract.
    unsafe { slow_path(&GIVE_UP, r.at(link.ip)) }
}

/// The function that `call_indirect` finds without the runtime's help.
#[inline(always)]
unsafe fn indirect(ctx: Ctx, table: u32, tag: u32, element: u64) -> Option<u32> {
    // SAFETY: the contract; the module has this table.
    unsafe {
        let table = *(*ctx.0).tables.add(table as usize);
        if element >= (*table).length {
            return None;
        }
        let reference = Ref(*(*table).base.add(element as usize));
        (reference.0 as u32 == tag).then_some((reference.0 >> 32) as u32)
    }
}

/// Moves arguments to the frame's start.
#[inline(always)]
unsafe fn move_down(fp: Fp, from: Slot, count: u16) {
    for i in 0..usize::from(count) {
        // SAFETY: the contract. Volatile, so that it remains a loop: a call of `memmove` would cost spills.
        unsafe {
            let value = fp.at(from).add(i).read_volatile();
            fp.0.add(i).write_volatile(value);
        }
    }
}

/// The operands of an instruction that enters a body.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// Slots of the frame.
    pub(crate) frame: u32,
    /// Static weight.
    weight: u16,
    /// The link.
    link: Slot,
    /// First local to clear.
    first: Slot,
    /// Blocks to clear.
    blocks: u16,
    /// The function.
    pub(crate) func: u32,
}

impl Entry {
    /// Reads them.
    #[inline(always)]
    pub(crate) unsafe fn read<const MANY: bool>(at: &mut Operands) -> Entry {
        // SAFETY: the contract.
        unsafe {
            Entry {
                frame: at.u32(),
                weight: at.u16(),
                link: at.slot(),
                first: at.slot(),
                blocks: if MANY { at.u16() } else { 0 },
                func: at.u32(),
            }
        }
    }
}

/// The part of `Enter` that does not depend on the number of locals.
#[inline(always)]
unsafe fn enter_with<const MANY: bool>(mut r: Regs, clear: impl FnOnce(Fp, Slot, u16)) -> Out {
    // SAFETY: the contract; the frame is compared with the end of the stack before anything is written to it.
    unsafe {
        let mut at = r.operands();
        let Entry { frame, weight, link, first, blocks, .. } = Entry::read::<MANY>(&mut at);
        if r.fp.0.wrapping_add(frame as usize) > (*(*r.ctx.0).thread).value_limit {
            return slow_path(const { &(unwind::overflow::<MANY> as Handler) }, r);
        }
        clear(r.fp, first, blocks);
        Link::passed(&r).write(r.fp, link);
        r.reload();
        let budget = (*r.ctx.0).budget.get();
        *budget -= i64::from(weight);
        if *budget < 0 {
            return slow_path(const { &(super::entry_budget::<MANY> as Handler) }, r);
        }
        next(r.at(at.end()))
    }
}

/// Slots that `Enter` clears at once.
pub(crate) const BLOCK: usize = 4;

handler! {
    /// Enters a body with up to `4 * B` locals to clear. Clears whole blocks: what lies behind the locals is the link, which is
    /// written again, and operands.
    fn enter[const B: usize](r) {
        enter_with::<false>(r, |fp, first, _| {
            fp.at(first).write_bytes(0, BLOCK * B);
        })
    }

    /// Enters a body with many locals to clear.
    fn enter_many[](r) {
        enter_with::<true>(r, |fp, first, blocks| {
            for i in 0..usize::from(blocks) {
                // The empty assembly keeps it a loop: a call of `memset` would cost spills.
                fp.at(first).add(i * BLOCK).cast::<[u64; BLOCK]>().write([0; BLOCK]);
                std::arch::asm!("", options(nostack, preserves_flags));
            }
        })
    }

    /// The first call of a function: function, slots of its arguments and results.
    fn entry_first[](r) {
        let mut at = r.operands();
        let (func, count) = (at.u32(), at.u16());
        calls_out_for(&r, u32::from(count), Link::passed(&r));
        let entry = hooks::first_call(r.ctx.0, func);
        if entry.is_null() {
            return fail_in_caller(r, Link::passed(&r));
        }
        next(r.at(Ip(entry)))
    }

    /// A call of an imported function.
    fn entry_import[](r) {
        let mut at = r.operands();
        let (func, count) = (at.u32(), at.u16());
        let link = Link::passed(&r);
        calls_out_for(&r, u32::from(count), link);
        let status = if link.is_outermost() {
            hooks::tail_import(r.ctx.0, func, r.fp.0)
        } else {
            hooks::call_import(r.ctx.0, func, r.fp.0)
        };
        called(r, link, status, count != 0)
    }

    /// A call of a function that has machine code: function, slots of its arguments and results, its type's invoker.
    fn entry_native[](r) {
        let mut at = r.operands();
        let (func, count, invoker) = (at.u32(), at.u16(), at.u64());
        let link = Link::passed(&r);
        calls_out_for(&r, u32::from(count), link);
        let status = hooks::call_native(r.ctx.0, func, r.fp.0, invoker as *const u8);
        called(r, link, status, count != 0)
    }

    /// Machine code, or an instruction, has noted a tail call for this frame, whose caller was passed as to an entry.
    fn go_on_with_tail[](r) {
        let link = Link::passed(&r);
        match hooks::tail(r.ctx.0, r.fp.0, link.is_outermost()) {
            Tail::Call(func) => call_function(r, func, r.fp, link),
            Tail::Done => leave(r, link, true),
            Tail::Leave => done(status::TAIL),
            Tail::Fail => fail_in_caller(r, link),
        }
    }

    /// Where the outermost function returns to.
    fn exit[](_r) {
        done(0)
    }

    /// A call: function, first slot of the arguments.
    fn call[](r) {
        let mut at = r.operands();
        let func = at.u32();
        let args = at.slot();
        let link = Link { ip: at.end(), fp: r.fp };
        call_function(r, func, Fp(r.fp.at(args)), link)
    }

    /// A call through a table: element, table, low half of a fitting reference, type, first slot of the arguments, slots
    /// of the frame.
    fn call_indirect[T: Value + Into<u64>, X: Source](r) {
        let mut at = r.operands();
        let element: u64 = X::get::<T>(&r, &mut at).into();
        let (table, tag, _ty) = (at.u32(), at.u32(), at.u32());
        let (args, _frame) = (at.slot(), at.u16());
        match indirect(r.ctx, table, tag, element) {
            Some(func) => {
                let link = Link { ip: at.end(), fp: r.fp };
                call_function(r, func, Fp(r.fp.at(args)), link)
            }
            None => {
                r.int = element;
                slow_path(const { &(call_indirect_slow::<X> as Handler) }, r)
            }
        }
    }

    /// The same where the runtime must look; the accumulator holds the element's index.
    fn call_indirect_slow[X: Source](r) {
        let mut at = r.operands();
        let _ = X::get::<u32>(&r, &mut at);
        let (table, _tag, ty) = (at.u32(), at.u32(), at.u32());
        let (args, frame) = (at.slot(), at.u16());
        calls_out(&r, u32::from(frame));
        let slots = r.fp.at(args);
        if builtins::call_indirect(r.ctx.0, table, r.int, ty, slots) != 0 {
            return fail(r);
        }
        let link = Link { ip: at.end(), fp: r.fp };
        r.fp = Fp(slots);
        leave(r, link, true)
    }

    /// A call through a reference: reference, first slot of the arguments, slots of the frame.
    fn call_ref[](r) {
        let mut at = r.operands();
        let reference = Ref(u64::load(&r, at.slot()));
        let (args, _frame) = (at.slot(), at.u16());
        match reference.as_local() {
            Some(func) => {
                let link = Link { ip: at.end(), fp: r.fp };
                call_function(r, func, Fp(r.fp.at(args)), link)
            }
            None => {
                static SLOW: Handler = call_ref_slow;
                slow_path(&SLOW, r)
            }
        }
    }

    /// The same where the runtime must look.
    fn call_ref_slow[](r) {
        let mut at = r.operands();
        let reference = u64::load(&r, at.slot());
        let (args, frame) = (at.slot(), at.u16());
        calls_out(&r, u32::from(frame));
        let slots = r.fp.at(args);
        if builtins::call_ref(r.ctx.0, reference, slots) != 0 {
            return fail(r);
        }
        let link = Link { ip: at.end(), fp: r.fp };
        r.fp = Fp(slots);
        leave(r, link, true)
    }

    /// The same in place of the running function: reference, arguments and their number, own link, slots of the frame.
    fn tail_call_ref[](r) {
        let mut at = r.operands();
        let reference = Ref(u64::load(&r, at.slot()));
        let (args, count, link) = (at.slot(), at.u16(), at.slot());
        match reference.as_local() {
            Some(func) => {
                let link = Link::read(r.fp, link);
                move_down(r.fp, args, count);
                call_function(r, func, r.fp, link)
            }
            None => {
                static SLOW: Handler = tail_call_ref_slow;
                slow_path(&SLOW, r)
            }
        }
    }

    /// The same where the runtime must look.
    fn tail_call_ref_slow[](r) {
        let mut at = r.operands();
        let reference = u64::load(&r, at.slot());
        let (args, _count, link) = (at.slot(), at.u16(), at.slot());
        let frame = at.u16();
        calls_out(&r, u32::from(frame));
        let status = hooks::tail_ref(r.ctx.0, reference, r.fp.at(args));
        if status == status::FAILED {
            return fail(r);
        }
        let link = Link::read(r.fp, link);
        called(r, link, status, true)
    }

    /// Throws: tag, first slot of the values, slots of the frame.
    fn throw[](r) {
        let mut at = r.operands();
        let (tag, values, frame) = (at.u32(), at.slot(), at.u16());
        calls_out(&r, u32::from(frame));
        builtins::throw(r.ctx.0, tag, r.fp.at(values));
        fail(r)
    }

    /// Throws again: exception, slots of the frame.
    fn throw_ref[](r) {
        let mut at = r.operands();
        let (exception, frame) = (u64::load(&r, at.slot()), at.u16());
        calls_out(&r, u32::from(frame));
        builtins::throw_ref(r.ctx.0, exception);
        fail(r)
    }

    /// Traps if the reference is null.
    fn ref_as_non_null[](r) {
        let mut at = r.operands();
        if u64::load(&r, at.slot()) == Ref::NULL.0 {
            return trap(r, TrapCode::NullReference);
        }
        next(r.at(at.end()))
    }

    /// A call in place of the running function: function, arguments and their number, own link.
    fn tail_call[](r) {
        let mut at = r.operands();
        let func = at.u32();
        let (args, count, link) = (at.slot(), at.u16(), at.slot());
        let link = Link::read(r.fp, link);
        move_down(r.fp, args, count);
        call_function(r, func, r.fp, link)
    }

    /// The same through a table: element, table, tag, type, arguments and their number, own link, slots of the frame,
    /// number of results.
    fn tail_call_indirect[T: Value + Into<u64>](r) {
        let mut at = r.operands();
        let element: u64 = T::load(&r, at.slot()).into();
        let (table, tag, _ty) = (at.u32(), at.u32(), at.u32());
        let (args, count, link) = (at.slot(), at.u16(), at.slot());
        match indirect(r.ctx, table, tag, element) {
            Some(func) => {
                let link = Link::read(r.fp, link);
                move_down(r.fp, args, count);
                call_function(r, func, r.fp, link)
            }
            None => {
                slow_path(const { &(tail_call_indirect_slow::<T> as Handler) }, r)
            }
        }
    }

    /// The same where the runtime must look.
    fn tail_call_indirect_slow[T: Value + Into<u64>](r) {
        let mut at = r.operands();
        let element: u64 = T::load(&r, at.slot()).into();
        let (table, _tag, ty) = (at.u32(), at.u32(), at.u32());
        let (args, _count, link) = (at.slot(), at.u16(), at.slot());
        let frame = at.u16();
        calls_out(&r, u32::from(frame));
        let status = hooks::tail_indirect(r.ctx.0, table, element, ty, r.fp.at(args));
        if status == status::FAILED {
            return fail(r);
        }
        let link = Link::read(r.fp, link);
        called(r, link, status, true)
    }

    /// A return without a value: link.
    fn return_none[](r) {
        let mut at = r.operands();
        let link = Link::read(r.fp, at.slot());
        r.fp = link.fp;
        next(r.at(link.ip))
    }

    /// A return of one value: link, value.
    fn return_one[T: Value, X: Source](r) {
        let mut at = r.operands();
        let link = at.slot();
        let value = X::get::<T>(&r, &mut at);
        let link = Link::read(r.fp, link);
        value.store(&r, Slot(0));
        value.set_acc(&mut r);
        r.fp = link.fp;
        next(r.at(link.ip))
    }

    /// A return of values in consecutive slots: link, first, number.
    fn return_many[](r) {
        let mut at = r.operands();
        let (link, from, count) = (at.slot(), at.slot(), at.u16());
        let link = Link::read(r.fp, link);
        move_down(r.fp, from, count);
        leave(r, link, true)
    }
}
