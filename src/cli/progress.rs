//! The progress of one transfer: a bar on a terminal, a plain line now and then elsewhere. Progress goes to standard
//! error; what a script may want to read, the port and the outcome, to standard output.

use std::cell::RefCell;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::bar::Bar;
use super::output::{duration, peers, size, whole_percent};
use crate::types::Printable;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Time between two plain lines that say the same.
const SAME_LINE_EVERY: Duration = Duration::from_secs(60);

/// How far one transfer is.
#[derive(Debug)]
pub(super) struct Picture<'a> {
    /// Name of the torrent.
    pub(super) name: &'a str,
    /// Bytes done.
    pub(super) done: u64,
    /// All bytes; 0 while nobody knows.
    pub(super) total: u64,
    /// What happens, in a few words. Foreign text in it is cleaned already.
    pub(super) doing: String,
}

/// Shows how far one transfer is, for whoever watches.
pub(super) struct Progress {
    bar: Option<Bar>,
    last_line: RefCell<Option<(Instant, String)>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { bar: Bar::new(), last_line: RefCell::new(None) }
    }

    /// A result: one line on standard output.
    pub(super) fn tell(&self, line: &str) {
        // Whoever does not read it any more is no reason to end the transfer.
        self.above_the_bar(|| drop(writeln!(io::stdout().lock(), "{}", Printable(line))));
    }

    /// One line that stays, on standard error.
    pub(super) fn say(&self, line: &str) {
        self.above_the_bar(|| drop(writeln!(io::stderr().lock(), "{}", Printable(line))));
    }

    fn above_the_bar(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.above(print),
            None => print(),
        }
    }

    /// Draws the picture, or prints it if it is time for another line.
    #[expect(clippy::disallowed_methods, reason = "how often lines are printed is a matter of real time")]
    pub(super) fn show(&self, picture: &Picture<'_>) {
        let Picture { name, done, total, doing } = picture;
        if let Some(bar) = &self.bar {
            bar.draw(*done, *total, &format!("{doing}, {}", Printable(name)));
            return;
        }
        let now = Instant::now();
        let percent = whole_percent(*done, *total);
        let line = format!("{}: {percent}% {doing}", Printable(name));
        let due = self.last_line.borrow().as_ref().is_none_or(|(last, old)| {
            now.duration_since(*last) >= if *old == line { SAME_LINE_EVERY } else { LINE_EVERY }
        });
        if due {
            self.say(&line);
            self.last_line.replace(Some((now, line)));
        }
    }

    /// Takes the bar away: what comes next says how it ended.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.clear();
        }
    }
}

/// What a download does, in a few words; the most important ones first, the end may be cut.
pub(super) fn fetching(done: u64, total: u64, rate: u64, connected: u64, left: Option<u64>) -> String {
    let (done, total) = (size(done), size(total));
    if connected == 0 {
        return format!("{done} of {total}, no peers yet");
    }
    let left = left.map(|seconds| format!(", {} left", duration(seconds))).unwrap_or_default();
    format!("{done} of {total}, {}/s, {}{left}", size(rate), peers(connected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_download_fit_beside_the_bar_on_80_columns() {
        let longest = fetching(1023 << 20, 1023 << 20, 1023 << 20, 60, Some(3599));
        assert_eq!(longest, "1023.0 MiB of 1023.0 MiB, 1023.0 MiB/s, 60 peers, 59 min 59 s left");
        assert!("100% ".len() + "1023.0 MiB of 1023.0 MiB, 1023.0 MiB/s".len() <= 60, "on a narrow terminal, too");
        assert_eq!(fetching(1024, 2048, 0, 0, None), "1.0 KiB of 2.0 KiB, no peers yet");
    }
}
