//! `bitween status`: what the daemon is doing, once or again and again.

use std::time::Duration;

use serde_json::json;

use super::client::{Client, ListArgs};
use super::error::CliError;
use super::interrupt::Interrupt;
use super::output::{clean, hash, json as print_json, peers, percent, print, rate, size, window};
use super::table::{Align, Table, fit};
use crate::component::rpc::types::{AccountState, DaemonStatus, Memory, TorrentStatus, TorrentStatuses};

/// Time between two pictures of `--watch`.
const REFRESH: Duration = Duration::from_secs(1);
/// Cursor to the top left, everything from there on erased.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Show what the daemon is doing
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bitween status\n  bitween status --watch      (Ctrl-C ends it)\n  bitween status --json\n  bitween status --memory\n\nWith --watch, --json prints one object after the other."
)]
pub struct Args {
    /// Show it again every second
    #[arg(long)]
    watch: bool,
    /// Show what memory is used for instead, and how long peers had to wait for each other
    #[arg(long)]
    memory: bool,
    #[command(flatten)]
    list: ListArgs,
}

/// Shows it.
///
/// # Errors
/// No daemon, or it went away while watching.
pub fn run(args: &Args) -> Result<(), CliError> {
    let client = Client::find(&args.list.connect)?;
    let interrupt = args.watch.then(Interrupt::listen).transpose()?;
    let screen = || window(&std::io::stdout()).filter(|_| args.watch && !args.list.json && has_cursor());
    if screen().is_some() {
        print("\x1b[2J")?;
    }
    loop {
        if let Some(text) = picture(&client, args)? {
            // The window may be resized at any time.
            print(&match screen() {
                Some(size) => format!("{CLEAR}{}", fit(&text, size)),
                None => text,
            })?;
        }
        // Ctrl-C is how watching is meant to end.
        if !interrupt.as_ref().is_some_and(|interrupt| interrupt.sleep(REFRESH)) {
            // Below what the terminal shows for Ctrl-C.
            return if screen().is_some() { print("\n") } else { Ok(()) };
        }
    }
}

/// What is to be shown, as text; JSON is printed here.
fn picture(client: &Client, args: &Args) -> Result<Option<String>, CliError> {
    if args.memory {
        let memory: Memory = client.call("Api.memory", json!({}))?;
        if args.list.json {
            return print_json(&memory).map(|()| None);
        }
        return Ok(Some(describe_memory(&memory)));
    }
    let daemon: DaemonStatus = client.call("Api.status", json!({}))?;
    let torrents = client.call::<TorrentStatuses>("bt.status", json!({}))?.torrents;
    if args.list.json {
        return print_json(&json!({"daemon": daemon, "torrents": torrents})).map(|()| None);
    }
    Ok(Some(describe(&daemon) + &list(&torrents)))
}

fn describe_memory(memory: &Memory) -> String {
    let mut table = Table::new(&[
        ("MEMORY", Align::Left),
        ("NOW", Align::Right),
        ("HIGHEST", Align::Right),
        ("LIMIT", Align::Right),
    ]);
    for class in &memory.classes {
        table.row([clean(&class.name), size(class.now), size(class.highest), size(class.limit)]);
    }
    table.row(["all buffers".to_owned(), size(memory.used), size(memory.highest), size(memory.limit)]);
    let mut text = table.render();
    let or_unknown = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), size);
    text += &format!(
        "process: {} resident, {} anonymous; files mapped for others: {}\n",
        or_unknown(memory.resident),
        or_unknown(memory.anonymous),
        size(memory.mapped)
    );
    text += &format!(
        "longest turn of the network thread: {:.1} ms, {:.1} ms in the last minute ({} turns)\n",
        memory.reactor_longest_turn_ms, memory.reactor_longest_turn_last_minute_ms, memory.reactor_turns
    );
    text
}

/// Can the terminal move its cursor?
fn has_cursor() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

