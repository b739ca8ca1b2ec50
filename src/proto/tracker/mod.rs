//! Tracker requests and replies (BEP 3, 7, 15, 23), and which tracker to ask when (BEP 12).
//!
//! Pure: URLs and packets are built and parsed here, and time is an argument; the sockets are in
//! [`component::tracker`](crate::component::tracker). [`Tiers`] decides for one torrent, [`http`] and [`udp`] speak
//! the two protocols, and both fill the same [`Announced`].

pub mod http;
mod reach;
mod tiers;
mod tracker_url;
pub mod udp;

pub use reach::{Access, Forbidden, Hop, NamedBy, Reach};
pub use tiers::{Order, Tiers, TrackerStatus};
pub use tracker_url::{MAX_URL_LEN, Scheme, TrackerUrl, UrlError};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::types::{InfoHash, PeerId};

/// What a tracker is told about us and one torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Us.
    pub peer_id: PeerId,
    /// The TCP port that we listen on.
    pub port: u16,
    /// Payload bytes uploaded since `started`.
    pub uploaded: u64,
    /// Payload bytes downloaded since `started`.
    pub downloaded: u64,
    /// Bytes missing; 0 means seed. As long as the metadata is unknown: anything above 0.
    pub left: u64,
    /// What happened, if this is no periodic announce.
    pub event: Option<AnnounceEvent>,
    /// A secret by which the tracker knows us again when our address changes. Stays the same while we run.
    pub key: u32,
    /// How many peers we would like; [`DEFAULT_NUM_WANT`] unless there is a reason.
    pub num_want: u16,
    /// What this tracker called us in its last reply ([`Announced::tracker_id`]).
    pub tracker_id: Option<Vec<u8>>,
    /// A global IPv4 address of ours that the tracker may not see (BEP 7; HTTP only).
    pub ipv4: Option<Ipv4Addr>,
    /// A global IPv6 address of ours that the tracker may not see (BEP 7; HTTP only).
    pub ipv6: Option<Ipv6Addr>,
}

impl Announce {
    /// An announce without event, transfer or extras.
    #[must_use]
    pub fn new(info_hash: InfoHash, peer_id: PeerId, port: u16, left: u64) -> Self {
        Self {
            info_hash,
            peer_id,
            port,
            uploaded: 0,
            downloaded: 0,
            left,
            event: None,
            key: 0,
            num_want: DEFAULT_NUM_WANT,
            tracker_id: None,
            ipv4: None,
            ipv6: None,
        }
    }

    /// Peers to ask for: none when leaving.
    fn wanted(&self) -> u16 {
        if self.event == Some(AnnounceEvent::Stopped) { 0 } else { self.num_want }
    }
}

/// Why an announce is sent outside the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnnounceEvent {
    /// The first announce to this tracker.
    Started,
    /// The download has just become complete. Not sent by those who start as seeds.
    Completed,
    /// The last announce to this tracker.
    Stopped,
}

/// What a tracker answered, checked and bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Time to the next periodic announce, [`MIN_INTERVAL`] to [`MAX_INTERVAL`].
    pub interval: Duration,
    /// Never ask again sooner than this without an event; at most `interval`.
    pub min_interval: Duration,
    /// Peers, without those that cannot be (port 0, unspecified or multicast address); at most [`MAX_PEERS`].
    pub peers: Vec<SocketAddr>,
    /// Seeds in the swarm.
    pub seeders: Option<u32>,
    /// Others in the swarm.
    pub leechers: Option<u32>,
    /// To be sent back in the next [`Announce::tracker_id`].
    pub tracker_id: Option<Vec<u8>>,
    /// Something the user should read. No control characters.
    pub warning: Option<String>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
}

/// Peers asked for when there is no reason for another number.
pub const DEFAULT_NUM_WANT: u16 = 80;
/// Shortest periodic interval we accept from a tracker, whatever it says. Taste: no tracker in use asks for less.
pub const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// Longest interval we accept; a tracker that names a longer one has lost us by then.
pub const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// Interval when the tracker names none: half an hour, which most of them use.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// Shortest time between two announces without event. Also used when the tracker names no minimum. Taste: soon enough
/// for somebody who waits for a first peer, rare enough for any tracker.
pub const MIN_REASK: Duration = Duration::from_secs(30);
/// Peers taken from one reply. Trackers send 50 to 200.
pub const MAX_PEERS: usize = 2_000;
/// Length of a tracker id that we are ready to send back, in bytes.
const MAX_TRACKER_ID_LEN: usize = 256;
/// Length of a text from a tracker that we show, in characters.
const MAX_TEXT_CHARS: usize = 200;

