//! bitween itself, as the program that people run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use super::control::call;
use super::{CONNECTION_LIMIT, Client, Collection, Job, Running, torrent_files, version_of};
use crate::lab::{Lab, START_LIMIT, free_port};
use crate::process::Process;
use crate::trouble::Trouble;

/// What the daemon prints when it takes calls and connections.
const READY: &str = "ready: API ";

/// Its configuration, in the home folder.
const CONFIG: &str = "config.toml";

/// How often the daemon is asked how far it is.
const ASK: Duration = Duration::from_millis(10);

/// How received pieces reach their files, and served ones leave them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Storage {
    /// What it chooses by itself, downloading with `bitween download`.
    Command,
    /// This value of `storage` in the configuration, downloading with the daemon.
    Daemon(&'static str),
}

/// bitween.
pub struct Bitween {
    program: PathBuf,
    name: &'static str,
    storage: Storage,
}

/// A daemon that is ready.
pub struct Daemon {
    /// Its process.
    pub process: Process,
    /// Where it takes calls.
    pub api: String,
    /// Where it takes connections from peers.
    pub port: u16,
}

impl Daemon {
    /// Waits until its only torrent seeds.
    pub fn wait_until_seeding(&self, lab: &Lab, limit: Duration) -> Result<(), Trouble> {
        lab.wait("bitween to be complete", limit, ASK, || {
            self.process.must_run()?;
            Ok(all_seed(&self.api, 1)?.then_some(()))
        })
    }

    /// The longest that its network thread was busy at a stretch, in milliseconds; not finite for a bitween that does not
    /// tell.
    pub fn longest_turn(&self) -> f64 {
        let memory = call(&self.api, "Api.memory", &json!({})).unwrap_or_default();
        memory["reactor_longest_turn_ms"].as_f64().unwrap_or(f64::NAN)
    }
}

impl Bitween {
    /// This program as people run it.
    pub fn new(program: PathBuf) -> Self {
        Self { program, name: "bitween", storage: Storage::Command }
    }

    /// The same program with each of its storage back ends, which only the daemon lets choose.
    pub fn back_ends(&self) -> [Self; 3] {
        let names = [
            ("bitween daemon, auto", "auto"),
            ("bitween daemon, mapped", "mapped"),
            ("bitween daemon, positional", "positional"),
        ];
        names.map(|(name, storage)| Self { program: self.program.clone(), name, storage: Storage::Daemon(storage) })
    }

    fn launch(&self, home: &Path, arguments: &[&str], paths: &[&Path]) -> Result<Process, Trouble> {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(paths).env_remove("BITWEEN_LOG").env_remove("BITWEEN_XMPP_PASSWORD");
        Process::start(command, home)
    }

    fn launch_daemon(&self, home: &Path) -> Result<(Process, u16), Trouble> {
        let port = free_port()?;
        std::fs::create_dir_all(home)?;
        // A port chosen before stays the same, as a user's would.
        if !home.join(CONFIG).exists() {
            let limits =
                ["max_connections", "max_peers", "upload_slots"].map(|key| format!("{key} = {CONNECTION_LIMIT}\n"));
            self.write_config(home, port, &limits.concat())?;
        }
        Ok((self.launch(home, &["daemon", "--port", "0", "--config"], &[&home.join(CONFIG)])?, port))
    }

    /// Writes the configuration in `home`; `more` are lines about BitTorrent.
    fn write_config(&self, home: &Path, port: u16, more: &str) -> Result<(), Trouble> {
        // Its log tells when a download is complete.
        let (storage, level) = match self.storage {
            Storage::Command => ("auto", "warn"),
            Storage::Daemon(storage) => (storage, "info"),
        };
        let text = format!(
            "local = 'off'\n[log]\nlevel = '{level}'\n[bittorrent]\nbind = ['127.0.0.1']\nport = {port}\nstorage = '{storage}'\n{more}"
        );
        Ok(std::fs::write(home.join(CONFIG), text)?)
    }

    fn daemon(&self, lab: &Lab, home: &Path) -> Result<Daemon, Trouble> {
        let (process, _) = self.launch_daemon(home)?;
        let line = lab.wait("bitween's daemon", START_LIMIT, super::LOOK, || process.line(READY))?;
        let (api, port) = line.split_once(", BitTorrent port ").ok_or_else(|| process.trouble("said"))?;
        let port = port.parse().map_err(Trouble::failed)?;
        Ok(Daemon { api: format!("{api}/api"), port, process })
    }

    /// Starts a daemon whose limits are its defaults, and waits until it is ready.
    pub fn default_daemon(&self, lab: &Lab, home: &Path) -> Result<Daemon, Trouble> {
        std::fs::create_dir_all(home)?;
        self.write_config(home, free_port()?, "")?;
        self.daemon(lab, home)
    }
}

