//! The library as an embedder uses it: calls both ways, typed errors, and programs with threads that end in every way while the
//! host lives on.

mod common;

use common::{repository, strategies};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;
use updraft::host::wasi::MemoryOutput;
use updraft::{
    Config, Engine, Error, Extern, ExternRef, Func, FuncType, Global, GlobalType, Instance,
    LinkError, Linker, Memory, MemoryType, Module, Process, ProcessConfig, Stopped, Store,
    Strategy, TrapCode, Val, ValType, WasiCtxBuilder,
};

fn engine(strategy: &str) -> Engine {
    Engine::new(Config { strategy: strategy.parse().unwrap(), ..Config::default() })
}

/// Does something with a fresh engine of each strategy.
fn each_strategy(test: impl Fn(&Engine)) {
    for strategy in strategies() {
        test(&engine(strategy));
    }
}

fn instantiate(linker: &Linker, store: &mut Store, text: &str) -> Instance {
    let module = Module::new(linker.engine(), text).unwrap();
    linker.instantiate(store, &module).unwrap()
}

// ---- calls ----

#[test]
fn calls_of_wasm_functions() {
    each_strategy(|engine| {
        let mut store = Store::new(engine).unwrap();
        let instance = instantiate(
            &Linker::new(engine),
            &mut store,
            r#"(module
              (func (export "swap") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
                local.get 3 local.get 2 local.get 1 local.get 0)
              (func (export "fib") (param i32) (result i32)
                (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
                  (then (local.get 0))
                  (else (i32.add (call 1 (i32.sub (local.get 0) (i32.const 1)))
                                 (call 1 (i32.sub (local.get 0) (i32.const 2))))))))"#,
        );
        let swap = instance
            .typed::<(i32, u64, f32, f64), (f64, f32, u64, i32)>(&mut store, "swap")
            .unwrap();
        assert_eq!(
            swap.call(&mut store, (-1, u64::MAX, 0.5, -0.25)).unwrap(),
            (-0.25, 0.5, u64::MAX, -1)
        );
        let fib = instance.typed::<u32, u32>(&mut store, "fib").unwrap();
        assert_eq!(fib.call(&mut store, 20).unwrap(), 6765);
        // The same on values; a NaN keeps its payload.
        let swap = instance.func(&mut store, "swap").unwrap();
        let nan = 0x7ff8_dead_beef_0001;
        let results = swap
            .call(&mut store, &[Val::I32(7), Val::I64(-8), Val::F32(0x7fc1_2345), Val::F64(nan)])
            .unwrap();
        assert!(
            matches!(results[..], [Val::F64(a), Val::F32(0x7fc1_2345), Val::I64(-8), Val::I32(7)] if a == nan),
            "{results:?}"
        );
    });
}

#[test]
fn calls_that_do_not_fit() {
    let engine = Engine::default();
    let mut store = Store::new(&engine).unwrap();
    let instance = instantiate(
        &Linker::new(&engine),
        &mut store,
        r#"(module (func (export "f") (param i32)) (memory (export "m") 1))"#,
    );
    let message = |error: Error| error.to_string();
    let error = message(instance.typed::<(i32, i32), ()>(&mut store, "f").unwrap_err());
    assert!(error.contains("[i32] -> []") && error.contains("[i32 i32] -> []"), "{error}");
    let error = message(instance.typed::<(), ()>(&mut store, "g").unwrap_err());
    assert!(error.contains("\"g\""), "{error}");
    let error = message(instance.typed::<(), ()>(&mut store, "m").unwrap_err());
    assert!(error.contains("\"m\""), "{error}");
    let f = instance.func(&mut store, "f").unwrap();
    for args in [&[][..], &[Val::I64(1)], &[Val::I32(1), Val::I32(2)]] {
        assert!(matches!(f.call(&mut store, args), Err(Error::Call(_))), "{args:?}");
    }
    f.call(&mut store, &[Val::I32(1)]).unwrap();
}

