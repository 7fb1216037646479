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

impl From<wasmparser::Error> for ModuleError {
    fn from(e: wasmparser::Error) -> Self {
        let (message, offset) = (e.message().to_owned(), e.offset());
        match message.strip_suffix("support is not enabled") {
            Some(proposal) => ModuleError::Unsupported {
                what: format!("the {} proposal", proposal.trim()),
                offset,
            },
            None if message.contains("not enabled") || message.contains("not supported") => {
                ModuleError::Unsupported { what: message, offset }
            }
            None => ModuleError::Invalid { message, offset },
        }
    }
}
