//! What a program may have and take at most: reaching a limit gives the program the documented error, and the log the flag.

mod common;

use common::{Updraft, per_strategy, tier, wat_file};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use updraft::{
    Config, Engine, Error, LinkError, Linker, Module, Process, ProcessConfig, Stopped, TrapCode,
    WasiCtxBuilder,
};

/// A program with these functions of WASI; its exit code is what `$main` returns.
fn program(memory: &str, fields: &str) -> String {
    format!(
        r#"(module
      (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
      (import "env" "memory" (memory {memory} shared))
      {fields}
      (func (export "_start") (call $proc_exit (call $main))))"#
    )
}

const WAITING_THREAD: &str = r#"(func (export "wasi_thread_start") (param i32 i32)
  (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1))))"#;

fn memory_is_limited(strategy: &str) {
    // Both memories count: 2 pages and 1 are there at first, and 7 of 10 can be added, 3 at a time.
    let text = program(
        "2 100",
        r#"(memory $own 1 100)
        (func $main (result i32) (local $n i32)
          (loop $l
            (br_if $l (i32.ge_s (memory.grow (i32.const 3)) (i32.const 0))))
          (loop $l
            (br_if $l (i32.ge_s (memory.grow $own (i32.const 1)) (i32.const 0))))
          (i32.add (i32.mul (memory.size) (i32.const 16)) (memory.size $own)))"#,
    );
    let file = wat_file(&text);
    let run = Updraft::run(&tier(strategy, 0)).args(["--max-memory", "640K"]).arg(&file);
    run.end().expect(8 * 16 + 2).says(&["memory.grow refused", "--max-memory"]);
    // It cannot even begin.
    let engine = Engine::default();
    let module = Module::new(&engine, &text).unwrap();
    let few = |pages: u64| ProcessConfig { max_memory: Some(pages << 16), ..Default::default() };
    let error = Process::new(&Linker::new(&engine), &module, &few(1)).unwrap_err();
    assert!(matches!(&error, Error::Link(LinkError::Memory { .. })), "{error}");
    assert!(error.to_string().contains("--max-memory"), "{error}");
    let mut linker = Linker::new(&engine);
    updraft::add_wasi(&mut linker, WasiCtxBuilder::new().build().unwrap());
    let error = Process::new(&linker, &module, &few(2)).unwrap().run().unwrap_err();
    assert!(matches!(error, Error::Link(LinkError::Memory { .. })), "{error}");
}

fn table_elements_are_limited(strategy: &str) {
    // Of 22, 20 are taken at last; a thread's own table of 10 has no room.
    let fields = r#"(table $t 10 funcref)
        (func $main (result i32)
          (loop $l (br_if $l (i32.ge_s (table.grow $t (ref.null func) (i32.const 5)) (i32.const 0))))
          (i32.add (table.size $t) (i32.lt_s (call $spawn (i32.const 0)) (i32.const 0))))"#;
    let file = wat_file(&program("1 1", &format!("{fields} {WAITING_THREAD}")));
    let run = Updraft::run(&tier(strategy, 0)).args(["--max-table-elements", "22"]).arg(&file);
    let refused = "table.grow refused: over the program's --max-table-elements";
    run.end().expect(21).says(&[refused, "thread-spawn refused", "22 (--max-table-elements)"]);
}

fn instances_and_threads_are_limited(strategy: &str) {
    let fields = r#"(func $main (result i32) (local $n i32)
      (loop $l
        (if (i32.ge_s (call $spawn (i32.const 0)) (i32.const 0))
          (then (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $l))))
      (local.get $n))"#;
    let file = wat_file(&program("1 1", &format!("{fields} {WAITING_THREAD}")));
    for (flag, limit, threads) in [("--max-instances", "4", 3), ("--max-threads", "5", 5)] {
        let run = Updraft::run(&tier(strategy, 0)).args([flag, limit]).arg(&file);
        run.end().expect(threads).says(&["thread-spawn refused", limit, flag]);
    }
    let engine = Engine::default();
    let module = Module::new(&engine, "(module (func (export \"_start\")))").unwrap();
    let config = ProcessConfig { max_instances: Some(0), ..Default::default() };
    let error = Process::new(&Linker::new(&engine), &module, &config).unwrap().run().unwrap_err();
    assert!(matches!(error, Error::Limit(_)), "{error}");
}

