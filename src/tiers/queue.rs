//! The compile queue: requests in order of urgency, and the threads that serve it.

use super::code::{Tier, threshold};
use super::{quantum, tuning};
use crate::module::Module;
use crate::vm::sys::futex;
use std::cmp::Reverse;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Something to compile.
pub(crate) struct Request {
    pub module: Module,
    pub functions: Vec<u32>,
    pub osr: Vec<(u32, u32)>,
    pub tier: Tier,
    /// What it was when it was asked for.
    pub heat: u64,
    /// Somebody waits for it; goes before everything that is only wanted.
    pub waiter: Option<Arc<Waiter>>,
    /// When it was made.
    pub asked: Instant,
    /// Order of arrival.
    number: u64,
}

impl Request {
    pub fn new(module: &Module, tier: Tier, heat: u64) -> Request {
        Request {
            module: module.clone(),
            functions: Vec::new(),
            osr: Vec::new(),
            tier,
            heat,
            waiter: None,
            asked: Instant::now(),
            number: 0,
        }
    }

    /// The names of the functions, and of those whose loops are meant.
    pub fn names(&self) -> String {
        let functions = self.functions.iter().map(|func| self.module.function_name(*func).into());
        let loop_name = |(func, index): &(u32, u32)| {
            format!("{} loop {index}", self.module.function_name(*func))
        };
        let names: Vec<String> = functions.chain(self.osr.iter().map(loop_name)).collect();
        names.join(", ")
    }

    /// Whether there is nothing to compile.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty() && self.osr.is_empty()
    }

    /// Takes out a function that cannot be compiled, and marks it, so that nobody asks for it again.
    pub fn drop_function(&mut self, func: u32) {
        self.module.code.functions[func as usize].set_failed();
        self.functions.retain(|f| *f != func);
        self.osr.retain(|(f, _)| *f != func);
    }

    /// The functions that it is about.
    pub fn compiled(&self) -> impl Iterator<Item = u32> {
        self.functions.iter().copied().chain(self.osr.iter().map(|(func, _)| *func))
    }

    /// Marks all that was asked for as impossible.
    pub fn set_failed(&self) {
        for func in self.compiled() {
            self.module.code.functions[func as usize].set_failed();
        }
    }

    /// Makes as if nothing had been asked for, so that it can be again.
    fn withdraw(&self) {
        let code = &self.module.code;
        for func in &self.functions {
            code.functions[*func as usize].withdraw(self.tier);
        }
        for (func, index) in &self.osr {
            code.withdraw_loop(*func, *index, self.tier);
        }
        for func in self.compiled() {
            code.release_loops(func, self.tier, 0);
        }
    }

    /// Heat that a function must gather, after it was compiled, before a further entry into its loops is asked for: what the compile
    /// cost. None if the loop that was compiled is over: then the entry is of no use to what runs.
    pub fn pause(&self, func: u32) -> u64 {
        let is_over = |(owner, index): &(u32, u32)| *owner == func && self.is_over(func, *index);
        match self.tier {
            _ if self.osr.iter().any(is_over) => 0,
            Tier::Full => self.threshold(func).saturating_mul(tuning::FULL_URGENCY_DIVISOR),
            _ => self.threshold(func),
        }
    }

    fn threshold(&self, func: u32) -> u64 {
        let body = self.module.env.body(func).len();
        threshold(&self.module.engine.config().tuning, self.tier, body)
    }

    /// Whether the function has gone on without a budget spent in this loop, for as long as it took to be worth this tier.
    fn is_over(&self, func: u32, index: u32) -> bool {
        let config = self.module.engine.config();
        let chance = quantum(config) as u64 * tuning::LOOP_IS_OVER;
        self.module.code.heat_outside(func, index) > self.threshold(func).max(chance)
    }

    /// Whether the compile is still wanted, and what of it: better code may have come meanwhile, or the loop may be over.
    fn drop_outdated(&mut self) {
        if self.waiter.is_some() {
            return;
        }
        for (func, index) in std::mem::take(&mut self.osr) {
            if self.is_over(func, index) && self.module.code.may_drop_loop(func, index, self.tier) {
                self.module.code.withdraw_loop(func, index, self.tier);
                self.module.code.release_loops(func, self.tier, 0);
            } else {
                self.osr.push((func, index));
            }
        }
        let (code, tier) = (&self.module.code, self.tier);
        self.functions.retain(|func| code.functions[*func as usize].tier() < tier);
        self.osr.retain(|(func, _)| code.functions[*func as usize].tier() <= tier);
    }

    /// Bytes of the bodies to compile.
    fn bytes(&self) -> usize {
        self.compiled().map(|func| self.module.env.body(func).len()).sum()
    }

    /// Waited for first, then what gains most for the time that it takes to compile, then the oldest. Whatever waits goes on
    /// gathering heat, so that nothing hot waits behind much that is only warm.
    fn urgency(&self) -> (bool, u64, Reverse<u64>) {
        let gain = self.compiled().next().map_or(0, |func| {
            let threshold = u128::from(self.threshold(func).max(1));
            let cost = match self.tier {
                Tier::Full => threshold * u128::from(tuning::FULL_URGENCY_DIVISOR),
                _ => threshold,
            };
            let heat = self.module.code.functions[func as usize].heat();
            ((u128::from(heat) << 16) / cost) as u64
        });
        (self.waiter.is_some(), gain, Reverse(self.number))
    }
}

