//! What it costs to say something on the bus: publish one event, and every subscriber takes it.
//!
//! One thread does both, so the numbers are the work itself without any thread switch. Throughput counts deliveries.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::sync::Arc;

use bitween::bus::{Bus, Event, Subscriber, Topic, WhenFull};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Name {
    Progress,
}

impl Topic for Name {
    fn when_full(self) -> WhenFull {
        WhenFull::DropOldest
    }
}

/// As large as a real event: a key and a shared payload.
#[derive(Clone)]
struct Progress {
    _key: u64,
    _payload: Arc<[u64; 8]>,
}

impl Event for Progress {
    type Topic = Name;

    fn topic(&self) -> Name {
        Name::Progress
    }
}

fn bus_publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("bus_publish");
    for subscribers in [1_u64, 8] {
        let bus = Bus::new();
        let inboxes: Vec<Subscriber<Progress>> =
            (0..subscribers).map(|_| bus.subscribe("bench", &[Name::Progress], 64)).collect();
        let payload = Arc::new([0; 8]);
        group.throughput(Throughput::Elements(subscribers));
        group.bench_function(BenchmarkId::from_parameter(format_args!("1_to_{subscribers}")), |b| {
            b.iter(|| {
                let delivered = bus.publish(Progress { _key: 1, _payload: payload.clone() }).is_ok();
                assert!(black_box(delivered));
                inboxes.iter().filter_map(Subscriber::try_recv).count()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bus_publish);
criterion_main!(benches);
