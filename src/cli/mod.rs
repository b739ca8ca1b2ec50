//! The command line: one file per subcommand, here only the list of them, logging and exit codes.
//!
//! `create`, `info`, `verify`, `download` and `seed` work alone; `daemon` is the daemon; all others ask a running daemon
//! through `client`. Without the features `web` and `xmpp` their commands are not there. Results go to standard output, everything else to standard error.

#[cfg(feature = "xmpp")]
pub mod account;
mod bar;
#[cfg(feature = "web")]
pub mod client;
#[cfg(feature = "xmpp")]
pub mod contacts;
pub mod create;
#[cfg(feature = "web")]
pub mod daemon;
#[cfg(feature = "local")]
pub mod demo;
#[cfg(feature = "web")]
pub mod doctor;
pub mod download;
pub mod error;
#[cfg(feature = "web")]
pub mod get;
mod hash_progress;
pub mod info;
mod interrupt;
#[cfg(feature = "web")]
mod named;
pub mod output;
#[cfg(feature = "web")]
pub mod pause;
mod progress;
#[cfg(feature = "web")]
mod prompt;
#[cfg(feature = "web")]
pub mod recheck;
#[cfg(feature = "web")]
pub mod remove;
#[cfg(feature = "xmpp")]
pub mod search;
pub mod seed;
#[cfg(feature = "xmpp")]
pub mod share;
#[cfg(feature = "xmpp")]
pub mod shares;
#[cfg(feature = "web")]
pub mod status;
#[cfg(feature = "web")]
pub mod stop;
#[cfg(feature = "web")]
mod table;
mod transfer;
#[cfg(feature = "xmpp")]
pub mod unshare;
pub mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::logging::{self, Filter, LOG_VARIABLE};
use error::CliError;

/// Examples of the commands that are built in: cargo feature and lines.
const EXAMPLES: [(bool, &str); 4] = [
    (
        true,
        "\
  bitween download film.torrent --dir ~/Films      fetch a torrent, without a daemon
  bitween verify film.torrent --dir ~/Films        compare files with a torrent",
    ),
    (
        cfg!(feature = "local"),
        "\
  bitween demo                                     see it work: two nodes on this machine",
    ),
    (
        cfg!(feature = "web"),
        "\
  bitween daemon                                   start the daemon (Ctrl-C stops it)",
    ),
    (
        cfg!(feature = "xmpp"),
        "\
  bitween account set alice@example.org            use this XMPP account
  bitween share ~/Holiday                          share a folder with your contacts
  bitween shares                                   what your contacts share
  bitween get 3f9a1c --wait                        fetch one of them",
    ),
];

/// Share files with your XMPP contacts; the bytes travel over BitTorrent.
#[derive(Debug, Parser)]
#[command(name = "bitween", version, after_help = after_help(), max_term_width = 100)]
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
    #[cfg(feature = "web")]
    Daemon(daemon::Args),
    #[cfg(feature = "xmpp")]
    Account(account::Args),
    #[cfg(feature = "xmpp")]
    Contacts(contacts::Args),
    #[cfg(feature = "xmpp")]
    Share(share::Args),
    #[cfg(feature = "xmpp")]
    Unshare(unshare::Args),
    #[cfg(feature = "xmpp")]
    Shares(shares::Args),
    #[cfg(feature = "xmpp")]
    Search(search::Args),
    #[cfg(feature = "web")]
    Get(get::Args),
    #[cfg(feature = "web")]
    Status(status::Args),
    #[cfg(feature = "web")]
    Pause(pause::PauseArgs),
    #[cfg(feature = "web")]
    Resume(pause::ResumeArgs),
    #[cfg(feature = "web")]
    Recheck(recheck::Args),
    #[cfg(feature = "web")]
    Remove(remove::Args),
    #[cfg(feature = "web")]
    Stop(stop::Args),
    #[cfg(feature = "web")]
    Doctor(doctor::Args),
    #[cfg(feature = "local")]
    Demo(demo::Args),
}

/// What stands below the list of commands.
fn after_help() -> String {
    let examples: Vec<&str> = EXAMPLES.into_iter().filter(|(there, _)| *there).map(|(_, lines)| lines).collect();
    let parts = [
        ("web", cfg!(feature = "web")),
        ("xmpp", cfg!(feature = "xmpp")),
        ("local", cfg!(feature = "local")),
        ("https", cfg!(feature = "https")),
        ("resume", cfg!(feature = "resume")),
    ];
    let left_out: Vec<&str> = parts.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect();
    let mut text = format!("Examples:\n{}\n\nExit codes: 0 done, 1 failed, 2 wrong use", examples.join("\n"));
    text += if cfg!(feature = "web") { ", 3 no daemon reached." } else { "." };
    if !left_out.is_empty() {
        text += &format!("\n\nNot in this build (cargo features): {}.", left_out.join(", "));
    }
    text
}