#[test]
fn host_functions_on_types_and_on_values() {
    each_strategy(|engine| {
        let mut linker = Linker::new(engine);
        linker.func("host", "add", |_, (a, b): (i32, i32)| Ok(a.wrapping_add(b)));
        linker.func("host", "many", |_, (a, b, c, d): (i32, i64, f32, f64)| Ok((d, c, b, a)));
        let ty = FuncType::new([ValType::I64, ValType::I32], [ValType::I32, ValType::I64]);
        linker.func_values("host", "swap", ty, |_, values| {
            Ok(vec![values[1].clone(), values[0].clone()])
        });
        let mut store = Store::new(engine).unwrap();
        let instance = instantiate(
            &linker,
            &mut store,
            r#"(module
              (import "host" "add" (func $add (param i32 i32) (result i32)))
              (import "host" "many" (func $many (param i32 i64 f32 f64) (result f64 f32 i64 i32)))
              (import "host" "swap" (func $swap (param i64 i32) (result i32 i64)))
              (export "many" (func $many))
              (func (export "sum") (param i32) (result i32) (local $sum i32)
                (loop $again
                  (local.set $sum (call $add (local.get $sum) (local.get 0)))
                  (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                  (br_if $again (local.get 0)))
                (local.get $sum))
              (func (export "swap") (param i64 i32) (result i32 i64)
                (call $swap (local.get 0) (local.get 1))))"#,
        );
        let sum = instance.typed::<i32, i32>(&mut store, "sum").unwrap();
        assert_eq!(sum.call(&mut store, 1000).unwrap(), 500_500);
        let swap = instance.typed::<(i64, i32), (i32, i64)>(&mut store, "swap").unwrap();
        assert_eq!(swap.call(&mut store, (i64::MIN, -2)).unwrap(), (-2, i64::MIN));
        // A host function that was imported and exported again is called without any wasm between.
        let many = instance
            .typed::<(i32, i64, f32, f64), (f64, f32, i64, i32)>(&mut store, "many")
            .unwrap();
        assert_eq!(many.call(&mut store, (1, 2, 3.0, 4.0)).unwrap(), (4.0, 3.0, 2, 1));
    });
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the disk is full ({0} bytes)")]
struct DiskFull(u64);

/// Through how many layers of wasm and host it may pass, the error that comes back is the one that went in.
#[test]
fn errors_of_host_functions_come_back() {
    each_strategy(|engine| {
        let mut linker = Linker::new(engine);
        linker.func("host", "fail", |_, size: i64| -> Result<(), Error> {
            Err(Error::host(DiskFull(size as u64)))
        });
        linker.func("host", "again", |caller, depth: i32| {
            let down = caller.exported_func("down").unwrap();
            down.typed::<i32, ()>(caller)?.call(caller, depth)
        });
        let mut store = Store::new(engine).unwrap();
        let instance = instantiate(
            &linker,
            &mut store,
            r#"(module
              (import "host" "fail" (func $fail (param i64)))
              (import "host" "again" (func $again (param i32)))
              (func $down (export "down") (param i32)
                (if (local.get 0)
                  (then (call $again (i32.sub (local.get 0) (i32.const 1))))
                  (else (call $fail (i64.const 4096)))))
              (func (export "fine") (result i32) (i32.const 5)))"#,
        );
        let down = instance.typed::<i32, ()>(&mut store, "down").unwrap();
        for depth in [0, 1, 10] {
            let Error::Host(error) = down.call(&mut store, depth).unwrap_err() else {
                panic!("another error at depth {depth}")
            };
            assert_eq!(error.downcast_ref::<DiskFull>(), Some(&DiskFull(4096)));
            // The store goes on.
            let fine = instance.typed::<(), i32>(&mut store, "fine").unwrap();
            assert_eq!(fine.call(&mut store, ()).unwrap(), 5);
        }
    });
}

