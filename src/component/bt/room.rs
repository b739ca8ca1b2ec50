//! Room in the piece buffer for pieces to be received: how much of it one disk may hold, and who waits for more.
//!
//! A slow disk gives back what it got much later than a fast one, and a hung one never does: without a limit it would end
//! up with everything, and the others with nothing. A disk may hold as long as that is less than three times what is free
//! then (the dynamic threshold of A. Choudhury and E. Hahne, 1998, for queues that share the memory of a switch). One alone
//! gets three quarters; some is always left for one that comes later; nobody has to know how many there are.
//!
//! On one disk pieces get room in the order in which they asked. Beside others a large piece might never find enough free
//! at a time, if small ones take what there is as soon as it is given back. So for a disk that has nothing and whose first
//! piece has waited from one look to the next, room is saved up: nobody else gets any until that piece has it, or until
//! the next look. What a hung disk has never comes back, so saving up in vain is done more and more rarely.

use std::collections::VecDeque;

use crate::types::{PieceIndex, TorrentKey};

/// What a disk may hold, in parts of what is free.
const SHARE: u64 = 3;

/// Looks after which room is saved up again, at most, if that was in vain.
const MAX_REST: u32 = 64;

/// A piece of some torrent.
type Piece = (TorrentKey, PieceIndex);

/// Room to receive a piece, or to read a finished one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Receive,
    Read,
}

/// One disk's part, by the number of its device.
#[derive(Debug, Default)]
struct Disk {
    /// Bytes in pieces that are being received, verified or written.
    held: u64,
    /// Bytes in finished pieces that are being brought into memory.
    coming: u64,
    /// Pieces that wait for room, in this order.
    waiting: VecDeque<Piece>,
    /// Finished pieces that wait for room, to be served.
    waiting_reads: VecDeque<Piece>,
    /// Who waited first at the last look.
    seen: [Option<Piece>; 2],
}

impl Disk {
    fn all(&self) -> u64 {
        self.held.saturating_add(self.coming)
    }

    fn first(&self, want: Want) -> Option<Piece> {
        let waiting = if want == Want::Receive { &self.waiting } else { &self.waiting_reads };
        waiting.front().copied()
    }

    /// Has nothing of this kind, and the same piece waits for it as at the last look.
    fn starves(&self, want: Want) -> bool {
        let has = if want == Want::Receive { self.held } else { self.coming };
        let seen = self.seen.get(want as usize).copied().flatten();
        has == 0 && seen.is_some() && seen == self.first(want)
    }
}

/// The account by disks.
#[derive(Debug, Default)]
pub(super) struct Room {
    disks: Vec<Disk>,
    /// Room is saved up for this one.
    saving: Option<(usize, Want)>,
    /// Looks until room may be saved up.
    rest: u32,
    /// The same, the next time that it was in vain.
    next_rest: u32,
}

impl Room {
    /// May this disk have `len` bytes more of a buffer of `budget` bytes, to receive a piece? The first one of each
    /// always, as far as this account goes.
    pub(super) fn grants(&self, device: usize, len: u32, budget: u64) -> bool {
        self.may(device, Want::Receive)
            && (self.disks.get(device).is_none_or(|disk| disk.held == 0) || self.has_room(device, len, budget))
    }

    /// The same for a finished piece. The first of these always, too: two that fetch from each other would wait for ever.
    pub(super) fn grants_read(&self, device: usize, len: u32, budget: u64) -> bool {
        self.may(device, Want::Read)
            && (self.disks.get(device).is_none_or(|disk| disk.coming == 0) || self.has_room(device, len, budget))
    }

    /// Nothing is being saved up, or for this one.
    fn may(&self, device: usize, want: Want) -> bool {
        self.saving.is_none_or(|saving| saving == (device, want))
    }

    /// To be called every few seconds while somebody waits: sees to it that nobody waits for ever.
    pub(super) fn look(&mut self) {
        if self.saving.take().is_some() {
            self.next_rest = (self.next_rest * 2).clamp(1, MAX_REST);
            self.rest = self.next_rest;
        } else if self.rest > 0 {
            self.rest -= 1;
        } else {
            let wants = [Want::Receive, Want::Read];
            let mut all = (0..).zip(&self.disks).flat_map(|(device, disk)| wants.map(|want| (device, want, disk)));
            self.saving = all.find_map(|(device, want, disk)| disk.starves(want).then_some((device, want)));
        }
        for disk in &mut self.disks {
            disk.seen = [disk.first(Want::Receive), disk.first(Want::Read)];
        }
    }

    /// Something was granted. If it was saved up for, others get their turn.
    fn granted(&mut self, device: usize, want: Want) {
        if self.saving == Some((device, want)) {
            self.saving = None;
            self.next_rest = 0;
        }
    }

    fn has_room(&self, device: usize, len: u32, budget: u64) -> bool {
        let held = self.disks.get(device).map_or(0, Disk::all);
        let all = self.disks.iter().fold(u64::from(len), |all, disk| all.saturating_add(disk.all()));
        held.saturating_add(u64::from(len)) <= budget.saturating_sub(all).saturating_mul(SHARE)
    }

    /// The disk has `len` bytes more.
    pub(super) fn take(&mut self, device: usize, len: u32) {
        self.granted(device, Want::Receive);
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
        self.granted(device, Want::Read);
        let disk = self.disk(device);
        disk.coming = disk.coming.saturating_add(u64::from(len));
    }

