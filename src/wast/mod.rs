//! Scripts of the specification's tests (`.wast`), run through the public API.
//!
//! The language is that of the reference interpreter (`interpreter/README.md` of the specification), with `(thread ...)` and
//! `(wait ...)` of the threads proposal.
//!
//! ```
//! use updraft::{Engine, wast};
//!
//! let report = wast::run(&Engine::default(), r#"
//!     (module (func (export "two") (result i32) (i32.const 2)))
//!     (assert_return (invoke "two") (i32.const 2))
//! "#)?;
//! assert_eq!((report.passed, report.failed.len()), (2, 0));
//! # Ok::<(), updraft::wast::ScriptError>(())
//! ```

mod script;
mod spectest;
mod value;

use crate::engine::Engine;
use serde::Serialize;
use wast::Wast;
use wast::lexer::Lexer;
use wast::parser::{ParseBuffer, parse};

/// What became of a script's directives.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Report {
    /// Directives that did what they should.
    pub passed: u64,
    /// Those that did not.
    pub failed: Vec<Remark>,
    /// Those that were not tried: they need what the engine does not support.
    pub skipped: Vec<Remark>,
}

/// Something about a directive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Its line, from 1.
    pub line: usize,
    /// Its column, from 1.
    pub column: usize,
    /// What happened.
    pub message: String,
}

/// The text is not a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ScriptError {
    /// Line of the offending text, from 1.
    pub line: usize,
    /// Its column, from 1.
    pub column: usize,
    /// What is wrong with it.
    pub message: String,
}

impl Report {
    /// Adds what another script, or another thread of this one, reports.
    pub fn append(&mut self, mut other: Report) {
        self.passed += other.passed;
        self.failed.append(&mut other.failed);
        self.skipped.append(&mut other.skipped);
    }
}

/// Runs a script: each directive in order, in one store; threads of the script in stores of their own.
///
/// # Errors
/// If the text is not a script. What directives find is in the report.
pub fn run(engine: &Engine, text: &str) -> Result<Report, ScriptError> {
    let error = |error: wast::Error| {
        let (line, column) = error.span().linecol_in(text);
        ScriptError { line: line + 1, column: column + 1, message: error.message() }
    };
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).map_err(error)?;
    let script: Wast<'_> = parse(&buffer).map_err(error)?;
    Ok(script::run(engine, text, script.directives))
}
