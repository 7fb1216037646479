//! Stacks are right at every instruction: compiled code is run step by step, and a sample is taken at each.

use super::stacks::Stacks;
use super::{ProfileConfig, Reader};
use crate::vm::VmThread;
use crate::vm::sys::current_thread;
use crate::vm::walk::{Step, steps};
use crate::{Config, Engine, Linker, Module, Process, ProcessConfig};
use std::arch::asm;
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use updraft_jit::abi::state;

/// Functions with and without frames, with early exits in front of their frames, tables of jumps, vectors, calls of the C library, of builtins,
/// of the interpreter and of the host, and tail calls.
const PROGRAM: &str = r#"(module
  (import "host" "step" (func $step (param i32)))
  (import "host" "more" (func $more (result i32)))
  (memory 1)
  (type $unary (func (param i32) (result i32)))
  (table funcref (elem $leaf $early))
  (func $leaf (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
  (func $early (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 5))))
    (i32.add (call $leaf (local.get 0)) (call $leaf (i32.add (local.get 0) (i32.const 1)))))
  (func $slow (param i32) (result i32) (local i32 i32 i32 i32 i32 i32 i32)
    (if (i32.eqz (i32.load (local.get 0))) (then (return (i32.load offset=4 (local.get 0)))))
    (loop $next
      (local.set 1 (i32.add (local.get 1) (i32.load (local.get 0))))
      (local.set 2 (i32.xor (local.get 2) (i32.load offset=8 (local.get 0))))
      (local.set 3 (i32.mul (local.get 3) (i32.load offset=16 (local.get 0))))
      (local.set 4 (i32.sub (local.get 4) (i32.load offset=24 (local.get 0))))
      (local.set 5 (i32.or (local.get 5) (i32.load offset=32 (local.get 0))))
      (local.set 6 (i32.and (local.get 6) (i32.load offset=40 (local.get 0))))
      (local.set 7 (i32.add (local.get 7) (i32.div_u (local.get 6) (i32.const 7))))
      (br_if $next (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 4))) (i32.const 96))))
    (i32.add (local.get 1) (i32.add (local.get 2) (i32.add (local.get 3) (i32.add (local.get 4)
      (i32.add (local.get 5) (i32.add (local.get 6) (local.get 7))))))))
  (func $vector (param i32) (result i32) (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (i32.load (local.get 0))))
      (br_if $next (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 4))) (i32.const 512))))
    (local.get $sum))
  (func $switch (param i32) (result i32)
    (block $d (block $c (block $b (block $a
      (br_table $a $b $c $d (local.get 0)))
      (return (call $leaf (i32.const 1))))
      (return (i32.load (i32.const 4))))
      (return (call $early (i32.const 2))))
    (call $vector (i32.const 100)))
  (func $runtime (param i32) (result i32)
    (memory.fill (i32.const 1024) (i32.const 1) (i32.const 64))
    (memory.copy (i32.const 1100) (i32.const 1024) (i32.const 33))
    (memory.grow (i32.const 0))
    (drop)
    (i32.trunc_f64_s (f64.nearest (f64.convert_i32_s (local.get 0)))))
  (func $host (result i32) (call $more))
  (func $down (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
      (else (call_indirect (type $unary) (i32.const 3) (i32.const 1)))))
  TAIL
  (func $all (local i32)
    (loop $again
      (drop (call $early (local.get 0)))
      (drop (call $slow (local.get 0)))
      (drop (call $switch (local.get 0)))
      (drop (call $down (i32.const 6)))
      (drop (call $runtime (local.get 0)))
      (drop (call $host))
      (drop (call $tail (local.get 0)))
      (br_if $again (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 5)))))
  (func (export "_start")
    (call $all)
    (call $step (i32.const 1))
    (call $all)
    (call $step (i32.const 0))))"#;

const PLAIN: &str = r#"(func $tail (param i32) (result i32) (call $leaf (local.get 0)))"#;
/// With tail calls, all functions have another calling convention.
const TAIL: &str = r#"(func $hop (param i32) (result i32) (return_call $leaf (local.get 0)))
  (func $tail (param i32) (result i32)
    (if (i32.and (local.get 0) (i32.const 1)) (then (return_call $hop (local.get 0))))
    (return_call_indirect (type $unary) (local.get 0) (i32.const 1)))"#;

