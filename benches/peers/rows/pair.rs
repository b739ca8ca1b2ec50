//! One instance of a client fetches from another.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{BUSIEST, CPU, FLOWING_SPEED, GIB, MB, MIB, Measured, Metric, PEAK, Row, SEEDER_CPU, SPEED, size};
use crate::clients::{Client, Job, Running};
use crate::content::Content;
use crate::lab::{Lab, TRANSFER_LIMIT, bytes_sent};
use crate::measure::Watch;
use crate::trouble::Trouble;

/// How often the connections are looked at.
const LOOK: Duration = Duration::from_millis(2);

const SEEDER_PEAK: Metric = Metric { title: "seeder's peak MiB", digits: 1, more_is_better: Some(false) };
const SEEDER_BUSIEST: Metric = Metric { title: "seeder's busiest thread %", digits: 0, more_is_better: None };
const FIRST_DATA: Metric = Metric { title: "ms until data flows", digits: 0, more_is_better: Some(false) };

/// The row.
pub struct Pair;

/// The moment from which data flows: how long two programs take to find each other is another matter than their speed.
struct Begun {
    at: Instant,
    /// Bytes that had been sent by then.
    sent: u64,
}

impl Row for Pair {
    fn name(&self) -> String {
        "pair".to_owned()
    }

    fn title(&self, lab: &Lab) -> String {
        format!("A client to itself, {}, pieces of 256 KiB", size(lab.size))
    }

    fn metrics(&self) -> &'static [Metric] {
        &[SPEED, CPU, SEEDER_CPU, PEAK, SEEDER_PEAK, BUSIEST, SEEDER_BUSIEST, FLOWING_SPEED, FIRST_DATA]
    }

    fn run(&self, lab: &Lab, data: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let folder = lab.folder()?;
        let content = Content::new("pair.bin", lab.size, 256 << 10, 4);
        content.write_into(data)?;
        let mut seed = client.seed(lab, &Job::new(folder.path(), "seeder", &content, data)?)?;
        let seeder = Watch::start(seed.process.id());
        let dir = folder.path().join("downloads");
        let job = Job { peer: Some(seed.port), ..Job::new(folder.path(), "leecher", &content, &dir)? };
        let mut leech = client.leech(lab, &job)?;
        let watch = Watch::from_start(leech.process.id(), leech.cpu_before);
        let begun = begin(lab, seed.port, &mut leech)?;
        leech.wait(lab, TRANSFER_LIMIT)?;
        let done = Instant::now();
        let (cost, seeder) = (watch.stop(), seeder.stop());
        leech.process.stop();
        seed.process.must_run()?;
        seed.process.stop();
        content.check_in(&dir)?;
        let gib = content.len as f64 / GIB;
        Ok(vec![
            content.len as f64 / MB / (done - leech.started).as_secs_f64(),
            cost.cpu / gib,
            seeder.cpu / gib,
            cost.peak / MIB,
            seeder.peak / MIB,
            100.0 * cost.busiest,
            100.0 * seeder.busiest,
            (content.len - begun.sent.min(content.len / 2)) as f64 / MB / (done - begun.at).as_secs_f64(),
            1000.0 * (begun.at - leech.started).as_secs_f64(),
        ]
        .into())
    }
}

/// Waits until data flows.
fn begin(lab: &Lab, seeder: u16, leech: &mut Running) -> Result<Begun, Trouble> {
    lab.wait("data to flow", TRANSFER_LIMIT, LOOK, || {
        if let Some(sent) = bytes_sent(seeder) {
            return Ok(Some(Begun { at: Instant::now(), sent }));
        }
        // So little that nobody saw it.
        Ok(leech.is_done()?.then_some(Begun { at: leech.started, sent: 0 }))
    })
}
