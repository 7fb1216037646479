//! Generates the interpreter's instruction set from its table, and chooses how the interpreter dispatches.
//!
//! * `interp_tail`: each handler ends by calling the next one in tail position. Stable Rust has no guaranteed tail calls,
//!   but LLVM makes sibling calls of these with optimisation on: at opt-levels 1, 2, 3 and s, on machines that pass all
//!   eight arguments in registers.
//! * otherwise a loop calls handler after handler. That is what unoptimised builds need, whose "tail calls" would use up
//!   the native stack. Debug assertions have the same effect, but a build script cannot see them: the crate checks.
//!
//! Relative relocations of the command are packed where the system's C library can read that (glibc 2.36): there are 15 000, which take
//! 0.35 MB otherwise, read at every start.
//!
//! Functions that run at each start stand side by side in the command (`src/start_order.txt`), so that fewer pages of it are touched.
//!
//! `UPDRAFT_INTERP_DISPATCH=loop` chooses the loop for a build that could do better, for comparison.

#[path = "src/interp/isa/generate.rs"]
mod generate;
#[allow(dead_code, reason = "the crate uses all of it")]
#[path = "src/interp/isa/table.rs"]
mod table;

use std::env;
use std::path::PathBuf;

const START_ORDER: &str = "src/start_order.txt";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/interp/isa");
    println!("cargo::rerun-if-changed={START_ORDER}");
    println!("cargo::rerun-if-env-changed=UPDRAFT_INTERP_DISPATCH");
    println!("cargo::rustc-check-cfg=cfg(interp_tail)");

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    std::fs::write(out.join("isa.rs"), generate::generate())
        .expect("the output directory is writable");

    let optimised = env::var("OPT_LEVEL").is_ok_and(|level| level != "0");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let windows = env::var_os("CARGO_CFG_WINDOWS").is_some();
    let capable = matches!(arch.as_str(), "x86_64" | "aarch64") && !windows;
    let wanted = env::var("UPDRAFT_INTERP_DISPATCH").is_ok_and(|choice| choice == "loop");
    if optimised && capable && !wanted {
        println!("cargo::rustc-cfg=interp_tail");
    }
    if env::var("HOST") == env::var("TARGET") && glibc().is_some_and(|version| version >= (2, 36)) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        // Not all linkers know the script's INSERT; Rust's and the usual ones do.
        let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
        let usual_linker = env::var_os("RUSTC_LINKER").is_none() && !flags.contains("link");
        if optimised && arch == "x86_64" && usual_linker {
            let script = out.join("start_order.ld");
            std::fs::write(&script, start_order()).expect("the output directory is writable");
            println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
        }
    }
}

/// A linker script that adds to the usual one a section with the functions that run at each start.
fn start_order() -> String {
    let names = std::fs::read_to_string(START_ORDER).expect("it is a file of the crate");
    let mut script = String::from("SECTIONS {\n.text.start_up : {\n");
    for name in names.lines().filter(|line| !line.starts_with('#')) {
        script += &format!("*(.text.{name} .text.{name}.llvm.*)\n");
    }
    script + "}\n}\nINSERT BEFORE .text;\n"
}

/// The version of the C library, if it is glibc.
fn glibc() -> Option<(u32, u32)> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            safe fn gnu_get_libc_version() -> *const std::ffi::c_char;
        }
        // SAFETY: it is a string that lives as long as the process.
        let version = unsafe { std::ffi::CStr::from_ptr(gnu_get_libc_version()) };
        let (major, minor) = version.to_str().ok()?.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    None
}
