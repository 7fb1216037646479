//! Blocks, branches, calls and returns.

use super::fuse::Fuse;
use super::values::{self, Pending, Src, Value};
use super::{TranslateError, Translator, ty};
use crate::interp::code::{Clause, Handlers, Site};
use crate::interp::dispatch::Slot;
use crate::interp::encode::{Args, Label, Position};
use crate::interp::handlers::BLOCK;
use crate::interp::isa::{self, Binary, Class, Op, Ty, Way};
use updraft_jit::abi::{MOST_WEIGHT, Ref};
use updraft_jit::env::{ModuleEnv, slots};
use wasmparser::{BlockType, BrTable, Catch, FuncType, TryTable, ValType};

/// What a block is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The function's body.
    Body,
    /// `block`.
    Block,
    /// `loop`; its number among the function's loops, and how many operators came before.
    Loop { ordinal: u32, start: u32 },
    /// `if`, before its `else`: where a false condition goes, and the mirrors there.
    If { otherwise: Label, mirrors: [Option<Slot>; Class::COUNT] },
}

/// A block that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) kind: Kind,
    /// Its type.
    ty: BlockType,
    /// Height of the stack below its parameters.
    height: usize,
    /// Where branches to it go: a loop's header, otherwise the end.
    label: Label,
}

impl Block {
    pub(super) fn new(kind: Kind, height: usize) -> Block {
        Block { kind, ty: BlockType::Empty, height, label: Label::NEW }
    }
}

/// A `try_table` that is open.
#[derive(Clone, Debug)]
pub(super) struct OpenTry {
    /// Its block.
    block: usize,
    /// Its clauses, and where its body starts.
    handlers: Handlers,
}

/// An operand that is to refer to the record of a loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct SiteRef {
    /// The instruction.
    instruction: Position,
    /// Which byte of its operands.
    at: usize,
    /// The loop.
    ordinal: u32,
}

/// What a conditional branch tests.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    Compare { op: Binary, lhs: Src, rhs: Src, sense: bool },
    NotZero { wide: bool, src: Src },
    Zero { wide: bool, src: Src },
}

fn params(env: &ModuleEnv, ty: BlockType) -> &[ValType] {
    match ty {
        BlockType::Empty | BlockType::Type(_) => &[],
        BlockType::FuncType(index) => env.types[index as usize].params(),
    }
}

fn results<'a>(env: &'a ModuleEnv, ty: &'a BlockType) -> &'a [ValType] {
    match ty {
        BlockType::Empty => &[],
        BlockType::Type(ty) => std::slice::from_ref(ty),
        BlockType::FuncType(index) => env.types[*index as usize].results(),
    }
}

impl Translator {
    /// The instruction that begins the function; its operands are completed at the end.
    pub(super) fn enter(&mut self, env: &ModuleEnv) -> Result<Position, TranslateError> {
        let params = slots(env.function_type(self.func).params()) as usize;
        let locals = self.locals.len();
        let blocks = (locals - params).div_ceil(BLOCK);
        let op = isa::enter(blocks.min(5)).expect("five is any number");
        let mut args = Args::NONE.u32(0).u16(1).slot(self.link()).slot(Slot(params as u16));
        if blocks > 4 {
            args = args.u16(blocks as u16);
        }
        args = args.u32(self.func);
        // What the last block clears beyond the locals is in the frame.
        self.max_height = BLOCK - 1;
        self.push_body();
        if locals > usize::from(u16::MAX) {
            return self.unsupported("as many locals");
        }
        let enter = self.encoder.emit(op, &args, self.offset);
        if self.count_calls {
            self.call_out(Op::CountCall, &[self.func], &[], 0, None);
        }
        Ok(enter)
    }

