//! The addresses of this node, as they are announced.
//!
//! Interfaces, port mappings, what others observed and what the user configured are set from outside whenever they
//! change; [`Addresses::list`] is what to announce: every IP with every port, filtered by family, the most useful ones
//! first, bounded. It opens no socket and asks no interface.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::types::{Address, AddressKind, MAX_ADDRESSES_PER_RESOURCE, sort};

/// An address from the configuration: `ip` (with the listening port) or `ip:port`, IPv6 with a port in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtraAddress {
    /// The address.
    pub ip: IpAddr,
    /// Its port; `None` = the listening port.
    pub port: Option<u16>,
}

impl FromStr for ExtraAddress {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<SocketAddr>() {
            Ok(socket) => Ok(Self { ip: socket.ip(), port: Some(socket.port()) }),
            Err(_) => Ok(Self { ip: text.parse()?, port: None }),
        }
    }
}

/// What may be announced at all.
#[derive(Clone, Debug)]
pub struct AddressOptions {
    /// Announce IPv4 addresses.
    pub ipv4: bool,
    /// Announce IPv6 addresses.
    pub ipv6: bool,
    /// Announce loopback addresses too (`allow_loopback_peers`: several nodes on one machine).
    pub loopback: bool,
    /// Addresses of the configuration, announced as they stand.
    pub extra: Vec<ExtraAddress>,
}

impl Default for AddressOptions {
    fn default() -> Self {
        Self { ipv4: true, ipv6: true, loopback: false, extra: Vec::new() }
    }
}

/// The addresses and ports of this node.
#[derive(Clone, Debug)]
pub struct Addresses {
    options: AddressOptions,
    interfaces: Vec<IpAddr>,
    port: Option<u16>,
    mapped: Vec<SocketAddr>,
    mapped_ports: Vec<u16>,
    observed: Vec<IpAddr>,
    list: Vec<Address>,
    revision: u64,
}

impl Addresses {
    /// Knows nothing but the options yet.
    #[must_use]
    pub fn new(options: AddressOptions) -> Self {
        let mut addresses = Self {
            options,
            interfaces: Vec::new(),
            port: None,
            mapped: Vec::new(),
            mapped_ports: Vec::new(),
            observed: Vec::new(),
            list: Vec::new(),
            revision: 0,
        };
        addresses.rebuild();
        addresses
    }

    /// The addresses of the network interfaces. Like all setters: returns whether the list to announce changed.
    pub fn set_interfaces(&mut self, interfaces: Vec<IpAddr>) -> bool {
        self.interfaces = interfaces;
        self.rebuild()
    }

    /// The port peers are listened for on; `None` while nothing listens.
    pub fn set_port(&mut self, port: Option<u16>) -> bool {
        self.port = port;
        self.rebuild()
    }

    /// External addresses a router forwards to this node.
    pub fn set_mapped(&mut self, mapped: Vec<SocketAddr>) -> bool {
        self.mapped = mapped;
        self.rebuild()
    }

    /// Ports a router forwards without telling on which address: they count for observed and configured addresses.
    pub fn set_mapped_ports(&mut self, ports: Vec<u16>) -> bool {
        self.mapped_ports = ports;
        self.rebuild()
    }

    /// Addresses others saw this node at.
    pub fn set_observed(&mut self, observed: Vec<IpAddr>) -> bool {
        self.observed = observed;
        self.rebuild()
    }

    /// What to announce: configured first, then mapped, observed, local; no address twice; at most
    /// [`MAX_ADDRESSES_PER_RESOURCE`].
    #[must_use]
    pub fn list(&self) -> &[Address] {
        &self.list
    }

    /// Grows whenever the list changes.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether the list has an address of each family: (IPv4, IPv6).
    #[must_use]
    pub fn families(&self) -> (bool, bool) {
        let any = |v4: bool| self.list.iter().any(|address| address.socket.is_ipv4() == v4);
        (any(true), any(false))
    }

