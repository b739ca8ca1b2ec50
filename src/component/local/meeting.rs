//! Who is who: neighbours that were found, called or have called, and what follows from what they prove to be.
//!
//! With each neighbour one stream is kept. Of two names that know each other through mDNS the smaller one calls, the other
//! only if it is not called soon; where both have called all the same, the stream that the smaller fingerprint has begun
//! stays.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::dial::Dial;
use super::mdns::Found;
use super::stream::{Heard, Stream};
use super::worker::{Worker, now};
use crate::component::event::Told;
use crate::proto::xmpp::SessionEvent;
use crate::proto::xmpp::backoff::Retry;
use crate::proto::xmpp::local::{LocalEvent, LocalName, RESOURCE, Role};
use crate::share::{Fingerprint, Verdict};
use crate::types::{Address, AddressKind, Announcement, Endpoint, sort, sort_by};

/// Neighbours that are known at the same time, at most; anybody can announce any number.
const MAX_NEIGHBORS: usize = 256;

/// Neighbours that were found are called so many at a time; others wait so long.
const MAX_CALLS: usize = 16;
const WAIT: Duration = Duration::from_millis(200);

/// Whoever is to be called by a neighbour waits so long before it calls itself.
const CALLED_WITHIN: Duration = Duration::from_secs(2);

/// A neighbour, by name.
#[derive(Debug)]
pub(super) struct Neighbor {
    /// mDNS says that it is there.
    pub(super) found: bool,
    pub(super) dial: Dial,
    /// The stream on which it is being called.
    calling: Option<usize>,
    /// The stream with it, once it has proved who it is.
    pub(super) stream: Option<usize>,
    /// What it has shown last.
    pub(super) fingerprint: Option<Fingerprint>,
    /// It was told that it is online.
    pub(super) online: bool,
    /// The user does not want it; what it wished before counts no more.
    pub(super) refused: bool,
    /// What the user should know.
    pub(super) problem: Option<String>,
}

/// A neighbour of the configuration.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) address: String,
    pub(super) dial: Dial,
    stream: Option<usize>,
    /// Who it was.
    fingerprint: Option<Fingerprint>,
}

impl Named {
    pub(super) fn new(address: String, now: Instant) -> Self {
        Self { address, dial: Dial::new(Some(now)), stream: None, fingerprint: None }
    }
}

impl Worker {
    /// The neighbour of this name, made if there is room for it.
    pub(super) fn neighbor(&mut self, name: &LocalName) -> Option<&mut Neighbor> {
        let known = self.neighbors.contains_key(name) || self.store.neighbors.named(name.as_str()).is_some();
        if !known && self.neighbors.len() >= MAX_NEIGHBORS {
            return None;
        }
        Some(self.neighbors.entry(name.clone()).or_insert_with(|| Neighbor {
            found: false,
            dial: Dial::new(None),
            calling: None,
            stream: None,
            fingerprint: None,
            online: false,
            refused: false,
            problem: None,
        }))
    }

    /// Those who were accepted are shown, there or not.
    pub(super) fn remember(&mut self) {
        let accepted: Vec<_> = self.store.neighbors.iter().map(|one| (one.name.clone(), one.fingerprint)).collect();
        for (name, fingerprint) in accepted {
            let Some(name) = LocalName::parse(&name) else { continue };
            if let Some(neighbor) = self.neighbor(&name) {
                neighbor.fingerprint = Some(fingerprint);
            }
        }
    }

    /// mDNS has something to say.
    pub(super) fn found(&mut self, found: Found) {
        let now = now();
        match found {
            Found::Here(name, _) if name == self.service.name => {}
            Found::Here(name, addresses) => {
                let patience = if self.service.name < name { Duration::ZERO } else { CALLED_WITHIN };
                let Some(neighbor) = self.neighbor(&name) else { return };
                if !neighbor.found {
                    debug!(target: "bitween::local", "{name} is at {addresses:?}");
                }
                neighbor.found = true;
                neighbor.dial.set_addresses(addresses);
                if neighbor.stream.is_none() {
                    neighbor.dial.plan(now + patience);
                }
            }
            Found::Gone(name) => {
                if let Some(neighbor) = self.neighbors.get_mut(&name) {
                    neighbor.found = false;
                    neighbor.dial.rest();
                }
                self.forget_if_gone(&name);
            }
            // What comes late speaks of a name that was given up already.
            Found::Taken(given) if !given.starts_with(&format!("{} (", self.service.name)) => {}
            Found::Taken(_) => self.take_another_name(),
            Found::Ended => self.discover_again(),
        }
        self.stale = true;
    }

