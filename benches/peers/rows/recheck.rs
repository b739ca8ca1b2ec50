//! Hash everything that lies on the disk.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{BUSIEST, CPU, GIB, MB, MIB, Measured, Metric, PEAK, Row, SPEED, size};
use crate::clients::{Client, Job};
use crate::content::Content;
use crate::lab::{Lab, TRANSFER_LIMIT};
use crate::measure::{Cost, Watch};
use crate::trouble::Trouble;

/// The row.
pub struct Recheck;

impl Row for Recheck {
    fn name(&self) -> String {
        "recheck".to_owned()
    }

    fn title(&self, lab: &Lab) -> String {
        format!("Recheck {}, warm, pieces of 1 MiB", size(2 * lab.size))
    }

    fn metrics(&self) -> &'static [Metric] {
        &[SPEED, CPU, PEAK, BUSIEST]
    }

    fn run(&self, lab: &Lab, data: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let content = Content::new("recheck.bin", 2 * lab.size, 1 << 20, 3);
        let (seconds, cost) = check(lab, data, client, &content, TRANSFER_LIMIT)?;
        let gib = content.len as f64 / GIB;
        Ok(vec![content.len as f64 / MB / seconds, cost.cpu / gib, cost.peak / MIB, 100.0 * cost.busiest].into())
    }
}

/// Lets a client hash what lies in `data`, which is written first if it is not there: how long it took, and what it cost.
pub fn check(
    lab: &Lab,
    data: &Path,
    client: &dyn Client,
    content: &Content,
    limit: Duration,
) -> Result<(f64, Cost), Trouble> {
    let folder = lab.folder()?;
    content.write_into(data)?;
    let job = Job::new(folder.path(), "home", content, data)?;
    let mut check = client.recheck(lab, &job)?;
    let watch = Watch::from_start(check.process.id(), check.cpu_before);
    check.wait(lab, limit)?;
    let seconds = (Instant::now() - check.started).as_secs_f64();
    let cost = watch.stop();
    check.process.stop();
    Ok((seconds, cost))
}
