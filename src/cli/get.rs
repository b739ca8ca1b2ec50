//! `bitween get`: lets the daemon fetch a contact's share, a torrent file or a magnet link.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::client::{Client, ConnectArgs};
use super::error::CliError;
use super::interrupt::Interrupt;
use super::named;
use super::output::{clean, json as print_json, line, note, peers, size};
use super::progress::{Picture, Progress, fetching};
use crate::component::rpc::types::{Added, TorrentState, TorrentStatus, TorrentStatuses};
use crate::proto::metainfo::MAX_TORRENT_LEN;

/// Time between two questions how far it is.
const POLL: Duration = Duration::from_millis(250);

const EXAMPLES: &str = "\
Examples:
  bitween get 3f9a1c                    what `bitween shares` lists
  bitween get 3f9a1c --dir ~/Films --wait
  bitween get holiday                   the one share whose name holds that
  bitween get film.torrent
  bitween get 'magnet:?xt=urn:btih:...'";

/// Fetch a contact's share, a torrent file or a magnet link
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Hash (or enough of its first digits) or name of a contact's share, torrent file, or magnet link
    #[arg(value_name = "HASH|NAME|FILE.torrent|MAGNET")]
    what: String,
    /// Folder that gets it [default: the daemon's download folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Return when every byte is verified on disk
    #[arg(long)]
    wait: bool,
    /// Print JSON: what was added or, with --wait, what it became
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Adds it, prints its hash and, with `--wait`, waits until it is complete.
///
/// # Errors
/// No daemon, something that cannot be fetched, or a torrent that stopped with an error.
pub fn run(args: &Args) -> Result<(), CliError> {
    let client = Client::find(&args.connect)?;
    let mut params = match source(&args.what)? {
        Some(params) => params,
        None => match named::share(&client, &args.what)? {
            Some(hash) => json!({"hash": hash}),
            None => return Err(nothing(&args.what)),
        },
    };
    if let Some(dir) = &args.dir {
        let dir = std::path::absolute(dir).map_err(CliError::failed)?;
        let text = dir.to_str().ok_or_else(|| CliError::failed("the folder's name is not valid UTF-8"))?;
        if let Value::Object(map) = &mut params {
            map.insert("save_path".into(), text.into());
        }
    }
    let added: Added = client.call("bt.add_torrent", params)?;
    if args.json {
        return tell_json(&client, &added, args.wait);
    }
    line(&clean(&added.hash))?;
    if added.existing {
        note(&existing(&client, &added.hash)?);
    }
    if let Some(why) = added.why.filter(|_| !args.wait) {
        note(&clean(&why.text));
    }
    if args.wait { wait(&client, &added.hash, &Interrupt::listen()?) } else { Ok(()) }
}

/// One object: what was added or, when that was waited for, what became of it.
fn tell_json(client: &Client, added: &Added, waits: bool) -> Result<(), CliError> {
    if !waits {
        return print_json(added);
    }
    wait(client, &added.hash, &Interrupt::listen()?)?;
    let statuses: TorrentStatuses = client.call("bt.status", json!({"hash": added.hash}))?;
    statuses.torrents.first().map_or_else(|| Err(CliError::failed("the torrent was removed")), print_json)
}

/// It is nothing that can be fetched.
fn nothing(what: &str) -> CliError {
    let error = super::transfer::nothing_called(what);
    CliError::failed(format_args!("{}, nor the name of something that a contact shares", error.message))
}

/// It stays where it was put the first time, whatever folder was asked for now.
fn existing(client: &Client, hash: &str) -> Result<String, CliError> {
    let statuses: TorrentStatuses = client.call("bt.status", json!({"hash": hash}))?;
    let place = statuses.torrents.first().map(|status| format!(", in {}", clean(&status.save_path)));
    Ok(format!("it is in the list already{}", place.unwrap_or_default()))
}

/// Which of the three it is: a link says so itself, a file is there, a hash is digits. None of them: it may be a name.
fn source(what: &str) -> Result<Option<Value>, CliError> {
    if what.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("magnet:")) {
        return Ok(Some(json!({"magnet": what})));
    }
    let path = Path::new(what);
    if named::is_hash(what) && !path.is_file() {
        return Ok(Some(json!({"hash": what})));
    }
    let limit = u64::try_from(MAX_TORRENT_LEN).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(json!({"torrent": base64::engine::general_purpose::STANDARD.encode(bytes)}))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::failed(format_args!("cannot read {}: {error}", clean(what)))),
    }
}

/// Waits until every byte is there, and shows how far it is meanwhile.
pub(super) fn wait(client: &Client, hash: &str, interrupt: &Interrupt) -> Result<(), CliError> {
    let progress = Progress::new();
    let mut told = None;
    loop {
        let statuses: TorrentStatuses = client.call("bt.status", json!({"hash": hash}))?;
        let Some(status) = statuses.torrents.into_iter().next() else {
            return Err(CliError::failed("the torrent was removed"));
        };
        // Once, until there is another reason.
        if let Some(why) = status.why.as_ref().filter(|why| told.as_ref() != Some(*why)) {
            progress.say(&why.text);
            told = Some(why.clone());
        }
        match status.state {
            _ if status.complete => {
                progress.finish();
                note(&format!("complete: {}", clean(&status.name)));
                return Ok(());
            }
            TorrentState::Error => {
                progress.finish();
                let reason = status.error.as_deref().unwrap_or("it stopped with an error");
                return Err(CliError::failed(format_args!("{}: {}", clean(&status.name), clean(reason))));
            }
            _ => {
                let TorrentStatus { name, done, total_size: total, .. } = &status;
                progress.show(&Picture { name, done: *done, total: *total, doing: describe(&status) });
            }
        }
        if !interrupt.sleep(POLL) {
            progress.finish();
            return Err(CliError::failed("no longer waiting; the daemon goes on, see `bitween status`"));
        }
    }
}

/// What happens, in a few words.
fn describe(status: &TorrentStatus) -> String {
    match status.state {
        // Without peers its owners are offline, and it waits for them.
        TorrentState::Metadata => format!("waiting for its description from {}", peers(status.peers)),
        TorrentState::Downloading => {
            fetching(status.done, status.total_size, status.download_rate, status.peers, status.eta)
        }
        other => format!("{}, {} of {}", other.as_str(), size(status.done), size(status.total_size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_hashes_and_files_are_told_apart() {
        assert_eq!(source("Magnet:?xt=x").unwrap(), Some(json!({"magnet": "Magnet:?xt=x"})));
        assert_eq!(source("3f9a1c").unwrap(), Some(json!({"hash": "3f9a1c"})));
        assert_eq!(source("no/such.torrent").unwrap(), None);
        assert!(nothing("no/such.torrent").message.contains("no/such.torrent is neither a file"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.torrent");
        std::fs::write(&file, "d4:infoe").unwrap();
        assert_eq!(source(file.to_str().unwrap()).unwrap(), Some(json!({"torrent": "ZDQ6aW5mb2U="})));
    }
}