    /// A neighbour of the configuration was looked up.
    pub(super) fn looked_up(&mut self, place: usize, outcome: io::Result<Vec<SocketAddr>>) {
        let Some(named) = self.named.get_mut(place) else { return };
        match outcome {
            Ok(addresses) if !addresses.is_empty() => {
                named.dial.set_addresses(addresses);
                named.dial.plan(now());
            }
            Ok(_) => named.dial.failed(now(), Retry::Soon),
            Err(error) => {
                debug!(target: "bitween::local", "{}: {error}", named.address);
                named.dial.failed(now(), Retry::Soon);
            }
        }
    }

    pub(super) fn call_who_is_due(&mut self, now: Instant) {
        let is_due = |dial: &Dial| dial.due().is_some_and(|due| due <= now);
        for place in 0..self.named.len() {
            let known = self.named.get(place).and_then(|named| named.fingerprint);
            let met = known.is_some_and(|fingerprint| self.is_met(fingerprint));
            let Some(named) = self.named.get_mut(place).filter(|named| is_due(&named.dial)) else { continue };
            if met {
                // By another way; when that stream is over it is called.
                named.dial.rest();
            } else if named.dial.is_somewhere() {
                let address = named.dial.call();
                let stream = address.and_then(|address| self.try_to_call(address, None));
                if let Some(named) = self.named.get_mut(place) {
                    named.stream = stream;
                    if stream.is_none() {
                        named.dial.failed(now, Retry::Soon);
                    }
                }
            } else {
                named.dial.rest();
                let address = named.address.clone();
                self.look_up(place, address);
            }
        }
        let mut due: Vec<LocalName> =
            self.neighbors.iter().filter(|(_, known)| is_due(&known.dial)).map(|(name, _)| name.clone()).collect();
        // Friends first: anybody can announce any number of strangers.
        let is_stranger = |name: &LocalName| self.store.neighbors.named(name.as_str()).is_none();
        sort_by(&mut due, |a, b| is_stranger(a).cmp(&is_stranger(b)));
        let mut calls = self.neighbors.values().filter(|neighbor| neighbor.calling.is_some()).count();
        for name in due {
            let Some(neighbor) = self.neighbors.get_mut(&name) else { continue };
            if neighbor.stream.is_some() || neighbor.calling.is_some() {
                neighbor.dial.rest();
                continue;
            }
            if calls >= MAX_CALLS {
                neighbor.dial.put_off(now + WAIT);
                continue;
            }
            let address = neighbor.dial.call();
            let stream = address.and_then(|address| self.try_to_call(address, Some(name.clone())));
            calls += usize::from(stream.is_some());
            if let Some(neighbor) = self.neighbors.get_mut(&name) {
                neighbor.calling = stream;
                if stream.is_none() {
                    neighbor.dial.failed(now, Retry::Soon);
                }
            }
        }
    }

    /// There is a stream with whoever has this certificate, or it is this node itself.
    fn is_met(&self, fingerprint: Fingerprint) -> bool {
        fingerprint == self.identity.fingerprint
            || self.streams.iter().any(|(_, stream)| stream.fingerprint == Some(fingerprint))
    }

    fn try_to_call(&mut self, address: SocketAddr, whom: Option<LocalName>) -> Option<usize> {
        let called = self.call(address, whom);
        called.inspect_err(|error| debug!(target: "bitween::local", "{address}: {error}")).ok()
    }

    /// A stream has something to say.
    pub(super) fn heard(&mut self, now: Instant, key: usize, heard: Heard) {
        match heard {
            Heard::Met(name, fingerprint) => self.met(now, key, &name, fingerprint),
            Heard::Session(event) => self.said(key, event),
            Heard::Over(reason) => self.over(now, key, &reason),
        }
    }

