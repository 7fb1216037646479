//! Entering and leaving compiled code: raises, faults, overflows and stop signals, with hand-made functions
//! in the place of compiled code. No test depends on timing to pass. `UPDRAFT_STRESS=5` makes five times as many rounds,
//! and may take five times as long.

use std::arch::naked_asm;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use threads_support::{
    RAISED, RECORDS, RETURNED, STOPPED, WasmThread, increment, spin, take_records,
};
use updraft::internals::sys;
use updraft_jit::abi::{ThreadState, TrapCode, VmContext, state};

mod threads_support;

/// A [`WasmThread`] that is the current one.
struct Runner {
    thread: WasmThread,
    _current: sys::CurrentGuard,
}

impl std::ops::Deref for Runner {
    type Target = WasmThread;

    fn deref(&self) -> &WasmThread {
        &self.thread
    }
}

impl Runner {
    fn new() -> Runner {
        sys::prepare_thread().unwrap();
        let thread = WasmThread::new();
        // SAFETY: nothing enters while the state goes, which is dropped with the guard.
        let current = unsafe { sys::set_current(thread.thread()) };
        Runner { thread, _current: current }
    }

    /// The callee-saved registers, the result and the direction flag after `enter_native`, called with 11 to 16 in
    /// the former.
    fn enter_and_compare(
        &self,
        f: unsafe extern "C" fn(),
        slots: *mut u64,
        code: *const u8,
    ) -> [u64; 8] {
        let mut out = [0; 8];
        // SAFETY: as `enter_with`.
        unsafe {
            enter_and_compare(
                self.thread(),
                f as *const u8,
                self.ctx(),
                slots,
                code,
                out.as_mut_ptr(),
            );
        }
        out
    }
}

#[unsafe(naked)]
unsafe extern "C" fn enter_and_compare(
    thread: *mut ThreadState,
    f: *const u8,
    ctx: *mut VmContext,
    slots: *mut u64,
    code: *const u8,
    out: *mut u64,
) {
    naked_asm!(
        "push rbp", "push rbx", "push r12", "push r13", "push r14", "push r15", "push r9",
        "mov ebx, 11", "mov ebp, 12", "mov r12d, 13", "mov r13d, 14", "mov r14d, 15", "mov r15d, 16",
        "call {enter}",
        "pop r9",
        "mov [r9], rbx", "mov [r9 + 8], rbp", "mov [r9 + 16], r12", "mov [r9 + 24], r13",
        "mov [r9 + 32], r14", "mov [r9 + 40], r15", "mov eax, eax", "mov [r9 + 48], rax",
        "pushfq", "pop rax", "and eax, 1024", "mov [r9 + 56], rax",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
        "ret",
        enter = sym sys::enter_native,
    )
}

/// Destroys every callee-saved register and mode, then calls `code(ctx, 1)`, which is a raise.
#[unsafe(naked)]
unsafe extern "C" fn clobber_and_raise() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "xor ebx, ebx",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "push 0x9f80",
        "ldmxcsr [rsp]", // flush to zero
        "mov esi, 1",
        "call rdx",
        "ud2"
    )
}

/// Fills the x87 stack, sets the direction flag, destroys every register but the stack pointer, and spins.
#[unsafe(naked)]
unsafe extern "C" fn clobber_and_spin() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "fld1",
        "fld1",
        "fld1",
        "fld1",
        "fld1",
        "fld1",
        "fld1",
        "fld1",
        "push 0x9f80",
        "ldmxcsr [rsp]",
        "xor ebx, ebx",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "std",
        "xor ebp, ebp",
        "2: jmp 2b"
    )
}

