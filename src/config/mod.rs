//! The configuration: one TOML file, read and checked once at start (layer 5).
//!
//! [`Config::load`] joins, from weak to strong: built-in defaults, `config.toml`, command-line overrides. Every layer
//! below gets its own small options struct made from it; nobody else sees a [`Config`], and there is no global.
//! Unknown keys, wrong types and impossible values are errors that name key, line and file ([`ConfigError`]).
//!
//! Accounts may also come from `account.toml` in the data folder, see [`Config::accounts`]; secrets are [`Secret`]s and never
//! show up in errors or logs. Every key is explained in `bitween.example.toml`, and a test keeps that file complete.

mod account;
mod data_dir;
mod error;
mod keys;
mod original;
mod secret;
mod sections;
mod several;
mod values;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::folders;
use crate::types::{MAX_ADDRESSES_PER_CONTACT, MAX_SHARES_PER_CONTACT};

pub use account::{ACCOUNT_FILE, Account, AccountSource, StoredAccount};
pub use data_dir::{DAEMON_FILE, DaemonFile, DataDirLock, LOCK_FILE};
pub use error::ConfigError;
pub use original::Imported;
pub use secret::{PASSWORD_VARIABLE, Secret, create_private_dir, write_private};
pub use sections::{
    ApiConfig, BittorrentConfig, LocalConfig, LocalMode, LogConfig, StorageChoice, TlsMode, XmppConfig,
};
pub use values::{ByteSize, ExtraAddress, HostPort, JidRule, JidText, parse_bind};

/// Name of the configuration file in the configuration folder.
const CONFIG_FILE: &str = "config.toml";

/// Everything a daemon or a client needs to know, checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The file it came from; `None` when there was none and the defaults hold.
    pub file: Option<PathBuf>,
    /// Folder of the daemon's own files (database, account, lock).
    pub data_dir: PathBuf,
    /// Where fetched torrents go unless the call says otherwise.
    pub download_dir: PathBuf,
    /// Neighbours in the local network.
    pub local: LocalConfig,
    /// Logging.
    pub log: LogConfig,
    /// `[xmpp]`, or the first `[[xmpp]]`: an account and how to reach it, and what counts for all accounts.
    pub xmpp: XmppConfig,
    /// The other `[[xmpp]]`.
    pub more_xmpp: Vec<XmppConfig>,
    /// The BitTorrent side.
    pub bittorrent: BittorrentConfig,
    /// The JSON-RPC interface.
    pub api: ApiConfig,
    /// Passwords as they were asked for at the terminal, by JID; used when none is written down anywhere.
    pub asked_passwords: Vec<(String, Secret)>,
}

