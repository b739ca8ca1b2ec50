//! Timers as plain data: a heap of due times beside a table of what is due. No clock, no thread; time is an argument.
//!
//! Cancelling takes the timer out of the table only. Its heap entry stays behind, is recognised as stale by its serial
//! number when it comes up, and is swept out earlier when stale entries outnumber living ones; so insert and pop cost
//! O(log n), cancel O(1) on average, and memory stays proportional to the timers that live.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use slab::Slab;

/// Names a timer for as long as it lives; never names another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    slot: usize,
    serial: u64,
}

/// A set of timers, each holding what to hand out when it is due.
#[derive(Clone, Debug)]
pub struct Timers<E> {
    live: Slab<Timer<E>>,
    heap: BinaryHeap<Reverse<Entry>>,
    next_serial: u64,
}

impl<E: Clone> Timers<E> {
    /// No timers.
    #[must_use]
    pub fn new() -> Self {
        Self { live: Slab::new(), heap: BinaryHeap::new(), next_serial: 0 }
    }

    /// Adds a timer that is due at `due`, and then again after each `period` if there is one ([`MIN_PERIOD`] to
    /// [`MAX_PERIOD`], bounded silently).
    pub fn insert(&mut self, due: Instant, period: Option<Duration>, event: E) -> TimerId {
        let serial = self.next_serial;
        self.next_serial += 1;
        let period = period.map(|period| period.clamp(MIN_PERIOD, MAX_PERIOD));
        let slot = self.live.insert(Timer { serial, period, event });
        self.heap.push(Reverse(Entry { due, serial, slot }));
        TimerId { slot, serial }
    }

    /// Removes a timer. `false` if it has fired for good or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        if !self.lives(id.slot, id.serial) {
            return false;
        }
        self.live.remove(id.slot);
        if self.heap.len() > 2 * self.live.len() + SWEEP_SLACK {
            let live = &self.live;
            self.heap.retain(|Reverse(entry)| live.get(entry.slot).is_some_and(|timer| timer.serial == entry.serial));
        }
        true
    }

    /// What is due at `now`, earliest first, one per call; `None` when the rest lies in the future.
    ///
    /// A periodic timer keeps to the grid of its first due time and does not drift. When it is called so late that
    /// several periods have passed, they count as one.
    pub fn pop_due(&mut self, now: Instant) -> Option<E> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        let timer = self.live.get(entry.slot)?;
        let Some(period) = timer.period else {
            return Some(self.live.remove(entry.slot).event);
        };
        let event = timer.event.clone();
        let due = now + until_next_period(now.saturating_duration_since(entry.due), period);
        self.heap.push(Reverse(Entry { due, ..entry }));
        Some(event)
    }

    /// When the earliest timer is due.
    pub fn next_due(&mut self) -> Option<Instant> {
        while let Some(Reverse(entry)) = self.heap.peek() {
            if self.lives(entry.slot, entry.serial) {
                return Some(entry.due);
            }
            self.heap.pop();
        }
        None
    }

    /// How many timers live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no timer lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    fn lives(&self, slot: usize, serial: u64) -> bool {
        self.live.get(slot).is_some_and(|timer| timer.serial == serial)
    }
}

impl<E: Clone> Default for Timers<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Debug)]
struct Timer<E> {
    serial: u64,
    period: Option<Duration>,
    event: E,
}

/// Ordered by due time, then by age, so that timers due at once fire in the order in which they were set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    due: Instant,
    serial: u64,
    slot: usize,
}

/// Time from now to the next point of the grid, when the last point was `late` ago.
fn until_next_period(late: Duration, period: Duration) -> Duration {
    let into_period = late.as_nanos() % period.as_nanos().max(1);
    // Below MAX_PERIOD, which has far fewer nanoseconds than a u64 can count.
    period.saturating_sub(Duration::from_nanos(u64::try_from(into_period).unwrap_or(0)))
}

