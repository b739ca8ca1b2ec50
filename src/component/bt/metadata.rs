//! Before a magnet link's description is there: whom to connect to, and what happens when it has come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Bt;
use super::peers::Peer;
use super::torrent::Phase;
use crate::component::event::{Event, Lifecycle};
use crate::engine::{MetadataAction, Source};
use crate::proto::metainfo::Metainfo;
use crate::reactor::Net;
use crate::storage::CheckMode;
use crate::types::{SortedMap, TorrentKey};

/// Connections being made at the same time: one good peer is enough.
const MAX_DIALING: usize = 10;
/// Addresses kept; trackers answer with 50 to 200.
const MAX_KNOWN: usize = 1000;
/// Time until an address is tried again. Short: people wait for the description.
const RETRY: Duration = Duration::from_secs(15);

/// Addresses known before there is an engine that manages them.
#[derive(Default)]
pub(super) struct Dialing {
    known: SortedMap<SocketAddr, Known>,
    /// Connections being made or made.
    active: usize,
}

struct Known {
    source: Source,
    next: Instant,
    active: bool,
}

impl Dialing {
    /// No address.
    pub(super) const NONE: Self = Self { known: SortedMap::new(), active: 0 };

    pub(super) fn add(&mut self, now: Instant, addrs: &[SocketAddr], source: Source) {
        for addr in addrs {
            if self.known.len() < MAX_KNOWN {
                self.known.entry(*addr).or_insert(Known { source, next: now, active: false });
            }
        }
    }

    /// An address to connect to now: the best source's, IPv6 first.
    pub(super) fn next(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.active >= MAX_DIALING {
            return None;
        }
        let ready = self.known.iter_mut().filter(|(_, known)| !known.active && known.next <= now);
        let (addr, known) = ready.min_by_key(|(addr, known)| (known.source, is_ipv4(**addr)))?;
        known.active = true;
        self.active += 1;
        Some(*addr)
    }

    pub(super) fn failed(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(known) = self.known.get_mut(&addr)
            && known.active
        {
            known.active = false;
            known.next = now + RETRY;
            self.active = self.active.saturating_sub(1);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.active >= MAX_DIALING {
            return None;
        }
        self.known.values().filter(|known| !known.active).map(|known| known.next).min()
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Everything known, by source, for the engine that takes over.
    pub(super) fn take(&mut self) -> Vec<(SocketAddr, Source)> {
        self.active = 0;
        std::mem::take(&mut self.known).into_iter().map(|(addr, known)| (addr, known.source)).collect()
    }
}

/// Also in IPv6 clothes.
fn is_ipv4(addr: SocketAddr) -> bool {
    addr.ip().to_canonical().is_ipv4()
}

impl Bt {
    /// Carries out what the description's fetch wants.
    pub(super) fn drain_metadata(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        let now = net.now();
        loop {
            let Some(torrent) = self.torrents.get_mut(&key) else { return };
            let Phase::Metadata(fetch) = &mut torrent.phase else { return };
            match fetch.poll_action() {
                Some(MetadataAction::Send { peer, command }) => net.send(peer, &command),
                Some(MetadataAction::Close { peer, reason }) => {
                    self.drop_peer(net, peer, &format_args!("{reason:?}"));
                }
                Some(MetadataAction::Done(raw)) => return self.metadata_known(net, key, raw),
                None if self.settle_metadata(net, key) => {}
                None => break,
            }
        }
        while let Some(addr) =
            self.torrents.get_mut(&key).filter(|t| t.takes_peers()).and_then(|t| t.active.get_mut()?.dialing.next(now))
        {
            if self.dial(net, key, addr).is_none()
                && let Some(torrent) = self.torrents.get_mut(&key)
            {
                torrent.active.dialing.failed(now, addr);
            }
        }
    }

    fn metadata_known(&mut self, net: &mut Net<Peer>, key: TorrentKey, raw: Vec<u8>) {
        self.release_metadata(net, key);
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        let Some(magnet) = torrent.magnet() else { return };
        let mut trackers: Vec<Vec<String>> = magnet.trackers.iter().map(|tracker| vec![tracker.clone()]).collect();
        trackers.extend(torrent.given_trackers().iter().map(|tracker| vec![tracker.clone()]));
        match Metainfo::from_info(raw.into(), torrent.info_hash, trackers) {
            Ok(metainfo) => {
                if let Some(reason) = torrent.is_unwelcome(&metainfo) {
                    return self.fail(net, key, reason);
                }
                let metainfo = Arc::new(metainfo);
                record!(torrent.log_level(log::Level::Info), "{}: description received", metainfo.info.name);
                torrent.describe(&metainfo);
                let info_hash = torrent.info_hash;
                self.announce_change(info_hash, Lifecycle::MetadataKnown(metainfo));
                self.open(net, key, CheckMode::TrustResume);
            }
            // The hash was right, so whoever made the torrent made it so.
            Err(error) => self.fail(net, key, format!("the description of this torrent cannot be used: {error}")),
        }
    }

    pub(super) fn announce_change(&mut self, info_hash: crate::types::InfoHash, change: Lifecycle) {
        let mut hidden = false;
        if let Some(key) = self.by_hash.get(&info_hash) {
            self.stale.insert(*key);
            self.state_changed = true;
            hidden = self.torrents.get(key).is_some_and(|torrent| torrent.hidden);
        }
        self.tell_change(info_hash, hidden, change);
    }

    pub(super) fn tell_change(&self, info_hash: crate::types::InfoHash, hidden: bool, change: Lifecycle) {
        let event = match hidden {
            true => Event::HiddenLifecycle { info_hash, change },
            false => Event::Lifecycle { info_hash, change },
        };
        // Nobody listens in a program without daemon.
        let _ = self.bus.publish(event);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn the_best_source_is_tried_first_and_ipv6_before_ipv4() {
        let now = Instant::now();
        let mut dialing = Dialing::default();
        let addrs = |texts: [&str; 2]| texts.map(|text| text.parse().unwrap());
        dialing.add(now, &addrs(["203.0.113.9:1", "[2001:db8::9]:1"]), Source::Tracker);
        dialing.add(now, &addrs(["203.0.113.1:1", "[2001:db8::1]:1"]), Source::Contact);
        let order: Vec<String> = std::iter::from_fn(|| dialing.next(now)).map(|addr| addr.to_string()).collect();
        assert_eq!(order, ["[2001:db8::1]:1", "203.0.113.1:1", "[2001:db8::9]:1", "203.0.113.9:1"]);
    }
}
