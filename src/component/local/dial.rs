//! Whom this side calls, and when: one address after the other, then a pause that grows.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::proto::xmpp::backoff::{Backoff, Retry};

/// The next address of the same neighbour is tried this soon.
const NEXT: Duration = Duration::from_millis(50);

/// The attempts to reach one neighbour.
#[derive(Debug)]
pub(super) struct Dial {
    backoff: Backoff,
    addresses: Vec<SocketAddr>,
    /// Which of them is next.
    place: usize,
    /// When; `None` while a call is under way, or pointless.
    due: Option<Instant>,
}

impl Dial {
    pub(super) fn new(due: Option<Instant>) -> Self {
        Self { backoff: Backoff::new(fastrand::u64(..)), addresses: Vec::new(), place: 0, due }
    }

    /// Where it is. New addresses are tried soon.
    pub(super) fn set_addresses(&mut self, addresses: Vec<SocketAddr>) {
        if self.addresses != addresses {
            self.addresses = addresses;
            self.place = 0;
        }
    }

    pub(super) fn is_somewhere(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// When [`Self::call`] is to be called.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Not before this time, if nothing is planned or later.
    pub(super) fn plan(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Not before this time.
    pub(super) fn put_off(&mut self, until: Instant) {
        self.due = Some(until);
    }

    /// There is nothing to be called for.
    pub(super) fn rest(&mut self) {
        self.due = None;
    }

    /// The address to call now.
    pub(super) fn call(&mut self) -> Option<SocketAddr> {
        self.due = None;
        self.addresses.get(self.place).copied()
    }

    /// The call was of no use, or the stream is over.
    pub(super) fn failed(&mut self, now: Instant, retry: Retry) {
        self.place += 1;
        let pause = if self.place < self.addresses.len() && retry == Retry::Soon {
            Some(NEXT)
        } else {
            self.place = 0;
            self.backoff.failed(now, retry)
        };
        self.due = pause.map(|pause| now + pause);
    }

    /// It is the right one.
    pub(super) fn met(&mut self, now: Instant) {
        self.backoff.connected(now);
        self.place = 0;
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Clock, SystemClock};

    #[test]
    fn all_addresses_are_tried_before_there_is_a_pause() {
        let now = SystemClock.now();
        let mut dial = Dial::new(Some(now));
        let addresses: Vec<SocketAddr> = vec!["192.0.2.1:1".parse().unwrap(), "192.0.2.2:1".parse().unwrap()];
        dial.set_addresses(addresses.clone());
        assert_eq!(dial.call(), Some(addresses[0]));
        assert_eq!(dial.due(), None, "one at a time");
        dial.failed(now, Retry::Soon);
        assert_eq!((dial.due(), dial.call()), (Some(now + NEXT), Some(addresses[1])));
        dial.failed(now, Retry::Soon);
        assert!(dial.due().unwrap() >= now + Duration::from_millis(500));
        assert_eq!(dial.call(), Some(addresses[0]));
        dial.failed(now, Retry::Never);
        assert_eq!(dial.due(), None);
    }
}
