//! Every access traps where the specification says, and nothing before a trap is lost: in each tier, with exact traps (the
//! default). What relaxed traps give up, and what they do not.

mod common;

use common::per_strategy;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use updraft::{
    Config, Engine, Error, Extern, Instance, Linker, Memory, Module, Process, ProcessConfig, Store,
    TrapCode, Tuning, Val,
};

/// Calls until all tiers have been at work, under strategies that get there.
const WARM: usize = 40;

fn engine(strategy: &str, exact_traps: bool) -> Engine {
    let strategy = strategy.parse().unwrap();
    Engine::new(Config { strategy, tuning: Tuning::EAGER, exact_traps, ..Config::default() })
}

/// A module's instance.
struct Wasm {
    store: Store,
    instance: Instance,
}

impl Wasm {
    fn with(engine: &Engine, text: &str) -> Wasm {
        let module = Module::new(engine, text).unwrap();
        let mut store = Store::new(engine).unwrap();
        let instance = Linker::new(engine).instantiate(&mut store, &module).unwrap();
        Wasm { store, instance }
    }

    fn new(strategy: &str, text: &str) -> Wasm {
        Wasm::with(&engine(strategy, true), text)
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, TrapCode> {
        let func = self.instance.func(&mut self.store, name).expect("the function exists");
        func.call(&mut self.store, args).map_err(|error| match error {
            Error::Trap(trap) => trap.code,
            other => panic!("{other}"),
        })
    }

    fn memory(&mut self) -> Memory {
        self.instance.memory(&mut self.store, "memory").unwrap()
    }

    fn byte(&mut self, address: u64) -> u8 {
        let mut byte = [0];
        self.memory().read(address, &mut byte).unwrap();
        byte[0]
    }

    fn global(&mut self, name: &str) -> i32 {
        match self.instance.export(&mut self.store, name) {
            Some(Extern::Global(global)) => match global.get(&mut self.store) {
                Val::I32(value) => value,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

/// The one page that these programs have.
const PAGE: u64 = 1 << 16;

/// Loads: operator, bytes.
const LOADS: &[(&str, u64)] = &[
    ("i32.load", 4),
    ("i32.load8_s", 1),
    ("i32.load8_u", 1),
    ("i32.load16_s", 2),
    ("i32.load16_u", 2),
    ("i64.load", 8),
    ("i64.load8_s", 1),
    ("i64.load8_u", 1),
    ("i64.load16_s", 2),
    ("i64.load16_u", 2),
    ("i64.load32_s", 4),
    ("i64.load32_u", 4),
    ("f32.load", 4),
    ("f64.load", 8),
];

const STORES: &[(&str, u64)] = &[
    ("i32.store", 4),
    ("i32.store8", 1),
    ("i32.store16", 2),
    ("i64.store", 8),
    ("i64.store8", 1),
    ("i64.store16", 2),
    ("i64.store32", 4),
    ("f32.store", 4),
    ("f64.store", 8),
];

/// Addresses at which an access of so many bytes is the last one that fits, and those around the end at which it is not.
fn outside(size: u64, offset: u64) -> impl Iterator<Item = u64> {
    // Those that straddle the end, the end itself, and the end of the address space.
    (1..=size).map(move |by| PAGE - size - offset + by).chain([
        PAGE,
        PAGE + 7,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff - offset,
        0xffff_ffff,
    ])
}

fn address(value: u64) -> Val {
    Val::I32(value as u32 as i32)
}

/// Calls `name` at all places; what is outside must trap.
fn check_bounds(wasm: &mut Wasm, name: &str, size: u64, offset: u64) {
    for _ in 0..WARM {
        for inside in [0, 1, 8, PAGE - size - offset] {
            assert!(wasm.call(name, &[address(inside)]).is_ok(), "{name} at {inside:#x}");
        }
        for outside in outside(size, offset) {
            let got = wasm.call(name, &[address(outside)]);
            assert_eq!(got.unwrap_err(), TrapCode::MemoryOutOfBounds, "{name} at {outside:#x}");
        }
    }
}

fn unused_loads_trap(strategy: &str) {
    let mut text = String::from("(module (memory 1)\n");
    for (op, _) in LOADS {
        for offset in [0, 5] {
            text += &format!(
                "(func (export \"{op} {offset}\") (param i32)
                   (drop ({op} offset={offset} (local.get 0))))\n"
            );
        }
    }
    let mut wasm = Wasm::new(strategy, &(text + ")"));
    for (op, size) in LOADS {
        for offset in [0, 5] {
            check_bounds(&mut wasm, &format!("{op} {offset}"), *size, offset);
        }
    }
}

/// Loops of compare-and-exchange as C libraries have them, which compiled code takes for one operation: what they do, what they return, and
/// how they trap. The load is before the exchange, so an address that is outside and unaligned is outside.
fn exchange_loops_are_as_they_were_written(strategy: &str) {
    type Update = fn(u64, u64) -> u64;
    let loops: [(&str, &str, Update); 9] = [
        ("swap", "(local.get $v)", |_, v| v),
        ("clear", "(T.const 0)", |_, _| 0),
        ("add", "(local.get $old) (local.get $v) (T.add)", |old, v| old.wrapping_add(v)),
        ("add to", "(local.get $v) (local.get $old) (T.add)", |old, v| old.wrapping_add(v)),
        ("sub", "(local.get $old) (local.get $v) (T.sub)", |old, v| old.wrapping_sub(v)),
        // Not what an instruction does: the loop stays.
        ("sub from", "(local.get $v) (local.get $old) (T.sub)", |old, v| v.wrapping_sub(old)),
        ("and", "(local.get $old) (T.const -8) (T.and)", |old, _| old & !7),
        ("or", "(local.get $old) (local.get $v) (T.or)", |old, v| old | v),
        ("xor", "(local.get $v) (local.get $old) (T.xor)", |old, v| old ^ v),
    ];
    let mut text = String::from("(module (memory (export \"memory\") 1)\n");
    for (name, update, _) in loops {
        for ty in ["i32", "i64"] {
            let update = update.replace('T', ty);
            text += &format!(
                "(func (export \"{name} {ty}\") (param $at i32) (param $v {ty}) (result {ty}) (local $old {ty})
                   (loop
                     (local.get $at) ({ty}.load offset=8) (local.tee $old)
                     (local.get $at) (local.get $old) {update} ({ty}.atomic.rmw.cmpxchg offset=8)
                     ({ty}.ne) (br_if 0))
                   (local.get $old))\n"
            );
        }
    }
    let mut wasm = Wasm::new(strategy, &(text + ")"));
    for (name, _, result) in loops {
        for (ty, size) in [("i32", 4), ("i64", 8)] {
            let value = |bits: u64| match size {
                4 => Val::I32(bits as i32),
                _ => Val::I64(bits.cast_signed()),
            };
            let mask = u64::MAX >> (64 - 8 * size);
            let name = format!("{name} {ty}");
            let mut old = 0x1234_5678_9abc_def0_u64;
            for round in 0..WARM as u64 {
                let v = round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                wasm.memory().write(24, &old.to_le_bytes()).unwrap();
                let got = wasm.call(&name, &[address(16), value(v)]).unwrap();
                assert_eq!(format!("{got:?}"), format!("{:?}", [value(old)]), "{name}");
                let mut now = [0; 8];
                wasm.memory().read(24, &mut now).unwrap();
                let expected = old & !mask | result(old, v) & mask;
                assert_eq!(u64::from_le_bytes(now), expected, "{name} of {old:#x} and {v:#x}");
                for (at, trap) in [
                    (1, TrapCode::UnalignedAtomic),
                    (PAGE - 8, TrapCode::MemoryOutOfBounds),
                    (PAGE - 8 - size + 1, TrapCode::MemoryOutOfBounds),
                    (0xffff_ffff, TrapCode::MemoryOutOfBounds),
                ] {
                    let got = wasm.call(&name, &[address(at), value(v)]);
                    assert_eq!(got.unwrap_err(), trap, "{name} at {at:#x}");
                }
                old = expected;
            }
        }
    }
}

/// The value is loaded, but the result does not depend on it.
fn loads_that_change_nothing_trap(strategy: &str) {
    let uses = [
        ("zero times", "(i32.mul (i32.load (local.get 0)) (i32.const 0))"),
        ("and zero", "(i32.and (i32.const 0) (i32.load (local.get 0)))"),
        ("or all", "(i32.or (i32.load (local.get 0)) (i32.const -1))"),
        ("not selected", "(select (i32.const 1) (i32.load (local.get 0)) (i32.const 1))"),
        (
            "shifted out",
            "(i32.wrap_i64 (i64.shr_u (i64.shl (i64.extend_i32_u (i32.load (local.get 0)))
            (i64.const 32)) (i64.const 63)))",
        ),
        ("minus itself", "(i32.sub (i32.load (local.get 0)) (i32.load (local.get 0)))"),
        (
            "overwritten",
            "(local.set 1 (i32.load (local.get 0))) (local.set 1 (i32.const 3)) (local.get 1)",
        ),
        (
            "same on both sides",
            "(if (result i32) (i32.load (local.get 0)) (then (i32.const 1)) (else (i32.const 1)))",
        ),
    ];
    let functions: String = uses
        .iter()
        .map(|(name, body)| {
            format!("(func (export \"{name}\") (param i32) (result i32) (local i32) {body})\n")
        })
        .collect();
    let mut wasm = Wasm::new(strategy, &format!("(module (memory 1)\n{functions})"));
    for (name, _) in uses {
        check_bounds(&mut wasm, name, 4, 0);
    }
}

