//! Memory, atomics, tables and globals as code sees them; traps and where they are; what optimisation may do.
#![cfg(feature = "llvm")]

mod common;

use common::{LEVELS, Vm, Wasm, f32, f64, i32};
use updraft_jit::abi::{Ref, TrapCode};
use updraft_jit::{CodeSpace, Compiler, Job, Level, Options, Symbol, Text};

const MEMORY: &str = r#"(module
  (memory 1 4)
  (func (export "store") (param i32 i64)
    (i64.store offset=3 (local.get 0) (local.get 1)))
  (func (export "load8") (param i32) (result i64) (i64.load8_s offset=3 (local.get 0)))
  (func (export "dropped") (param i32) (drop (i32.load (local.get 0))))
  (func (export "times_zero") (param i32) (result i32)
    (i32.mul (i32.load (local.get 0)) (i32.const 0)))
  (func (export "two_stores") (param i32)
    (i32.store (i32.const 8) (i32.const 1))
    (i32.store (local.get 0) (i32.const 5))
    (i32.store (i32.const 8) (i32.const 2)))
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "bulk")
    (memory.fill (i32.const 4) (i32.const 5) (i32.const 6))
    (memory.init 0 (i32.const 7) (i32.const 1) (i32.const 2))
    (memory.copy (i32.const 100) (i32.const 6) (i32.const 3))
    (data.drop 0)
    (memory.copy (i32.const -1) (i32.const 2) (i32.const 3)))
  (data "xyz")
)"#;

#[test]
fn accesses_trap_where_the_specification_says_and_no_later() {
    for level in LEVELS {
        let vm = Vm::new(MEMORY);
        vm.compile_all(level);
        assert_eq!(vm.call("store", &[5, 0x1122_3344_5566_7788]), Ok(vec![]));
        assert_eq!(vm.memory(8), 0x1122_3344_5566_7788_u64.to_le_bytes());
        assert_eq!(vm.call1("load8", &[5]), Ok(0x88_u8 as i8 as u64), "{level:?}");
        let outside = TrapCode::MemoryOutOfBounds;
        for name in ["load8", "times_zero"] {
            assert_eq!(vm.call1(name, &[i32(-1)]), Err(outside), "{name} {level:?}");
        }
        assert_eq!(vm.call("dropped", &[1 << 20]), Err(outside), "{level:?}");
        assert_eq!(vm.call("two_stores", &[1 << 20]), Err(outside), "{level:?}");
        assert_eq!(vm.memory(8), 1_u32.to_le_bytes(), "the first store was done, {level:?}");
        assert_eq!(vm.call("store", &[0xfff6, 0]), Err(outside), "the last byte, {level:?}");
        assert_eq!(vm.call1("grow", &[1]), Ok(1));
        assert_eq!(vm.call1("size", &[]), Ok(2));
        assert_eq!(vm.call("store", &[0xfff6, 0]), Ok(vec![]), "{level:?}");
        assert_eq!(vm.call1("grow", &[3]), Ok(0xffff_ffff));
    }
}

#[test]
fn bulk_operators_pass_their_operands() {
    for level in LEVELS {
        let vm = Vm::new(MEMORY);
        vm.compile_all(level);
        assert_eq!(vm.call("bulk", &[]), Err(TrapCode::MemoryOutOfBounds), "{level:?}");
        assert_eq!(vm.memory(100), [5, b'y', b'z'], "{level:?}");
        assert_eq!(
            *vm.recorded.borrow(),
            [
                ("fill", vec![0, 4, 5, 6]),
                ("init", vec![0, 0, 7, 1, 2]),
                ("copy", vec![0, 0, 100, 6, 3]),
                ("data.drop", vec![0]),
                ("copy", vec![0, 0, 0xffff_ffff, 2, 3]),
            ]
        );
    }
}

