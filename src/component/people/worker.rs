//! The thread's loop: takes in what was heard, looks at the network from time to time, and publishes.

use super::model::Model;
use crate::bus::{Clock, RecvError, Subscriber, SystemClock};
use crate::component::event::{Event, Part};

pub(super) struct Worker {
    inbox: Subscriber<Event>,
    model: Model,
}

impl Worker {
    pub(super) fn new(inbox: Subscriber<Event>, model: Model) -> Self {
        Self { inbox, model }
    }

    pub(super) fn run(mut self) {
        loop {
            let now = SystemClock.now();
            self.model.look(now);
            self.model.publish(now);
            let pause = self.model.poll_timeout().saturating_duration_since(SystemClock.now());
            match self.inbox.recv_timeout(pause) {
                Ok(Event::Stop(Part::People)) | Err(RecvError::Closed) => return,
                Ok(event) => self.hear(event),
                Err(_) => {}
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Told { via, told } => self.model.hear(SystemClock.now(), via, told),
            Event::SetPort(port) => self.model.set_port(SystemClock.now(), port),
            Event::PublishShares(shares) => self.model.set_own_shares(shares),
            _ => {}
        }
    }
}
