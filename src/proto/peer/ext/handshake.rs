//! The extended handshake (BEP 10): a dictionary that says which extended messages are understood and some facts.
//!
//! Every key is optional. A value of the wrong type or out of range counts as absent: only a broken dictionary is an
//! error. Keys that we do not know are skipped.

use std::net::IpAddr;

use super::{LIMITS, METADATA_ID};
use crate::proto::bencode::Node;
use crate::proto::peer::{MAX_METADATA_LEN, WireError};

/// Facts from a peer's extended handshake. A later one carries changes only; what it leaves out is `None` here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedHandshake {
    /// Name and version of the program (`v`), without control characters, at most [`MAX_CLIENT_LEN`] characters.
    pub client: Option<String>,
    /// TCP port it listens on (`p`), never 0.
    pub listen_port: Option<u16>,
    /// Requests it keeps without dropping any (`reqq`), never 0.
    pub request_queue: Option<u32>,
    /// Bytes of the raw info dictionary (`metadata_size`, BEP 9), from 1 to
    /// [`MAX_METADATA_LEN`]. Not checked against anything yet.
    pub metadata_size: Option<u32>,
    /// Our address as the peer sees it (`yourip`).
    pub your_ip: Option<IpAddr>,
    /// The extended id for metadata messages (`ut_metadata` in `m`, BEP 9); `Some(0)` switches them off.
    pub metadata_id: Option<u8>,
}

impl ExtendedHandshake {
    /// Reads the dictionary behind the extended id.
    ///
    /// # Errors
    /// [`WireError::BadExtendedHandshake`] if it is no bencoded dictionary, or too large a one.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        // Some clients pad the dictionary, so what follows it is not looked at.
        let parsed = Node::parse_prefix_with(payload, LIMITS);
        let (dict, _) = parsed.map_err(|_| WireError::BadExtendedHandshake)?;
        if dict.as_dict().is_none() {
            return Err(WireError::BadExtendedHandshake);
        }
        let int = |key: &str| dict.get(key).and_then(Node::as_int);
        let size = int("metadata_size").and_then(|n| u32::try_from(n).ok());
        Ok(Self {
            client: dict.get("v").and_then(Node::as_bytes).map(readable).filter(|name| !name.is_empty()),
            listen_port: int("p").and_then(|n| u16::try_from(n).ok()).filter(|port| *port != 0),
            request_queue: int("reqq").and_then(|n| u32::try_from(n).ok()).filter(|n| *n != 0),
            metadata_size: size.filter(|n| (1..=MAX_METADATA_LEN).contains(n)),
            your_ip: dict.get("yourip").and_then(Node::as_bytes).and_then(address),
            metadata_id: dict.get("m").and_then(|m| m.get("ut_metadata")?.as_int()).and_then(|n| u8::try_from(n).ok()),
        })
    }

    /// The dictionary as we send it, ut_metadata under [`METADATA_ID`] whatever `metadata_id` says.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let ip = self.your_ip.map(octets);
        let facts = [
            ("metadata_size", self.metadata_size.map(Node::from)),
            ("p", self.listen_port.map(|port| Node::from(u32::from(port)))),
            ("reqq", self.request_queue.map(Node::from)),
            ("v", self.client.as_deref().map(Node::from)),
            ("yourip", ip.as_deref().map(Node::from)),
        ];
        let supported = Node::dict([("ut_metadata", u32::from(METADATA_ID).into())]);
        let known = facts.into_iter().filter_map(|(key, value)| Some((key.as_bytes(), value?)));
        Node::Dict(std::iter::once((&b"m"[..], supported)).chain(known).collect()).encode()
    }
}

/// Characters that are kept of a client's name. Taste.
pub const MAX_CLIENT_LEN: usize = 64;

fn readable(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    text.chars().filter(|c| !c.is_control()).take(MAX_CLIENT_LEN).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_dictionary_has_the_keys_in_order() {
        let ours = ExtendedHandshake {
            client: Some("bitween/0.1.0".into()),
            listen_port: Some(6881),
            request_queue: Some(500),
            metadata_size: Some(31_235),
            your_ip: Some(IpAddr::from([10, 0, 0, 7])),
            metadata_id: Some(METADATA_ID),
        };
        let bytes = ours.encode();
        let golden: &[u8] = b"d1:md11:ut_metadatai1ee13:metadata_sizei31235e1:pi6881e4:reqqi500e\
            1:v13:bitween/0.1.06:yourip4:\x0a\x00\x00\x07e";
        assert_eq!(bytes, golden);
        assert_eq!(ExtendedHandshake::decode(&bytes), Ok(ours));
    }

    #[test]
    fn the_specifications_example_is_read() {
        let example = b"d1:md11:LT_metadatai1e6:\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e";
        let read = ExtendedHandshake::decode(example).unwrap();
        assert_eq!(read.client.as_deref(), Some("µTorrent 1.2"));
        assert_eq!(read.listen_port, Some(6881));
        assert_eq!(read.metadata_id, None);
    }

    #[test]
    fn unsorted_keys_strange_types_and_padding_are_tolerated() {
        let strange = b"d1:v3:a\x07b1:pi0e4:reqqi-5e13:metadata_sizei99999999999e6:yourip5:abcde1:ml4:spamee\0\0";
        let read = ExtendedHandshake::decode(strange).unwrap();
        assert_eq!(read, ExtendedHandshake { client: Some("ab".into()), ..ExtendedHandshake::default() });
        let off = ExtendedHandshake::decode(b"d1:md11:ut_metadatai0eee").unwrap();
        assert_eq!(off.metadata_id, Some(0));
    }

    #[test]
    fn an_ipv6_address_is_read_and_written() {
        let ip = Some(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
        let bytes = ExtendedHandshake { your_ip: ip, ..ExtendedHandshake::default() }.encode();
        assert_eq!(ExtendedHandshake::decode(&bytes).unwrap().your_ip, ip);
    }

    #[test]
    fn what_is_no_dictionary_or_too_large_a_one_is_an_error() {
        let huge = [&b"d1:ml"[..], &b"i0e".repeat(LIMITS.values + 1), b"ee"].concat();
        let deep = [&b"d1:m"[..], &b"l".repeat(20), &b"e".repeat(21)].concat();
        for bad in [&b""[..], b"d", b"le", b"i0e", b"d1:v9:shorte", &huge, &deep] {
            assert_eq!(ExtendedHandshake::decode(bad), Err(WireError::BadExtendedHandshake));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(read) = ExtendedHandshake::decode(&bytes) {
                prop_assert!(read.client.is_none_or(|name| name.chars().count() <= MAX_CLIENT_LEN));
            }
        }
    }
}
