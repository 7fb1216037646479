//! Standard streams that live in the embedder's memory instead of a file descriptor.

use parking_lot::Mutex;
use std::io;
use std::sync::Arc;

/// Where a guest's standard input comes from.
///
/// A call may block, but then must return [`io::ErrorKind::Interrupted`] when a signal breaks it, or the
/// thread cannot be stopped.
pub trait InputStream: Send + Sync {
    /// Fills the start of `buffer` and says how many bytes; 0 is the end of the input.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

/// Where a guest's standard output or error output goes. About blocking, see [`InputStream`].
pub trait OutputStream: Send + Sync {
    /// Takes the start of `bytes` and says how many. One call is one `fd_write` of the guest.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// Input from bytes in memory, shared by its clones.
#[derive(Clone, Debug, Default)]
pub struct MemoryInput {
    unread: Arc<Mutex<io::Cursor<Vec<u8>>>>,
}

impl MemoryInput {
    /// An input that gives these bytes and then ends.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        MemoryInput { unread: Arc::new(Mutex::new(io::Cursor::new(bytes.into()))) }
    }
}

impl InputStream for MemoryInput {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut *self.unread.lock(), buffer)
    }
}

/// Output that is collected in memory. Clones collect into the same place, so keep one to read it.
#[derive(Clone, Debug, Default)]
pub struct MemoryOutput {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl MemoryOutput {
    /// An empty collector.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of what was written so far.
    pub fn contents(&self) -> Vec<u8> {
        self.bytes.lock().clone()
    }
}

impl OutputStream for MemoryOutput {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
}

/// Input from any reader. One thread reads at a time.
pub(super) struct Reader<R>(pub Mutex<R>);

impl<R: io::Read + Send> InputStream for Reader<R> {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().read(buffer)
    }
}

/// Output to any writer, which is flushed after each write. One thread writes at a time.
pub(super) struct Writer<W>(pub Mutex<W>);

impl<W: io::Write + Send> OutputStream for Writer<W> {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut writer = self.0.lock();
        let count = writer.write(bytes)?;
        writer.flush()?;
        Ok(count)
    }
}

/// Output that nobody wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl OutputStream for Discard {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
}
