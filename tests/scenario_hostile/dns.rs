//! Which of a domain's servers is used, when its name server says all kinds of things.
//!
//! The name server is scripted; the targets of its SRV records are addresses of this machine, written as names, since
//! the system's resolver is asked for those.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use bitween::component::xmpp::connection::{AccountOptions, Connection};
use bitween::component::xmpp::error::ConnectError;
use bitween::component::xmpp::port::Port;
use bitween::proto::xmpp::sasl::Mechanism;
use bitween::proto::xmpp::stream::Tls;
use jid::Jid;

use crate::common::scripted_server::ScriptedServer;
use crate::{PASSWORD, SHA_256, honest};

/// Known to no name server but ours.
const CHAT: &str = "chat.test";

/// Priority, weight, port and target.
type Record = (u16, u16, u16, &'static str);

/// What the name server says of one service.
#[derive(Clone)]
enum Said {
    Records(Vec<Record>),
    /// It is broken (SERVFAIL).
    Failure,
    /// There is no such name.
    NoName,
}

struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    fn start(direct: Said, starttls: Said) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&asked);
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((len, client)) = socket.recv_from(&mut buffer) {
                let query = buffer[..len].to_vec();
                let name = name(&query);
                let said = if name.starts_with("_xmpps-client") { &direct } else { &starttls };
                kept.lock().unwrap().push(name);
                socket.send_to(&answer(query, said), client).unwrap();
            }
        });
        Self { address, asked }
    }
}

/// The name a query asks for.
fn name(query: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = &query[12..];
    while rest[0] != 0 {
        let (label, behind) = rest[1..].split_at(usize::from(rest[0]));
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = behind;
    }
    labels.join(".")
}

fn answer(mut message: Vec<u8>, said: &Said) -> Vec<u8> {
    message[2] |= 0x80;
    match said {
        Said::Failure => message[3] |= 2,
        Said::NoName => message[3] |= 3,
        Said::Records(records) => {
            message[7] = u8::try_from(records.len()).unwrap();
            for (priority, weight, port, target) in records {
                let mut data: Vec<u8> = [priority, weight, port].iter().flat_map(|word| word.to_be_bytes()).collect();
                for label in target.split('.').filter(|label| !label.is_empty()) {
                    data.push(u8::try_from(label.len()).unwrap());
                    data.extend_from_slice(label.as_bytes());
                }
                data.push(0);
                message.extend_from_slice(b"\xc0\x0c\0\x21\0\x01\0\0\0\x3c");
                message.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
                message.extend_from_slice(&data);
            }
        }
    }
    message
}

/// A good server of the domain, with STARTTLS or TLS from the first byte.
fn server(address: &str, tls: Tls) -> ScriptedServer {
    let login = honest(&[SHA_256]);
    ScriptedServer::start_at(address, CHAT, move |_, session| match tls {
        Tls::Direct => {
            session.encrypt();
            session.log_in(&login)
        }
        Tls::StartTls => session.starttls_and_log_in(&login),
    })
}

/// A port where nobody listens.
fn dead() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn options(names: &NameServer, ca_file: PathBuf, domain: &str) -> AccountOptions {
    let jid = Jid::new(&format!("alice@{domain}")).unwrap();
    let mut options = AccountOptions::new(jid, PASSWORD.to_owned().into(), "r1".into());
    options.name_servers = Some(vec![names.address]);
    options.ca_file = Some(ca_file);
    options
}

fn log_in(names: &NameServer, server: &ScriptedServer, domain: &str) -> Result<(), ConnectError> {
    let mut port = Port::new().unwrap();
    Connection::open(&options(names, server.ca_file(), domain), &mut port).map(Connection::close)
}

#[test]
fn the_first_priority_is_used_and_the_others_when_it_is_dead() {
    let [first, second] = [server("127.0.0.1:0", Tls::StartTls), server("127.0.0.1:0", Tls::StartTls)];
    let records = |best: u16| {
        Said::Records(vec![
            (20, 0, second.port(), "127.0.0.1"),
            (10, 0, best, "127.0.0.1"),
            (5, 0, dead(), "127.0.0.1"),
        ])
    };
    log_in(&NameServer::start(Said::NoName, records(first.port())), &first, CHAT).unwrap();
    assert_eq!((first.connections(), second.connections()), (1, 0));
    // A host that nobody knows is as good as a dead one.
    let unknown = Said::Records(vec![(1, 0, 5222, "nobody.invalid"), (2, 0, second.port(), "127.0.0.1")]);
    for records in [records(dead()), unknown] {
        log_in(&NameServer::start(Said::NoName, records), &second, CHAT).unwrap();
    }
    assert_eq!((first.connections(), second.connections()), (1, 2));
}

