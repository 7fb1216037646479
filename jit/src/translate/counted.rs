//! Finds loops whose accesses can all be checked before the first turn.
//!
//! The body of an innermost loop is run once on abstract values: an `i32` is either a sum of locals as they were at
//! the loop's header, with constant factors and modulo 2^32, or unknown. Then a local that each turn changes by the same
//! constant is an *induction variable*; an address that is a sum of induction variables and locals that do not change
//! moves by a constant *stride* per turn; and a comparison of two sums, of which one does not move, bounds the turns.

use std::collections::BTreeMap;

use inkwell::IntPredicate;
use wasmparser::{BlockType, MemArg, MemArgTarget, Operator, OperatorsReader, ValType};

use crate::env::ModuleEnv;

/// Loops with more operators are left alone, so that no more than that is translated twice.
const MOST_OPERATORS: u32 = 400;
/// Checks that are worth making before a loop.
const MOST_ACCESSES: usize = 24;
/// Strides above this would let the checks' arithmetic overflow.
const LARGEST_STRIDE: i32 = 1 << 20;

/// A sum of locals, as they are at the loop's header, with factors, and a constant; modulo 2^32.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Sum {
    pub factors: BTreeMap<u32, i32>,
    pub constant: i32,
}

/// An access whose address is a sum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Access {
    pub address: Sum,
    /// From the address to the end of the access, in bytes.
    pub end: u64,
    /// By how much the address moves each turn.
    pub stride: i32,
}

/// How long the loop goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Bound {
    /// Goes on while `moving predicate fixed` holds.
    pub predicate: IntPredicate,
    pub moving: Sum,
    pub fixed: Sum,
    pub stride: i32,
}

/// What there is to check before a loop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Counted {
    pub bound: Bound,
    pub accesses: Vec<Access>,
}

impl Sum {
    fn constant(value: i32) -> Sum {
        Sum { factors: BTreeMap::new(), constant: value }
    }

    fn local(index: u32) -> Sum {
        Sum { factors: BTreeMap::from([(index, 1)]), constant: 0 }
    }

    fn as_constant(&self) -> Option<i32> {
        self.factors.is_empty().then_some(self.constant)
    }

    fn plus(mut self, other: &Sum, times: i32) -> Sum {
        for (local, factor) in &other.factors {
            let sum = self.factors.entry(*local).or_default();
            *sum = sum.wrapping_add(factor.wrapping_mul(times));
        }
        self.factors.retain(|_, factor| *factor != 0);
        self.constant = self.constant.wrapping_add(other.constant.wrapping_mul(times));
        self
    }

    fn times(&self, factor: i32) -> Sum {
        Sum::default().plus(self, factor)
    }
}

/// An abstract value.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Unknown,
    Sum(Sum),
    Comparison(IntPredicate, Sum, Sum),
}

/// Locals that the body has set.
type Locals = BTreeMap<u32, Value>;

struct Block {
    is_if: bool,
    height: usize,
    results: usize,
    /// Locals at the end, from the branches that lead there.
    end: Option<Locals>,
    /// Locals at the start of the `else`.
    start: Locals,
}

/// A branch that decides whether the loop goes on.
struct Exit {
    predicate: IntPredicate,
    left: Sum,
    right: Sum,
}

struct Analysis<'a> {
    env: &'a ModuleEnv,
    types: &'a dyn Fn(u32) -> ValType,
    locals: Locals,
    stack: Vec<Value>,
    blocks: Vec<Block>,
    reachable: bool,
    skipped: u32,
    /// Locals at each branch back to the header.
    turns: Vec<Locals>,
    /// The branch that ends each turn, if it is the only one and has a condition of the right kind.
    last: Option<Exit>,
    /// A branch out of the loop that each turn passes.
    first: Option<Exit>,
    accesses: Vec<(Sum, u64)>,
}