/// A panic in a function of the host is an error of the call, through compiled frames too, and the store goes on.
#[test]
fn a_host_function_that_panics() {
    each_strategy(|engine| {
        let mut linker = Linker::new(engine);
        linker.func("host", "panic", |_, number: i32| -> Result<(), Error> {
            panic!("no luck with {number}");
        });
        let mut store = Store::new(engine).unwrap();
        let instance = instantiate(
            &linker,
            &mut store,
            r#"(module
              (import "host" "panic" (func $panic (param i32)))
              (func (export "call") (param i32)
                (if (local.get 0) (then (call $panic (local.get 0))))))"#,
        );
        let call = instance.typed::<i32, ()>(&mut store, "call").unwrap();
        for number in [13, 14] {
            let error = call.call(&mut store, number).unwrap_err();
            let Error::Host(cause) = &error else { panic!("{error}") };
            assert!(cause.to_string().contains(&format!("no luck with {number}")), "{cause}");
            call.call(&mut store, 0).unwrap();
        }
        let ty = FuncType::new([], []);
        let direct = Func::from_values(&mut store, ty, |_, _| panic!("direct"));
        let error = direct.call(&mut store, &[]).unwrap_err();
        assert!(error.to_string().contains("direct"), "{error}");
    });
}

/// In a thread of a program, it ends the program with that error, and the host goes on.
#[test]
fn a_host_function_that_panics_in_a_thread() {
    each_strategy(|engine| {
        let mut linker = Linker::new(engine);
        linker.func("host", "panic", |_, ()| -> Result<(), Error> { panic!("in a thread") });
        let module = Module::new(
            engine,
            r#"(module
              (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
              (import "host" "panic" (func $panic))
              (import "env" "memory" (memory 1 1 shared))
              (func (export "wasi_thread_start") (param i32 i32) (call $panic))
              (func (export "_start")
                (drop (call $spawn (i32.const 0)))
                (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"#,
        )
        .unwrap();
        let process = Process::new(&linker, &module, &ProcessConfig::default()).unwrap();
        let error = process.run().unwrap_err();
        assert!(
            matches!(&error, Error::Host(cause) if cause.to_string().contains("in a thread")),
            "{error}"
        );
    });
}

#[test]
fn a_host_function_that_breaks_its_type() {
    let engine = Engine::default();
    let mut store = Store::new(&engine).unwrap();
    let ty = FuncType::new([], [ValType::I32]);
    let broken = Func::from_values(&mut store, ty, |_, _| Ok(vec![Val::I64(1)]));
    let error = broken.call(&mut store, &[]).unwrap_err();
    assert!(matches!(&error, Error::Call(text) if text.contains("[] -> [i32]")), "{error}");
}

/// Traps are values: code, thread, and the frames from the inside out. The store goes on after each.
#[test]
fn traps_are_typed_errors() {
    each_strategy(|engine| {
        let mut linker = Linker::new(engine);
        linker.func("host", "through", |caller, ()| {
            let inner = caller.exported_func("trap").unwrap();
            inner.typed::<(), ()>(caller)?.call(caller, ())
        });
        let mut store = Store::new(engine).unwrap();
        let instance = instantiate(
            &linker,
            &mut store,
            r#"(module
              (import "host" "through" (func $through))
              (memory 1)
              (func $inner unreachable)
              (func $middle (call $inner))
              (func $trap (export "trap") (call $middle))
              (func $outer (export "outer") (call $through))
              (func $load (export "load") (param i32) (result i32) (i32.load (local.get 0)))
              (func $divide (export "divide") (param i32) (result i32) (i32.div_u (i32.const 8) (local.get 0)))
              (func $deep (export "deep") (call $deep) (call $deep)))"#,
        );
        let trap = |error: Error| match error {
            Error::Trap(trap) => trap,
            other => panic!("not a trap: {other}"),
        };
        let names = |frames: &[updraft::Frame]| -> Vec<String> {
            frames.iter().map(|frame| frame.name.clone()).collect()
        };
        for _ in 0..3 {
            let run = instance.typed::<(), ()>(&mut store, "trap").unwrap();
            let caught = trap(run.call(&mut store, ()).unwrap_err());
            assert_eq!((caught.code, caught.thread), (TrapCode::Unreachable, 0));
            assert_eq!(names(&caught.frames), ["inner", "middle", "trap"]);
            assert_eq!(caught.frames[0].func, 1);

            // Frames on both sides of a host function.
            let run = instance.typed::<(), ()>(&mut store, "outer").unwrap();
            let caught = trap(run.call(&mut store, ()).unwrap_err());
            assert_eq!(names(&caught.frames), ["inner", "middle", "trap", "outer"]);

            let load = instance.typed::<u32, i32>(&mut store, "load").unwrap();
            assert_eq!(load.call(&mut store, 65532).unwrap(), 0);
            for address in [65533, 65536, u32::MAX] {
                let caught = trap(load.call(&mut store, address).unwrap_err());
                assert_eq!(caught.code, TrapCode::MemoryOutOfBounds);
                assert_eq!(names(&caught.frames), ["load"]);
            }
            let divide = instance.typed::<i32, i32>(&mut store, "divide").unwrap();
            assert_eq!(
                trap(divide.call(&mut store, 0).unwrap_err()).code,
                TrapCode::IntegerDivideByZero
            );
            assert_eq!(divide.call(&mut store, 2).unwrap(), 4);

            let deep = instance.typed::<(), ()>(&mut store, "deep").unwrap();
            let caught = trap(deep.call(&mut store, ()).unwrap_err());
            assert_eq!(caught.code, TrapCode::StackOverflow);
            assert!(
                caught.frames.len() > 1000
                    && caught.frames.iter().all(|frame| frame.name == "deep")
            );
        }
    });
}

#[test]
fn items_of_the_host_and_of_other_instances() {
    each_strategy(|engine| {
        let mut store = Store::new(engine).unwrap();
        let mut linker = Linker::new(engine);
        let ty = MemoryType {
            memory64: false,
            shared: false,
            initial: 1,
            maximum: Some(3),
            page_size_log2: None,
        };
        let memory = Memory::with_type(engine, ty).unwrap();
        linker.define("host", "memory", Extern::Memory(memory.clone()));
        let ty = GlobalType { content_type: ValType::I64, mutable: true, shared: false };
        let global = Global::new(&mut store, ty, &Val::I64(40)).unwrap();
        linker.define("host", "global", Extern::Global(global));
        let first = instantiate(
            &linker,
            &mut store,
            r#"(module
              (import "host" "memory" (memory 1 3))
              (import "host" "global" (global $g (mut i64)))
              (table (export "table") 2 externref)
              (func (export "poke") (result i64)
                (i32.store8 (i32.const 3) (i32.const 9))
                (global.set $g (i64.add (global.get $g) (i64.const 2)))
                (drop (memory.grow (i32.const 1)))
                (global.get $g))
              (func (export "keep") (param externref) (table.set (i32.const 1) (local.get 0)))
              (func (export "kept") (result externref) (table.get (i32.const 1))))"#,
        );
        linker.instance(&mut store, "first", first);
        let second = instantiate(
            &linker,
            &mut store,
            r#"(module
              (import "first" "poke" (func $poke (result i64)))
              (import "first" "table" (table $table 2 externref))
              (func (export "relay") (result i64) (call $poke))
              (func (export "clear") (table.set $table (i32.const 1) (ref.null extern))))"#,
        );
        let relay = second.typed::<(), i64>(&mut store, "relay").unwrap();
        assert_eq!(relay.call(&mut store, ()).unwrap(), 42);
        assert!(matches!(global.get(&mut store), Val::I64(42)));
        let mut byte = [0];
        memory.read(3, &mut byte).unwrap();
        assert_eq!((byte[0], memory.size()), (9, 2 << 16));
        memory.read(2 << 16, &mut byte).unwrap_err();
        assert_eq!((memory.grow(1), memory.grow(1)), (Some(2), None));

        let (keep, kept) =
            (first.func(&mut store, "keep").unwrap(), first.func(&mut store, "kept").unwrap());
        keep.call(&mut store, &[Val::ExternRef(Some(ExternRef::new("a host value")))]).unwrap();
        let results = kept.call(&mut store, &[]).unwrap();
        let [Val::ExternRef(Some(value))] = &results[..] else { panic!("{results:?}") };
        assert_eq!(value.data().downcast_ref::<&str>(), Some(&"a host value"));
        second.typed::<(), ()>(&mut store, "clear").unwrap().call(&mut store, ()).unwrap();
        let results = kept.call(&mut store, &[]).unwrap();
        assert!(matches!(results[..], [Val::ExternRef(None)]), "{results:?}");
    });
}

