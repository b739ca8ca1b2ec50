//! One torrent on a disk that writes 5 MB/s, another one on a fast disk, in the same daemon.
//!
//! A download of 1 GiB takes less than a second here and no two take the same time, so several are measured with and
//! without the slow disk, and their medians compared. Somebody asks the daemon for its state all the while in both cases:
//! that costs time, too, and is not the disk's fault.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{ANSWER, MB, Measured, Metric, Row, TURN, size};
use crate::clients::{Bitween, Client, Daemon, add, call};
use crate::content::Content;
use crate::lab::{Lab, loopback};
use crate::load::seeder::Seeder;
use crate::measure::api::Answers;
use crate::small_machine::{Group, SlowDisk};
use crate::trouble::Trouble;

/// What the slow disk writes in a second.
const RATE: u64 = 5_000_000;

/// How long it is written to before anything is measured: the cache is full by then, and commits wait for the disk.
const FILL: Duration = Duration::from_secs(12);

/// In this time the file system commits once more what waits for the slow disk: every 5 s.
const COMMIT: Duration = Duration::from_secs(6);

/// How long the fast disk's torrent may take: one that waits for the slow disk would take many minutes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Seeding connections of each torrent.
const PEERS: usize = 4;

/// Downloads with the slow disk, and as many without it.
const DOWNLOADS: usize = 5;

const FAST: Metric = Metric { title: "MB/s of the fast disk's torrent", digits: 0, more_is_better: Some(true) };
const ALONE: Metric = Metric { title: "MB/s when alone", digits: 0, more_is_better: None };
const RATIO: Metric = Metric { title: "with/without the slow disk", digits: 2, more_is_better: Some(true) };
const SLOW: Metric = Metric { title: "MB/s of the slow disk's", digits: 1, more_is_better: None };
const STOP: Metric = Metric { title: "s to stop", digits: 1, more_is_better: Some(false) };

/// The row.
pub struct SlowDiskRow;

impl Row for SlowDiskRow {
    fn name(&self) -> String {
        "slow-disk".to_owned()
    }

    fn title(&self, lab: &Lab) -> String {
        format!("Download {} to a fast disk while another torrent goes to a disk of 5 MB/s", size(lab.size))
    }

    fn metrics(&self) -> &'static [Metric] {
        &[FAST, ALONE, RATIO, SLOW, ANSWER, TURN, STOP]
    }

    fn run(&self, lab: &Lab, _: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let program = client.program().ok_or(Trouble::CannotDo("not measured in a box"))?;
        let mut disk = SlowDisk::new(2 << 30, RATE)?;
        let group = Group::new(None)?;
        let folder = lab.folder()?;
        let home = folder.path().join("home");
        let mut daemon = Bitween::new(group.entrance(program, folder.path())?).default_daemon(lab, &home)?;
        let fast = Content::new("fast.bin", lab.size, 1 << 20, 22);
        let asking = Answers::watch(&daemon.api);
        let alone = downloads(lab, &daemon, &fast, folder.path())?;
        asking.stop()?;

        let slow = Content::new("slow.bin", 1 << 30, 1 << 20, 23);
        disk.slow_down(&group)?;
        let seeder = begin(&daemon, &slow, folder.path(), &disk.dir())?;
        lab.sleep(FILL)?;
        let answers = Answers::watch(&daemon.api);
        let (before, start) = (done(&daemon, &slow)?, Instant::now());
        let beside = downloads(lab, &daemon, &fast, folder.path())?;
        lab.sleep(COMMIT)?;
        let written = (done(&daemon, &slow)? - before) / MB / start.elapsed().as_secs_f64();
        let (answer, turn) = (answers.stop()?, daemon.longest_turn());
        let stopping = Instant::now();
        let ended = daemon.process.stop();
        let stop = stopping.elapsed().as_secs_f64();
        drop(seeder);
        disk.speed_up();
        if ended.is_none() {
            return Err(daemon.process.trouble("had to be killed"));
        }
        Ok(vec![beside, alone, beside / alone, written, answer, turn, stop].into())
    }

    fn takes(&self, client: &dyn Client) -> bool {
        client.program().is_some()
    }
}

/// Adds a torrent, with peers that have all of it.
fn begin(daemon: &Daemon, content: &Content, home: &Path, dir: &Path) -> Result<Seeder, Trouble> {
    let torrent = home.join(format!("{}.torrent", content.name));
    content.write_torrent(&torrent)?;
    add(&daemon.api, &torrent, dir, None)?;
    let seeder = Seeder::new(content);
    for nth in 0..PEERS {
        seeder.connect_from(nth, loopback(daemon.port))?;
    }
    Ok(seeder)
}

/// The median speed of some downloads, behind one that nobody measures.
fn downloads(lab: &Lab, daemon: &Daemon, content: &Content, home: &Path) -> Result<f64, Trouble> {
    download(lab, daemon, content, home)?;
    let mut speeds = (0..DOWNLOADS).map(|_| download(lab, daemon, content, home)).collect::<Result<Vec<_>, _>>()?;
    speeds.sort_by(f64::total_cmp);
    Ok(speeds[DOWNLOADS / 2])
}

/// Bytes per second, in MB, of a whole download to memory, from the adding on. Nothing of it is left behind.
fn download(lab: &Lab, daemon: &Daemon, content: &Content, home: &Path) -> Result<f64, Trouble> {
    let start = Instant::now();
    let dir = home.join("fast");
    std::fs::create_dir_all(&dir)?;
    let _seeder = begin(daemon, content, home, &dir)?;
    lab.wait("the fast disk's torrent", PATIENCE, Duration::from_millis(10), || {
        Ok((done(daemon, content)? >= content.len as f64).then_some(()))
    })?;
    let speed = content.len as f64 / MB / start.elapsed().as_secs_f64();
    content.check_in(&dir)?;
    call(&daemon.api, "bt.remove", &json!({"hash": hash(content), "with_data": true}))?;
    Ok(speed)
}

fn done(daemon: &Daemon, content: &Content) -> Result<f64, Trouble> {
    let answer = call(&daemon.api, "bt.status", &json!({"hash": hash(content)}))?;
    let torrent = &answer["torrents"][0];
    if torrent["state"] == "error" {
        return Err(Trouble::failed(&torrent["error"]));
    }
    torrent["done"].as_f64().ok_or_else(|| Trouble::failed("bt.status does not say how much is done"))
}

fn hash(content: &Content) -> String {
    content.info_hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
