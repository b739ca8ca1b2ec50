use super::*;
use crate::types::{
    AccountKey, Address, AddressKind, Endpoint, MAX_ADDRESSES_PER_RESOURCE, MAX_NAME_LEN, MAX_RESOURCES_PER_CONTACT,
    ResourceEntry, Share,
};

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
    let _ = contacts.online(Via::FIRST, BOB, "r");
    let _ = contacts.apply(Via::FIRST, BOB, original(&[("r", vec![share(1, "cut")], "203.0.113.1:7000")]));
    assert_eq!(names(&contacts, BOB), ["r:cut"]);
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "whole"), share(2, "more")]));
    let _ = contacts.apply(Via::FIRST, BOB, endpoint("r", &["203.0.113.1:7000", "[2001:db8::1]:7000"]));
    assert_eq!(names(&contacts, BOB), ["r:whole", "r:more"]);
    let sources = contacts.sources(&share(1, "").info_hash, &AddressFilter::default());
    assert_eq!(sources, ["[2001:db8::1]:7000".parse().unwrap(), "203.0.113.1:7000".parse().unwrap()]);
}

#[test]
fn an_account_wide_list_replaces_all_it_said_before() {
    let mut contacts = ContactShares::new();
    let both = [("a", vec![share(1, "one")], "203.0.113.1:7000"), ("b", vec![share(2, "two")], "203.0.113.2:7000")];
    assert_eq!(contacts.apply(Via::FIRST, BOB, original(&both)), Change::Shown, "nobody is online");
    assert_eq!(names(&contacts, BOB), ["a:one", "b:two"]);
    let _ = contacts.apply(Via::FIRST, BOB, original(&both[1..]));
    assert_eq!(names(&contacts, BOB), ["b:two"]);
    let _ = contacts.apply(Via::FIRST, BOB, original(&[]));
    assert!(contacts.contact(BOB).is_none());
}

#[test]
fn shares_are_available_only_while_their_resource_is_online() {
    let mut contacts = ContactShares::new();
    let hash = share(1, "").info_hash;
    let filter = AddressFilter::default();
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "one")]));
    let _ = contacts.apply(Via::FIRST, BOB, endpoint("r", &["203.0.113.1:7000"]));
    assert!(contacts.sources(&hash, &filter).is_empty());
    assert_eq!(contacts.online(Via::FIRST, BOB, "r"), Change::Sources);
    assert_eq!(contacts.online(Via::FIRST, BOB, "r"), Change::Nothing);
    assert_eq!(contacts.sources(&hash, &filter).len(), 1);
    assert_eq!(contacts.available().len(), 1);
    assert_eq!(contacts.offline(Via::FIRST, BOB, "r"), Change::Sources);
    assert!(contacts.sources(&hash, &filter).is_empty() && contacts.available().is_empty());
    assert_eq!(names(&contacts, BOB), ["r:one"], "the list is kept");
    assert_eq!(contacts.offline(Via::FIRST, "carol@example.org", "x"), Change::Nothing);
}

#[test]
fn goodbye_keeps_the_list_and_ends_the_availability() {
    let mut contacts = ContactShares::new();
    let _ = contacts.online(Via::FIRST, BOB, "r");
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "one")]));
    assert_eq!(contacts.apply(Via::FIRST, BOB, Announcement::Parted { resource: "r".into() }), Change::Sources);
    let resource = contacts.contact(BOB).unwrap().resources().next().unwrap().1.clone();
    assert!(resource.is_online() && !resource.is_available() && resource.share_count() == 1);
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "one")]));
    assert!(contacts.contact(BOB).unwrap().resources().next().unwrap().1.is_available(), "a new list: back again");
}

