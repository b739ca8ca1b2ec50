//! The XMPP accounts: where they are written down, and which place wins.
//!
//! `bitween account` cannot rewrite the user's `config.toml` (comments, version control, read-only systems), so the daemon
//! keeps its own `account.toml` (0600) in the data folder. Its contents have one of two forms:
//!
//! - One account at the top of the file: that is the only one, whatever `config.toml` names. It replaces `jid`, `password`
//!   and `password_file` of `[xmpp]`, and `server`, `tls`, `ca_file` where it has them; all other keys of `[xmpp]` stay in
//!   force. `removed = true` instead means that there is none.
//! - `[[account]]`, as often as needed, and `without`: each replaces the account of the same JID in `config.toml` or is one
//!   more, and the JIDs in `without` are not used. Written as soon as there are several accounts. `allow_plain`,
//!   `publish_original`, `accept_from` and `stun` of a single `[xmpp]` without `jid` count for all that have no section of
//!   their own.
//!
//! The environment variable `BITWEEN_XMPP_PASSWORD` is stronger than the stored password of the only account; of several
//! it is for the one that has no other, and if there is none it is not used. No password at all is no error here: the
//! daemon asks at a terminal, or runs without that account and says so.
//!
//! `account/file.rs` reads and writes the file.

mod file;

use std::path::{Path, PathBuf};

use self::file::{AccountFile, load};
use super::Config;
use super::error::ConfigError;
use super::secret::{PASSWORD_VARIABLE, Secret};
use super::sections::{TlsMode, XmppConfig};
use super::values::{HostPort, JidRule, JidText};
use crate::proto::account::is_same_account;

/// Name of the account's file in the data folder.
pub const ACCOUNT_FILE: &str = "account.toml";

/// The account to log in with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Account {
    /// The JID; the resource is optional.
    pub jid: JidText,
    /// The password; `None` = somebody has to be asked.
    pub password: Option<Secret>,
    /// Server instead of SRV look-ups.
    pub server: Option<HostPort>,
    /// How TLS starts; `None` = by SRV.
    pub tls: Option<TlsMode>,
    /// Roots to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// May the password go over verified TLS in plain?
    pub allow_plain: bool,
    /// Also speak the original program's node.
    pub publish_original: bool,
    /// Whose requests to become a contact are answered with yes.
    pub accept_from: Vec<JidRule>,
    /// Ask the STUN servers that its server names.
    pub stun: bool,
    /// Where the JID was found.
    pub source: AccountSource,
}

/// Where an account was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountSource {
    /// `[xmpp]` in the configuration.
    Config,
    /// `account.toml`, that is, `bitween account set`.
    Stored,
}

/// What `account.toml` says. Empty values are left out of the file.
#[derive(Clone, Debug, Default)]
pub struct StoredAccount {
    /// The JID.
    pub jid: Option<JidText>,
    /// The password.
    pub password: Option<Secret>,
    /// As in `[xmpp]`.
    pub server: Option<HostPort>,
    /// As in `[xmpp]`.
    pub tls: Option<TlsMode>,
    /// As in `[xmpp]`; absolute.
    pub ca_file: Option<PathBuf>,
}

impl Config {
    /// The accounts in force, from `account.toml` and `[xmpp]`; none = bitween runs without XMPP.
    ///
    /// Reads the files each time, so a password that was mended is found without a restart.
    ///
    /// # Errors
    /// A file that should hold an account or its password cannot be read, or nobody knows to which of several accounts
    /// without a password that of the environment belongs.
    pub fn accounts(&self) -> Result<Vec<Account>, ConfigError> {
        let mut accounts = self.written_accounts()?;
        give(&mut accounts, Secret::from_environment())?;
        for account in &mut accounts {
            let asked = self.asked_passwords.iter().find(|(jid, _)| is_same_account(jid, account.jid.as_str()));
            account.password = account.password.take().or_else(|| asked.map(|(_, password)| password.clone()));
        }
        Ok(accounts)
    }

    /// There is a password in the environment, and it is nobody's: what to say of it.
    pub(super) fn unused_password(&self) -> Option<String> {
        let accounts = self.written_accounts().ok().filter(|accounts| accounts.len() > 1)?;
        let is_unused = accounts.iter().all(|account| account.password.is_some());
        is_unused.then(Secret::from_environment).flatten()?;
        Some(format!("{PASSWORD_VARIABLE} is not used: each of the {} accounts has another password", accounts.len()))
    }

