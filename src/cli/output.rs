//! What the commands print: lines, sizes, JSON. Foreign text is escaped, so it cannot drive the terminal.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;
use serde::Serialize;
use unicode_width::UnicodeWidthChar;

use super::error::CliError;
use crate::types::Printable;

/// Digits of a hash that are shown on a terminal; enough to be unique among millions.
const SHORT_HASH: usize = 10;

/// Prints text as it is; lines end in it.
///
/// # Errors
/// Standard output cannot be written; a closed pipe ends the command quietly.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CliError::from)
}

/// Prints one line.
///
/// # Errors
/// As [`print()`].
pub fn line(text: &str) -> Result<(), CliError> {
    print(&format!("{text}\n"))
}

/// Prints a value as JSON, indented.
///
/// # Errors
/// As [`print()`].
pub fn json<T: Serialize>(value: &T) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(CliError::failed)?;
    line(&text)
}

/// Says something beside the result, on standard error.
pub fn note(text: &str) {
    // A note that nobody can read is no reason to stop.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says what a new torrent leaves out: the first of them by path and reason, the others by their number.
pub(super) fn tell_left_out(first: impl Iterator<Item = (String, String)>, count: usize) {
    let mut named = 0;
    for (path, reason) in first {
        note(&format!("left out: {} ({})", clean(&path), clean(&reason)));
        named += 1;
    }
    if count > named {
        note(&format!("left out: {} more", count - named));
    }
}

/// A hash for a table: short for people, whole for pipes.
#[must_use]
pub fn hash(hash: &str) -> String {
    let short = io::stdout().is_terminal() && hash.is_ascii();
    clean(hash.get(..SHORT_HASH).filter(|_| short).unwrap_or(hash))
}

/// Foreign text, harmless.
#[must_use]
pub fn clean(text: &str) -> String {
    Printable(text).to_string()
}

/// A number of bytes, such as "1.5 MiB".
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths of the unit in integers: no rounding up to "1024.0 KiB".
    let mut tenths = u128::from(bytes) * 10;
    let mut name = "";
    for unit in UNITS {
        if tenths < 10 * 1024 {
            break;
        }
        tenths /= 1024;
        name = unit;
    }
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Bytes per second; nothing is a dash.
#[must_use]
pub fn rate(bytes: u64) -> String {
    if bytes == 0 { "-".to_owned() } else { format!("{}/s", size(bytes)) }
}

/// How much of a whole is done, rounded down: 100 % only when nothing is missing.
#[must_use]
pub fn percent(done: u64, total: u64) -> String {
    match u128::from(done.min(total)) * 1000 {
        _ if total == 0 => "-".to_owned(),
        thousandths => {
            let thousandths = thousandths / u128::from(total);
            format!("{}.{} %", thousandths / 10, thousandths % 10)
        }
    }
}

/// How much of a whole is done, in percent, rounded down; 0 when there is no whole.
#[must_use]
pub(super) fn whole_percent(done: u64, total: u64) -> u128 {
    (u128::from(done.min(total)) * 100).checked_div(u128::from(total)).unwrap_or(0)
}

/// A time span, such as "3 min 20 s".
#[must_use]
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How many peers.
#[must_use]
pub fn peers<N: Display + PartialEq + From<u8>>(count: N) -> String {
    if count == N::from(1) { "1 peer".to_owned() } else { format!("{count} peers") }
}

/// The beginning of a line that takes no more than this many columns.
pub(super) fn cut(line: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = line.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > columns
    });
    end.and_then(|(end, _)| line.get(..end)).unwrap_or(line)
}

/// Columns and rows of the terminal behind `stream`, if it is one that says so.
pub(super) fn window(stream: &impl AsFd) -> Option<(usize, usize)> {
    let size = tcgetwinsize(stream).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// Columns of the terminal behind `stream`.
pub(super) fn columns(stream: &impl AsFd) -> Option<usize> {
    window(stream).map(|(columns, _)| columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_and_never_round_up() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1023.9 KiB"),
            (5 << 40, "5.0 TiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn hundred_percent_means_nothing_is_missing() {
        assert_eq!(percent(999_999, 1_000_000), "99.9 %");
        assert_eq!(percent(7, 7), "100.0 %");
        assert_eq!(percent(0, 0), "-");
        assert_eq!(percent(u64::MAX, u64::MAX), "100.0 %");
        assert_eq!((whole_percent(999, 1000), whole_percent(u64::MAX, u64::MAX), whole_percent(0, 0)), (99, 100, 0));
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(200), "3 min 20 s");
        assert_eq!(duration(7260), "2 h 1 min");
        assert_eq!(duration(90_000), "1 d 1 h");
    }
}
