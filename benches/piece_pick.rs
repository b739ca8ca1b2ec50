//! What it costs to decide which block to ask for, and to keep the order of rarity up to date.
//!
//! `rarest_first` is one whole turn of a piece: start it, then pick, receive and verify its 16 blocks, for peers in turn
//! that each have half of the pieces. One element is one block.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)] // Bench code: a failure may panic.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bitween::engine::{BlockVerdict, PeerInfo, PickRequest, Picker, PieceOutcome, Torrent, TorrentOptions};
use bitween::proto::peer::{Command, Event, Features};
use bitween::types::{Bitfield, Geometry, PeerId, PeerKey, PieceIndex};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const BLOCKS: u32 = 16;
const SIZES: [(u32, u32, &str); 2] = [(10_000, 200, "10k_pieces_200_peers"), (100_000, 200, "100k_pieces_200_peers")];

fn geometry(pieces: u32) -> Geometry {
    let len = u64::from(BLOCKS) * 16_384;
    Geometry::new(u64::from(pieces) * len, len).unwrap()
}

fn key(slot: u32) -> PeerKey {
    PeerKey { slot, generation: 0 }
}

/// Peers that each have half of the pieces, by chance.
fn peers(geometry: &Geometry, count: u32) -> Vec<Bitfield> {
    let mut rng = fastrand::Rng::with_seed(1);
    let one = |rng: &mut fastrand::Rng| {
        let mut bits = Bitfield::empty(geometry.piece_count());
        for piece in geometry.pieces().filter(|_| rng.bool()) {
            bits.insert(piece);
        }
        bits
    };
    (0..count).map(|_| one(&mut rng)).collect()
}

fn swarm(pieces: u32, count: u32) -> (Geometry, Vec<Bitfield>, Picker) {
    let geometry = geometry(pieces);
    let peers = peers(&geometry, count);
    let mut picker = Picker::new(geometry, Bitfield::empty(pieces), 1);
    peers.iter().for_each(|peer| picker.add_peer(peer));
    (geometry, peers, picker)
}

/// One piece from start to end.
fn fetch_piece(now: Instant, picker: &mut Picker, peer: u32, pieces: &Bitfield) -> Option<PieceIndex> {
    let request =
        PickRequest { now, peer: key(peer), pieces, useful: pieces.count_ones(), allowed: None, already: &|_| false };
    let piece = picker.start(&request)?;
    picker.opened(piece);
    let (mut current, mut blocks) = (None, Vec::with_capacity(1));
    for _ in 0..BLOCKS {
        blocks.clear();
        picker.pick(&request, 1, &mut current, &mut blocks);
        for block in &blocks {
            black_box(picker.received(now, *block, key(peer)));
        }
    }
    picker.good(piece);
    Some(piece)
}

fn rarest_first(c: &mut Criterion) {
    let mut group = c.benchmark_group("piece_pick/rarest_first");
    group.throughput(Throughput::Elements(u64::from(BLOCKS)));
    #[allow(clippy::disallowed_methods)]
    let now = Instant::now();
    for (pieces, count, name) in SIZES {
        let (_, peers, fresh) = swarm(pieces, count);
        drop(fresh);
        let (_, _, mut picker) = swarm(pieces, count);
        let mut turn = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                turn = (turn + 1) % count;
                if fetch_piece(now, &mut picker, turn, &peers[turn as usize]).is_none() {
                    (_, _, picker) = swarm(pieces, count);
                }
            });
        });
    }
    group.finish();
}

fn availability(c: &mut Criterion) {
    let mut group = c.benchmark_group("piece_pick/availability");
    for (pieces, count, name) in SIZES {
        let (geometry, peers, mut picker) = swarm(pieces, count);
        group.throughput(Throughput::Elements(1));
        let mut raw = 0;
        group.bench_function(format!("have/{name}"), |b| {
            b.iter(|| {
                raw = (raw + 7919) % pieces;
                picker.add_copy(geometry.piece(raw).unwrap());
            });
        });
        group.throughput(Throughput::Elements(u64::from(peers[0].count_ones())));
        group.bench_function(format!("peer_joins_and_leaves/{name}"), |b| {
            b.iter(|| {
                picker.add_peer(&peers[0]);
                picker.remove_peer(&peers[0], false);
            });
        });
    }
    group.finish();
}

/// Everything a torrent does for a block: arrival, next request, window, verification.
fn torrent_block(c: &mut Criterion) {
    let mut group = c.benchmark_group("piece_pick/torrent");
    group.throughput(Throughput::Elements(10_000));
    group.sample_size(20);
    #[allow(clippy::disallowed_methods)]
    let start = Instant::now();
    group.bench_function("10k_blocks_4_seeds", |b| {
        b.iter_batched(
            || seeded(start),
            |(torrent, wire)| download(start, torrent, wire, 10_000),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

type Wire = std::collections::VecDeque<(PeerKey, bitween::types::Block)>;

fn seeded(now: Instant) -> (Torrent, Wire) {
    let geometry = geometry(4000);
    let mut torrent = Torrent::new(now, TorrentOptions::default(), geometry, Bitfield::empty(4000), 1);
    let mut wire = Wire::new();
    for slot in 0..4_u8 {
        let info = PeerInfo {
            addr: ([10, 0, 0, slot], 1).into(),
            incoming: false,
            peer_id: PeerId::new([slot; 20]),
            features: Features { fast: true, extended: true, dht: false },
            known: false,
        };
        torrent.peer_joined(now, key(slot.into()), info);
        torrent.peer_event(now, key(slot.into()), &Event::Bitfield(Bitfield::full(4000)));
        torrent.peer_event(now, key(slot.into()), &Event::Unchoked);
        obey(now, &mut torrent, &mut wire);
    }
    (torrent, wire)
}

fn download(start: Instant, mut torrent: Torrent, mut wire: Wire, blocks: u32) -> (Torrent, Wire) {
    for n in 0..blocks {
        let now = start + Duration::from_micros(16) * n;
        let (peer, block) = wire.pop_front().expect("the pipeline never runs dry");
        assert_eq!(torrent.block_arrived(now, peer, block), BlockVerdict::Store);
        obey(now, &mut torrent, &mut wire);
    }
    (torrent, wire)
}

fn obey(now: Instant, torrent: &mut Torrent, wire: &mut Wire) {
    use bitween::engine::Action;
    while let Some(action) = torrent.poll_action() {
        match action {
            Action::Send { peer, command: Command::Request(block) } => wire.push_back((peer, block)),
            Action::OpenWindow(piece) => torrent.window_opened(now, piece),
            Action::Verify { piece, .. } => torrent.piece_verified(now, piece, PieceOutcome::Good, &[]),
            _ => {}
        }
    }
}

criterion_group!(benches, rarest_first, availability, torrent_block);
criterion_main!(benches);
