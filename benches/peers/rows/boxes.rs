//! A download on a machine with little memory, beside the same download with as much as it likes.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::{ANSWER, CPU, GIB, MB, MIB, Measured, Metric, Row, TURN, size};
use crate::clients::{Bitween, Client, add};
use crate::content::Content;
use crate::lab::{Lab, TRANSFER_LIMIT, loopback};
use crate::load::seeder::Seeder;
use crate::measure::{Watch, api::Answers};
use crate::small_machine::{Group, SlowDisk};
use crate::trouble::Trouble;

/// Seeding connections, each from an address of its own.
const PEERS: usize = 50;

/// Files of the folder, and bytes of each: 600 MiB.
const FILES: u32 = 30_720;
const FILE_LEN: u64 = 20 << 10;

const INSIDE: Metric = Metric { title: "MB/s inside", digits: 0, more_is_better: Some(true) };
const OUTSIDE: Metric = Metric { title: "MB/s outside", digits: 0, more_is_better: None };
const RATIO: Metric = Metric { title: "inside/outside", digits: 2, more_is_better: Some(true) };
const BOX_PEAK: Metric = Metric { title: "peak MiB of the box", digits: 0, more_is_better: None };

/// A row.
pub struct SmallBox {
    what: What,
    /// Which of the two downloads is the next round's first: what comes first may find the disk in a better state.
    inside_first: Cell<bool>,
}

#[derive(Clone, Copy)]
enum What {
    /// One file.
    File,
    /// Many files.
    Folder,
}

/// What one download cost.
struct Outcome {
    speed: f64,
    cpu: f64,
    answer: f64,
    turn: f64,
}

impl SmallBox {
    /// As much as the download row in 64 MiB.
    pub fn memory() -> Self {
        Self::new(What::File)
    }

    /// Very many files in 96 MiB.
    pub fn files() -> Self {
        Self::new(What::Folder)
    }

    fn new(what: What) -> Self {
        Self { what, inside_first: Cell::new(true) }
    }

    /// Bytes of memory.
    const fn limit(&self) -> u64 {
        match self.what {
            What::File => 64 << 20,
            What::Folder => 96 << 20,
        }
    }

    fn content(&self, lab: &Lab) -> Content {
        match self.what {
            What::File => Content::new("large.bin", lab.size, 1 << 20, 20),
            What::Folder => Content::folder("folder", FILES, FILE_LEN, 256 << 10, 21),
        }
    }
}

impl Row for SmallBox {
    fn name(&self) -> String {
        match self.what {
            What::File => "box-memory".to_owned(),
            What::Folder => "box-files".to_owned(),
        }
    }

    fn title(&self, lab: &Lab) -> String {
        let what = match self.what {
            What::File => size(lab.size),
            What::Folder => format!("{FILES} files ({})", size(u64::from(FILES) * FILE_LEN)),
        };
        format!("Download {what} from {PEERS} peers to a disk inside a memory cgroup of {} MiB", self.limit() >> 20)
    }

    fn metrics(&self) -> &'static [Metric] {
        &[INSIDE, OUTSIDE, RATIO, CPU, BOX_PEAK, ANSWER, TURN]
    }

    fn run(&self, lab: &Lab, _: &Path, client: &dyn Client) -> Result<Measured, Trouble> {
        let program = client.program().ok_or(Trouble::CannotDo("not measured in a box"))?;
        let content = self.content(lab);
        let group = Group::new(Some(self.limit()))?;
        let folder = lab.folder()?;
        let entrance = group.entrance(program, folder.path())?;
        let (inside, outside) = if self.inside_first.replace(!self.inside_first.get()) {
            let inside = download(lab, &content, &entrance);
            (survived(&group, inside)?, download(lab, &content, program)?)
        } else {
            let outside = download(lab, &content, program)?;
            (survived(&group, download(lab, &content, &entrance))?, outside)
        };
        let (ratio, peak) = (inside.speed / outside.speed, group.peak() as f64 / MIB);
        Ok(vec![inside.speed, outside.speed, ratio, inside.cpu, peak, inside.answer, inside.turn].into())
    }

    /// One for each order.
    fn rounds(&self) -> usize {
        2
    }

    fn takes(&self, client: &dyn Client) -> bool {
        client.program().is_some()
    }
}

/// The outcome inside, unless the kernel killed somebody for want of memory: then it says that.
fn survived(group: &Group, inside: Result<Outcome, Trouble>) -> Result<Outcome, Trouble> {
    match (group.killed()?, inside) {
        (0, inside) => inside,
        (_, Err(Trouble::Interrupted)) => Err(Trouble::Interrupted),
        (killed, _) => Err(Trouble::failed(format!("the kernel killed {killed} processes for want of memory"))),
    }
}

/// One download of everything, to a disk.
fn download(lab: &Lab, content: &Content, program: &Path) -> Result<Outcome, Trouble> {
    lab.check()?;
    let folder = tempfile::Builder::new().prefix("bitween-peers").tempdir_in("/var/tmp")?;
    // ext4 takes its time to use the inodes of files that were deleted a minute ago: not the same disk twice.
    let disk = if content.is_folder() { Some(SlowDisk::new(2 << 30, 0)?) } else { None };
    let dir = disk.as_ref().map_or_else(|| folder.path().join("downloads"), |disk| disk.dir().join("downloads"));
    std::fs::create_dir_all(&dir)?;
    // What was written before is not to be written now.
    let _ = Command::new("sync").status();
    let torrent = folder.path().join("content.torrent");
    content.write_torrent(&torrent)?;
    let mut daemon = Bitween::new(program.to_owned()).default_daemon(lab, &folder.path().join("home"))?;
    let watch = Watch::start(daemon.process.id());
    let answers = Answers::watch(&daemon.api);
    let begin = Instant::now();
    add(&daemon.api, &torrent, &dir, None)?;
    let seeder = Seeder::new(content);
    for nth in 0..PEERS {
        seeder.connect_from(nth, loopback(daemon.port))?;
    }
    daemon.wait_until_seeding(lab, TRANSFER_LIMIT)?;
    let seconds = begin.elapsed().as_secs_f64();
    let (cost, answer, turn) = (watch.stop(), answers.stop()?, daemon.longest_turn());
    if daemon.process.stop() != Some(true) {
        return Err(daemon.process.trouble("did not stop in good order"));
    }
    content.check_in(&dir)?;
    Ok(Outcome { speed: content.len as f64 / MB / seconds, cpu: cost.cpu / (content.len as f64 / GIB), answer, turn })
}
