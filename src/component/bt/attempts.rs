//! Connections to contacts that could not be made: noted, so that people can be told why nothing comes.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Bt;
use super::peers::Peer;
use crate::component::snapshot::Contacts;
use crate::proto::peer::WireError;
use crate::reactor::{CloseCause, Net};
use crate::share::Outcome;
use crate::types::{InfoHash, TorrentKey};

impl Bt {
    /// A connection that we wanted has ended before anybody answered for this torrent.
    pub(super) fn unanswered(&mut self, net: &mut Net<Peer>, key: TorrentKey, addr: SocketAddr, why: &CloseCause) {
        let Some(info_hash) = self.torrents.get(&key).map(|torrent| torrent.info_hash) else { return };
        if let Some(outcome) = outcome(why, info_hash) {
            self.note_failure(net, key, addr, outcome);
        }
    }

    /// The system did not even begin to connect.
    pub(super) fn not_begun(&mut self, net: &mut Net<Peer>, key: TorrentKey, addr: SocketAddr, error: &io::Error) {
        if let Some(outcome) = of_connecting(error) {
            self.note_failure(net, key, addr, outcome);
        }
    }

    /// Strangers may be gone; whom the user knows by name is asked after.
    fn note_failure(&mut self, net: &mut Net<Peer>, key: TorrentKey, addr: SocketAddr, outcome: Outcome) {
        if !self.is_contact(addr) {
            return;
        }
        let now = net.now();
        let is_new = self.attempts.get(now, addr).is_none_or(|last| last.outcome != outcome);
        Arc::make_mut(&mut self.attempts).failed(now, addr, outcome);
        if is_new {
            self.state_changed = true;
            self.mark_stale(net, key);
        }
    }

    /// Somebody is there.
    pub(super) fn answered(&mut self, net: &mut Net<Peer>, addr: SocketAddr) {
        if self.attempts.get(net.now(), addr).is_some() {
            Arc::make_mut(&mut self.attempts).succeeded(addr);
        }
    }

    /// Contacts, or this machine, are not where they were. What became of the attempts says nothing then, and neither if
    /// somebody was away meanwhile.
    pub(super) fn review_attempts(&mut self, net: &mut Net<Peer>, before: Option<&Contacts>, contacts: &Contacts) {
        if self.attempts.is_empty() {
            return;
        }
        let mut there = HashSet::new();
        if before.is_none_or(|before| before.filter == contacts.filter) {
            there.extend(contacts.shares.online_addresses(&contacts.filter));
        }
        if self.attempts.addresses().any(|addr| !there.contains(&addr)) {
            Arc::make_mut(&mut self.attempts).retain(|addr| there.contains(&addr));
            self.publish_soon(net);
        }
    }
}

/// What it says of the address that a connection ended like this before a handshake came.
fn outcome(why: &CloseCause, wanted: InfoHash) -> Option<Outcome> {
    match why {
        CloseCause::Connect(error) => of_connecting(error),
        // Who does not have the torrent, or may not give it, closes without a word; who is still checking it, waits.
        CloseCause::Eof
        | CloseCause::Io(_)
        | CloseCause::Wire(WireError::WrongInfoHash { .. } | WireError::HandshakeTimeout) => {
            Some(Outcome::NotServed(wanted))
        }
        CloseCause::Wire(_) => Some(Outcome::NotBitTorrent),
        _ => None,
    }
}

/// `None` if it is this machine's fault.
fn of_connecting(error: &io::Error) -> Option<Outcome> {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, PermissionDenied,
        TimedOut,
    };
    match error.kind() {
        NetworkUnreachable | AddrNotAvailable => Some(Outcome::Unreachable),
        // Nobody in that network has the address.
        TimedOut | HostUnreachable => Some(Outcome::TimedOut),
        // The last one is what a router says that must not let it pass.
        ConnectionRefused | ConnectionReset | PermissionDenied => Some(Outcome::Refused),
        _ => None,
    }
}
