//! One torrent, told exactly what happens and asked exactly what it does. Whole swarms are in `tests/sim_swarm`.

#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

mod room;

use super::*;
use crate::engine::Source;
use crate::proto::peer::{Event, ExtendedHandshake, Features};
use crate::types::{BLOCK_LEN, Block, PieceIndex};

const FAST: Features = Features { fast: true, extended: true, dht: false };
const SLOW: Features = Features { fast: false, extended: false, dht: false };

fn key(slot: u32) -> PeerKey {
    PeerKey { slot, generation: 0 }
}

fn addr(n: u32) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(n).unwrap()], 6881))
}

/// A torrent of pieces with two blocks each, some of them had, and a clock.
struct Bench {
    torrent: Torrent,
    geometry: Geometry,
    now: Instant,
}

impl Bench {
    fn with(pieces: u32, have: &[u32], options: TorrentOptions) -> Self {
        let len = u64::from(2 * BLOCK_LEN);
        let geometry = Geometry::new(len * u64::from(pieces), len).unwrap();
        let mut had = Bitfield::empty(pieces);
        have.iter().for_each(|raw| assert!(had.insert(geometry.piece(*raw).unwrap())));
        let now = Instant::now();
        Self { torrent: Torrent::new(now, options, geometry, had, 1), geometry, now }
    }

    fn new(pieces: u32, have: &[u32]) -> Self {
        Self::with(pieces, have, TorrentOptions::default())
    }

    fn piece(&self, raw: u32) -> PieceIndex {
        self.geometry.piece(raw).unwrap()
    }

    fn block(&self, piece: u32, number: u32) -> Block {
        self.geometry.block(self.piece(piece), number).unwrap()
    }

    fn bits(&self, pieces: &[u32]) -> Bitfield {
        let mut bits = Bitfield::empty(self.geometry.piece_count());
        pieces.iter().for_each(|raw| assert!(bits.insert(self.piece(*raw))));
        bits
    }

    fn wait(&mut self, time: Duration) -> Vec<Action> {
        let end = self.now + time;
        let mut actions = Vec::new();
        while let Some(at) = self.torrent.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.torrent.handle_timeout(at);
            actions.extend(self.actions());
        }
        self.now = end;
        actions
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.torrent.poll_action()).collect()
    }

    fn join(&mut self, slot: u32, features: Features) -> Vec<Action> {
        let id = PeerId::new([u8::try_from(slot).unwrap(); 20]);
        let info = PeerInfo { addr: addr(slot), incoming: true, peer_id: id, features, known: false };
        self.torrent.peer_joined(self.now, key(slot), info);
        self.actions()
    }

    fn say(&mut self, slot: u32, event: &Event<'_>) -> Vec<Action> {
        self.torrent.peer_event(self.now, key(slot), event);
        self.actions()
    }

    /// A peer that has these pieces and does not choke us.
    fn server(&mut self, slot: u32, pieces: &[u32]) -> Vec<Action> {
        self.join(slot, FAST);
        let pieces = self.bits(pieces);
        self.say(slot, &Event::Bitfield(pieces));
        self.say(slot, &Event::Unchoked)
    }

    fn opened(&mut self, piece: u32) -> Vec<Action> {
        self.torrent.window_opened(self.now, self.piece(piece));
        self.actions()
    }

    fn arrive(&mut self, slot: u32, block: Block) -> (BlockVerdict, Vec<Action>) {
        let verdict = self.torrent.block_arrived(self.now, key(slot), block);
        (verdict, self.actions())
    }

    fn verified(&mut self, piece: u32, outcome: PieceOutcome, digests: &[u64]) -> Vec<Action> {
        self.torrent.piece_verified(self.now, self.piece(piece), outcome, digests);
        self.actions()
    }
}

fn send(slot: u32, command: Command) -> Action {
    Action::Send { peer: key(slot), command }
}

fn closed(slot: u32, reason: CloseReason) -> Action {
    Action::Close { peer: key(slot), reason }
}

