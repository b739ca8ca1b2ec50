//! When to connect again: jittered exponential back-off, pure (time and seed are given).
//!
//! A server that restarts has all its clients come back; without jitter and growing pauses they would knock it over
//! again. Errors that will not go away by themselves in a minute wait long, those that we cause by coming back longer
//! each time; a wrong password waits for the user, since servers lock accounts that keep trying.

use std::time::{Duration, Instant};

/// The first pause, and the unit that doubles.
const FIRST: Duration = Duration::from_secs(1);

/// No pause of a [`Retry::Soon`] is longer: somebody may be waiting for the server, or the line, to be back.
const LONGEST: Duration = Duration::from_secs(120);

/// No pause of a [`Retry::Later`] is shorter, and none is longer than twice that.
const LATER: Duration = Duration::from_secs(300);

/// A connection that lasted this long was a good one, as far as being sent elsewhere is concerned.
pub(super) const STABLE: Duration = Duration::from_secs(60);

/// After a connection that lasted this long the next failure starts with a short pause again. So a server hears of each
/// client four times a minute at most, and a line that breaks twice a minute for an hour does not keep anybody away for
/// most of that hour.
const TRIED: Duration = Duration::from_secs(15);

/// The longest pauses of a [`Retry::Rarely`], one after the other; the shortest are half of them.
const RARELY: [Duration; 3] =
    [Duration::from_secs(10 * 60), Duration::from_secs(60 * 60), Duration::from_secs(6 * 60 * 60)];

/// After so long a connection those begin anew. Longer than the second of them: of two programs that throw each other
/// out each one's connections last as long as the other's pauses.
const PEACE: Duration = Duration::from_secs(2 * 60 * 60);

/// Whether trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Likely to pass by itself: network, restart of the server.
    Soon,
    /// Somebody has to do something, or should at least not be pushed: wait minutes.
    Later,
    /// It will happen again whenever we come back, unless somebody does something: wait longer each time.
    Rarely,
    /// Pointless until the user changes the account's settings.
    Never,
}

/// The pauses of one account.
#[derive(Clone, Debug)]
pub struct Backoff {
    random: fastrand::Rng,
    failures: u32,
    /// How many of them were of the kind that waits longer each time.
    rare: usize,
    connected: Option<Instant>,
}

impl Backoff {
    /// Nothing has failed yet. `seed` decides the jitter.
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), failures: 0, rare: 0, connected: None }
    }

    /// A connection was made.
    pub fn connected(&mut self, now: Instant) {
        self.connected = Some(now);
    }

    /// The connection ended or could not be made. How long to wait before the next attempt; `None`: do not try again.
    pub fn failed(&mut self, now: Instant, retry: Retry) -> Option<Duration> {
        let lasted = self.connected.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if lasted >= TRIED {
            self.failures = 0;
        }
        if lasted >= PEACE {
            self.rare = 0;
        }
        let pause = match retry {
            Retry::Never => return None,
            Retry::Later => self.jitter(LATER, LATER * 2),
            Retry::Rarely => {
                let longest = RARELY.get(self.rare).or(RARELY.last()).copied().unwrap_or(LONGEST);
                self.rare = self.rare.saturating_add(1);
                self.jitter(longest / 2, longest)
            }
            Retry::Soon => {
                let longest = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
                self.jitter(longest / 2, longest)
            }
        };
        self.failures = self.failures.saturating_add(1);
        Some(pause)
    }

    fn jitter(&mut self, from: Duration, to: Duration) -> Duration {
        from + (to - from).mul_f64(self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;

    #[test]
    fn pauses_double_up_to_two_minutes_and_are_jittered() {
        let now = Instant::now();
        let mut backoff = Backoff::new(7);
        let pauses: Vec<f64> = (0..20).map(|_| backoff.failed(now, Retry::Soon).unwrap().as_secs_f64()).collect();
        for (index, pause) in pauses.iter().enumerate() {
            let longest = 120_f64.min(f64::from(1_u32 << index));
            assert!((longest / 2.0..=longest).contains(pause), "{index}: {pause}");
        }
        assert_ne!(pauses[18].to_bits(), pauses[19].to_bits());
        assert_ne!(Backoff::new(1).failed(now, Retry::Soon), Backoff::new(2).failed(now, Retry::Soon));
    }

    #[test]
    fn only_a_stable_connection_resets_the_pauses() {
        let now = Instant::now();
        let mut backoff = Backoff::new(7);
        for _ in 0..9 {
            backoff.failed(now, Retry::Soon);
        }
        backoff.connected(now);
        assert!(backoff.failed(now + Duration::from_secs(14), Retry::Soon).unwrap() >= LONGEST / 2);
        backoff.connected(now);
        assert!(backoff.failed(now + Duration::from_secs(15), Retry::Soon).unwrap() <= Duration::from_secs(1));
    }

    #[test]
    fn a_line_that_breaks_twice_a_minute_keeps_nobody_away() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut backoff = Backoff::new(7);
        for _ in 0..9 {
            backoff.failed(start, Retry::Soon);
        }
        for _ in 0..9 {
            backoff.connected(start);
            assert!(backoff.failed(start + 25 * second, Retry::Soon).unwrap() <= second);
            assert!(backoff.failed(start + 25 * second, Retry::Soon).unwrap() <= 2 * second);
        }
    }

    #[test]
    fn what_happens_whenever_we_come_back_waits_longer_each_time() {
        let now = Instant::now();
        let mut backoff = Backoff::new(7);
        let mut at = now;
        for longest in [10, 60, 360, 360] {
            // Thrown out after as long as the other one waited.
            backoff.connected(at);
            at += Duration::from_secs(60 * 60);
            let pause = backoff.failed(at, Retry::Rarely).unwrap();
            let longest = Duration::from_secs(longest * 60);
            assert!((longest / 2..=longest).contains(&pause), "{pause:?}");
        }
        backoff.connected(at);
        assert!(backoff.failed(at + PEACE, Retry::Rarely).unwrap() <= Duration::from_secs(600));
    }

    #[test]
    fn certificates_wait_long_and_wrong_passwords_for_ever() {
        let now = Instant::now();
        let mut backoff = Backoff::new(7);
        let pause = backoff.failed(now, Retry::Later).unwrap();
        assert!((Duration::from_secs(300)..=Duration::from_secs(600)).contains(&pause));
        assert_eq!(backoff.failed(now, Retry::Never), None);
    }
}
