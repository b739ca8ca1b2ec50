//! A limit of speed: how many bytes may be moved now, and when more of them.
//!
//! A bucket of tokens, one a byte. It fills at the rate of the limit, and nothing is taken from it that is not in it; so
//! in any time no more is moved than the rate gives in it and what the bucket holds. Parts of bytes are kept: however
//! often it is asked, it gives exactly its rate. Not here: who of several takes from it first.

use std::time::{Duration, Instant};

use crate::types::{BLOCK_LEN, BytesPerSec};

/// Share of a second's bytes that a bucket holds: one in so many. Less, and a caller that looks in ten times a second
/// loses some of its rate; more, and a limit is a burst and a silence.
const BURST_SHARE: u64 = 4;
/// A byte in the unit of what is left over: one byte a second for one nanosecond.
const BYTE: u128 = 1_000_000_000;

/// See the file's header.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: BytesPerSec,
    /// Bytes in it at `at`.
    tokens: u64,
    /// What there is of one more byte, below [`BYTE`].
    rest: u128,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket; none without a limit, which is a rate of 0.
    #[must_use]
    pub fn new(rate: BytesPerSec, now: Instant) -> Option<Self> {
        (rate.0 > 0).then(|| Self { rate, tokens: burst(rate), rest: 0, at: now })
    }

    /// The limit.
    #[must_use]
    pub fn rate(&self) -> BytesPerSec {
        self.rate
    }

    /// Sets another limit, above 0; what is in the bucket stays, as far as there is room for it.
    pub fn set_rate(&mut self, now: Instant, rate: BytesPerSec) {
        self.fill(now);
        self.rate = BytesPerSec(rate.0.max(1));
        self.spill();
    }

    /// Takes up to `want` bytes, as many as there are.
    #[must_use]
    pub fn take(&mut self, now: Instant, want: u64) -> u64 {
        self.fill(now);
        let taken = want.min(self.tokens);
        self.tokens -= taken;
        taken
    }

    /// Puts back what was taken and not used after all.
    pub fn put_back(&mut self, unused: u64) {
        self.tokens = self.tokens.saturating_add(unused);
        self.spill();
    }

    /// When there will be `want` bytes, or as many of them as it holds, if nobody takes any; `now` if there are.
    #[must_use]
    pub fn ready_at(&mut self, now: Instant, want: u64) -> Instant {
        self.fill(now);
        let missing = want.min(burst(self.rate)).saturating_sub(self.tokens);
        let missing = (u128::from(missing) * BYTE).saturating_sub(self.rest);
        let nanos = missing.div_ceil(u128::from(self.rate.0.max(1)));
        now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Adds what has come in since the last time. A clock that goes back adds nothing.
    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        // 2^64 bytes a second times 500 years in nanoseconds is less than 2^128.
        let nanos = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let added = u128::from(nanos) * u128::from(self.rate.0) + self.rest;
        self.tokens = self.tokens.saturating_add(u64::try_from(added / BYTE).unwrap_or(u64::MAX));
        self.rest = added % BYTE;
        self.at = self.at.max(now);
        self.spill();
    }

    /// Drops what there is no room for.
    fn spill(&mut self) {
        let burst = burst(self.rate);
        if self.tokens >= burst {
            (self.tokens, self.rest) = (burst, 0);
        }
    }
}

