//! What can be wrong with the configuration, each as one line that says where and how to mend it.

use std::io;
use std::path::{Path, PathBuf};

/// The configuration or a file of the data folder cannot be used. A user's or a machine's fault, never a peer's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file named with `--config` is not there.
    #[error("there is no configuration file {}", path.display())]
    Missing {
        /// The file that was asked for.
        path: PathBuf,
    },
    /// The file has a key that means nothing.
    #[error("{}, line {line}: unknown key `{key}`{}", path.display(), hint(nearest.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Line of the key, counted from 1.
        line: usize,
        /// The key with its section, such as `xmpp.jdi`.
        key: String,
        /// What was probably meant, in backticks.
        nearest: Option<String>,
    },
    /// A value has the wrong type or is out of range.
    #[error("{}, line {line}: {}{reason}", path.display(), key.as_ref().map(|k| format!("`{k}`: ")).unwrap_or_default())]
    Value {
        /// The file.
        path: PathBuf,
        /// Line of the value, counted from 1.
        line: usize,
        /// The key with its section, if the place belongs to one.
        key: Option<String>,
        /// What is wrong.
        reason: String,
    },
    /// Two sections say different things about what counts for the whole program.
    #[error("{}: `xmpp.{key}` counts for all accounts, but lines {first} and {second} say different things", path.display())]
    Differ {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// A line that has it, counted from 1.
        first: usize,
        /// Another one.
        second: usize,
    },
    /// Two sections are about the same account.
    #[error("{}: the account {jid} is there twice, in lines {first} and {second}", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The account's bare JID.
        jid: String,
        /// A line that names it, counted from 1.
        first: usize,
        /// Another one.
        second: usize,
    },
    /// The password of the environment belongs to exactly one account.
    #[error(
        "{} is set, but of {accounts} accounts {missing} have no other password: it can be for one of them only",
        super::secret::PASSWORD_VARIABLE
    )]
    WhosePassword {
        /// How many accounts there are.
        accounts: usize,
        /// How many of them have no password.
        missing: usize,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// "read", "write", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No home folder is known, so a default path cannot be made.
    #[error("no home folder is known (HOME is not set), so `{key}` has no default: set it in the configuration")]
    NoHome {
        /// The key to set.
        key: &'static str,
    },
    /// The original's configuration is no JSON object.
    #[error("{} is not a configuration of the original: {reason}", path.display())]
    Original {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another daemon uses the data folder.
    #[error("another bitween daemon{} is using {}: stop it (`bitween stop`) or give this one its own --data-dir",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), path.display())]
    InUse {
        /// The data folder.
        path: PathBuf,
        /// The other process, if it left its number.
        pid: Option<u32>,
    },
}

impl ConfigError {
    /// Names the file that a system call failed on.
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|key| format!(", did you mean {key}?")).unwrap_or_default()
}