/// Adds 1.0 to 1.0 on the x87 stack, to `slots[0]`: NaN if the stack was not empty.
#[unsafe(naked)]
unsafe extern "C" fn add_on_x87() {
    naked_asm!(
        "fld1",
        "fld1",
        "fld1",
        "fld1",
        "fld1",
        "fld1",
        "fld1",
        "fld1",
        "faddp",
        "fstp qword ptr [rsi]",
        "fstp st(0)",
        "fstp st(0)",
        "fstp st(0)",
        "fstp st(0)",
        "fstp st(0)",
        "fstp st(0)",
        "ret"
    )
}

/// To `slots[0]`: how far the stack was from 16-aligned at the call.
#[unsafe(naked)]
unsafe extern "C" fn alignment() {
    naked_asm!("lea rax, [rsp + 8]", "and eax, 15", "mov [rsi], rax", "ret")
}

/// Calls a function that calls `code(ctx, 1)`.
#[unsafe(naked)]
unsafe extern "C" fn raise_from_inner_frame() {
    naked_asm!("push rbp", "mov rbp, rsp", "call {next}", "ud2", next = sym call_raise)
}
#[unsafe(naked)]
unsafe extern "C" fn call_raise() {
    naked_asm!("push rbp", "mov rbp, rsp", "mov esi, 1", "call rdx", "ud2")
}

/// Loads from the address in `slots[0]`.
#[unsafe(naked)]
unsafe extern "C" fn load() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "mov rax, [rsi]",
        ".globl updraft_test_load_pc",
        "updraft_test_load_pc:",
        "mov rax, [rax]",
        "mov [rsi], rax",
        "pop rbp",
        "ret"
    )
}
unsafe extern "C" {
    static updraft_test_load_pc: u8;
}

/// Recurses for ever, touching each frame.
#[unsafe(naked)]
unsafe extern "C" fn recurse() {
    naked_asm!(
        "push rbp", "mov rbp, rsp", "sub rsp, 496", "mov [rsp], rdi",
        "call {me}", "mov rsp, rbp", "pop rbp", "ret",
        me = sym recurse,
    )
}

/// Calls `code(slots)` for ever, as compiled code calls the C library.
#[unsafe(naked)]
unsafe extern "C" fn call_for_ever() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push r12",
        "mov rbx, rsi",
        "mov r12, rdx",
        "2: mov rdi, rbx",
        "call r12",
        "jmp 2b"
    )
}

/// Calls the builtin `code(ctx, slots)` until its status is not zero, then RaisePending, whose address is `slots[1]`.
#[unsafe(naked)]
unsafe extern "C" fn call_builtin() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "mov rbx, rsi",
        "mov r12, rdi",
        "mov r13, rdx",
        "2: mov rdi, r12",
        "mov rsi, rbx",
        "call r13",
        "test eax, eax",
        "je 2b",
        "mov rdi, r12",
        "call [rbx + 8]",
        "ud2"
    )
}

#[test]
fn a_call_returns_with_everything_restored() {
    let runner = Runner::new();
    let mut slots = [41u64, 0];
    assert_eq!(runner.enter(increment, slots.as_mut_ptr()), RETURNED);
    assert_eq!(slots[0], 42);
    assert_eq!(runner.enter(alignment, slots.as_mut_ptr()), RETURNED);
    assert_eq!(slots[0], 0);
    assert!(runner.is_outside());
    let out = runner.enter_and_compare(increment, slots.as_mut_ptr(), ptr::null());
    assert_eq!(out, [11, 12, 13, 14, 15, 16, RETURNED.into(), 0]);
}

#[test]
fn a_raise_restores_registers_and_modes() {
    let runner = Runner::new();
    let raise = sys::raise_address() as *const u8;
    for _ in 0..3 {
        let out = runner.enter_and_compare(clobber_and_raise, ptr::null_mut(), raise);
        assert_eq!(out, [11, 12, 13, 14, 15, 16, RAISED.into(), 0]);
        assert!(runner.is_outside());
        assert!(std::hint::black_box(f32::MIN_POSITIVE) / 2.0 > 0.0, "still flushing to zero");
    }
    let records = take_records();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0].code, TrapCode::Unreachable as u32);
}