#[test]
fn traps_know_their_place() {
    let text = r#"(module (memory 1)
      (func $divide (param i32 i32) (result i32)
        (i32.add
          (i32.div_u (i32.const 100) (local.get 0))
          (i32.div_u (i32.const 200) (local.get 1))))
      (func (export "divide") (param i32 i32) (result i32)
        (i32.add (i32.const 1) (call $divide (local.get 0) (local.get 1))))
      (func (export "load") (param i32 i32) (result i32)
        (i32.add (i32.load (local.get 0)) (i32.load (local.get 1)))))"#;
    for level in LEVELS {
        let vm = Vm::new(text);
        vm.compile_all(level);
        let operators = |func: u32, opcode: u8| -> Vec<u32> {
            let body = vm.wasm.env.body(func);
            body.filter(|at| vm.wasm.bytes[*at] == opcode).map(|at| at as u32).collect()
        };
        let lines = vm.lines();
        let place = |func: u32| {
            let symbol = Symbol::Function(func);
            let code = &vm.linked.borrow()[&symbol];
            let at = vm.trapped_at.get() - 1;
            assert!((code.address..code.address + code.size).contains(&at), "{level:?}");
            lines.wasm_offset(symbol, at - code.address).expect("the line table has it")
        };
        let divisions = operators(0, 0x6e);
        assert_eq!(vm.call1("divide", &[0, 1]), Err(TrapCode::IntegerDivideByZero));
        assert_eq!(place(0), divisions[0], "{level:?}");
        assert_eq!(vm.call1("divide", &[1, 0]), Err(TrapCode::IntegerDivideByZero));
        assert_eq!(place(0), divisions[1], "{level:?}");
        assert_eq!(vm.call1("divide", &[2, 3]), Ok(1 + 50 + 66));

        let (func, loads) = (vm.func("load"), operators(2, 0x28));
        assert_eq!(vm.call1("load", &[1 << 20, 0]), Err(TrapCode::MemoryOutOfBounds));
        assert_eq!(place(func), loads[0], "{level:?}");
        assert_eq!(vm.call1("load", &[0, 1 << 20]), Err(TrapCode::MemoryOutOfBounds));
        assert_eq!(place(func), loads[1], "{level:?}");
    }
}

/// Lines are of use only if a compilation with locations gives the same code as one without.
#[test]
fn a_line_table_changes_no_code() {
    for name in ["nbody", "sha256"] {
        let path = format!("{}/../benches/kernels/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        let wasm = Wasm::from_bytes(std::fs::read(path).expect("it is in the repository"));
        let env = &wasm.env;
        let functions: Vec<u32> = (env.imported_functions..env.functions.len() as u32).collect();
        let mut compiler = Compiler::new(Options::default()).expect("LLVM");
        let space = CodeSpace::new(&common::addresses()).expect("LLVM");
        for (level, functions) in [(Level::Quick, &functions[..]), (Level::Full, &functions[..20])]
        {
            let job = Job {
                functions,
                level,
                osr: &[],
                stub_known: &|_| false,
                invoker_known: &|_| false,
            };
            let object = compiler.compile(env, &wasm.bytes, &job).expect("it compiles");
            let recipe = space.link(&object).expect("it links").recipe.expect("it was compiled");
            let lines = compiler.lines(env, &wasm.bytes, &recipe).expect("the same code");
            for func in functions {
                let body = env.body(*func);
                let lines = lines.of(Symbol::Function(*func));
                assert!(!lines.is_empty(), "{name} {func}");
                assert!(lines.iter().all(|(_, at)| body.contains(&(*at as usize)) || *at == 0));
            }
        }
    }
}

#[test]
fn globals_of_all_kinds_are_where_the_contract_says() {
    let text = r#"(module
      (import "a" "imported" (global (mut i64)))
      (global (mut i32) (i32.const 5))
      (global (mut f64) (f64.const 2.5))
      (global (mut funcref) (ref.null func))
      (func $f (export "f") (result i64)
        (global.set 0 (i64.add (global.get 0) (i64.const 3)))
        (global.set 1 (i32.mul (global.get 1) (i32.const 3)))
        (global.set 2 (f64.add (global.get 2) (f64.const 1)))
        (global.set 3 (ref.func $f))
        (global.get 0)))"#;
    for level in LEVELS {
        let vm = Vm::new(text);
        vm.compile_all(level);
        assert_eq!(vm.call1("f", &[]), Ok(3));
        assert_eq!(vm.call1("f", &[]), Ok(6), "{level:?}");
        assert_eq!((vm.global(0) as u32, vm.global(1)), (45, f64(4.5)), "{level:?}");
        assert_eq!(vm.global(2), Ref::local(0, vm.wasm.env.canonical_types[0]).0, "{level:?}");
    }
}

