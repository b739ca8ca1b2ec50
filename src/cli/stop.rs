//! `bitween stop`: stops the daemon and waits until it is gone.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, ConnectArgs};
use super::error::CliError;
use super::output::{json as print_json, line};
use crate::config::DataDirLock;

/// Time between two looks.
const POLL: Duration = Duration::from_millis(50);
/// How long it may take; a daemon needs at most ten seconds.
const LOOKS: u32 = 20 * 20;

/// Stop the daemon
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Example:\n  bitween stop\n\nTrackers and contacts are told, everything is written to disk; it returns when the daemon is gone."
)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Stops it.
///
/// # Errors
/// No daemon, or one that does not end.
pub fn run(args: &Args) -> Result<(), CliError> {
    let client = Client::find(&args.connect)?;
    client.call::<Value>("Api.exit", json!({}))?;
    // The lock goes last; a daemon elsewhere can only be watched through its interface.
    let data_dir = match args.connect.api {
        Some(_) => None,
        None => Some(args.connect.config()?.data_dir),
    };
    for _ in 0..LOOKS {
        let silent = client.call::<Value>("Api.versions", json!({})).is_err_and(|error| error.code == 3);
        let gone = silent && !data_dir.as_deref().is_some_and(DataDirLock::is_held);
        if gone {
            return if args.json { print_json(&json!({"done": "stopped"})) } else { line("stopped") };
        }
        std::thread::sleep(POLL);
    }
    Err(CliError::failed("the daemon was told to stop but still runs; see its log"))
}
