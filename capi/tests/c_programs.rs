//! Programs in C against the headers and the library, built with the system's `cc`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The folder of the library. Cargo builds no C library for tests, so this does, with their profile and into their folder.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // TARGET/PROFILE/deps/TEST
    let folder = test.ancestors().nth(2).unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--lib", "--manifest-path"]).arg(in_crate("Cargo.toml"));
    build.arg("--target-dir").arg(folder.parent().unwrap());
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if !cfg!(feature = "llvm") {
        build.arg("--no-default-features");
    }
    assert!(build.status().unwrap().success(), "the library cannot be built");
    folder.to_owned()
}

/// Compiles a program with every warning, links it, and runs it.
fn run(source: &str, flags: &[&str], args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    let library = library();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let compiled = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Werror", "-g"])
        .args(flags)
        .arg("-I")
        .arg(in_crate("include"))
        .arg(in_crate(source))
        .arg("-L")
        .arg(&library)
        .arg(format!("-Wl,-rpath,{}", library.display()))
        .args(["-lupdraft", "-lpthread", "-o"])
        .arg(&program)
        .output()
        .expect("a C compiler is installed");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let mut program = Command::new(program);
    if let Ok(tool) = std::env::var("UPDRAFT_CAPI_UNDER") {
        // For instance `valgrind -q --error-exitcode=9`.
        let path = program.get_program().to_owned();
        let mut words = tool.split(' ');
        program = Command::new(words.next().unwrap());
        program.args(words).arg(path);
    }
    program.args(args).output().unwrap()
}

#[track_caller]
fn prints(source: &str, args: &[&str], expected: &str) {
    let output = run(source, &["-std=c11", "-D_GNU_SOURCE"], args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    // Which thread is the first to trap is open.
    let text = String::from_utf8_lossy(&output.stdout).replace("in thread 2", "in thread 1");
    assert_eq!(text, expected, "{stderr}");
}

#[test]
fn hello() {
    prints("examples/hello.c", &[], "hello from wasm: 42\n");
}

#[test]
fn callback() {
    let expected = "log: a text\nresult: 12\ntrap: the text is not within the memory\ncalls: 2\n";
    prints("examples/callback.c", &[], expected);
}

#[test]
fn threads() {
    let program = in_crate("../examples/threads/mergesort.wasm");
    let expected = "sorted 10000 elements with 2 threads, checksum ad98d5984dd82e98\n\
                    program: exited, code 0\n\
                    traps: trapped, code 0, trap: unreachable in thread 1\n\
                    again: failed, code 0, a process runs once\n\
                    first to end it: 1\n\
                    waits: terminated, code 0, the program was terminated\n\
                    late: timed out, code 0, the program ran longer than its timeout allows\n";
    prints("examples/threads.c", &[program.to_str().unwrap(), "10000", "2"], expected);
}

/// Everything else of the interface, checked in C.
#[test]
fn interface() {
    prints("tests/interface.c", &[], "ok\n");
}

/// The headers are C++ as well, where there is a compiler for it.
#[test]
fn headers_in_cpp() {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let probe = ["-x", "c++", "-std=c++17", "-fsyntax-only", "/dev/null"];
    if !Command::new(compiler).args(probe).output().unwrap().status.success() {
        return;
    }
    let output = run("tests/headers.cpp", &["-x", "c++", "-std=c++17"], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
