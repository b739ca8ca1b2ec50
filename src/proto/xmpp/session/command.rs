//! The user's commands on the roster (RFC 6121 sections 2 and 3).

use std::time::Instant;

use super::{Command, CommandError, Phase, SessionEvent, Tag, XmppSession};
use crate::proto::xmpp::presence::subscription;
use crate::proto::xmpp::roster;

/// Contacts added in this session whose own request is then welcome.
const MAX_INVITED: usize = 256;

impl XmppSession {
    /// Carries out a command; the answer of the server, or [`Self::done`], ends it.
    pub(super) fn try_command(&mut self, now: Instant, tag: u64, command: Command) -> Result<(), CommandError> {
        if self.phase != Phase::Ready {
            return Err(CommandError::NotConnected);
        }
        match command {
            Command::Add(jid) | Command::Accept(jid) if jid == self.own.to_bare() => Err(CommandError::OwnAccount(jid)),
            Command::Add(jid) => {
                // Adding somebody means to share with them, so their request is answered in advance (RFC 6121
                // section 3.4) where the server can, and from the list of the invited where it cannot.
                if self.roster.forget_request(&jid) {
                    self.events.push_back(SessionEvent::RosterChanged);
                } else if self.invited.len() < MAX_INVITED {
                    self.invited.insert(jid.clone());
                }
                self.request(now, "set", None, roster::add(&jid), Tag::Command(tag));
                self.out.push_back(subscription("subscribed", &jid));
                self.out.push_back(subscription("subscribe", &jid));
                Ok(())
            }
            Command::Accept(jid) => {
                if !self.roster.forget_request(&jid) {
                    return Err(CommandError::NoRequest(jid));
                }
                self.out.push_back(subscription("subscribed", &jid));
                if !self.roster.is_seen(&jid) {
                    self.out.push_back(subscription("subscribe", &jid));
                }
                self.done(tag);
                Ok(())
            }
            Command::Refuse(jid) => {
                self.invited.remove(&jid);
                if !self.roster.forget_request(&jid) && self.roster.contact(&jid).is_none() {
                    return Err(CommandError::NoRequest(jid));
                }
                self.out.push_back(subscription("unsubscribed", &jid));
                self.done(tag);
                Ok(())
            }
            Command::Remove(jid) => {
                self.invited.remove(&jid);
                let asked = self.roster.forget_request(&jid);
                if asked {
                    self.out.push_back(subscription("unsubscribed", &jid));
                }
                match (self.roster.contact(&jid), asked) {
                    (Some(_), _) => self.request(now, "set", None, roster::remove(&jid), Tag::Command(tag)),
                    (None, true) => self.done(tag),
                    (None, false) => return Err(CommandError::NoContact(jid)),
                }
                Ok(())
            }
        }
    }

    fn done(&mut self, tag: u64) {
        self.events.push_back(SessionEvent::RosterChanged);
        self.events.push_back(SessionEvent::CommandDone { tag, result: Ok(()) });
    }
}
