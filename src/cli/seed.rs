//! `bitween seed`: serves one torrent's files from disk in this process, without a daemon.

use std::path::PathBuf;

use super::error::CliError;
use super::transfer::{self, NetArgs, Transfer};

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
    /// Port, peers and trackers
    #[command(flatten)]
    pub net: NetArgs,
}

/// Serves until interrupted.
///
/// # Errors
/// What stopped it.
pub fn run(args: &Args) -> Result<(), CliError> {
    transfer::run(&Transfer {
        source: &args.torrent,
        dir: &args.dir,
        net: &args.net,
        seed_only: true,
        keep_seeding: true,
    })
}
