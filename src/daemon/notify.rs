//! Tells the service manager how the daemon is doing: the protocol of `sd_notify(3)`, for `Type=notify` and `WatchdogSec=`.
//!
//! A datagram for each piece of news, to the socket that the environment names. Where nobody asked, nothing is sent; that
//! nobody listens is no trouble of ours.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crate::bus::{Clock, SystemClock};

/// Who is told. The default is nobody.
#[derive(Debug, Default)]
pub(super) struct Notify {
    socket: Option<UnixDatagram>,
    /// At least this often the manager wants a sign of life.
    watchdog: Option<Duration>,
    last_sign: Option<Instant>,
}

impl Notify {
    /// Whoever started this process and waits for news of it.
    pub(super) fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        match connect(&name) {
            Ok(socket) => {
                let watchdog = watchdog(|key| env::var(key).ok(), std::process::id());
                Self { socket: Some(socket), watchdog, last_sign: None }
            }
            Err(error) => {
                log::warn!("the service manager cannot be told that the daemon runs: {error}");
                Self::default()
            }
        }
    }

    /// The daemon serves; `status` is what `systemctl status` shows.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }

    /// It stops in order.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// A sign of life, if one is wanted and it is time. Twice as often as asked for: a late one kills the daemon.
    pub(super) fn alive(&mut self) {
        let Some(pause) = self.watchdog.map(|limit| limit / 2) else { return };
        let now = SystemClock.now();
        if self.last_sign.is_none_or(|last| now.saturating_duration_since(last) >= pause) {
            self.last_sign = Some(now);
            self.send("WATCHDOG=1");
        }
    }

    /// How long the daemon may be silent between two calls of [`alive`](Self::alive): short enough for the watchdog.
    pub(super) fn patience(&self, usual: Duration) -> Duration {
        self.watchdog.map_or(usual, |limit| usual.min(limit / 4))
    }

    fn send(&self, news: &str) {
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(news.as_bytes())) {
            debug!("the service manager was not told: {error}");
        }
    }
}

/// A socket to a path, or to an abstract name, which begins with `@`.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "NOTIFY_SOCKET names no unix socket")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that reads nothing must not stop the daemon.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How long the manager lets this process be silent, if it watches it (`sd_watchdog_enabled(3)`).
fn watchdog(variable: impl Fn(&str) -> Option<String>, pid: u32) -> Option<Duration> {
    if variable("WATCHDOG_PID").is_some_and(|watched| watched.parse() != Ok(pid)) {
        return None;
    }
    let limit = variable("WATCHDOG_USEC")?.parse().ok()?;
    Some(Duration::from_micros(limit)).filter(|limit| !limit.is_zero())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::linux::net::SocketAddrExt;

    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut news = [0; 256];
        let length = socket.recv(&mut news).unwrap();
        String::from_utf8(news[..length].to_vec()).unwrap()
    }

    #[test]
    fn news_reach_sockets_with_a_path_and_with_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let abstract_name = format!("@bitween-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name.as_bytes()[1..]).unwrap();
        let listeners = [
            (path.as_os_str(), UnixDatagram::bind(&path).unwrap()),
            (OsStr::new(&abstract_name), UnixDatagram::bind_addr(&address).unwrap()),
        ];
        for (name, listener) in listeners {
            let watchdog = Some(Duration::from_secs(3600));
            let mut notify = Notify { socket: Some(connect(name).unwrap()), watchdog, last_sign: None };
            notify.ready("port 1\nand more");
            notify.alive();
            notify.alive();
            notify.stopping();
            let ready = "READY=1\nSTATUS=port 1 and more";
            assert_eq!(heard(&listener), ready);
            assert_eq!(heard(&listener), "WATCHDOG=1");
            assert_eq!(heard(&listener), "STOPPING=1\nSTATUS=stopping", "one sign of life an interval");
        }
    }

    #[test]
    fn a_socket_that_is_none_is_refused() {
        for name in ["", "vsock:2:1234", "relative", "/nobody/listens/here"] {
            assert!(connect(OsStr::new(name)).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let watch = |usec: &'static str, pid: Option<&'static str>| {
            watchdog(move |key| if key == "WATCHDOG_PID" { pid } else { Some(usec) }.map(str::to_owned), 7)
        };
        assert_eq!(watch("30000000", None), Some(Duration::from_secs(30)));
        assert_eq!(watch("30000000", Some("7")), Some(Duration::from_secs(30)));
        assert_eq!(watch("30000000", Some("8")), None);
        assert_eq!((watch("0", None), watch("soon", None)), (None, None));
        let usual = Duration::from_secs(10);
        let patience = |limit: u64| Notify { watchdog: Some(Duration::from_secs(limit)), ..Notify::default() };
        assert_eq!(Notify::default().patience(usual), usual);
        assert_eq!((patience(8).patience(usual), patience(80).patience(usual)), (Duration::from_secs(2), usual));
    }
}
