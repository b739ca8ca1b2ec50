//! Which pieces somebody has, one bit a piece (BEP 3, `bitfield`).

use std::fmt;

use super::{Geometry, PieceIndex};

/// A bitfield from the wire did not fit the torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BitfieldError {
    /// Wrong number of bytes.
    Length {
        /// Bytes that the torrent's pieces need.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// A bit behind the last piece is set.
    SpareBits,
}

impl fmt::Display for BitfieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => write!(f, "bitfield of {found} bytes, expected {expected}"),
            Self::SpareBits => write!(f, "bitfield with spare bits set"),
        }
    }
}

impl std::error::Error for BitfieldError {}

/// One bit per piece. The count of set bits is kept, so asking for it is free.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    /// Most significant bit first, as on the wire; bits behind `len` are 0.
    bytes: Box<[u8]>,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// No piece of `len`.
    #[must_use]
    pub fn empty(len: u32) -> Self {
        Self { bytes: vec![0; byte_len(len)].into(), len, ones: 0 }
    }

    /// Every piece of `len`.
    #[must_use]
    pub fn full(len: u32) -> Self {
        let mut bytes = vec![0xff; byte_len(len)];
        if let Some(last) = bytes.last_mut() {
            *last = !spare_mask(len);
        }
        Self { bytes: bytes.into(), len, ones: len }
    }

    /// Reads a bitfield from the wire.
    ///
    /// # Errors
    /// [`BitfieldError`] if it has another length than the torrent needs or spare bits set.
    pub fn from_wire(bytes: &[u8], geometry: &Geometry) -> Result<Self, BitfieldError> {
        Self::from_bytes(bytes, geometry.piece_count())
    }

    /// Reads a bitfield of `len` pieces in wire order.
    ///
    /// # Errors
    /// See [`Bitfield::from_wire`].
    pub fn from_bytes(bytes: &[u8], len: u32) -> Result<Self, BitfieldError> {
        let expected = byte_len(len);
        if bytes.len() != expected {
            return Err(BitfieldError::Length { expected, found: bytes.len() });
        }
        if bytes.last().is_some_and(|last| last & spare_mask(len) != 0) {
            return Err(BitfieldError::SpareBits);
        }
        let ones = bytes.iter().map(|byte| byte.count_ones()).sum();
        Ok(Self { bytes: bytes.into(), len, ones })
    }

    /// The bytes in wire order.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of pieces, set or not.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// True if the torrent has no pieces at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of set bits.
    #[must_use]
    pub const fn count_ones(&self) -> u32 {
        self.ones
    }

    /// True if every bit is set.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// True if this piece is set. False for a piece of a larger torrent.
    #[must_use]
    pub fn contains(&self, piece: PieceIndex) -> bool {
        let (byte, mask) = place(piece);
        self.bytes.get(byte).is_some_and(|bits| bits & mask != 0)
    }

    /// Sets the bit. True if it was not set before.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        let (byte, mask) = place(piece);
        match self.bytes.get_mut(byte) {
            Some(bits) if piece.get() < self.len && *bits & mask == 0 => {
                *bits |= mask;
                self.ones += 1;
                true
            }
            _ => false,
        }
    }

    /// Clears the bit. True if it was set before.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        let (byte, mask) = place(piece);
        match self.bytes.get_mut(byte) {
            Some(bits) if *bits & mask != 0 => {
                *bits &= !mask;
                self.ones -= 1;
                true
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({}/{})", self.ones, self.len)
    }
}

const fn byte_len(len: u32) -> usize {
    len.div_ceil(8) as usize
}

/// The bits of the last byte that stand for no piece.
const fn spare_mask(len: u32) -> u8 {
    match len % 8 {
        0 => 0,
        used => 0xff >> used,
    }
}

const fn place(piece: PieceIndex) -> (usize, u8) {
    (piece.as_usize() / 8, 0x80 >> (piece.get() % 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stand_in_wire_order() {
        let geo = Geometry::new(10, 1).unwrap();
        let mut bits = Bitfield::empty(10);
        assert!(bits.insert(geo.piece(0).unwrap()));
        assert!(!bits.insert(geo.piece(0).unwrap()));
        assert!(bits.insert(geo.piece(9).unwrap()));
        assert_eq!(bits.as_bytes(), [0x80, 0x40]);
        assert_eq!(bits.count_ones(), 2);
        assert!(bits.remove(geo.piece(9).unwrap()));
        assert!(!bits.contains(geo.piece(9).unwrap()));
    }

    #[test]
    fn full_leaves_spare_bits_clear() {
        assert_eq!(Bitfield::full(10).as_bytes(), [0xff, 0xc0]);
        assert_eq!(Bitfield::full(8).as_bytes(), [0xff]);
        assert!(Bitfield::full(0).is_full());
    }

    #[test]
    fn wire_input_is_checked() {
        assert_eq!(Bitfield::from_bytes(&[0xff, 0xe0], 10), Err(BitfieldError::SpareBits));
        assert_eq!(Bitfield::from_bytes(&[0xff], 10), Err(BitfieldError::Length { expected: 2, found: 1 }));
        assert!(Bitfield::from_bytes(&[0xff, 0xc0], 10).unwrap().is_full());
    }

    #[test]
    fn a_piece_of_a_larger_torrent_changes_nothing() {
        let large = Geometry::new(100, 1).unwrap();
        let mut bits = Bitfield::empty(10);
        assert!(!bits.insert(large.piece(12).unwrap()));
        assert!(!bits.contains(large.piece(99).unwrap()));
        assert_eq!(bits.count_ones(), 0);
    }
}
