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
    visit: impl FnMut(u32, Place),
) {
    // SAFETY: by contract.
    unsafe { frames_behind(module, false, pc, fp, base, visit) }
}

/// The same, behind a frame that was that of an entry into a loop or was not.
///
/// # Safety
/// As [`native_frames`].
unsafe fn frames_behind(
    module: &Module,
    mut in_entry: bool,
    mut pc: usize,
    mut fp: usize,
    base: usize,
    mut visit: impl FnMut(u32, Place),
) {
    loop {
        // A return address may lie behind its function: look at the call before it.
        if let Some(place) = module.code.find(pc.wrapping_sub(1)) {
            // Quick code that called an entry into a loop only waits for what is the same activation of the function.
            let continued = std::mem::replace(&mut in_entry, place.is_loop_entry());
            if !continued {
                visit(place.func, Place::Machine(place));
            }
        }
        if fp >= base || fp == 0 || !fp.is_multiple_of(8) {
            return;
        }
        // SAFETY: compiled functions keep frame pointers, so `fp` points to the saved one and the return address.
        let outer = unsafe {
            pc = *(fp as *const usize).add(1);
            *(fp as *const usize)
        };
        if outer <= fp {
            return;
        }
        fp = outer;
    }
}

/// The frames of a thread, the innermost first.
///
/// # Safety
/// The thread stands still: it is parked, or OUTSIDE and will park before it touches its stack of activations.
pub(crate) unsafe fn walk(thread: *const VmThread) -> Vec<(Module, u32, Place)> {
    let mut frames = Vec::new();
    // SAFETY: the thread stands still, so its activations are complete and its stacks are as they were left.
    unsafe {
        let abi = &(*thread).abi;
        let mut save = abi.save as usize;
        let mut left = Left::Called(abi.exit_pc, abi.exit_fp);
        if abi.state.load(Relaxed) == state::NATIVE {
            let [pc, fp, sp] = [0, 1, 2].map(|i: usize| abi.interrupted[i].load(Relaxed));
            left = Left::Interrupted { pc, fp, sp, exit: (abi.exit_pc, abi.exit_fp) };
        }
        let mut activation = (*thread).activation;
        while let Some(this) = activation.as_ref()
            && frames.len() < MAX_FRAMES
        {
            let module = &(*this.instance).module;
            let mut visit = |func: u32, place: Place| {
                if frames.len() < MAX_FRAMES {
                    frames.push((module.clone(), func, place));
                }
            };
            if this.native && save != 0 {
                let base = save + SAVE_TO_BASE;
                match left {
                    Left::Called(pc, fp) => native_frames(module, pc, fp, base, visit),
                    Left::Interrupted { pc, fp, sp, exit } => {
                        interrupted_frames(module, [pc, fp, sp], exit, base, visit);
                    }
                }
                save = *((save + SAVE_PREVIOUS) as *const usize);
            } else if let Left::Called(ip, fp) = left {
                let found = |func, place| visit(func, Place::Bytecode(place));
                interp::frames(&module.code.interp, ip, fp as *mut u64, found);
            }
            left = Left::Called(this.left.0, this.left.1);
            activation = this.outer;
        }
    }
    frames
}

/// The frames of a segment that a pause has interrupted anywhere: with these registers, and after a last call of a builtin that left it as
/// `exit` tells.
///
/// # Safety
/// As [`walk`].
unsafe fn interrupted_frames(
    module: &Module,
    [pc, fp, sp]: [usize; 3],
    exit: (usize, usize),
    base: usize,
    mut visit: impl FnMut(u32, Place),
) {
    const RET: [u8; 2] = [0xc3, 0xc2];
    let within = |fp: usize| fp.is_multiple_of(8) && (sp..=base).contains(&fp);
    // SAFETY: the words from the stack pointer to the base are the segment's stack.
    let word = |at: usize| unsafe { *(at as *const usize) };
    if !sp.is_multiple_of(8) || sp > base {
        return;
    }
    if let Some(place) = module.code.find(pc) {
        // SAFETY: the program counter is in code.
        let at_return = RET.contains(unsafe { &*(pc as *const u8) });
        // Before the frame is there, and once it is gone, the return address is on top; between `push rbp` and the next instruction under
        // the saved frame pointer.
        let caller = match place.offset {
            0 => Some(sp),
            1 => Some(sp + 8),
            _ if at_return => Some(sp),
            _ => None,
        };
        // SAFETY: frame pointers lead to the base.
        unsafe {
            match caller.filter(|at| *at < base) {
                Some(at) => {
                    let in_entry = place.is_loop_entry();
                    visit(place.func, Place::Machine(place));
                    if within(fp) {
                        frames_behind(module, in_entry, word(at), fp, base, visit);
                    }
                }
                None if within(fp) => native_frames(module, pc + 1, fp, base, visit),
                None => visit(place.func, Place::Machine(place)),
            }
        }
        return;
    }
    // In the C library, a builtin or a stub: the innermost return address into code. What they keep in the frame pointer's register may be
    // any number; compiled code's own is in the exit then.
    let called =
        (sp..base).step_by(8).find(|at| module.code.find(word(*at).wrapping_sub(1)).is_some());
    if let Some(at) = called {
        let fp = if exit.0 == word(at) && within(exit.1) { exit.1 } else { fp };
        if within(fp) && fp > at {
            // SAFETY: as above.
            unsafe { native_frames(module, word(at), fp, base, visit) };
        }
    }
}

/// How an activation was left.
enum Left {
    Called(usize, usize),
    Interrupted { pc: usize, fp: usize, sp: usize, exit: (usize, usize) },
}