    fn rebuild(&mut self) -> bool {
        let mut list: Vec<Address> = Vec::new();
        let mut add = |socket: SocketAddr, kind| {
            let socket = SocketAddr::new(socket.ip().to_canonical(), socket.port());
            if socket.port() != 0 && !list.iter().any(|known| known.socket == socket) {
                list.push(Address { socket, kind });
            }
        };
        let external_ports = || self.port.into_iter().chain(self.mapped_ports.iter().copied());
        for extra in &self.options.extra {
            match extra.port {
                Some(port) => add(SocketAddr::new(extra.ip, port), AddressKind::Configured),
                None => external_ports().for_each(|port| add(SocketAddr::new(extra.ip, port), AddressKind::Configured)),
            }
        }
        for &socket in self.mapped.iter().filter(|socket| self.is_announced(socket.ip())) {
            add(socket, AddressKind::Mapped);
        }
        // What this machine has itself needs no witness.
        let observed = self.observed.iter().filter(|ip| self.is_announced(**ip) && !self.interfaces.contains(ip));
        for &ip in observed {
            external_ports().for_each(|port| add(SocketAddr::new(ip, port), AddressKind::Observed));
        }
        let mut interfaces: Vec<_> = self.interfaces.iter().copied().filter(|ip| self.is_announced(*ip)).collect();
        // Interfaces come in any order; a fixed one keeps the list from changing for nothing.
        sort(&mut interfaces);
        for ip in interfaces {
            self.port.into_iter().for_each(|port| add(SocketAddr::new(ip, port), AddressKind::Local));
        }
        list.truncate(MAX_ADDRESSES_PER_RESOURCE);
        if list == self.list {
            return false;
        }
        self.list = list;
        self.revision += 1;
        true
    }

    /// Link-local IPv6 addresses are left out: without the reader's own zone nobody can connect to them.
    fn is_announced(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let usable = match ip {
            IpAddr::V4(v4) => self.options.ipv4 && !v4.is_broadcast() && !v4.is_link_local(),
            IpAddr::V6(v6) => self.options.ipv6 && !v6.is_unicast_link_local(),
        };
        usable && !ip.is_unspecified() && !ip.is_multicast() && (self.options.loopback || !ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn shown(addresses: &Addresses) -> Vec<String> {
        addresses.list().iter().map(|address| format!("{} {:?}", address.socket, address.kind)).collect()
    }

    #[test]
    fn interfaces_and_ports_are_announced_once_listening() {
        let mut addresses = Addresses::new(AddressOptions::default());
        assert!(!addresses.set_interfaces(ips(&[
            "127.0.0.1",
            "192.168.1.7",
            "fe80::1",
            "2001:db8::7",
            "::1",
            "0.0.0.0"
        ])));
        assert!(addresses.set_port(Some(6881)));
        assert_eq!(shown(&addresses), ["192.168.1.7:6881 Local", "[2001:db8::7]:6881 Local"]);
        assert_eq!(addresses.families(), (true, true));
        assert!(!addresses.set_interfaces(ips(&["2001:db8::7", "192.168.1.7"])), "another order is no change");
        assert_eq!(addresses.revision(), 1);
    }

    #[test]
    fn loopback_is_announced_only_when_allowed() {
        let mut addresses = Addresses::new(AddressOptions { loopback: true, ..AddressOptions::default() });
        addresses.set_port(Some(5));
        addresses.set_interfaces(ips(&["127.0.0.1", "::1"]));
        assert_eq!(shown(&addresses), ["127.0.0.1:5 Local", "[::1]:5 Local"]);
    }

    #[test]
    fn configured_mapped_and_observed_come_first() {
        let extra = vec!["203.0.113.5".parse().unwrap(), "[2001:db8::5]:99".parse().unwrap()];
        let mut addresses = Addresses::new(AddressOptions { ipv6: false, extra, ..AddressOptions::default() });
        addresses.set_port(Some(10));
        addresses.set_mapped_ports(vec![20]);
        addresses.set_observed(ips(&["198.51.100.1", "2001:db8::9"]));
        addresses.set_mapped(vec!["198.51.100.2:30".parse().unwrap(), "198.51.100.1:20".parse().unwrap()]);
        addresses.set_interfaces(ips(&["10.0.0.2"]));
        assert_eq!(
            shown(&addresses),
            [
                "203.0.113.5:10 Configured",
                "203.0.113.5:20 Configured",
                "[2001:db8::5]:99 Configured",
                "198.51.100.2:30 Mapped",
                "198.51.100.1:20 Mapped",
                "198.51.100.1:10 Observed",
                "10.0.0.2:10 Local",
            ]
        );
    }

    #[test]
    fn the_list_is_bounded() {
        let mut addresses = Addresses::new(AddressOptions::default());
        addresses.set_port(Some(1));
        addresses.set_interfaces((0..200).map(|n| IpAddr::from([10, 0, 0, n])).collect());
        assert_eq!(addresses.list().len(), MAX_ADDRESSES_PER_RESOURCE);
    }

    #[test]
    fn extra_addresses_are_read_with_and_without_port() {
        assert_eq!("::1".parse(), Ok(ExtraAddress { ip: "::1".parse().unwrap(), port: None }));
        assert_eq!("1.2.3.4:5".parse(), Ok(ExtraAddress { ip: "1.2.3.4".parse().unwrap(), port: Some(5) }));
        assert!("example.org:5".parse::<ExtraAddress>().is_err());
    }
}
