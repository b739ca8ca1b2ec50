//! A subscriber: bounded queues that many publishers fill and one reader drains.
//!
//! Each topic has a lane of its own, so that a flood of state can neither push out a command nor another topic's
//! state. Every message gets a number when it is queued and the reader takes the lowest one, so the lanes read as one
//! queue in order of arrival. A channel cannot do that (no peeking, no displacing the oldest in one step), hence a
//! mutex, held for a push or a pop; messages are dropped and hooks called only after it was released.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::bus::{Shared, unsubscribe};
use super::lock;
use super::topic::{Event, Topic, WhenFull};

/// Called on a publisher's thread when a message waits. It should be short: a `mio::Waker`, an eventfd, a flag.
pub type WakeHook = Arc<dyn Fn() + Send + Sync>;

/// The reading end of a subscription. Dropping it unsubscribes, and drops what still waits (so that whoever waits for
/// a [`Reply`](super::Reply) in it is told at once).
pub struct Subscriber<E: Event> {
    queue: Arc<Queue<E>>,
    bus: Weak<Shared<E>>,
}

/// Why no message was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// None came in time.
    #[error("no message came in time")]
    Timeout,
    /// The bus is gone and everything left on it was read.
    #[error("the bus is closed")]
    Closed,
}

impl<E: Event> Subscriber<E> {
    pub(super) fn new(queue: Arc<Queue<E>>, bus: Weak<Shared<E>>) -> Self {
        Self { queue, bus }
    }

    /// The name given when subscribing.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.queue.name
    }

    /// The oldest waiting message, if there is one. Never waits.
    #[must_use]
    pub fn try_recv(&self) -> Option<E> {
        lock(&self.queue.inbox).pop()
    }

    /// Waits up to `timeout` for a message.
    ///
    /// # Errors
    /// [`RecvError::Timeout`] if none came; [`RecvError::Closed`] if none can come any more.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<E, RecvError> {
        let mut inbox = lock(&self.queue.inbox);
        inbox.waiting += 1;
        let (mut inbox, _) = self
            .queue
            .arrived
            .wait_timeout_while(inbox, timeout, |inbox| inbox.must_wait())
            .unwrap_or_else(PoisonError::into_inner);
        inbox.waiting -= 1;
        let closed = inbox.publishers_gone;
        inbox.pop().ok_or(if closed { RecvError::Closed } else { RecvError::Timeout })
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// [`RecvError::Closed`] if none can come any more.
    pub fn recv(&self) -> Result<E, RecvError> {
        let mut inbox = lock(&self.queue.inbox);
        inbox.waiting += 1;
        let mut inbox =
            self.queue.arrived.wait_while(inbox, |inbox| inbox.must_wait()).unwrap_or_else(PoisonError::into_inner);
        inbox.waiting -= 1;
        inbox.pop().ok_or(RecvError::Closed)
    }

    /// Whether a message waits.
    #[must_use]
    pub fn has_messages(&self) -> bool {
        lock(&self.queue.inbox).queued > 0
    }

    /// Allows the wake hook to be called again. A poll loop calls this *before* it drains: what arrives while it
    /// drains then wakes it once more, instead of being forgotten.
    pub fn rearm(&self) {
        lock(&self.queue.inbox).woken = false;
    }

    /// How many state messages were displaced by newer ones of their topic since the subscription began.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        lock(&self.queue.inbox).displaced
    }
}

impl<E: Event> Drop for Subscriber<E> {
    fn drop(&mut self) {
        unsubscribe(&self.bus, &self.queue);
        let unread = {
            let mut inbox = lock(&self.queue.inbox);
            inbox.reader_gone = true;
            inbox.queued = 0;
            std::mem::take(&mut inbox.lanes)
        };
        drop(unread); // after the lock: a message's drop may wake somebody
    }
}

/// The shared part of a subscription: filled by the bus, drained by the [`Subscriber`].
pub(super) struct Queue<E: Event> {
    name: &'static str,
    capacity: usize,
    inbox: Mutex<Inbox<E>>,
    arrived: Condvar,
    wake: Option<WakeHook>,
}

/// A message that was not queued.
pub(super) enum Rejected<E> {
    /// No room, and the topic refuses.
    Full(E),
    /// The reader is gone.
    Closed(E),
}

