//! Loops of compare-and-exchange that do what one instruction does.
//!
//! musl has for each architecture little more than `a_cas`, and writes its other atomic operations as loops around it; its
//! wasm port does so too, and pthreads are made of them. clang gives them this form:
//!
//! ```wat
//! (loop
//!   (local.get $address) (i32.load) (local.tee $old)
//!   (local.get $address) (local.get $old) UPDATE (i32.atomic.rmw.cmpxchg)
//!   (i32.ne) (br_if 0))
//! ```
//!
//! UPDATE is a value, or `$old` and a value with an operator between them. A turn that ends the loop has replaced `$old` by it, at once, and
//! the ones before have written nothing: that is `i32.atomic.rmw.xchg`, `add` and so on, which need no second turn and do not wait
//! for what the load gives.

use inkwell::AtomicRMWBinOp;
use wasmparser::{BlockType, MemArg, Operator, OperatorsReader};

use super::Translator;
use crate::error::Result;

/// A loop of this kind.
struct Update<'e> {
    address: Operator<'e>,
    load: Operator<'e>,
    memarg: MemArg,
    wide: bool,
    /// The local that gets what was there before.
    old: u32,
    operation: AtomicRMWBinOp,
    operand: Operator<'e>,
    /// Where the exchange is in the module.
    offset: usize,
}

impl<'e> Translator<'_, '_, 'e> {
    /// Translates the loop whose body the reader is at, and reads over it, if it is of this kind.
    pub(super) fn exchange_loop(&mut self, ty: BlockType) -> Result<bool> {
        if ty != BlockType::Empty {
            return Ok(false);
        }
        let mut reader = self.reader.clone();
        let Some(update) = recognise(&mut reader) else { return Ok(false) };
        self.reader = reader;
        // The load traps where the exchange does, and first: not for its alignment if there is no memory.
        self.operator(&update.address)?;
        self.operator(&update.load)?;
        self.stack.pop();

        self.offset = update.offset;
        self.operator(&update.address)?;
        self.operator(&update.operand)?;
        let types = self.unit.types;
        let ty = if update.wide { types.i64 } else { types.i32 };
        self.modify(&update.memarg, ty, update.operation)?;
        self.operator(&Operator::LocalSet { local_index: update.old })?;
        Ok(true)
    }
}

/// The loop whose body the reader is at, which is left behind it.
fn recognise<'e>(reader: &mut OperatorsReader<'e>) -> Option<Update<'e>> {
    let mut next = || reader.read_with_offset().ok();
    let address = next()?.0;
    let load = next()?.0;
    let (memarg, wide) = match load {
        Operator::I32Load { memarg } => (memarg, false),
        Operator::I64Load { memarg } => (memarg, true),
        _ => return None,
    };
    let Operator::LocalTee { local_index: old } = next()?.0 else { return None };
    let is_old = |operator: &Operator| matches!(operator, Operator::LocalGet { local_index } if *local_index == old);
    // Constants and other locals stay what they are.
    let stays = |operator: &Operator| match operator {
        Operator::I32Const { .. } | Operator::I64Const { .. } => true,
        Operator::LocalGet { .. } => !is_old(operator),
        _ => false,
    };
    if !stays(&address) || next()?.0 != address || !is_old(&next()?.0) {
        return None;
    }

    let (first, mut after) = (next()?.0, next()?);
    let (operation, operand) = if is_cmpxchg(&after.0, &memarg, wide) {
        (AtomicRMWBinOp::Xchg, first)
    } else {
        let second = after.0;
        let operation = operation(&next()?.0, wide)?;
        after = next()?;
        let commutes = operation != AtomicRMWBinOp::Sub;
        if is_old(&first) {
            (operation, second)
        } else if commutes && is_old(&second) {
            (operation, first)
        } else {
            return None;
        }
    };
    let differs = if wide { Operator::I64Ne } else { Operator::I32Ne };
    let matches = stays(&operand)
        && is_cmpxchg(&after.0, &memarg, wide)
        && next()?.0 == differs
        && next()?.0 == Operator::BrIf { relative_depth: 0 }
        && next()?.0 == Operator::End;
    let offset = after.1 as usize;
    matches.then_some(Update { address, load, memarg, wide, old, operation, operand, offset })
}

/// Whether it accesses the same place as the load. (What they say of their alignment does not matter.)
fn is_cmpxchg(operator: &Operator, load: &MemArg, wide: bool) -> bool {
    let memarg = match operator {
        Operator::I32AtomicRmwCmpxchg { memarg } if !wide => memarg,
        Operator::I64AtomicRmwCmpxchg { memarg } if wide => memarg,
        _ => return false,
    };
    memarg.offset == load.offset && memarg.target == load.target
}

fn operation(operator: &Operator, wide: bool) -> Option<AtomicRMWBinOp> {
    use Operator as O;
    Some(match (operator, wide) {
        (O::I32Add, false) | (O::I64Add, true) => AtomicRMWBinOp::Add,
        (O::I32Sub, false) | (O::I64Sub, true) => AtomicRMWBinOp::Sub,
        (O::I32And, false) | (O::I64And, true) => AtomicRMWBinOp::And,
        (O::I32Or, false) | (O::I64Or, true) => AtomicRMWBinOp::Or,
        (O::I32Xor, false) | (O::I64Xor, true) => AtomicRMWBinOp::Xor,
        _ => return None,
    })
}
