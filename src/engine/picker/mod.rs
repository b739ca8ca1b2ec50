//! Which block to ask a peer for.
//!
//! Started pieces come before new ones, so that few are open at a time; of new ones the rarest comes first, and the
//! very first few are random so that a newcomer soon has something to trade (BEP 3 leaves this open; it is what all
//! clients do). When every missing block has been asked for, the last ones are asked of a few peers more (endgame).
//!
//! Blocks are only picked from pieces whose window is open. Costs: a block O(log started pieces); a change of whose
//! peer has what O(1) a piece; starting a piece usually a few looks, at worst one pass over the missing ones.
//! Not here: how many blocks a peer may owe, and when it is late (`requests`).

mod partial;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::rarity::Rarity;
use crate::types::{Bitfield, Block, Geometry, PeerKey, PieceIndex};
use partial::{Access, BlockState, Partial, Phase};

/// So many pieces are started at random before the rarest come first. libtorrent's number.
const RANDOM_FIRST_PIECES: u32 = 4;
/// Peers that one block is asked of at the same time in the endgame. Taste: more costs more than it wins.
const ENDGAME_COPIES: u8 = 3;
/// A peer with at most so many useful pieces is searched by its own pieces, not by the list of missing ones.
const FEW_PIECES: u32 = 64;
/// A started piece that nobody is asked for may be given up for another one after this time.
const IDLE_PIECE: Duration = Duration::from_secs(10);

/// The peer that blocks are picked for.
pub struct PickRequest<'a> {
    /// The moment.
    pub now: Instant,
    /// The peer.
    pub peer: PeerKey,
    /// What it has.
    pub pieces: &'a Bitfield,
    /// How many of its pieces are missing here.
    pub useful: u32,
    /// Only these pieces, if it chokes us but serves some anyway (BEP 6).
    pub allowed: Option<&'a [PieceIndex]>,
    /// Has it been asked for this block already?
    pub already: &'a dyn Fn(Block) -> bool,
}

impl PickRequest<'_> {
    fn has(&self, piece: PieceIndex) -> bool {
        self.pieces.contains(piece) && self.allowed.is_none_or(|allowed| allowed.contains(&piece))
    }
}

/// What became of a block that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It has no place: not started, not open, here already, or another peer's task.
    Useless,
    /// It belongs into the window.
    Stored {
        /// It was the last one: the piece now waits for [`Picker::good`] or [`Picker::retry`].
        complete: bool,
        /// Other peers may have been asked for it too.
        contended: bool,
    },
}

/// The pieces of one torrent: had, started and missing.
#[derive(Debug)]
pub struct Picker {
    geometry: Geometry,
    have: Bitfield,
    rarity: Rarity,
    partials: BTreeMap<PieceIndex, Partial>,
    /// Free blocks of the pieces in phase `Open`.
    free_open: u32,
    /// Free blocks of the pieces in phase `Opening`.
    free_opening: u32,
    /// Bytes of all started pieces.
    open_bytes: u64,
    /// Those of them in phase `Verifying`.
    verifying_bytes: u64,
    version: u64,
    rng: Rng,
}

impl Picker {
    /// A picker for what is not in `have`. The same seed picks the same blocks.
    #[must_use]
    pub fn new(geometry: Geometry, have: Bitfield, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rarity = Rarity::new(&geometry, &mut rng, |piece| !have.contains(piece));
        let partials = BTreeMap::new();
        let (free_open, free_opening, open_bytes, verifying_bytes, version) = (0, 0, 0, 0, 0);
        Self { geometry, have, rarity, partials, free_open, free_opening, open_bytes, verifying_bytes, version, rng }
    }

    /// The verified pieces.
    #[must_use]
    pub const fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Bytes of the pieces that are started and not verified.
    #[must_use]
    pub const fn open_bytes(&self) -> u64 {
        self.open_bytes
    }

    /// Bytes of the pieces whose blocks are all here and whose hash is not known yet.
    #[must_use]
    pub const fn verifying_bytes(&self) -> u64 {
        self.verifying_bytes
    }

    /// Free blocks of started pieces, windows that are being opened included.
    #[must_use]
    pub const fn free_blocks(&self) -> u32 {
        self.free_open + self.free_opening
    }

    /// Changes whenever a peer that found nothing may find something now.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// True if every missing block that somebody has is asked for.
    #[must_use]
    pub fn is_endgame(&self) -> bool {
        self.free_blocks() == 0 && !self.partials.is_empty() && !self.rarity.any_available()
    }

    /// Copies of the rarest piece that is neither had nor started; 0 if there is no such piece.
    #[must_use]
    pub fn rarest_copies(&self) -> u32 {
        self.rarity.order().first().map_or(0, |piece| self.rarity.copies(*piece))
    }

