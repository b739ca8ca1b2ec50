//! A server in miniature, on virtual time: roster, presence and personal eventing for several sessions.
//!
//! Like ejabberd it sends nothing unasked at login; like Prosody it tells of retractions. Nodes keep one item unless
//! configured otherwise.

use std::collections::BTreeMap;

use super::*;
use crate::proto::xmpp::xml::{Build, to_bytes};

pub struct Client {
    pub session: XmppSession,
    pub events: Vec<SessionEvent>,
    pub sent: Vec<Element>,
    pub present: bool,
}

#[derive(Default)]
pub struct PepNode {
    pub items: Vec<(String, Element)>,
    pub max: usize,
    pub open: bool,
}

pub struct Server {
    pub now: Instant,
    pub clients: Vec<Client>,
    pub contacts: Vec<(BareJid, BareJid)>,
    pub nodes: BTreeMap<(BareJid, String), PepNode>,
    /// Knows all publish-options; otherwise the plain ones only.
    pub rich: bool,
    /// The owner may configure nodes.
    pub configurable: bool,
    pub silent: bool,
    /// Who blocks whom; `None`: it cannot block.
    pub blocked: Option<Vec<(BareJid, BareJid)>>,
    /// At which address it sees everybody, and that it names a STUN server.
    pub outside: Option<&'static str>,
    /// Hands out messages that wait for an account only if they are asked for.
    pub keeps_messages: bool,
}

