//! What it costs to take in a long list, and to look things up in it. One element is one share.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)] // Bench code: a failure may panic.

use std::hint::black_box;

use bitween::share::ShareTable;
use bitween::types::{InfoHash, Share};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const SHARES: u32 = 100_000;

fn shares() -> Vec<Share> {
    let mut rng = fastrand::Rng::with_seed(1);
    let share = |number: u32| {
        let info_hash = InfoHash::new(std::array::from_fn(|_| rng.u8(..)));
        let word: String = (0..16).map(|_| rng.lowercase()).collect();
        Share {
            info_hash,
            name: format!("Holiday {word} recording {number:06}").into(),
            size: 1,
            files: 1,
            complete: true,
        }
    };
    (0..SHARES).map(share).collect()
}

fn table(c: &mut Criterion) {
    let mut group = c.benchmark_group("share_table");
    let shares = shares();
    let most = shares.len();
    group.throughput(Throughput::Elements(u64::from(SHARES)));
    group.sample_size(20);
    group.bench_function("build_100k", |b| {
        b.iter_batched(|| shares.clone(), |shares| ShareTable::build(shares, most), BatchSize::LargeInput);
    });
    let (table, _) = ShareTable::build(shares.clone(), most);
    println!("share_table: {} bytes a share", table.bytes() / table.len());
    group.throughput(Throughput::Elements(1));
    let mut next = 0;
    group.bench_function("get_in_100k", |b| {
        b.iter(|| {
            next = (next + 7919) % shares.len();
            black_box(table.get(&shares[next].info_hash).unwrap())
        });
    });
    group.finish();
}

criterion_group!(benches, table);
criterion_main!(benches);