#[test]
fn a_peer_is_told_what_we_have_and_gets_interest_when_it_has_something_new() {
    let mut bench = Bench::new(4, &[0, 1]);
    let have = bench.bits(&[0, 1]);
    assert_eq!(bench.join(1, FAST), [send(1, Command::Bitfield(have))]);
    let old = bench.bits(&[0]);
    assert_eq!(bench.say(1, &Event::Bitfield(old)), []);
    assert_eq!(bench.say(1, &Event::Have(bench.piece(1))), []);
    assert_eq!(bench.say(1, &Event::Have(bench.piece(2))), [send(1, Command::Interested)]);
    assert_eq!(bench.say(1, &Event::Have(bench.piece(2))), []);
}

#[test]
fn what_nobody_has_is_asked_for_when_a_have_comes() {
    let mut bench = Bench::new(3, &[0, 1]);
    assert_eq!(bench.server(1, &[0, 1]), []);
    bench.wait(Duration::from_secs(5));
    let piece = bench.piece(2);
    assert_eq!(
        bench.say(1, &Event::Have(piece)),
        [send(1, Command::Interested), Action::OpenWindow(piece)],
        "the window first"
    );
    let blocks = [bench.block(2, 0), bench.block(2, 1)];
    assert_eq!(bench.opened(2), blocks.map(|block| send(1, Command::Request(block))));
    assert_eq!(bench.arrive(1, blocks[0]), (BlockVerdict::Store, vec![]));
    assert_eq!(bench.arrive(1, blocks[0]).0, BlockVerdict::Discard);
    let verify = vec![Action::Verify { piece, digests: false }];
    assert_eq!(bench.arrive(1, blocks[1]), (BlockVerdict::Store, verify));
    let done = bench.verified(2, PieceOutcome::Good, &[]);
    assert_eq!(done, [send(1, Command::NotInterested), Action::Completed, closed(1, CloseReason::NothingToShare)]);
    let stats = bench.torrent.stats(bench.now);
    assert!(stats.complete && stats.bytes_left() == 0);
    assert_eq!(stats.wasted, u64::from(BLOCK_LEN));
}

#[test]
fn a_new_piece_is_told_to_all_but_seeds() {
    let mut bench = Bench::new(3, &[0]);
    bench.server(1, &[0, 1]);
    bench.server(2, &[0, 1, 2]);
    bench.join(3, FAST);
    let piece = bench.piece(1);
    bench.opened(1);
    bench.arrive(1, bench.block(1, 0));
    bench.arrive(1, bench.block(1, 1));
    let actions = bench.verified(1, PieceOutcome::Good, &[]);
    let told = [send(1, Command::NotInterested), send(1, Command::Have(piece)), send(3, Command::Have(piece))];
    assert_eq!(actions, told);
}

#[test]
fn requests_are_served_while_unchoked_and_refused_otherwise() {
    let mut bench = Bench::with(3, &[0], TorrentOptions { upload_slots: 1, ..TorrentOptions::default() });
    let block = bench.block(0, 1);
    for (slot, features) in [(1, FAST), (2, FAST), (3, SLOW)] {
        bench.join(slot, features);
    }
    assert_eq!(bench.say(1, &Event::Interested), [send(1, Command::Unchoke)]);
    assert_eq!(bench.say(2, &Event::Interested), [], "no slot is free");
    assert_eq!(bench.say(1, &Event::Requested(block)), [Action::Upload { peer: key(1), block }]);
    let lacking = bench.block(1, 0);
    assert_eq!(bench.say(1, &Event::Requested(lacking)), [send(1, Command::Reject(lacking))]);
    assert_eq!(bench.say(2, &Event::Requested(block)), [send(2, Command::Reject(block))]);
    assert_eq!(bench.say(3, &Event::Requested(block)), [], "it would not understand a reject");
    assert_eq!(bench.say(1, &Event::Cancelled(block)), [Action::CancelUpload { peer: key(1), block }]);
    assert_eq!(bench.say(1, &Event::Cancelled(block)), []);
    assert_eq!(bench.say(1, &Event::NotInterested), [send(2, Command::Unchoke)], "the slot is free");
    let round = bench.wait(Duration::from_secs(10));
    assert!(round.contains(&send(1, Command::Choke)) && round.contains(&Action::DropUploads { peer: key(1) }));
}