    /// Completes the function.
    pub(super) fn finish(&mut self, enter: Position) -> Result<(), TranslateError> {
        // One slot more than needed: results are looked at even if there are none.
        let frame = self.base + self.max_height + 1;
        if self.encoder.is_too_long() {
            return self.unsupported("functions that are so long");
        }
        let Ok(narrow) = u16::try_from(frame) else {
            return self.unsupported("a frame of so many values");
        };
        self.encoder.set(enter.operand(0), u32::from(narrow));
        // What runs once for each call: all operators outside of loops.
        let weight = self.count.saturating_sub(self.looped).clamp(1, MOST_WEIGHT);
        self.encoder.patch_u16(enter.operand(4), weight as u16);
        for field in &self.frame_fields {
            self.encoder.patch_u16(*field, narrow);
        }
        self.sites.sort_unstable_by_key(|site| site.ordinal);
        let mut last = None;
        let mut record = self.encoder.position();
        for SiteRef { instruction, at, ordinal } in &self.sites {
            if last != Some(*ordinal) {
                last = Some(*ordinal);
                let link = self.locals.len() as u16;
                record = self.encoder.word(self.func);
                self.encoder.word(*ordinal);
                self.encoder.word(frame as u32);
                self.encoder.word(u32::from(link));
                const { assert!(size_of::<Site>() == 16) };
            }
            self.encoder.set(instruction.operand(*at), record.0 - instruction.0);
        }
        self.encoder.pad();
        Ok(())
    }

    /// How many slots a branch to the block carries.
    fn arity(&self, env: &ModuleEnv, block: usize) -> usize {
        let block = self.blocks[block];
        let types = match block.kind {
            Kind::Loop { .. } => params(env, block.ty),
            Kind::Body => env.function_type(self.func).results(),
            _ => results(env, &block.ty),
        };
        slots(types) as usize
    }

    fn open(&mut self, env: &ModuleEnv, kind: Kind, ty: BlockType) {
        let height = self.stack.len() - slots(params(env, ty)) as usize;
        self.blocks.push(Block { kind, ty, height, label: Label::NEW });
    }

    pub(super) fn block(&mut self, env: &ModuleEnv, ty: BlockType) {
        self.settle(0);
        self.open(env, Kind::Block, ty);
    }

    pub(super) fn try_table(&mut self, env: &ModuleEnv, table: &TryTable) {
        self.settle(0);
        // A handler is a branch to its label, which the body jumps over.
        let mut over = Label::NEW;
        self.jump_forward(Op::Br, Args::NONE, &mut over);
        let mut clauses = Vec::with_capacity(table.catches.len());
        for catch in &table.catches {
            let (tag, label, keep) = match *catch {
                Catch::One { tag, label } => (Some(tag), label, false),
                Catch::OneRef { tag, label } => (Some(tag), label, true),
                Catch::All { label } => (None, label, false),
                Catch::AllRef { label } => (None, label, true),
            };
            let block = self.target(label);
            let to = self.slot(self.blocks[block].height);
            clauses.push(Clause { tag, keep, target: self.encoder.position().0, to });
            // What the branch carries needs room, though no path may come to the label's end.
            let values = tag.map_or(0, |tag| slots(env.tag_type(tag).params()) as usize);
            let height = self.blocks[block].height + values + usize::from(keep);
            self.max_height = self.max_height.max(height);
            self.jump_always(block);
        }
        self.encoder.bind(&mut over);
        let start = self.encoder.position().0;
        self.open(env, Kind::Block, table.ty);
        let block = self.blocks.len() - 1;
        self.tries.push(OpenTry { block, handlers: Handlers { start, end: start, clauses } });
    }

    /// At the end of a block: if it is a `try_table`, its handlers end here.
    fn end_try(&mut self, block: usize) {
        if self.tries.last().is_some_and(|open| open.block == block) {
            // No instruction is taken back over this place.
            let mut here = Label::NEW;
            self.encoder.bind(&mut here);
            let mut handlers = self.tries.pop().expect("just looked at").handlers;
            handlers.end = self.encoder.position().0;
            self.handlers.push(handlers);
        }
    }

    pub(super) fn throw(&mut self, env: &ModuleEnv, tag: u32) {
        let from = self.arguments(env.tag_type(tag));
        let args = Args::NONE.u32(tag).slot(self.slot(from));
        self.emit_with_frame(Op::Throw, args, None);
        self.skipping = Some(0);
    }

    pub(super) fn throw_ref(&mut self) {
        let exception = self.pop_slot();
        self.emit_with_frame(Op::ThrowRef, Args::NONE.slot(exception), None);
        self.skipping = Some(0);
    }

    pub(super) fn loop_(&mut self, env: &ModuleEnv, ty: BlockType) {
        self.settle(0);
        self.open(env, Kind::Loop { ordinal: self.loops, start: self.count }, ty);
        self.loops += 1;
        self.open_loops += 1;
        let mut label = Label::NEW;
        self.encoder.bind(&mut label);
        self.blocks.last_mut().expect("just opened").label = label;
        self.forget();
    }

