//! How long the loop's turns take: while one lasts, every peer waits.
//!
//! A turn begins when the poll returns and ends when the next one begins. No clock is read for it: both moments are
//! known to the loop anyway, but for a poll that does not wait, whose microseconds count as the turn's.

use std::time::{Duration, Instant};

/// The last minute, in slots; the oldest goes as a whole.
const SLOTS: usize = 6;
const SLOT: Duration = Duration::from_secs(10);

/// What the turns took so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnStats {
    /// Turns so far.
    pub count: u64,
    /// The longest one.
    pub longest: Duration,
    /// The longest one of the last minute.
    pub longest_lately: Duration,
}

/// Measures turns.
#[derive(Debug)]
pub(super) struct Turns {
    began: Option<Instant>,
    count: u64,
    longest: Duration,
    slots: [Duration; SLOTS],
    /// When the present slot began.
    slot_began: Instant,
    /// Number of the present slot, counted from the start.
    slot: usize,
}

impl Turns {
    pub(super) fn new(now: Instant) -> Self {
        let slots = [Duration::ZERO; SLOTS];
        Self { began: None, count: 0, longest: Duration::ZERO, slots, slot_began: now, slot: 0 }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// The turn that began last is over. Does nothing if that is known.
    pub(super) fn end(&mut self, now: Instant) {
        let Some(began) = self.began.take() else { return };
        let took = now.saturating_duration_since(began);
        self.count += 1;
        self.longest = self.longest.max(took);
        self.move_on(now);
        if let Some(slot) = self.slots.get_mut(self.slot % SLOTS) {
            *slot = took.max(*slot);
        }
    }

    pub(super) fn stats(&mut self, now: Instant) -> TurnStats {
        self.move_on(now);
        let longest_lately = self.slots.iter().copied().max().unwrap_or_default();
        TurnStats { count: self.count, longest: self.longest, longest_lately }
    }

    /// Makes the slot of this moment the present one.
    fn move_on(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.slot_began);
        if since < SLOT {
            return;
        }
        if since >= SLOT * u32::try_from(SLOTS).unwrap_or(u32::MAX) {
            self.slots = [Duration::ZERO; SLOTS];
            self.slot_began = now;
            return;
        }
        while now.saturating_duration_since(self.slot_began) >= SLOT {
            self.slot_began += SLOT;
            self.slot += 1;
            if let Some(slot) = self.slots.get_mut(self.slot % SLOTS) {
                *slot = Duration::ZERO;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_longest_turn_stays_and_the_last_minute_moves_on() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        let mut turn = |at: Duration, took: Duration| {
            turns.begin(start + at);
            turns.end(start + at + took);
            turns.stats(start + at + took)
        };
        assert_eq!(turn(MS, 7 * MS), TurnStats { count: 1, longest: 7 * MS, longest_lately: 7 * MS });
        assert_eq!(turn(25 * SLOT / 10, 3 * MS).longest_lately, 7 * MS);
        assert_eq!(turn(61 * SLOT / 10, MS).longest_lately, 3 * MS);
        assert_eq!(turn(85 * SLOT / 10, MS), TurnStats { count: 4, longest: 7 * MS, longest_lately: MS });
        assert_eq!(turn(400 * SLOT, 2 * MS), TurnStats { count: 5, longest: 7 * MS, longest_lately: 2 * MS });
    }

    #[test]
    fn a_turn_ends_once() {
        let start = Instant::now();
        let mut turns = Turns::new(start);
        turns.begin(start);
        turns.end(start + MS);
        turns.end(start + 9 * MS);
        assert_eq!(turns.stats(start), TurnStats { count: 1, longest: MS, longest_lately: MS });
    }
}
