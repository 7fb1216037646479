//! From a job to an object: the public face of the compiler.

use std::collections::BTreeSet;
use std::time::Duration;

use inkwell::context::Context;
use inkwell::targets::FileType;

use crate::diagnostics::in_context;
use crate::emitted::{self, EmittedSymbol};
use crate::env::ModuleEnv;
use crate::error::{CompileError, Result};
use crate::lines::{Lines, Recipe};
use crate::target::Machines;
use crate::translate::{self, Shape};
use crate::unit::Unit;
use crate::{entries, llvm_load};

/// A step of a compile has ended: an event for whoever observes the tiers.
macro_rules! step {
    ($name:literal, $time:expr) => {
        tracing::debug!(name: $name, target: "updraft::tier", cpu_us = $time.as_micros() as u64, $name)
    };
}

/// How much work goes into the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Level {
    /// No optimisation, and budget checks: cheap to make.
    Quick,
    /// All optimisations, and no checks for anything but traps.
    Full,
}

/// What machine the code is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cpu {
    /// The one that the compiler runs on, with all its instructions.
    #[default]
    Host,
    /// Any of its architecture: on x86-64, no more than SSE2.
    Baseline,
}

/// What all of a compiler's code has in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Every access traps exactly where the specification says, and none is dropped or moved. Without it LLVM may
    /// treat accesses of linear memory as C's.
    pub exact_traps: bool,
    /// Arithmetic never gives a NaN other than the canonical one.
    pub canonicalize_nan: bool,
    /// Functions count their calls, in [`VmContext::calls`](crate::abi::VmContext::calls).
    pub count_calls: bool,
    /// The machine.
    pub cpu: Cpu,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            exact_traps: true,
            canonicalize_nan: false,
            count_calls: false,
            cpu: Cpu::default(),
        }
    }
}

/// A request for code.
pub struct Job<'a> {
    /// Functions to compile, all of them defined in the module.
    pub functions: &'a [u32],
    /// How.
    pub level: Level,
    /// Loops to make entries for: function, and the loop's ordinal among all `loop` operators of the body, in order.
    pub osr: &'a [(u32, u32)],
    /// Whether there is a stub already for this canonical type. If not, and the code calls such a function, the
    /// object contains it.
    pub stub_known: &'a dyn Fn(u32) -> bool,
    /// Whether there is an invoker already for this canonical type.
    pub invoker_known: &'a dyn Fn(u32) -> bool,
}

/// What an address in the code is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Symbol {
    /// The native code of a function.
    Function(u32),
    /// An entry at a loop's header.
    Osr {
        /// The function.
        func: u32,
        /// The loop's ordinal.
        index: u32,
    },
    /// The signature stub of a canonical type.
    Stub(u32),
    /// The invoker of a canonical type.
    Invoker(u32),
}

/// Where the time of a job went, in CPU time of the worker's thread.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Timings {
    /// From wasm to LLVM's intermediate representation.
    pub translate: Duration,
    /// LLVM's passes.
    pub optimise: Duration,
    /// Code generation.
    pub emit: Duration,
}

/// Machine code, not yet at its place. It may be linked in any module's [`crate::CodeSpace`] that has the same
/// declarations.
#[derive(Clone, Debug)]
pub struct Object {
    pub(crate) bytes: Vec<u8>,
    pub(crate) symbols: Vec<EmittedSymbol>,
    /// Instructions of LLVM's intermediate representation, before optimisation. Code generation takes a time that
    /// grows with it.
    pub ir_instructions: u32,
    /// Where the time went.
    pub timings: Timings,
    pub(crate) recipe: Option<Recipe>,
    /// The line table, if it was made with the code.
    pub lines: Option<Lines>,
}

impl Object {
    /// An object from the bytes of one that was compiled before, for the same machine and module.
    ///
    /// # Errors
    /// If the bytes are not those of an object. They are not searched for malice: whoever can change them can run
    /// code in this process.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Object> {
        let symbols = emitted::symbols(&bytes)?;
        let timings = Timings::default();
        Ok(Object { bytes, symbols, ir_instructions: 0, timings, recipe: None, lines: None })
    }

    /// The object file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is in it, in order of address.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.symbols.iter().map(|symbol| symbol.symbol)
    }
}

/// What [`Compiler::emit_text`] shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Text {
    /// LLVM's intermediate representation as translated.
    Llvm,
    /// The same after the level's passes.
    LlvmOptimised,
    /// Assembly.
    Assembly,
}

/// Compiles jobs. Each worker thread has its own; it keeps what is expensive to make (LLVM's target machines).
pub struct Compiler {
    options: Options,
    machines: Machines,
    with_lines: bool,
}

impl Compiler {
    /// A compiler for the machine it runs on.
    ///
    /// # Errors
    /// If LLVM cannot be loaded.
    pub fn new(options: Options) -> Result<Compiler> {
        llvm_load::load()?;
        Ok(Compiler { options, machines: Machines::new(options.cpu)?, with_lines: false })
    }

    /// Whether code is to be made with its line table, [`Object::lines`], from here on. That takes less than [`Compiler::lines`] does
    /// afterwards, and quick code a third longer than without.
    pub fn with_lines(&mut self, with_lines: bool) {
        self.with_lines = with_lines;
    }

    /// Compiles a job. `bytes` is the module that `env` describes.
    ///
    /// # Errors
    /// If a function uses what the compiler does not support; then nothing of the job is compiled.
    pub fn compile(&mut self, env: &ModuleEnv, bytes: &[u8], job: &Job) -> Result<Object> {
        in_context(|context| self.compile_in(context, env, bytes, job))
    }

