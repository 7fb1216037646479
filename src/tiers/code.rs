//! The code of a module: one place that all instances, on all threads, take it from.

use super::calls::Calls;
use super::tuning::{self, Tuning};
use crate::engine::Engine;
use crate::interp::InterpCode;
#[cfg(feature = "llvm")]
use crate::observe::{code_log, events::event};
use crate::vm::sys::Framings;
use dashmap::DashMap;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::sync::{Mutex, OnceLock, RwLock};
use std::time::Duration;
#[cfg(feature = "llvm")]
use updraft_jit::Level;
use updraft_jit::env::ModuleEnv;

/// A tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Tier {
    /// Interpreted.
    Interp = 0,
    /// Machine code at O0.
    Quick = 1,
    /// Optimised machine code.
    Full = 2,
}

impl Tier {
    fn from_u8(value: u8) -> Tier {
        match value {
            0 => Tier::Interp,
            1 => Tier::Quick,
            _ => Tier::Full,
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Tier::Interp => "interp",
            Tier::Quick => "quick",
            Tier::Full => "full",
        })
    }
}

/// Bits of [`FunctionState::requests`].
const REQUESTED_QUICK: u8 = 1;
const REQUESTED_FULL: u8 = 2;
const FAILED: u8 = 4;
const CALLED: u8 = 8;
/// Of a loop: from the bit of a tier to the bit that says that a request was dropped.
const DROPPED_SHIFT: u32 = 4;

/// What is known of one function.
#[derive(Default)]
pub(crate) struct FunctionState {
    /// Time spent in it, in interpreted operators.
    heat: AtomicU64,
    /// Entries into its running loops.
    entries: AtomicU32,
    /// The best tier that was published.
    tier: AtomicU8,
    requests: AtomicU8,
}

impl FunctionState {
    pub fn heat(&self) -> u64 {
        self.heat.load(Ordering::Relaxed)
    }

    /// Adds heat; returns the sum.
    pub fn charge(&self, units: u64) -> u64 {
        self.heat.fetch_add(units, Ordering::Relaxed) + units
    }

    pub fn tier(&self) -> Tier {
        Tier::from_u8(self.tier.load(Ordering::Acquire))
    }

    pub fn failed(&self) -> bool {
        self.requests.load(Ordering::Relaxed) & FAILED != 0
    }

    pub fn set_failed(&self) {
        self.requests.fetch_or(FAILED, Ordering::Relaxed);
    }

    /// Whether it was seen to be called often enough for its calls to count.
    pub fn called(&self) -> bool {
        self.requests.load(Ordering::Relaxed) & CALLED != 0
    }

    pub fn set_called(&self) {
        if !self.called() {
            self.requests.fetch_or(CALLED, Ordering::Relaxed);
        }
    }

    /// Notes that one of its loops was entered; how often that was.
    pub fn note_entry(&self) -> u32 {
        self.entries.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Nobody asks for a tier any more.
    pub fn withdraw(&self, tier: Tier) {
        self.requests.fetch_and(!request_bit(tier), Ordering::Relaxed);
    }

    /// Notes that a tier is being asked for; true the first time.
    pub fn request(&self, tier: Tier) -> bool {
        let bit = request_bit(tier);
        self.requests.fetch_or(bit, Ordering::Relaxed) & (bit | FAILED) == 0
    }
}

fn request_bit(tier: Tier) -> u8 {
    if tier == Tier::Full { REQUESTED_FULL } else { REQUESTED_QUICK }
}

/// A loop in which a budget was spent, and its entries.
#[derive(Debug, Default)]
pub(crate) struct OsrState {
    pub quick: AtomicPtr<u8>,
    pub full: AtomicPtr<u8>,
    /// Tiers that were asked for, as in [`FunctionState`].
    requests: AtomicU8,
    pub entries: AtomicU64,
    /// How often a budget was spent in it.
    pub samples: AtomicU32,
    /// The function's heat when that happened last.
    pub last: AtomicU64,
}

impl OsrState {
    /// The best entry of at least this tier, and its tier.
    pub fn entry(&self, least: Tier) -> Option<(Tier, *const u8)> {
        let full = self.full.load(Ordering::Acquire);
        if !full.is_null() {
            return Some((Tier::Full, full));
        }
        let quick = self.quick.load(Ordering::Acquire);
        (least <= Tier::Quick && !quick.is_null()).then_some((Tier::Quick, quick.cast_const()))
    }

