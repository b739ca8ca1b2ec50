//! What this account's thread tells the one that knows all contacts: in order, and nothing is lost while that is busy.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::requests::Answer;
use crate::bus::PublishError;
use crate::component::event::{Bus, ControlError, Event, Told};
use crate::component::snapshot::RosterEntry;
use crate::proto::xmpp::XmppSession;
use crate::proto::xmpp::roster::{Contact, Subscription};
use crate::types::Via;

/// The roster is told at most this often: it is told as a whole, and a server may send changes one by one.
const ROSTER_EVERY: Duration = Duration::from_millis(10);

pub(super) struct Teller {
    bus: Bus,
    via: Via,
    /// What the reader had no room for.
    unsaid: VecDeque<Told>,
    /// The roster is to be told, not before this time.
    roster_due: Option<Instant>,
    roster_told: Option<Instant>,
}

impl Teller {
    pub(super) fn new(bus: Bus, via: Via) -> Self {
        Self { bus, via, unsaid: VecDeque::new(), roster_due: None, roster_told: None }
    }

    pub(super) fn tell(&mut self, told: Told) {
        self.unsaid.push_back(told);
        self.flush();
    }

    /// Passes on the outcome of a command. Whoever asked hears it when all that was told before can be read.
    pub(super) fn answer(&mut self, reply: Answer, outcome: Result<(), ControlError>) {
        self.tell(Told::Answer { reply, outcome });
    }

    /// Tells what could not be told yet. False while the reader has no room: until then there should be no more to tell.
    pub(super) fn flush(&mut self) -> bool {
        while let Some(told) = self.unsaid.pop_front() {
            match self.bus.publish(Event::Told { via: self.via, told }) {
                Ok(()) => {}
                Err(PublishError::Full { event: Event::Told { told, .. }, .. }) => {
                    self.unsaid.push_front(told);
                    return false;
                }
                // Nobody keeps a snapshot: while the program ends, or in a test.
                Err(error) => {
                    if let Event::Told { told: Told::Answer { reply, outcome }, .. } = error.into_event() {
                        reply.send(outcome);
                    }
                }
            }
        }
        true
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

    /// Tells the roster if it has changed and it is time; `at_once`: if it has changed.
    pub(super) fn tell_roster(&mut self, now: Instant, session: &XmppSession, at_once: bool) {
        if self.roster_due.take_if(|due| at_once || *due <= now).is_none() {
            return;
        }
        self.roster_told = Some(now);
        let roster = session.roster();
        let entry = |contact: &Contact| RosterEntry {
            via: self.via,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Reply;
    use crate::component::event::Topic;

    fn remains(told: &Event) -> String {
        match told {
            Event::Told { told: Told::Remains(lines), .. } => lines.concat(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_finds_no_room_is_told_later_in_order() {
        let bus = Bus::new();
        let reader = bus.subscribe("test", &[Topic::People], 2);
        let mut teller = Teller::new(bus, Via::FIRST);
        ["a", "b", "c", "d"].iter().for_each(|line| teller.tell(Told::Remains(vec![(*line).to_owned()])));
        assert!(!teller.flush(), "two wait");
        let mut heard = Vec::new();
        while let Some(event) = reader.try_recv() {
            heard.push(remains(&event));
            teller.flush();
        }
        assert!(teller.flush());
        assert_eq!(heard, ["a", "b", "c", "d"]);
    }

    #[test]
    fn without_a_reader_answers_still_arrive() {
        let mut teller = Teller::new(Bus::new(), Via::FIRST);
        let (reply, answer) = Reply::channel();
        teller.answer(reply, Ok(()));
        assert!(matches!(answer.try_take(), Ok(Some(Ok(())))));
    }
}
