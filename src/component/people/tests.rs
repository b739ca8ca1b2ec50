//! The thread as others see it: told over the bus, read in its snapshot.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::bus::Reply;
use crate::component::event::Told;
use crate::component::snapshot::{AccountState, AccountStatus, RosterEntry};
use crate::proto::xmpp::SessionEvent;
use crate::types::{
    AccountKey, Address, AddressKind, Announcement, Endpoint, Host, InfoHash, ResourceEntry, Share, Via, Witness,
};

const HOME: Via = Via::FIRST;
const WORK: Via = Via::Account(AccountKey::new(1));
const BOB: &str = "bob@x";

struct Fixture {
    bus: Bus,
    contacts: Published<Contacts>,
    _people: PeopleThread,
}

impl Fixture {
    fn new() -> Self {
        Self::with(&PeopleOptions::default())
    }

    fn with(options: &PeopleOptions) -> Self {
        let (bus, contacts) = (Bus::new(), Published::default());
        let people = PeopleThread::start(options, bus.clone(), contacts.clone(), &Published::default()).unwrap();
        Self { bus, contacts, _people: people }
    }

    fn tell(&self, via: Via, told: Told) {
        self.bus.publish(Event::Told { via, told }).unwrap();
    }

    fn hear(&self, via: Via, event: SessionEvent) {
        self.tell(via, Told::Session(event));
    }

    fn account(&self, via: Via, jid: &str) {
        let Via::Account(key) = via else { unreachable!() };
        let status = AccountStatus { key, jid: jid.to_owned(), state: AccountState::Online, problem: None };
        self.tell(via, Told::Account(Some(status)));
    }

    fn shares(&self, via: Via, jid: &str, resource: &str) {
        self.hear(via, SessionEvent::ContactOnline { jid: jid.into(), resource: resource.into() });
        let announcement = Announcement::Shares { resource: resource.into(), shares: vec![film()], truncated: false };
        self.hear(via, SessionEvent::Announced { jid: jid.into(), announcement });
    }

    /// In the original's format, which is about all resources at once.
    fn shares_as_original(&self, via: Via, jid: &str, resources: &[&str]) {
        let entry = |resource: &&str| ResourceEntry {
            resource: (*resource).to_owned(),
            shares: vec![film()],
            addresses: Vec::new(),
        };
        let announcement = Announcement::Account { entries: resources.iter().map(entry).collect(), truncated: false };
        self.hear(via, SessionEvent::Announced { jid: jid.into(), announcement });
    }

    /// What can be read when everything told so far was taken in.
    fn settled(&self) -> Arc<Contacts> {
        let (reply, answer) = Reply::channel();
        self.tell(HOME, Told::Answer { reply, outcome: Ok(()) });
        answer.wait(Duration::from_secs(10)).unwrap().unwrap();
        self.contacts.read()
    }

    fn owners(&self) -> Vec<(String, bool)> {
        let hits = self.settled().shares.search("film", crate::share::Page { offset: 0, limit: 10 }).hits;
        hits.into_iter().flat_map(|hit| hit.owners).map(|owner| (owner.jid, owner.available)).collect()
    }
}

fn film() -> Share {
    let info_hash = InfoHash::new([7; InfoHash::LEN]);
    Share { info_hash, name: "film".into(), size: 1, files: 1, complete: true }
}

#[test]
fn whoever_reads_an_answer_finds_what_was_told_before_it() {
    let people = Fixture::new();
    for n in 0..50 {
        let entry = RosterEntry {
            via: HOME,
            jid: format!("friend{n}@x"),
            name: None,
            groups: Vec::new(),
            subscription: "both".into(),
            pending: false,
            resources: Vec::new(),
        };
        people.tell(HOME, Told::Roster { entries: vec![entry], requests: Vec::new() });
        let roster = &people.settled().roster;
        assert_eq!((roster.len(), roster[0].jid.as_str()), (1, format!("friend{n}@x").as_str()));
    }
}

