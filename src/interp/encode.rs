//! Bytecode under construction: instructions, labels and the records beside them.

use super::dispatch::{ALIGN, OPCODE_SIZE, Slot};
use super::isa::Op;

/// Operands of one instruction, encoded.
///
/// They are numbers and not an array of bytes, so that they stay in registers while they grow: wide loads right after narrow
/// stores stall.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Args {
    low: u128,
    high: u64,
    len: u32,
}

impl Args {
    /// The longest list of operands, in bytes.
    const MAX: usize = 24;

    /// No operands.
    pub(crate) const NONE: Args = Args { low: 0, high: 0, len: 0 };

    #[inline(always)]
    fn push(mut self, value: u64, bytes: u32) -> Args {
        let at = self.len * 8;
        if at < 128 {
            self.low |= u128::from(value) << at;
            if at > 64 {
                self.high |= (u128::from(value) >> (128 - at)) as u64;
            }
        } else {
            self.high |= value << (at - 128);
        }
        self.len += bytes;
        debug_assert!(self.len() <= Self::MAX);
        self
    }

    /// Appends a slot.
    #[inline(always)]
    pub(crate) fn slot(self, slot: Slot) -> Args {
        self.u16(slot.0)
    }

    /// Appends a number of 16 bits.
    #[inline(always)]
    pub(crate) fn u16(self, value: u16) -> Args {
        self.push(u64::from(value), 2)
    }

    /// Appends a number of 32 bits.
    #[inline(always)]
    pub(crate) fn u32(self, value: u32) -> Args {
        self.push(u64::from(value), 4)
    }

    /// Appends a number of 64 bits.
    #[inline(always)]
    pub(crate) fn u64(self, value: u64) -> Args {
        self.push(value, 8)
    }

    /// Bytes so far.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// The bytes, in words that hold the first bytes in their low bits.
    #[inline(always)]
    pub(crate) fn words(&self) -> [u64; 3] {
        [self.low as u64, (self.low >> 64) as u64, self.high].map(u64::to_le)
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
    #[inline]
    pub(crate) fn emit(&mut self, op: Op, args: &Args, offset: u32) -> Position {
        let position = self.begin(op, args, offset);
        self.pad();
        position
    }

    /// The same, with more operands to follow; `pad` ends them.
    #[inline]
    pub(crate) fn begin(&mut self, op: Op, args: &Args, offset: u32) -> Position {
        const WORD: usize = size_of::<u64>();
        let position = self.position();
        debug_assert_eq!(args.len(), op.operand_bytes(), "{}", op.name());
        if let Some(marks) = &mut self.marks {
            marks.push(Mark { position, op, offset });
        }
        let len = self.code.len();
        self.code.reserve(OPCODE_SIZE + Args::MAX);
        // SAFETY: there is room for whole words of operands, and what is kept of them is initialised.
        unsafe {
            let to = self.code.as_mut_ptr().add(len);
            to.cast::<usize>().write_unaligned(op.handler() as usize);
            for (i, word) in args.words().into_iter().enumerate() {
                to.add(OPCODE_SIZE + i * WORD).cast::<u64>().write_unaligned(word);
            }
            self.code.set_len(len + OPCODE_SIZE + args.len());
        }
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
    #[inline]
    pub(crate) fn pad(&mut self) {
        let old = self.code.len();
        let len = old.next_multiple_of(ALIGN);
        self.code.reserve(ALIGN);
        // SAFETY: there is room for a word, which is initialised before the length takes in its beginning.
        unsafe {
            self.code.as_mut_ptr().add(old).cast::<[u8; ALIGN]>().write([0; ALIGN]);
            self.code.set_len(len);
        }
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

    /// Whether branches come here.
    pub(crate) fn is_at_label(&self) -> bool {
        self.last_label == self.position()
    }

    /// Takes back the instruction at `position`, the last one, unless a branch goes behind it.
    pub(crate) fn take_back(&mut self, position: Position) -> bool {
        if self.is_at_label() {
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
