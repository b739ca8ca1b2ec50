//! Contacts that mean harm, through a real server: what they announce is cut, told once, and hurts nobody else.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bitween::component::xmpp::connection::{AccountOptions, Connection};
use bitween::component::xmpp::port::Port;
use bitween::proto::xmpp::announcer::Node;
use jid::Jid;

use crate::common::data::{assert_same, write_file};
use crate::common::prosody::{Prosody, ProsodyOptions, installed};
use crate::common::scripted_server::ScriptedServer;
use crate::common::user::User;
use crate::common::wait_for;
use crate::{PASSWORD, PATIENCE, SHA_256, daemon, honest, resident};

const MALLORY: &str = "mallory@localhost";
/// Rows of a list that fill a stanza of a MiB.
const ROWS: usize = 15_625;
/// What a daemon may take in spite of all that.
const MEMORY: u64 = 120 << 20;
const HASH: &str = "a29496dc690e1d40154aba29f3f0275e752bfd80";

/// Bob is a contact of mallory and of carol; eve is nobody's. Stanzas of a MiB pass, as fast as they can be said.
fn server() -> Prosody {
    Prosody::start(ProsodyOptions {
        users: &[("bob", PASSWORD), ("carol", PASSWORD), ("mallory", PASSWORD), ("eve", PASSWORD)],
        contacts: &[("bob", "mallory"), ("bob", "carol")],
        extra_config: "c2s_stanza_size_limit = 2 * 1024 * 1024\n",
        ..ProsodyOptions::default()
    })
}

fn online(server: &Prosody, user: &str) -> User {
    let daemon = User::with_account(server, user, PASSWORD).started();
    daemon.wait_online();
    daemon
}

/// A connection that says what it likes.
struct Mallory {
    connection: Connection<'static>,
    revision: u32,
}

impl Mallory {
    fn login(server: &Prosody, user: &str) -> Self {
        let jid = Jid::new(&format!("{user}@localhost/m")).unwrap();
        let mut options = AccountOptions::new(jid, PASSWORD.to_owned().into(), "m".to_owned());
        options.server = Some(server.server());
        options.ca_file = Some(server.ca_file());
        let connection = Connection::open(&options, Box::leak(Box::new(Port::new().unwrap()))).unwrap();
        let mut mallory = Self { connection, revision: 0 };
        mallory.say("<presence/>");
        mallory
    }

    fn say(&mut self, text: &str) {
        while self.connection.send(text.as_bytes()).is_err() {
            self.go_on(Duration::from_millis(20));
        }
        self.go_on(Duration::ZERO);
    }

    /// Sends what waits, and passes over what comes.
    fn go_on(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            self.connection.next(until).expect("the server puts up with it");
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn publish(&mut self, node: Node, id: &str, payload: &str) {
        self.say(&format!(
            "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{}'>\
             <item id='{id}'>{payload}</item></publish></pubsub></iq>",
            node.name()
        ));
    }

    /// One part of a list with these rows.
    fn list(&mut self, part: usize, parts: usize, rows: &str) {
        self.revision += u32::from(part == 1);
        let (id, payload) = list(self.revision, part, parts, rows);
        self.publish(Node::Shares, &id, &payload);
    }

    fn addresses(&mut self, addresses: &str) {
        let node = Node::Endpoint.name();
        let payload = format!("<endpoint xmlns='{node}' resource='m' ipv4='true' ipv6='true'>{addresses}</endpoint>");
        self.publish(Node::Endpoint, "m", &payload);
    }
}

/// Id and payload of one part of a list with these rows.
fn list(revision: u32, part: usize, parts: usize, rows: &str) -> (String, String) {
    let node = Node::Shares.name();
    let id = if part == 1 { "m".to_owned() } else { format!("m/{part}") };
    let payload = format!(
        "<shares xmlns='{node}' resource='m' revision='{revision}' part='{part}' parts='{parts}' count='1'>{rows}</shares>"
    );
    (id, payload)
}

/// A server's word that somebody published this part of a list.
fn told_of(jid: &str, (id, payload): &(String, String)) -> String {
    format!(
        "<message from='{jid}'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='{}'>\
         <item id='{id}'>{payload}</item></items></event></message>",
        Node::Shares.name()
    )
}

/// The rows of one part of a list that has as much in each part as a stanza may have.
fn many_rows(part: usize) -> String {
    (0..ROWS).map(|row| format!("<share hash='{:040x}' name='x'/>", part * ROWS + row)).collect()
}

/// How many lines of the log of a daemon name this JID and reason.
fn told(daemon: &User, jid: &str, reason: &str) -> usize {
    let words = format!("{jid} {reason}");
    let files = std::fs::read_dir(daemon.home()).unwrap().map(|entry| entry.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|end| end == "err" || end == "out"));
    let lines = |path| std::fs::read_to_string(path).unwrap().lines().filter(|line| line.contains(&words)).count();
    logs.map(lines).sum()
}

