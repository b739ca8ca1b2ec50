//! The roster and subscriptions (RFC 6121 sections 2 and 3).
//!
//! Who is a contact decides who is believed and who sees the own shares and addresses, so nothing here approves anybody:
//! requests are listed for the user ([`Pending`]), and pushes count only after the caller has checked that the own account
//! sent them.
//! Roster versioning is not used: a roster is small and asked for once per login.

use jid::BareJid;
use minidom::Element;

use super::pending::{Handout, Pending};
use super::xml::{Build, element, ns};
use crate::types::{SortedMap, SortedSet, display_name, gather};

/// Contacts kept; what a server sends beyond them is left out.
const MAX_ITEMS: usize = 10_000;
/// Groups kept of a contact.
const MAX_GROUPS: usize = 16;
/// Bytes kept of a contact's or group's name.
const MAX_LABEL: usize = 128;

/// Who sees whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subscription {
    /// Neither.
    #[default]
    None,
    /// The own account sees the contact.
    To,
    /// The contact sees the own account.
    From,
    /// Both.
    Both,
}

/// One contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Its bare JID.
    pub jid: BareJid,
    /// The name the user gave it.
    pub name: Option<String>,
    /// Who sees whom.
    pub subscription: Subscription,
    /// The own account asked to see it and waits.
    pub asked: bool,
    /// Groups the user put it in.
    pub groups: Vec<String>,
}

impl Contact {
    /// The own account may see its presence and shares, so its announcements count.
    #[must_use]
    pub const fn is_seen(&self) -> bool {
        matches!(self.subscription, Subscription::To | Subscription::Both)
    }

    /// It may see the own presence and shares.
    #[must_use]
    pub const fn sees_us(&self) -> bool {
        matches!(self.subscription, Subscription::From | Subscription::Both)
    }

    /// `Err(jid)`: the item says that this contact is removed. `None`: unreadable.
    fn parse(item: &Element) -> Option<Result<Self, BareJid>> {
        let jid = BareJid::new(item.attr("jid")?).ok()?;
        let subscription = match item.attr("subscription") {
            Some("remove") => return Some(Err(jid)),
            Some("to") => Subscription::To,
            Some("from") => Subscription::From,
            Some("both") => Subscription::Both,
            _ => Subscription::None,
        };
        let groups = item.children().filter(|child| child.is("group", ns::ROSTER)).take(MAX_GROUPS);
        Some(Ok(Self {
            jid,
            name: item.attr("name").map(|name| display_name(name, MAX_LABEL)),
            subscription,
            asked: item.attr("ask") == Some("subscribe"),
            groups: groups.map(|group| display_name(&group.text(), MAX_LABEL)).collect(),
        }))
    }
}

/// The contacts of the account and the requests that wait for the user.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    contacts: SortedMap<BareJid, Contact>,
    pending: Pending,
}

impl Roster {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a whole roster, the answer to [`get`].
    pub fn replace(&mut self, answer: &Element) {
        let items = answer.children().filter(|child| child.is("query", ns::ROSTER)).flat_map(Element::children);
        let items = items.filter(|child| child.is("item", ns::ROSTER)).take(MAX_ITEMS);
        let contacts =
            items.filter_map(|item| Contact::parse(item)?.ok()).map(|contact| (contact.jid.clone(), contact));
        self.contacts = gather(contacts);
        self.settle_pending();
    }

    /// Takes a push: the `<query>` of a set the own account sent. Returns the contacts it concerns.
    pub fn push(&mut self, query: &Element) -> Vec<BareJid> {
        let mut concerned = Vec::new();
        for item in query.children().filter(|child| child.is("item", ns::ROSTER)).take(MAX_ITEMS) {
            match Contact::parse(item) {
                Some(Ok(contact)) if self.contacts.len() < MAX_ITEMS || self.contacts.contains_key(&contact.jid) => {
                    concerned.push(contact.jid.clone());
                    self.contacts.insert(contact.jid.clone(), contact);
                }
                Some(Err(jid)) => {
                    self.contacts.remove(&jid);
                    concerned.push(jid);
                }
                Some(Ok(_)) | None => {}
            }
        }
        self.settle_pending();
        concerned
    }

    /// Somebody asks to see the own account. Returns whether that is news for the user.
    pub fn ask(&mut self, jid: BareJid) -> bool {
        let settled = self.contact(&jid).is_some_and(Contact::sees_us);
        !settled && self.pending.ask(jid)
    }

    /// The user has answered the request. Returns whether there was one.
    pub fn forget_request(&mut self, jid: &BareJid) -> bool {
        self.pending.answer(jid)
    }

    /// The request was taken back. Returns whether there was one.
    pub fn withdraw_request(&mut self, jid: &BareJid) -> bool {
        self.pending.forget(jid)
    }

    /// Keeps the requests of those who fit. Returns whether any went.
    pub fn retain_requests(&mut self, fits: impl Fn(&BareJid) -> bool) -> bool {
        self.pending.retain(fits)
    }

    /// Takes up the requests that were kept of an earlier session.
    pub fn restore_requests(&mut self, jids: impl Iterator<Item = BareJid>, handout: Handout) {
        self.pending.restore(jids, handout);
        self.settle_pending();
    }

    /// A new stream begins: the server may hand out again which requests still wait.
    pub fn restart(&mut self) {
        self.pending.restart();
    }

