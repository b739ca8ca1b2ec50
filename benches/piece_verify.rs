//! How fast a piece in a window is received and verified, for both back ends. Reports bytes of pieces per second.
//!
//! `sha1_*` is verification alone: the job goes to a disk thread, the answer comes back with a wrong hash and thus with
//! the window, which goes in again; nothing is written. `sha1_*/positional_2_streams`: two pieces wait at a time, which a
//! disk thread hashes at once; `..._2_threads`: enough of them for two disk threads. `receive_*` is the whole way: window,
//! blocks, hash, file.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a bench may stop"
)]

use std::hint::black_box;
use std::sync::Arc;

use bitween::storage::{
    BackendChoice, CheckMode, Disk, DiskOptions, Done, Job, Layout, LayoutFile, Verified, WriteWindow, Writing,
};
use bitween::types::{BLOCK_LEN, Geometry, InfoHash, PieceHash, PieceIndex, TorrentKey};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::{Receiver, bounded};
use sha1::{Digest, Sha1};

const KEY: TorrentKey = TorrentKey(1);
/// Pieces of the torrent that `receive_*` goes round in.
const PIECES: u64 = 16;

const SIZES: [(&str, u64); 2] = [("256KiB", 256 * 1024), ("4MiB", 4 * 1024 * 1024)];

struct Bench {
    disk: Disk,
    woken: Receiver<()>,
    geometry: Geometry,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(threads: usize, backend: BackendChoice, piece_length: u64, hash: PieceHash) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (wake, woken) = bounded(1);
        let options = DiskOptions { threads, backend, state: None };
        let disk =
            Disk::start(&options, Arc::new(move || wake.try_send(()).unwrap_or_default())).expect("disk threads");
        let geometry = Geometry::new(PIECES * piece_length, piece_length).expect("sizes");
        let file = LayoutFile { path: "file".into(), len: geometry.total(), pad: false };
        disk.submit(Job::Open {
            torrent: KEY,
            info_hash: InfoHash::new([1; 20]),
            layout: Layout::new(geometry, vec![file]).expect("a layout"),
            dir: dir.path().into(),
            hashes: (0..PIECES).map(|_| hash).collect(),
            check: CheckMode::TrustResume,
            writing: Writing::Repair,
        });
        let bench = Self { disk, woken, geometry, _dir: dir };
        assert!(matches!(bench.next(), Done::Opened { result: Ok(_), .. }));
        bench
    }

    fn next(&self) -> Done {
        loop {
            if let Some(done) = self.disk.try_recv() {
                return done;
            }
            self.woken.recv().expect("disk threads");
        }
    }

    fn open_window(&self, piece: PieceIndex) -> WriteWindow {
        self.disk.submit(Job::OpenWindow { torrent: KEY, piece });
        let Done::WindowOpened { result: Ok(window), .. } = self.next() else { panic!("no window") };
        window
    }

    fn verify(&self, piece: PieceIndex, window: WriteWindow) -> Verified {
        self.disk.submit(Job::Verify { torrent: KEY, piece, window, digests: false });
        let Done::Verified { result: Ok(verified), .. } = self.next() else { panic!("not verified") };
        verified
    }
}

/// Pieces that are verified side by side: each goes in again as soon as it is back.
fn side_by_side(c: &mut Criterion) {
    let mut group = c.benchmark_group("piece_verify");
    for (size, piece_length) in SIZES {
        for (streams, threads) in [(1, 2), (2, 1), (2, 2)] {
            let bench = Bench::new(threads, BackendChoice::Positional, piece_length, PieceHash::new([0; 20]));
            let count = streams * threads;
            let mut windows: Vec<_> =
                bench.geometry.pieces().take(count).map(|piece| (piece, bench.open_window(piece))).collect();
            group.throughput(Throughput::Bytes(piece_length * count as u64));
            let name = format!("positional_{streams}_streams_{threads}_threads");
            group.bench_function(BenchmarkId::new(format!("sha1_{size}"), name), |b| {
                b.iter(|| {
                    for (piece, window) in windows.drain(..) {
                        bench.disk.submit(Job::Verify { torrent: KEY, piece, window, digests: false });
                    }
                    while windows.len() < count {
                        let Done::Verified { piece, result: Ok(Verified::Bad(window)), .. } = bench.next() else {
                            panic!("zeros do not hash to zeros")
                        };
                        windows.push((piece, window));
                    }
                });
            });
        }
    }
    group.finish();
}

fn piece_verify(c: &mut Criterion) {
    let mut group = c.benchmark_group("piece_verify");
    for (size, piece_length) in SIZES {
        group.throughput(Throughput::Bytes(piece_length));
        let block: Vec<u8> = (0..BLOCK_LEN).map(|n| (n % 251) as u8).collect();
        let content: Vec<u8> = block.iter().copied().cycle().take(piece_length as usize).collect();
        let hash = PieceHash::new(Sha1::digest(&content).into());
        for (name, backend) in [("mapped", BackendChoice::Mapped), ("positional", BackendChoice::Positional)] {
            let bench = Bench::new(1, backend, piece_length, PieceHash::new([0; 20]));
            let first = bench.geometry.piece(0).expect("a piece");
            let mut window = Some(bench.open_window(first));
            group.bench_function(BenchmarkId::new(format!("sha1_{size}"), name), |b| {
                b.iter(|| match bench.verify(first, window.take().expect("the window")) {
                    Verified::Bad(back) => window = Some(back),
                    Verified::Good(_) => panic!("zeros do not hash to zeros"),
                });
            });

            let bench = Bench::new(1, backend, piece_length, hash);
            let mut pieces = (0..PIECES as u32).cycle();
            group.bench_function(BenchmarkId::new(format!("receive_{size}"), name), |b| {
                b.iter(|| {
                    let piece = pieces.next().and_then(|piece| bench.geometry.piece(piece)).expect("a piece");
                    let mut window = bench.open_window(piece);
                    for begin in (0..window.len()).step_by(block.len()) {
                        window.write_at(begin, black_box(&block)).expect("inside");
                    }
                    let Verified::Good(window) = bench.verify(piece, window) else { panic!("bad") };
                    bench.disk.submit(Job::Release(window.into_iter().collect()));
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, piece_verify, side_by_side);
criterion_main!(benches);
