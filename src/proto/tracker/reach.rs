//! Which addresses a tracker may have, by who named it.
//!
//! Anybody can write any URL into a torrent file or a magnet link, and a tracker can redirect anywhere. So an announce
//! could be turned into a request to a service that trusts its own machine or network. The name alone tells nothing:
//! what is judged here is each address that it was resolved to, at each hop, just before it is connected to.
//!
//! Trackers on one's own machine or network are in honest use, though. They are told from other services by their path,
//! which ends in `announce` as BEP 48 has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::types::embedded_v4;

/// From how far an address can be reached, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// This machine.
    Loopback,
    /// Machines on the same link (169.254/16, fe80::/10). In data centres, the machine's own credentials are there.
    LinkLocal,
    /// A private network: RFC 1918, RFC 6598, unique local.
    Private,
    /// Everywhere.
    Global,
}

/// Who wants a tracker to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamedBy {
    /// The user, by hand: nobody else is to be protected from.
    User,
    /// A torrent file or magnet link, which may come from anywhere.
    #[default]
    Torrent,
}

/// Why a tracker is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Forbidden {
    /// Multicast, broadcast, reserved.
    #[error("the tracker's name leads to an address that is no machine's")]
    NotUnicast,
    /// This machine, named by a torrent.
    #[error("the torrent names a tracker on this machine; only `allow_loopback_peers = true` lets it do so")]
    Loopback,
    /// A link-local address, named by a torrent.
    #[error("the torrent names a tracker at a link-local address, which only a user may do")]
    LinkLocal,
    /// A local service that is called like no tracker, named by a torrent.
    #[error("the torrent names a local service that is no tracker: the path does not end in `announce`")]
    NoTracker,
    /// Nearer than where the redirect came from.
    #[error("the tracker redirects into the local network")]
    Redirect,
}

/// The rules for one announce.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Who named the tracker.
    pub named_by: NamedBy,
    /// Torrents may name trackers on this machine.
    pub allow_loopback: bool,
}

/// One request of an announce: the first, or one that a redirect led to.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// Path and query of the URL; `None` where a path plays no role (UDP).
    pub path: Option<&'a str>,
    /// The reach of the host that redirected here.
    pub redirected_from: Option<Reach>,
}

