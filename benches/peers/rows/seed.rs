//! Seed random pieces to some connections, each with 64 requests outstanding.

use std::path::Path;
use std::time::Duration;

use super::{BUSIEST, CPU, GIB, KERNEL, MB, MIB, Measured, Metric, OTHER_BUSIEST, OTHER_CPU, PEAK, Row, SPEED, size};
use crate::clients::{Client, Job};
use crate::content::Content;
use crate::lab::{Lab, loopback};
use crate::load::leecher::{Leechers, OUTSTANDING};
use crate::measure::{Cost, Watch};
use crate::trouble::Trouble;

/// Not measured: connecting, unchoking, first touches of memory.
const WARM_UP: Duration = Duration::from_secs(2);

/// After the warm-up, how long the first byte on any connection is waited for.
const LATE: Duration = Duration::from_secs(13);

/// After that, how long the first byte on one connection more is waited for.
const FURTHER: Duration = Duration::from_secs(5);

/// More data than any cache holds, but no more than this.
const MOST: u64 = 1 << 30;

/// How many connections got anything.
pub const SERVED: Metric = Metric { title: "connections served", digits: 0, more_is_better: Some(true) };
const FIRST_BYTE: Metric = Metric { title: "ms until first byte", digits: 0, more_is_better: Some(false) };
const LAST_FIRST_BYTE: Metric = Metric { title: "of the last connection", digits: 0, more_is_better: Some(false) };

/// What is seeded.
pub fn content(lab: &Lab) -> Content {
    Content::new("seed.bin", lab.size.min(MOST), 1 << 20, 2)
}

/// The row for a number of connections.
pub struct Seed {
    /// How many there are.
    pub connections: usize,
}

impl Row for Seed {
    fn name(&self) -> String {
        format!("seed-{}", self.connections)
    }

    fn title(&self, lab: &Lab) -> String {
        let (size, plural) = (size(lab.size.min(MOST)), if self.connections == 1 { "" } else { "s" });
        format!(
            "Seed {size} to {} connection{plural}, random pieces of 1 MiB, {OUTSTANDING} requests outstanding each",
            self.connections
        )
    }

    fn metrics(&self) -> &'static [Metric] {
        &[SPEED, CPU, PEAK, SERVED, FIRST_BYTE, LAST_FIRST_BYTE, OTHER_CPU, KERNEL, BUSIEST, OTHER_BUSIEST]
    }

    fn run(&self, lab: &Lab, data: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let content = content(lab);
        let Served { bytes, cost, peak, leechers } =
            serve(lab, data, client, &content, self.connections, lab.measured)?;
        let first = leechers.first_bytes();
        Ok(vec![
            bytes / MB / cost.seconds,
            cost.cpu / (bytes / GIB),
            peak / MIB,
            leechers.served() as f64,
            1000.0 * first.get(first.len() / 2).copied().unwrap_or(f64::NAN),
            1000.0 * first.last().copied().unwrap_or(f64::NAN),
            cost.own_cpu / (bytes / GIB),
            100.0 * cost.kernel,
            100.0 * cost.busiest,
            100.0 * cost.own_busiest,
        ]
        .into())
    }
}

/// What was served in the time measured.
pub struct Served {
    /// Bytes of blocks.
    pub bytes: f64,
    /// What it cost.
    pub cost: Cost,
    /// Peak of the client's anonymous memory from before the first connection on.
    pub peak: f64,
    /// Those who got it.
    pub leechers: Leechers,
}

/// Lets a client seed to so many connections, and measures it for a while once data flows to all, or to no more of them.
pub fn serve(
    lab: &Lab,
    data: &Path,
    client: &dyn Client,
    content: &Content,
    connections: usize,
    measured: Duration,
) -> Result<Served, Trouble> {
    let folder = lab.folder()?;
    content.write_into(data)?;
    let mut seed = client.seed(lab, &Job::new(folder.path(), "home", content, data)?)?;
    let memory = Watch::start(seed.process.id());
    let mut leechers = Leechers::connect(loopback(seed.port), content, connections)?;
    warm_up(lab, &mut leechers)?;
    let watch = Watch::start(seed.process.id());
    let before = leechers.bytes();
    leechers.run(lab, measured, |_| false)?;
    let bytes = (leechers.bytes() - before) as f64;
    let cost = watch.stop();
    let peak = memory.stop().peak;
    seed.process.must_run()?;
    seed.process.stop();
    if bytes == 0.0 { Err(Trouble::failed("nothing was served")) } else { Ok(Served { bytes, cost, peak, leechers }) }
}

/// Waits until data flows on every connection that is open, or on no further one for a while.
fn warm_up(lab: &Lab, leechers: &mut Leechers) -> Result<(), Trouble> {
    let all = |leechers: &Leechers| leechers.served() == leechers.open();
    let begun = |leechers: &Leechers| leechers.served() > 0;
    leechers.run(lab, WARM_UP, |_| false)?;
    leechers.run(lab, LATE, begun)?;
    while !all(leechers) {
        let served = leechers.served();
        leechers.run(lab, FURTHER, |leechers| leechers.served() > served)?;
        if leechers.served() == served {
            break;
        }
    }
    Ok(())
}
