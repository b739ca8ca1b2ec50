//! What is said of torrents: what is to be downloaded or seeded, how it is to run, and what becomes of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use crate::proto::metainfo::{Magnet, Metainfo};
use crate::storage::CheckMode;
use crate::storage::create::Skipped;
use crate::storage::inspect::locate;
use crate::types::InfoHash;

/// A torrent to be downloaded or seeded.
#[derive(Clone, Debug)]
pub struct NewTorrent {
    /// The torrent file's content, or a link to it.
    pub source: TorrentSource,
    /// Folder that holds (or gets) the torrent's top-level name. Shared: thousands of torrents may lie in the same one.
    pub dir: Arc<Path>,
    /// Where each file lies relative to `dir`, if not under its safe name; see [`locate`].
    pub paths: Option<Vec<PathBuf>>,
    /// Peers given by hand.
    pub peers: Vec<SocketAddr>,
    /// Trackers in addition to the torrent's own, a tier each.
    pub trackers: Vec<String>,
    /// The files are there already: check them, and never create or extend one.
    pub seed: bool,
    /// Add it without starting it.
    pub paused: bool,
    /// Tell contacts that we have it.
    pub shared: bool,
    /// How much is believed of what is on disk.
    pub check: CheckMode,
    /// It was here before, and nobody has asked for it just now: complete files that were changed since stay so.
    pub restored: bool,
    /// It is this program's own affair, and in no list.
    pub hidden: Option<Hidden>,
}

/// A torrent that is this program's own affair: one file, in a folder that is nobody else's. It is in no list and not
/// remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Bytes of the file. A description that says anything else is refused.
    pub size: u64,
}

impl NewTorrent {
    /// A download into `dir`, with nothing else said.
    #[must_use]
    pub fn download(source: TorrentSource, dir: impl Into<Arc<Path>>) -> Self {
        Self {
            source,
            dir: dir.into(),
            paths: None,
            peers: Vec::new(),
            trackers: Vec::new(),
            seed: false,
            paused: false,
            shared: false,
            check: CheckMode::TrustResume,
            restored: false,
            hidden: None,
        }
    }

    /// Files that are there, to be seeded. Looks on the disk under which names they lie.
    #[must_use]
    pub fn seed(metainfo: Arc<Metainfo>, dir: impl Into<Arc<Path>>) -> Self {
        let dir = dir.into();
        let paths = Some(locate(&metainfo.info, &dir)).filter(|paths| *paths != metainfo.info.file_paths());
        Self { paths, seed: true, ..Self::download(TorrentSource::Metainfo(metainfo), dir) }
    }
}

/// Where a torrent's description comes from.
#[derive(Clone, Debug)]
pub enum TorrentSource {
    /// A torrent file.
    Metainfo(Arc<Metainfo>),
    /// A magnet link: the description is fetched from peers (BEP 9).
    Magnet(Arc<Magnet>),
}

impl TorrentSource {
    /// The torrent's name on every wire.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        match self {
            Self::Metainfo(metainfo) => metainfo.info_hash,
            Self::Magnet(magnet) => magnet.info_hash,
        }
    }
}

/// How far the hashing of a new share is. No locks, so the hashing threads never wait for a reader.
#[derive(Debug, Default)]
pub struct HashProgress {
    /// What will not be in the torrent; set when the files are found, before the first is hashed.
    pub skipped: OnceLock<Vec<Skipped>>,
    /// Bytes hashed.
    pub done: AtomicU64,
    /// Bytes to hash.
    pub total: AtomicU64,
}

/// Changes to how a torrent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TorrentControl {
    /// Close its connections and ask for nothing.
    Pause,
    /// Go on, also after an error.
    Resume,
    /// Hash everything that is on disk.
    Recheck,
}

/// A step in a torrent's life.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Lifecycle {
    /// It was added.
    Added(Arc<NewTorrent>),
    /// A magnet link's description has come.
    MetadataKnown(Arc<Metainfo>),
    /// It was checked at start and runs now; the flag says whether it is complete.
    Started(bool),
    /// The last piece is verified.
    Completed,
    /// It stopped because of a machine's fault; the text says which.
    Failed(Arc<str>),
    /// Paused (true) or resumed by the user.
    Paused(bool),
    /// It was removed.
    Removed,
}