    fn slot(&self, tier: Tier) -> &AtomicPtr<u8> {
        if tier == Tier::Full { &self.full } else { &self.quick }
    }
}

/// What compiling a function cost.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CompileCost {
    /// How often it was compiled.
    pub compiles: u32,
    /// Seconds of compile threads.
    pub seconds: f64,
    /// Bytes of machine code.
    pub bytes: u64,
}

/// Where machine code lies.
pub(crate) struct CodeRange {
    pub end: usize,
    /// The function; none for translators between calling conventions, which no backtrace shows.
    pub func: Option<u32>,
    /// How it was made.
    #[cfg(feature = "llvm")]
    pub made: Option<(updraft_jit::Symbol, std::sync::Arc<updraft_jit::Recipe>)>,
}

/// A place in machine code.
#[derive(Debug, Clone)]
pub(crate) struct CodePlace {
    pub func: u32,
    /// Bytes from the start of the symbol.
    pub offset: usize,
    #[cfg(feature = "llvm")]
    pub made: Option<(updraft_jit::Symbol, std::sync::Arc<updraft_jit::Recipe>)>,
}

impl CodePlace {
    /// The tier that it is code of.
    pub fn tier(&self) -> Tier {
        #[cfg(feature = "llvm")]
        if let Some((_, recipe)) = &self.made
            && recipe.level() == Level::Quick
        {
            return Tier::Quick;
        }
        Tier::Full
    }

    /// Whether it is in an entry into a loop.
    pub fn is_loop_entry(&self) -> bool {
        #[cfg(feature = "llvm")]
        return matches!(self.made, Some((updraft_jit::Symbol::Osr { .. }, _)));
        #[cfg(not(feature = "llvm"))]
        false
    }
}

/// All code of one module.
pub(crate) struct CodeStore {
    pub interp: InterpCode,
    /// Per function: its machine code, or a trampoline into the interpreter; null before anything was compiled.
    native: Box<[AtomicPtr<u8>]>,
    pub functions: Box<[FunctionState]>,
    invokers: Box<[AtomicPtr<u8>]>,
    stubs: Box<[AtomicBool]>,
    pub osr: DashMap<(u32, u32), OsrState>,
    /// By function and tier: the heat before which no further entry into its loops is asked for. All ones while one, or the
    /// function, is being made.
    loops_from: DashMap<(u32, Tier), u64>,
    /// If calls are counted.
    pub calls: Option<Calls>,
    pub costs: Mutex<BTreeMap<(u32, Tier), CompileCost>>,
    ranges: RwLock<BTreeMap<usize, CodeRange>>,
    /// Living instances of the module.
    instances: AtomicUsize,
    /// Code that can be freed once better code has replaced all of it, and no instance lives.
    #[cfg(feature = "llvm")]
    pieces: Mutex<Vec<updraft_jit::Linked>>,
    #[cfg(feature = "llvm")]
    machine: OnceLock<Result<super::link::Machine, String>>,
    #[cfg(not(feature = "llvm"))]
    machine: OnceLock<()>,
}

impl CodeStore {
    pub fn new(engine: &Engine, env: &ModuleEnv) -> CodeStore {
        let null = |_| AtomicPtr::default();
        CodeStore {
            interp: InterpCode::new(env)
                .canonicalizing(engine.config().canonicalize_nan)
                .counting(engine.config().count_calls),
            calls: engine.config().count_calls.then(|| Calls::new(env.functions.len())),
            native: env.functions.iter().map(null).collect(),
            functions: env.functions.iter().map(|_| FunctionState::default()).collect(),
            invokers: env.types.iter().map(|_| AtomicPtr::default()).collect(),
            stubs: env.types.iter().map(|_| AtomicBool::default()).collect(),
            osr: DashMap::with_shard_amount(4),
            loops_from: DashMap::with_shard_amount(4),
            costs: Mutex::default(),
            ranges: RwLock::default(),
            instances: AtomicUsize::new(0),
            #[cfg(feature = "llvm")]
            pieces: Mutex::default(),
            machine: OnceLock::new(),
        }
    }

