//! Connections on which nothing happens.

use std::path::Path;
use std::time::Duration;

use super::{IDLE_CPU, MEMORY, MIB, Measured, Metric, Row};
use crate::clients::Client;
use crate::clients::Job;
use crate::content::Content;
use crate::lab::{Lab, loopback};
use crate::load::idle::IdlePeers;
use crate::measure::{anonymous_bytes, fine_cpu_seconds};
use crate::trouble::Trouble;

/// Time for a client to come to rest.
pub const SETTLE: Duration = Duration::from_secs(3);

const EACH: Metric = Metric { title: "KiB per connection", digits: 1, more_is_better: Some(false) };
const KEPT: Metric = Metric { title: "connections kept", digits: 0, more_is_better: Some(true) };

/// The row.
pub struct IdleConnections;

impl Row for IdleConnections {
    fn name(&self) -> String {
        "idle".to_owned()
    }

    fn title(&self, lab: &Lab) -> String {
        format!("{} idle connections to one complete torrent", lab.connections)
    }

    fn metrics(&self) -> &'static [Metric] {
        &[EACH, MEMORY, IDLE_CPU, KEPT]
    }

    fn run(&self, lab: &Lab, data: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let folder = lab.folder()?;
        let content = Content::new("idle.bin", 16 << 20, 256 << 10, 5);
        content.write_into(data)?;
        let seed = client.seed(lab, &Job::new(folder.path(), "home", &content, data)?)?;
        lab.sleep(SETTLE)?;
        let before = anonymous_bytes(seed.process.id());
        let mut peers = IdlePeers::connect(loopback(seed.port), &content, lab.connections)?;
        lab.sleep(SETTLE)?;
        let cpu = idle_cpu(lab, seed.process.id(), lab.idle)?;
        let kept = peers.count_open();
        let after = anonymous_bytes(seed.process.id());
        seed.process.must_run()?;
        let each = (after as f64 - before as f64) / 1024.0 / kept.max(1) as f64;
        Ok(vec![each, after as f64 / MIB, cpu, kept as f64].into())
    }

    fn rounds(&self) -> usize {
        1
    }
}

/// CPU seconds that a process uses in a minute of doing nothing, of which so much is watched.
pub fn idle_cpu(lab: &Lab, pid: u32, watched: Duration) -> Result<f64, Trouble> {
    let before = fine_cpu_seconds(pid);
    lab.sleep(watched)?;
    // A thread that ended meanwhile takes its time along.
    let spent = (fine_cpu_seconds(pid) - before).max(0.0);
    Ok(spent * 60.0 / watched.as_secs_f64())
}
