//! `bitween account`: sets, shows and removes the XMPP account.
//!
//! A running daemon is asked, so it logs in at once and says if the server refuses. Without one the account is kept in
//! the data folder for the next start. The password comes from `--password-file`, the environment or a prompt, never
//! from the command line, where others on the machine could see it.

use std::io;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::client::{Client, ConnectArgs};
use super::error::CliError;
use super::output::{clean, json as print_json, line, note};
use super::prompt;
use super::status::state_text;
use crate::component::rpc::types::{Account, AccountState};
use crate::config::{
    AccountSource, Config, DataDirLock, HostPort, JidText, PASSWORD_VARIABLE, Secret, StoredAccount, TlsMode,
};

const EXAMPLES: &str = "\
Examples:
  bitween account set alice@example.org
  BITWEEN_XMPP_PASSWORD=... bitween account set alice@localhost --server 127.0.0.1:5222 --ca-file ca.pem
  bitween account show
  bitween account remove";

/// Set, show or remove the XMPP account
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Use this account from now on
    Set(SetArgs),
    /// Show the account and whether it is online; never the password
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take everything off the server and forget the account
    Remove,
}

#[derive(Clone, Debug, clap::Args)]
struct SetArgs {
    /// name@domain; a resource is optional
    jid: JidText,
    /// File whose first line is the password [default: BITWEEN_XMPP_PASSWORD, or ask]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Server, instead of asking DNS
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<HostPort>,
    /// How TLS starts [default: as DNS says]
    #[arg(long, value_name = "direct|starttls", value_parser = tls_mode)]
    tls: Option<TlsMode>,
    /// PEM file with the authorities to trust, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// The server refused the account, a file cannot be used, or the daemon named with `--api` is not there.
pub fn run(args: &Args) -> Result<(), CliError> {
    match &args.action {
        Action::Set(set) => set_account(set, &args.connect),
        Action::Show { json } => {
            let account =
                online_or(&args.connect, |client| client.call("xmpp.account", json!({})), |config| stored(&config))?;
            if *json { print_json(&account) } else { show(&account) }
        }
        Action::Remove => {
            let (removed, remains) = online_or(
                &args.connect,
                |client| {
                    let removed: bool = client.call("xmpp.remove_account", json!({}))?;
                    let account: Account = client.call("xmpp.account", json!({}))?;
                    Ok((removed, account.remains))
                },
                |config| {
                    let before = stored(&config)?.jid;
                    Ok((config.remove_account()?, before.map(not_withdrawn).into_iter().collect()))
                },
            )?;
            line(if removed { "the account is removed" } else { "there was no account" })?;
            remains.iter().filter(|_| removed).for_each(|text| note(&clean(text)));
            Ok(())
        }
    }
}

/// Asks the daemon; when none runs on the data folder, does it with the files there.
fn online_or<T>(
    connect: &ConnectArgs,
    online: impl FnOnce(&Client) -> Result<T, CliError>,
    offline: impl FnOnce(Config) -> Result<T, CliError>,
) -> Result<T, CliError> {
    match Client::find(connect).and_then(|client| online(&client)) {
        Err(error) if error.code == 3 && connect.api.is_none() => {
            let config = connect.config()?;
            if DataDirLock::is_held(&config.data_dir) {
                return Err(error);
            }
            offline(config)
        }
        outcome => outcome,
    }
}

fn set_account(set: &SetArgs, connect: &ConnectArgs) -> Result<(), CliError> {
    crate::daemon::core_dumps::forbid();
    let password = match (&set.password_file, Secret::from_environment()) {
        (Some(path), _) => Secret::from_file(path)?,
        (None, Some(secret)) => secret,
        (None, None) => prompt::password(&format!("Password of {}: ", set.jid)).map_err(no_password)?,
    };
    let ca_file = set.ca_file.as_ref().map(std::path::absolute).transpose().map_err(CliError::failed)?;
    let call = json!({
        "jid": set.jid.as_str(),
        "password": password.expose(),
        "server": set.server.as_ref().map(ToString::to_string),
        "tls": set.tls,
        "ca_file": ca_file,
    });
    let new_jid = set.jid.bare();
    let new = StoredAccount {
        jid: Some(set.jid.clone()),
        password: Some(password),
        server: set.server.clone(),
        tls: set.tls,
        ca_file,
    };
    let account: Account = online_or(
        connect,
        |client| client.call("xmpp.set_account", call),
        |config| {
            let before = stored(&config)?.jid.filter(|jid| jid != new_jid);
            config.store_account(&new)?;
            note("no daemon is running; the account is stored unchecked, and used at its next start");
            Ok(Account { remains: before.map(not_withdrawn).into_iter().collect(), ..stored(&config)? })
        },
    )?;
    show(&account)?;
    if account.error.is_some() {
        note("the account is stored; whether the server takes it is not known yet, and the daemon goes on trying");
    }
    Ok(())
}

fn no_password(error: io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::Interrupted => CliError::failed("cancelled; nothing is changed"),
        _ => {
            CliError::failed(format_args!("{error}; give the password with --password-file or in {PASSWORD_VARIABLE}"))
        }
    }
}

/// What is said of an account that is left while no daemon can take off its server what it announced.
fn not_withdrawn(jid: String) -> String {
    format!("no daemon is running: what {jid} announced, if anything, still stands on its server")
}

/// The account as the files say, for when no daemon runs.
fn stored(config: &Config) -> Result<Account, CliError> {
    let Some(account) = config.account()? else { return Ok(Account::default()) };
    let source = match account.source {
        AccountSource::Config => "config",
        AccountSource::Stored => "stored",
    };
    Ok(Account {
        jid: Some(account.jid.bare().to_owned()),
        resource: account.jid.resource().map(str::to_owned),
        source: Some(source.to_owned()),
        has_password: account.password.is_some(),
        server: account.server.map(|server| server.to_string()),
        state: if account.password.is_some() { AccountState::Offline } else { AccountState::NoPassword },
        error: None,
        remains: Vec::new(),
    })
}

fn show(account: &Account) -> Result<(), CliError> {
    account.remains.iter().for_each(|text| note(&clean(text)));
    let Some(jid) = &account.jid else {
        return line("no account; set one with `bitween account set name@example.org`");
    };
    let resource = account.resource.as_ref().map(|resource| format!("/{resource}")).unwrap_or_default();
    let state = state_text(account.state);
    let error = account.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    line(&clean(&format!("{}{resource}  {state}{error}", jid.strip_suffix(&resource).unwrap_or(jid))))
}

fn tls_mode(text: &str) -> Result<TlsMode, String> {
    match text {
        "direct" => Ok(TlsMode::Direct),
        "starttls" => Ok(TlsMode::Starttls),
        _ => Err("it is \"direct\" or \"starttls\"".to_owned()),
    }
}
