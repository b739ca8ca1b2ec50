//! Room in the piece buffer for pieces to be received: how much of it one disk may hold, and who waits for more.
//!
//! A slow disk gives back what it got much later than a fast one, and a hung one never does: without a limit it would end
//! up with everything, and the others with nothing. A disk may hold as long as that is less than three times what is free
//! then (the dynamic threshold of A. Choudhury and E. Hahne, 1998, for queues that share the memory of a switch). One alone
//! gets three quarters; some is always left for one that comes later; nobody has to know how many there are.

use std::collections::VecDeque;

use crate::types::{PieceIndex, TorrentKey};

/// What a disk may hold, in parts of what is free.
const SHARE: u64 = 3;

/// One disk's part, by the number of its device.
#[derive(Debug, Default)]
struct Disk {
    /// Bytes in pieces that are being received, verified or written.
    held: u64,
    /// Bytes in finished pieces that are being brought into memory.
    coming: u64,
    /// Pieces that wait for room, in this order.
    waiting: VecDeque<(TorrentKey, PieceIndex)>,
    /// Finished pieces that wait for room, to be served.
    waiting_reads: VecDeque<(TorrentKey, PieceIndex)>,
}

impl Disk {
    fn all(&self) -> u64 {
        self.held.saturating_add(self.coming)
    }
}

/// The account by disks.
#[derive(Debug, Default)]
pub(super) struct Room(Vec<Disk>);

impl Room {
    /// May this disk have `len` bytes more of a buffer of `budget` bytes, to receive a piece? The first one of each
    /// always, as far as this account goes.
    pub(super) fn grants(&self, device: usize, len: u32, budget: u64) -> bool {
        self.0.get(device).is_none_or(|disk| disk.held == 0) || self.has_room(device, len, budget)
    }

    /// The same for a finished piece. The first of these always, too: two that fetch from each other would wait for ever.
    pub(super) fn grants_read(&self, device: usize, len: u32, budget: u64) -> bool {
        self.0.get(device).is_none_or(|disk| disk.coming == 0) || self.has_room(device, len, budget)
    }

    fn has_room(&self, device: usize, len: u32, budget: u64) -> bool {
        let held = self.0.get(device).map_or(0, Disk::all);
        let all = self.0.iter().fold(u64::from(len), |all, disk| all.saturating_add(disk.all()));
        held.saturating_add(u64::from(len)) <= budget.saturating_sub(all).saturating_mul(SHARE)
    }

    /// The disk has `len` bytes more.
    pub(super) fn take(&mut self, device: usize, len: u32) {
        let disk = self.disk(device);
        disk.held = disk.held.saturating_add(u64::from(len));
    }

    /// The disk has given `len` bytes back.
    pub(super) fn give_back(&mut self, device: usize, len: u32) {
        let disk = self.disk(device);
        disk.held = disk.held.saturating_sub(u64::from(len));
    }

    /// A finished piece of `len` bytes is on its way from the disk.
    pub(super) fn take_read(&mut self, device: usize, len: u32) {
        let disk = self.disk(device);
        disk.coming = disk.coming.saturating_add(u64::from(len));
    }

    /// A finished piece of `len` bytes is on its way no more.
    pub(super) fn give_back_read(&mut self, device: usize, len: u32) {
        let disk = self.disk(device);
        disk.coming = disk.coming.saturating_sub(u64::from(len));
    }

    /// A piece waits for room.
    pub(super) fn wait(&mut self, device: usize, piece: (TorrentKey, PieceIndex)) {
        self.disk(device).waiting.push_back(piece);
    }

    /// The piece that waits first on this disk, which does not wait any more.
    pub(super) fn next(&mut self, device: usize) -> Option<(TorrentKey, PieceIndex)> {
        self.disk(device).waiting.pop_front()
    }

    /// A piece that was first and had no luck is first again.
    pub(super) fn put_back(&mut self, device: usize, piece: (TorrentKey, PieceIndex)) {
        self.disk(device).waiting.push_front(piece);
    }

    /// A finished piece waits for room.
    pub(super) fn wait_to_read(&mut self, device: usize, piece: (TorrentKey, PieceIndex)) {
        self.disk(device).waiting_reads.push_back(piece);
    }

    /// The finished piece that waits first on this disk. It goes on waiting until [`Self::drop_read`].
    pub(super) fn first_read(&self, device: usize) -> Option<(TorrentKey, PieceIndex)> {
        self.0.get(device).and_then(|disk| disk.waiting_reads.front().copied())
    }

