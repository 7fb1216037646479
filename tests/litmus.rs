//! What threads may see of each other: the memory model's small programs, and waiting and notifying, under each strategy.
//!
//! Programs that race are in `tests/litmus/`, as scripts of the form that the threads proposal's own tests have; each fails only by
//! an outcome that the memory model forbids. Nothing here depends on timing: whoever must wait first is seen waiting
//! ([`Memory::waiting`]) before the next step.

mod common;

use common::{per_strategy, repository};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use updraft::{
    Config, Engine, Error, Extern, Instance, Linker, Memory, MemoryType, Module, Store, TrapCode,
    Tuning, Val, wast,
};

fn engine(strategy: &str) -> Engine {
    let strategy = strategy.parse().unwrap();
    Engine::new(Config { strategy, tuning: Tuning::EAGER, ..Config::default() })
}

fn races(strategy: &str) {
    let engine = engine(strategy);
    let mut scripts = 0;
    for entry in std::fs::read_dir(repository("tests/litmus")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let report = wast::run(&engine, &text).unwrap_or_else(|error| panic!("{name}:{error}"));
        assert!(report.failed.is_empty(), "{name}: {:#?}", report.failed);
        assert!(report.skipped.is_empty(), "{name}: {:#?}", report.skipped);
        scripts += 1;
    }
    assert!(scripts >= 12, "only {scripts} scripts");
}

const PARK: &str = r#"(module
  (memory (import "env" "memory") 1 1 shared)
  (func (export "wait32") (param i32 i32 i64) (result i32)
    (memory.atomic.wait32 (local.get 0) (local.get 1) (local.get 2)))
  (func (export "wait64") (param i32 i64 i64) (result i32)
    (memory.atomic.wait64 (local.get 0) (local.get 1) (local.get 2)))
  (func (export "notify") (param i32 i32) (result i32)
    (memory.atomic.notify (local.get 0) (local.get 1))))"#;

const FOREVER: i64 = -1;
// What waits return (threads proposal, "Wait and notify operators").
const WOKEN: i32 = 0;
const NOT_EQUAL: i32 = 1;
const TIMED_OUT: i32 = 2;

/// Threads with a memory.
struct Team {
    engine: Engine,
    module: Module,
    memory: Memory,
}

impl Team {
    fn new(strategy: &str) -> Team {
        let engine = engine(strategy);
        let module = Module::new(&engine, PARK).unwrap();
        let ty = MemoryType {
            memory64: false,
            shared: true,
            initial: 1,
            maximum: Some(1),
            page_size_log2: None,
        };
        let memory = Memory::with_type(&engine, ty).unwrap();
        let team = Team { engine, module, memory };
        // Warm enough to have been compiled, if the strategy wants that.
        let mut one = team.member();
        for _ in 0..100 {
            assert_eq!(one.call("notify", &[Val::I32(8), Val::I32(1)]), 0);
            assert_eq!(one.wait32(8, 1, FOREVER), NOT_EQUAL);
            assert_eq!(one.wait64(8, 1, FOREVER), NOT_EQUAL);
        }
        team
    }

    fn member(&self) -> Member {
        let mut store = Store::new(&self.engine).unwrap();
        let mut linker = Linker::new(&self.engine);
        linker.define("env", "memory", Extern::Memory(self.memory.clone()));
        let instance = linker.instantiate(&mut store, &self.module).unwrap();
        Member { store, instance }
    }

    /// Starts a thread that waits, and returns once it does.
    fn park(&self, address: i32, wide: bool, timeout: i64) -> JoinHandle<i32> {
        let before = self.memory.waiting(address as u64);
        let mut member = self.member();
        let thread = std::thread::spawn(move || match wide {
            false => member.wait32(address, 0, timeout),
            true => member.wait64(address, 0, timeout),
        });
        while self.memory.waiting(address as u64) == before {
            std::thread::yield_now();
        }
        thread
    }
}

/// An instance for one thread.
struct Member {
    store: Store,
    instance: Instance,
}

impl Member {
    fn call(&mut self, name: &str, args: &[Val]) -> i32 {
        let func = self.instance.func(&mut self.store, name).unwrap();
        match func.call(&mut self.store, args).unwrap()[..] {
            [Val::I32(value)] => value,
            ref other => panic!("{other:?}"),
        }
    }

    fn wait32(&mut self, address: i32, expected: i32, timeout: i64) -> i32 {
        self.call("wait32", &[Val::I32(address), Val::I32(expected), Val::I64(timeout)])
    }

