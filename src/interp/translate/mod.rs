//! From a validated body to bytecode, in one pass.
//!
//! The translator runs through the operators with a stack of where each operand is ([`values`]): in its slot, in a local, a
//! constant, or the result of the one instruction that has not been emitted yet. That instruction waits to see who takes its
//! result: a branch or an access may take in all of it, a `local.set` says where the result goes, another operator takes it
//! from the accumulator.

mod control;
mod fuse;
mod memory;
mod values;
mod vector;

use super::code::Handlers;
use super::dispatch::Slot;
use super::encode::{Args, Encoder, Position};
use super::isa::{self, Binary, Class, Op, Plain, Shape, Ty, Unary, VectorKind, plain};
use control::{Block, Kind, OpenTry, SiteRef};
use fuse::{Fuse, Step};
use updraft_jit::abi::frame::LINK_SLOTS;
use updraft_jit::env::ModuleEnv;
use values::{Entry, Pending, SlotCopy, Src, Value, VectorResult};
use wasmparser::{BinaryReader, FunctionBody, Operator, ValType};

/// Why a function cannot be translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// It uses something that the interpreter does not have.
    #[error("at offset {offset:#x}: the interpreter does not support {what}")]
    Unsupported {
        /// What it is.
        what: String,
        /// Where it is, in bytes from the module's start.
        offset: u32,
    },
    /// It is not the validated body that it ought to be.
    #[error("at offset {offset:#x}: {message}")]
    Malformed {
        /// What the parser says.
        message: String,
        /// Where, in bytes from the module's start.
        offset: u32,
    },
}

impl From<wasmparser::BinaryReaderError> for TranslateError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        TranslateError::Malformed {
            message: error.message().to_string(),
            offset: error.offset() as u32,
        }
    }
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Translated<'a> {
    /// The code.
    pub(crate) encoder: &'a Encoder,
    /// The frame's link.
    pub(crate) link: Slot,
    /// Its handlers of exceptions, inner ones before those around them.
    pub(crate) handlers: &'a [Handlers],
}

/// The state of a translation. Buffers are kept from one function to the next.
#[derive(Debug, Default)]
pub(crate) struct Translator {
    encoder: Encoder,
    stack: Vec<Entry>,
    blocks: Vec<Block>,
    /// Per slot of the parameters and locals: its type. Vectors have two.
    locals: Vec<Ty>,
    /// Per parameter and local: its first slot. Empty without vectors: then it is its index.
    local_slots: Vec<u16>,
    /// Per slot: how many operands stand for it.
    uses: Vec<u32>,
    /// Per slot: whether it may be something other than zero at a place outside of loops.
    assigned: Vec<bool>,
    /// The instruction that waits for its taker.
    pending: Option<Pending>,
    /// Which slot the accumulator of each class agrees with.
    mirrors: [Option<Slot>; Class::COUNT],
    /// Entries below this index are known to be in their slots.
    clean: usize,
    /// The greatest height of the stack.
    max_height: usize,
    /// Slots before the operands.
    base: usize,
    /// Index and number of results of the function.
    func: u32,
    /// Offset of the operator in the module.
    offset: u32,
    /// Operators so far.
    count: u32,
    /// `loop` operators so far.
    loops: u32,
    /// Loops that are open here.
    open_loops: u32,
    /// Operators inside of loops, so far as the outermost have ended.
    looped: u32,
    /// The operators up to the end of the current block cannot be reached; counts nested blocks.
    skipping: Option<u32>,
    /// Operands of back-edges that are to refer to the records of their loops.
    sites: Vec<SiteRef>,
    /// The addition that was emitted last, if its result went to the slot that it came from.
    last_step: Option<Step>,
    /// The copy that was emitted last, unless it was taken in.
    last_copy: Option<SlotCopy>,
    /// Where the vector goes that was made last.
    last_vector: Option<VectorResult>,
    /// The `try_table` blocks that are open.
    tries: Vec<OpenTry>,
    /// Those that have ended, inner ones before those around them.
    handlers: Vec<Handlers>,
    /// Where the number of slots of the frame is to be filled in: 16 bits each.
    frame_fields: Vec<Position>,
    /// Whether arithmetic gives no other NaN than the canonical one.
    pub(super) canonicalize_nan: bool,
    /// Whether functions count their calls.
    pub(super) count_calls: bool,
}

fn ty(ty: ValType) -> Ty {
    match ty {
        ValType::I32 => Ty::I32,
        ValType::I64 | ValType::Ref(_) => Ty::I64,
        ValType::F32 => Ty::F32,
        ValType::F64 => Ty::F64,
        ValType::V128 => Ty::V128,
    }
}

