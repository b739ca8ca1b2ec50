//! What is wrong with what somebody announces, said once. Pure.
//!
//! The limits hold without a word: what is too much is cut, what makes no sense is passed over. So that a user can find
//! out who is broken or means harm, the first time in an hour is told with JID and reason. Whoever wants to fill a log
//! this way needs as many JIDs as lines, and there are not many lines. Those about contacts are counted apart: anybody can
//! have many JIDs, and must not silence what is to be said of a contact.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jid::BareJid;
use minidom::Element;

use crate::types::{InfoHash, MAX_ADDRESSES_PER_RESOURCE, SortedMap, SortedSet, embedded_v4, is_unprintable};

/// The same is not said again for this long.
const PAUSE: Duration = Duration::from_secs(3600);
/// Complaints within that time, about all contacts together.
const MAX_COMPLAINTS: usize = 64;
/// The same about everybody else.
const MAX_ABOUT_STRANGERS: usize = 16;
/// Ports below this one belong to the system's services.
const FIRST_USER_PORT: u16 = 1024;
/// How deep rows lie in an item: `<merged>`, `<shares>`, `<share>`, or as deep in the original's format.
const DEPTH: usize = 4;

/// What somebody does that they should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// More shares than are kept of anybody.
    TooManyShares,
    /// More addresses than are kept of one resource.
    TooManyAddresses,
    /// An info hash that is none.
    BadHash,
    /// A size that is no number of bytes.
    BadSize,
    /// A name with characters that nobody sees.
    BadName,
    /// An address that is never a BitTorrent peer's: it is not connected to.
    BadAddress,
    /// More changes than anybody has a reason for.
    TooFast,
    /// Announcements, without being a contact, or by a message of one's own making.
    Stranger,
    /// Changes of the contact list, which only the own server may send.
    ForgedRoster,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyShares => "announces more shares than are kept of one contact; the rest is left out",
            Self::TooManyAddresses => "announces more addresses than are kept of one contact; the rest is left out",
            Self::BadHash => "announces shares without a usable info hash; they are left out",
            Self::BadSize => "announces shares whose size makes no sense",
            Self::BadName => "announces names with characters that cannot be seen; they are taken out",
            Self::BadAddress => "announces addresses that can be no peer's; they are not connected to",
            Self::TooFast => "announces changes too fast; only some of them are looked at",
            Self::Stranger => "announces shares and is no contact, or not through its server; nothing of it is kept",
            Self::ForgedRoster => "sends changes of the contact list, which is not its to change; nothing is done",
        })
    }
}

impl Reason {
    /// Nobody has to be a contact for it.
    const fn is_a_strangers(self) -> bool {
        matches!(self, Self::Stranger | Self::ForgedRoster)
    }
}

/// What the user allows that is otherwise a reason to complain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Contacts on this very machine.
    pub loopback: bool,
    /// Ports of the system's services.
    pub low_ports: bool,
}

/// Who was complained about lately.
#[derive(Debug, Default)]
pub struct Complaints {
    said: SortedMap<(BareJid, Reason), Instant>,
}

impl Complaints {
    /// The line to say, unless it was said lately or too much has been said.
    pub fn complain(&mut self, now: Instant, jid: &BareJid, reason: Reason) -> Option<String> {
        self.said.retain(|_, at| now < *at + PAUSE);
        let about = (jid.clone(), reason);
        let most = if reason.is_a_strangers() { MAX_ABOUT_STRANGERS } else { MAX_COMPLAINTS };
        let alike = self.said.keys().filter(|(_, said)| said.is_a_strangers() == reason.is_a_strangers());
        if self.said.contains_key(&about) || alike.count() >= most {
            return None;
        }
        self.said.insert(about, now);
        Some(format!("{jid} {reason}"))
    }

    /// What this one did until now in good faith is no reason to complain for a while.
    pub fn excuse(&mut self, now: Instant, jid: &BareJid, reason: Reason) {
        let _ = self.complain(now, jid, reason);
    }
}

/// What is wrong with an announced item, in either format.
#[must_use]
pub fn about(payload: &Element, rules: AddressRules) -> SortedSet<Reason> {
    let mut reasons = SortedSet::new();
    look_at(payload, rules, DEPTH, &mut reasons);
    reasons
}

fn look_at(element: &Element, rules: AddressRules, depth: usize, reasons: &mut SortedSet<Reason>) {
    match element.name() {
        "share" | "share_item" => reasons.extend(about_share(element)),
        "address" | "ip_address" if !is_peers_address(element, rules) => {
            reasons.insert(Reason::BadAddress);
        }
        _ => {}
    }
    let mut addresses = 0;
    for child in element.children() {
        addresses += usize::from(matches!(child.name(), "address" | "ip_address"));
        if addresses > MAX_ADDRESSES_PER_RESOURCE {
            reasons.insert(Reason::TooManyAddresses);
            return;
        }
        if depth > 0 {
            look_at(child, rules, depth - 1, reasons);
        }
    }
}

