//! Groups of threads: starting, stopping and leaving, whoever gets there first. No test depends on timing to pass.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Barrier, LazyLock, Mutex};
use std::time::{Duration, Instant};

use threads_support::{RETURNED, STOPPED, WasmThread, increment, spin};
use updraft::internals::sys::StackSizes;
use updraft::internals::threads::{
    Cause, Group, Limits, MAIN_THREAD, ParkingLot, SpawnError, ThreadId, ThreadPool, WaitResult,
};

mod threads_support;

const STACK: usize = 256 << 10;

/// The threads of all tests here: most bodies run where another one, often of another group, has ended.
fn pool() -> &'static ThreadPool {
    static POOL: LazyLock<ThreadPool> =
        LazyLock::new(|| ThreadPool::new(StackSizes { native: STACK, value: STACK }, 16));
    &POOL
}

fn group() -> Arc<Group> {
    Group::new(Limits::default())
}

/// Runs `body` as an attached thread of the group.
fn attached<R>(group: &Arc<Group>, id: ThreadId, body: impl FnOnce(&WasmThread) -> R) -> R {
    let thread = WasmThread::new();
    // SAFETY: the state outlives the attachment.
    let _attachment = unsafe { group.attach(thread.thread(), id) };
    body(&thread)
}

/// The places in which a thread can be when its group stops.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Compiled,
    Interpreted,
    Parked,
    ParkedForAWhile,
    Reading,
    Sleeping,
    ShortCalls,
}

const PLACES: [Place; 7] = [
    Place::Compiled,
    Place::Interpreted,
    Place::Parked,
    Place::ParkedForAWhile,
    Place::Reading,
    Place::Sleeping,
    Place::ShortCalls,
];

/// What the threads of a test share.
struct World {
    group: Arc<Group>,
    lot: ParkingLot,
    pipe: (std::io::PipeReader, std::io::PipeWriter),
    left: AtomicU32,
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            group: group(),
            lot: ParkingLot::new(),
            pipe: std::io::pipe().unwrap(),
            left: AtomicU32::new(0),
        })
    }

    /// Stays in a place until the group stops.
    fn stay(&self, place: Place, thread: &WasmThread) {
        use std::os::fd::AsRawFd;
        let must_stop = || thread.pending().load(Relaxed) != 0;
        match place {
            Place::Compiled => assert_eq!(thread.enter(spin, [0].as_mut_ptr()), STOPPED),
            Place::Interpreted => {
                while thread.budget() >= 0 {
                    std::hint::spin_loop();
                }
                assert!(must_stop());
            }
            Place::Parked => {
                assert_eq!(self.lot.wait(0, || true, None, &self.group), WaitResult::Stopped);
            }
            Place::ParkedForAWhile => loop {
                let deadline = Instant::now() + Duration::from_micros(50);
                match self.lot.wait(4, || true, Some(deadline), &self.group) {
                    WaitResult::TimedOut => {}
                    result => break assert_eq!(result, WaitResult::Stopped),
                }
            },
            Place::Reading => {
                let mut byte = 0u8;
                while !must_stop() {
                    // SAFETY: reads one byte, which never comes.
                    let n =
                        unsafe { libc::read(self.pipe.0.as_raw_fd(), (&raw mut byte).cast(), 1) };
                    assert_eq!(n, -1);
                    let error = std::io::Error::last_os_error();
                    assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
                }
            }
            Place::Sleeping => {
                while !must_stop() {
                    // SAFETY: sleeps, and may be interrupted.
                    unsafe { libc::poll(std::ptr::null_mut(), 0, -1) };
                }
            }
            Place::ShortCalls => {
                let mut slots = [0];
                while thread.enter(increment, slots.as_mut_ptr()) == RETURNED {}
                assert!(must_stop());
            }
        }
    }

    /// Starts a thread that stays in a place.
    fn spawn(self: &Arc<World>, place: Place, started: Option<Arc<Barrier>>) -> ThreadId {
        let world = self.clone();
        let body = move |id| {
            attached(&world.group, id, |thread| {
                if let Some(started) = started {
                    started.wait();
                }
                world.stay(place, thread);
            });
            world.left.fetch_add(1, SeqCst);
        };
        self.group.spawn(pool(), body).unwrap()
    }
}

#[test]
fn a_stop_reaches_every_place() {
    for round in 0..50 {
        let world = World::new();
        let started = Arc::new(Barrier::new(PLACES.len() * 3 + 1));
        for place in PLACES.repeat(3) {
            world.spawn(place, Some(started.clone()));
        }
        started.wait();
        if round % 2 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(world.group.stop(Cause::Exit(round), MAIN_THREAD, None));
        world.group.wait_all_left(None);
        assert_eq!(world.left.load(SeqCst), 21);
        assert_eq!(world.group.cause(), Some((Cause::Exit(round), MAIN_THREAD)));
    }
}

