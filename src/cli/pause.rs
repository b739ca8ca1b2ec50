//! `bitween pause` and `bitween resume`.

use serde_json::json;

use super::client::TorrentArgs;
use super::error::CliError;
use super::named::Likeness;

/// Stop a torrent until it is resumed
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  bitween pause 3f9a1c\n  bitween pause holiday")]
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
    args.torrent.tell(Likeness::Part, "bt.pause", json!({}), "paused")
}

/// Runs `bitween resume`.
///
/// # Errors
/// No daemon, or an unknown hash.
pub fn resume(args: &ResumeArgs) -> Result<(), CliError> {
    args.torrent.tell(Likeness::Part, "bt.resume", json!({}), "resumed")
}
