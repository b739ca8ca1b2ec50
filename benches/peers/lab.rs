//! Where the measuring happens: folders in memory that vanish at the end, ports, patience, and the wish to stop.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::trouble::Trouble;

/// How long a client may take until it is ready.
pub const START_LIMIT: Duration = Duration::from_secs(120);

/// How long one transfer or recheck may take.
pub const TRANSFER_LIMIT: Duration = Duration::from_secs(600);

/// More than handshakes and bitfields.
const BEGUN: u64 = 64 * 1024;

/// What all rows share.
pub struct Lab {
    // In an option of its own: a client's folder is removed before the lab's.
    root: TempDir,
    interrupted: Arc<AtomicBool>,
    /// Bytes of the download row; the other rows' sizes follow from it.
    pub size: u64,
    /// How long a seeding client is measured.
    pub measured: Duration,
    /// How long an idle client is measured.
    pub idle: Duration,
    /// How many torrents and how many idle connections there are.
    pub many: usize,
    /// Idle connections.
    pub connections: usize,
}

impl Lab {
    /// A lab in `/dev/shm` where that exists, so that no disk is measured.
    pub fn new(size: u64, measured: Duration) -> Result<Self, Trouble> {
        let shared_memory = Path::new("/dev/shm");
        let parent = if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() };
        let root = tempfile::Builder::new().prefix("bitween-peers").tempdir_in(parent)?;
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // A second Ctrl-C ends it at once.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&interrupted))?;
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        let idle = Duration::from_secs(10);
        Ok(Self { root, interrupted, size, measured, idle, many: 1000, connections: 500 })
    }

    /// A folder for one measurement, removed when dropped.
    pub fn folder(&self) -> Result<TempDir, Trouble> {
        self.check()?;
        Ok(tempfile::Builder::new().prefix("run").tempdir_in(self.root.path())?)
    }

    /// A folder that stays until the end of the run, such as a client's state that takes long to make.
    pub fn kept(&self, name: &str) -> Result<PathBuf, Trouble> {
        let path = self.root.path().join(name.replace([' ', '/'], "-"));
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Fails when somebody pressed Ctrl-C.
    pub fn check(&self) -> Result<(), Trouble> {
        if self.interrupted.load(Ordering::Relaxed) { Err(Trouble::Interrupted) } else { Ok(()) }
    }

    /// Sleeps, unless interrupted.
    pub fn sleep(&self, time: Duration) -> Result<(), Trouble> {
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()) {
            self.check()?;
            thread::sleep(left.min(Duration::from_millis(50)));
        }
        self.check()
    }

    /// Asks `ready`, every `every`, until it answers.
    pub fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        every: Duration,
        mut ready: impl FnMut() -> Result<Option<T>, Trouble>,
    ) -> Result<T, Trouble> {
        let start = Instant::now();
        loop {
            if let Some(answer) = ready()? {
                return Ok(answer);
            }
            self.check()?;
            if start.elapsed() > limit {
                return Err(Trouble::failed(format!("waited {} s in vain for {what}", limit.as_secs())));
            }
            thread::sleep(every);
        }
    }
}

/// A port free for TCP and UDP, below those that the system hands out by itself.
pub fn free_port() -> Result<u16, Trouble> {
    const FIRST: u16 = 30_000;
    const COUNT: u16 = 2_700;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Ok(port);
        }
    }
    Err(Trouble::failed("no port is free"))
}

/// `127.0.0.1` and a port.
pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// What came over the connections of a listener, once anything did: the bytes it has sent, as `ss` tells.
pub fn bytes_sent(port: u16) -> Option<u64> {
    let output = Command::new("ss").args(["-Htin", &format!("sport = :{port}")]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sent = text.split_whitespace().filter_map(|word| word.strip_prefix("bytes_sent:")?.parse::<u64>().ok()).sum();
    (sent > BEGUN).then_some(sent)
}

/// Whether somebody takes connections there.
pub fn listens(port: u16) -> bool {
    TcpStream::connect(loopback(port)).is_ok()
}
