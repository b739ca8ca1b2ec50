//! bitween's own nodes: how a resource can be reached, and what it shares.
//!
//! Each resource owns its items, so resources of one account never overwrite each other.
//!
//! * Node [`ENDPOINT_NODE`]: item id = resource, payload `<endpoint resource= software= ipv4= ipv6= seen=>` with
//!   `<address ip= port= kind=/>` and at most one `<certificate fingerprint=/>`. `seen` is the day on which the resource
//!   was last there, in Unix time.
//! * Node [`SHARES_NODE`]: payload `<shares resource= revision= part= parts= count=>` with `<share hash= name= size=
//!   files= have=/>`; the revision is a hash of the list. In the place of a list that does not fit into one item stands
//!   `<catalog hash= size=/>`: the list is a torrent (see [`catalog`](crate::share::catalog)), to be fetched from the
//!   resource's addresses, and count is the number of shares in it. A list may also continue in the items `resource/2`,
//!   `resource/3`, ..; then all parts carry the same revision and the number of parts, and a reader shows a new revision
//!   once it has all of them. This program reads such lists and does not write them.
//! * `gone='true'` on either: the resource says goodbye; what it shared stands but is not available.
//! * Where a server keeps one item only, the item `current` holds a `<merged>` with the payloads of all resources.
//!
//! Readers pass over what they do not know. Parts are put together in [`super::lists`].

use std::net::{IpAddr, SocketAddr};

use minidom::Element;
use sha1::{Digest, Sha1};

use super::shares_original::{cut, written_len};
use super::stanza::resource_name;
use super::xml::{Build, element};
use crate::types::{
    Address, AddressKind, Catalog, Endpoint, MAX_ADDRESSES_PER_RESOURCE, MAX_INLINE_SHARES, MAX_LABEL_LEN,
    MAX_NAME_LEN, MAX_RESOURCES_PER_CONTACT, Share, display_name,
};

/// The node, and namespace, of the share lists.
pub const SHARES_NODE: &str = "urn:bitween:shares:0";
/// The node, and namespace, of the endpoints.
pub const ENDPOINT_NODE: &str = "urn:bitween:endpoint:0";
/// Id of the one item where a server keeps no more.
pub const MERGED_ID: &str = "current";
/// Bytes of one part's payload, at most.
pub const PART_LIMIT: usize = 32 * 1024;
/// Parts of one list that are read, at most.
pub const MAX_PARTS: u16 = 64;
/// Bytes kept of a revision and of a fingerprint.
const MAX_TOKEN: usize = 128;
/// Digits of a revision that this program writes.
const REVISION_LEN: usize = 16;
/// Bytes that the `<shares>` element itself takes besides the resource name.
const PART_OVERHEAD: usize = 160;

/// One part of a resource's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPart {
    /// XMPP resource it speaks for.
    pub resource: String,
    /// Names the state of the list; equal in all of its parts.
    pub revision: String,
    /// Which part this is, from 1.
    pub part: u16,
    /// How many there are.
    pub parts: u16,
    /// The shares of this part.
    pub shares: Vec<Share>,
    /// The list itself is a torrent.
    pub catalog: Option<Catalog>,
    /// The resource says goodbye.
    pub gone: bool,
    /// It held more than the limits allow.
    pub truncated: bool,
}

/// Does the list stand in an item of at most `limit` bytes? Looks at no more shares than fit.
#[must_use]
pub fn fits(resource: &str, shares: &[Share], limit: usize) -> bool {
    shares.len() <= MAX_INLINE_SHARES && fitting(resource, shares, limit).len() == shares.len()
}

/// A resource's list in one item of at most `limit` bytes, and how many shares were left out because they do not fit.
#[must_use]
pub fn build_list(resource: &str, shares: &[Share], limit: usize) -> (Element, usize) {
    let built = fitting(resource, shares, limit);
    let left_out = shares.len() - built.len();
    let written = shares.get(..built.len()).unwrap_or_default();
    (whole(resource, &revision(written), shares.len() as u64).containing_all(built), left_out)
}

/// What stands in the place of a resource's list that is to be fetched.
#[must_use]
pub fn build_catalog(resource: &str, catalog: &Catalog) -> Element {
    let hash = catalog.info_hash.to_string();
    let revision = hash.get(..REVISION_LEN).unwrap_or_default();
    let built = element("catalog", SHARES_NODE).with("hash", &hash).with("size", catalog.size.to_string());
    whole(resource, revision, catalog.count).containing_all([built])
}

/// As many of the first shares as fit into an item of `limit` bytes.
fn fitting(resource: &str, shares: &[Share], limit: usize) -> Vec<Element> {
    let mut room = limit.saturating_sub(PART_OVERHEAD + 6 * resource.len());
    let fits = |built: &Element| {
        let left = room.checked_sub(written_len(built));
        room = left.unwrap_or_default();
        left.is_some()
    };
    shares.iter().take(MAX_INLINE_SHARES).map(build_share).take_while(fits).collect()
}