fn wait_told(daemon: &User, reason: &str) {
    wait_for(&format!("the log says that {MALLORY} {reason}"), PATIENCE, || {
        (told(daemon, MALLORY, reason) > 0).then_some(())
    });
    assert_eq!(told(daemon, MALLORY, reason), 1, "once");
}

/// Carol shares something, and bob gets it: whatever mallory does.
fn assert_others_are_served(bob: &User, carol: &User, name: &str) {
    let path = carol.home().join("shared").join(name);
    write_file(&path, 3_000_000, 7);
    let hash = carol.share(&path);
    wait_for("bob sees carol's share", PATIENCE, || bob.can_get(&hash).then_some(()));
    bob.ok_within(Duration::from_secs(60), &["get", &hash, "--wait"]);
    assert_same(&path, &bob.downloads().join(name));
}

#[test]
fn a_million_shares_are_cut_and_told_once() {
    const PARTS: usize = 1_000_000 / ROWS;
    const CAROL: &str = "carol@localhost";
    let login = honest(&[SHA_256]);
    let said = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&said);
    // A real server takes more than a second for each part.
    let server = ScriptedServer::start(move |_, session| {
        session.starttls_and_log_in(&login)?;
        let contact = |jid| format!("<item jid='{jid}' subscription='both'/>");
        session.serve_roster(&[MALLORY, CAROL].map(contact).concat())?;
        for part in 1..=PARTS {
            session.say(&told_of(MALLORY, &list(1, part, PARTS, &many_rows(part))))?;
            count.store(part, Ordering::Relaxed);
        }
        session.say(&told_of(CAROL, &list(1, 1, 1, &format!("<share hash='{HASH}' name='song.ogg'/>"))))?;
        session.serve()
    });
    let mut alice = daemon(&server);
    wait_for("all parts are sent", 2 * PATIENCE, || (said.load(Ordering::Relaxed) == PARTS).then_some(()));
    wait_for("alice sees what carol said after all that", PATIENCE, || alice.sees(HASH));
    wait_told(&alice, "announces more shares");
    assert_eq!(alice.json(&["shares", "--limit", "20000"]).as_array().unwrap().len(), 10_001);
    alice.wait_online();
    let used = resident(alice.program().id());
    assert!(used < MEMORY, "{} MiB resident", used >> 20);
}

#[test]
fn too_many_shares_and_addresses_hurt_nobody_else() {
    const PARTS: usize = 4;
    if !installed() {
        return;
    }
    let server = server();
    let [mut bob, carol] = ["bob", "carol"].map(|user| online(&server, user));
    let mut mallory = Mallory::login(&server, "mallory");
    let address = |n: usize| format!("<address ip='10.{}.{}.7' port='2000'/>", n / 256, n % 256);
    mallory.addresses(&(0..10_000).map(address).collect::<String>());
    (1..=PARTS).for_each(|part| mallory.list(part, PARTS, &many_rows(part)));
    mallory.go_on(Duration::from_secs(1));
    wait_told(&bob, "announces more addresses");
    wait_told(&bob, "announces more shares");
    let used = resident(bob.program().id());
    assert!(used < MEMORY, "{} MiB resident", used >> 20);
    assert_others_are_served(&bob, &carol, "film.mkv");
    assert!(bob.json(&["shares", "--limit", "20000"]).as_array().unwrap().len() <= 10_001);
    // The stream does not die at the next login either.
    bob.stop();
    bob.start();
    bob.wait_online();
    assert_others_are_served(&bob, &carol, "song.ogg");
}

#[test]
fn names_sizes_and_hashes_that_make_no_sense_are_told_once_and_shown_harmlessly() {
    if !installed() {
        return;
    }
    let server = server();
    let bob = online(&server, "bob");
    let mut mallory = Mallory::login(&server, "mallory");
    let row = |hash: &str, name: &str, size: &str| format!("<share hash='{hash}' name='{name}' size='{size}'/>");
    let rows = [
        row(HASH, "../../etc/a\u{202e}gpj.exe", "-1"),
        row(&HASH.replace('a', "b"), "&#x9;b", "18446744073709551616"),
        row("zz", "n", "1"),
        row("", "n", "1"),
    ];
    mallory.list(1, 1, &rows.concat());
    mallory.list(1, 1, &rows.concat());
    mallory.go_on(Duration::from_millis(500));
    for reason in ["announces names with", "announces shares without a usable info hash", "announces shares whose size"]
    {
        wait_told(&bob, reason);
    }
    let shares = bob.json(&["shares", "--limit", "20000"]);
    assert_eq!(shares.as_array().unwrap().len(), 2, "{shares}");
    let share = bob.sees(HASH).unwrap();
    assert!(!share["name"].as_str().unwrap().contains('\u{202e}') && share["size"] == 0, "{share}");
    assert!(!bob.ok(&["shares"]).contains('\u{202e}'));
}

