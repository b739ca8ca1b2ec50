//! Fetches the metadata (the raw info dictionary) that a magnet link only names (BEP 9, `ut_metadata`).
//!
//! Peers say how large it is; that is only a claim, so nothing is allocated for it, and sizes are tried one after the
//! other. All peers of one size share the work. Should the result not match the info hash, peers deliver it alone, one
//! by one, and whoever then fails is closed as a liar. Pure like [`Torrent`](super::Torrent) and driven the same way; not
//! here: serving metadata, which needs no decisions.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sha1::{Digest, Sha1};

use super::torrent::CloseReason;
use crate::proto::peer::{Command, Event, MAX_METADATA_LEN, METADATA_PIECE_LEN};
use crate::types::{InfoHash, PeerKey, SortedMap};

/// Requests to one peer at a time. Many clients answer only a few metadata requests at once.
const MAX_REQUESTS: usize = 3;
/// Peers at a time. A newcomer replaces the one that has been here longest of those that are not being asked: what is
/// wanted is small, so whoever has it to give is asked at once.
const MAX_PEERS: usize = 60;
/// A request that is not answered for so long is given to somebody else.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that refused or was late is left alone for so long.
const REST: Duration = Duration::from_secs(30);

/// What the owner of a [`MetadataFetch`] has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataAction {
    /// Say this to the peer.
    Send {
        /// To whom.
        peer: PeerKey,
        /// What.
        command: Command,
    },
    /// Close the connection. The fetch has forgotten the peer.
    Close {
        /// Which.
        peer: PeerKey,
        /// Why, for the log.
        reason: CloseReason,
    },
    /// The raw info dictionary; its SHA-1 is the info hash. The fetch is over.
    Done(Vec<u8>),
}

#[derive(Debug)]
struct Peer {
    joined: Instant,
    /// Bytes of metadata, as it says. `None`: it has not said yet, or said something impossible.
    size: Option<u32>,
    rest_until: Option<Instant>,
    /// Has sent metadata that did not match, together with others.
    suspect: bool,
}

#[derive(Clone, Debug, Default)]
enum Piece {
    #[default]
    Missing,
    Asked {
        peer: PeerKey,
        at: Instant,
    },
    Here {
        from: PeerKey,
        data: Vec<u8>,
    },
}

/// One try at metadata of one size.
#[derive(Debug)]
struct Attempt {
    size: u32,
    /// Only this peer is asked: an earlier attempt with several failed.
    alone: Option<PeerKey>,
    pieces: Vec<Piece>,
}

/// Fetches the metadata of one torrent.
#[derive(Debug)]
pub struct MetadataFetch {
    info_hash: InfoHash,
    peers: SortedMap<PeerKey, Peer>,
    attempt: Option<Attempt>,
    /// A shared attempt has failed: from now on one peer at a time.
    distrust: bool,
    /// Bytes that an attempt may take; what wants more waits.
    room: u32,
    /// Bytes that the next attempt takes, if one waits for room.
    wanted: u32,
    done: bool,
    actions: VecDeque<MetadataAction>,
}

impl MetadataFetch {
    /// Nothing is asked for until peers join and tell a size, and there is [room](Self::set_room) for it.
    #[must_use]
    pub fn new(info_hash: InfoHash) -> Self {
        let (peers, actions) = (SortedMap::new(), VecDeque::new());
        Self { info_hash, peers, attempt: None, distrust: false, room: 0, wanted: 0, done: false, actions }
    }

