//! The `updraft` command.
//!
//! It has a C program's `main`, not Rust's: what Rust does before `main` takes a tenth of the time in which `updraft` starts and runs a
//! small program, most of it to find out where the stack of the main thread ends. Only a message would need that.
#![cfg_attr(not(test), no_main)]

mod cli;

use std::ffi::{c_char, c_int};

/// Exit code of a panic, as Rust has it.
const PANICKED: c_int = 101;

/// The arguments are read by `std::env::args_os`, which has its own way to them.
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    prepare();
    match std::panic::catch_unwind(|| cli::main()) {
        Ok(never) => never,
        Err(_) => PANICKED,
    }
}

/// What Rust does before `main`, and what the command relies on.
fn prepare() {
    // Files must not get the numbers of the standard streams, to which programs write.
    for fd in 0..=2 {
        // SAFETY: plain calls; the string is one.
        unsafe {
            let closed = libc::fcntl(fd, libc::F_GETFD) == -1;
            if closed && libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) == -1 {
                libc::abort();
            }
        }
    }
    // SAFETY: a plain call. A closed pipe is an error of the write then.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
