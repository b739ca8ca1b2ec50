//! Whole threads that call each other over the loopback interface, heard over their buses.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::bus::{Clock, Reply, Subscriber, SystemClock};
use crate::component::event::{ControlError, Event, NeighborCommand, Told};
use crate::component::snapshot::{LocalStatus, NeighborStatus};
use crate::proto::xmpp::SessionEvent;
use crate::types::{Announcement, InfoHash, Share};

const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    thread: LocalThread,
    bus: Bus,
    heard: Subscriber<Event>,
    status: Arc<LocalStatus>,
    events: Vec<SessionEvent>,
}

fn options(name: &str, seed: u8, dir: &Path) -> LocalOptions {
    LocalOptions {
        open: false,
        name: Some(format!("{name}@test")),
        port: 0,
        last_port: 0,
        neighbors: Vec::new(),
        loopback_only: true,
        seed: [seed; 32],
        accepted: dir.join(format!("{name}.sqlite")),
        catalog: None,
    }
}

impl Node {
    fn start(options: LocalOptions) -> Self {
        let bus = Bus::new();
        let heard = bus.subscribe("test", &[Topic::People], 1024);
        // Nobody else reads the snapshot, so nobody says that it was taken in.
        let (contacts, torrents) = (Published::default(), Published::default());
        let answers = bus.subscribe("answers", &[Topic::People], 1024);
        let answerer = std::thread::spawn(move || {
            while let Ok(event) = answers.recv_timeout(PATIENCE) {
                if let Event::Told { told: Told::Answer { reply, outcome }, .. } = event {
                    reply.send(outcome);
                    return;
                }
            }
        });
        let thread = LocalThread::start(options, bus.clone(), &contacts, &torrents).unwrap();
        answerer.join().unwrap();
        Self { thread, bus, heard, status: Arc::default(), events: Vec::new() }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.thread.port())
    }

    fn listen(&mut self) {
        while let Some(event) = self.heard.try_recv() {
            let Event::Told { told, .. } = event else { continue };
            match told {
                Told::Local(status) => self.status = status,
                Told::Session(event) => self.events.push(event),
                Told::Answer { reply, outcome } => drop(reply.send(outcome)),
                _ => {}
            }
        }
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let end: Instant = SystemClock.now() + PATIENCE;
        loop {
            self.listen();
            if is_so(self) {
                return;
            }
            assert!(SystemClock.now() < end, "{what}: {:?}, {:?}", self.status, self.events);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn neighbor(&self, name: &str) -> Option<&NeighborStatus> {
        self.status.neighbors.iter().find(|neighbor| neighbor.jid == format!("{name}@test.local"))
    }

    fn meets(&mut self, name: &str) {
        self.until("they meet", |node| node.neighbor(name).is_some_and(|neighbor| neighbor.address.is_some()));
    }

    fn command(
        &mut self,
        build: impl FnOnce(Reply<Result<(), ControlError>>) -> NeighborCommand,
    ) -> Result<(), String> {
        let (reply, answer) = Reply::channel();
        self.bus.publish(Event::Neighbor(build(reply))).unwrap();
        let mut outcome = None;
        self.until("an answer", |_| {
            outcome = answer.try_take().unwrap();
            outcome.is_some()
        });
        outcome.unwrap().map_err(|error| error.to_string())
    }

    fn accepts(&mut self, name: &str) -> Result<(), String> {
        let jid = format!("{name}@test");
        self.command(|reply| NeighborCommand::Accept { jid, reply })
    }

    fn is_told(&mut self, what: &str, is_it: impl Fn(&SessionEvent) -> bool) {
        self.until(what, |node| node.events.iter().any(&is_it));
    }

    fn shares(&self, n: u8) {
        let info_hash = InfoHash::new([n; InfoHash::LEN]);
        let share = Share { info_hash, name: format!("share {n}").into(), size: 1, files: 1, complete: true };
        self.bus.publish(Event::PublishShares(vec![share].into())).unwrap();
    }
}

fn is_share(n: u8) -> impl Fn(&SessionEvent) -> bool {
    move |event| match event {
        SessionEvent::Announced { announcement: Announcement::Shares { shares, .. }, .. } => {
            shares.iter().any(|share| share.info_hash == InfoHash::new([n; InfoHash::LEN]))
        }
        _ => false,
    }
}

fn pair(dir: &Path) -> (Node, Node) {
    let alice = Node::start(options("alice", 1, dir));
    let bob = Node::start(LocalOptions { neighbors: vec![alice.address()], ..options("bob", 2, dir) });
    (alice, bob)
}

#[test]
fn neighbours_share_after_both_have_accepted_and_remember_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = pair(dir.path());
    alice.shares(7);
    alice.meets("bob");
    bob.meets("alice");
    alice.accepts("bob").unwrap();
    bob.is_told("alice asks", |event| matches!(event, SessionEvent::SubscriptionRequest { .. }));
    assert!(!bob.events.iter().any(is_share(7)), "nothing is told before bob has accepted too");
    bob.accepts("alice").unwrap();
    bob.is_told("what alice shares", is_share(7));
    bob.is_told("alice is there", |event| matches!(event, SessionEvent::ContactOnline { .. }));
    alice.shares(8);
    bob.is_told("what alice shares now", is_share(8));

    // Alice starts anew, on another port, and calls; nobody has to accept anybody again.
    alice.thread.stop();
    bob.is_told("alice goes", |event| matches!(event, SessionEvent::ContactOffline { .. }));
    bob.events.clear();
    let alice = Node::start(LocalOptions { neighbors: vec![bob.address()], ..options("alice", 1, dir.path()) });
    bob.is_told("alice is back", |event| matches!(event, SessionEvent::ContactOnline { .. }));
    alice.shares(9);
    bob.is_told("what alice shares", is_share(9));
}