#[test]
fn an_empty_list_takes_the_shares_away() {
    let mut contacts = ContactShares::new();
    let _ = contacts.online(Via::FIRST, BOB, "r");
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "one")]));
    assert_eq!(contacts.apply(Via::FIRST, BOB, list("r", Vec::new())), Change::Sources);
    assert!(names(&contacts, BOB).is_empty());
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "one")]));
    let _ = contacts.apply(Via::FIRST, BOB, Announcement::Withdrawn { resource: "r".into() });
    assert!(names(&contacts, BOB).is_empty() && contacts.contact(BOB).unwrap().is_online());
}

#[test]
fn losing_the_server_makes_everybody_offline() {
    let mut contacts = ContactShares::new();
    let _ = contacts.online(Via::FIRST, BOB, "r");
    let _ = contacts.online(Via::FIRST, "eve@example.org", "x");
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "one")]));
    assert_eq!(contacts.all_offline(Via::FIRST), Change::Sources);
    assert_eq!(contacts.iter().map(|(jid, c)| (jid, c.is_online())).collect::<Vec<_>>(), [(BOB, false)]);
}

#[test]
fn limits_hold_and_are_shown() {
    let mut contacts = ContactShares::with_limits(ContactLimits { shares: 10_000, ..ContactLimits::default() });
    let many: Vec<Share> = (0..12_000).map(|n| share(n, &"long ".repeat(200))).collect();
    let _ = contacts.apply(Via::FIRST, BOB, list("r", many.clone()));
    let contact = contacts.contact(BOB).unwrap();
    let resource = contact.resources().next().unwrap().1;
    assert_eq!(resource.share_count(), 10_000);
    assert!(contact.is_truncated() && resource.shares().all(|share| share.name.len() <= MAX_NAME_LEN));
    let _ = contacts.apply(Via::FIRST, BOB, list("s", many[..10].to_vec()));
    assert_eq!(contacts.contact(BOB).unwrap().resources().map(|(_, r)| r.share_count()).sum::<usize>(), 10_000);

    let mut contacts = ContactShares::new();
    for n in 0..100 {
        let _ = contacts.online(Via::FIRST, BOB, &format!("r{n:03}"));
    }
    let contact = contacts.contact(BOB).unwrap();
    assert_eq!(contact.resources().count(), MAX_RESOURCES_PER_CONTACT);
    assert!(contact.is_truncated());
    let _ = contacts.offline(Via::FIRST, BOB, "r000");
    let _ = contacts.online(Via::FIRST, BOB, "new");
    assert!(contacts.contact(BOB).unwrap().resources().any(|(name, _)| name == "new"));

    let sockets: Vec<String> = (0..500).map(|n| format!("203.0.113.1:{}", 5000 + n)).collect();
    let texts: Vec<&str> = sockets.iter().map(String::as_str).collect();
    let _ = contacts.apply(Via::FIRST, BOB, endpoint("new", &texts));
    let contact = contacts.contact(BOB).unwrap();
    let resource = contact.resources().find(|(name, _)| *name == "new").unwrap().1;
    assert_eq!(resource.addresses().len(), MAX_ADDRESSES_PER_RESOURCE);
}

#[test]
fn forgetting_a_contact_leaves_nothing() {
    let mut contacts = ContactShares::new();
    let _ = contacts.online(Via::FIRST, BOB, "r");
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "one")]));
    assert_eq!(contacts.forget(Via::FIRST, BOB), Change::Sources);
    assert_eq!(contacts.forget(Via::FIRST, BOB), Change::Nothing);
    // Whoever keeps an old snapshot to compare with must let go of it.
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "one")]));
    assert_eq!(contacts.forget(Via::FIRST, BOB), Change::Sources);
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "one")]));
    assert_eq!(contacts.forget_all(Via::FIRST), Change::Sources);
    assert_eq!(contacts.forget_all(Via::FIRST), Change::Nothing);
    assert!(contacts.share(&share(1, "").info_hash).is_none());
}

