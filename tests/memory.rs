//! The limit for memory: tiny limits, greedy peers and large pieces, and everything still completes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test that fails should say where"
)]

mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bitween::component::bt::{BtError, BtOptions};
use bitween::component::event::TorrentSource;
use bitween::component::snapshot::{MemoryUsage, TorrentState};
use bitween::node::{Engine, EngineError};
use bitween::proto::metainfo::{Magnet, Metainfo};
use bitween::proto::peer::{Command, Session};
use bitween::storage::BackendChoice;
use bitween::types::{MIN_MEMORY_LIMIT, MemoryClass, Usage};
use common::data::Sample;
use common::fake_peer::connect_as;
use common::node::Node;
use common::wait_for;

/// Longest wait for something to be given back.
const SOON: Duration = Duration::from_secs(20);

fn with_limit(memory_limit: u64) -> BtOptions {
    BtOptions { memory_limit, piece_buffer: memory_limit, file_windows: memory_limit, ..BtOptions::default() }
}

/// The same, for tests in which one peer after the other has to be closed: each time somebody has waited for so long.
fn impatient_with_limit(memory_limit: u64) -> BtOptions {
    BtOptions { memory_patience: Duration::from_millis(300), ..with_limit(memory_limit) }
}

fn usage_of(memory: &MemoryUsage, class: MemoryClass) -> Usage {
    memory.classes.iter().find(|of| of.class == class).unwrap().usage
}

/// Fails if more than the limit was ever in use.
fn assert_within_limit(node: &Node) -> MemoryUsage {
    let memory = node.engine.memory().unwrap();
    assert!(memory.total.highest <= memory.limit, "{memory:?}");
    memory
}

/// Waits until nothing is counted but what all connections read into, which has grown by a few bytes at most.
fn wait_empty(node: &Node, buffer: u64) {
    wait_for("the classes are empty", SOON, || {
        let memory = node.engine.memory().unwrap();
        let others = memory.total.now - usage_of(&memory, MemoryClass::Incoming).now;
        (others == 0 && memory.total.now <= buffer + 64).then_some(())
    });
}

/// A connection by a name that nobody else has.
fn connect(address: SocketAddr, metainfo: &Metainfo) -> (TcpStream, Session) {
    let mut name = *b"-XX0000-............";
    name[8..].fill_with(|| fastrand::u8(..));
    connect_as(name, address, metainfo)
}

/// What an engine without torrents and connections counts.
fn when_empty(node: &Node) -> u64 {
    node.engine.memory().unwrap().total.now
}

/// Connects and sends the beginning of a block whose rest never comes.
fn begin_block(address: SocketAddr, metainfo: &Metainfo, bytes: usize) -> TcpStream {
    let (mut stream, _) = connect(address, metainfo);
    let len = 9 + 128 * 1024_u32;
    let mut message = len.to_be_bytes().to_vec();
    message.push(7);
    message.resize(bytes, 0);
    stream.write_all(&message).unwrap();
    stream
}

#[test]
fn many_peers_with_half_a_message_each_do_not_take_more_than_the_limit_nor_stop_a_download() {
    let sample = Sample::file(24 << 20, &[]).in_pieces_of(256 << 10);
    let seeder = Node::with(with_limit(MIN_MEMORY_LIMIT));
    let leecher = Node::with(impatient_with_limit(MIN_MEMORY_LIMIT));
    let empty = when_empty(&leecher);
    let info_hash = seeder.seed(&sample.metainfo, &sample.dir);
    leecher.download(&sample.metainfo, &[]);
    leecher.wait_until("it takes peers", info_hash, |status| status.state == TorrentState::Downloading);
    // 36 x 128 KiB is more than the limit.
    let (address, metainfo) = (leecher.address(), sample.metainfo.clone());
    let greedy: Vec<_> = (0..36).map(|_| begin_block(address, &metainfo, 100_000)).collect();
    wait_for("memory is used up", SOON, || {
        let incoming = usage_of(&leecher.engine.memory().unwrap(), MemoryClass::Incoming);
        (incoming.now > MIN_MEMORY_LIMIT / 2).then_some(())
    });
    leecher.engine.add_peers(info_hash, &[seeder.address()]);
    leecher.wait_complete(info_hash);
    sample.assert_same_in(&leecher.dir());
    drop(greedy);
    assert_within_limit(&leecher);
    assert_within_limit(&seeder);
    leecher.engine.remove(info_hash, false).unwrap();
    wait_empty(&leecher, empty);
}

