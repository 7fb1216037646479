//! Calls in both directions: the host calls an exported function, which calls a function of the host.
//!
//!     cargo run --example embed

use updraft::{Engine, Error, Linker, Module, Store};

/// Sums `weight(0) + ... + weight(n - 1)`; what an item weighs, the host knows. `half` is a part of its interface that can fail.
const PROGRAM: &str = r#"(module
  (import "host" "weight" (func $weight (param i32) (result i64)))
  (func (export "total") (param $n i32) (result i64) (local $i i32) (local $sum i64)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $sum (i64.add (local.get $sum) (call $weight (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $sum)))"#;

/// An error of the host. It passes through the program unharmed.
#[derive(Debug, thiserror::Error)]
#[error("item {0} was never weighed")]
struct NeverWeighed(u32);

pub fn main() -> Result<(), Error> {
    // An engine holds the compile threads, a module the code: both serve any number of instances.
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM)?;

    // The linker says what the imports are. Rust types give the function its WebAssembly type.
    let mut linker = Linker::new(&engine);
    linker.func("host", "weight", |_caller, item: u32| match item {
        0..100 => Ok(i64::from(item) * 3),
        _ => Err(Error::host(NeverWeighed(item))),
    });

    // A store owns what one thread runs.
    let mut store = Store::new(&engine)?;
    let instance = linker.instantiate(&mut store, &module)?;
    let total = instance.typed::<u32, i64>(&mut store, "total")?;

    let sum = total.call(&mut store, 100)?;
    println!("100 items weigh {sum}");
    assert_eq!(sum, 3 * 99 * 100 / 2);

    // The host's own error comes back as what it was, and the store can be used again.
    match total.call(&mut store, 101) {
        Err(Error::Host(cause)) => {
            println!("101 items: {}", cause.downcast_ref::<NeverWeighed>().expect("ours"))
        }
        other => panic!("expected the host's error, got {other:?}"),
    }
    println!("2 items weigh {}", total.call(&mut store, 2)?);
    Ok(())
}
