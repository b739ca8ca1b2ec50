//! The program's logger (layer 5): levels, a filter per target, text or JSON lines on standard error.
//!
//! Each record is one line and one write, so lines of several threads or processes never mix. Control characters in a
//! message are escaped: foreign names cannot forge lines or move the cursor. Libraries of bitween only use the `log`
//! macros; `init` is called by the program alone, once. Secrets never reach a log: see `config::Secret`.

use std::fmt;
use std::io::Write as _;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::types::Printable;

/// Environment variable that holds a [`Filter`]; stronger than the configuration, weaker than `--log-level`.
pub const LOG_VARIABLE: &str = "BITWEEN_LOG";

/// First part of the targets whose records are written with secrets in mind.
const OWN: &str = env!("CARGO_CRATE_NAME");

/// The most that libraries below may say. Their debug records hold whole requests: a private tracker's key stands in a
/// URL.
const FOREIGN_LIMIT: LevelFilter = LevelFilter::Info;

/// Which records are shown: a level for all, and levels for targets (module paths) that begin with a prefix.
///
/// Written "info" or "warn,bitween::reactor=debug,ureq=off"; the longest prefix decides. Libraries below never say more
/// than "info".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    default: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { default: LevelFilter::Info, targets: Vec::new() }
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let level = |text: &str| {
            let wrong = || format!("{text:?} is not a log level; there are error, warn, info, debug, trace and off");
            text.trim().parse::<LevelFilter>().map_err(|_| wrong())
        };
        let mut filter = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((target, text)) => filter.targets.push((target.trim().to_owned(), level(text)?)),
                None => filter.default = level(part)?,
            }
        }
        Ok(filter)
    }
}

#[cfg(feature = "web")]
impl<'de> serde::Deserialize<'de> for Filter {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Filter {
    fn level(&self, target: &str) -> LevelFilter {
        let inside =
            |prefix: &str| target.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        let longest = self.targets.iter().filter(|(prefix, _)| inside(prefix)).max_by_key(|(prefix, _)| prefix.len());
        let level = longest.map_or(self.default, |(_, level)| *level);
        if target.split("::").next() == Some(OWN) { level } else { level.min(FOREIGN_LIMIT) }
    }

    fn most_verbose(&self) -> LevelFilter {
        self.targets.iter().map(|(_, level)| *level).fold(self.default, Ord::max)
    }
}

/// Starts logging to standard error.
///
/// # Errors
/// A logger is running already.
pub fn init(filter: Filter, json: bool) -> Result<(), log::SetLoggerError> {
    let level = filter.most_verbose();
    log::set_boxed_logger(Box::new(Logger { filter, json }))?;
    log::set_max_level(level);
    Ok(())
}

struct Logger {
    filter: Filter,
    json: bool,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.filter.level(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = record.args().to_string();
        let line = Line { time: now(), level: record.level(), target: record.target(), message: &message };
        let text = if self.json { line.json() } else { line.to_string() };
        // Nobody is left to be told that standard error is closed.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    fn flush(&self) {}
}

/// Milliseconds since 1970. The wall clock belongs into a log and decides nothing.
#[expect(clippy::disallowed_methods, reason = "a log line shows the time of day")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// One record, ready to be written.
struct Line<'a> {
    /// Milliseconds since 1970.
    time: u64,
    level: Level,
    target: &'a str,
    message: &'a str,
}

impl Line<'_> {
    fn json(&self) -> String {
        let thread = std::thread::current();
        let object = serde_json::json!({
            "time": Timestamp(self.time).to_string(),
            "level": self.level.as_str().to_ascii_lowercase(),
            "target": self.target,
            "thread": thread.name().unwrap_or("unnamed"),
            "message": self.message,
        });
        format!("{object}\n")
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {:<5} {}: {}", Timestamp(self.time), self.level, self.target, Printable(self.message))
    }
}

/// A moment in UTC, shown as RFC 3339 with milliseconds.
struct Timestamp(u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so the leap day is the last day of a year and months follow one formula.
fn civil(days: u64) -> (u64, u64, u64) {
    // Days from 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_decides_and_ends_at_a_module_border() {
        let filter: Filter = "warn, bitween=info,bitween::reactor=trace,ureq=off".parse().unwrap();
        assert_eq!(filter.level("mio::poll"), LevelFilter::Warn);
        assert_eq!(filter.level("bitween::bus"), LevelFilter::Info);
        assert_eq!(filter.level("bitween::reactor::conn"), LevelFilter::Trace);
        assert_eq!(filter.level("bitweenish"), LevelFilter::Warn);
        assert_eq!(filter.level("ureq"), LevelFilter::Off);
        assert_eq!(filter.most_verbose(), LevelFilter::Trace);
    }

    #[test]
    fn libraries_below_never_show_whole_requests() {
        let filter: Filter = "trace,ureq=debug".parse().unwrap();
        for foreign in ["ureq::run", "ureq_proto::client", "rustls", "bitweenish"] {
            assert_eq!(filter.level(foreign), LevelFilter::Info, "{foreign}");
        }
        for own in ["bitween", "bitween::xmpp"] {
            assert_eq!(filter.level(own), LevelFilter::Trace, "{own}");
        }
    }

    #[test]
    fn an_unknown_level_is_named() {
        assert!("loud".parse::<Filter>().unwrap_err().contains("\"loud\" is not a log level"));
        assert!("a=".parse::<Filter>().is_err());
    }

    #[test]
    fn dates_are_right_around_leap_days_and_centuries() {
        let show = |seconds: u64| Timestamp(seconds * 1000 + 7).to_string();
        assert_eq!(show(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(show(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(show(951_868_799), "2000-02-29T23:59:59.007Z");
        assert_eq!(show(951_868_800), "2000-03-01T00:00:00.007Z");
        assert_eq!(show(4_107_542_400), "2100-03-01T00:00:00.007Z");
        assert_eq!(show(1_798_761_599), "2026-12-31T23:59:59.007Z");
    }

    #[test]
    fn a_message_cannot_forge_a_second_line() {
        let line = Line { time: 0, level: Level::Warn, target: "t", message: "a\nERROR b\u{1b}[2J\u{9b}\u{202e}" };
        let text = line.to_string();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.ends_with("t: a\\nERROR b\\u{1b}[2J\\u{9b}\\u{202e}\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&line.json()).unwrap();
        assert_eq!(json["message"], line.message);
        assert_eq!(json["level"], "warn");
        assert_eq!(line.json().matches('\n').count(), 1);
    }
}
