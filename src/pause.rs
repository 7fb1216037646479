//! Pausing a program from outside: what all of its threads are doing at one moment.

use crate::error::Frame;
use crate::interp::Offsets;
use crate::memory::Memory;
use crate::threads::{Cause, Group, Pause, PauseError};
use crate::vm::walk::walk;
use crate::vm::{Place, VmThread};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use updraft_jit::abi::activity;

/// Controls a program, or a store, from other threads.
#[derive(Clone)]
pub struct Controller {
    group: Arc<Group>,
    memory: Option<Memory>,
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").finish_non_exhaustive()
    }
}

/// What a paused thread was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// Running wasm, in whatever tier, or between two calls.
    Wasm,
    /// In a function of the host.
    Host,
    /// In `memory.atomic.wait`.
    Wait,
    /// Waiting for a function to be compiled.
    Compile,
}

/// A thread of a paused program.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PausedThread {
    /// 0 for the main thread, otherwise the id that `thread-spawn` returned.
    pub id: u32,
    /// What it was doing.
    pub activity: Activity,
    /// Its wasm frames, innermost first. Those of compiled code have no byte offsets before [`PausedThread::locate`].
    pub frames: Vec<Frame>,
}

impl PausedThread {
    /// As [`Trap::locate`](crate::Trap::locate). It takes no part of the program, and may be called when the program runs again.
    pub fn locate(&mut self) {
        crate::observe::locate(&mut self.frames);
    }
}

/// A paused program. It goes on when this, and every other pause of the same program, is dropped.
#[derive(Debug)]
pub struct Paused {
    threads: Vec<PausedThread>,
    memory: Option<Memory>,
    _pause: Pause,
}

impl Controller {
    pub(crate) fn new(group: Arc<Group>, memory: Option<Memory>) -> Controller {
        Controller { group, memory }
    }

    /// Stops every thread, as [`Terminator::terminate`](crate::Terminator::terminate). A pause does not delay that.
    pub fn terminate(&self) -> bool {
        self.group.stop(Cause::Terminated, 0, None)
    }

    /// Pauses all threads, in whatever tier, and returns once none of them runs wasm or touches the program's memory. It goes on when
    /// the result is dropped.
    ///
    /// * A thread in compiled code stands still between two instructions; in the interpreter, at the next loop or call; in a call
    ///   of WASI, between two system calls.
    /// * A thread in a function of the embedder runs on, and stands still when it returns, calls wasm, or touches the memory through
    ///   [`Memory`]. It may hold locks of the embedder while it does. What it does with [`Memory::base`] is its own affair.
    /// * A thread that waits (`memory.atomic.wait`) goes on waiting, and stands still when it is woken. Time passes during a pause: timeouts and
    ///   deadlines end as they would.
    /// * A thread that begins does so after the pause.
    ///
    /// A trap or an exit that came first, [`Controller::terminate`] and deadlines end the program though it is paused: its threads leave, and
    /// a snapshot that is taken then is of a program that ends.
    ///
    /// # Errors
    /// [`PauseError::OwnThread`] if the calling thread is in a function that the program itself has called;
    /// [`PauseError::Ending`] if the program ends.
    pub fn pause(&self) -> Result<Paused, PauseError> {
        let mut found = Vec::new();
        let pause = self.group.pause(|id, state| {
            // SAFETY: threads of stores are `VmThread`s, which begin with this; the thread stands still.
            unsafe {
                let doing = (*state).sampled.activity.load(Ordering::Relaxed);
                found.push((id, doing, walk(state.cast::<VmThread>())));
            }
        })?;
        let mut offsets = Offsets::default();
        let threads = found.into_iter().map(|(id, doing, frames)| {
            let frames = frames.into_iter().map(|(module, func, place)| {
                let place = match place {
                    Place::Bytecode(place) => Place::Wasm(offsets.find(&module, func, place)),
                    other => other,
                };
                Frame::new(module, func, place)
            });
            let activity = match doing {
                activity::HOST => Activity::Host,
                activity::WAIT => Activity::Wait,
                activity::COMPILE => Activity::Compile,
                _ => Activity::Wasm,
            };
            PausedThread { id, activity, frames: frames.collect() }
        });
        Ok(Paused { threads: threads.collect(), memory: self.memory.clone(), _pause: pause })
    }
}

impl Paused {
    /// The threads that were in the program when it had come to rest. Others may wait to begin.
    #[must_use]
    pub fn threads(&self) -> &[PausedThread] {
        &self.threads
    }

    /// The same, to be kept, and to be located.
    #[must_use]
    pub fn take_threads(&mut self) -> Vec<PausedThread> {
        std::mem::take(&mut self.threads)
    }

    /// The shared memory of a [`Process`](crate::Process), which does not change as long as the pause lasts. A store's memories are its
    /// instances'.
    #[must_use]
    pub fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }
}
