//! Blocks, branches and loops.

use inkwell::IntPredicate;
use inkwell::basic_block::BasicBlock;
use inkwell::values::{BasicValueEnum, PhiValue};
use wasmparser::{BlockType, BrTable, Operator, OperatorsReader, ValType};

use super::budget::LoopWeight;
use super::build::internal;
use super::checked::Checked;
use super::exceptions::Handlers;
use super::{Shape, Translator};
use crate::abi::TrapCode;
use crate::compile::Level;
use crate::error::Result;

/// What a block takes and gives.
#[derive(Clone, Copy)]
pub(super) struct BlockSignature<'e> {
    pub params: &'e [ValType],
    pub results: &'e [ValType],
}

pub(super) enum FrameKind<'c> {
    Body,
    Block,
    /// Branches go to the header.
    Loop(Join<'c>),
    /// The `else` branch, and the parameters that it begins with.
    If(BasicBlock<'c>, Vec<BasicValueEnum<'c>>),
    Else,
}

/// A place where control flows together.
pub(super) struct Join<'c> {
    pub block: BasicBlock<'c>,
    pub phis: Vec<PhiValue<'c>>,
}

/// Where the translation of a loop begins.
pub(super) struct LoopStart<'e> {
    pub reader: OperatorsReader<'e>,
    pub next_loop: u32,
}

pub(super) struct Frame<'c, 'e> {
    pub kind: FrameKind<'c>,
    pub signature: BlockSignature<'e>,
    /// Operands below the block's parameters.
    pub height: usize,
    /// Where a branch to the end goes; made by the first one.
    pub exit: Option<Join<'c>>,
    /// From where to translate a loop again that is around an entry's.
    pub start: Option<LoopStart<'e>>,
    /// The other version of a loop whose plain one this is.
    pub checked: Option<Checked<'c, 'e>>,
    /// Whether there is a branch to the loop's header.
    pub turns: bool,
    /// If it is a `try_table`: what it catches.
    pub handlers: Option<Handlers<'c>>,
    /// If the operands below it are in memory: how many of them were there before it.
    pub kept: Option<usize>,
}

impl<'c, 'e> Frame<'c, 'e> {
    pub(super) fn new(kind: FrameKind<'c>, signature: BlockSignature<'e>, height: usize) -> Self {
        Frame {
            kind,
            signature,
            height,
            exit: None,
            start: None,
            checked: None,
            turns: false,
            handlers: None,
            kept: None,
        }
    }

    fn branch_types(&self) -> &'e [ValType] {
        match self.kind {
            FrameKind::Loop(_) => self.signature.params,
            _ => self.signature.results,
        }
    }
}

