//! A whole download over the loopback interface, from adding the torrent to the last verified byte: sockets, sessions,
//! picking, copying, hashing and writing, with the seeders in the same process.
//!
//! Data lies in `/dev/shm` where that exists, so that the disk is not what is measured.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a benchmark may panic")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bitween::Engine;
use bitween::component::bt::BtOptions;
use bitween::component::event::{Event, Lifecycle, NewTorrent, TorrentSource};
use bitween::proto::metainfo::Metainfo;
use bitween::storage::{CreateOptions, create_torrent};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZE: usize = 64 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);

fn folder() -> tempfile::TempDir {
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn prepare(dir: &Path) -> Arc<Metainfo> {
    let mut data = vec![0; SIZE];
    fastrand::Rng::with_seed(1).fill(&mut data);
    let path = dir.join("data.bin");
    std::fs::write(&path, data).unwrap();
    let bytes = create_torrent(&path, &CreateOptions::default(), &|_, _| {}, &AtomicBool::new(false)).unwrap();
    Arc::new(Metainfo::parse(&bytes).unwrap())
}

fn engine() -> Engine {
    Engine::start(BtOptions { bind: vec![Ipv4Addr::LOCALHOST.into()], ..BtOptions::default() }).unwrap()
}

/// Adds the torrent and waits until it is complete.
fn complete(engine: &Engine, torrent: NewTorrent) {
    let events = engine.events();
    engine.add(torrent).unwrap();
    loop {
        match events.recv_timeout(PATIENCE).expect("the transfer hangs") {
            Event::Lifecycle { change: Lifecycle::Started(true) | Lifecycle::Completed, .. } => return,
            Event::Lifecycle { change: Lifecycle::Failed(reason), .. } => panic!("{reason}"),
            _ => {}
        }
    }
}

fn loopback_download(criterion: &mut Criterion) {
    let source = folder();
    let metainfo = prepare(source.path());
    let mut group = criterion.benchmark_group("loopback_download");
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    for (name, count) in [("64MiB_1_peer", 1), ("64MiB_4_peers", 4)] {
        let seeders: Vec<Engine> = (0..count).map(|_| engine()).collect();
        for seeder in &seeders {
            complete(seeder, NewTorrent::seed(Arc::clone(&metainfo), source.path().to_path_buf()));
        }
        let peers: Vec<SocketAddr> = seeders.iter().map(|s| (Ipv4Addr::LOCALHOST, s.port()).into()).collect();
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let fresh = || (engine(), folder());
            let download = |(engine, target): (Engine, tempfile::TempDir)| {
                let torrent = TorrentSource::Metainfo(Arc::clone(&metainfo));
                let new = NewTorrent::download(torrent, PathBuf::from(target.path()));
                complete(&engine, NewTorrent { peers: peers.clone(), ..new });
                // Handed back, so that stopping and deleting are not measured.
                (engine, target)
            };
            bencher.iter_batched(fresh, download, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, loopback_download);
criterion_main!(benches);
