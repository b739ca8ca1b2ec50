//! aria2, one process per download.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::control::call;
use super::{Client, Collection, Job, LOOK, Running, torrent_files, version_of};
use crate::lab::{Lab, START_LIMIT, free_port, listens};
use crate::load::tracker::Tracker;
use crate::process::Process;
use crate::trouble::Trouble;

/// How often it is asked how many torrents seed.
const ASK: Duration = Duration::from_millis(10);

/// aria2.
pub struct Aria2;

fn launch(home: &Path, more: impl FnOnce(&mut Command)) -> Result<(Process, u16), Trouble> {
    let port = free_port()?;
    let mut command = Command::new("aria2c");
    command
        .args(["--no-conf=true", "--show-console-readout=false", "--summary-interval=0", "--console-log-level=notice"])
        .args(["--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false"])
        // Nothing is reserved on a file system in memory, and hundreds of connections are to be allowed.
        .args(["--file-allocation=none", "--bt-max-peers=0"])
        .arg(format!("--listen-port={port}"));
    more(&mut command);
    Ok((Process::start(command, home)?, port))
}

/// Waits until it takes connections: only then, after looking at its files, it has begun.
fn wait_for_port(lab: &Lab, process: &Process, port: u16) -> Result<(), Trouble> {
    lab.wait("aria2's port", START_LIMIT, LOOK, || {
        process.must_run()?;
        Ok(listens(port).then_some(()))
    })
}

impl Client for Aria2 {
    fn name(&self) -> &'static str {
        "aria2"
    }

    fn version(&self) -> Result<String, Trouble> {
        let mut command = Command::new("aria2c");
        command.arg("--version");
        version_of(command)
    }

    fn remarks(&self) -> &'static [&'static str] {
        &[
            "`bt-max-peers` = 0 (no limit; default 55), `file-allocation` = none. How many it serves at a time cannot be set.",
            "Takes peers from trackers only, so in the row client-to-itself it asks one.",
            "Takes up about three connections a second and parts from idle ones after 30 s, so it never has 500 of them.",
            "Keeps no list of torrents: all are given again at the start, with `bt-seed-unverified`, so that it hashes none.",
        ]
    }

    fn leech(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let tracker = job.peer.map(Tracker::start).transpose()?;
        let (process, port) = launch(&job.home, |command| {
            command.arg("--seed-time=0").arg("--dir").arg(&job.dir).arg(&job.torrent);
            if let Some(tracker) = &tracker {
                command.arg(format!("--bt-tracker={}", tracker.url));
            }
        })?;
        if tracker.is_none() {
            wait_for_port(lab, &process, port)?;
        }
        Ok(Running::until_line(process, port, "Download complete").with(tracker))
    }

    fn seed(&self, lab: &Lab, job: &Job) -> Result<Running, Trouble> {
        let (process, port) = launch(&job.home, |command| {
            command.args(["--check-integrity=true", "--seed-ratio=0.0", "--dir"]).arg(&job.dir).arg(&job.torrent);
        })?;
        wait_for_port(lab, &process, port)?;
        Ok(Running::new(process, port, |_| Ok(true)))
    }

    fn recheck(&self, _: &Lab, job: &Job) -> Result<Running, Trouble> {
        let (process, port) = launch(&job.home, |command| {
            command.args(["--check-integrity=true", "--hash-check-only=true", "--seed-time=0"]);
            command.arg("--dir").arg(&job.dir).arg(&job.torrent);
        })?;
        Ok(Running::until_line(process, port, "Verification finished successfully"))
    }

    fn prepare(&self, _: &Lab, collection: &Collection) -> Result<Option<Duration>, Trouble> {
        let lines = torrent_files(&collection.torrents)?.into_iter().map(|path| format!("{}\n", path.display()));
        std::fs::write(collection.home.join("torrents.txt"), lines.collect::<String>())?;
        Ok(None)
    }

    fn serve_all(&self, lab: &Lab, collection: &Collection) -> Result<Running, Trouble> {
        let rpc = free_port()?;
        let started = Instant::now();
        let (process, port) = launch(&collection.home, |command| {
            command.args(["--enable-rpc=true", "--seed-ratio=0.0", "--bt-seed-unverified=true"]);
            command.arg(format!("--rpc-listen-port={rpc}"));
            command.arg(format!("--max-concurrent-downloads={}", collection.count));
            command.arg("--dir").arg(&collection.dir);
            command.arg("--input-file").arg(collection.home.join("torrents.txt"));
        })?;
        lab.wait("aria2's RPC", START_LIMIT, LOOK, || {
            process.must_run()?;
            Ok(listens(rpc).then_some(()))
        })?;
        let (url, count) = (format!("http://127.0.0.1:{rpc}/jsonrpc"), collection.count);
        let seeding = move |_: &Process| {
            let active = call(&url, "aria2.tellActive", &json!([["seeder"]]))?;
            let seeders = active.as_array().into_iter().flatten().filter(|torrent| torrent["seeder"] == "true");
            Ok(seeders.count() == count)
        };
        Ok(Running { started, ..Running::new(process, port, seeding).asked_every(ASK) })
    }

    fn start(&self, _: &Lab, home: &Path) -> Result<Running, Trouble> {
        let rpc = free_port()?;
        let started = Instant::now();
        let (process, _) = launch(home, |command| {
            command.args(["--enable-rpc=true", &format!("--rpc-listen-port={rpc}")]);
        })?;
        Ok(Running { started, ..Running::new(process, rpc, move |_| Ok(listens(rpc))) })
    }
}
