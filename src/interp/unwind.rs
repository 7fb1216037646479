//! Giving up: the cause is recorded, the frames of this execution go to its backtrace, and the execution ends.
//!
//! Running code keeps nothing for this. Which function an instruction belongs to follows from its address; which operator it
//! came from, from translating the function once more with the encoder recording.

use super::code::{InterpCode, find};
use super::dispatch::{Ctx, Fp, Ip, done, handler};
use super::encode::Mark;
use super::handlers::{Entry, Link};
use super::outside::hooks;
use std::collections::HashMap;
use updraft_jit::abi::TrapCode;
use updraft_jit::env::ModuleEnv;

/// What giving up needs to know of the module that runs.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its bytecode.
    pub code: &'a InterpCode,
    /// Its declarations.
    pub env: &'a ModuleEnv,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What an instruction pointer tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// This instruction is running.
    This,
    /// The call before this instruction is running.
    Before,
}

/// Adds the frames from `ip` outwards.
///
/// Frames of the same function are resolved with one translation, so that the cost of a deep recursion is a look-up a frame.
unsafe fn add_frames(ctx: Ctx, mut ip: Ip, mut fp: Fp, mut at: At) {
    // SAFETY: the contract; the links of all frames of this execution are in place.
    unsafe {
        let source: Source<'_> = hooks::source(ctx.0);
        let functions = source.code.functions();
        let mut marks: HashMap<u32, Vec<Mark>> = HashMap::new();
        while let Some(function) = find(&functions, ip) {
            let marks = marks.entry(function.func).or_insert_with(|| {
                InterpCode::inspect(source.env, source.bytes, function.func, |translated| {
                    translated.encoder.marks().to_vec()
                })
                .unwrap_or_default()
            });
            let position = (ip.0 as usize - function.start as usize) as u32;
            let count = marks.partition_point(|mark| match at {
                At::This => mark.position.0 <= position,
                At::Before => mark.position.0 < position,
            });
            let offset = count.checked_sub(1).map_or(0, |index| marks[index].offset);
            hooks::add_frame(ctx.0, function.func, offset);
            let Link { ip: caller, fp: frame } = Link::read(fp, function.link);
            (ip, fp, at) = (caller, frame, At::Before);
        }
    }
}

handler! {
    /// A trap at the running instruction; the accumulator holds the code.
    fn raise[](r) {
        hooks::trap(r.ctx.0, code(r.int));
        add_frames(r.ctx, r.ip, r.fp, At::This);
        done(1)
    }

    /// The cause is recorded; gives up at the running instruction.
    fn give_up[](r) {
        add_frames(r.ctx, r.ip, r.fp, At::This);
        done(1)
    }

    /// The cause is recorded; gives up in the call before the instruction.
    fn give_up_after_call[](r) {
        add_frames(r.ctx, r.ip, r.fp, At::Before);
        done(1)
    }

    /// The value stack has no room for the frame of the function that the instruction enters.
    fn overflow[const MANY: bool](r) {
        hooks::trap(r.ctx.0, TrapCode::StackOverflow);
        let source: Source<'_> = hooks::source(r.ctx.0);
        let func = Entry::read::<MANY>(&mut r.operands()).func;
        hooks::add_frame(r.ctx.0, func, source.env.body(func).start as u32);
        add_frames(r.ctx, Ip(r.int as *const u8), Fp(r.length.0 as *mut u64), At::Before);
        done(1)
    }
}

fn code(value: u64) -> TrapCode {
    TrapCode::from_u32(value as u32).expect("handlers pass codes")
}
