//! What is in an emitted object: symbols with their sizes, and the line table.

use std::hash::{DefaultHasher, Hash, Hasher};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use crate::compile::Symbol;
use crate::error::{CompileError, Result};
use crate::lines::SymbolLines;

/// A symbol of an object.
#[derive(Clone, Debug)]
pub(crate) struct EmittedSymbol {
    pub symbol: Symbol,
    /// Its name in the object.
    pub name: String,
    /// Offset in the code section, in bytes.
    pub offset: u64,
    /// Bytes of code.
    pub size: u64,
}

/// The name of a symbol in an object. `unique` tells it from the same symbol in other objects.
pub(crate) fn name(unique: &str, symbol: Symbol) -> String {
    match symbol {
        Symbol::Function(func) => format!("f{func}.{unique}"),
        Symbol::Osr { func, index } => format!("o{func}_{index}.{unique}"),
        Symbol::Stub(ty) => format!("s{ty}.{unique}"),
        Symbol::Invoker(ty) => format!("i{ty}.{unique}"),
    }
}

fn parse(name: &str) -> Option<Symbol> {
    let (kind, numbers) = name.split_once('.')?.0.split_at_checked(1)?;
    Some(match kind {
        "f" => Symbol::Function(numbers.parse().ok()?),
        "s" => Symbol::Stub(numbers.parse().ok()?),
        "i" => Symbol::Invoker(numbers.parse().ok()?),
        "o" => {
            let (func, index) = numbers.split_once('_')?;
            Symbol::Osr { func: func.parse().ok()?, index: index.parse().ok()? }
        }
        _ => return None,
    })
}

/// Reads the symbols of an object of ours, in order of address.
pub(crate) fn symbols(bytes: &[u8]) -> Result<Vec<EmittedSymbol>> {
    let file = object::File::parse(bytes).map_err(broken)?;
    let mut symbols = Vec::new();
    for entry in file.symbols() {
        let Ok(name) = entry.name() else { continue };
        if let Some(symbol) = parse(name).filter(|_| entry.is_definition()) {
            let (offset, size) = (entry.address(), entry.size());
            symbols.push(EmittedSymbol { symbol, name: name.to_owned(), offset, size });
        }
    }
    symbols.sort_by_key(|symbol| symbol.offset);
    Ok(symbols)
}

/// A hash of an object's machine code. It only has to be the same within a process.
pub(crate) fn code_hash(bytes: &[u8]) -> Result<u64> {
    let file = object::File::parse(bytes).map_err(broken)?;
    let section = file.section_by_name(".text").ok_or_else(|| broken("no code"))?;
    let mut hasher = DefaultHasher::new();
    section.data().map_err(broken)?.hash(&mut hasher);
    Ok(hasher.finish())
}

/// Reads an object's line table: for each symbol, from code offsets to offsets in the wasm module, in order.
pub(crate) fn lines(bytes: &[u8]) -> Result<Vec<SymbolLines>> {
    let symbols = symbols(bytes)?;
    let file = object::File::parse(bytes).map_err(broken)?;
    let mut lines: Vec<_> = symbols.iter().map(|symbol| (symbol.symbol, Vec::new())).collect();
    if let Some(section) = file.section_by_name(".debug_line") {
        let data = section.data().map_err(broken)?;
        read_lines(&symbols, &mut lines, data).map_err(broken)?;
    }
    Ok(lines)
}

/// All code is in one section, so its addresses need no relocation: they are offsets in that section.
fn read_lines(
    symbols: &[EmittedSymbol],
    lines: &mut [SymbolLines],
    data: &[u8],
) -> gimli::Result<()> {
    let section = gimli::DebugLine::new(data, gimli::LittleEndian);
    let program = section.program(gimli::DebugLineOffset(0), 8, None, None)?;
    let mut rows = program.rows();
    let mut current = 0;
    while let Some((_, row)) = rows.next_row()? {
        let Some(line) = row.line().filter(|_| !row.end_sequence()) else { continue };
        while symbols.get(current + 1).is_some_and(|next| next.offset <= row.address()) {
            current += 1;
        }
        let Some(symbol) = symbols.get(current) else { break };
        let Some(offset) = row.address().checked_sub(symbol.offset) else { continue };
        let entry = (offset as u32, line.get() as u32);
        let lines = &mut lines[current].1;
        match lines.last_mut() {
            Some(last) if last.1 == entry.1 => {}
            Some(last) if last.0 == entry.0 => *last = entry,
            _ => lines.push(entry),
        }
    }
    Ok(())
}

fn broken(error: impl std::fmt::Display) -> CompileError {
    CompileError::Llvm(format!("object: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for symbol in [
            Symbol::Function(7),
            Symbol::Osr { func: 1, index: 20 },
            Symbol::Stub(0),
            Symbol::Invoker(3),
        ] {
            assert_eq!(parse(&name("u12", symbol)), Some(symbol));
        }
        assert_eq!(parse("updraft_raise"), None);
        assert_eq!(parse("f3"), None);
    }
}
