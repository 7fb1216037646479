//! What the translations of one job share: LLVM's module, types, attributes and declarations.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use inkwell::AddressSpace;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::context::Context;
use inkwell::intrinsics::Intrinsic;
use inkwell::module::Module;
use inkwell::types::{
    BasicMetadataTypeEnum, BasicType, BasicTypeEnum, FloatType, FunctionType, IntType, PointerType,
    VectorType,
};
use inkwell::values::{FunctionValue, MetadataValue};
use wasmparser::{FuncType, ValType};

use crate::abi::{AbiType, Builtin};
use crate::compile::{Level, Options};
use crate::debug::DebugInfo;
use crate::env::{ModuleEnv, slots_of};
use crate::error::{CompileError, Result};

/// LLVM's types, made once.
#[derive(Clone, Copy)]
pub(crate) struct Types<'c> {
    pub i1: IntType<'c>,
    pub i8: IntType<'c>,
    pub i16: IntType<'c>,
    pub i32: IntType<'c>,
    pub i64: IntType<'c>,
    pub f32: FloatType<'c>,
    pub f64: FloatType<'c>,
    pub ptr: PointerType<'c>,
    /// Every vector on the operand stack, in locals and in the calling conventions.
    pub v128: VectorType<'c>,
    pub i8x16: VectorType<'c>,
    pub i16x8: VectorType<'c>,
    pub i32x4: VectorType<'c>,
    pub i64x2: VectorType<'c>,
    pub f32x4: VectorType<'c>,
    pub f64x2: VectorType<'c>,
}

/// Metadata that says what an access is about, for alias analysis and hoisting.
#[derive(Clone, Copy)]
pub(crate) struct Tags<'c> {
    tbaa: u32,
    invariant: u32,
    memory: MetadataValue<'c>,
    runtime: MetadataValue<'c>,
    empty: MetadataValue<'c>,
}

/// What an access touches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Region {
    /// Linear memory.
    Memory,
    /// The context, globals, tables: never linear memory.
    Runtime,
    /// A field of the context (or what it points to) that does not change while the function runs.
    Invariant,
}

/// Where a native function takes a parameter of its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// LLVM's parameter of this index.
    Param(u32),
    /// This slot of [`VmContext::spill`](crate::abi::VmContext::spill).
    Spilled(u32),
}

/// The number of LLVM's `tailcc`, in which any function may end in a jump to any other of equal results.
const TAILCC: u32 = 18;
/// Registers of `tailcc` for integers, behind the context.
const INTEGER_REGISTERS: u32 = 5;
/// Registers of `tailcc` for floats and vectors.
const VECTOR_REGISTERS: u32 = 8;

