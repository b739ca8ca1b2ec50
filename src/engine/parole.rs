//! Finds out who sent the wrong bytes of a piece that failed its hash.
//!
//! Of each failed attempt the senders and a digest per block are kept. Once the piece is good, every block whose digest
//! differs from the good one was a lie, and its sender is known. A piece that failed with a single sender needs no
//! second attempt. Digests are not cryptographic: they are made on this machine and only compared with each other.

use crate::types::{PeerKey, PieceIndex, SortedMap, sort};

/// Failed attempts kept for one piece; each further one only repeats what is known.
const MAX_ATTEMPTS: usize = 8;

#[derive(Debug)]
struct Attempt {
    senders: Vec<PeerKey>,
    digests: Vec<u64>,
}

/// The failed attempts at pieces that are not good yet.
#[derive(Debug, Default)]
pub(super) struct Parole {
    attempts: SortedMap<PieceIndex, Vec<Attempt>>,
}

impl Parole {
    /// Has this piece failed before? Then digests are needed when it is verified.
    pub fn is_suspicious(&self, piece: PieceIndex) -> bool {
        self.attempts.contains_key(&piece)
    }

    /// Marks a piece that failed. True if it was not marked before.
    pub fn suspect(&mut self, piece: PieceIndex) -> bool {
        let known = self.is_suspicious(piece);
        self.attempts.entry(piece).or_default();
        !known
    }

    /// Keeps a failed attempt. Both lists have one entry per block.
    pub fn record(&mut self, piece: PieceIndex, senders: Vec<PeerKey>, digests: &[u64]) {
        let attempts = self.attempts.entry(piece).or_default();
        if attempts.len() < MAX_ATTEMPTS && senders.len() == digests.len() {
            attempts.push(Attempt { senders, digests: digests.to_vec() });
        }
    }

    /// The piece is good now: who lied before, each once.
    pub fn judge(&mut self, piece: PieceIndex, good: &[u64]) -> Vec<PeerKey> {
        let attempts = self.attempts.remove(&piece).unwrap_or_default();
        let blocks = attempts.iter().flat_map(|attempt| {
            let compared = attempt.digests.iter().zip(good).zip(&attempt.senders);
            compared.filter(|((then, now), _)| then != now).map(|(_, sender)| *sender)
        });
        let mut liars: Vec<PeerKey> = blocks.collect();
        sort(&mut liars);
        liars.dedup();
        liars
    }

    /// Who is in question for this piece: everybody who took part in a failed attempt.
    pub fn is_suspect(&self, piece: PieceIndex, peer: PeerKey) -> bool {
        self.attempts.get(&piece).is_some_and(|all| all.iter().any(|attempt| attempt.senders.contains(&peer)))
    }
}

/// The one who sent everything, if there is only one.
pub(super) fn sole(senders: &[PeerKey]) -> Option<PeerKey> {
    let (first, rest) = senders.split_first()?;
    rest.iter().all(|sender| sender == first).then_some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Geometry;

    fn key(slot: u32) -> PeerKey {
        PeerKey { slot, generation: 0 }
    }

    #[test]
    fn only_who_sent_a_block_that_differs_is_a_liar() {
        let piece = Geometry::new(1 << 20, 1 << 18).unwrap().piece(1).unwrap();
        let mut parole = Parole::default();
        assert!(!parole.is_suspicious(piece));
        parole.record(piece, vec![key(1), key(2), key(3), key(2)], &[10, 21, 30, 40]);
        parole.record(piece, vec![key(3), key(3), key(4), key(3)], &[10, 20, 31, 40]);
        assert!(parole.is_suspicious(piece) && parole.is_suspect(piece, key(1)));
        assert_eq!(parole.judge(piece, &[10, 20, 30, 40]), [key(2), key(4)]);
        assert!(!parole.is_suspicious(piece));
    }

    #[test]
    fn attempts_without_digests_accuse_nobody() {
        let piece = Geometry::new(1 << 20, 1 << 18).unwrap().piece(0).unwrap();
        let mut parole = Parole::default();
        parole.record(piece, vec![key(1), key(2)], &[]);
        assert!(parole.is_suspicious(piece));
        assert_eq!(parole.judge(piece, &[1, 2]), []);
    }

    #[test]
    fn a_sole_sender_is_recognised() {
        assert_eq!(sole(&[key(1), key(1)]), Some(key(1)));
        assert_eq!(sole(&[key(1), key(2)]), None);
        assert_eq!(sole(&[]), None);
    }
}
