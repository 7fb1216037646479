//! Dispatch by calls in tail position, which LLVM turns into jumps.
//!
//! Nothing guarantees that it does. What it takes: optimisation on, no debug assertions (they keep locals whose address
//! escapes), and arguments that all travel in registers. Six integers and two floats do on x86-64 and aarch64. A test runs
//! tens of millions of instructions on a small stack, and so fails if a build ever pushes frames.

use super::{Ctx, Fp, Ip, MemoryBase, MemoryLength, Regs};

/// What a handler returns: the status of the whole execution.
pub(crate) type Out = u32;

/// A handler.
pub(crate) type Handler =
    unsafe extern "C" fn(Ip, Fp, MemoryBase, Ctx, u64, MemoryLength, f32, f64) -> Out;

/// Goes on at `r.ip`.
#[inline(always)]
pub(crate) unsafe fn next(r: Regs) -> Out {
    // SAFETY: the module's contract.
    unsafe { jump(r.ip.handler(), r) }
}

/// Goes on in a handler that the bytecode need not name.
#[inline(always)]
unsafe fn jump(handler: Handler, r: Regs) -> Out {
    // SAFETY: the module's contract.
    unsafe { handler(r.ip, r.fp, r.memory, r.ctx, r.int, r.length, r.f32, r.f64) }
}

/// Goes on in a handler for the rare case, kept out of line.
///
/// The compiler must not see which one it is: it would find out that the callee always returns the same, and make the
/// jump a call and a return.
#[inline(always)]
pub(crate) unsafe fn slow_path(handler: &'static Handler, r: Regs) -> Out {
    // SAFETY: the module's contract.
    unsafe { jump(std::ptr::from_ref(handler).read_volatile(), r) }
}

/// Ends the execution.
#[inline(always)]
pub(crate) unsafe fn done(status: u32) -> Out {
    status
}

/// Runs from `r.ip` until the execution ends.
pub(crate) unsafe fn run(r: Regs) -> u32 {
    // SAFETY: the module's contract.
    unsafe { next(r) }
}

/// Defines handlers: functions from the state to [`Out`], with the signature of this engine. Their generic
/// parameters stand in brackets.
macro_rules! handler {
    ($(
        $(#[$meta:meta])*
        fn $name:ident [$($generics:tt)*] ($r:ident) $body:block
    )*) => {$(
        $(#[$meta])*
        pub(crate) unsafe extern "C" fn $name<$($generics)*>(
            ip: $crate::interp::dispatch::Ip,
            fp: $crate::interp::dispatch::Fp,
            memory: $crate::interp::dispatch::MemoryBase,
            ctx: $crate::interp::dispatch::Ctx,
            int: u64,
            length: $crate::interp::dispatch::MemoryLength,
            f32: f32,
            f64: f64,
        ) -> $crate::interp::dispatch::Out {
            #[allow(unused_mut)]
            let mut $r = $crate::interp::dispatch::Regs { ip, fp, memory, ctx, int, length, f32, f64 };
            // SAFETY: the contract of `dispatch`.
            unsafe { $body }
        }
    )*};
}
pub(crate) use handler;
