//! Announces over UDP. Blocks until the tracker has answered or the time is up.
//!
//! A name may have addresses of both families. Both are asked, side by side, because a tracker hands out only peers of
//! the family it was asked through (BEP 15).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::AnnounceError;
use super::deadline::{Deadline, SLICE};
use super::look_up::LookUp;
use crate::bus::{Clock, SystemClock};
use crate::proto::tracker::udp::{Connection, Family, UdpAnnounce};
use crate::proto::tracker::{Access, Announce, Announced, Hop, MAX_PEERS, TrackerUrl};

/// Tells until when one address may be asked.
type Until<'a> = &'a (dyn Fn() -> Instant + Sync);

/// Sockets with connections that can be used again. Usable from several threads.
pub(super) struct UdpClient {
    /// Oldest first.
    connected: Mutex<Vec<Connected>>,
    look_up: LookUp,
}

/// A tracker knows a connection by our port, so both are kept together.
struct Connected {
    tracker: SocketAddr,
    socket: UdpSocket,
    connection: Option<Connection>,
}

impl UdpClient {
    pub(super) fn new(look_up: LookUp) -> Self {
        Self { connected: Mutex::default(), look_up }
    }

    /// Makes one announce to each family of addresses of the tracker, and merges what they answer.
    pub(super) fn announce(
        &self,
        url: &TrackerUrl,
        announce: &Announce,
        access: Access,
        deadline: &Deadline,
    ) -> Result<Announced, AnnounceError> {
        let first_answer = OnceLock::new();
        let ask = |tracker| {
            // When one family has answered, the other one gets a little time, not all of it: it may lead nowhere.
            let until = || match first_answer.get() {
                Some(at) => deadline.at().min(*at + SECOND_FAMILY_TIME),
                None => deadline.at(),
            };
            let reply = self.exchange(tracker, url.path_and_query(), announce, &until);
            if reply.is_ok() {
                let _ = first_answer.set(SystemClock.now());
            }
            reply
        };
        let found = self.look_up.addresses(url.host(), url.port(), deadline)?;
        let (usable, _) = access.usable(Hop { path: None, redirected_from: None }, &found)?;
        match first_of_each_family(&usable) {
            (Some(v4), Some(v6)) => {
                let (v4, v6) = thread::scope(|scope| {
                    let v6 = thread::Builder::new().name("tracker-v6".into()).spawn_scoped(scope, || ask(v6));
                    let v4 = ask(v4);
                    let v6 = v6.map(|thread| thread.join().unwrap_or(Err(AnnounceError::Panicked)));
                    (v4, v6.unwrap_or_else(|error| Err(unreachable(&error))))
                });
                merge(v4, v6)
            }
            (Some(only), None) | (None, Some(only)) => ask(only),
            (None, None) => Err(AnnounceError::Resolve),
        }
    }

    fn exchange(
        &self,
        tracker: SocketAddr,
        url_data: &str,
        announce: &Announce,
        until: Until<'_>,
    ) -> Result<Announced, AnnounceError> {
        let Connected { socket, connection, .. } = match self.take(tracker) {
            Some(connected) => connected,
            None => Connected::open(tracker).map_err(|error| unreachable(&error))?,
        };
        let family = if tracker.is_ipv4() { Family::V4 } else { Family::V6 };
        // Transaction ids keep strangers from answering in the tracker's place.
        let seed = getrandom::u64().unwrap_or_else(|_| fastrand::u64(..));
        let mut exchange = UdpAnnounce::new(announce.clone(), url_data, family, connection, seed);
        let reply = drive(&socket, &mut exchange, until)?;
        self.put(Connected { tracker, socket, connection: exchange.connection() });
        Ok(reply)
    }

    fn take(&self, tracker: SocketAddr) -> Option<Connected> {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let index = connected.iter().position(|one| one.tracker == tracker && one.is_fresh())?;
        Some(connected.remove(index))
    }

    fn put(&self, one: Connected) {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.retain(Connected::is_fresh);
        if connected.len() < MAX_CONNECTED {
            connected.push(one);
        }
    }
}

