//! `--perf` and `--gdb`: other tools see compiled functions.
#![cfg(feature = "llvm")]

mod common;

use common::{Running, Updraft, wat_file};
use std::path::Path;
use std::process::Command;

/// `inner` says that it runs, and runs on.
const ENDLESS: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "\18\00\00\00\06\00\00\00")
  (data (i32.const 24) "ready\n")
  (func $inner (param i32) (result i32)
    (loop $again
      (if (i32.eqz (local.get 0))
        (then (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))))
      (local.set 0 (i32.const 1))
      (br $again))
    (local.get 0))
  (func (export "_start")
    (drop (call $inner (i32.const 0)))))"#;

/// Starts the program, with full code and its other arguments; `inner` runs when this returns.
fn start(args: &[&str], program: &Path, folder: &Path) -> Running {
    let mut run = Updraft::run("full").in_folder(folder);
    run = run.args(args).arg(program);
    let mut running = run.start();
    running.wait_for_output("ready");
    running
}

/// The program counters of all threads of a process.
fn program_counters(pid: u32) -> Vec<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    tasks
        .flatten()
        .filter_map(|task| {
            let thread: i32 = task.file_name().to_str()?.parse().ok()?;
            counter_of(thread)
        })
        .collect()
}

/// The program counter of a thread, which is stopped for that.
fn counter_of(thread: i32) -> Option<u64> {
    // SAFETY: attaches to a thread of our child, reads its registers, and lets it go.
    unsafe {
        let null = std::ptr::null_mut::<libc::c_void>();
        if libc::ptrace(libc::PTRACE_SEIZE, thread, null, null) != 0 {
            return None;
        }
        libc::ptrace(libc::PTRACE_INTERRUPT, thread, null, null);
        let mut status = 0;
        libc::waitpid(thread, &raw mut status, libc::__WALL);
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        let read = libc::ptrace(libc::PTRACE_GETREGS, thread, null, &raw mut registers);
        libc::ptrace(libc::PTRACE_DETACH, thread, null, null);
        (read == 0).then_some(registers.rip)
    }
}

/// Lines of a perf map: start, size and name.
fn map(text: &str) -> Vec<(u64, u64, &str)> {
    let hex = |text| u64::from_str_radix(text, 16).expect("a number");
    text.lines()
        .map(|line| {
            let parts: Vec<&str> = line.splitn(3, ' ').collect();
            (hex(parts[0]), hex(parts[1]), parts[2])
        })
        .collect()
}

#[test]
fn the_map_names_the_code_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let program = wat_file(ENDLESS);
    let running = start(&["--perf", "map"], &program, folder.path());
    let path = format!("/tmp/perf-{}.map", running.pid());
    let text = std::fs::read_to_string(&path).expect("the map is there");
    let map = map(&text);
    assert!(map.iter().any(|entry| entry.2 == "_start [full]"), "{text}");
    // `inner` never returns, and leaves its loop only for what the first turn calls.
    if program_counters(running.pid()).is_empty() {
        eprintln!("ptrace is not permitted here: not tested");
        running.kill();
        return;
    }
    let found = (0..10_000).find_map(|_| {
        let counters = program_counters(running.pid());
        let at = |pc: &u64| map.iter().find(|(start, size, _)| (*start..start + size).contains(pc));
        counters.iter().find_map(at).copied()
    });
    let (_, _, name) = found.expect("a thread is in compiled code");
    assert_eq!(name, "inner [full]");
    running.kill();
    std::fs::remove_file(path).unwrap();
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn text_at(bytes: &[u8], at: usize) -> &str {
    let end = bytes[at..].iter().position(|byte| *byte == 0).expect("the text ends") + at;
    std::str::from_utf8(&bytes[at..end]).expect("it is text")
}

