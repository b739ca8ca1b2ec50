//! What several integration tests share: real programs as fixtures, test data, waiting.
//!
//! Every fixture owns a folder and its processes: dropping it stops them by their process ids, and a failing test prints
//! their logs. A program that is not installed skips the test with a line that says so; with `CI=true` it fails it.

#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test binary uses a part of this, runs on real time and fails by panicking"
)]

pub mod aria2;
#[cfg(feature = "cli")]
pub mod bitween;
#[cfg(all(feature = "cli", feature = "xmpp"))]
pub mod daemon;
pub mod data;
pub mod ejabberd;
pub mod fake_peer;
pub mod libtorrent;
pub mod line;
pub mod namespace;
#[cfg(feature = "cli")]
pub mod network;
pub mod node;
pub mod opentracker;
#[cfg(feature = "xmpp")]
pub mod original;
pub mod process;
pub mod prosody;
pub mod relay;
#[cfg(all(feature = "cli", feature = "xmpp"))]
pub mod scripted_server;
#[macro_use]
pub mod server;
pub mod small_machine;
pub mod transmission;
#[cfg(all(feature = "cli", feature = "xmpp"))]
pub mod user;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Enough for one transfer of test data, on a machine that runs all tests at once.
pub const TRANSFER_LIMIT: Duration = Duration::from_secs(90);

/// How long a program may take until it is ready.
pub const START_LIMIT: Duration = Duration::from_secs(30);

/// Says that a test is skipped because `program` is missing; with `CI=true` fails it instead.
pub fn missing(program: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{program} is missing; .ci/setup installs it");
    eprintln!("SKIPPED: {program} is not installed; .ci/setup installs it");
}

/// Whether `program` is on the search path (or in the folders for administrators). See [`missing`].
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    let found = std::env::split_paths(&path).chain(extra).any(|folder| folder.join(program).is_file());
    if !found {
        missing(program);
    }
    found
}

/// A port that is free for TCP and UDP on the loopback interface, below those that the system hands out by itself, so
/// that nobody's outgoing connection takes it before it is used. Each process begins its search elsewhere.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 2000) * 10;
    for _ in 0..20_000 {
        let nth = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(10_000 + (start + nth) % 20_000).unwrap();
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// `127.0.0.1` and a port.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Asks `ready` until it answers.
///
/// # Panics
/// When that takes longer than `limit`; `what` is part of the message.
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {} s in vain: {what}", limit.as_secs());
        thread::sleep(Duration::from_millis(30));
    }
}

/// A path as text. Test folders have no other names.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
