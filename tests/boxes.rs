//! Machines that are small and disks that are slow: real daemons in a memory cgroup, and with a throttled loop device.
//!
//! They need root, cgroups and loop devices; without them a test says so and does nothing, with `CI=true` it fails. The
//! amounts are small so that the suite stays quick; `cargo bench --bench peers -- --row box --row slow` runs the full size
//! and tells the times, which no test asserts.

#![cfg(all(feature = "cli", feature = "xmpp"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use bitween::proto::metainfo::Metainfo;
use bitween::types::Block;
use common::daemon::{Daemon, Home};
use common::fake_peer::FakePeer;
use common::node::Node;
use common::small_machine::{Group, SlowDisk};
use common::{START_LIMIT, TRANSFER_LIMIT, loopback, missing, text, wait_for};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

/// The content repeats itself after so many bytes.
const PERIOD: usize = 1 << 20;

/// Something to download that nobody has to keep: its bytes are made when they are asked for.
struct Content {
    period: Arc<[u8]>,
    torrent: Vec<u8>,
    metainfo: Metainfo,
}

impl Content {
    /// One file.
    fn file(name: &str, len: usize, seed: u64) -> Self {
        Self::new(name, &format!("6:lengthi{len}e"), len, seed)
    }

    /// A folder of files that are all as long.
    fn folder(name: &str, files: usize, len: usize) -> Self {
        let file = |nth| format!("d6:lengthi{len}e4:pathl3:{:03}3:{:03}ee", nth / 100, nth % 100);
        let list: String = (0..files).map(file).collect();
        Self::new(name, &format!("5:filesl{list}e"), files * len, 9)
    }

    fn new(name: &str, list: &str, len: usize, seed: u64) -> Self {
        const PIECE: usize = 256 * 1024;
        let mut period = vec![0; PERIOD];
        fastrand::Rng::with_seed(seed).fill(&mut period);
        let hash = |at: usize| {
            let from = at % PERIOD;
            Sha1::digest(&period[from..from + PIECE.min(len - at)])
        };
        let hashes: Vec<u8> = (0..len).step_by(PIECE).flat_map(hash).collect();
        let mut torrent = format!("d4:infod{list}4:name{}:{name}12:piece lengthi{PIECE}e", name.len()).into_bytes();
        torrent.extend_from_slice(format!("6:pieces{}:", hashes.len()).as_bytes());
        torrent.extend_from_slice(&hashes);
        torrent.extend_from_slice(b"ee");
        let metainfo = Metainfo::parse(&torrent).unwrap();
        Self { period: period.into(), torrent, metainfo }
    }

    /// Peers that have all of it.
    fn peers(&self, count: usize) -> Vec<FakePeer> {
        let peer = |_| {
            let (period, piece) = (Arc::clone(&self.period), self.metainfo.info.geometry.piece_length() as usize);
            FakePeer::start(&self.metainfo, move |block: Block| {
                let from = (block.piece().as_usize() * piece + block.begin() as usize) % PERIOD;
                Some(period[from..from + block.len() as usize].to_vec())
            })
        };
        (0..count).map(peer).collect()
    }

    fn hash(&self) -> String {
        self.metainfo.info_hash.to_string()
    }

    /// Adds it to a daemon, with peers.
    fn add_to(&self, daemon: &Daemon, dir: &Path, peers: &[SocketAddr]) {
        let torrent = base64::engine::general_purpose::STANDARD.encode(&self.torrent);
        daemon.call("bt.add_torrent", &json!({"torrent": torrent, "save_path": text(dir)})).unwrap();
        for address in peers {
            let peer = json!({"hash": self.hash(), "address": address.to_string()});
            daemon.call("bt.add_peer", &peer).unwrap();
        }
    }

    /// Fails unless every file in `dir` has the right bytes.
    fn assert_in(&self, dir: &Path) {
        let mut at = 0;
        for (file, path) in self.metainfo.info.files.iter().zip(self.metainfo.info.file_paths()) {
            let found = fs::read(dir.join(&path)).unwrap();
            assert_eq!(found.len() as u64, file.len, "{}", path.display());
            let mut rest = found.as_slice();
            while !rest.is_empty() {
                let from = at % PERIOD;
                let len = rest.len().min(PERIOD - from);
                assert!(rest[..len] == self.period[from..from + len], "{} differs", path.display());
                rest = &rest[len..];
                at += len;
            }
        }
    }
}

fn addresses(peers: &[FakePeer]) -> Vec<SocketAddr> {
    peers.iter().map(|peer| peer.address).collect()
}