    pub(super) fn if_(&mut self, env: &ModuleEnv, ty: BlockType) {
        let condition = self.pop_condition();
        self.settle(0);
        let mut otherwise = Label::NEW;
        let (op, args) = Self::conditional(condition, false, Way::Forward);
        self.jump_forward(op, args, &mut otherwise);
        self.open(env, Kind::If { otherwise, mirrors: self.mirrors }, ty);
    }

    pub(super) fn else_(&mut self, env: &ModuleEnv) {
        let index = self.blocks.len() - 1;
        let Block { kind, ty, height, .. } = self.blocks[index];
        if self.skipping.take().is_none() {
            self.settle(height);
            self.jump(Op::Br, Args::NONE, index);
        }
        let Kind::If { mut otherwise, mirrors } = kind else {
            unreachable!("the body is validated")
        };
        self.encoder.bind(&mut otherwise);
        self.mirrors = mirrors;
        self.blocks[index].kind = Kind::Block;
        self.reset(height, params(env, ty));
    }

    /// Makes the stack what it is at a label: entries below `height`, and these in their slots.
    fn reset(&mut self, height: usize, types: &[ValType]) {
        debug_assert!(self.pending.is_none());
        self.cut(height);
        for value in types {
            let ty = ty(*value);
            self.push(ty, Value::Place);
            if ty == Ty::V128 {
                self.push(ty, Value::Place);
            }
        }
        if self.clean >= height {
            self.clean = self.stack.len();
        }
    }

    /// Whether a branch back from behind may come here.
    pub(super) fn in_loop(&self) -> bool {
        self.open_loops != 0
    }

    /// Pops entries that nobody needs.
    fn cut(&mut self, height: usize) {
        while self.stack.len() > height {
            self.pop();
        }
    }

    pub(super) fn end(&mut self, env: &ModuleEnv) {
        let index = self.blocks.len() - 1;
        let reachable = self.skipping.take().is_none();
        if reachable && self.tries.last().is_some_and(|open| open.block == index) {
            self.flush();
        }
        self.end_try(index);
        let Block { kind, ty, height, mut label } = self.blocks[index];
        match kind {
            Kind::Body => {
                if label.is_used() {
                    if reachable {
                        self.settle(height);
                    }
                    self.encoder.bind(&mut label);
                    self.forget();
                    self.reset(height, env.function_type(self.func).results());
                }
                if reachable || label.is_used() {
                    self.return_(env);
                }
            }
            Kind::Loop { start, .. } => {
                if !self.blocks[..index].iter().any(|block| matches!(block.kind, Kind::Loop { .. }))
                {
                    self.looped += self.count - start;
                }
                if !reachable {
                    self.skipping = Some(0);
                    self.cut(height);
                }
            }
            Kind::Block if !label.is_used() => {
                if !reachable {
                    self.skipping = Some(0);
                    self.cut(height);
                }
            }
            Kind::Block | Kind::If { .. } => {
                if reachable {
                    self.settle(height);
                }
                if let Kind::If { mut otherwise, .. } = kind {
                    self.encoder.bind(&mut otherwise);
                }
                if label.is_used() {
                    self.encoder.bind(&mut label);
                }
                self.forget();
                self.reset(height, results(env, &ty));
            }
        }
        self.blocks.pop();
    }

    /// Pops what a conditional branch tests. A comparison that is pending is not emitted; the branch takes it in.
    fn pop_condition(&mut self) -> Condition {
        if self.top_is_pending() {
            let fuse = self.pending.map_or(Fuse::None, |Pending { fuse, .. }| fuse);
            let condition = match fuse {
                Fuse::Compare { op, lhs, rhs, sense } => {
                    Some(Condition::Compare { op, lhs, rhs, sense })
                }
                Fuse::Zero { wide, src } => Some(Condition::Zero { wide, src }),
                _ => None,
            };
            if let Some(condition) = condition {
                self.pending = None;
                self.pop();
                return condition;
            }
        }
        let mut src = self.pop1();
        if let Src::Imm(value) = src {
            self.copy_constant(Ty::I32, value, None);
            src = Src::Acc;
        }
        Condition::NotZero { wide: false, src }
    }

