//! Who comes in: room in the table of connections, and who may have which torrent.
//!
//! When the table is full, somebody who only holds a place makes room: first the incoming connection that has been
//! waited for longest without a whole handshake, then the peer that has been of no use for longest in any torrent. So
//! neither silent nor useless connections, however many, lock anybody out. Contacts go before strangers. Where somebody
//! is who is blocked, nobody is let in.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Bt;
use super::peers::Peer;
use crate::reactor::Net;
use crate::share::Refused;
use crate::types::{Host, InfoHash, PeerKey, TorrentKey};

/// One host may have this share of the table: it may want many of our torrents, yet others shall get in too.
const HOST_SHARE: usize = 4;

/// Where contacts are, as of one revision of what they announce.
#[derive(Default)]
pub(super) struct ContactHosts {
    revision: Option<u64>,
    hosts: HashSet<Host>,
}

impl Bt {
    /// The authoriser: which torrent the caller at `addr` gets when it asks for `info_hash`. `None`: it is treated as if
    /// the torrent were unknown. Whoever knows the info hash may have it, so far, unless they are blocked.
    pub(super) fn authorise(&self, info_hash: InfoHash, addr: SocketAddr) -> Option<TorrentKey> {
        self.by_hash.get(&info_hash).copied().filter(|_| !self.refused.has(addr, None))
    }

    /// Others are blocked than before: who of them is connected goes.
    pub(super) fn refuse(&mut self, net: &mut Net<Peer>, refused: Arc<Refused>) {
        self.refused = refused;
        for key in net.keys() {
            let Some(addr) = net.addr(key) else { continue };
            let listens = net.data(key).and_then(|peer| peer.listens);
            if self.refused.has(addr, listens) {
                self.drop_peer(net, key, &"its owner is blocked");
            }
        }
    }

    /// Is a contact at this address? Such a claim can be a lie, so it gives precedence and nothing else.
    pub(super) fn is_contact(&mut self, addr: SocketAddr) -> bool {
        let contacts = self.contacts.read();
        let revision = Some(contacts.shares.revision());
        if self.contact_hosts.revision != revision {
            let hosts = contacts.shares.online_addresses(&contacts.filter).map(|addr| Host::of(addr.ip())).collect();
            self.contact_hosts = ContactHosts { revision, hosts };
        }
        self.contact_hosts.hosts.contains(&Host::of(addr.ip()))
    }

    /// Makes room for a connection from this address if there is none. False if it has to stay outside.
    pub(super) fn admit(&mut self, net: &mut Net<Peer>, addr: SocketAddr) -> bool {
        if self.refused.has(addr, None) {
            return false;
        }
        let (host, contact) = (Host::of(addr.ip()), self.is_contact(addr));
        let is_neighbour = |other: SocketAddr| Host::of(other.ip()) == host;
        let limit = (self.options.max_connections / HOST_SHARE).max(1);
        if !contact && !host.is_loopback() && net.addrs().filter(|addr| is_neighbour(*addr)).count() >= limit {
            let Some(silent) = net.longest_silent(is_neighbour) else { return false };
            self.drop_peer(net, silent, &"its host has too many connections");
        }
        self.make_room(net, contact)
    }

    /// Makes room for one more connection in the table. False if everybody in it is of use.
    pub(super) fn make_room(&mut self, net: &mut Net<Peer>, for_contact: bool) -> bool {
        if net.len() < self.options.max_connections {
            return true;
        }
        let leaves = net.longest_silent(|_| true).or_else(|| self.least_useful(net, for_contact));
        if let Some(key) = leaves {
            self.drop_peer(net, key, &"it makes room for another connection");
        }
        leaves.is_some()
    }

    fn least_useful(&self, net: &Net<Peer>, for_contact: bool) -> Option<PeerKey> {
        let engines = self.torrents.values().filter_map(|torrent| torrent.engine());
        engines.filter_map(|engine| engine.replaceable(net.now(), for_contact)).min().map(|peer| peer.peer)
    }
}