fn stores_that_straddle_the_end_write_nothing(strategy: &str) {
    let mut text = String::from("(module (memory (export \"memory\") 1)\n");
    for (op, _) in STORES {
        let ty = &op[..3];
        let one = match ty {
            "f32" => "(f32.reinterpret_i32 (i32.const -1))".into(),
            "f64" => "(f64.reinterpret_i64 (i64.const -1))".into(),
            _ => format!("({ty}.const -1)"),
        };
        text += &format!("(func (export \"{op}\") (param i32) ({op} (local.get 0) {one}))\n");
    }
    let mut wasm = Wasm::new(strategy, &(text + ")"));
    for (op, size) in STORES {
        check_bounds(&mut wasm, op, *size, 0);
        // What was inside has been written; clear it, and see that what straddles leaves it alone.
        for _ in 0..3 {
            wasm.memory().write(PAGE - 16, &[0; 16]).unwrap();
            for by in 1..*size {
                let at = PAGE - size + by;
                let result = wasm.call(op, &[address(at)]);
                assert_eq!(result.unwrap_err(), TrapCode::MemoryOutOfBounds);
                let mut end = [0; 16];
                wasm.memory().read(PAGE - 16, &mut end).unwrap();
                assert_eq!(end, [0; 16], "{op} at {at:#x} wrote something");
            }
        }
    }
}

