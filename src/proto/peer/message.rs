//! The codec of the messages behind the handshake (BEP 3, 5, 6, 10): bytes to [`Message`] and back.
//!
//! Here only the form is checked: does the length fit the kind. Numbers are raw; the session checks them against the
//! torrent. Nothing is copied when reading.

use super::ext::MAX_EXTENDED_LEN;
use super::{MAX_REQUEST_LEN, WireError};
use crate::types::Block;

/// A message with its numbers as they stand on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message<'b> {
    KeepAlive,
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have(u32),
    Bitfield(&'b [u8]),
    Request(Range),
    Piece { piece: u32, begin: u32, data: &'b [u8] },
    Cancel(Range),
    Port(u16),
    Suggest(u32),
    HaveAll,
    HaveNone,
    Reject(Range),
    AllowedFast(u32),
    Extended { id: u8, payload: &'b [u8] },
    Unknown,
}

/// Bytes of a piece, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) piece: u32,
    pub(super) begin: u32,
    pub(super) len: u32,
}

impl From<Block> for Range {
    fn from(block: Block) -> Self {
        Self { piece: block.piece().get(), begin: block.begin(), len: block.len() }
    }
}

/// Bytes in front of a message: its length.
pub(super) const PREFIX_LEN: usize = 4;

/// Longest message about a block, with everything but the prefix.
pub(super) const MAX_PIECE_MESSAGE_LEN: u32 = PIECE_HEADER_LEN + MAX_REQUEST_LEN;

/// Id, piece and offset in front of a block's bytes.
const PIECE_HEADER_LEN: u32 = 9;

/// Message ids (BEP 3, 5, 6, 10).
pub(super) mod id {
    pub(crate) const CHOKE: u8 = 0;
    pub(crate) const UNCHOKE: u8 = 1;
    pub(crate) const INTERESTED: u8 = 2;
    pub(crate) const NOT_INTERESTED: u8 = 3;
    pub(crate) const HAVE: u8 = 4;
    pub(crate) const BITFIELD: u8 = 5;
    pub(crate) const REQUEST: u8 = 6;
    pub(crate) const PIECE: u8 = 7;
    pub(crate) const CANCEL: u8 = 8;
    pub(crate) const PORT: u8 = 9;
    pub(crate) const SUGGEST: u8 = 13;
    pub(crate) const HAVE_ALL: u8 = 14;
    pub(crate) const HAVE_NONE: u8 = 15;
    pub(crate) const REJECT: u8 = 16;
    pub(crate) const ALLOWED_FAST: u8 = 17;
    pub(crate) const EXTENDED: u8 = 20;
}

/// Refuses a length that cannot belong to a message of this kind, before its bytes are waited for. `len` is the prefix:
/// the id counts, the prefix does not. [`Message::decode`] would refuse the same, but only when all is there.
pub(super) fn check_len(id: u8, len: u32) -> Result<(), WireError> {
    let fits = match id {
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED | id::HAVE_ALL | id::HAVE_NONE => len == 1,
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => len == 5,
        id::REQUEST | id::CANCEL | id::REJECT => len == 13,
        id::PORT => len == 3,
        id::PIECE => (PIECE_HEADER_LEN..=MAX_PIECE_MESSAGE_LEN).contains(&len),
        id::EXTENDED => (2..=MAX_EXTENDED_LEN).contains(&len),
        // Its length depends on the torrent: the session checks it.
        id::BITFIELD => true,
        _ => len <= MAX_EXTENDED_LEN,
    };
    if fits { Ok(()) } else { Err(WireError::WrongLength { id, len }) }
}

impl<'b> Message<'b> {
    /// Reads a message's id and body (all that the length prefix counts). The caller has limited the length.
    pub(super) fn decode(message: &'b [u8]) -> Result<Self, WireError> {
        let Some((&id, body)) = message.split_first() else { return Ok(Self::KeepAlive) };
        let parsed = match id {
            id::PIECE => piece(body),
            id::CHOKE => empty(body, Self::Choke),
            id::UNCHOKE => empty(body, Self::Unchoke),
            id::INTERESTED => empty(body, Self::Interested),
            id::NOT_INTERESTED => empty(body, Self::NotInterested),
            id::HAVE => number(body).map(Self::Have),
            id::BITFIELD => Some(Self::Bitfield(body)),
            id::REQUEST => range(body).map(Self::Request),
            id::CANCEL => range(body).map(Self::Cancel),
            id::PORT => body.try_into().ok().map(|port| Self::Port(u16::from_be_bytes(port))),
            id::SUGGEST => number(body).map(Self::Suggest),
            id::HAVE_ALL => empty(body, Self::HaveAll),
            id::HAVE_NONE => empty(body, Self::HaveNone),
            id::REJECT => range(body).map(Self::Reject),
            id::ALLOWED_FAST => number(body).map(Self::AllowedFast),
            id::EXTENDED => extended(body),
            _ => (body.len() < MAX_EXTENDED_LEN as usize).then_some(Self::Unknown),
        };
        parsed.ok_or_else(|| WireError::WrongLength { id, len: length(message) })
    }

    /// Appends the message with its length prefix.
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::KeepAlive => out.extend_from_slice(&[0; PREFIX_LEN]),
            Self::Choke => put(out, id::CHOKE, &[]),
            Self::Unchoke => put(out, id::UNCHOKE, &[]),
            Self::Interested => put(out, id::INTERESTED, &[]),
            Self::NotInterested => put(out, id::NOT_INTERESTED, &[]),
            Self::Have(piece) => put(out, id::HAVE, &[&piece.to_be_bytes()]),
            Self::Bitfield(bits) => put(out, id::BITFIELD, &[bits]),
            Self::Request(range) => range.put(out, id::REQUEST),
            Self::Piece { piece, begin, data } => {
                put(out, id::PIECE, &[&piece.to_be_bytes(), &begin.to_be_bytes(), data]);
            }
            Self::Cancel(range) => range.put(out, id::CANCEL),
            Self::Port(port) => put(out, id::PORT, &[&port.to_be_bytes()]),
            Self::Suggest(piece) => put(out, id::SUGGEST, &[&piece.to_be_bytes()]),
            Self::HaveAll => put(out, id::HAVE_ALL, &[]),
            Self::HaveNone => put(out, id::HAVE_NONE, &[]),
            Self::Reject(range) => range.put(out, id::REJECT),
            Self::AllowedFast(piece) => put(out, id::ALLOWED_FAST, &[&piece.to_be_bytes()]),
            Self::Extended { id, payload } => put(out, id::EXTENDED, &[&[id], payload]),
            Self::Unknown => {}
        }
    }
}

