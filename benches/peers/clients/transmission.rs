//! Transmission's daemon, steered through its RPC interface.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use super::control::post;
use super::{CONNECTION_LIMIT, Client, Collection, Job, LOOK, Running, torrent_files, version_of};
use crate::lab::{Lab, START_LIMIT, free_port, listens};
use crate::process::Process;
use crate::trouble::Trouble;

/// How often it is asked how far it is: each answer costs it something.
const ASK: Duration = Duration::from_millis(20);

/// `status` of a torrent that seeds.
const SEEDING: u64 = 6;

/// Transmission.
pub struct Transmission;

/// Its RPC interface.
struct Rpc {
    url: String,
    session: String,
}

impl Rpc {
    fn call(&mut self, method: &str, arguments: &Value) -> Result<Value, Trouble> {
        let body = json!({ "method": method, "arguments": arguments }).to_string();
        let mut answer = post(&self.url, body.as_bytes(), &mut self.session)?;
        if answer["result"] == "success" {
            Ok(answer["arguments"].take())
        } else {
            Err(Trouble::failed(format!("{method}: {}", answer["result"])))
        }
    }

    fn add(&mut self, torrent: &Path, dir: &Path) -> Result<(), Trouble> {
        let bytes = base64::engine::general_purpose::STANDARD.encode(std::fs::read(torrent)?);
        self.call("torrent-add", &json!({"metainfo": bytes, "download-dir": dir})).map(drop)
    }

    /// Whether `count` torrents are complete and seed.
    fn all_seed(&mut self, count: usize) -> Result<bool, Trouble> {
        let fields = json!({"fields": ["status", "percentDone", "error", "errorString"]});
        let answer = self.call("torrent-get", &fields)?;
        let torrents = answer["torrents"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(failed) = torrents.iter().find(|torrent| torrent["error"] == 3) {
            return Err(Trouble::failed(&failed["errorString"]));
        }
        let seeds = |torrent: &&Value| torrent["status"] == SEEDING && torrent["percentDone"] == 1.0;
        Ok(torrents.iter().filter(seeds).count() == count)
    }
}

fn launch(home: &Path) -> Result<(Process, Rpc, u16, u16), Trouble> {
    let (port, rpc_port) = (free_port()?, free_port()?);
    let settings = json!({
        "bind-address-ipv4": "127.0.0.1",
        "bind-address-ipv6": "::1",
        "dht-enabled": false,
        "download-queue-enabled": false,
        "encryption": 0,
        "lpd-enabled": false,
        "message-level": 1,
        "peer-limit-global": CONNECTION_LIMIT,
        "peer-limit-per-torrent": CONNECTION_LIMIT,
        "peer-port": port,
        "pex-enabled": false,
        "port-forwarding-enabled": false,
        "rpc-authentication-required": false,
        "rpc-bind-address": "127.0.0.1",
        "rpc-host-whitelist-enabled": false,
        "rpc-port": rpc_port,
        "rpc-whitelist-enabled": false,
        "seed-queue-enabled": false,
        "upload-slots-per-torrent": CONNECTION_LIMIT,
        "utp-enabled": false,
    });
    std::fs::create_dir_all(home)?;
    std::fs::write(home.join("settings.json"), settings.to_string())?;
    let mut command = Command::new("transmission-daemon");
    command.arg("--foreground").arg("--config-dir").arg(home);
    let rpc = Rpc { url: format!("http://127.0.0.1:{rpc_port}/transmission/rpc"), session: String::new() };
    Ok((Process::start(command, home)?, rpc, port, rpc_port))
}

fn running(lab: &Lab, home: &Path) -> Result<(Process, Rpc, u16), Trouble> {
    let (process, rpc, port, rpc_port) = launch(home)?;
    lab.wait("transmission's RPC", START_LIMIT, LOOK, || {
        process.must_run()?;
        Ok((listens(rpc_port) && listens(port)).then_some(()))
    })?;
    Ok((process, rpc, port))
}

impl Client for Transmission {
    fn name(&self) -> &'static str {
        "Transmission"
    }

    fn version(&self) -> Result<String, Trouble> {
        let mut command = Command::new("transmission-daemon");
        command.arg("--version");
        version_of(command)
    }

    fn remarks(&self) -> &'static [&'static str] {
        &[
            "`upload-slots-per-torrent`, `peer-limit-per-torrent` and `peer-limit-global` = 2000 (defaults 14, 50, 200).",
            "Looks after its peers every 10 s, so a download begins that late, and so does serving.",
        ]
    }

    fn leech(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        if job.peer.is_some() {
            return Err(Trouble::CannotDo(
                "connects to no loopback address, so it cannot fetch from itself on one machine",
            ));
        }
        let (process, mut rpc, port) = running(lab, &job.home)?;
        rpc.add(&job.torrent, &job.dir)?;
        Ok(Running::new(process, port, move |_| rpc.all_seed(1)).asked_every(ASK))
    }

    fn seed(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let mut running = self.recheck(lab, job)?;
        running.wait(lab, START_LIMIT)?;
        Ok(running)
    }

    fn recheck(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let (process, mut rpc, port) = running(lab, &job.home)?;
        let started = Instant::now();
        rpc.add(&job.torrent, &job.dir)?;
        Ok(Running { started, ..Running::new(process, port, move |_| rpc.all_seed(1)).asked_every(ASK) })
    }

    fn prepare(&self, lab: &Lab, collection: &Collection) -> Result<Option<Duration>, Trouble> {
        let started = Instant::now();
        let (mut process, mut rpc, _) = running(lab, &collection.home)?;
        for torrent in torrent_files(&collection.torrents)? {
            rpc.add(&torrent, &collection.dir)?;
        }
        lab.wait("transmission to check all torrents", collection.limit, ASK * 10, || {
            Ok(rpc.all_seed(collection.count)?.then_some(()))
        })?;
        let time = started.elapsed();
        process.stop().map(|_| Some(time)).ok_or_else(|| Trouble::failed("transmission did not stop"))
    }

    fn serve_all(&self, lab: &Lab, collection: &Collection) -> Result<Running, Trouble> {
        let started = Instant::now();
        let (process, mut rpc, port) = running(lab, &collection.home)?;
        let count = collection.count;
        let running = Running::new(process, port, move |_| rpc.all_seed(count)).asked_every(ASK);
        Ok(Running { started, ..running })
    }

    fn start(&self, _: &Lab, home: &Path) -> Result<Running, Trouble> {
        let started = Instant::now();
        let (process, _, port, rpc_port) = launch(home)?;
        Ok(Running { started, ..Running::new(process, port, move |_| Ok(listens(rpc_port) && listens(port))) })
    }
}