    /// A peer came with these pieces, or told them all at once.
    pub fn add_peer(&mut self, pieces: &Bitfield) {
        self.version += 1;
        if pieces.is_full() {
            self.rarity.seed_joined();
            return;
        }
        for piece in ones(&self.geometry, pieces) {
            self.rarity.add_copy(piece, &mut self.rng);
        }
    }

    /// A peer with these pieces went. `as_seed`: it was full when [`Self::add_peer`] saw it.
    pub fn remove_peer(&mut self, pieces: &Bitfield, as_seed: bool) {
        if as_seed {
            self.rarity.seed_left();
            return;
        }
        for piece in ones(&self.geometry, pieces) {
            self.rarity.remove_copy(piece, &mut self.rng);
        }
    }

    /// A peer has one piece more.
    pub fn add_copy(&mut self, piece: PieceIndex) {
        self.rarity.add_copy(piece, &mut self.rng);
    }

    /// Starts the best new piece for this peer, which then waits for [`Self::opened`]. `None` if it has none.
    pub fn start(&mut self, request: &PickRequest<'_>) -> Option<PieceIndex> {
        let piece = self.choose_new(request)?;
        self.rarity.unlist(piece);
        let partial = Partial::new(request.now, self.geometry.block_count(piece));
        self.free_opening += partial.free();
        self.open_bytes += u64::from(self.geometry.piece_len(piece));
        self.partials.insert(piece, partial);
        Some(piece)
    }

    /// The window is open. False if the piece is not waiting for that.
    pub fn opened(&mut self, piece: PieceIndex) -> bool {
        let Some(partial) = self.partials.get_mut(&piece).filter(|partial| partial.phase == Phase::Opening) else {
            return false;
        };
        partial.phase = Phase::Open;
        self.free_opening -= partial.free();
        self.free_open += partial.free();
        self.version += 1;
        true
    }

    /// Forgets all progress of a started piece; it is missing like any other. False if it was not started.
    pub fn abandon(&mut self, piece: PieceIndex) -> bool {
        if !self.remove_partial(piece) {
            return false;
        }
        self.rarity.list(piece, &mut self.rng);
        true
    }

    /// Picks up to `count` blocks for a peer and appends them to `out`. `current` is the piece it works on; it stays
    /// with one as long as there is something to do, so that pieces get done and few peers share each. In the endgame a
    /// call finds either free blocks or, when there are none, blocks that others are asked for.
    pub fn pick(
        &mut self,
        request: &PickRequest<'_>,
        count: usize,
        current: &mut Option<PieceIndex>,
        out: &mut Vec<Block>,
    ) {
        let start = out.len();
        let goal = start.saturating_add(count);
        if let Some(piece) = *current {
            self.take_from(piece, request, goal, out);
        }
        while out.len() < goal && self.free_open > 0 {
            let before = out.len();
            let Some(piece) = self.choose_started(request) else { break };
            *current = Some(piece);
            self.take_from(piece, request, goal, out);
            if out.len() == before {
                break;
            }
        }
        if out.len() == start && self.is_endgame() {
            for copies in 1..ENDGAME_COPIES {
                self.take_again(copies, request, goal, out);
            }
        }
    }

    /// A peer is not expected to send this block any more.
    pub fn release(&mut self, block: Block) {
        let (Some(number), Some(partial)) = (block.number(), self.partials.get_mut(&block.piece())) else { return };
        if partial.release(number) {
            self.free_open += 1;
            self.version += 1;
        }
    }

    /// A peer is late with this block: others may be asked, yet it may still come from there.
    pub fn release_late(&mut self, block: Block) {
        if let Some(partial) = self.partials.get_mut(&block.piece()) {
            partial.contended = true;
        }
        self.release(block);
    }

    /// A block came that this peer was asked for.
    pub fn received(&mut self, now: Instant, block: Block, from: PeerKey) -> Received {
        let number = block.number().filter(|number| self.geometry.block(block.piece(), *number) == Some(block));
        let (Some(number), Some(partial)) = (number, self.partials.get_mut(&block.piece())) else {
            return Received::Useless;
        };
        if partial.phase != Phase::Open || !partial.access.permits(from) {
            return Received::Useless;
        }
        let Some(before) = partial.store(number, from) else { return Received::Useless };
        if before == BlockState::Free {
            self.free_open -= 1;
        }
        partial.touched = now;
        let complete = partial.missing() == 0;
        if complete {
            partial.phase = Phase::Verifying;
            self.verifying_bytes += u64::from(self.geometry.piece_len(block.piece()));
        }
        Received::Stored { complete, contended: partial.contended }
    }

    /// The piece matched its hash.
    pub fn good(&mut self, piece: PieceIndex) {
        self.remove_partial(piece);
        self.rarity.unlist(piece);
        self.have.insert(piece);
    }

