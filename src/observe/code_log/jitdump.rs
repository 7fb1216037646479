//! perf's jitdump, version 1: see linux/tools/perf/Documentation/jitdump-specification.txt.

use super::{Piece, Sink};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};

const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEADER_BYTES: u32 = 40;
const EM_X86_64: u32 = 62;
const CODE_LOAD: u32 = 0;
const CODE_DEBUG_INFO: u32 = 2;

pub(super) struct JitDump {
    file: File,
    loaded: u64,
    /// By this mapping perf notices the file.
    _mark: memmap2::Mmap,
}

/// Nanoseconds of the clock that `perf record -k mono` uses.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(mut self, text: &str) -> Self {
        self.0.extend(text.bytes().filter(|byte| *byte != 0));
        self.0.push(0);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// A record of this kind, with these bytes behind its header.
    fn record(self, kind: u32, time: u64) -> Vec<u8> {
        const PREFIX: usize = 16;
        let header = Bytes::default().u32(kind).u32((PREFIX + self.0.len()) as u32).u64(time);
        header.raw(&self.0).0
    }
}

impl JitDump {
    pub fn create() -> io::Result<JitDump> {
        let pid = std::process::id();
        let path = format!("jit-{pid}.dump");
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(true).open(path)?;
        let header = Bytes::default().u32(MAGIC).u32(VERSION).u32(HEADER_BYTES).u32(EM_X86_64);
        file.write_all(&header.u32(0).u32(pid).u64(now()).u64(0).0)?;
        // SAFETY: nothing reads the mapping.
        let mark =
            unsafe { memmap2::MmapOptions::new().len(HEADER_BYTES as usize).map_exec(&file)? };
        Ok(JitDump { file, loaded: 0, _mark: mark })
    }
}

impl Sink for JitDump {
    fn loaded(&mut self, pieces: &[Piece<'_>]) -> io::Result<()> {
        let mut records = Vec::new();
        let thread = rustix::thread::gettid().as_raw_pid() as u32;
        for piece in pieces {
            let (time, address) = (now(), piece.address as u64);
            if let Some(last) = piece.lines.last() {
                let entries = piece.lines.len() as u64 + 1;
                let mut info = Bytes::default().u64(address).u64(entries);
                // perf ends the last line where it begins, so it is told the end of the code as one more.
                let end = piece.code.len() as u32;
                let lines = piece.lines.iter().map(|line| (line.offset, line));
                for (offset, line) in lines.chain([(end, last)]) {
                    info = info.u64(address + u64::from(offset)).u32(line.line).u32(0);
                    info = info.text(&line.file);
                }
                records.extend(info.record(CODE_DEBUG_INFO, time));
            }
            let load =
                Bytes::default().u32(std::process::id()).u32(thread).u64(address).u64(address);
            let load = load.u64(piece.code.len() as u64).u64(self.loaded);
            records.extend(load.text(&piece.name).raw(piece.code).record(CODE_LOAD, time));
            self.loaded += 1;
        }
        self.file.write_all(&records)
    }

    fn freed(&mut self, _: usize) {
        // What is loaded there next has a later time.
    }
}
