//! The main job, end to end: people with accounts on a real Prosody (or ejabberd) share files with each other.
//!
//! Everything is done as a user would do it: `bitween daemon` runs, the other commands are typed. Each test has a server
//! and daemons of its own. A raw connection to the server stands in for other programs where that is the point.
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

mod asking;
mod blocking;
mod contacts;
mod direct;
mod ended;
mod failures;
mod hung;
mod lasting;
mod long_list;
mod original;
mod outside;
mod raw;
mod restart;
mod servers;
mod shares;
mod soak;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::data::write_file;
use common::prosody::{Prosody, ProsodyOptions};
use common::server::Server;
use common::user::User;
use common::wait_for;

/// How soon contacts must see a change.
const SOON: Duration = Duration::from_secs(2);

/// Enough for a server to notice that somebody is gone, or to come back and be found again.
const PATIENCE: Duration = Duration::from_secs(20);

const ALICE: &str = "alice@localhost";
const BOB: &str = "bob@localhost";
const CAROL: &str = "carol@localhost";

/// Every account's password.
const PASSWORD: &str = "seçret: 1";

/// Alice and bob are contacts of each other, carol is nobody's. As slow as Debian's configuration makes it.
fn server() -> Prosody {
    server_with(ProsodyOptions { limits: true, ..ProsodyOptions::default() })
}

fn server_with(options: ProsodyOptions<'_>) -> Prosody {
    Prosody::start(ProsodyOptions {
        users: &[("alice", PASSWORD), ("bob", PASSWORD), ("carol", PASSWORD)],
        contacts: &[("alice", "bob")],
        ..options
    })
}

fn daemon(server: &impl Server, user: &str) -> User {
    User::with_account(server, user, PASSWORD)
}

/// Running daemons with accounts that are online.
fn online<const N: usize>(server: &impl Server, users: [&str; N]) -> [User; N] {
    let daemons = users.map(|user| daemon(server, user).started());
    daemons.iter().for_each(User::wait_online);
    daemons
}

/// A file in a folder of the daemon's owner.
fn file(daemon: &User, name: &str, len: usize) -> PathBuf {
    let path = daemon.home().join("shared").join(name);
    write_file(&path, len, len as u64);
    path
}

fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, limit, || condition().then_some(()));
}

/// Fails unless `dir` holds the same as `path`, under the same name.
fn assert_arrived(path: &Path, dir: &Path) {
    common::data::assert_same(path, &dir.join(path.file_name().unwrap()));
}
