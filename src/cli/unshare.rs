//! `bitween unshare`: withdraws a share. Its files stay.

use serde_json::json;

use super::client::TorrentArgs;
use super::error::CliError;
use super::named::Likeness;

/// Withdraw a share; its files stay
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  bitween unshare 3f9a1c      (see `bitween shares --mine`)")]
pub struct Args {
    #[command(flatten)]
    torrent: TorrentArgs,
}

/// Withdraws it.
///
/// # Errors
/// No daemon, or an unknown hash.
pub fn run(args: &Args) -> Result<(), CliError> {
    args.torrent.tell(Likeness::Part, "bt.del_torrent", json!({}), "no longer shared")
}