    /// The accounts as they are written down, without the password of the environment.
    ///
    /// # Errors
    /// A file that should hold an account or its password cannot be read.
    pub fn written_accounts(&self) -> Result<Vec<Account>, ConfigError> {
        let path = self.data_dir.join(ACCOUNT_FILE);
        match load(&path)? {
            Some(file) if file.is_list() => self.listed_accounts(&path, file),
            Some(file) if file.removed => Ok(Vec::new()),
            Some(file) => {
                let section = self.section_about(file.jid.as_deref().unwrap_or_default(), true);
                Ok(vec![self.stored_account(&path, file, section)?])
            }
            None => self.xmpp_sections().filter_map(|section| self.configured_account(section).transpose()).collect(),
        }
    }

    fn listed_accounts(&self, path: &Path, file: AccountFile) -> Result<Vec<Account>, ConfigError> {
        let AccountFile { without, mut account, .. } = file;
        let mut accounts = Vec::new();
        for section in self.xmpp_sections() {
            let Some(jid) = section.jid.as_ref().map(JidText::as_str) else { continue };
            if let Some(place) = account.iter().position(|stored| stored.is(jid)) {
                accounts.push(self.stored_account(path, account.remove(place), Some(section))?);
            } else if !without.iter().any(|other| is_same_account(other, jid)) {
                accounts.extend(self.configured_account(section)?);
            }
        }
        for stored in account {
            accounts.push(self.stored_account(path, stored, None)?);
        }
        Ok(accounts)
    }

    /// The configuration file names an account that is not used because of `bitween account remove`.
    pub(super) fn account_is_removed(&self) -> bool {
        let Ok(Some(file)) = load(&self.data_dir.join(ACCOUNT_FILE)) else { return false };
        let is_without = |jid: &str| file.without.iter().any(|other| is_same_account(other, jid));
        self.configured_jids().any(|jid| if file.is_list() { is_without(jid) } else { file.removed })
    }

    fn configured_jids(&self) -> impl Iterator<Item = &str> {
        self.xmpp_sections().filter_map(|section| section.jid.as_ref().map(JidText::as_str))
    }

    fn configured_account(&self, section: &XmppConfig) -> Result<Option<Account>, ConfigError> {
        let Some(jid) = section.jid.clone() else { return Ok(None) };
        let password = match &section.password_file {
            // With the variable set the file of the only account may be missing.
            Some(_) if self.more_xmpp.is_empty() && Secret::from_environment().is_some() => None,
            Some(path) => Some(Secret::from_file(path)?),
            None => section.password.clone(),
        };
        Ok(Some(Account {
            jid,
            password,
            server: section.server.clone(),
            tls: section.tls,
            ca_file: section.ca_file.clone(),
            allow_plain: section.allow_plain,
            publish_original: section.publish_original,
            accept_from: section.accept_from.clone(),
            stun: section.stun,
            source: AccountSource::Config,
        }))
    }

    /// What is used with this new account: what it says, and what the configuration says of it where it does not. `only`:
    /// it is to be the only account.
    ///
    /// # Errors
    /// It has no JID.
    pub fn complete(&self, stored: &StoredAccount, only: bool) -> Result<Account, ConfigError> {
        let jid = stored.jid.as_ref().map(JidText::as_str).unwrap_or_default();
        let section = self.section_about(jid, only);
        self.stored_account(&self.data_dir.join(ACCOUNT_FILE), self.set_anew(stored), section)
    }

    /// The section that says more about this account. A single one is about the only account, whatever its JID.
    fn section_about(&self, jid: &str, only: bool) -> Option<&XmppConfig> {
        let about =
            |section: &&XmppConfig| section.jid.as_ref().is_some_and(|other| is_same_account(other.as_str(), jid));
        let single = Some(&self.xmpp).filter(|_| only && self.more_xmpp.is_empty());
        self.xmpp_sections().find(about).or(single)
    }

    /// The only account, with what a section that names another, or none, said of it: it says so no longer when there are
    /// several.
    fn with_its_section(&self, file: AccountFile) -> AccountFile {
        let jid = file.jid.as_deref().unwrap_or_default();
        let Some(section) = self.section_about(jid, true).filter(|_| self.section_about(jid, false).is_none()) else {
            return file;
        };
        // One without a JID goes on saying these of all.
        let named = section.jid.as_ref();
        AccountFile {
            server: file.server.or_else(|| section.server.as_ref().map(ToString::to_string)),
            tls: file.tls.or(section.tls),
            ca_file: file.ca_file.or_else(|| section.ca_file.clone()),
            allow_plain: file.allow_plain.or_else(|| named.map(|_| section.allow_plain)),
            publish_original: file.publish_original.or_else(|| named.map(|_| section.publish_original)),
            accept_from: file.accept_from.or_else(|| named.map(|_| section.accept_from.clone())),
            stun: file.stun.or_else(|| named.map(|_| section.stun)),
            ..file
        }
    }

