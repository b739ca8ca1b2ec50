//! Which tracker of one torrent to ask, when, and with which event (BEP 12, BEP 3).
//!
//! Trackers are tried tier by tier, in an order that is shuffled once within each tier; one that answers moves to the
//! front of its tier, and only when nobody in a tier answers does the next tier get its turn. A tracker that fails is
//! left alone for a time that doubles with each failure. `started`, `completed` and `stopped` are told exactly once to
//! each tracker that heard of us, where they are due. One announce is on its way at a time. Sending is not done here:
//! [`poll`](Tiers::poll) gives an [`Order`], and its outcome comes back through [`succeeded`](Tiers::succeeded) or
//! [`failed`](Tiers::failed).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AnnounceEvent, Announced, MAX_INTERVAL, TrackerUrl};

/// The trackers of one torrent.
#[derive(Debug)]
pub struct Tiers {
    tiers: Vec<Vec<Tracker>>,
    running: bool,
    /// When the next announce without event wants to be made.
    due: Instant,
    /// When the download became complete, if it did so while it ran.
    completed: Option<Instant>,
    in_flight: Option<InFlight>,
    rng: fastrand::Rng,
}

/// An announce to be made now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which tracker.
    pub url: Arc<str>,
    /// What to tell it.
    pub event: Option<AnnounceEvent>,
    /// For [`Announce::tracker_id`](super::Announce::tracker_id).
    pub tracker_id: Option<Vec<u8>>,
}

/// One tracker, as it is shown to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerStatus {
    /// Its URL, which may hold a secret of the user: show [`TrackerUrl::origin`] to anybody else.
    pub url: Arc<str>,
    /// Counted from 0.
    pub tier: usize,
    /// An announce to it is on its way.
    pub busy: bool,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// The last failure or, if it was successful, the tracker's warning.
    pub message: Option<String>,
    /// Seeds and others in the swarm, as of the last success.
    pub swarm: Option<(u32, u32)>,
}

impl Tiers {
    /// The trackers of a torrent; the first announce is due at once. Duplicates and URLs of no known kind are left
    /// out. `seed` shuffles and jitters.
    #[must_use]
    pub fn new(now: Instant, tiers: &[Vec<String>], seed: u64) -> Self {
        let mut this = Self {
            tiers: Vec::new(),
            running: true,
            due: now,
            completed: None,
            in_flight: None,
            rng: fastrand::Rng::with_seed(seed),
        };
        for tier in tiers {
            this.add_tier(now, tier);
        }
        this
    }

    /// Adds trackers behind the others, shuffled. Those that are known already keep their place.
    pub fn add_tier(&mut self, now: Instant, urls: &[String]) {
        let mut tier: Vec<Tracker> = Vec::new();
        for url in urls {
            let known = self.trackers().chain(&tier).any(|tracker| *tracker.url == **url);
            let room = self.trackers().count() + tier.len() < MAX_TRACKERS;
            if room && !known && url.parse::<TrackerUrl>().is_ok() {
                tier.push(Tracker::new(now, url));
            }
        }
        if !tier.is_empty() {
            self.rng.shuffle(&mut tier);
            self.tiers.push(tier);
        }
    }

    /// Whether there is no tracker at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// The announce to make now, if one is due. Its outcome must be reported; until then there is no other.
    pub fn poll(&mut self, now: Instant) -> Option<Order> {
        if self.in_flight.as_ref().is_some_and(|in_flight| now >= in_flight.deadline) {
            let url = self.in_flight.as_ref()?.url.clone();
            self.failed(now, &url, "no outcome was reported", None);
        }
        if !self.running || self.in_flight.is_some() {
            return None;
        }
        let completed = self.completed;
        let owed = self.trackers().position(|tracker| tracker.owed_completed(completed).is_some_and(|at| at <= now));
        let regular = || self.trackers().position(|tracker| tracker.not_before <= now).filter(|_| self.due <= now);
        let index = owed.or_else(regular)?;
        let tracker = self.tiers.iter_mut().flatten().nth(index)?;
        let event = tracker.next_event(completed);
        let order = Order { url: tracker.url.clone(), event, tracker_id: tracker.tracker_id.clone() };
        let (url, deadline) = (order.url.clone(), now + OUTCOME_TIMEOUT);
        self.in_flight = Some(InFlight { url, completed: completed.is_some(), deadline });
        Some(order)
    }

