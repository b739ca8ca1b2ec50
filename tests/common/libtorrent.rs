//! libtorrent-rasterbar (what qBittorrent and Deluge run on) through `libtorrent_peer.py`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::Program;
use super::{START_LIMIT, loopback, missing, text};

/// A running libtorrent session with one torrent.
pub struct Libtorrent {
    program: Program,
    _folder: TempDir,
    port: u16,
}

impl Libtorrent {
    /// Checks the data in `dir` and seeds it. `None` (and a line that says so) if libtorrent is not installed.
    pub fn seed(torrent: &Path, dir: &Path, more: &[&str]) -> Option<Self> {
        let mut peer = Self::start(&[&["--seed", text(torrent), text(dir)], more].concat())?;
        peer.wait_until_complete();
        Some(peer)
    }

    /// Downloads a torrent file or magnet link into `dir`, then seeds.
    pub fn download(source: &str, dir: &Path, more: &[&str]) -> Option<Self> {
        Self::start(&[&[source, text(dir)], more].concat())
    }

    /// Starts the script with these arguments.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python: PathBuf = root.join(".venv/bin/python");
        if !python.exists() {
            missing("libtorrent for Python");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("bitween-libtorrent").tempdir().unwrap();
        let mut command = Command::new(python);
        command.arg(root.join("tests/common/libtorrent_peer.py")).args(arguments).current_dir(folder.path());
        let mut program = Program::start("libtorrent", command, folder.path());
        let port = program.wait_for_line("listening on port ", START_LIMIT).parse().unwrap();
        Some(Self { program, _folder: folder, port })
    }

    /// Where it takes connections.
    pub fn address(&self) -> SocketAddr {
        loopback(self.port)
    }

    /// Waits until it has all data.
    pub fn wait_until_complete(&mut self) {
        self.program.wait_for_line("complete", super::TRANSFER_LIMIT);
    }

    /// Its process.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}
