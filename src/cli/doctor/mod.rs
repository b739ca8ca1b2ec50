//! `bitween doctor`: looks at all that a daemon needs from its machine and its servers, whether one runs or not, and says
//! what to do about what is wrong.
//!
//! `report.rs` is what comes out of it, `machine.rs` looks at folders, databases and limits, `network.rs` at ports and
//! addresses, `account.rs` at accounts and the clock. Nothing is changed but for files that are made and removed again.

#[cfg(feature = "xmpp")]
mod account;
mod machine;
mod network;
mod report;

use serde_json::json;

use super::client::{Client, ListArgs};
use super::error::CliError;
use super::output::clean;
use crate::component::rpc::types::DaemonStatus;
use crate::config::{Config, DataDirLock};
use report::{Check, Report};

const EXAMPLES: &str = "\
Examples:
  bitween doctor
  bitween doctor --json
  sudo -u bitween bitween doctor --config /etc/bitween/config.toml     of the system service

Exit code 0: nothing has to be mended. It logs in with each account, as a resource of its own, and tells no contact.";

/// Look for what is wrong with this machine, the settings and the accounts, and say how to mend it
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    list: ListArgs,
}

/// What the checks look at.
struct Subject {
    config: Config,
    /// What a running daemon says of itself.
    daemon: Option<DaemonStatus>,
}

/// Looks at everything.
///
/// # Errors
/// With an empty message: something has to be mended, and it was said what.
pub fn run(args: &Args) -> Result<(), CliError> {
    let mut report = Report::new(args.list.json);
    match args.list.connect.config() {
        Ok(config) => examine(args, config, &mut report)?,
        Err(error) => report.add(Check::failed("settings", error.message, ""))?,
    }
    report.end()
}

fn examine(args: &Args, mut config: Config, report: &mut Report) -> Result<(), CliError> {
    let file =
        config.file.as_ref().map_or_else(|| "no file, the defaults hold".to_owned(), |f| f.display().to_string());
    report.add(Check::ok("settings", file))?;
    for warning in config.warnings() {
        report.add(Check::warning("settings", warning, ""))?;
    }
    let (check, daemon) = ask_daemon(args, &config);
    report.add(check)?;
    if let Some(daemon) = &daemon {
        for problem in &daemon.problems {
            report.add(Check::warning("daemon", clean(problem), ""))?;
        }
        // It may have been started with others.
        (config.data_dir, config.download_dir) = ((&daemon.data_dir).into(), (&daemon.download_dir).into());
    }
    let subject = Subject { config, daemon };
    // Of a daemon that was named by its address nobody knows whether it is on this machine.
    if args.list.connect.api.is_none() {
        machine::examine(&subject, report)?;
        network::examine_ports(&subject, report)?;
    }
    network::examine_addresses(&subject, report)?;
    #[cfg(feature = "xmpp")]
    account::examine(&subject, report)?;
    Ok(())
}

fn ask_daemon(args: &Args, config: &Config) -> (Check, Option<DaemonStatus>) {
    let connect = &args.list.connect;
    // Whoever else has the usual port is not asked: it may be anybody, and never answer.
    if connect.api.is_none() && !DataDirLock::is_held(&config.data_dir) {
        return (Check::ok("daemon", "none runs on this data folder; what it will need is looked at".to_owned()), None);
    }
    let asked = Client::find(connect).and_then(|client| client.call::<DaemonStatus>("Api.status", json!({})));
    let check = match &asked {
        Ok(daemon) => Check::ok("daemon", format!("{} runs as process {}", clean(&daemon.version), daemon.pid)),
        Err(error) if connect.api.is_none() => {
            Check::failed("daemon", format!("it runs, but cannot be asked: {}", error.message), "see its log")
        }
        Err(error) => Check::failed("daemon", error.message.clone(), ""),
    };
    (check, asked.ok())
}
