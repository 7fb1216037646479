//! What can go wrong between bytes and machine code.

use inkwell::builder::BuilderError;

/// Why a job could not be compiled. The functions stay in the tier where they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// LLVM could not be loaded.
    #[error(transparent)]
    Load(#[from] crate::LoadError),
    /// The function uses something that the compiler does not know.
    #[error("function {func} at offset {offset:#x}: {what} is not supported by the compiler")]
    Unsupported {
        /// The function.
        func: u32,
        /// What it uses.
        what: String,
        /// Where, in bytes from the start of the module.
        offset: usize,
    },
    /// The body cannot be read. It was validated before, so the bytes are not those of the module.
    #[error("function {func} cannot be read: {message}")]
    Malformed {
        /// The function.
        func: u32,
        /// What the reader said.
        message: String,
    },
    /// There is no loop with this ordinal in the function.
    #[error("function {func} has no loop {index} that can be reached")]
    NoSuchLoop {
        /// The function.
        func: u32,
        /// The loop's ordinal.
        index: u32,
    },
    /// Compiling again gave other code, so that its lines say nothing of the first.
    #[error("the same functions came out as other code the second time")]
    Differs,
    /// The process is ending, and LLVM with it.
    #[error("the process is ending")]
    Ending,
    /// LLVM, or our use of it, failed. A fault of the compiler.
    #[error("LLVM: {0}")]
    Llvm(String),
}

impl From<BuilderError> for CompileError {
    fn from(error: BuilderError) -> Self {
        CompileError::Llvm(error.to_string())
    }
}

pub(crate) type Result<T, E = CompileError> = std::result::Result<T, E>;
