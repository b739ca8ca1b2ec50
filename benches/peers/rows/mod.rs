//! The rows of the table: what is done with each client, and which numbers come out.

mod boxes;
mod calls;
mod download;
mod growth;
mod idle;
mod many;
mod pair;
mod recheck;
mod seed;
mod slow_disk;
mod start;

use std::path::Path;

pub use self::calls::{EACH as CALLS_EACH, FUTEX};
pub use self::download::{FIRST_REQUEST, FLOWING};
use crate::clients::Client;
use crate::lab::Lab;
use crate::trouble::Trouble;

/// Bytes in a MB, as speeds are told.
pub const MB: f64 = 1e6;

/// Bytes in a MiB, as memory is told.
pub const MIB: f64 = 1_048_576.0;

/// Bytes in a GiB, as work is told.
pub const GIB: f64 = 1_073_741_824.0;

/// One column of a row's table.
#[derive(Clone, Copy)]
pub struct Metric {
    /// What it is, with its unit.
    pub title: &'static str,
    /// Digits behind the point.
    pub digits: usize,
    /// Is more better? `None` for what is told only to understand the others.
    pub more_is_better: Option<bool>,
}

/// Speed of the whole work.
pub const SPEED: Metric = Metric { title: "MB/s", digits: 0, more_is_better: Some(true) };
/// Speed without what comes before the first byte: timers, but also reserving space.
const FLOWING_SPEED: Metric = Metric { title: "MB/s once data flows", digits: 0, more_is_better: Some(true) };
/// The client's CPU time for its work.
pub const CPU: Metric = Metric { title: "CPU s/GiB", digits: 2, more_is_better: Some(false) };
/// CPU time of the load tool.
pub const OTHER_CPU: Metric = Metric { title: "other side's CPU s/GiB", digits: 2, more_is_better: None };
/// CPU time of the same client on the other side.
pub const SEEDER_CPU: Metric = Metric { title: "seeder's CPU s/GiB", digits: 2, more_is_better: Some(false) };
/// Peak of the client's anonymous memory.
const PEAK: Metric = Metric { title: "peak anonymous MiB", digits: 1, more_is_better: Some(false) };
/// Anonymous memory when nothing happens any more.
const MEMORY: Metric = Metric { title: "anonymous MiB in all", digits: 1, more_is_better: Some(false) };
/// How long the busiest thread ran.
pub const BUSIEST: Metric = Metric { title: "busiest thread %", digits: 0, more_is_better: None };
/// The same of the load tool: near 100 it was the load tool that was measured.
pub const OTHER_BUSIEST: Metric = Metric { title: "other side's busiest thread %", digits: 0, more_is_better: None };
/// The kernel's part of the CPU time.
pub const KERNEL: Metric = Metric { title: "kernel's % of CPU", digits: 0, more_is_better: None };
/// How long the API takes to answer while the client works.
const ANSWER: Metric = Metric { title: "ms API answer, 99th percentile", digits: 1, more_is_better: Some(false) };
/// The longest that a client's network thread served nobody else.
const TURN: Metric = Metric { title: "ms longest turn", digits: 1, more_is_better: Some(false) };
/// CPU time while nothing happens.
const IDLE_CPU: Metric = Metric { title: "idle CPU s/minute", digits: 3, more_is_better: Some(false) };

/// What came out of one measurement.
pub struct Measured {
    /// A number for each metric; one that is not known is not finite.
    pub numbers: Vec<f64>,
    /// What cannot be said in numbers.
    pub note: Option<String>,
}

impl From<Vec<f64>> for Measured {
    fn from(numbers: Vec<f64>) -> Self {
        Self { numbers, note: None }
    }
}

/// Rows that differ in one quantity are told in one table, with a column for each.
#[derive(Clone)]
pub struct Point {
    /// What grows.
    pub family: &'static str,
    /// How much of it this row has.
    pub label: String,
}

/// A row of the table.
pub trait Row {
    /// Its name on the command line.
    fn name(&self) -> String;

    /// What is done, for the report.
    fn title(&self, lab: &Lab) -> String;

    /// What its numbers are.
    fn metrics(&self) -> &'static [Metric];

    /// Measures one client once. `data` stays for all clients of a round.
    fn run(&self, lab: &Lab, data: &Path, client: &dyn Client) -> Result<Measured, Trouble>;

    /// In how many rounds at most: what is counted, or rests, comes out the same each time.
    fn rounds(&self) -> usize {
        usize::MAX
    }

    /// Its place in a series. A client that failed at one point of it is not asked for the greater ones.
    fn point(&self) -> Option<Point> {
        None
    }

    /// Whether this client is measured here.
    fn takes(&self, client: &dyn Client) -> bool {
        let name = self.name();
        client.only_in().is_none_or(|starts| starts.iter().any(|start| name.starts_with(start)))
    }
}

/// All rows, in the order of the report.
pub fn all() -> Vec<Box<dyn Row>> {
    let mut rows: Vec<Box<dyn Row>> = vec![Box::new(download::Download)];
    rows.extend([1, 8, 64, 256].map(|connections| Box::new(seed::Seed { connections }) as Box<dyn Row>));
    rows.push(Box::new(recheck::Recheck));
    rows.push(Box::new(pair::Pair));
    rows.push(Box::new(idle::IdleConnections));
    rows.push(Box::new(many::ManyTorrents));
    rows.push(Box::new(start::Start));
    rows.push(Box::new(calls::DownloadCalls));
    rows.push(Box::new(calls::SeedCalls));
    rows.push(Box::new(boxes::SmallBox::memory()));
    rows.push(Box::new(boxes::SmallBox::files()));
    rows.push(Box::new(slow_disk::SlowDiskRow));
    rows.extend(growth::all());
    rows
}

/// A size for people.
fn size(bytes: u64) -> String {
    let mib = bytes >> 20;
    if mib >= 1024 && mib.is_multiple_of(256) { format!("{} GiB", mib as f64 / 1024.0) } else { format!("{mib} MiB") }
}
