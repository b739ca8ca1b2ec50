//! `bitween unshare`: withdraws a share. Its files stay.

use serde_json::{Value, json};

use super::client::{Client, ConnectArgs};
use super::error::CliError;
use super::output::line;

/// Withdraw a share; its files stay
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  bitween unshare 3f9a1c      (see `bitween shares --mine`)")]
pub struct Args {
    /// Its hash, or enough of the first digits
    hash: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Withdraws it.
///
/// # Errors
/// No daemon, or an unknown hash.
pub fn run(args: &Args) -> Result<(), CliError> {
    Client::find(&args.connect)?.call::<Value>("bt.del_torrent", json!({"hash": args.hash}))?;
    line("no longer shared")
}
