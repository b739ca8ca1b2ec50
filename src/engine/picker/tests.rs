//! Tests of the picker alone: order of pieces, pipelining over windows, endgame, and that its counters never drift.

#![allow(clippy::disallowed_methods)]

use proptest::prelude::{any, prop, proptest};

use super::*;

const BLOCKS: u32 = 4;

fn geometry(pieces: u32) -> Geometry {
    Geometry::new(u64::from(pieces * BLOCKS) * 16_384, u64::from(BLOCKS) * 16_384).unwrap()
}

fn key(slot: u32) -> PeerKey {
    PeerKey { slot, generation: 0 }
}

fn never(_: Block) -> bool {
    false
}

/// A picker with its clock, and peers that are only a number and a bitfield.
struct Desk {
    picker: Picker,
    geometry: Geometry,
    now: Instant,
}

impl Desk {
    fn new(pieces: u32, have: u32) -> Self {
        let geometry = geometry(pieces);
        let mut had = Bitfield::empty(pieces);
        (0..have).for_each(|raw| assert!(had.insert(geometry.piece(raw).unwrap())));
        Self { picker: Picker::new(geometry, had, 1), geometry, now: Instant::now() }
    }

    fn piece(&self, raw: u32) -> PieceIndex {
        self.geometry.piece(raw).unwrap()
    }

    fn bits(&self, pieces: &[u32]) -> Bitfield {
        let mut bits = Bitfield::empty(self.geometry.piece_count());
        pieces.iter().for_each(|raw| assert!(bits.insert(self.piece(*raw))));
        bits
    }

    fn request<'a>(&self, peer: u32, pieces: &'a Bitfield) -> PickRequest<'a> {
        let useful = count_difference(pieces, self.picker.have());
        PickRequest { now: self.now, peer: key(peer), pieces, useful, allowed: None, already: &never }
    }

    fn start(&mut self, peer: u32, pieces: &Bitfield) -> Option<PieceIndex> {
        let request = self.request(peer, pieces);
        self.picker.start(&request)
    }

    fn open(&mut self, peer: u32, pieces: &Bitfield) -> PieceIndex {
        let piece = self.start(peer, pieces).unwrap();
        assert!(self.picker.opened(piece));
        piece
    }

    fn pick(&mut self, peer: u32, pieces: &Bitfield, count: usize) -> Vec<Block> {
        let request = self.request(peer, pieces);
        let mut out = Vec::new();
        self.picker.pick(&request, count, &mut None, &mut out);
        out
    }

    fn receive(&mut self, peer: u32, block: Block) -> Received {
        self.picker.received(self.now, block, key(peer))
    }
}

#[test]
fn the_rarest_piece_is_started_first_once_a_few_are_there() {
    let mut desk = Desk::new(100, RANDOM_FIRST_PIECES);
    let all = Bitfield::full(100);
    desk.picker.add_peer(&all);
    let common: Vec<u32> = (0..100).filter(|raw| *raw != 70 && *raw != 50).collect();
    desk.picker.add_peer(&desk.bits(&common));
    desk.picker.add_peer(&desk.bits(&common));
    desk.picker.add_copy(desk.piece(50));
    assert_eq!(desk.picker.rarest_copies(), 1);
    assert_eq!(desk.start(1, &all), Some(desk.piece(70)));
    assert_eq!(desk.start(1, &all), Some(desk.piece(50)));
}

#[test]
fn a_peer_with_few_useful_pieces_gets_the_rarest_of_those() {
    let mut desk = Desk::new(100, RANDOM_FIRST_PIECES);
    let few = desk.bits(&[1, 20, 40, 60]);
    desk.picker.add_peer(&few);
    desk.picker.add_peer(&desk.bits(&[20, 60, 70, 80]));
    assert!(desk.picker.rarity.len() > FEW_PIECES);
    assert_eq!(desk.start(1, &few), Some(desk.piece(40)));
    let next = [desk.start(1, &few), desk.start(1, &few)];
    assert!(next.contains(&Some(desk.piece(20))) && next.contains(&Some(desk.piece(60))), "{next:?}");
    assert_eq!(desk.start(1, &few), None);
}

#[test]
fn the_first_pieces_are_random() {
    let first = |seed| {
        let geometry = geometry(1000);
        let mut picker = Picker::new(geometry, Bitfield::empty(1000), seed);
        let all = Bitfield::full(1000);
        picker.add_peer(&all);
        picker.add_copy(geometry.piece(7).unwrap());
        let now = Instant::now();
        let request = PickRequest { now, peer: key(1), pieces: &all, useful: 1000, allowed: None, already: &never };
        picker.start(&request).unwrap()
    };
    assert_eq!(first(1), first(1));
    let mut different: Vec<PieceIndex> = (0..20).map(first).collect();
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 15);
}

