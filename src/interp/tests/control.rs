//! Control flow, calls, locals, traps.

use super::host::{Host, Memory, Program};
use crate::interp::outside::Budget;
use std::sync::atomic::{AtomicU32, Ordering};
use updraft_jit::abi::{TrapCode, frame::LINK_SLOTS};

fn host(text: &str) -> Box<Host> {
    Host::new(&Program::new(text))
}

/// Runs the function `f` of a module with these fields.
fn run(fields: &str, args: &[u64]) -> Result<u64, TrapCode> {
    host(&format!("(module {fields})")).call("f", args)
}

#[test]
fn a_function_adds() {
    let host = host(
        "(module (func (export \"f\") (param i32 i32) (result i32)
            local.get 0 local.get 1 i32.add))",
    );
    assert_eq!(host.call("f", &[3, 4]), Ok(7));
    let program = &host.program;
    let text = program.code.print(&program.env, &program.bytes, 0).unwrap();
    assert!(text.contains("I32Add_ss_a"), "{text}");
}

#[test]
fn copies_in_a_row_are_made_two_at_a_time() {
    // A copy reads what the one before has written, and a branch comes in between. What the accumulator holds is not copied from a slot.
    let host = host(
        "(module (func (export \"f\") (param i64 i64 i32) (result i64) (local i64 i64 i64)
            (local.set 3 (local.get 0))
            (local.set 0 (local.get 1))
            (block
                (br_if 0 (local.get 2))
                (local.set 4 (local.get 0))
                (local.set 1 (local.get 3)))
            (local.set 5 (local.get 1))
            (local.set 3 (local.get 4))
            (i64.add
                (i64.mul (local.get 5) (i64.const 100))
                (i64.add (i64.mul (local.get 3) (i64.const 10)) (local.get 0)))))",
    );
    assert_eq!(host.call("f", &[7, 5, 0]), Ok(700 + 50 + 5));
    assert_eq!(host.call("f", &[7, 5, 1]), Ok(500 + 5));
    let program = &host.program;
    let text = program.code.print(&program.env, &program.bytes, 0).unwrap();
    assert_eq!(text.matches("CopyIntTwice").count(), 2, "{text}");
}

#[test]
fn operands_keep_the_value_that_a_local_had() {
    // Read, overwritten, then used.
    let overwritten = "(func (export \"f\") (param i32) (result i32)
        local.get 0 (local.set 0 (i32.const 5)) local.get 0 i32.sub)";
    assert_eq!(run(overwritten, &[12]), Ok(7));
    let teed = "(func (export \"f\") (param i32) (result i32)
        local.get 0 (local.tee 0 (i32.add (local.get 0) (i32.const 1))) i32.mul)";
    assert_eq!(run(teed, &[6]), Ok(42));
    let twice = "(func (export \"f\") (param i32) (result i32)
        local.get 0 local.get 0 (local.set 0 (i32.const 100)) i32.mul local.get 0 i32.add)";
    assert_eq!(run(twice, &[3]), Ok(109));
    let self_set = "(func (export \"f\") (param i32) (result i32)
        local.get 0 (local.set 0 (local.get 0)) local.get 0 i32.add)";
    assert_eq!(run(self_set, &[3]), Ok(6));
    let in_a_branch = "(func (export \"f\") (param i32) (result i32)
        local.get 0
        (if (i32.eq (local.get 0) (i32.const 3)) (then (local.set 0 (i32.const 50))))
        local.get 0 i32.sub)";
    assert_eq!(run(in_a_branch, &[3]).map(|value| value as i32), Ok(-47));
    assert_eq!(run(in_a_branch, &[4]), Ok(0));
    let floats = "(func (export \"f\") (param f32 f64) (result f64)
        local.get 0 local.get 1
        (local.set 1 (f64.const 1)) (local.set 0 (f32.const 100))
        (f64.add (f64.promote_f32)) local.get 1 f64.sub)";
    let floats = floats
        .replace("(f64.add (f64.promote_f32))", "local.set 1 f64.promote_f32 local.get 1 f64.mul");
    assert_eq!(
        run(&floats, &[u64::from(1.5f32.to_bits()), 4f64.to_bits()]),
        Ok((6.0f64 - 4.0).to_bits())
    );
}

