//! What peers say and do: joining, leaving, choking, interest, requests for our blocks.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Action, CloseReason, Departed, Peer, PeerInfo, Torrent};
use crate::engine::Source;
use crate::engine::picker::count_difference;
use crate::engine::requests::Claim;
use crate::proto::peer::{Command, Event, ExtendedHandshake};
use crate::types::{Bitfield, Block, PeerKey, PieceIndex, sort};

/// Blocks handed out for sending to one peer at most; further requests are refused. To be announced as `reqq` (BEP 10).
/// Twice what fast clients keep.
pub const MAX_UPLOADS: u32 = 1024;
/// Requests refused in a row beyond which a peer is sent away: no client keeps so many open when it is choked, so this one
/// does not listen. Twice what fast clients keep.
const MAX_REFUSED: u32 = 4096;
/// Allowed-fast pieces remembered per peer. BEP 6 proposes sets of 10.
const MAX_ALLOWED_FAST: usize = 64;
/// A peer that refuses a request while it does not choke us, or that flutters, is asked for nothing for so long.
const REST: Duration = Duration::from_secs(1);
/// Unchokes in a row, each less than [`REST`] after the one before, beyond which a peer flutters.
const MAX_FLUTTER: u32 = 3;
/// Characters kept of a client's name.
const MAX_CLIENT: usize = 64;
/// Peers remembered after they left. More than take part in the pieces that are open at a time.
const MAX_DEPARTED: usize = 256;

impl Torrent {
    /// A handshake is done, ours or theirs. The caller has made sure that the peer is not ourselves.
    pub fn peer_joined(&mut self, now: Instant, key: PeerKey, info: PeerInfo) {
        self.forget(now, key);
        if !info.incoming {
            self.swarm.add(now, info.addr, Source::Incoming);
            self.swarm.connected(info.addr);
        }
        let replaced = match self.admit(now, info) {
            Ok(replaced) => replaced,
            Err(reason) => return self.refuse(now, key, info, reason),
        };
        if self.peers.is_empty() {
            // Nothing was due while nobody was here.
            self.next_tick = now + super::upkeep::TICK;
            self.next_round = now + super::choker::ROUND;
        }
        self.peers.insert(key, Peer::new(now, info, self.geometry.piece_count(), self.options.max_requests));
        let have = self.have().clone();
        self.send(key, Command::Bitfield(have));
        if replaced {
            self.after_departure(now);
        }
    }

    fn refuse(&mut self, now: Instant, key: PeerKey, info: PeerInfo, reason: CloseReason) {
        self.actions.push_back(Action::Close { peer: key, reason });
        match reason {
            _ if info.incoming => {}
            CloseReason::Duplicate => self.swarm.postpone(now, info.addr),
            _ => self.swarm.ended(now, info.addr, Duration::ZERO),
        }
        self.dial(now);
    }

    /// The connection is gone.
    pub fn peer_left(&mut self, now: Instant, key: PeerKey) {
        if self.forget(now, key) {
            self.after_departure(now);
        }
    }

    /// The connection is gone because the peer broke the protocol in a way no honest client does.
    pub fn peer_misbehaved(&mut self, now: Instant, key: PeerKey) {
        self.ban(now, key);
    }

    /// The peer said something. Blocks go to [`Self::block_arrived`] instead.
    pub fn peer_event(&mut self, now: Instant, key: PeerKey, event: &Event<'_>) {
        if !self.peers.contains_key(&key) {
            return;
        }
        match event {
            Event::ExtendedHandshake(hello) => self.introduced(now, key, hello),
            Event::Choked => self.choked(now, key),
            Event::Unchoked => self.unchoked(now, key),
            Event::Interested => self.interest(now, key, true),
            Event::NotInterested => self.interest(now, key, false),
            Event::Have(piece) => self.peer_has(now, key, *piece),
            Event::Bitfield(pieces) => self.peer_has_all_of(now, key, pieces),
            Event::Requested(block) => self.requested(now, key, *block),
            Event::Cancelled(block) => self.cancelled(key, *block),
            Event::Rejected(block) => self.rejected(now, key, *block),
            Event::AllowedFast(piece) => self.allowed_fast(now, key, *piece),
            Event::Handshake(_)
            | Event::KeepAlive
            | Event::Block { .. }
            | Event::Suggested(_)
            | Event::Port(_)
            | Event::MetadataRequested(_)
            | Event::MetadataPiece { .. }
            | Event::MetadataRejected(_)
            | Event::Ignored => {}
        }
    }

