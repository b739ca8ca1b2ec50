//! How long the loop waits, and what may end that.

use std::time::Duration;

use super::wake::Sleep;

/// Longest wait for input that [`Handler::awaits_input`](super::Handler::awaits_input) promised, if another thread has
/// news meanwhile. Taste: two pieces of 1 MiB are hashed and written in that time, and nobody notices it.
pub(super) const DOZE: Duration = Duration::from_millis(2);

/// How the loop waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    /// For so long at most; `None`: until something happens.
    pub(super) limit: Option<Duration>,
    pub(super) sleep: Sleep,
}

impl Pause {
    /// There is something to do.
    pub(super) const NONE: Self = Self { limit: Some(Duration::ZERO), sleep: Sleep::Awake };

    /// Until the next deadline, if there is one, or for input that comes soon.
    pub(super) fn new(deadline: Option<Duration>, awaits_input: bool) -> Self {
        if awaits_input {
            return Self { limit: Some(deadline.unwrap_or(DOZE).min(DOZE)), sleep: Sleep::Doze };
        }
        Self { limit: deadline, sleep: Sleep::Deep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doze_is_short_and_keeps_deadlines() {
        let (short, long) = (Duration::from_micros(7), Duration::from_secs(7));
        let doze = |limit| Pause { limit: Some(limit), sleep: Sleep::Doze };
        assert_eq!(Pause::new(None, true), doze(DOZE));
        assert_eq!(Pause::new(Some(long), true), doze(DOZE));
        assert_eq!(Pause::new(Some(short), true), doze(short));
        assert_eq!(Pause::new(Some(long), false), Pause { limit: Some(long), sleep: Sleep::Deep });
        assert_eq!(Pause::new(None, false), Pause { limit: None, sleep: Sleep::Deep });
    }
}
