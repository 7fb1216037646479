//! Links `libupdraft-llvm.so`: what this crate needs of LLVM, for x86-64 alone, from LLVM's static libraries.
//!
//! The system's libLLVM.so is for all targets and all uses. Loading it means 185 000 relocations, 25 000 of them with a look-up by
//! name, 700 constructors and twelve more libraries. The small library is a third as large, looks up nothing but the C library's
//! names, and is loaded in a quarter of the time, of which a program that runs for a tenth of a second has none to lose.
//!
//! It is made where LLVM's static libraries (Debian's `llvm-22-dev`) and lld (which comes with Rust) are there; it takes a second. It
//! then stands in cargo's target folder, beside the command, where `src/llvm_load.rs` looks first. Otherwise the system's is used.
//!
//! * `LLVM_SYS_221_PREFIX`: where LLVM is installed, as for llvm-sys.
//! * `UPDRAFT_SLIM_LLVM=0`: does not make the library.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LIBRARY: &str = "libupdraft-llvm.so";
const STUBS: &str = "src/llvm_stubs.s";
const PREFIX: &str = "LLVM_SYS_221_PREFIX";
const SWITCH: &str = "UPDRAFT_SLIM_LLVM";
const USUAL_PREFIX: &str = "/usr/lib/llvm-22";
const MAJOR: &str = "22.";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={STUBS}");
    println!("cargo::rerun-if-env-changed={PREFIX}");
    println!("cargo::rerun-if-env-changed={SWITCH}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // OUT_DIR is <profile's folder>/build/<package>/out.
    let Some(place) = out.ancestors().nth(3).map(|folder| folder.join(LIBRARY)) else { return };
    // A build without the compiler leaves those alone that have it.
    if env::var_os("CARGO_FEATURE_LLVM").is_none() {
        return;
    }
    // An older one may lack functions.
    let _ = fs::remove_file(&place);
    if !is_wanted() {
        return;
    }
    if let Err(reason) = link(&out).and_then(|library| put(&library, &place)) {
        println!(
            "cargo::warning=the system's libLLVM will be used, which takes longer to load: {reason}"
        );
    }
}

/// Whether the library can be made here, and is to be.
fn is_wanted() -> bool {
    let is = |variable, value: &str| env::var(variable).is_ok_and(|found| found == value);
    let folder = prefix().join("lib");
    // Cargo would take a file that is not there for one that has changed.
    if folder.exists() {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && env::var("HOST") == env::var("TARGET")
        && !is(SWITCH, "0")
        && folder.join("libLLVMCore.a").exists()
}

fn prefix() -> PathBuf {
    env::var_os(PREFIX).map_or_else(|| USUAL_PREFIX.into(), PathBuf::from)
}

/// Makes the library in this folder.
fn link(out: &Path) -> Result<PathBuf, String> {
    let config = prefix().join("bin/llvm-config");
    let version = output(Command::new(&config).arg("--version"))?;
    if !version.starts_with(MAJOR) {
        return Err(format!("{} is LLVM {}", prefix().display(), version.trim()));
    }
    let components = ["--link-static", "--libs", "x86", "orcjit", "passes"];
    let libraries = output(Command::new(&config).args(components))?;
    let stubs = fs::read_to_string(STUBS).map_err(|error| format!("{STUBS}: {error}"))?;
    let names: Vec<&str> = stubs.lines().filter_map(|line| line.strip_prefix("llvm ")).collect();

    let exports = out.join("exports.map");
    write(&exports, &format!("{{ global: {}; local: *; }};\n", names.join("; ")))?;
    let roots = out.join("roots.txt");
    write(&roots, &names.iter().map(|name| format!("-Wl,-u,{name}\n")).collect::<String>())?;
    let library = out.join(LIBRARY);
    let with = |option: &str, path: &Path| {
        let mut text = OsString::from(option);
        text.push(path);
        text
    };
    output(
        Command::new("cc")
            .args(["-shared", "-s", "-fuse-ld=lld"])
            .args(rust_lld().map(|folder| with("-B", &folder)))
            .arg("-o")
            .arg(&library)
            .arg(with("@", &roots))
            .arg(with("-Wl,--version-script=", &exports))
            // Not all names are in all versions, or for this target.
            .args(["-Wl,--undefined-version", "-Wl,-z,defs", "-Wl,-Bsymbolic"])
            .args(["-Wl,--gc-sections", "-Wl,--icf=safe", "-Wl,-O1"])
            // Constructors side by side, and relative relocations in a few words each where the C library can read them.
            .args(["-Wl,-z,keep-text-section-prefix"])
            .args(packs_relocations().then_some("-Wl,-z,pack-relative-relocs"))
            .arg(with("-L", &prefix().join("lib")))
            .arg("-Wl,--start-group")
            .args(libraries.split_whitespace())
            .args(["-Wl,--end-group", cxx_library()])
            // There may be no packages for their development.
            .args(["-lm", "-l:libz.so.1", "-l:libzstd.so.1"]),
    )?;
    Ok(library)
}

/// Puts the library where programs find it. It is another file than one that a process may have loaded.
fn put(library: &Path, place: &Path) -> Result<(), String> {
    fs::hard_link(library, place)
        .or_else(|_| fs::copy(library, place).map(|_| ()))
        .map_err(|error| format!("{}: {error}", place.display()))
}

/// C++'s library: the static one, if it is installed, for there is less to look up in it.
fn cxx_library() -> &'static str {
    // What is not found is given back as it is.
    let found = output(Command::new("cc").arg("-print-file-name=libstdc++.a")).unwrap_or_default();
    if Path::new(found.trim()).is_absolute() { "-l:libstdc++.a" } else { "-l:libstdc++.so.6" }
}

/// The folder with Rust's own lld, under the name that C compilers look for.
fn rust_lld() -> Option<PathBuf> {
    let rustc = env::var_os("RUSTC")?;
    let root = output(Command::new(rustc).args(["--print", "sysroot"])).ok()?;
    let folder =
        Path::new(root.trim()).join("lib/rustlib").join(env::var("HOST").ok()?).join("bin/gcc-ld");
    folder.join("ld.lld").exists().then_some(folder)
}

/// Whether the C library is glibc 2.36 or newer.
fn packs_relocations() -> bool {
    let version = output(Command::new("getconf").arg("GNU_LIBC_VERSION")).unwrap_or_default();
    let mut numbers = version.trim().trim_start_matches("glibc ").split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return false };
    (major, minor) >= (2u32, 36u32)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// What a command prints, or what it complains of.
fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name}: {}", said.lines().find(|line| line.contains("error")).unwrap_or(&said)))
}
