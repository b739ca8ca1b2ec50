//! aria2 as seeder or leecher of one torrent.
//!
//! It cannot be given peers by hand: the other side connects to it, or an HTTP tracker tells it (UDP trackers it asks
//! only while its DHT is on).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::process::Program;
use super::{START_LIMIT, free_port, installed, loopback, text};

/// A running `aria2c` without DHT, PEX and local discovery.
pub struct Aria2 {
    program: Program,
    _folder: TempDir,
    port: u16,
}

impl Aria2 {
    /// Verifies the data in `dir` and seeds it. `None` (and a line that says so) if aria2 is not installed.
    pub fn seed(torrent: &Path, dir: &Path) -> Option<Self> {
        let mut aria2 =
            Self::start(&["--check-integrity=true", "--seed-ratio=0.0", "--dir", text(dir), text(torrent)])?;
        aria2.program.wait_for_line("Verification finished successfully", START_LIMIT);
        aria2.program.wait_for_line("listening on TCP port", START_LIMIT);
        Some(aria2)
    }

    /// Downloads a torrent file or magnet link into `dir` and ends.
    pub fn download(source: &str, dir: &Path) -> Option<Self> {
        let mut aria2 = Self::start(&["--seed-time=0", "--bt-stop-timeout=60", "--dir", text(dir), source])?;
        aria2.program.wait_for_line("listening on TCP port", START_LIMIT);
        Some(aria2)
    }

    fn start(arguments: &[&str]) -> Option<Self> {
        if !installed("aria2c") {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("bitween-aria2").tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new("aria2c");
        command
            .args(["--no-conf=true", "--log=-", "--log-level=info", "--show-console-readout=false"])
            .args(["--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false"])
            .args(["--enable-peer-exchange=false", "--follow-torrent=mem", "--file-allocation=none"])
            .arg(format!("--listen-port={port}"))
            .args(arguments)
            .env("HOME", folder.path())
            .current_dir(folder.path());
        let program = Program::start("aria2", command, folder.path());
        Some(Self { program, _folder: folder, port })
    }

    /// Where it takes connections.
    pub fn address(&self) -> SocketAddr {
        loopback(self.port)
    }

    /// Its process: a download is finished when it has ended well.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}
