//! Magnet links (BEP 9): an info hash and where to ask for the rest.
//!
//! Reads the v1 topic `urn:btih:` in hex and base32; a `urn:btmh:` topic beside it (hybrid torrents) is skipped, alone
//! it is refused. A bare info hash is taken as well. File selection (BEP 53) is not read.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::types::{HashParseError, InfoHash};

/// Longest link that is looked at, in bytes.
pub const MAX_MAGNET_LEN: usize = 64 * 1024;

/// Trackers, peers or web seeds that are kept from one link.
const MAX_ENTRIES: usize = 200;

/// Why a text is not a usable magnet link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// Neither `magnet:?...` nor an info hash.
    #[error("not a magnet link (it begins with \"magnet:?\") and not an info hash (40 hex or 32 base32 characters)")]
    NotAMagnet,
    /// Longer than [`MAX_MAGNET_LEN`].
    #[error("the magnet link has {0} bytes, more than {MAX_MAGNET_LEN}")]
    TooLong(usize),
    /// No `xt=urn:btih:` in it.
    #[error("the magnet link names no BitTorrent info hash (xt=urn:btih:...)")]
    NoInfoHash,
    /// Only a BitTorrent v2 hash in it.
    #[error("the magnet link is for BitTorrent v2 only (urn:btmh), which is not supported yet")]
    V2Only,
    /// The info hash is malformed.
    #[error("the info hash in the magnet link is wrong: {0}")]
    InfoHash(#[from] HashParseError),
}

/// What a magnet link says. Everything but the hash is a hint by whoever made the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Name to show until the metadata is there (`dn`). Foreign text: print it escaped, never use it as a path.
    pub name: Option<String>,
    /// Trackers (`tr`).
    pub trackers: Vec<String>,
    /// Addresses of peers (`x.pe`). Host names are skipped.
    pub peers: Vec<SocketAddr>,
    /// Web seeds (`ws`).
    pub web_seeds: Vec<String>,
}

impl Magnet {
    /// A link with nothing but the hash.
    #[must_use]
    pub const fn new(info_hash: InfoHash) -> Self {
        Self { info_hash, name: None, trackers: Vec::new(), peers: Vec::new(), web_seeds: Vec::new() }
    }

    fn parse_query(query: &str) -> Result<Self, MagnetError> {
        let mut info_hash = None;
        let mut v2 = false;
        let mut magnet = Self::new(InfoHash::new([0; InfoHash::LEN]));
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            // Several values of a kind may be numbered: xt.1, tr.2.
            let kind = match key.split_once('.') {
                Some((kind, number)) if number.bytes().all(|b| b.is_ascii_digit()) => kind,
                _ => key,
            };
            let text = percent_decode(value);
            match kind.to_ascii_lowercase().as_str() {
                "xt" if info_hash.is_none() => match strip_prefix_ignoring_case(&text, "urn:btih:") {
                    Some(hash) => info_hash = Some(parse_info_hash(hash)?),
                    None => v2 |= strip_prefix_ignoring_case(&text, "urn:btmh:").is_some(),
                },
                // Forms write a space as plus; in addresses a plus is a plus.
                "dn" => magnet.name = Some(percent_decode(&value.replace('+', " "))).filter(|name| !name.is_empty()),
                "tr" => push(&mut magnet.trackers, Some(text).filter(|url| !url.is_empty())),
                "x.pe" => push(&mut magnet.peers, text.parse().ok()),
                "ws" => push(&mut magnet.web_seeds, Some(text).filter(|url| !url.is_empty())),
                _ => {}
            }
        }
        magnet.info_hash = info_hash.ok_or(if v2 { MagnetError::V2Only } else { MagnetError::NoInfoHash })?;
        Ok(magnet)
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > MAX_MAGNET_LEN {
            return Err(MagnetError::TooLong(text.len()));
        }
        match strip_prefix_ignoring_case(text, "magnet:?") {
            Some(query) => Self::parse_query(query),
            None => parse_info_hash(text).map(Self::new).map_err(|_| MagnetError::NotAMagnet),
        }
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xt=urn:btih:{}", self.info_hash)?;
        if let Some(name) = &self.name {
            write!(f, "&dn={}", PercentEncoded(name))?;
        }
        self.trackers.iter().try_for_each(|url| write!(f, "&tr={}", PercentEncoded(url)))?;
        self.peers.iter().try_for_each(|peer| write!(f, "&x.pe={peer}"))?;
        self.web_seeds.iter().try_for_each(|url| write!(f, "&ws={}", PercentEncoded(url)))
    }
}

/// Hex, or base32 as old links have it (RFC 4648, section 6, no padding).
fn parse_info_hash(text: &str) -> Result<InfoHash, HashParseError> {
    if text.len() == 32 && text.is_ascii() { base32(text) } else { text.parse() }
}

