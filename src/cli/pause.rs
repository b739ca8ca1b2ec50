//! `bitween pause` and `bitween resume`.

use serde_json::{Value, json};

use super::client::{Client, ConnectArgs};
use super::error::CliError;
use super::output::line;

/// Stop a torrent until it is resumed
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  bitween pause 3f9a1c")]
pub struct PauseArgs {
    #[command(flatten)]
    which: Which,
}

/// Let a torrent go on, also after an error
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  bitween resume 3f9a1c")]
pub struct ResumeArgs {
    #[command(flatten)]
    which: Which,
}

#[derive(Clone, Debug, clap::Args)]
struct Which {
    /// Its hash, or enough of the first digits
    hash: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs `bitween pause`.
///
/// # Errors
/// No daemon, or an unknown hash.
pub fn pause(args: &PauseArgs) -> Result<(), CliError> {
    args.which.tell("bt.pause")?;
    line("paused")
}

/// Runs `bitween resume`.
///
/// # Errors
/// No daemon, or an unknown hash.
pub fn resume(args: &ResumeArgs) -> Result<(), CliError> {
    args.which.tell("bt.resume")?;
    line("resumed")
}

impl Which {
    fn tell(&self, method: &str) -> Result<Value, CliError> {
        Client::find(&self.connect)?.call(method, json!({"hash": self.hash}))
    }
}
