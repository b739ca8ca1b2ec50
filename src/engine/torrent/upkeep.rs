//! What time alone brings about: late requests, rounds of the choker, connection attempts, asking for peers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::choker::{self, Applicant};
use super::{Action, CloseReason, Peer, Torrent};
use crate::engine::Source;
use crate::engine::swarm::Wanted;
use crate::types::PeerKey;

/// How often the requests of the connected peers are looked through.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// Shortest time between two calls for peers. Trackers want minutes; whoever is asked keeps to that.
pub(super) const NEED_PEERS_INTERVAL: Duration = Duration::from_secs(30);
/// Below this number of peers more are asked for.
const FEW_PEERS: usize = 5;
/// A peer that does not choke us, owes us blocks and sends nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);

impl Torrent {
    /// Learns addresses. The caller has left out its own and those it must not connect to.
    pub fn add_candidates(&mut self, now: Instant, addrs: &[SocketAddr], source: Source) {
        for addr in addrs {
            self.swarm.add(now, *addr, source);
        }
        self.dial(now);
    }

    /// The answer to [`Action::Connect`] if no peer joins: refused, timed out, or no good handshake.
    pub fn connect_failed(&mut self, now: Instant, addr: SocketAddr) {
        self.swarm.failed(now, addr);
        self.dial(now);
        self.ask_for_peers(now);
    }

    /// Gives up the started piece that nobody has been sending for a while, if there is one: another torrent waits for
    /// the room it takes. What came of it is lost.
    pub fn yield_piece(&mut self, now: Instant) {
        if let Some(piece) = self.picker.idle_piece(now) {
            self.give_up(piece);
        }
    }

    /// Does what is due. Harmless when called early.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.paused {
            return;
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(now);
        }
        if now >= self.next_round {
            self.next_round = now + choker::ROUND;
            self.choke_round(now);
        }
        self.dial(now);
        self.ask_for_peers(now);
    }

    /// Asks for peers if there are few, or none with anything we lack, and no address is left to try now.
    pub(super) fn ask_for_peers(&mut self, now: Instant) {
        let few = self.peers.len() < FEW_PEERS.min(self.options.max_peers);
        let idle = self.swarm.connecting() == 0 && self.dial_at.is_none_or(|at| at > now);
        let useless = || self.peers.values().all(|peer| peer.useful == 0);
        self.hungry = !self.paused && self.options.download && !self.is_complete() && idle && (few || useless());
        if self.hungry && now >= self.need_peers_at {
            self.need_peers_at = now + NEED_PEERS_INTERVAL;
            self.actions.push_back(Action::NeedPeers);
        }
    }

    /// Is there anything that a look every now and then could change? Not while nobody owes us anything, nor should.
    pub(super) fn has_late_work(&self) -> bool {
        let due = |peer: &Peer| {
            peer.requests.len() > 0 || (peer.useful > 0 && (!peer.peer_choking || !peer.allowed_fast.is_empty()))
        };
        !self.peers.is_empty() && (self.starved || self.windows_after.is_some() || self.peers.values().any(due))
    }

    fn tick(&mut self, now: Instant) {
        if self.windows_after.is_some_and(|after| now >= after) {
            self.windows_after = None;
            self.peers.values_mut().for_each(|peer| peer.dry = None);
        }
        self.expire_requests(now);
        if std::mem::take(&mut self.starved)
            && let Some(piece) = self.picker.idle_piece(now)
        {
            self.give_up(piece);
        }
        self.close_stuck(now);
        self.refill_all(now);
    }

    fn expire_requests(&mut self, now: Instant) {
        self.blocks.clear();
        for (key, peer) in &mut self.peers {
            let before = self.blocks.len();
            peer.requests.expire(now, &mut self.blocks);
            if self.blocks.len() > before {
                self.picker.give_up_parole(*key);
            }
        }
        for block in self.blocks.drain(..) {
            self.picker.release_late(block);
        }
    }

    fn close_stuck(&mut self, now: Instant) {
        let stuck = self.peers.iter().filter(|(_, p)| !p.peer_choking && p.requests.silent_for(now) >= STUCK);
        let stuck: Vec<PeerKey> = stuck.map(|(key, _)| *key).collect();
        for key in stuck {
            if self.swarm.next_ready(Wanted { leeches: self.is_complete(), named: false }).is_some() {
                self.close(now, key, CloseReason::Stuck);
            }
        }
    }

    fn choke_round(&mut self, now: Instant) {
        let seeding = self.is_complete();
        let interested = self.peers.iter().filter(|(_, peer)| peer.peer_interested);
        let mut applicants: Vec<Applicant> = interested
            .map(|(key, peer)| Applicant {
                key: *key,
                joined: peer.joined,
                gives: peer.requests.rate(now).0,
                snubbed: peer.requests.is_snubbed(),
                unchoked: !peer.am_choking,
                since: peer.turn_since,
                got: peer.turn_bytes,
                lately: peer.round_bytes,
            })
            .collect();
        let served = self.choker.round(now, &mut applicants, self.options.upload_slots, seeding, &mut self.rng);
        self.peers.values_mut().for_each(|peer| peer.round_bytes = 0);
        for key in self.keys() {
            if !served.contains(&key) {
                self.choke(now, key);
            }
        }
        for key in served {
            self.unchoke(now, key);
            let turn = applicants.iter().find(|peer| peer.key == key && peer.unchoked);
            if let Some(peer) = self.peers.get_mut(&key)
                && turn.is_some_and(|turn| choker::turn_is_over(now, turn))
            {
                // Nobody waits for the slot: the next turn begins.
                (peer.turn_since, peer.turn_bytes) = (now, 0);
            }
        }
    }
}
