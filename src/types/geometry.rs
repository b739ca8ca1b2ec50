//! The only piece, block and byte arithmetic of the crate (BEP 3).
//!
//! A [`PieceIndex`] or [`Block`] is made here and nowhere else, so holding one proves that it lies inside the torrent.

use std::fmt;

/// Bytes in a block, the unit of requests. Every client asks for 16 KiB; larger requests get the connection closed.
pub const BLOCK_LEN: u32 = 16 * 1024;

/// Largest piece length accepted, 512 MiB. libtorrent's limit; real torrents stay below 64 MiB.
pub const MAX_PIECE_LENGTH: u32 = 512 * 1024 * 1024;

/// Index of a piece, counted from 0 in torrent order. Only [`Geometry`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The index as it stands on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The index, to look something up in a slice with one entry per piece.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A range of bytes inside one piece, as requests name it. Only [`Geometry`] makes one: it lies inside its piece, is
/// not empty and not longer than a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    piece: PieceIndex,
    begin: u32,
    len: u32,
}

impl Block {
    /// The piece it lies in.
    #[must_use]
    pub const fn piece(self) -> PieceIndex {
        self.piece
    }

    /// First byte, counted from the start of the piece.
    #[must_use]
    pub const fn begin(self) -> u32 {
        self.begin
    }

    /// Length in bytes, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a block is never empty")]
    pub const fn len(self) -> u32 {
        self.len
    }

    /// Number of this block in its piece, if it begins on a multiple of [`BLOCK_LEN`].
    #[must_use]
    pub const fn number(self) -> Option<u32> {
        if self.begin.is_multiple_of(BLOCK_LEN) { Some(self.begin / BLOCK_LEN) } else { None }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "piece {} bytes {}+{}", self.piece, self.begin, self.len)
    }
}

/// Sizes that no torrent can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeometryError {
    /// Piece length 0 or above [`MAX_PIECE_LENGTH`].
    PieceLength(u64),
    /// More pieces than an index on the wire can name.
    TooManyPieces(u64),
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PieceLength(n) => write!(f, "piece length {n} is not between 1 and {MAX_PIECE_LENGTH}"),
            Self::TooManyPieces(n) => write!(f, "{n} pieces are more than {}", i32::MAX),
        }
    }
}

impl std::error::Error for GeometryError {}

/// How a torrent's bytes are cut into pieces and blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    total: u64,
    piece_length: u32,
    pieces: u32,
}

impl Geometry {
    /// A torrent of `total` bytes in pieces of `piece_length` bytes; the last piece may be shorter.
    ///
    /// # Errors
    /// [`GeometryError`] if the piece length or the number of pieces is out of range.
    pub fn new(total: u64, piece_length: u64) -> Result<Self, GeometryError> {
        let length = u32::try_from(piece_length).ok().filter(|n| (1..=MAX_PIECE_LENGTH).contains(n));
        let length = length.ok_or(GeometryError::PieceLength(piece_length))?;
        let pieces = total.div_ceil(u64::from(length));
        let count = i32::try_from(pieces).map_err(|_| GeometryError::TooManyPieces(pieces))?;
        Ok(Self { total, piece_length: length, pieces: count.unsigned_abs() })
    }

    /// Bytes in the whole torrent, pad files included.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes in every piece but the last.
    #[must_use]
    pub const fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Number of pieces; 0 for a torrent of empty files.
    #[must_use]
    pub const fn piece_count(&self) -> u32 {
        self.pieces
    }

    /// Checks an index that came from the wire. `None` if the torrent has no such piece.
    #[must_use]
    pub fn piece(&self, raw: u32) -> Option<PieceIndex> {
        (raw < self.pieces).then_some(PieceIndex(raw))
    }

    /// All pieces in order.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + ExactSizeIterator + use<> {
        (0..self.pieces).map(PieceIndex)
    }

    /// First byte of the piece, counted from the start of the torrent.
    #[must_use]
    pub fn piece_start(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// Bytes in this piece.
    #[must_use]
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        let left = self.total.saturating_sub(self.piece_start(piece));
        u32::try_from(left).unwrap_or(u32::MAX).min(self.piece_length)
    }

    /// Number of blocks in this piece.
    #[must_use]
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK_LEN)
    }

    /// The `number`th block of the piece. `None` beyond the last one.
    #[must_use]
    pub fn block(&self, piece: PieceIndex, number: u32) -> Option<Block> {
        let begin = number.checked_mul(BLOCK_LEN)?;
        let left = self.piece_len(piece).checked_sub(begin).filter(|left| *left > 0)?;
        Some(Block { piece, begin, len: left.min(BLOCK_LEN) })
    }

    /// All blocks of the piece in order.
    pub fn blocks(&self, piece: PieceIndex) -> impl DoubleEndedIterator<Item = Block> + use<> {
        let this = *self;
        (0..self.block_count(piece)).filter_map(move |number| this.block(piece, number))
    }

    /// Checks a range that came from the wire. `None` unless it is not empty and lies inside one piece.
    #[must_use]
    pub fn check_block(&self, piece: u32, begin: u32, len: u32) -> Option<Block> {
        let piece = self.piece(piece)?;
        let end = begin.checked_add(len)?;
        (len > 0 && end <= self.piece_len(piece)).then_some(Block { piece, begin, len })
    }

    /// The piece that holds this byte of the torrent. `None` beyond the end.
    #[must_use]
    pub fn piece_at(&self, byte: u64) -> Option<PieceIndex> {
        if byte >= self.total {
            return None;
        }
        self.piece(u32::try_from(byte / u64::from(self.piece_length)).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> Geometry {
        Geometry::new(100_000, 32_768).unwrap()
    }

    #[test]
    fn last_piece_and_last_block_are_short() {
        let geo = geometry();
        assert_eq!(geo.piece_count(), 4);
        let last = geo.piece(3).unwrap();
        assert_eq!(geo.piece_len(last), 100_000 - 3 * 32_768);
        assert_eq!(geo.block_count(last), 1);
        assert_eq!(geo.piece(4), None);
        let first = geo.piece(0).unwrap();
        assert_eq!(geo.blocks(first).map(Block::len).collect::<Vec<_>>(), [16_384, 16_384]);
        assert_eq!(geo.block(first, 2), None);
    }

    #[test]
    fn ranges_from_the_wire_are_checked() {
        let geo = geometry();
        assert!(geo.check_block(0, 0, 32_768).is_some());
        assert_eq!(geo.check_block(0, 1, 32_768), None);
        assert_eq!(geo.check_block(0, 0, 0), None);
        assert_eq!(geo.check_block(0, u32::MAX, 2), None);
        assert_eq!(geo.check_block(4, 0, 1), None);
        assert_eq!(geo.check_block(3, 0, 1_697), None);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert_eq!(Geometry::new(1, 0), Err(GeometryError::PieceLength(0)));
        assert!(matches!(Geometry::new(u64::MAX, 1), Err(GeometryError::TooManyPieces(_))));
        assert_eq!(Geometry::new(0, 1).unwrap().piece_count(), 0);
        assert_eq!(geometry().piece_at(99_999).map(PieceIndex::get), Some(3));
        assert_eq!(geometry().piece_at(100_000), None);
    }
}
