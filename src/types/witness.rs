//! Who says at which address this machine is seen.

use super::{AccountKey, Host};

/// Somebody on the other end of a connection of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Witness {
    /// The server of this account.
    Server(AccountKey),
    /// A STUN server that the server of this account names.
    Stun(AccountKey),
    /// A peer that we called: anybody, and they may lie.
    Peer(Host),
}