/// The command line as it is understood: for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
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
            #[cfg(feature = "web")]
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
            #[cfg(feature = "xmpp")]
            Command::Account(args) => account::run(&args),
            #[cfg(feature = "xmpp")]
            Command::Contacts(args) => contacts::run(&args),
            #[cfg(feature = "xmpp")]
            Command::Share(args) => share::run(&args),
            #[cfg(feature = "xmpp")]
            Command::Unshare(args) => unshare::run(&args),
            #[cfg(feature = "xmpp")]
            Command::Shares(args) => shares::run(&args),
            #[cfg(feature = "xmpp")]
            Command::Search(args) => search::run(&args),
            #[cfg(feature = "web")]
            Command::Get(args) => get::run(&args),
            #[cfg(feature = "web")]
            Command::Status(args) => status::run(&args),
            #[cfg(feature = "web")]
            Command::Pause(args) => pause::pause(&args),
            #[cfg(feature = "web")]
            Command::Resume(args) => pause::resume(&args),
            #[cfg(feature = "web")]
            Command::Recheck(args) => recheck::run(&args),
            #[cfg(feature = "web")]
            Command::Remove(args) => remove::run(&args),
            #[cfg(feature = "web")]
            Command::Stop(args) => stop::run(&args),
            #[cfg(feature = "web")]
            Command::Doctor(args) => doctor::run(&args),
            #[cfg(feature = "local")]
            Command::Demo(args) => demo::run(&args),
            #[cfg(feature = "web")]
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
    use super::*;

    const WEB: bool = cfg!(feature = "web");
    const XMPP: bool = cfg!(feature = "xmpp");
    const LOCAL: bool = cfg!(feature = "local");

    /// Commands that ask the daemon, and whether they are built in.
    const ASKING: [(&str, bool); 14] = [
        ("account", XMPP),
        ("contacts", XMPP),
        ("share", XMPP),
        ("unshare", XMPP),
        ("shares", XMPP),
        ("search", XMPP),
        ("get", WEB),
        ("status", WEB),
        ("pause", WEB),
        ("resume", WEB),
        ("recheck", WEB),
        ("remove", WEB),
        ("stop", WEB),
        ("doctor", WEB),
    ];

    /// The names of those that are.
    fn asking() -> impl Iterator<Item = &'static str> {
        ASKING.into_iter().filter(|(_, built_in)| *built_in).map(|(name, _)| name)
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_what_is_built_in_is_there_and_no_other() {
        let mut expected = vec!["download", "seed", "create", "info", "verify"];
        expected.extend(asking());
        expected.extend(Some("daemon").filter(|_| WEB));
        expected.extend(Some("demo").filter(|_| LOCAL));
        let command = Cli::command();
        let mut found: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert!(command.get_subcommands().all(|command| command.get_about().is_some()), "a command has no help");
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_command_has_examples_that_it_would_take() {
        let splits = |line: &str| !line.contains(['\'', '"', '&', '|', '(']);
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = help.lines().filter(|line| line.starts_with("  bitween ")).collect();
            assert!(!examples.is_empty() && help.contains("Example"), "{name} has no example");
            for line in examples {
                // What stands behind a gap explains it.
                let typed = line.trim().split("   ").next().unwrap_or_default();
                if splits(typed) {
                    let outcome = Cli::try_parse_from(typed.split_whitespace());
                    assert!(outcome.is_ok(), "{line}: {}", outcome.unwrap_err());
                }
            }
        }
    }

    #[test]
    fn the_help_names_what_is_not_built_in() {
        let help = Cli::command().render_help().to_string();
        for (feature, there) in [("web", WEB), ("xmpp", XMPP), ("local", LOCAL), ("https", cfg!(feature = "https"))] {
            let named = help.lines().any(|line| line.starts_with("Not in this build") && line.contains(feature));
            assert_eq!(named, !there, "{feature}");
        }
    }

    #[test]
    fn every_command_that_asks_the_daemon_can_be_told_where_it_is() {
        for name in asking() {
            let command = Cli::command();
            let arguments: Vec<_> =
                command.find_subcommand(name).unwrap().get_arguments().filter_map(|a| a.get_long()).collect();
            for long in ["api", "config", "data-dir"] {
                assert!(arguments.contains(&long), "{name} lacks --{long}");
            }
        }
    }
}
