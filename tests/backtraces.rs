//! Backtraces: functions, byte offsets and lines of the source are the same in every tier.

mod common;

use common::{Updraft, per_strategy, repository, temporary, tier};
use updraft::{Config, Engine, Error, Linker, Module, Store, Strategy, Trap, Val};

/// `$outer` calls `$middle` in a loop, which calls `$inner` through a table, which traps once its argument is 0.
const TEXT: &str = r#"(module
  (type $t (func (param i32) (result i32)))
  (table funcref (elem $inner))
  (func $inner (type $t)
    (i32.div_u
      (i32.const 7)
      (local.get 0)))
  (func $middle (param i32) (result i32)
    (i32.add
      (call_indirect (type $t)
        (local.get 0)
        (i32.const 0))
      (i32.const 1)))
  (func (export "outer") (param i32) (result i32)
    (loop $again
      (drop
        (call $middle (local.get 0)))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br $again))
    unreachable))
"#;

fn trap(strategy: &str, turns: i32) -> Trap {
    let file = temporary(".wat", TEXT);
    let strategy: Strategy = tier(strategy, 0).parse().expect("a strategy");
    let engine = Engine::new(Config { strategy, ..Config::default() });
    let module = Module::from_file(&engine, &file).expect("it is valid");
    let mut store = Store::new(&engine).expect("memory");
    let instance = Linker::new(&engine).instantiate(&mut store, &module).expect("no imports");
    let outer = instance.func(&mut store, "outer").expect("it is exported");
    match outer.call(&mut store, &[Val::I32(turns)]) {
        Err(Error::Trap(mut trap)) => {
            trap.locate();
            trap
        }
        other => panic!("no trap: {other:?}"),
    }
}

/// The offset of the only occurrence of these bytes.
fn find(bytes: &[u8], wanted: &[u8]) -> u32 {
    let found: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at..].starts_with(wanted)).collect();
    assert_eq!(found.len(), 1, "{wanted:x?} at {found:?}");
    found[0] as u32
}

fn frames_are_located(strategy: &str) {
    let bytes = wat::parse_str(TEXT).expect("the text is right");
    for turns in [0, 10, 300_000, 3_000_000] {
        let trap = trap(strategy, turns);
        let told = format!("{strategy}, {turns} turns: {trap}");
        let names: Vec<&str> = trap.frames.iter().map(|frame| frame.name.as_str()).collect();
        assert_eq!(names, ["inner", "middle", "outer"], "{told}");

        let lines: Vec<u32> = trap.frames.iter().map(|frame| frame.source[0].line).collect();
        assert_eq!(lines, [5, 10, 17], "{told}");
        for frame in &trap.frames {
            assert!(frame.source[0].file.ends_with(".wat"), "{told}");
        }

        // The custom sections of DWARF come last, so that the offsets are those of the plain module.
        let offsets: Vec<Option<u32>> = trap.frames.iter().map(|frame| frame.offset).collect();
        let division = find(&bytes, &[0x41, 7, 0x20, 0, 0x6e]) + 4;
        let indirect = find(&bytes, &[0x20, 0, 0x41, 0, 0x11, 0, 0]) + 4;
        let direct = find(&bytes, &[0x20, 0, 0x10, 1, 0x1a]) + 2;
        assert_eq!(offsets, [Some(division), Some(indirect), Some(direct)], "{told}");
    }
}

/// A program in C, whose DWARF tells of a function that was inlined.
fn inlined_functions_are_told(strategy: &str) {
    for turns in ["10", "1000000"] {
        let program = repository("tests/dwarf/inlined.wasm");
        let ended = Updraft::run(strategy).arg(program).arg(turns).end();
        let ended = ended.trapped("unreachable in the main thread", "work");
        let wanted = [
            "at ./inlined.c:5:15 in divide",
            "at ./inlined.c:12:10 in work",
            "at ./inlined.c:17:10",
        ];
        let lines = ended.stderr.lines().map(str::trim);
        let told: Vec<&str> = lines.filter(|line| line.starts_with("at ")).collect();
        assert_eq!(told, wanted, "{strategy}\n{ended}");
    }
}

per_strategy!(frames_are_located, inlined_functions_are_told);
