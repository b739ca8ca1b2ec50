//! One torrent of the thread: its description, how far it is, and what belongs to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::announce::Announcer;
use super::metadata::Dialing;
use super::options::Families;
use crate::bus::Reply;
use crate::component::event::{ControlError, NewTorrent, TorrentSource};
use crate::engine::{self, MetadataFetch, Source, TorrentOptions};
use crate::proto::metainfo::path::name_key;
use crate::proto::metainfo::{Magnet, Metainfo};
use crate::proto::peer::Handshake;
use crate::storage::{CheckMode, WriteWindow, Writing};
use crate::types::{Bitfield, InfoHash, Nothing, PeerKey, PieceIndex, Rare, SortedMap, SortedSet, TorrentKey};

/// How far a torrent is.
pub(super) enum Phase {
    /// Asks peers for the description (BEP 9).
    Metadata(Box<MetadataFetch>),
    /// The disk threads look what is there already.
    Opening { checked: u64, total: u64 },
    /// Downloads or seeds; or waits, when paused.
    Running(Box<engine::Torrent>),
    /// It is complete and nobody is there: the engine comes back with the first peer or address. Thousands of torrents
    /// may be in this phase.
    Resting,
    /// Stopped by a machine's fault.
    Failed(String),
    /// The disk threads are finishing with its files; `closing` says what comes then.
    Closing,
}

pub(super) struct Torrent {
    pub(super) key: TorrentKey,
    pub(super) info_hash: InfoHash,
    pub(super) name: Arc<str>,
    pub(super) name_key: u32,
    families: Families,
    limits: Arc<TorrentOptions>,
    /// Folder that holds (or gets) its top-level name.
    pub(super) dir: Arc<Path>,
    /// The files were there before, and are never written.
    pub(super) seed: bool,
    /// Contacts are told of it.
    pub(super) shared: bool,
    /// It is in no list, and its folder is nobody else's.
    pub(super) hidden: bool,
    /// As somebody asked for it, if that says more than the fields above and the description.
    asked: Option<Arc<NewTorrent>>,
    pub(super) metainfo: Option<Arc<Metainfo>>,
    pub(super) phase: Phase,
    pub(super) paused: bool,
    pub(super) active: Rare<Active>,
    /// Number of the device that its files lie on, since they were opened.
    pub(super) device: usize,
    /// Bytes that the account of memory has for its description, which is on its way.
    pub(super) metadata_bytes: u32,
    pub(super) announcer: Announcer,
    pub(super) warning: Option<Arc<str>>,
    /// It is being closed; answered when the disk threads are done with it.
    pub(super) closing: Option<Box<Closing>>,
    /// Bytes that were there are gone: believe nothing at the next open.
    pub(super) suspect: bool,
    /// What the next open may do to the files of a download.
    pub(super) writing: Writing,
    counts: Rare<Counts>,
}

/// What only a torrent has that does something. There are thousands that do nothing.
#[derive(Default)]
pub(super) struct Active {
    /// Windows of the pieces being received.
    pub(super) windows: SortedMap<PieceIndex, WriteWindow>,
    /// Bytes of windows that were asked for or are out for verification, by piece: they count against the budget.
    pub(super) reserved: SortedMap<PieceIndex, u32>,
    /// Its connections, half-open outgoing ones excepted.
    pub(super) peers: SortedSet<PeerKey>,
    /// Peers that came while the files are looked at: their handshakes are answered when that is done.
    pub(super) early: Vec<(PeerKey, Handshake)>,
    pub(super) dialing: Dialing,
    /// Since when there are verified pieces that the resume data does not know.
    pub(super) uncommitted_since: Option<Instant>,
    /// The engine's deadline that was armed.
    pub(super) armed: Option<Instant>,
}

