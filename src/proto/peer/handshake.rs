//! The handshake that opens every connection (BEP 3), and its reserved bits (BEP 5, 6, 10).
//!
//! 68 bytes: the protocol's name with its length, 8 bytes of feature bits, info hash, peer id.

use super::WireError;
use crate::types::{InfoHash, PeerId};

/// Bytes in a handshake.
pub const HANDSHAKE_LEN: usize = 68;

/// Extensions of the protocol that one side supports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features {
    /// Have-all, have-none, reject, suggest, allowed-fast (BEP 6).
    pub fast: bool,
    /// Extended messages (BEP 10).
    pub extended: bool,
    /// Runs a DHT node (BEP 5).
    pub dht: bool,
}

impl Features {
    /// What bitween supports.
    pub const OURS: Self = Self { fast: true, extended: true, dht: false };

    /// Reads the 8 reserved bytes. Unknown bits are ignored.
    #[must_use]
    pub const fn from_reserved(reserved: [u8; 8]) -> Self {
        let bits = u64::from_be_bytes(reserved);
        Self { fast: bits & FAST != 0, extended: bits & EXTENDED != 0, dht: bits & DHT != 0 }
    }

    /// The 8 reserved bytes.
    #[must_use]
    pub fn to_reserved(self) -> [u8; 8] {
        let bit = |on: bool, mask: u64| if on { mask } else { 0 };
        (bit(self.fast, FAST) | bit(self.extended, EXTENDED) | bit(self.dht, DHT)).to_be_bytes()
    }
}

/// Who is at the other end, which torrent it talks about, and what it supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handshake {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The name the peer gave itself.
    pub peer_id: PeerId,
    /// What the peer supports.
    pub features: Features,
}

impl Handshake {
    /// Reads a handshake from the front of `input`. `None` if it is not complete yet.
    ///
    /// # Errors
    /// [`WireError::NotBitTorrent`] as soon as the first bytes are something else.
    pub fn decode(input: &[u8]) -> Result<Option<Self>, WireError> {
        if input.iter().zip(PROTOCOL).any(|(found, expected)| found != expected) {
            return Err(WireError::NotBitTorrent);
        }
        Ok(Self::fields(input))
    }

    /// Appends the 68 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(HANDSHAKE_LEN);
        out.extend_from_slice(PROTOCOL);
        out.extend_from_slice(&self.features.to_reserved());
        out.extend_from_slice(self.info_hash.as_bytes());
        out.extend_from_slice(self.peer_id.as_bytes());
    }

    fn fields(input: &[u8]) -> Option<Self> {
        let (_, rest) = input.split_at_checked(PROTOCOL.len())?;
        let (reserved, rest) = rest.split_first_chunk()?;
        let (info_hash, rest) = rest.split_first_chunk()?;
        let (peer_id, _) = rest.split_first_chunk()?;
        Some(Self {
            info_hash: InfoHash::new(*info_hash),
            peer_id: PeerId::new(*peer_id),
            features: Features::from_reserved(*reserved),
        })
    }
}

/// Length and name of the protocol (BEP 3).
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
/// Reserved byte 7, BEP 6.
const FAST: u64 = 0x04;
/// Reserved byte 5, BEP 10.
const EXTENDED: u64 = 0x10_00_00;
/// Reserved byte 7, BEP 5.
const DHT: u64 = 0x01;

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake() -> Handshake {
        Handshake {
            info_hash: InfoHash::new([0xaa; 20]),
            peer_id: PeerId::ours(*b"abcdefghijkl"),
            features: Features::OURS,
        }
    }

    #[test]
    fn bytes_are_as_the_specification_has_them() {
        let mut out = Vec::new();
        handshake().encode(&mut out);
        assert_eq!(out.len(), HANDSHAKE_LEN);
        assert_eq!(&out[..20], b"\x13BitTorrent protocol");
        assert_eq!(out[20..28], [0, 0, 0, 0, 0, 0x10, 0, 0x04]);
        assert_eq!(out[28..48], [0xaa; 20]);
        assert_eq!(&out[48..], b"-BW0100-abcdefghijkl");
        assert_eq!(Handshake::decode(&out), Ok(Some(handshake())));
    }

    #[test]
    fn every_feature_has_its_bit_and_unknown_bits_are_ignored() {
        for (features, bytes) in [
            (Features { fast: true, ..Features::default() }, [0, 0, 0, 0, 0, 0, 0, 4]),
            (Features { extended: true, ..Features::default() }, [0, 0, 0, 0, 0, 0x10, 0, 0]),
            (Features { dht: true, ..Features::default() }, [0, 0, 0, 0, 0, 0, 0, 1]),
        ] {
            assert_eq!(features.to_reserved(), bytes);
            assert_eq!(Features::from_reserved(bytes), features);
        }
        assert_eq!(Features::from_reserved([0x80, 1, 2, 3, 4, 0x0f, 0xff, 0xf2]), Features::default());
    }

    #[test]
    fn a_part_is_not_complete_and_another_protocol_is_refused_at_once() {
        let mut out = Vec::new();
        handshake().encode(&mut out);
        for len in 0..HANDSHAKE_LEN {
            assert_eq!(Handshake::decode(&out[..len]), Ok(None));
        }
        assert_eq!(Handshake::decode(b"G"), Err(WireError::NotBitTorrent));
        assert_eq!(Handshake::decode(b"\x13BitTorment"), Err(WireError::NotBitTorrent));
    }
}
