//! One torrent: wires picker, pipelines, choker, swarm and parole together and holds no algorithm of its own.
//!
//! Call an input, then drain [`Torrent::poll_action`], then wait for the next input or until [`Torrent::poll_timeout`].
//! An input for a peer or piece that is not known (any more) does nothing, so stale keys are harmless.
//!
//! `peers` handles what peers say and do, `room` who gets in and whom to connect to, `pieces` what happens to blocks and
//! pieces, `upkeep` everything that time alone brings about: rounds of the choker, lateness. Lives on the reactor thread, as does all of
//! it.

mod action;
#[cfg(test)]
mod invariants;
mod peer;
mod peers;
mod pieces;
mod room;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use fastrand::Rng;

pub use action::{Action, BlockVerdict, CloseReason, PeerInfo, PieceOutcome, TorrentOptions};
use peer::Peer;
pub use peers::MAX_UPLOADS;
pub use room::Replaceable;

use super::choker::{self, Choker};
use super::parole::Parole;
use super::picker::Picker;
use super::stats::{PeerStats, TorrentStats};
use super::swarm::Swarm;
use crate::proto::peer::Command;
use crate::types::{Bitfield, Block, Geometry, PeerId, PeerKey, RateMeter};

/// Who a peer was that has left: its blocks may turn out to be lies later.
#[derive(Debug)]
struct Departed {
    key: PeerKey,
    addrs: Vec<SocketAddr>,
    id: PeerId,
}

/// One torrent with its swarm. See the module for how to drive it.
#[derive(Debug)]
pub struct Torrent {
    options: TorrentOptions,
    geometry: Geometry,
    picker: Picker,
    parole: Parole,
    swarm: Swarm,
    choker: Choker,
    peers: BTreeMap<PeerKey, Peer>,
    departed: VecDeque<Departed>,
    actions: VecDeque<Action>,
    rng: Rng,
    /// Reused for the blocks of one decision.
    blocks: Vec<Block>,
    paused: bool,
    /// A peer could not work because too much is open already.
    starved: bool,
    next_tick: Instant,
    next_round: Instant,
    /// When the next connection may be tried, if there is an address and room.
    dial_at: Option<Instant>,
    /// More peers are wanted and no address is left to try.
    hungry: bool,
    need_peers_at: Instant,
    /// A window could not be opened: no new ones before this.
    windows_after: Option<Instant>,
    down: RateMeter,
    up: RateMeter,
    wasted: u64,
    bytes_have: u64,
    failed_pieces: u32,
}

impl Torrent {
    /// A torrent of which the pieces in `have` are verified already. The same seed and the same inputs give the same
    /// actions. [`Action::Completed`] comes only if something was missing.
    #[must_use]
    pub fn new(now: Instant, options: TorrentOptions, geometry: Geometry, have: Bitfield, rng_seed: u64) -> Self {
        let mut rng = Rng::with_seed(rng_seed);
        let hungry = options.download && !have.is_full();
        let bytes_have = geometry.pieces().filter(|piece| have.contains(*piece));
        let bytes_have = bytes_have.map(|piece| u64::from(geometry.piece_len(piece))).sum();
        Self {
            options,
            geometry,
            picker: Picker::new(geometry, have, rng.u64(..)),
            parole: Parole::default(),
            swarm: Swarm::default(),
            choker: Choker::default(),
            peers: BTreeMap::new(),
            departed: VecDeque::new(),
            actions: VecDeque::new(),
            rng,
            blocks: Vec::new(),
            paused: false,
            starved: false,
            next_tick: now + upkeep::TICK,
            next_round: now + choker::ROUND,
            dial_at: None,
            hungry,
            need_peers_at: now + upkeep::NEED_PEERS_INTERVAL,
            windows_after: None,
            down: RateMeter::new(now),
            up: RateMeter::new(now),
            wasted: 0,
            bytes_have,
            failed_pieces: 0,
        }
    }