/// Whom a function calls, in wasm or as a leaf of the profile.
fn calls(caller: &str) -> &'static [&'static str] {
    match caller {
        "_start" => &["all"],
        "all" => &["early", "slow", "switch", "down", "runtime", "host", "tail", "hop", "leaf"],
        "early" | "tail" => &["leaf"],
        "switch" => &["leaf", "early", "vector"],
        "down" => &["down", "early"],
        _ => &[],
    }
}

/// What the handler of the steps has found.
struct Found(UnsafeCell<Vec<Vec<Step>>>);

// SAFETY: one thread steps, and others look when it has ended.
unsafe impl Sync for Found {}

static FOUND: Found = Found(UnsafeCell::new(Vec::new()));

extern "C" fn on_step(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let current = current_thread();
    // SAFETY: the thread's own state; compiled code holds no locks, so that the handler may allocate.
    unsafe {
        if current.is_null() || (*current).state.load(Relaxed) != state::NATIVE {
            return;
        }
        let registers = &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let registers = [libc::REG_RIP, libc::REG_RBP, libc::REG_RSP]
            .map(|register| registers[register as usize] as usize);
        let mut found = Vec::new();
        steps(
            current.cast::<VmThread>(),
            Some(registers),
            |module, ip| module.code.interp.link_at(ip),
            |_, step| {
                found.push(step);
                true
            },
        );
        (*FOUND.0.get()).push(found);
    }
}

/// Sets or clears the flag by which the processor traps after each instruction.
fn step(on: bool) {
    const TRAP_FLAG: u64 = 1 << 8;
    // SAFETY: changes a flag that the handler is there for.
    unsafe {
        if on {
            asm!("pushfq", "or qword ptr [rsp], {flag}", "popfq", flag = const TRAP_FLAG);
        } else {
            asm!("pushfq", "and qword ptr [rsp], {mask}", "popfq", mask = const !TRAP_FLAG as i32);
        }
    }
}

fn every_instruction(strategy: &str, tail: &str) {
    // The steps are the process's.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: a handler for this process, in which nothing else traps so.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_step as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut()), 0);
    }
    let mixed = strategy.starts_with("random");
    let strategy = strategy.parse().expect("a strategy");
    let engine = Engine::new(Config { strategy, ..Config::default() });
    let module = Module::new(&engine, PROGRAM.replace("TAIL", tail)).expect("it is valid");
    let mut linker = Linker::new(&engine);
    linker.func("host", "step", |_: &mut crate::Caller<'_>, (on,): (i32,)| {
        step(on != 0);
        Ok(())
    });
    linker.func("host", "more", |_: &mut crate::Caller<'_>, ()| Ok(1i32));
    let process = Process::new(&linker, &module, &ProcessConfig::default()).expect("a process");
    let (mut stacks, mut reader) =
        (Stacks::default(), Reader::new(module.clone(), ProfileConfig::default()));
    assert_eq!(process.run().expect("it does not trap"), 0);

    // SAFETY: the thread that stepped does so no more.
    let found = std::mem::take(unsafe { &mut *FOUND.0.get() });
    assert!(found.len() > 2000, "{} instructions", found.len());
    let mut last: Vec<String> = Vec::new();
    for steps in found {
        let names = reader.names(&mut stacks, steps.iter().copied());
        let names: Vec<String> = names
            .iter()
            .rev()
            .map(|name| name.split(" [").next().unwrap_or_default().to_owned())
            .collect();
        let context = || format!("{names:?} after {last:?}, from {steps:x?}");
        // In what enters the outermost function, there is none yet.
        let outside = mixed && steps.iter().all(|step| *step == Step::Edge);
        let root = names.first().map(String::as_str);
        assert!(root == Some("_start") || outside && root.is_none(), "{}", context());
        for pair in names.windows(2) {
            assert!(calls(&pair[0]).contains(&&*pair[1]), "{}", context());
        }
        // One instruction calls or returns, or replaces the innermost function, and does no more than that.
        let common = names.iter().zip(&last).take_while(|(a, b)| a == b).count();
        let most = names.len().max(last.len());
        // The interpreter's steps in between are not looked at.
        assert!(mixed || last.is_empty() || most - common <= 1, "{}", context());
        last = names;
    }
}

#[test]
fn quick_code() {
    every_instruction("quick", PLAIN);
    every_instruction("quick", TAIL);
}

#[test]
fn full_code() {
    every_instruction("full", PLAIN);
    every_instruction("full", TAIL);
}

#[test]
fn mixed_code() {
    for seed in 0..4 {
        every_instruction(&format!("random:{seed}"), PLAIN);
        every_instruction(&format!("random:{seed}"), TAIL);
    }
}
