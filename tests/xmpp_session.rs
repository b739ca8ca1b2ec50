//! The XMPP session against a real Prosody: what alice publishes, bob sees and carol does not.
//!
//! The session is pure, so this test brings its own thin connection (plain TCP, SASL PLAIN) and lets real time pass.
#![cfg(feature = "xmpp")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure is a failed test"
)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use bitween::proto::xmpp::announcer::Node;
use bitween::proto::xmpp::complaints::AddressRules;
use bitween::proto::xmpp::framing::{Frame, Framer, Limits};
use bitween::proto::xmpp::{SessionEvent, SessionOptions, XmppSession, xml};
use bitween::share::{ContactShares, Page};
use bitween::types::{Address, AddressKind, Endpoint, InfoHash, Share, Via};
use common::prosody::{Prosody, ProsodyOptions, installed};
use jid::FullJid;
use minidom::Element;

/// Longer than anything here takes; only a failure waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

#[allow(clippy::disallowed_methods, reason = "a test against a real server runs on real time")]
fn now() -> Instant {
    Instant::now()
}

/// One program of a user.
struct Client {
    local: &'static str,
    resource: &'static str,
    stream: TcpStream,
    framer: Framer,
    session: XmppSession,
    contacts: ContactShares,
    warnings: Vec<String>,
    /// Ids of the items it published.
    published: Vec<String>,
    /// Senders of notifications that arrived, believed or not.
    notified: Vec<String>,
    closed: bool,
}

impl Client {
    fn login(server: &Prosody, local: &'static str, resource: &'static str) -> Self {
        let jid = FullJid::new(&format!("{local}@localhost/{resource}")).unwrap();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let mut session = XmppSession::new(jid, &SessionOptions { publish_original: true, seed });
        // Everybody here is on this machine.
        session.set_address_rules(AddressRules { loopback: true, low_ports: false });
        let (stream, framer, bound) = connect(server, local, resource);
        let mut client = Self {
            local,
            resource,
            stream,
            framer,
            session,
            contacts: ContactShares::new(),
            warnings: Vec::new(),
            published: Vec::new(),
            notified: Vec::new(),
            closed: false,
        };
        client.session.started(now(), bound);
        client
    }

    fn login_again(&mut self, server: &Prosody) {
        let (stream, framer, bound) = connect(server, self.local, self.resource);
        (self.stream, self.framer, self.closed) = (stream, framer, false);
        self.session.started(now(), bound);
    }

    fn share(&mut self, names: &[String], port: u16) {
        let address = Address { socket: ([127, 0, 0, 1], port).into(), kind: AddressKind::Local };
        let endpoint =
            Endpoint { addresses: vec![address], ipv4: true, software: "bitween".into(), ..Endpoint::default() };
        self.session.set_endpoint(now(), endpoint);
        let share = |(n, name): (usize, &String)| {
            let mut hash = [port.to_be_bytes()[1]; InfoHash::LEN];
            hash[..4].copy_from_slice(&u32::try_from(n).unwrap().to_be_bytes());
            Share { info_hash: InfoHash::new(hash), name: name.as_str().into(), size: 1, files: 1, complete: true }
        };
        self.session.set_shares(now(), names.iter().enumerate().map(share).collect());
    }

