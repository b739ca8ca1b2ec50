//! The XMPP thread against a real Prosody: driven over the bus as the other threads do, watched through its snapshot.
#![cfg(feature = "xmpp")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure is a failed test"
)]

mod common;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bitween::bus::{Reply, Subscriber};
use bitween::component::event::{Account, Bus, ContactCommand, ControlError, Event, Told, Topic};
use bitween::component::people::{PeopleOptions, PeopleThread};
use bitween::component::snapshot::{AccountState, Contacts, Published, Torrents};
use bitween::component::xmpp::{XmppThread, XmppThreadOptions};
use bitween::proto::xmpp::complaints::AddressRules;
use bitween::share::{AddressOptions, ContactLimits};
use bitween::types::{AccountKey, InfoHash, Share};
use common::prosody::{Prosody, ProsodyOptions, installed};
use common::{free_port, wait_for};

/// Longer than anything here takes; only a failure waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// An XMPP thread and what surrounds it in a daemon.
struct Node {
    bus: Bus,
    contacts: Published<Contacts>,
    rechecks: Subscriber<Event>,
    thread: XmppThread,
    _people: PeopleThread,
}

impl Node {
    fn start(account: Option<Account>) -> Self {
        Self::start_with(account, ContactLimits::default())
    }

    fn start_with(account: Option<Account>, limits: ContactLimits) -> Self {
        if let Ok(filter) = std::env::var("BITWEEN_LOG") {
            let _ = bitween::logging::init(filter.parse().unwrap(), false);
        }
        let (bus, contacts) = (Bus::new(), Published::<Contacts>::default());
        let rechecks = bus.subscribe("test", &[Topic::RecheckHandles], 16);
        let options = PeopleOptions {
            addresses: AddressOptions { loopback: true, ..AddressOptions::default() },
            allow_loopback: true,
            allow_low_ports: false,
            limits,
            facts: None,
        };
        let torrents = Published::<Torrents>::default();
        let people = PeopleThread::start(&options, bus.clone(), contacts.clone(), &torrents).unwrap();
        let options = XmppThreadOptions {
            key: AccountKey::FIRST,
            account: account.map(Arc::new),
            facts: None,
            rules: AddressRules::default(),
            catalog: None,
        };
        let thread = XmppThread::start(options, bus.clone(), &contacts, &torrents).unwrap();
        bus.publish(Event::SetPort(7001)).unwrap();
        Self { bus, contacts, rechecks, thread, _people: people }
    }

    fn share(&self, names: &[&str]) {
        let share =
            |name: &&str| Share { info_hash: hash(name), name: (*name).into(), size: 7, files: 1, complete: true };
        self.bus.publish(Event::PublishShares(names.iter().map(share).collect())).unwrap();
    }

    /// What a contact shares: `name` if it can be had, else `-name`.
    fn sees(&self, jid: &str) -> Vec<String> {
        let contacts = self.contacts.read();
        let mut all = Vec::new();
        for (_, resource) in contacts.shares.contact(jid).into_iter().flat_map(|contact| contact.resources()) {
            let mark = if resource.is_available() { "" } else { "-" };
            all.extend(resource.shares().map(|share| format!("{mark}{}", share.name)));
        }
        all.sort();
        all
    }

    fn until(&self, what: &str, condition: impl Fn(&Contacts) -> bool) {
        wait_for(what, PATIENCE, || condition(&self.contacts.read()).then_some(()));
    }

    fn until_sees(&self, jid: &str, names: &[&str]) {
        wait_for(&format!("{names:?} of {jid}"), PATIENCE, || (self.sees(jid) == names).then_some(()));
    }

    fn state(&self) -> Option<(AccountState, Option<String>)> {
        self.contacts.read().account().map(|account| (account.state, account.problem.clone()))
    }

    fn until_online(&self) {
        wait_for("online", PATIENCE, || (self.state()?.0 == AccountState::Online).then_some(()));
    }

    fn command(
        &self,
        build: impl FnOnce(Reply<Result<(), ControlError>>) -> ContactCommand,
    ) -> Result<(), ControlError> {
        let (reply, answer) = Reply::channel();
        self.bus.publish(command(build(reply))).unwrap();
        answer.wait(PATIENCE).expect("every command is answered")
    }

    fn set(&self, account: Account) -> Result<(), ControlError> {
        self.command(|reply| ContactCommand::SetAccount { account: Arc::new(account), reply })
    }

