//! Carries out what a torrent's engine wants: connections, messages, windows, verification.

use std::net::SocketAddr;
use std::time::Duration;

use super::Bt;
use super::peers::Peer;
use super::torrent::Phase;
use crate::component::event::Lifecycle;
use crate::engine::Action;
use crate::reactor::Net;
use crate::storage::{Job, StorageError};
use crate::types::{Block, PeerKey, PieceIndex, TorrentKey};

/// Verified pieces are committed this long after the first of them: what is lost at `kill -9` is bounded by it, and a
/// disk is not made to sync for every piece.
pub(super) const COMMIT_AFTER: Duration = Duration::from_secs(5);

/// Time between two looks at who holds room in the piece buffer while others wait for it.
const ROOM_EVERY: Duration = Duration::from_secs(3);

/// Number of that look's deadline.
pub(super) const ROOM_TIMER: u64 = u64::MAX;

impl Bt {
    /// Does all that the torrent wants done now, and sees to it that it is woken in time for the next.
    pub(super) fn drain(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        self.drain_metadata(net, key);
        while let Some(action) = self.torrents.get_mut(&key).and_then(|t| t.engine_mut()).and_then(|e| e.poll_action())
        {
            self.act(net, key, action);
        }
        self.pump_asking(net);
        self.drain_announces(net, key);
        if let Some(torrent) = self.torrents.get_mut(&key) {
            torrent.rest(net.now());
        }
        self.arm(net, key);
        self.mark_stale(net, key);
    }

    fn act(&mut self, net: &mut Net<Peer>, key: TorrentKey, action: Action) {
        match action {
            Action::Send { peer, command } => net.send(peer, &command),
            Action::Upload { peer, block } => self.upload(net, peer, block),
            Action::OpenWindow(piece) => {
                self.open_window(net, key, piece);
            }
            Action::Verify { piece, digests } => self.verify(key, piece, digests),
            Action::CloseWindow(piece) => self.close_window(net, key, piece),
            Action::Connect(addr) => {
                if self.dial(net, key, addr).is_none()
                    && let Some(engine) = self.torrents.get_mut(&key).and_then(|torrent| torrent.engine_mut())
                {
                    engine.connect_failed(net.now(), addr);
                }
            }
            Action::Close { peer, reason } => self.close_peer(net, peer, reason),
            Action::CancelUpload { peer, block } => self.cancel_upload(net, peer, block),
            Action::DropUploads { peer } => self.drop_uploads(net, peer),
            Action::NeedPeers => self.need_peers(net, key),
            Action::Completed => self.completed(net, key),
        }
    }

    /// Begins to connect. `None` if that is impossible.
    pub(super) fn dial(&mut self, net: &mut Net<Peer>, key: TorrentKey, addr: SocketAddr) -> Option<PeerKey> {
        let contact = self.is_contact(addr);
        let refused = self.refused.has(addr, None) || !self.options.families.reach(addr);
        if refused || self.stopping.is_some() || !self.make_room(net, contact) {
            return None;
        }
        let torrent = self.torrents.get(&key)?;
        let options = self.session_options(torrent, addr);
        match net.connect(addr, torrent.info_hash, options, Peer::dialed(key)) {
            Ok(peer) => Some(peer),
            Err(error) => {
                debug!("{}: cannot connect to {addr}: {error}", torrent.name);
                self.not_begun(net, key, addr, &error);
                None
            }
        }
    }

    /// Opens the window of a piece, now or when there is room. True if that is done already, and the torrent has to be
    /// drained.
    pub(super) fn open_window(&mut self, net: &mut Net<Peer>, key: TorrentKey, piece: PieceIndex) -> bool {
        let Some((len, device)) = self.piece_of((key, piece)) else { return false };
        let opened = if self.room.passes(device, len) { self.open_if_room(net, key, piece) } else { None };
        match opened {
            Some(opened) => opened,
            None => {
                self.room.wait(device, (key, piece), len);
                self.arm_room(net);
                false
            }
        }
    }

