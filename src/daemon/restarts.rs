//! How often a component may be started anew: a bug that is met now and then costs seconds, one that is met at once
//! must not keep the machine busy for ever. Pure: the time is an argument.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// This many restarts of one component are tried ...
const MAX_RESTARTS: usize = 3;
/// ... within this time.
const WINDOW: Duration = Duration::from_secs(600);

/// The restarts of the last ten minutes.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    times: HashMap<&'static str, VecDeque<Instant>>,
}

impl Restarts {
    /// A component ended. `Ok`: start it anew. `Err` holds how often that was done lately, in vain.
    pub(super) fn may_restart(&mut self, what: &'static str, now: Instant) -> Result<(), usize> {
        let times = self.times.entry(what).or_default();
        times.retain(|time| now.saturating_duration_since(*time) < WINDOW);
        if times.len() >= MAX_RESTARTS {
            return Err(times.len());
        }
        times.push_back(now);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.times.values().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn three_restarts_in_ten_minutes_and_no_more() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut restarts = Restarts::default();
        for second in [0, 1, 300] {
            assert_eq!(restarts.may_restart("library", at(second)), Ok(()));
        }
        assert_eq!(restarts.may_restart("library", at(599)), Err(3));
        assert_eq!(restarts.may_restart("XMPP", at(599)), Ok(()), "each component counts alone");
        assert_eq!(restarts.may_restart("library", at(601)), Ok(()), "the first two are forgotten");
    }
}
