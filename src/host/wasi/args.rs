//! Arguments and environment: `args_*`, `environ_*`.

use super::ctx::StringTable;
use super::memory::Layout;
use super::sys::Outcome;
use super::{Host, WasiCtx};

pub(super) fn args_get(ctx: &WasiCtx, host: &dyn Host, argv: u64, buf: u64) -> Outcome {
    write_strings(host, &ctx.args, argv, buf)
}

pub(super) fn args_sizes_get(ctx: &WasiCtx, host: &dyn Host, count: u64, size: u64) -> Outcome {
    write_sizes(host, &ctx.args, count, size)
}

pub(super) fn environ_get(ctx: &WasiCtx, host: &dyn Host, environ: u64, buf: u64) -> Outcome {
    write_strings(host, &ctx.env, environ, buf)
}

pub(super) fn environ_sizes_get(ctx: &WasiCtx, host: &dyn Host, count: u64, size: u64) -> Outcome {
    write_sizes(host, &ctx.env, count, size)
}

/// Writes the strings at `buf` and a pointer to each at `pointers`.
fn write_strings(host: &dyn Host, strings: &StringTable, pointers: u64, buf: u64) -> Outcome {
    let memory = host.memory();
    memory.array(pointers, strings.starts.len() as u64, Layout { size: 4, align: 4 })?;
    // First the strings: if they fit, `buf + start` cannot pass the end of a 32-bit memory.
    memory.write_bytes(buf, &strings.bytes)?;
    for (at, start) in (pointers..).step_by(4).zip(&strings.starts) {
        memory.write_u32(at, buf as u32 + start)?;
    }
    Ok(())
}

fn write_sizes(host: &dyn Host, strings: &StringTable, count: u64, size: u64) -> Outcome {
    let memory = host.memory();
    let (count, size) = (memory.place(count, 4)?, memory.place(size, 4)?);
    count.put((strings.starts.len() as u32).to_le_bytes())?;
    Ok(size.put((strings.bytes.len() as u32).to_le_bytes())?)
}