#[test]
fn blocks_come_only_from_open_windows_and_started_pieces_come_first() {
    let mut desk = Desk::new(10, 5);
    let all = Bitfield::full(10);
    desk.picker.add_peer(&all);
    let first = desk.start(1, &all).unwrap();
    assert_eq!(desk.pick(1, &all, 10), []);
    assert_eq!(desk.picker.coming_for(&desk.request(1, &all)), BLOCKS);
    assert!(desk.picker.opened(first));
    assert!(!desk.picker.opened(first), "only once");
    let two = desk.pick(1, &all, 2);
    assert!(two.iter().all(|block| block.piece() == first));
    let second = desk.open(1, &all);
    // Another peer finishes the first piece before it begins the second.
    let more: Vec<PieceIndex> = desk.pick(2, &all, 10).into_iter().map(Block::piece).collect();
    assert_eq!(more, [first, first, second, second, second, second]);
}

#[test]
fn allowed_pieces_limit_what_is_picked_and_started() {
    let mut desk = Desk::new(10, 5);
    let all = Bitfield::full(10);
    desk.picker.add_peer(&all);
    let allowed = [desk.piece(8)];
    let request = PickRequest { allowed: Some(&allowed), ..desk.request(1, &all) };
    assert_eq!(desk.picker.start(&request), Some(allowed[0]));
    assert_eq!(desk.picker.start(&request), None);
}

#[test]
fn a_piece_is_complete_when_its_last_block_comes() {
    let mut desk = Desk::new(10, 5);
    let all = Bitfield::full(10);
    desk.picker.add_peer(&all);
    let piece = desk.open(1, &all);
    let blocks = desk.pick(1, &all, 4);
    for block in &blocks[..3] {
        assert_eq!(desk.receive(1, *block), Received::Stored { complete: false, contended: false });
        assert_eq!(desk.receive(1, *block), Received::Useless, "the second time");
    }
    let odd = desk.geometry.check_block(piece.get(), blocks[3].begin(), 100).unwrap();
    assert_eq!(desk.receive(1, odd), Received::Useless, "not a block that is ever asked for");
    assert_eq!(desk.receive(2, blocks[3]), Received::Stored { complete: true, contended: false });
    assert!(desk.picker.is_verifying(piece));
    assert_eq!(desk.picker.senders(piece), [key(1), key(1), key(1), key(2)]);
    desk.picker.good(piece);
    assert!(desk.picker.have().contains(piece));
    assert_eq!(desk.picker.open_bytes(), 0);
}

#[test]
fn the_endgame_begins_when_everything_is_asked_for_and_asks_few() {
    let mut desk = Desk::new(6, 4);
    let all = Bitfield::full(6);
    desk.picker.add_peer(&all);
    desk.open(1, &all);
    assert_eq!(desk.pick(1, &all, 100).len(), 4);
    assert!(!desk.picker.is_endgame(), "one piece is not started");
    assert_eq!(desk.pick(2, &all, 100), []);
    desk.open(1, &all);
    assert_eq!(desk.pick(1, &all, 100).len(), 4);
    assert!(desk.picker.is_endgame());
    assert_eq!(desk.pick(2, &all, 3).len(), 3);
    assert_eq!(desk.pick(3, &all, 100).len(), 8, "those nobody else was asked for twice first");
    let copies: usize = (4..20).map(|peer| desk.pick(peer, &all, 100).len()).sum();
    assert_eq!(copies, 8 * usize::from(ENDGAME_COPIES) - 8 - 3 - 8);
}

#[test]
fn a_peer_is_not_asked_again_for_what_it_is_late_with() {
    let mut desk = Desk::new(6, 5);
    let all = Bitfield::full(6);
    desk.picker.add_peer(&all);
    desk.open(1, &all);
    let blocks = desk.pick(1, &all, 100);
    desk.picker.release_late(blocks[1]);
    let late = blocks[1];
    let already = move |block| block == late;
    let request = PickRequest { already: &already, ..desk.request(1, &all) };
    let mut out = Vec::new();
    desk.picker.pick(&request, 10, &mut None, &mut out);
    assert_eq!(out, []);
    assert_eq!(desk.pick(2, &all, 1), [late]);
    assert_eq!(desk.receive(1, late), Received::Stored { complete: false, contended: true });
}

