//! `wasi.thread-spawn`, after the wasi-threads text (WebAssembly/wasi-threads).

use crate::func::HostFunc;
use crate::process::ProcessInner;
use std::sync::Weak;

/// What a refused spawn returns. The text wants any negative number.
const FAILED: i32 = -1;

/// The host function. "[thread-spawn] returns a unique non-negative integer ID on success, a negative number on failure."
pub(crate) fn thread_spawn(process: Weak<ProcessInner>) -> HostFunc {
    HostFunc::wrap(move |caller, argument: i32| {
        let spawned = match process.upgrade() {
            Some(process) => process.spawn(argument),
            None => Err("the program has ended".to_owned()),
        };
        Ok(spawned.map_or_else(
            |cause| {
                if !caller.is_stopping() {
                    tracing::warn!(cause, "thread-spawn refused");
                }
                FAILED
            },
            |id| id as i32,
        ))
    })
}
