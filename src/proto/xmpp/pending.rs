//! Requests to become a contact that wait for the user (RFC 6121 section 3.1). Pure.
//!
//! Anybody can ask, as often as they can make accounts, so there is a limit for each domain and one for all. Whoever
//! comes last is kept: the oldest request leaves, of the same domain if that has its share already, else of the one that
//! has most. So a flood pushes out itself, not people of other servers, and nobody is locked out by those who asked
//! before. What is pushed out is not lost either: servers hand out requests again at every login.
//!
//! Not all of them do, and not for everybody: ejabberd does only if the first presence has no negative priority. So
//! requests are kept by whoever owns this, too, and one that was not handed out again is taken for answered elsewhere, or
//! withdrawn, only if this server is known to do that ([`Handout`]).

use std::time::{Duration, Instant};

use crate::types::SortedMap;

use jid::BareJid;

/// Requests kept.
const MAX_PENDING: usize = 64;
/// Requests kept from users of one domain.
const MAX_PER_DOMAIN: usize = 8;
/// Requests told one by one within [`TELL_AGAIN`]; the others are only counted.
const MAX_TOLD: u32 = 8;
/// After this long requests are told one by one again.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Whether the server hands out at login which requests still wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handout {
    /// Nobody knows.
    #[default]
    Unknown,
    /// On this stream: it was asked in a way that makes it.
    Asked,
    /// It has done so unasked, and always will.
    Always,
}

/// The requests, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    requests: Vec<Request>,
    handout: Handout,
    /// Answered before the server may have handed them out on this stream: that crosses with the answer and is no news.
    answered: Vec<BareJid>,
    /// Whatever comes now is not handed out because of the login any more.
    is_late: bool,
}

#[derive(Clone, Debug)]
struct Request {
    jid: BareJid,
    /// The server has handed it out on this stream.
    repeated: bool,
}

impl Pending {
    /// Somebody asks. Returns whether that is news.
    pub fn ask(&mut self, jid: BareJid) -> bool {
        if let Some(known) = self.requests.iter_mut().find(|request| request.jid == jid) {
            let is_first = !std::mem::replace(&mut known.repeated, true);
            if is_first && !self.is_late && self.handout == Handout::Unknown {
                self.handout = Handout::Always;
            }
            return false;
        }
        if let Some(place) = self.answered.iter().position(|answered| *answered == jid) {
            self.answered.swap_remove(place);
            return false;
        }
        self.add(jid, true);
        true
    }

    /// Takes up what was kept of an earlier session, before anything of this one.
    pub fn restore(&mut self, jids: impl Iterator<Item = BareJid>, handout: Handout) {
        self.requests.clear();
        jids.take(MAX_PENDING).for_each(|jid| self.add(jid, false));
        self.handout = handout;
    }

    fn add(&mut self, jid: BareJid, repeated: bool) {
        self.make_room(&jid);
        self.requests.push(Request { jid, repeated });
    }

    fn make_room(&mut self, jid: &BareJid) {
        let mut of_domain: SortedMap<&str, usize> = SortedMap::new();
        for request in &self.requests {
            *of_domain.entry(request.jid.domain().as_str()).or_default() += 1;
        }
        let full = |domain: &str| of_domain.get(domain).copied().unwrap_or_default();
        let leaves = if full(jid.domain().as_str()) >= MAX_PER_DOMAIN {
            self.requests.iter().position(|request| request.jid.domain() == jid.domain())
        } else if self.requests.len() >= MAX_PENDING {
            let most = of_domain.values().copied().max().unwrap_or_default();
            self.requests.iter().position(|request| full(request.jid.domain().as_str()) == most)
        } else {
            None
        };
        if let Some(place) = leaves {
            self.requests.remove(place);
        }
    }