// ---- programs ----

/// A linker with WASI, whose standard output comes back.
fn wasi(engine: &Engine) -> (Linker, MemoryOutput) {
    let output = MemoryOutput::new();
    let wasi = WasiCtxBuilder::new().args(["program"]).stdout(output.clone()).build().unwrap();
    let mut linker = Linker::new(engine);
    updraft::add_wasi(&mut linker, wasi);
    (linker, output)
}

fn program(engine: &Engine, name: &str) -> Module {
    Module::from_file(engine, repository(&format!("examples/threads/{name}.wasm"))).unwrap()
}

fn process(linker: &Linker, module: &Module) -> Process {
    Process::new(linker, module, &ProcessConfig::default()).unwrap()
}

#[test]
fn a_program_with_threads_writes_into_memory() {
    each_strategy(|engine| {
        let (linker, output) = wasi(engine);
        assert_eq!(process(&linker, &program(engine, "hello")).run().unwrap(), 0);
        let text = String::from_utf8(output.contents()).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let expected =
            std::fs::read_to_string(repository("examples/threads/expected/hello.txt")).unwrap();
        let mut expected: Vec<&str> = expected.lines().collect();
        expected.sort_unstable();
        assert_eq!(lines, expected);
    });
}

/// A module whose child does `child` while its main thread waits.
fn parent_and_child(engine: &Engine, child: &str) -> Module {
    let text = format!(
        r#"(module
          (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
          (import "env" "memory" (memory 1 1 shared))
          (func $child {child})
          (func (export "wasi_thread_start") (param i32 i32) (call $child))
          (func (export "_start")
            (i32.store (i32.const 8) (call $spawn (i32.const 0)))
            (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"#
    );
    Module::new(engine, text).unwrap()
}

#[test]
fn a_trap_of_a_child_names_its_thread() {
    each_strategy(|engine| {
        let module = parent_and_child(engine, "unreachable");
        for _ in 0..10 {
            let error = process(&wasi(engine).0, &module).run().unwrap_err();
            let Error::Trap(trap) = error else { panic!("{error}") };
            assert_eq!(trap.code, TrapCode::Unreachable);
            assert!((1..1 << 29).contains(&trap.thread), "thread {}", trap.thread);
            let names: Vec<_> = trap.frames.iter().map(|frame| frame.name.as_str()).collect();
            assert_eq!(names, ["child", "wasi_thread_start"]);
        }
    });
}

#[test]
fn an_exit_of_a_child_is_the_programs() {
    each_strategy(|engine| {
        let module = parent_and_child(engine, "(call $proc_exit (i32.const 9))");
        assert_eq!(process(&wasi(engine).0, &module).run().unwrap(), 9);
    });
}

/// What a host function returns in a child ends the program, as a trap would.
#[test]
fn an_error_of_a_host_function_in_a_child() {
    each_strategy(|engine| {
        let (mut linker, _) = wasi(engine);
        linker.func("host", "fail", |_, ()| -> Result<(), Error> { Err(Error::host(DiskFull(1))) });
        let module = Module::new(
            engine,
            r#"(module
              (import "host" "fail" (func $fail))
              (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
              (import "env" "memory" (memory 1 1 shared))
              (func (export "wasi_thread_start") (param i32 i32) (call $fail))
              (func (export "_start")
                (drop (call $spawn (i32.const 0)))
                (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"#,
        )
        .unwrap();
        let error = process(&linker, &module).run().unwrap_err();
        let Error::Host(cause) = error else { panic!("{error}") };
        assert_eq!(cause.downcast_ref::<DiskFull>(), Some(&DiskFull(1)));
    });
}

/// A module that announces itself to the host and then never ends, in three threads.
fn endless(linker: &mut Linker, ready: mpsc::Sender<u32>, body: &str) -> Module {
    linker.func("host", "ready", move |caller, ()| {
        ready.send(caller.thread_id()).expect("the test listens");
        Ok(())
    });
    let text = format!(
        r#"(module
          (import "host" "ready" (func $ready))
          (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
          (import "env" "memory" (memory 1 1 shared))
          (func $endless (call $ready) {body})
          (func (export "wasi_thread_start") (param i32 i32) (call $endless))
          (func (export "_start")
            (drop (call $spawn (i32.const 0)))
            (drop (call $spawn (i32.const 0)))
            (call $endless)))"#
    );
    Module::new(linker.engine(), text).unwrap()
}

const SPIN: &str = "(loop $again (br $again))";
const WAIT: &str = "(drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))";

#[test]
fn a_program_is_terminated_from_outside() {
    each_strategy(|engine| {
        for body in [SPIN, WAIT] {
            let (mut linker, _) = wasi(engine);
            let (ready, all_ready) = mpsc::channel();
            let module = endless(&mut linker, ready, body);
            let process = process(&linker, &module);
            let terminator = process.terminator();
            let running = std::thread::spawn(move || process.run());
            let mut threads: Vec<u32> = (0..3).map(|_| all_ready.recv().unwrap()).collect();
            threads.sort_unstable();
            threads.dedup();
            assert!(threads.len() == 3 && threads[0] == 0, "{threads:?}");
            assert!(terminator.terminate());
            let result = running.join().unwrap();
            assert!(matches!(result, Err(Error::Stopped(Stopped::Terminated))), "{result:?}");
            // It was stopped already.
            assert!(!terminator.terminate());
        }
    });
}

#[test]
fn a_program_runs_out_of_time() {
    each_strategy(|engine| {
        let (mut linker, _) = wasi(engine);
        let (ready, _all_ready) = mpsc::channel();
        let module = endless(&mut linker, ready, SPIN);
        let config =
            ProcessConfig { timeout: Some(Duration::from_millis(20)), ..ProcessConfig::default() };
        let result = Process::new(&linker, &module, &config).unwrap().run();
        assert!(matches!(result, Err(Error::Stopped(Stopped::TimedOut))), "{result:?}");
    });
}

/// A call without a program can be ended too; that store stays stopped, another does not.
#[test]
fn a_call_is_terminated_from_outside() {
    each_strategy(|engine| {
        let mut linker = Linker::new(engine);
        let (ready, is_ready) = mpsc::channel();
        linker.func("host", "ready", move |_, ()| {
            ready.send(()).expect("the test listens");
            Ok(())
        });
        let module = Module::new(
            engine,
            r#"(module (import "host" "ready" (func $ready))
              (func (export "spin") (call $ready) (loop $again (br $again)))
              (func (export "fine") (result i32) (i32.const 3)))"#,
        )
        .unwrap();
        let mut store = Store::new(engine).unwrap();
        let terminator = store.terminator();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let running = std::thread::spawn(move || {
            let spin = instance.typed::<(), ()>(&mut store, "spin").unwrap();
            let result = spin.call(&mut store, ());
            let fine = instance.typed::<(), i32>(&mut store, "fine").unwrap();
            (result, fine.call(&mut store, ()))
        });
        is_ready.recv().unwrap();
        assert!(terminator.terminate());
        let (result, after) = running.join().unwrap();
        assert!(matches!(result, Err(Error::Stopped(Stopped::Terminated))), "{result:?}");
        assert!(matches!(after, Err(Error::Stopped(_))), "{after:?}");

        let mut store = Store::new(engine).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let fine = instance.typed::<(), i32>(&mut store, "fine").unwrap();
        assert_eq!(fine.call(&mut store, ()).unwrap(), 3);
    });
}

/// Programs of one module at the same time: half of them trap, the others must not notice.
#[test]
fn groups_do_not_disturb_each_other() {
    each_strategy(|engine| {
        let good = program(engine, "prodcons");
        let bad = parent_and_child(engine, "unreachable");
        let start = Barrier::new(4);
        std::thread::scope(|scope| {
            let run_good = || {
                start.wait();
                for _ in 0..3 {
                    let (linker, output) = wasi(engine);
                    assert_eq!(process(&linker, &good).run().unwrap(), 0);
                    assert_eq!(
                        String::from_utf8(output.contents()).unwrap(),
                        "3 producers, 3 consumers: 30000 items, sum 449985000\n"
                    );
                }
            };
            let run_bad = || {
                start.wait();
                for _ in 0..20 {
                    let error = process(&wasi(engine).0, &bad).run().unwrap_err();
                    assert!(matches!(error, Error::Trap(_)), "{error}");
                }
            };
            scope.spawn(run_good);
            scope.spawn(run_good);
            scope.spawn(run_bad);
            scope.spawn(run_bad);
        });
    });
}

/// What does not fit together is known before anything runs.
#[test]
fn programs_that_cannot_be_linked() {
    let engine = Engine::default();
    let run = |text: &str| {
        let module = Module::new(&engine, text).unwrap();
        Process::new(&wasi(&engine).0, &module, &ProcessConfig::default()).and_then(Process::run)
    };
    let link = |text: &str| match run(text) {
        Err(Error::Link(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(link("(module)"), LinkError::NoExport { name, .. } if name == "_start"));
    assert!(matches!(
        link(r#"(module (import "a" "b" (func)) (func (export "_start")))"#),
        LinkError::Unknown { module, name, .. } if (&*module, &*name) == ("a", "b")
    ));
    assert!(matches!(
        link(r#"(module (import "wasi" "thread-spawn" (func)) (func (export "_start")))"#),
        LinkError::Type { wanted, found, .. } if wanted == "[] -> []" && found == "[i32] -> [i32]"
    ));
}

/// The shared memory is linked whatever its import is called, and a spawn copies no state of the spawner: each thread has its own globals.
#[test]
fn each_thread_has_its_own_globals_and_tables() {
    each_strategy(|engine| {
        let counter = Arc::new(AtomicU32::new(0));
        let seen = counter.clone();
        let (mut linker, _) = wasi(engine);
        linker.func("host", "report", move |_, (global, called): (u32, u32)| {
            seen.fetch_add(global * 100 + called, Ordering::Relaxed);
            Ok(())
        });
        let module = Module::new(
            engine,
            r#"(module
              (import "host" "report" (func $report (param i32 i32)))
              (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
              (import "foo" "bar" (memory 1 1 shared))
              (global $g (mut i32) (i32.const 1))
              (table funcref (elem $one $two))
              (func $one (result i32) (i32.const 1))
              (func $two (result i32) (i32.const 2))
              (func (export "wasi_thread_start") (param i32 i32)
                (call $report (global.get $g) (call_indirect (result i32) (i32.const 0)))
                (global.set $g (i32.const 50))
                (i32.atomic.store (i32.const 0) (i32.const 1))
                (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
              (func (export "_start")
                (global.set $g (i32.const 7))
                (table.set (i32.const 0) (ref.func $two))
                (drop (call $spawn (i32.const 0)))
                (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))
                (call $report (global.get $g) (call_indirect (result i32) (i32.const 0)))))"#,
        )
        .unwrap();
        assert_eq!(process(&linker, &module).run().unwrap(), 0);
        assert_eq!(counter.load(Ordering::Relaxed), 101 + 702);
    });
}

/// An observer outlives the program.
#[test]
fn figures_of_a_program() {
    let engine = engine("interp");
    let process = process(&wasi(&engine).0, &program(&engine, "hello"));
    let observer = process.observer();
    process.run().unwrap();
    let stats = observer.stats();
    assert_eq!(stats.strategy, "interp");
    assert_eq!(stats.threads_started, 11);
    assert!((2..=11).contains(&stats.threads_peak), "{}", stats.threads_peak);
    assert!(stats.tiers["interp"].code_bytes > 0);
}

/// Strategies are configuration, not global state: two engines of different strategies run side by side.
#[test]
fn engines_side_by_side() {
    let engines: Vec<Engine> = strategies().iter().map(|strategy| engine(strategy)).collect();
    std::thread::scope(|scope| {
        for engine in &engines {
            scope.spawn(move || {
                let (linker, output) = wasi(engine);
                assert_eq!(process(&linker, &program(engine, "spawnstorm")).run().unwrap(), 0);
                assert_eq!(output.contents(), b"joined 1000, detached 200, ran 1200\n");
            });
        }
    });
    assert_eq!(engines[0].config().strategy, Strategy::Interp);
}
