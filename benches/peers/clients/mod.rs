//! The clients: how each is started for each kind of work, and how it tells that it is done.

mod aria2;
mod bitween;
mod control;
mod libtorrent;
mod memory;
mod rqbit;
mod transmission;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use aria2::Aria2;
pub use bitween::{Bitween, Daemon, add};
pub use control::call;
pub use libtorrent::Libtorrent;
pub use memory::{Memory, SEED_FROM_MEMORY, seed_from_memory};
pub use rqbit::Rqbit;
pub use transmission::Transmission;

use crate::content::Content;
use crate::lab::Lab;
use crate::process::Process;
use crate::trouble::Trouble;

/// Connections that a client is told to allow, where it can be told.
pub const CONNECTION_LIMIT: usize = 2000;

/// One torrent for one client.
pub struct Job<'a> {
    /// Where the client keeps its own files.
    pub home: PathBuf,
    /// The torrent's bytes.
    pub content: &'a Content,
    /// The torrent file.
    pub torrent: PathBuf,
    /// Folder that holds, or gets, the torrent's file.
    pub dir: PathBuf,
    /// Port of a peer on the loopback interface that has everything; without one the peer comes by itself.
    pub peer: Option<u16>,
}

impl<'a> Job<'a> {
    /// A job below `folder`, whose data lies, or is to lie, in `dir`.
    pub fn new(folder: &Path, name: &str, content: &'a Content, dir: &Path) -> Result<Self, Trouble> {
        let home = folder.join(name);
        std::fs::create_dir_all(&home)?;
        std::fs::create_dir_all(dir)?;
        let torrent = home.join("content.torrent");
        content.write_torrent(&torrent)?;
        Ok(Self { home, content, torrent, dir: dir.to_owned(), peer: None })
    }
}

/// Many small torrents that are complete on disk, and a folder in which a client may keep what it knows of them.
pub struct Collection {
    /// Folder with the torrent files.
    pub torrents: PathBuf,
    /// Folder with the data of all of them.
    pub dir: PathBuf,
    /// The client's home folder.
    pub home: PathBuf,
    /// How many there are.
    pub count: usize,
    /// How long a client may take with them.
    pub limit: Duration,
}

/// A client at work.
pub struct Running {
    /// Its process.
    pub process: Process,
    /// Where it takes connections from peers; 0 if it does not.
    pub port: u16,
    /// When the work began, in as far as the client decides that.
    pub started: Instant,
    /// CPU seconds that the process had used before its work began.
    pub cpu_before: f64,
    /// Asks whether the work is done.
    done: Box<Question>,
    /// How often it is asked: rarely where the answer costs the client something.
    every: Duration,
    /// What has to live as long as the process.
    _with: Option<Box<dyn std::any::Any>>,
}

type Question = dyn FnMut(&Process) -> Result<bool, Trouble>;

/// How often a client's output is looked at.
const LOOK: Duration = Duration::from_millis(2);

impl Running {
    fn new(process: Process, port: u16, done: impl FnMut(&Process) -> Result<bool, Trouble> + 'static) -> Self {
        Self { process, port, started: Instant::now(), cpu_before: 0.0, done: Box::new(done), every: LOOK, _with: None }
    }

    /// Done when a line with `part` has been printed.
    fn until_line(process: Process, port: u16, part: &'static str) -> Self {
        Self::new(process, port, move |process| Ok(process.line(part)?.is_some()))
    }

    fn asked_every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    fn with(self, with: impl std::any::Any) -> Self {
        Self { _with: Some(Box::new(with)), ..self }
    }

    /// Whether the work is done.
    pub fn is_done(&mut self) -> Result<bool, Trouble> {
        (self.done)(&self.process)
    }

    /// Waits until the work is done.
    pub fn wait(&mut self, lab: &Lab, limit: Duration) -> Result<(), Trouble> {
        let every = self.every;
        let name = format!("the work of process {}", self.process.id());
        let outcome = lab.wait(&name, limit, every, || Ok(self.is_done()?.then_some(())));
        match outcome {
            Err(Trouble::Failed(what)) if what.starts_with("waited") => Err(self.process.trouble(&what)),
            other => other,
        }
    }
}

/// A BitTorrent client that can be measured.
pub trait Client {
    /// Its name with the version series, if several are measured.
    fn name(&self) -> &'static str;

    /// What exactly runs, for the report.
    fn version(&self) -> Result<String, Trouble>;

    /// What it was told that is not its default, and what it cannot do.
    fn remarks(&self) -> &'static [&'static str];

    /// Beginnings of the names of the only rows it takes part in; `None` for all.
    fn only_in(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// Starts to download, ready for a connection from a seeder (or connecting to `job.peer`). Done when complete.
    fn leech(&self, _lab: &Lab, _job: &Job) -> Result<Running, Trouble> {
        NOTHING
    }

    /// Serves what is complete in `job.dir` to as many as come. Returns when it does.
    fn seed(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble>;

    /// Hashes everything in `job.dir`. Done when all of it was found right.
    fn recheck(&self, _lab: &Lab, _job: &Job) -> Result<Running, Trouble> {
        NOTHING
    }

    /// Adds the collection, once, and ends. How long it took from its start until all torrents seeded; `None` for a client
    /// that keeps no list of torrents.
    fn prepare(&self, _lab: &Lab, _collection: &Collection) -> Result<Option<Duration>, Trouble> {
        Ok(None)
    }

    /// Starts with this collection. Done when all torrents seed.
    fn serve_all(&self, _lab: &Lab, _collection: &Collection) -> Result<Running, Trouble> {
        NOTHING
    }

    /// The program to start inside a box; `None` for a client that is not measured in one.
    fn program(&self) -> Option<&Path> {
        None
    }

    /// Starts without a torrent. Done when it runs.
    fn start(&self, _lab: &Lab, _home: &Path) -> Result<Running, Trouble> {
        NOTHING
    }
}

const NOTHING: Result<Running, Trouble> = Err(Trouble::CannotDo("only seeds"));

/// The torrent files of a collection.
fn torrent_files(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

/// First line that a program prints when asked for its version.
fn version_of(mut command: std::process::Command) -> Result<String, Trouble> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(Trouble::failed("is not installed, or does not run"));
    }
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())
}
