//! The scheduler thread: publishes events later, or again and again.
//!
//! It owns nothing but due times (in [`Timers`]) and sleeps until the next one. Events may come late, never early, and
//! periodic ones do not drift. It never waits for a subscriber: an event that nobody takes is logged and gone.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::bus::{Bus, PublishError};
use super::clock::Clock;
use super::lock;
use super::timers::{MAX_PERIOD, TimerId, Timers};
use super::topic::Event;

/// Publishes events at a later time. Clones are handles to the same thread, which ends with [`stop`](Self::stop) or
/// with the last handle.
pub struct Scheduler<E: Event> {
    core: Arc<Core<E>>,
}

impl<E: Event> Scheduler<E> {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(bus: Bus<E>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            agenda: Mutex::new(Agenda { timers: Timers::new(), stopped: false }),
            changed: Condvar::new(),
            clock,
        });
        let weak: Weak<Shared<E>> = Arc::downgrade(&shared);
        shared.clock.on_jump(Arc::new(move || {
            if let Some(shared) = weak.upgrade() {
                // Taking the lock makes sure that the thread is either asleep or yet to look at the clock.
                drop(lock(&shared.agenda));
                shared.changed.notify_all();
            }
        }));
        let for_thread = shared.clone();
        let thread = super::spawn("scheduler", move || run(&for_thread, &bus))?;
        Ok(Self { core: Arc::new(Core { shared, thread: Mutex::new(Some(thread)) }) })
    }

    /// Publishes `event` once, after `delay` (at most a hundred years).
    pub fn after(&self, delay: Duration, event: E) -> TimerId {
        self.core.shared.insert(delay, None, event)
    }

    /// Publishes `event` after each `period` (at least 1 ms). Periods that the thread slept through count as one.
    pub fn every(&self, period: Duration, event: E) -> TimerId {
        self.core.shared.insert(period, Some(period), event)
    }

    /// Takes a timer back. `false` if it has fired for good or was cancelled before; its event may then be on its way.
    #[must_use = "tells whether the event may still arrive"]
    pub fn cancel(&self, id: TimerId) -> bool {
        lock(&self.core.shared.agenda).timers.cancel(id)
    }

    /// Ends the thread and waits for it. Nothing is published afterwards; a second call does nothing.
    pub fn stop(&self) {
        self.core.stop();
    }
}

impl<E: Event> Clone for Scheduler<E> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

/// What all handles share, and the thread does not: so the last handle can end it.
struct Core<E: Event> {
    shared: Arc<Shared<E>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<E: Event> Core<E> {
    fn stop(&self) {
        lock(&self.shared.agenda).stopped = true;
        self.shared.changed.notify_all();
        let Some(thread) = lock(&self.thread).take() else { return };
        // A wake hook runs on the scheduler's own thread and may hold the last handle.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            log::error!("the scheduler thread panicked");
        }
    }
}

