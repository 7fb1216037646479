//! Chains of tail calls take no stack: in every tier, from tier to tier, and from instance to instance.
#![cfg(feature = "llvm")]

use updraft::{Config, Engine, Error, Instance, Linker, Module, Store, Strategy, Val};

const STRATEGIES: [Strategy; 8] = [
    Strategy::Interp,
    Strategy::Quick,
    Strategy::Full,
    Strategy::Tiered,
    Strategy::Random { seed: 1 },
    Strategy::Random { seed: 2 },
    Strategy::Random { seed: 3 },
    Strategy::Random { seed: 4 },
];

/// Frames that no stack would hold. Unoptimised builds take a shorter road.
const DEEP: i64 = if cfg!(debug_assertions) { 300_000 } else { 3_000_000 };

/// Runs `test` with each strategy, on a thread of little stack, with an engine, a store and a linker.
fn each(test: impl Fn(&Engine, &mut Store, &mut Linker) + Copy + Send + 'static) {
    for strategy in STRATEGIES {
        let run = move || {
            println!("{strategy}");
            let config = Config { strategy, value_stack: 1 << 20, ..Config::default() };
            let engine = Engine::new(config);
            let mut store = Store::new(&engine).unwrap();
            let mut linker = Linker::new(&engine);
            test(&engine, &mut store, &mut linker);
        };
        std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
    }
}

fn load(engine: &Engine, store: &mut Store, linker: &Linker, text: &str) -> Instance {
    let module = Module::new(engine, text).unwrap();
    linker.instantiate(store, &module).unwrap()
}

fn call(
    store: &mut Store,
    instance: Instance,
    name: &str,
    args: &[Val],
) -> Result<Vec<Val>, Error> {
    instance.func(store, name).unwrap().call(store, args)
}

fn number(store: &mut Store, instance: Instance, name: &str, args: &[i64]) -> i64 {
    let args: Vec<Val> = args.iter().map(|value| Val::I64(*value)).collect();
    match call(store, instance, name, &args).unwrap()[..] {
        [Val::I64(value)] => value,
        ref other => panic!("{other:?}"),
    }
}

/// Functions of several types that call one another, directly and through tables.
const MUTUAL: &str = r#"(module
  (type $one (func (param i64) (result i64)))
  (type $two (func (param i64 i64) (result i64)))
  (type $many (func (param i64 i32 f64 i64 f32 i64 i64 i32 i64 i64 f64) (result i64)))
  (table $t (export "table") funcref (elem $self $two $many $loop))
  (func $self (export "self") (type $one)
    (if (i64.eqz (local.get 0)) (then (return (i64.const 42))))
    (return_call $self (i64.sub (local.get 0) (i64.const 1))))
  (func $two (export "two") (type $two)
    (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
    (return_call $many (i64.sub (local.get 0) (i64.const 1)) (i32.const 1) (f64.const 2) (i64.const 3) (f32.const 4)
      (i64.const 5) (i64.const 6) (i32.const 7) (i64.const 8) (i64.add (local.get 1) (i64.const 1)) (f64.const 10)))
  (func $many (type $many)
    (if (i64.eqz (local.get 0)) (then (return (local.get 9))))
    (if (f64.ne (local.get 10) (f64.const 10)) (then unreachable))
    (return_call_indirect $t (type $two) (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 9) (i64.const 1))
      (i32.const 1)))
  ;; A chain through loops, which are entered by on-stack replacement.
  (func $loop (export "loop") (type $two) (local i32)
    (local.set 2 (i32.const 30))
    (loop $l
      (local.set 1 (i64.add (local.get 1) (i64.const 1)))
      (br_if $l (local.tee 2 (i32.sub (local.get 2) (i32.const 1)))))
    (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
    (if (i64.eqz (i64.rem_u (local.get 0) (i64.const 3)))
      (then (return_call $loop (i64.sub (local.get 0) (i64.const 1)) (local.get 1))))
    (if (i64.eqz (i64.rem_u (local.get 0) (i64.const 5)))
      (then (return_call $hop (f64.const 7) (local.get 1) (local.get 0))))
    (return_call_indirect $t (type $two) (i64.sub (local.get 0) (i64.const 1)) (local.get 1) (i32.const 3)))
  (func $hop (param f64 i64 i64) (result i64) (local i32)
    (local.set 3 (i32.const 10))
    (loop $l (br_if $l (local.tee 3 (i32.sub (local.get 3) (i32.const 1)))))
    (return_call $loop (i64.sub (local.get 2) (i64.const 1)) (local.get 1)))
  ;; A chain beneath frames that remain.
  (func (export "beneath") (type $one)
    (i64.add (call $two (local.get 0) (i64.const 0))
      (i64.add (call $self (local.get 0)) (call $loop (i64.const 1000) (i64.const 0)))))
  (func $triple (export "triple") (param i64 i64) (result i64 f32 i64)
    (if (i64.eqz (local.get 0)) (then (return (local.get 1) (f32.const 1.5) (i64.const -1))))
    (return_call $triple2 (f32.const 3) (local.get 1) (local.get 0)))
  (func $triple2 (param f32 i64 i64) (result i64 f32 i64)
    (return_call $triple (i64.sub (local.get 2) (i64.const 1)) (i64.add (local.get 1) (i64.const 2)))))"#;

