//! POSIX threads: what programs in C pay for them here, against native ones.
//!
//! Measures: pthread_create and pthread_join, one thread at a time and eight at once (examples/threads/spawnstorm.wasm); a token handed
//! from thread to thread (pingpong.wasm); a mutex that nobody else wants and one that two threads want (mutex.wasm); many threads that
//! are alive at once. Unit: time per thread, handoff, or lock and unlock. Baseline: the same with libc's pthreads and futexes, in
//! this process.
//!
//! Before criterion measures each by itself, the two are run in turn, and the ratio of their medians is printed: on a machine
//! whose speed changes, this is the figure to trust. `cargo bench --bench pthreads` gives all figures, `-- none` the ratios alone; `-- mutex` those of what is called so; `-- --test` runs each once.

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use std::ffi::c_void;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use updraft::{Engine, Linker, Module, Process, ProcessConfig, WasiCtxBuilder};

/// Stack of a thread, as Updraft gives it by default.
const STACK: usize = 8 << 20;
/// Turns of each, here and natively.
const TURNS: usize = 15;

/// Starts a native thread.
fn create(
    body: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> libc::pthread_t {
    // SAFETY: the attributes are initialised and destroyed; the argument outlives the thread, which is joined.
    unsafe {
        let (mut attributes, mut thread) = (std::mem::zeroed(), 0);
        libc::pthread_attr_init(&raw mut attributes);
        libc::pthread_attr_setstacksize(&raw mut attributes, STACK);
        assert_eq!(libc::pthread_create(&raw mut thread, &raw const attributes, body, argument), 0);
        libc::pthread_attr_destroy(&raw mut attributes);
        thread
    }
}

fn join(thread: libc::pthread_t) {
    // SAFETY: a thread that was created here, and is joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
}

/// An example program.
struct Program {
    engine: Engine,
    module: Module,
}

impl Program {
    fn new(name: &str) -> Program {
        let engine = Engine::default();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/threads");
        let module = Module::from_file(&engine, folder.join(name).with_extension("wasm"));
        Program { module: module.expect("the example is valid"), engine }
    }

    /// Time of one run.
    fn run(&self, args: &[u64]) -> Duration {
        let args = args.iter().map(u64::to_string);
        let start = Instant::now();
        let wasi = WasiCtxBuilder::new().arg("program").args(args).build().expect("a context");
        let mut linker = Linker::new(&self.engine);
        updraft::add_wasi(&mut linker, wasi);
        let process = Process::new(&linker, &self.module, &ProcessConfig::default());
        assert_eq!(process.expect("a process").run().expect("it does not trap"), 0);
        start.elapsed()
    }
}

/// `threads` threads, `at_once` at a time.
fn native_joins(threads: u64, at_once: u64) -> Duration {
    extern "C" fn body(ran: *mut c_void) -> *mut c_void {
        // SAFETY: the counter outlives the threads.
        unsafe { &*ran.cast::<AtomicU32>() }.fetch_add(1, Ordering::SeqCst);
        ptr::null_mut()
    }
    let ran = AtomicU32::new(0);
    let start = Instant::now();
    for _ in 0..threads / at_once {
        let round: Vec<_> =
            (0..at_once).map(|_| create(body, (&raw const ran).cast_mut().cast())).collect();
        round.into_iter().for_each(join);
    }
    assert_eq!(u64::from(ran.into_inner()), threads);
    start.elapsed()
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    let no_timeout = ptr::null::<libc::timespec>();
    // SAFETY: the word is alive, and there is no timeout.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, no_timeout) };
}

struct Token {
    turn: AtomicU32,
    round_trips: u64,
}

fn play(token: &Token, me: u32) {
    for _ in 0..token.round_trips {
        while token.turn.load(Ordering::SeqCst) != me {
            futex(&token.turn, libc::FUTEX_WAIT, 1 - me);
        }
        token.turn.store(1 - me, Ordering::SeqCst);
        futex(&token.turn, libc::FUTEX_WAKE, 1);
    }
}

fn native_handoffs(round_trips: u64) -> Duration {
    extern "C" fn pong(token: *mut c_void) -> *mut c_void {
        // SAFETY: the token outlives the thread.
        play(unsafe { &*token.cast() }, 1);
        ptr::null_mut()
    }
    let mut token = Token { turn: AtomicU32::new(0), round_trips };
    let start = Instant::now();
    let other = create(pong, (&raw mut token).cast());
    play(&token, 0);
    join(other);
    start.elapsed()
}

/// A mutex of native code.
trait NativeMutex {
    /// # Safety
    /// The mutex is initialised, and moves no more.
    unsafe fn lock(this: *mut Self);

    /// # Safety
    /// The calling thread has it locked.
    unsafe fn unlock(this: *mut Self);
}

/// That of the C library.
impl NativeMutex for libc::pthread_mutex_t {
    unsafe fn lock(this: *mut Self) {
        // SAFETY: the caller's promise.
        unsafe { libc::pthread_mutex_lock(this) };
    }

    unsafe fn unlock(this: *mut Self) {
        // SAFETY: the caller's promise.
        unsafe { libc::pthread_mutex_unlock(this) };
    }
}

/// The algorithm of musl's normal mutex: some turns of spinning while nobody sleeps, a count of those who sleep, and a bit that
/// says so.
#[derive(Default)]
struct MuslMutex {
    state: AtomicU32,
    waiters: AtomicU32,
}

const LOCKED: u32 = 16;
const CONTENDED: u32 = 1 << 31;
const SPINS: u32 = 100;

impl MuslMutex {
    fn try_lock(&self) -> bool {
        self.state.compare_exchange(0, LOCKED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    #[inline(never)]
    fn lock_slowly(&self) {
        let barrier = AtomicU32::new(0);
        for _ in 0..SPINS {
            let held = self.state.load(Ordering::Relaxed) != 0;
            if !held || self.waiters.load(Ordering::Relaxed) != 0 {
                break;
            }
            // As the program spins.
            let _ = barrier.compare_exchange(0, 0, Ordering::SeqCst, Ordering::SeqCst);
        }
        while !self.try_lock() {
            let held = self.state.load(Ordering::Relaxed);
            if held == 0 {
                continue;
            }
            self.waiters.fetch_add(1, Ordering::SeqCst);
            let marked = held | CONTENDED;
            let _ = self.state.compare_exchange(held, marked, Ordering::SeqCst, Ordering::SeqCst);
            futex(&self.state, libc::FUTEX_WAIT, marked);
            self.waiters.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl NativeMutex for MuslMutex {
    #[inline(never)]
    unsafe fn lock(this: *mut Self) {
        // SAFETY: the caller's promise.
        let this = unsafe { &*this };
        if !this.try_lock() {
            this.lock_slowly();
        }
    }

    #[inline(never)]
    unsafe fn unlock(this: *mut Self) {
        // SAFETY: the caller's promise.
        let this = unsafe { &*this };
        let waiters = this.waiters.load(Ordering::Relaxed);
        if this.state.swap(0, Ordering::SeqCst) & CONTENDED != 0 || waiters != 0 {
            futex(&this.state, libc::FUTEX_WAKE, 1);
        }
    }
}

struct Counter<M> {
    lock: M,
    times: u64,
    count: u64,
}

fn native_locks<M: NativeMutex>(lock: M, times: u64, threads: u64) -> Duration {
    extern "C" fn add<M: NativeMutex>(counter: *mut c_void) -> *mut c_void {
        let counter: *mut Counter<M> = counter.cast();
        // SAFETY: the counter outlives the threads; the count is touched with the lock alone.
        unsafe {
            for _ in 0..(*counter).times {
                M::lock(&raw mut (*counter).lock);
                (&raw mut (*counter).count).write_volatile((*counter).count + 1);
                M::unlock(&raw mut (*counter).lock);
            }
        }
        ptr::null_mut()
    }
    let mut counter = Counter { lock, times, count: 0 };
    let start = Instant::now();
    let all: Vec<_> = (0..threads).map(|_| create(add::<M>, (&raw mut counter).cast())).collect();
    all.into_iter().for_each(join);
    assert_eq!(counter.count, times * threads);
    start.elapsed()
}

/// As many threads at once, which all wait for the last one to have started.
const ALIVE: &str = r#"(module
  (import "env" "memory" (memory 1 1 shared))
  (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
  (func (export "wasi_thread_start") (param i32 i32)
    (drop (memory.atomic.wait32 (i32.const 4) (i32.const 0) (i64.const -1)))
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
    (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
  (func (export "run") (param $threads i32) (local $i i32)
    (loop $again
      (if (i32.lt_s (call $spawn (i32.const 0)) (i32.const 0)) (then unreachable))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $threads))))
    (i32.atomic.store (i32.const 4) (i32.const 1))
    (drop (memory.atomic.notify (i32.const 4) (i32.const -1)))
    (loop $wait
      (local.set $i (i32.atomic.load (i32.const 0)))
      (if (i32.lt_u (local.get $i) (local.get $threads))
        (then
          (drop (memory.atomic.wait32 (i32.const 0) (local.get $i) (i64.const -1)))
          (br $wait))))))"#;

fn alive(engine: &Engine, module: &Module, threads: u64) -> Duration {
    let config = ProcessConfig { max_threads: threads as u32, ..ProcessConfig::default() };
    let process =
        Process::new(&Linker::new(engine), module, &config).expect("a memory of one page");
    let start = Instant::now();
    let result = process
        .run_entry("run", |store, run| run.typed::<i32, ()>(store)?.call(store, threads as i32));
    result.expect("the system gives as many threads");
    start.elapsed()
}

fn native_alive(threads: u64) -> Duration {
    extern "C" fn wait(go: *mut c_void) -> *mut c_void {
        // SAFETY: the word outlives the threads.
        let go = unsafe { &*go.cast::<AtomicU32>() };
        while go.load(Ordering::SeqCst) == 0 {
            futex(go, libc::FUTEX_WAIT, 0);
        }
        ptr::null_mut()
    }
    let go = AtomicU32::new(0);
    let start = Instant::now();
    let all: Vec<_> =
        (0..threads).map(|_| create(wait, (&raw const go).cast_mut().cast())).collect();
    go.store(1, Ordering::SeqCst);
    futex(&go, libc::FUTEX_WAKE, i32::MAX as u32);
    all.into_iter().for_each(join);
    start.elapsed()
}

/// What is timed.
type Run<'a> = Box<dyn Fn() -> Duration + 'a>;

/// A measurement: what is counted, how often one run does it, and a run of each contender. The first is Updraft, the second the baseline.
struct Contest<'a> {
    name: &'static str,
    times: u64,
    contenders: Vec<(&'static str, Run<'a>)>,
}

impl<'a> Contest<'a> {
    fn new(
        name: &'static str,
        times: u64,
        updraft: impl Fn() -> Duration + 'a,
        native: impl Fn() -> Duration + 'a,
    ) -> Contest<'a> {
        let mut contest = Contest { name, times, contenders: Vec::new() };
        contest.add("updraft", updraft);
        contest.add("native", native);
        contest
    }

    fn add(&mut self, name: &'static str, run: impl Fn() -> Duration + 'a) {
        self.contenders.push((name, Box::new(run)));
    }

    /// Runs all in turn, and prints the medians and their ratios to the baseline's.
    fn in_turn(&self, turns: usize) {
        // Once before, so that code is compiled and pages are there.
        for (_, run) in &self.contenders {
            run();
        }
        let mut times = vec![Vec::new(); self.contenders.len()];
        for _ in 0..turns {
            for ((_, run), times) in self.contenders.iter().zip(&mut times) {
                times.push(run());
            }
        }
        let medians = times.into_iter().map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64()
        });
        let medians: Vec<f64> = medians.collect();
        println!("pthreads/{}, medians of {turns} runs in turn:", self.name);
        for ((name, _), median) in self.contenders.iter().zip(&medians) {
            let each = median * 1e6 / self.times as f64;
            println!("    {name}: {each:.4} us, {:.2} of native", median / medians[1]);
        }
    }
}

fn pthreads(c: &mut Criterion) {
    let [storm, pingpong, mutex] = ["spawnstorm", "pingpong", "mutex"].map(Program::new);
    let engine = Engine::default();
    let many = Module::new(&engine, ALIVE).expect("the program is valid");
    const JOINS: u64 = 1_000;
    const HANDOFFS: u64 = 40_000;
    const LOCKS: u64 = 5_000_000;
    const ALIVE_AT_ONCE: u64 = 10_000;
    let mutex = &mutex;
    let locks = |name, threads| {
        let mut contest = Contest::new(
            name,
            LOCKS * threads,
            move || mutex.run(&[LOCKS, threads]),
            move || native_locks(libc::PTHREAD_MUTEX_INITIALIZER, LOCKS, threads),
        );
        contest.add("native, musl's algorithm", move || {
            native_locks(MuslMutex::default(), LOCKS, threads)
        });
        contest
    };
    let contests = [
        Contest::new(
            "create and join",
            JOINS,
            || storm.run(&[JOINS, 0, 1]),
            || native_joins(JOINS, 1),
        ),
        Contest::new(
            "create and join, 8 at once",
            JOINS,
            || storm.run(&[JOINS, 0, 8]),
            || native_joins(JOINS, 8),
        ),
        Contest::new(
            "handoff",
            HANDOFFS,
            || pingpong.run(&[HANDOFFS / 2]),
            || native_handoffs(HANDOFFS / 2),
        ),
        locks("mutex, uncontended", 1),
        locks("mutex, contended", 2),
        Contest::new(
            "10000 alive",
            ALIVE_AT_ONCE,
            || alive(&engine, &many, ALIVE_AT_ONCE),
            || native_alive(ALIVE_AT_ONCE),
        ),
    ];
    let turns = if std::env::args().any(|arg| arg == "--test") { 1 } else { TURNS };
    let mut group = c.benchmark_group("pthreads");
    group.sample_size(10).warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(2)).sampling_mode(SamplingMode::Flat);
    let named =
        |contest: &&Contest| std::env::args().skip(1).any(|arg| contest.name.contains(&arg));
    let some_are_named = contests.iter().any(|contest| named(&contest));
    for contest in contests.iter().filter(|contest| !some_are_named || named(contest)) {
        contest.in_turn(turns);
        group.throughput(Throughput::Elements(contest.times));
        for (contender, run) in &contest.contenders {
            group.bench_function(format!("{}/{contender}", contest.name), |b| {
                b.iter_custom(|iters| (0..iters).map(|_| run()).sum());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, pthreads);
criterion_main!(benches);