impl Nothing for Active {
    const NOTHING: &'static Self = &Self {
        windows: SortedMap::new(),
        reserved: SortedMap::new(),
        peers: SortedSet::new(),
        early: Vec::new(),
        dialing: Dialing::NONE,
        uncommitted_since: None,
        armed: None,
    };

    fn is_nothing(&self) -> bool {
        let is_receiving = !(self.windows.is_empty() && self.reserved.is_empty());
        let knows_peers = !(self.peers.is_empty() && self.early.is_empty() && self.dialing.len() == 0);
        !is_receiving && !knows_peers && self.uncommitted_since.is_none() && self.armed.is_none()
    }
}

/// What was transferred, without what the present engine has counted.
#[derive(Default)]
struct Counts {
    /// Counted before the last open: kept over a pause or a fault.
    before: Totals,
    /// Counted since then by engines that are no more.
    since: Totals,
}

impl Nothing for Counts {
    const NOTHING: &'static Self = &Self { before: Totals::NONE, since: Totals::NONE };

    fn is_nothing(&self) -> bool {
        (self.before, self.since) == (Totals::NONE, Totals::NONE)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    pub(super) wasted: u64,
}

impl Totals {
    const NONE: Self = Self { downloaded: 0, uploaded: 0, wasted: 0 };

    fn plus(self, other: Self) -> Self {
        Self {
            downloaded: self.downloaded + other.downloaded,
            uploaded: self.uploaded + other.uploaded,
            wasted: self.wasted + other.wasted,
        }
    }
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
    pub(super) fn new(
        key: TorrentKey,
        new: Arc<NewTorrent>,
        (families, limits): (Families, Arc<TorrentOptions>),
        now: Instant,
    ) -> Self {
        let info_hash = new.source.info_hash();
        let (name, metainfo) = match &new.source {
            TorrentSource::Metainfo(metainfo) => (Arc::clone(&metainfo.info.name), Some(Arc::clone(metainfo))),
            TorrentSource::Magnet(magnet) => {
                (magnet.name.clone().unwrap_or_else(|| info_hash.to_string()).into(), None)
            }
        };
        let is_said = metainfo.is_some() && new.paths.is_none() && new.peers.is_empty() && new.trackers.is_empty();
        let phase = match &metainfo {
            Some(_) => Phase::Opening { checked: 0, total: 0 },
            None => Phase::Metadata(Box::new(MetadataFetch::new(info_hash))),
        };
        Self {
            key,
            info_hash,
            name_key: name_key(&name),
            name,
            families,
            limits,
            announcer: Announcer::new(&new, now),
            paused: new.paused,
            metainfo,
            phase,
            dir: Arc::clone(&new.dir),
            seed: new.seed,
            shared: new.shared,
            hidden: new.hidden.is_some(),
            active: Rare::default(),
            device: 0,
            metadata_bytes: 0,
            warning: None,
            closing: None,
            suspect: false,
            writing: if new.restored { Writing::Restore } else { Writing::Repair },
            counts: Rare::default(),
            asked: (!is_said).then_some(new),
        }
    }

    /// The link that it came from.
    pub(super) fn magnet(&self) -> Option<&Arc<Magnet>> {
        match &self.asked.as_ref()?.source {
            TorrentSource::Magnet(magnet) => Some(magnet),
            TorrentSource::Metainfo(_) => None,
        }
    }

    /// Where its files lie relative to its folder, if not under their safe names.
    pub(super) fn paths(&self) -> Option<&[PathBuf]> {
        self.asked.as_ref()?.paths.as_deref()
    }

    /// Peers given by hand.
    pub(super) fn given_peers(&self) -> &[SocketAddr] {
        self.asked.as_ref().map_or(&[], |asked| &asked.peers)
    }

    /// Trackers given by hand.
    pub(super) fn given_trackers(&self) -> &[String] {
        self.asked.as_ref().map_or(&[], |asked| &asked.trackers)
    }

