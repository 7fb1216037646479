//! Threads as Rust's standard library has them: spawn and join, a channel, a mutex with a condition variable, scoped threads,
//! thread-locals, a read-write lock and a barrier.
//!
//! `rust-threads [THREADS] [ITEMS]`: every line is the same whichever thread runs first.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Barrier, Condvar, Mutex, RwLock};
use std::thread;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count_call() -> u64 {
    CALLS.with(|calls| {
        calls.set(calls.get() + 1);
        calls.get()
    })
}

/// Producers send squares down a channel; the receiver adds them up.
fn channel(threads: u64, items: u64) -> (u64, u64) {
    let (sender, receiver) = mpsc::channel();
    for id in 0..threads {
        let sender = sender.clone();
        thread::Builder::new()
            .name(format!("sender {id}"))
            .spawn(move || {
                for i in 0..items {
                    let n = id * items + i;
                    sender.send(n * n).expect("the receiver outlives the senders");
                }
            })
            .expect("the host can make a thread");
    }
    drop(sender);
    receiver.iter().fold((0, 0), |(count, sum), square| (count + 1, sum + square))
}

/// Threads take turns in order of their number, by a mutex and a condition variable.
fn turns(threads: u64) -> Vec<u64> {
    let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
    let handles: Vec<_> = (0..threads)
        .rev()
        .map(|id| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (order, changed) = &*shared;
                let mut order = changed.wait_while(order.lock().unwrap(), |order| order.len() as u64 != id).unwrap();
                order.push(id);
                changed.notify_all();
            })
        })
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    let order = shared.0.lock().unwrap().clone();
    order
}

/// Scoped threads borrow slices of one array, sort them, and meet at a barrier before any of them looks at the others' work.
fn scoped(threads: usize, items: usize) -> (usize, u32) {
    let mut seed = 1u32;
    let mut numbers: Vec<u32> = (0..threads * items)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 8
        })
        .collect();
    let barrier = Barrier::new(threads);
    let smallest = RwLock::new(u32::MAX);
    let agreeing = thread::scope(|scope| {
        let workers: Vec<_> = numbers
            .chunks_mut(items)
            .map(|chunk| {
                let (barrier, smallest) = (&barrier, &smallest);
                scope.spawn(move || {
                    chunk.sort_unstable();
                    let mut found = smallest.write().unwrap();
                    *found = (*found).min(chunk[0]);
                    drop(found);
                    barrier.wait();
                    *smallest.read().unwrap() <= chunk[0]
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).filter(|&agrees| agrees).count()
    });
    let smallest = *smallest.read().unwrap();
    assert_eq!(numbers.iter().min(), Some(&smallest));
    (agreeing, smallest)
}

/// Each thread has its own thread-local count; the sum of them is shared.
fn locals(threads: u64, items: u64) -> (u64, u64) {
    let total = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let last = (0..items).map(|_| count_call()).last().unwrap_or(0);
                total.fetch_add(last, Ordering::Relaxed);
            });
        }
    });
    (total.into_inner(), CALLS.with(Cell::get))
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().expect("usage: rust-threads [THREADS] [ITEMS]"));
    let threads = args.next().unwrap_or(4).clamp(1, 64);
    let items = args.next().unwrap_or(10_000).clamp(1, 100_000);

    let (count, sum) = channel(threads, items);
    println!("channel: {count} messages, sum of squares {sum}");
    println!("turns: {:?}", turns(threads));
    let (agreeing, smallest) = scoped(threads as usize, items as usize);
    println!("scoped: {agreeing} threads agree that {smallest} is the smallest");
    let (total, mine) = locals(threads, items);
    println!("thread-locals: {total} calls in the threads, {mine} in main");
}
