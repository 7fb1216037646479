//! A thread that runs wasm: its stacks, its place in the group, and the failure that it is unwinding with.

use super::sys::ValueStack;
use crate::error::{Error, Frame, Trap};
use crate::module::Module;
use crate::threads::Group;
use crate::tiers::CodePlace;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use updraft_jit::abi::{ThreadState, TrapCode, state};

/// Native stack that runtime code may count on once it has been entered, in bytes.
pub(crate) const HOST_RESERVE: usize = 256 << 10;
/// Frames of a backtrace that are kept.
const MAX_FRAMES: usize = 10_000;

/// One thread of wasm. Its address is stable; compiled code and signal handlers see its first part.
#[repr(C)]
pub(crate) struct VmThread {
    pub abi: ThreadState,
    pub group: Arc<Group>,
    pub id: u32,
    value_stack: ValueStack,
    failure: Option<Box<Failure>>,
    /// How many calls from the host are running.
    pub depth: u32,
    /// State of the generator for the random strategy; 0 before its first use.
    random: u64,
}

/// A failure on its way out of wasm.
struct Failure {
    error: Error,
    frames: Vec<RawFrame>,
}

struct RawFrame {
    module: Module,
    func: u32,
    place: Place,
}

/// Where in a function a frame is.
pub(crate) enum Place {
    /// At this byte of the module.
    Wasm(u32),
    Machine(CodePlace),
}

impl VmThread {
    pub fn new(group: Arc<Group>, id: u32, value_stack: usize) -> Result<Box<VmThread>, Error> {
        let value_stack = ValueStack::new(value_stack)
            .map_err(|source| Error::System { what: "cannot map a value stack", source })?;
        Ok(Box::new(VmThread {
            abi: ThreadState {
                state: AtomicU32::new(state::HOST),
                pending: AtomicU32::new(0),
                save: std::ptr::null_mut(),
                ctx: std::ptr::null_mut(),
                value_sp: value_stack.base(),
                value_limit: value_stack.limit(),
                native_limit: 0,
            },
            group,
            id,
            value_stack,
            failure: None,
            depth: 0,
            random: 0,
        }))
    }

    /// The next random number of this thread: xorshift64* (Vigna, 2014), seeded by `seed` and the thread's id.
    pub fn random(&mut self, seed: u64) -> u64 {
        if self.random == 0 {
            self.random = (seed ^ u64::from(self.id) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        }
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    /// Records why wasm is being left. The first cause stays.
    pub fn fail(&mut self, error: Error) {
        self.failure.get_or_insert_with(|| Box::new(Failure { error, frames: Vec::new() }));
    }

    /// Records a trap.
    pub fn trap(&mut self, code: TrapCode) {
        let thread = self.id;
        self.fail(Error::Trap(Trap { code, thread, frames: Vec::new() }));
    }

    /// Adds the next outer frame to the recorded failure.
    pub fn add_frame(&mut self, module: &Module, func: u32, place: Place) {
        if let Some(failure) = &mut self.failure
            && failure.frames.len() < MAX_FRAMES
        {
            failure.frames.push(RawFrame { module: module.clone(), func, place });
        }
    }

    /// The recorded failure, with its backtrace.
    pub fn take_failure(&mut self) -> Error {
        let Some(failure) = self.failure.take() else {
            return Error::Host(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(
                "wasm was left without a cause; this is a defect of the engine",
            )));
        };
        let Failure { error, frames } = *failure;
        let Error::Trap(mut trap) = error else { return error };
        // A trap that passed through the host already has its inner frames.
        trap.frames.extend(
            frames.into_iter().map(|frame| Frame::new(frame.module, frame.func, frame.place)),
        );
        Error::Trap(trap)
    }

    /// Whether a native stack pointer of this thread leaves room for runtime code.
    pub fn has_native_stack(&self) -> bool {
        let marker = 0u8;
        (&raw const marker as usize) > self.abi.native_limit
    }
}