#[test]
fn several_downloads_and_uploads_share_the_smallest_limit() {
    for storage in [BackendChoice::Auto, BackendChoice::Positional, BackendChoice::Mapped] {
        let options = BtOptions { storage, ..with_limit(MIN_MEMORY_LIMIT) };
        let samples: Vec<_> = (0..4).map(|nth| Sample::file((6 << 20) + nth, &[]).in_pieces_of(256 << 10)).collect();
        let (seeder, leechers) = (Node::with(options.clone()), [0, 1, 2].map(|_| Node::with(options.clone())));
        let empty = when_empty(&seeder);
        for sample in &samples {
            seeder.seed(&sample.metainfo, &sample.dir);
            for leecher in &leechers {
                leecher.download_into(&sample.hash(), &sample.metainfo, &[seeder.address()]);
            }
        }
        for sample in &samples {
            for leecher in &leechers {
                leecher.wait_complete(sample.metainfo.info_hash);
                sample.assert_same_in(&leecher.dir().join(sample.hash()));
            }
        }
        for node in leechers.iter().chain([&seeder]) {
            let memory = assert_within_limit(node);
            assert!(usage_of(&memory, MemoryClass::Peers).highest > 0, "{memory:?}");
            for sample in &samples {
                node.engine.remove(sample.metainfo.info_hash, false).unwrap();
            }
            wait_empty(node, empty);
        }
    }
}

/// Everybody asks for another piece at the same time and reads slowly: the seeder's buffers are all being sent.
#[test]
fn buffers_that_are_being_sent_to_many_stay_within_the_limit() {
    let sample = Sample::file(40 << 20, &[]).in_pieces_of(1 << 20);
    let options = BtOptions { storage: BackendChoice::Positional, upload_slots: 40, ..with_limit(8 << 20) };
    let seeder = Node::with(options);
    seeder.seed(&sample.metainfo, &sample.dir);
    let streams: Vec<_> = (0..20).map(|nth| ask(seeder.address(), &sample.metainfo, nth * 2)).collect();
    wait_for("pieces are in memory", SOON, || {
        (usage_of(&seeder.engine.memory().unwrap(), MemoryClass::Serving).now > 4 << 20).then_some(())
    });
    let readers: Vec<_> = streams.into_iter().map(|stream| thread::spawn(move || read_blocks(stream, 64))).collect();
    for reader in readers {
        reader.join().unwrap();
    }
    assert_within_limit(&seeder);
}

/// Pages of files are no memory of ours: more of them may be mapped than the limit allows of buffers, and none for ever.
#[test]
fn windows_over_files_have_a_limit_of_their_own_and_go_when_nobody_asks() {
    let sample = Sample::file(24 << 20, &[]).in_pieces_of(1 << 20);
    let options = BtOptions {
        storage: BackendChoice::Mapped,
        upload_slots: 40,
        file_windows: 16 << 20,
        ..with_limit(MIN_MEMORY_LIMIT)
    };
    let seeder = Node::with(options);
    seeder.seed(&sample.metainfo, &sample.dir);
    for piece in 0..24 {
        read_blocks(ask(seeder.address(), &sample.metainfo, piece), 64);
    }
    assert_eq!(assert_within_limit(&seeder).file_windows, 16 << 20);
    wait_for("they are unmapped", SOON, || (seeder.engine.memory().unwrap().file_windows == 0).then_some(()));
}

/// The same with pieces that are a quarter of the limit each, and far more peers than fit.
#[test]
fn large_pieces_that_many_read_slowly_stay_within_the_limit() {
    let sample = Sample::file(96 << 20, &[]).in_pieces_of(4 << 20);
    let options = BtOptions { storage: BackendChoice::Positional, upload_slots: 64, ..with_limit(16 << 20) };
    let options = BtOptions { max_peers: 64, ..options };
    let seeder = Node::with(options);
    seeder.seed(&sample.metainfo, &sample.dir);
    let streams: Vec<_> = (0..48).map(|nth| ask(seeder.address(), &sample.metainfo, nth % 24)).collect();
    wait_for("pieces are in memory", SOON, || {
        (usage_of(&seeder.engine.memory().unwrap(), MemoryClass::Serving).now >= 8 << 20).then_some(())
    });
    let readers: Vec<_> = streams.into_iter().map(|stream| thread::spawn(move || read_blocks(stream, 64))).collect();
    for reader in readers {
        reader.join().unwrap();
    }
    assert_within_limit(&seeder);
}

/// Asks for the first MiB of one piece.
fn ask(address: SocketAddr, metainfo: &Metainfo, piece: u32) -> TcpStream {
    let (mut stream, mut session) = connect(address, metainfo);
    let geometry = metainfo.info.geometry;
    let (mut out, mut interest) = (Vec::new(), Vec::new());
    session.send(Instant::now(), &Command::Interested, &mut interest);
    for begin in (0..1 << 20).step_by(16 << 10) {
        let block = geometry.check_block(piece, begin, 16 << 10).unwrap();
        session.send(Instant::now(), &Command::Request(block), &mut out);
    }
    // The choke is lifted after some seconds at the latest.
    stream.write_all(&interest).unwrap();
    wait_unchoked(&mut stream);
    stream.write_all(&out).unwrap();
    stream
}