/// Looks at the loop whose body the reader is at. `types` gives the types of locals.
pub(super) fn analyse(
    env: &ModuleEnv,
    types: &dyn Fn(u32) -> ValType,
    mut reader: OperatorsReader,
) -> Option<Counted> {
    let mut analysis = Analysis {
        env,
        types,
        locals: Locals::new(),
        stack: Vec::new(),
        blocks: Vec::new(),
        reachable: true,
        skipped: 0,
        turns: Vec::new(),
        last: None,
        first: None,
        accesses: Vec::new(),
    };
    for _ in 0..MOST_OPERATORS {
        if analysis.step(&reader.read().ok()?)? {
            return analysis.conclude();
        }
    }
    None
}

impl Analysis<'_> {
    /// Runs an operator. `Some(true)` at the loop's end, `None` if the loop is not of our kind.
    fn step(&mut self, operator: &Operator) -> Option<bool> {
        if !self.reachable {
            match operator {
                Operator::Loop { .. } => return None,
                Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                    self.skipped += 1;
                }
                Operator::End if self.skipped > 0 => self.skipped -= 1,
                Operator::End | Operator::Else if self.skipped == 0 => {
                    return self.structure(operator);
                }
                _ => {}
            }
            return Some(false);
        }
        if let Some((memarg, bytes, kind)) = access(operator) {
            return self.access(memarg, bytes, kind).map(|()| false);
        }
        match operator {
            Operator::Block { .. }
            | Operator::If { .. }
            | Operator::Else
            | Operator::End
            | Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::Unreachable => self.structure(operator),
            _ => self.compute(operator).map(|()| false),
        }
    }

    fn access(&mut self, memarg: &MemArg, bytes: u32, kind: AccessKind) -> Option<()> {
        if memarg.target != MemArgTarget::Memory(0) || self.env.memories[0].memory64 {
            return None;
        }
        if kind != AccessKind::Load {
            self.stack.pop()?;
        }
        let Value::Sum(address) = self.stack.pop()? else { return None };
        if kind != AccessKind::Store {
            self.stack.push(Value::Unknown);
        }
        let end = memarg.offset + u64::from(bytes);
        match self.accesses.iter_mut().find(|access| access.0 == address) {
            Some(access) => access.1 = access.1.max(end),
            None => self.accesses.push((address, end)),
        }
        (self.accesses.len() <= MOST_ACCESSES).then_some(())
    }

    fn compute(&mut self, operator: &Operator) -> Option<()> {
        use IntPredicate as P;
        use Operator as O;
        match operator {
            O::I32Const { value } => self.stack.push(Value::Sum(Sum::constant(*value))),
            O::LocalGet { local_index } => {
                let value = self.local(&self.locals, *local_index);
                self.stack.push(value);
            }
            O::LocalSet { local_index } => {
                let value = self.stack.pop()?;
                self.locals.insert(*local_index, value);
            }
            O::LocalTee { local_index } => {
                let value = self.stack.last()?.clone();
                self.locals.insert(*local_index, value);
            }
            O::I32Add => self.sums(|x, y| Some(x.plus(&y, 1)))?,
            O::I32Sub => self.sums(|x, y| Some(x.plus(&y, -1)))?,
            O::I32Mul => self.sums(|x, y| match (x.as_constant(), y.as_constant()) {
                (Some(factor), _) => Some(y.times(factor)),
                (_, Some(factor)) => Some(x.times(factor)),
                _ => None,
            })?,
            O::I32Shl => {
                self.sums(|x, y| Some(x.times(1_i32.wrapping_shl(y.as_constant()? as u32))))?
            }
            O::I32Eqz => {
                let value = match self.stack.pop()? {
                    Value::Sum(sum) => Value::Comparison(P::EQ, sum, Sum::default()),
                    Value::Comparison(predicate, x, y) => {
                        Value::Comparison(negated(predicate), x, y)
                    }
                    Value::Unknown => Value::Unknown,
                };
                self.stack.push(value);
            }
            O::I32Eq => self.comparison(P::EQ)?,
            O::I32Ne => self.comparison(P::NE)?,
            O::I32LtS => self.comparison(P::SLT)?,
            O::I32LtU => self.comparison(P::ULT)?,
            O::I32GtS => self.comparison(P::SGT)?,
            O::I32GtU => self.comparison(P::UGT)?,
            O::I32LeS => self.comparison(P::SLE)?,
            O::I32LeU => self.comparison(P::ULE)?,
            O::I32GeS => self.comparison(P::SGE)?,
            O::I32GeU => self.comparison(P::UGE)?,
            _ => {
                let (pops, pushes) = plain_arity(operator)?;
                self.stack.truncate(self.stack.len().checked_sub(pops)?);
                self.stack.extend(std::iter::repeat_n(Value::Unknown, pushes));
            }
        }
        Some(())
    }

    fn sums(&mut self, combine: impl FnOnce(Sum, Sum) -> Option<Sum>) -> Option<()> {
        let value = match (self.stack.pop()?, self.stack.pop()?) {
            (Value::Sum(y), Value::Sum(x)) => combine(x, y).map_or(Value::Unknown, Value::Sum),
            _ => Value::Unknown,
        };
        self.stack.push(value);
        Some(())
    }

    fn comparison(&mut self, predicate: IntPredicate) -> Option<()> {
        let value = match (self.stack.pop()?, self.stack.pop()?) {
            (Value::Sum(y), Value::Sum(x)) => Value::Comparison(predicate, x, y),
            _ => Value::Unknown,
        };
        self.stack.push(value);
        Some(())
    }

    fn local(&self, locals: &Locals, index: u32) -> Value {
        match locals.get(&index) {
            Some(value) => value.clone(),
            None if (self.types)(index) == ValType::I32 => Value::Sum(Sum::local(index)),
            None => Value::Unknown,
        }
    }

    fn structure(&mut self, operator: &Operator) -> Option<bool> {
        match operator {
            Operator::Block { blockty } => self.open(*blockty, false)?,
            Operator::If { blockty } => {
                self.stack.pop()?;
                self.open(*blockty, true)?;
            }
            Operator::Else => {
                self.flow_to_end(0);
                let block = self.blocks.last_mut()?;
                block.is_if = false;
                self.locals = block.start.clone();
                self.stack.truncate(block.height);
                self.reachable = true;
            }
            Operator::End => return self.end(),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth, None);
                self.reachable = false;
            }
            Operator::BrIf { relative_depth } => {
                let condition = match self.stack.pop()? {
                    Value::Comparison(predicate, left, right) => {
                        Some(Exit { predicate, left, right })
                    }
                    Value::Sum(left) => {
                        Some(Exit { predicate: IntPredicate::NE, left, right: Sum::default() })
                    }
                    Value::Unknown => None,
                };
                self.branch(*relative_depth, condition);
            }
            Operator::BrTable { targets } => {
                self.stack.pop()?;
                for depth in targets.targets() {
                    self.branch(depth.ok()?, None);
                }
                self.branch(targets.default(), None);
                self.reachable = false;
            }
            _ => self.reachable = false,
        }
        Some(false)
    }

    fn open(&mut self, ty: BlockType, is_if: bool) -> Option<()> {
        let results = match ty {
            BlockType::Empty => 0,
            BlockType::Type(_) => 1,
            BlockType::FuncType(_) => return None,
        };
        let (height, start) = (self.stack.len(), self.locals.clone());
        self.blocks.push(Block { is_if, height, results, end: None, start });
        Some(())
    }

    fn end(&mut self) -> Option<bool> {
        self.flow_to_end(0);
        let Some(mut block) = self.blocks.pop() else { return Some(true) };
        if block.is_if {
            let start = std::mem::take(&mut block.start);
            block.end = Some(self.merge(block.end.take(), start));
        }
        self.stack.truncate(block.height);
        self.reachable = block.end.is_some();
        if let Some(locals) = block.end {
            self.locals = locals;
            self.stack.extend(std::iter::repeat_n(Value::Unknown, block.results));
        }
        Some(false)
    }

    fn flow_to_end(&mut self, depth: usize) {
        if self.reachable && depth < self.blocks.len() {
            let index = self.blocks.len() - 1 - depth;
            let end = self.blocks[index].end.take();
            self.blocks[index].end = Some(self.merge(end, self.locals.clone()));
        }
    }

    fn merge(&self, one: Option<Locals>, other: Locals) -> Locals {
        let Some(one) = one else { return other };
        let keys = one.keys().chain(other.keys());
        keys.map(|index| {
            let (x, y) = (self.local(&one, *index), self.local(&other, *index));
            (*index, if x == y { x } else { Value::Unknown })
        })
        .collect()
    }

    fn branch(&mut self, depth: u32, condition: Option<Exit>) {
        let depth = depth as usize;
        if depth < self.blocks.len() {
            self.flow_to_end(depth);
        } else if depth == self.blocks.len() {
            // Only if this turns out to be the one branch back.
            self.last = condition.filter(|_| self.turns.is_empty());
            self.turns.push(self.locals.clone());
        } else if self.blocks.is_empty() && self.turns.is_empty() && self.first.is_none() {
            // At the loop's own level, before any branch back: each turn passes here.
            self.first = condition.map(|exit| Exit { predicate: negated(exit.predicate), ..exit });
        }
    }

    fn conclude(self) -> Option<Counted> {
        if self.turns.is_empty() || self.accesses.is_empty() {
            return None;
        }
        let last = self.last.as_ref().filter(|_| self.turns.len() == 1);
        let bound = last.and_then(|exit| self.bound(exit));
        let bound = bound.or_else(|| self.first.as_ref().and_then(|exit| self.bound(exit)))?;
        let accesses = self
            .accesses
            .iter()
            .map(|(address, end)| {
                let (address, stride) = (address.clone(), self.stride(address)?);
                Some(Access { address, end: *end, stride })
            })
            .collect::<Option<_>>()?;
        Some(Counted { bound, accesses })
    }

    fn bound(&self, exit: &Exit) -> Option<Bound> {
        let (left, right) = (self.stride(&exit.left)?, self.stride(&exit.right)?);
        let (predicate, moving, fixed, stride) = match (left, right) {
            (0, 0) => return None,
            (_, 0) => (exit.predicate, &exit.left, &exit.right, left),
            (0, _) => (swapped(exit.predicate), &exit.right, &exit.left, right),
            _ => return None,
        };
        use IntPredicate as P;
        let upward = matches!(predicate, P::ULT | P::ULE | P::SLT | P::SLE);
        let downward = matches!(predicate, P::UGT | P::UGE | P::SGT | P::SGE);
        let ends = predicate == P::NE || (upward && stride > 0) || (downward && stride < 0);
        ends.then(|| Bound { predicate, moving: moving.clone(), fixed: fixed.clone(), stride })
    }

    /// By how much a sum moves each turn, if that is always the same.
    fn stride(&self, sum: &Sum) -> Option<i32> {
        let mut stride = 0_i32;
        for (local, factor) in &sum.factors {
            stride = stride.wrapping_add(self.step_of(*local)?.wrapping_mul(*factor));
        }
        (stride.unsigned_abs() <= LARGEST_STRIDE as u32).then_some(stride)
    }

    fn step_of(&self, local: u32) -> Option<i32> {
        let mut steps = self.turns.iter().map(|locals| match self.local(locals, local) {
            Value::Sum(sum) => {
                let step = sum.plus(&Sum::local(local), -1);
                step.as_constant()
            }
            _ => None,
        });
        let first = steps.next()??;
        steps.all(|step| step == Some(first)).then_some(first)
    }
}

