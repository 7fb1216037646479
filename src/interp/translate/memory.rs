//! Accesses to memories, tables and globals.

use super::fuse::{Address, Fuse};
use super::values::{Src, Value, fits};
use super::{TranslateError, Translator};
use crate::interp::dispatch::Slot;
use crate::interp::encode::Args;
use crate::interp::isa::{self, Atomic, Class, Load, Op, Reach, Rmw, Store, Ty};
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

/// An access to a memory, without its address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) reach: Reach,
    memory: u32,
    offset: u64,
}

impl Access {
    fn is_wide(self) -> bool {
        self.reach == Reach::Wide
    }

    /// The operands that find the memory and the bytes in it.
    pub(super) fn place(self, address: Slot) -> Args {
        match self.reach {
            Reach::Near => Args::NONE.slot(address).u32(self.offset as u32),
            _ => self.far_place(address),
        }
    }

    /// The same, with the memory's index in any case.
    fn far_place(self, address: Slot) -> Args {
        let args = Args::NONE.u32(self.memory).slot(address);
        if self.is_wide() { args.u64(self.offset) } else { args.u32(self.offset as u32) }
    }
}

impl Translator {
    /// What an access refers to.
    pub(super) fn access(
        &self,
        env: &ModuleEnv,
        memarg: &MemArg,
    ) -> Result<Access, TranslateError> {
        let MemArgTarget::Memory(memory) = memarg.target else {
            return self.unsupported("accesses to arrays");
        };
        let reach = match memory {
            _ if env.memories[memory as usize].memory64 => Reach::Wide,
            0 => Reach::Near,
            _ => Reach::Far,
        };
        Ok(Access { reach, memory, offset: memarg.offset })
    }