/// Lets a thread wait until a request has been served or dropped.
#[derive(Default)]
pub(crate) struct Waiter {
    done: AtomicU32,
}

impl Waiter {
    pub fn finish(&self) {
        self.done.store(1, Release);
        futex::wake_all(&self.done);
    }

    /// Waits; gives up, and returns false, when `give_up` says so. It is asked again after each signal to the thread.
    pub fn wait(&self, give_up: impl Fn() -> bool) -> bool {
        while self.done.load(Acquire) == 0 {
            if give_up() {
                return false;
            }
            futex::wait(&self.done, 0, None);
        }
        true
    }
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    workers: usize,
    idle: usize,
    closed: bool,
    next: u64,
}

/// The queue.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

/// What the caller of [`Queue::push`] has to do.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Pushed {
    /// Nothing.
    Queued,
    /// Start a worker; it has been counted.
    StartWorker,
}

impl Queue {
    /// Adds a request. At most `max_workers` threads serve the queue.
    pub fn push(&self, mut request: Request, max_workers: usize) -> Pushed {
        let mut state = self.state.lock().expect("no panics hold it");
        if state.closed {
            if let Some(waiter) = request.waiter {
                waiter.finish();
            }
            return Pushed::Queued;
        }
        request.number = state.next;
        state.next += 1;
        state.requests.push(request);
        if state.idle == 0 && state.workers < max_workers {
            state.workers += 1;
            return Pushed::StartWorker;
        }
        self.changed.notify_one();
        Pushed::Queued
    }

    /// The next job, merged with like ones; `None` when the worker should end (it is no longer counted then).
    pub fn pop(&self) -> Option<Request> {
        let mut state = self.state.lock().expect("no panics hold it");
        loop {
            if state.closed {
                state.workers -= 1;
                return None;
            }
            while let Some(mut request) = take(&mut state.requests) {
                merge(&mut request, &mut state.requests);
                request.drop_outdated();
                if !request.is_empty() {
                    return Some(request);
                }
            }
            state.idle += 1;
            let idle = Duration::from_secs(tuning::WORKER_IDLE_SECONDS);
            let (guard, timeout) =
                self.changed.wait_timeout(state, idle).expect("no panics hold it");
            state = guard;
            state.idle -= 1;
            if timeout.timed_out() && state.requests.is_empty() {
                state.workers -= 1;
                return None;
            }
        }
    }

    /// A request without waiting; the worker that asks ends, and is no longer counted, when there is none.
    pub fn pop_now(&self) -> Option<Request> {
        let mut state = self.state.lock().expect("no panics hold it");
        let request = state.requests.pop();
        if request.is_none() {
            state.workers -= 1;
        }
        request
    }