    /// Bytes of memory that are in use, or wanted. Look after every call that changes something.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.attempt.as_ref().map_or(self.wanted, |attempt| attempt.size)
    }

    /// Metadata of so many bytes may be fetched; what is larger waits. It starts with no room.
    pub fn set_room(&mut self, now: Instant, bytes: u32) {
        self.room = bytes;
        self.ask(now);
    }

    /// What to do next. Call until `None` after every other call that changes something.
    pub fn poll_action(&mut self) -> Option<MetadataAction> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.done {
            return None;
        }
        let asked = self.attempt.iter().flat_map(|attempt| &attempt.pieces).filter_map(|piece| match piece {
            Piece::Asked { at, .. } => Some(*at + TIMEOUT),
            _ => None,
        });
        asked.chain(self.peers.values().filter_map(|peer| peer.rest_until)).min()
    }

    /// A handshake is done. The peer is asked once its extended handshake tells a size.
    pub fn peer_joined(&mut self, now: Instant, key: PeerKey) {
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&key) {
            let idle = self.peers.iter().filter(|(key, _)| !self.attempt.as_ref().is_some_and(|a| a.asks(**key)));
            let leaves = idle.min_by_key(|(_, peer)| peer.joined).map(|(key, _)| *key);
            let (peer, reason) = match leaves {
                Some(idle) => (idle, CloseReason::Replaced),
                None => (key, CloseReason::TooManyPeers),
            };
            self.forget(peer);
            self.actions.push_back(MetadataAction::Close { peer, reason });
            if leaves.is_none() {
                return;
            }
        }
        self.peers.entry(key).or_insert(Peer { joined: now, size: None, rest_until: None, suspect: false });
    }

    /// The connection is gone.
    pub fn peer_left(&mut self, now: Instant, key: PeerKey) {
        self.forget(key);
        self.ask(now);
    }

    /// The peer said something; only what concerns metadata is looked at.
    pub fn peer_event(&mut self, now: Instant, key: PeerKey, event: &Event<'_>) {
        let Some(peer) = self.peers.get_mut(&key).filter(|_| !self.done) else { return };
        match event {
            Event::ExtendedHandshake(hello) => {
                peer.size = hello.metadata_size.filter(|size| (1..=MAX_METADATA_LEN).contains(size)).or(peer.size);
            }
            Event::MetadataPiece { piece, total_size, data } => self.arrived(key, *piece, *total_size, data),
            Event::MetadataRejected(piece) => self.rejected(now, key, *piece),
            _ => return,
        }
        self.ask(now);
    }

    /// Gives late requests to others. Harmless when called early.
    pub fn handle_timeout(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.rest_until = peer.rest_until.filter(|until| now < *until);
        }
        let mut late = Vec::new();
        for piece in self.attempt.iter_mut().flat_map(|attempt| &mut attempt.pieces) {
            if let Piece::Asked { peer, at } = piece
                && now >= *at + TIMEOUT
            {
                late.push(*peer);
                *piece = Piece::Missing;
            }
        }
        for key in late {
            self.let_rest(now, key);
        }
        self.ask(now);
    }

    fn arrived(&mut self, key: PeerKey, number: u32, total_size: u32, data: &[u8]) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.size == total_size) else { return };
        let len = attempt.piece_len(number);
        let Some(piece) = attempt.pieces.get_mut(number as usize) else { return };
        let asked = matches!(piece, Piece::Asked { peer, .. } if *peer == key);
        if !asked || len != data.len() {
            return;
        }
        *piece = Piece::Here { from: key, data: data.to_vec() };
        if attempt.pieces.iter().all(|piece| matches!(piece, Piece::Here { .. })) {
            self.check();
        }
    }

    /// All pieces are here: is it what the info hash names?
    fn check(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        // Each piece goes as soon as it is copied, so this is not twice the memory.
        let mut bytes = Vec::with_capacity(attempt.size as usize);
        let mut senders = Vec::new();
        for piece in attempt.pieces {
            if let Piece::Here { from, data } = piece {
                bytes.extend_from_slice(&data);
                senders.push(from);
            }
        }
        let hash: [u8; 20] = Sha1::digest(&bytes).into();
        if InfoHash::new(hash) == self.info_hash {
            self.done = true;
            self.wanted = 0;
            self.actions.push_back(MetadataAction::Done(bytes));
            return;
        }
        if let Some(liar) = super::parole::sole(&senders) {
            self.forget(liar);
            self.actions.push_back(MetadataAction::Close { peer: liar, reason: CloseReason::Banned });
            return;
        }
        self.distrust = true;
        for sender in senders {
            if let Some(peer) = self.peers.get_mut(&sender) {
                peer.suspect = true;
            }
        }
    }

    fn rejected(&mut self, now: Instant, key: PeerKey, number: u32) {
        let pieces = self.attempt.iter_mut().flat_map(|attempt| attempt.pieces.get_mut(number as usize));
        for piece in pieces {
            if matches!(piece, Piece::Asked { peer, .. } if *peer == key) {
                *piece = Piece::Missing;
            }
        }
        self.let_rest(now, key);
    }

    /// The peer does not deliver now; the next one may have another size or turn.
    fn let_rest(&mut self, now: Instant, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.rest_until = Some(now + REST);
        }
        self.attempt.take_if(|attempt| attempt.alone == Some(key));
    }

    fn forget(&mut self, key: PeerKey) {
        self.peers.remove(&key);
        self.attempt.take_if(|attempt| attempt.alone == Some(key));
        for piece in self.attempt.iter_mut().flat_map(|attempt| &mut attempt.pieces) {
            if matches!(piece, Piece::Asked { peer, .. } if *peer == key) {
                *piece = Piece::Missing;
            }
        }
    }

    /// Sends as many requests as make sense now.
    fn ask(&mut self, now: Instant) {
        if self.done {
            return;
        }
        let able = |peer: &Peer| peer.rest_until.is_none_or(|until| now >= until);
        // A size that nobody here stands for any more is given up.
        let peers = &self.peers;
        self.attempt.take_if(|attempt| !peers.values().any(|peer| peer.size == Some(attempt.size) && able(peer)));
        if self.attempt.is_none() {
            let able = self.peers.iter().filter(|(_, peer)| able(peer));
            let best = able.filter_map(|(key, peer)| Some((peer.suspect, *key, peer.size?))).min();
            self.wanted = best.map_or(0, |(_, _, size)| size);
            let best = best.filter(|(_, _, size)| *size <= self.room);
            self.attempt = best.map(|(_, key, size)| Attempt::new(size, self.distrust.then_some(key)));
        }
        let Some(attempt) = &mut self.attempt else { return };
        for (key, peer) in &self.peers {
            let takes_part =
                peer.size == Some(attempt.size) && able(peer) && attempt.alone.is_none_or(|one| one == *key);
            if takes_part {
                attempt.ask(now, *key, &mut self.actions);
            }
        }
    }
}

