//! Whom an address speaks for: what limits and bans count by.

use std::net::{IpAddr, Ipv6Addr};

/// One machine or household as far as addresses tell: an IPv4 address, or the /64 of an IPv6 address, of which anybody
/// who has one address has 2^64 (RFC 4291 section 2.5.4). Loopback and link-local addresses, which are not handed out
/// by the network, stand for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(IpAddr);

impl Host {
    /// The host that an address belongs to. An IPv4 address in IPv6 clothes (from a dual-stack socket) counts as what
    /// it is.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unicast_link_local() => {
                Self(Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into())
            }
            single => Self(single),
        }
    }

    /// Its address; of an IPv6 network the first one.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.0
    }

    /// This machine itself: many peers may live here, and none can be kept away by its address.
    #[must_use]
    pub const fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }
}

/// The network's half of an IPv6 address.
const NETWORK: u128 = u128::MAX << 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::of(text.parse().unwrap())
    }

    #[test]
    fn an_ipv6_network_is_one_host_and_each_ipv4_address_is_one() {
        assert_eq!(host("2001:db8:1:2::1"), host("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(host("2001:db8:1:2::1"), host("2001:db8:1:3::1"));
        assert_ne!(host("10.0.0.1"), host("10.0.0.2"));
        assert_eq!(host("::ffff:10.0.0.1"), host("10.0.0.1"));
    }

    #[test]
    fn neighbours_on_a_link_and_this_machine_stand_for_themselves() {
        assert_ne!(host("fe80::1"), host("fe80::2"));
        assert!(host("::1").is_loopback() && host("127.1.2.3").is_loopback() && host("::ffff:127.0.0.1").is_loopback());
        assert!(!host("::2").is_loopback());
    }
}
