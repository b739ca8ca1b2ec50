//! Where the scheduler gets the time from, so that tests can turn the clock by hand.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;
use super::subscriber::WakeHook;

/// A monotonic clock.
pub trait Clock: Send + Sync {
    /// The current time. Never goes back.
    fn now(&self) -> Instant;

    /// Asks to be called after the time has jumped. Clocks that run by themselves never call it.
    fn on_jump(&self, hook: WakeHook) {
        drop(hook);
    }
}

/// The system's monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the place that everybody else gets the time from")]
    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that stands still until it is told to [`advance`](Self::advance). For tests.
pub struct VirtualClock {
    now: Mutex<Instant>,
    hooks: Mutex<Vec<WakeHook>>,
}

impl VirtualClock {
    /// A clock that stands at an arbitrary time.
    #[must_use]
    pub fn new() -> Self {
        Self { now: Mutex::new(SystemClock.now()), hooks: Mutex::default() }
    }

    /// Moves the time forward and tells those who asked for it.
    pub fn advance(&self, by: Duration) {
        *lock(&self.now) += by;
        let hooks: Vec<WakeHook> = lock(&self.hooks).iter().map(Arc::clone).collect();
        for hook in hooks {
            hook();
        }
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        *lock(&self.now)
    }

    fn on_jump(&self, hook: WakeHook) {
        lock(&self.hooks).push(hook);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn virtual_time_moves_only_when_told_and_says_so() {
        let clock = VirtualClock::new();
        let jumps = Arc::new(AtomicU32::new(0));
        let counter = jumps.clone();
        clock.on_jump(Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        let start = clock.now();
        assert_eq!(clock.now(), start);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(clock.now(), start + Duration::from_secs(3600));
        assert_eq!(jumps.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn system_time_does_not_go_back() {
        let first = SystemClock.now();
        assert!(SystemClock.now() >= first);
    }
}
