//! Who asks to become a contact (RFC 6121 section 3.1), and how the server is made to say who did while nobody was there.

use std::time::Instant;

use jid::BareJid;
use minidom::Element;

use super::{SessionEvent, Tag, XmppSession};
use crate::proto::xmpp::pending::Handout;
use crate::proto::xmpp::presence::{Priority, ask_offline_messages, available, has_feature, subscription};
use crate::proto::xmpp::stanza::Failure;
use crate::proto::xmpp::xml::ns;

impl XmppSession {
    /// Who waits for the user since an earlier session, and whether the server hands out requests again, as
    /// [`roster`](Self::roster) said last. To be called after [`Self::set_blocked`].
    pub fn set_requests(&mut self, jids: impl Iterator<Item = BareJid>, handout: Handout) {
        let blocking = &self.blocking;
        self.roster.restore_requests(jids.filter(|jid| !blocking.is_blocked(jid)), handout);
        if self.roster.pending().next().is_some() {
            self.events.push_back(SessionEvent::RosterChanged);
        }
    }

    /// Asks whether the server keeps messages that wait for the account until they are asked for. Asked before the roster:
    /// an answer that comes later than that is of no use.
    pub(super) fn ask_about_messages(&mut self, now: Instant) {
        self.request(now, "get", None, ask_offline_messages(), Tag::OfflineMessages);
    }

    pub(super) fn offline_messages_answered(&mut self, answer: Result<&Element, Failure>) {
        self.keeps_messages = answer.is_ok_and(|answer| has_feature(answer, ns::OFFLINE_MESSAGES));
    }

    /// Shows this resource to others, with a negative priority, so that chats land elsewhere. ejabberd hands out waiting
    /// requests only if the very first presence has none, so there is another one before it if that draws no messages.
    pub(super) fn become_available(&mut self) {
        if self.keeps_messages {
            self.out.push_back(available(Priority::Requests));
            self.roster.expect_requests();
        }
        self.out.push_back(available(Priority::NoChats));
    }

    /// Somebody wants to see this account. Approved only if the user has added that JID, or a rule of theirs names it;
    /// everybody else waits.
    pub(super) fn asked(&mut self, now: Instant, jid: BareJid) {
        if jid == self.own.to_bare() || self.blocking.is_blocked(&jid) {
            return;
        }
        let handout = self.roster.handout();
        if self.invited.remove(&jid) {
            self.out.push_back(subscription("subscribed", &jid));
        } else if self.accept_from.iter().any(|rule| rule.fits(&jid)) {
            self.approve(&jid);
        } else if self.roster.ask(jid.clone()) {
            self.events.push_back(SessionEvent::RosterChanged);
            if let Some(more) = self.requests_told.tell(now) {
                self.events.push_back(SessionEvent::SubscriptionRequest { jid: jid.to_string(), more });
            }
        } else if self.roster.handout() != handout {
            // That is to be kept, too.
            self.events.push_back(SessionEvent::RosterChanged);
        }
    }
}
