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

/// The same for blocks of a piece that the out-queue holds already: it costs no more memory, and by the time there is
/// room again the piece may have left the buffer.
const OUT_QUEUE_OF_PIECE: usize = 2 * OUT_QUEUE;

/// Share of the piece buffer for pieces fetched ahead of their turn, on their way into memory or there and not used
/// yet: what comes must not push out what has just come.
const AHEAD_SHARE: u64 = 4;

/// Queued requests looked at for pieces to bring into memory ahead of their turn. 1 MiB of blocks: at 3 GB/s they take
/// as long as it takes to map the next MiB.
const LOOK_AHEAD: usize = 64;

/// A piece on its way into memory.
#[derive(Debug, Default)]
pub(super) struct Coming {
    /// Its bytes, which count from the moment it is asked for.
    len: u32,
    /// The disk it comes from.
    device: usize,
    /// A disk thread was asked for it. False: it waits for room.
    submitted: bool,
    /// Who is to be served as soon as it is there.
    waiters: Vec<PeerKey>,
}

impl Bt {
    /// Queues a block that a peer asked for. It moves on with all others of the same burst: see
    /// [`Self::pump_asking`].
    pub(super) fn upload(&mut self, net: &mut Net<Peer>, key: PeerKey, block: Block) {
        if let Some(peer) = net.data(key) {
            let before = peer.uploads.capacity();
            peer.uploads.push_back(block);
            let grown = peer.uploads.capacity() > before;
            if self.asking.last() != Some(&key) {
                self.asking.push(key);
            }
            if grown {
                self.count_peer(net, key);
            }
        }
    }

    /// Serves those who asked since the last call.
    pub(super) fn pump_asking(&mut self, net: &mut Net<Peer>) {
        // Emptied by hand: the list keeps its memory.
        while let Some(key) = self.asking.pop() {
            self.pump_uploads(net, key);
            self.populate_ahead(net, key);
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
        self.count_peer(net, key);
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
            let piece = block.piece();
            let at_hand = at_hand.filter(|(at_hand, _)| *at_hand == piece).map(|(_, window)| window.clone());
            let Some(window) = at_hand.or_else(|| self.buffer.read((torrent, piece))) else {
                return self.populate_for(net, key, torrent);
            };
            self.send_of_piece(net, key, torrent, piece, &window);
        }
    }

    /// Moves the requests for one piece at the front of the queue on while there is room.
    fn send_of_piece(
        &mut self,
        net: &mut Net<Peer>,
        key: PeerKey,
        torrent: TorrentKey,
        piece: PieceIndex,
        window: &ReadWindow,
    ) {
        let mut engine = self.torrents.get_mut(&torrent).and_then(|torrent| torrent.engine_mut());
        while net.queued_payload(key) < OUT_QUEUE_OF_PIECE {
            let Some(peer) = net.data(key) else { break };
            let Some(block) = peer.uploads.front().copied().filter(|block| block.piece() == piece) else { break };
            peer.uploads.pop_front();
            peer.sent += u64::from(block.len());
            net.send_block(key, block, window.clone());
            if let Some(engine) = &mut engine {
                engine.block_sent(net.now(), key, block.len());
            }
        }
        self.mark_stale(net, torrent);
    }

    /// Asks for the piece of the next request, which is not in memory.
    fn populate_for(&mut self, net: &mut Net<Peer>, key: PeerKey, torrent: TorrentKey) {
        let Some(block) = net.data(key).and_then(|peer| peer.uploads.front().copied()) else { return };
        let id = (torrent, block.piece());
        if !self.populating.contains_key(&id) && !self.populate(net, id) {
            // In the order in which they were asked for, as soon as there is room.
            let Some((len, device)) = self.piece_of(id) else { return };
            self.room.wait_to_read(device, id);
            self.arm_room(net);
            self.populating.insert(id, Coming { len, device, submitted: false, waiters: Vec::new() });
        }
        if let Some(coming) = self.populating.get_mut(&id).filter(|coming| !coming.waiters.contains(&key)) {
            coming.waiters.push(key);
        }
    }

    /// Asks for the pieces of the requests that wait, as far as the buffer allows: they shall be in memory when their
    /// turn comes.
    fn populate_ahead(&mut self, net: &mut Net<Peer>, key: PeerKey) {
        let most = self.buffer.budget() / AHEAD_SHARE;
        let mut last = None;
        for nth in 0..LOOK_AHEAD {
            let Some(peer) = net.data(key) else { return };
            let (Some(torrent), Some(block)) = (peer.torrent, peer.uploads.get(nth)) else { return };
            let id = (torrent, block.piece());
            if last.replace(id) == Some(id) || self.buffer.holds(id) || self.populating.contains_key(&id) {
                continue;
            }
            let Some((len, _)) = self.piece_of(id) else { return };
            if self.buffer.coming() + self.buffer.unread() + u64::from(len) > most || !self.populate(net, id) {
                return; // It is asked for again when its turn comes.
            }
        }
    }

