//! The share list of the original program, attribute for attribute.
//!
//! One item describes the whole account: per resource its shares and addresses, all in attributes, all in one namespace.
//! Whoever publishes must therefore carry the entries of the account's other resources along ([`merge`]). Reading is
//! tolerant like the original's own reader; what it can only fail on later (ports that are no ports, hashes that are
//! none) is left out here. Nothing of bitween's own belongs into this format: the original would erase it.

use std::net::{IpAddr, SocketAddr};

use minidom::Element;

use super::stanza::resource_name;
use super::xml::{Build, element, to_bytes};
use crate::types::{
    MAX_ADDRESSES_PER_RESOURCE, MAX_INLINE_SHARES, MAX_RESOURCES_PER_CONTACT, ResourceEntry, Share, SortedMap, gather,
    sort,
};

/// The node, which is also the namespace of everything in its items.
pub const NODE: &str = "https://xmpp.kwoh.de/protocol/shares";
/// The id of the one item.
pub const ITEM_ID: &str = "current";
/// Bytes kept of a name. More than is shown, so that a merge passes on what the other resource wrote.
const MAX_WIRE_NAME: usize = 1024;

/// An item as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountList {
    /// One entry per resource, ordered by name.
    pub entries: Vec<ResourceEntry>,
    /// It held more than the limits allow.
    pub truncated: bool,
}

/// Reads an item's payload. No payload, or a foreign one, is an empty list.
#[must_use]
pub fn parse(payload: Option<&Element>) -> AccountList {
    let mut list = AccountList::default();
    let mut entries: SortedMap<String, ResourceEntry> = SortedMap::new();
    let mut room = MAX_INLINE_SHARES;
    let resources = payload.filter(|payload| payload.is("user_shares", NODE)).into_iter().flat_map(Element::children);
    for resource in resources.filter(|child| child.is("resource", NODE)) {
        let name = resource.attr("resource").unwrap_or_default();
        if !name.is_empty() && resource_name(name).is_none() {
            continue;
        }
        let name = name.to_owned();
        // The later of two entries with one name counts, alone.
        if let Some(earlier) = entries.remove(&name) {
            room += earlier.shares.len();
        }
        if entries.len() >= MAX_RESOURCES_PER_CONTACT {
            list.truncated = true;
            continue;
        }
        let (entry, truncated) = parse_resource(name, resource, room);
        room -= entry.shares.len();
        list.truncated |= truncated;
        entries.insert(entry.resource.clone(), entry);
    }
    list.entries = entries.into_values().collect();
    list
}

/// The payload for these entries, in their order; inside an entry shares come first, then IPv4, then IPv6 addresses.
#[must_use]
pub fn build(entries: &[ResourceEntry]) -> Element {
    element("user_shares", NODE).containing_all(entries.iter().map(build_resource))
}

/// What the account's item should say: the others' entries and the own one, ordered by resource. Like the original,
/// an entry without shares or without addresses is left out.
#[must_use]
pub fn merge<'a>(others: impl Iterator<Item = &'a ResourceEntry>, own: &'a ResourceEntry) -> Vec<ResourceEntry> {
    let others = others.filter(|entry| entry.resource != own.resource);
    let useful = others.chain([own]).filter(|entry| !entry.shares.is_empty() && !entry.addresses.is_empty());
    let sorted: SortedMap<&str, &ResourceEntry> = gather(useful.map(|entry| (entry.resource.as_str(), entry)));
    sorted.into_values().map(canonical).collect()
}

/// As many of the shares as fit into `limit` bytes together with the addresses; the bytes they take.
#[must_use]
pub fn fit(mut entry: ResourceEntry, limit: usize) -> (ResourceEntry, usize) {
    let shares = std::mem::take(&mut entry.shares);
    let mut size = written_len(&build(std::slice::from_ref(&entry)));
    for share in shares {
        let len = written_len(&build_share(&share));
        if size + len > limit {
            break;
        }
        size += len;
        entry.shares.push(share);
    }
    (entry, size)
}

/// Bytes of an element on the stream, its own namespace declaration included.
pub(super) fn written_len(element: &Element) -> usize {
    to_bytes(element).map_or(usize::MAX / 2, |bytes| bytes.len())
}

