//! What can go wrong while a program is linked and runs.

use crate::exception::Exception;
use crate::module::Module;
use crate::tiers::CodePlace;
use crate::vm::Place;
use std::fmt;
use std::sync::Arc;
use updraft_jit::abi::TrapCode;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module could not be loaded.
    #[error(transparent)]
    Module(#[from] crate::ModuleError),
    /// Imports and definitions do not fit.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The program trapped.
    #[error(transparent)]
    Trap(#[from] Trap),
    /// The program threw an exception that nothing caught.
    #[error(transparent)]
    Exception(#[from] Exception),
    /// The program called `proc_exit` with this code, or a thread of it did.
    #[error("the program exited with code {0}")]
    Exit(i32),
    /// The thread group was stopped: by another thread's trap or exit, or from outside.
    #[error("{0}")]
    Stopped(Stopped),
    /// A host function failed with this error.
    #[error("host function failed: {0}")]
    Host(Arc<dyn std::error::Error + Send + Sync>),
    /// A call whose arguments do not fit the function.
    #[error("{0}")]
    Call(String),
    /// The operating system refused something that the engine needs.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
    /// A thread of a program could not be started, for this reason.
    #[error("cannot start a thread: {0}")]
    Spawn(String),
    /// A limit that the embedder or a flag set.
    #[error("{0}")]
    Limit(String),
}

impl Error {
    /// Wraps the error of a host function.
    pub fn host(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Host(Arc::from(error.into()))
    }
}

/// Why a thread had to stop though it did nothing wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// Another thread of the group trapped or exited first.
    ByGroup,
    /// The embedder ended the group.
    Terminated,
    /// The deadline has passed.
    TimedOut,
    /// The threads have taken more processor time than they were allowed to.
    CpuTime,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stopped::ByGroup => "stopped because another thread of the program ended it",
            Stopped::Terminated => "the program was terminated",
            Stopped::TimedOut => "the program ran longer than its timeout allows",
            Stopped::CpuTime => "the program took more processor time than its limit allows",
        })
    }
}

/// A trap (core specification, section "Traps"), with where it happened.
#[derive(Debug, Clone)]
pub struct Trap {
    /// What happened.
    pub code: TrapCode,
    /// The thread: 0 for the main thread, otherwise the id that `thread-spawn` returned.
    pub thread: u32,
    /// The wasm frames, innermost first.
    pub frames: Vec<Frame>,
}

/// One wasm frame of a backtrace.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Frame {
    /// Function index in its module.
    pub func: u32,
    /// Name of the function.
    pub name: String,
    /// Byte offset of the instruction in the module. Frames of compiled code have none before [`Trap::locate`].
    pub offset: Option<u32>,
    /// The place in the source, as the module's DWARF tells it, after [`Trap::locate`]: the function that was inlined
    /// innermost first, the function itself last.
    pub source: Vec<SourceLocation>,
    pub(crate) module: Module,
    #[cfg_attr(not(feature = "llvm"), expect(dead_code, reason = "no compiler, no machine code"))]
    pub(crate) code: Option<CodePlace>,
}

/// A place in source code.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceLocation {
    /// Name of the function.
    pub function: Option<String>,
    /// Path of the file, as the compiler wrote it down.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, where it is known.
    pub column: Option<u32>,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        match self.column {
            Some(column) => write!(f, ":{column}"),
            None => Ok(()),
        }
    }
}

impl Frame {
    pub(crate) fn new(module: Module, func: u32, place: Place) -> Frame {
        let name = module.function_name(func).into_owned();
        let (offset, code) = match place {
            Place::Wasm(offset) => (Some(offset), None),
            Place::Machine(code) => (None, Some(code)),
            Place::Bytecode(_) => (None, None),
        };
        Frame { func, name, offset, source: Vec::new(), module, code }
    }
}

impl Frame {
    /// Byte offset of the instruction in its function's body, where [`Frame::offset`] is known.
    #[must_use]
    pub fn offset_in_function(&self) -> Option<u32> {
        self.offset.map(|offset| offset - self.module.env.body(self.func).start as u32)
    }
}

impl Trap {
    /// Finds the byte offsets of the frames in compiled code, and the source of all frames whose module has DWARF.
    ///
    /// Code is compiled without line tables, so this compiles the functions of the backtrace again: it takes
    /// milliseconds, seconds for very large functions. The command line calls it once the program has stopped.
    pub fn locate(&mut self) {
        crate::observe::locate(&mut self.frames);
    }
}

impl std::error::Error for Trap {}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trap: {}", self.code.message())?;
        write_thread_and_frames(f, self.thread, &self.frames)
    }
}

/// Writes in which thread something happened, and the backtrace.
pub(crate) fn write_thread_and_frames(
    f: &mut fmt::Formatter<'_>,
    thread: u32,
    frames: &[Frame],
) -> fmt::Result {
    if thread == 0 {
        write!(f, " in the main thread")?;
    } else {
        write!(f, " in thread {thread}")?;
    }
    const SHOWN: usize = 24;
    for (i, frame) in frames.iter().take(SHOWN).enumerate() {
        // A name may be anything, and is not to change what a terminal shows.
        write!(f, "\n  {i:>3}: {}", frame.name.replace(char::is_control, " "))?;
        if let Some(offset) = frame.offset {
            write!(f, " @ {offset:#x}")?;
        }
        for source in &frame.source {
            write!(f, "\n       at {source}")?;
            if let Some(function) = source.function.as_ref().filter(|_| frame.source.len() > 1) {
                write!(f, " in {function}")?;
            }
        }
    }
    if frames.len() > SHOWN {
        write!(f, "\n       ... {} more frames", frames.len() - SHOWN)?;
    }
    Ok(())
}

/// Why a module cannot be instantiated with what was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Nothing of that name was defined.
    #[error(
        "unknown import: the module needs the {kind} {module:?} {name:?}, which is not defined{hint}"
    )]
    Unknown {
        /// First name.
        module: String,
        /// Second name.
        name: String,
        /// What kind of item.
        kind: &'static str,
        /// What to do, or empty.
        hint: String,
    },
    /// Something of that name was defined, of another type.
    #[error(
        "incompatible import type: {module:?} {name:?}: the module needs {wanted}, but it is {found}"
    )]
    Type {
        /// First name.
        module: String,
        /// Second name.
        name: String,
        /// What the module declares.
        wanted: String,
        /// What was given.
        found: String,
    },
    /// An export that the caller needs is missing.
    #[error("the module has no {kind} export {name:?}{hint}")]
    NoExport {
        /// Kind of the export.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What to do, or empty.
        hint: String,
    },
    /// A definition belongs to another store.
    #[error("{module:?} {name:?} belongs to another store")]
    OtherStore {
        /// First name.
        module: String,
        /// Second name.
        name: String,
    },
    /// A memory could not be reserved.
    #[error("cannot create a memory of {pages} pages of 64 KiB: {cause}")]
    Memory {
        /// Initial size in pages of 64 KiB.
        pages: u64,
        /// Why.
        cause: String,
    },
    /// A table could not be created.
    #[error("cannot create a table of {elements} elements: {cause}")]
    Table {
        /// Initial number of elements.
        elements: u64,
        /// Why.
        cause: String,
    },
}
