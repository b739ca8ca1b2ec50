//! What other threads want: torrents added, removed, paused; peers; answers from trackers.

use std::sync::Arc;

use super::Bt;
use super::peers::Peer;
use super::torrent::{Closing, Phase, Torrent};
use crate::bus::Reply;
use crate::component::event::{ControlError, Event, Lifecycle, NewTorrent, Part, TorrentControl, TorrentSource};
use crate::engine::{MetadataFetch, Source};
use crate::reactor::Net;
use crate::share::{AddressFilter, Sources};
use crate::storage::{CheckMode, Ending, Writing};
use crate::types::{InfoHash, TorrentKey};

impl Bt {
    pub(super) fn command(&mut self, net: &mut Net<Peer>, event: Event) {
        match event {
            Event::AddTorrent { torrent, reply } => {
                let answer = self.add_torrent(net, torrent);
                reply.send(answer);
            }
            Event::DelTorrent { info_hash, with_data, reply } => self.remove_torrent(net, info_hash, with_data, reply),
            Event::ControlTorrent { info_hash, what, reply } => self.control(net, info_hash, what, reply),
            Event::AddPeers { info_hash, addrs, source } => {
                let now = net.now();
                if let Some(torrent) = self.torrent_of(info_hash) {
                    let key = torrent.key;
                    torrent.add_candidates(now, &addrs, source);
                    self.drain(net, key);
                }
            }
            Event::QueryPeers { info_hash, reply } => {
                let now = net.now();
                let peers = self.torrent_of(info_hash).map(|t| t.engine().map(|e| e.peers(now)).unwrap_or_default());
                reply.send(peers.ok_or(ControlError::UnknownTorrent(info_hash)));
            }
            Event::QueryPieces { info_hash, reply } => {
                let have = self.torrent_of(info_hash).and_then(|torrent| torrent.have());
                reply.send(have.ok_or(ControlError::UnknownTorrent(info_hash)));
            }
            Event::QueryMemory { reply } => {
                let usage = self.memory_usage(net);
                reply.send(Ok(usage));
            }
            Event::Announced(answer) => self.announced(net, &answer),
            Event::RecheckHandles => self.recheck_handles(net),
            Event::Stop(Part::Bt) => self.begin_stop(net),
            _ => {}
        }
    }

    fn add_torrent(&mut self, net: &mut Net<Peer>, new: Arc<NewTorrent>) -> Result<InfoHash, ControlError> {
        let info_hash = new.source.info_hash();
        if self.stopping.is_some() {
            return Err(stopping());
        }
        if self.by_hash.contains_key(&info_hash) {
            return Err(ControlError::AlreadyHere(info_hash));
        }
        let now = net.now();
        let key = TorrentKey(self.next_key);
        self.next_key += 1;
        let limits = (self.options.families, Arc::clone(&self.limits));
        let mut torrent = Box::new(Torrent::new(key, Arc::clone(&new), limits, now));
        torrent.add_candidates(now, &new.peers, Source::Manual);
        if let TorrentSource::Magnet(magnet) = &new.source {
            torrent.add_candidates(now, &magnet.peers, Source::Manual);
            torrent.announcer.start(now, false);
        }
        let is_known = torrent.metainfo.is_some();
        self.torrents.insert(key, torrent);
        self.by_hash.insert(info_hash, key);
        if is_known {
            self.open(net, key, new.check);
        } else {
            self.add_contact_sources(net, key);
        }
        self.announce_change(info_hash, Lifecycle::Added(new));
        self.drain(net, key);
        self.publish_status(now);
        Ok(info_hash)
    }

    fn remove_torrent(
        &mut self,
        net: &mut Net<Peer>,
        info_hash: InfoHash,
        with_data: bool,
        reply: Reply<Result<(), ControlError>>,
    ) {
        let Some(torrent) = self.torrent_of(info_hash) else {
            reply.send(Err(ControlError::UnknownTorrent(info_hash)));
            return;
        };
        if torrent.closing.is_some() {
            reply.send(Err(busy()));
            return;
        }
        let key = torrent.key;
        let ending = if with_data { Ending::Delete } else { Ending::Clean };
        self.close_torrent(net, key, Closing::Remove(reply), ending);
    }

    fn control(
        &mut self,
        net: &mut Net<Peer>,
        info_hash: InfoHash,
        what: TorrentControl,
        reply: Reply<Result<(), ControlError>>,
    ) {
        let Some(torrent) = self.torrent_of(info_hash) else {
            reply.send(Err(ControlError::UnknownTorrent(info_hash)));
            return;
        };
        let key = torrent.key;
        if torrent.closing.is_some() {
            reply.send(Err(busy()));
            return;
        }
        match what {
            TorrentControl::Pause => self.pause(net, key),
            TorrentControl::Recheck if torrent.metainfo.is_some() => {
                torrent.writing = Writing::Repair;
                return self.close_torrent(net, key, Closing::Reopen(CheckMode::Full, reply), Ending::Clean);
            }
            TorrentControl::Recheck => {
                reply.send(Err(ControlError::Refused("its description is not known yet".to_owned())));
                return;
            }
            TorrentControl::Resume => {
                self.announce_change(info_hash, Lifecycle::Paused(false));
                if let Some((check, ending)) = self.resume(net, key) {
                    return self.close_torrent(net, key, Closing::Reopen(check, reply), ending);
                }
            }
        }
        if what == TorrentControl::Resume {
            self.add_contact_sources(net, key);
        }
        self.publish_shares();
        self.drain(net, key);
        self.publish_status_now(net);
        reply.send(Ok(()));
    }

