//! Looking up where a domain's XMPP server is. Blocking; runs on a short-lived thread of its own.
//!
//! SRV records are asked of the name servers in `/etc/resolv.conf` (UDP, then TCP for long answers), since the standard
//! library cannot; the addresses of hosts come from the system's resolver.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::thread;
use std::time::Duration;

use thiserror::Error;

use super::port::now;
use crate::proto::xmpp::dns::{self, Answer, DnsError, Endpoint};
use crate::proto::xmpp::stream::Tls;

/// How long one name server is given for one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// How often all name servers are asked before giving up.
const ROUNDS: usize = 2;

/// Addresses tried of one host.
const MAX_ADDRESSES: usize = 8;

/// Room for an answer over UDP. No larger size is announced, so 512 bytes is what servers send; more does no harm.
const DATAGRAM: usize = 4096;

/// Why a look-up failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The answer says no.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// Nobody answered.
    #[error("no name server answered")]
    NoAnswer,
    /// The system's resolver failed.
    #[error("{reason}")]
    Host {
        /// The host asked for.
        host: String,
        /// What the system said.
        reason: io::Error,
    },
}

/// The endpoints of `domain` (in ASCII form) in the order to try; `tls` limits them to one kind, and `servers` are asked
/// instead of the system's name servers.
///
/// A domain without SRV records is served by the host of that name (RFC 6120 section 3.2.2), and so is one whose name
/// servers do not answer.
///
/// # Errors
/// [`ResolveError::Dns`] if the domain rules the service out.
pub fn endpoints(
    domain: &str,
    tls: Option<Tls>,
    servers: Option<Vec<SocketAddr>>,
) -> Result<Vec<Endpoint>, ResolveError> {
    let kinds = tls.map_or_else(|| vec![Tls::Direct, Tls::StartTls], |tls| vec![tls]);
    let servers = servers.unwrap_or_else(name_servers);
    let answers: Vec<(Tls, Answer)> = thread::scope(|scope| {
        let servers = &servers;
        let ask = |tls: Tls| scope.spawn(move || look_up(&dns::service(domain, tls), servers));
        let asked: Vec<_> = kinds.into_iter().map(|tls| (tls, ask(tls))).collect();
        let joined = asked.into_iter().map(|(tls, thread)| (tls, thread.join().unwrap_or(Err(ResolveError::NoAnswer))));
        joined.map(|(tls, answer)| (tls, answer_or_none(domain, answer))).collect()
    });
    let mut random = fastrand::Rng::new();
    Ok(dns::endpoints(domain, &answers, &mut random)?)
}