fn what_is_before_a_trap_stays_and_what_is_behind_does_not_come(strategy: &str) {
    let traps = [
        ("store", "(i32.store (i32.const 65533) (i32.const 9))", TrapCode::MemoryOutOfBounds),
        ("load", "(drop (i32.load (i32.const 65533)))", TrapCode::MemoryOutOfBounds),
        (
            "divide",
            "(drop (i32.div_s (i32.const 1) (local.get $zero)))",
            TrapCode::IntegerDivideByZero,
        ),
        (
            "remainder",
            "(drop (i64.rem_u (i64.const 1) (i64.extend_i32_u (local.get $zero))))",
            TrapCode::IntegerDivideByZero,
        ),
        (
            "overflow",
            "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (local.get $zero) (i32.const 1))))",
            TrapCode::IntegerOverflow,
        ),
        (
            "truncate",
            "(drop (i32.trunc_f32_s (f32.div (f32.const 0) (f32.convert_i32_s (local.get $zero)))))",
            TrapCode::InvalidConversionToInteger,
        ),
        ("truncate large", "(drop (i64.trunc_f64_u (f64.const 1e30)))", TrapCode::IntegerOverflow),
        ("unreachable", "(unreachable)", TrapCode::Unreachable),
        ("table", "(drop (table.get (i32.const 4)))", TrapCode::TableOutOfBounds),
        ("call", "(call_indirect (i32.const 4))", TrapCode::UndefinedElement),
        ("call null", "(call_indirect (i32.const 1))", TrapCode::UninitializedElement),
        (
            "fill",
            "(memory.fill (i32.const 65530) (i32.const 1) (i32.const 7))",
            TrapCode::MemoryOutOfBounds,
        ),
        (
            "copy",
            "(memory.copy (i32.const 65530) (i32.const 0) (i32.const 7))",
            TrapCode::MemoryOutOfBounds,
        ),
        ("atomic", "(drop (i32.atomic.load (i32.const 65534)))", TrapCode::UnalignedAtomic),
    ];
    let functions: String = traps
        .iter()
        .map(|(name, body, _)| {
            format!(
                "(func (export \"{name}\") (param $n i32) (local $zero i32)
                   (i32.store (i32.const 100) (local.get $n))
                   (global.set $g (local.get $n))
                   {body}
                   (i32.store (i32.const 100) (i32.const -1))
                   (i32.store (i32.const 104) (i32.const -1))
                   (global.set $g (i32.const -1)))\n"
            )
        })
        .collect();
    let text = format!(
        "(module (memory (export \"memory\") 1) (table 3 funcref)
           (global $g (export \"g\") (mut i32) (i32.const 0))
           (func (export \"peek\") (result i32 i32)
             (i32.load (i32.const 100)) (i32.load (i32.const 104)))
           {functions})"
    );
    let mut wasm = Wasm::new(strategy, &text);
    for (name, _, code) in traps {
        for round in 0..WARM as i32 {
            assert_eq!(wasm.call(name, &[Val::I32(round)]).unwrap_err(), code, "{name}");
            assert_eq!(wasm.global("g"), round, "{name}");
            let seen = wasm.call("peek", &[]).unwrap();
            assert!(
                matches!(seen[..], [Val::I32(first), Val::I32(0)] if first == round),
                "{name}, round {round}: {seen:?}"
            );
            // Nothing of a fill or copy that does not fit is done.
            assert_eq!(wasm.byte(65530), 0, "{name}");
        }
    }
}

/// Operators on constants that trap, whose results are used: what is behind the trap is compiled, too.
fn constants_that_trap_do(strategy: &str) {
    let traps = [
        (
            "(f64.mul (f64.convert_i32_s (i32.trunc_f64_s (f64.const 1e30))) (f64.const 1))",
            TrapCode::IntegerOverflow,
        ),
        (
            "(f64.sub (f64.convert_i32_s (i32.div_s (i32.const 1) (i32.const 0))) (f64.const 0))",
            TrapCode::IntegerDivideByZero,
        ),
        (
            "(f64.promote_f32 (f32.div (f32.convert_i32_s (i32.rem_u (i32.const 1) (i32.const 0))) (f32.const -1)))",
            TrapCode::IntegerDivideByZero,
        ),
        (
            "(f64.mul (f64.convert_i64_u (i64.trunc_f32_u (f32.const nan))) (f64.const 1))",
            TrapCode::InvalidConversionToInteger,
        ),
        ("(f64.add (f64.load (i32.const -8)) (f64.const 0))", TrapCode::MemoryOutOfBounds),
    ];
    let functions: String = traps
        .iter()
        .enumerate()
        .map(|(i, (body, _))| format!("(func (export \"{i}\") (result f64) {body})\n"))
        .collect();
    let mut wasm = Wasm::new(strategy, &format!("(module (memory 1) {functions})"));
    for _ in 0..WARM {
        for (i, (body, code)) in traps.iter().enumerate() {
            assert_eq!(wasm.call(&i.to_string(), &[]).unwrap_err(), *code, "{body}");
        }
    }
}

/// A loop that runs past the end stops there, with all before it done and nothing behind, however the loop was compiled.
fn loops_stop_at_the_end(strategy: &str) {
    let text = r#"(module
      (memory (export "memory") 1)
      (global $turns (export "turns") (mut i32) (i32.const 0))
      ;; A counted loop that stores, as one that a compiler would turn into a vector loop.
      (func (export "store") (param $from i32) (param $count i32) (local $i i32)
        (loop $l
          (i32.store (i32.add (local.get $from) (i32.shl (local.get $i) (i32.const 2))) (i32.const 0x01010101))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (global.set $turns (local.get $i))
          (br_if $l (i32.lt_u (local.get $i) (local.get $count)))))
      ;; Without a counter that others see.
      (func (export "store quietly") (param $from i32) (param $count i32) (local $i i32)
        (loop $l
          (i32.store (i32.add (local.get $from) (i32.shl (local.get $i) (i32.const 2))) (i32.const 0x01010101))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $i) (local.get $count)))))
      ;; The loaded values are not used.
      (func (export "load") (param $from i32) (param $count i32) (local $i i32)
        (loop $l
          (drop (i32.load (i32.add (local.get $from) (i32.shl (local.get $i) (i32.const 2)))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (global.set $turns (local.get $i))
          (br_if $l (i32.lt_u (local.get $i) (local.get $count)))))
      ;; A copy, backwards, of bytes.
      (func (export "copy down") (param $from i32) (param $count i32) (local $i i32)
        (local.set $i (local.get $count))
        (loop $l
          (local.set $i (i32.sub (local.get $i) (i32.const 1)))
          (i32.store8 (i32.add (local.get $from) (local.get $i))
            (i32.load8_u (i32.sub (local.get $i) (i32.const 64))))
          (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
          (br_if $l (local.get $i))))
      (func (export "sum") (param $from i32) (param $count i32) (result i32) (local $i i32) (local $sum i32)
        (loop $l
          (local.set $sum (i32.add (local.get $sum)
            (i32.load (i32.add (local.get $from) (i32.shl (local.get $i) (i32.const 2))))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $i) (local.get $count))))
        (local.get $sum)))"#;
    let mut wasm = Wasm::new(strategy, text);
    for round in 0..12u64 {
        // So many elements fit; the last of the others straddles the end, or lies behind it.
        let fit = 600 + round * 7;
        let skew = round % 4;
        let from = PAGE - fit * 4 - skew;
        for name in ["store", "store quietly", "load"] {
            wasm.memory().write(from - 4, &vec![0; (PAGE - from + 4) as usize]).unwrap();
            let args = [address(from), Val::I32(5000)];
            let result = wasm.call(name, &args);
            assert_eq!(result.unwrap_err(), TrapCode::MemoryOutOfBounds, "{name}, round {round}");
            if name != "store quietly" {
                assert_eq!(wasm.global("turns"), fit as i32, "{name}, round {round}");
            }
            if name != "load" {
                let mut bytes = vec![0; (PAGE - from) as usize];
                wasm.memory().read(from, &mut bytes).unwrap();
                let (done, rest) = bytes.split_at(fit as usize * 4);
                assert!(done.iter().all(|byte| *byte == 1), "{name}, round {round}: lost");
                assert!(rest.iter().all(|byte| *byte == 0), "{name}, round {round}: too many");
            }
            // And the whole of it, where it fits.
            assert!(wasm.call(name, &[address(from), Val::I32(fit as i32)]).is_ok());
        }
        assert!(wasm.call("sum", &[address(from), Val::I32(fit as i32)]).is_ok());
        let past = wasm.call("sum", &[address(from), Val::I32(fit as i32 + 1)]);
        assert_eq!(past.unwrap_err(), TrapCode::MemoryOutOfBounds);
        // The source runs below 0, which is far above the end.
        wasm.call("store", &[address(0), Val::I32(300)]).unwrap();
        let before = wasm.global("turns");
        let down = wasm.call("copy down", &[address(2000), Val::I32(1000)]);
        assert_eq!(down.unwrap_err(), TrapCode::MemoryOutOfBounds);
        assert_eq!(wasm.global("turns") - before, 1000 - 64, "round {round}");
    }
}

