//! Until when one announce may go on. Asked again and again while it waits, because stopping brings the end nearer.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::{AnnounceError, FAREWELL_TIME};
use crate::bus::{Clock, SystemClock};

/// The limit of one announce.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    /// As long as nothing is being stopped.
    own: Instant,
    farewell: bool,
    /// Set when stopping: when the last farewell must be over.
    stop_by: Arc<OnceLock<Instant>>,
}

impl Deadline {
    pub(super) fn new(own: Instant, farewell: bool, stop_by: Arc<OnceLock<Instant>>) -> Self {
        Self { own, farewell, stop_by }
    }

    pub(super) fn at(&self) -> Instant {
        match self.stop_by.get() {
            None => self.own,
            Some(stop_by) if self.farewell => self.own.min(*stop_by),
            Some(stop_by) => self.own.min(*stop_by - FAREWELL_TIME), // when stopping began
        }
    }

    /// Time that is left.
    ///
    /// # Errors
    /// [`AnnounceError::Timeout`], or [`AnnounceError::Stopped`] if there would be time without that.
    pub(super) fn left(&self) -> Result<Duration, AnnounceError> {
        let now = SystemClock.now();
        let left = self.at().saturating_duration_since(now);
        match left.is_zero() {
            false => Ok(left),
            true if now < self.own => Err(AnnounceError::Stopped),
            true => Err(AnnounceError::Timeout),
        }
    }
}

/// Longest wait for anything before the deadline is looked at again.
pub(super) const SLICE: Duration = Duration::from_millis(100);
