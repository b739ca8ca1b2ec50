//! A torrent's trackers: when one is asked, what it is told, and what its answer leads to. The asking itself happens on
//! the tracker threads.

use std::sync::Arc;
use std::time::Instant;

use super::Bt;
use super::peers::Peer;
use crate::component::event::{AnnounceReply, AnnounceRequest, Event, NewTorrent, TorrentSource};
use crate::engine::Source;
use crate::proto::tracker::{Announce, NamedBy, Order, Tiers};
use crate::reactor::Net;
use crate::types::TorrentKey;

/// Nothing at all for a torrent without trackers.
pub(super) struct Announcer(Option<Box<Asking>>);

struct Asking {
    tiers: Tiers,
    /// The torrent runs: before, trackers would send peers that we cannot serve.
    started: bool,
    /// It was incomplete when it started, so `completed` will be news.
    was_incomplete: bool,
    /// Farewells, to be sent although the torrent runs no more.
    farewells: Vec<Order>,
    trouble: Option<Arc<str>>,
}

impl Announcer {
    pub(super) fn new(new: &NewTorrent, now: Instant) -> Self {
        let mut tiers = match &new.source {
            TorrentSource::Metainfo(metainfo) => metainfo.about.trackers.clone(),
            TorrentSource::Magnet(magnet) => magnet.trackers.iter().map(|tracker| vec![tracker.clone()]).collect(),
        };
        tiers.extend(new.trackers.iter().map(|tracker| vec![tracker.clone()]));
        let tiers = Tiers::new(now, &tiers, fastrand::u64(..));
        let (farewells, trouble) = (Vec::new(), None);
        let asking = Asking { tiers, started: false, was_incomplete: false, farewells, trouble };
        Self((!asking.tiers.is_empty()).then(|| Box::new(asking)))
    }

    pub(super) fn start(&mut self, now: Instant, complete: bool) {
        let Some(asking) = &mut self.0 else { return };
        if !asking.started {
            asking.started = true;
            asking.tiers.start(now);
        }
        asking.was_incomplete |= !complete;
    }

    pub(super) fn stop(&mut self) {
        if let Some(asking) = self.0.as_mut().filter(|asking| asking.started) {
            asking.started = false;
            asking.farewells.extend(asking.tiers.stop());
        }
    }

    pub(super) fn completed(&mut self, now: Instant) {
        if let Some(asking) = self.0.as_mut().filter(|asking| asking.was_incomplete) {
            asking.tiers.complete(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.as_ref().filter(|asking| asking.started)?.tiers.next_due()
    }

    pub(super) fn warning(&self) -> Option<Arc<str>> {
        self.0.as_ref()?.trouble.clone()
    }

    fn poll(&mut self, now: Instant) -> Option<Order> {
        let asking = self.0.as_mut()?;
        asking.farewells.pop().or_else(|| if asking.started { asking.tiers.poll(now) } else { None })
    }
}

impl Bt {
    pub(super) fn drain_announces(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        let now = net.now();
        while let Some(torrent) = self.torrents.get_mut(&key) {
            let Some(order) = torrent.announcer.poll(now) else { return };
            let counted = torrent.counted(now);
            // Unknown as long as the description is: anything but 0, which would mean a seed.
            let left = torrent
                .have()
                .and(torrent.metainfo.as_ref())
                .map_or(1, |metainfo| metainfo.info.geometry.total().saturating_sub(torrent.bytes_have()));
            let announce = Announce {
                event: order.event,
                tracker_id: order.tracker_id,
                key: self.tracker_key,
                uploaded: counted.uploaded,
                downloaded: counted.downloaded,
                ..Announce::new(torrent.info_hash, self.peer_id, self.port, left)
            };
            let by_hand = torrent.given_trackers().iter().any(|url| **url == *order.url);
            let named_by = if by_hand { NamedBy::User } else { NamedBy::Torrent };
            let request = AnnounceRequest { torrent: key, url: Arc::clone(&order.url), named_by, announce };
            if self.bus.publish(Event::Announce(Arc::new(request))).is_err()
                && let Some(asking) = &mut torrent.announcer.0
            {
                asking.tiers.failed(now, &order.url, "no tracker thread takes it", None);
            }
        }
    }

    pub(super) fn need_peers(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        if let Some(asking) = self.torrents.get_mut(&key).and_then(|torrent| torrent.announcer.0.as_mut()) {
            asking.tiers.need_peers(net.now());
        }
        self.add_contact_sources(net, key);
    }

    pub(super) fn announced(&mut self, net: &mut Net<Peer>, reply: &AnnounceReply) {
        let now = net.now();
        let Some(torrent) = self.torrents.get_mut(&reply.torrent) else { return };
        let Some(asking) = &mut torrent.announcer.0 else { return };
        match &reply.result {
            Ok(announced) => {
                debug!("{}: a tracker knows {} peers", torrent.name, announced.peers.len());
                asking.tiers.succeeded(now, &reply.url, announced);
                asking.trouble = announced.warning.as_deref().map(Arc::from);
                if torrent.takes_peers() {
                    torrent.add_candidates(now, &announced.peers, Source::Tracker);
                }
            }
            Err(error) => {
                log::info!("{}: announce failed: {error}", torrent.name);
                asking.tiers.failed(now, &reply.url, &error.to_string(), error.retry_in());
                asking.trouble = Some(error.to_string().into());
            }
        }
        self.drain(net, reply.torrent);
    }
}
