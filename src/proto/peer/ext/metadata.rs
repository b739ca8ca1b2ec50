//! Metadata messages (BEP 9): asking for, sending and refusing pieces of the raw info dictionary.
//!
//! A bencoded dictionary; in a data message the piece's bytes follow right behind it. Which piece to ask whom for, and
//! the check against the info hash, is the engine's matter.

use super::LIMITS;
use crate::proto::bencode::Node;
use crate::proto::peer::{MAX_METADATA_LEN, METADATA_PIECE_LEN, WireError};

/// One metadata message. Data is borrowed from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataMessage<'b> {
    /// Asks for a piece.
    Request {
        /// Number of the piece.
        piece: u32,
    },
    /// A piece.
    Data {
        /// Number of the piece.
        piece: u32,
        /// Bytes of the whole metadata.
        total_size: u32,
        /// The piece's bytes.
        data: &'b [u8],
    },
    /// Refuses to send a piece.
    Reject {
        /// Number of the piece.
        piece: u32,
    },
    /// Of a later version of the specification; to be ignored.
    Unknown,
}

impl<'b> MetadataMessage<'b> {
    /// Reads what stands behind the extended id.
    ///
    /// # Errors
    /// [`WireError::BadMetadataMessage`] if the dictionary is broken or lacks a number,
    /// [`WireError::MetadataPieceLength`] if a piece has not the length that its number and the total size give it.
    pub fn decode(payload: &'b [u8]) -> Result<Self, WireError> {
        let (dict, used) = Node::parse_prefix_with(payload, LIMITS).map_err(|_| WireError::BadMetadataMessage)?;
        let int = |key: &str| dict.get(key).and_then(Node::as_int).ok_or(WireError::BadMetadataMessage);
        let number = |key: &str| u32::try_from(int(key)?).map_err(|_| WireError::BadMetadataMessage);
        match int("msg_type")? {
            REQUEST => Ok(Self::Request { piece: number("piece")? }),
            DATA => {
                let data = payload.get(used..).unwrap_or_default();
                Self::data(number("piece")?, number("total_size")?, data)
            }
            REJECT => Ok(Self::Reject { piece: number("piece")? }),
            _ => Ok(Self::Unknown),
        }
    }

    /// Appends what stands behind the extended id.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, piece, total_size, data) = match *self {
            Self::Request { piece } => (REQUEST, piece, None, &[][..]),
            Self::Data { piece, total_size, data } => (DATA, piece, Some(total_size), data),
            Self::Reject { piece } => (REJECT, piece, None, &[][..]),
            Self::Unknown => return,
        };
        let mut entries = vec![(&b"msg_type"[..], Node::Int(kind)), (b"piece", piece.into())];
        entries.extend(total_size.map(|size| (&b"total_size"[..], Node::from(size))));
        out.extend_from_slice(&Node::Dict(entries).encode());
        out.extend_from_slice(data);
    }

    fn data(piece: u32, total_size: u32, data: &'b [u8]) -> Result<Self, WireError> {
        // The length of the message was limited, so the bytes behind its dictionary are no more than that.
        let found = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let begin = piece.checked_mul(METADATA_PIECE_LEN);
        let left = begin.and_then(|begin| total_size.checked_sub(begin)).filter(|left| *left > 0);
        let expected = left.map(|left| left.min(METADATA_PIECE_LEN));
        if total_size > MAX_METADATA_LEN || expected != Some(found) {
            return Err(WireError::MetadataPieceLength { piece, total_size, found });
        }
        Ok(Self::Data { piece, total_size, data })
    }
}

const REQUEST: i64 = 0;
const DATA: i64 = 1;
const REJECT: i64 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(message: MetadataMessage<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    #[test]
    fn the_specifications_examples_come_out() {
        assert_eq!(encoded(MetadataMessage::Request { piece: 0 }), b"d8:msg_typei0e5:piecei0ee");
        assert_eq!(encoded(MetadataMessage::Reject { piece: 0 }), b"d8:msg_typei2e5:piecei0ee");
        let data = MetadataMessage::Data { piece: 0, total_size: 3, data: b"xyz" };
        assert_eq!(encoded(data), b"d8:msg_typei1e5:piecei0e10:total_sizei3eexyz");
    }

    #[test]
    fn an_unknown_type_is_to_be_ignored() {
        assert_eq!(MetadataMessage::decode(b"d8:msg_typei7ee"), Ok(MetadataMessage::Unknown));
    }

    #[test]
    fn a_missing_or_impossible_number_is_an_error() {
        for bad in [
            &b""[..],
            b"de",
            b"i1e",
            b"d8:msg_typei0ee",
            b"d8:msg_typei0e5:piecei-1ee",
            b"d8:msg_typei0e5:piecei4294967296ee",
            b"d8:msg_typei1e5:piecei0eex",
            b"d8:msg_typei0e5:piecei0e",
        ] {
            assert_eq!(MetadataMessage::decode(bad), Err(WireError::BadMetadataMessage), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_piece_has_exactly_its_length() {
        let decode = |piece: u32, total_size: u32, len: usize| {
            let message = encoded(MetadataMessage::Data { piece, total_size, data: &vec![7; len] });
            MetadataMessage::decode(&message).map(|_| ())
        };
        let error = |piece, total_size, found| Err(WireError::MetadataPieceLength { piece, total_size, found });
        assert_eq!(decode(0, 20_000, 16_384), Ok(()));
        assert_eq!(decode(1, 20_000, 3_616), Ok(()));
        assert_eq!(decode(1, 20_000, 3_617), error(1, 20_000, 3_617));
        assert_eq!(decode(0, 20_000, 20_000), error(0, 20_000, 20_000));
        assert_eq!(decode(2, 32_768, 0), error(2, 32_768, 0));
        assert_eq!(decode(u32::MAX, 20_000, 1), error(u32::MAX, 20_000, 1));
        assert_eq!(decode(0, MAX_METADATA_LEN + 1, 16_384), error(0, MAX_METADATA_LEN + 1, 16_384));
        assert_eq!(decode(MAX_METADATA_LEN / METADATA_PIECE_LEN - 1, MAX_METADATA_LEN, 16_384), Ok(()));
    }

    proptest! {
        #[test]
        fn any_message_comes_back(piece in 0..1024_u32, last in 1..=METADATA_PIECE_LEN) {
            let data = vec![0xab; last as usize];
            let total_size = piece * METADATA_PIECE_LEN + last;
            for message in [
                MetadataMessage::Request { piece },
                MetadataMessage::Reject { piece },
                MetadataMessage::Data { piece, total_size, data: &data },
            ] {
                let bytes = encoded(message);
                prop_assert_eq!(MetadataMessage::decode(&bytes), Ok(message));
            }
        }
    }
}
