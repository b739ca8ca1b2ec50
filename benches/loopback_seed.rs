//! Seeding over the loopback interface, from a request to the last byte of its block: sockets, sessions, windows and
//! vectored writes. The leechers are in the same process, on one thread; each asks for random pieces, with 64 blocks
//! outstanding, and looks at no byte that it gets.
//!
//! Data lies in `/dev/shm` where that exists, and there is more of it than the piece buffer holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark may panic, and runs on real time"
)]

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bitween::Engine;
use bitween::component::bt::BtOptions;
use bitween::component::event::{Event, Lifecycle, NewTorrent};
use bitween::proto::metainfo::Metainfo;
use bitween::proto::peer::{self, Command, SessionOptions};
use bitween::reactor::{CloseCause, Handler, Net, Reactor};
use bitween::storage::{CreateOptions, create_torrent};
use bitween::types::{BLOCK_LEN, Block, Geometry, PeerId, PeerKey};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Bytes in the torrent.
const SIZE: usize = 128 * 1024 * 1024;
/// Bytes that one iteration fetches.
const FETCHED: usize = 256 * 1024 * 1024;
/// Blocks under way on each connection.
const OUTSTANDING: usize = 64;
/// The most connections.
const MOST: usize = 256;
const PATIENCE: Duration = Duration::from_secs(60);
/// Number of the deadline that ends the waiting.
const GIVE_UP: u64 = 0;

/// One connection of the load.
#[derive(Default)]
struct Leecher {
    unchoked: bool,
    /// Blocks to ask for.
    left: usize,
    /// What is left of the piece that is being asked for.
    blocks: VecDeque<Block>,
    outstanding: usize,
}

/// All connections of the load.
struct Load {
    geometry: Geometry,
    random: fastrand::Rng,
    unchoked: usize,
    /// Bytes that have not come yet.
    missing: usize,
    /// When they are not waited for any more.
    until: Instant,
}

impl Load {
    fn ask(&mut self, net: &mut Net<Leecher>, key: PeerKey) {
        loop {
            let Some(leecher) = net.data(key) else { return };
            if leecher.outstanding >= OUTSTANDING || leecher.left == 0 {
                return;
            }
            if leecher.blocks.is_empty() {
                let piece = self.geometry.piece(self.random.u32(..self.geometry.piece_count())).unwrap();
                leecher.blocks.extend(self.geometry.blocks(piece));
            }
            let block = leecher.blocks.pop_front().unwrap();
            leecher.outstanding += 1;
            leecher.left -= 1;
            net.send(key, &Command::Request(block));
        }
    }
}

impl Handler for Load {
    type Data = Leecher;

    fn incoming(&mut self, _: &mut Net<Leecher>, _: SocketAddr) -> Option<Leecher> {
        None
    }

    fn event(&mut self, net: &mut Net<Leecher>, key: PeerKey, event: peer::Event<'_>) {
        match event {
            peer::Event::Handshake(_) => net.send(key, &Command::Interested),
            peer::Event::Unchoked => {
                let leecher = net.data(key).unwrap();
                self.unchoked += usize::from(!std::mem::replace(&mut leecher.unchoked, true));
            }
            peer::Event::Block { data, .. } => {
                net.data(key).unwrap().outstanding -= 1;
                self.missing -= data.len();
            }
            peer::Event::Choked | peer::Event::Rejected(_) => panic!("not served any more"),
            _ => {}
        }
    }

    fn burst_end(&mut self, net: &mut Net<Leecher>, key: PeerKey) {
        self.ask(net, key);
    }

    fn sent(&mut self, _: &mut Net<Leecher>, _: PeerKey, _: usize) {}

    fn closed(&mut self, _: &mut Net<Leecher>, _: PeerKey, _: SocketAddr, _: Leecher, why: CloseCause) {
        panic!("closed: {why}");
    }

    fn woken(&mut self, _: &mut Net<Leecher>) {}

    fn timer(&mut self, net: &mut Net<Leecher>, _: u64) {
        assert!(self.missing == 0 || net.now() < self.until, "the transfer hangs with {} connections", net.len());
    }
}

