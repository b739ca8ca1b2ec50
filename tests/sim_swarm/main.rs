//! Whole swarms on virtual time: deterministic, in memory, no sockets (see `net`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)] // Test code: a failure may panic.

mod net;

use std::time::Duration;

use bitween::engine::{CloseReason, Source, TorrentOptions};
use bitween::types::{Bitfield, Geometry};
use net::{Habit, Log, Net};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn geometry(total: u64) -> Geometry {
    Geometry::new(total, 256 * KIB).unwrap()
}

/// Pieces `from..to` of a torrent.
fn some(geometry: &Geometry, from: u32, to: u32) -> Bitfield {
    let mut pieces = Bitfield::empty(geometry.piece_count());
    for piece in (from..to).filter_map(|raw| geometry.piece(raw)) {
        pieces.insert(piece);
    }
    pieces
}

#[test]
fn one_seed_and_ten_leechers_complete_much_faster_than_the_seed_could_serve_them() {
    let mut net = Net::new(geometry(32 * MIB), millis(20));
    net.seed(2 * MIB);
    let leechers: Vec<usize> = (0..10).map(|_| net.leecher(2 * MIB)).collect();
    net.introduce_all();
    assert!(net.run_until(secs(160), |net| net.complete(&leechers)));
    // The seed alone would need 160 s; a perfect swarm 16 s and a bit.
    assert!(net.elapsed() < secs(40), "{:?}", net.elapsed());
    for leecher in leechers {
        let stats = net.stats(leecher);
        assert!(stats.wasted < MIB, "{stats:?}");
        assert_eq!(stats.bytes_left(), 0);
        assert_eq!(net.count(leecher, |log| *log == Log::Completed), 1);
        assert!(net.banned_by(leecher).is_empty());
    }
    assert!(net.stats(0).uploaded < 3 * 32 * MIB, "{:?}", net.stats(0));
    net.run_until(secs(60), |_| false);
    assert!((0..net.nodes.len()).all(|node| net.stats(node).peers == 0), "seeds have nothing to say to each other");
}

