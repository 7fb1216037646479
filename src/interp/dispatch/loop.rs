//! Dispatch by a loop: a handler returns the state to go on with. Slower, and needs nothing of the compiler.

use super::Regs;

/// What a handler returns.
#[derive(Debug)]
pub(crate) enum Out {
    /// Go on in this state.
    Next(Regs),
    /// The execution has ended with this status.
    Done(u32),
}

/// A handler.
pub(crate) type Handler = unsafe fn(Regs) -> Out;

/// Goes on at `r.ip`.
#[inline(always)]
pub(crate) unsafe fn next(r: Regs) -> Out {
    Out::Next(r)
}

/// Goes on in a handler for the rare case.
#[inline(always)]
pub(crate) unsafe fn slow_path(handler: &'static Handler, r: Regs) -> Out {
    // SAFETY: the module's contract.
    unsafe { handler(r) }
}

/// Ends the execution.
#[inline(always)]
pub(crate) unsafe fn done(status: u32) -> Out {
    Out::Done(status)
}

/// Runs from `r.ip` until the execution ends.
pub(crate) unsafe fn run(mut r: Regs) -> u32 {
    loop {
        // SAFETY: the module's contract.
        match unsafe { (r.ip.handler())(r) } {
            Out::Next(next) => r = next,
            Out::Done(status) => return status,
        }
    }
}

/// Defines handlers: functions from the state to [`Out`], with the signature of this engine. Their generic
/// parameters stand in brackets.
macro_rules! handler {
    ($(
        $(#[$meta:meta])*
        fn $name:ident [$($generics:tt)*] ($r:ident) $body:block
    )*) => {$(
        $(#[$meta])*
        pub(crate) unsafe fn $name<$($generics)*>(
            r: $crate::interp::dispatch::Regs,
        ) -> $crate::interp::dispatch::Out {
            #[allow(unused_mut)]
            let mut $r = r;
            // SAFETY: the contract of `dispatch`.
            unsafe { $body }
        }
    )*};
}
pub(crate) use handler;