    /// The finished piece that waited first on this disk waits no more.
    pub(super) fn drop_read(&mut self, device: usize) {
        self.disk(device).waiting_reads.pop_front();
    }

    /// Forgets finished pieces that wait.
    pub(super) fn retain_reads(&mut self, keep: impl Fn(&(TorrentKey, PieceIndex)) -> bool) {
        self.0.iter_mut().for_each(|disk| disk.waiting_reads.retain(&keep));
    }

    /// Disks on which finished pieces wait.
    pub(super) fn wanted_reads(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|device| self.first_read(*device).is_some()).collect()
    }

    /// Forgets waiting pieces.
    pub(super) fn retain(&mut self, keep: impl Fn(&(TorrentKey, PieceIndex)) -> bool) {
        self.0.iter_mut().for_each(|disk| disk.waiting.retain(&keep));
    }

    /// True if nobody waits.
    pub(super) fn is_enough(&self) -> bool {
        self.0.iter().all(|disk| disk.waiting.is_empty())
    }

    /// Disks on which somebody waits; the one that holds least comes first.
    pub(super) fn wanted(&self) -> Vec<usize> {
        let waiting = self.0.iter().enumerate().filter(|(_, disk)| !disk.waiting.is_empty());
        let mut wanted: Vec<(u64, usize)> = waiting.map(|(device, disk)| (disk.held, device)).collect();
        wanted.sort_unstable();
        wanted.into_iter().map(|(_, device)| device).collect()
    }

    fn disk(&mut self, device: usize) -> &mut Disk {
        if self.0.len() <= device {
            self.0.resize_with(device + 1, Disk::default);
        }
        #[expect(clippy::indexing_slicing, reason = "made long enough just above")]
        &mut self.0[device]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Geometry;

    /// Takes pieces of 10 bytes from a buffer of 400 until there are no more; how many it got.
    fn fill(room: &mut Room, device: usize) -> usize {
        let mut got = 0;
        while room.grants(device, 10, 400) {
            room.take(device, 10);
            got += 1;
        }
        got
    }

    #[test]
    fn a_disk_that_gives_nothing_back_leaves_room_for_others() {
        let mut room = Room::default();
        assert_eq!(fill(&mut room, 0), 30, "three quarters, for one alone");
        assert_eq!(fill(&mut room, 1), 7, "three quarters of the rest");
        assert_eq!(fill(&mut room, 2), 2);
        assert_eq!(fill(&mut room, 3), 1, "a piece for each");
        for _ in 0..30 {
            room.give_back(0, 10);
        }
        assert_eq!(fill(&mut room, 1), 20, "three quarters of what the others leave");
    }

    #[test]
    fn a_disk_that_does_not_answer_leaves_room_to_read_from_others_and_to_receive() {
        let mut room = Room::default();
        let mut coming = 0;
        while room.grants_read(0, 10, 400) {
            room.take_read(0, 10);
            coming += 1;
        }
        assert_eq!(coming, 30);
        assert!(room.grants(0, 10, 400), "the first piece to receive");
        assert_eq!(fill(&mut room, 1), 7);
        assert!(room.grants_read(1, 10, 400) && room.grants_read(2, 10, 400));
        let piece = (TorrentKey(1), Geometry::new(100, 10).unwrap().piece(0).unwrap());
        room.wait_to_read(2, piece);
        assert_eq!((room.wanted_reads(), room.first_read(2)), (vec![2], Some(piece)));
        room.drop_read(2);
        assert!(room.wanted_reads().is_empty());
        (0..30).for_each(|_| room.give_back_read(0, 10));
        assert_eq!(fill(&mut room, 2), 24, "three quarters of what the others leave");
    }

    #[test]
    fn who_holds_least_is_served_first() {
        let mut room = Room::default();
        let piece = (TorrentKey(1), Geometry::new(100, 10).unwrap().piece(0).unwrap());
        room.take(0, 20);
        room.take(2, 10);
        assert!(room.is_enough() && room.wanted().is_empty());
        [0, 1, 2].into_iter().for_each(|device| room.wait(device, piece));
        assert_eq!(room.wanted(), [1, 2, 0]);
        assert_eq!(room.next(1), Some(piece));
        assert_eq!(room.wanted(), [2, 0]);
        room.put_back(1, piece);
        room.retain(|(torrent, _)| *torrent != TorrentKey(1));
        assert!(room.is_enough());
    }
}