#[test]
fn who_goes_on_asking_for_what_it_is_refused_is_sent_away() {
    let mut bench = Bench::with(3, &[0], TorrentOptions { upload_slots: 1, ..TorrentOptions::default() });
    let block = bench.block(0, 1);
    bench.join(1, FAST);
    let refused = (0..5000).take_while(|_| bench.say(1, &Event::Requested(block)) == [send(1, Command::Reject(block))]);
    assert_eq!(refused.count(), 4096);
    assert_eq!(bench.say(1, &Event::Interested), [], "it is gone");

    bench.join(2, FAST);
    bench.say(2, &Event::Interested);
    let lacking = bench.block(1, 0);
    for _ in 0..3 {
        for _ in 0..4000 {
            assert_eq!(bench.say(2, &Event::Requested(lacking)), [send(2, Command::Reject(lacking))]);
        }
        assert_eq!(bench.say(2, &Event::Requested(block)), [Action::Upload { peer: key(2), block }]);
        assert_eq!(bench.say(2, &Event::Cancelled(block)), [Action::CancelUpload { peer: key(2), block }]);
    }
}

#[test]
fn as_many_requests_are_kept_as_are_announced() {
    let mut bench = Bench::with(3, &[0], TorrentOptions { upload_slots: 1, ..TorrentOptions::default() });
    let block = bench.block(0, 1);
    bench.join(1, FAST);
    bench.say(1, &Event::Interested);
    for _ in 0..MAX_UPLOADS {
        assert_eq!(bench.say(1, &Event::Requested(block)), [Action::Upload { peer: key(1), block }]);
    }
    assert_eq!(bench.say(1, &Event::Requested(block)), [send(1, Command::Reject(block))]);
}

#[test]
fn a_choke_frees_the_blocks_for_others() {
    let mut bench = Bench::new(2, &[0]);
    bench.server(1, &[0, 1]);
    bench.opened(1);
    bench.server(2, &[0, 1]);
    let blocks = [bench.block(1, 0), bench.block(1, 1)];
    // Endgame: the second is asked for the same.
    assert_eq!(bench.torrent.stats(bench.now).requested, 4);
    bench.say(1, &Event::Choked);
    bench.say(2, &Event::Choked);
    assert_eq!(bench.say(1, &Event::Unchoked), blocks.map(|block| send(1, Command::Request(block))));
    // What the other one still sends is welcome, and the first one is told.
    let (verdict, actions) = bench.arrive(2, blocks[0]);
    assert_eq!((verdict, actions), (BlockVerdict::Store, vec![send(1, Command::Cancel(blocks[0]))]));
}

#[test]
fn a_peer_that_flutters_between_choke_and_unchoke_is_given_a_rest() {
    let mut bench = Bench::new(2, &[]);
    bench.server(1, &[0, 1]);
    let asks = |actions: &[Action]| {
        actions.iter().filter(|a| matches!(a, Action::Send { command: Command::Request(_), .. })).count()
    };
    let first = asks(&bench.opened(0)) + asks(&bench.opened(1));
    assert!(first > 0);
    let mut again = 0;
    for _ in 0..1000 {
        bench.say(1, &Event::Choked);
        again += asks(&bench.say(1, &Event::Unchoked));
    }
    assert!(again <= 3 * first, "{again}");
    assert!(asks(&bench.wait(Duration::from_secs(3))) >= first, "it gets another chance");
}

#[test]
fn allowed_fast_pieces_are_asked_for_while_choked() {
    let mut bench = Bench::new(4, &[0]);
    bench.join(1, FAST);
    let all = Bitfield::full(4);
    assert_eq!(bench.say(1, &Event::Bitfield(all)), [send(1, Command::Interested)]);
    let piece = bench.piece(2);
    assert_eq!(bench.say(1, &Event::AllowedFast(piece)), [Action::OpenWindow(piece)]);
    assert_eq!(bench.opened(2).len(), 2);
    assert_eq!(bench.say(1, &Event::Rejected(bench.block(2, 0))), [], "then not");
    assert_eq!(bench.wait(Duration::from_secs(3)), []);
}

