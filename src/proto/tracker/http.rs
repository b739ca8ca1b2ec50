//! HTTP(S) trackers: the announce URL and the bencoded reply (BEP 3, 7, 23, 24, 31).
//!
//! Sending the request, following redirects and limiting the reply's size is the caller's part.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{
    Announce, AnnounceEvent, Announced, MAX_INTERVAL, MAX_PEERS, MAX_TRACKER_ID_LEN, bounded_intervals, compact_v4,
    compact_v6, is_possible_peer, readable,
};
use crate::proto::bencode::{BencodeError, Node};

/// A reply that is no list of peers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpReplyError {
    /// The tracker refused, and says why.
    #[error("the tracker refused: {reason}")]
    Refused {
        /// The tracker's words, fit for showing.
        reason: String,
        /// Do not ask again sooner (BEP 31); at most [`MAX_INTERVAL`], also when the tracker says "never".
        retry_in: Option<Duration>,
    },
    /// Not bencode: often a web page.
    #[error("the tracker's reply is malformed: {0}")]
    Malformed(#[from] BencodeError),
    /// Bencode, but no dictionary.
    #[error("the tracker's reply is no dictionary")]
    NoDictionary,
}

/// The URL to fetch: `base` with everything a tracker wants to know behind it. What `base` has for a query stays.
///
/// Bytes in `base` that no URL may hold are percent-encoded; a fragment is cut off.
#[must_use]
pub fn announce_url(base: &str, announce: &Announce) -> String {
    let base = base.trim();
    let base = base.split_once('#').map_or(base, |(before, _)| before);
    let mut url = String::with_capacity(base.len() + 300);
    for byte in base.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') {
            url.push(char::from(byte));
        } else {
            push_encoded(&mut url, byte);
        }
    }
    let mut query = Query { url };
    query.bytes("info_hash", announce.info_hash.as_bytes());
    query.bytes("peer_id", announce.peer_id.as_bytes());
    query.number("port", announce.port);
    query.number("uploaded", announce.uploaded);
    query.number("downloaded", announce.downloaded);
    query.number("left", announce.left);
    query.text("compact", "1");
    query.number("numwant", announce.wanted());
    query.text("key", &format!("{:08X}", announce.key));
    if let Some(event) = announce.event {
        query.text("event", event_name(event));
    }
    if let Some(id) = &announce.tracker_id {
        query.bytes("trackerid", id);
    }
    if let Some(ip) = announce.ipv4 {
        query.text("ipv4", &ip.to_string());
    }
    if let Some(ip) = announce.ipv6 {
        query.text("ipv6", &ip.to_string());
    }
    query.url
}

/// Reads a tracker's reply: compact (BEP 23, 7) or as dictionaries (BEP 3), unsorted keys allowed.
///
/// # Errors
/// [`HttpReplyError`] if the tracker refused or the reply is no such thing. Single malformed peers are left out, and
/// missing fields get their defaults.
pub fn parse_reply(body: &[u8]) -> Result<Announced, HttpReplyError> {
    // Some trackers end the reply with a line break.
    let (reply, _) = Node::parse_prefix(body)?;
    if reply.as_dict().is_none() {
        return Err(HttpReplyError::NoDictionary);
    }
    if let Some(reason) = reply.get("failure reason") {
        let reason = readable(reason.as_bytes().unwrap_or_default());
        let reason = if reason.is_empty() { "no reason given".to_owned() } else { reason };
        return Err(HttpReplyError::Refused { reason, retry_in: reply.get("retry in").and_then(retry_in) });
    }
    let int = |key: &str| reply.get(key).and_then(Node::as_int);
    let bytes = |key: &str| reply.get(key).and_then(Node::as_bytes);
    let (interval, min_interval) = bounded_intervals(int("interval"), int("min interval"));
    Ok(Announced {
        interval,
        min_interval,
        peers: peers(&reply),
        seeders: int("complete").and_then(|count| u32::try_from(count).ok()),
        leechers: int("incomplete").and_then(|count| u32::try_from(count).ok()),
        tracker_id: bytes("tracker id").filter(|id| id.len() <= MAX_TRACKER_ID_LEN).map(<[u8]>::to_vec),
        warning: bytes("warning message").map(readable).filter(|text| !text.is_empty()),
        external_ip: bytes("external ip").and_then(ip_of_bytes),
    })
}

fn peers(reply: &Node<'_>) -> Vec<SocketAddr> {
    let v4 = reply.get("peers");
    let compact = v4.and_then(Node::as_bytes).map(compact_v4);
    let listed = v4.and_then(Node::as_list).map(|list| list.iter().filter_map(listed_peer));
    let v6 = reply.get("peers6").and_then(Node::as_bytes).map(compact_v6);
    let all = compact.into_iter().flatten().chain(listed.into_iter().flatten()).chain(v6.into_iter().flatten());
    all.filter(is_possible_peer).take(MAX_PEERS).collect()
}