/// Adds a torrent whose data lies in `dir`, or is to lie there.
pub fn add(api: &str, torrent: &Path, dir: &Path, peer: Option<u16>) -> Result<(), Trouble> {
    let bytes = base64::engine::general_purpose::STANDARD.encode(std::fs::read(torrent)?);
    let peers: Vec<String> = peer.into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
    call(api, "bt.add_torrent", &json!({"torrent": bytes, "save_path": dir, "peers": peers})).map(drop)
}

/// Whether `count` torrents seed.
fn all_seed(api: &str, count: usize) -> Result<bool, Trouble> {
    let mut answer = call(api, "bt.status", &json!({}))?;
    let Value::Array(torrents) = answer["torrents"].take() else {
        return Err(Trouble::failed("bt.status has no list"));
    };
    if let Some(failed) = torrents.iter().find(|torrent| torrent["state"] == "error") {
        return Err(Trouble::failed(&failed["error"]));
    }
    Ok(torrents.iter().filter(|torrent| torrent["state"] == "seeding").count() == count)
}

impl Client for Bitween {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> Result<String, Trouble> {
        let mut command = Command::new(&self.program);
        command.arg("--version");
        version_of(command)
    }

    fn program(&self) -> Option<&Path> {
        (self.storage == Storage::Command).then_some(&self.program)
    }

    fn remarks(&self) -> &'static [&'static str] {
        if self.storage != Storage::Command {
            return &["`storage` is set to that, and the daemon downloads."];
        }
        &[
            "`bitween download` and `bitween verify` as they come; seeding, idle and many-torrent rows with `bitween daemon` \
             without an account, `max_connections`, `max_peers` and `upload_slots` raised to 2000 (defaults 400, 60 and 8), which they are \
             not in the rows on small machines and slow disks.",
        ]
    }

    fn only_in(&self) -> Option<&'static [&'static str]> {
        match self.storage {
            Storage::Command => None,
            // Seeding, that is bitween itself.
            Storage::Daemon("auto") => Some(&["download", "pair"]),
            Storage::Daemon(_) => Some(&["download", "pair", "seed-"]),
        }
    }

    fn leech(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        if self.storage != Storage::Command {
            let started = Instant::now();
            let Daemon { process, api, port } = self.daemon(lab, &job.home)?;
            add(&api, &job.torrent, &job.dir, job.peer)?;
            return Ok(Running { started, ..Running::until_line(process, port, ": complete") });
        }
        let peer = job.peer.map(|port| format!("127.0.0.1:{port}"));
        let port = free_port()?.to_string();
        let mut arguments = vec!["download", "--port", &port];
        if let Some(peer) = &peer {
            arguments.extend(["--peer", peer]);
        }
        arguments.push("--dir");
        let started = Instant::now();
        let process = self.launch(&job.home, &arguments, &[&job.dir, &job.torrent])?;
        let port = lab.wait("bitween's port", START_LIMIT, super::LOOK, || process.line("listening on port "))?;
        let port = port.parse().map_err(Trouble::failed)?;
        Ok(Running { started, ..Running::until_line(process, port, "complete: ") })
    }

    fn seed(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let Daemon { process, api, port } = self.daemon(lab, &job.home)?;
        add(&api, &job.torrent, &job.dir, None)?;
        let mut running = Running::new(process, port, move |_| all_seed(&api, 1)).asked_every(ASK);
        running.wait(lab, START_LIMIT)?;
        Ok(running)
    }

    fn recheck(&self, _: &Lab, job: &Job) -> Result<Running, Trouble> {
        let process = self.launch(&job.home, &["verify", "--dir"], &[&job.dir, &job.torrent])?;
        Ok(Running::until_line(process, 0, " and 1 of 1 files are right"))
    }

    fn prepare(&self, lab: &Lab, collection: &Collection) -> Result<Option<Duration>, Trouble> {
        let started = Instant::now();
        let mut daemon = self.daemon(lab, &collection.home)?;
        for torrent in torrent_files(&collection.torrents)? {
            add(&daemon.api, &torrent, &collection.dir, None)?;
        }
        let api = &daemon.api;
        let ready = || Ok(all_seed(api, collection.count)?.then_some(()));
        lab.wait("bitween to check all torrents", collection.limit, ASK, ready)?;
        let time = started.elapsed();
        daemon.process.stop().map(|_| Some(time)).ok_or_else(|| Trouble::failed("bitween did not stop"))
    }

    fn serve_all(&self, lab: &Lab, collection: &Collection) -> Result<Running, Trouble> {
        let started = Instant::now();
        let Daemon { process, api, port } = self.daemon(lab, &collection.home)?;
        let count = collection.count;
        let running = Running::new(process, port, move |_| all_seed(&api, count)).asked_every(ASK);
        Ok(Running { started, ..running })
    }

    fn start(&self, _: &Lab, home: &Path) -> Result<Running, Trouble> {
        let started = Instant::now();
        let (process, port) = self.launch_daemon(home)?;
        Ok(Running { started, ..Running::until_line(process, port, READY) })
    }
}