    /// What to do next. Call until `None` after every other call that changes something.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called. May change after any other call. `None`: only an input can
    /// change something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.paused {
            return None;
        }
        let tick = self.has_late_work().then_some(self.next_tick);
        let round = self.peers.values().any(|peer| peer.peer_interested).then_some(self.next_round);
        let need_peers = self.hungry.then_some(self.need_peers_at);
        [tick, round, need_peers, self.dial_at].into_iter().flatten().min()
    }

    /// Closes all connections and makes no new ones. Blocks of unfinished pieces are given up.
    pub fn pause(&mut self, now: Instant) {
        self.paused = true;
        for key in self.keys() {
            self.close(now, key, CloseReason::Paused);
        }
        for piece in self.picker.unfinished() {
            self.picker.abandon(piece);
            self.actions.push_back(Action::CloseWindow(piece));
        }
        self.dial_at = None;
    }

    /// Goes on after [`Self::pause`]; every known address may be tried at once.
    pub fn resume(&mut self, now: Instant) {
        if std::mem::take(&mut self.paused) {
            self.swarm.forgive(now);
            self.next_tick = now + upkeep::TICK;
            self.next_round = now + choker::ROUND;
            self.dial(now);
        }
    }

    /// The verified pieces.
    #[must_use]
    pub const fn have(&self) -> &Bitfield {
        self.picker.have()
    }

    /// Every piece is verified.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.picker.have().is_full()
    }

    /// Bytes of the verified pieces.
    #[must_use]
    pub const fn bytes_have(&self) -> u64 {
        self.bytes_have
    }

    /// It is complete, nobody is connected, and there is no address to remember: one made anew of the same pieces would
    /// do the same.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_complete() && self.peers.is_empty() && self.swarm.is_empty() && self.actions.is_empty()
    }

    /// Between [`Self::pause`] and [`Self::resume`].
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// How the torrent stands.
    #[must_use]
    pub fn stats(&self, now: Instant) -> TorrentStats {
        let count = |test: fn(&Peer) -> bool| self.peers.values().filter(|peer| test(peer)).count();
        TorrentStats {
            bytes_total: self.geometry.total(),
            bytes_have: self.bytes_have,
            pieces_total: self.geometry.piece_count(),
            pieces_have: self.have().count_ones(),
            downloaded: self.down.total(),
            uploaded: self.up.total(),
            wasted: self.wasted,
            download_rate: self.down.clone().rate(now),
            upload_rate: self.up.clone().rate(now),
            peers: self.peers.len(),
            seeds: count(|peer| peer.pieces.is_full()),
            connecting: self.swarm.connecting(),
            candidates: self.swarm.idle(),
            banned: self.swarm.bans(),
            downloading_from: count(|peer| peer.am_interested && !peer.peer_choking),
            uploading_to: count(|peer| peer.peer_interested && !peer.am_choking),
            requested: self.peers.values().map(|peer| peer.requests.len()).sum(),
            open_bytes: self.picker.open_bytes(),
            failed_pieces: self.failed_pieces,
            rarest_copies: self.picker.rarest_copies(),
            complete: self.is_complete(),
            paused: self.paused,
            endgame: self.picker.is_endgame(),
        }
    }

    /// True if a peer was asked for something and has not answered yet.
    #[must_use]
    pub fn awaits_blocks(&self) -> bool {
        self.peers.values().any(|peer| peer.requests.len() > 0)
    }

    /// Blocks that this peer was asked for and has not sent yet.
    #[must_use]
    pub fn requested_from(&self, key: PeerKey) -> usize {
        self.peers.get(&key).map_or(0, |peer| peer.requests.len())
    }

    /// How each connected peer stands.
    #[must_use]
    pub fn peers(&self, now: Instant) -> Vec<PeerStats> {
        self.peers.iter().map(|(key, peer)| peer.stats(now, *key)).collect()
    }

    fn send(&mut self, peer: PeerKey, command: Command) {
        self.actions.push_back(Action::Send { peer, command });
    }

    fn keys(&self) -> Vec<PeerKey> {
        self.peers.keys().copied().collect()
    }
}