fn about_share(share: &Element) -> impl Iterator<Item = Reason> {
    let hash = share.attr("hash").is_none_or(|text| text.parse::<InfoHash>().is_err());
    let size = share.attr("size").is_some_and(|text| text.parse::<u64>().is_err());
    let name = share.attr("name").is_some_and(|text| text.chars().any(is_unprintable));
    let found = [(hash, Reason::BadHash), (size, Reason::BadSize), (name, Reason::BadName)];
    found.into_iter().filter_map(|(is_so, reason)| is_so.then_some(reason))
}

/// Whether this could be a peer's address as far as that can be said anywhere; which private networks are near is not.
fn is_peers_address(element: &Element, rules: AddressRules) -> bool {
    let (Some(ip), Some(port)) = (element.attr("ip").or_else(|| element.attr("address")), element.attr("port")) else {
        // What has no address is not connected to either.
        return true;
    };
    let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), port.parse::<u16>()) else { return false };
    let ip = match ip {
        IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unspecified() => embedded_v4(v6).map_or(ip, IpAddr::V4),
        other => other,
    };
    let never = match ip {
        IpAddr::V4(v4) => matches!(v4.octets(), [0 | 224..=255, ..]),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    };
    // Programs that speak the original's format announce every interface, in good faith.
    let loopback = rules.loopback || element.name() == "ip_address";
    port != 0 && (port >= FIRST_USER_PORT || rules.low_ports) && !never && (!ip.is_loopback() || loopback)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;

    fn jid(n: usize) -> BareJid {
        BareJid::new(&format!("c{n}@example.org")).unwrap()
    }

    #[test]
    fn each_thing_is_said_once_an_hour_and_not_too_much_in_all() {
        let now = Instant::now();
        let mut complaints = Complaints::default();
        let line = complaints.complain(now, &jid(0), Reason::TooFast).unwrap();
        assert!(line.starts_with("c0@example.org announces changes too fast"), "{line}");
        assert_eq!(complaints.complain(now, &jid(0), Reason::TooFast), None);
        assert!(complaints.complain(now, &jid(0), Reason::BadName).is_some());
        assert!(complaints.complain(now + PAUSE, &jid(0), Reason::TooFast).is_some());
        let mut said =
            |reason| (0..1000).filter(|n| complaints.complain(now + PAUSE, &jid(*n), reason).is_some()).count();
        assert_eq!(said(Reason::ForgedRoster) + said(Reason::Stranger), MAX_ABOUT_STRANGERS);
        assert_eq!(said(Reason::TooFast), MAX_COMPLAINTS - 1, "strangers silence nothing about contacts");
    }

    fn wrong(children: &str) -> Vec<Reason> {
        let xml = format!("<merged xmlns='urn:x'><shares>{children}</shares></merged>");
        about(&xml.parse().unwrap(), AddressRules::default()).into_iter().collect()
    }

    fn share(size: &str, name: &str) -> String {
        format!("<share hash='{}' size='{size}' name='{name}'/>", "a".repeat(40))
    }

    #[test]
    fn good_rows_are_no_reason_to_complain() {
        let share = share("18446744073709551615", "Füße &amp; 👩\u{200d}👧");
        let addresses = "<address ip='203.0.113.7' port='51413'/><address ip='2001:db8::1' port='1024'/>";
        assert_eq!(wrong(&format!("{share}{addresses}")), Vec::new());
        let most = "<address ip='10.0.0.1' port='2000'/>".repeat(MAX_ADDRESSES_PER_RESOURCE);
        assert_eq!(wrong(&most), Vec::new());
    }

    #[test]
    fn bad_rows_are() {
        for size in ["-1", "18446744073709551616", "x", ""] {
            assert_eq!(wrong(&share(size, "n")), [Reason::BadSize], "{size}");
        }
        assert_eq!(wrong(&share("1", "a\u{202e}gpj.exe")), [Reason::BadName]);
        assert_eq!(wrong("<share/><share hash='zz'/>"), [Reason::BadHash]);
        let many = "<address ip='10.0.0.1' port='2000'/>".repeat(10_000);
        assert_eq!(wrong(&many), [Reason::TooManyAddresses]);
        for (ip, port) in [
            ("10.0.0.1", "0"),
            ("10.0.0.1", "22"),
            ("10.0.0.1", "65536"),
            ("127.0.0.1", "2000"),
            ("::1", "2000"),
            ("::ffff:127.0.0.1", "2000"),
            ("0.0.0.0", "2000"),
            ("224.0.0.1", "2000"),
            ("255.255.255.255", "2000"),
            ("ff02::1", "2000"),
            ("localhost", "2000"),
        ] {
            let reasons = wrong(&format!("<address ip='{ip}' port='{port}'/>"));
            assert_eq!(reasons, [Reason::BadAddress], "{ip} {port}");
        }
        let allowed = AddressRules { loopback: true, low_ports: true };
        let local = "<a xmlns='urn:x'><address ip='127.0.0.1' port='22'/></a>".parse().unwrap();
        assert!(about(&local, allowed).is_empty());
    }
}
