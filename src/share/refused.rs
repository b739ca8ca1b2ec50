//! Where people who are blocked can be met: nobody there is called or let in.
//!
//! An address names a household at best (network address translation, a shared machine), and whoever is blocked could
//! have announced anybody's. So nothing counts that others announce who are not blocked: of a host that is shared with
//! them, only the very address and port that the blocked announced. What is met there is a peer like any other, so this
//! keeps known places away, not a person who moves.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::types::Host;

/// The places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    hosts: HashSet<Host>,
    sockets: HashSet<SocketAddr>,
}

impl Refused {
    /// The places of the blocked, as far as they are not also those of others.
    #[must_use]
    pub fn new(blocked: impl IntoIterator<Item = SocketAddr>, others: impl IntoIterator<Item = SocketAddr>) -> Self {
        let others: HashSet<SocketAddr> = others.into_iter().map(canonical).collect();
        let shared: HashSet<Host> = others.iter().map(|socket| Host::of(socket.ip())).collect();
        let mut refused = Self::default();
        for socket in blocked.into_iter().map(canonical).filter(|socket| !others.contains(socket)) {
            let host = Host::of(socket.ip());
            if host.is_loopback() || shared.contains(&host) {
                refused.sockets.insert(socket);
            } else {
                refused.hosts.insert(host);
            }
        }
        refused
    }

    /// Nobody is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.sockets.is_empty()
    }

    /// Is whoever is there refused? `listens`: the port on which they say that they listen, if they called us.
    #[must_use]
    pub fn has(&self, addr: SocketAddr, listens: Option<u16>) -> bool {
        if self.is_empty() {
            return false;
        }
        let addr = canonical(addr);
        let listening = listens.map(|port| SocketAddr::new(addr.ip(), port));
        self.hosts.contains(&Host::of(addr.ip()))
            || self.sockets.contains(&addr)
            || listening.is_some_and(|socket| self.sockets.contains(&socket))
    }
}

fn canonical(socket: SocketAddr) -> SocketAddr {
    SocketAddr::new(socket.ip().to_canonical(), socket.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_is_refused_unless_others_live_there_too() {
        let blocked = ["203.0.113.7:5000", "[2001:db8:1::7]:5000", "198.51.100.9:5000", "127.0.0.1:7000"].map(at);
        let others = ["198.51.100.9:6000", "127.0.0.1:8000"].map(at);
        let refused = Refused::new(blocked, others);
        assert!(refused.has(at("203.0.113.7:1234"), None) && refused.has(at("[::ffff:203.0.113.7]:1"), None));
        assert!(refused.has(at("[2001:db8:1::99]:1"), None), "its network");
        assert!(refused.has(at("198.51.100.9:5000"), None) && refused.has(at("198.51.100.9:40000"), Some(5000)));
        assert!(!refused.has(at("198.51.100.9:6000"), None) && !refused.has(at("198.51.100.9:40000"), Some(6000)));
        assert!(refused.has(at("127.0.0.1:40000"), Some(7000)) && !refused.has(at("127.0.0.1:40000"), Some(8000)));
    }

    #[test]
    fn nobody_can_have_others_refused_by_naming_their_address() {
        let refused = Refused::new([at("203.0.113.7:5000")], [at("203.0.113.7:5000")]);
        assert!(refused.is_empty() && !refused.has(at("203.0.113.7:5000"), Some(5000)));
    }
}
