//! Where compiled code has its frame, instruction by instruction.
//!
//! Compiled functions keep frame pointers, so that a frame pointer leads from frame to frame, but not while a function sets its frame
//! up or has taken it down: in prologues, epilogues, in front of a prologue that LLVM has moved inwards, at jumps to tail calls. A
//! sample may fall on any instruction. So the instructions are read, and followed along all branches from the entry.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Register};

/// Where the caller's frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The return address is on top of the stack, and the frame pointer is the caller's.
    Bare,
    /// The frame pointer is the caller's, and has been pushed onto the return address.
    Pushed,
    /// The frame pointer is that of the frame.
    Framed,
}

impl Framing {
    /// The return address, if it is one of the two words on top of the stack.
    #[must_use]
    pub fn on_top(self, top: [usize; 2]) -> Option<usize> {
        match self {
            Framing::Bare => Some(top[0]),
            Framing::Pushed => Some(top[1]),
            Framing::Framed => None,
        }
    }
}

/// The framing of all of a function's code.
#[derive(Debug, Clone)]
pub struct Framings {
    /// From where on it is what, by offset in bytes.
    changes: Box<[(u32, Framing)]>,
}

impl Framings {
    /// Reads the code of a function.
    #[must_use]
    pub fn of(code: &[u8]) -> Framings {
        let mut reader = Reader {
            decoder: Decoder::new(64, code, DecoderOptions::NONE),
            found: vec![None; code.len()],
            work: vec![(0, Framing::Bare)],
            after_calls: Vec::new(),
            at_table: Framing::Framed,
        };
        reader.follow();
        // What only a table of jumps leads to begins behind the end of something else.
        let mut at = 0;
        while at < code.len() {
            if reader.found[at].is_none() {
                reader.work.push((at, reader.at_table));
                reader.follow();
            }
            at += reader.instruction(at).len().max(1);
        }
        let mut changes: Vec<(u32, Framing)> = Vec::new();
        for (at, found) in reader.found.iter().enumerate() {
            if let Some(framing) = *found
                && changes.last().is_none_or(|last| last.1 != framing)
            {
                changes.push((at as u32, framing));
            }
        }
        Framings { changes: changes.into() }
    }

    /// From where on it is what, by offset in bytes.
    pub fn changes(&self) -> &[(u32, Framing)] {
        &self.changes
    }

    /// What holds before the instruction at this offset is executed.
    #[must_use]
    pub fn at(&self, offset: usize) -> Framing {
        let next = self.changes.partition_point(|(start, _)| *start as usize <= offset);
        next.checked_sub(1).map_or(Framing::Bare, |index| self.changes[index].1)
    }
}

struct Reader<'a> {
    decoder: Decoder<'a>,
    /// By offset, for the first byte of each instruction.
    found: Vec<Option<Framing>>,
    work: Vec<(usize, Framing)>,
    /// What follows calls comes last: some do not return, and what lies behind those is reached in another way.
    after_calls: Vec<(usize, Framing)>,
    /// What held at the last jump through a table.
    at_table: Framing,
}

impl Reader<'_> {
    fn instruction(&mut self, at: usize) -> Instruction {
        let mut instruction = Instruction::default();
        if self.decoder.set_position(at).is_ok() {
            self.decoder.set_ip(at as u64);
            self.decoder.decode_out(&mut instruction);
        }
        instruction
    }

    fn follow(&mut self) {
        while let Some((mut at, mut framing)) = self.work.pop().or_else(|| self.after_calls.pop()) {
            while at < self.found.len() && self.found[at].is_none() {
                self.found[at] = Some(framing);
                let instruction = self.instruction(at);
                framing = after(&instruction, framing);
                at += instruction.len().max(1);
                let target = instruction.near_branch_target() as usize;
                match instruction.flow_control() {
                    FlowControl::ConditionalBranch => self.work.push((target, framing)),
                    FlowControl::UnconditionalBranch => {
                        self.work.push((target, framing));
                        break;
                    }
                    FlowControl::IndirectBranch => {
                        self.at_table = framing;
                        break;
                    }
                    FlowControl::Return | FlowControl::Exception => break,
                    FlowControl::Call | FlowControl::IndirectCall => {
                        self.after_calls.push((at, framing));
                        break;
                    }
                    _ => {}
                }
            }
        }
    }
}

fn after(instruction: &Instruction, before: Framing) -> Framing {
    let [first, second] = [instruction.op0_register(), instruction.op1_register()];
    match (instruction.code(), before) {
        (Code::Push_r64, Framing::Bare) if first == Register::RBP => Framing::Pushed,
        (Code::Mov_rm64_r64 | Code::Mov_r64_rm64, Framing::Pushed)
            if first == Register::RBP && second == Register::RSP =>
        {
            Framing::Framed
        }
        (Code::Pop_r64, Framing::Framed) if first == Register::RBP => Framing::Bare,
        (Code::Leaveq, _) => Framing::Bare,
        _ => before,
    }
}

#[cfg(test)]
mod tests {
    use super::{Framing, Framings};
    use Framing::{Bare, Framed, Pushed};

    #[test]
    fn a_frame_is_there_between_its_moves() {
        // push rbp; mov rbp, rsp; nop; pop rbp; ret
        let code = [0x55, 0x48, 0x89, 0xe5, 0x90, 0x5d, 0xc3];
        let framings = Framings::of(&code);
        let at = [0, 1, 4, 5, 6].map(|offset| framings.at(offset));
        assert_eq!(at, [Bare, Pushed, Framed, Framed, Bare]);
    }

    #[test]
    fn a_prologue_may_lie_inside() {
        // test edi, edi; je end; push rbp; mov rbp, rsp; call +0; pop rbp; vzeroupper; end: ret; (padding) nop
        let code = [
            0x85, 0xff, 0x74, 0x0d, 0x55, 0x48, 0x89, 0xe5, 0xe8, 0, 0, 0, 0, 0x5d, 0xc5, 0xf8,
            0x77, 0xc3, 0x90,
        ];
        let framings = Framings::of(&code);
        let at = [0, 2, 4, 5, 8, 13, 14, 17].map(|offset| framings.at(offset));
        assert_eq!(at, [Bare, Bare, Bare, Pushed, Framed, Framed, Bare, Bare]);
    }

    #[test]
    fn what_a_table_of_jumps_leads_to_has_a_frame() {
        // push rbp; mov rbp, rsp; jmp rax; (target) pop rbp; jmp rcx; (target) pop rbp; ret
        let code = [0x55, 0x48, 0x89, 0xe5, 0xff, 0xe0, 0x5d, 0xff, 0xe1, 0x5d, 0xc3];
        let framings = Framings::of(&code);
        let at = [4, 6, 7].map(|offset| framings.at(offset));
        assert_eq!(at, [Framed, Framed, Bare]);
    }

    #[test]
    fn no_bytes_are_harmful() {
        for code in [&[][..], &[0x0f], &[0xeb, 0x7f], &[0xff; 40], &[0x74, 0xfe]] {
            let _ = Framings::of(code).at(0);
        }
    }
}
