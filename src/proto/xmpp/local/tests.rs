//! Two sessions joined in memory, and one that hears nonsense.

use proptest::prelude::*;

use super::*;
use crate::proto::xmpp::framing::{Framer, Limits};
use crate::types::{Address, AddressKind, InfoHash};

fn name(text: &str) -> LocalName {
    LocalName::parse(text).unwrap()
}

fn items(shares: u8, port: u16) -> Arc<OwnItems> {
    let share = |n| Share {
        info_hash: InfoHash::new([n; InfoHash::LEN]),
        name: format!("share {n}").into(),
        size: 7,
        files: 1,
        complete: true,
    };
    let socket = std::net::SocketAddr::from(([192, 0, 2, 1], port));
    let addresses = vec![Address { socket, kind: AddressKind::Local }];
    let endpoint = Endpoint { addresses, ipv4: true, ..Endpoint::default() };
    Arc::new(OwnItems::new(&endpoint, &(0..shares).map(share).collect::<Vec<_>>(), None))
}

struct Side {
    session: LocalSession,
    framer: Framer,
    events: Vec<LocalEvent>,
    sent: usize,
}

impl Side {
    fn new(role: Role, own: &str) -> Self {
        let session = LocalSession::new(role, name(own), None, items(3, 7000));
        Self { session, framer: Framer::new(Limits::default()), events: Vec::new(), sent: 0 }
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), LocalError> {
        self.framer.push(bytes);
        while let Some(frame) = self.framer.next_frame()? {
            self.session.received(&frame)?;
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
        Ok(())
    }

    fn say(&mut self) -> Vec<u8> {
        let bytes = std::mem::take(self.session.out());
        self.sent += bytes.len();
        bytes
    }

    fn told(&mut self) -> Vec<LocalEvent> {
        std::mem::take(&mut self.events)
    }
}

/// Carries bytes until both are silent, and encrypts when both want to.
fn carry(a: &mut Side, b: &mut Side) {
    loop {
        let (from_a, from_b) = (a.say(), b.say());
        if from_a.is_empty() && from_b.is_empty() {
            let wants = |side: &Side| side.events.contains(&LocalEvent::StartTls);
            if !(wants(a) && wants(b)) {
                return;
            }
            for side in [&mut *a, &mut *b] {
                side.events.retain(|event| *event != LocalEvent::StartTls);
                assert!(!side.framer.has_unread());
                side.framer = Framer::new(Limits::default());
                side.session.encrypted();
            }
            continue;
        }
        b.hear(&from_a).unwrap();
        a.hear(&from_b).unwrap();
    }
}

fn joined() -> (Side, Side) {
    let (mut alice, mut bob) = (Side::new(Role::Caller, "alice@a"), Side::new(Role::Called, "bob@b"));
    carry(&mut alice, &mut bob);
    assert_eq!(alice.told(), [LocalEvent::Met(name("bob@b"))]);
    assert_eq!(bob.told(), [LocalEvent::Met(name("alice@a"))]);
    (alice, bob)
}

fn shares(events: &[LocalEvent]) -> Option<usize> {
    events.iter().rev().find_map(|event| match event {
        LocalEvent::Announced(Announcement::Shares { shares, .. }) => Some(shares.len()),
        _ => None,
    })
}

#[test]
fn nothing_is_told_before_both_have_accepted_each_other() {
    let (mut alice, mut bob) = joined();
    alice.session.accept(true);
    carry(&mut alice, &mut bob);
    assert_eq!((alice.told(), bob.told()), (Vec::new(), vec![LocalEvent::Asks(true)]));
    assert!(!alice.session.is_mutual() && !bob.session.is_mutual());
    bob.session.accept(true);
    carry(&mut alice, &mut bob);
    let heard = alice.told();
    assert_eq!(heard[0], LocalEvent::Asks(true));
    assert_eq!(shares(&heard), Some(3));
    assert!(heard.iter().any(|event| matches!(event, LocalEvent::Announced(Announcement::Endpoint { .. }))));
    assert_eq!(shares(&bob.told()), Some(3));
}

#[test]
fn changes_are_told_and_only_they() {
    let (mut alice, mut bob) = joined();
    alice.session.accept(true);
    bob.session.accept(true);
    carry(&mut alice, &mut bob);
    alice.told();
    bob.told();
    alice.session.set_items(items(3, 7000));
    assert!(alice.say().is_empty(), "nothing has changed");
    alice.session.set_items(items(3, 7001));
    carry(&mut alice, &mut bob);
    assert!(matches!(bob.told()[..], [LocalEvent::Announced(Announcement::Endpoint { .. })]));
    alice.session.set_items(items(0, 7001));
    carry(&mut alice, &mut bob);
    assert_eq!(shares(&bob.told()), Some(0));
}

#[test]
fn whoever_is_accepted_no_more_hears_nothing_more() {
    let (mut alice, mut bob) = joined();
    alice.session.accept(true);
    bob.session.accept(true);
    carry(&mut alice, &mut bob);
    alice.told();
    bob.told();
    alice.session.accept(false);
    carry(&mut alice, &mut bob);
    assert_eq!(bob.told(), [LocalEvent::Asks(false)]);
    bob.session.set_items(items(5, 7000));
    carry(&mut alice, &mut bob);
    assert!(alice.told().is_empty() && !alice.session.is_mutual());
}

/// The opening tag of another program's stream.
const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                      from='eve@e' to='alice@a' version='1.0'>";

fn answered(stanza: &str) -> String {
    let mut alice = Side::new(Role::Called, "alice@a");
    alice.hear(HEADER.as_bytes()).unwrap();
    alice.say();
    alice.hear(stanza.as_bytes()).unwrap();
    String::from_utf8(alice.say()).unwrap()
}

#[test]
fn without_encryption_only_harmless_questions_are_answered() {
    let ask = |payload: &str| answered(&format!("<iq type='get' id='1' from='eve@e'>{payload}</iq>"));
    assert!(ask("<ping xmlns='urn:xmpp:ping'/>").contains("result"));
    let disco = ask("<query xmlns='http://jabber.org/protocol/disco#info'/>");
    assert!(disco.contains("urn:bitween:shares:0+notify"), "{disco}");
    let items = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:bitween:shares:0'/></pubsub>";
    assert!(ask(items).contains("forbidden"));
    assert!(ask("<query xmlns='jabber:iq:roster'/>").contains("service-unavailable"));
    assert_eq!(answered("<message><body>hello</body></message>"), "");
    assert_eq!(answered("<presence type='subscribe'/>"), "");
}

#[test]
fn a_program_that_cannot_encrypt_can_talk_and_is_not_called() {
    let old = HEADER.replace(" version='1.0'", "");
    let mut alice = Side::new(Role::Called, "alice@a");
    alice.hear(old.as_bytes()).unwrap();
    let said = String::from_utf8(alice.say()).unwrap();
    assert!(said.contains("to='eve@e'") && !said.contains("features"), "{said}");
    assert_eq!(alice.hear(b"<message><body>hi</body></message></stream:stream>"), Err(LocalError::Closed));
    assert_eq!(alice.say(), stream::CLOSE);

    let mut caller = Side::new(Role::Caller, "alice@a");
    assert_eq!(caller.hear(old.as_bytes()), Err(LocalError::NoEncryption));
    let mut caller = Side::new(Role::Caller, "alice@a");
    let offer = format!("{HEADER}<stream:features/>");
    assert_eq!(caller.hear(offer.as_bytes()), Err(LocalError::NoEncryption));
}

#[test]
fn nobody_speaks_for_somebody_else() {
    let mut alice = Side::new(Role::Called, "alice@a");
    alice.hear(HEADER.as_bytes()).unwrap();
    let forged = "<iq type='get' id='1' from='bob@b'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert_eq!(alice.hear(forged.as_bytes()), Err(LocalError::InvalidFrom));
    // After encryption a name is needed.
    let mut alice = Side::new(Role::Called, "alice@a");
    alice.session.encrypted();
    assert_eq!(alice.hear(HEADER.replace("from='eve@e'", "").as_bytes()), Err(LocalError::NoName));
}

#[test]
fn nothing_may_come_between_the_wish_for_encryption_and_its_beginning() {
    let mut alice = Side::new(Role::Called, "alice@a");
    let early = format!("{HEADER}<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><presence type='subscribe'/>");
    assert!(matches!(alice.hear(early.as_bytes()), Err(LocalError::Unexpected(_))));
}

#[test]
fn a_long_list_is_told_whole() {
    let (mut alice, mut bob) = joined();
    alice.session.set_items(items(255, 1));
    alice.session.accept(true);
    bob.session.accept(true);
    carry(&mut alice, &mut bob);
    assert_eq!(shares(&bob.told()), Some(255));
}

#[test]
fn a_list_that_outgrows_an_item_is_told_by_its_catalog() {
    let share = |n: u32| {
        let mut hash = [0; InfoHash::LEN];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        Share { info_hash: InfoHash::new(hash), name: format!("share {n}").into(), size: 7, files: 1, complete: true }
    };
    let shares: Vec<Share> = (0..10_000).map(share).collect();
    let own = |shares: &[Share], catalog| Arc::new(OwnItems::new(&Endpoint::default(), shares, catalog));
    let catalog = Catalog { info_hash: InfoHash::new([1; InfoHash::LEN]), size: 400_000, count: 10_000 };
    assert!(own(&shares, None).left_out() > 0);
    let (mut alice, mut bob) = joined();
    alice.session.set_items(own(&shares, Some(&catalog)));
    alice.session.accept(true);
    bob.session.accept(true);
    carry(&mut alice, &mut bob);
    let pointed = Announcement::Catalog { resource: RESOURCE.to_owned(), catalog };
    assert!(bob.told().contains(&LocalEvent::Announced(pointed)));
    // Short enough again, it is told itself.
    alice.session.set_items(own(&shares[..2], Some(&catalog)));
    carry(&mut alice, &mut bob);
    assert_eq!(self::shares(&bob.told()), Some(2));
}

/// Pieces of streams, in any order.
fn piece() -> impl Strategy<Value = String> {
    let known = [
        HEADER,
        "</stream:stream>",
        "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<presence type='subscribe'/>",
        "<presence type='unsubscribed' from='eve@e'/>",
        "<iq type='get' id='1'/>",
        "<iq type='get' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='n'/></pubsub></iq>",
        "<message><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:bitween:shares:0'>\
         <item id='local'><shares xmlns='urn:bitween:shares:0' resource='local' revision='1' part='1' parts='1'>\
         <share hash='00' size='-1'/></shares></item></items></event></message>",
        "<stream:error/>",
        " ",
    ];
    prop_oneof![proptest::sample::select(known.to_vec()).prop_map(str::to_owned), "[<>a-z/'= ]{0,20}"]
}

proptest! {
    #[test]
    fn nothing_that_can_be_said_makes_it_tell_anything(
        pieces in proptest::collection::vec(piece(), 0..20), called: bool, encrypted: bool
    ) {
        let role = if called { Role::Called } else { Role::Caller };
        let mut alice = Side::new(role, "alice@a");
        if encrypted {
            alice.session.encrypted();
        }
        for piece in pieces {
            if let Err(error) = alice.hear(piece.as_bytes()) {
                alice.session.fail(error.condition().unwrap_or("undefined-condition"));
                break;
            }
        }
        prop_assert!(!alice.session.is_mutual());
        prop_assert!(!alice.events.iter().any(|event| matches!(event, LocalEvent::Announced(_))));
        let said = String::from_utf8(alice.say()).unwrap();
        prop_assert!(!said.contains("share 1"));
    }
}
