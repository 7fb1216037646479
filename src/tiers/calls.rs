//! How often functions are called, in each tier.
//!
//! Every instance counts for itself: a counter that threads share would cost more than what it counts. Sums are made when somebody
//! asks.

use super::Tier;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use updraft_jit::abi::{CALL_TIERS, calls_index};

/// The counters of an instance, as [`updraft_jit::abi::VmContext::calls`] has them.
pub(crate) type Counters = Arc<[AtomicU64]>;

/// The calls of a module's functions.
pub(crate) struct Calls {
    functions: usize,
    counted: Mutex<Counted>,
    /// Bits of the tiers in which each function has been called.
    called: Box<[AtomicU8]>,
}

#[derive(Default)]
struct Counted {
    /// Of instances that are gone.
    gone: Vec<u64>,
    living: Vec<Counters>,
}

impl Calls {
    /// For so many functions.
    pub fn new(functions: usize) -> Calls {
        let called = (0..functions).map(|_| AtomicU8::new(0)).collect();
        Calls { functions, counted: Mutex::default(), called }
    }

    /// Counters for a new instance.
    pub fn add(&self) -> Counters {
        let length = self.functions * CALL_TIERS as usize;
        let counters: Counters = (0..length).map(|_| AtomicU64::new(0)).collect();
        self.lock().living.push(counters.clone());
        counters
    }

    /// An instance is gone.
    pub fn remove(&self, counters: &Counters) {
        let mut counted = self.lock();
        counted.living.retain(|living| !Arc::ptr_eq(living, counters));
        counted.gone.resize(counters.len(), 0);
        for (sum, counter) in counted.gone.iter_mut().zip(&**counters) {
            *sum += counter.load(Ordering::Relaxed);
        }
    }

    /// The calls of each function up to now, by tier.
    pub fn sums(&self) -> Vec<[u64; CALL_TIERS as usize]> {
        let counted = self.lock();
        let sum = |index: usize| {
            let living = counted.living.iter().map(|c| c[index].load(Ordering::Relaxed));
            counted.gone.get(index).copied().unwrap_or(0) + living.sum::<u64>()
        };
        let tiers = |func| [0, 1, 2].map(|tier| sum(calls_index(func, tier)));
        (0..self.functions as u32).map(tiers).collect()
    }

    /// Notes that a function was called in a tier; true the first time.
    pub fn first(&self, func: u32, tier: Tier) -> bool {
        let bit = 1 << tier as u8;
        self.called[func as usize].fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
