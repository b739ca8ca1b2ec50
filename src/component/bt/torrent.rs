//! One torrent of the thread: its description, how far it is, and what belongs to it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::announce::Announcer;
use super::metadata::Dialing;
use super::options::Families;
use crate::bus::Reply;
use crate::component::event::{ControlError, NewTorrent, TorrentSource};
use crate::engine::{self, MetadataFetch, Source};
use crate::proto::metainfo::Metainfo;
use crate::proto::peer::Handshake;
use crate::storage::{CheckMode, WriteWindow, Writing};
use crate::types::{InfoHash, PeerKey, PieceIndex, TorrentKey};

/// How far a torrent is.
pub(super) enum Phase {
    /// Asks peers for the description (BEP 9).
    Metadata(Box<MetadataFetch>),
    /// The disk threads look what is there already.
    Opening { checked: u64, total: u64 },
    /// Downloads or seeds; or rests, when paused.
    Running(Box<engine::Torrent>),
    /// Stopped by a machine's fault.
    Failed(String),
    /// The disk threads are finishing with its files; `closing` says what comes then.
    Closing,
}

pub(super) struct Torrent {
    pub(super) key: TorrentKey,
    pub(super) info_hash: InfoHash,
    pub(super) name: String,
    pub(super) dir: PathBuf,
    families: Families,
    pub(super) new: Arc<NewTorrent>,
    pub(super) metainfo: Option<Arc<Metainfo>>,
    pub(super) phase: Phase,
    pub(super) paused: bool,
    /// Windows of the pieces being received.
    pub(super) windows: HashMap<PieceIndex, WriteWindow>,
    /// Bytes of windows that were asked for or are out for verification, by piece: they count against the budget.
    pub(super) reserved: HashMap<PieceIndex, u32>,
    /// Its connections, half-open outgoing ones excepted.
    pub(super) peers: HashSet<PeerKey>,
    /// Peers that came while the files are looked at: their handshakes are answered when that is done.
    pub(super) early: Vec<(PeerKey, Handshake)>,
    pub(super) dialing: Dialing,
    pub(super) announcer: Announcer,
    /// Since when there are verified pieces that the resume data does not know.
    pub(super) uncommitted_since: Option<Instant>,
    /// The engine's deadline that was armed.
    pub(super) armed: Option<Instant>,
    pub(super) warning: Option<String>,
    /// It is being closed; answered when the disk threads are done with it.
    pub(super) closing: Option<Closing>,
    /// Bytes that were there are gone: believe nothing at the next open.
    pub(super) suspect: bool,
    /// What the next open may do to the files of a download.
    pub(super) writing: Writing,
    /// Kept over a pause or a fault, which end the engine that counted.
    pub(super) totals: Totals,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    pub(super) wasted: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Closing {
    /// The thread ends.
    Stop,
    Remove(Reply<Result<(), ControlError>>),
    /// It is opened again, and looked at in this way.
    Reopen(CheckMode, Reply<Result<(), ControlError>>),
}

impl Torrent {
    pub(super) fn new(key: TorrentKey, new: Arc<NewTorrent>, families: Families, now: Instant) -> Self {
        let info_hash = new.source.info_hash();
        let (name, metainfo) = match &new.source {
            TorrentSource::Metainfo(metainfo) => (metainfo.info.name.clone(), Some(Arc::clone(metainfo))),
            TorrentSource::Magnet(magnet) => (magnet.name.clone().unwrap_or_else(|| info_hash.to_string()), None),
        };
        let phase = match &metainfo {
            Some(_) => Phase::Opening { checked: 0, total: 0 },
            None => Phase::Metadata(Box::new(MetadataFetch::new(info_hash))),
        };
        Self {
            key,
            info_hash,
            name,
            dir: new.dir.clone(),
            families,
            announcer: Announcer::new(&new, now),
            paused: new.paused,
            metainfo,
            phase,
            windows: HashMap::new(),
            reserved: HashMap::new(),
            peers: HashSet::new(),
            early: Vec::new(),
            dialing: Dialing::default(),
            uncommitted_since: None,
            armed: None,
            warning: None,
            closing: None,
            suspect: false,
            writing: if new.restored { Writing::Restore } else { Writing::Repair },
            totals: Totals::default(),
            new,
        }
    }

    pub(super) fn takes_peers(&self) -> bool {
        !self.paused && matches!(self.phase, Phase::Running(_) | Phase::Metadata(_))
    }

    pub(super) fn engine(&self) -> Option<&engine::Torrent> {
        match &self.phase {
            Phase::Running(engine) => Some(engine),
            _ => None,
        }
    }

    pub(super) fn engine_mut(&mut self) -> Option<&mut engine::Torrent> {
        match &mut self.phase {
            Phase::Running(engine) => Some(engine),
            _ => None,
        }
    }

    /// New addresses, wherever they come from. Those of a family that is switched off are dropped.
    pub(super) fn add_candidates(&mut self, now: Instant, addrs: &[SocketAddr], source: Source) {
        let addrs: Vec<SocketAddr> = addrs.iter().copied().filter(|addr| self.families.reach(*addr)).collect();
        match &mut self.phase {
            Phase::Running(engine) => engine.add_candidates(now, &addrs, source),
            // Kept until the engine is there.
            _ => self.dialing.add(now, &addrs, source),
        }
    }

    /// When this torrent wants to be looked at although nothing happens.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.paused {
            return None;
        }
        let phase = match &self.phase {
            Phase::Running(engine) => engine.poll_timeout(),
            Phase::Metadata(fetch) => earliest(fetch.poll_timeout(), self.dialing.poll_timeout()),
            Phase::Opening { .. } | Phase::Failed(_) | Phase::Closing => None,
        };
        earliest(phase, self.announcer.poll_timeout())
    }
}

pub(super) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