    /// Lets a torrent go on. `Some` if it has to be opened anew for that: because it had failed, and the machine's fault
    /// may be mended; or because its files are not ours alone.
    fn resume(&mut self, net: &mut Net<Peer>, key: TorrentKey) -> Option<(CheckMode, Ending)> {
        let now = net.now();
        let torrent = self.torrents.get_mut(&key)?;
        let was_paused = std::mem::take(&mut torrent.paused);
        match &mut torrent.phase {
            // Somebody may have changed the files meanwhile; if not, it takes no time.
            Phase::Running(_) | Phase::Resting if was_paused && torrent.seed => {
                return Some((CheckMode::TrustResume, Ending::Clean));
            }
            Phase::Running(engine) => {
                engine.resume(now);
                let complete = engine.is_complete();
                torrent.announcer.start(now, complete);
            }
            Phase::Resting => torrent.announcer.start(now, true),
            Phase::Metadata(_) => torrent.announcer.start(now, false),
            Phase::Failed(_) if torrent.metainfo.is_none() => {
                torrent.phase = Phase::Metadata(Box::new(MetadataFetch::new(torrent.info_hash)));
                torrent.announcer.start(now, false);
            }
            Phase::Failed(_) if torrent.suspect => return Some((CheckMode::Full, Ending::Broken)),
            Phase::Failed(_) => return Some((CheckMode::TrustResume, Ending::Broken)),
            Phase::Opening { .. } | Phase::Closing => {}
        }
        None
    }

    fn pause(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        let now = net.now();
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        torrent.paused = true;
        torrent.announcer.stop();
        let info_hash = torrent.info_hash;
        if let Phase::Running(engine) = &mut torrent.phase {
            engine.pause(now);
        }
        self.drain(net, key);
        self.drop_connections(net, key);
        self.announce_change(info_hash, Lifecycle::Paused(true));
    }

    /// Connects to contacts that share what this torrent lacks, or lack what it has.
    pub(super) fn add_contact_sources(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        let contacts = self.contacts.read();
        let sources = contacts.shares.all_sources(None);
        self.add_sources(net, key, &sources, &contacts.filter);
    }

    /// Something may be had that could not be had before: the original's `recheck_handles`. Contacts may cause this many
    /// times a second, so only what is new is looked at, and only for torrents that have a use for it.
    fn recheck_handles(&mut self, net: &mut Net<Peer>) {
        let contacts = self.contacts.read();
        if !Arc::ptr_eq(&self.refused, &contacts.refused) {
            self.refuse(net, Arc::clone(&contacts.refused));
        }
        let before = self.rechecked.replace(Arc::clone(&contacts));
        self.review_attempts(net, before.as_deref(), &contacts);
        // In another network other addresses can be used.
        let known = before.filter(|before| before.filter == contacts.filter);
        let sources = contacts.shares.all_sources(known.as_ref().map(|known| &known.shares));
        if sources.is_empty() {
            return;
        }
        let waiting = self.torrents.values().filter(|torrent| torrent.takes_peers());
        for key in waiting.map(|torrent| torrent.key).collect::<Vec<_>>() {
            if self.add_sources(net, key, &sources, &contacts.filter) {
                self.drain(net, key);
            }
        }
    }

    /// True if there were any. A torrent that is complete is of use to those who lack something of it, and may be the only
    /// one of the two that can call.
    fn add_sources(
        &mut self,
        net: &mut Net<Peer>,
        key: TorrentKey,
        sources: &Sources<'_>,
        filter: &AddressFilter,
    ) -> bool {
        let Some(torrent) = self.torrents.get_mut(&key) else { return false };
        let addrs = sources.of(&torrent.info_hash, torrent.is_complete(), filter);
        if !addrs.is_empty() {
            torrent.add_candidates(net.now(), &addrs, Source::Contact);
        }
        !addrs.is_empty()
    }

    fn begin_stop(&mut self, net: &mut Net<Peer>) {
        if self.stopping.is_some() {
            return;
        }
        let deadline = net.now() + super::STOP_DEADLINE;
        self.stopping = Some(deadline);
        net.arm(super::status::STATUS_TIMER, deadline);
        // What can be read after the end is how it ended.
        self.stale.extend(self.torrents.keys());
        self.publish_status_now(net);
        for key in self.torrents.keys().copied().collect::<Vec<_>>() {
            let Some(torrent) = self.torrents.get_mut(&key) else { continue };
            match torrent.closing.take().map(|closing| *closing) {
                None => self.close_torrent(net, key, Closing::Stop, Ending::Clean),
                // Being closed already: nothing is opened again, but a removal is carried through.
                Some(Closing::Reopen(_, reply)) => {
                    torrent.closing = Some(Box::new(Closing::Stop));
                    reply.send(Err(stopping()));
                }
                closing => torrent.closing = closing.map(Box::new),
            }
        }
    }
}

fn stopping() -> ControlError {
    ControlError::Refused("bitween is stopping".to_owned())
}

fn busy() -> ControlError {
    ControlError::Refused("its files are being closed or checked; try again in a moment".to_owned())
}
