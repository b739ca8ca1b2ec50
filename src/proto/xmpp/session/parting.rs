//! Saying goodbye, for now or for good.

use std::time::{Duration, Instant};

use super::{Phase, Tag, XmppSession};
use crate::proto::xmpp::pep::delete;
use crate::proto::xmpp::presence::unavailable;

/// Saying goodbye takes no longer than this.
pub(super) const GOODBYE_TIME: Duration = Duration::from_secs(3);
/// Taking everything off a slow server takes no longer than this when nobody waits for it.
const WITHDRAWAL_TIME: Duration = Duration::from_secs(60);

impl XmppSession {
    /// Says goodbye; [`Self::is_parted`] tells when that is done, within three seconds. With `for_good` everything of
    /// this resource is taken off the server (the account is removed from this program).
    pub fn part(&mut self, now: Instant, for_good: bool) {
        self.part_until(now, now + GOODBYE_TIME, for_good);
    }

    /// Like [`Self::part`] for good, within a minute: for an account that is not in use any more.
    pub fn withdraw(&mut self, now: Instant) {
        self.part_until(now, now + WITHDRAWAL_TIME, true);
    }

    fn part_until(&mut self, now: Instant, deadline: Instant, for_good: bool) {
        if self.suspended.is_some() {
            self.stream_lost();
        }
        match self.phase {
            Phase::Ready | Phase::Starting => {
                self.phase = Phase::Parting { deadline, for_good };
                self.announcer.part(now, for_good);
                self.refuse_early();
            }
            Phase::Offline => self.phase = Phase::Parted,
            Phase::Parting { .. } | Phase::Deleting { .. } | Phase::Parted => {}
        }
        self.pump(now);
    }

    /// The goodbye was said, or cannot be: the stream may be closed once the last stanza is written.
    #[must_use]
    pub fn is_parted(&self) -> bool {
        self.phase == Phase::Parted
    }

    /// It parted for good, and the server has confirmed that nothing of this resource is left there.
    #[must_use]
    pub const fn is_withdrawn(&self) -> bool {
        self.withdrawn
    }

    pub(super) fn go_on_parting(&mut self, now: Instant) {
        let Phase::Parting { deadline, for_good } = self.phase else { return };
        if !self.announcer.has_parted(now) {
            // Emptying is followed by removing, which may have something to send at once.
            while let Some((node, request)) = self.announcer.poll_request(now) {
                self.request(now, request.kind, None, request.payload, Tag::Publish(node));
            }
            return;
        }
        self.withdrawn = for_good;
        let nodes = if for_good { self.announcer.unused_nodes() } else { Vec::new() };
        if nodes.is_empty() {
            return self.leave();
        }
        self.phase = Phase::Deleting { deadline, open: nodes.len() };
        for node in nodes {
            self.request(now, "set", None, delete(node.name()), Tag::Delete);
        }
    }

    pub(super) fn leave(&mut self) {
        self.out.push_back(unavailable());
        self.phase = Phase::Parted;
    }
}