    /// `None` if there is no room for the piece; otherwise as [`Self::open_window`].
    fn open_if_room(&mut self, net: &mut Net<Peer>, key: TorrentKey, piece: PieceIndex) -> Option<bool> {
        self.count_windows(net);
        let Some(torrent) = self.torrents.get_mut(&key) else { return Some(false) };
        let Some(metainfo) = &torrent.metainfo else { return Some(false) };
        let (len, device) = (metainfo.info.geometry.piece_len(piece), torrent.device);
        if !(self.room.grants(device, len, self.buffer.write_budget()) && self.buffer.reserve_write(len)) {
            return None;
        }
        self.room.take(device, len);
        torrent.active.reserved.insert(piece, len);
        let ready = self.disk.ready_window(key, piece);
        let opened = match (&mut torrent.phase, ready) {
            (Phase::Running(engine), Some(window)) => {
                torrent.active.windows.insert(piece, window);
                engine.window_opened(net.now(), piece);
                true
            }
            _ => {
                self.disk.submit(Job::OpenWindow { torrent: key, piece });
                false
            }
        };
        self.window_made();
        self.count_windows(net);
        let evicted = self.buffer.make_room();
        self.release(evicted);
        Some(opened)
    }

    /// Room in the piece buffer became free: open what waited for it.
    pub(super) fn open_waiting_windows(&mut self, net: &mut Net<Peer>) {
        // A window that is opened may make its torrent close another one, and that makes room again: after this one, not
        // inside it, or the stack would be as deep as pieces wait.
        self.room_freed = true;
        if std::mem::replace(&mut self.opening, true) {
            return;
        }
        while std::mem::take(&mut self.room_freed) {
            self.open_as_room_allows(net);
        }
        self.opening = false;
    }

    fn open_as_room_allows(&mut self, net: &mut Net<Peer>) {
        for device in self.room.wanted() {
            // Where there is no room for a piece there is none for others that are as large.
            let mut below = u32::MAX;
            while let Some(((key, piece), len)) = self.room.next(device, below) {
                let Some(opened) = self.open_if_room(net, key, piece) else {
                    below = len;
                    continue;
                };
                self.room.drop_waiting(device, (key, piece));
                if opened {
                    self.drain(net, key);
                }
            }
        }
    }

    /// Sees to it that somebody looks whether those who have room in the piece buffer make use of it.
    pub(super) fn arm_room(&mut self, net: &mut Net<Peer>) {
        if !self.room_armed {
            self.room_armed = true;
            net.arm(ROOM_TIMER, net.now() + ROOM_EVERY);
        }
    }

    /// Pieces wait for room: each torrent gives up one that nobody sends any more. Otherwise a torrent whose peers are
    /// all gone could hold the whole buffer for ever.
    pub(super) fn reclaim_room(&mut self, net: &mut Net<Peer>) {
        self.room_armed = false;
        self.room.look();
        if self.room.is_enough() {
            if !self.room.wanted_reads().is_empty() {
                self.arm_room(net);
            }
            return;
        }
        let now = net.now();
        for key in self.torrents.keys().copied().collect::<Vec<_>>() {
            if let Some(engine) = self.torrents.get_mut(&key).and_then(|torrent| torrent.engine_mut()) {
                engine.yield_piece(now);
                self.drain(net, key);
            }
        }
        // The room may have become larger by what connections gave back.
        self.open_waiting_windows(net);
        self.arm_room(net);
    }