fn base32(text: &str) -> Result<InfoHash, HashParseError> {
    let mut hash = [0_u8; InfoHash::LEN];
    // 8 characters of 5 bits make 5 bytes.
    for (out, group) in hash.chunks_exact_mut(5).zip(text.as_bytes().chunks(8)) {
        let mut bits = 0_u64;
        for byte in group {
            let value = match byte {
                b'a'..=b'z' => byte - b'a',
                b'A'..=b'Z' => byte - b'A',
                b'2'..=b'7' => byte - b'2' + 26,
                _ => return Err(HashParseError::Digit(char::from(*byte))),
            };
            bits = bits << 5 | u64::from(value);
        }
        for (to, from) in out.iter_mut().zip(bits.to_be_bytes().into_iter().skip(3)) {
            *to = from;
        }
    }
    Ok(InfoHash::new(hash))
}

fn push<T: PartialEq>(list: &mut Vec<T>, item: Option<T>) {
    if let Some(item) = item
        && list.len() < MAX_ENTRIES
        && !list.contains(&item)
    {
        list.push(item);
    }
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Replaces `%XX`; a stray percent sign stays, bytes that are no UTF-8 become U+FFFD.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = match tail {
            [high, low, ..] if *first == b'%' => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high << 4 | low);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Escapes all but the unreserved characters (RFC 3986, section 2.3).
struct PercentEncoded<'a>(&'a str);

impl fmt::Display for PercentEncoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => write!(f, "{}", char::from(byte)),
            _ => write!(f, "%{byte:02X}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef01234567";
    /// The same 20 bytes in base32.
    const BASE32: &str = "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH";

    #[test]
    fn hex_base32_and_bare_hashes_are_one() {
        let plain = Magnet::new(HEX.parse().unwrap());
        for text in [
            HEX.to_owned(),
            HEX.to_uppercase(),
            BASE32.to_owned(),
            BASE32.to_lowercase(),
            format!(" magnet:?xt=urn:btih:{HEX}\n"),
            format!("MAGNET:?xt.1=URN:BTIH:{BASE32}"),
            format!("magnet:?xt=urn%3Abtih%3A{HEX}"),
            format!("magnet:?xt=urn:btmh:1220{HEX}&xt=urn:btih:{HEX}&so=0-2"),
        ] {
            assert_eq!(text.parse(), Ok(plain.clone()), "{text}");
        }
    }

    #[test]
    fn hints_are_read() {
        let text = format!(
            "magnet:?dn=a+b%26c&tr=http%3A%2F%2Ft%2Fa%2Bb&tr.1=udp://u:1&tr=udp://u:1&x.pe=1.2.3.4:5&x.pe=[::1]:6&x.pe=host:7\
             &ws=http://w/&xl=10&xt=urn:btih:{HEX}"
        );
        let magnet: Magnet = text.parse().unwrap();
        assert_eq!(magnet.name.as_deref(), Some("a b&c"));
        assert_eq!(magnet.trackers, ["http://t/a+b", "udp://u:1"]);
        assert_eq!(magnet.peers, ["1.2.3.4:5".parse().unwrap(), "[::1]:6".parse().unwrap()]);
        assert_eq!(magnet.web_seeds, ["http://w/"]);
    }

    #[test]
    fn unusable_links_are_explained() {
        let parse = |text: &str| text.parse::<Magnet>().unwrap_err();
        assert_eq!(parse(""), MagnetError::NotAMagnet);
        assert_eq!(parse("http://example.org/"), MagnetError::NotAMagnet);
        assert_eq!(parse(&HEX[1..]), MagnetError::NotAMagnet);
        assert_eq!(parse("magnet:?dn=x"), MagnetError::NoInfoHash);
        assert_eq!(parse("magnet:?xt=urn:sha1:abc"), MagnetError::NoInfoHash);
        assert_eq!(parse("magnet:?xt=urn:btmh:1220ab"), MagnetError::V2Only);
        assert_eq!(
            parse("magnet:?xt=urn:btih:abc"),
            MagnetError::InfoHash(HashParseError::Length { expected: 40, found: 3 })
        );
        assert_eq!(
            parse(&format!("magnet:?xt=urn:btih:{}", BASE32.replace('A', "1"))),
            MagnetError::InfoHash(HashParseError::Digit('1'))
        );
        assert_eq!(parse(&"m".repeat(MAX_MAGNET_LEN + 1)), MagnetError::TooLong(MAX_MAGNET_LEN + 1));
    }

    proptest! {
        #[test]
        fn a_written_link_is_read_again(hash in any::<[u8; 20]>(), name in "\\PC{1,20}", tracker in "[!-~]{1,30}", port in 1_u16..) {
            let magnet = Magnet {
                name: Some(name),
                trackers: vec![tracker],
                peers: vec![SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([0xfe80; 8], port))],
                ..Magnet::new(InfoHash::new(hash))
            };
            prop_assert_eq!(magnet.to_string().parse(), Ok(magnet));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = format!("magnet:?{text}").parse::<Magnet>();
            let _ = text.parse::<Magnet>();
        }
    }
}