    /// The piece did not match its hash: every block is missing again and shall come from one peer alone, from `only`
    /// if it is known who.
    pub fn retry(&mut self, piece: PieceIndex, only: Option<PeerKey>) {
        let Some(partial) = self.partials.get_mut(&piece).filter(|partial| partial.phase == Phase::Verifying) else {
            return;
        };
        self.free_open += partial.discard(None);
        partial.phase = Phase::Open;
        self.verifying_bytes -= u64::from(self.geometry.piece_len(piece));
        partial.access = only.map_or(Access::Parole, Access::Only);
        partial.contended = false;
        self.version += 1;
    }

    /// True from [`Self::start`] until the piece is good or abandoned.
    #[must_use]
    pub fn is_started(&self, piece: PieceIndex) -> bool {
        self.partials.contains_key(&piece)
    }

    /// True while all blocks are here and the hash is not known yet.
    #[must_use]
    pub fn is_verifying(&self, piece: PieceIndex) -> bool {
        self.partials.get(&piece).is_some_and(|partial| partial.phase == Phase::Verifying)
    }

    /// Who sent each block of a piece whose blocks are all here, in order.
    #[must_use]
    pub fn senders(&self, piece: PieceIndex) -> Vec<PeerKey> {
        self.partials.get(&piece).map_or_else(Vec::new, |partial| partial.senders().collect())
    }

    /// This peer cannot go on with the pieces that only it might deliver: the next one may.
    pub fn give_up_parole(&mut self, peer: PeerKey) {
        for partial in self.partials.values_mut().filter(|partial| partial.access == Access::Only(peer)) {
            partial.access = Access::Parole;
            self.version += 1;
        }
    }

    /// Frees the blocks of unfinished pieces that came from a peer that lies.
    pub fn discard_from(&mut self, peer: PeerKey) {
        for partial in self.partials.values_mut().filter(|partial| partial.phase == Phase::Open) {
            self.free_open += partial.discard(Some(peer));
            self.version += 1;
        }
    }

    /// The started piece that it costs least to give up: open, nobody is asked for it, nothing came for a while.
    #[must_use]
    pub fn idle_piece(&self, now: Instant) -> Option<PieceIndex> {
        let idle = |partial: &Partial| {
            partial.phase == Phase::Open
                && partial.asked() == 0
                && now.saturating_duration_since(partial.touched) >= IDLE_PIECE
        };
        let idle = self.partials.iter().filter(|(_, partial)| idle(partial));
        idle.min_by_key(|(_, partial)| partial.here()).map(|(piece, _)| *piece)
    }

    /// Free blocks in windows that are being opened for pieces this peer has.
    #[must_use]
    pub fn coming_for(&self, request: &PickRequest<'_>) -> u32 {
        if self.free_opening == 0 {
            return 0;
        }
        let coming = self.partials.iter().filter(|(piece, p)| p.phase == Phase::Opening && request.has(**piece));
        coming.map(|(_, partial)| partial.free()).sum()
    }

    /// The started pieces whose blocks are not all here.
    #[must_use]
    pub fn unfinished(&self) -> Vec<PieceIndex> {
        let unfinished = self.partials.iter().filter(|(_, partial)| partial.phase == Phase::Open);
        unfinished.map(|(piece, _)| *piece).collect()
    }

    /// Of how many peers a missing block is asked for.
    #[cfg(test)]
    pub(in crate::engine) fn times_asked(&self, block: Block) -> usize {
        let state = block.number().and_then(|number| self.partials.get(&block.piece())?.state(number));
        if let Some(BlockState::Asked(count)) = state { usize::from(count) } else { 0 }
    }

    fn remove_partial(&mut self, piece: PieceIndex) -> bool {
        let Some(partial) = self.partials.remove(&piece) else { return false };
        match partial.phase {
            Phase::Opening => self.free_opening -= partial.free(),
            Phase::Open => self.free_open -= partial.free(),
            Phase::Verifying => self.verifying_bytes -= u64::from(self.geometry.piece_len(piece)),
        }
        self.open_bytes -= u64::from(self.geometry.piece_len(piece));
        self.version += 1;
        true
    }

    /// The started piece this peer should work on: suspicious ones first, then the one with the fewest free blocks.
    fn choose_started(&self, request: &PickRequest<'_>) -> Option<PieceIndex> {
        let open = |piece: PieceIndex, partial: &Partial| {
            partial.phase == Phase::Open
                && partial.free() > 0
                && request.has(piece)
                && partial.access.permits(request.peer)
                && self.free_for(piece, partial, request)
        };
        let open = self.partials.iter().filter(|(piece, partial)| open(**piece, partial));
        let best = open.min_by_key(|(_, partial)| (partial.access == Access::Shared, partial.free()));
        best.map(|(piece, _)| *piece)
    }

