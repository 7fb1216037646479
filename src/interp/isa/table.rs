//! The instruction set as data.
//!
//! The build script reads this file and generates from it the opcode enumeration, the selectors that the translator
//! encodes with, the operand lists that the printer decodes with, and the handler table. A row names a generic handler
//! of `handlers/`, and the operands in the order in which handler and encoder go through them.

/// One operand of an instruction. [`size`](Operand::size) bytes of the bytecode each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// A slot of the frame.
    Slot,
    /// The accumulator of the operand's class; takes no bytes.
    Acc,
    /// A destination slot; the accumulator is set, too.
    ToSlot,
    /// The accumulator as destination; takes no bytes.
    ToAcc,
    /// A 32-bit integer, sign-extended where the instruction is of 64 bits.
    Imm32,
    /// A 64-bit integer.
    Imm64,
    /// The bits of an `f32`.
    ImmF32,
    /// The bits of an `f64`.
    ImmF64,
    /// Static offset of a memory access.
    Offset,
    /// Where a branch goes, relative to this operand.
    Target,
    /// Where the loop's [site record](crate) lies, relative to this operand.
    Site,
    /// Static weight of the code that a branch or an entry closes.
    Weight,
    /// A number of 16 bits.
    U16,
    /// A number of 32 bits.
    U32,
    /// A vector: the first of its two slots. Vectors have no accumulator.
    Vector,
    /// The first of two destination slots.
    ToVector,
    /// Static offset of an access to a memory of 64-bit addresses.
    Offset64,
}

impl Operand {
    /// Bytes in the encoding.
    pub const fn size(self) -> usize {
        match self {
            Operand::Acc | Operand::ToAcc => 0,
            Operand::Slot
            | Operand::ToSlot
            | Operand::Weight
            | Operand::U16
            | Operand::Vector
            | Operand::ToVector => 2,
            Operand::Imm32
            | Operand::ImmF32
            | Operand::Offset
            | Operand::Target
            | Operand::Site
            | Operand::U32 => 4,
            Operand::Imm64 | Operand::ImmF64 | Operand::Offset64 => 8,
        }
    }
}

/// The types of accumulators and immediates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    I32,
    I64,
    F32,
    F64,
    /// One of the two halves of a vector, which moves like an `I64`.
    V128,
}

impl Ty {
    /// The immediate operand of this type.
    pub const fn immediate(self) -> Operand {
        match self {
            Ty::I32 | Ty::I64 | Ty::V128 => Operand::Imm32,
            Ty::F32 => Operand::ImmF32,
            Ty::F64 => Operand::ImmF64,
        }
    }

    /// The Rust type that holds a slot of this type.
    pub const fn rust(self) -> &'static str {
        match self {
            Ty::I32 => "u32",
            Ty::I64 | Ty::V128 => "u64",
            Ty::F32 => "f32",
            Ty::F64 => "f64",
        }
    }
}

/// How operands of a binary operator may be exchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// `a op b` is `b op a`.
    Commutes,
    /// A comparison: `a op b` is `b swapped(op) a`.
    Compares,
    /// Neither.
    Ordered,
}

use Shape::{Commutes, Compares, Ordered};
use Ty::{F32, F64, I32, I64};

