//! Asks STUN servers at which address they see this machine, once over IPv4 and once over IPv6.
//!
//! Names are looked up and answers waited for on a thread that ends by itself within seconds, or when the look-up does;
//! nothing waits for it. What it learns goes onto the bus.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::port::now;
use crate::bus::spawn;
use crate::component::event::{Bus, Event};
use crate::proto::stun;
use crate::types::Witness;

/// How long each of the tries may take (RFC 8489 section 6.2.1, but given up sooner: it is tried again in half an hour).
const TRIES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Asks, one round at a time.
#[derive(Debug, Default)]
pub(super) struct Probe {
    busy: Arc<AtomicBool>,
}

impl Probe {
    /// Begins to ask these servers, unless that is being done. The first answer of each family counts.
    pub(super) fn begin(&self, servers: Vec<(String, u16)>, witness: Witness, bus: Bus) {
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let busy = Arc::clone(&self.busy);
        let run = move || {
            for ip in seen_at(&servers) {
                debug!("a STUN server sees this machine at {ip}");
                // Nobody listens while the program ends.
                let _ = bus.publish(Event::Observed { witness, ip });
            }
            busy.store(false, Ordering::Release);
        };
        if let Err(error) = spawn("stun", run) {
            log::warn!("STUN servers cannot be asked: {error}");
            self.busy.store(false, Ordering::Release);
        }
    }
}

/// The own addresses, at most one of each family.
fn seen_at(servers: &[(String, u16)]) -> Vec<IpAddr> {
    let look_up = |(host, port): &(String, u16)| {
        let host = host.trim_matches(['[', ']']);
        (host, *port).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default()
    };
    let addresses: Vec<SocketAddr> = servers.iter().flat_map(look_up).collect();
    let first = |v4: bool| {
        let mut family = addresses.iter().filter(|address| address.is_ipv4() == v4);
        family.find_map(|server| ask(*server).inspect_err(|error| debug!("STUN server {server}: {error}")).ok())
    };
    [first(true), first(false)].into_iter().flatten().collect()
}

/// One server, three tries.
fn ask(server: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    // Nothing from anybody else is received then.
    socket.connect(server)?;
    let mut id = [0; stun::ID_LEN];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let mut buffer = [0; stun::MAX_LEN];
    for patience in TRIES {
        socket.send(&stun::request(&id))?;
        let until = now() + patience;
        while let Some(left) = time_left(until) {
            socket.set_read_timeout(Some(left))?;
            match socket.recv(&mut buffer) {
                Ok(len) => {
                    if let Some(seen) = buffer.get(..len).and_then(|bytes| stun::answer(bytes, &id)) {
                        return Ok(seen.ip());
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn time_left(until: Instant) -> Option<Duration> {
    until.checked_duration_since(now()).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::RecvError;
    use crate::component::event::Topic;
    use crate::types::AccountKey;

    /// A server that stays silent for some requests, and then answers with what `reply` makes of one.
    fn server(silent: usize, reply: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> (String, u16) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut buffer = [0; 100];
            for n in 0.. {
                let (len, from) = socket.recv_from(&mut buffer).unwrap();
                if n >= silent {
                    reply(&buffer[..len]).iter().for_each(|answer| drop(socket.send_to(answer, from)));
                }
            }
        });
        ("127.0.0.1".to_owned(), port)
    }

    /// The answer to a request: 203.0.113.7, port 0x2112.
    fn answer(request: &[u8]) -> Vec<u8> {
        let mut bytes = request.to_vec();
        (bytes[0], bytes[3]) = (1, 12);
        bytes.extend(b"\x00\x20\x00\x08\x00\x01\x00\x00");
        bytes.extend((u32::from(Ipv4Addr::new(203, 0, 113, 7)) ^ 0x2112_a442).to_be_bytes());
        bytes
    }

    #[test]
    fn a_server_is_asked_until_it_answers_and_forgeries_are_passed_over() {
        let forged = |request: &[u8]| {
            let mut forged = answer(request);
            forged[19] ^= 1;
            vec![b"nonsense".to_vec(), forged, answer(request)]
        };
        let (bus, witness) = (Bus::new(), Witness::Server(AccountKey::FIRST));
        let heard = bus.subscribe("test", &[Topic::Observed], 4);
        let probe = Probe::default();
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let servers =
            vec![("127.0.0.1".to_owned(), nobody), server(1, forged), server(0, |request| vec![answer(request)])];
        probe.begin(servers.clone(), witness, bus.clone());
        probe.begin(servers, witness, bus.clone());
        match heard.recv_timeout(Duration::from_secs(30)) {
            Ok(Event::Observed { witness: by, ip }) => assert_eq!((by, ip), (witness, "203.0.113.7".parse().unwrap())),
            other => panic!("{other:?}"),
        }
        assert!(matches!(heard.recv_timeout(Duration::from_millis(200)), Err(RecvError::Timeout)), "one round");
    }
}