#[test]
fn an_address_that_offers_too_little_does_not_hide_one_that_offers_enough() {
    // TLS from the first byte ends at a proxy, so nothing can be bound to it; STARTTLS is done by the server itself.
    let direct = server("127.0.0.1:0", Tls::Direct);
    let login = honest(&[SHA_256, "SCRAM-SHA-256-PLUS"]);
    let starttls = ScriptedServer::start_at("127.0.0.1:0", CHAT, move |_, session| session.starttls_and_log_in(&login));
    let records = |server: &ScriptedServer| Said::Records(vec![(1, 0, server.port(), "127.0.0.1")]);
    let names = NameServer::start(records(&direct), records(&starttls));
    let folder = tempfile::tempdir().unwrap();
    let both = [&direct, &starttls].map(|server| std::fs::read_to_string(server.ca_file()).unwrap()).concat();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, both).unwrap();
    let mut options = options(&names, ca_file, CHAT);
    options.strongest_login = Mechanism::named("SCRAM-SHA-256-PLUS");
    let mut port = Port::new().unwrap();
    let connection = Connection::open(&options, &mut port).unwrap();
    assert_eq!(connection.mechanism(), options.strongest_login);
    assert_eq!((direct.connections(), starttls.connections()), (1, 1));
}

#[test]
fn weights_share_the_load() {
    let [heavy, light] = [server("127.0.0.1:0", Tls::StartTls), server("127.0.0.1:0", Tls::StartTls)];
    let records = Said::Records(vec![(1, 65_000, heavy.port(), "127.0.0.1"), (1, 65, light.port(), "127.0.0.1")]);
    let names = NameServer::start(Said::NoName, records);
    // Each has a certificate of its own, so only those logins succeed that meet the heavy one first or second.
    let found = (0..20).filter(|_| log_in(&names, &heavy, CHAT).is_ok()).count();
    assert_eq!(found, 20);
    assert!(light.connections() < 5, "{} of 20 went to the one with a thousandth of the weight", light.connections());
}

#[test]
fn both_services_are_asked_for_and_a_broken_one_hides_no_other() {
    let direct = server("127.0.0.1:0", Tls::Direct);
    let records = || Said::Records(vec![(1, 0, direct.port(), "127.0.0.1")]);
    for starttls in [Said::Failure, Said::NoName, Said::Records(vec![(0, 0, 0, ".")])] {
        let names = NameServer::start(records(), starttls);
        log_in(&names, &direct, CHAT).unwrap();
        let asked = names.asked.lock().unwrap().join(" ");
        assert!(asked.contains("_xmpps-client._tcp.chat.test") && asked.contains("_xmpp-client._tcp.chat.test"));
    }
    assert_eq!(direct.connections(), 3);
}

#[test]
fn a_domain_without_the_service_and_a_broken_name_server_are_told_apart() {
    let server = server("127.0.0.1:0", Tls::StartTls);
    let none = || Said::Records(vec![(0, 0, 0, ".")]);
    let error = log_in(&NameServer::start(none(), none()), &server, CHAT).unwrap_err().to_string();
    let broken = log_in(&NameServer::start(Said::Failure, Said::Failure), &server, CHAT).unwrap_err().to_string();
    assert!(error.starts_with("cannot find the server of chat.test"), "{error}");
    assert!(broken.starts_with("cannot find the server of chat.test"), "{broken}");
    assert_ne!(error, broken, "one is final, the other was tried at the domain itself");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_server_with_nothing_but_ipv6_is_found() {
    // The name that Debian gives to ::1 alone.
    const HOST: &str = "ip6-localhost";
    let resolved = std::net::ToSocketAddrs::to_socket_addrs(&(HOST, 0)).map(Vec::from_iter).unwrap_or_default();
    if resolved.is_empty() || !resolved.iter().all(SocketAddr::is_ipv6) || TcpListener::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: no name stands for ::1 alone here");
        return;
    }
    let server = server("[::1]:0", Tls::StartTls);
    assert!(server.server().starts_with("[::1]:"));
    let records = Said::Records(vec![(1, 0, server.port(), HOST)]);
    log_in(&NameServer::start(Said::NoName, records), &server, CHAT).unwrap();
    assert_eq!(server.connections(), 1);
}