/// Memory that grows inside of a loop is there at once, and not before.
fn growing_moves_the_end(strategy: &str) {
    let text = r#"(module
      (memory (export "memory") 1 40)
      (func (export "grow and touch") (param $pages i32) (result i32) (local $last i32)
        (loop $l
          (local.set $last (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 4)))
          (i32.store (local.get $last) (local.get $pages))
          (drop (memory.grow (i32.const 1)))
          (i32.store offset=4 (local.get $last) (local.get $pages))
          (br_if $l (local.tee $pages (i32.sub (local.get $pages) (i32.const 1)))))
        (memory.size))
      (func (export "touch the end")
        (i32.store (i32.shl (memory.size) (i32.const 16)) (i32.const 1))))"#;
    for _ in 0..4 {
        let mut wasm = Wasm::new(strategy, text);
        for pages in [1, 3, 30] {
            wasm.call("grow and touch", &[Val::I32(pages)]).unwrap();
            let end = wasm.call("touch the end", &[]);
            assert_eq!(end.unwrap_err(), TrapCode::MemoryOutOfBounds);
        }
        assert_eq!(wasm.memory().size(), 35 * PAGE);
        // From 40 pages on it does not grow, and so the store behind the end traps.
        let result = wasm.call("grow and touch", &[Val::I32(6)]);
        assert_eq!(result.unwrap_err(), TrapCode::MemoryOutOfBounds);
    }
}

