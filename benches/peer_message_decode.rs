//! How fast a session decodes a long buffer of messages of one kind, bytes per second of wire input.
//!
//! `piece_16KiB` is the download path: block data is borrowed, so the time is per message and hardly per byte.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Instant;

use bitween::proto::peer::{Command, Event, Features, Handshake, Session, SessionOptions, Step};
use bitween::types::{Block, Geometry, InfoHash, PeerId, PieceIndex};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const INFO_HASH: InfoHash = InfoHash::new([0xaa; 20]);

/// Messages in one buffer; with blocks in them 16 MiB, more than any cache of a core.
const MESSAGES: usize = 1024;

fn geometry() -> Geometry {
    Geometry::new(1 << 30, 1 << 18).expect("possible sizes")
}

fn established(now: Instant) -> Session {
    let options = SessionOptions {
        peer_id: PeerId::ours([0; 12]),
        listen_port: None,
        geometry: Some(geometry()),
        metadata_size: None,
        request_queue: 500,
        client: "bitween/bench".into(),
        remote_ip: None,
    };
    let mut session = Session::initiator(now, INFO_HASH, options, &mut Vec::new());
    let mut hello = Vec::new();
    Handshake { info_hash: INFO_HASH, peer_id: PeerId::new([7; 20]), features: Features::OURS }.encode(&mut hello);
    session.step(now, &hello).expect("a good handshake");
    session.flush(now, &mut Vec::new());
    session
}

fn pieces() -> impl Iterator<Item = PieceIndex> {
    geometry().pieces().take(MESSAGES)
}

fn blocks() -> impl Iterator<Item = Block> {
    geometry().pieces().flat_map(|piece| geometry().blocks(piece)).take(MESSAGES)
}

/// Decodes all of it; the sum keeps the work from being optimised away.
fn decode(session: &mut Session, now: Instant, mut input: &[u8]) -> u64 {
    let mut sum = 0;
    while !input.is_empty() {
        let Ok(Step::Message { consumed, event }) = session.step(now, input) else { panic!("only whole messages") };
        sum += match event {
            Event::Block { block, data } => u64::from(block.begin()) + u64::from(data.first().copied().unwrap_or(0)),
            Event::Have(piece) => u64::from(piece.get()),
            Event::Requested(block) => u64::from(block.begin()),
            other => panic!("{other:?}"),
        };
        input = input.get(consumed..).unwrap_or_default();
    }
    sum
}

fn peer_message_decode(c: &mut Criterion) {
    let now = Instant::now();
    let encode = |commands: &mut dyn Iterator<Item = Command>| {
        let mut session = established(now);
        let mut out = Vec::new();
        for command in commands {
            session.send(now, &command, &mut out);
            if let Command::Block(block) = command {
                out.resize(out.len() + block.len() as usize, 0x5a);
            }
        }
        out
    };
    let mut group = c.benchmark_group("peer_message_decode");
    for (name, input) in [
        ("piece_16KiB", encode(&mut blocks().map(Command::Block))),
        ("have", encode(&mut pieces().map(Command::Have))),
        ("request", encode(&mut blocks().map(Command::Request))),
    ] {
        let mut session = established(now);
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(name, |b| b.iter(|| decode(&mut session, now, black_box(&input))));
    }
    group.finish();
}

criterion_group!(benches, peer_message_decode);
criterion_main!(benches);