    /// When to [`poll`](Self::poll) next; `None` if there is nothing to wait for. May change after any other call.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        if let Some(in_flight) = &self.in_flight {
            return Some(in_flight.deadline);
        }
        if !self.running {
            return None;
        }
        let regular = self.trackers().map(|tracker| tracker.not_before.max(self.due)).min();
        let owed = self.trackers().filter_map(|tracker| tracker.owed_completed(self.completed)).min();
        regular.into_iter().chain(owed).min()
    }

    /// A tracker has answered.
    pub fn succeeded(&mut self, now: Instant, url: &str, reply: &Announced) {
        let in_flight = self.take_in_flight(url);
        let running = self.running;
        let Some((number, place)) = self.find(url) else { return };
        let tracker = self.tiers.get_mut(number).and_then(|tier| tier.get_mut(place));
        let Some(tracker) = tracker else { return };
        tracker.failures = 0;
        tracker.message.clone_from(&reply.warning);
        tracker.swarm = reply.seeders.zip(reply.leechers).or(tracker.swarm);
        if reply.tracker_id.is_some() {
            tracker.tracker_id.clone_from(&reply.tracker_id);
        }
        tracker.not_before = now + reply.min_interval;
        tracker.expected = now + reply.interval;
        if let Some(in_flight) = in_flight.filter(|_| running) {
            tracker.joined = true;
            tracker.told_completed |= in_flight.completed;
            // One that was asked in between must not put off those before it: they would forget us.
            let before = self.tiers.iter().take(number).flatten();
            let expected = before.filter(|tracker| tracker.joined && tracker.failures == 0).map(|one| one.expected);
            self.due = expected.fold(now + reply.interval, Instant::min);
        }
        // BEP 12: the one that answers is asked first from now on.
        if let Some(upto) = self.tiers.get_mut(number).and_then(|tier| tier.get_mut(..=place)) {
            upto.rotate_right(1);
        }
    }

    /// A tracker has not answered, or has refused. The next one in line is due at once. `retry_in` is the tracker's
    /// own wish for when to come back.
    pub fn failed(&mut self, now: Instant, url: &str, reason: &str, retry_in: Option<Duration>) {
        self.take_in_flight(url);
        let jitter = 0.75 + self.rng.f64() / 2.0;
        let Some((tier, place)) = self.find(url) else { return };
        let Some(tracker) = self.tiers.get_mut(tier).and_then(|tier| tier.get_mut(place)) else { return };
        let doubled = FIRST_BACKOFF.saturating_mul(1 << tracker.failures.min(16));
        let backoff = doubled.min(MAX_BACKOFF).mul_f64(jitter).max(retry_in.unwrap_or_default().min(MAX_INTERVAL));
        tracker.failures = tracker.failures.saturating_add(1);
        tracker.not_before = now + backoff;
        tracker.message = Some(reason.to_owned());
    }

    /// The swarm ran dry: asks again as soon as a tracker allows it, not waiting for the end of the interval. Trackers
    /// of later tiers are asked too while the first ones may not be.
    pub fn need_peers(&mut self, now: Instant) {
        self.due = self.due.min(now);
    }

    /// The download has just become complete: every tracker that knows us is told. Not for those who start complete.
    pub fn complete(&mut self, now: Instant) {
        self.completed.get_or_insert(now);
    }

    /// Stops announcing. What is returned tells every tracker that knows us that we leave; the outcome of these
    /// announces is of no interest.
    pub fn stop(&mut self) -> Vec<Order> {
        self.running = false;
        // An announce that is on its way may yet be the one by which a tracker gets to know us.
        let joining = self.in_flight.take().map(|in_flight| in_flight.url);
        let mut farewells = Vec::new();
        for tracker in self.tiers.iter_mut().flatten() {
            let known = std::mem::take(&mut tracker.joined);
            if known || joining.as_ref().is_some_and(|url| *url == tracker.url) {
                let (url, tracker_id) = (tracker.url.clone(), tracker.tracker_id.take());
                farewells.push(Order { url, event: Some(AnnounceEvent::Stopped), tracker_id });
            }
        }
        farewells
    }

    /// Announces again after [`stop`](Self::stop), beginning with `started`.
    pub fn start(&mut self, now: Instant) {
        if !self.running {
            self.running = true;
            self.due = now;
            for tracker in self.tiers.iter_mut().flatten().filter(|tracker| tracker.failures == 0) {
                tracker.not_before = now;
            }
        }
    }

    /// All trackers in the order in which they are tried.
    #[must_use]
    pub fn status(&self) -> Vec<TrackerStatus> {
        let tiers = self.tiers.iter().enumerate();
        tiers
            .flat_map(|(number, tier)| tier.iter().map(move |tracker| (number, tracker)))
            .map(|(tier, tracker)| TrackerStatus {
                url: tracker.url.clone(),
                tier,
                busy: self.in_flight.as_ref().is_some_and(|in_flight| in_flight.url == tracker.url),
                failures: tracker.failures,
                message: tracker.message.clone(),
                swarm: tracker.swarm,
            })
            .collect()
    }

    fn trackers(&self) -> impl Iterator<Item = &Tracker> {
        self.tiers.iter().flatten()
    }

    /// Tier and place of a tracker.
    fn find(&self, url: &str) -> Option<(usize, usize)> {
        self.tiers.iter().enumerate().find_map(|(number, tier)| {
            tier.iter().position(|tracker| *tracker.url == *url).map(|place| (number, place))
        })
    }

    fn take_in_flight(&mut self, url: &str) -> Option<InFlight> {
        self.in_flight.take_if(|in_flight| *in_flight.url == *url)
    }
}

