//! What a peer announced before the torrent's metadata was known (magnet links), kept raw and within bounds.
//!
//! Nothing of it can be checked yet, not even the number of pieces. [`Early::check`] does so when the metadata is there.

use super::super::message::id;
use super::super::{Event, MAX_METADATA_LEN, WireError};
use super::named_piece;
use crate::types::{Bitfield, Geometry};

/// Longest bitfield that is taken, in bytes: that of a torrent with the longest metadata there can be, of which each piece
/// takes 20 bytes.
pub(super) const MAX_EARLY_BITFIELD_LEN: u32 = MAX_METADATA_LEN.div_ceil(20 * 8);

/// Single pieces that are kept of a peer, 64 KiB at most. A peer that completes one every second needs hours for it.
pub(super) const MAX_EARLY_PIECES: usize = 16 * 1024;

/// Announcements waiting for the metadata.
#[derive(Debug, Default)]
pub(super) struct Early {
    bitfield: Option<Announced>,
    haves: Vec<u32>,
    allowed_fast: Vec<u32>,
}

/// How the peer said what it has.
#[derive(Debug)]
pub(super) enum Announced {
    All,
    None,
    Bits(Vec<u8>),
}

impl Early {
    /// Keeps what the peer has. The caller has limited the length of a bitfield.
    pub(super) fn bitfield(&mut self, announced: Announced) {
        self.bitfield = Some(announced);
    }

    /// Keeps one more piece the peer has.
    pub(super) fn have(&mut self, piece: u32) -> Result<(), WireError> {
        keep(&mut self.haves, piece)
    }

    /// Keeps a piece that may be fetched while choked.
    pub(super) fn allowed_fast(&mut self, piece: u32) -> Result<(), WireError> {
        keep(&mut self.allowed_fast, piece)
    }

    /// Checks all of it and hands it out in the order of the specification: bitfield, haves, allowed-fast.
    pub(super) fn check(self, geometry: &Geometry) -> Result<Vec<Event<'static>>, WireError> {
        let bitfield = match self.bitfield {
            Some(Announced::All) => Some(Bitfield::full(geometry.piece_count())),
            Some(Announced::None) => Some(Bitfield::empty(geometry.piece_count())),
            Some(Announced::Bits(bytes)) => Some(Bitfield::from_wire(&bytes, geometry)?),
            None => None,
        };
        let haves = self.haves.iter().map(|raw| named_piece(geometry, id::HAVE, *raw).map(Event::Have));
        let allowed = self.allowed_fast.iter();
        let allowed = allowed.map(|raw| named_piece(geometry, id::ALLOWED_FAST, *raw).map(Event::AllowedFast));
        bitfield.map(|bits| Ok(Event::Bitfield(bits))).into_iter().chain(haves).chain(allowed).collect()
    }
}

fn keep(list: &mut Vec<u32>, piece: u32) -> Result<(), WireError> {
    if list.len() >= MAX_EARLY_PIECES {
        return Err(WireError::TooManyEarly);
    }
    list.push(piece);
    Ok(())
}
