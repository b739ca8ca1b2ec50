//! `bitween download`: fetches one torrent in this process, without a daemon.

use std::path::PathBuf;

use super::error::CliError;
use super::transfer::{self, NetArgs, Transfer};

const EXAMPLES: &str = "\
Examples:
  bitween download film.torrent
  bitween download 'magnet:?xt=urn:btih:...' --dir ~/Films --seed
  bitween download film.torrent --peer 192.0.2.7:51413 --peer '[2001:db8::7]:51413'

Ctrl-C stops it cleanly; the same command goes on where it stopped.";

/// Fetch a torrent, without a daemon
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Torrent file, magnet link or info hash
    #[arg(value_name = "FILE.torrent|MAGNET|INFO_HASH")]
    pub torrent: String,
    /// Folder that gets the torrent's file or folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Port, peers and trackers
    #[command(flatten)]
    pub net: NetArgs,
    /// Go on as a seeder when complete
    #[arg(long)]
    pub seed: bool,
}

/// Fetches it.
///
/// # Errors
/// What stopped it.
pub fn run(args: &Args) -> Result<(), CliError> {
    transfer::run(&Transfer {
        source: &args.torrent,
        dir: &args.dir,
        net: &args.net,
        seed_only: false,
        keep_seeding: args.seed,
    })
}