    pub(super) fn release_reservation(&mut self, key: TorrentKey, piece: PieceIndex) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        let device = torrent.device;
        if let Some(len) = torrent.active.get_mut().and_then(|active| active.reserved.remove(&piece)) {
            self.buffer.release_write(len);
            self.room.give_back(device, len);
        }
    }

    pub(super) fn store_block(&mut self, net: &mut Net<Peer>, key: TorrentKey, block: Block, data: &[u8]) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        let Some(window) = torrent.active.windows.get_mut(&block.piece()) else {
            log::error!("{}: {block} has no window", torrent.name);
            return;
        };
        if let Err(error) = window.write_at(block.begin(), data) {
            self.storage_failed(net, key, &error);
        }
    }

    fn verify(&mut self, key: TorrentKey, piece: PieceIndex, digests: bool) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        if let Some(window) = torrent.active.windows.remove(&piece) {
            self.verifying += 1;
            self.receiving = Some(key);
            self.disk.submit(Job::Verify { torrent: key, piece, window, digests });
        }
    }

    fn close_window(&mut self, net: &mut Net<Peer>, key: TorrentKey, piece: PieceIndex) {
        self.room.retain(|waiting| *waiting != (key, piece));
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        if let Some(window) = torrent.active.windows.remove(&piece) {
            self.disk.submit(Job::ReleaseWrite(window));
            self.release_reservation(key, piece);
            self.open_waiting_windows(net);
        }
    }

    fn completed(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        record!(torrent.log_level(log::Level::Info), "{}: complete", torrent.name);
        let info_hash = torrent.info_hash;
        torrent.announcer.completed(net.now());
        self.commit(key);
        // Before it is told: whoever waits for the news looks at the status next.
        self.stale.insert(key);
        self.publish_status_now(net);
        self.announce_change(info_hash, Lifecycle::Completed);
        self.publish_shares();
    }

    /// Writes down which pieces are good. Nothing is written that was not synced first.
    pub(super) fn commit(&mut self, key: TorrentKey) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        torrent.committed();
        self.disk.submit(Job::Commit { torrent: key });
    }

    /// The disk threads could not do what was asked of them.
    pub(super) fn storage_failed(&mut self, net: &mut Net<Peer>, key: TorrentKey, error: &StorageError) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        if matches!(error, StorageError::NotOpen) {
            // An answer to a job from before the torrent was closed.
            return;
        }
        torrent.suspect |= error.is_loss();
        let mut reason = error.to_string();
        if let StorageError::InUse { path, by } = error
            && let Some(other) = self.torrent_of(*by)
        {
            let (path, name) = (path.display(), &other.name);
            reason = format!("{path} belongs to {name} ({by}); choose another folder, or remove that one first");
        }
        self.fail(net, key, reason);
    }

    /// A machine's fault: this torrent stops with a reason that people can read, everything else goes on.
    pub(super) fn fail(&mut self, net: &mut Net<Peer>, key: TorrentKey, reason: String) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        if matches!(torrent.phase, Phase::Failed(_) | Phase::Closing) {
            return;
        }
        let level = torrent.log_level(log::Level::Error);
        record!(level, "{} ({}): stopped: {reason}", torrent.name, torrent.info_hash);
        if torrent.committed() && !torrent.suspect {
            // What is good already shall stay so.
            self.disk.submit(Job::Commit { torrent: key });
        }
        torrent.announcer.stop();
        // While what was transferred is known: trackers are told.
        self.drain_announces(net, key);
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        torrent.keep_totals(net.now());
        torrent.phase = Phase::Failed(reason.clone());
        let info_hash = torrent.info_hash;
        self.drop_connections(net, key);
        self.drop_windows(net, key);
        self.announce_change(info_hash, Lifecycle::Failed(reason.into()));
        self.publish_shares();
        self.mark_stale(net, key);
    }

    /// Closes all connections of the torrent, half-open ones included.
    pub(super) fn drop_connections(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        for peer in net.keys() {
            if net.data(peer).is_some_and(|data| data.torrent == Some(key)) {
                self.drop_peer(net, peer, &"the torrent is stopped");
            }
        }
        if let Some(active) = self.torrents.get_mut(&key).and_then(|torrent| torrent.active.get_mut()) {
            active.peers.clear();
            active.early.clear();
        }
    }

    /// Gives back all windows of the torrent and what waits for one.
    pub(super) fn drop_windows(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        self.room.retain(|(torrent, _)| *torrent != key);
        self.release_metadata(net, key);
        self.drop_populating(key);
        let evicted = self.buffer.remove_torrent(key);
        self.release(evicted);
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        let windows = torrent.active.get_mut().map(|active| std::mem::take(&mut active.windows));
        for (piece, window) in windows.into_iter().flatten() {
            self.disk.submit(Job::ReleaseWrite(window));
            self.release_reservation(key, piece);
        }
        self.open_waiting_windows(net);
    }

    /// Arms the torrent's next deadline unless an earlier one is armed.
    pub(super) fn arm(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        let Some(at) = torrent.poll_timeout() else { return };
        if torrent.active.armed.is_none_or(|armed| at < armed) {
            torrent.active.armed = Some(at);
            net.arm(key.0, at);
        }
    }
}