    /// The instruction that branches if the condition is `sense`, without its target.
    fn conditional(condition: Condition, mut sense: bool, way: Way) -> (Op, Args) {
        let (wide, src) = match condition {
            Condition::Compare { mut op, lhs, rhs, sense: positive } => {
                sense = sense == positive;
                if !sense && let Some(negated) = op.negated() {
                    (op, sense) = (negated, true);
                }
                let args = rhs.encode(lhs.encode(Args::NONE, op.ty()), op.ty());
                let op = isa::branch(op, lhs.form(), rhs.form(), way, sense);
                return (op.expect("a comparison's forms are those of its branch"), args);
            }
            Condition::NotZero { wide, src } => (wide, src),
            Condition::Zero { wide, src } => {
                sense = !sense;
                (wide, src)
            }
        };
        let op = isa::branch_test(wide, src.form(), way, sense).expect("slots and accumulators");
        (op, src.encode(Args::NONE, Ty::I32))
    }

    /// Emits a branch to a label of the translator's own.
    fn jump_forward(&mut self, op: Op, args: Args, label: &mut Label) {
        debug_assert!(self.pending.is_none());
        let position = self.encoder.emit(op, &args.u32(0), self.offset);
        self.encoder.refer(position, args.len(), label);
    }

    /// Emits a branch to a block.
    fn jump(&mut self, op: Op, args: Args, block: usize) {
        let mut label = self.blocks[block].label;
        if let Kind::Loop { ordinal, start } = self.blocks[block].kind {
            debug_assert!(self.pending.is_none());
            let at = args.len();
            let weight = (self.count - start).clamp(1, MOST_WEIGHT) as u16;
            let args = args.u32(0).u32(0).u16(weight);
            let position = self.encoder.emit(op, &args, self.offset);
            self.encoder.refer(position, at, &mut label);
            self.sites.push(SiteRef { instruction: position, at: at + 4, ordinal });
        } else {
            self.jump_forward(op, args, &mut label);
            self.blocks[block].label = label;
        }
    }

    /// Emits an unconditional branch to a block.
    fn jump_always(&mut self, block: usize) {
        let op = match self.way(block) {
            Way::Forward => Op::Br,
            Way::Back => Op::BrBack,
        };
        self.jump(op, Args::NONE, block);
    }

    fn way(&self, block: usize) -> Way {
        match self.blocks[block].kind {
            Kind::Loop { .. } => Way::Back,
            _ => Way::Forward,
        }
    }

    /// Moves the topmost `count` operands to where they are at height `to`. They stay where they are, too, as far as the
    /// stack of the translation is concerned. What is pending must be one of them, or nothing.
    fn place(&mut self, count: usize, to: usize) {
        let from = self.stack.len() - count;
        for i in 0..count {
            let entry = self.stack[from + i];
            let slot = self.slot(to + i);
            let pending = if entry.value == Value::Pending { None } else { self.pending.take() };
            match entry.value {
                Value::Pending => self.emit_to_slot(slot),
                Value::Local(local) => self.move_slot(entry.ty, local, slot),
                Value::Const(value) => self.move_constant(value, slot),
                Value::Place => self.move_slot(entry.ty, self.slot(from + i), slot),
            }
            self.pending = self.pending.take().or(pending);
        }
    }

    pub(super) fn br(&mut self, env: &ModuleEnv, depth: u32) {
        let block = self.target(depth);
        if matches!(self.blocks[block].kind, Kind::Body) {
            return self.return_(env);
        }
        let (count, to) = (self.arity(env, block), self.blocks[block].height);
        let from = self.stack.len() - count;
        if from == to {
            self.settle(from);
        } else {
            if self.pending.is_some_and(|pending| pending.index < from) {
                self.flush();
            }
            self.place(count, to);
        }
        self.jump_always(block);
        self.skipping = Some(0);
    }

    pub(super) fn br_if(&mut self, env: &ModuleEnv, depth: u32) {
        let condition = self.pop_condition();
        self.branch_on(env, condition, depth);
    }

