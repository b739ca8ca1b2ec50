//! Four instances in four processes: one seeder and three leechers that also feed each other. Their logs are merged, in
//! order of time, into one file.
//!
//!     cargo run --example local_swarm [MIB] [LOG_FILE]
//!
//! The parent makes the data and the torrent, starts itself four times, and stops the others when all are complete. Each
//! child is an [`Engine`]: what a program that embeds bitween would write.

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use bitween::Engine;
use bitween::component::bt::BtOptions;
use bitween::component::event::{Event, Lifecycle, NewTorrent, TorrentSource};
use bitween::proto::metainfo::Metainfo;
use bitween::storage::{CreateOptions, create_torrent};

type Outcome<T> = Result<T, Box<dyn Error>>;

const DEFAULT_MIB: usize = 64;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["instance", role, torrent, dir, peers @ ..] => instance(role, Path::new(torrent), Path::new(dir), peers),
        [] => swarm(DEFAULT_MIB, Path::new("local_swarm.log")),
        [mib] => swarm(mib.parse()?, Path::new("local_swarm.log")),
        [mib, log, ..] => swarm(mib.parse()?, Path::new(log)),
    }
}

/// The parent: four processes, one log.
fn swarm(mib: usize, log: &Path) -> Outcome<()> {
    let folder = std::env::temp_dir().join(format!("bitween-swarm-{}", std::process::id()));
    let torrent = prepare(&folder, mib)?;
    let mut instances = vec![Instance::start("seeder", &torrent, &folder.join("seeder"), &[])?];
    for number in 1..=3 {
        let peers: Vec<SocketAddr> = instances.iter().map(|other| other.address).collect();
        let name = format!("leecher-{number}");
        instances.push(Instance::start(&name, &torrent, &folder.join(&name), &peers)?);
    }
    let mut given_by_leechers = 0;
    for instance in &mut instances {
        instance.wait_until_complete()?;
    }
    let names: HashMap<SocketAddr, String> = instances.iter().map(|one| (one.address, one.name.clone())).collect();
    let mut lines = Vec::new();
    let mut flows = BTreeMap::new();
    for instance in instances {
        let name = instance.name.clone();
        let (summary, mut log) = instance.end()?;
        println!("{name:<10} fetched {:>12} bytes, gave {:>12} bytes", summary.fetched, summary.gave);
        if name != "seeder" {
            given_by_leechers += summary.gave;
        }
        for (line, _) in &log {
            note_flows(&mut flows, &names, &name, line);
        }
        lines.append(&mut log);
    }
    for ((to, from), bytes) in flows.into_iter().filter(|(_, bytes)| *bytes > 0) {
        println!("{to:<10} got     {bytes:>12} bytes from {from}");
    }
    lines.sort_by(|(a, _), (b, _)| stamp(a).cmp(stamp(b)));
    let mut file = std::fs::File::create(log)?;
    for (line, name) in &lines {
        writeln!(
            file,
            "{} {name:<10} {}",
            stamp(line),
            line.get(stamp(line).len()..).unwrap_or_default().trim_start()
        )?;
    }
    std::fs::remove_dir_all(&folder)?;
    println!("leechers gave each other {given_by_leechers} bytes; {} log lines in {}", lines.len(), log.display());
    Ok(())
}

/// Random data in the seeder's folder, and its torrent.
fn prepare(folder: &Path, mib: usize) -> Outcome<PathBuf> {
    let seeder = folder.join("seeder");
    std::fs::create_dir_all(&seeder)?;
    let mut data = vec![0; mib * 1024 * 1024];
    fastrand::Rng::with_seed(1).fill(&mut data);
    let content = seeder.join("data.bin");
    std::fs::write(&content, data)?;
    let bytes = create_torrent(&content, &CreateOptions::default(), &|_, _| {}, &AtomicBool::new(false))?;
    let torrent = folder.join("data.torrent");
    std::fs::write(&torrent, bytes)?;
    Ok(torrent)
}

/// Bytes that went to one instance (the first) from another.
type Flows = BTreeMap<(String, String), u64>;

