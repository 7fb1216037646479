//! What instructions do.
//!
//! Handlers are generic over their operator, over where operands come from ([`Source`]) and where the result goes
//! ([`Dest`]); the table in `isa` names the instances. They read their operands in the order of the table, and all of them
//! before they store a result, since for all the compiler knows a slot may lie in the bytecode.
//!
//! # Safety
//! The contract is that of [`dispatch`](super::dispatch).

mod arithmetic;
mod atomic;
mod bulk;
mod calls;
mod control;
pub(crate) mod lanes;
mod memory;
mod operators;
mod vector;

pub(crate) use arithmetic::*;
pub(crate) use atomic::*;
pub(crate) use bulk::*;
pub(crate) use calls::*;
pub(crate) use control::*;
pub(crate) use memory::*;
pub(crate) use operators::*;
pub(crate) use vector::*;

use super::dispatch::{Handler, Operands, Out, Regs, Slot, slow_path};
use super::unwind;
use updraft_jit::abi::TrapCode;

/// A type that slots and accumulators hold.
pub(crate) trait Value: Copy {
    /// From the accumulator of its class.
    fn acc(r: &Regs) -> Self;
    /// To the accumulator of its class.
    fn set_acc(self, r: &mut Regs);
    /// From a slot.
    unsafe fn load(r: &Regs, slot: Slot) -> Self;
    /// To a slot. Integers fill it, so that a copy of the whole slot need not wait for two stores.
    unsafe fn store(self, r: &Regs, slot: Slot);
    /// From the instruction.
    unsafe fn imm(at: &mut Operands) -> Self;
    /// A small number.
    fn small(value: u16) -> Self;
}

impl Value for u32 {
    #[inline(always)]
    fn acc(r: &Regs) -> Self {
        r.int as u32
    }
    #[inline(always)]
    fn set_acc(self, r: &mut Regs) {
        r.int = u64::from(self);
    }
    #[inline(always)]
    unsafe fn load(r: &Regs, slot: Slot) -> Self {
        // SAFETY: the contract.
        unsafe { r.fp.get(slot) }
    }
    #[inline(always)]
    unsafe fn store(self, r: &Regs, slot: Slot) {
        // SAFETY: the contract.
        unsafe { *r.fp.at(slot) = u64::from(self) }
    }
    #[inline(always)]
    unsafe fn imm(at: &mut Operands) -> Self {
        // SAFETY: the contract.
        unsafe { at.u32() }
    }
    #[inline(always)]
    fn small(value: u16) -> Self {
        u32::from(value)
    }
}

impl Value for u64 {
    #[inline(always)]
    fn acc(r: &Regs) -> Self {
        r.int
    }
    #[inline(always)]
    fn set_acc(self, r: &mut Regs) {
        r.int = self;
    }
    #[inline(always)]
    unsafe fn load(r: &Regs, slot: Slot) -> Self {
        // SAFETY: the contract.
        unsafe { r.fp.get(slot) }
    }
    #[inline(always)]
    unsafe fn store(self, r: &Regs, slot: Slot) {
        // SAFETY: the contract.
        unsafe { *r.fp.at(slot) = self }
    }
    #[inline(always)]
    unsafe fn imm(at: &mut Operands) -> Self {
        // SAFETY: the contract.
        i64::from(unsafe { at.u32() } as i32) as u64
    }
    #[inline(always)]
    fn small(value: u16) -> Self {
        u64::from(value)
    }
}

impl Value for f32 {
    #[inline(always)]
    fn acc(r: &Regs) -> Self {
        r.f32
    }
    #[inline(always)]
    fn set_acc(self, r: &mut Regs) {
        r.f32 = self;
    }
    #[inline(always)]
    unsafe fn load(r: &Regs, slot: Slot) -> Self {
        // SAFETY: the contract.
        unsafe { r.fp.get(slot) }
    }
    #[inline(always)]
    unsafe fn store(self, r: &Regs, slot: Slot) {
        // SAFETY: the contract.
        unsafe { *r.fp.at(slot).cast::<f32>() = self }
    }
    #[inline(always)]
    unsafe fn imm(at: &mut Operands) -> Self {
        // SAFETY: the contract.
        f32::from_bits(unsafe { at.u32() })
    }
    #[inline(always)]
    fn small(value: u16) -> Self {
        f32::from(value)
    }
}

