//! The wasm stack of a thread that stands still, from outside.
//!
//! Each stay in the interpreter or in compiled code is an [`Activation`] on the native stack; they form a list. Where an
//! activation was left for the next one is noted there, and where the innermost was left, in the thread's state: by compiled code's calls of
//! builtins (`doors`), and by the interpreter's instructions that call out. Where a pause met compiled code, its handler has noted
//! the registers.

use super::{InstanceData, Place, VmThread};
use crate::interp;
use crate::module::Module;
use std::sync::atomic::Ordering::Relaxed;
use updraft_jit::abi::state;

/// A stay in the interpreter or in compiled code.
pub(crate) struct Activation {
    /// The one that it was entered from.
    pub outer: *const Activation,
    pub instance: *const InstanceData,
    /// Whether it is a segment of compiled code.
    pub native: bool,
    /// Where the outer one was left.
    pub left: (usize, usize),
}

/// From the save area up to the frame where its segment begins, in bytes, and to the word that holds the previous area.
const SAVE_TO_BASE: usize = super::sys::SAVE_TO_BASE;
const SAVE_PREVIOUS: usize = super::sys::SAVE_PREVIOUS;

/// Most frames of a thread.
const MAX_FRAMES: usize = 10_000;

/// Goes through the frames of compiled code from a return address `pc` (or the address behind that of a faulting instruction) and a
/// frame pointer outwards.
///
/// # Safety
/// `fp` begins a chain of frame pointers that reaches `base`, the frame of the segment's entry.
pub(crate) unsafe fn native_frames(
    module: &Module,
    pc: usize,
    fp: usize,
    base: usize,
    mut visit: impl FnMut(u32, Place),
) {
    let mut continued = Continued::default();
    let mut machine = |step| {
        if let Step::Returned(pc) = step
            && let Some(place) = module.code.find(pc.wrapping_sub(1))
            && !continued.by(place.is_loop_entry())
        {
            visit(place.func, Place::Machine(place));
        }
        true
    };
    machine(Step::Returned(pc));
    // SAFETY: by contract.
    unsafe { callers(fp, base, &mut machine) };
}

/// The frames of a thread, the innermost first.
///
/// # Safety
/// The thread stands still: it is parked, or OUTSIDE and will park before it touches its stack of activations.
pub(crate) unsafe fn walk(thread: *const VmThread) -> Vec<(Module, u32, Place)> {
    let mut frames = Vec::new();
    let mut continued = Continued::default();
    // SAFETY: the thread stands still, so its activations are complete and its stacks are as they were left.
    unsafe {
        let abi = &(*thread).abi;
        let native = abi.state.load(Relaxed) == state::NATIVE;
        let registers = native.then(|| [0, 1, 2].map(|i: usize| abi.interrupted[i].load(Relaxed)));
        let link = |module: &Module, ip| module.code.interp.link_at(ip);
        steps(thread, registers, link, |module, step| {
            let mut visit = |func: u32, place: Place| frames.push((module.clone(), func, place));
            let mut machine = |return_address: usize| {
                // A return address may lie behind its function: look at the call before it.
                let place = module.code.find(return_address.wrapping_sub(1));
                if let Some(place) = place.filter(|place| !continued.by(place.is_loop_entry())) {
                    visit(place.func, Place::Machine(place));
                }
            };
            match step {
                Step::Edge => continued = Continued::default(),
                Step::Returned(pc) => machine(pc),
                Step::Interrupted { pc, top } => {
                    machine(pc + 1);
                    if let Some(caller) = module.code.caller_on_top(pc, top) {
                        machine(caller);
                    }
                }
                Step::Bytecode(ip) => {
                    if let Some((func, place)) = interp::place_of(&module.code.interp, ip) {
                        visit(func, Place::Bytecode(place));
                    }
                }
            }
            frames.len() < MAX_FRAMES
        });
    }
    frames
}

/// Whether a frame of compiled code is that of a function which only waits for an entry into one of its loops: it is the same activation
/// of the function.
#[derive(Default)]
pub(crate) struct Continued(bool);

impl Continued {
    /// Takes the next outer frame of the segment: whether it is an entry into a loop. True if it is to be left out.
    pub fn by(&mut self, loop_entry: bool) -> bool {
        std::mem::replace(&mut self.0, loop_entry)
    }
}

/// What is found on a thread's stacks, the innermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Compiled code, left by a call that returns here.
    Returned(usize),
    /// Compiled code that was interrupted at this instruction, and the words on top of its stack: one of them is the return address if
    /// the frame is not there yet, or is gone.
    Interrupted { pc: usize, top: [usize; 2] },
    /// An instruction of the interpreter. With the lowest bit set, the one behind the call that is running.
    Bytecode(usize),
    /// What follows belongs to an outer stay in the interpreter or in compiled code.
    Edge,
}