/// What a bucket holds: at least one block, or none could ever be asked for.
fn burst(rate: BytesPerSec) -> u64 {
    (rate.0 / BURST_SHARE).max(u64::from(BLOCK_LEN))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NS: Duration = Duration::from_nanos(1);

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    fn start() -> Instant {
        Instant::now()
    }

    fn bucket(rate: u64, now: Instant) -> TokenBucket {
        TokenBucket::new(BytesPerSec(rate), now).unwrap()
    }

    /// What `rate` gives in that time.
    fn given(rate: u64, time: Duration) -> u128 {
        u128::from(rate) * time.as_nanos() / BYTE
    }

    #[test]
    fn no_limit_is_no_bucket() {
        assert!(TokenBucket::new(BytesPerSec(0), start()).is_none());
    }

    #[test]
    fn it_begins_full_and_holds_a_quarter_of_a_second_or_one_block() {
        let now = start();
        assert_eq!(bucket(1_000_000, now).take(now, u64::MAX), 250_000);
        assert_eq!(bucket(1, now).take(now, u64::MAX), 16_384);
        let later = now + Duration::from_secs(1 << 32);
        assert_eq!(bucket(1_000_000, now).take(later, u64::MAX), 250_000, "it does not grow while nobody asks");
        assert_eq!(bucket(u64::MAX, now).take(later, u64::MAX), u64::MAX / 4);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_twice() {
        let now = start();
        let mut bucket = bucket(1000, now);
        let later = now + Duration::from_secs(2);
        assert_eq!(bucket.take(later, 16_384), 16_384);
        assert_eq!(bucket.take(now, 1), 0);
        assert_eq!(bucket.take(later, 1), 0);
        assert_eq!(bucket.take(later + Duration::from_millis(1), 2), 1);
    }

    #[test]
    fn a_lower_limit_counts_at_once() {
        let now = start();
        let mut bucket = bucket(1_000_000, now);
        bucket.set_rate(now, BytesPerSec(100_000));
        assert_eq!(bucket.take(now, u64::MAX), 25_000);
        bucket.set_rate(now, BytesPerSec(1_000_000));
        assert_eq!(bucket.take(now, u64::MAX), 0, "and a higher one gives nothing for the past");
    }

    proptest! {
        /// Nobody gets more, whatever the pattern: not from the start, and not in any time after it.
        #[test]
        fn never_more_than_the_rate_and_one_burst(
            rate in 1..1_u64 << 40,
            steps in prop::collection::vec((0..3_000_000_000_u64, 0..1_u64 << 38, 0..4_u64), 1..60),
        ) {
            let mut now = start();
            let mut bucket = bucket(rate, now);
            let mut taken: Vec<(Instant, u64)> = Vec::new();
            for (pause, want, unused) in steps {
                now += Duration::from_nanos(pause);
                let got = bucket.take(now, want);
                prop_assert!(got <= want);
                bucket.put_back(got / 4 * unused);
                taken.push((now, got - got / 4 * unused));
                let mut sum = 0;
                for &(then, bytes) in taken.iter().rev() {
                    sum += u128::from(bytes);
                    prop_assert!(sum <= given(rate, now - then) + u128::from(burst(BytesPerSec(rate))) + 1);
                }
            }
        }

        /// However finely the time is cut, no byte of the rate is lost to whoever takes everything.
        #[test]
        fn never_less_than_the_rate(
            rate in 1..1_u64 << 40,
            pauses in prop::collection::vec(0..200_000_000_u64, 1..200),
        ) {
            let begin = start();
            let mut now = begin;
            let mut bucket = bucket(rate, now);
            let mut sum = 0;
            let first = bucket.take(now, u64::MAX);
            for pause in pauses {
                now += Duration::from_nanos(pause);
                sum += u128::from(bucket.take(now, u64::MAX));
            }
            prop_assert_eq!(first, burst(BytesPerSec(rate)));
            prop_assert_eq!(sum, given(rate, now - begin));
        }

        /// The time that it names is the right one: not a nanosecond too early, and none too late.
        #[test]
        fn it_is_ready_when_it_said(
            rate in 1..1_u64 << 40,
            spent in 0..1_u64 << 40,
            pause in 0..1_000_000_000_u64,
            want in 1..1_u64 << 39,
        ) {
            let now = start();
            let mut bucket = bucket(rate, now);
            let _ = bucket.take(now, spent);
            let now = now + Duration::from_nanos(pause);
            let want = want.min(burst(BytesPerSec(rate)));
            let ready = bucket.ready_at(now, want);
            if ready > now {
                prop_assert!(bucket.clone().take(ready - NS, want) < want);
            }
            prop_assert_eq!(bucket.take(ready, want), want);
        }
    }
}