    /// An account of `account.toml`, with what the section about it says where it says nothing.
    fn stored_account(
        &self,
        path: &Path,
        file: AccountFile,
        section: Option<&XmppConfig>,
    ) -> Result<Account, ConfigError> {
        let wrong = |reason| ConfigError::io("use", path, std::io::Error::other(reason));
        let jid = file.jid.as_deref().ok_or_else(|| wrong("it has no `jid`".to_owned()))?.parse().map_err(wrong)?;
        let server = file.server.as_deref().map(str::parse).transpose().map_err(wrong)?;
        // Another server's address and certificate would be of no use to it; what may be done is for all.
        let rules = section.or_else(|| Some(&self.xmpp).filter(|all| all.jid.is_none() && self.more_xmpp.is_empty()));
        Ok(Account {
            jid,
            password: file.password,
            server: server.or_else(|| section.and_then(|section| section.server.clone())),
            tls: file.tls.or_else(|| section.and_then(|section| section.tls)),
            ca_file: file.ca_file.or_else(|| section.and_then(|section| section.ca_file.clone())),
            allow_plain: file.allow_plain.unwrap_or_else(|| rules.is_some_and(|rules| rules.allow_plain)),
            publish_original: file.publish_original.unwrap_or_else(|| rules.is_none_or(|rules| rules.publish_original)),
            accept_from: file.accept_from.or_else(|| rules.map(|rules| rules.accept_from.clone())).unwrap_or_default(),
            stun: file.stun.unwrap_or_else(|| rules.is_none_or(|rules| rules.stun)),
            source: AccountSource::Stored,
        })
    }

    /// Whether this account would be the only one. `more`: it is wanted beside those that there are; otherwise instead of
    /// the one with the same JID, or of the only one.
    ///
    /// # Errors
    /// In words: it is there already, or it is not clear which one it is to replace.
    pub fn is_only(&self, jid: &str, more: bool) -> Result<bool, String> {
        // A damaged file is replaced: setting an account must always be possible.
        let accounts = self.written_accounts().unwrap_or_default();
        let is_known = accounts.iter().any(|account| is_same_account(account.jid.as_str(), jid));
        match accounts.len() {
            _ if more && is_known => Err(format!("{jid} is set up already; `bitween account set {jid}` changes it")),
            0 => Ok(true),
            1 => Ok(!more),
            _ if more || is_known => Ok(false),
            count => Err(format!(
                "there are {count} accounts; `bitween account add {jid}` adds one more, `bitween account remove JID` takes \
                 one away"
            )),
        }
    }

    /// Which account is to be removed: this one, or without a name the only one. `None`: there is none.
    ///
    /// # Errors
    /// In words: there are several.
    pub fn to_remove(&self, jid: Option<&str>) -> Result<Option<String>, String> {
        let accounts = self.written_accounts().unwrap_or_default();
        let bare = |account: &Account| account.jid.bare().to_owned();
        match (jid, accounts.as_slice()) {
            (Some(jid), accounts) => {
                Ok(accounts.iter().find(|account| is_same_account(account.jid.as_str(), jid)).map(bare))
            }
            (None, []) => Ok(None),
            (None, [only]) => Ok(Some(bare(only))),
            (None, several) => {
                let names: Vec<String> = several.iter().map(bare).collect();
                Err(format!("there are several accounts, say which: {}", names.join(", ")))
            }
        }
    }

