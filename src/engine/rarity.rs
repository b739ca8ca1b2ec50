//! Keeps the pieces that may still be started in order of how many peers have them, rarest first, ties at random.
//!
//! A counting sort that is kept up to date: one array of pieces sorted by availability, the place of each piece in it,
//! and where each availability ends. One more or one less copy of a piece moves it over one border, a constant number
//! of swaps. Peers that have everything are counted in one number and move nothing. Owned by the picker.

use fastrand::Rng;

use crate::types::{Geometry, PieceIndex};

/// Place of a piece that is not listed.
const ABSENT: u32 = u32::MAX;

/// The listed pieces in order of availability.
#[derive(Debug)]
pub(super) struct Rarity {
    /// Copies of each piece among the peers that are not counted in `seeds`.
    copies: Vec<u16>,
    /// Peers that have every piece.
    seeds: u32,
    /// Listed pieces, rarest first.
    order: Vec<PieceIndex>,
    /// Where each piece stands in `order`, or [`ABSENT`].
    place: Vec<u32>,
    /// Entry `n`: where the pieces with at most `n` copies end in `order`. The last one is the length of `order`.
    ends: Vec<u32>,
}

impl Rarity {
    /// Lists the pieces for which `listed` says so, in random order.
    pub fn new(geometry: &Geometry, rng: &mut Rng, listed: impl Fn(PieceIndex) -> bool) -> Self {
        let count = geometry.piece_count() as usize;
        let mut order: Vec<PieceIndex> = geometry.pieces().filter(|piece| listed(*piece)).collect();
        rng.shuffle(&mut order);
        let mut place = vec![ABSENT; count];
        for (at, piece) in (0..).zip(&order) {
            set(&mut place, piece.as_usize(), at);
        }
        let ends = vec![len_u32(&order)];
        Self { copies: vec![0; count], seeds: 0, order, place, ends }
    }

    /// Number of listed pieces.
    pub fn len(&self) -> u32 {
        len_u32(&self.order)
    }

    /// The listed pieces, rarest first.
    pub fn order(&self) -> &[PieceIndex] {
        &self.order
    }

    /// Copies of the piece among the connected peers.
    pub fn copies(&self, piece: PieceIndex) -> u32 {
        self.seeds + u32::from(self.own_copies(piece))
    }

    /// True if some connected peer has some listed piece.
    pub fn any_available(&self) -> bool {
        let unavailable = if self.seeds > 0 { 0 } else { self.ends.first().copied().unwrap_or(0) };
        unavailable < self.len()
    }

    /// A peer with every piece came.
    pub fn seed_joined(&mut self) {
        self.seeds += 1;
    }

    /// A peer that was counted by [`Self::seed_joined`] went.
    pub fn seed_left(&mut self) {
        self.seeds = self.seeds.saturating_sub(1);
    }

    /// One more copy.
    pub fn add_copy(&mut self, piece: PieceIndex, rng: &mut Rng) {
        let copies = self.own_copies(piece);
        let Some(more) = copies.checked_add(1) else { return };
        if let Some(entry) = self.copies.get_mut(piece.as_usize()) {
            *entry = more;
        }
        if let Some(at) = self.listed_at(piece) {
            self.reach(more);
            let border = self.end(copies).saturating_sub(1);
            self.swap(at, border);
            set(&mut self.ends, usize::from(copies), border);
            self.mix(border, more, rng);
        }
    }

    /// One copy less.
    pub fn remove_copy(&mut self, piece: PieceIndex, rng: &mut Rng) {
        let copies = self.own_copies(piece);
        let Some(less) = copies.checked_sub(1) else { return };
        if let Some(entry) = self.copies.get_mut(piece.as_usize()) {
            *entry = less;
        }
        if let Some(at) = self.listed_at(piece) {
            let border = self.end(less);
            self.swap(at, border);
            set(&mut self.ends, usize::from(less), border + 1);
            self.mix(border, less, rng);
        }
    }

    /// Takes a piece off the list. False if it was not on it.
    pub fn unlist(&mut self, piece: PieceIndex) -> bool {
        let Some(mut at) = self.listed_at(piece) else { return false };
        // The gap goes up border by border until it is the last place.
        for copies in self.own_copies(piece)..self.buckets() {
            let last = self.end(copies).saturating_sub(1);
            self.swap(at, last);
            set(&mut self.ends, usize::from(copies), last);
            at = last;
        }
        self.order.pop();
        set(&mut self.place, piece.as_usize(), ABSENT);
        true
    }

    /// Puts a piece on the list again.
    pub fn list(&mut self, piece: PieceIndex, rng: &mut Rng) {
        if self.listed_at(piece).is_some() || piece.as_usize() >= self.place.len() {
            return;
        }
        let copies = self.own_copies(piece);
        self.reach(copies);
        let mut at = self.len();
        self.order.push(piece);
        set(&mut self.place, piece.as_usize(), at);
        // The reverse of `unlist`: the new last place goes down border by border.
        for bucket in (copies..self.buckets()).rev() {
            let end = self.end(bucket);
            set(&mut self.ends, usize::from(bucket), end + 1);
            let first = bucket.checked_sub(1).map_or(0, |below| self.end(below));
            if bucket > copies {
                self.swap(at, first);
                at = first;
            }
        }
        self.mix(at, copies, rng);
    }

