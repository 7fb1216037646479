//! Giving up: the cause is recorded, the frames of this execution go to its backtrace, and the execution ends.
//!
//! Running code keeps nothing for this. Which function an instruction belongs to follows from its address; which operator it
//! came from, from translating the function once more with the encoder recording.

use super::code::{Handlers, InterpCode, find};
use super::dispatch::{Ctx, Fp, Ip, Out, Regs, Slot, done, handler, next};
use super::encode::Mark;
use super::handlers::{Entry, Link};
use super::outside::hooks;
use crate::module::ModuleInner;
use std::collections::HashMap;
use updraft_jit::abi::{ExceptionDesc, TrapCode};
use updraft_jit::env::{ModuleEnv, slots};

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

/// Adds the frames from `ip` outwards, if the cause has a backtrace.
///
/// Frames of the same function are resolved with one translation, so that the cost of a deep recursion is a look-up a frame.
#[inline(never)]
unsafe fn add_frames(ctx: Ctx, mut ip: Ip, mut fp: Fp, mut at: At) {
    // SAFETY: the contract; the links of all frames of this execution are in place.
    unsafe {
        if !hooks::wants_frames(ctx.0) {
            return;
        }
        let source: Source<'_> = hooks::source(ctx.0);
        let functions = source.code.functions();
        let mut known: HashMap<u32, Vec<Mark>> = HashMap::new();
        while hooks::wants_frames(ctx.0)
            && let Some(function) = find(&functions, ip)
        {
            let marks = known
                .entry(function.func)
                .or_insert_with(|| marks(source.code, source.env, source.bytes, function.func));
            let position = (ip.0 as usize - function.start as usize) as u32;
            let offset = offset(marks, BytecodePlace { position, at });
            hooks::add_frame(ctx.0, function.func, offset);
            let Link { ip: caller, fp: frame } = Link::read(fp, function.link);
            (ip, fp, at) = (caller, frame, At::Before);
        }
    }
}

/// A place in the bytecode of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BytecodePlace {
    /// In bytes from its start.
    position: u32,
    at: At,
}

/// Finds the operators of places in bytecode.
#[derive(Default)]
pub(crate) struct Offsets(HashMap<(usize, u32), Vec<Mark>>);

impl Offsets {
    /// The offset of the operator in the module.
    pub(crate) fn find(&mut self, module: &ModuleInner, func: u32, place: BytecodePlace) -> u32 {
        let key = (std::ptr::from_ref(module) as usize, func);
        let marks = self
            .0
            .entry(key)
            .or_insert_with(|| marks(&module.code.interp, &module.env, &module.bytes, func));
        offset(marks, place)
    }
}

fn marks(code: &InterpCode, env: &ModuleEnv, bytes: &[u8], func: u32) -> Vec<Mark> {
    let marks = code.inspect(env, bytes, func, |translated| translated.encoder.marks().to_vec());
    marks.unwrap_or_default()
}

fn offset(marks: &[Mark], place: BytecodePlace) -> u32 {
    let count = marks.partition_point(|mark| match place.at {
        At::This => mark.position.0 <= place.position,
        At::Before => mark.position.0 < place.position,
    });
    count.checked_sub(1).map_or(0, |index| marks[index].offset)
}

/// The function of an instruction, and the place in it. With its lowest bit set, `ip` is the instruction behind the call that is
/// running.
pub(crate) fn place_of(code: &InterpCode, ip: usize) -> Option<(u32, BytecodePlace)> {
    let at = if ip & 1 == 0 { At::This } else { At::Before };
    let ip = ip & !1;
    let function = code.function_at(Ip(ip as *const u8))?;
    let position = (ip - function.start as usize) as u32;
    Some((function.func, BytecodePlace { position, at }))
}

/// Where the caller of a frame goes on, and the caller's frame; null in the outermost one.
///
/// # Safety
/// The frame's link is in place, in this slot.
pub(crate) unsafe fn read_link(fp: usize, slot: u16) -> (usize, usize) {
    // SAFETY: by contract.
    let Link { ip, fp } = unsafe { Link::read(Fp(fp as *mut u64), Slot(slot)) };
    (ip.0 as usize, fp.0 as usize)
}

/// Looks for a handler of the exception in flight in the frames from `ip` outwards. Where there is one, the values are put
/// where it expects them, and it is where to go on. Otherwise the frames go to the backtrace.
///
/// Nothing is translated for that: an exception may be caught further out, and often is.
///
/// Without a handler the instruction pointer is null. The result comes in registers, and none of this becomes part of a handler:
/// an address of a local that escapes would make its last call push a frame.
#[inline(never)]
unsafe fn catch(ctx: Ctx, mut ip: Ip, mut fp: Fp, mut at: At) -> (Ip, Fp) {
    // SAFETY: the contract; the links of all frames of this execution are in place, and frames have room for what
    // branches to their labels carry.
    unsafe {
        let exception = hooks::in_flight(ctx.0);
        let ExceptionDesc { tag, values } = *exception;
        let source: Source<'_> = hooks::source(ctx.0);
        let mut frames = Vec::new();
        while let Some(function) = source.code.function_at(ip) {
            let position = (ip.0 as usize - function.start as usize) as u32;
            let inside = |handlers: &&Handlers| match at {
                At::This => (handlers.start..handlers.end).contains(&position),
                At::Before => (handlers.start + 1..=handlers.end).contains(&position),
            };
            let mut clauses = function.handlers.iter().filter(inside).flat_map(|h| &h.clauses);
            let clause = clauses.find(|clause| {
                clause.tag.is_none_or(|index| *(*ctx.0).tags.add(index as usize) == tag)
            });
            if let Some(clause) = clause {
                let to = fp.at(clause.to);
                let count = match clause.tag {
                    Some(tag) => slots(source.env.tag_type(tag).params()) as usize,
                    None => 0,
                };
                to.copy_from(values, count);
                if clause.keep {
                    *to.add(count) = exception as u64;
                }
                hooks::catch(ctx.0, clause.keep);
                return (Ip(function.start.add(clause.target as usize)), fp);
            }
            frames.push((function.func, BytecodePlace { position, at }));
            let Link { ip: caller, fp: frame } = Link::read(fp, function.link);
            (ip, fp, at) = (caller, frame, At::Before);
        }
        for (func, place) in frames {
            hooks::add_bytecode_frame(ctx.0, func, place);
        }
        (Ip(std::ptr::null()), fp)
    }
}

/// Leaves the frames from `ip` outwards, the cause having been recorded, up to a handler if it is an exception.
#[inline(always)]
unsafe fn leave_frames(mut r: Regs, at: At) -> Out {
    // SAFETY: the contract.
    unsafe {
        if hooks::in_flight(r.ctx.0).is_null() {
            add_frames(r.ctx, r.ip, r.fp, at);
            return done(1);
        }
        let (ip, fp) = catch(r.ctx, r.ip, r.fp, at);
        if ip.0.is_null() {
            return done(1);
        }
        r.fp = fp;
        r.reload();
        next(r.at(ip))
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
        leave_frames(r, At::This)
    }

    /// The cause is recorded; gives up in the call before the instruction.
    fn give_up_after_call[](r) {
        leave_frames(r, At::Before)
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
