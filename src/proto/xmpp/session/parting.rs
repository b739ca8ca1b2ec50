//! Saying goodbye, for now or for good.

use std::time::{Duration, Instant};

use super::{Phase, Tag, XmppSession};
use crate::proto::xmpp::pep::delete;
use crate::proto::xmpp::presence::unavailable;

/// Saying goodbye takes no longer than this.
pub(super) const GOODBYE_TIME: Duration = Duration::from_secs(3);

impl XmppSession {
    /// Says goodbye; [`Self::is_parted`] tells when that is done, within three seconds. With `for_good` everything of
    /// this resource is taken off the server (the account is removed from this program).
    pub fn part(&mut self, now: Instant, for_good: bool) {
        let deadline = now + GOODBYE_TIME;
        match self.phase {
            Phase::Ready | Phase::Starting => {
                self.phase = Phase::Parting { deadline, for_good };
                self.announcer.part(now, for_good);
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

    pub(super) fn go_on_parting(&mut self, now: Instant) {
        let Phase::Parting { deadline, for_good } = self.phase else { return };
        if !self.announcer.has_parted(now) {
            // Emptying is followed by removing, which may have something to send at once.
            while let Some((node, request)) = self.announcer.poll_request(now) {
                self.request(now, request.kind, None, request.payload, Tag::Publish(node));
            }
            return;
        }
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
