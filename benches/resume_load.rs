//! A start with thousands of small complete torrents that are known already: from opening the databases until all of
//! them seed. Reading the list and the resume data, looking at each file, adding, publishing; nothing is hashed.
//!
//! Data lies in `/dev/shm` where that exists, so that the disk is not what is measured.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark may panic"
)]

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bitween::Engine;
use bitween::component::bt::BtOptions;
use bitween::component::event::{Event, Lifecycle, Topic};
use bitween::component::library::LibraryThread;
use bitween::proto::metainfo::Metainfo;
use bitween::storage::{CreateOptions, ListedTorrent, TorrentList, create_torrent};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PATIENCE: Duration = Duration::from_secs(60);

fn folder() -> tempfile::TempDir {
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Torrents of one piece each, and the list that names them.
fn prepare(home: &Path, count: usize) {
    let data = home.join("data");
    std::fs::create_dir(&data).unwrap();
    let list = TorrentList::open(&home.join("torrents.sqlite")).unwrap();
    for number in 0..count {
        let path = data.join(format!("small-{number:05}.bin"));
        std::fs::write(&path, number.to_string()).unwrap();
        let bytes = create_torrent(&path, &CreateOptions::default(), &|_, _| {}, &AtomicBool::new(false)).unwrap();
        let torrent = ListedTorrent {
            info_hash: Metainfo::parse(&bytes).unwrap().info_hash,
            metainfo: Some(bytes),
            magnet: None,
            dir: data.clone(),
            seed: false,
            paused: false,
            shared: false,
        };
        list.save(&torrent).unwrap();
    }
}

/// Starts and waits until every torrent seeds. Also what keeps running, so that stopping need not be measured.
fn load(home: &Path, count: usize) -> (Duration, (Engine, LibraryThread)) {
    let start = Instant::now();
    let state = Some(home.join("resume.sqlite"));
    let options = BtOptions { bind: vec![Ipv4Addr::LOCALHOST.into()], state, ..BtOptions::default() };
    let engine = Engine::start(options).unwrap();
    let events = engine.bus().subscribe("bench", &[Topic::Lifecycle], 4 * count);
    let list = home.join("torrents.sqlite");
    let (contacts, torrents) = (engine.contacts().clone(), engine.published().clone());
    let library = LibraryThread::start(&list, home.to_owned(), engine.bus().clone(), contacts, torrents).unwrap();
    let mut left = count;
    while left > 0 {
        match events.recv_timeout(PATIENCE).expect("the start hangs") {
            Event::Lifecycle { change: Lifecycle::Started(true), .. } => left -= 1,
            Event::Lifecycle { change: Lifecycle::Failed(reason), .. } => panic!("{reason}"),
            _ => {}
        }
    }
    (start.elapsed(), (engine, library))
}

fn resume_load(criterion: &mut Criterion) {
    // Run once to see that it works, it is not to take long.
    let count = if std::env::args().any(|argument| argument == "--bench") { 10_000 } else { 200 };
    let home = folder();
    prepare(home.path(), count);
    // The first time everything is hashed and remembered.
    drop(load(home.path(), count));
    let mut group = criterion.benchmark_group("resume_load");
    group.throughput(Throughput::Elements(count as u64)).sample_size(10);
    group.bench_function(BenchmarkId::from_parameter(format!("{count}_torrents")), |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| load(home.path(), count).0).sum());
    });
    group.finish();
}

criterion_group!(benches, resume_load);
criterion_main!(benches);