    /// Reads, writes and lets the session work once.
    fn turn(&mut self) {
        let mut bytes = [0; 65_536];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.closed = true,
            Ok(len) => self.framer.push(&bytes[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.closed = true,
        }
        while let Some(frame) = self.framer.next_frame().unwrap() {
            match frame {
                Frame::Element(stanza) => {
                    if stanza.name() == "message" {
                        self.notified.push(stanza.attr("from").unwrap_or_default().to_owned());
                    }
                    self.session.stanza_received(now(), &stanza);
                }
                Frame::Header(_) => {}
                Frame::End => self.closed = true,
            }
        }
        self.session.handle_timeout(now());
        while let Some(stanza) = self.session.poll_stanza() {
            self.note_publish(&stanza);
            self.write(&xml::to_bytes(&stanza).unwrap());
        }
        while let Some(event) = self.session.poll_event() {
            let _ = match event {
                SessionEvent::Announced { jid, announcement } => self.contacts.apply(Via::FIRST, &jid, announcement),
                SessionEvent::ContactOnline { jid, resource } => self.contacts.online(Via::FIRST, &jid, &resource),
                SessionEvent::ContactOffline { jid, resource } => self.contacts.offline(Via::FIRST, &jid, &resource),
                SessionEvent::AllOffline => self.contacts.all_offline(Via::FIRST),
                SessionEvent::SharesGone { jid } => self.contacts.forget(Via::FIRST, &jid),
                SessionEvent::Warning(text) => {
                    self.warnings.push(text);
                    continue;
                }
                _ => continue,
            };
        }
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.closed {
            match self.stream.write(bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
                Err(_) => self.closed = true,
            }
        }
    }

    fn note_publish(&mut self, stanza: &Element) {
        let publish = stanza.children().next().and_then(|pubsub| pubsub.children().next());
        if let Some(publish) = publish.filter(|publish| publish.name() == "publish") {
            let id = publish.children().next().and_then(|item| item.attr("id")).unwrap_or_default();
            let node = publish.attr("node").and_then(Node::named);
            self.published.push(format!("{node:?} {id}"));
        }
    }

    /// What a contact shares, as `resource:name`, available or not.
    fn sees(&self, jid: &str) -> Vec<String> {
        let resources = self.contacts.contact(jid).into_iter().flat_map(|contact| contact.resources());
        let named = |(name, resource): (&str, &bitween::share::Resource)| {
            let mark = if resource.is_available() { "" } else { "-" };
            resource.shares().map(|share| format!("{mark}{name}:{}", share.name)).collect::<Vec<_>>()
        };
        let mut all: Vec<String> = resources.flat_map(named).collect();
        all.sort();
        all
    }
}

/// A bare connection of a user that sends requests and hands back the answers.
struct Raw(TcpStream, Framer);

impl Raw {
    fn login(server: &Prosody, local: &str) -> Self {
        let (stream, framer, _) = connect(server, local, "raw");
        stream.set_nonblocking(false).unwrap();
        Self(stream, framer)
    }

    fn ask(&mut self, kind: &str, to: &str, payload: &str) -> Element {
        self.0.write_all(format!("<iq type='{kind}' id='ask' {to}>{payload}</iq>").as_bytes()).unwrap();
        let mut bytes = [0; 65_536];
        loop {
            while let Some(frame) = self.1.next_frame().unwrap() {
                match frame {
                    Frame::Element(answer) if answer.attr("id") == Some("ask") => return answer,
                    _ => {}
                }
            }
            let len = self.0.read(&mut bytes).unwrap();
            assert!(len > 0, "the server hung up");
            self.1.push(&bytes[..len]);
        }
    }
}

/// Logs in the short way: no TLS, PLAIN.
fn connect(server: &Prosody, local: &str, resource: &str) -> (TcpStream, Framer, FullJid) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let open = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='localhost'>";
    let plain = base64::engine::general_purpose::STANDARD.encode(format!("\0{local}\0secret"));
    let mut framer = Framer::new(Limits::default());
    let mut say = |framer: &mut Framer, text: &str, until: &str| -> Element {
        stream.write_all(text.as_bytes()).unwrap();
        let mut bytes = [0; 4096];
        loop {
            while let Some(frame) = framer.next_frame().unwrap() {
                match frame {
                    Frame::Element(element) if element.name() == until => return element,
                    Frame::Element(element) => panic!("{local} cannot log in: {element:?}"),
                    _ => {}
                }
            }
            let len = stream.read(&mut bytes).unwrap();
            assert!(len > 0, "the server hung up");
            framer.push(&bytes[..len]);
        }
    };
    say(&mut framer, open, "features");
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
    say(&mut framer, &auth, "success");
    framer = Framer::new(Limits::default());
    say(&mut framer, open, "features");
    let bind = format!(
        "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>"
    );
    let bound = say(&mut framer, &bind, "iq");
    let jid = bound.children().next().and_then(|bind| bind.children().next()).unwrap().text();
    stream.set_nonblocking(true).unwrap();
    (stream, framer, FullJid::new(&jid).unwrap())
}

