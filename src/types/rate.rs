//! Transfer rates: bytes per second as a moving average. Time is an argument.

use std::fmt;
use std::time::{Duration, Instant};

/// Bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BytesPerSec(pub u64);

impl fmt::Display for BytesPerSec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B/s", self.0)
    }
}

/// Length of one of the slots that the average is taken over.
const SLOT: Duration = Duration::from_millis(500);
/// Slots in the average: ten seconds. Taste: long enough to be steady, short enough to follow.
const SLOTS: u8 = 20;

/// After so many slots without a byte the flow has ended: five seconds. The average alone would speak of it for minutes.
const ENDED: u8 = 10;

/// Moving average over the last ten seconds, in two numbers instead of a ring: each slot that passes takes 1/20 of
/// the remembered bytes with it, and silence takes all.
#[derive(Clone, Debug)]
pub struct RateMeter {
    slot_start: Instant,
    /// Bytes in the running slot.
    current: u64,
    /// Decayed sum of the finished slots.
    past: u64,
    /// Finished slots, up to [`SLOTS`]; fewer at the beginning, so that a new meter is right at once.
    slots: u8,
    /// Finished slots without a byte since the last one with some, up to [`ENDED`].
    silent: u8,
    total: u64,
}

impl RateMeter {
    /// A meter that has seen nothing yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { slot_start: now, current: 0, past: 0, slots: 0, silent: 0, total: 0 }
    }

    /// Counts bytes that were moved just now.
    pub fn add(&mut self, now: Instant, bytes: u64) {
        self.roll(now);
        self.current = self.current.saturating_add(bytes);
        self.total = self.total.saturating_add(bytes);
    }

    /// The average rate up to `now`.
    #[must_use]
    pub fn rate(&mut self, now: Instant) -> BytesPerSec {
        self.roll(now);
        let millis = u64::from(self.slots) * 500 + duration_ms(now.saturating_duration_since(self.slot_start));
        let bytes = self.past.saturating_add(self.current);
        BytesPerSec(bytes.saturating_mul(1000) / millis.max(500))
    }

    /// All bytes ever counted.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    fn roll(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.slot_start);
        if passed < SLOT {
            return;
        }
        let steps = duration_ms(passed) / 500;
        for _ in 0..steps.min(u64::from(SLOTS) * 8) {
            if self.slots >= SLOTS {
                self.past -= self.past.div_ceil(u64::from(SLOTS));
            } else {
                self.slots += 1;
            }
            self.silent = if self.current == 0 { self.silent.saturating_add(1).min(ENDED) } else { 0 };
            self.past = if self.silent == ENDED { 0 } else { self.past.saturating_add(self.current) };
            self.current = 0;
        }
        self.slot_start += Duration::from_millis(steps.saturating_mul(500));
    }
}

fn duration_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_steady_flow_is_measured_and_fades() {
        let start = Instant::now();
        let mut meter = RateMeter::new(start);
        let mut now = start;
        for _ in 0..300 {
            now += Duration::from_millis(100);
            meter.add(now, 10_000);
        }
        let rate = meter.rate(now).0;
        assert!((90_000..=110_000).contains(&rate), "{rate}");
        assert_eq!(meter.total(), 3_000_000);
        let fading = meter.clone().rate(now + Duration::from_secs(4)).0;
        assert!((50_000..90_000).contains(&fading), "{fading}");
        assert_eq!(meter.clone().rate(now + Duration::from_secs(6)).0, 0, "it has ended");
        meter.add(now + Duration::from_secs(60), 1_000_000);
        assert_eq!(meter.rate(now + Duration::from_secs(60)).0 / 10_000, 10, "one block is no flow of 1 MB/s");
    }
}
