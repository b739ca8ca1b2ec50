//! What follows when a stream ends: whether it is taken up again, and when and where the next attempt is made.

use std::time::{Duration, Instant};

use super::connection::Broken;
use super::error::ConnectError;
use super::port::now;
use super::worker::Worker;
use crate::component::event::ControlError;
use crate::component::snapshot::AccountState;
use crate::proto::xmpp::XmppSession;
use crate::proto::xmpp::backoff::{Backoff, Retry};
use crate::proto::xmpp::dns::Endpoint;
use crate::proto::xmpp::framing::FramingError;
use crate::proto::xmpp::redirect::Redirects;

/// What is known of the ends of an account's streams.
#[derive(Debug)]
pub(super) struct Recovery {
    backoff: Backoff,
    pub(super) redirects: Redirects,
    /// The last stream, if it may go on.
    pub(super) broken: Option<Broken>,
    /// Until then its contacts count as online.
    broken_until: Option<Instant>,
}

impl Default for Recovery {
    fn default() -> Self {
        let backoff = Backoff::new(fastrand::u64(..));
        Self { backoff, redirects: Redirects::default(), broken: None, broken_until: None }
    }
}

impl Recovery {
    pub(super) fn connected(&mut self, now: Instant) {
        self.backoff.connected(now);
        self.redirects.connected(now);
    }

    /// The broken stream is not broken any more.
    pub(super) const fn went_on(&mut self) {
        self.broken_until = None;
    }

    /// When the broken stream is given up.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.broken_until
    }

    /// How long to wait; `None`: for ever.
    fn pause(&mut self, error: &ConnectError, retry: Retry) -> Option<Duration> {
        let target = error.other_host().and_then(|host| Endpoint::read(host, None));
        if target.is_some_and(|target| self.redirects.follow(now(), target)) {
            return Some(Duration::ZERO);
        }
        self.backoff.failed(now(), retry)
    }
}

impl Worker {
    /// The connection broke. Nobody goes offline while the stream may go on.
    pub(super) fn keep_broken(&mut self, broken: Option<Broken>) {
        let Some(span) = broken.as_ref().and_then(Broken::resumable_for) else { return };
        if let Some(session) = &mut self.session {
            session.suspended(now());
        }
        self.recovery.broken = broken;
        self.recovery.broken_until = Some(now() + span);
    }

    /// What broke will not go on.
    pub(super) fn give_up_broken(&mut self, problem: &str) {
        self.recovery.broken = None;
        if self.recovery.broken_until.take().is_some() {
            self.lose_stream();
            self.requests.disconnected(problem, &mut self.teller);
        }
    }

    pub(super) fn lose_stream(&mut self) {
        self.unsent = None;
        if let Some(session) = &mut self.session {
            session.stream_lost();
        }
        self.take_events();
    }

    /// A stream ended, or there was none.
    pub(super) fn failed(&mut self, error: &ConnectError) {
        if let Some(session) = &mut self.session {
            learn(error, session);
        }
        let retry = error.retry();
        let pause = self.recovery.pause(error, retry);
        self.next_attempt = pause.map(|pause| now() + pause);
        let problem = error.to_string();
        log::warn!(
            "XMPP: {problem}; {}",
            match pause {
                Some(pause) => format!("trying again in {} s", pause.as_secs().max(1)),
                None => "not trying again until the account is set anew".to_owned(),
            }
        );
        let state = if pause.is_some() { AccountState::Offline } else { AccountState::Failed };
        self.set_state(state, Some(problem.clone()));
        match retry {
            Retry::Soon if self.recovery.broken.is_some() => {}
            _ => {
                self.give_up_broken(&problem);
                self.requests.disconnected(&problem, &mut self.teller);
            }
        }
        match (retry, pause) {
            (Retry::Soon, _) => self.keep_account(Err(ControlError::Offline(problem))),
            // Sent elsewhere: that one decides.
            (_, Some(Duration::ZERO)) => {}
            (Retry::Later | Retry::Rarely | Retry::Never, _) => self.refuse_account(problem),
        }
    }
}

/// What the end of a stream says about what to send and to ask for.
fn learn(error: &ConnectError, session: &mut XmppSession) {
    match error {
        ConnectError::Stream(error) if error.condition == "policy-violation" => session.publish_was_too_big(now()),
        ConnectError::Framing(FramingError::TooLong { .. } | FramingError::TooManyNodes { .. }) => {
            session.answer_was_too_long();
        }
        _ => {}
    }
}
