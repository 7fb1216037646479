//! How long the benchmark programs take: `cargo test --release --lib interp::tests::speed -- --ignored --nocapture`.

use super::host::{Host, Program};
use crate::interp::InterpCode;

/// Programs and amounts of work; the environment may name others as `name=amount,...`.
const WORK: &str = "fib=32,sieve=6,matmul=10,nbody=200000,sha256=3000,saxpy=300";

#[test]
#[ignore = "takes time, shows times"]
fn kernels() {
    let work = std::env::var("UPDRAFT_KERNELS").unwrap_or_else(|_| WORK.into());
    for item in work.split(',') {
        let (name, amount) = item.split_once('=').expect("name=amount");
        let path = format!("{}/benches/kernels/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        let program = Program::new(std::fs::read(path).unwrap());
        let mut host = Host::new(&program);
        host.spend = Box::new(|_, _, _| crate::interp::outside::Budget::Continue);
        let start = cpu_time();
        let result = host.call("run", &[amount.parse().unwrap()]).unwrap();
        println!("{name:8} {:8.1} ms  {}", (cpu_time() - start) * 1e3, result as i64);
    }
}

/// Prints the bytecode of `UPDRAFT_PRINT`, as `path=function,...`.
#[test]
#[ignore = "shows bytecode"]
fn print() {
    for item in std::env::var("UPDRAFT_PRINT").unwrap_or_default().split(',') {
        let (path, func) = item.split_once('=').expect("path=function");
        let program = Program::new(std::fs::read(path).unwrap());
        let func = func.parse().unwrap_or_else(|_| program.func(func));
        println!("{}", program.code.print(&program.env, &program.bytes, func).unwrap());
    }
}

/// Seconds of processor time of this thread.
fn cpu_time() -> f64 {
    // SAFETY: the structure is plain data, and the call writes it.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    }
}

/// Translates all functions of `UPDRAFT_TRANSLATE`, a path.
#[test]
#[ignore = "takes time, shows times"]
fn translate() {
    let path = std::env::var("UPDRAFT_TRANSLATE").expect("a path");
    let program = Program::new(std::fs::read(path).unwrap());
    let env = &program.env;
    let bytes: usize = env.bodies.iter().map(std::iter::ExactSizeIterator::len).sum();
    let translate = |code: &InterpCode| {
        for func in env.imported_functions..env.functions.len() as u32 {
            if let Err(error) = code.translate(env, &program.bytes, func) {
                println!("{func}: {error}");
            }
        }
    };
    translate(&program.code);
    let start = cpu_time();
    for _ in 0..4 {
        translate(&InterpCode::new(env));
    }
    let time = (cpu_time() - start) / 4.0;
    let code = program.code.bytecode_bytes();
    println!(
        "{} functions, {:.1} MB in {:.0} ms: {:.1} MB/s; {:.2} bytes of bytecode per byte",
        env.bodies.len(),
        bytes as f64 / 1e6,
        time * 1e3,
        bytes as f64 / 1e6 / time,
        code as f64 / bytes as f64
    );
}