#[test]
fn a_trap_shows_the_globals_of_its_moment() {
    let text = r#"(module (memory 1) (global (mut i32) (i32.const 0))
      (func (export "count") (param i32)
        (loop
          (global.set 0 (i32.add (global.get 0) (i32.const 1)))
          (drop (i32.load (local.get 0)))
          (local.set 0 (i32.add (local.get 0) (i32.const 1000)))
          (br 0))))"#;
    for level in LEVELS {
        let vm = Vm::new(text);
        vm.compile_all(level);
        assert_eq!(vm.call("count", &[0]), Err(TrapCode::MemoryOutOfBounds));
        assert_eq!(vm.global(0), 67, "{level:?}");
    }
}

const ATOMICS: &str = r#"(module (memory 1 1 shared)
  (func (export "add8") (param i32 i32) (result i32)
    (i32.atomic.rmw8.add_u offset=1 (local.get 0) (local.get 1)))
  (func (export "exchange16") (param i32 i64) (result i64)
    (i64.atomic.rmw16.xchg_u (local.get 0) (local.get 1)))
  (func (export "cas8") (param i32 i32 i32) (result i32)
    (i32.atomic.rmw8.cmpxchg_u (local.get 0) (local.get 1) (local.get 2)))
  (func (export "cas64") (param i32 i64 i64) (result i64)
    (i64.atomic.rmw.cmpxchg (local.get 0) (local.get 1) (local.get 2)))
  (func (export "load") (param i32) (result i32) (i32.atomic.load offset=4 (local.get 0)))
  (func (export "store") (param i32 i64) (i64.atomic.store32 (local.get 0) (local.get 1)))
  (func (export "sync") (param i32) (result i32 i32 i32)
    (atomic.fence)
    (memory.atomic.notify offset=16 (local.get 0) (i32.const 9))
    (memory.atomic.wait32 offset=16 (local.get 0) (i32.const 3) (i64.const -1))
    (memory.atomic.wait64 (local.get 0) (i64.const 4) (i64.const 5)))
  (func (export "count") (param $n i32)
    (loop
      (drop (i32.atomic.rmw.add (i32.const 64) (i32.const 1)))
      (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
)"#;

#[test]
fn atomics_of_all_widths_do_what_they_say() {
    for level in LEVELS {
        let vm = Vm::new(ATOMICS);
        vm.compile_all(level);
        vm.write_memory(0, &[0x10, 0xff, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80]);
        assert_eq!(vm.call1("add8", &[0, 0x102]), Ok(0xff));
        assert_eq!(vm.memory::<4>(0), [0x10, 0x01, 0x30, 0x40], "no carry, {level:?}");
        assert_eq!(vm.call1("exchange16", &[2, 0xabcd_1234]), Ok(0x4030));
        assert_eq!(vm.memory::<4>(2), [0x34, 0x12, 0x50, 0x60], "{level:?}");
        assert_eq!(vm.call1("cas8", &[0, 0x110, 0x99]), Ok(0x10));
        assert_eq!(vm.memory::<1>(0), [0x10], "0x110 is not 0x10, {level:?}");
        assert_eq!(vm.call1("cas8", &[0, 0x10, 0x99]), Ok(0x10));
        assert_eq!(vm.memory::<1>(0), [0x99], "{level:?}");
        assert_eq!(vm.call1("cas64", &[8, 0, u64::MAX]), Ok(0));
        assert_eq!(vm.call1("cas64", &[8, 0, 1]), Ok(u64::MAX));
        vm.call("store", &[16, 0xffff_0000_1111]).expect("no trap");
        assert_eq!(vm.call1("load", &[12]), Ok(0x1111), "{level:?}");
        for (name, arguments) in [("load", vec![13]), ("cas64", vec![4, 0, 0])] {
            assert_eq!(vm.call(name, &arguments), Err(TrapCode::UnalignedAtomic), "{level:?}");
        }
        assert_eq!(vm.call1("load", &[1 << 20]), Err(TrapCode::MemoryOutOfBounds), "{level:?}");
        assert_eq!(vm.call("sync", &[8]), Ok(vec![9, 1, 1]), "{level:?}");
        assert_eq!(
            *vm.recorded.borrow(),
            [
                ("notify", vec![0, 24, 9]),
                ("wait32", vec![0, 24, 3, u64::MAX]),
                ("wait64", vec![0, 8, 4, 5]),
            ]
        );
    }
}

#[test]
fn a_memory_of_64_bits_is_checked() {
    let text = r#"(module (memory i64 1)
      (func (export "load") (param i64) (result i64) (i64.load offset=8 (local.get 0)))
      (func (export "far") (param i64) (result i32)
        (i32.load8_u offset=0xffffffffffffffff (local.get 0)))
      (func (export "size") (result i64) (memory.size)))"#;
    for level in LEVELS {
        let vm = Vm::new(text);
        vm.compile_all(level);
        vm.write_memory(0xfff8, &7_u64.to_le_bytes());
        assert_eq!(vm.call1("load", &[0xfff0]), Ok(7), "{level:?}");
        for address in [0xfff1, 1 << 32, u64::MAX, u64::MAX - 7, u64::MAX - 8] {
            let result = vm.call1("load", &[address]);
            assert_eq!(result, Err(TrapCode::MemoryOutOfBounds), "{address:#x} {level:?}");
        }
        assert_eq!(vm.call1("far", &[1]), Err(TrapCode::MemoryOutOfBounds), "{level:?}");
        assert_eq!(vm.call1("size", &[]), Ok(1), "{level:?}");
    }
}

const MEMORIES: &str = r#"(module
  (memory $narrow 1) (memory $second 2 4) (memory $wide i64 1 3) (memory $shared i64 1 1 shared)
  (func (export "second") (param i32 i32) (result i32)
    (i32.store8 $narrow (local.get 0) (i32.const 1))
    (i32.store8 $second offset=3 (local.get 0) (local.get 1))
    (i32.load8_u $second offset=3 (local.get 0)))
  (func (export "dropped") (param i32) (drop (i64.load $second (local.get 0))))
  (func (export "two_stores") (param i64)
    (i32.store $narrow (i32.const 0) (i32.const 1))
    (i32.store $wide (local.get 0) (i32.const 2))
    (i32.store $narrow (i32.const 0) (i32.const 3)))
  (func (export "wide") (param i64) (result i32)
    (i32.load16_u $wide offset=0x100000000 (local.get 0)))
  (func (export "vector") (param i64 v128) (result v128)
    (v128.store $wide (local.get 0) (local.get 1))
    (v128.load64_lane $wide offset=8 0 (local.get 0) (local.get 1)))
  (func (export "atomic") (param i64) (result i32)
    (i32.atomic.rmw.add $shared offset=4 (local.get 0) (i32.const 5)))
  (func (export "sizes") (result i32 i32 i64 i64)
    (memory.size $narrow) (memory.size $second) (memory.size $wide) (memory.size $shared))
  (func (export "grow") (param i32 i64) (result i32 i64)
    (memory.grow $second (local.get 0)) (memory.grow $wide (local.get 1)))
  (func (export "up") (param i64 i32 i32)
    (memory.copy $wide $second (local.get 0) (local.get 1) (local.get 2)))
  (func (export "fill") (param i64 i32 i64)
    (memory.fill $wide (local.get 0) (local.get 1) (local.get 2)))
  (func (export "init") (param i64) (memory.init $wide $bytes (local.get 0) (i32.const 1) (i32.const 2)))
  (data $bytes "xyz")
)"#;

