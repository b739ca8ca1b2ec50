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

/// Thrown out twice within this time means that somebody comes back again and again.
const QUARREL: Duration = Duration::from_secs(60 * 60);

/// What is known of the ends of an account's streams.
#[derive(Debug)]
pub(super) struct Recovery {
    backoff: Backoff,
    pub(super) redirects: Redirects,
    /// The last stream, if it may go on.
    pub(super) broken: Option<Broken>,
    /// Until then its contacts count as online.
    broken_until: Option<Instant>,
    /// When another program took the resource.
    thrown_out: Option<Instant>,
    /// What the server is known to take, as it was written down.
    limit: Option<usize>,
}

impl Default for Recovery {
    fn default() -> Self {
        let backoff = Backoff::new(fastrand::u64(..));
        let redirects = Redirects::default();
        Self { backoff, redirects, broken: None, broken_until: None, thrown_out: None, limit: None }
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

    /// Another program has taken the resource. Whether that is becoming a habit.
    fn is_quarrel(&mut self, now: Instant) -> bool {
        self.thrown_out.replace(now).is_some_and(|before| now.saturating_duration_since(before) < QUARREL)
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
        self.take_events();
        let mut retry = error.retry();
        if matches!(error, ConnectError::Stream(error) if error.condition == "conflict") && self.has_evaded() {
            retry = Retry::Soon;
        }
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

impl Worker {
    /// Two programs with one resource that nobody has chosen (a copied data folder) would throw each other out for ever:
    /// the second time this one takes another. True if it did.
    fn has_evaded(&mut self) -> bool {
        if !self.recovery.is_quarrel(now()) {
            return false;
        }
        let Some(account) = self.account.clone().and_then(|account| self.facts.new_resource(&account)) else {
            return false;
        };
        let Ok(session) = self.new_session(&account) else { return false };
        log::warn!("XMPP: another program has the same resource; this one is {} from now on", account.resource);
        self.account = Some(account);
        self.session = Some(session);
        self.confirmed = false;
        true
    }

    /// Remembers what the server is known to take, if it has just refused more.
    pub(super) fn keep_limit(&mut self, session: &XmppSession) {
        let (limit, known) = (session.publish_limit(), self.recovery.limit.replace(session.publish_limit()));
        if known.is_some_and(|known| limit < known)
            && let Some(account) = &self.account
        {
            self.facts.keep_publish_limit(account, limit);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::xmpp::stream::StreamError;

    #[test]
    fn thrown_out_twice_in_an_hour_is_a_quarrel() {
        let mut recovery = Recovery::default();
        let start = now();
        assert!(!recovery.is_quarrel(start));
        assert!(!recovery.is_quarrel(start + QUARREL));
        assert!(recovery.is_quarrel(start + QUARREL + Duration::from_secs(600)));
    }

    #[test]
    fn who_is_sent_in_a_circle_waits() {
        let sent_to = |host: &str| {
            let other_host = Some(host.to_owned());
            ConnectError::Stream(StreamError { condition: "see-other-host".into(), text: None, other_host })
        };
        let mut recovery = Recovery::default();
        let mut pause = |host| recovery.pause(&sent_to(host), sent_to(host).retry()).unwrap();
        assert_eq!((pause("b.example:5222"), pause("[::1]:5222")), (Duration::ZERO, Duration::ZERO));
        assert!(pause("b.example:5222") >= Duration::from_secs(300));
        assert!(pause("no host/") >= Duration::from_secs(300));
    }
}
