//! What the bus asks of the things said on it: an event knows its topic, a topic knows what to do when it is not heard.

use std::fmt::Debug;
use std::hash::Hash;

/// Something said on the bus.
///
/// Cloned once per further subscriber, so large payloads belong into an `Arc`.
pub trait Event: Clone + Send + 'static {
    /// The names by which subscribers choose what they hear, usually a field-less enum.
    type Topic: Topic;

    /// The topic of this event. The same event always answers the same.
    fn topic(&self) -> Self::Topic;
}

/// The kind of an event.
pub trait Topic: Copy + Eq + Hash + Debug + Send + Sync + 'static {
    /// What [`Bus::publish`](super::Bus::publish) does when a subscriber has no room left for this topic.
    fn when_full(self) -> WhenFull;
}

/// What happens to an event of a topic when a subscriber's queue for that topic is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// For state: the oldest message of the *same topic* makes room, because the newest one is the truth.
    DropOldest,
    /// For commands: the message is refused and the publisher is told. Nothing that was accepted is ever lost.
    Refuse,
}