    /// A branch if the condition holds.
    fn branch_on(&mut self, env: &ModuleEnv, condition: Condition, depth: u32) {
        let block = self.target(depth);
        let (count, to) = (self.arity(env, block), self.blocks[block].height);
        let from = self.stack.len() - count;
        if count == 0 || from == to {
            self.settle(from);
            let way = self.way(block);
            let stepped = if way == Way::Back { self.step(condition) } else { None };
            let (op, args) = stepped.unwrap_or_else(|| Self::conditional(condition, true, way));
            self.jump(op, args, block);
        } else {
            let mut skip = Label::NEW;
            let (op, args) = Self::conditional(condition, false, Way::Forward);
            self.jump_forward(op, args, &mut skip);
            let mirrors = self.mirrors;
            self.place(count, to);
            self.jump_always(block);
            self.encoder.bind(&mut skip);
            self.mirrors = mirrors;
        }
    }

    /// Puts the topmost operand into a slot, where it stays.
    fn slot_of_top(&mut self) -> Slot {
        let index = self.stack.len() - 1;
        self.settle(index);
        self.slot(index)
    }

    pub(super) fn br_on_null(&mut self, env: &ModuleEnv, depth: u32) {
        let slot = self.slot_of_top();
        let entry = self.pop();
        let condition = Condition::Zero { wide: true, src: Src::Slot(slot) };
        self.branch_on(env, condition, depth);
        self.push(entry.ty, Value::Place);
    }

    pub(super) fn br_on_non_null(&mut self, env: &ModuleEnv, depth: u32) {
        let slot = self.slot_of_top();
        let condition = Condition::NotZero { wide: true, src: Src::Slot(slot) };
        self.branch_on(env, condition, depth);
        self.pop();
    }

    pub(super) fn ref_as_non_null(&mut self) {
        let slot = self.slot_of_top();
        self.emit(Op::RefAsNonNull, Args::NONE.slot(slot));
    }

    pub(super) fn call_ref(&mut self, env: &ModuleEnv, ty: u32) {
        let reference = self.pop_slot();
        let func = &env.types[ty as usize];
        let from = self.arguments(func);
        let args = Args::NONE.slot(reference).slot(self.slot(from));
        self.emit_with_frame(Op::CallRef, args, None);
        self.results_of(func, from);
    }

    pub(super) fn return_call_ref(&mut self, env: &ModuleEnv, ty: u32) {
        let reference = self.pop_slot();
        let func = &env.types[ty as usize];
        let from = self.arguments(func);
        let args = Args::NONE.slot(reference).slot(self.slot(from));
        let args = args.u16(slots(func.params()) as u16).slot(self.link());
        self.emit_with_frame(Op::TailCallRef, args, None);
        self.skipping = Some(0);
    }

    pub(super) fn br_table(
        &mut self,
        env: &ModuleEnv,
        targets: &BrTable<'_>,
    ) -> Result<(), TranslateError> {
        let index = self.pop_index();
        let count = self.arity(env, self.target(targets.default()));
        let from = self.stack.len() - count;
        self.settle(from);

        let op = if index == Src::Acc { Op::BrTableA } else { Op::BrTableS };
        let args = index.encode(Args::NONE, Ty::I32).u32(targets.len());
        self.encoder.begin(op, &args, self.offset);
        // Branches that must move values or spend budget follow the table.
        let mut detours: Vec<(usize, Label)> = Vec::new();
        for depth in targets.targets().chain([Ok(targets.default())]) {
            let block = self.target(depth?);
            let field = self.encoder.word(0);
            let in_place = count == 0 || self.blocks[block].height == from;
            if in_place && self.way(block) == Way::Forward {
                self.encoder.refer_entry(field, &mut self.blocks[block].label);
                continue;
            }
            let known = detours.iter().position(|(known, _)| *known == block);
            let detour = known.unwrap_or_else(|| {
                detours.push((block, Label::NEW));
                detours.len() - 1
            });
            self.encoder.refer_entry(field, &mut detours[detour].1);
        }
        self.encoder.pad();
        for (block, mut label) in detours {
            self.encoder.bind(&mut label);
            let to = self.blocks[block].height;
            if count != 0 && to != from {
                let args = Args::NONE.slot(self.slot(from)).slot(self.slot(to));
                self.emit(Op::MoveMany, args.u16(count as u16));
            }
            self.jump_always(block);
        }
        self.skipping = Some(0);
        Ok(())
    }

