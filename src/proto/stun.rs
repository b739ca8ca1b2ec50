//! Asking a STUN server how it sees this machine (RFC 8489): the one request and its answer. Pure.
//!
//! Only what is needed to learn an address: a Binding request without attributes, and the XOR-MAPPED-ADDRESS of the
//! answer. An answer counts only with the random id of the request, so whoever did not see that can only guess.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The port of STUN over UDP, if none is named (RFC 8489 section 18.6).
pub const DEFAULT_PORT: u16 = 3478;

/// Bytes of the id that ties an answer to its request.
pub const ID_LEN: usize = 12;

/// Longest datagram looked at. Answers are some dozens of bytes.
pub const MAX_LEN: usize = 1500;

const HEADER_LEN: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const MAGIC_COOKIE: u32 = 0x2112_A442;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// A Binding request with this id.
#[must_use]
pub fn request(id: &[u8; ID_LEN]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.extend(BINDING_REQUEST.to_be_bytes());
    bytes.extend(0u16.to_be_bytes());
    bytes.extend(MAGIC_COOKIE.to_be_bytes());
    bytes.extend(id);
    bytes
}

/// The address in the answer to the request with this id. `None`: it is no such answer.
#[must_use]
pub fn answer(bytes: &[u8], id: &[u8; ID_LEN]) -> Option<SocketAddr> {
    let (header, attributes) = bytes.split_at_checked(HEADER_LEN)?;
    let fits = number(header)? == BINDING_SUCCESS
        && usize::from(number(header.get(2..)?)?) == attributes.len()
        && header.get(4..8)? == MAGIC_COOKIE.to_be_bytes()
        && header.get(8..)? == id;
    if !fits {
        return None;
    }
    let mut rest = attributes;
    while let Some((head, after)) = rest.split_at_checked(4) {
        let (kind, len) = (number(head)?, usize::from(number(head.get(2..)?)?));
        if kind == XOR_MAPPED_ADDRESS {
            return xor_mapped_address(after.get(..len)?, id);
        }
        // Each is filled up to four bytes (section 14).
        rest = after.get(len.next_multiple_of(4)..)?;
    }
    None
}

/// Section 14.2: address and port are hidden from routers that would rewrite them.
fn xor_mapped_address(value: &[u8], id: &[u8; ID_LEN]) -> Option<SocketAddr> {
    let (family, port) = (*value.get(1)?, number(value.get(2..)?)?);
    let address = value.get(4..)?;
    let cookie = MAGIC_COOKIE.to_be_bytes();
    let ip = match family {
        1 => {
            let bytes: [u8; 4] = address.try_into().ok()?;
            IpAddr::V4(Ipv4Addr::from_bits(u32::from_be_bytes(bytes) ^ MAGIC_COOKIE))
        }
        2 => {
            let bytes: [u8; 16] = address.try_into().ok()?;
            let mut key = [0; 16];
            key.iter_mut().zip(cookie.iter().chain(id)).for_each(|(to, from)| *to = *from);
            IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(bytes) ^ u128::from_be_bytes(key)))
        }
        _ => return None,
    };
    let [high, low, ..] = cookie;
    Some(SocketAddr::new(ip.to_canonical(), port ^ u16::from_be_bytes([high, low])))
}

/// The number in the first two bytes.
fn number(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 section 2.2 (IPv4) and 2.3 (IPv6), without the keyed attributes behind the address.
    const ID: [u8; ID_LEN] = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    fn message(attributes: &[u8]) -> Vec<u8> {
        let mut bytes = request(&ID);
        bytes[0] = 1;
        bytes[2..4].copy_from_slice(&u16::try_from(attributes.len()).unwrap().to_be_bytes());
        bytes.extend(attributes);
        bytes
    }

    const SOFTWARE: &[u8] = b"\x80\x22\x00\x0btest vector\x20";
    const V4: &[u8] = b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43";
    const V6: &[u8] =
        b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";

    #[test]
    fn the_vectors_of_the_rfc_are_read() {
        assert_eq!(answer(&message(&[SOFTWARE, V4].concat()), &ID), Some("192.0.2.1:32853".parse().unwrap()));
        let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
        assert_eq!(answer(&message(&[V6, SOFTWARE].concat()), &ID), Some(v6.parse().unwrap()));
    }

    #[test]
    fn a_request_is_a_bare_header() {
        let bytes = request(&ID);
        assert_eq!((bytes.len(), &bytes[..8]), (HEADER_LEN, &b"\x00\x01\x00\x00\x21\x12\xa4\x42"[..]));
        assert_eq!(bytes[8..], ID);
    }

    #[test]
    fn what_is_no_answer_is_nothing() {
        let good = message(V4);
        assert_eq!(answer(&good, &[7; ID_LEN]), None, "another's id");
        for len in 0..good.len() {
            assert_eq!(answer(&good[..len], &ID), None, "cut at {len}");
        }
        for place in [0, 1, 3, 4, 7, 21] {
            let mut bad = good.clone();
            bad[place] ^= 0x10;
            assert_eq!(answer(&bad, &ID), None, "byte {place}");
        }
        assert_eq!(answer(&message(b"\x00\x20\x00\x08\x00\x03\xa1\x47\xe1\x12\xa6\x43"), &ID), None, "family 3");
        assert_eq!(answer(&message(b"\x80\x22\xff\xff"), &ID), None, "longer than the message");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_a_problem(bytes: Vec<u8>) {
            let _ = answer(&bytes, &ID);
            let _ = answer(&message(&bytes[..bytes.len().min(1000)]), &ID);
        }
    }
}
