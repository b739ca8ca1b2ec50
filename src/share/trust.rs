//! Which announced addresses may be connected to.
//!
//! A contact's list is only a claim: it could name a victim on the internet, a service on this machine or a printer in
//! this network. So addresses that are never a BitTorrent peer's are refused, private ones count only where this machine
//! has an interface in that subnet, and the number per resource is bounded. The filter decides and connects nothing;
//! pacing and giving up after failures is the swarm's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

use crate::types::{Address, MAX_ADDRESSES_PER_RESOURCE, embedded_v4};

/// Ports below this one belong to the system's services and are refused unless allowed.
const FIRST_USER_PORT: u16 = 1024;

/// Why an announced address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Port 0 is no port.
    #[error("port 0")]
    NoPort,
    /// A port of the system's services.
    #[error("port below 1024")]
    LowPort,
    /// Unspecified, reserved, multicast or broadcast: never one machine's address.
    #[error("not the address of a machine")]
    NotUnicast,
    /// This machine itself, and that is not allowed.
    #[error("loopback address")]
    Loopback,
    /// A private address outside the networks of this machine.
    #[error("private address of another network")]
    ForeignPrivate,
    /// A link-local address, which says nothing without an interface.
    #[error("link-local address")]
    LinkLocal,
}

/// A network this machine has an interface in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    ip: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The subnet of an interface with this address and prefix length; lengths beyond the family's are cut.
    #[must_use]
    pub fn new(ip: IpAddr, prefix: u8) -> Self {
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        Self { ip, prefix: prefix.min(longest) }
    }

    /// Whether the address lies in this subnet.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            _ => false,
        }
    }

    /// The last address of an IPv4 subnet reaches all of its machines.
    fn is_broadcast(&self, ip: Ipv4Addr) -> bool {
        let host_bits = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
        self.prefix < 31 && self.contains(ip.into()) && ip.to_bits() & host_bits == host_bits
    }
}

/// The rules for announced addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressFilter {
    /// `allow_loopback_peers`: several nodes on one machine.
    pub allow_loopback: bool,
    /// Connect to ports below 1024 too.
    pub allow_low_ports: bool,
    /// The networks of this machine's interfaces.
    pub subnets: Vec<Subnet>,
}

impl AddressFilter {
    /// Judges one address.
    ///
    /// # Errors
    /// The reason why it must not be connected to.
    pub fn check(&self, socket: SocketAddr) -> Result<(), Refusal> {
        match socket.port() {
            0 => return Err(Refusal::NoPort),
            port if port < FIRST_USER_PORT && !self.allow_low_ports => return Err(Refusal::LowPort),
            _ => {}
        }
        match socket {
            SocketAddr::V4(v4) => self.check_v4(*v4.ip()),
            // With an interface it says something; no announcement names one, only a stream in the local network has it.
            SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() != 0 => Ok(()),
            SocketAddr::V6(v6) => self.check_v6(*v6.ip()),
        }
    }

    /// The announced addresses that may be connected to: none twice, IPv6 first, at most
    /// [`MAX_ADDRESSES_PER_RESOURCE`].
    #[must_use]
    pub fn usable(&self, announced: &[Address]) -> Vec<SocketAddr> {
        let mut usable: Vec<SocketAddr> = Vec::new();
        for address in announced.iter().take(MAX_ADDRESSES_PER_RESOURCE) {
            let socket = match address.socket {
                SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => address.socket,
                other => SocketAddr::new(other.ip().to_canonical(), other.port()),
            };
            if self.check(socket).is_ok() && !usable.contains(&socket) {
                usable.push(socket);
            }
        }
        let (mut sorted, v4): (Vec<_>, Vec<_>) = usable.into_iter().partition(SocketAddr::is_ipv6);
        sorted.extend(v4);
        sorted
    }

    fn check_v4(&self, ip: Ipv4Addr) -> Result<(), Refusal> {
        let [first, second, ..] = ip.octets();
        if ip.is_loopback() {
            return if self.allow_loopback { Ok(()) } else { Err(Refusal::Loopback) };
        }
        if first == 0 || first >= 240 || ip.is_multicast() || self.subnets.iter().any(|net| net.is_broadcast(ip)) {
            return Err(Refusal::NotUnicast);
        }
        let carrier_grade = first == 100 && second & 0b1100_0000 == 64; // RFC 6598
        if (ip.is_private() || ip.is_link_local() || carrier_grade) && !self.is_near(ip.into()) {
            return Err(Refusal::ForeignPrivate);
        }
        Ok(())
    }

