//! What other threads are told: how this node is called, which neighbours there are, and how it stands with each.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::meeting::Neighbor;
use super::worker::Worker;
use crate::component::event::Told;
use crate::component::snapshot::{LocalStatus, NeighborStatus, RosterEntry};
use crate::proto::xmpp::local::LocalName;
use crate::types::{Address, AddressKind, Endpoint, MAX_ADDRESSES_PER_RESOURCE, Via};

impl Worker {
    /// What a thread before this one heard is not known any more to be so.
    pub(super) fn begin_to_tell(&mut self) {
        self.teller.tell(Told::Left);
        self.tell_confirmed();
    }

    /// Nobody confirms what neighbours are told: it is told as soon as they are there.
    pub(super) fn tell_confirmed(&mut self) {
        self.teller.tell(Told::Confirmed(Arc::clone(&self.own_shares)));
    }

    /// Tells how things stand, if that has changed.
    pub(super) fn tell(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let status = Arc::new(LocalStatus {
            name: self.service.name.jid(),
            port: self.service.port,
            fingerprint: self.identity.fingerprint.to_string(),
            neighbors: self.neighbors.iter().map(|(name, neighbor)| self.status_of(name, neighbor)).collect(),
        });
        if self.told.as_ref() == Some(&status) {
            return;
        }
        self.told = Some(Arc::clone(&status));
        let entries = status.neighbors.iter().map(|neighbor| RosterEntry {
            via: Via::Local,
            jid: neighbor.jid.clone(),
            name: None,
            groups: Vec::new(),
            subscription: subscription(neighbor).to_owned(),
            pending: neighbor.accepted && !neighbor.accepts_us,
            resources: Vec::new(),
        });
        let asking = status.neighbors.iter().filter(|neighbor| neighbor.accepts_us && !neighbor.accepted);
        let told = Told::Roster {
            entries: entries.collect(),
            requests: asking.map(|neighbor| neighbor.jid.clone()).collect(),
        };
        // What is known of them before who they are: nobody ever takes them for contacts of an account.
        self.teller.tell(Told::Local(status));
        self.teller.tell(told);
    }

    fn status_of(&self, name: &LocalName, neighbor: &Neighbor) -> NeighborStatus {
        let accepted = self.store.neighbors.named(name.as_str());
        let stream = neighbor.stream.and_then(|key| self.streams.get(key));
        let asks = !neighbor.refused && stream.is_some_and(|stream| stream.session.is_accepted());
        NeighborStatus {
            jid: name.jid(),
            accepted: accepted.is_some(),
            accepts_us: asks || accepted.is_some_and(|known| known.mutual),
            address: stream.map(|stream| stream.address),
            fingerprint: accepted.map(|known| known.fingerprint).or(neighbor.fingerprint).map(|it| it.to_string()),
            problem: neighbor.problem.clone(),
        }
    }
}

/// How this node can be reached, as neighbours are told: also at addresses that mean something in this network only, all
/// that two machines have who are joined by nothing but a cable.
pub(super) fn endpoint(known: &Endpoint, port: u16) -> Endpoint {
    let mut endpoint = known.clone();
    if port == 0 || !endpoint.addresses.is_empty() {
        return endpoint;
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let is_local = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let local = interfaces.iter().map(if_addrs::Interface::ip).filter(is_local);
    let address = |ip| Address { socket: SocketAddr::new(ip, port), kind: AddressKind::Local };
    endpoint.addresses.extend(local.map(address).take(MAX_ADDRESSES_PER_RESOURCE));
    endpoint
}

/// Who may see whom, in the words of rosters.
const fn subscription(neighbor: &NeighborStatus) -> &'static str {
    match (neighbor.accepted, neighbor.accepts_us) {
        (true, true) => "both",
        (true, false) => "from",
        (false, _) => "none",
    }
}