/// The addresses of an endpoint, in the system's order of preference (RFC 6724).
///
/// # Errors
/// [`ResolveError::Host`] if there are none.
pub fn addresses(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, ResolveError> {
    let failed = |reason| ResolveError::Host { host: endpoint.host.clone(), reason };
    let found = (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map_err(failed)?;
    let found: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
    if found.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(found)
}

fn answer_or_none(domain: &str, answer: Result<Answer, ResolveError>) -> Answer {
    answer.unwrap_or_else(|error| {
        log::info!(target: "bitween::xmpp", "SRV look-up for {domain} failed, trying the domain itself: {error}");
        Answer::None
    })
}

fn name_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    dns::name_servers(&text).into_iter().map(|address| SocketAddr::new(address, 53)).collect()
}

fn look_up(name: &str, servers: &[SocketAddr]) -> Result<Answer, ResolveError> {
    let mut failure = ResolveError::NoAnswer;
    for server in servers.iter().cycle().take(servers.len() * ROUNDS) {
        match ask(name, *server) {
            Ok(answer) => return Ok(answer),
            Err(error @ ResolveError::Dns(DnsError::BadName(_))) => return Err(error),
            Err(ResolveError::NoAnswer) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn ask(name: &str, server: SocketAddr) -> Result<Answer, ResolveError> {
    let id = fastrand::u16(..);
    let query = dns::query(id, name)?;
    match ask_udp(&query, id, name, server)? {
        Answer::Truncated => ask_tcp(&query, id, name, server),
        answer => Ok(answer),
    }
}

/// The port is random and the socket connected: an answer must come from the server asked, to this query.
fn ask_udp(query: &[u8], id: u16, name: &str, server: SocketAddr) -> Result<Answer, ResolveError> {
    let local: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let no_answer = |_| ResolveError::NoAnswer;
    let socket = UdpSocket::bind((local, 0)).map_err(no_answer)?;
    socket.connect(server).map_err(no_answer)?;
    socket.send(query).map_err(no_answer)?;
    let deadline = now() + TRY_TIMEOUT;
    let mut buffer = [0; DATAGRAM];
    loop {
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Err(ResolveError::NoAnswer);
        }
        socket.set_read_timeout(Some(left)).map_err(no_answer)?;
        let len = socket.recv(&mut buffer).map_err(no_answer)?;
        match dns::answer(buffer.get(..len).unwrap_or_default(), id, name) {
            // Forged or late: the right one may still come.
            Err(DnsError::Unrelated | DnsError::Malformed) => {}
            result => return Ok(result?),
        }
    }
}

fn ask_tcp(query: &[u8], id: u16, name: &str, server: SocketAddr) -> Result<Answer, ResolveError> {
    let exchange = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&server, TRY_TIMEOUT)?;
        stream.set_read_timeout(Some(TRY_TIMEOUT))?;
        stream.set_write_timeout(Some(TRY_TIMEOUT))?;
        let len = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&len.to_be_bytes(), query].concat())?;
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut message)?;
        Ok(message)
    };
    let message = exchange().map_err(|_| ResolveError::NoAnswer)?;
    match dns::answer(&message, id, name)? {
        Answer::Truncated => Err(DnsError::Malformed.into()),
        answer => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const NAME: &str = "_xmpp-client._tcp.example.org";

    /// Turns a query into its answer with one record of class IN: `10 5 5222 xmpp.example.org`.
    fn answer_to(query: &[u8]) -> Vec<u8> {
        let mut message = query.to_vec();
        message[2] |= 0x80;
        message[7] = 1;
        message
            .extend_from_slice(b"\xc0\x0c\0\x21\0\x01\0\0\0\x3c\0\x18\0\x0a\0\x05\x14\x66\x04xmpp\x07example\x03org\0");
        message
    }

    fn expect_the_record(answer: &Answer) {
        let Answer::Records(records) = answer else { panic!("{answer:?}") };
        assert_eq!((records[0].target.as_str(), records[0].port), ("xmpp.example.org", 5222));
    }

    #[test]
    fn forged_answers_are_skipped_and_the_right_one_is_taken() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 512];
            let (len, client) = server.recv_from(&mut buffer).unwrap();
            let mut forged = answer_to(&buffer[..len]);
            forged[0] ^= 0xff;
            server.send_to(&forged, client).unwrap();
            server.send_to(b"noise", client).unwrap();
            server.send_to(&answer_to(&buffer[..len]), client).unwrap();
        });
        expect_the_record(&look_up(NAME, &[address]).unwrap());
        thread.join().unwrap();
    }

    #[test]
    fn a_long_answer_is_fetched_over_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = UdpSocket::bind(address).unwrap();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 512];
            let (len, client) = server.recv_from(&mut buffer).unwrap();
            let mut cut = buffer[..len].to_vec();
            cut[2] |= 0x82;
            server.send_to(&cut, client).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut query).unwrap();
            let answer = answer_to(&query);
            stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        });
        expect_the_record(&look_up(NAME, &[address]).unwrap());
        thread.join().unwrap();
    }

    #[test]
    fn the_next_name_server_is_asked_when_one_is_down() {
        let down = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 512];
            let (len, client) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&answer_to(&buffer[..len]), client).unwrap();
        });
        expect_the_record(&look_up(NAME, &[down, address]).unwrap());
        thread.join().unwrap();
    }

    #[test]
    fn addresses_of_literal_hosts_need_no_look_up() {
        let endpoint = Endpoint { host: "::1".into(), port: 1, tls: Tls::Direct };
        assert_eq!(addresses(&endpoint).unwrap(), ["[::1]:1".parse().unwrap()]);
    }
}