/// Operators of two operands: name, type of the operands, shape.
pub const BINARY: &[(&str, Ty, Shape)] = &[
    ("I32Add", I32, Commutes),
    ("I32Mul", I32, Commutes),
    ("I32And", I32, Commutes),
    ("I32Or", I32, Commutes),
    ("I32Xor", I32, Commutes),
    ("I32Sub", I32, Ordered),
    ("I32DivS", I32, Ordered),
    ("I32DivU", I32, Ordered),
    ("I32RemS", I32, Ordered),
    ("I32RemU", I32, Ordered),
    ("I32Shl", I32, Ordered),
    ("I32ShrS", I32, Ordered),
    ("I32ShrU", I32, Ordered),
    ("I32Rotl", I32, Ordered),
    ("I32Rotr", I32, Ordered),
    ("I32Eq", I32, Compares),
    ("I32Ne", I32, Compares),
    ("I32LtS", I32, Compares),
    ("I32LtU", I32, Compares),
    ("I32GtS", I32, Compares),
    ("I32GtU", I32, Compares),
    ("I32LeS", I32, Compares),
    ("I32LeU", I32, Compares),
    ("I32GeS", I32, Compares),
    ("I32GeU", I32, Compares),
    ("I64Add", I64, Commutes),
    ("I64Mul", I64, Commutes),
    ("I64And", I64, Commutes),
    ("I64Or", I64, Commutes),
    ("I64Xor", I64, Commutes),
    ("I64Sub", I64, Ordered),
    ("I64DivS", I64, Ordered),
    ("I64DivU", I64, Ordered),
    ("I64RemS", I64, Ordered),
    ("I64RemU", I64, Ordered),
    ("I64Shl", I64, Ordered),
    ("I64ShrS", I64, Ordered),
    ("I64ShrU", I64, Ordered),
    ("I64Rotl", I64, Ordered),
    ("I64Rotr", I64, Ordered),
    ("I64Eq", I64, Compares),
    ("I64Ne", I64, Compares),
    ("I64LtS", I64, Compares),
    ("I64LtU", I64, Compares),
    ("I64GtS", I64, Compares),
    ("I64GtU", I64, Compares),
    ("I64LeS", I64, Compares),
    ("I64LeU", I64, Compares),
    ("I64GeS", I64, Compares),
    ("I64GeU", I64, Compares),
    ("F32Add", F32, Commutes),
    ("F32Mul", F32, Commutes),
    ("F32Sub", F32, Ordered),
    ("F32Div", F32, Ordered),
    ("F32Min", F32, Ordered),
    ("F32Max", F32, Ordered),
    ("F32Copysign", F32, Ordered),
    ("F32Eq", F32, Compares),
    ("F32Ne", F32, Compares),
    ("F32Lt", F32, Compares),
    ("F32Gt", F32, Compares),
    ("F32Le", F32, Compares),
    ("F32Ge", F32, Compares),
    ("F64Add", F64, Commutes),
    ("F64Mul", F64, Commutes),
    ("F64Sub", F64, Ordered),
    ("F64Div", F64, Ordered),
    ("F64Min", F64, Ordered),
    ("F64Max", F64, Ordered),
    ("F64Copysign", F64, Ordered),
    ("F64Eq", F64, Compares),
    ("F64Ne", F64, Compares),
    ("F64Lt", F64, Compares),
    ("F64Gt", F64, Compares),
    ("F64Le", F64, Compares),
    ("F64Ge", F64, Compares),
];

/// The value of an instruction that no operand of the other types takes.
pub const UNARY: &[(&str, Ty)] = &[
    ("I32Eqz", I32),
    ("I32Clz", I32),
    ("I32Ctz", I32),
    ("I32Popcnt", I32),
    ("I32Extend8S", I32),
    ("I32Extend16S", I32),
    ("I32WrapI64", I64),
    ("I64Eqz", I64),
    ("I64Clz", I64),
    ("I64Ctz", I64),
    ("I64Popcnt", I64),
    ("I64Extend8S", I64),
    ("I64Extend16S", I64),
    ("I64Extend32S", I64),
    ("I64ExtendI32S", I32),
    ("I64ExtendI32U", I32),
    ("I32TruncF32S", F32),
    ("I32TruncF32U", F32),
    ("I32TruncF64S", F64),
    ("I32TruncF64U", F64),
    ("I64TruncF32S", F32),
    ("I64TruncF32U", F32),
    ("I64TruncF64S", F64),
    ("I64TruncF64U", F64),
    ("I32TruncSatF32S", F32),
    ("I32TruncSatF32U", F32),
    ("I32TruncSatF64S", F64),
    ("I32TruncSatF64U", F64),
    ("I64TruncSatF32S", F32),
    ("I64TruncSatF32U", F32),
    ("I64TruncSatF64S", F64),
    ("I64TruncSatF64U", F64),
    ("F32ConvertI32S", I32),
    ("F32ConvertI32U", I32),
    ("F32ConvertI64S", I64),
    ("F32ConvertI64U", I64),
    ("F64ConvertI32S", I32),
    ("F64ConvertI32U", I32),
    ("F64ConvertI64S", I64),
    ("F64ConvertI64U", I64),
    ("F32DemoteF64", F64),
    ("F64PromoteF32", F32),
    ("I32ReinterpretF32", F32),
    ("I64ReinterpretF64", F64),
    ("F32ReinterpretI32", I32),
    ("F64ReinterpretI64", I64),
    ("F32Abs", F32),
    ("F32Neg", F32),
    ("F32Ceil", F32),
    ("F32Floor", F32),
    ("F32Trunc", F32),
    ("F32Nearest", F32),
    ("F32Sqrt", F32),
    ("F64Abs", F64),
    ("F64Neg", F64),
    ("F64Ceil", F64),
    ("F64Floor", F64),
    ("F64Trunc", F64),
    ("F64Nearest", F64),
    ("F64Sqrt", F64),
    // Not of WebAssembly: what follows an operator if NaNs are to be canonical.
    ("F32Canonical", F32),
    ("F64Canonical", F64),
];

