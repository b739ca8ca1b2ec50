//! Contacts, their shares, addresses and whom to believe (layer 2): pure.
//!
//! [`OwnShares`] and [`Addresses`] are what this node announces; [`ContactShares`] is what others announce, searchable
//! and with the addresses from which a torrent can be had. [`catalog`] is the form of a list that is too long for XMPP.
//! [`AddressFilter`] decides which of those addresses may be connected to, [`Refused`] with whom nobody speaks,
//! [`Witnesses`] where this node is seen, [`Reach`] says why somebody cannot be reached. No socket, no clock, no XMPP: JIDs are plain text, checked by whoever fills the
//! models.

mod addresses;
pub mod catalog;
mod contacts;
mod fold;
#[cfg(feature = "local")]
mod neighbors;
mod own;
mod reach;
mod refused;
mod search;
mod table;
mod trust;
mod witnesses;

pub use addresses::{AddressOptions, Addresses, ExtraAddress};
pub use contacts::{Available, Change, Contact, ContactLimits, ContactShares, MissingList, Resource, Sources};
#[cfg(feature = "local")]
pub use neighbors::{Accepted, Fingerprint, Neighbors, Verdict};
pub use own::OwnShares;
pub use reach::{Attempt, Attempts, Outcome, Reach, Reason, Why, nearest};
pub use refused::Refused;
pub use search::{Found, Hit, Owner, Page};
pub use table::{ShareRef, ShareTable};
pub use trust::{AddressFilter, Refusal, Subnet};
pub use witnesses::Witnesses;
