//! Bytecode as text.

use super::dispatch::OPCODE_SIZE;
use super::isa::{Op, Operand};
use super::translate::Translated;
use std::fmt::Write;

/// One line per instruction: position, name, operands, and the offset of the operator it came from.
pub(crate) fn print(translated: &Translated<'_>) -> String {
    let code = translated.encoder.code();
    let mut text = String::new();
    for mark in translated.encoder.marks() {
        let mut at = mark.position.0 as usize + OPCODE_SIZE;
        let mut line = format!("{:6} {:<24}", mark.position.0, mark.op.name());
        for operand in mark.op.operands() {
            let value = read(code, at, operand.size());
            line.push(' ');
            line.push_str(&show(*operand, value, mark.position.0));
            at += operand.size();
        }
        if matches!(mark.op, Op::BrTableS | Op::BrTableA) {
            let last = read(code, at - 4, 4);
            for _ in 0..=last {
                line.push(' ');
                line.push_str(&show(Operand::Target, read(code, at, 4), at as u32));
                at += 4;
            }
        }
        let _ = writeln!(text, "{line:<64} ; @{:#x}", mark.offset);
    }
    text
}

fn read(code: &[u8], at: usize, size: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(&code[at..at + size]);
    u64::from_le_bytes(bytes)
}

/// An operand; targets count from `base`.
fn show(operand: Operand, value: u64, base: u32) -> String {
    match operand {
        Operand::Slot => format!("s{value}"),
        Operand::Acc => "acc".into(),
        Operand::Vector => format!("v{value}"),
        Operand::ToVector => format!("-> v{value}"),
        Operand::ToSlot => format!("-> s{value}"),
        Operand::ToAcc => "-> acc".into(),
        Operand::Imm32 => format!("{}", value as i32),
        Operand::Imm64 => format!("{}", value as i64),
        Operand::ImmF32 => format!("{:?}", f32::from_bits(value as u32)),
        Operand::ImmF64 => format!("{:?}", f64::from_bits(value)),
        Operand::Offset | Operand::Offset64 => format!("+{value}"),
        Operand::Target => format!("=> {}", base.wrapping_add(value as u32)),
        Operand::Site => format!("site {}", base.wrapping_add(value as u32)),
        Operand::Weight => format!("weight {value}"),
        Operand::U16 | Operand::U32 => format!("{value}"),
    }
}