/// A plain load in a loop is done anew on each turn: another thread's store ends the loop.
fn spin_waits_on_plain_loads_end(strategy: &str) {
    let text = r#"(module
      (memory (export "memory") 1 1 shared)
      (func (export "spin") (param $warm i32)
        (i32.atomic.store (i32.const 64) (i32.const 1))
        (loop $l
          (br_if $l (i32.eqz (i32.load (i32.const 0))))))
      (func (export "spin two") (param $warm i32) (result i32) (local $seen i32)
        (i32.atomic.store (i32.const 64) (i32.const 1))
        (loop $l
          (local.set $seen (i32.load (i32.const 128)))
          (br_if $l (i32.eqz (i32.load8_u offset=3 (i32.const 0)))))
        (local.get $seen)))"#;
    let mut wasm = Wasm::new(strategy, text);
    let memory = wasm.memory();
    let word = |address: u64| {
        let mut bytes = [0; 4];
        memory.read(address, &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    };
    for round in 0..6 {
        for name in ["spin", "spin two"] {
            memory.write(0, &[0; 128]).unwrap();
            let terminator = wasm.store.terminator();
            std::thread::scope(|scope| {
                let spinning = scope.spawn(|| wasm.call(name, &[Val::I32(0)]));
                while word(64) == 0 {
                    std::thread::yield_now();
                }
                // Now it is in the loop, or about to be. Some rounds let it come to better tiers.
                std::thread::sleep(Duration::from_millis(round * 4));
                memory.write(0, &[1; 4]).unwrap();
                let start = std::time::Instant::now();
                while !spinning.is_finished() {
                    if start.elapsed() > common::GUARD {
                        terminator.terminate();
                        panic!("{name} does not see the store, round {round}");
                    }
                    std::thread::yield_now();
                }
                spinning.join().unwrap().unwrap();
            });
        }
    }
}

