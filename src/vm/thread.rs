//! A thread that runs wasm: its stacks, its place in the group, and the failure that it is unwinding with.

use super::InstanceData;
use super::exceptions::ExceptionBox;
use super::refs::FuncTarget;
use super::sys::{self, ValueStack};
use super::walk::Activation;
use crate::error::{Error, Frame, Stopped, Trap};
use crate::exception::Exception;
use crate::interp::{BytecodePlace, Offsets};
use crate::module::Module;
use crate::observe::sampler;
use crate::threads::{self, Group};
use crate::tiers::CodePlace;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use updraft_jit::abi::{ThreadState, TrapCode, pending};

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
    /// None if the value stack is that of the native thread.
    own_stack: Option<ValueStack>,
    value_stack: *mut u64,
    failure: Option<Box<Failure>>,
    /// A tail call that was noted, to be made by whoever entered the segment or execution that ends.
    tail: Option<TailCall>,
    /// Its arguments.
    tail_arguments: Vec<u64>,
    /// The id of the store.
    pub store: u64,
    /// Whether the innermost segment was entered by an invoker, and not by an OSR entry.
    pub invoked: bool,
    /// How many calls from the host are running.
    pub depth: u32,
    /// Where the group keeps the thread while one is.
    pub place: threads::Place,
    /// The innermost stay in the interpreter or in compiled code.
    pub activation: *const Activation,
    /// State of the generator for the random strategy; 0 before its first use.
    random: u64,
}

/// A call that is to be made once the caller's frame is gone. References among the arguments are absolute, unless the
/// callee is the caller's own instance's.
pub(crate) struct TailCall {
    /// The instance that calls.
    pub caller: *const InstanceData,
    pub target: FuncTarget,
}

/// A failure, or an exception in flight, on its way out of wasm.
struct Failure {
    cause: Cause,
    frames: Vec<RawFrame>,
}

enum Cause {
    Error(Error),
    Exception(Arc<ExceptionBox>),
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
    /// In this place of its bytecode.
    Bytecode(BytecodePlace),
    Machine(CodePlace),
}

impl VmThread {
    /// A thread with a value stack of its own.
    pub fn new(group: Arc<Group>, id: u32, value_stack: usize) -> Result<Box<VmThread>, Error> {
        let value_stack = ValueStack::new(value_stack)
            .map_err(|source| Error::System { what: "cannot map a value stack", source })?;
        let mut thread = VmThread::without_stack(group, id);
        thread.set_stack(value_stack.base(), value_stack.len());
        thread.own_stack = Some(value_stack);
        Ok(thread)
    }

    /// A thread that gets the value stack of the native thread that runs it, by [`VmThread::set_stack`].
    pub fn without_stack(group: Arc<Group>, id: u32) -> Box<VmThread> {
        Box::new(VmThread {
            abi: ThreadState { ..ThreadState::default() },
            group,
            id,
            own_stack: None,
            value_stack: std::ptr::null_mut(),
            failure: None,
            tail: None,
            tail_arguments: Vec::new(),
            store: 0,
            invoked: false,
            depth: 0,
            place: threads::Place::default(),
            activation: std::ptr::null(),
            random: 0,
        })
    }

    /// Sets the value stack of a thread in which nothing runs.
    pub fn set_stack(&mut self, base: *mut u64, slots: usize) {
        self.value_stack = base;
        self.abi.value_sp = base;
        self.abi.value_limit = base.wrapping_add(slots);
    }

    /// Makes a thread whose calls have all returned as new, for another store id.
    pub fn renew(&mut self, store: u64) {
        debug_assert!(self.depth == 0 && self.failure.is_none() && self.activation.is_null());
        // Nobody looks: the thread is not attached. It gets its stack when it begins.
        self.abi = ThreadState::default();
        self.tail = None;
        self.store = store;
        self.invoked = false;
        self.random = 0;
    }

    /// Says what the thread is doing now, one of [`updraft_jit::abi::activity`]; returns what it was doing.
    pub fn begin(&self, activity: u32) -> u32 {
        let doing = &self.abi.sampled.activity;
        let outer = doing.load(Ordering::Relaxed);
        doing.store(activity, Ordering::Relaxed);
        outer
    }

    /// Ends what [`VmThread::begin`] began, outside of wasm, and takes the samples that are owed for it. `import` tells which imported
    /// function it was.
    pub fn end(&self, outer: u32, import: impl FnOnce() -> Option<u32>) {
        let ended = self.begin(outer);
        let [running, standing] = &self.abi.sampled.owed;
        if running.load(Ordering::Relaxed) | standing.load(Ordering::Relaxed) != 0 {
            sampler::take_owed(self, ended, import());
        }
    }

    /// A new innermost activation, to be stored where it stays until [`VmThread::deactivate`].
    pub fn activate(&self, instance: *const InstanceData, native: bool) -> Activation {
        let left = (self.abi.exit_pc, self.abi.exit_fp);
        Activation { outer: self.activation, instance, native, left }
    }

    /// Ends the innermost activation.
    pub fn deactivate(&mut self, activation: &Activation) {
        (self.abi.exit_pc, self.abi.exit_fp) = activation.left;
        self.activation = activation.outer;
    }

