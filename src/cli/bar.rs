//! One line at the bottom of a terminal, drawn again and again: how far something is. Standard error only.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::output::{columns, cut, whole_percent};

/// Time between two drawings: more often nobody reads, and a thread that hashes has better things to do.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Columns of the bar itself.
const WIDTH: usize = 16;
/// On a terminal with fewer columns the words get the room of the bar.
const ROOM_FOR_A_BAR: usize = 60;
/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;
/// Erases the line (ECMA-48 EL) with the cursor put back to its beginning.
const ERASE: &str = "\r\x1b[2K";

/// The line. Any thread may draw.
pub(super) struct Bar {
    drawn: Mutex<Drawn>,
}

#[derive(Default)]
struct Drawn {
    /// What stands on the terminal now; empty: nothing.
    line: String,
    last: Option<Instant>,
}

impl Bar {
    /// None if standard error is no terminal, or one that cannot move its cursor.
    pub(super) fn new() -> Option<Self> {
        let able = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        (able && io::stderr().is_terminal()).then(|| Self { drawn: Mutex::default() })
    }

    /// Draws how far it is and some words, if the last drawing is long enough ago and nobody else draws: whoever works goes
    /// on working while the terminal is stopped (Ctrl-S). What does not fit is cut: a line that wraps cannot be drawn again.
    #[expect(clippy::disallowed_methods, reason = "how often a person sees something new is a matter of real time")]
    pub(super) fn draw(&self, done: u64, total: u64, words: &str) {
        let Ok(mut drawn) = self.drawn.try_lock() else { return };
        let now = Instant::now();
        if drawn.last.is_some_and(|last| now.duration_since(last) < DRAW_EVERY) || !in_foreground() {
            return;
        }
        drawn.last = Some(now);
        drawn.line = text(done, total, words, columns(&io::stderr()).unwrap_or(COLUMNS));
        put(&format!("{ERASE}{}", drawn.line));
    }

    /// Lets `print` write lines that stay, with the bar below them again.
    pub(super) fn above(&self, print: impl FnOnce()) {
        let drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.line.is_empty() {
            return print();
        }
        put(ERASE);
        print();
        if in_foreground() {
            put(&drawn.line);
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut drawn.line).is_empty() {
            put(ERASE);
        }
    }
}

/// False while a shell has put us into the background (`&`, Ctrl-Z and `bg`): the terminal's last line is its prompt.
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stderr()).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Writes to the terminal at once. Progress that nobody can read is no reason to stop.
fn put(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The line for a terminal of this many columns. The last column stays free: a cursor behind it may wrap.
fn text(done: u64, total: u64, words: &str, columns: usize) -> String {
    let percent = whole_percent(done, total);
    let line = if columns < ROOM_FOR_A_BAR {
        format!("{percent:>3}% {words}")
    } else {
        let full = usize::try_from(percent).unwrap_or(0) * WIDTH / 100;
        let head = if full < WIDTH && done > 0 { ">" } else { "" };
        let bar = "=".repeat(full) + head;
        format!("{percent:>3}% [{bar:WIDTH$}] {words}")
    };
    cut(&line, columns.saturating_sub(1)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_with_what_is_done() {
        assert_eq!(text(0, 4, "waits", 80), "  0% [                ] waits");
        assert_eq!(text(1, 4, "goes", 80), " 25% [====>           ] goes");
        assert_eq!(text(4, 4, "done", 80), "100% [================] done");
        assert_eq!(text(0, 0, "unknown", 80), "  0% [                ] unknown");
        assert_eq!(text(u64::MAX - 1, u64::MAX, "x", 80), " 99% [===============>] x");
    }

    #[test]
    fn a_narrow_terminal_gets_the_words_and_no_line_reaches_its_edge() {
        assert_eq!(text(1, 2, "1.0 MiB of 2.0 MiB", 20), " 50% 1.0 MiB of 2.0");
        assert_eq!(text(1, 2, "日本語", 9), " 50% 日");
        assert_eq!(text(1, 2, "x", 0), "");
        assert_eq!(text(1, 2, &"n".repeat(99), 80).len(), 79);
    }
}
