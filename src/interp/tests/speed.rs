//! How long the benchmark programs take: `cargo test --release --lib interp::tests::speed -- --ignored --nocapture`.

use super::host::{Host, Program};
use std::time::Instant;

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
        let start = Instant::now();
        let result = host.call("run", &[amount.parse().unwrap()]).unwrap();
        println!("{name:8} {:8.1} ms  {}", start.elapsed().as_secs_f64() * 1e3, result as i64);
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
