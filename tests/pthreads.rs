//! WAMR's pthread library (`--pthreads wamr`): programs built against it, wrong uses, and ends while threads block in it.
//!
//! The programs' sources are in `tests/pthread/`; each checks itself, and says `ok`.

mod common;

use common::{Updraft, per_strategy, repository, runs, tier, wat_file};
use updraft::{
    Config, Engine, Error, Linker, Module, Process, ProcessConfig, Pthreads, Stopped,
    WasiCtxBuilder,
};

fn wamr(tier: &str) -> Updraft {
    Updraft::run(tier).args(["--pthreads", "wamr"])
}

fn checks_itself(program: &str, strategy: &str) {
    for run in 0..runs(3) {
        let file = repository(&format!("tests/pthread/{program}.wasm"));
        let ended = wamr(&tier(strategy, run)).arg(file).end();
        assert_eq!((ended.code(), ended.text()), (0, "ok\n"), "{program}\n{ended}");
    }
}

macro_rules! programs {
    ($($name:ident),*) => {
        $(fn $name(strategy: &str) {
            checks_itself(stringify!($name), strategy);
        })*
        per_strategy!($($name),*);
    };
}
programs!(threads, sync, semaphores, keys, cancel, heap);

/// Functions of the library that block, by their number in `blocked.c`.
const BLOCKING: [&str; 5] = ["join", "mutex_lock", "cond_wait", "cond_timedwait", "sem_wait"];

fn blocked(strategy: &str, function: usize, ending: usize, first: usize) -> Updraft {
    let file = repository("tests/pthread/blocked.wasm");
    let numbers = [function, ending, first].map(|number| number.to_string());
    let run = wamr(&tier(strategy, function)).args(["--invoke", "blocked"]);
    // Options go before the file.
    let run = if ending == 2 { run.args(["--timeout", "0.05"]) } else { run };
    run.arg(file).args(numbers)
}

fn ends_while_blocked(strategy: &str) {
    for function in 0..BLOCKING.len() {
        for first in [0, 1] {
            blocked(strategy, function, 0, first).end().trapped("unreachable", "end");
            blocked(strategy, function, 1, first).end().expect(7);
            blocked(strategy, function, 2, first).end().expect(124).says(&["--timeout"]);
        }
    }
}

per_strategy!(ends_while_blocked);

