//! Who gets in when places are scarce, and who makes room.
//!
//! A place is kept by giving or taking payload. Whoever has done neither for a while keeps it only until somebody else
//! wants it, so nobody can fill a torrent for ever, however many ids and addresses it invents. Those whom the user knows
//! go before strangers, and one host gets only so many places.

use std::time::{Duration, Instant};

use super::{Action, CloseReason, Peer, PeerInfo, Torrent};
use crate::engine::swarm::Wanted;
use crate::types::{Host, PeerKey};

/// So long without payload may a peer stay when it wants nothing of us nor we of it. Taste: it may still be fetching
/// what will interest us.
const IDLE_PATIENCE: Duration = Duration::from_secs(3 * 60);
/// ... and so long when there is interest: it may wait for its turn, or choke us until ours comes. Libtorrent's number
/// (`inactivity_timeout`).
const WAITING_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Two connections to one peer made within this time crossed each other; later ones are simply one too many.
const CROSSING: Duration = Duration::from_secs(15);

/// A peer that may be sent away for somebody else. The smallest goes first: a stranger before somebody known, and who
/// has been of no use for longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replaceable {
    known: bool,
    since: Instant,
    /// Its connection.
    pub peer: PeerKey,
}

impl Torrent {
    /// The peer to be sent away when there is no room for another one. For one that is known to the user
    /// ([`PeerInfo::known`]) that may be any stranger.
    #[must_use]
    pub fn replaceable(&self, now: Instant, for_known: bool) -> Option<Replaceable> {
        self.replaceable_among(now, for_known, |_| true)
    }

    fn replaceable_among(
        &self,
        now: Instant,
        for_known: bool,
        is_meant: impl Fn(&Peer) -> bool,
    ) -> Option<Replaceable> {
        let peers = self.peers.iter().filter(|(_, peer)| is_meant(peer));
        let peers = peers.map(|(key, peer)| Replaceable {
            known: self.is_known(&peer.info),
            since: peer.replaceable_from(),
            peer: *key,
        });
        peers.filter(|peer| peer.since <= now || (for_known && !peer.known)).min()
    }

    /// Lets a peer in, or says why it may not join. `Ok(true)`: another one made room for it.
    pub(super) fn admit(&mut self, now: Instant, info: PeerInfo) -> Result<bool, CloseReason> {
        if self.paused {
            return Err(CloseReason::Paused);
        }
        if self.swarm.is_banned(info.addr, Some(info.peer_id)) {
            return Err(CloseReason::Banned);
        }
        self.resolve_twin(now, info)?;
        let (known, host) = (self.is_known(&info), Host::of(info.addr.ip()));
        let is_neighbour = |peer: &Peer| Host::of(peer.info.addr.ip()) == host;
        let mut leaves = None;
        if !known && !host.is_loopback() {
            let neighbours = self.peers.values().filter(|peer| is_neighbour(peer)).count();
            if neighbours >= self.options.max_peers_per_host {
                let useless = self.replaceable_among(now, false, is_neighbour);
                leaves = Some(useless.ok_or(CloseReason::CrowdedHost)?);
            }
        }
        if leaves.is_none() && self.peers.len() >= self.options.max_peers {
            leaves = Some(self.replaceable(now, known).ok_or(CloseReason::TooManyPeers)?);
        }
        if let Some(Replaceable { peer, .. }) = leaves {
            self.replace(now, peer);
        }
        Ok(leaves.is_some())
    }

    /// Of two young connections to the same peer the one over IPv6 stays; of two that crossed each other, the one that
    /// the peer with the larger id made. So both sides come to the same end.
    fn resolve_twin(&mut self, now: Instant, info: PeerInfo) -> Result<(), CloseReason> {
        let twin = self.peers.iter().find(|(_, peer)| peer.info.peer_id == info.peer_id);
        let Some((key, twin)) = twin.map(|(key, peer)| (*key, peer)) else { return Ok(()) };
        let is_v6 = |info: &PeerInfo| !info.addr.ip().to_canonical().is_ipv4();
        let (old, young) = (twin.info, now.saturating_duration_since(twin.joined) < CROSSING);
        let better = match (is_v6(&old), is_v6(&info)) {
            (false, true) => true,
            (true, false) => false,
            _ => {
                old.incoming != info.incoming
                    && self.options.own_id.is_some_and(|own| {
                        let theirs_counts = info.peer_id.as_bytes() > own.as_bytes();
                        theirs_counts == info.incoming
                    })
            }
        };
        if !(young && better) {
            return Err(CloseReason::Duplicate);
        }
        self.close(now, key, CloseReason::Duplicate);
        if !old.incoming {
            self.swarm.postpone(now, old.addr);
        }
        Ok(())
    }

    fn replace(&mut self, now: Instant, key: PeerKey) {
        let listens_at = self.peers.get(&key).and_then(|peer| peer.listens_at);
        if self.forget(now, key) {
            self.actions.push_back(Action::Close { peer: key, reason: CloseReason::Replaced });
        }
        if let Some(addr) = listens_at {
            self.swarm.postpone(now, addr);
        }
    }

    /// Connects as far as limits and addresses allow.
    pub(super) fn dial(&mut self, now: Instant) {
        self.dial_at = None;
        while !self.paused && self.swarm.connecting() < self.options.max_connecting {
            let Some(wanted) = self.wanted(now) else {
                self.dial_at = self.next_vacancy(now);
                return;
            };
            let Some(addr) = self.swarm.next(now, wanted, &mut self.rng) else {
                let vacancy = if wanted.named { self.next_vacancy(now) } else { None };
                self.dial_at = self.swarm.next_ready(wanted).into_iter().chain(vacancy).min();
                return;
            };
            self.actions.push_back(Action::Connect(addr));
        }
    }

    /// Whom there is room for, counting those who would have to make it. `None`: for nobody.
    fn wanted(&self, now: Instant) -> Option<Wanted> {
        let leeches = self.is_complete();
        let (connecting, free) = (self.swarm.connecting(), self.options.max_peers.saturating_sub(self.peers.len()));
        let useless = || self.peers.values().filter(|peer| peer.replaceable_from() <= now).count();
        if connecting < free || connecting < free + useless() {
            return Some(Wanted { leeches, named: false });
        }
        let strangers = self.peers.values().filter(|peer| !self.is_known(&peer.info)).count();
        (connecting < free + strangers).then_some(Wanted { leeches, named: true })
    }

    /// When the next peer will have been of no use for too long, if anybody waits for its place.
    fn next_vacancy(&self, now: Instant) -> Option<Instant> {
        let waiting = self.swarm.next_ready(Wanted { leeches: self.is_complete(), named: false })?;
        let vacancy = self.peers.values().map(Peer::replaceable_from).filter(|at| *at > now).min()?;
        Some(vacancy.max(waiting))
    }

    fn is_known(&self, info: &PeerInfo) -> bool {
        info.known || self.swarm.is_named(info.addr)
    }
}

impl Peer {
    /// From then on it may be sent away for somebody else.
    fn replaceable_from(&self) -> Instant {
        let interest = self.am_interested || self.peer_interested;
        self.useful_at + if interest { WAITING_PATIENCE } else { IDLE_PATIENCE }
    }
}