/// What an access does with the operand above its address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AccessKind {
    /// There is none.
    Load,
    /// Replaces a lane of it.
    LoadLane,
    /// Stores it, or a lane of it.
    Store,
}

/// The immediate and the size of an access, and what it does.
fn access<'a>(operator: &'a Operator) -> Option<(&'a MemArg, u32, AccessKind)> {
    use AccessKind::{Load, LoadLane, Store};
    use Operator as O;
    Some(match operator {
        O::I32Load8S { memarg }
        | O::I32Load8U { memarg }
        | O::I64Load8S { memarg }
        | O::I64Load8U { memarg } => (memarg, 1, Load),
        O::I32Load16S { memarg }
        | O::I32Load16U { memarg }
        | O::I64Load16S { memarg }
        | O::I64Load16U { memarg } => (memarg, 2, Load),
        O::I32Load { memarg }
        | O::F32Load { memarg }
        | O::I64Load32S { memarg }
        | O::I64Load32U { memarg } => (memarg, 4, Load),
        O::I64Load { memarg } | O::F64Load { memarg } => (memarg, 8, Load),
        O::V128Load { memarg } => (memarg, 16, Load),
        O::V128Load8x8S { memarg }
        | O::V128Load8x8U { memarg }
        | O::V128Load16x4S { memarg }
        | O::V128Load16x4U { memarg }
        | O::V128Load32x2S { memarg }
        | O::V128Load32x2U { memarg }
        | O::V128Load64Splat { memarg }
        | O::V128Load64Zero { memarg } => (memarg, 8, Load),
        O::V128Load32Splat { memarg } | O::V128Load32Zero { memarg } => (memarg, 4, Load),
        O::V128Load16Splat { memarg } => (memarg, 2, Load),
        O::V128Load8Splat { memarg } => (memarg, 1, Load),
        O::V128Load8Lane { memarg, .. } => (memarg, 1, LoadLane),
        O::V128Load16Lane { memarg, .. } => (memarg, 2, LoadLane),
        O::V128Load32Lane { memarg, .. } => (memarg, 4, LoadLane),
        O::V128Load64Lane { memarg, .. } => (memarg, 8, LoadLane),
        O::I32Store8 { memarg } | O::I64Store8 { memarg } => (memarg, 1, Store),
        O::I32Store16 { memarg } | O::I64Store16 { memarg } => (memarg, 2, Store),
        O::I32Store { memarg } | O::F32Store { memarg } | O::I64Store32 { memarg } => {
            (memarg, 4, Store)
        }
        O::I64Store { memarg } | O::F64Store { memarg } => (memarg, 8, Store),
        O::V128Store { memarg } => (memarg, 16, Store),
        O::V128Store8Lane { memarg, .. } => (memarg, 1, Store),
        O::V128Store16Lane { memarg, .. } => (memarg, 2, Store),
        O::V128Store32Lane { memarg, .. } => (memarg, 4, Store),
        O::V128Store64Lane { memarg, .. } => (memarg, 8, Store),
        _ => return None,
    })
}