/// Plain loads.
pub const LOADS: &[&str] = &[
    "I32Load",
    "I64Load",
    "F32Load",
    "F64Load",
    "I32Load8S",
    "I32Load8U",
    "I32Load16S",
    "I32Load16U",
    "I64Load8S",
    "I64Load8U",
    "I64Load16S",
    "I64Load16U",
    "I64Load32S",
    "I64Load32U",
];

/// Operators that take the result of a load as their second operand: operator, load.
pub const LOAD_BINARY: &[(&str, &str)] = &[
    ("I32Add", "I32Load"),
    ("I32Sub", "I32Load"),
    ("I32And", "I32Load"),
    ("I32Or", "I32Load"),
    ("I32Xor", "I32Load"),
    ("I64Add", "I64Load"),
    ("I64Sub", "I64Load"),
    ("I64And", "I64Load"),
    ("I64Or", "I64Load"),
    ("I64Xor", "I64Load"),
    ("F32Add", "F32Load"),
    ("F32Sub", "F32Load"),
    ("F32Mul", "F32Load"),
    ("F32Div", "F32Load"),
    ("F64Add", "F64Load"),
    ("F64Sub", "F64Load"),
    ("F64Mul", "F64Load"),
    ("F64Div", "F64Load"),
];

/// Pairs of operators in one instruction: outer, inner. The inner operator's second operand is a constant number of bits.
/// All outer operators commute.
pub const SHIFTED: &[(&str, &str)] = &[
    ("I32Add", "I32Shl"),
    ("I32Add", "I32Rotl"),
    ("I32Xor", "I32Rotl"),
    ("I32Xor", "I32ShrU"),
    ("I32Or", "I32Shl"),
    ("I32Or", "I32ShrU"),
    ("I64Add", "I64Shl"),
    ("I64Add", "I64Rotl"),
    ("I64Xor", "I64Rotl"),
    ("I64Xor", "I64ShrU"),
    ("I64Or", "I64Shl"),
    ("I64Or", "I64ShrU"),
];

/// What may be made of a product, rounded before: name, type of the operands.
pub const PRODUCTS: &[(&str, Ty)] = &[
    ("F32MulAdd", F32),
    ("F32MulSub", F32),
    ("F32MulFrom", F32),
    ("F32MulMul", F32),
    ("F64MulAdd", F64),
    ("F64MulSub", F64),
    ("F64MulFrom", F64),
    ("F64MulMul", F64),
];

/// Plain stores, with the type of the value.
pub const STORES: &[(&str, Ty)] = &[
    ("I32Store", I32),
    ("I64Store", I64),
    ("F32Store", F32),
    ("F64Store", F64),
    ("I32Store8", I32),
    ("I32Store16", I32),
    ("I64Store8", I64),
    ("I64Store16", I64),
    ("I64Store32", I64),
];

