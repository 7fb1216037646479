//! The start of the command: hello world, cold.
//!
//! Measures: processor time (user and system) of the whole process `updraft run hello.wasm`, from the kernel's accounts; the
//! module prints one line. Unit: time per process. Baseline: the same for `/bin/true`, which is what any process costs, and for other
//! engines that are on the PATH (wasmi, wasmtime, node).

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const HELLO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\08\00\00\00\0d\00\00\00hello, world\n")
  (func (export "_start")
    (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)) (then unreachable))))"#;

/// What node wants to run a program of WASI.
const NODE: &str = "const { WASI } = require('node:wasi');
const wasi = new WASI({ version: 'preview1' });
const module = new WebAssembly.Module(require('node:fs').readFileSync(process.argv[1]));
wasi.start(new WebAssembly.Instance(module, wasi.getImportObject()));";

/// Processor time of a command that must succeed.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it, and tells its resource usage")]
fn processor_time(command: &mut Command) -> Duration {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
    let pid = child.id() as libc::pid_t;
    let mut status = 0;
    // SAFETY: all zeros are a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointers are to locals; the child is ours and nobody else waits for it.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(waited, pid);
    assert_eq!(status, 0, "{command:?} fails");
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, 1000 * t.tv_usec as u32);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The engines to compare: a name, and the command that runs hello.
fn commands(hello: &Path) -> Vec<(&'static str, Command)> {
    let command = |program: &Path, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).arg(hello);
        command
    };
    let mut all = vec![
        ("updraft", command(Path::new(env!("CARGO_BIN_EXE_updraft")), &["run"])),
        ("true", command(Path::new("/bin/true"), &[])),
    ];
    let others: [(&str, &[&str]); 3] =
        [("wasmi", &[]), ("wasmtime", &["run"]), ("node", &["--no-warnings", "-e", NODE, "--"])];
    for (name, args) in others {
        if let Some(program) = on_path(name) {
            all.push((name, command(&program, args)));
        }
    }
    all
}

fn startup(c: &mut Criterion) {
    let hello = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hello.wasm");
    std::fs::write(&hello, wat::parse_str(HELLO).expect("the text is valid")).expect("a file");
    let mut group = c.benchmark_group("startup");
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for (name, mut command) in commands(&hello) {
        group.bench_function(format!("hello/{name}"), |b| {
            b.iter_custom(|iters| (0..iters).map(|_| processor_time(&mut command)).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, startup);
criterion_main!(benches);
