//! Where a server sends its clients (`see-other-host`, RFC 6120 section 4.9.3.19), and when that leads nowhere. Pure.
//!
//! A host named by a server is worth what a host named by DNS is: its certificate has to be one of the account's domain
//! like every other's. What must not happen is that hosts send their clients round in circles.

use std::time::Instant;

use super::backoff::STABLE;
use super::dns::Endpoint;

/// Hosts visited one after the other.
const MOST: usize = 3;

/// The way an account was sent.
#[derive(Clone, Debug, Default)]
pub struct Redirects {
    visited: Vec<Endpoint>,
    next: Option<Endpoint>,
    connected: Option<Instant>,
}

impl Redirects {
    /// A connection was made.
    pub const fn connected(&mut self, now: Instant) {
        self.connected = Some(now);
    }

    /// A host sends us to this one. False if that is not worth trying: we were there, or have been sent far enough. The
    /// next time begins where the account's domain is.
    pub fn follow(&mut self, now: Instant, target: Endpoint) -> bool {
        if self.connected.take().is_some_and(|since| now.saturating_duration_since(since) >= STABLE) {
            self.visited.clear();
        }
        if self.visited.contains(&target) || self.visited.len() >= MOST {
            *self = Self::default();
            return false;
        }
        self.visited.push(target.clone());
        self.next = Some(target);
        true
    }

    /// Where to go now, if anywhere but to the account's domain.
    pub const fn take(&mut self) -> Option<Endpoint> {
        self.next.take()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;

    fn host(name: &str) -> Endpoint {
        Endpoint::read(name, None).unwrap()
    }

    #[test]
    fn a_way_is_followed_once_and_not_in_circles() {
        let now = Instant::now();
        let mut redirects = Redirects::default();
        assert_eq!(redirects.take(), None);
        assert!(redirects.follow(now, host("b:1")));
        assert_eq!((redirects.take(), redirects.take()), (Some(host("b:1")), None));
        redirects.connected(now);
        assert!(redirects.follow(now, host("a")), "the domain itself, which is not known to be the first");
        assert!(!redirects.follow(now, host("b:1")));
        assert_eq!(redirects.take(), None);
        assert!(redirects.follow(now, host("b:1")), "after the long pause");
    }

    #[test]
    fn a_way_that_does_not_end_is_given_up() {
        let now = Instant::now();
        let mut redirects = Redirects::default();
        assert!(["a", "b", "c"].iter().all(|name| redirects.follow(now, host(name))));
        assert!(!redirects.follow(now, host("d")));
    }

    #[test]
    fn a_host_that_was_stayed_at_ends_the_way() {
        let now = Instant::now();
        let mut redirects = Redirects::default();
        for minute in 1..9 {
            assert!(redirects.follow(now + minute * STABLE, host("b")));
            redirects.connected(now + minute * STABLE);
        }
    }
}