/// A listener that counts who comes.
fn counted(address: impl Into<SocketAddr>) -> Option<(u16, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind(address.into()).ok()?;
    let port = listener.local_addr().unwrap().port();
    let count = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&count);
    thread::spawn(move || {
        for _ in listener.incoming() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    Some((port, count))
}

#[test]
fn addresses_that_are_no_peers_get_no_connection_attempt() {
    if !installed() {
        return;
    }
    let server = server();
    let mut bob = User::with_account(&server, "bob", PASSWORD);
    bob.edit_config("allow_loopback_peers = true", "allow_loopback_peers = false");
    bob.start();
    bob.wait_online();
    let (port, here) = counted((Ipv4Addr::UNSPECIFIED, 0_u16)).unwrap();
    let low = (900..1000_u16).find_map(|port| counted((Ipv4Addr::UNSPECIFIED, port)));
    let mut mallory = Mallory::login(&server, "mallory");
    let address = |ip: &str, port: u16| format!("<address ip='{ip}' port='{port}'/>");
    let loopback = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"];
    let mut addresses: String = loopback.iter().map(|ip| address(ip, port)).collect();
    addresses += &address("192.0.2.1", 0);
    if let Some((low, _)) = &low {
        addresses += &address("127.0.0.1", *low);
    }
    mallory.addresses(&addresses);
    mallory.list(1, 1, &format!("<share hash='{HASH}' name='bait' size='5' files='1'/>"));
    mallory.go_on(Duration::from_millis(500));
    wait_told(&bob, "announces addresses that can be no peer's");
    wait_for("bob sees the bait", PATIENCE, || bob.sees(HASH));
    // He bites; nobody has the right to be asked.
    let _ = bob.run(&["get", HASH]);
    thread::sleep(Duration::from_secs(4));
    assert_eq!(here.load(Ordering::Relaxed), 0, "somebody was connected to");
    assert_eq!(low.map_or(0, |(_, count)| count.load(Ordering::Relaxed)), 0, "a service was connected to");
}

#[test]
fn a_hundred_changes_a_second_are_not_all_looked_at_and_the_last_one_counts() {
    if !installed() {
        return;
    }
    let server = server();
    let [mut bob, carol] = ["bob", "carol"].map(|user| online(&server, user));
    let mut mallory = Mallory::login(&server, "mallory");
    let begin = Instant::now();
    for nth in 0..1000_u32 {
        mallory.list(1, 1, &format!("<share hash='{nth:040x}' name='share {nth}' size='5'/>"));
        mallory.go_on((begin + Duration::from_millis(10) * nth).saturating_duration_since(Instant::now()));
    }
    wait_told(&bob, "announces changes too fast");
    assert_others_are_served(&bob, &carol, "film.mkv");
    let used = resident(bob.program().id());
    assert!(used < 100 << 20, "{} MiB resident", used >> 20);
    // What stands at the end is what is fetched when it has calmed down.
    let last = format!("{:040x}", 999);
    wait_for("the last change", Duration::from_secs(90), || {
        mallory.go_on(Duration::from_millis(100));
        bob.sees(&last)
    });
}

#[test]
fn strangers_and_forged_senders_are_told_and_not_believed() {
    if !installed() {
        return;
    }
    let server = server();
    let bob = online(&server, "bob");
    let bob_jid = bob.json(&["contacts"]);
    let mut eve = Mallory::login(&server, "eve");
    let full = format!("bob@localhost/{}", std::fs::read_to_string(bob.data_dir().join("resource")).unwrap().trim());
    let node = Node::Shares.name();
    eve.say(&format!(
        "<message to='{full}'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='{node}'><item id='m'>\
         <shares xmlns='{node}' resource='m' revision='1'><share hash='{HASH}' name='bait'/></shares></item></items>\
         </event></message>"
    ));
    eve.say(&format!(
        "<iq type='set' id='r1' to='{full}'><query xmlns='jabber:iq:roster'>\
         <item jid='eve@localhost' subscription='both'/></query></iq>"
    ));
    for id in 0..50 {
        eve.say(&format!("<iq type='result' id='{id}' to='{full}'><query xmlns='jabber:iq:roster'/></iq>"));
    }
    eve.go_on(Duration::from_millis(500));
    for reason in ["sends changes of the contact list", "announces shares and is no contact"] {
        wait_for(&format!("the log says that eve {reason}"), PATIENCE, || {
            (told(&bob, "eve@localhost", reason) == 1).then_some(())
        });
    }
    assert_eq!(bob.sees(HASH), None);
    assert_eq!(bob.json(&["contacts"]), bob_jid, "nothing has changed");
    assert_eq!(bob.account().0, "online");
}