impl Reach {
    /// The reach of an address; `None` if it is no single machine's. An IPv4 address inside an IPv6 one decides.
    #[must_use]
    pub fn of(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Option<Self> {
        let [first, second, ..] = ip.octets();
        let carrier_grade = first == 100 && second & 0b1100_0000 == 64; // RFC 6598
        if ip.is_loopback() || first == 0 {
            Some(Self::Loopback) // connecting to 0.0.0.0 reaches this machine
        } else if ip.is_multicast() || first >= 240 {
            None
        } else if ip.is_link_local() {
            Some(Self::LinkLocal)
        } else if ip.is_private() || carrier_grade {
            Some(Self::Private)
        } else {
            Some(Self::Global)
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Option<Self> {
        let [first, ..] = ip.segments();
        if ip.is_loopback() || ip.is_unspecified() {
            Some(Self::Loopback)
        } else if ip.is_multicast() {
            None
        } else if ip.is_unicast_link_local() {
            Some(Self::LinkLocal)
        } else if let Some(inner) = embedded_v4(ip) {
            Self::of_v4(inner)
        } else if ip.is_unique_local() || first & 0xffc0 == 0xfec0 {
            Some(Self::Private) // the latter is site-local: RFC 3879
        } else {
            Some(Self::Global)
        }
    }
}

impl Access {
    /// The addresses that may be asked, of those that the tracker's name was resolved to, and how far away they are.
    ///
    /// # Errors
    /// The reason for the first address if none may.
    pub fn usable(&self, hop: Hop<'_>, found: &[SocketAddr]) -> Result<(Vec<SocketAddr>, Reach), Forbidden> {
        let mut usable = Vec::new();
        let (mut farthest, mut refusal) = (Reach::Loopback, None);
        for addr in found {
            match self.check(hop, addr.ip()) {
                Ok(reach) => {
                    usable.push(*addr);
                    farthest = farthest.max(reach);
                }
                Err(reason) => refusal = refusal.or(Some(reason)),
            }
        }
        match refusal {
            Some(reason) if usable.is_empty() => Err(reason),
            _ => Ok((usable, farthest)),
        }
    }

    fn check(&self, hop: Hop<'_>, ip: IpAddr) -> Result<Reach, Forbidden> {
        let reach = Reach::of(ip).ok_or(Forbidden::NotUnicast)?;
        // Also for trackers that a user named: they meant that one, not whatever it points to.
        if hop.redirected_from.is_some_and(|from| reach < from) {
            return Err(Forbidden::Redirect);
        }
        match (self.named_by, reach) {
            (NamedBy::User, _) | (_, Reach::Global) => Ok(reach),
            (NamedBy::Torrent, Reach::Loopback) if !self.allow_loopback => Err(Forbidden::Loopback),
            (NamedBy::Torrent, Reach::LinkLocal) => Err(Forbidden::LinkLocal),
            _ if hop.path.is_none_or(is_trackers_path) => Ok(reach),
            _ => Err(Forbidden::NoTracker),
        }
    }
}

/// Whether a request for this path does no harm to a service that is no tracker: one that ends in `announce`
/// (`/announce.php` too), or the bare root.
fn is_trackers_path(path_and_query: &str) -> bool {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let root = matches!(path, "" | "/") && (query.is_empty() || query.starts_with("info_hash="));
    // An encoded slash could lead elsewhere.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    root || path.rsplit('/').next().is_some_and(|last| last.starts_with("announce") && last.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOUNCE: Hop<'_> = Hop { path: Some("/announce?x=1"), redirected_from: None };

    fn access(named_by: NamedBy, allow_loopback: bool) -> Access {
        Access { named_by, allow_loopback }
    }

    fn check(access: Access, hop: Hop<'_>, ip: &str) -> Result<Reach, Forbidden> {
        access.check(hop, ip.parse().unwrap())
    }

    #[test]
    fn every_kind_of_address_has_its_reach() {
        use Reach::{Global, LinkLocal, Loopback, Private};
        for (ip, reach) in [
            ("127.0.0.1", Some(Loopback)),
            ("127.255.0.9", Some(Loopback)),
            ("0.0.0.0", Some(Loopback)),
            ("::1", Some(Loopback)),
            ("::", Some(Loopback)),
            ("::ffff:127.0.0.1", Some(Loopback)),
            ("64:ff9b::7f00:1", Some(Loopback)),
            ("2002:7f00:1::", Some(Loopback)),
            ("169.254.169.254", Some(LinkLocal)),
            ("::ffff:169.254.169.254", Some(LinkLocal)),
            ("fe80::1", Some(LinkLocal)),
            ("10.1.2.3", Some(Private)),
            ("172.31.0.1", Some(Private)),
            ("192.168.1.1", Some(Private)),
            ("100.64.0.1", Some(Private)),
            ("fd00::1", Some(Private)),
            ("fec0::1", Some(Private)),
            ("172.32.0.1", Some(Global)),
            ("100.128.0.1", Some(Global)),
            ("2001:db8::1", Some(Global)),
            ("224.0.0.1", None),
            ("255.255.255.255", None),
            ("240.0.0.1", None),
            ("ff02::1", None),
        ] {
            assert_eq!(Reach::of(ip.parse().unwrap()), reach, "{ip}");
        }
    }

    #[test]
    fn a_torrent_may_name_local_trackers_only_where_they_are_called_so() {
        let torrent = access(NamedBy::Torrent, false);
        assert_eq!(check(torrent, ANNOUNCE, "127.0.0.1"), Err(Forbidden::Loopback));
        assert_eq!(check(torrent, ANNOUNCE, "169.254.169.254"), Err(Forbidden::LinkLocal));
        assert_eq!(check(torrent, ANNOUNCE, "192.168.1.1"), Ok(Reach::Private));
        let elsewhere = Hop { path: Some("/reboot?now=1"), ..ANNOUNCE };
        assert_eq!(check(torrent, elsewhere, "192.168.1.1"), Err(Forbidden::NoTracker));
        assert_eq!(check(torrent, elsewhere, "198.51.100.1"), Ok(Reach::Global));
        let open = access(NamedBy::Torrent, true);
        assert_eq!(check(open, ANNOUNCE, "127.0.0.1"), Ok(Reach::Loopback));
        assert_eq!(check(open, Hop { path: None, ..ANNOUNCE }, "::1"), Ok(Reach::Loopback));
        assert_eq!(check(open, elsewhere, "127.0.0.1"), Err(Forbidden::NoTracker));
        assert_eq!(check(open, ANNOUNCE, "fe80::1"), Err(Forbidden::LinkLocal));
    }

    #[test]
    fn a_user_may_name_any_machine_but_is_not_led_into_the_local_network() {
        let user = access(NamedBy::User, false);
        let anywhere = Hop { path: Some("/reboot"), redirected_from: None };
        for ip in ["127.0.0.1", "169.254.1.1", "10.0.0.1", "198.51.100.1"] {
            assert!(check(user, anywhere, ip).is_ok(), "{ip}");
        }
        assert_eq!(check(user, anywhere, "224.0.0.1"), Err(Forbidden::NotUnicast));
        let after = |from| Hop { redirected_from: Some(from), ..ANNOUNCE };
        assert_eq!(check(user, after(Reach::Global), "10.0.0.1"), Err(Forbidden::Redirect));
        assert_eq!(check(user, after(Reach::Private), "127.0.0.1"), Err(Forbidden::Redirect));
        assert_eq!(check(user, after(Reach::Private), "10.0.0.1"), Ok(Reach::Private));
        assert_eq!(check(user, after(Reach::Loopback), "10.0.0.1"), Ok(Reach::Private));
    }

    #[test]
    fn of_several_addresses_the_usable_ones_are_left() {
        let torrent = access(NamedBy::Torrent, false);
        let addrs = ["127.0.0.1:80", "198.51.100.1:80", "10.0.0.1:80"].map(|text| text.parse().unwrap());
        assert_eq!(torrent.usable(ANNOUNCE, &addrs), Ok((addrs[1..].to_vec(), Reach::Global)));
        assert_eq!(torrent.usable(ANNOUNCE, &addrs[..1]), Err(Forbidden::Loopback));
    }

    #[test]
    fn a_trackers_path_is_known_by_its_end() {
        for path in
            ["/announce", "/announce?a=b", "/secret/announce", "/announce.php?passkey=1", "", "/", "/?info_hash=x"]
        {
            assert!(is_trackers_path(path), "{path}");
        }
        for path in [
            "/reboot",
            "/announce/reboot",
            "/?cmd=reboot&info_hash=x",
            "/reboot?/announce",
            "/x/",
            "/announce%2F..%2Freboot",
        ] {
            assert!(!is_trackers_path(path), "{path}");
        }
    }
}
