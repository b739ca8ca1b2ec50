//! `bitween download` and `bitween seed`: one torrent in this process, without daemon, XMPP or HTTP interface.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::CliError;
use super::info::read_torrent;
use super::interrupt::Interrupt;
use super::output::{peers, size};
use super::progress::{Picture, Progress, fetching};
use crate::component::bt::BtOptions;
use crate::component::event::{Event, Lifecycle, NewTorrent, TorrentSource};
use crate::component::snapshot::{TorrentState, TorrentStatus};
#[cfg(feature = "resume")]
use crate::folders;
use crate::node::Engine;
use crate::proto::metainfo::Magnet;
use crate::proto::tracker::{TrackerUrl, UrlError};
use crate::types::{InfoHash, Printable};

/// How often the progress is drawn.
const TICK: Duration = Duration::from_millis(250);

/// The options that `download` and `seed` share.
#[derive(Clone, Debug, clap::Args)]
pub struct NetArgs {
    /// Port to listen on; 0 picks one and prints it
    #[arg(long, value_name = "P", default_value_t = 0)]
    pub port: u16,
    /// Peer to connect to; may be given several times
    #[arg(long, value_name = "IP:PORT")]
    pub peer: Vec<SocketAddr>,
    /// Tracker to announce to in addition; may be given several times
    #[arg(long, value_name = "URL", value_parser = tracker_url)]
    pub tracker: Vec<String>,
}

/// What `download` and `seed` have in common.
#[derive(Debug)]
pub struct Transfer<'a> {
    /// A torrent file's path, a magnet link or an info hash.
    pub source: &'a str,
    /// Folder that holds (or gets) the torrent's top-level name.
    pub dir: &'a Path,
    /// Port, peers and trackers given by hand.
    pub net: &'a NetArgs,
    /// The files are there: never create one.
    pub seed_only: bool,
    /// Go on as a seeder when complete.
    pub keep_seeding: bool,
}

/// Runs one torrent until it is done, failed or interrupted.
///
/// # Errors
/// What stopped it, in one line.
pub fn run(transfer: &Transfer<'_>) -> Result<(), CliError> {
    let source = read_source(transfer.source)?;
    if transfer.seed_only && matches!(source, TorrentSource::Magnet(_)) {
        return Err(CliError::failed("seeding needs the torrent file, a link is not enough"));
    }
    let interrupt = Interrupt::listen()?;
    let options = BtOptions {
        port: transfer.net.port,
        state: state_file(),
        // Who opens one torrent by hand may well run its tracker too.
        allow_loopback_trackers: true,
        ..BtOptions::default()
    };
    let mut engine = Engine::start(options).map_err(|error| CliError::failed(error.to_string()))?;
    let events = engine.events();
    let dir = std::path::absolute(transfer.dir).map_err(|error| CliError::failed(error.to_string()))?;
    let progress = Progress::new();
    progress.tell(&format!("listening on port {}", engine.port()));
    let new = match source {
        TorrentSource::Metainfo(metainfo) if transfer.seed_only => NewTorrent::seed(metainfo, dir),
        source => NewTorrent::download(source, dir),
    };
    let lonely = !transfer.seed_only && nobody_to_ask(&new.source, transfer.net);
    let (peers, trackers) = (transfer.net.peer.clone(), transfer.net.tracker.clone());
    let info_hash =
        engine.add(NewTorrent { peers, trackers, ..new }).map_err(|error| CliError::failed(error.to_string()))?;
    let outcome = watch(&engine, info_hash, (transfer, lonely), &events, &progress, &interrupt);
    progress.finish();
    engine.stop();
    outcome
}

/// No tracker and no peer is known: waiting for others to come in vain looks like a fault.
fn nobody_to_ask(source: &TorrentSource, net: &NetArgs) -> bool {
    let (trackers, peers) = match source {
        TorrentSource::Metainfo(metainfo) => (metainfo.about.trackers.iter().map(Vec::len).sum(), 0),
        TorrentSource::Magnet(magnet) => (magnet.trackers.len(), magnet.peers.len()),
    };
    trackers + peers + net.tracker.len() + net.peer.len() == 0
}

fn watch(
    engine: &Engine,
    info_hash: InfoHash,
    (transfer, mut lonely): (&Transfer<'_>, bool),
    events: &crate::bus::Subscriber<Event>,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<(), CliError> {
    let mut complete = false;
    loop {
        if interrupt.is_set() {
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
                progress.tell(&done_line(settled(engine, info_hash).as_deref(), transfer.keep_seeding));
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
        if matches!(status.state, TorrentState::Downloading | TorrentState::Metadata) && std::mem::take(&mut lonely) {
            progress.say(
                "no tracker and no peer is known: waiting for others to connect; \
                 name one with --tracker URL or --peer IP:PORT",
            );
        }
        show(progress, &status);
    }
}

fn show(progress: &Progress, status: &TorrentStatus) {
    let (done, total) = match status.state {
        // Nothing is known yet; or it is over, and why is said in a moment.
        TorrentState::Checking { total: 0, .. } | TorrentState::Error(_) => return,
        TorrentState::Checking { checked, total } => (checked, total),
        _ => (status.done, status.total_size),
    };
    progress.show(&Picture { name: &status.name, done, total, doing: describe(status) });
}

/// What happens, in a few words.
fn describe(status: &TorrentStatus) -> String {
    let connected = u64::try_from(status.traffic.peers).unwrap_or(u64::MAX);
    let doing = match &status.state {
        TorrentState::Metadata => format!("waiting for the description from {}", peers(connected)),
        TorrentState::Checking { checked, total } => format!("checking {} of {}", size(*checked), size(*total)),
        TorrentState::Seeding => {
            let (rate, sent) = (size(status.traffic.upload_rate.0), size(status.traffic.uploaded));
            return format!("seeding at {rate}/s to {}, {sent} sent", peers(connected));
        }
        TorrentState::Paused => "paused".to_owned(),
        TorrentState::Error(reason) => Printable(reason).to_string(),
        TorrentState::Downloading => {
            fetching(status.done, status.total_size, status.traffic.download_rate.0, connected, status.seconds_left())
        }
    };
    match &status.warning {
        Some(warning) => format!("{doing} ({})", Printable(warning)),
        None => doing,
    }
}

/// The resume data of downloads without a daemon. Without a place for it everything works, and is checked again.
#[cfg(feature = "resume")]
fn state_file() -> Option<PathBuf> {
    let folder = folders::data_dir()?;
    match folders::create_private_dir(&folder) {
        Ok(()) => Some(folder.join("resume.sqlite")),
        Err(error) => {
            log::warn!("no resume data will be kept: cannot make {}: {error}", folder.display());
            None
        }
    }
}

/// Without resume data everything works, and is checked again.
#[cfg(not(feature = "resume"))]
const fn state_file() -> Option<PathBuf> {
    None
}

fn interrupted(complete: bool, progress: &Progress) -> Result<(), CliError> {
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

/// The status once it says what the event said: it is published a moment later.
fn settled(engine: &Engine, info_hash: InfoHash) -> Option<Arc<TorrentStatus>> {
    for _ in 0..20 {
        let status = engine.status(info_hash).filter(|status| status.is_complete());
        if status.is_some() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    engine.status(info_hash)
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
