//! Instructions on whole memories and tables: calls of the runtime. All operands come from slots; an operand named frame
//! is the number of slots of the frame.

use super::{Dest, ToSlot, Value, calls_out, fail};
use crate::interp::dispatch::{Operands, Out, Regs, handler, next};
use crate::interp::outside::builtins;
use std::sync::atomic::Ordering;

/// Goes on if the status is success.
#[inline(always)]
unsafe fn check(r: Regs, at: Operands, status: u32) -> Out {
    // SAFETY: the contract.
    unsafe { if status == 0 { next(r.at(at.end())) } else { fail(r) } }
}

/// Which of the integers among the operands are of 64 bits, from the low bit up.
struct Widths(u16);

impl Widths {
    /// The next operand, a slot that holds an integer.
    #[inline(always)]
    unsafe fn int(&mut self, r: &Regs, at: &mut Operands) -> u64 {
        let wide = self.0 & 1 != 0;
        self.0 >>= 1;
        // SAFETY: the contract.
        unsafe {
            let slot = at.slot();
            if wide { u64::load(r, slot) } else { u32::load(r, slot).into() }
        }
    }
}

handler! {
    /// `memory.size`: memory.
    fn memory_size[](r) {
        let mut at = r.operands();
        let memory = (*r.ctx.0).memories.add(at.u32() as usize);
        let bytes = (*(*memory).length).load(Ordering::Relaxed);
        let to = at.slot();
        ToSlot::put(&mut r, to, bytes >> 16);
        next(r.at(at.end()))
    }

    /// `memory.grow`: memory, pages, frame.
    fn memory_grow[](r) {
        let mut at = r.operands();
        let memory = at.u32();
        let pages = Widths(at.u16()).int(&r, &mut at);
        calls_out(&r, u32::from(at.slot().0));
        let old = builtins::memory_grow(r.ctx.0, memory, pages);
        let to = at.slot();
        ToSlot::put(&mut r, to, old as u64);
        next(r.at(at.end()))
    }

    /// `memory.init`: memory, segment, destination, source, bytes, frame.
    fn memory_init[](r) {
        let mut at = r.operands();
        let (memory, segment) = (at.u32(), at.u32());
        let mut widths = Widths(at.u16());
        let to = widths.int(&r, &mut at);
        let from = widths.int(&r, &mut at);
        let count = widths.int(&r, &mut at);
        calls_out(&r, u32::from(at.slot().0));
        let status = builtins::memory_init(r.ctx.0, memory, segment, to, from as u32, count as u32);
        check(r, at, status)
    }

    /// `memory.copy`: two memories, destination, source, bytes, frame.
    fn memory_copy[](r) {
        let mut at = r.operands();
        let (to_memory, from_memory) = (at.u32(), at.u32());
        let mut widths = Widths(at.u16());
        let to = widths.int(&r, &mut at);
        let from = widths.int(&r, &mut at);
        let count = widths.int(&r, &mut at);
        calls_out(&r, u32::from(at.slot().0));
        let status = builtins::memory_copy(
            r.ctx.0, to_memory, from_memory, to, from, count,
        );
        check(r, at, status)
    }

    /// `memory.fill`: memory, destination, byte, bytes, frame.
    fn memory_fill[](r) {
        let mut at = r.operands();
        let memory = at.u32();
        let mut widths = Widths(at.u16());
        let to = widths.int(&r, &mut at);
        let value = widths.int(&r, &mut at) as u32;
        let count = widths.int(&r, &mut at);
        calls_out(&r, u32::from(at.slot().0));
        let status = builtins::memory_fill(r.ctx.0, memory, to, value, count);
        check(r, at, status)
    }

    /// `data.drop`: segment, frame.
    fn data_drop[](r) {
        let mut at = r.operands();
        let segment = at.u32();
        calls_out(&r, u32::from(at.slot().0));
        builtins::data_drop(r.ctx.0, segment);
        next(r.at(at.end()))
    }

    /// Counts a call: function, frame.
    fn count_call[](r) {
        let mut at = r.operands();
        let func = at.u32();
        calls_out(&r, u32::from(at.slot().0));
        let count = (*r.ctx.0).calls.add(updraft_jit::abi::calls_index(func, 0));
        *count += 1;
        if *count == 1 {
            builtins::first_call(r.ctx.0, func, 0);
        }
        next(r.at(at.end()))
    }

    /// `table.get`: table, index, frame.
    fn table_get[](r) {
        let mut at = r.operands();
        let table = at.u32();
        let index = Widths(at.u16()).int(&r, &mut at);
        calls_out(&r, u32::from(at.slot().0));
        let to = at.slot();
        let status = builtins::table_get(r.ctx.0, table, index, r.fp.at(to));
        r.int = r.fp.get(to);
        check(r, at, status)
    }

    /// `table.set`: table, index, reference, frame.
    fn table_set[](r) {
        let mut at = r.operands();
        let table = at.u32();
        let index = Widths(at.u16()).int(&r, &mut at);
        let reference = u64::load(&r, at.slot());
        calls_out(&r, u32::from(at.slot().0));
        let status = builtins::table_set(r.ctx.0, table, index, reference);
        check(r, at, status)
    }

    /// `table.size`: table.
    fn table_size[](r) {
        let mut at = r.operands();
        let table = *(*r.ctx.0).tables.add(at.u32() as usize);
        let length = (*table).length;
        let to = at.slot();
        ToSlot::put(&mut r, to, length);
        next(r.at(at.end()))
    }

    /// `table.grow`: table, reference, elements, frame.
    fn table_grow[](r) {
        let mut at = r.operands();
        let table = at.u32();
        let mut widths = Widths(at.u16());
        let reference = u64::load(&r, at.slot());
        let count = widths.int(&r, &mut at);
        calls_out(&r, u32::from(at.slot().0));
        let old = builtins::table_grow(r.ctx.0, table, reference, count);
        let to = at.slot();
        ToSlot::put(&mut r, to, old as u64);
        next(r.at(at.end()))
    }

    /// `table.fill`: table, index, reference, elements, frame.
    fn table_fill[](r) {
        let mut at = r.operands();
        let table = at.u32();
        let mut widths = Widths(at.u16());
        let index = widths.int(&r, &mut at);
        let reference = u64::load(&r, at.slot());
        let count = widths.int(&r, &mut at);
        calls_out(&r, u32::from(at.slot().0));
        let status = builtins::table_fill(r.ctx.0, table, index, reference, count);
        check(r, at, status)
    }

    /// `table.copy`: two tables, destination, source, elements, frame.
    fn table_copy[](r) {
        let mut at = r.operands();
        let (to_table, from_table) = (at.u32(), at.u32());
        let mut widths = Widths(at.u16());
        let to = widths.int(&r, &mut at);
        let from = widths.int(&r, &mut at);
        let count = widths.int(&r, &mut at);
        calls_out(&r, u32::from(at.slot().0));
        let status = builtins::table_copy(r.ctx.0, to_table, from_table, to, from, count);
        check(r, at, status)
    }

    /// `table.init`: table, segment, destination, source, elements, frame.
    fn table_init[](r) {
        let mut at = r.operands();
        let (table, segment) = (at.u32(), at.u32());
        let mut widths = Widths(at.u16());
        let to = widths.int(&r, &mut at);
        let from = widths.int(&r, &mut at);
        let count = widths.int(&r, &mut at);
        calls_out(&r, u32::from(at.slot().0));
        let (from, count) = (from as u32, count as u32);
        let status = builtins::table_init(r.ctx.0, table, segment, to, from, count);
        check(r, at, status)
    }

    /// `elem.drop`: segment, frame.
    fn elem_drop[](r) {
        let mut at = r.operands();
        let segment = at.u32();
        calls_out(&r, u32::from(at.slot().0));
        builtins::elem_drop(r.ctx.0, segment);
        next(r.at(at.end()))
    }

    /// `global.set` of a reference that others see: global, reference, frame.
    fn global_set_ref[](r) {
        let mut at = r.operands();
        let global = at.u32();
        let reference = u64::load(&r, at.slot());
        calls_out(&r, u32::from(at.slot().0));
        builtins::global_set_ref(r.ctx.0, global, reference);
        next(r.at(at.end()))
    }
}
