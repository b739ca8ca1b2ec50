//! What the interface asks about the machine: settings, folders, the log, and whether all is well.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::super::access::Caller;
use super::super::types::{AccountTrial, Diagnosis, FolderListing, Folders, LogLines, Reloaded, Settings as Values};
use super::{ControlError, NewAccount, not_offered};

/// The arguments of `Api.log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only lines after the one with this number.
    pub after: u64,
    /// Only lines of this level and more serious ones.
    pub level: Option<String>,
    /// Only lines that hold this text, whatever the case.
    pub text: Option<String>,
    /// Lines at most; of more the newest.
    pub limit: usize,
}

/// The part of the daemon that knows the machine it runs on. An implementation offers what it defines itself.
///
/// # Errors
/// As [`Control`](super::Control)'s.
pub trait Settings: Send + Sync {
    /// `Api.settings`.
    fn settings(&self) -> Result<Values, ControlError> {
        not_offered()
    }
    /// `Api.set_settings`: all of them or none. Without a value the one of the configuration counts again.
    fn set_settings(&self, changes: BTreeMap<String, Option<Value>>) -> Result<Values, ControlError> {
        let _ = changes;
        not_offered()
    }
    /// `Api.reload`: reads the configuration again.
    fn reload(&self) -> Result<Reloaded, ControlError> {
        not_offered()
    }
    /// `Api.log`.
    fn log(&self, query: LogQuery) -> Result<LogLines, ControlError> {
        let _ = query;
        not_offered()
    }
    /// `Api.folders`.
    fn folders(&self) -> Result<Folders, ControlError> {
        not_offered()
    }
    /// `Api.list_folder`; without a path the folders that this caller may begin at. Absolute path.
    fn list_folder(&self, caller: &Caller, path: Option<&Path>) -> Result<FolderListing, ControlError> {
        let _ = (caller, path);
        not_offered()
    }
    /// `Api.doctor`.
    fn doctor(&self) -> Result<Diagnosis, ControlError> {
        not_offered()
    }
    /// `xmpp.test_account`: logs in, says how far it came, and stores nothing.
    fn test_account(&self, account: NewAccount) -> Result<AccountTrial, ControlError> {
        let _ = account;
        not_offered()
    }
}