/// Name and overload of an intrinsic.
type IntrinsicKey<'c> = (&'static str, [Option<BasicTypeEnum<'c>>; 2]);

pub(crate) struct Unit<'c, 'e> {
    pub context: &'c Context,
    /// If there is to be a line table. Before the module, which it must not outlive.
    pub debug: Option<DebugInfo<'c>>,
    pub module: Module<'c>,
    pub env: &'e ModuleEnv,
    pub bytes: &'e [u8],
    pub level: Level,
    pub options: Options,
    /// Whether the machine can shuffle bytes by computed numbers.
    pub ssse3: bool,
    pub types: Types<'c>,
    /// What is in the names of this object's symbols, and in no other's.
    pub unique: String,
    tags: Tags<'c>,
    function_attributes: Vec<Attribute>,
    builtins: RefCell<HashMap<Builtin, FunctionValue<'c>>>,
    intrinsics: RefCell<Vec<(IntrinsicKey<'c>, FunctionValue<'c>)>>,
    called_types: RefCell<BTreeSet<u32>>,
    instructions: Cell<u32>,
}

impl<'c, 'e> Unit<'c, 'e> {
    pub fn new(
        context: &'c Context,
        env: &'e ModuleEnv,
        bytes: &'e [u8],
        level: Level,
        options: Options,
        ssse3: bool,
        lines: bool,
    ) -> Self {
        let module = context.create_module("wasm");
        let types = types(context);
        let debug = lines.then(|| DebugInfo::new(&module, level));
        Unit {
            context,
            env,
            bytes,
            level,
            options,
            ssse3,
            types,
            debug,
            unique: unique(),
            tags: tags(context, types),
            function_attributes: function_attributes(context),
            builtins: RefCell::default(),
            intrinsics: RefCell::default(),
            called_types: RefCell::default(),
            instructions: Cell::new(0),
            module,
        }
    }

    /// LLVM's type of a value.
    pub fn value_type(&self, ty: ValType) -> BasicTypeEnum<'c> {
        match ty {
            ValType::I32 => self.types.i32.into(),
            ValType::F32 => self.types.f32.into(),
            ValType::F64 => self.types.f64.into(),
            ValType::V128 => self.types.v128.into(),
            ValType::I64 | ValType::Ref(_) => self.types.i64.into(),
        }
    }

    /// The native type of a wasm function, with `extra` parameters after its own.
    pub fn native_type(&self, ty: &FuncType, extra: &[BasicTypeEnum<'c>]) -> FunctionType<'c> {
        let mut params: Vec<BasicMetadataTypeEnum> = Vec::with_capacity(ty.params().len() + 3);
        params.push(self.types.ptr.into());
        for (place, ty) in self.places(ty).into_iter().zip(ty.params()) {
            if let Place::Param(_) = place {
                params.push(self.value_type(*ty).into());
            }
        }
        if ty.results().len() > 1 {
            params.push(self.types.ptr.into());
        }
        params.extend(extra.iter().map(|ty| BasicMetadataTypeEnum::from(*ty)));
        match ty.results() {
            [result] => self.value_type(*result).fn_type(&params, false),
            _ => self.context.void_type().fn_type(&params, false),
        }
    }

    /// Where native functions of this type take their parameters.
    pub fn places(&self, ty: &FuncType) -> Vec<Place> {
        // The last parameter may be where the results go.
        let mut integers = INTEGER_REGISTERS - u32::from(ty.results().len() > 1);
        let mut vectors = VECTOR_REGISTERS;
        let (mut param, mut slot) = (0, 0);
        let place = |ty: &ValType| {
            let registers = match ty {
                ValType::F32 | ValType::F64 | ValType::V128 => &mut vectors,
                ValType::I32 | ValType::I64 | ValType::Ref(_) => &mut integers,
            };
            if *registers == 0 && self.env.tail_calls {
                slot += slots_of(*ty);
                return Place::Spilled(slot - slots_of(*ty));
            }
            *registers = registers.saturating_sub(1);
            param += 1;
            Place::Param(param)
        };
        ty.params().iter().map(place).collect()
    }

    /// The convention of native functions and stubs.
    pub fn native_convention(&self) -> u32 {
        if self.env.tail_calls { TAILCC } else { 0 }
    }

    /// A function to be defined, with the attributes that all compiled code has.
    pub fn define(&self, name: &str, ty: FunctionType<'c>) -> FunctionValue<'c> {
        let function = self.module.add_function(name, ty, None);
        for attribute in &self.function_attributes {
            function.add_attribute(AttributeLoc::Function, *attribute);
        }
        // Nothing but compiled code and the runtime, through this very pointer, touches the context.
        function.add_attribute(AttributeLoc::Param(0), self.attribute("noalias"));
        function.add_attribute(AttributeLoc::Param(0), self.attribute("nonnull"));
        function
    }

    pub fn attribute(&self, name: &str) -> Attribute {
        self.context.create_enum_attribute(Attribute::get_named_enum_kind_id(name), 0)
    }

    /// The runtime's function.
    pub fn builtin(&self, builtin: Builtin) -> FunctionValue<'c> {
        *self.builtins.borrow_mut().entry(builtin).or_insert_with(|| self.declare(builtin))
    }

    fn declare(&self, builtin: Builtin) -> FunctionValue<'c> {
        let params: Vec<BasicMetadataTypeEnum> =
            builtin.params().iter().filter_map(|ty| self.abi_type(*ty)).map(Into::into).collect();
        let ty = match self.abi_type(builtin.result()) {
            Some(result) => result.fn_type(&params, false),
            None => self.context.void_type().fn_type(&params, false),
        };
        let function = self.module.add_function(builtin.symbol(), ty, None);
        let add = |name| function.add_attribute(AttributeLoc::Function, self.attribute(name));
        add("nounwind");
        if builtin.result() == AbiType::Never {
            // Without `nomerge`, one call would serve several sites and lose where the trap was.
            ["noreturn", "cold", "nomerge"].into_iter().for_each(add);
        } else if matches!(builtin, Builtin::Budget | Builtin::CallIndirect) {
            add("cold");
        }
        function
    }

    fn abi_type(&self, ty: AbiType) -> Option<BasicTypeEnum<'c>> {
        match ty {
            AbiType::Ptr => Some(self.types.ptr.into()),
            AbiType::I32 => Some(self.types.i32.into()),
            AbiType::I64 => Some(self.types.i64.into()),
            AbiType::Void | AbiType::Never => None,
        }
    }

    /// The intrinsic for this type.
    pub fn intrinsic(
        &self,
        name: &'static str,
        ty: impl Into<BasicTypeEnum<'c>>,
    ) -> Result<FunctionValue<'c>> {
        self.intrinsic_of(name, &[ty.into()])
    }

    /// The intrinsic for these types (one or two).
    pub fn intrinsic_of(
        &self,
        name: &'static str,
        types: &[BasicTypeEnum<'c>],
    ) -> Result<FunctionValue<'c>> {
        let key = (name, [types.first().copied(), types.get(1).copied()]);
        let mut known = self.intrinsics.borrow_mut();
        if let Some((_, function)) = known.iter().find(|entry| entry.0 == key) {
            return Ok(*function);
        }
        let function = Intrinsic::find(name)
            .and_then(|intrinsic| intrinsic.get_declaration(&self.module, types))
            .ok_or_else(|| CompileError::Llvm(format!("no intrinsic {name}")))?;
        known.push((key, function));
        Ok(function)
    }

    /// Notes that the job's code calls functions of this type, so that they need a stub.
    pub fn note_call(&self, type_index: u32) {
        self.called_types.borrow_mut().insert(self.canonical(type_index));
    }

    /// The canonical types that the job's code calls.
    pub fn called_types(&self) -> BTreeSet<u32> {
        self.called_types.borrow().clone()
    }

    pub fn canonical(&self, type_index: u32) -> u32 {
        self.env.canonical_types[type_index as usize]
    }

    /// Metadata of an access: its kind and node.
    pub fn tag(&self, region: Region) -> (MetadataValue<'c>, u32) {
        match region {
            Region::Memory => (self.tags.memory, self.tags.tbaa),
            Region::Runtime => (self.tags.runtime, self.tags.tbaa),
            Region::Invariant => (self.tags.empty, self.tags.invariant),
        }
    }

    /// Adds the function's size to the job's.
    pub fn count_instructions(&self, function: FunctionValue<'c>) {
        let count: usize =
            function.get_basic_block_iter().map(|b| b.get_instructions().count()).sum();
        self.instructions.set(self.instructions.get() + count as u32);
    }

    /// Instructions in the functions counted so far.
    pub fn instructions(&self) -> u32 {
        self.instructions.get()
    }
}

