//! What the disk threads did: opened torrents, windows, verified pieces, commits.

use std::sync::Arc;

use super::Bt;
use super::peers::Peer;
use super::torrent::{Closing, Phase, Torrent};
use crate::component::event::{ControlError, Lifecycle};
use crate::engine::{PieceOutcome, Source};
use crate::reactor::Net;
use crate::storage::{CheckMode, Done, Ending, Job, Layout, LayoutFile, StorageError, Verified, WriteWindow, Writing};
use crate::types::{Bitfield, PieceIndex, TorrentKey};

/// What became of an own share that is not as it was when it was shared.
const CHANGED_SHARE: &str = "files changed on disk; share it again";

impl Bt {
    /// Lets the disk threads look what is there of a torrent whose description is known.
    pub(super) fn open(&mut self, net: &mut Net<Peer>, key: TorrentKey, check: CheckMode) {
        let Some(layout) = self.torrents.get(&key).map(|torrent| layout_of(torrent)) else { return };
        let layout = match layout {
            Ok(layout) => layout,
            Err(reason) => return self.fail(net, key, reason),
        };
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        let Some(metainfo) = &torrent.metainfo else { return };
        torrent.phase = Phase::Opening { checked: 0, total: 0 };
        torrent.suspect = false;
        let asked = std::mem::replace(&mut torrent.writing, Writing::Missing);
        let writing = match torrent.seed {
            _ if torrent.hidden => Writing::Scratch,
            true => Writing::Never,
            false => asked,
        };
        self.disk.submit(Job::Open {
            torrent: key,
            info_hash: torrent.info_hash,
            layout,
            dir: Arc::clone(&torrent.dir),
            hashes: metainfo.info.pieces.clone(),
            check,
            writing,
        });
        self.mark_stale(net, key);
    }

    /// Handles what the disk threads did, as much as one turn should take. True if there may be more.
    pub(super) fn disk_answers(&mut self, net: &mut Net<Peer>) -> bool {
        for _ in 0..super::ANSWERS_PER_TURN {
            let Some(done) = self.disk.try_recv() else { return false };
            match done {
                Done::CheckProgress { torrent, checked, total } => {
                    if let Some(Phase::Opening { checked: c, total: t }) =
                        self.torrents.get_mut(&torrent).map(|torrent| &mut torrent.phase)
                    {
                        (*c, *t) = (checked, total);
                    }
                    self.mark_stale(net, torrent);
                }
                Done::Opened { torrent, result, hashed } => self.opened(net, torrent, result, hashed),
                // It only was to be done ahead of time.
                Done::NotReserved { error, .. } if error.is_shortage() => debug!("no space is reserved: {error}"),
                Done::NotReserved { torrent, error } => self.storage_failed(net, torrent, &error),
                Done::WindowOpened { torrent, piece, result } => self.window_opened(net, torrent, piece, result),
                Done::Verified { torrent, piece, result, digests } => {
                    self.verifying = self.verifying.saturating_sub(1);
                    self.verified(net, torrent, piece, result, &digests);
                }
                Done::Populated { torrent, piece, result } => match result {
                    Ok(window) => self.populated(net, torrent, piece, window),
                    Err(error) => {
                        self.populated_not(torrent, piece);
                        self.storage_failed(net, torrent, &error);
                    }
                },
                Done::Probed { torrent, result } => {
                    if let Err(error) = result {
                        self.storage_failed(net, torrent, &error);
                    }
                }
                Done::Committed { torrent, result } => {
                    if let Err(error) = result {
                        self.commit_failed(net, torrent, &error);
                    }
                }
                Done::Closed { torrent, result } => self.closed_torrent(net, torrent, result),
            }
        }
        true
    }

    /// What was not synced may be lost, and the system says so only once: a later sync of the same file succeeds. So nothing
    /// more is committed, and whoever resumes the torrent has everything hashed.
    fn commit_failed(&mut self, net: &mut Net<Peer>, key: TorrentKey, error: &StorageError) {
        if let Some(torrent) = self.torrents.get_mut(&key).filter(|_| !matches!(error, StorageError::NotOpen)) {
            torrent.committed();
            torrent.suspect = true;
        }
        self.storage_failed(net, key, error);
    }

