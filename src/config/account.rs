//! The XMPP account: where it is written down, and which place wins.
//!
//! `bitween account set JID` cannot rewrite the user's `config.toml` (comments, version control, read-only systems), so
//! the daemon keeps its own `account.toml` (0600) in the data folder. While that file exists it replaces `jid`,
//! `password` and `password_file` of `[xmpp]`, and `server`, `tls`, `ca_file` where it has them; all other keys of
//! `[xmpp]` stay in force. `bitween account remove` deletes it, or, when `config.toml` names an account too, leaves one
//! that says `removed = true`, so that the account does not come back at the next start.
//!
//! The environment variable `BITWEEN_XMPP_PASSWORD` is stronger than every stored password. No password at all is no
//! error here: the daemon asks at a terminal, or runs without the account and says so.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::error::ConfigError;
use super::secret::{Secret, write_private};
use super::sections::TlsMode;
use super::values::{HostPort, JidText};
use super::{Config, read};

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

#[derive(Deserialize, Serialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AccountFile {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    jid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    password: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
}

/// The one place where a password is written out: into the private file.
fn exposed<S: Serializer>(password: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    password.as_ref().map(Secret::expose).serialize(serializer)
}

impl Config {
    /// The account in force, from `account.toml` and `[xmpp]`; `None` = bitween runs without XMPP.
    ///
    /// Reads the files each time, so a password that was mended is found without a restart.
    ///
    /// # Errors
    /// A file that should hold the account or its password cannot be read.
    pub fn account(&self) -> Result<Option<Account>, ConfigError> {
        let path = self.data_dir.join(ACCOUNT_FILE);
        let mut account = match load(&path)? {
            Some(file) if file.removed => None,
            Some(mut file) => Some(self.stored_account(&path, &mut file)?),
            None => self.configured_account()?,
        };
        if let Some(account) = &mut account {
            let written = Secret::from_environment().or_else(|| account.password.take());
            account.password = written.or_else(|| self.asked_password.clone());
        }
        Ok(account)
    }

    /// The configuration file names an account, but `bitween account remove` was said.
    pub(super) fn account_is_removed(&self) -> bool {
        let removed = |file: Option<AccountFile>| file.is_some_and(|file| file.removed);
        self.xmpp.jid.is_some() && load(&self.data_dir.join(ACCOUNT_FILE)).is_ok_and(removed)
    }

    fn stored_account(&self, path: &Path, file: &mut AccountFile) -> Result<Account, ConfigError> {
        let wrong = |reason| ConfigError::io("use", path, std::io::Error::other(reason));
        let jid = file.jid.as_deref().ok_or_else(|| wrong("it has no `jid`".to_owned()))?.parse().map_err(wrong)?;
        let server = file.server.as_deref().map(str::parse).transpose().map_err(wrong)?;
        Ok(Account {
            jid,
            password: file.password.take(),
            server: server.or_else(|| self.xmpp.server.clone()),
            tls: file.tls.or(self.xmpp.tls),
            ca_file: file.ca_file.take().or_else(|| self.xmpp.ca_file.clone()),
            source: AccountSource::Stored,
        })
    }

    fn configured_account(&self) -> Result<Option<Account>, ConfigError> {
        let Some(jid) = self.xmpp.jid.clone() else { return Ok(None) };
        let password = match &self.xmpp.password_file {
            // With the variable set the file may be missing.
            Some(_) if Secret::from_environment().is_some() => None,
            Some(path) => Some(Secret::from_file(path)?),
            None => self.xmpp.password.clone(),
        };
        Ok(Some(Account {
            jid,
            password,
            server: self.xmpp.server.clone(),
            tls: self.xmpp.tls,
            ca_file: self.xmpp.ca_file.clone(),
            source: AccountSource::Config,
        }))
    }

