//! The daemon in numbers, in Prometheus' text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
//!
//! Bytes moved are gauges: they are those of the torrents in the list, and a torrent that is removed takes its own along.

use std::fmt::{Display, Write as _};

use crate::component::rpc::types::{AccountState, DaemonStatus, Memory};
use crate::component::snapshot::{TorrentState, TorrentStatus};

/// What a torrent may be doing: a series for each, also while there is none.
const STATES: [&str; 6] = ["metadata", "checking", "downloading", "seeding", "paused", "error"];

/// Sums over all torrents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    states: [u64; STATES.len()],
    received: u64,
    sent: u64,
    wasted: u64,
    shared: u64,
}

impl Totals {
    pub(super) fn add(mut self, status: &TorrentStatus) -> Self {
        let word = match &status.state {
            // What it checks is a number of its own, and changes nothing here.
            TorrentState::Checking { .. } => "checking",
            other => other.word(),
        };
        for (count, state) in self.states.iter_mut().zip(STATES) {
            *count += u64::from(state == word);
        }
        self.received = self.received.saturating_add(status.traffic.downloaded);
        self.sent = self.sent.saturating_add(status.traffic.uploaded);
        self.wasted = self.wasted.saturating_add(status.traffic.wasted);
        self.shared += u64::from(status.shared);
        self
    }
}

/// Appends everything.
pub(super) fn write(out: &mut String, daemon: &DaemonStatus, memory: &Memory, totals: &Totals) {
    let mut page = Page(out);
    page.family("bitween_info", "gauge", "The program that answers.");
    page.labelled("bitween_info", "version", &daemon.version, 1);
    page.gauge("bitween_uptime_seconds", "Time since the start.", daemon.uptime);
    page.gauge("bitween_problems", "Troubles that `bitween status` tells of.", daemon.problems.len());
    page.family("bitween_account_online", "gauge", "Is the XMPP account logged in?");
    for account in &daemon.accounts {
        let jid = account.jid.as_deref().unwrap_or_default();
        page.labelled("bitween_account_online", "jid", jid, u8::from(account.state == AccountState::Online));
    }
    write_torrents(&mut page, daemon, totals);
    write_memory(&mut page, memory);
}

fn write_torrents(page: &mut Page<'_>, daemon: &DaemonStatus, totals: &Totals) {
    page.family("bitween_torrents", "gauge", "Torrents by what they are doing.");
    for (state, count) in STATES.into_iter().zip(totals.states) {
        page.labelled("bitween_torrents", "state", state, count);
    }
    page.gauge("bitween_shared_torrents", "Torrents that are announced to contacts.", totals.shared);
    page.gauge("bitween_peers", "Connected peers of all torrents.", daemon.peers);
    page.gauge("bitween_receive_rate_bytes", "Bytes received per second.", daemon.download_rate);
    page.gauge("bitween_send_rate_bytes", "Bytes sent per second.", daemon.upload_rate);
    page.gauge("bitween_received_bytes", "Bytes that the torrents in the list have received.", totals.received);
    page.gauge("bitween_sent_bytes", "Bytes that the torrents in the list have sent.", totals.sent);
    page.gauge("bitween_wasted_bytes", "Received bytes that were of no use.", totals.wasted);
}

fn write_memory(page: &mut Page<'_>, memory: &Memory) {
    page.gauge("bitween_memory_limit_bytes", "Memory that all buffers may take together.", memory.limit);
    page.family("bitween_memory_used_bytes", "gauge", "Memory that buffers take, by what for.");
    for class in &memory.classes {
        page.labelled("bitween_memory_used_bytes", "class", &class.name, class.now);
    }
    page.gauge("bitween_mapped_bytes", "Parts of files that are mapped for peers.", memory.mapped);
    for (name, help, bytes) in [
        ("process_resident_memory_bytes", "Memory of the process, pages of files included.", memory.resident),
        ("bitween_anonymous_memory_bytes", "Memory of the process that belongs to no file.", memory.anonymous),
    ] {
        if let Some(bytes) = bytes {
            page.gauge(name, help, bytes);
        }
    }
    page.family("bitween_reactor_turns_total", "counter", "Turns of the network thread.");
    page.line(format_args!("bitween_reactor_turns_total {}", memory.reactor_turns));
    let longest = memory.reactor_longest_turn_ms / 1000.0;
    page.gauge("bitween_reactor_longest_turn_seconds", "The longest turn of the network thread.", longest);
    let longest = memory.reactor_longest_turn_last_minute_ms / 1000.0;
    page.gauge("bitween_reactor_longest_recent_turn_seconds", "The longest turn of the last minute.", longest);
}

/// The text so far.
struct Page<'a>(&'a mut String);

impl Page<'_> {
    fn line(&mut self, line: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.line(format_args!("{name} {value}"));
    }

    fn labelled(&mut self, name: &str, label: &str, text: &str, value: impl Display) {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        self.line(format_args!("{name}{{{label}=\"{text}\"}} {value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::rpc::types::Account;

    #[test]
    fn what_somebody_else_named_stays_inside_its_quotes() {
        let jid = Some("a\"} 1\nevil 2\\@x".to_owned());
        let account = Account { jid, state: AccountState::Online, ..Account::default() };
        let daemon = DaemonStatus { accounts: vec![account], ..DaemonStatus::default() };
        let mut out = String::new();
        write(&mut out, &daemon, &Memory::default(), &Totals::default());
        assert!(out.contains("bitween_account_online{jid=\"a\\\"} 1\\nevil 2\\\\@x\"} 1\n"), "{out}");
        assert!(!out.lines().any(|line| line.starts_with("evil")));
    }

    #[test]
    fn every_series_follows_its_description() {
        let mut out = String::new();
        write(&mut out, &DaemonStatus::default(), &Memory::default(), &Totals::default());
        let mut family = "";
        for line in out.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => family = rest.split(' ').next().unwrap(),
                None if line.starts_with('#') => {}
                None => assert!(line.starts_with(family), "{line}"),
            }
        }
        assert!(STATES.iter().all(|state| out.contains(&format!("bitween_torrents{{state=\"{state}\"}} 0"))));
    }
}