    /// How loudly the log speaks of it. Hidden ones are whispered of: whoever added one has more to say.
    pub(super) fn log_level(&self, level: log::Level) -> log::Level {
        if self.hidden { log::Level::Debug } else { level }
    }

    /// Why it is not the one file that was asked for; `None` if it is, or if anything will do.
    pub(super) fn is_unwelcome(&self, metainfo: &Metainfo) -> Option<String> {
        let wanted = self.asked.as_ref()?.hidden?.size;
        let found = metainfo.info.geometry.total();
        let is_file = metainfo.info.single_file && found == wanted;
        (!is_file).then(|| format!("it is not one file of {wanted} bytes as announced, but has {found} bytes"))
    }

    /// Its description has come.
    pub(super) fn describe(&mut self, metainfo: &Arc<Metainfo>) {
        self.name = Arc::clone(&metainfo.info.name);
        self.name_key = name_key(&self.name);
        self.metainfo = Some(Arc::clone(metainfo));
    }

    pub(super) fn takes_peers(&self) -> bool {
        !self.paused && matches!(self.phase, Phase::Running(_) | Phase::Resting | Phase::Metadata(_))
    }

    /// The disk threads have found these pieces: it runs from now on.
    pub(super) fn begin(&mut self, now: Instant, have: Bitfield) {
        self.phase = Phase::Resting;
        if !have.is_full() {
            self.wake(now, have);
        }
        if !self.paused {
            self.announcer.start(now, self.is_complete());
        }
    }

    fn wake(&mut self, now: Instant, have: Bitfield) {
        let Some(metainfo) = &self.metainfo else { return };
        let options = TorrentOptions { download: !self.seed, ..TorrentOptions::clone(&self.limits) };
        let mut engine = engine::Torrent::new(now, options, metainfo.info.geometry, have, fastrand::u64(..));
        if self.paused {
            engine.pause(now);
        }
        self.phase = Phase::Running(Box::new(engine));
    }

    /// Somebody comes: brings back the engine of a torrent that rests.
    pub(super) fn rouse(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Resting)
            && let Some(have) = self.have()
        {
            self.wake(now, have);
        }
    }

    /// Lets the engine go if it has nothing to do and nobody to remember.
    pub(super) fn rest(&mut self, now: Instant) {
        if self.active.peers.is_empty() && self.engine().is_some_and(engine::Torrent::is_idle) {
            let counted = self.counted(now);
            if counted != self.counts.since {
                self.counts.since = counted;
            }
            self.phase = Phase::Resting;
        }
        if matches!(self.phase, Phase::Resting) {
            self.active.settle();
        }
    }