    /// A worker could not be started after all.
    pub fn worker_failed(&self) {
        self.state.lock().expect("no panics hold it").workers -= 1;
    }

    /// Drops all requests of a module (they hold it), and tells those who wait.
    pub fn cancel(&self, module: &Module) {
        self.retain(|request| !request.module.same(module));
    }

    /// Drops everything; workers end after what they are doing.
    pub fn close(&self) {
        self.state.lock().expect("no panics hold it").closed = true;
        self.retain(|_| false);
        self.changed.notify_all();
    }

    fn retain(&self, keep: impl Fn(&Request) -> bool) {
        let mut state = self.state.lock().expect("no panics hold it");
        let dropped: Vec<_> = state.requests.extract_if(.., |request| !keep(request)).collect();
        drop(state);
        for request in dropped {
            request.withdraw();
            if let Some(waiter) = request.waiter {
                waiter.finish();
            }
        }
    }

    pub fn len(&self) -> usize {
        self.state.lock().expect("no panics hold it").requests.len()
    }
}

/// Where the most urgent request is.
fn most_urgent(requests: &[Request]) -> Option<usize> {
    let (index, _) = requests.iter().enumerate().max_by_key(|(_, request)| request.urgency())?;
    Some(index)
}

fn take(requests: &mut Vec<Request>) -> Option<Request> {
    most_urgent(requests).map(|index| requests.swap_remove(index))
}

/// Adds further quick functions of the same module to a quick request, as long as they are what is most urgent, and small.
fn merge(request: &mut Request, requests: &mut Vec<Request>) {
    if request.tier != Tier::Quick || request.waiter.is_some() {
        return;
    }
    let mut bytes = request.bytes();
    while request.functions.len() < tuning::QUICK_BATCH
        && let Some(index) = most_urgent(requests)
        && let next = &requests[index]
        && next.tier == Tier::Quick
        && next.waiter.is_none()
        && next.module.same(&request.module)
        && let all = bytes + next.bytes()
        && all <= tuning::QUICK_BATCH_BYTES
    {
        bytes = all;
        let next = requests.swap_remove(index);
        request.functions.extend(next.functions);
        request.osr.extend(next.osr);
    }
}

#[cfg(test)]
mod tests {
    use super::{Pushed, Queue, Request, Tier, Waiter};
    use crate::{Config, Engine, Module, Strategy, Tuning};
    use std::sync::Arc;

    /// Two small functions and a large one.
    fn module() -> Module {
        let engine = Engine::new(Config { strategy: Strategy::Interp, ..Config::default() });
        let text = format!("(module (func) (func) (func {}))", "nop ".repeat(5_000));
        Module::new(&engine, text).expect("it is valid")
    }

    fn request(module: &Module, tier: Tier, func: u32) -> Request {
        let mut request = Request::new(module, tier, 0);
        request.functions.push(func);
        request
    }

    fn charge(module: &Module, tier: Tier, func: u32, times: u64) {
        let threshold = super::threshold(&Tuning::default(), tier, module.env.body(func).len());
        module.code.functions[func as usize].charge(times * threshold);
    }

    fn popped(queue: &Queue) -> (Tier, Vec<u32>) {
        let request = queue.pop().expect("it is open");
        (request.tier, request.functions)
    }

    #[test]
    fn what_gains_most_for_its_time_goes_first() {
        let (module, queue) = (module(), Queue::default());
        charge(&module, Tier::Quick, 0, 1);
        charge(&module, Tier::Quick, 2, 3);
        assert_eq!(queue.push(request(&module, Tier::Quick, 0), 1), Pushed::StartWorker);
        queue.push(request(&module, Tier::Full, 1), 1);
        queue.push(request(&module, Tier::Quick, 2), 1);
        // Heat that is gathered while a request waits counts, and full code that is hot enough does not wait for quick code.
        charge(&module, Tier::Full, 1, 100);
        let mut waited = request(&module, Tier::Full, 0);
        waited.waiter = Some(Arc::new(Waiter::default()));
        queue.push(waited, 1);
        assert_eq!(popped(&queue), (Tier::Full, vec![0]));
        assert_eq!(popped(&queue), (Tier::Full, vec![1]));
        assert_eq!(popped(&queue), (Tier::Quick, vec![2]));
        assert_eq!(popped(&queue), (Tier::Quick, vec![0]));
    }

