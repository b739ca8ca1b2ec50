//! Servers and contacts that mean harm, or are broken beyond belief: what a whole daemon makes of them.
//!
//! Servers are scripted (`common/scripted_server.rs`); contacts speak through a real Prosody by a connection of their
//! own. What counts: no password leaves, memory and the processor stay free, the log says who and why, and everybody
//! else is served as before.
#![cfg(all(feature = "cli", feature = "xmpp"))]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests run on real time and fail by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod contact;
mod dns;
mod logins;
mod server;

use std::time::Duration;

use common::scripted_server::{Login, ScriptedServer};
use common::user::User;
use common::wait_for;

/// Every account's password.
const PASSWORD: &str = "seçret: 1";

/// Enough for a daemon to find out, on a machine that runs all tests at once.
const PATIENCE: Duration = Duration::from_secs(20);

const SHA_256: &str = "SCRAM-SHA-256";

/// An honest login with these mechanisms.
fn honest(mechanisms: &[&'static str]) -> Login {
    Login::new(PASSWORD, mechanisms)
}

/// Alice's daemon, running, with her account on this server.
fn daemon(server: &ScriptedServer) -> User {
    User::on_server(&server.server(), &server.ca_file(), "alice", PASSWORD).started()
}

/// Waits until the account is not online, and the reason says this.
fn wait_for_problem(daemon: &User, words: &str) {
    wait_for(&format!("the account says {words:?}"), PATIENCE, || {
        let (state, error) = daemon.account();
        (state != "online" && error.contains(words)).then_some(())
    });
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
