//! Who may download from us.
//!
//! While we download: the peers that give us most get the slots (tit for tat), and one more is let in whatever it gives,
//! so that newcomers can start and better partners are found (optimistic unchoke, BEP 3). As a seed: everybody in turn; a
//! turn ends after some bytes, after some time, or when its peer takes nothing, and who waits longest comes next.
//! Decisions only change at a round, every ten seconds, so that connections do not flutter; free slots are filled at once
//! by the torrent.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::types::{PeerKey, sort_by};

/// Time between two rounds (BEP 3).
pub(super) const ROUND: Duration = Duration::from_secs(10);
/// The optimistic unchoke moves on every third round (BEP 3: 30 seconds).
const OPTIMISTIC_ROUNDS: u32 = 3;
/// A peer counts as new for so long after it joined...
const NEW_PEER: Duration = Duration::from_secs(60);
/// ... and is this many times as likely to be let in optimistically (BEP 3).
const NEW_PEER_WEIGHT: usize = 3;
/// As a seed: a turn is over after so many bytes...
const TURN_BYTES: u64 = 16 * 1024 * 1024;
/// ... but not before this time, ...
const TURN_MIN: Duration = Duration::from_secs(10);
/// ... or at the latest after this time. Taste: long enough for TCP to get up to speed.
const TURN_MAX: Duration = Duration::from_secs(60);

/// What the choker looks at; one for each peer that is interested in us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applicant {
    pub key: PeerKey,
    pub joined: Instant,
    /// Bytes per second it gives us.
    pub gives: u64,
    /// It owes us blocks for too long.
    pub snubbed: bool,
    /// It is served now.
    pub unchoked: bool,
    /// Since when it is served, or waits to be.
    pub since: Instant,
    /// Bytes it got since it is served.
    pub got: u64,
    /// Bytes it got since the last round. None: it asks for nothing, or does not read what it asked for.
    pub lately: u64,
}

/// Chooses whom to serve, round by round.
#[derive(Debug, Default)]
pub(super) struct Choker {
    rounds: u32,
    optimistic: Option<PeerKey>,
}

impl Choker {
    /// One round: the peers to serve until the next one, at most `slots`.
    pub fn round(
        &mut self,
        now: Instant,
        applicants: &mut [Applicant],
        slots: usize,
        seeding: bool,
        rng: &mut Rng,
    ) -> Vec<PeerKey> {
        self.rounds = self.rounds.wrapping_add(1);
        if seeding {
            self.optimistic = None;
            return by_turns(now, applicants, slots);
        }
        // Snubbed last; who gives nothing is ordered by chance, not by key.
        rng.shuffle(applicants);
        let order = |peer: &Applicant| (peer.snubbed, Reverse(peer.gives), !peer.unchoked);
        sort_by(applicants, |a, b| order(a).cmp(&order(b)));
        let (best, rest) = applicants.split_at(slots.saturating_sub(1).min(applicants.len()));
        let mut served: Vec<PeerKey> = best.iter().map(|peer| peer.key).collect();
        if served.len() < slots {
            self.optimistic = self.optimistic(now, rest, rng);
            served.extend(self.optimistic);
        }
        served
    }

    /// Who of the rest is let in: the same one as before for three rounds, then somebody else.
    fn optimistic(&self, now: Instant, rest: &[Applicant], rng: &mut Rng) -> Option<PeerKey> {
        let stays = self.optimistic.filter(|key| rest.iter().any(|peer| peer.key == *key));
        if stays.is_some() && !self.rounds.is_multiple_of(OPTIMISTIC_ROUNDS) {
            return stays;
        }
        let weight = |peer: &Applicant| match now.saturating_duration_since(peer.joined) < NEW_PEER {
            _ if Some(peer.key) == stays => 0,
            true => NEW_PEER_WEIGHT,
            false => 1,
        };
        let total: usize = rest.iter().map(weight).sum();
        if total == 0 {
            return stays;
        }
        let mut left = rng.usize(..total);
        let chosen = rest.iter().find(|peer| {
            let hit = left < weight(peer);
            left = left.saturating_sub(weight(peer));
            hit
        });
        chosen.map(|peer| peer.key)
    }
}

/// Those whose turn is not over keep their slots; then who has waited longest; then those whose turn is over.
fn by_turns(now: Instant, applicants: &mut [Applicant], slots: usize) -> Vec<PeerKey> {
    let order = |peer: &Applicant| match (peer.unchoked, turn_is_over(now, peer)) {
        (true, false) => (0, peer.since, peer.key),
        (false, _) => (1, peer.since, peer.key),
        (true, true) => (2, peer.since, peer.key),
    };
    sort_by(applicants, |a, b| order(a).cmp(&order(b)));
    applicants.iter().take(slots).map(|peer| peer.key).collect()
}

