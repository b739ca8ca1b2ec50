//! The answer to a command: one value, once, from whichever thread carries the command out.
//!
//! An event is cloned for each subscriber, so a [`Reply`] can be cloned; the first answer wins. When all copies are
//! dropped without an answer (nobody took the command, or the component that did has died) the asker is told at once
//! instead of waiting for its time-out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

/// The answering side, carried inside a command.
pub struct Reply<T> {
    sender: Sender<T>,
    answered: Arc<AtomicBool>,
}

/// The asking side.
pub struct Answer<T> {
    receiver: Receiver<T>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// None came in time; one may still come.
    #[error("no answer came in time")]
    Timeout,
    /// Every [`Reply`] is gone: none will come.
    #[error("the command was dropped without an answer")]
    Gone,
}

impl<T> Reply<T> {
    /// A reply and the answer that waits for it.
    #[must_use]
    pub fn channel() -> (Self, Answer<T>) {
        let (sender, receiver) = bounded(1);
        (Self { sender, answered: Arc::default() }, Answer { receiver })
    }

    /// Answers. `false` if somebody answered before or nobody waits any more.
    pub fn send(&self, value: T) -> bool {
        !self.answered.swap(true, Ordering::Relaxed) && self.sender.try_send(value).is_ok()
    }
}

impl<T> Answer<T> {
    /// Waits up to `timeout` for the answer. After a time-out it may be called again.
    ///
    /// # Errors
    /// [`AnswerError::Timeout`] or [`AnswerError::Gone`]; the latter also when the answer was already taken.
    pub fn wait(&self, timeout: Duration) -> Result<T, AnswerError> {
        self.receiver.recv_timeout(timeout).map_err(|error| match error {
            RecvTimeoutError::Timeout => AnswerError::Timeout,
            RecvTimeoutError::Disconnected => AnswerError::Gone,
        })
    }

    /// The answer if it is there already; `None` if it may still come. For poll loops.
    ///
    /// # Errors
    /// [`AnswerError::Gone`], as in [`wait`](Self::wait).
    pub fn try_take(&self) -> Result<Option<T>, AnswerError> {
        match self.receiver.try_recv() {
            Ok(value) => Ok(Some(value)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(AnswerError::Gone),
        }
    }
}

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), answered: self.answered.clone() }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("answered", &self.answered).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn an_answer_crosses_threads() {
        let (reply, answer) = Reply::channel();
        let thread = thread::spawn(move || reply.send("done"));
        assert_eq!(answer.wait(Duration::from_secs(10)), Ok("done"));
        assert!(thread.join().unwrap());
    }

    #[test]
    fn the_first_answer_wins() {
        let (first, answer) = Reply::channel();
        let second = first.clone();
        assert!(second.send(2));
        assert!(!first.send(1));
        assert_eq!(answer.wait(Duration::ZERO), Ok(2));
        assert!(!first.send(3), "also after the answer was taken");
    }

    #[test]
    fn replies_dropped_unanswered_are_noticed_at_once() {
        let (reply, answer) = Reply::<()>::channel();
        let copy = reply.clone();
        drop(reply);
        assert_eq!(answer.try_take(), Ok(None), "one copy could still answer");
        assert_eq!(answer.wait(Duration::from_millis(1)), Err(AnswerError::Timeout));
        let thread = thread::spawn(move || drop(copy));
        assert_eq!(answer.wait(Duration::from_secs(10)), Err(AnswerError::Gone));
        thread.join().unwrap();
    }

    #[test]
    fn an_answer_to_nobody_is_reported() {
        let (reply, answer) = Reply::channel();
        drop(answer);
        assert!(!reply.send(1));
    }
}