    /// Pops an operand that an instruction takes from a slot or the accumulator.
    pub(super) fn pop_index(&mut self) -> Src {
        let src = self.pop1();
        let Src::Imm(value) = src else { return src };
        let slot = self.slot(self.stack.len());
        self.move_constant(value, slot);
        Src::Slot(slot)
    }

    pub(super) fn return_(&mut self, env: &ModuleEnv) {
        let results = env.function_type(self.func).results();
        let link = Args::NONE.slot(self.link());
        match slots(results) as usize {
            0 => {
                self.flush();
                self.emit(Op::Return, link);
            }
            1 => {
                let ty = self.stack.last().expect("the body is validated").ty;
                let mut src = self.pop1();
                if let Src::Imm(value) = src
                    && !values::fits(ty, value)
                {
                    self.copy_constant(ty, value, None);
                    src = Src::Acc;
                }
                let op = isa::return_one(ty.class(), src.form()).expect("all forms exist");
                self.emit(op, src.encode(link, ty));
            }
            count => {
                let from = self.stack.len() - count;
                self.settle(from);
                self.emit(Op::ReturnMany, link.slot(self.slot(from)).u16(count as u16));
            }
        }
        self.skipping = Some(0);
    }

    /// Takes the arguments of a call off the stack, which are in their slots then. Returns the height below.
    fn arguments(&mut self, ty: &FuncType) -> usize {
        let from = self.stack.len() - slots(ty.params()) as usize;
        self.settle(from);
        self.cut(from);
        from
    }

    /// Pushes the results of a call.
    fn results_of(&mut self, func: &FuncType, from: usize) {
        self.forget();
        self.reset(from, func.results());
        if let Some(first) = func.results().first() {
            self.mirror(ty(*first).class(), self.slot(from));
        }
    }

    pub(super) fn call(&mut self, env: &ModuleEnv, func: u32) {
        let ty = env.function_type(func);
        let from = self.arguments(ty);
        self.emit(Op::Call, Args::NONE.u32(func).slot(self.slot(from)));
        self.results_of(ty, from);
    }

    fn tag(env: &ModuleEnv, ty: u32) -> u32 {
        Ref::local_tag(env.canonical_types[ty as usize])
    }

    pub(super) fn call_indirect(&mut self, env: &ModuleEnv, ty: u32, table: u32) {
        let element = self.pop_index();
        let func = &env.types[ty as usize];
        let from = self.arguments(func);
        let op = match (element, env.tables[table as usize].table64) {
            (Src::Acc, false) => Op::CallIndirectA,
            (_, false) => Op::CallIndirectS,
            (Src::Acc, true) => Op::CallIndirectWideA,
            (_, true) => Op::CallIndirectWideS,
        };
        let args = element.encode(Args::NONE, Ty::I32).u32(table).u32(Self::tag(env, ty)).u32(ty);
        self.emit_with_frame(op, args.slot(self.slot(from)), None);
        self.results_of(func, from);
    }

    pub(super) fn return_call(&mut self, env: &ModuleEnv, func: u32) {
        let ty = env.function_type(func);
        let from = self.arguments(ty);
        let args = Args::NONE.u32(func).slot(self.slot(from)).u16(slots(ty.params()) as u16);
        self.emit(Op::TailCall, args.slot(self.link()));
        self.skipping = Some(0);
    }

    pub(super) fn return_call_indirect(&mut self, env: &ModuleEnv, ty: u32, table: u32) {
        let element = self.pop_slot();
        let func = &env.types[ty as usize];
        let from = self.arguments(func);
        let args = Args::NONE.slot(element).u32(table).u32(Self::tag(env, ty)).u32(ty);
        let args = args.slot(self.slot(from)).u16(slots(func.params()) as u16).slot(self.link());
        let op = match env.tables[table as usize].table64 {
            false => Op::TailCallIndirect,
            true => Op::TailCallIndirectWide,
        };
        self.emit_with_frame(op, args, None);
        self.skipping = Some(0);
    }

    /// Emits an instruction with the number of slots of the frame, which is not known yet, behind these operands, and perhaps one more.
    pub(super) fn emit_with_frame(&mut self, op: Op, before: Args, after: Option<u16>) {
        debug_assert!(self.pending.is_none());
        let args = before.u16(0);
        let args = if let Some(after) = after { args.u16(after) } else { args };
        let position = self.encoder.emit(op, &args, self.offset);
        self.frame_fields.push(position.operand(before.len()));
    }
}
