//! Shows how far hashing is: a bar on a terminal, a line per tenth elsewhere. Standard error only.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::bar::Bar;
use super::output::{duration, size};

/// Below this many bytes there is nothing to wait for, and no lines are printed.
const WORTH_A_LINE: u64 = 256 * 1024 * 1024;

/// Progress of one run. Shared by the hashing threads.
pub(super) struct HashProgress {
    bar: Option<Bar>,
    /// Bytes done, as far as the threads have told.
    done: AtomicU64,
    /// Tenths printed so far.
    tenths: AtomicU64,
    /// When the first bytes were told, and how many they were: rates count from there.
    first: OnceLock<(Instant, u64)>,
}

impl HashProgress {
    pub(super) fn new() -> Self {
        Self { bar: Bar::new(), done: AtomicU64::new(0), tenths: AtomicU64::new(0), first: OnceLock::new() }
    }

    /// `done` of `total` bytes are hashed.
    #[expect(clippy::disallowed_methods, reason = "the rate that a person sees is one of real time")]
    pub(super) fn update(&self, done: u64, total: u64) {
        // The threads may report out of order.
        let done = self.done.fetch_max(done, Ordering::Relaxed).max(done);
        if let Some(bar) = &self.bar {
            let (start, before) = *self.first.get_or_init(|| (Instant::now(), done));
            bar.draw(done, total, &words(done, total, done.saturating_sub(before), start.elapsed().as_millis()));
        } else if total >= WORTH_A_LINE {
            let now = done / (total / 10);
            if self.tenths.fetch_max(now, Ordering::Relaxed) < now {
                // Progress that nobody can read is no reason to stop.
                let _ = writeln!(std::io::stderr(), "hashed {}%", now * 10);
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.clear();
        }
    }
}

/// How far it is, how fast, and for how long yet; `since` bytes took `millis`.
fn words(done: u64, total: u64, since: u64, millis: u128) -> String {
    let rate = u64::try_from(u128::from(since) * 1000 / millis.max(1)).unwrap_or(u64::MAX);
    let so_far = format!("{} of {}", size(done), size(total));
    match total.saturating_sub(done).checked_div(rate) {
        Some(left) => format!("{so_far}, {}/s, {} left", size(rate), duration(left)),
        None => so_far,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_are_told_once_something_was_seen_moving() {
        assert_eq!(words(1 << 20, 4 << 20, 0, 0), "1.0 MiB of 4.0 MiB");
        assert_eq!(words(2 << 20, 4 << 20, 1 << 20, 500), "2.0 MiB of 4.0 MiB, 2.0 MiB/s, 1 s left");
        assert_eq!(words(u64::MAX, 0, u64::MAX, 1), "16383.9 PiB of 0 B, 16383.9 PiB/s, 0 s left");
    }
}