/// At the end of each connection its log line says what went over it. The side that made it knows the other one by the
/// address where it listens; the other side's line would say the same again.
fn note_flows(flows: &mut Flows, names: &HashMap<SocketAddr, String>, name: &str, line: &str) {
    let Some((before, after)) = line.split_once(" is gone after ") else { return };
    let other = before.rsplit(' ').next().and_then(|addr| names.get(&addr.parse().ok()?));
    let mut words = after.split(' ').filter_map(|word| word.parse::<u64>().ok());
    let (Some(other), Some(received), Some(sent)) = (other, words.next(), words.next()) else { return };
    *flows.entry((name.to_owned(), other.clone())).or_default() += received;
    *flows.entry((other.clone(), name.to_owned())).or_default() += sent;
}

/// The time at the beginning of a log line. All clocks are one machine's, so they can be compared.
fn stamp(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

struct Summary {
    fetched: u64,
    gave: u64,
}

/// One child process, as the parent sees it.
struct Instance {
    name: String,
    address: SocketAddr,
    process: Child,
    says: BufReader<ChildStdout>,
    log: JoinHandle<Vec<(String, String)>>,
}

impl Instance {
    fn start(name: &str, torrent: &Path, dir: &Path, peers: &[SocketAddr]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["instance", name]).arg(torrent).arg(dir).args(peers.iter().map(ToString::to_string));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let mut says = BufReader::new(process.stdout.take().ok_or("no output")?);
        let log = collect(process.stderr.take().ok_or("no log")?, name.to_owned());
        let port = word(&mut says, "port")?.parse()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        println!("{name:<10} listens at {address}");
        Ok(Self { name: name.to_owned(), address, process, says, log })
    }

    fn wait_until_complete(&mut self) -> Outcome<()> {
        word(&mut self.says, "complete").map(drop)
    }

    /// Closing its input ends it.
    fn end(mut self) -> Outcome<(Summary, Vec<(String, String)>)> {
        drop(self.process.stdin.take());
        let fetched = word(&mut self.says, "fetched")?.parse()?;
        let gave = word(&mut self.says, "gave")?.parse()?;
        let status = self.process.wait()?;
        let lines = self.log.join().map_err(|_| "the log's reader panicked")?;
        if !status.success() {
            return Err(format!("{} failed: {status}", self.name).into());
        }
        Ok((Summary { fetched, gave }, lines))
    }
}

/// The rest of the next line, which has to begin with `key`.
fn word(says: &mut impl BufRead, key: &str) -> Outcome<String> {
    let mut line = String::new();
    says.read_line(&mut line)?;
    let rest = line.strip_prefix(key).ok_or_else(|| format!("expected {key:?}, got {line:?}"))?;
    Ok(rest.trim().to_owned())
}

fn collect(log: ChildStderr, name: String) -> JoinHandle<Vec<(String, String)>> {
    std::thread::spawn(move || {
        BufReader::new(log).lines().map_while(Result::ok).map(|line| (line, name.clone())).collect()
    })
}

/// A child: one engine with one torrent, until its input ends.
fn instance(role: &str, torrent: &Path, dir: &Path, peers: &[&str]) -> Outcome<()> {
    bitween::logging::init("debug".parse()?, false)?;
    let mut engine = Engine::start(BtOptions { bind: vec![Ipv4Addr::LOCALHOST.into()], ..BtOptions::default() })?;
    let events = engine.events();
    println!("port {}", engine.port());
    let metainfo = Arc::new(Metainfo::parse(&std::fs::read(torrent)?)?);
    let new = match role {
        "seeder" => NewTorrent::seed(metainfo, dir.to_path_buf()),
        _ => NewTorrent::download(TorrentSource::Metainfo(metainfo), dir.to_path_buf()),
    };
    let peers = peers.iter().map(|peer| peer.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    let info_hash = engine.add(NewTorrent { peers, ..new })?;
    loop {
        let Event::Lifecycle { change, .. } = events.recv_timeout(PATIENCE)? else { continue };
        match change {
            Lifecycle::Started(true) | Lifecycle::Completed => break,
            Lifecycle::Failed(reason) => return Err(reason.to_string().into()),
            _ => {}
        }
    }
    println!("complete");
    // A seeder now, for the others.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    engine.stop();
    let status = engine.status(info_hash).ok_or("the torrent is gone")?;
    println!("fetched {}\ngave {}", status.traffic.downloaded, status.traffic.uploaded);
    Ok(())
}