#[test]
fn values_swap_through_multi_value() {
    let swap = "(func $swap (param i64 i64) (result i64 i64) local.get 1 local.get 0)
        (func (export \"f\") (param i64 i64) (result i64)
            local.get 0 local.get 1 call $swap i64.sub)";
    assert_eq!(run(swap, &[10, 3]).map(|value| value as i64), Ok(-7));
    let block = "(type $t (func (param i32 i32) (result i32 i32)))
        (func (export \"f\") (param i32 i32) (result i32) (local i32)
            local.get 0 local.get 1
            (block (type $t) (local.set 2) (local.get 2) (local.set 0) (local.get 0))
            i32.sub)";
    let block = block.replace(
        "(local.set 2) (local.get 2) (local.set 0) (local.get 0)",
        "local.set 2 local.set 0 local.get 2 local.get 0",
    );
    assert_eq!(run(&block, &[10, 3]).map(|value| value as i32), Ok(-7));
    let local_swap = "(func (export \"f\") (param i32 i32) (result i32 i32 i32)
        local.get 0 local.get 1 local.set 0 local.set 1 local.get 0 local.get 1 i32.const 9)";
    let host = host(&format!("(module {local_swap})"));
    assert_eq!(host.call_many("f", &[1, 2]).unwrap()[..3], [2, 1, 9]);
}

#[test]
fn blocks_take_and_give_values() {
    let fields = "(func (export \"f\") (param i32) (result i32)
        i32.const 10
        i32.const 20
        (block $b (param i32 i32) (result i32 i32)
            local.get 0
            br_if $b
            i32.add
            i32.const 7)
        i32.sub)";
    assert_eq!(run(fields, &[1]).map(|value| value as i32), Ok(-10));
    assert_eq!(run(fields, &[0]), Ok(23));
    // A branch that leaves values behind below those it carries.
    let deep = "(func (export \"f\") (param i32) (result i32)
        i32.const 1
        (block $b (result i32)
            i32.const 2 i32.const 3 i32.const 4
            (i32.add (local.get 0) (i32.const 40))
            local.get 0
            br_if $b
            drop drop drop)
        i32.add)";
    assert_eq!(run(deep, &[2]), Ok(43));
    assert_eq!(run(deep, &[0]), Ok(3));
    let ifs = "(func (export \"f\") (param i32) (result i32)
        i32.const 5 i32.const 6
        local.get 0
        (if (param i32 i32) (result i32) (then i32.add) (else i32.sub)))";
    assert_eq!(run(ifs, &[1]), Ok(11));
    assert_eq!(run(ifs, &[0]).map(|value| value as i32), Ok(-1));
    let no_else = "(func (export \"f\") (param i32) (result i32)
        i32.const 5
        local.get 0
        (if (param i32) (result i32) (then i32.const 2 i32.mul)))";
    assert_eq!(run(no_else, &[1]), Ok(10));
    assert_eq!(run(no_else, &[0]), Ok(5));
}

#[test]
fn loops_carry_parameters() {
    let factorial = "(func (export \"f\") (param i64) (result i64)
        i64.const 1 local.get 0
        (loop $l (param i64 i64) (result i64)
            (local.set 0)
            (i64.mul (local.get 0))
            (i64.sub (local.get 0) (i64.const 1))
            (local.tee 0)
            (i64.const 1)
            i64.gt_s
            if (param i64) (result i64) local.get 0 br $l end))";
    let factorial = "(func (export \"f\") (param $n i64) (result i64)
        i64.const 1
        (loop $l (param i64) (result i64)
            local.get $n i64.mul
            (local.set $n (i64.sub (local.get $n) (i64.const 1)))
            (br_if $l (i64.gt_s (local.get $n) (i64.const 0)))))"
        .to_string()
        + &factorial[..0];
    assert_eq!(run(&factorial, &[10]), Ok(3_628_800));
}

