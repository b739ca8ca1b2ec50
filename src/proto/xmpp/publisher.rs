//! Keeps what stands on one own node equal to what should stand there.
//!
//! A [`Lane`] is told which items are wanted and what the server shows, and asks for one request after the other until
//! both agree: publish what differs, retract what is too much (never a shared item). Changes are gathered, at most about one round per second
//! (longer after large ones, because servers throttle), and nothing is sent before the node was fetched once. What
//! others do to the node is mended with jitter and a budget, so that two programs cannot fight for ever. How the node
//! must be set up is decided in `node_setup`. Pure: the caller sends the requests and hands in the answers.

use std::time::{Duration, Instant};

use minidom::Element;
use sha1::{Digest as _, Sha1};

use super::node_setup::{Setup, Step as SetupStep, Verdict};
use super::pep;
use super::stanza::Failure;
use super::xml::to_bytes;
use crate::types::{SortedMap, SortedSet, gather};

/// Changes are gathered this long before they are published.
const GATHER: Duration = Duration::from_millis(150);
/// Time between two rounds, at least.
const ROUND: Duration = Duration::from_secs(1);
/// Time between two rounds, at most.
const LONGEST_ROUND: Duration = Duration::from_secs(30);
/// Bytes per second a throttling server lets through (Prosody's default in Debian).
const ASSUMED_RATE: u64 = 10_000;
/// First wait after a failure; doubles up to [`LONGEST_RETRY`].
const RETRY: Duration = Duration::from_secs(5);
/// Longest wait after a failure.
const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// Repairs of what others did to the node, per [`REPAIR_PERIOD`].
const MAX_REPAIRS: u32 = 6;
/// See [`MAX_REPAIRS`].
const REPAIR_PERIOD: Duration = Duration::from_secs(3600);
/// A repair waits this long in milliseconds, at random, so that equal programs do not collide.
const REPAIR_JITTER: std::ops::Range<u64> = 500..3000;

/// Names the content of an item.
pub type Digest = [u8; 20];

/// An item that should stand on the node.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// Its payload.
    pub payload: Element,
    /// Equal digests mean equal content; compared with what [`Lane::observe`] is told.
    pub digest: Digest,
    len: u64,
}

impl Item {
    /// An item whose digest is that of its bytes.
    #[must_use]
    pub fn new(id: impl Into<String>, payload: Element) -> Self {
        let bytes = to_bytes(&payload).unwrap_or_default();
        Self { id: id.into(), payload, digest: Sha1::digest(&bytes).into(), len: bytes.len() as u64 }
    }
}

/// The digest of a payload as [`Item::new`] computes it.
#[must_use]
pub fn digest(payload: &Element) -> Digest {
    Sha1::digest(to_bytes(payload).unwrap_or_default()).into()
}

/// A request on the own account, to be answered through [`Lane::answered`].
#[derive(Clone, Debug)]
pub struct Request {
    /// `get` or `set`.
    pub kind: &'static str,
    /// What to put into the iq.
    pub payload: Element,
}

/// What the owner of a lane has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// To be shown to the user.
    Warning(String),
    /// The server refuses items of this size: smaller ones should be wanted.
    TooBig,
    /// The server keeps one item only: one merged item should be wanted.
    KeepsOneItem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Publish(String),
    Retract(String),
    Setup(SetupStep),
}

/// What stands on one own node, and what should.
#[derive(Debug)]
pub struct Lane {
    node: &'static str,
    several: bool,
    wanted: Vec<Item>,
    server: SortedMap<String, Digest>,
    /// What was published last under an id, to tell an echo from somebody else's doing.
    published: SortedMap<String, Digest>,
    setup: Setup,
    /// The open request, with digest and length of the item if it is a publish.
    busy: Option<(Step, Digest, u64)>,
    fetched: bool,
    blocked: bool,
    /// What is wanted is not known yet.
    held: bool,
    due: Option<Instant>,
    not_before: Option<Instant>,
    round_len: u64,
    /// Items published in this round: a second change of one waits for the next round.
    round_ids: SortedSet<String>,
    failures: u32,
    repairs: u32,
    repairs_since: Option<Instant>,
    rng: fastrand::Rng,
}

