//! What this account's thread tells the one that knows all contacts, and when it tells the roster.

use std::time::{Duration, Instant};

use super::requests::Answer;
use crate::component::event::{Bus, ControlError, Told};
use crate::component::snapshot::RosterEntry;
use crate::component::teller;
use crate::proto::xmpp::XmppSession;
use crate::proto::xmpp::roster::{Contact, Subscription};
use crate::types::Via;

/// The roster is told at most this often: it is told as a whole, and a server may send changes one by one.
const ROSTER_EVERY: Duration = Duration::from_millis(10);

pub(super) struct Teller {
    teller: teller::Teller,
    /// The roster is to be told, not before this time.
    roster_due: Option<Instant>,
    roster_told: Option<Instant>,
}

impl Teller {
    pub(super) fn new(bus: Bus, via: Via) -> Self {
        Self { teller: teller::Teller::new(bus, via), roster_due: None, roster_told: None }
    }

    pub(super) fn tell(&mut self, told: Told) {
        self.teller.tell(told);
    }

    /// Passes on the outcome of a command. Whoever asked hears it when all that was told before can be read.
    pub(super) fn answer(&mut self, reply: Answer, outcome: Result<(), ControlError>) {
        self.teller.answer(reply, outcome);
    }

    /// Tells what could not be told yet. False while the reader has no room: until then there should be no more to tell.
    pub(super) fn flush(&mut self) -> bool {
        self.teller.flush()
    }

    /// The roster has changed.
    pub(super) fn roster_changed(&mut self, now: Instant) {
        let due = self.roster_told.map_or(now, |told| told + ROSTER_EVERY);
        self.roster_due.get_or_insert(due);
    }

    /// When [`Self::tell_roster`] is to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.roster_due
    }

    /// Tells the roster if it has changed and it is time; `at_once`: if it has changed. Returns whether it did.
    pub(super) fn tell_roster(&mut self, now: Instant, session: &XmppSession, at_once: bool) -> bool {
        if self.roster_due.take_if(|due| at_once || *due <= now).is_none() {
            return false;
        }
        self.roster_told = Some(now);
        let roster = session.roster();
        let entry = |contact: &Contact| RosterEntry {
            via: self.teller.via(),
            jid: contact.jid.to_string(),
            name: contact.name.clone(),
            groups: contact.groups.clone(),
            subscription: word(contact.subscription).to_owned(),
            pending: contact.asked,
            resources: Vec::new(),
        };
        let entries = roster.contacts().map(entry).collect();
        let requests = roster.pending().map(ToString::to_string).collect();
        self.tell(Told::Roster { entries, requests });
        true
    }
}

const fn word(subscription: Subscription) -> &'static str {
    match subscription {
        Subscription::None => "none",
        Subscription::To => "to",
        Subscription::From => "from",
        Subscription::Both => "both",
    }
}