fn wait_unchoked(stream: &mut TcpStream) {
    use std::io::Read;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    loop {
        let (mut prefix, mut body) = ([0; 4], Vec::new());
        stream.read_exact(&mut prefix).unwrap();
        body.resize(u32::from_be_bytes(prefix) as usize, 0);
        stream.read_exact(&mut body).unwrap();
        if body.first() == Some(&1) {
            return;
        }
    }
}

/// Takes so many blocks.
fn read_blocks(mut stream: TcpStream, blocks: usize) {
    use std::io::Read;
    let mut got = 0;
    while got < blocks {
        let (mut prefix, mut body) = ([0; 4], Vec::new());
        stream.read_exact(&mut prefix).unwrap();
        body.resize(u32::from_be_bytes(prefix) as usize, 0);
        stream.read_exact(&mut body).unwrap();
        got += usize::from(body.first() == Some(&7));
    }
}

#[test]
fn a_piece_larger_than_the_limit_is_received_alone() {
    let sample = Sample::file(40 << 20, &[]).in_pieces_of(16 << 20);
    let (seeder, leecher) = (Node::with(with_limit(MIN_MEMORY_LIMIT)), Node::with(with_limit(MIN_MEMORY_LIMIT)));
    seeder.seed(&sample.metainfo, &sample.dir);
    let info_hash = leecher.download(&sample.metainfo, &[seeder.address()]);
    leecher.wait_complete(info_hash);
    sample.assert_same_in(&leecher.dir());
    let receiving = usage_of(&leecher.engine.memory().unwrap(), MemoryClass::Receiving);
    assert_eq!(receiving, Usage { now: 0, highest: 16 << 20 });
}

#[test]
fn descriptions_are_fetched_one_after_the_other_when_memory_is_small() {
    // Each some 600 KiB of names; a quarter of the limit holds one of them.
    let samples: Vec<_> = (0..3).map(|nth| Sample::with_long_names(&format!("names {nth}"), 2600)).collect();
    let (seeder, leecher) = (Node::start(), Node::with(with_limit(MIN_MEMORY_LIMIT)));
    for sample in &samples {
        assert!(sample.metainfo.raw_info().len() as u64 > MIN_MEMORY_LIMIT / 8);
        seeder.seed(&sample.metainfo, &sample.dir);
        let magnet: Magnet = sample.magnet().parse().unwrap();
        leecher.fetch(TorrentSource::Magnet(magnet.into()), &[seeder.address()]);
    }
    for sample in &samples {
        let known = |status: &bitween::component::snapshot::TorrentStatus| status.metainfo.is_some();
        leecher.wait_until("its description is there", sample.metainfo.info_hash, known);
    }
    let metadata = usage_of(&leecher.engine.memory().unwrap(), MemoryClass::Metadata);
    assert_eq!(metadata.now, 0);
    assert!((1..=MIN_MEMORY_LIMIT / 4).contains(&metadata.highest), "{metadata:?}");
}

#[test]
fn a_limit_that_is_too_small_is_refused_and_the_least_is_named() {
    let error = Engine::start(with_limit(MIN_MEMORY_LIMIT - 1)).unwrap_err();
    assert!(matches!(error, EngineError::Bt(BtError::MemoryLimit { .. })));
    assert!(error.to_string().contains(&MIN_MEMORY_LIMIT.to_string()), "{error}");
}

#[test]
fn turns_are_counted() {
    let node = Node::start();
    let first = node.engine.memory().unwrap().turns;
    // Two questions may be answered in one turn.
    let second = wait_for("another turn", SOON, || {
        Some(node.engine.memory().unwrap().turns).filter(|turns| turns.count > first.count)
    });
    assert!(second.longest >= second.longest_lately);
    assert!(second.longest > Duration::ZERO);
}

/// Peers that ask for descriptions and never listen.
#[test]
fn who_asks_without_listening_is_closed_when_others_need_the_memory() {
    let sample = Sample::file(30 << 20, &[]).in_pieces_of(16 << 10);
    let seeder = Node::with(impatient_with_limit(MIN_MEMORY_LIMIT));
    let empty = when_empty(&seeder);
    let info_hash = seeder.seed(&sample.metainfo, &sample.dir);
    let deaf: Vec<_> = (0..12).map(|_| flood(seeder.address(), &sample.metainfo)).collect();
    let leecher = Node::start();
    leecher.download(&sample.metainfo, &[seeder.address()]);
    leecher.wait_complete(info_hash);
    assert_within_limit(&seeder);
    drop(deaf);
    seeder.engine.remove(info_hash, false).unwrap();
    wait_empty(&seeder, empty);
}

fn flood(address: SocketAddr, metainfo: &Metainfo) -> TcpStream {
    let (mut stream, mut session): (TcpStream, Session) = connect(address, metainfo);
    let mut out = Vec::new();
    for _ in 0..2000 {
        session.send(Instant::now(), &Command::MetadataRequest(0), &mut out);
    }
    stream.set_nonblocking(true).unwrap();
    let _ = stream.write(&out);
    stream.set_nonblocking(false).unwrap();
    stream
}
