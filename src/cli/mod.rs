//! The command line: one file per subcommand, here only the list of them, logging and exit codes.
//!
//! `create`, `info`, `verify`, `download` and `seed` work alone; `daemon` is the daemon; all others ask a running daemon
//! through [`client`]. Results go to standard output, everything else to standard error.

pub mod account;
pub mod client;
pub mod contacts;
pub mod create;
pub mod daemon;
pub mod download;
pub mod error;
pub mod get;
mod hash_progress;
pub mod info;
mod interrupt;
pub mod output;
pub mod pause;
mod progress;
mod prompt;
pub mod remove;
pub mod search;
pub mod seed;
pub mod share;
pub mod shares;
pub mod status;
pub mod stop;
mod transfer;
pub mod unshare;
pub mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::logging::{self, Filter, LOG_VARIABLE};
use error::CliError;

const EXAMPLES: &str = "\
Examples:
  bitween download film.torrent --dir ~/Films      fetch a torrent, without a daemon
  bitween daemon                                   start the daemon (Ctrl-C stops it)
  bitween account set alice@example.org            use this XMPP account
  bitween share ~/Holiday                          share a folder with your contacts
  bitween shares                                   what your contacts share
  bitween get 3f9a1c --wait                        fetch one of them

Exit codes: 0 done, 1 failed, 2 wrong use, 3 no daemon reached.";

/// Share files with your XMPP contacts; the bytes travel over BitTorrent.
#[derive(Debug, Parser)]
#[command(name = "bitween", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct LogArgs {
    /// What to log: error, warn, info, debug, trace, off, or a filter such as "info,bitween::component=debug"
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Logging")]
    log_level: Option<Filter>,
    /// Log JSON lines
    #[arg(long, global = true, help_heading = "Logging")]
    log_json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Download(download::Args),
    Seed(seed::Args),
    Create(create::Args),
    Info(info::Args),
    Verify(verify::Args),
    Daemon(daemon::Args),
    Account(account::Args),
    Contacts(contacts::Args),
    Share(share::Args),
    Unshare(unshare::Args),
    Shares(shares::Args),
    Search(search::Args),
    Get(get::Args),
    Status(status::Args),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Remove(remove::Args),
    Stop(stop::Args),
}

/// Reads the arguments, runs the command and says how it went.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            // Help and version are "errors" too, with code 0. Nobody is left to be told if printing fails.
            let _ = message.print();
            return ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(2));
        }
    };
    match cli.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.message.is_empty() {
                let _ = writeln!(std::io::stderr(), "bitween: {}", error.message);
            }
            ExitCode::from(error.code)
        }
    }
}

impl Cli {
    fn execute(self) -> Result<(), CliError> {
        let Self { log, command } = self;
        let args = match command {
            // The daemon's configuration has a say in what is logged.
            Command::Daemon(args) => return daemon::run(&args, |config| log.start(config.level.clone(), config.json)),
            other => other,
        };
        // What happens to the one torrent of `download` and `seed`, these commands say themselves.
        log.start("warn,bitween::component::bt=off".parse().unwrap_or_default(), false)?;
        match args {
            Command::Download(args) => download::run(&args),
            Command::Seed(args) => seed::run(&args),
            Command::Create(args) => create::run(&args),
            Command::Info(args) => info::run(&args),
            Command::Verify(args) => verify::run(&args),
            Command::Account(args) => account::run(&args),
            Command::Contacts(args) => contacts::run(&args),
            Command::Share(args) => share::run(&args),
            Command::Unshare(args) => unshare::run(&args),
            Command::Shares(args) => shares::run(&args),
            Command::Search(args) => search::run(&args),
            Command::Get(args) => get::run(&args),
            Command::Status(args) => status::run(&args),
            Command::Pause(args) => pause::pause(&args),
            Command::Resume(args) => pause::resume(&args),
            Command::Remove(args) => remove::run(&args),
            Command::Stop(args) => stop::run(&args),
            Command::Daemon(_) => Ok(()),
        }
    }
}

impl LogArgs {
    /// Starts logging: `--log-level` wins over the environment, that over `default`.
    fn start(&self, default: Filter, json: bool) -> Result<(), CliError> {
        let filter = match (&self.log_level, std::env::var(LOG_VARIABLE)) {
            (Some(filter), _) => filter.clone(),
            (None, Ok(text)) => text.parse().map_err(|e| CliError::usage(format_args!("{LOG_VARIABLE}: {e}")))?,
            (None, Err(_)) => default,
        };
        logging::init(filter, self.log_json || json).map_err(CliError::failed)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_interface_is_there() {
        let command = Cli::command();
        for name in [
            "download", "seed", "create", "info", "verify", "daemon", "account", "contacts", "share", "unshare",
            "shares", "search", "get", "status", "pause", "resume", "remove", "stop",
        ] {
            let found = command.find_subcommand(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert!(found.get_about().is_some(), "{name} has no help");
        }
    }

    #[test]
    fn every_command_that_asks_the_daemon_can_be_told_where_it_is() {
        for name in [
            "account", "contacts", "share", "unshare", "shares", "search", "get", "status", "pause", "resume",
            "remove", "stop",
        ] {
            let command = Cli::command();
            let arguments: Vec<_> =
                command.find_subcommand(name).unwrap().get_arguments().filter_map(|a| a.get_long()).collect();
            for long in ["api", "config", "data-dir"] {
                assert!(arguments.contains(&long), "{name} lacks --{long}");
            }
        }
    }
}
