//! `bitween pause` and `bitween resume`.

use serde_json::{Value, json};

use super::client::{Client, TorrentArgs};
use super::error::CliError;
use super::output::line;

/// Stop a torrent until it is resumed
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  bitween pause 3f9a1c")]
pub struct PauseArgs {
    #[command(flatten)]
    torrent: TorrentArgs,
}

/// Let a torrent go on, also after an error
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  bitween resume 3f9a1c")]
pub struct ResumeArgs {
    #[command(flatten)]
    torrent: TorrentArgs,
}

/// Runs `bitween pause`.
///
/// # Errors
/// No daemon, or an unknown hash.
pub fn pause(args: &PauseArgs) -> Result<(), CliError> {
    tell(&args.torrent, "bt.pause")?;
    line("paused")
}

/// Runs `bitween resume`.
///
/// # Errors
/// No daemon, or an unknown hash.
pub fn resume(args: &ResumeArgs) -> Result<(), CliError> {
    tell(&args.torrent, "bt.resume")?;
    line("resumed")
}

fn tell(torrent: &TorrentArgs, method: &str) -> Result<Value, CliError> {
    Client::find(&torrent.connect)?.call(method, json!({"hash": torrent.hash}))
}
