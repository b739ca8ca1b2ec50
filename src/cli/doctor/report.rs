//! What `bitween doctor` prints: a line for each check as soon as it is done, what to do about it below, and the verdict.

use serde_json::{Value, json};

use super::super::error::CliError;
use super::super::output::{json as print_json, line};

/// Columns of the names of checks.
const NAME_WIDTH: usize = 12;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    /// It could not be found out.
    Unknown,
    /// The daemon runs, but not as well as it could.
    Warning,
    /// The daemon cannot do its work.
    Failed,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One check: what was looked at, what was seen, and what to do; texts of others are clean already.
#[derive(Debug)]
pub(super) struct Check {
    name: &'static str,
    outcome: Outcome,
    text: String,
    /// Empty if the text says it, or nothing is to be done.
    remedy: String,
}

impl Check {
    pub(super) fn ok(name: &'static str, text: String) -> Self {
        Self { name, outcome: Outcome::Ok, text, remedy: String::new() }
    }

    pub(super) fn unknown(name: &'static str, text: String) -> Self {
        Self { name, outcome: Outcome::Unknown, text, remedy: String::new() }
    }

    pub(super) fn warning(name: &'static str, text: String, remedy: &str) -> Self {
        Self { name, outcome: Outcome::Warning, text, remedy: remedy.to_owned() }
    }

    pub(super) fn failed(name: &'static str, text: String, remedy: &str) -> Self {
        Self { name, outcome: Outcome::Failed, text, remedy: remedy.to_owned() }
    }
}

/// All checks so far.
#[derive(Debug)]
pub(super) struct Report {
    /// `Some`: nothing is printed before the end.
    json: Option<Vec<Value>>,
    warnings: usize,
    failures: usize,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json: json.then(Vec::new), warnings: 0, failures: 0 }
    }

    pub(super) fn add(&mut self, check: Check) -> Result<(), CliError> {
        let Check { name, outcome, text, remedy } = check;
        match outcome {
            Outcome::Warning => self.warnings += 1,
            Outcome::Failed => self.failures += 1,
            Outcome::Ok | Outcome::Unknown => {}
        }
        if let Some(list) = &mut self.json {
            list.push(json!({"check": name, "outcome": outcome.name(), "text": text, "remedy": remedy}));
            return Ok(());
        }
        line(&format!("{:<8} {name:<NAME_WIDTH$} {text}", outcome.name()))?;
        if remedy.is_empty() { Ok(()) } else { line(&format!("{:<8} {:NAME_WIDTH$} -> {remedy}", "", "")) }
    }

    /// Prints the verdict. The error has no text: all is said.
    pub(super) fn end(self) -> Result<(), CliError> {
        let verdict = verdict(self.failures, self.warnings);
        match self.json {
            Some(checks) => print_json(&json!({"checks": checks, "verdict": verdict, "fine": self.failures == 0}))?,
            None => line(&format!("verdict: {verdict}"))?,
        }
        if self.failures == 0 { Ok(()) } else { Err(CliError::failed("")) }
    }
}

fn verdict(failures: usize, warnings: usize) -> String {
    let count = |number: usize, one: &str, many: &str| match number {
        0 => None,
        1 => Some(format!("one {one}")),
        _ => Some(format!("{number} {many}")),
    };
    let parts =
        [count(failures, "thing has to be mended", "things have to be mended"), count(warnings, "warning", "warnings")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "fine".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_counts() {
        assert_eq!(verdict(0, 0), "fine");
        assert_eq!(verdict(0, 2), "2 warnings");
        assert_eq!(verdict(1, 1), "one thing has to be mended, one warning");
        assert_eq!(verdict(3, 0), "3 things have to be mended");
    }

    #[test]
    fn only_failures_are_an_error() {
        let mut report = Report::new(true);
        report.add(Check::ok("a", String::new())).unwrap();
        report.add(Check::warning("b", String::new(), "")).unwrap();
        report.add(Check::unknown("c", String::new())).unwrap();
        assert_eq!((report.failures, report.warnings), (0, 1));
        report.add(Check::failed("d", String::new(), "mend it")).unwrap();
        assert_eq!(report.end(), Err(CliError::failed("")));
    }
}
