//! `bitween seed`: serves one torrent's files from disk in this process, without a daemon.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::CliError;
use super::transfer::{self, Transfer};

const EXAMPLES: &str = "\
Examples:
  bitween seed film.torrent --dir ~/Films
  bitween seed film.torrent --dir ~/Films --port 51413 --tracker http://tracker.example.org/announce";

/// Serve a torrent's files, without a daemon
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The torrent file
    #[arg(value_name = "FILE.torrent")]
    pub torrent: String,
    /// Folder that holds the torrent's file or folder
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Port to listen on; 0 picks one and prints it
    #[arg(long, value_name = "P", default_value_t = 0)]
    pub port: u16,
    /// Peer to connect to; may be given several times
    #[arg(long, value_name = "IP:PORT")]
    pub peer: Vec<SocketAddr>,
    /// Tracker to announce to in addition; may be given several times
    #[arg(long, value_name = "URL", value_parser = transfer::tracker_url)]
    pub tracker: Vec<String>,
}

/// Serves until interrupted.
///
/// # Errors
/// What stopped it.
pub fn run(args: &Args) -> Result<(), CliError> {
    transfer::run(&Transfer {
        source: args.torrent.clone(),
        dir: args.dir.clone(),
        port: args.port,
        peers: args.peer.clone(),
        trackers: args.tracker.clone(),
        seed_only: true,
        keep_seeding: true,
    })
}
