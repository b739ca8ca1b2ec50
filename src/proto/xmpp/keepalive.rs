//! Is the server still there? Decides when to ask it (XEP-0198, XEP-0199) and when to give the connection up. Pure.
//!
//! Servers limit how fast they read (3 kB/s on Debian's ejabberd): a ping behind a long list is answered late although
//! all is well. So the time allowed for an answer grows with what was written since the server was last heard.
//! A machine that has slept is another matter: the server has most likely given the connection up meanwhile.

use std::time::{Duration, Instant};

/// Bytes per second that even a throttling server takes, on the safe side of what was measured.
const SLOWEST_SERVER: u64 = 2_000;

/// No answer may take longer than this, however much was written.
const LONGEST_ANSWER: Duration = Duration::from_secs(240);

/// Wait for an answer after the machine has slept.
const AWAKE_ANSWER: Duration = Duration::from_secs(5);

/// A sleep shorter than this breaks no connection.
const SHORTEST_SLEEP: Duration = Duration::from_secs(10);

/// Notices that the machine has slept: time has passed then that its monotonic clock does not know of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sleep {
    asleep: Option<Duration>,
}

impl Sleep {
    /// Whether the machine has slept since the last call. Takes the time since the machine was started as two clocks
    /// have it: one that stands still in its sleep, and one that does not.
    pub fn has_slept(&mut self, awake: Duration, all: Duration) -> bool {
        let asleep = all.saturating_sub(awake);
        self.asleep.replace(asleep).is_some_and(|before| asleep.saturating_sub(before) >= SHORTEST_SLEEP)
    }
}

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
    /// The machine has slept, and nothing was heard since.
    slept: bool,
    unanswered: u64,
}

impl Keepalive {
    /// Pings after `silence` without a byte from the server, and waits `answer` for one after that.
    pub const fn new(now: Instant, silence: Duration, answer: Duration) -> Self {
        Self { silence, answer, heard: now, asked: None, slept: false, unanswered: 0 }
    }

    /// Bytes arrived: any byte proves that the server lives.
    pub const fn received(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
        self.slept = false;
        self.unanswered = 0;
    }

    /// The machine has slept: the server is to be asked at once.
    pub const fn slept(&mut self, now: Instant) {
        self.asked = Some(now);
        self.slept = true;
    }

    /// So many bytes were written.
    pub const fn sent(&mut self, bytes: u64) {
        self.unanswered = self.unanswered.saturating_add(bytes);
    }

    /// When to call [`Keepalive::check`] next.
    pub fn deadline(&self) -> Instant {
        match self.asked {
            None => self.heard + self.silence,
            Some(asked) if self.slept => asked + AWAKE_ANSWER,
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
    fn after_a_sleep_an_answer_is_wanted_soon() {
        let (start, mut keepalive) = watch();
        keepalive.sent(120_000);
        keepalive.slept(start + SECOND);
        assert_eq!(keepalive.check(start + 5 * SECOND), None);
        assert_eq!(keepalive.check(start + 6 * SECOND), Some(Due::Dead));
        keepalive.received(start + 7 * SECOND);
        assert_eq!(keepalive.deadline(), start + 67 * SECOND);
    }

    #[test]
    fn a_sleep_is_time_that_one_clock_has_missed() {
        let mut sleep = Sleep::default();
        let clocks = [(10, 500), (90, 580), (91, 590), (92, 600), (100, 618), (101, 619), (50, 0)];
        let slept = clocks.map(|(awake, all)| sleep.has_slept(awake * SECOND, all * SECOND));
        assert_eq!(slept, [false, false, false, false, true, false, false]);
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
