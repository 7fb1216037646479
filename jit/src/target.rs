//! Target machines and pipelines: what "quick" and "full" mean to LLVM.

use std::mem::ManuallyDrop;

use inkwell::OptimizationLevel;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{CodeModel, RelocMode, Target, TargetMachine};

use crate::compile::{Cpu, Level};
use crate::error::{CompileError, Result};
use crate::presence::Presence;
use crate::quiet;

/// The passes of the full level. Close to LLVM's O2 in result, at two thirds of its time.
///
/// The first `simplifycfg` drops unreachable code, which entries into loops have much of.
/// `instcombine` must not verify that it reached a fixpoint: in a pipeline by hand it need not, and then aborts.
const FULL_PASSES: &str = concat!(
    "function(",
    "simplifycfg,sroa,early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>,simplifycfg,",
    "loop-mssa(loop-rotate,licm),instcombine<no-verify-fixpoint>,",
    "loop(indvars,loop-idiom,loop-deletion,loop-unroll-full),sroa,",
    "gvn,sccp,loop-simplify,lcssa,loop-vectorize,instcombine<no-verify-fixpoint>,simplifycfg,",
    "loop-mssa(licm),instcombine<no-verify-fixpoint>,adce,simplifycfg)",
);

/// Instructions not to use. LLVM 22 shifts bytes by multiplying with a matrix, which is wrong for an arithmetic shift by
/// zero; as a rule it folds those before, but not if it finds out about the zero late.
const WITHOUT: &str = ",-gfni";

/// One target machine for each level.
pub(crate) struct Machines {
    quick: ManuallyDrop<TargetMachine>,
    full: ManuallyDrop<TargetMachine>,
    /// Whether the machines have the instructions of SSSE3.
    pub ssse3: bool,
}

impl Drop for Machines {
    fn drop(&mut self) {
        if let Some(_presence) = Presence::enter() {
            // SAFETY: they are not used after this.
            unsafe {
                ManuallyDrop::drop(&mut self.quick);
                ManuallyDrop::drop(&mut self.full);
            }
        }
    }
}

impl Machines {
    pub fn new(cpu: Cpu) -> Result<Self> {
        let _presence = Presence::enter().ok_or(CompileError::Ending)?;
        let (name, features) = match cpu {
            Cpu::Host => (
                TargetMachine::get_host_cpu_name().to_string(),
                TargetMachine::get_host_cpu_features().to_string() + WITHOUT,
            ),
            Cpu::Baseline => ("x86-64".to_owned(), String::new()),
        };
        let make = |level| machine(&name, &features, level).map(ManuallyDrop::new);
        Ok(Machines {
            quick: make(OptimizationLevel::None)?,
            full: make(OptimizationLevel::Default)?,
            ssse3: features.split(',').any(|feature| feature == "+ssse3"),
        })
    }

    pub fn get(&self, level: Level) -> &TargetMachine {
        match level {
            Level::Quick => &self.quick,
            Level::Full => &self.full,
        }
    }

    /// Tells the module what it is compiled for.
    pub fn prepare(&self, module: &Module, level: Level) {
        let machine = self.get(level);
        module.set_triple(&machine.get_triple());
        module.set_data_layout(&machine.get_target_data().get_data_layout());
    }

    /// Runs the level's passes. The quick level has none.
    pub fn optimise(&self, module: &Module, level: Level) -> Result<()> {
        if level == Level::Quick {
            return Ok(());
        }
        module
            .run_passes(FULL_PASSES, self.get(level), PassBuilderOptions::create())
            .map_err(|error| CompileError::Llvm(error.to_string()))?;
        quiet::settle(module);
        Ok(())
    }
}

fn machine(cpu: &str, features: &str, level: OptimizationLevel) -> Result<TargetMachine> {
    let triple = TargetMachine::get_default_triple();
    let target =
        Target::from_triple(&triple).map_err(|error| CompileError::Llvm(error.to_string()))?;
    target
        .create_target_machine(
            &triple,
            cpu,
            features,
            level,
            RelocMode::PIC,
            // JITLink reaches what is far away through stubs.
            CodeModel::Small,
        )
        .ok_or_else(|| CompileError::Llvm(format!("no target machine for {triple}")))
}