fn describe(daemon: &DaemonStatus) -> String {
    let account = match &daemon.account.jid {
        _ if daemon.account.state == AccountState::None => "no XMPP account".to_owned(),
        Some(jid) => format!("{} {}", clean(jid), state_text(daemon.account.state)),
        None => state_text(daemon.account.state).to_owned(),
    };
    let mut text = format!(
        "{account}, port {}, {}, down {}, up {}\n",
        daemon.port,
        peers(daemon.peers),
        rate(daemon.download_rate),
        rate(daemon.upload_rate)
    );
    if let Some(local) = &daemon.local {
        let (name, certificate) = (clean(&local.name), clean(&local.fingerprint));
        text += &format!("in this network: {name}, port {}, certificate {certificate}\n", local.port);
    }
    for other in daemon.accounts.iter().skip(1) {
        let error = other.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let jid = other.jid.as_deref().unwrap_or_default();
        text += &clean(&format!("{jid} {}{error}", state_text(other.state)));
        text.push('\n');
    }
    for problem in daemon.account.error.iter().chain(&daemon.account.remains).chain(&daemon.problems) {
        text += &format!("! {}\n", clean(problem));
    }
    text
}

/// The state of the connection in words.
pub(super) fn state_text(state: AccountState) -> &'static str {
    match state {
        AccountState::None => "no account",
        AccountState::Connecting => "connecting",
        AccountState::Online => "online",
        AccountState::Offline => "offline",
        AccountState::Failed => "refused",
        AccountState::NoPassword => "no password",
    }
}

fn list(torrents: &[TorrentStatus]) -> String {
    if torrents.is_empty() {
        return "no torrents; share something with `bitween share PATH`\n".to_owned();
    }
    let mut table = Table::new(&[
        ("HASH", Align::Left),
        ("STATE", Align::Left),
        ("DONE", Align::Right),
        ("SIZE", Align::Right),
        ("DOWN", Align::Right),
        ("UP", Align::Right),
        ("PEERS", Align::Right),
        ("NAME", Align::Left),
    ]);
    for torrent in torrents {
        let error = torrent.error.as_ref().or(torrent.why.as_ref().map(|why| &why.text));
        let error = error.map(|error| format!(": {error}")).unwrap_or_default();
        table.row([
            hash(&torrent.hash),
            torrent.state.as_str().to_owned(),
            percent(torrent.done, torrent.total_size),
            size(torrent.total_size),
            rate(torrent.download_rate),
            rate(torrent.upload_rate),
            torrent.peers.to_string(),
            format!("{}{error}", torrent.name),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::rpc::types::{Account, MemoryClass, TorrentState};

    #[test]
    fn memory_is_a_table_with_what_the_process_takes_below() {
        let class = MemoryClass { name: "receiving".into(), now: 1 << 20, highest: 3 << 20, limit: 8 << 20 };
        let memory = Memory {
            limit: 16 << 20,
            used: 2 << 20,
            highest: 4 << 20,
            classes: vec![class],
            mapped: 5 << 20,
            resident: Some(20 << 20),
            anonymous: None,
            reactor_turns: 12,
            reactor_longest_turn_ms: 1.25,
            reactor_longest_turn_last_minute_ms: 0.5,
        };
        assert_eq!(
            describe_memory(&memory),
            "MEMORY           NOW  HIGHEST     LIMIT\n\
             receiving    1.0 MiB  3.0 MiB   8.0 MiB\n\
             all buffers  2.0 MiB  4.0 MiB  16.0 MiB\n\
             process: 20.0 MiB resident, unknown anonymous; files mapped for others: 5.0 MiB\n\
             longest turn of the network thread: 1.2 ms, 0.5 ms in the last minute (12 turns)\n"
        );
    }

    #[test]
    fn problems_and_errors_are_shown_and_harmless() {
        let account = Account {
            jid: Some("a@b".into()),
            state: AccountState::Failed,
            error: Some("wrong password".into()),
            ..Account::default()
        };
        let daemon =
            DaemonStatus { account, problems: vec!["disk\u{7} full".into()], port: 7, ..DaemonStatus::default() };
        assert_eq!(
            describe(&daemon),
            "a@b refused, port 7, 0 peers, down -, up -\n! wrong password\n! disk\\u{7} full\n"
        );
        let torrent = TorrentStatus {
            name: "film".into(),
            state: TorrentState::Error,
            error: Some("no space".into()),
            ..TorrentStatus::default()
        };
        assert!(list(&[torrent]).ends_with("film: no space\n"));
        assert!(list(&[]).contains("bitween share"));
    }
}