impl Translator {
    /// Translates a function. With `record`, keeps the marks of all instructions.
    pub(crate) fn translate(
        &mut self,
        env: &ModuleEnv,
        bytes: &[u8],
        func: u32,
        record: bool,
    ) -> Result<Translated<'_>, TranslateError> {
        let range = env.body(func);
        let body = FunctionBody::new(BinaryReader::new(&bytes[range.clone()], range.start as u64));
        self.start(env, &body, func, record)?;
        let enter = self.enter(env)?;
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            self.offset = reader.original_position() as u32;
            // The operator is looked at where the reader put it: moving it out costs 5 % of the translation.
            match &reader.read() {
                Ok(operator) => self.operator(env, operator)?,
                Err(error) => return Err(error.clone().into()),
            }
        }
        self.finish(enter)?;
        Ok(Translated { encoder: &self.encoder, link: self.link(), handlers: &self.handlers })
    }

    fn start(
        &mut self,
        env: &ModuleEnv,
        body: &FunctionBody<'_>,
        func: u32,
        record: bool,
    ) -> Result<(), TranslateError> {
        self.encoder.clear(record);
        self.stack.clear();
        self.blocks.clear();
        self.locals.clear();
        self.local_slots.clear();
        self.uses.clear();
        self.sites.clear();
        self.frame_fields.clear();
        self.tries.clear();
        self.handlers.clear();
        self.pending = None;
        self.last_step = None;
        self.last_copy = None;
        self.last_vector = None;
        self.mirrors = [None; Class::COUNT];
        (self.clean, self.max_height, self.count, self.loops) = (0, 0, 0, 0);
        (self.looped, self.open_loops) = (0, 0);
        self.skipping = None;
        self.func = func;
        self.offset = env.body(func).start as u32;

        let func_type = env.function_type(func);
        for param in func_type.params() {
            self.add_locals(ty(*param), 1);
        }
        let params = self.locals.len();
        let mut reader = body.get_locals_reader()?;
        for _ in 0..reader.get_count() {
            let (count, local) = reader.read()?;
            self.add_locals(ty(local), count as usize);
        }
        self.uses.resize(self.locals.len(), 0);
        self.assigned.clear();
        self.assigned.resize(params, true);
        self.assigned.resize(self.locals.len(), false);
        self.base = self.locals.len() + LINK_SLOTS as usize;
        Ok(())
    }

    fn add_locals(&mut self, ty: Ty, count: usize) {
        let first = self.locals.len();
        let width = if ty == Ty::V128 { 2 } else { 1 };
        if ty == Ty::V128 && self.local_slots.is_empty() {
            self.local_slots.extend((0..first).map(|slot| slot as u16));
        }
        if ty == Ty::V128 || !self.local_slots.is_empty() {
            // Slots beyond 16 bits are refused before they are used.
            self.local_slots.extend((0..count).map(|i| (first + i * width) as u16));
        }
        self.locals.resize(first + count * width, ty);
    }

    fn link(&self) -> Slot {
        Slot(self.locals.len() as u16)
    }

    fn unsupported<T>(&self, what: impl Into<String>) -> Result<T, TranslateError> {
        Err(TranslateError::Unsupported { what: what.into(), offset: self.offset })
    }

    fn operator(&mut self, env: &ModuleEnv, operator: &Operator<'_>) -> Result<(), TranslateError> {
        if let Some(depth) = self.skipping {
            return self.skip(env, operator, depth);
        }
        self.count += 1;
        match plain(operator) {
            Plain::Binary(op) => self.binary(op),
            Plain::Unary(op) => self.unary(op),
            Plain::Load(op, memarg) => self.load(env, op, memarg)?,
            Plain::Store(op, memarg) => self.store(env, op, memarg)?,
            Plain::AtomicLoad(width, memarg) => self.atomic_load(env, width, memarg)?,
            Plain::AtomicStore(width, memarg) => self.atomic_store(env, width, memarg)?,
            Plain::AtomicRmw(op, width, memarg) => self.atomic_rmw(env, op, width, memarg)?,
            Plain::AtomicCmpxchg(width, memarg) => self.atomic_cmpxchg(env, width, memarg)?,
            Plain::Vector(kind, ty, op, lane) => self.vector(kind, ty, op, lane),
            Plain::VectorAccess(op, memarg, lane) => self.vector_access(env, op, memarg, lane)?,
            Plain::Other => return self.other(env, operator),
        }
        if self.canonicalize_nan {
            self.canonicalize(operator);
        }
        Ok(())
    }

    /// Makes the result of an operator canonical that may give any NaN (core specification, "NaN propagation").
    fn canonicalize(&mut self, operator: &Operator<'_>) {
        use Operator as O;
        match operator {
            O::F32Add | O::F32Sub | O::F32Mul | O::F32Div | O::F32Min | O::F32Max => {
                self.unary(Unary::F32Canonical);
            }
            O::F32Ceil | O::F32Floor | O::F32Trunc | O::F32Nearest | O::F32Sqrt => {
                self.unary(Unary::F32Canonical);
            }
            O::F64Add | O::F64Sub | O::F64Mul | O::F64Div | O::F64Min | O::F64Max => {
                self.unary(Unary::F64Canonical);
            }
            O::F64Ceil | O::F64Floor | O::F64Trunc | O::F64Nearest | O::F64Sqrt => {
                self.unary(Unary::F64Canonical);
            }
            O::F32DemoteF64 => self.unary(Unary::F32Canonical),
            O::F64PromoteF32 => self.unary(Unary::F64Canonical),
            O::F32x4Add
            | O::F32x4Sub
            | O::F32x4Mul
            | O::F32x4Div
            | O::F32x4Min
            | O::F32x4Max
            | O::F32x4Ceil
            | O::F32x4Floor
            | O::F32x4Trunc
            | O::F32x4Nearest
            | O::F32x4Sqrt
            | O::F32x4DemoteF64x2Zero
            | O::F32x4RelaxedMadd
            | O::F32x4RelaxedNmadd
            | O::F32x4RelaxedMin
            | O::F32x4RelaxedMax => {
                self.vector(VectorKind::Unary, Ty::F32, Op::F32x4Canonical, 0);
            }
            O::F64x2Add
            | O::F64x2Sub
            | O::F64x2Mul
            | O::F64x2Div
            | O::F64x2Min
            | O::F64x2Max
            | O::F64x2Ceil
            | O::F64x2Floor
            | O::F64x2Trunc
            | O::F64x2Nearest
            | O::F64x2Sqrt
            | O::F64x2PromoteLowF32x4
            | O::F64x2RelaxedMadd
            | O::F64x2RelaxedNmadd
            | O::F64x2RelaxedMin
            | O::F64x2RelaxedMax => {
                self.vector(VectorKind::Unary, Ty::F64, Op::F64x2Canonical, 0);
            }
            _ => {}
        }
    }

    fn other(&mut self, env: &ModuleEnv, operator: &Operator<'_>) -> Result<(), TranslateError> {
        use Operator as O;
        match operator {
            O::Nop => {}
            O::LocalGet { local_index } => self.local_get(*local_index),
            O::LocalSet { local_index } => self.local_set(*local_index),
            O::LocalTee { local_index } => {
                self.local_set(*local_index);
                self.local_get(*local_index);
            }
            O::I32Const { value } => self.push(Ty::I32, Value::Const(u64::from(*value as u32))),
            O::I64Const { value } => self.push(Ty::I64, Value::Const(*value as u64)),
            O::F32Const { value } => self.push(Ty::F32, Value::Const(u64::from(value.bits()))),
            O::F64Const { value } => self.push(Ty::F64, Value::Const(value.bits())),
            O::RefNull { .. } => self.push(Ty::I64, Value::Const(0)),
            O::RefFunc { function_index } => {
                self.push(Ty::I64, Value::Const(env.func_ref(*function_index).0));
            }
            O::RefIsNull => self.unary(Unary::I64Eqz),
            O::Drop => self.drop_value(),
            O::Select | O::TypedSelect { .. } => self.select(),
            O::Block { blockty } => self.block(env, *blockty),
            O::Loop { blockty } => self.loop_(env, *blockty),
            O::If { blockty } => self.if_(env, *blockty),
            O::Else => self.else_(env),
            O::End => self.end(env),
            O::Br { relative_depth } => self.br(env, *relative_depth),
            O::BrIf { relative_depth } => self.br_if(env, *relative_depth),
            O::BrTable { targets } => self.br_table(env, targets)?,
            O::Return => self.return_(env),
            O::Unreachable => self.unreachable(),
            O::Call { function_index } => self.call(env, *function_index),
            O::CallIndirect { type_index, table_index } => {
                self.call_indirect(env, *type_index, *table_index);
            }
            O::ReturnCall { function_index } => self.return_call(env, *function_index),
            O::ReturnCallIndirect { type_index, table_index } => {
                self.return_call_indirect(env, *type_index, *table_index);
            }
            O::TryTable { try_table } => self.try_table(env, try_table),
            O::Throw { tag_index } => self.throw(env, *tag_index),
            O::ThrowRef => self.throw_ref(),
            O::CallRef { type_index } => self.call_ref(env, *type_index),
            O::ReturnCallRef { type_index } => self.return_call_ref(env, *type_index),
            O::RefAsNonNull => self.ref_as_non_null(),
            O::BrOnNull { relative_depth } => self.br_on_null(env, *relative_depth),
            O::BrOnNonNull { relative_depth } => self.br_on_non_null(env, *relative_depth),
            _ => return self.rare(env, operator),
        }
        Ok(())
    }

    fn binary(&mut self, op: Binary) {
        if self.fuse_binary(op) {
            return;
        }
        let (lhs, rhs) = self.pop2();
        self.binary_of(op, lhs, rhs);
    }

    /// Makes `lhs op rhs` the pending instruction.
    fn binary_of(&mut self, mut op: Binary, mut lhs: Src, mut rhs: Src) {
        // A difference from a constant is a sum.
        if let (Binary::I32Sub | Binary::I64Sub, Src::Imm(value)) = (op, rhs) {
            let negated = value.wrapping_neg();
            (op, rhs) = match op {
                Binary::I32Sub => (Binary::I32Add, Src::Imm(u64::from(negated as u32))),
                _ => (Binary::I64Add, Src::Imm(negated)),
            };
        }
        let ty = op.ty();
        // What cannot be in the instruction goes through the accumulator, or through a slot if that is taken.
        let index = self.stack.len();
        if let Src::Imm(value) = rhs
            && !values::fits(ty, value)
        {
            rhs = self.constant_operand(ty, value, lhs, index + 1);
        }
        if let Src::Imm(value) = lhs
            && (matches!(rhs, Src::Imm(_)) || !values::fits(ty, value))
        {
            lhs = self.constant_operand(ty, value, rhs, index);
        }
        let exchange = matches!((lhs, rhs), (Src::Imm(_), _) | (Src::Acc, Src::Slot(_)));
        if exchange && op.shape() != Shape::Ordered {
            (lhs, rhs) = (rhs, lhs);
            op = op.swapped();
        }
        let instruction =
            isa::binary(op, lhs.form(), rhs.form()).expect("all remaining pairs of forms exist");
        let result = if op.shape() == Shape::Compares { Ty::I32 } else { ty };
        let fuse = Fuse::of_binary(op, lhs, rhs);
        let args = rhs.encode(lhs.encode(Args::NONE, ty), ty);
        self.suspend(instruction, args, result, fuse);
    }

    fn unary(&mut self, op: Unary) {
        if op == Unary::I32Eqz && self.negate() {
            return;
        }
        let (from, to) = isa::UNARY_TYPES[op as usize];
        let mut src = self.pop1();
        if let Src::Imm(value) = src {
            self.copy_constant(from, value, None);
            src = Src::Acc;
        }
        let instruction = isa::unary(op, src.form()).expect("slots and accumulators will do");
        let fuse = match op {
            Unary::I32Eqz => Fuse::Zero { wide: false, src },
            Unary::I64Eqz => Fuse::Zero { wide: true, src },
            _ => Fuse::None,
        };
        let args = src.encode(Args::NONE, from);
        self.suspend(instruction, args, to, fuse);
    }

    fn select(&mut self) {
        let condition = self.pop_index();
        let ty = self.stack.last().expect("validated").ty;
        if ty == Ty::V128 {
            return self.select_vector(condition);
        }
        let b = self.pop_slot();
        let a = self.pop_slot();
        let op = isa::select(ty.class(), condition.form()).expect("both forms exist");
        let args = condition.encode(Args::NONE, Ty::I32).slot(a).slot(b);
        self.suspend(op, args, ty, Fuse::None);
    }

    fn unreachable(&mut self) {
        self.flush();
        self.emit(Op::Unreachable, Args::NONE);
        self.skipping = Some(0);
    }

    /// The rest of the current block cannot be reached: follows only its structure.
    fn skip(
        &mut self,
        env: &ModuleEnv,
        operator: &Operator<'_>,
        depth: u32,
    ) -> Result<(), TranslateError> {
        match operator {
            Operator::Loop { .. } => {
                self.loops += 1;
                self.skipping = Some(depth + 1);
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                self.skipping = Some(depth + 1);
            }
            Operator::Else if depth == 0 => self.else_(env),
            Operator::End if depth == 0 => self.end(env),
            Operator::End => self.skipping = Some(depth - 1),
            _ => {}
        }
        Ok(())
    }

    /// The number of the block that a branch of this depth goes to.
    fn target(&self, depth: u32) -> usize {
        self.blocks.len() - 1 - depth as usize
    }

    /// Starts the outermost block: the body.
    fn push_body(&mut self) {
        self.blocks.push(Block::new(Kind::Body, 0));
    }
}