    /// A finished piece of `len` bytes is on its way no more.
    pub(super) fn give_back_read(&mut self, device: usize, len: u32) {
        let disk = self.disk(device);
        disk.coming = disk.coming.saturating_sub(u64::from(len));
    }

    /// A piece waits for room.
    pub(super) fn wait(&mut self, device: usize, piece: Piece) {
        self.disk(device).waiting.push_back(piece);
    }

    /// The piece that waits first on this disk, which does not wait any more.
    pub(super) fn next(&mut self, device: usize) -> Option<Piece> {
        self.disk(device).waiting.pop_front()
    }

    /// A piece that was first and had no luck is first again.
    pub(super) fn put_back(&mut self, device: usize, piece: Piece) {
        self.disk(device).waiting.push_front(piece);
    }

    /// A finished piece waits for room.
    pub(super) fn wait_to_read(&mut self, device: usize, piece: Piece) {
        self.disk(device).waiting_reads.push_back(piece);
    }

    /// The finished piece that waits first on this disk. It goes on waiting until [`Self::drop_read`].
    pub(super) fn first_read(&self, device: usize) -> Option<Piece> {
        self.disks.get(device).and_then(|disk| disk.waiting_reads.front().copied())
    }

    /// The finished piece that waited first on this disk waits no more.
    pub(super) fn drop_read(&mut self, device: usize) {
        self.disk(device).waiting_reads.pop_front();
    }

    /// Forgets finished pieces that wait.
    pub(super) fn retain_reads(&mut self, keep: impl Fn(&Piece) -> bool) {
        self.disks.iter_mut().for_each(|disk| disk.waiting_reads.retain(&keep));
    }

    /// Disks on which finished pieces wait.
    pub(super) fn wanted_reads(&self) -> Vec<usize> {
        (0..self.disks.len()).filter(|device| self.first_read(*device).is_some()).collect()
    }

    /// Forgets waiting pieces.
    pub(super) fn retain(&mut self, keep: impl Fn(&Piece) -> bool) {
        self.disks.iter_mut().for_each(|disk| disk.waiting.retain(&keep));
    }

    /// True if a piece waits on this disk.
    pub(super) fn is_wanted(&self, device: usize) -> bool {
        self.disks.get(device).is_some_and(|disk| !disk.waiting.is_empty())
    }

    /// True if nobody waits to receive.
    pub(super) fn is_enough(&self) -> bool {
        self.disks.iter().all(|disk| disk.waiting.is_empty())
    }

    /// Disks on which somebody waits; the one that holds least comes first.
    pub(super) fn wanted(&self) -> Vec<usize> {
        let waiting = self.disks.iter().enumerate().filter(|(_, disk)| !disk.waiting.is_empty());
        let mut wanted: Vec<(u64, usize)> = waiting.map(|(device, disk)| (disk.held, device)).collect();
        wanted.sort_unstable();
        wanted.into_iter().map(|(_, device)| device).collect()
    }

    fn disk(&mut self, device: usize) -> &mut Disk {
        if self.disks.len() <= device {
            self.disks.resize_with(device + 1, Disk::default);
        }
        #[expect(clippy::indexing_slicing, reason = "made long enough just above")]
        &mut self.disks[device]
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

    /// Looks, and then as much as there is for small pieces of disk 1; how many it got.
    fn look_and_fill(room: &mut Room) -> usize {
        room.look();
        fill(room, 1)
    }

    #[test]
    fn a_large_piece_gets_room_beside_small_ones_of_another_disk() {
        let mut room = Room::default();
        let piece = (TorrentKey(1), Geometry::new(100, 10).unwrap().piece(0).unwrap());
        assert_eq!(fill(&mut room, 1), 30);
        room.wait(0, piece);
        room.give_back(1, 10);
        assert_eq!(look_and_fill(&mut room), 1, "it may have come a moment ago");
        room.give_back(1, 10);
        assert_eq!(look_and_fill(&mut room), 0, "it has waited through a look");
        room.give_back(1, 290);
        assert!(room.grants(0, 290, 400) && !room.grants(1, 10, 400) && !room.grants_read(1, 10, 400));
        assert_eq!(room.next(0), Some(piece));
        room.take(0, 290);
        assert!(room.grants(1, 10, 400) && room.grants_read(1, 10, 400));
    }

    #[test]
    fn a_large_finished_piece_gets_room_as_well() {
        let mut room = Room::default();
        let piece = (TorrentKey(1), Geometry::new(100, 10).unwrap().piece(0).unwrap());
        room.wait_to_read(0, piece);
        room.look();
        room.look();
        assert!(room.grants_read(0, 290, 400) && !room.grants(1, 10, 400));
        room.take_read(0, 290);
        assert!(room.grants(1, 10, 400));
    }

    #[test]
    fn room_that_never_comes_is_saved_up_for_more_and_more_rarely() {
        let mut room = Room::default();
        let piece = (TorrentKey(1), Geometry::new(100, 10).unwrap().piece(0).unwrap());
        room.take(1, 10); // Never to be given back.
        room.wait(0, piece);
        room.look();
        let saved: Vec<bool> = (0..30)
            .map(|_| {
                room.look();
                !room.grants(2, 10, 400)
            })
            .collect();
        let at: Vec<usize> = saved.iter().enumerate().filter(|(_, saved)| **saved).map(|(nth, _)| nth).collect();
        assert_eq!(at, [0, 3, 7, 13, 23]);
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
