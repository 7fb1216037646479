//! Entries into loops, for on-stack replacement.
//!
//! An entry at the header of a loop L must not make LLVM's job impossible: a jump into the middle of the loops around
//! L would make them irreducible. So an entry's code is the rest of the function from L's header on, in which what is
//! left of each loop M around L runs once; a branch back to M goes to a complete new copy of M. The copy is translated
//! when M's `end` is reached, by setting the reader back to M's start.
//!
//! What comes before L is translated like everything else, so that types and heights are known, but nothing leads
//! to it; LLVM drops it at once.

use inkwell::types::BasicTypeEnum;
use inkwell::values::BasicValueEnum;

use super::build::slots_of_type;
use super::control::FrameKind;
use super::{Shape, Translator};
use crate::error::Result;

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
