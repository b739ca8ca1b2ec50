//! Start without a torrent.

use std::path::Path;
use std::time::Instant;

use super::idle::{SETTLE, idle_cpu};
use super::{IDLE_CPU, MIB, Measured, Metric, Row};
use crate::clients::Client;
use crate::lab::{Lab, START_LIMIT};
use crate::measure::anonymous_bytes;
use crate::trouble::Trouble;

const MEMORY: Metric = Metric { title: "anonymous MiB", digits: 2, more_is_better: Some(false) };
const RUNNING: Metric = Metric { title: "ms until running", digits: 1, more_is_better: Some(false) };

/// The row.
pub struct Start;

impl Row for Start {
    fn name(&self) -> String {
        "start".to_owned()
    }

    fn title(&self, _: &Lab) -> String {
        "Started, no torrents".to_owned()
    }

    fn metrics(&self) -> &'static [Metric] {
        &[MEMORY, RUNNING, IDLE_CPU]
    }

    fn run(&self, lab: &Lab, _: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let folder = lab.folder()?;
        let mut running = client.start(lab, &folder.path().join("home"))?;
        running.wait(lab, START_LIMIT)?;
        let time = (Instant::now() - running.started).as_secs_f64();
        lab.sleep(SETTLE)?;
        let cpu = idle_cpu(lab, running.process.id(), lab.idle)?;
        let memory = anonymous_bytes(running.process.id());
        running.process.must_run()?;
        Ok(vec![memory as f64 / MIB, 1000.0 * time, cpu].into())
    }
}