impl Range {
    fn put(self, out: &mut Vec<u8>, id: u8) {
        put(out, id, &[&self.piece.to_be_bytes(), &self.begin.to_be_bytes(), &self.len.to_be_bytes()]);
    }
}

/// Appends what stands in front of a block's bytes: 13 bytes, of which the length prefix counts the data too.
pub(super) fn encode_block_header(block: Block, out: &mut Vec<u8>) {
    let len = PIECE_HEADER_LEN.saturating_add(block.len());
    out.reserve(PREFIX_LEN + 9);
    out.extend_from_slice(&len.to_be_bytes());
    out.push(id::PIECE);
    out.extend_from_slice(&block.piece().get().to_be_bytes());
    out.extend_from_slice(&block.begin().to_be_bytes());
}

fn put(out: &mut Vec<u8>, id: u8, parts: &[&[u8]]) {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(PREFIX_LEN + 1 + body);
    // What we send is bounded by a bitfield of 2^31 pieces, far below 2^32 bytes.
    let len = u32::try_from(body + 1).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.push(id);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn length(message: &[u8]) -> u32 {
    u32::try_from(message.len()).unwrap_or(u32::MAX)
}

fn empty<'b>(body: &[u8], message: Message<'b>) -> Option<Message<'b>> {
    body.is_empty().then_some(message)
}

fn number(body: &[u8]) -> Option<u32> {
    body.try_into().ok().map(u32::from_be_bytes)
}

fn range(body: &[u8]) -> Option<Range> {
    let (piece, rest) = body.split_first_chunk()?;
    let (begin, rest) = rest.split_first_chunk()?;
    Some(Range { piece: u32::from_be_bytes(*piece), begin: u32::from_be_bytes(*begin), len: number(rest)? })
}

fn piece(body: &[u8]) -> Option<Message<'_>> {
    let (piece, rest) = body.split_first_chunk()?;
    let (begin, data) = rest.split_first_chunk()?;
    let fits = data.len() <= MAX_REQUEST_LEN as usize;
    fits.then_some(Message::Piece { piece: u32::from_be_bytes(*piece), begin: u32::from_be_bytes(*begin), data })
}