#[test]
fn whoever_is_removed_sees_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = pair(dir.path());
    bob.meets("alice");
    bob.accepts("alice").unwrap();
    alice.meets("bob");
    alice.accepts("bob").unwrap();
    bob.is_told("alice is there", |event| matches!(event, SessionEvent::ContactOnline { .. }));
    alice.command(|reply| NeighborCommand::Remove { jid: "bob@test.local".into(), reply }).unwrap();
    bob.is_told("it is over", |event| matches!(event, SessionEvent::SharesGone { .. }));
    alice.shares(7);
    std::thread::sleep(Duration::from_millis(400));
    bob.listen();
    assert!(!bob.events.iter().any(is_share(7)));
    // It can begin again.
    alice.accepts("bob").unwrap();
    bob.is_told("what alice shares", is_share(7));
}

#[test]
fn another_certificate_under_a_known_name_is_an_alarm_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = pair(dir.path());
    alice.meets("bob");
    alice.accepts("bob").unwrap();
    bob.thread.stop();
    drop(bob);
    let impostor = LocalOptions {
        open: true,
        neighbors: vec![alice.address()],
        accepted: dir.path().join("eve.sqlite"),
        ..options("bob", 66, dir.path())
    };
    let mut eve = Node::start(impostor);
    alice.is_told("an alarm", |event| match event {
        SessionEvent::Warning(text) => text.contains("another machine calls itself bob@test.local"),
        _ => false,
    });
    let bob = alice.neighbor("bob").unwrap();
    assert!(bob.accepted && bob.problem.as_ref().is_some_and(|problem| problem.contains("contacts remove")), "{bob:?}");
    eve.listen();
    assert!(!eve.events.iter().any(|event| matches!(event, SessionEvent::ContactOnline { .. })));
    // What the alarm says helps.
    alice.command(|reply| NeighborCommand::Remove { jid: "bob@test".into(), reply }).unwrap();
    alice.meets("bob");
    alice.accepts("bob").unwrap();
    eve.is_told("they are contacts", |event| matches!(event, SessionEvent::ContactOnline { .. }));
}

#[test]
fn two_who_call_each_other_keep_one_stream() {
    let dir = tempfile::tempdir().unwrap();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (a, b) = (free(), free());
    let node = |name, seed, port, other| {
        let neighbors = vec![format!("127.0.0.1:{other}"), format!("localhost:{port}")];
        Node::start(LocalOptions { open: true, port, neighbors, ..options(name, seed, dir.path()) })
    };
    let (mut alice, mut bob) = (node("alice", 1, a, b), node("bob", 2, b, a));
    alice.shares(1);
    bob.shares(2);
    bob.is_told("what alice shares", is_share(1));
    alice.is_told("what bob shares", is_share(2));
    // Calls to oneself, and the second stream, come to nothing.
    std::thread::sleep(Duration::from_millis(1500));
    for (node, name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        node.listen();
        assert_eq!(node.status.neighbors.len(), 1, "{name} does not know itself: {:?}", node.status);
        assert!(node.status.neighbors[0].address.is_some());
    }
}

#[test]
fn nobody_who_says_nothing_keeps_others_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = Node::start(LocalOptions { open: true, ..options("alice", 1, dir.path()) });
    let address: SocketAddr = alice.address().parse().unwrap();
    let _silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    let _bob =
        Node::start(LocalOptions { open: true, neighbors: vec![alice.address()], ..options("bob", 2, dir.path()) });
    alice.meets("bob");
}

#[test]
fn nonsense_ends_its_own_stream_only() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = pair(dir.path());
    bob.meets("alice");
    let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                  from='eve@e' version='1.0'>";
    let depth = "<a>".repeat(100_000);
    let long = format!("<message><body>{}", "x".repeat(1 << 20));
    let tls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let nonsense = [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{header}"),
        format!("{header}{depth}"),
        format!("{header}{long}"),
        format!("{header}{tls}<presence type='subscribe'/>"),
        format!("{header}<presence from='bob@test' type='subscribe'/>"),
        format!("{header}{tls}{}", "\u{1}not TLS".repeat(100)),
    ];
    for text in nonsense {
        let mut socket = TcpStream::connect(alice.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may close before all is written.
        let _ = socket.write_all(text.as_bytes());
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.len() < 4096, "{}", String::from_utf8_lossy(&answer));
    }
    alice.meets("bob");
    alice.accepts("bob").unwrap();
    bob.accepts("alice").unwrap();
    alice.is_told("they are contacts", |event| matches!(event, SessionEvent::ContactOnline { .. }));
}