#[test]
fn who_refuses_without_choking_is_asked_again_only_after_a_while() {
    let mut bench = Bench::new(2, &[0]);
    bench.server(1, &[0, 1]);
    bench.opened(1);
    let block = bench.block(1, 0);
    assert_eq!(bench.say(1, &Event::Rejected(block)), []);
    let again = bench.wait(Duration::from_secs(3));
    assert_eq!(again, [send(1, Command::Request(block))]);
}

#[test]
fn unasked_blocks_are_discarded() {
    let mut bench = Bench::new(2, &[]);
    bench.server(1, &[0, 1]);
    assert_eq!(bench.arrive(1, bench.block(0, 0)).0, BlockVerdict::Discard);
    assert_eq!(bench.arrive(9, bench.block(0, 0)).0, BlockVerdict::Discard, "nor from strangers");
    assert_eq!(bench.torrent.stats(bench.now).wasted, u64::from(BLOCK_LEN));
}

#[test]
fn who_sent_a_bad_piece_alone_is_banned_at_once() {
    let mut bench = Bench::new(2, &[0]);
    bench.server(1, &[0, 1]);
    bench.opened(1);
    bench.arrive(1, bench.block(1, 0));
    bench.arrive(1, bench.block(1, 1));
    assert_eq!(bench.verified(1, PieceOutcome::Bad, &[]), [closed(1, CloseReason::Banned)]);
    assert_eq!(bench.join(1, FAST), [closed(1, CloseReason::Banned)]);
    assert_eq!(bench.torrent.stats(bench.now).failed_pieces, 1);
}

#[test]
fn a_bad_piece_of_two_peers_is_fetched_from_one_and_digests_tell_who_lied() {
    let mut bench = Bench::new(2, &[0]);
    bench.server(1, &[0, 1]);
    bench.opened(1);
    bench.server(2, &[0, 1]);
    let (piece, blocks) = (bench.piece(1), [bench.block(1, 0), bench.block(1, 1)]);
    bench.arrive(1, blocks[0]);
    bench.arrive(2, blocks[1]);
    let look_again = Action::Verify { piece, digests: true };
    assert_eq!(bench.verified(1, PieceOutcome::Bad, &[]), std::slice::from_ref(&look_again));
    let asked = bench.verified(1, PieceOutcome::Bad, &[10, 20]);
    let prover = match asked.as_slice() {
        [Action::Send { peer, command: Command::Request(_) }, Action::Send { peer: same, .. }] if peer == same => {
            peer.slot
        }
        other => panic!("{other:?}"),
    };
    bench.arrive(prover, blocks[0]);
    assert_eq!(bench.arrive(prover, blocks[1]).1, [look_again]);
    let done = bench.verified(1, PieceOutcome::Good, &[10, 21]);
    assert!(done.contains(&closed(2, CloseReason::Banned)), "{done:?}");
    assert!(!done.contains(&closed(1, CloseReason::Banned)), "{done:?}");
}

#[test]
fn a_liar_that_has_left_is_banned_all_the_same() {
    let mut bench = Bench::new(2, &[0]);
    bench.server(1, &[0, 1]);
    bench.opened(1);
    bench.server(2, &[0, 1]);
    bench.arrive(1, bench.block(1, 0));
    bench.arrive(2, bench.block(1, 1));
    bench.torrent.peer_left(bench.now, key(2));
    bench.verified(1, PieceOutcome::Bad, &[]);
    bench.verified(1, PieceOutcome::Bad, &[10, 20]);
    bench.arrive(1, bench.block(1, 0));
    bench.arrive(1, bench.block(1, 1));
    bench.verified(1, PieceOutcome::Good, &[10, 21]);
    assert_eq!(bench.join(2, FAST), [closed(2, CloseReason::Banned)]);
}

#[test]
fn a_prover_that_falls_silent_loses_its_task_every_time() {
    let mut bench = Bench::new(2, &[0]);
    bench.server(1, &[0, 1]);
    bench.opened(1);
    bench.server(2, &[0, 1]);
    let blocks = [bench.block(1, 0), bench.block(1, 1)];
    bench.arrive(1, blocks[0]);
    bench.arrive(2, blocks[1]);
    bench.verified(1, PieceOutcome::Bad, &[]);
    let mut actions = bench.verified(1, PieceOutcome::Bad, &[10, 20]);
    let mut provers = Vec::new();
    for _ in 0..3 {
        let asked = actions.iter().find_map(|action| match action {
            Action::Send { peer, command: Command::Request(_) } => Some(peer.slot),
            _ => None,
        });
        provers.extend(asked);
        actions = bench.wait(Duration::from_secs(12));
    }
    assert_eq!(provers.len(), 2, "one after the other, each once until it speaks again: {provers:?}");
    assert_ne!(provers[0], provers[1]);
    assert_eq!(bench.server(3, &[0, 1]).len(), 2, "a new peer is asked at once");
}