impl<E: Event> Queue<E> {
    pub(super) fn new(name: &'static str, topics: &[E::Topic], capacity: usize, wake: Option<WakeHook>) -> Self {
        let mut lanes: Vec<Lane<E>> = Vec::with_capacity(topics.len());
        for topic in topics {
            if !lanes.iter().any(|lane| lane.topic == *topic) {
                lanes.push(Lane { topic: *topic, messages: VecDeque::new() });
            }
        }
        let inbox = Mutex::new(Inbox {
            lanes,
            arrivals: 0,
            queued: 0,
            displaced: 0,
            waiting: 0,
            woken: false,
            reader_gone: false,
            publishers_gone: false,
        });
        Self { name, capacity: capacity.max(1), inbox, arrived: Condvar::new(), wake }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Queues one message and wakes the reader.
    pub(super) fn push(&self, topic: E::Topic, event: E) -> Result<(), Rejected<E>> {
        let mut inbox = lock(&self.inbox);
        if inbox.reader_gone {
            return Err(Rejected::Closed(event));
        }
        let displaced = inbox.push(topic, event, self.capacity).map_err(Rejected::Full)?;
        self.notify(inbox);
        drop(displaced); // after the lock: a message's drop may wake somebody
        Ok(())
    }

    /// Tells the reader that what is queued is all it will ever get.
    pub(super) fn no_more_publishers(&self) {
        let mut inbox = lock(&self.inbox);
        inbox.publishers_gone = true;
        self.notify(inbox);
    }

    /// Releases the lock and wakes the reader by whichever way it waits.
    fn notify(&self, mut inbox: MutexGuard<'_, Inbox<E>>) {
        let waiting = inbox.waiting > 0;
        let first = !std::mem::replace(&mut inbox.woken, true);
        drop(inbox);
        if waiting {
            // A notification without a waiter would still cost a system call.
            self.arrived.notify_one();
        }
        if let Some(wake) = self.wake.as_ref().filter(|_| first) {
            wake();
        }
    }
}

/// What the lock protects.
struct Inbox<E: Event> {
    lanes: Vec<Lane<E>>,
    /// Messages ever queued; gives each its number.
    arrivals: u64,
    /// Messages in all lanes.
    queued: usize,
    displaced: u64,
    /// Threads inside `recv` or `recv_timeout`.
    waiting: usize,
    /// The hook was called and the reader has not rearmed since.
    woken: bool,
    reader_gone: bool,
    publishers_gone: bool,
}

/// Messages that an empty lane keeps room for.
const KEPT_ROOM: usize = 64;

/// The waiting messages of one topic, oldest first, with their arrival numbers.
struct Lane<E: Event> {
    topic: E::Topic,
    messages: VecDeque<(u64, E)>,
}

impl<E: Event> Inbox<E> {
    /// Queues one message; `Ok` may hold the one it displaced, `Err` holds a refused one.
    fn push(&mut self, topic: E::Topic, event: E, capacity: usize) -> Result<Option<E>, E> {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.topic == topic) else {
            return Err(event); // the routes lead only to queues that have the lane
        };
        let mut displaced = None;
        if lane.messages.len() >= capacity {
            match topic.when_full() {
                WhenFull::Refuse => return Err(event),
                WhenFull::DropOldest => displaced = lane.messages.pop_front().map(|(_, oldest)| oldest),
            }
        }
        lane.messages.push_back((self.arrivals, event));
        self.arrivals += 1;
        if displaced.is_some() {
            self.displaced += 1;
        } else {
            self.queued += 1;
        }
        Ok(displaced)
    }

    /// The message that has waited longest. Looks at one message per topic, and a subscriber has a handful of topics.
    fn pop(&mut self) -> Option<E> {
        if self.queued == 0 {
            return None;
        }
        let heads = self.lanes.iter_mut().filter_map(|lane| lane.messages.front().map(|head| head.0).zip(Some(lane)));
        let (_, lane) = heads.min_by_key(|(number, _)| *number)?;
        let (_, event) = lane.messages.pop_front()?;
        if lane.messages.is_empty() && lane.messages.capacity() > KEPT_ROOM {
            // A flood is over; its room is not kept for the next one.
            lane.messages = VecDeque::new();
        }
        self.queued -= 1;
        Some(event)
    }

    fn must_wait(&self) -> bool {
        self.queued == 0 && !self.publishers_gone
    }
}
