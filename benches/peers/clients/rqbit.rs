//! rqbit's server, steered through its HTTP interface. Measured only with `--rqbit`: it has to be compiled.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::control::{get, post};
use super::{CONNECTION_LIMIT, Client, Collection, Job, LOOK, Running, torrent_files, version_of};
use crate::lab::{Lab, START_LIMIT, free_port, listens};
use crate::process::Process;
use crate::trouble::Trouble;

/// How often it is asked how far it is.
const ASK: Duration = Duration::from_millis(10);

/// rqbit.
pub struct Rqbit;

/// A server that answers.
struct Server {
    process: Process,
    url: String,
    port: u16,
}

/// Where `cargo install` puts it.
fn program() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"))).unwrap_or_default();
    let installed = home.join("bin/rqbit");
    if installed.is_file() { installed } else { "rqbit".into() }
}

fn launch(home: &Path, keep: bool) -> Result<(Server, u16), Trouble> {
    let (port, api) = (free_port()?, free_port()?);
    let mut command = Command::new(program());
    command
        .args(["-v", "warn", "--disable-dht", "--disable-lsd", "--disable-upnp-port-forward", "--disable-trackers"])
        .args(["--listen-ip", "127.0.0.1", "--listen-port", &port.to_string()])
        .args(["--http-api-listen-addr", &format!("127.0.0.1:{api}"), "--peer-limit", &CONNECTION_LIMIT.to_string()])
        .args(["server", "start"]);
    if keep {
        command.arg("--fastresume").arg("--persistence-location").arg(home.join("session"));
    } else {
        command.arg("--disable-persistence");
    }
    command.arg(home.join("downloads"));
    let process = Process::start(command, home)?;
    Ok((Server { process, url: format!("http://127.0.0.1:{api}"), port }, api))
}

fn running(lab: &Lab, home: &Path, keep: bool) -> Result<Server, Trouble> {
    let (server, api) = launch(home, keep)?;
    lab.wait("rqbit's API", START_LIMIT, LOOK, || {
        server.process.must_run()?;
        Ok(listens(api).then_some(()))
    })?;
    Ok(server)
}

fn add(url: &str, torrent: &Path, dir: &Path, peer: Option<u16>) -> Result<(), Trouble> {
    let mut target = format!("{url}/torrents?overwrite=true&output_folder={}", dir.display());
    if let Some(peer) = peer {
        target.push_str(&format!("&initial_peers=127.0.0.1:{peer}"));
    }
    post(&target, &std::fs::read(torrent)?, &mut String::new()).map(drop)
}

/// Whether its only torrent is complete, or at least running.
fn state(url: &str, complete: bool) -> Result<bool, Trouble> {
    let stats = get(&format!("{url}/torrents/0/stats/v1"))?;
    if stats["state"] == "error" {
        return Err(Trouble::failed(&stats["error"]));
    }
    Ok(stats["state"] == "live" && (!complete || stats["finished"] == true))
}

fn all_seed(url: &str, count: usize) -> Result<bool, Trouble> {
    let list = get(&format!("{url}/torrents?with_stats=true"))?;
    let torrents = list["torrents"].as_array().into_iter().flatten();
    Ok(torrents.filter(|torrent| torrent["stats"]["finished"] == true).count() == count)
}

impl Client for Rqbit {
    fn name(&self) -> &'static str {
        "rqbit"
    }

    fn version(&self) -> Result<String, Trouble> {
        let mut command = Command::new(program());
        command.arg("--version");
        version_of(command)
    }

    fn remarks(&self) -> &'static [&'static str] {
        &["`peer-limit` = 2000; session kept with `fastresume` in the row of many torrents."]
    }

    fn leech(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let Server { process, url, port } = running(lab, &job.home, false)?;
        let started = Instant::now();
        add(&url, &job.torrent, &job.dir, job.peer)?;
        if job.peer.is_none() {
            lab.wait("rqbit to be ready", START_LIMIT, LOOK, || Ok(state(&url, false)?.then_some(())))?;
        }
        Ok(Running { started, ..Running::new(process, port, move |_| state(&url, true)).asked_every(ASK) })
    }

    fn seed(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let mut running = self.recheck(lab, job)?;
        running.wait(lab, START_LIMIT)?;
        Ok(running)
    }

    fn recheck(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let Server { process, url, port } = running(lab, &job.home, false)?;
        let started = Instant::now();
        add(&url, &job.torrent, &job.dir, None)?;
        Ok(Running { started, ..Running::new(process, port, move |_| state(&url, true)).asked_every(ASK) })
    }

    fn prepare(&self, lab: &Lab, collection: &Collection) -> Result<Option<Duration>, Trouble> {
        let started = Instant::now();
        let mut server = running(lab, &collection.home, true)?;
        for torrent in torrent_files(&collection.torrents)? {
            add(&server.url, &torrent, &collection.dir, None)?;
        }
        let ready = || Ok(all_seed(&server.url, collection.count)?.then_some(()));
        lab.wait("rqbit to check all torrents", collection.limit, ASK * 10, ready)?;
        let time = started.elapsed();
        server.process.stop().map(|_| Some(time)).ok_or_else(|| Trouble::failed("rqbit did not stop"))
    }

    fn serve_all(&self, lab: &Lab, collection: &Collection) -> Result<Running, Trouble> {
        let started = Instant::now();
        let Server { process, url, port } = running(lab, &collection.home, true)?;
        let count = collection.count;
        Ok(Running { started, ..Running::new(process, port, move |_| all_seed(&url, count)).asked_every(ASK) })
    }

    fn start(&self, _: &Lab, home: &Path) -> Result<Running, Trouble> {
        let started = Instant::now();
        let (server, api) = launch(home, false)?;
        Ok(Running { started, ..Running::new(server.process, server.port, move |_| Ok(listens(api))) })
    }
}
