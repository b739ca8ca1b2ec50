//! What the user wants of neighbours: to accept them, and to do so no more.

use std::time::{Duration, Instant};

use super::meeting::Neighbor;
use super::worker::{Worker, now};
use crate::bus::Reply;
use crate::component::event::{ControlError, NeighborCommand, Told};
use crate::proto::xmpp::SessionEvent;
use crate::proto::xmpp::local::LocalName;
use crate::share::Fingerprint;

/// Whoever is to be accepted has this long to show who it is; callers wait ten seconds.
const MEET_WITHIN: Duration = Duration::from_secs(7);

/// Somebody who is to be accepted as soon as it is met.
#[derive(Debug)]
pub(super) struct Waiting {
    name: LocalName,
    reply: Reply<Result<(), ControlError>>,
    pub(super) until: Instant,
}

impl Worker {
    pub(super) fn command(&mut self, command: NeighborCommand) {
        match command {
            NeighborCommand::Accept { jid, reply } => self.accept(&jid, reply),
            NeighborCommand::Remove { jid, reply } => {
                let outcome = self.remove(&jid);
                self.tell();
                self.teller.answer(reply, outcome);
            }
        }
    }

    fn accept(&mut self, jid: &str, reply: Reply<Result<(), ControlError>>) {
        let name = match self.known(jid) {
            Ok(name) => name,
            Err(error) => {
                reply.send(Err(error));
                return;
            }
        };
        if self.store.neighbors.named(name.as_str()).is_some() {
            return self.teller.answer(reply, Ok(()));
        }
        let met = self.neighbors.get(&name).and_then(|known| known.fingerprint.filter(|_| known.stream.is_some()));
        match met {
            Some(fingerprint) => {
                let outcome = self.pin(&name, fingerprint);
                self.tell();
                self.teller.answer(reply, outcome);
            }
            None => {
                let now = now();
                if let Some(neighbor) = self.neighbors.get_mut(&name) {
                    neighbor.dial.plan(now);
                }
                self.waiting.push(Waiting { name, reply, until: now + MEET_WITHIN });
            }
        }
    }

    /// Remembers who has this name, and tells it.
    fn pin(&mut self, name: &LocalName, fingerprint: Fingerprint) -> Result<(), ControlError> {
        if !self.store.accept(name.as_str(), fingerprint) {
            return Err(ControlError::Refused("too many neighbours are accepted; remove one first".to_owned()));
        }
        log::info!("neighbour {} is accepted; its certificate: {fingerprint}", name.jid());
        let stream = self.neighbors.get_mut(name).and_then(|neighbor| {
            neighbor.refused = false;
            neighbor.stream
        });
        if let Some(stream) = stream.and_then(|key| self.streams.get_mut(key)) {
            stream.session.accept(true);
            self.store.set_mutual(&fingerprint, stream.session.is_mutual());
        }
        self.update_online(name);
        self.stale = true;
        Ok(())
    }

    /// Somebody is met whom the user may have accepted before.
    pub(super) fn accept_who_was_awaited(&mut self, name: &LocalName, fingerprint: Fingerprint) {
        let (mine, others): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|waiting| waiting.name == *name);
        self.waiting = others;
        for waiting in mine {
            let outcome = self.pin(name, fingerprint);
            self.tell();
            self.teller.answer(waiting.reply, outcome);
        }
    }

    /// Who was not met in time is not accepted.
    pub(super) fn give_up_waiting(&mut self, now: Instant) {
        let (late, others): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|waiting| waiting.until <= now);
        self.waiting = others;
        for waiting in late {
            let problem = self.neighbors.get(&waiting.name).and_then(|neighbor| neighbor.problem.clone());
            let text = problem.unwrap_or_else(|| format!("{} does not answer", waiting.name.jid()));
            waiting.reply.send(Err(ControlError::Refused(text)));
        }
    }

    /// The user accepts it no more, or not at all.
    fn remove(&mut self, jid: &str) -> Result<(), ControlError> {
        let name = self.known(jid)?;
        self.store.remove(name.as_str());
        self.teller.tell(Told::Session(SessionEvent::SharesGone { jid: name.jid() }));
        let Some(neighbor) = self.neighbors.get_mut(&name) else { return Ok(()) };
        let Neighbor { problem, stream, online, refused, .. } = neighbor;
        (*problem, *online, *refused) = (None, false, true);
        if let Some(stream) = stream.and_then(|key| self.streams.get_mut(key)) {
            stream.session.refuse();
        }
        self.forget_if_gone(&name);
        self.stale = true;
        Ok(())
    }

    fn known(&self, jid: &str) -> Result<LocalName, ControlError> {
        let known = |name: &LocalName| self.neighbors.contains_key(name);
        LocalName::parse(jid).filter(known).ok_or_else(|| {
            ControlError::Refused(format!("no neighbour is called {jid}; `bitween contacts` lists them"))
        })
    }
}