/// Has this served peer had its share?
pub(super) fn turn_is_over(now: Instant, peer: &Applicant) -> bool {
    let served = now.saturating_duration_since(peer.since);
    served >= TURN_MAX || (served >= TURN_MIN && (peer.got >= TURN_BYTES || peer.lately == 0))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn key(slot: u32) -> PeerKey {
        PeerKey { slot, generation: 0 }
    }

    fn applicants(now: Instant, count: u32) -> Vec<Applicant> {
        let one = |slot| Applicant {
            key: key(slot),
            joined: now,
            gives: 0,
            snubbed: false,
            unchoked: false,
            since: now,
            got: 0,
            lately: 0,
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn those_who_give_most_are_served_and_one_more() {
        let now = Instant::now();
        let mut peers = applicants(now, 10);
        for peer in &mut peers {
            peer.gives = u64::from(peer.key.slot) * 1000;
        }
        peers[9].snubbed = true;
        let served = Choker::default().round(now, &mut peers, 4, false, &mut Rng::with_seed(7));
        assert_eq!(served[..3], [key(8), key(7), key(6)]);
        assert_eq!(served.len(), 4);
    }

    #[test]
    fn the_optimistic_one_stays_three_rounds_and_then_another_comes() {
        let now = Instant::now();
        let mut choker = Choker::default();
        let mut rng = Rng::with_seed(3);
        let mut changes = Vec::new();
        let mut before = None;
        for round in 1..=12 {
            let mut peers = applicants(now, 6);
            peers[0].gives = 10;
            let served = choker.round(now, &mut peers, 2, false, &mut rng);
            assert_eq!(served[0], key(0));
            if before.replace(served[1]) != Some(served[1]) {
                changes.push(round);
            }
        }
        assert_eq!(changes, [1, 3, 6, 9, 12]);
    }

    #[test]
    fn newcomers_are_let_in_three_times_as_often() {
        let now = Instant::now();
        let later = now + Duration::from_secs(100);
        let mut rng = Rng::with_seed(1);
        let mut new = 0;
        for _ in 0..4000 {
            let mut peers = applicants(now, 2);
            peers[1].joined = later;
            let served = Choker::default().round(later, &mut peers, 1, false, &mut rng);
            new += u32::from(served == [key(1)]);
        }
        assert!((2850..3150).contains(&new), "{new} of 4000");
    }

    #[test]
    fn a_seed_serves_everybody_in_turn() {
        let start = Instant::now();
        let mut choker = Choker::default();
        let mut rng = Rng::with_seed(1);
        let mut peers = applicants(start, 9);
        let mut rounds = [0_u32; 9];
        for round in 0..90 {
            let now = start + ROUND * round;
            let served = choker.round(now, &mut peers.clone(), 3, true, &mut rng);
            assert_eq!(served.len(), 3);
            for peer in &mut peers {
                let unchoke = served.contains(&peer.key);
                if unchoke != peer.unchoked || turn_is_over(now, peer) && unchoke {
                    (peer.unchoked, peer.since, peer.got) = (unchoke, now, 0);
                }
                rounds[peer.key.slot as usize] += u32::from(unchoke);
                // One peer is ten times as fast: its turns are shorter, not more.
                peer.lately = if peer.key.slot == 0 { TURN_BYTES } else { TURN_BYTES / 10 };
                peer.got += peer.lately;
            }
        }
        assert!(rounds[1..].iter().all(|n| (24..=42).contains(n)), "{rounds:?}");
        assert!(rounds[0] < 12, "{rounds:?}");
    }

    #[test]
    fn who_takes_nothing_gives_its_slot_to_who_waits() {
        let start = Instant::now();
        let mut peers = applicants(start, 3);
        for peer in &mut peers[..2] {
            (peer.unchoked, peer.got) = (true, TURN_BYTES / 2);
        }
        peers[1].lately = 1;
        let served = |now| Choker::default().round(now, &mut peers.clone(), 2, true, &mut Rng::with_seed(1));
        assert_eq!(served(start + TURN_MIN / 2), [key(0), key(1)], "time to ask");
        assert_eq!(served(start + TURN_MIN), [key(1), key(2)]);
        peers[2].since = start;
        peers.truncate(2);
        let alone = Choker::default().round(start + TURN_MIN, &mut peers, 2, true, &mut Rng::with_seed(1));
        assert_eq!(alone.len(), 2, "nobody waits, so nobody goes");
    }

    #[test]
    fn no_slots_serve_nobody() {
        let now = Instant::now();
        for seeding in [false, true] {
            let served = Choker::default().round(now, &mut applicants(now, 3), 0, seeding, &mut Rng::with_seed(1));
            assert!(served.is_empty());
        }
    }
}