/// What tells an object's symbols from those of all others that it may meet in a code space, also of objects that
/// another process has made.
fn unique() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
    static OBJECTS: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}.{}", *PROCESS, OBJECTS.fetch_add(1, Ordering::Relaxed))
}

fn types(context: &Context) -> Types<'_> {
    let (i8, i16, i32, i64) =
        (context.i8_type(), context.i16_type(), context.i32_type(), context.i64_type());
    let (f32, f64) = (context.f32_type(), context.f64_type());
    Types {
        i1: context.bool_type(),
        i8,
        i16,
        i32,
        i64,
        f32,
        f64,
        ptr: context.ptr_type(AddressSpace::default()),
        v128: i64.vec_type(2),
        i8x16: i8.vec_type(16),
        i16x8: i16.vec_type(8),
        i32x4: i32.vec_type(4),
        i64x2: i64.vec_type(2),
        f32x4: f32.vec_type(4),
        f64x2: f64.vec_type(2),
    }
}

fn tags<'c>(context: &'c Context, types: Types<'c>) -> Tags<'c> {
    let zero = types.i64.const_zero();
    let root = context.metadata_node(&[context.metadata_string("updraft").into()]);
    let tag = |name| {
        let ty = context.metadata_node(&[
            context.metadata_string(name).into(),
            root.into(),
            zero.into(),
        ]);
        context.metadata_node(&[ty.into(), ty.into(), zero.into()])
    };
    Tags {
        tbaa: context.get_kind_id("tbaa"),
        invariant: context.get_kind_id("invariant.load"),
        memory: tag("memory"),
        runtime: tag("runtime"),
        empty: context.metadata_node(&[]),
    }
}

fn function_attributes(context: &Context) -> Vec<Attribute> {
    let mut attributes: Vec<Attribute> = [
        // Backtraces and the entry check follow frame pointers.
        ("frame-pointer", "all"),
        // Touch every page of a large frame, so that the stack's guard page is not stepped over.
        ("probe-stack", "inline-asm"),
        // Infinite recursion must overflow the stack, and not become a loop.
        ("disable-tail-calls", "true"),
    ]
    .iter()
    .map(|(name, value)| context.create_string_attribute(name, value))
    .collect();
    attributes
        .push(context.create_enum_attribute(Attribute::get_named_enum_kind_id("nounwind"), 0));
    attributes
}
