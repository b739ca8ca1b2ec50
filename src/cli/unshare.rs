//! `bitween unshare`: withdraws a share. Its files stay.

use serde_json::{Value, json};

use super::client::{Client, TorrentArgs};
use super::error::CliError;
use super::output::line;

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
    Client::find(&args.torrent.connect)?.call::<Value>("bt.del_torrent", json!({"hash": args.torrent.hash}))?;
    line("no longer shared")
}
