//! The bus itself: who listens to which topic, and the delivery of one event to all of them.
//!
//! The routes are copied on each (rare) change, so that delivery and wake hooks run without any lock on them: a hook
//! may publish, subscribe or unsubscribe. Usable from every thread.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::subscriber::{Queue, Rejected, Subscriber, WakeHook};
use super::topic::Event;

/// A publish/subscribe bus. Clones are handles to the same bus.
///
/// When the last handle is gone, subscribers read what is left and are then told
/// [`RecvError::Closed`](super::RecvError::Closed).
pub struct Bus<E: Event> {
    shared: Arc<Shared<E>>,
}

/// Why an event did not reach everybody. Hands the event back.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PublishError<E: Event> {
    /// No living subscriber has chosen this topic.
    #[error("nobody listens to {:?}", .0.topic())]
    NoSubscriber(E),
    /// A subscriber had no room and the topic refuses in that case. Subscribers with room did receive the event.
    #[error("{subscriber} is too busy for {:?}", .event.topic())]
    Full {
        /// The event, to be tried again later or answered with a failure.
        event: E,
        /// The first subscriber that refused.
        subscriber: &'static str,
    },
}

impl<E: Event> PublishError<E> {
    /// The event that was not delivered, whatever the reason.
    pub fn into_event(self) -> E {
        match self {
            Self::NoSubscriber(event) | Self::Full { event, .. } => event,
        }
    }
}

impl<E: Event> fmt::Debug for PublishError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSubscriber(event) => f.debug_tuple("NoSubscriber").field(&event.topic()).finish(),
            Self::Full { event, subscriber } => {
                f.debug_struct("Full").field("topic", &event.topic()).field("subscriber", subscriber).finish()
            }
        }
    }
}

impl<E: Event> Bus<E> {
    /// A bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self { shared: Arc::new(Shared { routes: RwLock::default() }) }
    }

    /// Delivers `event` to everyone who subscribed to its topic. Never waits for a subscriber.
    ///
    /// What one thread publishes arrives in that order at each subscriber; events of different threads may arrive in
    /// different orders at different subscribers.
    ///
    /// # Errors
    /// [`PublishError::NoSubscriber`] if nobody received it; [`PublishError::Full`] if somebody refused it, see
    /// [`WhenFull::Refuse`](super::WhenFull::Refuse).
    pub fn publish(&self, event: E) -> Result<(), PublishError<E>> {
        let topic = event.topic();
        let Some(listeners) = self.shared.listeners(topic) else {
            return Err(PublishError::NoSubscriber(event));
        };
        let Some((last, others)) = listeners.split_last() else {
            return Err(PublishError::NoSubscriber(event));
        };
        let mut refused_by = None;
        let mut delivered = false;
        for queue in others {
            match queue.push(topic, event.clone()) {
                Ok(()) => delivered = true,
                Err(Rejected::Full(_)) => refused_by = refused_by.or(Some(queue.name())),
                Err(Rejected::Closed(_)) => {}
            }
        }
        // The last one gets the original, so that one listener costs no clone. If it goes through although another
        // one refused, the caller still needs an event back: clone only then.
        let spare = refused_by.map(|name| (name, event.clone()));
        let outcome = last.push(topic, event);
        match (outcome, spare) {
            (_, Some((subscriber, event))) => Err(PublishError::Full { event, subscriber }),
            (Ok(()), None) => Ok(()),
            (Err(Rejected::Full(event)), None) => Err(PublishError::Full { event, subscriber: last.name() }),
            (Err(Rejected::Closed(_)), None) if delivered => Ok(()),
            (Err(Rejected::Closed(event)), None) => Err(PublishError::NoSubscriber(event)),
        }
    }

    /// Subscribes to `topics`. `name` appears in errors; `capacity` (at least 1) is the number of waiting messages
    /// *per topic*, so that a busy topic never takes the room of another.
    #[must_use]
    pub fn subscribe(&self, name: &'static str, topics: &[E::Topic], capacity: usize) -> Subscriber<E> {
        self.add(Queue::new(name, topics, capacity, None), topics)
    }

    /// Like [`subscribe`](Self::subscribe), for a poll loop: `wake` is called, on the publisher's thread and without
    /// any lock held, when a message arrives and it was not called since the last [`Subscriber::rearm`].
    #[must_use]
    pub fn subscribe_with_wake(
        &self,
        name: &'static str,
        topics: &[E::Topic],
        capacity: usize,
        wake: WakeHook,
    ) -> Subscriber<E> {
        self.add(Queue::new(name, topics, capacity, Some(wake)), topics)
    }

    fn add(&self, queue: Queue<E>, topics: &[E::Topic]) -> Subscriber<E> {
        let queue = Arc::new(queue);
        self.shared.change(|routes| {
            for topic in topics {
                let listeners = routes.entry(*topic).or_default();
                if !listeners.iter().any(|other| Arc::ptr_eq(other, &queue)) {
                    *listeners = listeners.iter().cloned().chain([queue.clone()]).collect();
                }
            }
        });
        Subscriber::new(queue, Arc::downgrade(&self.shared))
    }
}

impl<E: Event> Default for Bus<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Event> Clone for Bus<E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<E: Event> fmt::Debug for Bus<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").finish_non_exhaustive()
    }
}

type Listeners<E> = Arc<[Arc<Queue<E>>]>;
type Routes<E> = HashMap<<E as Event>::Topic, Listeners<E>>;

/// What the handles of one bus share.
pub(super) struct Shared<E: Event> {
    routes: RwLock<Routes<E>>,
}

impl<E: Event> Shared<E> {
    fn listeners(&self, topic: E::Topic) -> Option<Listeners<E>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).get(&topic).cloned()
    }

    fn change(&self, edit: impl FnOnce(&mut Routes<E>)) {
        edit(&mut self.routes.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Takes a queue out of all routes; nothing to do when the bus itself is gone.
pub(super) fn unsubscribe<E: Event>(bus: &Weak<Shared<E>>, queue: &Arc<Queue<E>>) {
    let Some(shared) = bus.upgrade() else { return };
    shared.change(|routes| {
        routes.retain(|_, listeners| {
            if listeners.iter().any(|other| Arc::ptr_eq(other, queue)) {
                *listeners = listeners.iter().filter(|other| !Arc::ptr_eq(other, queue)).cloned().collect();
            }
            !listeners.is_empty()
        });
    });
}

impl<E: Event> Drop for Shared<E> {
    fn drop(&mut self) {
        let routes = std::mem::take(self.routes.get_mut().unwrap_or_else(PoisonError::into_inner));
        for queue in routes.values().flat_map(|listeners| listeners.iter()) {
            queue.no_more_publishers();
        }
    }
}
