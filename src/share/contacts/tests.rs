use super::*;

fn share(n: u32, name: &str) -> Share {
    let mut hash = [0; InfoHash::LEN];
    hash[..4].copy_from_slice(&n.to_be_bytes());
    Share { info_hash: InfoHash::new(hash), name: name.into(), size: 10, files: 1, complete: true }
}

fn list(resource: &str, shares: Vec<Share>) -> Announcement {
    Announcement::Shares { resource: resource.into(), shares, truncated: false }
}

fn endpoint(resource: &str, sockets: &[&str]) -> Announcement {
    let address = |text: &&str| Address { socket: text.parse().unwrap(), kind: AddressKind::Mapped };
    let endpoint = Endpoint { addresses: sockets.iter().map(address).collect(), ..Endpoint::default() };
    Announcement::Endpoint { resource: resource.into(), endpoint }
}

fn original(entries: &[(&str, Vec<Share>, &str)]) -> Announcement {
    let entry = |(resource, shares, socket): &(&str, Vec<Share>, &str)| ResourceEntry {
        resource: (*resource).into(),
        shares: shares.clone(),
        addresses: vec![socket.parse().unwrap()],
    };
    Announcement::Account { entries: entries.iter().map(entry).collect(), truncated: false }
}

fn names(contacts: &ContactShares, jid: &str) -> Vec<String> {
    let contact = contacts.contact(jid);
    let resources = contact.into_iter().flat_map(Contact::resources);
    resources.flat_map(|(name, r)| r.shares().map(move |share| format!("{name}:{}", share.name))).collect()
}

const BOB: &str = "bob@example.org";

#[test]
fn a_contact_that_speaks_both_formats_is_shown_once() {
    let mut contacts = ContactShares::new();
    let _ = contacts.online(BOB, "r");
    let _ = contacts.apply(BOB, original(&[("r", vec![share(1, "cut")], "203.0.113.1:7000")]));
    assert_eq!(names(&contacts, BOB), ["r:cut"]);
    let _ = contacts.apply(BOB, list("r", vec![share(1, "whole"), share(2, "more")]));
    let _ = contacts.apply(BOB, endpoint("r", &["203.0.113.1:7000", "[2001:db8::1]:7000"]));
    assert_eq!(names(&contacts, BOB), ["r:whole", "r:more"]);
    let sources = contacts.sources(&share(1, "").info_hash, &AddressFilter::default());
    assert_eq!(sources, ["[2001:db8::1]:7000".parse().unwrap(), "203.0.113.1:7000".parse().unwrap()]);
}

#[test]
fn an_account_wide_list_replaces_all_it_said_before() {
    let mut contacts = ContactShares::new();
    let both = [("a", vec![share(1, "one")], "203.0.113.1:7000"), ("b", vec![share(2, "two")], "203.0.113.2:7000")];
    assert_eq!(contacts.apply(BOB, original(&both)), Change::Shown, "nobody is online");
    assert_eq!(names(&contacts, BOB), ["a:one", "b:two"]);
    let _ = contacts.apply(BOB, original(&both[1..]));
    assert_eq!(names(&contacts, BOB), ["b:two"]);
    let _ = contacts.apply(BOB, original(&[]));
    assert!(contacts.contact(BOB).is_none());
}

#[test]
fn shares_are_available_only_while_their_resource_is_online() {
    let mut contacts = ContactShares::new();
    let hash = share(1, "").info_hash;
    let filter = AddressFilter::default();
    let _ = contacts.apply(BOB, list("r", vec![share(1, "one")]));
    let _ = contacts.apply(BOB, endpoint("r", &["203.0.113.1:7000"]));
    assert!(contacts.sources(&hash, &filter).is_empty());
    assert_eq!(contacts.online(BOB, "r"), Change::Sources);
    assert_eq!(contacts.online(BOB, "r"), Change::Nothing);
    assert_eq!(contacts.sources(&hash, &filter).len(), 1);
    assert_eq!(contacts.hashes().len(), 1);
    assert_eq!(contacts.offline(BOB, "r"), Change::Sources);
    assert!(contacts.sources(&hash, &filter).is_empty() && contacts.hashes().is_empty());
    assert_eq!(names(&contacts, BOB), ["r:one"], "the list is kept");
    assert_eq!(contacts.offline("carol@example.org", "x"), Change::Nothing);
}

