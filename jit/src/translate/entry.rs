//! The beginning of a function: frame, parameters, fields of the context, checks.

use std::mem::offset_of;

use inkwell::IntPredicate;
use inkwell::builder::Builder;
use inkwell::values::PointerValue;
use wasmparser::{OperatorsReader, ValType};

use super::budget::LoopWeight;
use super::build::{instruction, internal, set_slot_alignment};
use super::control::{BlockSignature, Frame, FrameKind};
use super::{Local, Shape, Translator};
use crate::abi::{GLOBAL_SIZE, GLOBALS_OFFSET, TrapCode, VmContext, frame};
use crate::compile::Level;
use crate::env::slots_of;
use crate::error::{CompileError, Result};
use crate::unit::{Place, Region, Unit};

/// A pointer that stays the same while the function runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Field {
    MemoryBase(u32),
    MemoryLength(u32),
    CodeTable,
    Table(u32),
    ImportedGlobal(u32),
    Spill,
    Tags,
}

impl<'u, 'c, 'e> Translator<'u, 'c, 'e> {
    pub(super) fn new(
        unit: &'u Unit<'c, 'e>,
        func: u32,
        shape: Shape,
        name: &str,
        locals: &[ValType],
        reader: OperatorsReader<'e>,
    ) -> Result<Self> {
        let ty = unit.env.function_type(func);
        let native = match shape {
            Shape::Function => unit.native_type(ty, &[]),
            Shape::Osr { .. } => {
                let ptr = unit.types.ptr.into();
                unit.context.void_type().fn_type(&[ptr, ptr], false)
            }
        };
        let offset = reader.original_position() as usize;
        let function = unit.define(name, native);
        if shape == Shape::Function {
            function.set_call_conventions(unit.native_convention());
        }
        let scope = unit.debug.as_ref().map(|debug| debug.describe(function, offset as u32));
        let entry = unit.context.create_builder();
        entry.position_at_end(unit.context.append_basic_block(function, "entry"));
        let b = unit.context.create_builder();
        let start = unit.context.append_basic_block(function, "");
        b.position_at_end(start);

        let param = |index| function.get_nth_param(index).expect("it has the parameter");
        let mut this = Translator {
            unit,
            func,
            ty,
            shape,
            function,
            scope,
            b,
            entry,
            start,
            context: param(0).into_pointer_value(),
            exit: None,
            locals: Vec::with_capacity(locals.len()),
            stack: Vec::new(),
            frames: Vec::new(),
            reader,
            reachable: true,
            skipped: 0,
            next_loop: 0,
            offset,
            located: usize::MAX,
            weights: vec![LoopWeight::default()],
            cold: Vec::new(),
            calls: false,
            tail_calls: false,
            entered: false,
            kept: Vec::new(),
            plain: false,
            fields: std::collections::HashMap::new(),
            scratch: std::collections::HashMap::new(),
        };
        this.locate();
        if let Some(location) = this.b.get_current_debug_location() {
            this.entry.set_current_debug_location(location);
        }
        this.frames.push(Frame::new(
            FrameKind::Body,
            BlockSignature { params: &[], results: ty.results() },
            0,
        ));
        this.place_locals(locals)?;
        Ok(this)
    }

    /// Makes the locals, and gives them their first values.
    fn place_locals(&mut self, types: &[ValType]) -> Result<()> {
        let unit = self.unit;
        let places = unit.places(self.ty);
        for (index, ty) in types.iter().enumerate() {
            let llvm = unit.value_type(*ty);
            let place = self.entry.build_alloca(llvm, "")?;
            let slot = self.local_slots();
            self.locals.push(Local { place, ty: *ty, slot });
            let first = match self.shape {
                Shape::Osr { .. } => {
                    let place = slot_place(&self.entry, unit, self.osr_slots(), slot)?;
                    let value = self.entry.build_load(llvm, place, "")?;
                    set_slot_alignment(instruction(value)?, llvm)?;
                    value
                }
                Shape::Function => match places.get(index) {
                    Some(Place::Param(param)) => {
                        self.function.get_nth_param(*param).expect("it has the parameter")
                    }
                    Some(Place::Spilled(spilled)) => {
                        let spill = self.field(Field::Spill)?;
                        let place = slot_place(&self.entry, unit, spill, *spilled)?;
                        let value = self.entry.build_load(llvm, place, "")?;
                        self.tag(instruction(value)?, Region::Runtime)?;
                        set_slot_alignment(instruction(value)?, llvm)?;
                        value
                    }
                    None => llvm.const_zero(),
                },
            };
            self.entry.build_store(place, first)?;
        }
        Ok(())
    }