/// Shortest period of a periodic timer: shorter ones would keep a thread busy with nothing else.
pub const MIN_PERIOD: Duration = Duration::from_millis(1);
/// Longest period and delay, a hundred years: keeps every sum of times in range.
pub const MAX_PERIOD: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Stale heap entries that are tolerated however few timers live; sweeping tiny heaps is not worth it.
const SWEEP_SLACK: usize = 64;

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn drain<E: Clone>(timers: &mut Timers<E>, now: Instant) -> Vec<E> {
        std::iter::from_fn(|| timers.pop_due(now)).collect()
    }

    #[test]
    fn timers_fire_in_order_and_never_early() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.insert(at(start, 30), None, "c");
        timers.insert(at(start, 10), None, "a");
        timers.insert(at(start, 10), None, "b");
        assert_eq!(timers.next_due(), Some(at(start, 10)));
        assert_eq!(timers.pop_due(at(start, 9)), None);
        assert_eq!(drain(&mut timers, at(start, 10)), ["a", "b"]);
        assert_eq!(drain(&mut timers, at(start, 29)), [""; 0]);
        assert_eq!(drain(&mut timers, at(start, 99)), ["c"]);
        assert_eq!(timers.next_due(), None);
        assert!(timers.is_empty());
    }

    #[test]
    fn a_cancelled_timer_never_fires_and_its_id_is_not_reused() {
        let start = Instant::now();
        let mut timers = Timers::new();
        let first = timers.insert(at(start, 10), None, 1);
        assert!(timers.cancel(first));
        assert!(!timers.cancel(first));
        let second = timers.insert(at(start, 20), None, 2);
        assert_ne!(first, second);
        assert!(!timers.cancel(first), "the slot is taken by another timer now");
        assert_eq!(timers.next_due(), Some(at(start, 20)));
        assert_eq!(drain(&mut timers, at(start, 20)), [2]);
        assert!(!timers.cancel(second), "it has fired");
    }

    #[test]
    fn a_periodic_timer_keeps_to_its_grid_however_late_it_is_asked() {
        let start = Instant::now();
        let mut timers = Timers::new();
        let id = timers.insert(at(start, 100), Some(Duration::from_millis(100)), ());
        for k in 1..=1000 {
            let late = k % 90;
            assert_eq!(drain(&mut timers, at(start, 100 * k + late)).len(), 1);
            assert_eq!(timers.next_due(), Some(at(start, 100 * (k + 1))));
        }
        assert_eq!(drain(&mut timers, at(start, 200_050)).len(), 1, "a thousand missed periods count as one");
        assert_eq!(timers.next_due(), Some(at(start, 200_100)));
        assert!(timers.cancel(id));
        assert_eq!(timers.next_due(), None);
    }

    #[test]
    fn extreme_periods_are_bounded() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.insert(start, Some(Duration::ZERO), "fast");
        timers.insert(start, Some(Duration::MAX), "slow");
        assert_eq!(drain(&mut timers, start), ["fast", "slow"]);
        assert_eq!(timers.next_due(), Some(start + MIN_PERIOD));
    }

    #[test]
    fn ten_thousand_timers_half_of_them_cancelled_fire_in_order() {
        let start = Instant::now();
        let mut timers = Timers::new();
        let mut rng = fastrand::Rng::with_seed(7);
        let ids: Vec<_> = (0..10_000)
            .map(|_| rng.u64(0..1_000_000))
            .map(|due| (due, timers.insert(at(start, due), None, due)))
            .collect();
        let mut expected: Vec<u64> = Vec::new();
        for (k, (due, id)) in ids.iter().enumerate() {
            if k % 2 == 0 { assert!(timers.cancel(*id)) } else { expected.push(*due) }
        }
        expected.sort_unstable();
        assert_eq!(timers.len(), 5_000);
        assert_eq!(drain(&mut timers, at(start, 1_000_000)), expected);
    }

    #[test]
    fn setting_and_cancelling_for_ever_does_not_grow() {
        let start = Instant::now();
        let mut timers = Timers::new();
        for k in 0..100_000 {
            let id = timers.insert(at(start, k), None, ());
            assert!(timers.cancel(id));
        }
        assert!(timers.heap.len() <= SWEEP_SLACK + 1, "{}", timers.heap.len());
    }
}
