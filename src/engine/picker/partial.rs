//! One piece on its way: which of its blocks are free, asked for, or here and from whom.
//!
//! A piece is started when its window is being opened, takes blocks while the window is open, and waits for its hash
//! when all are here. Bookkeeping only; which piece and whose turn it is, the picker decides.

use std::time::Instant;

use crate::types::PeerKey;

/// How far a started piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its window is being opened: no block has a place yet.
    Opening,
    /// Blocks may be asked for and stored.
    Open,
    /// All blocks are here and being hashed.
    Verifying,
}

/// Who may deliver a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Shared,
    /// It failed its hash once: one peer alone, whoever comes first, so that the next outcome names somebody.
    Parole,
    /// It failed its hash once, and this peer delivers it.
    Only(PeerKey),
}

impl Access {
    pub fn permits(self, peer: PeerKey) -> bool {
        match self {
            Self::Shared | Self::Parole => true,
            Self::Only(one) => one == peer,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockState {
    Free,
    /// Asked of so many peers that are not late with it.
    Asked(u8),
    Here(PeerKey),
}

/// A started piece.
#[derive(Debug)]
pub(super) struct Partial {
    pub phase: Phase,
    pub access: Access,
    blocks: Vec<BlockState>,
    /// Blocks in state `Free`.
    free: u32,
    /// Blocks not in state `Here`.
    missing: u32,
    /// No block before this one is free.
    first_free: u32,
    /// Some block was asked of two peers or came late: another peer may still have to be told that it is here.
    pub contended: bool,
    /// Last time a block was asked for or came.
    pub touched: Instant,
}

impl Partial {
    pub fn new(now: Instant, blocks: u32) -> Self {
        Self {
            phase: Phase::Opening,
            access: Access::Shared,
            blocks: vec![BlockState::Free; blocks as usize],
            free: blocks,
            missing: blocks,
            first_free: 0,
            contended: false,
            touched: now,
        }
    }

    pub const fn free(&self) -> u32 {
        self.free
    }

    pub const fn missing(&self) -> u32 {
        self.missing
    }

    /// Blocks that came.
    pub fn here(&self) -> u32 {
        self.senders().count().try_into().unwrap_or(u32::MAX)
    }

    /// Blocks that somebody is expected to send.
    pub const fn asked(&self) -> u32 {
        self.missing - self.free
    }

    pub fn state(&self, number: u32) -> Option<BlockState> {
        self.blocks.get(number as usize).copied()
    }

    /// Who sent each block that is here, in order.
    pub fn senders(&self) -> impl Iterator<Item = PeerKey> {
        self.blocks.iter().filter_map(|block| match block {
            BlockState::Here(peer) => Some(*peer),
            BlockState::Free | BlockState::Asked(_) => None,
        })
    }

    /// Takes the next free block at or behind `from` for asking.
    pub fn claim_free(&mut self, from: u32) -> Option<u32> {
        let from = from.max(self.first_free);
        let at = self.blocks.iter().skip(from as usize).position(|block| *block == BlockState::Free)?;
        let number = from + u32::try_from(at).ok()?;
        *self.blocks.get_mut(number as usize)? = BlockState::Asked(1);
        self.free -= 1;
        if from == self.first_free {
            self.first_free = number + 1;
        }
        Some(number)
    }

    /// Asks one more peer for a block that is asked for already.
    pub fn claim_again(&mut self, number: u32) {
        if let Some(BlockState::Asked(count)) = self.blocks.get_mut(number as usize) {
            *count = count.saturating_add(1);
            self.contended = true;
        }
    }

    /// One peer less is expected to send the block. True if it is free now.
    pub fn release(&mut self, number: u32) -> bool {
        let Some(block) = self.blocks.get_mut(number as usize) else { return false };
        match block {
            BlockState::Asked(count) if *count > 1 => *count -= 1,
            BlockState::Asked(_) => {
                *block = BlockState::Free;
                self.free += 1;
                self.first_free = self.first_free.min(number);
                return true;
            }
            BlockState::Free | BlockState::Here(_) => {}
        }
        false
    }

    /// A block came. What it was before; `None` if it is here already or does not exist.
    pub fn store(&mut self, number: u32, from: PeerKey) -> Option<BlockState> {
        let block = self.blocks.get_mut(number as usize)?;
        let before = *block;
        match before {
            BlockState::Here(_) => return None,
            BlockState::Free => self.free -= 1,
            BlockState::Asked(_) => {}
        }
        *block = BlockState::Here(from);
        self.missing -= 1;
        Some(before)
    }

    /// Frees what `peer` sent, all of it when `None`. How many blocks that were.
    pub fn discard(&mut self, peer: Option<PeerKey>) -> u32 {
        let mut freed = 0;
        for block in &mut self.blocks {
            if matches!(block, BlockState::Here(from) if peer.is_none_or(|peer| peer == *from)) {
                *block = BlockState::Free;
                freed += 1;
            }
        }
        self.free += freed;
        self.missing += freed;
        if freed > 0 {
            self.first_free = 0;
        }
        freed
    }
}