/// Operands and results of operators that do nothing but compute. All others have no place in a counted loop.
fn plain_arity(operator: &Operator) -> Option<(usize, usize)> {
    macro_rules! arity {
        (mvp arity $pops:literal -> $pushes:literal) => {
            Some(($pops, $pushes))
        };
        (sign_extension arity $pops:literal -> $pushes:literal) => {
            Some(($pops, $pushes))
        };
        (saturating_float_to_int arity $pops:literal -> $pushes:literal) => {
            Some(($pops, $pushes))
        };
        (simd arity $pops:literal -> $pushes:literal) => {
            Some(($pops, $pushes))
        };
        (relaxed_simd arity $pops:literal -> $pushes:literal) => {
            Some(($pops, $pushes))
        };
        ($($other:tt)*) => {
            None
        };
    }
    macro_rules! arities {
        ($(@$proposal:ident $name:ident $({ $($field:ident: $ty:ty),* })? => $visit:ident ($($rest:tt)*))*) => {
            match operator {
                $(Operator::$name { .. } => arity!($proposal $($rest)*),)*
                _ => None,
            }
        };
    }
    if let Operator::MemoryGrow { .. } | Operator::MemorySize { .. } = operator {
        return None;
    }
    wasmparser::for_each_operator!(arities)
}

fn negated(predicate: IntPredicate) -> IntPredicate {
    use IntPredicate as P;
    match predicate {
        P::EQ => P::NE,
        P::NE => P::EQ,
        P::ULT => P::UGE,
        P::UGE => P::ULT,
        P::ULE => P::UGT,
        P::UGT => P::ULE,
        P::SLT => P::SGE,
        P::SGE => P::SLT,
        P::SLE => P::SGT,
        P::SGT => P::SLE,
    }
}

fn swapped(predicate: IntPredicate) -> IntPredicate {
    use IntPredicate as P;
    match predicate {
        P::EQ | P::NE => predicate,
        P::ULT => P::UGT,
        P::UGT => P::ULT,
        P::ULE => P::UGE,
        P::UGE => P::ULE,
        P::SLT => P::SGT,
        P::SGT => P::SLT,
        P::SLE => P::SGE,
        P::SGE => P::SLE,
    }
}