    fn remove_account(&self) -> Result<(), ControlError> {
        self.command(|reply| ContactCommand::RemoveAccount { reply })
    }

    fn stop(mut self) -> Duration {
        let start = now();
        self.thread.stop();
        now() - start
    }
}

#[allow(clippy::disallowed_methods, reason = "a test against a real server runs on real time")]
fn now() -> Instant {
    Instant::now()
}

fn command(command: ContactCommand) -> Event {
    Event::Contacts { account: AccountKey::FIRST, command }
}

fn asks(contacts: &Contacts) -> Vec<&str> {
    contacts.requests.iter().map(|request| request.jid.as_str()).collect()
}

fn hash(name: &str) -> InfoHash {
    let mut bytes = [0; InfoHash::LEN];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    InfoHash::new(bytes)
}

fn account(server: &Prosody, user: &str, password: &str) -> Account {
    Account {
        jid: format!("{user}@localhost"),
        resource: format!("bitween-{user}"),
        password: password.to_owned().into(),
        server: Some(server.server()),
        direct_tls: Some(false),
        ca_file: Some(server.ca_file()),
        allow_plain: false,
        publish_original: true,
        accept_from: Vec::new(),
        stun: false,
    }
}

fn server() -> Prosody {
    Prosody::start(ProsodyOptions {
        users: &[("alice", "a"), ("bob", "b"), ("carol", "c")],
        contacts: &[("alice", "bob")],
        ..ProsodyOptions::default()
    })
}

const ALICE: &str = "alice@localhost";
const BOB: &str = "bob@localhost";

#[test]
fn shares_are_told_changed_and_taken_back() {
    if !installed() {
        return;
    }
    let server = server();
    let alice = Node::start(Some(account(&server, "alice", "a")));
    let bob = Node::start(Some(account(&server, "bob", "b")));
    bob.until_online();
    alice.share(&["film"]);
    bob.until_sees(ALICE, &["film"]);
    wait_for("torrents look for sources", PATIENCE, || bob.rechecks.try_recv());
    alice.until("the announcement is confirmed", |contacts| contacts.announced.contains(&hash("film")));
    {
        let contacts = bob.contacts.read();
        let sources = contacts.shares.sources(&hash("film"), &contacts.filter);
        assert!(sources.contains(&"127.0.0.1:7001".parse().unwrap()), "{sources:?}");
        assert_eq!(contacts.roster.len(), 1);
        assert_eq!((contacts.roster[0].jid.as_str(), contacts.roster[0].subscription.as_str()), (ALICE, "both"));
        assert_eq!(contacts.roster[0].resources, ["bitween-alice"]);
    }
    alice.share(&["film", "song"]);
    bob.until_sees(ALICE, &["film", "song"]);
    alice.bus.publish(Event::SetPort(7002)).unwrap();
    bob.until("the new port", |contacts| {
        contacts.shares.sources(&hash("song"), &contacts.filter).contains(&"127.0.0.1:7002".parse().unwrap())
    });
    alice.share(&[]);
    bob.until_sees(ALICE, &[]);
    alice.share(&["book"]);
    bob.until_sees(ALICE, &["book"]);
    assert!(alice.stop() < Duration::from_secs(4));
    bob.until_sees(ALICE, &["-book"]);
    assert!(bob.stop() < Duration::from_secs(4));
}

#[test]
fn no_more_of_a_contact_counts_than_the_configuration_says() {
    if !installed() {
        return;
    }
    let server = server();
    let limits = ContactLimits { shares: 2, addresses: 1 };
    let bob = Node::start_with(Some(account(&server, "bob", "b")), limits);
    let alice = Node::start(Some(account(&server, "alice", "a")));
    alice.share(&["book", "film", "song"]);
    bob.until("something of alice", |contacts| contacts.shares.contact(ALICE).is_some_and(|c| c.is_truncated()));
    assert_eq!(bob.sees(ALICE), ["book", "film"]);
    let announced = |contacts: &Contacts| {
        let contact = contacts.shares.contact(ALICE).unwrap();
        contact.resources().map(|(_, resource)| resource.addresses().len()).max()
    };
    bob.until("more than one address", |contacts| announced(contacts) > Some(1));
    let contacts = bob.contacts.read();
    assert_eq!(contacts.shares.sources(&hash("film"), &contacts.filter).len(), 1);
}

