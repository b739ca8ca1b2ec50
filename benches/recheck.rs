//! How fast files on a disk are compared with a torrent, as `bitween verify` does it: opening, reading and hashing, on one
//! core and on two. Reports bytes of files per second.
//!
//! Data lies in `/dev/shm` where that exists, so that the disk is not what is measured. On a machine with one core both
//! rows are the same.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark may panic")]

use std::path::Path;
use std::sync::atomic::AtomicBool;

use bitween::proto::metainfo::{Info, Metainfo};
use bitween::storage::inspect::check_files;
use bitween::storage::{CreateOptions, create_torrent};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const SIZE: usize = 256 * 1024 * 1024;
/// As a test, which runs everything once: enough for each thread to have some pieces.
const TEST_SIZE: usize = 8 * 1024 * 1024;

fn folder() -> tempfile::TempDir {
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn prepare(dir: &Path, size: usize, piece_length: u32) -> Info {
    let mut data = vec![0; size];
    fastrand::Rng::with_seed(1).fill(&mut data);
    let path = dir.join("data.bin");
    std::fs::write(&path, data).unwrap();
    let options = CreateOptions { piece_length: Some(piece_length), ..CreateOptions::default() };
    let bytes = create_torrent(&path, &options, &|_, _| {}, &AtomicBool::new(false)).unwrap();
    Metainfo::parse(&bytes).unwrap().info
}

/// The first cores of those this process may use: as many threads hash.
fn first(cores: usize, of: &CpuSet) -> CpuSet {
    let mut set = CpuSet::new();
    (0..CpuSet::MAX_CPU).filter(|core| of.is_set(*core)).take(cores).for_each(|core| set.set(core));
    set
}

fn recheck(criterion: &mut Criterion) {
    let size = if std::env::args().any(|argument| argument == "--test") { TEST_SIZE } else { SIZE };
    let all = sched_getaffinity(None).unwrap();
    let mut group = criterion.benchmark_group("recheck");
    group.throughput(Throughput::Bytes(size as u64)).sample_size(10);
    for (name, piece_length) in [("pieces_of_256KiB", 256 * 1024), ("pieces_of_4MiB", 4 * 1024 * 1024)] {
        let folder = folder();
        let info = prepare(folder.path(), size, piece_length);
        for threads in [1, 2] {
            sched_setaffinity(None, &first(threads, &all)).unwrap();
            group.bench_function(BenchmarkId::new(name, format!("{threads}_threads")), |bencher| {
                bencher.iter(|| {
                    let report = check_files(&info, folder.path(), &|_, _| {}, &AtomicBool::new(false)).unwrap();
                    assert!(report.is_complete());
                });
            });
        }
        sched_setaffinity(None, &all).unwrap();
    }
    group.finish();
}

criterion_group!(benches, recheck);
criterion_main!(benches);