/// Nobody waits for the group: the watchdog alone repeats the signals. The thread that is stopped blocks right after
/// the test has seen it alive, which is when a single signal may come too early.
#[test]
fn the_watchdog_repeats_signals_that_were_lost() {
    for _ in 0..300 {
        for place in [Place::Reading, Place::Sleeping] {
            let group = group();
            let world = World {
                group: group.clone(),
                lot: ParkingLot::new(),
                pipe: std::io::pipe().unwrap(),
                left: AtomicU32::new(0),
            };
            let about_to_block = Arc::new(AtomicBool::new(false));
            let flag = about_to_block.clone();
            let stopper = std::thread::spawn(move || {
                while !flag.load(SeqCst) {
                    std::hint::spin_loop();
                }
                group.stop(Cause::TimedOut, MAIN_THREAD, None)
            });
            attached(&world.group, MAIN_THREAD, |thread| {
                about_to_block.store(true, SeqCst);
                world.stay(place, thread);
            });
            assert!(stopper.join().unwrap());
        }
    }
}

#[test]
fn one_of_many_causes_is_reported_with_its_own_detail() {
    let mut seen = [0u32; 5];
    for round in 0..1_000u32 {
        let group = group();
        let racers = 5 + round % 3;
        let start = Arc::new(Barrier::new(racers as usize));
        let winners = Arc::new(Mutex::new(Vec::new()));
        for racer in 0..racers {
            let (start, winners, racing) = (start.clone(), winners.clone(), group.clone());
            let body = move |id: ThreadId| {
                attached(&racing.clone(), id, |_| {
                    let cause = match racer % 5 {
                        0 => Cause::Exit(id.cast_signed()),
                        1 => Cause::Trap,
                        2 => Cause::Terminated,
                        3 => Cause::CpuTime,
                        _ => Cause::TimedOut,
                    };
                    start.wait();
                    if racing.stop(cause, id, Some(Box::new(id))) {
                        winners.lock().unwrap().push((cause, id));
                    }
                    assert!(racing.is_stopping());
                });
            };
            group.spawn(pool(), body).unwrap();
        }
        group.wait_all_left(None);
        let winners = winners.lock().unwrap();
        let [winner] = winners[..] else { panic!("{winners:?}") };
        assert_eq!(group.cause(), Some(winner));
        let detail = group.take_detail().unwrap().downcast::<ThreadId>().unwrap();
        assert_eq!(*detail, winner.1);
        assert!(group.take_detail().is_none());
        seen[match winner.0 {
            Cause::Exit(_) => 0,
            Cause::Trap => 1,
            Cause::Terminated => 2,
            Cause::TimedOut => 3,
            Cause::CpuTime => 4,
        }] += 1;
    }
    println!("exit, trap, terminated, timed out, out of processor time: {seen:?}");
}

/// Threads attach and leave as fast as they can; after the stop, every attachment begins with `pending` set.
#[test]
fn attaching_races_with_a_stop() {
    for _ in 0..300 {
        let group = group();
        let attachments = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        let before = group.is_stopping();
                        let result = attached(&group, MAIN_THREAD, |thread| {
                            assert!(!before || thread.pending().load(Relaxed) != 0);
                            thread.enter(increment, [0].as_mut_ptr())
                        });
                        attachments.fetch_add(1, Relaxed);
                        if result == STOPPED {
                            break;
                        }
                        assert!(!before);
                    }
                });
            }
            while attachments.load(Relaxed) < 20 {
                std::hint::spin_loop();
            }
            group.stop(Cause::Terminated, MAIN_THREAD, None);
            group.wait_all_left(None);
        });
    }
}

/// Threads start threads while the group stops: either a spawn is refused, or its thread is waited for.
#[test]
fn starting_races_with_a_stop() {
    for _ in 0..100 {
        let world = World::new();
        let (begun, ended) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        std::thread::scope(|scope| {
            for spawner in 0..2 {
                let (world, begun, ended) = (&world, &begun, &ended);
                scope.spawn(move || {
                    for n in spawner.. {
                        let place = PLACES[n % PLACES.len()];
                        let (shared, ended) = (world.clone(), ended.clone());
                        let result = world.group.spawn(pool(), move |id| {
                            attached(&shared.group, id, |thread| shared.stay(place, thread));
                            ended.fetch_add(1, SeqCst);
                        });
                        match result {
                            Ok(_) => begun.fetch_add(1, SeqCst),
                            Err(SpawnError::Stopping) => break,
                            Err(SpawnError::TooMany { .. }) => continue,
                            Err(error) => panic!("{error}"),
                        };
                    }
                });
            }
            while begun.load(SeqCst) < 10 {
                std::thread::yield_now();
            }
            world.group.stop(Cause::Trap, 1, None);
            world.group.wait_all_left(None);
        });
        assert_eq!(begun.load(SeqCst), ended.load(SeqCst));
    }
}

#[test]
fn a_spawned_thread_is_waited_for_before_it_runs() {
    let group = group();
    for _ in 0..1_000 {
        let ended = Arc::new(AtomicBool::new(false));
        let flag = ended.clone();
        group.spawn(pool(), move |_| flag.store(true, SeqCst)).unwrap();
        group.wait_all_left(None);
        assert!(ended.load(SeqCst));
    }
}

