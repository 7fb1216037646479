//! Two versions of counted loops, so that exact traps do not keep them from being vectorised.
//!
//! Volatile accesses trap where they must, but cannot be vectorised. Before a loop that [`counted`] knows, a check
//! finds out whether all its accesses lie in memory. If so, no access of it can trap, and the accesses are
//! plain ones: as the loop ends after a number of turns that is known beforehand, a thread that waits for another one's
//! store does not end up in an endless loop. Otherwise, the loop runs as it would without all this.

use inkwell::IntPredicate;
use inkwell::values::{BasicValueEnum, IntValue};

use super::Translator;
use super::control::{FrameKind, Join, LoopStart};
use super::counted::{self, Access, Bound, Counted, Sum};
use crate::compile::Level;
use crate::error::Result;
use crate::unit::Region;

/// What is left to do when the plain version of a loop ends: to translate the other one.
pub(super) struct Checked<'c, 'e> {
    header: Join<'c>,
    start: LoopStart<'e>,
}

impl<'c> Translator<'_, 'c, '_> {
    /// From the current block into the innermost loop, for its first turn.
    pub(super) fn flow_into_loop(
        &mut self,
        ordinal: u32,
        params: &[BasicValueEnum<'c>],
    ) -> Result<()> {
        let index = self.frames.len() - 1;
        let plain = self.join(index, true).block;
        match self.counted(params) {
            Some(counted) => {
                let inside = self.check_accesses(&counted)?;
                let header = self.new_join(&[])?;
                self.b.build_conditional_branch(inside, plain, header.block)?;
                let reader = self.reader.clone();
                let start = LoopStart { reader, next_loop: self.next_loop };
                self.frames[index].checked = Some(Checked { header, start });
                self.plain = true;
            }
            None => {
                self.add_incoming(index, true, params);
                self.b.build_unconditional_branch(plain)?;
            }
        }
        self.start_turn(ordinal)
    }

    /// At the end of a block: if it is the plain version of a loop, starts the other one.
    pub(super) fn other_version(&mut self) -> Result<bool> {
        let frame = self.frames.last_mut().expect("a block ends");
        let Some(Checked { header, start }) = frame.checked.take() else { return Ok(false) };
        let height = frame.height;
        if self.reachable {
            self.leave_block()?;
        }
        self.settle_weight();
        self.plain = false;
        self.stack.truncate(height);
        self.frames.last_mut().expect("it is still there").kind = FrameKind::Loop(header);
        self.reader = start.reader;
        self.next_loop = start.next_loop;
        self.start_turn(start.next_loop - 1)?;
        Ok(true)
    }

    fn counted(&self, params: &[BasicValueEnum<'c>]) -> Option<Counted> {
        let wanted = self.unit.level == Level::Full
            && self.unit.options.exact_traps
            && params.is_empty()
            && !self.is_before_entry();
        let types = |local: u32| self.locals[local as usize].ty;
        wanted.then(|| counted::analyse(self.unit.env, &types, self.reader.clone())).flatten()
    }

    /// Whether all accesses of the loop lie in memory.
    fn check_accesses(&mut self, counted: &Counted) -> Result<IntValue<'c>> {
        let length = self.memory_length(0)?;
        let (turns, mut all) = self.turns(&counted.bound)?;
        for access in &counted.accesses {
            let inside = self.check_access(access, turns, length)?;
            all = self.b.build_and(all, inside, "")?;
        }
        Ok(all)
    }

    fn check_access(
        &self,
        access: &Access,
        turns: IntValue<'c>,
        length: IntValue<'c>,
    ) -> Result<IntValue<'c>> {
        let first = self.sum(&access.address)?;
        let first = self.b.build_int_z_extend(first, self.unit.types.i64, "")?;
        // Turns are at most 2^32, and strides are limited, so that nothing here overflows.
        let stride = self.i64(u64::from(access.stride.unsigned_abs()));
        let way = self.b.build_int_mul(turns, stride, "")?;
        let highest = if access.stride > 0 { self.b.build_int_add(first, way, "")? } else { first };
        let end = self.b.build_int_add(highest, self.i64(access.end), "")?;
        let inside = self.b.build_int_compare(IntPredicate::ULE, end, length, "")?;
        if access.stride >= 0 {
            return Ok(inside);
        }
        let positive = self.b.build_int_compare(IntPredicate::UGE, first, way, "")?;
        Ok(self.b.build_and(inside, positive, "")?)
    }

