//! `bitween remove`: forgets a torrent, and deletes its files only when told so.

use serde_json::{Value, json};

use super::client::{Client, TorrentArgs};
use super::error::CliError;
use super::output::line;

/// Forget a torrent
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  bitween remove 3f9a1c\n  bitween remove 3f9a1c --with-data")]
pub struct Args {
    #[command(flatten)]
    torrent: TorrentArgs,
    /// Delete its files too; this cannot be undone
    #[arg(long)]
    with_data: bool,
}

/// Removes it.
///
/// # Errors
/// No daemon, an unknown hash, or files that cannot be deleted.
pub fn run(args: &Args) -> Result<(), CliError> {
    let params = json!({"hash": args.torrent.hash, "with_data": args.with_data});
    Client::find(&args.torrent.connect)?.call::<Value>("bt.remove", params)?;
    line(if args.with_data { "removed with its files" } else { "removed; its files stay" })
}
