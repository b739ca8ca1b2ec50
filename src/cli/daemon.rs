//! `bitween daemon`: reads the configuration, starts logging and hands over to [`crate::daemon`].

use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;

use super::error::CliError;
use super::output::clean;
use super::prompt;
use crate::config::{Config, Imported, LogConfig, Overrides, parse_bind};

const EXAMPLES: &str = "\
Examples:
  bitween daemon
  bitween daemon --config test.toml --data-dir /tmp/test --port 5001
  bitween daemon --import-original ~/.bitween.json

It runs in the foreground; Ctrl-C, SIGTERM or `bitween stop` end it. All settings: bitween.example.toml.";

/// Run the daemon
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Configuration file [default: ~/.config/bitween/config.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the daemon's own files [default: ~/.local/share/bitween]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address the JSON-RPC interface listens on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR", value_parser = parse_bind)]
    bind: Option<IpAddr>,
    /// Port the JSON-RPC interface listens on; 0 picks one [default: 5000]
    #[arg(long, value_name = "P")]
    port: Option<u16>,
    /// Take over account and settings of the original program from its conf.json
    #[arg(long, value_name = "FILE")]
    import_original: Option<PathBuf>,
}

/// Runs until the daemon ends. `start_logging` is called once the configuration is known.
///
/// # Errors
/// Wrong configuration (2), or the daemon could not start or failed (1).
pub fn run(args: &Args, start_logging: impl FnOnce(&LogConfig) -> Result<(), CliError>) -> Result<(), CliError> {
    let mut config = Config::load(&Overrides {
        config: args.config.clone(),
        data_dir: args.data_dir.clone(),
        bind: args.bind,
        port: args.port,
    })?;
    start_logging(&config.log)?;
    if let Some(file) = &args.import_original {
        for note in Imported::from_file(file)?.apply(&mut config)? {
            log::warn!("import of {}: {note}", file.display());
        }
    }
    for warning in config.warnings() {
        log::warn!("{warning}");
    }
    ask_for_password(&mut config)?;
    crate::daemon::run(config).map_err(|e| CliError::failed(clean(&e.to_string())))
}

/// An account without a password: asks, if there is somebody to ask.
fn ask_for_password(config: &mut Config) -> Result<(), CliError> {
    for account in config.accounts()?.into_iter().filter(|account| account.password.is_none()) {
        if std::io::stdin().is_terminal() {
            let question = format!("Password of {}: ", account.jid);
            let password = prompt::password(&question).map_err(CliError::failed)?;
            config.asked_passwords.push((account.jid.to_string(), password));
        }
    }
    Ok(())
}