#[derive(Debug)]
struct Tracker {
    url: Arc<str>,
    /// It knows us: `started` was accepted and `stopped` not sent.
    joined: bool,
    /// It knows that we have everything.
    told_completed: bool,
    /// No announce without event sooner: after a success because of its minimum interval, after a failure of any
    /// kind because of the back-off.
    not_before: Instant,
    /// When it expects to hear of us again, as of its last answer.
    expected: Instant,
    failures: u32,
    tracker_id: Option<Vec<u8>>,
    message: Option<String>,
    swarm: Option<(u32, u32)>,
}

impl Tracker {
    fn new(now: Instant, url: &str) -> Self {
        Self {
            url: url.into(),
            joined: false,
            told_completed: false,
            not_before: now,
            expected: now,
            failures: 0,
            tracker_id: None,
            message: None,
            swarm: None,
        }
    }

    /// From when on it may be told `completed`, if it still has to be.
    fn owed_completed(&self, completed: Option<Instant>) -> Option<Instant> {
        // An event waits for the end of a back-off, but not for the minimum interval.
        let free = |since| if self.failures == 0 { since } else { self.not_before };
        completed.filter(|_| self.joined && !self.told_completed).map(free)
    }

    fn next_event(&self, completed: Option<Instant>) -> Option<AnnounceEvent> {
        if !self.joined {
            Some(AnnounceEvent::Started)
        } else {
            self.owed_completed(completed).map(|_| AnnounceEvent::Completed)
        }
    }
}

#[derive(Debug)]
struct InFlight {
    url: Arc<str>,
    /// The download was complete when the announce was made, so that this tracker knows it afterwards.
    completed: bool,
    deadline: Instant,
}

/// Back-off after a first failure. Taste: a tracker that restarts is back by then.
const FIRST_BACKOFF: Duration = Duration::from_secs(15);
/// Longest back-off: also a tracker that was away for a week is found again within an hour or so.
const MAX_BACKOFF: Duration = Duration::from_secs(3600);
/// An announce whose outcome was not reported by then has failed. No request takes nearly as long, also when it has
/// to queue.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(600);
/// Trackers of one torrent that are used; the rest of a longer list is left out. Real torrents have up to some hundred.
const MAX_TRACKERS: usize = 256;

#[cfg(test)]
mod tests;
