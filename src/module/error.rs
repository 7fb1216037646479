//! What can be wrong with a module.

use std::path::PathBuf;

/// Why there is no module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The text format could not be parsed. The message holds the place.
    #[error("invalid text format: {0}")]
    Text(String),
    /// The bytes are malformed or invalid.
    #[error("invalid module at byte offset {offset:#x}: {message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// Where, in bytes from the start of the module.
        offset: u64,
    },
    /// The module is fine but needs something that this engine does not do.
    #[error("not supported at byte offset {offset:#x}: {what}")]
    Unsupported {
        /// The proposal or construct.
        what: String,
        /// Where, in bytes from the start of the module.
        offset: u64,
    },
}

/// How wasmparser words that a proposal is switched off: its errors have no kinds. `unsupported_proposals` in
/// tests/bad_input.rs holds modules for most.
const SWITCHED_OFF: [&str; 10] = [
    "not enabled",
    "not supported",
    "must be enabled",
    "to be enabled",
    "switching is disabled",
    "feature required",
    "function references required",
    "descriptors required",
    "require the ",
    "which requires gc",
];

impl From<wasmparser::Error> for ModuleError {
    fn from(e: wasmparser::Error) -> Self {
        let (message, offset) = (e.message().to_owned(), e.offset());
        let what = match message.strip_suffix("support is not enabled") {
            Some(proposal) => format!("the {} proposal", proposal.trim()),
            None if SWITCHED_OFF.iter().any(|sign| message.contains(sign)) => message,
            None => return ModuleError::Invalid { message, offset },
        };
        ModuleError::Unsupported { what, offset }
    }
}