impl Value for f64 {
    #[inline(always)]
    fn acc(r: &Regs) -> Self {
        r.f64
    }
    #[inline(always)]
    fn set_acc(self, r: &mut Regs) {
        r.f64 = self;
    }
    #[inline(always)]
    unsafe fn load(r: &Regs, slot: Slot) -> Self {
        // SAFETY: the contract.
        unsafe { r.fp.get(slot) }
    }
    #[inline(always)]
    unsafe fn store(self, r: &Regs, slot: Slot) {
        // SAFETY: the contract.
        unsafe { *r.fp.at(slot).cast::<f64>() = self }
    }
    #[inline(always)]
    unsafe fn imm(at: &mut Operands) -> Self {
        // SAFETY: the contract.
        f64::from_bits(unsafe { at.u64() })
    }
    #[inline(always)]
    fn small(value: u16) -> Self {
        f64::from(value)
    }
}

/// Where an operand comes from.
pub(crate) trait Source {
    /// Reads the operand.
    unsafe fn get<T: Value>(r: &Regs, at: &mut Operands) -> T;
}

/// A slot.
pub(crate) struct S;
/// The accumulator.
pub(crate) struct A;
/// The instruction.
pub(crate) struct I;
/// The instruction, with all 64 bits of an integer.
pub(crate) struct I64;

impl Source for S {
    #[inline(always)]
    unsafe fn get<T: Value>(r: &Regs, at: &mut Operands) -> T {
        // SAFETY: the contract.
        unsafe { T::load(r, at.slot()) }
    }
}

impl Source for A {
    #[inline(always)]
    unsafe fn get<T: Value>(r: &Regs, _: &mut Operands) -> T {
        T::acc(r)
    }
}

impl Source for I {
    #[inline(always)]
    unsafe fn get<T: Value>(_: &Regs, at: &mut Operands) -> T {
        // SAFETY: the contract.
        unsafe { T::imm(at) }
    }
}

/// Where a result goes.
pub(crate) trait Dest {
    /// Reads the operand.
    unsafe fn slot(at: &mut Operands) -> Slot;
    /// Writes the result.
    unsafe fn put<T: Value>(r: &mut Regs, slot: Slot, value: T);
}

/// The accumulator alone.
pub(crate) struct ToAcc;
/// A slot, and the accumulator.
pub(crate) struct ToSlot;

impl Dest for ToAcc {
    #[inline(always)]
    unsafe fn slot(_: &mut Operands) -> Slot {
        Slot(0)
    }
    #[inline(always)]
    unsafe fn put<T: Value>(r: &mut Regs, _: Slot, value: T) {
        value.set_acc(r);
    }
}

impl Dest for ToSlot {
    #[inline(always)]
    unsafe fn slot(at: &mut Operands) -> Slot {
        // SAFETY: the contract.
        unsafe { at.slot() }
    }
    #[inline(always)]
    unsafe fn put<T: Value>(r: &mut Regs, slot: Slot, value: T) {
        value.set_acc(r);
        // SAFETY: the contract.
        unsafe { value.store(r, slot) }
    }
}

/// Traps at the running instruction.
#[inline(always)]
pub(crate) unsafe fn trap(mut r: Regs, code: TrapCode) -> Out {
    static RAISE: Handler = unwind::raise;
    r.int = code as u64;
    // SAFETY: the contract.
    unsafe { slow_path(&RAISE, r) }
}

/// Gives up at the running instruction, the cause having been recorded.
#[inline(always)]
pub(crate) unsafe fn fail(r: Regs) -> Out {
    static RAISE: Handler = unwind::give_up;
    // SAFETY: the contract.
    unsafe { slow_path(&RAISE, r) }
}

/// Publishes that the value stack is in use up to `slots` above the frame pointer, and which instruction runs, before other code does.
#[inline(always)]
pub(crate) unsafe fn calls_out(r: &Regs, slots: u32) {
    // SAFETY: the contract.
    unsafe {
        let thread = (*r.ctx.0).thread;
        (*thread).value_sp = r.fp.0.add(slots as usize);
        (*thread).exit_pc = r.ip.0 as usize;
        (*thread).exit_fp = r.fp.0 as usize;
    }
}

/// The same for an entry, in whose place other code runs: what is running is the call that it was passed.
#[inline(always)]
pub(crate) unsafe fn calls_out_for(r: &Regs, slots: u32, link: Link) {
    // SAFETY: the contract.
    unsafe {
        let thread = (*r.ctx.0).thread;
        (*thread).value_sp = r.fp.0.add(slots as usize);
        (*thread).exit_pc = link.ip.0 as usize | 1;
        (*thread).exit_fp = link.fp.0 as usize;
    }
}