#[test]
fn goodbye_keeps_the_list_and_ends_the_availability() {
    let mut contacts = ContactShares::new();
    let _ = contacts.online(BOB, "r");
    let _ = contacts.apply(BOB, list("r", vec![share(1, "one")]));
    assert_eq!(contacts.apply(BOB, Announcement::Parted { resource: "r".into() }), Change::Sources);
    let resource = contacts.contact(BOB).unwrap().resources().next().unwrap().1.clone();
    assert!(resource.is_online() && !resource.is_available() && resource.share_count() == 1);
    let _ = contacts.apply(BOB, list("r", vec![share(1, "one")]));
    assert!(contacts.contact(BOB).unwrap().resources().next().unwrap().1.is_available(), "a new list: back again");
}

#[test]
fn an_empty_list_takes_the_shares_away() {
    let mut contacts = ContactShares::new();
    let _ = contacts.online(BOB, "r");
    let _ = contacts.apply(BOB, list("r", vec![share(1, "one")]));
    assert_eq!(contacts.apply(BOB, list("r", Vec::new())), Change::Sources);
    assert!(names(&contacts, BOB).is_empty());
    let _ = contacts.apply(BOB, list("r", vec![share(1, "one")]));
    let _ = contacts.apply(BOB, Announcement::Withdrawn { resource: "r".into() });
    assert!(names(&contacts, BOB).is_empty() && contacts.contact(BOB).unwrap().is_online());
}

#[test]
fn losing_the_server_makes_everybody_offline() {
    let mut contacts = ContactShares::new();
    let _ = contacts.online(BOB, "r");
    let _ = contacts.online("eve@example.org", "x");
    let _ = contacts.apply(BOB, list("r", vec![share(1, "one")]));
    assert_eq!(contacts.all_offline(), Change::Sources);
    assert_eq!(contacts.iter().map(|(jid, c)| (jid, c.is_online())).collect::<Vec<_>>(), [(BOB, false)]);
}

#[test]
fn limits_hold_and_are_shown() {
    let mut contacts = ContactShares::new();
    let many: Vec<Share> = (0..5000).map(|n| share(n, &"long ".repeat(200))).collect();
    let _ = contacts.apply(BOB, list("r", many.clone()));
    let contact = contacts.contact(BOB).unwrap();
    let resource = contact.resources().next().unwrap().1;
    assert_eq!(resource.share_count(), MAX_SHARES_PER_CONTACT);
    assert!(contact.is_truncated() && resource.shares().all(|share| share.name.len() <= MAX_NAME_LEN));
    let _ = contacts.apply(BOB, list("s", many[..10].to_vec()));
    assert_eq!(contacts.contact(BOB).unwrap().resources().map(|(_, r)| r.share_count()).sum::<usize>(), 4096);

    let mut contacts = ContactShares::new();
    for n in 0..100 {
        let _ = contacts.online(BOB, &format!("r{n:03}"));
    }
    let contact = contacts.contact(BOB).unwrap();
    assert_eq!(contact.resources().count(), MAX_RESOURCES_PER_CONTACT);
    assert!(contact.is_truncated());
    let _ = contacts.offline(BOB, "r000");
    let _ = contacts.online(BOB, "new");
    assert!(contacts.contact(BOB).unwrap().resources().any(|(name, _)| name == "new"));

    let sockets: Vec<String> = (0..500).map(|n| format!("203.0.113.1:{}", 5000 + n)).collect();
    let texts: Vec<&str> = sockets.iter().map(String::as_str).collect();
    let _ = contacts.apply(BOB, endpoint("new", &texts));
    let contact = contacts.contact(BOB).unwrap();
    let resource = contact.resources().find(|(name, _)| *name == "new").unwrap().1;
    assert_eq!(resource.addresses().len(), MAX_ADDRESSES_PER_RESOURCE);
}

#[test]
fn forgetting_a_contact_leaves_nothing() {
    let mut contacts = ContactShares::new();
    let _ = contacts.online(BOB, "r");
    let _ = contacts.apply(BOB, list("r", vec![share(1, "one")]));
    assert_eq!(contacts.forget(BOB), Change::Sources);
    assert_eq!(contacts.forget(BOB), Change::Nothing);
    assert!(contacts.share(&share(1, "").info_hash).is_none());
}
