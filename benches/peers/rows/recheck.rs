//! Hash everything that lies on the disk.

use std::path::Path;
use std::time::Instant;

use super::{BUSIEST, CPU, GIB, MB, MIB, Metric, PEAK, Row, SPEED, size};
use crate::clients::{Client, Job};
use crate::content::Content;
use crate::lab::{Lab, TRANSFER_LIMIT};
use crate::measure::Watch;
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

    fn run(&self, lab: &Lab, data: &Path, client: &dyn Client) -> Result<Vec<f64>, Trouble> {
        let folder = lab.folder()?;
        let content = Content::new("recheck.bin", 2 * lab.size, 1 << 20, 3);
        content.write_into(data)?;
        let job = Job::new(folder.path(), "home", &content, data)?;
        let mut check = client.recheck(lab, &job)?;
        let watch = Watch::from_start(check.process.id(), check.cpu_before);
        check.wait(lab, TRANSFER_LIMIT)?;
        let seconds = (Instant::now() - check.started).as_secs_f64();
        let cost = watch.stop();
        check.process.stop();
        let gib = content.len as f64 / GIB;
        Ok(vec![content.len as f64 / MB / seconds, cost.cpu / gib, cost.peak / MIB, 100.0 * cost.busiest])
    }
}