#[test]
fn the_caller_can_be_excepted() {
    let world = World::new();
    attached(&world.group, MAIN_THREAD, |thread| {
        world.group.wait_all_left(Some(MAIN_THREAD));
        for place in PLACES {
            world.spawn(place, None);
        }
        assert!(world.group.stop(Cause::Exit(1), MAIN_THREAD, None));
        world.group.wait_all_left(Some(MAIN_THREAD));
        assert_eq!(world.left.load(SeqCst), 7);
        assert_ne!(thread.pending().load(Relaxed), 0);
    });
    // A spawned thread can wait for the others too.
    let world = World::new();
    let shared = world.clone();
    let waiter = move |id| {
        attached(&shared.group, id, |_| {
            shared.group.stop(Cause::Exit(1), id, None);
            shared.group.wait_all_left(Some(id));
            assert_eq!(shared.left.load(SeqCst), 7);
        });
    };
    for place in PLACES {
        world.spawn(place, None);
    }
    world.group.spawn(pool(), waiter).unwrap();
    world.group.wait_all_left(None);
}

#[test]
fn a_finished_group_is_left_alone() {
    let group = group();
    let thread = WasmThread::new();
    for _ in 0..1_000 {
        // SAFETY: the state outlives the attachment.
        let attachment = unsafe { group.attach(thread.thread(), MAIN_THREAD) };
        assert_eq!(thread.enter(increment, [0].as_mut_ptr()), RETURNED);
        drop(attachment);
    }
    assert!(group.stop(Cause::Exit(0), MAIN_THREAD, None));
    assert!(!group.stop(Cause::Trap, 1, None));
    group.wait_all_left(None);
    assert_eq!(thread.pending().load(Relaxed), 0, "nobody was attached");
    // Another group on the same thread is not touched.
    attached(&self::group(), MAIN_THREAD, |thread| {
        assert_eq!(thread.enter(increment, [0].as_mut_ptr()), RETURNED);
    });
    // This one stays ended.
    attached(&group, MAIN_THREAD, |thread| {
        assert_eq!(thread.enter(increment, [0].as_mut_ptr()), STOPPED);
    });
}

/// A host function of one group runs a program of another group.
#[test]
fn groups_nest_on_one_thread() {
    let (outer, inner) = (World::new(), World::new());
    attached(&outer.group, MAIN_THREAD, |thread| {
        outer.group.stop(Cause::Terminated, MAIN_THREAD, None);
        attached(&inner.group, MAIN_THREAD, |thread| {
            assert_eq!(thread.enter(increment, [0].as_mut_ptr()), RETURNED);
            let deadline = Instant::now() + Duration::from_micros(100);
            let result = inner.lot.wait(0, || true, Some(deadline), &inner.group);
            assert_eq!(result, WaitResult::TimedOut);
        });
        outer.stay(Place::Parked, thread);
        assert_eq!(thread.enter(increment, [0].as_mut_ptr()), STOPPED);
    });
}

#[test]
fn the_number_of_threads_is_limited() {
    let group = Group::new(Limits { max_threads: 3, ..Limits::default() });
    let lot = Arc::new(ParkingLot::new());
    let park = || {
        let (group, lot) = (group.clone(), lot.clone());
        move |id| {
            attached(&group.clone(), id, |_| {
                lot.wait(0, || true, None, &group);
            });
        }
    };
    let ids: Vec<_> = (0..3).map(|_| group.spawn(pool(), park()).unwrap()).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert!(matches!(group.spawn(pool(), |_| ()), Err(SpawnError::TooMany { limit: 3 })));
    while lot.notify(0, 1) == 0 {
        std::thread::yield_now();
    }
    let next = loop {
        match group.spawn(pool(), park()) {
            Err(SpawnError::TooMany { .. }) => std::thread::yield_now(),
            result => break result.unwrap(),
        }
    };
    assert_eq!(next, 4, "ids are not used again soon");
    group.stop(Cause::Exit(0), MAIN_THREAD, None);
    group.wait_all_left(None);
    assert!(matches!(group.spawn(pool(), |_| ()), Err(SpawnError::Stopping)));
}

#[test]
fn a_thread_that_the_system_refuses_is_forgotten() {
    let group = group();
    let too_large = ThreadPool::new(StackSizes { native: usize::MAX / 4, value: STACK }, 1);
    assert!(matches!(group.spawn(&too_large, |_| ()), Err(SpawnError::Os(_))));
    group.wait_all_left(None);
}

#[test]
fn a_panic_in_a_body_ends_the_group() {
    let world = World::new();
    world.spawn(Place::Parked, None);
    let id = world.group.spawn(pool(), |_| std::panic::resume_unwind(Box::new(()))).unwrap();
    world.group.wait_all_left(None);
    assert_eq!(world.group.cause(), Some((Cause::Trap, id)));
}

#[test]
fn threads_are_named_after_their_ids() {
    let group = group();
    let id = group
        .spawn(pool(), |id| {
            let name = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
            assert_eq!(name.trim_end(), format!("wasm-{id}"));
        })
        .unwrap();
    group.wait_all_left(None);
    assert_eq!((id, group.cause()), (1, None));
}