impl Server {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            clients: vec![],
            contacts: vec![],
            nodes: BTreeMap::new(),
            rich: true,
            configurable: true,
            silent: false,
            blocked: None,
            outside: None,
            keeps_messages: false,
        }
    }

    pub fn befriend(&mut self, a: &str, b: &str) {
        let (a, b) = (BareJid::new(a).unwrap(), BareJid::new(b).unwrap());
        self.contacts.push((a.clone(), b.clone()));
        self.contacts.push((b, a));
    }

    pub fn login(&mut self, jid: &str) -> usize {
        let own = FullJid::new(jid).unwrap();
        let seed = [u8::try_from(self.clients.len()).unwrap(); 32];
        let session = XmppSession::new(own.clone(), &SessionOptions { publish_original: true, seed });
        self.clients.push(Client { session, events: vec![], sent: vec![], present: false });
        let index = self.clients.len() - 1;
        self.clients[index].session.started(self.now, own);
        index
    }

    /// Carries stanzas and lets time pass for `span`.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.exchange();
            let due = self.clients.iter().filter_map(|client| client.session.poll_timeout()).min();
            match due {
                Some(due) if due <= end => self.now = self.now.max(due),
                _ => break,
            }
            for client in &mut self.clients {
                client.session.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    /// Hands a stanza to a client as it stands.
    pub fn inject(&mut self, client: usize, text: &str) {
        let stanza: Element = text.parse().unwrap();
        self.clients[client].session.stanza_received(self.now, &stanza);
        self.exchange();
    }

    pub fn node(&self, jid: &str, node: Node) -> Vec<String> {
        let key = (BareJid::new(jid).unwrap(), node.name().to_owned());
        let items = self.nodes.get(&key).map(|node| node.items.as_slice()).unwrap_or_default();
        let text = |payload| String::from_utf8(to_bytes(payload).unwrap()).unwrap();
        items.iter().map(|(id, payload)| format!("{id}: {}", text(payload))).collect()
    }

    fn exchange(&mut self) {
        for _ in 0..10_000 {
            let mut quiet = true;
            for index in 0..self.clients.len() {
                while let Some(event) = self.clients[index].session.poll_event() {
                    self.clients[index].events.push(event);
                }
                while let Some(stanza) = self.clients[index].session.poll_stanza() {
                    quiet = false;
                    // Through bytes, as on a real stream.
                    let bytes = to_bytes(&stanza).unwrap();
                    let stanza: Element = std::str::from_utf8(&bytes).unwrap().parse().unwrap();
                    self.clients[index].sent.push(stanza.clone());
                    if !self.silent {
                        self.handle(index, &stanza);
                    }
                }
            }
            if quiet {
                return;
            }
        }
        panic!("the sessions never come to rest");
    }

    fn own(&self, client: usize) -> FullJid {
        self.clients[client].session.own_jid().clone()
    }

    fn deliver(&mut self, to: usize, stanza: &Element) {
        let now = self.now;
        self.clients[to].session.stanza_received(now, stanza);
    }

    fn handle(&mut self, client: usize, stanza: &Element) {
        match (stanza.name(), stanza.attr("type")) {
            ("presence", None | Some("unavailable")) if stanza.attr("to").is_none() => {
                self.clients[client].present = stanza.attr("type").is_none();
                self.broadcast_presence(client, stanza.attr("type"));
            }
            ("iq", Some("get" | "set")) => {
                let answer = self.answer(client, stanza);
                self.deliver(client, &answer);
            }
            _ => {}
        }
    }

    fn sees(&self, viewer: &FullJid, owner: &BareJid) -> bool {
        viewer.to_bare() == *owner || self.contacts.contains(&(viewer.to_bare(), owner.clone()))
    }

    fn broadcast_presence(&mut self, client: usize, kind: Option<&str>) {
        let from = self.own(client);
        let presence = |from: &FullJid, kind: Option<&str>| {
            element("presence", ns::CLIENT).with("from", from.as_str()).with_some("type", kind)
        };
        for other in 0..self.clients.len() {
            let jid = self.own(other);
            if other == client || !self.clients[other].present || !self.sees(&jid, &from.to_bare()) {
                continue;
            }
            self.deliver(other, &presence(&from, kind));
            if kind.is_none() {
                self.deliver(client, &presence(&jid, None));
            }
        }
    }

    fn answer(&mut self, client: usize, iq: &Element) -> Element {
        let own = self.own(client).to_bare();
        let owner = iq.attr("to").map_or(own.clone(), |to| BareJid::new(to).unwrap());
        let payload = iq.children().next().unwrap();
        let from = iq.attr("to");
        let reply =
            |kind: &'static str| element("iq", ns::CLIENT).with("id", iq.attr("id").unwrap()).with("type", kind);
        let reply = |kind| reply(kind).with_some("from", from);
        let result = if payload.has_ns(ns::ROSTER) {
            let items = self
                .contacts
                .iter()
                .filter(|(a, _)| *a == own)
                .map(|(_, b)| element("item", ns::ROSTER).with("jid", b.as_str()).with("subscription", "both"));
            Ok(Some(element("query", ns::ROSTER).containing_all(items)))
        } else if payload.has_ns(ns::DISCO_INFO) {
            let features = match payload.attr("node") {
                None => [self.blocked.as_ref().map(|_| ns::BLOCKING), self.outside.map(|_| ns::EXTERNAL_SERVICES)],
                Some(node) => [self.keeps_messages.then_some(ns::OFFLINE_MESSAGES).filter(|has| *has == node), None],
            };
            let feature = |var| element("feature", ns::DISCO_INFO).with("var", var);
            Ok(Some(element("query", ns::DISCO_INFO).containing_all(features.into_iter().flatten().map(feature))))
        } else if payload.has_ns(ns::SIC) {
            let address = |ip| element("address", ns::SIC).containing(element("ip", ns::SIC).saying(ip));
            self.outside.map(|ip| Some(address(ip))).ok_or("service-unavailable")
        } else if payload.has_ns(ns::EXTERNAL_SERVICES) {
            let service =
                element("service", ns::EXTERNAL_SERVICES).with("type", "stun").with("host", "stun.example.org");
            Ok(Some(element("services", ns::EXTERNAL_SERVICES).containing(service)))
        } else if payload.has_ns(ns::BLOCKING) {
            Ok(self.blocking(&own, payload))
        } else {
            self.pubsub(client, &owner, payload)
        };
        match result {
            Ok(payload) => reply("result").containing_all(payload),
            Err(condition) => {
                let error = element("error", ns::CLIENT).containing(element(condition, ns::STANZA_ERROR));
                reply("error").containing(error)
            }
        }
    }

    /// Keeps the list, and tells all sessions of the account what changed.
    fn blocking(&mut self, own: &BareJid, payload: &Element) -> Option<Element> {
        let list = self.blocked.as_mut().unwrap();
        if payload.name() == "blocklist" {
            let items = list.iter().filter(|(by, _)| by == own);
            let items = items.map(|(_, jid)| element("item", ns::BLOCKING).with("jid", jid.as_str()));
            return Some(element("blocklist", ns::BLOCKING).containing_all(items));
        }
        for item in payload.children() {
            let entry = (own.clone(), BareJid::new(item.attr("jid").unwrap()).unwrap());
            list.retain(|other| *other != entry);
            if payload.name() == "block" {
                list.push(entry);
            }
        }
        let push = element("iq", ns::CLIENT).with("type", "set").with("id", "push").containing(payload.clone());
        for client in 0..self.clients.len() {
            if self.own(client).to_bare() == *own {
                self.deliver(client, &push);
            }
        }
        None
    }

    fn pubsub(&mut self, client: usize, owner: &BareJid, payload: &Element) -> Result<Option<Element>, &'static str> {
        let action = payload.children().next().unwrap();
        let key = (owner.clone(), action.attr("node").unwrap().to_owned());
        if !self.sees(&self.own(client), owner) {
            return Err("forbidden");
        }
        match action.name() {
            "items" => {
                let node = self.nodes.get(&key).ok_or("item-not-found")?;
                let newest = action.attr("max_items").map_or(usize::MAX, |count| count.parse().unwrap());
                let from = node.items.len().saturating_sub(newest);
                let items = node.items[from..]
                    .iter()
                    .map(|(id, p)| element("item", ns::PUBSUB).with("id", id).containing(p.clone()));
                let items = element("items", ns::PUBSUB).with("node", &key.1).containing_all(items);
                Ok(Some(element("pubsub", ns::PUBSUB).containing(items)))
            }
            "publish" => {
                let wants_max = fields(payload.children().nth(1)).contains_key("pubsub#max_items");
                if wants_max && !self.rich {
                    return Err("resource-constraint");
                }
                let item = action.children().next().unwrap();
                let (id, content) = (item.attr("id").unwrap().to_owned(), item.children().next().unwrap().clone());
                let new = || PepNode { max: if wants_max { 1000 } else { 1 }, ..PepNode::default() };
                let node = self.nodes.entry(key.clone()).or_insert_with(new);
                if (wants_max && node.max < 1000) || node.open {
                    return Err("conflict");
                }
                node.items.retain(|(other, _)| *other != id);
                node.items.push((id.clone(), content.clone()));
                let surplus = node.items.len().saturating_sub(node.max);
                node.items.drain(..surplus);
                let item = element("item", ns::PUBSUB_EVENT).with("id", id).containing(content);
                self.notify(&key, item);
                Ok(None)
            }
            "retract" => {
                let id = action.children().next().unwrap().attr("id").unwrap();
                let node = self.nodes.get_mut(&key).ok_or("item-not-found")?;
                node.items.retain(|(other, _)| other != id);
                self.notify(&key, element("retract", ns::PUBSUB_EVENT).with("id", id));
                Ok(None)
            }
            "delete" => self.nodes.remove(&key).map(|_| None).ok_or("item-not-found"),
            "configure" if !self.configurable => Err("forbidden"),
            "configure" => self.configure(&key, action),
            other => panic!("what is {other}?"),
        }
    }

    fn configure(&mut self, key: &(BareJid, String), action: &Element) -> Result<Option<Element>, &'static str> {
        let node = self.nodes.get_mut(key).ok_or("item-not-found")?;
        let changes = fields(Some(action));
        if !changes.is_empty() {
            node.max = if changes.contains_key("pubsub#max_items") { 1000 } else { node.max };
            node.open &= !changes.contains_key("pubsub#access_model");
            return Ok(None);
        }
        let field = |var, value: &str| {
            element("field", ns::DATA).with("var", var).containing(element("value", ns::DATA).saying(value))
        };
        let form = element("x", ns::DATA)
            .containing(field("pubsub#access_model", if node.open { "open" } else { "presence" }))
            .containing(field("pubsub#max_items", &node.max.to_string()));
        let configure = element("configure", ns::PUBSUB_OWNER).containing(form);
        Ok(Some(element("pubsub", ns::PUBSUB_OWNER).containing(configure)))
    }

    pub fn notify(&mut self, (owner, node): &(BareJid, String), change: Element) {
        let items = element("items", ns::PUBSUB_EVENT).with("node", node).containing(change);
        let event = element("event", ns::PUBSUB_EVENT).containing(items);
        let message =
            element("message", ns::CLIENT).with("from", owner.as_str()).with("type", "headline").containing(event);
        for client in 0..self.clients.len() {
            if self.clients[client].present && self.sees(&self.own(client), owner) {
                // Servers often tell twice.
                self.deliver(client, &message);
                self.deliver(client, &message);
            }
        }
    }
}

/// The fields of the form somewhere below this element.
fn fields(element: Option<&Element>) -> BTreeMap<String, String> {
    let form = element.and_then(|element| element.get_child("x", ns::DATA));
    let named = form
        .into_iter()
        .flat_map(Element::children)
        .filter_map(|field| Some((field.attr("var")?.to_owned(), field.get_child("value", ns::DATA)?.text())));
    named.collect()
}
