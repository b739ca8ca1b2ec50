//! The user's commands on the roster (RFC 6121 sections 2 and 3).

use std::time::Instant;

use jid::BareJid;

use super::{Command, CommandError, Phase, SessionEvent, Tag, XmppSession};
use crate::proto::xmpp::presence::subscription;
use crate::proto::xmpp::roster;

/// Commands kept until the roster is here, which is a moment.
const MAX_EARLY: usize = 64;

/// Contacts added in this session whose own request is then welcome.
const MAX_INVITED: usize = 256;

impl XmppSession {
    /// Carries out a command, or keeps it until it can be.
    pub(super) fn try_command(&mut self, now: Instant, tag: u64, command: Command) {
        let result = match self.phase {
            Phase::Ready => self.carry_out(now, tag, command),
            // These work without a server, too.
            Phase::Offline if matches!(command, Command::Block(_) | Command::Unblock(_)) => {
                self.carry_out(now, tag, command)
            }
            Phase::Starting if self.early.len() < MAX_EARLY => {
                self.early.push((tag, command));
                Ok(())
            }
            _ => Err(CommandError::NotConnected),
        };
        if let Err(error) = result {
            self.events.push_back(SessionEvent::CommandDone { tag, result: Err(error) });
        }
    }

    /// The roster is here: what waited for it can be done.
    pub(super) fn carry_out_early(&mut self, now: Instant) {
        for (tag, command) in std::mem::take(&mut self.early) {
            self.try_command(now, tag, command);
        }
    }

    /// The stream ended before the roster came.
    pub(super) fn refuse_early(&mut self) {
        let early = self.early.drain(..);
        let refused = early.map(|(tag, _)| SessionEvent::CommandDone { tag, result: Err(CommandError::NotConnected) });
        self.events.extend(refused);
    }

    /// The answer of the server, or [`Self::done`], ends the command.
    fn carry_out(&mut self, now: Instant, tag: u64, command: Command) -> Result<(), CommandError> {
        match command {
            Command::Add { jid, .. } | Command::Accept(jid) if jid == self.own.to_bare() => {
                Err(CommandError::OwnAccount(jid))
            }
            Command::Add { jid, name, groups } => {
                self.add(now, tag, &jid, name.as_deref(), &groups);
                Ok(())
            }
            Command::Accept(jid) => {
                if !self.roster.forget_request(&jid) {
                    return Err(CommandError::NoRequest(jid));
                }
                self.approve(&jid);
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
                let contact = self.roster.contact(&jid);
                // Servers end the subscriptions of whom they take off the roster, but ejabberd does not withdraw a request.
                if contact.is_some_and(|contact| contact.asked && !contact.is_seen()) {
                    self.out.push_back(subscription("unsubscribe", &jid));
                }
                match (contact, asked) {
                    (Some(_), _) => self.request(now, "set", None, roster::remove(&jid), Tag::Command(tag)),
                    (None, true) => self.done(tag),
                    (None, false) => return Err(CommandError::NoContact(jid)),
                }
                Ok(())
            }
            Command::Block(jid) => {
                self.block(now, jid)?;
                self.done(tag);
                Ok(())
            }
            Command::Unblock(jid) => {
                if !self.unblock(now, tag, &jid)? {
                    self.done(tag);
                }
                Ok(())
            }
            Command::Rename { jid, name } => self.edit(now, tag, jid, Some(&name), None),
            Command::SetGroups { jid, groups } => self.edit(now, tag, jid, None, Some(&groups)),
        }
    }

    /// Gives a contact another name, or other groups. A set replaces both (RFC 6121 section 2.3.3).
    fn edit(
        &mut self,
        now: Instant,
        tag: u64,
        jid: BareJid,
        name: Option<&str>,
        groups: Option<&[String]>,
    ) -> Result<(), CommandError> {
        let Some(contact) = self.roster.contact(&jid) else { return Err(CommandError::NoContact(jid)) };
        let (name, groups) = (name.or(contact.name.as_deref()), groups.unwrap_or(&contact.groups));
        let entry = roster::set(&jid, name, groups);
        self.request(now, "set", None, entry, Tag::Command(tag));
        Ok(())
    }

    /// Lets somebody see this account, and asks to see them.
    pub(super) fn approve(&mut self, jid: &BareJid) {
        self.out.push_back(subscription("subscribed", jid));
        if !self.roster.is_seen(jid) {
            self.out.push_back(subscription("subscribe", jid));
        }
    }

    /// Adding somebody means to share with them, so their request is answered in advance (RFC 6121 section 3.4) where the
    /// server can, and from the list of the invited where it cannot.
    fn add(&mut self, now: Instant, tag: u64, jid: &BareJid, name: Option<&str>, groups: &[String]) {
        let known = self.roster.contact(jid);
        let (sees_us, is_seen) = known.map_or((false, false), |contact| (contact.sees_us(), contact.is_seen()));
        // A set replaces name and groups (RFC 6121 section 2.3.3), so it is left out where it would change nothing.
        let entry = match known {
            Some(_) if name.is_none() && groups.is_empty() => None,
            Some(contact) => {
                let groups = if groups.is_empty() { &contact.groups } else { groups };
                Some(roster::set(jid, name.or(contact.name.as_deref()), groups))
            }
            None => Some(roster::set(jid, name, groups)),
        };
        if self.roster.forget_request(jid) {
            self.events.push_back(SessionEvent::RosterChanged);
        } else if !sees_us && self.invited.len() < MAX_INVITED {
            self.invited.insert(jid.clone());
        }
        match entry {
            Some(entry) => self.request(now, "set", None, entry, Tag::Command(tag)),
            None => self.done(tag),
        }
        if !sees_us {
            self.out.push_back(subscription("subscribed", jid));
        }
        if !is_seen {
            self.out.push_back(subscription("subscribe", jid));
        }
    }

    fn done(&mut self, tag: u64) {
        self.events.push_back(SessionEvent::RosterChanged);
        self.events.push_back(SessionEvent::CommandDone { tag, result: Ok(()) });
    }
}