#[test]
fn digests_that_never_come_stop_nothing() {
    let mut bench = Bench::new(2, &[0]);
    bench.server(1, &[0, 1]);
    bench.opened(1);
    bench.server(2, &[0, 1]);
    bench.arrive(1, bench.block(1, 0));
    bench.arrive(2, bench.block(1, 1));
    bench.verified(1, PieceOutcome::Bad, &[]);
    let requests = bench.verified(1, PieceOutcome::Bad, &[]);
    assert_eq!(requests.len(), 2, "{requests:?}");
}

#[test]
fn a_window_that_cannot_be_opened_is_tried_again_later() {
    let mut bench = Bench::new(2, &[0]);
    assert_eq!(bench.server(1, &[0, 1]), [Action::OpenWindow(bench.piece(1))]);
    bench.torrent.window_failed(bench.now, bench.piece(1));
    assert_eq!(bench.wait(Duration::from_secs(4)), []);
    assert_eq!(bench.wait(Duration::from_secs(3)), [Action::OpenWindow(bench.piece(1))]);
}

#[test]
fn a_window_nobody_waits_for_is_closed() {
    let mut bench = Bench::new(2, &[0]);
    bench.server(1, &[0, 1]);
    bench.torrent.pause(bench.now);
    assert_eq!(bench.actions(), [closed(1, CloseReason::Paused)]);
    assert_eq!(bench.opened(1), [Action::CloseWindow(bench.piece(1))]);
    assert_eq!(bench.torrent.poll_timeout(), None);
}

#[test]
fn one_connection_per_peer_and_not_more_peers_than_allowed() {
    let mut bench = Bench::with(2, &[0], TorrentOptions { max_peers: 2, ..TorrentOptions::default() });
    bench.join(1, FAST);
    let twin = PeerInfo { addr: addr(77), incoming: true, peer_id: PeerId::new([1; 20]), features: FAST, known: false };
    bench.torrent.peer_joined(bench.now, key(7), twin);
    assert_eq!(bench.actions(), [closed(7, CloseReason::Duplicate)]);
    bench.join(2, FAST);
    assert_eq!(bench.join(3, FAST), [closed(3, CloseReason::TooManyPeers)]);
}

#[test]
fn of_two_connections_to_one_peer_the_one_over_ipv6_stays() {
    let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 6881));
    let info =
        |addr, incoming| PeerInfo { addr, incoming, peer_id: PeerId::new([1; 20]), features: FAST, known: false };
    for incoming in [true, false] {
        let mut bench = Bench::new(2, &[0]);
        bench.torrent.peer_joined(bench.now, key(1), info(addr(1), incoming));
        bench.actions();
        bench.torrent.peer_joined(bench.now, key(2), info(v6, incoming));
        assert_eq!(bench.actions().first(), Some(&closed(1, CloseReason::Duplicate)));
        bench.torrent.peer_joined(bench.now, key(3), info(addr(1), incoming));
        assert_eq!(bench.actions(), [closed(3, CloseReason::Duplicate)]);
        // One that has lasted is worth more than another way to the same peer.
        let mut bench = Bench::new(2, &[0]);
        bench.torrent.peer_joined(bench.now, key(1), info(addr(1), incoming));
        bench.wait(Duration::from_secs(20));
        bench.torrent.peer_joined(bench.now, key(2), info(v6, incoming));
        assert_eq!(bench.actions().last(), Some(&closed(2, CloseReason::Duplicate)));
    }
}