impl Attempt {
    fn new(size: u32, alone: Option<PeerKey>) -> Self {
        let count = size.div_ceil(METADATA_PIECE_LEN) as usize;
        Self { size, alone, pieces: vec![Piece::Missing; count] }
    }

    /// Bytes in the piece; 0 beyond the last one.
    fn piece_len(&self, number: u32) -> usize {
        let start = number.saturating_mul(METADATA_PIECE_LEN);
        self.size.saturating_sub(start).min(METADATA_PIECE_LEN) as usize
    }

    /// Does this peer owe us a piece?
    fn asks(&self, key: PeerKey) -> bool {
        self.asked_of(key) > 0
    }

    fn asked_of(&self, key: PeerKey) -> usize {
        self.pieces.iter().filter(|piece| matches!(piece, Piece::Asked { peer, .. } if *peer == key)).count()
    }

    fn ask(&mut self, now: Instant, key: PeerKey, actions: &mut VecDeque<MetadataAction>) {
        let busy = self.asked_of(key);
        let missing = (0..).zip(&mut self.pieces).filter(|(_, piece)| matches!(piece, Piece::Missing));
        for (number, piece) in missing.take(MAX_REQUESTS.saturating_sub(busy)) {
            *piece = Piece::Asked { peer: key, at: now };
            actions.push_back(MetadataAction::Send { peer: key, command: Command::MetadataRequest(number) });
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::proto::peer::ExtendedHandshake;

    const SIZE: u32 = 70_000;

    fn key(slot: u32) -> PeerKey {
        PeerKey { slot, generation: 0 }
    }

    fn metadata() -> Vec<u8> {
        (0..SIZE).map(|n| (n % 251) as u8).collect()
    }

    fn fetch() -> MetadataFetch {
        let mut fetch = MetadataFetch::new(InfoHash::new(Sha1::digest(metadata()).into()));
        fetch.room = u32::MAX;
        fetch
    }

    fn join(fetch: &mut MetadataFetch, now: Instant, slot: u32, size: u32) {
        fetch.peer_joined(now, key(slot));
        let hello = ExtendedHandshake { metadata_size: Some(size), ..ExtendedHandshake::default() };
        fetch.peer_event(now, key(slot), &Event::ExtendedHandshake(hello));
    }

    /// Lets peers answer until nothing happens; `lies` sends zeros. The metadata, if done, and who was closed.
    fn run(fetch: &mut MetadataFetch, now: Instant, lies: impl Fn(u32) -> bool) -> (Option<Vec<u8>>, Vec<PeerKey>) {
        let mut closed = Vec::new();
        while let Some(action) = fetch.poll_action() {
            match action {
                MetadataAction::Done(bytes) => return (Some(bytes), closed),
                MetadataAction::Close { peer, .. } => closed.push(peer),
                MetadataAction::Send { peer, command: Command::MetadataRequest(piece) } => {
                    let start = (piece * METADATA_PIECE_LEN) as usize;
                    let mut data = metadata()[start..].iter().take(16_384).copied().collect::<Vec<_>>();
                    if lies(peer.slot) {
                        data.fill(0);
                    }
                    let event = Event::MetadataPiece { piece, total_size: SIZE, data: &data };
                    fetch.peer_event(now, peer, &event);
                }
                MetadataAction::Send { command, .. } => panic!("{command:?}"),
            }
        }
        (None, closed)
    }

    #[test]
    fn several_peers_deliver_it_together() {
        let now = Instant::now();
        let mut fetch = fetch();
        join(&mut fetch, now, 1, SIZE);
        join(&mut fetch, now, 2, SIZE);
        let asked: Vec<u32> = fetch
            .actions
            .iter()
            .map(|action| match action {
                MetadataAction::Send { peer, .. } => peer.slot,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(asked, [1, 1, 1, 2, 2]);
        assert_eq!(run(&mut fetch, now, |_| false), (Some(metadata()), vec![]));
        assert_eq!(fetch.poll_timeout(), None);
    }

    #[test]
    fn nothing_is_fetched_before_there_is_room_for_it() {
        let now = Instant::now();
        let mut fetch = fetch();
        fetch.set_room(now, SIZE - 1);
        assert_eq!(fetch.bytes(), 0);
        join(&mut fetch, now, 1, SIZE);
        assert_eq!((fetch.bytes(), fetch.poll_action()), (SIZE, None));
        fetch.set_room(now, SIZE);
        assert_eq!(run(&mut fetch, now, |_| false).0, Some(metadata()));
        assert_eq!(fetch.bytes(), 0);
    }

    #[test]
    fn room_is_not_wanted_any_more_when_nobody_is_left_who_has_the_metadata() {
        let now = Instant::now();
        let mut fetch = fetch();
        fetch.set_room(now, 0);
        join(&mut fetch, now, 1, SIZE);
        assert_eq!(fetch.bytes(), SIZE);
        fetch.peer_left(now, key(1));
        assert_eq!(fetch.bytes(), 0);
    }

    #[test]
    fn what_did_not_match_is_fetched_from_one_peer_alone_and_a_liar_is_closed() {
        let now = Instant::now();
        for (peers, closed) in [(2, vec![key(1)]), (3, vec![])] {
            // With three, the third one took no part in the bad attempt and is asked first.
            let mut fetch = fetch();
            for slot in 1..=peers {
                join(&mut fetch, now, slot, SIZE);
            }
            assert_eq!(run(&mut fetch, now, |slot| slot == 1), (Some(metadata()), closed));
        }
    }

    #[test]
    fn a_wrong_size_does_not_stop_the_others() {
        let now = Instant::now();
        let mut fetch = fetch();
        join(&mut fetch, now, 1, u32::MAX);
        assert_eq!(fetch.poll_action(), None);
        join(&mut fetch, now, 1, SIZE - 5);
        while fetch.poll_action().is_some() {}
        join(&mut fetch, now, 2, SIZE);
        assert_eq!(fetch.poll_action(), None);
        let later = now + TIMEOUT;
        assert_eq!(fetch.poll_timeout(), Some(later));
        fetch.handle_timeout(later);
        assert_eq!(run(&mut fetch, later, |_| false).0, Some(metadata()));
    }

    #[test]
    fn a_crowd_without_metadata_makes_room_and_who_is_asked_stays() {
        let now = Instant::now();
        let mut fetch = fetch();
        join(&mut fetch, now, 0, SIZE);
        while fetch.poll_action().is_some() {}
        for slot in 1..100 {
            fetch.peer_joined(now + Duration::from_millis(slot.into()), key(slot));
        }
        let closed: Vec<MetadataAction> = std::iter::from_fn(|| fetch.poll_action()).collect();
        let leaves = |slot| MetadataAction::Close { peer: key(slot), reason: CloseReason::Replaced };
        assert_eq!(closed, (1..=40).map(leaves).collect::<Vec<_>>());
        assert_eq!(fetch.peers.len(), MAX_PEERS);
        assert!(fetch.peers.contains_key(&key(0)));
    }

    #[test]
    fn who_refuses_is_left_alone_for_a_while() {
        let now = Instant::now();
        let mut fetch = fetch();
        join(&mut fetch, now, 1, SIZE);
        while fetch.poll_action().is_some() {}
        fetch.peer_event(now, key(1), &Event::MetadataRejected(0));
        assert_eq!(fetch.poll_action(), None);
        let later = fetch.poll_timeout().unwrap();
        assert_eq!(later, now + REST);
        fetch.handle_timeout(later);
        assert_eq!(run(&mut fetch, later, |_| false).0, Some(metadata()));
    }

    #[test]
    fn unasked_pieces_and_wrong_lengths_change_nothing() {
        let now = Instant::now();
        let mut fetch = fetch();
        join(&mut fetch, now, 1, SIZE);
        let before = fetch.actions.len();
        for (peer, piece, len) in [(2, 0, 16_384), (1, 0, 16_383), (1, 4, 16_384), (1, 99, 1)] {
            let event = Event::MetadataPiece { piece, total_size: SIZE, data: &vec![0; len] };
            fetch.peer_event(now, key(peer), &event);
        }
        assert_eq!(fetch.actions.len(), before);
        assert_eq!(run(&mut fetch, now, |_| false).0, Some(metadata()));
    }

    #[test]
    fn the_work_of_a_peer_that_leaves_goes_to_another() {
        let now = Instant::now();
        let mut fetch = fetch();
        join(&mut fetch, now, 1, SIZE);
        while fetch.poll_action().is_some() {}
        fetch.peer_left(now, key(1));
        join(&mut fetch, now, 2, SIZE);
        assert_eq!(run(&mut fetch, now, |_| false).0, Some(metadata()));
    }
}
