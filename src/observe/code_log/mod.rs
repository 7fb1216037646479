//! Telling other tools about machine code: perf and gdb see functions by name, with their tier and their source lines.
//!
//! What is told is told for the whole process, from [`CodeLog::start`] on, and before the code can be called.

mod gdb;
mod jitdump;
mod perf_map;

use super::locate::Sources;
use crate::module::Module;
use crate::tiers::Tier;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use updraft_jit::{Lines, Linked, Symbol};

/// Who is told about machine code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodeLog {
    /// perf: names, in /tmp/perf-PID.map, where `perf report` looks for them. Where the memory of freed code is used again, the map
    /// has the later name.
    PerfMap,
    /// perf: names, code and source lines with times, in jit-PID.dump in the current directory, for `perf inject --jit` (after
    /// `perf record -k mono`).
    JitDump,
    /// gdb: names, source lines and frames, through its interface for JIT compilers.
    Gdb,
}

impl CodeLog {
    /// Begins to tell. Code that is compiled with its source lines takes somewhat longer.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn start(self) -> io::Result<()> {
        let sink: Box<dyn Sink> = match self {
            CodeLog::PerfMap => Box::new(perf_map::PerfMap::create()?),
            CodeLog::JitDump => Box::new(jitdump::JitDump::create()?),
            CodeLog::Gdb => Box::new(gdb::Gdb::default()),
        };
        let mut log = lock();
        log.lines |= self != CodeLog::PerfMap;
        log.sinks.push(sink);
        WANTED.store(true, Ordering::Release);
        Ok(())
    }
}

/// Code that has been put to its place.
struct Piece<'a> {
    name: String,
    address: usize,
    code: &'a [u8],
    /// From which byte of the code on it is which line.
    lines: Vec<Line>,
}

struct Line {
    offset: u32,
    file: Arc<str>,
    line: u32,
}

/// Who is told. A failure ends that.
trait Sink: Send {
    fn loaded(&mut self, pieces: &[Piece<'_>]) -> io::Result<()>;
    /// The code that began at this address is about to be freed.
    fn freed(&mut self, address: usize);
}

#[derive(Default)]
struct Log {
    sinks: Vec<Box<dyn Sink>>,
    /// Whether somebody wants source lines.
    lines: bool,
    /// Of the module that was told about last, by the address of its data, which is kept.
    sources: Option<(Module, Option<Sources>)>,
}

static WANTED: AtomicBool = AtomicBool::new(false);
static LOG: Mutex<Option<Log>> = Mutex::new(None);

struct Guard(MutexGuard<'static, Option<Log>>);

impl std::ops::Deref for Guard {
    type Target = Log;
    fn deref(&self) -> &Log {
        self.0.as_ref().expect("it was made with the guard")
    }
}

impl std::ops::DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Log {
        self.0.as_mut().expect("it was made with the guard")
    }
}

fn lock() -> Guard {
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    log.get_or_insert_default();
    Guard(log)
}

/// Whether code is to be compiled with its line table.
pub(crate) fn wants_lines() -> bool {
    WANTED.load(Ordering::Acquire) && lock().lines
}

/// Code has been linked, and will be published. `lines` is its line table, if there is one.
pub(crate) fn loaded(module: &Module, linked: &Linked, lines: Option<&Lines>, tier: Tier) {
    if !WANTED.load(Ordering::Acquire) {
        return;
    }
    let mut log = lock();
    let known = log.sources.as_ref().is_some_and(|(known, _)| known.same(module));
    if lines.is_some() && !known {
        log.sources = Some((module.clone(), Sources::of(&module.bytes)));
    }
    let Log { sinks, sources, .. } = &mut *log;
    let sources = sources.as_ref().and_then(|(_, sources)| sources.as_ref());
    let pieces: Vec<Piece<'_>> = linked
        .symbols
        .iter()
        .map(|symbol| {
            let of_symbol = lines.map_or(&[][..], |lines| lines.of(symbol.symbol));
            Piece {
                name: name(module, symbol.symbol, tier),
                address: symbol.address,
                // SAFETY: it was linked there, and is not freed before this returns.
                code: unsafe {
                    std::slice::from_raw_parts(symbol.address as *const u8, symbol.size)
                },
                lines: sources.map_or_else(Vec::new, |sources| source_lines(sources, of_symbol)),
            }
        })
        .collect();
    sinks.retain_mut(|sink| match sink.loaded(&pieces) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "perf or gdb is told of no more code");
            false
        }
    });
}

/// Code is about to be freed.
pub(crate) fn freed(linked: &Linked) {
    if WANTED.load(Ordering::Acquire) {
        for sink in &mut lock().sinks {
            linked.symbols.iter().for_each(|symbol| sink.freed(symbol.address));
        }
    }
}

fn name(module: &Module, symbol: Symbol, tier: Tier) -> String {
    let function = |func| super::profile::readable(&module.function_name(func));
    match symbol {
        Symbol::Function(func) => format!("{} [{tier}]", function(func)),
        Symbol::Osr { func, index } => format!("{} loop {index} [{tier}]", function(func)),
        Symbol::Stub(ty) => format!("to the interpreter, type {ty} [stub]"),
        Symbol::Invoker(ty) => format!("from the interpreter, type {ty} [stub]"),
    }
}

fn source_lines(sources: &Sources, lines: &[(u32, u32)]) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    for (offset, wasm) in lines {
        let Some((file, line)) = sources.line(*wasm) else { continue };
        match found.last() {
            Some(last) if *last.file == *file && last.line == line => {}
            last => {
                let same = last.filter(|last| *last.file == *file).map(|last| last.file.clone());
                let file = same.unwrap_or_else(|| file.into());
                found.push(Line { offset: *offset, file, line });
            }
        }
    }
    found
}