/// Relaxed traps: what the program uses is right, and used values trap; what they may lose is only what the flag says.
fn relaxed_traps_keep_what_is_used(strategy: &str) {
    let text = r#"(module
      (memory (export "memory") 1)
      (func (export "used") (param i32) (result i32) (i32.load (local.get 0)))
      (func (export "used 64") (param i32) (result i64) (i64.load (local.get 0)))
      (func (export "stored") (param i32) (i32.store (local.get 0) (i32.const 7)))
      (func (export "unused") (param i32) (drop (i32.load (local.get 0))))
      (func (export "fill") (param $n i32) (result i32) (local $i i32) (local $sum i32)
        (loop $l
          (i32.store (i32.shl (local.get $i) (i32.const 2)) (i32.mul (local.get $i) (local.get $n)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))
        (local.set $i (i32.const 0))
        (loop $l
          (local.set $sum (i32.add (local.get $sum) (i32.load (i32.shl (local.get $i) (i32.const 2)))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $i) (i32.const 1000))))
        (local.get $sum)))"#;
    let mut wasm = Wasm::with(&engine(strategy, false), text);
    for n in 0..WARM as i32 {
        let sum = wasm.call("fill", &[Val::I32(n)]).unwrap();
        assert!(matches!(sum[..], [Val::I32(sum)] if sum == n * 499_500), "{sum:?}");
    }
    check_bounds(&mut wasm, "used", 4, 0);
    check_bounds(&mut wasm, "used 64", 8, 0);
    check_bounds(&mut wasm, "stored", 4, 0);
    for _ in 0..WARM {
        // Either is fine.
        if let Err(code) = wasm.call("unused", &[address(PAGE)]) {
            assert_eq!(code, TrapCode::MemoryOutOfBounds);
        }
    }
}