    /// A module with a function of two loops in a row.
    fn loops() -> Module {
        let engine = Engine::new(Config { strategy: Strategy::Interp, ..Config::default() });
        Module::new(&engine, "(module (func (loop) (loop)))").expect("it is valid")
    }

    fn loop_request(module: &Module, tier: Tier, index: u32) -> Request {
        let heat = module.code.functions[0].heat();
        assert!(module.code.begin_loop(0, index, tier, heat));
        let mut request = Request::new(module, tier, heat);
        request.osr.push((0, index));
        request
    }

    #[test]
    fn a_loop_that_is_over_is_not_compiled_and_can_be_asked_for_again() {
        let (module, queue) = (loops(), Queue::default());
        let code = &module.code;
        charge(&module, Tier::Full, 0, 1);
        assert!(code.sample_loop(0, 0, Tier::Quick).is_none());
        queue.push(loop_request(&module, Tier::Full, 0), 1);
        let heat = code.functions[0].heat();
        assert!(!code.begin_loop(0, 1, Tier::Full, heat), "one at a time");
        charge(&module, Tier::Full, 0, 9);
        assert!(code.sample_loop(0, 1, Tier::Quick).is_none());
        queue.push(request(&module, Tier::Full, 0), 1);
        let served = queue.pop().expect("the function is left");
        assert_eq!((&*served.functions, &*served.osr), (&[0][..], &[][..]));
        queue.push(loop_request(&module, Tier::Full, 1), 1);
        assert_eq!(queue.pop().expect("it runs").osr, [(0, 1)]);
        code.release_loops(0, Tier::Full, 10);
        let heat = code.functions[0].heat();
        assert!(!code.begin_loop(0, 0, Tier::Full, heat + 9));
        assert!(code.begin_loop(0, 0, Tier::Full, heat + 10));
    }

    /// Of two loops that run in turns, the other may run whenever a request is taken. It is dropped once.
    #[test]
    fn a_loop_that_comes_back_is_compiled() {
        let (module, queue) = (loops(), Queue::default());
        let code = &module.code;
        for entries in [&[][..], &[(0, 0)]] {
            charge(&module, Tier::Full, 0, 1);
            assert!(code.sample_loop(0, 0, Tier::Quick).is_none());
            queue.push(loop_request(&module, Tier::Full, 0), 1);
            charge(&module, Tier::Full, 0, 9);
            assert!(code.sample_loop(0, 1, Tier::Quick).is_none());
            queue.push(request(&module, Tier::Full, 0), 1);
            assert_eq!(queue.pop().expect("the function is left").osr, entries);
        }
    }

    #[test]
    fn what_was_cancelled_can_be_asked_for_again() {
        let (module, queue) = (loops(), Queue::default());
        let function = &module.code.functions[0];
        assert!(function.request(Tier::Quick) && !function.request(Tier::Quick));
        queue.push(request(&module, Tier::Quick, 0), 1);
        queue.push(loop_request(&module, Tier::Full, 0), 1);
        queue.cancel(&module);
        assert_eq!(queue.len(), 0);
        assert!(function.request(Tier::Quick));
        loop_request(&module, Tier::Full, 0);
    }

    #[test]
    fn small_functions_are_compiled_together() {
        let (module, queue) = (module(), Queue::default());
        for (func, times) in [(0, 3), (1, 2), (2, 1)] {
            charge(&module, Tier::Quick, func, times);
            queue.push(request(&module, Tier::Quick, func), 1);
        }
        assert_eq!(popped(&queue), (Tier::Quick, vec![0, 1]));
        assert_eq!(popped(&queue), (Tier::Quick, vec![2]));
        assert_eq!(queue.len(), 0);
    }
}
