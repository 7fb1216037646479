//! Exceptions: in every tier, across tiers, instances and the host, beside traps and stops.
#![cfg(feature = "llvm")]

mod common;

use common::{Updraft, wat_file};
use updraft::{
    Config, Engine, Error, Exception, ExnRef, Extern, FuncType, Instance, Linker, Module, Store,
    Strategy, Tag, Tuning, Val, ValType,
};

const STRATEGIES: [&str; 7] =
    ["interp", "quick", "full", "tiered", "random:1", "random:2", "random:3"];

fn each(test: impl Fn(&Engine, &mut Store, &mut Linker)) {
    for strategy in STRATEGIES {
        println!("{strategy}");
        let strategy: Strategy = strategy.parse().unwrap();
        let engine = Engine::new(Config { strategy, tuning: Tuning::EAGER, ..Config::default() });
        let mut store = Store::new(&engine).unwrap();
        let mut linker = Linker::new(&engine);
        test(&engine, &mut store, &mut linker);
    }
}

fn load(engine: &Engine, store: &mut Store, linker: &Linker, text: &str) -> Instance {
    let module = Module::new(engine, text).unwrap();
    linker.instantiate(store, &module).unwrap()
}

fn call(store: &mut Store, instance: Instance, name: &str, args: &[i32]) -> Result<i32, Error> {
    let args: Vec<Val> = args.iter().map(|value| Val::I32(*value)).collect();
    match instance.func(store, name).unwrap().call(store, &args)?[..] {
        [Val::I32(value)] => Ok(value),
        [] => Ok(0),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn frames_of_all_tiers_are_left() {
    each(|engine, store, linker| {
        let text = r#"(module
          (type $f (func (param i32) (result i32)))
          (tag $e (param i32 i64 f64))
          (tag $other)
          (table $t funcref (elem $deep $through))
          (global $unwound (mut i32) (i32.const 0))
          ;; Recursion of two functions, one of which cleans up.
          (func $deep (type $f) (local i32)
            (local.set 1 (i32.const 20))
            (loop $l (br_if $l (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
            (if (i32.eqz (local.get 0))
              (then (throw $e (i32.const 7) (i64.const 8) (f64.const 9))))
            (call_indirect $t (type $f) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))
          (func $through (type $f) (local i64 exnref)
            (local.set 1 (i64.const 5))
            (block $none
              (block $clean (result exnref)
                (try_table (catch $other $none) (catch_all_ref $clean)
                  (return (call $deep (local.get 0))))
                (unreachable))
              (local.set 2)
              (global.set $unwound (i32.add (global.get $unwound) (i32.wrap_i64 (local.get 1))))
              (throw_ref (local.get 2)))
            (i32.const -1))
          (func $catch (export "catch") (param i32) (result i32) (local i32 i64 f64)
            (global.set $unwound (i32.const 0))
            (block $none
              (block $caught (result i32 i64 f64)
                (try_table (catch $other $none) (catch $e $caught)
                  (return (call $deep (local.get 0))))
                (unreachable))
              (local.set 3) (local.set 2) (local.set 1)
              (if (i64.ne (local.get 2) (i64.const 8)) (then unreachable))
              (if (f64.ne (local.get 3) (f64.const 9)) (then unreachable))
              (return (i32.add (local.get 1) (global.get $unwound))))
            (i32.const -1))
          ;; Loops around and inside of a `try_table`, in which code is replaced on the stack.
          (func (export "loops") (param i32) (result i32) (local i32 i32)
            (loop $outer
              (block $next
                (block $caught (result i32 i64 f64)
                  (try_table (catch $e $caught)
                    (local.set 2 (i32.const 50))
                    (loop $inner
                      (br_if $inner (local.tee 2 (i32.sub (local.get 2) (i32.const 1)))))
                    (drop (call $deep (i32.and (local.get 0) (i32.const 1))))
                    (unreachable))
                  (unreachable))
                (drop) (drop)
                (local.set 1 (i32.add (local.get 1))))
              (br_if $outer (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (local.get 1))
          ;; A handler that is a loop's header, and one that ends the function.
          (func (export "header") (param i32) (result i32) (local i32)
            (i32.const 0) (i64.const 0) (f64.const 0)
            (loop $again (param i32 i64 f64) (result i32)
              (drop) (drop)
              (local.set 1 (i32.add (local.get 1)))
              (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
              (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
              (try_table (result i32) (catch $e $again)
                (throw $e (i32.const 3) (i64.const 0) (f64.const 0)))))
          (func $body (export "body") (param i32) (result i32)
            (try_table (result i32) (catch $one 0)
              (throw $one (local.get 0))))
          (tag $one (param i32)))"#;
        let instance = load(engine, store, linker, text);
        for depth in [0, 1, 2, 7, 200, 201] {
            let unwound = 5 * depth;
            assert_eq!(call(store, instance, "catch", &[depth]).unwrap(), 7 + unwound, "{depth}");
        }
        for _ in 0..200 {
            assert_eq!(call(store, instance, "catch", &[3]).unwrap(), 22);
            assert_eq!(call(store, instance, "body", &[42]).unwrap(), 42);
        }
        assert_eq!(call(store, instance, "loops", &[1000]).unwrap(), 7000);
        assert_eq!(call(store, instance, "header", &[1000]).unwrap(), 3000);
    });
}

#[test]
fn traps_are_not_caught() {
    each(|engine, store, linker| {
        let text = r#"(module
          (memory 1)
          (func $trap (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then unreachable))
            (i32.load (i32.const -4)))
          (func $forever (param i32) (result i32)
            (i32.add (i32.const 1) (call $forever (local.get 0))))
          (func (export "trap") (param i32) (result i32)
            (block $caught
              (try_table (catch_all $caught) (return (call $trap (local.get 0)))))
            (i32.const -1))
          (func (export "here") (param i32) (result i32)
            (block $caught
              (try_table (catch_all $caught) (return (i32.div_u (i32.const 1) (local.get 0)))))
            (i32.const -1))
          (func (export "stack") (param i32) (result i32)
            (block $caught
              (try_table (catch_all $caught) (return (call $forever (local.get 0)))))
            (i32.const -1))
          (func (export "null") (param i32)
            (block $caught
              (try_table (catch_all $caught) (throw_ref (ref.null exn))))))"#;
        let instance = load(engine, store, linker, text);
        for (name, value, message) in [
            ("trap", 0, "unreachable"),
            ("trap", 1, "out of bounds memory access"),
            ("here", 0, "integer divide by zero"),
            ("stack", 0, "call stack exhausted"),
            ("null", 0, "null exception reference"),
        ] {
            for _ in 0..3 {
                match call(store, instance, name, &[value]) {
                    Err(Error::Trap(trap)) => assert_eq!(trap.code.message(), message),
                    other => panic!("{name} {value}: {other:?}"),
                }
            }
        }
    });
}

#[test]
fn instances_and_the_host_pass_exceptions_on() {
    each(|engine, store, linker| {
        let tag = Tag::new(store, "mine", FuncType::new([ValType::I32, ValType::FUNCREF], []));
        let tag = tag.unwrap();
        linker.define("host", "tag", Extern::Tag(tag));
        linker.func_values(
            "host",
            "throw",
            FuncType::new([ValType::I32], []),
            move |caller, args| {
                let values = [args[0].clone(), Val::FuncRef(None)];
                let exception = ExnRef::new(caller, tag, &values)?;
                Err(Error::Exception(Exception::from(exception)))
            },
        );
        let passed = FuncType::new([], []);
        linker.func_values("host", "pass", passed, |caller, _| {
            let func = caller.exported_func("throws").expect("it is exported");
            func.call(caller, &[Val::I32(11)])
        });
        let first = load(
            engine,
            store,
            linker,
            r#"(module
              (import "host" "tag" (tag $mine (param i32 funcref)))
              (func $three (result i32) (i32.const 3))
              (elem declare func $three)
              (tag $own (export "own") (param i32))
              (tag $same (export "same") (param i32))
              (func (export "throw") (param i32)
                (throw $mine (local.get 0) (ref.func $three)))
              (func (export "throw-own") (param i32) (throw $own (local.get 0))))"#,
        );
        linker.instance(store, "first", first);
        let second = load(
            engine,
            store,
            linker,
            r#"(module
              (import "host" "tag" (tag $mine (param i32 funcref)))
              (import "first" "own" (tag $own (param i32)))
              (import "first" "same" (tag $same (param i32)))
              (import "first" "throw" (func $throw (param i32)))
              (import "first" "throw-own" (func $throw-own (param i32)))
              (import "host" "throw" (func $host (param i32)))
              (import "host" "pass" (func $pass))
              (type $r (func (result i32)))
              (table $t 1 funcref)
              (func $tail (param i32) (return_call $throw (local.get 0)))
              (func (export "throws") (param i32) (call $throw-own (local.get 0)))
              ;; 0: of the other instance, with a reference to its function; 1: of the host; 2: through the host.
              (func (export "catch") (param i32) (result i32) (local i32 funcref)
                (block $own (result i32)
                  (block $mine (result i32 funcref)
                    (try_table (catch $same $own) (catch $mine $mine) (catch $own $own)
                      (if (i32.eqz (local.get 0)) (then (call $tail (i32.const 4))))
                      (if (i32.eq (local.get 0) (i32.const 1)) (then (call $host (i32.const 5))))
                      (call $pass))
                    (unreachable))
                  (local.set 2) (local.set 1)
                  (table.set $t (i32.const 0) (local.get 2))
                  (if (i32.eqz (local.get 0))
                    (then (return (i32.add (i32.const 10) (call_indirect $t (type $r) (i32.const 0))))))
                  (return (local.get 1)))
                (return))
              (func (export "uncaught") (param i32) (call $tail (local.get 0))))"#,
        );
        for _ in 0..30 {
            let results: Vec<i32> =
                (0..3).map(|i| call(store, second, "catch", &[i]).unwrap()).collect();
            assert_eq!(results, [13, 5, 11]);
            match call(store, second, "uncaught", &[9]) {
                Err(Error::Exception(exception)) => {
                    assert!(exception.exception.tag() == tag);
                    let values = exception.exception.values(store);
                    assert!(
                        matches!(values[..], [Val::I32(9), Val::FuncRef(Some(_))]),
                        "{values:?}"
                    );
                    let names: Vec<&str> = exception.frames.iter().map(|f| &*f.name).collect();
                    assert_eq!(names, ["throw", "uncaught"]);
                    assert!(exception.to_string().contains("tag mine"), "{exception}");
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn references_are_values() {
    each(|engine, store, linker| {
        let text = r#"(module
          (tag $e (param i32))
          (global $g (export "g") (mut exnref) (ref.null exn))
          (table $t (export "t") 2 exnref)
          (func $make (param i32) (result exnref)
            (block $caught (result exnref)
              (try_table (catch_all_ref $caught) (throw $e (local.get 0)))
              (unreachable)))
          (func (export "keep") (param i32)
            (global.set $g (call $make (local.get 0)))
            (table.set $t (i32.const 1) (call $make (i32.add (local.get 0) (i32.const 1)))))
          (func $value (param exnref) (result i32)
            (block $caught (result i32)
              (try_table (catch $e $caught) (throw_ref (local.get 0)))
              (unreachable)))
          (func (export "sum") (result i32)
            (i32.add (call $value (global.get $g)) (call $value (table.get $t (i32.const 1)))))
          (func (export "identity") (param exnref) (result exnref) (local.get 0)))"#;
        let instance = load(engine, store, linker, text);
        call(store, instance, "keep", &[5]).unwrap();
        assert_eq!(call(store, instance, "sum", &[]).unwrap(), 11);
        let Some(Extern::Global(global)) = instance.export(store, "g") else { panic!("no global") };
        let value = global.get(store);
        let identity = instance.func(store, "identity").unwrap();
        let same = identity.call(store, std::slice::from_ref(&value)).unwrap();
        let [Val::ExnRef(Some(exception))] = &same[..] else { panic!("{same:?}") };
        assert!(matches!(exception.values(store)[..], [Val::I32(5)]));
        let null = identity.call(store, &[Val::ExnRef(None)]).unwrap();
        assert!(matches!(null[..], [Val::ExnRef(None)]), "{null:?}");
        assert!(matches!(identity.call(store, &[Val::ExternRef(None)]), Err(Error::Call(_))));
        assert!(global.set(store, &Val::FuncRef(None)).is_err());
        global.set(store, &same[0]).unwrap();
        assert_eq!(call(store, instance, "sum", &[]).unwrap(), 11);
    });
}

#[test]
fn a_stop_is_not_caught() {
    each(|engine, store, linker| {
        let text = r#"(module
          (tag $e)
          (func $throw (throw $e))
          (func (export "run") (param i32)
            (loop $l
              (block $caught (try_table (catch_all $caught) (call $throw)))
              (br $l))))"#;
        let instance = load(engine, store, linker, text);
        let terminator = store.terminator();
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            terminator.terminate()
        });
        let result = call(store, instance, "run", &[0]);
        assert!(matches!(result, Err(Error::Stopped(_))), "{result:?}");
        assert!(stopper.join().unwrap());
    });
}

/// Each round would take native stack if anything of it remained.
#[test]
fn catching_takes_no_stack() {
    let run = || {
        each(|engine, store, linker| {
            let text = r#"(module
              (tag $e (param i32 v128 i32))
              (func $throw (param i32)
                (throw $e (local.get 0) (v128.const i32x4 1 2 3 4) (i32.const 1)))
              (func $again (param i32)
                (block $caught (result exnref)
                  (try_table (catch_all_ref $caught) (call $throw (local.get 0)))
                  (return))
                (throw_ref))
              (func (export "run") (param i32) (result i32) (local i32 v128 i32 i32)
                (loop $l
                  (block $caught (result i32 v128 i32)
                    (try_table (catch $e $caught)
                      (call $again (i32.const 1)))
                    (unreachable))
                  (local.set 3) (local.set 2) (local.set 4)
                  (local.set 1 (i32.add (local.get 1) (i32.add (local.get 3) (local.get 4))))
                  (local.set 1 (i32.add (local.get 1) (i32x4.extract_lane 3 (local.get 2))))
                  (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (local.get 1)))"#;
            let instance = load(engine, store, linker, text);
            assert_eq!(call(store, instance, "run", &[20_000]).unwrap(), 120_000);
        });
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn an_uncaught_exception_ends_the_program() {
    let file = wat_file(
        r#"(module
          (tag $e (export "__cpp_exception") (param i32))
          (func $inner (throw $e (i32.const 1)))
          (func $outer (call $inner) (drop (i32.const 0)))
          (func (export "_start") (call $outer)))"#,
    );
    let says = "uncaught exception with the tag __cpp_exception in the main thread";
    for strategy in STRATEGIES {
        let output = Updraft::run(strategy).arg(&file).end();
        output.says(&[says, "0: inner @ 0x", "1: outer @ 0x"]).expect(134);
    }
}
