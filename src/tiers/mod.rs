//! Tiering: where heat is measured, when code is asked for, and how it is published.
//!
//! Heat is interpreted time. An instance has a budget; loops and function entries spend it, and the slow path that runs when it
//! is spent charges one quantum to the function that spent the last of it. So the counters cost nothing while
//! code runs, and are exact in the long run, as any sampling is. When the heat of a function outweighs the estimated
//! cost of a better tier, a compile thread makes it; every thread of the program calls it from then on.

#![cfg_attr(
    not(feature = "llvm"),
    allow(dead_code, reason = "without a compiler, requests fail at once")
)]

mod calls;
mod code;
#[cfg(feature = "llvm")]
mod link;
mod loops;
mod queue;
mod service;
mod strategy;
pub(crate) mod tuning;

pub(crate) use calls::{Calls, Counters};
pub(crate) use code::{CodePlace, CodeStore};
pub use code::{CompileCost, Tier};
pub(crate) use service::CompileService;
#[cfg(feature = "llvm")]
pub(crate) use service::{COMPILER_STACK, compiler_options};
pub use strategy::{Strategy, UnknownStrategy};
pub use tuning::Tuning;

use crate::engine::Config;
use crate::error::Error;
use crate::module::{Module, ModuleError};
use crate::observe::events::event;
use crate::vm::{VmThread, sys};
use code::threshold;
use queue::{Request, Waiter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use updraft_jit::abi::{FUNCTION_ENTRY, activity};

/// The thread must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopping;

/// What a budget is refilled to.
pub(crate) fn quantum(config: &Config) -> i64 {
    match config.strategy {
        Strategy::Random { .. } => tuning::RANDOM_QUANTUM.min(config.tuning.quantum.max(1)).into(),
        Strategy::Tiered => config.tuning.quantum.max(1).into(),
        Strategy::Interp | Strategy::Quick | Strategy::Full => tuning::QUANTUM.into(),
    }
}

/// The first budget of an instance. Each begins at another point of a quantum, so that many short threads are charged for
/// what they do on average, and not all for their first steps, or never.
pub(crate) fn first_budget(quantum: i64) -> i64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Multiples of the golden ratio fill the range evenly.
    let phase = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (quantum * phase as i64) >> 32
}

/// Gives a function that was never called its first code; null if a failure was recorded.
pub(crate) fn first_call(thread: &mut VmThread, module: &Module, func: u32) -> *const u8 {
    let tier = match module.engine.config().strategy {
        Strategy::Interp | Strategy::Tiered => None,
        Strategy::Quick => Some(Tier::Quick),
        Strategy::Full => Some(Tier::Full),
        Strategy::Random { seed } => match thread.random(seed) % 4 {
            0 => Some(Tier::Quick),
            1 => Some(Tier::Full),
            _ => None,
        },
    };
    if let Some(tier) = tier
        && let Err(Stopping) = compile_now(thread, module, tier, func, None)
    {
        crate::vm::hooks::fail_stopped(thread);
        return std::ptr::null();
    }
    if module.code.functions[func as usize].tier() == Tier::Interp
        && let Err(error) = module.code.interp.translate(&module.env, &module.bytes, func)
    {
        let (what, offset) = (error.to_string(), module.env.body(func).start as u64);
        thread.fail(Error::Module(ModuleError::Unsupported { what, offset }));
        return std::ptr::null();
    }
    // SAFETY: the table has an entry for each function of the module.
    unsafe { (*module.code.interp.table().add(func as usize)).load(Ordering::Acquire) }
}

/// Compiles on a worker and waits for it. That nothing came of it is not an error: lower tiers go on.
fn compile_now(
    thread: &VmThread,
    module: &Module,
    tier: Tier,
    func: u32,
    osr: Option<u32>,
) -> Result<(), Stopping> {
    let state = &module.code.functions[func as usize];
    // What is too large for full code is quick code at best.
    let tier =
        if module.env.body(func).len() > tuning::LARGEST_FULL_BODY { Tier::Quick } else { tier };
    let wanted = match osr {
        None => state.tier() < tier,
        Some(index) => module.code.osr.get(&(func, index)).is_none_or(|o| o.entry(tier).is_none()),
    };
    if !wanted || state.failed() {
        return Ok(());
    }
    let waiter = Arc::new(Waiter::default());
    let mut request = Request::new(module, tier, u64::MAX);
    match osr {
        Some(index) => request.osr.push((func, index)),
        None => request.functions.push(func),
    }
    request.waiter = Some(waiter.clone());
    submit(thread.id, request);
    let outer = thread.begin(activity::COMPILE);
    sys::go_outside(&thread.abi);
    let served = waiter.wait(|| sys::must_end(&thread.abi));
    sys::come_inside(&thread.abi);
    thread.end(outer, || None);
    if served { Ok(()) } else { Err(Stopping) }
}