/// A daemon inside the group.
fn start_in(home: &Home, group: &Group) -> Daemon {
    let enter = format!("echo $$ > '{}' && exec \"$0\" daemon --port 0", group.members().display());
    home.start_in(&["sh", "-c", &enter]).unwrap()
}

fn status(daemon: &Daemon, content: &Content) -> Value {
    daemon.call("bt.status", &json!({"hash": content.hash()})).unwrap()["torrents"][0].clone()
}

fn wait_until_complete(daemon: &Daemon, content: &Content) {
    wait_for("the download", TRANSFER_LIMIT * 2, || {
        let status = status(daemon, content);
        assert_ne!(status["state"], "error", "{status}");
        (status["state"] == "seeding").then_some(())
    });
}

/// A folder that is not in memory, where every byte would count as the box's.
fn on_disk() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bitween-downloads").tempdir_in("/var/tmp").unwrap()
}

/// `None`, and a word about it, if the test cannot run here.
fn here<T>(what: &str, made: std::io::Result<T>) -> Option<T> {
    made.inspect_err(|error| missing(&format!("{what} ({error}; it takes root)"))).ok()
}

#[test]
fn a_download_larger_than_the_memory_of_the_box_completes_in_it() {
    let Some(group) = here("a memory cgroup", Group::new(Some(64 << 20))) else { return };
    let content = Content::file("large.bin", 320 << 20, 1);
    let seeders = content.peers(48);
    let home = Home::new();
    let folder = on_disk();
    let dir = folder.path().join("downloads");
    let mut daemon = start_in(&home, &group);
    content.add_to(&daemon, &dir, &addresses(&seeders));
    // They have nothing but what they get from the box, which has to read again what it wrote.
    let leechers = [Node::start(), Node::start()];
    let hashes = leechers.each_ref().map(|node| node.download(&content.metainfo, &[loopback(daemon.port)]));
    wait_until_complete(&daemon, &content);
    for (node, hash) in leechers.iter().zip(hashes) {
        node.wait_complete(hash);
        content.assert_in(&node.dir());
    }
    assert!(daemon.program.stop(START_LIMIT).is_some_and(|status| status.success()));
    assert_eq!(group.killed().unwrap(), 0, "the kernel killed a process in the box");
    content.assert_in(&dir);
}

#[test]
fn thirty_thousand_files_are_downloaded_in_a_box_of_96_mib() {
    let Some(group) = here("a memory cgroup", Group::new(Some(96 << 20))) else { return };
    let content = Content::folder("many", 30_000, 700);
    let seeders = content.peers(2);
    let home = Home::new();
    let folder = on_disk();
    let dir = folder.path().join("downloads");
    let mut daemon = start_in(&home, &group);
    content.add_to(&daemon, &dir, &addresses(&seeders));
    wait_until_complete(&daemon, &content);
    assert!(daemon.program.stop(START_LIMIT).is_some_and(|status| status.success()));
    assert_eq!(group.killed().unwrap(), 0, "the kernel killed a process in the box");
    content.assert_in(&dir);
}

#[test]
fn a_slow_disk_holds_up_nothing_but_its_own_torrent() {
    // What it writes in a minute is a small part of what it is to write.
    let Some(mut disk) = here("a loop device", SlowDisk::new(512 << 20, 256 << 10)) else { return };
    let Some(group) = here("a cgroup", Group::new(None)) else { return };
    let (slow, fast) = (Content::file("slow.bin", 256 << 20, 2), Content::file("fast.bin", 192 << 20, 3));
    let (slow_seeders, fast_seeders) = (slow.peers(2), fast.peers(2));
    let home = Home::new();
    let mut daemon = start_in(&home, &group);
    disk.slow_down(&group).unwrap();
    slow.add_to(&daemon, &disk.dir(), &addresses(&slow_seeders));
    wait_for("the slow disk to be behind", TRANSFER_LIMIT, || {
        // Its cache is full, and so is its part of the piece buffer: nothing more comes.
        let done = || status(&daemon, &slow)["done"].as_u64().unwrap();
        let before = done();
        std::thread::sleep(std::time::Duration::from_secs(2));
        (before > 0 && done() - before < 4 << 20).then_some(())
    });
    let dir = home.path("downloads");
    fast.add_to(&daemon, &dir, &addresses(&fast_seeders));
    wait_until_complete(&daemon, &fast);
    fast.assert_in(&dir);
    let status = status(&daemon, &slow);
    assert!(status["state"] == "downloading" && status["complete"] == false, "{status}");
    disk.speed_up();
    wait_until_complete(&daemon, &slow);
    slow.assert_in(&disk.dir());
    assert!(daemon.program.stop(START_LIMIT).is_some_and(|status| status.success()));
}
