//! Which code belongs to which operator, found out when somebody asks.
//!
//! Line tables cost LLVM a third of the time of quick compilation. They are needed when a trap is reported or a profile
//! is drawn, which most code never is. So code is compiled without, and compiled again with debug locations when its
//! lines are wanted; locations change no code, and if they did, a comparison would show it.

use crate::compile::{Level, Symbol};

/// How code was made, so that it can be made again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipe {
    pub(crate) level: Level,
    pub(crate) functions: Box<[u32]>,
    pub(crate) osr: Box<[(u32, u32)]>,
    pub(crate) stubs: Box<[u32]>,
    pub(crate) invokers: Box<[u32]>,
    /// Of the machine code.
    pub(crate) hash: u64,
}

impl Recipe {
    /// At which level it was made.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }
}

/// The line table of an object's code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lines(pub(crate) Vec<SymbolLines>);

/// A symbol's lines: from code offsets to offsets in the wasm module.
pub(crate) type SymbolLines = (Symbol, Vec<(u32, u32)>);

impl Lines {
    /// The offset in the wasm module of the operator to which the code at `offset` bytes from the symbol's start belongs.
    /// For a return address, ask for the byte before it.
    #[must_use]
    pub fn wasm_offset(&self, symbol: Symbol, offset: usize) -> Option<u32> {
        let (_, lines) = self.0.iter().find(|lines| lines.0 == symbol)?;
        let next = lines.partition_point(|(start, _)| *start as usize <= offset);
        Some(lines.get(next.checked_sub(1)?)?.1)
    }

    /// All of a symbol's lines: code offsets, and the offsets in the wasm module of what begins there, in order.
    #[must_use]
    pub fn of(&self, symbol: Symbol) -> &[(u32, u32)] {
        self.0.iter().find(|lines| lines.0 == symbol).map_or(&[], |lines| &lines.1)
    }
}
