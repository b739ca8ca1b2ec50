//! opentracker, over HTTP and UDP on one port.
//!
//! Debian's build is a closed tracker: it serves the torrents of a list. It reads the list as the user nobody when root
//! starts it, so the folder must be open to everybody.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::Program;
use super::{START_LIMIT, TRANSFER_LIMIT, free_port, installed, loopback, text, wait_for};

/// A running tracker.
pub struct Opentracker {
    program: Program,
    folder: TempDir,
    port: u16,
}

impl Opentracker {
    /// Starts a tracker that knows no torrent yet. `None` (and a line that says so) if it is not installed.
    pub fn start() -> Option<Self> {
        if !installed("opentracker") {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("bitween-opentracker").tempdir().unwrap();
        let root = folder.path();
        fs::set_permissions(root, Permissions::from_mode(0o755)).unwrap();
        let port = free_port();
        let list = root.join("allowed");
        fs::write(&list, "").unwrap();
        let configuration = format!("listen.tcp_udp {}\naccess.whitelist {}\n", loopback(port), text(&list));
        fs::write(root.join("opentracker.conf"), configuration).unwrap();
        let mut command = Command::new("opentracker");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/usr/bin"));
        command.arg("-f").arg(root.join("opentracker.conf")).current_dir(root);
        let program = Program::start("opentracker", command, root);
        let tracker = Self { program, folder, port };
        wait_for("opentracker", START_LIMIT, || tracker.scrape(&"0".repeat(40)));
        Some(tracker)
    }

    /// Serves the torrent with this info hash (40 hexadecimal digits) from now on.
    pub fn allow(&self, hash: &str) {
        let list = self.folder.path().join("allowed");
        let known = fs::read_to_string(&list).unwrap();
        fs::write(&list, format!("{known}{hash}\n")).unwrap();
        // It may take a moment from the signal until the list is read, and until the reading thread is there at all.
        wait_for("opentracker to read its list", START_LIMIT, || {
            self.program.signal("HUP");
            std::thread::sleep(Duration::from_millis(50));
            self.try_announce(hash)
        });
    }

    /// Announce URL for HTTP.
    pub fn http(&self) -> String {
        format!("http://{}/announce", loopback(self.port))
    }

    /// Announce URL for UDP.
    pub fn udp(&self) -> String {
        format!("udp://{}/announce", loopback(self.port))
    }

    /// How many peers (seeders and leechers together) the tracker knows; `None` if it does not answer.
    pub fn scrape(&self, hash: &str) -> Option<usize> {
        let answer = self.get(&format!("scrape?info_hash={}", escaped(hash)))?;
        Some(count(&answer, b"8:completei") + count(&answer, b"10:incompletei"))
    }

    /// Waits until the tracker knows at least `number` peers of a torrent.
    pub fn wait_for_peers(&self, hash: &str, number: usize) {
        let what = format!("{number} peers at the tracker");
        wait_for(&what, TRANSFER_LIMIT, || self.scrape(hash).filter(|peers| *peers >= number));
    }

    /// A stopped event: leaves no trace, but is refused for torrents that are not served.
    fn try_announce(&self, hash: &str) -> Option<()> {
        let query = format!(
            "announce?info_hash={}&peer_id=-XX0000-000000000000&port=9&uploaded=0&downloaded=0&left=0&event=stopped",
            escaped(hash)
        );
        let answer = self.get(&query)?;
        (!answer.windows(7).any(|part| part == b"failure")).then_some(())
    }

    fn get(&self, query: &str) -> Option<Vec<u8>> {
        let mut answer = ureq::get(format!("http://{}/{query}", loopback(self.port))).call().ok()?;
        answer.body_mut().read_to_vec().ok()
    }

    /// Its process.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}

fn escaped(hash: &str) -> String {
    hash.as_bytes().chunks(2).map(|pair| format!("%{}", std::str::from_utf8(pair).unwrap())).collect()
}

/// The number behind `key` in a bencoded answer.
fn count(answer: &[u8], key: &[u8]) -> usize {
    let Some(at) = answer.windows(key.len()).position(|part| part == key) else { return 0 };
    let digits: String = answer[at + key.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .map(|byte| char::from(*byte))
        .collect();
    digits.parse().unwrap()
}
