//! What it costs to write, describe and read the catalog of a long list. One element is one share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)] // Bench code: a failure may panic.

use std::hint::black_box;

use bitween::share::{ShareTable, catalog};
use bitween::types::{Catalog, InfoHash, Share};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const SHARES: u32 = 100_000;

fn shares() -> Vec<Share> {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut share = |number: u32| {
        let info_hash = InfoHash::new(std::array::from_fn(|_| rng.u8(..)));
        let name = format!("Holiday recording number {number:015}").into();
        Share { info_hash, name, size: 700 << 20, files: 12, complete: true }
    };
    (0..SHARES).map(&mut share).collect()
}

fn catalogs(c: &mut Criterion) {
    let mut group = c.benchmark_group("catalog");
    let shares = shares();
    let built = catalog::build(&shares, None);
    let metainfo = catalog::describe(&built.bytes).unwrap();
    let (size, about) = (built.bytes.len(), metainfo.raw_info().len());
    println!("catalog: {size} bytes for {SHARES} shares, {about} bytes of description");
    let announced = Catalog { info_hash: metainfo.info_hash, size: size as u64, count: built.count };
    group.throughput(Throughput::Elements(u64::from(SHARES)));
    group.sample_size(20);
    group.bench_function("build_100k", |b| b.iter(|| catalog::build(black_box(&shares), Some(announced.size))));
    group.bench_function("describe_100k", |b| b.iter(|| catalog::describe(black_box(&built.bytes)).unwrap()));
    group.bench_function("parse_100k", |b| b.iter(|| catalog::parse(black_box(&built.bytes), &announced).unwrap()));
    group.bench_function("parse_100k_into_a_table", |b| {
        b.iter_batched(
            || (),
            |()| ShareTable::build(catalog::parse(&built.bytes, &announced).unwrap(), shares.len()),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, catalogs);
criterion_main!(benches);