/// The same entry in the one order and with the only facts this format knows, so that equal entries compare equal.
fn canonical(entry: &ResourceEntry) -> ResourceEntry {
    let plain = |share: &Share| Share { files: 0, complete: true, ..share.clone() };
    let mut entry = ResourceEntry { shares: entry.shares.iter().map(plain).collect(), ..entry.clone() };
    sort(&mut entry.shares);
    entry.shares.dedup_by_key(|share| share.info_hash);
    sort(&mut entry.addresses);
    entry.addresses.dedup();
    entry
}

fn parse_resource(name: String, resource: &Element, room: usize) -> (ResourceEntry, bool) {
    let mut entry = ResourceEntry { resource: name, ..ResourceEntry::default() };
    let mut truncated = false;
    for child in resource.children().filter(|child| child.has_ns(NODE)) {
        match child.name() {
            "share_item" => match parse_share(child) {
                Some(share) if entry.shares.len() < room => entry.shares.push(share),
                Some(_) => truncated = true,
                None => {}
            },
            "ip_address" => match parse_address(child) {
                Some(socket) if entry.addresses.len() < MAX_ADDRESSES_PER_RESOURCE => entry.addresses.push(socket),
                Some(_) => truncated = true,
                None => {}
            },
            _ => {}
        }
    }
    (entry, truncated)
}

fn parse_share(item: &Element) -> Option<Share> {
    let info_hash = item.attr("hash")?.parse().ok()?;
    let name = item.attr("name").unwrap_or_default();
    // A size nobody can have is as good as none.
    let size = item.attr("size").and_then(|size| size.parse().ok()).unwrap_or(0);
    Some(Share { info_hash, name: cut(name, MAX_WIRE_NAME).into(), size, files: 0, complete: true })
}

