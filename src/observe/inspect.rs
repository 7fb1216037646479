//! What each tier makes of a function.

use crate::module::Module;

/// What to show of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// The interpreter's bytecode.
    Bytecode,
    /// LLVM IR as translated for the full tier.
    Llvm,
    /// LLVM IR after the full tier's passes.
    LlvmOpt,
    /// Assembly of the full tier.
    Asm,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// No function of this name or index, or an imported one.
    #[error("no function {0:?} with a body in this module")]
    NoFunction(String),
    /// The tier cannot do it.
    #[error("{0}")]
    Tier(String),
}

/// The functions with a body that `which` names: an index, a name, or all for `None`.
fn select(module: &Module, which: Option<&str>) -> Result<Vec<u32>, InspectError> {
    let env = &module.env;
    let all = env.imported_functions..env.functions.len() as u32;
    let Some(which) = which else { return Ok(all.collect()) };
    let found: Vec<u32> = match which.parse::<u32>() {
        Ok(index) => all.filter(|i| *i == index).collect(),
        Err(_) => all.filter(|i| module.function_name(*i) == which).collect(),
    };
    if found.is_empty() { Err(InspectError::NoFunction(which.to_owned())) } else { Ok(found) }
}

/// Shows what a tier makes of a function (an index, a name, or all for `None`).
///
/// # Errors
/// If there is no such function, or the tier cannot translate it.
pub fn inspect(
    module: &Module,
    which: Option<&str>,
    emit: Emit,
    sink: &mut dyn FnMut(&str) -> std::io::Result<()>,
) -> Result<std::io::Result<()>, InspectError> {
    for func in select(module, which)? {
        let body = module.env.body(func);
        let title = format!(
            ";; function {func} {:?}, {} bytes at {:#x}\n",
            module.function_name(func),
            body.len(),
            body.start
        );
        let text = match emit {
            Emit::Bytecode => module
                .code
                .interp
                .print(&module.env, &module.bytes, func)
                .map_err(|e| InspectError::Tier(e.to_string()))?,
            _ => machine_text(module, func, emit)?,
        };
        if let Err(error) = sink(&title).and_then(|()| sink(&text)) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

#[cfg(feature = "llvm")]
fn machine_text(module: &Module, func: u32, emit: Emit) -> Result<String, InspectError> {
    use updraft_jit::{Compiler, Job, Level, Text};
    let tier = |e: &dyn std::fmt::Display| InspectError::Tier(e.to_string());
    updraft_jit::load().map_err(|e| tier(&e))?;
    let options = crate::tiers::compiler_options(module.engine.config());
    let mut compiler = Compiler::new(options).map_err(|e| tier(&e))?;
    let job = Job {
        functions: &[func],
        level: Level::Full,
        osr: &[],
        stub_known: &|_| true,
        invoker_known: &|_| true,
    };
    let what = match emit {
        Emit::Bytecode | Emit::Llvm => Text::Llvm,
        Emit::LlvmOpt => Text::LlvmOptimised,
        Emit::Asm => Text::Assembly,
    };
    compiler.emit_text(&module.env, &module.bytes, &job, what).map_err(|e| tier(&e))
}

#[cfg(not(feature = "llvm"))]
fn machine_text(_: &Module, _: u32, _: Emit) -> Result<String, InspectError> {
    Err(InspectError::Tier("this build has no LLVM; --emit bytecode works".into()))
}