/// Frames of the interpreter end at --value-stack, those of compiled code at --stack-size: a trap in either case.
fn stacks_are_limited(strategy: &str) {
    let file = wat_file(
        r#"(module
          (func $down (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
              (else (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))))
          (func (export "down") (param i32) (result i32) (call $down (local.get 0))))"#,
    );
    let run = |depth: &str| {
        let sizes = ["--stack-size", "512K", "--value-stack", "64K", "--invoke", "down"];
        Updraft::run(&tier(strategy, 0)).args(sizes).arg(&file).arg(depth).end()
    };
    assert_eq!(run("100").expect(0).stdout, b"100\n");
    run("10000000").trapped("call stack exhausted", "down").says(&["--stack-size"]);
}

/// A program's own limits of its stacks hold in its first thread and in others, whatever the engine gives.
fn stacks_of_a_program_are_limited(strategy: &str) {
    let engine =
        Engine::new(Config { strategy: tier(strategy, 0).parse().unwrap(), ..Config::default() });
    let text = program(
        "1 1",
        r#"(func $down (param i32) (result i32)
          (call $deeper)
          (i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (local.get 0)))
        (func (export "wasi_thread_start") (param i32 i32) (drop (call $down (i32.const 0))))
        (func $main (result i32)
          (if (call $in_child)
            (then
              (drop (call $spawn (i32.const 0)))
              (drop (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1)))))
          (call $down (i32.const 0)))"#,
    );
    let imports = r#"(import "host" "deeper" (func $deeper))
      (import "host" "in_child" (func $in_child (result i32)))
      (import "env""#;
    let module = Module::new(&engine, text.replacen(r#"(import "env""#, imports, 1)).unwrap();
    let depth = |in_child: bool, config: &ProcessConfig| {
        let depth = Arc::new(AtomicU32::new(0));
        let count = depth.clone();
        let mut linker = Linker::new(&engine);
        linker.func("host", "in_child", move |_, ()| Ok(i32::from(in_child)));
        linker.func("host", "deeper", move |_, ()| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        updraft::add_wasi(&mut linker, WasiCtxBuilder::new().build().unwrap());
        match Process::new(&linker, &module, config).unwrap().run() {
            Err(Error::Trap(trap)) => assert_eq!(trap.code, TrapCode::StackOverflow),
            result => panic!("{result:?}"),
        }
        depth.load(Ordering::Relaxed)
    };
    let least = ProcessConfig {
        value_stack: Some(64 << 10),
        native_stack: Some(512 << 10),
        ..Default::default()
    };
    for in_child in [true, false] {
        let [few, many] =
            [least.clone(), Default::default()].map(|config| depth(in_child, &config));
        assert!(few > 50 && few * 3 < many, "{few} and {many} calls");
    }
}

fn processor_time_is_limited(strategy: &str) {
    let spinning = r#"(func $spin (loop $l (br $l)))
        (func (export "wasi_thread_start") (param i32 i32) (call $spin))
        (func $main (result i32) (drop (call $spawn (i32.const 0))) (call $spin) (i32.const 0))"#;
    let text = program("1 1", spinning);
    let file = wat_file(&text);
    let run = Updraft::run(&tier(strategy, 0)).args(["--max-cpu", "0.1"]).arg(&file);
    run.end().expect(152).says(&["0.1 s of processor time (--max-cpu)"]);
    // Start functions count.
    let engine =
        Engine::new(Config { strategy: tier(strategy, 0).parse().unwrap(), ..Config::default() });
    let start = "(module (func $f (loop $l (br $l))) (start $f) (func (export \"_start\")))";
    let module = Module::new(&engine, start).unwrap();
    let most = Duration::from_millis(30);
    let config = ProcessConfig { max_cpu: Some(most), ..Default::default() };
    let result = Process::new(&Linker::new(&engine), &module, &config).unwrap().run();
    assert!(matches!(result, Err(Error::Stopped(Stopped::CpuTime))), "{result:?}");
}

per_strategy!(
    memory_is_limited,
    table_elements_are_limited,
    instances_and_threads_are_limited,
    stacks_are_limited,
    stacks_of_a_program_are_limited,
    processor_time_is_limited,
);

/// Waiting takes none: threads that only wait are ended by the timeout, and not by a limit that is shorter.
#[test]
fn waiting_takes_no_processor_time() {
    let fields = r#"(func $main (result i32)
      (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1)))"#;
    let file = wat_file(&program("1 1", fields));
    let run = Updraft::run("interp").args(["--max-cpu", "0.4", "--timeout", "0.5"]).arg(&file);
    run.end().expect(124);
}
