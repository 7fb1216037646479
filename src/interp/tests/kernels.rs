//! The benchmark programs, run small.

use super::host::{Host, Program};

fn run(name: &str, amount: u64) -> u64 {
    let path = format!("{}/benches/kernels/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    let program = Program::new(std::fs::read(path).unwrap());
    let host = Host::new(&program);
    host.call("run", &[amount]).unwrap()
}

#[test]
fn kernels_compute_what_other_engines_do() {
    assert_eq!(run("fib", 20), 6765);
    assert_eq!(run("sieve", 1), 82025);
    assert_eq!(run("nbody", 1000) as i64, -169_087_605);
}
