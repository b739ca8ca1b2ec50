//! `account.toml` itself: what stands in it, read and written.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::{ACCOUNT_FILE, StoredAccount};
use crate::config::error::ConfigError;
use crate::config::secret::{Secret, write_private};
use crate::config::sections::TlsMode;
use crate::config::values::JidRule;
use crate::config::{Config, read};
use crate::proto::account::is_same_account;

/// The file, and each of the accounts in it.
#[derive(Clone, Deserialize, Serialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AccountFile {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) removed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) without: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    pub(super) password: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<TlsMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) allow_plain: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publish_original: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) accept_from: Option<Vec<JidRule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stun: Option<bool>,
    /// Tables come last in TOML.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) account: Vec<AccountFile>,
}

impl From<&StoredAccount> for AccountFile {
    fn from(account: &StoredAccount) -> Self {
        Self {
            jid: account.jid.as_ref().map(ToString::to_string),
            password: account.password.clone(),
            server: account.server.as_ref().map(ToString::to_string),
            tls: account.tls,
            ca_file: account.ca_file.clone(),
            ..Self::default()
        }
    }
}

impl AccountFile {
    /// It has the form for several accounts.
    pub(super) fn is_list(&self) -> bool {
        !self.account.is_empty() || !self.without.is_empty()
    }

    /// It is this account's.
    pub(super) fn is(&self, jid: &str) -> bool {
        self.jid.as_deref().is_some_and(|own| is_same_account(own, jid))
    }
}

/// The one place where a password is written out: into the private file.
fn exposed<S: Serializer>(password: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    password.as_ref().map(Secret::expose).serialize(serializer)
}

impl Config {
    pub(super) fn write_account(&self, file: &AccountFile) -> Result<(), ConfigError> {
        let path = self.data_dir.join(ACCOUNT_FILE);
        let text = toml::to_string(file).map_err(|e| ConfigError::io("write", &path, std::io::Error::other(e)))?;
        let text = zeroize::Zeroizing::new(format!(
            "# Written by `bitween account`; see there and in bitween.example.toml how it goes with config.toml.\n{text}"
        ));
        write_private(&path, text.as_bytes())
    }
}

/// What stands in the file; `None` if there is none.
pub(super) fn load(path: &Path) -> Result<Option<AccountFile>, ConfigError> {
    let Some(text) = read(path)?.map(zeroize::Zeroizing::new) else { return Ok(None) };
    // The message of a TOML error may quote the file, which holds a password.
    let wrong = |_| ConfigError::io("use", path, std::io::Error::other("it is damaged; set the account again"));
    toml::from_str(&text).map(Some).map_err(wrong)
}