/// Lets all clients work until the condition holds; returns how long that took.
fn until(clients: &mut [&mut Client], what: &str, condition: impl Fn(&[&mut Client]) -> bool) -> Duration {
    let start = now();
    loop {
        clients.iter_mut().for_each(|client| client.turn());
        if condition(clients) {
            return now() - start;
        }
        let seen: Vec<_> = clients.iter().map(|client| (client.local, client.sees("alice@localhost").len())).collect();
        assert!(now() - start < PATIENCE, "not in time: {what}; {seen:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn for_a_while(clients: &mut [&mut Client], span: Duration) {
    let end = now() + span;
    until(clients, "time passes", |_| now() >= end);
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn server() -> Prosody {
    Prosody::start(ProsodyOptions {
        users: &[("alice", "secret"), ("bob", "secret"), ("carol", "secret")],
        contacts: &[("alice", "bob")],
        tls: false,
        ..ProsodyOptions::default()
    })
}

const ALICE: &str = "alice@localhost";
const SOON: Duration = Duration::from_secs(2);

#[test]
fn shares_reach_contacts_soon_and_strangers_never() {
    if !installed() {
        return;
    }
    let server = server();
    let mut alice = Client::login(&server, "alice", "a");
    let mut bob = Client::login(&server, "bob", "b");
    let mut carol = Client::login(&server, "carol", "c");
    let mut all = [&mut alice, &mut bob, &mut carol];
    for_a_while(&mut all, Duration::from_millis(1500));
    all[0].share(&names(&["Film <1> & Co ü", "tab\tand \u{1}control"]), 7001);
    let took = until(&mut all, "bob sees both", |all| all[1].sees(ALICE).len() == 2);
    assert!(took < SOON, "{took:?}");
    assert_eq!(all[1].sees(ALICE), ["a:Film <1> & Co ü", "a:tab and \u{fffd}control"]);
    let hash = all[1].contacts.search("film", Page::first(1)).hits[0].share.info_hash;
    let filter = bitween::share::AddressFilter { allow_loopback: true, ..Default::default() };
    assert_eq!(all[1].contacts.sources(&hash, &filter), ["127.0.0.1:7001".parse().unwrap()]);

    all[0].share(&[], 7001);
    let took = until(&mut all, "unshared", |all| all[1].sees(ALICE).is_empty());
    assert!(took < SOON, "{took:?}");
    assert!(all[2].contacts.iter().next().is_none(), "carol knows nobody");
    for client in &all {
        assert!(client.warnings.is_empty(), "{:?}", client.warnings);
    }
}

#[test]
fn the_first_publish_is_enough_and_a_late_contact_fetches_what_is_there() {
    if !installed() {
        return;
    }
    let server = server();
    let mut alice = Client::login(&server, "alice", "a");
    let many: Vec<String> = (0..150).map(|n| format!("a share with a name of usual length {n}")).collect();
    alice.share(&many, 7001);
    for_a_while(&mut [&mut alice], Duration::from_secs(4));
    alice.published.sort();
    assert_eq!(alice.published, ["Some(Endpoint) a", "Some(Original) current", "Some(Shares) a"], "each item once");
    assert!(alice.warnings.iter().all(|text| text.contains("do not fit")), "{:?}", alice.warnings);
    // bob comes while alice is there, and again after her connection broke without a word.
    let mut bob = Client::login(&server, "bob", "b");
    until(&mut [&mut alice, &mut bob], "all shares", |all| {
        all[1].sees(ALICE).iter().filter(|s| !s.starts_with('-')).count() == 150
    });
    drop(alice);
    drop(bob);
    let mut bob = Client::login(&server, "bob", "b");
    until(&mut [&mut bob], "all shares, offline", |all| {
        all[0].sees(ALICE).iter().filter(|s| s.starts_with('-')).count() == 150
    });
}

#[test]
fn own_resources_keep_each_others_entries_and_goodbye_empties() {
    if !installed() {
        return;
    }
    let server = server();
    let mut first = Client::login(&server, "alice", "a1");
    let mut second = Client::login(&server, "alice", "a2");
    let mut bob = Client::login(&server, "bob", "b");
    first.share(&names(&["one"]), 7001);
    second.share(&names(&["two"]), 7002);
    let mut all = [&mut first, &mut second, &mut bob];
    until(&mut all, "both", |all| all[2].sees(ALICE) == ["a1:one", "a2:two"]);
    until(&mut all, "each other", |all| all[0].sees(ALICE) == ["a2:two"] && all[1].sees(ALICE) == ["a1:one"]);
    until(&mut all, "merged", |_| original(&server) == "a1=one a2=two");

    all[0].session.part(now(), false);
    let took = until(&mut all, "goodbye", |all| all[0].session.is_parted());
    assert!(took < Duration::from_secs(3), "{took:?}");
    let [_, second, bob] = all;
    let mut rest = [second, bob];
    until(&mut rest, "first is offline", |all| all[1].sees(ALICE) == ["-a1:one", "a2:two"]);
    until(&mut rest, "not in the original's list", |_| original(&server) == "a2=two");
    rest[0].session.part(now(), true);
    until(&mut rest, "all gone", |all| all[0].session.is_parted() && original(&server).is_empty());
    until(&mut rest, "bob keeps only what said goodbye", |all| {
        all[1].sees(ALICE).iter().all(|share| share.starts_with("-a1"))
    });
}

/// What a fresh look at the original's node shows, as `resource=names`.
fn original(server: &Prosody) -> String {
    let node = Node::Original.name();
    let get = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{node}'/></pubsub>");
    let answer = Raw::login(server, "bob").ask("get", &format!("to='{ALICE}'"), &get);
    let items = bitween::proto::xmpp::pep::parse_items(&answer, node);
    let list = bitween::proto::xmpp::shares_original::parse(items.first().and_then(|item| item.payload));
    let entry = |entry: &bitween::types::ResourceEntry| {
        let names: Vec<&str> = entry.shares.iter().map(|share| &*share.name).collect();
        format!("{}={}", entry.resource, names.join(","))
    };
    list.entries.iter().map(entry).collect::<Vec<_>>().join(" ")
}

#[test]
fn nodes_that_others_made_are_set_right() {
    if !installed() {
        return;
    }
    let server = server();
    let mut raw = Raw::login(&server, "alice");
    for node in Node::ALL {
        // One item only, and open to the world.
        let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
        let fields = field("FORM_TYPE", "http://jabber.org/protocol/pubsub#publish-options")
            + &field("pubsub#access_model", "open")
            + &field("pubsub#max_items", "1");
        let publish = format!(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{}'><item id='x'><odd xmlns='urn:odd'/></item>\
             </publish><publish-options><x xmlns='jabber:x:data' type='submit'>{fields}</x></publish-options></pubsub>",
            node.name()
        );
        assert_eq!(raw.ask("set", "", &publish).attr("type"), Some("result"));
    }
    let may_read = |user: &str, node: Node| {
        let get = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{}'/></pubsub>", node.name());
        Raw::login(&server, user).ask("get", &format!("to='{ALICE}'"), &get).attr("type") == Some("result")
    };
    assert!(Node::ALL.into_iter().all(|node| may_read("carol", node)), "open, so far");

    let mut alice = Client::login(&server, "alice", "a");
    let many: Vec<String> = (0..150).map(|n| format!("a share with a name of usual length {n}")).collect();
    alice.share(&many, 7001);
    let mut bob = Client::login(&server, "bob", "b");
    until(&mut [&mut alice, &mut bob], "all shares", |all| all[1].sees(ALICE).len() == 150);
    for_a_while(&mut [&mut alice, &mut bob], Duration::from_secs(1));
    assert_eq!(
        alice.warnings.iter().filter(|text| text.contains("open to everybody")).count(),
        3,
        "{:?}",
        alice.warnings
    );
    for node in Node::ALL {
        assert!(may_read("bob", node) && !may_read("carol", node), "{node:?}");
    }
}

#[test]
fn after_a_restart_of_the_server_everything_is_right_again() {
    if !installed() {
        return;
    }
    let mut server = server();
    let mut alice = Client::login(&server, "alice", "a");
    let mut bob = Client::login(&server, "bob", "b");
    alice.share(&names(&["before"]), 7001);
    let mut all = [&mut alice, &mut bob];
    until(&mut all, "before", |all| all[1].sees(ALICE) == ["a:before"]);
    server.kill();
    until(&mut all, "closed", |all| all.iter().all(|client| client.closed));
    for client in &mut all {
        client.session.stream_lost();
        client.turn();
    }
    assert_eq!(all[1].sees(ALICE), ["-a:before"]);
    all[0].share(&names(&["after"]), 7001);
    server.resume();
    for client in &mut all {
        client.login_again(&server);
    }
    until(&mut all, "after", |all| all[1].sees(ALICE) == ["a:after"]);
}

#[test]
fn events_of_strangers_are_not_believed() {
    if !installed() {
        return;
    }
    let server = server();
    let mut bob = Client::login(&server, "bob", "b");
    let mut carol = Client::login(&server, "carol", "c");
    for_a_while(&mut [&mut bob, &mut carol], Duration::from_secs(1));
    let hash = "c".repeat(40);
    let list = format!(
        "<user_shares xmlns='{n}'><resource resource='c'><share_item hash='{hash}' name='bait' size='1'/>\
         <ip_address address='127.0.0.1' port='7777'/></resource></user_shares>",
        n = Node::Original.name()
    );
    let event = format!(
        "<message to='bob@localhost/b' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'>\
         <items node='{n}'><item id='current'>{list}</item></items></event></message>\
         <iq type='get' id='after' to='bob@localhost/b'><ping xmlns='urn:xmpp:ping'/></iq>\
         <iq type='set' id='push' to='bob@localhost/b'><query xmlns='jabber:iq:roster'>\
         <item jid='carol@localhost' subscription='both'/></query></iq>",
        n = Node::Original.name()
    );
    carol.write(event.as_bytes());
    until(&mut [&mut bob, &mut carol], "the server delivers it", |all| {
        all[0].notified.iter().any(|from| from == "carol@localhost/c")
    });
    for_a_while(&mut [&mut bob, &mut carol], Duration::from_millis(500));
    assert!(bob.contacts.iter().next().is_none(), "bob believes nothing of it");
    assert!(bob.session.roster().contacts().all(|contact| contact.jid.as_str() == ALICE));
}