#[test]
fn tables_of_branches() {
    let fields = "(func (export \"f\") (param i32) (result i32)
        (block $a (block $b (block $c (br_table $a $b $c (local.get 0))) (return (i32.const 30)))
            (return (i32.const 20)))
        i32.const 10)";
    for (index, result) in [(0, 10), (1, 20), (2, 30), (3, 30), (u64::from(u32::MAX), 30)] {
        assert_eq!(run(fields, &[index]), Ok(result));
    }
    let values = "(func (export \"f\") (param i32) (result i32)
        i32.const 1000
        (block $a (result i32)
            i32.const 100
            (block $b (result i32)
                i32.const 1 i32.const 2
                (br_table $a $b (i32.add (local.get 0) (i32.const 7)) (local.get 0))
            )
            i32.add)
        i32.add)";
    let values = values.replace(
        "(br_table $a $b (i32.add (local.get 0) (i32.const 7)) (local.get 0))",
        "local.get 0 i32.const 7 i32.add local.get 0 br_table $a $b",
    );
    assert_eq!(run(&values, &[0]), Ok(1007));
    assert_eq!(run(&values, &[1]), Ok(1108));
    let to_loop = "(func (export \"f\") (param i32) (result i32) (local i32)
        (block $out (loop $l
            (local.set 1 (i32.add (local.get 1) (i32.const 1)))
            (br_table $l $out (i32.ge_u (local.get 1) (local.get 0)))))
        local.get 1)";
    assert_eq!(run(to_loop, &[12]), Ok(12));
    let to_body = "(func (export \"f\") (param i32) (result i32 i32)
        i32.const 0 i32.const 3 i32.const 4 local.get 0 br_table 0 0)";
    assert_eq!(host(&format!("(module {to_body})")).call_many("f", &[0]).unwrap()[..2], [3, 4]);
}

#[test]
fn code_that_cannot_be_reached_is_skipped_with_its_structure() {
    let fields = "(func (export \"f\") (param i32) (result i32)
        (block $b (result i32)
            (br $b (i32.const 4))
            (loop $l (block (if (i32.const 1) (then (br $l)) (else unreachable))))
            i32.add i32.add drop
            unreachable)
        (if (result i32) (then (return (i32.const 9)) i32.const 1 i32.add) (else i32.const 8))
        local.get 0 i32.add
        return)";
    assert_eq!(run(fields, &[1]), Ok(9));
    let after_loop = "(func (export \"f\") (param i32) (result i32)
        (loop $l (result i32) (br_if $l (i32.eqz (local.tee 0 (i32.const 3)))) (return (local.get 0)))
        i32.const 5 i32.add)";
    assert_eq!(run(after_loop, &[1]), Ok(3));
}

#[test]
fn floats_branch_both_ways_on_nan() {
    for (op, nan) in [("lt", 2), ("gt", 2), ("le", 2), ("ge", 2), ("eq", 2), ("ne", 1)] {
        for ty in ["f32", "f64"] {
            let fields = format!(
                "(func (export \"f\") (param {ty} {ty}) (result i32)
                    (if (result i32) ({ty}.{op} (local.get 0) (local.get 1))
                        (then i32.const 1) (else i32.const 2)))"
            );
            let value =
                if ty == "f32" { u64::from(f32::NAN.to_bits()) } else { f64::NAN.to_bits() };
            assert_eq!(run(&fields, &[value, 0]), Ok(nan), "{ty}.{op}");
            let fields = fields
                .replace("(if (result i32)", "(if (result i32) (i32.eqz")
                .replace("(local.get 1))", "(local.get 1)))");
            assert_eq!(run(&fields, &[value, 0]), Ok(3 - nan), "{ty}.{op} negated");
        }
    }
}