#[test]
fn a_failed_piece_is_one_peers_task() {
    let mut desk = Desk::new(6, 5);
    let all = Bitfield::full(6);
    desk.picker.add_peer(&all);
    let piece = desk.open(1, &all);
    for block in desk.pick(1, &all, 100) {
        desk.receive(block.begin() % 3, block);
    }
    desk.picker.retry(piece, None);
    let first = desk.pick(2, &all, 1);
    assert_eq!(first.len(), 1);
    assert_eq!(desk.pick(1, &all, 100), [], "it is peer 2's now");
    assert_eq!(desk.receive(1, first[0]), Received::Useless);
    desk.picker.release(first[0]);
    desk.picker.give_up_parole(key(2));
    assert_eq!(desk.pick(1, &all, 100).len(), 4);
}

#[test]
fn what_a_liar_sent_is_free_again() {
    let mut desk = Desk::new(6, 5);
    let all = Bitfield::full(6);
    desk.picker.add_peer(&all);
    desk.open(1, &all);
    let blocks = desk.pick(1, &all, 3);
    desk.receive(1, blocks[0]);
    desk.receive(2, blocks[1]);
    desk.picker.discard_from(key(1));
    assert_eq!(desk.pick(3, &all, 100), [blocks[0], desk.geometry.block(blocks[0].piece(), 3).unwrap()]);
}

#[test]
fn an_idle_piece_can_be_given_up_for_another() {
    let mut desk = Desk::new(10, 5);
    let all = Bitfield::full(10);
    desk.picker.add_peer(&all);
    let piece = desk.open(1, &all);
    let block = desk.pick(1, &all, 1)[0];
    let later = desk.now + IDLE_PIECE;
    assert_eq!(desk.picker.idle_piece(later), None, "somebody is asked");
    desk.picker.release(block);
    assert_eq!(desk.picker.idle_piece(desk.now), None, "too soon");
    assert_eq!(desk.picker.idle_piece(later), Some(piece));
    assert!(desk.picker.abandon(piece));
    assert_eq!((desk.picker.open_bytes(), desk.picker.free_blocks()), (0, 0));
    assert_eq!(desk.picker.rarity.len(), 5);
}

proptest! {
    #[test]
    fn counters_never_drift(steps in prop::collection::vec((0..8_u8, 0..3_u32, any::<u8>()), 0..300)) {
        let mut desk = Desk::new(12, 0);
        let all = Bitfield::full(12);
        desk.picker.add_peer(&all);
        let mut asked: Vec<(u32, Block)> = Vec::new();
        for (what, peer, n) in steps {
            let piece = desk.piece(u32::from(n) % 12);
            match what {
                0 => drop(desk.start(peer, &all)),
                1 => drop(desk.picker.opened(piece)),
                2 => asked.extend(desk.pick(peer, &all, usize::from(n % 6)).into_iter().map(|block| (peer, block))),
                3 | 4 if !asked.is_empty() => {
                    let (peer, block) = asked.swap_remove(usize::from(n) % asked.len());
                    desk.receive(peer, block);
                }
                5 if !asked.is_empty() => desk.picker.release_late(asked.swap_remove(usize::from(n) % asked.len()).1),
                6 if desk.picker.is_verifying(piece) => match n % 2 {
                    0 => desk.picker.good(piece),
                    _ => desk.picker.retry(piece, None),
                },
                7 if n < 20 => {
                    asked.retain(|(_, block)| block.piece() != piece);
                    desk.picker.abandon(piece);
                }
                _ => {}
            }
            check(&desk.picker);
        }
    }
}

fn check(picker: &Picker) {
    let free = |phase| picker.partials.values().filter(|p| p.phase == phase).map(Partial::free).sum::<u32>();
    assert_eq!(picker.free_open, free(Phase::Open));
    assert_eq!(picker.free_opening, free(Phase::Opening));
    let listed = picker.rarity.len();
    assert_eq!(listed + picker.have.count_ones() + u32::try_from(picker.partials.len()).unwrap(), 12);
    let bytes: u64 = picker.partials.keys().map(|piece| u64::from(picker.geometry.piece_len(*piece))).sum();
    assert_eq!(picker.open_bytes, bytes);
    for partial in picker.partials.values() {
        let states: Vec<BlockState> = (0..BLOCKS).filter_map(|number| partial.state(number)).collect();
        let count = |test: fn(&BlockState) -> bool| u32::try_from(states.iter().filter(|s| test(s)).count()).unwrap();
        assert_eq!(partial.free(), count(|state| *state == BlockState::Free));
        assert_eq!(partial.asked(), count(|state| matches!(state, BlockState::Asked(_))));
        assert_eq!(partial.here(), count(|state| matches!(state, BlockState::Here(_))));
    }
}
