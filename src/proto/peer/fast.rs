//! The fast extension's one algorithm: which pieces a peer may fetch while it is choked (BEP 6).
//!
//! Its messages are in the codec like all others. IPv4 only: the specification has no rule for IPv6.

use std::net::Ipv4Addr;

use sha1::{Digest, Sha1};

use crate::types::{Geometry, InfoHash, PieceIndex};

/// Pieces in the set that BEP 6 proposes.
pub const ALLOWED_FAST_COUNT: usize = 10;

/// The first `count` pieces that the peer at `ip` may fetch while choked, in canonical order; all pieces if the torrent
/// has no more than that. Everybody computes the same set for a given peer, and a larger set begins with the smaller.
#[must_use]
pub fn allowed_fast_set(ip: Ipv4Addr, info_hash: &InfoHash, geometry: &Geometry, count: usize) -> Vec<PieceIndex> {
    let pieces = geometry.piece_count();
    let wanted = count.min(pieces as usize);
    let mut set: Vec<PieceIndex> = Vec::with_capacity(wanted);
    let [a, b, c, _] = ip.octets();
    let mut hash = Sha1::new().chain_update([a, b, c, 0]).chain_update(info_hash.as_bytes()).finalize();
    while set.len() < wanted {
        let (words, _) = hash.as_chunks::<4>();
        let found = words.iter().filter_map(|word| geometry.piece(u32::from_be_bytes(*word).checked_rem(pieces)?));
        for piece in found {
            if set.len() < wanted && !set.contains(&piece) {
                set.push(piece);
            }
        }
        hash = Sha1::digest(hash);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(count: usize, pieces: u64) -> Vec<u32> {
        let geometry = Geometry::new(pieces, 1).unwrap();
        let set = allowed_fast_set(Ipv4Addr::new(80, 4, 4, 200), &InfoHash::new([0xaa; 20]), &geometry, count);
        set.into_iter().map(PieceIndex::get).collect()
    }

    #[test]
    fn the_specifications_examples_come_out() {
        assert_eq!(set(7, 1313), [1059, 431, 808, 1217, 287, 376, 1188]);
        assert_eq!(set(9, 1313), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn a_small_torrent_is_allowed_completely() {
        let mut all = set(ALLOWED_FAST_COUNT, 4);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
        assert!(set(ALLOWED_FAST_COUNT, 0).is_empty());
    }
}