    /// Swaps a piece that is new among those with `copies` copies with any of them, so that ties stay random.
    fn mix(&mut self, at: u32, copies: u16, rng: &mut Rng) {
        let first = copies.checked_sub(1).map_or(0, |below| self.end(below));
        let end = self.end(copies);
        if end > first + 1 {
            self.swap(at, rng.u32(first..end));
        }
    }

    fn own_copies(&self, piece: PieceIndex) -> u16 {
        self.copies.get(piece.as_usize()).copied().unwrap_or(0)
    }

    fn listed_at(&self, piece: PieceIndex) -> Option<u32> {
        self.place.get(piece.as_usize()).copied().filter(|at| *at != ABSENT)
    }

    /// Where the pieces with `copies` copies end.
    fn end(&self, copies: u16) -> u32 {
        self.ends.get(usize::from(copies)).copied().unwrap_or_else(|| self.len())
    }

    fn buckets(&self) -> u16 {
        u16::try_from(self.ends.len()).unwrap_or(u16::MAX)
    }

    /// Makes sure that there is an end for `copies`.
    fn reach(&mut self, copies: u16) {
        let len = self.len();
        while self.ends.len() <= usize::from(copies) {
            self.ends.push(len);
        }
    }

    fn swap(&mut self, a: u32, b: u32) {
        let (a_at, b_at) = (a as usize, b as usize);
        if let (Some(&piece_a), Some(&piece_b)) = (self.order.get(a_at), self.order.get(b_at)) {
            self.order.swap(a_at, b_at);
            set(&mut self.place, piece_a.as_usize(), b);
            set(&mut self.place, piece_b.as_usize(), a);
        }
    }
}

fn set(entries: &mut [u32], at: usize, value: u32) {
    if let Some(entry) = entries.get_mut(at) {
        *entry = value;
    }
}

/// Fits: a torrent has fewer than 2^31 pieces.
fn len_u32(order: &[PieceIndex]) -> u32 {
    u32::try_from(order.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    const PIECES: u32 = 24;

    fn geometry() -> Geometry {
        Geometry::new(u64::from(PIECES) * 16_384, 16_384).unwrap()
    }

    fn check(rarity: &Rarity) {
        let copies: Vec<u16> = rarity.order.iter().map(|p| rarity.own_copies(*p)).collect();
        assert!(copies.is_sorted(), "{copies:?}");
        for (at, piece) in rarity.order.iter().enumerate() {
            assert_eq!(rarity.place[piece.as_usize()] as usize, at);
        }
        for (n, end) in rarity.ends.iter().enumerate() {
            assert_eq!(copies.iter().filter(|c| usize::from(**c) <= n).count(), *end as usize, "copies {n}");
        }
        assert_eq!(rarity.place.iter().filter(|at| **at != ABSENT).count(), rarity.order.len());
    }

    #[test]
    fn rarest_comes_first_and_ties_depend_on_the_seed() {
        let geo = geometry();
        let orders: Vec<Vec<PieceIndex>> = [1, 1, 2]
            .map(|seed| {
                let mut rng = Rng::with_seed(seed);
                let mut rarity = Rarity::new(&geo, &mut rng, |_| true);
                for raw in [3, 4, 5] {
                    rarity.add_copy(geo.piece(raw).unwrap(), &mut rng);
                }
                rarity.add_copy(geo.piece(4).unwrap(), &mut rng);
                assert_eq!(rarity.order().last(), geo.piece(4).as_ref());
                rarity.order().to_vec()
            })
            .into();
        assert_eq!(orders[0], orders[1]);
        assert_ne!(orders[0], orders[2]);
    }

    #[test]
    fn availability_needs_a_copy_of_a_listed_piece() {
        let geo = geometry();
        let mut rng = Rng::with_seed(1);
        let mut rarity = Rarity::new(&geo, &mut rng, |piece| piece.get() > 0);
        rarity.add_copy(geo.piece(0).unwrap(), &mut rng);
        assert!(!rarity.any_available());
        rarity.seed_joined();
        assert!(rarity.any_available());
        assert_eq!(rarity.copies(geo.piece(0).unwrap()), 2);
        rarity.seed_left();
        rarity.add_copy(geo.piece(1).unwrap(), &mut rng);
        assert!(rarity.any_available());
        assert!(rarity.unlist(geo.piece(1).unwrap()));
        assert!(!rarity.any_available());
    }

    proptest! {
        #[test]
        fn any_sequence_of_changes_keeps_the_order(steps in prop::collection::vec((0..4_u8, 0..PIECES), 0..200), seed in any::<u64>()) {
            let geo = geometry();
            let mut rng = Rng::with_seed(seed);
            let mut rarity = Rarity::new(&geo, &mut rng, |piece| piece.get() % 3 != 0);
            for (what, raw) in steps {
                let piece = geo.piece(raw).unwrap();
                match what {
                    0 => rarity.add_copy(piece, &mut rng),
                    1 => rarity.remove_copy(piece, &mut rng),
                    2 => drop(rarity.unlist(piece)),
                    _ => rarity.list(piece, &mut rng),
                }
                check(&rarity);
            }
        }
    }
}