#[test]
fn a_contact_of_two_accounts_is_there_as_long_as_one_of_them_knows_it() {
    let people = Fixture::new();
    let rechecks = people.bus.subscribe("test", &[Topic::RecheckHandles], 4);
    people.shares(HOME, BOB, "r");
    people.shares(WORK, BOB, "r");
    assert_eq!(people.owners(), [(BOB.to_owned(), true)]);
    assert!(rechecks.try_recv().is_some(), "there is something to be had");
    people.hear(HOME, SessionEvent::AllOffline);
    assert_eq!(people.owners(), [(BOB.to_owned(), true)], "the other server says so");
    people.tell(WORK, Told::Left);
    assert_eq!(people.owners(), [(BOB.to_owned(), false)]);
    people.tell(HOME, Told::Left);
    assert!(people.owners().is_empty());
}

#[test]
fn what_this_program_announces_with_another_account_is_no_source() {
    let people = Fixture::new();
    people.account(HOME, "me@x/box");
    // Heard before it is known who that is, and again afterwards.
    people.shares(HOME, "me@work", "box");
    assert_eq!(people.owners(), [("me@work".to_owned(), true)]);
    people.account(WORK, "me@work/box");
    people.shares(HOME, "me@work", "box");
    assert!(people.owners().is_empty());
    // The same account on another machine is one.
    people.shares(HOME, "me@work", "laptop");
    assert_eq!(people.owners(), [("me@work".to_owned(), true)]);
}

#[test]
fn what_this_program_announces_in_the_originals_format_is_no_contacts_either() {
    let people = Fixture::new();
    people.account(HOME, "me@x/box");
    people.shares_as_original(HOME, "me@work", &["box"]);
    assert_eq!(people.owners(), [("me@work".to_owned(), false)], "it is not known yet who that is");
    people.account(WORK, "me@work/box");
    assert!(people.owners().is_empty());
    people.shares_as_original(HOME, "me@work", &["box"]);
    assert!(people.owners().is_empty());
    people.shares_as_original(HOME, "me@work", &["box", "laptop"]);
    assert_eq!(people.owners(), [("me@work".to_owned(), false)], "another machine");
}

#[test]
fn what_is_forgotten_is_said_although_it_could_not_be_had() {
    let people = Fixture::new();
    people.shares(HOME, BOB, "r");
    people.hear(HOME, SessionEvent::AllOffline);
    people.settled();
    // Whoever looked for sources keeps what it saw, to compare with, until it looks again.
    let rechecks = people.bus.subscribe("test", &[Topic::RecheckHandles], 4);
    people.tell(HOME, Told::Left);
    people.settled();
    assert!(rechecks.try_recv().is_some());
}

#[test]
fn how_this_node_is_reached_is_told_and_can_be_read() {
    let people = Fixture::new();
    let listener = people.bus.subscribe("test", &[Topic::PublishEndpoint], 4);
    people.bus.publish(Event::SetPort(7001)).unwrap();
    let known = people.settled();
    // A machine without any address but loopback has nothing to tell.
    if let Some(Event::PublishEndpoint(endpoint)) = listener.try_recv() {
        assert_eq!(endpoint, known.endpoint);
        assert!(known.own_addresses().all(|address| address.port() == 7001));
    }
}

#[test]
fn where_others_see_this_node_is_told_unless_a_contact_is_there() {
    let people = Fixture::new();
    people.bus.publish(Event::SetPort(7001)).unwrap();
    let peer = |text: &str| Witness::Peer(Host::of(text.parse().unwrap()));
    let see = |witness, ip: &str| people.bus.publish(Event::Observed { witness, ip: ip.parse().unwrap() }).unwrap();
    let observed = || -> Vec<String> {
        let known = people.settled();
        let observed = known.endpoint.addresses.iter().filter(|address| address.kind == AddressKind::Observed);
        observed.map(|address| address.socket.to_string()).collect()
    };
    see(peer("8.8.8.8"), "203.0.113.7");
    assert!(observed().is_empty(), "one peer may lie");
    see(peer("9.9.9.9"), "203.0.113.7");
    assert_eq!(observed(), ["203.0.113.7:7001"]);
    let address = Address { socket: "203.0.113.7:5000".parse().unwrap(), kind: AddressKind::Local };
    let endpoint = Endpoint { addresses: vec![address], ..Endpoint::default() };
    let announcement = Announcement::Endpoint { resource: "r".into(), endpoint };
    people.hear(HOME, SessionEvent::Announced { jid: BOB.into(), announcement });
    see(peer("9.9.9.9"), "203.0.113.7");
    assert!(observed().is_empty(), "that is where bob says to be");
    see(Witness::Stun(AccountKey::FIRST), "203.0.113.7");
    assert_eq!(observed(), ["203.0.113.7:7001"], "the same household");
}