    /// The server was asked to do that.
    pub fn expect_requests(&mut self) {
        self.pending.expect_handout();
    }

    /// Whether it does.
    #[must_use]
    pub const fn handout(&self) -> Handout {
        self.pending.handout()
    }

    /// Forgets requests that a server which hands them out again did not. Returns whether there were any.
    pub fn drop_stale_requests(&mut self) -> bool {
        self.pending.drop_stale()
    }

    /// One contact.
    #[must_use]
    pub fn contact(&self, jid: &BareJid) -> Option<&Contact> {
        self.contacts.get(jid)
    }

    /// Whether announcements of this account count.
    #[must_use]
    pub fn is_seen(&self, jid: &BareJid) -> bool {
        self.contact(jid).is_some_and(Contact::is_seen)
    }

    /// All accounts whose announcements count.
    #[must_use]
    pub fn seen(&self) -> SortedSet<BareJid> {
        gather(self.contacts().filter(|contact| contact.is_seen()).map(|contact| contact.jid.clone()))
    }

    /// All contacts, ordered by JID.
    pub fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.contacts.values()
    }

    /// Who waits for the user's approval, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &BareJid> {
        self.pending.iter()
    }

    /// Approved elsewhere, by another program of the account: no longer pending.
    fn settle_pending(&mut self) {
        let contacts = &self.contacts;
        let _ = self.pending.retain(|jid| !contacts.get(jid).is_some_and(Contact::sees_us));
    }
}

/// The payload that asks for the roster.
#[must_use]
pub fn get() -> Element {
    element("query", ns::ROSTER)
}

/// The payload that puts a contact into the roster, or replaces name and groups of one that is in it.
#[must_use]
pub fn set(jid: &BareJid, name: Option<&str>, groups: &[String]) -> Element {
    let name = name.map(|name| display_name(name, MAX_LABEL)).filter(|name| !name.is_empty());
    // None twice: servers refuse that (RFC 6121 section 2.3.3).
    let groups: SortedSet<String> = groups.iter().map(|group| display_name(group, MAX_LABEL)).collect();
    let groups = groups.into_iter().filter(|group| !group.is_empty()).take(MAX_GROUPS);
    let groups = groups.map(|group| element("group", ns::ROSTER).saying(&group));
    let item = element("item", ns::ROSTER).with("jid", jid.as_str()).with_some("name", name).containing_all(groups);
    element("query", ns::ROSTER).containing(item)
}

/// The payload that removes a contact; the server then also ends both subscriptions.
#[must_use]
pub fn remove(jid: &BareJid) -> Element {
    let item = element("item", ns::ROSTER).with("jid", jid.as_str()).with("subscription", "remove");
    element("query", ns::ROSTER).containing(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(items: &str) -> Element {
        format!("<iq xmlns='jabber:client'><query xmlns='jabber:iq:roster'>{items}</query></iq>").parse().unwrap()
    }

    fn query(items: &str) -> Element {
        format!("<query xmlns='jabber:iq:roster'>{items}</query>").parse().unwrap()
    }

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    #[test]
    fn a_roster_is_read_with_tolerance() {
        let mut roster = Roster::new();
        roster.replace(&answer(
            "<item jid='bob@x' subscription='both' name='B&#10;b'><group>Friends</group><odd/></item>\
             <item jid='eve@x' subscription='from'/><item jid='new@x' ask='subscribe' subscription='odd'/>\
             <item subscription='both'/><item jid='@@' subscription='both'/>",
        ));
        let seen: Vec<_> = roster.contacts().map(|c| (c.jid.as_str(), c.is_seen(), c.sees_us(), c.asked)).collect();
        assert_eq!(seen, [("bob@x", true, true, false), ("eve@x", false, true, false), ("new@x", false, false, true)]);
        let bob = roster.contact(&jid("bob@x")).unwrap();
        assert_eq!((bob.name.as_deref(), bob.groups.as_slice()), (Some("B b"), &["Friends".to_owned()][..]));
    }

    #[test]
    fn pushes_add_change_and_remove() {
        let mut roster = Roster::new();
        assert_eq!(roster.push(&query("<item jid='bob@x' subscription='to'/>")), [jid("bob@x")]);
        assert!(roster.is_seen(&jid("bob@x")));
        roster.push(&query("<item jid='bob@x' subscription='from'/>"));
        assert!(!roster.is_seen(&jid("bob@x")));
        assert_eq!(roster.push(&query("<item jid='bob@x' subscription='remove'/>")), [jid("bob@x")]);
        assert!(roster.contact(&jid("bob@x")).is_none());
        roster.push(&query("<item jid='a@x' subscription='both'/>"));
        assert_eq!(roster.seen().len(), 1);
        roster.replace(&answer(""));
        assert!(roster.seen().is_empty(), "gone while offline");
    }

    #[test]
    fn requests_wait_for_the_user_unless_they_are_settled() {
        let mut roster = Roster::new();
        assert!(roster.ask(jid("bob@x")) && !roster.ask(jid("bob@x")));
        roster.push(&query("<item jid='bob@x' subscription='from'/>"));
        assert_eq!(roster.pending().count(), 0, "approved by another program");
        assert!(!roster.ask(jid("bob@x")), "sees us already");
        assert!(
            roster.ask(jid("eve@x")) && roster.forget_request(&jid("eve@x")) && !roster.forget_request(&jid("eve@x"))
        );
    }
}
