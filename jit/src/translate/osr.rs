//! Entries into loops, for on-stack replacement.
//!
//! An entry at the header of a loop L must not make LLVM's job impossible: a jump into the middle of the loops around
//! L would make them irreducible. So an entry's full code is the rest of the function from L's header on, in which what is
//! left of each loop M around L runs once; a branch back to M goes to a complete new copy of M. The copy is translated
//! when M's `end` is reached, by setting the reader back to M's start.
//!
//! What comes before L is translated like everything else, so that types and heights are known, but nothing leads
//! to it; LLVM drops it at once.
//!
//! Quick code is not optimised, so it is the function as it is, with a second way to L's header: a copy for each loop around L would
//! take as long to make as the function. Operands that lie below a block or loop around L have two definitions then, before it and
//! at the entry. They are kept in memory, and are loaded again wherever control can come from the entry: at the headers of loops
//! around L, at the ends of blocks, and at `else`.

use inkwell::types::BasicTypeEnum;
use inkwell::values::{BasicValueEnum, PointerValue};

use super::build::slots_of_type;
use super::control::FrameKind;
use super::{Shape, Translator};
use crate::compile::Level;
use crate::error::Result;

/// An operand in memory.
#[derive(Clone, Copy)]
pub(super) struct Kept<'c> {
    place: PointerValue<'c>,
    ty: BasicTypeEnum<'c>,
}

impl<'c> Translator<'_, 'c, '_> {
    /// Whether this is code before an entry's loop, to which nothing leads.
    pub(super) fn is_before_entry(&self) -> bool {
        self.shape != Shape::Function && !self.entered
    }

    /// Begins the entry at the innermost loop, whose parameters were popped.
    pub(super) fn enter_loop(
        &mut self,
        ordinal: u32,
        params: Vec<BasicValueEnum<'c>>,
    ) -> Result<()> {
        self.entered = true;
        self.b.build_unreachable()?;
        self.start = self.block();
        self.b.position_at_end(self.start);

        let slots = self.osr_slots();
        let mut slot = u64::from(self.operand_slot());
        let dead = std::mem::take(&mut self.stack).into_iter().chain(params.iter().copied());
        for value in dead {
            let ty: BasicTypeEnum = match value.get_type() {
                BasicTypeEnum::IntType(int) if int == self.unit.types.i1 => {
                    self.unit.types.i32.into()
                }
                other => other,
            };
            let place = self.displace(slots, 8 * slot)?;
            slot += slots_of_type(ty);
            self.stack.push(self.load_slot(ty, place)?);
        }
        let params = self.pop_many(params.len())?;

        // What was a loop around this one is now a block, with a branch back to the loop's copy.
        let around = self.frames.len() - 1;
        for index in 0..around {
            if let FrameKind::Loop(_) = self.frames[index].kind {
                let header = self.new_join(self.frames[index].signature.params)?;
                self.frames[index].kind = FrameKind::Loop(header);
                self.frames[index].turns = false;
            }
        }
        self.flow_into_loop(ordinal, &params)
    }

    /// Keeps the lowest `height` operands in memory for a block that may be around an entry's loop, if there is need to. How many were
    /// there before.
    pub(super) fn keep_operands(&mut self, height: usize) -> Result<Option<usize>> {
        if self.unit.level != Level::Quick || !self.is_before_entry() {
            return Ok(None);
        }
        let before = self.kept.len();
        for index in before..height {
            let value = self.widen(self.stack[index])?;
            let ty = value.get_type();
            let place = self.entry.build_alloca(ty, "")?;
            self.b.build_store(place, value)?;
            self.stack[index] = value;
            self.kept.push(Kept { place, ty });
        }
        Ok(Some(before))
    }

    /// Where control may come from the entry: all operands are those in memory, if the innermost block has kept them.
    pub(super) fn reload_operands(&mut self, kept: bool) -> Result<()> {
        if kept {
            for (value, kept) in self.stack.iter_mut().zip(&self.kept) {
                *value = self.b.build_load(kept.ty, kept.place, "")?;
            }
        }
        Ok(())
    }

    /// Makes the entry to the innermost loop, whose parameters these are, beside the way that leads to it otherwise.
    pub(super) fn enter_beside(&mut self, params: &[BasicValueEnum<'c>]) -> Result<()> {
        self.entered = true;
        let before = self.current_block();
        self.start = self.block();
        self.b.position_at_end(self.start);

        let slots = self.osr_slots();
        let mut slot = u64::from(self.operand_slot());
        let mut load = |this: &Self, ty| {
            let place = this.displace(slots, 8 * slot)?;
            slot += slots_of_type(ty);
            this.load_slot(ty, place)
        };
        for kept in &self.kept {
            self.b.build_store(kept.place, load(self, kept.ty)?)?;
        }
        let types = params.iter().map(BasicValueEnum::get_type);
        let params = types.map(|ty| load(self, ty)).collect::<Result<Vec<_>>>()?;
        let index = self.frames.len() - 1;
        self.add_incoming(index, true, &params);
        self.b.build_unconditional_branch(self.join(index, true).block)?;
        self.b.position_at_end(before);
        Ok(())
    }

    /// At the end of a block: if it is what was left of a loop around the entry's, and there are branches back, starts
    /// the loop's copy.
    pub(super) fn copy_loop(&mut self) -> Result<bool> {
        let frame = self.frames.last_mut().expect("a block ends");
        let Some(start) = frame.start.take().filter(|_| self.entered) else {
            return Ok(false);
        };
        if !frame.turns {
            if let FrameKind::Loop(header) = &frame.kind {
                // SAFETY: the block is new, has no code, and no branch leads to it.
                unsafe { header.block.delete() }.expect("it is part of the function");
            }
            return Ok(false);
        }
        let height = frame.height;
        if self.reachable {
            self.leave_block()?;
        }
        self.settle_weight();
        self.stack.truncate(height);
        self.reader = start.reader;
        self.next_loop = start.next_loop;
        self.start_turn(start.next_loop - 1)?;
        Ok(true)
    }
}
