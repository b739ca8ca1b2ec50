//! Room in the piece buffer for pieces to be received: how much of it one disk may hold, and who waits for more.
//!
//! A slow disk gives back what it got much later than a fast one, and a hung one never does: without a limit it would end
//! up with everything, and the others with nothing. A disk may hold as long as that is less than three times what is free
//! then (the dynamic threshold of A. Choudhury and E. Hahne, 1998, for queues that share the memory of a switch). One alone
//! gets three quarters; some is always left for one that comes later; nobody has to know how many there are.
//!
//! On one disk pieces get room in the order in which they asked, but smaller ones pass those that have to wait: one large
//! piece does not stop everything else. It might never find enough free at a time, though, if small ones take what there is
//! as soon as it is given back. So room is saved up for a piece that was first from one look to the next: no other of its
//! disk gets any until that piece has it, or until a later look. If its disk has nothing at all, those of other disks do
//! not either, until the next look. What a hung disk has never comes back, so saving up in vain is done more and more
//! rarely.

use std::collections::VecDeque;

use crate::types::{PieceIndex, TorrentKey, sort};

/// What a disk may hold, in parts of what is free.
const SHARE: u64 = 3;

/// Looks after which room is saved up again, at most, if that was in vain.
const MAX_REST: u32 = 64;

/// Looks for which others on the same disk make way for its first piece, at most. It begins with one; a piece as large as
/// the whole buffer needs what they have begun to be finished.
const MAX_SAVE: u32 = 8;

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
    /// Pieces that wait for room, with their lengths, in this order.
    waiting: VecDeque<(Piece, u32)>,
    /// Finished pieces that wait for room, to be served.
    waiting_reads: VecDeque<Piece>,
    /// Who waited first at the last look.
    seen: [Option<Piece>; 2],
    /// Looks for which room is still saved up for the first piece, as far as others of this disk go.
    saving: u32,
    rest: Rest,
}

/// How long nothing is saved up after that was in vain: longer each time.
#[derive(Debug, Default)]
struct Rest {
    /// Looks that are left of it.
    left: u32,
    /// Looks that it took, the last time.
    len: u32,
}

impl Rest {
    fn begin(&mut self) {
        self.len = (self.len * 2).clamp(1, MAX_REST);
        self.left = self.len;
    }

    /// To be asked once a look.
    fn is_over(&mut self) -> bool {
        let is_over = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_over
    }
}

impl Disk {
    fn all(&self) -> u64 {
        self.held.saturating_add(self.coming)
    }

    fn first(&self, want: Want) -> Option<Piece> {
        match want {
            Want::Receive => self.waiting.front().map(|(piece, _)| *piece),
            Want::Read => self.waiting_reads.front().copied(),
        }
    }

    /// The same piece waits first as at the last look.
    fn still_waits(&self, want: Want) -> bool {
        let seen = self.seen.get(want as usize).copied().flatten();
        seen.is_some() && seen == self.first(want)
    }

    /// Has nothing of this kind, and the same piece waits for it as at the last look.
    fn starves(&self, want: Want) -> bool {
        let has = if want == Want::Receive { self.held } else { self.coming };
        has == 0 && self.still_waits(want)
    }

    /// Sees to it that smaller pieces do not pass the first one for ever.
    fn look(&mut self) {
        if self.saving > 0 {
            self.saving -= 1;
            if self.saving == 0 {
                self.rest.begin();
            }
        } else if self.rest.is_over() && self.still_waits(Want::Receive) {
            self.saving = (self.rest.len * 2).clamp(1, MAX_SAVE);
        }
        self.seen = [self.first(Want::Receive), self.first(Want::Read)];
    }
}