    /// Somebody has proved who it is.
    fn met(&mut self, now: Instant, key: usize, name: &LocalName, fingerprint: Fingerprint) {
        for named in self.named.iter_mut().filter(|named| named.stream == Some(key)) {
            named.fingerprint = Some(fingerprint);
            named.dial.met(now);
        }
        for neighbor in self.neighbors.values_mut().filter(|neighbor| neighbor.calling == Some(key)) {
            neighbor.calling = None;
            neighbor.dial.met(now);
        }
        if fingerprint == self.identity.fingerprint {
            // This node itself, by another way.
            return self.end(now, key, None);
        }
        let old_name = self.store.neighbors.get(&fingerprint).map(|known| known.name.clone());
        match self.store.judge(name.as_str(), fingerprint) {
            Verdict::Impostor(known) => return self.refuse(now, key, name, fingerprint, known),
            Verdict::Renamed => self.rename(old_name.as_deref(), name),
            Verdict::Stranger if self.options.open => {
                if self.store.accept(name.as_str(), fingerprint) {
                    log::info!("neighbour {} is accepted; its certificate: {fingerprint}", name.jid());
                }
            }
            Verdict::Stranger | Verdict::Accepted => {}
        }
        if !self.keep_one(now, key, fingerprint) {
            return;
        }
        let Some(neighbor) = self.neighbor(name) else { return self.end(now, key, Some("resource-constraint")) };
        let before = neighbor.stream.replace(key);
        neighbor.problem = None;
        neighbor.fingerprint = Some(fingerprint);
        if let Some(stranger) = before.filter(|before| *before != key) {
            // Two strangers of the same name: the last one counts.
            self.end(now, stranger, Some("conflict"));
        }
        debug!(target: "bitween::local", "stream with {name}, certificate {fingerprint}");
        self.accept_who_was_awaited(name, fingerprint);
        let accepted = self.store.neighbors.get(&fingerprint).is_some();
        if let Some(stream) = self.streams.get_mut(key).filter(|_| accepted) {
            stream.session.accept(true);
        }
        self.stale = true;
    }

    /// Of several streams with the same neighbour one is kept. True if it is this one.
    fn keep_one(&mut self, now: Instant, key: usize, fingerprint: Fingerprint) -> bool {
        let preferred = if self.identity.fingerprint < fingerprint { Role::Caller } else { Role::Called };
        let is_preferred = |stream: &Stream| stream.role == preferred;
        let is_same = |(other, stream): &(usize, &Stream)| *other != key && stream.fingerprint == Some(fingerprint);
        let Some((other, rival)) = self.streams.iter().find(is_same) else { return true };
        let this_is = self.streams.get(key).is_some_and(is_preferred);
        // Two of the same kind: the older one was given up by the other side.
        if is_preferred(rival) && !this_is {
            self.end(now, key, None);
            return false;
        }
        self.end(now, other, None);
        true
    }

    fn refuse(&mut self, now: Instant, key: usize, name: &LocalName, shown: Fingerprint, known: Fingerprint) {
        let jid = name.jid();
        let problem = format!(
            "another machine calls itself {jid}: its certificate is {shown}, and that of the one you accepted is {known}; if \
             that is right: `bitween contacts remove {jid}`, then accept it again"
        );
        self.end(now, key, Some("not-authorized"));
        let Some(neighbor) = self.neighbor(name) else { return };
        neighbor.dial.failed(now, Retry::Later);
        // Whoever has many certificates is warned of once.
        if neighbor.problem.replace(problem.clone()).is_none() {
            self.teller.tell(Told::Session(SessionEvent::Warning(problem)));
        }
        self.stale = true;
    }

    /// Somebody who was accepted calls itself otherwise now.
    fn rename(&mut self, old: Option<&str>, name: &LocalName) {
        let Some(old) = old.and_then(LocalName::parse) else { return };
        log::info!("neighbour {} is called {} now", old.jid(), name.jid());
        if let Some(before) = self.neighbors.remove(&old) {
            if let Some(stream) = before.stream {
                self.end(now(), stream, None);
            }
            self.teller.tell(Told::Session(SessionEvent::SharesGone { jid: old.jid() }));
        }
    }

    /// Somebody who was met says something.
    fn said(&mut self, key: usize, event: LocalEvent) {
        let Some((name, fingerprint, address)) = self.whom(key) else { return };
        let jid = name.jid();
        match event {
            LocalEvent::Asks(asks) => {
                self.store.set_mutual(&fingerprint, asks);
                if asks && self.store.neighbors.get(&fingerprint).is_none() {
                    self.teller.tell(Told::Session(SessionEvent::SubscriptionRequest { jid, more: 0 }));
                }
                if let Some(neighbor) = self.neighbors.get_mut(&name) {
                    neighbor.refused = false;
                }
                self.update_online(&name);
                if !asks {
                    self.teller.tell(Told::Session(SessionEvent::SharesGone { jid: name.jid() }));
                }
                self.stale = true;
            }
            LocalEvent::Announced(mut announcement) => {
                self.update_online(&name);
                if let Announcement::Endpoint { endpoint, .. } = &mut announcement {
                    add_observed(endpoint, address);
                }
                self.teller.tell(Told::Session(SessionEvent::Announced { jid, announcement }));
            }
            LocalEvent::StartTls | LocalEvent::Met(_) => {}
        }
    }

    /// The neighbour at the other end of a stream, if it is the one kept with it.
    fn whom(&self, key: usize) -> Option<(LocalName, Fingerprint, SocketAddr)> {
        let stream = self.streams.get(key)?;
        let (name, fingerprint) = (stream.session.peer()?, stream.fingerprint?);
        let kept = self.neighbors.get(name).is_some_and(|neighbor| neighbor.stream == Some(key));
        kept.then(|| (name.clone(), fingerprint, stream.address))
    }

