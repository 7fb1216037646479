//! Accesses to memories, tables and globals.

use super::fuse::{Address, Fuse};
use super::values::{Src, Value, fits};
use super::{TranslateError, Translator};
use crate::interp::encode::Args;
use crate::interp::isa::{self, Atomic, Class, Load, Op, Rmw, Store, Ty};
use updraft_jit::env::ModuleEnv;
use wasmparser::{MemArg, MemArgTarget, Operator, ValType};

impl Load {
    fn ty(self) -> Ty {
        use Load as L;
        match self {
            L::F32Load => Ty::F32,
            L::F64Load => Ty::F64,
            L::I32Load | L::I32Load8S | L::I32Load8U | L::I32Load16S | L::I32Load16U => Ty::I32,
            _ => Ty::I64,
        }
    }
}

impl Atomic {
    fn ty(self) -> Ty {
        match self {
            Atomic::I32 | Atomic::I32U8 | Atomic::I32U16 => Ty::I32,
            _ => Ty::I64,
        }
    }
}

impl Translator {
    /// The memory's index and the offset of an access.
    fn memarg(&self, env: &ModuleEnv, memarg: &MemArg) -> Result<(u32, u32), TranslateError> {
        let MemArgTarget::Memory(memory) = memarg.target else {
            return self.unsupported("accesses to arrays");
        };
        self.check_memory(env, memory)?;
        Ok((memory, memarg.offset as u32))
    }

    fn check_memory(&self, env: &ModuleEnv, memory: u32) -> Result<(), TranslateError> {
        if env.memories[memory as usize].memory64 {
            return self.unsupported("64-bit memories");
        }
        Ok(())
    }

    fn check_table(&self, env: &ModuleEnv, table: u32) -> Result<(), TranslateError> {
        if env.tables[table as usize].table64 {
            return self.unsupported("64-bit tables");
        }
        Ok(())
    }

    pub(super) fn load(
        &mut self,
        env: &ModuleEnv,
        op: Load,
        memarg: &MemArg,
    ) -> Result<(), TranslateError> {
        let (memory, offset) = self.memarg(env, memarg)?;
        let (instruction, args, fuse) = if memory == 0 {
            let address = self.pop_address();
            let (form, args) = address.encode(Args::NONE);
            (isa::load(op, form), args.u32(offset), Fuse::Load { op, address, offset })
        } else {
            let address = self.pop_slot();
            let args = Args::NONE.u32(memory).slot(address).u32(offset);
            (isa::load_far(op), args, Fuse::None)
        };
        self.suspend(instruction.expect("all forms exist"), args, op.ty(), fuse);
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        env: &ModuleEnv,
        op: Store,
        memarg: &MemArg,
    ) -> Result<(), TranslateError> {
        let (memory, offset) = self.memarg(env, memarg)?;
        if memory != 0 {
            let value = self.pop_slot();
            let address = self.pop_slot();
            let args = Args::NONE.u32(memory).slot(address).u32(offset).slot(value);
            self.emit(isa::store_far(op).expect("all exist"), args);
            return Ok(());
        }
        let ty = op.ty();
        let place = self.slot(self.stack.len() - 1);
        let (value, address) = if self.pending.is_some_and(|p| p.index + 2 == self.stack.len()) {
            // The address is pending. The value is constant or in a slot; it is read from there.
            let value = self.pop();
            let value = match value.value {
                Value::Const(value) => Src::Imm(value),
                Value::Local(slot) => Src::Slot(slot),
                Value::Place | Value::Pending => Src::Slot(place),
            };
            (value, self.pop_address())
        } else {
            let value = self.pop1();
            // The value may have been pending; nothing is now.
            (value, Address::One(self.pop1()))
        };
        let (mut value, mut address) = (value, address);
        let int = ty.class() == Class::Int;
        if int && value == Src::Acc && address.uses_acc() {
            // Both are the same slot, which the accumulator mirrors.
            let mirrored = self.mirrors[Class::Int as usize].expect("it was resolved to a mirror");
            address = Address::One(Src::Slot(mirrored));
        }
        if let Src::Imm(constant) = value
            && !fits(ty, constant)
        {
            value = if address.uses_acc() {
                // Above both operands: the address may still be in their slots.
                let index = self.stack.len() + 2;
                self.max_height = self.max_height.max(index + 1);
                let slot = self.slot(index);
                self.move_constant(constant, slot);
                Src::Slot(slot)
            } else {
                self.copy_constant(ty, constant, None);
                Src::Acc
            };
        }
        let (form, args) = address.encode(Args::NONE);
        let instruction = isa::store(op, form, value.form()).expect("one accumulator at most");
        self.emit(instruction, value.encode(args.u32(offset), ty));
        Ok(())
    }