/// Every record is whole, and code comes with its bytes and lines.
#[test]
fn a_jitdump_has_code_and_lines() {
    let folder = tempfile::tempdir().unwrap();
    let program = wat_file(ENDLESS);
    let running = start(&["--perf", "jitdump"], &program, folder.path());
    let path = folder.path().join(format!("jit-{}.dump", running.pid()));
    let bytes = std::fs::read(path).expect("the dump is there");
    assert_eq!((u32_at(&bytes, 0), u32_at(&bytes, 4)), (0x4a69_5444, 1));
    assert_eq!((u32_at(&bytes, 12), u32_at(&bytes, 20)), (62, running.pid()));
    let mut at = u32_at(&bytes, 8) as usize;
    let (mut last, mut lines, mut names) = (0, Vec::new(), Vec::new());
    while at < bytes.len() {
        let (kind, size, time) =
            (u32_at(&bytes, at), u32_at(&bytes, at + 4) as usize, u64_at(&bytes, at + 8));
        assert!(time >= last && at + size <= bytes.len());
        last = time;
        let body = &bytes[at + 16..at + size];
        match kind {
            2 => {
                let (address, count) = (u64_at(body, 0), u64_at(body, 8));
                let mut entry = 16;
                for _ in 0..count {
                    assert!(u64_at(body, entry) >= address);
                    assert!(text_at(body, entry + 16).ends_with(".wat"));
                    lines.push(u32_at(body, entry + 8));
                    entry += 16 + text_at(body, entry + 16).len() + 1;
                }
                assert_eq!(entry, body.len());
            }
            0 => {
                let name = text_at(body, 40);
                let size = u64_at(body, 24) as usize;
                assert_eq!(body.len(), 40 + name.len() + 1 + size, "{name}");
                assert!(u64_at(body, 16) != 0 && size != 0);
                names.push(name.to_owned());
            }
            other => panic!("a record of kind {other}"),
        }
        at += size;
    }
    assert!(names.iter().any(|name| name == "inner [full]"), "{names:?}");
    assert!(names.iter().any(|name| name == "_start [full]"), "{names:?}");
    // What `inner` calls in its loop.
    assert!(lines.contains(&9), "{lines:?}");
    running.kill();
}

#[test]
fn gdb_shows_compiled_frames() {
    if Command::new("gdb").arg("--version").output().is_err() {
        eprintln!("gdb is not installed (scripts/setup --tests): not tested");
        return;
    }
    let program = wat_file(
        r#"(module
  (memory 1)
  (func $inner (param i32) (result i32)
    (i32.load (local.get 0)))
  (func $outer (param i32) (result i32)
    (i32.add
      (call $inner (local.get 0))
      (i32.const 1)))
  (func (export "_start")
    (drop (call $outer (i32.const 1000000)))))"#,
    );
    for tier in ["quick", "full"] {
        let output = Command::new("gdb")
            .args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "run", "-ex", "bt"])
            .args(["-ex", "info symbol $pc", "--args", env!("CARGO_BIN_EXE_updraft")])
            .args(["run", "--gdb", "--tier", tier])
            .arg(&*program)
            .output()
            .expect("gdb runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = || format!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("SIGSEGV"), "{}", all());
        let frames: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        // First calls go through the runtime, which compiles what is called.
        let wanted = [("inner", 4), ("outer", 7), ("_start", 10)];
        let ours: Vec<&&str> = frames.iter().filter(|f| f.contains(&format!("[{tier}]"))).collect();
        assert_eq!(ours.len(), wanted.len(), "{}", all());
        for (frame, (name, line)) in ours.iter().zip(wanted) {
            assert!(frame.contains(&format!(" {name} [{tier}]")), "{}", all());
            assert!(frame.trim_end().ends_with(&format!(".wat:{line}")), "{frame}\n{}", all());
        }
        assert!(ours[0].starts_with("#0 "), "{}", all());
        // And through the stub, to the runtime and the start of the thread.
        let whole = frames.iter().any(|frame| frame.contains("[stub]"))
            && frames.iter().any(|frame| frame.contains("enter_native"));
        assert!(whole, "{}", all());
    }
}