    /// Has a piece brought into memory. False if there is no room for it, or others wait for room already.
    fn populate(&mut self, net: &mut Net<Peer>, id: (TorrentKey, PieceIndex)) -> bool {
        let Some((len, device)) = self.piece_of(id) else { return false };
        self.count_windows(net);
        if self.room.first_read(device).is_some() || !self.submit_read(id, len, device) {
            return false;
        }
        self.populating.insert(id, Coming { len, device, submitted: true, waiters: Vec::new() });
        let evicted = self.buffer.make_room();
        self.release(evicted);
        self.count_windows(net);
        true
    }

    /// Asks the disk for a piece if there is room for it: a disk that is slow, or hangs, may not have all of it.
    fn submit_read(&mut self, (torrent, piece): (TorrentKey, PieceIndex), len: u32, device: usize) -> bool {
        if !(self.room.grants_read(device, len, self.buffer.budget()) && self.buffer.reserve_read(len)) {
            return false;
        }
        self.room.take_read(device, len);
        self.window_made();
        self.disk.submit(Job::Populate { torrent, piece });
        true
    }

    /// Length of a piece, and the disk that it lies on.
    pub(super) fn piece_of(&self, (torrent, piece): (TorrentKey, PieceIndex)) -> Option<(u32, usize)> {
        let torrent = self.torrents.get(&torrent)?;
        Some((torrent.metainfo.as_ref()?.info.geometry.piece_len(piece), torrent.device))
    }

    /// Brings pieces into memory that have waited for room, as far as there is some now.
    pub(super) fn populate_waiting(&mut self, net: &mut Net<Peer>) {
        let wanted = self.room.wanted_reads();
        if wanted.is_empty() {
            return;
        }
        for device in wanted {
            while let Some(id) = self.room.first_read(device) {
                if let Some(len) = self.populating.get(&id).map(|coming| coming.len) {
                    if !self.submit_read(id, len, device) {
                        break;
                    }
                    if let Some(coming) = self.populating.get_mut(&id) {
                        coming.submitted = true;
                    }
                }
                self.room.drop_read(device);
            }
        }
        let evicted = self.buffer.make_room();
        self.release(evicted);
        self.count_windows(net);
    }

    /// Nobody waits for pieces of this torrent any more.
    pub(super) fn drop_populating(&mut self, torrent: TorrentKey) {
        self.room.retain_reads(|(waiting, _)| *waiting != torrent);
        // What was asked of the disk threads is counted until their answer comes.
        self.populating.retain(|(key, _), coming| *key != torrent || coming.submitted);
        let left = self.populating.iter_mut().filter(|((key, _), _)| *key == torrent);
        left.for_each(|(_, coming)| coming.waiters.clear());
    }

    /// A piece could not be brought into memory.
    pub(super) fn populated_not(&mut self, torrent: TorrentKey, piece: PieceIndex) {
        let coming = self.populating.remove(&(torrent, piece));
        self.read_ended(coming.as_ref());
    }

    pub(super) fn populated(
        &mut self,
        net: &mut Net<Peer>,
        torrent: TorrentKey,
        piece: PieceIndex,
        window: ReadWindow,
    ) {
        let coming = self.populating.remove(&(torrent, piece));
        let waiters = coming.as_ref().map_or(&[][..], |coming| &coming.waiters);
        for key in waiters {
            self.pump_with(net, *key, Some((piece, &window)));
        }
        self.read_ended(coming.as_ref());
        let runs = self.torrents.get(&torrent).is_some_and(|torrent| torrent.engine().is_some());
        let evicted = match (runs, waiters.is_empty()) {
            (true, true) => self.buffer.insert_ahead((torrent, piece), window),
            (true, false) => self.buffer.insert_read((torrent, piece), window),
            (false, _) => vec![window],
        };
        self.release(evicted);
    }

    /// A piece is not on its way any more.
    fn read_ended(&mut self, coming: Option<&Coming>) {
        if let Some(coming) = coming.filter(|coming| coming.submitted) {
            self.buffer.release_read(coming.len);
            self.room.give_back_read(coming.device, coming.len);
        }
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
