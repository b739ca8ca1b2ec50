//! Whom the user does not want to hear: blocked at once, and on the server as soon as that can be.

use std::time::Instant;

use jid::BareJid;
use minidom::Element;

use super::{CommandError, Phase, SessionEvent, Tag, XmppSession};
use crate::proto::xmpp::blocking;
use crate::proto::xmpp::complaints::Reason;
use crate::proto::xmpp::presence::subscription;
use crate::proto::xmpp::stanza::Failure;
use crate::types::SortedSet;

impl XmppSession {
    /// Who was blocked by this program alone, and who at all, as [`SessionEvent::Blocked`] said last.
    pub fn set_blocked(&mut self, here: impl Iterator<Item = BareJid>, all: impl Iterator<Item = BareJid>) {
        self.blocking.restore(here, all);
        if self.blocking.iter().next().is_some() {
            self.tell_blocked();
        }
    }

    /// Does the word of this account count: may one see it, and does the user want to?
    pub(super) fn heeds(&self, jid: &BareJid) -> bool {
        self.roster.is_seen(jid) && !self.blocking.is_blocked(jid)
    }

    /// Blocks somebody here and now, whether there is a server or not.
    pub(super) fn block(&mut self, now: Instant, jid: BareJid) -> Result<(), CommandError> {
        if jid == self.own.to_bare() {
            return Err(CommandError::OwnAccount(jid));
        }
        let heeded = self.heeded();
        if !self.blocking.block(jid.clone()) {
            return Err(CommandError::TooManyBlocked);
        }
        if self.phase == Phase::Ready {
            self.end_relation(&jid);
            self.block_on_server(now, jid);
        }
        self.blocking_changed(now, &heeded);
        Ok(())
    }

    /// `Ok(true)`: the server's answer ends the command.
    pub(super) fn unblock(&mut self, now: Instant, tag: u64, jid: &BareJid) -> Result<bool, CommandError> {
        let heeded = self.heeded();
        let was_here = self.blocking.unblock_here(jid);
        let on_server = self.blocking.is_on_server(jid);
        match (was_here, on_server, self.phase) {
            (false, false, _) => return Err(CommandError::NotBlocked(jid.clone())),
            (_, true, Phase::Ready) => {
                self.request(now, "set", None, blocking::unblock(jid), Tag::Unblock(tag, jid.clone()));
                return Ok(true);
            }
            (false, true, _) => return Err(CommandError::NotConnected),
            (true, ..) => self.blocking_changed(now, &heeded),
        }
        Ok(false)
    }

    /// Neither sees the other any more. Before the server blocks them: it passes nothing on to whom it blocks. Blocking alone
    /// would not keep servers from handing out what is published.
    fn end_relation(&mut self, jid: &BareJid) {
        self.invited.remove(jid);
        let asked = self.roster.forget_request(jid);
        let known = self.roster.contact(jid).map(|known| (known.sees_us(), known.is_seen() || known.asked));
        let (sees_us, is_seen) = known.unwrap_or_default();
        if sees_us || asked {
            self.out.push_back(subscription("unsubscribed", jid));
        }
        if is_seen {
            self.out.push_back(subscription("unsubscribe", jid));
        }
    }

    /// The roster is here: what was blocked while there was no server is carried out.
    pub(super) fn end_blocked_relations(&mut self) {
        for jid in self.blocking.here().clone() {
            self.end_relation(&jid);
        }
    }

    fn block_on_server(&mut self, now: Instant, jid: BareJid) {
        if self.blocking.is_supported() && !self.blocking.is_on_server(&jid) {
            self.request(now, "set", None, blocking::block(&jid), Tag::Block(jid));
        }
    }

    pub(super) fn block_answered(&mut self, now: Instant, jid: &BareJid, answer: Result<&Element, Failure>) {
        let heeded = self.heeded();
        match answer {
            Ok(_) => self.blocking.blocked(jid),
            Err(failure) => {
                let text = format!("the server does not block {jid} ({failure}); it is blocked by this program alone");
                self.events.push_back(SessionEvent::Warning(text));
            }
        }
        self.blocking_changed(now, &heeded);
    }

    pub(super) fn unblock_answered(
        &mut self,
        now: Instant,
        tag: u64,
        jid: &BareJid,
        answer: Result<&Element, Failure>,
    ) {
        let heeded = self.heeded();
        let result = answer.map(|_| self.blocking.unblocked(jid)).map_err(CommandError::Refused);
        self.blocking_changed(now, &heeded);
        self.events.push_back(SessionEvent::CommandDone { tag, result });
    }

    pub(super) fn block_list_arrived(&mut self, now: Instant, answer: Result<&Element, Failure>) {
        let heeded = self.heeded();
        match answer {
            Ok(answer) => {
                for jid in self.blocking.replace(answer) {
                    self.block_on_server(now, jid);
                }
                self.blocking_changed(now, &heeded);
            }
            Err(failure) => {
                self.events.push_back(SessionEvent::Warning(format!("the list of who is blocked: {failure}")));
            }
        }
    }

    /// The server does not know what blocking is.
    pub(super) fn block_list_missing(&mut self, now: Instant) {
        let heeded = self.heeded();
        if self.blocking.unsupported() {
            self.blocking_changed(now, &heeded);
        }
    }

    pub(super) fn block_list_pushed(&mut self, now: Instant, payload: &Element) {
        let heeded = self.heeded();
        self.blocking.push(payload);
        self.blocking_changed(now, &heeded);
    }

    /// Tells who is blocked now, and draws the conclusions for the contacts, of whom those in `heeded` were listened to. It
    /// is told first: where the blocked can be reached is still known then.
    fn blocking_changed(&mut self, now: Instant, heeded: &SortedSet<BareJid>) {
        self.tell_blocked();
        let blocking = &self.blocking;
        if self.roster.retain_requests(|jid| !blocking.is_blocked(jid)) {
            self.events.push_back(SessionEvent::RosterChanged);
        }
        self.heeded_changed(now, heeded);
    }

    fn tell_blocked(&mut self) {
        let all = self.blocking.iter().map(ToString::to_string).collect();
        let here = self.blocking.here().iter().map(ToString::to_string).collect();
        self.events.push_back(SessionEvent::Blocked { all, here });
    }

    /// All contacts whose word counts.
    pub(super) fn heeded(&self) -> SortedSet<BareJid> {
        let mut seen = self.roster.seen();
        seen.retain(|jid| !self.blocking.is_blocked(jid));
        seen
    }

    /// Others may count now than those before: fetches what the new ones announce, and forgets what the others did.
    pub(super) fn heeded_changed(&mut self, now: Instant, before: &SortedSet<BareJid>) {
        let after = self.heeded();
        for jid in before.difference(&after) {
            self.watch.forget(jid);
            // Some servers hand out one more notification afterwards.
            self.complaints.excuse(now, jid, Reason::Stranger);
            self.online.remove(jid);
            self.events.push_back(SessionEvent::SharesGone { jid: jid.to_string() });
        }
        after.difference(before).for_each(|jid| self.watch.fetch(now, jid));
    }
}