/// Widths of atomic accesses: name, type, and the machine's type.
pub const ATOMICS: &[(&str, Ty, &str)] = &[
    ("I32", I32, "AtomicU32"),
    ("I64", I64, "AtomicU64"),
    ("I32U8", I32, "AtomicU8"),
    ("I32U16", I32, "AtomicU16"),
    ("I64U8", I64, "AtomicU8"),
    ("I64U16", I64, "AtomicU16"),
    ("I64U32", I64, "AtomicU32"),
];

/// Atomic read-modify-write operators.
pub const RMW: &[&str] = &["Add", "Sub", "And", "Or", "Xor", "Xchg"];

/// Instructions that exist once: name, handler, operands.
pub const SINGLE: &[(&str, &str, &[Operand])] = {
    use Operand::*;
    &[
        // Ways into a function; `execute` and calls go to them with the return address in the accumulator.
        ("EntryFirst", "entry_first", &[U32, U16]),
        ("EntryImport", "entry_import", &[U32, U16]),
        ("EntryNative", "entry_native", &[U32, U16, Imm64]),
        ("Exit", "exit", &[]),
        // Moves that leave the accumulators alone.
        ("Move32", "move_value::<u32>", &[Slot, Slot]),
        ("Move64", "move_value::<u64>", &[Slot, Slot]),
        ("MoveImm32", "move_imm::<u32>", &[Imm32, Slot]),
        ("MoveImm64", "move_imm::<u64>", &[Imm64, Slot]),
        ("MoveMany", "move_many", &[Slot, Slot, U16]),
        // Two copies to locals.
        ("CopyIntTwice", "copy_twice", &[Slot, Slot, Slot, ToSlot]),
        // Control.
        ("Unreachable", "unreachable", &[]),
        ("Br", "br::<Forward>", &[Target]),
        ("BrBack", "br::<Back>", &[Target, Site, Weight]),
        ("BrTableS", "br_table::<S>", &[Slot, U32]),
        ("BrTableA", "br_table::<A>", &[Acc, U32]),
        ("Return", "return_none", &[Slot]),
        ("ReturnMany", "return_many", &[Slot, Slot, U16]),
        // Calls.
        ("Call", "call", &[U32, Slot]),
        ("CallIndirectS", "call_indirect::<u32, S>", &[Slot, U32, U32, U32, Slot, U16]),
        ("CallIndirectA", "call_indirect::<u32, A>", &[Acc, U32, U32, U32, Slot, U16]),
        ("CallIndirectWideS", "call_indirect::<u64, S>", &[Slot, U32, U32, U32, Slot, U16]),
        ("CallIndirectWideA", "call_indirect::<u64, A>", &[Acc, U32, U32, U32, Slot, U16]),
        ("Throw", "throw", &[U32, Slot, U16]),
        ("ThrowRef", "throw_ref", &[Slot, U16]),
        ("CallRef", "call_ref", &[Slot, Slot, U16]),
        ("TailCallRef", "tail_call_ref", &[Slot, Slot, U16, Slot, U16]),
        ("RefAsNonNull", "ref_as_non_null", &[Slot]),
        ("TailCall", "tail_call", &[U32, Slot, U16, Slot]),
        (
            "TailCallIndirect",
            "tail_call_indirect::<u32>",
            &[Slot, U32, U32, U32, Slot, U16, Slot, U16],
        ),
        (
            "TailCallIndirectWide",
            "tail_call_indirect::<u64>",
            &[Slot, U32, U32, U32, Slot, U16, Slot, U16],
        ),
        // Vectors.
        ("MoveVector", "move_vector", &[Vector, ToVector]),
        ("SelectVectorS", "select_vector::<S>", &[Slot, Vector, Vector, ToVector]),
        ("SelectVectorA", "select_vector::<A>", &[Acc, Vector, Vector, ToVector]),
        ("GlobalGetOwnVector", "global_get_vector::<Own>", &[U32, ToVector]),
        ("GlobalGetImportedVector", "global_get_vector::<Imported>", &[U32, ToVector]),
        ("GlobalSetOwnVector", "global_set_vector::<Own>", &[U32, Vector]),
        ("GlobalSetImportedVector", "global_set_vector::<Imported>", &[U32, Vector]),
        ("Shuffle", "shuffle", &[Vector, Vector, Imm64, Imm64, ToVector]),
        // Globals that others may see.
        ("GlobalSetRef", "global_set_ref", &[U32, Slot, Slot]),
        // Memories and tables. The first number of 16 bits tells which integers among the operands are of 64 bits.
        ("MemorySize", "memory_size", &[U32, ToSlot]),
        ("MemoryGrow", "memory_grow", &[U32, U16, Slot, Slot, ToSlot]),
        ("MemoryInit", "memory_init", &[U32, U32, U16, Slot, Slot, Slot, Slot]),
        ("MemoryCopy", "memory_copy", &[U32, U32, U16, Slot, Slot, Slot, Slot]),
        ("MemoryFill", "memory_fill", &[U32, U16, Slot, Slot, Slot, Slot]),
        ("DataDrop", "data_drop", &[U32, Slot]),
        // Calls of functions, where they are counted.
        ("CountCall", "count_call", &[U32, Slot]),
        ("TableGet", "table_get", &[U32, U16, Slot, Slot, ToSlot]),
        ("TableSet", "table_set", &[U32, U16, Slot, Slot, Slot]),
        ("TableSize", "table_size", &[U32, ToSlot]),
        ("TableGrow", "table_grow", &[U32, U16, Slot, Slot, Slot, ToSlot]),
        ("TableFill", "table_fill", &[U32, U16, Slot, Slot, Slot, Slot]),
        ("TableCopy", "table_copy", &[U32, U32, U16, Slot, Slot, Slot, Slot]),
        ("TableInit", "table_init", &[U32, U32, U16, Slot, Slot, Slot, Slot]),
        ("ElemDrop", "elem_drop", &[U32, Slot]),
        // Atomics that may block.
        ("AtomicNotify", "atomic_notify::<Far>", &[U32, Slot, Offset, Slot, Slot, ToSlot]),
        ("AtomicWait32", "atomic_wait32::<Far>", &[U32, Slot, Offset, Slot, Slot, Slot, ToSlot]),
        ("AtomicWait64", "atomic_wait64::<Far>", &[U32, Slot, Offset, Slot, Slot, Slot, ToSlot]),
        ("AtomicNotifyWide", "atomic_notify::<Wide>", &[U32, Slot, Offset64, Slot, Slot, ToSlot]),
        (
            "AtomicWait32Wide",
            "atomic_wait32::<Wide>",
            &[U32, Slot, Offset64, Slot, Slot, Slot, ToSlot],
        ),
        (
            "AtomicWait64Wide",
            "atomic_wait64::<Wide>",
            &[U32, Slot, Offset64, Slot, Slot, Slot, ToSlot],
        ),
        ("AtomicFence", "atomic_fence", &[]),
    ]
};

