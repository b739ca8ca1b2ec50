//! System calls of a running process, counted by `strace`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::lab::Lab;
use crate::process::Process;
use crate::trouble::Trouble;

/// How many kinds of calls are told apart in words.
const TOLD: usize = 5;

/// Counts the system calls of a running process. It runs much slower meanwhile.
pub struct CallCounter {
    strace: Process,
    summary: PathBuf,
}

/// How many calls of each kind there were, the most frequent first.
pub struct Calls(Vec<(String, f64)>);

impl CallCounter {
    /// Attaches to all threads of `pid`.
    pub fn attach(lab: &Lab, pid: u32, home: &Path) -> Result<Self, Trouble> {
        let summary = home.join("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&summary).args(["-p", &pid.to_string()]);
        let strace = Process::start(command, &home.join("strace"))?;
        lab.wait("strace", Duration::from_secs(20), Duration::from_millis(20), || strace.line(" attached"))?;
        Ok(Self { strace, summary })
    }

    /// Detaches; how many calls there were.
    pub fn finish(mut self) -> Result<Calls, Trouble> {
        if !self.strace.ended() {
            self.strace.signal("INT");
        }
        self.strace.stop();
        let text = fs::read_to_string(&self.summary)?;
        let line = |line: &str| {
            let (count, name) = line.trim().split_once(char::is_whitespace)?;
            Some((name.trim().to_owned(), count.parse::<f64>().ok()?))
        };
        let mut calls: Vec<(String, f64)> = text.lines().filter_map(line).filter(|(name, _)| name != "total").collect();
        if calls.is_empty() {
            return Err(self.strace.trouble("counted nothing"));
        }
        calls.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        Ok(Calls(calls))
    }
}

impl Calls {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Those of one kind.
    pub fn of(&self, kind: &str) -> f64 {
        self.0.iter().find(|(name, _)| name == kind).map_or(0.0, |(_, count)| *count)
    }

    /// The most frequent ones, with how often they were called for each of so many blocks.
    pub fn told(&self, blocks: f64) -> String {
        let each = self.0.iter().take(TOLD).map(|(name, count)| format!("{name} {:.3}", count / blocks));
        each.collect::<Vec<_>>().join(", ")
    }
}