/// A program that creates a thread of the function at `$start`, and exits with what `pthread_create` returned, plus 10. The thread
/// sets the word at 8 to its argument.
fn creates(parts: &str) -> String {
    format!(
        r#"(module
          (import "env" "pthread_create" (func $create (param i32 i32 i32 i32) (result i32)))
          (import "env" "pthread_join" (func $join (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (global $sp (mut i32) (i32.const 65536))
          (func $thread (param i32) (result i32) (i32.store (i32.const 8) (local.get 0)) (i32.const 5))
          (func $other (param i64) (result i32) (i32.const 0))
          {parts}
          (func (export "_start") (local $result i32)
            (local.set $result (call $create (i32.const 0) (i32.const 0) (call $start) (i32.const 77)))
            (call $exit (i32.add (local.get $result) (i32.const 10)))))"#
    )
}

const STACK: &str = r#"(global (export "__data_end") i32 (i32.const 1024))
    (global (export "__heap_base") i32 (i32.const 65536))"#;
const MEMORY: &str = "(memory 1 1 shared)";
const TABLE: &str = "(table 4 funcref) (elem (i32.const 1) $thread $other)";

fn start(index: u32) -> String {
    format!("(func $start (result i32) (i32.const {index}))")
}

/// The call fails, and the log says why.
#[track_caller]
fn refused(strategy: &str, parts: &[&str], cause: &str) {
    let file = wat_file(&creates(&parts.join("\n")));
    wamr(strategy).arg(&file).end().expect(9).says(&["pthread_create refused", cause]);
}

fn wrong_functions_are_refused(strategy: &str) {
    let with =
        |parts: &[&str], cause| refused(strategy, &[&[STACK, MEMORY], parts].concat(), cause);
    with(&[&start(0)], "the module has no table");
    with(&[TABLE, &start(0)], "function pointer 0 is null");
    with(&[TABLE, &start(4)], "function pointer 4 is outside of a table of 4 elements");
    with(&[TABLE, &start(u32::MAX)], "is outside of a table of 4 elements");
    with(&[TABLE, &start(2)], "(other) must have type [i32] -> [i32], but has type [i64] -> [i32]");
    with(&["(table 4 externref)", &start(0)], "table 0 holds externref");
    let imported = r#"(table (export "t") 4 funcref) (elem (i32.const 0) $exit)"#;
    with(&[imported, &start(0)], "must have type [i32] -> [i32], but has type [i32] -> []");
}

fn modules_whose_threads_cannot_share_are_refused(strategy: &str) {
    let start = start(1);
    refused(strategy, &[STACK, TABLE, &start, "(memory 1 1)"], "memory is not shared");
    refused(strategy, &[MEMORY, TABLE, &start], "--export=__heap_base");
    let small = r#"(global (export "__data_end") i32 (i32.const 65000))
        (global (export "__heap_base") i32 (i32.const 65536))"#;
    refused(strategy, &[small, MEMORY, TABLE, &start], "-z stack-size");
    let no_pointer = r#"(global (export "__data_end") i32 (i32.const 16))
        (global (export "__heap_base") i32 (i32.const 32))"#;
    refused(strategy, &[no_pointer, MEMORY, TABLE, &start], "__stack_pointer");
}

per_strategy!(wrong_functions_are_refused, modules_whose_threads_cannot_share_are_refused);

#[test]
fn no_thread_at_all_may_be_wanted() {
    let file = wat_file(&creates(&[STACK, MEMORY, TABLE, &start(1)].join("\n")));
    wamr("interp")
        .args(["--max-threads", "0"])
        .arg(&file)
        .end()
        .expect(9)
        .says(&["all 0 shares", "--max-threads"]);
    wamr("interp").args(["--max-threads", "255"]).arg(&file).end().expect(9).says(&["256 threads"]);
    wamr("interp").args(["--max-threads", "4294967295"]).arg(&file).end().expect(9);
    wamr("interp").arg(&file).end().expect(10);
}

/// Threads share a memory that the module imports or defines, whoever sees its table, and their instances do not write its data again.
fn memories_are_shared_and_initialised_once(strategy: &str) {
    for memory in [MEMORY, r#"(memory (export "memory") 1 2 shared)"#] {
        for table in ["(table 4 funcref)", r#"(table (export "t") 4 funcref)"#] {
            let text = format!(
                r#"(module
                  (import "env" "pthread_create" (func $create (param i32 i32 i32 i32) (result i32)))
                  (import "env" "pthread_join" (func $join (param i32 i32) (result i32)))
                  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                  {STACK} {memory} {table}
                  (global $sp (mut i32) (i32.const 65536))
                  (global $own (mut i32) (i32.const 1))
                  (elem (i32.const 1) $thread)
                  (data (i32.const 100) "abcd")
                  (func $thread (param i32) (result i32)
                    (global.set $own (i32.const 2))
                    ;; Its share is the second of five, of 12896 bytes each.
                    (if (i32.ne (global.get $sp) (i32.const 52640)) (then (unreachable)))
                    (i32.add (i32.load8_u (i32.const 100)) (local.get 0)))
                  (func (export "_start")
                    (i32.store8 (i32.const 100) (i32.const 33))
                    (if (call $create (i32.const 200) (i32.const 0) (i32.const 1) (i32.const 9)) (then (unreachable)))
                    (if (call $join (i32.load (i32.const 200)) (i32.const 204)) (then (unreachable)))
                    (if (i32.ne (global.get $own) (i32.const 1)) (then (unreachable)))
                    (call $exit (i32.load (i32.const 204)))))"#
            );
            let file = wat_file(&text);
            wamr(strategy).arg(&file).end().expect(42);
        }
    }
}

fn a_module_may_import_its_memory(strategy: &str) {
    let text = creates(&[STACK, TABLE, &start(1)].join("\n")).replacen(
        "(global $sp",
        r#"(import "env" "memory" (memory 1 2 shared)) (global $sp"#,
        1,
    );
    let file = wat_file(&text);
    wamr(strategy).arg(&file).end().expect(10);
}

/// Addresses outside of the memory trap, as in WAMR, in every function that takes one.
fn addresses_are_checked(strategy: &str) {
    let calls = [
        ("pthread_create", "(param i32 i32 i32 i32) (result i32)", "A 0 1 0"),
        ("pthread_mutex_init", "(param i32 i32) (result i32)", "A 0"),
        ("pthread_mutex_lock", "(param i32) (result i32)", "A"),
        ("pthread_mutex_unlock", "(param i32) (result i32)", "A"),
        ("pthread_mutex_destroy", "(param i32) (result i32)", "A"),
        ("pthread_cond_init", "(param i32 i32) (result i32)", "A 0"),
        ("pthread_cond_wait", "(param i32 i32) (result i32)", "A 0"),
        ("pthread_cond_wait", "(param i32 i32) (result i32)", "0 A"),
        ("pthread_cond_timedwait", "(param i32 i32 i32) (result i32)", "0 A 0"),
        ("pthread_cond_signal", "(param i32) (result i32)", "A"),
        ("pthread_cond_broadcast", "(param i32) (result i32)", "A"),
        ("pthread_cond_destroy", "(param i32) (result i32)", "A"),
        ("pthread_key_create", "(param i32 i32) (result i32)", "A 0"),
        ("posix_memalign", "(param i32 i32 i32) (result i32)", "A 16 16"),
        ("sem_open", "(param i32 i32 i32 i32) (result i32)", "A 64 0 0"),
        ("sem_getvalue", "(param i32 i32) (result i32)", "0 A"),
        ("sem_unlink", "(param i32) (result i32)", "A"),
    ];
    for (name, ty, arguments) in calls {
        for address in ["65533", "65536", "-1"] {
            // A name may begin in the last bytes; it does not end there.
            let arguments: String = arguments
                .split(' ')
                .map(|value| format!("(i32.const {})", if value == "A" { address } else { value }))
                .collect();
            let text = format!(
                r#"(module (import "env" "{name}" (func $f {ty})) {STACK} {MEMORY} {TABLE}
                  (global $sp (mut i32) (i32.const 65536))
                  (data (i32.const 65533) "xyz")
                  (func $thread) (func $other)
                  (func $run (export "_start") (drop (call $f {arguments}))))"#
            );
            let file = wat_file(&text);
            wamr(strategy).arg(&file).end().trapped("out of bounds memory access", "run");
        }
    }
    // This one answers with an error, as in WAMR.
    let text = format!(
        r#"(module (import "env" "pthread_join" (func $f (param i32 i32) (result i32))) {MEMORY}
          (func (export "run") (result i32) (call $f (i32.const 1) (i32.const 65533))))"#
    );
    let file = wat_file(&text);
    let ended = wamr(strategy).args(["--invoke", "run"]).arg(&file).end().expect(0);
    assert_eq!(ended.text(), "-1\n");
}