/// The account by disks.
#[derive(Debug, Default)]
pub(super) struct Room {
    disks: Vec<Disk>,
    /// Room is saved up for this one.
    saving: Option<(usize, Want)>,
    rest: Rest,
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
            self.rest.begin();
        } else if self.rest.is_over() {
            let wants = [Want::Receive, Want::Read];
            let mut all = (0..).zip(&self.disks).flat_map(|(device, disk)| wants.map(|want| (device, want, disk)));
            self.saving = all.find_map(|(device, want, disk)| disk.starves(want).then_some((device, want)));
        }
        self.disks.iter_mut().for_each(Disk::look);
    }

    /// Something was granted. If it was saved up for, others get their turn.
    fn granted(&mut self, device: usize, want: Want) {
        if self.saving == Some((device, want)) {
            (self.saving, self.rest) = (None, Rest::default());
        }
    }

    /// Whoever room was saved up for waits no more: others get their turn.
    fn saving_ends(&mut self) {
        for disk in &mut self.disks {
            if !disk.still_waits(Want::Receive) {
                disk.saving = 0;
            }
        }
        let waits = |(device, want): (usize, Want)| self.disks.get(device).is_some_and(|disk| disk.still_waits(want));
        self.saving = self.saving.filter(|saving| waits(*saving));
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

    /// A piece of `len` bytes waits for room.
    pub(super) fn wait(&mut self, device: usize, piece: Piece, len: u32) {
        self.disk(device).waiting.push_back((piece, len));
    }

    /// True if a piece of `len` bytes need not wait behind others on this disk: there are none, or it is smaller than all
    /// of them and room is saved up for none.
    pub(super) fn passes(&self, device: usize, len: u32) -> bool {
        let Some(disk) = self.disks.get(device) else { return true };
        disk.waiting.is_empty() || !self.saves(device) && disk.waiting.iter().all(|(_, waiting)| len < *waiting)
    }

    /// The piece of less than `below` bytes that waits first on this disk, and its length. It goes on waiting until
    /// [`Self::drop_waiting`].
    pub(super) fn next(&self, device: usize, below: u32) -> Option<(Piece, u32)> {
        let candidates = if self.saves(device) { 1 } else { usize::MAX };
        let waiting = self.disks.get(device)?.waiting.iter().take(candidates);
        waiting.copied().find(|(_, len)| *len < below)
    }

    /// This piece has room, or is not wanted any more. If it was the first, the next one's patience begins anew.
    pub(super) fn drop_waiting(&mut self, device: usize, piece: Piece) {
        let disk = self.disk(device);
        let Some(at) = disk.waiting.iter().position(|(waiting, _)| *waiting == piece) else { return };
        disk.waiting.remove(at);
        if at == 0 {
            (disk.saving, disk.rest) = (0, Rest::default());
        }
    }

    /// Room is saved up for the first piece to be received on this disk: no other of it may have any.
    fn saves(&self, device: usize) -> bool {
        self.saving == Some((device, Want::Receive)) || self.disks.get(device).is_some_and(|disk| disk.saving > 0)
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
        self.saving_ends();
    }

    /// Disks on which finished pieces wait.
    pub(super) fn wanted_reads(&self) -> Vec<usize> {
        (0..self.disks.len()).filter(|device| self.first_read(*device).is_some()).collect()
    }

    /// Forgets waiting pieces.
    pub(super) fn retain(&mut self, keep: impl Fn(&Piece) -> bool) {
        self.disks.iter_mut().for_each(|disk| disk.waiting.retain(|(piece, _)| keep(piece)));
        self.saving_ends();
    }

    /// True if nobody waits to receive.
    pub(super) fn is_enough(&self) -> bool {
        self.disks.iter().all(|disk| disk.waiting.is_empty())
    }

    /// Disks on which somebody waits; the one that holds least comes first.
    pub(super) fn wanted(&self) -> Vec<usize> {
        let waiting = self.disks.iter().enumerate().filter(|(_, disk)| !disk.waiting.is_empty());
        let mut wanted: Vec<(u64, usize)> = waiting.map(|(device, disk)| (disk.held, device)).collect();
        sort(&mut wanted);
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
        room.wait(0, piece, 290);
        room.give_back(1, 10);
        assert_eq!(look_and_fill(&mut room), 1, "it may have come a moment ago");
        room.give_back(1, 10);
        assert_eq!(look_and_fill(&mut room), 0, "it has waited through a look");
        room.give_back(1, 290);
        assert!(room.grants(0, 290, 400) && !room.grants(1, 10, 400) && !room.grants_read(1, 10, 400));
        room.take(0, 290);
        room.drop_waiting(0, piece);
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
        room.wait(0, piece, 290);
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
        [0, 1, 2].into_iter().for_each(|device| room.wait(device, piece, 10));
        assert_eq!(room.wanted(), [1, 2, 0]);
        assert_eq!(room.next(1, 11), Some((piece, 10)));
        room.drop_waiting(1, piece);
        assert_eq!(room.wanted(), [2, 0]);
        room.retain(|(torrent, _)| *torrent != TorrentKey(1));
        assert!(room.is_enough());
    }

    /// Piece `index` of a torrent.
    fn piece(index: u32) -> Piece {
        (TorrentKey(1), Geometry::new(100, 10).unwrap().piece(index).unwrap())
    }

    #[test]
    fn smaller_pieces_pass_a_large_one_of_their_disk_and_make_way_for_it_at_times() {
        let mut room = Room::default();
        room.wait(0, piece(0), 200);
        room.wait(0, piece(1), 10);
        room.wait(0, piece(2), 10);
        assert_eq!(room.next(0, u32::MAX), Some((piece(0), 200)), "in order");
        assert_eq!(room.next(0, 200), Some((piece(1), 10)), "if there is no room for that");
        assert!(room.passes(0, 9) && !room.passes(0, 10), "new ones that are as large wait behind");
        room.look();
        assert_eq!(room.next(0, 200), Some((piece(1), 10)), "it may have come a moment ago");
        room.take(0, 10);
        room.drop_waiting(0, piece(1));
        room.look();
        assert_eq!((room.next(0, 200), room.passes(0, 9)), (None, false), "it has waited through a look");
        assert_eq!(room.next(0, u32::MAX), Some((piece(0), 200)));
        assert!(room.grants(1, 10, 400), "other disks are not concerned");
        room.take(0, 200);
        room.drop_waiting(0, piece(0));
        assert_eq!(room.next(0, 200), Some((piece(2), 10)), "it has its room");
    }

    #[test]
    fn smaller_pieces_make_way_for_one_that_finds_no_room_longer_each_time_and_more_and_more_rarely() {
        let mut room = Room::default();
        room.take(0, 10); // Never to be given back.
        room.wait(0, piece(0), 400);
        let saved: Vec<bool> = (0..60)
            .map(|_| {
                room.look();
                !room.passes(0, 10)
            })
            .collect();
        let lengths: Vec<(bool, usize)> = saved.chunk_by(|a, b| a == b).map(|turn| (turn[0], turn.len())).collect();
        let most = [(false, 1), (true, 1), (false, 2), (true, 2), (false, 3), (true, 4), (false, 5), (true, 8)];
        assert_eq!(lengths[..8], most);
        assert_eq!(lengths[8..10], [(false, 9), (true, 8)]);
    }

    #[test]
    fn room_is_not_saved_up_for_a_piece_that_waits_no_more() {
        for want in [Want::Receive, Want::Read] {
            let mut room = Room::default();
            match want {
                Want::Receive => room.wait(0, piece(0), 290),
                Want::Read => room.wait_to_read(0, piece(0)),
            }
            room.look();
            room.look();
            assert!(!room.grants(1, 10, 400));
            match want {
                Want::Receive => room.retain(|waiting| *waiting != piece(0)),
                Want::Read => room.retain_reads(|waiting| *waiting != piece(0)),
            }
            assert!(room.grants(1, 10, 400));
        }
    }
}