#[test]
fn commands_before_and_without_an_account_say_so() {
    let node = Node::start(None);
    let add = || node.command(|reply| ContactCommand::Add { jid: ALICE.into(), name: None, groups: Vec::new(), reply });
    assert!(matches!(add(), Err(ControlError::NoAccount)));
    assert!(matches!(node.remove_account(), Err(ControlError::NoAccount)));
    assert_eq!(node.state(), None);
    assert!(node.stop() < Duration::from_secs(1));
}

#[test]
fn an_account_is_set_refused_changed_and_removed() {
    if !installed() {
        return;
    }
    let server = server();
    let bob = Node::start(Some(account(&server, "bob", "b")));
    let node = Node::start(None);
    node.share(&["film"]);

    let refused = node.set(account(&server, "alice", "wrong")).unwrap_err().to_string();
    assert!(refused.contains("wrong user name or password"), "{refused}");
    assert_eq!(node.state(), None, "nothing of the refused account stays");
    node.set(account(&server, "alice", "a")).unwrap();
    bob.until_sees(ALICE, &["film"]);

    // A mistake in the new account costs the old one nothing for long.
    let refused = node.set(account(&server, "alice", "wrong")).unwrap_err().to_string();
    assert!(refused.contains("wrong user name or password"), "{refused}");
    node.until_online();
    bob.until_sees(ALICE, &["film"]);

    // Another account takes everything of the old one off its server, and there is an account at every moment.
    let told = node.bus.subscribe("told", &[Topic::People], 1024);
    node.set(account(&server, "carol", "c")).unwrap();
    while let Some(event) = told.try_recv() {
        assert!(!matches!(event, Event::Told { told: Told::Account(None), .. }), "commands would reach another one");
    }
    drop(told);
    bob.until_sees(ALICE, &[]);
    assert!(node.contacts.read().account().unwrap().jid.starts_with("carol@localhost"));
    node.remove_account().unwrap();
    wait_for("no account", PATIENCE, || node.state().is_none().then_some(()));
    assert!(node.stop() < Duration::from_secs(1));
}

#[test]
fn people_ask_and_are_accepted_refused_and_removed() {
    if !installed() {
        return;
    }
    let server = server();
    let alice = Node::start(Some(account(&server, "alice", "a")));
    let carol = Node::start(Some(account(&server, "carol", "c")));
    alice.share(&["film"]);
    alice.until_online();
    carol.until_online();
    const CAROL: &str = "carol@localhost";
    let add = |jid: &str| {
        carol.command(|reply| ContactCommand::Add {
            jid: jid.into(),
            name: Some("Ally".into()),
            groups: Vec::new(),
            reply,
        })
    };
    let remove = |node: &Node, jid: &str| node.command(|reply| ContactCommand::Remove { jid: jid.into(), reply });
    let accept = |jid: &str| alice.command(|reply| ContactCommand::Accept { jid: jid.into(), reply });

    assert!(accept(CAROL).unwrap_err().to_string().contains("has not asked"));
    assert!(remove(&alice, CAROL).unwrap_err().to_string().contains("no contact"));
    add(ALICE).unwrap();
    alice.until("carol asks", |contacts| asks(contacts) == [CAROL]);
    // No: she is told, and may ask again.
    remove(&alice, CAROL).unwrap();
    alice.until("nobody asks", |contacts| contacts.requests.is_empty());
    carol.until("she is told", |contacts| contacts.roster.iter().all(|entry| !entry.pending));
    remove(&carol, ALICE).unwrap();
    add(ALICE).unwrap();
    alice.until("carol asks again", |contacts| asks(contacts) == [CAROL]);
    assert_eq!(carol.sees(ALICE), [""; 0]);
    accept(CAROL).unwrap();
    carol.until_sees(ALICE, &["film"]);
    assert_eq!(carol.contacts.read().roster[0].name.as_deref(), Some("Ally"));
    carol.share(&["song"]);
    wait_for("both ways", PATIENCE, || (alice.sees(CAROL) == ["song"]).then_some(()));
    remove(&alice, CAROL).unwrap();
    carol.until_sees(ALICE, &[]);
    wait_for("both ways", PATIENCE, || alice.sees(CAROL).is_empty().then_some(()));
    assert!(add("nonsense@").unwrap_err().to_string().contains("nonsense@"));
    assert!(add(CAROL).unwrap_err().to_string().contains("own account"));
}