    /// Every piece is verified.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Resting) || self.engine().is_some_and(engine::Torrent::is_complete)
    }

    /// The verified pieces, if they are known.
    pub(super) fn have(&self) -> Option<Bitfield> {
        match &self.phase {
            Phase::Running(engine) => Some(engine.have().clone()),
            Phase::Resting => self.metainfo.as_ref().map(|known| Bitfield::full(known.info.geometry.piece_count())),
            _ => None,
        }
    }

    /// Bytes of the verified pieces.
    pub(super) fn bytes_have(&self) -> u64 {
        match &self.phase {
            Phase::Running(engine) => engine.bytes_have(),
            Phase::Resting => self.metainfo.as_ref().map_or(0, |known| known.info.geometry.total()),
            _ => 0,
        }
    }

    /// What was transferred since the last open.
    pub(super) fn counted(&self, now: Instant) -> Totals {
        let stats = self.engine().map(|engine| engine.stats(now)).unwrap_or_default();
        let engine = Totals { downloaded: stats.downloaded, uploaded: stats.uploaded, wasted: stats.wasted };
        self.counts.since.plus(engine)
    }

    /// What was transferred in all.
    pub(super) fn transferred(&self, now: Instant) -> Totals {
        self.counts.before.plus(self.counted(now))
    }

    /// Remembers what was counted, before the engine goes for longer.
    pub(super) fn keep_totals(&mut self, now: Instant) {
        let before = self.transferred(now);
        if before != Totals::NONE {
            *self.counts = Counts { before, since: Totals::NONE };
        }
    }

    /// Nothing is left to be committed. False if there was nothing before.
    pub(super) fn committed(&mut self) -> bool {
        self.active.get_mut().and_then(|active| active.uncommitted_since.take()).is_some()
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
        if addrs.is_empty() {
            return;
        }
        self.rouse(now);
        match &mut self.phase {
            Phase::Running(engine) => engine.add_candidates(now, &addrs, source),
            // Kept until the engine is there.
            _ => self.active.dialing.add(now, &addrs, source),
        }
    }

    /// When this torrent wants to be looked at although nothing happens.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.paused {
            return None;
        }
        let phase = match &self.phase {
            Phase::Running(engine) => engine.poll_timeout(),
            Phase::Metadata(fetch) => earliest(fetch.poll_timeout(), self.active.dialing.poll_timeout()),
            Phase::Resting | Phase::Opening { .. } | Phase::Failed(_) | Phase::Closing => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PeerInfo;
    use crate::proto::peer::Features;
    use crate::types::PeerId;

    /// Three bytes in one piece.
    fn torrent(now: Instant, paused: bool) -> Torrent {
        let info = b"d6:lengthi3e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
        let metainfo = Metainfo::parse(&[b"d4:info", &info[..], b"e"].concat()).unwrap();
        let new = NewTorrent::download(TorrentSource::Metainfo(Arc::new(metainfo)), std::path::Path::new("/d"));
        let new = Arc::new(NewTorrent { paused, ..new });
        Torrent::new(TorrentKey(1), new, (Families::default(), Arc::default()), now)
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_complete_torrent_without_peers_rests_and_forgets_nothing() {
        let now = Instant::now();
        let mut torrent = torrent(now, false);
        torrent.begin(now, Bitfield::full(1));
        assert!(torrent.engine().is_none() && torrent.takes_peers());
        assert!(torrent.is_complete() && torrent.bytes_have() == 3 && torrent.poll_timeout().is_none());
        assert!(torrent.active.get_mut().is_none() && torrent.counts.get_mut().is_none() && torrent.asked.is_none());
        torrent.rouse(now);
        let key = PeerKey { slot: 0, generation: 0 };
        let (addr, peer_id, features) = (([10, 0, 0, 1], 9).into(), PeerId::ours([1; 12]), Features::default());
        let engine = torrent.engine_mut().unwrap();
        engine.peer_joined(now, key, PeerInfo { addr, incoming: true, peer_id, features, known: false });
        engine.block_sent(now, key, 3);
        while engine.poll_action().is_some() {}
        torrent.rest(now);
        torrent.engine_mut().unwrap().peer_left(now, key);
        torrent.rest(now);
        assert!(torrent.engine().is_none() && torrent.is_complete());
        assert_eq!((torrent.counted(now).uploaded, torrent.transferred(now).uploaded), (3, 3));
        torrent.keep_totals(now);
        assert_eq!((torrent.counted(now).uploaded, torrent.transferred(now).uploaded), (0, 3));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn one_that_lacks_something_or_knows_an_address_does_not_rest() {
        let now = Instant::now();
        let mut lacking = torrent(now, false);
        lacking.begin(now, Bitfield::empty(1));
        lacking.rest(now);
        assert!(lacking.engine().is_some() && !lacking.is_complete());
        let mut paused = torrent(now, true);
        paused.begin(now, Bitfield::full(1));
        paused.add_candidates(now, &[([10, 0, 0, 1], 9).into()], Source::Tracker);
        paused.rest(now);
        let engine = paused.engine_mut().unwrap();
        assert!(engine.is_paused() && engine.poll_action().is_none(), "nobody is called while it is paused");
    }
}