impl Connected {
    fn open(tracker: SocketAddr) -> io::Result<Self> {
        let any = if tracker.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        // A connected socket hears from this address only, and hears when nobody listens there.
        socket.connect(tracker)?;
        Ok(Self { tracker, socket, connection: None })
    }

    fn is_fresh(&self) -> bool {
        self.connection.is_some_and(|connection| connection.is_fresh(SystemClock.now()))
    }
}

/// Carries datagrams between the state machine and the socket until one of them has had enough.
fn drive(socket: &UdpSocket, exchange: &mut UdpAnnounce, until: Until<'_>) -> Result<Announced, AnnounceError> {
    let mut buffer = vec![0; MAX_DATAGRAM_LEN];
    loop {
        let now = SystemClock.now();
        let deadline = until();
        if now >= deadline {
            return Err(AnnounceError::Timeout);
        }
        if let Some(datagram) = exchange.poll_transmit(now)? {
            socket.send(&datagram).map_err(|error| unreachable(&error))?;
        }
        let next = exchange.poll_timeout().unwrap_or(now).min(deadline);
        let wait = next.saturating_duration_since(now).clamp(Duration::from_millis(1), SLICE);
        let received = socket.set_read_timeout(Some(wait)).and_then(|()| socket.recv(&mut buffer));
        match received {
            Ok(len) => {
                let datagram = buffer.get(..len).unwrap_or_default();
                if let Some(reply) = exchange.handle_input(SystemClock.now(), datagram)? {
                    return Ok(reply);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(unreachable(&error)),
        }
    }
}

fn first_of_each_family(addrs: &[SocketAddr]) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let first = |wanted: fn(&SocketAddr) -> bool| addrs.iter().copied().find(wanted);
    (first(SocketAddr::is_ipv4), first(SocketAddr::is_ipv6))
}

/// What both families answered; a failure counts only if both failed, and then the first one's is told.
fn merge(
    v4: Result<Announced, AnnounceError>,
    v6: Result<Announced, AnnounceError>,
) -> Result<Announced, AnnounceError> {
    match (v4, v6) {
        (Ok(mut v4), Ok(v6)) => {
            v4.peers.extend(v6.peers);
            v4.peers.truncate(MAX_PEERS);
            v4.interval = v4.interval.max(v6.interval);
            v4.min_interval = v4.min_interval.max(v6.min_interval);
            v4.seeders = v4.seeders.max(v6.seeders);
            v4.leechers = v4.leechers.max(v6.leechers);
            Ok(v4)
        }
        (Ok(reply), Err(_)) | (Err(_), Ok(reply)) => Ok(reply),
        (Err(error), Err(_)) => Err(error),
    }
}

fn unreachable(error: &io::Error) -> AnnounceError {
    AnnounceError::Unreachable(error.kind().to_string())
}

/// Longest datagram that is read, in bytes: 900 peers with IPv6 addresses; trackers keep below 1,500.
const MAX_DATAGRAM_LEN: usize = 16 * 1024;
/// What is left for the other family of addresses after one has answered.
const SECOND_FAMILY_TIME: Duration = Duration::from_secs(2);
/// Sockets kept for further announces.
const MAX_CONNECTED: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_both_families_are_merged() {
        let secs = Duration::from_secs;
        let reply = |interval, peer: &str, seeders| Announced {
            interval: secs(interval),
            peers: vec![peer.parse().unwrap()],
            seeders,
            ..Announced::default()
        };
        let (v4, v6) = (reply(1800, "10.0.0.1:1", Some(3)), reply(900, "[::1]:1", None));
        let merged = merge(Ok(v4.clone()), Ok(v6.clone())).unwrap();
        assert_eq!(merged.peers, [v4.peers[0], v6.peers[0]]);
        assert_eq!((merged.interval, merged.seeders), (secs(1800), Some(3)));
        assert_eq!(merge(Err(AnnounceError::Timeout), Ok(v6.clone())), Ok(v6));
        assert_eq!(merge(Err(AnnounceError::Resolve), Err(AnnounceError::Timeout)), Err(AnnounceError::Resolve));
    }
}