    /// How many turns follow the first one at most, and whether that number is right: it is not if the loop runs on
    /// until its variable wraps around.
    fn turns(&self, bound: &Bound) -> Result<(IntValue<'c>, IntValue<'c>)> {
        use IntPredicate as P;
        let types = self.unit.types;
        let (moving, fixed) = (self.sum(&bound.moving)?, self.sum(&bound.fixed)?);
        let upward = bound.stride > 0;
        let step = self.i64(u64::from(bound.stride.unsigned_abs()));
        if bound.predicate == P::NE {
            let (to, from) = if upward { (fixed, moving) } else { (moving, fixed) };
            let distance = self.b.build_int_sub(to, from, "")?;
            let distance = self.b.build_int_z_extend(distance, types.i64, "")?;
            let rest = self.b.build_int_unsigned_rem(distance, step, "")?;
            let meets = self.b.build_int_compare(P::EQ, rest, self.i64(0), "")?;
            return Ok((self.b.build_int_unsigned_div(distance, step, "")?, meets));
        }

        let signed = matches!(bound.predicate, P::SLT | P::SLE | P::SGT | P::SGE);
        let inclusive = matches!(bound.predicate, P::ULE | P::UGE | P::SLE | P::SGE);
        let extend = |value| match signed {
            true => self.b.build_int_s_extend(value, types.i64, ""),
            false => self.b.build_int_z_extend(value, types.i64, ""),
        };
        let (moving, fixed) = (extend(moving)?, extend(fixed)?);
        let signed_i64 = |value: i64| self.i64(value as u64);
        // The first value with which the loop does not go on lies less than a step beyond the limit. It must be a
        // number of 32 bits.
        let (distance, limit, fits) = if upward {
            let limit = self.b.build_int_add(fixed, signed_i64(inclusive.into()), "")?;
            let distance = self.b.build_int_sub(limit, moving, "")?;
            let highest = if signed { i64::from(i32::MAX) } else { i64::from(u32::MAX) };
            (distance, limit, (P::SLE, highest - i64::from(bound.stride) + 1))
        } else {
            let limit = self.b.build_int_sub(fixed, signed_i64(inclusive.into()), "")?;
            let distance = self.b.build_int_sub(moving, limit, "")?;
            let lowest = if signed { i64::from(i32::MIN) } else { 0 };
            (distance, limit, (P::SGE, lowest - i64::from(bound.stride) - 1))
        };
        let fits = self.b.build_int_compare(fits.0, limit, signed_i64(fits.1), "")?;
        let more = self.b.build_int_compare(P::SGT, distance, self.i64(0), "")?;
        let distance = self.b.build_select(more, distance, self.i64(0), "")?.into_int_value();
        let round_up = self.i64(u64::from(bound.stride.unsigned_abs()) - 1);
        let distance = self.b.build_int_add(distance, round_up, "")?;
        Ok((self.b.build_int_unsigned_div(distance, step, "")?, fits))
    }

    /// A sum's value now, before the loop.
    fn sum(&self, sum: &Sum) -> Result<IntValue<'c>> {
        let mut value = self.i32(sum.constant as u32);
        for (local, factor) in &sum.factors {
            let place = self.locals[*local as usize].place;
            let local = self.load(self.unit.types.i32, place, Region::Runtime)?.into_int_value();
            let product = self.b.build_int_mul(local, self.i32(*factor as u32), "")?;
            value = self.b.build_int_add(value, product, "")?;
        }
        Ok(value)
    }
}
