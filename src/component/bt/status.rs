//! What others may know: the torrents' status as a snapshot, and the list of own shares.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Bt;
use super::actions::ROOM_TIMER;
use super::memory::IDLE_TIMER;
use super::peers::Peer;
use super::torrent::{Closing, Phase, Torrent};
use crate::component::event::Event;
use crate::component::snapshot::{TorrentState, TorrentStatus, Torrents, Traffic};
use crate::reactor::Net;
use crate::types::{Rare, Share, TorrentKey};

/// The snapshot is at most this old while something happens. Nothing is published while nothing does.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);

/// ... and this old at most when a torrent's state or the list of shares has changed.
const STATES_EVERY: Duration = Duration::from_millis(50);

/// Room for so many torrents whose published status is out of date is kept.
const STALE_KEPT: usize = 64;

/// Torrents of one snapshot, if more have changed: there is another one right behind it.
const PUBLISHED_TOGETHER: usize = 64;

/// Number of the snapshot's deadline; torrents' numbers count up from 1.
pub(super) const STATUS_TIMER: u64 = 0;

impl Bt {
    /// This torrent's published status is out of date.
    pub(super) fn mark_stale(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        self.stale.insert(key);
        let now = net.now();
        // Not at once: many changes may come with one turn of the loop, and states change thousands at a time at the start.
        let earliest = self.published_at.map_or(now, |at| now.max(at + STATES_EVERY));
        let due = if std::mem::take(&mut self.state_changed) { earliest } else { now + PUBLISH_EVERY };
        self.publish_by(net, due);
    }

    /// Something was changed that belongs to no torrent.
    pub(super) fn publish_soon(&mut self, net: &mut Net<Peer>) {
        let due = net.now() + PUBLISH_EVERY;
        self.publish_by(net, due);
    }

    fn publish_by(&mut self, net: &mut Net<Peer>, due: Instant) {
        if self.status_due.is_none_or(|known| due < known) {
            self.status_due = Some(due);
            net.arm(STATUS_TIMER, due);
        }
    }

    /// A deadline has come: the snapshot's or a torrent's.
    pub(super) fn deadline(&mut self, net: &mut Net<Peer>, id: u64) {
        let now = net.now();
        if id == STATUS_TIMER {
            if self.status_due.is_some_and(|due| due <= now) {
                self.status_due = None;
                self.publish_status_and_go_on(net);
            }
            return;
        }
        if id == ROOM_TIMER {
            return self.reclaim_room(net);
        }
        if id == IDLE_TIMER {
            return self.free_idle();
        }
        let key = TorrentKey(id);
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        if torrent.active.armed.is_some_and(|at| at <= now) {
            torrent.active.armed = None;
        }
        match &mut torrent.phase {
            Phase::Running(engine) if engine.poll_timeout().is_some_and(|at| at <= now) => engine.handle_timeout(now),
            Phase::Metadata(fetch) if fetch.poll_timeout().is_some_and(|at| at <= now) => fetch.handle_timeout(now),
            _ => {}
        }
        if torrent.active.uncommitted_since.is_some_and(|since| since + super::actions::COMMIT_AFTER <= now) {
            self.commit(key);
        }
        self.drain(net, key);
    }

    fn publish_status_and_go_on(&mut self, net: &mut Net<Peer>) {
        let now = net.now();
        self.publish_status_now(net);
        if self.shares_changed {
            // All of them each time, so not as often as states while thousands of torrents are opened.
            match self.shares_published_at.map(|at| at + PUBLISH_EVERY).filter(|due| now < *due) {
                Some(later) => self.publish_by(net, later),
                None => {
                    self.shares_published_at = Some(now);
                    self.publish_shares();
                }
            }
        }
    }

    /// Publishes the status of the torrents that changed, without waiting for the time to do so.
    pub(super) fn publish_status_now(&mut self, net: &mut Net<Peer>) {
        let now = net.now();
        // Rates fall after the last byte came: go on while something moves. What does not move is not looked at.
        let stale = self.stale.iter().filter_map(|key| self.torrents.get(key));
        let moving: Vec<TorrentKey> = stale.filter(|torrent| torrent.is_moving(now)).map(|t| t.key).collect();
        self.publish_status(now);
        for key in moving {
            self.mark_stale(net, key);
        }
    }

    /// Publishes the status of the torrents that changed. What moves has to be looked at again: that is left to
    /// [`Self::publish_status_now`].
    pub(super) fn publish_status(&mut self, now: Instant) {
        self.published_at = Some(now);
        let stale: Vec<_> = self.stale.drain().collect();
        // Thousands at the start, few ever after.
        self.stale.shrink_to(STALE_KEPT);
        // A part at a time: the memory of what it replaces serves the next one.
        let (first, more) = stale.split_at(stale.len().min(PUBLISHED_TOGETHER));
        self.publish_part(first, now);
        more.chunks(PUBLISHED_TOGETHER).for_each(|part| self.publish_part(part, now));
    }