/// What a vector instruction takes and gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VectorKind {
    /// One vector to a vector.
    Unary,
    /// Two vectors to one.
    Binary,
    /// Three vectors to one.
    Ternary,
    /// A vector and a number of bits to a vector.
    Shift,
    /// A scalar to a vector.
    Splat,
    /// A vector to an `i32`.
    Test,
    /// A lane of a vector to a scalar.
    Extract,
    /// A vector and a scalar to a vector.
    Replace,
}

/// Families of vector operators: kind, what the names begin with, type of the lanes, what the names end with, and what
/// stands between. The latter names the operator in `handlers::lanes`, where it is implemented for the type.
pub const VECTORS: &[(VectorKind, &str, &str, &str, &[&str])] = {
    use VectorKind::*;
    &[
        (Unary, "I8x16", "i8", "", &["Abs", "Neg", "Popcnt"]),
        (Unary, "I16x8", "i16", "", &["Abs", "Neg"]),
        (Unary, "I32x4", "i32", "", &["Abs", "Neg"]),
        (Unary, "I64x2", "i64", "", &["Abs", "Neg"]),
        (
            Unary,
            "F32x4",
            "f32",
            "",
            &["Abs", "Neg", "Sqrt", "Ceil", "Floor", "Trunc", "Nearest", "Canonical"],
        ),
        (
            Unary,
            "F64x2",
            "f64",
            "",
            &["Abs", "Neg", "Sqrt", "Ceil", "Floor", "Trunc", "Nearest", "Canonical"],
        ),
        (Unary, "I16x8", "i8", "I8x16S", &["ExtAddPairwise", "ExtendLow", "ExtendHigh"]),
        (Unary, "I16x8", "u8", "I8x16U", &["ExtAddPairwise", "ExtendLow", "ExtendHigh"]),
        (Unary, "I32x4", "i16", "I16x8S", &["ExtAddPairwise", "ExtendLow", "ExtendHigh"]),
        (Unary, "I32x4", "u16", "I16x8U", &["ExtAddPairwise", "ExtendLow", "ExtendHigh"]),
        (Unary, "I64x2", "i32", "I32x4S", &["ExtendLow", "ExtendHigh"]),
        (Unary, "I64x2", "u32", "I32x4U", &["ExtendLow", "ExtendHigh"]),
        (Unary, "I32x4", "i32", "F32x4S", &["TruncSat"]),
        (Unary, "I32x4", "u32", "F32x4U", &["TruncSat"]),
        (Unary, "F32x4", "i32", "I32x4S", &["Convert"]),
        (Unary, "F32x4", "u32", "I32x4U", &["Convert"]),
        (Unary, "I32x4", "i32", "SZero", &["TruncSatF64x2"]),
        (Unary, "I32x4", "u32", "UZero", &["TruncSatF64x2"]),
        (Unary, "F64x2", "i32", "I32x4S", &["ConvertLow"]),
        (Unary, "F64x2", "u32", "I32x4U", &["ConvertLow"]),
        (Unary, "F32x4", "f64", "F64x2Zero", &["Demote"]),
        (Unary, "F64x2", "f32", "F32x4", &["PromoteLow"]),
        (Unary, "V128", "u64", "", &["Not"]),
        (Binary, "V128", "u64", "", &["And", "AndNot", "Or", "Xor"]),
        (Binary, "I8x16", "i8", "", &["Eq", "Ne", "Add", "Sub"]),
        (Binary, "I8x16", "i8", "S", &["Lt", "Gt", "Le", "Ge", "AddSat", "SubSat", "Min", "Max"]),
        (
            Binary,
            "I8x16",
            "u8",
            "U",
            &["Lt", "Gt", "Le", "Ge", "AddSat", "SubSat", "Min", "Max", "Avgr"],
        ),
        (Binary, "I16x8", "i16", "", &["Eq", "Ne", "Add", "Sub", "Mul"]),
        (
            Binary,
            "I16x8",
            "i16",
            "S",
            &["Lt", "Gt", "Le", "Ge", "AddSat", "SubSat", "Min", "Max", "Q15MulrSat"],
        ),
        (
            Binary,
            "I16x8",
            "u16",
            "U",
            &["Lt", "Gt", "Le", "Ge", "AddSat", "SubSat", "Min", "Max", "Avgr"],
        ),
        (Binary, "I32x4", "i32", "", &["Eq", "Ne", "Add", "Sub", "Mul"]),
        (Binary, "I32x4", "i32", "S", &["Lt", "Gt", "Le", "Ge", "Min", "Max"]),
        (Binary, "I32x4", "u32", "U", &["Lt", "Gt", "Le", "Ge", "Min", "Max"]),
        (Binary, "I64x2", "i64", "", &["Eq", "Ne", "Add", "Sub", "Mul"]),
        (Binary, "I64x2", "i64", "S", &["Lt", "Gt", "Le", "Ge"]),
        (Binary, "F32x4", "f32", "", &["Eq", "Ne", "Lt", "Gt", "Le", "Ge"]),
        (Binary, "F64x2", "f64", "", &["Eq", "Ne", "Lt", "Gt", "Le", "Ge"]),
        (Binary, "F32x4", "f32", "", &["Add", "Sub", "Mul", "Div", "Min", "Max", "PMin", "PMax"]),
        (Binary, "F64x2", "f64", "", &["Add", "Sub", "Mul", "Div", "Min", "Max", "PMin", "PMax"]),
        (Binary, "I8x16", "i16", "I16x8S", &["Narrow"]),
        (Binary, "I8x16", "u16", "I16x8U", &["Narrow"]),
        (Binary, "I16x8", "i32", "I32x4S", &["Narrow"]),
        (Binary, "I16x8", "u32", "I32x4U", &["Narrow"]),
        (Binary, "I16x8", "i8", "I8x16S", &["ExtMulLow", "ExtMulHigh"]),
        (Binary, "I16x8", "u8", "I8x16U", &["ExtMulLow", "ExtMulHigh"]),
        (Binary, "I32x4", "i16", "I16x8S", &["ExtMulLow", "ExtMulHigh"]),
        (Binary, "I32x4", "u16", "I16x8U", &["ExtMulLow", "ExtMulHigh"]),
        (Binary, "I64x2", "i32", "I32x4S", &["ExtMulLow", "ExtMulHigh"]),
        (Binary, "I64x2", "u32", "I32x4U", &["ExtMulLow", "ExtMulHigh"]),
        (Binary, "I8x16", "u8", "", &["Swizzle"]),
        (Binary, "I32x4", "i16", "I16x8S", &["Dot"]),
        (Binary, "I16x8", "i8", "I8x16I7x16S", &["RelaxedDot"]),
        (Ternary, "I32x4", "i8", "I8x16I7x16AddS", &["RelaxedDot"]),
        (Ternary, "V128", "u64", "", &["Bitselect"]),
        (Ternary, "F32x4", "f32", "", &["RelaxedMadd", "RelaxedNmadd"]),
        (Ternary, "F64x2", "f64", "", &["RelaxedMadd", "RelaxedNmadd"]),
        (Shift, "I8x16", "i8", "", &["Shl"]),
        (Shift, "I8x16", "i8", "S", &["Shr"]),
        (Shift, "I8x16", "u8", "U", &["Shr"]),
        (Shift, "I16x8", "i16", "", &["Shl"]),
        (Shift, "I16x8", "i16", "S", &["Shr"]),
        (Shift, "I16x8", "u16", "U", &["Shr"]),
        (Shift, "I32x4", "i32", "", &["Shl"]),
        (Shift, "I32x4", "i32", "S", &["Shr"]),
        (Shift, "I32x4", "u32", "U", &["Shr"]),
        (Shift, "I64x2", "i64", "", &["Shl"]),
        (Shift, "I64x2", "i64", "S", &["Shr"]),
        (Shift, "I64x2", "u64", "U", &["Shr"]),
        (Splat, "I8x16", "i8", "", &["Splat"]),
        (Splat, "I16x8", "i16", "", &["Splat"]),
        (Splat, "I32x4", "i32", "", &["Splat"]),
        (Splat, "I64x2", "i64", "", &["Splat"]),
        (Splat, "F32x4", "f32", "", &["Splat"]),
        (Splat, "F64x2", "f64", "", &["Splat"]),
        (Test, "V128", "u64", "", &["AnyTrue"]),
        (Test, "I8x16", "i8", "", &["AllTrue", "Bitmask"]),
        (Test, "I16x8", "i16", "", &["AllTrue", "Bitmask"]),
        (Test, "I32x4", "i32", "", &["AllTrue", "Bitmask"]),
        (Test, "I64x2", "i64", "", &["AllTrue", "Bitmask"]),
        (Extract, "I8x16", "i8", "S", &["ExtractLane"]),
        (Extract, "I8x16", "u8", "U", &["ExtractLane"]),
        (Extract, "I16x8", "i16", "S", &["ExtractLane"]),
        (Extract, "I16x8", "u16", "U", &["ExtractLane"]),
        (Extract, "I32x4", "i32", "", &["ExtractLane"]),
        (Extract, "I64x2", "i64", "", &["ExtractLane"]),
        (Extract, "F32x4", "f32", "", &["ExtractLane"]),
        (Extract, "F64x2", "f64", "", &["ExtractLane"]),
        (Replace, "I8x16", "i8", "", &["ReplaceLane"]),
        (Replace, "I16x8", "i16", "", &["ReplaceLane"]),
        (Replace, "I32x4", "i32", "", &["ReplaceLane"]),
        (Replace, "I64x2", "i64", "", &["ReplaceLane"]),
        (Replace, "F32x4", "f32", "", &["ReplaceLane"]),
        (Replace, "F64x2", "f64", "", &["ReplaceLane"]),
    ]
};