#[test]
fn a_raise_reports_its_frames() {
    let runner = Runner::new();
    let raise = sys::raise_address() as *const u8;
    assert_eq!(runner.enter_with(raise_from_inner_frame, ptr::null_mut(), raise), RAISED);
    let records = take_records();
    let [record] = &records[..] else { panic!("{records:?}") };
    let within = |pc: usize, f: unsafe extern "C" fn()| pc.wrapping_sub(f as usize) < 24;
    assert!(within(record.pc, call_raise));
    assert!(within(record.frames[0], raise_from_inner_frame));
    assert_eq!(record.frames.len(), 2, "the second is the return into enter_native");
}

#[test]
fn raise_pending_appends_frames_only() {
    let runner = Runner::new();
    let pending = sys::raise_pending_address() as *const u8;
    assert_eq!(runner.enter_with(raise_from_inner_frame, ptr::null_mut(), pending), RAISED);
    let records = take_records();
    assert_eq!((records[0].code, records[0].frames.len()), (0, 2));
}

/// A builtin that enters compiled code again, `slots[2]` levels deep, and raises at the bottom.
unsafe extern "C" fn nested_builtin(ctx: *mut VmContext, slots: *mut u64) -> u32 {
    // SAFETY: called from compiled code with a live context.
    unsafe {
        let thread = (*ctx).thread;
        sys::leave_native(thread);
        let depth = *slots.add(2);
        let outer = (*thread).save;
        let result = if depth == 0 {
            let raise = sys::raise_address() as *const u8;
            sys::enter_native(thread, raise_from_inner_frame as *const u8, ctx, slots, raise)
        } else {
            *slots.add(2) = depth - 1;
            let builtin = nested_builtin as *const u8;
            sys::enter_native(thread, call_builtin as *const u8, ctx, slots, builtin)
        };
        assert_eq!((*thread).state.load(Relaxed), state::HOST);
        assert_eq!((*thread).save, outer, "the outer segment is the innermost again");
        assert_eq!(result, RAISED);
        assert_eq!(sys::back_to_native(thread), 0);
        1
    }
}

#[test]
fn segments_nest_and_are_left_one_by_one() {
    let runner = Runner::new();
    let mut slots = [0, sys::raise_pending_address() as u64, 20];
    let builtin = nested_builtin as *const u8;
    assert_eq!(runner.enter_with(call_builtin, slots.as_mut_ptr(), builtin), RAISED);
    assert!(runner.is_outside());
    let records = take_records();
    assert_eq!(records.len(), 22, "the trap, and each segment's frames");
    assert_eq!(records[0].code, 1);
    assert!(records[1..].iter().all(|record| record.code == 0 && record.frames.len() == 1));
}

#[test]
fn pending_keeps_a_thread_out() {
    let runner = Runner::new();
    runner.pending().store(1, Relaxed);
    let mut slots = [0u64];
    assert_eq!(runner.enter(increment, slots.as_mut_ptr()), STOPPED);
    assert_eq!(slots[0], 0);
    assert!(runner.is_outside());
}

#[test]
fn a_fault_in_a_reservation_is_a_trap_in_every_thread() {
    let reservation = sys::Reservation::new(1 << 32, 1 << 31).unwrap();
    reservation.commit(0..65_536).unwrap();
    let base = reservation.base() as u64;
    std::thread::scope(|scope| {
        for id in 0..4u64 {
            scope.spawn(move || {
                let runner = Runner::new();
                for i in 0..10_000u64 {
                    let offset = 65_536 + (i * 0x9e37_79b9 + id) % (5 << 30);
                    let mut slots = [base + offset];
                    assert_eq!(runner.enter(load, slots.as_mut_ptr()), RAISED);
                    slots[0] = base + offset % 65_528;
                    assert_eq!(runner.enter(load, slots.as_mut_ptr()), RETURNED);
                    assert_eq!(slots[0], 0);
                    let records = take_records();
                    let [record] = &records[..] else { panic!("{records:?}") };
                    assert_eq!(record.code, TrapCode::MemoryOutOfBounds as u32);
                    assert_eq!(record.pc, (&raw const updraft_test_load_pc).addr() + 1);
                    assert_eq!(record.frames.len(), 1);
                }
                assert!(runner.is_outside());
            });
        }
    });
}