#[test]
fn a_restarted_server_is_found_again_and_told_what_changed() {
    if !installed() {
        return;
    }
    let mut server = server();
    let alice = Node::start(Some(account(&server, "alice", "a")));
    let bob = Node::start(Some(account(&server, "bob", "b")));
    alice.share(&["before"]);
    bob.until_sees(ALICE, &["before"]);
    server.stop();
    bob.until("offline", |contacts| contacts.account().unwrap().state == AccountState::Offline);
    assert_eq!(bob.sees(ALICE), ["-before"]);
    let problem = bob.state().unwrap().1.unwrap();
    assert!(!problem.is_empty());
    let error = bob
        .command(|reply| ContactCommand::Add { jid: ALICE.into(), name: None, groups: Vec::new(), reply })
        .unwrap_err();
    assert!(matches!(error, ControlError::Offline(_)), "{error}");
    alice.share(&["before", "meanwhile"]);
    server.resume();
    bob.until_sees(ALICE, &["before", "meanwhile"]);
}

#[test]
fn a_missing_server_is_waited_for() {
    if !installed() {
        return;
    }
    let mut server = server();
    server.kill();
    let alice = Node::start(Some(account(&server, "alice", "a")));
    alice.until("it says why", |contacts| {
        let account = contacts.account().unwrap();
        account.state == AccountState::Offline && account.problem.as_ref().unwrap().contains("cannot connect to")
    });
    server.resume();
    alice.until_online();
    assert_eq!(alice.state().unwrap().1, None);
}

