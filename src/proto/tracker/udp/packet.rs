//! The datagrams of BEP 15, big-endian throughout.

use crate::proto::tracker::{Announce, AnnounceEvent};

/// A datagram from a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The answer to a connect request.
    Connect {
        /// Of the request.
        transaction: u32,
        /// To be sent along with announces.
        connection_id: u64,
    },
    /// The answer to an announce.
    Announce {
        /// Of the request.
        transaction: u32,
        /// Seconds to the next announce.
        interval: u32,
        /// Incomplete peers in the swarm.
        leechers: u32,
        /// Complete peers in the swarm.
        seeders: u32,
        /// Peers in compact form.
        peers: &'a [u8],
    },
    /// A refusal.
    Error {
        /// Of the request.
        transaction: u32,
        /// The tracker's words.
        message: &'a [u8],
    },
}

/// A datagram that is none of [`Packet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Too short for what it says it is.
    #[error("a datagram of {0} bytes is too short")]
    TooShort(usize),
    /// An action that no client is sent.
    #[error("unknown action {0}")]
    Action(u32),
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// [`PacketError`] if it is none that a tracker sends to us.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let mut reader = Reader { rest: datagram, len: datagram.len() };
        let action = reader.u32()?;
        let transaction = reader.u32()?;
        match action {
            CONNECT => Ok(Self::Connect { transaction, connection_id: reader.u64()? }),
            ANNOUNCE => Ok(Self::Announce {
                transaction,
                interval: reader.u32()?,
                leechers: reader.u32()?,
                seeders: reader.u32()?,
                peers: reader.rest,
            }),
            ERROR => Ok(Self::Error { transaction, message: reader.rest }),
            other => Err(PacketError::Action(other)),
        }
    }
}

/// The transaction id of any datagram that has one.
pub(super) fn transaction_of(datagram: &[u8]) -> Option<u32> {
    let mut reader = Reader { rest: datagram, len: datagram.len() };
    reader.u32().and_then(|_action| reader.u32()).ok()
}

/// The request for a connection id.
#[must_use]
pub fn encode_connect(transaction: u32) -> Vec<u8> {
    [&PROTOCOL_ID.to_be_bytes()[..], &CONNECT.to_be_bytes(), &transaction.to_be_bytes()].concat()
}

/// The announce: 98 bytes and, unless it says nothing, `url_data` in the form of BEP 41.
#[must_use]
pub fn encode_announce(connection_id: u64, transaction: u32, announce: &Announce, url_data: &str) -> Vec<u8> {
    let event: u32 = match announce.event {
        None => 0,
        Some(AnnounceEvent::Completed) => 1,
        Some(AnnounceEvent::Started) => 2,
        Some(AnnounceEvent::Stopped) => 3,
    };
    let mut out = Vec::with_capacity(ANNOUNCE_LEN + url_data.len() + 8);
    out.extend(connection_id.to_be_bytes());
    out.extend(ANNOUNCE.to_be_bytes());
    out.extend(transaction.to_be_bytes());
    out.extend(announce.info_hash.as_bytes());
    out.extend(announce.peer_id.as_bytes());
    out.extend(announce.downloaded.to_be_bytes());
    out.extend(announce.left.to_be_bytes());
    out.extend(announce.uploaded.to_be_bytes());
    out.extend(event.to_be_bytes());
    out.extend([0; 4]); // our address: the one that the datagram comes from
    out.extend(announce.key.to_be_bytes());
    out.extend(i32::from(announce.wanted()).to_be_bytes());
    out.extend(announce.port.to_be_bytes());
    if !matches!(url_data, "" | "/" | "/announce") {
        for part in url_data.as_bytes().chunks(usize::from(u8::MAX)) {
            // An option has one byte for its length; longer data continues in the next one.
            out.push(OPTION_URL_DATA);
            out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            out.extend(part);
        }
        out.push(OPTION_END);
    }
    out
}

/// Takes big-endian numbers from the front of a datagram.
struct Reader<'a> {
    rest: &'a [u8],
    /// Of the whole datagram.
    len: usize,
}

impl Reader<'_> {
    fn u32(&mut self) -> Result<u32, PacketError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(PacketError::TooShort(self.len))?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn u64(&mut self) -> Result<u64, PacketError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(PacketError::TooShort(self.len))?;
        self.rest = rest;
        Ok(u64::from_be_bytes(*bytes))
    }
}