#[test]
fn where_the_blocked_are_is_told_when_they_are_blocked() {
    let people = Fixture::new();
    let rechecks = people.bus.subscribe("test", &[Topic::RecheckHandles], 4);
    let at = |jid: &str, text: &str| {
        let address = Address { socket: text.parse().unwrap(), kind: AddressKind::Local };
        let endpoint = Endpoint { addresses: vec![address], ..Endpoint::default() };
        let announcement = Announcement::Endpoint { resource: "r".into(), endpoint };
        people.hear(HOME, SessionEvent::Announced { jid: jid.into(), announcement });
    };
    let refused = |text: &str| people.settled().refused.has(text.parse().unwrap(), None);
    at(BOB, "203.0.113.7:5000");
    at("carol@x", "198.51.100.9:5000");
    people.settled();
    while rechecks.try_recv().is_some() {}
    people.tell(HOME, Told::Blocked(vec![BOB.into(), "carol@x".into()]));
    people.hear(HOME, SessionEvent::SharesGone { jid: BOB.into() });
    people.hear(HOME, SessionEvent::SharesGone { jid: "carol@x".into() });
    assert!(refused("203.0.113.7:1") && refused("198.51.100.9:1") && !refused("203.0.113.8:1"));
    assert!(rechecks.try_recv().is_some(), "those who are connected have to go");
    // Somebody else is seen there: only the very port of the blocked.
    at("dave@x", "203.0.113.7:6000");
    assert!(!refused("203.0.113.7:6000") && refused("203.0.113.7:5000"));
    people.tell(HOME, Told::Blocked(vec!["carol@x".into()]));
    assert!(!refused("203.0.113.7:5000") && refused("198.51.100.9:1"));
    people.tell(HOME, Told::Left);
    assert!(!refused("198.51.100.9:1") && people.settled().blocked.is_empty());
}

#[test]
fn where_the_blocked_are_is_known_after_a_restart_as_long_as_they_are_blocked() {
    let dir = tempfile::tempdir().unwrap();
    let options = PeopleOptions { facts: Some(dir.path().join("accounts.sqlite")), ..PeopleOptions::default() };
    let refused = |people: &Fixture| people.settled().refused.has("203.0.113.7:1".parse().unwrap(), None);
    let people = Fixture::with(&options);
    let address = Address { socket: "203.0.113.7:5000".parse().unwrap(), kind: AddressKind::Local };
    let endpoint = Endpoint { addresses: vec![address], ..Endpoint::default() };
    let announcement = Announcement::Endpoint { resource: "r".into(), endpoint };
    people.hear(HOME, SessionEvent::Announced { jid: BOB.into(), announcement });
    people.tell(HOME, Told::Blocked(vec![BOB.into()]));
    assert!(refused(&people));
    // Two runs, of which the first begins with another account that has nothing to do with him.
    for _ in 0..2 {
        let people = Fixture::with(&options);
        people.tell(HOME, Told::Left);
        people.tell(WORK, Told::Blocked(vec!["eve@x".into()]));
        assert!(!refused(&people));
        people.tell(HOME, Told::Blocked(vec![BOB.into()]));
        assert!(refused(&people));
    }
    let people = Fixture::with(&options);
    people.tell(HOME, Told::Blocked(vec![BOB.into()]));
    people.tell(HOME, Told::Blocked(Vec::new()));
    people.tell(HOME, Told::Blocked(vec![BOB.into()]));
    assert!(!refused(&people), "forgotten when that had ended");
}