#[test]
fn chains_within_a_module() {
    each(|engine, store, linker| {
        let instance = load(engine, store, linker, MUTUAL);
        assert_eq!(number(store, instance, "self", &[DEEP]), 42);
        assert_eq!(number(store, instance, "two", &[DEEP, 7]), DEEP + 7);
        assert_eq!(number(store, instance, "loop", &[DEEP / 10, 0]), 30 * (DEEP / 10 + 1));
        assert_eq!(number(store, instance, "beneath", &[DEEP]), DEEP + 42 + 30 * 1001);
        let triple = call(store, instance, "triple", &[Val::I64(DEEP), Val::I64(1)]).unwrap();
        let [Val::I64(sum), Val::F32(float), Val::I64(-1)] = triple[..] else {
            panic!("{triple:?}")
        };
        assert_eq!((sum, float), (1 + 2 * DEEP, 1.5f32.to_bits()));
        // Once the table has been seen from outside, its references name the instance.
        instance.export(store, "table").unwrap();
        assert_eq!(number(store, instance, "two", &[DEEP, 7]), DEEP + 7);
        assert_eq!(number(store, instance, "loop", &[DEEP / 10, 0]), 30 * (DEEP / 10 + 1));
    });
}

/// A chain through references, of the own instance and of another.
#[test]
fn chains_through_references() {
    each(|engine, store, linker| {
        let first = load(
            engine,
            store,
            linker,
            r#"(module
              (type $g (func (param i64) (result i64)))
              (global $g (mut (ref null $g)) (ref.null $g))
              (elem declare func $g)
              (func (export "f") (param i64 i64) (result i64)
                (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
                (return_call_ref $two (i64.sub (local.get 0) (i64.const 1)) (local.get 1) (f32.const 1) (ref.func $two)))
              (type $two (func (param i64 i64 f32) (result i64)))
              (elem declare func $two)
              (func $two (type $two)
                (return_call 0 (local.get 0) (i64.add (local.get 1) (i64.const 1))))
              (func $g (type $g) (i64.add (local.get 0) (i64.const 5)))
              (func (export "g") (result (ref $g)) (ref.func $g))
              (func (export "back") (param i64 (ref $g)) (result i64)
                (return_call_ref $g (local.get 0) (local.get 1)))
              (func (export "null") (result i64) (call_ref $g (i64.const 1) (global.get $g))))"#,
        );
        linker.instance(store, "first", first);
        let second = load(
            engine,
            store,
            linker,
            r#"(module
              (type $other (func))
              (type $h (func (param i64) (result i64)))
              (import "first" "g" (func $g (result (ref $h))))
              (import "first" "back" (func $back (param i64 (ref $h)) (result i64)))
              (elem declare func $h)
              (func (export "call") (param i64) (result i64) (call_ref $h (local.get 0) (call $g)))
              (func $h (export "chain") (type $h)
                (if (i64.eqz (local.get 0)) (then (return (i64.const 77))))
                (return_call $back (i64.sub (local.get 0) (i64.const 1)) (ref.func $h)))
              (func (export "tail") (type $h) (return_call_ref $h (local.get 0) (call $g))))"#,
        );
        assert_eq!(number(store, first, "f", &[DEEP, 3]), DEEP + 3);
        assert_eq!(number(store, second, "call", &[1]), 6);
        assert_eq!(number(store, second, "tail", &[2]), 7);
        assert_eq!(number(store, second, "chain", &[DEEP / 3]), 77);
        match call(store, first, "null", &[]) {
            Err(Error::Trap(trap)) => assert_eq!(trap.code.message(), "null function reference"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn chains_from_instance_to_instance() {
    each(|engine, store, linker| {
        linker.func("host", "last", |_, value: i64| Ok(value + 1000));
        let table = load(engine, store, linker, r#"(module (table (export "t") 4 funcref))"#);
        linker.instance(store, "tables", table);
        let first = load(
            engine,
            store,
            linker,
            r#"(module
              (type $f (func (param i64 i64) (result i64)))
              (type $g (func (param i64 i64 i64 i64 i64 i64 i64) (result i64)))
              (import "tables" "t" (table 4 funcref))
              (import "host" "last" (func $last (param i64) (result i64)))
              (elem (i32.const 0) func $f)
              (func $f (export "f") (type $f)
                (if (i64.eqz (local.get 0)) (then (return_call $last (local.get 1))))
                (return_call_indirect (type $g) (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1)
                  (local.get 1) (local.get 0) (i64.const 1) (i32.const 1))))"#,
        );
        linker.instance(store, "first", first);
        let second = load(
            engine,
            store,
            linker,
            r#"(module
              (type $f (func (param i64 i64) (result i64)))
              (type $g (func (param i64 i64 i64 i64 i64 i64 i64) (result i64)))
              (import "tables" "t" (table 4 funcref))
              (import "first" "f" (func $f (type $f)))
              (elem (i32.const 1) func $g)
              (func $g (type $g)
                (return_call $f (i64.sub (local.get 5) (i64.const 1)) (i64.add (local.get 4) (i64.const 3))))
              (func (export "g") (param i64) (result i64)
                (i64.add (i64.const 1) (call $f (local.get 0) (i64.const 0))))
              (func (export "start") (param i64) (result i64)
                (return_call $f (local.get 0) (i64.const 0))))"#,
        );
        assert_eq!(number(store, second, "start", &[DEEP / 3]), DEEP + 1000);
        assert_eq!(number(store, second, "g", &[DEEP / 3]), DEEP + 1001);
        assert_eq!(number(store, first, "f", &[DEEP / 3, 1]), DEEP + 1001);
    });
}

/// References in arguments and results mean the same on the other side.
#[test]
fn references_travel_with_tail_calls() {
    each(|engine, store, linker| {
        let first = load(
            engine,
            store,
            linker,
            r#"(module
              (func $seven (result i32) (i32.const 7))
              (table $t 1 funcref)
              (func (export "mine") (result funcref) (ref.func $seven))
              (func (export "call") (param funcref) (result funcref i32)
                (table.set (i32.const 0) (local.get 0))
                (ref.func $seven) (call_indirect (result i32) (i32.const 0)))
              (elem declare func $seven))"#,
        );
        linker.instance(store, "first", first);
        let second = load(
            engine,
            store,
            linker,
            r#"(module
              (import "first" "call" (func $call (param funcref) (result funcref i32)))
              (import "first" "mine" (func $mine (result funcref)))
              (func $nine (result i32) (i32.const 9))
              (table $t 1 funcref)
              (elem declare func $nine)
              (func $pass (result funcref i32) (return_call $call (ref.func $nine)))
              (func $theirs (result funcref) (return_call $mine))
              (func (export "both") (result i32 i32 i32) (local funcref i32)
                (call $pass) (local.set 1) (local.set 0)
                (table.set (i32.const 0) (local.get 0))
                (call_indirect (result i32) (i32.const 0))
                (local.get 1)
                (table.set (i32.const 0) (call $theirs))
                (call_indirect (result i32) (i32.const 0))))"#,
        );
        for _ in 0..300 {
            let both = call(store, second, "both", &[]).unwrap();
            assert!(matches!(both[..], [Val::I32(7), Val::I32(9), Val::I32(7)]), "{both:?}");
        }
    });
}

#[test]
fn traps_in_chains_have_backtraces() {
    each(|engine, store, linker| {
        let text = r#"(module
          (table $t 1 funcref)
          (func $end (param i32 f64) (unreachable))
          (func $chain (param i32)
            (if (i32.eqz (local.get 0)) (then (return_call $end (local.get 0) (f64.const 1))))
            (return_call $chain (i32.sub (local.get 0) (i32.const 1))))
          (func $outer (export "outer") (param i32) (call $chain (local.get 0)) (call $chain (local.get 0)))
          (func (export "null") (return_call_indirect $t (i32.const 0)))
          (func (export "out") (return_call_indirect $t (i32.const 1))))"#;
        let instance = load(engine, store, linker, text);
        for _ in 0..50 {
            match call(store, instance, "outer", &[Val::I32(1000)]) {
                Err(Error::Trap(trap)) => {
                    assert_eq!(trap.code.message(), "unreachable");
                    let names: Vec<&str> = trap.frames.iter().map(|f| &*f.name).collect();
                    assert_eq!(names, ["end", "outer"]);
                }
                other => panic!("{other:?}"),
            }
            for (name, message) in [("null", "uninitialized element"), ("out", "undefined element")]
            {
                match call(store, instance, name, &[]) {
                    Err(Error::Trap(trap)) => assert_eq!(trap.code.message(), message),
                    other => panic!("{other:?}"),
                }
            }
        }
    });
}

#[test]
fn endless_chains_stop() {
    each(|engine, store, linker| {
        let text = r#"(module
          (func $ping (export "ping") (param i64) (return_call $pong (f64.const 1) (local.get 0)))
          (func $pong (param f64 i64) (return_call $ping (i64.add (local.get 1) (i64.const 1)))))"#;
        let instance = load(engine, store, linker, text);
        let terminator = store.terminator();
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            terminator.terminate()
        });
        let result = call(store, instance, "ping", &[Val::I64(0)]);
        assert!(matches!(result, Err(Error::Stopped(_))), "{result:?}");
        assert!(stopper.join().unwrap());
    });
}