    fn opened(&mut self, net: &mut Net<Peer>, key: TorrentKey, result: Result<Bitfield, StorageError>, hashed: u32) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        if torrent.closing.is_some() {
            return;
        }
        let have = match result {
            Ok(have) => have,
            Err(error) => return self.storage_failed(net, key, &error),
        };
        torrent.device = self.disk.device_of(key).unwrap_or_default();
        let now = net.now();
        let (count, pieces) = (have.count_ones(), have.len());
        let plural = if pieces == 1 { "" } else { "s" };
        let level = torrent.log_level(log::Level::Info);
        record!(level, "{}: {count} of {pieces} piece{plural} there, {hashed} checked", torrent.name);
        if torrent.seed && torrent.shared && count < pieces {
            // What people do to their own files is never undone, and it makes another torrent.
            return self.fail(net, key, CHANGED_SHARE.to_owned());
        }
        torrent.begin(now, have);
        let complete = torrent.is_complete();
        torrent.warning = (torrent.seed && !complete).then(|| {
            let wrong = pieces.saturating_sub(count);
            format!("{wrong} of {pieces} pieces are missing or damaged; the others are shared").into()
        });
        let info_hash = torrent.info_hash;
        self.hand_over(net, key);
        self.announce_change(info_hash, Lifecycle::Started(complete));
        self.shares_changed = true; // Not at once: thousands of torrents may be opened in a row.
        self.drain(net, key);
    }

    /// Gives the fresh engine the addresses and peers that are there already.
    fn hand_over(&mut self, net: &mut Net<Peer>, key: TorrentKey) {
        let now = net.now();
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        let manual = torrent.given_peers().to_vec();
        torrent.add_candidates(now, &manual, Source::Manual);
        let (mut dialing, mut early) = (Vec::new(), Vec::new());
        if let Some(active) = torrent.active.get_mut() {
            (dialing, early) = (active.dialing.take(), std::mem::take(&mut active.early));
        }
        for (addr, source) in dialing {
            torrent.add_candidates(now, &[addr], source);
        }
        if !(torrent.active.peers.is_empty() && early.is_empty()) {
            torrent.rouse(now);
        }
        for peer in torrent.active.peers.clone() {
            self.join_after_metadata(net, peer, key);
        }
        for (peer, handshake) in early {
            self.accept(net, peer, &handshake);
        }
        self.add_contact_sources(net, key);
    }

    fn window_opened(
        &mut self,
        net: &mut Net<Peer>,
        key: TorrentKey,
        piece: PieceIndex,
        result: Result<WriteWindow, StorageError>,
    ) {
        let window = match result {
            Ok(window) => window,
            Err(error) => return self.window_refused(net, key, piece, &error),
        };
        let now = net.now();
        let torrent = self.torrents.get_mut(&key).map(Box::as_mut);
        match torrent.filter(|torrent| torrent.active.reserved.contains_key(&piece)) {
            Some(Torrent { phase: Phase::Running(engine), active, .. }) => {
                active.windows.insert(piece, window);
                engine.window_opened(now, piece);
                self.drain(net, key);
            }
            // Failed or closed meanwhile.
            _ => {
                self.disk.submit(Job::ReleaseWrite(window));
                self.release_reservation(key, piece);
                self.open_waiting_windows(net);
            }
        }
    }

    fn window_refused(&mut self, net: &mut Net<Peer>, key: TorrentKey, piece: PieceIndex, error: &StorageError) {
        let now = net.now();
        self.release_reservation(key, piece);
        self.open_waiting_windows(net);
        match self.torrents.get_mut(&key).map(Box::as_mut) {
            Some(Torrent { phase: Phase::Running(engine), name, .. }) if error.is_shortage() => {
                log::warn!("{name}: {error}; it is tried again");
                engine.window_failed(now, piece);
                self.drain(net, key);
            }
            _ => self.storage_failed(net, key, error),
        }
    }

    fn verified(
        &mut self,
        net: &mut Net<Peer>,
        key: TorrentKey,
        piece: PieceIndex,
        result: Result<Verified, StorageError>,
        digests: &[u64],
    ) {
        let now = net.now();
        let running = self.torrents.get_mut(&key).filter(|torrent| torrent.engine().is_some());
        let outcome = match (result, running) {
            (Ok(Verified::Good(window)), Some(_)) => {
                self.release_reservation(key, piece);
                if let Some(window) = window {
                    let evicted = self.buffer.insert_read((key, piece), window);
                    self.release(evicted);
                }
                PieceOutcome::Good
            }
            (Ok(Verified::Bad(window)), Some(torrent)) => {
                log::info!("{}: piece {piece} failed its hash and is fetched again", torrent.name);
                torrent.active.windows.insert(piece, window);
                PieceOutcome::Bad
            }
            (result, _) => {
                self.release_reservation(key, piece);
                self.open_waiting_windows(net);
                match result {
                    Ok(Verified::Good(window)) => self.release(window.into_iter().collect()),
                    Ok(Verified::Bad(window)) => self.disk.submit(Job::ReleaseWrite(window)),
                    Err(error) => self.storage_failed(net, key, &error),
                }
                return;
            }
        };
        if let Some(torrent) = self.torrents.get_mut(&key)
            && let Phase::Running(engine) = &mut torrent.phase
        {
            engine.piece_verified(now, piece, outcome, digests);
            let first = outcome == PieceOutcome::Good && engine.have().count_ones() == 1;
            if outcome == PieceOutcome::Good && torrent.active.uncommitted_since.is_none() {
                torrent.active.uncommitted_since = Some(now);
                net.arm(key.0, now + super::actions::COMMIT_AFTER);
            }
            if first {
                self.publish_shares();
            }
        }
        self.open_waiting_windows(net);
        self.drain(net, key);
    }

    /// Ends a torrent's work on its files; what follows is told by `closing` once the disk threads are done.
    pub(super) fn close_torrent(&mut self, net: &mut Net<Peer>, key: TorrentKey, closing: Closing, ending: Ending) {
        let now = net.now();
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        torrent.announcer.stop();
        let ending = match (&torrent.phase, ending) {
            (Phase::Failed(_), Ending::Clean) => Ending::Broken,
            _ => ending,
        };
        // While what was transferred is known: trackers are told.
        self.drain_announces(net, key);
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        torrent.keep_totals(now);
        torrent.closing = Some(Box::new(closing));
        torrent.committed();
        torrent.phase = Phase::Closing;
        self.drop_connections(net, key);
        self.drop_windows(net, key);
        self.disk.submit(Job::Close { torrent: key, ending });
        self.mark_stale(net, key);
    }

    fn closed_torrent(&mut self, net: &mut Net<Peer>, key: TorrentKey, result: Result<(), StorageError>) {
        let Some(torrent) = self.torrents.get_mut(&key) else { return };
        let (info_hash, hidden) = (torrent.info_hash, torrent.hidden);
        let answer = match result {
            // It had no files yet.
            Ok(()) | Err(StorageError::NotOpen) => Ok(()),
            Err(error) => {
                log::error!("{}: {error}", torrent.name);
                Err(ControlError::Storage(Arc::new(error)))
            }
        };
        match torrent.closing.take().map(|closing| *closing) {
            Some(Closing::Reopen(check, reply)) => {
                torrent.phase = Phase::Opening { checked: 0, total: 0 };
                self.open(net, key, check);
                self.publish_status_now(net); // Whoever has the answer must not see it paused any more.
                reply.send(answer);
            }
            Some(Closing::Remove(reply)) => {
                self.torrents.remove(&key);
                self.by_hash.remove(&info_hash);
                self.gone.push(info_hash);
                self.publish_shares();
                self.publish_status_now(net);
                self.tell_change(info_hash, hidden, Lifecycle::Removed);
                reply.send(answer);
            }
            Some(Closing::Stop) | None => {
                self.torrents.remove(&key);
                self.by_hash.remove(&info_hash);
            }
        }
    }
}

/// Where the torrent's files lie; or why they cannot, in words for the user.
fn layout_of(torrent: &Torrent) -> Result<Layout, String> {
    let Some(metainfo) = &torrent.metainfo else { return Err("its description is not known yet".to_owned()) };
    let info = &metainfo.info;
    let paths = torrent.paths().map_or_else(|| info.file_paths(), <[_]>::to_vec);
    let files = info.files.iter().zip(paths);
    let files = files.map(|(file, path)| LayoutFile { path, len: file.len, pad: file.pad });
    Layout::new(info.geometry, files.collect()).map_err(|error| error.to_string())
}