    fn atomic_args(memory: u32) -> Args {
        if memory == 0 { Args::NONE } else { Args::NONE.u32(memory) }
    }

    pub(super) fn atomic_load(
        &mut self,
        env: &ModuleEnv,
        width: Atomic,
        memarg: &MemArg,
    ) -> Result<(), TranslateError> {
        let (memory, offset) = self.memarg(env, memarg)?;
        let address = self.pop_slot();
        let op = isa::atomic_load(width, memory != 0).expect("all exist");
        let args = Self::atomic_args(memory).slot(address).u32(offset);
        self.suspend(op, args, width.ty(), Fuse::None);
        Ok(())
    }

    pub(super) fn atomic_store(
        &mut self,
        env: &ModuleEnv,
        width: Atomic,
        memarg: &MemArg,
    ) -> Result<(), TranslateError> {
        let (memory, offset) = self.memarg(env, memarg)?;
        let value = self.pop_slot();
        let address = self.pop_slot();
        let op = isa::atomic_store(width, memory != 0).expect("all exist");
        self.emit(op, Self::atomic_args(memory).slot(address).u32(offset).slot(value));
        Ok(())
    }

    pub(super) fn atomic_rmw(
        &mut self,
        env: &ModuleEnv,
        op: Rmw,
        width: Atomic,
        memarg: &MemArg,
    ) -> Result<(), TranslateError> {
        let (memory, offset) = self.memarg(env, memarg)?;
        let value = self.pop_slot();
        let address = self.pop_slot();
        let op = isa::atomic_rmw(width, memory != 0, op).expect("all exist");
        let args = Self::atomic_args(memory).slot(address).u32(offset).slot(value);
        self.suspend(op, args, width.ty(), Fuse::None);
        Ok(())
    }

    pub(super) fn atomic_cmpxchg(
        &mut self,
        env: &ModuleEnv,
        width: Atomic,
        memarg: &MemArg,
    ) -> Result<(), TranslateError> {
        let (memory, offset) = self.memarg(env, memarg)?;
        let value = self.pop_slot();
        let expected = self.pop_slot();
        let address = self.pop_slot();
        let op = isa::atomic_cmpxchg(width, memory != 0).expect("all exist");
        let args = Self::atomic_args(memory).slot(address).u32(offset).slot(expected).slot(value);
        self.suspend(op, args, width.ty(), Fuse::None);
        Ok(())
    }

    /// Where a global lies: whether it is imported, and its index among its kind.
    fn global(&self, env: &ModuleEnv, global: u32) -> Result<(Ty, bool, Args), TranslateError> {
        let ty = super::ty(env.globals[global as usize].content_type, self.offset)?;
        let imported = global < env.imported_globals;
        let index = if imported { global } else { global - env.imported_globals };
        Ok((ty, imported, Args::NONE.u32(index)))
    }

    fn global_get(&mut self, env: &ModuleEnv, global: u32) -> Result<(), TranslateError> {
        self.flush();
        let (ty, imported, args) = self.global(env, global)?;
        let op = isa::global_get(ty.class(), imported).expect("all exist");
        self.suspend(op, args, ty, Fuse::None);
        Ok(())
    }

    fn global_set(&mut self, env: &ModuleEnv, global: u32) -> Result<(), TranslateError> {
        let (ty, imported, args) = self.global(env, global)?;
        let content = env.globals[global as usize].content_type;
        if matches!(content, ValType::Ref(_)) && env.global_escapes[global as usize] {
            let value = self.pop_slot();
            self.emit_with_frame(Op::GlobalSetRef, Args::NONE.u32(global).slot(value), None);
            return Ok(());
        }
        let mut src = self.pop1();
        if let Src::Imm(value) = src
            && !fits(ty, value)
        {
            self.copy_constant(ty, value, None);
            src = Src::Acc;
        }
        let op = isa::global_set(ty.class(), imported, src.form()).expect("all exist");
        self.emit(op, src.encode(args, ty));
        Ok(())
    }

    /// Emits a call of the runtime: numbers, then operands from slots, then the frame. The result, if there is one, goes to
    /// the first operand's slot.
    fn call_out(&mut self, op: Op, numbers: &[u32], operands: usize, result: Option<Ty>) {
        self.flush();
        let mut args = Args::NONE;
        for number in numbers {
            args = args.u32(*number);
        }
        let mut slots = [None; 4];
        for slot in slots[..operands].iter_mut().rev() {
            *slot = Some(self.pop_slot());
        }
        for slot in slots.iter().flatten() {
            args = args.slot(*slot);
        }
        self.finish_call_out(op, args, result);
    }