per_strategy!(
    memories_are_shared_and_initialised_once,
    a_module_may_import_its_memory,
    addresses_are_checked
);

/// `posix_memalign` takes from the program's own allocator, where it has one.
fn the_programs_own_malloc_is_used(strategy: &str) {
    let text = r#"(module
      (import "env" "posix_memalign" (func $f (param i32 i32 i32) (result i32)))
      (memory 1 2 shared)
      (global $freed (mut i32) (i32.const 0))
      (func (export "malloc") (param i32) (result i32) (i32.const 1040))
      (func (export "free") (param i32) (global.set $freed (local.get 0)))
      (func (export "_start")
        (if (call $f (i32.const 8) (i32.const 16) (i32.const 40)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 8)) (i32.const 1040)) (then (unreachable)))
        (if (global.get $freed) (then (unreachable)))
        ;; No block of this alignment: it is given back.
        (if (i32.ne (call $f (i32.const 8) (i32.const 32) (i32.const 40)) (i32.const 12)) (then (unreachable)))
        (if (i32.ne (global.get $freed) (i32.const 1040)) (then (unreachable)))))"#;
    let file = wat_file(text);
    wamr(strategy).arg(&file).end().expect(0);
}

per_strategy!(the_programs_own_malloc_is_used);

/// Without the flag the error names it; with it, other names of `env` are still errors.
#[test]
fn the_link_error_names_the_flag() {
    let file = repository("tests/pthread/sync.wasm");
    Updraft::run("interp")
        .arg(&file)
        .end()
        .expect(1)
        .says(&["\"env\" \"pthread_", "--pthreads wamr"]);
    let semaphore = wat_file(
        r#"(module (import "env" "sem_post" (func (param i32) (result i32))) (func (export "_start")))"#,
    );
    Updraft::run("interp").arg(&semaphore).end().expect(1).says(&["--pthreads wamr"]);
    let unknown = wat_file(
        r#"(module (import "env" "pthread_barrier_wait" (func)) (func (export "_start")))"#,
    );
    wamr("interp").arg(&unknown).end().expect(1).says(&["pthread_barrier_wait", "names, such as"]);
    let other = wat_file(
        r#"(module (import "env" "pthread_self" (func (result i64))) (func (export "_start")))"#,
    );
    wamr("interp").arg(&other).end().expect(1).says(&["incompatible import type"]);
}

/// Threads that block in the library stand still in a pause, and end after it.
fn blocked_threads_are_paused(strategy: &str) {
    let strategy = tier(strategy, 0).parse().unwrap();
    let engine = Engine::new(Config { strategy, ..Config::default() });
    let module = Module::from_file(&engine, repository("tests/pthread/blocked.wasm")).unwrap();
    for function in 0..BLOCKING.len() as i32 {
        let mut linker = Linker::new(&engine);
        updraft::add_wasi(&mut linker, WasiCtxBuilder::new().build().unwrap());
        let config =
            ProcessConfig { max_threads: 4, pthreads: Pthreads::Wamr, ..ProcessConfig::default() };
        let process = Process::new(&linker, &module, &config).unwrap();
        let controller = process.controller();
        let program = std::thread::spawn(move || {
            process.run_entry("blocked", |store, blocked| {
                blocked.typed::<(i32, i32, i32), ()>(store)?.call(store, (function, 2, 0))
            })
        });
        // The first thread, one that locks, and one that blocks.
        while controller.pause().unwrap().threads().len() < 3 {
            std::thread::yield_now();
        }
        for _ in 0..20 {
            assert_eq!(controller.pause().unwrap().threads().len(), 3);
        }
        assert!(controller.terminate());
        let result = program.join().unwrap();
        assert!(matches!(result, Err(Error::Stopped(Stopped::Terminated))), "{result:?}");
    }
}

per_strategy!(blocked_threads_are_paused);