/// What the command line says over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`: this file, which must exist.
    pub config: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--bind`: the interface's address.
    pub bind: Option<std::net::IpAddr>,
    /// `--port`: the interface's port.
    pub port: Option<u16>,
}

/// The file as it is written; paths are not resolved yet.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    download_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    local: LocalMode,
    local_name: Option<String>,
    local_port: u16,
    local_neighbors: Vec<HostPort>,
    log: LogConfig,
    xmpp: several::Sections,
    bittorrent: BittorrentConfig,
    api: ApiConfig,
}

impl Config {
    /// Finds, reads and checks the configuration.
    ///
    /// Without `--config` a missing file means defaults. Relative paths in the file count from the file's folder, a
    /// leading `~/` is the home folder.
    ///
    /// # Errors
    /// [`ConfigError`]: unreadable or wrong file, or no home folder to put the defaults in.
    pub fn load(overrides: &Overrides) -> Result<Self, ConfigError> {
        match &overrides.config {
            Some(path) => {
                let text = read(path)?.ok_or_else(|| ConfigError::Missing { path: path.clone() })?;
                Self::from_text(&text, Some(path), overrides)
            }
            None => {
                let path = Self::default_file();
                match path.as_deref().map(read).transpose()?.flatten() {
                    Some(text) => Self::from_text(&text, path.as_deref(), overrides),
                    None => Self::from_text("", None, overrides),
                }
            }
        }
    }

    /// Where the configuration lives without `--config`: `$XDG_CONFIG_HOME/bitween/config.toml`. `None` without a home
    /// folder.
    #[must_use]
    pub fn default_file() -> Option<PathBuf> {
        folders::config_dir().map(|folder| folder.join(CONFIG_FILE))
    }

    /// Where our own files live without `--data-dir` and `data_dir`: `$XDG_DATA_HOME/bitween`. `None` without a home
    /// folder.
    #[must_use]
    pub fn default_data_dir() -> Option<PathBuf> {
        folders::data_dir()
    }

    /// Checks a configuration's text. `file` is named in errors and anchors relative paths.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_text(text: &str, file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let named = file.unwrap_or_else(|| Path::new(CONFIG_FILE));
        let parsed: ConfigFile = keys::parse(text, named)?;
        let folder = file.and_then(|path| std::path::absolute(path).ok()).and_then(|p| p.parent().map(Path::to_owned));
        let anchor = Anchor { folder, home: etcetera::home_dir().ok() };
        let data_dir = match (&overrides.data_dir, parsed.data_dir) {
            (Some(dir), _) => std::path::absolute(dir).map_err(|e| ConfigError::io("use", dir, e))?,
            (None, Some(dir)) => anchor.resolve(dir),
            (None, None) => Self::default_data_dir().ok_or(ConfigError::NoHome { key: "data_dir" })?,
        };
        let download_dir = match parsed.download_dir {
            Some(dir) => anchor.resolve(dir),
            None => anchor.home.clone().ok_or(ConfigError::NoHome { key: "download_dir" })?.join("Downloads"),
        };
        let mut sections = parsed.xmpp.join(text, named)?;
        let more_xmpp = sections.split_off(sections.len().min(1));
        let mut config = Self {
            file: file.map(Path::to_owned),
            data_dir,
            download_dir,
            local: LocalConfig {
                mode: parsed.local,
                name: parsed.local_name,
                port: parsed.local_port,
                neighbors: parsed.local_neighbors,
                loopback_only: false,
            },
            log: parsed.log,
            xmpp: sections.pop().unwrap_or_default(),
            more_xmpp,
            bittorrent: parsed.bittorrent,
            api: parsed.api,
            asked_passwords: Vec::new(),
        };
        let sections = std::iter::once(&mut config.xmpp).chain(&mut config.more_xmpp);
        let files = sections.flat_map(|section| [&mut section.password_file, &mut section.ca_file]);
        for path in files.chain([&mut config.api.token_file]) {
            *path = path.take().map(|path| anchor.resolve(path));
        }
        config.api.bind = overrides.bind.unwrap_or(config.api.bind);
        config.api.port = overrides.port.unwrap_or(config.api.port);
        Ok(config)
    }

    /// What a careful user wants to hear of at start, one line each: secrets that others on the machine can read.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let removed = self.account_is_removed().then(|| {
            "the account of the configuration file is not used, because of an earlier `bitween account remove`; \
             `bitween account set JID` sets one"
                .to_owned()
        });
        let holds_secret =
            self.file.as_ref().filter(|_| self.xmpp_sections().any(|section| section.password.is_some()));
        let passwords = self.xmpp_sections().map(|section| section.password_file.as_ref());
        passwords
            .chain([self.api.token_file.as_ref(), holds_secret])
            .flatten()
            .filter(|path| secret::is_readable_by_others(path))
            .map(|path| {
                let path = path.display();
                format!("{path} holds a secret and others on this machine can read it; mend it with: chmod 600 {path}")
            })
            .chain(removed)
            .chain(self.unused_password())
            .chain(self.beyond_limits())
            .collect()
    }

    /// `[xmpp]`, or every `[[xmpp]]`.
    pub fn xmpp_sections(&self) -> impl Iterator<Item = &XmppConfig> {
        std::iter::once(&self.xmpp).chain(&self.more_xmpp)
    }

    /// Limits of the file that are higher than what is possible.
    fn beyond_limits(&self) -> impl Iterator<Item = String> {
        let limits = [
            ("max_shares_per_contact", self.xmpp.max_shares_per_contact, MAX_SHARES_PER_CONTACT),
            ("max_addresses_per_contact", self.xmpp.max_addresses_per_contact, MAX_ADDRESSES_PER_CONTACT),
        ];
        let beyond = limits.into_iter().filter(|(_, wanted, most)| wanted > most);
        beyond.map(|(key, wanted, most)| format!("xmpp.{key} = {wanted} is more than possible; {most} is used"))
    }
}

/// What relative and `~/` paths of the file count from.
struct Anchor {
    folder: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl Anchor {
    fn resolve(&self, path: PathBuf) -> PathBuf {
        if let (Ok(rest), Some(home)) = (path.strip_prefix("~"), &self.home) {
            return home.join(rest);
        }
        match &self.folder {
            Some(folder) => folder.join(path),
            None => std::path::absolute(&path).unwrap_or(path),
        }
    }
}

/// Reads a file that may be absent (`None`).
fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ConfigError::io("read", path, e)),
    }
}

#[cfg(test)]
mod tests;