/// A peer as a dictionary. One that is named by a DNS name is left out: we look up no names for strangers.
fn listed_peer(peer: &Node<'_>) -> Option<SocketAddr> {
    let ip: IpAddr = peer.get("ip")?.as_str()?.parse().ok()?;
    let port = u16::try_from(peer.get("port")?.as_int()?).ok()?;
    Some(SocketAddr::new(ip.to_canonical(), port))
}

fn ip_of_bytes(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|ip| IpAddr::from(ip).to_canonical())).ok()
}

/// BEP 31: minutes, or "never". For us a day is never: the user may have talked to the tracker's owner meanwhile.
fn retry_in(value: &Node<'_>) -> Option<Duration> {
    match value {
        Node::Int(minutes) => {
            let minutes = u64::try_from(*minutes).ok()?;
            Some(Duration::from_secs(minutes.saturating_mul(60)).min(MAX_INTERVAL))
        }
        Node::Bytes(b"never") => Some(MAX_INTERVAL),
        Node::Bytes(text) => retry_in(&Node::Int(str::from_utf8(text).ok()?.parse().ok()?)),
        _ => None,
    }
}

const fn event_name(event: AnnounceEvent) -> &'static str {
    match event {
        AnnounceEvent::Started => "started",
        AnnounceEvent::Completed => "completed",
        AnnounceEvent::Stopped => "stopped",
    }
}

/// Appends `key=value` pairs to a URL.
struct Query {
    url: String,
}

impl Query {
    fn key(&mut self, key: &str) {
        if !self.url.contains('?') {
            self.url.push('?');
        } else if !self.url.ends_with(['?', '&']) {
            self.url.push('&');
        }
        self.url.push_str(key);
        self.url.push('=');
    }

    /// For values that need no encoding.
    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.url.push_str(value);
    }

    fn number(&mut self, key: &str, value: impl Into<u64>) {
        self.text(key, &value.into().to_string());
    }

    fn bytes(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        for &byte in value {
            // RFC 3986 section 2.3: these and no others never need encoding.
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                self.url.push(char::from(byte));
            } else {
                push_encoded(&mut self.url, byte);
            }
        }
    }
}