#[test]
fn each_memory_has_its_own_bytes_length_and_addresses() {
    let outside = TrapCode::MemoryOutOfBounds;
    for level in LEVELS {
        let vm = Vm::new(MEMORIES);
        vm.compile_all(level);
        assert_eq!(vm.call1("second", &[5, 77]), Ok(77), "{level:?}");
        assert_eq!(vm.memory(5), [1, 0, 0, 0], "another memory, {level:?}");
        assert_eq!(vm.call("dropped", &[0x1_fff8]), Ok(vec![]), "{level:?}");
        for address in [0x1_fff9, 0x2_0000, 0xffff_ffff] {
            assert_eq!(vm.call("dropped", &[address]), Err(outside), "{address:#x} {level:?}");
        }
        assert_eq!(vm.call("two_stores", &[0xfffd]), Err(outside), "{level:?}");
        assert_eq!(vm.memory(0), 1_u32.to_le_bytes(), "the first store was done, {level:?}");
        for address in [0, 1 << 32, u64::MAX, (1_u64 << 32).wrapping_neg()] {
            // Also where the sum of address and offset would wrap around.
            assert_eq!(vm.call1("wide", &[address]), Err(outside), "{address:#x} {level:?}");
        }
        let vector = [0xfff0, 1, 2];
        assert_eq!(vm.call("vector", &vector), Ok(vec![2, 2]), "{level:?}");
        assert_eq!(vm.call("vector", &[0xfff1, 1, 2]), Err(outside), "{level:?}");
        assert_eq!(vm.call1("atomic", &[0xfff8]), Ok(0), "{level:?}");
        assert_eq!(vm.call1("atomic", &[0xfff8]), Ok(5), "{level:?}");
        assert_eq!(vm.call1("atomic", &[0xfffa]), Err(TrapCode::UnalignedAtomic), "{level:?}");
        assert_eq!(vm.call1("atomic", &[0xfffc]), Err(outside), "{level:?}");

        assert_eq!(vm.call("sizes", &[]), Ok(vec![1, 2, 1, 1]), "{level:?}");
        assert_eq!(vm.call("grow", &[2, 2]), Ok(vec![2, 1]), "{level:?}");
        assert_eq!(vm.call("grow", &[1, u64::MAX]), Ok(vec![0xffff_ffff, u64::MAX]), "{level:?}");
        assert_eq!(vm.call("sizes", &[]), Ok(vec![1, 4, 3, 1]), "{level:?}");
        assert_eq!(vm.call("dropped", &[0x3_fff8]), Ok(vec![]), "{level:?}");
        assert_eq!(vm.call("vector", &[0x2_fff0, 1, 2]), Ok(vec![2, 2]), "{level:?}");

        vm.recorded.borrow_mut().clear();
        vm.call("up", &[0x2_fffe, 7, 2]).expect("no trap");
        assert_eq!(vm.call("up", &[1 << 33, 7, 2]), Err(outside), "{level:?}");
        assert_eq!(vm.call("fill", &[1, 2, u64::MAX]), Err(outside), "{level:?}");
        vm.call("init", &[9]).expect("no trap");
        assert_eq!(
            *vm.recorded.borrow(),
            [
                ("copy", vec![2, 1, 0x2_fffe, 7, 2]),
                ("copy", vec![2, 1, 1 << 33, 7, 2]),
                ("fill", vec![2, 1, 2, u64::MAX]),
                ("init", vec![2, 0, 9, 1, 2]),
            ]
        );
    }
}