/// Goes through a thread's stacks from the innermost frame outwards, until `visit` returns false. `registers` are those of compiled code
/// that the thread was interrupted in: program counter, frame pointer, stack pointer. `link` tells the slot of a frame's link, for an
/// instruction of the interpreter.
///
/// It allocates nothing, and takes no locks but those of `link`, and of the table of code if there are `registers`.
///
/// # Safety
/// The thread stands still, or is the calling one and is not changing its activations.
pub(crate) unsafe fn steps(
    thread: *const VmThread,
    registers: Option<[usize; 3]>,
    mut link: impl FnMut(&Module, usize) -> Option<u16>,
    mut visit: impl FnMut(&Module, Step) -> bool,
) {
    // SAFETY: by contract, the list of activations is complete, and stacks are as they were left.
    unsafe {
        let abi = &(*thread).abi;
        let mut save = abi.save as usize;
        let mut left = (abi.exit_pc, abi.exit_fp);
        let mut registers = registers;
        let mut activation = (*thread).activation;
        while let Some(this) = activation.as_ref() {
            let module = &(*this.instance).module;
            let mut visit = |step| visit(module, step);
            let go_on = if this.native {
                if save == 0 {
                    return;
                }
                let base = save + SAVE_TO_BASE;
                save = *((save + SAVE_PREVIOUS) as *const usize);
                match registers.take() {
                    Some(registers) => interrupted(module, registers, left, base, &mut visit),
                    None => visit(Step::Returned(left.0)) && callers(left.1, base, &mut visit),
                }
            } else {
                let link = |ip| link(module, ip);
                interpreted(left, link, &mut visit)
            };
            if !go_on || !visit(Step::Edge) {
                return;
            }
            left = this.left;
            activation = this.outer;
        }
    }
}

/// The return addresses that frame pointers lead to, up to the segment's base.
///
/// # Safety
/// From `fp` up to the base, all is the segment's stack.
unsafe fn callers(mut fp: usize, base: usize, visit: &mut impl FnMut(Step) -> bool) -> bool {
    while fp < base && fp != 0 && fp.is_multiple_of(8) {
        // SAFETY: by contract.
        let (outer, pc) = unsafe { (*(fp as *const usize), *(fp as *const usize).add(1)) };
        if !visit(Step::Returned(pc)) {
            return false;
        }
        if outer <= fp {
            break;
        }
        fp = outer;
    }
    true
}

/// The frames of the interpreter from where it was left outwards.
///
/// # Safety
/// The links of all frames of the execution are in place.
unsafe fn interpreted(
    (mut ip, mut fp): (usize, usize),
    mut link: impl FnMut(usize) -> Option<u16>,
    visit: &mut impl FnMut(Step) -> bool,
) -> bool {
    // The outermost function returns to an instruction that belongs to none, in a frame that is null.
    while let Some(slot) = link(ip) {
        if !visit(Step::Bytecode(ip)) {
            return false;
        }
        // SAFETY: by contract.
        let (caller, frame) = unsafe { interp::read_link(fp, slot) };
        (ip, fp) = (caller | 1, frame);
    }
    true
}

/// The frames of a segment that was interrupted anywhere: with these registers, and after a last call of a builtin that left it as
/// `exit` tells.
///
/// # Safety
/// As [`steps`].
unsafe fn interrupted(
    module: &Module,
    [pc, fp, sp]: [usize; 3],
    exit: (usize, usize),
    base: usize,
    visit: &mut impl FnMut(Step) -> bool,
) -> bool {
    let within = |fp: usize| fp.is_multiple_of(8) && (sp..=base).contains(&fp);
    if !sp.is_multiple_of(8) || sp + 16 > base {
        return true;
    }
    // SAFETY: the words from the stack pointer to the base are the segment's stack.
    let word = |at: usize| unsafe { *(at as *const usize) };
    if module.code.contains(pc) {
        let found = Step::Interrupted { pc, top: [word(sp), word(sp + 8)] };
        // SAFETY: as above.
        return visit(found) && (!within(fp) || unsafe { callers(fp, base, visit) });
    }
    // In the C library or a builtin: the innermost return address into code. As long as it is on top of the stack, the frame pointer's
    // register is untouched. Then it may be any number, but the door has noted compiled code's own.
    let called = (sp..base).step_by(8).find(|at| module.code.contains(word(*at).wrapping_sub(1)));
    let Some(at) = called else { return true };
    let fp = if at != sp && exit.0 == word(at) && within(exit.1) { exit.1 } else { fp };
    // SAFETY: as above.
    !within(fp)
        || fp <= at
        || visit(Step::Returned(word(at))) && unsafe { callers(fp, base, visit) }
}