    /// A neighbour is online when both sides have accepted each other.
    pub(super) fn update_online(&mut self, name: &LocalName) {
        let Some(neighbor) = self.neighbors.get_mut(name) else { return };
        let stream = neighbor.stream.and_then(|key| self.streams.get(key));
        let online = stream.is_some_and(|stream| stream.session.is_mutual());
        if std::mem::replace(&mut neighbor.online, online) == online {
            return;
        }
        self.stale = true;
        let (jid, resource) = (name.jid(), RESOURCE.to_owned());
        self.teller.tell(Told::Session(if online {
            SessionEvent::ContactOnline { jid, resource }
        } else {
            SessionEvent::ContactOffline { jid, resource }
        }));
    }

    /// Ends a stream in order, with a stream error if there is a reason. It is nobody's any more.
    fn end(&mut self, now: Instant, key: usize, condition: Option<&str>) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.fingerprint = None;
            match condition {
                Some(condition) => stream.fail(now, condition),
                None => stream.close(now),
            }
        }
    }

    /// A stream is over.
    pub(super) fn over(&mut self, now: Instant, key: usize, reason: &str) {
        let Some(stream) = self.drop_stream(key) else { return };
        debug!(target: "bitween::local", "{}: {reason}", stream.address);
        let is_on = |neighbor: &Neighbor| neighbor.stream == Some(key) || neighbor.calling == Some(key);
        let names: Vec<LocalName> =
            self.neighbors.iter().filter(|(_, known)| is_on(known)).map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(neighbor) = self.neighbors.get_mut(&name) {
                neighbor.stream = neighbor.stream.filter(|stream| *stream != key);
                neighbor.calling = neighbor.calling.filter(|stream| *stream != key);
                if neighbor.found && neighbor.dial.due().is_none() {
                    neighbor.dial.failed(now, Retry::Soon);
                }
            }
            self.update_online(&name);
            self.forget_if_gone(&name);
        }
        for named in &mut self.named {
            if named.stream == Some(key) {
                named.stream = None;
                named.dial.failed(now, Retry::Soon);
            } else if named.stream.is_none() && named.dial.due().is_none() && named.dial.is_somewhere() {
                // It was met by another way, which may have been this one.
                named.dial.plan(now + CALLED_WITHIN);
            }
        }
        self.stale = true;
    }

    /// Of strangers who are gone nothing is kept.
    pub(super) fn forget_if_gone(&mut self, name: &LocalName) {
        let accepted = self.store.neighbors.named(name.as_str()).is_some();
        let gone = |known: &Neighbor| !known.found && known.stream.is_none() && known.calling.is_none();
        if !accepted && self.neighbors.get(name).is_some_and(gone) {
            self.neighbors.remove(name);
        }
    }
}

/// The address that a neighbour has on this stream is one that works, whatever it knows of itself.
fn add_observed(endpoint: &mut Endpoint, address: SocketAddr) {
    let mut ports: Vec<u16> = endpoint.addresses.iter().map(|known| known.socket.port()).collect();
    sort(&mut ports);
    ports.dedup();
    // More than one port: which of them is forwarded, and which is listened on, is not known.
    let [port] = ports[..] else { return };
    let mut socket = address;
    socket.set_port(port);
    if !endpoint.addresses.iter().any(|known| known.socket == socket) {
        endpoint.addresses.insert(0, Address { socket, kind: AddressKind::Local });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_stream_is_one_to_be_had() {
        let address = |text: &str| Address { socket: text.parse().unwrap(), kind: AddressKind::Local };
        let observed = |addresses: &[&str], from: &str| {
            let addresses = addresses.iter().map(|text| address(text)).collect();
            let mut endpoint = Endpoint { addresses, ..Endpoint::default() };
            add_observed(&mut endpoint, from.parse().unwrap());
            endpoint.addresses.iter().map(|known| known.socket.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(observed(&["10.0.0.1:7"], "192.0.2.9:5000"), ["192.0.2.9:7", "10.0.0.1:7"]);
        assert_eq!(observed(&["10.0.0.1:7"], "[fe80::1%3]:5000"), ["[fe80::1%3]:7", "10.0.0.1:7"]);
        assert_eq!(observed(&["10.0.0.1:7"], "10.0.0.1:5000"), ["10.0.0.1:7"]);
        assert!(observed(&[], "10.0.0.1:5000").is_empty(), "the port is not known");
        assert_eq!(observed(&["10.0.0.1:7", "192.0.2.1:8"], "10.0.0.2:5000").len(), 2);
    }
}
