//! Waking up at a fixed interval, as cheaply as the system lets a thread.
//!
//! A thread that sleeps until its next tick has the processor's timer set twice for each: when the timer has fired, for whatever else is
//! due, and again for the sleep. Under a hypervisor each of these costs more than all that a tick does. So the system's timers
//! (timer_create(2)) are set for many ticks ahead: when one fires, the processor's timer is set for the next, and that is all.

use super::stop_signal;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::thread::JoinHandle;
use std::time::Duration;

/// Ticks for which timers are set at once.
const AHEAD: usize = 16;
/// Ticks that a thread sleeps for before it makes timers: those of a short life are not worth it.
const ASLEEP: u32 = 2 * AHEAD as u32;

/// Wakes the thread that made it.
#[derive(Debug)]
pub struct Ticks {
    interval: Duration,
    /// When the next tick is due, by the system's monotonic clock.
    due: Duration,
    /// How many ticks are left to sleep for; never 0 if the system gives no timers.
    asleep: u32,
    /// What has been made; they are set for the ticks from the first to the last, and have fired up to `fired`.
    timers: Vec<libc::timer_t>,
    fired: usize,
    /// The signal by which timers, and [`wake`], tell.
    signals: libc::sigset_t,
    not_send: PhantomData<*mut ()>,
}

impl Ticks {
    /// Ticks of this interval for the calling thread, which gets no stop signals from here on.
    #[must_use]
    pub fn new(interval: Duration) -> Ticks {
        // SAFETY: makes a set, and blocks what is in it for this thread.
        let signals = unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), stop_signal());
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
            set.assume_init()
        };
        let (due, timers) = (now() + interval, Vec::new());
        Ticks { interval, due, asleep: ASLEEP, timers, fired: 0, signals, not_send: PhantomData }
    }

    /// Waits for the next tick, or for [`wake`]. Ticks that were missed are not made up for.
    pub fn wait(&mut self) {
        if self.asleep == 0 && self.fired == self.timers.len() {
            self.set();
        }
        if self.asleep > 0 {
            self.asleep -= 1;
            self.take(Some(self.due.saturating_sub(now())));
            self.due = (self.due + self.interval).max(now());
            return;
        }
        self.take(None);
        // The timer that is next, and those behind it, are due later. What has fired meanwhile is not waited for any more.
        let now = now();
        while self.fired < self.timers.len() && self.due <= now && self.take(Some(Duration::ZERO)) {
        }
    }

    /// Takes a signal; false if none comes in time.
    fn take(&mut self, most: Option<Duration>) -> bool {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let timeout = most.map(timespec);
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: waits for a signal that is blocked.
        let taken =
            unsafe { libc::sigtimedwait(&raw const self.signals, info.as_mut_ptr(), timeout) >= 0 };
        // SAFETY: zeroed, or filled by the call.
        let info = unsafe { info.assume_init() };
        if taken && info.si_code == libc::SI_TIMER {
            // SAFETY: a timer's signal has the value that the timer was made with.
            let index = unsafe { info.si_value() }.sival_ptr as usize;
            // Later than any that fired before, but for one of the round before this.
            let fired = (index + 1).clamp(self.fired, self.timers.len());
            self.due += self.interval * (fired - self.fired) as u32;
            self.fired = fired;
        }
        taken
    }

    /// Sets all timers, for the ticks from the next one on.
    fn set(&mut self) {
        while self.timers.len() < AHEAD {
            // SAFETY: all zeros is valid.
            let mut event: libc::sigevent = unsafe { MaybeUninit::zeroed().assume_init() };
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = stop_signal();
            event.sigev_value.sival_ptr = ptr::without_provenance_mut(self.timers.len());
            event.sigev_notify_thread_id = rustix::thread::gettid().as_raw_pid();
            let mut timer = MaybeUninit::<libc::timer_t>::uninit();
            // SAFETY: a timer for the calling thread, where the signal is blocked.
            let made = unsafe {
                libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, timer.as_mut_ptr())
            };
            if made != 0 {
                // Of what a user may have of signals that wait, nothing is left: sleeping does as well.
                self.delete();
                self.asleep = u32::MAX;
                return;
            }
            // SAFETY: filled by the successful call.
            self.timers.push(unsafe { timer.assume_init() });
        }
        self.due = self.due.max(now());
        self.fired = 0;
        let mut at = self.due;
        for timer in &self.timers {
            let time = libc::itimerspec {
                it_interval: timespec(Duration::ZERO),
                // All zeros would be no time at all.
                it_value: timespec(at.max(Duration::from_nanos(1))),
            };
            // SAFETY: sets a timer that lives.
            unsafe {
                libc::timer_settime(*timer, libc::TIMER_ABSTIME, &raw const time, ptr::null_mut())
            };
            at += self.interval;
        }
    }

    fn delete(&mut self) {
        for timer in self.timers.drain(..) {
            // SAFETY: it was made, and is not used again.
            unsafe { libc::timer_delete(timer) };
        }
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.delete();
    }
}

/// Ends the wait for a tick in a thread that uses [`Ticks`], or the next wait if there is none now. Handlers have been installed.
pub fn wake(thread: &JoinHandle<()>) {
    // SAFETY: it was not joined. Until it blocks the signal, there is a handler that does nothing on such a thread.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), stop_signal()) };
}

fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{AHEAD, ASLEEP, Ticks, wake};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn ticks_are_not_closer_than_their_interval() {
        let interval = Duration::from_millis(2);
        let rounds = ASLEEP + 3 * AHEAD as u32;
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            let mut ticks = Ticks::new(interval);
            (0..rounds).for_each(|_| ticks.wait());
            assert_eq!(ticks.timers.len(), AHEAD);
            start.elapsed()
        });
        let took = thread.join().expect("it does not panic");
        assert!(took >= interval * rounds, "{took:?}");
    }

    #[test]
    fn a_wait_can_be_ended() {
        let told = std::sync::Arc::new(AtomicBool::new(false));
        let seen = told.clone();
        crate::Store::new(&crate::Engine::default()).expect("it installs the handlers");
        let thread = std::thread::spawn(move || {
            let mut ticks = Ticks::new(Duration::from_secs(3600));
            while !seen.load(Ordering::Acquire) {
                ticks.wait();
            }
        });
        told.store(true, Ordering::Release);
        wake(&thread);
        thread.join().expect("it does not panic");
    }
}
