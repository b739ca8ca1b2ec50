//! What the methods answer of the machine: settings, folders, the log, and what a check of everything finds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `Api.settings` and `Api.set_settings`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Settings {
    /// By key, as it is spelled in the configuration: `download_dir`, `bittorrent.port`.
    pub settings: BTreeMap<String, Setting>,
}

/// One setting.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Setting {
    /// What it is set to.
    pub value: Value,
    /// Where that comes from: "default", "file" (the configuration), "set" (over the interface).
    pub source: String,
    /// Is it another one after a restart only?
    pub restart: bool,
}

/// `Api.reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Reloaded {
    /// Keys that have other values now.
    pub changed: Vec<String>,
    /// Keys that will have other values after a restart.
    pub needs_restart: Vec<String>,
}

/// `Api.folders`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Folders {
    /// The folders that the daemon works with, and those that callers may name.
    pub folders: Vec<Folder>,
}

/// One folder of the daemon's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Folder {
    /// Absolute.
    pub path: String,
    /// What it is for: "download", "root", "data".
    pub what: String,
    /// Free bytes of its file system.
    pub free: u64,
    /// All bytes of its file system.
    pub total: u64,
    /// Can the daemon write there?
    pub writable: bool,
}

/// `Api.list_folder`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct FolderListing {
    /// The folder, absolute; nothing if these are the roots.
    pub path: String,
    /// The folder above it, if the caller may see that.
    pub parent: Option<String>,
    /// Folders first, each kind by name.
    pub entries: Vec<FolderEntry>,
    /// There are more than these.
    pub more: bool,
}

/// What lies in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct FolderEntry {
    /// Its name; of a root the whole path.
    pub name: String,
    /// Is it a folder?
    pub folder: bool,
    /// Bytes; 0 for a folder.
    pub size: u64,
    /// Info hash of the share that is made of it.
    pub shared: Option<String>,
}

/// `Api.log`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct LogLines {
    /// The oldest first.
    pub lines: Vec<LogLine>,
    /// Number of the newest line that there is: what to ask for the next ones with.
    pub last: u64,
}

/// One line of the log. It quotes names that other people chose: clean it before showing it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct LogLine {
    /// Its number, counted from the start of the daemon.
    pub id: u64,
    /// Unix seconds.
    pub time: u64,
    /// "error", "warn", "info", "debug", "trace".
    pub level: String,
    /// The module that says it.
    pub target: String,
    /// What it says.
    pub text: String,
}

/// `Api.doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Diagnosis {
    /// What was looked at.
    pub checks: Vec<Check>,
    /// All of it in a few words.
    pub verdict: String,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Check {
    /// What.
    pub name: String,
    /// "ok", "warning" or "failed".
    pub state: String,
    /// What was found, in one sentence.
    pub text: String,
    /// What can be done about it.
    pub remedy: Option<String>,
}

/// `xmpp.test_account`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct AccountTrial {
    /// How far it came, in order; the first that failed is the last.
    pub steps: Vec<TrialStep>,
    /// Did the log-in succeed?
    pub ok: bool,
    /// What can be done if it did not.
    pub remedy: Option<String>,
}

/// One step of a log-in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct TrialStep {
    /// "name" (DNS), "address", "connect", "tls", "login".
    pub step: String,
    /// Did it succeed?
    pub ok: bool,
    /// What was found or went wrong, in one sentence.
    pub text: String,
}