#[test]
fn a_stack_overflow_is_a_trap_again_and_again() {
    for bytes in [64 << 10, 1 << 20, 8 << 20] {
        let overflow = move || {
            let runner = Runner::new();
            for _ in 0..20 {
                assert_eq!(runner.enter(recurse, ptr::null_mut()), RAISED);
                assert!(runner.is_outside());
            }
            let records = take_records();
            assert_eq!(records.len(), 20);
            for record in records {
                assert_eq!(record.code, TrapCode::StackOverflow as u32);
                assert!(record.frames.len() > 64, "{} frames", record.frames.len());
            }
        };
        std::thread::Builder::new().stack_size(bytes).spawn(overflow).unwrap().join().unwrap();
    }
}

/// What a stopper needs to know of a thread that is to be stopped again and again.
struct Victim<'a> {
    pending: &'a AtomicU32,
    target: sys::SignalTarget,
    round: AtomicU64,
    done: AtomicBool,
}

impl Victim<'_> {
    fn of_this_thread(runner: &Runner) -> Victim<'_> {
        Victim {
            pending: runner.pending(),
            target: sys::SignalTarget::current(),
            round: AtomicU64::new(0),
            done: AtomicBool::new(false),
        }
    }

    /// Sets `pending` and signals until the victim says that it is done, with a delay at the start of each round.
    fn stop_until_done(&self, mut delay: impl FnMut()) {
        let mut last = 0;
        while !self.done.load(Acquire) {
            let round = self.round.load(Acquire);
            if round != last {
                last = round;
                delay();
            }
            self.pending.store(1, SeqCst);
            // SAFETY: the victim's scope outlives its stopper.
            unsafe { self.target.interrupt() };
            for _ in 0..20 {
                std::hint::spin_loop();
            }
        }
    }
}

/// A pseudo-random delay of up to a few microseconds, with many short ones.
fn random_delay() -> impl FnMut() {
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        for _ in 0..(seed % 64) * ((seed >> 8) % 8) {
            std::hint::spin_loop();
        }
    }
}

/// Runs `rounds` rounds, or fewer where they take longer than ten seconds, both times `UPDRAFT_STRESS`. Each is begun with `pending` clear and ended by a stop.
fn stop_many_times(rounds: u64, mut round: impl FnMut(&Runner) -> u32) {
    let stress = std::env::var("UPDRAFT_STRESS").map_or(1, |times| times.parse().unwrap());
    let rounds = rounds * stress;
    let end = Instant::now() + Duration::from_secs(10) * stress as u32;
    let runner = Runner::new();
    let victim = Victim::of_this_thread(&runner);
    std::thread::scope(|scope| {
        scope.spawn(|| victim.stop_until_done(random_delay()));
        for number in 1..=rounds {
            victim.round.store(number, Release);
            runner.pending().store(0, SeqCst);
            let result = round(&runner);
            assert!(result == STOPPED || result == RAISED, "{result}");
            assert!(runner.is_outside());
            if number >= 500 && Instant::now() > end {
                println!("{number} of {rounds} rounds");
                break;
            }
        }
        victim.done.store(true, Release);
    });
}

#[test]
fn endless_loops_stop() {
    let mut count = 0u64;
    stop_many_times(20_000, |runner| runner.enter(spin, &raw mut count));
    assert!(count > 0);
}

