//! Whom to believe in the local network, where no server vouches for anybody.
//!
//! A name is a claim that everybody can make; a fingerprint is that of a certificate whose key the other side has proved
//! to have. Whom the user accepts is remembered by both together, so nobody can take over the name of a friend, and a
//! friend who calls himself otherwise is still known. Of strangers nothing is remembered.

use std::fmt;

use crate::types::SortedMap;

/// Neighbours that the user has accepted, at most.
pub const MAX_ACCEPTED: usize = 1024;

/// SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; Self::LEN]);

impl Fingerprint {
    /// Bytes of a fingerprint.
    pub const LEN: usize = 32;

    /// This fingerprint.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// Eight groups of eight digits, as people compare them.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 && index % 4 == 0 {
                f.write_str(" ")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Somebody whom the user has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What it called itself last.
    pub name: String,
    /// Its certificate.
    pub fingerprint: Fingerprint,
    /// It has accepted this side too, as far as it said.
    pub mutual: bool,
}

/// What is to be thought of somebody who has proved to have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not accepted so far.
    Stranger,
    /// Accepted.
    Accepted,
    /// Accepted, and called otherwise until now: the name is changed.
    Renamed,
    /// It calls itself like somebody who was accepted, and is not the same.
    Impostor(Fingerprint),
}

/// All who are accepted.
#[derive(Clone, Debug, Default)]
pub struct Neighbors {
    accepted: SortedMap<Fingerprint, Accepted>,
}

impl Neighbors {
    /// Those that were remembered.
    #[must_use]
    pub fn new(accepted: impl IntoIterator<Item = Accepted>) -> Self {
        let accepted = accepted.into_iter().take(MAX_ACCEPTED).map(|one| (one.fingerprint, one));
        Self { accepted: crate::types::gather(accepted) }
    }

    /// Judges somebody who calls himself `name`.
    pub fn judge(&mut self, name: &str, fingerprint: Fingerprint) -> Verdict {
        if let Some(other) = self.named(name).filter(|known| known.fingerprint != fingerprint) {
            return Verdict::Impostor(other.fingerprint);
        }
        match self.accepted.get_mut(&fingerprint) {
            None => Verdict::Stranger,
            Some(known) if known.name == name => Verdict::Accepted,
            Some(known) => {
                name.clone_into(&mut known.name);
                Verdict::Renamed
            }
        }
    }

    /// The user accepts whoever has this certificate. False if that makes too many.
    pub fn accept(&mut self, name: &str, fingerprint: Fingerprint) -> bool {
        if self.accepted.len() >= MAX_ACCEPTED && !self.accepted.contains_key(&fingerprint) {
            return false;
        }
        let name = name.to_owned();
        self.accepted.entry(fingerprint).or_insert(Accepted { name, fingerprint, mutual: false });
        true
    }

    /// The user accepts it no more.
    pub fn remove(&mut self, name: &str) -> Option<Accepted> {
        let fingerprint = self.named(name)?.fingerprint;
        self.accepted.remove(&fingerprint)
    }

    /// It says whether it has accepted this side. True if that is news.
    pub fn set_mutual(&mut self, fingerprint: &Fingerprint, mutual: bool) -> bool {
        let known = self.accepted.get_mut(fingerprint);
        known.is_some_and(|known| std::mem::replace(&mut known.mutual, mutual) != mutual)
    }

    /// Who has this certificate, if accepted.
    #[must_use]
    pub fn get(&self, fingerprint: &Fingerprint) -> Option<&Accepted> {
        self.accepted.get(fingerprint)
    }

    /// Who is called this, if accepted.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Accepted> {
        self.accepted.values().find(|known| known.name == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Accepted> {
        self.accepted.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Fingerprint = Fingerprint::new([1; 32]);
    const B: Fingerprint = Fingerprint::new([2; 32]);

    #[test]
    fn a_name_that_is_known_belongs_to_one_certificate() {
        let mut neighbors = Neighbors::default();
        assert_eq!(neighbors.judge("bob@b", A), Verdict::Stranger);
        assert!(neighbors.accept("bob@b", A));
        assert_eq!(neighbors.judge("bob@b", A), Verdict::Accepted);
        assert_eq!(neighbors.judge("bob@b", B), Verdict::Impostor(A));
        assert_eq!(neighbors.judge("bob@b", A), Verdict::Accepted, "the impostor has changed nothing");
        assert_eq!(neighbors.remove("bob@b").map(|known| known.fingerprint), Some(A));
        assert_eq!(neighbors.judge("bob@b", B), Verdict::Stranger);
    }

    #[test]
    fn a_friend_may_call_himself_otherwise_but_not_like_another_friend() {
        let mut neighbors = Neighbors::default();
        neighbors.accept("bob@b", A);
        neighbors.accept("eve@e", B);
        assert_eq!(neighbors.judge("bob@box", A), Verdict::Renamed);
        assert_eq!(neighbors.judge("bob@box", A), Verdict::Accepted);
        assert_eq!(neighbors.judge("bob@box", B), Verdict::Impostor(A));
        assert_eq!(neighbors.named("eve@e").map(|known| known.fingerprint), Some(B));
    }

    #[test]
    fn there_is_an_end_to_how_many_are_remembered() {
        let mut neighbors = Neighbors::default();
        let fingerprint = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            Fingerprint::new(bytes)
        };
        assert!((0..MAX_ACCEPTED).all(|n| neighbors.accept(&format!("a{n}@b"), fingerprint(n))));
        assert!(!neighbors.accept("one@more", fingerprint(MAX_ACCEPTED)));
        assert!(neighbors.accept("a0@b", fingerprint(0)), "known already");
    }

    #[test]
    fn fingerprints_are_shown_in_groups() {
        let text = A.to_string();
        assert_eq!(text.split(' ').count(), 8);
        assert!(text.starts_with("01010101 "));
    }
}