    /// Why the thread must stop: its group's cause, or its own deadline.
    pub fn stopped(&self) -> Stopped {
        match self.abi.pending.load(Ordering::Acquire) & pending::ENDS {
            pending::DEADLINE if !self.group.is_stopping() => Stopped::TimedOut,
            _ => self.group.stopped(),
        }
    }

    /// Whether the thread must stop.
    pub fn is_stopping(&self) -> bool {
        sys::must_end(&self.abi) || self.group.is_stopping()
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

    /// Notes a tail call.
    pub fn note_tail(&mut self, call: TailCall, arguments: &[u64]) {
        self.tail = Some(call);
        self.tail_arguments.clear();
        self.tail_arguments.extend_from_slice(arguments);
    }

    /// The tail call that was noted, and its arguments.
    pub fn tail(&self) -> Option<(&TailCall, &[u64])> {
        Some((self.tail.as_ref()?, &self.tail_arguments))
    }

    /// Takes the tail call that was noted. The arguments come in a buffer that [`VmThread::give_back`] keeps for the next.
    pub fn take_tail(&mut self) -> Option<(TailCall, Vec<u64>)> {
        let call = self.tail.take()?;
        Some((call, std::mem::take(&mut self.tail_arguments)))
    }

    /// Keeps a buffer for the next tail call, unless there is one already.
    pub fn give_back(&mut self, buffer: Vec<u64>) {
        if self.tail.is_none() {
            self.tail_arguments = buffer;
        }
    }

    /// Drops a tail call that will not be made.
    pub fn drop_tail(&mut self) {
        self.tail = None;
    }

    /// Records why wasm is being left. The first cause stays.
    pub fn fail(&mut self, error: Error) {
        // Nothing catches a trap, a stop or an exit that came while an exception was in flight.
        if self.exception().is_some() {
            self.failure = None;
        }
        let cause = || match error {
            // From a host function whose call of wasm has thrown it, or that throws itself.
            Error::Exception(exception) if exception.is_of(self.store) => {
                Cause::Exception(exception.into_inner())
            }
            error => Cause::Error(error),
        };
        if self.failure.is_none() {
            self.failure = Some(Box::new(Failure { cause: cause(), frames: Vec::new() }));
        }
    }

    /// Puts an exception into flight.
    pub fn throw(&mut self, exception: Arc<ExceptionBox>) {
        if self.failure.is_none() {
            let cause = Cause::Exception(exception);
            self.failure = Some(Box::new(Failure { cause, frames: Vec::new() }));
        }
    }

    /// The exception in flight.
    pub fn exception(&self) -> Option<&Arc<ExceptionBox>> {
        match &self.failure.as_ref()?.cause {
            Cause::Exception(exception) => Some(exception),
            Cause::Error(_) => None,
        }
    }

    /// Takes the exception in flight for a handler.
    pub fn catch(&mut self) -> Option<Arc<ExceptionBox>> {
        self.exception()?;
        match self.failure.take()?.cause {
            Cause::Exception(exception) => Some(exception),
            Cause::Error(_) => None,
        }
    }

    /// The first slot of the value stack.
    pub fn value_stack(&self) -> *const u64 {
        self.value_stack
    }

    /// Arguments of the tail call that was noted.
    pub fn tail_arguments(&self) -> &[u64] {
        &self.tail_arguments
    }

    /// Records a trap.
    pub fn trap(&mut self, code: TrapCode) {
        let thread = self.id;
        self.fail(Error::Trap(Trap { code, thread, frames: Vec::new() }));
    }

    /// Whether the recorded failure has a backtrace, with room for another frame: a stop and an exit have none.
    pub fn wants_frames(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| {
            let has_backtrace =
                matches!(failure.cause, Cause::Error(Error::Trap(_)) | Cause::Exception(_));
            has_backtrace && failure.frames.len() < MAX_FRAMES
        })
    }

    /// Adds the next outer frame to the recorded failure, if it wants one.
    pub fn add_frame(&mut self, module: &Module, func: u32, place: Place) {
        if self.wants_frames()
            && let Some(failure) = &mut self.failure
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
        let Failure { cause, frames } = *failure;
        let mut bytecode = Offsets::default();
        let frames = frames.into_iter().map(|RawFrame { module, func, place }| {
            let place = match place {
                Place::Bytecode(place) => Place::Wasm(bytecode.find(&module, func, place)),
                other => other,
            };
            Frame::new(module, func, place)
        });
        match cause {
            // A trap that passed through the host already has its inner frames.
            Cause::Error(Error::Trap(mut trap)) => {
                trap.frames.extend(frames);
                Error::Trap(trap)
            }
            Cause::Error(error) => error,
            Cause::Exception(exception) => {
                Error::Exception(Exception::new(exception, self.id, frames.collect()))
            }
        }
    }

    /// Whether there is room for so many slots of the value stack.
    pub fn has_slots(&self, from: *const u64, count: usize) -> bool {
        let room = (self.abi.value_limit as usize).saturating_sub(from as usize);
        room / size_of::<u64>() >= count
    }

    /// Whether a native stack pointer of this thread leaves room for runtime code.
    pub fn has_native_stack(&self) -> bool {
        let marker = 0u8;
        (&raw const marker as usize) > self.abi.native_limit
    }
}