    /// A block has been written to the socket.
    pub fn block_sent(&mut self, now: Instant, key: PeerKey, len: u32) {
        let len = u64::from(len);
        self.up.add(now, len);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.uploads.pop_front();
            peer.upload_meter.add(now, len);
            peer.useful_at = now;
            peer.turn_bytes += len;
            peer.round_bytes += len;
        }
    }

    /// Closes a connection and forgets the peer.
    pub(super) fn close(&mut self, now: Instant, key: PeerKey, reason: CloseReason) {
        if self.forget(now, key) {
            self.actions.push_back(Action::Close { peer: key, reason });
            self.after_departure(now);
        }
    }

    /// Closes and bans a peer, here or gone already, and frees what it sent for unfinished pieces.
    pub(super) fn ban(&mut self, now: Instant, key: PeerKey) {
        let here = self.peers.get(&key).map(|peer| (peer.addrs(), peer.info.peer_id));
        let gone = || self.departed.iter().find(|gone| gone.key == key).map(|gone| (gone.addrs.clone(), gone.id));
        if let Some((addrs, id)) = here.or_else(gone) {
            self.swarm.ban(&addrs, id);
        }
        self.picker.discard_from(key);
        self.close(now, key, CloseReason::Banned);
    }

    /// Says whether we are interested, if that has changed.
    pub(super) fn update_interest(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let interested = peer.useful > 0 && self.options.download;
        if peer.am_interested != interested {
            peer.am_interested = interested;
            self.send(key, if interested { Command::Interested } else { Command::NotInterested });
        }
    }

    /// Serves the peer from now on.
    pub(super) fn unchoke(&mut self, now: Instant, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(&key).filter(|peer| peer.am_choking) {
            (peer.am_choking, peer.turn_since, peer.turn_bytes) = (false, now, 0);
            self.send(key, Command::Unchoke);
        }
    }

    /// Serves the peer no longer.
    pub(super) fn choke(&mut self, now: Instant, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(&key).filter(|peer| !peer.am_choking) {
            (peer.am_choking, peer.turn_since, peer.turn_bytes) = (true, now, 0);
            peer.uploads.clear();
            self.send(key, Command::Choke);
            self.actions.push_back(Action::DropUploads { peer: key });
        }
    }

    /// How many peers are served, or could be at once.
    fn served(&self) -> usize {
        self.peers.values().filter(|peer| peer.peer_interested && !peer.am_choking).count()
    }

    /// Lets interested peers into slots that nobody uses, who waits longest first.
    pub(super) fn fill_slots(&mut self, now: Instant) {
        let interested = self.peers.iter().filter(|(_, peer)| peer.peer_interested);
        let (waiting, served): (Vec<_>, Vec<_>) = interested.partition(|(_, peer)| peer.am_choking);
        let free = self.options.upload_slots.saturating_sub(served.len());
        if free == 0 {
            return;
        }
        let mut waiting: Vec<(Instant, PeerKey)> = waiting.iter().map(|(key, peer)| (peer.turn_since, **key)).collect();
        sort(&mut waiting);
        for (_, key) in waiting.into_iter().take(free) {
            self.unchoke(now, key);
        }
    }

    /// Drops everything about a peer. False if it was not known.
    pub(super) fn forget(&mut self, now: Instant, key: PeerKey) -> bool {
        let Some(mut peer) = self.peers.remove(&key) else { return false };
        self.picker.remove_peer(&peer.pieces, peer.counted_as_seed);
        self.blocks.clear();
        peer.requests.clear(&mut self.blocks);
        for block in self.blocks.drain(..) {
            self.picker.release(block);
        }
        self.picker.give_up_parole(key);
        if let Some(addr) = peer.listens_at {
            self.swarm.ended(now, addr, now.saturating_duration_since(peer.joined));
        }
        if self.departed.len() >= MAX_DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back(Departed { key, addrs: peer.addrs(), id: peer.info.peer_id });
        true
    }

    fn after_departure(&mut self, now: Instant) {
        if !self.paused {
            self.fill_slots(now);
            self.refill_all(now);
            self.dial(now);
            self.ask_for_peers(now);
        }
    }

    fn introduced(&mut self, now: Instant, key: PeerKey, hello: &ExtendedHandshake) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if let Some(client) = &hello.client {
            peer.client = Some(client.chars().filter(|c| !c.is_control()).take(MAX_CLIENT).collect());
        }
        if let Some(limit) = hello.request_queue {
            peer.requests.lower_limit(limit);
        }
        let Some(port) = hello.listen_port.filter(|_| peer.listens_at.is_none()) else { return };
        let addr = SocketAddr::new(peer.info.addr.ip(), port);
        if self.swarm.is_banned(addr, None) {
            self.close(now, key, CloseReason::Banned);
        } else if self.swarm.add(now, addr, Source::Incoming) {
            peer.listens_at = Some(addr);
            let seed = peer.pieces.is_full();
            self.swarm.connected(addr);
            if seed {
                self.swarm.is_seed(addr);
            }
        }
    }

    fn choked(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.peer_choking = true;
        self.blocks.clear();
        if peer.info.features.fast {
            // It answers each request with a block or a reject, yet nobody should wait for that.
            peer.requests.make_late(&mut self.blocks);
        } else {
            peer.requests.clear(&mut self.blocks);
        }
        if self.blocks.is_empty() && peer.flutter > MAX_FLUTTER {
            return; // It was asked for nothing since the last time, so nothing is to be given to others.
        }
        for block in self.blocks.drain(..) {
            self.picker.release_late(block);
        }
        self.picker.give_up_parole(key);
        self.refill_all(now);
    }

    fn unchoked(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !std::mem::take(&mut peer.peer_choking) {
            return;
        }
        peer.dry = None;
        peer.requests.forget_late();
        let quick = peer.unchoked_at.replace(now).is_some_and(|before| now.saturating_duration_since(before) < REST);
        peer.flutter = if quick { peer.flutter.saturating_add(1) } else { 0 };
        if peer.flutter > MAX_FLUTTER {
            // It cannot make up its mind, and each time a whole pipeline of requests would be asked for in vain.
            peer.rest_until = Some(now + REST);
        }
        self.refill(now, key);
    }

    fn interest(&mut self, now: Instant, key: PeerKey, interested: bool) {
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| peer.peer_interested != interested) else { return };
        peer.peer_interested = interested;
        if peer.am_choking {
            peer.turn_since = now;
        } else if interested && self.served() > self.options.upload_slots {
            // It kept its unchoke while it wanted nothing, and others have its slot now.
            self.choke(now, key);
        }
        self.fill_slots(now);
    }

    fn peer_has(&mut self, now: Instant, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !peer.pieces.insert(piece) {
            return;
        }
        self.picker.add_copy(piece);
        if !self.picker.have().contains(piece) {
            peer.useful += 1;
            peer.dry = None;
        }
        self.after_news(now, key);
    }

    fn peer_has_all_of(&mut self, now: Instant, key: PeerKey, pieces: &Bitfield) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if pieces.len() != self.geometry.piece_count() {
            return;
        }
        self.picker.remove_peer(&peer.pieces, peer.counted_as_seed);
        self.picker.add_peer(pieces);
        peer.pieces = pieces.clone();
        peer.counted_as_seed = pieces.is_full();
        peer.useful = count_difference(pieces, self.picker.have());
        self.after_news(now, key);
    }

    /// The peer has more than before.
    fn after_news(&mut self, now: Instant, key: PeerKey) {
        self.update_interest(key);
        let Some(peer) = self.peers.get(&key) else { return };
        if peer.pieces.is_full() {
            if let Some(addr) = peer.listens_at {
                self.swarm.is_seed(addr);
            }
            if self.is_complete() {
                self.close(now, key, CloseReason::NothingToShare);
                return;
            }
        }
        self.refill(now, key);
    }

    fn requested(&mut self, now: Instant, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let has_room = peer.uploads.len() < MAX_UPLOADS as usize;
        let served = !peer.am_choking && self.picker.have().contains(block.piece()) && has_room;
        if served {
            peer.refused = 0;
            peer.uploads.push_back(block);
            self.actions.push_back(Action::Upload { peer: key, block });
            return;
        }
        peer.refused += 1;
        if peer.refused > MAX_REFUSED {
            self.close(now, key, CloseReason::Deaf);
        } else if peer.info.features.fast {
            self.send(key, Command::Reject(block));
        }
    }

    fn cancelled(&mut self, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if let Some(at) = peer.uploads.iter().position(|queued| *queued == block) {
            peer.uploads.remove(at);
            self.actions.push_back(Action::CancelUpload { peer: key, block });
        }
    }

    fn rejected(&mut self, now: Instant, key: PeerKey, block: Block) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(claim) = peer.requests.remove(block) else { return };
        if peer.peer_choking {
            peer.allowed_fast.retain(|piece| *piece != block.piece());
        } else {
            peer.rest_until = Some(now + REST);
        }
        if claim == Claim::Held {
            self.picker.release(block);
        }
        self.picker.give_up_parole(key);
        self.refill_all(now);
    }

    fn allowed_fast(&mut self, now: Instant, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.allowed_fast.len() < MAX_ALLOWED_FAST && !peer.allowed_fast.contains(&piece) {
            peer.allowed_fast.push(piece);
            peer.dry = None;
            self.refill(now, key);
        }
    }
}
