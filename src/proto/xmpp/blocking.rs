//! Blocking (XEP-0191): who is not heard and not answered, whatever the roster says. Pure.
//!
//! The account's list is kept by its server, if that can, and all programs of the account share it. Who was blocked here
//! and is not on that list, because the server is not there, cannot, or will not, is blocked all the same, by this program
//! alone; whoever owns this keeps those ([`Blocking::here`]) beyond the process and brings them back.

use jid::BareJid;
use minidom::Element;

use super::xml::{Build, element, ns};
use crate::types::{SortedSet, gather, sort};

/// Entries kept; what a server sends beyond them is left out.
pub const MAX_BLOCKED: usize = 10_000;

/// Who is blocked.
#[derive(Clone, Debug, Default)]
pub struct Blocking {
    server: SortedSet<BareJid>,
    here: SortedSet<BareJid>,
    /// The server keeps a list.
    supported: bool,
}

impl Blocking {
    /// Is this account blocked, or everybody of its domain?
    #[must_use]
    pub fn is_blocked(&self, jid: &BareJid) -> bool {
        let has = |jid: &BareJid| self.server.contains(jid) || self.here.contains(jid);
        // The usual case costs nothing.
        !(self.server.is_empty() && self.here.is_empty())
            && (has(jid) || BareJid::new(jid.domain().as_str()).is_ok_and(|domain| has(&domain)))
    }

    /// Everybody who is blocked, in order.
    pub fn iter(&self) -> impl Iterator<Item = &BareJid> {
        let here_alone = self.here.difference(&self.server);
        let mut all: Vec<&BareJid> = self.server.iter().chain(here_alone).collect();
        sort(&mut all);
        all.into_iter()
    }

    /// Who is blocked by this program alone.
    #[must_use]
    pub const fn here(&self) -> &SortedSet<BareJid> {
        &self.here
    }

    /// Is it on the server's list?
    #[must_use]
    pub fn is_on_server(&self, jid: &BareJid) -> bool {
        self.server.contains(jid)
    }

    /// The server keeps a list, and it was read on this stream.
    #[must_use]
    pub const fn is_supported(&self) -> bool {
        self.supported
    }

    /// Brings back who was blocked by this program alone, and of whom else it knew last.
    pub fn restore(&mut self, here: impl Iterator<Item = BareJid>, all: impl Iterator<Item = BareJid>) {
        self.here = here.take(MAX_BLOCKED).collect();
        self.server = gather(all.filter(|jid| !self.here.contains(jid)).take(MAX_BLOCKED));
    }

    /// A new stream: whether this server keeps a list is not known. What it said before still holds.
    pub const fn restart(&mut self) {
        self.supported = false;
    }

    /// This server keeps no list (any more): whoever was on it is blocked by this program alone. Returns whether anybody
    /// was.
    pub fn unsupported(&mut self) -> bool {
        let server = std::mem::take(&mut self.server);
        let any = !server.is_empty();
        let room = MAX_BLOCKED.saturating_sub(self.here.len());
        self.here.extend(server.into_iter().take(room));
        any
    }

    /// Blocks somebody, for now by this program alone: what the server said on an earlier stream may be so no more. False
    /// if there is no room.
    pub fn block(&mut self, jid: BareJid) -> bool {
        if (self.supported && self.server.contains(&jid)) || self.here.contains(&jid) {
            return true;
        }
        self.here.len() < MAX_BLOCKED && self.here.insert(jid)
    }

    /// Takes somebody off what is blocked by this program alone. True if they were on it.
    pub fn unblock_here(&mut self, jid: &BareJid) -> bool {
        self.here.remove(jid)
    }

    /// Takes the server's whole list, the answer to [`get`]. Returns who is to be put on it.
    pub fn replace(&mut self, answer: &Element) -> Vec<BareJid> {
        let list = answer.children().find(|child| child.is("blocklist", ns::BLOCKING));
        self.supported = true;
        self.server = gather(list.into_iter().flat_map(jids).take(MAX_BLOCKED));
        self.here.retain(|jid| !self.server.contains(jid));
        self.here.iter().cloned().collect()
    }

    /// The server has put somebody on its list.
    pub fn blocked(&mut self, jid: &BareJid) {
        self.here.remove(jid);
        if self.server.len() < MAX_BLOCKED {
            self.server.insert(jid.clone());
        }
    }

    /// The server has taken somebody off its list.
    pub fn unblocked(&mut self, jid: &BareJid) {
        self.server.remove(jid);
    }

    /// Takes a push: the payload of a set that the own account sent, `block` or `unblock`.
    pub fn push(&mut self, payload: &Element) {
        if payload.name() == "block" {
            jids(payload).take(MAX_BLOCKED).for_each(|jid| self.blocked(&jid));
        } else if payload.children().next().is_none() {
            self.server.clear();
        } else {
            jids(payload).take(MAX_BLOCKED).for_each(|jid| self.unblocked(&jid));
        }
    }
}