/// The item of a list that has one part, without the shares.
fn whole(resource: &str, revision: &str, count: u64) -> Element {
    let shares = element("shares", SHARES_NODE).with("resource", resource).with("revision", revision);
    shares.with("part", "1").with("parts", "1").with("count", count.to_string())
}

/// The item with which a resource says goodbye on [`SHARES_NODE`].
#[must_use]
pub fn build_gone(resource: &str) -> Element {
    let shares = element("shares", SHARES_NODE).with("resource", resource).with("revision", "gone");
    shares.with("part", "1").with("parts", "1").with("count", "0").with("gone", "true")
}

/// A resource's endpoint.
#[must_use]
pub fn build_endpoint(resource: &str, endpoint: &Endpoint) -> Element {
    let address = |address: &Address| {
        let built = element("address", ENDPOINT_NODE).with("ip", address.socket.ip().to_string());
        built.with("port", address.socket.port().to_string()).with_some("kind", kind_name(address.kind))
    };
    let certificate =
        endpoint.certificate.as_ref().map(|f| element("certificate", ENDPOINT_NODE).with("fingerprint", f));
    element("endpoint", ENDPOINT_NODE)
        .with("resource", resource)
        .with("software", &endpoint.software)
        .with("ipv4", endpoint.ipv4.to_string())
        .with("ipv6", endpoint.ipv6.to_string())
        .with_some("seen", endpoint.seen.map(|day| day.to_string()))
        .containing_all(endpoint.addresses.iter().take(MAX_ADDRESSES_PER_RESOURCE).map(address))
        .containing_all(certificate)
}

/// The item with which a resource says goodbye on [`ENDPOINT_NODE`].
#[must_use]
pub fn build_endpoint_gone(resource: &str, seen: Option<u64>) -> Element {
    let seen = seen.map(|day| day.to_string());
    element("endpoint", ENDPOINT_NODE).with("resource", resource).with("gone", "true").with_some("seen", seen)
}

/// The day, in Unix time, on which the resource of an `<endpoint>` was last there, if it says so.
#[must_use]
pub fn seen(payload: &Element) -> Option<u64> {
    payload.attr("seen")?.parse().ok()
}

/// The payloads of several resources in one item of `node`, for servers that keep no more than one.
#[must_use]
pub fn build_merged(node: &'static str, payloads: impl IntoIterator<Item = Element>) -> Element {
    element("merged", node).containing_all(payloads)
}

/// The payloads per resource in an item of `node`: the item's own one, or those merged in it. Paired with the resource.
pub fn payloads<'a>(node: &'static str, payload: Option<&'a Element>) -> Vec<(&'a str, &'a Element)> {
    let name = if node == ENDPOINT_NODE { "endpoint" } else { "shares" };
    let merged = payload.filter(|payload| payload.is("merged", node)).into_iter().flat_map(Element::children);
    let single = payload.into_iter();
    let all = single.chain(merged).filter(|child| child.is(name, node));
    let named = all.filter_map(|child| Some((child.attr("resource").and_then(resource_name)?, child)));
    named.take(MAX_RESOURCES_PER_CONTACT).collect()
}

/// Reads the `<shares>` of one resource. `None` if its numbers make no sense.
#[must_use]
pub fn parse_list(payload: &Element) -> Option<ListPart> {
    let number = |name: &str, default: u16| payload.attr(name).map_or(Some(default), |text| text.parse().ok());
    let (part, parts) = (number("part", 1)?, number("parts", 1)?);
    if part == 0 || part > parts || parts > MAX_PARTS {
        return None;
    }
    let items = || payload.children().filter(|child| child.is("share", SHARES_NODE)).filter_map(parse_share);
    let catalog = payload.get_child("catalog", SHARES_NODE).and_then(|catalog| {
        Some(Catalog {
            info_hash: catalog.attr("hash")?.parse().ok()?,
            size: catalog.attr("size")?.parse().ok()?,
            count: payload.attr("count").and_then(|count| count.parse().ok()).unwrap_or(0),
        })
    });
    Some(ListPart {
        resource: payload.attr("resource").unwrap_or_default().to_owned(),
        revision: cut(payload.attr("revision").unwrap_or_default(), MAX_TOKEN).to_owned(),
        part,
        parts,
        truncated: items().nth(MAX_INLINE_SHARES).is_some(),
        shares: items().take(MAX_INLINE_SHARES).collect(),
        catalog,
        gone: is_true(payload.attr("gone")),
    })
}