#[test]
fn wanted_limits_hold_for_all_resources_of_a_contact_together() {
    let mut contacts = ContactShares::with_limits(ContactLimits { shares: 3, addresses: 2 });
    let shown = |contacts: &ContactShares| names(contacts, BOB).len();
    for resource in ["r", "s"] {
        let _ = contacts.online(Via::FIRST, BOB, resource);
        let _ = contacts.apply(Via::FIRST, BOB, list(resource, vec![share(1, "one"), share(2, "two")]));
    }
    let _ = contacts.apply(
        Via::FIRST,
        BOB,
        original(&[("t", vec![share(3, "three"), share(4, "four")], "203.0.113.9:7000")]),
    );
    assert_eq!(shown(&contacts), 3);
    assert!(contacts.contact(BOB).unwrap().is_truncated());
    let _ =
        contacts.apply(Via::FIRST, BOB, endpoint("r", &["203.0.113.1:7000", "203.0.113.1:7001", "203.0.113.1:7002"]));
    let sources = |contacts: &ContactShares| contacts.sources(&share(1, "").info_hash, &AddressFilter::default()).len();
    assert_eq!((sources(&contacts), contacts.available().nth(0).unwrap().1.len()), (1, 1), "the rest is for s");
    let _ = contacts.apply(Via::FIRST, BOB, endpoint("s", &["203.0.113.2:7000", "203.0.113.2:7001"]));
    assert_eq!(sources(&contacts), 2);
    let _ = contacts.forget_all(Via::FIRST);
    let _ = contacts.apply(Via::FIRST, BOB, list("r", (0..9).map(|n| share(n, "x")).collect()));
    assert_eq!(shown(&contacts), 3, "limits outlive what they bound");

    let boundless = ContactLimits { shares: usize::MAX, addresses: usize::MAX };
    assert_eq!(ContactShares::with_limits(boundless).limits, ContactLimits::default());
}

