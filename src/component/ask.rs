//! Commands over the bus with an answer: what a caller outside the threads uses.

use std::time::Duration;

use super::event::{Bus, ControlError, Event};
use crate::bus::{AnswerError, PublishError, Reply};

/// How long an answer may take that waits for nothing but another thread's turn.
pub const SOON: Duration = Duration::from_secs(10);

/// Publishes the command that `build` makes and waits for its answer.
///
/// # Errors
/// What the component answered, or [`ControlError::NoAnswer`] if `who` is not there, too busy or too slow.
pub fn ask<T>(
    bus: &Bus,
    who: &'static str,
    patience: Duration,
    build: impl FnOnce(Reply<Result<T, ControlError>>) -> Event,
) -> Result<T, ControlError> {
    let (reply, answer) = Reply::channel();
    match bus.publish(build(reply)) {
        Ok(()) => {}
        Err(PublishError::Full { .. }) => return Err(ControlError::Refused(format!("{who} is too busy; try again"))),
        Err(_) => return Err(ControlError::NoAnswer(who)),
    }
    match answer.wait(patience) {
        Ok(result) => result,
        Err(AnswerError::Timeout | AnswerError::Gone) => Err(ControlError::NoAnswer(who)),
    }
}