    pub(super) fn load(
        &mut self,
        env: &ModuleEnv,
        op: Load,
        memarg: &MemArg,
    ) -> Result<(), TranslateError> {
        let access = self.access(env, memarg)?;
        let (instruction, args, fuse) = if access.reach == Reach::Near {
            let offset = access.offset as u32;
            let address = self.pop_address();
            let (form, args) = address.encode(Args::NONE);
            (isa::load(op, form), args.u32(offset), Fuse::Load { op, address, offset })
        } else {
            let address = self.pop_slot();
            (isa::load_far(op, access.is_wide()), access.place(address), Fuse::None)
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
        let access = self.access(env, memarg)?;
        if access.reach != Reach::Near {
            let value = self.pop_slot();
            let address = self.pop_slot();
            let instruction = isa::store_far(op, access.is_wide()).expect("all exist");
            self.emit(instruction, access.place(address).slot(value));
            return Ok(());
        }
        let offset = access.offset as u32;
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

    pub(super) fn atomic_load(
        &mut self,
        env: &ModuleEnv,
        width: Atomic,
        memarg: &MemArg,
    ) -> Result<(), TranslateError> {
        let access = self.access(env, memarg)?;
        let address = self.pop_slot();
        let op = isa::atomic_load(width, access.reach).expect("all exist");
        let args = access.place(address);
        self.suspend(op, args, width.ty(), Fuse::None);
        Ok(())
    }

    pub(super) fn atomic_store(
        &mut self,
        env: &ModuleEnv,
        width: Atomic,
        memarg: &MemArg,
    ) -> Result<(), TranslateError> {
        let access = self.access(env, memarg)?;
        let value = self.pop_slot();
        let address = self.pop_slot();
        let op = isa::atomic_store(width, access.reach).expect("all exist");
        self.emit(op, access.place(address).slot(value));
        Ok(())
    }

    pub(super) fn atomic_rmw(
        &mut self,
        env: &ModuleEnv,
        op: Rmw,
        width: Atomic,
        memarg: &MemArg,
    ) -> Result<(), TranslateError> {
        let access = self.access(env, memarg)?;
        let value = self.pop_slot();
        let address = self.pop_slot();
        let op = isa::atomic_rmw(width, access.reach, op).expect("all exist");
        let args = access.place(address).slot(value);
        self.suspend(op, args, width.ty(), Fuse::None);
        Ok(())
    }

    pub(super) fn atomic_cmpxchg(
        &mut self,
        env: &ModuleEnv,
        width: Atomic,
        memarg: &MemArg,
    ) -> Result<(), TranslateError> {
        let access = self.access(env, memarg)?;
        let value = self.pop_slot();
        let expected = self.pop_slot();
        let address = self.pop_slot();
        let op = isa::atomic_cmpxchg(width, access.reach).expect("all exist");
        let args = access.place(address).slot(expected).slot(value);
        self.suspend(op, args, width.ty(), Fuse::None);
        Ok(())
    }

    /// Where a global lies: whether it is imported, and its index among its kind.
    fn global(&self, env: &ModuleEnv, global: u32) -> (Ty, bool, Args) {
        let ty = super::ty(env.globals[global as usize].content_type);
        let imported = global < env.imported_globals;
        let index = if imported { global } else { global - env.imported_globals };
        (ty, imported, Args::NONE.u32(index))
    }

    fn global_get(&mut self, env: &ModuleEnv, global: u32) {
        self.flush();
        let (ty, imported, args) = self.global(env, global);
        if ty == Ty::V128 {
            let op = if imported { Op::GlobalGetImportedVector } else { Op::GlobalGetOwnVector };
            self.emit_vector(op, args);
            return;
        }
        let op = isa::global_get(ty.class(), imported).expect("all exist");
        self.suspend(op, args, ty, Fuse::None);
    }

    fn global_set(&mut self, env: &ModuleEnv, global: u32) {
        let (ty, imported, args) = self.global(env, global);
        if ty == Ty::V128 {
            let op = if imported { Op::GlobalSetImportedVector } else { Op::GlobalSetOwnVector };
            let value = self.pop_vector();
            self.emit(op, args.slot(value));
            return;
        }
        let content = env.globals[global as usize].content_type;
        if matches!(content, ValType::Ref(_)) && env.global_escapes[global as usize] {
            let value = self.pop_slot();
            self.emit_with_frame(Op::GlobalSetRef, Args::NONE.u32(global).slot(value), None);
            return;
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
    }

    /// Emits a call of the runtime: numbers, then which integers are of 64 bits if any can be, then operands from slots, then
    /// the frame. The result, if there is one, goes to the first operand's slot.
    pub(super) fn call_out(
        &mut self,
        op: Op,
        numbers: &[u32],
        wide: &[bool],
        operands: usize,
        result: Option<Ty>,
    ) {
        self.flush();
        let mut args = Args::NONE;
        for number in numbers {
            args = args.u32(*number);
        }
        if !wide.is_empty() {
            args = args.u16(wide.iter().rev().fold(0, |bits, wide| bits << 1 | u16::from(*wide)));
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
        [op, wide]: [Op; 2],
        memarg: &MemArg,
        operands: usize,
    ) -> Result<(), TranslateError> {
        let access = self.access(env, memarg)?;
        self.flush();
        let mut slots = [None; 3];
        for slot in slots[..operands].iter_mut().rev() {
            *slot = Some(self.pop_slot());
        }
        let mut slots = slots.into_iter().flatten();
        let address = slots.next().expect("there is an address");
        let args = slots.fold(access.far_place(address), Args::slot);
        let op = if access.is_wide() { wide } else { op };
        self.finish_call_out(op, args, Some(Ty::I32));
        Ok(())
    }

    /// A size: no operand, and a result that waits for its taker is not worth an instruction of its own.
    fn size(&mut self, op: Op, index: u32, ty: Ty) {
        self.flush();
        let to = self.slot(self.stack.len());
        self.emit(op, Args::NONE.u32(index).slot(to));
        self.push(ty, Value::Place);
        self.mirror(Class::Int, to);
    }

    /// The remaining operators.
    pub(super) fn rare(
        &mut self,
        env: &ModuleEnv,
        operator: &Operator<'_>,
    ) -> Result<(), TranslateError> {
        use Operator as O;
        let memory = |index: u32| env.memories[index as usize].memory64;
        let table = |index: u32| env.tables[index as usize].table64;
        let index = |wide: bool| if wide { Ty::I64 } else { Ty::I32 };
        match *operator {
            O::V128Const { value } => self.vector_const(value.i128() as u128),
            O::I8x16Shuffle { lanes } => self.shuffle(u128::from_le_bytes(lanes)),
            O::GlobalGet { global_index } => self.global_get(env, global_index),
            O::GlobalSet { global_index } => self.global_set(env, global_index),
            O::MemorySize { mem } => self.size(Op::MemorySize, mem, index(memory(mem))),
            O::MemoryGrow { mem } => {
                let wide = memory(mem);
                self.call_out(Op::MemoryGrow, &[mem], &[wide], 1, Some(index(wide)));
            }
            O::MemoryInit { data_index, mem } => {
                let wide = [memory(mem), false, false];
                self.call_out(Op::MemoryInit, &[mem, data_index], &wide, 3, None);
            }
            O::MemoryCopy { dst_mem, src_mem } => {
                let (to, from) = (memory(dst_mem), memory(src_mem));
                let wide = [to, from, to && from];
                self.call_out(Op::MemoryCopy, &[dst_mem, src_mem], &wide, 3, None);
            }
            O::MemoryFill { mem } => {
                let wide = memory(mem);
                self.call_out(Op::MemoryFill, &[mem], &[wide, false, wide], 3, None);
            }
            O::DataDrop { data_index } => self.call_out(Op::DataDrop, &[data_index], &[], 0, None),
            O::TableGet { table: from } => {
                self.call_out(Op::TableGet, &[from], &[table(from)], 1, Some(Ty::I64));
            }
            O::TableSet { table: to } => {
                self.call_out(Op::TableSet, &[to], &[table(to)], 2, None);
            }
            O::TableSize { table: of } => self.size(Op::TableSize, of, index(table(of))),
            O::TableGrow { table: of } => {
                let wide = table(of);
                self.call_out(Op::TableGrow, &[of], &[wide], 2, Some(index(wide)));
            }
            O::TableFill { table: to } => {
                let wide = table(to);
                self.call_out(Op::TableFill, &[to], &[wide, wide], 3, None);
            }
            O::TableCopy { dst_table, src_table } => {
                let (to, from) = (table(dst_table), table(src_table));
                let wide = [to, from, to && from];
                self.call_out(Op::TableCopy, &[dst_table, src_table], &wide, 3, None);
            }
            O::TableInit { elem_index, table: to } => {
                let wide = [table(to), false, false];
                self.call_out(Op::TableInit, &[to, elem_index], &wide, 3, None);
            }
            O::ElemDrop { elem_index } => self.call_out(Op::ElemDrop, &[elem_index], &[], 0, None),
            O::AtomicFence { .. } => {
                self.flush();
                self.emit(Op::AtomicFence, Args::NONE);
            }
            O::MemoryAtomicNotify { memarg } => {
                self.waiting(env, [Op::AtomicNotify, Op::AtomicNotifyWide], &memarg, 2)?;
            }
            O::MemoryAtomicWait32 { memarg } => {
                self.waiting(env, [Op::AtomicWait32, Op::AtomicWait32Wide], &memarg, 3)?;
            }
            O::MemoryAtomicWait64 { memarg } => {
                self.waiting(env, [Op::AtomicWait64, Op::AtomicWait64Wide], &memarg, 3)?;
            }
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
