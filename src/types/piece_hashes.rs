//! The hashes of a torrent's pieces, where they stand in its description: large torrents have hundreds of KiB of them, and
//! one copy is enough.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::{PieceHash, PieceIndex};

/// One hash per piece, in order.
#[derive(Clone)]
pub struct PieceHashes {
    /// The bytes they lie in; others may use these as well.
    bytes: Arc<[u8]>,
    /// Where the first one begins.
    begin: u32,
    count: u32,
}

impl PieceHashes {
    /// The hashes in this range of the bytes. `None` if there is no such range, or if it does not hold whole hashes.
    #[must_use]
    pub fn new(bytes: Arc<[u8]>, range: Range<usize>) -> Option<Self> {
        let (hashes, rest) = bytes.get(range.clone())?.as_chunks::<{ PieceHash::LEN }>();
        let count = u32::try_from(hashes.len()).ok().filter(|_| rest.is_empty())?;
        Some(Self { bytes, begin: u32::try_from(range.start).ok()?, count })
    }

    /// The hash of a piece.
    #[must_use]
    pub fn get(&self, piece: PieceIndex) -> Option<PieceHash> {
        self.hashes().get(piece.as_usize()).copied().map(PieceHash::new)
    }

    /// All hashes, by piece.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PieceHash> + '_ {
        self.hashes().iter().copied().map(PieceHash::new)
    }

    /// Number of pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes().len()
    }

    /// True if there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn hashes(&self) -> &[[u8; PieceHash::LEN]] {
        let (hashes, _) = self.bytes.get(self.begin as usize..).unwrap_or_default().as_chunks();
        hashes.get(..self.count as usize).unwrap_or_default()
    }
}

impl FromIterator<PieceHash> for PieceHashes {
    fn from_iter<I: IntoIterator<Item = PieceHash>>(hashes: I) -> Self {
        let bytes: Vec<u8> = hashes.into_iter().flat_map(|hash| *hash.as_bytes()).collect();
        // More than 32 bits count are more than any torrent has.
        let count = u32::try_from(bytes.len() / PieceHash::LEN).unwrap_or(u32::MAX);
        Self { bytes: bytes.into(), begin: 0, count }
    }
}

impl PartialEq for PieceHashes {
    fn eq(&self, other: &Self) -> bool {
        self.hashes() == other.hashes()
    }
}

impl Eq for PieceHashes {}

impl fmt::Debug for PieceHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Geometry;

    #[test]
    fn hashes_are_read_where_they_stand() {
        let bytes: Arc<[u8]> = [&[9; 3][..], &[1; 20], &[2; 20], &[9; 5]].concat().into();
        let hashes = PieceHashes::new(Arc::clone(&bytes), 3..43).unwrap();
        let both = [PieceHash::new([1; 20]), PieceHash::new([2; 20])];
        assert_eq!(hashes, both.into_iter().collect());
        assert_eq!((hashes.len(), hashes.is_empty()), (2, false));
        let geometry = Geometry::new(3, 1).unwrap();
        let piece = |index| hashes.get(geometry.piece(index).unwrap());
        assert_eq!([piece(0), piece(1), piece(2)], [Some(both[0]), Some(both[1]), None]);
        assert_eq!(Arc::strong_count(&bytes), 2, "nothing is copied");
    }

    #[test]
    fn a_range_that_holds_no_whole_hashes_is_refused() {
        let bytes: Arc<[u8]> = vec![0; 40].into();
        for range in [0..39, 0..41, 30..50] {
            assert_eq!(PieceHashes::new(Arc::clone(&bytes), range.clone()), None, "{range:?}");
        }
        assert!(PieceHashes::new(bytes, 7..7).unwrap().is_empty());
    }
}
