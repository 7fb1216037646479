//! Waiting and notifying: exact counts, order, deadlines, no lost and no spurious wake-ups. No test depends on timing
//! to pass.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use updraft::internals::threads::{Group, Limits, ParkingLot, WaitResult};

/// These groups never stop, so that nobody needs to be attached.
fn group() -> Arc<Group> {
    Group::new(Limits::default())
}

fn soon(microseconds: u64) -> Option<Instant> {
    Some(Instant::now() + Duration::from_micros(microseconds))
}

/// Notifies until `count` threads have been woken.
fn notify_all_of(lot: &ParkingLot, address: u64, count: u32) {
    let mut left = count;
    while left > 0 {
        left -= lot.notify(address, left);
        std::thread::yield_now();
    }
}

#[test]
fn nobody_waits_for_nothing() {
    let (lot, group) = (ParkingLot::new(), group());
    assert_eq!(lot.notify(0, u32::MAX), 0);
    assert_eq!(lot.wait(0, || false, None, &group), WaitResult::NotEqual);
    assert_eq!(lot.wait(0, || true, Some(Instant::now()), &group), WaitResult::TimedOut);
    assert_eq!(lot.wait(0, || true, soon(100), &group), WaitResult::TimedOut);
    assert_eq!(lot.notify(0, u32::MAX), 0, "they have taken themselves off");
}

#[test]
fn a_deadline_is_not_early() {
    let (lot, group) = (ParkingLot::new(), group());
    for microseconds in [1, 10, 100, 1_000, 20_000] {
        let deadline = soon(microseconds);
        assert_eq!(lot.wait(0, || true, deadline, &group), WaitResult::TimedOut);
        assert!(Some(Instant::now()) >= deadline);
    }
}

/// Starts threads that wait, each only when the one before is on the queue, and returns the order in which they
/// wake up.
fn queue_up<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    lot: &Arc<ParkingLot>,
    group: &Arc<Group>,
    count: usize,
) -> mpsc::Receiver<usize> {
    let (woken, order) = mpsc::channel();
    for number in 0..count {
        let (lot, group, woken) = (lot.clone(), group.clone(), woken.clone());
        let (queued, is_queued) = mpsc::channel();
        scope.spawn(move || {
            // Under the queue's lock: whoever wants to be next comes after this one.
            let validate = || queued.send(()).is_ok();
            assert_eq!(lot.wait(64, validate, None, &group), WaitResult::Woken);
            woken.send(number).unwrap();
        });
        is_queued.recv().unwrap();
    }
    order
}

#[test]
fn the_longest_waiting_wakes_first() {
    let (lot, group) = (Arc::new(ParkingLot::new()), group());
    std::thread::scope(|scope| {
        let order = queue_up(scope, &lot, &group, 20);
        for number in 0..20 {
            assert_eq!(lot.notify(64, 1), 1);
            assert_eq!(order.recv().unwrap(), number);
        }
        assert_eq!(lot.notify(64, 1), 0);
    });
}

#[test]
fn a_count_wakes_that_many() {
    let (lot, group) = (Arc::new(ParkingLot::new()), group());
    std::thread::scope(|scope| {
        let order = queue_up(scope, &lot, &group, 20);
        assert_eq!(lot.notify(64, 0), 0);
        for (range, count) in [(0..3, 3), (3..4, 1), (4..11, 7)] {
            assert_eq!(lot.notify(64, count), count);
            let mut woken: Vec<_> = range.clone().map(|_| order.recv().unwrap()).collect();
            woken.sort_unstable();
            assert_eq!(woken, range.collect::<Vec<_>>());
        }
        assert_eq!(lot.notify(60, u32::MAX), 0, "another address");
        assert_eq!(lot.notify(64, u32::MAX), 9);
        assert_eq!(order.iter().take(9).count(), 9);
    });
}

