//! Download from a seeder that serves from memory.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{BUSIEST, CPU, GIB, KERNEL, MB, MIB, Measured, Metric, OTHER_CPU, PEAK, Row, SPEED, size};
use crate::clients::{Client, Job};
use crate::content::Content;
use crate::lab::{Lab, TRANSFER_LIMIT, loopback};
use crate::load::seeder::Seeder;
use crate::measure::{Cost, Watch};
use crate::trouble::Trouble;

/// Bytes of a piece.
pub const PIECE: u32 = 1 << 20;

/// Speed from the first request to the last block: without what the client waits for before, and what it has to write, or
/// needs to notice, afterwards (aria2 looks once a second).
pub const FLOWING: Metric = Metric { title: "MB/s while data flows", digits: 0, more_is_better: Some(true) };
/// How long until the client asks for anything.
pub const FIRST_REQUEST: Metric = Metric { title: "ms until first request", digits: 0, more_is_better: Some(false) };

/// The row.
pub struct Download;

impl Row for Download {
    fn name(&self) -> String {
        "download".to_owned()
    }

    fn title(&self, lab: &Lab) -> String {
        format!(
            "Download {} from a seeder that serves from memory, over one connection, pieces of 1 MiB",
            size(lab.size)
        )
    }

    fn metrics(&self) -> &'static [Metric] {
        &[SPEED, CPU, PEAK, OTHER_CPU, KERNEL, BUSIEST, FLOWING, FIRST_REQUEST]
    }

    fn run(&self, lab: &Lab, _: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let content = Content::new("download.bin", lab.size, PIECE, 1);
        let Fetched { cost, seconds, until_request, flowing } = fetch(lab, client, &content, TRANSFER_LIMIT)?;
        let gib = content.len as f64 / GIB;
        Ok(vec![
            content.len as f64 / MB / seconds,
            cost.cpu / gib,
            cost.peak / MIB,
            cost.own_cpu / gib,
            100.0 * cost.kernel,
            100.0 * cost.busiest,
            content.len as f64 / MB / flowing,
            1000.0 * until_request,
        ]
        .into())
    }
}

/// What a download took.
pub struct Fetched {
    /// What it cost the client and the seeder.
    pub cost: Cost,
    /// From the connection to the end.
    pub seconds: f64,
    /// From the connection to the first request.
    pub until_request: f64,
    /// From then until the last block was sent.
    pub flowing: f64,
}

/// Lets a client download from memory, and compares what it got with what there is.
pub fn fetch(lab: &Lab, client: &dyn Client, content: &Content, limit: Duration) -> Result<Fetched, Trouble> {
    let folder = lab.folder()?;
    let dir = folder.path().join("downloads");
    let job = Job::new(folder.path(), "home", content, &dir)?;
    let mut leech = client.leech(lab, &job)?;
    let seeder = Seeder::new(content);
    let watch = Watch::from_start(leech.process.id(), leech.cpu_before);
    let connected = Instant::now();
    seeder.connect(loopback(leech.port))?;
    leech.wait(lab, limit)?;
    let done = Instant::now();
    let cost = watch.stop();
    let first = seeder.first_request().ok_or_else(|| Trouble::failed("it says complete, but asked for nothing"))?;
    let last = seeder.last_block().unwrap_or(done);
    leech.process.stop();
    content.check_in(&dir)?;
    Ok(Fetched {
        cost,
        seconds: (done - connected).as_secs_f64(),
        until_request: (first - connected).as_secs_f64(),
        flowing: (last - first).as_secs_f64(),
    })
}