    /// Stores an account; `only` as [`Config::is_only`] says.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn store(&self, account: &StoredAccount, only: bool) -> Result<(), ConfigError> {
        if only { self.store_account(account) } else { self.add_account(account) }
    }

    /// Stores this as the only account in `account.toml` (0600); it is in force from the next [`Config::accounts`] on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store_account(&self, account: &StoredAccount) -> Result<(), ConfigError> {
        self.write_account(&self.set_anew(account))
    }

    /// An account as it will be stored. What may be done with it stands in the file only when it was once taken over from a
    /// section or written by hand; who sets it anew says nothing of that, so it stays.
    fn set_anew(&self, account: &StoredAccount) -> AccountFile {
        let fresh = AccountFile::from(account);
        let jid = fresh.jid.as_deref().unwrap_or_default();
        // A damaged file is replaced.
        let file = load(&self.data_dir.join(ACCOUNT_FILE)).ok().flatten().unwrap_or_default();
        let Some(before) = file.account.iter().chain([&file]).find(|stored| stored.is(jid)) else { return fresh };
        AccountFile {
            allow_plain: before.allow_plain,
            publish_original: before.publish_original,
            accept_from: before.accept_from.clone(),
            stun: before.stun,
            ..fresh
        }
    }

    /// Stores an account beside the others, or instead of the one with the same JID.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn add_account(&self, account: &StoredAccount) -> Result<(), ConfigError> {
        let mut list = self.account_list()?;
        let fresh = self.set_anew(account);
        let jid = fresh.jid.as_deref().unwrap_or_default();
        list.without.retain(|other| !is_same_account(other, jid));
        match list.account.iter_mut().find(|stored| stored.is(jid)) {
            Some(stored) => *stored = fresh,
            None => list.account.push(fresh),
        }
        self.write_account(&list)
    }

    /// Forgets all accounts. `Ok(false)` = there was none.
    ///
    /// # Errors
    /// The file cannot be changed.
    pub fn remove_account(&self) -> Result<bool, ConfigError> {
        let path = self.data_dir.join(ACCOUNT_FILE);
        let is_configured = self.configured_jids().next().is_some();
        // Also a damaged file is simply replaced: removing must always be possible.
        let stored = load(&path);
        let had = match &stored {
            Ok(Some(file)) if file.is_list() => self.written_accounts().map_or(true, |accounts| !accounts.is_empty()),
            Ok(Some(file)) => !file.removed,
            Ok(None) => is_configured,
            Err(_) => true,
        };
        if is_configured {
            self.write_account(&AccountFile { removed: true, ..AccountFile::default() })?;
        } else if !matches!(stored, Ok(None)) {
            std::fs::remove_file(&path).map_err(|e| ConfigError::io("remove", &path, e))?;
        }
        Ok(had)
    }

    /// Forgets one of several accounts. `Ok(false)` = there was none with this JID.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn remove_one_account(&self, jid: &str) -> Result<bool, ConfigError> {
        if !self.written_accounts()?.iter().any(|account| is_same_account(account.jid.as_str(), jid)) {
            return Ok(false);
        }
        let mut list = self.account_list()?;
        list.account.retain(|stored| !stored.is(jid));
        let configured = self.configured_jids().filter(|other| is_same_account(other, jid)).map(str::to_owned);
        list.without.extend(configured);
        if !list.is_list() {
            // Only what is configured is left.
            let path = self.data_dir.join(ACCOUNT_FILE);
            std::fs::remove_file(&path).map_err(|e| ConfigError::io("remove", &path, e))?;
            return Ok(true);
        }
        self.write_account(&list)?;
        Ok(true)
    }

    /// `account.toml` in the form for several accounts.
    fn account_list(&self) -> Result<AccountFile, ConfigError> {
        let file = load(&self.data_dir.join(ACCOUNT_FILE))?;
        let Some(file) = file else { return Ok(AccountFile::default()) };
        if file.is_list() {
            return Ok(file);
        }
        // The only account: those of the configuration are not used beside it.
        let others = self.configured_jids().filter(|jid| !file.is(jid)).map(str::to_owned).collect();
        let account = if file.removed { Vec::new() } else { vec![self.with_its_section(file)] };
        Ok(AccountFile { without: others, account, ..AccountFile::default() })
    }
}

/// Gives the password of the environment to whom it belongs.
fn give(accounts: &mut [Account], given: Option<Secret>) -> Result<(), ConfigError> {
    if let [only] = accounts {
        only.password = given.or_else(|| only.password.take());
        return Ok(());
    }
    let all = accounts.len();
    let mut without: Vec<&mut Account> = accounts.iter_mut().filter(|account| account.password.is_none()).collect();
    match (without.as_mut_slice(), given) {
        ([one], Some(given)) => one.password = Some(given),
        // It was for the only account; another one that was added must not keep the program from starting.
        ([], _) | (_, None) => {}
        (several, Some(_)) => return Err(ConfigError::WhosePassword { accounts: all, missing: several.len() }),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