/// Waiters with and without deadlines against notifiers: each counted waiter was woken, and no other.
#[test]
fn counts_are_exact() {
    const WAITS: u64 = 4_000;
    let (lot, group) = (ParkingLot::new(), group());
    let (counted, woken, timed_out) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let waiters_left = AtomicU32::new(6);
    std::thread::scope(|scope| {
        for id in 0..6u64 {
            let (lot, group, woken, timed_out) = (&lot, &group, &woken, &timed_out);
            let waiters_left = &waiters_left;
            scope.spawn(move || {
                for n in 0..WAITS {
                    let deadline = if (n + id) % 8 == 0 { None } else { soon(n * 7 % 60) };
                    match lot.wait(id % 2 * 8, || true, deadline, group) {
                        WaitResult::Woken => woken.fetch_add(1, Relaxed),
                        WaitResult::TimedOut => {
                            assert!(deadline.is_some());
                            timed_out.fetch_add(1, Relaxed)
                        }
                        result => panic!("{result:?}"),
                    };
                }
                waiters_left.fetch_sub(1, SeqCst);
            });
        }
        for id in 0..2u64 {
            let (lot, counted, waiters_left) = (&lot, &counted, &waiters_left);
            scope.spawn(move || {
                let mut n = 0;
                while waiters_left.load(SeqCst) > 0 {
                    n += 1;
                    let count = lot.notify((id + n) % 2 * 8, (n % 4) as u32);
                    assert!(count <= (n % 4) as u32);
                    counted.fetch_add(count.into(), Relaxed);
                    if n % 5 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    assert_eq!(counted.load(SeqCst), woken.load(SeqCst));
    assert_eq!(woken.load(SeqCst) + timed_out.load(SeqCst), 6 * WAITS);
    println!("{} woken, {} timed out", woken.load(SeqCst), timed_out.load(SeqCst));
}

/// A mutex on wait and notify, as the C library of a guest makes it (Drepper, "Futexes are tricky", mutex 2). One
/// lost wake-up and this hangs; one exclusion broken and the sum is wrong.
struct GuestMutex {
    word: AtomicU32,
    lot: ParkingLot,
    group: Arc<Group>,
}

impl GuestMutex {
    fn lock(&self) {
        if self.word.compare_exchange(0, 1, SeqCst, SeqCst).is_err() {
            while self.word.swap(2, SeqCst) != 0 {
                let validate = || self.word.load(SeqCst) == 2;
                let result = self.lot.wait(0, validate, None, &self.group);
                assert!(matches!(result, WaitResult::Woken | WaitResult::NotEqual));
            }
        }
    }

    fn unlock(&self) {
        if self.word.swap(0, SeqCst) == 2 {
            self.lot.notify(0, 1);
        }
    }
}

#[test]
fn a_guest_mutex_excludes_and_never_sleeps_for_ever() {
    let mutex = GuestMutex { word: AtomicU32::new(0), lot: ParkingLot::new(), group: group() };
    let sum = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..20_000 {
                    mutex.lock();
                    let old = sum.load(Relaxed);
                    if n % 64 == 0 {
                        std::thread::yield_now();
                    }
                    sum.store(old + 1, Relaxed);
                    mutex.unlock();
                }
            });
        }
    });
    assert_eq!(sum.into_inner(), 80_000);
}

/// The word is set before the notify, and compared under the lock: no order of the two threads loses the wake-up.
#[test]
fn comparing_and_blocking_is_one_step() {
    const ROUNDS: u32 = 20_000;
    // On a core that others want as well, each round takes as long as theirs.
    const ENOUGH: Duration = Duration::from_secs(10);
    let (lot, group) = (ParkingLot::new(), group());
    let word = AtomicU32::new(0);
    let arrived = AtomicU32::new(0);
    // The round that is not played any more. It is set before the notifier arrives for it, so that both leave there.
    let end = AtomicU32::new(ROUNDS + 1);
    let meet = |round: u32| {
        arrived.fetch_add(1, SeqCst);
        while arrived.load(SeqCst) < 2 * round {
            std::thread::yield_now();
        }
        round < end.load(SeqCst)
    };
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let woken = (1..=ROUNDS).take_while(|round| meet(*round)).filter(|round| {
                match lot.wait(0, || word.load(SeqCst) < *round, None, &group) {
                    WaitResult::Woken => true,
                    WaitResult::NotEqual => false,
                    result => panic!("{result:?}"),
                }
            });
            woken.count()
        });
        let (begun, mut notified) = (Instant::now(), 0);
        for round in 1..=ROUNDS {
            if begun.elapsed() > ENOUGH {
                end.store(round, SeqCst);
            }
            if !meet(round) {
                break;
            }
            word.store(round, SeqCst);
            notified += lot.notify(0, 1) as usize;
        }
        assert_eq!(waiter.join().unwrap(), notified);
        println!("{notified} of at most {ROUNDS} woken");
    });
}

/// Two threads hand a turn to each other.
#[test]
fn turns_go_back_and_forth() {
    let (lot, group) = (ParkingLot::new(), group());
    let turn = AtomicU32::new(0);
    let run = |me: u32| {
        for _ in 0..20_000 {
            while turn.load(SeqCst) != me {
                lot.wait(0, || turn.load(SeqCst) != me, None, &group);
            }
            turn.store(1 - me, SeqCst);
            lot.notify(0, 1);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| run(0));
        run(1);
    });
}

#[test]
fn many_addresses_do_not_mix() {
    let (lot, group) = (ParkingLot::new(), group());
    std::thread::scope(|scope| {
        for id in 0..32u64 {
            let (lot, group) = (&lot, &group);
            scope.spawn(move || {
                for n in 0..50 {
                    assert_eq!(lot.wait(id << 16 | n, || true, None, group), WaitResult::Woken);
                }
            });
        }
        for n in 0..50 {
            for id in (0..32u64).rev() {
                notify_all_of(&lot, id << 16 | n, 1);
            }
        }
    });
}

#[test]
fn lots_do_not_mix() {
    let (one, other, group) = (ParkingLot::new(), ParkingLot::new(), group());
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(one.wait(0, || true, None, &group), WaitResult::Woken));
        assert_eq!(other.notify(0, 1), 0);
        notify_all_of(&one, 0, 1);
    });
}
