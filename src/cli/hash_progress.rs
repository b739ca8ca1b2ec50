//! Shows how far hashing is: a bar on a terminal, a line per tenth elsewhere. Standard error only.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

/// Below this many bytes there is nothing to wait for, and no lines are printed.
const WORTH_A_LINE: u64 = 256 * 1024 * 1024;

/// Progress of one run. Shared by the hashing threads.
pub(super) enum HashProgress {
    Bar(ProgressBar),
    /// Tenths printed so far.
    Lines(AtomicU64),
}

impl HashProgress {
    pub(super) fn new() -> Self {
        let template = "{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::no_length().with_style(style);
        // Hidden: no terminal, or one that cannot move its cursor.
        if bar.is_hidden() { Self::Lines(AtomicU64::new(0)) } else { Self::Bar(bar) }
    }

    /// `done` of `total` bytes are hashed.
    pub(super) fn update(&self, done: u64, total: u64) {
        match self {
            Self::Bar(bar) => {
                bar.set_length(total);
                // The threads may report out of order.
                bar.set_position(done.max(bar.position()));
            }
            Self::Lines(tenths) if total >= WORTH_A_LINE => {
                let now = done / (total / 10);
                if tenths.fetch_max(now, Ordering::Relaxed) < now {
                    // Progress that nobody can read is no reason to stop.
                    let _ = writeln!(std::io::stderr(), "hashed {}%", now * 10);
                }
            }
            Self::Lines(_) => {}
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