    fn check_v6(&self, ip: Ipv6Addr) -> Result<(), Refusal> {
        if ip.is_loopback() {
            return if self.allow_loopback { Ok(()) } else { Err(Refusal::Loopback) };
        }
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(Refusal::NotUnicast);
        }
        if ip.is_unicast_link_local() {
            return Err(Refusal::LinkLocal);
        }
        if let Some(inner) = embedded_v4(ip) {
            return self.check_v4(inner);
        }
        let unique_local = ip.is_unique_local() || ip.segments()[0] & 0xffc0 == 0xfec0; // site-local: RFC 3879
        if unique_local && !self.is_near(ip.into()) {
            return Err(Refusal::ForeignPrivate);
        }
        Ok(())
    }

    fn is_near(&self, ip: IpAddr) -> bool {
        self.subnets.iter().any(|net| net.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::AddressKind;

    fn filter() -> AddressFilter {
        let net = |ip: &str, prefix| Subnet::new(ip.parse().unwrap(), prefix);
        AddressFilter { subnets: vec![net("192.168.7.9", 24), net("fd00:1::9", 64)], ..AddressFilter::default() }
    }

    #[test]
    fn each_kind_of_address_gets_its_verdict() {
        use Refusal::*;
        let table = [
            ("203.0.113.4:51413", Ok(())),
            ("[2001:db8::4]:51413", Ok(())),
            ("203.0.113.4:0", Err(NoPort)),
            ("203.0.113.4:443", Err(LowPort)),
            ("203.0.113.4:1023", Err(LowPort)),
            ("203.0.113.4:1024", Ok(())),
            ("0.0.0.0:6881", Err(NotUnicast)),
            ("0.1.2.3:6881", Err(NotUnicast)),
            ("224.0.0.251:5353", Err(NotUnicast)),
            ("255.255.255.255:6881", Err(NotUnicast)),
            ("240.0.0.1:6881", Err(NotUnicast)),
            ("127.0.0.1:6881", Err(Loopback)),
            ("127.9.9.9:6881", Err(Loopback)),
            ("[::1]:6881", Err(Loopback)),
            ("[::]:6881", Err(NotUnicast)),
            ("[ff02::fb]:5353", Err(NotUnicast)),
            ("[fe80::1]:6881", Err(LinkLocal)),
            ("[fe80::1%3]:6881", Ok(())),
            ("192.168.7.200:6881", Ok(())),
            ("192.168.7.255:6881", Err(NotUnicast)),
            ("192.168.8.1:6881", Err(ForeignPrivate)),
            ("10.0.0.1:6881", Err(ForeignPrivate)),
            ("172.16.0.1:6881", Err(ForeignPrivate)),
            ("169.254.1.1:6881", Err(ForeignPrivate)),
            ("100.64.0.1:6881", Err(ForeignPrivate)),
            ("100.128.0.1:6881", Ok(())),
            ("[fd00:1::5]:6881", Ok(())),
            ("[fd00:2::5]:6881", Err(ForeignPrivate)),
            ("[::ffff:127.0.0.1]:6881", Err(Loopback)),
            ("[::ffff:10.0.0.1]:6881", Err(ForeignPrivate)),
            ("[64:ff9b::a00:1]:6881", Err(ForeignPrivate)),
            ("[2002:7f00:1::]:6881", Err(Loopback)),
        ];
        for (text, verdict) in table {
            assert_eq!(filter().check(text.parse().unwrap()), verdict, "{text}");
        }
    }

    #[test]
    fn switches_open_loopback_and_low_ports() {
        let open = AddressFilter { allow_loopback: true, allow_low_ports: true, ..filter() };
        assert_eq!(open.check("127.0.0.1:80".parse().unwrap()), Ok(()));
        assert_eq!(open.check("[::1]:80".parse().unwrap()), Ok(()));
        assert_eq!(open.check("127.0.0.1:0".parse().unwrap()), Err(Refusal::NoPort));
    }

    #[test]
    fn the_usable_ones_are_few_distinct_and_ipv6_first() {
        let address = |text: &str| Address { socket: text.parse().unwrap(), kind: AddressKind::Unknown };
        let mut announced = vec![
            address("203.0.113.4:5000"),
            address("[::ffff:203.0.113.4]:5000"),
            address("127.0.0.1:5000"),
            address("[2001:db8::1]:5000"),
        ];
        let usable = filter().usable(&announced);
        assert_eq!(usable, ["[2001:db8::1]:5000".parse().unwrap(), "203.0.113.4:5000".parse().unwrap()]);
        announced.extend((0..10_000u16).map(|n| address(&format!("203.0.113.9:{}", 2000 + n))));
        assert!(filter().usable(&announced).len() <= MAX_ADDRESSES_PER_RESOURCE);
    }

    #[test]
    fn subnets_of_every_length_work() {
        let all = Subnet::new("10.0.0.1".parse().unwrap(), 0);
        assert!(all.contains("203.0.113.1".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
        let one = Subnet::new("::1".parse().unwrap(), 200);
        assert!(one.contains("::1".parse().unwrap()) && !one.contains("::2".parse().unwrap()));
    }
}
