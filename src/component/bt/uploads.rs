//! Serving: from a peer's request to a window whose bytes the kernel can take.
//!
//! A request waits in its connection's queue until its piece is in memory and the out-queue has room. Only then it
//! moves on, so that a cancel still finds it, and memory holds what is about to leave, not what was asked for.

use super::Bt;
use super::peers::Peer;
use crate::proto::peer::Command;
use crate::reactor::Net;
use crate::storage::{Job, ReadWindow};
use crate::types::{Block, PeerKey, PieceIndex, TorrentKey};

/// Payload bytes in an out-queue beyond which nothing is added. Enough to keep a fast connection busy for the time of
/// one turn of the loop.
const OUT_QUEUE: usize = 512 * 1024;

/// Share of the piece buffer that pieces on their way into memory may take before none is fetched ahead of its turn:
/// what comes must not push out what has just come.
const AHEAD_SHARE: u64 = 4;

/// Queued requests looked at for pieces to bring into memory ahead of their turn.
const LOOK_AHEAD: usize = 16;

impl Bt {
    pub(super) fn upload(&mut self, net: &mut Net<Peer>, key: PeerKey, block: Block) {
        if let Some(peer) = net.data(key) {
            peer.uploads.push_back(block);
            self.pump_uploads(net, key);
        }
    }

    pub(super) fn cancel_upload(&mut self, net: &mut Net<Peer>, key: PeerKey, block: Block) {
        let Some(peer) = net.data(key) else { return };
        let before = peer.uploads.len();
        peer.uploads.retain(|queued| *queued != block);
        if peer.uploads.len() < before {
            net.send(key, &Command::Reject(block));
        }
    }

    pub(super) fn drop_uploads(&mut self, net: &mut Net<Peer>, key: PeerKey) {
        let Some(peer) = net.data(key) else { return };
        for block in std::mem::take(&mut peer.uploads) {
            net.send(key, &Command::Reject(block));
        }
    }

    /// Moves queued requests on while there is room and their pieces are in memory.
    pub(super) fn pump_uploads(&mut self, net: &mut Net<Peer>, key: PeerKey) {
        self.pump_with(net, key, None);
    }

    /// As [`Self::pump_uploads`], with a piece at hand that the buffer may have no room for.
    fn pump_with(&mut self, net: &mut Net<Peer>, key: PeerKey, at_hand: Option<(PieceIndex, &ReadWindow)>) {
        while net.queued_payload(key) < OUT_QUEUE {
            let Some(peer) = net.data(key) else { return };
            let (Some(torrent), Some(block)) = (peer.torrent, peer.uploads.front().copied()) else { return };
            let at_hand = at_hand.filter(|(piece, _)| *piece == block.piece()).map(|(_, window)| window.clone());
            let Some(window) = at_hand.or_else(|| self.buffer.read((torrent, block.piece()))) else {
                return self.populate_for(net, key, torrent);
            };
            if let Some(peer) = net.data(key) {
                peer.uploads.pop_front();
                peer.sent += u64::from(block.len());
            }
            net.send_block(key, block, window);
            if let Some(engine) = self.torrents.get_mut(&torrent).and_then(|torrent| torrent.engine_mut()) {
                engine.block_sent(net.now(), key, block.len());
            }
            self.mark_stale(net, torrent);
        }
    }

    /// Asks for the piece of the next request, and ahead for those of a few more as far as the buffer allows.
    fn populate_for(&mut self, net: &mut Net<Peer>, key: PeerKey, torrent: TorrentKey) {
        let metainfo = self.torrents.get(&torrent).and_then(|torrent| torrent.metainfo.as_ref());
        let piece_length = metainfo.map_or(0, |metainfo| u64::from(metainfo.info.geometry.piece_length()));
        let Some(peer) = net.data(key) else { return };
        for (n, block) in peer.uploads.iter().take(LOOK_AHEAD).enumerate() {
            let id = (torrent, block.piece());
            let ahead = n > 0;
            let coming = self.populating.len() as u64 * piece_length;
            if ahead && (coming > self.buffer.budget() / AHEAD_SHARE || self.buffer.holds(id)) {
                continue;
            }
            let waiters = self.populating.entry(id).or_insert_with(|| {
                self.disk.submit(Job::Populate { torrent, piece: block.piece() });
                Vec::new()
            });
            // Only the first in the queue is waited for; the others are there when their turn comes.
            if !ahead && !waiters.contains(&key) {
                waiters.push(key);
            }
        }
    }

    pub(super) fn populated(
        &mut self,
        net: &mut Net<Peer>,
        torrent: TorrentKey,
        piece: PieceIndex,
        window: ReadWindow,
    ) {
        for key in self.populating.remove(&(torrent, piece)).unwrap_or_default() {
            self.pump_with(net, key, Some((piece, &window)));
        }
        let runs = self.torrents.get(&torrent).is_some_and(|torrent| torrent.engine().is_some());
        let evicted = if runs { self.buffer.insert_read((torrent, piece), window) } else { vec![window] };
        self.release(evicted);
    }

    /// Windows are unmapped on a disk thread: that takes a lock which a disk may hold.
    pub(super) fn release(&mut self, windows: Vec<ReadWindow>) {
        if !windows.is_empty() {
            self.disk.submit(Job::Release(windows));
        }
    }

    /// The kernel found no data behind a window. Which file was cut short, a disk thread finds out.
    pub(super) fn lost_data(&mut self, peer: &Peer, windows: &[ReadWindow]) {
        if let Some(torrent) = peer.torrent {
            self.disk.submit(Job::Probe { torrent, windows: windows.to_vec() });
        }
    }
}