/// Relaxed operators that are others: what each of them does is one of the results that the proposal allows, and the
/// compiler makes the same choice.
pub const RELAXED: &[(&str, &str)] = &[
    ("I8x16RelaxedSwizzle", "I8x16Swizzle"),
    ("I32x4RelaxedTruncF32x4S", "I32x4TruncSatF32x4S"),
    ("I32x4RelaxedTruncF32x4U", "I32x4TruncSatF32x4U"),
    ("I32x4RelaxedTruncF64x2SZero", "I32x4TruncSatF64x2SZero"),
    ("I32x4RelaxedTruncF64x2UZero", "I32x4TruncSatF64x2UZero"),
    ("I8x16RelaxedLaneselect", "V128Bitselect"),
    ("I16x8RelaxedLaneselect", "V128Bitselect"),
    ("I32x4RelaxedLaneselect", "V128Bitselect"),
    ("I64x2RelaxedLaneselect", "V128Bitselect"),
    ("F32x4RelaxedMin", "F32x4Min"),
    ("F32x4RelaxedMax", "F32x4Max"),
    ("F64x2RelaxedMin", "F64x2Min"),
    ("F64x2RelaxedMax", "F64x2Max"),
    ("I16x8RelaxedQ15mulrS", "I16x8Q15MulrSatS"),
];