/// Reads the `<endpoint>` of one resource; `None` if it says goodbye.
#[must_use]
pub fn parse_endpoint(payload: &Element) -> Option<Endpoint> {
    if is_true(payload.attr("gone")) {
        return None;
    }
    let addresses = payload.children().filter(|child| child.is("address", ENDPOINT_NODE)).filter_map(parse_address);
    let certificate = payload.get_child("certificate", ENDPOINT_NODE).and_then(|child| child.attr("fingerprint"));
    Some(Endpoint {
        addresses: addresses.take(MAX_ADDRESSES_PER_RESOURCE).collect(),
        ipv4: is_true(payload.attr("ipv4")),
        ipv6: is_true(payload.attr("ipv6")),
        software: display_name(payload.attr("software").unwrap_or_default(), MAX_LABEL_LEN),
        certificate: certificate.map(|text| cut(text, MAX_TOKEN).to_owned()),
        seen: seen(payload),
    })
}

/// Hex digits, [`REVISION_LEN`] of them, that are the same for the same list.
fn revision(shares: &[Share]) -> String {
    let mut hasher = Sha1::new();
    for share in shares {
        hasher.update(share.info_hash.as_bytes());
        hasher.update(share.size.to_be_bytes());
        hasher.update(share.files.to_be_bytes());
        hasher.update([u8::from(share.complete)]);
        hasher.update(share.name.as_bytes());
        hasher.update([0xff]); // in no UTF-8 text, so names cannot run into what follows
    }
    hasher.finalize().iter().take(REVISION_LEN / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn build_share(share: &Share) -> Element {
    element("share", SHARES_NODE)
        .with("hash", share.info_hash.to_string())
        .with("name", cut(&share.name, MAX_NAME_LEN))
        .with("size", share.size.to_string())
        .with("files", share.files.to_string())
        .with_some("have", (!share.complete).then_some("part"))
}

fn parse_share(item: &Element) -> Option<Share> {
    Some(Share {
        info_hash: item.attr("hash")?.parse().ok()?,
        name: display_name(item.attr("name").unwrap_or_default(), MAX_NAME_LEN).into(),
        size: item.attr("size").and_then(|size| size.parse().ok()).unwrap_or(0),
        files: item.attr("files").and_then(|files| files.parse().ok()).unwrap_or(0),
        complete: item.attr("have") != Some("part"),
    })
}

fn parse_address(item: &Element) -> Option<Address> {
    let ip: IpAddr = item.attr("ip")?.parse().ok()?;
    let port: u16 = item.attr("port")?.parse().ok()?;
    let kind = match item.attr("kind") {
        Some("configured") => AddressKind::Configured,
        Some("mapped") => AddressKind::Mapped,
        Some("observed") => AddressKind::Observed,
        Some("local") => AddressKind::Local,
        Some("relay") => AddressKind::Relay,
        _ => AddressKind::Unknown,
    };
    Some(Address { socket: SocketAddr::new(ip, port), kind })
}

const fn kind_name(kind: AddressKind) -> Option<&'static str> {
    match kind {
        AddressKind::Configured => Some("configured"),
        AddressKind::Mapped => Some("mapped"),
        AddressKind::Observed => Some("observed"),
        AddressKind::Local => Some("local"),
        AddressKind::Relay => Some("relay"),
        AddressKind::Unknown => None,
    }
}

fn is_true(value: Option<&str>) -> bool {
    matches!(value, Some("true" | "1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::InfoHash;

    fn share(n: u32, name: &str) -> Share {
        let mut hash = [9; InfoHash::LEN];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        Share { info_hash: InfoHash::new(hash), name: name.into(), size: 1 << 40, files: n, complete: n > 5 }
    }

    /// Over the wire and back.
    fn carried(payload: &Element) -> Element {
        std::str::from_utf8(&super::super::xml::to_bytes(payload).unwrap()).unwrap().parse().unwrap()
    }

    #[test]
    fn a_list_that_fits_stands_in_one_item() {
        let shares: Vec<Share> =
            (0..150).map(|n| share(n, &format!("Holiday & more <{n}> {}", "ü".repeat(15)))).collect();
        let (payload, left_out) = build_list("desk/1", &shares, PART_LIMIT);
        assert!(written_len(&payload) <= PART_LIMIT && left_out == 0);
        assert!(fits("desk/1", &shares, PART_LIMIT) && !fits("desk/1", &shares, written_len(&payload) - 1));
        let carried = carried(&payload);
        let found = payloads(SHARES_NODE, Some(&carried));
        let part = parse_list(found[0].1).unwrap();
        assert_eq!((found.len(), part.part, part.parts, part.resource.as_str()), (1, 1, 1, "desk/1"));
        assert_eq!((part.revision.as_str(), part.shares), (revision(&shares).as_str(), shares));
    }

    #[test]
    fn a_catalog_stands_in_the_place_of_a_list() {
        let catalog = Catalog { info_hash: InfoHash::new([0xab; 20]), size: 8 << 20, count: 100_000 };
        let payload = build_catalog("desk", &catalog);
        assert!(written_len(&payload) < 300, "{}", written_len(&payload));
        let part = parse_list(&carried(&payload)).unwrap();
        assert_eq!(
            (part.catalog, part.revision.as_str(), part.truncated),
            (Some(catalog), "ab".repeat(8).as_str(), false)
        );
    }

    proptest::proptest! {
        #[test]
        fn any_list_comes_back_as_it_is_shown(
            names in proptest::collection::vec(".{0,300}", 0..40), resource in ".{1,40}", limit in 1_000_usize..40_000,
        ) {
            let shares: Vec<Share> = (0..).zip(&names).map(|(n, name)| share(n, name)).collect();
            let (payload, left_out) = build_list(&resource, &shares, limit);
            let back = parse_list(&carried(&payload)).unwrap().shares;
            let shown = |share: &Share| {
                let name = super::super::xml::clean(cut(&share.name, MAX_NAME_LEN)).into_owned();
                Share { name: display_name(&name, MAX_NAME_LEN).into(), ..share.clone() }
            };
            let expected: Vec<Share> = shares.iter().take(shares.len() - left_out).map(shown).collect();
            proptest::prop_assert_eq!(back, expected);
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let shares: Vec<Share> = (0..1000).map(|n| share(n, "x")).collect();
        let (payload, left_out) = build_list("r", &shares, 6000);
        let kept = payload.children().count();
        assert!(left_out > 0 && kept > 20 && kept + left_out == 1000);
        assert!(written_len(&payload) <= 6000);
    }

    #[test]
    fn the_revision_follows_the_list() {
        let one = [share(1, "a")];
        assert_eq!(revision(&one), revision(&[share(1, "a")]));
        assert_ne!(revision(&one), revision(&[share(1, "b")]));
        assert_ne!(revision(&one), revision(&[]));
        assert!(parse_list(&build_list("r", &[], PART_LIMIT).0).unwrap().shares.is_empty());
    }

    #[test]
    fn an_endpoint_travels_whole() {
        let address = |text: &str, kind| Address { socket: text.parse().unwrap(), kind };
        let endpoint = Endpoint {
            addresses: vec![
                address("192.0.2.1:5", AddressKind::Local),
                address("[2001:db8::1]:6", AddressKind::Configured),
                address("192.0.2.2:7", AddressKind::Unknown),
            ],
            ipv4: true,
            ipv6: false,
            software: "bitween 0.1.0".into(),
            certificate: Some("ab:cd".into()),
            seen: Some(86_400),
        };
        assert_eq!(parse_endpoint(&carried(&build_endpoint("r", &endpoint))), Some(endpoint));
        assert_eq!(parse_endpoint(&carried(&build_endpoint_gone("r", None))), None);
        assert!(parse_list(&carried(&build_gone("r"))).unwrap().gone);
    }

    #[test]
    fn readers_pass_over_what_they_do_not_know() {
        let hash = "a".repeat(40);
        let read = |attributes: &str, inside: &str| {
            let text = format!("<shares xmlns='{SHARES_NODE}' resource='r' {attributes}>{inside}</shares>");
            parse_list(&text.parse().unwrap())
        };
        let part =
            read("new='1'", &format!("<new/><share hash='{hash}' new='2'><sub/></share><share hash='?'/>")).unwrap();
        assert_eq!((part.part, part.parts, part.shares.len(), part.truncated), (1, 1, 1, false));
        assert_eq!((part.shares[0].size, &*part.shares[0].name), (0, ""));
        for wrong in ["part='0'", "part='2'", "part='2' parts='1'", "part='x'", "parts='65'", "parts='70000'"] {
            assert_eq!(read(wrong, ""), None, "{wrong}");
        }
        let catalog = read("revision='7' count='100000'", &format!("<catalog hash='{hash}' size='9'/>")).unwrap();
        assert_eq!(catalog.catalog.map(|catalog| (catalog.size, catalog.count)), Some((9, 100_000)));
    }

    #[test]
    fn a_merged_item_speaks_for_several_resources() {
        let gone = build_endpoint_gone("b", Some(86_400));
        let merged = build_merged(ENDPOINT_NODE, [build_endpoint("a", &Endpoint::default()), gone.clone()]);
        let names: Vec<_> = payloads(ENDPOINT_NODE, Some(&merged)).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(payloads(ENDPOINT_NODE, Some(&gone)).len(), 1);
        assert!(payloads(SHARES_NODE, Some(&merged)).is_empty() && payloads(SHARES_NODE, None).is_empty());
    }
}