#[test]
fn tables_are_the_runtimes() {
    let text = r#"(module (table 4 10 externref)
      (func (export "get") (param i32) (result externref) (table.get (local.get 0)))
      (func (export "rest") (param externref) (result i32 i32)
        (table.set (i32.const 1) (local.get 0))
        (table.fill (i32.const 2) (local.get 0) (i32.const 2))
        (table.copy (i32.const 0) (i32.const 1) (i32.const 3))
        (table.grow (local.get 0) (i32.const 6))
        (table.size)))"#;
    for level in LEVELS {
        let vm = Vm::new(text);
        vm.compile_all(level);
        vm.set_element(3, Ref(0x1230));
        assert_eq!(vm.call1("get", &[3]), Ok(0x1230), "{level:?}");
        assert_eq!(vm.call1("get", &[4]), Err(TrapCode::TableOutOfBounds), "{level:?}");
        assert_eq!(vm.call("rest", &[0x50]), Ok(vec![4, 10]), "{level:?}");
        assert_eq!(vm.call1("get", &[1]), Ok(0x50), "{level:?}");
        assert_eq!(
            *vm.recorded.borrow(),
            [
                ("table.fill", vec![0, 2, 0x50, 2]),
                ("table.copy", vec![0, 0, 0, 1, 3]),
                ("table.grow", vec![0, 0x50, 6]),
            ]
        );
    }
}