/// Connections to one seeder.
struct Leechers {
    reactor: Reactor<Leecher>,
    load: Load,
}

impl Leechers {
    fn connect(seeder: SocketAddr, metainfo: &Metainfo, count: usize) -> Self {
        let mut reactor = Reactor::new().unwrap();
        let geometry = metainfo.info.geometry;
        for nth in 0..count {
            let options = SessionOptions {
                peer_id: PeerId::ours([u8::try_from(nth).unwrap(); 12]),
                listen_port: None,
                geometry: Some(geometry),
                metadata_size: None,
                request_queue: 0,
                client: String::new(),
                remote_ip: None,
            };
            reactor.net().connect(seeder, metainfo.info_hash, options, Leecher::default()).unwrap();
        }
        let (random, until) = (fastrand::Rng::with_seed(1), Instant::now());
        let mut leechers = Self { reactor, load: Load { geometry, random, unchoked: 0, missing: 0, until } };
        while leechers.load.unchoked < count {
            leechers.reactor.turn(&mut leechers.load).unwrap();
        }
        leechers
    }

    /// Fetches blocks of `bytes` in all, the same number over every connection.
    fn fetch(&mut self, bytes: usize) {
        let net = self.reactor.net();
        self.load.until = Instant::now() + PATIENCE;
        net.arm(GIVE_UP, self.load.until);
        let block = usize::try_from(BLOCK_LEN).unwrap();
        let each = bytes / net.len() / block;
        self.load.missing = each * block * net.len();
        for key in net.keys() {
            net.data(key).unwrap().left = each;
            self.load.ask(net, key);
        }
        while self.load.missing > 0 {
            self.reactor.turn(&mut self.load).unwrap();
        }
    }
}

fn folder() -> tempfile::TempDir {
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn prepare(dir: &Path) -> Arc<Metainfo> {
    let mut data = vec![0; SIZE];
    fastrand::Rng::with_seed(1).fill(&mut data);
    let path = dir.join("data.bin");
    std::fs::write(&path, data).unwrap();
    let options = CreateOptions { piece_length: Some(1 << 20), ..CreateOptions::default() };
    let bytes = create_torrent(&path, &options, &|_, _| {}, &AtomicBool::new(false)).unwrap();
    Arc::new(Metainfo::parse(&bytes).unwrap())
}

/// Serves the torrent to as many as ask.
fn seeder(metainfo: &Arc<Metainfo>, dir: &Path) -> Engine {
    let bind = vec![Ipv4Addr::LOCALHOST.into()];
    let many = 2 * MOST;
    let limits = BtOptions { max_connections: many, max_peers: many, max_peers_per_host: many, ..BtOptions::default() };
    let engine = Engine::start(BtOptions { bind, upload_slots: many, ..limits }).unwrap();
    let events = engine.events();
    engine.add(NewTorrent::seed(Arc::clone(metainfo), dir.to_path_buf())).unwrap();
    loop {
        match events.recv_timeout(PATIENCE).expect("the files are not read") {
            Event::Lifecycle { change: Lifecycle::Started(true), .. } => return engine,
            Event::Lifecycle { change: Lifecycle::Failed(reason), .. } => panic!("{reason}"),
            _ => {}
        }
    }
}

fn loopback_seed(criterion: &mut Criterion) {
    let source = folder();
    let metainfo = prepare(source.path());
    let seeder = seeder(&metainfo, source.path());
    let mut group = criterion.benchmark_group("loopback_seed");
    group.throughput(Throughput::Bytes(FETCHED as u64)).sample_size(10);
    for (name, count) in [("1_peer", 1), ("8_peers", 8), ("64_peers", 64), ("256_peers", MOST)] {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let mut leechers = Leechers::connect((Ipv4Addr::LOCALHOST, seeder.port()).into(), &metainfo, count);
            bencher.iter(|| leechers.fetch(FETCHED));
        });
    }
    group.finish();
}

criterion_group!(benches, loopback_seed);
criterion_main!(benches);
