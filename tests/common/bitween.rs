//! The `bitween` program itself, in a home folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use tempfile::TempDir;

use super::process::Program;
use super::{START_LIMIT, loopback, text};

/// An orderly stop takes less than five seconds; a busy machine gets some more.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A running `bitween`.
pub struct Bitween {
    // Dropped before its folder.
    program: Program,
    home: TempDir,
}

impl Bitween {
    /// Starts it with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let home = home();
        let mut command = command(home.path());
        command.args(arguments);
        let program = Program::start("bitween", command, home.path());
        Self { program, home }
    }

    /// `bitween download`: a leecher that ends when it has everything.
    pub fn download(source: &str, dir: &Path, more: &[&str]) -> Self {
        Self::start(&[&["download", source, "--dir", text(dir)], more].concat())
    }

    /// `bitween seed`, ready for connections.
    pub fn seed(torrent: &Path, dir: &Path, more: &[&str]) -> Self {
        let mut seeder = Self::start(&[&["seed", text(torrent), "--dir", text(dir)], more].concat());
        seeder.address();
        seeder
    }

    /// Where it takes connections. Waits until it says so.
    pub fn address(&mut self) -> SocketAddr {
        let port = self.program.wait_for_line("listening on port ", START_LIMIT);
        loopback(port.parse().unwrap_or_else(|_| panic!("not a port: {port}")))
    }

    /// Waits until it prints a line that contains `part`; answers with the rest of that line.
    pub fn wait_for_line(&mut self, part: &str, limit: Duration) -> String {
        self.program.wait_for_line(part, limit)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        self.program.wait(limit)
    }

    /// Waits for its end and fails unless it ends well.
    pub fn succeed(&mut self, limit: Duration) {
        let status = self.wait(limit);
        assert!(status.success(), "bitween ended with {status}");
    }

    /// SIGTERM; `None` if it had to be killed.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.program.stop(STOP_LIMIT)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Its process.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Its home folder; XDG folders lie below it.
    pub fn home(&self) -> &Path {
        self.home.path()
    }
}

/// Runs `bitween` to its end.
pub fn run(arguments: &[&str]) -> Output {
    let home = home();
    command(home.path()).args(arguments).output().unwrap()
}

/// A command that starts `bitween` with `home` as home folder and nothing of the real user's.
pub fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitween"));
    for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "BITWEEN_XMPP_PASSWORD"] {
        command.env_remove(name);
    }
    command.env("HOME", home).current_dir(home);
    command
}

fn home() -> TempDir {
    tempfile::Builder::new().prefix("bitween-home").tempdir().unwrap()
}

/// A fresh folder for downloads.
pub fn download_folder() -> (TempDir, PathBuf) {
    let folder = tempfile::Builder::new().prefix("bitween-downloads").tempdir().unwrap();
    let dir = folder.path().join("downloads");
    fs::create_dir_all(&dir).unwrap();
    (folder, dir)
}