impl Lane {
    /// A lane for `node` that wants nothing yet. `several`: the node must keep an item per resource.
    #[must_use]
    pub fn new(node: &'static str, several: bool, seed: u64) -> Self {
        Self {
            node,
            several,
            wanted: Vec::new(),
            server: SortedMap::new(),
            published: SortedMap::new(),
            setup: Setup::new(node, several),
            busy: None,
            fetched: false,
            blocked: false,
            held: false,
            due: None,
            not_before: None,
            round_len: 0,
            round_ids: SortedSet::new(),
            failures: 0,
            repairs: 0,
            repairs_since: None,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// The stream is new: nothing is known of the server any more. What is wanted, and the budget, stay.
    pub fn reset(&mut self) {
        let fresh = Self::new(self.node, self.several, self.rng.u64(..));
        let (repairs, repairs_since) = (self.repairs, self.repairs_since);
        *self = Self { wanted: std::mem::take(&mut self.wanted), repairs, repairs_since, ..fresh };
    }

    /// These own items stand on the node; from now on it may be published.
    pub fn fetched(&mut self, now: Instant, items: impl IntoIterator<Item = (String, Digest)>) {
        self.fetched = true;
        self.server = gather(items);
        self.plan(now, GATHER);
    }

    /// The node was fetched since the stream began.
    #[must_use]
    pub const fn is_fetched(&self) -> bool {
        self.fetched
    }

    /// What should stand on the node, in the order to publish it.
    pub fn want(&mut self, now: Instant, items: Vec<Item>) {
        (self.wanted, self.held) = (items, false);
        self.plan(now, GATHER);
    }

    /// What should stand on the node will be known later: nothing of it is changed until then.
    pub const fn hold(&mut self) {
        self.held = true;
    }

    /// Like [`Self::want`], but without waiting for more changes or the end of the round: the program stops.
    pub fn want_at_once(&mut self, now: Instant, items: Vec<Item>) {
        (self.wanted, self.held) = (items, false);
        self.blocked = false;
        self.round_ids.clear();
        self.due = self.next_step().map(|_| now);
    }

    /// These items stand on the node, and nobody needs them any more.
    pub fn discard(&mut self, now: Instant, ids: impl IntoIterator<Item = String>) {
        self.server.extend(ids.into_iter().map(|id| (id, Digest::default())));
        self.plan(now, GATHER);
    }

    /// The server told of an own item: `None` if it is gone. Returns whether that was somebody else's doing, which
    /// [`Self::mend`] may put right.
    pub fn observe(&mut self, id: &str, digest: Option<Digest>) -> bool {
        if self.server.get(id) == digest.as_ref() || (digest.is_some() && self.published.get(id) == digest.as_ref()) {
            return false;
        }
        let publishing = matches!(&self.busy, Some((Step::Publish(busy), of, _)) if busy == id && Some(*of) == digest);
        let retracting = matches!(&self.busy, Some((Step::Retract(busy), ..)) if busy == id && digest.is_none());
        if publishing || retracting {
            return false; // the echo came before the answer
        }
        match digest {
            Some(digest) => self.server.insert(id.to_owned(), digest),
            None => self.server.remove(id),
        };
        self.published.remove(id);
        true
    }

    /// The node lost all its items. Returns whether that was somebody else's doing.
    pub fn observe_empty(&mut self) -> bool {
        let ids: Vec<String> = self.server.keys().cloned().collect();
        ids.iter().map(|id| self.observe(id, None)).fold(false, |any, foreign| any | foreign)
    }

    /// What should stand on the node after somebody else changed it: published after some jitter, within the budget.
    pub fn mend(&mut self, now: Instant, items: Vec<Item>) {
        (self.wanted, self.held) = (items, false);
        if self.due.is_none() && self.next_step().is_some() && self.may_repair(now) {
            let jitter = Duration::from_millis(self.rng.u64(REPAIR_JITTER));
            self.plan(now, jitter);
        }
    }

    /// The next request, if one is due and none is open.
    pub fn poll_request(&mut self, now: Instant) -> Option<Request> {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return None;
        }
        let Some(step) = self.next_step() else {
            self.end_round(now);
            return None;
        };
        if matches!(&step, Step::Publish(id) if self.round_ids.contains(id)) {
            self.end_round(now);
            self.plan(now, Duration::ZERO);
            return None;
        }
        let (kind, payload) = match &step {
            Step::Setup(step) => self.setup.request(*step),
            Step::Retract(id) => ("set", pep::retract(self.node, id)),
            Step::Publish(id) => {
                let item = self.wanted.iter().find(|item| item.id == *id)?;
                let payload = pep::publish(self.node, id, item.payload.clone(), self.setup.options());
                self.busy = Some((step, item.digest, item.len));
                return Some(Request { kind: "set", payload });
            }
        };
        self.busy = Some((step, Digest::default(), 0));
        Some(Request { kind, payload })
    }

    /// The open request was answered, or not in time.
    pub fn answered(&mut self, now: Instant, answer: Result<&Element, Failure>) -> Option<Notice> {
        let (step, digest, len) = self.busy.take()?;
        self.due = Some(now);
        let verdict = match (step, answer) {
            (Step::Publish(id), Ok(_)) => {
                self.failures = 0;
                self.round_len += len;
                self.round_ids.insert(id.clone());
                self.server.insert(id.clone(), digest);
                self.published.insert(id, digest);
                self.setup.published();
                return None;
            }
            (Step::Publish(_), Err(failure)) if failure.is("payload-too-big") => {
                self.due = Some(now + RETRY);
                return Some(Notice::TooBig);
            }
            (Step::Publish(_), Err(failure)) => (self.setup.refused(&failure), Some(failure)),
            (Step::Retract(_), Err(Failure::TimedOut)) => (Verdict::Later, Some(Failure::TimedOut)),
            (Step::Retract(id), _) => {
                // What cannot be retracted is not there, or not ours: either way it is not tried again.
                self.server.remove(&id);
                self.published.remove(&id);
                return None;
            }
            (Step::Setup(SetupStep::Read), answer) => {
                let config = answer.map(pep::parse_configuration);
                (self.setup.read(config.as_ref()), config.err())
            }
            (Step::Setup(SetupStep::Write(change)), answer) => {
                let written = answer.map(|_| ());
                (self.setup.written(change, written.as_ref().map(|&()| ())), written.err())
            }
        };
        self.obey(now, verdict.0, verdict.1.as_ref())
    }

    /// When [`Self::poll_request`] may have something next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.busy.is_some() || !self.fetched || self.blocked || self.held { None } else { self.due }
    }

