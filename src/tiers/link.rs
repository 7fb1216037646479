//! From a request to published machine code.

use super::Tier;
use super::code::{CodeRange, CodeStore};
use super::queue::Request;
use crate::observe::code_log;
use crate::observe::events::event;
use crate::vm::builtins;
use std::sync::Arc;
use updraft_jit::env::ModuleEnv;
use updraft_jit::{CodeSpace, CompileError, Compiler, Job, Level, LinkError, Symbol, Trampolines};

/// Where the machine code of a module lives.
pub(crate) struct Machine {
    space: CodeSpace,
    trampolines: Trampolines,
}

impl Machine {
    /// Makes the code space, and gives every function a trampoline into the interpreter.
    pub fn new(store: &CodeStore, env: &ModuleEnv) -> Result<Machine, String> {
        let space = CodeSpace::new(&builtins::addresses()).map_err(|e| e.to_string())?;
        let types: Vec<u32> =
            env.functions.iter().map(|ty| env.canonical_types[*ty as usize]).collect();
        let trampolines = Trampolines::new(&types).map_err(|e| e.to_string())?;
        for func in 0..env.functions.len() as u32 {
            store.set_trampoline(func, trampolines.address(func));
        }
        Ok(Machine { space, trampolines })
    }
}

/// Why nothing was compiled.
pub(crate) enum Failure {
    /// This function cannot be; the others of the request could.
    Function(u32, String),
    Request(String),
    /// The process is ending, and LLVM with it.
    Ending,
}

/// Compiles, links and publishes what was asked for.
pub(crate) fn compile(compiler: &mut Compiler, request: &Request) -> Result<(), Failure> {
    let module = &request.module;
    let code = &module.code;
    let machine = code.machine(&module.env).map_err(Failure::Request)?;
    let job = Job {
        functions: &request.functions,
        level: if request.tier == Tier::Full { Level::Full } else { Level::Quick },
        osr: &request.osr,
        stub_known: &|ty| code.has_stub(ty),
        invoker_known: &|ty| code.has_invoker(ty),
    };
    let start = std::time::Instant::now();
    compiler.with_lines(code_log::wants_lines());
    let object = compiler.compile(&module.env, &module.bytes, &job).map_err(|e| match e {
        CompileError::Unsupported { func, .. } => Failure::Function(func, e.to_string()),
        CompileError::Ending => Failure::Ending,
        e => Failure::Request(e.to_string()),
    })?;
    let linked = machine.space.link(&object).map_err(|e| match e {
        LinkError::Ending => Failure::Ending,
        e => Failure::Request(e.to_string()),
    })?;
    let time = start.elapsed();
    event!("link", symbols = linked.symbols.len(), "linked");

    code_log::loaded(module, &linked, object.lines.as_ref(), request.tier);
    let recipe = linked.recipe.clone().map(Arc::new);
    // Whatever code may call must be there before the code itself: stubs and invokers first.
    let mut bytes = 0;
    for symbol in &linked.symbols {
        bytes += symbol.size;
        let func = match symbol.symbol {
            Symbol::Stub(_) | Symbol::Invoker(_) => None,
            Symbol::Function(func) | Symbol::Osr { func, .. } => Some(func),
        };
        let end = symbol.address + symbol.size;
        let made = recipe.clone().map(|recipe| (symbol.symbol, recipe));
        code.add_range(symbol.address, CodeRange { end, func, made });
        match symbol.symbol {
            Symbol::Stub(ty) => {
                machine.trampolines.set_stub(ty, symbol.address);
                code.set_stub_known(ty);
            }
            Symbol::Invoker(ty) => code.set_invoker(ty, symbol.address),
            Symbol::Function(_) | Symbol::Osr { .. } => {}
        }
    }
    let share = time / (request.functions.len() + request.osr.len()).max(1) as u32;
    for symbol in &linked.symbols {
        match symbol.symbol {
            Symbol::Function(func) => {
                code.add_cost(func, request.tier, share, symbol.size);
                code.publish(&module.env, func, request.tier, symbol.address);
                let (name, bytes) = (|| module.function_name(func), symbol.size);
                event!("publish", func, name = %name(), tier = %request.tier, bytes, "published");
            }
            Symbol::Osr { func, index } => {
                code.add_cost(func, request.tier, share, symbol.size);
                code.publish_osr(func, index, request.tier, symbol.address);
                let (name, bytes) = (|| module.function_name(func), symbol.size);
                event!(
                    "publish",
                    func, name = %name(), "loop" = index, tier = %request.tier, bytes, "published"
                );
            }
            Symbol::Stub(_) | Symbol::Invoker(_) => {}
        }
    }
    code.keep(linked);
    for func in request.compiled() {
        code.release_loops(func, request.tier, request.pause(func));
    }
    event!(
        "compiled",
        functions = ?request.functions,
        loops = ?request.osr,
        tier = %request.tier,
        us = time.as_micros() as u64,
        bytes,
        ir_instructions = object.ir_instructions,
        "compiled"
    );
    Ok(())
}
