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

pub(super) struct Announcer {
    tiers: Tiers,
    /// The torrent runs: before, trackers would send peers that we cannot serve.
    started: bool,
    /// It was incomplete when it started, so `completed` will be news.
    was_incomplete: bool,
    /// Farewells, to be sent although the torrent runs no more.
    farewells: Vec<Order>,
    trouble: Option<String>,
}

impl Announcer {
    pub(super) fn new(new: &NewTorrent, now: Instant) -> Self {
        let mut tiers = match &new.source {
            TorrentSource::Metainfo(metainfo) => metainfo.trackers.clone(),
            TorrentSource::Magnet(magnet) => magnet.trackers.iter().map(|tracker| vec![tracker.clone()]).collect(),
        };
        tiers.extend(new.trackers.iter().map(|tracker| vec![tracker.clone()]));
        Self {
            tiers: Tiers::new(now, &tiers, fastrand::u64(..)),
            started: false,
            was_incomplete: false,
            farewells: Vec::new(),
            trouble: None,
        }
    }

    pub(super) fn start(&mut self, now: Instant, complete: bool) {
        if !self.started {
            self.started = true;
            self.tiers.start(now);
        }
        self.was_incomplete |= !complete;
    }

    pub(super) fn stop(&mut self) {
        if self.started {
            self.started = false;
            self.farewells.extend(self.tiers.stop());
        }
    }

    pub(super) fn completed(&mut self, now: Instant) {
        if self.was_incomplete {
            self.tiers.complete(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.tiers.next_due().filter(|_| self.started)
    }

    pub(super) fn warning(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn poll(&mut self, now: Instant) -> Option<Order> {
        self.farewells.pop().or_else(|| if self.started { self.tiers.poll(now) } else { None })
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
            let by_hand = torrent.new.trackers.iter().any(|url| **url == *order.url);
            let named_by = if by_hand { NamedBy::User } else { NamedBy::Torrent };
            let request = AnnounceRequest { torrent: key, url: Arc::clone(&order.url), named_by, announce };
            if self.bus.publish(Event::Announce(Arc::new(request))).is_err() {
                torrent.announcer.tiers.failed(now, &order.url, "no tracker thread takes it", None);
            }
        }
    }

    pub(super) fn need_peers(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        if let Some(torrent) = self.torrents.get_mut(&key) {
            torrent.announcer.tiers.need_peers(net.now());
        }
        self.add_contact_sources(net, key);
    }

    pub(super) fn announced(&mut self, net: &mut Net<Peer>, reply: &AnnounceReply) {
        let now = net.now();
        let Some(torrent) = self.torrents.get_mut(&reply.torrent) else { return };
        match &reply.result {
            Ok(announced) => {
                log::debug!("{}: a tracker knows {} peers", torrent.name, announced.peers.len());
                torrent.announcer.tiers.succeeded(now, &reply.url, announced);
                torrent.announcer.trouble.clone_from(&announced.warning);
                if torrent.takes_peers() {
                    torrent.add_candidates(now, &announced.peers, Source::Tracker);
                }
            }
            Err(error) => {
                log::info!("{}: announce failed: {error}", torrent.name);
                torrent.announcer.tiers.failed(now, &reply.url, &error.to_string(), error.retry_in());
                torrent.announcer.trouble = Some(error.to_string());
            }
        }
        self.drain(net, reply.torrent);
    }
}
