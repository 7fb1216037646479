//! From the operators of one function to LLVM's intermediate representation.
//!
//! Wasm's operand stack exists only here, as a stack of LLVM values; locals are memory on the native stack that
//! LLVM's passes turn into values. Bodies have been validated, so types and heights are taken for granted.
//! Each submodule translates a family of operators.

mod atomic;
mod budget;
mod build;
mod calls;
mod checked;
mod control;
mod convert;
mod counted;
mod entry;
mod exceptions;
mod exchange_loop;
mod memory;
mod numeric;
mod osr;
mod table;
mod variable;
mod vector;

use std::collections::HashMap;

use inkwell::basic_block::BasicBlock;
use inkwell::builder::Builder;
use inkwell::debug_info::DISubprogram;
use inkwell::values::{BasicValueEnum, FunctionValue, PointerValue};
use wasmparser::{BinaryReader, FuncType, FunctionBody, Operator, OperatorsReader, ValType};

use crate::compile::Symbol;
use crate::emitted;
use crate::error::{CompileError, Result};
use crate::unit::Unit;
use budget::{EntryExit, LoopWeight};
pub(crate) use build::{instruction, set_slot_alignment};
use control::Frame;

/// What is made of a function's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// The function, with native parameters and results.
    Function,
    /// An entry at the header of a loop, with the frame in slots.
    Osr {
        /// The loop's ordinal.
        index: u32,
    },
}

/// A local variable and where it lives.
#[derive(Clone, Copy)]
struct Local<'c> {
    place: PointerValue<'c>,
    ty: ValType,
    /// Its first slot in a frame.
    slot: u32,
}

/// State of one translation.
struct Translator<'u, 'c, 'e> {
    unit: &'u Unit<'c, 'e>,
    func: u32,
    ty: &'e FuncType,
    shape: Shape,
    function: FunctionValue<'c>,
    /// What debug locations refer to, if there are any.
    scope: Option<DISubprogram<'c>>,
    /// Where code is added.
    b: Builder<'c>,
    /// Stays at the end of the entry block, for what has to be there once: allocas, fields of the context.
    entry: Builder<'c>,
    /// Where the body starts; the entry block ends with a branch to it.
    start: BasicBlock<'c>,
    context: PointerValue<'c>,
    /// How quick code leaves for an entry into a loop, if it has loops.
    exit: Option<EntryExit<'c>>,
    locals: Vec<Local<'c>>,
    /// Operands. An `i1` stands for an `i32` that a comparison made.
    stack: Vec<BasicValueEnum<'c>>,
    frames: Vec<Frame<'c, 'e>>,
    reader: OperatorsReader<'e>,
    /// Whether control can get to the current operator.
    reachable: bool,
    /// Blocks opened inside of unreachable code.
    skipped: u32,
    /// In a loop whose accesses have been checked: they need not be volatile.
    plain: bool,
    /// Whether the loop of an entry has been met.
    entered: bool,
    /// In quick code of an entry: memory for the lowest operands, see [`osr`].
    kept: Vec<osr::Kept<'c>>,
    /// Ordinal of the next loop.
    next_loop: u32,
    /// Offset of the current operator in the module.
    offset: usize,
    /// The offset that the builder's debug location is for.
    located: usize,
    weights: Vec<LoopWeight<'c>>,
    /// Blocks that belong at the end of the function.
    cold: Vec<BasicBlock<'c>>,
    /// Whether the function calls others, and so must check the stack.
    calls: bool,
    /// Whether the function makes tail calls.
    tail_calls: bool,
    /// Values loaded in the entry block, by what they are.
    fields: HashMap<entry::Field, PointerValue<'c>>,
    /// Memory for arguments and results in slots, by number of slots.
    scratch: HashMap<u32, PointerValue<'c>>,
}

/// Translates a function to the unit's module.
pub(crate) fn function(unit: &Unit, func: u32, shape: Shape) -> Result<()> {
    let malformed = |error: wasmparser::BinaryReaderError| CompileError::Malformed {
        func,
        message: error.to_string(),
    };
    let range = unit.env.body(func);
    let bytes = unit.bytes.get(range.clone()).ok_or_else(|| CompileError::Malformed {
        func,
        message: "its body lies outside of the module".to_owned(),
    })?;
    let body = FunctionBody::new(BinaryReader::new(bytes, range.start as u64));
    let mut locals = body.get_locals_reader().map_err(malformed)?;
    let ty = unit.env.function_type(func);
    let mut types = ty.params().to_vec();
    for _ in 0..locals.get_count() {
        let (count, ty) = locals.read().map_err(malformed)?;
        types.extend(std::iter::repeat_n(ty, count as usize));
    }

    let symbol = match shape {
        Shape::Function => Symbol::Function(func),
        Shape::Osr { index } => Symbol::Osr { func, index },
    };
    let name = emitted::name(&unit.unique, symbol);
    let reader = OperatorsReader::new(locals.get_binary_reader());
    let mut translator = Translator::new(unit, func, shape, &name, &types, reader)?;
    translator.run().map_err(|error| match error {
        Failure::Compile(error) => error,
        Failure::Read(error) => malformed(error),
    })
}

/// Why a translation stopped.
enum Failure {
    Compile(CompileError),
    Read(wasmparser::BinaryReaderError),
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Self {
        Failure::Compile(error)
    }
}

impl From<wasmparser::BinaryReaderError> for Failure {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Failure::Read(error)
    }
}

impl<'e> Translator<'_, '_, 'e> {
    fn run(&mut self) -> Result<(), Failure> {
        while !self.frames.is_empty() {
            let (operator, offset) = self.reader.read_with_offset()?;
            self.offset = offset as usize;
            if !self.reachable && !self.skip(&operator)? {
                continue;
            }
            if let Some(weight) = self.weights.last_mut() {
                weight.operators += 1;
            }
            self.operator(&operator)?;
        }
        self.finish()?;
        Ok(())
    }

    fn operator(&mut self, operator: &Operator<'e>) -> Result<()> {
        let known = self.control(operator)?
            || self.variable(operator)?
            || self.numeric(operator)?
            || self.memory(operator)?
            || self.call(operator)?
            || self.exception(operator)?
            || self.convert(operator)?
            || self.table(operator)?
            || self.atomic(operator)?
            || self.vector(operator)?;
        if known {
            return Ok(());
        }
        let name = format!("{operator:?}");
        let name = name.split([' ', '{', '(']).next().unwrap_or_default();
        Err(self.unsupported(format!("operator {name}")))
    }

    fn unsupported(&self, what: impl Into<String>) -> CompileError {
        CompileError::Unsupported { func: self.func, what: what.into(), offset: self.offset }
    }
}
