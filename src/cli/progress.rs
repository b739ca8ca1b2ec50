//! The progress of one transfer: a bar on a terminal, a plain line now and then elsewhere. Progress goes to standard
//! error; what a script may want to read, the port and the outcome, to standard output.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::output::peers;
use super::transfer::short_duration;
use crate::component::snapshot::{TorrentState, TorrentStatus};
use crate::types::Printable;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Time between two plain lines that say the same.
const SAME_LINE_EVERY: Duration = Duration::from_secs(60);

/// How far one transfer is, for whoever watches.
pub(super) struct TransferProgress {
    bar: Option<ProgressBar>,
    last_line: RefCell<Option<(Instant, String)>>,
}

impl TransferProgress {
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3}% {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar
        });
        Self { bar, last_line: RefCell::new(None) }
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
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "how often lines are printed is a matter of real time")]
    pub(super) fn update(&self, status: &TorrentStatus) {
        let line = describe(status);
        if let Some(bar) = &self.bar {
            let (done, total) = match status.state {
                TorrentState::Checking { checked, total } => (checked, total),
                _ => (status.done, status.total_size),
            };
            bar.set_length(total.max(1));
            bar.set_position(done);
            bar.set_prefix(Printable(&short_name(&status.name)).to_string());
            bar.set_message(line);
            return;
        }
        if matches!(status.state, TorrentState::Checking { total: 0, .. }) {
            return; // Nothing is known yet.
        }
        let now = Instant::now();
        let percent = (status.done * 100).checked_div(status.total_size).unwrap_or(0);
        let line = format!("{}: {percent}% {line}", status.name);
        let due = self.last_line.borrow().as_ref().is_none_or(|(last, old)| {
            now.duration_since(*last) >= if *old == line { SAME_LINE_EVERY } else { LINE_EVERY }
        });
        if due {
            self.say(&line);
            self.last_line.replace(Some((now, line)));
        }
    }

    /// Leaves the bar as it is and ends it.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

/// What happens, in a few words.
fn describe(status: &TorrentStatus) -> String {
    let warning = status.warning.as_deref().map(|text| format!(" ({})", Printable(text))).unwrap_or_default();
    match &status.state {
        TorrentState::Metadata => format!("waiting for the description from {}{warning}", peers(status.peers)),
        TorrentState::Checking { total: 0, .. } => "looking for what is there".to_owned(),
        TorrentState::Checking { checked, total } => {
            format!("checking {} of {}", HumanBytes(*checked), HumanBytes(*total))
        }
        TorrentState::Seeding => {
            format!(
                "seeding at {}/s to {}, {} sent",
                HumanBytes(status.upload_rate.0),
                peers(status.peers),
                HumanBytes(status.uploaded)
            )
        }
        TorrentState::Paused => "paused".to_owned(),
        TorrentState::Error(reason) => Printable(reason).to_string(),
        TorrentState::Downloading if status.peers == 0 => {
            let done = HumanBytes(status.done);
            format!("{done} of {}, no peers yet{warning}", HumanBytes(status.total_size))
        }
        TorrentState::Downloading => {
            let left = status.seconds_left().map(|s| format!(", {} left", short_duration(s))).unwrap_or_default();
            format!(
                "{} of {} at {}/s from {}{left}{warning}",
                HumanBytes(status.done),
                HumanBytes(status.total_size),
                HumanBytes(status.download_rate.0),
                peers(status.peers)
            )
        }
    }
}

fn short_name(name: &str) -> String {
    if name.chars().count() <= 30 {
        return name.to_owned();
    }
    name.chars().take(29).chain(['…']).collect()
}
