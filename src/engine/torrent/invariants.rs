//! Random histories of one torrent: whatever peers and disks do in whatever order, the books of picker, pipelines and
//! interest agree with each other, and with honest peers at the end everything completes.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::{any, prop, proptest};

use super::*;
use crate::proto::peer::{Event, Features};
use crate::types::{BLOCK_LEN, Block, PieceIndex};

const PIECES: u32 = 9;
const PEERS: u32 = 4;

fn key(slot: u32) -> PeerKey {
    PeerKey { slot, generation: 0 }
}

/// A torrent and what its owner still has to answer.
struct World {
    torrent: Torrent,
    geometry: Geometry,
    now: Instant,
    opening: Vec<PieceIndex>,
    verifying: Vec<(PieceIndex, bool)>,
    /// Windows that are open on the disk's side.
    windows: BTreeSet<PieceIndex>,
    requests: Vec<(PeerKey, Block)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let len = u64::from(3 * BLOCK_LEN);
        let geometry = Geometry::new(len * u64::from(PIECES) - 100, len).unwrap();
        let now = Instant::now();
        let options = TorrentOptions { max_open_pieces_bytes: 3 * len, upload_slots: 2, ..TorrentOptions::default() };
        let torrent = Torrent::new(now, options, geometry, Bitfield::empty(PIECES), seed);
        let (opening, verifying, requests) = (Vec::new(), Vec::new(), Vec::new());
        Self { torrent, geometry, now, opening, verifying, windows: BTreeSet::new(), requests }
    }

    fn join(&mut self, slot: u32, fast: bool) {
        let info = PeerInfo {
            addr: ([10, 0, 0, u8::try_from(slot).unwrap()], 1).into(),
            incoming: slot.is_multiple_of(2),
            peer_id: PeerId::new([u8::try_from(slot).unwrap(); 20]),
            features: Features { fast, extended: true, dht: false },
            known: false,
        };
        self.torrent.peer_joined(self.now, key(slot), info);
    }

    fn say(&mut self, slot: u32, event: &Event<'_>) {
        self.torrent.peer_event(self.now, key(slot), event);
    }

    fn drain(&mut self) {
        while let Some(action) = self.torrent.poll_action() {
            match action {
                Action::OpenWindow(piece) => self.opening.push(piece),
                Action::CloseWindow(piece) => assert!(self.windows.remove(&piece), "{piece} is not open"),
                Action::Verify { piece, digests } => {
                    assert!(self.windows.contains(&piece));
                    self.verifying.push((piece, digests));
                }
                Action::Send { peer, command: Command::Request(block) } => {
                    assert!(self.windows.contains(&block.piece()), "its blocks have a place");
                    self.requests.push((peer, block));
                }
                Action::Close { peer, .. } => self.requests.retain(|(to, _)| *to != peer),
                Action::Connect(addr) => self.torrent.connect_failed(self.now, addr),
                _ => {}
            }
        }
        self.check();
    }

    /// One random thing happens.
    fn step(&mut self, what: u8, slot: u32, n: u8) {
        let piece = self.geometry.piece(u32::from(n) % PIECES).unwrap();
        let block = self.geometry.block(piece, u32::from(n) % self.geometry.block_count(piece)).unwrap();
        match what {
            0 if !self.torrent.peers.contains_key(&key(slot)) => self.join(slot, n.is_multiple_of(2)),
            1 if n < 60 => self.torrent.peer_left(self.now, key(slot)),
            2 => self.say(slot, &Event::Have(piece)),
            3 if n < 90 => self.say(slot, &Event::Bitfield(Bitfield::full(PIECES))),
            4 | 5 => self.say(slot, &Event::Unchoked),
            6 if n < 120 => self.say(slot, &Event::Choked),
            7 => self.say(slot, &if n < 128 { Event::Interested } else { Event::NotInterested }),
            8 => self.say(slot, &if n < 128 { Event::Requested(block) } else { Event::Cancelled(block) }),
            9 => self.say(slot, &if n < 128 { Event::AllowedFast(piece) } else { Event::Rejected(block) }),
            10..=16 => self.deliver(n),
            17 | 18 => self.open(n),
            19 | 20 => self.verify(n),
            21 => {
                self.now += Duration::from_millis(u64::from(n) * 200);
                self.torrent.handle_timeout(self.now);
            }
            22 if n < 10 => self.torrent.pause(self.now),
            22 | 23 => self.torrent.resume(self.now),
            _ => {}
        }
        self.drain();
    }

    fn deliver(&mut self, n: u8) {
        if self.requests.is_empty() {
            return;
        }
        let (peer, block) = self.requests.swap_remove(usize::from(n) % self.requests.len());
        if self.torrent.block_arrived(self.now, peer, block) == BlockVerdict::Store {
            assert!(self.windows.contains(&block.piece()));
        }
    }

    fn open(&mut self, n: u8) {
        let Some(piece) = self.opening.pop() else { return };
        if n < 20 {
            self.torrent.window_failed(self.now, piece);
        } else {
            assert!(self.windows.insert(piece), "{piece} is open already");
            self.torrent.window_opened(self.now, piece);
        }
    }

    fn verify(&mut self, n: u8) {
        let Some((piece, digests)) = self.verifying.pop() else { return };
        let blocks = u64::from(self.geometry.block_count(piece));
        let digests: Vec<u64> = (0..blocks).filter(|_| digests).map(|block| block * u64::from(n % 3)).collect();
        let outcome = if n < 60 { PieceOutcome::Bad } else { PieceOutcome::Good };
        if outcome == PieceOutcome::Good {
            self.windows.remove(&piece);
        }
        self.torrent.piece_verified(self.now, piece, outcome, &digests);
    }

    fn check(&self) {
        let torrent = &self.torrent;
        let have = torrent.picker.have();
        for (key, peer) in &torrent.peers {
            let useful = self.geometry.pieces().filter(|piece| peer.pieces.contains(*piece) && !have.contains(*piece));
            assert_eq!(peer.useful as usize, useful.count(), "{key}");
            assert_eq!(peer.am_interested, peer.useful > 0, "{key}");
        }
        for block in self.geometry.pieces().flat_map(|piece| self.geometry.blocks(piece)) {
            let held = torrent.peers.values().filter(|peer| peer.requests.holds(block)).count();
            assert_eq!(torrent.picker.times_asked(block), held, "{block}");
        }
        let served = torrent.peers.values().filter(|peer| peer.peer_interested && !peer.am_choking).count();
        assert!(served <= torrent.options.upload_slots + 1, "{served}");
    }

    /// Only good things happen from now on.
    fn finish(&mut self) {
        self.torrent.resume(self.now);
        self.drain();
        for slot in 10..12 {
            self.join(slot, true);
            self.say(slot, &Event::Bitfield(Bitfield::full(PIECES)));
            self.say(slot, &Event::Unchoked);
            self.drain();
        }
        for _ in 0..4000 {
            if self.torrent.is_complete() {
                return;
            }
            self.now += Duration::from_millis(100);
            self.torrent.handle_timeout(self.now);
            self.drain();
            self.open(255);
            self.drain();
            self.verify(255);
            self.drain();
            // The honest ones answer; what the others were asked for never comes.
            if let Some(at) = self.requests.iter().position(|(peer, _)| peer.slot >= 10) {
                let (peer, block) = self.requests.remove(at);
                self.torrent.block_arrived(self.now, peer, block);
                self.drain();
            }
        }
        panic!("not complete: {:?}", self.torrent.stats(self.now));
    }
}

proptest! {
    #[test]
    fn the_books_agree_whatever_happens(
        seed in any::<u64>(),
        steps in prop::collection::vec((0..24_u8, 0..PEERS, any::<u8>()), 0..400),
    ) {
        let mut world = World::new(seed);
        for (what, slot, n) in steps {
            world.step(what, slot, n);
        }
        world.finish();
    }
}
