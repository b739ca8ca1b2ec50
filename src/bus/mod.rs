//! The publish/subscribe bus and the scheduler (layer 1): how the daemon's threads talk.
//!
//! Generic: nothing in here knows what is said. An [`Event`] names its [`Topic`]; a topic says what happens when a
//! subscriber is slow ([`WhenFull`]). [`Bus::publish`] never waits for a subscriber: it copies the event into each
//! bounded queue, wakes the readers, and reports when nobody listens or when a command was refused. Commands carry a
//! [`Reply`], so that whoever asked learns the true outcome. The [`Scheduler`] publishes events later or periodically,
//! on a [`Clock`] that tests can replace.
//!
//! This is the only place in the crate where threads share a lock, and each is held for a push or a pop alone.

#[expect(clippy::module_inception, reason = "the file is named for its one type, like its neighbours")]
mod bus;
mod clock;
mod reply;
mod scheduler;
mod subscriber;
mod thread;
mod timers;
mod topic;

pub use bus::{Bus, PublishError};
pub use clock::{Clock, SystemClock, VirtualClock};
pub use reply::{Answer, AnswerError, Reply};
pub use scheduler::Scheduler;
pub use subscriber::{RecvError, Subscriber, WakeHook};
pub use thread::spawn;
pub use timers::{MAX_PERIOD, MIN_PERIOD, TimerId, Timers};
pub use topic::{Event, Topic, WhenFull};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also when a thread died while it held the lock: no code under these locks leaves a value half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