#[test]
fn a_stop_restores_registers_and_modes() {
    stop_many_times(2_000, |runner| {
        let out = runner.enter_and_compare(clobber_and_spin, ptr::null_mut(), ptr::null());
        assert_eq!(out, [11, 12, 13, 14, 15, 16, STOPPED.into(), 0]);
        assert!(std::hint::black_box(f32::MIN_POSITIVE) / 2.0 > 0.0, "still flushing to zero");
        // SAFETY: a function without demands.
        let add: unsafe extern "C" fn(u64, *mut u64) =
            unsafe { std::mem::transmute(add_on_x87 as *const ()) };
        let mut sum = 0u64;
        // SAFETY: writes one f64.
        unsafe { add(0, &raw mut sum) };
        assert_eq!(f64::from_bits(sum), 2.0);
        STOPPED
    });
}

/// The C library's routines, interrupted anywhere.
unsafe extern "C" fn fill(slots: *mut u64) {
    // SAFETY: `slots[0]` and `slots[1]` are a buffer.
    unsafe {
        let (base, bytes) = (*slots as *mut u8, *slots.add(1) as usize);
        ptr::write_bytes(base, 7, bytes);
        ptr::copy(base, base.add(8), bytes - 8); // backwards
    }
}

#[test]
fn loops_of_memset_and_memmove_stop() {
    let mut buffer = vec![0u8; 300_000];
    let mut slots = [buffer.as_mut_ptr() as u64, buffer.len() as u64];
    stop_many_times(20_000, |runner| {
        runner.enter_with(call_for_ever, slots.as_mut_ptr(), fill as *const u8)
    });
}

/// A builtin that takes a lock, allocates, and enters further segments, `slots[2]` levels deep.
unsafe extern "C" fn busy_builtin(ctx: *mut VmContext, slots: *mut u64) -> u32 {
    static LOCK: std::sync::Mutex<Vec<u64>> = std::sync::Mutex::new(Vec::new());
    // SAFETY: called from compiled code with a live context.
    unsafe {
        let thread = (*ctx).thread;
        sys::leave_native(thread);
        let mut result = {
            let mut list = LOCK.lock().expect("never abandoned while locked");
            list.push(1);
            list.shrink_to_fit();
            list.pop();
            let mut slot = 0u64;
            sys::enter_native(thread, increment as *const u8, ctx, &raw mut slot, ptr::null())
        };
        let depth = slots.add(2);
        if result == RETURNED && *depth > 0 {
            *depth -= 1;
            let builtin = busy_builtin as *const u8;
            result = sys::enter_native(thread, call_builtin as *const u8, ctx, slots, builtin);
        }
        sys::back_to_native(thread) | u32::from(result != RETURNED)
    }
}

#[test]
fn nested_entries_with_locks_stop() {
    stop_many_times(20_000, |runner| {
        let mut slots = [0, sys::raise_pending_address() as u64, 5];
        let builtin = busy_builtin as *const u8;
        let result = runner.enter_with(call_builtin, slots.as_mut_ptr(), builtin);
        RECORDS.with_borrow_mut(Vec::clear);
        result
    });
}

/// Short calls, so that signals hit the steps of entering and leaving.
#[test]
fn a_stop_at_the_doors_is_seen() {
    stop_many_times(20_000, |runner| {
        let mut slot = 0u64;
        let mut calls = 0u64;
        loop {
            let result = runner.enter(increment, &raw mut slot);
            if result != RETURNED {
                break result;
            }
            calls += 1;
            assert_eq!(slot, calls);
        }
    });
}

#[test]
fn faults_and_stops_at_the_same_time() {
    let reservation = sys::Reservation::new(1 << 20, 1 << 20).unwrap();
    stop_many_times(20_000, |runner| {
        loop {
            let mut slots = [reservation.base() as u64 + 77];
            let result = runner.enter(load, slots.as_mut_ptr());
            RECORDS.with_borrow_mut(Vec::clear);
            if result == STOPPED {
                break result;
            }
            assert_eq!(result, RAISED);
        }
    });
}