    /// Stores an account in `account.toml` (0600); it is in force from the next [`Config::account`] on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store_account(&self, account: &StoredAccount) -> Result<(), ConfigError> {
        self.write_account(&AccountFile {
            removed: false,
            jid: account.jid.as_ref().map(ToString::to_string),
            password: account.password.clone(),
            server: account.server.as_ref().map(ToString::to_string),
            tls: account.tls,
            ca_file: account.ca_file.clone(),
        })
    }

    /// Forgets the account. `Ok(false)` = there was none.
    ///
    /// # Errors
    /// The file cannot be changed.
    pub fn remove_account(&self) -> Result<bool, ConfigError> {
        let path = self.data_dir.join(ACCOUNT_FILE);
        // Also a damaged file is simply replaced: removing must always be possible.
        let stored = load(&path);
        let had = match &stored {
            Ok(Some(file)) => !file.removed,
            Ok(None) => self.xmpp.jid.is_some(),
            Err(_) => true,
        };
        if self.xmpp.jid.is_some() {
            self.write_account(&AccountFile { removed: true, ..AccountFile::default() })?;
        } else if !matches!(stored, Ok(None)) {
            std::fs::remove_file(&path).map_err(|e| ConfigError::io("remove", &path, e))?;
        }
        Ok(had)
    }

    fn write_account(&self, file: &AccountFile) -> Result<(), ConfigError> {
        let path = self.data_dir.join(ACCOUNT_FILE);
        let text = toml::to_string(file).map_err(|e| ConfigError::io("write", &path, std::io::Error::other(e)))?;
        let text = zeroize::Zeroizing::new(format!(
            "# Written by `bitween account set`; it replaces the account in config.toml.\n{text}"
        ));
        write_private(&path, text.as_bytes())
    }
}

fn load(path: &Path) -> Result<Option<AccountFile>, ConfigError> {
    let Some(text) = read(path)?.map(zeroize::Zeroizing::new) else { return Ok(None) };
    // The message of a TOML error may quote the file, which holds a password.
    let wrong = |_| ConfigError::io("use", path, std::io::Error::other("it is damaged; set the account again"));
    toml::from_str(&text).map(Some).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    fn config(dir: &Path, text: &str) -> Config {
        Config::from_text(text, None, &Overrides { data_dir: Some(dir.to_owned()), ..Overrides::default() }).unwrap()
    }

    fn alice() -> StoredAccount {
        StoredAccount {
            jid: Some("alice@example.org".parse().unwrap()),
            password: Some(Secret::new("it's \"hard\"\\".into())),
            ..StoredAccount::default()
        }
    }

    #[test]
    fn a_stored_account_replaces_the_configured_one_but_keeps_its_server() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "[xmpp]\njid='bob@example.org'\npassword='old'\nserver='localhost:5222'");
        assert_eq!(config.account().unwrap().unwrap().source, AccountSource::Config);
        config.store_account(&alice()).unwrap();
        let account = config.account().unwrap().unwrap();
        assert_eq!(account.jid.as_str(), "alice@example.org");
        assert_eq!(account.password.unwrap().expose(), "it's \"hard\"\\");
        assert_eq!(account.server.unwrap().port, 5222);
    }

    #[test]
    fn a_removed_account_does_not_come_back_from_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "[xmpp]\njid='bob@example.org'\npassword='old'");
        assert!(config.remove_account().unwrap());
        assert!(config.account().unwrap().is_none());
        assert!(config.warnings()[0].contains("bitween account remove"), "{:?}", config.warnings());
        assert!(!config.remove_account().unwrap());
        config.store_account(&alice()).unwrap();
        assert!(config.warnings().is_empty());
    }

    #[test]
    fn removing_the_only_account_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "");
        assert!(!config.remove_account().unwrap());
        config.store_account(&alice()).unwrap();
        assert!(config.remove_account().unwrap());
        assert!(!dir.path().join(ACCOUNT_FILE).exists());
    }

    #[test]
    fn a_damaged_account_file_is_named_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(ACCOUNT_FILE), "jid = \"a@b\"\npassword = hunter2\n").unwrap();
        let error = config(dir.path(), "").account().unwrap_err().to_string();
        assert!(error.contains(ACCOUNT_FILE) && !error.contains("hunter2"), "{error}");
    }
}