    /// The user has answered the request. Returns whether there was one.
    pub fn answer(&mut self, jid: &BareJid) -> bool {
        let crosses = self.requests.iter().any(|request| request.jid == *jid && !request.repeated);
        if crosses && !self.is_late && self.answered.len() < MAX_PENDING {
            self.answered.push(jid.clone());
        }
        self.forget(jid)
    }

    /// The request was taken back. Returns whether there was one.
    pub fn forget(&mut self, jid: &BareJid) -> bool {
        self.retain(|other| other != jid)
    }

    /// Keeps those whose JID fits. Returns whether any went.
    pub fn retain(&mut self, fits: impl Fn(&BareJid) -> bool) -> bool {
        let before = self.requests.len();
        self.requests.retain(|request| fits(&request.jid));
        self.requests.len() < before
    }

    /// A new stream: nothing of what still waits was handed out on it.
    pub fn restart(&mut self) {
        self.requests.iter_mut().for_each(|request| request.repeated = false);
        self.answered.clear();
        self.is_late = false;
        if self.handout == Handout::Asked {
            self.handout = Handout::Unknown;
        }
    }

    /// The server was asked to hand out what waits.
    pub fn expect_handout(&mut self) {
        if self.handout == Handout::Unknown {
            self.handout = Handout::Asked;
        }
    }

    /// Whether the server hands out at login what waits.
    #[must_use]
    pub const fn handout(&self) -> Handout {
        self.handout
    }

    /// The server has had its time: if it hands out what waits, then the rest was answered elsewhere, or taken back.
    /// Returns whether there was any.
    pub fn drop_stale(&mut self) -> bool {
        self.answered.clear();
        self.is_late = true;
        if self.handout == Handout::Unknown {
            return false;
        }
        let before = self.requests.len();
        self.requests.retain(|request| request.repeated);
        self.requests.len() < before
    }

    /// Who asks, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &BareJid> {
        self.requests.iter().map(|request| &request.jid)
    }
}

/// Keeps a flood of requests from filling the log.
#[derive(Debug, Default)]
pub struct Teller {
    since: Option<Instant>,
    told: u32,
    untold: u32,
}