impl<E: Event> Drop for Core<E> {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Shared<E: Event> {
    agenda: Mutex<Agenda<E>>,
    changed: Condvar,
    clock: Arc<dyn Clock>,
}

struct Agenda<E: Event> {
    timers: Timers<E>,
    stopped: bool,
}

impl<E: Event> Shared<E> {
    fn insert(&self, delay: Duration, period: Option<Duration>, event: E) -> TimerId {
        let due = self.clock.now() + delay.min(MAX_PERIOD);
        let mut agenda = lock(&self.agenda);
        let earliest = agenda.timers.next_due().is_none_or(|next| due < next);
        let id = agenda.timers.insert(due, period, event);
        drop(agenda);
        if earliest {
            self.changed.notify_all();
        }
        id
    }
}

fn run<E: Event>(shared: &Shared<E>, bus: &Bus<E>) {
    let mut agenda = lock(&shared.agenda);
    while !agenda.stopped {
        let now = shared.clock.now();
        if let Some(event) = agenda.timers.pop_due(now) {
            drop(agenda); // a hook called by publish may set or cancel a timer
            publish(bus, event);
            agenda = lock(&shared.agenda);
            continue;
        }
        agenda = match agenda.timers.next_due() {
            Some(due) => {
                let pause = due.saturating_duration_since(now);
                shared.changed.wait_timeout(agenda, pause).unwrap_or_else(PoisonError::into_inner).0
            }
            None => shared.changed.wait(agenda).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

fn publish<E: Event>(bus: &Bus<E>, event: E) {
    match bus.publish(event) {
        Ok(()) => {}
        Err(error @ PublishError::NoSubscriber(_)) => debug!("scheduled event lost: {error}"),
        Err(error @ PublishError::Full { .. }) => log::warn!("scheduled event lost: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::{SystemClock, VirtualClock};
    use super::super::tests::{Said, Topic};
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn virtual_scheduler() -> (Bus<Said>, Arc<VirtualClock>, Scheduler<Said>) {
        let bus = Bus::new();
        let clock = Arc::new(VirtualClock::new());
        let scheduler = Scheduler::start(bus.clone(), clock.clone()).unwrap();
        (bus, clock, scheduler)
    }

    #[test]
    fn a_periodic_event_does_not_drift() {
        let (bus, clock, scheduler) = virtual_scheduler();
        let heard = bus.subscribe("test", &[Topic::State], 8);
        scheduler.every(Duration::from_millis(100), Said::State(1));
        for step in 1..=300_u64 {
            clock.advance(Duration::from_millis(70));
            // The grid points between the last step and this one, none or one: exactly those must be heard.
            if step * 70 / 100 > (step - 1) * 70 / 100 {
                assert_eq!(heard.recv_timeout(SOON), Ok(Said::State(1)), "step {step}");
            }
        }
        scheduler.stop();
        assert_eq!(heard.try_recv(), None);
        assert_eq!(heard.dropped(), 0);
    }

    #[test]
    fn nothing_fires_early_and_a_cancelled_event_not_at_all() {
        let (bus, clock, scheduler) = virtual_scheduler();
        let heard = bus.subscribe("test", &[Topic::State], 8);
        let cancelled = scheduler.after(Duration::from_secs(5), Said::State(5));
        scheduler.after(Duration::from_secs(10), Said::State(10));
        assert!(scheduler.cancel(cancelled));
        assert!(!scheduler.cancel(cancelled));
        clock.advance(Duration::from_millis(9_999));
        assert_eq!(heard.recv_timeout(Duration::from_millis(20)), Err(super::super::RecvError::Timeout));
        clock.advance(Duration::from_millis(1));
        assert_eq!(heard.recv_timeout(SOON), Ok(Said::State(10)));
    }

    #[test]
    fn ten_thousand_timers_fire_once_each_in_order() {
        let (bus, clock, scheduler) = virtual_scheduler();
        let heard = bus.subscribe("test", &[Topic::State], 20_000);
        let mut order: Vec<u64> = (0..10_000).collect();
        fastrand::Rng::with_seed(3).shuffle(&mut order);
        for seconds in order {
            scheduler.after(Duration::from_secs(seconds), Said::State(seconds));
        }
        clock.advance(Duration::from_secs(10_000));
        for seconds in 0..10_000 {
            assert_eq!(heard.recv_timeout(SOON), Ok(Said::State(seconds)));
        }
        scheduler.stop();
        assert!(!heard.has_messages());
    }

    #[test]
    fn real_time_works_and_stop_is_prompt_with_timers_far_away() {
        let bus = Bus::new();
        let heard = bus.subscribe("test", &[Topic::State], 8);
        let scheduler = Scheduler::start(bus.clone(), Arc::new(SystemClock)).unwrap();
        scheduler.after(Duration::MAX, Said::State(0));
        let began = SystemClock.now();
        scheduler.clone().after(Duration::from_millis(30), Said::State(1));
        assert_eq!(heard.recv_timeout(SOON), Ok(Said::State(1)));
        assert!(SystemClock.now() - began >= Duration::from_millis(30));
        scheduler.stop();
        scheduler.stop();
        drop(bus);
        drop(scheduler);
        assert_eq!(heard.recv(), Err(super::super::RecvError::Closed), "the thread has let go of the bus");
    }

    #[test]
    fn the_thread_ends_with_the_last_handle() {
        let (bus, _, scheduler) = virtual_scheduler();
        let heard = bus.subscribe("test", &[Topic::State], 8);
        drop(bus);
        drop(scheduler);
        assert_eq!(heard.recv(), Err(super::super::RecvError::Closed));
    }

    #[test]
    fn an_event_that_nobody_wants_does_no_harm() {
        let (bus, clock, scheduler) = virtual_scheduler();
        scheduler.after(Duration::from_secs(1), Said::Command(0));
        scheduler.after(Duration::from_secs(2), Said::State(2));
        let heard = bus.subscribe("test", &[Topic::State], 8);
        clock.advance(Duration::from_secs(2));
        assert_eq!(heard.recv_timeout(SOON), Ok(Said::State(2)));
    }
}
