//! `bitween account`: sets, adds, shows and removes XMPP accounts.
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
use crate::component::rpc::types::{Account, AccountState, Accounts};
use crate::config::{
    self, AccountSource, Config, DataDirLock, HostPort, JidText, PASSWORD_VARIABLE, Secret, StoredAccount, TlsMode,
};
use crate::proto::account::is_same_account;

const EXAMPLES: &str = "\
Examples:
  bitween account set alice@example.org
  BITWEEN_XMPP_PASSWORD=... bitween account set alice@localhost --server 127.0.0.1:5222 --ca-file ca.pem
  bitween account add alice@work.example     one more, beside the first
  bitween account show
  bitween account remove alice@work.example";

/// Set, add, show or remove XMPP accounts
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
    /// Use this account from now on, instead of the only one or of the one with the same JID
    Set(SetArgs),
    /// Use this account too, beside the others
    Add(SetArgs),
    /// Show the accounts and whether they are online; never a password
    Show {
        /// Print JSON, of the first account only
        #[arg(long)]
        json: bool,
    },
    /// As show; JSON is a list of all accounts
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take everything off the server and forget the account
    Remove {
        /// name@domain; needed only if there are several
        jid: Option<JidText>,
    },
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
        Action::Set(set) => set_account(set, false, &args.connect),
        Action::Add(set) => set_account(set, true, &args.connect),
        Action::Show { json: true } => print_json(&accounts(&args.connect)?.into_iter().next().unwrap_or_default()),
        Action::List { json: true } => print_json(&accounts(&args.connect)?),
        Action::Show { .. } | Action::List { .. } => show(&accounts(&args.connect)?),
        Action::Remove { jid } => remove(jid.as_ref().map(JidText::bare), &args.connect),
    }
}

/// All accounts; what others before them left is told with the first.
fn accounts(connect: &ConnectArgs) -> Result<Vec<Account>, CliError> {
    let ask = |client: &Client| {
        let mut list = client.call::<Accounts>("xmpp.accounts", json!({}))?.accounts;
        let first: Account = client.call("xmpp.account", json!({}))?;
        match list.first_mut() {
            Some(known) => known.remains = first.remains,
            None => list.push(first),
        }
        Ok(list)
    };
    online_or(connect, ask, |config| stored(&config))
}

fn remove(jid: Option<&str>, connect: &ConnectArgs) -> Result<(), CliError> {
    let (removed, remains) = online_or(
        connect,
        |client| {
            let removed: bool = client.call("xmpp.remove_account", json!({"account": jid}))?;
            let account: Account = client.call("xmpp.account", json!({}))?;
            Ok((removed, account.remains))
        },
        |config| {
            let wanted = config.to_remove(jid).map_err(CliError::failed)?;
            wanted.iter().for_each(|jid| forget_logins(&config, jid));
            let removed = match &wanted {
                Some(jid) if config.written_accounts()?.len() > 1 => config.remove_one_account(jid)?,
                None if jid.is_some() => false,
                _ => config.remove_account()?,
            };
            Ok((removed, wanted.map(not_withdrawn).into_iter().collect()))
        },
    )?;
    let none = jid.map_or_else(|| "there was no account".to_owned(), |jid| format!("there was no account {jid}"));
    line(if removed { "the account is removed" } else { &none })?;
    remains.iter().filter(|_| removed).for_each(|text| note(&clean(text)));
    Ok(())
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

fn set_account(set: &SetArgs, more: bool, connect: &ConnectArgs) -> Result<(), CliError> {
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
    let method = if more { "xmpp.add_account" } else { "xmpp.set_account" };
    let account: Account = online_or(
        connect,
        |client| client.call(method, call),
        |config| {
            let only = config.is_only(new_jid, more).map_err(CliError::failed)?;
            let is = |account: &Account| account.jid.as_deref().is_some_and(|jid| is_same_account(jid, new_jid));
            let before =
                stored(&config)?.into_iter().filter(|account| only && !is(account)).find_map(|account| account.jid);
            forget_logins(&config, new_jid);
            config.store(&new, only)?;
            note("no daemon is running; the account is stored unchecked, and used at its next start");
            let fresh = stored(&config)?.into_iter().find(is).unwrap_or_default();
            Ok(Account { remains: before.map(not_withdrawn).into_iter().collect(), ..fresh })
        },
    )?;
    let unchecked = account.error.is_some();
    show(&[account])?;
    if unchecked {
        note("the account is stored; whether the server takes it is not known yet, and the daemon goes on trying");
    }
    Ok(())
}

/// The next login may be weaker than those before it: the user has asked for it.
fn forget_logins(config: &Config, jid: &str) {
    if let Err(error) = crate::daemon::forget_logins(config, jid) {
        note(&clean(&format!("how {jid} has logged in before is not forgotten: {error}")));
    }
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

/// The accounts as the files say, for when no daemon runs.
fn stored(config: &Config) -> Result<Vec<Account>, CliError> {
    // The password of the environment may be meant for an account that is being added.
    let accounts = config.accounts().or_else(|_| config.written_accounts())?;
    let describe = |account: config::Account| Account {
        jid: Some(account.jid.bare().to_owned()),
        resource: account.jid.resource().map(str::to_owned),
        source: Some(match account.source {
            AccountSource::Config => "config".to_owned(),
            AccountSource::Stored => "stored".to_owned(),
        }),
        has_password: account.password.is_some(),
        server: account.server.map(|server| server.to_string()),
        state: if account.password.is_some() { AccountState::Offline } else { AccountState::NoPassword },
        error: None,
        remains: Vec::new(),
    };
    Ok(accounts.into_iter().map(describe).collect())
}

fn show(accounts: &[Account]) -> Result<(), CliError> {
    accounts.iter().flat_map(|account| &account.remains).for_each(|text| note(&clean(text)));
    if accounts.iter().all(|account| account.jid.is_none()) {
        return line("no account; set one with `bitween account set name@example.org`");
    }
    for account in accounts {
        let Some(jid) = &account.jid else { continue };
        let resource = account.resource.as_ref().map(|resource| format!("/{resource}")).unwrap_or_default();
        let state = state_text(account.state);
        let error = account.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        line(&clean(&format!("{}{resource}  {state}{error}", jid.strip_suffix(&resource).unwrap_or(jid))))?;
    }
    Ok(())
}

fn tls_mode(text: &str) -> Result<TlsMode, String> {
    match text {
        "direct" => Ok(TlsMode::Direct),
        "starttls" => Ok(TlsMode::Starttls),
        _ => Err("it is \"direct\" or \"starttls\"".to_owned()),
    }
}