#[test]
fn an_incoming_peer_is_not_connected_to_and_its_listening_address_is_kept() {
    let mut bench = Bench::new(2, &[0]);
    bench.join(1, FAST);
    let hello = ExtendedHandshake {
        client: Some("Test\u{7} 1.0".into()),
        listen_port: Some(7000),
        request_queue: Some(5),
        ..ExtendedHandshake::default()
    };
    bench.say(1, &Event::ExtendedHandshake(hello));
    let listens = SocketAddr::new(addr(1).ip(), 7000);
    bench.torrent.add_candidates(bench.now, &[listens], Source::Tracker);
    assert_eq!(bench.actions(), []);
    let stats = bench.torrent.peers(bench.now);
    assert_eq!(stats[0].client.as_deref(), Some("Test 1.0"));
    assert_eq!(stats[0].pipeline_depth, 5);
    bench.torrent.peer_left(bench.now, key(1));
    assert_eq!(bench.wait(Duration::from_secs(11)), [Action::Connect(listens)]);
}

#[test]
fn connections_are_limited_and_peers_are_called_for_when_none_is_left() {
    let options = TorrentOptions { max_connecting: 2, ..TorrentOptions::default() };
    let mut bench = Bench::with(2, &[0], options);
    let addrs: Vec<SocketAddr> = (1..=3).map(addr).collect();
    bench.torrent.add_candidates(bench.now, &addrs, Source::Tracker);
    let first = bench.actions();
    assert_eq!(first.len(), 2);
    let [Action::Connect(one), Action::Connect(two)] = first[..] else { panic!("{first:?}") };
    bench.torrent.connect_failed(bench.now, one);
    let [Action::Connect(three)] = bench.actions()[..] else { panic!() };
    for addr in [two, three] {
        bench.torrent.connect_failed(bench.now, addr);
    }
    let mut calls = 0;
    for _ in 0..95 {
        for action in bench.wait(Duration::from_secs(1)) {
            match action {
                Action::Connect(addr) => bench.torrent.connect_failed(bench.now, addr),
                Action::NeedPeers => calls += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((1..=3).contains(&calls), "{calls}");
}

#[test]
fn a_complete_torrent_without_peers_has_no_timer() {
    let bench = Bench::new(2, &[0, 1]);
    assert_eq!(bench.torrent.poll_timeout(), None);
    assert!(bench.torrent.is_complete());
}

#[test]
fn blocks_are_awaited_until_the_last_one_is_there() {
    let mut bench = Bench::new(1, &[]);
    assert!(!bench.torrent.awaits_blocks());
    bench.server(1, &[0]);
    assert!(!bench.torrent.awaits_blocks(), "nothing is asked for before there is room for it");
    bench.opened(0);
    bench.arrive(1, bench.block(0, 0));
    assert!(bench.torrent.awaits_blocks());
    bench.arrive(1, bench.block(0, 1));
    assert!(!bench.torrent.awaits_blocks());
}

#[test]
fn no_piece_is_started_while_the_disk_is_behind() {
    let len = u64::from(2 * BLOCK_LEN);
    let options = TorrentOptions { max_verifying_bytes: 2 * len, max_verifying_pieces: 1, ..TorrentOptions::default() };
    let mut bench = Bench::with(100, &[], options);
    let all: Vec<u32> = (0..100).collect();
    let started = |actions: &[Action]| -> Vec<u32> {
        let opened = actions.iter().filter_map(|action| match action {
            Action::OpenWindow(piece) => Some(piece.get()),
            _ => None,
        });
        opened.collect()
    };
    let mut waiting = started(&bench.server(1, &all));
    let mut complete = Vec::new();
    while let Some(piece) = waiting.pop() {
        let mut actions = bench.opened(piece);
        for number in 0..2 {
            actions.extend(bench.arrive(1, bench.block(piece, number)).1);
        }
        if complete.len() >= 2 {
            assert_eq!(started(&actions), [0; 0], "{} pieces wait for their hash", complete.len());
        }
        complete.push(piece);
        waiting.extend(started(&actions));
    }
    assert!((2..100).contains(&complete.len()));
    let last = complete.split_off(complete.len() - 2);
    for piece in complete {
        assert_eq!(started(&bench.verified(piece, PieceOutcome::Good, &[])), [0; 0]);
    }
    assert!(!started(&bench.verified(last[0], PieceOutcome::Good, &[])).is_empty());
}
