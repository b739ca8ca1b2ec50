//! What 10,000 timers cost: setting them, taking them back, and firing them in order. Throughput counts timers.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::time::{Duration, Instant};

use bitween::bus::{Clock, SystemClock, TimerId, Timers};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const TIMERS: u64 = 10_000;

/// Due times in no order, as peers' time-outs would be; the same in every run.
fn due_times(start: Instant) -> Vec<Instant> {
    let mut rng = fastrand::Rng::with_seed(11);
    (0..TIMERS).map(|_| start + Duration::from_micros(rng.u64(0..100_000_000))).collect()
}

fn filled(due: &[Instant]) -> (Timers<u64>, Vec<TimerId>) {
    let mut timers = Timers::new();
    let ids = due.iter().map(|due| timers.insert(*due, None, 1)).collect();
    (timers, ids)
}

fn scheduler(c: &mut Criterion) {
    let start = SystemClock.now();
    let end = start + Duration::from_secs(100);
    let due = due_times(start);
    let mut group = c.benchmark_group("scheduler");
    group.throughput(Throughput::Elements(TIMERS));
    group.bench_function("insert_10k", |b| b.iter_with_large_drop(|| filled(&due)));
    group.bench_function("cancel_10k", |b| {
        b.iter_batched(
            || filled(&due),
            |(mut timers, ids)| {
                let cancelled = ids.into_iter().filter(|id| timers.cancel(*id)).count();
                (timers, cancelled)
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("pop_10k", |b| {
        b.iter_batched(
            || filled(&due).0,
            |mut timers| {
                let mut fired = 0;
                while let Some(event) = timers.pop_due(end) {
                    fired += event;
                }
                assert_eq!(fired, TIMERS);
                timers
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, scheduler);
criterion_main!(benches);