#[test]
fn the_same_seeds_give_the_same_run() {
    let run = || {
        let mut net = Net::new(geometry(8 * MIB), millis(20));
        net.seed(MIB);
        let leechers: Vec<usize> = (0..4).map(|_| net.leecher(MIB)).collect();
        net.introduce_all();
        assert!(net.run_until(secs(120), |net| net.complete(&leechers)));
        net.nodes.iter().map(|node| node.log.clone()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn who_lies_always_is_banned_and_nobody_else() {
    for every in [1, 2, 7, 40] {
        let geometry = geometry(16 * MIB);
        let mut net = Net::new(geometry, millis(20));
        net.seed(MIB);
        let full = Bitfield::full(geometry.piece_count());
        let liar = net.add(full, MIB, Habit::Lies(every), TorrentOptions::default());
        let leechers: Vec<usize> = (0..5).map(|_| net.leecher(MIB)).collect();
        net.introduce_all();
        assert!(net.run_until(secs(300), |net| net.complete(&leechers)), "1 of {every}");
        let mut found = 0;
        for leecher in leechers {
            let banned = net.banned_by(leecher);
            assert!(banned.iter().all(|peer| *peer == liar), "1 of {every}: {banned:?}");
            found += usize::from(!banned.is_empty());
            let bad = net.count(leecher, |log| matches!(log, Log::Verified { good: false, .. }));
            assert_eq!(bad == 0, banned.is_empty(), "1 of {every}: each wrong piece leads to the liar");
        }
        assert!(found > 0, "1 of {every}");
    }
}

#[test]
fn two_liars_are_both_found() {
    let geometry = geometry(16 * MIB);
    let mut net = Net::new(geometry, millis(20));
    net.seed(MIB);
    let full = Bitfield::full(geometry.piece_count());
    let liars = [3, 5].map(|every| net.add(full.clone(), MIB, Habit::Lies(every), TorrentOptions::default()));
    let leecher = net.leecher(MIB);
    net.introduce_all();
    assert!(net.run_until(secs(300), |net| net.complete(&[leecher])));
    let mut banned = net.banned_by(leecher);
    banned.sort_unstable();
    assert_eq!(banned, liars);
}

#[test]
fn a_silent_peer_holds_nothing_up_for_long() {
    let geometry = geometry(16 * MIB);
    let mut net = Net::new(geometry, millis(20));
    net.seed(MIB);
    let silent = net.add(Bitfield::full(geometry.piece_count()), MIB, Habit::Silent, TorrentOptions::default());
    let leecher = net.leecher(MIB);
    net.introduce_all();
    assert!(net.run_until(secs(60), |net| net.complete(&[leecher])));
    assert!(net.elapsed() < secs(20), "{:?}", net.elapsed());
    let closed = Log::Closed { peer: silent, reason: CloseReason::NothingToShare };
    assert_eq!(net.count(leecher, |log| *log == closed), 1);
}

#[test]
fn a_stuck_peer_makes_room_when_others_wait() {
    let geometry = geometry(4 * MIB);
    let mut net = Net::new(geometry, millis(20));
    let silent = net.add(Bitfield::full(geometry.piece_count()), MIB, Habit::Silent, TorrentOptions::default());
    let options = TorrentOptions { max_peers: 1, ..TorrentOptions::default() };
    let leecher = net.add(Bitfield::empty(geometry.piece_count()), MIB, Habit::Honest, options);
    net.introduce(leecher, [silent]);
    assert!(!net.run_until(secs(70), |net| net.stats(leecher).peers == 0 && net.elapsed() > secs(1)));
    let seed = net.seed(MIB);
    net.introduce(leecher, [seed]);
    assert!(net.run_until(secs(30), |net| net.complete(&[leecher])));
    let stuck = Log::Closed { peer: silent, reason: CloseReason::Stuck };
    assert_eq!(net.count(leecher, |log| *log == stuck), 1);
}

#[test]
fn a_slow_peer_keeps_no_piece_hostage() {
    let mut net = Net::new(geometry(16 * MIB), millis(20));
    net.seed(MIB);
    net.seed(KIB);
    let leecher = net.leecher(MIB);
    net.introduce_all();
    assert!(net.run_until(secs(100), |net| net.complete(&[leecher])));
    assert!(net.elapsed() < secs(20), "{:?}", net.elapsed());
}

#[test]
fn the_last_blocks_are_asked_of_several_and_cancelled() {
    let mut net = Net::new(geometry(8 * MIB), millis(50));
    net.seed(4 * MIB);
    net.seed(100 * KIB);
    let leecher = net.leecher(MIB);
    net.introduce_all();
    assert!(net.run_until(secs(60), |net| net.complete(&[leecher])));
    // What the slow seed owed at the end (3 s worth of its rate) came from the fast one.
    assert!(net.elapsed() < secs(4), "{:?}", net.elapsed());
    assert!(net.count(leecher, |log| *log == Log::Cancelled) > 0);
    assert!(net.stats(leecher).wasted < MIB, "{:?}", net.stats(leecher));
}

#[test]
fn a_peer_that_leaves_in_the_middle_costs_only_time() {
    let mut net = Net::new(geometry(16 * MIB), millis(20));
    let seeds = [net.seed(MIB), net.seed(MIB)];
    let leechers = [net.leecher(MIB), net.leecher(MIB)];
    net.introduce_all();
    assert!(!net.run_until(secs(5), |net| net.complete(&leechers)));
    net.kill(seeds[0]);
    assert!(net.run_until(secs(100), |net| net.complete(&leechers)));
    assert!(leechers.iter().all(|leecher| net.stats(*leecher).wasted < MIB));
}

#[test]
fn what_nobody_has_is_waited_for_and_peers_are_asked_for() {
    let geometry = geometry(8 * MIB);
    let mut net = Net::new(geometry, millis(20));
    let lacking = some(&geometry, 0, 31);
    let source = net.add(lacking, MIB, Habit::Honest, TorrentOptions::default());
    let leecher = net.leecher(MIB);
    net.introduce(leecher, [source]);
    assert!(!net.run_until(secs(100), |net| net.complete(&[leecher])));
    assert_eq!(net.stats(leecher).pieces_have, 31);
    assert_eq!(net.stats(leecher).rarest_copies, 0);
    assert!((2..=4).contains(&net.count(leecher, |log| *log == Log::NeedPeers)));
    // The other one gets the last piece from a seed that the leecher does not know, and tells.
    let seed = net.seed(MIB);
    net.introduce(source, [seed]);
    assert!(net.run_until(secs(10), |net| net.complete(&[source, leecher])));
}

#[test]
fn peers_that_connect_to_each_other_at_once_keep_one_connection() {
    let geometry = geometry(64 * MIB);
    let mut net = Net::new(geometry, millis(20));
    let halves = [some(&geometry, 0, 128), some(&geometry, 128, 256)];
    for have in halves {
        net.add(have, MIB, Habit::Honest, TorrentOptions::default());
    }
    net.introduce_all();
    net.run_until(secs(1), |_| false);
    assert_eq!([0, 1].map(|node| net.stats(node).peers), [1, 1]);
    net.run_until(secs(12), |_| false);
    assert_eq!([0, 1].map(|node| net.stats(node).peers), [1, 1]);
}

#[test]
fn a_fast_link_is_filled_within_a_second() {
    let mut net = Net::new(geometry(512 * MIB), millis(5));
    net.seed(200 * MIB);
    let leecher = net.leecher(MIB);
    net.introduce_all();
    net.run_until(secs(1), |_| false);
    let depth = net.nodes[leecher].torrent.peers(net.now)[0].pipeline_depth;
    assert_eq!(depth, 512);
    assert!(net.run_until(secs(10), |net| net.complete(&[leecher])));
    assert!(net.elapsed() < secs(3), "{:?}", net.elapsed());
}

#[test]
fn pieces_larger_than_the_budget_come_one_at_a_time() {
    let geometry = Geometry::new(32 * MIB, 4 * MIB).unwrap();
    let mut net = Net::new(geometry, millis(5));
    net.seed(8 * MIB);
    let options = TorrentOptions { max_open_pieces_bytes: MIB, ..TorrentOptions::default() };
    let leecher = net.add(Bitfield::empty(geometry.piece_count()), MIB, Habit::Honest, options);
    net.introduce_all();
    let mut most = 0;
    assert!(net.run_until(secs(20), |net| {
        most = most.max(net.stats(leecher).open_bytes);
        net.complete(&[leecher])
    }));
    assert_eq!(most, 4 * MIB);
}

#[test]
fn a_paused_torrent_is_silent_and_goes_on_when_resumed() {
    let mut net = Net::new(geometry(16 * MIB), millis(20));
    net.seed(MIB);
    let leecher = net.leecher(MIB);
    net.introduce_all();
    assert!(!net.run_until(secs(4), |net| net.complete(&[leecher])));
    let now = net.now;
    net.nodes[leecher].torrent.pause(now);
    net.introduce(leecher, [0]);
    let before = net.stats(leecher).pieces_have;
    net.run_until(secs(100), |_| false);
    let paused = net.stats(leecher);
    assert_eq!((paused.peers, paused.open_bytes), (0, 0));
    assert!(paused.pieces_have <= before + 1, "only what was being hashed");
    let now = net.now;
    net.nodes[leecher].torrent.resume(now);
    net.introduce(leecher, []);
    assert!(net.run_until(secs(30), |net| net.complete(&[leecher])));
}

#[test]
fn a_seed_with_few_slots_serves_everybody_in_turn() {
    let geometry = geometry(64 * MIB);
    let mut net = Net::new(geometry, millis(20));
    let options = TorrentOptions { upload_slots: 2, ..TorrentOptions::default() };
    let seed = net.add(Bitfield::full(geometry.piece_count()), 256 * KIB, Habit::Honest, options);
    // They do not know each other and cannot trade.
    let leechers: Vec<usize> = (0..6).map(|_| net.leecher(MIB)).collect();
    for leecher in &leechers {
        net.introduce(*leecher, [seed]);
    }
    net.run_until(secs(400), |_| false);
    let got: Vec<u64> = leechers.iter().map(|leecher| net.stats(*leecher).downloaded / MIB).collect();
    assert!(got.iter().all(|got| (10..25).contains(got)), "{got:?}");
}

#[test]
fn an_unreachable_address_is_tried_less_and_less() {
    let mut net = Net::new(geometry(MIB), millis(20));
    let gone = net.seed(MIB);
    net.kill(gone);
    let leecher = net.leecher(MIB);
    let addr = net.nodes[gone].addr;
    let now = net.now;
    net.nodes[leecher].torrent.add_candidates(now, &[addr], Source::Manual);
    net.introduce(leecher, []);
    net.run_until(secs(120), |_| false);
    net.nodes[gone].online = true;
    assert!(net.run_until(secs(200), |net| net.complete(&[leecher])), "it comes back and is found");
}
