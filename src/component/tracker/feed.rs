//! The tracker threads as a component: announces come over the bus, their outcomes go back over it.

use std::io;
use std::sync::Arc;

use super::{AnnounceReply, TrackerOptions, TrackerPool};
use crate::bus::{RecvError, Subscriber};
use crate::component::event::{Bus, Event, Part, Topic};
use crate::component::running::Running;

/// Announces that may wait to be taken.
const INBOX: usize = 4096;

/// The running threads, as their owner sees them.
#[derive(Debug)]
pub struct TrackerThreads(Running);

impl TrackerThreads {
    /// Starts the pool and the thread that feeds it.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(options: TrackerOptions, bus: Bus) -> io::Result<Self> {
        let replies = bus.clone();
        let deliver = Arc::new(move |reply| deliver(&replies, reply));
        let pool = TrackerPool::start(options, deliver)?;
        let inbox = bus.subscribe("tracker", &[Topic::Announce, Topic::StopTracker], INBOX);
        let replies = bus.clone();
        let run = move || feed(&pool, &inbox, &replies);
        Ok(Self(Running::start("tracker", Part::Tracker, bus, run)?))
    }

    /// True while the thread runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.is_alive()
    }

    /// Ends the threads in less than two seconds. Farewells that were said before are still sent.
    pub fn stop(&mut self) {
        self.0.stop();
    }
}

fn feed(pool: &TrackerPool, inbox: &Subscriber<Event>, replies: &Bus) {
    loop {
        match inbox.recv() {
            Ok(Event::Announce(request)) => {
                let request = Arc::unwrap_or_clone(request);
                let (torrent, url, event) = (request.torrent, Arc::clone(&request.url), request.announce.event);
                if let Err(error) = pool.submit(request) {
                    deliver(replies, AnnounceReply { torrent, url, event, result: Err(error) });
                }
            }
            Ok(Event::Stop(Part::Tracker)) | Err(RecvError::Closed) => return pool.stop(),
            _ => {}
        }
    }
}

fn deliver(bus: &Bus, reply: AnnounceReply) {
    // Nobody listens any more when the outcome of a farewell comes.
    let _ = bus.publish(Event::Announced(Arc::new(reply)));
}
