//! Announces to a real tracker, opentracker, over HTTP and UDP on the loopback interface.
//!
//! Skipped, with a line that says so, where opentracker is not installed; with `CI=true` that is a failure.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bitween::component::event::{AnnounceError, AnnounceReply, AnnounceRequest};
use bitween::component::tracker::{TrackerOptions, TrackerPool};
use bitween::proto::tracker::{Announce, AnnounceEvent, Announced, NamedBy};
use bitween::types::{InfoHash, PeerId, TorrentKey};
use common::opentracker::Opentracker;

const SOON: Duration = Duration::from_secs(10);

/// A tracker that serves the torrents 1 and 2, and its two URLs.
fn start() -> Option<(Opentracker, [String; 2])> {
    let tracker = Opentracker::start()?;
    tracker.allow(&hash(1).to_string());
    tracker.allow(&hash(2).to_string());
    let urls = [tracker.http(), tracker.udp()];
    Some((tracker, urls))
}

fn hash(number: u8) -> InfoHash {
    InfoHash::new([number; 20])
}

/// Makes announces one after the other.
struct Announcer {
    pool: TrackerPool,
    replies: crossbeam_channel::Receiver<AnnounceReply>,
}

impl Announcer {
    fn new() -> Self {
        let (sender, replies) = crossbeam_channel::unbounded();
        let deliver = Arc::new(move |reply| drop(sender.send(reply)));
        Self { pool: TrackerPool::start(TrackerOptions::default(), deliver).unwrap(), replies }
    }

    /// Announces as the client that listens on `port`.
    fn announce(
        &self,
        url: &str,
        info_hash: InfoHash,
        port: u16,
        left: u64,
        event: Option<AnnounceEvent>,
    ) -> Result<Announced, AnnounceError> {
        let [high, low] = port.to_be_bytes();
        let peer_id = PeerId::ours([high, low, 0, 0xFF, b' ', b'%', b'&', b'+', b'=', b'a', b'~', b'\n']);
        let announce = Announce { event, ..Announce::new(info_hash, peer_id, port, left) };
        let request = AnnounceRequest { torrent: TorrentKey(1), url: url.into(), named_by: NamedBy::User, announce };
        self.pool.submit(request).unwrap();
        self.replies.recv_timeout(SOON).unwrap().result
    }
}

#[test]
fn a_swarm_forms_and_dissolves_over_http_and_udp() {
    use AnnounceEvent::{Completed, Started, Stopped};
    let Some((_tracker, urls)) = start() else { return };
    let client = Announcer::new();
    for (number, url) in (1..).zip(urls) {
        let announce = |port, left, event| client.announce(&url, hash(number), port, left, event).unwrap();
        let others = |reply: &Announced, own: u16| {
            let mut ports: Vec<_> = reply.peers.iter().map(SocketAddr::port).filter(|port| *port != own).collect();
            ports.sort_unstable();
            ports
        };
        let seed = announce(7001, 0, Some(Started));
        assert_eq!((others(&seed, 7001), seed.seeders, seed.leechers), (vec![], Some(1), Some(0)), "{url}");
        assert!(seed.interval >= Duration::from_secs(600), "{url}: {:?}", seed.interval);
        let leecher = announce(7002, 100, Some(Started));
        assert_eq!((others(&leecher, 7002), leecher.seeders, leecher.leechers), (vec![7001], Some(1), Some(1)));
        assert_eq!(leecher.peers.first().map(SocketAddr::ip), Some(Ipv4Addr::LOCALHOST.into()));
        let second = announce(7003, 100, Some(Started));
        assert_eq!(others(&second, 7003), [7001, 7002]);
        let done = announce(7002, 0, Some(Completed));
        assert_eq!((done.seeders, done.leechers), (Some(2), Some(1)));
        announce(7001, 0, Some(Stopped));
        let after = announce(7003, 50, None);
        assert_eq!((others(&after, 7003), after.seeders), (vec![7002], Some(1)), "{url}");
    }
}

#[test]
fn an_unknown_torrent_is_refused_with_the_trackers_words_over_http() {
    let Some((_tracker, [http, _udp])) = start() else { return };
    let error = Announcer::new().announce(&http, hash(9), 7001, 1, None).unwrap_err();
    assert!(error.to_string().starts_with("the tracker refused: "), "{error}");
}

#[test]
fn stopping_the_pool_leaves_no_peer_behind() {
    let Some((_tracker, urls)) = start() else { return };
    for (number, url) in (1..).zip(urls) {
        let leaver = Announcer::new();
        leaver.announce(&url, hash(number), 7001, 1, Some(AnnounceEvent::Started)).unwrap();
        let peer_id = PeerId::ours([0; 12]);
        let bye = Announce { event: Some(AnnounceEvent::Stopped), ..Announce::new(hash(number), peer_id, 7001, 1) };
        leaver
            .pool
            .submit(AnnounceRequest {
                torrent: TorrentKey(1),
                url: url.as_str().into(),
                named_by: NamedBy::User,
                announce: bye,
            })
            .unwrap();
        leaver.pool.stop();
        let after = Announcer::new().announce(&url, hash(number), 7002, 1, None).unwrap();
        assert!(after.peers.iter().all(|peer| peer.port() == 7002), "{url}: {:?}", after.peers);
    }
}