    fn publish_part(&mut self, stale: &[TorrentKey], now: Instant) {
        let old = self.published.read();
        let torrents = stale.iter().filter_map(|key| self.torrents.get(key)).filter(|torrent| !torrent.hidden);
        let fresh = torrents.map(|torrent| torrent.status(now));
        let mut fresh =
            fresh.filter(|new| !old.list.get(&new.info_hash).is_some_and(|old| old.is_same(new))).peekable();
        let same_attempts = Arc::ptr_eq(&old.attempts, &self.attempts);
        if fresh.peek().is_none() && self.gone.is_empty() && same_attempts {
            return;
        }
        let mut list = old.list.clone();
        self.gone.drain(..).for_each(|info_hash| list.remove(&info_hash));
        fresh.for_each(|status| list.insert(Arc::new(status)));
        let (shares, attempts) = (Arc::clone(&old.shares), Arc::clone(&self.attempts));
        self.published.publish(Arc::new(Torrents { list, port: self.port, shares, attempts }));
    }

    /// Tells who wants to know which torrents of ours contacts may see.
    pub(super) fn publish_shares(&mut self) {
        self.shares_changed = false;
        // In the order of the info hashes, which is the shares' own.
        let mut shares: Vec<Share> = Vec::with_capacity(self.by_hash.len());
        shares.extend(self.by_hash.values().filter_map(|key| self.torrents.get(key)?.share()));
        let shares: Arc<[Share]> = shares.into();
        let old = self.published.read();
        if old.shares == shares {
            return;
        }
        self.published.publish(Arc::new(Torrents { shares: Arc::clone(&shares), ..Torrents::clone(&old) }));
        // Nobody listens in a program without XMPP.
        let _ = self.bus.publish(Event::PublishShares(shares));
    }
}

impl Torrent {
    fn is_moving(&self, now: Instant) -> bool {
        self.engine().is_some_and(|engine| {
            let stats = engine.stats(now);
            stats.download_rate.0 > 0 || stats.upload_rate.0 > 0
        })
    }

    fn share(&self) -> Option<Share> {
        let runs = matches!(self.phase, Phase::Running(_) | Phase::Resting);
        if !self.shared || self.paused || !runs {
            return None;
        }
        let info = &self.metainfo.as_ref()?.info;
        let files = info.files.iter().filter(|file| !file.pad);
        // Nothing to give yet: contacts would connect in vain.
        (info.geometry.piece_count() == 0 || self.bytes_have() > 0).then(|| Share {
            info_hash: self.info_hash,
            name: Arc::clone(&info.name),
            size: files.clone().map(|file| file.len).sum(),
            files: u32::try_from(files.count()).unwrap_or(u32::MAX),
            complete: self.is_complete(),
        })
    }

    pub(super) fn status(&self, now: Instant) -> TorrentStatus {
        TorrentStatus {
            info_hash: self.info_hash,
            name: Arc::clone(&self.name),
            name_key: self.name_key,
            total_size: self.metainfo.as_ref().map_or(0, |metainfo| metainfo.info.geometry.total()),
            done: self.bytes_have(),
            state: self.state(),
            traffic: self.traffic(now),
            dir: Arc::clone(&self.dir),
            shared: self.shared,
            metainfo: self.metainfo.clone(),
            warning: self.warning.clone().or_else(|| self.announcer.warning()),
        }
    }

    fn traffic(&self, now: Instant) -> Rare<Traffic> {
        let stats = self.engine().map(|engine| engine.stats(now)).unwrap_or_default();
        let transferred = self.transferred(now);
        Rare::new(Traffic {
            downloaded: transferred.downloaded,
            uploaded: transferred.uploaded,
            wasted: transferred.wasted,
            download_rate: stats.download_rate,
            upload_rate: stats.upload_rate,
            peers: if self.engine().is_some() { stats.peers } else { self.active.peers.len() },
            seeds: stats.seeds,
            candidates: stats.candidates + self.active.dialing.len(),
        })
    }

    fn state(&self) -> TorrentState {
        match &self.phase {
            Phase::Failed(reason) => TorrentState::Error(reason.clone()),
            Phase::Closing if matches!(self.closing.as_deref(), Some(Closing::Reopen(..))) => {
                TorrentState::Checking { checked: 0, total: 0 }
            }
            Phase::Opening { checked, total } => TorrentState::Checking { checked: *checked, total: *total },
            Phase::Closing => TorrentState::Paused,
            _ if self.paused => TorrentState::Paused,
            Phase::Metadata(_) => TorrentState::Metadata,
            Phase::Resting => TorrentState::Seeding,
            Phase::Running(engine) if engine.is_complete() || self.seed => TorrentState::Seeding,
            Phase::Running(_) => TorrentState::Downloading,
        }
    }
}