    /// True unless the peer has been asked for each of the piece's free blocks and is late with them.
    fn free_for(&self, piece: PieceIndex, partial: &Partial, request: &PickRequest<'_>) -> bool {
        !partial.contended
            || self
                .geometry
                .blocks(piece)
                .zip(0..)
                .any(|(block, number)| partial.state(number) == Some(BlockState::Free) && !(request.already)(block))
    }

    fn choose_new(&mut self, request: &PickRequest<'_>) -> Option<PieceIndex> {
        let order = self.rarity.order();
        if order.is_empty() || request.useful == 0 {
            return None;
        }
        let begun = self.have.count_ones() + u32::try_from(self.partials.len()).unwrap_or(u32::MAX);
        if begun < RANDOM_FIRST_PIECES {
            let (before, behind) = order.split_at(self.rng.usize(..order.len()));
            return behind.iter().chain(before).copied().find(|piece| request.has(*piece));
        }
        if request.useful <= FEW_PIECES && self.rarity.len() > FEW_PIECES {
            return self.rarest_of_few(request);
        }
        order.iter().copied().find(|piece| request.has(*piece))
    }

    /// As `choose_new`, for a peer with few pieces that we lack: looks at those instead of at all that are missing.
    fn rarest_of_few(&mut self, request: &PickRequest<'_>) -> Option<PieceIndex> {
        let wanted = difference(&self.geometry, request.pieces, &self.have);
        let new = wanted.filter(|piece| request.has(*piece) && !self.partials.contains_key(piece));
        let mut best: Option<(u32, u32, PieceIndex)> = None;
        for piece in new {
            let key = (self.rarity.copies(piece), self.rng.u32(..), piece);
            best = Some(best.map_or(key, |best| best.min(key)));
        }
        best.map(|(.., piece)| piece)
    }

    fn take_from(&mut self, piece: PieceIndex, request: &PickRequest<'_>, goal: usize, out: &mut Vec<Block>) {
        let Some(partial) = self.partials.get_mut(&piece) else { return };
        let usable = partial.phase == Phase::Open && partial.access.permits(request.peer) && request.has(piece);
        if !usable || partial.free() == 0 {
            return;
        }
        let mut from = 0;
        while out.len() < goal {
            let Some(number) = partial.claim_free(from) else { break };
            let block = self.geometry.block(piece, number);
            let Some(block) = block.filter(|block| !(partial.contended && (request.already)(*block))) else {
                partial.release(number);
                from = number + 1;
                continue;
            };
            out.push(block);
            self.free_open -= 1;
            partial.touched = request.now;
            if partial.access == Access::Parole {
                partial.access = Access::Only(request.peer);
            }
        }
    }

    /// Endgame: blocks that `copies` peers are asked for and this one is not. The last ones first: they were asked for
    /// last and come last.
    fn take_again(&mut self, copies: u8, request: &PickRequest<'_>, goal: usize, out: &mut Vec<Block>) {
        for (piece, partial) in &mut self.partials {
            let usable = partial.phase == Phase::Open && partial.access == Access::Shared && request.has(*piece);
            if !usable || partial.asked() == 0 {
                continue;
            }
            for number in (0..self.geometry.block_count(*piece)).rev() {
                if out.len() >= goal {
                    return;
                }
                let Some(block) = self.geometry.block(*piece, number) else { continue };
                let here = out.contains(&block) || (request.already)(block);
                if partial.state(number) == Some(BlockState::Asked(copies)) && !here {
                    partial.claim_again(number);
                    out.push(block);
                }
            }
        }
    }
}

/// The pieces in `pieces`.
fn ones(geometry: &Geometry, pieces: &Bitfield) -> impl Iterator<Item = PieceIndex> {
    bits(*geometry, pieces.as_bytes().iter().copied())
}

/// The pieces in `a` that are not in `b`.
fn difference(geometry: &Geometry, a: &Bitfield, b: &Bitfield) -> impl Iterator<Item = PieceIndex> {
    bits(*geometry, a.as_bytes().iter().zip(b.as_bytes()).map(|(a, b)| a & !b))
}

/// How many pieces are in `a` and not in `b`.
pub(in crate::engine) fn count_difference(a: &Bitfield, b: &Bitfield) -> u32 {
    a.as_bytes().iter().zip(b.as_bytes()).map(|(a, b)| (a & !b).count_ones()).sum()
}

fn bits(geometry: Geometry, bytes: impl Iterator<Item = u8>) -> impl Iterator<Item = PieceIndex> {
    let set = (0_u32..).zip(bytes).filter(|(_, byte)| *byte != 0);
    set.flat_map(move |(at, byte)| {
        let ones = (0..8).filter(move |bit| byte & (0x80 >> bit) != 0);
        ones.filter_map(move |bit| geometry.piece(at * 8 + bit))
    })
}
