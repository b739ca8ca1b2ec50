//! `bitween remove`: forgets a torrent, and deletes its files only when told so.

use serde_json::json;

use super::client::TorrentArgs;
use super::error::CliError;
use super::named::Likeness;

/// Forget a torrent
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  bitween remove 3f9a1c\n  bitween remove 3f9a1c --with-data")]
pub struct Args {
    #[command(flatten)]
    torrent: TorrentArgs,
    /// Delete its files too; this cannot be undone, and so takes no part of a name
    #[arg(long)]
    with_data: bool,
}

/// Removes it.
///
/// # Errors
/// No daemon, an unknown hash, or files that cannot be deleted.
pub fn run(args: &Args) -> Result<(), CliError> {
    let (likeness, said) = match args.with_data {
        true => (Likeness::Whole, "removed with its files"),
        false => (Likeness::Part, "removed; its files stay"),
    };
    args.torrent.tell(likeness, "bt.remove", json!({"with_data": args.with_data}), said)
}