#[test]
fn tables_of_64_bits_take_indices_of_64_bits() {
    let text = r#"(module
      (type $f (func (result i32)))
      (table $wide i64 3 8 funcref) (table $narrow 4 funcref)
      (elem (table $wide) (i64.const 1) func $seven)
      (elem $passive func $seven $seven)
      (func $seven (type $f) (i32.const 7))
      (func (export "call") (param i64) (result i32)
        (call_indirect $wide (type $f) (local.get 0)))
      (func (export "tail") (param i64) (result i32)
        (return_call_indirect $wide (type $f) (local.get 0)))
      (func (export "is_null") (param i64) (result i32) (ref.is_null (table.get $wide (local.get 0))))
      (func (export "set") (param i64) (table.set $wide (local.get 0) (ref.func $seven)))
      (func (export "size") (result i64 i32) (table.size $wide) (table.size $narrow))
      (func (export "grow") (param i64) (result i64)
        (table.grow $wide (ref.func $seven) (local.get 0)))
      (func (export "fill") (param i64 i64)
        (table.fill $wide (local.get 0) (ref.null func) (local.get 1)))
      (func (export "copy") (param i32 i64 i32)
        (table.copy $narrow $wide (local.get 0) (local.get 1) (local.get 2)))
      (func (export "init") (param i64)
        (table.init $wide $passive (local.get 0) (i32.const 0) (i32.const 2))))"#;
    let far = 1 << 32 | 1;
    for level in LEVELS {
        let vm = Vm::new(text);
        vm.compile_all(level);
        for name in ["call", "tail"] {
            assert_eq!(vm.call1(name, &[1]), Ok(7), "{level:?}");
            assert_eq!(vm.call1(name, &[0]), Err(TrapCode::UninitializedElement), "{level:?}");
            for index in [3, far, u64::MAX] {
                let result = vm.call1(name, &[index]);
                assert_eq!(result, Err(TrapCode::UndefinedElement), "{index:#x} {level:?}");
            }
        }
        let outside = TrapCode::TableOutOfBounds;
        assert_eq!((vm.call1("is_null", &[0]), vm.call1("is_null", &[1])), (Ok(1), Ok(0)));
        assert_eq!(vm.call1("is_null", &[far]), Err(outside), "{level:?}");
        assert_eq!(vm.call("set", &[far]), Err(outside), "{level:?}");
        assert_eq!(vm.call("set", &[2]), Ok(vec![]), "{level:?}");
        assert_eq!(vm.call1("call", &[2]), Ok(7), "{level:?}");
        assert_eq!(vm.call1("grow", &[1 << 32]), Ok(u64::MAX), "{level:?}");
        assert_eq!(vm.call1("grow", &[2]), Ok(3), "{level:?}");
        assert_eq!(vm.call("size", &[]), Ok(vec![5, 4]), "{level:?}");
        assert_eq!(vm.call("fill", &[1, 1 << 32]), Err(outside), "{level:?}");
        assert_eq!(vm.call("fill", &[2, 3]), Ok(vec![]), "{level:?}");
        assert_eq!(vm.call1("is_null", &[4]), Ok(1), "{level:?}");
        assert_eq!(vm.call("copy", &[0, far, 1]), Err(outside), "{level:?}");
        assert_eq!(vm.call("copy", &[3, 1, 1]), Ok(vec![]), "{level:?}");
        assert_eq!(vm.call("init", &[far]), Err(outside), "{level:?}");
        assert_eq!(vm.call("init", &[3]), Ok(vec![]), "{level:?}");
        assert_eq!(vm.call1("call", &[4]), Ok(7), "{level:?}");
    }
}