#[test]
fn indirect_calls_check_what_they_find() {
    let fields =
        "(type $i (func (param i32) (result i32))) (type $l (func (param i64) (result i64)))
        (table 8 funcref)
        (elem (i32.const 0) $double $square $wide)
        (func $double (type $i) (i32.mul (local.get 0) (i32.const 2)))
        (func $square (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
        (func $wide (type $l) (local.get 0))
        (func (export \"f\") (param i32 i32) (result i32)
            (call_indirect (type $i) (local.get 1) (local.get 0)))
        (func (export \"tail\") (param i32 i32) (result i32)
            (return_call_indirect (type $i) (local.get 1) (local.get 0)))";
    let host = host(&format!("(module {fields})"));
    for name in ["f", "tail"] {
        assert_eq!(host.call(name, &[0, 21]), Ok(42));
        assert_eq!(host.call(name, &[1, 21]), Ok(441));
        assert_eq!(host.call(name, &[2, 21]), Err(TrapCode::IndirectCallTypeMismatch));
        assert_eq!(host.call(name, &[3, 21]), Err(TrapCode::UninitializedElement));
        assert_eq!(host.call(name, &[8, 21]), Err(TrapCode::UndefinedElement));
        assert_eq!(host.call(name, &[u64::from(u32::MAX), 0]), Err(TrapCode::UndefinedElement));
    }
}

#[test]
fn calls_go_out_and_come_back() {
    let text = "(module (import \"m\" \"i\" (func $i (param i32 i32) (result i32)))
        (func $n (param i64) (result i64) unreachable)
        (func (export \"f\") (param i32) (result i64) (local i32)
            i64.const 1000
            (i64.extend_i32_u (i32.add (call $i (local.get 0) (i32.const 5)) (i32.const 1)))
            (call $n (i64.const 3))
            i64.add i64.sub))";
    let mut host = host(text);
    host.import = Box::new(|host, func, slots| {
        assert_eq!(func, 0);
        assert!(host.value_sp() > 2);
        slots[0] = u64::from(slots[0] as u32 * slots[1] as u32);
        0
    });
    host.native = Box::new(|_, func, slots| {
        assert_eq!(func, 1);
        slots[0] += 100;
        0
    });
    host.program.code.set_native(&host.program.env, 1, std::ptr::null());
    assert_eq!(host.call("f", &[7]), Ok(1000 - 36 - 103));
    host.import = Box::new(|host, _, _| {
        host.trap.set(Some(TrapCode::OutOfMemory));
        1
    });
    assert_eq!(host.call("f", &[7]), Err(TrapCode::OutOfMemory));
    assert_eq!(host.frames.borrow().iter().map(|frame| frame.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn results_of_floats_come_back_in_accumulators() {
    let text = "(module (import \"m\" \"i\" (func $i (result f32)))
        (func $n (result f64) unreachable)
        (func $w (param f64) (result f64) (f64.mul (local.get 0) (f64.const 2)))
        (func (export \"f\") (result f64)
            (f64.mul (f64.add (call $n) (f64.promote_f32 (call $i))) (call $w (f64.const 5)))))";
    let mut host = host(text);
    host.import = Box::new(|_, _, slots| {
        slots[0] = u64::from(1.5f32.to_bits());
        0
    });
    host.native = Box::new(|_, _, slots| {
        slots[0] = 2.5f64.to_bits();
        0
    });
    host.program.code.set_native(&host.program.env, 1, std::ptr::null());
    assert_eq!(host.call("f", &[]), Ok(40f64.to_bits()));
}

#[test]
fn traps_tell_where() {
    let program = Program::new(
        "(module (memory 1)
            (func $g (param i32) (result i32) (i32.load (i32.add (local.get 0) (i32.const 65533))))
            (func $h (param i32) (result i32)
                (i32.const 1) (i32.mul (call $g (local.get 0)) (i32.const 2)) i32.add)
            (func (export \"f\") (param i32) (result i32) (call $h (local.get 0)) (drop) (call $h (local.get 0))))",
    );
    let host = Host::new(&program);
    assert_eq!(host.call("f", &[0]), Err(TrapCode::MemoryOutOfBounds));
    let expected: Vec<(u32, u32)> = [(0, "I32Load"), (1, "Call"), (2, "Call")]
        .into_iter()
        .map(|(func, name)| {
            let range = program.env.body(func);
            let body = wasmparser::FunctionBody::new(wasmparser::BinaryReader::new(
                &program.bytes[range.clone()],
                range.start as u64,
            ));
            let mut reader = body.get_operators_reader().unwrap();
            loop {
                let offset = reader.original_position() as u32;
                let operator = format!("{:?}", reader.read().unwrap());
                if operator.starts_with(name) {
                    return (func, offset);
                }
            }
        })
        .collect();
    assert_eq!(*host.frames.borrow(), expected);
}

#[test]
fn recursion_without_end_traps() {
    let program = Program::new(
        "(module (func $f (export \"f\") (param i64 i64) (result i64)
            (call $f (i64.add (local.get 0) (i64.const 1)) (local.get 0)) (i64.add (local.get 1))))",
    );
    let host = Host::new(&program);
    assert_eq!(host.call("f", &[0, 0]), Err(TrapCode::StackOverflow));
    let frames = host.frames.borrow().len();
    assert!(frames > 1000, "{frames}");
    // And the thread can go on.
    assert_eq!(host.call("f", &[0, 0]), Err(TrapCode::StackOverflow));
}

#[test]
fn tail_calls_take_no_space() {
    let text = "(module (table funcref (elem $even $odd))
        (type $t (func (param i64 i64) (result i64)))
        (func $even (export \"f\") (type $t)
            (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call $odd (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 1))))
        (func $odd (type $t) (local i64 i64 i64)
            (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call_indirect (type $t)
                (i64.sub (local.get 0) (i64.const 1)) (i64.add (local.get 1) (i64.const 1)) (i32.const 0))))";
    assert_eq!(host(text).call("f", &[3_000_000, 0]), Ok(3_000_000));
}

#[test]
fn many_locals_are_zero() {
    for count in [0, 1, 4, 5, 8, 9, 16, 17, 40, 1000] {
        let locals = "i64 ".repeat(count);
        let mut sum = String::from("i64.const 1");
        for local in 0..count {
            sum += &format!(" local.get {} i64.or", local + 1);
        }
        let fields = format!(
            "(func (export \"f\") (param i64) (result i64) (local {locals}) {sum} local.get 0 i64.add)"
        );
        assert_eq!(run(&fields, &[5]), Ok(6), "{count} locals");
    }
}

#[test]
fn dispatch_does_not_use_the_native_stack() {
    let program = Program::new(
        "(module (memory 1) (func $step (param i64) (result i64) (i64.add (local.get 0) (i64.const 3)))
            (func (export \"f\") (param i32) (result i64) (local i64)
                (loop $l
                    (local.set 1 (call $step (local.get 1)))
                    (i64.store offset=8 (i32.const 0) (i64.xor (i64.load (i32.const 0)) (local.get 1)))
                    (if (i32.and (local.get 0) (i32.const 1)) (then (local.set 1 (i64.sub (local.get 1) (i64.const 1)))))
                    (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                local.get 1))",
    );
    // About ten instructions a turn; unoptimised builds take a shorter road.
    let turns = if cfg!(debug_assertions) { 300_000 } else { 6_000_000 };
    let result = std::thread::Builder::new()
        .stack_size(512 << 10)
        .spawn(move || Host::new(&program).call("f", &[turns]))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(result, Ok(turns * 3 - turns / 2));
}

#[test]
fn two_threads_translate_the_same_functions() {
    let mut functions = String::new();
    for index in 0..300 {
        functions += &format!(
            "(func $f{index} (param i32) (result i32)
                (if (result i32) (i32.eqz (local.get 0)) (then (i32.const {index}))
                    (else (i32.add (i32.const 1) (call $f{} (i32.sub (local.get 0) (i32.const 1)))))))",
            (index + 1) % 300
        );
    }
    for _ in 0..20 {
        let program = Program::new(format!("(module (export \"f\" (func $f0)) {functions})"));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(Host::new(&program).call("f", &[299]), Ok(299 + 299)));
            }
        });
        let bytes = program.code.bytecode_bytes();
        assert!((10_000..400_000).contains(&bytes), "{bytes}");
    }
}

#[test]
fn the_budget_is_spent_by_loops_and_entries() {
    let text = "(module (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
        (func (export \"f\") (param i32) (result i32) (local i32)
            (loop $a (loop $b
                (local.set 1 (call $leaf (local.get 1)))
                (br_if $b (i32.lt_u (local.get 1) (local.get 0)))))
            (loop $c (br_if $c (i32.gt_u (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 7))))
            local.get 1))";
    let mut host = host(text);
    host.quantum.set(1);
    let seen = std::sync::Arc::new([const { AtomicU32::new(0) }; 4]);
    let counts = seen.clone();
    host.spend = Box::new(move |_, func, ordinal| {
        let index = match (func, ordinal) {
            (0, u32::MAX) => 0,
            (1, u32::MAX) => 1,
            (1, 1) => 2,
            (1, 2) => 3,
            other => panic!("{other:?}"),
        };
        counts[index].fetch_add(1, Ordering::Relaxed);
        Budget::Continue
    });
    assert_eq!(host.call("f", &[1000]), Ok(1000));
    let [leaf, f, b, c] = &*seen;
    // Every second purchase at most goes without a visit, since the quantum is 1.
    assert!(leaf.load(Ordering::Relaxed) >= 400);
    assert!(f.load(Ordering::Relaxed) <= 1);
    assert!(b.load(Ordering::Relaxed) >= 900);
    assert!(c.load(Ordering::Relaxed) >= 900);
    // Within a factor of the operators that ran: 3 of the leaf, 6 in b, 7 in c.
    let spent = host.spent.get();
    assert!((12_000..20_000).contains(&spent), "{spent}");

    host.spend = Box::new(|host, _, _| {
        host.trap.set(Some(TrapCode::OutOfMemory));
        Budget::Stop
    });
    assert_eq!(host.call("f", &[1000]), Err(TrapCode::OutOfMemory));
    assert!(!host.frames.borrow().is_empty());
}

#[test]
fn at_a_header_everything_is_in_its_slot() {
    // Below the loop: a constant, a local that changes later, a result; then the loop's parameter.
    let text = "(module (func (export \"f\") (param i64 f64) (result i64) (local i64)
        i64.const 77
        local.get 0
        (i64.mul (local.get 0) (i64.const 10))
        i64.const 5
        (loop $l (param i64) (result i64)
            local.set 2
            (local.set 0 (i64.add (local.get 0) (i64.const 1)))
            (i64.add (local.get 2) (i64.const 1000))
            (br_if $l (i64.lt_u (local.get 0) (i64.const 50))))
        i64.add i64.add i64.add))";
    let expected = |turns: u64| 77 + 8 + 80 + 5 + 1000 * turns;
    let mut host = host(text);
    assert_eq!(host.call("f", &[8, 0]), Ok(expected(42)));
    host.quantum.set(0);
    host.spend = Box::new(|host, func, ordinal| {
        if ordinal == u32::MAX {
            return Budget::Continue;
        }
        assert_eq!((func, ordinal), (0, 0));
        let operands = 3 + LINK_SLOTS as usize;
        let turn = host.slot(0) - 8;
        assert_eq!(f64::from_bits(host.slot(1)), 2.5);
        assert_eq!(host.slot(operands), 77);
        assert_eq!(host.slot(operands + 1), 8);
        assert_eq!(host.slot(operands + 2), 80);
        assert_eq!(host.slot(operands + 3), 5 + 1000 * turn);
        assert!(host.value_sp() >= operands + 4);
        if turn == 20 { Budget::Osr(0x1234 as *const u8) } else { Budget::Continue }
    });
    host.osr = Box::new(|host, entry, frame| {
        assert_eq!(entry as usize, 0x1234);
        // Goes on from here as machine code would, and overwrites what it likes.
        let operands = 3 + LINK_SLOTS as usize;
        let result = host.slot(operands)
            + host.slot(operands + 1)
            + host.slot(operands + 2)
            + host.slot(operands + 3)
            + 1000 * (42 - (host.slot(0) - 8));
        for index in 0..operands + 4 {
            // SAFETY: the frame has these slots.
            unsafe { *frame.add(index) = 0xabcd };
        }
        // SAFETY: likewise.
        unsafe { *frame = result };
        0
    });
    assert_eq!(host.call("f", &[8, 2.5f64.to_bits()]), Ok(expected(42)));
    host.osr = Box::new(|host, _, _| {
        host.trap.set(Some(TrapCode::Unreachable));
        1
    });
    assert_eq!(host.call("f", &[8, 2.5f64.to_bits()]), Err(TrapCode::Unreachable));
    // The machine code's frame is its own business.
    assert!(host.frames.borrow().is_empty());
}

#[test]
fn globals_own_and_imported() {
    let text =
        "(module (import \"m\" \"g\" (global $i (mut i64))) (global $f (mut f64) (f64.const 1.5))
        (global $r (export \"r\") (mut funcref) (ref.null func))
        (global $n (mut i32) (i32.const 9))
        (func $self (export \"f\") (param i64) (result i64)
            (global.set $i (i64.add (global.get $i) (local.get 0)))
            (global.set $n (i32.const 4))
            (global.set $f (f64.mul (global.get $f) (f64.const 4)))
            (global.set $r (ref.func $self))
            (i64.add (i64.add (global.get $i) (i64.trunc_f64_s (global.get $f)))
                (i64.extend_i32_u (i32.add (global.get $n) (ref.is_null (global.get $r)))))))";
    assert_eq!(host(text).call("f", &[20]), Ok(120 + 6 + 4));
}

#[test]
fn threads_share_a_memory() {
    let program = Program::new(
        "(module (memory 1 4 shared)
            (func (export \"f\") (param i32) (result i32)
                (loop $l
                    (drop (i32.atomic.rmw.add (i32.const 16) (i32.const 1)))
                    (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (i32.atomic.load (i32.const 16))))",
    );
    let memory = Memory::new(1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let host = Host::with_memories(&program, vec![memory.clone()], 1 << 12);
                host.call("f", &[5000]).unwrap();
            });
        }
    });
    let host = Host::with_memories(&program, vec![memory], 1 << 12);
    assert_eq!(host.call("f", &[1]), Ok(20_001));
}
