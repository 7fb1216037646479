//! Bytecode under construction: instructions, labels and the records beside them.

use super::dispatch::{ALIGN, OPCODE_SIZE, Slot};
use super::isa::Op;

/// Operands of one instruction, encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Args {
    bytes: [u8; Args::MAX],
    len: u8,
}

impl Args {
    /// The longest list of operands.
    const MAX: usize = 32;

    /// No operands.
    pub(crate) const NONE: Args = Args { bytes: [0; Args::MAX], len: 0 };

    fn push<const N: usize>(mut self, bytes: [u8; N]) -> Args {
        let at = usize::from(self.len);
        self.bytes[at..at + N].copy_from_slice(&bytes);
        self.len += N as u8;
        self
    }

    /// Appends a slot.
    pub(crate) fn slot(self, slot: Slot) -> Args {
        self.push(slot.0.to_ne_bytes())
    }

    /// Appends a number of 16 bits.
    pub(crate) fn u16(self, value: u16) -> Args {
        self.push(value.to_ne_bytes())
    }

    /// Appends a number of 32 bits.
    pub(crate) fn u32(self, value: u32) -> Args {
        self.push(value.to_ne_bytes())
    }

    /// Appends a number of 64 bits.
    pub(crate) fn u64(self, value: u64) -> Args {
        self.push(value.to_ne_bytes())
    }

    /// Appends what another list holds.
    pub(crate) fn append(mut self, other: &Args) -> Args {
        for byte in other.bytes() {
            self = self.push([*byte]);
        }
        self
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Bits of a position, as far as labels keep them.
const POSITION_BITS: u32 = 26;
/// The longest code of a function.
const MAX_CODE: u32 = (1 << POSITION_BITS) - 1;

/// A position in the code of a function, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Position(pub(crate) u32);

impl Position {
    /// The byte `at` of the operands of the instruction here.
    pub(crate) fn operand(self, at: usize) -> Position {
        Position(self.0 + (OPCODE_SIZE + at) as u32)
    }
}

/// Where branches go. Until it is bound, the branches to it form a list through their operands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Label {
    /// Not placed yet; the last branch to it.
    Open(Option<Position>),
    /// Placed.
    Bound(Position),
}

impl Label {
    /// A label that nothing refers to yet.
    pub(crate) const NEW: Label = Label::Open(None);

    /// Whether something branches to it.
    pub(crate) fn is_used(&self) -> bool {
        !matches!(self, Label::Open(None))
    }
}

/// An instruction as it was encoded, kept when the encoder records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Where it begins.
    pub(crate) position: Position,
    /// What it is.
    pub(crate) op: Op,
    /// Offset in the module of the operator that it stands for.
    pub(crate) offset: u32,
}

/// The code of a function.
#[derive(Default, Debug)]
pub(crate) struct Encoder {
    code: Vec<u8>,
    marks: Option<Vec<Mark>>,
    /// Where the last label was placed.
    last_label: Position,
}

impl Encoder {
    /// Starts again. With `record`, keeps where each instruction came from.
    pub(crate) fn clear(&mut self, record: bool) {
        self.code.clear();
        self.last_label = Position(0);
        self.marks = record.then(Vec::new);
    }

    /// Where the next instruction will begin.
    pub(crate) fn position(&self) -> Position {
        Position(self.code.len() as u32)
    }

    /// Appends an instruction. `offset` is that of its operator in the module.
    pub(crate) fn emit(&mut self, op: Op, args: &Args, offset: u32) -> Position {
        let position = self.begin(op, args, offset);
        self.pad();
        position
    }

    /// The same, with more operands to follow; `pad` ends them.
    pub(crate) fn begin(&mut self, op: Op, args: &Args, offset: u32) -> Position {
        let position = self.position();
        debug_assert_eq!(args.bytes().len(), op.operand_bytes(), "{}", op.name());
        if let Some(marks) = &mut self.marks {
            marks.push(Mark { position, op, offset });
        }
        self.code.extend_from_slice(&(op.handler() as usize).to_ne_bytes());
        self.code.extend_from_slice(args.bytes());
        position
    }

    /// Makes the operand at byte `at` of the operands of the instruction refer to the label.
    pub(crate) fn refer(&mut self, instruction: Position, at: usize, label: &mut Label) {
        self.refer_from(instruction.operand(at), OPCODE_SIZE + at, label);
    }

    /// Makes an entry of a branch table refer to the label.
    pub(crate) fn refer_entry(&mut self, field: Position, label: &mut Label) {
        self.refer_from(field, 0, label);
    }

    /// Makes the four bytes at `field` the distance of the label from the place `back` bytes before.
    fn refer_from(&mut self, field: Position, back: usize, label: &mut Label) {
        match label {
            Label::Bound(target) => self.set_distance(field, back, *target),
            Label::Open(last) => {
                // Until the label is bound: how far back, and the branch to it before this one.
                let previous = last.map_or(0, |last| last.0);
                self.set(field, (back as u32) << POSITION_BITS | previous & MAX_CODE);
                *last = Some(field);
            }
        }
    }

    /// Places a label here.
    pub(crate) fn bind(&mut self, label: &mut Label) {
        let here = self.position();
        let Label::Open(mut last) = *label else { unreachable!("a label is bound once") };
        while let Some(field) = last {
            let list = self.get(field);
            let previous = Position(list & MAX_CODE);
            // Positions grow from branch to branch, but in code that is too long to be kept.
            last = (previous.0 != 0 && previous < field).then_some(previous);
            self.set_distance(field, (list >> POSITION_BITS) as usize, here);
        }
        *label = Label::Bound(here);
        self.last_label = here;
    }

    /// Appends a raw word: a record beside the instructions, or an entry of a branch table.
    pub(crate) fn word(&mut self, value: u32) -> Position {
        let position = self.position();
        self.code.extend_from_slice(&value.to_ne_bytes());
        position
    }

    /// Fills up to the next place where an instruction may begin.
    pub(crate) fn pad(&mut self) {
        let len = self.code.len().next_multiple_of(ALIGN);
        self.code.resize(len, 0);
    }

    /// Overwrites two bytes.
    pub(crate) fn patch_u16(&mut self, at: Position, value: u16) {
        let at = at.0 as usize;
        self.code[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    }

    /// Overwrites four bytes.
    pub(crate) fn set(&mut self, at: Position, value: u32) {
        let at = at.0 as usize;
        self.code[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn get(&self, at: Position) -> u32 {
        let at = at.0 as usize;
        u32::from_ne_bytes(self.code[at..at + 4].try_into().expect("four bytes"))
    }

    fn set_distance(&mut self, field: Position, back: usize, target: Position) {
        self.set(field, (target.0 + back as u32).wrapping_sub(field.0));
    }

    /// Takes back the instruction at `position`, the last one, unless a branch goes behind it.
    pub(crate) fn take_back(&mut self, position: Position) -> bool {
        if self.last_label == self.position() {
            return false;
        }
        self.code.truncate(position.0 as usize);
        if let Some(marks) = &mut self.marks {
            marks.pop();
        }
        true
    }

    /// Whether the code has become longer than positions can tell.
    pub(crate) fn is_too_long(&self) -> bool {
        self.code.len() > MAX_CODE as usize
    }

    /// The code.
    pub(crate) fn code(&self) -> &[u8] {
        &self.code
    }

    /// Where the instructions came from, if that was recorded.
    pub(crate) fn marks(&self) -> &[Mark] {
        self.marks.as_deref().unwrap_or_default()
    }
}
