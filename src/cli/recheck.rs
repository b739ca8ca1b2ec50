//! `bitween recheck`: has everything of a torrent read and compared again.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, TorrentArgs};
use super::error::CliError;
use super::interrupt::Interrupt;
use super::named::Likeness;
use super::output::{clean, json as print_json, line, size, whole_percent};
use super::progress::{Picture, Progress};
use crate::component::rpc::types::{TorrentState, TorrentStatus, TorrentStatuses};

/// Time between two questions how far it is.
const POLL: Duration = Duration::from_millis(250);

/// Compare a torrent's files with its checksums again; what is wrong is fetched anew
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  bitween recheck 3f9a1c\n  bitween recheck holiday --wait")]
pub struct Args {
    #[command(flatten)]
    torrent: TorrentArgs,
    /// Return when all of it was compared, and say what was found
    #[arg(long)]
    wait: bool,
}

/// Begins, and with `--wait` shows how far it is.
///
/// # Errors
/// No daemon, an unknown torrent, or, with `--wait`, files that are not the torrent's any more.
pub fn run(args: &Args) -> Result<(), CliError> {
    if !args.wait {
        return args.torrent.tell(Likeness::Part, "bt.recheck", json!({}), "checking");
    }
    let client = Client::find(&args.torrent.connect)?;
    let hash = args.torrent.find(&client, Likeness::Part)?;
    client.call::<Value>("bt.recheck", json!({"hash": hash}))?;
    let status = wait(&client, &hash, &Interrupt::listen()?)?;
    if args.torrent.json {
        print_json(&status)?;
    }
    match &status.error {
        Some(error) => Err(CliError::failed(format_args!("{}: {}", clean(&status.name), clean(error)))),
        None if args.torrent.json => Ok(()),
        None => line(&found(&status)),
    }
}

/// What the check found, in one line.
fn found(status: &TorrentStatus) -> String {
    let (name, done, total) = (clean(&status.name), size(status.done), size(status.total_size));
    if status.complete {
        return format!("{name}: all of {total} is good");
    }
    format!(
        "{name}: {done} of {total} is good ({}), the rest is fetched",
        whole_percent(status.done, status.total_size)
    )
}

/// Waits until it is checked no longer.
fn wait(client: &Client, hash: &str, interrupt: &Interrupt) -> Result<TorrentStatus, CliError> {
    let progress = Progress::new();
    loop {
        let statuses: TorrentStatuses = client.call("bt.status", json!({"hash": hash}))?;
        let Some(status) = statuses.torrents.into_iter().next() else {
            return Err(CliError::failed("the torrent was removed"));
        };
        if status.state != TorrentState::Checking {
            progress.finish();
            return Ok(status);
        }
        let TorrentStatus { name, done, total_size: total, .. } = &status;
        let doing = format!("checked {} of {}", size(*done), size(*total));
        progress.show(&Picture { name, done: *done, total: *total, doing });
        if !interrupt.sleep(POLL) {
            progress.finish();
            return Err(CliError::failed("no longer waiting; the daemon goes on, see `bitween status`"));
        }
    }
}
