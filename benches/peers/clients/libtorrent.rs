//! libtorrent-rasterbar (what qBittorrent and Deluge run on), through `libtorrent_client.py`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{CONNECTION_LIMIT, Client, Collection, Job, LOOK, Running, version_of};
use crate::lab::{Lab, START_LIMIT, free_port};
use crate::measure::cpu_seconds;
use crate::process::Process;
use crate::trouble::Trouble;

/// One version of libtorrent.
pub struct Libtorrent {
    name: &'static str,
    series: &'static str,
    hashing_threads: Option<u32>,
}

impl Libtorrent {
    /// The 2.0 series.
    pub const V2_0: Self = Self { name: "libtorrent 2.0", series: "2.0", hashing_threads: None };

    /// The 2.1 series.
    pub const V2_1: Self = Self { name: "libtorrent 2.1", series: "2.1", hashing_threads: None };

    /// The 2.1 series, hashing on both cores.
    pub const V2_1_TWO_THREADS: Self =
        Self { name: "libtorrent 2.1, 2 hashing threads", series: "2.1", hashing_threads: Some(2) };

    fn command(&self) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python: PathBuf = root.join(format!(".venv-libtorrent-{}/bin/python", self.series));
        let mut command = Command::new(python);
        command.arg(root.join("benches/peers/clients/libtorrent_client.py"));
        command
    }

    fn launch(&self, home: &Path, more: impl FnOnce(&mut Command)) -> Result<(Process, u16), Trouble> {
        let port = free_port()?;
        let mut command = self.command();
        command.args(["--port", &port.to_string()]);
        if let Some(threads) = self.hashing_threads {
            command.args(["--hashing-threads", &threads.to_string()]);
        }
        more(&mut command);
        Ok((Process::start(command, home)?, port))
    }

    /// Waits for the first torrent to be added: what Python takes to start is not libtorrent's.
    fn added(lab: &Lab, process: Process, port: u16) -> Result<Running, Trouble> {
        lab.wait("libtorrent", START_LIMIT, LOOK, || process.line("adding"))?;
        let cpu_before = cpu_seconds(process.id());
        Ok(Running { cpu_before, ..Running::until_line(process, port, "done") })
    }
}

impl Client for Libtorrent {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> Result<String, Trouble> {
        let mut command = self.command();
        command.arg("--version");
        Ok(format!("{} (PyPI wheel)", version_of(command)?))
    }

    fn remarks(&self) -> &'static [&'static str] {
        if self.hashing_threads.is_some() {
            return &["`hashing_threads` = 2 (default 1)."];
        }
        if self.series != "2.1" {
            return &["As the other one."];
        }
        &[
            "A session in Python, asleep between libtorrent's alerts: about 5 MiB of its anonymous memory and most \
             of its start belong to the interpreter, and are not counted where work is measured. Transfers do not run Python.",
            "A download is done when it is written (`flush_cache`): at its own \"finished\" a hundred MiB may not be.",
            "When seeding: `connections_limit` and `listen_queue_size` = 2000, `unchoke_slots_limit` = -1 (defaults 200, 5, 8).",
        ]
    }

    fn only_in(&self) -> Option<&'static [&'static str]> {
        self.hashing_threads.map(|_| &["recheck"][..])
    }

    fn leech(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let (process, port) = self.launch(&job.home, |command| {
            command.arg("--flush").arg("--torrent").arg(&job.torrent).arg("--dir").arg(&job.dir);
            if let Some(peer) = job.peer {
                command.args(["--peer", &format!("127.0.0.1:{peer}")]);
            }
        })?;
        let running = Self::added(lab, process, port)?;
        if job.peer.is_none() {
            lab.wait("libtorrent to be ready", START_LIMIT, LOOK, || running.process.line("ready"))?;
        }
        Ok(running)
    }

    fn seed(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let (process, port) = self.launch(&job.home, |command| {
            command.arg("--torrent").arg(&job.torrent).arg("--dir").arg(&job.dir);
            command.args(["--connections", &CONNECTION_LIMIT.to_string()]);
        })?;
        let mut running = Self::added(lab, process, port)?;
        running.wait(lab, START_LIMIT)?;
        Ok(running)
    }

    fn recheck(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let (process, port) = self.launch(&job.home, |command| {
            command.arg("--torrent").arg(&job.torrent).arg("--dir").arg(&job.dir);
        })?;
        Self::added(lab, process, port)
    }

    fn prepare(&self, lab: &Lab, collection: &Collection) -> Result<Option<Duration>, Trouble> {
        let resume = collection.home.join("resume");
        std::fs::create_dir_all(&resume)?;
        let started = Instant::now();
        let (mut process, _) = self.launch(&collection.home, |command| {
            command.arg("--torrents").arg(&collection.torrents).arg("--dir").arg(&collection.dir);
            command.arg("--save").arg(resume);
        })?;
        lab.wait("libtorrent to check all torrents", collection.limit, LOOK, || process.line("done"))?;
        let time = started.elapsed();
        if process.succeeded()? { Ok(Some(time)) } else { Err(process.trouble("failed")) }
    }

    fn serve_all(&self, lab: &Lab, collection: &Collection) -> Result<Running, Trouble> {
        let (process, port) = self.launch(&collection.home, |command| {
            command.arg("--resume").arg(collection.home.join("resume"));
        })?;
        Self::added(lab, process, port)
    }

    fn start(&self, _: &Lab, home: &Path) -> Result<Running, Trouble> {
        let started = Instant::now();
        let (process, port) = self.launch(home, |_| {})?;
        Ok(Running { started, ..Running::until_line(process, port, "listening on port ") })
    }
}