fn parse_address(item: &Element) -> Option<SocketAddr> {
    let ip: IpAddr = item.attr("address")?.parse().ok()?;
    let port: u16 = item.attr("port")?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

fn build_resource(entry: &ResourceEntry) -> Element {
    let addresses = |v4: bool| {
        entry.addresses.iter().filter(move |socket| socket.is_ipv4() == v4).map(|socket| {
            let address = element("ip_address", NODE).with("address", socket.ip().to_string());
            address.with("port", socket.port().to_string())
        })
    };
    element("resource", NODE)
        .with("resource", &entry.resource)
        .containing_all(entry.shares.iter().map(build_share))
        .containing_all(addresses(true))
        .containing_all(addresses(false))
}

fn build_share(share: &Share) -> Element {
    element("share_item", NODE)
        .with("hash", share.info_hash.to_string())
        .with("name", &*share.name)
        .with("size", share.size.to_string())
}

/// The longest beginning of at most `max` bytes that ends between characters.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn share(digit: char, name: &str, size: u64) -> Share {
        Share { info_hash: hash(digit).parse().unwrap(), name: name.into(), size, files: 0, complete: true }
    }

    fn entry(resource: &str, shares: Vec<Share>, addresses: &[&str]) -> ResourceEntry {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        ResourceEntry { resource: resource.into(), shares, addresses }
    }

    /// Reads `inside` as the content of a list and tells it in short.
    fn read(inside: &str) -> String {
        let payload: Element = format!("<user_shares xmlns='{NODE}'>{inside}</user_shares>").parse().unwrap();
        tell(&parse(Some(&payload)))
    }

    fn tell(list: &AccountList) -> String {
        let tell = |entry: &ResourceEntry| {
            let shares: Vec<_> = entry.shares.iter().map(|share| format!("{}={}", share.name, share.size)).collect();
            let addresses: Vec<_> = entry.addresses.iter().map(SocketAddr::to_string).collect();
            format!("{}[{}|{}]", entry.resource, shares.join(","), addresses.join(","))
        };
        list.entries.iter().map(tell).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_list_is_written_exactly_as_the_original_writes_it() {
        let shares = vec![share('a', "Song & <Dance> ä.ogg", 12), share('b', "two", 34)];
        let entries = [entry("desk", shares, &["[2001:db8::7]:9", "192.0.2.77:9", "127.0.0.1:8"])];
        let text = String::from_utf8(to_bytes(&build(&entries)).unwrap()).unwrap();
        let expected = format!(
            "<user_shares xmlns='{NODE}'><resource resource=\"desk\">\
             <share_item hash=\"{}\" name=\"Song &amp; &lt;Dance&gt; ä.ogg\" size=\"12\"/>\
             <share_item hash=\"{}\" name=\"two\" size=\"34\"/>\
             <ip_address address=\"192.0.2.77\" port=\"9\"/><ip_address address=\"127.0.0.1\" port=\"8\"/>\
             <ip_address address=\"2001:db8::7\" port=\"9\"/></resource></user_shares>",
            hash('a'),
            hash('b')
        );
        // Kind of quotes and form of empty elements are the writer's business; everything else is not.
        let ends = ["share_item", "ip_address", "user_shares"].map(|name| format!("></{name}>"));
        let plain = |text: &str| {
            let text = text.replace('"', "'");
            let (text, whole_list) = match text.strip_suffix("</user_shares>") {
                Some(start) if text.contains("<resource") => (start.to_owned(), true),
                _ => (text, false),
            };
            let text = ends.iter().fold(text, |text, end| text.replace(end, "/>"));
            if whole_list { text + "</user_shares>" } else { text }
        };
        assert_eq!(plain(&text), plain(&expected));
        assert_eq!(
            plain(std::str::from_utf8(&to_bytes(&build(&[])).unwrap()).unwrap()),
            format!("<user_shares xmlns='{NODE}'/>")
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let entries = [entry("a", vec![share('a', "x\ty\u{1}", u64::MAX)], &["192.0.2.1:1"]), entry("b", vec![], &[])];
        let bytes = to_bytes(&build(&entries)).unwrap();
        let back = parse(Some(&std::str::from_utf8(&bytes).unwrap().parse().unwrap()));
        assert_eq!(tell(&back), format!("a[x y\u{fffd}={}|192.0.2.1:1] b[|]", u64::MAX));
        assert_eq!(back.entries[0].shares[0].info_hash, entries[0].shares[0].info_hash);
    }

    proptest::proptest! {
        #[test]
        fn merging_what_was_read_changes_nothing(
            names in proptest::collection::vec(".{0,60}", 1..20), resources in proptest::collection::vec("[a-z/ ]{0,8}", 1..6),
        ) {
            let share = |(n, name): (usize, &String)| {
                Share { info_hash: format!("{n:040x}").parse().unwrap(), ..share('a', name, n as u64) }
            };
            let shares: Vec<Share> = names.iter().enumerate().map(share).collect();
            let entries: Vec<ResourceEntry> =
                resources.iter().map(|name| entry(name, shares.clone(), &["[2001:db8::1]:9", "192.0.2.1:9"])).collect();
            let merged = merge(entries.iter(), &entries[0]);
            let built = build(&merged);
            let bytes = to_bytes(&built).unwrap();
            let read = parse(Some(&std::str::from_utf8(&bytes).unwrap().parse().unwrap()));
            proptest::prop_assert!(!read.truncated);
            let own = read.entries[0].clone();
            proptest::prop_assert_eq!(to_bytes(&build(&merge(read.entries.iter(), &own))).unwrap(), bytes);
        }
    }

    #[test]
    fn foreign_and_broken_parts_are_passed_over() {
        let good = format!("<share_item hash='{}' name='n' size='5'/>", hash('a'));
        let address = "<ip_address address='192.0.2.1' port='9'/>";
        let table = [
            // (content, what is understood)
            (
                format!("<resource resource='r' new='1'>{good}<new/>{address}<x xmlns='urn:other'/></resource>"),
                "r[n=5|192.0.2.1:9]",
            ),
            (
                format!("<resource resource='r'>{good}</resource><resource resource='r'>{address}</resource>"),
                "r[|192.0.2.1:9]",
            ),
            (format!("<resource>{good}</resource>"), "[n=5|]"),
            (format!("{good}<resource resource='r'/>"), "r[|]"),
            (format!("<resource resource='{}'>{good}</resource>", "r".repeat(1024)), ""),
            (format!("<resource resource='r\u{9b}2J'>{good}</resource>"), ""),
            (format!("<resource xmlns='urn:other' resource='r'>{good}</resource>"), ""),
            ("<resource resource='r'><share_item hash='' name='n' size='5'/></resource>".into(), "r[|]"),
            (format!("<resource resource='r'><share_item hash='{}'/></resource>", hash('B')), "r[=0|]"),
            (
                format!("<resource resource='r'><share_item hash='{}' size='-1' name='m'/></resource>", hash('a')),
                "r[m=0|]",
            ),
            (
                format!(
                    "<resource resource='r'><share_item hash='{}' size='18446744073709551616'/></resource>",
                    hash('a')
                ),
                "r[=0|]",
            ),
            ("<resource resource='r'><ip_address address='example.org' port='9'/></resource>".into(), "r[|]"),
            ("<resource resource='r'><ip_address address='[::1]' port='9'/></resource>".into(), "r[|]"),
            ("<resource resource='r'><ip_address address='192.0.2.1' port='99999'/></resource>".into(), "r[|]"),
            ("<resource resource='r'><ip_address address='192.0.2.1' port='x'/></resource>".into(), "r[|]"),
            ("<resource resource='r'><ip_address address='192.0.2.1'/></resource>".into(), "r[|]"),
            ("<resource resource='r'><ip_address address='fe80::1%eth0' port='9'/></resource>".into(), "r[|]"),
        ];
        for (content, understood) in table {
            assert_eq!(read(&content), understood, "{content}");
        }
    }

    #[test]
    fn a_foreign_payload_or_none_is_an_empty_list() {
        assert_eq!(parse(None), AccountList::default());
        assert_eq!(parse(Some(&"<user_shares xmlns='urn:other'/>".parse().unwrap())), AccountList::default());
    }

    #[test]
    fn hostile_lists_are_cut() {
        let item = format!("<share_item hash='{}' name='{}' size='5'/>", hash('a'), "é".repeat(1000));
        let many = format!("<resource resource='r'>{}</resource>", item.repeat(MAX_INLINE_SHARES + 1));
        let payload: Element = format!("<user_shares xmlns='{NODE}'>{many}</user_shares>").parse().unwrap();
        let list = parse(Some(&payload));
        assert!(list.truncated && list.entries[0].shares.len() == MAX_INLINE_SHARES);
        assert_eq!(list.entries[0].shares[0].name.len(), MAX_WIRE_NAME);
        let resources: String = (0..100).map(|n| format!("<resource resource='{n}'/>")).collect();
        let payload: Element = format!("<user_shares xmlns='{NODE}'>{resources}</user_shares>").parse().unwrap();
        assert_eq!(parse(Some(&payload)).entries.len(), MAX_RESOURCES_PER_CONTACT);
    }

    #[test]
    fn a_merge_keeps_the_others_and_replaces_the_own_entry() {
        let others = [
            entry("old", vec![share('b', "theirs", 1)], &["192.0.2.2:2"]),
            entry("me", vec![share('c', "before", 1)], &["192.0.2.1:1"]),
            entry("idle", vec![], &["192.0.2.3:3"]),
        ];
        let own = entry("me", vec![share('a', "now", 1)], &["192.0.2.1:1"]);
        let merged = merge(others.iter(), &own);
        let told = tell(&AccountList { entries: merged, truncated: false });
        assert_eq!(told, "me[now=1|192.0.2.1:1] old[theirs=1|192.0.2.2:2]");
        let goodbye = merge(others.iter(), &entry("me", vec![], &[]));
        assert_eq!(tell(&AccountList { entries: goodbye, truncated: false }), "old[theirs=1|192.0.2.2:2]");
    }

    #[test]
    fn too_long_a_list_is_cut_to_its_limit() {
        let shares: Vec<Share> = (0..2000).map(|_| share('a', &"&".repeat(30), 1)).collect();
        let (fitted, size) = fit(entry("r", shares, &["192.0.2.1:1"]), 60_000);
        assert!((200..500).contains(&fitted.shares.len()), "{}", fitted.shares.len());
        assert!(size <= 60_000 && written_len(&build(&[fitted])) <= size);
    }
}