/// The people and domains that are named. Single resources are passed over: contacts are people, not their devices.
fn jids(list: &Element) -> impl Iterator<Item = BareJid> + '_ {
    let items = list.children().filter(|child| child.is("item", ns::BLOCKING));
    items.filter_map(|item| BareJid::new(item.attr("jid")?).ok())
}

/// The payload that asks for the list.
#[must_use]
pub fn get() -> Element {
    element("blocklist", ns::BLOCKING)
}

/// The payload that puts somebody on the list.
#[must_use]
pub fn block(jid: &BareJid) -> Element {
    element("block", ns::BLOCKING).containing(item(jid))
}

/// The payload that takes somebody off the list.
#[must_use]
pub fn unblock(jid: &BareJid) -> Element {
    element("unblock", ns::BLOCKING).containing(item(jid))
}

fn item(jid: &BareJid) -> Element {
    element("item", ns::BLOCKING).with("jid", jid.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    fn answer(items: &str) -> Element {
        format!("<iq xmlns='jabber:client'><blocklist xmlns='urn:xmpp:blocking'>{items}</blocklist></iq>")
            .parse()
            .unwrap()
    }

    fn push(name: &str, items: &str) -> Element {
        format!("<{name} xmlns='urn:xmpp:blocking'>{items}</{name}>").parse().unwrap()
    }

    fn all(blocking: &Blocking) -> Vec<&str> {
        blocking.iter().map(|jid| jid.as_str()).collect()
    }

    #[test]
    fn the_list_is_the_servers_and_what_is_not_on_it() {
        let mut blocking = Blocking::default();
        assert!(!blocking.is_blocked(&jid("eve@x")) && blocking.block(jid("eve@x")) && blocking.block(jid("eve@x")));
        assert!(blocking.is_blocked(&jid("eve@x")));
        let missing =
            blocking.replace(&answer("<item jid='bad@y'/><item jid='flood.example'/><item jid='a@z/r'/><odd/>"));
        assert_eq!(missing, [jid("eve@x")], "the server does not know yet");
        assert_eq!(all(&blocking), ["bad@y", "eve@x", "flood.example"]);
        assert!(blocking.is_blocked(&jid("anybody@flood.example")) && !blocking.is_blocked(&jid("a@z")));
        blocking.blocked(&jid("eve@x"));
        assert!(blocking.here().is_empty() && blocking.is_blocked(&jid("eve@x")));
    }

    #[test]
    fn pushes_add_and_remove_and_one_without_items_clears() {
        let mut blocking = Blocking::default();
        blocking.push(&push("block", "<item jid='a@x'/><item jid='b@x'/>"));
        blocking.push(&push("unblock", "<item jid='a@x'/>"));
        assert_eq!(all(&blocking), ["b@x"]);
        blocking.block(jid("c@x"));
        blocking.push(&push("unblock", ""));
        assert_eq!(all(&blocking), ["c@x"], "that is blocked by this program alone");
    }

    #[test]
    fn the_list_holds_before_the_server_tells_it_and_if_it_does_not() {
        let mut blocking = Blocking::default();
        blocking.restore([jid("here@x")].into_iter(), [jid("here@x"), jid("bad@y")].into_iter());
        assert!(blocking.is_blocked(&jid("bad@y")) && blocking.is_on_server(&jid("bad@y")));
        assert_eq!((all(&blocking).len(), blocking.here().len()), (2, 1));
        let mut other = blocking.clone();
        blocking.replace(&answer(""));
        assert_eq!(all(&blocking), ["here@x"], "taken off the list meanwhile");
        assert!(other.unsupported() && !other.unsupported());
        assert_eq!(all(&other), ["bad@y", "here@x"]);
        assert!(other.unblock_here(&jid("bad@y")));
    }

    #[test]
    fn who_is_blocked_before_the_server_tells_its_list_stays_so() {
        let mut blocking = Blocking::default();
        blocking.restore([].into_iter(), [jid("eve@x")].into_iter());
        assert!(blocking.block(jid("eve@x")));
        assert_eq!(blocking.replace(&answer("")), [jid("eve@x")], "somebody took eve off the list meanwhile");
        assert!(blocking.is_blocked(&jid("eve@x")));
    }

    #[test]
    fn endless_lists_are_cut() {
        let items: String = (0..MAX_BLOCKED + 10).map(|n| format!("<item jid='u{n}@x'/>")).collect();
        let mut blocking = Blocking::default();
        blocking.replace(&answer(&items));
        assert_eq!(blocking.iter().count(), MAX_BLOCKED);
        blocking.push(&push("block", &items));
        assert_eq!(blocking.iter().count(), MAX_BLOCKED);
    }
}
