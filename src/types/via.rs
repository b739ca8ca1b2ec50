//! Through which road a contact is known: one of the own XMPP accounts, or the local network.

use std::fmt;

/// One of the own accounts, by its place in this process. A place that became free may be taken by another account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey(u16);

impl AccountKey {
    /// The place that is always there.
    pub const FIRST: Self = Self(0);

    /// The place with this number, counted from 0.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Its number, counted from 0.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// All places, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u16::MAX).map(Self)
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {}", u32::from(self.0) + 1)
    }
}

/// The road through which something was heard of a contact. The same JID heard of on two roads is known twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// The server of this account says so.
    Account(AccountKey),
    /// It was met on the local network.
    Local,
}

impl Via {
    /// The first account.
    pub const FIRST: Self = Self::Account(AccountKey::FIRST);
}