/// The interpreter spent a budget. Returns an OSR entry to go on in.
pub(crate) fn interpreted(
    thread: &mut VmThread,
    module: &Module,
    func: u32,
    loop_index: u32,
) -> Result<Option<*const u8>, Stopping> {
    let config = module.engine.config();
    let strategy = config.strategy;
    let index = (loop_index != FUNCTION_ENTRY).then_some(loop_index);
    let units = quantum(config) as u64;
    let heat = module.code.functions[func as usize].charge(units);
    match strategy {
        Strategy::Interp | Strategy::Quick | Strategy::Full => Ok(None),
        Strategy::Random { seed } => {
            let choice = thread.random(seed);
            if !choice.is_multiple_of(tuning::RANDOM_ONE_IN) {
                return Ok(None);
            }
            let tier = if choice & 8 == 0 { Tier::Quick } else { Tier::Full };
            compile_now(thread, module, tier, func, index)?;
            Ok(index.and_then(|index| take_entry(thread.id, module, func, index, (tier, units))))
        }
        Strategy::Tiered => {
            let entry = index
                .and_then(|index| take_entry(thread.id, module, func, index, (Tier::Quick, units)));
            let compiler = module.engine.compiler();
            if entry.is_none() && compiler.is_worth_starting(units, config.tuning.first_heat) {
                ask(thread.id, module, func, index, heat, Tier::Interp);
            }
            Ok(entry)
        }
    }
}

/// Quick code spent a budget. Returns an OSR entry of full code to go on in.
pub(crate) fn quick(
    thread: &mut VmThread,
    module: &Module,
    func: u32,
    loop_index: u32,
) -> Option<*const u8> {
    let config = module.engine.config();
    let strategy = config.strategy;
    let index = (loop_index != FUNCTION_ENTRY).then_some(loop_index);
    let units = (quantum(config) as u64).div_ceil(tuning::QUICK_HEAT_DIVISOR);
    let heat = module.code.functions[func as usize].charge(units);
    match strategy {
        Strategy::Interp | Strategy::Quick | Strategy::Full => None,
        Strategy::Random { seed } => {
            if !thread.random(seed).is_multiple_of(tuning::RANDOM_ONE_IN) {
                return None;
            }
            compile_now(thread, module, Tier::Full, func, index).ok()?;
            index.and_then(|index| take_entry(thread.id, module, func, index, (Tier::Full, units)))
        }
        Strategy::Tiered => {
            let entry = index
                .and_then(|index| take_entry(thread.id, module, func, index, (Tier::Full, units)));
            if entry.is_none() {
                ask(thread.id, module, func, index, heat, Tier::Quick);
            }
            entry
        }
    }
}

/// An instance calls a function in a tier for the first time.
pub(crate) fn first_call_in(thread: u32, module: &Module, func: u32, tier: u32) {
    let tier = [Tier::Interp, Tier::Quick, Tier::Full][tier.min(2) as usize];
    if module.code.calls.as_ref().is_some_and(|calls| calls.first(func, tier)) {
        let name = || module.function_name(func);
        event!("first_call", thread, func, name = %name(), %tier, "first call in the tier");
    }
}

/// A budget was spent in a loop: the entry to go on in, of at least this tier, if there is one. A function that is often entered so is
/// worth code of its own.
fn take_entry(
    thread: u32,
    module: &Module,
    func: u32,
    index: u32,
    (least, units): (Tier, u64),
) -> Option<*const u8> {
    let (tier, entry) = module.code.sample_loop(func, index, least)?;
    let name = || module.function_name(func);
    event!("osr", thread, func, name = %name(), "loop" = index, %tier, "on-stack replacement");
    if module.engine.config().strategy == Strategy::Tiered {
        let state = &module.code.functions[func as usize];
        let lost = u64::from(state.note_entry()) * units;
        if lost >= compile_threshold(module, func, Tier::Quick) {
            state.set_called();
            ask_function(thread, module, func, lost, state.tier());
        }
    }
    Some(entry)
}

/// Queues a request of a thread.
fn submit(thread: u32, request: Request) {
    let Request { tier, heat, ref functions, ref osr, .. } = request;
    event!("request", thread, %tier, ?functions, loops = ?osr, heat, "compile request");
    let engine = request.module.engine.clone();
    engine.compiler().submit(request);
}