    fn wait64(&mut self, address: i32, expected: i64, timeout: i64) -> i32 {
        self.call("wait64", &[Val::I32(address), Val::I64(expected), Val::I64(timeout)])
    }

    fn notify(&mut self, address: i32, count: i32) -> i32 {
        self.call("notify", &[Val::I32(address), Val::I32(count)])
    }
}

fn the_longest_waiting_wakes_first(strategy: &str) {
    let team = Team::new(strategy);
    let (woken, order) = mpsc::channel();
    let mut threads = Vec::new();
    for number in 0..6 {
        let mut member = team.member();
        let woken = woken.clone();
        threads.push(std::thread::spawn(move || {
            // Both widths, in turns: they share the queue.
            let result = match number % 2 {
                0 => member.wait32(0, 0, FOREVER),
                _ => member.wait64(0, 0, FOREVER),
            };
            woken.send(number).unwrap();
            result
        }));
        while team.memory.waiting(0) != number + 1 {
            std::thread::yield_now();
        }
    }
    let mut one = team.member();
    for number in 0..4 {
        assert_eq!(one.notify(0, 1), 1);
        assert_eq!(order.recv().unwrap(), number);
    }
    assert_eq!(one.notify(0, -1), 2, "the count is unsigned");
    for thread in threads {
        assert_eq!(thread.join().unwrap(), WOKEN);
    }
}

fn nobody_is_woken_twice(strategy: &str) {
    let team = Team::new(strategy);
    let mut one = team.member();
    let threads = [team.park(0, false, FOREVER), team.park(0, false, FOREVER)];
    assert_eq!(one.notify(0, 0), 0);
    assert_eq!(one.notify(4, 1), 0, "nobody waits there");
    assert_eq!(one.notify(0, 1), 1);
    assert_eq!(one.notify(0, 1), 1);
    assert_eq!(one.notify(0, 1), 0);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), WOKEN);
    }
}

fn widths_share_an_address(strategy: &str) {
    let team = Team::new(strategy);
    let mut one = team.member();
    let threads = [team.park(16, true, FOREVER), team.park(16, false, FOREVER)];
    // The upper half of what wait64 compares is another address.
    assert_eq!(one.notify(20, 9), 0);
    assert_eq!(one.notify(16, 9), 2);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), WOKEN);
    }
}

fn timeouts_are_not_early(strategy: &str) {
    let team = Team::new(strategy);
    let mut one = team.member();
    for nanoseconds in [0, 1, 1_000, 2_000_000] {
        for wide in [false, true] {
            let start = Instant::now();
            let result = match wide {
                false => one.wait32(0, 0, nanoseconds),
                true => one.wait64(0, 0, nanoseconds),
            };
            assert_eq!(result, TIMED_OUT);
            assert!(start.elapsed() >= Duration::from_nanos(nanoseconds as u64));
        }
    }
    assert_eq!(team.memory.waiting(0), 0, "they have taken themselves off");
    // Any negative number is forever, and so is what no clock will reach.
    let threads = [FOREVER, i64::MIN, i64::MAX].map(|timeout| team.park(0, false, timeout));
    assert_eq!(one.notify(0, 9), 3);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), WOKEN);
    }
}

fn values_are_compared_in_their_width(strategy: &str) {
    let team = Team::new(strategy);
    let mut one = team.member();
    team.memory.write(0, &(1u64 << 32 | 7).to_le_bytes()).unwrap();
    assert_eq!(one.wait32(0, 7, 0), TIMED_OUT);
    assert_eq!(one.wait32(4, 1, 0), TIMED_OUT);
    assert_eq!(one.wait64(0, 7, 0), NOT_EQUAL);
    assert_eq!(one.wait64(0, 1 << 32 | 7, 0), TIMED_OUT);
    assert_eq!(one.wait32(0, 8, FOREVER), NOT_EQUAL);
}

/// Every atomic operator, as a function of an address: its name, its size in bytes, and its text.
fn atomics() -> Vec<(String, u64, String)> {
    let mut all = Vec::new();
    for (ty, widths) in [("i32", &[8u64, 16, 32][..]), ("i64", &[8, 16, 32, 64])] {
        let full: u64 = ty[1..].parse().unwrap();
        for &width in widths {
            let (size, sign) =
                if width == full { (String::new(), "") } else { (width.to_string(), "_u") };
            let one = format!("({ty}.const 1)");
            let mut add = |name: String, operands: &str, results: bool| {
                let call = format!("({name} offset=16 (local.get 0) {operands})");
                all.push((name, width / 8, if results { format!("(drop {call})") } else { call }));
            };
            add(format!("{ty}.atomic.load{size}{sign}"), "", true);
            add(format!("{ty}.atomic.store{size}"), &one, false);
            for op in ["add", "sub", "and", "or", "xor", "xchg"] {
                add(format!("{ty}.atomic.rmw{size}.{op}{sign}"), &one, true);
            }
            add(format!("{ty}.atomic.rmw{size}.cmpxchg{sign}"), &format!("{one} {one}"), true);
        }
    }
    for (name, size, operands) in [
        ("memory.atomic.notify", 4, "(i32.const 1)"),
        ("memory.atomic.wait32", 4, "(i32.const 1) (i64.const 0)"),
        ("memory.atomic.wait64", 8, "(i64.const 1) (i64.const 0)"),
    ] {
        let text = format!("(drop ({name} offset=16 (local.get 0) {operands}))");
        all.push((name.into(), size, text));
    }
    all
}