/// Constant by which a tracker knows that it is spoken to in this protocol.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const ERROR: u32 = 3;
/// An announce without options.
const ANNOUNCE_LEN: usize = 98;
const OPTION_END: u8 = 0;
const OPTION_URL_DATA: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PeerId;
    use proptest::prelude::*;

    fn announce() -> Announce {
        let info_hash = "000102030405060708090a0b0c0d0e0f10111213".parse().unwrap();
        Announce {
            uploaded: 0x0101,
            downloaded: 0x0202,
            event: Some(AnnounceEvent::Started),
            key: 0xA1B2_C3D4,
            num_want: 50,
            ..Announce::new(info_hash, PeerId::new(*b"-BW0100-abcdefghijkl"), 6881, 0x0303)
        }
    }

    #[test]
    fn a_connect_request_is_as_the_specification_has_it() {
        assert_eq!(encode_connect(0x0102_0304), [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn an_announce_has_every_field_in_its_place() {
        let packet = encode_announce(0x1112_1314_1516_1718, 0x0102_0304, &announce(), "/announce");
        assert_eq!(packet.len(), 98);
        assert_eq!(packet[..16], [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0, 0, 0, 1, 1, 2, 3, 4]);
        assert_eq!(packet[16..36], *announce().info_hash.as_bytes());
        assert_eq!(packet[36..56], *b"-BW0100-abcdefghijkl");
        assert_eq!(packet[56..64], 0x0202_u64.to_be_bytes(), "downloaded");
        assert_eq!(packet[64..72], 0x0303_u64.to_be_bytes(), "left");
        assert_eq!(packet[72..80], 0x0101_u64.to_be_bytes(), "uploaded");
        assert_eq!(packet[80..84], [0, 0, 0, 2], "started");
        assert_eq!(packet[84..88], [0; 4], "address");
        assert_eq!(packet[88..92], [0xA1, 0xB2, 0xC3, 0xD4], "key");
        assert_eq!(packet[92..96], [0, 0, 0, 50], "peers wanted");
        assert_eq!(packet[96..], 6881_u16.to_be_bytes());
    }

    #[test]
    fn url_data_follows_in_options_of_at_most_255_bytes() {
        let packet = encode_announce(0, 0, &announce(), "/secret?x=1");
        assert_eq!(packet[98..], *b"\x02\x0b/secret?x=1\x00");
        let long = format!("/{}", "x".repeat(299));
        let packet = encode_announce(0, 0, &announce(), &long);
        assert_eq!(packet.len(), 98 + 2 + 255 + 2 + 45 + 1);
        assert_eq!((packet[98], packet[99], packet[98 + 257], packet[98 + 258]), (2, 255, 2, 45));
    }

    #[test]
    fn replies_are_read() {
        assert_eq!(
            Packet::parse(b"\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\x01\0"),
            Ok(Packet::Connect { transaction: 7, connection_id: 256 })
        );
        assert_eq!(
            Packet::parse(b"\0\0\0\x01\0\0\0\x07\0\0\x07\x08\0\0\0\x02\0\0\0\x03peers!"),
            Ok(Packet::Announce { transaction: 7, interval: 1800, leechers: 2, seeders: 3, peers: b"peers!" })
        );
        assert_eq!(
            Packet::parse(b"\0\0\0\x03\0\0\0\x07go away"),
            Ok(Packet::Error { transaction: 7, message: b"go away" })
        );
    }

    #[test]
    fn truncated_and_unknown_replies_are_errors() {
        assert_eq!(Packet::parse(b""), Err(PacketError::TooShort(0)));
        assert_eq!(Packet::parse(b"\0\0\0\0\0\0\0\x07\0\0\0"), Err(PacketError::TooShort(11)));
        assert_eq!(Packet::parse(b"\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0\0"), Err(PacketError::TooShort(16)));
        assert_eq!(Packet::parse(b"\0\0\0\x09\0\0\0\x07"), Err(PacketError::Action(9)));
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_parser_panic(datagram: Vec<u8>) {
            if let Ok(packet) = Packet::parse(&datagram) {
                let (Packet::Connect { transaction, .. }
                | Packet::Announce { transaction, .. }
                | Packet::Error { transaction, .. }) = packet;
                prop_assert_eq!(transaction_of(&datagram), Some(transaction));
            }
        }
    }
}
