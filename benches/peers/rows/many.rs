//! Start with many small torrents that are complete.

use std::path::Path;
use std::time::{Duration, Instant};

use super::idle::{SETTLE, idle_cpu};
use super::{IDLE_CPU, MEMORY, MIB, Measured, Metric, Row};
use crate::clients::{Client, Collection};
use crate::content::Content;
use crate::lab::{Lab, START_LIMIT};
use crate::measure::anonymous_bytes;
use crate::trouble::Trouble;

/// Bytes of each torrent, in two pieces.
const BYTES: u64 = 32 << 10;

/// How long a client may take to add them, and to start with them: Transmission looks at one every 0.1 s.
const PATIENCE: Duration = Duration::from_secs(400);

/// How long a start takes.
pub const READY: Metric = Metric { title: "s until all seed", digits: 2, more_is_better: Some(false) };
/// What a torrent more takes.
pub const EACH: Metric = Metric { title: "KiB per torrent", digits: 1, more_is_better: Some(false) };
/// How long it takes to add them.
pub const ADDED: Metric = Metric { title: "s to add all the first time", digits: 1, more_is_better: Some(false) };

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

    fn run(&self, lab: &Lab, _: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let many = start(lab, client, lab.many, PATIENCE, lab.idle)?;
        Ok(vec![many.seconds, many.each, many.memory, many.idle_cpu, many.added].into())
    }

    fn rounds(&self) -> usize {
        1
    }
}

/// A client with many torrents.
pub struct Many {
    /// Seconds from its start until all seeded.
    pub seconds: f64,
    /// KiB of anonymous memory for each.
    pub each: f64,
    /// MiB of anonymous memory in all.
    pub memory: f64,
    /// CPU seconds in a minute of doing nothing.
    pub idle_cpu: f64,
    /// Seconds it took to add them all, with checking; not finite for a client that keeps no list.
    pub added: f64,
}

/// Starts a client with `count` torrents that it knows, after giving them to it if it does not know them yet.
pub fn start(
    lab: &Lab,
    client: &dyn Client,
    count: usize,
    limit: Duration,
    watched: Duration,
) -> Result<Many, Trouble> {
    let empty = with_none(lab, client)?;
    let (collection, added) = collection(lab, client, count, limit)?;
    let mut all = client.serve_all(lab, &collection)?;
    all.wait(lab, limit)?;
    let seconds = (Instant::now() - all.started).as_secs_f64();
    lab.sleep(SETTLE)?;
    let idle_cpu = idle_cpu(lab, all.process.id(), watched)?;
    let memory = anonymous_bytes(all.process.id()) as f64;
    all.process.must_run()?;
    all.process.stop();
    Ok(Many { seconds, each: (memory - empty) / 1024.0 / count as f64, memory: memory / MIB, idle_cpu, added })
}

/// Bytes of anonymous memory without a torrent, measured once.
fn with_none(lab: &Lab, client: &dyn Client) -> Result<f64, Trouble> {
    let home = lab.kept("none")?.join(file_name(client));
    let known = home.join("anonymous-bytes");
    if !known.exists() {
        let mut none = client.start(lab, &home)?;
        none.wait(lab, START_LIMIT)?;
        lab.sleep(SETTLE)?;
        std::fs::write(&known, anonymous_bytes(none.process.id()).to_string())?;
    }
    std::fs::read_to_string(known)?.parse().map_err(Trouble::failed)
}

/// The torrents, their data, and the client's state, which some take minutes to make: how many seconds it took.
fn collection(lab: &Lab, client: &dyn Client, count: usize, limit: Duration) -> Result<(Collection, f64), Trouble> {
    let all = lab.kept(&format!("many-{count}"))?;
    let (torrents, dir) = (all.join("torrents"), all.join("data"));
    let written = all.join("written");
    if !written.exists() {
        std::fs::create_dir_all(&torrents)?;
        for nth in 0..count {
            lab.check()?;
            let name = format!("small-{nth:05}.bin");
            let content = Content::small(&name, BYTES, 16 << 10, nth as u64);
            content.write_into(&dir)?;
            content.write_torrent(&torrents.join(format!("{name}.torrent")))?;
        }
        std::fs::write(written, "")?;
    }
    let home = all.join(file_name(client));
    let prepared = home.join("prepared");
    let collection = Collection { torrents, dir, home, count, limit };
    if !prepared.exists() {
        std::fs::create_dir_all(&collection.home)?;
        let time = client.prepare(lab, &collection)?.map_or(f64::NAN, |time| time.as_secs_f64());
        std::fs::write(&prepared, time.to_string())?;
    }
    let added = std::fs::read_to_string(prepared)?.parse().unwrap_or(f64::NAN);
    Ok((collection, added))
}

fn file_name(client: &dyn Client) -> String {
    client.name().replace([' ', ','], "-")
}