/// Asks for what this heat is worth: code of a tier above `current` for the function, or for the loop that is running.
///
/// One of them, for each is as much work, and as a rule one is enough. A function whose budgets were all spent in loops is called
/// so seldom that what a call runs until its next spent budget does not count, so it gets an entry into a loop; another gets code for
/// its next call. What goes on without is worth a further compile when it has gathered as much heat again.
fn ask(thread: u32, module: &Module, func: u32, index: Option<u32>, heat: u64, current: Tier) {
    let state = &module.code.functions[func as usize];
    if state.failed() {
        return;
    }
    let Some(index) = index else {
        state.set_called();
        ask_function(thread, module, func, heat, current);
        return;
    };
    let is_called = state.called() || module.env.body(func).len() as u64 <= tuning::SMALLEST_BODY;
    if is_called && ask_function(thread, module, func, heat, current) {
        return;
    }
    for tier in [Tier::Full, Tier::Quick] {
        let is_better = tier > current && tier >= state.tier();
        let is_hot = heat >= compile_threshold(module, func, tier);
        if !is_better || !is_hot || !module.code.may_begin_loop(func, tier, heat) {
            continue;
        }
        let Some(entry) = loops::best_entry(module, func, index, tier) else { continue };
        if module.code.begin_loop(func, entry, tier, heat) {
            let mut request = Request::new(module, tier, heat);
            request.osr.push((func, entry));
            hot(thread, &request, func, Some(entry));
            submit(thread, request);
            return;
        }
    }
}

/// Asks for code of the function, if the heat is worth a tier above `current`; false if there is no need to.
fn ask_function(thread: u32, module: &Module, func: u32, heat: u64, current: Tier) -> bool {
    let state = &module.code.functions[func as usize];
    let mut is_asked = false;
    for tier in [Tier::Quick, Tier::Full] {
        let is_wanted = tier > current.max(state.tier());
        if !is_wanted || heat < compile_threshold(module, func, tier) || !state.request(tier) {
            continue;
        }
        module.code.hold_loops(func, tier);
        let mut request = Request::new(module, tier, heat);
        request.functions.push(func);
        hot(thread, &request, func, None);
        submit(thread, request);
        is_asked = true;
    }
    is_asked
}

fn compile_threshold(module: &Module, func: u32, tier: Tier) -> u64 {
    threshold(&module.engine.config().tuning, tier, module.env.body(func).len())
}

/// Reports that a function is worth what is requested.
fn hot(thread: u32, request: &Request, func: u32, index: Option<u32>) {
    let (module, tier, heat) = (&request.module, request.tier, request.heat);
    let name = || module.function_name(func);
    event!(
        "heat",
        thread, func, name = %name(), "loop" = index, %tier, heat,
        threshold = compile_threshold(module, func, tier), "hot"
    );
}

#[cfg(all(test, feature = "llvm"))]
mod tests {
    use super::{Tier, compile_now};
    use crate::{Config, Engine, Linker, Module, Store, Strategy};

    /// Two functions of one type: the invoker comes with the first, so that the second can be freed alone.
    const TEXT: &str = r#"(module
      (func (export "first") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
      (func (export "second") (param i32) (result i32)
        (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (i32.add (local.get 0) (i32.const 2))))"#;

    #[test]
    fn replaced_code_is_freed_after_the_last_instance() {
        let engine = Engine::new(Config { strategy: Strategy::Interp, ..Config::default() });
        let module = Module::new(&engine, TEXT).expect("it is valid");
        let make = |store: &mut Store| {
            Linker::new(&engine).instantiate(store, &module).expect("no imports")
        };
        let mut stores =
            [Store::new(&engine).expect("memory"), Store::new(&engine).expect("memory")];
        let instances = stores.each_mut().map(make);
        let compile = |store: &Store, tier, func, osr| {
            compile_now(&store.inner.thread, &module, tier, func, osr).expect("nobody stops it");
        };
        compile(&stores[0], Tier::Quick, 0, None);
        compile(&stores[0], Tier::Quick, 1, None);
        compile(&stores[0], Tier::Quick, 1, Some(0));
        let code = &module.code;
        let quick = code.native(1) as usize;
        let entry =
            code.osr.get(&(1, 0)).expect("made").entry(Tier::Quick).expect("made").1 as usize;
        assert!(code.find(quick).is_some() && code.find(entry).is_some());

        let [first, mut second] = stores;
        compile(&first, Tier::Full, 1, None);
        let full = code.native(1) as usize;
        assert_ne!(full, quick);
        drop(first);
        assert!(code.find(quick).is_some(), "an instance may be in it");
        let call = instances[1].func(&mut second, "second").expect("it is exported");
        let result = call.call(&mut second, &[crate::Val::I32(9)]).expect("no trap");
        assert!(matches!(result[..], [crate::Val::I32(2)]), "{result:?}");
        drop(second);
        assert!(code.find(quick).is_none() && code.find(entry).is_none());
        assert!(code.find(full).is_some());
        assert!(code.osr.get(&(1, 0)).expect("made").entry(Tier::Quick).is_none());

        let mut third = Store::new(&engine).expect("memory");
        let instance = make(&mut third);
        let call = instance.func(&mut third, "second").expect("it is exported");
        let result = call.call(&mut third, &[crate::Val::I32(9)]).expect("no trap");
        assert!(matches!(result[..], [crate::Val::I32(2)]), "{result:?}");
        // Quick code that was never replaced, and came with the invoker, stays.
        assert!(code.find(code.native(0) as usize).is_some());
    }
}
