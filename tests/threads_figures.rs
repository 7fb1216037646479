//! Figures, not checks: what entering, stopping and handing over cost on this machine. Run with
//! `cargo test --release --test threads_figures -- --ignored --nocapture --test-threads 1`.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::{Duration, Instant};

use threads_support::{RETURNED, STOPPED, WasmThread, increment, spin};
use updraft::internals::sys::{self, StackSizes};
use updraft::internals::threads::{
    Cause, Group, Limits, MAIN_THREAD, ParkingLot, ThreadId, ThreadPool, WaitResult,
};

mod threads_support;

const STACK: usize = 256 << 10;

/// The threads of all tests here: most bodies run where another one, often of another group, has ended.
fn pool() -> &'static ThreadPool {
    static POOL: LazyLock<ThreadPool> =
        LazyLock::new(|| ThreadPool::new(StackSizes { native: STACK, value: STACK }, 16));
    &POOL
}

fn attached<R>(group: &Arc<Group>, id: ThreadId, body: impl FnOnce(&WasmThread) -> R) -> R {
    let thread = WasmThread::new();
    // SAFETY: the state outlives the attachment.
    let _attachment = unsafe { group.attach(thread.thread(), id) };
    body(&thread)
}

fn per_call(name: &str, calls: u32, body: impl FnOnce()) {
    let start = Instant::now();
    body();
    println!("{name}: {:.1} ns", start.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
}

#[test]
#[ignore = "measures"]
fn cost_of_doors() {
    let group = Group::new(Limits::default());
    let reservation = sys::Reservation::new(65_536, 0).unwrap();
    attached(&group, MAIN_THREAD, |thread| {
        let mut slots = [0u64];
        per_call("enter and return", 10_000_000, || {
            for _ in 0..10_000_000 {
                assert_eq!(thread.enter(increment, slots.as_mut_ptr()), RETURNED);
            }
        });
        // SAFETY: in the place of a builtin; nothing is destroyed in between.
        per_call("a builtin's leave and return", 10_000_000, || unsafe {
            for _ in 0..10_000_000 {
                sys::leave_native(thread.thread());
                assert_eq!(sys::back_to_native(thread.thread()), 0);
            }
            sys::leave_native(thread.thread());
        });
        let mut slots = [0u64];
        let base = reservation.base() as *mut u64;
        per_call("a fault", 100_000, || {
            for _ in 0..100_000 {
                // `increment` of a slot that is not there.
                assert_ne!(thread.enter(increment, base), RETURNED);
            }
        });
        assert_eq!(thread.enter(increment, slots.as_mut_ptr()), RETURNED);
    });
    let thread = WasmThread::new();
    per_call("attach and leave", 1_000_000, || {
        for _ in 0..1_000_000 {
            // SAFETY: the state outlives the attachment.
            drop(unsafe { group.attach(thread.thread(), MAIN_THREAD) });
        }
    });
    per_call("spawn and end", 10_000, || {
        for _ in 0..10_000 {
            let (group, inner) = (&group, group.clone());
            let body = move |id| attached(&inner, id, |_| ());
            group.spawn(pool(), body).unwrap();
            group.wait_all_left(None);
        }
    });
}

/// From the call of `stop` until the thread is outside.
fn latency(name: &str, stay: impl Fn(&WasmThread, &Group, &ParkingLot) + Copy + Send + 'static) {
    let mut microseconds: Vec<f64> = (0..2_000)
        .map(|_| {
            let group = Group::new(Limits::default());
            let (ready, is_ready) = mpsc::channel();
            let (left, has_left) = mpsc::channel();
            let inner = group.clone();
            let body = move |id| {
                let lot = ParkingLot::new();
                attached(&inner, id, |thread| {
                    ready.send(()).unwrap();
                    stay(thread, &inner, &lot);
                    left.send(Instant::now()).unwrap();
                });
            };
            group.spawn(pool(), body).unwrap();
            is_ready.recv().unwrap();
            std::thread::sleep(Duration::from_micros(200));
            let start = Instant::now();
            group.stop(Cause::Terminated, MAIN_THREAD, None);
            let end = has_left.recv().unwrap();
            group.wait_all_left(None);
            (end - start).as_secs_f64() * 1e6
        })
        .collect();
    microseconds.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| microseconds[(microseconds.len() as f64 * part) as usize];
    let max = microseconds[microseconds.len() - 1];
    println!("{name}: p50 {:.1} us, p99 {:.1} us, max {max:.1} us", at(0.5), at(0.99));
}

#[test]
#[ignore = "measures"]
fn latency_of_a_stop() {
    latency("stop in compiled code", |thread, _, _| {
        assert_eq!(thread.enter(spin, [0].as_mut_ptr()), STOPPED);
    });
    latency("stop in the interpreter", |thread, _, _| {
        while thread.budget() >= 0 {
            std::hint::spin_loop();
        }
    });
    latency("stop in a wait", |_, group, lot| {
        assert_eq!(lot.wait(0, || true, None, group), WaitResult::Stopped);
    });
    latency("stop in a system call", |thread, _, _| {
        while thread.pending().load(Relaxed) == 0 {
            // SAFETY: sleeps, and may be interrupted.
            unsafe { libc::poll(std::ptr::null_mut(), 0, -1) };
        }
    });
}

/// From the call of `stop` until all of many threads have ended.
#[test]
#[ignore = "measures"]
fn latency_of_a_stop_of_many() {
    for threads in [10, 100, 1_000] {
        let group = Group::new(Limits::default());
        let ready = Arc::new(AtomicU32::new(0));
        for n in 0..threads {
            let (inner, ready) = (group.clone(), ready.clone());
            let body = move |id| {
                let lot = ParkingLot::new();
                attached(&inner, id, |thread| {
                    ready.fetch_add(1, SeqCst);
                    if n % 2 == 0 {
                        thread.enter(spin, [0].as_mut_ptr());
                    } else {
                        lot.wait(0, || true, None, &inner);
                    }
                });
            };
            group.spawn(pool(), body).unwrap();
        }
        while ready.load(SeqCst) < threads {
            std::thread::sleep(Duration::from_millis(1));
        }
        let start = Instant::now();
        group.stop(Cause::Terminated, MAIN_THREAD, None);
        let told = start.elapsed();
        group.wait_all_left(None);
        println!("stop of {threads} threads: told in {told:?}, over in {:?}", start.elapsed());
    }
}

const HANDOFFS: u32 = 40_000;

/// Two threads, of which each in turn sets the word, wakes the other and sleeps.
fn handoffs(name: &str, wait: impl Fn(&AtomicU32, u32) + Sync, wake: impl Fn(&AtomicU32) + Sync) {
    let word = AtomicU32::new(0);
    let run = |me: u32| {
        for turn in (me..HANDOFFS).step_by(2) {
            loop {
                let now = word.load(SeqCst);
                if now == turn {
                    break;
                }
                wait(&word, now);
            }
            word.store(turn + 1, SeqCst);
            wake(&word);
        }
    };
    let mut rates: Vec<f64> = (0..15)
        .map(|_| {
            word.store(0, SeqCst);
            let start = Instant::now();
            std::thread::scope(|scope| {
                scope.spawn(|| run(0));
                run(1);
            });
            f64::from(HANDOFFS) / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_unstable_by(f64::total_cmp);
    println!(
        "{name}: {:.0} handoffs/s, {:.0} at best",
        rates[rates.len() / 2],
        rates[rates.len() - 1]
    );
}

#[test]
#[ignore = "measures"]
fn rate_of_handoffs() {
    let (lot, group) = (ParkingLot::new(), Group::new(Limits::default()));
    let futex = || {
        handoffs("futex", |word, now| sys::futex::wait(word, now, None), sys::futex::wake);
    };
    let parking_lot = || {
        handoffs(
            "parking lot",
            |word, now| {
                lot.wait(0, || word.load(SeqCst) == now, None, &group);
            },
            |_| {
                lot.notify(0, 1);
            },
        );
    };
    for _ in 0..3 {
        futex();
        parking_lot();
    }
}