impl Teller {
    /// Somebody asks. `Some`: it is to be told, together with how many others have asked since the last one that was.
    pub fn tell(&mut self, now: Instant) -> Option<u32> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= TELL_AGAIN) {
            (self.since, self.told) = (Some(now), 0);
        }
        if self.told >= MAX_TOLD {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    fn listed(pending: &Pending) -> Vec<&str> {
        pending.iter().map(|jid| jid.as_str()).collect()
    }

    #[test]
    fn a_flood_of_one_server_pushes_out_only_itself() {
        let mut pending = Pending::default();
        assert!(pending.ask(jid("bob@home")) && !pending.ask(jid("bob@home")));
        (0..1000).for_each(|n| assert!(pending.ask(jid(&format!("fake{n}@flood")))));
        assert_eq!(pending.iter().count(), 1 + MAX_PER_DOMAIN);
        assert!(listed(&pending).contains(&"bob@home"), "who was there before stays");
        assert!(pending.ask(jid("eve@other")));
        assert!(listed(&pending).contains(&"eve@other"), "who comes later gets in");
        assert!(listed(&pending).contains(&"fake999@flood"), "the newest are kept");
    }

    #[test]
    fn a_full_list_takes_from_whoever_has_most() {
        let mut pending = Pending::default();
        for domain in 0..8 {
            (0..8).for_each(|n| assert!(pending.ask(jid(&format!("fake{n}@flood{domain}")))));
        }
        assert_eq!(pending.iter().count(), MAX_PENDING);
        for n in 0..4 {
            assert!(pending.ask(jid(&format!("real{n}@home"))));
            assert_eq!(pending.iter().count(), MAX_PENDING);
        }
        (0..1000).for_each(|n| assert!(pending.ask(jid(&format!("more{n}@flood7")))));
        assert_eq!(listed(&pending).iter().filter(|jid| jid.ends_with("@home")).count(), 4);
        // As many servers as places: even then the last one is heard.
        (0..1000).for_each(|n| assert!(pending.ask(jid(&format!("fake@flood-{n}")))));
        assert!(pending.ask(jid("real@late")) && listed(&pending).contains(&"real@late"));
        assert_eq!(pending.iter().count(), MAX_PENDING);
    }

    #[test]
    fn what_the_server_does_not_repeat_is_forgotten() {
        let mut pending = Pending::default();
        pending.ask(jid("bob@x"));
        pending.ask(jid("eve@x"));
        pending.restart();
        assert!(!pending.drop_stale(), "it may be a server that repeats nothing");
        assert_eq!(listed(&pending).len(), 2);
        pending.restart();
        assert!(!pending.ask(jid("eve@x")), "no news");
        assert!(pending.drop_stale() && !pending.drop_stale());
        assert_eq!(listed(&pending), ["eve@x"]);
        assert!(pending.forget(&jid("eve@x")) && !pending.forget(&jid("eve@x")));
    }

    #[test]
    fn what_was_kept_is_not_told_twice_and_its_absence_counts_only_if_it_was_asked_for() {
        let mut pending = Pending::default();
        let many = (0..100).map(|n| jid(&format!("fake{n}@flood")));
        pending.restore(many.chain([jid("bob@x")]), Handout::Unknown);
        assert!(pending.iter().count() <= MAX_PER_DOMAIN + 1, "limits hold for what was kept, too");
        pending.restore([jid("bob@x"), jid("eve@x")].into_iter(), Handout::Unknown);
        pending.restart();
        pending.expect_handout();
        assert!(!pending.ask(jid("bob@x")) && pending.handout() == Handout::Asked, "it may not do so unasked");
        pending.restart();
        assert!(!pending.drop_stale(), "nobody asked on this stream");
        assert_eq!(listed(&pending), ["bob@x", "eve@x"]);
        pending.expect_handout();
        assert!(!pending.ask(jid("eve@x")) && pending.drop_stale());
        assert_eq!(listed(&pending), ["eve@x"]);
    }

    #[test]
    fn what_was_answered_is_not_asked_again_by_a_handout_that_crosses_with_the_answer() {
        let mut pending = Pending::default();
        pending.restore([jid("bob@x"), jid("eve@x")].into_iter(), Handout::Always);
        assert!(pending.answer(&jid("bob@x")) && !pending.ask(jid("bob@x")));
        assert!(pending.ask(jid("bob@x")), "that is a new one");
        assert!(pending.answer(&jid("bob@x")) && pending.ask(jid("bob@x")), "it was handed out before the answer");
        assert!(pending.forget(&jid("eve@x")) && pending.ask(jid("eve@x")), "taken back, and asked anew");
    }

    #[test]
    fn who_asks_again_long_after_the_login_is_heard_and_teaches_nothing_of_the_server() {
        let mut pending = Pending::default();
        pending.restore([jid("bob@x"), jid("eve@x")].into_iter(), Handout::Unknown);
        assert!(!pending.drop_stale(), "nothing is known of the server");
        assert!(!pending.ask(jid("eve@x")) && pending.handout() == Handout::Unknown);
        assert!(pending.answer(&jid("bob@x")) && pending.ask(jid("bob@x")), "that crosses with nothing");
        pending.restart();
        assert!(!pending.ask(jid("eve@x")) && pending.handout() == Handout::Always);
    }

    #[test]
    fn a_flood_is_told_in_few_lines_with_their_number() {
        let (mut teller, now) = (Teller::default(), Instant::now());
        let told: Vec<_> = (0..100).filter_map(|_| teller.tell(now)).collect();
        assert_eq!(told, [0; 8]);
        assert_eq!(teller.tell(now + TELL_AGAIN), Some(92));
        assert_eq!(teller.tell(now + TELL_AGAIN), Some(0));
    }
}