    fn compile_in(
        &self,
        context: &Context,
        env: &ModuleEnv,
        bytes: &[u8],
        job: &Job,
    ) -> Result<Object> {
        let mut timings = Timings::default();
        let start = cpu_time();
        let (unit, mut recipe) = self.translate_job(context, env, bytes, job)?;
        timings.translate = cpu_time() - start;
        step!("translate", timings.translate);

        let start = cpu_time();
        self.machines.optimise(&unit.module, job.level)?;
        timings.optimise = cpu_time() - start;
        step!("optimise", timings.optimise);

        let start = cpu_time();
        let object = self.emit(&unit, FileType::Object)?;
        let symbols = emitted::symbols(&object)?;
        recipe.hash = emitted::code_hash(&object)?;
        timings.emit = cpu_time() - start;
        step!("emit", timings.emit);
        // Code is as good without them.
        let lines = self.with_lines.then(|| emitted::lines(&object)).and_then(|lines| {
            lines.inspect_err(|error| tracing::debug!(%error, "no lines")).ok().map(Lines)
        });
        let (recipe, ir_instructions) = (Some(recipe), unit.instructions());
        Ok(Object { bytes: object, symbols, ir_instructions, timings, recipe, lines })
    }

    /// The line table of code that a compiler with the same options has made of this module. Takes somewhat longer than
    /// making the code did.
    ///
    /// # Errors
    /// If the code does not come out the same again.
    pub fn lines(&mut self, env: &ModuleEnv, bytes: &[u8], recipe: &Recipe) -> Result<Lines> {
        let object = in_context(|context| {
            let unit = self.unit(context, env, bytes, recipe.level, true);
            translate_functions(&unit, &recipe.functions, &recipe.osr)?;
            finish(&unit, &recipe.stubs, &recipe.invokers)?;
            self.machines.optimise(&unit.module, recipe.level)?;
            self.emit(&unit, FileType::Object)
        })?;
        if emitted::code_hash(&object)? != recipe.hash {
            return Err(CompileError::Differs);
        }
        Ok(Lines(emitted::lines(&object)?))
    }

    /// The job's code in a readable form.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn emit_text(
        &mut self,
        env: &ModuleEnv,
        bytes: &[u8],
        job: &Job,
        what: Text,
    ) -> Result<String> {
        in_context(|context| {
            let (unit, _) = self.translate_job(context, env, bytes, job)?;
            if what != Text::Llvm {
                self.machines.optimise(&unit.module, job.level)?;
            }
            if what != Text::Assembly {
                return Ok(unit.module.print_to_string().to_string());
            }
            let text = self.emit(&unit, FileType::Assembly)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        })
    }

    /// An empty unit.
    fn unit<'c, 'e>(
        &self,
        context: &'c Context,
        env: &'e ModuleEnv,
        bytes: &'e [u8],
        level: Level,
        lines: bool,
    ) -> Unit<'c, 'e> {
        let ssse3 = self.machines.ssse3;
        let unit = Unit::new(context, env, bytes, level, self.options, ssse3, lines);
        self.machines.prepare(&unit.module, level);
        unit
    }

    fn translate_job<'c, 'e>(
        &self,
        context: &'c Context,
        env: &'e ModuleEnv,
        bytes: &'e [u8],
        job: &Job,
    ) -> Result<(Unit<'c, 'e>, Recipe)> {
        let unit = self.unit(context, env, bytes, job.level, self.with_lines);
        translate_functions(&unit, job.functions, job.osr)?;
        let called = unit.called_types();
        let stubs: Box<[u32]> = called.into_iter().filter(|ty| !(job.stub_known)(*ty)).collect();
        let types: BTreeSet<u32> = job
            .functions
            .iter()
            .map(|func| unit.canonical(env.functions[*func as usize]))
            .filter(|ty| !(job.invoker_known)(*ty))
            .collect();
        let invokers: Box<[u32]> = types.into_iter().collect();
        finish(&unit, &stubs, &invokers)?;
        let (level, hash) = (job.level, 0);
        let (functions, osr) = (job.functions.into(), job.osr.into());
        Ok((unit, Recipe { level, functions, osr, stubs, invokers, hash }))
    }

    fn emit(&self, unit: &Unit, file: FileType) -> Result<Vec<u8>> {
        let machine = self.machines.get(unit.level);
        let buffer = machine.write_to_memory_buffer(&unit.module, file);
        Ok(buffer.map_err(|error| CompileError::Llvm(error.to_string()))?.as_slice().to_vec())
    }
}

fn translate_functions(unit: &Unit, functions: &[u32], osr: &[(u32, u32)]) -> Result<()> {
    for func in functions {
        translate::function(unit, *func, Shape::Function)?;
    }
    for (func, index) in osr {
        translate::function(unit, *func, Shape::Osr { index: *index })?;
    }
    Ok(())
}

fn finish(unit: &Unit, stubs: &[u32], invokers: &[u32]) -> Result<()> {
    entries::build(unit, stubs, invokers)?;
    if let Some(debug) = &unit.debug {
        debug.finish();
    }
    #[cfg(debug_assertions)]
    unit.module.verify().map_err(|error| CompileError::Llvm(error.to_string()))?;
    Ok(())
}

/// CPU time of this thread. Workers share the machine with the program, so that the clock on the wall says little.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to `time` alone, and this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