    fn finish_call_out(&mut self, op: Op, args: Args, result: Option<Ty>) {
        let to = self.slot(self.stack.len());
        self.emit_with_frame(op, args, result.map(|_| to.0));
        self.forget();
        if let Some(ty) = result {
            self.push(ty, Value::Place);
            self.mirror(Class::Int, to);
        }
    }

    /// `wait` and `notify`: the offset stands behind the address.
    fn waiting(
        &mut self,
        env: &ModuleEnv,
        op: Op,
        memarg: &MemArg,
        operands: usize,
    ) -> Result<(), TranslateError> {
        let (memory, offset) = self.memarg(env, memarg)?;
        self.flush();
        let mut slots = [None; 3];
        for slot in slots[..operands].iter_mut().rev() {
            *slot = Some(self.pop_slot());
        }
        let mut args = Args::NONE.u32(memory);
        for (i, slot) in slots.iter().flatten().enumerate() {
            args = args.slot(*slot);
            if i == 0 {
                args = args.u32(offset);
            }
        }
        self.finish_call_out(op, args, Some(Ty::I32));
        Ok(())
    }

    /// A size: no operand, and a result that waits for its taker is not worth an instruction of its own.
    fn size(&mut self, op: Op, index: u32) {
        self.flush();
        let to = self.slot(self.stack.len());
        self.emit(op, Args::NONE.u32(index).slot(to));
        self.push(Ty::I32, Value::Place);
        self.mirror(Class::Int, to);
    }

    /// The remaining operators.
    pub(super) fn rare(
        &mut self,
        env: &ModuleEnv,
        operator: &Operator<'_>,
    ) -> Result<(), TranslateError> {
        use Operator as O;
        match *operator {
            O::GlobalGet { global_index } => self.global_get(env, global_index)?,
            O::GlobalSet { global_index } => self.global_set(env, global_index)?,
            O::MemorySize { mem } => {
                self.check_memory(env, mem)?;
                self.size(Op::MemorySize, mem);
            }
            O::MemoryGrow { mem } => {
                self.check_memory(env, mem)?;
                self.call_out(Op::MemoryGrow, &[mem], 1, Some(Ty::I32));
            }
            O::MemoryInit { data_index, mem } => {
                self.check_memory(env, mem)?;
                self.call_out(Op::MemoryInit, &[mem, data_index], 3, None);
            }
            O::MemoryCopy { dst_mem, src_mem } => {
                self.check_memory(env, dst_mem)?;
                self.check_memory(env, src_mem)?;
                self.call_out(Op::MemoryCopy, &[dst_mem, src_mem], 3, None);
            }
            O::MemoryFill { mem } => {
                self.check_memory(env, mem)?;
                self.call_out(Op::MemoryFill, &[mem], 3, None);
            }
            O::DataDrop { data_index } => self.call_out(Op::DataDrop, &[data_index], 0, None),
            O::TableGet { table } => {
                self.check_table(env, table)?;
                self.call_out(Op::TableGet, &[table], 1, Some(Ty::I64));
            }
            O::TableSet { table } => {
                self.check_table(env, table)?;
                self.call_out(Op::TableSet, &[table], 2, None);
            }
            O::TableSize { table } => {
                self.check_table(env, table)?;
                self.size(Op::TableSize, table);
            }
            O::TableGrow { table } => {
                self.check_table(env, table)?;
                self.call_out(Op::TableGrow, &[table], 2, Some(Ty::I32));
            }
            O::TableFill { table } => {
                self.check_table(env, table)?;
                self.call_out(Op::TableFill, &[table], 3, None);
            }
            O::TableCopy { dst_table, src_table } => {
                self.check_table(env, dst_table)?;
                self.check_table(env, src_table)?;
                self.call_out(Op::TableCopy, &[dst_table, src_table], 3, None);
            }
            O::TableInit { elem_index, table } => {
                self.check_table(env, table)?;
                self.call_out(Op::TableInit, &[table, elem_index], 3, None);
            }
            O::ElemDrop { elem_index } => self.call_out(Op::ElemDrop, &[elem_index], 0, None),
            O::AtomicFence { .. } => {
                self.flush();
                self.emit(Op::AtomicFence, Args::NONE);
            }
            O::MemoryAtomicNotify { memarg } => self.waiting(env, Op::AtomicNotify, &memarg, 2)?,
            O::MemoryAtomicWait32 { memarg } => self.waiting(env, Op::AtomicWait32, &memarg, 3)?,
            O::MemoryAtomicWait64 { memarg } => self.waiting(env, Op::AtomicWait64, &memarg, 3)?,
            _ => {
                // The name of the operator is what its description begins with.
                let text = format!("{operator:?}");
                let name = text.split([' ', '{', '(']).next().unwrap_or_default();
                return self.unsupported(format!("the instruction {name}"));
            }
        }
        Ok(())
    }
}
