//! The summary of a run.

use crate::module::Module;
use crate::tiers::{CompileCost, Tier};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;

/// What became of one function.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionStats {
    /// Index in the module.
    pub index: u32,
    /// Name, as in backtraces.
    pub name: String,
    /// The best tier that it reached.
    pub tier: Tier,
    /// Time spent in it below the full tier, in interpreted operators (sampled).
    pub heat: u64,
    /// What compiling it cost, by tier.
    pub compiled: BTreeMap<String, CompileCost>,
    /// How often it was called in each tier, if calls are counted ([`Config::count_calls`](crate::Config::count_calls)). A loop that is
    /// entered in machine code while it runs is no call.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub calls: BTreeMap<String, u64>,
    /// How often a running loop of it was entered in machine code.
    pub osr_entries: u64,
}

/// Sums over one tier.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TierStats {
    /// Functions whose best tier this is.
    pub functions: u64,
    /// Compilations, entries into loops included.
    pub compiles: u64,
    /// Seconds of compile threads.
    pub compile_seconds: f64,
    /// Bytes of machine code; of bytecode for the interpreter.
    pub code_bytes: u64,
}

/// The summary of a run of a program.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessStats {
    /// The strategy.
    pub strategy: String,
    /// Seconds from the start of the program to its end.
    pub wall_seconds: f64,
    /// Functions of the module.
    pub functions_declared: u64,
    /// Threads that were started, the main thread included.
    pub threads_started: u64,
    /// Most threads that were alive at once, the main thread included.
    pub threads_peak: u64,
    /// By tier.
    pub tiers: BTreeMap<String, TierStats>,
    /// Entries into running loops.
    pub osr_entries: u64,
    /// Requests that were still queued at the end.
    pub compiles_cancelled: u64,
    /// Functions that gathered heat or were compiled, the hottest first.
    pub functions: Vec<FunctionStats>,
}

impl ProcessStats {
    /// Collects the state of a module's code.
    pub(crate) fn collect(
        module: &Module,
        wall_seconds: f64,
        threads_started: u64,
        threads_peak: u64,
    ) -> ProcessStats {
        let code = &module.code;
        let costs = code.costs.lock().expect("no panics hold it").clone();
        let mut osr: BTreeMap<u32, u64> = BTreeMap::new();
        for entry in &code.osr {
            *osr.entry(entry.key().0).or_default() += entry.entries.load(Ordering::Relaxed);
        }
        let called = code.calls.as_ref().map(|calls| calls.sums()).unwrap_or_default();
        let mut tiers: BTreeMap<String, TierStats> = BTreeMap::new();
        let mut functions = Vec::new();
        for (state, index) in
            code.functions.iter().zip(0..).skip(module.env.imported_functions as usize)
        {
            let is_made = |tier: &Tier| costs.contains_key(&(index, *tier));
            let made = [Tier::Full, Tier::Quick].into_iter().find(is_made);
            let tier = state.tier().max(made.unwrap_or(Tier::Interp));
            let heat = state.heat();
            let osr_entries = osr.get(&index).copied().unwrap_or(0);
            let compiled: BTreeMap<String, CompileCost> = [Tier::Quick, Tier::Full]
                .iter()
                .filter_map(|tier| Some((tier.to_string(), costs.get(&(index, *tier))?.clone())))
                .collect();
            let calls: BTreeMap<String, u64> = [Tier::Interp, Tier::Quick, Tier::Full]
                .iter()
                .zip(called.get(index as usize).into_iter().flatten())
                .filter(|(_, count)| **count > 0)
                .map(|(tier, count)| (tier.to_string(), *count))
                .collect();
            if heat > 0 || !compiled.is_empty() || osr_entries > 0 || !calls.is_empty() {
                tiers.entry(tier.to_string()).or_default().functions += 1;
                let name = module.function_name(index).into_owned();
                functions.push(FunctionStats {
                    index,
                    name,
                    tier,
                    heat,
                    compiled,
                    calls,
                    osr_entries,
                });
            }
        }
        for ((_, tier), cost) in &costs {
            let sum = tiers.entry(tier.to_string()).or_default();
            sum.compiles += u64::from(cost.compiles);
            sum.compile_seconds += cost.seconds;
            sum.code_bytes += cost.bytes;
        }
        tiers.entry("interp".into()).or_default().code_bytes = code.interp.bytecode_bytes() as u64;
        functions.sort_by_key(|f| std::cmp::Reverse(f.heat));
        ProcessStats {
            strategy: module.engine.config().strategy.to_string(),
            wall_seconds,
            functions_declared: module.env.functions.len() as u64,
            threads_started,
            threads_peak,
            tiers,
            osr_entries: code.loop_entries(),
            compiles_cancelled: module.engine.compiler().queue_len() as u64,
            functions,
        }
    }
}

impl fmt::Display for ProcessStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} in {:.3} s; {} threads started, {} at once; {} entries into running loops",
            self.strategy,
            self.wall_seconds,
            self.threads_started,
            self.threads_peak,
            self.osr_entries
        )?;
        writeln!(
            f,
            "  {:<8} {:>9} {:>9} {:>12} {:>12}",
            "tier", "functions", "compiles", "compile ms", "code bytes"
        )?;
        for (tier, sum) in &self.tiers {
            writeln!(
                f,
                "  {tier:<8} {:>9} {:>9} {:>12.2} {:>12}",
                sum.functions,
                sum.compiles,
                sum.compile_seconds * 1e3,
                sum.code_bytes
            )?;
        }
        if self.functions.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "  {:<7} {:>14} {:>10} {:>10} {:>6}  function",
            "reached", "heat", "quick ms", "full ms", "loops"
        )?;
        const SHOWN: usize = 15;
        for function in self.functions.iter().take(SHOWN) {
            let cost = |tier: &str| match function.compiled.get(tier) {
                Some(cost) => format!("{:.2}", cost.seconds * 1e3),
                None => "-".into(),
            };
            writeln!(
                f,
                "  {:<7} {:>14} {:>10} {:>10} {:>6}  {}",
                function.tier.to_string(),
                function.heat,
                cost("quick"),
                cost("full"),
                function.osr_entries,
                // A name may be anything, and is not to change what a terminal shows.
                function.name.replace(char::is_control, " ")
            )?;
        }
        if self.functions.len() > SHOWN {
            writeln!(
                f,
                "  ... and {} more (--stats=json lists all)",
                self.functions.len() - SHOWN
            )?;
        }
        Ok(())
    }
}
