//! How programs end.

use crate::error::{Error, Stopped, Trap};
use crate::exception::Exception;
use std::fmt;
use std::sync::Arc;

/// Why a program has ended: the first cause, in whichever of its threads. See [`Process::run_to_exit`](crate::Process::run_to_exit).
#[derive(Debug)]
#[non_exhaustive]
pub enum Exit {
    /// `_start` returned (0), or a thread called `proc_exit` with this code.
    Code(i32),
    /// A thread trapped.
    Trap(Trap),
    /// A thread threw an exception that nothing caught.
    Exception(Exception),
    /// A function of the host failed in a thread, with this error.
    Host(Arc<dyn std::error::Error + Send + Sync>),
    /// It was ended from outside: by a [`Terminator`](crate::Terminator), or by its time being over.
    Stopped(Stopped),
}

impl Exit {
    /// Tells how a program ended from what [`Process::run`](crate::Process::run) returned.
    ///
    /// # Errors
    /// What kept the program from starting: linking errors, and what the system or a limit refused.
    pub fn of(result: Result<i32, Error>) -> Result<Exit, Error> {
        Ok(match result {
            Ok(code) | Err(Error::Exit(code)) => Exit::Code(code),
            Err(Error::Trap(trap)) => Exit::Trap(trap),
            Err(Error::Exception(exception)) => Exit::Exception(exception),
            Err(Error::Host(error)) => Exit::Host(error),
            Err(Error::Stopped(stopped)) => Exit::Stopped(stopped),
            Err(error) => return Err(error),
        })
    }

    /// Whether it ended by itself, with code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Exit::Code(0))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "the program exited with code {code}"),
            Exit::Trap(trap) => trap.fmt(f),
            Exit::Exception(exception) => exception.fmt(f),
            Exit::Host(error) => write!(f, "host function failed: {error}"),
            Exit::Stopped(stopped) => stopped.fmt(f),
        }
    }
}