    /// Nothing is open and nothing is left that could be done.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.busy.is_none() && (self.blocked || !self.fetched || (!self.held && self.next_step().is_none()))
    }

    /// The server has confirmed what is wanted.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.fetched && !self.blocked && self.is_settled()
    }

    /// The server does not let this program publish on the node.
    #[must_use]
    pub const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether an item with this id stands on the node, as far as known.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.server.contains_key(id)
    }

    fn obey(&mut self, now: Instant, verdict: Verdict, failure: Option<&Failure>) -> Option<Notice> {
        match verdict {
            Verdict::Go(warning) => warning.map(Notice::Warning),
            Verdict::OneItem => {
                self.several = false;
                Some(Notice::KeepsOneItem)
            }
            Verdict::Blocked(reason) => {
                self.blocked = true;
                Some(Notice::Warning(format!("{reason}; nothing is published there")))
            }
            Verdict::Later => {
                self.failures = self.failures.saturating_add(1);
                let wait = RETRY.saturating_mul(1 << (self.failures - 1).min(10)).min(LONGEST_RETRY);
                self.due = Some(now + wait.mul_f32(0.75 + self.rng.f32() / 2.0));
                let reason = failure.map(ToString::to_string).unwrap_or_default();
                (self.failures == 1).then(|| Notice::Warning(format!("publishing on {} failed: {reason}", self.node)))
            }
        }
    }

    /// Sets the time of the next round, unless one is planned already.
    fn plan(&mut self, now: Instant, delay: Duration) {
        if self.due.is_none() && self.next_step().is_some() {
            let due = now + delay;
            self.due = Some(self.not_before.map_or(due, |not_before| due.max(not_before)));
        }
    }

    fn end_round(&mut self, now: Instant) {
        if self.round_len > 0 {
            let pause = Duration::from_millis(self.round_len.saturating_mul(1000) / ASSUMED_RATE);
            self.not_before = Some(now + pause.clamp(ROUND, LONGEST_ROUND));
        }
        self.round_len = 0;
        self.round_ids.clear();
        self.due = None;
    }

    fn next_step(&self) -> Option<Step> {
        if let Some(step) = self.setup.next() {
            return Some(Step::Setup(step));
        }
        let differs = |item: &&Item| self.server.get(&item.id) != Some(&item.digest);
        if let Some(item) = self.wanted.iter().find(differs) {
            return Some(Step::Publish(item.id.clone()));
        }
        // Where all resources share one item, taking it away would take the others' words away.
        let unwanted = |id: &&String| self.several && !self.wanted.iter().any(|item| item.id == **id);
        self.server.keys().find(unwanted).cloned().map(Step::Retract)
    }

    fn may_repair(&mut self, now: Instant) -> bool {
        if self.repairs_since.is_none_or(|since| now.saturating_duration_since(since) >= REPAIR_PERIOD) {
            self.repairs_since = Some(now);
            self.repairs = 0;
        }
        self.repairs += 1;
        self.repairs <= MAX_REPAIRS
    }
}

#[cfg(test)]
mod tests;