fn push_encoded(url: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(url, "%{byte:02X}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{InfoHash, PeerId};
    use proptest::prelude::*;

    fn announce() -> Announce {
        let info_hash = "0041615f7e7dff2d2e002b2f3f263d2520303132".parse().unwrap();
        Announce { key: 0xBEEF, ..Announce::new(info_hash, PeerId::new(*b"-BW0100-abc\0\xff def*!~"), 6881, 7) }
    }

    #[test]
    fn every_byte_of_hash_and_peer_id_is_encoded_as_it_must_be() {
        assert_eq!(
            announce_url("http://t.example/announce", &announce()),
            "http://t.example/announce?info_hash=%00Aa_~%7D%FF-.%00%2B%2F%3F%26%3D%25%20012\
             &peer_id=-BW0100-abc%00%FF%20def%2A%21~&port=6881&uploaded=0&downloaded=0&left=7&compact=1&numwant=80\
             &key=0000BEEF"
        );
    }

    #[test]
    fn optional_fields_appear_when_they_are_set() {
        let full = Announce {
            event: Some(AnnounceEvent::Completed),
            tracker_id: Some(b"a b&c".to_vec()),
            ipv4: Some("192.0.2.1".parse().unwrap()),
            ipv6: Some("2001:db8::1".parse().unwrap()),
            uploaded: u64::MAX,
            ..announce()
        };
        let url = announce_url("http://t/a", &full);
        for part in [
            "&event=completed&",
            "&trackerid=a%20b%26c&",
            "&ipv4=192.0.2.1&",
            "&ipv6=2001:db8::1",
            "&uploaded=18446744073709551615&",
        ] {
            assert!(url.contains(part), "{part} in {url}");
        }
    }

    #[test]
    fn who_leaves_wants_no_peers() {
        let url = announce_url("http://t/a", &Announce { event: Some(AnnounceEvent::Stopped), ..announce() });
        assert!(url.contains("&numwant=0&") && url.contains("&event=stopped"), "{url}");
    }

    #[test]
    fn a_query_of_the_tracker_url_stays() {
        for (base, begin) in [
            ("http://t/a?passkey=x", "http://t/a?passkey=x&info_hash=%00"),
            ("http://t/a?passkey=x&", "http://t/a?passkey=x&info_hash=%00"),
            ("http://t/a?", "http://t/a?info_hash=%00"),
            ("http://t", "http://t?info_hash=%00"),
            (" http://t/a#fragment ", "http://t/a?info_hash=%00"),
            ("http://t/ä b?q=%20", "http://t/%C3%A4%20b?q=%20&info_hash=%00"),
        ] {
            let url = announce_url(base, &announce());
            assert!(url.starts_with(begin), "{url}");
        }
    }

    #[test]
    fn a_compact_reply_with_everything_is_read() {
        let mut body =
            b"d8:completei3e11:external ip4:\x05\x06\x07\x0810:incompletei9e8:intervali1800e12:min intervali\
            300e5:peers12:\x0a\x00\x00\x01\x1a\xe1\x0a\x00\x00\x02\x00\x006:peers618:"
                .to_vec();
        body.extend("2001:db8::5".parse::<std::net::Ipv6Addr>().unwrap().octets());
        body.extend(b"\x00\x5010:tracker id3:xyz15:warning message5:hi\x07!\ne\r\n");
        let reply = parse_reply(&body).unwrap();
        assert_eq!(
            reply,
            Announced {
                interval: Duration::from_secs(1800),
                min_interval: Duration::from_secs(300),
                peers: vec!["10.0.0.1:6881".parse().unwrap(), "[2001:db8::5]:80".parse().unwrap()],
                seeders: Some(3),
                leechers: Some(9),
                tracker_id: Some(b"xyz".to_vec()),
                warning: Some("hi!".into()),
                external_ip: Some("5.6.7.8".parse().unwrap()),
            }
        );
    }

    #[test]
    fn a_reply_with_dictionaries_and_unsorted_keys_is_read() {
        let body = b"d8:intervali900e8:completei1e5:peersl\
            d2:ip9:127.0.0.14:porti6881e7:peer id20:aaaaaaaaaaaaaaaaaaaae\
            d4:porti6882e2:ip3:::1e\
            d2:ip11:example.org4:porti6883ee\
            d2:ip9:127.0.0.14:porti70000ee\
            d2:ip9:127.0.0.1e\
            i5eee";
        let reply = parse_reply(body).unwrap();
        assert_eq!(reply.peers, ["127.0.0.1:6881".parse().unwrap(), "[::1]:6882".parse().unwrap()]);
        assert_eq!((reply.interval, reply.seeders), (Duration::from_secs(900), Some(1)));
    }

    #[test]
    fn an_empty_dictionary_means_no_peers_and_usual_intervals() {
        let reply = parse_reply(b"de").unwrap();
        assert_eq!(reply.interval, super::super::DEFAULT_INTERVAL);
        assert!(reply.peers.is_empty());
    }

    #[test]
    fn a_refusal_carries_the_reason_and_when_to_come_back() {
        let refused = |reason: &str, minutes: Option<u64>| {
            let retry_in = minutes.map(|minutes| Duration::from_secs(60 * minutes));
            Err(HttpReplyError::Refused { reason: reason.into(), retry_in })
        };
        assert_eq!(parse_reply(b"d14:failure reason7:bad\x1bkey5:peers0:e"), refused("badkey", None));
        assert_eq!(parse_reply(b"d14:failure reason1:x8:retry ini15ee"), refused("x", Some(15)));
        assert_eq!(parse_reply(b"d14:failure reason1:x8:retry in5:nevere"), refused("x", Some(24 * 60)));
        assert_eq!(parse_reply(b"d14:failure reason1:x8:retry in1:9e"), refused("x", Some(9)));
        assert_eq!(parse_reply(b"d14:failure reason0:e"), refused("no reason given", None));
        assert_eq!(parse_reply(b"d14:failure reasoni3ee"), refused("no reason given", None));
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        assert!(matches!(parse_reply(b"<html>404</html>"), Err(HttpReplyError::Malformed(_))));
        assert!(matches!(parse_reply(b""), Err(HttpReplyError::Malformed(_))));
        assert_eq!(parse_reply(b"le"), Err(HttpReplyError::NoDictionary));
    }

    #[test]
    fn the_number_of_peers_is_bounded() {
        let mut body = b"d5:peers60000:".to_vec();
        body.extend((0..10_000_u16).flat_map(|n| [10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1], 0, 1]));
        body.push(b'e');
        assert_eq!(parse_reply(&body).unwrap().peers.len(), MAX_PEERS);
    }

    /// What a server does with a query string.
    fn decoded(text: &str) -> Vec<u8> {
        let mut bytes = text.bytes();
        let mut out = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let hex: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&hex, 16).unwrap());
            } else {
                out.push(byte);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn any_hash_and_peer_id_survive_the_url(hash: [u8; 20], peer_id: [u8; 20]) {
            let announce = Announce::new(InfoHash::new(hash), PeerId::new(peer_id), 1, 0);
            let url = announce_url("http://t/a", &announce);
            prop_assert!(url.is_ascii());
            let value = |key: &str| {
                let pair = url.split(['?', '&']).find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')).unwrap();
                decoded(pair)
            };
            prop_assert_eq!(value("info_hash"), hash);
            prop_assert_eq!(value("peer_id"), peer_id);
        }

        #[test]
        fn no_reply_makes_the_parser_panic(body: Vec<u8>) {
            let _ = parse_reply(&body);
            let _ = parse_reply(&[b"d5:peers", body.as_slice(), b"e"].concat());
        }
    }
}