    /// The frame that an entry of a loop was given.
    pub(super) fn osr_slots(&self) -> PointerValue<'c> {
        self.function.get_nth_param(1).expect("an entry has two parameters").into_pointer_value()
    }

    /// The first slot of the operands in a frame.
    pub(super) fn operand_slot(&self) -> u32 {
        self.local_slots() + frame::LINK_SLOTS
    }

    /// Slots of the locals that there are so far.
    fn local_slots(&self) -> u32 {
        self.locals.last().map_or(0, |local| local.slot + slots_of(local.ty))
    }

    /// A pointer that stays the same, loaded in the entry block.
    pub(super) fn field(&mut self, field: Field) -> Result<PointerValue<'c>> {
        if let Some(value) = self.fields.get(&field) {
            return Ok(*value);
        }
        let context = self.context;
        let value = match field {
            Field::MemoryBase(0) => self.fixed(context, offset_of!(VmContext, memory_base))?,
            Field::MemoryLength(0) => self.fixed(context, offset_of!(VmContext, memory_length))?,
            Field::MemoryBase(index) => {
                let memories = self.fixed(context, offset_of!(VmContext, memories))?;
                self.fixed(memories, memory_desc(index) + offset_of!(crate::abi::MemoryDesc, base))?
            }
            Field::MemoryLength(index) => {
                let memories = self.fixed(context, offset_of!(VmContext, memories))?;
                let place = memory_desc(index) + offset_of!(crate::abi::MemoryDesc, length);
                self.fixed(memories, place)?
            }
            Field::CodeTable => self.fixed(context, offset_of!(VmContext, code_table))?,
            Field::Table(index) => {
                let tables = self.fixed(context, offset_of!(VmContext, tables))?;
                self.fixed(tables, index as usize * size_of::<usize>())?
            }
            Field::ImportedGlobal(index) => {
                let globals = self.fixed(context, offset_of!(VmContext, imported_globals))?;
                self.fixed(globals, index as usize * size_of::<usize>())?
            }
            Field::Spill => self.fixed(context, offset_of!(VmContext, spill))?,
            Field::Tags => self.fixed(context, offset_of!(VmContext, tags))?,
        };
        self.fields.insert(field, value);
        Ok(value)
    }

    fn fixed(&self, base: PointerValue<'c>, offset: usize) -> Result<PointerValue<'c>> {
        let types = self.unit.types;
        let offset = types.i64.const_int(offset as u64, false);
        // SAFETY: address arithmetic without `inbounds`.
        let place = unsafe { self.entry.build_gep(types.i8, base, &[offset], "")? };
        let value = self.entry.build_load(types.ptr, place, "")?;
        self.tag(instruction(value)?, Region::Invariant)?;
        Ok(value.into_pointer_value())
    }

    /// Where a global is.
    pub(super) fn global(&mut self, index: u32) -> Result<PointerValue<'c>> {
        match index.checked_sub(self.unit.env.imported_globals) {
            None => self.field(Field::ImportedGlobal(index)),
            Some(index) => {
                let offset = GLOBALS_OFFSET + GLOBAL_SIZE * index as usize;
                Ok(self.displace(self.context, offset as u64)?)
            }
        }
    }

    /// Memory for this many slots, to be used at once.
    pub(super) fn scratch(&mut self, slots: u32) -> Result<PointerValue<'c>> {
        let slots = slots.max(1);
        if let Some(place) = self.scratch.get(&slots) {
            return Ok(*place);
        }
        let size = self.i64(u64::from(slots));
        let place = self.entry.build_array_alloca(self.unit.types.i64, size, "")?;
        self.scratch.insert(slots, place);
        Ok(place)
    }

    /// Ends the function: what the entry block has to do is known now.
    pub(super) fn finish(&mut self) -> Result<()> {
        if let Shape::Osr { index } = self.shape
            && !self.entered
        {
            return Err(CompileError::NoSuchLoop { func: self.func, index });
        }
        self.leave_for_entry()?;
        let entry = self.entry.get_insert_block().expect("the builder has a place");
        self.b.position_at_end(entry);
        self.offset = self.unit.env.body(self.func).start;
        self.locate();
        let counts = self.unit.options.count_calls && self.shape == Shape::Function;
        if self.calls || counts {
            self.check_stack()?;
        }
        if counts {
            self.count_call()?;
        }
        if self.unit.level == Level::Quick && self.shape == Shape::Function {
            self.check_budget_at_entry()?;
        }
        self.b.build_unconditional_branch(self.start)?;
        for block in std::mem::take(&mut self.cold) {
            let last = self.function.get_last_basic_block().expect("there is a block");
            if last != block {
                block.move_after(last).map_err(|()| internal("a block cannot move"))?;
            }
        }
        self.unit.count_instructions(self.function);
        Ok(())
    }

    /// Functions that call others start only with some stack left, so that what they call always has room.
    fn check_stack(&mut self) -> Result<()> {
        let types = self.unit.types;
        let frame_address = self.unit.intrinsic("llvm.frameaddress", types.ptr)?;
        let here = self.b.build_call(frame_address, &[self.i32(0).into()], "")?;
        let here = here.try_as_basic_value().basic().expect("an address").into_pointer_value();
        let here = self.b.build_ptr_to_int(here, types.i64, "")?;
        let limit = self.displace(self.context, offset_of!(VmContext, stack_limit) as u64)?;
        let limit = self.load(types.i64, limit, Region::Invariant)?.into_int_value();
        let full = self.b.build_int_compare(IntPredicate::ULT, here, limit, "")?;
        self.trap_if(full, TrapCode::StackOverflow)
    }
}

fn memory_desc(index: u32) -> usize {
    index as usize * size_of::<crate::abi::MemoryDesc>()
}

/// The address of a slot of a frame.
fn slot_place<'c>(
    b: &Builder<'c>,
    unit: &Unit<'c, '_>,
    frame: PointerValue<'c>,
    index: u32,
) -> Result<PointerValue<'c>> {
    let index = unit.types.i64.const_int(u64::from(index), false);
    // SAFETY: address arithmetic without `inbounds`.
    Ok(unsafe { b.build_gep(unit.types.i64, frame, &[index], "")? })
}