    pub fn native_table(&self) -> *const AtomicPtr<u8> {
        self.native.as_ptr()
    }

    /// Where native callers enter the function now.
    pub fn native(&self, func: u32) -> *const u8 {
        self.native[func as usize].load(Ordering::Acquire)
    }

    pub fn invoker(&self, canonical_type: u32) -> *const u8 {
        self.invokers[canonical_type as usize].load(Ordering::Acquire)
    }

    pub fn has_invoker(&self, canonical_type: u32) -> bool {
        !self.invoker(canonical_type).is_null()
    }

    pub fn has_stub(&self, canonical_type: u32) -> bool {
        self.stubs[canonical_type as usize].load(Ordering::Acquire)
    }

    pub fn set_invoker(&self, canonical_type: u32, address: usize) {
        self.invokers[canonical_type as usize].store(address as *mut u8, Ordering::Release);
    }

    pub fn set_stub_known(&self, canonical_type: u32) {
        self.stubs[canonical_type as usize].store(true, Ordering::Release);
    }

    /// Sets the entry of a function that has no machine code yet.
    pub fn set_trampoline(&self, func: u32, address: usize) {
        self.native[func as usize].store(address as *mut u8, Ordering::Release);
    }

    /// Publishes machine code: from this store on, every thread's next call runs it. Lower tiers never replace higher
    /// ones. The invoker and all stubs that the code needs have been set.
    pub fn publish(&self, env: &ModuleEnv, func: u32, tier: Tier, address: usize) {
        let state = &self.functions[func as usize];
        // Publishing of one function from two workers is rare; the lock of the costs orders it.
        let _order = self.costs.lock().expect("no panics hold it");
        if state.tier() >= tier {
            return;
        }
        self.native[func as usize].store(address as *mut u8, Ordering::Release);
        let ty = env.canonical_types[env.functions[func as usize] as usize];
        self.interp.set_native(env, func, self.invoker(ty));
        state.tier.store(tier as u8, Ordering::Release);
    }

    /// Publishes an entry into a loop.
    pub fn publish_osr(&self, func: u32, index: u32, tier: Tier, address: usize) {
        let state = self.osr.entry((func, index)).or_default();
        state.slot(tier).store(address as *mut u8, Ordering::Release);
    }

    /// A budget was spent in a loop: its best entry of at least this tier, and the entry's tier.
    pub fn sample_loop(&self, func: u32, index: u32, least: Tier) -> Option<(Tier, *const u8)> {
        let sample = |state: &OsrState| {
            state.samples.fetch_add(1, Ordering::Relaxed);
            state.last.store(self.functions[func as usize].heat(), Ordering::Relaxed);
            let entry = state.entry(least)?;
            state.entries.fetch_add(1, Ordering::Relaxed);
            Some(entry)
        };
        if let Some(state) = self.osr.get(&(func, index)) {
            return sample(&state);
        }
        sample(&self.osr.entry((func, index)).or_default())
    }

    /// Whether entries into the function's loops may be asked for at this heat.
    pub fn may_begin_loop(&self, func: u32, tier: Tier, heat: u64) -> bool {
        self.loops_from.get(&(func, tier)).is_none_or(|from| heat >= *from)
    }

