//! What happens to blocks and pieces: asking, arriving, windows, hashes, and who is to blame when one is wrong.

use std::time::{Duration, Instant};

use super::{Action, BlockVerdict, CloseReason, PieceOutcome, Torrent};
use crate::engine::parole;
use crate::engine::picker::{PickRequest, Received};
use crate::engine::requests::Claim;
use crate::proto::peer::Command;
use crate::types::{Block, PeerKey, PieceIndex};

/// Requests to one peer in the endgame at most: enough to hide a round trip, few enough to waste little.
const ENDGAME_DEPTH: usize = 32;
/// After a window could not be opened, no other is tried for so long.
const WINDOW_PAUSE: Duration = Duration::from_secs(5);

impl Torrent {
    /// A block came, `Event::Block`. On [`BlockVerdict::Store`] copy its bytes before the next action is polled: the
    /// piece may be ready for its hash.
    pub fn block_arrived(&mut self, now: Instant, key: PeerKey, block: Block) -> BlockVerdict {
        let Some(peer) = self.peers.get_mut(&key) else { return BlockVerdict::Discard };
        self.down.add(now, u64::from(block.len()));
        peer.requests.count(now, block);
        let received = peer.requests.arrived(now, block).map(|claim| (claim, self.picker.received(now, block, key)));
        let verdict = match received {
            Some((_, Received::Stored { complete, contended })) => {
                peer.useful_at = now;
                if contended {
                    self.cancel_elsewhere(now, key, block);
                }
                if complete {
                    let piece = block.piece();
                    let digests = self.parole.is_suspicious(piece);
                    self.actions.push_back(Action::Verify { piece, digests });
                }
                BlockVerdict::Store
            }
            Some((claim, Received::Useless)) => {
                if claim == Claim::Held {
                    self.picker.release(block);
                }
                BlockVerdict::Discard
            }
            None => BlockVerdict::Discard,
        };
        if verdict == BlockVerdict::Discard {
            self.wasted += u64::from(block.len());
        }
        self.refill(now, key);
        verdict
    }

    /// The answer to [`Action::OpenWindow`]: blocks of the piece have a place now.
    pub fn window_opened(&mut self, now: Instant, piece: PieceIndex) {
        if self.paused {
            self.picker.abandon(piece);
        } else if self.picker.opened(piece) {
            self.refill_all(now);
            return;
        }
        if !self.picker.is_started(piece) {
            self.actions.push_back(Action::CloseWindow(piece));
        }
    }

    /// The piece's window could not be opened, or a block not be stored in it. The window is gone; the piece is
    /// missing again.
    pub fn window_failed(&mut self, now: Instant, piece: PieceIndex) {
        self.windows_after = Some(now + WINDOW_PAUSE);
        self.cancel_piece(piece);
        self.picker.abandon(piece);
    }

    /// The answer to [`Action::Verify`]. `digests`: one per block in order, if they were asked for.
    pub fn piece_verified(&mut self, now: Instant, piece: PieceIndex, outcome: PieceOutcome, digests: &[u64]) {
        if !self.picker.is_verifying(piece) {
            return;
        }
        match outcome {
            PieceOutcome::Good => self.piece_good(now, piece, digests),
            PieceOutcome::Bad => self.piece_bad(now, piece, digests),
        }
    }

    /// Asks a peer for as much as its pipeline has room for, and has windows opened for what it will need next.
    pub(super) fn refill(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let endgame = self.picker.is_endgame();
        let mut room = peer.requests.room();
        if endgame {
            room = room.min(ENDGAME_DEPTH.saturating_sub(peer.requests.len()));
        }
        let silent = peer.peer_choking && peer.allowed_fast.is_empty();
        let resting = peer.rest_until.is_some_and(|until| now < until);
        let dry = !endgame && peer.dry == Some(self.picker.version());
        if !self.options.download || peer.useful == 0 || room == 0 || silent || resting || dry {
            return;
        }
        let requests = &peer.requests;
        let request = PickRequest {
            now,
            peer: key,
            pieces: &peer.pieces,
            useful: peer.useful,
            allowed: peer.peer_choking.then_some(peer.allowed_fast.as_slice()),
            already: &|block| requests.contains(block),
        };
        self.blocks.clear();
        self.picker.pick(&request, room, &mut peer.current, &mut self.blocks);

        let short = room.saturating_sub(self.blocks.len());
        let ahead = u32::try_from(short).unwrap_or(u32::MAX);
        while self.windows_after.is_none_or(|after| now >= after) {
            let enough = match ahead {
                0 => self.picker.free_blocks() >= requests.depth(),
                _ => self.picker.coming_for(&request) >= ahead,
            };
            if enough {
                break;
            }
            if self.picker.verifying_bytes() >= self.options.max_verifying(&self.geometry) {
                break; // The disk is behind. When it has caught up everybody is asked again.
            }
            let open = self.picker.open_bytes();
            let more = open.saturating_add(u64::from(self.geometry.piece_length()));
            if open > 0 && more > self.options.max_open_pieces_bytes {
                self.starved |= short > 0 && self.picker.coming_for(&request) == 0;
                break;
            }
            let Some(piece) = self.picker.start(&request) else { break };
            self.actions.push_back(Action::OpenWindow(piece));
        }
        if short > 0 {
            peer.dry = Some(self.picker.version());
        }
        for block in self.blocks.drain(..) {
            peer.requests.push(now, block);
            self.actions.push_back(Action::Send { peer: key, command: Command::Request(block) });
        }
    }

