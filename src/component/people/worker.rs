//! The thread's loop: takes in what was heard, looks at the network when it changes, and publishes.

use std::io;
use std::sync::Arc;

use mio::{Events, Poll, Token, Waker};

use super::interfaces::Changes;
use super::model::Model;
use crate::bus::{Clock, Subscriber, SystemClock, WakeHook};
use crate::component::event::{Event, Part};

const WAKE: Token = Token(0);
const NETWORK: Token = Token(1);

/// What the thread sleeps on.
pub(super) struct Sleep {
    poll: Poll,
    waker: Arc<Waker>,
    changes: Changes,
}

impl Sleep {
    pub(super) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let changes = Changes::new(&poll, NETWORK);
        Ok(Self { poll, waker, changes })
    }

    /// Ends the sleep.
    pub(super) fn hook(&self) -> WakeHook {
        let waker = Arc::clone(&self.waker);
        Arc::new(move || {
            if let Err(error) = waker.wake() {
                log::error!("cannot wake the thread that knows the contacts: {error}");
            }
        })
    }
}

pub(super) struct Worker {
    sleep: Sleep,
    inbox: Subscriber<Event>,
    model: Model,
}

impl Worker {
    pub(super) fn new(sleep: Sleep, inbox: Subscriber<Event>, mut model: Model) -> Self {
        model.set_look_every(sleep.changes.look_every());
        Self { sleep, inbox, model }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(4);
        loop {
            self.inbox.rearm();
            while let Some(event) = self.inbox.try_recv() {
                if matches!(event, Event::Stop(Part::People)) {
                    return;
                }
                self.hear(event);
                self.model.publish(SystemClock.now());
            }
            let now = SystemClock.now();
            if self.sleep.changes.take() {
                self.model.look_soon(now);
            }
            self.model.look(now);
            self.model.publish(now);
            let pause = self.model.poll_timeout().saturating_duration_since(SystemClock.now());
            match self.sleep.poll.poll(&mut events, Some(pause)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    log::error!("the thread that knows the contacts cannot go on: {error}");
                    return;
                }
                _ => {}
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Told { via, told } => self.model.hear(SystemClock.now(), via, told),
            Event::Observed { witness, ip } => self.model.observed(SystemClock.now(), witness, ip),
            Event::SetPort(port) => self.model.set_port(SystemClock.now(), port),
            Event::PublishShares(shares) => self.model.set_own_shares(shares),
            _ => {}
        }
    }
}