#[test]
fn a_stop_in_host_state_spends_the_budget() {
    let runner = Runner::new();
    let target = sys::SignalTarget::current();
    // SAFETY: this thread lives.
    unsafe { target.interrupt() };
    assert_eq!(runner.budget(), 1_000, "a stale signal does nothing");
    runner.pending().store(1, Relaxed);
    // SAFETY: as above. A signal to oneself has arrived when the call returns.
    unsafe { target.interrupt() };
    assert!(runner.budget() < 0);
}

#[test]
fn stale_signals_do_not_stop() {
    let runner = Runner::new();
    let victim = Victim::of_this_thread(&runner);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !victim.done.load(Acquire) {
                // SAFETY: the thread of the scope lives.
                unsafe { victim.target.interrupt() };
            }
        });
        let mut slot = 0u64;
        for _ in 0..100_000 {
            assert_eq!(runner.enter(increment, &raw mut slot), RETURNED);
        }
        assert_eq!(slot, 100_000);
        victim.done.store(true, Release);
    });
}

#[test]
fn errno_survives_a_stop_signal() {
    let _runner = Runner::new();
    // SAFETY: errno is this thread's own, and so is the signal.
    unsafe {
        *libc::__errno_location() = 77;
        libc::raise(sys::stop_signal());
        assert_eq!(*libc::__errno_location(), 77);
    }
}

/// Runs this test binary again with one ignored test, which must die; its exit status.
fn run_in_child(test: &str) -> std::process::ExitStatus {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap()
}

/// A page that is nobody's linear memory.
fn unrelated_page() -> u64 {
    // SAFETY: a new mapping.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    page as u64
}

extern "C" fn exit_42(_: libc::c_int) {
    // SAFETY: allowed in a handler.
    unsafe { libc::_exit(42) }
}

#[test]
fn other_faults_go_to_the_handler_before_ours() {
    assert_eq!(run_in_child("child_with_handler_in_code").code(), Some(42));
    assert_eq!(run_in_child("child_with_handler_in_host").code(), Some(42));
}

#[test]
#[ignore = "dies; run by other_faults_go_to_the_handler_before_ours"]
fn child_with_handler_in_code() {
    // SAFETY: a handler that only exits.
    unsafe { libc::signal(libc::SIGSEGV, exit_42 as *const () as usize) };
    let runner = Runner::new();
    runner.enter(load, [unrelated_page()].as_mut_ptr());
}

#[test]
#[ignore = "dies; run by other_faults_go_to_the_handler_before_ours"]
fn child_with_handler_in_host() {
    // SAFETY: a handler that only exits.
    unsafe { libc::signal(libc::SIGSEGV, exit_42 as *const () as usize) };
    let _runner = Runner::new();
    let reservation = sys::Reservation::new(65_536, 0).unwrap();
    // A fault of Rust code, even in a reservation, is a bug and not a trap.
    // SAFETY: not at all; the child is to die of it.
    unsafe { reservation.base().read_volatile() };
}

#[test]
fn other_faults_kill_where_there_was_no_handler() {
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(run_in_child("child_without_handler").signal(), Some(libc::SIGSEGV));
    assert_eq!(run_in_child("child_that_is_sent_a_fault").signal(), Some(libc::SIGSEGV));
}

#[test]
#[ignore = "dies; run by other_faults_kill_where_there_was_no_handler"]
fn child_without_handler() {
    let runner = Runner::new();
    runner.enter(load, [unrelated_page()].as_mut_ptr());
}

#[test]
#[ignore = "dies; run by other_faults_kill_where_there_was_no_handler"]
fn child_that_is_sent_a_fault() {
    // SAFETY: takes Rust's own handler away, then sends a signal to this thread.
    unsafe {
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        let _runner = Runner::new();
        libc::raise(libc::SIGSEGV);
    }
}
