//! The host starts threads of a program: workers that it calls itself, and threads as the program's own `thread-spawn` starts them.
//!
//!     cargo run --example spawn_from_host

use updraft::{Engine, Error, Exit, Linker, Module, Process, ProcessConfig, Stopped};

/// Counts primes of a range into a cell of the shared memory. `main` waits until so many have been found.
const PROGRAM: &str = r#"(module
  (import "env" "memory" (memory 1 1 shared))
  (func $is_prime (param $n i32) (result i32) (local $d i32)
    (if (i32.lt_u (local.get $n) (i32.const 2)) (then (return (i32.const 0))))
    (local.set $d (i32.const 2))
    (loop $next
      (if (i32.gt_u (i32.mul (local.get $d) (local.get $d)) (local.get $n)) (then (return (i32.const 1))))
      (if (i32.eqz (i32.rem_u (local.get $n) (local.get $d))) (then (return (i32.const 0))))
      (local.set $d (i32.add (local.get $d) (i32.const 1)))
      (br $next))
    unreachable)
  (func $count (export "count") (param $from i32) (param $to i32) (result i32) (local $primes i32)
    (loop $next
      (if (i32.lt_u (local.get $from) (local.get $to)) (then
        (local.set $primes (i32.add (local.get $primes) (call $is_prime (local.get $from))))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (br $next))))
    (drop (i32.atomic.rmw.add (i32.const 0) (local.get $primes)))
    (drop (memory.atomic.notify (i32.const 0) (i32.const -1)))
    (local.get $primes))
  (func (export "wasi_thread_start") (param $id i32) (param $argument i32)
    (drop (call $count (i32.const 0) (local.get $argument))))
  (func (export "wait_for") (param $primes i32) (result i32) (local $now i32)
    (loop $again
      (local.set $now (i32.atomic.load (i32.const 0)))
      (if (i32.lt_u (local.get $now) (local.get $primes)) (then
        (drop (memory.atomic.wait32 (i32.const 0) (local.get $now) (i64.const -1)))
        (br $again))))
    (local.get $now))
  (func (export "fail") unreachable))"#;

pub fn main() -> Result<(), Error> {
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM)?;
    let linker = Linker::new(&engine);

    // Four workers, each with an instance of its own; the host gets their results.
    let process = Process::new(&linker, &module, &ProcessConfig::default())?;
    let spawner = process.spawner();
    let primes = process.run_entry("wait_for", |store, wait_for| {
        let worker = |i: i32| {
            spawner.spawn_with(move |store, instance| {
                let count = instance.typed::<(i32, i32), i32>(store, "count")?;
                count.call(store, (i * 10_000, (i + 1) * 10_000))
            })
        };
        let workers = (0..4).map(worker).collect::<Result<Vec<_>, _>>()?;
        let mut sum = 0;
        for worker in workers {
            sum += worker.join()?;
        }
        // They all worked on the program's memory.
        assert_eq!(wait_for.typed::<i32, i32>(store)?.call(store, sum)?, sum);
        Ok(sum)
    })?;
    println!("{primes} primes below 40000");
    assert_eq!(primes, 4203);

    // A thread as the program would start it, here before the program runs: wasi_thread_start(id, 1000).
    let process = Process::new(&linker, &module, &ProcessConfig::default())?;
    let id = process.spawner().spawn(1000)?;
    let primes = process.run_entry("wait_for", |store, wait_for| {
        wait_for.typed::<i32, i32>(store)?.call(store, 168)
    })?;
    println!("thread {id} found {primes} primes below 1000");
    assert_eq!(primes, 168);

    // A trap in a worker ends the program, whose first thread would wait for ever.
    let process = Process::new(&linker, &module, &ProcessConfig::default())?;
    let spawner = process.spawner();
    let result = process.run_entry("wait_for", |store, wait_for| {
        let worker = spawner.spawn_with(|store, instance| {
            instance.typed::<(), ()>(store, "fail")?.call(store, ())
        })?;
        let waited = wait_for.typed::<i32, i32>(store)?.call(store, 1);
        assert!(matches!(waited, Err(Error::Stopped(Stopped::ByGroup))));
        assert!(matches!(worker.join(), Err(Error::Stopped(_))));
        waited
    });
    match Exit::of(result)? {
        Exit::Trap(trap) => println!("a worker failed: {trap}"),
        exit => panic!("{exit}"),
    }
    assert!(matches!(spawner.spawn(1), Err(Error::Spawn(_))), "there is no program any more");
    Ok(())
}
