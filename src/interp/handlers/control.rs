//! Branches and the budget.

use super::{Binary, Entry, Link, Source, Value, called, calls_out, calls_out_for, fail, trap};
use crate::interp::code::Site;
use crate::interp::dispatch::{Handler, Ip, Operands, Out, Regs, done, handler, next, slow_path};
use crate::interp::outside::{Budget, hooks};
use updraft_jit::abi::{FUNCTION_ENTRY, TrapCode};

/// Which way a branch goes.
pub(crate) trait Direction {
    /// Goes on at the target if `taken`, and otherwise behind the branch. `at` has come to the target.
    unsafe fn branch(r: Regs, at: Operands, taken: bool) -> Out;
}

/// Out of a block.
pub(crate) struct Forward;
/// To the header of a loop: spends budget.
pub(crate) struct Back;

impl Direction for Forward {
    #[inline(always)]
    unsafe fn branch(r: Regs, mut at: Operands, taken: bool) -> Out {
        // SAFETY: the contract.
        unsafe {
            let target = at.target();
            if taken { next(r.at(target)) } else { next(r.at(at.end())) }
        }
    }
}

impl Direction for Back {
    #[inline(always)]
    unsafe fn branch(mut r: Regs, mut at: Operands, taken: bool) -> Out {
        // SAFETY: the contract.
        unsafe {
            let operands = at;
            let target = at.target();
            at.skip_site();
            let weight = at.u16();
            if !taken {
                return next(r.at(at.end()));
            }
            let budget = (*r.ctx.0).budget.get();
            *budget -= i64::from(weight);
            if *budget < 0 {
                static SPENT: Handler = loop_budget;
                r.int = operands.position() as u64;
                return slow_path(&SPENT, r);
            }
            next(r.at(target))
        }
    }
}

handler! {
    /// A branch on a comparison that is `N`.
    fn branch[O: Binary<Out = u32>, L: Source, R: Source, W: Direction, const N: bool](r) {
        let mut at = r.operands();
        let a = L::get::<O::In>(&r, &mut at);
        let b = R::get::<O::In>(&r, &mut at);
        let Ok(value) = O::apply(a, b) else { return done(1) };
        W::branch(r, at, (value != 0) == N)
    }

    /// Adds to a slot, and branches back if the sum compares so with a limit: slot, addend, limit.
    fn step[O: Binary<In = u32, Out = u32>, X: Source, L: Source](r) {
        let mut at = r.operands();
        let slot = at.slot();
        let sum = u32::load(&r, slot).wrapping_add(X::get::<u32>(&r, &mut at));
        // The limit is read after the sum is written: it may be the same slot.
        sum.store(&r, slot);
        sum.set_acc(&mut r);
        let limit = L::get::<u32>(&r, &mut at);
        let Ok(value) = O::apply(sum, limit) else { return done(1) };
        Back::branch(r, at, value != 0)
    }

    /// A branch on a value whose being other than zero is `N`.
    fn branch_test[T: Test, X: Source, W: Direction, const N: bool](r) {
        let mut at = r.operands();
        let value = X::get::<T>(&r, &mut at);
        W::branch(r, at, value.test() == N)
    }

    /// A branch.
    fn br[W: Direction](r) {
        W::branch(r, r.operands(), true)
    }

    /// `br_table`: the index, the number of targets, the targets; the last is the default. Targets of which a loop's header is
    /// the end go through a branch of its own.
    fn br_table[X: Source](r) {
        let mut at = r.operands();
        let index = X::get::<u32>(&r, &mut at);
        let last = at.u32();
        let entry = at.position().cast::<i32>().add(index.min(last) as usize);
        let target = Ip(entry.cast::<u8>().offset(entry.read_unaligned() as isize));
        next(r.at(target))
    }

    /// `unreachable`.
    fn unreachable[](r) {
        trap(r, TrapCode::Unreachable)
    }

    /// The budget is spent at a back-edge; the accumulator holds the place of its target. At the loop's header every live
    /// value is in its slot.
    fn loop_budget[](r) {
        let mut at = r.operands().seek(r.int as *const u8);
        r.ip = at.target();
        let site = at.target().0.cast::<Site>().read_unaligned();
        calls_out(&r, site.frame);
        match hooks::budget(r.ctx.0, site.func, site.ordinal) {
            Budget::Continue => next(r),
            Budget::Stop => fail(r),
            Budget::Osr(entry) => {
                // The results may be written over the link.
                let link = Link::read(r.fp, site.link);
                // The machine code is this activation of the function from now on: if it fails, it has added the frame.
                calls_out_for(&r, site.frame, link);
                let status = hooks::enter_osr(r.ctx.0, entry, r.fp.0);
                called(r, link, status, true)
            }
        }
    }

    /// The budget is spent at the entry of a function. The instruction is still the one that enters.
    fn entry_budget[const MANY: bool](r) {
        let mut at = r.operands();
        let entry = Entry::read::<MANY>(&mut at);
        calls_out(&r, entry.frame);
        r.reload();
        match hooks::budget(r.ctx.0, entry.func, FUNCTION_ENTRY) {
            Budget::Continue | Budget::Osr(_) => next(r.at(at.end())),
            Budget::Stop => fail(r),
        }
    }
}

/// A value that a branch tests.
pub(crate) trait Test: Value {
    /// Whether it is not zero.
    fn test(self) -> bool;
}

impl Test for u32 {
    #[inline(always)]
    fn test(self) -> bool {
        self != 0
    }
}

impl Test for u64 {
    #[inline(always)]
    fn test(self) -> bool {
        self != 0
    }
}
