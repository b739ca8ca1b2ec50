//! The thread that knows the contacts of all roads, and how this node can be reached.
//!
//! Whoever speaks to contacts, one XMPP thread for each account, tells it what was heard ([`Told`](super::event::Told)).
//! It publishes all that as one snapshot, tells them how this node can be reached (`PublishEndpoint`), and torrents that
//! there may be new sources. Answers to commands pass through here, so that whoever reads one finds what it is about in
//! the snapshot.
//!
//! It never waits for anybody, so a queue that is full empties within moments; whoever finds it full reads no more from
//! its contacts until then.
//!
//! `worker.rs` is the loop, `model.rs` the snapshot, `roads.rs` what is known of each account,
//! `blocked.rs` where those can be met who are blocked (`places.rs` keeps it over restarts),
//! `interfaces.rs` tells when the own addresses change.

mod blocked;
mod interfaces;
mod model;
mod places;
mod roads;
mod worker;

use std::io;
use std::path::PathBuf;
use std::thread::JoinHandle;

use self::model::Model;
use self::worker::{Sleep, Worker};
use super::event::{Bus, Event, Part, Topic};
use super::snapshot::{Contacts, Published, Torrents};
use crate::bus::spawn;
use crate::share::{AddressOptions, ContactLimits};

/// Messages of one topic that may wait for this thread. Each may be a list of thousands of shares.
const INBOX: usize = 256;

const TOPICS: &[Topic] = &[Topic::People, Topic::Observed, Topic::SetPort, Topic::PublishShares, Topic::StopPeople];

/// What the thread is told at its start.
#[derive(Clone, Debug, Default)]
pub struct PeopleOptions {
    /// Which own addresses contacts are told.
    pub addresses: AddressOptions,
    /// Connect to contacts' loopback addresses (several nodes on one machine).
    pub allow_loopback: bool,
    /// Connect to contacts' ports below 1024.
    pub allow_low_ports: bool,
    /// How much of one contact counts.
    pub limits: ContactLimits,
    /// Where facts about the accounts are kept, with the places of whoever is blocked among them. `None`: nowhere.
    pub facts: Option<PathBuf>,
}

/// The running thread, as its owner sees it.
#[derive(Debug)]
pub struct PeopleThread {
    thread: Option<JoinHandle<()>>,
    bus: Bus,
}

impl PeopleThread {
    /// Starts the thread. When this returns the snapshot says how this node can be reached, as far as that is known.
    ///
    /// # Errors
    /// If the system has no threads or file descriptors left.
    pub fn start(
        options: &PeopleOptions,
        bus: Bus,
        contacts: Published<Contacts>,
        torrents: &Published<Torrents>,
    ) -> io::Result<Self> {
        let sleep = Sleep::new()?;
        let inbox = bus.subscribe_with_wake("people", TOPICS, INBOX, sleep.hook());
        // Read after the subscription was made, so that nothing falls between the two.
        let torrents = torrents.read();
        let model = Model::new(options, bus.clone(), contacts, &torrents);
        let worker = Worker::new(sleep, inbox, model);
        let thread = spawn("people", move || worker.run())?;
        Ok(Self { thread: Some(thread), bus })
    }

    /// True while the thread runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends the thread. It does not wait for anybody, so this takes a moment only.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let _ = self.bus.publish(Event::Stop(Part::People));
        if thread.join().is_err() {
            log::error!("the thread that knows the contacts panicked");
        }
    }
}

impl Drop for PeopleThread {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