/// An instance of a module with a function for each atomic operator.
fn all_atomics(strategy: &str, memory: &str) -> (Store, Instance) {
    let functions: String = atomics()
        .iter()
        .map(|(name, _, text)| format!("(func (export \"{name}\") (param i32) {text})\n"))
        .collect();
    let engine = engine(strategy);
    let module = Module::new(&engine, format!("(module {memory}\n{functions})")).unwrap();
    let mut store = Store::new(&engine).unwrap();
    let instance = Linker::new(&engine).instantiate(&mut store, &module).unwrap();
    (store, instance)
}

fn trap_of(result: Result<Vec<Val>, Error>) -> Option<TrapCode> {
    match result {
        Ok(_) => None,
        Err(Error::Trap(trap)) => Some(trap.code),
        Err(other) => panic!("{other}"),
    }
}

fn atomics_check_alignment_and_bounds(strategy: &str) {
    for memory in ["(memory 1 1 shared)", "(memory 1)"] {
        let (mut store, instance) = all_atomics(strategy, memory);
        for (name, size, _) in atomics() {
            let func = instance.func(&mut store, &name).unwrap();
            let mut call =
                |address: u64| trap_of(func.call(&mut store, &[Val::I32(address as u32 as i32)]));
            // The offset of each access is 16.
            let last = (1 << 16) - size - 16;
            let waits = memory == "(memory 1)" && name.contains("wait");
            for round in 0..20 {
                let fine = waits.then_some(TrapCode::ExpectedSharedMemory);
                assert_eq!(call(0), fine, "{name} in {memory}, round {round}");
                assert_eq!(call(last), fine, "{name} in {memory}, round {round}");
                for outside in [last + size, 1 << 16, u64::from(u32::MAX) + 1 - size] {
                    let expected = Some(TrapCode::MemoryOutOfBounds);
                    assert_eq!(call(outside), expected, "{name} at {outside:#x} in {memory}");
                }
                for misaligned in (1..size).map(|by| last - size + by) {
                    let expected = Some(TrapCode::UnalignedAtomic);
                    assert_eq!(call(misaligned), expected, "{name} at {misaligned:#x}");
                }
                // Where both are wrong the specification has no order.
                if size > 1 {
                    let both = call(last + 1).unwrap();
                    let either = [TrapCode::UnalignedAtomic, TrapCode::MemoryOutOfBounds];
                    assert!(either.contains(&both), "{name}: {both:?}");
                }
            }
        }
    }
}

fn unshared_memory_can_be_notified_but_not_waited_on(strategy: &str) {
    let engine = engine(strategy);
    let text = PARK.replace("(import \"env\" \"memory\") 1 1 shared", "1");
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine).unwrap();
    let instance = Linker::new(&engine).instantiate(&mut store, &module).unwrap();
    let mut one = Member { store, instance };
    for round in 0..50 {
        assert_eq!(one.notify(0, 1), 0, "round {round}");
        // Whatever is expected and however long.
        for (name, expected) in [("wait32", Val::I32(round)), ("wait64", Val::I64(0))] {
            for timeout in [0, FOREVER] {
                let func = one.instance.func(&mut one.store, name).unwrap();
                let args = [Val::I32(0), expected.clone(), Val::I64(timeout)];
                let trap = trap_of(func.call(&mut one.store, &args));
                assert_eq!(trap, Some(TrapCode::ExpectedSharedMemory), "{name}, round {round}");
            }
        }
    }
}

per_strategy!(
    races,
    the_longest_waiting_wakes_first,
    nobody_is_woken_twice,
    widths_share_an_address,
    timeouts_are_not_early,
    values_are_compared_in_their_width,
    atomics_check_alignment_and_bounds,
    unshared_memory_can_be_notified_but_not_waited_on,
);