    /// Whether an entry into a loop may be asked for at this heat of the function. If so, it must be, for it is noted, and others
    /// wait until [`CodeStore::release_loops`].
    pub fn begin_loop(&self, func: u32, index: u32, tier: Tier, heat: u64) -> bool {
        let mut from = self.loops_from.entry((func, tier)).or_default();
        if heat < *from {
            return false;
        }
        let state = self.osr.entry((func, index)).or_default();
        let bit = request_bit(tier);
        if state.requests.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            return false;
        }
        *from = u64::MAX;
        true
    }

    /// No entry into the function's loops is asked for until [`CodeStore::release_loops`].
    pub fn hold_loops(&self, func: u32, tier: Tier) {
        self.loops_from.insert((func, tier), u64::MAX);
    }

    /// Further entries into the function's loops may be asked for once it has gathered so much more heat.
    pub fn release_loops(&self, func: u32, tier: Tier, more: u64) {
        if let Some(mut from) = self.loops_from.get_mut(&(func, tier)) {
            *from = self.functions[func as usize].heat().saturating_add(more);
        }
    }

    /// Whether an entry into the loop was asked for.
    pub fn is_loop_requested(&self, func: u32, index: u32, tier: Tier) -> bool {
        let state = self.osr.get(&(func, index));
        state.is_some_and(|s| s.requests.load(Ordering::Relaxed) & request_bit(tier) != 0)
    }

    /// How often a budget was spent in the loop.
    pub fn loop_samples(&self, func: u32, index: u32) -> u32 {
        self.osr.get(&(func, index)).map_or(0, |state| state.samples.load(Ordering::Relaxed))
    }

    /// How much heat the function has gathered since a budget was last spent in the loop.
    pub fn heat_outside(&self, func: u32, index: u32) -> u64 {
        let last = self.osr.get(&(func, index)).map_or(0, |s| s.last.load(Ordering::Relaxed));
        self.functions[func as usize].heat().saturating_sub(last)
    }

    /// Whether the request for an entry into a loop that seems to be over may be dropped: once only, for a loop that is asked for
    /// again comes back, and the request may always be late for it.
    pub fn may_drop_loop(&self, func: u32, index: u32, tier: Tier) -> bool {
        let bit = request_bit(tier) << DROPPED_SHIFT;
        let state = self.osr.get(&(func, index));
        state.is_some_and(|s| s.requests.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }

    /// Nobody asks for the entry any more.
    pub fn withdraw_loop(&self, func: u32, index: u32, tier: Tier) {
        if let Some(state) = self.osr.get(&(func, index)) {
            state.requests.fetch_and(!request_bit(tier), Ordering::Relaxed);
        }
    }

    pub fn add_range(&self, start: usize, range: CodeRange) {
        self.ranges.write().expect("no panics hold it").insert(start, range);
    }

    /// What an address in machine code belongs to.
    pub fn find(&self, pc: usize) -> Option<CodePlace> {
        let ranges = self.ranges.read().expect("no panics hold it");
        let (start, range) = ranges.range(..=pc).next_back()?;
        Some(CodePlace {
            func: range.func.filter(|_| pc < range.end)?,
            offset: pc - start,
            #[cfg(feature = "llvm")]
            made: range.made.clone(),
        })
    }

    /// Whether an address is in machine code, that of stubs and invokers included.
    pub fn contains(&self, pc: usize) -> bool {
        self.bounds(pc).is_some()
    }

    /// First byte and end of the machine code that an address is in.
    pub fn bounds(&self, pc: usize) -> Option<(usize, usize)> {
        let ranges = self.ranges.read().expect("no panics hold it");
        let (start, range) = ranges.range(..=pc).next_back()?;
        (pc < range.end).then_some((*start, range.end))
    }

    /// Where the machine code that an address is in has its frame. The code is not freed meanwhile.
    pub fn framings(&self, pc: usize) -> Option<(usize, Framings)> {
        let (start, end) = self.bounds(pc)?;
        // SAFETY: the code was linked before it was entered here, is never written to again, and is not freed by contract.
        let code = unsafe { std::slice::from_raw_parts(start as *const u8, end - start) };
        Some((start, Framings::of(code)))
    }

    /// The return address of machine code that was interrupted, if it is still or already on top of the stack, of which `top` are the
    /// uppermost words.
    pub fn caller_on_top(&self, pc: usize, top: [usize; 2]) -> Option<usize> {
        let (start, framings) = self.framings(pc)?;
        framings.at(pc - start).on_top(top)
    }

    /// How often loops have been entered while they ran.
    pub fn loop_entries(&self) -> u64 {
        self.osr.iter().map(|entry| entry.entries.load(Ordering::Relaxed)).sum()
    }

    /// Notes that there is one more instance.
    pub fn add_instance(&self) {
        // Acquire: if `reclaim` has seen that there is none, this instance sees the code that was published before.
        self.instances.fetch_add(1, Ordering::Acquire);
    }

    /// Notes that an instance is gone; nothing runs in it. After the last one, code that was replaced is freed.
    pub fn remove_instance(&self) {
        if self.instances.fetch_sub(1, Ordering::AcqRel) == 1 {
            #[cfg(feature = "llvm")]
            self.reclaim();
        }
    }

    /// Leaves code to [`CodeStore::reclaim`]. Stubs and invokers are never replaced, so an object with one stays.
    #[cfg(feature = "llvm")]
    pub fn keep(&self, linked: updraft_jit::Linked) {
        use updraft_jit::Symbol;
        let replaceable = linked.symbols.iter().all(|s| match s.symbol {
            Symbol::Function(_) | Symbol::Osr { .. } => true,
            Symbol::Stub(_) | Symbol::Invoker(_) => false,
        });
        if replaceable && linked.recipe.as_ref().is_some_and(|r| r.level() == Level::Quick) {
            self.pieces.lock().expect("no panics hold it").push(linked);
        }
    }

    /// Frees quick code all of whose functions have full code.
    ///
    /// After they were found to have it, a moment without instances must be seen. Who was in the quick code, or had its
    /// address, was in an instance; an instance that is made later finds the full code in the tables, and its interpreter the
    /// full code in place of the function, so that it never asks for the entries into its loops.
    #[cfg(feature = "llvm")]
    fn reclaim(&self) {
        use updraft_jit::Symbol;
        let replaced = |linked: &mut updraft_jit::Linked| {
            linked.symbols.iter().all(|s| match s.symbol {
                Symbol::Function(func) | Symbol::Osr { func, .. } => {
                    self.functions[func as usize].tier() == Tier::Full
                }
                Symbol::Stub(_) | Symbol::Invoker(_) => false,
            })
        };
        let mut pieces = self.pieces.lock().expect("no panics hold it");
        let freed: Vec<_> = pieces.extract_if(.., replaced).collect();
        let none = self.instances.compare_exchange(0, 0, Ordering::AcqRel, Ordering::Relaxed);
        if none.is_err() {
            pieces.extend(freed);
            return;
        }
        drop(pieces);
        for linked in freed {
            let mut ranges = self.ranges.write().expect("no panics hold it");
            for symbol in &linked.symbols {
                ranges.remove(&symbol.address);
                if let Symbol::Osr { func, index } = symbol.symbol
                    && let Some(state) = self.osr.get(&(func, index))
                {
                    state.quick.store(std::ptr::null_mut(), Ordering::Relaxed);
                }
            }
            drop(ranges);
            let bytes: usize = linked.symbols.iter().map(|symbol| symbol.size).sum();
            code_log::freed(&linked);
            event!("reclaim", symbols = linked.symbols.len(), bytes, "replaced code is freed");
            if let Err(error) = linked.remove() {
                tracing::warn!(%error, "replaced code could not be freed");
            }
        }
    }

    pub fn add_cost(&self, func: u32, tier: Tier, time: Duration, bytes: usize) {
        let mut costs = self.costs.lock().expect("no panics hold it");
        let cost = costs.entry((func, tier)).or_default();
        cost.compiles += 1;
        cost.seconds += time.as_secs_f64();
        cost.bytes += bytes as u64;
    }

    /// The machine side, made on first use.
    #[cfg(feature = "llvm")]
    pub fn machine(&self, env: &ModuleEnv) -> Result<&super::link::Machine, String> {
        let machine = self.machine.get_or_init(|| super::link::Machine::new(self, env));
        machine.as_ref().map_err(Clone::clone)
    }
}

/// Heat from which a function of so many bytes is worth a tier.
pub(crate) fn threshold(tuning: &Tuning, tier: Tier, body: usize) -> u64 {
    let bytes = (body as u64).max(tuning::SMALLEST_BODY);
    match tier {
        Tier::Interp => 0,
        Tier::Quick => bytes * u64::from(tuning.quick_heat_per_byte),
        Tier::Full if body > tuning::LARGEST_FULL_BODY => u64::MAX,
        Tier::Full => bytes * u64::from(tuning.full_heat_per_byte),
    }
}