#[test]
fn a_nan_can_be_made_canonical() {
    let text = r#"(module
      (func (export "add") (param f32 f32) (result f32) (f32.add (local.get 0) (local.get 1)))
      (func (export "demote") (param f64) (result f32) (f32.demote_f64 (local.get 0)))
      (func (export "neg") (param f32) (result f32) (f32.neg (local.get 0))))"#;
    for level in LEVELS {
        let vm = Vm::with(text, Options { canonicalize_nan: true, ..Options::default() });
        vm.compile_all(level);
        let nan = u64::from(0xffc1_2345_u32);
        assert_eq!(vm.call1("add", &[nan, f32(1.0)]), Ok(0x7fc0_0000), "{level:?}");
        assert_eq!(vm.call1("add", &[f32(1.5), f32(1.0)]), Ok(f32(2.5)), "{level:?}");
        assert_eq!(vm.call1("demote", &[0xfff8_1234_5678_9abc]), Ok(0x7fc0_0000), "{level:?}");
        assert_eq!(vm.call1("neg", &[nan]), Ok(0x7fc1_2345), "moves bits only, {level:?}");
    }
}

const SUM: &str = r#"(module (memory 1)
  (func (export "sum") (param $p i32) (param $n i32) (result i32) (local $i i32) (local $s i32)
    (loop
      (local.set $s (i32.add (local.get $s)
        (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if 0 (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $s)))"#;

/// Widened induction variables, a wrong option or a pass lost from the pipeline all end the vectoriser's work, silently.
#[test]
fn relaxed_loops_are_vectorised() {
    let vm = Vm::with(SUM, Options { exact_traps: false, ..Options::default() });
    let text = vm.text("sum", Level::Full, Text::LlvmOptimised);
    assert!(text.contains(" x i32>") && text.contains("vector.body"), "{text}");
    vm.compile_all(Level::Full);
    for i in 0..1000_u32 {
        vm.write_memory(4 * i as usize, &i.to_le_bytes());
    }
    assert_eq!(vm.call1("sum", &[0, 1000]), Ok(499_500));
    assert_eq!(vm.call1("sum", &[400, 7]), Ok((100..107).sum::<u64>()));
}

#[test]
fn all_texts_can_be_had() {
    let vm = Vm::new(SUM);
    assert!(vm.text("sum", Level::Quick, Text::Llvm).contains("define"));
    let text = vm.text("sum", Level::Full, Text::Assembly);
    assert!(text.contains("f0.") && text.contains("ret"), "{text}");
}
