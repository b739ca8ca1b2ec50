//! `bitween download` and `bitween seed`: one torrent in this process, without daemon, XMPP or HTTP interface.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::CliError;
use super::info::read_torrent;
use super::progress::TransferProgress;
use crate::component::bt::BtOptions;
use crate::component::event::{Event, Lifecycle, NewTorrent, TorrentSource};
use crate::component::snapshot::{TorrentState, TorrentStatus};
use crate::config::{Config, create_private_dir};
use crate::daemon::Signals;
use crate::node::Engine;
use crate::proto::metainfo::Magnet;
use crate::proto::tracker::{TrackerUrl, UrlError};
use crate::types::{InfoHash, Printable};

/// How often the progress is drawn.
const TICK: Duration = Duration::from_millis(250);

/// What `download` and `seed` have in common.
#[derive(Debug)]
pub struct Transfer {
    /// A torrent file's path, a magnet link or an info hash.
    pub source: String,
    /// Folder that holds (or gets) the torrent's top-level name.
    pub dir: PathBuf,
    /// TCP port, 0 for any.
    pub port: u16,
    /// Peers given by hand.
    pub peers: Vec<SocketAddr>,
    /// Trackers given by hand.
    pub trackers: Vec<String>,
    /// The files are there: never create one.
    pub seed_only: bool,
    /// Go on as a seeder when complete.
    pub keep_seeding: bool,
}

/// Runs one torrent until it is done, failed or interrupted.
///
/// # Errors
/// What stopped it, in one line.
pub fn run(transfer: &Transfer) -> Result<(), CliError> {
    let source = read_source(&transfer.source)?;
    if transfer.seed_only && matches!(source, TorrentSource::Magnet(_)) {
        return Err(CliError::failed("seeding needs the torrent file, a link is not enough"));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let interrupted = Arc::clone(&stop);
    let _signals = Signals::listen(move || interrupted.store(true, Ordering::Relaxed))
        .map_err(|error| CliError::failed(format_args!("cannot listen to signals: {error}")))?;
    let options = BtOptions {
        port: transfer.port,
        state: state_file(),
        // Who opens one torrent by hand may well run its tracker too.
        allow_loopback_trackers: true,
        ..BtOptions::default()
    };
    let mut engine = Engine::start(options).map_err(|error| CliError::failed(error.to_string()))?;
    let events = engine.events();
    let dir = std::path::absolute(&transfer.dir).map_err(|error| CliError::failed(error.to_string()))?;
    let progress = TransferProgress::new();
    progress.tell(&format!("listening on port {}", engine.port()));
    let new = match source {
        TorrentSource::Metainfo(metainfo) if transfer.seed_only => NewTorrent::seed(metainfo, dir),
        source => NewTorrent::download(source, dir),
    };
    let (peers, trackers) = (transfer.peers.clone(), transfer.trackers.clone());
    let info_hash =
        engine.add(NewTorrent { peers, trackers, ..new }).map_err(|error| CliError::failed(error.to_string()))?;
    let outcome = watch(&engine, info_hash, transfer, &events, &progress, &stop);
    progress.finish();
    engine.stop();
    outcome
}

fn watch(
    engine: &Engine,
    info_hash: InfoHash,
    transfer: &Transfer,
    events: &crate::bus::Subscriber<Event>,
    progress: &TransferProgress,
    stop: &AtomicBool,
) -> Result<(), CliError> {
    let mut complete = false;
    loop {
        if stop.load(Ordering::Relaxed) {
            return interrupted(complete, progress);
        }
        let change = match events.recv_timeout(TICK) {
            Ok(Event::Lifecycle { change, .. }) => Some(change),
            _ => None,
        };
        let status = engine.status(info_hash);
        match change {
            Some(Lifecycle::Failed(reason)) => return Err(CliError::failed(reason.to_string())),
            Some(Lifecycle::MetadataKnown(metainfo)) => {
                progress.say(&format!("description of {} received", metainfo.info.name))
            }
            Some(Lifecycle::Started(true) | Lifecycle::Completed) => {
                complete = true;
                progress.tell(&done_line(status.as_deref(), transfer.keep_seeding));
                if !transfer.keep_seeding {
                    return Ok(());
                }
            }
            _ => {}
        }
        if !engine.is_running() {
            return Err(CliError::failed("the network thread ended unexpectedly"));
        }
        let Some(status) = status else { continue };
        if transfer.seed_only && status.state == TorrentState::Seeding && !status.is_complete() {
            return Err(incomplete(&status));
        }
        progress.update(&status);
    }
}

/// The resume data of downloads without a daemon. Without a place for it everything works, and is checked again.
fn state_file() -> Option<PathBuf> {
    let folder = Config::default_data_dir()?;
    match create_private_dir(&folder) {
        Ok(()) => Some(folder.join("resume.sqlite")),
        Err(error) => {
            log::warn!("no resume data will be kept: cannot make {}: {error}", folder.display());
            None
        }
    }
}

fn interrupted(complete: bool, progress: &TransferProgress) -> Result<(), CliError> {
    if complete {
        progress.say("stopping");
        return Ok(());
    }
    Err(CliError::failed("interrupted; the same command goes on where it stopped"))
}

fn incomplete(status: &TorrentStatus) -> CliError {
    let TorrentStatus { done, total_size: total, .. } = status;
    CliError::failed(format!(
        "only {done} of {total} bytes are there and right; `bitween verify` says which are not, `bitween download --seed` fetches them"
    ))
}

fn done_line(status: Option<&TorrentStatus>, seeding: bool) -> String {
    let what = status.map(|status| format!(": {} in {}", status.name, status.dir.display())).unwrap_or_default();
    let then = if seeding { "; seeding until interrupted" } else { "" };
    format!("complete{what}{then}")
}

/// Reads a torrent file, a magnet link or an info hash.
///
/// # Errors
/// One line that says what is wrong with it.
pub fn read_source(text: &str) -> Result<TorrentSource, CliError> {
    let path = Path::new(text);
    let is_link = text.starts_with("magnet:");
    // A file that may not be looked at is one, too: reading it tells what is wrong.
    if !is_link && path.try_exists().unwrap_or(true) {
        return Ok(TorrentSource::Metainfo(Arc::new(read_torrent(path)?)));
    }
    match text.parse::<Magnet>() {
        Ok(magnet) => Ok(TorrentSource::Magnet(Arc::new(magnet))),
        Err(error) if is_link => Err(CliError::failed(format!("unusable magnet link: {error}"))),
        Err(_) => Err(nothing_called(text)),
    }
}

/// What was to be read is none of the things it could be.
pub(super) fn nothing_called(text: &str) -> CliError {
    let shown = if text.is_empty() { "\"\"".to_owned() } else { Printable(text).to_string() };
    CliError::failed(format_args!("{shown} is neither a file that is there, nor a magnet link, nor an info hash"))
}

/// Checks the URL of a tracker given by hand. One in a torrent file that is of no use is passed over instead.
///
/// # Errors
/// What is wrong with it.
pub(super) fn tracker_url(text: &str) -> Result<String, UrlError> {
    text.parse::<TrackerUrl>().map(|_| text.to_owned())
}

/// Time since `start`, for people.
pub(super) fn short_duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}