#[test]
fn a_hung_server_does_not_hold_up_the_end() {
    if !installed() {
        return;
    }
    // Takes connections and never says a word.
    let deaf = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let server = server();
    let mut account = account(&server, "alice", "a");
    let connected = Node::start(Some(account.clone()));
    connected.share(&["film"]);
    connected.until("announced", |contacts| contacts.announced.contains(&hash("film")));
    account.server = Some(deaf.local_addr().unwrap().to_string());
    let connecting = Node::start(Some(account));
    let _stream = deaf.accept().unwrap();
    let took = connecting.stop();
    assert!(took < Duration::from_secs(1), "{took:?}");

    server.freeze();
    let took = connected.stop();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn an_account_can_be_changed_and_removed_while_its_server_hangs() {
    if !installed() {
        return;
    }
    let server = server();
    let deaf = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let mut hung = account(&server, "alice", "a");
    hung.server = Some(deaf.local_addr().unwrap().to_string());
    let node = Node::start(Some(hung.clone()));
    let _stream = deaf.accept().unwrap();
    let start = now();
    node.set(account(&server, "bob", "b")).unwrap();
    assert!(now() - start < Duration::from_secs(5));
    node.until("bob is used", |contacts| contacts.account().unwrap().jid.starts_with(BOB));

    node.share(&["film"]);
    node.until("announced", |contacts| contacts.announced.contains(&hash("film")));
    // The server hangs while the account is online: its goodbye goes unheard, and that is told.
    server.freeze();
    let start = now();
    let error = node.remove_account().unwrap_err().to_string();
    assert!(error.contains("bob@localhost announced may still stand"), "{error}");
    assert!(now() - start < Duration::from_secs(9), "{:?}", now() - start);
    assert_eq!(node.state(), None);
    assert!(node.stop() < Duration::from_secs(1), "nobody waits for a farewell");
}

#[test]
fn what_an_account_announced_goes_when_its_server_is_back() {
    if !installed() {
        return;
    }
    let (mut old, new) = (server(), server());
    let (watcher, node) =
        (Node::start(Some(account(&old, "bob", "b"))), Node::start(Some(account(&old, "alice", "a"))));
    node.share(&["film"]);
    watcher.until_sees(ALICE, &["film"]);
    old.kill();
    node.until("offline", |contacts| contacts.account().unwrap().state == AccountState::Offline);

    // Another account, while the old one cannot be reached: it is remembered, and told.
    node.set(account(&new, "carol", "c")).unwrap();
    node.until("it is told", |contacts| contacts.remains.iter().any(|text| text.contains("alice@localhost announced")));
    old.resume();
    watcher.until_sees(ALICE, &[]);
    node.until("nothing remains", |contacts| contacts.remains.is_empty());
    assert!(node.contacts.read().account().unwrap().jid.starts_with("carol@localhost"));

    // Back to alice, and no account at all while she cannot be reached.
    node.set(account(&old, "alice", "a")).unwrap();
    watcher.until_sees(ALICE, &["film"]);
    old.kill();
    node.until("offline", |contacts| contacts.account().unwrap().state == AccountState::Offline);
    let error = node.remove_account().unwrap_err();
    assert!(matches!(&error, ControlError::Offline(text) if text.contains("alice@localhost announced")), "{error}");
    assert_eq!(node.state(), None);
    old.resume();
    watcher.until_sees(ALICE, &[]);
}

#[test]
fn an_account_used_again_keeps_what_it_announces() {
    if !installed() {
        return;
    }
    let (mut old, new) = (server(), server());
    let (watcher, node) =
        (Node::start(Some(account(&old, "bob", "b"))), Node::start(Some(account(&old, "alice", "a"))));
    node.share(&["film"]);
    watcher.until_sees(ALICE, &["film"]);
    old.kill();
    node.until("offline", |contacts| contacts.account().unwrap().state == AccountState::Offline);
    node.set(account(&new, "carol", "c")).unwrap();
    node.until("it is told", |contacts| !contacts.remains.is_empty());
    assert!(matches!(node.set(account(&old, "alice", "a")), Err(ControlError::Offline(_))), "it is used unchecked");
    node.until("nothing is to be taken off", |contacts| contacts.remains.is_empty());
    old.resume();
    watcher.until_sees(ALICE, &["film"]);
}

/// Takes connections for a server and passes nothing on until it is opened.
struct Gate {
    address: String,
    open: Arc<AtomicBool>,
}

impl Gate {
    fn before(server: &Prosody) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let (address, target) = (listener.local_addr().unwrap().to_string(), server.server());
        let open = Arc::new(AtomicBool::new(false));
        let opened = Arc::clone(&open);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming().flatten() {
                if !opened.load(Ordering::Relaxed) {
                    held.push(stream);
                    continue;
                }
                let server = TcpStream::connect(&target).unwrap();
                let pass = |mut from: TcpStream, mut to: TcpStream| {
                    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                };
                pass(stream.try_clone().unwrap(), server.try_clone().unwrap());
                pass(server, stream);
            }
        });
        Self { address, open }
    }

    fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_slow_server_is_told_of_and_what_it_says_later_is_seen() {
    if !installed() {
        return;
    }
    let server = server();
    let node = Node::start(None);
    for (password, outcome) in [("a", AccountState::Online), ("wrong", AccountState::Failed)] {
        let gate = Gate::before(&server);
        let mut slow = account(&server, "alice", password);
        slow.server = Some(gate.address.clone());
        let start = now();
        let error = node.set(slow).unwrap_err();
        assert!(matches!(&error, ControlError::Offline(text) if text.contains("not answered yet")), "{error}");
        assert!(now() - start < Duration::from_secs(9), "callers wait ten seconds: {:?}", now() - start);
        assert_eq!(node.state().unwrap().0, AccountState::Connecting, "the new one is in use");
        gate.open();
        // The attempt under way has to find out first that nobody answers it.
        node.bus
            .publish(command(ContactCommand::Add {
                jid: BOB.into(),
                name: None,
                groups: Vec::new(),
                reply: Reply::channel().0,
            }))
            .unwrap();
        wait_for("the outcome", PATIENCE, || (node.state()?.0 == outcome).then_some(()));
    }
    assert!(node.state().unwrap().1.unwrap().contains("wrong user name or password"));
}

#[test]
fn an_account_lost_in_the_middle_of_a_change_is_left_all_the_same() {
    if !installed() {
        return;
    }
    let (mut old, new) = (server(), server());
    let node = Node::start(Some(account(&old, "alice", "a")));
    node.until_online();
    // The server dies while the goodbye is being said.
    old.freeze();
    let (reply, answer) = Reply::channel();
    let next = Arc::new(account(&new, "bob", "b"));
    node.bus.publish(command(ContactCommand::SetAccount { account: next, reply })).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    old.kill();
    answer.wait(PATIENCE).expect("answered").unwrap();
    node.until("bob is used", |contacts| contacts.account().unwrap().jid.starts_with(BOB));
    node.remove_account().unwrap();
}