#[test]
fn who_was_told_of_sources_is_told_only_of_new_ones() {
    let mut contacts = ContactShares::new();
    let (hash, filter) = (share(1, "").info_hash, AddressFilter::default());
    for (jid, resource, socket) in [(BOB, "r", "203.0.113.1:7000"), (BOB, "s", "203.0.113.2:7000")] {
        let _ = contacts.online(Via::FIRST, jid, resource);
        let _ = contacts.apply(Via::FIRST, jid, list(resource, vec![share(1, "one")]));
        let _ = contacts.apply(Via::FIRST, jid, endpoint(resource, &[socket]));
    }
    let told = contacts.clone();
    let fresh = |contacts: &ContactShares| {
        contacts.all_sources(Some(&told)).of(&hash, false, &filter).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(contacts.all_sources(Some(&told)).is_empty());
    assert_eq!(contacts.all_sources(None).of(&hash, false, &filter).len(), 2);
    let _ = contacts.online(Via::FIRST, "eve@example.org", "x");
    assert!(contacts.all_sources(Some(&told)).is_empty(), "she shares nothing");
    let _ = contacts.apply(Via::FIRST, BOB, list("s", vec![share(1, "one"), share(2, "two")]));
    assert_eq!(fresh(&contacts), ["203.0.113.2:7000"]);
    let _ = contacts.apply(Via::FIRST, BOB, endpoint("r", &["203.0.113.3:7000"]));
    assert_eq!(fresh(&contacts), ["203.0.113.2:7000", "203.0.113.3:7000"]);
    let _ = contacts.offline(Via::FIRST, BOB, "s");
    assert_eq!(fresh(&contacts), ["203.0.113.3:7000"]);
}

#[test]
fn what_can_be_had_is_counted_once_with_everybodys_addresses() {
    let mut contacts = ContactShares::new();
    let eve = "eve@example.org";
    for (jid, numbers, socket) in [(BOB, [1, 3], "203.0.113.2:7000"), (eve, [1, 2], "203.0.113.1:7000")] {
        let _ = contacts.online(Via::FIRST, jid, "r");
        let _ = contacts.apply(Via::FIRST, jid, list("r", numbers.map(|n| share(n, "x")).into()));
        let _ = contacts.apply(Via::FIRST, jid, endpoint("r", &[socket, "203.0.113.9:7000"]));
    }
    let available = contacts.available();
    let row = |number| {
        let (hash, addresses) = available.nth(number)?;
        Some((hash, addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")))
    };
    let expected = |n, addresses: &str| Some((share(n, "").info_hash, addresses.to_owned()));
    assert_eq!(row(0), expected(1, "203.0.113.1:7000 203.0.113.2:7000 203.0.113.9:7000"));
    assert_eq!(row(1), expected(2, "203.0.113.1:7000 203.0.113.9:7000"));
    assert_eq!(row(2), expected(3, "203.0.113.2:7000 203.0.113.9:7000"));
    assert_eq!((row(3), available.len()), (None, 3));
}

#[test]
fn what_is_complete_looks_only_for_those_who_lack_something() {
    let mut contacts = ContactShares::new();
    for (jid, complete, socket) in [(BOB, true, "203.0.113.1:7000"), ("eve@example.org", false, "203.0.113.2:7000")] {
        let _ = contacts.online(Via::FIRST, jid, "r");
        let _ = contacts.apply(Via::FIRST, jid, list("r", vec![Share { complete, ..share(1, "one") }]));
        let _ = contacts.apply(Via::FIRST, jid, endpoint("r", &[socket]));
    }
    let found = contacts.all_sources(None).of(&share(1, "").info_hash, true, &AddressFilter::default());
    assert_eq!(found, ["203.0.113.2:7000".parse().unwrap()]);
}

#[test]
fn the_limits_of_all_contacts_together_hold() {
    let mut contacts = ContactShares::with_limits(ContactLimits { shares: 10, ..ContactLimits::default() });
    let (table, _) = ShareTable::build((0..20).map(|n| share(n, "one")).collect(), 20);
    let _ = contacts.apply_table(Via::FIRST, BOB, "r", Arc::new(table.clone()), false);
    let contact = contacts.contact(BOB).unwrap();
    assert!(contact.is_truncated() && contact.resources().next().unwrap().1.share_count() == 10);
    // However large some are, there is room for one more.
    let mut contacts = ContactShares::new();
    let (large, _) = ShareTable::build((0..700_000).map(|n| share(n, "")).collect(), MAX_SHARES_PER_CONTACT);
    let large = Arc::new(large);
    for (jid, kept) in [("a@x", 700_000), ("b@x", 650_000), ("c@x", 325_000), ("d@x", 162_500)] {
        let _ = contacts.apply_table(Via::FIRST, jid, "r", Arc::clone(&large), false);
        assert_eq!(contacts.contact(jid).unwrap().resources().next().unwrap().1.share_count(), kept, "{jid}");
    }
    let _ = contacts.forget(Via::FIRST, "a@x");
    let _ = contacts.apply_table(Via::FIRST, "d@x", "r", Arc::clone(&large), false);
    assert_eq!(contacts.contact("d@x").unwrap().resources().next().unwrap().1.share_count(), 512_500);
}

#[test]
fn what_is_hidden_counts_too() {
    let limits = ContactLimits { shares: 3, ..ContactLimits::default() };
    let mut contacts = ContactShares::with_limits(limits);
    let shares = |from: u32, to: u32| (from..to).map(|n| share(n, "name")).collect::<Vec<_>>();
    let kept = |contacts: &ContactShares| (contacts.kept.shares, contacts.kept.name_bytes);
    let _ = contacts.apply(Via::FIRST, BOB, list("r", shares(0, 3)));
    let _ = contacts.apply(Via::FIRST, BOB, original(&[("r", shares(0, 3), "203.0.113.1:7000")]));
    assert_eq!(kept(&contacts), (6, 24), "both lists");
    assert!(!contacts.contact(BOB).unwrap().is_truncated(), "nothing of what is shown is missing");
    let _ = contacts.apply(Via::FIRST, BOB, list("r", shares(0, 1)));
    let _ = contacts.apply(Via::FIRST, BOB, list("s", shares(5, 7)));
    assert_eq!((kept(&contacts), names(&contacts, BOB).len()), ((6, 24), 3));
    // What was hidden takes no more room than what stood before it.
    let _ = contacts.apply(Via::FIRST, BOB, Announcement::Withdrawn { resource: "r".into() });
    assert_eq!((kept(&contacts), names(&contacts, BOB).len()), ((3, 12), 3));
    assert!(contacts.contact(BOB).unwrap().is_truncated());
    let _ = contacts.apply(Via::FIRST, "eve@x", list("r", shares(0, 2)));
    assert_eq!(contacts.forget_resource(Via::FIRST, BOB, "s"), Change::Shown);
    assert_eq!(kept(&contacts), (3, 12));
    let _ = contacts.forget(Via::FIRST, BOB);
    assert_eq!(kept(&contacts), (2, 8));
    let _ = contacts.forget_all(Via::FIRST);
    assert_eq!(kept(&contacts), (0, 0));
}

#[test]
fn a_snapshot_shares_all_that_did_not_change() {
    let mut contacts = ContactShares::new();
    for jid in [BOB, "eve@example.org"] {
        let _ = contacts.apply(Via::FIRST, jid, list("r", vec![share(1, "one")]));
        let _ = contacts.apply(Via::FIRST, jid, list("s", vec![share(2, "two")]));
    }
    let before = contacts.clone();
    assert_eq!(contacts.online(Via::FIRST, BOB, "r"), Change::Sources);
    let of = |contacts: &ContactShares, jid: &str, resource: &str| {
        let contact: *const Contact = contacts.contact(jid).unwrap();
        let (_, resource) = contacts.contact(jid).unwrap().resources().find(|(name, _)| *name == resource).unwrap();
        let share = resource.shares().next().unwrap();
        (contact, std::ptr::from_ref(resource), share.name.as_ptr())
    };
    assert_eq!(of(&before, "eve@example.org", "r"), of(&contacts, "eve@example.org", "r"), "the contact itself");
    let (was, is) = (of(&before, BOB, "s"), of(&contacts, BOB, "s"));
    assert!(was.0 != is.0 && was.1 == is.1, "the resource beside the changed one");
    let (was, is) = (of(&before, BOB, "r"), of(&contacts, BOB, "r"));
    assert!(was.1 != is.1 && was.2 == is.2, "the list of the changed resource");
    assert!(!before.contact(BOB).unwrap().is_online(), "a snapshot stays as it was");
}

#[test]
fn a_resource_known_through_two_roads_counts_once() {
    const HOME: Via = Via::FIRST;
    const WORK: Via = Via::Account(AccountKey::new(1));
    let mut contacts = ContactShares::new();
    let hash = share(1, "").info_hash;
    for via in [HOME, WORK] {
        let _ = contacts.apply(via, BOB, list("r", vec![share(1, "one")]));
        let _ = contacts.apply(via, BOB, endpoint("r", &["203.0.113.1:7000"]));
    }
    let available = |contacts: &ContactShares| {
        contacts
            .resources()
            .map(|(jid, name, r)| (jid.to_owned(), name.to_owned(), r.is_available()))
            .collect::<Vec<_>>()
    };
    assert_eq!(available(&contacts), [(BOB.to_owned(), "r".to_owned(), false)]);
    assert_eq!(contacts.online(WORK, BOB, "r"), Change::Sources);
    assert_eq!(available(&contacts), [(BOB.to_owned(), "r".to_owned(), true)], "as the road knows it that works");
    assert_eq!(contacts.sources(&hash, &AddressFilter::default()).len(), 1);
    let hits = contacts.search("one", crate::share::Page { offset: 0, limit: 10 }).hits;
    assert_eq!((hits.len(), hits[0].owners.len(), hits[0].is_available()), (1, 1, true));

    // What one road says of presence is nothing to the other.
    let _ = contacts.online(HOME, BOB, "r");
    assert_eq!(contacts.all_offline(HOME), Change::Sources);
    assert!(
        contacts.contact_via(WORK, BOB).unwrap().is_online() && !contacts.contact_via(HOME, BOB).unwrap().is_online()
    );
    let _ = contacts.forget_all(WORK);
    assert!(contacts.contact_via(WORK, BOB).is_none() && contacts.contact(BOB).is_some());
    assert_eq!(available(&contacts), [(BOB.to_owned(), "r".to_owned(), false)]);
}

#[test]
fn a_catalog_is_missing_until_its_list_is_here() {
    let mut contacts = ContactShares::new();
    let catalog = |n: u8, count| Catalog { info_hash: InfoHash::new([n; 20]), size: 16 << 10, count };
    let announce = |catalog| Announcement::Catalog { resource: "r".into(), catalog };
    let table = |shares| Arc::new(ShareTable::build(shares, 10).0);
    let missing = |contacts: &ContactShares| -> Vec<_> {
        contacts.missing_lists().map(|list| (list.resource.to_owned(), list.catalog, list.addresses.len())).collect()
    };
    let _ = contacts.apply(Via::FIRST, BOB, endpoint("r", &["192.0.2.1:9"]));
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "old")]));
    assert_eq!(contacts.apply(Via::FIRST, BOB, announce(catalog(1, 2))), Change::Shown);
    assert!(missing(&contacts).is_empty(), "it is offline");
    assert_eq!(contacts.online(Via::FIRST, BOB, "r"), Change::Sources);
    assert_eq!(missing(&contacts), [("r".to_owned(), catalog(1, 2), 1)]);
    assert_eq!(names(&contacts, BOB), ["r:old"], "the last good list stays");
    let other = contacts.apply_catalog(Via::FIRST, BOB, "r", &catalog(2, 2).info_hash, table(vec![share(7, "wrong")]));
    assert_eq!((other, names(&contacts, BOB)), (Change::Nothing, vec!["r:old".to_owned()]));
    let new = table(vec![share(2, "new"), share(3, "newer")]);
    let _ = contacts.apply_catalog(Via::FIRST, BOB, "r", &catalog(1, 2).info_hash, new);
    assert_eq!((missing(&contacts).len(), names(&contacts, BOB)), (0, vec!["r:new".to_owned(), "r:newer".to_owned()]));
    assert_eq!(contacts.apply(Via::FIRST, BOB, announce(catalog(1, 2))), Change::Nothing, "told again");
    let _ = contacts.apply(Via::FIRST, BOB, announce(catalog(2, 9)));
    assert_eq!((missing(&contacts).len(), names(&contacts, BOB).len()), (1, 2));
    let _ = contacts.apply(Via::FIRST, BOB, list("r", vec![share(1, "inline")]));
    assert_eq!((missing(&contacts).len(), names(&contacts, BOB)), (0, vec!["r:inline".to_owned()]));
    let _ = contacts.apply(Via::FIRST, BOB, announce(catalog(2, 9)));
    assert_eq!(missing(&contacts).len(), 1, "it may come back");
    let _ = contacts.apply(Via::FIRST, BOB, Announcement::Withdrawn { resource: "r".into() });
    assert!(missing(&contacts).is_empty() && names(&contacts, BOB).is_empty());
}

#[test]
fn who_announces_nothing_but_a_catalog_is_kept() {
    let mut contacts = ContactShares::new();
    let catalog = Catalog { info_hash: InfoHash::new([1; 20]), size: 16 << 10, count: 2 };
    let _ = contacts.apply(Via::FIRST, BOB, Announcement::Catalog { resource: "r".into(), catalog });
    assert!(contacts.contact(BOB).is_some());
    assert_eq!(contacts.online(Via::FIRST, BOB, "r"), Change::Sources);
}