fn extended(body: &[u8]) -> Option<Message<'_>> {
    let (&id, payload) = body.split_first()?;
    (body.len() < MAX_EXTENDED_LEN as usize).then_some(Message::Extended { id, payload })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::Geometry;

    fn encoded(message: Message<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    const RANGE: Range = Range { piece: 1, begin: 0x4000, len: 0x8000 };

    #[test]
    fn every_message_has_the_bytes_of_the_specification() {
        let piece = Message::Piece { piece: 2, begin: 0x4000, data: b"xyz" };
        let golden: [(Message<'_>, &[u8]); 17] = [
            (Message::KeepAlive, b"\0\0\0\0"),
            (Message::Choke, b"\0\0\0\x01\x00"),
            (Message::Unchoke, b"\0\0\0\x01\x01"),
            (Message::Interested, b"\0\0\0\x01\x02"),
            (Message::NotInterested, b"\0\0\0\x01\x03"),
            (Message::Have(0x0102_0304), b"\0\0\0\x05\x04\x01\x02\x03\x04"),
            (Message::Bitfield(&[0xa5, 0x80]), b"\0\0\0\x03\x05\xa5\x80"),
            (Message::Request(RANGE), b"\0\0\0\x0d\x06\0\0\0\x01\0\0\x40\0\0\0\x80\0"),
            (piece, b"\0\0\0\x0c\x07\0\0\0\x02\0\0\x40\0xyz"),
            (Message::Cancel(RANGE), b"\0\0\0\x0d\x08\0\0\0\x01\0\0\x40\0\0\0\x80\0"),
            (Message::Port(6881), b"\0\0\0\x03\x09\x1a\xe1"),
            (Message::Suggest(7), b"\0\0\0\x05\x0d\0\0\0\x07"),
            (Message::HaveAll, b"\0\0\0\x01\x0e"),
            (Message::HaveNone, b"\0\0\0\x01\x0f"),
            (Message::Reject(RANGE), b"\0\0\0\x0d\x10\0\0\0\x01\0\0\x40\0\0\0\x80\0"),
            (Message::AllowedFast(7), b"\0\0\0\x05\x11\0\0\0\x07"),
            (Message::Extended { id: 3, payload: b"de" }, b"\0\0\0\x04\x14\x03de"),
        ];
        for (message, bytes) in golden {
            assert_eq!(encoded(message), bytes, "{message:?}");
            assert_eq!(Message::decode(&bytes[PREFIX_LEN..]), Ok(message));
        }
    }

    #[test]
    fn a_block_header_and_its_data_make_a_piece_message() {
        let geometry = Geometry::new(100_000, 32_768).unwrap();
        let block = geometry.check_block(2, 0x4000, 3).unwrap();
        let mut out = Vec::new();
        encode_block_header(block, &mut out);
        assert_eq!(out.len(), 13);
        out.extend_from_slice(b"xyz");
        assert_eq!(out, encoded(Message::Piece { piece: 2, begin: 0x4000, data: b"xyz" }));
    }

    #[test]
    fn an_unknown_message_is_skipped_up_to_a_limit() {
        let mut message = vec![99; MAX_EXTENDED_LEN as usize];
        assert_eq!(Message::decode(&message), Ok(Message::Unknown));
        message.push(99);
        assert_eq!(Message::decode(&message), Err(WireError::WrongLength { id: 99, len: MAX_EXTENDED_LEN + 1 }));
    }

    #[test]
    fn the_early_length_check_and_the_decoder_agree() {
        let longest = MAX_PIECE_MESSAGE_LEN as usize + 1;
        let zeros = vec![0; longest];
        let limits = [MAX_EXTENDED_LEN, MAX_PIECE_MESSAGE_LEN].map(|n| n as usize);
        let around = limits.into_iter().flat_map(|limit| [limit, limit + 1]);
        for len in (1..20).chain(around) {
            for id in (0..=21).filter(|id| *id != id::BITFIELD) {
                let message = [&[id], &zeros[1..len]].concat();
                let early = check_len(id, length(&message));
                assert_eq!(early, Message::decode(&message).map(|_| ()), "id {id}, {len} bytes");
            }
        }
    }

    fn any_message() -> impl Strategy<Value = Message<'static>> {
        let data = &DATA;
        let range =
            || (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(piece, begin, len)| Range { piece, begin, len });
        prop_oneof![
            Just(Message::KeepAlive),
            Just(Message::Unchoke),
            any::<u32>().prop_map(Message::Have),
            (0..data.len()).prop_map(|len| Message::Bitfield(&data[..len])),
            range().prop_map(Message::Request),
            (any::<u32>(), any::<u32>(), 0..data.len()).prop_map(|(piece, begin, len)| Message::Piece {
                piece,
                begin,
                data: &data[..len]
            }),
            range().prop_map(Message::Cancel),
            any::<u16>().prop_map(Message::Port),
            any::<u32>().prop_map(Message::Suggest),
            range().prop_map(Message::Reject),
            any::<u32>().prop_map(Message::AllowedFast),
            (any::<u8>(), 0..data.len()).prop_map(|(id, len)| Message::Extended { id, payload: &data[..len] }),
        ]
    }

    static DATA: [u8; 300] = [0x5a; 300];

    proptest! {
        #[test]
        fn any_message_comes_back(message in any_message()) {
            let bytes = encoded(message);
            let (prefix, rest) = bytes.split_first_chunk().unwrap();
            prop_assert_eq!(u32::from_be_bytes(*prefix) as usize, rest.len());
            prop_assert_eq!(Message::decode(rest), Ok(message));
        }
    }
}
