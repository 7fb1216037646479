//! Tier 0: the interpreter.
//!
//! Function bodies become register bytecode on their first call ([`translate`]): instructions on the 64-bit slots of a frame,
//! each beginning with the address of its handler. The instruction set is data ([`isa`]); from the table come the opcodes, the
//! selectors by which the translator encodes, the printer and the handlers' addresses. Handlers ([`handlers`]) go from one to
//! the next in tail position, or, in builds without optimisation, return to a loop ([`dispatch`]).
//!
//! Three things make it fast. Results travel to the next instruction in accumulators, which are handler arguments and so machine
//! registers. Instructions take in what precedes them: addresses, constants, comparisons. And calls are jumps: wasm frames lie on
//! the value stack, and the native stack does not grow.
//!
//! The frame layout is that of [`updraft_jit::abi::frame`]. At a loop's header all live values are in their slots and no
//! accumulator holds anything, so that machine code can take over there.

mod code;
mod dispatch;
mod encode;
mod execute;
mod handlers;
mod isa;
mod outside;
mod print;
mod translate;
mod unwind;

#[cfg(test)]
mod tests;

pub use code::InterpCode;
pub use execute::execute;
pub use unwind::Source;
pub(crate) use unwind::{BytecodePlace, Offsets, place_of, read_link};