    /// As [`Self::refill`], for everybody: something has become free.
    pub(super) fn refill_all(&mut self, now: Instant) {
        for key in self.keys() {
            self.refill(now, key);
        }
    }

    /// Gives up a started piece.
    pub(super) fn give_up(&mut self, piece: PieceIndex) {
        self.cancel_piece(piece);
        if self.picker.abandon(piece) {
            self.actions.push_back(Action::CloseWindow(piece));
        }
    }

    /// The block is here: nobody else needs to send it.
    fn cancel_elsewhere(&mut self, now: Instant, from: PeerKey, block: Block) {
        for key in self.keys() {
            let Some(peer) = self.peers.get_mut(&key).filter(|_| key != from) else { continue };
            if peer.requests.remove(block).is_some() {
                self.send(key, Command::Cancel(block));
                self.refill(now, key);
            }
        }
    }

    /// Nobody needs to send any block of this piece.
    fn cancel_piece(&mut self, piece: PieceIndex) {
        for (key, peer) in &mut self.peers {
            for block in peer.requests.remove_piece(piece) {
                self.actions.push_back(Action::Send { peer: *key, command: Command::Cancel(block) });
            }
        }
    }

    fn piece_good(&mut self, now: Instant, piece: PieceIndex, digests: &[u64]) {
        self.picker.good(piece);
        self.bytes_have += u64::from(self.geometry.piece_len(piece));
        for key in self.keys() {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            let full = peer.pieces.is_full();
            if peer.pieces.contains(piece) {
                peer.useful = peer.useful.saturating_sub(1);
                self.update_interest(key);
            }
            // Also to who has the piece: two peers that kept that to themselves would never see each other complete.
            if !full {
                self.send(key, Command::Have(piece));
            }
        }
        for liar in self.parole.judge(piece, digests) {
            self.ban(now, liar);
        }
        if self.is_complete() {
            self.completed(now);
        }
        self.refill_all(now);
    }

    fn completed(&mut self, now: Instant) {
        self.actions.push_back(Action::Completed);
        self.hungry = false;
        let seeds = self.peers.iter().filter(|(_, peer)| peer.pieces.is_full());
        let seeds: Vec<PeerKey> = seeds.map(|(key, _)| *key).collect();
        for key in seeds {
            self.close(now, key, CloseReason::NothingToShare);
        }
    }

    /// Who sent the whole piece alone lied. Otherwise the piece is fetched anew from one peer, and the digests of both
    /// attempts tell; for that the bad bytes are read once more before they are overwritten.
    fn piece_bad(&mut self, now: Instant, piece: PieceIndex, digests: &[u64]) {
        if self.paused {
            self.give_up(piece);
            return;
        }
        let senders = self.picker.senders(piece);
        let sole = parole::sole(&senders);
        if sole.is_none() && self.parole.suspect(piece) && digests.is_empty() {
            self.actions.push_back(Action::Verify { piece, digests: true });
            return;
        }
        self.failed_pieces += 1;
        self.wasted += u64::from(self.geometry.piece_len(piece));
        if let Some(liar) = sole {
            self.picker.retry(piece, None);
            self.ban(now, liar);
        } else {
            self.parole.record(piece, senders, digests);
            let prover = self.prover(piece);
            self.picker.retry(piece, prover);
        }
        self.refill_all(now);
    }

    /// The best peer to fetch a suspicious piece from: not a suspect if possible, then the fastest.
    fn prover(&self, piece: PieceIndex) -> Option<PeerKey> {
        let able = self.peers.iter().filter(|(_, peer)| peer.can_deliver(piece));
        let best = able.max_by_key(|(key, peer)| (!self.parole.is_suspect(piece, **key), peer.requests.downloaded()));
        best.map(|(key, _)| *key)
    }
}