/// Accesses of vectors to memory: name, handler without the memory, whether a vector goes in, whether one comes out,
/// whether it is about one lane.
pub const VECTOR_ACCESSES: &[(&str, &str, bool, bool, bool)] = &[
    ("V128Load", "vector_load::<handlers::lanes::Whole", false, true, false),
    ("V128Load8x8S", "vector_load::<handlers::lanes::Load8x8S", false, true, false),
    ("V128Load8x8U", "vector_load::<handlers::lanes::Load8x8U", false, true, false),
    ("V128Load16x4S", "vector_load::<handlers::lanes::Load16x4S", false, true, false),
    ("V128Load16x4U", "vector_load::<handlers::lanes::Load16x4U", false, true, false),
    ("V128Load32x2S", "vector_load::<handlers::lanes::Load32x2S", false, true, false),
    ("V128Load32x2U", "vector_load::<handlers::lanes::Load32x2U", false, true, false),
    ("V128Load8Splat", "vector_load::<handlers::lanes::Load8Splat", false, true, false),
    ("V128Load16Splat", "vector_load::<handlers::lanes::Load16Splat", false, true, false),
    ("V128Load32Splat", "vector_load::<handlers::lanes::Load32Splat", false, true, false),
    ("V128Load64Splat", "vector_load::<handlers::lanes::Load64Splat", false, true, false),
    ("V128Load32Zero", "vector_load::<handlers::lanes::Load32Zero", false, true, false),
    ("V128Load64Zero", "vector_load::<handlers::lanes::Load64Zero", false, true, false),
    ("V128Load8Lane", "vector_load_lane::<u8", true, true, true),
    ("V128Load16Lane", "vector_load_lane::<u16", true, true, true),
    ("V128Load32Lane", "vector_load_lane::<u32", true, true, true),
    ("V128Load64Lane", "vector_load_lane::<u64", true, true, true),
    ("V128Store", "vector_store::<u128", true, false, false),
    ("V128Store8Lane", "vector_store_lane::<u8", true, false, true),
    ("V128Store16Lane", "vector_store_lane::<u16", true, false, true),
    ("V128Store32Lane", "vector_store_lane::<u32", true, false, true),
    ("V128Store64Lane", "vector_store_lane::<u64", true, false, true),
];
