//! Start with many small torrents that are complete.

use std::path::Path;
use std::time::Instant;

use super::idle::{SETTLE, idle_cpu};
use super::{IDLE_CPU, MEMORY, MIB, Metric, Row};
use crate::clients::{Client, Collection};
use crate::content::Content;
use crate::lab::{Lab, START_LIMIT, TRANSFER_LIMIT};
use crate::measure::anonymous_bytes;
use crate::trouble::Trouble;

/// Bytes of each torrent, in two pieces.
const BYTES: u64 = 32 << 10;

const READY: Metric = Metric { title: "s until all seed", digits: 2, more_is_better: Some(false) };
const EACH: Metric = Metric { title: "KiB per torrent", digits: 1, more_is_better: Some(false) };
const ADDED: Metric = Metric { title: "s to add all the first time", digits: 1, more_is_better: Some(false) };

/// The row.
pub struct ManyTorrents;

impl Row for ManyTorrents {
    fn name(&self) -> String {
        "many".to_owned()
    }

    fn title(&self, lab: &Lab) -> String {
        format!("Start with {} small complete torrents that it knows already", lab.many)
    }

    fn metrics(&self) -> &'static [Metric] {
        &[READY, EACH, MEMORY, IDLE_CPU, ADDED]
    }

    fn run(&self, lab: &Lab, _: &Path, client: &dyn Client) -> Result<Vec<f64>, Trouble> {
        let folder = lab.folder()?;
        let empty = with_none(lab, folder.path(), client)?;
        let (collection, added) = collection(lab, client)?;
        let mut all = client.serve_all(lab, &collection)?;
        all.wait(lab, TRANSFER_LIMIT)?;
        let seconds = (Instant::now() - all.started).as_secs_f64();
        lab.sleep(SETTLE)?;
        let cpu = idle_cpu(lab, all.process.id())?;
        let memory = anonymous_bytes(all.process.id());
        all.process.must_run()?;
        all.process.stop();
        let each = (memory as f64 - empty as f64) / 1024.0 / lab.many as f64;
        Ok(vec![seconds, each, memory as f64 / MIB, cpu, added])
    }
}

/// Anonymous memory without a torrent.
fn with_none(lab: &Lab, folder: &Path, client: &dyn Client) -> Result<u64, Trouble> {
    let mut none = client.start(lab, &folder.join("empty"))?;
    none.wait(lab, START_LIMIT)?;
    lab.sleep(SETTLE)?;
    Ok(anonymous_bytes(none.process.id()))
}

/// The torrents, their data, and the client's state, which some take minutes to make: how many seconds it took.
fn collection(lab: &Lab, client: &dyn Client) -> Result<(Collection, f64), Trouble> {
    let all = lab.kept("many")?;
    let (torrents, dir) = (all.join("torrents"), all.join("data"));
    if !torrents.exists() {
        std::fs::create_dir_all(&torrents)?;
        for nth in 0..lab.many {
            lab.check()?;
            let name = format!("small-{nth:05}.bin");
            let content = Content::small(&name, BYTES, 16 << 10, nth as u64);
            content.write_into(&dir)?;
            content.write_torrent(&torrents.join(format!("{name}.torrent")))?;
        }
    }
    let home = all.join(client.name().replace(' ', "-"));
    let prepared = home.join("prepared");
    let collection = Collection { torrents, dir, home, count: lab.many };
    if !prepared.exists() {
        std::fs::create_dir_all(&collection.home)?;
        let time = client.prepare(lab, &collection)?.map_or(f64::NAN, |time| time.as_secs_f64());
        std::fs::write(&prepared, time.to_string())?;
    }
    let added = std::fs::read_to_string(prepared)?.parse().unwrap_or(f64::NAN);
    Ok((collection, added))
}