/// Interval and minimum as they will be used, from what the tracker said, in seconds.
fn bounded_intervals(interval: Option<i64>, min_interval: Option<i64>) -> (Duration, Duration) {
    let seconds = |value: Option<i64>| value.map(|value| Duration::from_secs(u64::try_from(value).unwrap_or(0)));
    let interval = seconds(interval).unwrap_or(DEFAULT_INTERVAL).clamp(MIN_INTERVAL, MAX_INTERVAL);
    let min_interval = seconds(min_interval).unwrap_or(MIN_REASK).clamp(MIN_REASK, interval);
    (interval, min_interval)
}

/// Whether somebody could be reached there. Whether we *want* to connect is decided elsewhere.
fn is_possible_peer(peer: &SocketAddr) -> bool {
    let nowhere = match peer.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    peer.port() != 0 && !nowhere
}

/// Peers in compact form (BEP 23): 4 bytes of address and 2 of port each. A torn last entry is ignored.
fn compact_v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    let (entries, _) = bytes.as_chunks::<6>();
    entries.iter().map(|&[a, b, c, d, high, low]| {
        SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))
    })
}

/// Peers in compact form (BEP 7): 16 bytes of address and 2 of port each. A torn last entry is ignored.
fn compact_v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
    let (entries, _) = bytes.as_chunks::<18>();
    entries.iter().filter_map(|entry| {
        let (ip, port) = entry.split_first_chunk::<16>()?;
        let port = u16::from_be_bytes(*port.first_chunk()?);
        Some(SocketAddr::new(Ipv6Addr::from(*ip).to_canonical(), port))
    })
}

/// A text from a tracker as it may be shown and logged.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_brought_into_bounds() {
        let secs = Duration::from_secs;
        assert_eq!(bounded_intervals(Some(1800), Some(300)), (secs(1800), secs(300)));
        assert_eq!(bounded_intervals(None, None), (DEFAULT_INTERVAL, MIN_REASK));
        assert_eq!(bounded_intervals(Some(0), Some(0)), (MIN_INTERVAL, MIN_REASK));
        assert_eq!(bounded_intervals(Some(-5), Some(-5)), (MIN_INTERVAL, MIN_REASK));
        assert_eq!(bounded_intervals(Some(i64::MAX), Some(i64::MAX)), (MAX_INTERVAL, MAX_INTERVAL));
        assert_eq!(bounded_intervals(Some(600), Some(900)), (secs(600), secs(600)), "a minimum above the interval");
    }

    #[test]
    fn compact_peers_are_read_and_torn_entries_ignored() {
        let v4: Vec<_> = compact_v4(&[10, 0, 0, 1, 0x1A, 0xE1, 10, 0, 0]).collect();
        assert_eq!(v4, ["10.0.0.1:6881".parse().unwrap()]);
        let mut bytes = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets().to_vec();
        bytes.extend([0x1A, 0xE1]);
        bytes.extend("::ffff:10.0.0.2".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend([0, 80, 1, 2, 3]);
        let v6: Vec<_> = compact_v6(&bytes).collect();
        assert_eq!(v6, ["[2001:db8::1]:6881".parse().unwrap(), "10.0.0.2:80".parse().unwrap()]);
    }

    #[test]
    fn impossible_peers_are_recognised() {
        for text in ["1.2.3.4:0", "0.0.0.0:80", "224.0.0.1:80", "255.255.255.255:80", "[::]:80", "[ff02::1]:80"] {
            assert!(!is_possible_peer(&text.parse().unwrap()), "{text}");
        }
        for text in ["1.2.3.4:1", "127.0.0.1:80", "[::1]:80"] {
            assert!(is_possible_peer(&text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn texts_lose_control_characters_and_excess() {
        assert_eq!(readable(b" a\x1b[31m\nb\xff "), "a[31mb\u{fffd}");
        assert_eq!(readable("é".repeat(1000).as_bytes()).chars().count(), MAX_TEXT_CHARS);
    }
}
