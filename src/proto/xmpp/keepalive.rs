//! Is the server still there? Decides when to ping it (XEP-0199) and when to give the connection up. Pure.
//!
//! Servers limit how fast they read (3 kB/s on Debian's ejabberd): a ping behind a long list is answered late although
//! all is well. So the time allowed for an answer grows with what was written since the server was last heard.

use std::time::{Duration, Instant};

/// Bytes per second that even a throttling server takes, on the safe side of what was measured.
const SLOWEST_SERVER: u64 = 2_000;

/// No answer may take longer than this, however much was written.
const LONGEST_ANSWER: Duration = Duration::from_secs(240);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a ping.
    Ping,
    /// The server is gone: close the connection.
    Dead,
}

/// Watches one connection.
#[derive(Clone, Debug)]
pub struct Keepalive {
    silence: Duration,
    answer: Duration,
    heard: Instant,
    asked: Option<Instant>,
    unanswered: u64,
}

impl Keepalive {
    /// Pings after `silence` without a byte from the server, and waits `answer` for one after that.
    pub const fn new(now: Instant, silence: Duration, answer: Duration) -> Self {
        Self { silence, answer, heard: now, asked: None, unanswered: 0 }
    }

    /// Bytes arrived: any byte proves that the server lives.
    pub const fn received(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
        self.unanswered = 0;
    }

    /// So many bytes were written.
    pub const fn sent(&mut self, bytes: u64) {
        self.unanswered = self.unanswered.saturating_add(bytes);
    }

    /// When to call [`Keepalive::check`] next.
    pub fn deadline(&self) -> Instant {
        match self.asked {
            None => self.heard + self.silence,
            Some(asked) => {
                let throttled = Duration::from_secs(self.unanswered / SLOWEST_SERVER);
                asked + (self.answer + throttled).min(LONGEST_ANSWER.max(self.answer))
            }
        }
    }

    /// What is due. After [`Due::Ping`] the answer is awaited.
    pub fn check(&mut self, now: Instant) -> Option<Due> {
        if now < self.deadline() {
            return None;
        }
        if self.asked.is_some() {
            return Some(Due::Dead);
        }
        self.asked = Some(now);
        Some(Due::Ping)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> (Instant, Keepalive) {
        let now = Instant::now();
        (now, Keepalive::new(now, 60 * SECOND, 30 * SECOND))
    }

    #[test]
    fn silence_is_answered_by_a_ping_and_more_silence_by_the_end() {
        let (start, mut keepalive) = watch();
        assert_eq!(keepalive.check(start + 59 * SECOND), None);
        assert_eq!(keepalive.check(start + 60 * SECOND), Some(Due::Ping));
        assert_eq!(keepalive.check(start + 61 * SECOND), None, "one ping is enough");
        assert_eq!(keepalive.deadline(), start + 90 * SECOND);
        assert_eq!(keepalive.check(start + 90 * SECOND), Some(Due::Dead));
    }

    #[test]
    fn any_byte_starts_the_watch_anew() {
        let (start, mut keepalive) = watch();
        keepalive.check(start + 60 * SECOND);
        keepalive.received(start + 89 * SECOND);
        assert_eq!(keepalive.check(start + 148 * SECOND), None);
        assert_eq!(keepalive.check(start + 149 * SECOND), Some(Due::Ping));
    }

    #[test]
    fn a_throttled_server_gets_time_to_read_but_not_for_ever() {
        let (start, mut keepalive) = watch();
        keepalive.sent(120_000);
        keepalive.check(start + 60 * SECOND);
        assert_eq!(keepalive.deadline(), start + (60 + 30 + 60) * SECOND);
        keepalive.sent(u64::MAX);
        assert_eq!(keepalive.deadline(), start + (60 + 240) * SECOND);
    }
}