impl<'c, 'e> Translator<'_, 'c, 'e> {
    pub(super) fn control(&mut self, operator: &Operator<'e>) -> Result<bool> {
        match operator {
            Operator::Nop => {}
            Operator::Unreachable => {
                let code = self.i32(TrapCode::Unreachable as u32);
                self.raise(code)?;
                self.reachable = false;
            }
            Operator::Block { blockty } => self.open(FrameKind::Block, *blockty)?,
            Operator::Loop { blockty } => self.open_loop(*blockty)?,
            Operator::If { blockty } => self.open_if(*blockty)?,
            Operator::Else => self.else_()?,
            Operator::End => self.end()?,
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth)?;
                self.reachable = false;
            }
            Operator::BrIf { relative_depth } => self.branch_if(*relative_depth)?,
            Operator::BrOnNull { relative_depth } => self.branch_on_null(*relative_depth)?,
            Operator::BrOnNonNull { relative_depth } => {
                self.branch_on_non_null(*relative_depth)?;
            }
            Operator::BrTable { targets } => self.branch_table(targets)?,
            Operator::Return => {
                self.branch(self.frames.len() as u32 - 1)?;
                self.reachable = false;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads over an operator of unreachable code. True if it may be where reachable code begins again.
    pub(super) fn skip(&mut self, operator: &Operator<'e>) -> Result<bool> {
        match operator {
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                self.skipped += 1;
            }
            Operator::Loop { .. } => {
                self.skipped += 1;
                self.next_loop += 1;
            }
            Operator::Else => return Ok(self.skipped == 0),
            Operator::End if self.skipped == 0 => return Ok(true),
            Operator::End => self.skipped -= 1,
            _ => {}
        }
        Ok(false)
    }

    fn signature(&self, ty: BlockType) -> BlockSignature<'e> {
        match ty {
            BlockType::Empty => BlockSignature { params: &[], results: &[] },
            BlockType::Type(ty) => BlockSignature { params: &[], results: one(ty) },
            BlockType::FuncType(index) => {
                let ty = &self.unit.env.types[index as usize];
                BlockSignature { params: ty.params(), results: ty.results() }
            }
        }
    }

    pub(super) fn open(&mut self, kind: FrameKind<'c>, ty: BlockType) -> Result<()> {
        let signature = self.signature(ty);
        let height = self.stack.len() - signature.params.len();
        let mut frame = Frame::new(kind, signature, height);
        frame.kept = self.keep_operands(height)?;
        self.frames.push(frame);
        Ok(())
    }

    fn open_if(&mut self, ty: BlockType) -> Result<()> {
        let condition = self.pop_condition()?;
        let params = self.signature(ty).params.len();
        let params = self.peek_many(params)?;
        let (then, else_) = (self.block(), self.block());
        self.open(FrameKind::If(else_, params), ty)?;
        self.b.build_conditional_branch(condition, then, else_)?;
        self.b.position_at_end(then);
        Ok(())
    }

    fn else_(&mut self) -> Result<()> {
        if self.reachable {
            self.leave_block()?;
        }
        let frame = self.frames.last_mut().expect("validated: `else` is in an `if`");
        let FrameKind::If(else_, params) = std::mem::replace(&mut frame.kind, FrameKind::Else)
        else {
            return Err(internal("`else` without `if`"));
        };
        self.begin_else(else_, params)
    }

    fn begin_else(&mut self, else_: BasicBlock<'c>, params: Vec<BasicValueEnum<'c>>) -> Result<()> {
        let frame = self.frames.last().expect("it is still there");
        let (height, kept) = (frame.height, frame.kept.is_some());
        self.stack.truncate(height);
        self.begin(else_)?;
        self.reload_operands(kept)?;
        self.stack.extend(params);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let frame = self.frames.last_mut().expect("there is a frame");
        if let FrameKind::If(else_, params) = &mut frame.kind {
            // Without an `else`, the parameters are the results.
            let (else_, params) = (*else_, std::mem::take(params));
            if self.reachable {
                self.leave_block()?;
            }
            self.begin_else(else_, params)?;
        }
        if self.other_version()? || self.copy_loop()? {
            return Ok(());
        }
        if self.reachable && self.frames.last().is_some_and(|frame| frame.exit.is_some()) {
            self.leave_block()?;
        }
        let mut frame = self.frames.pop().expect("it is still there");
        if let Some(handlers) = frame.handlers.take() {
            self.end_handlers(handlers)?;
        }
        if let FrameKind::Loop(_) = frame.kind {
            self.settle_weight();
        }
        if let Some(exit) = frame.exit {
            self.stack.truncate(frame.height);
            self.begin(exit.block)?;
            self.reload_operands(frame.kept.is_some())?;
            self.stack.extend(exit.phis.iter().map(|phi| phi.as_basic_value()));
        }
        if let Some(before) = frame.kept {
            self.kept.truncate(before);
        }
        if self.frames.is_empty() && self.reachable {
            self.return_values()?;
        }
        Ok(())
    }

    /// Goes on in a block to which branches exist.
    pub(super) fn begin(&mut self, block: BasicBlock<'c>) -> Result<()> {
        let last = self.function.get_last_basic_block().expect("there is a block");
        if last != block {
            block.move_after(last).map_err(|()| internal("a block cannot move"))?;
        }
        self.b.position_at_end(block);
        self.reachable = true;
        Ok(())
    }

    /// Flows into the end of the innermost block.
    pub(super) fn leave_block(&mut self) -> Result<()> {
        let results = self.frames.last().expect("there is a frame").signature.results.len();
        let values = self.pop_many(results)?;
        let target = self.exit(self.frames.len() - 1)?;
        self.add_incoming(target, false, &values);
        self.b.build_unconditional_branch(self.join(target, false).block)?;
        self.reachable = false;
        Ok(())
    }

    pub(super) fn return_values(&mut self) -> Result<()> {
        let values = self.pop_many(self.ty.results().len())?;
        let slots = match self.shape {
            Shape::Osr { .. } => Some(self.osr_slots()),
            Shape::Function if values.len() > 1 => {
                self.function.get_last_param().map(BasicValueEnum::into_pointer_value)
            }
            Shape::Function => None,
        };
        match (slots, values.as_slice()) {
            (Some(slots), values) => {
                self.store_slots(slots, 0, values)?;
                self.b.build_return(None)?;
            }
            (None, [value]) => {
                self.b.build_return(Some(value))?;
            }
            (None, _) => {
                self.b.build_return(None)?;
            }
        }
        self.reachable = false;
        Ok(())
    }

    // Branches.

    /// Makes sure that the frame has an exit; gives back its index.
    pub(super) fn exit(&mut self, index: usize) -> Result<usize> {
        if self.frames[index].exit.is_none() {
            let results = self.frames[index].signature.results;
            self.frames[index].exit = Some(self.new_join(results)?);
        }
        Ok(index)
    }

    pub(super) fn new_join(&self, types: &[ValType]) -> Result<Join<'c>> {
        let block = self.block();
        let b = self.unit.context.create_builder();
        b.position_at_end(block);
        let phis = types
            .iter()
            .map(|ty| b.build_phi(self.unit.value_type(*ty), ""))
            .collect::<Result<_, _>>()?;
        Ok(Join { block, phis })
    }

    /// Where a branch to this frame goes: back to a loop's header, or to the end.
    pub(super) fn join(&self, index: usize, header: bool) -> &Join<'c> {
        let frame = &self.frames[index];
        match &frame.kind {
            FrameKind::Loop(join) if header => join,
            _ => frame.exit.as_ref().expect("`exit` made it"),
        }
    }

    pub(super) fn add_incoming(&self, index: usize, header: bool, values: &[BasicValueEnum<'c>]) {
        let from = self.current_block();
        for (phi, value) in self.join(index, header).phis.iter().zip(values) {
            phi.add_incoming(&[(value, from)]);
        }
    }

    /// Notes an edge from the current block to the target of a branch. The values stay on the stack.
    fn edge(&mut self, depth: u32) -> Result<BasicBlock<'c>> {
        let index = self.frames.len() - 1 - depth as usize;
        let header = matches!(self.frames[index].kind, FrameKind::Loop(_));
        if header {
            self.frames[index].turns = true;
        } else {
            self.exit(index)?;
        }
        let values = self.peek_many(self.frames[index].branch_types().len())?;
        self.add_incoming(index, header, &values);
        Ok(self.join(index, header).block)
    }

    pub(super) fn branch(&mut self, depth: u32) -> Result<()> {
        let target = self.edge(depth)?;
        self.b.build_unconditional_branch(target)?;
        Ok(())
    }

    fn branch_if(&mut self, depth: u32) -> Result<()> {
        let condition = self.pop_condition()?;
        let target = self.edge(depth)?;
        let next = self.block();
        self.b.build_conditional_branch(condition, target, next)?;
        self.b.position_at_end(next);
        Ok(())
    }

    /// Without the reference if it is null, which stays otherwise.
    fn branch_on_null(&mut self, depth: u32) -> Result<()> {
        let reference = self.pop_int()?;
        let null = self.b.build_int_compare(IntPredicate::EQ, reference, self.i64(0), "")?;
        let target = self.edge(depth)?;
        let next = self.block();
        self.b.build_conditional_branch(null, target, next)?;
        self.b.position_at_end(next);
        self.push(reference);
        Ok(())
    }

    /// With the reference, unless it is null, which is dropped then.
    fn branch_on_non_null(&mut self, depth: u32) -> Result<()> {
        let reference = self.pop_int()?;
        let null = self.b.build_int_compare(IntPredicate::EQ, reference, self.i64(0), "")?;
        self.push(reference);
        let target = self.edge(depth)?;
        self.stack.pop();
        let next = self.block();
        self.b.build_conditional_branch(null, next, target)?;
        self.b.position_at_end(next);
        Ok(())
    }

    fn branch_table(&mut self, targets: &BrTable<'e>) -> Result<()> {
        let index = self.pop_int()?;
        let default = self.edge(targets.default())?;
        let mut cases = Vec::with_capacity(targets.len() as usize);
        for (case, depth) in (0..).zip(targets.targets()) {
            let depth = depth.map_err(internal)?;
            // LLVM wants an incoming value for each edge, also if several lead to the same block.
            cases.push((self.i32(case), self.edge(depth)?));
        }
        self.b.build_switch(index, default, &cases)?;
        self.reachable = false;
        Ok(())
    }

    // Loops.

    fn open_loop(&mut self, ty: BlockType) -> Result<()> {
        let signature = self.signature(ty);
        let ordinal = self.next_loop;
        self.next_loop += 1;
        if self.shape != (Shape::Osr { index: ordinal }) && self.exchange_loop(ty)? {
            return Ok(());
        }
        let params = self.pop_many(signature.params.len())?;
        let height = self.stack.len();
        let header = self.new_join(signature.params)?;

        let mut frame = Frame::new(FrameKind::Loop(header), signature, height);
        frame.kept = self.keep_operands(height)?;
        if let Shape::Osr { index } = self.shape {
            if self.unit.level == Level::Quick {
                self.frames.push(frame);
                if !self.entered && ordinal == index {
                    self.enter_beside(&params)?;
                }
                return self.flow_into_loop(ordinal, &params);
            }
            if !self.entered && ordinal < index {
                // It may be around the loop that is entered.
                let reader = self.reader.clone();
                frame.start = Some(LoopStart { reader, next_loop: self.next_loop });
            } else if !self.entered && ordinal == index {
                self.frames.push(frame);
                return self.enter_loop(ordinal, params);
            }
        }
        self.frames.push(frame);
        self.flow_into_loop(ordinal, &params)
    }

    /// The loop's header, where each turn begins.
    pub(super) fn start_turn(&mut self, ordinal: u32) -> Result<()> {
        let header = self.join(self.frames.len() - 1, true);
        let (block, params): (_, Vec<_>) =
            (header.block, header.phis.iter().map(|phi| phi.as_basic_value()).collect());
        let kept = self.frames.last().is_some_and(|frame| frame.kept.is_some());
        self.begin(block)?;
        self.reload_operands(kept)?;
        self.stack.extend(params);
        self.weights.push(LoopWeight::default());
        if self.unit.level == Level::Quick {
            self.check_budget(ordinal)?;
        }
        Ok(())
    }
}

/// The type as a slice. All references are the same to LLVM.
fn one(ty: ValType) -> &'static [ValType] {
    match ty {
        ValType::I32 => &[ValType::I32],
        ValType::I64 => &[ValType::I64],
        ValType::F32 => &[ValType::F32],
        ValType::F64 => &[ValType::F64],
        ValType::V128 => &[ValType::V128],
        ValType::Ref(_) => &[ValType::FUNCREF],
    }
}
