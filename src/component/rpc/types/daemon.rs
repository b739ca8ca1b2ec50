//! What the methods answer of the daemon as a whole.

use serde::{Deserialize, Serialize};

use super::{Account, Local};

/// `Api.memory`: what memory is used for, and how long the network thread's turns take.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Memory {
    /// Bytes that all buffers may take together (`memory_limit`).
    pub limit: u64,
    /// Bytes that they take.
    pub used: u64,
    /// The most they ever took together.
    pub highest: u64,
    /// The same by class.
    pub classes: Vec<MemoryClass>,
    /// Bytes of files kept mapped for those who ask for their pieces. The system takes them back when it wants, so they
    /// do not count against the limit.
    pub mapped: u64,
    /// Bytes of memory of the whole process, shared pages and pages of files included, if the system tells.
    pub resident: Option<u64>,
    /// Bytes of memory of the whole process that belong to no file, if the system tells.
    pub anonymous: Option<u64>,
    /// Turns of the network thread's loop so far.
    pub reactor_turns: u64,
    /// The longest one, in milliseconds: so long every peer had to wait.
    pub reactor_longest_turn_ms: f64,
    /// The longest one of the last minute, in milliseconds.
    pub reactor_longest_turn_last_minute_ms: f64,
}

/// One class of memory in `Api.memory`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryClass {
    /// What for: "receiving" (pieces being received or verified), "serving" (finished pieces in buffers, to be sent),
    /// "idle" (buffers that wait for the next piece), "incoming" (messages of which a part has come), "outgoing" (messages
    /// that wait to be sent), "metadata" (descriptions of torrents on their way).
    pub name: String,
    /// Bytes.
    pub now: u64,
    /// The most there ever were.
    pub highest: u64,
    /// Bytes that it may have at the moment: the first three share a limit, and so do the next two.
    pub limit: u64,
}

/// `Api.status`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DaemonStatus {
    /// Version of bitween.
    pub version: String,
    /// Process.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime: u64,
    /// Data folder.
    pub data_dir: String,
    /// Folder for fetched torrents.
    pub download_dir: String,
    /// BitTorrent port, TCP and UDP.
    pub port: u16,
    /// Own addresses that are published, "ip:port".
    pub addresses: Vec<String>,
    /// The first account.
    pub account: Account,
    /// All accounts.
    pub accounts: Vec<Account>,
    /// This node in the local network; null if that is switched off.
    pub local: Option<Local>,
    /// Number of torrents.
    pub torrents: u64,
    /// Connected peers of all torrents.
    pub peers: u64,
    /// Bytes per second, received.
    pub download_rate: u64,
    /// Bytes per second, sent.
    pub upload_rate: u64,
    /// What a person should know: a component that restarts, a full disk, ...
    pub problems: Vec<String>,
}