/// A trap in a thread leaves all that the thread did before it, and nothing behind it, to whoever looks at the memory afterwards.
fn a_threads_last_stores_are_seen(strategy: &str) {
    let text = r#"(module
      (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
      (import "host" "keep" (func $keep))
      (memory (export "memory") (import "env" "memory") 1 1 shared)
      (func (export "wasi_thread_start") (param i32 i32)
        (i32.store (i32.const 8) (local.get 1))
        (i32.atomic.store (i32.const 0) (i32.const 1))
        (i32.store (i32.const 12) (local.get 1))
        (i32.store (i32.const 65533) (i32.const -1))
        (i32.store (i32.const 12) (i32.const -1)))
      (func (export "_start")
        (call $keep)
        (drop (call $spawn (i32.const 5)))
        (loop $l (br $l))))"#;
    let engine = engine(strategy, true);
    let module = Module::new(&engine, text).unwrap();
    for _ in 0..5 {
        let kept: Arc<Mutex<Option<Memory>>> = Arc::default();
        let mut linker = Linker::new(&engine);
        let keeper = kept.clone();
        linker.func("host", "keep", move |caller, ()| {
            *keeper.lock().unwrap() = caller.memory();
            Ok(())
        });
        let process = Process::new(&linker, &module, &ProcessConfig::default()).unwrap();
        match process.run() {
            Err(Error::Trap(trap)) => assert_eq!(trap.code, TrapCode::MemoryOutOfBounds),
            other => panic!("{other:?}"),
        }
        let memory = kept.lock().unwrap().take().expect("the program has run");
        let mut words = [0; 16];
        memory.read(0, &mut words).unwrap();
        assert_eq!(words, [1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0]);
        let mut end = [1; 3];
        memory.read(PAGE - 3, &mut end).unwrap();
        assert_eq!(end, [0; 3]);
    }
}

per_strategy!(
    exchange_loops_are_as_they_were_written,
    unused_loads_trap,
    loads_that_change_nothing_trap,
    stores_that_straddle_the_end_write_nothing,
    what_is_before_a_trap_stays_and_what_is_behind_does_not_come,
    constants_that_trap_do,
    loops_stop_at_the_end,
    growing_moves_the_end,
    spin_waits_on_plain_loads_end,
    relaxed_traps_keep_what_is_used,
    a_threads_last_stores_are_seen,
);
