//! Things that are to happen at a time: deadlines, and looks at the clock. One thread serves the whole process while there are any.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What happens; it tells when it is to happen again.
type Action = Box<dyn FnMut() -> Option<Instant> + Send>;

/// Something that is to happen. Dropping it calls it off, and waits until it is over if it is happening.
#[derive(Debug)]
pub struct Timer {
    number: u64,
}

#[derive(Default)]
struct Timers {
    /// By time, and in the order in which they were made.
    due: BTreeMap<(Instant, u64), Action>,
    next: u64,
    /// Whether the thread runs.
    served: bool,
    /// What is happening, and whether it was called off meanwhile.
    happening: Option<(u64, std::thread::ThreadId)>,
    called_off: bool,
}

static TIMERS: Mutex<Option<Timers>> = Mutex::new(None);
/// There is something new, or something is over.
static CHANGED: Condvar = Condvar::new();

/// How long the thread stays when there is nothing to do.
const IDLE: Duration = Duration::from_millis(200);

impl Timer {
    /// Has `action` called at this time, and again whenever it says. It must not block for long.
    ///
    /// # Errors
    /// From the system, if there is no thread to be had.
    pub fn start(
        at: Instant,
        action: impl FnMut() -> Option<Instant> + Send + 'static,
    ) -> std::io::Result<Timer> {
        let mut guard = TIMERS.lock().unwrap_or_else(PoisonError::into_inner);
        let timers = guard.get_or_insert_default();
        if !timers.served {
            std::thread::Builder::new().name("updraft-timer".into()).spawn(serve)?;
            timers.served = true;
        }
        timers.next += 1;
        let number = timers.next;
        timers.due.insert((at, number), Box::new(action));
        CHANGED.notify_all();
        Ok(Timer { number })
    }
}

impl Timer {
    /// Lets the action go on until it says no more.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut guard = TIMERS.lock().unwrap_or_else(PoisonError::into_inner);
        let me = std::thread::current().id();
        while let Some(timers) = guard.as_mut() {
            match timers.happening {
                // An action that ends what it belongs to must not wait for itself.
                Some((number, by)) if number == self.number && by == me => {
                    timers.called_off = true;
                    return;
                }
                Some((number, _)) if number == self.number => {
                    timers.called_off = true;
                    guard = CHANGED.wait(guard).unwrap_or_else(PoisonError::into_inner);
                }
                _ => {
                    let action = timers.due.extract_if(.., |key, _| key.1 == self.number).next();
                    drop(guard);
                    // It may hold anything, and is dropped without the lock.
                    drop(action);
                    return;
                }
            }
        }
    }
}

/// The thread.
fn serve() {
    let me = std::thread::current().id();
    let mut guard = TIMERS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut idle_since = None;
    while let Some(timers) = guard.as_mut() {
        let now = Instant::now();
        let wait = match timers.due.first_key_value() {
            Some(((at, _), _)) if *at <= now => {
                idle_since = None;
                let Some(((_, number), mut action)) = timers.due.pop_first() else { continue };
                (timers.happening, timers.called_off) = (Some((number, me)), false);
                drop(guard);
                let again = action();
                guard = TIMERS.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(timers) = guard.as_mut() else { return };
                match again.filter(|_| !timers.called_off) {
                    Some(at) => {
                        timers.due.insert((at, number), action);
                        timers.happening = None;
                    }
                    None => {
                        // It may hold anything, and is dropped without the lock, before anybody hears that it is over.
                        drop(guard);
                        drop(action);
                        guard = TIMERS.lock().unwrap_or_else(PoisonError::into_inner);
                        if let Some(timers) = guard.as_mut() {
                            timers.happening = None;
                        }
                    }
                }
                CHANGED.notify_all();
                continue;
            }
            Some(((at, _), _)) => {
                idle_since = None;
                *at - now
            }
            None => {
                let left = IDLE.saturating_sub(now - *idle_since.get_or_insert(now));
                if left.is_zero() {
                    timers.served = false;
                    return;
                }
                left
            }
        };
        guard = CHANGED.wait_timeout(guard, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::sync::{Arc, mpsc};

    #[test]
    fn timers_happen_in_order_and_again() {
        let (sender, receiver) = mpsc::channel();
        let now = Instant::now();
        let timers: Vec<_> = [30, 10, 20]
            .map(|ms| {
                let sender = sender.clone();
                let mut left = 2;
                let action = move || {
                    left -= 1;
                    sender.send((ms, left)).unwrap();
                    (left > 0).then(|| now + Duration::from_millis(ms + 100))
                };
                Timer::start(now + Duration::from_millis(ms), action).unwrap()
            })
            .into();
        let order: Vec<_> = (0..6).map(|_| receiver.recv().unwrap()).collect();
        assert_eq!(order, [(10, 1), (20, 1), (30, 1), (10, 0), (20, 0), (30, 0)]);
        drop(timers);
    }

    #[test]
    fn nothing_happens_after_it_was_called_off() {
        for _ in 0..200 {
            let happened = Arc::new(AtomicU32::new(0));
            let count = happened.clone();
            let timer = Timer::start(Instant::now(), move || {
                count.fetch_add(1, SeqCst);
                Some(Instant::now())
            });
            drop(timer.unwrap());
            let times = happened.load(SeqCst);
            std::thread::yield_now();
            assert_eq!(happened.load(SeqCst), times);
            assert_eq!(Arc::strong_count(&happened), 1, "the action is gone");
        }
    }
}
